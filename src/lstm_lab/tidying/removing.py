"""Files, folders and runs removed in such an order that what a kill leaves is found the next time."""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_lab.records import store
from lstm_lab.tidying.choosing import Choice, is_deleted, is_named, is_old, may_train

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TRIES = 5  # of a folder that another program is removing, too


def size_of(paths: Iterable[Path]) -> int:
    """The bytes that files and folders take on the disk, each file once whatever its names, as `du` counts them."""
    found = {(info.st_dev, info.st_ino): 512 * info.st_blocks for path in paths for info in infos(path)}
    return sum(found.values())


def infos(path: Path) -> Iterator[os.stat_result]:
    """What the system says of a file or folder and of all that is in it; links are not followed."""
    with contextlib.suppress(FileNotFoundError):
        yield path.lstat()
        if path.is_dir() and not path.is_symlink():
            for inside in path.iterdir():
                yield from infos(inside)


def remove(paths: Iterable[Path]) -> bool:
    """Removes files and folders, as far as they are there; True. OSError names what cannot be removed."""
    for path in paths:
        for _ in range(TRIES):
            with contextlib.suppress(FileNotFoundError):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            if not os.path.lexists(path):
                break
    return True


def remove_run(client: "MlflowClient", run_id: str, choice: Choice, paths: Iterable[Path], days: int | None) -> bool:
    """Removes a run for good, as `mlflow gc` does: its files first, so that what is left is still a deleted run's.

    Nothing is done, and False returned, if it was restored or resumed meanwhile, or is needed by a run that was, or
    that began.
    """
    tracking: Any = client._tracking_client.store
    if is_named(run_id, choice.runs):
        return False
    with store.store_lock():  # under which a run is taken over to be resumed
        run = run_now(client, run_id)
        if run and not is_deleted(run) and is_old(run, days):
            client.delete_run(run_id)
            run = run_now(client, run_id)
    if not run or not is_deleted(run) or may_train(run):
        return False
    remove(paths)
    for model in choice.models_of[run_id]:
        with missing_accepted():
            tracking._hard_delete_logged_model(model.model_id)
    with missing_accepted():
        tracking._hard_delete_run(run_id)
    return True


def remove_model(client: "MlflowClient", model_id: str, paths: Iterable[Path]) -> bool:
    """Removes a model that was deleted in MLflow, its files first; False if it is there no more."""
    tracking: Any = client._tracking_client.store
    if model_id not in tracking._get_deleted_logged_models():
        return False
    remove(paths)
    with missing_accepted():
        tracking._hard_delete_logged_model(model_id)
    return True


def run_now(client: "MlflowClient", run_id: str) -> "Run | None":
    """The run as the store has it at this moment; None if it has it no more."""
    with missing_accepted():
        return client.get_run(run_id)
    return None


@contextlib.contextmanager
def missing_accepted() -> Iterator[None]:
    """Lets pass that the store has something no more."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
