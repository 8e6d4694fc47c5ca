"""The median cost curve of many runs, and the band that the middle half of them lies in."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lstm_lab.records import lookup
from lstm_lab.records.store import StoreError
from lstm_lab.reports.comparison import COSTS, FETCHERS, Curve, Facts

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
        return [band_of(runs, list(pool.map(costs_of, runs))) for runs in rows]


def band_of(runs: Sequence[Facts], costs: Sequence[np.ndarray | None]) -> Band | None:
    """The band of runs with these costs [steps done], as far as every run that did not diverge goes.

    Behind its end a run that diverged counts as infinite.
    """
    known = [(facts.status == "FAILED", found) for facts, found in zip(runs, costs, strict=True) if found is not None]
    if not known:
        return None
    lasting = [len(found) for failed, found in known if not failed]
    steps = min(lasting) if lasting else max(len(found) for _, found in known)
    points = np.unique(np.linspace(0, steps - 1, POINTS).round().astype(int))
    means = np.full((len(known), len(points)), np.inf)
    for mean, (_, found) in zip(means, known, strict=True):
        inside = points[points < len(found)]
        mean[: len(inside)] = Curve(np.arange(len(found)), found.astype(np.float64)).mean().costs[inside]
    return Band(points, *middle_half(means), len(known))


def middle_half(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The median of values [runs, points], and the lowest and the highest of their middle half; NaN is the worst."""
    ordered, runs = np.sort(values, axis=0), len(values)
    outside = (runs - 1) // 4  # runs below the half, and as many above it
    with np.errstate(invalid="ignore"):
        middle = (ordered[(runs - 1) // 2] + ordered[runs // 2]) / 2
    return middle, ordered[outside], ordered[runs - 1 - outside]
