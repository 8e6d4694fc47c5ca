"""What many runs say together: medians with their intervals, and recipes compared seed by seed.

Costs of one recipe differ by orders of magnitude from seed to seed, so that means say little; medians and ranks hold.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

ACCEPTED = 0.05  # a difference with a smaller p is called one


@dataclass(frozen=True)
class Estimate:
    """A median and its 95 % interval; NaN where there are too few values for one (fewer than 6)."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """Two recipes compared over the seeds that both have; without any, NaN."""

    ratio: Estimate
    p: float
    seeds: int

    @property
    def decided(self) -> bool:
        """Whether the first of the two costs more, beyond chance."""
        return self.p < ACCEPTED and self.ratio.median > 1


def median(values: Iterable[float]) -> Estimate:
    """The median with its exact, distribution-free interval between two order statistics (Conover, 1999)."""
    from scipy import stats  # it takes half a second, and a refused config must not wait for it

    values = list(values)
    if not values:
        return Estimate(np.nan, np.nan, np.nan)
    interval = stats.quantile_test(values, p=0.5).confidence_interval(0.95)
    return Estimate(float(np.median(values)), float(interval.low), float(interval.high))


def paired(first: Mapping[Any, float], second: Mapping[Any, float]) -> Paired:
    """How many times the cost of `first` (by seed) is that of `second`: the median ratio over the seeds.

    Costs are none below zero; of runs that diverged they are infinite, and two of these are equal. The test is
    Wilcoxon's signed-rank test on the logarithms, two-sided.
    """
    from scipy import stats

    seeds = sorted(set(first) & set(second))
    with np.errstate(divide="ignore"):
        ratios = [1.0 if first[s] == second[s] else np.float64(first[s]) / np.float64(second[s]) for s in seeds]
        logs = np.log(ratios)
    p = float(stats.wilcoxon(logs).pvalue) if np.any(logs) else 1.0 if seeds else np.nan
    return Paired(median(ratios), p, len(seeds))
