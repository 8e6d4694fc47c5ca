"""From a file to complete samples: its series one after the other, gaps in their stamps and missing values seen to."""

import functools
import itertools
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lstm_lab.config import ConfigError
from lstm_lab.datasets import Csv
from lstm_lab.tables.sampling import Sampling, gaps_of, sampling_of
from lstm_lab.tables.table import Asked, Form, Table, line_of
from lstm_lab.tables.table import load as load_table
from lstm_lab.values import listed

Stretch = tuple[int, int]  # the first of consecutive samples, and the one after the last

BLOCK = 2**16  # samples that are worked on at a time
MOST_FILLED = 10  # samples put in for each one that is there


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a file: its columns, how it is written, and how gaps and missing values are seen to.

    Of the columns that are `known` the file may have the future, in lines where the others have no value.
    """

    columns: tuple[str, ...]
    known: tuple[str, ...]
    form: Form
    time: tuple[str, ...]
    series: str | None
    gaps: str
    missing: str


@dataclass(frozen=True)
class Series:
    """One series of a file: its name, its samples from `first` to before `stop`, and the stretches between its gaps.

    From `stop` to before `end` the known columns alone have values.
    """

    name: str
    first: int
    stop: int
    stretches: tuple[Stretch, ...]
    end: int


@dataclass(frozen=True)
class Samples:
    """The samples of a file, those of each of its `series` together.

    `values` is float64 [samples, columns], NaN where one is missing. `times` is datetime64 [samples], `time_name` what
    their column is called and `sampling` the interval between them, if the file has time stamps. `understood` says
    what the file was taken for.
    """

    columns: tuple[str, ...]
    values: np.ndarray
    times: np.ndarray | None
    time_name: str
    sampling: Sampling | None
    series: tuple[Series, ...]
    sha256: str
    understood: str


def wanted_of(settings: Csv, columns: Sequence[str]) -> Wanted:
    """What the settings want of a file that has these columns, beside those that are known."""
    missing = None if settings.missing_values is None else tuple(settings.missing_values)
    written = (settings.separator, settings.decimal, settings.thousands, settings.encoding, settings.comment)
    time = tuple(listed(settings.time))
    known, form = tuple(listed(settings.known)), Form(*written, missing)
    names = tuple(dict.fromkeys([*columns, *known]))
    return Wanted(names, known, form, time, settings.series, settings.gaps, settings.missing)


def load(path: str | os.PathLike, wanted: Wanted, scratch: Path | None = None) -> Samples:
    """Reads them, once per process; ConfigError names line and column of whatever is wrong.

    Numbers go to temporary files in the folder `scratch`, if it is one that can be written to.
    """
    return complete(Path(path), wanted, scratch, read(path, wanted, scratch).sha256)


def read(path: str | os.PathLike, wanted: Wanted, scratch: Path | None) -> Table:
    """What the file itself has of that."""
    missing = wanted.missing != "refuse" or bool(wanted.known)
    return load_table(path, Asked(wanted.columns, wanted.time, wanted.series, missing), wanted.form, scratch)


@functools.lru_cache(maxsize=4)
def complete(path: Path, wanted: Wanted, scratch: Path | None, sha256: str) -> Samples:
    """`load` for a file with that SHA-256."""
    samples, order = by_series(read(path, wanted, scratch), wanted, scratch)

    def where(sample: int) -> str:
        line = line_of(path, wanted.form, sample if order is None else int(order[sample]))
        return f"{path}, line {line}"

    if samples.times is not None:
        samples = between_gaps(samples, wanted.gaps, where, scratch)
    if wanted.known:
        samples = parted_from_the_future(samples, wanted, where)
    if wanted.missing == "interpolate":
        samples = interpolated(samples, scratch)
    return samples


def array_on_disk(shape: tuple[int, ...], scratch: Path | None) -> np.ndarray:
    """An array of float64 in a temporary file, mapped into memory."""
    folder = scratch if scratch and os.access(scratch, os.W_OK) else None
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, np.float64, "w+", shape=shape)


def by_series(table: Table, wanted: Wanted, scratch: Path | None) -> tuple[Samples, np.ndarray | None]:
    """The samples with each series' together, and which sample of the file each is; None: they were so already."""
    count, name = len(table.values), " ".join(wanted.time)
    if table.series is None:
        whole = Series("", 0, count, ((0, count),), count)
        return Samples(
            wanted.columns, table.values, table.times, name, None, (whole,), table.sha256, table.understood
        ), None
    ends = np.cumsum(np.bincount(table.series, minlength=len(table.names))).tolist()
    series = tuple(
        Series(name, first, stop, ((first, stop),), stop)
        for name, first, stop in zip(table.names, [0, *ends[:-1]], ends, strict=True)
    )
    found = Samples(wanted.columns, table.values, table.times, name, None, series, table.sha256, table.understood)
    if (np.diff(table.series) >= 0).all():
        return found, None
    order = np.argsort(table.series, kind="stable")
    values = array_on_disk(table.values.shape, scratch)
    for first in range(0, count, BLOCK):
        values[first : first + BLOCK] = table.values[order[first : first + BLOCK]]
    return replace(found, values=values, times=None if table.times is None else table.times[order]), order


def between_gaps(samples: Samples, gaps: str, where: Callable[[int], str], scratch: Path | None) -> Samples:
    """The samples with the interval of their stamps found and checked, and gaps seen to as the setting says."""
    times = samples.times
    assert times is not None
    longest = max(samples.series, key=lambda one: one.stop - one.first)
    sampling = sampling_of(times[longest.first : longest.stop])
    if sampling is None:
        return samples
    behind, left_out = gaps_in(samples, sampling, where)
    samples = replace(samples, sampling=sampling, understood=f"{samples.understood}, every {sampling.name}")
    if not len(behind):
        return samples
    total = int(left_out.sum())
    found = f"{len(behind):,} gap{'s' * (len(behind) > 1)} of {total:,} sample{'s' * (total > 1)}"
    if gaps == "refuse":
        first = "1 time stamp is" if left_out[0] == 1 else f"{int(left_out[0]):,} time stamps are"
        raise ConfigError(
            f"{where(int(behind[0]) + 1)}: {first} left out before it (samples every "
            f"{sampling.name}, {found} in all); data.gaps=fill puts samples in, data.gaps=reset starts over there"
        )
    samples = replace(samples, understood=f"{samples.understood}, {found} ({gaps})")
    return started_over(samples, behind) if gaps == "reset" else filled(samples, sampling, behind, left_out, scratch)


def gaps_in(samples: Samples, sampling: Sampling, where: Callable[[int], str]) -> tuple[np.ndarray, np.ndarray]:
    """`gaps_of` all series, by the samples' numbers."""
    assert samples.times is not None
    behind, left_out = [], []
    for one in samples.series:
        times = samples.times[one.first : one.stop]
        found, missing = gaps_of(times, sampling, lambda i, first=one.first: where(first + i))  # type: ignore[misc]
        behind.append(one.first + found)
        left_out.append(missing)
    return np.concatenate(behind), np.concatenate(left_out)


def started_over(samples: Samples, behind: np.ndarray) -> Samples:
    """The series with the stretches between their gaps, which are behind these samples [gaps]."""

    def parted(one: Series) -> Series:
        inner = [int(i) + 1 for i in behind[np.searchsorted(behind, one.first) : np.searchsorted(behind, one.stop)]]
        ends = [one.first, *inner, one.stop]
        return replace(one, stretches=tuple(itertools.pairwise(ends)))

    return replace(samples, series=tuple(map(parted, samples.series)))


def filled(
    samples: Samples, sampling: Sampling, behind: np.ndarray, left_out: np.ndarray, scratch: Path | None
) -> Samples:
    """The samples with missing values put in where stamps are left out: `left_out` [gaps] `behind` [gaps] samples."""
    count, more = len(samples.values), int(left_out.sum())
    if more > MOST_FILLED * count:
        raise ConfigError(f"data.gaps=fill: {more:,} samples between {count:,}; are there some every {sampling.name}?")
    assert samples.times is not None
    values = array_on_disk((count + more, samples.values.shape[1]), scratch)
    times = np.empty(count + more, samples.times.dtype)
    starts = np.append(0, np.cumsum(left_out))  # how many were put in before each part
    ends = [0, *(behind + 1).tolist(), count]
    for part, (first, stop) in enumerate(itertools.pairwise(ends)):
        begin = first + int(starts[part])
        for i in range(first, stop, BLOCK):
            block = slice(i, min(i + BLOCK, stop))
            values[begin + i - first : begin + block.stop - first] = samples.values[block]
        times[begin : begin + stop - first] = samples.times[first:stop]
        if part < len(behind):
            gap = slice(begin + stop - first, begin + stop - first + int(left_out[part]))
            values[gap] = np.nan
            times[gap] = sampling.after(samples.times[stop - 1], np.arange(1, int(left_out[part]) + 1))

    def moved(one: Series) -> Series:
        first = one.first + int(starts[np.searchsorted(behind, one.first)])
        stop = one.stop + int(starts[np.searchsorted(behind, one.stop - 1)])
        return Series(one.name, first, stop, ((first, stop),), stop)

    return replace(samples, values=values, times=times, series=tuple(map(moved, samples.series)))


def parted_from_the_future(samples: Samples, wanted: Wanted, where: Callable[[int], str]) -> Samples:
    """The samples with each series ending where all but the known columns end."""
    known = [samples.columns.index(name) for name in wanted.known]
    others = [i for i in range(len(samples.columns)) if i not in known]

    def parted(one: Series) -> Series:
        stop = one.stop
        while stop > one.first and np.isnan(samples.values[stop - 1, others]).all():
            stop -= 1
        end = stop
        while end < one.stop and not np.isnan(samples.values[end, known]).any():
            end += 1
        stretches = [(first, min(last, stop)) for first, last in one.stretches if first < stop]
        return Series(one.name, one.first, stop, tuple(stretches), end)

    parts = replace(samples, series=tuple(map(parted, samples.series)))
    if wanted.missing == "refuse":
        for one in parts.series:
            check_complete(parts, one, where)
    return parts


def check_complete(samples: Samples, series: Series, where: Callable[[int], str]) -> None:
    """Raises ConfigError for the first value that misses in the series."""
    for i in range(series.first, series.stop, BLOCK):
        holes = np.argwhere(np.isnan(samples.values[i : min(i + BLOCK, series.stop)]))
        if len(holes):
            row, column = holes[0].tolist()
            raise ConfigError(
                f"{where(i + row)}, column '{samples.columns[column]}': is missing; every sample needs a number; "
                "data.missing=interpolate or data.missing=mask goes on without"
            )


def interpolated(samples: Samples, scratch: Path | None) -> Samples:
    """The samples with missing values on a straight line between their neighbours; at an end, as the nearest one."""
    blocks = range(0, len(samples.values), BLOCK)
    missing = [np.argwhere(np.isnan(samples.values[i : i + BLOCK])) + np.array([i, 0]) for i in blocks]
    holes = np.concatenate(missing) if missing else np.zeros((0, 2), int)
    if not len(holes):
        return samples
    values = array_on_disk(samples.values.shape, scratch)
    for i in blocks:
        values[i : i + BLOCK] = samples.values[i : i + BLOCK]
    for column in np.unique(holes[:, 1]):
        rows = holes[holes[:, 1] == column, 0]
        for stretch in (stretch for one in samples.series for stretch in one.stretches):
            among = rows[np.searchsorted(rows, stretch[0]) : np.searchsorted(rows, stretch[1])]
            if len(among):
                values[among, column] = on_a_line(values[:, column], among, stretch)
    return replace(samples, values=values)


def on_a_line(values: np.ndarray, rows: np.ndarray, stretch: Stretch) -> np.ndarray:
    """What stands for the missing values [samples] at these `rows` of the stretch; NaN if there is none but missing."""
    beside = np.setdiff1d(np.concatenate([rows - 1, rows + 1]), rows)
    beside = beside[(beside >= stretch[0]) & (beside < stretch[1])]
    return np.interp(rows, beside, values[beside]) if len(beside) else np.full(len(rows), np.nan)
