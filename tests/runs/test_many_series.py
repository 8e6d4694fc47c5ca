"""A run on many series with gaps and masked values, as a user has it: killed, resumed, reproduced, forecast."""

import csv
import itertools
import math
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from mlflow import MlflowClient

from helpers import copy_project, train, train_until
from lstm_lab.config import ConfigError
from lstm_lab.records.tagging import tags_of
from lstm_lab.runs.forecasting import Going, Known, beyond, check_samples, write_predictions
from lstm_lab.science.evaluation import compile_prediction
from lstm_lab.science.model import build_model, zero_state
from lstm_lab.tables.samples import Series

SHOPS = {"=north": 60, "south": 43, "east": 30}
WORDS = (
    "data=csv", "data.path=shops.csv", "data.input=[a,b]", "data.horizon=2", "data.series=shop", "data.time=day",
    "data.gaps=fill", "data.missing=mask", "data.normalise=series", "data.batch_size=2", "data.time_steps=4",
    "training.steps=30", "training.chunk_steps=5", "tracking.animation=false", "tracking.figures=false",
)  # fmt: skip


def shops():
    """What each shop is to be filled to [days, 2]: on some days nothing is known of b, and some days are left out."""
    rng, found = np.random.default_rng(0), {}
    for level, (name, days) in zip((1, 1000, 1e6), SHOPS.items(), strict=True):
        values = level * (5 + np.sin(np.arange(days)[:, None] / [3, 5]) + 0.1 * rng.normal(size=(days, 2)))
        values[rng.integers(1, days - 1, 5), 1] = np.nan
        values[rng.integers(1, days - 1, 3)] = np.nan
        values[-1, 1] = np.nan
        found[name] = values.round(6)
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs alike, one of which was killed after 15 of 30 steps and resumed; and the files of one."""
    checkout = copy_project(tmp_path_factory.mktemp("shops"))
    days, rows = np.datetime64("2024-01-01") + np.arange(60), []
    for name, values in shops().items():
        for day, (a, b) in zip(days, values, strict=False):
            if not math.isnan(a):
                rows.append(f"{day},{name},{a},{'' if math.isnan(b) else b}")
    (checkout / "shops.csv").write_text("\n".join(["day,shop,a,b", *sorted(rows)]) + "\n")
    done = train(checkout, *WORDS, "tracking.experiment=whole")
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 series, every day, " in " ".join(done.stdout.split())
    words = (*WORDS, "tracking.experiment=killed")
    assert train_until("step=15", "SIGKILL", checkout, *words).returncode == -signal.SIGKILL
    client = MlflowClient(f"sqlite:///{checkout}/mlflow.db")
    whole, killed = (
        client.search_runs([client.get_experiment_by_name(name).experiment_id])[0].info.run_id
        for name in ("whole", "killed")
    )
    done = train(checkout, f"resume={killed}")
    assert (done.returncode, "at step 15 of 30" in done.stdout) == (0, True), done.stderr
    files = checkout / f"mlruns/artifacts/{whole}/artifacts"
    return SimpleNamespace(checkout=checkout, whole=client.get_run(whole), killed=client.get_run(killed), files=files)


def test_killed_and_resumed_it_comes_to_the_same_bits_and_is_reproduced(runs):
    for tag in ("cost.sha256", "final_weights.sha256", "data.sha256"):
        assert tags_of(runs.killed)[tag] == tags_of(runs.whole)[tag]
    same = ("evaluation/mse", "validation/mse", "evaluation/rmse/a", "evaluation/rmse/b", "backtest/mase")
    killed, whole = ([run.data.metrics[name] for name in same] for run in (runs.killed, runs.whole))
    assert killed == whole
    command = [sys.executable, str(runs.checkout / "src/reproduce.py"), f"run={runs.whole.info.run_id}"]
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "nothing differs" in again.stdout


def test_every_series_goes_on_beyond_its_end_in_its_own_units(runs):
    """Against a loop by hand: normalised and masked by the rules of the pages, the whole series fed anew each time."""
    words = [f"run={runs.whole.info.run_id}", "steps=5", "out=on.csv"]
    command = [sys.executable, str(runs.checkout / "src/forecast.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=runs.checkout)
    assert done.returncode == 0, done.stderr
    with open(runs.checkout / "on.csv") as text:
        header, *rows = csv.reader(text)
    assert [name for name in header if "90 %" not in name] == ["series", "sample", "day", "a", "b"]
    found = {name: list(lines) for name, lines in itertools.groupby(rows, lambda row: row[0])}
    assert list(found) == ["'=north", "east", "south"]  # as the file has them; a spreadsheet runs no formula
    model = build_model(
        "lstm", 10, hidden_stddev=1.0, hidden_bias=0.1, forget_bias=1.0, seed=0, input_size=4, output_size=2
    )
    weights = np.load(runs.files / "final_weights.npz")
    model.set_weights([weights[name] for name in weights.files])
    predict = compile_prediction(model)
    for name, values in shops().items():
        days = len(values)
        known = values[: days - math.ceil(0.2 * days) - math.ceil(0.1 * days)]  # what no held-out target is
        mean, stddev = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
        fed = (values - mean) / stddev
        for _ in range(5):
            inputs = np.hstack([np.nan_to_num(fed), np.isnan(fed)])
            made = predict(inputs[None], zero_state(model, 1))[0][0]
            fed = np.vstack([fed, made[len(fed) - 2]])
        lines = found["'=north" if name == "=north" else name]
        assert [int(row[1]) for row in lines] == list(range(days, days + 5))
        assert lines[0][2] == str(np.datetime64("2024-01-01") + days)
        columns = [header.index("a"), header.index("b")]
        made = np.array([[row[i] for i in columns] for row in lines], float)
        np.testing.assert_allclose((made - mean) / stddev, fed[days:], atol=1e-4)


def linear(weights):
    """A `predict` that multiplies the channels by these weights [channels, targets]; its state counts the samples."""
    return lambda x, state: (np.asarray(x, np.float64) @ np.array(weights, float), [state[0] + x.shape[1]])


def going_of(weights, units, **changes):
    """A linear model on its way; the units are [2, channels] and [2, targets]."""
    channels, targets = np.shape(weights)
    feedback = [*range(targets), *[None] * (channels - targets)]
    usual = {"calendar": (), "indicators": False, "horizon": 1, "feedback": feedback, "reset_every": None}
    return Going(linear(weights), [np.zeros((1, 1))], units, **usual | changes)


def known_of(values, name="", **changes):
    """A series of the columns a, b, ..."""
    values = np.array(values, float)
    columns = list("abc")[: values.shape[1]]
    usual = {"foreknown": np.zeros((len(values), 0)), "targets": columns, "truth": None, "times": None}
    return Known(name, columns, values, parts=[(0, len(values))], **usual | changes)


ONES = (np.array([[0.0, 0.0], [1.0, 1.0]]),) * 2


def test_targets_are_fed_back_each_as_the_input_that_it_is():
    """a' = a + b and b' = 2 b, one sample ahead; and with the targets in another order than the inputs."""
    going, known = going_of([[1, 0], [1, 2]], {"": ONES}), known_of([[7, 7], [1, 3]])
    np.testing.assert_array_equal(beyond(going, known, 3), [[4, 6], [10, 12], [22, 24]])
    swapped = going_of([[0, 1], [2, 1]], {"": ONES}, feedback=[1, 0])
    np.testing.assert_array_equal(beyond(swapped, known, 3), [[6, 4], [12, 10], [24, 22]])


def test_each_series_has_its_own_units_and_another_is_refused():
    units = {"x": (np.array([[10.0], [2.0]]),) * 2, "y": (np.array([[100.0], [50.0]]),) * 2}
    going = going_of([[2]], units)
    np.testing.assert_array_equal(beyond(going, known_of([[11]], "x"), 2), [[12], [14]])
    np.testing.assert_array_equal(beyond(going, known_of([[150]], "y"), 2), [[200], [300]])
    with pytest.raises(ConfigError, match="the series 'z' is none of the 2 that the run was trained on"):
        beyond(going, known_of([[1]], "z"), 2)


def test_a_missing_input_is_the_mean_and_its_indicator_tells():
    """a' = a + 10 times 'b misses' + 100 times 'a misses'; b' = b."""
    units = (np.array([[5.0, 0, 0, 0], [1, 1, 1, 1]]), np.array([[5.0, 0], [1, 1]]))
    going = going_of([[1, 0], [0, 1], [100, 0], [10, 0]], {"": units}, indicators=True)
    nan = math.nan
    known = known_of([[6, 1], [nan, 2], [7, nan]])
    made = np.concatenate([going.in_units(known, part) for _, part, _ in going.through(known)])
    np.testing.assert_array_equal(made, [[6, 1], [105, 2], [17, 0]])
    np.testing.assert_array_equal(beyond(going, known, 2), [[17, 0], [17, 0]])  # what is fed back is there


def test_behind_a_gap_the_state_starts_over():
    going = going_of([[1]], {"": (np.array([[0.0], [1.0]]),) * 2})
    known = known_of(np.arange(7)[:, None])
    parted = Known(**{**vars(known), "parts": [(0, 4), (4, 7)]})
    assert [(first, state[0].item()) for first, _, state in going.through(parted)] == [(0, 4), (4, 3)]


def test_a_series_must_end_with_as_many_samples_as_the_horizon():
    check_samples("my.csv", Series("x", 0, 9, ((0, 6), (6, 9)), 9), 3)
    for stretches, said in ((((0, 6), (6, 8)), "2 samples behind its last gap"), (((7, 8),), "1 sample")):
        with pytest.raises(
            ConfigError, match=f"^my.csv: the series 'x' has {said}; a run with horizon 3 needs as many"
        ):
            check_samples("my.csv", Series("x", 0, 8, stretches, 8), 3)


def test_predictions_of_several_series_stand_below_one_another_and_what_misses_is_empty(tmp_path):
    units = {"": (np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[0.0], [1.0]]))}
    going = going_of([[2], [0]], units, indicators=True, horizon=0)
    with open(tmp_path / "made.csv", "w+", newline="") as text:
        series = [known_of([[1], [2]], "x", truth=np.array([[2.0], [5.0]])), known_of([[math.nan]], "=y")]
        tails = write_predictions(text, series, going)
        text.seek(0)
        assert text.read().splitlines() == ["series,sample,a,prediction", "x,0,1.0,2.0", "x,1,2.0,4.0", "'=y,0,,0.0"]
    assert tails[0][1] == 0.5
    assert math.isnan(tails[1][1])
