"""Tables: what is read however it is written, against Python's own csv and float, and what is refused."""

import csv
import errno
import gzip
import hashlib
import io
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from lstm_lab.config import ConfigError
from lstm_lab.tables import blocks, table
from lstm_lab.tables.table import Asked, Form, column_names, line_of, listed

NAN = np.nan


def load(path, columns, *, form=Form(), time=(), series=None, missing=False, scratch=None):  # noqa: B008
    return table.load(path, Asked(tuple(columns), tuple(time), series, missing), form, scratch)


def write(folder, content, name="my.csv"):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(path, *columns, **settings):
    """What is said of the file, behind its path."""
    with pytest.raises(ConfigError) as refused:
        load(path, columns, **settings)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(str(path))
    return str(refused.value).removeprefix(str(path)).lstrip(",: ")


PLAIN = [[1.5, -2e-5], [0.5, 3.0]]
GERMAN = [[1234.5, 2.0], [-0.25, 3.0]]
READ = {
    "plain": ("a,b\n1.5,-2e-5\n.5,+3\n", PLAIN, ""),
    "no line end at the end": ("a,b\n1.5,-2e-5\n.5,3.", PLAIN, ""),
    "Windows": ("a,b\r\n1.5,-2e-5\r\n.5,3\r\n\r\n\r\n", PLAIN, ""),
    "an old Mac": ("a,b\r1.5,-2e-5\r.5,3\r", PLAIN, ""),
    "a byte order mark": ("\ufeffa,b\n1.5,-2e-5\n.5,3\n", PLAIN, ""),
    "UTF-16": ("a,b\r\n1.5,-2e-5\r\n.5,3\r\n".encode("utf-16"), PLAIN, "utf-16"),
    "UTF-16 without a mark": ("a,b\n1.5,-2e-5\n.5,3\n".encode("utf-16-le"), PLAIN, "utf-16-le"),
    "Latin letters": ("a,b,°C\n1.5,-2e-5,für\n.5,3,ça\n".encode("cp1252"), PLAIN, "cp1252"),
    "Chinese": ("a,b,温度\n1.5,-2e-5,低\n.5,3,高\n".encode("gb18030"), PLAIN, "gb18030"),
    "quotes": ('"b" , "a","x, ""y"""\n -2e-5,"1.5" ,"x\ny"\n"3",\t.5,5" z\n', PLAIN, ""),
    "tabs": ('a\tx y\tb\n1.5\t1 2\t-2e-5\n.5\t\t "3"\n', PLAIN, "separated by tabs"),
    "a spreadsheet's hint": ("sep=|\na|b;c\n1.5|-2e-5;1\n.5|3;4\n".replace(";", "|"), PLAIN, "separated by |"),
    "bars": ("a|b\n1.5|-2e-5\n.5|3\n", PLAIN, "separated by |"),
    "blanks": ("  a   b\n 1.5  -2e-5 \n  .5\t3\n", PLAIN, "separated by blanks"),
    "blanks and quotes": ('"a" b "x y" \n "1.5" "-2e-5" "1  2"\n  .5 3 "3\t4"\n', PLAIN, "separated by blanks"),
    "comments": ("# station, 5\"\n\n# m\na,b\n1.5,-2e-5\n# dry\n.5,3\n#\n", PLAIN, "4 comment lines"),
    "a table of NumPy's": ("# run 5\n# a b\n1.5 -2e-5\n.5 3\n", PLAIN, "separated by blanks, 1 comment line"),
    "names in a comment": ("#c,a,b\n2020-01-31,1.5,-2e-5\n2020-02-29,.5,3\n", PLAIN, ""),
    "no comments": ("c,a,b\n#1,1.5,-2e-5\n#2,.5,3\n", PLAIN, ""),
    "empty columns": ("a,b,,\n1.5,-2e-5,,\n.5,3,,\n,,,\n,,,\n", PLAIN, ""),
    "empty columns without names": ("a,b\n1.5,-2e-5,\n.5,3,\n,,\n", PLAIN, ""),
    "empty columns left out": ("a,b,,\n1.5,-2e-5\n.5,3,,\n", PLAIN, ""),
    "a decimal comma": ("a;b\n1234,5;2\n-,25;3,\n", GERMAN, "separated by ;, decimal comma"),
    "both signs": ("a;b\n1.234,5;2\n-0,25;3\n", GERMAN, "separated by ;, decimal comma, '.' between thousands"),
    "English thousands": ('a,b\n"1,234.5",2\n-.25,3\n', GERMAN, "',' between thousands"),
    "Swiss thousands": ("a;b\n1'234.5;2\n-.25;3\n", GERMAN, "separated by ;, ''' between thousands"),
    "French thousands": (
        "a;b\n1\u202f234,5;2\n-0,25;3\n", GERMAN, "separated by ;, decimal comma, '\u202f' between thousands",
    ),
    "either": ("a;b\n1,234;2\n", [[1.234, 2]], "separated by ;, decimal comma, 1,234 taken for 1.234"),
    "three decimals": ("a;b\n1.234;2\n", [[1.234, 2]], "separated by ;"),
    "whole thousands": ('a,b\n"2,000",2\n900,3\n', [[2000, 2], [900, 3]], "',' between thousands"),
    "missing values": ("a,b,c\nNA,-2e-5,?\n.5, null ,1\n", [[NAN, -2e-5], [0.5, NAN]], "2 missing values: NA, null, ?"),
    "nothing": ("a;b\n;1\n;\n3;4\n;\n", [[NAN, 1], [NAN, NAN], [3, 4]], "separated by ;, 3 missing values"),
}  # fmt: skip


@pytest.mark.parametrize("kind", READ)
def test_what_programs_write_is_read_and_told(kind, tmp_path):
    content, expected, said = READ[kind]
    path = write(tmp_path, content)
    table = load(path, ["a", " b "], missing=True)
    np.testing.assert_array_equal(table.values, expected)
    assert table.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    told = re.sub(r"\d columns, ", "", table.understood)
    samples = f"{len(expected)} sample{'s' * (len(expected) > 1)}"
    missing = re.search(r"(, )?\d missing.*$", said)
    before = said[: missing.start()] if missing else said
    assert told == ", ".join(filter(None, [before, samples, missing[0].lstrip(", ") if missing else ""]))
    assert (table.times, table.series, table.names) == (None, None, ())


def test_one_column_needs_no_separator(tmp_path):
    for content, expected in (
        ("T (degC)\n1.5\n2\n", [1.5, 2]),
        ("T (degC)\n1,5\n2,25\n", [1.5, 2.25]),
        ('T (degC)\n""\n1\n""\n', [NAN, 1]),
    ):
        path = write(tmp_path, content)
        np.testing.assert_array_equal(load(path, ["T (degC)"], missing=True).values[:, 0], expected)
        os.utime(path, ns=(0, len(content)))


def test_what_is_given_is_taken_as_it_is(tmp_path):
    form = Form(";", ",", ".", "cp1252", "!", ("-999", "kaputt"))
    path = write(tmp_path, "! NA\na;b;°\n1.234,5;-999,0;x\n!\n12.345;kaputt;y\n".encode("cp1252"))
    np.testing.assert_array_equal(load(path, ["a", "b"], form=form, missing=True).values, [[1234.5, NAN], [12345, NAN]])
    assert column_names(path, form) == ["a", "b", "°"]
    assert line_of(path, form, 1) == 5
    path = write(tmp_path, "a b\n1,234 nan\n", "blank.csv")
    assert load(path, ["a"], form=Form("space", thousands=",")).values == 1234
    assert load(path, ["a"], form=Form("space", decimal=",")).values == 1.234
    said = refusal(path, "b", form=Form("space", missing_values=()), missing=True)
    assert said.startswith("line 2, column 'b': 'nan' is no number")


def random_table(samples=4000):
    """Texts of numbers of every length and size, a quoted text with line ends, and comments in between."""
    rng = np.random.default_rng(0)
    bits = np.frombuffer(rng.bytes(8 * 2 * samples), np.float64).reshape(samples, 2)
    with np.errstate(all="ignore"):
        bits = np.where(np.abs(bits) < 1e100, bits, rng.normal(size=(samples, 2)))
    lines = ["x,a,name,b"]
    for i, (a, b) in enumerate(bits.tolist()):
        written = f"{a:.{i % 25}e}" if i % 3 else repr(a)
        lines.append(f'{i},{written},"{"x,{}" * (i % 4)}\n""{i}""",{b!r}')
        lines += ['# a "comment'] * (i % 97 == 5)
    return "\n".join(lines) + "\n"


def test_numbers_are_those_of_python_and_lines_those_of_an_editor(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "SIZE", 2**20)
    text = random_table()
    path = write(tmp_path, text)
    rows = csv.DictReader(io.StringIO("".join(line for line in text.splitlines(True) if not line.startswith("#"))))
    expected = [[float(row["b"]), float(row["a"])] for row in rows]
    np.testing.assert_array_equal(load(path, ["b", "a"]).values, expected)
    lines = text.split("\n")
    for sample in (0, 1, 5, 6, 1234, 3999):
        assert lines[line_of(path, Form(), sample) - 1].startswith(f"{sample},")


@pytest.mark.parametrize("size", [64, 65, 66, 67, 1000])
def test_blocks_are_cut_between_rows_wherever_they_end(size, tmp_path, monkeypatch):
    rows = [f'{i}.5,"x\r\n""{i % 7}"",{"y" * (i % 23)}",{-i}' for i in range(60)]
    for i, content in enumerate(("\r\n".join(["a,n,b", *rows]), "a,n,b\r" + "\r#c\r".join(rows) + "\r,,\r\r")):
        path = write(tmp_path, content.encode("utf-16") if i else content, f"{i}.csv")
        monkeypatch.setattr(blocks, "SIZE", size)
        table = load(path, ["a", "b"], series="n")
        np.testing.assert_array_equal(table.values, [[i + 0.5, -i] for i in range(60)])
        assert len(table.names) == len({row.split(",", 1)[1].rsplit(",", 1)[0] for row in rows})
        assert [line_of(path, Form(), i) for i in (0, 1, 59)] == ([2, 5, 179] if i else [2, 4, 120])


@pytest.mark.parametrize("kind", ["gz", "zip", "zst", "parquet"])
def test_archives_and_parquet_files_are_told_by_what_is_in_them(kind, tmp_path):
    text, path = random_table(500).encode(), tmp_path / "my.data"
    plain = load(write(tmp_path, text), ["a", "b"], series="name")
    if kind == "gz":
        path.write_bytes(gzip.compress(text[:3000]) + gzip.compress(text[3000:]))
    elif kind == "zst":
        path.write_bytes(pyarrow.compress(text, "zstd", asbytes=True))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("folder/", "")
            archive.writestr("folder/my.csv", text)
    else:
        names = pyarrow.array([plain.names[i] for i in plain.series]).dictionary_encode()
        columns = {"name": names, "a": plain.values[:, 0], "b": plain.values[:, 1]}
        pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=77)
    table = load(path, ["a", "b"], series="name")
    np.testing.assert_array_equal(table.values, plain.values)
    np.testing.assert_array_equal(table.series, plain.series)
    assert table.names == plain.names
    assert table.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert column_names(path) == (["name", "a", "b"] if kind == "parquet" else ["x", "a", "name", "b"])
    for kept in (100, -30):
        said = refusal(write(tmp_path, path.read_bytes()[:kept], f"{kept}"), "a")
        assert re.match(r"is a broken (gzip archive|zip archive|zstd archive|Parquet file) \(.+\)$", said)


OTHERS = {
    "a workbook": ({"[Content_Types].xml": "", "xl/workbook.xml": ""}, "is a workbook or a document; save the"),
    "many files": ({"a.csv": "a\n1\n", "b.csv": ""}, "must have one file in it, and has 2 files: 'a.csv', 'b.csv'"),
    "no file": ({"a/": ""}, "must have one file in it, and has no file"),
    "an older workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is a workbook of an older spreadsheet program; "),
    "bzip2": (b"BZh91AY", "is a bzip2 archive; unpack it, or compress it as .gz, .zip or .zst"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01", "is no text but a binary file; save the table as CSV"),
    "empty": (b"", "is empty, or its first line is: that line must name the columns"),
    "blank": (b" \n\n", "is empty, or its first line is: that line must name the columns"),
    "comments": (b"# a\n# b\n", "has comments alone; a line must name the columns"),
    "names alone": (b"a,b\n\n", "has no samples: below the line with the columns' names there is nothing"),
    "no names": (b"# 2\n1,2\n3,4\n", "line 2: has numbers alone; the first line must name the columns"),
    "twice": (b"a,b,a\n1,2,3\n", "line 1: the column 'a' stands there 2 times"),
    "unknown": (b"A 1,b\n1,2\n", "line 1: there is no column 'a'; there is A 1, b"),
    "later letters": (b"a\n" + b"1\n" * 2**20 + b"\xb0\n", "line 1048578: byte 1 (0xb0) is not UTF-8; save the"),
    "one long line": (b"a\n" + b"1" * 2**21, "line 2: is longer than 1,048,576 bytes; is it a CSV file?"),
    "one long name": (b"a" * 2**21, "line 1: is longer than 1,048,576 bytes; is it a CSV file?"),
    "an open quote": (b'a,b\n1,2\n"1,2\n' + b"1,2\n" * 2**19, "line 3: cannot be read as CSV: a quote that is opened"),
    "no end": (b'a,b\n1,2\n1,"2\n', "line 3: cannot be read as CSV: a quote that is opened there is not closed"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_table_is_refused(kind, tmp_path):
    content, said = OTHERS[kind]
    path = tmp_path / "my.csv"
    if isinstance(content, dict):
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in content.items():
                archive.writestr(name, text)
    else:
        path.write_bytes(content)
    assert refusal(path, "a").startswith(said)


FAULTS = {
    "empty": (",1,x", "line 7, column 'a': is empty; every sample needs a number; data.missing=interpolate or data."),
    "missing": ("1,NA,x", "line 7, column 'b': 'NA' stands for a missing value; every sample needs a number; data."),
    "text": ("1,two,x", "line 7, column 'b': 'two' is no number, such as 3.14 or -2e-5, of at most 1e+100; the "
             "file was read as separated by commas"),
    "infinite": ("1,-inf,x", "line 7, column 'b': '-inf' is no number"),
    "too large": ("1,1e999,x", "line 7, column 'b': '1e999' is no number"),
    "underscore": ("1_000,2,x", "line 7, column 'a': '1_000' is no number"),
    "thousands": ('"1,000,00",2,x', "line 7, column 'a': '1,000,00' is no number"),
    "a field too few": ("1,2", "line 7: has 2 fields, but the first line names 3 columns; the file was"),
    "a field too many": ("1,2,x,4", "line 7: has 4 fields, but the first line names 3 columns"),
    "an empty line": ("  ", "line 7: is empty, and more lines follow; every line must be a sample"),
    "a stray quote": ('1,2,"x"y', "line 7: cannot be read as CSV: text follows a closing quote"),
    "long": (f"{'x' * 99},2,x", f"line 7, column 'a': '{'x' * 40}...' is no number"),
    "a terminal's": ("\x1b[2J,2,x", "line 7, column 'a': '\ufffd[2J' is no number"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_line_is_named_with_line_and_column(fault, tmp_path):
    line, said = FAULTS[fault]
    path = write(tmp_path, f'# m\na,b,c\n1,2,"x\n\ny"\n#\n{line}\n1,2,x\n?,2,x\n')
    assert refusal(path, "a", "b").startswith(said)


def test_a_near_name_is_proposed_and_a_duplicate_is_no_fault_of_others(tmp_path):
    path = write(tmp_path, "temperature,b,b\n1,2,3\n")
    assert load(path, ["temperature"]).values == 1
    assert refusal(path, "Temprature") == (
        "line 1: there is no column 'Temprature'; there is temperature, b, b; did you mean temperature?"
    )


def test_many_and_long_names_of_columns_are_told_in_part_and_none_steers_a_terminal():
    assert listed(["T (degC)", "a\x1b[31m\n\u202e"]) == "T (degC), a\ufffd[31m\ufffd\ufffd"
    assert listed(["x" * 50] * 20) == ", ".join(["x" * 40 + "..."] * 12) + ", and 8 more"


STAMPS = {
    "2020-01-31": "2020-01-31",
    "2020-01-31T23:30": "2020-01-31T23:30",
    "2020-01-31 23:30:05.25": "2020-01-31T23:30:05.25",
    "2020-01-31 23:30:05.123456789Z": "2020-01-31T23:30:05.123456",
    "2020-01-31T23:30:00+01:00": "2020-01-31T22:30",
    "2020-01-31 23:30-0530": "2020-02-01T05",
    "2020/1/31 24:00": "2020-02-01",
    "31.01.2020 00:10:00": "2020-01-31T00:10",
    "31/1/2020 17:24:00": "2020-01-31T17:24",
    "12/31/2020": "2020-12-31",
    "1/31/20 12:05 AM": "2020-01-31T00:05",
    "1/31/99 3:04:05 pm": "1999-01-31T15:04:05",
    "31-Jan-2020": "2020-01-31",
    "Jan 31, 2020": "2020-01-31",
    "Fri, 31 January 2020 10:00:00 GMT": "2020-01-31T10",
    "20200131": "2020-01-31",
    "20200131T2330": "2020-01-31T23:30",
    "20200131233000": "2020-01-31T23:30",
    "1580513400": "2020-01-31T23:30",
    "1580513400.5": "2020-01-31T23:30:00.5",
    "1580513400123": "2020-01-31T23:30:00.123",
    "1700": "1700",
    "2020-02": "2020-02",
    "Feb 2020": "2020-02",
    "2020/02": "2020-02",
    "0001-01-01": "0001-01-01",
    "9999-12-31 23:59:59.999999": "9999-12-31T23:59:59.999999",
    "2024-02-29": "2024-02-29",
}


@pytest.mark.parametrize("written", STAMPS)
def test_time_stamps_are_read_as_people_write_them(written, tmp_path):
    path = write(tmp_path, f'"a";"t"\n1; "{written}" \n')
    [time] = load(path, ["a"], time=["t"]).times
    assert time == np.datetime64(STAMPS[written], "us")


@pytest.mark.parametrize(
    "written",
    ["2023-02-29", "2020-13-01", "2020-01-01 24:01", "2020-01-01 10:60", "13:00", "1/31/2020 13:00 PM", "32/1/2020",
     "0000-01-01", "now", "NaT-1", "2020-01-01 10:00 CET", "2020-01-0\uff11", "x" * 99],
)  # fmt: skip
def test_what_is_no_time_is_refused_with_the_form_of_the_others(written, tmp_path):
    path = write(tmp_path, f"a,t\n1,2020-01-01\n2,{written}\n")
    shown = written if len(written) < 40 else written[:40] + "..."
    said = f"line 3, column 't': '{shown}' is no time, such as 2020-01-01 above; the file was read as separated by "
    assert refusal(path, "a", time=["t"]).startswith(said)


def test_day_and_month_are_told_apart_by_the_whole_column(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "SIZE", 64)

    def read(*stamps):
        text = "t,a\n" + "".join(f"{stamp},1\n" for stamp in stamps)
        table = load(write(tmp_path, text, f"{hash(stamps)}.csv"), ["a"], time=["t"])
        return table.times.astype("M8[D]").astype(str).tolist(), table.understood.partition("samples")[2]

    early = [f"{i}/1/2020" for i in range(1, 13)]
    assert read(*early) == (
        [f"2020-01-{i:02}" for i in range(1, 13)], ", times with the day first, which no part above 12 tells"
    )  # fmt: skip
    assert read(*early, "13/1/2020") == ([f"2020-01-{i:02}" for i in range(1, 14)], ", times with the day first")
    assert read(*early, "12/13/2020") == (
        [f"2020-{i:02}-01" for i in range(1, 13)] + ["2020-12-13"], ", times with the month first"
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"line 15, column 't': '1/13/2020' is no time, such as 1/1/2020 above"):
        read(*early, "13/1/2020", "1/13/2020")


def test_times_in_several_columns_series_and_missing_values_go_together(tmp_path):
    text = "Date;Time;site;x;y\n31/12/2020;23:00;b;?;2,5\n1/1/2021;0:00; a ;3;?\n1/1/2021;01:00;b;4;5\n;;;;\n"
    table = load(write(tmp_path, text), ["y", "x"], time=["Date", "Time"], series="site", missing=True)
    np.testing.assert_array_equal(table.values, [[2.5, NAN], [NAN, 3], [5, 4]])
    hours = np.array(["2020-12-31T23", "2021-01-01T00", "2021-01-01T01"], "M8[us]")
    np.testing.assert_array_equal(table.times, hours)
    assert table.times.dtype == "M8[us]"
    assert (table.series.tolist(), table.series.dtype, table.names) == ([0, 1, 0], np.int32, ("b", "a"))
    assert table.understood == (
        "separated by ;, decimal comma, 5 columns, 3 samples, 2 missing values: ?, 2 series, times with the day first"
    )
    path = write(tmp_path, "t,u,s,a\n2020-01-01,10:00,x,1\n,,x,1\n2020-01-01,10:00,,1\n", "lacking.csv")
    lacking = "column 't u': is empty; every sample needs a time"
    assert refusal(path, "a", time=["t", "u"], series="s", missing=True) == f"line 3, {lacking}"
    assert refusal(path, "a", series="s") == "line 4, column 's': is empty; every sample needs a series"


def test_a_parquet_file_gives_times_and_whole_numbers_and_names_the_row_of_a_fault(tmp_path):
    path = tmp_path / "my.pq"
    stamps = pyarrow.array([1580513400123456789, 0], pyarrow.timestamp("ns", "Europe/Berlin"))
    columns = {"t": stamps, "a": [1, None], "b": pyarrow.array(["1e3", "?"]), "l": [[1], [2]], "s": [7, 8]}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    table = load(path, ["a", "b"], time=["t"], series="s", missing=True)
    np.testing.assert_array_equal(table.values, [[1, 1000], [NAN, NAN]])
    np.testing.assert_array_equal(table.times, np.array(["2020-01-31T23:30:00.123456", "1970-01-01"], "M8[us]"))
    assert table.names == ("7", "8")
    assert table.understood == "Parquet, 5 columns, 2 samples, 2 missing values, 2 series"
    assert refusal(path, "a").startswith("row 2, column 'a': stands for a missing value; every sample needs a number")
    assert refusal(path, "l") == "column 'l': is of type list<element: int64>; it must be of numbers"
    assert refusal(path, "t").startswith(
        "column 't': is of type timestamp[ns, tz=Europe/Berlin]; it must be of numbers"
    )
    assert refusal(path, "c").startswith("there is no column 'c'; there is t, a, b, l, s")


def test_no_more_than_the_beginning_is_read_for_the_names(tmp_path):
    assert column_names(tmp_path / "none.csv") == column_names(tmp_path) == column_names(Path("/dev/zero")) == []
    with open(tmp_path / "sparse.csv", "wb") as file:  # one line of a terabyte
        file.write(b"a,b")
        file.truncate(2**40)
    assert column_names(tmp_path / "sparse.csv") == []
    assert column_names(write(tmp_path, '"a\nb", c ,\n1,2,3\n')) == ["a\nb", "c"]


def test_what_cannot_be_read_is_said(tmp_path):
    for path, said in ((tmp_path / "none.csv", "there is no such file"), (tmp_path, "is no file")):
        with pytest.raises(ConfigError, match=re.escape(f"data.path={path}: {said}")):
            load(path, ["a"])


def test_a_file_is_read_once_until_it_changes(tmp_path):
    path = write(tmp_path, "a\n1\n")
    assert load(path, ["a"]) is load(path, ["a"])
    write(tmp_path, "a\n12\n")
    assert load(path, ["a"]).values == 12


def test_a_bomb_does_not_burst(tmp_path):
    """Many zeros in few bytes, and half a million lines in a few kilobytes, in little memory."""
    import tracemalloc

    path = write(tmp_path, gzip.compress(b"a\n" + b"0" * 2**26))
    large = write(tmp_path, gzip.compress(b"a,b\n" + b"1.25,x\n" * 2**19), "large.csv")
    tracemalloc.start()
    assert refusal(path, "a") == "line 2: is longer than 1,048,576 bytes; is it a CSV file?"
    assert len(load(large, ["a"]).values) == 2**19
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20 * blocks.SIZE


def test_a_full_disk_is_no_fault_of_the_file(tmp_path, monkeypatch):
    def full(**options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(table.tempfile, "TemporaryFile", full)
    with pytest.raises(OSError, match="No space left on device"):
        load(write(tmp_path, "a\n1\n"), ["a"])
