"""One training step in every way that is compared: each peer does the same work, and is written to be fast at it.

    python benchmarks/peers.py NAME [CORES]      a worker: requests come in as lines of JSON, answers go out as such

The work: a batch of `batch_size` rows of `time_steps` samples of sin(x) through in_hidden, an LSTM cell and out_hidden;
the summed squared error against cos(x), divided by the batch size; its gradient by backpropagation through time; one
update by Adam; the final state carried to the next batch. All in float32, from weights that this repo drew.

A peer gets its batches ready-made in memory and is timed from there to the costs of all steps in NumPy's hands; this
repo's own time includes making them. Each peer stands alone, so that it can be read, and improved, by who knows it.
"""

import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from lstm_lab.science.curves import Batches, Rows

SPACING = 0.03183098861837907  # 1 / (10 pi), as in conf/data
LEARNING_RATE, BETA_1, BETA_2, EPSILON = 0.006, 0.9, 0.999, 1e-8  # as in conf/optimizer/adam.yaml
CHUNK_STEPS = 1000  # as in conf/training
CHECKED = 10  # steps whose costs are compared


@dataclass(frozen=True)
class Shape:
    """How much work a step is."""

    cell_size: int = 10
    time_steps: int = 20
    batch_size: int = 50


class Peer:
    """A way of training: made for one shape from the initial weights, in Keras's order and layout.

    These are w_in [1, cell], b_in [cell], kernel [cell, 4 cell], recurrent kernel [cell, 4 cell], bias [4 cell], w_out
    [cell, 1], b_out [1]; gates i, f, g, o; the forget bias is in the bias.
    """

    @staticmethod
    def start(cores: int) -> None:
        """Imports what the peer runs on and limits it to so many cores, once for a process."""
        raise NotImplementedError

    def __init__(self, shape: Shape, weights: list[np.ndarray]) -> None:
        raise NotImplementedError

    def prepare(self, rows: Rows, steps: int) -> Any:
        """What `train` is given, made outside the time that is measured: here the batches, each [batch, time, 1]."""
        batch = len(rows.inputs) - steps + 1
        return [(rows.inputs[k : k + batch], rows.targets[k : k + batch]) for k in range(steps)]

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

        program = Program(
            lab_model(shape.cell_size),
            build_optimizer("adam", LEARNING_RATE, beta_1=BETA_1, beta_2=BETA_2, epsilon=EPSILON),
            ChunkOptions(shape.batch_size, carry_state=True, jit_compile=self.level == "fast"),
        )
        program.restart(weights, LEARNING_RATE)
        state = zero_state(program.model, shape.batch_size)
        batches = batches_of(shape)
        self.progress = train(program.chunk, batches, state, steps=10**9, chunk_steps=CHUNK_STEPS)

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
            self.x = v1.placeholder(tf.float32, [batch_size, time_steps, 1])
            self.target = v1.placeholder(tf.float32, [batch_size, time_steps, 1])
            hidden = tf.matmul(tf.reshape(self.x, [-1, 1]), v1.Variable(w_in)) + v1.Variable(b_in)
            hidden = tf.reshape(hidden, [-1, time_steps, cell_size])
            cell = BasicLSTMCell()
            self.state = cell.zero_state(batch_size, tf.float32)
            outputs, final_state = v1.nn.dynamic_rnn(cell, hidden, initial_state=self.state)
            prediction = tf.matmul(tf.reshape(outputs, [-1, cell_size]), v1.Variable(w_out)) + v1.Variable(b_out)
            losses = tf.square(tf.reshape(prediction, [-1]) - tf.reshape(self.target, [-1]))
            cost = tf.reduce_sum(losses) / batch_size
            adam = v1.train.AdamOptimizer(LEARNING_RATE, BETA_1, BETA_2, EPSILON)
            self.fetched = [adam.minimize(cost), cost, final_state, prediction]
            self.session = v1.Session(graph=graph)
            self.session.run(v1.global_variables_initializer())
            self.carried = self.session.run(self.state)

    def train(self, data: Any) -> np.ndarray:
        costs = []
        for x, target in data:
            feed = {self.x: x, self.target: target, self.state: self.carried}
            _, cost, self.carried, _ = self.session.run(self.fetched, feed)
            costs.append(cost)
        return np.array(costs)


class Eager(KerasPeer):
    """The tutorial's equations under TensorFlow 2 as it first presents itself: eagerly, with a GradientTape."""

    def __init__(self, shape: Shape, weights: list[np.ndarray]) -> None:
        import keras
        import tensorflow as tf

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
        for x, target in data:
            c, h = self.state
            outputs = []
            with tf.GradientTape() as tape:
                for step in tf.unstack(tf.matmul(x, w_in) + b_in, axis=1):
                    i, j, f, o = tf.split(tf.matmul(tf.concat([step, h], 1), kernel) + bias, 4, axis=1)
                    c = c * tf.sigmoid(f + 1.0) + tf.sigmoid(i) * tf.tanh(j)
                    h = tf.tanh(c) * tf.sigmoid(o)
                    outputs.append(h)
                prediction = tf.matmul(tf.stack(outputs, axis=1), w_out) + b_out
                cost = tf.reduce_sum(tf.square(prediction - target)) / len(target)
            gradients = tape.gradient(cost, self.variables)
            self.optimizer.apply(gradients, self.variables)
            self.state = c, h
            costs.append(cost)
        return np.array([float(cost) for cost in costs])


class Function(Eager):
    """Keras's layers and a GradientTape, the training step a tf.function under XLA that is called at every step."""

    def __init__(self, shape: Shape, weights: list[np.ndarray]) -> None:
        import keras
        import tensorflow as tf

        model = lab_model(shape.cell_size)
        model.set_weights(weights)
        optimizer = keras.optimizers.Adam(LEARNING_RATE, BETA_1, BETA_2, EPSILON)
        optimizer.build(model.trainable_variables)
        self.state = [tf.zeros([shape.batch_size, shape.cell_size])] * 2

        @tf.function(jit_compile=True)
        def step(x: tf.Tensor, target: tf.Tensor, state: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
            with tf.GradientTape() as tape:
                prediction, *state = model([x, *state])
                cost = tf.reduce_sum(tf.square(prediction - target)) / shape.batch_size
            optimizer.apply(tape.gradient(cost, model.trainable_variables), model.trainable_variables)
            return cost, state

        self.step = step

    def train(self, data: Any) -> np.ndarray:
        costs = []
        for x, target in data:
            cost, self.state = self.step(x, target, self.state)
            costs.append(cost)
        return np.array([float(cost) for cost in costs])


class KerasFit(KerasPeer):
    """Keras `fit` with a stateful LSTM, on arrays of all batches: as people write it."""

    jit_compile = False
    steps_per_execution = 1

    def __init__(self, shape: Shape, weights: list[np.ndarray]) -> None:
        import keras

        self.model = keras.Sequential(
            [
                keras.Input(batch_shape=(shape.batch_size, shape.time_steps, 1)),
                keras.layers.Dense(shape.cell_size),
                keras.layers.LSTM(shape.cell_size, return_sequences=True, stateful=True),
                keras.layers.Dense(1),
            ]
        )
        self.model.set_weights(weights)
        self.model.compile(
            keras.optimizers.Adam(LEARNING_RATE, BETA_1, BETA_2, EPSILON),
            loss=lambda target, prediction: keras.ops.sum(keras.ops.square(prediction - target)) / shape.batch_size,
            jit_compile=self.jit_compile,
            steps_per_execution=self.steps_per_execution,
        )
        self.seen: list[float] = []
        self.watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda _, logs: self.seen.append(logs["loss"]))

    def prepare(self, rows: Rows, steps: int) -> Any:
        x, target = (np.concatenate(arrays) for arrays in zip(*super().prepare(rows, steps), strict=True))
        return {"x": x, "y": target, "batch_size": len(x) // steps}

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

        w_in, b_in, kernel, recurrent, bias, w_out, b_out = map(torch.from_numpy, weights)
        self.in_hidden = torch.nn.Linear(1, shape.cell_size)
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
        self.batch_size = shape.batch_size

    def prepare(self, rows: Rows, steps: int) -> Any:
        """Time first, which is how nn.LSTM computes."""
        import torch

        turned = [torch.from_numpy(a.transpose(1, 0, 2).copy()) for a in (rows.inputs, rows.targets)]
        return [tuple(a[:, k : k + self.batch_size].contiguous() for a in turned) for k in range(steps)]

    def train(self, data: Any) -> np.ndarray:
        import torch
        from torch.nn.functional import mse_loss

        costs = []
        for x, target in data:
            hidden, (h, c) = self.lstm(self.in_hidden(x), self.state)
            cost = mse_loss(self.out_hidden(hidden), target, reduction="sum") / self.batch_size
            self.optimizer.zero_grad()
            cost.backward()
            self.optimizer.step()
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

        optimizer = optax.adam(LEARNING_RATE, BETA_1, BETA_2, EPSILON)
        folded = self.folded

        def loss(params: Any, x: Any, target: Any, state: Any) -> Any:
            w_in, b_in, kernel, recurrent, bias, w_out, b_out = params
            # folded: in_hidden is linear, so it and the kernel make one row for each gate
            in_folded = x * (w_in @ kernel) + (b_in @ kernel + bias)
            of_input = in_folded if folded else (x * w_in + b_in) @ kernel + bias

            def cell(state: Any, of_input: Any) -> Any:
                h, c = state
                i, f, g, o = jnp.split(of_input + h @ recurrent, 4, axis=-1)
                c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
                h = jax.nn.sigmoid(o) * jnp.tanh(c)
                return (h, c), h

            state, hidden = jax.lax.scan(cell, state, of_input)  # `unroll` made it slower
            return jnp.sum((hidden @ w_out + b_out - target) ** 2) / x.shape[1], state

        def step(carry: Any, batch: Any) -> Any:
            params, slots, state = carry
            (cost, state), gradients = jax.value_and_grad(loss, has_aux=True)(params, *batch, state)
            updates, slots = optimizer.update(gradients, slots)
            return (optax.apply_updates(params, updates), slots, state), cost

        def steps(carry: Any, rows: Any, first: Any, count: int) -> Any:
            def at(carry: Any, k: Any) -> Any:
                return step(carry, [jax.lax.dynamic_slice_in_dim(a, k, shape.batch_size, 1) for a in rows])

            return jax.lax.scan(at, carry, first + jnp.arange(count))

        params = [jnp.array(array) for array in weights]
        zeros = [jnp.zeros((shape.batch_size, shape.cell_size)) for _ in "hc"]
        self.carry = (params, optimizer.init(params), tuple(zeros))
        self.batch_size = shape.batch_size
        self.step = jax.jit(step, donate_argnums=0)
        self.steps = jax.jit(steps, donate_argnums=0, static_argnums=3)

    def prepare(self, rows: Rows, steps: int) -> Any:
        """Time first, which is how lax.scan goes; on the device."""
        import jax

        turned = [a.transpose(1, 0, 2).copy() for a in (rows.inputs, rows.targets)]
        if self.chunk_steps > 1:
            return jax.block_until_ready((jax.device_put(turned), steps))
        batches = [[a[:, k : k + self.batch_size].copy() for a in turned] for k in range(steps)]
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


def batches_of(shape: Shape) -> Batches:
    """The tutorial's curve, cut into batches of this shape."""
    return Batches("sine_to_cosine", shape.batch_size, shape.time_steps, SPACING)


def lab_model(cell_size: int) -> Any:
    """This repo's model, as conf/model/lstm.yaml has it."""
    from lstm_lab.science.model import build_model

    return build_model("lstm", cell_size, hidden_stddev=1.0, hidden_bias=0.1, seed=0, forget_bias=1.0)


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
    shape, step = Shape(), 0

    def train(steps: int) -> dict[str, Any]:
        nonlocal step
        assert peer is not None
        go_on = peer.train if step else peer.begin
        data = peer.prepare(batches_of(shape).rows(step, steps + shape.batch_size - 1), steps)
        started, of_processor = time.perf_counter(), time.process_time()
        costs = go_on(data)
        seconds, of_processor = time.perf_counter() - started, time.process_time() - of_processor
        step += len(costs)
        first = [float(cost) for cost in costs[:CHECKED]]
        return {"steps": len(costs), "seconds": seconds, "processor_seconds": of_processor, "costs": first}

    for request in requests:
        if "draw" in request:
            np.savez(request["draw"], *lab_model(request["cell_size"]).get_weights())
            yield {}
        elif "shape" in request:
            with np.load(request["weights"], allow_pickle=False) as arrays:
                weights = [arrays[key] for key in arrays.files]
            peer = None  # before the next one takes its memory
            shape, step = Shape(**request["shape"]), 0
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
