"""Where things are: the repo's root, below which everything is that a run reads or leaves, and a user's data file."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LONGEST_FILE_NAME = 255  # bytes of a file's name that file systems take
NAME_BYTES = 100  # of a name made from a user's text: an ending may be added


def locate(values: dict[str, Any]) -> dict[str, Any]:
    """A composed config with `data.path` found: looked for from the user's directory, then from the repo's root.

    A file below the root is remembered by its place there, so that the run can be repeated in another clone.
    """
    path = values["data"].get("path") if isinstance(values.get("data"), dict) else None
    if not isinstance(path, str) or not path:
        return values
    typed = expanded(path)
    found = typed if os.path.exists(typed) else ROOT / typed
    if not os.path.exists(found):
        found = typed.absolute()
    elif (found := found.resolve()).is_relative_to(ROOT):
        found = found.relative_to(ROOT)
    return values | {"data": values["data"] | {"path": str(found)}}


def expanded(path: str) -> Path:
    """A path as typed, where ~ is a home folder unless there is a file that is called so."""
    return Path(path if os.path.exists(path) else os.path.expanduser(path))


def short_name(text: str, ident: str) -> str:
    """A name for a file or folder that begins like `text` and ends with all of `ident`, which tells it from others.

    It is no path, is never hidden, and has at most NAME_BYTES bytes, however many a letter takes. That holds whatever
    the two are: also what a store calls an id may be meant to lead elsewhere.
    """

    def safe(name: str, most: int) -> str:
        plain = re.sub(r"[^\w.=,-]+", "_", name).lstrip(".-")  # no name may look like an option either
        return plain.encode()[:most].decode(errors="ignore")

    end = safe(ident, NAME_BYTES) or "_"
    start = safe(text, max(0, NAME_BYTES - len(end.encode()) - 1))
    return f"{start}-{end}" if start else end


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write what is at `path` once it is written whole, and never before; an OSError then names `path`."""
    unfinished = path.with_name(f".{os.getpid()}.unfinished")  # never longer than a file system takes
    try:
        yield unfinished
        unfinished.rename(path)
    except OSError as error:
        if error.filename in (None, str(unfinished)):  # None: of a full disk
            error.filename = str(path)
        raise
    finally:
        unfinished.unlink(missing_ok=True)
