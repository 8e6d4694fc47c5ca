"""The public series that forecasts are compared on, and how each is parted: benchmarks/series/README.md tells of them."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
HELD_OUT, VALIDATION = 0.2, 0.1  # shares of the samples, as in conf/data/csv.yaml


@dataclass(frozen=True)
class Series:
    """A column of a file; `season` samples make a season, forecasts go `horizon` samples ahead."""

    name: str
    file: str
    column: str
    season: int
    horizon: int

    def values(self) -> np.ndarray:
        """The samples, float64."""
        with open(ROOT / self.file, encoding="utf-8", newline="") as text:
            return np.array([float(row[self.column]) for row in csv.DictReader(text)])


@dataclass(frozen=True)
class Split:
    """Samples before `trained` are trained on, those before `known` are for validation, the rest are held out.

    An origin is the number of a forecast's first sample: all before it are known. There is one at every held-out sample
    from which the forecast does not reach beyond the end.
    """

    trained: int
    known: int
    origins: list[int]


HORIZONS = {1: 6, 4: 8, 12: 18}  # as in the M4 competition, by season
US = "benchmarks/series/us_quarterly.csv"
US_COLUMNS = "inflation", "unemployment", "bill_rate", "gdp_growth", "consumption_growth", "investment_growth"

SERIES = [
    Series("sunspots", "conf/data/series/sunspots.csv", "sunspots", 11, HORIZONS[1]),  # the sun's cycle of 11 years
    Series("nile", "benchmarks/series/nile.csv", "volume", 1, HORIZONS[1]),
    Series("co2", "benchmarks/series/co2_monthly.csv", "co2", 12, HORIZONS[12]),
    Series("elnino", "benchmarks/series/elnino.csv", "temperature", 12, HORIZONS[12]),
    Series("elec_equip", "benchmarks/series/elec_equip.csv", "turnover", 12, HORIZONS[12]),
    *(Series(f"us_{column}", US, column, 4, HORIZONS[4]) for column in US_COLUMNS),
]


def split(samples: int, horizon: int) -> Split:
    """How a series of so many samples is parted, as the program parts a file."""
    known = samples - math.ceil(HELD_OUT * samples)
    return Split(known - math.ceil(VALIDATION * samples), known, list(range(known, samples - horizon + 1)))
