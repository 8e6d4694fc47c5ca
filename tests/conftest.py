"""Shared by all tests: TensorFlow started as a run starts it, and copies of the project in which runs may write."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lstm_lab import runtime

ROOT = Path(__file__).resolve().parents[1]
os.environ.pop("MLFLOW_TRACKING_URI", None)  # the tests bring their own stores
runtime.start_tensorflow(threads=1)


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
