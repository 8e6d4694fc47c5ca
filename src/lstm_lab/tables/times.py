"""The times of a series: the column of its CSV file that is plainly one."""

import csv
import itertools
import operator
import os
import re
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lstm_lab.tables.sampling import Sampling

# A year, a month, a date, or a date and a time of day, as ISO 8601 writes them
WRITTEN = re.compile(rb"\d{4}(-\d\d(-\d\d([T ]\d\d(:\d\d(:\d\d(\.\d{1,6})?)?)?)?)?)?Z?")
UNITS = ("Y", "M", "D", "m", "s", "us")  # NumPy's, from the coarsest on
FORMS = {4: "Y", 7: "M", 10: "D", 13: "m", 16: "m", 19: "s"}  # by a text's length; longer ones have microseconds
LONGEST = 27  # characters of a time
TO_ZEROS = bytes.maketrans(b"123456789", b"000000000")
BLOCK = 2**16  # samples that are worked on at a time
FIRST, LAST = np.datetime64("0001", "us"), np.datetime64("9999", "us")  # between them matplotlib draws
SPACED = 1000  # samples at the end that tell how the times go on


@dataclass(frozen=True)
class Times:
    """A column of times: its name, and datetime64 [samples], each later than the one before.

    `unit` is the coarsest of UNITS that tells all of them, as the year does of every first of January; `written` is the
    one that they are shown in. With a `sampling` they go on by it.
    """

    name: str
    values: np.ndarray
    unit: str
    written: str
    sampling: Sampling | None = None

    def at(self, samples: np.ndarray) -> np.ndarray | None:
        """The times of the samples with these numbers; None if one is beyond the end and the last are not even.

        None, too, if one is beyond LAST.
        """
        last = len(self.values) - 1
        found = self.values[np.minimum(samples, last)].astype(f"M8[{self.unit}]")
        beyond = np.maximum(samples - last, 0)
        if beyond.any() and self.sampling:
            later = self.sampling.after(self.values[last], beyond)
            found = np.where(beyond > 0, later, self.values[np.minimum(samples, last)])
        elif beyond.any():
            steps = np.unique(np.diff(self.values[-SPACED:].astype(found.dtype)))
            if len(steps) != 1:
                return None
            found = found + beyond * steps
        if beyond.any() and found.max() >= LAST:
            return None
        return found.astype(f"M8[{self.written}]")


def times_of(name: str, values: np.ndarray, sampling: Sampling | None) -> Times:
    """The time stamps [samples] of that column, in the coarsest unit that tells all of them, but none beyond a day."""
    coarse = next(unit for unit in ("D", "m", "s", "us") if (values == values.astype(f"M8[{unit}]")).all())
    return Times(name, values, coarse, coarse, sampling)


def find_times(path: Path, besides: Collection[str | None], scratch: Path | None = None) -> Times | None:
    """The file's first column that is plainly a time, other than those named; None if there is none.

    Every value must be a time, as WRITTEN, and later than the one before. `scratch` is as in `series.load`, which must
    have found the file sound.
    """
    lines = read_lines(path)
    names, first = [name.strip() for name in next(lines)], next(lines)
    for place, name in enumerate(names):
        if name not in besides and WRITTEN.fullmatch(first[place].strip().encode()):
            read = read_times(map(operator.itemgetter(place), read_lines(path, 1)), scratch)
            if read is not None:
                return Times(name, *read)
    return None


def read_lines(path: Path, first: int = 0) -> Iterator[list[str]]:
    """The lines of a CSV file from the one numbered `first` on, but for blank ones."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        yield from itertools.islice(filter(None, csv.reader(file, strict=True, skipinitialspace=True)), first, None)


def read_times(fields: Iterator[str], scratch: Path | None) -> tuple[np.ndarray, str, str] | None:
    """The times in these fields, in a temporary file mapped into memory, with the units of `Times`; None if not all."""
    stripped = map(str.strip, fields)
    folder = scratch if scratch and os.access(scratch, os.W_OK) else None
    last, coarse, fine = FIRST, 0, 0
    with tempfile.TemporaryFile(dir=folder) as kept:
        while block := list(itertools.islice(stripped, BLOCK)):
            if max(map(len, block)) > LONGEST:  # an array would have as much room for each
                return None
            try:
                texts = np.array(block, "S")
                forms = set(np.frombuffer(texts.tobytes().translate(TO_ZEROS), texts.dtype).tolist())
                if not all(map(WRITTEN.fullmatch, forms)):  # few, whatever the samples
                    return None
                times = np.strings.rstrip(texts, b"Z").astype("M8[us]")
            except ValueError:  # letters that no time has, or a time that no calendar has
                return None
            if not (np.diff(times, prepend=last) > np.timedelta64(0)).all() or times[-1] >= LAST:
                return None
            while (times != times.astype(f"M8[{UNITS[coarse]}]")).any():
                coarse += 1
            fine = max(fine, *(UNITS.index(FORMS.get(len(form.removesuffix(b"Z")), "us")) for form in forms))
            last = times[-1]
            times.tofile(kept)
        kept.flush()
        return np.memmap(kept, "M8[us]", "r"), UNITS[coarse], UNITS[fine]
