"""A sweep: a study's trials run as jobs, seen in MLflow as one parent run with a child for each trial."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
import rich.progress
from optuna.trial import FrozenTrial, Trial
from rich.console import Console

from lstm_lab.commandline import say
from lstm_lab.records import store
from lstm_lab.runs import run
from lstm_lab.studies import study
from lstm_lab.studies.overrides import words_of
from lstm_lab.studies.page import ParentPage, short, summary


@dataclass(frozen=True)
class Sweep:
    """A study that this worker works on, its page in MLflow, and where the worker says how it goes."""

    declared: study.Declared
    storage: optuna.storages.RDBStorage
    opened: optuna.Study
    page: ParentPage
    console: Console


@study.database_faults_told()
def run_sweep(
    settings: Mapping[str, Any],
    declared: study.Declared,
    experiment: str,
    fixed: Sequence[str],
    launch: Callable[[list[str], int], Any],
    command: Callable[[dict[str, Any]], str],
) -> None:
    """Works on the study until its declared total is reached, alone or beside other workers.

    `fixed` are the overrides that every trial shares, `launch(overrides, number)` runs one trial as a job, and
    `command(params)` is the command that trains with those parameters.
    """
    store.check_store()
    sweep = begin(settings["storage"], declared, experiment)
    with ended_however(sweep), trials_bar(sweep.console, declared.total) as bar:
        for trial in trials(sweep, bar):
            launch([*fixed, *words_of(trial.params)], trial.number)
            after_trial(sweep, trial.number)
            stop_after_failures(sweep.opened, settings["max_failures"])
    report(sweep, command)


def begin(storage_settings: Mapping[str, Any], declared: study.Declared, experiment: str) -> Sweep:
    """Opens the study and its page, and says how they stand."""
    console, storage = Console(), study.open_storage(**storage_settings)
    with study.study_lock(storage):
        opened = study.open_study(storage, declared)
        client = store.open_store()
        page = ParentPage(client, opened, declared, experiment)
        page.begin()  # the page, too, is written by one worker at a time
    run.announce_interrupted(client, console)
    say(console, f"study {declared.name}: {summary(study.counts(opened))} of {declared.total}")
    return Sweep(declared, storage, opened, page, console)


@contextlib.contextmanager
def ended_however(sweep: Sweep) -> Iterator[None]:
    """Leaves the study's page complete: when the declared total is reached, or when something stops this worker."""
    try:
        yield
    except (KeyboardInterrupt, study.StudyError) as stopped:
        with study.study_lock(sweep.storage):
            sweep.page.end("FAILED" if isinstance(stopped, study.StudyError) else "KILLED")
        raise
    with study.study_lock(sweep.storage):
        if not sweep.page.is_finished():
            sweep.page.end("FINISHED")


def trials(sweep: Sweep, bar: Callable[[int], None]) -> Iterator[Trial]:
    """The trials that this worker takes, one after the other, until the declared total is reached."""
    while study.is_open(sweep.opened, sweep.declared):
        bar(study.ended(study.counts(sweep.opened)))
        if trial := study.take_trial(sweep.opened, sweep.storage, sweep.declared):
            yield trial
        else:
            time.sleep(1)  # another worker is at the last trials, and might die over one


def after_trial(sweep: Sweep, number: int) -> None:
    """Says what became of the trial, and brings the study's page up to date."""
    trial = sweep.opened.get_trials(deepcopy=False)[number]
    say(sweep.console, trial_line(sweep.opened, trial))
    with study.study_lock(sweep.storage):
        sweep.page.refresh()


def stop_after_failures(opened: optuna.Study, most: int) -> None:
    """Raises StudyError when so many trials in a row have failed that the next ones likely will."""
    row = study.failures_in_a_row(opened)
    if len(row) >= most:
        raise study.StudyError(
            f"study {opened.study_name}: the last {len(row)} trials failed, the newest for this reason: "
            f"{row[0].user_attrs['reason']}. Mend the search space, or raise hydra.sweeper.max_failures"
        )


def trial_line(opened: optuna.Study, trial: FrozenTrial) -> str:
    """One line for one finished trial: number, parameters, value, state, the best so far."""
    state = "KILLED" if study.was_killed(trial) else trial.state.name
    value = f"{trial.value:.4g}" if trial.value is not None else trial.user_attrs.get("reason", "")
    best = study.best_trial(opened)
    so_far = f"best {best.value:.4g} (trial {best.number})" if best else ""
    return f"trial {trial.number:>3}  {short(trial.params)}  {state} {value}  {so_far}"


@contextlib.contextmanager
def trials_bar(console: Console, total: int) -> Iterator[Callable[[int], None]]:
    """A bar with the finished trials, the total and the time left; nothing when the output is no terminal."""
    columns = (
        rich.progress.TextColumn("trials"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)

        yield lambda ended: bar.update(task, completed=ended)


def report(sweep: Sweep, command: Callable[[dict[str, Any]], str]) -> None:
    """The end of the sweep in the terminal: counts, the best, the command that trains it again, where to look."""
    declared, page = sweep.declared, sweep.page
    lines = [f"study {declared.name} is done: {summary(study.counts(sweep.opened))}"]
    if best := study.best_trial(sweep.opened):
        lines.append(f"best: trial {best.number}, {declared.objective} {best.value:.6g} at {short(best.params)}")
        lines.append(f"train it again: {command(best.params)}")
    lines.append(f"the study: {store.address(f'#/experiments/{page.experiment_id}/runs/{page.run_id}')}")
    lines.append(f"its trials' curves: {store.address(page.comparison())}")
    for line in lines:
        say(sweep.console, line)
