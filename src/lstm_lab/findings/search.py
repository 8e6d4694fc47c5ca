"""The map of cell size and learning rate, and TPE against random search."""

from collections.abc import Sequence

import numpy as np

from lstm_lab.findings import figures
from lstm_lab.findings.runs import COST, Runs, Studies
from lstm_lab.findings.template import Finding
from lstm_lab.reports import tables
from lstm_lab.reports.groups import value
from lstm_lab.science.statistics import Estimate, Paired, median, paired

SAMPLERS = ("tpe", "random")


def commands(seeds: int) -> list[list[str]]:
    """The overrides of the repeated searches' commands."""
    return [search_command(sampler, seed) for seed in range(seeds) for sampler in SAMPLERS]


def search_command(sampler: str, seed: int) -> list[str]:
    """The overrides of one of the repeated searches."""
    return [
        "sweeps=search",
        f"hydra/sweeper/sampler={sampler}",
        f"hydra.sweeper.seed={1000 * seed}",  # a trial draws from this plus its number: no two searches share a draw
        f"training.seed={seed}",
    ]


def compute(studies: Studies) -> Finding:
    """The best field of the map, and the best costs so far of both samplers."""
    tpe, random = (
        [studies.runs(search_command(sampler, seed)) for seed in range(studies.seeds)] for sampler in SAMPLERS
    )
    sizes, edges, costs, counts = cost_map([run for search in random for run in search])
    row, column = np.unravel_index(np.nanargmin(costs), costs.shape)
    so_far = {"TPE": best_so_far(tpe), "random": best_so_far(random)}
    trials = so_far["TPE"].shape[1]
    rows = []
    for n in sorted({*range(5, trials, 5), trials}):
        *medians, compared = compare(so_far, n)
        rows.append([str(n), *map(tables.text, medians), tables.ratio(compared)])
    sources = {"TPE": [run for search in tpe for run in search], "random": [run for search in random for run in search]}
    values = {
        "seeds": studies.seeds,
        "runs": counts.sum(),
        "cell_size": sizes[row],
        "rates": (edges[column], edges[column + 1]),
        "cost": costs[row, column],
        "of_runs": counts[row, column],
        "trials": trials,
        "table": tables.markdown(["trials", "TPE", "random", "random / TPE"], rows, sources),
        "ahead": compare(so_far, trials)[2].decided,
        "command": search_command("random", 1),
    }
    drawn_map = figures.map_figure(
        costs, counts, sizes, edges, "median cost after 200 steps over cell size and learning rate"
    )
    samplers = figures.curves_figure(
        so_far,
        title="TPE against random search",
        xlabel="trials",
        ylabel="best cost so far (median and middle half of the studies)",
    )
    return Finding(values, {"map": drawn_map, "samplers": samplers})


def best_so_far(searches: Sequence[Runs]) -> np.ndarray:
    """The best cost after each trial [searches, trials]."""
    return np.array([np.minimum.accumulate([value(run, COST) for run in search]) for search in searches])


def compare(so_far: dict[str, np.ndarray], trials: int) -> tuple[Estimate, Estimate, Paired]:
    """The best costs after so many trials, TPE's and the random searches', and these over TPE's."""
    tpe, random = (dict(enumerate(so_far[sampler][:, trials - 1])) for sampler in ("TPE", "random"))
    return median(tpe.values()), median(random.values()), paired(random, tpe)


def cost_map(runs: Runs, bins: int = 7) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Median costs over cell sizes (rows) and bins of the learning rate, even on a log scale.

    Returns the sizes, the bins' edges, the costs and the numbers of runs; no run, no cost (NaN).
    """
    size_of = np.array([run.params["model.cell_size"] for run in runs])
    sizes = sorted(set(size_of.tolist()), key=int)
    rates = np.log10([float(run.params["optimizer.learning_rate"]) for run in runs])
    cost = np.array([value(run, COST) for run in runs])
    edges = np.linspace(rates.min(), rates.max(), bins + 1)
    bin_of = np.clip(np.digitize(rates, edges) - 1, 0, bins - 1)
    costs, counts = np.full((len(sizes), bins), np.nan), np.zeros((len(sizes), bins), int)
    for row, column in np.ndindex(costs.shape):
        inside = cost[(size_of == sizes[row]) & (bin_of == column)]
        counts[row, column] = len(inside)
        if len(inside):
            costs[row, column] = np.median(inside)
    return sizes, 10**edges, costs, counts
