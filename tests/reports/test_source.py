"""In what the code of runs differs, from real repositories; and that what a store says of it is only data."""

import hashlib
import subprocess
from types import SimpleNamespace

import pytest

from lstm_lab.records import code, lookup
from lstm_lab.records.provenance import Provenance
from lstm_lab.reports import source
from lstm_lab.reports.source import Changed

IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@localhost")


def git(folder, *words):
    return subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True).stdout.strip()


def commit(root):
    git(root, "add", "-A")
    git(root, *IDENTITY, "commit", "-qm", "a commit")
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path):
    """A repository with one commit."""
    root = tmp_path / "repo"
    git(tmp_path, "init", "-q", "-b", "main", str(root))
    (root / "src").mkdir()
    (root / "src/a.py").write_text("one\ntwo\nthree\n")
    (root / "README.md").write_text("about\n")
    commit(root)
    return root


def made(root):
    """What a run that begins now would keep of its code."""
    found = code.read_code(root)
    return Provenance(found.facts(), {}, found.diff)


def compare(root, first, other):
    [found] = source.compare({"aaaa": first, "bbbb": other}, root)
    return found


def test_from_commit_to_commit(repo):
    first = made(repo)
    (repo / "src/a.py").write_text("one\n2\nthree\nfour\n")
    (repo / "README.md").unlink()
    commit(repo)
    found = compare(repo, first, made(repo))
    assert found.files == [Changed("src/a.py", 2, 1), Changed("README.md", 0, 1)]
    assert (found.unknown, found.more, found.cut, found.compared, found.same) == ([], 0, 0, True, False)
    assert found.summary() == "2 files differ, 2 lines added, 2 removed"
    assert found.lines[-7:] == ["+++ b/src/a.py", "@@ -1,3 +1,4 @@", " one", "-two", "+2", " three", "+four"]
    back = compare(repo, made(repo), first)
    assert back.files == [Changed("src/a.py", 1, 2), Changed("README.md", 1, 0)]


def test_what_was_not_committed_against_the_commit_and_against_other_changes(repo):
    clean = made(repo)
    (repo / "src/a.py").write_text("one\ntwo\nthree\nfour\n")
    (repo / "src/new.py").write_text("new\n")
    one = made(repo)
    assert compare(repo, clean, one).files == [Changed("src/a.py", 1, 0), Changed("src/new.py", 1, 0)]
    (repo / "src/a.py").write_text("one\ntwo\nthree\n4\n")
    found = compare(repo, one, made(repo))
    assert found.files == [Changed("src/a.py", 1, 1)]
    assert found.lines[-3:] == [" three", "-four", "+4"]
    assert found.summary() == "1 file differs, 1 line added, 1 removed"


def test_the_same_code_is_so_whether_it_was_committed_or_not(repo):
    (repo / "src/a.py").write_text("one\n")
    (repo / "src/a.py").chmod(0o755)
    dirty = made(repo)
    commit(repo)
    found = compare(repo, dirty, made(repo))
    assert (found.same, found.files, found.lines, found.summary()) == (True, [], [], "the same code")


def test_every_other_run_is_compared_with_the_first(repo):
    runs = {"a": made(repo)}
    for name in "bc":
        (repo / "src/a.py").write_text(name)
        runs[name] = made(repo)
    to_b, to_c = source.compare(runs, repo)
    assert (to_b.lines[-2], to_c.lines[-2]) == ("+b", "+c")
    assert source.compare({"a": runs["a"]}, repo) == []


def test_runs_are_found_in_the_store_and_named_by_their_first_digits(repo, monkeypatch):
    kept = {"a" * 32: made(repo), "b" * 32: None}
    monkeypatch.setattr(lookup, "provenance_of", lambda client, run_id: kept[run_id])
    runs = [SimpleNamespace(info=SimpleNamespace(run_id=run_id)) for run_id in kept]
    [found] = source.differences(None, runs)
    assert found.unknown[-1] == "bbbbbbbb: what made it is not in the store"
    assert (found.compared, found.same, found.summary()) == (False, False, "the code cannot be compared")


@pytest.mark.parametrize("commit", ["0" * 40, "0" * 64, "HEAD", "-f", "main", "", "A" * 40, None, 7, ["a"]])
def test_a_commit_that_is_none_here_is_said_to_be_so(commit, repo):
    found = compare(repo, made(repo), Provenance({"commit": commit}, {}, b""))
    assert (found.compared, found.files, len(found.unknown)) == (False, [], 1)
    assert found.unknown[0].startswith("bbbb: ")
    assert ("is not in this repository" in found.unknown[0]) == (commit in ("0" * 40, "0" * 64))


def test_in_a_clone_of_the_last_commits_it_is_said_how_the_others_come(repo, tmp_path):
    first = made(repo)
    (repo / "src/a.py").write_text("later\n")
    commit(repo)
    last, shallow = made(repo), tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", repo.as_uri(), shallow)
    found = compare(shallow, last, first)
    assert found.unknown == [
        f"bbbb: its commit {first.facts['commit'][:12]} is not in this repository; `git fetch --unshallow` may bring it"
    ]
    git(shallow, "fetch", "-q", "--unshallow")
    assert compare(shallow, last, first).files == compare(repo, last, first).files != []


@pytest.mark.parametrize("what", ["HEAD^{tree}", "HEAD:src/a.py", "release"])
def test_a_hash_of_anything_else_is_no_commit(what, repo):
    git(repo, *IDENTITY, "tag", "-a", "release", "-m", "a tag")
    found = compare(repo, made(repo), Provenance({"commit": git(repo, "rev-parse", what)}, {}, b""))
    assert not found.compared


def kept(root, diff):
    """A run of the commit that is checked out with that diff, which has its own SHA-256."""
    facts = {"commit": git(root, "rev-parse", "HEAD"), "dirty": True, "uncommitted_diff": code.about(diff)}
    return Provenance(facts, {}, diff)


def patch(name, content="new\n"):
    lines = content.splitlines()
    added = "".join(f"+{line}\n" for line in lines)
    head = f"diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n"
    return f"{head}@@ -0,0 +1,{len(lines)} @@\n{added}".encode()


def test_a_diff_that_was_changed_is_not_believed(repo):
    clean = made(repo)
    (repo / "src/a.py").write_text("one\n")
    dirty = made(repo)
    for diff in (b"", dirty.diff + b"\n", patch("b.py")):
        found = compare(repo, clean, Provenance(dirty.facts, {}, diff))
        assert found.unknown == [
            "bbbb: its uncommitted.diff was changed: it has not the SHA-256 that provenance.json has"
        ]
        assert not found.compared


@pytest.mark.parametrize(
    "diff",
    [
        *(
            patch(name)
            for name in ("../out", "a/../../out", "/tmp/out", ".git/config", ".GIT/config", "a/.git/hooks/x")
        ),
        patch("link", "..").replace(b"100644", b"120000") + patch("link/out"),
        patch("src/a.py"),
        b"no diff at all\n",
        b"-" * (source.MOST + 1),
    ],
)
def test_a_diff_that_does_not_fit_changes_nothing_anywhere(diff, repo, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    found = compare(repo, kept(repo, diff), made(repo))
    assert (found.compared, found.files, found.lines) == (False, [], [])
    assert found.unknown[0].startswith("aaaa: its ")
    assert len(found.unknown[0]) < 200
    assert found.unknown[0].isprintable()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_binary_patch_which_could_unfold_to_anything_is_not_applied(repo):
    (repo / "bomb").write_bytes(bytes(10**6))
    git(repo, "add", "bomb")
    patch = subprocess.run(["git", "-C", repo, "diff", "--cached", "--binary"], check=True, capture_output=True).stdout
    git(repo, "reset", "-q", "--hard")
    assert len(patch) < 10_000
    assert compare(repo, made(repo), kept(repo, patch)).unknown == [
        "bbbb: its uncommitted.diff is none that a run keeps"
    ]


def test_names_and_lines_from_others_steer_no_terminal(repo):
    name = '"b/\\033[31m\\n\\342\\200\\256.py"'
    diff = patch("x.py", "\x1b[31mred\x07\ttab").replace(b"a/x.py", name.replace("b/", "a/").encode())
    diff = diff.replace(b"b/x.py", name.encode())
    found = compare(repo, made(repo), kept(repo, diff))
    assert found.files == [Changed("\ufffd[31m\ufffd\ufffd.py", 1, 0)]
    assert found.lines[-1] == "+\ufffd[31mred\ufffd      tab"
    assert all(line.isprintable() and len(line) <= source.WIDTH for line in found.lines)


def test_names_are_names_and_no_patterns_or_options(repo):
    first = made(repo)
    for name in ("*.py", "-p", ":(top)x", "ü 1.py"):
        (repo / name).write_text("new\n")
    commit(repo)
    found = compare(repo, first, made(repo))
    assert {one.name for one in found.files} == {"*.py", "-p", ":(top)x", "ü 1.py"}
    assert sum(line == "+new" for line in found.lines) == 4
    assert "+++ b/ü 1.py" in [line.rstrip() for line in found.lines]  # git ends a name with blanks by a tab


def test_binary_files_are_named_and_attributes_of_the_repository_hide_nothing(repo):
    first = made(repo)
    (repo / ".gitattributes").write_text("*.py binary\n*.md -diff\n")
    (repo / "figure.png").write_bytes(bytes(range(256)))
    (repo / "src/a.py").write_text("one\n")
    commit(repo)
    found = compare(repo, first, made(repo))
    assert Changed("figure.png", None, None) in found.files
    assert Changed("src/a.py", 0, 2) in found.files
    assert any(line.startswith("Binary files ") and "figure.png" in line for line in found.lines)


def test_what_is_shown_has_an_end_and_begins_with_what_decides_the_numbers(repo, monkeypatch):
    monkeypatch.setattr(source, "FILES", 3)
    monkeypatch.setattr(source, "LINES", 10)
    first = made(repo)
    for name, lines in (("a.md", 1), ("b.md", 1), ("src/b.py", 11), ("src/c.py", 9)):
        (repo / name).write_text("x\n" * lines)
    (repo / "src/c.py").write_text("y" * 9999 + "\n" + "x\n" * 8)
    commit(repo)
    found = compare(repo, first, made(repo))
    assert [one.name for one in found.files] == ["src/b.py", "src/c.py", "a.md"]
    assert (found.more, found.cut) == (1, 2)
    assert found.summary() == "4 files differ, 21 lines added, 0 removed in the first 3"
    assert [line for line in found.lines if line.startswith("+++")] == ["+++ b/a.md", "+++ b/src/c.py"]
    assert max(map(len, found.lines)) == source.WIDTH


def test_files_beside_the_diffs_are_told_by_their_hashes(repo):
    (repo / "my.csv").write_text("1\n")
    first = made(repo)
    again = compare(repo, first, made(repo))
    assert again.same
    (repo / "my.csv").write_text("2\n")
    (repo / "other.csv").write_text("3\n")
    found = compare(repo, first, made(repo))
    digests = [hashlib.sha256(content).hexdigest() for content in (b"1\n", b"2\n", b"3\n")]
    assert [line.split(": ")[1] for line in found.unknown] == [
        f"SHA-256 {digests[0]}, then SHA-256 {digests[1]}",
        f"as committed, then SHA-256 {digests[2]}",
    ]
    assert (found.compared, found.same, found.summary()) == (True, False, "the same code, as far as it is known")
    many = {"commit": first.facts["commit"], "left_out_of_diff": [{"path": f"{i}\x1b", "why": [0]} for i in range(99)]}
    hostile = compare(repo, first, Provenance(many, {}, b"")).unknown
    assert (len(hostile), hostile[-1]) == (source.TOLD + 1, "80 more files left out of the diff")
    assert all(line.isprintable() for line in hostile)


def test_what_a_run_did_not_know_of_its_code_is_told(repo):
    clean = made(repo)
    older = Provenance({"commit": clean.facts["commit"], "dirty": True}, {}, b"")
    assert compare(repo, clean, older).unknown == ["bbbb: something was not committed, and is not kept"]
    partly = Provenance({**clean.facts, "not_known_of_code": ["what differs: \x1b"]}, {}, b"")
    assert compare(repo, partly, clean).unknown == ["aaaa: what differs: \ufffd"]


def test_without_a_repository_or_git_nothing_is_compared(repo, tmp_path, monkeypatch):
    one = made(repo)
    assert compare(tmp_path, one, one).unknown == ["this is no git checkout, so no commit can be read"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compare(repo, one, one).unknown == ["git is not installed, so no commit can be read"]
