"""Git asked in ways that no setting changes.

A user's repository is asked only which commit is checked out. All else is asked in an empty repository of our own that
reads the user's objects: there no setting, hook, filter or attribute of the user changes an answer, the objects that
are made go with it, and the user's index is left alone.
"""

import os
import re
import subprocess
import tempfile
import zlib
from pathlib import Path
from typing import Any

from lstm_lab.hiding import hide

UNSET = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
UNSET["GIT_NO_REPLACE_OBJECTS"] = "1"  # `git replace` shows other contents under a commit's hash
# What a repository's own configuration might say otherwise, for git's commands that must work in the user's.
OVERRIDES = ["core.hooksPath=/dev/null", "core.autocrlf=false", "core.eol=lf", "core.fsmonitor=false"]
OVERRIDES += ["core.attributesFile=/dev/null", "core.sparseCheckout=false", "core.symlinks=true", "core.fileMode=true"]
OVERRIDES += ["apply.whitespace=nowarn", "apply.ignoreWhitespace=no", "color.ui=false"]


def git_folder(root: Path) -> Path | None:
    """Where the repository of the checkout at `root` is: a worktree's .git, or a submodule's, only says where."""
    found = root / ".git"
    try:
        if found.is_dir():
            return found
        return (root / found.read_text().removeprefix("gitdir:").strip()).resolve()
    except (OSError, ValueError):
        return None


def common_folder(folder: Path) -> Path:
    """Where a repository's objects and branches are: worktrees share them."""
    shared = folder / "commondir"
    return (folder / shared.read_text().strip()).resolve() if shared.exists() else folder


def head(folder: Path) -> tuple[str | None, str | None]:
    """The commit and branch that are checked out, as files say; None each where they do not."""
    try:
        says, common = (folder / "HEAD").read_text().strip(), common_folder(folder)
        if not says.startswith("ref:"):
            return (says, "HEAD") if is_hash(says) else (None, None)
        ref = says.removeprefix("ref:").strip()
        if ref == "refs/heads/.invalid":  # what stands there where branches are kept in tables
            return None, None
        branch = ref.removeprefix("refs/heads/")
        if (common / ref).is_file():
            commit = (common / ref).read_text().strip()
            return (commit if is_hash(commit) else None), branch
        packed = common / "packed-refs"
        lines = packed.read_text().splitlines() if packed.exists() else []
        return next((line.split()[0] for line in lines if line.endswith(f" {ref}")), None), branch
    except (OSError, ValueError):
        return None, None


def asked_head(root: Path) -> tuple[str | None, str | None]:
    """The same as git says: it knows more ways to keep branches. It may not know the commit of a new branch."""
    branch = git("-C", root, "symbolic-ref", "-q", "--short", "HEAD", check=False).decode(errors="replace").strip()
    commit = git("-C", root, "rev-parse", "-q", "--verify", "HEAD^{commit}", check=False).decode().strip()
    return (commit if is_hash(commit) else None), branch or None


def is_hash(text: str) -> bool:
    """Whether that is a commit's whole hash: SHA-1 or SHA-256."""
    return bool(re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text))


def absent(folder: Path | None) -> str:
    """What is said of a commit that the repository in that folder does not have: it may be a clone of the last few."""
    deeper = " --unshallow" if folder and (common_folder(folder) / "shallow").exists() else ""
    return f"is not in this repository; `git fetch{deeper}` may bring it"


def environment_without_git() -> dict[str, str]:
    """The environment without what would send git to another repository or change its answers."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}


def git(*words: Any, content: bytes = b"", check: bool = True, **environment: str) -> bytes:
    """What a command of git prints, whatever the user's environment and settings say of git."""
    with tempfile.NamedTemporaryFile("w", suffix=".gitconfig") as config:
        config.write("[safe]\n\tdirectory = *\n")  # it is read, and its hooks and programs are not run
        config.flush()
        asked = {**environment_without_git(), **UNSET, "GIT_CONFIG_GLOBAL": config.name, **environment}
        settings = [word for setting in OVERRIDES for word in ("-c", setting)]
        command = ["git", "--no-pager", *settings, *map(str, words)]
        return subprocess.run(command, input=content, capture_output=True, check=check, env=asked).stdout


def fault(error: Exception) -> str:
    """What git or the disk complains about, in a line."""
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error).encode()
    lines = (said or b"").decode(errors="replace").strip().splitlines()
    return hide(lines[0] if lines else type(error).__name__)


def borrow(folder: Path, objects: Path, commit: str) -> None:
    """Makes a bare repository in `folder`, of the kind that the commit's hash is of, which reads those objects too."""
    kind = ["--object-format=sha256"] if len(commit) == 64 else []
    git("init", "-q", "--bare", "--template=", *kind, folder)
    quoted = os.fsencode(objects).replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    (folder / "objects/info").mkdir(exist_ok=True)
    (folder / "objects/info/alternates").write_bytes(b'"%s"\n' % quoted)


def clone(root: Path, place: Path, commit: str) -> None:
    """Makes an empty repository at `place` that reads the objects of the user's at `root`, and leaves that alone.

    What it checks out is what commits hold, byte by byte: no attribute, setting, filter or hook is at work in it.
    FileNotFoundError if `root` is no checkout, or git is not installed.
    """
    folder = git_folder(root)
    if folder is None:
        raise FileNotFoundError(f"{root} is no git checkout")
    borrow(place / ".git", common_folder(folder) / "objects", commit)
    (place / ".git/info").mkdir()
    (place / ".git/info/attributes").write_text("* -text -eol -filter -ident -working-tree-encoding\n")
    git("-C", place, "config", "core.bare", "false")


def fill(place: Path, commit: str, diff: bytes) -> None:
    """Checks the commit out in a `clone` and applies the diff, by which git writes nothing outside its work tree."""
    git("-C", place, "checkout", "-q", "--detach", commit)
    if diff:
        git("-C", place, "apply", "--binary", "-", content=diff)


class Own:
    """A repository of our own in the folder `own`, which reads the objects of the user's at `root`."""

    def __init__(self, root: Path, folder: Path, own: Path) -> None:
        self.root, self.folder, self.own = root, folder, own
        self.common = common_folder(folder)

    def begin(self, commit: str) -> None:
        """Makes it, with the user's objects beside its own."""
        borrow(self.own, self.common / "objects", commit)

    def git(self, *words: Any, content: bytes = b"", check: bool = True, **environment: str) -> bytes:
        """A command of git on it, with the user's files as its work tree."""
        where = {"GIT_DIR": str(self.own), "GIT_WORK_TREE": str(self.root)}
        return git("-C", self.root, *words, content=content, check=check, **where, **environment)

    def write(self, content: bytes, hashed: str) -> None:
        """Keeps a blob among its own objects; git's commands for that would name the files by lines."""
        file = self.own / "objects" / hashed[:2] / hashed[2:]
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(zlib.compress(b"blob %d\0" % len(content) + content))
