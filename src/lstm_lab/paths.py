"""Where things are: the repo's root, below which everything is that a run reads or leaves, and a user's data file."""

import os
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NAME_BYTES = 100  # of a name made from a user's text: file systems take 255, and an ending may be added


def locate(values: dict[str, Any]) -> dict[str, Any]:
    """A composed config with `data.path` found: looked for from the user's directory, then from the repo's root.

    A file below the root is remembered by its place there, so that the run can be repeated in another clone.
    """
    path = values["data"].get("path") if isinstance(values.get("data"), dict) else None
    if not isinstance(path, str) or not path:
        return values
    typed = Path(path if os.path.exists(path) else os.path.expanduser(path))
    found = typed if os.path.exists(typed) else ROOT / typed
    if not os.path.exists(found):
        found = typed.absolute()
    elif (found := found.resolve()).is_relative_to(ROOT):
        found = found.relative_to(ROOT)
    return values | {"data": values["data"] | {"path": str(found)}}


def short_name(text: str, ident: str) -> str:
    """A name for a file or folder that begins like `text` and ends with all of `ident`, which tells it from others.

    It is no path, is never hidden, and has at most NAME_BYTES bytes, however many a letter takes.
    """
    safe = re.sub(r"[^\w.=,-]+", "_", text).lstrip(".-")  # no name may look like an option either
    start = safe.encode()[: NAME_BYTES - len(ident.encode()) - 1].decode(errors="ignore")
    return f"{start}-{ident}" if start else ident
