"""The cost, the training step, the carry of the state; and the loop, which yields its progress chunk by chunk."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from lstm_lab.science import bptt, truncation
from lstm_lab.science.curves import Rows, Source

State = list[tf.Tensor]
Chunk = Callable[..., tuple[tf.Tensor, tf.Tensor, State, list[tf.Tensor]]]  # as `compile_chunk` makes it
CHUNK_SECONDS = 0.5
# The plain graph's hundreds of small operations one after the other, in two thirds of the usual executor's time. They
# run as Keras wrote them: TensorFlow's graph optimizer, which may round otherwise, is not asked.
EXECUTOR = "SINGLE_THREADED_EXECUTOR"


@dataclass(frozen=True)
class Progress:
    """What a chunk of steps leaves behind.

    `step` counts the steps done; `costs` [steps of this chunk] are the last of them. `x` [batch, time], `target` and
    `prediction` [batch, time, output_size] and `weights` [batch, time], if not all steps count, belong to the last
    step's batch, the prediction made before that step's update. `state` is the initial state of the next step.
    `validation` is the validation error after the last step, at the steps where there is one (`judging`). `errors`
    [steps of this chunk, batch], if they are asked for, are the largest absolute errors of each row before its update.
    """

    step: int
    costs: np.ndarray
    x: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    state: State
    weights: np.ndarray | None = None
    validation: float | None = None
    errors: np.ndarray | None = None


class DivergedError(ArithmeticError):
    """The cost became NaN or infinite at `step` (counted from 0)."""

    def __init__(self, step: int, cost: float) -> None:
        super().__init__(f"the cost became {cost} at step {step}")
        self.step, self.cost = step, cost


def build_optimizer(
    name: str, learning_rate: float, warmup_steps: int = 0, decay_steps: int | None = None, **hyperparameters: Any
) -> keras.Optimizer:
    """Builds one of Keras's optimizers by its name in Keras's registry, such as 'adam'.

    The learning rate rises linearly from 0 over `warmup_steps`, then falls along half a cosine to 0 over `decay_steps`
    (Loshchilov and Hutter, 2017); None: it stays.
    """
    optimizer = keras.optimizers.get(
        {"class_name": name, "config": {"learning_rate": learning_rate, **hyperparameters}}
    )
    if decay_steps is not None:
        peak = keras.Variable(learning_rate, trainable=False, name="peak_learning_rate")
        optimizer.learning_rate = keras.optimizers.schedules.CosineDecay(
            0.0, decay_steps, warmup_target=peak, warmup_steps=warmup_steps
        )
    return optimizer


def peak_rate(optimizer: keras.Optimizer) -> keras.Variable:
    """The variable that scales every update: the learning rate, or the peak of its schedule."""
    rate = optimizer._learning_rate  # the public property gives what a schedule says, not the schedule
    return rate.warmup_target if isinstance(rate, keras.optimizers.schedules.CosineDecay) else rate


def huber(error: tf.Tensor) -> tf.Tensor:
    """e² / 2 up to |e| = 1 and |e| - 1/2 beyond, so that no outlier pulls more strongly than by 1 (Huber, 1964)."""
    size = tf.abs(error)
    return tf.where(size <= 1, 0.5 * tf.square(error), size - 0.5)


# What an error costs
COSTS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {"squared": tf.square, "absolute": tf.abs, "huber": huber}


def cost_of(
    prediction: tf.Tensor, target: tf.Tensor, weights: tf.Tensor | None = None, kind: str = "squared"
) -> tf.Tensor:
    """Sum of what the errors cost over the whole batch [batch, time, output_size], divided by the batch size.

    With `weights` [batch, time] each time step's errors count so much; the batch size stays what divides their sum.
    Times its reciprocal, as graph optimizers compute it: the same bits with and without them. `kind` is of COSTS.
    """
    costs = COSTS[kind](prediction - target)
    if weights is not None:
        costs *= weights[..., None]
    return tf.reduce_sum(costs) * (np.float32(1) / np.float32(target.shape[0]))


def row_errors(prediction: tf.Tensor, batch: "Batch") -> tf.Tensor:
    """The largest absolute error of each row [batch], over its outputs and the steps that count."""
    errors = tf.reduce_max(tf.abs(prediction - batch.target), axis=2)
    return tf.reduce_max(errors if batch.weights is None else tf.where(batch.weights > 0, errors, 0.0), axis=1)


class Batch(NamedTuple):
    """x [batch, time, input_size], target [batch, time, output_size], weights [batch, time] or None: all count."""

    x: tf.Tensor
    target: tf.Tensor
    weights: tf.Tensor | None = None


def batch_at(row: tf.Tensor, size: int, inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor | None) -> Batch:
    """The batch of `size` rows from `row` on."""
    x, target = (tf.slice(rows, [row, 0, 0], [size, -1, -1]) for rows in (inputs, targets))
    return Batch(x, target, None if weights is None else tf.slice(weights, [row, 0], [size, -1]))


def train_step(
    forward: Callable[[State], State],
    variables: Sequence[keras.Variable],
    optimizer: keras.Optimizer,
    batch: Batch,
    state: State,
    kind: str,
) -> tuple[tf.Tensor, tf.Tensor, State]:
    """One update of the weights. Returns the cost and the prediction before it, and the final state.

    `forward` maps [x, *state] to [prediction, *final state] by the model's `variables`; the model itself does.
    The state enters as a plain tensor, so no gradient flows into the batch before: that is the truncation of the
    backpropagation through time, at `time_steps` steps.
    """
    with tf.GradientTape() as tape:
        prediction, *final_state = forward([batch.x, *state])
        with tf.name_scope("cost"):
            cost = cost_of(prediction, batch.target, batch.weights, kind)
    with tf.name_scope("train"):
        gradients = tape.gradient(cost, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return cost, prediction, final_state


@dataclass(frozen=True)
class ChunkOptions:
    """How a chunk of training steps is compiled.

    The batches of a chunk lie `stride` rows apart. Without `carry_state` each begins from the chunk's initial state.
    Under XLA (`jit_compile`) an LSTM is trained by `bptt`, which is quicker than Keras's layers and rounds otherwise.
    With `truncation_steps` and `truncation_every` gradients end within a window, as in `truncation`.
    What an error costs is `cost`, of COSTS. With `row_errors` the chunk also tells each row's largest absolute error.
    """

    batch_size: int
    carry_state: bool
    jit_compile: bool
    stride: int = 1
    truncation_steps: int | None = None
    truncation_every: int | None = None
    cost: str = "squared"
    row_errors: bool = False


def forward_of(model: keras.Model, options: ChunkOptions) -> Callable[[State], State]:
    """What the training step differentiates: [x, *state] to [prediction, *final state], by the model's variables."""
    forward = bptt.written_out(model) if options.jit_compile and bptt.is_lstm(model) else model
    if options.truncation_steps is None or options.truncation_every is None:
        return forward
    return truncation.truncated(forward, options.truncation_steps, options.truncation_every)


def compile_chunk(model: keras.Model, optimizer: keras.Optimizer, options: ChunkOptions) -> Chunk:
    """Compiles `chunk(inputs, targets, count, state, weights, starts_over)`: `count` training steps in one call.

    The arrays are those of `Rows`, of (rows - batch_size) / stride + 1 batches; `count` is at most that many. Returns
    the costs [batches] (zero from `count` on), the last prediction, the final state and a list of the rows' errors
    [batches, batch_size], if asked for. Weights, slots and learning rate are variables: new ones compile nothing.
    """
    variables, batch_size, stride = model.trainable_variables, options.batch_size, options.stride
    optimizer.build(variables)
    forward = forward_of(model, options)

    @tf.function(jit_compile=options.jit_compile, autograph=False)
    def chunk(
        inputs: tf.Tensor,
        targets: tf.Tensor,
        count: tf.Tensor,
        state: State,
        weights: tf.Tensor | None = None,
        starts_over: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, State, list[tf.Tensor]]:
        first_state = state

        def body(k: tf.Tensor, told: list[tf.TensorArray], _: tf.Tensor, state: State) -> tuple[Any, ...]:
            with tf.name_scope("inputs"):
                batch = batch_at(k if stride == 1 else k * stride, batch_size, inputs, targets, weights)
            if starts_over is not None:
                state = [tf.where(starts_over[k][:, None], 0.0, tensor) for tensor in state]
            cost, prediction, final_state = train_step(forward, variables, optimizer, batch, state, options.cost)
            now = [cost, row_errors(prediction, batch)] if options.row_errors else [cost]
            told = [array.write(k, value) for array, value in zip(told, now, strict=True)]
            # The carry: the final state of batch k is the initial state of batch k + 1.
            return k + 1, told, prediction, final_state if options.carry_state else first_state

        size, shapes = (inputs.shape[0] - batch_size) // stride + 1, [[], [batch_size]][: 1 + options.row_errors]
        told = [tf.TensorArray(tf.float32, size, element_shape=shape) for shape in shapes]
        start = (tf.constant(0), told, tf.zeros_like(targets[:batch_size]), state)
        _, told, prediction, state = tf.while_loop(lambda k, *_: k < count, body, start)
        return told[0].stack(), prediction, state, [array.stack() for array in told[1:]]

    return chunk


def step_graph(chunk: Any, rows: Rows, state: State) -> tf.compat.v1.GraphDef:
    """The graph of one training step, under the tutorial's scopes, out of a `chunk` compiled for such rows.

    For the eye alone (TensorBoard): the loop's body as TensorFlow traced it, without the loop around it.
    """
    arguments = rows.inputs, rows.targets, tf.constant(0), state, rows.weights, rows.starts_over
    traced = chunk.get_concrete_function(*arguments).graph.as_graph_def()
    body = next(f for f in traced.library.function if any(node.name == "while/cost/Sum" for node in f.node_def))

    def scoped(name: str) -> str:
        name = re.sub(r"^gradient_tape/", "train/gradient/", name)
        name = re.sub(r"(^|/)while/(\w+_\d+_\d+/)?(?=inputs|in_hidden|\w+_cell|out_hidden|cost|train)", r"\1", name)
        return re.sub(r"(in_hidden|out_hidden|[A-Z]\w+_cell)_\d+", r"\1", name)

    graph = tf.compat.v1.GraphDef(versions=traced.versions)
    nodes = [node for node in body.node_def if not scoped(node.name).startswith("while/")]  # the loop's own counting
    known = {node.name for node in nodes}
    for node in nodes:
        copy = graph.node.add(name=scoped(node.name), op=node.op)
        for source in node.input:  # a function's node says 'node:output:0' where a graph's says 'node:0'
            source_name = source.lstrip("^").split(":")[0]
            if source_name in known:
                copy.input.append(("^" if source.startswith("^") else "") + scoped(source_name))
    return graph


class Program:
    """A model, its optimizer and the chunk compiled for them; trains any weights of these shapes, compiling once."""

    def __init__(self, model: keras.Model, optimizer: keras.Optimizer, options: ChunkOptions) -> None:
        self.model, self.optimizer = model, optimizer
        self.chunk = compile_chunk(model, optimizer, options)
        self.peak_rate = peak_rate(optimizer)
        # Keras counts a learning rate among the optimizer's variables, the peak of a schedule not.
        self.variables = [v for v in optimizer.variables if v is not self.peak_rate] + [self.peak_rate]
        self.fresh_slots = [variable.numpy() for variable in self.variables]

    def restart(self, weights: Sequence[np.ndarray], learning_rate: float) -> None:
        """Sets everything as it is before the first step of a run."""
        self.restore(weights, self.fresh_slots)
        self.peak_rate.assign(learning_rate)

    def restore(self, weights: Sequence[np.ndarray], optimizer: Sequence[np.ndarray]) -> None:
        """Sets everything as `snapshot` found it."""
        self.model.set_weights(weights)
        for variable, value in zip(self.variables, optimizer, strict=True):
            variable.assign(value)

    def snapshot(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The weights, and the optimizer's variables: slots, learning rate, iteration."""
        return self.model.get_weights(), [variable.numpy() for variable in self.variables]


def drawn(batches: Source, first: int, count: int, steps: int) -> Rows:
    """The rows of `count` batches from `first` on, with zeros behind them where a chunk was compiled for more `steps`.

    No more are drawn than are trained on: where steps are slow, a call has few of them.
    """

    def filled(array: np.ndarray, length: int) -> np.ndarray:
        missing = length - len(array)
        return np.concatenate([array, np.zeros((missing, *array.shape[1:]), array.dtype)]) if missing else array

    rows, room = batches.chunk(first, count), (steps - 1) * batches.stride + batches.batch_size
    weights = None if rows.weights is None else filled(rows.weights, room)
    starts_over = None if rows.starts_over is None else filled(rows.starts_over, steps)
    return Rows(rows.x, filled(rows.inputs, room), filled(rows.targets, room), weights, starts_over)


def train(
    chunk: Chunk,
    batches: Source,
    initial_state: Sequence[np.ndarray],
    *,
    steps: int,
    chunk_steps: int,
    first_step: int = 0,
    pause_every: int | None = None,
) -> Iterator[Progress]:
    """Trains the weights that `chunk` was compiled for, yielding after one step and then every `chunk_steps` steps.

    It also yields after every `pause_every` steps and, where steps are slow, about every CHUNK_SECONDS: nothing can
    interrupt a compiled call. `initial_state` is that of step `first_step`, the number of steps done before.
    Raises DivergedError after yielding the chunk in which the cost stopped being finite.
    """
    state, step, at_most = list(initial_state), first_step, 1
    while step < steps:
        pauses = [(step // every + 1) * every for every in (chunk_steps, pause_every or steps)]
        end = min(steps, step + at_most, *pauses)
        started, rows = time.perf_counter(), drawn(batches, step, end - step, chunk_steps)
        with tf.experimental.function_executor_type(EXECUTOR):
            costs, prediction, state, errors = chunk(
                rows.inputs, rows.targets, tf.constant(end - step), state, rows.weights, rows.starts_over
            )
        costs = costs.numpy()[: end - step]
        seconds = time.perf_counter() - started
        last_row = (end - step - 1) * batches.stride
        last = slice(last_row, last_row + batches.batch_size)
        weights = None if rows.weights is None else rows.weights[last]
        of_rows = errors[0].numpy()[: end - step] if errors else None
        shown = rows.x[last], rows.targets[last], prediction.numpy()
        yield Progress(end, costs, *shown, state, weights, errors=of_rows)
        if not np.isfinite(costs).all():
            bad = int(np.argmin(np.isfinite(costs)))
            raise DivergedError(step + bad, float(costs[bad]))
        # The first call takes the time of compiling; after it the length of a chunk is felt for.
        affordable = 10 if step == first_step else (end - step) * CHUNK_SECONDS / seconds
        step, at_most = end, max(1, int(affordable))
