"""Inputs whose future is known: the calendar, and columns that the file has beyond the others."""

import numpy as np
import pytest

from helpers import csv_settings
from lstm_lab.config import ConfigError
from lstm_lab.runs.forecasting import Going, Known, beyond
from lstm_lab.science.series import SeriesBatches
from lstm_lab.tables.sampling import calendar_of

SAMPLES, FUTURE = 100, 4


def settings(path, **changes):
    given = {"path": str(path), "input": "y", "horizon": 2, "validation": 0.0, "batch_size": 2, "time_steps": 5}
    return csv_settings(**given | changes)


@pytest.fixture
def file(tmp_path):
    """Hours from a Monday's midnight on; y ends FUTURE lines before k."""
    times = np.datetime64("2024-01-01T00") + np.arange(SAMPLES + FUTURE)
    rows = [f"{time},{i % 7 if i < SAMPLES else ''},{i * i}" for i, time in enumerate(times)]
    (tmp_path / "my.csv").write_text("\n".join(["when,y,k", *rows, ""]))
    return tmp_path / "my.csv"


def test_the_calendar_goes_round():
    times = np.array(["2024-01-01T06:00", "2024-07-04T00:00", "2024-04-07T18:00"], "M8[us]")
    found = calendar_of(times, ["hour", "weekday", "month"])
    thursday, sunday = 2 * np.pi * np.array([3, 6]) / 7
    expected = [
        [1, 0, 0, 1, 0, 1],
        [0, 1, np.sin(thursday), np.cos(thursday), 0, -1],
        [-1, 0, np.sin(sunday), np.cos(sunday), 1, 0],
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_what_is_known_is_given_as_it_is_at_the_targets_time(file):
    batches = SeriesBatches(file, settings(file, time="when", known="k", calendar=["hour"]))
    rows, (inputs, targets) = batches.chunk(0, batches.epoch), batches.units
    n = rows.x.astype(int)  # of the targets
    found = rows.inputs * inputs[1] + inputs[0]
    np.testing.assert_allclose(found[..., 0], (n - 2) % 7, atol=1e-5)
    np.testing.assert_allclose(found[..., 1], n**2, rtol=1e-5, atol=1e-2)
    np.testing.assert_allclose(found[..., 2:], calendar_of(batches.samples.times[n], ["hour"]), atol=1e-6)
    np.testing.assert_allclose(rows.targets[..., 0] * targets[1, 0] + targets[0, 0], n % 7, atol=1e-5)
    assert (batches.input_size, batches.output_size) == (4, 1)
    [unseen] = batches.unseen(1, windows=50)
    assert unseen.x[-1] == SAMPLES - 1  # lines of the future alone are no samples
    assert unseen.same == (0,)


def test_a_value_that_misses_among_the_samples_is_refused_with_its_line(file):
    file.write_text(file.read_text().replace("2024-01-02T00,3,576", "2024-01-02T00,3,"))
    with pytest.raises(ConfigError, match=r"line 26, column 'k': is missing"):
        SeriesBatches(file, settings(file, known="k"))


def going(horizon):
    """The target is the input `horizon` samples before, and what is known of its own time."""
    as_it_is = np.array([[0.0], [1.0]])

    def predict(x, state):
        return x[..., :1] + x[..., 1:], state

    units = {"": (np.hstack([as_it_is, as_it_is]), as_it_is)}
    return Going(predict, [np.zeros((1, 1))], units, (), False, horizon, [0, None], None)


def known(count, more):
    values, foreknown = np.arange(float(count))[:, None], 10.0 ** np.arange(count + more)[:, None] / 1e6
    return Known("", ["y"], values, foreknown, ["y"], None, None, [(0, count)])


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_a_forecast_takes_the_known_future_and_its_own_predictions(horizon, steps):
    series, told = list(np.arange(6.0)), known(6, 5)
    for n in range(6, 6 + steps):
        series.append(series[n - horizon] + told.foreknown[n, 0])
    np.testing.assert_allclose(beyond(going(horizon), told, steps)[:, 0], series[6:], rtol=1e-6)


def test_a_forecast_ends_with_what_is_known():
    with pytest.raises(ConfigError, match="steps=3: the known inputs have values for 2 samples beyond"):
        beyond(going(1), known(6, 2), 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"calendar": ["hour"]}, "calendar needs data.time"),
        ({"time": "when", "calendar": ["hour", "hour"]}, "must name each input once"),
        ({"known": "y"}, "is a target"),
    ],
)
def test_settings_that_say_nothing_together_are_refused(file, changes, said):
    with pytest.raises(ValueError, match=said):
        settings(file, **changes)
