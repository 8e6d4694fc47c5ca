import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from helpers import ROOT
from lstm_lab.science.curves import Batches, Rows
from lstm_lab.science.model import build_model, zero_state
from lstm_lab.science.training import (
    COSTS,
    ChunkOptions,
    DivergedError,
    Program,
    build_optimizer,
    compile_chunk,
    cost_of,
    step_graph,
    train,
)

REFERENCE = ROOT / "tests/reference/tutorial_seed0.npz"
ADAM = {"name": "adam", "learning_rate": 0.006, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}


def tutorial_model(cell_size=10, seed=0):
    return build_model("lstm", cell_size, hidden_stddev=1.0, hidden_bias=0.1, seed=seed, forget_bias=1.0)


def tutorial_batches(batch_size=50, time_steps=20):
    return Batches("sine_to_cosine", batch_size, time_steps, sample_spacing=1 / (10 * np.pi))


def fit(model, *, steps, chunk_steps=50, carry_state=True, jit_compile=False, batches=None, optimizer=ADAM):
    batches = batches or tutorial_batches()
    chunk = compile_chunk(
        model,
        build_optimizer(**optimizer),
        ChunkOptions(batches.batch_size, carry_state=carry_state, jit_compile=jit_compile),
    )
    yield from train(chunk, batches, zero_state(model, batches.batch_size), steps=steps, chunk_steps=chunk_steps)


def all_costs(progress):
    return np.concatenate([made.costs for made in progress])


def keras_weights(trace, when):
    """The trace's weights in Keras's layout: gates i, f, g, o instead of i, j, f, o, the forget bias in the bias."""

    def reorder(kernel):
        i, j, f, o = np.split(kernel, 4, axis=-1)
        return np.concatenate([i, f, j, o], axis=-1)

    w_in, b_in, kernel, bias, w_out, b_out = (
        trace[f"{when}_{name}"] for name in ("w_in", "b_in", "lstm_kernel", "lstm_bias", "w_out", "b_out")
    )
    inputs, cell_size = w_in.shape[1], len(bias) // 4
    bias = reorder(bias)
    bias[cell_size : 2 * cell_size] += 1.0
    return [w_in, b_in, reorder(kernel)[:inputs], reorder(kernel)[inputs:], bias, w_out, b_out]


@pytest.mark.parametrize("jit_compile", [False, True], ids=["plain", "xla"])
def test_follows_the_tutorials_own_run(jit_compile):
    """The tutorial's script under TensorFlow 2.15's v1 graph mode; TUTORIAL_TRACE names another trace to follow."""
    trace = np.load(os.environ.get("TUTORIAL_TRACE", REFERENCE), allow_pickle=False)
    model = tutorial_model()
    model.set_weights(keras_weights(trace, "initial"))
    batches = tutorial_batches()
    chunk = compile_chunk(model, build_optimizer(**ADAM), ChunkOptions(50, carry_state=True, jit_compile=jit_compile))

    first = batches.rows(0, 50)
    prediction, h, c = model([first.inputs, *zero_state(model, 50)])
    np.testing.assert_allclose(prediction[..., 0], trace["first_prediction"], atol=1e-5)
    np.testing.assert_allclose(h, trace["first_state_h"], atol=1e-5)
    np.testing.assert_allclose(c, trace["first_state_c"], atol=1e-5)

    progress = list(train(chunk, batches, zero_state(model, 50), steps=len(trace["cost"]), chunk_steps=5))
    np.testing.assert_allclose(progress[0].prediction[..., 0], trace["first_prediction"], atol=1e-5)
    costs = all_costs(progress)
    np.testing.assert_allclose(costs[:50], trace["cost"][:50], rtol=1e-4)
    np.testing.assert_allclose(costs, trace["cost"], rtol=5e-2)


def test_cost_is_the_summed_squared_error_over_the_batch_size():
    prediction = np.array([[[1.0], [2.0]], [[3.0], [4.0]]], np.float32)
    target = np.array([[[0.0], [2.0]], [[5.0], [1.0]]], np.float32)
    assert float(cost_of(tf.constant(prediction), tf.constant(target))) == (1 + 0 + 4 + 9) / 2


HUBER = {0.0: 0.0, 0.5: 0.125, 1.0: 0.5, -1.0: 0.5, -3.0: 2.5, 2.0: 1.5}  # what errors cost


@pytest.mark.parametrize("kind", COSTS)
@pytest.mark.parametrize("weights", [None, [[1.0, 0.0, 0.5]] * 2], ids=["all", "weighted"])
def test_each_cost_is_the_sum_of_what_its_errors_cost_and_pulls_as_keras_has_it(kind, weights):
    errors = np.array(list(HUBER), np.float32).reshape(2, 3, 1)
    target = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3, 1)
    target = np.round(target * 8) / 8  # so that the errors are these to the bit
    each = {"squared": errors**2, "absolute": abs(errors), "huber": np.reshape(list(HUBER.values()), errors.shape)}[
        kind
    ]
    counts = np.ones((2, 3)) if weights is None else np.array(weights)
    prediction = tf.Variable(target + errors)
    loss = {"squared": "mean_squared_error", "absolute": "mean_absolute_error", "huber": "huber"}[kind]
    with tf.GradientTape(persistent=True) as tape:
        cost = cost_of(prediction, tf.constant(target), weights and tf.constant(weights), kind)
        theirs = tf.reduce_sum(getattr(keras.losses, loss)(target, prediction) * counts.astype(np.float32)) / 2
    assert float(cost) == (each[..., 0] * counts).sum() / 2
    np.testing.assert_allclose(float(cost), float(theirs), rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(cost, prediction), tape.gradient(theirs, prediction), rtol=1e-6)


@pytest.mark.parametrize(("kind", "jit_compile"), [("absolute", False), ("huber", False), ("huber", True)])
def test_the_cost_that_is_asked_for_is_the_one_compiled(kind, jit_compile):
    model, batches = tutorial_model(), tutorial_batches(batch_size=3, time_steps=4)
    chunk = compile_chunk(
        model, build_optimizer(**ADAM), ChunkOptions(3, carry_state=True, jit_compile=jit_compile, cost=kind)
    )
    [made] = train(chunk, batches, zero_state(model, 3), steps=1, chunk_steps=1)
    size = np.abs(made.prediction - made.target).astype(float)
    each = {"absolute": size, "huber": np.where(size <= 1, size**2 / 2, size - 0.5)}[kind]
    np.testing.assert_allclose(made.costs, each.sum() / 3, rtol=1e-5)
    rows = batches.chunk(0, 1)
    assert {"cost", "train"} <= {node.name.split("/")[0] for node in step_graph(chunk, rows, zero_state(model, 3)).node}


def test_carrying_the_state_shows_at_the_first_sample_of_each_window():
    """With no memory of the window before, cos(x) at a window's first sample has to be guessed: error about 1/2."""
    error = {}
    for carry in (True, False):
        last = list(fit(tutorial_model(), steps=400, carry_state=carry, jit_compile=True))[-1]
        error[carry] = float(((last.prediction - last.target)[:, 0] ** 2).mean())
    assert error[True] < 0.01
    assert 0.3 < error[False] < 0.7


def test_the_loop_is_steps_done_by_hand_with_the_state_carried():
    by_hand, optimizer, batches = tutorial_model(), build_optimizer(**ADAM), tutorial_batches()
    state = [tf.constant(tensor) for tensor in zero_state(by_hand, 50)]
    expected = []
    for k in range(4):
        rows = batches.rows(k, 50)
        with tf.GradientTape() as tape:
            prediction, *state = by_hand([tf.constant(rows.inputs), *state])
            cost = tf.reduce_sum((prediction - rows.targets) ** 2) / 50
        optimizer.apply(tape.gradient(cost, by_hand.trainable_variables), by_hand.trainable_variables)
        expected.append(float(cost))
    np.testing.assert_allclose(all_costs(fit(tutorial_model(), steps=4, chunk_steps=2)), expected, rtol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["plain", "xla"])
def test_equal_seeds_give_equal_bits_whatever_the_chunks(jit_compile):
    costs = {
        (seed, chunk_steps): all_costs(
            fit(tutorial_model(seed=seed), steps=33, chunk_steps=chunk_steps, jit_compile=jit_compile)
        )
        for seed, chunk_steps in ((0, 7), (0, 33), (1, 7))
    }
    np.testing.assert_array_equal(costs[0, 7], costs[0, 33])
    assert not np.array_equal(costs[0, 7], costs[1, 7])


def test_the_cost_counts_each_step_as_much_as_its_weight():
    prediction, target = tf.reshape(tf.range(12.0), (2, 3, 2)), tf.ones((2, 3, 2))
    squares = np.array([[1 + 0, 1 + 4, 9 + 16], [25 + 36, 49 + 64, 81 + 100]])
    assert float(cost_of(prediction, target)) == squares.sum() / 2
    weights = np.array([[1, 0, 1], [0, 1, 0.5]], np.float32)
    assert float(cost_of(prediction, target, weights)) == (1 + 25 + 113 + 90.5) / 2
    assert float(cost_of(prediction, target, np.zeros((2, 3), np.float32))) == 0


class Drawn:
    """Batches of two inputs and two targets, with weights and rows that start over, or without."""

    batch_size, stride, steps = 3, 3, 6

    def __init__(self, weights=None, starts_over=None):
        rng = np.random.default_rng(0)
        self.inputs, self.targets = rng.normal(size=(2, self.steps * 3, 4, 2)).astype(np.float32)
        self.weights, self.starts_over = weights, starts_over

    def chunk(self, first, steps):
        k = np.minimum(first + np.arange(steps), self.steps - 1)
        n = (3 * k[:, None] + np.arange(3)).ravel()
        weights = None if self.weights is None else self.weights[n]
        fresh = None if self.starts_over is None else self.starts_over[k]
        return Rows(np.zeros((3 * steps, 4)), self.inputs[n], self.targets[n], weights, fresh)


def trained_on(batches, model, jit_compile, learning_rate):
    """Costs, last prediction and state, and weights of six steps, in chunks of four."""
    options = ChunkOptions(3, carry_state=True, jit_compile=jit_compile, stride=3)
    program = Program(model, build_optimizer("sgd", learning_rate=learning_rate), options)
    state = [np.full((3, 3), 0.5, np.float32)] * 2
    made = list(train(program.chunk, batches, state, steps=6, chunk_steps=4))
    return [all_costs(made), made[-1].prediction, *(tensor.numpy() for tensor in made[-1].state), *model.get_weights()]


def two_by_two():
    settings = {"hidden_stddev": 1.0, "hidden_bias": 0.1, "seed": 0, "forget_bias": 1.0}
    return build_model("lstm", 3, input_size=2, output_size=2, **settings)


STARTS = np.array([[0, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]], bool)
WEIGHTS = np.where(np.random.default_rng(1).random((18, 4)) < 0.7, 1, 0).astype(np.float32)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["plain", "xla"])
def test_a_row_starts_over_while_its_neighbours_carry_on_and_what_has_no_weight_teaches_nothing(jit_compile):
    """Against a loop by hand: each row by itself, one window at a time, with Keras's layers and a gradient tape."""
    model, batches = two_by_two(), Drawn(WEIGHTS, STARTS)
    states, costs = [[np.full((1, 3), 0.5, np.float32)] * 2] * 3, []
    for k in range(6):
        with tf.GradientTape() as tape:
            cost = 0.0
            for b in range(3):
                state = [np.zeros((1, 3), np.float32)] * 2 if STARTS[k, b] else states[b]
                prediction, *states[b] = model([*map(tf.constant, (batches.inputs[[3 * k + b]], *state))])
                squares = (prediction[0] - batches.targets[3 * k + b]) ** 2
                cost += tf.reduce_sum(squares[WEIGHTS[3 * k + b] == 1]) / 3
        costs.append(float(cost))
        gradients = tape.gradient(cost, model.trainable_variables)
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
            variable.assign(variable - 0.01 * gradient)
    expected = [np.concatenate(tensors) for tensors in zip(*states, strict=True)]
    found = trained_on(batches, two_by_two(), jit_compile, 0.01)
    np.testing.assert_allclose(found[0], costs, rtol=1e-5)
    for one, other in zip(found[2:], [*expected, *model.get_weights()], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["plain", "xla"])
def test_weights_of_one_and_no_row_that_starts_over_are_the_bits_without_them(jit_compile):
    plain = trained_on(Drawn(), two_by_two(), jit_compile, 0.01)
    ones, nowhere = np.ones((18, 4), np.float32), np.zeros((6, 3), bool)
    with_both = trained_on(Drawn(ones, nowhere), two_by_two(), jit_compile, 0.01)
    assert [array.tobytes() for array in plain] == [array.tobytes() for array in with_both]


def test_progress_comes_after_the_first_step_and_then_chunk_by_chunk():
    batches = tutorial_batches(batch_size=3, time_steps=4)
    made = list(fit(tutorial_model(), steps=11, chunk_steps=4, batches=batches))
    assert [progress.step for progress in made] == [1, 4, 8, 11]
    assert [len(progress.costs) for progress in made] == [1, 3, 4, 3]
    for progress in made:
        np.testing.assert_array_equal(progress.x, batches.rows(progress.step - 1, 3).x)
        np.testing.assert_array_equal(progress.target, batches.rows(progress.step - 1, 3).targets)
        cost = ((progress.prediction - progress.target) ** 2).sum() / 3
        np.testing.assert_allclose(progress.costs[-1], cost, rtol=1e-6)


def test_a_diverging_run_yields_what_it_has_and_names_the_step():
    made = []
    diverging = fit(tutorial_model(), steps=400, optimizer={"name": "sgd", "learning_rate": 1e6})
    with pytest.raises(DivergedError) as raised:
        made.extend(diverging)
    costs = all_costs(made)
    assert not np.isfinite(costs[raised.value.step])
    assert np.isfinite(costs[: raised.value.step]).all()


def test_new_weights_and_learning_rate_need_no_new_compilation():
    model, optimizer, batches = tutorial_model(), build_optimizer(**ADAM), tutorial_batches()
    chunk = compile_chunk(model, optimizer, ChunkOptions(50, carry_state=True, jit_compile=False))
    for seed in range(3):
        model.set_weights(tutorial_model(seed=seed).get_weights())
        optimizer.learning_rate = 0.001 * (seed + 1)
        list(train(chunk, batches, zero_state(model, 50), steps=6, chunk_steps=3))
    assert chunk.experimental_get_tracing_count() == 1


def test_a_clipped_gradient_moves_no_weight_tensor_further_than_its_norm():
    model = tutorial_model()
    before = model.get_weights()
    list(fit(model, steps=1, optimizer={"name": "sgd", "learning_rate": 1.0, "clipnorm": 0.5}))
    moved = [np.linalg.norm(new - old) for new, old in zip(model.get_weights(), before, strict=True)]
    assert max(moved) == pytest.approx(0.5, rel=1e-4)


def test_step_graph_has_the_tutorials_scopes():
    model, batches = tutorial_model(), tutorial_batches()
    chunk = compile_chunk(model, build_optimizer(**ADAM), ChunkOptions(50, carry_state=True, jit_compile=False))
    rows, state = batches.rows(0, 54), zero_state(model, 50)
    list(train(chunk, batches, state, steps=5, chunk_steps=5))
    graph = step_graph(chunk, rows, state)
    scopes = {node.name.split("/")[0] for node in graph.node if "/" in node.name}
    assert {"inputs", "in_hidden", "LSTM_cell", "out_hidden", "cost", "train"} <= scopes
    names = {node.name for node in graph.node}
    assert all(source.lstrip("^") in names for node in graph.node for source in node.input)
    assert chunk.experimental_get_tracing_count() == 1


OPTIMIZERS = {
    "adam": ADAM,
    "sgd": {"name": "sgd", "learning_rate": 1e-3, "momentum": 0.9, "clipnorm": 1.0},
    "rmsprop": {"name": "rmsprop", "learning_rate": 3e-3, "momentum": 0.5},
}


@pytest.mark.parametrize(
    ("cell", "optimizer", "jit_compile"),
    [("lstm", "adam", False), ("lstm", "adam", True), ("gru", "sgd", True), ("simple_rnn", "rmsprop", False)],
)
def test_a_training_restored_at_any_step_goes_on_to_the_same_bits(cell, optimizer, jit_compile):
    forget_bias = {"forget_bias": 1.0} if cell == "lstm" else {}
    model = build_model(cell, 10, hidden_stddev=1.0, hidden_bias=0.1, seed=0, **forget_bias)
    batches, initial = tutorial_batches(), model.get_weights()
    hyperparameters = OPTIMIZERS[optimizer]
    program = Program(
        model,
        build_optimizer(**hyperparameters),
        ChunkOptions(50, carry_state=True, jit_compile=jit_compile),
    )

    def go_on(state, first_step=0, steps=40):
        return train(program.chunk, batches, state, steps=steps, chunk_steps=10, first_step=first_step)

    program.restart(initial, hyperparameters["learning_rate"])
    saved = {}
    for made in go_on(zero_state(model, 50)):
        saved[made.step] = (made, *program.snapshot())
    costs = all_costs(made for made, *_ in saved.values())
    last, weights, slots = saved[40]
    for step in (1, 10, 30):
        made, *snapshot = saved[step]
        program.restore(*snapshot)
        rest = list(go_on(made.state, step))
        assert all_costs(rest).tobytes() == costs[step:].tobytes()
        now = [*program.model.get_weights(), *program.snapshot()[1], *(tensor.numpy() for tensor in rest[-1].state)]
        then = [*weights, *slots, *(tensor.numpy() for tensor in last.state)]
        assert [array.tobytes() for array in now] == [array.tobytes() for array in then]

    # Each part is needed: without the state, the weights or the optimizer's variables the costs are others.
    made, trained, variables = saved[10]
    fresh = [np.zeros_like(variable) for variable in variables]
    fresh[1] = variables[1]  # the learning rate
    for lacking in (
        (trained, variables, zero_state(model, 50)),
        (initial, variables, made.state),
        (trained, fresh, made.state),
    ):
        program.restore(*lacking[:2])
        assert not np.array_equal(all_costs(go_on(lacking[2], 10)), costs[10:])


SCHEDULE = {**ADAM, "warmup_steps": 4, "decay_steps": 8}


def test_the_learning_rate_rises_in_a_line_and_falls_along_half_a_cosine():
    optimizer = build_optimizer("sgd", learning_rate=2.0, warmup_steps=2, decay_steps=4)
    rates = []
    for step in range(8):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    half = np.sqrt(0.5)
    np.testing.assert_allclose(rates, [0, 1, 2, 1 + half, 1, 1 - half, 0, 0], atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["plain", "xla"])
def test_without_warmup_a_schedule_starts_at_its_peak(jit_compile):
    optimizer = build_optimizer("sgd", learning_rate=2.0, decay_steps=4)
    rate = tf.function(lambda: optimizer.learning_rate + 0.0, jit_compile=jit_compile)
    assert float(rate()) == 2.0


def program_with(optimizer):
    return Program(
        tutorial_model(), build_optimizer(**optimizer), ChunkOptions(50, carry_state=True, jit_compile=False)
    )


def costs_of(program, steps, state=None, first_step=0):
    state = zero_state(program.model, 50) if state is None else state
    return list(train(program.chunk, tutorial_batches(), state, steps=steps, chunk_steps=4, first_step=first_step))


def test_one_compiled_program_follows_schedules_of_any_peak():
    program, weights = program_with({**SCHEDULE, "learning_rate": 1.0}), tutorial_model().get_weights()
    for rate in (0.02, 0.006):
        program.restart(weights, rate)
        expected = all_costs(costs_of(program_with({**SCHEDULE, "learning_rate": rate}), 12))
        np.testing.assert_array_equal(all_costs(costs_of(program, 12)), expected)
    assert program.chunk.experimental_get_tracing_count() == 1


def test_a_schedule_goes_on_where_a_snapshot_was_taken():
    program = program_with(SCHEDULE)
    whole = all_costs(costs_of(program, 12))
    program.restart(tutorial_model().get_weights(), 0.006)
    half = costs_of(program, 8)
    other = program_with({**SCHEDULE, "learning_rate": 1.0})
    other.restore(*program.snapshot())
    np.testing.assert_array_equal(all_costs(costs_of(other, 12, half[-1].state, first_step=8)), whole[8:])
