"""In what the code of runs differs, from commit to commit and by what was not committed; nothing of it is run.

The code of each run is put together as a tree of git's, in a repository of our own that reads the checkout's objects: a
kept diff is applied to an index, never to files.
"""

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_lab.paths import ROOT
from lstm_lab.records import code, lookup
from lstm_lab.records.git import Own, absent, asked_head, fault, git_folder, head, is_hash
from lstm_lab.records.provenance import Provenance
from lstm_lab.records.reading import printable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MOST = 2**23  # bytes of a kept diff: of files of 2 MB in all, which it can have twice over
DECISIVE = ("src/", "conf/")
FILES = 100  # that are listed
LINES, WIDTH = 1000, 200  # of the diff that is shown, and characters of a line
TOLD = 20  # files beside the diffs
SHOWN = 100  # characters of a name, or of what git complains about


class UnknownCodeError(Exception):
    """What is not known of a run's code, in words."""


@dataclass(frozen=True)
class Changed:
    """A file that differs, by its printable name; how many lines are added and removed in it, None: it is binary."""

    name: str
    added: int | None
    removed: int | None

    def in_words(self) -> str:
        """Its name, and how many lines it gains and loses."""
        return f"{self.name}  binary" if self.added is None else f"{self.name}  +{self.added:,} -{self.removed:,}"


@dataclass(frozen=True)
class Difference:
    """From the code of one run to that of another; all texts are printable.

    `files` are the first that differ, and `more` is how many others do. `lines` are the diff's, but for `cut` of all
    these files, which would be too long. `unknown` is what is not known of either code; if that leaves nothing to
    compare, `compared` is false.
    """

    files: list[Changed] = field(default_factory=list)
    more: int = 0
    lines: list[str] = field(default_factory=list)
    cut: int = 0
    unknown: list[str] = field(default_factory=list)
    compared: bool = True

    @property
    def same(self) -> bool:
        """Whether both ran the same code, as far as a repository can show it."""
        return self.compared and not self.files and not self.unknown

    def summary(self) -> str:
        """In a line."""
        if not self.compared:
            return "the code cannot be compared"
        if not self.files:
            return "the same code" + (", as far as it is known" if self.unknown else "")
        count = len(self.files) + self.more
        added, removed = (sum(getattr(one, what) or 0 for one in self.files) for what in ("added", "removed"))
        lines = f"{added:,} line{'s' * (added != 1)} added, {removed:,} removed"
        where = f" in the first {FILES}" if self.more else ""
        return f"{count:,} {'files differ' if count > 1 else 'file differs'}, {lines}{where}"


def differences(client: "MlflowClient", runs: "Sequence[Run]") -> list[Difference]:
    """From the code of the first run to that of each other one."""
    return compare({run.info.run_id[:8]: lookup.provenance_of(client, run.info.run_id) for run in runs})


def compare(made_by: Mapping[str, Provenance | None], root: Path = ROOT) -> list[Difference]:
    """The same by what made the runs, by their names, in the repository of the checkout at `root`."""
    first, *others = made_by
    try:
        with repository(root) as own:
            found = {name: tree_or_fault(own, one) for name, one in made_by.items()}
            return [difference(own, {name: made_by[name] for name in (first, other)}, found) for other in others]
    except (OSError, subprocess.SubprocessError) as error:
        missing = isinstance(error, FileNotFoundError) and error.filename == "git"
        why = "git is not installed, so no commit can be read" if missing else printable(fault(error), SHOWN)
        return [Difference(unknown=[why], compared=False) for _ in others]


@contextlib.contextmanager
def repository(root: Path) -> Iterator[Own]:
    """An empty repository that reads the objects of the one at `root`, with an empty folder as its work tree."""
    folder = git_folder(root)
    if folder is None:
        raise FileNotFoundError("this is no git checkout, so no commit can be read")
    with tempfile.TemporaryDirectory() as place:
        nothing = Path(place, "nothing")
        nothing.mkdir()
        own = Own(nothing, folder, Path(place, "own"))
        own.begin(head(folder)[0] or asked_head(root)[0] or "0" * 40)
        yield own


def tree_or_fault(own: Own, made_by: Provenance | None) -> tuple[str, str]:
    """The tree of a run's code and '', or '' and why there is none."""
    try:
        return tree_of(own, made_by), ""
    except UnknownCodeError as error:
        return "", str(error)


def tree_of(own: Own, made_by: Provenance | None) -> str:
    """The hash of the tree that the run's commit and diff give; UnknownCodeError if they give none."""
    if made_by is None:
        raise UnknownCodeError("what made it is not in the store")
    commit, diff = made_by.facts.get("commit"), made_by.diff
    if not isinstance(commit, str) or not is_hash(commit):
        raise UnknownCodeError(
            "its commit is not known" if commit is None else "what the store has as its commit is none"
        )
    if own.git("cat-file", "-t", commit, check=False).strip() != b"commit":
        raise UnknownCodeError(f"its commit {commit[:12]} {absent(own.folder)}")
    if not code.is_recorded(made_by.facts, diff):
        raise UnknownCodeError("its uncommitted.diff was changed: it has not the SHA-256 that provenance.json has")
    if len(diff) > MOST or re.search(rb"^GIT binary patch", diff, re.M):  # which could unfold to anything
        raise UnknownCodeError("its uncommitted.diff is none that a run keeps")
    try:
        own.git("read-tree", f"{commit}^{{tree}}")
        if diff:
            own.git("apply", "--cached", "-", content=diff)
        return own.git("write-tree", "--missing-ok").decode().strip()
    except subprocess.CalledProcessError as error:
        raise UnknownCodeError(f"its commit and diff do not fit: {printable(fault(error), SHOWN)}") from None
    finally:
        (own.own / "index").unlink(missing_ok=True)  # attributes in it would tell git how to show files


def difference(own: Own, made_by: Mapping[str, Provenance | None], found: Mapping[str, tuple[str, str]]) -> Difference:
    """From one run to the other, the trees of both being found or not."""
    unknown = [f"{name}: {found[name][1]}" for name in made_by if found[name][1]]
    if unknown:
        return Difference(unknown=unknown, compared=False)
    unknown = [f"{name}: {what}" for name, one in made_by.items() if one for what in unrecorded(one.facts)]
    unknown += beside(*(one.facts for one in made_by.values() if one))
    one, other = (found[name][0] for name in made_by)
    try:
        files = changed(own, one, other)
        few = within(files)
        lines = diff_of(own, one, other, few)
    except subprocess.CalledProcessError as error:  # a blob that a partial clone has not
        return Difference(unknown=[*unknown, printable(fault(error), SHOWN)], compared=False)
    listed = [Changed(printable(name, SHOWN), *counts) for name, counts in files.items()][:FILES]
    return Difference(listed, len(files) - len(listed), lines, len(files) - len(few), unknown)


def unrecorded(facts: Mapping[str, Any]) -> list[str]:
    """What a run itself could not find out of its code, or an older one did not keep."""
    missing = [printable(code.unknown(facts), SHOWN)] if facts.get(code.UNKNOWN) else []
    if facts.get("dirty") is True and not any(key in facts for key in (code.DIFF, code.LEFT_OUT, code.UNKNOWN)):
        missing.append("something was not committed, and is not kept")
    return missing


def beside(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The files left out of either diff, by name and hash, unless both runs had the same content there."""
    kept = [{file["path"]: file for file in facts.get(code.LEFT_OUT, ())} for facts in (first, other)]
    told = []
    for path in sorted({*kept[0], *kept[1]}):
        before, after = (identity(files[path]) if path in files else "as committed" for files in kept)
        if before != after or before == "unknown":
            why = (kept[0].get(path) or kept[1][path]).get("why")
            shown = [printable(str(text), SHOWN) for text in (path, why, before, after)]
            told.append("{}, left out of the diff ({}): {}, then {}".format(*shown))
    more = len(told) - TOLD
    return told[:TOLD] + ([f"{more:,} more files left out of the diff"] if more > 0 else [])


def identity(described: Mapping[str, Any]) -> str:
    """By what a file that was left out is known again."""
    for key, what in (("sha256", "SHA-256"), ("commit", "commit")):
        if described.get(key):
            return f"{what} {described[key]}"
    return "deleted" if str(described.get("why")).startswith("deleted") else "unknown"


def changed(own: Own, one: str, other: str) -> dict[str, tuple[int | None, int | None]]:
    """The lines added and removed in each file in which two trees differ, None each in one that is binary.

    Those that decide a run's numbers come first.
    """
    found: dict[str, tuple[int | None, int | None]] = {}
    form = ["-r", "--numstat", "-z", *(word for word in code.FORM if "--unified" not in word)]  # which asks for lines
    for record in own.git("diff-tree", *form, one, other).split(b"\0")[:-1]:
        added, removed, name = record.split(b"\t", 2)
        found[os.fsdecode(name)] = (None, None) if added == b"-" else (int(added), int(removed))
    return dict(sorted(found.items(), key=lambda item: (not item[0].startswith(DECISIVE), item[0])))


def within(files: Mapping[str, tuple[int | None, int | None]]) -> list[str]:
    """The first files, but for those whose changed lines leave no room to show them."""
    few, room = [], LINES
    for name, (added, removed) in list(files.items())[:FILES]:
        lines = (added or 0) + (removed or 0)
        if lines <= room:
            room -= lines
            few.append(name)
    return few


def diff_of(own: Own, one: str, other: str, names: Sequence[str]) -> list[str]:
    """The printable lines of the diff of those files."""
    if not names:
        return []
    plain = ["--literal-pathspecs", "-c", "core.quotePath=false"]
    text = own.git(*plain, "diff-tree", "-p", *code.FORM, one, other, "--", *names).decode(errors="replace")
    lines = text.removesuffix("\n").split("\n")
    return [printable(line.expandtabs(), WIDTH) for line in lines]
