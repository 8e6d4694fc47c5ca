import os
import platform
import subprocess
from importlib.metadata import version

from lstm_lab.records import provenance


def git(folder, *words):
    return subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True).stdout


def test_commit_and_diff_give_back_exactly_this_code(checkout, tmp_path_factory):
    clean = provenance.read_commit(checkout)
    assert clean.hash == git(checkout, "rev-parse", "HEAD").strip()
    assert clean.branch == git(checkout, "branch", "--show-current").strip()
    assert clean.diff == b""

    (checkout / "conf/train.yaml").write_text("changed\n")
    (checkout / "src/new file.bin").write_bytes(bytes(range(256)))
    (checkout / "src/lstm_lab/science/model.py").unlink()
    (checkout / "mlflow.db").write_text("ignored by git, so not part of the code\n")
    status = git(checkout, "status", "--porcelain")
    dirty = provenance.read_commit(checkout)
    assert git(checkout, "status", "--porcelain") == status  # the user's index is untouched

    elsewhere = tmp_path_factory.mktemp("elsewhere")
    git(elsewhere, "clone", "-q", str(checkout), "clone")
    subprocess.run(["git", "-C", str(elsewhere / "clone"), "apply", "-"], input=dirty.diff, check=True)
    assert (elsewhere / "clone/conf/train.yaml").read_text() == "changed\n"
    assert (elsewhere / "clone/src/new file.bin").read_bytes() == bytes(range(256))
    assert not (elsewhere / "clone/src/lstm_lab/science/model.py").exists()
    assert not (elsewhere / "clone/mlflow.db").exists()


def test_a_folder_outside_git_has_no_commit(tmp_path):
    assert provenance.read_commit(tmp_path) is None


def test_packages_hold_what_is_installed():
    packages = provenance.packages()
    assert packages["tensorflow"] == version("tensorflow")
    assert packages["mlflow"] == version("mlflow")


def test_machine_tells_what_numbers_depend_on(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("A_SECRET", "not to be recorded")
    machine = provenance.machine()
    assert machine["python"] == platform.python_version()
    assert machine["environment"]["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert "not to be recorded" not in str(machine)
    assert machine["processor"]["machine"] == platform.machine()
    assert 1 <= machine["processor"]["cores"] <= (os.cpu_count() or 1)
    assert machine["processor"]["instruction_sets"] or platform.system() == "Darwin"
