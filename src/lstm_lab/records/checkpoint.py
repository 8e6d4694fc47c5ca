"""Checkpoints: everything that a run's next bit depends on, saved so that no crash can spoil what was saved before.

A file is an .npz archive with the SHA-256 of its bytes after it. It is written under another name, synced to the disk
and renamed: whenever the process is killed, the folder holds whole files.
"""

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

KEPT = 2  # the newest, and the one before it should the disk damage the newest


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
