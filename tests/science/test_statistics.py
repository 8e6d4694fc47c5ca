import math

import numpy as np
import pytest

from lstm_lab.science import statistics


def test_the_intervals_ends_are_the_order_statistics_of_the_tables():
    """Of 20 values the 6th and the 15th: coverage 95.9 %, the least of at least 95 % (Conover, 1999)."""
    values = np.random.default_rng(0).permutation(np.arange(1.0, 21.0))
    estimate = statistics.median(values)
    assert (estimate.median, estimate.low, estimate.high) == (10.5, 6.0, 15.0)


def test_too_few_values_have_no_interval():
    assert math.isnan(statistics.median([1.0, 2.0, 3.0, 4.0, 5.0]).low)
    assert statistics.median([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).low == 1.0


def test_the_interval_covers_the_true_median_about_as_often_as_said():
    draw = np.random.default_rng(0).lognormal
    estimates = [statistics.median(draw(size=20)) for _ in range(400)]
    covered = np.mean([estimate.low <= 1.0 <= estimate.high for estimate in estimates])
    assert 0.92 < covered < 0.99


def test_runs_are_compared_over_the_seeds_that_both_have():
    first = {seed: 3.0 * (seed + 1) for seed in range(7)}
    second = {seed: seed + 1.0 for seed in range(1, 9)}
    compared = statistics.paired(first, second)
    assert compared.seeds == 6
    assert compared.ratio.median == pytest.approx(3)
    assert compared.p == pytest.approx(2 / 2**6)  # all six of one sign: of 2^6 patterns two are so extreme


def test_equal_runs_do_not_differ():
    costs = dict.fromkeys(range(8), 0.5)
    assert statistics.paired(costs, costs).p == 1.0
