"""What tests do as a user would: copies of the project, its commands, a tracking server.

Nothing here has a time limit: a machine may be as slow as it likes, and a test waits for a state, never for a time.
"""

import contextlib
import itertools
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def train(checkout: Path, *words: str, **options) -> subprocess.CompletedProcess:
    """Runs `python src/train.py` of a checkout as a user would."""
    command = [sys.executable, str(checkout / "src/train.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, **{"cwd": checkout, **options})


def train_until(place: str, how: str, checkout: Path, *words: str) -> subprocess.CompletedProcess:
    """The same, stopped by a signal at a place, both as tests/stopping.py takes them."""
    return subprocess.run(stopping(place, how, checkout, *words), capture_output=True, text=True, cwd=checkout)


@contextlib.contextmanager
def held(place: str, checkout: Path, *words: str, **options) -> Iterator[subprocess.Popen]:
    """The same in the background, to stand at a place until it is killed or `communicate()` lets it go on."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = stopping(place, "hold", checkout, *words)
    with subprocess.Popen(command, text=True, **{"cwd": checkout, **pipes, **options}) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until_held(process: subprocess.Popen) -> None:
    """Waits until the process stands at its place; fails with what it says if it ends instead."""
    assert process.stdout
    assert process.stderr
    assert "held\n" in iter(process.stdout.readline, ""), process.stderr.read()


def noting(path: Path) -> str:
    """A command for LSTM_LAB_NOTIFY that adds a line to a file: the run's id and its status."""
    line = "'{LSTM_LAB_RUN_ID} {LSTM_LAB_STATUS}\\n'.format(**os.environ)"
    return shlex.join([sys.executable, "-c", f"import os, sys; open(sys.argv[1], 'a').write({line})", str(path)])


def stopping(*words: str | Path) -> list[str]:
    """The command of tests/stopping.py."""
    place, how, checkout, *rest = map(str, words)
    return [sys.executable, str(ROOT / "tests/stopping.py"), checkout, place, how, *rest]


def copy_project(folder: Path, *more: str) -> Path:
    """A git checkout of the project as it stands, without what its runs left behind; `more` is what is copied too."""
    for part in ("src", "conf", "sweeps", ".gitignore", *more):
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, folder)
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "as it stands"]):
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    return folder


def csv_settings(**changes):
    """The settings of a file as conf has them, but for these."""
    import yaml  # here, since what imports this module may be a script, without src/ on its path

    from lstm_lab.datasets import Csv

    values = yaml.safe_load((ROOT / "conf/data/csv.yaml").read_text())
    return Csv(**values | {"path": "my.csv"} | changes)


@contextlib.contextmanager
def own_port() -> Iterator[int]:
    """A port on loopback that no program is given but the test's own server.

    A socket that does not listen stays bound to it. Linux lets a server listen there nevertheless, where both allow
    an address to be used again (SO_REUSEADDR), as servers do.
    """
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


def wait_for_answer(address: str, process: subprocess.Popen, log: Path) -> None:
    """Waits until a server answers, were it that it has no such page; fails with its log if it ends instead."""
    while True:
        try:
            return urllib.request.urlopen(address).close()
        except urllib.error.HTTPError as answer:
            return answer.close()
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)


class Server:
    """A real MLflow tracking server on loopback, which may be stopped and started again."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.log, self.port = folder, folder / "server.log", port
        self.uri = f"http://127.0.0.1:{port}"
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
        wait_for_answer(f"{self.uri}/health", self.process, self.log)

    def stop(self) -> None:
        """Ends it and its workers at once, as a crash would."""
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
