"""Checkpoints: everything that a run's next bit depends on, saved so that no crash can spoil what was saved before.

A file is an .npz archive with the SHA-256 of its bytes after it. It is written under another name, synced to the disk
and renamed: whenever the process is killed, the folder holds whole files.
"""

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from lstm_lab.records import reading
from lstm_lab.records.reading import UnsoundError

KEPT = 2  # the newest, and the one before it should the disk damage the newest


class DamagedError(Exception):
    """A checkpoint is not what was saved; the message names the file."""


@dataclass(frozen=True)
class Checkpoint:
    """A training after `step` steps.

    `costs` [step] are float32; `weights`, `optimizer` (slots, learning rate and iteration) and `state` (the initial
    state of the next step) are lists of arrays in the order of Keras. `config_digest` tells which config it is of.
    After `validated` [points] steps the validation error was `errors` [points]; `best` are the weights that had the
    lowest, if these are kept. `met` [criteria] are the steps after which each of a task's criteria held first, 0 where
    none did yet; `recent` [sequences] are the errors of the last sequences, as far as these are about them.
    """

    step: int
    config_digest: str
    costs: np.ndarray
    weights: Sequence[np.ndarray]
    optimizer: Sequence[np.ndarray]
    state: Sequence[np.ndarray]
    best: Sequence[np.ndarray] = ()
    validated: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    errors: np.ndarray = field(default_factory=lambda: np.zeros(0))
    met: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    recent: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))


NEWER = ("validated", "errors", "met", "recent")
LISTS = ("weights", "optimizer", "state", "best")
Forms = dict[str, list[tuple[np.dtype, tuple[int, ...]]]]  # type and shape of the arrays in each list


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """The archive and its SHA-256."""
    arrays: dict[str, Any] = {}
    for name in (one.name for one in fields(Checkpoint)):
        value = getattr(checkpoint, name)
        if name in LISTS:
            arrays |= {f"{name}_{i}": array for i, array in enumerate(value)}
        else:
            arrays[name] = np.asarray(value)
    archive = io.BytesIO()
    np.savez(archive, **arrays)
    return archive.getvalue() + hashlib.sha256(archive.getbuffer()).digest()


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint; DamagedError unless every byte is as it was saved."""
    return parsed(path.read_bytes(), str(path))


def parsed(content: bytes, name: str) -> Checkpoint:
    """The checkpoint in a file's content; DamagedError unless every byte is as it was saved, and what was saved is one.

    The checksum tells of damage alone: whoever writes to a store can make one.
    """
    archive, digest = content[:-32], content[-32:]
    if hashlib.sha256(archive).digest() != digest:
        raise DamagedError(f"{name} is damaged: its bytes do not match their checksum")
    try:
        arrays = reading.arrays_of(archive)
        lists: dict[str, Any] = {name: [arrays[f"{name}_{i}"] for i in range(count(arrays, name))] for name in LISTS}
        step, digest_of_config = arrays["step"], arrays["config_digest"]
        if (step.dtype.kind, step.shape, digest_of_config.shape) != ("i", (), ()):
            raise UnsoundError("has no step")
        lists |= {name: arrays[name] for name in NEWER if name in arrays}  # older ones have none
        saved = Checkpoint(int(step), str(digest_of_config), arrays["costs"], **lists)
        reading.check_floats(saved.costs, (saved.step,), "costs")
        check_judged(saved)
    except KeyError as error:
        raise DamagedError(f"{name} is no checkpoint: it has no {error}") from None
    except UnsoundError as error:
        raise DamagedError(f"{name} is no checkpoint: it {error}") from None
    return saved


def check_judged(saved: Checkpoint) -> None:
    """Raises UnsoundError unless the validation errors are numbers, one for each of their steps, and in their order."""
    steps, errors = saved.validated, saved.errors
    if (steps.dtype, errors.dtype, steps.ndim, steps.shape) != (np.int64, np.float64, 1, errors.shape):
        raise UnsoundError("has validation errors that are none")
    if np.isnan(errors).any() or (np.diff(steps, prepend=0, append=saved.step + 1) <= 0).any():
        raise UnsoundError("has validation errors of no steps of a run")
    met, recent = saved.met, saved.recent
    if (met.dtype, recent.dtype, met.ndim, recent.ndim) != (np.int64, np.float32, 1, 1):
        raise UnsoundError("has criteria that are none")
    if ((met < 0) | (met > saved.step)).any():
        raise UnsoundError("has criteria that held after no step of a run")


def forms_of(checkpoint: Checkpoint) -> Forms:
    """Type and shape of each of its arrays that a config decides."""
    lists = {name: getattr(checkpoint, name) for name in LISTS} | {"met": [checkpoint.met]}
    return {name: [(np.asarray(array).dtype, np.shape(array)) for array in arrays] for name, arrays in lists.items()}


def is_of(saved: Checkpoint, forms: Forms) -> bool:
    """Whether a checkpoint's arrays have these forms; the best weights, if it has any, those of the weights."""
    found = forms_of(saved)
    return found["best"] in ([], forms["weights"]) and found | {"best": []} == forms | {"best": []}


def count(arrays: Mapping[str, np.ndarray], name: str) -> int:
    """How many arrays of that list the archive holds."""
    return sum(key.startswith(f"{name}_") for key in arrays)


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
