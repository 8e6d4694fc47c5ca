"""A run in words: in the terminal, before it trains and after it, and on its page in MLflow."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lstm_lab import texts
from lstm_lab.commandline import make, say, typed
from lstm_lab.config import NEWER, WATCHING, Config
from lstm_lab.datasets import Csv, Task
from lstm_lab.records import store
from lstm_lab.records.reading import LONGEST_TEXT, printable
from lstm_lab.runs import resume
from lstm_lab.runs.metrics import BASELINES, HELD_OUT, LAST, SOLVED, VALIDATION, WRONG

if TYPE_CHECKING:
    from lstm_lab.records.tracking import TrackedRun
    from lstm_lab.runs.watching import Result

CELL_NAMES = {"lstm": "An LSTM", "gru": "A GRU", "simple_rnn": "A simple RNN"}
LONGEST_LINE = 10_000  # characters of a group's settings
MARKDOWN = re.compile(r"[\\`*\[\]<>!&~|]")  # what makes of a text anything but itself
CONTRADICTED = "from step {:,} on, the costs trained now are not those stored before: not the same bits"


def describe(config: Config, read: str = "") -> Table:
    """What is about to run, one line a group: its kind, then its settings; and what its file was read as."""
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    for group, settings in config.model_dump(exclude=WATCHING).items():
        kind = Config.model_fields[group].discriminator
        said = {key: value for key, value in settings.items() if key != kind and not is_usual(group, key, value)}
        values = ", ".join(f"{key} {as_typed(value)}" for key, value in said.items())
        values = printable(values, LONGEST_LINE)  # of a run in the store, perhaps
        told = Text.assemble((settings[kind], "cyan"), f": {values}") if kind else Text(values)
        table.add_row(Text(group, "bold"), told)
        if group == "data" and read:
            table.add_row("", Text.assemble(("file", "cyan"), f": {printable(read, LONGEST_LINE)}"))
    return table


def as_typed(value: object) -> object:
    """A setting's value; names in a list, or of settings of their own, as they are typed."""
    value = list(value) if isinstance(value, dict) else value
    names = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return texts.write(value) if names else value  # type: ignore[arg-type]


def is_usual(group: str, key: str, value: object) -> bool:
    """Whether nothing need be said of a setting: it is off, or as it was before there was such a setting."""
    key = f"{group}.{key}"
    return value is None or (key in NEWER and value == NEWER[key])


def in_markdown(text: str, most: int = LONGEST_TEXT) -> str:
    """A text in the words of a page, which are Markdown: a file's name makes no link or picture there.

    It is cut after so many characters.
    """
    return MARKDOWN.sub(r"\\\g<0>", printable(text, most))


def recipe_in_words(config: Config) -> str:
    """What a run of this config is, but for its seed; no full stop."""
    model, data, optimizer, training = config.model, config.data, config.optimizer, config.training
    return (
        f"{CELL_NAMES[model.cell]} of cell size {model.cell_size} on {in_markdown(data.name)} (batches of "
        f"{data.batch_size} x {data.time_steps} time steps, state {'carried' if training.carry_state else 'reset'}), "
        f"{training.steps:,} steps of {optimizer.name} at learning rate {optimizer.learning_rate:g}"
    )


def tell(config: Config, result: "Result") -> str:
    """A few sentences for the run's page: what the run was, and how it went."""
    training, what = config.training, f"{recipe_in_words(config)}, seed {config.training.seed}."
    cost = {"squared": "cost", "absolute": "absolute cost", "huber": "Huber cost"}[training.cost]
    moved = "rose" if result.costs[-1] > result.costs[0] else "fell"
    how = f"{cost} {moved} from {result.costs[0]:.3g} to {result.costs[-1]:.3g}"
    mean = f"{result.metrics['mean_last_20_cost']:.3g}"
    if result.status == "FINISHED":
        unseen = f" {held_out(result.metrics).capitalize()}." if HELD_OUT in result.metrics else ""
        early = f" It {in_markdown(result.reason)}." if result.reason else ""
        return f"{what} Its {how} (mean of the last {LAST}: {mean}).{early}{unseen}"
    return f"{what} It is {result.status}: {in_markdown(result.reason)}; until then its {how}."


def baselines_in_words(metrics: Mapping[str, float]) -> str:
    """The baselines' mean squared errors in a line."""
    names = ["predict_zero", "persistence", "seasonal_naive", "least_squares"]
    names = names[1:] if "seasonal_naive_mse" in metrics else names  # of four a picture would cut some off
    found = {name.replace("_", " "): metrics[key] for name in names if (key := f"{name}_mse") in metrics}
    return "baselines: " + ", ".join(f"{name} {value:.3g}" for name, value in found.items())


def report(console: Console, tracked: "TrackedRun", result: "Result") -> None:
    """The end of the run in the terminal: its cost, its error on what it never saw, where it is, what to type next."""
    if result.reason:
        say(console, f"{result.status}: {result.reason}", "" if result.status == "FINISHED" else "red")
    if result.status == "KILLED":
        say(console, f"go on: {resume.command(result.run_id)}")
    if tracked.contradicted is not None:
        say(console, CONTRADICTED.format(tracked.contradicted), "bold yellow")
    found = result.metrics
    speed = f" ({found['steps_per_second']:,.0f} steps/s)" if "steps_per_second" in found else ""
    say(console, f"cost {found['final_cost']:.4g}, mean of the last {LAST} {found['mean_last_20_cost']:.4g}{speed}")
    if HELD_OUT in found:
        say(console, held_out(found))
    if told := task_in_words(tracked.config, found):
        say(console, told)
    if told := backtest_in_words(tracked.config, found):
        say(console, told)
    say(console, link(console, tracked))
    ident, what = f" ({result.run_id[:8]})", next_command(tracked, result)
    room = max(10, console.width - len(f"run {ident}{what}")) if console.is_terminal else LONGEST_LINE
    say(console, f"run {printable(tracked.name, room)}{ident}{what}")


def held_out(metrics: Mapping[str, float]) -> str:
    """The error on samples never trained on, beside the best of what it takes no training to reach."""
    names = (*BASELINES, "seasonal_naive_mse")
    known = {name: metrics[key] for name in names if (key := f"baselines/{name}") in metrics}
    validated = f", validation {metrics[VALIDATION]:.3g}" if VALIDATION in metrics else ""
    said = f"held-out error {metrics[HELD_OUT]:.3g}{validated}"
    if not known:
        return said
    best = min(known, key=lambda name: known[name])
    return f"{said}; baseline {known[best]:.3g} ({best.removesuffix('_mse').replace('_', ' ')})"


def backtest_in_words(config: Config, metrics: Mapping[str, float]) -> str:
    """What the backtest came to, or why there is none that was asked for; nothing if none was."""
    steps, level = config.lead_times, config.evaluation.interval
    if not steps or HELD_OUT not in metrics:
        return ""
    ahead = f"1 to {steps:,} samples ahead" if steps > 1 else "1 sample ahead"
    if "backtest/rmse" not in metrics:
        return f"no forecasts {ahead}: no held-out stretch is so long; lower evaluation.horizon"
    rival = f" (seasonal naive {metrics['backtest/seasonal_naive_mase']:.3g})" if "backtest/mase" in metrics else ""
    error = f"MASE {metrics['backtest/mase']:.3g}{rival}" if rival else f"RMSE {metrics['backtest/rmse']:.3g}"
    if level is None:
        return f"{ahead}: {error}"
    interval = f"{100 * level:g} % intervals"
    if "backtest/coverage" in metrics:
        return f"{ahead}: {error}; {interval} hold {metrics['backtest/coverage']:.1%}"
    return f"{ahead}: {error}; no {interval}: too few samples for validation"


def task_in_words(config: Config, metrics: Mapping[str, float]) -> str:
    """When each of a task's criteria held first, and how many new sequences are wrong; nothing of other data."""
    if not isinstance(config.data, Task):
        return ""
    found = {name: metrics.get(f"{SOLVED}{name}") for name in config.criteria}
    said = [f"{name} not reached" if met is None else f"{name} after {met:,.0f}" for name, met in found.items()]
    if WRONG in metrics:
        said.append(f"{metrics[WRONG]:,.0f} of {config.data.tested:,} new ones wrong")
    return ", ".join(said)


def link(console: Console, tracked: "TrackedRun") -> str:
    """The run's page or, on a terminal too narrow for its address, the page of the experiment's runs."""
    page = tracked.url()
    fits = not console.is_terminal or len(page) <= console.width
    return page if fits else store.address(store.runs_page(tracked.experiment_id))


def next_command(tracked: "TrackedRun", result: "Result") -> str:
    """What to type next: to forecast, if the run can; else to see it, unless a tracking server shows it."""
    data = tracked.config.data
    if result.status == "FINISHED" and isinstance(data, Csv) and data.horizon:
        return f"; next: {typed('forecast', f'run={result.run_id[:8]}', f'steps={data.horizon}')}"
    return "" if store.tracking_uri().startswith("http") else f"; to look: {make('ui')}"
