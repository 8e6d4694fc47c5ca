"""A command of the user's own is run at the end of what was typed, once, and changes nothing.

That whole runs do so, and resumed ones, is among what test_resume.py tests.
"""

import dataclasses
import secrets
from types import SimpleNamespace

import pytest

from helpers import ROOT, noting, train
from lstm_lab import config
from lstm_lab.records import provenance
from lstm_lab.runs import notifying
from studies.conftest import declared, empty_store, sweeping  # noqa: F401 (fixtures)


@pytest.fixture
def told(tmp_path, monkeypatch):
    """The file in which the command notes whom it is told of."""
    path = tmp_path / "told of; $(touch x).txt"
    monkeypatch.setenv(notifying.VARIABLE, noting(path))
    return path


def test_it_is_told_of_the_run_without_a_shell(told, capfd):
    notifying.notify("a" * 32, "FINISHED")
    notifying.notify("b" * 32, "KILLED")
    assert told.read_text() == f"{'a' * 32} FINISHED\n{'b' * 32} KILLED\n"
    assert capfd.readouterr() == ("", "")


def test_it_reads_nothing_and_prints_to_the_standard_error(monkeypatch, capfd):
    monkeypatch.setenv(notifying.VARIABLE, "sh -c 'cat; echo said'")
    notifying.notify("a" * 32, "FINISHED")
    assert capfd.readouterr() == ("", "said\n")


@pytest.mark.parametrize("nothing", [None, "", "  "])
def test_none_is_named(monkeypatch, nothing):
    monkeypatch.delenv(notifying.VARIABLE, raising=False)
    if nothing is not None:
        monkeypatch.setenv(notifying.VARIABLE, nothing)
    monkeypatch.setattr(notifying.subprocess, "Popen", None)
    assert notifying.command() == []
    notifying.notify("a" * 32, "FINISHED")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("sh -c 'exit 3'", "sh ended with 3"),
        ("sleep 100000", "sleep was stopped after 0 seconds"),
        ("no_such_program", "there is no program 'no_such_program'"),
        (str(ROOT / "src"), "there is no program"),
        ("sh 'unclosed", "cannot be split into words"),
    ],
)
def test_one_that_fails_is_told_of_in_a_line(monkeypatch, capfd, command, said):
    monkeypatch.setenv(notifying.VARIABLE, command)
    if "sleep" in command:
        monkeypatch.setattr(notifying, "SECONDS", 0)
    notifying.notify("a" * 32, "FINISHED")
    told = capfd.readouterr().err
    assert said in told
    assert told.endswith("the run is not changed by it\n")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("raised", "ended", "status"),
    [
        (None, "FINISHED", "FINISHED"),
        (None, "KILLED", "KILLED"),
        (None, None, "FINISHED"),
        (KeyboardInterrupt, "KILLED", "KILLED"),
        (ValueError, "FAILED", "FAILED"),
        (ValueError, None, "FAILED"),
    ],
)
def test_it_is_told_however_a_run_ends(told, raised, ended, status):
    def go(wanted):
        with notifying.when_over(wanted) as over:
            over(SimpleNamespace(run_id="a" * 32, ended=ended))
            if raised:
                raise raised

    for wanted in (True, False):
        if raised:
            with pytest.raises(raised):
                go(wanted)
        else:
            go(wanted)
    assert told.read_text() == f"{'a' * 32} {status}\n"


def test_nobody_is_told_of_what_never_began(told):
    with pytest.raises(ValueError), notifying.when_over():  # noqa: PT011 (any will do)
        raise ValueError
    assert not told.exists()


def test_a_sweep_tells_of_its_page_and_not_of_its_trials(sweeping, told):  # noqa: F811
    sweeping.run()
    page, trials = sweeping.page()
    assert len(trials) > 1
    assert told.read_text() == f"{page.info.run_id} FINISHED\n"

    def stop(trial):
        raise KeyboardInterrupt

    sweeping.before = stop
    with pytest.raises(KeyboardInterrupt):
        sweeping.run(declared(total=20))
    assert told.read_text().splitlines()[1:] == [f"{page.info.run_id} KILLED"]


@pytest.mark.parametrize("words", [(), ("-m", "training.seed=0,1")])
def test_a_bad_command_is_refused_before_anything_begins(checkout, monkeypatch, words):
    monkeypatch.setenv(notifying.VARIABLE, "no_such_program --now")
    refused = train(checkout, *words)
    assert refused.returncode == 2
    assert refused.stderr == (
        "LSTM_LAB_NOTIFY: there is no program 'no_such_program' that can be run; unset it to tell nobody\n"
    )
    assert not (checkout / "mlflow.db").exists()


def test_it_comes_from_the_environment_alone_and_is_not_recorded(monkeypatch):
    assert not [key for key in config.all_keys() if "notify" in key.lower()]
    topic = secrets.token_hex(8)
    monkeypatch.setenv(notifying.VARIABLE, f"curl https://example.org/{topic}")
    assert topic not in str(dataclasses.asdict(provenance.current()))
