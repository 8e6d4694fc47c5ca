"""The LSTM written out, against Keras's own layers: what it gives, and every gradient."""

import numpy as np
import pytest
import tensorflow as tf

from lstm_lab.science import bptt
from lstm_lab.science.model import build_model

SHAPES = {  # cell size, batch, time, inputs, outputs
    "recipe": (10, 50, 20, 1, 1),
    "one row": (3, 1, 7, 3, 1),
    "one time step": (5, 4, 1, 1, 4),
    "three in": (6, 4, 5, 3, 4),
    "fifty in": (6, 4, 5, 50, 1),
    "wide": (128, 3, 11, 50, 4),
    "wide, one in": (bptt.WIDE, 3, 11, 1, 1),
}


def random_model(cell_size, input_size, output_size):
    """Every weight random, biases too: a fresh model's are constant, and would hide a gate taken for another."""
    sizes = {"input_size": input_size, "output_size": output_size}
    model = build_model("lstm", cell_size, **sizes, hidden_stddev=1.0, hidden_bias=0.1, seed=0, forget_bias=1.0)
    random = np.random.default_rng(cell_size)
    model.set_weights(
        [random.normal(0, 1.2 / cell_size**0.5, weight.shape).astype(np.float32) for weight in model.get_weights()]
    )
    return model


@pytest.mark.parametrize(
    ("shape", "jit_compile"),
    [*((name, False) for name in SHAPES), ("recipe", True), ("wide", True), ("wide, one in", True)],
)
def test_gives_what_keras_gives_and_every_gradient(shape, jit_compile):
    cell_size, batch_size, time_steps, *sizes = SHAPES[shape]
    model = random_model(cell_size, *sizes)
    random = np.random.default_rng(1)

    def draw(*shape):
        return tf.constant(random.normal(size=shape), tf.float32)

    inputs = [draw(batch_size, time_steps, sizes[0]), draw(batch_size, cell_size), draw(batch_size, cell_size)]
    # A cost in which every output has a part, the final state too
    shares = [draw(batch_size, time_steps, sizes[1]), draw(batch_size, cell_size), draw(batch_size, cell_size)]

    @tf.function(jit_compile=jit_compile, autograph=False, reduce_retracing=False)
    def outputs_and_gradients(forward, *inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = forward(list(inputs))
            cost = tf.add_n([tf.reduce_sum(share * output) for share, output in zip(shares, outputs, strict=True)])
        return outputs, tape.gradient(cost, [*inputs, *model.trainable_variables])

    ours, our_gradients = outputs_and_gradients(bptt.written_out(model), *inputs)
    theirs, their_gradients = outputs_and_gradients(model, *inputs)
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our, their, atol=2e-6)
    for our, their in zip(our_gradients, their_gradients, strict=True):
        np.testing.assert_allclose(our, their, rtol=1e-4, atol=2e-6 * np.abs(their).max() + 1e-7)


def test_knows_an_lstm():
    for cell, forget_bias in (("lstm", 1.0), ("gru", None), ("simple_rnn", None)):
        model = build_model(cell, 4, hidden_stddev=1.0, hidden_bias=0.1, seed=0, forget_bias=forget_bias)
        assert bptt.is_lstm(model) == (cell == "lstm")
