"""The continual Reber stream with the state carried, and with the state reset before each window."""

import math

from lstm_lab.findings.runs import Studies
from lstm_lab.findings.template import Finding
from lstm_lab.papers.rows import LSTM, by_cell
from lstm_lab.reports import tables
from lstm_lab.runs.metrics import SOLVED, WRONG
from lstm_lab.science.statistics import ACCEPTED, median

CARRIED, RESET = "papers/continual-reber", "papers/continual-reber-reset"


def compute(studies: Studies) -> Finding:
    """How many runs solve the stream either way, and how many of the ten test streams are wrong."""
    found = {name: by_cell(studies.grid(study))[LSTM] for name, study in (("carried", CARRIED), ("reset", RESET))}
    solved = {name: sum(f"{SOLVED}solved" in run.metrics for run in runs) for name, runs in found.items()}
    rows = [
        [name, f"{solved[name]} of {len(runs)}", tables.text(median(run.metrics.get(WRONG, math.inf) for run in runs))]
        for name, runs in found.items()
    ]
    p = chance([(solved[name], len(runs)) for name, runs in found.items()])
    values = {
        "table": tables.markdown(["state in training", "solved", "wrong test streams, of 10"], rows, found),
        "p": p,
        "holds": p < ACCEPTED,
        "commands": [studies.command(CARRIED), studies.command(RESET)],
    }
    return Finding(values, {})


def chance(counts: list[tuple[int, int]]) -> float:
    """The p of as many more successes of the first kind, of (successes, runs) each: Fisher's exact test, one-sided."""
    from scipy import stats

    (first, of_first), (second, of_second) = counts
    table = [[first, of_first - first], [second, of_second - second]]
    return float(stats.fisher_exact(table, alternative="greater").pvalue)
