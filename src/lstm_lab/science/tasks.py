"""The long-memory tasks of Hochreiter and Schmidhuber (1997): sequences, each a row from a state of zeros.

Batch k has the sequences batch_size * k to batch_size * (k + 1) - 1. Sequence i is a pure function of i: the sequences
are drawn in blocks, each from a counter-based stream of its own (Philox; Salmon et al., 2011). A row is as long as the
longest sequence; behind a shorter one's end it is padded with zeros that do not count.

Sections and tables are those of 'Long Short-Term Memory', Neural Computation 9(8), 1997.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstm_lab.science import reber
from lstm_lab.science.curves import Continuation, Rows, Units

BLOCK = 32  # sequences drawn from one random stream: few, since one with 1,000 symbols takes megabytes
NEW, AT_A_LOOK = 2**50, 2**20  # the first of the sequences that no training gets to, and how many there are for a look


class Drawn(NamedTuple):
    """Sequences: inputs [sequences, time, input_size], targets [sequences, time, output_size].

    `counts` [sequences, time] tells at which steps a target is asked for.
    """

    inputs: np.ndarray
    targets: np.ndarray
    counts: np.ndarray


class New(NamedTuple):
    """Sequences, or stretches of streams, that were never trained on: their arrays as in `Drawn`.

    `possible` [sequences, time, output_size] tells which symbols may come next, where a symbol is to be predicted.
    """

    inputs: np.ndarray
    targets: np.ndarray
    counts: np.ndarray
    possible: np.ndarray | None = None

    def window(self, first: int, count: int) -> "New":
        """The same from the time step `first` on, `count` of them."""
        inputs, targets, counts = (array[:, first : first + count] for array in self[:3])
        return New(inputs, targets, counts, None if self.possible is None else self.possible[:, first : first + count])


def errors_of(prediction: np.ndarray, new: New) -> np.ndarray:
    """The largest absolute error of each sequence [sequences], over its outputs and the steps that count."""
    errors = np.abs(prediction - new.targets).max(axis=2, initial=0.0)
    return np.where(new.counts, errors, 0.0).max(axis=1, initial=0.0)


def wrong(prediction: np.ndarray, new: New, within: float | None) -> np.ndarray:
    """Which of the sequences [sequences] are wrong.

    One is right if all outputs are `within` that of their targets, at each step that counts; where symbols are to be
    predicted, if there every symbol that may come next is more active than each that may not.
    """
    if new.possible is None:
        return ~(errors_of(prediction, new) <= within)
    least = np.where(new.possible, prediction, np.inf).min(axis=2)
    others = np.where(new.possible, -np.inf, prediction).max(axis=2)
    return (~(least > others) & new.counts).any(axis=1)


def adding(draw: np.random.Generator, count: int, time_steps: int, *, shortest: int) -> Drawn:
    """Two marked numbers of [-1, 1] are to be added: at the end 0.5 + (X1 + X2) / 4 (section 5.4)."""
    inputs, ends, first, second = marked_pairs(draw, count, time_steps, shortest, lowest=-1.0, unseen=0.0)
    return at_the_end(inputs, 0.5 + (first + second)[:, None] / 4, ends)


def multiplication(draw: np.random.Generator, count: int, time_steps: int, *, shortest: int) -> Drawn:
    """Two marked numbers of [0, 1] are to be multiplied: at the end X1 X2 (section 5.5)."""
    inputs, ends, first, second = marked_pairs(draw, count, time_steps, shortest, lowest=0.0, unseen=1.0)
    return at_the_end(inputs, (first * second)[:, None], ends)


def marked_pairs(
    draw: np.random.Generator, count: int, time_steps: int, shortest: int, *, lowest: float, unseen: float
) -> tuple[np.ndarray, ...]:
    """Pairs of a number of [lowest, 1] and a marker; the last steps [count]; both marked numbers [count].

    The marker is 1 at one of the first ten pairs and at another of the first shortest / 2 - 1, -1 at the first and the
    last pair, 0 elsewhere. A first pair that is chosen cannot be told by its marker: it counts as `unseen`.
    """
    rows = np.arange(count)
    ends = draw.integers(shortest, time_steps + 1, count) - 1
    numbers = draw.uniform(lowest, 1.0, (count, time_steps))
    early = draw.integers(0, 10, count)
    late = draw.integers(0, shortest // 2 - 2, count)
    late += late >= early  # any but the one that is marked already
    markers = np.zeros((count, time_steps))
    markers[rows, early] = markers[rows, late] = 1.0
    markers[:, 0] = markers[rows, ends] = -1.0
    first, second = (np.where(place == 0, unseen, numbers[rows, place]) for place in (early, late))
    return np.stack([numbers, markers], axis=2), ends, first, second


def two_sequences(
    draw: np.random.Generator,
    count: int,
    time_steps: int,
    *,
    shortest: int,
    informative: int,
    noise_variance: float,
    informative_noise_variance: float,
    class_targets: Sequence[float],
    target_noise_variance: float,
) -> Drawn:
    """The first `informative` elements are 1 or -1 by the class, all others noise; the class is asked for at the end.

    It is told by the first or the second of the `class_targets` (section 5.3, after Bengio et al., 1994).
    """
    ends = draw.integers(shortest, time_steps + 1, count) - 1
    second = draw.integers(0, 2, count)
    inputs = np.sqrt(noise_variance) * draw.standard_normal((count, time_steps))
    signal = np.sqrt(informative_noise_variance) * draw.standard_normal((count, informative))
    inputs[:, :informative] = signal + np.where(second, -1.0, 1.0)[:, None]
    noise = np.sqrt(target_noise_variance) * draw.standard_normal(count)
    return at_the_end(inputs[..., None], (np.array(class_targets)[second] + noise)[:, None], ends)


def long_lag(draw: np.random.Generator, count: int, time_steps: int, *, lag: int, distractors: int) -> Drawn:
    """b, then x or y, then at least `lag` distractors, then e, after which x or y is to be told (section 5.2, 2c).

    There are so many kinds of distractors; each one after the first `lag` is followed by another with probability 9/10,
    as long as there is room.
    """
    rows, room = np.arange(count), time_steps - lag - 3
    e, b, x = distractors, distractors + 1, distractors + 2
    symbols = draw.integers(0, distractors, (count, time_steps))
    # The geometric distribution up to `room`, by its inverse
    share = draw.random(count) * (1 - 0.9 ** (room + 1))
    more = np.minimum(np.log1p(-share) / np.log(0.9), room).astype(int)
    kind = draw.integers(0, 2, count)
    ends = 2 + lag + more
    symbols[:, 0], symbols[:, 1], symbols[rows, ends] = b, x + kind, e
    return at_the_end(one_hot(symbols, distractors + 4), one_hot(kind, 2), ends)


def temporal_order(
    draw: np.random.Generator, count: int, time_steps: int, *, shortest: int, places: Sequence[Sequence[int]]
) -> Drawn:
    """E, then a, b, c, d at random, then B; somewhere in each of the `places` X or Y, whose order is the class.

    Places [first, last] count the elements from 1 on. Symbols are a, b, c, d, X, Y, E, B in this order (section 5.6).
    """
    rows = np.arange(count)
    ends = draw.integers(shortest, time_steps + 1, count) - 1
    symbols = draw.integers(0, 4, (count, time_steps))
    kind = np.zeros(count, int)
    for first, last in places:
        is_y = draw.integers(0, 2, count)
        symbols[rows, draw.integers(first - 1, last, count)] = 4 + is_y
        kind = 2 * kind + is_y
    symbols[:, 0], symbols[rows, ends] = 6, 7
    return at_the_end(one_hot(symbols, 8), one_hot(kind, 2 ** len(places)), ends)


def one_hot(symbols: np.ndarray, size: int) -> np.ndarray:
    """[...] whole numbers as [..., size]: 1 at each, 0 elsewhere."""
    return np.eye(size, dtype=np.float32)[symbols]


def at_the_end(inputs: np.ndarray, answers: np.ndarray, ends: np.ndarray) -> Drawn:
    """Sequences that end after the steps `ends` [count], where `answers` [count, output_size] are asked for."""
    time_steps = np.arange(inputs.shape[1])
    inputs = np.where((time_steps <= ends[:, None])[..., None], inputs, 0.0)
    counts = time_steps == ends[:, None]
    return Drawn(inputs, counts[..., None] * answers[:, None], counts)


# A task draws `count` sequences of at most `time_steps` steps
TASKS: dict[str, Callable[..., Drawn]] = {
    "adding": adding,
    "multiplication": multiplication,
    "two_sequences": two_sequences,
    "long_lag": long_lag,
    "temporal_order": temporal_order,
}


class Task:
    """What all sources of tasks have in common; `noise_seed` decides what is drawn."""

    units: Units | None = None
    epoch = None
    carries_into_unseen = False
    file_sha256: str | None = None
    told = ""
    counted = "sequences"
    input_size: int
    output_size: int

    def __init__(self, batch_size: int, time_steps: int, noise_seed: int) -> None:
        self.batch_size, self.time_steps, self.noise_seed = batch_size, time_steps, noise_seed
        self.stride = batch_size  # no two batches share a row

    def chunk(self, first: int, steps: int) -> Rows:
        """The rows of the batches `first` to `first + steps - 1`."""
        raise NotImplementedError

    def shown(self, steps: int) -> int:
        """How many sequences (of a stream: symbols) so many steps train on."""
        return steps * self.batch_size

    def new(self, look: int, first: int, count: int) -> New:
        """The sequences `first` to `first + count - 1` of those that are new at a look; other ones at each."""
        raise NotImplementedError

    def unit_table(self) -> dict[str, np.ndarray]:
        """A task's numbers are as they are."""
        return {}

    def unseen(self, steps: int, windows: int) -> list[Continuation]:
        """There is no curve that goes on."""
        return []

    def validation(self) -> list[Continuation]:
        """Every batch is new to the model, so that its cost ranks runs already."""
        return []

    def digest(self, steps: int) -> str:
        """SHA-256 of the first and the last batch of `steps`, inputs and targets."""
        sha = hashlib.sha256()
        for k in (0, steps - 1):
            rows = self.chunk(k, 1)
            sha.update(rows.inputs.tobytes() + rows.targets.tobytes())
        return sha.hexdigest()


class Sequences(Task):
    """The batches of a task of `TASKS`; what else its function takes goes into `parameters`."""

    def __init__(self, task: str, batch_size: int, time_steps: int, noise_seed: int, **parameters: Any) -> None:
        super().__init__(batch_size, time_steps, noise_seed)
        self.draw, self.parameters = TASKS[task], parameters
        one = self.drawn(0, 1, parameters)
        self.input_size, self.output_size = one.inputs.shape[-1], one.targets.shape[-1]

    def drawn(self, first: int, count: int, parameters: dict[str, Any]) -> Drawn:
        """The sequences `first` to `first + count - 1`."""
        blocks = range(first // BLOCK, (first + count - 1) // BLOCK + 1)
        parts = [self.draw(generator(self.noise_seed, block), BLOCK, self.time_steps, **parameters) for block in blocks]
        start = first - blocks[0] * BLOCK
        whole = (np.concatenate(arrays)[start : start + count] for arrays in zip(*parts, strict=True))
        inputs, targets, counts = whole
        return Drawn(inputs.astype(np.float32), targets.astype(np.float32), counts)

    def chunk(self, first: int, steps: int) -> Rows:
        """The rows of the batches `first` to `first + steps - 1`; each row starts over from a state of zeros."""
        drawn = self.drawn(first * self.batch_size, steps * self.batch_size, self.parameters)
        return rows_of(drawn, np.ones((steps, self.batch_size), bool))

    def new(self, look: int, first: int, count: int) -> New:
        """The sequences `first` to `first + count - 1` of those that are new at a look; their targets have no noise."""
        clean = {key: 0.0 for key in ("target_noise_variance",) if key in self.parameters}
        return New(*self.drawn(NEW + look * AT_A_LOOK + first, count, self.parameters | clean))


def generator(seed: int, block: int, stream: int = 0) -> np.random.Generator:
    """The random numbers of a block, of one of several streams."""
    return np.random.Generator(np.random.Philox(key=[seed, block], counter=[0, 0, 0, stream]))


def rows_of(drawn: Drawn, starts_over: np.ndarray | None) -> Rows:
    """Sequences as rows; x counts the steps."""
    count, time_steps = drawn.counts.shape
    x = np.broadcast_to(np.arange(float(time_steps)), (count, time_steps))
    return Rows(x, drawn.inputs, drawn.targets, drawn.counts.astype(np.float32), starts_over)


class EmbeddedReber(Task):
    """Strings of the embedded Reber grammar, whose next symbol is to be predicted at every step (section 5.1).

    Training draws at random from `strings` that were drawn once; as many others, none of them among these, are new.
    """

    input_size = output_size = len(reber.SYMBOLS)

    def __init__(self, batch_size: int, time_steps: int, noise_seed: int, strings: int) -> None:
        super().__init__(batch_size, time_steps, noise_seed)
        draw = generator(noise_seed, NEW)
        own, others, found = reber.strings(draw, strings, time_steps + 1), [], 0
        known = set(map(tuple, own.symbols.tolist()))
        while found < strings:
            drawn = reber.strings(draw, strings, time_steps + 1)
            new = np.array([tuple(string) not in known for string in drawn.symbols.tolist()])
            others.append(reber.Walked(*(array[new] for array in drawn)))
            found += int(new.sum())
        self.strings = strings
        self.both = reber.Walked(*(np.concatenate(arrays)[: 2 * strings] for arrays in zip(own, *others, strict=True)))

    def chunk(self, first: int, steps: int) -> Rows:
        """The rows of the batches `first` to `first + steps - 1`; each row starts over from a state of zeros."""
        numbers = range(first * self.batch_size, (first + steps) * self.batch_size)
        blocks = range(numbers[0] // BLOCK, numbers[-1] // BLOCK + 1)
        chosen = np.concatenate(
            [generator(self.noise_seed, block).integers(0, self.strings, BLOCK) for block in blocks]
        )
        start = numbers[0] - blocks[0] * BLOCK
        symbols = self.both.symbols[chosen[start : start + len(numbers)]]
        return rows_of(next_symbols(symbols), np.ones((steps, self.batch_size), bool))

    def new(self, look: int, first: int, count: int) -> New:
        """One of those trained on and one of the others in turn, the same at each look: the criterion is on both."""
        numbers = np.arange(first, first + count)
        chosen = numbers // 2 % self.strings + numbers % 2 * self.strings
        symbols, states = (array[chosen] for array in self.both)
        return New(*next_symbols(symbols), reber.possible(states[:, :-1]))


def next_symbols(symbols: np.ndarray) -> Drawn:
    """Each symbol but the last as input, the next one as target; -1 stands where there is none."""
    counts = symbols[:, 1:] >= 0
    before, after = (np.where(counts, part, 0) for part in (symbols[:, :-1], symbols[:, 1:]))
    inputs, targets = (one_hot(part, len(reber.SYMBOLS)) * counts[..., None] for part in (before, after))
    return Drawn(inputs.astype(np.float32), targets.astype(np.float32), counts)


class ContinualReber(Task):
    """Streams of embedded Reber strings, one after the other without an end, their next symbol to be predicted.

    (Gers, Schmidhuber and Cummins, 2000.) Row b of every batch is of stream b, and goes on where row b of the batch
    before ended: nothing but the carried state knows what came before, and nothing ever resets it.
    """

    input_size = output_size = len(reber.SYMBOLS)
    counted = "symbols"

    def __init__(self, batch_size: int, time_steps: int, noise_seed: int) -> None:
        super().__init__(batch_size, time_steps, noise_seed)
        self.streams = [reber.Stream(self.block_of(row)) for row in range(batch_size)]

    def block_of(self, stream: int, first: int = 0) -> Callable[[int], np.random.Generator]:
        """The random numbers of each block of strings of a stream."""
        return lambda block: generator(self.noise_seed, first + block, stream)

    def chunk(self, first: int, steps: int) -> Rows:
        """The rows of the batches `first` to `first + steps - 1`."""
        start, length = first * self.time_steps, steps * self.time_steps
        symbols = np.stack([stream.walk(start, length + 1).symbols for stream in self.streams])
        inputs, targets, counts = (
            part.reshape(self.batch_size, steps, self.time_steps, *part.shape[2:])
            .swapaxes(0, 1)
            .reshape(-1, self.time_steps, *part.shape[2:])
            for part in next_symbols(symbols)
        )
        rows = rows_of(Drawn(inputs, targets, counts), None)
        x = start + np.arange(float(length)).reshape(steps, 1, -1).repeat(self.batch_size, axis=1)
        return Rows(x.reshape(-1, self.time_steps), rows.inputs, rows.targets)

    def shown(self, steps: int) -> int:
        """How many symbols so many steps train on."""
        return steps * self.batch_size * self.time_steps

    def new(self, look: int, first: int, count: int) -> New:
        """The streams `first` to `first + count - 1` of those that are new at a look; reber.TESTED symbols count."""
        streams = [reber.Stream(self.block_of(look * AT_A_LOOK + i, NEW)) for i in range(first, first + count)]
        walked = [stream.walk(0, reber.LEAD_IN + reber.TESTED + 1) for stream in streams]
        symbols, states = (np.stack(arrays) for arrays in zip(*walked, strict=True))
        drawn = next_symbols(symbols)
        drawn.counts[:, : reber.LEAD_IN] = False
        return New(*drawn, reber.possible(states[:, :-1]))
