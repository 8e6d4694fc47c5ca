"""A run's data file, found again by its SHA-256."""

import hashlib
import os
from types import SimpleNamespace

import pytest

from helpers import csv_settings
from lstm_lab.config import ConfigError
from lstm_lab.runs import datafile

NOT_THE_FILE = "is not the file that the run began with: its SHA-256 was"


@pytest.fixture
def file(tmp_path):
    """A data file."""
    path = tmp_path / "my.csv"
    path.write_text("a\n1\n")
    return path


class Config(SimpleNamespace):
    """What `found` looks at of a config."""

    def model_copy(self, update):
        return Config(**{**vars(self), **update})


def config_on(path):
    return Config(data=csv_settings(path=str(path), input="a", target="a"))


def tags_of(content):
    return {datafile.TAG: hashlib.sha256(content).hexdigest()}


OWN = tags_of(b"a\n1\n")


def test_a_moved_file_is_the_same_by_its_sha256(file, tmp_path, monkeypatch):
    run = config_on(tmp_path / "gone.csv")
    found = datafile.found(run, OWN, "resume=1", str(file))
    assert found.data.path == str(file)
    assert run.data.path == str(tmp_path / "gone.csv")
    monkeypatch.chdir(tmp_path)
    assert datafile.found(run, OWN, "resume=1", "my.csv").data.path == str(file), "as typed, from here"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert datafile.found(run, OWN, "resume=1", "~/my.csv").data.path == str(file)
    assert datafile.found(config_on(file), OWN, "resume=1", None).data.path == str(file)


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize(
    ("at", "given", "tags", "said"),
    [
        ("my.csv", "other.csv", OWN, f"other.csv {NOT_THE_FILE} {OWN[datafile.TAG]} and is "),
        ("gone.csv", None, OWN, "gone.csv: there is no such file; the run's own has the SHA-256 "),
        ("my.csv", "gone.csv", OWN, "gone.csv: there is no such file; the run's own has the SHA-256 "),
        ("my.csv", "", OWN, "data.path="),
        ("my.csv", ".", OWN, "is no file"),
        ("my.csv", "pipe", OWN, "is no file"),
        ("my.csv", "x" * 5000, OWN, "cannot be read"),
        ("my.csv", "my.csv", {}, "it has no tag data.file.sha256, so which file its data came from is not known"),
        ("gone.csv", None, {}, "no tag data.file.sha256"),
    ],
)
def test_any_other_file_is_refused(at, given, tags, said, same, file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.csv").write_text("a\n2\n")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError) as raised:
        datafile.found(config_on(tmp_path / at), tags, "run=1", given, same)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_changed_file_is_refused_only_where_it_must_be_the_same(file):
    with pytest.raises(ConfigError, match="is not the file that the run began with"):
        datafile.found(config_on(file), tags_of(b"a\n2\n"), "resume=1", None)
    assert datafile.found(config_on(file), tags_of(b"a\n2\n"), "run=1", None, same=False).data.path == str(file)


def test_a_curve_has_no_file(file):
    run = Config(data=SimpleNamespace())
    assert datafile.found(run, {}, "run=1", None) is run
    with pytest.raises(ConfigError, match="come from a curve, not from a file"):
        datafile.found(run, {}, "run=1", str(file))
