"""The figures of the page of papers. Arrays in, matplotlib figures out."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lstm_lab.findings.figures import COLORS, MARKERS
from lstm_lab.runs.figures import new_figure


def rows_figure(rows: Mapping[str, tuple[Any, Mapping[str, Any]]]) -> Figure:
    """For each row the paper's mean number of sequences, a cross, and each cell's runs that solved it, a point each."""
    figure, [ax] = new_figure(size=9)
    cells = ["LSTM", "GRU", "simple RNN"]
    for place, (published, outcomes) in enumerate(rows.values()):
        ax.plot(published.sequences, -place, "kx", markersize=8, label="the paper's mean" if place == 0 else None)
        for number, cell in enumerate(cells):
            until = [value for value in outcomes[cell].until if math.isfinite(value)] if cell in outcomes else []
            look = {"color": COLORS[number], "marker": MARKERS[number], "alpha": 0.5, "markersize": 5, "linestyle": ""}
            height = -place + 0.25 * (1 - number)
            ax.plot(until or [np.nan], [height] * max(1, len(until)), **look, label=cell if place == 0 else None)
    ax.set_yticks(-np.arange(len(rows)), list(rows))
    ax.set(xscale="log", xlabel="training sequences until the criterion holds", title="rows of the papers, solved here")
    ax.legend(frameon=False, fontsize="small", loc="upper center", bbox_to_anchor=(0.4, -0.08), ncols=4)
    return figure
