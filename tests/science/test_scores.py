"""Scores against numbers written down, and the seasonal naive forecast against the sentence that defines it."""

import math

import numpy as np
import pytest

from lstm_lab.science.scores import (
    mase,
    rmse,
    seasonal_error,
    seasonal_naive,
    seasonal_naive_along,
    smape,
)

NAN = math.nan
TARGET = np.array([[1, 10], [3, NAN], [0, 20]], np.float32)
PREDICTION = np.array([[2, 10], [1, 99], [0, 30]], np.float32)
TRAINING = np.array([[0, 1], [2, 2], [3, NAN], [8, 6]], np.float32)


def check(score, each, overall):
    np.testing.assert_allclose(score.each, each, rtol=1e-15)
    assert score.overall == pytest.approx(overall, rel=1e-15)


def test_errors_written_down_for_each_target_and_over_all_without_the_missing_values():
    check(rmse(TARGET, PREDICTION), [math.sqrt(5 / 3), math.sqrt(50)], math.sqrt(105 / 5))
    check(smape(TARGET, PREDICTION), [(200 / 3 + 100) / 3, 20], (200 / 3 + 100 + 0 + 0 + 40) / 5)


def test_the_scaled_error_divides_by_that_of_the_seasonal_naive_forecast_in_training():
    # One sample back the training targets are off by 2, 1, 5 and by 1; two samples back by 3, 6 and by 4
    check(mase(TARGET, PREDICTION, seasonal_error([TRAINING], 1)), [1 / (8 / 3), 5], (3 / (8 / 3) + 10) / 5)
    check(mase(TARGET, PREDICTION, seasonal_error([TRAINING], 2)), [1 / 4.5, 5 / 4], (3 / 4.5 + 10 / 4) / 5)
    values = np.random.default_rng(0).normal(size=(50, 2))
    scale = seasonal_error([values], 6)
    check(mase(values[6:], seasonal_naive_along(values, 1, 6)[6:], scale), [1, 1], 1)
    pieces = [values[i : i + 20 + 6] for i in range(0, 50, 20)]  # that overlap by a season
    np.testing.assert_allclose(seasonal_error(pieces, 6), scale, rtol=1e-15)


def test_scores_of_nothing_and_by_nothing_are_no_number_and_a_prediction_that_is_none_is_not_left_out():
    check(rmse(TARGET[1:2], PREDICTION[1:2]), [2, NAN], 2)
    assert math.isnan(rmse(TARGET[1:2, 1:], PREDICTION[1:2, 1:]).overall)
    assert math.isnan(mase(TARGET, PREDICTION, seasonal_error([TRAINING], 4)).overall)
    assert mase(TARGET[1:], PREDICTION[1:] + 1, seasonal_error([np.ones((5, 2))], 1)).overall == math.inf
    assert math.isnan(rmse(TARGET, np.full_like(TARGET, NAN)).overall)


def test_a_score_of_float32_arrays_is_computed_in_float64():
    target = np.full((1000, 1), 0.1, np.float32)
    error = float(np.float32(1.1)) - float(np.float32(0.1))  # in float32 exactly 1
    assert rmse(target, target + np.float32(1)).overall == pytest.approx(error, rel=1e-14)


@pytest.mark.parametrize("season", [1, 3, 7])
def test_the_seasonal_naive_forecast_is_the_value_as_many_seasons_back_as_the_lead_time_needs(season):
    values = np.arange(40.0).reshape(20, 2)
    for lead in range(1, 10):
        made = seasonal_naive_along(values, lead, season)
        for n in range(20):
            source = n - season * math.ceil(lead / season)
            np.testing.assert_array_equal(made[n], values[source] if source >= 0 else [NAN, NAN])
        # A forecast from the end of the past says the same as the one along the stretch that was made so far ahead
        np.testing.assert_array_equal(seasonal_naive(values[: 20 - lead], lead, season)[-1], made[19])


def test_a_missing_value_is_that_of_the_season_before():
    past = np.array([[1, NAN], [2, 20], [NAN, 30], [NAN, NAN], [5, NAN]])
    np.testing.assert_array_equal(seasonal_naive(past, 3, 2), [[2, 20], [5, 30], [2, 20]])
    np.testing.assert_array_equal(seasonal_naive(past, 2, 1), [[5, 30], [5, 30]])
    np.testing.assert_array_equal(seasonal_naive(past[:1], 2, 2), [[NAN, NAN], [1, NAN]])
