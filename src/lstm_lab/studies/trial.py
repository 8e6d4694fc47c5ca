"""One trial of a study, run as a job: it trains, and tells the study what came of it."""

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.trial import Trial, TrialState
from rich.console import Console

from lstm_lab import composing, config
from lstm_lab.config import CannotRunError, Config
from lstm_lab.datasets import Csv
from lstm_lab.paths import ROOT, locate
from lstm_lab.records import store, tracking
from lstm_lab.runs import group, metrics, naming, run, seeds, setup
from lstm_lab.runs.setup import Part, Setup
from lstm_lab.runs.watching import Pruned, Result
from lstm_lab.studies import database, search, study

if TYPE_CHECKING:
    from lstm_lab.runs.observers import Observer
    from lstm_lab.science.statistics import Estimate
    from lstm_lab.science.training import Progress


def run_job(composed: DictConfig, job: Any) -> Exception | None:
    """One trial, in whatever process the launcher started for it; `job` is Hydra's own part of the config.

    Returns what the study could not be told. Only Ctrl-C is raised: Hydra prints a line of its own about the rest.
    """
    try:
        settings: Any = OmegaConf.to_container(job.sweeper, resolve=True)
        opened = open_for_trial(settings["study_name"], **settings["storage"])
        run_trial(opened, study.running_trial(opened, job.job.num), composed, Path(job.runtime.output_dir))
    except Exception as error:
        return error
    return None


@functools.lru_cache(maxsize=1)
def open_for_trial(name: str, **storage_settings: Any) -> optuna.Study:
    """The study as its trials see it; opened once per process."""
    return optuna.load_study(study_name=name, storage=database.open_storage(**storage_settings))


def run_trial(opened: optuna.Study, trial: Trial, composed: DictConfig, folder: Path) -> None:
    """Trains as composed and tells the study; what the trial itself is at fault for is the reason that it failed."""
    try:
        values: Any = OmegaConf.to_container(composed, resolve=True)
        command = {key: values.pop(key) for key in config.COMMAND}
        checked = config.check(locate(values))
        check_file(opened, checked)
        part = part_of(opened, trial, checked, folder)
        if command["seeds"] is None:
            result: Result | group.Outcome = run.run(checked, Console(quiet=True), part=part)
        else:
            result = train_group(trial, part, asked_of(checked, command))
    except (*database.DATABASE_FAULTS, study.FileChangedError):
        raise
    except Exception as error:
        if store.is_fault(error):
            study.fail(opened, trial, fault=fault_in_words(error))
        else:
            study.fail(opened, trial, reason=reason_of(error))
        return
    tell(opened, trial, result)


def asked_of(checked: Config, command: Mapping[str, Any]) -> group.Asked:
    """The trial's config with every seed that the command asks for."""
    wanted = seeds.wanted(checked.training.seed, command["seeds"])
    return group.Asked(checked, wanted, again=command["again"] is True)


def train_group(trial: Trial, part: Part, asked: group.Asked) -> group.Outcome:
    """Trains the trial with each seed; between two it is pruned by the median over those that are over."""
    declared = trial.study.user_attrs["declared"]
    objective, steps = declared["objective"], asked.config.training.steps

    def watch(over: int, medians: "Mapping[str, Estimate]") -> None:
        if 1 < over < len(asked.seeds) and objective in medians:  # one seed says nothing of the others
            report(trial, over * steps, medians[objective].median, f"{objective} over {over} seeds")

    return group.train(asked, Console(quiet=True), trial=group.AsTrial(part, objective, watch))


def check_file(opened: optuna.Study, checked: Config) -> None:
    """Raises FileChangedError if the trial's file was changed, or went away, since the study was declared."""
    path = checked.data.path if isinstance(checked.data, Csv) else ""
    known = opened.user_attrs["identity"].get(f"SHA-256 of {path}")
    is_gone = not (ROOT / path).exists()
    if is_gone or (known and known != setup.make_source(checked).file_sha256):
        raise study.FileChangedError(
            f"data.path={path}: was {'removed' if is_gone else 'changed'} while the study is under way; results would "
            "be mixed. Once the file is as it was, the same command goes on; for another file, give another "
            "hydra.sweeper.study_name"
        )


def part_of(opened: optuna.Study, trial: Trial, checked: Config, folder: Path) -> Part:
    """What the trial's run is part of, by what the study has declared; the job's own settings may say otherwise."""
    declared = opened.user_attrs["declared"]
    steps = checked.training.steps * (declared["seeds"] or 1)
    opened.pruner = search.make_pruner(declared["pruner"], declared["steps"])
    if steps != declared["steps"]:
        trial.set_user_attr("steps", steps)
    data = data_of(checked) if declared["on_different_data"] else ""
    if data:
        trial.set_user_attr("data", data)
    return Part(
        name=f"{trial.number}: {naming.short(trial.params)}",
        tags={
            "mlflow.parentRunId": opened.user_attrs["parent_run"],
            "study": opened.study_name,
            "trial": str(trial.number),
            "mlflow.runColor": tracking.color(trial.number * 0.618033988749895 % 1),  # neighbours far apart
        },
        watch=lambda made_of: watch_of(trial, declared, made_of),
        of_study=True,
        evaluated=declared["objective"].startswith(("evaluation/", "baselines/")),
        folder=folder,
        finished={"trial.state": TrialState.COMPLETE.name},  # the page would have to write it, run by run
    )


def data_of(checked: Config) -> str:
    """The data set that a run of this config is trained on."""
    return metrics.data_set(config.as_params(checked), setup.make_source(checked).file_sha256)


def tell(opened: optuna.Study, trial: Trial, result: Result | group.Outcome) -> None:
    """Tells the study how the trial's run ended, or the group of its runs."""
    objective = opened.user_attrs["declared"]["objective"]
    value = result.metrics.get(objective, math.nan)
    if result.status == "KILLED":  # by Ctrl-C or SIGTERM: its parameters are tried again when the sweep goes on
        study.fail(opened, trial, stopped=result.reason)
        raise KeyboardInterrupt
    if result.status == "PRUNED":
        ended = study.end(opened, trial, TrialState.PRUNED)
    elif result.status == "FAILED" or not math.isfinite(value):
        ended = study.fail(opened, trial, reason=result.reason or f"the run has no {objective}")
    else:
        ended = study.end(opened, trial, TrialState.COMPLETE, value)
    if study.was_killed(ended):  # another worker took this one for dead, and tries the parameters again
        store.open_store().set_terminated(result.run_id, "KILLED")


def reason_of(error: Exception) -> str:
    """Why a trial failed, in a line."""
    if isinstance(error, HydraException | OmegaConfBaseException):
        return composing.explain_composition(str(error), getattr(error, "options", None))
    if isinstance(error, CannotRunError):
        return "; ".join(str(error).splitlines())
    return f"{type(error).__name__}: {store.first_line(error)}"


def fault_in_words(error: Exception) -> str:
    """What the store or the study's database has to complain about, and the way on, in a line."""
    if isinstance(error, database.DATABASE_FAULTS):
        return database.fault_in_words(error)
    return f"the store failed: {store.first_line(error).split(' with exception ')[0]}{store.way_on(error)}"


def watch_of(trial: Trial, declared: Mapping[str, Any], made_of: Setup) -> "Observer":
    """What reports the trial while it trains: by its validation error if the study goes by that, else by its cost."""
    watch = ValidationWatch if declared["objective"] == metrics.VALIDATION else CostWatch
    return watch(trial, declared["prune_every"], made_of)


def report(trial: Trial, step: int, value: float, what: str) -> None:
    """Reports a value to the study, and ends the run if the pruner says so."""
    try:
        trial.report(value, step)
    except optuna.exceptions.UpdateFinishedTrialError:
        raise Pruned("another worker took this one for dead and tries its parameters again") from None
    if trial.should_prune():
        raise Pruned(f"pruned at step {step:,}: {what} {value:.3g}")


class CostWatch:
    """Reports the mean of the last costs to the study every so many steps."""

    def __init__(self, trial: Trial, every: int, made_of: Setup) -> None:
        self.trial, self.every, self.next, self.epoch = trial, every, every, made_of.source.epoch
        self.steps = made_of.config.training.steps
        self.costs = np.zeros(0, np.float32)

    def __call__(self, progress: "Progress") -> None:
        self.costs = np.append(self.costs, progress.costs)
        while self.next <= progress.step and self.next < self.steps:  # a last look would have nothing left to prune
            mean = metrics.mean_of_last(self.costs[: self.next], self.epoch)
            report(self.trial, self.next, mean, "mean cost")
            self.next += self.every


class ValidationWatch:
    """Reports the validation error to the study about every so many steps: where the run is validated anyway."""

    def __init__(self, trial: Trial, every: int, made_of: Setup) -> None:
        self.trial, self.every, self.next, self.steps = trial, every, every, made_of.config.training.steps

    def __call__(self, progress: "Progress") -> None:
        if progress.validation is not None and self.next <= progress.step < self.steps:
            report(self.trial, progress.step, progress.validation, "validation error")
            self.next = (progress.step // self.every + 1) * self.every
