"""What a store, a disk or the network has to complain about, in one line: where, what, and the way on."""

import logging
import os
import re
import shutil
import sqlite3
import tempfile
import threading
import traceback

from lstm_lab.commandline import complain
from lstm_lab.config import CannotRunError
from lstm_lab.hiding import hide_known
from lstm_lab.paths import ROOT

LONGEST = 300  # characters of another program's message
FULL = r"disk is full|No space left|[Qq]uota exceeded|File too large"
WAYS = {
    FULL: "make room there",
    r"database is locked|Lock wait timeout": "another program holds it: wait for that, or end it",
    r"readonly database|Read-only file system|Permission denied|unable to open database file": (
        "let this user write there, or name another place: MLFLOW_TRACKING_URI for runs, hydra.sweeper.storage.url for "
        "studies"
    ),
}
LOGGERS = ("mlflow", "alembic", "sqlalchemy", "optuna")  # each prints stack traces of what it raises as well


class StoreError(CannotRunError):
    """Runs cannot be tracked; the message says where, why and what to do."""


def hush_loggers() -> None:
    """Keeps libraries from printing what they raise: it is told once, in words."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    threading.excepthook = told_of_thread


def told_of_thread(raised: threading.ExceptHookArgs) -> None:
    """Tells in a line of a fault in a library's own thread, such as TensorBoard's."""
    if raised.exc_value and is_fault(raised.exc_value):
        complain(in_a_line(raised.exc_value, "a thread"))
    else:
        threading.__excepthook__(raised)


def is_fault(error: BaseException) -> bool:
    """Whether the store, a disk or the network has failed, rather than the run itself."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    kinds = StoreError | MlflowException | SQLAlchemyError | sqlite3.Error | OSError
    full = re.search(FULL, str(error))  # TensorFlow has errors of its own
    return isinstance(error, kinds) or bool(full) or is_raised_in("mlflow.store.", error)


def is_raised_in(package: str, error: BaseException) -> bool:
    """Whether the error came out of that package, as one does that could not make sense of what it read."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__", "").startswith(package) for frame, _ in frames)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without secrets: the rest is detail for --verbose."""
    said = str(drivers_own(error) or of_first_file(error) or error).strip() or type(error).__name__
    line = hide_known(said.splitlines()[0])
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def drivers_own(error: BaseException) -> BaseException | None:
    """What the driver of a database raised, without what SQLAlchemy and MLflow add to it."""
    return getattr(error, "orig", None) or getattr(error.__cause__, "orig", None)


def of_first_file(error: BaseException) -> str | None:
    """What copying a folder complains about, for the first file that it could not copy: it has a list of all."""
    if not isinstance(error, shutil.Error) or not error.args or not isinstance(error.args[0], list):
        return None
    _, target, why = error.args[0][0]
    what = re.sub(r"^\[Errno \d+\] ([^:]+).*", r"\1", why, flags=re.DOTALL)
    return f"{target}: {what}"


def in_a_line(error: BaseException, where: str) -> str:
    """Where, what, and the way on if it is one of the usual faults; `where` is said of what is no file's fault."""
    if isinstance(error, StoreError):
        return str(error)
    what = first_line(error)
    if isinstance(error, OSError) and error.strerror:
        what = error.strerror
    if isinstance(error, OSError) and error.filename is not None:
        where = os.fsdecode(error.filename2 or error.filename)
    elif re.search(FULL, what) and not drivers_own(error):
        where = f"{ROOT / 'mlruns'} or {tempfile.gettempdir()}"
    is_said = what.startswith("/") or where in what
    return hide_known(what if is_said else f"{where}: {what}") + way_on(error)


def way_on(error: BaseException, otherwise: str = "") -> str:
    """What to do about it, to be said after it."""
    said = f"{error} {error.__cause__ or ''}"
    way = next((way for pattern, way in WAYS.items() if re.search(pattern, said)), otherwise)
    return f"; {way}" if way else ""
