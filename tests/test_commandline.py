"""What the doors have in common, and that each of them answers at once what needs no run."""

import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from rich.console import Console

from helpers import ROOT
from lstm_lab.commandline import Door, complain, say, typed
from lstm_lab.config import CannotRunError, ConfigError
from lstm_lab.surroundings import Lasting

DOOR = Door(
    "again",
    about="Does it again.",
    words={"run=ID": "the run", "data.path=FILE": "its file,\nor another", "--all": "all of it"},
    closing="Exit code 0.",
    needed="run=ID",
)
HELP = """\
usage: python src/again.py run=ID [data.path=FILE] [--all]

Does it again.

  run=ID           the run
  data.path=FILE   its file,
                   or another
  --all            all of it

Exit code 0.
"""
DOORS = ("reproduce", "forecast", "report", "findings", "papers", "ui")


def python(*words, **environment):
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd="/", env={**os.environ, **environment}
    )


def enter(words, answer, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["src/again.py", *words])
    return DOOR.enter(answer)


def test_words_and_flags_come_in_any_order():
    assert DOOR.read(["--all", "data.path=a=b.csv", "run=1"]) == {"--all": "", "data.path": "a=b.csv", "run": "1"}
    assert DOOR.read(["run=1"]) == {"run": "1"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run=1", "seed=2"], "seed: no such word; allowed: run=ID, data.path=FILE, --all"),
        (["run=1", "--al"], "--al: no such word; allowed: run=ID, data.path=FILE, --all"),
        (["run=1", "all"], "all: no such word; did you mean '--all'?"),
        (["last"], "last: no such word; did you mean 'run=last'?"),
        (["--run", "last"], "--run: no such word; did you mean 'run=last'?"),
        (["--run=last"], "--run: no such word; did you mean 'run=last'?"),
        (["--run", "data.path=a"], "--run: no such word; did you mean 'run=...'?"),
        (["--run"], "--run: no such word; did you mean 'run=...'?"),
        (["run"], "run: a value is missing, as in run=ID"),
        (["data.path="], "data.path=: a value is missing, as in data.path=FILE"),
        (["run=1", "run=2"], "run=2: run is given twice"),
        (["run=1", "--all=1"], "--all=1: --all takes no value"),
        (["--all"], "run=ID is missing: which run?"),
    ],
)
def test_a_faulty_word_is_named(words, said):
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
        DOOR.read(words)


@pytest.mark.parametrize(("words", "code"), [([], 2), (["-h"], 0), (["seed=2", "--help"], 0)])
def test_help_is_shown_when_asked_for_or_when_nothing_is_said(words, code, monkeypatch, capsys):
    assert enter(words, pytest.fail, monkeypatch) == code
    assert capsys.readouterr().out == HELP


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [(CannotRunError("no [run] there"), 2, "no [run] there\n"), (KeyboardInterrupt(), 130, "")],
)
def test_what_ends_a_command_gives_its_exit_code(raised, code, said, monkeypatch, capsys):
    def answer(words):
        raise raised

    assert enter(["run=1"], answer, monkeypatch) == code
    assert capsys.readouterr() == ("", said)


def test_the_answers_own_exit_code_is_kept(monkeypatch):
    assert enter(["run=1"], lambda words: int(words["run"]), monkeypatch) == 1


def test_letters_that_the_terminal_has_not_are_replaced():
    code = "from lstm_lab import commandline; commandline.set_up(); print('a\\u00fcb')"
    assert python("-c", code, PYTHONPATH=f"{ROOT}/src", PYTHONIOENCODING="ascii").stdout == "a?b\n"


def test_ctrl_c_during_imports_ends_without_a_trace():
    code = "import os; from lstm_lab.commandline import importing\nwith importing(): os.kill(os.getpid(), 2)\nprint(1)"
    done = python("-c", code, PYTHONPATH=f"{ROOT}/src")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_what_is_said_is_plain_text():
    console = Console(file=io.StringIO(), force_terminal=True, width=20)
    say(console, "[bold] :cat: 温\u3000\x1b[31m " + "x" * 30 + "\nnext")
    assert console.file.getvalue() == "[bold] :cat: 温\u3000\ufffd[31m " + "x" * 30 + "\nnext\n"


@pytest.mark.parametrize("char", "\x00\x07\x08\r\x1b\x7f\x9b\x9d\u061c\u200e\u200f\u202a\u202e\u2066\u2069")
def test_nothing_that_is_said_steers_the_terminal_or_turns_a_line_around(char):
    console = Console(file=io.StringIO(), width=20)
    say(console, f"a{char}b")
    assert console.file.getvalue() == "a\ufffdb\n"


@pytest.mark.parametrize("activated", [False, True])
@pytest.mark.parametrize("folder", ["/", ROOT, ROOT / "src/lstm_lab", Path(sys.prefix, "bin")])
def test_a_printed_command_runs_where_it_is_printed(folder, activated, monkeypatch):
    path = [f"{sys.prefix}/bin"] if activated else []
    monkeypatch.setenv("PATH", os.pathsep.join([*path, "/usr/bin", "/bin"]))
    monkeypatch.chdir(folder)
    command = typed("report", "--help", "filter=params.data.input = 'T (°C)'")
    assert command.startswith("python ") is activated
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.stdout.startswith("usage: python src/report.py "), done.stderr


def test_a_printed_command_is_short_at_the_root(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{sys.prefix}/bin")
    monkeypatch.chdir(ROOT)
    assert typed("train", "resume=1") == "python src/train.py resume=1"
    monkeypatch.chdir(tmp_path)
    assert shlex.split(typed("train", "data.input=a b"))[1:] == [str(ROOT / "src/train.py"), "data.input=a b"]


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize(("word", "code"), [("--help", 0), ("sed=3", 2)])
def test_help_and_a_refused_word_import_nothing_slow(name, word, code):
    done = python(f"{ROOT}/src/{name}.py", word, PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == code
    said = done.stdout + "".join(re.findall(r"^(?!import time:).*\n", done.stderr, flags=re.M))
    assert said.startswith(f"usage: python src/{name}.py " if code == 0 else "sed: no such word; allowed: ")
    assert not re.search(r"\| +(tensorflow|keras|mlflow|optuna|hydra|numpy)$", done.stderr, flags=re.M)


@pytest.mark.parametrize("name", [*DOORS, "train"])
def test_a_missing_package_is_named(name):
    done = python("-S", f"{ROOT}/src/{name}.py", PYTHONPATH="")  # without site-packages
    assert done.returncode == 1
    assert re.fullmatch(
        r"\w+ is not installed here: run `make train`, or `\. \.venv/bin/activate` after it\n", done.stderr
    )


@pytest.mark.parametrize("target", ["resume", "reproduce"])
@pytest.mark.parametrize("name", ["it's", 'a "b', "$x `id` $(id)", "1a2b"])
def test_make_takes_a_runs_name_as_typed(target, name):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}  # of `make test`
    command = ["make", "-n", target, f"RUN={name}"]
    printed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True).stdout
    words = [word for word in shlex.split(printed.splitlines()[-1]) if word.startswith(("run=", "resume="))]
    assert [word.partition("=")[2] for word in words] == [name]


def test_a_pipe_that_nobody_reads_any_more_ends_nothing():
    command = [sys.executable, "-u", str(ROOT / "src/train.py"), "--info", "all"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_report_that_could_not_be_printed_is_none(tmp_path, monkeypatch, capfd):
    (tmp_path / "closed to writing").touch()
    with open(tmp_path / "closed to writing") as refusing:
        stream = io.TextIOWrapper(io.BufferedWriter(Lasting(refusing.fileno(), "w", closefd=False)))
        monkeypatch.setattr("sys.stdout", stream)
        monkeypatch.setattr("sys.argv", ["again.py", "run=1"])
        assert DOOR.enter(lambda words: print("the report") or 0) == 2
    assert "standard output did not take what was printed: Bad file descriptor" in capfd.readouterr().err


def test_a_message_that_quotes_much_keeps_its_ends_in_sight(capsys):
    complain(f"key={'a' * 100_000}: must be short\n" + "\n".join(f"line {i}" for i in range(100)))
    first, *lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"key=a{446} \[\.\.\.\] a{435}: must be short", first)
    assert lines == [*(f"line {i}" for i in range(39)), "... and 61 more"]


@pytest.mark.parametrize("name", [*DOORS, "train"])
def test_a_door_opens_in_a_directory_that_was_removed(name):
    code = f"mkdir gone && cd gone && rmdir ../gone && exec {sys.executable} {ROOT}/src/{name}.py --help"
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TMPDIR": folder}
        done = subprocess.run(["sh", "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(
            rf"this directory was removed; names .* are taken from {folder}/lstm-lab-\S+\n", done.stderr
        )
        assert os.listdir(folder) == []
