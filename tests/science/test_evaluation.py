"""The curve goes on where training stopped: compared with one long run of the model over the same samples."""

import math

import numpy as np
import pytest

from lstm_lab.science import evaluation
from lstm_lab.science.curves import Batches, Continuation
from lstm_lab.science.evaluation import baselines, errors_of, evaluate, least_squares, measure, rolled_out
from lstm_lab.science.model import CELLS, build_model, zero_state
from lstm_lab.science.training import ChunkOptions, Program, build_optimizer, train

STEPS, ROWS, TIME = 7, 4, 5
CURVES = {
    "sine_to_cosine": {},
    "noisy_sines_to_derivative": {
        "amplitudes": [0.6, 0.3], "frequencies": [1.0, 2.3], "noise_stddev": 0.05, "noise_seed": 7,
    },
}  # fmt: skip


def curve_batches(curve="sine_to_cosine"):
    return Batches(curve, ROWS, TIME, sample_spacing=0.1, **CURVES[curve])


def small_model(cell="lstm"):
    return build_model(
        cell, 3, hidden_stddev=1.0, hidden_bias=0.1, seed=1, **{"forget_bias": 1.0} if cell == "lstm" else {}
    )


def last_state(model, batches, carry_state=True):
    """The state after STEPS steps that change no weight: then it can only be that of the samples gone through."""
    program = Program(
        model,
        build_optimizer("sgd", learning_rate=0.0),
        ChunkOptions(ROWS, carry_state=carry_state, jit_compile=False),
    )
    *_, last = train(program.chunk, batches, zero_state(model, ROWS), steps=STEPS, chunk_steps=3)
    return [np.asarray(tensor)[-1:] for tensor in last.state]


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("cell", CELLS)
def test_the_last_rows_state_stands_exactly_at_the_first_sample_never_trained_on(cell, curve):
    model, batches = small_model(cell), curve_batches(curve)
    unseen = batches.unseen(STEPS, windows=6)
    evaluated = evaluate(model, unseen, last_state(model, batches), time_steps=TIME, carry_state=True)
    # Row ROWS - 1 began at window ROWS - 1: from there to the end of what is evaluated, in one go
    whole = batches.rows(ROWS - 1, STEPS + 6).inputs.reshape(1, -1, 1)
    expected = np.asarray(model([whole, *zero_state(model, 1)])[0]).ravel()[STEPS * TIME :]
    np.testing.assert_allclose(evaluated.prediction[:, 0], expected, atol=1e-6)
    assert len(expected) == 6 * TIME


def test_without_carry_every_window_starts_from_zero():
    model, batches = small_model(), curve_batches()
    state = last_state(model, batches, carry_state=False)
    evaluated = evaluate(model, batches.unseen(STEPS, windows=6), state, time_steps=TIME, carry_state=False)
    alone = [model([window[None], *zero_state(model, 1)])[0] for window in batches.rows(STEPS - 1 + ROWS, 6).inputs]
    np.testing.assert_allclose(evaluated.prediction[:, 0], np.ravel(alone), atol=1e-6)


@pytest.mark.parametrize("reset_every", [None, 5])
def test_stretches_side_by_side_are_forecast_as_each_alone(reset_every, monkeypatch):
    """Of whatever lengths, also shorter than the horizon, with an indicator behind the inputs."""
    rng, model = np.random.default_rng(0), build_model("gru", 3, hidden_stddev=1, hidden_bias=0, seed=1, input_size=2)
    stretches, states = [], []
    for length in (9, 30, 1, 14):
        inputs = rng.normal(size=(length + 6, 2)).astype(np.float32)
        same = {"horizon": 3, "same": (0,), "indicators": 1}
        stretches.append(Continuation(np.arange(length + 6), inputs, inputs[:, :1], 6, 6, **same))
        states.append([rng.normal(size=(1, 3)).astype(np.float32)])
    together = rolled_out(model, stretches, states, reset_every)
    monkeypatch.setattr(evaluation, "SIDE_BY_SIDE", 1)
    for length, one, alone in zip(
        (9, 30, 1, 14), together, rolled_out(model, stretches, states, reset_every), strict=True
    ):
        assert one["rollout"].shape == (length, 1)
        for name in ("rollout", "rollout_persistence"):
            np.testing.assert_allclose(one[name], alone[name], atol=1e-6)


@pytest.mark.parametrize("windows", [1, 6, 30])
def test_the_continuation_begins_right_after_the_last_sample_trained_on(windows):
    batches = curve_batches()
    [stretch] = batches.unseen(STEPS, windows)
    trained = batches.rows(STEPS - 1, ROWS).x
    assert stretch.x[stretch.first - 1] == trained[-1, -1]
    assert stretch.x[stretch.first] > trained.max()
    assert len(stretch.x) - stretch.first == windows * TIME
    assert stretch.x[0] >= 0
    assert stretch.first == min(windows, STEPS - 1 + ROWS) * TIME
    np.testing.assert_array_equal(stretch.targets[:, 0], np.cos(stretch.x).astype(np.float32))


def test_the_metrics_of_a_prediction_written_down():
    def measured(target, prediction):
        targets = np.array(target, np.float32)[:, None]
        stretch = Continuation(np.arange(4), targets, targets, 0, 0)
        return measure(errors_of([stretch], [np.array(prediction, np.float32)[:, None]], time_steps=2))

    expected = {"mse": 5 / 4, "rmse": math.sqrt(5 / 4), "mae": 3 / 4, "r2": 1 - 5 / 14, "mse_position_0": 1 / 2}
    assert measured([1, 2, 3, 6], [2, 2, 3, 4]) == pytest.approx(expected)
    assert math.isnan(measured([0] * 4, [0] * 4)["r2"])


def test_least_squares_finds_a_linear_relation_again_and_learns_nothing_from_the_samples_it_is_scored_on():
    inputs = np.random.default_rng(0).normal(size=(300, 1))
    targets = 1 + 2 * inputs - 3 * np.roll(inputs, 2, axis=0)
    stretch = Continuation(np.arange(300), inputs.astype(np.float32), targets.astype(np.float32), 150, 150)
    np.testing.assert_allclose(least_squares(stretch, lags=5), targets[150:], atol=1e-5)
    np.testing.assert_allclose(least_squares(stretch, lags=1).mean(), 1, atol=0.6)  # it cannot see so far back
    stretch.targets[150:] = 0
    np.testing.assert_allclose(least_squares(stretch, lags=5), targets[150:], atol=1e-5)


def test_least_squares_has_no_more_weights_than_samples_tell():
    """As many as there are samples would follow the noise, and explode where an input was hardly ever there."""
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(150, 4)), rng.normal(size=(150, 1))
    stretch = Continuation(np.arange(150), inputs.astype(np.float32), targets.astype(np.float32), 100, 100)
    assert (least_squares(stretch, lags=25) ** 2).mean() < 0.5
    with_one_lag = np.column_stack([inputs, np.ones(150)])
    weights = np.linalg.lstsq(with_one_lag[:30], targets[20:50], rcond=None)[0]
    few = Continuation(np.arange(40), inputs[:40], targets[20:60], 30, 30)
    np.testing.assert_allclose(least_squares(few, lags=25), with_one_lag[30:40] @ weights, rtol=1e-9)


def test_the_baselines_are_what_their_names_say():
    [stretch] = curve_batches().unseen(STEPS, windows=6)
    guesses = baselines(stretch, TIME)
    assert not guesses["predict_zero"].any()
    np.testing.assert_array_equal(guesses["persistence"], stretch.inputs[stretch.first :])
    # cos(x) is a combination of sin(x) and sin(x - d): on the clean curve the straight line is exact
    np.testing.assert_allclose(guesses["least_squares"], stretch.targets[stretch.first :], atol=1e-5)
    evaluated = evaluate(small_model(), [stretch], zero_state(small_model(), 1), time_steps=TIME, carry_state=True)
    x = stretch.x[stretch.first :]
    assert evaluated.metrics["predict_zero_mse"] == pytest.approx((np.cos(x) ** 2).mean(), rel=1e-5)
    assert evaluated.metrics["persistence_mse"] == pytest.approx(((np.sin(x) - np.cos(x)) ** 2).mean(), rel=1e-5)
