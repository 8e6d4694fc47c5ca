"""Files as a commit has them and as they stand in a checkout, compared byte by byte."""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lstm_lab.records.git import git_folder, head

FILE_BYTES = 1_000_000  # of a file that is read whole: more than twice the lock file, the largest text here
LINK, REPOSITORY = "120000", "160000"  # modes, as git has them


@dataclass(frozen=True)
class Entry:
    """A file of a commit: its mode (100644, 100755, a LINK, a REPOSITORY), hash and size (-1 if it is gone)."""

    mode: str
    hash: str
    size: int


@dataclass(frozen=True)
class Found:
    """What stands in the place of a file: its mode, its size in bytes, its content unless that is too much or `why`."""

    mode: str
    size: int
    content: bytes | None = None
    why: str = ""


def names(listed: bytes) -> list[str]:
    """The names that git lists with -z."""
    return [os.fsdecode(name) for name in listed.split(b"\0") if name]


def entries(listed: bytes) -> dict[str, Entry]:
    """The files of a tree, as `git ls-tree -r -l -z` lists them."""
    found = {}
    for line in names(listed):
        about, _, name = line.partition("\t")
        mode, _, hashed, size = about.split()
        found[name] = Entry(mode, hashed, int(size) if size.isdigit() else -1)
    return found


def look(root: Path, name: str) -> Found | None:
    """What stands in the place of that file; None if nothing does, or only behind a link."""
    path = root / name
    try:
        info = os.lstat(path)
        if os.path.realpath(path.parent) != os.path.normpath(os.path.realpath(root) / Path(name).parent):
            return None
        if stat.S_ISLNK(info.st_mode):
            return Found(LINK, info.st_size, os.fsencode(os.readlink(path)))
        if stat.S_ISDIR(info.st_mode):
            return Found(REPOSITORY, 0, why="a repository of its own") if (path / ".git").exists() else None
        if not stat.S_ISREG(info.st_mode):
            return Found("", 0, why="not a file")
        mode = "100755" if info.st_mode & stat.S_IXUSR else "100644"
        return Found(mode, info.st_size, path.read_bytes() if info.st_size <= FILE_BYTES else None)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return Found("", 0, why=f"cannot be read: {error.strerror}")


def is_same(path: Path, old: Entry | None, found: Found | None) -> bool:
    """Whether the commit has just what was found at `path`."""
    if old is None or found is None:
        return old is None and found is None
    if old.mode != found.mode:
        return False
    if old.mode == REPOSITORY:
        inside = git_folder(path)
        return bool(inside and head(inside)[0] == old.hash)
    return old.size in (-1, found.size) and blob_hash(path, found, like=old.hash) == old.hash


def blob_hash(path: Path, found: Found, like: str) -> str:
    """The hash by which git knows what was found at `path`, SHA-1 or SHA-256 as `like` is; '' if it cannot be read."""
    made = hashlib.sha256() if len(like) == 64 else hashlib.sha1()
    made.update(b"blob %d\0" % (found.size if found.content is None else len(found.content)))
    try:
        for block in blocks(path) if found.content is None else [found.content]:
            made.update(block)
    except OSError:
        return ""
    return made.hexdigest()


def blocks(path: Path) -> Iterator[bytes]:
    """A file's content, a megabyte at a time."""
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            yield block
