"""The curves, and the batches cut from them.

Sample n of a curve sits at x = n * sample_spacing. Batch k has `batch_size` rows of `time_steps` consecutive samples;
its row b starts at sample time_steps * (k + b). So row b of batch k + 1 goes on where row b of batch k ended, which
is what makes carrying the state from batch to batch exact, and neighbouring batches share all rows but one.

Every function here is a pure function of the sample number: there is no cursor, and nothing is ever loaded whole.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

NOISE_BLOCK = 4096  # samples drawn from one random stream


def sine_to_cosine(n: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The tutorial's pair: sin(x) in, cos(x) out."""
    return np.sin(x), np.cos(x)


def noisy_sines_to_derivative(
    n: np.ndarray,
    x: np.ndarray,
    *,
    amplitudes: Sequence[float],
    frequencies: Sequence[float],
    noise_stddev: float,
    noise_seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """A sum of a*sin(f*x) under Gaussian noise in, its exact derivative, the sum of a*f*cos(f*x), out."""
    a, f = np.array(amplitudes)[:, None], np.array(frequencies)[:, None]
    clean = (a * np.sin(f * x)).sum(axis=0)
    derivative = (a * f * np.cos(f * x)).sum(axis=0)
    return clean + noise_stddev * gaussian_noise(n, noise_seed), derivative


def delayed_recall(n: np.ndarray, x: np.ndarray, *, delay: int, noise_seed: int) -> tuple[np.ndarray, np.ndarray]:
    """White Gaussian noise of variance 1 in, the same noise `delay` samples later out.

    Nothing but memory helps: the input says nothing of its own past or future.
    """
    first = np.arange(n[0], n[-1] + 1 + delay)
    noise = gaussian_noise(first, noise_seed)
    return noise[delay:], noise[: len(n)]


def gaussian_noise(n: np.ndarray, seed: int) -> np.ndarray:
    """Standard normal noise for consecutive sample numbers `n`: sample i gets the same value in every batch.

    The samples are drawn in blocks, each from a counter-based stream of its own (Philox; Salmon et al., 2011).
    """
    blocks = range(int(n[0]) // NOISE_BLOCK, int(n[-1]) // NOISE_BLOCK + 1)
    drawn = [np.random.Generator(np.random.Philox(key=[seed, block])).standard_normal(NOISE_BLOCK) for block in blocks]
    return np.concatenate(drawn)[n - blocks[0] * NOISE_BLOCK]


# A curve maps consecutive sample numbers [samples] and their positions x [samples] to (input, target), each [samples].
CURVES: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "sine_to_cosine": sine_to_cosine,
    "noisy_sines_to_derivative": noisy_sines_to_derivative,
    "delayed_recall": delayed_recall,
}


# What the targets of a curve are called in figures, where it has several
SIGNALS: dict[str, tuple[str, ...]] = {"tumbling_body": ("ω1", "ω2", "ω3")}


@dataclass(frozen=True)
class Rows:
    """Rows of consecutive samples: `x` is [rows, time_steps], `inputs` and `targets` [rows, time_steps, 1].

    `starts_over` [batches], for a series that comes to an end, tells which batches begin from a state of zeros.
    """

    x: np.ndarray
    inputs: np.ndarray
    targets: np.ndarray
    starts_over: np.ndarray | None = None


@dataclass(frozen=True)
class Continuation:
    """A stretch of consecutive samples [samples] of a curve, to be predicted from `first` on.

    The first `trained` of them were trained on, the others never. With a `horizon` the target is the input so many
    samples later. `unit` is the mean and the standard deviation that the target was normalised with.
    """

    x: np.ndarray
    inputs: np.ndarray
    targets: np.ndarray
    first: int
    trained: int
    horizon: int = 0
    unit: tuple[float, float] = (0.0, 1.0)


class Source(Protocol):
    """Where batches come from: batch k is a pure function of k.

    The batches of a chunk lie in one array, `stride` rows apart; they are the windows of `batch_size` rows there.
    `carries_into_unseen` tells whether the last row's state after the last step stands at the continuation's `first`.
    `units` are mean and standard deviation of inputs and of targets, if they are normalised; else there are none.
    `file_sha256` is the digest of the file that they come from, if they come from one.
    """

    batch_size: int
    time_steps: int
    stride: int
    carries_into_unseen: bool
    units: Sequence[tuple[float, float]]
    file_sha256: str | None

    @property
    def epoch(self) -> int | None:
        """After how many steps every row starts over from a state of zeros; None: never."""

    def chunk(self, first: int, steps: int) -> Rows:
        """The rows of the batches `first` to `first + steps - 1`."""

    def continuation(self, steps: int, windows: int) -> Continuation:
        """At most `windows` windows of what `steps` steps never trained on, and of what lies before it."""

    def validation(self) -> Continuation | None:
        """Windows that are neither trained on nor in the continuation, to rank runs by; None if there are none."""

    def digest(self, steps: int) -> str:
        """SHA-256 of what tells the data of `steps` steps apart from other data."""


class Batches:
    """The batches of one curve.

    `sample_spacing` is the distance in x between two samples; `curve` is a name of `CURVES`, and what else that
    function takes goes into `parameters`.
    """

    stride = 1
    carries_into_unseen = True
    epoch = None
    units: Sequence[tuple[float, float]] = ()
    file_sha256: str | None = None

    def __init__(self, curve: str, batch_size: int, time_steps: int, sample_spacing: float, **parameters: Any) -> None:
        self.curve, self.parameters = CURVES[curve], parameters
        self.batch_size, self.time_steps, self.sample_spacing = batch_size, time_steps, sample_spacing

    def rows(self, first: int, count: int) -> Rows:
        """Rows `first` to `first + count - 1` of the curve, computed in float64 and rounded to float32 once.

        Batch k is `rows(k, batch_size)`; the n batches from k on are the windows of `rows(k, n + batch_size - 1)`.
        """
        n = np.arange(first * self.time_steps, (first + count) * self.time_steps)
        x = n * self.sample_spacing
        inputs, targets = self.curve(n, x, **self.parameters)
        shape = (count, self.time_steps, 1)
        return Rows(
            x.reshape(shape[:2]), inputs.astype(np.float32).reshape(shape), targets.astype(np.float32).reshape(shape)
        )

    def chunk(self, first: int, steps: int) -> Rows:
        """The rows of the batches `first` to `first + steps - 1`: neighbouring batches share all rows but one."""
        return self.rows(first, steps + self.batch_size - 1)

    def continuation(self, steps: int, windows: int) -> Continuation:
        """The `windows` windows of `time_steps` samples that follow what `steps` steps trained on, and as many before.

        The last row's state after the last step stands exactly at the first of them: row `batch_size - 1` of batch
        `steps - 1` ended there.
        """
        first = steps - 1 + self.batch_size
        before = min(windows, first)
        rows = self.rows(first - before, before + windows)
        trained = before * self.time_steps
        return Continuation(rows.x.ravel(), rows.inputs.ravel(), rows.targets.ravel(), trained, trained)

    def validation(self) -> None:
        """There are none: nearly every batch of a curve is new to the model, so that its cost ranks runs already."""

    def digest(self, steps: int) -> str:
        """SHA-256 of the first and the last batch of `steps`, inputs and targets."""
        sha = hashlib.sha256()
        for k in (0, steps - 1):
            rows = self.rows(k, self.batch_size)
            sha.update(rows.inputs.tobytes() + rows.targets.tobytes())
        return sha.hexdigest()
