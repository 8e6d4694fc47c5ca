"""The sunspots on the classic split: its years, the errors of our models and of the least squares, the verdicts."""

from typing import Any

import keras
import numpy as np
import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from helpers import ROOT, csv_settings
from lstm_lab import runtime
from lstm_lab.config import COMMAND, check
from lstm_lab.findings.template import fill
from lstm_lab.papers import sunspots
from lstm_lab.reports.comparison import Facts
from lstm_lab.runs.setup import new_model
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


class Untrained:
    """The study with six seeds, as if no run of it had learnt anything."""

    def __init__(self):
        study = yaml.safe_load((ROOT / "sweeps/papers/sunspots.yaml").read_text())
        self.own = {key: study[key] for key in ("data", "model", "training")}

    def grid(self, study):
        assert study == "papers/sunspots"
        numbers = {"model.cell_size": 8, "training.steps": 500, "data.time_steps": 44}
        settings = {key: str(value) for key, value in numbers.items()}
        cells = ("lstm", "gru", "simple_rnn")
        pairs = [(cell, str(seed)) for cell in cells for seed in range(6)]
        return [Facts("0" * 32, "run", params={"model.cell": c, "training.seed": s} | settings) for c, s in pairs]

    def config(self, facts):
        words = [
            "data=sunspots",
            f"model={facts.params['model.cell']}",
            f"training.seed={facts.params['training.seed']}",
        ]
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            whole: Any = OmegaConf.to_container(OmegaConf.merge(compose("train", words), self.own), resolve=True)
        return check({key: value for key, value in whole.items() if key not in COMMAND})

    def final_weights(self, facts):
        return new_model(self.config(facts)).get_weights()

    def command(self, study):
        return [f"sweeps={study}"]


def test_the_section_has_the_medians_over_the_seeds_and_a_verdict_on_every_published_error(monkeypatch, source):
    monkeypatch.setattr(runtime, "start_tensorflow", lambda *_: None)  # the tests have, at another level
    studies = Untrained()
    found = sunspots.compute(studies)
    text = fill("sunspots", found.values, ROOT / "src/lstm_lab/papers")
    models = [new_model(studies.config(run)) for run in studies.grid("papers/sunspots")[:6]]
    errors = [list(sunspots.errors_of(sunspots.forecast(model, source)).values()) for model in models]
    cells = [
        f"{middle:#.3g} [{low:#.3g}, {high:#.3g}]" for low, middle, high in np.percentile(errors, [0, 50, 100], 0).T
    ]
    assert f"| LSTM | {' | '.join(cells)} |" in text
    assert "| network 12-8-1 (Weigend et al., 1990) | 0.082, worse | 0.086, worse | 0.35, worse | quoted in " in text
    assert "| autoregression of order 12 | 0.1319, worse | 0.1296, worse | 0.3679, worse | least squares" in text
    assert "better than 0, like 0, and worse than 13.**" in text
    assert "reaches 154 sunspots, 1921-79 reach 190, in 1957;" in text
    [drawn] = found.figures["sunspots"].axes
    assert {tuple(line.get_xdata()[[0, -1]]) for line in drawn.lines} == {(1921, 1979)}
