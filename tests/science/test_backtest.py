"""Forecasts from many origins at once, against each made alone, after the whole stretch before it."""

import numpy as np
import pytest

from lstm_lab.science.backtest import ahead, backtest, origins, roll_out
from lstm_lab.science.evaluation import compile_prediction
from lstm_lab.science.model import CELLS, build_model, zero_state

SAMPLES, STEPS = 40, 9
# Two targets of three inputs: target 0 is input 2, target 1 is input 0; input 1 is known beforehand
FEEDBACK = (1, None, 0)
INPUTS = np.random.default_rng(0).integers(0, 101, (SAMPLES, 3)).astype(float)
WEIGHTS = np.array([[1, 2], [3, 4], [5, 7]])
ZERO = [np.zeros((1, 2))]


def linear(x, state):
    """A linear recurrence in the whole numbers modulo 101: exact, in whatever order it is summed."""
    level, made = state[0], []
    for t in range(x.shape[1]):
        level = (3 * level + x[:, t] @ WEIGHTS) % 101
        made.append((2 * level + [0, 1]) % 101)
    return np.stack(made, axis=1), [level]


def written_out(origin, horizon, reset_every=None):
    """The forecast [steps, targets] from an origin: sample by sample, from the beginning."""
    series, level, made = INPUTS.copy(), np.zeros((1, 2)), []
    for n in range(origin + STEPS):
        if reset_every and n >= origin and (n - origin) % reset_every == 0:
            level = np.zeros((1, 2))
        (prediction,), (level,) = linear(series[None, n : n + 1], [level])
        if n >= origin:
            made.append(prediction[0])
            if n + horizon < SAMPLES:
                series[n + horizon, [2, 0]] = prediction[0]
    return np.array(made)


@pytest.mark.parametrize("reset_every", [None, 4])
@pytest.mark.parametrize("horizon", [1, 3, 12])
def test_every_origins_forecast_is_the_one_made_alone_from_there(horizon, reset_every):
    begins = origins(0, SAMPLES - STEPS, 6)
    made = backtest(linear, INPUTS, begins, ZERO, STEPS, FEEDBACK, horizon=horizon, reset_every=reset_every)
    np.testing.assert_array_equal(made, [written_out(n, horizon, reset_every) for n in begins])


def test_what_is_known_beforehand_is_read_and_what_is_fed_back_is_not():
    hidden = INPUTS.copy()
    hidden[25:, [0, 2]] = np.nan
    made = backtest(linear, hidden, np.array([22]), ZERO, STEPS, FEEDBACK, horizon=3)
    np.testing.assert_array_equal(made[0], written_out(22, 3))
    _, state = linear(INPUTS[None, :22], ZERO)
    rolled_out = roll_out(linear, INPUTS[None, 22:25], state, STEPS, FEEDBACK, INPUTS[None, 25:])
    np.testing.assert_array_equal(rolled_out, made)
    with pytest.raises(ValueError, match="future"):
        roll_out(linear, INPUTS[None, 22:25], state, STEPS, FEEDBACK)
    # Where nothing is fed back, it is one pass
    told = backtest(linear, INPUTS, np.array([22]), ZERO, STEPS, (None, None, None), horizon=0)
    np.testing.assert_array_equal(told[0], linear(INPUTS[None], ZERO)[0][0, 22 : 22 + STEPS])


def one_by_one(predict, known, state, steps, reset_every):
    """The forecast [steps] of a model of one channel, after `known` [horizon]: one number in, one out."""
    inputs = known.tolist()
    for i in range(steps):
        if reset_every and i % reset_every == 0:
            state = [np.zeros_like(tensor) for tensor in state]
        prediction, state = predict(np.full((1, 1, 1), inputs[i]), state)
        inputs.append(prediction.item())
    return np.array(inputs[len(known) :])


@pytest.mark.parametrize("cell", CELLS)
def test_a_model_of_one_channel_is_fed_one_number_after_the_other(cell):
    bias = {"forget_bias": 1.0} if cell == "lstm" else {}
    model = build_model(cell, 3, hidden_stddev=1.0, hidden_bias=0.1, seed=1, **bias)
    predict, zeros = compile_prediction(model), zero_state(model, 1)
    inputs = np.sin(np.arange(60) / 3).astype(np.float32)[:, None]
    begins = np.array([0, 7, 20, 48])
    for reset_every in (None, 5):
        made = backtest(predict, inputs, begins, zeros, 12, (0,), horizon=2, reset_every=reset_every)
        for origin, forecast in zip(begins, made[..., 0], strict=True):
            state = predict(inputs[None, :origin], zeros)[1] if origin else zeros
            known = inputs[origin : origin + 2]
            alone = one_by_one(predict, known.ravel(), state, 12, reset_every)
            np.testing.assert_allclose(forecast, alone, atol=1e-6)  # rows in a batch are rounded otherwise
            one = roll_out(predict, known[None], state, 12, (0,), reset_every=reset_every)
            np.testing.assert_array_equal(one.ravel(), alone)


def test_origins_are_evenly_spaced_and_each_is_one():
    np.testing.assert_array_equal(origins(3, 13, 5), [3, 5, 8, 10, 13])
    np.testing.assert_array_equal(origins(3, 5, 100), [3, 4, 5])
    np.testing.assert_array_equal(origins(3, 13, 1), [3])
    assert not len(origins(3, 2, 5))
    np.testing.assert_array_equal(ahead(np.arange(9), np.array([0, 6]), 3), [[0, 1, 2], [6, 7, 8]])
