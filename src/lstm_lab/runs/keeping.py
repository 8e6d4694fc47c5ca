"""What is kept of a run: what is known before its first step, and when its training is over everything else."""

import contextlib
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lstm_lab.commandline import complain
from lstm_lab.config import Config
from lstm_lab.datasets import Csv, Task
from lstm_lab.paths import ROOT, whole_file
from lstm_lab.records import lookup, provenance, store, tagging
from lstm_lab.records.tracking import config_text
from lstm_lab.runs import backtesting, datafile, recipe
from lstm_lab.runs import metrics as names
from lstm_lab.runs.metrics import BEST_STEP, VALIDATION, summarize
from lstm_lab.runs.setup import Part, Setup, arrays_digest
from lstm_lab.runs.telling import CONTRADICTED, baselines_in_words, tell
from lstm_lab.runs.watching import Result, Trained
from lstm_lab.values import listed

if TYPE_CHECKING:  # these import TensorFlow or MLflow, and a refused config must not wait for them
    import keras
    from matplotlib.figure import Figure

    from lstm_lab.records.checkpoint import Checkpoint
    from lstm_lab.records.tracking import TrackedRun
    from lstm_lab.runs.observers import Frames
    from lstm_lab.science.criteria import Criteria
    from lstm_lab.science.curves import Source
    from lstm_lab.science.evaluation import Evaluation
    from lstm_lab.science.judging import Judge
    from lstm_lab.science.training import Progress
    from lstm_lab.science.verification import Verification
    from lstm_lab.tables.samples import Samples
    from lstm_lab.tables.times import Times

    Evaluated = tuple[Evaluation, Verification | None]


LAST_STEP = "last_step.npz"  # of a trial: what its figures show beside what every run leaves


@dataclass(frozen=True)
class Fit:
    """What the figures show: the cost of every step, the last step's progress, what the fit was on the way, the judge
    of a run that was validated."""

    costs: np.ndarray
    last: "Progress"
    frames: "Frames | None" = None
    judge: "Judge | None" = None


@contextlib.contextmanager
def output_folder(part: Part | None) -> Iterator[Path]:
    """Where artifacts are written before they are logged; a trial's own folder gets a copy.

    Only that: another trial's files may be there, of a study that is no more, or where `hydra.sweep` names one for all.
    """
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
        if part and part.folder:
            shutil.copytree(folder, part.folder, dirs_exist_ok=True)


def log_beginning(setup: Setup, tracked: "TrackedRun", folder: Path, saved: "Checkpoint | None") -> None:
    """Logs what is known before the first step: config, data, and what makes the run; a resumed one has a second."""
    settings = setup.config.training
    (folder / "config.yaml").write_text(config_text(setup.config))
    made = provenance.current(seed=settings.seed, level=settings.level, threads=settings.threads)
    begun = tracked.resumed and lookup.provenance_of(tracked.client, tracked.run_id)
    made.write(folder / "provenance" / (f"resumed-at-step-{saved.step if saved else 0}" if begun else ""))
    before = tagging.tags_of(tracked.run).get("code.sha256", recipe.SEVERAL)
    digests = setup.digests(settings.steps) | recipe.tags(setup.config, setup.source.file_sha256, before)
    tracked.log_meanwhile(tracked.log_inputs, digests)
    tracked.log_meanwhile(tracked.log_files, folder)


def keep(setup: Setup, tracked: "TrackedRun", folder: Path, trained: Trained) -> Result:
    """Logs everything that is kept of a run when its training is over."""
    wanted, record, part = setup.config.tracking, trained.watchers.record, setup.part
    metrics = summarize(record.costs, setup.source.epoch, record.steps_per_second)
    weights = setup.program.model.get_weights()
    result = Result(tracked.run_id, trained.status, trained.reason, metrics, record.costs, weights)
    over = trained.status in ("FINISHED", "KILLED")
    if trained.judge:
        metrics |= judged(trained.judge, len(record.costs))
    data = setup.config.data
    goes_on = not isinstance(data, Task)
    if isinstance(data, Task) and over and is_evaluated(setup):
        metrics |= tested(setup, data)
    fit = fit_of(trained)
    evaluated = evaluate(setup, fit.last, metrics) if over and goes_on and is_evaluated(setup) else None
    tags = tags_of(result, tracked) | (part.finished if part and result.status == "FINISHED" else {})
    tracked.log_summary(len(result.costs), metrics, tags, tell(setup.config, result))
    write_end(folder, result, trained.checkpoint)
    if units := setup.source.unit_table():
        np.savez(folder / "units.npz", **units)  # type: ignore[arg-type]
    if evaluated and evaluated[1]:
        backtesting.write(folder, evaluated[1], setup.config)
    if wanted.figures:
        draw_figures(folder / "figures", setup, fit, evaluated)
    if part and part.of_study:
        write_last_step(folder / LAST_STEP, fit)
    tracked.log_files(folder)
    if wanted.model and np.isfinite(result.costs[-1]):
        tracked.log_model(model_in_units(setup))
    return result


def tags_of(result: Result, tracked: "TrackedRun") -> dict[str, str]:
    """What tells this run's bits from others', and what went wrong."""
    tags = {"cost.sha256": arrays_digest([result.costs]), "final_weights.sha256": arrays_digest(result.weights)}
    if result.reason:
        tags["reason"] = result.reason
    if tracked.contradicted is not None:
        tags["contradicted"] = CONTRADICTED.format(tracked.contradicted)
    return tags


def write_end(folder: Path, result: Result, checkpoint: Path | None) -> None:
    """Writes the cost of every step, the final weights and, if there is one, the last checkpoint."""
    np.save(folder / "cost.npy", result.costs)
    np.savez(folder / "final_weights.npz", *result.weights)
    if checkpoint:
        (folder / "checkpoint").mkdir()
        shutil.copyfile(checkpoint, folder / "checkpoint/checkpoint.npz")


def fit_of(trained: Trained) -> Fit:
    """What the figures of a run show that was trained here."""
    from lstm_lab.science.judging import Judge

    watchers, judge = trained.watchers, trained.judge
    assert watchers.record.last is not None
    judge = judge if isinstance(judge, Judge) else None
    return Fit(watchers.record.costs, watchers.record.last, watchers.frames, judge)


def write_last_step(path: Path, fit: Fit) -> None:
    """Writes the prediction of the last step, the state after it, and the validation errors at their steps."""
    state = {f"state_{k}": np.asarray(tensor) for k, tensor in enumerate(fit.last.state)}
    judged = {"steps": np.array(fit.judge.steps), "errors": np.array(fit.judge.errors)} if fit.judge else {}
    np.savez(path, prediction=fit.last.prediction, **state, **judged)  # type: ignore[arg-type]


def is_evaluated(setup: Setup) -> bool:
    """Whether to evaluate the run in any case; a trial of which nothing is kept only if config or study asks for it."""
    wanted, asked, part = setup.config.tracking, setup.config.evaluation, setup.part
    kept = not (part and part.of_study) or wanted.figures or wanted.model
    return bool(asked.windows) and (kept or asked.trials or bool(part and part.evaluated))


def judged(judge: "Judge | Criteria", step: int) -> dict[str, float]:
    """What a run's judge has to say of it after so many steps."""
    from lstm_lab.science.criteria import Criteria

    if isinstance(judge, Criteria):
        return {f"{names.SOLVED}{name}": float(judge.task.shown(met)) for name, met in judge.met.items()}
    return validated(judge, step)


def tested(setup: Setup, data: Task) -> dict[str, float]:
    """How many of the task's new sequences are wrong, and their mean error, if it has one."""
    from lstm_lab.science import criteria, tasks

    assert isinstance(setup.source, tasks.Task)
    wrong, errors = criteria.count_wrong(setup.program.model, setup.source, data.tested, data.within)
    return {names.WRONG: float(wrong)} | ({} if data.within is None else {names.MEAN_ERROR: float(errors.mean())})


def validated(judge: "Judge", step: int) -> dict[str, float]:
    """The validation error of the weights that are kept after so many steps, and when it was lowest.

    Where a cost is no longer finite it is no number, too: an earlier one must not rank the run.
    """
    error = judge.error_at(step)
    error = judge.error() if error is None else error
    best = {} if judge.best_step is None else {BEST_STEP: float(judge.best_step)}
    return {VALIDATION: error if math.isfinite(error) else math.nan, **best}


def evaluate(setup: Setup, last: "Progress", metrics: dict[str, float]) -> "Evaluated":
    """Lets the curve go on where training stopped, with the state of the last row if it stands exactly there.

    Adds to `metrics` what comes of it, and of a backtest.
    """
    from lstm_lab.science import evaluation

    config, source = setup.config, setup.source
    state = [np.asarray(tensor)[-1:] for tensor in last.state]
    evaluated = evaluation.evaluate(
        setup.program.model,
        source.unseen(last.step, config.evaluation.windows),
        state if source.carries_into_unseen else None,
        time_steps=config.data.time_steps,
        carry_state=config.training.carry_state,
        seasons=backtesting.seasons_of(config, source),
    )
    found = dict(evaluated.metrics)
    if isinstance(config.data, Csv) and (each := names.of_each_target(config.data.targets)):
        found |= zip(each, np.sqrt(evaluated.target_mses).tolist(), strict=True)
    metrics |= {names.evaluated(key): value for key, value in found.items() if math.isfinite(value)}
    return evaluated, backtesting.verify(setup, metrics)


def model_in_units(setup: Setup) -> "keras.Model":
    """The model as it is kept: for inputs and predictions that are not normalised."""
    from lstm_lab.science.model import with_units

    model, units = setup.program.model, setup.source.units
    return with_units(model, *units) if units else model


def draw(picture: Path, name: str, save: "Callable[[Path], None]") -> bool:
    """Has a picture saved, which is there once it is whole; else says why, and of what `name`, and ends nothing."""
    try:
        with whole_file(picture) as whole:
            save(whole)
    except Exception as error:  # whatever matplotlib, its fonts and settings, or the disk raise
        complain(f"{name}: is not drawn ({store.first_line(error)})")
        return False
    return True


def times_in(path: Path, samples: "Samples", columns: Sequence[str | None]) -> "Times | None":
    """The times of the samples from the file at `path`: its time stamps or, where it is known by no setting that it has
    some, another of its columns than these that is plainly one."""
    from lstm_lab.tables import times

    if samples.times is not None:
        return times.times_of(samples.time_name, samples.times, samples.sampling)
    if len(samples.series) > 1:
        return None
    with contextlib.suppress(Exception):  # the file is gone by now
        if datafile.sha256_of(str(path)) == samples.sha256:
            return times.find_times(path, columns, ROOT / "mlruns")
    return None


def draw_figures(folder: Path, setup: Setup, fit: Fit, evaluated: "Evaluated | None") -> None:
    """Draws cost curve, fitted curve and, if there is what they show, the animation of the fit and the curve's end."""
    from lstm_lab.runs import animation, figures
    from lstm_lab.runs.observers import in_units, shown_curve
    from lstm_lab.science.series import SeriesBatches

    config, epoch, data = setup.config, setup.source.epoch, setup.config.data
    costs, last, frames = fit.costs, fit.last, fit.frames
    times = None
    if isinstance(data, Csv) and isinstance(setup.source, SeriesBatches):
        times = times_in(ROOT / data.path, setup.source.samples, [*listed(data.input), *listed(data.target)])
    labels = figures.labels_of(config, times)
    title = f"{config.model.cell}, cell size {config.model.cell_size}: cost {costs[-1]:.3g} after {last.step:,} steps"
    folder.mkdir(exist_ok=True)

    def png(name: str, figure: "Callable[[], Figure]") -> None:
        draw(folder / name, name, lambda whole: figure().savefig(whole, format="png", dpi=120))

    png("cost_curve.png", lambda: figures.cost_figure(costs, title, epoch, config.training.cost, fit.judge))
    shown = shown_curve(in_units(last, setup.source.units))
    of_fit = figures.labels_of_fit(config, times)
    png("fitted_curve.png", lambda: figures.fit_figure(shown, of_fit, note=windows_in_words(config), title=title))
    if frames:
        draw(folder / "fit.gif", "fit.gif", lambda whole: animation.fit_animation(whole, frames, costs, of_fit, epoch))
    if evaluated:
        curve, verified = evaluated
        note, unseen = baselines_in_words(curve.metrics), unseen_in_words(setup.source, curve)
        png("continued_curve.png", lambda: figures.continued_figure(curve, labels, note=note, title=unseen))
        if verified:
            png("backtest.png", lambda: figures.backtest_figure(verified))


def unseen_in_words(source: "Source", curve: "Evaluation") -> str:
    """How far off the model is on what it never saw; of many series, which one is shown."""
    from lstm_lab.runs.lettering import cut
    from lstm_lab.science.series import SeriesBatches

    said = f"never trained on: mean squared error {curve.metrics['mse']:.3g}"
    if not isinstance(source, SeriesBatches) or len(source.samples.series) == 1:
        return said
    return f"{cut(source.samples.series[curve.series].name)}, {said} over {len(source.samples.series):,} series"


def windows_in_words(config: Config) -> str:
    """What the windows of a fitted curve are."""
    if isinstance(config.data, Csv):
        return f"windows of {config.data.time_steps} samples from all over the series, side by side"
    if isinstance(config.data, Task):
        return f"{config.data.name}: the last batch"
    carried = "carried from one to the next" if config.training.carry_state else "reset before each"
    return f"windows of {config.data.time_steps} time steps, the state {carried}"
