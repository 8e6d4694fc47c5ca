"""What made a run: commit, uncommitted diff, packages, machine, environment, command line; and what differs since."""

import functools
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstm_lab.machine import numeric_environment, processor
from lstm_lab.paths import ROOT


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
