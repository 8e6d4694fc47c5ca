import keras
import numpy as np
import pytest

from lstm_lab.science.gradient_flow import state_gradient_norms
from lstm_lab.science.model import build_model

BACK = 12


def linear_recurrence(radius, size=5):
    """h <- h (radius Q) + x U with Q orthogonal: each step back multiplies a gradient's norm by the radius, exactly."""
    x, before = keras.Input((None, 1)), keras.Input((size,))
    layer = keras.layers.SimpleRNN(size, activation=None, return_sequences=True, return_state=True)
    hidden, after = layer(x, initial_state=[before])
    model = keras.Model([x, before], [keras.layers.Dense(1)(hidden), after])
    draw = np.random.default_rng(0).standard_normal
    orthogonal = np.linalg.qr(draw((size, size)))[0]
    layer.set_weights([draw((1, size)), radius * orthogonal, np.zeros(size)])
    return model


def batch(seed=1, time=BACK + 3):
    return np.random.default_rng(seed).standard_normal((2, 4, time, 1)).astype(np.float32)


@pytest.mark.parametrize("radius", [0.9, 1.0, 1.1])
def test_a_linear_recurrence_multiplies_the_gradient_by_its_spectral_radius(radius):
    inputs, targets = batch()
    norms = state_gradient_norms(linear_recurrence(radius), BACK)(inputs, targets, [np.zeros((4, 5), np.float32)])
    np.testing.assert_allclose(norms / norms[0], radius ** np.arange(BACK), rtol=1e-4)


def test_the_gradient_of_an_lstm_is_the_slope_of_its_error():
    """Against finite differences: the state a few steps back is moved, the error at the end is looked at."""
    sizes = {"input_size": 3, "output_size": 2}
    model = build_model("lstm", 4, **sizes, hidden_stddev=1.0, hidden_bias=0.1, seed=0, forget_bias=1.0)
    draw = np.random.default_rng(1).standard_normal
    inputs, targets = (draw((4, 6, size)).astype(np.float32) for size in sizes.values())
    zero = [np.zeros((4, 4), np.float32)] * 2
    _, *state = model([inputs[:, :3], *zero])
    state = [tensor.numpy() for tensor in state]

    def error(moved):
        prediction, *_ = model([inputs[:, 3:], *moved])
        return float(((prediction[:, -1] - targets[:, -1]).numpy().astype(float) ** 2).sum())

    squares, step = 0.0, 1e-2
    for part in range(2):
        for index in np.ndindex(4, 4):
            up, down = ([tensor.copy() for tensor in state] for _ in range(2))
            up[part][index] += step
            down[part][index] -= step
            squares += ((error(up) - error(down)) / (2 * step)) ** 2
    norms = state_gradient_norms(model, 3)(inputs, targets, zero)
    np.testing.assert_allclose(norms[2], np.sqrt(squares), rtol=1e-2)
