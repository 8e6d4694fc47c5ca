"""The life of one run, from a checked config to a finished run in MLflow."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console

from lstm_lab.commandline import say, typed, working
from lstm_lab.config import Config, ConfigError
from lstm_lab.records import store, tracking
from lstm_lab.records.reading import name_of
from lstm_lab.records.tagging import is_group
from lstm_lab.runs import keeping, naming, notifying, recipe, resume, setup, telling, watching
from lstm_lab.runs.setup import Part, Setup
from lstm_lab.runs.watching import Result, StopSignal

if TYPE_CHECKING:  # these import TensorFlow or MLflow, and a refused config must not wait for them
    from mlflow import MlflowClient

    from lstm_lab.science.curves import Source

TOLD = 20  # runs that were cut short and are told of one by one


@store.faults_told()
def run(
    config: Config, console: Console, verbose: bool = False, part: Part | None = None, resumed: str | None = None
) -> Result:
    """Trains as `config` says and tracks it, in a new run or in the run `resumed`; returns however training ended.

    Raises ConfigError or StoreError, before anything is written, if the run cannot start; and StoreError if the store
    fails meanwhile, with the command that delivers what it did not take.
    """
    source = prepare(config, console)
    with notifying.when_over(not part) as over, StopSignal() as stop, setup.memory_faults_told():
        with working(console, "starting TensorFlow and MLflow"):
            client = setup.start(config, verbose)
            made_of = setup.set_up(config, source, console, part)
        if stop.received:
            raise KeyboardInterrupt
        return train(client, made_of, stop, resumed, over)


def train(
    client: "MlflowClient",
    made_of: Setup,
    stop: StopSignal,
    resumed: str | None,
    begun: "Callable[[tracking.TrackedRun], object]" = lambda tracked: None,
) -> Result:
    """Trains what was set up, in a new run of the store or in the run `resumed`; returns however that ended.

    `begun` is told of the run as soon as it is in the store.
    """
    tracked = begin(client, made_of, resumed)
    begun(tracked)
    part, console = made_of.part, made_of.console
    with ended_however(tracked):
        if not part:
            announce_interrupted(client, console)
        saved = resume.find_checkpoint(made_of, tracked) if resumed else None
        with keeping.output_folder(part) as folder:
            keeping.log_beginning(made_of, tracked, folder, saved)
            trained = watching.train(made_of, tracked, saved, stop)
            result = keeping.keep(made_of, tracked, folder, trained)
        tracked.end("KILLED" if result.status == "PRUNED" else result.status)
    resume.forget_checkpoints(tracked.run_id)
    telling.report(console, tracked, result)
    return result


def prepare(config: Config, console: Console) -> "Source":
    """Refuses what cannot run before anything is imported or written, says what will; returns the run's data."""
    source = setup.make_source(config)
    store.check_store()
    if config.training.live:
        setup.check_display()
    console.print(telling.describe(config, source.told))
    return source


def begin(client: "MlflowClient", made_of: Setup, resumed: str | None) -> tracking.TrackedRun:
    """The run in the store: a new one, or the one to be resumed, which this process takes over."""
    config, part = made_of.config, made_of.part
    if resumed:
        return tracking.TrackedRun.resume(client, config, resume.take_over(client, resumed, f"resume={resumed}"))
    digests = made_of.digests(config.training.steps) | recipe.tags(config, made_of.source.file_sha256)
    name = part.name if part else config.tracking.run_name
    return tracking.TrackedRun.begin(client, config, digests, name or naming.NOTHING_TYPED, part.tags if part else {})


@contextlib.contextmanager
def ended_however(tracked: tracking.TrackedRun) -> Iterator[None]:
    """Ends the run in the store whatever is raised; StoreError tells how to deliver what a failing store missed."""
    try:
        yield
    except BaseException as error:
        if store.is_fault(error):  # then it could not take the run's end either
            what = store.in_a_line(error, store.tracking_uri())
            if not {"study", "group"} & tracked.run.data.tags.keys():  # these go on when their command is typed again
                what += (
                    f". This run is not whole in the store: once that can take it, `{resume.command(tracked.run_id)}` "
                    "goes on from the last checkpoint and delivers the rest"
                )
            raise store.StoreError(what) from error
        tracked.end("KILLED" if isinstance(error, KeyboardInterrupt | ConfigError) else "FAILED")
        raise


def announce_interrupted(client: "MlflowClient", console: Console) -> None:
    """Says which runs a killed process has left behind on this machine, and how each goes on."""
    marked = resume.mark_interrupted(client)
    for found in marked[:TOLD]:
        how = resume.command(found.info.run_id)
        if "study" in found.data.tags or is_group(found.data.tags):
            how = "its command, typed again"
        say(console, f"cut short by a killed process: {name_of(found)}; to go on: {how}", "yellow")
    if len(marked) > TOLD:
        say(console, f"... and {len(marked) - TOLD:,} more: {typed('report')} lists them as KILLED", "yellow")
    resume.forget_finished(client)
