"""How much of an error's gradient is left, time step by time step on its way back."""

import keras
import tensorflow as tf


def state_gradient_norms(model: keras.Model, back: int) -> "tf.types.experimental.PolymorphicFunction":
    """A compiled `norms(inputs, targets, state)` for this model: [back] numbers, the n-th of n time steps back.

    The n-th is the norm of the gradient of the last time step's squared error, over the whole batch, with respect to
    the state that the model was in n steps before: h, and for an LSTM also c. `inputs` and `targets` are
    [batch, time, size] with time more than `back`, `state` is the state before the first of these time steps.

    A state is nudged by nothing before each of these steps; the gradient for the nudge is the gradient for the state.
    """

    @tf.function(autograph=False)
    def norms(inputs: tf.Tensor, targets: tf.Tensor, state: list[tf.Tensor]) -> tf.Tensor:
        _, *state = model([inputs[:, :-back], *state])
        nudges = [tf.zeros([back, *tensor.shape]) for tensor in state]
        samples = tf.transpose(inputs[:, -back:, None], [1, 0, 2, 3])  # [back, batch, 1, input_size]

        def step(before: list[tf.Tensor], now: list[tf.Tensor]) -> list[tf.Tensor]:
            sample, *nudge = now
            return model([sample, *(a + b for a, b in zip(before[1:], nudge, strict=True))])

        with tf.GradientTape() as tape:
            tape.watch(nudges)
            predictions, *_ = tf.scan(step, [samples, *nudges], [targets[:, :1], *state])
            error = tf.reduce_sum(tf.square(predictions[-1] - targets[:, -1:]))
        gradients = tape.gradient(error, nudges)
        squares = sum(tf.reduce_sum(tf.square(gradient), [1, 2]) for gradient in gradients)
        return tf.reverse(tf.sqrt(squares), [0])

    return norms
