"""Which process trains a run, and whether it still does: a run killed outright cannot say so itself."""

import functools
import json
import os
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from lstm_lab.records.tagging import tags_of

if TYPE_CHECKING:
    from mlflow.entities import Run


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


class Process(BaseModel):
    """A signature: what `this_process` tells of a process."""

    host: str
    pid: int
    started: str | None


def is_process(value: Any) -> bool:
    """Whether a value read from a store tells of a process."""
    try:
        Process.model_validate(value)
    except ValidationError:
        return False
    return True


def processes_of(run: "Run") -> list[dict[str, Any]]:
    """The processes that signed a run: one trained it, or several work on its study."""
    return [signer(value) for key, value in tags_of(run).items() if key.split(".")[0] == "process"]


def signer(tag: str) -> dict[str, Any]:
    """The process that a tag tells of.

    On a shared server anybody writes tags: one that tells of no process stands for one that cannot be seen from here.
    """
    try:
        return Process.model_validate_json(tag).model_dump()
    except ValidationError:
        return {"host": "an unknown machine", "pid": 0, "started": None}


def signature() -> dict[str, str]:
    """The tag by which a run's process is known."""
    return {"process": json.dumps(this_process())}


def is_cut_short(run: "Run") -> bool:
    """Whether every process that signed the run is gone."""
    signers = processes_of(run)
    return bool(signers) and all(map(is_gone, signers))
