"""The state of the code that runs: its commit, the diff of what is code, and what is left out of that or not known."""

import fnmatch
import functools
import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lstm_lab.hiding import hide, passwords
from lstm_lab.paths import ROOT
from lstm_lab.records.git import Own, asked_head, git_folder, head

# New files that are code or its settings; any other kind is data, and stays out of the diff.
SOURCES = (".py", ".pyi", ".sh", ".mk", ".html", ".css", ".js", ".jinja", ".md", ".rst")
SETTINGS = (".yaml", ".yml", ".toml", ".cfg", ".ini", ".lock", ".txt")  # where a line `password: ...` is no code
NAMES = ("Makefile", "Dockerfile", ".gitignore", ".gitattributes", ".python-version")
KEYS = (".env", ".env.*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.kdbx", "id_*", ".netrc", ".pgpass")
ACCOUNTS = (".htpasswd", ".git-credentials", ".npmrc", ".pypirc")
SECRETS = (*KEYS, *ACCOUNTS, "*secret*", "*password*", "*passwd*", "*token*", "*credential*")
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY")
SETTING = re.compile(
    r"^[ \t]*[\w.-]*(?:password|passwd|secret|api_?key|access_?key|token)[ \t]*[=:][ \t]*(?!null|~|\$)[^\s#]",
    re.I | re.M,
)

FILE_BYTES = 1_000_000  # of a file in the diff: more than twice the lock file, the largest text here
DIFF_BYTES = 8_000_000  # of all files in it: ten times all that the project has
HASHED_BYTES = 2_000_000_000  # of what is left out: a second or two of SHA-256
NAMED = 200  # files left out that are named; the rest are counted

LEFT_OUT = "left_out_of_diff"  # as provenance.json names it


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
        facts: dict[str, Any] = {"commit": self.hash, "branch": self.branch, "dirty": self.dirty}
        if self.left_out:
            facts[LEFT_OUT] = self.left_out
        return facts | ({"not_known_of_code": self.missing} if self.missing else {})


@dataclass(frozen=True)
class Entry:
    """A file of a commit: its mode (100644, 100755, 120000 a link, 160000 a repository), hash and size in bytes."""

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


@functools.cache
def running_code() -> Code | None:
    """The state of the code that runs: read once per process, as the code was."""
    return read_code()


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


def fault(error: Exception) -> str:
    """What git or the disk complains about, in a line."""
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error).encode()
    lines = (said or b"").decode(errors="replace").strip().splitlines()
    return hide(lines[0] if lines else type(error).__name__)


def changes(own: Own, commit: str | None, branch: str | None) -> Code:
    """What differs from the commit: as a diff what is code, by name what is not."""
    if commit is None:
        return Code(None, branch, missing=["the commit: none is checked out, or it cannot be read"])
    own.begin(commit)
    before = entries(own.git("ls-tree", "-r", "-l", "-z", f"{commit}^{{tree}}"))
    tracked = {*before, *names(own.git("ls-files", "-z", check=False, GIT_INDEX_FILE=str(own.folder / "index")))}
    new = set(names(own.git("ls-files", "--others", "-z", *ignored(own)))) - tracked
    recorded: dict[str, Found | None] = {}
    left_out: list[tuple[str, str]] = []
    room = DIFF_BYTES
    for name in [*sorted(tracked), *sorted(new)]:
        old, found = before.get(name), look(own.root, name)
        if is_same(own, name, old, found):
            continue
        size = (old.size if old else 0) + (found.size if found else 0)
        why = reason(own, name, old, found, is_new=name in new) or ((size > room and "the diff is full") or "")
        if why:
            left_out.append((name, why))
        else:
            recorded[name] = found
            room -= size
    described, missing = describe(own.root, left_out)
    try:
        return Code(commit, branch, diff(own, commit, recorded), described, missing)
    except (OSError, subprocess.SubprocessError) as error:
        return Code(commit, branch, b"", described, [*missing, f"what differs from the commit: {fault(error)}"])


def names(listed: bytes) -> list[str]:
    """The names that git lists with -z."""
    return [os.fsdecode(name) for name in listed.split(b"\0") if name]


def entries(listed: bytes) -> dict[str, Entry]:
    """The files of a tree, as `git ls-tree -r -l -z` lists them."""
    found = {}
    for line in names(listed):
        about, _, name = line.partition("\t")
        mode, _, hashed, size = about.split()
        found[name] = Entry(mode, hashed, 0 if size == "-" else int(size))
    return found


def ignored(own: Own) -> list[str]:
    """What tells git which new files are no part of the code: the repository's own rules, and no user's."""
    exclude = own.common / "info/exclude"
    return ["--exclude-per-directory=.gitignore", *([f"--exclude-from={exclude}"] if exclude.is_file() else [])]


def look(root: Path, name: str) -> Found | None:
    """What stands in the place of that file; None if nothing does, or only behind a link."""
    path = root / name
    try:
        info = os.lstat(path)
        if os.path.realpath(path.parent) != os.path.join(
            os.path.realpath(root), os.path.dirname(name.rstrip("/"))
        ).rstrip("/"):
            return None
        if stat.S_ISLNK(info.st_mode):
            return Found("120000", info.st_size, os.fsencode(os.readlink(path)))
        if stat.S_ISDIR(info.st_mode):
            return Found("160000", 0, why="a repository of its own") if (path / ".git").exists() else None
        if not stat.S_ISREG(info.st_mode):
            return Found("", 0, why="not a file")
        mode = "100755" if info.st_mode & stat.S_IXUSR else "100644"
        return Found(mode, info.st_size, path.read_bytes() if info.st_size <= FILE_BYTES else None)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return Found("", 0, why=f"cannot be read: {error.strerror}")


def is_same(own: Own, name: str, old: Entry | None, found: Found | None) -> bool:
    """Whether the commit has just what was found there."""
    if old is None or found is None:
        return old is None and found is None
    if old.mode != found.mode or (old.mode != "160000" and old.size != found.size):
        return False
    if old.mode == "160000":
        inside = git_folder(own.root / name)
        return bool(inside and head(inside)[0] == old.hash)
    return blob_hash(own.root / name, found, old.hash) == old.hash


def blob_hash(path: Path, found: Found, like: str) -> str:
    """The hash by which git knows that content, SHA-1 or SHA-256 as `like` is; '' if it cannot be read."""
    made = hashlib.sha256() if len(like) == 64 else hashlib.sha1()
    size = found.size if found.content is None else len(found.content)
    made.update(b"blob %d\0" % size)
    if found.content is not None:
        made.update(found.content)
        return made.hexdigest()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                made.update(block)
    except OSError:
        return ""
    return made.hexdigest()


def reason(own: Own, name: str, old: Entry | None, found: Found | None, is_new: bool) -> str:
    """Why a file that differs is not in the diff; '' if it is code or, where it is no new file, text."""
    base = os.path.basename(name.rstrip("/")).lower()
    if found and found.why:
        return found.why
    if old and old.mode == "160000":
        return "a repository of its own"
    if not base.endswith(".py") and any(fnmatch.fnmatch(base, pattern) for pattern in SECRETS):
        return "a secret, by its name"
    if (
        is_new
        and found
        and found.mode != "120000"
        and not (base.endswith(SOURCES + SETTINGS) or os.path.basename(name) in NAMES)
    ):
        return "data, by its name"
    if (old and old.size > FILE_BYTES) or (found and found.content is None):
        return f"more than {FILE_BYTES:,} bytes"
    contents = [found.content] if found and found.content is not None else []
    contents += [own.git("cat-file", "blob", old.hash)] if old else []
    if any(b"\0" in content for content in contents):
        return "binary"
    return "holds a password or key" if any(holds_secret(base, content) for content in contents) else ""


def holds_secret(base: str, content: bytes) -> bool:
    """Whether a file of that name gives a secret away: a private key, an address or a setting with a password."""
    text = content.decode(errors="replace")
    unlike = set("{}<>\\*()" if base.endswith(".py") else "{}<>")  # of a pattern, or a place for a password
    literal = [p for p in passwords(text) if not unlike & set(p) and not p.startswith("$") and p != "PASSWORD"]
    return bool(literal or PRIVATE_KEY.search(text) or (base.endswith(SETTINGS) and SETTING.search(text)))


def describe(root: Path, left_out: Iterable[tuple[str, str]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Path, reason, size in bytes and SHA-256 of the first NAMED files left out; and how many more, in words."""
    described, room, listed = [], HASHED_BYTES, list(left_out)
    for name, why in listed[:NAMED]:
        facts: dict[str, Any] = {"path": hide(name), "why": why}
        try:
            info = os.lstat(root / name)
            if stat.S_ISDIR(info.st_mode):
                inside = git_folder(root / name)
                facts["commit"] = head(inside)[0] if inside else None
            elif stat.S_ISREG(info.st_mode):
                facts["bytes"] = info.st_size
                if info.st_size <= room:
                    room -= info.st_size
                    with open(root / name, "rb") as file:
                        facts["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            facts["why"] = f"deleted; {why}"
        except OSError as error:
            facts["why"] = f"cannot be read: {error.strerror}"
        described.append(facts)
    more = len(listed) - NAMED
    return described, [f"the names of {more:,} more files that are left out"] if more > 0 else []


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
    form = ["-p", "--full-index", "--text", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color"]
    form += ["--src-prefix=a/", "--dst-prefix=b/", "--unified=3", "--diff-algorithm=myers"]
    return own.git("diff-tree", *form, f"{commit}^{{tree}}", tree)
