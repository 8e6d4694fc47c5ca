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

from lstm_lab.config import ConfigError
from lstm_lab.records import store
from lstm_lab.reports import source
from lstm_lab.reports import terminal as report
from lstm_lab.reports.comparison import Choice, Facts
from lstm_lab.reports.source import Changed, Difference
from stores import fill_store


def command(*words, checkout=store.ROOT, **environment):
    """Runs `python src/report.py` as a user would."""
    return subprocess.run(
        [sys.executable, str(checkout / "src/report.py"), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80", **environment},
    )


def printed(width, *arguments, **options):
    """What the report prints on a terminal of that width."""
    console = Console(file=io.StringIO(), width=width)
    report.report(*arguments, "python src/report.py", console, **options)
    return console.file.getvalue()


def test_the_terminal_shows_a_comparison_in_80_columns(client, kinds, tmp_path):
    text = printed(80, Choice(runs=list(kinds.ids.values())), tmp_path / "page.html")
    assert not [line for line in text.splitlines() if len(line) > 80 and not re.match(r"\d+:? |the page: ", line)]
    assert "\x1b" not in text
    assert re.search(r"^ 5 +\w{8} +going +RUNNING", text, re.MULTILINE)
    assert re.search(r"^ 6 .* CUT SHORT ", text, re.MULTILINE)
    assert re.search(r"^ 4 +\w{8} +steps=400 +FINISHED", text, re.MULTILINE)  # not its name
    assert re.search(r"^ 1 .*▆.*▁$", text, re.MULTILINE)
    assert "7 FAILED: the cost became inf at step 2" in text
    assert "the same bits in every cost: 1-2" in text
    assert "without a cost curve: 8, 10-11" in text
    assert "[bold]" in text
    assert text.endswith(f"the page: {(tmp_path / 'page.html').as_uri()}\n")
    assert os.listdir(tmp_path) == ["page.html"]


def test_of_more_runs_than_can_be_read_the_page_alone_has_every_metric(client, kinds, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "READABLE", len(kinds.ids) - 1)
    text = printed(80, Choice(runs=list(kinds.ids.values())), tmp_path / "page.html")
    assert "how each of 11 runs went, and what differs in their configs: on the page" in text
    assert "how they went" not in text
    assert all(run_id[:8] in text for run_id in kinds.ids.values())
    assert "final_cost" in (tmp_path / "page.html").read_text()


def test_the_list_fits_the_terminal_and_has_more_where_there_is_room(client, kinds):
    narrow, wide = printed(80, Choice(), None), printed(170, Choice(), None)
    assert max(map(len, narrow.splitlines())) <= 80
    rows = kinds.ids.keys() - {"trial 3: x"}
    for name in rows:
        assert kinds.ids[name][:8] in narrow
    assert kinds.ids["trial 3: x"][:8] not in narrow
    for text in ("0123456*", "2023-11-14 ", "kinds", "portable", "validation", "5.0 s"):
        assert text in wide
        assert text not in narrow


def test_a_row_has_what_tells_runs_apart_and_nothing_of_it_is_cut():
    def row(run_id, name, **values):
        metrics = {"mean_last_20_cost": 2.1234e-05, "validation/mse": 7.0, "evaluation/mse": 9.7551e-07}
        return Facts(run_id * 32, name, **({"status": "CUT SHORT", "metrics": metrics} | values))

    long = "7: cell_size=10 recurrent_initializer=orthogonal lr=0.003"
    study = {
        "status": "FINISHED",
        "trials": "3 COMPLETE, 1 PRUNED of 4",
        "metrics": {"best_value": 0.5, "evaluation/mse": 0.5},
    }
    other = study | {"metrics": {"best_value": 0.5, "final_cost": 0.5}}
    runs = [
        row("a", long + "1", data="noisy_sines_to_derivative 1a"),
        row("b", "study s", **study),
        row("c", "t", **other),
    ]
    console = Console(file=io.StringIO(), width=80)
    report.list_runs(runs, console)
    head, names, first, *rest = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert head.split() == ["mean", "cost,", "evaluation"]
    assert names.split() == ["id", "name", "data", "set", "status", "last", "20", "mse"]
    assert first.endswith("noisy_sines_to  CUT SHORT   2.123e-05   9.755e-07")
    cell = slice(10, 10 + names.index("data set") - 10)
    assert "".join(line[cell].replace(" ", "") for line in [first, *rest]).startswith(long.replace(" ", "") + "1")
    assert "_derivative" in rest[0]
    words = " ".join("\n".join(rest).split())
    assert "study s: 3 - FINISHED - 0.5 COMPLETE, 1 PRUNED of 4" in words
    assert words.endswith("best value 0.5 a study's row has the best value of its trials; study=ID lists these")


def test_many_trials_stand_one_below_the_other_and_the_study_stays_out(client, tmp_path):
    text = printed(80, Choice(filter="tags.study = 'grid'"), tmp_path / "page.html")
    assert "trial 3: x" in text
    assert "study grid" not in text
    assert "trial 3: x" in printed(80, Choice(study="grid a=1,2"), None)
    assert list(report.blocks([10, 10, 10, 40, 5], 24)) == [[0, 1], [2], [3], [4]]


@pytest.mark.parametrize("words", [{"study": "s"}, {"experiment": "e"}, {"filter": "f"}])
def test_that_no_run_is_like_that_is_said(words, client, monkeypatch):
    monkeypatch.setattr(report.comparison, "choose", lambda *_: [])
    with pytest.raises(ConfigError, match=r"^no run is like that$"):
        printed(80, Choice(**words), None)


def test_equal_configs_are_called_so(client, kinds, tmp_path):
    text = printed(80, Choice(runs=[kinds.ids["plain"], kinds.ids["again"]]), tmp_path / "page.html")
    assert "nothing differs in what their configs train" in text
    assert "Nothing that changes what they train." in (tmp_path / "page.html").read_text()


def test_what_differs_in_the_code_is_shown_on_the_page_and_in_the_terminal(client, kinds, tmp_path, monkeypatch):
    lines = ["diff --git a/src/a.py b/src/a.py", "-<b>old</b>", "+[red]new[/]"]
    found = Difference([Changed("src/a.py", 1, 1), Changed("a.bin", None, None)], 3, lines, 2, ["not known of it"])
    same, missing = Difference(), Difference(unknown=["its commit is not known"], compared=False)
    monkeypatch.setattr(source, "differences", lambda client, runs: [found, same, missing][: len(runs) - 1])
    runs = [*kinds.ids.values()][:4]
    text = printed(80, Choice(runs=runs), tmp_path / "page.html", with_code=True)
    [first, *others] = [run_id[:8] for run_id in runs]
    shown = text.partition(f"the code, {first} to {others[0]}\n")[2].splitlines()
    counted = ["5 files differ, 1 line added, 1 removed in the first 100", "  src/a.py  +1 -1", "  a.bin  binary"]
    assert shown[:4] == [*counted, "  ... and 3 files more"]
    assert shown[4:9] == [*lines, "not shown, since it would be too long: 2 of the files", "not known of it"]
    assert f"the code, {first} to {others[1]}\nthe same code\n" in text
    assert f"the code, {first} to {others[2]}\nthe code cannot be compared\nits commit is not known\n" in text
    html = (tmp_path / "page.html").read_text()
    assert "&lt;b&gt;old&lt;/b&gt;" in html
    assert "<code>src/a.py  +1 -1</code>" in html
    with pytest.raises(ConfigError, match="--code: takes two runs or more"):
        printed(80, Choice(runs=runs[:1]), tmp_path / "alone.html", with_code=True)
    assert not (tmp_path / "alone.html").exists()


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
    first = re.search(r"\(([0-9a-f]{8})\)", copied_run.stdout)[1]
    assert first in done.stdout
    done = command(f"runs={first}", checkout=copied_run.checkout)
    assert done.returncode == 0, done.stderr
    [page] = (copied_run.checkout / "mlruns/reports").iterdir()
    assert f"the page: {page.as_uri()}" in done.stdout
    html = page.read_text()
    page.unlink()
    assert "One run" in html
    client = MlflowClient(f"sqlite:///{copied_run.checkout}/mlflow.db")
    run_id = re.search(f"{first}[0-9a-f]{{24}}", html)[0]
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
        (["study="], "study=: a value is missing"),
        (["last"], "last: a value is missing"),
        (["last=0"], "last=0: must be a whole number from 1 to 10000"),
        (["best=1e3"], "best=1e3: must be a whole number"),
        (["last=1", "last=2"], "last=2: last is given twice"),
        (["runs=a", "last=3"], "last=3: runs=a says already which runs"),
        (["runs=a", "study=s"], "study=s: runs=a says already which runs"),
        (["best=1", "last=3"], "last=3: best=1 says already which runs"),
        (["html=page.txt"], "html=page.txt: must be the name of a file that ends in .html"),
        ([f"html={'x' * 251}.html"], f"html={'x' * 251}.html: the name must have at most 255 bytes"),
        (["html=/nowhere/page.html"], "html=/nowhere/page.html: must be a file in a folder that is there"),
        (["last=3", "--compare"], "there is no run yet"),
        (["metric=final_cost"], "metric=final_cost: goes with by=KEY, as in by=model.cell"),
        (["out=table.md", "runs=a"], "out=table.md: goes with by=KEY, as in by=model.cell"),
        (["by=model.cell", "out=t.pdf"], "out=t.pdf: must be the name of a file that ends in .md or .csv or .tex"),
        (["by=model.cell", "out=/nowhere/t.md"], "out=/nowhere/t.md: must be a file in a folder that is there"),
        (["by=model.cell", "runs=a"], "there is no run yet"),
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
