import math

import numpy as np
import pytest
from mlflow import MlflowClient

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
    done = train(checkout, "experiment=sunspots", "training.steps=20", "tracking.model=false", "tracking.figures=false")
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{checkout}/mlflow.db")
    [run] = client.search_runs([client.get_experiment_by_name("sunspots").experiment_id])
    assert set(run.data.metrics) == {*metrics.metrics_of(lookup.config_of(client, run)), "cost"}
    assert metrics.ranked_by(run.data.metrics) == "validation/mse"
    assert f", validation {run.data.metrics['validation/mse']:.3g}; baseline " in done.stdout


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
