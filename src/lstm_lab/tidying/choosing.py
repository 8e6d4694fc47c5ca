"""Which runs of the store in use go, and why others stay that were asked to."""

import re
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lab.records import processes, reading, store, tagging
from lstm_lab.records.reading import printable
from lstm_lab.tidying.citing import Cited
from lstm_lab.tidying.leftovers import is_plain
from lstm_lab.tidying.stores import Contents, tagged_with

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run

DAY = 86_400_000  # milliseconds
ENDED = ("FINISHED", "FAILED", "KILLED")
NAMING = re.compile(r"reproduces|mlflow\.parentRunId|seed\.[0-9]+")  # tags that name a run which must stay, too


@dataclass(frozen=True)
class Choice:
    """The runs that go, by id, with the models of each; models that go alone, by id; why other runs stay, by id."""

    runs: "dict[str, Run]"
    models_of: "dict[str, list[LoggedModel]]"
    models: "dict[str, LoggedModel]"
    kept: dict[str, str]


def choose(found: Contents, cited: Cited, days: int | None) -> Choice:
    """What goes: runs deleted in MLflow; with `days`, those that failed or were killed longer ago; deleted models."""
    models_of: dict[str, list[LoggedModel]] = {}
    for model in found.models:
        models_of.setdefault(model.source_run_id or "", []).append(model)
    wanted = {run.info.run_id: run for run in found.runs if is_deleted(run) or is_old(run, days)}
    wanted = {ident: run for ident, run in wanted.items() if reading.is_run_id(ident)}
    used, studies = in_use(found, wanted), cited_studies(found.runs, cited)
    kept = {}
    for ident, run in wanted.items():
        models = models_of.get(ident, [])
        why = (
            why_cited(run, cited, studies)
            or why_needed(run, models, found.registered)
            or why_elsewhere(run, models, used)
        )
        if why:
            kept[ident] = why
    keep_named(found.runs, wanted, kept)
    going = {ident: run for ident, run in wanted.items() if ident not in kept}
    alone = {
        model.model_id: model
        for model in found.models
        if model.model_id in found.deleted_models
        and model.source_run_id not in wanted
        and not cited.page_with(model.source_run_id or model.model_id)
        and model.model_id not in found.registered
        and place_of(model.artifact_location, f"models/{model.model_id}")
    }
    return Choice(going, {ident: models_of.get(ident, []) for ident in going}, alone, kept)


def is_deleted(run: "Run") -> bool:
    """Whether the run was deleted in MLflow, which keeps it to be restored."""
    return run.info.lifecycle_stage == "deleted"


def is_old(run: "Run", days: int | None) -> bool:
    """Whether it failed or was killed more than so many days ago; a pruned trial did not, it is its study's."""
    ended, tags = run.info.end_time, run.data.tags
    if days is None or run.info.status not in ("FAILED", "KILLED") or not ended:
        return False
    ours = tags.get("mlflow.source.name") == "src/train.py" and tags.get("trial.state") != "PRUNED"
    return ours and ended < time.time() * 1000 - days * DAY


def may_train(run: "Run") -> bool:
    """Whether something may still train it: it has no end, and not every process that signed it is known to be gone."""
    return run.info.status not in ENDED and not processes.is_cut_short(run)


def cited_studies(runs: "list[Run]", cited: Cited) -> dict[str, str]:
    """The studies that a page cites by their command, or by the id of the run that stands for them, with its name."""
    of_runs = [(run.data.tags.get("study", ""), run) for run in runs if tagging.is_study(run.data.tags)]
    return cited.studies | {study: page for study, run in of_runs if (page := cited.page_with(run.info.run_id))}


def why_cited(run: "Run", cited: Cited, studies: Mapping[str, str]) -> str:
    """Which page the run is evidence of, by itself or by its study; nothing if of none."""
    page = cited.page_with(run.info.run_id)
    if page:
        return f"{page} cites it"
    study = run.data.tags.get("study", "")
    return f"{studies[study]} cites its study" if study in studies else ""


def why_needed(run: "Run", models: "list[LoggedModel]", registered: set[str]) -> str:
    """Who else needs the run: what trains it, or MLflow's registry; nothing if nobody."""
    if may_train(run):
        hosts = [printable(process["host"].split("/")[0], 40) for process in processes.processes_of(run)]
        return f"it may still be training on {', '.join(sorted(set(hosts))) or 'an unknown machine'}"
    if {run.info.run_id, *(model.model_id for model in models)} & registered:
        return "its model is registered in MLflow"
    return ""


def why_elsewhere(run: "Run", models: "list[LoggedModel]", used: set[str]) -> str:
    """Why its files cannot be removed: an address in the store is followed to nothing but a folder of their own."""
    ident = run.info.run_id
    if not place_of(run.info.artifact_uri, ident):
        return f"its files are not in this store's own folder: {printable(str(run.info.artifact_uri), 60)}"
    for model in models:
        if not place_of(model.artifact_location, f"models/{model.model_id}"):
            return f"its model is not in this store's own folder: {printable(str(model.artifact_location), 60)}"
    return "files of another run are in its folder" if ident in used else ""


def place_of(address: str, name: str) -> Path | None:
    """The folder of that name among the store's artifacts, if the address is the one that MLflow gives it there."""
    parsed = urllib.parse.urlsplit(str(address))
    folder = store.artifact_folder() / name
    path = Path(urllib.parse.unquote(parsed.path))
    is_own = parsed.scheme in ("", "file") and not parsed.netloc and path == folder / "artifacts"
    return folder if is_own and is_plain(folder / "artifacts") else None


def in_use(found: Contents, wanted: "Mapping[str, Run]") -> set[str]:
    """The names of folders among the artifacts that runs and models have for theirs, and not the run of that name."""
    addresses = [(run.info.run_id, str(run.info.artifact_uri)) for run in found.runs]
    addresses += [(model.model_id, str(model.artifact_location)) for model in found.models]
    parts = ((ident, Path(urllib.parse.unquote(urllib.parse.urlsplit(at).path)).parts) for ident, at in addresses)
    return {part for ident, path in parts for part in path if part in wanted and part != ident}


def keep_named(runs: "list[Run]", wanted: "Mapping[str, Run]", kept: dict[str, str]) -> None:
    """Adds to `kept` what runs that stay name as their parent, their original or one of their seeds."""
    stay = [run for run in runs if run.info.run_id not in wanted or run.info.run_id in kept]
    while stay:
        run = stay.pop()
        for named in named_by(run):
            if named in wanted and named not in kept:
                kept[named] = f"run {run.info.run_id[:8]} names it, which stays"
                stay.append(wanted[named])


def is_named(run_id: str, going: "Mapping[str, Run]") -> bool:
    """Whether a run that stays names it by now, or one that was to go, and was restored in MLflow meanwhile."""
    return any(
        NAMING.fullmatch(key.removeprefix(tagging.HIDDEN))
        and (run not in going or (stage == "active" and is_deleted(going[run])))
        for key, run, stage in tagged_with(run_id)
    )


def named_by(run: "Run") -> Iterator[str]:
    """The runs that a run names so."""
    return (value for key, value in tagging.tags_of(run).items() if NAMING.fullmatch(key))
