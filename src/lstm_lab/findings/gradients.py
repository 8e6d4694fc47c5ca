"""How the gradient of an error fades or grows on its way back, in the runs of the memory study."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstm_lab.findings import figures
from lstm_lab.findings.memory import CELLS, STUDY, sources
from lstm_lab.findings.runs import Runs, Studies, grid_command, seed_of, values_of
from lstm_lab.findings.template import Finding
from lstm_lab.reports import tables
from lstm_lab.reports.groups import split
from lstm_lab.science.statistics import median, paired

HEAD = ["cell", "trained on delay", "up to the delay", "beyond it", "all the way"]
BACK = 40  # time steps over which a gradient is followed


def compute(studies: Studies) -> Finding:
    """The factors by which a step back multiplies the gradients, before training and after, by cell and delay."""
    runs = studies.grid(STUDY)
    delays, of = values_of(runs, "data.delay"), split(runs, "data.delay", "model.cell")
    middle = delays[len(delays) // 2]
    norms = {
        name: gradient_norms(studies, {delay: of[str(delay), cell] for delay in delays}, middle)
        for cell, name in CELLS.items()
    }
    all_the_way = [
        factors(of_runs, 1, BACK) for untrained, trained in norms.values() for of_runs in (untrained, *trained.values())
    ]
    every = np.concatenate(all_the_way)
    table = [row for name, (untrained, trained) in norms.items() for row in rows(name, untrained, trained)]
    values = {
        "back": BACK,
        "middle": middle,
        "table": tables.markdown(HEAD, table, sources(of)),
        "gradients": len(every),
        "fading": np.mean(every < 1),
        "growing": np.mean(every > 1),
        "off_one": all(estimate.low > 1 or estimate.high < 1 for estimate in map(median, all_the_way)),
        "kept": all(fades_less(trained[middle], untrained, middle) for untrained, trained in norms.values()),
        "command": grid_command(STUDY, studies.seeds),
    }
    curves = {name: (untrained, trained[middle]) for name, (untrained, trained) in norms.items()}
    return Finding(values, {"gradients": figures.gradients_figure(curves, delay=middle)})


def factors(norms: np.ndarray, first: int, last: int) -> np.ndarray:
    """By how much a step back multiplies gradients [runs, BACK] on average, from `first` to `last` steps back."""
    return (norms[:, last - 1] / norms[:, first - 1]) ** (1 / (last - first))


def rows(name: str, untrained: np.ndarray, trained: Mapping[int, np.ndarray]) -> list[list[str]]:
    """A cell's rows of the table: untrained, and for each delay the median factors up to it, beyond it, all the way."""

    def cell(norms: np.ndarray, first: int, last: int) -> str:
        return tables.text(median(factors(norms, first, last)), 3)

    found = [[name, "untrained", "", "", cell(untrained, 1, BACK)]]
    for delay, of_delay in trained.items():
        ends = (1, delay), (delay, BACK), (1, BACK)
        found.append([name, str(delay), *(cell(of_delay, *each) for each in ends)])
    return found


def fades_less(norms: np.ndarray, untrained: np.ndarray, delay: int) -> bool:
    """Whether the gradients of these runs fade less up to a delay than those of the same runs untrained."""
    after, before = (dict(enumerate(factors(of_runs, 1, delay))) for of_runs in (norms, untrained))
    return paired(after, before).decided


def gradient_norms(
    studies: Studies, runs: Mapping[int, Runs], untrained_delay: int
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """The norms of the gradients [runs, BACK] in a cell's runs by delay: before training (for one delay), and after."""
    from lstm_lab import runtime

    runtime.start_tensorflow("fast", 1)  # as the studies are run
    from lstm_lab.science.curves import Batches
    from lstm_lab.science.gradient_flow import state_gradient_norms
    from lstm_lab.science.model import build_model, zero_state

    any_delay = studies.config(runs[untrained_delay][0])
    model = build_model(**any_delay.model.model_dump(), seed=0)
    norms = state_gradient_norms(model, BACK)

    def measure(rows: Any, weights: Sequence[np.ndarray]) -> np.ndarray:
        model.set_weights(weights)
        return norms(rows.inputs, rows.targets, zero_state(model, len(rows.x))).numpy()

    untrained, trained = [], {}
    for delay, of_delay in runs.items():
        config = studies.config(of_delay[0])
        window = 4 * BACK  # the first three quarters bring the state to where it would be
        batches = Batches(**{**config.data.model_dump(), "time_steps": window})
        seen = config.data.time_steps * (config.training.steps + config.data.batch_size)  # samples trained on
        rows = batches.rows(seen // window + 1, config.data.batch_size)
        trained[delay] = np.array([measure(rows, studies.final_weights(run)) for run in of_delay])
        if delay == untrained_delay:
            fresh = [build_model(**config.model.model_dump(), seed=seed_of(run)).get_weights() for run in of_delay]
            untrained = [measure(rows, weights) for weights in fresh]
    return np.array(untrained), trained
