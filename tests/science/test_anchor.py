"""An anchor outside this repo: what an autoregression of order 12 makes of the yearly sunspots, a year ahead.

It is fitted to the years up to 1920, of which the first 12 are inputs only. The figures were computed with NumPy alone:
mean squared errors over a constant, 1,535 (the variance of the shipped file is 1,495.6 over the years 1700 to 1979).
"""

import numpy as np
import pytest

from helpers import ROOT, csv_settings
from lstm_lab.science.curves import Continuation
from lstm_lab.science.evaluation import least_squares
from lstm_lab.science.series import SeriesBatches

FIRST_YEAR, LAST_FITTED, LAST_YEAR, LAGS, CONSTANT = 1700, 1920, 2008, 12, 1535
ANCHORS = {(1712, 1920): 0.1285, (1921, 1955): 0.1262, (1956, 1979): 0.3584}


def stretch():
    """All years, those after LAST_FITTED held out, as the program cuts the file."""
    held_out, samples = LAST_YEAR - LAST_FITTED, LAST_YEAR - FIRST_YEAR + 1
    settings = csv_settings(
        input="sunspots", horizon=1, held_out=(held_out - 0.5) / samples, validation=0.0, batch_size=1, time_steps=1
    )
    [curve] = SeriesBatches(ROOT / "conf/data/series/sunspots.csv", settings).unseen(steps=1, windows=samples)
    return curve


def regression(inputs, targets, first):
    """The program's least squares: fitted before `first`, the predictions from there on."""
    return least_squares(Continuation(np.arange(len(inputs)), inputs, targets, first, first, horizon=1), LAGS)


def test_the_least_squares_have_the_errors_of_the_autoregression_of_order_12():
    curve = stretch()
    years, first = FIRST_YEAR + curve.x, curve.first
    assert (years[0], years[first - 1]) == (FIRST_YEAR + 1, LAST_FITTED)
    inputs, targets = curve.inputs, curve.targets
    # The fitted years once more behind themselves: the same weights predict them, all but those across the seam
    twice = [np.concatenate([values[:first], values[:first]]) for values in (inputs, targets)]
    fitted = regression(*twice, first)
    prediction = np.concatenate([fitted, regression(inputs, targets, first)])
    squares = (curve.units[1] * (prediction - targets))[:, 0] ** 2
    errors = {(begin, end): squares[(years >= begin) & (years <= end)].mean() / CONSTANT for begin, end in ANCHORS}
    assert errors == pytest.approx(ANCHORS, abs=5e-5)
