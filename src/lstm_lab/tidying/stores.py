"""Which runs there are, in the store in use and in others: what lies below mlruns/ may be any store's."""

import contextlib
import functools
import sqlite3
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_lab.paths import ROOT
from lstm_lab.records import lookup, store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

RUNS, MODELS = "SELECT run_uuid FROM runs", "SELECT model_id FROM logged_models"
TAGGED = "SELECT key, run_uuid, lifecycle_stage FROM tags JOIN runs USING (run_uuid) WHERE value = ?"


@dataclass(frozen=True)
class Contents:
    """Every run and model of the store in use, deleted ones too; and the ids of those that are registered for use."""

    runs: "list[Run]"
    models: "list[LoggedModel]"
    deleted_models: set[str]
    registered: set[str]


@dataclass(frozen=True)
class Owners:
    """The ids of the runs and models of databases, and the addresses of stores that could not be asked."""

    ids: set[str]
    unasked: list[str]


def contents(client: "MlflowClient") -> Contents:
    """What the store in use has."""
    from mlflow.entities import ViewType

    experiments = [found.experiment_id for found in lookup.pages(client.search_experiments, ViewType.ALL)]
    search = functools.partial(client.search_runs, max_results=lookup.PAGES)
    runs = list(lookup.pages(search, experiments, "", ViewType.ALL)) if experiments else []
    models, deleted = all_models(client, experiments) if store.database_file() and experiments else ([], [])
    versions = list(lookup.pages(functools.partial(client.search_model_versions, max_results=1000)))
    registered = {part for version in versions for part in (version.run_id, *str(version.source).split("/")) if part}
    return Contents(runs, [*models, *deleted], {model.model_id for model in deleted}, registered)


def all_models(client: "MlflowClient", experiments: list[str]) -> "tuple[list[LoggedModel], list[LoggedModel]]":
    """The models of the database in use, and those that were deleted there, which MLflow's search leaves out."""
    tracking: Any = client._tracking_client.store
    deleted = [tracking.get_logged_model(ident, allow_deleted=True) for ident in tracking._get_deleted_logged_models()]
    return list(lookup.pages(functools.partial(tracking.search_logged_models, experiments))), deleted


def owners() -> Owners:
    """Who may own something below mlruns/: what is in the database in use, the repo's own, and those noted.

    They are only read, each at one moment: of a long list that MLflow gives in pieces, one could be missed that begins
    or goes meanwhile. A server that is not in use is not asked: it would want to know who does.
    """
    database, unasked = store.database_file(), []
    ids = set(read_ids(database)) if database else set()
    for address in {store.LOCAL_URI, *store.remembered()} - {store.lasting_address()}:
        found = ids_in(address)
        if found is None:
            unasked.append(address)
        else:
            ids |= found
    return Owners(ids, sorted(unasked))


def ids_in(address: str) -> set[str] | None:
    """The ids of the runs and models in an SQLite database; None if it cannot be told."""
    path = Path(urllib.parse.unquote(address.partition("sqlite:///")[2]))
    if address == store.LOCAL_URI and not path.exists() and not (ROOT / store.ARTIFACTS.strip("/")).exists():
        return set()  # the repo's own store was never used
    if not address.startswith("sqlite:///"):
        return None
    with contextlib.suppress(sqlite3.Error):
        return set(read_ids(path))
    return None


def read_ids(path: Path) -> Iterator[str]:
    """The ids in that database."""
    with only_read(path) as connection:
        for query in (RUNS, MODELS):
            yield from (ident for (ident,) in connection.execute(query))


def tagged_with(value: str) -> list[tuple[str, str, str]]:
    """Key, run's id and MLflow's stage of each tag of that value, as the database in use has them at this moment."""
    database = store.database_file()
    if database is None:
        return []
    with only_read(database) as connection:
        return connection.execute(TAGGED, (value,)).fetchall()


@contextlib.contextmanager
def only_read(path: Path) -> Iterator[sqlite3.Connection]:
    """A database, opened so that nothing can change it."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=60)) as connection:
        yield connection
