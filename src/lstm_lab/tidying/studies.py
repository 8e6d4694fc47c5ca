"""Optuna studies without trials, and folders of trials whose study is no more."""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_lab.hiding import hide_in_word
from lstm_lab.paths import ROOT
from lstm_lab.studies import database
from lstm_lab.studies.declaration import IN_OWN_DATABASE, folder_of
from lstm_lab.tidying.choosing import may_train
from lstm_lab.tidying.citing import Cited
from lstm_lab.tidying.leftovers import entries, is_file, is_plain
from lstm_lab.tidying.removing import remove, run_now
from lstm_lab.tidying.stores import Contents, Owners

if TYPE_CHECKING:
    import optuna
    from mlflow import MlflowClient
    from mlflow.entities import Run

GONE = ".gone-"  # begins the name of a folder that is being removed; no study's does
HEARTBEAT = 60  # seconds; nothing here lets one be heard


@dataclass(frozen=True)
class Abandoned:
    """A study without trials, by its name; or, of one that is no more, the folder of its trials."""

    name: str
    paths: list[Path]
    remove: Callable[[], bool]


@contextlib.contextmanager
def opened() -> "Iterator[optuna.storages.RDBStorage | None]":
    """The repo's own database of studies; None if there is none, or only behind a link. Nothing is made."""
    file = ROOT / "mlruns/optuna.db"
    if not is_file(file) or not is_plain(file):
        yield None
        return
    storage = database.open_storage(None, HEARTBEAT, 2 * HEARTBEAT)
    try:
        yield storage
    finally:
        storage.engine.dispose()


def without_trials(
    storage: "optuna.storages.RDBStorage", client: "MlflowClient", found: Contents, owners: Owners, cited: Cited
) -> list[Abandoned]:
    """The studies that have no trial and that nobody is about to give one."""
    runs = {run.info.run_id: run for run in found.runs}
    abandoned = []
    for study in storage.get_all_studies():
        page, name = study.user_attrs.get("parent_run"), study.study_name
        is_elsewhere = isinstance(page, str) and page not in runs and (page in owners.ids or owners.unasked)
        is_cited = name in cited.studies or (isinstance(page, str) and cited.page_with(page))
        if is_elsewhere or is_cited or not is_idle(storage, study._study_id, runs.get(str(page))):
            continue

        def act(ident: int = study._study_id, page: Any = page, name: str = name) -> bool:
            with database.study_lock(storage):  # with which a worker makes a study and its page
                now = storage.get_study_user_attrs(ident).get("parent_run")
                run = run_now(client, page) if page in runs else None
                if now != page or not is_idle(storage, ident, run):
                    return False
                remove_folder(folder_of(name))
                storage.delete_study(ident)
                return True

        abandoned.append(Abandoned(name, parts_of(folder_of(name)), act))
    return abandoned


def is_idle(storage: "optuna.storages.RDBStorage", study: int, page: "Run | None") -> bool:
    """Whether a study has no trial, and no worker that has just begun it, which its page in MLflow would tell."""
    return storage.get_n_trials(study) == 0 and not (page and may_train(page))


def folders_without_study(storage: "optuna.storages.RDBStorage", cited: Cited) -> list[Abandoned]:
    """The folders of trials whose study was in the repo's own database and is there no more.

    They hold copies. A study kept elsewhere has its folder here as well, which does not say that it was here.
    """

    def names() -> set[str]:
        return {hide_in_word(study.study_name) for study in storage.get_all_studies()}

    known, abandoned = names(), []
    for folder in entries(ROOT / "mlruns/sweeps"):
        if folder.name.startswith(GONE):  # of a process that was killed over it
            abandoned.append(Abandoned(folder.name, [folder], lambda folder=folder: remove([folder])))  # type: ignore[misc]
        name, parts = study_in(folder), parts_of(folder)
        if name is None or not parts or name in known or name in cited.studies:
            continue

        def act(folder: Path = folder) -> bool:
            with database.study_lock(storage):  # a study that begins now is made with it, its folder after that
                if study_in(folder) in {None, *names()}:
                    return False
                remove_folder(folder)
                return True

        abandoned.append(Abandoned(folder.name, parts, act))
    return abandoned


def study_in(folder: Path) -> str | None:
    """The study whose trials are in the folder, if it says that it was in the repo's own database; else None."""
    about = folder / "study.txt"
    if not is_plain(about) or not is_file(about):
        return None
    lines = about.read_text(errors="replace").splitlines()
    return lines[0] if len(lines) > 1 and lines[-1] == IN_OWN_DATABASE else None


def parts_of(folder: Path) -> list[Path]:
    """What is a sweep's of a folder of trials: all of it, or what a user's files are beside."""
    if study_in(folder) is None:
        return []
    trials = [path for path in entries(folder) if path.name.isdecimal() and path.is_dir() and not path.is_symlink()]
    about = folder / "study.txt"
    return [folder] if set(entries(folder)) == {*trials, about} else [*trials, about]


def remove_folder(folder: Path) -> None:
    """Removes what is a sweep's of a folder of trials. What tells that it is some goes last, or with all of it."""
    parts = parts_of(folder)
    if parts == [folder]:
        gone = folder.with_name(f"{GONE}{secrets.token_hex(4)}")
        folder.rename(gone)
        parts = [gone]
    remove(parts)
