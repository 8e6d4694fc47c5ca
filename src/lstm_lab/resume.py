"""Resuming: which runs were cut short, who may go on with one, and from which checkpoint."""

import contextlib
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ValidationError

from lstm_lab import checkpoint, config, provenance, store
from lstm_lab.config import Config, ConfigError
from lstm_lab.store import StoreError
from lstm_lab.tracking import signature

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# What a resumed run may do otherwise: nothing of it changes a bit of the steps.
MAY_CHANGE = (
    "training.steps",
    "training.report_every",
    "training.frames",
    "training.chunk_steps",
    "training.live",
    "evaluation.windows",
    "evaluation.trials",
    "tracking.metric_points",
    "tracking.checkpoint_seconds",
    "tracking.figures",
    "tracking.animation",
    "tracking.model",
    "tracking.tensorboard",
)


def digest(settings: Config) -> str:
    """SHA-256 of everything in the config that decides a step's bits."""
    values = config.flatten(settings.model_dump(exclude=config.WATCHING))
    decisive = {key: value for key, value in values if key not in MAY_CHANGE}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def folder_of(run_id: str) -> Path:
    """Where a run's checkpoints are while it is not over."""
    return provenance.ROOT / "mlruns/checkpoints" / run_id


def command(run_id: str) -> str:
    """What to type to go on with that run."""
    return f"python src/train.py resume={run_id}"


def config_of(client: "MlflowClient", run: "Run") -> Config:
    """The config of a run in the store. It is data: read as plain YAML, and checked like any other."""
    run_id = run.info.run_id
    with tempfile.TemporaryDirectory() as folder:
        if "config.yaml" not in {file.path for file in client.list_artifacts(run_id)}:
            raise StoreError(
                f"run {run_id} has no config.yaml: it was cut short before its first step, or is no run of src/train.py"
            )
        path = client.download_artifacts(run_id, "config.yaml", folder)
        try:
            return config.check(yaml.safe_load(Path(path).read_text()))
        except (ConfigError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise StoreError(
                f"the config.yaml of run {run_id} is none for this version of the code:\n{error}\n"
                f"`python src/reproduce.py run={run_id} --checkout` trains it with its own"
            ) from None


def provenance_of(client: "MlflowClient", run_id: str) -> provenance.Provenance | None:
    """What made the run when it began; None if it was cut short before that was written."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return provenance.read(Path(client.download_artifacts(run_id, "provenance", folder)))
        except (OSError, ValueError):
            return None


def find_run(client: "MlflowClient", word: str, run_id: str) -> "Run":
    """The run of that id; `word` is what the user named it by. StoreError if there is none, or it was deleted."""
    from mlflow.exceptions import MlflowException

    if not re.fullmatch("[0-9a-f]{32}", run_id):
        raise ConfigError(f"{word}={run_id}: must be the id of a run, the 32 hexadecimal digits that each run prints")
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise StoreError(f"{word}={run_id}: {store.first_line(error)} (looked for in {store.tracking_uri()})") from None
    if run.info.lifecycle_stage != "active":
        raise StoreError(
            f"{word}={run_id}: that run was deleted; `mlflow runs restore --run-id {run_id}` takes it back"
        )
    return run


def prepare(run_id: str, changes: Mapping[str, Any], take_over: bool, verbose: bool = False) -> Config:
    """The config to go on with: the run's own with `changes`; ConfigError or StoreError if it cannot be.

    With `take_over`, a run that another machine left RUNNING is marked KILLED first.
    """
    for key in changes:
        if key not in MAY_CHANGE:
            raise ConfigError(
                f"{key}: a resumed run keeps its config, or its bits would be another run's; "
                f"what may change is {', '.join(MAY_CHANGE)}"
            )
    store.check_store()
    client = store.open_store(verbose)
    run = find_run(client, "resume", run_id)
    refuse_hopeless(run)
    refuse_running(run, take_over)
    stored = config_of(client, run)
    values = stored.model_dump()
    for key, value in changes.items():
        group, _, leaf = key.partition(".")
        values[group][leaf] = value
    wanted = config.check(values)
    steps, planned = wanted.training.steps, stored.training.steps
    if steps < planned:
        raise ConfigError(f"training.steps={steps}: the run is to do {planned:,} steps; they can be raised only")
    if run.info.status == "FINISHED" and steps == planned:
        raise ConfigError(
            f"resume={run_id}: that run is finished, with all its {planned:,} steps; to train it longer, "
            f"add training.steps={2 * planned}"
        )
    if take_over and run.info.status == "RUNNING":
        client.set_terminated(run_id, "KILLED")
    return wanted


def refuse_hopeless(run: "Run") -> None:
    """Raises ConfigError for runs that have nothing to be resumed."""
    tags, word = run.data.tags, f"resume={run.info.run_id}"
    if "study" in tags:
        raise ConfigError(
            f"{word}: it belongs to the sweep '{tags['study']}', which goes on when its command is typed again"
        )
    if run.info.status == "FAILED" and "reason" in tags:
        raise ConfigError(f"{word}: that run failed by itself and would fail again at the same step ({tags['reason']})")


class Process(BaseModel):
    """A signature: what `provenance.this_process` tells of a process."""

    host: str
    pid: int
    started: str | None


def processes_of(run: "Run") -> list[dict[str, Any]]:
    """The processes that signed a run: one trained it, or several work on its study."""
    return [signer(value) for key, value in run.data.tags.items() if key.split(".")[0] == "process"]


def signer(tag: str) -> dict[str, Any]:
    """The process that a tag tells of.

    On a shared server anybody writes tags: one that tells of no process stands for one that cannot be seen from here.
    """
    try:
        return Process.model_validate_json(tag).model_dump()
    except ValidationError:
        return {"host": "an unknown machine", "pid": 0, "started": None}


def refuse_running(run: "Run", take_over: bool = False) -> None:
    """Raises ConfigError if another process trains the run, or one on another machine might and is not taken over."""
    for process in processes_of(run) if run.info.status == "RUNNING" else ():
        where, here = f"process {process['pid']} on {process['host'].split('/')[0]}", provenance.host()
        if process["host"] == here and not provenance.is_gone(process):
            raise ConfigError(f"resume={run.info.run_id}: it is still training ({where})")
        if process["host"] != here and not take_over:
            raise ConfigError(
                f"resume={run.info.run_id}: it may still be training ({where}, which cannot be seen from here); "
                "if that is surely gone, add take_over=true"
            )


def take_over(client: "MlflowClient", run_id: str) -> "Run":
    """Makes this process the one that trains the run; ConfigError if another has become so meanwhile."""
    with store.store_lock():
        run = client.get_run(run_id)
        refuse_running(run)
        client.update_run(run_id, status="RUNNING")
        for key, value in signature().items():
            client.set_tag(run_id, key, value)
        if "reason" in run.data.tags:
            client.delete_tag(run_id, "reason")
        return run


def mark_interrupted(client: "MlflowClient") -> list["Run"]:
    """Ends the runs that a killed process of this machine has left RUNNING, and returns them."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    marked = []
    for run in client.search_runs(experiments, "attributes.status = 'RUNNING'") if experiments else ():
        if not is_cut_short(run):
            continue
        with store.store_lock():  # somebody may have resumed it meanwhile
            run = client.get_run(run.info.run_id)
            if run.info.status == "RUNNING" and is_cut_short(run):
                client.set_tag(run.info.run_id, "reason", "interrupted: its process was killed")
                client.set_terminated(run.info.run_id, "KILLED")
                marked.append(run)
    return marked


def is_cut_short(run: "Run") -> bool:
    """Whether every process that signed the run is gone. A trial's run is its study's to see to."""
    processes = processes_of(run)
    return bool(processes) and "trial" not in run.data.tags and all(map(provenance.is_gone, processes))


def candidates(client: "MlflowClient", run_id: str, folder: Path) -> list[Path]:
    """The run's checkpoints, on this machine and among its artifacts (fetched into `folder`), the newest first."""
    found = checkpoint.in_order(folder_of(run_id))[::-1]
    if client.list_artifacts(run_id, "checkpoint"):
        found.append(Path(client.download_artifacts(run_id, "checkpoint/checkpoint.npz", str(folder))))
    return found


def newest_checkpoint(
    client: "MlflowClient", run_id: str, settings: Config
) -> tuple[checkpoint.Checkpoint | None, list[str]]:
    """The newest sound checkpoint with steps left to do, or None; and what is wrong with newer ones.

    One with no steps left is passed over: a run that was killed after its last step trains the last few again, since
    its figures are drawn from them.
    """
    best, damaged = None, []
    with tempfile.TemporaryDirectory() as folder:
        for path in candidates(client, run_id, Path(folder)):
            try:
                saved = checkpoint.load(path)
            except checkpoint.DamagedError as error:
                damaged.append(str(error))
                continue
            if saved.config_digest != digest(settings):
                damaged.append(f"{path} is of another config")
            elif saved.step < settings.training.steps and (best is None or saved.step > best.step):
                best = saved
    return best, damaged


def forget_checkpoints(run_id: str) -> None:
    """Removes the checkpoints of a run that is over; the last one is among its artifacts."""
    shutil.rmtree(folder_of(run_id), ignore_errors=True)


def forget_finished(client: "MlflowClient") -> None:
    """Removes what runs left behind that were killed after their end; those that the store does not know stay."""
    from mlflow.exceptions import MlflowException

    for folder in folder_of("").glob("*"):
        with contextlib.suppress(MlflowException):
            if client.get_run(folder.name).info.status == "FINISHED":
                forget_checkpoints(folder.name)
