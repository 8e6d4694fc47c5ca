"""Prediction intervals around forecasts, as wide as the errors of earlier ones ask for: split conformal calibration.

Vovk, Gammerman and Shafer (2005); Lei, G'Sell, Rinaldo, Tibshirani and Wasserman (2018). The model must not have been
trained on the truths that it is calibrated with. What is promised holds for exchangeable errors; those of a series are
not quite, so the coverage is to be measured.
"""

import numpy as np

from lstm_lab.science.scores import Score, averaged


def residuals(forecasts: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """|forecast - truth| in float64; NaN where the truth is missing, infinite where a known one was forecast as NaN."""
    off = np.abs(forecasts.astype(np.float64) - truths)
    return np.where(np.isnan(off) & ~np.isnan(truths), np.inf, off)


def half_widths(residuals: np.ndarray, alpha: float) -> np.ndarray:
    """Half the width [steps, targets] of the intervals that hold the truth with a probability of at least 1 - alpha.

    Of the n `residuals` [origins, steps, targets] at a lead time that are not missing, it is the one that is number
    ceil((n + 1) (1 - alpha)) in ascending order. Infinite if n is smaller than that: no interval that is finite could
    promise as much; the largest residual promises n / (n + 1).
    """
    count = (~np.isnan(residuals)).sum(axis=0)
    rank = np.ceil(np.round((count + 1) * (1 - alpha), 9)).astype(int)  # rounded: 0.57 * 100 is above 57
    ordered = np.sort(residuals, axis=0)  # missing ones last
    unknown = np.full((1, *ordered.shape[1:]), np.inf)
    return np.take_along_axis(np.concatenate([ordered, unknown]), np.where(rank > count, -1, rank - 1)[None], axis=0)[0]


def recent_half_widths(
    residuals: np.ndarray, origins: np.ndarray, at: np.ndarray, window: int, alpha: float
) -> np.ndarray:
    """`half_widths` [at, steps, targets] of forecasts from the origins `at`, each from what was known there.

    That is, at every lead time, the last `window` of the `residuals` [origins, steps, targets] whose truths lie before
    the origin: the forecast from origin n is about the samples n, n + 1, ... The window slides, as in EnbPI (Xu and
    Xie, 2021), since the errors of a series change with it. `origins` and `at` are sample numbers in ascending order.
    """
    missing = np.full((window, *residuals.shape[1:]), np.nan)
    padded = np.concatenate([missing, residuals])  # number i is now i + window, and what lies before is missing
    widths = []
    for lead in range(residuals.shape[1]):
        known = np.searchsorted(origins, at - lead)  # of so many residuals at this lead time
        widths.append(half_widths(padded[known + np.arange(window)[:, None], lead], alpha))
    return np.stack(widths, axis=1)


def coverage(residuals: np.ndarray, half_width: np.ndarray) -> Score:
    """The share of truths within the intervals, for `residuals` [origins, steps, targets] that can be broadcast."""
    return averaged((residuals <= half_width).astype(float), residuals)
