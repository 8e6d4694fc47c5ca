"""How much of an error's gradient is left, time step by time step on its way back."""

import keras
import numpy as np
import tensorflow as tf


def state_gradient_norms(model: keras.Model, back: int) -> "tf.types.experimental.PolymorphicFunction":
    """A compiled `norms(inputs, targets, state)` for this model: [back] numbers, the n-th of n time steps back.

    The n-th is the norm of the gradient of the last time step's squared error, over the whole batch, with respect to
    the state that the model was in n steps before: h, and for an LSTM also c. `inputs` and `targets` are
    [batch, time, 1] with time more than `back`, `state` is the state before the first of these time steps.

    The state is followed step by step and differentiated as it was passed on, by TensorFlow's own gradients.
    """

    @tf.function(autograph=False)
    def norms(inputs: tf.Tensor, targets: tf.Tensor, state: list[tf.Tensor]) -> tf.Tensor:
        _, *state = model([inputs[:, :-back], *state])
        states = []
        with tf.GradientTape() as tape:
            tape.watch(state)
            for t in range(-back, 0):
                states.append(state)
                end = t + 1 or None
                prediction, *state = model([inputs[:, t:end], *state])
            error = tf.reduce_sum(tf.square(prediction - targets[:, -1:]))
        gradients = tape.gradient(error, states)
        return tf.stack([tf.linalg.global_norm(gradient) for gradient in reversed(gradients)])

    return norms


def factor_a_step(norms: np.ndarray) -> float:
    """By how much one more time step back multiplies the gradient [back], on (geometric) average."""
    return float((norms[-1] / norms[0]) ** (1 / (len(norms) - 1)))
