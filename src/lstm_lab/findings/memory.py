"""The three cells over growing delays."""

from collections.abc import Mapping

from lstm_lab.findings import figures
from lstm_lab.findings.runs import Runs, Studies, for_each_sample, grid_command, values_of
from lstm_lab.findings.template import Finding
from lstm_lab.reports import tables
from lstm_lab.reports.groups import split
from lstm_lab.science.statistics import median, paired

STUDY = "memory"
CELLS = {"lstm": "LSTM", "gru": "GRU", "simple_rnn": "simple RNN"}


def compute(studies: Studies) -> Finding:
    """The squared errors for each sample by delay and cell, and the LSTM's over the others'."""
    runs = studies.grid(STUDY)
    delays, of = values_of(runs, "data.delay"), split(runs, "data.delay", "model.cell")
    errors = {delay: {cell: for_each_sample(of[str(delay), cell]) for cell in CELLS} for delay in delays}
    medians = {delay: {cell: median(of_cell[cell].values()) for cell in CELLS} for delay, of_cell in errors.items()}
    figure = figures.lines_figure(
        {name: (delays, [medians[delay][cell] for delay in delays]) for cell, name in CELLS.items()},
        title="what is not recalled, by delay",
        xlabel="delay (samples)",
        ylabel="squared error / variance",
    )
    others = ["gru", "simple_rnn"]
    rows = [[str(delay), *(tables.text(of_cell[cell]) for cell in CELLS)] for delay, of_cell in medians.items()]
    ratios = [
        [str(delay), *(tables.ratio(paired(of_cell["lstm"], of_cell[cell])) for cell in others)]
        for delay, of_cell in errors.items()
    ]
    values = {
        "cell_size": runs[0].params["model.cell_size"],
        "steps": runs[0].params["training.steps"],
        "table": tables.markdown(["delay", *CELLS.values()], rows, sources(of)),
        "ratios": tables.markdown(["delay", *(f"LSTM / {CELLS[cell]}" for cell in others)], ratios),
        "longest": {cell: max([d for d in delays if medians[d][cell].median < 0.5], default=None) for cell in CELLS},
        "ahead": all(paired(of_cell["simple_rnn"], of_cell["lstm"]).decided for of_cell in errors.values()),
        "command": grid_command(STUDY, studies.seeds),
    }
    return Finding(values, {"memory": figure})


def sources(runs: Mapping[tuple[str, ...], Runs]) -> dict[str, Runs]:
    """The runs by delay and cell, in words."""
    return {f"{CELLS[cell]}, delay {delay}": found for (delay, cell), found in runs.items()}
