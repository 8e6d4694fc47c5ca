"""How far the gradient of a truncation is from that of the whole window.

The gradient of a window is a sum: of the error of each time step t, through the weights as they were used at each step
s up to t. A truncation weighs these parts, and no more: in chunks it keeps those whose s and t share a chunk, from
every step those with t - s below its length. The randomised truncation of Tallec and Ollivier (2017) cuts at random
where the gradient flows from one step to the step before, and multiplies what flows on by the reciprocal of the
probability that it does: on average each part counts once, so that the gradient has no bias.

A truncation is told by its shares [error step, step of use], what it multiplies each part by.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from lstm_lab.science import bptt
from lstm_lab.science.model import LAYER_NAMES
from lstm_lab.science.training import Batch, cost_of

Chance = Callable[[np.ndarray], np.ndarray]  # of a cut, by the number of steps since the one before
HEAVY_TAIL = 4.0  # the exponent alpha of Tallec and Ollivier's lengths


def in_chunks(time_steps: int, length: int) -> np.ndarray:
    """The shares of a window that is cut every `length` steps: BPTT(length; length)."""
    return randomised(np.where(np.arange(time_steps) % length, 1.0, 0.0)[None])


def from_every_step(time_steps: int, length: int) -> np.ndarray:
    """The shares where each error flows back `length` steps: BPTT(length; 1)."""
    back = np.subtract.outer(np.arange(time_steps), np.arange(time_steps))
    return np.where((back >= 0) & (back < length), 1.0, 0.0)


def randomised(factors: np.ndarray) -> np.ndarray:
    """The shares of the mean of estimates where what flows from step t to the state before it is multiplied.

    `factors` [estimates, time] are what by. The first of each does nothing: nothing flows beyond the window's start.
    """
    time_steps = factors.shape[1]
    shares, flowing = np.zeros((time_steps, time_steps)), np.zeros(factors.shape)
    for t in range(time_steps):
        flowing[:, :t] *= factors[:, t, None]
        flowing[:, t] = 1.0
        shares[t] = flowing.mean(axis=0)
    return shares


def draw_factors(draw: np.random.Generator, draws: int, time_steps: int, chance: Chance) -> np.ndarray:
    """Factors [draws, time] of randomised truncations: 0 at a cut, else 1 / (1 - the chance of one).

    The first piece begins at the window's start. A chance of 1 cuts there always, and the gradient is biased.
    """
    factors, since = np.ones((draws, time_steps)), np.zeros(draws)
    for t in range(1, time_steps):
        since += 1
        chances = chance(since)
        cut = draw.random(draws) < chances
        factors[:, t] = np.where(cut, 0.0, 1 / np.where(cut, 1.0, 1 - chances))
        since[cut] = 0
    return factors


def heavy_tailed(length: float) -> Chance:
    """Pieces of `length` steps on average whose frequency falls by a power of theirs (Tallec and Ollivier, eq. 14).

    The factors of a long piece then multiply up to a power of its length, and the estimate's variance stays finite.
    """
    return lambda since: (HEAVY_TAIL - 1) / ((HEAVY_TAIL - 2) * length + since)


def constant(length: float) -> Chance:
    """Pieces of `length` steps on average, a cut as likely at each step: the factors multiply up exponentially."""
    return lambda since: np.full(since.shape, 1 / length)


def relative_errors(parts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """||g - full|| / ||full|| of the gradients g [truncations] that such shares make of a window's parts."""
    flat = parts.reshape(-1, parts.shape[2])
    missing = np.tril(np.ones(parts.shape[:2])) - shares  # [truncations, error step, step of use]
    errors = missing.reshape(len(shares), -1).astype(np.float32) @ flat
    return np.linalg.norm(errors, axis=1) / np.linalg.norm(flat.sum(axis=0))


def compile_parts(model: keras.Model) -> Callable[[Batch, list[tf.Tensor]], tf.Tensor]:
    """Compiles the parts [error step, step of use, parameters] of an LSTM's gradient for a window, from its state.

    Summed over both steps they are the gradient of `cost_of` for the model's trainable variables, one after the other.
    """
    in_hidden, recurrent, out_hidden = (
        model.get_layer(name) for name in ("in_hidden", LAYER_NAMES["lstm"], "out_hidden")
    )
    cell = recurrent.cell

    @tf.function(autograph=False, jit_compile=True)
    def parts(batch: Batch, state: list[tf.Tensor]) -> tf.Tensor:
        halves = tf.repeat(tf.constant([0.5, 0.5, 1.0, 0.5]), cell.units)  # as the loops of bptt have it
        recurrent_kernel = cell.recurrent_kernel * halves
        x, (h, c) = tf.transpose(batch.x, [1, 0, 2]), state
        inside = in_hidden(x)
        *_, kept = bptt.forward_loop(inside, h, c, cell.kernel * halves, recurrent_kernel, cell.bias * halves)
        dhs, of_out = output_gradients(out_hidden, kept.h, batch)
        dsums = sum_gradients(dhs, state, kept, recurrent_kernel) * halves
        dinside = tf.einsum("tebs,is->tebi", dsums, cell.kernel)
        earlier_hs = tf.concat([h[None], kept.h[:-1]], 0)
        pairs = [(x, dinside), (None, dinside), (inside, dsums), (earlier_hs, dsums), (None, dsums)]
        found = [tf.einsum("tebs->ets", d) if a is None else tf.einsum("tbi,tebs->etis", a, d) for a, d in pairs]
        steps = x.shape[0]
        return tf.concat([tf.reshape(part, [steps, steps, -1]) for part in [*found, *of_out]], 2)

    return parts


def output_gradients(layer: keras.layers.Dense, hs: tf.Tensor, batch: Batch) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """The gradients of the cost for the h of every step [time, batch, cell_size], and for out_hidden's variables.

    The latter are [error step, step of use, ...]: an error uses out_hidden at its own step alone.
    """
    with tf.GradientTape() as tape:
        tape.watch(hs)
        prediction = layer(hs)
        cost = cost_of(tf.transpose(prediction, [1, 0, 2]), batch.target, batch.weights)
    dprediction, dhs = tape.gradient(cost, [prediction, hs])
    own = tf.eye(hs.shape[0])
    return dhs, [tf.einsum("et,tbi,tbo->etio", own, hs, dprediction), tf.einsum("et,tbo->eto", own, dprediction)]


def sum_gradients(dhs: tf.Tensor, state: list[tf.Tensor], kept: bptt.Kept, recurrent_kernel: tf.Tensor) -> tf.Tensor:
    """The gradients of each error for the sums of the gates at each step [step, error step, batch, 4 cell_size].

    Each error goes back through the window by itself: as many rows for each row of the batch as there are time steps.
    """
    steps, batch_size, cell_size = dhs.shape
    alone = tf.einsum("te,tbc->tebc", tf.eye(steps), dhs)
    alone = tf.reshape(alone, [steps, steps * batch_size, cell_size])
    side_by_side = bptt.Kept(*(tf.tile(array, [1, steps, 1]) for array in kept))
    _, first_c = (tf.tile(tensor, [steps, 1]) for tensor in state)
    none = tf.zeros_like(first_c)
    *_, dsums = bptt.backward_loop(alone, none, none, first_c, side_by_side, recurrent_kernel)
    return tf.reshape(dsums, [steps, steps, batch_size, 4 * cell_size])
