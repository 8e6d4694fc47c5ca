"""The two truncations: in chunks of n steps, or back n steps from every time step."""

import numpy as np

from lstm_lab.findings import figures
from lstm_lab.findings.runs import Runs, Studies, by_seed, grid_command, select, time_steps, values_of
from lstm_lab.findings.template import Finding
from lstm_lab.science.statistics import median, paired

STUDY = "truncation"


def compute(studies: Studies) -> Finding:
    """The squared errors for each sample by delay with both truncations and with none, and chunks' over the other's."""
    runs, whole = studies.grid(STUDY), select(studies.grid("memory"), model__cell="lstm")
    delays, scale = values_of(runs, "data.delay"), time_steps(runs)
    [steps] = values_of(runs, "training.truncation_steps")
    chunks, every = (select(runs, training__truncation_every=n) for n in (steps, 1))
    kinds = {f"chunks of {steps}": chunks, f"{steps} back from every step": every, "whole window": whole}
    errors = {
        delay: [by_seed(select(kind, data__delay=delay), scale=scale) for kind in kinds.values()] for delay in delays
    }
    medians = {delay: [median(costs.values()) for costs in of_delay] for delay, of_delay in errors.items()}
    figure = figures.lines_figure(
        {label: (delays, [medians[delay][kind] for delay in delays]) for kind, label in enumerate(kinds)},
        title=f"two truncations at {steps} steps, and none",
        xlabel="delay (samples)",
        ylabel="squared error / variance",
    )
    compared = {delay: paired(in_chunks, from_every) for delay, (in_chunks, from_every, _) in errors.items()}
    values = {
        "steps": steps,
        "time_steps": scale,
        "delays": delays,
        "medians": medians,
        "compared": compared,
        "held": [delay for delay in delays if compared[delay].decided],
        "slower": seconds_per_step(every) / seconds_per_step(chunks),
        "command": grid_command(STUDY, studies.seeds),
    }
    return Finding(values, {"truncation": figure})


def seconds_per_step(runs: Runs) -> float:
    """The median time of a step, as far as it was measured."""
    rates = [run.data.metrics["steps_per_second"] for run in runs if "steps_per_second" in run.data.metrics]
    return float(np.median([1 / rate for rate in rates]))
