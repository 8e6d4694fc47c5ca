"""A run's training under its observers: which of them watch it, and how it comes to an end."""

import functools
import math
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from lstm_lab.config import Config, Training
from lstm_lab.datasets import Task
from lstm_lab.paths import ROOT, short_name
from lstm_lab.records import store

if TYPE_CHECKING:  # these import TensorFlow or MLflow, and a refused config must not wait for them
    from lstm_lab.records.checkpoint import Checkpoint
    from lstm_lab.records.tracking import TrackedRun
    from lstm_lab.runs.observers import Frames, LiveFigure, Observer, Record, Saver, TensorBoard, Terminal
    from lstm_lab.runs.setup import Setup
    from lstm_lab.science.criteria import Criteria
    from lstm_lab.science.judging import Judge
    from lstm_lab.science.training import Progress


class StopSignal:
    """Ctrl-C, SIGTERM or a terminal that is closed, seen to between two chunks so that no observer is cut short.

    A second one acts at once.
    """

    NAMES: ClassVar = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}

    def __init__(self) -> None:
        self.received: str | None = None

    def __enter__(self) -> Self:
        heard = [number for number in self.NAMES if signal.getsignal(number) != signal.SIG_IGN]  # as under nohup
        self.previous = {number: signal.signal(number, self.receive) for number in heard}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def receive(self, number: int, frame: object) -> None:
        """Notes the first signal; a second one is an ordinary KeyboardInterrupt."""
        if self.received:
            raise KeyboardInterrupt
        self.received = self.NAMES[signal.Signals(number)]


class Pruned(Exception):  # noqa: N818 (the field's word for it)
    """Raised by an observer to end a run early; the message says why."""


@dataclass(frozen=True)
class Watchers:
    """Who watches a run, in the order in which they are handed its progress; None is not there."""

    record: "Record"
    store: "TrackedRun"
    saver: "Saver | None"
    frames: "Frames | None"
    terminal: "Terminal | None"
    tensorboard: "TensorBoard | None"
    live: "LiveFigure | None"
    of_trial: "Observer | None"

    def present(self) -> "list[Observer]":
        """Those that are there."""
        return [watcher for field in fields(self) if (watcher := getattr(self, field.name)) is not None]


@dataclass(frozen=True)
class Trained:
    """How a training ended (FINISHED, FAILED, KILLED or PRUNED, and why), its observers, its last checkpoint.

    `judge` has its validation errors, or the criteria that it met; None if nothing judges it.
    """

    status: str
    reason: str
    watchers: Watchers
    checkpoint: Path | None
    judge: "Judge | Criteria | None" = None


@dataclass(frozen=True)
class Result:
    """How a run ended: FINISHED, FAILED, KILLED or PRUNED; the reason, unless it did all steps; metrics and costs.

    `weights` are those that are kept.
    """

    run_id: str
    status: str
    reason: str
    metrics: dict[str, float]
    costs: np.ndarray
    weights: Sequence[np.ndarray]


def watchers_of(
    setup: "Setup",
    tracked: "TrackedRun",
    earlier: np.ndarray | None,
    judge: "Judge | Criteria | None",
    graph: Callable[[], Any],
) -> Watchers:
    """Who watches this run, and when each of them does.

    `earlier` [steps] are the costs of the steps done before, if it is resumed; `graph` gives that of a training step.
    """
    from lstm_lab.runs import figures, observers, resume

    settings, wanted, part = setup.config.training, setup.config.tracking, setup.part
    writable = os.access(ROOT, os.W_OK)
    if writable:
        store.remember_store()
    record = observers.Record(earlier)
    saver = tensorboard = terminal = None
    if writable and wanted.checkpoint_seconds is not None and (not part or part.resumable):
        folder, digest = resume.folder_of(tracked.run_id), resume.digest(setup.config)
        saver = observers.Saver(folder, wanted.checkpoint_seconds, digest, setup.program, record, judge)
    if writable and wanted.tensorboard:
        events = ROOT / "mlruns/tensorboard" / short_name(tracked.name, tracked.run_id[:6])
        tensorboard = observers.TensorBoard(events, settings.steps, wanted.metric_points, graph)
    if not setup.console.quiet:
        terminal = observers.Terminal(setup.console, record, settings.steps, settings.printed_every)
    return Watchers(
        record,
        tracked,
        saver,
        frames=observers.Frames(settings.steps, settings.frames, setup.source.units) if wanted.animation else None,
        terminal=terminal,
        tensorboard=tensorboard,
        live=observers.LiveFigure(setup.source.units, figures.labels_of_fit(setup.config)) if settings.live else None,
        of_trial=part.watch(setup) if part and part.watch else None,
    )


def train(setup: "Setup", tracked: "TrackedRun", saved: "Checkpoint | None", stop: StopSignal) -> Trained:
    """Trains from the initial weights, or from where the checkpoint was saved, under every observer asked for.

    Leaves the program with the weights that are kept.
    """
    from lstm_lab.runs import observers
    from lstm_lab.science import training

    settings, program, source = setup.config.training, setup.program, setup.source
    state, first_step = started(setup, saved)
    judge, chunk_steps = judge_of(setup, saved), steps_of_a_chunk(settings)
    if saved:
        tracked.log_costs(0, saved.costs)
        tracked.log_validation(saved.validated.tolist(), saved.errors.tolist())
    progress = training.train(
        program.chunk, source, state, steps=settings.steps, chunk_steps=chunk_steps, first_step=first_step,
        pause_every=judge.every if judge else None,
    )  # fmt: skip

    def graph() -> Any:
        return training.step_graph(program.chunk, source.chunk(0, chunk_steps), state)

    watchers = watchers_of(setup, tracked, saved.costs if saved else None, judge, graph)
    with observers.watching(*watchers.present()) as watch:
        status, reason = follow(judge.follow(progress) if judge else progress, watch, setup.config, stop, judge)
        saver, last = watchers.saver, watchers.record.last
        checkpoint = saver.save(last) if saver and last and status in ("FINISHED", "KILLED") else None
    if judge:
        judge.settle()
    return Trained(status, reason, watchers, checkpoint, judge)


def started(setup: "Setup", saved: "Checkpoint | None") -> "tuple[list[Any], int]":
    """Sets the program as it is before the first step, or where the checkpoint was saved; the state, and that step."""
    from lstm_lab.science.model import zero_state

    program = setup.program
    if saved:
        program.restore(saved.weights, saved.optimizer)
        return list(saved.state), saved.step
    program.restart(setup.weights, setup.config.optimizer.learning_rate)
    return zero_state(program.model, setup.source.batch_size), 0


def judge_of(setup: "Setup", saved: "Checkpoint | None") -> "Judge | Criteria | None":
    """What judges the run, knowing of it what the checkpoint does; None if nothing does."""
    return criteria_of(setup, saved) if setup.config.training.until is not None else validating(setup, saved)


def criteria_of(setup: "Setup", saved: "Checkpoint | None") -> "Criteria":
    """What tells when the task of the run is solved."""
    from lstm_lab.science import tasks
    from lstm_lab.science.criteria import Criteria

    settings, data, source = setup.config.training, setup.config.data, setup.source
    assert isinstance(data, Task)
    assert isinstance(source, tasks.Task)
    assert settings.until is not None
    criteria = Criteria(setup.program.model, source, data, every=settings.validated_every, until=settings.until)
    if saved:
        criteria.restore(saved.met, saved.recent)
    return criteria


def validating(setup: "Setup", saved: "Checkpoint | None") -> "Judge | None":
    """What validates the run; None without samples for validation."""
    from lstm_lab.science import validation
    from lstm_lab.science.judging import Judge

    stretches, settings, model = setup.source.validation(), setup.config.training, setup.program.model
    if not stretches:
        return None
    rows = validation.in_rows(stretches, time_steps=setup.config.data.time_steps, carry_state=settings.carry_state)
    every, patience, keep_best = settings.validated_every, settings.early_stopping, settings.keep == "best"
    error = functools.partial(validation.validate, model, rows)
    judge = Judge(model, error, every=every, patience=patience, keep_best=keep_best)
    if saved:
        judge.restore(saved.validated.tolist(), saved.errors.tolist(), saved.best)
    return judge


def steps_of_a_chunk(settings: Training) -> int:
    """After how many steps a run is looked at, whatever happens; where steps are slow, more often."""
    return min(settings.chunk_steps, math.ceil(settings.steps / settings.frames))


def follow(
    progress: "Iterator[Progress]",
    watch: "Callable[[Progress], None]",
    config: Config,
    stop: StopSignal,
    judge: "Judge | Criteria | None" = None,
) -> tuple[str, str]:
    """Lets the training run under its observers; returns MLflow's status and, unless all steps are done, the reason."""
    from lstm_lab.science.training import DivergedError

    steps, done = config.training.steps, 0
    try:
        for made in progress:
            watch(made)
            done = made.step
            if stop.received and done < steps and not (judge and judge.is_over):
                return "KILLED", f"stopped by {stop.received} after {done:,} of {steps:,} steps"
    except Pruned as error:
        return "PRUNED", str(error)
    except DivergedError as error:
        return "FAILED", f"{error}: {likely_cause(config)}"
    return "FINISHED", judge.why(done) if judge and done < steps else ""


def likely_cause(config: Config) -> str:
    """Why a cost stops being finite: nearly always too long a step."""
    optimizer = config.optimizer
    cure = f"try {optimizer.learning_rate / 10:g}" + ("" if optimizer.clipnorm else " or optimizer.clipnorm=1")
    return f"optimizer.learning_rate={optimizer.learning_rate:g} is likely too high ({cure})"
