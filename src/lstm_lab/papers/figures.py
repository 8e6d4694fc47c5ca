"""The figures of the page of papers. Arrays in, matplotlib figures out."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, StrMethodFormatter

from lstm_lab.findings.figures import COLORS, MARKERS
from lstm_lab.runs.figures import new_figure


def reached_by(rows: Mapping[str, tuple[Any, Mapping[str, Any]]]) -> tuple[float, float]:
    """The fewest and the most sequences that the figure shows."""
    ours = [value for _, outcomes in rows.values() for one in outcomes.values() for value in one.until]
    shown = [value for value in ours if math.isfinite(value)] + [row.sequences for row, _ in rows.values()]
    return min(shown), max(shown)


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
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.minorticks_off()
    ax.set_xlim(*(factor * reach for factor, reach in zip((0.8, 1.25), reached_by(rows), strict=True)))
    ax.set(xlabel="training sequences until the criterion holds", title="rows of the papers, solved here")
    ax.legend(frameon=False, fontsize="small", loc="upper center", bbox_to_anchor=(0.4, -0.08), ncols=4)
    return figure


def forecasts_figure(
    years: np.ndarray, truth: np.ndarray, ours: np.ndarray, others: np.ndarray, *, linear: str
) -> Figure:
    """Truth [years], our forecasts [runs, years], median and all of them, and those of a linear model [years]."""
    figure, [ax] = new_figure(size=9)
    low, middle, high = np.percentile(ours, [0, 50, 100], axis=0)
    ax.plot(years, truth, color="black", marker="o", markersize=3, linewidth=1, label="sunspots")
    ax.fill_between(years, low, high, color=COLORS[0], alpha=0.2, linewidth=0)
    ax.plot(years, middle, color=COLORS[0], linestyle="--", linewidth=1.5, label="LSTM, median and all of the runs")
    ax.plot(years, others, color=COLORS[1], linestyle=":", linewidth=1.5, label=linear)
    ax.set(xlabel="year", ylabel="sunspots", title="years that were held out, each forecast the year before")
    ax.legend(frameon=False)
    return figure
