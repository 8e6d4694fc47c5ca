"""The best recipe at 200 steps against the tutorial's."""

from typing import Any

from lstm_lab.findings import figures
from lstm_lab.findings.runs import Runs, Studies, by_seed, grid_command, select
from lstm_lab.findings.template import Finding
from lstm_lab.science.statistics import median, paired

STUDY = "best"
TUTORIAL_COST = 0.335  # the last cost that the tutorial prints; no run of ours


def compute(studies: Studies) -> Finding:
    """Both recipes' costs, and the tutorial's over the best recipe's."""
    ours, tutorials = studies.grid(STUDY), select(studies.grid("carry"), training__carry_state=True)
    figure = figures.curves_figure(
        {"experiment=best": studies.curves(ours), "the tutorial's recipe": studies.curves(tutorials)},
        title="the best recipe found at 200 steps",
        ylabel="cost (median and middle half of the seeds)",
    )
    values = {
        "tutorial_cost": TUTORIAL_COST,
        "ours": costs(ours),
        "tutorials": costs(tutorials),
        "compared": paired(by_seed(tutorials, "final_cost"), by_seed(ours, "final_cost")),
        "command": grid_command(STUDY, studies.seeds),
    }
    return Finding(values, {"best": figure})


def costs(runs: Runs) -> dict[str, Any]:
    """What a recipe's runs cost in the end."""
    last = by_seed(runs, "final_cost").values()
    return {
        "last": median(last),
        "span": (min(last), max(last)),
        "mean_of_20": median(by_seed(runs).values()),
        "times_below": TUTORIAL_COST / median(last).median,
    }
