"""Forecasting: a tracked run's model goes through a series, and on beyond its end."""

import contextlib
import functools
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

from lstm_lab import runtime, texts
from lstm_lab.commandline import complain
from lstm_lab.config import Config, ConfigError
from lstm_lab.datasets import Csv
from lstm_lab.paths import LONGEST_FILE_NAME, ROOT, expanded, locate, short_name, whole_file
from lstm_lab.records import lookup, store
from lstm_lab.records.store import StoreError
from lstm_lab.runs import keeping, setup
from lstm_lab.runs.sheets import in_a_cell, write_rows
from lstm_lab.tables.sampling import calendar_of
from lstm_lab.values import listed

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from lstm_lab.science.curves import Units
    from lstm_lab.science.evaluation import Predict
    from lstm_lab.tables.samples import Series, Wanted
    from lstm_lab.tables.times import Times

AT_ONCE = 1000  # samples that the model goes through in one call
SHOWN = 300  # samples that the picture shows of a prediction
PAST = 3  # times as many known samples as forecast ones
NOT_LOADED = "run={}: its model cannot be loaded"
KEPT = "; a run keeps both when it is over, the model unless tracking.model=false"


@store.faults_told()
def forecast(name: str, path: str | None, column: str | None, steps: str | None, out: str | None) -> list[Path]:
    """Writes the forecast and its picture and returns where. ConfigError or StoreError if it cannot be made.

    A picture that cannot be drawn is named on the standard error; the forecast is there without it.
    """
    store.check_store(reading=True)
    client = store.open_store()
    run = lookup.find_run(client, "run", name)
    config = lookup.config_of(client, run)
    length = check_steps(steps, config)
    file, wanted = find_input(config, path, column)
    found = known_in(file, wanted, config)
    target = find_target(run, file, out)
    going = Going.of(client, run, config)

    with whole_file(target) as whole, open(whole, "w", encoding="utf-8", newline="") as text:
        if length:
            band = Band.of(client, run, config, length)
            made = [Forecast.of(going, known, length, band) for known in found]
            write_forecasts(text, found, made, band)
            figure = functools.partial(draw_forecast, *longest(found, made), band)
        else:
            tails = write_predictions(text, found, going)
            figure = functools.partial(draw_predictions, *longest(found, tails))
    picture = target.with_suffix(".png")
    drawn = keeping.draw(picture, str(picture), lambda whole: figure().savefig(whole, format="png", dpi=120))
    return [target, picture] if drawn else [target]


@dataclass(frozen=True)
class Known:
    """What a file tells of one series: its input columns and their `values` [samples, inputs], NaN for a missing one.

    `foreknown` [samples and more, columns] are the columns whose future is known. `targets` names the targets, `truth`
    [samples, targets] are their values, if the file has them. `times` are those of the samples, `parts` the stretches
    between gaps.
    """

    series: str
    columns: Sequence[str]
    values: np.ndarray
    foreknown: np.ndarray
    targets: Sequence[str]
    truth: np.ndarray | None
    times: "Times | None"
    parts: Sequence[tuple[int, int]]

    def numbered(self, first: int, count: int) -> list[tuple[str, list]]:
        """The columns that tell which samples these are: series, number and, if they are known, times."""
        numbers = np.arange(first, first + count)
        columns: list[tuple[str, list]] = [("series", [in_a_cell(self.series)] * count)] if self.series else []
        columns.append(("sample", numbers.tolist()))
        if self.times and (when := self.times.at(numbers)) is not None:
            columns.append((self.times.name, when.astype(str).tolist()))
        return columns


def known_in(file: Path, wanted: "Wanted", config: Config) -> list[Known]:
    """What the file tells of each of its series; ConfigError if it does not serve."""
    from lstm_lab.tables import samples

    scratch, data = ROOT / "mlruns", config.data
    read = samples.load(file, wanted, scratch)
    names = [name for name in wanted.columns if name not in wanted.known]
    own, foreknown = ([wanted.columns.index(name) for name in part] for part in (names, wanted.known))
    targets, truth, horizon = names, None, 0
    if isinstance(data, Csv):
        targets, horizon = (names if data.target is None else data.targets), data.horizon or 0
        with contextlib.suppress(ConfigError):  # it need not have the targets, nor all of them
            columns = tuple(dict.fromkeys([*targets, *wanted.known]))
            truth = samples.load(file, replace(wanted, columns=columns, missing="mask"), scratch).values
    times = keeping.times_in(file, read, ["sample", "prediction", *wanted.columns, *targets])
    found = []
    for one in read.series:
        check_samples(file, one, horizon)
        here = slice(one.first, one.stop)
        parts = [(first - one.first, stop - one.first) for first, stop in one.stretches]
        when = times and replace(times, values=times.values[here])
        true = None if truth is None else truth[here, : len(targets)]
        later = read.values[one.first : one.end, foreknown]
        found.append(Known(one.name, names, read.values[here][:, own], later, targets, true, when, parts))
    return found


def check_samples(file: Path, series: "Series", horizon: int) -> None:
    """Raises ConfigError unless the series ends with samples enough for a forecast of those that follow."""
    whose = f"{file}: the series '{series.name}'" if series.name else str(file)
    begin = series.stretches[-1][0] if series.stretches else series.stop
    count, behind = series.stop - begin, " behind its last gap" if len(series.stretches) > 1 else ""
    if count < max(1, horizon):
        has = f"{whose} has {count:,} sample{'s' * (count != 1)}{behind}"
        raise ConfigError(f"{has}; a run with horizon {horizon:,} needs as many at least")


def longest(found: Sequence[Known], made: Sequence[Any]) -> tuple[Known, Any]:
    """The series with the most samples, and what was made of it."""
    return max(zip(found, made, strict=True), key=lambda pair: len(pair[0].values))


def draw_forecast(known: Known, forecast: "Forecast", band: "Band | None") -> "Figure":
    """The forecast after the last known values, at most PAST times as many."""
    from lstm_lab.runs import figures
    from lstm_lab.runs.lettering import cut

    count, made = len(known.values), forecast.values
    first = max(0, count - min(max(SHOWN // 5, PAST * len(made)), 10 * SHOWN))
    x = np.arange(first, count + len(made))
    times = known.times if known.times and known.times.at(x) is not None else None
    after = known.numbered(count - 1, 1)[-1][1][0] if times else f"sample {count - 1:,}"
    what = ", ".join(filter(None, [known.series, known.targets[0] if len(known.targets) == 1 else ""]))
    title = f"{cut(what)}: forecast" if what else "Forecast"
    title = f"{title} of {figures.counted(len(made))} after {after}"
    x_label = times.name if times else figures.SAMPLE
    names = tuple(known.targets)
    called = f"{band.name} interval" if band else ""
    labels = figures.Labels(x_label, names, ("known",), ("forecast on its own predictions",), times, called)
    past = np.full((count, len(names)), np.nan) if known.truth is None else known.truth
    return figures.forecast_figure(x, past[first:], made, labels, title, forecast.ends)


def draw_predictions(known: Known, tail: tuple[np.ndarray, float]) -> "Figure":
    """The last predictions, with the targets if they are known, else with the inputs."""
    from lstm_lab.runs import figures
    from lstm_lab.runs.lettering import cut

    made, mse = tail
    count, times = len(known.values), known.times
    x = np.arange(count - len(made), count)
    names, inputs = [cut(name) for name in known.targets], ", ".join(map(cut, known.columns))
    title, x_label = f"{', '.join(names)} from {inputs}", times.name if times else figures.SAMPLE
    if known.truth is None:
        labels = figures.Labels(x_label, tuple(names), tuple(known.columns), ("prediction",), times)
        return figures.prediction_figure(x, known.values[x[0] :], made, labels, title, of_input=True)
    targets = (f"target: {names[0]}" if len(names) == 1 else "target",)  # of several each panel has the name
    labels = figures.Labels(x_label, tuple(names), targets, (f"prediction from {cut(inputs)}",), times)
    title = f"{title}: mean squared error {mse:.3g}" if len(names) == 1 else title
    return figures.prediction_figure(x, known.truth[x[0] :], made, labels, title, of_input=False)


def write_forecasts(text: IO[str], found: Sequence[Known], made: Sequence["Forecast"], band: "Band | None") -> None:
    """Writes, series by series, the forecast of the samples that follow, and the ends of its intervals."""

    def rows(known: Known, forecast: Forecast) -> Iterator[tuple]:
        numbers = [values for _, values in known.numbered(len(known.values), len(forecast.values))]
        parts = [forecast.values, *(forecast.ends or ())]
        columns = [part[:, i].tolist() for i in range(len(known.targets)) for part in parts]
        return zip(*numbers, *map(without_nan, columns), strict=True)

    header = [name for name, _ in found[0].numbered(len(found[0].values), 1)]
    for name in found[0].targets:
        header += [name, *([f"{name} low {band.name}", f"{name} high {band.name}"] if band else [])]
    write_rows(text, header, itertools.chain.from_iterable(map(rows, found, made)))


def write_predictions(text: IO[str], found: Sequence[Known], going: "Going") -> list[tuple[np.ndarray, float]]:
    """Writes the predictions beside every sample, series by series and piece by piece.

    Returns of each series the last SHOWN predictions at most, and the mean squared error of all, not a number if the
    targets are not known.
    """
    tails = []

    def rows() -> Iterator[tuple]:
        for known in found:
            tail, squares = np.zeros((0, len(known.targets))), []
            for first, normalised, _ in going.through(known):
                predictions = going.in_units(known, normalised)
                shown = slice(first, first + len(predictions))
                if known.truth is not None:
                    squares.append(np.nansum((predictions - known.truth[shown]) ** 2))
                numbers = [values for _, values in known.numbered(first, len(predictions))]
                columns = [*known.values[shown].T.tolist(), *predictions.T.tolist()]
                yield from zip(*numbers, *map(without_nan, columns), strict=True)
                tail = np.concatenate([tail, predictions])[-SHOWN:]
            count = math.nan if known.truth is None else int((~np.isnan(known.truth)).sum())
            tails.append((tail, float(np.sum(squares)) / count if count else math.nan))

    names = found[0].targets
    made = ["prediction"] if len(names) == 1 else [f"prediction of {name}" for name in names]
    write_rows(text, [*(name for name, _ in found[0].numbered(0, 1)), *found[0].columns, *made], rows())
    return tails


def without_nan(column: Sequence[float]) -> list[float | str]:
    """The numbers of a column, an empty cell for each that is none."""
    return ["" if math.isnan(value) else value for value in column]


def check_steps(steps: str | None, config: Config) -> int:
    """How many samples to forecast; ConfigError unless it is a number where there is something to go on."""
    data = config.data if isinstance(config.data, Csv) else None
    if data is None or data.horizon is None:
        if steps is not None:
            raise ConfigError(
                f"steps={steps}: this run tells a target from an input, and does not know how the input goes on; "
                "leave it out, or take a run with data.horizon"
            )
        return 0
    if steps is None:
        raise ConfigError("steps is missing: how many samples to forecast, as in steps=100?")
    if not steps.isdecimal() or not 1 <= int(steps) <= 10**6:
        raise ConfigError(f"steps={steps}: must be a whole number from 1 to 1,000,000")
    unknown = [name for name in data.inputs if name not in data.targets]
    if unknown and int(steps) > data.horizon:
        raise ConfigError(
            f"steps={steps}: must be at most data.horizon={data.horizon:,}: to go on, the run needs the "
            f"input{'s' * (len(unknown) > 1)} {' and '.join(unknown)}, whose future nobody knows; it goes on by itself "
            "if its inputs are its targets, or data.known=[...] where their future is in the file"
        )
    return int(steps)


def find_input(config: Config, path: str | None, column: str | None) -> tuple[Path, "Wanted"]:
    """The file and the columns that the model goes through: those named, or those of the run."""
    from lstm_lab.tables.samples import Wanted, wanted_of
    from lstm_lab.tables.table import Form

    columns = listed(texts.read(column)) if column else []
    data = config.data if isinstance(config.data, Csv) else None
    if data:
        path, columns = path or str(ROOT / data.path), columns or data.inputs
    if path is None or not columns:
        raise ConfigError("data.path=FILE and data.input=COLUMN are needed: that run was not trained on a file")
    own = data.inputs if data else [""] * config.data.sizes[0]
    if len(columns) != len(own):
        raise ConfigError(f"data.input={column}: names {len(columns)} columns, and the run has {len(own)} inputs")
    wanted = wanted_of(data, columns) if data else Wanted(tuple(columns), (), Form(), (), None, "refuse", "refuse")
    return ROOT / locate({"data": {"path": path}})["data"]["path"], wanted


def find_target(run: "Run", file: Path, out: str | None) -> Path:
    """Where the forecast goes; ConfigError if it cannot be written there, or would overwrite the series."""
    folder = ROOT / "mlruns/forecasts"
    target = expanded(out).absolute() if out else folder / f"{short_name(file.stem, run.info.run_id[:8])}.csv"
    if target.suffix != ".csv":
        raise ConfigError(f"out={out}: must end with .csv")
    if out is None:
        with contextlib.suppress(OSError):  # as is said below
            target.parent.mkdir(parents=True, exist_ok=True)
            store.remember_store()
    if not os.path.isdir(target.parent) or not os.access(target.parent, os.W_OK):
        raise ConfigError(f"out={out or 'FILE.csv'}: {target.parent} is no folder that this user can write to")
    if len(os.fsencode(target.name)) > LONGEST_FILE_NAME:
        raise ConfigError(f"out={out}: the name must have at most {LONGEST_FILE_NAME} bytes")
    if target.resolve() == file.resolve() or target.is_dir():
        raise ConfigError(f"out={out}: is the series itself, or a folder; name another file")
    return target


def units_of(client: "MlflowClient", run: "Run", config: Config) -> "dict[str, Units]":
    """The units of the run's numbers by series, as they are if it is not one on a file.

    StoreError if the store does not tell them.
    """
    if not isinstance(config.data, Csv):
        return {"": (*(np.array([[0.0] * size, [1.0] * size]) for size in config.data.sizes),)}  # type: ignore[dict-item]
    units = lookup.units_of(client, run, config)
    if units is None:
        lacks = "it has no model, which would tell in which units its numbers are"
        raise StoreError(f"{NOT_LOADED.format(run.info.run_id)} ({lacks}){KEPT}")
    return units


def trained_model(client: "MlflowClient", run: "Run", config: Config) -> "keras.Model":
    """The run's model for normalised numbers, as it was trained; StoreError if the store does not have its weights.

    It is built from the config, as training builds it; the store adds numbers alone. The model that the store keeps is
    for programs that know the store: loading one does whatever it says.
    """
    weights = lookup.weights_of(client, run, config)
    if weights is None:
        raise StoreError(f"{NOT_LOADED.format(run.info.run_id)} (it has no final weights){KEPT}")
    if not all(np.isfinite(array).all() for array in weights):
        raise StoreError(f"{NOT_LOADED.format(run.info.run_id)} (it diverged: its weights are no numbers)")
    runtime.start_tensorflow(*(runtime.started or [(config.training.level, config.training.threads)])[0])
    model = setup.new_model(config)
    model.set_weights(weights)
    return model


@dataclass(frozen=True)
class Going:
    """A run's model on its way through series in their own units, which are `units`, by series.

    `feedback` tells which target each input is, where the model goes on by its own predictions; None, of one whose
    future is known. With `reset_every` the state starts over every so many samples.
    """

    predict: "Predict"
    zeros: Sequence[np.ndarray]
    units: "dict[str, Units]"
    calendar: Sequence[str]
    indicators: bool
    horizon: int
    feedback: Sequence[int | None]
    reset_every: int | None

    @classmethod
    def of(cls, client: "MlflowClient", run: "Run", config: Config) -> Self:
        """That of a run in the store; StoreError if the store does not have all of it."""
        units, data = units_of(client, run, config), config.data
        model = trained_model(client, run, config)
        from lstm_lab.science.evaluation import compile_prediction
        from lstm_lab.science.model import zero_state

        predict, zeros = compile_prediction(model), zero_state(model, 1)
        reset_every = None if config.training.carry_state else data.time_steps
        if not isinstance(data, Csv):
            return cls(predict, zeros, units, (), False, 0, (), reset_every)
        feedback = [data.targets.index(name) if name in data.targets else None for name in data.inputs]
        feedback += [None] * (data.sizes[0] - len(feedback))
        calendar, indicators, horizon = data.calendar, data.missing == "mask", data.horizon or 0
        return cls(predict, zeros, units, calendar, indicators, horizon, feedback, reset_every)

    def units_in(self, known: Known) -> "Units":
        """The units of a series; ConfigError if the run was not trained on it, and each has its own."""
        units = self.units.get("") or self.units.get(known.series)
        if units is None:
            raise ConfigError(
                f"the series '{known.series}' is none of the {len(self.units):,} that the run was trained on, and each "
                "is normalised by itself; a run with data.normalise=all takes others"
            )
        return units

    def in_units(self, known: Known, predictions: np.ndarray) -> np.ndarray:
        """Predictions [..., targets] as they were before they were normalised, in float64."""
        mean, stddev = self.units_in(known)[1]
        return mean + stddev * predictions.astype(np.float64)

    def through(self, known: Known) -> Iterator[tuple[int, np.ndarray, Sequence[np.ndarray]]]:
        """Goes through a series: first sample of a piece, normalised predictions [samples, targets], final state.

        Behind a gap the state starts over; where the future of known inputs ends, it stops. ConfigError if the model
        knows no number there.
        """
        size, last = self.reset_every or AT_ONCE, len(known.foreknown) - self.horizon
        for begin, end in known.parts:
            state, end = self.zeros, min(end, last) if known.foreknown.shape[1] else end
            for first in range(begin, end, size):
                inputs = self.inputs_of(known, first, known.values[first : min(first + size, end)])
                prediction, state = self.predict(inputs[None], self.zeros if self.reset_every else state)
                sound = np.isfinite(prediction[0]).all(axis=1)
                if not sound.all():
                    far = first + int(np.argmin(sound))
                    shown = ", ".join(f"{value:g}" for value in known.values[far, :3])
                    raise ConfigError(f"sample {far:,} is {shown}, too far from what the run was trained on")
                yield first, prediction[0], state

    def inputs_of(self, known: Known, first: int, values: np.ndarray) -> np.ndarray:
        """The model's inputs for these values [samples, inputs], of the samples from `first` on: as in training."""
        then = first + self.horizon + np.arange(len(values))
        columns = values
        if known.foreknown.shape[1]:  # of the last inputs that roll_out is given the predictions are not asked for
            columns = np.hstack([values, known.foreknown[np.minimum(then, len(known.foreknown) - 1)]])
        mean, stddev = self.units_in(known)[0][:, : columns.shape[1]]
        with np.errstate(over="ignore"):  # what is too far is told where the model knows no number
            normalised, missing = ((columns - mean) / stddev).astype(np.float32), np.isnan(columns)
        parts = [np.where(missing, 0, normalised)]
        if self.calendar:
            times = known.times.at(then) if known.times else None
            if times is None:
                raise ConfigError(
                    "the calendar beyond the last time stamp is not known: they are at no equal distances"
                )
            parts.append(calendar_of(times.astype("M8[us]"), self.calendar))
        return np.hstack([*parts, missing] if self.indicators else parts)


@dataclass(frozen=True)
class Band:
    """Prediction intervals: their name, such as '90 %', and `half_widths` [steps, targets], NaN where there is none.

    These are normalised.
    """

    name: str
    half_widths: np.ndarray

    @classmethod
    def of(cls, client: "MlflowClient", run: "Run", config: Config, steps: int) -> Self | None:
        """Those that the run's backtest came to, for so many steps; None if there are none. Says how far they go."""
        if config.evaluation.interval is None or not config.lead_times:
            return None
        name, found = f"{100 * config.evaluation.interval:g} %", lookup.half_widths_of(client, run, config)
        if found is None or not np.isfinite(found).any():
            complain(f"no {name} intervals: the run has none, for want of samples for validation")
            return None
        half_widths = np.full((steps, found.shape[1]), np.nan)
        half_widths[: len(found)] = np.where(np.isfinite(found), found, np.nan)[:steps]
        reach = int(np.isfinite(half_widths).all(axis=1).sum())
        if reach < steps:
            complain(f"{name} intervals end after {reach:,} of {steps:,} samples, as far as the run was backtested")
        return cls(name, half_widths)


@dataclass(frozen=True)
class Forecast:
    """A series' forecast, `values` [steps, targets], and the lower and upper `ends` of its intervals, if any."""

    values: np.ndarray
    ends: tuple[np.ndarray, np.ndarray] | None

    @classmethod
    def of(cls, going: Going, known: Known, steps: int, band: Band | None) -> Self:
        """That of the samples that follow the series."""
        values = beyond(going, known, steps)
        if band is None:
            return cls(values, None)
        reach = band.half_widths * going.units_in(known)[1][1]
        return cls(values, (values - reach, values + reach))


def beyond(going: Going, known: Known, steps: int) -> np.ndarray:
    """The forecast [steps, targets] of the samples that follow the series.

    The last predictions, as many as the horizon, are forecasts of the first samples beyond the end; fed back in their
    order, they give those after them. ConfigError if inputs are needed that the file does not know.
    """
    from lstm_lab.science.backtest import roll_out

    horizon, count = going.horizon, len(known.values)
    ahead = len(known.foreknown) - count
    if known.foreknown.shape[1] and ahead < steps:
        raise ConfigError(
            f"steps={steps}: the known inputs have values for {ahead:,} samples beyond the last one of the others; ask "
            "for so many, or add lines to the file"
        )
    last, state = np.zeros((0, len(known.targets))), going.zeros
    for _, predictions, after in going.through(known):
        last, state = np.concatenate([last, predictions])[-horizon:], after
    if known.foreknown.shape[1]:
        last = last[-min(horizon, ahead) :]
    if steps > horizon:
        fed = [target for target in going.feedback if target is not None]
        unknown = np.zeros((max(0, steps - 2 * horizon), len(fed)))  # roll_out puts predictions there
        values = going.in_units(known, last)[:, fed]
        inputs = going.inputs_of(known, count, np.concatenate([values, unknown]))[None]
        args = going.predict, inputs[:, :horizon], state, steps - horizon, going.feedback, inputs[:, horizon:]
        begin = known.parts[-1][0]
        last = np.concatenate([last, roll_out(*args, reset_every=going.reset_every, gone=count - begin)[0]])
    return going.in_units(known, last[:steps])
