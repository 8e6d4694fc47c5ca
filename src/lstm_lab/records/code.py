"""The state of the code that runs: its commit, the diff of what is code, and what is left out of that or not known."""

import functools
import hashlib
import importlib.metadata
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lstm_lab.hiding import hide
from lstm_lab.paths import ROOT
from lstm_lab.records import kinds
from lstm_lab.records.files import FILE_BYTES, LINK, REPOSITORY, Entry, Found, blob_hash, entries, is_same, look, names
from lstm_lab.records.git import Own, asked_head, fault, git_folder, head

DIFF_BYTES = 2_000_000  # of all files in the diff: every run and trial keeps a copy, and all the project has is 1 MB
DIFF_FILES = 500  # in the diff: each costs a millisecond or more, and all the project has is some 200
HASHED_BYTES = 2_000_000_000  # of what is left out: a second or two of SHA-256
NAMED = 200  # files left out that are named; the rest are counted

NUMERIC_PACKAGES = ("tensorflow", "keras", "numpy", "ml-dtypes")  # that compute a run's numbers

# Of a diff, whatever git is set to
FORM = ["--full-index", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color"]
FORM += ["--src-prefix=a/", "--dst-prefix=b/", "--unified=3", "--diff-algorithm=myers"]

# As provenance.json names them
DIFF, LEFT_OUT, UNKNOWN = "uncommitted_diff", "left_out_of_diff", "not_known_of_code"


@dataclass(frozen=True)
class Code:
    """The commit's hash and branch, None if not known; the diff of what is code; what else differs; what is not known.

    `git apply` of the diff on the commit gives this code but for `left_out`, which has name, size, SHA-256 and reason.
    """

    hash: str | None
    branch: str | None
    diff: bytes = b""
    left_out: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def dirty(self) -> bool | None:
        """Whether anything differs from the commit; None if that is not known."""
        if self.diff or self.left_out:
            return True
        return None if self.missing or self.hash is None else False

    def facts(self) -> dict[str, Any]:
        """As provenance.json has it."""
        facts: dict[str, Any] = {"commit": self.hash, "branch": hide(self.branch or "") or None, "dirty": self.dirty}
        if self.diff:
            facts[DIFF] = about(self.diff)
        if self.left_out:
            facts[LEFT_OUT] = self.left_out
        return facts | ({UNKNOWN: self.missing} if self.missing else {})


def about(diff: bytes) -> dict[str, Any]:
    """By what a diff is known again."""
    return {"bytes": len(diff), "sha256": hashlib.sha256(diff).hexdigest()}


def describe_diff(diff: bytes) -> str:
    """The same in words."""
    return f"{len(diff):,} bytes of uncommitted diff, SHA-256 {about(diff)['sha256']}"


def unknown(facts: Mapping[str, Any]) -> str:
    """What the facts of a run do not say of its code, in words; '' if they say all."""
    missing = facts.get(UNKNOWN) or ([] if facts.get("commit") else ["the commit"])
    return "; ".join(map(str, missing)) if isinstance(missing, list) else str(missing)


def is_recorded(facts: Mapping[str, Any], diff: bytes) -> bool:
    """Whether the facts of a run have that diff; older ones say only that something differs."""
    if DIFF in facts or not diff:
        return bool(facts.get(DIFF, about(diff)) == about(diff))
    return facts.get("dirty") is not False and LEFT_OUT not in facts


@functools.cache
def running_code() -> Code | None:
    """The state of the code that runs: read once per process, as the code was."""
    return read_code()


@functools.cache
def source_digest() -> str:
    """SHA-256 of what decides a run's numbers beside its config: every module of src/ and the numeric packages.

    It is the same in another clone and after a commit that changes no module. Read once per process, as the code was.
    """
    found = hashlib.sha256()
    for path in sorted((ROOT / "src").rglob("*.py")):
        found.update(b"%s\0%s\0" % (bytes(path.relative_to(ROOT)), path.read_bytes()))
    for name in NUMERIC_PACKAGES:
        found.update(f"{name}=={importlib.metadata.version(name)}\n".encode())
    return found.hexdigest()


def read_code(root: Path = ROOT) -> Code | None:
    """The state of the git checkout at `root`, as far as it can be known; None if it is none."""
    folder = git_folder(root)
    if folder is None:
        return None
    commit, branch = head(folder)
    if not shutil.which("git"):
        return Code(commit, branch, missing=["git is not installed: what differs from the commit"])
    try:
        if commit is None:
            commit, asked = asked_head(root)
            branch = asked or branch
        with tempfile.TemporaryDirectory() as own:
            return changes(Own(root, folder, Path(own)), commit, branch)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return Code(commit, branch, missing=[f"what differs from the commit: {fault(error)}"])


def changes(own: Own, commit: str | None, branch: str | None) -> Code:
    """What differs from the commit: as a diff what is code, by name what is not."""
    if commit is None:
        return Code(None, branch, missing=["the commit: none is checked out, or it cannot be read"])
    own.begin(commit)
    recorded, left_out = sorted_out(own, commit)
    described, missing = describe(own.root, left_out)
    try:
        return Code(commit, branch, diff(own, commit, recorded), described, missing)
    except (OSError, subprocess.SubprocessError) as error:
        return Code(commit, branch, b"", described, [*missing, f"what differs from the commit: {fault(error)}"])


def sorted_out(own: Own, commit: str) -> tuple[dict[str, Found | None], list[tuple[str, str]]]:
    """The files that differ from the commit's: those for the diff, None for one that is gone; and others, with why."""
    before = entries(own.git("ls-tree", "-r", "-l", "-z", f"{commit}^{{tree}}"))
    tracked = {*before, *names(own.git("ls-files", "-z", check=False, GIT_INDEX_FILE=str(own.folder / "index")))}
    new = set(names(own.git("ls-files", "--others", "-z", *ignored(own)))) - tracked
    recorded: dict[str, Found | None] = {}
    left_out: list[tuple[str, str]] = []
    room = DIFF_BYTES
    for name in [*sorted(tracked), *sorted(new)]:
        if name in new and (why := out_unseen(own.root, name, len(recorded))):
            left_out.append((name, why))
            continue
        old, found = before.get(name), look(own.root, name)
        if is_same(own.root / name, old, found):
            continue
        size = (old.size if old else 0) + (found.size if found else 0)
        is_full = size > room or len(recorded) >= DIFF_FILES
        why = reason(own, name, old, found, is_new=name in new) or ("the diff is full" if is_full else "")
        if why:
            left_out.append((name, why))
        else:
            recorded[name] = found
            room -= size
    return recorded, left_out


def out_unseen(root: Path, name: str, recorded: int) -> str:
    """Why a new file is left out that need not be looked at: there may be 100,000; '' for any other."""
    if name.endswith("/") or os.path.islink(f"{root}/{name}"):  # a repository; a link is kept
        return ""
    return kinds.by_name(name, is_new=True) or ("the diff is full" if recorded >= DIFF_FILES else "")


def ignored(own: Own) -> list[str]:
    """What tells git which new files are no part of the code: the repository's own rules, and no user's."""
    exclude = own.common / "info/exclude"
    return ["--exclude-per-directory=.gitignore", *([f"--exclude-from={exclude}"] if exclude.is_file() else [])]


def reason(own: Own, name: str, old: Entry | None, found: Found | None, is_new: bool) -> str:
    """Why a file that differs is not in the diff; '' if it is code or, where it is no new file, text."""
    if found and found.why:
        return found.why
    if old and old.mode == REPOSITORY:
        return "a repository of its own"
    if why := kinds.by_name(name, is_new and found is not None and found.mode != LINK):
        return why
    if (old and old.size > FILE_BYTES) or (found and found.content is None):
        return f"more than {FILE_BYTES:,} bytes"
    contents = [found.content] if found and found.content is not None else []
    try:
        contents += [own.git("cat-file", "blob", old.hash)] if old else []
    except subprocess.CalledProcessError:
        return "the repository cannot read what the commit has there"
    return kinds.by_content(name, contents)


def describe(root: Path, left_out: Iterable[tuple[str, str]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Path, reason, size in bytes and SHA-256 of the first NAMED files left out; and how many more, in words."""
    described, room, listed = [], HASHED_BYTES, list(left_out)
    for name, why in listed[:NAMED]:
        facts = {"path": hide(name), **facts_of(root / name, why, room)}
        room -= facts.get("bytes", 0) if "sha256" in facts else 0
        described.append(facts)
    more = len(listed) - NAMED
    return described, [f"the names of {more:,} more files that are left out"] if more > 0 else []


def facts_of(path: Path, why: str, room: int) -> dict[str, Any]:
    """Why that file is left out; its size and, up to `room` bytes, SHA-256; a repository's commit."""
    facts: dict[str, Any] = {"why": why}
    try:
        info = os.lstat(path)
        if stat.S_ISDIR(info.st_mode):
            inside = git_folder(path)
            facts["commit"] = head(inside)[0] if inside else None
        elif stat.S_ISREG(info.st_mode):
            facts["bytes"] = info.st_size
            if info.st_size <= room:
                with open(path, "rb") as file:
                    facts["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        facts["why"] = f"deleted; {why}"
    except OSError as error:
        facts["why"] = f"cannot be read: {error.strerror}"
    return facts


def diff(own: Own, commit: str, recorded: Mapping[str, Found | None]) -> bytes:
    """The diff from the commit to these files, None for one that is gone; from blobs, so that no filter is at work."""
    if not recorded:
        return b""
    gone, there, zeros = [], [], b"0" * len(commit)
    for name, found in recorded.items():
        if found is None:
            gone.append(b"0 %s\t%s\0" % (zeros, os.fsencode(name)))
            continue
        assert found.content is not None
        hashed = blob_hash(own.root / name, found, commit)
        own.write(found.content, hashed)
        there.append(b"%s %s\t%s\0" % (found.mode.encode(), hashed.encode(), os.fsencode(name)))
    own.git("read-tree", f"{commit}^{{tree}}")
    own.git("update-index", "--add", "--replace", "-z", "--index-info", content=b"".join(gone + there))
    tree = own.git("write-tree", "--missing-ok").decode().strip()
    return own.git("diff-tree", "-p", "--text", *FORM, f"{commit}^{{tree}}", tree)
