"""The command that predicts with a tracked run's model, compared with that model called by hand."""

import csv
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlparse
from urllib.request import url2pathname

import keras
import numpy as np
import pytest
from mlflow import MlflowClient

from helpers import copy_project, train
from lstm_lab.records.store import sqlite_uri
from lstm_lab.runs.forecasting import beyond
from lstm_lab.science.evaluation import compile_prediction
from lstm_lab.science.model import build_model, zero_state

COLUMN = "T [°C] $a$_温"
RUN = ":cat: [bold] $x$ 1e3"


def forecast(checkout, *words, **options):
    command = [sys.executable, str(checkout / "src/forecast.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, **{"cwd": checkout, **options})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that forecasts its input two samples ahead, and one that tells a target; their files and models.

    The names are such as an address, the terminal or a figure might take for something else.
    """
    checkout = copy_project(tmp_path_factory.mktemp("a?b 100% C# {x} 温"))
    n = np.arange(120)
    series = 50 + 20 * np.sin(n / 4)
    lines = [f"{a},{a - 50},x" for a in series]
    (checkout / "my.csv").write_text("\n".join([f"{COLUMN},b,c", *lines]) + "\n", encoding="utf-8")
    shape = ("data=csv", "data.path=my.csv", f"data.input={COLUMN}", "data.batch_size=2", "data.time_steps=8")
    found = {}
    for name, words in {"ahead": ["data.horizon=2"], "target": ["data.target=b"]}.items():
        quick = ("training.steps=40", "tracking.animation=false", f"tracking.experiment={name}")
        done = train(checkout, *shape, *words, *quick, f"tracking.run_name={RUN}")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"{COLUMN}, " in done.stdout
        assert f"run {RUN} (" in done.stdout
        client = MlflowClient(sqlite_uri(checkout / "mlflow.db"))
        experiment = client.get_experiment_by_name(name).experiment_id
        [run] = client.search_runs([experiment])
        [logged] = client.search_logged_models([experiment])
        model = keras.models.load_model(f"{url2pathname(urlparse(logged.artifact_location).path)}/data/model.keras")
        found[name] = SimpleNamespace(id=run.info.run_id, model=model)
    return SimpleNamespace(checkout=checkout, series=series.astype(np.float32), **found)


def read(path):
    with open(path) as text:
        header, *rows = csv.reader(text)
    return header, np.array(rows, float)


def by_hand(model, inputs):
    return np.asarray(model([np.asarray(inputs, np.float32).reshape(1, -1, 1), *zero_state(model, 1)])[0]).ravel()


def test_a_series_goes_on_beyond_its_end_on_the_models_own_predictions(runs):
    done = forecast(runs.checkout, f"run={runs.ahead.id[:8]}", "steps=5")
    assert (done.returncode, done.stderr) == (0, "")
    table, picture = done.stdout.splitlines()
    assert table == str(runs.checkout / f"mlruns/forecasts/my-{runs.ahead.id[:8]}.csv")
    header, rows = read(table)
    assert header == ["sample", COLUMN]
    assert rows[:, 0].tolist() == [120, 121, 122, 123, 124]
    fed = runs.series
    for _ in range(5):  # whole, from the beginning, each time: the prediction two samples before is the next sample
        fed = np.append(fed, by_hand(runs.ahead.model, fed)[len(fed) - 2])
    np.testing.assert_allclose(rows[:, 1], fed[120:], rtol=1e-4)
    with open(picture, "rb") as image:
        assert image.read(4) == b"\x89PNG"


def test_the_command_is_recorded_as_it_was_typed(runs, tmp_path):
    client = MlflowClient(sqlite_uri(runs.checkout / "mlflow.db"))
    facts = client.download_artifacts(runs.ahead.id, "provenance/provenance.json", str(tmp_path))
    typed = shlex.split(json.loads(Path(facts).read_text())["command_line"])
    assert f"data.input={COLUMN}" in typed
    assert f"tracking.run_name={RUN}" in typed


def test_a_locale_without_letters_fails_no_command(runs):
    bare = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = forecast(runs.checkout, "run=last", f"data.input={COLUMN}", "out=温.csv", env=bare)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("/?.csv\n".replace("csv", "png"))
    header, _ = read(runs.checkout / "温.csv")
    assert header == ["sample", COLUMN, "prediction"]
    for file in runs.checkout.glob("温.*"):
        file.unlink()


def test_a_target_is_predicted_for_every_sample_of_a_file_without_it(runs, tmp_path):
    other = 50 + 10 * np.cos(np.arange(2300) / 7)  # more than the model goes through in one call
    (tmp_path / "other.csv").write_text("date,value\n" + "".join(f"d{i},{v}\n" for i, v in enumerate(other)))
    words = ("data.path=other.csv", "data.input=value", "out=here.csv")
    done = forecast(runs.checkout, f"run={runs.target.id}", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / "here.csv"), str(tmp_path / "here.png")]
    header, rows = read(tmp_path / "here.csv")
    assert header == ["sample", "value", "prediction"]
    np.testing.assert_array_equal(rows[:, 0], np.arange(2300))
    np.testing.assert_array_equal(rows[:, 1], other)
    np.testing.assert_allclose(rows[:, 2], by_hand(runs.target.model, other), atol=1e-3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.csv", "here.png", "other.csv"]


def test_a_run_on_a_made_curve_predicts_from_a_file(default_run, tmp_path):
    x = np.arange(1000) / (10 * np.pi)
    (tmp_path / "sine.csv").write_text("sine\n" + "".join(f"{v}\n" for v in np.sin(x)))
    client = MlflowClient(f"sqlite:///{default_run.checkout}/mlflow.db")
    run = client.search_runs([client.get_experiment_by_name("lstm-lab").experiment_id])[-1]
    words = (
        f"run={run.info.run_id}",
        f"data.path={tmp_path}/sine.csv",
        "data.input=sine",
        f"out={tmp_path}/cosine.csv",
    )
    done = forecast(default_run.checkout, *words)
    assert done.returncode == 0, done.stderr
    _, rows = read(tmp_path / "cosine.csv")
    assert ((rows[400:, 2] - np.cos(x[400:])) ** 2).mean() < 0.01  # once it has found the phase


@pytest.mark.parametrize("steps", [1, 3, 9])
@pytest.mark.parametrize("horizon", [1, 4])
def test_any_horizon_and_length(horizon, steps):
    model = build_model("gru", 3, hidden_stddev=1.0, hidden_bias=0.1, seed=0)
    values = np.sin(np.arange(1203) / 3).astype(np.float32)
    made = beyond(compile_prediction(model), values, zero_state(model, 1), horizon, steps)
    fed = values
    for _ in range(steps):
        fed = np.append(fed, by_hand(model, fed)[len(fed) - horizon])
    np.testing.assert_allclose(made, fed[1203:], atol=1e-5)


@pytest.mark.parametrize(
    ("which", "words", "said"),
    [
        (None, ("steps=3",), "run=ID is missing: which run?"),
        (None, ("run=x",), "run=x: must be a run's id or its first digits (0-9, a-f), 'last' for the newest"),
        (None, ("run=" + "0" * 32,), "run=00000000000000000000000000000000: no run begins so"),
        (None, ("run=1", "seed=2"), "seed: no such word; allowed: run=ID, data.path=FILE, data.input=COLUMN, "),
        (None, ("run=1", "steps="), "steps=: a value is missing, as in steps=100"),
        ("ahead", (), "steps is missing: how many samples to forecast"),
        ("ahead", ("steps=-3",), "steps=-3: must be a whole number from 1 to 1,000,000"),
        ("target", ("steps=3",), "steps=3: this run tells a target from an input"),
        ("target", ("data.path=nowhere.csv",), "data.path="),
        ("target", ("data.input=d",), "{checkout}/my.csv, line 1: there is no column 'd'; there is {column}, b, c"),
        ("target", ("data.input=c",), "{checkout}/my.csv, line 2, column 'c': 'x' is no number"),
        ("target", ("out=" + "温" * 90 + ".csv",), "out=" + "温" * 90 + ".csv: the name must have at most 255 bytes"),
        ("target", ("out=x.txt",), "out=x.txt: must end with .csv"),
        ("target", ("out=nowhere/x.csv",), "out=nowhere/x.csv: {checkout}/nowhere is no folder"),
        ("target", ("out=my.csv",), "out=my.csv: is the series itself"),
    ],
)  # fmt: skip
def test_faults_are_named_and_leave_nothing(which, words, said, runs):
    before = sorted(runs.checkout.rglob("*.csv"))
    run = [f"run={getattr(runs, which).id}"] if which else []
    done = forecast(runs.checkout, *run, *words)
    assert done.returncode == 2
    assert done.stderr.startswith(said.format(checkout=runs.checkout, column=COLUMN))
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert sorted(runs.checkout.rglob("*.csv")) == before


def test_a_run_without_a_model_is_named(checkout):
    words = ("experiment=smoke", "tracking.model=false", "tracking.figures=false", "tracking.animation=false")
    assert train(checkout, *words).returncode == 0
    client = MlflowClient(f"sqlite:///{checkout}/mlflow.db")
    [run] = client.search_runs([client.get_experiment_by_name("smoke").experiment_id])
    (checkout / "my.csv").write_text("a\n1\n2\n")
    done = forecast(checkout, f"run={run.info.run_id}", "data.path=my.csv", "data.input=a", env={**os.environ})
    assert done.returncode == 2
    assert done.stderr.startswith(f"run={run.info.run_id}: its model cannot be loaded (")
    assert not list(checkout.glob("mlruns/forecasts/*"))
