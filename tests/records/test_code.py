import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lstm_lab.records import code
from lstm_lab.records.git import UNSET, clone, fill
from lstm_lab.records.git import git as immune

CODE = "import math\n\n\ndef curve(x):\n    return math.sin(x)\n"


def git(folder, *words, **options):
    done = subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True, **options)
    return done.stdout


IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@localhost")


def commit(folder):
    git(folder, "add", "-A")
    git(folder, *IDENTITY, "commit", "-qm", "a commit")


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """A repository with one commit, in a home of its own; changed since in every way that code changes."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    (tmp_path / "home").mkdir()
    root = tmp_path / "repo"
    git(tmp_path, "init", "-q", "-b", "trunk", str(root))
    (root / "src").mkdir()
    for name in ("changed.py", "deleted.py", "made executable.py", "same.py", "ends in crlf.py"):
        (root / "src" / name).write_text(CODE)
    (root / "src/link").symlink_to("same.py")
    (root / "README.md").write_text("no line end")
    (root / ".gitignore").write_text("ignored/\n")
    commit(root)
    return root


def change(root):
    (root / "src/changed.py").write_text(CODE.replace("sin", "cos") + "# trailing  \n")
    (root / "src/deleted.py").unlink()
    (root / "src/made executable.py").chmod(0o755)
    (root / "src/ends in crlf.py").write_bytes(CODE.replace("\n", "\r\n").encode())
    (root / "src/link").unlink()
    (root / "src/link").symlink_to("changed.py")
    (root / "README.md").write_text("another line\nno line end")
    (root / "src/new ü.py").write_text("new\n")
    (root / "src/empty.py").write_text("")
    (root / "ignored").mkdir()
    (root / "ignored/file.py").write_text("not code\n")


def tree(root):
    """Everything in a folder but what git ignores or keeps there: modes and contents."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if name.startswith((".git/", "ignored")) or name == ".git" or (path.is_dir() and not path.is_symlink()):
            continue
        content = os.readlink(path) if path.is_symlink() else path.read_bytes()
        found[name] = content if path.is_symlink() else (content, path.stat().st_mode & 0o100)
    return found


def rebuilt(root, found, folder):
    """The code that the commit and the diff give."""
    immune("clone", "-q", root, folder)
    immune("-C", folder, "checkout", "-q", found.hash)
    immune("-C", folder, "apply", "--binary", "--whitespace=nowarn", "-", content=found.diff)
    return tree(folder)


def checked_out(root, found, folder):
    """The same as `src/reproduce.py --checkout` has it."""
    clone(root, folder, found.hash)
    fill(folder, found.hash, found.diff)
    return tree(folder)


SETTINGS = """
diff.noprefix=true diff.mnemonicPrefix=true color.ui=always color.diff=always diff.external=/bin/true
diff.srcPrefix=x/ diff.context=0 diff.interHunkContext=9 diff.renames=copies diff.algorithm=patience
diff.suppressBlankEmpty=true diff.relative=true diff.orderFile=/nowhere diff.submodule=log
diff.ignoreSubmodules=all diff.wsErrorHighlight=all diff.colorMoved=zebra diff.indentHeuristic=false
status.showUntrackedFiles=no status.short=true status.branch=true core.quotePath=true core.autocrlf=true
core.autocrlf=input core.eol=crlf core.safecrlf=true core.fileMode=false core.symlinks=false
core.ignoreCase=true core.bare=true core.fsmonitor=/bin/false core.hooksPath=/nowhere core.worktree=/nowhere
core.pager=false core.untrackedCache=true core.splitIndex=true core.sparseCheckout=true core.trustctime=false
core.excludesFile=HOME/rules core.attributesFile=HOME/rules core.bigFileThreshold=1 core.compression=0
core.abbrev=4 index.version=4 apply.whitespace=error apply.ignoreWhitespace=change filter.x.clean=/bin/false
submodule.recurse=true extensions.worktreeConfig=true extensions.nothing=true include.path=/nowhere
alias.diff=status feature.manyFiles=true log.showSignature=true i18n.commitEncoding=latin1
i18n.logOutputEncoding=utf-16 core.precomposeUnicode=true core.protectNTFS=false core.checkStat=minimal
core.preferSymlinkRefs=true core.logAllRefUpdates=never core.sharedRepository=0600 diff.noIndex=true
diff.dirstat=lines,0 diff.statGraphWidth=1 diff.x.textconv=/bin/false diff.x.command=/bin/false diff.x.binary=true
filter.x.smudge=/bin/false filter.x.required=true filter.x.process=/bin/false merge.renormalize=true
checkout.defaultRemote=x checkout.workers=4 gc.auto=1 core.multiPackIndex=false pack.threads=1
"""


@pytest.mark.parametrize("setting", SETTINGS.split())
def test_commit_and_diff_give_back_the_code_whatever_is_set(setting, repo, tmp_path):
    change(repo)
    hashed, objects = git(repo, "rev-parse", "HEAD").strip(), sorted((repo / ".git").rglob("*"))
    (tmp_path / "home/rules").write_text("*.py binary\n*.md\n*.py -text diff=x filter=x\n")
    shutil.copy(tmp_path / "home/rules", repo / ".git/info/attributes")
    key, _, value = setting.replace("HOME", str(tmp_path / "home")).partition("=")
    section, _, name = key.rpartition(".")
    section = section.replace(".x", ' "x"')
    for config in (repo / ".git/config", tmp_path / "home/.gitconfig"):
        with open(config, "a") as file:
            file.write(f"[{section}]\n\t{name} = {value}\n")
    found = code.read_code(repo)
    assert (found.hash, found.branch, found.dirty, found.left_out, found.missing) == (hashed, "trunk", True, [], [])
    assert sorted((repo / ".git").rglob("*")) == sorted({*objects, repo / ".git/info/attributes"})
    assert checked_out(repo, found, tmp_path / "again") == tree(repo)


def attributes(line):
    """What attributes of the repository's own and of its work tree say of every file; filters are at hand."""

    def say(root):
        (root / ".gitattributes").write_text(f"* {line}\n")
        git(root, "config", "filter.x.clean", "tr a-z A-Z")
        git(root, "config", "filter.x.smudge", "tr A-Z a-z")
        git(root, "config", "diff.x.textconv", "wc")
        commit(root)

    return say


def with_index(*words):
    return lambda root: git(root, "update-index", *words, "src/changed.py", "src/deleted.py")


def settled(*words):
    return lambda root: git(root, *words)


def replaced(root):
    """`git replace` shows another commit under the hash of this one."""
    git(root, *IDENTITY, "commit", "-q", "--allow-empty", "-m", "another")
    (root / "src/changed.py").write_text("replaced\n")
    commit(root)
    git(root, "reset", "-q", "--hard", "HEAD~1")
    git(root, "replace", "HEAD", "HEAD@{1}")


def staged(root):
    """The index has yet another content than the commit and the work tree."""
    (root / "src/changed.py").write_text("staged\n")
    (root / "src/staged.py").write_text("staged\n")
    git(root, "add", "-A")
    (root / "src/staged.py").unlink()


def mid_merge(root):
    """A merge that stopped at a conflict."""
    git(root, "checkout", "-q", "-b", "side")
    (root / "src/changed.py").write_text("side\n")
    commit(root)
    git(root, "checkout", "-q", "trunk")
    (root / "src/changed.py").write_text("trunk\n")
    commit(root)
    subprocess.run(["git", "-C", root, *IDENTITY, "merge", "side"], capture_output=True)


STATES = {
    **{f"attributes {line}": attributes(line) for line in ("text=auto", "text eol=crlf", "eol=lf", "binary", "-diff")},
    **{f"attributes {line}": attributes(line) for line in ("filter=x", "diff=x", "ident", "-text", "whitespace=tab")},
    **{f"attributes {line}": attributes(line) for line in ("working-tree-encoding=latin1", "export-subst", "merge=x")},
    "attributes filter=lfs": attributes("filter=lfs diff=lfs merge=lfs -text"),
    "assumed unchanged": with_index("--assume-unchanged"),
    "skipped": with_index("--skip-worktree"),
    "intended": lambda root: (root / "src/new ü.py").touch() or git(root, "add", "-N", "src/new ü.py"),
    "split index": settled("update-index", "--split-index"),
    "index of version 4": settled("update-index", "--index-version", "4"),
    "untracked cache": settled("update-index", "--force-untracked-cache"),
    "no index": lambda root: (root / ".git/index").unlink(),
    "sparse": settled("sparse-checkout", "set", "--no-cone", "/src/", "/README.md", "/.gitignore"),
    "packed": settled("gc", "-q"),
    "packed branches": settled("pack-refs", "--all", "--prune"),
    "detached": settled("checkout", "-q", "--detach"),
    "tagged like the branch": settled("tag", "trunk"),
    "branch called HEAD": lambda root: git(root, "update-ref", "refs/heads/HEAD", "HEAD"),
    "branch with a slash": settled("checkout", "-q", "-b", "a/b-ü"),
    "shallow": lambda root: (root / ".git/shallow").write_text(git(root, "rev-parse", "HEAD")),
    "staged": staged,
    "in a merge": mid_merge,
    "replaced": replaced,
    "hooked": lambda root: [hook(root, name) for name in ("post-checkout", "post-index-change", "fsmonitor-watchman")],
    "locked": lambda root: (root / ".git/index.lock").touch(),
}


def hook(root, name):
    """A hook that would be noticed."""
    (root / ".git/hooks").mkdir(exist_ok=True)
    (root / ".git/hooks" / name).write_text(f"#!/bin/sh\necho hooked > '{root}/src/changed.py'\n")
    (root / ".git/hooks" / name).chmod(0o755)


@pytest.mark.parametrize("state", STATES)
def test_commit_and_diff_give_back_the_code_in_whatever_state_the_repository_is(state, repo, tmp_path):
    STATES[state](repo)
    change(repo)
    hashed, kept = git(repo, "rev-parse", "HEAD").strip(), sorted((repo / ".git").rglob("*"))
    found = code.read_code(repo)
    assert (found.hash, found.dirty, found.left_out, found.missing) == (hashed, True, [], [])
    assert checked_out(repo, found, tmp_path / "again") == tree(repo)
    assert sorted((repo / ".git").rglob("*")) == kept


@pytest.mark.parametrize("place", ["worktree", "submodule", "borrowing", "moved", "linked", "partial", "shallow"])
def test_commit_and_diff_give_back_the_code_wherever_the_repository_is(place, repo, tmp_path):
    root, outer = tmp_path / place, tmp_path / "outer"
    if place == "worktree":
        git(repo, "worktree", "add", "-q", "-b", "other", str(root))
    elif place == "submodule":
        git(tmp_path, "init", "-q", str(outer))
        git(outer, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(repo), "inner")
        root = outer / "inner"
    elif place == "borrowing":
        git(tmp_path, "clone", "-q", "--shared", str(repo), str(root))
    elif place == "partial":
        git(repo, "config", "uploadpack.allowFilter", "true")
        git(tmp_path, "clone", "-q", "--filter=blob:none", repo.as_uri(), str(root))
    elif place == "shallow":
        git(tmp_path, "clone", "-q", "--depth=1", repo.as_uri(), str(root))
    elif place == "moved":
        git(tmp_path, "clone", "-q", "--separate-git-dir", str(outer), str(repo), str(root))
    else:
        root.symlink_to(repo)
    change(root)
    found = code.read_code(root)
    assert (found.hash, found.left_out, found.missing) == (git(repo, "rev-parse", "HEAD").strip(), [], [])
    assert checked_out(root, found, tmp_path / "again") == tree(root)


@pytest.mark.parametrize("line", ["compression = x", "trustctime = x", "repositoryFormatVersion = 9", "bare = [", "]"])
def test_settings_with_which_git_itself_refuses_to_work_change_nothing(line, repo):
    change(repo)
    before = code.read_code(repo)
    with open(repo / ".git/config", "a") as file:
        file.write(f"[core]\n\t{line}\n")
    assert code.read_code(repo) == before


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *((name, "/nowhere") for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY")),
        *((name, "/nowhere") for name in ("GIT_CONFIG", "GIT_CONFIG_GLOBAL", "GIT_COMMON_DIR")),
        ("GIT_CONFIG_PARAMETERS", "'diff.noprefix=true'"),
        ("GIT_CONFIG_COUNT", "x"),
        ("GIT_EXTERNAL_DIFF", "/bin/true"),
        ("GIT_DIFF_OPTS", "-u0"),
        ("GIT_LITERAL_PATHSPECS", "1"),
        ("GIT_NAMESPACE", "x"),
        ("GIT_TRACE", "1"),
        ("GIT_ATTR_SOURCE", "x"),
        *((name, "/nowhere") for name in ("GIT_CEILING_DIRECTORIES", "GIT_ALTERNATE_OBJECT_DIRECTORIES")),
        *((name, "/nowhere") for name in ("GIT_CONFIG_SYSTEM", "GIT_EXEC_PATH", "GIT_TEMPLATE_DIR", "GIT_GRAFT_FILE")),
        *((name, "1") for name in ("GIT_GLOB_PATHSPECS", "GIT_ICASE_PATHSPECS", "GIT_NOGLOB_PATHSPECS")),
        *((name, "1") for name in ("GIT_DISCOVERY_ACROSS_FILESYSTEM", "GIT_OPTIONAL_LOCKS", "GIT_PREFIX")),
        ("GIT_DEFAULT_HASH", "sha256"),
        ("GIT_REPLACE_REF_BASE", "refs/heads/"),
        ("GIT_SHALLOW_FILE", "/nowhere"),
        ("GIT_PAGER", "false"),
        ("LANGUAGE", "de"),
        ("LC_ALL", "C"),
        ("LANG", "tr_TR.UTF-8"),
    ],
)
def test_commit_and_diff_give_back_the_code_whatever_the_environment(variable, value, repo, tmp_path, monkeypatch):
    change(repo)
    hashed = git(repo, "rev-parse", "HEAD").strip()
    monkeypatch.setenv(variable, value)
    found = code.read_code(repo)
    assert (found.hash, found.branch, found.missing) == (hashed, "trunk", [])
    assert rebuilt(repo, found, tmp_path / "again") == tree(repo)


def test_data_and_secrets_are_left_out_by_name_and_hash(repo, tmp_path):
    (repo / "weights.bin").write_bytes(bytes(9))
    commit(repo)
    (repo / "weights.bin").write_bytes(bytes(8))
    planted = {
        "series.csv": b"1,2\n",
        ".env": b"PLANTED=1\n",
        "src/id_rsa": b"PLANTED",
        "key.pem": b"PLANTED",
        "my secrets.yaml": b"PLANTED",
        "sweeps.yaml": b"url: postgresql://lab:PLANTED/@x@host/lab\n",
        "conf.yaml": b"a:\n  password: PLANTED\n",
        "deploy.sh": b"-----BEGIN OPENSSH PRIVATE KEY-----\nPLANTED\n",
        "big.py": b"# PLANTED\n" * 200_000,
        "binary.py": b"PLANTED\0",
    }
    for name, content in planted.items():
        (repo / name).write_bytes(content)
    (repo / "secrets.py").write_text("def hide(password):\n    return f'http://{user}:{password}@host'\n")
    found = code.read_code(repo)
    assert b"PLANTED" not in found.diff
    assert found.diff.count(b"diff --git") == 1, "code is code, whatever its name"
    told = {file["path"]: (file["bytes"], file["sha256"]) for file in found.left_out}
    expected = {**planted, "weights.bin": bytes(8)}
    assert told == {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in expected.items()}
    again = rebuilt(repo, found, tmp_path / "again")
    assert again == {name: kept for name, kept in tree(repo).items() if name not in planted} | {
        "weights.bin": (bytes(9), 0)
    }
    json.dumps(found.facts())


def test_many_files_left_out_are_counted_and_the_diff_is_bounded(repo, monkeypatch):
    monkeypatch.setattr(code, "NAMED", 3)
    monkeypatch.setattr(code, "DIFF_BYTES", 1000)
    for number in range(5):
        (repo / f"{number}.csv").write_text("1\n")
        (repo / f"{number}.py").write_text("#" * 300)
    found = code.read_code(repo)
    assert len(found.diff) < 2000
    assert [file["path"] for file in found.left_out] == ["0.csv", "1.csv", "2.csv"]
    assert found.missing == ["the names of 4 more files that are left out"]


def test_of_very_many_new_files_few_are_looked_at(repo, monkeypatch):
    monkeypatch.setattr(code, "DIFF_FILES", 3)
    for number in range(5):
        (repo / f"{number}.py").write_text("new\n")
        (repo / f"{number}.csv").write_text("1\n")
    looked, look = [], code.look
    monkeypatch.setattr(code, "look", lambda root, name: looked.append(name) or look(root, name))
    read = code.read_code(repo)
    assert [name for name in looked if name[0].isdigit()] == ["0.py", "1.py", "2.py"]
    why = {file["path"]: file["why"] for file in read.left_out}
    assert why["3.py"] == why["4.py"] == "the diff is full"
    assert why["0.csv"] == "data, by its name"
    assert len(why) == 7


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("a.py", 'TOKEN = "PLANTED"'),
        ("a.py", 'DB_PASSWORD: str = "PLANTED"'),
        ("a.py", 'os.environ["DB_PASSWORD"] = "PLANTED"'),
        ("a.py", 'c = connect("host=h password=PLANTED")'),
        ("a.py", 'c = connect("password=PLANTED dbname=x")'),
        ("a.py", 'headers = {"Authorization": "Bearer PLANTED12345"}'),
        ("a.js", 'const x = {apiKey: "PLANTED"}'),
        ("a.sh", "export DB_PASSWORD=PLANTED"),
        ("a.md", "password: PLANTED"),
        ("a.ini", "password = PLANTED"),
    ],
)
def test_a_new_file_that_holds_a_secret_is_left_out(name, line, repo):
    (repo / name).write_text(line + "\n")
    read = code.read_code(repo)
    assert [file["why"] for file in read.left_out] == ["holds a password or key"]
    assert b"PLANTED" not in read.diff


def test_what_only_speaks_of_secrets_is_code(repo):
    lines = ["token = hide(text)", "f(password=password)", 'token = ""', 'x = token == "abcdefgh"', 'K = ("*secret*",)']
    lines += ["    password=password", 'f"password={x}"', 'TOKENIZERS = "abcdefgh"', "# Bearer authentication"]
    (repo / "a.py").write_text("\n".join(lines))
    assert not code.read_code(repo).left_out


def test_what_is_no_file_of_its_own_loses_nothing(repo, tmp_path):
    """A pipe, nested repositories with and without a commit, a submodule, a folder and a link in a file's place."""
    inner = tmp_path / "inner"
    git(tmp_path, "init", "-q", str(inner))
    (inner / "file.py").write_text("1\n")
    commit(inner)
    git(repo, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner), "submodule")
    commit(repo)
    (repo / "submodule/file.py").write_text("2\n")
    commit(repo / "submodule")
    shutil.copytree(inner, repo / "nested")
    git(repo, "init", "-q", "empty nested")
    (repo / "empty nested/file.py").write_text("1\n")
    (repo / "src/same.py").unlink()
    os.mkfifo(repo / "src/same.py")
    (repo / "src/deleted.py").unlink()
    (repo / "src/deleted.py").mkdir()
    (repo / "src/deleted.py/inside.py").write_text("1\n")
    (repo / "src/changed.py").write_text("2\n")
    (repo / "folder").symlink_to("src")
    found = code.read_code(repo)
    assert found.hash == git(repo, "rev-parse", "HEAD").strip()
    told = {file["path"].rstrip("/"): file for file in found.left_out}
    assert told["nested"]["commit"] == git(inner, "rev-parse", "HEAD").strip()
    assert told["submodule"]["commit"] == git(repo / "submodule", "rev-parse", "HEAD").strip()
    assert set(told) >= {"nested", "empty nested", "submodule", "src/same.py"}
    again = rebuilt(repo, found, tmp_path / "again")
    assert again["src/deleted.py/inside.py"] == (b"1\n", 0)
    assert again["src/changed.py"] == (b"2\n", 0)
    assert again["folder"] == "src"


def test_a_file_that_cannot_be_read_is_named(repo, monkeypatch):
    (repo / "src/changed.py").write_text("2\n")
    reading = Path.read_bytes

    def refused(path):
        if path.name == "same.py":
            raise PermissionError(13, "Permission denied")
        return reading(path)

    monkeypatch.setattr(Path, "read_bytes", refused)
    found = code.read_code(repo)
    assert b"+2" in found.diff
    assert [(file["path"], file["why"]) for file in found.left_out] == [
        ("src/same.py", "cannot be read: Permission denied")
    ]


def test_one_damaged_object_costs_one_file(repo, tmp_path):
    for name in ("src/deleted.py", "README.md", "src/same.py"):
        (repo / name).write_text(f"of its own: {name}\n")
    commit(repo)
    hashes = {name: git(repo, "rev-parse", f"HEAD:{name}").strip() for name in ("README.md", "src/same.py")}
    for hashed in hashes.values():
        (repo / ".git/objects" / hashed[:2] / hashed[2:]).unlink()
    change(repo)
    found = code.read_code(repo)
    assert [file["path"] for file in found.left_out] == ["README.md"], "the other is as its hash says"
    assert found.left_out[0]["why"] == "the repository cannot read what the commit has there"
    assert found.missing == []
    assert b"math.cos" in found.diff
    assert b"deleted.py" in found.diff


def test_the_commit_is_known_without_git_and_with_a_damaged_repository(repo, monkeypatch, tmp_path):
    hashed = git(repo, "rev-parse", "HEAD").strip()
    git(repo, "pack-refs", "--all")
    git(repo, "worktree", "add", "-q", str(tmp_path / "worktree"), "-b", "other/branch")
    (repo / "src/changed.py").write_text("2\n")
    for folder, branch in ((repo, "trunk"), (tmp_path / "worktree", "other/branch")):
        with monkeypatch.context() as without:
            without.setenv("PATH", "/nowhere")
            found = code.read_code(folder)
        assert (found.hash, found.branch, found.dirty) == (hashed, branch, None)
        assert "git is not installed" in found.missing[0]
    assert code.read_code(tmp_path / "worktree") == code.Code(hashed, "other/branch")

    (repo / ".git/index").write_bytes(b"damaged")
    (repo / ".git/config").write_text("[damaged\n")
    found = code.read_code(repo)
    assert (found.hash, found.branch, found.missing) == (hashed, "trunk", [])
    assert b"+2" in found.diff
    shutil.rmtree(repo / ".git/objects")
    found = code.read_code(repo)
    assert (found.hash, found.branch, found.dirty) == (hashed, "trunk", None)
    assert "what differs from the commit" in found.missing[0]


def test_a_branch_without_a_commit_and_a_broken_head_are_told(tmp_path):
    git(tmp_path, "init", "-q", "-b", "trunk")
    (tmp_path / "a.py").write_text("1\n")
    found = code.read_code(tmp_path)
    assert (found.hash, found.branch, found.dirty) == (None, "trunk", None)
    assert found.missing
    for says in ("nothing\n", "ref: refs/heads/.invalid\n"):
        (tmp_path / ".git/HEAD").write_text(says)
        found = code.read_code(tmp_path)
        assert (found.hash, found.dirty) == (None, None)
        assert found.branch in (None, ".invalid"), "as git says, if it does"
        assert found.missing


def test_a_repository_of_another_user_is_read(repo, tmp_path, monkeypatch):
    monkeypatch.setitem(UNSET, "GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    change(repo)
    hashed = git(repo, "rev-parse", "HEAD").strip()
    for path in [repo, *repo.rglob("*")] if os.geteuid() == 0 else ():  # only root gives a folder away
        os.chown(path, 12345, 12345, follow_symlinks=False)
    found = code.read_code(repo)
    assert (found.hash, found.left_out, found.missing) == (hashed, [], [])
    assert checked_out(repo, found, tmp_path / "again") == tree(repo)


def test_a_forced_ignored_file_is_code_and_sha256_is_a_hash_as_well(tmp_path):
    root = tmp_path / 'a "quoted":\\folder'
    git(tmp_path, "init", "-q", "--object-format=sha256", str(root))
    (root / ".gitignore").write_text("*.py\n")
    (root / "a.py").write_text("1\n")
    git(root, "add", "-f", "a.py")
    commit(root)
    (root / "a.py").write_text("2\n")
    (root / "b.py").write_text("3\n")
    git(root, "add", "-f", "b.py")
    found = code.read_code(root)
    assert len(found.hash) == 64
    assert rebuilt(root, found, tmp_path / "again") == tree(root)


def test_a_folder_outside_git_has_no_code(tmp_path):
    assert code.read_code(tmp_path) is None


def test_a_branchs_name_gives_no_secret_away():
    facts = code.Code("0" * 40, "https://lab:PLANTED@host").facts()
    assert facts["branch"] == "https://lab:***@host"
    assert code.Code("0" * 40, None).facts()["branch"] is None
