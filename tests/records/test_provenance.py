import dataclasses
import os
import platform
from importlib.metadata import version

from lstm_lab.records import code, provenance


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


def test_what_is_written_is_read_again_with_what_is_left_out(tmp_path, monkeypatch):
    state = code.Code("a" * 40, "trunk", b"diff", [{"path": "my.csv", "why": "data", "sha256": "1"}], ["a file"])
    monkeypatch.setattr(code, "running_code", lambda: state)
    then = provenance.current(seed=0)
    then.write(tmp_path)
    files = {name: (tmp_path / name).read_bytes() for name in provenance.FILES}
    assert provenance.read(files) == then
    assert provenance.read(files | {"packages.txt": None}) is None
    assert then.facts["left_out_of_diff"] == state.left_out
    assert then.facts["not_known_of_code"] == ["a file"]
    monkeypatch.setattr(code, "running_code", lambda: dataclasses.replace(state, left_out=[]))
    assert provenance.differences(then, provenance.current(seed=0), portable=True) == ["files beside the diff: my.csv"]


def test_a_folder_outside_git_has_a_provenance_without_a_commit(monkeypatch):
    monkeypatch.setattr(code, "running_code", lambda: None)
    found = provenance.current()
    assert (found.facts["commit"], found.facts["branch"], found.facts["dirty"]) == (None, None, None)
