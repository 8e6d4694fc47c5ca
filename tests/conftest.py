"""Shared by all tests: TensorFlow started as a run starts it, and copies of the project in which runs may write."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from lstm_lab import runtime

ROOT = Path(__file__).resolve().parents[1]
os.environ.pop("MLFLOW_TRACKING_URI", None)  # the tests bring their own stores
runtime.start_tensorflow("portable", threads=1)


def train(checkout: Path, *words: str, **options) -> subprocess.CompletedProcess:
    """Runs `python src/train.py` of a checkout as a user would."""
    command = [sys.executable, str(checkout / "src/train.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **{"cwd": checkout, **options})


def copy_project(folder: Path) -> Path:
    """A git checkout of the project as it stands, without what its runs left behind."""
    for part in ("src", "conf", "sweeps"):
        if (ROOT / part).exists():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".gitignore", folder)
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "as it stands"]):
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh checkout, in which nothing has run."""
    return copy_project(tmp_path)


@pytest.fixture(scope="session")
def default_run(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The default run, made by the command in a fresh checkout with one uncommitted change, from another directory."""
    checkout = copy_project(tmp_path_factory.mktemp("default run"))
    (checkout / "src/new_file.py").write_text("# not committed\n")
    done = train(checkout, cwd=tmp_path_factory.mktemp("elsewhere"))
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(checkout=checkout, stdout=done.stdout, stderr=done.stderr)


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

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = programs[-1]
    as_postgres(f"{program}/initdb -D {data} -U lab --auth=trust -N >/dev/null")
    try:
        options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories={data} -c fsync=off"
        as_postgres(f"{program}/pg_ctl -D {data} -w -l {data}/log -o '-p {port} {options}' start")
        as_postgres(f"{program}/createdb -h 127.0.0.1 -p {port} -U lab lab")
        yield f"postgresql+psycopg://lab@127.0.0.1:{port}/lab"
    finally:
        as_postgres(f"{program}/pg_ctl -D {data} -m immediate stop || true; rm -rf {data}")


class Server:
    """A real MLflow tracking server on loopback, which may be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "server.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Starts it and waits until it answers."""
        options = {
            "--host": "127.0.0.1",
            "--port": str(self.port),
            "--backend-store-uri": f"sqlite:///{self.folder}/server.db",
            "--artifacts-destination": f"{self.folder}/stored",
            "--workers": "1",
        }
        command = [sys.executable, "-m", "mlflow", "server", *itertools.chain(*options.items())]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, env=environment, start_new_session=True
            )
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{self.uri}/health").close()
                return
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.5)

    def stop(self) -> None:
        """Ends it and its workers at once, as a crash would."""
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MLflow tracking server on loopback."""
    running = Server(tmp_path_factory.mktemp("server"))
    running.start()
    yield running.uri
    running.stop()


@pytest.fixture
def free_server(tmp_path: Path) -> Iterator[Server]:
    """A tracking server of the test's own, not yet started."""
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    yield server
    server.stop()
