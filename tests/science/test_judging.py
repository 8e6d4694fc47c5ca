"""What is not trained on judges a training: its error, when it ends, and which weights are kept."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from lstm_lab.science import validation
from lstm_lab.science.curves import Batches, Continuation
from lstm_lab.science.judging import Judge, is_over
from lstm_lab.science.model import build_model, zero_state
from lstm_lab.science.training import ChunkOptions, Program, Progress, build_optimizer, train
from lstm_lab.science.validation import in_rows, validate

UNITS = np.array([[1e6, 5.0], [40.0, 0.5]])


def stretch(count, first, outputs=1, missing=()):
    draw = np.random.default_rng(count)
    inputs, targets = (draw.normal(size=(count, size)).astype(np.float32) for size in (2, outputs))
    weights = np.ones(count, np.float32)
    weights[list(missing)] = 0
    known = weights if len(missing) else None
    return Continuation(np.arange(count), inputs, targets, first, first, units=UNITS[:, :outputs], weights=known)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("carry_state", [True, False])
def test_the_validation_error_is_that_of_each_stretch_predicted_by_itself(outputs, carry_state, monkeypatch):
    """Cut into rows or not: of three stretches the second is of three rows and the third has nothing before it."""
    monkeypatch.setattr(validation, "LEAD_SAMPLES", 32)
    model = build_model("gru", 3, hidden_stddev=1, hidden_bias=0, seed=0, input_size=2, output_size=outputs)
    stretches = [stretch(40, 20, outputs), stretch(152, 60, outputs, missing=(61, 100, 151)), stretch(16, 0, outputs)]
    squares = []
    for one in stretches:
        rows = one.inputs[None] if carry_state else one.inputs[one.first :].reshape(-1, 4, 2)
        made = np.reshape(model([rows, *zero_state(model, len(rows))])[0], (-1, outputs)).astype(float)
        error = made[-(len(one.x) - one.first) :] - one.targets[one.first :]
        known = slice(None) if one.weights is None else one.weights[one.first :] > 0
        squares.append((error * (40.0 if outputs == 1 else 1))[known] ** 2)
    expected = np.concatenate(squares).mean()
    assert validate(model, in_rows(stretches, time_steps=4, carry_state=carry_state)) == pytest.approx(
        expected, rel=1e-5
    )


def test_without_a_known_target_there_is_no_validation_error():
    model = build_model("gru", 3, hidden_stddev=1, hidden_bias=0, seed=0, input_size=2)
    assert math.isnan(validate(model, in_rows([stretch(8, 4, missing=range(8))], time_steps=4, carry_state=True)))


def steps_of(errors, every=10, bad=None, **how):
    """The steps up to which a training with these errors goes, and its judge; at `bad` the cost is not finite."""
    left = iter(errors)
    model = SimpleNamespace(
        get_weights=lambda: [np.array(made[-1])], set_weights=lambda weights: model.__setattr__("set", weights)
    )
    judge = Judge(model, lambda: next(left), every=every, **how)
    made = [0]

    def progress():
        for step in range(5, 10 * len(errors) + 1, 5):
            made.append(step)
            yield Progress(step, np.array([math.nan if step == bad else 1.0]), *[np.zeros(0)] * 3, [])

    return [one.step for one in judge.follow(progress())], judge


@pytest.mark.parametrize(
    ("errors", "patience", "last", "best"),
    [
        ([5, 4, 4, 3, 3, 6, 2], None, 70, 70),
        ([5, 4, 4, 3, 3, 6, 2], 1, 30, 20),
        ([5, 4, 4, 3, 3, 6, 2], 2, 60, 40),  # an equal error is no better one
        ([5, 4, 4, 3, 3, 6, 2], 3, 70, 70),
        ([math.nan, math.inf, 7, 9], 2, 40, 30),
        ([math.nan, math.inf, math.nan, 9], 2, 30, None),
    ],
)
def test_a_training_ends_once_so_many_errors_are_no_lower(errors, patience, last, best):
    steps, judge = steps_of(errors, patience=patience, keep_best=True)
    assert (steps[-1], judge.best_step) == (last, best)
    assert judge.steps == list(range(10, last + 1, 10))
    assert [int(weights) for weights in judge.best] == ([best] if best else [])
    assert judge.error_at(last) == (errors[best // 10 - 1] if best else math.inf)
    judge.settle()
    assert getattr(judge.model, "set", None) == (judge.best if best else None)


def test_without_keep_best_the_last_weights_are_kept():
    steps, judge = steps_of([5, 4, 6], patience=None, keep_best=False)
    assert (steps[-1], judge.best_step, judge.best) == (30, 20, [])
    assert [judge.error_at(step) for step in (30, 35)] == [6, None]
    judge.settle()
    assert not hasattr(judge.model, "set")


def test_a_cost_that_is_not_finite_is_not_judged():
    steps, judge = steps_of([5, 6, 7], patience=1, keep_best=False, bad=20)
    assert (steps[-1], judge.steps) == (30, [10, 30])
    assert is_over([5, 7], 1)


@pytest.mark.parametrize("chunk_steps", [4, 100])
def test_stop_and_kept_weights_are_those_of_a_loop_written_out(chunk_steps):
    """The error asked for is the distance from the weights that they are after 12 steps."""
    model = build_model("simple_rnn", 4, hidden_stddev=1.0, hidden_bias=0.1, seed=0)
    program = Program(model, build_optimizer("sgd", 0.002), ChunkOptions(3, carry_state=True, jit_compile=False))
    batches, initial, every, patience = Batches("sine_to_cosine", 3, 4, sample_spacing=0.1), model.get_weights(), 3, 2

    def run(steps, state, first_step=0, **pauses):
        return train(
            program.chunk, batches, state, steps=steps, chunk_steps=chunk_steps, first_step=first_step, **pauses
        )

    program.restart(initial, 0.002)
    list(run(12, zero_state(model, 3)))
    goal = model.get_weights()

    def error():
        return sum(float(abs(a - b).sum()) for a, b in zip(model.get_weights(), goal, strict=True))

    program.restart(initial, 0.002)
    state, lowest, kept, since, step = zero_state(model, 3), math.inf, None, 0, 0
    while step < 60 and since < patience:
        *_, made = run(step + every, state, step)
        state, step, now = made.state, made.step, error()
        lowest, kept, since = (now, model.get_weights(), 0) if now < lowest else (lowest, kept, since + 1)

    program.restart(initial, 0.002)
    judge = Judge(model, error, every=every, patience=patience, keep_best=True)
    made = list(judge.follow(run(60, zero_state(model, 3), pause_every=every)))
    assert (made[-1].step, judge.best_step) == (step, step - every * since) == (18, 12)
    judge.settle()
    assert [a.tobytes() for a in model.get_weights()] == [a.tobytes() for a in kept]
    assert [one.step for one in made if one.validation is not None] == list(range(3, 19, 3))
