"""What would go: by kind, with names and sizes, and how each is removed."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lab.records import store
from lstm_lab.records.reading import name_of
from lstm_lab.tidying import leftovers, removing, studies
from lstm_lab.tidying.choosing import Choice, choose, is_deleted
from lstm_lab.tidying.citing import Cited, cited
from lstm_lab.tidying.leftovers import ARTIFACTS, BOARDS, CHECKPOINTS, FORECASTS, REPORTS, Left
from lstm_lab.tidying.stores import Contents, Owners, contents, owners

if TYPE_CHECKING:
    import optuna
    from mlflow import MlflowClient

DELETED, OLD, MODELS = "runs deleted in MLflow", "failed and killed runs", "models deleted in MLflow"
STUDIES, SWEEPS = "studies without trials", "folders of studies that are no more"
KINDS = (DELETED, OLD, MODELS, CHECKPOINTS, BOARDS, FORECASTS, REPORTS, ARTIFACTS, STUDIES, SWEEPS)
DIGITS = (6, 8, 32, 34)  # of an id in the names of folders and files; a model's has all, behind m-


@dataclass(frozen=True)
class Going:
    """Something of that kind that goes, the bytes that it takes, and what removes it unless it is in use by then."""

    kind: str
    name: str
    size: int
    remove: Callable[[], bool]


@dataclass(frozen=True)
class Plan:
    """What goes, why runs stay that were to go, and how much lies there of runs that are not in a store asked."""

    going: Sequence[Going]
    kept: dict[str, str]
    unknown: int
    unasked: Sequence[str]


@dataclass(frozen=True)
class Allotted:
    """What lies below mlruns/ of each run or model that goes, by its id; of no run; and how much of unknown ones."""

    of: dict[str, list[Path]]
    nobodys: list[Left]
    unknown: int


def make(client: "MlflowClient", storage: "optuna.storages.RDBStorage | None", days: int | None) -> Plan:
    """Finds out what goes.

    What lies there is listed before any store is asked: whatever has a run by then is known as its own, and what comes
    after that is not in the list.
    """
    left = leftovers.left_behind()
    own, found, pages = owners(), contents(client), cited()
    is_ours = store.database_file() is not None
    choice = choose(found, pages, days) if is_ours else Choice({}, {}, {}, {})
    allotted = allot(left, found, own, choice, pages)
    going = [*runs_of(client, choice, allotted, days), *models_of(client, choice)]
    for one in allotted.nobodys:
        act = functools.partial(removing.remove, one.paths)
        going.append(Going(one.kind, one.name, removing.size_of(one.paths), act))
    if storage:
        empty = studies.without_trials(storage, client, found, own, pages)
        for kind, some in ((STUDIES, empty), (SWEEPS, studies.folders_without_study(storage, pages))):
            going += [Going(kind, one.name, removing.size_of(one.paths), one.remove) for one in some]
    return Plan(going, choice.kept, allotted.unknown, own.unasked)


def allot(left: Sequence[Left], found: Contents, own: Owners, choice: Choice, pages: Cited) -> Allotted:
    """Tells whose each thing is; nobody's only if every store was asked."""
    owners = {ident: ident for ident in (*choice.runs, *choice.models)}
    owners |= {model.model_id: ident for ident, models in choice.models_of.items() for model in models}
    ids = {run.info.run_id for run in found.runs} | {model.model_id for model in found.models} | own.ids
    known = {ident[:digits] for ident in ids - owners.keys() for digits in DIGITS}
    going = {ident[:digits]: owner for ident, owner in owners.items() for digits in DIGITS}
    of: dict[str, list[Path]] = {}
    nobodys, unknown = [], 0
    for one in left:
        if any(ident in known or pages.page_with(ident.removeprefix("m-")) for ident in one.idents):
            continue
        whose = [going[ident] for ident in one.idents if ident in going]
        if len(whose) == len(one.idents) and one.kind != REPORTS:
            of.setdefault(whose[0], []).extend(one.paths)
        elif len(whose) == len(one.idents) or not own.unasked:
            nobodys.append(one)
        else:
            unknown += 1
    return Allotted(of, nobodys, unknown)


def runs_of(client: "MlflowClient", choice: Choice, allotted: Allotted, days: int | None) -> list[Going]:
    """The runs that go, with their models, artifacts and all that lies elsewhere."""
    going = []
    for ident, run in choice.runs.items():
        models = choice.models_of[ident]
        places = [ident, *(f"models/{model.model_id}" for model in models)]
        own = [path for place in places for path in leftovers.artifacts_in(store.artifact_folder() / place)]
        paths = list(dict.fromkeys([*allotted.of.get(ident, ()), *own]))
        act = functools.partial(removing.remove_run, client, ident, choice, paths, days)
        kind = DELETED if is_deleted(run) else OLD
        going.append(Going(kind, f"{ident[:8]} {name_of(run)}", removing.size_of(paths), act))
    return going


def models_of(client: "MlflowClient", choice: Choice) -> list[Going]:
    """The models that go without a run."""
    going = []
    for ident in choice.models:
        paths = leftovers.artifacts_in(store.artifact_folder() / "models" / ident)
        act = functools.partial(removing.remove_model, client, ident, paths)
        going.append(Going(MODELS, ident, removing.size_of(paths), act))
    return going
