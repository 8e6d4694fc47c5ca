"""The best recipe at 200 steps against the tutorial's."""

from typing import Any

from lstm_lab.findings import figures
from lstm_lab.findings.runs import COST, Runs, Studies, grid_command
from lstm_lab.findings.template import Finding
from lstm_lab.reports import tables
from lstm_lab.reports.groups import results, split
from lstm_lab.science.statistics import median, paired

STUDY = "best"
HEAD = ["recipe", "cost of the last step", "from, to", "mean of the last 20", "times below the tutorial's"]
TUTORIAL_COST = 0.335  # the last cost that the tutorial prints; no run of ours


def compute(studies: Studies) -> Finding:
    """Both recipes' costs, and the tutorial's over the best recipe's."""
    ours, tutorials = studies.grid(STUDY), split(studies.grid("carry"), "training.carry_state")["True",]
    figure = figures.curves_figure(
        {"experiment=best": studies.curves(ours), "the tutorial's recipe": studies.curves(tutorials)},
        title="the best recipe found at 200 steps",
        ylabel="cost (median and middle half of the seeds)",
    )
    recipes = {"`experiment=best`": ours, "the tutorial's recipe": tutorials}
    values = {
        "tutorial_cost": TUTORIAL_COST,
        "table": tables.markdown(HEAD, [[recipe, *cells(costs(runs))] for recipe, runs in recipes.items()], recipes),
        "times_below": costs(ours)["times_below"],
        "compared": paired(results(tutorials, "final_cost"), results(ours, "final_cost")),
        "command": grid_command(STUDY, studies.seeds),
    }
    return Finding(values, {"best": figure})


def costs(runs: Runs) -> dict[str, Any]:
    """What a recipe's runs cost in the end."""
    last = results(runs, "final_cost").values()
    return {
        "last": median(last),
        "span": f"{min(last):.2g} to {max(last):.2g}",
        "mean_of_20": median(results(runs, COST).values()),
        "times_below": TUTORIAL_COST / median(last).median,
    }


def cells(costs: dict[str, Any]) -> list[str]:
    """These in a row of the table."""
    return [
        tables.text(costs["last"]), costs["span"], tables.text(costs["mean_of_20"]), tables.number(costs["times_below"])
    ]  # fmt: skip
