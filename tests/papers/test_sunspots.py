"""The sunspots on the classic split: its years, the errors of our models and of the least squares, the verdicts."""

import keras
import numpy as np
import pytest
import yaml

from helpers import ROOT, csv_settings
from lstm_lab.papers import sunspots
from lstm_lab.science.evaluation import evaluate
from lstm_lab.science.model import build_model
from lstm_lab.science.series import SeriesBatches
from lstm_lab.science.statistics import median


@pytest.fixture(scope="module")
def source():
    """The series as the study cuts it."""
    data = yaml.safe_load((ROOT / "conf/data/sunspots.yaml").read_text())
    study = yaml.safe_load((ROOT / "sweeps/papers/sunspots.yaml").read_text())
    del data["defaults"]
    return SeriesBatches(ROOT / data["path"], csv_settings(**data | study["data"]))


@pytest.fixture(scope="module")
def truth():
    """The numbers of 1700 to 2008."""
    lines = (ROOT / "conf/data/series/sunspots.csv").read_text().split()[1:]
    assert [int(line.split(",")[0]) for line in lines] == list(range(1700, 2009))
    return np.array([float(line.split(",")[1]) for line in lines])


def test_every_year_up_to_1920_is_trained_on_and_those_from_1921_on_are_held_out(source, truth):
    rows = source.chunk(0, source.epoch)
    assert list(1700 + rows.x.ravel()) == list(range(1701, 1921))
    np.testing.assert_allclose(source.units[0], [[truth[:221].mean()], [truth[:221].std()]], rtol=1e-12)
    [unseen] = source.unseen(500, windows=50)
    assert list(1700 + unseen.x[unseen.first :]) == list(range(1921, 2009))
    assert source.validation() == []


def numpy_lstm(weights, x):
    """The predictions [samples] of an LSTM between two dense layers, step by step from a state of zeros."""
    w_in, b_in, kernel, recurrent, bias, w_out, b_out = (w.astype(np.float64) for w in weights)
    h = c = np.zeros(len(recurrent))
    made = []
    for value in x:
        i, f, g, o = np.split((value * w_in[0] + b_in) @ kernel + h @ recurrent + bias, 4)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        made.append((h @ w_out + b_out)[0])
    return np.array(made)


def test_the_errors_are_those_of_the_recursion_by_hand_over_the_variance(source, truth):
    model = build_model("lstm", 3, hidden_stddev=1.0, hidden_bias=0.1, seed=1, forget_bias=1.0)
    mean, stddev = truth[:221].mean(), truth[:221].std()
    made = mean + stddev * numpy_lstm(model.get_weights(), (truth[:-1] - mean) / stddev)
    found = sunspots.forecast(model, source)
    np.testing.assert_allclose(found, made, rtol=1e-4)
    squares = (made - truth[1:]) ** 2  # of 1701 to 2008
    expected = {"1700-1920": squares[11:220], "1921-55": squares[220:255], "1956-79": squares[255:279]}
    assert [len(each) for each in expected.values()] == [209, 35, 24]
    errors = sunspots.errors_of(found)
    assert list(errors) == list(expected)
    for name, each in expected.items():
        assert errors[name] == pytest.approx(each.mean() / truth[:280].var(), rel=1e-4)


@pytest.mark.parametrize("cell", ["lstm", "gru", "simple_rnn"])
def test_over_all_that_was_held_out_it_is_the_error_of_the_runs_own_evaluation(source, truth, cell):
    model = build_model(cell, 3, hidden_stddev=1.0, hidden_bias=0.1, seed=2)
    evaluated = evaluate(model, source.unseen(500, windows=50), None, time_steps=44, carry_state=True)
    squares = (sunspots.forecast(model, source) - truth[1:])[220:] ** 2
    assert squares.mean() == pytest.approx(evaluated.metrics["mse"], rel=1e-6)
    keras.backend.clear_session()


def test_the_least_squares_have_the_errors_that_were_computed_elsewhere():
    errors = sunspots.errors_of(sunspots.autoregression(12, 1920))
    assert sunspots.variance() == pytest.approx(1495.59, abs=0.005)
    over_1535 = [error * sunspots.variance() / 1535 for error in errors.values()]
    np.testing.assert_allclose(over_1535, [0.1285, 0.1262, 0.3584], atol=5e-5)


def test_an_autoregression_finds_the_recursion_that_made_a_series(monkeypatch):
    numbers = [1.0, 2.0]
    for _ in range(38):
        numbers.append(0.5 * numbers[-1] - 0.9 * numbers[-2] + 3)
    monkeypatch.setattr(sunspots, "record", lambda: (np.arange(1900, 1940), np.array(numbers)))
    np.testing.assert_allclose(sunspots.autoregression(2, 1920), numbers[2:], rtol=1e-9)


def test_better_and_worse_are_told_by_the_whole_interval():
    ours = median([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])  # from the second to the ninth
    assert [sunspots.said(ours, error) for error in (0.19, 0.2, 0.9, 0.91)] == ["worse", "alike", "alike", "better"]
    assert sunspots.said(median([0.1, 0.2]), 0.5) == "too few seeds"
    assert sunspots.held_against([ours, ours], "a model", [None, 0.95], "a table") == [
        "a model", "-", "0.95, better", "a table"
    ]  # fmt: skip


def test_every_published_error_after_1920_is_counted_once():
    assert sunspots.counts([median([0.01] * 6)] * 3) == {"better": 13, "alike": 0, "worse": 0, "all": 13}
    assert sunspots.counts([median([0.01] * 6), median([1.0] * 6), median([0.28] * 6)]) == {
        "better": 2, "alike": 1, "worse": 10, "all": 13
    }  # fmt: skip
