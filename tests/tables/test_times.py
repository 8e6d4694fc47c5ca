import numpy as np
import pytest

from lstm_lab.tables import times
from lstm_lab.tables.times import find_times


def column(folder, *texts, name="when"):
    (folder / "a.csv").write_text(f"a, {name}\n" + "".join(f"{i}, {text}\n" for i, text in enumerate(texts)) + "\n")
    return find_times(folder / "a.csv", ["a"])


@pytest.mark.parametrize(
    ("texts", "after"),
    [
        (["1700", "1701", "1702"], "1703"),
        (["1700", "1702", "1704"], "1706"),
        (["2019-11", "2019-12", "2020-01"], "2020-02"),
        (["2019-11-01", "2019-12-01", "2020-01-01"], "2020-02-01"),
        (["1958-09-27", "1958-10-04", "1958-10-11"], "1958-10-18"),
        (["2024-02-27", "2024-02-28", "2024-02-29"], "2024-03-01"),
        (["2020-01-01 22:30", "2020-01-01 23:15", "2020-01-02 00:00"], "2020-01-02T00:45"),
        (["2020-01-01T22", "2020-01-01T23", "2020-01-02T00"], "2020-01-02T01:00"),
        (["2020-01-01T00:00:00Z", "2020-01-01T00:00:30Z", "2020-01-01T00:01:00Z"], "2020-01-01T00:01:30"),
        (["2020-01-01T00:00:00.25", "2020-01-01T00:00:00.5"], "2020-01-01T00:00:00.750000"),
        (["2020-01-01", "2020-01-02", "2020-01-04"], None),
        (["9996", "9997", "9998"], None),
    ],
)
def test_times_are_found_and_go_on_where_they_are_even(texts, after, tmp_path):
    found = column(tmp_path, *texts)
    assert found.name == "when"
    known = found.at(np.arange(len(texts)))
    assert (known == np.array([text.removesuffix("Z") for text in texts], "M8[us]")).all()
    beyond = found.at(np.array([len(texts)]))
    assert beyond is None if after is None else beyond.astype(str).tolist() == [after]


@pytest.mark.parametrize(
    "texts",
    [
        ["0", "1", "2"],
        ["3.08", "4.05"],
        ["1700", "1700"],
        ["1701", "1700"],
        ["1700", "x"],
        ["1700", ""],
        ["2020-02-29", "2020-02-30"],
        ["now", "today"],
        ["NaT", "NaT"],
        ["20200101", "20200102"],
        ["-0005", "-0004"],
        ["0000", "0001"],
        ["9998", "9999"],
        ['"2020\n2021"', "2022"],
        ["\uff12020", "\uff12021"],
        ["01/02/2020", "02/02/2020"],
        ["10:30", "10:31"],
        ["2020-01-01T10:00+02:00", "2020-01-01T11:00+02:00"],
    ],
)
def test_a_column_that_is_not_plainly_a_time_is_none(texts, tmp_path):
    assert column(tmp_path, *texts) is None


def test_the_first_column_that_serves_is_taken_and_none_that_is_learnt(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("\ufeffyear,n,date,later\n1990,1,2020-01-01,2021\n1991,2,2020-01-02,2022\n", encoding="utf-8")
    assert find_times(file, []).name == "year"
    assert find_times(file, ["year"]).name == "date"
    assert find_times(file, ["year", "date", "later"]) is None


def test_every_value_of_a_long_file_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(times, "BLOCK", 7)
    days = (np.datetime64("2020-01-01") + np.arange(100)).astype(str).tolist()
    found = column(tmp_path, *days)
    assert found.values.astype("M8[D]").astype(str).tolist() == days
    assert column(tmp_path, *days[:99], days[97]) is None
    assert column(tmp_path, *days[:98], "x", days[99]) is None
