"""The code that a store names for a run: what of it is shown, when it runs, and that nothing of it stays."""

import hashlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from helpers import ROOT
from lstm_lab.config import CannotRunError, ConfigError
from lstm_lab.records import code, lookup, store
from lstm_lab.records.provenance import Provenance
from lstm_lab.runs import checkout, datafile

DOOR = """import os, signal, sys
print("child", os.getpid(), *sys.argv[1:], flush=True)
if os.environ.get("HANG"):
    signal.pause()
sys.exit(7)
"""
IDENTITY = ("-c", "user.name=A \x1b[31m\u202e\u2028\x0bname", "-c", "user.email=test@localhost")


def git(folder, *words):
    return subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repo(tmp_path):
    """A repository whose src/reproduce.py says that it runs."""
    root = tmp_path / "repo"
    (root / "src").mkdir(parents=True)
    (root / "src/reproduce.py").write_text(DOOR)
    (root / "link").symlink_to(tmp_path)
    git(tmp_path, "init", "-q", "-b", "main", str(root))
    git(root, "add", "-A")
    git(root, *IDENTITY, "commit", "-qm", "A subject")
    return root


def stored(repo, monkeypatch, commit, diff=b"", facts=None, **data):
    """A run as the store has it, of that commit and diff, in a store that others may write to."""
    artifacts = repo / "mlruns/artifacts/1"
    run = SimpleNamespace(
        info=SimpleNamespace(run_id="ab" * 16, artifact_uri=artifacts.as_uri()),
        data=SimpleNamespace(params=data.get("params", {}), tags=data.get("tags", {})),
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://lab:PASSWORD@elsewhere.example")
    monkeypatch.setattr(checkout, "ROOT", repo)
    monkeypatch.setattr(datafile, "ROOT", repo)
    monkeypatch.setattr(store, "check_store", lambda: None)
    monkeypatch.setattr(store, "open_store", lambda: None)
    monkeypatch.setattr(lookup, "find_run", lambda *words: run)
    made_by = Provenance({"commit": commit, **(facts or {})}, {}, diff)
    monkeypatch.setattr(lookup, "provenance_of", lambda *words: made_by)
    return run


def reproduce(trusted=True, words=(), path=None):
    return checkout.reproduce("ab", words, path, trusted, Console(no_color=True, width=200))


def patch(name, content="new\n"):
    lines = content.splitlines()
    added = "".join(f"+{line}\n" for line in lines)
    head = f"diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n"
    return f"{head}@@ -0,0 +1,{len(lines)} @@\n{added}".encode()


def link(name, target):
    head = f"diff --git a/{name} b/{name}\nnew file mode 120000\n--- /dev/null\n+++ b/{name}\n"
    return f"{head}@@ -0,0 +1 @@\n+{target}\n\\ No newline at end of file\n".encode()


@pytest.mark.parametrize(
    "commit",
    ["-f", "main", "HEAD", "--lock", "", "0" * 39, "A" * 40, "0" * 41, 7, ["a"], {"a": 1}, True, "x\x1b" * 900],
)
def test_what_is_no_hash_is_no_commit(commit, repo, monkeypatch):
    stored(repo, monkeypatch, commit)
    with pytest.raises(
        CannotRunError, match=r"^run=(ab){16}: the store names .* as its commit; it must be 40"
    ) as raised:
        reproduce()
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("what", ["unknown", "tree", "tag", "blob", "sha256", "none"])
def test_a_hash_that_this_repository_does_not_know_as_a_commits_is_named(what, repo, monkeypatch):
    git(repo, *IDENTITY, "tag", "-a", "release", "-m", "a tag")
    hashes = {"tree": "HEAD^{tree}", "tag": "release", "blob": "HEAD:src/reproduce.py"}
    commit = {"unknown": "0" * 40, "sha256": "0" * 64, "none": None}.get(what, "")
    commit = git(repo, "rev-parse", hashes[what]) if what in hashes else commit
    said = f"is a {what} here, no commit" if what in hashes else "is not (in this repository; `git fetch`|known)"
    stored(repo, monkeypatch, commit)
    with pytest.raises(CannotRunError, match=said):
        reproduce()


def test_code_of_others_is_shown_and_runs_only_if_it_is_trusted(repo, monkeypatch, capfd):
    diff = patch("src/a.py", "1\n2\n") + patch('"b\\033[31m\\n.py"'.replace('"', ""))
    commit = git(repo, "rev-parse", "HEAD")
    for kept in (diff, b""):
        stored(repo, monkeypatch, commit, kept)
        with pytest.raises(CannotRunError) as raised:
            reproduce(trusted=False, words=["tolerance=1e-6"], path="a file.csv")
        command = f"reproduce.py run={'ab' * 16} tolerance=1e-6 'data.path=a file.csv' --checkout --trust`"
        assert command in str(raised.value)
        assert "PASSWORD" not in capfd.readouterr().out
    stored(repo, monkeypatch, commit, diff)
    assert reproduce(words=["tolerance=1e-6"]) == 7
    out = capfd.readouterr().out
    assert f"the run's own code: commit {commit}\n  A " in out
    assert not {"\x1b", "\u202e"} & set(out)
    assert re.search(r"<test@localhost>, \d{4}-\d\d-\d\dT\S+\n  A subject\n", out)
    assert f"{len(diff)} bytes of uncommitted diff, SHA-256 {hashlib.sha256(diff).hexdigest()}" in out
    assert "\n  2 0 src/a.py\n" in out
    assert re.search(rf"^child \d+ run={'ab' * 16} tolerance=1e-6$", out, flags=re.M)


def test_what_is_shown_of_a_diff_has_an_end(repo, monkeypatch, capfd):
    stored(repo, monkeypatch, git(repo, "rev-parse", "HEAD"), b"".join(patch(f"{i}.py") for i in range(200)))
    with pytest.raises(CannotRunError, match="--trust"):
        reproduce(trusted=False)
    out = capfd.readouterr().out
    assert "\n  ... and 300 lines more\n" in out
    assert out.count("\n") < 110


@pytest.mark.parametrize(
    "diff",
    [
        patch("../escaped"),
        patch("a/../../escaped"),
        patch("/tmp/escaped"),
        patch("link/escaped"),
        link("out", "..") + patch("out/escaped"),
        link("out", "/tmp") + patch("out/escaped"),
        patch(".git/hooks/post-checkout"),
        patch(".git/config"),
        patch(".GIT/config"),
        patch("src/.git/config"),
        patch("git~1/config"),
        patch("src/reproduce.py"),  # which is there
        b"no diff\n",
        b"\0" * 100,
    ],
)
def test_a_diff_writes_nothing_outside_and_one_that_does_not_fit_is_named(diff, repo, monkeypatch, tmp_path, capfd):
    stored(repo, monkeypatch, git(repo, "rev-parse", "HEAD"), diff)
    made = []
    monkeypatch.setattr(
        checkout.tempfile, "mkdtemp", lambda prefix: made.append(tmp_path / "temp") or os.mkdir(made[0]) or made[0]
    )
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CannotRunError, match="its code cannot be checked out: error: ") as raised:
        reproduce()
    assert "\n" not in str(raised.value)
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/tmp/escaped").exists()
    assert "child" not in capfd.readouterr().out


@pytest.mark.parametrize(
    "facts", [{code.DIFF: code.about(b"another")}, {"dirty": False}, {"dirty": True, code.LEFT_OUT: [{"path": "data"}]}]
)
def test_a_diff_that_was_changed_or_put_into_the_store_is_not_the_runs(facts, repo, monkeypatch):
    stored(repo, monkeypatch, git(repo, "rev-parse", "HEAD"), patch("a.py"), facts)
    with pytest.raises(CannotRunError, match=r"uncommitted\.diff was changed"):
        reproduce()


def test_only_the_checkouts_own_store_that_nobody_else_writes_to_is_ones_own(repo, monkeypatch, tmp_path):
    run = stored(repo, monkeypatch, "")
    provenance = repo / "mlruns/artifacts/1/provenance"
    provenance.mkdir(parents=True)
    (provenance / "uncommitted.diff").write_text("")
    (repo / "mlflow.db").write_text("")
    assert not checkout.is_own(run)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.LOCAL_URI)
    assert checkout.is_own(run)
    own = run.info.artifact_uri
    for elsewhere in (
        tmp_path.as_uri(),
        "s3://lab" + str(repo / "mlruns/artifacts/1"),
        "mlflow-artifacts:/1",
        own + "/../../../..",
    ):
        run.info.artifact_uri = elsewhere
        assert not checkout.is_own(run)
    run.info.artifact_uri = own
    for path in (repo / "mlflow.db", repo / "mlruns", provenance / "uncommitted.diff"):
        mode = path.stat().st_mode
        path.chmod(mode | 0o002)
        assert not checkout.is_own(run)
        path.chmod(mode)
    group = SimpleNamespace(st_uid=1, st_gid=1, st_mode=0o664)
    assert not checkout.others_write(group)
    group.st_gid = 2
    assert checkout.others_write(group)
    assert checkout.is_own(run)
    monkeypatch.setattr(checkout.os, "geteuid", lambda: 12345)
    assert checkout.is_own(run), "it is the owner of the checkout's"


PARENT = """import sys
from pathlib import Path
sys.path[:0] = [{source!r}]
from lstm_lab import commandline
from lstm_lab.records import git
from lstm_lab.runs import checkout
commandline.set_up()
checkout.ROOT = Path({repo!r})
try:
    with checkout.ended_in_order(), checkout.folder_for_now() as folder:
        git.clone(checkout.ROOT, folder, {commit!r})
        git.fill(folder, {commit!r}, b"")
        print("folder", folder, flush=True)
        checkout.call(folder, [])
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_code_and_its_folder(number, repo, tmp_path):
    script = PARENT.format(source=str(ROOT / "src"), repo=str(repo), commit=git(repo, "rev-parse", "HEAD"))
    environment = {**os.environ, "HANG": "1"}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        folder = Path(parent.stdout.readline().split()[1])
        child = int(parent.stdout.readline().split()[1])
        assert folder.exists()
        parent.send_signal(number)
        assert parent.wait() == 128 + number
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert not folder.parent.exists()
    assert git(repo, "worktree", "list").count("\n") == 0


def test_a_data_file_that_git_does_not_keep_is_brought_along(repo, monkeypatch, tmp_path, capfd):
    place = 'pathlib.Path(__file__).parents[1] / "data/my.csv"'
    door = f"import sys, pathlib\nplace = {place}\nprint(*sys.argv[1:], place.exists() and place.read_text().strip())\n"
    (repo / "src/reproduce.py").write_text(door)
    git(repo, "add", "-A")
    git(repo, *IDENTITY, "commit", "-qm", "another")
    (repo / "data").mkdir()
    (repo / "data/my.csv").write_text("kept\n")
    sha, commit = hashlib.sha256(b"kept\n").hexdigest(), git(repo, "rev-parse", "HEAD")
    word = f"run={'ab' * 16}"

    def says(place, path=None, recorded=sha):
        tags = {"data.file.sha256": recorded} if recorded else {}
        stored(repo, monkeypatch, commit, params={"data.path": str(place)} if place else {}, tags=tags)
        reproduce(path=path)
        return capfd.readouterr().out.splitlines()[-1]

    assert says("data/my.csv") == f"{word} kept"
    moved = tmp_path / "moved.csv"
    (repo / "data/my.csv").rename(moved)
    assert says("data/my.csv", path=str(moved)) == f"{word} kept"
    assert says("../../outside.csv", path=str(moved)) == f"{word} data.path={moved} False"
    assert says("/gone/my.csv", path=str(moved)) == f"{word} data.path={moved} False"
    assert not (tmp_path / "outside.csv").exists()
    assert says(moved) == f"{word} False"
    assert says("data/my.csv", recorded=None) == f"{word} False", "that code may know what to do"
    with pytest.raises(
        ConfigError, match=rf"data/my\.csv: there is no such file; the run's own has the SHA-256 {sha}: "
    ):
        says("data/my.csv")
    with pytest.raises(ConfigError, match="come from a curve, not from a file"):
        says(None, path=str(moved))
    moved.write_text("changed\n")
    with pytest.raises(ConfigError, match=rf"is not the file that the run began with: its SHA-256 was {sha} and is "):
        says("data/my.csv", path=str(moved))
