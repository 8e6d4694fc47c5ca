"""Prediction intervals: literal ranks, the promise on exchangeable data, and what is missing."""

import math

import numpy as np
import pytest

from lstm_lab.science.intervals import coverage, half_widths, recent_half_widths, residuals

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("n", "alpha", "expected"),
    # The 9 of (9 + 1) * 0.9, the 57 of (99 + 1) * 0.57, which is a little more than 57 in floating point
    [(9, 0.1, 9), (8, 0.1, INF), (19, 0.1, 18), (20, 0.1, 19), (99, 0.43, 57), (3, 0.5, 2), (0, 0.5, INF)],
)
def test_the_half_width_is_the_residual_of_that_rank_or_infinite(n, alpha, expected):
    shuffled = np.random.default_rng(0).permutation(n) + 1.0
    assert half_widths(shuffled[:, None, None], alpha) == expected


def test_lead_times_and_targets_stand_by_themselves_and_missing_truths_are_left_out():
    truths = np.zeros((4, 2, 2), np.float32)
    forecasts = np.array([[[1, 9], [-4, 2]], [[2, 9], [3, 1]], [[3, 9], [2, 2]], [[-4, 9], [1, NAN]]], np.float32)
    truths[:3, 0, 1] = NAN
    off = residuals(forecasts, truths)
    np.testing.assert_array_equal(off[:, 1, 1], [2, 1, 2, INF])  # a forecast that is no number misses
    np.testing.assert_array_equal(half_widths(off, 0.4), [[3, INF], [3, 2]])
    np.testing.assert_array_equal(half_widths(off, 0.6), [[2, 9], [2, 2]])
    held = coverage(off, np.array([[2, 8], [2, 2]]))
    np.testing.assert_array_equal(held.each, [4 / 8, 3 / 5])
    assert held.overall == 7 / 13


@pytest.mark.parametrize("n", [9, 20])
def test_exchangeable_data_are_covered_as_often_as_promised(n):
    """Of all draws a share of rank / (n + 1) is covered: 90 % and 19 / 21."""
    draws = 20_000
    off = np.abs(np.random.default_rng(0).standard_cauchy((n + 1, draws, 1)))
    covered = coverage(off[-1:], half_widths(off[:-1], 0.1)).overall
    promised = math.ceil(0.9 * (n + 1)) / (n + 1)
    assert abs(covered - promised) < 4 * math.sqrt(promised * (1 - promised) / draws)


def test_each_origin_is_calibrated_with_the_last_errors_that_are_known_there():
    rng = np.random.default_rng(0)
    origins, at, window = np.array([2, 3, 5, 6, 9, 10, 12]), np.array([1, 4, 9, 10, 15, 40]), 3
    off = rng.random((7, 4, 2))
    off[3, 1, 0] = NAN
    made = recent_half_widths(off, origins, at, window, 0.4)
    assert made.shape == (6, 4, 2)
    for k, now in enumerate(at):
        for lead in range(4):
            known = [i for i, origin in enumerate(origins) if origin + lead < now][-window:]
            np.testing.assert_array_equal(made[k, lead], half_widths(off[known, lead : lead + 1], 0.4)[0])
