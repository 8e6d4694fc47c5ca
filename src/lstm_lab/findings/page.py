"""The findings: what the studies of sweeps/ say, as tables, tests and figures out of the tracked runs alone.

A study is known by its name, which its file and the overrides of its command decide. Every number here is computed from
what MLflow has of the study's runs: their parameters, their metrics, the cost of every step, their final weights.
"""

import math
import shlex
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_lab.config import CannotRunError
from lstm_lab.findings import figures as findings_figures
from lstm_lab.findings import statistics
from lstm_lab.paths import ROOT
from lstm_lab.records import lookup
from lstm_lab.studies.declaration import study_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities import Run

SEEDS = 20  # of each study as its file has it
TUTORIAL_COST = 0.335  # the last cost that the tutorial prints; no run of ours
SAMPLERS = ("tpe", "random")
GRIDS = ("carry", "memory", "window", "truncation", "best")
CELLS = {"lstm": "LSTM", "gru": "GRU", "simple_rnn": "simple RNN"}
BACK = 40  # time steps over which a gradient is followed
ACCEPTED = 0.05  # a difference with a smaller p is called one
Costs = dict[int, float]  # by seed


def commands(seeds: int) -> list[list[str]]:
    """The overrides of every study's command, in the order in which they are run."""
    reduced = [] if seeds == SEEDS else [f"training.seed=range(0,{seeds})"]
    return [[f"sweeps={name}", *reduced] for name in GRIDS] + [
        search_command(sampler, seed) for seed in range(seeds) for sampler in SAMPLERS
    ]


def search_command(sampler: str, seed: int) -> list[str]:
    """The overrides of one of the repeated searches."""
    return [
        "sweeps=search",
        f"hydra/sweeper/sampler={sampler}",
        f"hydra.sweeper.seed={1000 * seed}",  # a trial draws from this plus its number: no two searches share a draw
        f"training.seed={seed}",
    ]


class Findings:
    """The studies with so many seeds, as the store has them."""

    def __init__(self, client: "MlflowClient", seeds: int) -> None:
        self.client, self.seeds = client, seeds
        self.figures: dict[str, Figure] = {}
        self.read: set[str] = set()

    def command(self, name: str) -> list[str]:
        """The overrides of one of the grid studies."""
        return next(words for words in commands(self.seeds) if words[0] == f"sweeps={name}")

    def grid(self, name: str) -> list["Run"]:
        """The runs of one of the grid studies."""
        return self.runs(self.command(name))

    def runs(self, words: Sequence[str]) -> list["Run"]:
        """The finished or failed runs of a study, in the order of their trials; CannotRunError if there are none."""
        name = study_name(words[0].partition("=")[2], words)
        experiments = [found.experiment_id for found in self.client.search_experiments()]
        found = self.client.search_runs(experiments, f"tags.study = '{name}'", max_results=5000)
        runs = [run for run in found if "trial" in run.data.tags and run.info.status in ("FINISHED", "FAILED")]
        if not runs:
            raise CannotRunError(
                f"the store has no run of the study '{name}': python src/train.py -m {shlex.join(words)}"
            )
        self.read |= {run.info.run_id for run in runs}
        return sorted(runs, key=lambda run: int(run.data.tags["trial"]))

    def curves(self, runs: Iterable["Run"]) -> np.ndarray:
        """The cost of every step of runs of one length [runs, steps]."""
        histories = [self.client.get_metric_history(run.info.run_id, "cost") for run in runs]
        return np.array([[point.value for point in sorted(h, key=lambda point: point.step)] for h in histories])


def seed_of(run: "Run") -> int:
    """The seed that decided the run's initial weights."""
    return int(run.data.params["training.seed"])


def cost_of(run: "Run", metric: str = "mean_last_20_cost") -> float:
    """A run's cost at its end; infinite if it diverged."""
    return run.data.metrics.get(metric, math.inf) if run.info.status == "FINISHED" else math.inf


def select(runs: Iterable["Run"], **params: Any) -> list["Run"]:
    """The runs with those parameters; a key's dot is written as two underscores."""
    wanted = {key.replace("__", "."): str(value) for key, value in params.items()}
    return [run for run in runs if all(run.data.params[key] == value for key, value in wanted.items())]


def by_seed(runs: Iterable["Run"], metric: str = "mean_last_20_cost", scale: float = 1.0) -> Costs:
    """The costs at the end, divided by `scale`."""
    return {seed_of(run): cost_of(run, metric) / scale for run in runs}


def write(client: "MlflowClient", seeds: int) -> Path:
    """Writes FINDINGS.md and its figures; with other than the full number of seeds below mlruns/. Returns its path."""
    folder = ROOT if seeds == SEEDS else ROOT / f"mlruns/findings-{seeds}-seeds"
    found = Findings(client, seeds)
    sections = [section(found) for section in (best, carry, memory, gradients, window, truncation, search)]
    pictures = folder / "docs/findings"
    pictures.mkdir(parents=True, exist_ok=True)
    for name, figure in found.figures.items():
        figure.savefig(pictures / f"{name}.png", dpi=110)
    page = folder / "FINDINGS.md"
    page.write_text("\n\n".join([opening(found), *sections]) + "\n")
    return page


def opening(found: Findings) -> str:
    """How the page came about, and how to read it."""
    reduced = "" if found.seeds == SEEDS else f"\n\n**Reduced: {found.seeds} seeds instead of {SEEDS}.**"
    return f"""# Findings

What this repo can say that a tutorial only claims. Written by `make findings`, which runs the studies that are missing
and computes every number below from their {len(found.read):,} tracked runs, seeds 0 to {found.seeds - 1}.{reduced}

Costs differ by orders of magnitude from seed to seed, and their mean is little but the worst seed's. So the tables
have the median over the seeds and, in brackets, its exact 95 % interval (between two order statistics; it takes 6 seeds
or more). Runs that share a seed start from the same weights where their shapes are the same, and are compared in pairs:
the median ratio of their costs, and the p of Wilcoxon's signed-rank test on its logarithm (two-sided, not corrected for
the number of comparisons). 'Cost' is the mean of the last 20 steps' unless it says otherwise. A comparison
holds if p < {ACCEPTED:g} in its favour."""


def carry(found: Findings) -> str:
    """Carrying the state against resetting it."""
    runs = found.grid("carry")
    carried, reset = select(runs, training__carry_state=True), select(runs, training__carry_state=False)
    kinds = {"carried": carried, "reset": reset}
    rows = [[label, text(statistics.median(list(by_seed(kind).values())))] for label, kind in kinds.items()]
    compared = statistics.paired(by_seed(reset), by_seed(carried))
    worse = sum(by_seed(reset)[seed] > cost for seed, cost in by_seed(carried).items())
    found.figures["carry"] = findings_figures.curves_figure(
        {f"state {label}": found.curves(kind) for label, kind in kinds.items()},
        title="carrying the state against resetting it",
        ylabel="cost (median and middle half of the seeds)",
    )
    return f"""## Carrying the state against resetting it

The tutorial hands the final state of each batch to the next. What is that worth, on its own task and recipe?

{table(["state", "cost after 200 steps"], rows)}

Resetting costs {text(compared.ratio)} times as much ({p(compared)}), more with {worse} of {compared.seeds} seeds.

{claim("the carried state matters", decided(compared))}

{shown("carry", "Cost over the steps, with the state carried and reset")}

{how(found.command("carry"))}"""


def memory(found: Findings) -> str:
    """The three cells over growing delays."""
    runs = found.grid("memory")
    delays = sorted({int(run.data.params["data.delay"]) for run in runs})
    unrecalled = {
        (cell, delay): by_seed(select(runs, model__cell=cell, data__delay=delay), scale=time_steps(runs))
        for cell in CELLS
        for delay in delays
    }
    medians = {key: statistics.median(list(costs.values())) for key, costs in unrecalled.items()}
    rows = [[str(delay), *(text(medians[cell, delay]) for cell in CELLS)] for delay in delays]
    against = []
    for delay in delays:
        compared = {
            other: statistics.paired(unrecalled["lstm", delay], unrecalled[other, delay])
            for other in CELLS
            if other != "lstm"
        }
        against.append([str(delay), *(f"{text(c.ratio)}, {p(c)}" for c in compared.values())])
    longest = {cell: max([d for d in delays if medians[cell, d].median < 0.5], default=0) for cell in CELLS}
    found.figures["memory"] = findings_figures.lines_figure(
        {name: (delays, [medians[cell, delay] for delay in delays]) for cell, name in CELLS.items()},
        title="what is not recalled, by delay",
        xlabel="delay (samples)",
        ylabel="squared error / variance",
    )
    remembered = ", ".join(f"{CELLS[cell]} {delay or 'none'}" for cell, delay in longest.items())
    lstm_ahead = all(
        decided(statistics.paired(unrecalled["simple_rnn", delay], unrecalled["lstm", delay])) for delay in delays
    )
    return f"""## LSTM, GRU and simple RNN under growing demands on memory

White noise goes in and has to come out `delay` samples later: nothing but memory helps, and 1 is the squared error for
each sample of a model without any. Cell size {runs[0].data.params["model.cell_size"]}, \
{runs[0].data.params["training.steps"]} steps, the tutorial's Adam.

{table(["delay", *CELLS.values()], rows)}

How many times the LSTM's error is that of the others, paired by seed:

{table(["delay", "LSTM / GRU", "LSTM / simple RNN"], against)}

The longest delay of which the median seed recalls more than half the variance: {remembered}.

{claim("an LSTM recalls better than a simple RNN, at every delay", lstm_ahead)}

{shown("memory", "Squared error over the delay, for each cell")}

{how(found.command("memory"))}"""


def gradients(found: Findings) -> str:
    """How the gradient of an error fades or grows on its way back, in the runs of the memory study."""
    runs = found.grid("memory")
    delays = sorted({int(run.data.params["data.delay"]) for run in runs})
    shown_delay = delays[len(delays) // 2]
    rows, curves, whole_way, kept = [], {}, [], []
    for cell, name in CELLS.items():
        of_delay = {delay: select(runs, model__cell=cell, data__delay=delay) for delay in delays}
        untrained, trained_on = gradient_norms(found.client, of_delay, shown_delay)
        whole_way.append(factors(untrained, 1, BACK))
        rows.append([name, "untrained", "", "", text(statistics.median(whole_way[-1]), 3)])
        for delay, trained in trained_on.items():
            parts = [factors(trained, *ends) for ends in ((1, delay), (delay, BACK), (1, BACK))]
            whole_way.append(parts[-1])
            rows.append([name, str(delay), *(text(statistics.median(part), 3) for part in parts)])
            if delay == shown_delay:
                curves[name] = (untrained, trained)
                before = dict(enumerate(factors(untrained, 1, delay)))
                kept.append(decided(statistics.paired(dict(enumerate(parts[0])), before)))
    found.figures["gradients"] = findings_figures.gradients_figure(curves, delay=shown_delay)
    every = np.concatenate(whole_way)
    estimates = [statistics.median(of_kind) for of_kind in whole_way]
    off_one = all(estimate.low > 1 or estimate.high < 1 for estimate in estimates)
    return f"""## How gradients fade on their way back

The tutorial says why long memories are hard to learn: each step back multiplies a gradient by the same weights, so that
it vanishes like 0.9ⁿ or explodes like 1.1ⁿ. Measured in the cells of the study above, by automatic differentiation: the
norm of the gradient of one time step's error with respect to the state n steps before (h, and for an LSTM also c), on
samples never trained on, over {BACK} steps. The table has the factor by which one more step back multiplies it on
(geometric) average: up to the delay; beyond it, where the state need hold nothing of the error's cause; all the way.

{table(["cell", "trained on delay", "up to the delay", "beyond it", "all the way"], rows)}

All the way, {np.mean(every < 1):.0%} of the {len(every)} gradients fade and {np.mean(every > 1):.0%} grow.

{claim("gradients vanish or explode: all the way, no cell's median factor can be 1, trained or not", off_one)}

{claim(f"training keeps them from fading: up to a delay of {shown_delay} less than untrained, in each cell", all(kept))}

{shown("gradients", "Norm of the gradient over the time steps back, for each cell, before and after training")}

{how(found.command("memory"))}"""


def factors(norms: np.ndarray, first: int, last: int) -> np.ndarray:
    """By how much a step back multiplies gradients [runs, BACK] on average, from `first` to `last` steps back."""
    return (norms[:, last - 1] / norms[:, first - 1]) ** (1 / (last - first))


def gradient_norms(
    client: "MlflowClient", runs: Mapping[int, Sequence["Run"]], untrained_delay: int
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """The norms of the gradients [runs, BACK] in a cell's runs by delay: before training (for one delay), and after."""
    from lstm_lab import runtime

    runtime.start_tensorflow("fast", 1)  # as the studies are run
    from lstm_lab.science.curves import Batches
    from lstm_lab.science.gradient_flow import state_gradient_norms
    from lstm_lab.science.model import build_model, zero_state

    any_delay = lookup.config_of(client, runs[untrained_delay][0])
    model = build_model(**any_delay.model.model_dump(), seed=0)
    norms = state_gradient_norms(model, BACK)

    def measure(rows: Any, weights: Sequence[np.ndarray]) -> np.ndarray:
        model.set_weights(weights)
        return norms(rows.inputs, rows.targets, zero_state(model, len(rows.x))).numpy()

    untrained, trained = [], {}
    for delay, of_delay in runs.items():
        config = lookup.config_of(client, of_delay[0])
        window = 4 * BACK  # the first three quarters bring the state to where it would be
        batches = Batches(**{**config.data.model_dump(), "time_steps": window})
        seen = config.data.time_steps * (config.training.steps + config.data.batch_size)  # samples trained on
        rows = batches.rows(seen // window + 1, config.data.batch_size)
        trained[delay] = np.array([measure(rows, final_weights(client, run)) for run in of_delay])
        if delay == untrained_delay:
            fresh = [build_model(**config.model.model_dump(), seed=seed_of(run)).get_weights() for run in of_delay]
            untrained = [measure(rows, weights) for weights in fresh]
    return np.array(untrained), trained


def final_weights(client: "MlflowClient", run: "Run") -> list[np.ndarray]:
    """The weights at a run's end, in Keras's order."""
    with tempfile.TemporaryDirectory() as folder:
        path = client.download_artifacts(run.info.run_id, "final_weights.npz", folder)
        with np.load(path, allow_pickle=False) as saved:
            return [saved[name] for name in saved.files]


def window(found: Findings) -> str:
    """How far back errors must flow if the state is carried: windows of different lengths."""
    runs = found.grid("window")
    updates, samples = 200, 4000  # the tutorial's 200 windows of 20
    lengths = sorted({int(run.data.params["data.time_steps"]) for run in runs})
    per_sample: dict[int, tuple[Costs, Costs]] = {}
    for n in lengths:
        of_length = select(runs, data__time_steps=n)
        curves, seeds = found.curves(of_length) / n, [seed_of(run) for run in of_length]
        ends = [updates, samples // n]
        means = [curves[:, max(0, end - 20) : end].mean(axis=1) for end in ends]
        per_sample[n] = (dict(zip(seeds, means[0], strict=True)), dict(zip(seeds, means[1], strict=True)))
    medians = {n: [statistics.median(list(costs.values())) for costs in per_sample[n]] for n in lengths}
    rows = []
    for n in lengths:
        row = [str(n)]
        for kind in (0, 1):
            compared = statistics.paired(per_sample[n][kind], per_sample[20][kind])
            row += [text(medians[n][kind]), "" if n == 20 else f"{text(compared.ratio)}, {p(compared)}"]
        rows.append(row)
    found.figures["window"] = findings_figures.lines_figure(
        {
            f"after {updates} updates": (lengths, [medians[n][0] for n in lengths]),
            f"after {samples:,} samples of each row": (lengths, [medians[n][1] for n in lengths]),
        },
        title="windows of different lengths, the state carried",
        xlabel="time steps of a window, where errors stop flowing back",
        ylabel="squared error for each sample",
    )
    longest = lengths[-1]
    ahead = [decided(statistics.paired(per_sample[20][kind], per_sample[longest][kind])) for kind in (0, 1)]
    return f"""## How far errors must flow back

A window of n time steps truncates backpropagation at n, while the state goes on from window to window. Task and recipe
are the tutorial's; costs are squared errors for each sample, since the recipe's own cost grows with the window. Two
comparisons: at the tutorial's {updates} updates (longer windows then see more samples, and take longer), and at its
{samples:,} samples of each row (longer windows then have fewer updates). Ratios are to windows of 20.

{table(["n", f"after {updates} updates", "ratio", f"after {samples:,} samples", "ratio"], rows)}

The mean is over the 20 updates up to there. Windows lie side by side along the curve in a batch's 50 rows, so shorter
ones also show less of it at a time.

{claim(f"windows of {longest} learn better than windows of 20 at equal updates", ahead[0])}

{claim(f"windows of {longest} learn better than windows of 20 at equal samples", ahead[1])}

{shown("window", "Squared error for each sample over the length of the window")}

{how(found.command("window"))}"""


def truncation(found: Findings) -> str:
    """The two truncations: in chunks of n steps, or back n steps from every time step."""
    runs, whole = found.grid("truncation"), select(found.grid("memory"), model__cell="lstm")
    delays = sorted({int(run.data.params["data.delay"]) for run in runs})
    steps = int(runs[0].data.params["training.truncation_steps"])
    scale, rows, better = time_steps(runs), [], []
    lines: dict[str, list[statistics.Estimate]] = {}
    for delay in delays:
        kinds = {
            f"chunks of {steps}": select(runs, data__delay=delay, training__truncation_every=steps),
            f"{steps} back from every step": select(runs, data__delay=delay, training__truncation_every=1),
            "whole window": select(whole, data__delay=delay),
        }
        costs = {label: by_seed(kind, scale=scale) for label, kind in kinds.items()}
        for label, of_kind in costs.items():
            lines.setdefault(label, []).append(statistics.median(list(of_kind.values())))
        chunks, every, _ = costs.values()
        compared = statistics.paired(chunks, every)
        better.append(decided(compared))
        rows.append(
            [str(delay), *(text(line[-1]) for line in lines.values()), f"{text(compared.ratio)}, {p(compared)}"]
        )
    speed = {every: speed_of(select(runs, training__truncation_every=every)) for every in (1, steps)}
    found.figures["truncation"] = findings_figures.lines_figure(
        {label: (delays, estimates) for label, estimates in lines.items()},
        title=f"two truncations at {steps} steps, and none",
        xlabel="delay (samples)",
        ylabel="squared error / variance",
    )
    held = [str(delay) for delay, holds in zip(delays, better, strict=True) if holds]
    return f"""## Two truncations

Cutting a sequence into chunks of n steps, as the tutorial does, lets only the last error of a chunk flow back n steps.
The other truncation goes back n steps from every time step. Both are cases of BPTT(h; h') of Williams and Peng (1990):
h = n with h' = n, and with h' = 1. Here n = {steps}, in the same windows of {scale} time steps and with the weights
fixed within a window, so that both see equal batches; and, for comparison, the whole window without truncation. At a
window's start both reach back no further than to that start. LSTM, task and recipe are those of the memory study.

{table(["delay", *lines, "chunks / every step"], rows)}

An update that goes back from every step takes {speed[1] / speed[steps]:.2g} times as long as one in chunks.

{claim("going back from every time step learns better, whatever the delay", all(better))} It does so at a delay of
{" and ".join(held) or "none of these"}.

{shown("truncation", "Squared error over the delay, for each truncation")}

{how(found.command("truncation"))}"""


def speed_of(runs: Iterable["Run"]) -> float:
    """The median time of a step in seconds, as far as it was measured."""
    return float(
        np.median([1 / r.data.metrics["steps_per_second"] for r in runs if "steps_per_second" in r.data.metrics])
    )


def search(found: Findings) -> str:
    """The map of cell size and learning rate, and TPE against random search."""
    runs = {
        sampler: {seed: found.runs(search_command(sampler, seed)) for seed in range(found.seeds)}
        for sampler in SAMPLERS
    }
    so_far = {
        sampler: np.array([np.minimum.accumulate([cost_of(run) for run in study]) for study in studies.values()])
        for sampler, studies in runs.items()
    }
    total = so_far["tpe"].shape[1]
    rows = []
    for budget in sorted({*range(5, total, 5), total}):
        bests = {sampler: dict(enumerate(values[:, budget - 1])) for sampler, values in so_far.items()}
        compared = statistics.paired(bests["random"], bests["tpe"])
        medians = [text(statistics.median(list(bests[sampler].values()))) for sampler in SAMPLERS]
        rows.append([str(budget), *medians, f"{text(compared.ratio)}, {p(compared)}"])
    found.figures["samplers"] = findings_figures.curves_figure(
        {"TPE": so_far["tpe"], "random": so_far["random"]},
        title="TPE against random search",
        xlabel="trials",
        ylabel="best cost so far (median and middle half of the studies)",
    )
    sizes, edges, costs, counts = cost_map([run for study in runs["random"].values() for run in study])
    found.figures["map"] = findings_figures.map_figure(
        costs, counts, sizes, edges, "median cost after 200 steps over cell size and learning rate"
    )
    row, column = np.unravel_index(np.nanargmin(costs), costs.shape)
    rates = f"{edges[column]:.2g} to {edges[column + 1]:.2g}"
    return f"""## The map of cell size and learning rate, and the search for its best point

The random trials of all {found.seeds} searches ({counts.sum()} runs, each search with another seed of the weights) map
the tutorial's recipe. The best of the map's fields is cell size {sizes[row]} with learning rates from {rates}: a median
cost of {number(costs[row, column])} over {counts[row, column]} runs.

{shown("map", "Heat map of the median cost over cell size and learning rate")}

TPE against random draws, {total} trials each without pruning; a search of either kind with the same seed trains from
the same weights. The best cost found so far, over {found.seeds} searches:

{table(["trials", "TPE", "random", "random / TPE"], rows)}

{claim(f"after {total} trials TPE has found a better point than random search", decided(compared))}

{shown("samplers", "Best cost so far over the trials, TPE and random")}

{how(search_command("random", 1))}, and so on"""


def cost_map(runs: Sequence["Run"], bins: int = 7) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Median costs over cell sizes (rows) and bins of the learning rate, even on a log scale.

    Returns the sizes, the bins' edges, the costs and the numbers of runs; no run, no cost (NaN).
    """
    sizes = sorted({run.data.params["model.cell_size"] for run in runs}, key=int)
    rates = np.log10([float(run.data.params["optimizer.learning_rate"]) for run in runs])
    edges = np.linspace(rates.min(), rates.max(), bins + 1)
    bin_of = np.clip(np.digitize(rates, edges) - 1, 0, bins - 1)
    costs, counts = np.full((len(sizes), bins), np.nan), np.zeros((len(sizes), bins), int)
    for row, size in enumerate(sizes):
        for column in range(bins):
            inside = [
                cost_of(run)
                for run, of_bin in zip(runs, bin_of, strict=True)
                if of_bin == column and run.data.params["model.cell_size"] == size
            ]
            counts[row, column] = len(inside)
            if inside:
                costs[row, column] = np.median(inside)
    return sizes, 10**edges, costs, counts


def best(found: Findings) -> str:
    """The best recipe at 200 steps against the tutorial's."""
    ours, tutorials = found.grid("best"), select(found.grid("carry"), training__carry_state=True)
    rows = []
    for label, runs in {"`experiment=best`": ours, "the tutorial's recipe": tutorials}.items():
        last = list(by_seed(runs, "final_cost").values())
        middle = statistics.median(last)
        spread = f"{min(last):.2g} to {max(last):.2g}"
        below = TUTORIAL_COST / middle.median
        rows.append([label, text(middle), spread, text(statistics.median(list(by_seed(runs).values()))), number(below)])
    compared = statistics.paired(by_seed(tutorials, "final_cost"), by_seed(ours, "final_cost"))
    reached = TUTORIAL_COST / statistics.median(list(by_seed(ours, "final_cost").values())).median
    found.figures["best"] = findings_figures.curves_figure(
        {"experiment=best": found.curves(ours), "the tutorial's recipe": found.curves(tutorials)},
        title="the best recipe found at 200 steps",
        ylabel="cost (median and middle half of the seeds)",
    )
    return f"""## The best recipe at 200 steps

The tutorial ends at a cost of {TUTORIAL_COST}, its seed unknown. How far can the same 200 steps on the same batches go?
The recipe of `conf/experiment/best.yaml` was chosen with seeds from 1000 on; these are seeds that it has not met.

{table(["recipe", "cost of the last step", "from, to", "mean of the last 20", "times below the tutorial's"], rows)}

Paired by seed, the tutorial's recipe costs {text(compared.ratio)} times as much ({p(compared)}).

{claim("a median cost 1,000 times below the tutorial's", reached >= 1000)}

{shown("best", "Cost over the steps, of the best recipe and of the tutorial's")}

{how(found.command("best"))}"""


def time_steps(runs: Sequence["Run"]) -> int:
    """The length of the windows, the same in all runs: the number of samples that a cost is summed over."""
    [steps] = {int(run.data.params["data.time_steps"]) for run in runs}
    return steps


def decided(compared: statistics.Paired) -> bool:
    """Whether the first of the two costs more, beyond chance."""
    return compared.p < ACCEPTED and compared.ratio.median > 1


def text(estimate: statistics.Estimate, digits: int = 2) -> str:
    """A median and its interval: '0.021 [0.013, 0.034]'."""
    middle, low, high = (number(x, digits) for x in (estimate.median, estimate.low, estimate.high))
    return middle if math.isnan(estimate.low) else f"{middle} [{low}, {high}]"


def number(x: float, digits: int = 2) -> str:
    """So many digits, without an exponent as long as that is readable."""
    if x == 0 or not 1e-6 <= abs(x) < 1e6:
        return f"{x:.{digits}g}"
    rounded = float(f"{x:.{digits}g}")
    return f"{rounded:,.{max(0, digits - 1 - math.floor(math.log10(abs(rounded))))}f}"


def p(compared: statistics.Paired) -> str:
    """The p of a test, with two digits as long as they mean something."""
    return "p < 0.0001" if compared.p < 1e-4 else f"p = {compared.p:.2g}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def claim(what: str, holds: bool) -> str:
    """The verdict on a claim."""
    return f"**Claim: {what}. {'It holds.' if holds else 'It does not hold.'}**"


def shown(name: str, description: str) -> str:
    """A figure in Markdown."""
    return f"![{description}](docs/findings/{name}.png)"


def how(words: Sequence[str]) -> str:
    """The command of a study."""
    return f"`python src/train.py -m {shlex.join(words)}`"
