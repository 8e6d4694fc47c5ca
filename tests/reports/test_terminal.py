"""The command src/report.py and what it prints."""

import io
import os
import re
import runpy
import signal
import subprocess
import sys

import numpy as np
import pytest
from mlflow import MlflowClient
from rich.console import Console

from lstm_lab.records import store
from lstm_lab.reports import terminal as report
from lstm_lab.reports.comparison import Choice
from stores import fill_store


def command(*words, checkout=store.ROOT, **environment):
    """Runs `python src/report.py` as a user would."""
    return subprocess.run(
        [sys.executable, str(checkout / "src/report.py"), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80", **environment},
    )


def printed(width, *arguments):
    """What the report prints on a terminal of that width."""
    console = Console(file=io.StringIO(), width=width)
    report.report(*arguments, "python src/report.py", console)
    return console.file.getvalue()


def test_the_terminal_shows_a_comparison_in_80_columns(client, kinds, tmp_path):
    text = printed(80, Choice(runs=list(kinds.ids.values())), tmp_path / "page.html")
    assert not [line for line in text.splitlines() if len(line) > 80 and not re.match(r"\d+:? |the page: ", line)]
    assert "\x1b" not in text
    assert re.search(r"^ 5 +\w{8} +going +RUNNING", text, re.MULTILINE)
    assert re.search(r"^ 6 .* CUT SHORT ", text, re.MULTILINE)
    assert re.search(r"^ 1 .*▆.*▁$", text, re.MULTILINE)
    assert "7 FAILED: the cost became inf at step 2" in text
    assert "the same bits in every cost: 1-2" in text
    assert "without a cost curve: 8, 10-11" in text
    assert "[bold]" in text
    assert text.endswith(f"the page: {(tmp_path / 'page.html').as_uri()}\n")
    assert os.listdir(tmp_path) == ["page.html"]


def test_the_list_fits_the_terminal_and_has_more_where_there_is_room(client, kinds):
    narrow, wide = printed(80, Choice(), None), printed(130, Choice(), None)
    assert max(map(len, narrow.splitlines())) <= 80
    for run_id in kinds.ids.values():
        assert run_id[:8] in narrow
    assert "0123456*" in wide
    assert "kinds" in wide
    assert "kinds" not in narrow


def test_many_trials_stand_one_below_the_other_and_the_study_stays_out(client, tmp_path):
    text = printed(80, Choice(filter="tags.study = 'grid'"), tmp_path / "page.html")
    assert "trial 3: x" in text
    assert "study grid" not in text
    assert list(report.blocks([10, 10, 10, 40, 5], 24)) == [[0, 1], [2], [3], [4]]


def test_equal_configs_are_called_so(client, kinds, tmp_path):
    text = printed(80, Choice(runs=[kinds.ids["plain"], kinds.ids["again"]]), tmp_path / "page.html")
    assert "nothing differs in their configs" in text
    assert "these runs have one config" in (tmp_path / "page.html").read_text()


def test_runs_of_a_tracking_server_are_compared(server, tmp_path):
    ids = fill_store(server, tmp_path / "runs")
    done = command(
        f"runs={ids['plain']},{ids['gru'][:10]},{ids['bare']},{ids['going']}",
        f"html={tmp_path}/page.html",
        MLFLOW_TRACKING_URI=server,
    )
    assert done.returncode == 0, done.stderr
    assert "without a cost curve: 3" in done.stdout
    html = (tmp_path / "page.html").read_text()
    assert html.count("data:image/png;base64,") == 1
    assert html.count('<path class="curve run-') == 3


def test_a_real_run_is_listed_and_compared_with_itself(copied_run, tmp_path):
    done = command(checkout=copied_run.checkout)
    assert done.returncode == 0, done.stderr
    run_id = re.search(r"\(([0-9a-f]{32})\)", copied_run.stdout)[1]
    assert run_id[:8] in done.stdout
    done = command(f"runs={run_id[:8]}", checkout=copied_run.checkout)
    assert done.returncode == 0, done.stderr
    [page] = (copied_run.checkout / "mlruns/reports").iterdir()
    assert f"the page: {page.as_uri()}" in done.stdout
    html = page.read_text()
    page.unlink()
    assert "One run" in html
    client = MlflowClient(f"sqlite:///{copied_run.checkout}/mlflow.db")
    costs = np.load(client.download_artifacts(run_id, "cost.npy", str(tmp_path)))
    [raw] = re.findall(r'<path class="curve raw .* d="M(.*)"/>', html)
    down = np.array([float(point.split(",")[1]) for point in raw.split()])
    slope = np.polyfit(np.log10(costs), down, 1)
    np.testing.assert_allclose(np.polyval(slope, np.log10(costs)), down, atol=0.05)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run=1"], "run: no such word; allowed: runs=ID,ID, experiment=NAME"),
        (["runs="], "runs=: a value is missing"),
        (["runs=a"], "there is no run yet"),
        (["last"], "last: a value is missing"),
        (["last=0"], "last=0: must be a whole number from 1 to 10000"),
        (["best=1e3"], "best=1e3: must be a whole number"),
        (["last=1", "last=2"], "last=2: last is given twice"),
        (["runs=a", "last=3"], "last=3: runs=a says already which runs"),
        (["best=1", "last=3"], "last=3: best=1 says already which runs"),
        (["html=page.txt"], "html=page.txt: must be the name of a file that ends in .html"),
        ([f"html={'x' * 251}.html"], f"html={'x' * 251}.html: the name must have at most 255 bytes"),
        (["html=/nowhere/page.html"], "html=/nowhere/page.html: must be a file in a folder that is there"),
        (["last=3", "--compare"], "there is no run yet"),
        ([], "there is no run yet"),
    ],
)
def test_faulty_words_and_an_empty_store_are_named(words, said, tmp_path, capsys, monkeypatch):
    """Called in this process, since each command would take a second."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    monkeypatch.setattr(sys, "argv", ["src/report.py", *words])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert runpy.run_path(str(store.ROOT / "src/report.py"), run_name="report")["main"]() == 2
    assert capsys.readouterr().err.startswith(said)
    assert not os.listdir(tmp_path)


def test_neither_help_nor_a_report_imports_tensorflow(kinds):
    done = command("--help")
    assert done.returncode == 0
    assert "filter=CONDITION" in done.stdout
    code = (
        "import runpy, sys; runpy.run_path('src/report.py', run_name='x')['main'](); print('tensorflow' in sys.modules)"
    )
    environment = {**os.environ, "MLFLOW_TRACKING_URI": kinds.uri}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=store.ROOT, env=environment)
    assert done.stdout.endswith("False\n"), done.stderr
    assert kinds.ids["plain"][:8] in done.stdout
