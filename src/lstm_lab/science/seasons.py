"""What forecasts of a file's series are measured by: the seasonal naive forecast, and its error in training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lstm_lab.science import scores
from lstm_lab.science.curves import Continuation
from lstm_lab.science.series import SeriesBatches
from lstm_lab.tables.samples import BLOCK

SEASONS = 3  # that are looked back for a value where that of the last one misses


@dataclass(frozen=True)
class Seasons:
    """The seasons of a file's series, each of so many samples; arrays are in the targets' own units, in float64.

    Where the season before has no value, the forecast is the last one known, and where there is none either, the mean
    of what was trained on.
    """

    source: SeriesBatches
    season: int

    @classmethod
    def of(cls, source: SeriesBatches, asked: int | None) -> "Seasons":
        """Those asked for or, if None, those that the time stamps tell; without any, each sample is one."""
        sampling = source.samples.sampling
        return cls(source, asked or (sampling.season if sampling else 1))

    def error(self, curve: Continuation) -> np.ndarray:
        """The mean absolute error [targets] of the seasonal naive forecast in what was trained on of the series."""
        one, split = self.source.samples.series[curve.series], self.source.splits[curve.series]
        parts = [(first, min(stop, split.trained + curve.horizon)) for first, stop in one.stretches]
        blocks = (
            self.source.samples.values[i : min(i + BLOCK + self.season, stop)][:, self.source.targets]
            for first, stop in parts
            for i in range(first, stop, BLOCK)
        )
        return scores.seasonal_error(blocks, self.season)

    def along(self, curve: Continuation) -> np.ndarray:
        """The forecast [samples from `first` on, targets] of each, made as long before it as the horizon is."""
        past, before = self.past(curve, curve.horizon)
        guesses = [scores.seasonal_naive_along(past, curve.horizon, season) for season in (self.season, 1)]
        return first_known(curve, [guess[before + curve.first :] for guess in guesses])

    def ahead(self, curve: Continuation, origins: np.ndarray, steps: int) -> np.ndarray:
        """The forecasts [origins, steps, targets] from each origin on."""
        past, before = self.past(curve, steps)
        made = []
        for origin in (before + origins).tolist():
            known = past[max(0, origin - self.longest(steps)) : origin]
            guesses = [scores.seasonal_naive(known, steps, season) for season in (self.season, 1)]
            made.append(first_known(curve, guesses))
        return np.array(made).reshape(len(origins), steps, past.shape[-1])

    def longest(self, lead: int) -> int:
        """How many samples back a forecast so far ahead looks."""
        return self.season * (math.ceil(lead / self.season) + SEASONS)

    def past(self, curve: Continuation, lead: int) -> tuple[np.ndarray, int]:
        """The targets of the curve's samples, and of those before them that its forecasts need; how many these are."""
        first = int(curve.x[0])
        [(begin, stop)] = [
            (begin, stop) for begin, stop in self.source.samples.series[curve.series].stretches if begin <= first < stop
        ]
        before = min(first - begin, self.longest(lead))
        end = first + len(curve.x)
        values = self.source.samples.values[first - before : min(end, stop)][:, self.source.targets]
        return np.pad(values, ((0, end - min(end, stop)), (0, 0)), constant_values=np.nan), before


def first_known(curve: Continuation, guesses: Sequence[np.ndarray]) -> np.ndarray:
    """Of the guesses [..., targets] the first that is known; else the mean of what was trained on."""
    assert curve.units is not None
    found = np.broadcast_to(curve.units[0], guesses[0].shape)
    for guess in reversed(guesses):
        found = np.where(np.isnan(guess), found, guess)
    return found
