"""Evaluation, figures and model of a trial, made when its study stands still: of the best trial alone, not of each."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from lstm_lab import runtime
from lstm_lab.config import Config
from lstm_lab.datasets import Task
from lstm_lab.records import lookup, reading, tagging, tracking
from lstm_lab.runs import backtesting, datafile, keeping, setup, watching
from lstm_lab.runs.keeping import LAST_STEP, Fit
from lstm_lab.runs.setup import Setup
from lstm_lab.runs.telling import tell
from lstm_lab.runs.watching import Result

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from lstm_lab.science.judging import Judge

COMPLETED = "completed"  # the tag of a trial that has it all


def complete(client: "MlflowClient", run: "Run") -> None:
    """Gives a finished trial what its config left to the best one: evaluation, figures, model, from what it kept.

    StoreError if the store does not have that as it was written, ConfigError if the trial's file is not there. One that
    has everything stays as it is, and so does one of an older version, which drew them at once.
    """
    config = lookup.config_of(client, run)
    left = None if COMPLETED in run.data.tags else arrays_left(client, run, config)
    if left is None:
        return
    made_of = made_again(client, run, config)
    fit, tracked = fit_of(client, run, made_of, left), tracking.TrackedRun.resume(client, config, run)
    metrics = dict(run.data.metrics)
    keep(made_of, tracked, fit, metrics)
    result = Result(tracked.run_id, run.info.status, run.data.tags.get("reason", ""), metrics, fit.costs, ())
    new = {key: value for key, value in metrics.items() if key not in run.data.metrics}
    tracked.log_summary(fit.last.step, new, {COMPLETED: "true"}, tell(config, result))
    tracked.close()


def arrays_left(client: "MlflowClient", run: "Run", config: Config) -> dict[str, np.ndarray] | None:
    """What `keeping.write_last_step` wrote, by name; None if nothing was written, or nothing is wanted of it."""
    rows, steps, (_, size) = config.data.batch_size, config.data.time_steps, config.data.sizes
    shapes = [(rows, steps, size), *[(rows, config.model.cell_size)] * (2 if config.model.cell == "lstm" else 1)]
    most = lookup.bytes_of(shapes) + 16 * config.training.steps + lookup.ROOM
    content = lookup.artifact(client, run, LAST_STEP, most)
    if content is None or (config.tracking.figures and config.tracking.model):
        return None
    with lookup.told(run, LAST_STEP):
        arrays = reading.arrays_of(content)
        reading.check_all_floats([arrays[key] for key in arrays if key not in ("steps", "errors")], shapes, "arrays")
        return arrays


def made_again(client: "MlflowClient", run: "Run", config: Config) -> Setup:
    """What the trial was made of, with the weights that were kept of it. Starts TensorFlow, if nothing has yet."""
    config = datafile.found(config, tagging.tags_of(run), f"run={run.info.run_id}", None)
    weights = lookup.weights_of(client, run, config)
    if weights is None:
        raise lookup.StoreError(f"run {run.info.run_id} has no final weights")
    runtime.start_tensorflow(*(runtime.started or [(config.training.level, config.training.threads)])[0])
    made_of = setup.set_up(config, setup.make_source(config), Console(quiet=True), None)
    made_of.program.model.set_weights(weights)
    return made_of


def fit_of(client: "MlflowClient", run: "Run", made_of: Setup, left: dict[str, np.ndarray]) -> Fit:
    """What the trial's figures show."""
    from lstm_lab.science.training import Progress

    config, source = made_of.config, made_of.source
    costs = lookup.costs_of(client, run, config.training.steps)
    if costs is None:
        raise lookup.StoreError(f"run {run.info.run_id} has no cost.npy")
    rows, size = source.chunk(len(costs) - 1, 1), source.batch_size
    weights = None if rows.weights is None else rows.weights[:size]
    state = [left[key] for key in left if key.startswith("state")]
    last = Progress(len(costs), costs[-1:], rows.x[:size], rows.targets[:size], left["prediction"], state, weights)
    return Fit(costs, last, judge=judge_of(made_of, left))


def judge_of(made_of: Setup, left: dict[str, np.ndarray]) -> "Judge | None":
    """What validated the trial, at the end of it; None if nothing did."""
    judge = watching.validating(made_of, None) if "steps" in left else None
    if judge:
        best = made_of.program.model.get_weights() if judge.keep_best and np.isfinite(left["errors"]).any() else []
        judge.restore(left["steps"].tolist(), left["errors"].tolist(), best)
    return judge


def keep(made_of: Setup, tracked: tracking.TrackedRun, fit: Fit, metrics: dict[str, float]) -> None:
    """Logs evaluation, figures and model, as far as the trial does not have them; adds to its metrics."""
    config, evaluated = made_of.config, None
    if config.evaluation.windows and not isinstance(config.data, Task):
        evaluated = keeping.evaluate(made_of, fit.last, metrics)
    with tempfile.TemporaryDirectory() as folder:
        if evaluated and evaluated[1]:
            backtesting.write(Path(folder), evaluated[1], config)
        if not config.tracking.figures:
            keeping.draw_figures(Path(folder, "figures"), made_of, fit, evaluated)
        tracked.log_files(Path(folder))
    has_model = tracked.run.outputs and tracked.run.outputs.model_outputs  # from a process killed after it
    if not config.tracking.model and not has_model:
        tracked.log_model(keeping.model_in_units(made_of))
