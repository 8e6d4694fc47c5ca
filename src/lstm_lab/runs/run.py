"""One tracked run: a checked config in, a finished run in MLflow out."""

import contextlib
import functools
import hashlib
import math
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lstm_lab import runtime
from lstm_lab.config import WATCHING, Config, ConfigError, Csv
from lstm_lab.paths import ROOT
from lstm_lab.records import lookup, provenance, store, tracking
from lstm_lab.runs import resume

if TYPE_CHECKING:  # these import TensorFlow or MLflow, and a refused config must not wait for them
    import keras
    from mlflow import MlflowClient

    from lstm_lab.records.checkpoint import Checkpoint
    from lstm_lab.runs.observers import Frames, Observer, Record
    from lstm_lab.science.curves import Source
    from lstm_lab.science.evaluation import Evaluation
    from lstm_lab.science.training import Program, Progress

CELL_NAMES = {"lstm": "An LSTM", "gru": "A GRU", "simple_rnn": "A simple RNN"}
LAST = 20  # steps over which the cost at the end is averaged
CONTRADICTED = "from step {:,} on, the costs trained now are not those stored before: not the same bits"
METRICS = ("final_cost", "mean_last_20_cost", "log10_mean_last_20_cost", "steps_per_second")


class StopSignal:
    """Ctrl-C or SIGTERM, seen to between two chunks so that no observer is cut short; a second one acts at once."""

    NAMES: ClassVar = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}

    def __init__(self) -> None:
        self.received: str | None = None

    def __enter__(self) -> Self:
        self.previous = {number: signal.signal(number, self.receive) for number in self.NAMES}
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
class Part:
    """What a run is part of, a sweep or a reproduction: its name and tags; and for a trial its own three.

    `watch` observes it, `keep` decides by its metrics whether to keep figures and model, files go to `folder`.
    """

    name: str
    tags: dict[str, str]
    watch: "Observer | None" = None
    keep: "Callable[[dict[str, float]], bool] | None" = None
    folder: Path | None = None


@dataclass(frozen=True)
class Result:
    """How a run ended: FINISHED, FAILED, KILLED or PRUNED; the reason if not FINISHED; metrics, costs and weights."""

    run_id: str
    status: str
    reason: str
    metrics: dict[str, float]
    costs: np.ndarray
    weights: Sequence[np.ndarray]


def run(
    config: Config, console: Console, verbose: bool = False, part: Part | None = None, resumed: str | None = None
) -> Result:
    """Trains as `config` says and tracks it, in a new run or in the run `resumed`; returns however training ended.

    Raises ConfigError or StoreError, before anything is written, if the run cannot start; and StoreError if the store
    fails meanwhile, with the command that delivers what it did not take.
    """
    batches = make_batches(config)
    store.check_store()
    if config.training.live:
        check_display()
    console.print(describe(config))
    with StopSignal() as stop:
        with console.status("starting TensorFlow and MLflow") if console.is_terminal else contextlib.nullcontext():
            client = store.open_store(verbose)  # first, so that a store at fault is known soonest
            runtime.start_tensorflow(config.training.level, config.training.threads, verbose)
            if stop.received:
                raise KeyboardInterrupt
            if resumed:
                tracked = tracking.TrackedRun.resume(client, config, resume.take_over(client, resumed))
            else:
                name, tags = (part.name, part.tags) if part else (None, {})
                tracked = tracking.TrackedRun.begin(client, config, name, tags)
        try:
            if not part:
                announce_interrupted(client, console)
            return train_and_log(config, tracked, console, stop, part, batches, bool(resumed))
        except BaseException as error:
            if store.is_fault(error):  # then it could not take the run's end either
                raise store.StoreError(
                    f"{store.first_line(error)}\nThis run is not whole in the store. Once that can take it, "
                    f"`{resume.command(tracked.run_id)}` goes on from the last checkpoint and delivers what is missing"
                ) from error
            tracked.end("KILLED" if isinstance(error, KeyboardInterrupt | ConfigError) else "FAILED")
            if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
                raise ConfigError(f"this run does not fit into memory ({store.first_line(error)})") from None
            raise


def announce_interrupted(client: "MlflowClient", console: Console) -> None:
    """Says which runs a killed process has left behind on this machine, and how each goes on."""
    for found in resume.mark_interrupted(client):
        how = resume.command(found.info.run_id)
        if "study" in found.data.tags:
            how = "its command, typed again"
        name = escape(found.info.run_name)
        console.print(f"[yellow]cut short by a killed process:[/] {name}; to go on: {how}", soft_wrap=True)
    resume.forget_finished(client)


def train_and_log(
    config: Config,
    tracked: tracking.TrackedRun,
    console: Console,
    stop: StopSignal,
    part: Part | None,
    batches: "Source",
    resumed: bool,
) -> Result:
    """The run itself: how it begins, the training under its observers, and what is kept of it."""
    from lstm_lab.science.model import build_model

    weights = build_model(**config.model.model_dump(), seed=config.training.seed).get_weights()
    saved = find_checkpoint(config, tracked, batches, weights, console) if resumed else None
    with output_folder(part) as folder:
        write_beginning(folder, config, saved.step if saved else 0, tracked)
        tracked.log_inputs(batches.digest(config.training.steps), batches.file_sha256, arrays_digest(weights))
        tracked.log_files(folder)
        program = program_for(config, batches.stride)
        watched = train_watched(config, tracked, console, stop, part, batches, program, weights, saved)
        result = log_end(folder, config, tracked, part, batches, program, watched)
    if not part:
        resume.forget_checkpoints(tracked.run_id)
    report(console, tracked, result)
    return result


def find_checkpoint(
    config: Config, tracked: tracking.TrackedRun, batches: "Source", weights: Sequence[np.ndarray], console: Console
) -> "Checkpoint | None":
    """The checkpoint that a resumed run goes on from; says so, and says what is damaged or has changed meanwhile.

    ConfigError if the code now makes other data or other initial weights than the run began with.
    """

    def say(text: str, style: str | None = None) -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    tags, before = tracked.run.data.tags, lookup.config_of(tracked.client, tracked.run)
    if tags.get("data.file.sha256") != batches.file_sha256:
        raise ConfigError(
            f"resume={tracked.run_id}: {config.data.name} is not the file that the run began with: its SHA-256 was "
            f"{tags.get('data.file.sha256')} and is {batches.file_sha256}"
        )
    now = {"data": batches.digest(before.training.steps), "initial_weights": arrays_digest(weights)}
    for what, digest in now.items():
        if tags.get(f"{what}.sha256", digest) != digest:
            raise ConfigError(
                f"resume={tracked.run_id}: the code now makes other {what.replace('_', ' ')} than that run began with, "
                "so it cannot go on to the same end"
            )
    then = lookup.provenance_of(tracked.client, tracked.run_id)
    if then:
        level = config.training.level
        for difference in provenance.differences(then, provenance.current(), portable=level == "portable"):
            say(f"not as when the run began: {difference}", "yellow")
    saved, damaged = resume.newest_checkpoint(tracked.client, tracked.run_id, config)
    for fault in damaged:
        say(fault, "yellow")
    step = saved.step if saved else 0
    say(f"resuming {tracked.name} at step {step:,} of {config.training.steps:,}{'' if saved else ': no checkpoint'}")
    return saved


@dataclass(frozen=True)
class Watched:
    """What the observers have of a training, and how it ended."""

    status: str
    reason: str
    record: "Record"
    frames: "Frames"
    checkpoint: Path | None


def train_watched(
    config: Config,
    tracked: tracking.TrackedRun,
    console: Console,
    stop: StopSignal,
    part: Part | None,
    batches: "Source",
    program: "Program",
    weights: Sequence[np.ndarray],
    saved: "Checkpoint | None",
) -> Watched:
    """Trains from the initial weights, or from where the checkpoint was saved, under every observer asked for."""
    from lstm_lab.runs import observers
    from lstm_lab.science import training
    from lstm_lab.science.model import zero_state

    settings = config.training
    if saved:
        program.restore(saved.weights, saved.optimizer)
        state, first_step = list(saved.state), saved.step
        tracked.log_costs(0, saved.costs)
    else:
        program.restart(weights, config.optimizer.learning_rate)
        state, first_step = zero_state(program.model, batches.batch_size), 0
    chunk_steps = min(settings.chunk_steps, math.ceil(settings.steps / settings.frames))
    progress = training.train(
        program.chunk, batches, state, steps=settings.steps, chunk_steps=chunk_steps, first_step=first_step
    )

    record = observers.Record(saved.costs if saved else None)
    frames = observers.Frames(settings.steps, settings.frames)
    watchers: list[Observer] = [record, tracked]
    writable = os.access(ROOT, os.W_OK)
    saver = None
    if config.tracking.checkpoint_seconds is not None and writable and not part:
        folder, seconds = resume.folder_of(tracked.run_id), config.tracking.checkpoint_seconds
        saver = observers.Saver(folder, seconds, resume.digest(config), program, record)
        watchers.append(saver)
    if config.tracking.animation:
        watchers.append(frames)
    watchers.append(observers.Terminal(console, record, settings.steps, settings.report_every))
    if config.tracking.tensorboard and writable:
        graph = functools.partial(training.step_graph, program.chunk, batches.chunk(0, chunk_steps), state)
        events = ROOT / "mlruns/tensorboard" / f"{tracked.name}-{tracked.run_id[:6]}"
        watchers.append(observers.TensorBoard(events, settings.steps, config.tracking.metric_points, graph))
    if settings.live:
        watchers.append(observers.LiveFigure())
    if part and part.watch:
        watchers.append(part.watch)
    with observers.watching(*watchers) as watch:
        status, reason = follow(progress, watch, config, stop)
        last = saver.save(record.last) if saver and record.last and status in ("FINISHED", "KILLED") else None
    return Watched(status, reason, record, frames, last)


def log_end(
    folder: Path,
    config: Config,
    tracked: tracking.TrackedRun,
    part: Part | None,
    batches: "Source",
    program: "Program",
    watched: Watched,
) -> Result:
    """Everything that is kept of a run when its training is over; ends the run in MLflow."""
    record, weights = watched.record, program.model.get_weights()
    metrics = summarize(record.costs, record.steps_per_second)
    result = Result(tracked.run_id, watched.status, watched.reason, metrics, record.costs, weights)
    tags = {"cost.sha256": arrays_digest([result.costs]), "final_weights.sha256": arrays_digest(weights)}
    if result.reason:
        tags["reason"] = result.reason
    if tracked.contradicted is not None:
        tags["contradicted"] = CONTRADICTED.format(tracked.contradicted)
    keep = bool(part and part.keep and result.status == "FINISHED" and part.keep(metrics))
    evaluated = None
    is_kept = keep or not (part and part.keep) or config.tracking.figures or config.tracking.model
    if config.evaluation.windows and result.status in ("FINISHED", "KILLED") and (is_kept or config.evaluation.trials):
        evaluated = evaluate(config, batches, program, record)
        metrics |= {f"evaluation.{key}": value for key, value in evaluated.metrics.items() if math.isfinite(value)}
    tracked.log_summary(len(result.costs), metrics, tags, tell(config, result))
    np.save(folder / "cost.npy", result.costs)
    np.savez(folder / "final_weights.npz", *weights)
    if watched.checkpoint:
        (folder / "checkpoint").mkdir()
        shutil.copyfile(watched.checkpoint, folder / "checkpoint/checkpoint.npz")
    if config.tracking.figures or keep:
        draw_figures(folder / "figures", config, result, record, watched.frames)
        if evaluated:
            draw_evaluation(folder / "figures", config, evaluated)
    tracked.log_files(folder)
    if (config.tracking.model or keep) and np.isfinite(result.costs[-1]):
        tracked.log_model(in_units(program.model, batches))
    tracked.end("KILLED" if result.status == "PRUNED" else result.status)
    return result


def evaluate(config: Config, batches: "Source", program: "Program", record: "Record") -> "Evaluation":
    """Lets the curve go on where training stopped, with the state of the last row if it stands exactly there."""
    from lstm_lab.science import evaluation

    assert record.last is not None
    state = [np.asarray(tensor)[-1:] for tensor in record.last.state]
    return evaluation.evaluate(
        program.model,
        batches.continuation(record.last.step, config.evaluation.windows),
        state if batches.carries_into_unseen else None,
        time_steps=config.data.time_steps,
        carry_state=config.training.carry_state,
    )


def make_batches(config: Config) -> "Source":
    """Where the run's batches come from; ConfigError if it is a file that does not serve."""
    from lstm_lab.science.curves import Batches
    from lstm_lab.science.series import SeriesBatches

    data = config.data
    if isinstance(data, Csv):
        return SeriesBatches(**data.model_dump(exclude={"curve"}) | {"path": ROOT / data.path})
    return Batches(**data.model_dump())


def in_units(model: "keras.Model", batches: "Source") -> "keras.Model":
    """The model as it is kept: for inputs and predictions that are not normalised."""
    from lstm_lab.science.model import with_units

    return with_units(model, *batches.units) if batches.units else model


@functools.cache
def programs() -> "dict[object, Program]":
    """The programs compiled in this process."""
    return {}


def program_for(config: Config, stride: int = 1) -> "Program":
    """The compiled program for this config's shapes: the one of an earlier run in this process, if there was one.

    Learning rate, seed, initial weights and data are no shapes: runs that differ in them compile nothing.
    """
    from lstm_lab.science import training
    from lstm_lab.science.model import build_model

    optimizer = config.optimizer.model_copy(update={"learning_rate": 1.0})
    shape = (
        config.model.cell,
        config.model.cell_size,
        optimizer,
        config.data.batch_size,
        config.data.time_steps,
        config.training.carry_state,
        config.training.level,
        stride,
        config.training.truncation_steps,
        config.training.truncation_every,
    )
    if shape not in programs():
        programs()[shape] = training.Program(
            build_model(**config.model.model_dump(), seed=config.training.seed),
            training.build_optimizer(**optimizer.model_dump()),
            batch_size=config.data.batch_size,
            carry_state=config.training.carry_state,
            jit_compile=config.training.level == "fast",
            stride=stride,
            truncation_steps=config.training.truncation_steps,
            truncation_every=config.training.truncation_every,
        )
    return programs()[shape]


def output_folder(part: Part | None) -> contextlib.AbstractContextManager[Path]:
    """Where artifacts are written before they are logged: a trial's own folder, or one that goes with the run."""
    if part and part.folder:
        part.folder.mkdir(parents=True, exist_ok=True)
        return contextlib.nullcontext(part.folder)
    return temporary_folder()


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def follow(
    progress: "Iterator[Progress]", watch: "Callable[[Progress], None]", config: Config, stop: StopSignal
) -> tuple[str, str]:
    """Lets the training run under its observers; returns MLflow's status and, unless FINISHED, the reason."""
    from lstm_lab.science.training import DivergedError

    try:
        for made in progress:
            watch(made)
            if stop.received and made.step < config.training.steps:
                done = f"{made.step:,} of {config.training.steps:,} steps"
                return "KILLED", f"stopped by {stop.received} after {done}"
    except Pruned as error:
        return "PRUNED", str(error)
    except DivergedError as error:
        return "FAILED", f"{error}: {likely_cause(config)}"
    return "FINISHED", ""


def likely_cause(config: Config) -> str:
    """Why a cost stops being finite: nearly always too long a step."""
    optimizer = config.optimizer
    cure = f"try {optimizer.learning_rate / 10:g}" + ("" if optimizer.clipnorm else " or optimizer.clipnorm=1")
    return f"optimizer.learning_rate={optimizer.learning_rate:g} is likely too high ({cure})"


def summarize(costs: np.ndarray, steps_per_second: float | None) -> dict[str, float]:
    """The metrics that stand for a whole run. MLflow's bars show two decimals, hence the logarithm beside the mean."""
    mean = float(costs[-LAST:].mean(dtype=np.float64))
    metrics = {"final_cost": float(costs[-1]), "mean_last_20_cost": mean}
    if mean > 0 and math.isfinite(mean):
        metrics["log10_mean_last_20_cost"] = math.log10(mean)
    if steps_per_second:
        metrics["steps_per_second"] = steps_per_second
    return metrics


def tell(config: Config, result: Result) -> str:
    """Two sentences for the run's page: what the run was, and how it went."""
    model, data, optimizer, training = config.model, config.data, config.optimizer, config.training
    what = (
        f"{CELL_NAMES[model.cell]} of cell size {model.cell_size} on {data.name} (batches of {data.batch_size} x "
        f"{data.time_steps} time steps, state {'carried' if training.carry_state else 'reset'}), {training.steps:,} "
        f"steps of {optimizer.name} at learning rate {optimizer.learning_rate:g}, seed {training.seed}."
    )
    how = f"cost fell from {result.costs[0]:.3g} to {result.costs[-1]:.3g}"
    if result.costs[-1] > result.costs[0]:
        how = f"cost rose from {result.costs[0]:.3g} to {result.costs[-1]:.3g}"
    mean = f"{result.metrics['mean_last_20_cost']:.3g}"
    if result.status == "FINISHED":
        return f"{what} Its {how} (mean of the last {LAST}: {mean})."
    return f"{what} It is {result.status}: {result.reason}; until then its {how}."


def write_beginning(folder: Path, config: Config, step: int, tracked: tracking.TrackedRun) -> None:
    """Writes what is known before the first step: the config, and what makes the run; a resumed one has a second."""
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(), sort_keys=False))
    settings = config.training
    made = provenance.current(seed=settings.seed, level=settings.level, threads=settings.threads)
    known = tracked.run.data.tags.get("data.sha256")
    made.write(folder / "provenance" / (f"resumed-at-step-{step}" if known else ""))


def draw_figures(folder: Path, config: Config, result: Result, record: "Record", frames: "Frames") -> None:
    """Draws cost curve, fitted curve and, if asked for, the animation of the fit."""
    from lstm_lab.runs import figures
    from lstm_lab.runs.observers import shown_curve

    assert record.last is not None
    folder.mkdir(exist_ok=True)
    model = f"{config.model.cell}, cell size {config.model.cell_size}"
    title = f"{model}: cost {result.costs[-1]:.3g} after {record.last.step:,} steps"
    figures.cost_figure(result.costs, title).savefig(folder / "cost_curve.png", dpi=120)
    carried = "carried from one to the next" if config.training.carry_state else "reset before each"
    note = f"windows of {config.data.time_steps} time steps, the state {carried}"
    if isinstance(config.data, Csv):
        note = f"windows of {config.data.time_steps} time steps from all over the series, normalised, side by side"
    x, target, prediction, window = shown_curve(record.last)
    figures.fit_figure(
        x,
        target,
        prediction,
        window=window,
        note=note,
        title=title,
    ).savefig(folder / "fitted_curve.png", dpi=120)
    if config.tracking.animation:
        figures.fit_animation(
            folder / "fit.gif",
            x=frames.x,
            targets=frames.targets,
            predictions=frames.predictions,
            steps=frames.steps,
            costs=result.costs,
        )


def draw_evaluation(folder: Path, config: Config, evaluated: "Evaluation") -> None:
    """Draws the continued curve, from some samples that were trained on to the first few hundred that were not."""
    from lstm_lab.runs import figures
    from lstm_lab.runs.observers import SHOWN_SAMPLES

    first, metrics, rolled_out = evaluated.first, evaluated.metrics, evaluated.rolled_out
    shown = slice(max(0, first - SHOWN_SAMPLES // 4), first + SHOWN_SAMPLES)
    figures.continued_figure(
        evaluated.x[shown],
        evaluated.target[shown],
        first - shown.start,
        evaluated.prediction[:SHOWN_SAMPLES],
        None if rolled_out is None else rolled_out[:SHOWN_SAMPLES],
        x_label=x_label(config),
        note=baselines_in_words(metrics),
        title=f"never trained on: mean squared error {metrics['mse']:.3g}",
    ).savefig(folder / "continued_curve.png", dpi=120)


def x_label(config: Config) -> str:
    """What the samples' places are called in a figure."""
    return "sample of the series" if isinstance(config.data, Csv) else "x"


def baselines_in_words(metrics: Mapping[str, float]) -> str:
    """The baselines' mean squared errors in a line."""
    names = ["predict_zero", "persistence", "least_squares"]
    return "baselines: " + ", ".join(f"{name.replace('_', ' ')} {metrics[f'{name}_mse']:.3g}" for name in names)


def arrays_digest(arrays: Sequence[np.ndarray]) -> str:
    """SHA-256 of the arrays' bytes, one after the other."""
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def check_display() -> None:
    """Raises ConfigError if training.live=true cannot open a window here."""
    from lstm_lab.runs.figures import missing_for_live

    if missing := missing_for_live():
        raise ConfigError(f"training.live=True: {missing}")


def describe(config: Config) -> Table:
    """What is about to run, one line a group: its kind, then its settings."""
    table = Table.grid(padding=(0, 2))
    for group, settings in config.model_dump(exclude=WATCHING).items():
        kind = Config.model_fields[group].discriminator
        values = [f"{key} {value}" for key, value in settings.items() if key != kind and value is not None]
        table.add_row(f"[bold]{group}", ("[cyan]" + settings[kind] + "[/]: " if kind else "") + ", ".join(values))
    return table


def report(console: Console, tracked: tracking.TrackedRun, result: Result) -> None:
    """The end of the run in the terminal: how it went, where it is, how to look at it."""
    if result.reason:
        console.print(f"[bold red]{result.status}[/]: {escape(result.reason)}", highlight=False, soft_wrap=True)
    if result.status == "KILLED":
        console.print(f"go on: {resume.command(result.run_id)}", highlight=False, soft_wrap=True)
    if tracked.contradicted is not None:
        console.print(f"[bold yellow]{CONTRADICTED}[/]".format(tracked.contradicted), soft_wrap=True)
    figures = "   ".join(f"{key} {result.metrics[key]:.4g}" for key in METRICS if key in result.metrics)
    console.print(figures, highlight=False, soft_wrap=True)
    if mse := result.metrics.get("evaluation.mse"):
        metrics = {key.removeprefix("evaluation."): value for key, value in result.metrics.items()}
        words = f"never trained on: mean squared error {mse:.3g}; {baselines_in_words(metrics)}"
        console.print(words, highlight=False, soft_wrap=True)
    console.print(f"run {escape(tracked.name)} ({result.run_id})", highlight=False, soft_wrap=True)
    look = "" if store.tracking_uri().startswith("http") else "`make ui`, then "
    console.print(f"look at it: {look}{tracked.url()}", highlight=False, soft_wrap=True)
