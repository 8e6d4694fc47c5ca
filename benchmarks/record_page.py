"""RECORDS.md out of the rows of the board (records.json), by the template beside this file."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
WINDOW = 20  # costs, whose mean is to be below ...
BOUNDS = ("1e-3", "1e-5")


@dataclass(frozen=True)
class Row:
    """A recipe on the board, trained for so many `updates`; `costs` and `until` by seed, from 0 on.

    `words` are what is typed after src/train.py, `costs` the SHA-256 of each run's float32 costs, `until` the updates
    until the mean cost stays below each bound, None where it does not.
    """

    name: str
    date: str
    changed: str
    words: list[str]
    commit: str
    updates: int
    samples_per_update: int
    costs: list[str]
    until: dict[str, list[int | None]]

    @property
    def command(self) -> str:
        """As it is typed."""
        return shlex.join(["python", "src/train.py", f"seeds={len(self.costs)}", *self.words])

    def middle(self, bound: str) -> float:
        """The median of the seeds' updates, a seed that does not get there counting as infinite."""
        return float(np.median([math.inf if one is None else one for one in self.until[bound]]))

    def samples(self, bound: str) -> float:
        """The same in samples."""
        return self.middle(bound) * self.samples_per_update


def figures(rows: Sequence[Row]) -> dict[str, list[str]]:
    """The four numbers of each row, by its name, as the table shows them: updates and samples until each bound."""
    cells: dict[str, list[str]] = {row.name: [] for row in rows}
    for bound in BOUNDS:
        for column in ([row.middle(bound) for row in rows], [row.samples(bound) for row in rows]):
            for row, number in zip(rows, column, strict=True):
                cells[row.name].append(shown(number, number == min(column)))
        for row in rows:
            if math.isinf(row.middle(bound)):
                cells[row.name][-2:] = [f"not reached in {row.updates:,} updates", ""]
    return cells


def shown(number: float, best: bool) -> str:
    """A number, in bold if no other is less."""
    text = f"{number:,.1f}".removesuffix(".0")
    return f"**{text}**" if best else text


def render(rows: Sequence[Row]) -> str:
    """All of RECORDS.md."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=False,  # Markdown of our own numbers and words
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    template = environment.get_template("RECORDS.md.jinja")
    return template.render(rows=rows, figures=figures(rows), bounds=BOUNDS) + "\n"
