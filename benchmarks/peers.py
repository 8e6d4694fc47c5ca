"""One training step in every way that is compared: each peer does the same work, and is written to be fast at it.

    python benchmarks/peers.py NAME [CORES]      a worker: requests come in as lines of JSON, answers go out as such

The work: a batch of `batch_size` rows of `time_steps` samples of sin(x) through in_hidden, an LSTM cell and out_hidden;
the summed squared error against cos(x), divided by the batch size; its gradient by backpropagation through time; one
update by Adam; the final state carried to the next batch. All in float32, from weights that this repo drew.

Or the same at the adding task (Hochreiter and Schmidhuber, 1997): two inputs, each row a sequence that starts from a
state of zeros, an error only at its end.

A peer gets its batches ready-made in memory and is timed from there to the costs of all steps in NumPy's hands; this
repo's own time includes making them. Each peer stands alone, so that it can be read, and improved, by who knows it.
"""

import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from lstm_lab.science.curves import Batches, Rows, Source
from lstm_lab.science.tasks import Sequences

SPACING = 0.03183098861837907  # 1 / (10 pi), as in conf/data
LEARNING_RATE, BETA_1, BETA_2, EPSILON = 0.006, 0.9, 0.999, 1e-8  # as in conf/optimizer/adam.yaml
CHUNK_STEPS = {"curve": 1000, "adding": 25}  # as in conf/training and conf/experiment/adding.yaml
CHECKED = 10  # steps whose costs are compared


@dataclass(frozen=True)
class Shape:
    """How much work a step is; of which task, the tutorial's curve or the adding of two numbers."""

    cell_size: int = 10
    time_steps: int = 20
    batch_size: int = 50
    task: str = "curve"

    @property
    def carried(self) -> bool:
        """Whether a row goes on where it ended in the batch before; if not, it starts from a state of zeros."""
        return self.task == "curve"

    @property
    def stride(self) -> int:
        """How many rows there are from a batch's first to the next one's: those of a curve share all rows but one."""
        return 1 if self.carried else self.batch_size


class Peer:
    """A way of training: made for one shape from the initial weights, in Keras's order and layout.

    These are w_in [inputs, cell], b_in [cell], kernel [cell, 4 cell], recurrent kernel [cell, 4 cell], bias [4 cell],
    w_out [cell, 1], b_out [1]; gates i, f, g, o; the forget bias is in the bias.
    """

    @staticmethod
    def start(cores: int) -> None:
        """Imports what the peer runs on and limits it to so many cores, once for a process."""
        raise NotImplementedError

    def __init__(self, shape: Shape, weights: list[np.ndarray]) -> None:
        self.shape = shape

    def prepare(self, rows: Rows, steps: int) -> Any:
        """What `train` is given, made outside the time that is measured: here the batches.

        Each is x [batch, time, inputs], target [batch, time, 1] and, where not all errors count, weights of that shape.
        """
        arrays, stride, size = arrays_of(rows), self.shape.stride, self.shape.batch_size
        return [tuple(array[k * stride : k * stride + size] for array in arrays) for k in range(steps)]

    def train(self, data: Any) -> np.ndarray:
        """Goes on training for as many steps as `data` has batches; their costs [steps]."""
        raise NotImplementedError

    def begin(self, data: Any) -> np.ndarray:
        """The first call of `train`, the one whose costs are compared."""
        return self.train(data)


class KerasPeer(Peer):
    """TensorFlow and Keras as they come."""

    @staticmethod
    def start(cores: int) -> None:
        import keras
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(cores)
        tf.config.threading.set_inter_op_parallelism_threads(cores)
        keras.config.set_floatx("float32")


class Lab(Peer):
    """This repo: what `python src/train.py` runs, without its observers."""

    level: str

    def __init__(self, shape: Shape, weights: list[np.ndarray]) -> None:
        from lstm_lab.science.model import zero_state
        from lstm_lab.science.training import ChunkOptions, Program, build_optimizer, train

        super().__init__(shape, weights)
        source = source_of(shape)
        program = Program(
            lab_model(shape),
            build_optimizer("adam", LEARNING_RATE, beta_1=BETA_1, beta_2=BETA_2, epsilon=EPSILON),
            ChunkOptions(shape.batch_size, carry_state=True, jit_compile=self.level == "fast", stride=source.stride),
        )
        program.restart(weights, LEARNING_RATE)
        state = zero_state(program.model, shape.batch_size)
        self.progress = train(program.chunk, source, state, steps=10**9, chunk_steps=CHUNK_STEPS[shape.task])

    def prepare(self, rows: Rows, steps: int) -> int:
        """Nothing: it makes its batches as it goes."""
        return steps

    def train(self, steps: int) -> np.ndarray:
        """Goes on to the end of the chunk in which the last of `steps` is."""
        costs: list[np.ndarray] = []
        while sum(map(len, costs)) < steps:
            costs.append(next(self.progress).costs)
        return np.concatenate(costs)


class LabFast(Lab):
    """training.level=fast."""

    level = "fast"

    @staticmethod
    def start(cores: int) -> None:
        from lstm_lab import runtime

        runtime.start_tensorflow("fast", cores)


class LabPortable(Lab):
    """training.level=portable."""

    level = "portable"

    @staticmethod
    def start(cores: int) -> None:
        from lstm_lab import runtime

        runtime.start_tensorflow("portable", 1)


class Session(KerasPeer):
    """The tutorial's own way: a version 1 graph, dynamic_rnn, and a session that is fed and fetched at every step.

    BasicLSTMCell itself cannot be had beside Keras 3, so its equations stand here.
    """

    def __init__(self, shape: Shape, weights: list[np.ndarray]) -> None:
        import tensorflow as tf

        super().__init__(shape, weights)
        v1 = tf.compat.v1
        cell_size, batch_size, time_steps = shape.cell_size, shape.batch_size, shape.time_steps
        w_in, b_in, kernel, bias, w_out, b_out = tutorial_layout(weights)

        class BasicLSTMCell:
            output_size = cell_size
            state_size = (cell_size, cell_size)

            def __init__(self) -> None:
                self.kernel, self.bias = v1.Variable(kernel), v1.Variable(bias)

            def zero_state(self, batch_size: int, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
                return tf.zeros([batch_size, cell_size], dtype), tf.zeros([batch_size, cell_size], dtype)

            def __call__(self, x: tf.Tensor, state: Any, scope: Any = None) -> tuple[tf.Tensor, Any]:
                c, h = state
                gates = tf.nn.bias_add(tf.matmul(tf.concat([x, h], 1), self.kernel), self.bias)
                i, j, f, o = tf.split(gates, 4, axis=1)
                c = c * tf.sigmoid(f + 1.0) + tf.sigmoid(i) * tf.tanh(j)  # the forget bias is added here
                h = tf.tanh(c) * tf.sigmoid(o)
                return h, (c, h)

        with tf.Graph().as_default() as graph:
            sizes = [len(w_in), 1] if shape.carried else [len(w_in), 1, 1]
            self.batch = [v1.placeholder(tf.float32, [batch_size, time_steps, size]) for size in sizes]
            x, target, *weights_of = self.batch
            hidden = tf.matmul(tf.reshape(x, [-1, len(w_in)]), v1.Variable(w_in)) + v1.Variable(b_in)
            hidden = tf.reshape(hidden, [-1, time_steps, cell_size])
            cell = BasicLSTMCell()
            self.state = cell.zero_state(batch_size, tf.float32)
            outputs, final_state = v1.nn.dynamic_rnn(cell, hidden, initial_state=self.state)
            prediction = tf.matmul(tf.reshape(outputs, [-1, cell_size]), v1.Variable(w_out)) + v1.Variable(b_out)
            losses = tf.square(tf.reshape(prediction, [-1]) - tf.reshape(target, [-1]))
            cost = tf.reduce_sum(weighted(losses, [tf.reshape(one, [-1]) for one in weights_of])) / batch_size
            adam = v1.train.AdamOptimizer(LEARNING_RATE, BETA_1, BETA_2, EPSILON)
            self.fetched = [adam.minimize(cost), cost, final_state, prediction]
            self.session = v1.Session(graph=graph)
            self.session.run(v1.global_variables_initializer())
            self.carried = self.session.run(self.state)

    def train(self, data: Any) -> np.ndarray:
        costs = []
        for batch in data:
            feed = {**dict(zip(self.batch, batch, strict=True)), self.state: self.carried}
            _, cost, final_state, _ = self.session.run(self.fetched, feed)
            if self.shape.carried:
                self.carried = final_state
            costs.append(cost)
        return np.array(costs)


class Eager(KerasPeer):
    """The tutorial's equations under TensorFlow 2 as it first presents itself: eagerly, with a GradientTape."""

    def __init__(self, shape: Shape, weights: list[np.ndarray]) -> None:
        import keras
        import tensorflow as tf

        super().__init__(shape, weights)
        self.variables = [tf.Variable(array) for array in tutorial_layout(weights)]
        self.optimizer = keras.optimizers.Adam(LEARNING_RATE, BETA_1, BETA_2, EPSILON)
        self.optimizer.build(self.variables)
        self.state: Any = (tf.zeros([shape.batch_size, shape.cell_size]),) * 2

    def prepare(self, rows: Rows, steps: int) -> Any:
        import tensorflow as tf

        return [tuple(map(tf.constant, batch)) for batch in super().prepare(rows, steps)]

    def train(self, data: Any) -> np.ndarray:
        import tensorflow as tf

        w_in, b_in, kernel, bias, w_out, b_out = self.variables
        costs = []
        for x, target, *weights in data:
            c, h = self.state
            outputs = []
            with tf.GradientTape() as tape:
                for step in tf.unstack(tf.matmul(x, w_in) + b_in, axis=1):
                    i, j, f, o = tf.split(tf.matmul(tf.concat([step, h], 1), kernel) + bias, 4, axis=1)
                    c = c * tf.sigmoid(f + 1.0) + tf.sigmoid(i) * tf.tanh(j)
                    h = tf.tanh(c) * tf.sigmoid(o)
                    outputs.append(h)
                prediction = tf.matmul(tf.stack(outputs, axis=1), w_out) + b_out
                cost = tf.reduce_sum(weighted(tf.square(prediction - target), weights)) / len(target)
            gradients = tape.gradient(cost, self.variables)
            self.optimizer.apply(gradients, self.variables)
            if self.shape.carried:
                self.state = c, h
            costs.append(cost)
        return np.array([float(cost) for cost in costs])


class Function(Eager):
    """Keras's layers and a GradientTape, the training step a tf.function under XLA that is called at every step."""

    def __init__(self, shape: Shape, weights: list[np.ndarray]) -> None:
        import keras
        import tensorflow as tf

        Peer.__init__(self, shape, weights)
        model = lab_model(shape)
        model.set_weights(weights)
        optimizer = keras.optimizers.Adam(LEARNING_RATE, BETA_1, BETA_2, EPSILON)
        optimizer.build(model.trainable_variables)
        self.state = [tf.zeros([shape.batch_size, shape.cell_size])] * 2

        @tf.function(jit_compile=True)
        def step(batch: tuple[tf.Tensor, ...], state: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
            x, target, *weights = batch
            with tf.GradientTape() as tape:
                prediction, *final_state = model([x, *state])
                cost = tf.reduce_sum(weighted(tf.square(prediction - target), weights)) / shape.batch_size
            optimizer.apply(tape.gradient(cost, model.trainable_variables), model.trainable_variables)
            return cost, final_state if shape.carried else state

        self.step = step

    def train(self, data: Any) -> np.ndarray:
        costs = []
        for batch in data:
            cost, self.state = self.step(batch, self.state)
            costs.append(cost)
        return np.array([float(cost) for cost in costs])


class KerasFit(KerasPeer):
    """Keras `fit` with a stateful LSTM, on arrays of all batches: as people write it."""

    jit_compile = False
    steps_per_execution = 1

    def __init__(self, shape: Shape, weights: list[np.ndarray]) -> None:
        import keras

        super().__init__(shape, weights)
        self.model = keras.Sequential(
            [
                keras.Input(batch_shape=(shape.batch_size, shape.time_steps, len(weights[0]))),
                keras.layers.Dense(shape.cell_size),
                keras.layers.LSTM(shape.cell_size, return_sequences=True, stateful=shape.carried),
                keras.layers.Dense(1),
            ]
        )
        self.model.set_weights(weights)
        self.model.compile(
            keras.optimizers.Adam(LEARNING_RATE, BETA_1, BETA_2, EPSILON),
            loss=keras.losses.MeanSquaredError(reduction="sum"),  # the mean over one output
            loss_weights=1 / shape.batch_size,
            jit_compile=self.jit_compile,
            steps_per_execution=self.steps_per_execution,
        )
        self.seen: list[float] = []
        self.watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda _, logs: self.seen.append(logs["loss"]))

    def prepare(self, rows: Rows, steps: int) -> Any:
        arrays = map(np.concatenate, zip(*super().prepare(rows, steps), strict=True))
        return {**dict(zip(("x", "y", "sample_weight"), arrays, strict=False)), "batch_size": self.shape.batch_size}

    def train(self, data: Any) -> np.ndarray:
        self.seen.clear()
        self.model.fit(**data, shuffle=False, verbose=0, callbacks=[self.watch])
        return np.diff(np.array(self.seen) * np.arange(1, len(self.seen) + 1), prepend=0.0)  # `fit` tells running means


class KerasFitData(KerasFit):
    """The same on a dataset of whole batches that does not tune itself.

    Keras makes of arrays a dataset that does, by a thread which sleeps ever longer, twice as long each time, and which
    is waited for when the data ends: `fit` takes up to twice its time.
    """

    def prepare(self, rows: Rows, steps: int) -> Any:
        import tensorflow as tf

        batches = zip(*Peer.prepare(self, rows, steps), strict=True)
        options = tf.data.Options()
        options.autotune.enabled = False
        return {
            "x": tf.data.Dataset.from_tensor_slices(tuple(map(np.stack, batches))).prefetch(2).with_options(options)
        }


class KerasFitJit(KerasFitData):
    """The same under XLA."""

    jit_compile = True


class KerasFitMany(KerasFitJit):
    """The same under XLA with 50 steps an execution, which tells the mean cost of those only."""

    steps_per_execution = 50

    def begin(self, data: Any) -> np.ndarray:
        """One step a call, to have each one's cost."""
        return np.concatenate(
            [super(KerasFitMany, self).train({"x": data["x"].skip(k).take(1)}) for k in range(len(data["x"]))]
        )

    def train(self, data: Any) -> np.ndarray:
        super().train(data)
        return np.full(len(data["x"]), self.seen[-1])


class Torch(Peer):
    """PyTorch: nn.Linear, nn.LSTM, nn.Linear and torch.optim.Adam."""

    @staticmethod
    def start(cores: int) -> None:
        import torch

        torch.set_num_threads(cores)

    def __init__(self, shape: Shape, weights: list[np.ndarray]) -> None:
        import torch

        super().__init__(shape, weights)
        w_in, b_in, kernel, recurrent, bias, w_out, b_out = map(torch.from_numpy, weights)
        self.in_hidden = torch.nn.Linear(len(w_in), shape.cell_size)
        self.lstm = torch.nn.LSTM(shape.cell_size, shape.cell_size)  # gates i, f, g, o, as Keras has them
        self.out_hidden = torch.nn.Linear(shape.cell_size, 1)
        with torch.no_grad():
            self.in_hidden.weight.copy_(w_in.T)
            self.in_hidden.bias.copy_(b_in)
            self.lstm.weight_ih_l0.copy_(kernel.T)
            self.lstm.weight_hh_l0.copy_(recurrent.T)
            self.lstm.bias_ih_l0.copy_(bias)
            self.lstm.bias_hh_l0.zero_()
            self.out_hidden.weight.copy_(w_out.T)
            self.out_hidden.bias.copy_(b_out)
        # Adding up two biases, each updated by Adam, would be another training than with one
        self.lstm.bias_hh_l0.requires_grad_(False)
        layers = (self.in_hidden, self.lstm, self.out_hidden)
        trained = [p for layer in layers for p in layer.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(trained, LEARNING_RATE, (BETA_1, BETA_2), EPSILON, fused=True)
        self.state = (torch.zeros(1, shape.batch_size, shape.cell_size),) * 2

    def prepare(self, rows: Rows, steps: int) -> Any:
        """Time first, which is how nn.LSTM computes."""
        import torch

        turned = [[a.transpose(1, 0, 2).copy() for a in batch] for batch in super().prepare(rows, steps)]
        return [tuple(map(torch.from_numpy, batch)) for batch in turned]

    def train(self, data: Any) -> np.ndarray:
        import torch
        from torch.nn.functional import mse_loss

        costs = []
        for x, target, *weights in data:
            hidden, (h, c) = self.lstm(self.in_hidden(x), self.state)
            cost = mse_loss(self.out_hidden(hidden), target, None, None, "sum", *weights) / self.shape.batch_size
            self.optimizer.zero_grad()
            cost.backward()
            self.optimizer.step()
            if self.shape.carried:
                self.state = h.detach(), c.detach()
            costs.append(cost.detach())
        return torch.stack(costs).numpy()


class JaxPeer(Peer):
    """JAX: lax.scan over time, jit, Adam from optax; the input's part of the gates is computed before the scan."""

    chunk_steps = 1
    folded = False

    @staticmethod
    def start(cores: int) -> None:
        if cores == 1:
            os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
        import jax
        import optax  # noqa: F401

        jax.config.update("jax_platforms", "cpu")
        # What is compiled is kept for the next process, as this repo does it
        jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parent / ".venv/compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)

    def __init__(self, shape: Shape, weights: list[np.ndarray]) -> None:
        import jax
        import jax.numpy as jnp
        import optax

        super().__init__(shape, weights)
        optimizer = optax.adam(LEARNING_RATE, BETA_1, BETA_2, EPSILON)
        folded = self.folded

        def loss(params: Any, state: Any, x: Any, target: Any, *weights: Any) -> Any:
            w_in, b_in, kernel, recurrent, bias, w_out, b_out = params
            # folded: in_hidden is linear, so it and the kernel make one row for each gate
            in_folded = x @ (w_in @ kernel) + (b_in @ kernel + bias)
            of_input = in_folded if folded else (x @ w_in + b_in) @ kernel + bias

            def cell(state: Any, of_input: Any) -> Any:
                h, c = state
                i, f, g, o = jnp.split(of_input + h @ recurrent, 4, axis=-1)
                c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
                h = jax.nn.sigmoid(o) * jnp.tanh(c)
                return (h, c), h

            final_state, hidden = jax.lax.scan(cell, state, of_input)  # `unroll` made it slower
            squares = weighted((hidden @ w_out + b_out - target) ** 2, weights)
            return jnp.sum(squares) / shape.batch_size, final_state if shape.carried else state

        def step(carry: Any, batch: Any) -> Any:
            params, slots, state = carry
            (cost, state), gradients = jax.value_and_grad(loss, has_aux=True)(params, state, *batch)
            updates, slots = optimizer.update(gradients, slots)
            return (optax.apply_updates(params, updates), slots, state), cost

        def steps(carry: Any, rows: Any, first: Any, count: int) -> Any:
            def at(carry: Any, k: Any) -> Any:
                row = k * shape.stride
                return step(carry, [jax.lax.dynamic_slice_in_dim(a, row, shape.batch_size, 1) for a in rows])

            return jax.lax.scan(at, carry, first + jnp.arange(count))

        params = [jnp.array(array) for array in weights]
        zeros = [jnp.zeros((shape.batch_size, shape.cell_size)) for _ in "hc"]
        self.carry = (params, optimizer.init(params), tuple(zeros))
        self.step = jax.jit(step, donate_argnums=0)
        self.steps = jax.jit(steps, donate_argnums=0, static_argnums=3)

    def prepare(self, rows: Rows, steps: int) -> Any:
        """Time first, which is how lax.scan goes; on the device."""
        import jax

        if self.chunk_steps > 1:
            turned = [a.transpose(1, 0, 2).copy() for a in arrays_of(rows)]
            return jax.block_until_ready((jax.device_put(turned), steps))
        batches = [[a.transpose(1, 0, 2).copy() for a in batch] for batch in super().prepare(rows, steps)]
        return jax.block_until_ready(jax.device_put(batches)), steps

    def train(self, data: Any) -> np.ndarray:
        batches, steps = data
        costs = []
        if self.chunk_steps > 1:
            chunk = self.chunk_steps if steps % self.chunk_steps == 0 else math.gcd(steps, 10)
            for k in range(0, steps, chunk):
                self.carry, some = self.steps(self.carry, batches, k, chunk)
                costs.append(some)
            return np.concatenate(costs)
        for batch in batches:
            self.carry, cost = self.step(self.carry, batch)
            costs.append(cost)
        return np.array([float(cost) for cost in costs])


class JaxChunks(JaxPeer):
    """The same with a second lax.scan over the steps, so that one call does many, as this repo's chunks do."""

    chunk_steps = 100


class JaxFolded(JaxChunks):
    """The same with in_hidden folded into the cell's kernel, as this repo does."""

    folded = True


PEERS: dict[str, type[Peer]] = {
    "lab_fast": LabFast,
    "lab_portable": LabPortable,
    "session": Session,
    "eager": Eager,
    "function": Function,
    "fit": KerasFit,
    "fit_data": KerasFitData,
    "fit_jit": KerasFitJit,
    "fit_many": KerasFitMany,
    "torch": Torch,
    "jax": JaxPeer,
    "jax_chunks": JaxChunks,
    "jax_folded": JaxFolded,
}


def source_of(shape: Shape) -> Source:
    """The tutorial's curve, cut into batches of this shape; or sequences for adding, the shortest a tenth shorter."""
    if shape.task == "curve":
        return Batches("sine_to_cosine", shape.batch_size, shape.time_steps, SPACING)
    return Sequences(shape.task, shape.batch_size, shape.time_steps, noise_seed=0, shortest=shape.time_steps * 10 // 11)


def arrays_of(rows: Rows) -> list[np.ndarray]:
    """Inputs, targets and, where not all errors count, weights: each [rows, time, size]."""
    return [rows.inputs, rows.targets] + ([] if rows.weights is None else [rows.weights[..., None]])


def weighted(squares: Any, weights: Sequence[Any]) -> Any:
    """Squared errors by their weights, if there are any: any framework's tensors of one shape."""
    return squares * weights[0] if weights else squares


def lab_model(shape: Shape) -> Any:
    """This repo's model, as conf/model/lstm.yaml has it."""
    from lstm_lab.science.model import build_model

    size = source_of(shape).input_size
    return build_model(
        "lstm", shape.cell_size, input_size=size, hidden_stddev=1.0, hidden_bias=0.1, seed=0, forget_bias=1.0
    )


def tutorial_layout(weights: list[np.ndarray]) -> list[np.ndarray]:
    """Version 1's w_in, b_in, kernel [2 cell, 4 cell], bias, w_out, b_out: gates i, g, f, o, and no forget bias."""
    w_in, b_in, kernel, recurrent, bias, w_out, b_out = weights

    def reorder(array: np.ndarray) -> np.ndarray:
        i, f, g, o = np.split(array, 4, axis=-1)
        return np.concatenate([i, g, f, o], axis=-1)

    bias = bias.copy()
    bias[len(bias) // 4 : len(bias) // 2] -= 1.0
    return [w_in, b_in, reorder(np.concatenate([kernel, recurrent])), reorder(bias), w_out, b_out]


def answer(requests: Iterable[dict[str, Any]], name: str) -> Iterator[dict[str, Any]]:
    """A worker's answers: draws initial weights, makes its peer for a shape, trains so many steps."""
    peer: Peer | None = None
    source, step = source_of(Shape()), 0

    def train(steps: int) -> dict[str, Any]:
        nonlocal step
        assert peer is not None
        go_on = peer.train if step else peer.begin
        data = peer.prepare(source.chunk(step, steps), steps)
        started, of_processor = time.perf_counter(), time.process_time()
        costs = go_on(data)
        seconds, of_processor = time.perf_counter() - started, time.process_time() - of_processor
        step += len(costs)
        first = [float(cost) for cost in costs[:CHECKED]]
        return {"steps": len(costs), "seconds": seconds, "processor_seconds": of_processor, "costs": first}

    for request in requests:
        if "draw" in request:
            np.savez(request["draw"], *lab_model(Shape(**request["shape"])).get_weights())
            yield {}
        elif "shape" in request:
            with np.load(request["weights"], allow_pickle=False) as arrays:
                weights = [arrays[key] for key in arrays.files]
            peer = None  # before the next one takes its memory
            shape, step = Shape(**request["shape"]), 0
            source = source_of(shape)
            started = time.perf_counter()
            peer = PEERS[name](shape, weights)
            yield {**train(CHECKED), "seconds": time.perf_counter() - started}
        else:
            yield train(request["steps"])


def limit_cores(cores: int) -> None:
    """Keeps this process to one core, if it is to have one and the system can do so."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(cores)
    if cores == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def main(name: str, cores: str) -> None:
    """Starts the peer's framework, says which versions run, then serves requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for answers
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    limit_cores(int(cores))
    PEERS[name].start(int(cores))
    frameworks = ("tensorflow", "keras", "torch", "jax", "optax", "numpy")
    versions = {module: sys.modules[module].__version__ for module in frameworks if module in sys.modules}
    print(json.dumps({"versions": versions}), file=answers, flush=True)
    for given in answer(map(json.loads, sys.stdin), name):
        print(json.dumps(given), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
