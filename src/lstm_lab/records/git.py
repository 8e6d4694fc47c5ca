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

UNSET = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
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


class Own:
    """A repository of our own in the folder `own`, which reads the objects of the user's at `root`."""

    def __init__(self, root: Path, folder: Path, own: Path) -> None:
        self.root, self.folder, self.own = root, folder, own
        self.common = common_folder(folder)

    def begin(self, commit: str) -> None:
        """Makes it, with the user's objects beside its own."""
        kind = ["--object-format=sha256"] if len(commit) == 64 else []
        git("init", "-q", "--bare", "--template=", *kind, self.own)
        objects = os.fsencode(self.common / "objects").replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        (self.own / "objects/info").mkdir(exist_ok=True)
        (self.own / "objects/info/alternates").write_bytes(b'"%s"\n' % objects.replace(b"\n", b"\\n"))

    def git(self, *words: Any, content: bytes = b"", check: bool = True, **environment: str) -> bytes:
        """A command of git on it, with the user's files as its work tree."""
        where = {"GIT_DIR": str(self.own), "GIT_WORK_TREE": str(self.root)}
        return git("-C", self.root, *words, content=content, check=check, **where, **environment)

    def write(self, content: bytes, hashed: str) -> None:
        """Keeps a blob among its own objects; git's commands for that would name the files by lines."""
        file = self.own / "objects" / hashed[:2] / hashed[2:]
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(zlib.compress(b"blob %d\0" % len(content) + content))
