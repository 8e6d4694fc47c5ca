"""Forecasts from many origins at once, against each made alone, after the whole stretch before it."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_lab.science.backtest import ahead, forecasts, origins_in, roll_out
from lstm_lab.science.curves import Continuation
from lstm_lab.science.evaluation import compile_prediction
from lstm_lab.science.model import CELLS, build_model, zero_state

SAMPLES, STEPS, FIRST, HELD_OUT = 40, 9, 12, 25
# Two targets of three inputs: target 1 is input 0, target 0 is input 1; input 2 is known beforehand
FEEDBACK = (1, 0, None)
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


def written_out(inputs, origin, horizon, reset_every=None):
    """The forecast [steps, targets] from an origin: sample by sample, from the beginning."""
    series, level, made = inputs.copy(), np.zeros((1, 2)), []
    for n in range(origin + STEPS):
        if reset_every and n % reset_every == 0:
            level = np.zeros((1, 2))
        (prediction,), (level,) = linear(series[None, n : n + 1], [level])
        if n >= origin:
            made.append(prediction[0])
            if n + horizon < SAMPLES:
                series[n + horizon, [1, 0]] = prediction[0]
    return np.array(made)


def stretch(inputs=INPUTS, horizon=1, **changes):
    targets = np.arange(2.0 * len(inputs)).reshape(-1, 2)
    found = Continuation(np.arange(len(inputs)), inputs, targets, FIRST, FIRST, horizon, same=FEEDBACK[:2])
    return replace(found, **{"held_out": HELD_OUT} | changes)


@pytest.mark.parametrize("reset_every", [None, 4])
@pytest.mark.parametrize("horizon", [1, 3, 12])
def test_every_origins_forecast_is_the_one_made_alone_from_there(horizon, reset_every):
    weights = np.arange(SAMPLES) != 30
    other = stretch(INPUTS[::-1], horizon, held_out=10, weights=weights)  # of a series that is held out earlier
    made = forecasts(linear, ZERO, [stretch(horizon=horizon), other], STEPS, count=8, reset_every=reset_every)
    assert (np.diff(made.since) >= 0).all()
    np.testing.assert_array_equal(made.since, made.sample - np.array([HELD_OUT, 10])[made.stretch])
    assert set(made.stretch) == {0, 1}
    for i, (which, origin) in enumerate(zip(made.stretch, made.sample, strict=True)):
        inputs = (INPUTS, INPUTS[::-1])[which]
        np.testing.assert_array_equal(made.made[i], written_out(inputs, origin, horizon, reset_every))
        truths = ahead(np.arange(2.0 * SAMPLES).reshape(-1, 2), np.array([origin]), STEPS)[0]
        truths[[which == 1 and origin + lead == 30 for lead in range(STEPS)]] = np.nan
        np.testing.assert_array_equal(made.truths[i], truths)


def test_what_is_known_beforehand_is_read_and_what_is_fed_back_is_not():
    hidden = INPUTS.copy()
    hidden[28:, :2] = np.nan
    made = forecasts(linear, ZERO, [stretch(hidden, horizon=3)], STEPS, count=1)
    at = made.sample == HELD_OUT
    np.testing.assert_array_equal(made.made[at][0], written_out(INPUTS, HELD_OUT, 3))
    _, state = linear(INPUTS[None, :HELD_OUT], ZERO)
    known, future = INPUTS[None, HELD_OUT : HELD_OUT + 3], INPUTS[None, HELD_OUT + 3 :]
    np.testing.assert_array_equal(roll_out(linear, known, state, STEPS, FEEDBACK, future), made.made[at])
    with pytest.raises(ValueError, match="future"):
        roll_out(linear, known, state, STEPS, FEEDBACK)
    np.testing.assert_array_equal(roll_out(linear, known, state, 3, FEEDBACK), made.made[at][:, :3])


def test_that_a_value_will_miss_is_not_known_beforehand():
    """An indicator of an input that is fed back tells nothing, one of an input whose future is known does."""
    inputs = INPUTS.copy()
    inputs[:, 1:] = 1  # of one input, and two indicators
    made = forecasts(linear, ZERO, [stretch(inputs, same=(0,), indicators=2)], 2, count=1)
    inputs[HELD_OUT + 1 :, 1] = 0
    again = forecasts(linear, ZERO, [stretch(inputs, same=(0,))], 2, count=1)
    at = made.sample == HELD_OUT
    np.testing.assert_array_equal(made.made[at], again.made[at])


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
    for reset_every in (None, 5):
        args = {"horizon": 2, "same": (0,), "first": 0, "held_out": 0}
        made = forecasts(predict, zeros, [stretch(inputs, **args)], 12, count=7, reset_every=reset_every)
        for origin, forecast in zip(made.sample, made.made[..., 0], strict=True):
            begin = origin - origin % reset_every if reset_every else 0
            state = predict(inputs[None, begin:origin], zeros)[1] if origin > begin else zeros
            known = inputs[origin : origin + 2]
            one = roll_out(predict, known[None], state, 12, (0,), reset_every=reset_every, gone=origin)
            np.testing.assert_allclose(forecast, one.ravel(), atol=1e-6)  # rows in a batch are rounded otherwise
            if not reset_every or origin % reset_every == 0:
                np.testing.assert_array_equal(one.ravel(), one_by_one(predict, known.ravel(), state, 12, reset_every))


def test_origins_are_evenly_spaced_over_what_is_held_out_and_go_on_as_close_through_what_is_for_validation():
    def found(count, *shapes, steps=3):
        curves = [stretch(INPUTS[:n], first=first, held_out=held) for n, first, held in shapes]
        return [origins.tolist() for origins in origins_in(curves, steps, count)]

    assert found(5, (40, 12, 25)) == [[13, 16, 19, 22, 25, 28, 31, 34, 37]]
    assert found(100, (40, 33, 35)) == [[33, 34, 35, 36, 37]]
    assert found(1, (40, 12, 25)) == [[12, 25]]
    assert found(2, (10, 0, 5), (10, 0, 5)) == [[1, 4, 5], [2, 5]]  # of all numbers in a row
    # No whole forecast; a stretch before all that is held out, and one behind
    assert found(9, (10, 8, 8), (10, 0, 12), (10, 2, -5)) == [[], list(range(8)), list(range(2, 8))]
