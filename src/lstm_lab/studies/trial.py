"""One trial of a study, run as a job: it trains, and tells the study what came of it."""

import functools
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import Trial, TrialState
from rich.console import Console

from lstm_lab.config import Config
from lstm_lab.records import store, tracking
from lstm_lab.runs import run, telling
from lstm_lab.runs.setup import Part
from lstm_lab.runs.watching import Pruned
from lstm_lab.studies import study
from lstm_lab.studies.page import short

if TYPE_CHECKING:
    from lstm_lab.science.training import Progress


def run_trial(checked: Config, settings: Mapping[str, Any], number: int, folder: Path) -> None:
    """One trial, in whatever process the launcher started for it: trains, tells the study what came of it."""
    storage, opened = open_for_trial(settings["study_name"], **settings["storage"])
    trial = study.running_trial(opened, number)
    opened.pruner = study.make_pruner(settings["pruner"], checked.training.steps)
    part = Part(
        name=f"trial {number}: {short(trial.params)}",
        tags={
            "mlflow.parentRunId": opened.user_attrs["parent_run"],
            "study": settings["study_name"],
            "trial": str(number),
            "mlflow.runColor": tracking.color(number * 0.618033988749895 % 1),  # neighbours far apart
        },
        watch=lambda _: PruneWatch(trial, settings["prune_every"], checked.training.steps),
        keep=lambda metrics: study.is_better(opened, metrics[settings["objective"]]),
        evaluated=str(settings["objective"]).startswith("evaluation."),
        folder=folder,
    )
    try:
        with study.heartbeat(storage, trial):
            result = run.run(checked, Console(quiet=True), part=part)
    except Exception as error:
        fail(opened, trial, f"{type(error).__name__}: {store.first_line(error)}")
        return
    if result.status == "KILLED":  # by Ctrl-C or SIGTERM: its parameters are tried again when the sweep goes on
        opened.tell(trial, state=TrialState.FAIL)
        study.try_again(opened, opened.get_trials(deepcopy=False)[number])
        raise KeyboardInterrupt
    if result.status == "PRUNED":
        opened.tell(trial, state=TrialState.PRUNED)
    elif result.status == "FAILED":
        fail(opened, trial, result.reason)
    else:
        opened.tell(trial, result.metrics[settings["objective"]])


def fail(opened: optuna.Study, trial: Trial, reason: str) -> None:
    """Ends a trial as FAIL; the reason tells it from one whose worker was killed."""
    trial.set_user_attr("reason", reason)
    opened.tell(trial, state=TrialState.FAIL)


@functools.lru_cache(maxsize=1)
def open_for_trial(name: str, **storage_settings: Any) -> tuple[optuna.storages.RDBStorage, optuna.Study]:
    """The study as its trials see it; opened once per process."""
    storage = study.open_storage(**storage_settings)
    return storage, optuna.load_study(study_name=name, storage=storage)


class PruneWatch:
    """Reports the mean cost of 20 steps to the study every so many steps, and ends the run if the pruner says so."""

    def __init__(self, trial: Trial, every: int, steps: int) -> None:
        self.trial, self.every, self.next, self.steps = trial, every, every, steps
        self.costs: list[float] = []

    def __call__(self, progress: "Progress") -> None:
        self.costs += progress.costs.tolist()
        while self.next <= progress.step and self.next < self.steps:  # a last look would have nothing left to prune
            mean = statistics.fmean(self.costs[max(0, self.next - telling.LAST) : self.next])
            self.trial.report(mean, self.next)
            if self.trial.should_prune():
                raise Pruned(f"pruned at step {self.next:,}: mean cost {mean:.3g}")
            self.next += self.every
