"""Carrying the state against resetting it."""

from lstm_lab.findings import figures
from lstm_lab.findings.runs import COST, Studies, grid_command
from lstm_lab.findings.template import Finding
from lstm_lab.reports import tables
from lstm_lab.reports.groups import results, split
from lstm_lab.science.statistics import median, paired

STUDY = "carry"


def compute(studies: Studies) -> Finding:
    """The costs with the state carried and reset, and the latter over the former."""
    runs = studies.grid(STUDY)
    by_state = split(runs, "training.carry_state")
    carried, reset = by_state["True",], by_state["False",]
    costs = {"carried": results(carried, COST), "reset": results(reset, COST)}
    figure = figures.curves_figure(
        {"state carried": studies.curves(carried), "state reset": studies.curves(reset)},
        title="carrying the state against resetting it",
        ylabel="cost (median and middle half of the seeds)",
    )
    rows = [[state, tables.text(median(found.values()))] for state, found in costs.items()]
    values = {
        "table": tables.markdown(["state", "cost after 200 steps"], rows, {"carried": carried, "reset": reset}),
        "compared": paired(costs["reset"], costs["carried"]),
        "worse": sum(costs["reset"][seed] > cost for seed, cost in costs["carried"].items()),
        "command": grid_command(STUDY, studies.seeds),
    }
    return Finding(values, {"carry": figure})
