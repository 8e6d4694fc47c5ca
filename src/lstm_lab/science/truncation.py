"""Truncated backpropagation through time in its general form, BPTT(h; h') of Williams and Peng (1990).

After every h' time steps, the errors of the last h' steps flow back through the last h steps. With h' = h that cuts
a window into chunks, and an error at the start of a chunk hardly flows back at all; with h' = 1 every error flows back
h steps. Neither reaches beyond the window's start, where the state enters as a plain number.
"""

from collections.abc import Callable

import tensorflow as tf

Tensors = list[tf.Tensor]


def truncated(forward: Callable[[Tensors], Tensors], steps: int, every: int) -> Callable[[Tensors], Tensors]:
    """`forward` with the same values and shorter gradients: BPTT(`steps`; `every`).

    `forward` maps [x [batch, time, input_size], *state] to [prediction [batch, time, output_size], *final state].
    `every` must divide `steps` and time, and `steps` be at most time. The final state has no gradient.

    The window is cut into overlapping ones of `steps` time steps, one starting `every` steps after the other, each
    from the state that the window reaches there. They run side by side, as rows of one batch.
    """

    def truncated_forward(inputs: Tensors) -> Tensors:
        x, *state = inputs
        batch_size, time_steps, input_size = x.shape
        starts = range(0, time_steps - steps + 1, every)
        blocks = tf.transpose(tf.reshape(x, [batch_size, time_steps // every, every, input_size]), [1, 0, 2, 3])
        later = tf.scan(lambda state, block: forward([block, *state])[1:], blocks, state)
        later = [tf.stop_gradient(tensor) for tensor in later]  # the state after each block

        rows = len(starts) * batch_size
        windows = tf.concat([x[:, start : start + steps] for start in starts], 0)
        before = [
            tf.concat([first[None], tensor[: len(starts) - 1]], 0) for first, tensor in zip(state, later, strict=True)
        ]
        before = [tf.reshape(tensor, [rows, tensor.shape[-1]]) for tensor in before]
        predicted = forward([windows, *before])[0]
        predicted = tf.reshape(predicted, [len(starts), batch_size, steps, predicted.shape[-1]])

        # Of the first window every error counts, of each other one only those that no earlier window has.
        others = tf.transpose(predicted[1:, :, steps - every :], [1, 0, 2, 3])
        others = tf.reshape(others, [batch_size, time_steps - steps, predicted.shape[-1]])
        prediction = tf.concat([predicted[0], others], 1)
        return [prediction, *(tensor[-1] for tensor in later)]

    return truncated_forward
