"""Runs whose rows in the store make no sense: each is shown as far as it can be, and all others as if it were not."""

import io
import re

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from rich.console import Console

from lstm_lab.records import store
from lstm_lab.reports import comparison, page, terminal
from lstm_lab.reports.comparison import Choice, Curve
from stores import COSTS, HOSTILE, make_run

STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
EVIL = "\x1b]8;;http://x\x07\x1b[31m\r\x9b1m\u2066" + HOSTILE
TIMES = {"before time": (-(10**17), 5), "after time": (10**18, 10**18 + 5), "ends first": (10**12, -(10**18))}
FILES = {
    "infinite": np.array([np.inf, 1.0, 2.0], np.float32),
    "no number": np.array([np.nan, 1.0], np.float32),
    "negative": np.array([-1.0, 1.0], np.float32),
    "smallest": np.array([1e-45, 3e38], np.float32),
    "float64": COSTS.astype(np.float64),
    "square": COSTS.reshape(10, 20),
    "no cost": COSTS[:0],
    "objects": np.array([HOSTILE], object),
    "no file": b"",
}
METRICS = {
    "steps of no run": [(-5, 1.0), (2**62, 2.0), (3, 1.0)],
    "steps of no run alone": [(-5, 1.0), (2**62, 2.0)],
    "as large as can be": [(0, 1e308), (1, 1e308), (2, -1e308)],
    "no numbers": [(0, np.nan), (5, np.inf), (9, 0.0)],
}
PARAMS = {
    "a long number of steps": {"training.steps": "9" * 6000},
    "steps in other digits": {"training.steps": "\u0663" * 9, "optimizer.learning_rate": "\u0663.\u0663" + "3" * 9},
    "texts": dict.fromkeys(("training.level", "training.steps", "data.path", "data.validation", "odd/key: 1"), EVIL),
    "a path that is none": {"data.path": "\0" * 3000, "data.validation": "0.1"},
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A store with a sound run and hostile ones: its client, and their ids by name."""
    folder = tmp_path_factory.mktemp("hostile")
    client = MlflowClient(f"sqlite:///{folder}/runs.db")
    experiment = client.create_experiment("kinds", (folder / "artifacts").as_uri())
    ids = {"sound": make_run(client, experiment, folder, "sound", {"cost.npy": COSTS}, metrics={"final_cost": 0.01})}
    for name, (start, end) in TIMES.items():
        ids[name] = client.create_run(experiment, start_time=start, run_name=name).info.run_id
        client.set_terminated(ids[name], "FINISHED", end_time=end)
    for name, costs in FILES.items():
        ids[name] = make_run(client, experiment, folder, name, {"cost.npy": costs, "figures/fitted_curve.png": b"x"})
    for name, points in METRICS.items():
        ids[name] = make_run(client, experiment, folder, name)
        client.log_batch(ids[name], [Metric("cost", value, 0, step) for step, value in points])
    for name, params in PARAMS.items():
        ids[name] = make_run(client, experiment, folder, name, params=params)
    tags = ("reason", "process", "mlflow.source.git.commit", "cost.sha256", "verdict", "trial", "study", "reproduces")
    ids["texts everywhere"] = make_run(
        client, experiment, folder, EVIL, tags=dict.fromkeys(tags, EVIL), status="FAILED"
    )
    return client, ids


@pytest.fixture
def opened(hostile, monkeypatch):
    """That store as the one that the report opens, with one more run whose id is none."""
    client, ids = hostile
    monkeypatch.setenv("MLFLOW_TRACKING_URI", client.tracking_uri)
    monkeypatch.setattr(store, "open_store", lambda: client)
    search = client.search_runs

    def with_another(*words, **options):
        found = search(*words, **options)
        for run in found[-1:]:
            run.info._run_id = "../../\x1b[31m"
        return found

    make_search = {"as it is": search, "with an id that is none": with_another}
    return client, ids, lambda which: monkeypatch.setattr(client, "search_runs", make_search[which])


def printed(choice, html=None, width=200):
    console = Console(file=io.StringIO(), width=width)
    terminal.report(choice, html, "python src/report.py", console)
    return console.file.getvalue()


def test_the_list_shows_every_run_and_the_bad_one_as_unreadable(opened):
    _, ids, search = opened
    text = printed(Choice(last=100))
    assert not STEERS.search(text)
    for name, run_id in ids.items():
        assert run_id[:8] in text
        assert name == "texts everywhere" or name in text
    assert re.search(rf"^{ids['after time'][:8]} .* FINISHED( +-){{4}} ", text, re.MULTILINE)
    search("with an id that is none")
    text = printed(Choice(last=100))
    assert not STEERS.search(text)
    assert text.count("UNREADABLE") == 1
    assert "the store has a run of the id" in text
    assert len(re.findall(r"^[0-9a-f]{8}  ", text, re.MULTILINE)) == len(ids) - 1


@pytest.mark.parametrize("which", ["as it is", "with an id that is none"])
def test_they_are_compared_and_only_the_sound_ones_have_a_curve(which, opened, tmp_path):
    client, ids, search = opened
    search(which)
    text = printed(Choice(last=100), tmp_path / "page.html")
    assert not STEERS.search(text)
    assert not STEERS.search((tmp_path / "page.html").read_text())
    monkey = comparison.fetch(client, comparison.choose(client, Choice(last=100)), lambda: None)
    found = {run.facts.name: run for run in monkey}
    assert len(found) == len(ids)
    np.testing.assert_array_equal(found["infinite"].curve.costs, [np.inf, 1, 2])
    for name in ("float64", "square", "no cost", "objects", "no file"):
        assert found[name].curve is None
        assert re.fullmatch(r"run \w{32}: its cost\.npy .+", found[name].fault)
    assert found["steps of no run"].curve.steps.tolist() == [3]
    assert found["steps of no run alone"].curve is None
    assert printed(Choice(best=3))


def test_a_run_from_the_future_is_not_the_last(opened):
    client, ids, _ = opened
    [last] = comparison.choose(client, Choice(runs=["last"]))
    assert last.run_id == ids["texts everywhere"]
    assert ids["after time"] != last.run_id


def test_a_curve_without_a_mean_draws_nothing():
    curves = [Curve(np.arange(3), np.array([np.inf, 1.0, 2.0])), Curve(np.arange(2), np.array([1e308, 1e308]))]
    assert page.draw_curves(curves, []) is None
    assert page.draw_curves([*curves, Curve(np.arange(2), np.array([1.0, 2.0]))], [])["curves"][0]["run"] == 2
