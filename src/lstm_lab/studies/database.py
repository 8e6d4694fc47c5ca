"""The studies' database: opened by any number of workers, locked by one at a time; what is said of its faults."""

import contextlib
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy

from lstm_lab.config import CannotRunError
from lstm_lab.hiding import hide_in_word, hide_known
from lstm_lab.paths import ROOT
from lstm_lab.records.faults import first_line, is_raised_in, way_on
from lstm_lab.records.store import locked, sqlite_uri

INSTALL = ".venv/bin/python $(ls bootstrap/pip-*.whl)/pip install"  # .venv itself holds no pip
DATABASE_FAULTS = (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)
GO_ON = "What is done is kept; once it answers again, the same command goes on"


class StudyError(CannotRunError):
    """The study cannot be run or continued; the message says why and what to do."""


@contextlib.contextmanager
def experimental() -> Iterator[None]:
    """Hushes Optuna's word that a feature is experimental, and that only `Study.optimize` would keep heartbeats."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", "Heartbeat of storage")
        yield


def open_storage(url: str | None, heartbeat: int, grace: int) -> optuna.storages.RDBStorage:
    """Opens the study's database, creating its tables if need be; StudyError if it cannot be reached."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)  # what it raises is told in words
    options: dict[str, Any] = {
        "heartbeat_interval": heartbeat,
        "grace_period": grace,
        "engine_kwargs": {"pool_pre_ping": True},  # a database that was started again has closed every connection
    }
    with experimental():
        try:
            with file_lock():
                url = url or create_database(ROOT / "mlruns/optuna.db")
                if url.startswith("sqlite"):
                    options["engine_kwargs"]["connect_args"] = {"timeout": 60}
                return connect(url, options)
        except (ImportError, OSError, *DATABASE_FAULTS) as error:
            raise StudyError(why_not_opened(error, url)) from None


def why_not_opened(error: Exception, url: str | None) -> str:
    """Why the study's database cannot be opened, and the way on."""
    where = hide_in_word(f"hydra.sweeper.storage.url={url}") if url else str(ROOT / "mlruns/optuna.db")
    why = hide_known(first_line(error), url)
    if isinstance(error, ImportError | sqlalchemy.exc.NoSuchModuleError):
        return f"{where}: its driver is not installed ({why}); for PostgreSQL: {INSTALL} 'psycopg[binary]'"
    return f"{where}: {why}{way_on(error)}"


def connect(url: str, options: dict[str, Any]) -> optuna.storages.RDBStorage:
    """Opens the database, with patience: other machines may be creating its tables in these very moments."""
    for _ in range(9):
        try:
            return optuna.storages.RDBStorage(url, **options)
        except (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError):
            time.sleep(0.5)
    return optuna.storages.RDBStorage(url, **options)


def create_database(database: Path) -> str:
    """The address of the SQLite database; made whole or, if the process is killed or the disk is full, not at all."""
    if not database.exists():
        unfinished = database.with_suffix(".db.new")
        unfinished.unlink(missing_ok=True)
        try:
            optuna.storages.RDBStorage(sqlite_uri(unfinished)).engine.dispose()
            unfinished.rename(database)
        finally:  # of a full disk it would take what is left
            unfinished.unlink(missing_ok=True)
    return sqlite_uri(database)


@contextlib.contextmanager
def faults_told() -> Iterator[None]:
    """Makes a StudyError of whatever the study's database has to complain about while the study goes on."""
    try:
        yield
    except DATABASE_FAULTS as error:
        raise StudyError(f"{fault_in_words(error)}. {GO_ON}") from error
    except Exception as error:
        if isinstance(error, CannotRunError) or not is_raised_in("optuna.", error):
            raise
        raise StudyError(unreadable(f"Optuna says {type(error).__name__}: {first_line(error)}")) from error


def unreadable(what: str) -> str:
    """That another program has written something that no sweep writes."""
    return f"the study's database is not as sweeps leave it ({what}); take another hydra.sweeper.study_name or storage"


def fault_in_words(error: Exception) -> str:
    """What the study's database has to complain about, and the way on, in a line."""
    cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
    return f"the study's database failed: {first_line(cause or error)}{way_on(error)}"


@contextlib.contextmanager
def file_lock() -> Iterator[None]:
    """One process of this checkout at a time."""
    with locked(ROOT / "mlruns/.study.lock"):
        yield


@contextlib.contextmanager
def study_lock(storage: optuna.storages.RDBStorage) -> Iterator[None]:
    """One worker at a time may create the study, take a trial or clear up after a dead worker.

    The total is exact because of it. PostgreSQL locks across machines; the other databases within this checkout.
    Both locks go with the process that holds them, however it ends.
    """
    if storage.engine.dialect.name == "postgresql":
        with storage.engine.connect() as connection, connection.begin():
            connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(5170617)"))
            yield
    else:
        with file_lock():
            yield
