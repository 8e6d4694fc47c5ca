"""Series of one's own: a file's samples normalised, and the batches cut from them.

Of each series in the file the last samples are held out, those before them are for validation, the others are trained
on; how these lie in the rows of the batches is the matter of `streams`. When all are used up an epoch ends, and every
row starts over where it began, from a state of zeros.

No file is ever in memory as a whole: its numbers lie in temporary files, which are mapped into memory and are gone with
the process.
"""

import functools
import hashlib
import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lstm_lab.config import ConfigError
from lstm_lab.datasets import Csv
from lstm_lab.science import normal, streams
from lstm_lab.science.curves import Continuation, Rows, Units
from lstm_lab.science.normal import Column, Unit
from lstm_lab.tables import samples
from lstm_lab.tables.samples import Series, Stretch
from lstm_lab.tables.sampling import calendar_of
from lstm_lab.values import listed

BLOCK = 2**16  # samples that are looked at at a time
LEAD_IN = 50  # windows that the model goes through before those it is validated on


@dataclass(frozen=True)
class Split:
    """A series' pairs of input and target, by the number of the input's sample: those before `trained` are trained on,
    those from there to before `known` are for validation, and those from `known` to before `stop` are held out."""

    trained: int
    known: int
    stop: int


class SeriesBatches:
    """The batches of the series in a file.

    `held_out` is the share of a series' samples at the end whose targets are kept for the evaluation, `validation` that
    of the samples before them, by which runs are ranked: neither is trained on. Inputs and targets are normalised: mean
    and standard deviation of the other samples become 0 and 1. `scratch` is as in `samples.load`. ConfigError if the
    file does not serve.

    The inputs of a sample are, in this order: its columns; those that are known and the calendar, as they are at the
    target's time; and where missing values are masked, which of all these columns miss: there the value is 0.
    """

    carries_into_unseen = False
    file_sha256: str | None

    def __init__(self, path: str | os.PathLike, settings: Csv, scratch: Path | None = None) -> None:
        self.path, self.settings = path, settings
        self.samples = samples.load(path, samples.wanted_of(settings, [*settings.inputs, *settings.targets]), scratch)
        self.file_sha256, self.told = self.samples.sha256, self.samples.understood
        self.inputs, self.known, self.targets = (
            [self.samples.columns.index(name) for name in names]
            for names in (settings.inputs, listed(settings.known), settings.targets)
        )
        self.input_size, self.output_size = settings.sizes
        self.batch_size, self.time_steps, self.horizon = settings.batch_size, settings.time_steps, settings.horizon or 0
        self.stride = settings.batch_size  # no row of a batch is a row of the next
        self.splits = [self.split(one) for one in self.samples.series]
        self.streams = self.laid_out()
        self.check_length()
        self.column_units = self.normalised()

    def split(self, series: Series) -> Split:
        """What of a series is trained on, for validation and held out."""
        count = series.stop - series.first
        unseen, between = math.ceil(self.settings.held_out * count), math.ceil(self.settings.validation * count)
        stop = series.stop - self.horizon
        known = max(series.first, stop - unseen)
        return Split(max(series.first, known - between), known, stop)

    def laid_out(self) -> streams.Streams | None:
        """The streams of what is trained on; None if there are not enough samples."""
        series = self.samples.series
        if len(series) == 1 and len(series[0].stretches) == 1:
            return streams.cut((series[0].first, self.splits[0].trained), self.batch_size, self.time_steps)
        pairs = [
            (first, min(stop - self.horizon, split.trained))
            for one, split in zip(series, self.splits, strict=True)
            for first, stop in one.stretches
        ]
        return streams.deal([pair for pair in pairs if pair[0] < pair[1]], self.batch_size, self.time_steps)

    def check_length(self) -> None:
        """Raises ConfigError for a file that makes no batch, or leaves no window to validate or to evaluate."""
        [first, *others], rows, steps = self.samples.series, self.batch_size, self.time_steps
        count = len(self.samples.values)
        unseen, between = math.ceil(self.settings.held_out * count), math.ceil(self.settings.validation * count)
        alone = not others and len(first.stretches) == 1
        if self.streams is None and alone:
            left = max(0, self.splits[0].trained - first.first)
            needs = f"{left:,} are left to train on, a batch of {rows} x {steps} needs {rows * steps:,}"
        elif self.streams is None:
            needs = f"none has a target, {self.horizon:,} samples later, to train on"
        elif alone and (unseen < steps or 0 < between < steps):
            needs = f"these make no window of {steps} to {'evaluate' if unseen < steps else 'validate'}"
        elif not self.has_pairs([(split.known, split.stop) for split in self.splits]):
            needs = "none has a target to evaluate"
        elif between and not self.has_pairs([(split.trained, split.known) for split in self.splits]):
            needs = "none has a target to validate"
        else:
            return
        kept = f"{unseen:,} held out" + (f" and {between:,} for validation" if between else "")
        raise ConfigError(
            f"{self.path}: has too few samples, {count:,}: with {kept} {needs}; "
            "lower data.batch_size or data.time_steps, or change data.held_out or data.validation"
        )

    def has_pairs(self, parts: Sequence[Stretch]) -> bool:
        """Whether one of the series has a target in its part, from such a pair's number to before such a one's."""
        return any(
            self.has_target(max(begin, first) + self.horizon, min(end, stop + self.horizon))
            for one, (first, stop) in zip(self.samples.series, parts, strict=True)
            for begin, end in one.stretches
        )

    def has_target(self, first: int, stop: int) -> bool:
        """Whether one of the samples from `first` to before `stop` has all targets."""
        if self.settings.missing == "refuse":
            return first < stop
        return any(
            not np.isnan(self.samples.values[i : min(i + BLOCK, stop), self.targets]).any(axis=1).all()
            for i in range(first, stop, BLOCK)
        )

    def normalised(self) -> np.ndarray:
        """Means and standard deviations of the columns, over all series or of each one: [1 or series, 2, columns].

        Those of a column that is constant in one series, as what tells of a shop may be, are the ones over all.
        """
        trained, later = [], []
        for one, split in zip(self.samples.series, self.splits, strict=True):
            end = min(split.trained + self.horizon, one.stop)
            trained.append((one.first, end))
            later.append((end, one.stop))
        columns = range(len(self.samples.columns))

        @functools.cache
        def over_all(i: int) -> tuple[float, float]:
            return normal.unit_of(self.column(i, trained))

        if self.settings.normalise == "all":
            units = [over_all(i) for i in columns]
            self.check_units(units, trained, later)
            return np.array([units]).swapaxes(1, 2)
        found = []
        for one, part, rest in zip(self.samples.series, trained, later, strict=True):
            own = [self.column(i, [part], f", series '{one.name}'") for i in columns]
            found.append(
                [over_all(i) if column.is_constant() else normal.unit_of(column) for i, column in enumerate(own)]
            )
            self.check_units(found[-1], [part], [rest], f", series '{one.name}'")
        return np.array(found).swapaxes(1, 2)

    def column(self, i: int, stretches: Sequence[Stretch], of: str = "") -> Column:
        """Those stretches of the column of that number."""
        where = f"{self.path}, column '{self.samples.columns[i]}'{of}"
        return Column(self.samples.values[:, i], tuple(stretches), where)

    def check_units(
        self, units: Sequence[Unit], trained: Sequence[Stretch], later: Sequence[Stretch], of: str = ""
    ) -> None:
        """Raises ConfigError if float32 does not hold what is trained on, or what comes later, in these units."""
        for i, unit in enumerate(units):
            normal.check_outliers(self.column(i, trained, of), unit)
            normal.check_range(self.column(i, later, of), unit)

    @property
    def units(self) -> Units | None:
        """Those of the model's inputs and targets, if all series have the same."""
        return self.units_of(0) if len(self.column_units) == 1 else None

    def units_of(self, series: int) -> Units:
        """Those of the model's inputs and targets in one series; indicators are as they are."""
        own = self.column_units[series if len(self.column_units) > 1 else 0]
        columns = [*self.inputs, *self.known]
        as_it_is = np.tile([[0.0], [1.0]], self.input_size - len(columns))
        return np.hstack([own[:, columns], as_it_is]), own[:, self.targets]

    def unit_table(self) -> dict[str, np.ndarray]:
        """The units by series: names `series` [series], `inputs` [series, 2, input_size] and `targets`, alike.

        Where all series have the same, there is one, without a name.
        """
        count = len(self.column_units)
        names = [one.name for one in self.samples.series] if count > 1 else [""]
        inputs, targets = zip(*map(self.units_of, range(count)), strict=True)
        return {"series": np.array(names), "inputs": np.array(inputs), "targets": np.array(targets)}

    @property
    def epoch(self) -> int:
        """Steps until all that there is to train on was trained on."""
        assert self.streams is not None
        return len(self.streams.begin)

    @property
    def weighted(self) -> bool:
        """Whether some steps do not count."""
        assert self.streams is not None
        return self.settings.missing != "refuse" or int(self.streams.count.min()) < self.time_steps

    def pairs(self, n: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inputs [..., input_size], targets [..., output_size] and weights [...] of the samples numbered `n`.

        They are normalised in float64 and rounded to float32 once. Where they are not `there`, all is zero.
        """
        last = len(self.samples.values) - 1
        now, then = np.minimum(n, last), np.minimum(n + self.horizon, last)
        mean, stddev = self.units_at(n)
        values = (self.samples.values[now] - mean) / stddev
        later = (self.samples.values[then] - mean) / stddev if self.horizon else values
        columns = np.concatenate([values[..., self.inputs], later[..., self.known]], axis=-1)
        targets, missing = later[..., self.targets], np.isnan(columns)
        parts = [np.where(missing, 0, columns)]
        if self.settings.calendar:
            assert self.samples.times is not None
            parts.append(calendar_of(self.samples.times[then], self.settings.calendar))
        if self.settings.missing == "mask":
            parts.append(missing)
        weights = there & ~np.isnan(targets).any(axis=-1)
        inputs = np.where(there[..., None], np.concatenate(parts, axis=-1), 0)
        targets = np.where(weights[..., None], targets, 0)
        return inputs.astype(np.float32), targets.astype(np.float32), weights.astype(np.float32)

    def units_at(self, n: np.ndarray) -> np.ndarray:
        """Means and standard deviations of the columns [2, columns], or of every sample numbered `n`, alike."""
        if len(self.column_units) == 1:
            return self.column_units[0]
        firsts = [one.first for one in self.samples.series]
        return np.moveaxis(self.column_units[np.searchsorted(firsts, n, "right") - 1], -2, 0)

    def chunk(self, first: int, steps: int) -> Rows:
        """The batches `first` to `first + steps - 1`, one below the other; x is the number of the target's sample."""
        assert self.streams is not None
        k = (first + np.arange(steps)) % self.epoch
        position = np.arange(self.time_steps)
        n = self.streams.begin[k].reshape(-1, 1) + position
        inputs, targets, weights = self.pairs(n, position < self.streams.count[k].reshape(-1, 1))
        x = (n + self.horizon).astype(float)
        return Rows(x, inputs, targets, weights if self.weighted else None, self.streams.fresh[k])

    def unseen(self, steps: int, windows: int) -> list[Continuation]:
        """Of each series the first `windows` windows that were held out, or as many as there are."""
        parts = zip(self.samples.series, self.splits, strict=True)
        found = [self.windows_of(i, split.known, split.stop, windows, windows) for i, (_, split) in enumerate(parts)]
        return list(itertools.chain.from_iterable(found))

    def validation(self) -> list[Continuation]:
        """The windows between those trained on and those held out, of each series; none without any."""
        if not self.settings.validation:
            return []
        found = [self.windows_of(i, split.trained, split.known, None, LEAD_IN) for i, split in enumerate(self.splits)]
        return list(itertools.chain.from_iterable(found))

    def windows_of(self, series: int, first: int, stop: int, windows: int | None, before: int) -> list[Continuation]:
        """A series' whole windows from the pair numbered `first` on, or what is less than one; each stretch by itself.

        At most `windows` windows, each stretch after as many as `before` windows, if there are so many.
        """
        found: list[Continuation] = []
        for begin, end in self.samples.series[series].stretches:
            begin_here, end_here = max(begin, first), min(end - self.horizon, stop)
            if begin_here >= end_here or windows == 0:
                continue
            count = max(1, (end_here - begin_here) // self.time_steps)
            if windows is not None:
                count = min(count, windows)
                windows -= count
            start = max(begin, begin_here - before * self.time_steps)
            n = np.arange(start, min(begin_here + count * self.time_steps, end_here))
            found.append(self.continuation(series, n, begin_here))
        return found

    def continuation(self, series: int, n: np.ndarray, first: int) -> Continuation:
        """The pairs numbered `n` of a series, to be predicted from that numbered `first` on."""
        inputs, targets, weights = self.pairs(n, np.ones(len(n), bool))
        split, start = self.splits[series], int(n[0])
        return Continuation(
            (n + self.horizon).astype(float),
            inputs,
            targets,
            first - start,
            max(0, split.trained - start),
            self.horizon,
            self.units_of(series)[1],
            None if weights.all() else weights,
            self.same,
            indicators=len(self.inputs) + len(self.known) if self.settings.missing == "mask" else 0,
            series=series,
            held_out=split.known - start,
        )

    def since_training(self) -> list[Continuation]:
        """All that was not trained on, each stretch by itself, after at most LEAD_IN windows that were.

        Windows as of the whole stretch begin where it begins, too.
        """
        found = []
        for i, (one, split) in enumerate(zip(self.samples.series, self.splits, strict=True)):
            for begin, stop in one.stretches:
                first, end = max(begin, split.trained), min(stop - self.horizon, split.stop)
                if first < end:
                    windows = max(0, (first - begin) // self.time_steps - LEAD_IN)
                    n = np.arange(begin + windows * self.time_steps, end)
                    found.append(self.continuation(i, n, first))
        return found

    @property
    def same(self) -> tuple[int | None, ...]:
        """Of every input column that is not known beforehand, which target is the same; None for one that is none's."""
        where = {column: i for i, column in enumerate(self.targets)}
        return tuple(where.get(column) for column in self.inputs)

    def digest(self, steps: int) -> str:
        """SHA-256 of the file, and of the first and the last batch of `steps`."""
        sha = hashlib.sha256(self.samples.sha256.encode())
        for k in (0, steps - 1):
            rows = self.chunk(k, 1)
            sha.update(rows.inputs.tobytes() + rows.targets.tobytes())
            if rows.weights is not None and rows.starts_over is not None:
                sha.update(rows.weights.tobytes() + rows.starts_over.tobytes())
        return sha.hexdigest()
