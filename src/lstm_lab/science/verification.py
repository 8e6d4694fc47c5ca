"""Forecasts verified: their errors by lead time beside the seasonal naive forecast's, and how often intervals hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from lstm_lab.science import intervals, scores
from lstm_lab.science.backtest import Forecasts
from lstm_lab.science.curves import Continuation
from lstm_lab.science.scores import Score
from lstm_lab.science.seasons import Seasons


@dataclass(frozen=True)
class Verification:
    """What a backtest comes to: scores by name, over all lead times and at each; NaN where there is nothing to tell.

    Of each target they are in its own units; over all targets errors and widths of several are in the standard
    deviations that they were normalised by. `origins` is the number of those that were held out. `level` is that of the
    intervals, and `half_widths` float32 [steps, targets] are those beyond the end of a series, normalised, and infinite
    where there are too few errors; None without any interval.
    """

    scores: dict[str, Score]
    by_lead: list[dict[str, Score]]
    origins: int
    level: float | None
    half_widths: np.ndarray | None


def verify(
    forecasts: Forecasts, stretches: Sequence[Continuation], seasons: Seasons, level: float | None
) -> Verification | None:
    """Scores the forecasts whose origins are held out, with intervals of that level, if any; None if there are none.

    Intervals are calibrated, of all series together, by as many of the last errors as origins lie wholly in what is
    for validation (`intervals.recent_half_widths`).
    """
    judged = forecasts.since >= 0
    if not judged.any():
        return None
    off, steps = intervals.residuals(forecasts.made, forecasts.truths), forecasts.made.shape[1]
    half_widths, beyond = np.full_like(off[judged], np.inf), None
    window = int((forecasts.since + steps <= 0).sum())
    if level is not None and window:
        at = np.append(forecasts.since[judged], forecasts.since[-1] + steps)
        widths = intervals.recent_half_widths(off, forecasts.since, at, window, 1 - level)
        half_widths, beyond = widths[:-1], widths[-1].astype(np.float32)
    held = held_out(forecasts, stretches, seasons, half_widths)
    by_lead = [held.at(lead).scores() for lead in range(steps)]
    return Verification(held.scores(), by_lead, len(held.made), None if beyond is None else level, beyond)


@dataclass(frozen=True)
class Held:
    """Forecasts, the seasonal naive ones and their truths, each array [..., targets], in the targets' own units.

    `unit` are the standard deviations that they were normalised by, `half_width` is normalised, and `scale` the error
    of the seasonal naive forecast in training.
    """

    made: np.ndarray
    naive: np.ndarray
    truth: np.ndarray
    unit: np.ndarray
    scale: np.ndarray
    half_width: np.ndarray

    def at(self, lead: int) -> "Held":
        """Those of one lead time."""
        return Held(*(getattr(self, field.name)[:, lead] for field in fields(self)))

    def scores(self) -> dict[str, Score]:
        """Their scores by name."""
        width = np.where(np.isfinite(self.half_width), 2 * self.half_width, np.nan) * self.unit  # else there is none
        inside = np.abs(self.made - self.truth) / self.unit <= self.half_width
        return {
            "rmse": self.alike(scores.rmse, self.truth, self.made),
            "mase": scores.mase(self.truth, self.made, self.scale),
            "smape": scores.smape(self.truth, self.made),
            "seasonal_naive_rmse": self.alike(scores.rmse, self.truth, self.naive),
            "seasonal_naive_mase": scores.mase(self.truth, self.naive, self.scale),
            "coverage": scores.averaged(inside.astype(float), self.truth + width),
            "width": self.alike(scores.averaged, width, width),
        }

    def alike(self, score: Callable[..., Score], *arrays: np.ndarray) -> Score:
        """A score in the targets' units; over several in their standard deviations, so that each counts alike."""
        own = score(*arrays)
        if self.unit.shape[-1] == 1:
            return own
        return Score(own.each, score(*(array / self.unit for array in arrays)).overall)


def held_out(
    forecasts: Forecasts, stretches: Sequence[Continuation], seasons: Seasons, half_widths: np.ndarray
) -> Held:
    """The forecasts whose origins are held out."""
    parts = []
    judged = forecasts.since >= 0
    for i in np.unique(forecasts.stretch[judged]).tolist():
        curve, here = stretches[i], judged & (forecasts.stretch == i)
        assert curve.units is not None
        made, truth = (curve.in_units(values[here]) for values in (forecasts.made, forecasts.truths))
        naive = seasons.ahead(curve, forecasts.sample[here], made.shape[1])
        unit, scale = (np.broadcast_to(of_target, made.shape) for of_target in (curve.units[1], seasons.error(curve)))
        parts.append((made, naive, truth, unit, scale, half_widths[here[judged]]))
    return Held(*map(np.concatenate, zip(*parts, strict=True)))
