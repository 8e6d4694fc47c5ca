"""A run on a task of long memory, from the command to what is kept of it."""

import signal

import keras
import numpy as np
import pytest
from mlflow import MlflowClient

from helpers import train, train_until
from lstm_lab.config import check
from lstm_lab.records import checkpoint
from lstm_lab.runs import setup
from test_config import composed

WORDS = [
    *("data=two_sequences", "data.shortest=10", "data.time_steps=11", "data.criteria.ST2.mean_error=0.15"),
    *("optimizer.learning_rate=0.01", "training.steps=400", "training.until=ST2", "training.validate_every=10"),
    *("training.chunk_steps=10", "data.tested=600", "tracking.figures=false", "tracking.animation=false"),
]


def end_of(checkout, experiment):
    """The only run of an experiment, and the folder of its artifacts."""
    client = MlflowClient(f"sqlite:///{checkout}/mlflow.db")
    [run] = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return run, checkout / "mlruns/artifacts" / run.info.run_id / "artifacts"


def off_at_the_end(model, new):
    """How far the model is off at the end of each sequence, gone through one by one up to there."""
    found = []
    for inputs, targets, counts in zip(new.inputs, new.targets, new.counts, strict=True):
        [end] = np.flatnonzero(counts)
        state = [np.zeros((1, tensor.shape[-1]), np.float32) for tensor in model.inputs[1:]]
        prediction = model([inputs[None, : end + 1], *state])[0]
        found.append(abs(float(prediction[0, -1, 0]) - float(targets[end, 0])))
    return np.array(found)


def test_a_run_ends_where_its_criterion_holds_and_killed_on_its_way_at_the_same_step(checkout):
    done = train(checkout, *WORDS, "tracking.experiment=whole")
    assert done.returncode == 0, done.stderr
    whole, artifacts = end_of(checkout, "whole")
    metrics = whole.data.metrics
    steps = len(np.load(artifacts / "cost.npy"))
    assert 20 < steps < 400
    assert steps % 10 == 0
    assert metrics["solved/ST2"] == 20 * steps
    assert metrics["solved/ST1"] <= metrics["solved/ST2"]
    reason = f"ended after {steps:,} steps, {20 * steps:,} sequences: the criterion 'ST2' holds"
    assert whole.data.tags["reason"] == reason
    assert f"FINISHED: {reason}\n" in done.stdout

    [stored] = checkout.glob("mlruns/**/model.keras")
    model, source = keras.models.load_model(stored), setup.make_task(check(composed(*WORDS)).data)
    off = off_at_the_end(model, source.new(0, 0, 600))
    assert metrics["evaluation/wrong"] == (off > 0.2).sum()
    assert metrics["evaluation/mean_error"] == pytest.approx(off.mean(), rel=1e-4)
    at_its_look = off_at_the_end(model, source.new(steps // 10, 0, 256))
    assert (at_its_look <= 0.2).all()
    assert at_its_look.mean() < 0.15

    words = (*WORDS, "tracking.model=false", "tracking.experiment=killed")
    assert train_until(f"step={steps - 10}", "SIGKILL", checkout, *words).returncode == -signal.SIGKILL
    killed, _ = end_of(checkout, "killed")
    done = train(checkout, f"resume={killed.info.run_id}")
    assert done.returncode == 0, done.stderr
    assert f"FINISHED: {reason}\n" in done.stdout
    killed, others = end_of(checkout, "killed")
    one, other = (checkpoint.load(folder / "checkpoint/checkpoint.npz") for folder in (artifacts, others))
    for name in ("costs", "met", "recent"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert [a.tobytes() for a in one.weights] == [a.tobytes() for a in other.weights]
    assert one.met.tolist() == [metrics["solved/ST1"] / 20, steps]
    for name in ("solved/ST1", "solved/ST2", "evaluation/wrong", "evaluation/mean_error", "final_cost"):
        assert killed.data.metrics[name] == metrics[name]
