"""Who watches a run: each observer is handed the `Progress` of every chunk, and closed at the end, however it ends."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import rich.progress
from rich.console import Console

from lstm_lab.records import checkpoint
from lstm_lab.records.tracking import VALIDATION
from lstm_lab.runs import figures, panels
from lstm_lab.runs.figures import SHOWN_SAMPLES
from lstm_lab.runs.panels import PANELS, Labels
from lstm_lab.science.criteria import Criteria
from lstm_lab.science.curves import Units
from lstm_lab.science.judging import Judge
from lstm_lab.science.training import Program, Progress

SHARE = 100  # saving a checkpoint takes at most a hundredth of the time


class Observer(Protocol):
    """Called with every chunk's progress; closed, if it can be, when the run ends, is stopped or fails."""

    def __call__(self, progress: Progress) -> None: ...


class Shown(NamedTuple):
    """What is shown of a fit: x [samples], target and prediction [samples, output_size], NaN where there is none.

    A window has `window` samples; `starts` has the first x of each. Those that do not go on where the one before ended
    stand `apart`: side by side, each with a gap after it.
    """

    x: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    window: int
    starts: np.ndarray
    apart: bool = False


def in_units(progress: Progress, units: Units | None) -> Progress:
    """The progress with target and prediction as they were before they were normalised, if they were."""
    if units is None:
        return progress
    mean, stddev = units[1]
    target, prediction = (mean + stddev * y.astype(np.float64) for y in (progress.target, progress.prediction))
    return dataclasses.replace(progress, target=target, prediction=prediction)


def laid_out(progress: Progress) -> Shown:
    """The batch's rows, one after the other; steps that do not count are left out, for they have no target.

    Of rows with one step that counts, such as sequences with an answer at their end, that alone is shown.
    """
    answers = progress.weights is not None and ((progress.weights > 0).sum(axis=1) == 1).all()
    if answers:
        progress = answers_of(progress)
    x, target, prediction = progress.x, progress.target, progress.prediction
    if progress.weights is not None:
        counts = progress.weights[..., None] > 0
        target, prediction = (np.where(counts, values, np.nan) for values in (target, prediction))
    steps = np.diff(x.ravel())
    apart = answers or bool(len(steps) and np.ptp(steps) > 1e-3 * steps.max())
    if apart:
        target, prediction = (
            np.pad(values, [(0, 0), (0, 1), (0, 0)], constant_values=np.nan) for values in (target, prediction)
        )
        x = np.arange(target[..., 0].size, dtype=float).reshape(target.shape[:2])
    starts = progress.x[:, 0]
    if len(starts) > 1 and not np.ptp(starts):  # each counts its own steps: then the row's number says more
        starts = np.arange(1.0, len(starts) + 1)
    samples = (-1, target.shape[2])
    return Shown(x.ravel(), target.reshape(samples), prediction.reshape(samples), x.shape[1], starts, apart)


def answers_of(progress: Progress) -> Progress:
    """The one step of each row that counts; x numbers the rows from 1 on."""
    counts = np.asarray(progress.weights) > 0
    x = np.arange(1.0, len(counts) + 1)[:, None]
    target, prediction = progress.target[counts][:, None], progress.prediction[counts][:, None]
    return dataclasses.replace(progress, x=x, target=target, prediction=prediction, weights=None)


def shown_curve(progress: Progress) -> Shown:
    """`laid_out` over the first few of the batch's rows in which a step counts."""
    if progress.weights is not None and (there := (progress.weights > 0).any(axis=1)).any():
        x, target, prediction = progress.x[there], progress.target[there], progress.prediction[there]
        weights = progress.weights[there]
        progress = dataclasses.replace(progress, x=x, target=target, prediction=prediction, weights=weights)
    whole = laid_out(progress)
    rows = max(3, math.ceil(SHOWN_SAMPLES / whole.window))
    x, target, prediction = (values[: whole.window * rows] for values in whole[:3])
    return whole._replace(x=x, target=target, prediction=prediction, starts=whole.starts[:rows])


class Record:
    """What is kept of a run: the cost of every step, the last progress, the speed.

    `earlier` [steps] are the costs of the steps done before, if the run is resumed.
    """

    def __init__(self, earlier: np.ndarray | None = None) -> None:
        self.earlier = np.zeros(0, np.float32) if earlier is None else earlier
        self.chunks: list[np.ndarray] = []
        self.last: Progress | None = None
        self.started = self.now = 0.0

    def __call__(self, progress: Progress) -> None:
        self.now = time.perf_counter()
        if self.last is None:
            self.started = self.now
        self.last = progress
        self.chunks.append(progress.costs)

    @property
    def costs(self) -> np.ndarray:
        """The cost of every step, float32 [steps done]."""
        return np.concatenate([self.earlier, *self.chunks])

    @property
    def steps_per_second(self) -> float | None:
        """Counted from the end of the first chunk, since compiling is not training; None before the second ends."""
        elapsed = self.now - self.started
        return sum(map(len, self.chunks[1:])) / elapsed if elapsed > 0 else None


class Terminal:
    """The progress bar with cost and speed, and a printed cost every `report_every` steps, as in the tutorial.

    Beside a cost stands the validation error of the weights that it is of or, if these have none, the last one before.
    Into a pipe or a file go the printed costs alone.
    """

    def __init__(self, console: Console, record: Record, steps: int, report_every: int) -> None:
        self.console, self.record, self.report_every = console, record, report_every
        columns = (
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("cost {task.fields[cost]}  {task.fields[rate]} steps/s"),
            rich.progress.TimeRemainingColumn(),
        )
        self.bar = rich.progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task("", total=steps, completed=len(record.earlier), cost="...", rate="...")
        self.bar.start()
        self.validation = ""  # what is to be said of it beside the next cost
        self.validated = 0

    def __call__(self, progress: Progress) -> None:
        first = progress.step - len(progress.costs)
        for step in range(first + -first % self.report_every, progress.step, self.report_every):
            validation = self.validation + f" (step {self.validated:,})" * (0 < self.validated < step)
            self.console.print(
                f"step {step:>7,}   cost {progress.costs[step - first]:.4g}{validation}", highlight=False
            )
            self.validation, self.validated = "", 0
        if progress.validation is not None:
            self.validation, self.validated = f"   validation {progress.validation:.4g}", progress.step
        rate = f"{self.record.steps_per_second or 0:,.0f}"
        self.bar.update(self.task, completed=progress.step, cost=f"{progress.costs[-1]:.4g}", rate=rate)

    def close(self) -> None:
        self.bar.stop()


class Frames:
    """Collects at most about `frames` stretches of the fit, evenly over the run, for the animation."""

    def __init__(self, steps: int, frames: int, units: Units | None = None) -> None:
        self.every, self.units = steps / frames, units
        self.next = 0.0
        self.steps: list[int] = []
        self.targets: list[np.ndarray] = []  # [samples, output_size], as the predictions
        self.predictions: list[np.ndarray] = []
        self.x = np.zeros(0)
        self.apart = False

    def __call__(self, progress: Progress) -> None:
        if progress.step < self.next:
            return
        self.next = (progress.step // self.every + 1) * self.every
        whole = laid_out(in_units(progress, self.units))
        x, target, prediction = (values[: 4 * SHOWN_SAMPLES] for values in whole[:3])
        if not self.steps:
            self.x, self.apart = x[: len(x) - len(x) // 4][:SHOWN_SAMPLES] - x[0], whole.apart
        # A batch lies further along the curve than the one before: show the stretch of it that looks like the first
        # picture's target, so that the target stands still and the prediction is seen to move.
        start = 0
        if not np.isnan(target).any():
            start = align(target, self.targets[0] if self.targets else target[: len(self.x)])
        shown = slice(start, start + len(self.x))
        self.targets.append(target[shown])
        self.predictions.append(prediction[shown])
        self.steps.append(progress.step)


def align(target: np.ndarray, model: np.ndarray) -> int:
    """Where in `target` [samples, size] the stretch lies that is most like `model` [fewer samples, size].

    It has the least sum of squared differences, each of the columns counted in its own variance.
    """
    errors = np.zeros(len(target) - len(model) + 1)
    for column, wanted in list(zip(target.T, model.T, strict=True))[:PANELS]:
        windows = np.lib.stride_tricks.sliding_window_view(column, len(model))
        errors += ((windows - wanted) ** 2).sum(axis=1) / (np.var(wanted) or 1.0)
    return int(np.argmin(errors))


class TensorBoard:
    """Writes event files into `folder`: the graph of a training step, the cost thinned evenly to `points`.

    And the validation error where there is one.
    """

    def __init__(self, folder: Path, steps: int, points: int, graph: Callable[[], Any]) -> None:
        from tensorboard.summary import Writer

        self.folder, self.graph = folder, graph
        self.writer = Writer(str(folder))
        self.every = math.ceil(steps / points)

    def __call__(self, progress: Progress) -> None:
        first = progress.step - len(progress.costs)
        for step in range(first + -first % self.every, progress.step, self.every):
            self.writer.add_scalar("cost", float(progress.costs[step - first]), step)
        if progress.validation is not None:
            self.writer.add_scalar(VALIDATION, progress.validation, progress.step)
        if first == 0:  # now the step is compiled, and its graph there to be written
            self.write_graph()

    def write_graph(self) -> None:
        """Writes the graph, which the scalar writer cannot, to an event file of its own."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        writer = EventFileWriter(str(self.folder), filename_suffix=".graph")
        writer.add_event(Event(wall_time=time.time(), graph_def=self.graph().SerializeToString()))
        writer.close()

    def close(self) -> None:
        self.writer.close()


class LiveFigure:
    """The tutorial's window: target and prediction, redrawn while the run trains."""

    def __init__(self, units: Units | None, labels: Labels) -> None:
        from matplotlib import pyplot

        self.pyplot, self.units, self.labels = pyplot, units, labels
        rows = min(max(1, len(labels.y)), PANELS)
        size = (7, 3.3 + 0.7 * rows)
        self.figure, axes = pyplot.subplots(rows, num="LSTM Lab", figsize=size, sharex=True, squeeze=False)
        self.axes = list(axes[:, 0])
        self.figure.set_layout_engine("constrained")
        pyplot.show(block=False)

    def __call__(self, progress: Progress) -> None:
        if not self.pyplot.fignum_exists(self.figure.number):  # the user closed the window: train on without it
            return
        for ax in self.axes:
            ax.clear()
        shown = shown_curve(in_units(progress, self.units))
        figures.draw_fit(self.axes, *shown[:3], self.labels)
        panels.label_panels(self.axes, self.labels, self.labels.y)
        left_out = panels.shown_of(len(self.axes), shown.target.shape[1])
        panels.head(self.axes, f"step {progress.step:,}   cost {progress.costs[-1]:.3g}", left_out)
        if len(self.axes) == 1:
            self.axes[0].legend(loc="upper right", ncols=2)
        elif not self.figure.legends:
            panels.legend(self.axes)
        self.figure.canvas.draw_idle()
        self.figure.canvas.flush_events()

    def close(self) -> None:
        self.pyplot.close(self.figure)


class Saver:
    """An observer that saves a checkpoint into `folder` every `seconds`, or less often where saving takes long."""

    def __init__(
        self,
        folder: Path,
        seconds: float,
        config_digest: str,
        program: Program,
        record: Record,
        judge: Judge | Criteria | None = None,
    ) -> None:
        self.folder, self.seconds, self.config_digest = folder, seconds, config_digest
        self.program, self.record, self.judge = program, record, judge
        self.due = time.monotonic() + seconds

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() >= self.due:
            self.save(progress)

    def save(self, progress: Progress) -> Path:
        """Saves now, and returns the file. Program, record and judge must stand where `progress` does."""
        started = time.monotonic()
        state = [np.asarray(tensor) for tensor in progress.state]
        weights, optimizer = self.program.snapshot()
        saved = checkpoint.Checkpoint(progress.step, self.config_digest, self.record.costs, weights, optimizer, state)
        if self.judge:
            saved = dataclasses.replace(saved, **self.judge.snapshot())
        path = checkpoint.save(self.folder, saved)
        self.due = time.monotonic() + max(self.seconds, SHARE * (time.monotonic() - started))
        return path


@contextlib.contextmanager
def watching(*observers: Observer) -> Iterator[Callable[[Progress], None]]:
    """Hands progress to each of several observers, in their order; closes them all, the last first."""

    def watch(progress: Progress) -> None:
        for observe in observers:
            observe(progress)

    with contextlib.ExitStack() as stack:
        for observer in observers:
            stack.callback(getattr(observer, "close", lambda: None))
        yield watch
