"""The report: runs listed or compared in the terminal, and compared on a page of their own."""

import contextlib
import itertools
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import rich.progress
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lstm_lab.commandline import say, typed, working
from lstm_lab.config import ConfigError
from lstm_lab.paths import LONGEST_FILE_NAME, ROOT, whole_file
from lstm_lab.records import store
from lstm_lab.records.reading import printable
from lstm_lab.reports import bands, comparison, source, tables
from lstm_lab.reports import page as report_page
from lstm_lab.reports.bands import Band
from lstm_lab.reports.comparison import ABSENT, Choice, Compared, Curve, Facts
from lstm_lab.reports.groups import DATA_SET, Groups, Question, answer, table
from lstm_lab.reports.source import Difference
from lstm_lab.runs.metrics import HELD_OUT, VALIDATION

if TYPE_CHECKING:
    from mlflow import MlflowClient

REPORTS = ROOT / "mlruns/reports"
STATUS_STYLES = {"FINISHED": "green", "RUNNING": "cyan", "FAILED": "red"}  # any other: yellow
SPARKS = "▁▂▃▄▅▆▇█"
SPARK_WIDTH = 16
COST = "mean_last_20_cost"
NARROW = 88  # columns of a terminal in which the list has room for nothing but the essential
# What a wider one shows too, the most wanted first, and how many columns that takes.
MORE = {"started": 18, VALIDATION: 12, "took": 13, "commit": 10, "level": 10, "experiment": 18}
HEADS = {COST: "mean cost,\nlast 20", VALIDATION: VALIDATION.replace("/", "\n"), HELD_OUT: HELD_OUT.replace("/", "\n")}
DATA = 14  # columns of a data set's name; a longer one goes on in the next line
LINE_STYLES = {"+": "green", "-": "red", "@": "cyan", "d": "bold"}  # of a diff, by what they begin with
WIDEST = 32  # columns of a cell
READABLE = 100  # runs of which every metric and setting is printed; the page has them of more


def report(choice: Choice, page: Path | None, command: str, console: Console, with_code: bool = False) -> None:
    """Lists the runs that are meant or, if there is a page to write, compares them there and in the terminal.

    `command` is what was typed; the page shows it. ConfigError or StoreError if there is nothing to report or
    nowhere to write.
    """
    if page:
        check_page(page)
    with reading_store(console) as client:
        chosen = choose(client, choice, console)
        if not page:
            if choice.best:
                list_best(chosen, console)
            else:
                list_runs(chosen, console)
            return
        if not choice.runs:  # a parent has nothing to compare
            chosen = [facts for facts in chosen if facts.params and not facts.trials] or chosen
        code = code_between(client, chosen) if with_code else {}
        with fetching(console, len(chosen)) as advance:
            compared = comparison.fetch(client, chosen, advance)
        compare_runs(compared, console)
        print_code(code, console)
        write_page(page, report_page.render(compared, command, time.strftime("%Y-%m-%d %H:%M"), code))
    say(console, f"the page: {page.absolute().as_uri()}")


def report_groups(choice: Choice, question: Question, files: Sequence[Path], command: str, console: Console) -> None:
    """Compares the runs that are meant in groups: in the terminal, on the first of the files, a page, and in others."""
    page, *others = files
    check_page(page)
    for other in others:
        check_file("out", other, tables.ENDINGS)
    with reading_store(console) as client:
        groups = answer(choose(client, choice, console), question)
        with fetching(console, sum(len(row.runs) for row in groups.rows)) as advance:
            drawn = bands.fetch(client, [row.runs for row in groups.rows], advance)
        print_groups(groups, drawn, console)
        write_page(page, report_page.render_groups(groups, drawn, command, time.strftime("%Y-%m-%d %H:%M")))
        for other in others:
            tables.write(table(groups), other)
    for other in others:
        say(console, f"written: {other}")
    say(console, f"the page: {page.absolute().as_uri()}")


@contextlib.contextmanager
def reading_store(console: Console) -> "Iterator[MlflowClient]":
    """A client of the store, and one message for whatever is wrong with that."""
    store.check_store(reading=True)
    database = store.database_file()
    if database and not database.exists():  # opening it would make one
        raise ConfigError(f"there is no run yet ({database} is not there); `{typed('train')}` makes one")
    try:
        with working(console, "opening the store"):
            client = store.open_store()
        yield client
    except Exception as error:
        if store.is_fault(error):
            raise store.StoreError(store.in_a_line(error, store.tracking_uri())) from error
        raise


def choose(client: "MlflowClient", choice: Choice, console: Console) -> list[Facts]:
    """The runs that are meant; ConfigError if there is none."""
    with working(console, "looking for the runs"):
        chosen = comparison.choose(client, choice)
    if not chosen:
        said = choice.filter or choice.experiment or choice.study
        raise ConfigError("no run is like that" if said else "there is no run yet")
    return chosen


def default_page() -> Path:
    """Where a page goes that nobody gave a place: below mlruns/, named by the time."""
    return REPORTS / time.strftime("%Y%m%d-%H%M%S.html")


def check_page(page: Path) -> None:
    """Raises ConfigError if the page cannot be written there."""
    if page.parent != REPORTS:
        check_file("html", page, (".html",))
    elif not os.access(
        next(folder for folder in page.parents if folder.exists()), os.W_OK
    ):  # made when there is a page
        raise ConfigError(f"html=FILE.html is needed: {REPORTS} cannot be written by this user")


def check_file(word: str, file: Path, endings: Sequence[str]) -> None:
    """Raises ConfigError unless there can be such a file, with one of these endings."""
    if file.suffix not in endings:
        raise ConfigError(f"{word}={file}: must be the name of a file that ends in {' or '.join(endings)}")
    if len(os.fsencode(file.name)) > LONGEST_FILE_NAME:
        raise ConfigError(f"{word}={file}: the name must have at most {LONGEST_FILE_NAME} bytes")
    if not os.path.isdir(file.parent) or os.path.isdir(file) or not os.access(file.parent, os.W_OK):
        raise ConfigError(f"{word}={file}: must be a file in a folder that is there and can be written")


def write_page(page: Path, html: str) -> None:
    """Writes the page whole or, if that fails, not at all."""
    page.parent.mkdir(parents=True, exist_ok=True)
    if page.parent == REPORTS:
        store.remember_store()
    with whole_file(page) as whole:
        whole.write_text(html, encoding="utf-8")


@contextlib.contextmanager
def fetching(console: Console, runs: int) -> Iterator[Callable[[], None]]:
    """A bar over the runs whose files are fetched; nothing when the output is no terminal."""
    with rich.progress.Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("fetching the curves", total=runs)
        yield lambda: bar.advance(task)


def list_best(chosen: Sequence[Facts], console: Console) -> None:
    """The runs of each data set by themselves, under the metric by which they are ranked."""
    for data, runs in itertools.groupby(chosen, lambda facts: facts.data):
        ranked = list(runs)
        key = comparison.ranking(ranked)
        say(console, f"{printable(data)}, by {key}:", "bold")
        list_runs(ranked, console, key)


def list_runs(chosen: Sequence[Facts], console: Console, metric: str = COST) -> None:
    """A row a run with its cost and its error on samples that it never saw; a wider terminal shows more.

    A study's row has its best trial's value, under the study's objective.
    """
    fits = [
        key for key, end in zip(MORE, itertools.accumulate(MORE.values()), strict=True) if NARROW + end <= console.width
    ]
    errors = list(dict.fromkeys([COST, metric, HELD_OUT, *(key for key in fits if key == VALIDATION)]))
    more = [key for key in fits if key != VALIDATION]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("id", no_wrap=True)
    table.add_column("name", overflow="fold")
    table.add_column("data set", overflow="fold", max_width=DATA)
    table.add_column("status", no_wrap=True)
    for key in errors:
        table.add_column(HEADS.get(key, key), no_wrap=True, justify="right")
    for key in more:
        table.add_column(key, no_wrap=True, max_width=MORE[key] - 2)
    for facts in chosen:
        origin = {key: values[0] for key, values in comparison.origins([facts]).items()}
        table.add_row(
            id_text(facts),
            Text(parent_in_words(facts, errors) if facts.trials else facts.name),
            Text(comparison.data_name(facts) or ABSENT),
            status_text(facts),
            *(comparison.number(facts.metrics.get(key)) for key in errors),
            *(Text(origin[key]) for key in more),
        )
    console.print(table)
    for facts in chosen:
        if facts.status == comparison.UNREADABLE:
            say(console, f"{facts.run_id[:8]}: {facts.reason}", "yellow")
    if any(facts.trials and not facts.seeds for facts in chosen):
        say(console, "a study's row has the best value of its trials; study=ID lists these", "dim")
    if any(facts.seeds for facts in chosen):
        say(console, "a row over seeds has the medians of its runs; runs=ID compares these", "dim")


def parent_in_words(facts: Facts, shown: Collection[str]) -> str:
    """A parent's name and its runs' states; a study's best value, too, if no column shown is of its objective."""
    name = f"{facts.name}, seeds {facts.seeds}" if facts.seeds and facts.seeds not in facts.name else facts.name
    words = f"{name}: {facts.trials}"
    if "best_value" in facts.metrics and not facts.metrics.keys() & set(shown):
        words += f", best value {comparison.number(facts.metrics['best_value'])}"
    return words


def compare_runs(compared: Sequence[Compared], console: Console) -> None:
    """The runs with the shape of their cost curves, how each went, and what differs between their configs."""
    chosen = [run.facts for run in compared]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("", justify="right")
    table.add_column("id", no_wrap=True)
    table.add_column("", overflow="fold")
    table.add_column("status", no_wrap=True)
    table.add_column("commit", no_wrap=True)
    table.add_column("cost", no_wrap=True)
    curves = [run.curve for run in compared]
    sparks = sparklines([curve and curve.mean() for curve in curves], comparison.highest_drawn(curves))
    labels = comparison.labels(chosen)
    for i, facts in enumerate(chosen):
        spark = Text(sparks[i], report_page.color(i))
        commit = Text(facts.commit or ABSENT)
        table.add_row(head(i), id_text(facts), Text(labels[i]), status_text(facts), commit, spark)
    console.print(table)
    for i, facts in enumerate(chosen):
        if facts.reason:
            say(console, f"{i + 1} {facts.status}: {facts.reason}", "yellow")

    print_grids(compared, console)
    for group in comparison.same_bits(chosen):
        say(console, f"the same bits in every cost: {comparison.numbers(group)}", "green")
    if without := [i for i, run in enumerate(compared) if run.curve is None]:
        say(console, f"without a cost curve: {comparison.numbers(without)}", "dim")
    if without := comparison.without_fit(compared):
        say(console, f"without a picture of the fit: {comparison.numbers(without)}", "dim")
    for i, run in enumerate(compared):
        if run.fault:
            say(console, f"{i + 1}: {run.fault}", "yellow")


def print_grids(compared: Sequence[Compared], console: Console) -> None:
    """How the runs went, and what differs between their configs; of more than can be read, where it is."""
    chosen = [run.facts for run in compared]
    if len(chosen) > READABLE:
        say(console, f"\nhow each of {len(chosen):,} runs went, and what differs in their configs: on the page")
        return
    results = comparison.results(compared) | {"level": comparison.origins(chosen)["level"]}
    print_grid(console, "how they went", results, comparison.best_in(results, chosen))
    if len(chosen) > 1:
        print_grid(console, "what differs in their configs", comparison.differing(chosen), {})
    console.print()
    if len(chosen) > 1 and not comparison.differing(chosen):
        say(console, "nothing differs in what their configs train")


def code_between(client: "MlflowClient", chosen: Sequence[Facts]) -> dict[str, Difference]:
    """In what the code of each run differs from that of the first, by what is compared; ConfigError for one alone."""
    runs = [facts.run for facts in chosen if facts.run]
    if len(runs) < 2:
        raise ConfigError("--code: takes two runs or more, as in runs=ID,ID")
    first, *others = (run.info.run_id[:8] for run in runs)
    found = source.differences(client, runs)
    return {f"{first} to {other}": one for other, one in zip(others, found, strict=True)}


def print_code(code: Mapping[str, Difference], console: Console) -> None:
    """In what the code of the runs differs: the files, the lines, and what is not known."""
    for between, found in code.items():
        console.print(f"\n[bold]the code, {between}[/]")
        say(console, found.summary())
        for file in found.files:
            say(console, f"  {file.in_words()}")
        if found.more:
            say(console, f"  ... and {found.more:,} files more")
        for line in found.lines:
            say(console, line, LINE_STYLES.get(line[:1], ""))
        if found.cut:
            say(console, f"not shown, since it would be too long: {found.cut:,} of the files", "dim")
        for one in found.unknown:
            say(console, one, "yellow")


def print_grid(console: Console, title: str, grid: Mapping[str, Sequence[str]], best: Mapping[str, set[int]]) -> None:
    """The keys' values for each run, the longer side down, in as many tables as the terminal's width asks for."""
    if not grid:
        return
    keys, runs = list(grid), len(next(iter(grid.values())))

    def cell(key: str, i: int) -> Text:
        return Text(grid[key][i], "bold green" if i in best.get(key, ()) else "")

    if runs <= len(keys):
        labels, heads = [Text(key) for key in keys], [head(i) for i in range(runs)]
        columns = [[cell(key, i) for key in keys] for i in range(runs)]
    else:
        labels, heads = [head(i) for i in range(runs)], [Text(key) for key in keys]
        columns = [[cell(key, i) for i in range(runs)] for key in keys]
    texts = [[top, *column] for top, column in zip(heads, columns, strict=True)]
    widths = [min(WIDEST, max(cell_len(text.plain) for text in column)) for column in texts]
    first = max(cell_len(label.plain) for label in labels)
    console.print(f"\n[bold]{title}[/]")
    for block in blocks(widths, console.width - first - 2):
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="")
        table.add_column("", no_wrap=True)
        for column in block:
            table.add_column(heads[column], justify="right", max_width=WIDEST, overflow="fold")
        for row, label in enumerate(labels):
            table.add_row(label, *(columns[column][row] for column in block))
        console.print(table)


def blocks(widths: Sequence[int], room: int) -> Iterator[list[int]]:
    """The columns of these widths, two spaces after each, in groups that fit into the room; never none in a group."""
    block: list[int] = []
    used = 0
    for column, width in enumerate(widths):
        if block and used + width + 2 > room:
            yield block
            block, used = [], 0
        block.append(column)
        used += width + 2
    yield block


def sparklines(means: Sequence[Curve | None], highest: float) -> list[str]:
    """Each curve over its steps, its logarithm in eighths of a line on one scale for all, up to the highest cost."""
    top = np.log10(highest)
    shapes = []
    for mean in means:
        points = np.log10(mean.finite().costs) if mean else np.zeros(0)
        places = np.linspace(0, len(points) - 1, SPARK_WIDTH if len(points) else 0).round().astype(int)
        shapes.append(np.minimum(points[places], top))
    everything = np.concatenate(shapes)
    low, high = everything.min(initial=top), everything.max(initial=-np.inf)
    scale = (len(SPARKS) - 1) / max(high - low, 1e-9)
    return ["".join(SPARKS[round(eighth)] for eighth in (shape - low) * scale) for shape in shapes]


def print_groups(groups: Groups, drawn: Sequence[Band | None], console: Console) -> None:
    """The rows with the shape of their median cost curves, the table of them, and what has to be said of it."""
    curves = bands.medians(drawn)
    sparks = sparklines(curves, comparison.highest_drawn(curves))
    shapes = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    for i, name in enumerate(groups.names):
        shapes.add_row(head(i), Text(name), Text(sparks[i], report_page.color(i)))
    console.print(shapes)
    found = table(groups)
    say(console, f"\n{found.caption}", "bold")
    print_table(found, console)
    for note in groups.notes:
        say(console, note, "dim")


def print_table(found: tables.Table, console: Console) -> None:
    """The table, in as many as the terminal's width asks for; the rows of each data set below its name."""
    columns = dict(found.columns)
    sections = columns.pop(DATA_SET, [""] * len(found.rows))
    named = found.named - (DATA_SET in found.columns)
    heads = [re.sub(r"(?<=[./%]) ?", "\n", key) for key in columns]
    cells = list(columns.values())
    widths = [
        min(WIDEST, max(map(cell_len, [*heading.split("\n"), *texts])))
        for heading, texts in zip(heads, cells, strict=True)
    ]
    first = len(str(len(sections)))
    for block in blocks(widths, console.width - first - 2):
        shows_heads = True
        for section, places in itertools.groupby(range(len(sections)), lambda i: sections[i]):
            if section:
                say(console, section, "bold dim")
            part = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim", show_header=shows_heads)
            part.add_column("", justify="right", min_width=first)
            for i in block:
                side: Literal["left", "right"] = "left" if i < named else "right"
                part.add_column(Text(heads[i]), justify=side, overflow="fold", width=widths[i])
            for place in places:
                part.add_row(head(place), *(Text(cells[i][place]) for i in block))
            console.print(part)
            shows_heads = False


def head(i: int) -> Text:
    """A run's number, in the colour of its curve."""
    return Text(str(i + 1), f"bold {report_page.color(i)}")


def id_text(facts: Facts) -> Text:
    """As much of a run's id as nearly always tells it from all others."""
    return Text(facts.run_id[:8], "cyan")


def status_text(facts: Facts) -> Text:
    """The status in its colour."""
    return Text(facts.status, STATUS_STYLES.get(facts.status, "yellow"))
