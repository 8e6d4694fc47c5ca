"""Carrying the state against resetting it."""

from lstm_lab.findings import figures
from lstm_lab.findings.runs import Studies, by_seed, grid_command, select
from lstm_lab.findings.template import Finding
from lstm_lab.science.statistics import median, paired

STUDY = "carry"


def compute(studies: Studies) -> Finding:
    """The costs with the state carried and reset, and the latter over the former."""
    runs = studies.grid(STUDY)
    carried, reset = (select(runs, training__carry_state=state) for state in (True, False))
    figure = figures.curves_figure(
        {"state carried": studies.curves(carried), "state reset": studies.curves(reset)},
        title="carrying the state against resetting it",
        ylabel="cost (median and middle half of the seeds)",
    )
    values = {
        "carried": median(by_seed(carried).values()),
        "reset": median(by_seed(reset).values()),
        "compared": paired(by_seed(reset), by_seed(carried)),
        "worse": sum(by_seed(reset)[seed] > cost for seed, cost in by_seed(carried).items()),
        "command": grid_command(STUDY, studies.seeds),
    }
    return Finding(values, {"carry": figure})
