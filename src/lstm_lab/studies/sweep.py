"""A sweep: a study's trials run as jobs, seen in MLflow as one parent run with a child for each trial."""

import contextlib
import functools
import json
import re
import shlex
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import rich.progress
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from optuna.trial import FrozenTrial, Trial, TrialState
from rich.console import Console

from lstm_lab import config
from lstm_lab.config import ConfigError
from lstm_lab.paths import ROOT
from lstm_lab.records import store, tracking
from lstm_lab.runs import run, setup, telling, watching
from lstm_lab.studies import study
from lstm_lab.studies.page import ParentPage, short, summary

if TYPE_CHECKING:
    from lstm_lab.science.training import Progress


def parse(words: Sequence[str]) -> list[Override]:
    """The overrides in Hydra's own terms."""
    return list(OverridesParser.create().parse_overrides(list(words)))


def is_sweep(word: str) -> bool:
    """Whether an override names several values."""
    return parse([word])[0].is_sweep_override()


def declare(
    settings: Mapping[str, Any], base: dict[str, Any], words: Sequence[str], hydra_words: Sequence[str] = ()
) -> study.Declared:
    """What the study is, from the sweeper's settings, the composed run config and the command line's overrides.

    An override that names one value takes its parameter out of the search, one that names several replaces its range.
    Without a study in the settings the several values on the command line make a plain grid. ConfigError if anything
    in it cannot work, before any trial starts.
    """
    overrides = {override.get_key_element(): override for override in parse(words)}
    params = dict(config.flatten(settings["params"]))  # a key's dots are nesting to the command line, not to a file
    space = {key: parse([f"{key}={text}"])[0] for key, text in params.items() if key not in overrides}
    space |= {key: override for key, override in overrides.items() if override.is_sweep_override()}
    if not space:
        raise ConfigError(
            "there is nothing to sweep: name a study, as in `-m sweeps`, or several values, as in `-m a=1,2`"
        )
    distributions = {key: study.to_distribution(override) for key, override in space.items()}
    check_space(distributions, base)
    whole = config.check(base)
    setup.make_source(whole)  # so that a faulty file is refused before any trial
    checked = whole.model_dump(exclude=config.WATCHING)
    sampler, pruner, total = settings["sampler"], settings["pruner"], settings["n_trials"]
    name = settings["study_name"]
    if name is None:
        sampler, pruner, name = {"name": "grid"}, {"name": "none"}, f"grid-{time.strftime('%m%d-%H%M%S')}"
    elif not any(word.startswith("hydra.sweeper.study_name=") for word in hydra_words):
        name = study_name(name, [*words, *hydra_words])
    if sampler["name"] == "grid":
        points = len(study.grid_points(distributions))
        total = points if total is None else min(total, points)
    if not isinstance(total, int) or isinstance(total, bool) or total < 1:
        raise ConfigError(f"hydra.sweeper.n_trials={total}: must be a whole number, 1 or more")
    if settings["direction"] not in ("minimize", "maximize"):
        raise ConfigError(f"hydra.sweeper.direction={settings['direction']!r}: must be minimize or maximize")
    if settings["objective"] not in telling.METRICS:
        raise ConfigError(
            f"hydra.sweeper.objective={settings['objective']!r}: must be one of {', '.join(telling.METRICS)}"
        )
    with study.experimental():  # built once here, so that a fault in their settings shows before any trial
        study.make_sampler(sampler, 0, 0)
        study.make_pruner(pruner, checked["training"]["steps"])
    swept = set(distributions)
    fixed = {key: value for key, value in config.flatten(checked) if key not in swept}
    return study.Declared(
        name,
        distributions,
        settings["direction"],
        settings["objective"],
        sampler,
        pruner,
        settings["seed"],
        fixed,
        total,
    )


def study_name(name: str, words: Sequence[str]) -> str:
    """The name of the study that a file of sweeps/ and these overrides make; `name` is the one that the file gives."""
    return " ".join([name, *sorted(word for word in words if makes_another_study(word))])


def makes_another_study(word: str) -> bool:
    """Whether the same file of sweeps/ with this override is another study, rather than more of the same one."""
    if word.startswith(("hydra/sweeper/", "hydra.sweeper.")):
        return not word.startswith(("hydra.sweeper.n_trials", "hydra.sweeper.max_failures", "hydra.sweeper.storage"))
    return not word.startswith(("sweeps=", "evaluation.", "tracking.", "hydra"))


def folder_of(declared: study.Declared) -> Path:
    """Where the trials' files go, each in a folder named by its number."""
    return ROOT / "mlruns/sweeps" / re.sub(r"[^\w.=,() -]", "_", declared.name)


def check_space(space: Mapping[str, Any], base: dict[str, Any]) -> None:
    """Raises ConfigError if a parameter is unknown, or if the run config would refuse a value at its range's ends."""
    for key, distribution in space.items():
        if key in ("training.level", "training.threads"):
            raise ConfigError(
                f"{key}: TensorFlow takes it once for all trials of a process; run a sweep for each value"
            )
        if key in config.Config.model_fields or key == "experiment":
            files = {file.stem for file in (ROOT / "conf" / key).glob("*.yaml")}
            for choice in study.corner_values(distribution):
                if choice not in files:
                    raise ConfigError(f"{key}={choice}: there is no such choice{config.suggest(str(choice), files)}")
            continue
        if key not in config.all_keys():
            raise ConfigError(config.describe_unknown_key(key))
        for value in study.corner_values(distribution):
            trial = deepcopy(base)
            group, _, leaf = key.partition(".")
            trial[group][leaf] = value
            config.check(trial)


@study.database_faults_told()
def run_sweep(
    settings: Mapping[str, Any],
    declared: study.Declared,
    tracking_experiment: str,
    fixed: Sequence[str],
    launch: Callable[[list[str], int], Any],
    command: Callable[[dict[str, Any]], str],
) -> None:
    """Works on the study until its declared total is reached, alone or beside other workers.

    `fixed` are the overrides that every trial shares, `launch(overrides, number)` runs one trial as a job, and
    `command(params)` is the command that trains with those parameters.
    """
    store.check_store()
    console = Console()
    storage = study.open_storage(**settings["storage"])
    with study.study_lock(storage):
        opened = study.open_study(storage, declared)
        client = store.open_store()
        page = ParentPage(client, opened, declared, tracking_experiment, fixed)
        page.begin()  # the page, too, is written by one worker at a time
    run.announce_interrupted(client, console)
    console.print(f"study {declared.name}: {summary(study.counts(opened))} of {declared.total}", highlight=False)

    def run_next(trial: Trial) -> None:
        params = [f"{key}={quoted(value)}" for key, value in trial.params.items()]
        launch([*fixed, *params], trial.number)
        ended = opened.get_trials(deepcopy=False)[trial.number]
        console.print(trial_line(opened, ended), highlight=False, soft_wrap=True)
        with study.study_lock(storage):
            page.refresh()

    try:
        with trials_bar(console, declared.total) as bar:
            while study.is_open(opened, declared):
                bar(study.ended(study.counts(opened)))
                if trial := study.take_trial(opened, storage, declared):
                    run_next(trial)
                    stop_after_failures(opened, settings["max_failures"])
                else:
                    time.sleep(1)  # another worker is at the last trials, and might die over one
    except (KeyboardInterrupt, study.StudyError) as stopped:
        with study.study_lock(storage):
            page.end("FAILED" if isinstance(stopped, study.StudyError) else "KILLED")
        raise
    with study.study_lock(storage):
        if not page.is_finished():
            page.end("FINISHED")
    report(console, opened, declared, page, command)


def stop_after_failures(opened: optuna.Study, most: int) -> None:
    """Raises StudyError when so many trials in a row have failed that the next ones likely will."""
    row = study.failures_in_a_row(opened)
    if len(row) >= most:
        raise study.StudyError(
            f"study {opened.study_name}: the last {len(row)} trials failed, the newest for this reason: "
            f"{row[0].user_attrs['reason']}. Mend the search space, or raise hydra.sweeper.max_failures"
        )


def run_trial(checked: config.Config, settings: Mapping[str, Any], number: int, folder: Path) -> None:
    """One trial, in whatever process the launcher started for it: trains, tells the study what came of it."""
    storage, opened = open_for_trial(settings["study_name"], **settings["storage"])
    trial = study.running_trial(opened, number)
    opened.pruner = study.make_pruner(settings["pruner"], checked.training.steps)
    part = setup.Part(
        name=f"trial {number}: {short(trial.params)}",
        tags={
            "mlflow.parentRunId": opened.user_attrs["parent_run"],
            "study": settings["study_name"],
            "trial": str(number),
            "mlflow.runColor": tracking.color(number * 0.618033988749895 % 1),  # neighbours far apart
        },
        watch=PruneWatch(trial, settings["prune_every"], checked.training.steps),
        keep=lambda metrics: study.is_better(opened, metrics[settings["objective"]]),
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
                raise watching.Pruned(f"pruned at step {self.next:,}: mean cost {mean:.3g}")
            self.next += self.every

    def close(self) -> None:
        pass


def quoted(value: Any) -> str:
    """A value as Hydra's grammar reads it back."""
    if isinstance(value, str) and not value.isidentifier():
        return QuotedString(value, Quote.single).with_quotes()
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value)


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


def report(
    console: Console, opened: optuna.Study, declared: study.Declared, page: ParentPage, command: Callable[[dict], str]
) -> None:
    """The end of the sweep in the terminal: counts, the best, the command that trains it again, where to look."""

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    say(f"study {declared.name} is done: {summary(study.counts(opened))}")
    if best := study.best_trial(opened):
        say(f"best: trial {best.number}, {declared.objective} {best.value:.6g} at {short(best.params)}")
        say(f"train it again: {command(best.params)}")
    base = store.tracking_uri() if store.tracking_uri().startswith("http") else "http://127.0.0.1:5000"
    say(f"the study: {base}/#/experiments/{page.experiment_id}/runs/{page.run_id}")
    say(f"its trials' curves: {page.compare_url(base + '/')}")


def training_command(composed: dict[str, Any], compose: Callable[[list[str]], dict[str, Any]]) -> str:
    """The command that trains exactly as `composed` says, in as few overrides as that takes.

    `compose(overrides)` composes a run config. The choices of groups come first, then every value that still differs.
    """
    default, words = compose([]), []
    for group in ("model", "data", "optimizer"):
        kind = config.Config.model_fields[group].discriminator
        if composed[group][kind] != default[group][kind]:
            words.append(f"{group}={composed[group][kind]}")
    left = dict(config.flatten(compose(words)))
    for key, value in config.flatten(composed):
        if key.split(".")[0] not in config.WATCHING and left.get(key) != value:
            words.append(f"{key}={quoted(value)}")
    return f"python src/train.py {shlex.join(words)}"
