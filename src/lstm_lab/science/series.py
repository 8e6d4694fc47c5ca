"""A series of one's own: a CSV file read line by line, checked and normalised, and the batches cut from it.

The first line names the columns; every other line is the next sample. The last samples are held out, those before them
are for validation, the others are cut into `batch_size` streams of equal length, one for each row of the batch: row b
goes through stream b, `time_steps` samples a step, so that carrying the state is exact. When the streams are used up an
epoch ends: each row starts over at the beginning of its stream, from a state of zeros.

No file is ever in memory as a whole: its numbers go to a temporary file, which is mapped into memory and is gone with
the process.
"""

import array
import contextlib
import csv
import errno
import functools
import hashlib
import io
import itertools
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from lstm_lab.config import ConfigError
from lstm_lab.science.curves import Continuation, Rows

if TYPE_CHECKING:
    import _csv

LONGEST_LINE = 2**20  # bytes
LARGEST = 1e100  # of a number, so that its square is one too
SMALLEST = 1 / LARGEST  # of a column's standard deviation, for the same reason
STEPS = 1000  # from one float64 number to the next, that the standard deviation spans at least
FARTHEST = 1e30  # standard deviations from the mean: float32 and the model's weights leave room for no more
MOST_SHOWN, LONGEST_SHOWN = 12, 40  # columns that a message names, and characters of each
BLOCK = 2**16  # samples that are worked on at a time
LEAD_IN = 50  # windows that the model goes through before those it is validated on


@dataclass(frozen=True)
class Table:
    """Some columns of a CSV file: `values` float64 [samples, columns], and the SHA-256 of the whole file."""

    values: np.ndarray
    sha256: str


def load(path: str | os.PathLike, columns: Sequence[str], scratch: Path | None = None) -> Table:
    """Reads those columns; ConfigError names line and column of whatever is wrong. Read once per process.

    The numbers go to a temporary file in the folder `scratch`, if it is one that can be written to.
    """
    try:
        found = os.stat(path)
        if not Path(path).is_file():
            raise ConfigError(f"data.path={path}: is no file")
        return read(Path(path), tuple(columns), scratch, found.st_size, found.st_mtime_ns)
    except FileNotFoundError:
        raise ConfigError(f"data.path={path}: there is no such file") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # of the temporary file
            raise
        raise ConfigError(f"data.path={path}: cannot be read ({error.strerror})") from None


@functools.lru_cache(maxsize=4)
def read(path: Path, columns: tuple[str, ...], scratch: Path | None, size: int, changed: int) -> Table:
    """`load` for a file of that size and time of change."""
    folder = scratch if scratch and os.access(scratch, os.W_OK) else None
    with open(path, "rb") as file, tempfile.TemporaryFile(dir=folder) as numbers:
        sha = hashlib.sha256()
        block = array.array("d")
        for row in parse(path, file, columns, sha):
            block.extend(row)
            if len(block) >= BLOCK:
                block.tofile(numbers)
                del block[:]
        block.tofile(numbers)
        numbers.flush()
        if not numbers.tell():
            raise ConfigError(f"{path}: has no samples: below the line with the columns' names there is nothing")
        return Table(np.memmap(numbers, np.float64, "r").reshape(-1, len(columns)), sha.hexdigest())


def parse(path: Path, file: BinaryIO, columns: Sequence[str], sha: "hashlib._Hash") -> Iterator[list[float]]:
    """The numbers of those columns, line by line; `sha` is fed every byte of the file."""
    reader = reader_of(path, file, sha)

    def next_line() -> list[str] | None:
        try:
            return next(reader, None)
        except csv.Error as error:
            raise ConfigError(f"{path}, line {reader.line_num}: cannot be read as CSV ({error})") from None

    header = next_line()
    if header is None or not any(name.strip() for name in header):
        raise ConfigError(f"{path}: is empty, or its first line is: that line must name the columns")
    names = [name.strip() for name in header]
    places = [place_of(path, names, column.strip()) for column in columns]
    blank = 0
    while (fields := next_line()) is not None:
        if not fields:
            blank = blank or reader.line_num
            continue
        if blank:  # at the end of a file blank lines are nothing, in between something is missing
            raise ConfigError(f"{path}, line {blank}: is empty, and more lines follow; every line must be a sample")
        if len(fields) != len(names):
            where = f"{path}, line {reader.line_num}"
            raise ConfigError(f"{where}: has {len(fields)} fields, but the first line names {len(names)} columns")
        yield [number(fields[place], path, reader.line_num, names[place]) for place in places]


def reader_of(path: Path, file: BinaryIO, sha: "hashlib._Hash") -> "_csv.Reader":
    """The file's lines as lists of fields."""
    return csv.reader(decoded(path, file, sha), strict=True, skipinitialspace=True)


def columns(path: Path) -> list[str]:
    """The columns that the file's first line names; [] if that cannot be told: `load` says why."""
    with contextlib.suppress(ConfigError, OSError, csv.Error):
        if path.is_file():
            with open(path, "rb") as file:
                start = io.BytesIO(file.read(LONGEST_LINE - 1))
            return [name.strip() for name in next(reader_of(path, start, hashlib.sha256()), [])]
    return []


def listed(names: Sequence[str]) -> str:
    """The names of columns as a message has them: some of many, and of a long one its beginning."""
    short = [name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}..." for name in names[:MOST_SHOWN]]
    more = [f"and {len(names) - MOST_SHOWN:,} more"] if len(names) > MOST_SHOWN else []
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in ", ".join([*short, *more]))


def decoded(path: Path, file: BinaryIO, sha: "hashlib._Hash") -> Iterator[str]:
    """The file's lines as text; `sha` is fed every byte."""
    line_number = 0
    while line := file.readline(LONGEST_LINE):
        line_number += 1
        sha.update(line)
        if len(line) == LONGEST_LINE:
            raise ConfigError(f"{path}, line {line_number}: is longer than {LONGEST_LINE:,} bytes; is it a CSV file?")
        try:
            yield line.decode("utf-8-sig" if line_number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"{path}, line {line_number}: byte {error.start + 1} (0x{line[error.start]:02x}) is not UTF-8; "
                "save the file in that encoding"
            ) from None


def place_of(path: Path, names: Sequence[str], column: str) -> int:
    """Where in a line the column stands."""
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"{path}, line 1: the column '{twice}' stands there {names.count(twice)} times")
    if column not in names:
        raise ConfigError(f"{path}, line 1: there is no column '{column}'; there is {listed(names)}")
    return names.index(column)


def number(text: str, path: Path, line: int, column: str) -> float:
    """The number that a field of that line and column holds."""
    text = text.strip()
    try:
        value = float(text) if "_" not in text else math.nan  # Python reads 1_000 as a number, nobody else does
    except ValueError:
        value = math.nan
    if abs(value) <= LARGEST:  # not a number compares as false
        return value
    where = f"{path}, line {line}, column '{column}'"
    if not text:
        raise ConfigError(f"{where}: is empty; every sample needs a number")
    raise ConfigError(f"{where}: '{text[:40]}' is no number, such as 3.14 or -2e-5, of at most {LARGEST:g}")


class SeriesBatches:
    """The batches of a series.

    Without `target` the target is the input `horizon` samples later. `held_out` is the share of the samples at the end
    whose targets are kept for the evaluation, `validation` that of the samples before them, by which runs are ranked:
    neither is trained on. Inputs and targets are normalised: mean and standard deviation of the other samples become 0
    and 1. `scratch` is as in `load`. ConfigError if the file does not serve.
    """

    carries_into_unseen = False
    units: Sequence[tuple[float, float]]
    file_sha256: str | None

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        input: str,
        target: str | None,
        horizon: int | None,
        held_out: float,
        validation: float,
        batch_size: int,
        time_steps: int,
        scratch: Path | None = None,
    ) -> None:
        columns = [input] if target is None else [input, target]
        self.table = load(path, columns, scratch)
        self.file_sha256 = self.table.sha256
        self.batch_size, self.time_steps, self.horizon = batch_size, time_steps, horizon or 0
        self.stride = batch_size  # no row of a batch is a row of the next
        samples = len(self.table.values)
        unseen, between = math.ceil(held_out * samples), math.ceil(validation * samples)
        self.known = samples - unseen - self.horizon  # pairs of input and target before the first that is held out
        self.trained = self.known - between
        self.unseen_windows, self.validation_windows = unseen // time_steps, between // time_steps
        self.epoch = self.trained // (batch_size * time_steps)  # steps until the streams are used up
        if self.epoch < 1 or self.unseen_windows < 1 or (between and self.validation_windows < 1):
            raise ConfigError(self.too_short(path, samples, unseen, between))
        normal = self.table.values[: self.trained + self.horizon]
        units = [unit_of(path, column, normal[:, i]) for i, column in enumerate(columns)]
        self.units = units[0], units[-1]
        for i, column in enumerate(columns):
            check_outliers(path, column, normal[:, i], units[i])
            check_range(path, column, self.table.values[len(normal) :, i], units[i])

    def too_short(self, path: str | os.PathLike, samples: int, unseen: int, between: int) -> str:
        """What is said of a file that makes no batch, or leaves no window to validate or to evaluate."""
        rows, steps = self.batch_size, self.time_steps
        if self.epoch < 1:
            needs = f"{max(0, self.trained):,} are left to train on, a batch of {rows} x {steps} needs {rows * steps:,}"
        else:
            needs = f"these make no window of {steps} to {'evaluate' if self.unseen_windows < 1 else 'validate'}"
        kept = f"{unseen:,} held out" + (f" and {between:,} for validation" if between else "")
        return (
            f"{path}: has too few samples, {samples:,}: with {kept} {needs}; "
            "lower data.batch_size or data.time_steps, or change data.held_out or data.validation"
        )

    def pairs(self, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets of the samples numbered `n`, normalised in float64 and rounded to float32 once."""
        values = self.table.values
        inputs, targets = values[n, 0], values[n + self.horizon, -1]
        first, second = [(v - mean) / stddev for v, (mean, stddev) in zip((inputs, targets), self.units, strict=True)]
        return first.astype(np.float32), second.astype(np.float32)

    def chunk(self, first: int, steps: int) -> Rows:
        """The batches `first` to `first + steps - 1`, one below the other; x is the number of the target's sample."""
        k = first + np.arange(steps)
        stream = self.epoch * self.time_steps
        begin = self.trained - self.batch_size * stream  # the oldest samples that fill no batch are left out
        row = begin + stream * np.arange(self.batch_size) + self.time_steps * (k % self.epoch)[:, None]
        n = row.reshape(-1, 1) + np.arange(self.time_steps)
        inputs, targets = self.pairs(n)
        return Rows((n + self.horizon).astype(float), inputs[..., None], targets[..., None], k % self.epoch == 0)

    def continuation(self, steps: int, windows: int) -> Continuation:
        """The first `windows` windows that were held out, or as many as there are, and as many samples before them."""
        return self.stretch(self.known, min(windows, self.unseen_windows), windows)

    def validation(self) -> Continuation | None:
        """The windows between those trained on and those held out, and some samples before them; None without any."""
        return self.stretch(self.trained, self.validation_windows, LEAD_IN) if self.validation_windows else None

    def stretch(self, first: int, windows: int, before: int) -> Continuation:
        """The windows from the pair numbered `first` on, after as many as `before` windows if there are so many."""
        start = max(0, first - before * self.time_steps)
        n = np.arange(start, first + windows * self.time_steps)
        inputs, targets = self.pairs(n)
        x, trained = (n + self.horizon).astype(float), max(0, self.trained - start)
        return Continuation(x, inputs, targets, first - start, trained, self.horizon, self.units[1])

    def digest(self, steps: int) -> str:
        """SHA-256 of the file, and of the first and the last batch of `steps`."""
        sha = hashlib.sha256(self.table.sha256.encode())
        for k in (0, steps - 1):
            rows = self.chunk(k, 1)
            sha.update(rows.inputs.tobytes() + rows.targets.tobytes())
        return sha.hexdigest()


def unit_of(path: str | os.PathLike, column: str, values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the values [samples]. Exact sums: no processor rounds them otherwise.

    ConfigError if float64 does not hold what there is to learn: the values are equal or nearly so, or the deviation is
    too small to be squared.
    """

    def exact_sum(of: Callable[[np.ndarray], np.ndarray]) -> float:
        blocks = (values[i : i + BLOCK] for i in range(0, len(values), BLOCK))
        return math.fsum(itertools.chain.from_iterable(of(block).tolist() for block in blocks))

    mean = exact_sum(lambda block: block) / len(values)
    stddev = math.sqrt(exact_sum(lambda block: (block - mean) ** 2) / len(values))
    where, samples = f"{path}, column '{column}'", f"all {len(values):,} samples to train on"
    low, high = values.min(), values.max()
    if low == high:
        raise ConfigError(
            f"{where}: is {low:g} in {samples}, to the 15 digits that are read; from a constant there is nothing to "
            "learn"
        )
    if stddev < SMALLEST:
        raise ConfigError(f"{where}: its standard deviation is below {SMALLEST:g}; multiply it by a constant")
    if stddev < STEPS * (step := np.spacing(max(-low, high))):
        raise ConfigError(
            f"{where}: is {low:g} in {samples} but for a standard deviation of {stddev:.2g}, and numbers of that size "
            f"are read in steps of {step:.2g}; subtract a constant from it"
        )
    return mean, stddev


def check_outliers(path: str | os.PathLike, column: str, values: np.ndarray, unit: tuple[float, float]) -> None:
    """ConfigError if one of the values [samples] is so far off that float32 does not tell the others apart."""
    mean, stddev = unit
    low, high = np.quantile(values[:: 1 + len(values) // BLOCK], (0.25, 0.75)).tolist()
    step = stddev * float(np.spacing(np.float32(max(mean - low, high - mean) / stddev)))
    if 0 < high - low < STEPS * step:
        farthest = max(values.min(), values.max(), key=lambda value: abs(value - mean))
        raise ConfigError(
            f"{path}, column '{column}': half of the samples to train on lie between {low:g} and {high:g}, and "
            f"{farthest:g} is among the others: normalised by that they are all one; if it stands for a missing value, "
            "take it out"
        )


def check_range(path: str | os.PathLike, column: str, values: np.ndarray, unit: tuple[float, float]) -> None:
    """ConfigError if one of the values [samples] is so far off that it cannot be normalised to a float32."""
    mean, stddev = unit
    for value in (values.min(), values.max()):
        if abs(value - mean) / stddev > FARTHEST:
            raise ConfigError(
                f"{path}, column '{column}': {value:g} is held out, and the samples to train on are {mean:g} with a "
                f"standard deviation of {stddev:.2g}; if it stands for a missing value, take it out"
            )
