"""Resuming: which runs were cut short, who may go on with one, and from which checkpoint."""

import contextlib
import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_lab import config
from lstm_lab.commandline import say, typed
from lstm_lab.config import Config, ConfigError
from lstm_lab.paths import ROOT, short_name
from lstm_lab.records import checkpoint, lookup, processes, provenance, reading, store, tagging
from lstm_lab.records.reading import printable
from lstm_lab.runs import datafile
from lstm_lab.science.judging import is_over

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from lstm_lab.records.tracking import TrackedRun
    from lstm_lab.runs.setup import Setup

# What a resumed run may do otherwise: nothing of it changes a bit of the steps.
MAY_CHANGE = (
    "training.steps",
    *config.WATCHED,
    *(f"evaluation.{key}" for key in config.Evaluation.model_fields),
    "tracking.metric_points",
    "tracking.checkpoint_seconds",
    "tracking.figures",
    "tracking.animation",
    "tracking.model",
    "tracking.tensorboard",
)


POINTS = "training.validate_every"


def digest(settings: Config, path: str | None = None) -> str:
    """SHA-256 of everything in the config that decides a step's bits, or which weights are kept.

    Where the data file is does not; nor do the points of validation, unless by these the run ends or keeps its weights.
    With `path` it is as checkpoints once had it of a run on the file there.
    """
    values = config.flatten(settings.model_dump(exclude=config.WATCHING))
    decisive = {key: value for key, value in values if key not in (*MAY_CHANGE, "data.path", POINTS)}
    if settings.training.judged:
        decisive[POINTS] = settings.training.validated_every
    if path is not None:
        decisive["data.path"] = path
    decisive = {key: v for key, v in decisive.items() if key not in config.NEWER or v != config.NEWER[key]}  # as once
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def folder_of(run_id: str) -> Path:
    """Where a run's checkpoints are while it is not over."""
    return ROOT / "mlruns/checkpoints" / short_name("", run_id)


def command(run_id: str) -> str:
    """What to type to go on with that run."""
    return typed("train", f"resume={run_id}")


@store.faults_told()
def prepare(named: str, changes: Mapping[str, Any], take_over: bool, verbose: bool = False) -> tuple[str, Config]:
    """The id of a run and the config to go on with: its own with `changes`; ConfigError or StoreError if it cannot be.

    `named` is as in `lookup.find_run`. With `take_over`, a run that another machine left RUNNING is first marked
    KILLED.
    """
    for key in changes:
        if key not in (*MAY_CHANGE, "data.path"):
            raise ConfigError(
                f"{key}: a resumed run keeps its config, or its bits would be another run's; "
                f"what may change is {', '.join(MAY_CHANGE)}, and data.path if the file there is the run's own"
            )
    store.check_store()
    client = store.open_store(verbose)
    run = lookup.find_run(client, "resume", named)
    run_id = run.info.run_id
    refuse_hopeless(run)
    refuse_running(run, f"resume={run_id}", take_over)
    lookup.digested_config(client, run)  # refused here, before the run is taken over, if it is none
    path = str(changes["data.path"]) if "data.path" in changes else None
    stored = datafile.found(lookup.config_of(client, run), tagging.tags_of(run), f"resume={run_id}", path)
    wanted = changed(stored, changes)
    steps, planned = wanted.training.steps, stored.training.steps
    if run.info.status == "FINISHED" and "reason" in run.data.tags:
        raise ConfigError(
            f"resume={run_id}: that run is finished: it {printable(run.data.tags['reason'])}; with more steps it "
            "would stop there, too. A new run without training.early_stopping, or until, trains longer"
        )
    if steps < planned:
        raise ConfigError(f"training.steps={steps}: the run is to do {planned:,} steps; they can be raised only")
    if run.info.status == "FINISHED" and steps == planned:
        raise ConfigError(
            f"resume={run_id}: that run is finished, with all its {planned:,} steps; to train it longer, "
            f"add training.steps={2 * planned}"
        )
    if take_over and run.info.status == "RUNNING":
        client.set_terminated(run_id, "KILLED")
    return run_id, wanted


def changed(stored: Config, changes: Mapping[str, Any]) -> Config:
    """The config with other values at those of these keys that may change."""
    values = stored.model_dump()
    for key in changes.keys() & set(MAY_CHANGE):
        group, _, leaf = key.partition(".")
        values[group][leaf] = changes[key]
    if "training.steps" in changes and stored.training.judged:  # a longer run is validated where it was to be
        values["training"]["validate_every"] = stored.training.validated_every
    return config.check(values)


def refuse_hopeless(run: "Run") -> None:
    """Raises ConfigError for runs that have nothing to be resumed."""
    tags, word = run.data.tags, f"resume={run.info.run_id}"
    if "study" in tags:
        study = printable(tags["study"])
        raise ConfigError(f"{word}: it belongs to the sweep '{study}', which goes on when its command is typed again")
    if run.info.status == "FAILED" and "reason" in tags:
        reason = printable(tags["reason"])
        raise ConfigError(f"{word}: that run failed by itself and would fail again at the same step ({reason})")


def refuse_running(run: "Run", word: str, take_over: bool = False) -> None:
    """Raises ConfigError if another process trains the run, or one on another machine might and is not taken over.

    `word` is what was typed for the run.
    """
    for process in processes.processes_of(run) if run.info.status == "RUNNING" else ():
        machine, here = printable(process["host"].split("/")[0]), processes.host()
        where = f"process {process['pid']} on {machine}"
        if process["host"] == here and not processes.is_gone(process):
            raise ConfigError(f"{word}: it is still training ({where})")
        if process["host"] != here and not take_over:
            raise ConfigError(
                f"{word}: it may still be training ({where}, which cannot be seen from here); "
                "if that is surely gone, add take_over=true"
            )


def take_over(client: "MlflowClient", run_id: str, word: str) -> "Run":
    """Makes this process the one that trains the run; ConfigError if another has become so meanwhile."""
    with store.store_lock():
        run = client.get_run(run_id)
        refuse_running(run, word)
        client.update_run(run_id, status="RUNNING")
        tagging.set_tags(client, run_id, processes.signature())
        if "reason" in run.data.tags:
            client.delete_tag(run_id, "reason")
        return run


def mark_interrupted(client: "MlflowClient") -> list["Run"]:
    """Ends the runs that a killed process of this machine has left RUNNING; returns them but for a sweep's trials.

    A trial is tried again when its sweep goes on, and its page tells of it; but that may never be.
    """
    marked = []
    for run in lookup.every_run(client, "attributes.status = 'RUNNING'"):
        if not processes.is_cut_short(run):
            continue
        with store.store_lock():  # somebody may have resumed it meanwhile
            run = client.get_run(run.info.run_id)
            if run.info.status == "RUNNING" and processes.is_cut_short(run):
                tagging.set_tags(client, run.info.run_id, {"reason": "interrupted: its process was killed"})
                client.set_terminated(run.info.run_id, "KILLED")
                marked.append(run)
    return [run for run in marked if not {"trial", "group"} & run.data.tags.keys()]


def candidates(client: "MlflowClient", run: "Run", settings: Config) -> "list[Callable[[], checkpoint.Checkpoint]]":
    """What reads each of the run's checkpoints, on this machine and among its artifacts, the newest first."""
    here = checkpoint.in_order(folder_of(run.info.run_id))[::-1]
    return [*(functools.partial(checkpoint.load, path) for path in here), lambda: stored(client, run, settings)]


def costs_in_checkpoint(run_id: str) -> np.ndarray | None:
    """The cost of every step [steps] that the run's newest sound checkpoint on this machine knows; None without one."""
    for path in checkpoint.in_order(folder_of(run_id))[::-1]:
        with contextlib.suppress(checkpoint.DamagedError, FileNotFoundError):  # a newer one takes its place
            return checkpoint.load(path).costs
    return None


def stored(client: "MlflowClient", run: "Run", settings: Config) -> checkpoint.Checkpoint:
    """The checkpoint among the run's artifacts; DamagedError if it is not sound, FileNotFoundError without one."""
    data, arrays = settings.data, lookup.bytes_of(lookup.weight_shapes(settings))
    most = 20 * settings.training.steps + 8 * (arrays + data.batch_size * settings.model.cell_size) + 16 * lookup.ROOM
    path, name = "checkpoint/checkpoint.npz", f"checkpoint/checkpoint.npz of run {run.info.run_id}"
    try:
        content = reading.fetch(run.info.artifact_uri, path, most, client.tracking_uri)
    except reading.UnsoundError as error:
        raise checkpoint.DamagedError(f"{name} {error}") from None
    if content is None:
        raise FileNotFoundError
    return checkpoint.parsed(content, name)


def newest_checkpoint(
    client: "MlflowClient", run: "Run", settings: Config, forms: checkpoint.Forms
) -> tuple[checkpoint.Checkpoint | None, list[str]]:
    """The newest sound checkpoint with steps left to do, its arrays of these forms, or None; and what is wrong with
    others.

    One with no steps left, be it that training is to stop there, is passed over: a run that was killed after its last
    step trains the last few again, since its figures are drawn from them.
    """
    training = settings.training
    best, damaged = None, []
    known = {digest(settings), digest(settings, run.data.params.get("data.path"))}
    for load in candidates(client, run, settings):
        try:
            saved = load()
        except FileNotFoundError:
            continue
        except checkpoint.DamagedError as error:
            damaged.append(str(error))
            continue
        if saved.config_digest not in known:
            damaged.append(f"a checkpoint of step {saved.step:,} is of another config")
        elif not checkpoint.is_of(saved, forms):
            damaged.append(f"a checkpoint of step {saved.step:,} has arrays of another model")
        elif saved.step < training.steps and not is_over(saved.errors.tolist(), training.early_stopping):
            best = saved if best is None or saved.step > best.step else best
    return best, damaged


def forms_of(setup: "Setup") -> checkpoint.Forms:
    """Type and shape of each array in a checkpoint of this run."""
    from lstm_lab.science.model import zero_state

    state = zero_state(setup.program.model, setup.config.data.batch_size)
    whole = checkpoint.Checkpoint(0, "", np.zeros(0), *setup.program.snapshot(), state)
    return checkpoint.forms_of(replace(whole, met=np.zeros(len(setup.config.criteria), np.int64)))


def find_checkpoint(setup: "Setup", tracked: "TrackedRun") -> checkpoint.Checkpoint | None:
    """The checkpoint that a resumed run goes on from; says so, and says what is damaged or has changed meanwhile.

    ConfigError if the code now makes other data or other initial weights than the run began with.
    """
    config, tags, run_id = setup.config, tagging.tags_of(tracked.run), tracked.run_id
    now = setup.digests(lookup.digested_config(tracked.client, tracked.run).training.steps)
    for key, digest in now.items():
        if tags.get(key, digest) != digest:
            raise ConfigError(
                f"resume={run_id}: the code now makes other {key.removesuffix('.sha256').replace('_', ' ')} than that "
                "run began with, so it cannot go on to the same end"
            )

    if then := lookup.provenance_of(tracked.client, run_id):
        portable = config.training.level == "portable"
        for difference in provenance.differences(then, provenance.current(), portable):
            say(setup.console, f"not as when the run began: {difference}", "yellow")
    else:
        say(setup.console, "what made the run when it began is not known: it has no sound provenance/", "yellow")
    saved, damaged = newest_checkpoint(tracked.client, tracked.run, config, forms_of(setup))
    for fault in damaged:
        say(setup.console, fault, "yellow")
    step = saved.step if saved else 0
    where = f"at step {step:,} of {config.training.steps:,}{'' if saved else ': no checkpoint'}"
    say(setup.console, f"resuming {tracked.name} {where}")
    return saved


def forget_checkpoints(run_id: str) -> None:
    """Removes the checkpoints of a run that is over; the last one is among its artifacts."""
    shutil.rmtree(folder_of(run_id), ignore_errors=True)


def forget_finished(client: "MlflowClient") -> None:
    """Removes what runs left behind that were killed after their end; those that the store does not know stay."""
    from mlflow.exceptions import MlflowException

    for folder in folder_of("any").parent.glob("*"):
        with contextlib.suppress(MlflowException):
            if client.get_run(folder.name).info.status == "FINISHED":
                forget_checkpoints(folder.name)
