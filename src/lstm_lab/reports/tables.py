"""Tables of what runs say together: for the terminal and the page, and as Markdown, CSV and LaTeX.

Each row knows the runs that it comes from. Their ids, seeds and cost hashes go along with it, in a comment or a column.
"""

import math
import re
import textwrap
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstm_lab.paths import whole_file
from lstm_lab.records.reading import printable
from lstm_lab.reports.comparison import ABSENT, Facts
from lstm_lab.runs import recipe, sheets
from lstm_lab.runs.telling import in_markdown
from lstm_lab.science.statistics import Estimate, Paired

WIDTH = 118  # of a comment's lines
WHOLE = 10**6  # characters: more than any text has here
NO_HASH = "none"  # where a run has no hash of its costs
TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}",
    '"': "''", "[": "{[}", "*": "{*}", **{letter: f"\\{letter}" for letter in "&%$#_"},
}  # fmt: skip
ACCENTS = "\u0300\u0301\u0302\u0303\u0308\u030a\u030c\u0327"  # that LaTeX puts on letters of ASCII
LAST_READ = "\u017f"  # the last of the letters with accents that it reads


@dataclass(frozen=True)
class Table:
    """Columns of texts as one reads them, each [rows], and the numbers that they are short for, in as many rows."""

    caption: str
    columns: Mapping[str, Sequence[str]]
    named: int  # so many of them, the first ones, say what a row is; the others are numbers
    exact: Mapping[str, Sequence[Any]]
    sources: Mapping[str, Sequence[Facts]]  # the runs of each row by its name
    notes: Sequence[str]

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The texts, row by row."""
        return list(zip(*self.columns.values(), strict=True))


def number(x: float, digits: int = 2) -> str:
    """So many digits, without an exponent as long as that is readable."""
    if x == 0 or not 1e-6 <= abs(x) < 1e6:
        return f"{x:.{digits}g}"
    rounded = float(f"{x:.{digits}g}")
    return f"{rounded:,.{max(0, digits - 1 - math.floor(math.log10(abs(rounded))))}f}"


def text(estimate: Estimate, digits: int = 2) -> str:
    """A median and its interval: '0.021 [0.013, 0.034]'; a dash where there is no value."""
    if math.isnan(estimate.median):
        return ABSENT
    middle = number(estimate.median, digits)
    return middle if math.isnan(estimate.low) else f"{middle} {interval(estimate, digits)}"


def interval(estimate: Estimate, digits: int = 2) -> str:
    """The interval of a median, or a dash where there is none."""
    ends = number(estimate.low, digits), number(estimate.high, digits)
    return ABSENT if math.isnan(estimate.low) else f"[{ends[0]}, {ends[1]}]"


def p(compared: Paired) -> str:
    """The p of a test, with two digits as long as they mean something: 'p < 0.0001', 'p = 0.22'."""
    return "p < 0.0001" if compared.p < 1e-4 else f"p = {compared.p:.2g}"


def chance(compared: Paired) -> str:
    """The same in a column of its own; a dash where there is no pair."""
    return p(compared).removeprefix("p ").removeprefix("= ") if compared.seeds else ABSENT


def ratio(compared: Paired) -> str:
    """How many times one costs the other, and the p of that."""
    return f"{text(compared.ratio)}, {p(compared)}"


def markdown(
    head: Sequence[str], rows: Iterable[Iterable[str]], sources: Mapping[str, Collection[Facts]] | None = None
) -> str:
    """A table of cells that are Markdown already, and below it where it comes from."""
    lines = "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])
    return f"{lines}\n\n{commented(sources)}" if sources else lines


def commented(sources: Mapping[str, Collection[Facts]]) -> str:
    """A comment of HTML that names, for each row, its runs: seed, run id, hash of the costs, 8 digits of both."""
    lines = ["seed, run id and hash of the costs of each run:", *source_lines(sources, 8)]
    wrapped = [line for whole in lines for line in textwrap.wrap(whole, WIDTH, break_long_words=False)]
    inside = re.sub("-(?=-)", "- ", "\n".join(wrapped))  # two of them could end the comment
    return f"<!--\n{inside}\n-->"


def source_lines(sources: Mapping[str, Collection[Facts]], digits: int | None = None) -> list[str]:
    """A line a row: its name, and seed, run id and hash of the costs of each of its runs."""

    def words(runs: Collection[Facts]) -> str:
        return ", ".join(f"{seed_of(run)} {run.run_id[:digits]} {hash_of(run)[:digits]}" for run in runs)

    return [f"{printable(name, WHOLE)}: {words(runs)}" for name, runs in sources.items()]


def seed_of(run: Facts) -> str:
    """The seed as the run has it."""
    return run.params.get(recipe.SEED, "?")


def hash_of(run: Facts) -> str:
    """The SHA-256 of the run's costs, if the store has one."""
    return run.bits if re.fullmatch("[0-9a-f]{64}", run.bits) else NO_HASH


def as_markdown(table: Table) -> str:
    """The table with its notes, and where it comes from in a comment."""

    def whole(text: str) -> str:
        return in_markdown(text, WHOLE)

    rows = [[*map(whole, row[: table.named]), *row[table.named :]] for row in table.rows]
    heads = [*map(whole, list(table.columns)[: table.named]), *list(table.columns)[table.named :]]
    said = "\n".join(f"- {whole(note)}" for note in table.notes)
    parts = [whole(table.caption), markdown(heads, rows, table.sources), said]
    return "\n\n".join(filter(None, parts)) + "\n"


def as_latex(table: Table) -> str:
    """The table for `\\input`, in a document that uses the package booktabs; where it comes from in comments."""
    lines = [table.caption, r"needs \usepackage{booktabs}", *table.notes]
    lines += ["seed, run id and hash of the costs of each run:", *source_lines(table.sources)]
    rows = [" & ".join(map(in_latex, cells)) + r" \\" for cells in [tuple(table.columns), *table.rows]]
    places = "l" * table.named + "r" * (len(table.columns) - table.named)
    drawn = [f"\\begin{{tabular}}{{{places}}}", r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule"]
    return "\n".join([*(f"% {printable(line, WHOLE)}" for line in lines), *drawn, r"\end{tabular}", ""])


def in_latex(cell: str) -> str:
    """A text in a cell of LaTeX; a letter that pdfLaTeX may not know is told by its number."""
    if cell == ABSENT:
        return "--"
    if exponent := re.fullmatch(r"(-?[0-9.]+)e([+-][0-9]+)", cell):
        return rf"${exponent[1]} \times 10^{{{int(exponent[2])}}}$"
    return "".join(TEX.get(letter) or (letter if in_tex_fonts(letter) else f"U+{ord(letter):04X}") for letter in cell)


def in_tex_fonts(letter: str) -> bool:
    """Whether it is of ASCII, or such a letter with one accent that pdfLaTeX reads."""
    base, *accents = list(unicodedata.normalize("NFD", letter))
    if accents and (letter > LAST_READ or len(accents) > 1 or accents[0] not in ACCENTS):
        return False
    return base.isascii() and base.isprintable()


def write(table: Table, path: Path) -> None:
    """Writes the table whole or not at all, as the end of the file's name says."""
    with whole_file(path) as whole:
        if path.suffix == ".csv":
            with open(whole, "w", encoding="utf-8", newline="") as file:
                sheets.write_rows(file, list(table.exact), map(in_cells, zip(*table.exact.values(), strict=True)))
        else:
            whole.write_text(WRITERS[path.suffix](table), encoding="utf-8")


def in_cells(row: Iterable[Any]) -> list[Any]:
    """Cells of a CSV file: all digits of numbers, nothing where there is none, and texts that no program runs."""
    return ["" if value != value else sheets.in_a_cell(value) if isinstance(value, str) else value for value in row]


WRITERS: dict[str, Callable[[Table], str]] = {".md": as_markdown, ".tex": as_latex}
ENDINGS = (".md", ".csv", ".tex")
