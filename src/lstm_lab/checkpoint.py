"""Checkpoints: everything that a run's next bit depends on, saved so that no crash can spoil what was saved before.

A file is an .npz archive with the SHA-256 of its bytes after it. It is written under another name, synced to the disk
and renamed: whenever the process is killed, the folder holds whole files.
"""

import hashlib
import io
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lstm_lab.observers import Record
    from lstm_lab.training import Program, Progress

KEPT = 2  # the newest, and the one before it should the disk damage the newest
SHARE = 100  # saving takes at most a hundredth of the time


class DamagedError(Exception):
    """A checkpoint's bytes are not those that were saved; the message names the file."""


@dataclass(frozen=True)
class Checkpoint:
    """A training after `step` steps.

    `costs` [step] are float32; `weights`, `optimizer` (slots, learning rate and iteration) and `state` (the initial
    state of the next step) are lists of arrays in the order of Keras. `config_digest` tells which config it is of.
    """

    step: int
    config_digest: str
    costs: np.ndarray
    weights: Sequence[np.ndarray]
    optimizer: Sequence[np.ndarray]
    state: Sequence[np.ndarray]


LISTS = ("weights", "optimizer", "state")


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """The archive and its SHA-256."""
    arrays: dict[str, Any] = {}
    for field in fields(Checkpoint):
        value = getattr(checkpoint, field.name)
        if field.name in LISTS:
            arrays |= {f"{field.name}_{i}": array for i, array in enumerate(value)}
        else:
            arrays[field.name] = np.asarray(value)
    archive = io.BytesIO()
    np.savez(archive, **arrays)
    return archive.getvalue() + hashlib.sha256(archive.getbuffer()).digest()


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint; DamagedError unless every byte is as it was saved."""
    content = path.read_bytes()
    archive, digest = content[:-32], content[-32:]
    if hashlib.sha256(archive).digest() != digest:
        raise DamagedError(f"{path} is damaged: its bytes do not match their checksum")
    with np.load(io.BytesIO(archive), allow_pickle=False) as arrays:
        lists = {name: [arrays[f"{name}_{i}"] for i in range(count(arrays, name))] for name in LISTS}
        return Checkpoint(int(arrays["step"]), str(arrays["config_digest"]), arrays["costs"], **lists)


def count(arrays: np.lib.npyio.NpzFile, name: str) -> int:
    """How many arrays of that list the archive holds."""
    return sum(key.startswith(f"{name}_") for key in arrays.files)


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Adds a checkpoint to `folder` and removes those before the last two."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{checkpoint.step:010d}.npz"
    unfinished = folder / "unfinished"
    with open(unfinished, "wb") as file:
        file.write(to_bytes(checkpoint))
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
    sync(folder)
    for old in in_order(folder)[:-KEPT]:
        old.unlink()
    return path


def sync(folder: Path) -> None:
    """Makes a rename in `folder` outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def in_order(folder: Path) -> list[Path]:
    """The folder's checkpoints, the oldest first."""
    return sorted(folder.glob("step-*.npz"))


class Saver:
    """An observer that saves a checkpoint into `folder` every `seconds`, or less often where saving takes long."""

    def __init__(self, folder: Path, seconds: float, config_digest: str, program: "Program", record: "Record") -> None:
        self.folder, self.seconds, self.config_digest = folder, seconds, config_digest
        self.program, self.record = program, record
        self.due = time.monotonic() + seconds

    def __call__(self, progress: "Progress") -> None:
        if time.monotonic() >= self.due:
            self.save(progress)

    def save(self, progress: "Progress") -> Path:
        """Saves now, and returns the file. The program and the record must stand where `progress` does."""
        started = time.monotonic()
        state = [np.asarray(tensor) for tensor in progress.state]
        weights, optimizer = self.program.snapshot()
        saved = Checkpoint(progress.step, self.config_digest, self.record.costs, weights, optimizer, state)
        path = save(self.folder, saved)
        self.due = time.monotonic() + max(self.seconds, SHARE * (time.monotonic() - started))
        return path

    def close(self) -> None:
        pass
