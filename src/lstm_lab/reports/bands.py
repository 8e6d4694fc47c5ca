"""The median cost curve of many runs, and the band that the middle half of them lies in."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lstm_lab.records import lookup
from lstm_lab.records.store import StoreError
from lstm_lab.reports.comparison import COSTS, FETCHERS, Curve, Facts
from lstm_lab.runs import seeds

if TYPE_CHECKING:
    from mlflow import MlflowClient

POINTS = 400  # of a curve, at most


@dataclass(frozen=True)
class Band:
    """At each of `steps` [points] the median over the runs, and the ends of their middle half, of the mean cost."""

    steps: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray
    runs: int  # that have a curve


def medians(bands: Sequence[Band | None]) -> list[Curve | None]:
    """The median curve of each band."""
    return [Curve(band.steps, band.middle) if band else None for band in bands]


def fetch(client: "MlflowClient", rows: Sequence[Sequence[Facts]], advance: Callable[[], None]) -> list[Band | None]:
    """The band of each row's runs, None of a row without a curve; calls `advance` after each run."""

    def costs_of(facts: Facts) -> np.ndarray | None:
        try:
            return lookup.costs_of(client, facts.run, COSTS) if facts.run else None
        except StoreError:  # the row's page says how many curves there are
            return None
        finally:
            advance()

    with ThreadPoolExecutor(FETCHERS) as pool:
        return [band_of([costs for costs in pool.map(costs_of, runs) if costs is not None]) for runs in rows]


def band_of(curves: Sequence[np.ndarray]) -> Band | None:
    """The band of curves [steps done], as far as every one goes that did not diverge; None if there is none.

    Behind its end one that diverged counts as infinite.
    """
    if not curves:
        return None
    costs = seeds.together(curves)
    steps = np.arange(costs.shape[1])
    points = np.unique(np.linspace(0, len(steps) - 1, POINTS).round().astype(int))
    means = np.array([Curve(steps, one.astype(np.float64)).mean().costs[points] for one in costs])
    return Band(points, *middle_half(means), len(curves))


def middle_half(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The median of values [runs, points], and the lowest and the highest of their middle half; NaN is the worst."""
    ordered, runs = np.sort(values, axis=0), len(values)
    outside = runs // 4  # below the half, and as many above it
    with np.errstate(invalid="ignore"):
        middle = (ordered[(runs - 1) // 2] + ordered[runs // 2]) / 2
    return middle, ordered[outside], ordered[runs - 1 - outside]
