"""Shared by all tests: TensorFlow started as a run starts it, and copies of the project in which runs may write."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers import Server, copy_project, own_port, train
from lstm_lab import runtime

os.environ.pop("MLFLOW_TRACKING_URI", None)  # the tests bring their own stores
runtime.start_tensorflow("portable", threads=1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The pages' commands take longest: begun last, they would keep the other workers waiting."""
    items.sort(key=lambda item: item.path.name != "test_pages.py")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh checkout, in which nothing has run."""
    return copy_project(tmp_path)


@pytest.fixture(scope="session")
def default_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The default run, made by the command in a fresh checkout with one uncommitted change, from another directory."""
    checkout = copy_project(tmp_path_factory.mktemp("default run"))
    (checkout / "src/new_file.py").write_text("# not committed\n")
    done = train(checkout, cwd=tmp_path_factory.mktemp("elsewhere"))
    assert done.returncode == 0, done.stderr
    yield SimpleNamespace(checkout=checkout, stdout=done.stdout, stderr=done.stderr)
    assert len(list(checkout.glob("mlruns/artifacts/*"))) == 2, "its run and its model: tests that write take a copy"


@pytest.fixture
def copied_run(default_run: SimpleNamespace, tmp_path: Path) -> SimpleNamespace:
    """The default run in a checkout of the test's own."""
    shutil.copytree(default_run.checkout, tmp_path / "copied run")
    return SimpleNamespace(checkout=tmp_path / "copied run", stdout=default_run.stdout)


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real PostgreSQL on loopback, from Debian's packages; skips without one, unless CI wants it."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        message = "PostgreSQL is not installed: `apt-get install postgresql`"
        pytest.fail(message) if os.environ.get("REQUIRE_POSTGRESQL") else pytest.skip(message)
    folder = tmp_path_factory.mktemp("postgresql")
    folder.chmod(0o755)
    data = f"/tmp/lstm-lab-postgresql-{os.getpid()}"

    def as_postgres(command: str) -> None:
        words = ["sh", "-c", command]
        if os.geteuid() == 0:  # it refuses to run as root
            words = ["su", "postgres", "-s", "/bin/sh", "-c", command]
        subprocess.run(words, check=True, cwd="/tmp", stdout=subprocess.DEVNULL)

    program = programs[-1]
    as_postgres(f"{program}/initdb -D {data} -U lab --auth=trust -N >/dev/null")
    try:
        with own_port() as port:
            options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories={data} -c fsync=off"
            as_postgres(f"{program}/pg_ctl -D {data} -w -t 3600 -l {data}/log -o '-p {port} {options}' start")
            as_postgres(f"{program}/createdb -h 127.0.0.1 -p {port} -U lab lab")
            yield f"postgresql+psycopg://lab@127.0.0.1:{port}/lab"
    finally:
        as_postgres(f"{program}/pg_ctl -D {data} -m immediate stop || true; rm -rf {data}")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MLflow tracking server on loopback."""
    with own_port() as port:
        running = Server(tmp_path_factory.mktemp("server"), port)
        try:
            running.start()
            yield running.uri
        finally:
            running.stop()


@pytest.fixture
def free_server(tmp_path: Path) -> Iterator[Server]:
    """A tracking server of the test's own, not yet started."""
    (tmp_path / "server").mkdir()
    with own_port() as port:
        server = Server(tmp_path / "server", port)
        yield server
        server.stop()
