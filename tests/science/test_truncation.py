import numpy as np
import pytest
import tensorflow as tf

from lstm_lab.science import bptt
from lstm_lab.science.model import build_model
from lstm_lab.science.training import cost_of
from lstm_lab.science.truncation import truncated

ROWS, TIME, SIZE = 3, 8, 4
SIZES = {"input_size": 2, "output_size": 3}


def model_and_batch(cell):
    forget_bias = {"forget_bias": 1.0} if cell == "lstm" else {}
    model = build_model(cell, SIZE, **SIZES, hidden_stddev=1.0, hidden_bias=0.1, seed=0, **forget_bias)
    draw = np.random.default_rng(0).standard_normal
    x, target = (tf.constant(draw((ROWS, TIME, size)), tf.float32) for size in SIZES.values())
    return model, x, target, [tf.constant(draw((ROWS, SIZE)), tf.float32) for _ in model.inputs[1:]]


def gradients(forward, model, x, target, state):
    with tf.GradientTape() as tape:
        prediction, *_ = forward([x, *state])
        cost = cost_of(prediction, target)
    return tape.gradient(cost, model.trainable_variables)


def by_definition(model, x, target, state, steps, every):
    """The gradient of every time step's error by itself, through its own chain of cell calls, added up."""
    states = [state]
    for t in range(TIME):
        states.append(model([x[:, t : t + 1], *states[t]])[1:])
    total = [np.zeros(variable.shape, np.float32) for variable in model.trainable_variables]
    for t in range(TIME):
        last = (t // every + 1) * every  # the errors of a block flow back together, from its last time step
        first = max(0, last - steps)
        with tf.GradientTape() as tape:
            current = [tf.stop_gradient(tensor) for tensor in states[first]]
            for i in range(first, t + 1):
                prediction, *current = model([x[:, i : i + 1], *current])
            cost = tf.reduce_sum((prediction - target[:, t : t + 1]) ** 2) / ROWS
        found = tape.gradient(cost, model.trainable_variables, unconnected_gradients="zero")
        total = [a + b.numpy() for a, b in zip(total, found, strict=True)]
    return total


@pytest.mark.parametrize(
    ("cell", "steps", "every"),
    [
        ("lstm", 4, 4),
        ("lstm", 4, 1),
        ("lstm", 4, 2),
        ("lstm", 1, 1),
        ("lstm", 8, 1),
        ("gru", 4, 1),
        ("simple_rnn", 4, 1),
    ],
)
def test_the_gradient_of_each_error_flows_back_as_far_as_said(cell, steps, every):
    model, *batch = model_and_batch(cell)
    found = gradients(truncated(model, steps, every), model, *batch)
    for a, b in zip(found, by_definition(model, *batch, steps, every), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_truncation_as_long_as_the_window_is_none():
    model, *batch = model_and_batch("lstm")
    for a, b in zip(
        gradients(truncated(model, TIME, TIME), model, *batch), gradients(model, model, *batch), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_two_truncations_differ_from_one_another_and_from_none():
    model, *batch = model_and_batch("lstm")
    kinds = [truncated(model, 4, 4), truncated(model, 4, 1), model]
    kernels = [gradients(forward, model, *batch)[3].numpy() for forward in kinds]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(kernels[i] - kernels[j]).max() > 1e-2 * np.abs(kernels[2]).max()


@pytest.mark.parametrize(("steps", "every"), [(4, 4), (4, 1), (6, 2)])
def test_prediction_and_final_state_are_those_of_the_model(steps, every):
    model, x, _, state = model_and_batch("lstm")
    for a, b in zip(truncated(model, steps, every)([x, *state]), model([x, *state]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_fast_time_loop_is_truncated_alike():
    model, *batch = model_and_batch("lstm")
    fast = tf.function(
        lambda *b: gradients_graph(truncated(bptt.written_out(model), 4, 1), model, *b), jit_compile=True
    )
    for a, b in zip(fast(*batch), gradients(truncated(model, 4, 1), model, *batch), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def gradients_graph(forward, model, x, target, state):
    with tf.GradientTape() as tape:
        cost = cost_of(forward([x, *state])[0], target)
    return tape.gradient(cost, model.trainable_variables)
