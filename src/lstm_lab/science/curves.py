"""The curves, and the batches cut from them.

Sample n of a curve sits at x = n * sample_spacing. Batch k has `batch_size` rows of `time_steps` consecutive samples;
its row b starts at sample time_steps * (k + b). So row b of batch k + 1 goes on where row b of batch k ended, which
is what makes carrying the state from batch to batch exact, and neighbouring batches share all rows but one.

Every function here is a pure function of the sample number: there is no cursor, and nothing is ever loaded whole.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lstm_lab.science import reber

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


def tumbling_body(
    n: np.ndarray, x: np.ndarray, *, moments: Sequence[float], spin: float, nudge: float, lead: float
) -> tuple[np.ndarray, np.ndarray]:
    """The angular velocities [samples, 3] of a free body about its own axes in, the same ones `lead` later out."""
    return angular_velocity(x, moments, spin, nudge), angular_velocity(x + lead, moments, spin, nudge)


def angular_velocity(t: np.ndarray, moments: Sequence[float], spin: float, nudge: float) -> np.ndarray:
    """How a body turns [samples, 3] at times t that was thrown at time 0, with (0, spin, nudge), and is left alone.

    It solves Euler's equations I1 w1' = (I2 - I3) w2 w3 and so on around, for moments of inertia I1 < I2 < I3, in
    Jacobi's elliptic functions (Landau and Lifshitz, Mechanics, section 37). However small the nudge is, the body does
    not go on turning about its middle axis: it turns over and over (Ashbaugh, Chicone and Cushman, 1991).
    """
    from scipy.special import ellipj, ellipk

    first, middle, last = moments
    of_spin = middle * (middle - first) * spin**2
    excess = of_spin + last * (last - first) * nudge**2  # M^2 - 2 E I1, of momentum M and energy E
    m, rate = of_spin / excess, math.sqrt((last - middle) * excess / (first * middle * last))
    sn, cn, dn, _ = ellipj(rate * t + ellipk(m), m)
    about_first = spin * math.sqrt(middle * (last - middle) / (first * (last - first)))
    about_last = math.sqrt(excess / (last * (last - first)))
    return np.stack([about_first * cn, spin * sn, about_last * dn], axis=-1)


def gaussian_noise(n: np.ndarray, seed: int) -> np.ndarray:
    """Standard normal noise for consecutive sample numbers `n`: sample i gets the same value in every batch.

    The samples are drawn in blocks, each from a counter-based stream of its own (Philox; Salmon et al., 2011).
    """
    blocks = range(int(n[0]) // NOISE_BLOCK, int(n[-1]) // NOISE_BLOCK + 1)
    drawn = [np.random.Generator(np.random.Philox(key=[seed, block])).standard_normal(NOISE_BLOCK) for block in blocks]
    return np.concatenate(drawn)[n - blocks[0] * NOISE_BLOCK]


# A curve maps consecutive sample numbers [samples] and their positions x [samples] to (input, target), each [samples],
# or [samples, size] where it has several signals.
CURVES: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "sine_to_cosine": sine_to_cosine,
    "noisy_sines_to_derivative": noisy_sines_to_derivative,
    "delayed_recall": delayed_recall,
    "tumbling_body": tumbling_body,
}
# What the targets of a curve, or of a task, are called in figures, where it has several
SIGNALS: dict[str, tuple[str, ...]] = {
    "tumbling_body": ("ω1", "ω2", "ω3"),
    "long_lag": ("x", "y"),
    **dict.fromkeys(("embedded_reber", "continual_reber"), tuple(reber.SYMBOLS)),
}

Units = tuple[np.ndarray, np.ndarray]  # of inputs and of targets: each [2, size], means over standard deviations


@dataclass(frozen=True)
class Rows:
    """Rows of consecutive samples: what every source of data answers with.

    `x` is [rows, time_steps], `inputs` [rows, time_steps, input_size], `targets` [rows, time_steps, output_size].
    `weights` [rows, time_steps] tells which steps count in the cost; all of them, if None. `starts_over`
    [batches, batch_size] tells which rows of which batches begin from a state of zeros; none, if None.
    """

    x: np.ndarray
    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None = None
    starts_over: np.ndarray | None = None


@dataclass(frozen=True)
class Continuation:
    """A stretch of consecutive samples to be predicted from `first` on.

    `x` is [samples], `inputs` [samples, input_size], `targets` [samples, output_size]. The first `trained` of them were
    trained on, the others never. With a `horizon` the targets lie so many samples later than the inputs. `units`
    [2, output_size] are the means and standard deviations that the targets were normalised with. `weights` [samples]
    tells which targets are known; all of them, if None. `same` tells of each of the first inputs which target is
    the same signal, or None; of none, if that is not known. The future of those behind them is known, but for the last
    `indicators`, which tell of missing values. Of a file, `series` is the number of the series, and from `held_out` on
    the samples are held out: the number may be below 0, or beyond the last of them.
    """

    x: np.ndarray
    inputs: np.ndarray
    targets: np.ndarray
    first: int
    trained: int
    horizon: int = 0
    units: np.ndarray | None = None
    weights: np.ndarray | None = None
    same: Sequence[int | None] | None = None
    indicators: int = 0
    series: int = 0
    held_out: int = 0

    def in_units(self, values: np.ndarray) -> np.ndarray:
        """Targets or predictions [..., output_size] as they were before they were normalised, in float64."""
        mean, stddev = (0.0, 1.0) if self.units is None else self.units
        return mean + stddev * values.astype(np.float64)

    def normalised(self, values: np.ndarray) -> np.ndarray:
        """Values [..., output_size] in the targets' units as these are."""
        mean, stddev = (0.0, 1.0) if self.units is None else self.units
        return (values - mean) / stddev


class Source(Protocol):
    """Where batches come from: batch k is a pure function of k.

    The batches of a chunk lie in one array, `stride` rows apart; they are the windows of `batch_size` rows there.
    `carries_into_unseen` tells whether the last row's state after the last step stands at the first unseen sample.
    `file_sha256` is the digest of the file that they come from, if they come from one, and `told` what it was read as.
    """

    batch_size: int
    time_steps: int
    stride: int
    input_size: int
    output_size: int
    carries_into_unseen: bool
    file_sha256: str | None
    told: str

    @property
    def units(self) -> Units | None:
        """Those of inputs and targets, if they are normalised and all series alike."""

    def unit_table(self) -> dict[str, np.ndarray]:
        """The units by series, as they are kept with a run: `series`, `inputs`, `targets`; nothing without units."""

    @property
    def epoch(self) -> int | None:
        """After how many steps every row starts over where it began, from a state of zeros; None: never."""

    def chunk(self, first: int, steps: int) -> Rows:
        """The rows of the batches `first` to `first + steps - 1`."""

    def unseen(self, steps: int, windows: int) -> list[Continuation]:
        """At most `windows` windows of each series that `steps` steps never trained on, and what lies before them."""

    def validation(self) -> list[Continuation]:
        """Windows that are neither trained on nor among the unseen ones, to rank runs by."""

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
    units: Units | None = None
    file_sha256: str | None = None
    told = ""

    def __init__(self, curve: str, batch_size: int, time_steps: int, sample_spacing: float, **parameters: Any) -> None:
        self.curve, self.parameters = CURVES[curve], parameters
        self.batch_size, self.time_steps, self.sample_spacing = batch_size, time_steps, sample_spacing
        first = self.rows(0, 1)
        self.input_size, self.output_size = first.inputs.shape[-1], first.targets.shape[-1]

    def rows(self, first: int, count: int) -> Rows:
        """Rows `first` to `first + count - 1` of the curve, computed in float64 and rounded to float32 once.

        Batch k is `rows(k, batch_size)`; the n batches from k on are the windows of `rows(k, n + batch_size - 1)`.
        """
        n = np.arange(first * self.time_steps, (first + count) * self.time_steps)
        x = n * self.sample_spacing
        inputs, targets = self.curve(n, x, **self.parameters)
        shape = (count, self.time_steps)
        rounded = [values.astype(np.float32).reshape(*shape, -1) for values in (inputs, targets)]
        return Rows(x.reshape(shape), *rounded)

    def chunk(self, first: int, steps: int) -> Rows:
        """The rows of the batches `first` to `first + steps - 1`: neighbouring batches share all rows but one."""
        return self.rows(first, steps + self.batch_size - 1)

    def unseen(self, steps: int, windows: int) -> list[Continuation]:
        """The `windows` windows of `time_steps` samples that follow what `steps` steps trained on, and as many before.

        The last row's state after the last step stands exactly at the first of them: row `batch_size - 1` of batch
        `steps - 1` ended there.
        """
        first = steps - 1 + self.batch_size
        before = min(windows, first)
        rows = self.rows(first - before, before + windows)
        trained = before * self.time_steps
        inputs, targets = (values.reshape(-1, values.shape[-1]) for values in (rows.inputs, rows.targets))
        return [Continuation(rows.x.ravel(), inputs, targets, trained, trained)]

    def unit_table(self) -> dict[str, np.ndarray]:
        """A curve's numbers are as they are."""
        return {}

    def validation(self) -> list[Continuation]:
        """There are none: nearly every batch of a curve is new to the model, so that its cost ranks runs already."""
        return []

    def digest(self, steps: int) -> str:
        """SHA-256 of the first and the last batch of `steps`, inputs and targets."""
        sha = hashlib.sha256()
        for k in (0, steps - 1):
            rows = self.rows(k, self.batch_size)
            sha.update(rows.inputs.tobytes() + rows.targets.tobytes())
        return sha.hexdigest()
