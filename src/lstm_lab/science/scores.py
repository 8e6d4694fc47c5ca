"""How good forecasts are, in figures that can be compared between series; and the seasonal naive forecast.

Arrays are [..., targets]. A target that is NaN is missing: it is left out. A prediction that is NaN is not.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Score:
    """A score of each target [targets], and `overall`, that of all their values together; NaN if there are none."""

    each: np.ndarray
    overall: float


def averaged(errors: np.ndarray, target: np.ndarray) -> Score:
    """The mean of what is given for every target [..., targets], the missing ones left out."""
    present = ~np.isnan(target)

    def mean(i: int | slice) -> float:
        found = errors[..., i][present[..., i]]
        return float(found.mean()) if len(found) else math.nan

    return Score(np.array([mean(i) for i in range(target.shape[-1])]), mean(slice(None)))


def deviations(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """|prediction - target| in float64."""
    return np.abs(prediction.astype(np.float64) - target)


def rmse(target: np.ndarray, prediction: np.ndarray) -> Score:
    """The root of the mean squared error."""
    mse = averaged(deviations(target, prediction) ** 2, target)
    return Score(np.sqrt(mse.each), math.sqrt(mse.overall))


def smape(target: np.ndarray, prediction: np.ndarray) -> Score:
    """The mean of 200 |prediction - target| / (|prediction| + |target|), per cent; 0 where both are 0.

    As in the M4 competition (Makridakis et al., 2020). It is made for targets above zero.
    """
    size = np.abs(prediction.astype(np.float64)) + np.abs(target)
    return averaged(200 * deviations(target, prediction) / np.where(size == 0, 1, size), target)


def mase(target: np.ndarray, prediction: np.ndarray, scale: np.ndarray) -> Score:
    """The mean absolute scaled error (Hyndman and Koehler, 2006): below 1 is better than the seasonal naive forecast.

    Errors are divided by `scale` [..., targets], the `seasonal_error` of what was trained on. NaN or infinite if that
    is NaN or 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return averaged(deviations(target, prediction) / scale, target)


def seasonal_error(pieces: Iterable[np.ndarray], season: int) -> np.ndarray:
    """The mean absolute error [targets] of the seasonal naive forecast one season ahead, over pieces of a series.

    Each is [samples, targets], samples in their order. NaN if they make no more than a season.
    """
    total, count = 0.0, 0
    for piece in pieces:
        known = piece.astype(np.float64)
        off = np.abs(known[season:] - known[:-season])
        total, count = total + np.nansum(off, axis=0), count + (~np.isnan(off)).sum(axis=0)
    return np.where(count == 0, np.nan, total) / np.maximum(count, 1)


def seasonal_naive(past: np.ndarray, steps: int, season: int) -> np.ndarray:
    """The forecast [steps, targets] that repeats the last season of `past` [samples, targets]; of season 1, the last
    value.

    A missing value is that of the season before. NaN where the past knows none.
    """
    unknown = np.full((steps, past.shape[-1]), np.nan)
    return seasonal_naive_along(np.concatenate([past, unknown]), 1, season)[len(past) :]


def seasonal_naive_along(values: np.ndarray, lead: int, season: int) -> np.ndarray:
    """The seasonal naive forecast of every sample of `values` [samples, targets], made `lead` samples before it.

    That of sample n is the value at n - season * ceil(lead / season), or the last known one in seasons before it; NaN
    where there is none.
    """
    samples, targets = values.shape
    back = math.ceil(lead / season)
    cycles = back + math.ceil(samples / season)
    forecast = np.full((cycles * season, targets), np.nan)
    forecast[back * season :][:samples] = values
    known = ~np.isnan(forecast).reshape(cycles, season, targets)
    last = np.maximum.accumulate(np.where(known, np.arange(cycles)[:, None, None], 0))
    filled = np.take_along_axis(forecast.reshape(cycles, season, targets), last, axis=0)
    return filled.reshape(-1, targets)[:samples]
