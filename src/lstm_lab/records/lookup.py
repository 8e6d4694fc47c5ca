"""What the store has of a run that is to be used again: the run, its config, and what made it."""

import itertools
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lstm_lab import config
from lstm_lab.commandline import typed
from lstm_lab.config import Config, ConfigError
from lstm_lab.records import provenance, store
from lstm_lab.records.store import StoreError
from lstm_lab.records.tracking import TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


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


def every_run(client: "MlflowClient", condition: str) -> "list[Run]":
    """All runs, of whatever experiment, that pass MLflow's filter; none that was deleted."""
    experiments = [experiment.experiment_id for experiment in pages(client.search_experiments)]
    return list(pages(client.search_runs, experiments, condition)) if experiments else []


def pages(search: Callable[..., Any], *asked: Any) -> Iterator[Any]:
    """Everything that one of MLflow's searches finds; it answers a page at a time."""
    found = search(*asked)
    yield from found
    while found.token:
        found = search(*asked, page_token=found.token)
        yield from found


def config_of(client: "MlflowClient", run: "Run") -> Config:
    """The config of a run in the store, from its config.yaml.

    A run that was cut short before that was whole has it from the tags that it began with.
    """
    file, tagged = "", text_in_tags(run)
    if "config.yaml" in files_of(client, run.info.run_id):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(client.download_artifacts(run.info.run_id, "config.yaml", folder))
            file = path.read_text(errors="replace")
    elif not tagged:
        raise StoreError(f"run {run.info.run_id} has no config.yaml: it is no run of src/train.py")
    return checked(run, tagged if tagged.startswith(file) else file)


def digested_config(client: "MlflowClient", run: "Run") -> Config:
    """The config that the run's digests are of: its tags change all at once, and config.yaml only after them."""
    tagged = text_in_tags(run)
    return checked(run, tagged) if tagged else config_of(client, run)


def text_in_tags(run: "Run") -> str:
    """The config in the run's tags, as YAML; nothing if it is older than they are. A piece that is not full ends it."""
    text = ""
    for i in itertools.count():
        piece = run.data.tags.get(f"config.{i}", "")
        text += piece
        if len(piece) < TAG:
            break
    return text


def checked(run: "Run", text: str) -> Config:
    """The config that a text from the store has. It is data: read as plain YAML, and checked like any other."""
    try:
        return config.check(completed(yaml.safe_load(text)))
    except (ConfigError, yaml.YAMLError) as error:
        raise StoreError(
            f"the config.yaml of run {run.info.run_id} is none for this version of the code:\n{error}\n"
            f"`{typed('reproduce', f'run={run.info.run_id}', '--checkout')}` trains it with its own"
        ) from None


def completed(values: Any) -> Any:
    """A config with the settings that are newer than it, as it was trained: runs on files had no validation once."""
    data = values.get("data") if isinstance(values, dict) else None
    if isinstance(data, dict) and data.get("curve") == "csv":
        data.setdefault("validation", 0.0)
    return values


def provenance_of(client: "MlflowClient", run_id: str) -> provenance.Provenance | None:
    """What made the run when it began; None if it was cut short before that was written."""
    if "provenance" not in files_of(client, run_id):
        return None
    with tempfile.TemporaryDirectory() as folder:
        try:
            return provenance.read(Path(client.download_artifacts(run_id, "provenance", folder)))
        except (OSError, ValueError):
            return None


def files_of(client: "MlflowClient", run_id: str) -> set[str]:
    """The names of the files and folders that the run has."""
    return {file.path for file in client.list_artifacts(run_id)}
