"""The public series that forecasts are compared on, and how each is parted; benchmarks/series/README.md has sources."""

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
HELD_OUT, VALIDATION = 0.2, 0.1  # shares of the samples after the first one


@dataclass(frozen=True)
class Series:
    """A column of a file; `season` samples make a season, forecasts go `horizon` samples ahead."""

    name: str
    file: str
    column: str
    season: int
    horizon: int

    @property
    def dated(self) -> bool:
        """Whether its samples lie within years."""
        return self.horizon != HORIZONS["year"]

    @cache  # noqa: B019 (there are eleven)
    def values(self) -> np.ndarray:
        """The samples, float64."""
        return np.array([float(row[self.column]) for row in rows_of(self.file)])


@dataclass(frozen=True)
class Split:
    """Samples before `trained` are trained on, those before `known` are for validation, the rest are held out.

    An origin is the number of a forecast's first sample: all before it are known. There is one at every held-out sample
    from which the forecast does not reach beyond the end.
    """

    trained: int
    known: int
    origins: list[int]


HORIZONS = {"year": 6, "quarter": 8, "month": 18}  # as in the M4 competition
US = "benchmarks/series/us_quarterly.csv"
US_COLUMNS = "inflation", "unemployment", "bill_rate", "gdp_growth", "consumption_growth", "investment_growth"

SERIES = [
    Series("sunspots", "conf/data/series/sunspots.csv", "sunspots", 11, HORIZONS["year"]),  # the sun's cycle
    Series("nile", "benchmarks/series/nile.csv", "volume", 1, HORIZONS["year"]),
    Series("co2", "benchmarks/series/co2_monthly.csv", "co2", 12, HORIZONS["month"]),
    Series("elnino", "benchmarks/series/elnino.csv", "temperature", 12, HORIZONS["month"]),
    Series("elec_equip", "benchmarks/series/elec_equip.csv", "turnover", 12, HORIZONS["month"]),
    *(Series(f"us_{column}", US, column, 4, HORIZONS["quarter"]) for column in US_COLUMNS),
]


def rows_of(file: str) -> list[dict[str, str]]:
    """The rows of a file in the repo."""
    with open(ROOT / file, encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def dates(series: Series) -> list[str]:
    """The first day of every sample."""
    return [row["date"] for row in rows_of(series.file)]


def split(series: Series) -> Split:
    """How a series is parted, as the program parts its file without the first sample, which has no change before it."""
    samples = len(series.values())
    known = samples - math.ceil(HELD_OUT * (samples - 1))
    trained = known - math.ceil(VALIDATION * (samples - 1))
    return Split(trained, known, list(range(known, samples - series.horizon + 1)))
