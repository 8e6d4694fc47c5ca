"""A sweep: a study's trials run as jobs, seen in MLflow as one parent run with a child for each trial."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import optuna
import rich.progress
from optuna.trial import FrozenTrial, Trial, TrialState
from rich.console import Console

from lstm_lab.commandline import say, typed
from lstm_lab.config import Config
from lstm_lab.records import store
from lstm_lab.records.faults import is_raised_in
from lstm_lab.runs import naming, notifying, run
from lstm_lab.studies import database, overrides, study
from lstm_lab.studies.page import ParentPage, summary
from lstm_lab.studies.trial import fault_in_words, reason_of

if TYPE_CHECKING:
    from mlflow.entities import Run

T = TypeVar("T")
PATIENCE = 600  # seconds that a worker waits for a store that is away
TRIES = 3  # of what fails although the stores answer


@dataclass(frozen=True)
class Sweep:
    """A study that this worker works on, its page in MLflow, and where the worker says how it goes."""

    declared: study.Declared
    storage: optuna.storages.RDBStorage
    opened: optuna.Study
    page: ParentPage
    console: Console
    shown: set[int]  # the numbers of the trials whose end was said, or was there before


@database.faults_told()
def run_sweep(
    settings: Mapping[str, Any],
    declared: study.Declared,
    fixed: Sequence[str],
    launch: Callable[[list[str], int], Exception | None],
    command: Callable[[dict[str, Any]], str],
) -> None:
    """Works on the study until its declared total is reached, alone or beside other workers.

    `fixed` are the overrides that every trial shares, `launch(overrides, number)` runs one trial as a job and returns
    what the job could not tell the study, and `command(params)` is the command that trains with those parameters.
    """
    notifying.command()  # refused before anything begins
    store.check_store()
    sweep = begin(settings["storage"], declared)
    with notifying.when_over() as over, ended_however(sweep), trials_bar(sweep.console, declared.total) as bar:
        over(sweep.page)
        faults = 0  # trials in a row that a store was away from
        for trial in trials(sweep, bar):
            ended = run_as_job(sweep, trial, [*fixed, *words_of(sweep, trial)], launch)
            faults = faults + 1 if "fault" in ended.user_attrs else 0
            if ended.state == TrialState.FAIL:
                after_failure(sweep, ended)
                stop_after_faults(ended, faults, settings["max_failures"])
                stop_after_failures(sweep.opened, settings["max_failures"])
    report(sweep, command)


def begin(storage_settings: Mapping[str, Any], declared: study.Declared) -> Sweep:
    """Opens the study and its page, and says how they stand."""
    console, storage = Console(), database.open_storage(**storage_settings)
    with database.study_lock(storage):
        opened = study.open_study(storage, declared)
        client = store.open_store()
        with store_faults_told():
            page = ParentPage(client, opened, declared)
            page.begin()  # the page, too, is written by one worker at a time
    with store_faults_told():
        run.announce_interrupted(client, console)
    say(console, f"study {declared.name}: {summary(study.counts(opened))} of {declared.total}")
    ended = over(opened.get_trials(deepcopy=False))
    return Sweep(declared, storage, opened, page, console, {trial.number for trial in ended})


@contextlib.contextmanager
def store_faults_told() -> Iterator[None]:
    """Makes a StudyError of whatever the store has to complain about; a StoreError says itself what to mend."""
    try:
        yield
    except Exception as error:
        if not is_away(error):
            raise
        raise database.StudyError(f"{fault_in_words(error)}. {database.GO_ON}") from error


@contextlib.contextmanager
def ended_however(sweep: Sweep) -> Iterator[None]:
    """Leaves the study's page complete: when the declared total is reached, or when something stops this worker."""
    try:
        yield
    except BaseException as stopped:
        try:
            with database.study_lock(sweep.storage):
                study.release_trials(sweep.opened, of=study.is_own)
                sweep.page.end("KILLED" if isinstance(stopped, KeyboardInterrupt) else "FAILED")
        except Exception as error:
            if not is_fault(error) and not is_raised_in("optuna.", error):
                raise
        raise
    patiently(sweep, lambda: finish(sweep))


def finish(sweep: Sweep) -> None:
    """Leaves the page complete, unless another worker has."""
    with database.study_lock(sweep.storage):
        if not sweep.page.is_finished():
            sweep.page.end("FINISHED")


def trials(sweep: Sweep, bar: Callable[[int], None]) -> Iterator[Trial]:
    """The trials that this worker takes, one after the other, until the declared total is reached.

    While each of them runs, a thread of its own brings the page up to date.
    """
    with refreshing(sweep) as refresh:
        while True:
            found = patiently(sweep, lambda: sweep.opened.get_trials(deepcopy=False))
            show(sweep, found)
            bar(study.ended(study.counted(found)))
            if not study.is_open(found, sweep.declared):
                return
            if sweep.page.is_to_be_drawn():  # by this thread alone, in which trials draw, too
                patiently(sweep, lambda: draw(sweep))
            trial = patiently(sweep, lambda: take(sweep))
            refresh()
            if trial:
                yield trial
            else:
                time.sleep(1)  # another worker is at the last trials, and might die over one


def take(sweep: Sweep) -> Trial | None:
    """The next trial; what this worker took before is over, if it could not tell the study."""
    study.release_trials(sweep.opened, of=study.is_own)
    return study.take_trial(sweep.opened, sweep.storage, sweep.declared)


@contextlib.contextmanager
def refreshing(sweep: Sweep) -> Iterator[Callable[[], None]]:
    """Gives what has the page brought up to date by another thread, after whatever that is at.

    If the store does not take it, the next time makes up for it; of the last one the sweep's end does.
    """

    def refresh() -> None:
        try:
            with database.study_lock(sweep.storage):
                sweep.page.refresh()
        except Exception as error:
            if not is_away(error):
                raise

    with ThreadPoolExecutor(1) as thread:
        under_way: list[Future[None]] = []

        def begin() -> None:
            while under_way and under_way[0].done():  # no trial that was taken waits for the store without a heartbeat
                under_way.pop(0).result()
            under_way.append(thread.submit(refresh))

        yield begin


def draw(sweep: Sweep) -> None:
    """Draws the figures of the page anew."""
    with database.study_lock(sweep.storage):
        sweep.page.draw({trial.number: run for trial, run in sweep.page.children()})


def words_of(sweep: Sweep, trial: Trial) -> list[str]:
    """The overrides that are the trial's own: its parameters, and the experiment that its study's page is in."""
    values = dict(trial.params)
    if "tracking.experiment" not in sweep.declared.space:
        values["tracking.experiment"] = sweep.page.experiment
    return overrides.words_of(values)


def run_as_job(
    sweep: Sweep, trial: Trial, words: list[str], launch: Callable[[list[str], int], Exception | None]
) -> FrozenTrial:
    """Runs the trial as a job; returns it as the study has it once what the job could not tell is told, too."""
    try:
        with study.heartbeat(sweep.storage, trial):
            error = launch(words, trial.number)
    except Exception as raised:  # a config that cannot be composed, a job that another process could not begin or end
        error = raised

    def ended() -> FrozenTrial:
        found = sweep.opened.get_trials(deepcopy=False)[trial.number]
        if found.state.is_finished():
            return found
        if isinstance(error, study.FileChangedError):
            study.fail(sweep.opened, trial, fault=str(error))
            raise error
        if error is None or is_away(error) or isinstance(error, database.StudyError):
            return study.fail(sweep.opened, trial, fault=fault_in_words(error) if error else "its job told of no end")
        return study.fail(sweep.opened, trial, reason=reason_of(error))

    return patiently(sweep, ended)


def after_failure(sweep: Sweep, trial: FrozenTrial) -> None:
    """Says what became of the trial and waits for the stores if one was away; a killed one's run is seen to."""
    show(sweep, patiently(sweep, lambda: sweep.opened.get_trials(deepcopy=False)))
    if "fault" in trial.user_attrs:
        wait_for_stores(sweep, trial.user_attrs["fault"])
    elif study.was_killed(trial) and "stopped" not in trial.user_attrs:
        message = "was taken from this worker, which gave no sign of life for longer than hydra.sweeper.storage.grace"
        say(sweep.console, f"trial {trial.number} {message}; its parameters are tried again")
    if study.was_killed(trial):
        patiently(sweep, lambda: reconcile(sweep))


def reconcile(sweep: Sweep) -> None:
    """Gives every trial's run the status that the study knows."""
    with database.study_lock(sweep.storage):
        sweep.page.reconcile()


def is_fault(error: Exception) -> bool:
    """Whether the store or the study's database has failed."""
    return isinstance(error, database.DATABASE_FAULTS) or store.is_fault(error)


def is_away(error: Exception) -> bool:
    """Whether they have in a way that may pass; a StoreError says what to mend."""
    return is_fault(error) and not isinstance(error, store.StoreError)


def patiently(sweep: Sweep, act: Callable[[], T]) -> T:
    """What `act` returns, however long a store is away meanwhile; StudyError if it is too long.

    `act` is done again from its beginning, so it must be one that can be.
    """
    for tries in range(1, TRIES + 1):
        try:
            return act()
        except Exception as error:
            if not is_away(error):
                raise
            if tries == TRIES:
                raise database.StudyError(f"{fault_in_words(error)}. {database.GO_ON}") from error
            wait_for_stores(sweep, fault_in_words(error))
    raise AssertionError


def wait_for_stores(sweep: Sweep, fault: str) -> None:
    """Waits until the store and the study's database answer; StudyError if they do not for PATIENCE seconds."""
    say(sweep.console, f"{fault}; waiting until it answers")
    given_up = time.monotonic() + PATIENCE
    while fault := missing_store(sweep):
        if time.monotonic() > given_up:
            raise database.StudyError(f"{fault}, for {PATIENCE // 60} minutes. {database.GO_ON}")
        time.sleep(1)


def missing_store(sweep: Sweep) -> str:
    """What the store or the study's database has to complain about when it is asked; nothing if both answer."""
    try:
        store.check_store()
        sweep.page.client.search_experiments(max_results=1)
        study.counts(sweep.opened)
    except Exception as error:
        if not is_fault(error):
            raise
        return fault_in_words(error)
    return ""


def over(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those of the trials that are over, in the order of their ending."""
    return sorted((t for t in trials if t.state.is_finished()), key=lambda trial: str(trial.datetime_complete))


def show(sweep: Sweep, trials: Sequence[FrozenTrial]) -> None:
    """Says what became of every trial that any worker has ended since the last time."""
    ended = over(trials)
    for i, trial in enumerate(ended):
        if trial.number not in sweep.shown:
            say(sweep.console, trial_line(trial, study.best_of(sweep.opened, ended[: i + 1], study.data_of(trial))))
            sweep.shown.add(trial.number)


def stop_after_faults(trial: FrozenTrial, faults: int, most: int) -> None:
    """Raises StudyError when a store has failed in so many trials in a row that patience will not help."""
    if faults >= most:
        raise database.StudyError(
            f"the last {faults} trials of this worker were cut short, the newest by this: "
            f"{trial.user_attrs['fault']}. {database.GO_ON}"
        )


def stop_after_failures(opened: optuna.Study, most: int) -> None:
    """Raises StudyError when so many trials in a row have failed that the next ones likely will."""
    row = study.failures_in_a_row(opened)
    if len(row) >= most:
        raise database.StudyError(
            f"study {opened.study_name}: the last {len(row)} trials failed, the newest for this reason: "
            f"{row[0].user_attrs['reason']}. Mend the search space, or raise hydra.sweeper.max_failures"
        )


def trial_line(trial: FrozenTrial, best: FrozenTrial | None) -> str:
    """One line for one finished trial: number, parameters, value, state, the best until then."""
    state = "KILLED" if study.was_killed(trial) else trial.state.name
    why = next((trial.user_attrs[key] for key in ("reason", "fault", "stopped") if key in trial.user_attrs), "")
    value = f"{trial.value:.4g}" if trial.value is not None else why
    so_far = f"best {best.value:.4g} (trial {best.number})" if best else ""
    return f"trial {trial.number:>3}  {naming.short(trial.params)}  {state} {value}  {so_far}"


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
    """The end of the sweep in the terminal: counts, the best, what to do with it, where to look."""
    page = sweep.page
    runs = {trial.number: found for trial, found in patiently(sweep, page.children)}
    lines = [f"study {sweep.declared.name} is done: {summary(study.counts(sweep.opened))}"]
    found = study.best_trials(sweep.opened)
    lines += [best_in_words(sweep.declared, best, runs.get(best.number)) for best in found]
    if len(found) == 1:
        best = runs.get(found[0].number)
        lines += [f"train it again: {command(found[0].params)}", *forecast_command(best and page.of_the_median(best))]
    if runs:
        lines.append(f"compare the trials: {compare_command(sweep, len(runs))}")
    lines.append(f"the study: {store.address(store.run_page(page.experiment_id, page.run_id))}")
    lines.append(f"its trials' curves: {store.address(page.comparison())}")
    for line in lines:
        say(sweep.console, line)


def best_in_words(declared: study.Declared, best: FrozenTrial, found: "Run | None") -> str:
    """What the best trial was, and on which data if that is not all; `found` is its run, if MLflow still has it."""
    where = f"run {found.info.run_id}" if found else "its run is in MLflow no more"
    data = study.data_of(best).rpartition(" ")[0]
    value = f"{declared.objective} {best.value:.6g} at {naming.short(best.params)}"
    return f"best{f' on {data}' if data else ''}: trial {best.number}, {value} ({where})"


def forecast_command(found: "Run | None") -> list[str]:
    """The command that forecasts with that run, if it is there and was trained on a file."""
    if found is None or "data.path" not in found.data.params:
        return []
    goes_on = found.data.params.get("data.horizon", "None") != "None"
    return [f"forecast with it: {typed('forecast', f'run={found.info.run_id}', *(['steps=100'] if goes_on else []))}"]


def told_by(key: str) -> str:
    """The setting by which one tells the choices of what was searched: presets mostly differ in their data."""
    group = {"experiment": "data"}.get(key, key)
    return f"{group}.{Config.model_fields[group].discriminator}" if group in Config.model_fields else key


def compare_command(sweep: Sweep, trials: int) -> str:
    """The command that compares so many trials, or what was searched if each has several seeds.

    By their page's id, since another study may have the name as well.
    """
    of_study = f"study={sweep.page.run_id[:8]}"
    if sweep.declared.seeds:
        return typed("report", of_study, f"by={','.join(map(told_by, sweep.declared.space))}")
    return typed("report", of_study, f"last={trials}", "--compare")
