"""What the store has of a run that is to be used again: the run, its config, and what made it."""

import itertools
import re
import tempfile
from collections.abc import Callable, Container, Iterator, Sequence
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

PAGES = 50_000  # as many runs as MLflow gives in one answer


def find_run(client: "MlflowClient", word: str, name: str) -> "Run":
    """The run that a user means by `word=name`; ConfigError if there is none, or more than one.

    A name is an id or its first digits, `last` for the newest run, or a study for its best trial.
    """
    return find_runs(client, word, [name])[0]


def find_runs(client: "MlflowClient", word: str, names: Sequence[str]) -> "list[Run]":
    """The runs that are meant, as for `find_run`, in their order and each once; many whole ids take one query."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    whole = ", ".join(f"'{name}'" for name in names if re.fullmatch("[0-9a-f]{32}", name))
    known = client.search_runs(experiments, f"attributes.run_id IN ({whole})", max_results=len(names)) if whole else []
    found = {run.info.run_id: run for run in known}
    if not set(names) <= found.keys():
        best = best_of_studies(client, experiments)
        names = rejoined(names, best)
        for name in set(names) - found.keys():
            if name == "last":
                found[name] = newest(client, experiments, word)
            elif name in best:
                found[name] = best_trial(client, f"{word}={name}", best[name])
            else:
                found[name] = only_one(client, experiments, word, name)
    return list({found[name].info.run_id: found[name] for name in names}.values())


def rejoined(names: Sequence[str], studies: Container[str]) -> list[str]:
    """The names, where those of studies were cut at their commas."""
    whole, left = [], list(names)
    while left:
        length = next((n for n in range(len(left), 1, -1) if ",".join(left[:n]) in studies), 1)
        whole.append(",".join(left[:length]))
        del left[:length]
    return whole


def newest(client: "MlflowClient", experiments: list[str], word: str) -> "Run":
    """The run of src/train.py that began last, be it a trial; a study's own page is none."""
    ours = "tags.`mlflow.source.name` = 'src/train.py' AND tags.sweep IS NULL"
    for run in client.search_runs(experiments, ours, max_results=1, order_by=["attributes.start_time DESC"]):
        return run
    raise ConfigError(f"{word}=last: there is no run yet (looked for in {store.tracking_uri()})")


def best_of_studies(client: "MlflowClient", experiments: list[str]) -> dict[str, str]:
    """The id of each study's best trial by the study's name, '' if it has none yet; of namesakes the newest counts."""
    order = ["attributes.start_time ASC"]
    pages = client.search_runs(experiments, "tags.sweep = 'parent'", max_results=PAGES, order_by=order)
    return {page.data.tags.get("study", ""): page.data.tags.get("best_run", "") for page in pages}


def best_trial(client: "MlflowClient", named: str, run_id: str) -> "Run":
    """The best trial of the study that the user named."""
    from mlflow.exceptions import MlflowException

    if not run_id:
        raise ConfigError(f"{named}: that study has no best trial: none is complete, or they differ in their data")
    try:
        return present(client.get_run(run_id), named)
    except MlflowException as error:
        raise ConfigError(f"{named}: its best trial is gone ({store.first_line(error)})") from None


def only_one(client: "MlflowClient", experiments: list[str], word: str, start: str) -> "Run":
    """The one run whose id begins so."""
    from mlflow.entities import ViewType

    if not re.fullmatch("[0-9a-f]{1,32}", start):
        raise ConfigError(
            f"{word}={start}: must be a run's id or its first digits (0-9, a-f), 'last' for the newest, or the name of "
            f"a study for its best trial; `{typed('report')}` lists the runs"
        )
    begins = f"attributes.run_id LIKE '{start}%'"
    found = client.search_runs(experiments, begins, max_results=5)
    if len(found) == 1:
        return found[0]
    if found:
        examples = ", ".join(run.info.run_id[: len(start) + 6] for run in found)
        raise ConfigError(f"{word}={start}: several runs begin so ({examples}, ...); give more digits")
    anywhere = [found.experiment_id for found in client.search_experiments(view_type=ViewType.ALL)]
    for run in client.search_runs(anywhere, begins, ViewType.DELETED_ONLY, max_results=1):
        return present(run, f"{word}={start}")
    where = f"looked for in {store.tracking_uri()}"
    raise ConfigError(f"{word}={start}: no run begins so, nor is a study called so ({where})")


def present(run: "Run", named: str) -> "Run":
    """The run; ConfigError if it was deleted."""
    if run.info.lifecycle_stage != "active":
        command = store.mlflow_command("runs", "restore", "--run-id", run.info.run_id)
        raise ConfigError(f"{named}: that run was deleted; `{command}` takes it back")
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
