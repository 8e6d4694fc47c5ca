"""The LSTM's time loop and its backpropagation through time (Werbos, 1990), written out, for `training.level=fast`.

The mathematics and the weights are those of the Keras model, which stays what is saved and served; here they take
fewer operations:

- in_hidden is affine and so is what the cell does with it, x W + b into (x W + b) K + b', so both are one kernel W K
  and one bias b K + b'. Nothing of in_hidden is left to do for each time step; its gradients are those of two small
  products.
- sigmoid(z) = (1 + tanh(z / 2)) / 2, so one tanh over all four gates does for three sigmoids and a tanh.
- The backward loop only finds what the gates' sums have to do with the cost; the gradients of all weights are then one
  matrix product each, over all time steps at once.

XLA makes one loop of each time loop; the arithmetic's order differs from Keras's, so the bits do too.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from lstm_lab.science.model import LAYER_NAMES

Tensors = list[tf.Tensor]
WIDE = 16  # cells


def is_lstm(model: keras.Model) -> bool:
    """Whether this is an LSTM of `build_model`."""
    return any(layer.name == LAYER_NAMES["lstm"] for layer in model.layers)


def written_out(model: keras.Model) -> Callable[[Tensors], Tensors]:
    """A function that gives what calling an LSTM of `build_model` gives, by that model's variables."""
    in_hidden, recurrent, out_hidden = (
        model.get_layer(name) for name in ("in_hidden", LAYER_NAMES["lstm"], "out_hidden")
    )
    cell = recurrent.cell

    def forward(inputs: Tensors) -> Tensors:
        x, h, c = inputs
        with tf.name_scope("in_hidden"):
            kernel = in_hidden.kernel @ cell.kernel
            bias = tf.linalg.matvec(cell.kernel, in_hidden.bias, transpose_a=True) + cell.bias
        with tf.name_scope(LAYER_NAMES["lstm"]):
            hidden, h, c = lstm(tf.transpose(x, [1, 0, 2]), h, c, kernel, cell.recurrent_kernel, bias)
        with tf.name_scope("out_hidden"):
            prediction = tf.transpose(hidden @ out_hidden.kernel + out_hidden.bias, [1, 0, 2])
        return [prediction, h, c]

    return forward


def lstm(
    x: tf.Tensor, h: tf.Tensor, c: tf.Tensor, kernel: tf.Tensor, recurrent_kernel: tf.Tensor, bias: tf.Tensor
) -> Tensors:
    """An LSTM (Hochreiter and Schmidhuber, 1997; with forget gates, Gers et al., 2000), gates in the order i, f, g, o.

    x [time, batch, features], the initial state h and c [batch, cell_size], kernel [features, 4 cell_size], recurrent
    kernel [cell_size, 4 cell_size], bias [4 cell_size]. Returns the h of every time step [time, batch, cell_size] and
    the final h and c. All inputs have gradients.
    """
    cell_size = c.shape[-1]
    halves = tf.repeat(tf.constant([0.5, 0.5, 1.0, 0.5]), cell_size)  # sigmoids by tanh, see above
    return list(tanh_lstm(x, h, c, kernel * halves, recurrent_kernel * halves, bias * halves))


class Kept(NamedTuple):
    """What the forward loop keeps of every time step for the backward one.

    h, c and tanh(c) [time, batch, cell_size], and the tanh of the gates' sums [time, batch, 4 cell_size].
    """

    h: Any
    c: Any
    tanh_c: Any
    tanh: Any


@tf.custom_gradient
def tanh_lstm(
    x: tf.Tensor, h: tf.Tensor, c: tf.Tensor, kernel: tf.Tensor, recurrent_kernel: tf.Tensor, bias: tf.Tensor
) -> tuple[Tensors, Callable[..., Tensors]]:
    """`lstm` with the sums of i, f and o already halved, and its gradient."""
    last_h, last_c, kept = forward_loop(x, h, c, kernel, recurrent_kernel, bias)

    def gradient(dhs: tf.Tensor, dlast_h: tf.Tensor, dlast_c: tf.Tensor) -> Tensors:
        with tf.name_scope(f"gradient/{LAYER_NAMES['lstm']}"):  # where Keras's own gradient stands in the graph
            dh, dc, dsums = backward_loop(dhs, dlast_h, dlast_c, c, kept, recurrent_kernel)
            earlier_hs = tf.concat([h[None], kept.h[:-1]], 0)
            dkernel, drecurrent_kernel = kernel_gradients(x, earlier_hs, dsums)
            return [
                tf.einsum("tbs,fs->tbf", dsums, kernel),
                dh,
                dc,
                dkernel,
                drecurrent_kernel,
                tf.reduce_sum(dsums, [0, 1]),
            ]

    return [kept.h, last_h, last_c], gradient


def kernel_gradients(x: tf.Tensor, earlier_hs: tf.Tensor, dsums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The gradients of kernel and recurrent kernel, from those for the gates' sums at every time step.

    TensorFlow's XLA goes through the columns of a product with one feature one by one, which takes a sixth of a step.
    From WIDE on the features are rows of the other product instead, which sums in another order. Smaller cells gain
    less than a tenth, and keep the bits of the runs that PAPERS.md has of them.
    """
    if earlier_hs.shape[2] < WIDE:
        return tf.einsum("tbf,tbs->fs", x, dsums), tf.einsum("tbc,tbs->cs", earlier_hs, dsums)
    both = tf.einsum("tbi,tbs->is", tf.concat([x, earlier_hs], 2), dsums)
    dkernel, drecurrent_kernel = tf.split(both, [x.shape[2], earlier_hs.shape[2]])
    return dkernel, drecurrent_kernel


def forward_loop(
    x: tf.Tensor, h: tf.Tensor, c: tf.Tensor, kernel: tf.Tensor, recurrent_kernel: tf.Tensor, bias: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, Kept]:
    """Goes through all time steps; returns the final h and c, and what is kept of every step."""

    def step(t: tf.Tensor, h: tf.Tensor, c: tf.Tensor, kept: Kept) -> tuple[Any, ...]:
        tanh = tf.tanh(h @ recurrent_kernel + (x[t] @ kernel + bias))
        i, f, g, o = gates_of(tanh)
        c = f * c + i * g
        tanh_c = tf.tanh(c)
        h = o * tanh_c
        return t + 1, h, c, Kept(*(array.write(t, now) for array, now in zip(kept, (h, c, tanh_c, tanh), strict=True)))

    time_steps, cell_size = x.shape[0], c.shape[1]
    kept = Kept(*(array_of(time_steps, c.shape[0], width) for width in (*[cell_size] * 3, 4 * cell_size)))
    _, h, c, kept = tf.while_loop(lambda t, *_: t < time_steps, step, (tf.constant(0), h, c, kept))
    return h, c, Kept(*(array.stack() for array in kept))


def backward_loop(
    dhs: tf.Tensor, dh: tf.Tensor, dc: tf.Tensor, first_c: tf.Tensor, kept: Kept, recurrent_kernel: tf.Tensor
) -> Tensors:
    """Goes back through all time steps, from the gradients for the final h and c.

    `dhs` [time, batch, cell_size] are the gradients for the h of every step. Returns those for the initial h and c, and
    for the sums of the gates [time, batch, 4 cell_size].
    """
    earlier_cs = tf.concat([first_c[None], kept.c[:-1]], 0)

    def step(t: tf.Tensor, dh: tf.Tensor, dc: tf.Tensor, dsums: tf.TensorArray) -> tuple[Any, ...]:
        dh += dhs[t]
        i, f, g, o = gates_of(kept.tanh[t])
        dc += dh * o * (1 - kept.tanh_c[t] ** 2)
        dgates = tf.concat([0.5 * dc * g, 0.5 * dc * earlier_cs[t], dc * i, 0.5 * dh * kept.tanh_c[t]], 1)
        dsum = dgates * (1 - kept.tanh[t] ** 2)
        return t - 1, tf.matmul(dsum, recurrent_kernel, transpose_b=True), dc * f, dsums.write(t, dsum)

    time_steps, batch_size, width = kept.tanh.shape
    start = (tf.constant(time_steps - 1), dh, dc, array_of(time_steps, batch_size, width))
    _, dh, dc, dsums = tf.while_loop(lambda t, *_: t >= 0, step, start)
    return [dh, dc, dsums.stack()]


def array_of(time_steps: int, batch_size: int, width: int) -> tf.TensorArray:
    """Room for a tensor [batch, width] of every time step."""
    return tf.TensorArray(tf.float32, time_steps, element_shape=[batch_size, width])


def gates_of(tanh: tf.Tensor) -> Tensors:
    """The gates i, f, g, o [batch, cell_size] out of the tanh of their sums [batch, 4 cell_size]."""
    i, f, g, o = tf.split(tanh, 4, axis=1)
    return [0.5 * i + 0.5, 0.5 * f + 0.5, g, 0.5 * o + 0.5]
