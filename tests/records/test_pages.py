"""MLflow's pages as `make ui` serves them."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from helpers import own_port


def ui(checkout, *words, python=sys.executable, **options):
    return subprocess.Popen(
        [python, checkout / "src/ui.py", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_the_newest_experiments_runs_are_shown_and_nothing_else_is_said(copied_run, tmp_path):
    with own_port() as port, ui(copied_run.checkout, f"port={port}", cwd=tmp_path) as process:
        said = process.stdout.readline()
        page = re.fullmatch(
            rf"MLflow: (http://127\.0\.0\.1:{port}/)#/experiments/\d+/runs\?workflowType=machine_learning\n", said
        )
        assert urllib.request.urlopen(page[1]).status == 200
        process.send_signal(signal.SIGTERM)
        assert (process.stdout.read(), process.stderr.read(), process.wait()) == ("Ctrl-C ends it\n", "", 0)
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(page[1])
    assert (copied_run.checkout / "mlruns/.port").read_text() == str(port)
    assert not {path.name for path in tmp_path.iterdir()} & {"mlflow.db", "mlruns"}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("port=0", r"port=0: must be a whole number from 1 to 65,535\n"),
        ("port=http", r"port=http: must be a whole number from 1 to 65,535\n"),
        ("port=5001", r"there is no run yet \(\S*/mlflow\.db is not there\); `python src/train\.py` makes one\n"),
    ],
)
def test_what_cannot_be_shown_is_said(word, said, checkout):
    process = ui(checkout, word, cwd=checkout)
    out, err = process.communicate()
    assert (process.returncode, out) == (2, "")
    assert re.fullmatch(said, err.replace(sys.executable, "python"))
    assert not (checkout / "mlflow.db").exists()


def test_a_store_named_from_here_is_shown_by_packages_whose_path_has_a_percent_sign(copied_run, tmp_path):
    folder, environment = tmp_path / "50%x?#", tmp_path / "50%20"
    folder.mkdir()
    shutil.copy(copied_run.checkout / "mlflow.db", folder / "own.db")
    environment.symlink_to(sys.prefix)
    with (
        own_port() as port,
        ui(
            copied_run.checkout,
            f"port={port}",
            python=environment / "bin/python",
            cwd=folder,
            env=os.environ | {"MLFLOW_TRACKING_URI": "sqlite:///own.db"},
        ) as process,
    ):
        said = process.stdout.readline()
        assert re.fullmatch(rf"MLflow: \S+:{port}/#/experiments/\d+/runs\?\S+\n", said), process.stderr.read()
        search = f"http://127.0.0.1:{port}/ajax-api/2.0/mlflow/experiments/search?max_results=9"
        assert b'"sine_to_cosine"' in urllib.request.urlopen(search).read()
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
    assert not (copied_run.checkout / "own.db").exists()


def test_a_server_that_ends_by_itself_is_told(copied_run):
    with own_port() as port, ui(copied_run.checkout, f"port={port}") as process:
        process.stdout.readline()
        server = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True).stdout
        os.kill(int(server), signal.SIGTERM)
        assert process.stderr.read().startswith("MLflow's server ended with ")
        assert process.wait() == 2


def test_a_port_that_another_program_has_is_none(copied_run):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = ui(copied_run.checkout, f"port={port}")
        assert (
            f"port {port} cannot be had (Address already in use), maybe another program has it"
            in process.communicate()[1]
        )
    assert process.returncode == 2
