"""What a run is made of: its config, where its batches come from, the program that trains, the initial weights."""

import contextlib
import functools
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from lstm_lab import runtime
from lstm_lab.config import Config, ConfigError, Model, check
from lstm_lab.datasets import Csv, Task
from lstm_lab.paths import ROOT
from lstm_lab.records import reading, store

if TYPE_CHECKING:  # these import TensorFlow or MLflow, and a refused config must not wait for them
    import keras
    from mlflow import MlflowClient

    from lstm_lab.runs.observers import Observer
    from lstm_lab.science import tasks as science
    from lstm_lab.science.curves import Source
    from lstm_lab.science.training import Program

LACKS_COLUMN = re.compile(
    r"^(data\.input is missing): .*|^(data: needs data\.target=COLUMN, .* got target=None .*)", re.M
)


@dataclass(frozen=True)
class Part:
    """What a run is part of, a sweep, a group or a reproduction: its name and tags; and what else holds for it.

    `watch` makes an observer of it, `evaluated` tells whether it is evaluated in any case, files go to `folder`. Of a
    run that is `of_study` no more is evaluated, drawn or saved as model than its config wants; the study sees to its
    best one. One that is `resumable` saves checkpoints, as a run by itself does; a trial that is cut short is tried
    again. One that does all its steps gets the tags `finished`.
    """

    name: str
    tags: dict[str, str]
    watch: "Callable[[Setup], Observer] | None" = None
    of_study: bool = False
    evaluated: bool = False
    folder: Path | None = None
    resumable: bool = False
    finished: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Setup:
    """What a run is made of; `weights` are the initial ones, in Keras's order."""

    config: Config
    source: "Source"
    program: "Program"
    weights: Sequence[np.ndarray]
    console: Console
    part: Part | None

    def digests(self, steps: int) -> dict[str, str]:
        """SHA-256 of the data of `steps` steps, of the file they come from if there is one, of the initial weights."""
        found = {"data": self.source.digest(steps), "initial_weights": arrays_digest(self.weights)}
        if self.source.file_sha256:
            found["data.file"] = self.source.file_sha256
        return {f"{what}.sha256": digest for what, digest in found.items()}


def checked(values: dict[str, Any]) -> Config:
    """The plain values as a config; ConfigError names each fault, and where a column is missing those of the file."""
    try:
        return check(values)
    except ConfigError as error:
        said = str(error)
        if not LACKS_COLUMN.search(said):
            raise
    from lstm_lab.tables.table import column_names, listed

    path = ROOT / str(values["data"]["path"])
    if names := column_names(path):
        there = f"name a column of {reading.printable(path.name)}: {listed(names)}"
        said = LACKS_COLUMN.sub(lambda found: f"{found[1] or found[2]}: {there}", said)
    raise ConfigError(said)


def make_source(config: Config) -> "Source":
    """Where the run's batches come from; ConfigError if it is a file that does not serve."""
    data = config.data
    if isinstance(data, Csv):
        from lstm_lab.science.series import SeriesBatches

        return SeriesBatches(ROOT / data.path, data, ROOT / "mlruns")
    if isinstance(data, Task):
        return make_task(data)
    from lstm_lab.science.curves import Batches

    return Batches(**data.model_dump())


def make_task(data: Task) -> "science.Task":
    """The source of a task's sequences; how they are judged is none of its parameters."""
    from lstm_lab.science import tasks

    sources: dict[str, Any] = {"embedded_reber": tasks.EmbeddedReber, "continual_reber": tasks.ContinualReber}
    parameters = data.model_dump(exclude={"curve", "within", "tested", "criteria"})
    return sources.get(data.curve, functools.partial(tasks.Sequences, data.curve))(**parameters)


def check_display() -> None:
    """Raises ConfigError if training.live=true cannot open a window here."""
    from lstm_lab.runs.figures import missing_for_live

    if missing := missing_for_live():
        raise ConfigError(f"training.live=True: {missing}")


def start(config: Config, verbose: bool) -> "MlflowClient":
    """Opens the store, first, so that one at fault is known soonest; and starts TensorFlow as the config says."""
    client = store.open_store(verbose)
    runtime.start_tensorflow(config.training.level, config.training.threads, verbose)
    return client


def set_up(config: Config, source: "Source", console: Console, part: Part | None) -> Setup:
    """Builds what the run is made of. TensorFlow must have been started."""
    weights = initial_weights(config.model, config.data.sizes, config.training.seed)
    return Setup(config, source, program_for(config, source.stride), weights, console, part)


@functools.lru_cache(maxsize=100)
def initial_weights(model: Model, sizes: tuple[int, int], seed: int) -> "Sequence[np.ndarray]":
    """Those of such a model with so many inputs and outputs; drawn once, since a study's trials mostly share them."""
    return tuple(build(model, sizes, seed).get_weights())


def new_model(config: Config) -> "keras.Model":
    """The model of such a run, with its initial weights."""
    return build(config.model, config.data.sizes, config.training.seed)


def build(model: Model, sizes: tuple[int, int], seed: int) -> "keras.Model":
    """A model with so many inputs and outputs, with its initial weights."""
    from lstm_lab.science.model import build_model

    input_size, output_size = sizes
    return build_model(**model.model_dump(), input_size=input_size, output_size=output_size, seed=seed)


@functools.cache
def programs() -> "dict[object, Program]":
    """The programs compiled in this process."""
    return {}


def program_for(config: Config, stride: int = 1) -> "Program":
    """The compiled program for this config's shapes: the one of an earlier run in this process, if there was one.

    Learning rate, seed, initial weights and data are no shapes: runs that differ in them compile nothing.
    """
    from lstm_lab.science.training import ChunkOptions, Program, build_optimizer

    settings, optimizer = config.training, config.optimizer.model_copy(update={"learning_rate": 1.0})
    options = ChunkOptions(
        config.data.batch_size,
        settings.carry_state,
        jit_compile=settings.level == "fast",
        stride=stride,
        truncation_steps=settings.truncation_steps,
        truncation_every=settings.truncation_every,
        cost=settings.cost,
        row_errors=config.counts_recent,
    )
    model, data = config.model, config.data
    shape = (model.cell, model.cell_size, data.time_steps, *data.sizes, optimizer, options)
    if shape not in programs():
        programs()[shape] = Program(new_model(config), build_optimizer(**optimizer.model_dump()), options)
    return programs()[shape]


@contextlib.contextmanager
def memory_faults_told() -> Iterator[None]:
    """Makes a ConfigError of whatever Python or TensorFlow raises when memory is not enough."""
    try:
        yield
    except Exception as error:
        exhausted = type(error).__name__ == "ResourceExhaustedError" and not store.is_fault(error)  # of a full disk
        if isinstance(error, MemoryError) or exhausted:
            raise ConfigError(f"this run does not fit into memory ({store.first_line(error)})") from None
        raise


def arrays_digest(arrays: Sequence[np.ndarray]) -> str:
    """SHA-256 of the arrays' bytes, one after the other."""
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
