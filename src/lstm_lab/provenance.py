"""What made a run: commit, uncommitted diff, packages, machine, environment, command line. Nothing of MLflow here."""

import functools
import importlib.metadata
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstm_lab.runtime import NUMERIC_ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Commit:
    """The state of the code: the commit's hash, its branch, and the diff of everything not committed."""

    hash: str
    branch: str
    diff: bytes


@functools.cache
def running_commit() -> Commit | None:
    """The state of the code that runs: read once per process, as the code was."""
    return read_commit()


def read_commit(root: Path = ROOT) -> Commit | None:
    """The state of the git checkout at `root`; None if it is none or git is not installed.

    The diff covers changed and new files alike, so that
    `git apply` on the commit gives exactly this code.
    """
    if not shutil.which("git") or not (root / ".git").exists():
        return None

    def git(*words: str, **environment: str) -> bytes:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, check=True, env={**os.environ, **environment}).stdout

    try:
        commit = git("rev-parse", "HEAD").decode().strip()
        branch = git("rev-parse", "--abbrev-ref", "HEAD").decode().strip()
        if not git("status", "--porcelain"):
            return Commit(commit, branch, b"")
        with tempfile.TemporaryDirectory() as folder:
            # New files are in no diff until they are in an index: use one of our own, and leave the user's alone.
            index = str(Path(folder, "index"))
            git("read-tree", "HEAD", GIT_INDEX_FILE=index)
            git("add", "--all", GIT_INDEX_FILE=index)
            diff = git("diff", "--cached", "--binary", "HEAD", GIT_INDEX_FILE=index)
        return Commit(commit, branch, diff)
    except subprocess.CalledProcessError:  # a checkout without a commit, or one that belongs to another user
        return None


@functools.cache
def packages() -> dict[str, str]:
    """Every installed package and its version."""
    found = {(d.metadata["Name"] or "?").lower(): d.version for d in importlib.metadata.distributions()}
    return dict(sorted(found.items()))


def processor() -> dict[str, Any]:
    """The processor's model and instruction sets, and how many cores this process may use."""
    info: dict[str, str] = {}
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines():
            key, _, value = line.partition(":")
            info[key.strip()] = value.strip()
    elif sys.platform == "darwin":
        brand = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        info["model name"] = brand.stdout.strip()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "machine": platform.machine(),
        "model": info.get("model name", platform.processor()),
        "family_model_stepping": [info.get(key, "") for key in ("cpu family", "model", "stepping")],
        "instruction_sets": sorted((info.get("flags") or info.get("Features", "")).split()),
        "cores": cores,
    }


def command_line() -> str:
    """The command that started this process, ready to be pasted into a shell."""
    return shlex.join(["python", *sys.argv])


def machine() -> dict[str, Any]:
    """Python, operating system, processor and the environment variables that change numbers."""
    return {
        "python": platform.python_version(),
        "os": platform.platform(),
        "processor": processor(),
        "environment": {name: os.environ[name] for name in NUMERIC_ENVIRONMENT if name in os.environ},
        "command_line": command_line(),
        "directory": os.getcwd(),
    }


def process_started(pid: int) -> str | None:
    """When the process started, in a form to compare with; None if there is no such process.

    Process ids are used again, so a process is known by its id and its start together.
    """
    if Path("/proc/self/stat").exists():
        try:
            # the 22nd field, counted from behind the command, which may hold spaces and brackets
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] == "Z" else fields[19]
    done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
    return done.stdout.strip() or None
