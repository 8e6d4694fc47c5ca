"""From a file to complete samples: series put together, gaps and missing values seen to. All arrays written down."""

import numpy as np
import pytest

from helpers import csv_settings
from lstm_lab.config import ConfigError
from lstm_lab.tables import samples

NAN = np.nan


def loaded(folder, text, columns="a", **settings):
    """The samples of a file of that text, whose lines are parted by blanks."""
    (folder / "my.csv").write_text("\n".join(text.split()) + "\n")
    names = columns.split(",")
    wanted = samples.wanted_of(csv_settings(**{"input": names, "horizon": 1} | settings), names)
    return samples.load(folder / "my.csv", wanted)


def column(found):
    return found.values[:, 0].tolist()


def parts(found):
    return [(one.name, one.first, one.stop, one.stretches) for one in found.series]


IN_TURN = "shop,day,a y,2024-01-01,1 x,2024-01-01,10 y,2024-01-02,2 x,2024-01-02,20 y,2024-01-03,3"


def test_series_that_stand_in_turn_are_put_one_after_the_other_in_the_order_in_which_they_come(tmp_path):
    found = loaded(tmp_path, IN_TURN, series="shop", time="day")
    assert column(found) == [1, 2, 3, 10, 20]
    assert parts(found) == [("y", 0, 3, ((0, 3),)), ("x", 3, 5, ((3, 5),))]
    assert found.times.astype("M8[D]").astype(str).tolist() == [
        "2024-01-01", "2024-01-02", "2024-01-03", "2024-01-01", "2024-01-02",
    ]  # fmt: skip
    assert found.sampling.name == "day"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("x,2024-01-02", "x,2024-01-01"), 5),
        (("y,2024-01-03", "y,2024-01-01"), 6),
        (("x,2024-01-02", "x,2024-01-04"), 5),
    ],
)
def test_a_faulty_stamp_is_named_with_its_line_in_the_file(change, line, tmp_path):
    with pytest.raises(ConfigError, match=rf"my\.csv, line {line}: "):
        loaded(tmp_path, IN_TURN.replace(*change), series="shop", time="day")


def test_without_series_they_are_doubled_stamps_and_the_message_says_what_they_may_be(tmp_path):
    with pytest.raises(ConfigError, match=r"line 3: the time stamp 2024-01-01 stands there twice; data\.series=COLUMN"):
        loaded(tmp_path, IN_TURN, time="day")


GAPS = "h,a 2024-01-01T00,1 2024-01-01T01,2 2024-01-01T04,5 2024-01-01T05,6 2024-01-01T07,8"


def test_gaps_are_refused_unless_it_is_said_what_becomes_of_them(tmp_path):
    said = (
        r"my\.csv, line 4: 2 time stamps are left out before it \(samples every hour, 2 gaps of 3 samples in all\); "
        r"data\.gaps=fill puts samples in, data\.gaps=reset starts over there"
    )
    with pytest.raises(ConfigError, match=said):
        loaded(tmp_path, GAPS, time="h")


def test_a_gap_is_filled_with_missing_values_or_parts_the_series(tmp_path):
    masked = loaded(tmp_path, GAPS, time="h", gaps="fill", missing="mask")
    np.testing.assert_array_equal(masked.values[:, 0], [1, 2, NAN, NAN, 5, 6, NAN, 8])
    np.testing.assert_array_equal(masked.times, np.datetime64("2024-01-01T00", "us") + np.arange(8) * 3_600_000_000)
    assert parts(masked) == [("", 0, 8, ((0, 8),))]
    assert masked.understood.endswith("every hour, 2 gaps of 3 samples (fill)")
    assert column(loaded(tmp_path, GAPS, time="h", gaps="fill", missing="interpolate")) == [1, 2, 3, 4, 5, 6, 7, 8]
    parted = loaded(tmp_path, GAPS, time="h", gaps="reset")
    assert column(parted) == [1, 2, 5, 6, 8]
    assert parts(parted) == [("", 0, 5, ((0, 2), (2, 4), (4, 5)))]


def test_each_series_has_gaps_of_its_own_and_none_lies_between_two(tmp_path):
    text = "s,day,a x,2024-01-01,1 z,2024-05-01,7 y,2024-03-01,10 x,2024-01-03,3 y,2024-03-03,30 y,2024-03-04,40"
    filled = loaded(tmp_path, text, series="s", time="day", gaps="fill", missing="interpolate")
    assert column(filled) == [1, 2, 3, 7, 10, 20, 30, 40]
    assert parts(filled) == [("x", 0, 3, ((0, 3),)), ("z", 3, 4, ((3, 4),)), ("y", 4, 8, ((4, 8),))]
    assert filled.times.astype("M8[D]").astype(str).tolist()[:4] == [
        "2024-01-01", "2024-01-02", "2024-01-03", "2024-05-01",
    ]  # fmt: skip
    parted = loaded(tmp_path, text, series="s", time="day", gaps="reset")
    assert parts(parted) == [("x", 0, 2, ((0, 1), (1, 2))), ("z", 2, 3, ((2, 3),)), ("y", 3, 6, ((3, 4), (4, 6)))]


def test_more_samples_put_in_than_there_are_is_no_filling(tmp_path):
    text = "day,a " + " ".join(f"20{year}-01-0{day},1" for year in (20, 21, 22) for day in (1, 2, 3))
    with pytest.raises(ConfigError, match=r"data\.gaps=fill: 725 samples between 9; are there some every day\?"):
        loaded(tmp_path, text, time="day", gaps="fill", missing="mask")


def test_missing_values_lie_on_a_line_between_their_neighbours_and_at_an_end_are_as_the_nearest(tmp_path):
    text = "a,b ?,1 2,? ?,? ?,4 8,NA 9,?"
    found = loaded(tmp_path, text, "a,b", missing="interpolate", missing_values=["?", "NA"])
    np.testing.assert_array_equal(found.values.T, [[2, 2, 4, 6, 8, 9], [1, 2, 3, 4, 4, 4]])


def test_no_line_goes_from_one_series_or_one_stretch_to_another(tmp_path):
    text = "s,a,b x,1,1 x,?,? y,?,? y,4,?"
    found = loaded(tmp_path, text, "a,b", series="s", missing="interpolate", missing_values=["?"])
    np.testing.assert_array_equal(found.values.T, [[1, 1, 4, 4], [1, 1, NAN, NAN]])
    gaps = "day,a 2024-01-01,1 2024-01-02,? 2024-01-05,? 2024-01-06,4"
    parted = loaded(tmp_path, gaps, time="day", gaps="reset", missing="interpolate", missing_values=["?"])
    assert column(parted) == [1, 1, 4, 4]


@pytest.mark.parametrize("block", [1, 3, 100])
def test_blocks_make_no_difference(block, tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    hours = np.sort(rng.choice(120, 90, replace=False))
    names = rng.integers(0, 3, 90)
    values = np.where(rng.random(90) < 0.2, NAN, rng.normal(size=90))
    lines = [
        f"{'xyz'[s]},{np.datetime64('2024-01-01', 'h') + h},{v}" for s, h, v in zip(names, hours, values, strict=True)
    ]
    settings = {"series": "s", "time": "h", "gaps": "fill", "missing": "interpolate", "missing_values": ["nan"]}
    monkeypatch.setattr(samples, "BLOCK", block)
    samples.complete.cache_clear()
    found = loaded(tmp_path, " ".join(["s,h,a", *lines]), **settings)
    for one in found.series:
        own = names == "xyz".index(one.name)
        known = own & ~np.isnan(values)
        expected = np.interp(np.arange(hours[own][0], hours[own][-1] + 1), hours[known], values[known])
        np.testing.assert_allclose(found.values[one.first : one.stop, 0], expected, rtol=1e-12)


def test_the_future_of_known_columns_is_no_part_of_the_series(tmp_path):
    text = "day,a,price 2024-01-01,1,5 2024-01-02,2,6 2024-01-03,,7 2024-01-04,,8"
    found = loaded(tmp_path, text, time="day", known=["price"])
    [one] = found.series
    assert (one.first, one.stop, one.end) == (0, 2, 4)
    np.testing.assert_array_equal(found.values, [[1, 5], [2, 6], [NAN, 7], [NAN, 8]])
    with pytest.raises(ConfigError, match=r"line 3, column 'price': is missing; every sample needs a number"):
        loaded(tmp_path, text.replace(",2,6", ",2,"), time="day", known=["price"])
