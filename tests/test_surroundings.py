"""Streams that are closed or full, no home, a warning that is an error: none of it ends a run."""

import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from helpers import ROOT
from lstm_lab.surroundings import Lasting, have_home


def test_a_user_without_a_home_has_an_empty_one(monkeypatch):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(Path, "home", nowhere)
    have_home()
    assert os.listdir(os.environ["HOME"]) == []


def test_what_a_reader_or_a_full_disk_does_not_take_ends_nothing(tmp_path):
    (tmp_path / "closed to writing").touch()
    with open(tmp_path / "closed to writing") as refusing, Lasting(refusing.fileno(), "w", closefd=False) as file:
        assert file.write(b"four") == 4
        assert file.fault.strerror == "Bad file descriptor"
    reading, writing = os.pipe()
    os.close(reading)
    with Lasting(writing, "w") as file:
        assert file.write(b"four") == 4
        assert file.fault is None


def test_a_busy_reader_gets_everything():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with Lasting(writing, "w") as file, io.BufferedWriter(file) as buffered, ThreadPoolExecutor(1) as pool:
        got = pool.submit(lambda: sum(iter(lambda: len(os.read(reading, 1000)), 0)))
        buffered.write(b"x" * 1_000_000)
        buffered.close()
        assert got.result() == 1_000_000
    os.close(reading)


AS_A_DOOR = """
import sys
sys.path.insert(0, "src")
from lstm_lab import commandline
commandline.set_up()
with open(sys.argv[1], "w") as opened:
    print("printed to what is closed")
    print("said to what is closed", file=sys.stderr)
    print(opened.fileno() > 2, commandline.printed(), file=opened)
"""


def test_a_closed_stream_is_never_the_next_file_that_is_opened(tmp_path):
    words = [sys.executable, "-c", AS_A_DOOR, str(tmp_path / "opened")]
    subprocess.run(["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *words], cwd=ROOT, check=True)
    assert (tmp_path / "opened").read_text() == "True True\n"


@pytest.mark.parametrize("asked", ["error", "default,error::DeprecationWarning", "e::UserWarning"])
def test_no_warning_is_an_error(asked):
    code = (
        "from lstm_lab import commandline; import os, subprocess, sys, warnings\n"
        "for kind in (UserWarning, DeprecationWarning): warnings.warn('x', kind)\n"
        "again = 'import warnings; warnings.warn(1)'\n"
        "print(subprocess.call([sys.executable, '-c', again]), os.environ['PYTHONWARNINGS'])"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/src", "PYTHONWARNINGS": asked}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["0", *[kept for kept in asked.split(",") if kept == "default"]], done.stderr
