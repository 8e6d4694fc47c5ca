"""A group: one recipe trained with several seeds, one run after the other, so that no number stands alone."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import rich.progress
from rich.console import Console
from rich.table import Table

from lstm_lab.commandline import say, typed, working
from lstm_lab.config import Config, ConfigError
from lstm_lab.records import store
from lstm_lab.records.reading import printable
from lstm_lab.runs import metrics, notifying, run, seeds, setup
from lstm_lab.runs.group_page import Asked, GroupPage, open_page, rows_of
from lstm_lab.runs.setup import Part
from lstm_lab.runs.watching import Pruned, StopSignal

if TYPE_CHECKING:
    from mlflow.entities import Run

    from lstm_lab.runs.observers import Observer
    from lstm_lab.science.curves import Source
    from lstm_lab.science.statistics import Estimate
    from lstm_lab.science.training import Progress


FEWEST = 6  # seeds: between the lowest and the highest of fewer lies the median with less than 95 %


@dataclass(frozen=True)
class AsTrial:
    """A group that is a trial: its part in the study, the metric that judges it, and who is told after each seed.

    `watch` gets how many seeds are over and their medians, and may raise Pruned.
    """

    part: Part
    objective: str
    watch: "Callable[[int, Mapping[str, Estimate]], None]"


@dataclass(frozen=True)
class Outcome:
    """How a group ended: FINISHED, FAILED (by every seed), KILLED or PRUNED, and why; the medians over its seeds."""

    run_id: str
    status: str
    reason: str
    metrics: dict[str, float]
    failed: int


@store.faults_told()
def train(asked: Asked, console: Console, verbose: bool = False, trial: AsTrial | None = None) -> Outcome:
    """Trains the recipe with every seed that it was not trained with before, and tracks all of them as one group.

    Errors are those of `run.run`; ConfigError also if another process is at the same group.
    """
    source = run.prepare(asked.config, console)
    with notifying.when_over(not trial) as over, StopSignal() as stop, setup.memory_faults_told():
        with working(console, "starting TensorFlow and MLflow"):
            client = setup.start(asked.config, verbose)
        if stop.received:
            raise KeyboardInterrupt
        page = open_page(client, asked, source, trial.part if trial else None)
        over(page)
        with ended_however(page):
            if not trial:
                run.announce_interrupted(client, console)
            outcome = train_seeds(page, source, stop, console, trial)
            page.end("KILLED" if outcome.status == "PRUNED" else outcome.status, outcome.reason)
    if not trial:
        report(console, page, outcome)
    return outcome


@contextlib.contextmanager
def ended_however(page: GroupPage) -> Iterator[None]:
    """Ends the page in the store whatever is raised; StoreError tells the way on if the store could not take that."""
    try:
        yield
    except BaseException as error:
        if store.is_fault(error):
            what = store.in_a_line(error, store.tracking_uri())
            raise store.StoreError(f"{what}. Once the store can take it, the same command goes on") from error
        stopped = isinstance(error, KeyboardInterrupt | ConfigError)
        page.terminate("KILLED" if stopped else "FAILED")
        raise


def train_seeds(
    page: GroupPage, source: "Source", stop: StopSignal, console: Console, trial: AsTrial | None
) -> Outcome:
    """Goes through the seeds in their order, trains those that are missing, and tells how that ended."""
    asked = page.asked
    known = page.known(needed_of(asked.config, trial))
    say_known(console, asked, known)
    status, reason = "FINISHED", ""
    with bar_over(console, asked) as observer:
        for number, seed in enumerate(asked.seeds):
            if seed not in known:
                part = part_of(page, seed, observer(number), trial)
                made_of = setup.set_up(seeds.with_seed(asked.config, seed), source, Console(quiet=True), part)
                result = run.train(page.client, made_of, stop, page.cut_short(made_of))
                if result.status == "KILLED":
                    status, reason = "KILLED", f"{result.reason} of seed {seed}"
                    break
                known[seed] = page.client.get_run(result.run_id)
                say(console, seed_line(seed, known[seed]))
            found = page.add(seed, known[seed])
            try:
                if trial:
                    trial.watch(number + 1, found)
            except Pruned as error:
                status, reason = "PRUNED", str(error)
                break
    return outcome_of(page, status, reason)


def needed_of(config: Config, trial: AsTrial | None) -> set[str]:
    """The metrics that a run must have to be counted: not every trial is evaluated."""
    if trial:
        return {trial.objective}
    return {metrics.HELD_OUT} if config.evaluation.windows else {metrics.COSTS[0]}


def part_of(page: GroupPage, seed: int, observer: "Observer", trial: AsTrial | None) -> Part:
    """What the run of a seed is part of."""
    name, tags = page.child_name(seed), page.child_tags(trial.part if trial else None)
    if not trial:
        return Part(name, tags, watch=lambda made_of: observer, resumable=True)
    folder = trial.part.folder / f"seed-{seed}" if trial.part.folder else None
    return Part(name, tags, of_study=True, evaluated=trial.part.evaluated, folder=folder)


def outcome_of(page: GroupPage, status: str, reason: str) -> Outcome:
    """How the group ended: failed if every seed has, and else with the medians over those that are over."""
    failed = [run for run in page.done.values() if run.info.status == "FAILED"]
    if failed:
        why = f"{len(failed)} of {len(page.done)} seeds failed, the first: {why_failed(failed[0])}"
        status, reason = ("FAILED" if status == "FINISHED" and len(failed) == len(page.done) else status), reason or why
    medians = {key: one.median for key, one in seeds.estimates(page.done).items()} if page.done else {}
    return Outcome(page.run_id, status, reason, medians, len(failed))


def say_known(console: Console, asked: Asked, known: "Mapping[int, Run]") -> None:
    """Says which seeds are counted, and not trained."""
    many = f"{len(asked.seeds)} seeds, {seeds.in_words(asked.seeds)}"
    if not known:
        return say(console, many)
    again = "" if asked.again else "; again=true trains them anew"
    say(console, f"{many}; trained before by this code, and counted: {len(known)}{again}")
    for seed, found in sorted(known.items()):
        say(console, seed_line(seed, found), "dim")
    return None


def seed_line(seed: int, run: "Run") -> str:
    """One line for the run of a seed: its metrics, or why it has none; its id."""
    found, ident = run.data.metrics, run.info.run_id[:8]
    if run.info.status != "FINISHED":
        return f"seed {seed:>3}  {run.info.status}: {why_failed(run)}  ({ident})"
    shown = dict.fromkeys((metrics.ranked_by(found), metrics.HELD_OUT))
    said = [f"{key} {found[key]:.4g}" for key in shown if key in found]
    return f"seed {seed:>3}  {'  '.join(said)}  ({ident})"


def why_failed(run: "Run") -> str:
    """Why the run of a seed failed, in a line: a counted one may be anybody's."""
    return printable(run.data.tags.get("reason", ""))


@contextlib.contextmanager
def bar_over(console: Console, asked: Asked) -> "Iterator[Callable[[int], Observer]]":
    """A bar over the steps of all seeds; gives the observer of the run of a number. Nothing without a terminal."""
    columns = (
        rich.progress.TextColumn("seed {task.fields[seed]}"),
        rich.progress.BarColumn(),
        rich.progress.TextColumn("{task.fields[over]} of {task.fields[all]} seeds"),
        rich.progress.TimeRemainingColumn(),
    )
    steps, first, count = asked.config.training.steps, asked.seeds[0], len(asked.seeds)
    with rich.progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=count * steps, seed=first, over=0, all=count)

        def observer(number: int) -> "Observer":
            bar.update(task, completed=number * steps, seed=first + number, over=number)

            def observe(progress: "Progress") -> None:
                bar.update(task, completed=number * steps + progress.step)

            return observe

        yield observer


def report(console: Console, page: GroupPage, outcome: Outcome) -> None:
    """The end of a group in the terminal: medians, intervals, where to look, how to go on."""
    say(console, f"{page.name}: {page.states()}")
    if outcome.reason:
        say(console, f"{outcome.status}: {outcome.reason}", "red")
    if outcome.status == "KILLED":
        say(console, "the same command goes on")
    if rows := rows_of(seeds.estimates(page.done)):
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        for head in ("over the seeds", "median", "95 % interval"):
            table.add_column(head, justify="left" if head == "over the seeds" else "right", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    if rows and len(page.done) < FEWEST:
        say(console, f"an exact 95 % interval takes {FEWEST} seeds", "dim")
    say(console, f"the group: {store.address(store.run_page(page.run.info.experiment_id, page.run_id))}")
    say(console, f"compare its runs: {typed('report', f'runs={page.run_id[:8]}')}")
