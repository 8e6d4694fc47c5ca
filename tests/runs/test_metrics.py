import math

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.utils.validation import _validate_metric_name

from helpers import train
from lstm_lab import config
from lstm_lab.records import lookup
from lstm_lab.runs import metrics
from test_config import composed

CSV = ("data=csv", "data.path=x.csv", "data.input=a", "data.horizon=1")


def checked(*words):
    return config.check(composed(*words))


@pytest.mark.parametrize("steps", range(41, 61))
def test_where_a_run_ends_in_an_epoch_makes_no_difference_to_its_mean_cost(steps):
    costs = np.full(steps, 0.05)
    costs[::7] = 20  # the states have begun at zero
    assert metrics.mean_of_last(costs, epoch=7) == pytest.approx(0.05, rel=1e-12)


def test_the_mean_cost_is_that_of_twenty_steps_if_so_many_go_on():
    costs = np.arange(100.0)
    assert metrics.mean_of_last(costs, None) == np.arange(80, 100).mean()
    assert metrics.mean_of_last(costs, 1) == np.arange(80, 100).mean()  # every step begins an epoch: all are alike
    assert metrics.mean_of_last(costs, 2) == np.arange(61, 100, 2).mean()
    assert metrics.mean_of_last(costs[:1], 3) == 0
    assert math.isnan(metrics.mean_of_last(np.append(costs, math.nan), None))


def test_a_run_has_the_metrics_that_a_study_may_ask_for(default_run):
    client = MlflowClient(f"sqlite:///{default_run.checkout}/mlflow.db")
    [run] = client.search_runs([client.get_experiment_by_name("sine_to_cosine").experiment_id])
    assert set(run.data.metrics) == {*metrics.metrics_of(lookup.config_of(client, run)), "cost"}


def test_a_run_on_a_file_has_more_and_is_ranked_by_its_validation_error(tmp_path, checkout):
    """Of two targets whose names become one, daily and hence with a season of a week."""
    days = np.datetime64("2024-02-28") + np.arange(150)
    rows = [f"{day},{np.sin(n / 3)},{n % 7 + np.cos(n / 5)}\n" for n, day in enumerate(days)]
    (tmp_path / "my.csv").write_text("day,a/b,a:b\n" + "".join(rows))
    words = ("data=csv", "data.path=my.csv", "data.input=[a/b,a:b]", "data.horizon=2", "data.time=day")
    quick = ("data.batch_size=2", "training.steps=20", "tracking.model=false", "tracking.figures=false")
    shape = ("data.time_steps=10", "data.validation=0.2")
    done = train(checkout, *words, *shape, *quick, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{checkout}/mlflow.db")
    [run] = client.search_runs([client.get_experiment_by_name("my").experiment_id])
    found = run.data.metrics
    assert set(found) == {*metrics.metrics_of(lookup.config_of(client, run)), "cost"}
    assert {"evaluation/rmse/a_b", "evaluation/rmse/a_b 2", "backtest/coverage"} < set(found)
    assert metrics.ranked_by(found) == "validation/mse"
    assert f", validation {found['validation/mse']:.3g}; baseline " in done.stdout
    assert f"1 to 12 samples ahead: MASE {found['backtest/mase']:.3g} (seasonal naive " in done.stdout
    # The second target's week comes back, up to its wave: of all 30 held out, two samples ahead is a week back
    a, b = np.sin(np.arange(150) / 3), np.arange(150) % 7 + np.cos(np.arange(150) / 5)
    scaled = [np.abs(v[120:] - v[113:143]) / np.abs(v[7:90] - v[:83]).mean() for v in (a, b)]
    assert found["baselines/seasonal_naive_mase"] == pytest.approx(np.mean(scaled), rel=1e-5)


def test_the_names_of_targets_are_such_as_mlflow_takes_and_each_is_its_own():
    assert metrics.of_each_target(["a"]) == []
    found = metrics.of_each_target(["T [°C]", "T (°C)", "温 1", "..", "x" * 500, "x" * 400, "a_b 2", "a/b", "a:b"])
    assert found[:4] == ["rmse/T __C_", "rmse/T __C_ 2", "rmse/温 1", "rmse/__"]
    assert found[4:6] == [f"rmse/{'x' * 150}", f"rmse/{'x' * 150} 2"]
    assert found[6:] == ["rmse/a_b 2", "rmse/a_b", "rmse/a_b 3"]
    for name in found:
        _validate_metric_name(f"evaluation/{name}")


def test_data_are_the_same_whatever_they_are_cut_into_unless_a_cost_would_tell():
    def data(*words, file="0" * 64):
        return metrics.data_set(config.as_params(checked(*words)), file)

    mine = data(*CSV)
    assert data(*CSV, "data.path=moved.csv", "data.batch_size=2", "data.time_steps=5", "model=gru")[-6:] == mine[-6:]
    for other in ("data.input=b", "data.horizon=2", "data.held_out=0.3", "data.validation=0.2"):
        assert data(*CSV, other) != mine
    assert data(*CSV, file="1" * 64) != mine
    older = {key: text for key, text in config.as_params(checked(*CSV)).items() if key != "data.validation"}
    assert metrics.data_set(older, "0" * 64) == data(*CSV, "data.validation=0")
    curve = data(file=None)
    assert curve.startswith("sine_to_cosine ")
    assert data("data.batch_size=5", "training.seed=7", file=None) == curve
    assert data("data.time_steps=5", file=None) != curve  # a cost is a sum over the window
    assert data("training.cost=huber", file=None).startswith("sine_to_cosine huber ")  # of what its errors cost
    assert data(*CSV, "training.cost=huber", "training.keep=best") == mine
    assert data(*CSV, "training.cost=huber", "data.validation=0") != data(*CSV, "data.validation=0")


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("validation.mse", "validation/mse"),
        ("evaluation.r2", "evaluation/r2"),
        ("evaluation.persistence_mse", "baselines/persistence_mse"),
        ("evaluation.rollout_persistence_mse", "baselines/rollout_persistence_mse"),
        ("mean_last_20_cost", "mean_last_20_cost"),
        ("baselines/predict_zero_mse", "baselines/predict_zero_mse"),
        ("somebodys.mse", "somebodys.mse"),
    ],
)
def test_a_metric_of_an_older_run_goes_by_todays_name(before, now):
    assert metrics.today(before) == now
