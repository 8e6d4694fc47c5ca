"""The model: in_hidden, a recurrent cell, out_hidden. (x, initial state) goes in, (prediction, final state) comes out.

It is a functional Keras model of standard layers. The state is an input and an output, never hidden in a layer, so
the saved model loads anywhere without this code, and equal calls give equal answers.
"""

import math
from collections.abc import Sequence

import keras
import numpy as np

# Each cell: Keras's layer, how many matrices of width `cell_size` its kernel stacks side by side, the names of its
# state tensors in Keras's order. To add a cell: a line here, its class in config.py, its file in conf/model/.
CELLS = {
    "lstm": (keras.layers.LSTM, 4, ("h", "c")),
    "gru": (keras.layers.GRU, 3, ("h",)),
    "simple_rnn": (keras.layers.SimpleRNN, 1, ("h",)),
}
LAYER_NAMES = {"lstm": "LSTM_cell", "gru": "GRU_cell", "simple_rnn": "RNN_cell"}


def build_model(
    cell: str,
    cell_size: int,
    *,
    input_size: int = 1,
    output_size: int = 1,
    hidden_stddev: float,
    hidden_bias: float,
    seed: int,
    forget_bias: float = 0.0,
    memory_steps: int = 1,
    recurrent_initializer: str = "glorot",
) -> keras.Model:
    """Builds the model with fresh weights; `seed` alone decides them.

    Inputs: x [batch, time, input_size] and each tensor of the initial state [batch, cell_size]. Outputs: the
    prediction [batch, time, output_size] and each tensor of the final state [batch, cell_size]; an LSTM's state is h
    and c, the others' h.

    `hidden_stddev` and `hidden_bias` are the initial values of in_hidden and out_hidden; for those of the cell see
    `recurrent_layer`. `forget_bias` (LSTM only; Jozefowicz et al., 2015) is kept in the cell's bias. With
    `memory_steps` T the gates of an LSTM or a GRU begin by keeping their state for some T time steps: ln T is added to
    the bias of the forget or update gate, and taken from that of an LSTM's input gate (after Tallec and Ollivier, 2018,
    who draw T for each cell).
    """
    in_seed, *recurrent_seeds, out_seed = spawn_seeds(seed, 4)
    in_hidden = hidden_layer("in_hidden", cell_size, hidden_stddev, hidden_bias, in_seed)
    out_hidden = hidden_layer("out_hidden", output_size, hidden_stddev, hidden_bias, out_seed)
    x = keras.Input((None, input_size), name="x")
    initial_state = [keras.Input((cell_size,), name=name) for name in CELLS[cell][2]]
    recurrent = recurrent_layer(cell, cell_size, recurrent_initializer, recurrent_seeds)
    hidden_sequence, *final_state = recurrent(in_hidden(x), initial_state=initial_state)
    prediction = out_hidden(hidden_sequence)
    gates = recurrent.cell.bias.numpy()  # Keras orders an LSTM's i, f, g, o; a GRU's update gate is the first
    if cell == "lstm":
        gates[:cell_size] -= math.log(memory_steps)  # zeros stay zeros, none becomes -0.0
        gates[cell_size : 2 * cell_size] = forget_bias + math.log(memory_steps)
    if cell == "gru":
        gates[0, :cell_size] = math.log(memory_steps)
    recurrent.cell.bias.assign(gates)
    return keras.Model([x, *initial_state], [prediction, *final_state], name=f"{cell}_{cell_size}")


def hidden_layer(name: str, units: int, stddev: float, bias: float, seed: int) -> keras.layers.Dense:
    """x W + b, with W from a normal distribution around zero and every b the same."""
    return keras.layers.Dense(
        units,
        kernel_initializer=keras.initializers.RandomNormal(stddev=stddev, seed=seed),
        bias_initializer=keras.initializers.Constant(bias),
        name=name,
    )


def recurrent_layer(cell: str, cell_size: int, recurrent_initializer: str, seeds: Sequence[int]) -> keras.layers.RNN:
    """The cell's layer, its weights Glorot-uniform (Glorot and Bengio, 2010) and its bias zero.

    The limit is that of input and recurrent rows stacked into one kernel, as TensorFlow 1 drew them.
    `recurrent_initializer` 'orthogonal' makes the recurrent kernel's rows orthonormal instead (Saxe et al., 2014).
    `seeds` are the kernel's and the recurrent kernel's.
    """
    layer_class, kernels, _ = CELLS[cell]
    limit = math.sqrt(6 / (2 * cell_size + kernels * cell_size))
    kernel_seed, recurrent_seed = seeds
    recurrent_initializers = {
        "glorot": keras.initializers.RandomUniform(-limit, limit, seed=recurrent_seed),
        "orthogonal": keras.initializers.Orthogonal(seed=recurrent_seed),
    }
    return layer_class(
        cell_size,
        kernel_initializer=keras.initializers.RandomUniform(-limit, limit, seed=kernel_seed),
        recurrent_initializer=recurrent_initializers[recurrent_initializer],
        return_sequences=True,
        return_state=True,
        name=LAYER_NAMES[cell],
        **({"unit_forget_bias": False} if cell == "lstm" else {}),
    )


def with_units(model: keras.Model, inputs: np.ndarray, targets: np.ndarray) -> keras.Model:
    """The model for inputs and predictions in their own units [2, size]: means over standard deviations.

    The same tensors go in and out, but x and the prediction are float64: in float32 a small wave on a large level is
    lost. Keras's Rescaling layers stand before and behind, and are saved with it.
    """
    x = keras.Input(model.inputs[0].shape[1:], name="x", dtype="float64")
    state = [keras.Input(tensor.shape[1:], name=tensor.name) for tensor in model.inputs[1:]]
    one, zero = np.ones_like(inputs[0]), np.zeros_like(inputs[0])
    deviation = rescaling(one, -inputs[0], "subtract_mean")(x)  # first and by itself, so that no digit is lost
    prediction, *final_state = model([rescaling(1 / inputs[1], zero, "normalize")(deviation), *state])
    outputs = [rescaling(targets[1], targets[0], "to_units")(prediction), *final_state]
    return keras.Model([x, *state], outputs, name=model.name)


def rescaling(scale: np.ndarray, offset: np.ndarray, name: str) -> keras.layers.Rescaling:
    """scale * x + offset in float64, each [size]. They are arrays, since Keras rounds plain numbers to float32."""
    return keras.layers.Rescaling(scale, offset, dtype="float64", name=name)


def zero_state(model: keras.Model, batch_size: int) -> list[np.ndarray]:
    """The state before the first step: zeros [batch_size, cell_size], one for each state tensor of the model."""
    return [np.zeros((batch_size, tensor.shape[-1]), np.float32) for tensor in model.inputs[1:]]


def spawn_seeds(seed: int, count: int) -> list[int]:
    """Independent seeds, so that no two layers draw the same numbers."""
    return [int(word >> 1) for word in np.random.SeedSequence(seed).generate_state(count)]
