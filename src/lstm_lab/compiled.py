"""What XLA has compiled, kept below mlruns/ from one process to the next: a fast run then starts a second sooner."""

import atexit
import contextlib
import hashlib
import importlib.metadata
import json
import os
import shutil
from pathlib import Path

from lstm_lab.machine import COMPILED_FLAG, numeric_environment, processor
from lstm_lab.paths import ROOT

MOST = 100  # programs kept, of half a megabyte each
ROOM = 50_000_000  # bytes that a disk must have left for them


def keep_compiled() -> None:
    """Has XLA keep what it compiles in this process, and look there first. Before TensorFlow is imported.

    Machine code fits one kind of processor and one version of TensorFlow: each has a folder of its own. TensorFlow
    lets a run fail on a damaged file, so only those are left that have the checksum of the process that made them.
    """
    kind = [processor()["model"], processor()["instruction_sets"], importlib.metadata.version("tensorflow")]
    folder = ROOT / "mlruns/compiled" / hashlib.sha256(json.dumps(kind).encode()).hexdigest()[:12]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        forget_unsound(folder)
        has_room = os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > ROOM
    except OSError:  # nothing can be kept here
        return
    if not has_room:  # a run would fail on it
        return
    flags = numeric_environment()["TF_XLA_FLAGS"]
    os.environ["TF_XLA_FLAGS"] = f'{flags} {COMPILED_FLAG}="{folder}"'
    atexit.register(seal, folder)


def forget_unsound(folder: Path) -> None:
    """Removes every program without its checksum, or with another one, and the oldest of too many."""
    programs = sorted(folder.glob("*.pb"), key=lambda file: file.stat().st_mtime, reverse=True)
    for place, program in enumerate(programs):
        checksum = program.with_suffix(".sha256")
        if place >= MOST or not checksum.exists() or checksum.read_text() != digest(program):
            program.unlink(missing_ok=True)
            checksum.unlink(missing_ok=True)


def seal(folder: Path) -> None:
    """Writes the checksum of every program that has none yet."""
    for program in folder.glob("*.pb"):
        checksum = program.with_suffix(".sha256")
        with contextlib.suppress(OSError):  # without it the program is forgotten
            if not checksum.exists():
                checksum.write_text(digest(program))


def digest(program: Path) -> str:
    """SHA-256 of the file."""
    return hashlib.sha256(program.read_bytes()).hexdigest()
