"""The papers' tasks of long memory, row by row: how often they are solved here, after how many sequences, how well."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lstm_lab.findings.runs import Runs, Studies
from lstm_lab.findings.template import Finding
from lstm_lab.papers import figures
from lstm_lab.papers.published import CUT, ROWS, Published
from lstm_lab.reports import tables
from lstm_lab.reports.comparison import ABSENT, Facts
from lstm_lab.reports.groups import split
from lstm_lab.runs.metrics import SOLVED, WRONG
from lstm_lab.science.statistics import Estimate, median

# The cells, by Keras's name and by whether their gates begin by keeping the state
LSTM, GRU, RNN, TUTORIALS = "LSTM", "GRU", "simple RNN", "the tutorial's LSTM"
EARLIER = ("ST1", "fewer_than_140")  # criteria after which a run goes on until a stricter one
HEAD = ["task", "paper: sequences", "here", "solved", "paper: wrong", "here"]


@dataclass(frozen=True)
class Outcome:
    """What runs of one cell came to on one row: `until` [runs] are sequences, infinite where it is not solved.

    `wrong` [solved runs] are new sequences that were wrong afterwards; `most` sequences were trained on at most.
    """

    until: Sequence[float]
    wrong: Sequence[float]
    most: int

    @property
    def solved(self) -> int:
        """How many runs solved it."""
        return sum(map(math.isfinite, self.until))


def studies_of(reduced: bool) -> list[str]:
    """The files of sweeps/ that train the rows; of a reduced page those that are quick."""
    return list(dict.fromkeys(f"papers/{row.study}" for row in ROWS if row.quick or not reduced))


def compute(studies: Studies) -> Finding:
    """The tables of all rows, by the cells, and the figure."""
    reduced = studies.seeds < studies.full
    rows = [row for row in ROWS if row.quick or not reduced]
    runs = {row.study: by_cell(studies.grid(f"papers/{row.study}")) for row in rows}
    outcomes = {row: {cell: outcome(row, found) for cell, found in runs[row.study].items()} for row in rows}
    sources = {f"{row.task}, {cell}": of_cell for row in rows for cell, of_cell in runs[row.study].items()}
    main = [line(row, outcomes[row][LSTM]) for row in rows]
    cells = [
        [row.task, named(row), *(short(outcomes[row].get(cell)) for cell in (LSTM, GRU, RNN, TUTORIALS))]
        for row in rows
    ]
    values = {
        "table": tables.markdown(HEAD, main),
        "cells": tables.markdown(["task", "criterion", LSTM, GRU, RNN, TUTORIALS], cells, sources),
        "where": [(row.task, row.where, named(row)) for row in rows],
        "cut": CUT,
        "rows": len(rows),
        "studies": [studies.command(study) for study in studies_of(reduced)],
        "counts": counts(rows, outcomes),
    }
    drawn = figures.rows_figure(
        {f"{row.task} {named(row)}".strip(): (row, outcomes[row]) for row in rows if row.sequences}
    )
    return Finding(values, {"rows": drawn})


def by_cell(runs: Runs) -> dict[str, list[Facts]]:
    """The runs of each cell, by its name here."""
    found = {}
    for (cell, memory), of_cell in split(runs, "model.cell", "model.memory_steps").items():
        name = {"lstm": LSTM, "gru": GRU}.get(cell, RNN) if memory != "1" else TUTORIALS
        found[name] = of_cell
    return found


def outcome(row: Published, runs: Sequence[Facts]) -> Outcome:
    """What the runs came to."""
    until = [run.metrics.get(f"{SOLVED}{row.criterion}", math.inf) for run in runs]
    wrong = [
        run.metrics[WRONG] for run, met in zip(runs, until, strict=True) if math.isfinite(met) and WRONG in run.metrics
    ]
    most = max(int(run.params["training.steps"]) * int(run.params["data.batch_size"]) for run in runs)
    return Outcome(until, wrong, most)


def line(row: Published, found: Outcome) -> list[str]:
    """A row of the table: the paper's numbers and the LSTM's, each with its verdict."""
    until, wrong = median(found.until), median(found.wrong)
    sequences, afterwards = reached(until, found), ABSENT
    if found.wrong and row.criterion not in EARLIER:
        afterwards = f"{tables.text(wrong)} of {row.of:,}"
        afterwards += "" if row.wrong is None else f", {compared(wrong, row.wrong)}"
    return [
        f"{row.task} {named(row)}".strip(),
        ABSENT if row.sequences is None else f"{row.sequences:,.0f}",
        sequences if row.sequences is None else f"{sequences}, {compared(until, row.sequences, found.most)}",
        f"{found.solved} of {len(found.until)}, {as_often(found, row.share)}",
        ABSENT if row.wrong is None else f"{tables.number(row.wrong)} of {row.of:,}",
        afterwards,
    ]


def named(row: Published) -> str:
    """The criterion's name, where there are several."""
    return {"solved": "", "fewer_than_140": "< 140", "fewer_than_13": "< 13"}.get(row.criterion, row.criterion)


def reached(until: Estimate, found: Outcome) -> str:
    """The median of the sequences and its interval; what is beyond the end of training is not known."""
    if math.isinf(until.median):
        return f"not within {found.most:,}"
    if math.isnan(until.low):
        return f"{until.median:,.0f}"
    high = f"{until.high:,.0f}" if math.isfinite(until.high) else f"beyond {found.most:,}"
    return f"{until.median:,.0f} [{until.low:,.0f}, {high}]"


def short(found: Outcome | None) -> str:
    """How many runs of a cell solved a row, and the median of their sequences."""
    if found is None:
        return "not run"
    middle = float(np.median(found.until))
    after = f", {middle:,.0f}" if math.isfinite(middle) else ""
    return f"{found.solved} of {len(found.until)}{after}"


def as_often(found: Outcome, share: float) -> str:
    """Whether the paper's share of trials lies in the exact 95 % interval of ours (Clopper and Pearson, 1934)."""
    from scipy import stats

    interval = stats.binomtest(found.solved, len(found.until)).proportion_ci(0.95, "exact")
    return "less often" if share > interval.high else "more often" if share < interval.low else "as often"


def compared(estimate: Estimate, published: float, most: float = math.inf) -> str:
    """Whether the paper's mean lies in the interval of our median, of which nothing is known beyond `most`."""
    if math.isnan(estimate.low):
        return "too few seeds"
    if estimate.high < published:
        return "fewer"
    if min(estimate.low, most) > published:
        return "more"
    return "open" if math.isinf(estimate.median) and most < published else "as many"


def counts(rows: Sequence[Published], outcomes: Mapping[Published, Mapping[str, Outcome]]) -> dict[str, int]:
    """How many rows there are with each verdict on the LSTM, and which cells solve how many of them in every run."""
    lstm = {row: outcomes[row][LSTM] for row in rows}
    told = [row for row in rows if row.sequences is not None]
    verdicts = [compared(median(lstm[row].until), row.sequences or 0, lstm[row].most) for row in told]
    found = {
        "often": sum(as_often(lstm[row], row.share) != "less often" for row in rows),
        "told": len(told),
        **{said: verdicts.count(said) for said in ("fewer", "more")},
    }
    for cell in (LSTM, GRU, RNN, TUTORIALS):
        there = [outcomes[row][cell] for row in rows if cell in outcomes[row]]
        found |= {cell: sum(one.solved == len(one.until) for one in there), f"{cell} of": len(there)}
    return found
