"""The store's faults: a full disk, a lock, missing permissions, each in one line and none with a stack trace."""

import contextlib
import errno
import logging
import os
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
import sqlalchemy
from mlflow.exceptions import MlflowException

from lstm_lab.config import ConfigError
from lstm_lab.records import faults, store


def of_database(said):
    """What MLflow raises when its database complains, as it raises it."""
    try:
        try:
            raise sqlalchemy.exc.OperationalError("INSERT", {}, sqlite3.OperationalError(said))
        except sqlalchemy.exc.OperationalError as error:
            raise MlflowException(message=f"(raised as a result of Query-invoked autoflush)\n{error}") from error
    except MlflowException as error:
        return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (of_database("database or disk is full"), "URI: database or disk is full; make room there"),
        (of_database("database is locked"), "URI: database is locked; another program holds it"),
        (
            of_database("attempt to write a readonly database"),
            "URI: attempt to write a readonly database; let this user",
        ),
        (sqlite3.OperationalError("disk I/O error"), "URI: disk I/O error"),
        (OSError(errno.ENOSPC, "No space left on device", "/a", None, "/b"), "/b: No space left on device; make room"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/a"), "/a: Disk quota exceeded; make room there"),
        (
            shutil.Error([("/a", "/b", str(OSError(errno.ENOSPC, "No space left on device", "/a", None, "/b")))]),
            "/b: No space left on device; make room there",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), f"{store.ROOT}/mlruns or /"),
        (PermissionError(errno.EACCES, "Permission denied", b"/a"), "/a: Permission denied; let this user write there"),
        (ConnectionError("refused"), "URI: refused"),
        (RuntimeError("/a/events.out; No space left on device"), "/a/events.out; No space left on device; make room"),
        (store.StoreError("said already"), "said already"),
    ],
)
def test_a_fault_is_told_in_a_line_with_the_way_on(error, said, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "URI")
    with pytest.raises(store.StoreError) as told, store.faults_told():
        raise error
    assert str(told.value).startswith(said)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("error", [ValueError("ours"), ConfigError("a key")])
def test_what_is_no_fault_of_the_store_stays_what_it_is(error):
    with pytest.raises(type(error)) as raised, store.faults_told():
        raise error
    assert raised.value is error


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An SQLite store with a small limit for its pages; sets how many it may have."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.sqlite_uri(tmp_path / "new folder/50%?#.db"))
    monkeypatch.setattr(faults.threading, "excepthook", faults.threading.excepthook)
    store.open_store.cache_clear()
    limit = [10_000_000]

    def limited(connection, record):
        if isinstance(connection, sqlite3.Connection):
            connection.execute(f"PRAGMA max_page_count = {limit[0]}")

    sqlalchemy.event.listen(sqlalchemy.pool.Pool, "connect", limited)
    yield lambda pages: limit.__setitem__(0, pages)
    sqlalchemy.event.remove(sqlalchemy.pool.Pool, "connect", limited)
    store.open_store.cache_clear()


def test_a_disk_that_fills_while_the_store_is_made_is_one_line(elsewhere, tmp_path, capfd):
    elsewhere(5)
    with pytest.raises(store.StoreError, match=r"cannot be opened: database or disk is full; make room there$"):
        store.open_store()
    assert capfd.readouterr() == ("", "")
    assert not list((tmp_path / "new folder").iterdir())
    elsewhere(10_000_000)
    assert store.open_store().search_experiments()
    assert [path.name for path in tmp_path.iterdir()] == ["new folder"]  # no folder of the address as written


def test_a_disk_that_fills_later_is_one_line_and_keeps_what_is_there(elsewhere, capfd):
    client = store.open_store()
    experiment = store.find_or_create_experiment(client, "mine")
    with contextlib.closing(sqlite3.connect(store.database_file())) as connection:
        elsewhere(connection.execute("PRAGMA page_count").fetchone()[0])
    for engine in [found for found in engines() if "50%" in str(found.url.database)]:
        engine.dispose()  # the next connection has the limit

    @store.faults_told()
    def fill():
        for i in range(200):
            client.create_run(experiment, tags={"much": "x" * 5000, "number": str(i)})

    with pytest.raises(store.StoreError, match="database or disk is full; make room there"):
        fill()
    assert capfd.readouterr() == ("", "")
    assert client.get_experiment_by_name("mine").experiment_id == experiment


def engines():
    """Every engine of SQLAlchemy in this process."""
    import gc

    return [found for found in gc.get_objects() if isinstance(found, sqlalchemy.engine.Engine)]


def test_a_database_that_is_locked_for_long_is_one_line(elsewhere, capfd, monkeypatch):
    store.open_store()
    store.open_store.cache_clear()
    with contextlib.closing(sqlite3.connect(store.database_file())) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(store, "import_mlflow", lambda verbose: None)
        monkeypatch.setattr("mlflow.MlflowClient", lambda: asking(store.database_file()))
        with pytest.raises(store.StoreError, match="database is locked; another program holds it"):
            store.open_store()
    assert capfd.readouterr() == ("", "")


def asking(database):
    """Raises what MLflow would after twenty seconds."""
    with contextlib.closing(sqlite3.connect(database, timeout=0)) as connection:
        connection.execute("SELECT * FROM experiments")


def test_the_environment_may_be_in_a_folder_with_a_percent_sign(monkeypatch):
    import mlflow.store.db.utils as migrations

    monkeypatch.setattr("mlflow.__file__", "/50%20/site-packages/mlflow/__init__.py")
    monkeypatch.setattr(migrations, "_get_package_dir", None)
    store.import_mlflow()
    asked = migrations._get_alembic_config("sqlite:////a%20.db")
    assert asked.get_main_option("script_location") == "/50%20/site-packages/mlflow/store/db_migrations"


def test_libraries_print_no_stack_trace_of_what_is_told():
    faults.hush_loggers()
    assert all(logging.getLogger(name).level == logging.CRITICAL for name in ("mlflow", "alembic", "sqlalchemy"))


def read_only(path):
    """Makes os.access say of the path, and all below it, that it can only be read: root may write anywhere."""
    real = os.access
    return lambda asked, mode: real(asked, mode) and not (mode & os.W_OK and Path(asked).is_relative_to(path))


@pytest.mark.parametrize("there", [True, False])
def test_a_store_that_can_only_be_read_takes_no_run_and_is_read(there, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/folder/runs.db")
    if there:
        (tmp_path / "folder").mkdir()
        sqlite3.connect(tmp_path / "folder/runs.db").close()
    store.check_store()
    monkeypatch.setattr(os, "access", read_only(tmp_path))
    store.check_store(reading=True)
    with pytest.raises(store.StoreError, match=r"cannot be written by this user: .* MLFLOW_TRACKING_URI name another"):
        store.check_store()


def test_a_moved_store_that_can_only_be_read_is_left_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "mlflow.db").write_bytes(b"")
    monkeypatch.setattr(os, "access", read_only(tmp_path))
    store.adopt_moved_store(tmp_path / "mlflow.db")
    assert (tmp_path / "mlflow.db").read_bytes() == b""


def test_where_mlruns_cannot_be_made_the_lock_is_this_users_own(tmp_path, monkeypatch):
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo/mlruns").write_text("in the way")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(store.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    for _ in range(2):
        with store.locked(tmp_path / "repo/mlruns/.lock"):
            [made] = (tmp_path / "tmp").iterdir()
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    made.unlink()
    made.symlink_to(tmp_path / "repo/mlruns")
    with pytest.raises(OSError, match="symbolic links"), store.locked(tmp_path / "repo/mlruns/.lock"):
        pass


def test_sqlite_counts_its_rows_anew_only_when_the_runs_have_doubled(tmp_path, monkeypatch):
    database = tmp_path / "runs.db"
    monkeypatch.setattr(store, "MANY", 4)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        for table in ("runs", *store.COUNTED):
            connection.execute(f"CREATE TABLE {table} (key TEXT, run_uuid TEXT, PRIMARY KEY (key, run_uuid))")

        def counted(runs):
            with connection:
                for table in ("runs", *store.COUNTED):
                    connection.execute(f"DELETE FROM {table}")
                    connection.executemany(f"INSERT INTO {table} VALUES ('k', ?)", [(str(i),) for i in range(runs)])
            store.count_rows(database)
            return store.counted_runs(connection)

        assert [counted(runs) for runs in (3, 4, 7, 8, 15, 2, 16)] == [0, 4, 4, 8, 8, 8, 16]
        tables = {name for (name,) in connection.execute("SELECT DISTINCT tbl FROM sqlite_stat1")}
    assert tables == {"runs", *store.COUNTED}


def test_a_database_that_cannot_be_counted_is_left_to_mlflow(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "MANY", 0)
    damaged = tmp_path / "runs.db"
    damaged.write_bytes(b"not a database" * 100)
    store.count_rows(damaged)
    assert damaged.read_bytes() == b"not a database" * 100
    with contextlib.closing(sqlite3.connect(tmp_path / "locked.db")) as holder:
        holder.execute("CREATE TABLE runs (run_uuid TEXT)")
        holder.commit()
        holder.execute("BEGIN EXCLUSIVE")
        store.count_rows(tmp_path / "locked.db")
        holder.rollback()
    monkeypatch.setattr(os, "access", read_only(tmp_path))
    store.count_rows(damaged)
    assert damaged.read_bytes() == b"not a database" * 100
