"""Forecasting: a tracked run's model goes through a series, and on beyond its end."""

import contextlib
import csv
import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from lstm_lab import runtime
from lstm_lab.config import Config, ConfigError, Csv
from lstm_lab.paths import LONGEST_FILE_NAME, ROOT, expanded, locate, short_name, whole_file
from lstm_lab.records import lookup, store
from lstm_lab.records.store import StoreError
from lstm_lab.runs import keeping
from lstm_lab.science import series

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from lstm_lab.science.evaluation import Predict
    from lstm_lab.science.times import Times

AT_ONCE = 1000  # samples that the model goes through in one call
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a formula in a spreadsheet may begin with
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
    horizon = config.data.horizon if isinstance(config.data, Csv) else None
    length = check_steps(steps, horizon)
    file, column = find_input(config, path, column)
    table = series.load(file, [column], ROOT / "mlruns")
    values = table.values[:, 0]
    if horizon and len(values) < horizon:
        raise ConfigError(f"{file}: has {len(values):,} samples; a run with horizon {horizon:,} needs as many at least")
    target = find_target(run, file, out)
    model = load_model(client, run, config)

    from lstm_lab.science.evaluation import compile_prediction
    from lstm_lab.science.model import zero_state

    predict, state = compile_prediction(model), zero_state(model, 1)
    reset_every = None if config.training.carry_state else config.data.time_steps
    known = known_of(file, column, table, config)
    with whole_file(target) as whole, open(whole, "w", encoding="utf-8", newline="") as text:
        if horizon:
            made = beyond(predict, values, state, horizon, length, reset_every)
            write_forecast(text, known, made)
            figure = functools.partial(draw_forecast, known, made)
        else:
            made, mse = write_predictions(text, known, through(predict, values, state, reset_every))
            figure = functools.partial(draw_predictions, known, made, mse)
    picture = target.with_suffix(".png")
    drawn = keeping.draw(picture, str(picture), lambda whole: figure().savefig(whole, format="png", dpi=120))
    return [target, picture] if drawn else [target]


@dataclass(frozen=True)
class Known:
    """What a file tells: input column and values [samples], those of the target, if it has them, and the times."""

    column: str
    values: np.ndarray
    target: str | None
    truth: np.ndarray | None
    times: "Times | None"

    def numbered(self, first: int, count: int) -> list[tuple[str, list]]:
        """The columns that tell which samples these are: their numbers and, if they are known, their times."""
        samples = np.arange(first, first + count)
        columns = [("sample", samples.tolist())]
        if self.times and (when := self.times.at(samples)) is not None:
            columns.append((self.times.name, when.astype(str).tolist()))
        return columns


def known_of(file: Path, column: str, table: series.Table, config: Config) -> Known:
    """What the file tells, whose `column` is in the table."""
    target = config.data.target if isinstance(config.data, Csv) else None
    truth = None
    with contextlib.suppress(ConfigError):  # it need not have the target, nor all of it
        truth = series.load(file, [target], ROOT / "mlruns").values[:, 0] if target else None
    times = keeping.times_of(file, ["sample", "prediction", column, target], table.sha256)
    return Known(column, table.values[:, 0], target, truth, times)


def draw_forecast(known: Known, made: np.ndarray) -> "Figure":
    """The forecast after the last known values, at most PAST times as many."""
    from lstm_lab.runs import figures
    from lstm_lab.runs.lettering import cut

    count = len(known.values)
    first = max(0, count - min(max(SHOWN // 5, PAST * len(made)), 10 * SHOWN))
    x = np.arange(first, count + len(made))
    times = known.times if known.times and known.times.at(x) is not None else None
    after = known.numbered(count - 1, 1)[-1][1][0] if times else f"sample {count - 1:,}"
    title = f"{cut(known.column)}: forecast of {figures.counted(len(made))} after {after}"
    x_label = times.name if times else figures.SAMPLE
    labels = figures.Labels(x_label, known.column, "known", "forecast on its own predictions", times)
    return figures.forecast_figure(x, known.values[first:], made, labels, title)


def draw_predictions(known: Known, made: np.ndarray, mse: float) -> "Figure":
    """The last predictions, with the target if it is known, else with the input."""
    from lstm_lab.runs import figures
    from lstm_lab.runs.lettering import cut

    count, target, times = len(known.values), known.target or "prediction", known.times
    x = np.arange(count - len(made), count)
    y, input = cut(target), cut(known.column)
    title, x_label = f"{y} from {input}", times.name if times else figures.SAMPLE
    if known.truth is None:
        labels = figures.Labels(x_label, y, input, "prediction", times)
        return figures.prediction_figure(x, known.values[x[0] :], made, labels, title, of_input=True)
    labels = figures.Labels(x_label, y, f"target: {y}", f"prediction from {input}", times)
    title = f"{title}: mean squared error {mse:.3g}"
    return figures.prediction_figure(x, known.truth[x[0] :], made, labels, title, of_input=False)


def write_rows(text: IO[str], header: Sequence[str], rows: Iterable[Sequence[float]]) -> None:
    """Writes a CSV file."""
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(in_a_cell, header))
    writer.writerows(rows)


def in_a_cell(text: str) -> str:
    """A text as a cell of a CSV file: no spreadsheet takes it for a formula and runs it."""
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text


def write_forecast(text: IO[str], known: Known, made: np.ndarray) -> None:
    """Writes the forecast of the samples that follow the known ones."""
    columns = [*known.numbered(len(known.values), len(made)), (known.column, made.tolist())]
    write_rows(text, [name for name, _ in columns], zip(*(values for _, values in columns), strict=True))


def write_predictions(
    text: IO[str], known: Known, pieces: Iterable[tuple[int, np.ndarray, Any]]
) -> tuple[np.ndarray, float]:
    """Writes the prediction beside every sample, piece by piece.

    Returns the last SHOWN predictions at most, and the mean squared error of all; 0 if the target is not known.
    """
    tail, squares, count = np.zeros(0), 0.0, len(known.values)

    def rows() -> Iterator[tuple]:
        nonlocal tail, squares
        for first, predictions, _ in pieces:
            shown = slice(first, first + len(predictions))
            if known.truth is not None:
                squares += float(np.sum((predictions - known.truth[shown]) ** 2))
            numbers = [values for _, values in known.numbered(first, len(predictions))]
            yield from zip(*numbers, known.values[shown].tolist(), predictions.tolist(), strict=True)
            tail = np.append(tail, predictions)[-SHOWN:]

    write_rows(text, [*(name for name, _ in known.numbered(0, 1)), known.column, "prediction"], rows())
    return tail, squares / count


def check_steps(steps: str | None, horizon: int | None) -> int:
    """How many samples to forecast; ConfigError unless it is a number where there is something to go on."""
    if horizon is None:
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
    return int(steps)


def find_input(config: Config, path: str | None, column: str | None) -> tuple[Path, str]:
    """The file and the column that the model goes through: those named, or those of the run."""
    if isinstance(config.data, Csv):
        path, column = path or str(ROOT / config.data.path), column or config.data.input
    if path is None or column is None:
        raise ConfigError("data.path=FILE and data.input=COLUMN are needed: that run was not trained on a file")
    return ROOT / locate({"data": {"path": path}})["data"]["path"], column


def find_target(run: "Run", file: Path, out: str | None) -> Path:
    """Where the forecast goes; ConfigError if it cannot be written there, or would overwrite the series."""
    folder = ROOT / "mlruns/forecasts"
    target = expanded(out).absolute() if out else folder / f"{short_name(file.stem, run.info.run_id[:8])}.csv"
    if target.suffix != ".csv":
        raise ConfigError(f"out={out}: must end with .csv")
    if out is None:
        with contextlib.suppress(OSError):  # as is said below
            target.parent.mkdir(parents=True, exist_ok=True)
    if not os.path.isdir(target.parent) or not os.access(target.parent, os.W_OK):
        raise ConfigError(f"out={out or 'FILE.csv'}: {target.parent} is no folder that this user can write to")
    if len(os.fsencode(target.name)) > LONGEST_FILE_NAME:
        raise ConfigError(f"out={out}: the name must have at most {LONGEST_FILE_NAME} bytes")
    if target.resolve() == file.resolve() or target.is_dir():
        raise ConfigError(f"out={out}: is the series itself, or a folder; name another file")
    return target


def load_model(client: "MlflowClient", run: "Run", config: Config) -> "keras.Model":
    """The run's model for numbers in their own units; StoreError if the store does not have all of it.

    It is built from the config, as training builds it; the store adds numbers alone, its final weights and units. The
    model that the store keeps is for programs that know the store: loading one does whatever it says.
    """
    if not isinstance(config.data, Csv):
        return trained_model(client, run, config)
    units = lookup.units_of(client, run, config)
    if units is None:
        lacks = "it has no model, which would tell in which units its numbers are"
        raise StoreError(f"{NOT_LOADED.format(run.info.run_id)} ({lacks}){KEPT}")
    model = trained_model(client, run, config)
    from lstm_lab.science.model import with_units

    return with_units(model, *units)


def trained_model(client: "MlflowClient", run: "Run", config: Config) -> "keras.Model":
    """The run's model for normalised numbers, as it was trained; StoreError if the store does not have its weights."""
    weights = lookup.weights_of(client, run, config)
    if weights is None:
        raise StoreError(f"{NOT_LOADED.format(run.info.run_id)} (it has no final weights){KEPT}")
    if not all(np.isfinite(array).all() for array in weights):
        raise StoreError(f"{NOT_LOADED.format(run.info.run_id)} (it diverged: its weights are no numbers)")
    runtime.start_tensorflow(*(runtime.started or [(config.training.level, config.training.threads)])[0])
    from lstm_lab.science.model import build_model

    model = build_model(**config.model.model_dump(), seed=config.training.seed)
    model.set_weights(weights)
    return model


def through(
    predict: "Predict", values: np.ndarray, state: Sequence[np.ndarray], reset_every: int | None
) -> Iterator[tuple[int, np.ndarray, Sequence[np.ndarray]]]:
    """Goes through the series [samples] piece by piece: first sample, predictions [samples of the piece], final state.

    With `reset_every` the state starts over every so many samples. ConfigError if the model knows no number there.
    """
    zeros, size = state, reset_every or AT_ONCE
    for first in range(0, len(values), size):
        piece = values[first : first + size].reshape(1, -1, 1)
        prediction, state = predict(piece, zeros if reset_every else state)
        if not np.isfinite(prediction).all():
            far = first + int(np.argmin(np.isfinite(prediction)))
            raise ConfigError(f"sample {far:,} is {values[far]:g}, too far from what the run was trained on")
        yield first, prediction.ravel(), state


def beyond(
    predict: "Predict",
    values: np.ndarray,
    state: Sequence[np.ndarray],
    horizon: int,
    steps: int,
    reset_every: int | None = None,
) -> np.ndarray:
    """The forecast [steps] of the samples that follow the series [samples].

    The last `horizon` predictions are forecasts of the first samples beyond the end; fed back in their order, they give
    those after them.
    """
    from lstm_lab.science.evaluation import roll_out

    last = np.zeros(0)
    for _, predictions, after in through(predict, values, state, reset_every):
        last, state = np.append(last, predictions)[-horizon:], after
    if steps <= horizon:
        return last[:steps]
    return np.append(last, roll_out(predict, last, state, steps - horizon, reset_every))
