"""A run's own code, as a store names it: shown, run only if that may be trusted, and gone with this process.

What a store says is data, but `--checkout` runs code that it chose. The checkout's own store may choose any commit that
this repository has, and the diff that it kept. Any other needs the user's word, `--trust`, also where there is no diff:
a repository has commits that were fetched and never read, and old code may believe a store more than today's does.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from lstm_lab.commandline import say, typed
from lstm_lab.config import CannotRunError
from lstm_lab.paths import ROOT
from lstm_lab.records import code, git, lookup, store
from lstm_lab.records.reading import printable
from lstm_lab.records.store import StoreError
from lstm_lab.records.tagging import tags_of
from lstm_lab.runs import datafile

if TYPE_CHECKING:
    from mlflow.entities import Run

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SHOWN, CUT = 100, 200  # lines that are shown of what a diff changes, and characters of a line


@store.faults_told()
def reproduce(name: str, words: Sequence[str], path: str | None, trusted: bool, console: Console) -> int:
    """Reproduces a run with its own code and returns the exit code; `path` is as in `datafile.found`.

    `words` are the command's others. CannotRunError if that code cannot be had, or is another's and is not `trusted`.
    """
    store.check_store()
    client = store.open_store()
    run = lookup.find_run(client, "run", name)
    word = f"run={run.info.run_id}"
    made_by = lookup.provenance_of(client, run.info.run_id)
    commit = checked_commit(made_by.facts.get("commit") if made_by else None, word)
    diff = made_by.diff if made_by else b""
    if made_by and not code.is_recorded(made_by.facts, diff):
        raise StoreError(f"{word}: its uncommitted.diff was changed: it has not the SHA-256 that provenance.json has")
    with ended_in_order(), faults_told(word), folder_for_now() as folder:
        prepare(folder, commit, word)
        show(folder, commit, diff, console)
        if not trusted and not is_own(run):
            raise CannotRunError(f"{word}: {untrusted(word, words, path)}")
        git.fill(folder, commit, diff)
        more = datafile.bring(run.data.params, tags_of(run), word, path, folder)
        return call(folder, [word, *words, *more])


def checked_commit(commit: Any, word: str) -> str:
    """The hash; CannotRunError if the store has something else in its place."""
    if commit is None:
        raise StoreError(f"{word}: its commit is not known, so it cannot be checked out")
    if not isinstance(commit, str) or not git.is_hash(commit):
        shown = printable(repr(commit), CUT)
        raise StoreError(f"{word}: the store names {shown} as its commit; it must be 40 or 64 digits (0-9, a-f)")
    return commit


def prepare(folder: Path, commit: str, word: str) -> None:
    """Makes the empty clone; CannotRunError if this repository does not know that hash as a commit's."""
    git.clone(ROOT, folder, commit)
    kind = git.git("-C", folder, "cat-file", "-t", commit, check=False).decode().strip()
    if kind != "commit":
        what = f"is a {kind} here, no commit" if kind else git.absent(git.git_folder(ROOT))
        raise CannotRunError(f"{word}: its commit {commit} {what}")


def show(folder: Path, commit: str, diff: bytes, console: Console) -> None:
    """Says what would run: the commit, who made it and when, the files that the diff changes."""
    form = ["--no-patch", "--no-show-signature", "--no-notes", "--encoding=UTF-8", "--format=%an <%ae>, %aI%n%s"]
    lines = git.git("-C", folder, "show", *form, commit).decode(errors="replace").split("\n")
    say(console, f"the run's own code: commit {commit}")
    shown = lines[:2]
    if diff:
        listed = git.git("-C", folder, "-c", "core.quotePath=true", "apply", "--numstat", "--summary", content=diff)
        files = listed.decode(errors="replace").replace("\t", " ").splitlines()
        shown += [f"with {code.describe_diff(diff)}; lines added and removed:", *files[:SHOWN]]
        shown += [f"... and {len(files) - SHOWN:,} lines more"] if len(files) > SHOWN else []
    for line in shown:
        say(console, f"  {printable(line, CUT)}")


def is_own(run: "Run") -> bool:
    """Whether only this user, or the owner of this checkout, whose code runs anyway, can have written what is kept.

    That is shown of nothing but the checkout's own mlflow.db and artifacts below its mlruns/.
    """
    address = urllib.parse.urlsplit(run.info.artifact_uri)
    artifacts = Path(urllib.request.url2pathname(address.path)).resolve()
    is_here = address.scheme in ("", "file") and not address.netloc and store.is_local_store()
    if not is_here or not artifacts.is_relative_to((ROOT / "mlruns").resolve()):
        return False
    found = [path.stat() for path in (ROOT / "mlflow.db", ROOT / "mlruns", artifacts, *artifacts.glob("provenance/*"))]
    owners = {os.geteuid(), ROOT.stat().st_uid}
    return all(info.st_uid in owners and not others_write(info) for info in found)


def others_write(info: os.stat_result) -> bool:
    """Whether anybody but the owner may write there; a group of the owner's own number has nobody else in it."""
    return bool(info.st_mode & 0o002 or (info.st_mode & 0o020 and info.st_gid != info.st_uid))


def untrusted(word: str, words: Sequence[str], path: str | None) -> str:
    """Why that code is not run, and the command that runs it."""
    moved = [f"data.path={path}"] if path is not None else []
    command = typed("reproduce", word, *words, *moved, "--checkout", "--trust")
    return (
        f"the code shown above is what {store.tracking_uri()} names, which others may write to, and it would run "
        f"with all that you may do. If you trust it: `{command}`"
    )


@contextlib.contextmanager
def faults_told(word: str) -> Iterator[None]:
    """Makes a CannotRunError of what git, or a disk, complains about."""
    try:
        yield
    except FileNotFoundError as error:
        missing = "git is not installed" if error.filename == "git" else str(error)
        raise CannotRunError(f"{word}: {missing}, so no commit can be checked out") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotRunError(f"{word}: its code cannot be checked out: {git.fault(error)}") from None


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP end this process as Ctrl-C does: nothing that it began or made stays behind."""

    def end(number: int, frame: object) -> None:
        sys.exit(128 + number)

    heard = [number for number in ENDING[1:] if signal.getsignal(number) != signal.SIG_IGN]  # as under nohup
    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def folder_for_now() -> Iterator[Path]:
    """A folder that is gone afterwards, whatever signals come meanwhile."""
    parent = Path(tempfile.mkdtemp(prefix="lstm-lab-"))
    try:
        (parent / "checkout").mkdir()
        yield parent / "checkout"
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        shutil.rmtree(parent, ignore_errors=True)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def call(folder: Path, words: Sequence[str]) -> int:
    """Runs src/reproduce.py of that folder on this process's store; its exit code.

    A signal that ends this process is handed on once, whoever sent it, and waited for: a run then ends as KILLED. For
    that the other process has a session of its own, which Ctrl-C does not reach. A second signal kills it.
    """
    script = folder / "src/reproduce.py"
    if not script.exists():
        raise CannotRunError("that commit is older than src/reproduce.py")
    environment = {**git.environment_without_git(), "MLFLOW_TRACKING_URI": store.tracking_uri()}
    process = subprocess.Popen([sys.executable, str(script), *words], env=environment, start_new_session=True)
    try:
        ended = process.wait()
        return ended if ended >= 0 else 128 - ended  # as a shell tells of a signal
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        process.kill()
        process.wait()
