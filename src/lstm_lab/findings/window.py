"""How far back errors must flow if the state is carried: windows of different lengths."""

from lstm_lab.findings import figures
from lstm_lab.findings.runs import Costs, Runs, Studies, grid_command, seed_of, time_steps, values_of
from lstm_lab.findings.template import Finding
from lstm_lab.reports import tables
from lstm_lab.reports.groups import split
from lstm_lab.science.statistics import median, paired

STUDY = "window"
UPDATES, SAMPLES = 200, 4000  # the tutorial's 200 windows of 20


def compute(studies: Studies) -> Finding:
    """The squared errors for each sample by length, at equal updates and at equal samples, and over those of 20."""
    runs = studies.grid(STUDY)
    lengths = values_of(runs, "data.time_steps")
    of_length = {n: split(runs, "data.time_steps")[str(n),] for n in lengths}
    errors = {n: errors_of(studies, found) for n, found in of_length.items()}
    medians = {n: [median(costs.values()) for costs in both] for n, both in errors.items()}
    figure = figures.lines_figure(
        {
            f"after {UPDATES} updates": (lengths, [medians[n][0] for n in lengths]),
            f"after {SAMPLES:,} samples of each row": (lengths, [medians[n][1] for n in lengths]),
        },
        title="windows of different lengths, the state carried",
        xlabel="time steps of a window, where errors stop flowing back",
        ylabel="squared error for each sample",
    )
    ratios = {n: ["", ""] if n == 20 else list(map(ratio, both, errors[20])) for n, both in errors.items()}
    rows = [
        [str(n), *(cell for each in zip(map(tables.text, medians[n]), ratios[n], strict=True) for cell in each)]
        for n in lengths
    ]
    head = ["n", f"after {UPDATES} updates", "ratio", f"after {SAMPLES:,} samples", "ratio"]
    values = {
        "updates": UPDATES,
        "samples": SAMPLES,
        "table": tables.markdown(head, rows, {f"n = {n}": found for n, found in of_length.items()}),
        "longest": lengths[-1],
        "ahead": [compared.decided for compared in map(paired, errors[20], errors[lengths[-1]])],
        "command": grid_command(STUDY, studies.seeds),
    }
    return Finding(values, {"window": figure})


def ratio(first: Costs, second: Costs) -> str:
    """How many times the one errors are the others, in words."""
    return tables.ratio(paired(first, second))


def errors_of(studies: Studies, runs: Runs) -> tuple[Costs, Costs]:
    """The squared error for each sample of runs of one length, the mean over the 20 updates up to there.

    First after as many updates as the tutorial has, then after as many samples.
    """
    n, seeds = time_steps(runs), [(seed_of(run),) for run in runs]
    curves = studies.curves(runs) / n
    updated, sampled = (curves[:, max(0, end - 20) : end].mean(axis=1) for end in (UPDATES, SAMPLES // n))
    return dict(zip(seeds, updated, strict=True)), dict(zip(seeds, sampled, strict=True))
