"""The two truncations: in chunks of n steps, or back n steps from every time step."""

import numpy as np

from lstm_lab.findings import figures
from lstm_lab.findings.runs import Runs, Studies, for_each_sample, grid_command, time_steps, values_of
from lstm_lab.findings.template import Finding
from lstm_lab.reports import tables
from lstm_lab.reports.groups import split
from lstm_lab.science.statistics import median, paired

STUDY = "truncation"


def compute(studies: Studies) -> Finding:
    """The squared errors for each sample by delay with both truncations and with none, and chunks' over the other's."""
    runs, whole = studies.grid(STUDY), split(studies.grid("memory"), "model.cell")["lstm",]
    delays, of_kind = values_of(runs, "data.delay"), split(runs, "training.truncation_every")
    [steps] = values_of(runs, "training.truncation_steps")
    chunks, every = of_kind[str(steps),], of_kind["1",]
    kinds = {f"chunks of {steps}": chunks, f"{steps} back from every step": every, "whole window": whole}
    of = {label: split(kind, "data.delay") for label, kind in kinds.items()}
    errors = {delay: [for_each_sample(of_delay[str(delay),]) for of_delay in of.values()] for delay in delays}
    medians = {delay: [median(costs.values()) for costs in of_delay] for delay, of_delay in errors.items()}
    figure = figures.lines_figure(
        {label: (delays, [medians[delay][kind] for delay in delays]) for kind, label in enumerate(kinds)},
        title=f"two truncations at {steps} steps, and none",
        xlabel="delay (samples)",
        ylabel="squared error / variance",
    )
    compared = {delay: paired(in_chunks, from_every) for delay, (in_chunks, from_every, _) in errors.items()}
    rows = [[str(n), *map(tables.text, medians[n]), tables.ratio(compared[n])] for n in delays]
    sources = {f"{label}, delay {n}": of_delay[str(n),] for label, of_delay in of.items() for n in delays}
    values = {
        "steps": steps,
        "time_steps": time_steps(runs),
        "delays": delays,
        "table": tables.markdown(["delay", *kinds, "chunks / every step"], rows, sources),
        "held": [delay for delay in delays if compared[delay].decided],
        "slower": seconds_per_step(every) / seconds_per_step(chunks),
        "command": grid_command(STUDY, studies.seeds),
    }
    return Finding(values, {"truncation": figure})


def seconds_per_step(runs: Runs) -> float:
    """The median time of a step, as far as it was measured."""
    rates = [run.metrics["steps_per_second"] for run in runs if "steps_per_second" in run.metrics]
    return float(np.median([1 / rate for rate in rates]))
