"""What tests do as a user would: copies of the project, its commands, a tracking server."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def train(checkout: Path, *words: str, **options) -> subprocess.CompletedProcess:
    """Runs `python src/train.py` of a checkout as a user would."""
    command = [sys.executable, str(checkout / "src/train.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **{"cwd": checkout, **options})


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
