"""What lies below mlruns/ and belongs to a run, told by its form alone; anything else there is the user's.

Nothing is followed through a symbolic link, be it the folder mlruns itself.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lstm_lab.paths import ROOT

CHECKPOINTS, BOARDS = "checkpoints of no run", "TensorBoard folders of no run"
ARTIFACTS, FORECASTS, REPORTS = "artifact folders of no run", "forecasts of no run", "reports of no run"
SAVED = re.compile(r"step-[0-9]{10,}\.npz|unfinished")
EVENTS = re.compile(r"events\.out\.tfevents\..+")
DATE = re.compile(r"(19|20)[0-9]{2}(0[1-9]|1[0-2])([0-2][0-9]|3[01])")  # eight digits that a user may have meant so
WORD = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{32}(?![0-9A-Za-z])")
MOST_BYTES = 2**27  # of a report that is looked into


@dataclass(frozen=True)
class Left:
    """Something of that kind which a run left, and what it consists of; `idents` are the run's id, or its first digits.

    A report tells of several runs.
    """

    kind: str
    name: str
    paths: Sequence[Path]
    idents: Sequence[str]


def left_behind() -> list[Left]:
    """Everything that runs have left below mlruns/, of any store."""
    folder = ROOT / "mlruns"
    found = [
        *folders(CHECKPOINTS, folder / "checkpoints", "([0-9a-f]{32})", SAVED),
        *folders(BOARDS, folder / "tensorboard", "(?:.*-)?([0-9a-f]{6})", EVENTS),
        *forecasts(folder / "forecasts"),
        *reports(folder / "reports"),
    ]
    for place, form in ((folder / "artifacts", "[0-9a-f]{32}"), (folder / "artifacts/models", "m-[0-9a-f]{32}")):
        for path in entries(place):
            if re.fullmatch(form, path.name) and (parts := artifacts_in(path)):
                found.append(Left(ARTIFACTS, path.name, parts, [path.name]))
    return found


def is_plain(path: Path) -> bool:
    """Whether the path leads through no symbolic link, nor is one."""
    return os.path.realpath(path) == os.path.abspath(path)


def entries(folder: Path) -> list[Path]:
    """What is in a folder, by name; nothing if it is none, or behind a link."""
    return sorted(folder.iterdir()) if folder.is_dir() and is_plain(folder) else []


def is_file(path: Path) -> bool:
    """Whether it is a file, and no link to one."""
    return path.is_file() and not path.is_symlink()


def folders(kind: str, place: Path, form: str, inside: re.Pattern[str]) -> Iterator[Left]:
    """The folders of a name of that form that hold nothing but files of those names."""
    for path in entries(place):
        named = re.fullmatch(form, path.name, re.DOTALL)
        if not named or not path.is_dir() or path.is_symlink():
            continue
        if all(inside.fullmatch(file.name) and is_file(file) for file in entries(path)):
            yield Left(kind, path.name, [path], [named[1]])


def forecasts(place: Path) -> Iterator[Left]:
    """The forecasts that were given no place, and their pictures."""
    for path in entries(place):
        named = re.fullmatch(r"(?:.*-)?([0-9a-f]{8})\.(?:csv|png)", path.name, re.DOTALL)
        if named and is_file(path) and not DATE.fullmatch(named[1]):
            yield Left(FORECASTS, path.name, [path], [named[1]])


def reports(place: Path) -> Iterator[Left]:
    """The pages of comparisons that were given no place, with the runs that they tell of."""
    for path in entries(place):
        is_one = re.fullmatch(r"[0-9]{8}-[0-9]{6}\.html", path.name) and is_file(path)
        if is_one and path.stat().st_size <= MOST_BYTES and (ids := WORD.findall(path.read_text(errors="replace"))):
            yield Left(REPORTS, path.name, [path], sorted(set(ids)))


def artifacts_in(folder: Path) -> list[Path]:
    """What is MLflow's of the folder of a run's or a model's artifacts: all of it, or what a user's files are beside.

    Nothing if it is behind a link.
    """
    inside = folder / "artifacts"
    if not folder.is_dir() or not is_plain(inside) or (inside.exists() and not inside.is_dir()):
        return []
    if all(path == inside for path in entries(folder)):
        return [folder]
    return [inside] if inside.exists() else []
