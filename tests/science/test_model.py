import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from lstm_lab.science.model import build_model, spawn_seeds, with_units, zero_state

RECIPE: dict[str, Any] = {"cell": "lstm", "cell_size": 10, "hidden_stddev": 1.0, "hidden_bias": 0.1, "forget_bias": 1.0}


def build(cell="lstm", seed=0, **changes) -> keras.Model:
    recipe = RECIPE | {"cell": cell} | changes
    if cell != "lstm":
        del recipe["forget_bias"]
    return build_model(**recipe, seed=seed)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_lstm_is_the_textbooks():
    """Hochreiter and Schmidhuber's cell with forget gate (Goodfellow et al., Deep Learning, section 10.10.1)."""
    model = build(cell_size=3, seed=4)
    w_in, b_in, kernel, recurrent, bias, w_out, b_out = (w.astype(np.float64) for w in model.get_weights())
    rng = np.random.default_rng(0)
    x, h, c = rng.normal(size=(2, 5, 1)), rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    prediction, final_h, final_c = model([v.astype(np.float32) for v in (x, h, c)])
    outputs = []
    for t in range(5):
        z = (x[:, t] @ w_in + b_in) @ kernel + h @ recurrent + bias
        i, f, g, o = np.split(z, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h @ w_out + b_out)
    np.testing.assert_allclose(prediction, np.stack(outputs, axis=1), atol=2e-6)
    np.testing.assert_allclose(final_h, h, atol=1e-6)
    np.testing.assert_allclose(final_c, c, atol=1e-6)


def test_simple_rnn_is_the_textbooks():
    model = build("simple_rnn", cell_size=3)
    w_in, b_in, kernel, recurrent, bias, w_out, b_out = model.get_weights()
    x, h = np.full((1, 4, 1), 0.5, np.float32), np.zeros((1, 3), np.float32)
    prediction, final_h = model([x, h])
    for t in range(4):
        h = np.tanh((x[:, t] @ w_in + b_in) @ kernel + h @ recurrent + bias)
    np.testing.assert_allclose(final_h, h, atol=1e-6)
    np.testing.assert_allclose(prediction[:, -1], h @ w_out + b_out, atol=1e-6)


@pytest.mark.parametrize(("cell", "states"), [("lstm", 2), ("gru", 1), ("simple_rnn", 1)])
def test_two_windows_with_the_state_carried_are_one_long_window(cell, states):
    model = build(cell)
    x = tf.constant(np.random.default_rng(1).normal(size=(4, 6, 1)), tf.float32)
    state = [tf.constant(tensor) for tensor in zero_state(model, 4)]
    assert [s.shape for s in state] == [(4, 10)] * states
    whole, *end = model([x, *state])
    first, *carried = model([x[:, :3], *state])
    second, *final = model([x[:, 3:], *carried])
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, atol=1e-6)
    for x, y in zip(final, end, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)


@pytest.mark.parametrize(("cell", "kernels"), [("lstm", 4), ("gru", 3), ("simple_rnn", 1)])
def test_initial_weights_follow_the_recipe(cell, kernels):
    n = 100  # large enough for the spread to show
    w_in, b_in, kernel, recurrent, bias, w_out, b_out = build(cell, cell_size=n).get_weights()
    assert w_in.shape == (1, n)
    assert w_out.shape == (n, 1)
    for normal in (w_in, w_out):
        assert abs(normal.std() - 1) < 0.25
        assert abs(normal.mean()) < 0.35
    np.testing.assert_array_equal(np.concatenate([b_in, b_out]), np.full(n + 1, 0.1, np.float32))
    limit = math.sqrt(6 / ((n + n) + kernels * n))  # rows: input and recurrent stacked
    for uniform in (kernel, recurrent):
        assert uniform.shape == (n, kernels * n)
        assert 0.99 * limit < np.abs(uniform).max() <= limit
        assert abs(uniform.std() - limit / math.sqrt(3)) < 0.02 * limit
    expected = np.zeros_like(bias)
    if cell == "lstm":
        expected[n : 2 * n] = 1.0
    np.testing.assert_array_equal(bias, expected)


def test_memory_steps_begin_by_keeping_the_state():
    """An LSTM's forget gate and a GRU's update gate by T / (T + 1), an LSTM's input gate by 1 / (T + 1)."""
    ln_t = 3.912023  # of 50
    lstm = build(cell_size=2, forget_bias=0.0, memory_steps=50).get_weights()[4]
    np.testing.assert_allclose(lstm, [-ln_t, -ln_t, ln_t, ln_t, 0, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(sigmoid(lstm[[0, 2]]), [1 / 51, 50 / 51], rtol=1e-5)
    lstm = build(cell_size=2, forget_bias=1.0, memory_steps=50).get_weights()[4]
    np.testing.assert_allclose(lstm, [-ln_t, -ln_t, ln_t + 1, ln_t + 1, 0, 0, 0, 0], atol=1e-6)
    gru = build("gru", cell_size=2, memory_steps=50).get_weights()[4]
    np.testing.assert_allclose(gru, [[ln_t, ln_t, 0, 0, 0, 0], [0] * 6], atol=1e-6)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_gates_of_that_bias_keep_a_state_so_long(cell):
    """Of a cell state with nothing else than its biases, (T / (T + 1))^T is left after T steps, about 1/e."""
    model = build(cell, cell_size=3, memory_steps=50, **({"forget_bias": 0.0} if cell == "lstm" else {}))
    weights = model.get_weights()
    model.set_weights([*(np.zeros_like(array) for array in weights[:4]), weights[4], *weights[5:]])
    *_, kept = model([np.zeros((1, 50, 1), np.float32), *[np.ones((1, 3), np.float32)] * len(model.inputs[1:])])
    np.testing.assert_allclose(kept, np.full((1, 3), (50 / 51) ** 50), rtol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru", "simple_rnn"])
def test_with_one_step_of_memory_the_bias_is_zero_to_the_bit_but_for_the_forget_bias(cell):
    bias = build(cell, cell_size=2, memory_steps=1).get_weights()[4]
    expected = np.zeros_like(bias)  # every bit of a -0.0 would show
    if cell == "lstm":
        expected[2:4] = 1.0
    assert bias.tobytes() == expected.tobytes()
    others = [build(cell, cell_size=2, memory_steps=steps).get_weights() for steps in (1, 50)]
    assert all(np.array_equal(a, b) for i, (a, b) in enumerate(zip(*others, strict=True)) if i != 4)


def test_the_seed_alone_decides_the_weights():
    a, again, other = build(seed=3).get_weights(), build(seed=3).get_weights(), build(seed=4).get_weights()
    for x, y in zip(a, again, strict=True):
        np.testing.assert_array_equal(x, y)
    assert not np.array_equal(a[0], other[0])
    assert not np.array_equal(a[2], other[2])
    assert not np.array_equal(a[2], a[3])  # no two layers draw the same numbers
    assert len(set(spawn_seeds(0, 100))) == 100


def test_saved_model_loads_in_safe_mode_and_answers_alike(tmp_path):
    model = build()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    inputs = [np.ones((2, 20, 1), np.float32), *zero_state(model, 2)]
    for x, y in zip(model(inputs), loaded(inputs), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(("cell", "kernels"), [("lstm", 4), ("gru", 3), ("simple_rnn", 1)])
def test_an_orthogonal_recurrent_kernel_has_orthonormal_rows_and_leaves_the_other_weights(cell, kernels):
    recipe = {**RECIPE, "cell": cell, "forget_bias": 1.0 if cell == "lstm" else None}
    usual, other = (
        build_model(**recipe, recurrent_initializer=name, seed=0).get_weights() for name in ("glorot", "orthogonal")
    )
    assert other[3].shape == (10, kernels * 10)
    np.testing.assert_allclose(other[3] @ other[3].T, np.eye(10), atol=1e-5)
    assert all(np.array_equal(a, b) for i, (a, b) in enumerate(zip(usual, other, strict=True)) if i != 3)


CALLS = {
    "arrays": lambda model, inputs: model([np.asarray(tensor) for tensor in inputs]),
    "tensors": lambda model, inputs: model([tf.convert_to_tensor(tensor) for tensor in inputs]),
    "on a batch": lambda model, inputs: model.predict_on_batch(inputs),
    "on a batch, mixed": lambda model, inputs: model.predict_on_batch([inputs[0], *map(tf.constant, inputs[1:])]),
    "predict": lambda model, inputs: model.predict(inputs, verbose=0),
}


@pytest.fixture
def floatx():
    """Keras's default type of numbers, as it is without a word of ours."""
    yield keras.config.set_floatx
    keras.config.set_floatx("float32")


@pytest.mark.parametrize("unit", [None, (1.5e9, 40.0)], ids=["plain", "in units"])
@pytest.mark.parametrize("way", CALLS)
def test_each_way_of_calling_passes_the_state_on(way, unit, floatx):
    """As the page says of them; `predict` alone must be told that float64 is to stay."""
    plain, (mean, stddev) = build(seed=2), unit or (0.0, 1.0)
    model = with_units(plain, *[np.array([[mean], [stddev]])] * 2) if unit else plain
    if way == "predict":
        floatx("float64")
    x = np.sin(np.arange(30) / 5).reshape(1, 30, 1)
    state, found = zero_state(model, 1), []
    for window in np.split(mean + stddev * x, 3, axis=1):
        prediction, *state = CALLS[way](model, [window, *state])
        found.append((np.asarray(prediction) - mean) / stddev)
    np.testing.assert_allclose(np.hstack(found), plain([x, *zero_state(plain, 1)])[0], atol=2e-6)


def test_units_are_exact_where_float32_ends_and_differ_between_input_and_target(tmp_path):
    plain = build(seed=2)
    with_units(plain, np.array([[-4e15], [900.0]]), np.array([[2e-99], [1e-100]])).save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    x = np.round(900 * np.sin(np.arange(20) / 5)).reshape(1, 20, 1)
    expected, *state = plain([x / 900, *zero_state(plain, 1)])
    found, *found_state = model([x - 4e15, *zero_state(model, 1)])
    np.testing.assert_allclose(found / 1e-100 - 20, expected, atol=1e-6)
    for one, other in zip(found_state, state, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert [tensor.dtype for tensor in (*model.inputs, *model.outputs)] == ["float64", "float32", "float32"] * 2
