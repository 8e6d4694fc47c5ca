import itertools

import numpy as np
import pytest
import tensorflow as tf

from lstm_lab.science import truncation_bias as bias
from lstm_lab.science.model import build_model
from lstm_lab.science.training import Batch, cost_of
from lstm_lab.science.truncation import truncated

ROWS, TIME, SIZE = 3, 6, 4
SIZES = {"input_size": 2, "output_size": 3}
CHANCES = np.array([0.3, 0.5, 0.2, 0.6, 0.4])  # of a cut before the steps 1 to 5


@pytest.fixture(scope="module")
def window():
    """A model, a batch of which not all steps count, and the state before it."""
    model = build_model("lstm", SIZE, **SIZES, hidden_stddev=1.0, hidden_bias=0.1, seed=0, forget_bias=1.0)
    draw = np.random.default_rng(0).standard_normal
    x, target = (tf.constant(draw((ROWS, TIME, size)), tf.float32) for size in SIZES.values())
    weights = tf.constant(np.random.default_rng(1).integers(0, 3, (ROWS, TIME)), tf.float32)
    return model, Batch(x, target, weights), [tf.constant(draw((ROWS, SIZE)), tf.float32) for _ in range(2)]


@pytest.fixture(scope="module")
def parts(window):
    model, batch, state = window
    return bias.compile_parts(model)(batch, state).numpy()


def gradient(window, forward):
    """By Keras's layers and automatic differentiation, the variables' one after the other."""
    model, batch, state = window
    with tf.GradientTape() as tape:
        cost = cost_of(forward([batch.x, *state])[0], batch.target, batch.weights)
    return np.concatenate([g.numpy().ravel() for g in tape.gradient(cost, model.trainable_variables)])


def step_by_step(model, factors):
    """The model, but that the gradient from step t to the state before it is multiplied by factors[t]."""

    @tf.custom_gradient
    def multiplied(tensor, factor):
        return tf.identity(tensor), lambda upstream: (upstream * factor, None)

    def forward(inputs):
        x, *state = inputs
        predictions = []
        for t, factor in enumerate(factors):
            state = [multiplied(tensor, tf.constant(factor, tf.float32)) for tensor in state]
            prediction, *state = model([x[:, t : t + 1], *state])
            predictions.append(prediction)
        return [tf.concat(predictions, 1), *state]

    return forward


def weighed(parts, shares):
    return np.einsum("et,etp->p", shares, parts)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_the_parts_add_up_to_the_gradient(window, parts):
    assert parts.shape[:2] == (TIME, TIME)
    close(parts.sum((0, 1)), gradient(window, window[0]))


def test_no_error_depends_on_a_later_use_of_the_weights(parts):
    assert not parts[np.triu_indices(TIME, 1)].any()
    assert all(parts[index].any() for index in zip(*np.tril_indices(TIME), strict=True))


@pytest.mark.parametrize("length", [1, 2, 3, 6])
def test_the_shares_of_a_truncation_give_the_gradient_that_it_trains_with(window, parts, length):
    model = window[0]
    chunks, every = truncated(model, length, length), truncated(model, length, 1)
    close(weighed(parts, bias.in_chunks(TIME, length)), gradient(window, chunks))
    close(weighed(parts, bias.from_every_step(TIME, length)), gradient(window, every))


@pytest.mark.parametrize("factors", [[1, 0.5, 2, 3, 0, 1.5], [7, 2, 2, 2, 2, 2], [1, 0, 4, 0, 1.25, 1.25]])
def test_a_gradient_is_multiplied_on_its_way_back(window, parts, factors):
    close(weighed(parts, bias.randomised(np.array([factors]))), gradient(window, step_by_step(window[0], factors)))


def test_the_mean_over_all_cuts_by_their_probability_is_the_full_gradient(window, parts):
    mean = 0.0
    for cuts in itertools.product([False, True], repeat=TIME - 1):
        factors = np.where(cuts, 0.0, 1 / (1 - CHANCES))
        probability = np.where(cuts, CHANCES, 1 - CHANCES).prod()
        mean += probability * weighed(parts, bias.randomised(np.array([[1.0, *factors]])))
    close(mean, gradient(window, window[0]))


@pytest.mark.parametrize("law", [bias.constant, bias.heavy_tailed])
def test_on_average_over_all_draws_each_part_counts_once(law):
    """The draws of the module, of which each comes as often as it is probable: by a stand-in for the random numbers."""
    chance, mean, total = law(3.0), np.zeros((TIME, TIME)), 0.0
    for cuts in itertools.product([False, True], repeat=TIME - 1):
        drawn = Scripted(cuts)
        factors = bias.draw_factors(drawn, 1, TIME, chance)
        since, probability = 0, 1.0
        for cut in cuts:
            since += 1
            of_cut = float(chance(np.array([since]))[0])
            probability *= of_cut if cut else 1 - of_cut
            since *= not cut
        mean, total = mean + probability * bias.randomised(factors), total + probability
    np.testing.assert_allclose(total, 1.0, rtol=1e-12)
    np.testing.assert_allclose(mean, np.tril(np.ones((TIME, TIME))), rtol=1e-12)


class Scripted:
    """Random numbers that are 0 where there is to be a cut, and just below 1 elsewhere."""

    def __init__(self, cuts):
        self.cuts = iter(cuts)

    def random(self, size):
        return np.full(size, 0.0 if next(self.cuts) else 1 - 1e-12)


def test_without_cuts_it_is_the_full_gradient_and_with_certain_ones_that_of_one_step():
    draw = np.random.default_rng(0)
    never = bias.draw_factors(draw, 5, TIME, lambda since: np.zeros_like(since))
    np.testing.assert_array_equal(bias.randomised(never), np.tril(np.ones((TIME, TIME))))
    for law in (bias.constant, bias.heavy_tailed):
        certain = bias.draw_factors(draw, 5, TIME, law(1.0))
        np.testing.assert_array_equal(bias.randomised(certain), np.eye(TIME))


@pytest.mark.parametrize("law", [bias.constant, bias.heavy_tailed])
@pytest.mark.parametrize("length", [2.0, 5.0])
def test_the_mean_length_of_a_piece_is_the_one_asked_for(law, length):
    """The mean is the sum over n of the chance that a piece goes on for n steps."""
    chances = law(length)(np.arange(1.0, 1e6))
    np.testing.assert_allclose(1 + np.cumprod(1 - chances).sum(), length, rtol=1e-4)


def test_a_long_pieces_factors_multiply_up_to_a_power_or_exponentially():
    """Of 40 and of 80 steps without a cut, where pieces have 5 steps on average; both closed forms by hand."""
    of = {law: np.cumprod(1 / (1 - law(5.0)(np.arange(1.0, 81.0)))) for law in (bias.constant, bias.heavy_tailed)}
    np.testing.assert_allclose(of[bias.constant][[39, 79]], [1.25**40, 1.25**80], rtol=1e-10)
    # (10 + j) / (7 + j) for j = 1 ... n: (n + 8) (n + 9) (n + 10) / (8 * 9 * 10)
    powers = [48 * 49 * 50 / 720, 88 * 89 * 90 / 720]
    np.testing.assert_allclose(of[bias.heavy_tailed][[39, 79]], powers, rtol=1e-10)


def test_relative_errors_by_hand(parts):
    full = parts.sum((0, 1))
    shares = np.stack([np.tril(np.ones((TIME, TIME))), np.eye(TIME), np.zeros((TIME, TIME))])
    of_one_step = np.linalg.norm(parts[range(TIME), range(TIME)].sum(0) - full) / np.linalg.norm(full)
    found = bias.relative_errors(parts, shares)
    assert found[0] == 0.0
    np.testing.assert_allclose(found[1:], [of_one_step, 1.0], rtol=1e-5)
    assert of_one_step > 0.01


def test_a_chunk_as_long_as_the_window_has_no_error(parts):
    shares = np.stack([bias.in_chunks(TIME, TIME), bias.from_every_step(TIME, TIME)])
    np.testing.assert_array_equal(bias.relative_errors(parts, shares), [0.0, 0.0])
