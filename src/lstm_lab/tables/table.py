"""Tables: columns of numbers, of times and of series' names, read from a file into arrays that are mapped into memory.

No file is ever in memory as a whole: some megabytes of it are read at a time, and what is asked for goes to temporary
files that are gone with the process. Numbers are correctly rounded.
"""

import contextlib
import errno
import functools
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from lstm_lab.config import ConfigError
from lstm_lab.tables.archives import kind_of
from lstm_lab.tables.dialect import MISSING, Form, listed
from lstm_lab.tables.sources import (
    CsvSource,
    FaultError,
    Source,
    dialect_of,
    locate,
    open_source,
    parquet_names,
    shown,
)
from lstm_lab.tables.stamps import BadStampError, OtherOrderError, Stamps

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Asked", "Form", "Table", "column_names", "line_of", "listed", "load"]

LARGEST = 1e100  # of a number, so that its square is one too
MOST_SERIES = 10**6
WRITTEN = "such as 3.14 or -2e-5, of at most 1e+100"


@dataclass(frozen=True)
class Table:
    """Some columns of a file.

    `values` float64 [samples, columns], NaN where one is missing; `times` datetime64[us] [samples], in UTC where the
    file tells an offset, not sorted; `series` int32 [samples], numbers of `names`, in the order in which they come;
    `sha256` of the file's bytes; `understood`: one line, what the file was taken for.
    """

    values: np.ndarray
    times: np.ndarray | None
    series: np.ndarray | None
    names: tuple[str, ...]
    sha256: str
    understood: str


@dataclass(frozen=True)
class Asked:
    """What is asked for: columns of numbers, those that make the time stamp, and the one that names the series.

    Several columns of `time` are joined by a blank. Without `missing` a missing value is wrong.
    """

    columns: tuple[str, ...]
    time: tuple[str, ...] = ()
    series: str | None = None
    missing: bool = False


def load(path: str | os.PathLike, asked: Asked, form: Form, scratch: Path | None = None) -> Table:
    """Reads those columns; ConfigError names line and column of whatever is wrong. Read once per process.

    The arrays are in temporary files, in the folder `scratch` if it is one that can be written to.
    """
    numbers, stamps = (tuple(name.strip() for name in names) for names in (asked.columns, asked.time))
    wanted = Asked(numbers, stamps, None if asked.series is None else asked.series.strip(), asked.missing)
    folder = scratch if scratch and os.access(scratch, os.W_OK) else None
    with readable(path) as version:
        return read(Path(path), wanted, form, folder, version)


def column_names(path: str | os.PathLike, form: Form = Form()) -> list[str]:  # noqa: B008
    """The columns that the file's first line names; [] if that cannot be told: `load` says why."""
    with contextlib.suppress(ConfigError, OSError), readable(path):
        if kind_of(Path(path)) == "parquet":
            return parquet_names(Path(path))
        return [name for name in dialect_of(Path(path), form).names if name]
    return []


def line_of(path: str | os.PathLike, form: Form, sample: int) -> int:
    """The line of the file where the sample of that number stands, which `load` has read; a Parquet file's row."""
    with readable(path):
        if kind_of(Path(path)) == "parquet":
            return sample + 1
        return locate(Path(path), dialect_of(Path(path), form), sample)[0]


@contextlib.contextmanager
def readable(path: str | os.PathLike) -> Iterator[tuple[int, int]]:
    """The file's size and time of change; ConfigError for what cannot be read. A full disk is no fault of the file."""
    try:
        found = os.stat(path)
        if not Path(path).is_file():
            raise ConfigError(f"data.path={path}: is no file")
        yield found.st_size, found.st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"data.path={path}: there is no such file") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # of the temporary file
            raise
        raise ConfigError(f"data.path={path}: cannot be read ({error.strerror})") from None


@functools.lru_cache(maxsize=4)
def read(path: Path, wanted: Asked, form: Form, folder: Path | None, version: tuple[int, int]) -> Table:
    """`load` for a file of that size and time of change, with temporary files in that folder."""
    try:
        return read_with(Stamps(), path, wanted, form, folder)
    except OtherOrderError:
        return read_with(Stamps(month_first=True), path, wanted, form, folder)


def read_with(stamps: Stamps, path: Path, wanted: Asked, form: Form, folder: Path | None) -> Table:
    """`read` with stamps of that order of day and month."""
    texts = [*wanted.time, *([] if wanted.series is None else [wanted.series])]
    source = open_source(path, form, wanted.columns, texts)
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in range(3)]
        gathered = Gathered(wanted, source, stamps, files)
        try:
            for arrays, empty in source.batches():
                gathered.add(arrays, empty)
            gathered.finish()
        except FaultError as fault:
            raise source.blame(fault) from None
        if not gathered.samples:
            raise ConfigError(f"{path}: has no samples: below the line with the columns' names there is nothing")
        return gathered.table()


class Gathered:
    """The samples that were read so far, in temporary files: numbers, times, and series."""

    def __init__(self, wanted: Asked, source: Source, stamps: Stamps, files: Sequence[BinaryIO]) -> None:
        self.wanted, self.source, self.stamps, self.files = wanted, source, stamps, files
        self.samples, self.empty, self.missing = 0, 0, 0
        self.lacking: FaultError | None = None  # the first value that may not be missing
        self.names: dict[str, int] = {}
        dialect = source.dialect if isinstance(source, CsvSource) else None
        self.marks = dialect.missing if dialect else MISSING
        self.signs = (dialect.decimal, dialect.thousands) if dialect else (".", "")
        self.codes = list(filter(np.isfinite, map(number_or_nan, self.marks)))

    def add(self, arrays: "list[pyarrow.Array]", empty: int) -> None:
        """The next samples, of which so many at the end are rows without a field."""
        columns = self.wanted.columns
        values = [self.numbers(array, name) for array, name in zip(arrays, columns, strict=False)]
        block = np.column_stack(values) if values else np.empty((len(arrays[0]), 0))
        stamps = arrays[len(columns) : len(columns) + len(self.wanted.time)]
        self.check_values(block)
        block.tofile(self.files[0])
        if stamps:
            self.times(stamps).tofile(self.files[1])
        if self.wanted.series is not None:
            self.labels(arrays[-1]).tofile(self.files[2])
        self.empty = self.empty + len(block) if empty == len(block) else empty
        self.samples += len(block)
        if self.lacking and self.lacking.sample < self.samples - self.empty:
            raise self.lacking

    def finish(self) -> None:
        """Rows without a field are nothing at the end of a file."""
        self.missing -= self.empty * len(self.wanted.columns)
        self.samples -= self.empty

    def lack(self, missing: np.ndarray, columns: Sequence[str], needs: str) -> None:
        """Keeps the first sample whose value in those columns is missing, if it is the first of all."""
        if missing.any():
            sample = self.samples + int(np.argmax(missing))
            if self.lacking is None or sample < self.lacking.sample:
                self.lacking = FaultError(sample, columns, f"'{{}}' stands for a missing value; {needs}")

    def check_values(self, block: np.ndarray) -> None:
        """FaultError for a number that is too large; missing ones are counted and, if they are refused, kept."""
        missing = np.isnan(block)
        self.missing += int(missing.sum())
        if not self.wanted.missing:
            for i, column in enumerate(self.wanted.columns):
                needs = "every sample needs a number; data.missing=interpolate or data.missing=mask goes on without"
                self.lack(missing[:, i], [column], needs)
        if (large := np.abs(block) > LARGEST).any():
            row, place = np.argwhere(large)[0].tolist()
            raise FaultError(self.samples + row, [self.wanted.columns[place]], f"'{{}}' is no number, {WRITTEN}")

    def numbers(self, array: "pyarrow.Array", column: str) -> np.ndarray:
        """The numbers of a column, NaN where one is missing."""
        from pyarrow import compute, types

        if types.is_string(array.type):
            array, bad = parse_numbers(array, self.marks, self.signs)
        else:
            bad = compute.is_nan(array).fill_null(False).to_numpy(zero_copy_only=False)
            bad = bad if isinstance(self.source, CsvSource) else np.zeros(len(array), bool)
        if bad.any():
            raise FaultError(self.samples + int(np.argmax(bad)), [column], f"'{{}}' is no number, {WRITTEN}")
        values = array.to_numpy(zero_copy_only=False)
        return np.where(np.isin(values, self.codes), np.nan, values) if self.codes else values

    def times(self, arrays: "list[pyarrow.Array]") -> np.ndarray:
        """The time stamps; those in several columns are joined by a blank."""
        import pyarrow
        from pyarrow import compute, types

        if len(arrays) == 1 and types.is_timestamp(arrays[0].type):
            times = arrays[0].cast(pyarrow.timestamp("us")).to_numpy(zero_copy_only=False).astype("M8[us]")
        else:
            parts = [compute.utf8_trim_whitespace(compute.cast(array, pyarrow.string())) for array in arrays]
            texts = parts[0] if len(parts) == 1 else compute.binary_join_element_wise(*parts, " ")
            missing = compute.or_(compute.is_null(texts), compute.is_in(texts, pyarrow.array([*self.marks, " "])))
            texts = compute.if_else(missing, "", texts)
            try:
                times = self.stamps.read(texts)
            except BadStampError as bad:
                form = self.stamps.form
                like = "2024-01-31 23:30" if form == texts[bad.index].as_py() else f"{shown(form)} above"
                said = f"'{{}}' is no time, such as {like}"
                raise FaultError(self.samples + bad.index, self.wanted.time, said) from None
        self.lack(np.isnat(times), self.wanted.time, "every sample needs a time")
        return times

    def labels(self, array: "pyarrow.Array") -> np.ndarray:
        """The numbers of the series that the samples belong to."""
        import pyarrow
        from pyarrow import compute

        column = str(self.wanted.series)
        texts = compute.utf8_trim_whitespace(compute.cast(array, pyarrow.string())).fill_null("")
        self.lack(compute.equal(texts, "").to_numpy(zero_copy_only=False), [column], "every sample needs a series")
        coded = texts.dictionary_encode()
        numbers = [self.names.setdefault(name, len(self.names)) for name in coded.dictionary.to_pylist()]
        if len(self.names) > MOST_SERIES:
            raise ConfigError(f"{self.source.path}, column '{column}': names more than {MOST_SERIES:,} series")
        return np.array(numbers, np.int32)[coded.indices.to_numpy()]

    def table(self) -> Table:
        """All samples, mapped into memory."""

        def mapped(file: BinaryIO, kind: str, columns: int | None = None) -> np.ndarray:
            file.flush()
            shape = (self.samples,) if columns is None else (self.samples, columns)
            return np.memmap(file, kind, "r", shape=shape) if columns != 0 else np.empty(shape)

        dated, parted = bool(self.wanted.time), self.wanted.series is not None
        names = tuple(self.names)[: len(self.names) - ("" in self.names)]
        said = [*self.source.understood(), f"{self.samples:,} sample{'s' * (self.samples != 1)}"]
        if self.missing:
            marks = self.source.dialect.marks if isinstance(self.source, CsvSource) else ()
            said.append(
                f"{self.missing:,} missing value{'s' * (self.missing != 1)}{f': {listed(marks)}' * bool(marks)}"
            )
        said += [f"{len(names):,} series"] if parted else []
        return Table(
            values=mapped(self.files[0], "float64", len(self.wanted.columns)),
            times=mapped(self.files[1], "M8[us]") if dated else None,
            series=mapped(self.files[2], "int32") if parted else None,
            names=names,
            sha256=self.source.sha256,
            understood=", ".join([*said, *filter(None, [self.stamps.told()])]),
        )


def number_or_nan(text: str) -> float:
    """The number that the text is."""
    try:
        return float(text)
    except ValueError:
        return np.nan


def parse_numbers(
    array: "pyarrow.Array", marks: Sequence[str], signs: tuple[str, str]
) -> "tuple[pyarrow.Array, np.ndarray]":
    """The numbers of texts, null where one is a mark of a missing value, and which are no numbers.

    `signs` are the decimal one and that between thousands, "" if there is none.
    """
    import pyarrow
    from pyarrow import compute

    decimal, thousands = map(re.escape, signs)
    texts = compute.utf8_trim_whitespace(array)
    missing = compute.or_(compute.is_null(texts), compute.is_in(texts, pyarrow.array(marks, pyarrow.string())))
    whole = rf"(\d+|\d{{1,3}}({thousands}\d{{3}})+)" if thousands else r"\d+"
    form = rf"^[+-]?({whole}({decimal}\d*)?|{decimal}\d+)([eE][+-]?\d+)?$"
    bad = compute.and_not(compute.invert(compute.match_substring_regex(texts, form)).fill_null(False), missing)
    if not compute.any(bad).as_py():
        if thousands:
            texts = compute.replace_substring(texts, signs[1], "")
        texts = compute.replace_substring(texts, signs[0], ".") if signs[0] != "." else texts
        texts = compute.replace_substring_regex(texts, r"^\+", "")
        array = compute.cast(compute.if_else(missing, pyarrow.scalar(None, pyarrow.string()), texts), pyarrow.float64())
    return array, bad.to_numpy(zero_copy_only=False)
