"""The three cells over growing delays."""

from lstm_lab.findings import figures
from lstm_lab.findings.runs import Studies, by_seed, grid_command, select, time_steps, values_of
from lstm_lab.findings.template import Finding
from lstm_lab.science.statistics import median, paired

STUDY = "memory"
CELLS = {"lstm": "LSTM", "gru": "GRU", "simple_rnn": "simple RNN"}


def compute(studies: Studies) -> Finding:
    """The squared errors for each sample by delay and cell, and the LSTM's over the others'."""
    runs = studies.grid(STUDY)
    delays, scale = values_of(runs, "data.delay"), time_steps(runs)
    errors = {
        delay: {cell: by_seed(select(runs, model__cell=cell, data__delay=delay), scale=scale) for cell in CELLS}
        for delay in delays
    }
    medians = {delay: {cell: median(of_cell[cell].values()) for cell in CELLS} for delay, of_cell in errors.items()}
    figure = figures.lines_figure(
        {name: (delays, [medians[delay][cell] for delay in delays]) for cell, name in CELLS.items()},
        title="what is not recalled, by delay",
        xlabel="delay (samples)",
        ylabel="squared error / variance",
    )
    values = {
        "cell_size": runs[0].data.params["model.cell_size"],
        "steps": runs[0].data.params["training.steps"],
        "medians": medians,
        "compared": {
            delay: {cell: paired(of_cell["lstm"], of_cell[cell]) for cell in ("gru", "simple_rnn")}
            for delay, of_cell in errors.items()
        },
        "longest": {cell: max([d for d in delays if medians[d][cell].median < 0.5], default=None) for cell in CELLS},
        "ahead": all(paired(of_cell["simple_rnn"], of_cell["lstm"]).decided for of_cell in errors.values()),
        "command": grid_command(STUDY, studies.seeds),
    }
    return Finding(values, {"memory": figure})
