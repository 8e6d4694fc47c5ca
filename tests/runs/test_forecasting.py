"""The command that predicts with a tracked run's model, compared with that model called by hand."""

import csv
import dataclasses
import io
import json
import math
import os
import shlex
import shutil
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
from PIL import Image

from helpers import copy_project, csv_settings, train
from lstm_lab.config import ConfigError
from lstm_lab.records.store import sqlite_uri
from lstm_lab.runs import figures, forecasting
from lstm_lab.runs.forecasting import (
    Band,
    Forecast,
    Going,
    Known,
    beyond,
    draw_forecast,
    draw_predictions,
    write_forecasts,
    write_predictions,
)
from lstm_lab.science.backtest import forecasts
from lstm_lab.science.curves import Continuation
from lstm_lab.science.evaluation import compile_prediction, evaluate
from lstm_lab.science.model import build_model, with_units, zero_state
from lstm_lab.science.seasons import Seasons
from lstm_lab.science.series import SeriesBatches
from lstm_lab.science.training import ChunkOptions, Program, build_optimizer
from lstm_lab.science.training import train as train_steps
from lstm_lab.tables.times import Times

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
    ahead = ["data.horizon=2", "data.validation=0.2", "evaluation.horizon=5"]
    for name, words in {"ahead": ahead, "target": ["data.target=b"]}.items():
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
        found[name] = SimpleNamespace(id=run.info.run_id, model=model, metrics=run.data.metrics, stdout=done.stdout)
    return SimpleNamespace(checkout=checkout, series=series, **found)


def read(path):
    with open(path) as text:
        header, *rows = csv.reader(text)
    return header, np.array(rows, float)


def by_hand(model, inputs):
    return compile_prediction(model)(np.reshape(inputs, (1, -1, 1)), zero_state(model, 1))[0].ravel()


def gone_on(model, known, steps):
    """The forecast [steps] after the known samples: the prediction two samples before is the next sample."""
    fed = known
    for _ in range(steps):  # whole, from the beginning, each time
        fed = np.append(fed, by_hand(model, fed)[len(fed) - 2])
    return fed[len(known) :]


TRAINED, HELD_OUT, END = 70, 94, 118  # pairs: of 120 samples 24 are held out, and 24 are for validation
WINDOW = HELD_OUT - 4 - TRAINED  # forecasts of five samples that lie wholly in what is for validation


@pytest.fixture(scope="module")
def one_by_one(runs):
    """The forecasts [5] with 70, 71, ... pairs known, each made alone, and how far off they are."""
    made = {n: gone_on(runs.ahead.model, runs.series[: n + 2], 5) for n in range(TRAINED, END - 4)}
    return SimpleNamespace(made=made, off={n: np.abs(made[n] - runs.series[n + 2 : n + 7]) for n in made})


def half_width(one_by_one, now, lead):
    """Of the interval around the forecast with so many pairs known: the 19th of the last 20 errors known there."""
    recent = [off[lead] for n, off in one_by_one.off.items() if n + lead < now][-WINDOW:]
    return sorted(recent)[math.ceil(0.9 * (WINDOW + 1)) - 1]


def test_a_series_goes_on_beyond_its_end_on_the_models_own_predictions_with_intervals(runs, one_by_one):
    done = forecast(runs.checkout, f"run={runs.ahead.id[:8]}", "steps=7")
    assert done.returncode == 0
    assert done.stderr == "90 % intervals end after 5 of 7 samples, as far as the run was backtested\n"
    table, picture = done.stdout.splitlines()
    assert table == str(runs.checkout / f"mlruns/forecasts/my-{runs.ahead.id[:8]}.csv")
    with open(table) as text:
        header, *rows = csv.reader(text)
    assert header == ["sample", COLUMN, f"{COLUMN} low 90 %", f"{COLUMN} high 90 %"]
    assert [row[0] for row in rows] == ["120", "121", "122", "123", "124", "125", "126"]
    middle = np.array([row[1] for row in rows], float)
    np.testing.assert_allclose(middle, gone_on(runs.ahead.model, runs.series, 7), rtol=1e-4)
    low, high = np.array([row[2:] for row in rows[:5]], float).T
    np.testing.assert_allclose((high + low) / 2, middle[:5], rtol=1e-6)
    np.testing.assert_allclose(high - low, [2 * half_width(one_by_one, END, lead) for lead in range(5)], rtol=1e-3)
    assert [row[2:] for row in rows[5:]] == [["", ""]] * 2
    with open(picture, "rb") as image:
        assert image.read(4) == b"\x89PNG"


def test_the_backtest_is_that_of_forecasts_made_one_by_one(runs, one_by_one):
    series = runs.series
    judged = [n for n in one_by_one.made if n >= HELD_OUT]
    scale = np.abs(np.diff(series[: TRAINED + 2])).mean()
    naive = [np.abs(series[n + 1] - series[n + 2 : n + 7]) for n in judged]
    widths = np.array([[half_width(one_by_one, n, lead) for lead in range(5)] for n in judged])
    errors = np.array([one_by_one.off[n] for n in judged])
    truths, made = np.array([[series[n + 2 : n + 7], one_by_one.made[n]] for n in judged]).swapaxes(0, 1)
    expected = {
        "rmse": np.sqrt(np.mean(errors**2)),
        "mase": errors.mean() / scale,
        "smape": np.mean(200 * errors / (np.abs(truths) + np.abs(made))),
        "seasonal_naive_rmse": np.sqrt(np.mean(np.square(naive))),
        "seasonal_naive_mase": np.mean(naive) / scale,
        "coverage": np.mean(errors <= widths),
        "width": 2 * widths.mean(),
    }
    found = {name: runs.ahead.metrics[f"backtest/{name}"] for name in expected}
    assert found == pytest.approx(expected, rel=1e-3)
    assert f"1 to 5 samples ahead: MASE {found['mase']:.3g} (seasonal naive" in runs.ahead.stdout
    with open(runs.checkout / f"mlruns/artifacts/{runs.ahead.id}/artifacts/backtest.csv") as text:
        rows = list(csv.DictReader(text))
    assert [(row["lead_time"], row["target"]) for row in rows] == [(str(lead), COLUMN) for lead in range(1, 6)]
    np.testing.assert_allclose([float(row["rmse"]) for row in rows], np.sqrt((errors**2).mean(axis=0)), rtol=1e-3)


def dated(folder, *columns):
    """A file of the last 40 samples of the series, one a month, and those columns besides."""
    months = np.datetime64("2020-01") + np.arange(40)
    samples = [f"{month}-01,{50 + 20 * np.sin(n / 4)}" for n, month in enumerate(months)]
    lines = [",".join([sample, *map(str, more)]) for sample, *more in zip(samples, *columns, strict=True)]
    header = ",".join(["month", COLUMN, *"bde"[: len(columns)]])
    (folder / "dated.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")


def test_a_forecast_goes_on_in_the_files_own_times(runs, tmp_path):
    dated(tmp_path)
    words = ("steps=3", "data.path=dated.csv", "out=on.csv")
    done = forecast(runs.checkout, f"run={runs.ahead.id}", *words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    header, *rows = csv.reader((tmp_path / "on.csv").read_text().splitlines())
    assert header[:3] == ["sample", "month", COLUMN]
    assert [row[:2] for row in rows] == [["40", "2023-05-01"], ["41", "2023-06-01"], ["42", "2023-07-01"]]


@pytest.mark.parametrize("lacking", ["", "1e400"])
def test_a_target_that_the_file_has_is_compared_with(lacking, runs, tmp_path):
    dated(tmp_path, [*range(39), lacking or 39])
    words = ("data.path=dated.csv", "out=beside.csv")
    done = forecast(runs.checkout, f"run={runs.target.id}", *words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    header, *rows = csv.reader((tmp_path / "beside.csv").read_text().splitlines())
    assert header == ["sample", "month", COLUMN, "prediction"]
    assert [row[1] for row in rows[:2]] == ["2020-01-01", "2020-02-01"]
    with Image.open(tmp_path / "beside.png") as picture:
        assert picture.format == "PNG"


def known(truth=None, values=range(700), times=True):
    """What a file tells of one series, a column that is the target too, or another's input."""
    targets, nothing = ["ducks"], np.zeros((len(values), 0))
    when = Times("day", DAYS, "D", "D") if times else None
    column = np.asarray(values, float)[:, None]
    return Known("", ["temperature"], column, nothing, targets, truth, when, [(0, len(values))])


def going(model, units=((0.0, 1.0), (0.0, 1.0)), horizon=1, reset_every=None):
    """A model of one channel on its way through series of these units."""
    units = tuple(np.array(unit, float)[:, None] for unit in units)
    return Going(compile_prediction(model), zero_state(model, 1), {"": units}, (), False, horizon, [0], reset_every)


DAYS = np.datetime64("2020-01-01") + np.arange(700)


def test_what_is_drawn_of_a_forecast():
    made = np.array([[5.0], [6.0]])
    past, band = np.arange(700.0)[:, None], Band("80 %", np.array([[1.0], [np.nan]]))
    [ax] = draw_forecast(known(past), Forecast(made, (made - 1, made + 1)), band).axes
    line, drawn, _ = ax.lines
    assert ax.get_title() == "ducks: forecast of 2 samples after 2021-11-30"
    assert line.get_ydata().tolist() == list(range(640, 700))
    assert drawn.get_ydata().tolist() == [699, 5, 6]
    assert [shade.get_label() for shade in ax.collections] == ["80 % interval"]
    [ax] = draw_forecast(known(past), Forecast(np.zeros((100, 1)), None), None).axes
    assert len(ax.lines[0].get_ydata()) == 300
    assert not ax.collections
    uneven = dataclasses.replace(known(past), times=Times("day", np.append(DAYS[:-1], DAYS[-1] + 1), "D", "D"))
    [ax] = draw_forecast(uneven, Forecast(np.zeros((1, 1)), None), None).axes
    assert (ax.get_title(), ax.get_xlabel()) == (
        "ducks: forecast of 1 sample after sample 699",
        "sample of the series",
    )


def test_the_ends_of_intervals_stand_beside_each_target_and_are_left_out_where_there_are_none():
    text, made = io.StringIO(), np.array([[5.0, 50.0], [6.0, 60.0]])
    both = dataclasses.replace(known(times=False), targets=["=a", "b"])
    reach = np.array([[1.0, 10.0], [np.nan, 20.0]])
    forecasts = [Forecast(made, (made - reach, made + reach))]
    write_forecasts(text, [both], forecasts, Band("97.5 %", reach))
    assert text.getvalue().splitlines() == [
        "sample,'=a,'=a low 97.5 %,'=a high 97.5 %,b,b low 97.5 %,b high 97.5 %",
        "700,5.0,4.0,6.0,50.0,40.0,60.0",
        "701,6.0,,,60.0,40.0,80.0",
    ]


@pytest.mark.parametrize("truth", [None, np.arange(700.0)[:, None] + 0.5])
def test_what_is_drawn_of_a_prediction_and_how_far_off_it_is(truth):
    text, made = io.StringIO(), np.arange(700.0)[:, None] - 0.5
    pieces = SimpleNamespace(
        through=lambda known: [(0, made[:500], None), (500, made[500:], None)], in_units=lambda known, values: values
    )
    [(tail, mse)] = write_predictions(text, [known(truth)], pieces)
    np.testing.assert_array_equal(tail, made[-300:])
    assert text.getvalue().splitlines()[:2] == ["sample,day,temperature,prediction", "0,2020-01-01,0.0,-0.5"]
    axes = draw_predictions(known(truth), (tail, mse)).axes
    if truth is None:
        assert [ax.get_ylabel() for ax in axes] == ["temperature", "ducks"]
        assert axes[0].get_title() == "ducks from temperature"
    else:
        [ax] = axes
        assert ax.get_title() == "ducks from temperature: mean squared error 1"
        assert [line.get_ydata()[-1] for line in ax.lines] == [699.5, 698.5]


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
    run = client.search_runs([client.get_experiment_by_name("sine_to_cosine").experiment_id])[-1]
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


UNITS = {  # of one wave, each its level and its size
    "plain": (0.0, 1.0),
    "strain": (0.0, 1e-21),
    "ampere": (0.0, 2e-9),
    "counts": (1.5e9, 40.0),
    "far below zero": (-3e12, 7.0),
    "kilograms": (5e24, 1e24),
    "the largest": (5e99, 3e99),
    "the smallest": (0.0, 2e-100),
}
WAVE = np.sin(np.arange(400) / 6) + 0.3 * np.sin(np.arange(400) / 17)


def batches_in(unit, folder):
    level, size = UNITS[unit]
    (folder / "wave.csv").write_text("a\n" + "".join(f"{value!r}\n" for value in (level + size * WAVE).tolist()))
    return SeriesBatches(
        folder / "wave.csv", csv_settings(input="a", horizon=1, held_out=0.2, batch_size=4, time_steps=10)
    )


def on_from(model, batches, values):
    """The forecast [60, 1] of the samples that follow these."""
    return beyond(going(model, [unit[:, 0] for unit in batches.units]), known(values=values), 60)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A model of the plain wave, its forecast, and its evaluation; normalised, all units are this one."""
    batches = batches_in("plain", tmp_path_factory.mktemp("plain"))
    model = build_model("gru", 8, hidden_stddev=1.0, hidden_bias=0.1, seed=0)
    options = ChunkOptions(4, carry_state=True, jit_compile=False, stride=4)
    program = Program(model, build_optimizer("sgd", learning_rate=0.003), options)
    list(train_steps(program.chunk, batches, zero_state(model, 4), steps=100, chunk_steps=100))
    made, stddev = on_from(model, batches, WAVE), batches.units[0][1, 0]
    return SimpleNamespace(model=model, made=made, stddev=stddev, metrics=evaluated(model, batches).metrics)


def evaluated(model, batches):
    seasons = Seasons.of(batches, 7)
    return evaluate(model, batches.unseen(100, 10), None, time_steps=10, carry_state=True, seasons=seasons)


@pytest.mark.parametrize("unit", UNITS)
def test_a_wave_is_forecast_alike_in_any_unit(unit, learnt, tmp_path):
    (level, size), batches = UNITS[unit], batches_in(unit, tmp_path)
    with_units(learnt.model, *batches.units).save(tmp_path / "model.keras")
    kept = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    values = batches.samples.values[:, 0]
    made = on_from(learnt.model, batches, values)
    assert np.ptp(made) > size
    np.testing.assert_allclose((made - level) / size, learnt.made, atol=1e-3 * learnt.stddev)
    told = by_hand(kept, values)[-1]  # of the model that is kept, which takes and gives numbers in their own units
    np.testing.assert_allclose((told - level) / size, learnt.made[0, 0], atol=1e-3 * learnt.stddev)
    again = evaluated(learnt.model, batches)
    powers = {"r2": 0, "mase": 0, "seasonal_naive_mase": 0, "rmse": 1, "mse": 2, "rollout_mse": 2}
    for name, power in powers.items():
        assert again.metrics[name] / size**power == pytest.approx(learnt.metrics[name], rel=1e-3)
    labels = figures.Labels(y=(unit,))
    pictures = [
        figures.continued_figure(again, labels, note="", title=unit),
        figures.forecast_figure(np.arange(460), values[:, None], made, labels, unit, (made - size, made + size)),
    ]
    for picture in pictures:
        picture.savefig(io.BytesIO())


@pytest.mark.parametrize("reset_every", [None, 10])
def test_a_number_that_the_model_cannot_take_is_named(reset_every):
    model = build_model("gru", 3, hidden_stddev=1.0, hidden_bias=0.1, seed=0)
    values = 1e-21 * np.sin(np.arange(1203) / 3)
    values[1007] = 9.97e36
    way = going(model, ((0.0, 1e-21), (0.0, 1.0)), reset_every=reset_every)
    with pytest.raises(ConfigError, match=r"^sample 1,007 is 9\.97e\+36, too far from what the run was trained on$"):
        beyond(way, known(values=values), 5)


def test_a_picture_that_cannot_be_drawn_is_named_and_the_forecast_is_there(runs):
    (runs.checkout / "taken.png").mkdir()
    done = forecast(runs.checkout, f"run={runs.ahead.id}", "steps=3", "out=taken.csv")
    assert done.returncode == 0
    assert done.stdout == f"{runs.checkout}/taken.csv\n"
    assert done.stderr.startswith(f"{runs.checkout}/taken.png: is not drawn (")
    assert done.stderr.count("\n") == 1
    assert len(read(runs.checkout / "taken.csv")[1]) == 3
    assert not list(runs.checkout.glob("*.unfinished"))


@pytest.mark.parametrize("steps", [1, 3, 9])
@pytest.mark.parametrize("horizon", [1, 4])
def test_any_horizon_and_length(horizon, steps, monkeypatch):
    monkeypatch.setattr(forecasting, "AT_ONCE", 20)
    model = build_model("gru", 3, hidden_stddev=1.0, hidden_bias=0.1, seed=0)
    values = np.sin(np.arange(43) / 3).astype(np.float32)
    made = beyond(going(model, horizon=horizon), known(values=values), steps)
    fed = values
    for _ in range(steps):
        fed = np.append(fed, by_hand(model, fed)[len(fed) - horizon])
    np.testing.assert_allclose(made[:, 0], fed[43:], atol=1e-5)


@pytest.mark.parametrize("count", [40, 43])
def test_without_carry_windows_go_on_being_cut_where_they_were(count):
    """The forecast from a file's end is that of the backtest there: state and windows alike."""
    model, values = build_model("gru", 3, hidden_stddev=1.0, hidden_bias=0.1, seed=0), np.sin(np.arange(60.0) / 3)
    made = beyond(going(model, horizon=2, reset_every=5), known(values=values[:count]), 8)
    inputs = values[:, None].astype(np.float32)
    curve = Continuation(np.arange(60), inputs, inputs, count - 2, 0, 2, same=(0,), held_out=count - 2)
    zeros = zero_state(model, 1)
    found = forecasts(compile_prediction(model), zeros, [curve], 8, count=1, reset_every=5)
    assert found.sample.tolist() == [count - 2]
    np.testing.assert_allclose(made, found.made[0], atol=1e-6)


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


def test_a_run_without_units_is_named_and_a_model_is_not_needed(runs, tmp_path):
    checkout = tmp_path / "copy"
    shutil.copytree(runs.checkout, checkout)
    client = MlflowClient(sqlite_uri(checkout / "mlflow.db"))
    client.delete_logged_model(
        client.search_logged_models([client.get_run(runs.target.id).info.experiment_id])[0].model_id
    )
    done = forecast(checkout, f"run={runs.target.id}", "out=with.csv")  # the store is found where it was moved to
    assert done.returncode == 0, done.stderr
    (checkout / f"mlruns/artifacts/{runs.target.id}/artifacts/units.npz").unlink()  # as of runs that are older
    done = forecast(checkout, f"run={runs.target.id}", "out=without.csv")
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"run={runs.target.id}: its model cannot be loaded (it has no model, which would tell"
    )
    assert not list(checkout.glob("without*"))
