"""How a column is normalised: the mean and the standard deviation of what is trained on become 0 and 1."""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from lstm_lab.config import ConfigError
from lstm_lab.tables.samples import Stretch

SMALLEST = 1e-100  # of a column's standard deviation, so that its square is a number too
STEPS = 1000  # from one float64 number to the next, that the standard deviation spans at least
FARTHEST = 1e30  # standard deviations from the mean: float32 and the model's weights leave room for no more
BLOCK = 2**16  # samples that are worked on at a time
Unit = tuple[float, float]  # mean and standard deviation


@dataclass(frozen=True)
class Column:
    """Some stretches of a column: `values` [samples] of all of it, and `where` it is, for messages."""

    values: np.ndarray
    stretches: tuple[Stretch, ...]
    where: str

    def blocks(self) -> Iterator[np.ndarray]:
        """The numbers there that are not missing, some at a time."""
        for first, stop in self.stretches:
            for i in range(first, stop, BLOCK):
                block = self.values[i : min(i + BLOCK, stop)]
                missing = np.isnan(block)
                yield block[~missing] if missing.any() else block

    def count(self) -> int:
        """How many these are."""
        return sum(map(len, self.blocks()))

    def ends(self) -> tuple[float, float]:
        """The lowest and the highest; infinities if there are none."""
        low = min((block.min() for block in self.blocks() if len(block)), default=math.inf)
        return float(low), float(max((block.max() for block in self.blocks() if len(block)), default=-math.inf))

    def is_constant(self) -> bool:
        """Whether there are no two that differ."""
        low, high = self.ends()
        return low >= high


def exact_sum(blocks: Iterable[np.ndarray]) -> float:
    """The sum of all numbers, rounded once: no processor rounds it otherwise."""
    return math.fsum(itertools.chain.from_iterable(block.tolist() for block in blocks))


def unit_of(column: Column) -> Unit:
    """Mean and standard deviation of the column.

    ConfigError if float64 does not hold what there is to learn: the values are equal or nearly so, or the deviation is
    too small to be squared.
    """
    count = column.count()
    where, samples = column.where, f"all {count:,} samples to train on"
    if not count:
        raise ConfigError(f"{where}: every value of the samples to train on is missing")
    mean = exact_sum(column.blocks()) / count
    stddev = math.sqrt(exact_sum((block - mean) ** 2 for block in column.blocks()) / count)
    low, high = column.ends()
    if low == high:
        raise ConfigError(
            f"{where}: is {low:g} in {samples}, to the 15 digits that are read; from a constant there is nothing to "
            "learn"
        )
    if stddev < SMALLEST:
        raise ConfigError(f"{where}: its standard deviation is below {SMALLEST:g}; multiply it by a constant")
    if stddev < STEPS * (step := np.spacing(max(-low, high))):
        raise ConfigError(
            f"{where}: is {low:g} in {samples} but for a standard deviation of {stddev:.2g}, and numbers of that size "
            f"are read in steps of {step:.2g}; subtract a constant from it"
        )
    return mean, stddev


def check_outliers(column: Column, unit: Unit) -> None:
    """ConfigError if one of the values is so far off that float32 does not tell the others apart."""
    mean, stddev = unit
    count = column.count()
    if not count:
        return
    every = 1 + count // BLOCK
    low, high = np.quantile(np.concatenate([block[::every] for block in column.blocks()]), (0.25, 0.75)).tolist()
    step = stddev * float(np.spacing(np.float32(max(mean - low, high - mean) / stddev)))
    if 0 < high - low < STEPS * step:
        farthest = max(column.ends(), key=lambda value: abs(value - mean))
        raise ConfigError(
            f"{column.where}: half of the samples to train on lie between {low:g} and {high:g}, and "
            f"{farthest:g} is among the others: normalised by that they are all one; if it stands for a missing value, "
            f"take it out, or name it: data.missing_values=[{farthest:g}] data.missing=interpolate"
        )


def check_range(column: Column, unit: Unit) -> None:
    """ConfigError if one of the values is so far off that it cannot be normalised to a float32."""
    mean, stddev = unit
    for value in filter(math.isfinite, column.ends()):
        if abs(value - mean) / stddev > FARTHEST:
            raise ConfigError(
                f"{column.where}: {value:g} is held out, and the samples to train on are {mean:g} with a "
                f"standard deviation of {stddev:.2g}; if it stands for a missing value, take it out"
            )
