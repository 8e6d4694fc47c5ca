"""The file that a run's data came from: known by its SHA-256, and so found again where it was moved to."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from lstm_lab.config import Config, ConfigError
from lstm_lab.datasets import Csv
from lstm_lab.paths import ROOT, locate

TAG = "data.file.sha256"  # of a run: what its file's SHA-256 was
MOVED = "if the run's own file is elsewhere, add data.path=FILE"


def found(config: Config, tags: Mapping[str, str], word: str, path: str | None, same: bool = True) -> Config:
    """The config of a stored run, which the user means by `word`, with its data file at `path` if that is given.

    ConfigError, with the way on, if there is no file or, where it must be the `same`, not the one that the run read.
    """
    data = config.data
    if not isinstance(data, Csv):
        if path is not None:
            raise ConfigError(f"data.path={path}: the data of {word} come from a curve, not from a file")
        return config
    if path is not None:
        data = data.model_copy(update={"path": absolute(path)})
    if same or path is not None:
        check(data.path, tags.get(TAG), word)
    elif not (ROOT / data.path).exists():
        raise gone(data.path, tags.get(TAG))
    return config.model_copy(update={"data": data})


def absolute(path: str) -> str:
    """A path that the user typed, as configs have them: from the root on if it is below that, else absolute."""
    return str(locate({"data": {"path": path}})["data"]["path"])


def check(path: str, recorded: str | None, word: str) -> None:
    """Raises ConfigError unless the file at `path` has the recorded SHA-256."""
    if recorded is None:
        raise ConfigError(f"{word}: it has no tag {TAG}, so which file its data came from is not known")
    if (now := sha256_of(path, recorded)) != recorded:
        raise ConfigError(
            f"{word}: {path} is not the file that the run began with: its SHA-256 was {recorded} and is {now}; {MOVED}"
        )


def sha256_of(path: str, recorded: str | None = None) -> str:
    """The SHA-256 of a file; ConfigError if it is none, or cannot be read."""
    try:
        if (ROOT / path).exists() and not (ROOT / path).is_file():
            raise ConfigError(f"data.path={path}: is no file")
        with open(ROOT / path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise gone(path, recorded) from None
    except OSError as error:
        raise ConfigError(f"data.path={path}: cannot be read ({error.strerror})") from None


def gone(path: str, recorded: str | None) -> ConfigError:
    """What is said of a file that is not there."""
    known = f"the run's own has the SHA-256 {recorded}: {MOVED}" if recorded else f"and the run has no tag {TAG}"
    return ConfigError(f"data.path={path}: there is no such file; {known}")


def differs(path: str, then: str | None, now: str | None) -> str:
    """What is said where a run is trained again from a file that is another than then."""
    return f"the file {path}: its SHA-256 was {then} then, is {now} now" + (f"; {MOVED}" if then else "")


def bring(params: Mapping[str, str], tags: Mapping[str, str], word: str, path: str | None, folder: Path) -> list[str]:
    """Sees that code checked out in `folder` finds the run's data file; the words of a command that tell it where.

    A file that belongs into the folder and is not there, since git does not keep it, is copied there from this
    checkout or from `path`.
    """
    recorded, was_at = tags.get(TAG), tags.get("changed.data.path", params.get("data.path"))
    if path is not None and was_at is None:
        raise ConfigError(f"data.path={path}: the data of {word} come from a curve, not from a file")
    if was_at is None or (path is None and recorded is None):
        return []
    place = folder / was_at
    if path is None and place.is_file() and sha256_of(str(place)) == recorded:
        return []
    file = absolute(path) if path is not None else was_at
    check(file, recorded, word)
    if not Path(os.path.realpath(place)).is_relative_to(folder.resolve()):
        return [f"data.path={ROOT / file}"]
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / file, place)
    return []
