"""A run in words: in the terminal, before it trains and after it, and on its page in MLflow."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lstm_lab.commandline import make, say
from lstm_lab.config import WATCHING, Config
from lstm_lab.records import store
from lstm_lab.records.reading import printable
from lstm_lab.runs import resume
from lstm_lab.runs.metrics import COSTS, LAST, VALIDATION

if TYPE_CHECKING:
    from lstm_lab.records.tracking import TrackedRun
    from lstm_lab.runs.watching import Result

CELL_NAMES = {"lstm": "An LSTM", "gru": "A GRU", "simple_rnn": "A simple RNN"}
LONGEST_LINE = 10_000  # characters of a group's settings
MARKDOWN = re.compile(r"[\\`*\[\]<>!&~|]")  # what makes of a text anything but itself
SHOWN = (*COSTS, VALIDATION, "steps_per_second")
CONTRADICTED = "from step {:,} on, the costs trained now are not those stored before: not the same bits"


def describe(config: Config) -> Table:
    """What is about to run, one line a group: its kind, then its settings."""
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    for group, settings in config.model_dump(exclude=WATCHING).items():
        kind = Config.model_fields[group].discriminator
        values = ", ".join(f"{key} {value}" for key, value in settings.items() if key != kind and value is not None)
        values = printable(values, LONGEST_LINE)  # of a run in the store, perhaps
        told = Text.assemble((settings[kind], "cyan"), f": {values}") if kind else Text(values)
        table.add_row(Text(group, "bold"), told)
    return table


def in_markdown(text: str) -> str:
    """A text in the words of a page, which are Markdown: a file's name makes no link or picture there."""
    return MARKDOWN.sub(r"\\\g<0>", printable(text))


def tell(config: Config, result: "Result") -> str:
    """Two sentences for the run's page: what the run was, and how it went."""
    model, data, optimizer, training = config.model, config.data, config.optimizer, config.training
    what = (
        f"{CELL_NAMES[model.cell]} of cell size {model.cell_size} on {in_markdown(data.name)} (batches of "
        f"{data.batch_size} x {data.time_steps} time steps, state {'carried' if training.carry_state else 'reset'}), "
        f"{training.steps:,} steps of {optimizer.name} at learning rate {optimizer.learning_rate:g}, seed "
        f"{training.seed}."
    )
    how = f"cost fell from {result.costs[0]:.3g} to {result.costs[-1]:.3g}"
    if result.costs[-1] > result.costs[0]:
        how = f"cost rose from {result.costs[0]:.3g} to {result.costs[-1]:.3g}"
    mean = f"{result.metrics['mean_last_20_cost']:.3g}"
    if result.status == "FINISHED":
        return f"{what} Its {how} (mean of the last {LAST}: {mean})."
    return f"{what} It is {result.status}: {in_markdown(result.reason)}; until then its {how}."


def baselines_in_words(metrics: Mapping[str, float]) -> str:
    """The baselines' mean squared errors in a line."""
    names = ["predict_zero", "persistence", "least_squares"]
    return "baselines: " + ", ".join(f"{name.replace('_', ' ')} {metrics[f'{name}_mse']:.3g}" for name in names)


def report(console: Console, tracked: "TrackedRun", result: "Result") -> None:
    """The end of the run in the terminal: how it went, where it is, how to look at it."""
    if result.reason:
        say(console, f"{result.status}: {result.reason}", "red")
    if result.status == "KILLED":
        say(console, f"go on: {resume.command(result.run_id)}")
    if tracked.contradicted is not None:
        say(console, CONTRADICTED.format(tracked.contradicted), "bold yellow")
    figures = "   ".join(f"{key} {result.metrics[key]:.4g}" for key in SHOWN if key in result.metrics)
    say(console, figures)
    if mse := result.metrics.get("evaluation.mse"):
        metrics = {key.removeprefix("evaluation."): value for key, value in result.metrics.items()}
        say(console, f"never trained on: mean squared error {mse:.3g}; {baselines_in_words(metrics)}")
    say(console, f"run {tracked.name} ({result.run_id})")
    look = "" if store.tracking_uri().startswith("http") else f"`{make('ui')}`, then "
    say(console, f"look at it: {look}{tracked.url()}")
