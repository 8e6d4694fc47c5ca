"""What made a run: commit, uncommitted diff, packages, machine, environment, command line; and what differs since."""

import functools
import importlib.metadata
import json
import os
import platform
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

# Environment variables that change numbers or the order of floating-point operations; recorded with every run.
NUMERIC_ENVIRONMENT = (
    "CUDA_VISIBLE_DEVICES",
    "DNNL_MAX_CPU_ISA",
    "KERAS_BACKEND",
    "MKL_NUM_THREADS",
    "NPY_DISABLE_CPU_FEATURES",
    "OMP_NUM_THREADS",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_NUM_THREADS",
    "PYTHONHASHSEED",
    "TENSORFLOW_USE_CUSTOM_CONTRACTION_KERNEL",
    "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)
COMPILED_FLAG = "--tf_xla_persistent_cache_directory"  # changes no number, and differs from checkout to checkout


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
        "environment": {name: value for name, value in numeric_environment().items() if value},
        "command_line": command_line(),
        "directory": os.getcwd(),
    }


def numeric_environment() -> dict[str, str]:
    """Each of NUMERIC_ENVIRONMENT, empty if not set; XLA's flags without the place where it keeps what it compiled."""
    found = {name: os.environ.get(name, "") for name in NUMERIC_ENVIRONMENT}
    found["TF_XLA_FLAGS"] = re.sub(rf' ?{COMPILED_FLAG}="[^"]*"', "", found["TF_XLA_FLAGS"])
    return found


@dataclass(frozen=True)
class Provenance:
    """Everything that made a run beside its config: facts as in provenance.json, package versions, the diff."""

    facts: dict[str, Any]
    packages: dict[str, str]
    diff: bytes

    def write(self, folder: Path) -> None:
        """Writes provenance.json, packages.txt and, if there is one, uncommitted.diff."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "provenance.json").write_text(json.dumps(self.facts, indent=2) + "\n")
        (folder / "packages.txt").write_text("".join(f"{k}=={v}\n" for k, v in self.packages.items()))
        if self.diff:
            (folder / "uncommitted.diff").write_bytes(self.diff)


def current(**settings: Any) -> Provenance:
    """What makes a run of this process; `settings` go into the facts."""
    commit = running_commit()
    facts = {
        "commit": commit.hash if commit else None,
        "branch": commit.branch if commit else None,
        "dirty": bool(commit.diff) if commit else None,
        **settings,
        **machine(),
    }
    return Provenance(facts, packages(), commit.diff if commit else b"")


def read(folder: Path) -> Provenance:
    """What `Provenance.write` left in `folder`."""
    lines = (folder / "packages.txt").read_text().splitlines()
    diff = folder / "uncommitted.diff"
    return Provenance(
        json.loads((folder / "provenance.json").read_text()),
        dict(line.split("==", 1) for line in lines),
        diff.read_bytes() if diff.exists() else b"",
    )


NUMERIC_PACKAGES = ("tensorflow", "keras", "numpy", "ml-dtypes")  # that compute a run's numbers


def differences(then: Provenance, now: Provenance, portable: bool) -> list[str]:
    """What differs, in words, the likeliest cause of other bits first.

    A `portable` run does not depend on the processor, so there it comes last.
    """

    def fact(key: str) -> list[str]:
        old, new = then.facts.get(key), now.facts.get(key)
        return [] if old == new else [f"{key} {str(old)[:60]} then, {str(new)[:60]} now"]

    code = fact("commit")
    if then.diff != now.diff:
        code.append(f"uncommitted changes: {len(then.diff):,} bytes of diff then, {len(now.diff):,} now")
    versions = different(then.packages, now.packages)
    numeric = [f"{name} {words}" for name, words in versions.items() if name in NUMERIC_PACKAGES]
    others = [f"{name} {words}" for name, words in versions.items() if name not in NUMERIC_PACKAGES]
    variables = different(then.facts.get("environment", {}), now.facts.get("environment", {}))
    environment = [f"environment variable {name} {words}" for name, words in variables.items()]
    old_processor, new_processor = (p.facts.get("processor", {}) for p in (then, now))
    processor = [
        f"processor's {key.replace('_', ' ')} {words}"
        for key, words in different(old_processor, new_processor).items()
        if key in ("machine", "model", "family_model_stepping")
    ]
    if sets := set(old_processor.get("instruction_sets", ())) ^ set(new_processor.get("instruction_sets", ())):
        processor.append(f"processor's instruction sets, in {', '.join(sorted(sets)[:6])}")
    rest = [*fact("python"), *others, *fact("os")]
    return [*code, *numeric, *environment, *(rest + processor if portable else processor + rest)]


def different(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """The keys whose values differ, each with both values in words."""
    return {
        key: f"{then.get(key, 'absent')} then, {now.get(key, 'absent')} now"
        for key in sorted({**then, **now})
        if then.get(key) != now.get(key)
    }


def this_process() -> dict[str, Any]:
    """What tells this process from any other, on any machine and at any time."""
    return {"host": host(), "pid": os.getpid(), "started": process_started(os.getpid())}


def is_gone(process: Mapping[str, Any]) -> bool:
    """Whether that process is known to have ended. Of another machine's nothing is known."""
    return process["host"] == host() and process_started(process["pid"]) != process["started"]


@functools.cache
def host() -> str:
    """This machine, and on Linux the set of processes that it lets us see: a container sees only its own."""
    seen = Path("/proc/self/ns/pid")
    identity = Path("/etc/machine-id")
    parts = [socket.gethostname(), identity.read_text()[:8] if identity.exists() else ""]
    return "/".join([*parts, os.readlink(seen) if seen.exists() else ""])


def process_started(pid: int) -> str | None:
    """When the process started, in a form to compare with; None if there is no such process.

    Process ids are used again, so a process is known by its id and its start together.
    """
    if Path("/proc/self/stat").exists():
        try:
            # the 22nd field, counted from behind the command, which may hold spaces and brackets
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        return None if fields[0] == "Z" else f"{boot}/{fields[19]}"
    done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
    return done.stdout.strip() or None
