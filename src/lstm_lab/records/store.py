"""The store: where MLflow keeps runs, opened safely by any number of processes, and what is found in it.

By default the store is mlflow.db and mlruns/ at the repo's root, found from this file, so that a plain `mlflow ui`
typed there shows the runs. MLFLOW_TRACKING_URI sends everything elsewhere.
"""

import contextlib
import fcntl
import functools
import hashlib
import os
import secrets
import shlex
import sqlite3
import tempfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from lstm_lab.commandline import python
from lstm_lab.config import CannotRunError
from lstm_lab.hiding import hide
from lstm_lab.paths import ROOT
from lstm_lab.records.faults import StoreError, first_line, hush_loggers, in_a_line, is_fault, way_on
from lstm_lab.records.servers import check_server
from lstm_lab.runtime import loading

if TYPE_CHECKING:  # mlflow takes a second or two to import, and a refused config must not wait for it
    from mlflow import MlflowClient

ARTIFACTS = "/mlruns/artifacts"
COUNTED = ("tags", "params", "latest_metrics")  # tables that searches for runs join
MANY = 1000  # runs from which it matters how SQLite joins them
LOOKED_AT = 1000  # entries of an index, for an estimate
TRAINING = "workflowType=machine_learning"  # of a link: without it MLflow's pages are those for language models
ABOUT = (
    "Runs on one data set, trained by LSTM Lab. `cost` is the squared error summed over a batch and divided by its "
    "rows. `evaluation/...` are errors on samples never trained on, `baselines/...` what is reached there without "
    "training; `validation/mse` ranks runs on a file. A run's `config.yaml` is all that it takes to train it again."
)


def sqlite_uri(database: Path) -> str:
    """The address of an SQLite database, with escapes for what an address, or Optuna in one, takes for its own."""
    return "sqlite:///" + str(database).translate({ord(char): f"%{ord(char):02X}" for char in "%?#{}"})


LOCAL_URI = sqlite_uri(ROOT / "mlflow.db")
PORT_FILE = ROOT / "mlruns/.port"
STORES = ROOT / "mlruns/.stores"


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI if set, else the SQLite database at the repo's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or LOCAL_URI


def address(page: str) -> str:
    """Where a page (`#/...`) is in a browser: on the tracking server, or where `make ui` serves it."""
    base = without_user(tracking_uri()) if tracking_uri().startswith("http") else f"http://127.0.0.1:{port()}"
    return f"{base.rstrip('/')}/{page}"


def runs_page(experiment_id: str) -> str:
    """The page of an experiment's runs."""
    return f"#/experiments/{experiment_id}/runs?{TRAINING}"


def run_page(experiment_id: str, run_id: str) -> str:
    """The page of a run."""
    return f"#/experiments/{experiment_id}/runs/{run_id}?{TRAINING}"


def port() -> int:
    """The port of `make ui`: the one that it was last given."""
    try:
        return int(PORT_FILE.read_text())
    except (OSError, ValueError):
        return 5000


def without_user(uri: str) -> str:
    """A server's address without the user and password that may be in it: a browser asks for them."""
    scheme, _, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def is_local_store() -> bool:
    """Whether runs go to the repo's own mlflow.db."""
    return tracking_uri() == LOCAL_URI  # not 'is the variable unset': MLflow sets it for its child processes


def check_store(reading: bool = False) -> None:
    """Raises StoreError if the store cannot be reached or, unless only for `reading`, written; writes nothing."""
    uri, named = tracking_uri(), f"MLFLOW_TRACKING_URI={tracking_uri()}"
    scheme = uri.partition(":")[0].lower()
    if scheme not in ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks") and "+" not in scheme:
        raise StoreError(f"{named}: must begin with http:, https:, sqlite: or another database's name")
    if uri.rstrip("/") == "sqlite:":
        raise StoreError(
            f"{named}: a database in memory is gone with the run; name a file, as in sqlite:////tmp/runs.db"
        )
    if scheme in ("http", "https"):
        import_mlflow()
        check_server(uri)
    database = database_file()
    if database and (database.is_dir() or any(path.is_file() for path in (database.parent, artifact_folder()))):
        raise StoreError(f"{database} must be a file, {database.parent} and {artifact_folder()} folders; move it away")
    for path in () if reading else written_paths():
        if not os.access(path, os.W_OK):
            raise StoreError(
                f"{path} cannot be written by this user: runs are kept there; mend its permissions, or have "
                "MLFLOW_TRACKING_URI name another store"
            )


def written_paths() -> Iterator[Path]:
    """What a run writes to in the store, as far as files hold it; for what is not there yet, where it is made."""
    database = database_file()
    local = [ROOT / "mlruns", ROOT / "mlruns/tensorboard"] if is_local_store() else []
    for path in [database, database.parent, artifact_folder(), *local] if database else []:
        yield next(found for found in (path.absolute(), *path.absolute().parents) if found.exists())


def artifact_folder() -> Path:
    """Where artifacts go when no server keeps them: below mlruns/, or beside another SQLite database."""
    database = database_file()
    if is_local_store() or not database:
        return ROOT / ARTIFACTS.strip("/")
    return database.resolve().parent / "artifacts"


def database_file() -> Path | None:
    """The file of the store's database, if that is SQLite's."""
    path = tracking_uri().partition("sqlite:///")[2].partition("?")[0]
    return Path(urllib.parse.unquote(path)) if path else None


def lasting_address() -> str:
    """The store's address, which means the same from any directory; without the secrets in it."""
    database = database_file()
    return sqlite_uri(database.absolute()) if database and not is_local_store() else hide(tracking_uri())


def remember_store() -> None:
    """Notes that a run of another store than the repo's own leaves something below mlruns/.

    By what is noted `make gc` knows which stores to ask before it takes something for nobody's.
    """
    if not is_local_store() and lasting_address() not in remembered():
        STORES.parent.mkdir(exist_ok=True)
        with open(STORES, "a") as file:
            file.write(f"{lasting_address()}\n")


def remembered() -> list[str]:
    """The addresses of other stores whose runs may have left something below mlruns/."""
    return STORES.read_text(errors="replace").split("\n")[:-1] if STORES.exists() else []


def mlflow_command(*words: str) -> str:
    """What to type for a command of MLflow's own that is to work on this store."""
    where = [f"MLFLOW_TRACKING_URI={shlex.quote(LOCAL_URI)}"] if is_local_store() else []
    return " ".join([*where, shlex.join([python(), "-m", "mlflow", *words])])


def import_mlflow(verbose: bool = False) -> None:
    """Imports MLflow, as quiet as it is wanted here, and with patience of a bounded kind."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")  # half a minute without an answer
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    if not verbose:
        hush_loggers()
    with loading():
        import mlflow.store.db.utils

        if is_local_store():
            import mlflow.store.tracking.sqlalchemy_store  # MLflow would load it with the first query
    mlflow.store.db.utils.MAX_RETRY_COUNT = 5  # half a minute for a database that does not answer, and not an hour
    # It would make the folders of an address as that is written, with its escapes
    mlflow.store.db.utils._make_parent_dirs_if_sqlite = lambda db_uri: None
    package = str(Path(mlflow.__file__).parent).replace("%", "%%")  # else its migrations are in no folder with a %
    mlflow.store.db.utils._get_package_dir = lambda: package


@functools.cache
def open_store(verbose: bool = False) -> "MlflowClient":
    """A client of the store, opened once per process; makes an SQLite database if it is missing."""
    import_mlflow(verbose)
    import mlflow

    try:
        with store_lock() if is_local_store() else contextlib.nullcontext():
            if database := database_file():
                create_database(database.absolute())
            if is_local_store():
                adopt_moved_store(ROOT / "mlflow.db")
            if database:
                count_rows(database.absolute())
            mlflow.set_tracking_uri(tracking_uri())
            client = mlflow.MlflowClient()
            client.search_experiments(max_results=1)
    except Exception as error:  # whatever MLflow, its database driver or the file system raises
        mend = "a damaged file: move it away" if is_local_store() else "mend MLFLOW_TRACKING_URI or unset it"
        raise StoreError(f"{tracking_uri()} cannot be opened: {first_line(error)}{way_on(error, mend)}") from error
    return client


@contextlib.contextmanager
def faults_told() -> Iterator[None]:
    """Makes a StoreError of whatever the store, a disk or the network has to complain about."""
    try:
        yield
    except CannotRunError:
        raise
    except Exception as error:
        if not is_fault(error):
            raise
        raise StoreError(in_a_line(error, tracking_uri())) from error


def store_lock() -> contextlib.AbstractContextManager[None]:
    """One process of this checkout at a time: two that create the database at once would break it."""
    return locked(ROOT / "mlruns/.lock")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time may be here, by the lock of that file."""
    with lock_file(path) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def lock_file(path: Path) -> IO[str]:
    """The file to be locked, in a folder that may have to be made; where that cannot be written, one of this user's."""
    try:
        path.parent.mkdir(exist_ok=True)
        return open(path, "w")
    except OSError:
        place = hashlib.sha256(str(path).encode()).hexdigest()[:16]
        own = Path(tempfile.gettempdir(), f"lstm-lab-{os.getuid()}-{place}.lock")
        return os.fdopen(os.open(own, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+")


def create_database(database: Path) -> None:
    """Creates the database if it is missing: whole or, if the process is killed or the disk is full, not at all."""
    from mlflow import MlflowClient

    if database.exists():
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    unfinished = database.with_name(f"{database.name}.{secrets.token_hex(4)}.new")
    try:
        MlflowClient(sqlite_uri(unfinished))
        put_in_place(unfinished, database)
    finally:
        for left in (unfinished, Path(f"{unfinished}-journal")):
            left.unlink(missing_ok=True)


def put_in_place(unfinished: Path, database: Path) -> None:
    """Gives the file its name, unless another process has been first: that one may have runs in it already."""
    try:
        os.link(unfinished, database)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        unfinished.rename(database)


def adopt_moved_store(database: Path) -> None:
    """Points the artifacts of a store that was moved or copied to where the store is now.

    MLflow keeps artifact locations as absolute addresses. Left alone, old artifacts would be out of reach after a
    move, and new ones would be written to the old place.
    """
    if not os.access(database, os.W_OK) or not os.access(database.parent, os.W_OK):
        return  # it can only be read
    here = (ROOT / ARTIFACTS.strip("/")).as_uri()
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("logged_models", "artifact_location"),
        ):
            connection.execute(
                f"UPDATE {table} SET {column} = :here || substr({column}, instr({column}, :artifacts) + :length) "
                f"WHERE instr({column} || '/', :artifacts || '/') AND NOT instr({column} || '/', :here || '/') = 1",
                {"here": here, "artifacts": ARTIFACTS, "length": len(ARTIFACTS)},
            )


def count_rows(database: Path) -> None:
    """Has SQLite count what it joins, if the runs have become twice as many since it last did; some milliseconds.

    Left alone it takes every table for a small one, and then ranking runs by a metric takes a time that grows with the
    square of their number. What it counts is in a table of its own (sqlite_stat1), which is no part of MLflow's schema.
    """
    if not os.access(database, os.W_OK) or not os.access(database.parent, os.W_OK):
        return
    with (
        contextlib.suppress(sqlite3.Error),  # locked: the next process counts; damaged: MLflow tells of it
        contextlib.closing(sqlite3.connect(database, timeout=1)) as connection,
        connection,
    ):
        [runs] = connection.execute("SELECT count(*) FROM runs").fetchone()
        if runs < MANY or runs < 2 * counted_runs(connection):
            return
        connection.execute("ANALYZE runs")
        connection.execute(f"PRAGMA analysis_limit = {LOOKED_AT}")
        for table in COUNTED:
            connection.execute(f"ANALYZE {table}")


def counted_runs(connection: sqlite3.Connection) -> int:
    """How many runs there were when SQLite last counted; 0 if it never did."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'").fetchone():
        return 0
    found = connection.execute("SELECT stat FROM sqlite_stat1 WHERE tbl = 'runs'").fetchone()
    return int(found[0].split()[0]) if found else 0


def find_or_create_experiment(client: "MlflowClient", name: str) -> str:
    """The id of the experiment; StoreError if it cannot take a run."""
    from mlflow.exceptions import MlflowException

    location = None if tracking_uri().lower().startswith("http") else artifact_folder().as_uri()
    if location and not database_file():  # one that machines share, whose artifacts are below this mlruns/ as well
        remember_store()
    with store_lock() if is_local_store() else contextlib.nullcontext():
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            try:
                tags = {"mlflow.experimentKind": "custom_model_development", "mlflow.note.content": ABOUT}
                return client.create_experiment(name, artifact_location=location, tags=tags)
            except MlflowException:  # another process was first
                experiment = client.get_experiment_by_name(name)
                if experiment is None:
                    raise
    if experiment.lifecycle_stage != "active":
        raise StoreError(
            f"tracking.experiment='{name}': that experiment was deleted in MLflow; take it back with "
            f"`{mlflow_command('experiments', 'restore', '-x', experiment.experiment_id)}` or choose another name"
        )
    if is_local_store() and experiment.artifact_location.startswith("mlflow-artifacts:"):
        raise StoreError(
            f"tracking.experiment='{name}': that experiment was made in MLflow's web page, which alone can write its "
            "artifacts; choose another name"
        )
    return experiment.experiment_id
