"""At what interval stamps lie, which are left out, and how they go on."""

import re

import numpy as np
import pytest

from lstm_lab.config import ConfigError
from lstm_lab.tables.sampling import gaps_of, sampling_of, season_of


def stamps(*texts):
    return np.array(texts, "M8[us]")


def every(first, step, count):
    return (np.datetime64(first) + np.arange(count) * step).astype("M8[us]")


def last_days(first, months, count):
    return ((np.datetime64(first, "M") + months * np.arange(count) + 1).astype("M8[D]") - 1).astype("M8[us]")


def firsts(first, months, count):
    return (np.datetime64(first, "M") + months * np.arange(count)).astype("M8[us]")


WORKING = np.array([day for day in np.arange("2024-01-01", "2024-03-01", dtype="M8[D]") if np.is_busday(day)], "M8[us]")
SERIES = {
    "10 minutes": (every("2024-02-28T23:50", np.timedelta64(10, "m"), 30), "2024-02-29T04:50"),
    "hour": (every("2024-02-28T21:00", np.timedelta64(1, "h"), 5), "2024-02-29T02:00"),
    "2.5 seconds": (every("2024-01-01", np.timedelta64(2500, "ms"), 4), "2024-01-01T00:00:10"),
    "day": (every("2024-02-20", np.timedelta64(1, "D"), 9), "2024-02-29"),
    "day, also at weekends": (every("2024-02-01", np.timedelta64(1, "D"), 20), "2024-02-21"),
    "working day": (WORKING + np.timedelta64(17, "h"), "2024-03-01T17:00"),
    "week": (every("2024-02-01", np.timedelta64(7, "D"), 9), "2024-04-04"),
    "4 weeks": (every("2024-01-01", np.timedelta64(28, "D"), 12), "2024-12-02"),
    "month": (firsts("2023-11", 1, 5), "2024-04-01"),
    "month, its 15th at noon": (firsts("2023-11", 1, 5) + np.timedelta64(14 * 24 + 12, "h"), "2024-04-15T12:00"),
    "month, its last day": (last_days("2023-10", 1, 5), "2024-03-31"),
    "month, its 28th": (stamps("2022-12-28", "2023-01-28", "2023-02-28"), "2023-03-28"),
    "3 months": (last_days("2023-03", 3, 6), "2024-09-30"),
    "month, its last working day": (stamps("2023-09-29", "2023-10-31", "2023-11-30", "2023-12-29"), "2024-01-29"),
    "year": (firsts("1890", 12, 30), "1920-01-01"),
    "10 years": (firsts("1890", 120, 5), "1940-01-01"),
}


@pytest.mark.parametrize("kind", SERIES)
def test_the_interval_is_found_and_goes_on(kind):
    times, after = SERIES[kind]
    sampling = sampling_of(times)
    assert sampling.name == {"2.5 seconds": "2,500 milliseconds"}.get(kind, kind.split(",")[0])
    behind, left_out = gaps_of(times, sampling, str)
    assert len(behind) == len(left_out) == 0
    assert sampling.after(times[-1], np.array([1])) == np.datetime64(after)
    if "working day" not in kind:
        np.testing.assert_array_equal(sampling.after(times[0], np.arange(len(times))), times)
    if len(times) > 4:
        there = np.delete(times, [2, 3])
        behind, left_out = gaps_of(there, sampling, str)
        assert (behind.tolist(), left_out.tolist()) == ([1], [2])


def test_stamps_may_be_a_quarter_of_an_interval_off():
    times = every("2024-01-01", np.timedelta64(60, "m"), 8)
    times[3] += np.timedelta64(15, "m")
    assert sampling_of(times).name == "hour"
    assert len(gaps_of(times, sampling_of(times), str)[0]) == 0
    times[3] += np.timedelta64(1, "s")
    with pytest.raises(ConfigError, match=r"^3: the time stamp 2024-01-01 03:15:01 comes after .* one every hour; "):
        gaps_of(times, sampling_of(times), str)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (("2024-01-01", "2024-01-02", "2024-01-02", "2024-01-03"), "2: the time stamp 2024-01-02 stands there"),
        (("2024-01-01", "2024-01-01"), "1: the time stamp 2024-01-01 stands there twice; data.series=COLUMN"),
        (("2024-01-01", "2024-01-03", "2024-01-02", "2024-01-04"), "2: the time stamp 2024-01-02 comes after 2024"),
        (("2024-01-03", "2024-01-02", "2024-01-01"), "1: the time stamp 2024-01-02 comes after 2024-01-03; sort"),
        (("2024-03-01", "2024-02-01", "2024-01-01"), "sort the file by time"),
        (("2024-01-01T00", "2024-01-01T01", "2024-01-01T02", "2024-01-01T03:30"), "there is one every hour"),
        (("2024-01-01", "2024-02-01", "2024-02-01", "2024-03-01"), "2: the time stamp 2024-02-01 stands there"),
    ],
)  # fmt: skip
def test_doubled_unsorted_and_odd_stamps_are_refused(times, said):
    times = stamps(*times)
    with pytest.raises(ConfigError, match=re.escape(said)):
        gaps_of(times, sampling_of(times), str)


def test_a_day_at_a_weekend_is_none_of_the_working_days():
    found = sampling_of(WORKING)
    saturday = np.append(WORKING, stamps("2024-03-02", "2024-03-04"))
    with pytest.raises(ConfigError, match=r"2024-03-04 comes after .* there is one every working day"):
        gaps_of(saturday, found, str)
    assert found.after(np.datetime64("2024-03-02"), np.array([1])) == np.datetime64("2024-03-04")


def test_one_stamp_tells_no_interval():
    assert sampling_of(stamps("2024-01-01")) is None


@pytest.mark.parametrize(
    ("interval", "season"),
    [
        ((1, "h"), 24), ((60, "m"), 24), ((30, "m"), 48), ((10, "m"), 144), ((1, "m"), 1440), ((60, "s"), 1440),
        ((3, "ms"), 28_800_000), ((7, "h"), 1), ((1, "D"), 7), ((24, "h"), 7), ((7, "D"), 52), ((168, "h"), 52),
        ((14, "D"), 26), ((5, "D"), 1), ((365, "D"), 1), ((1, "M"), 12), ((3, "M"), 4), ((5, "M"), 1), ((1, "Y"), 1),
        ((10, "Y"), 1),
    ],
)  # fmt: skip
def test_the_season_follows_from_the_interval(interval, season):
    assert season_of(np.timedelta64(*interval)) == season
