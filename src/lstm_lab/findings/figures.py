"""The figures of the findings. Arrays in, matplotlib figures out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lstm_lab.runs.figures import new_figure
from lstm_lab.science.statistics import Estimate

COLORS = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple")
# Beside the colours, for those who do not see them and for print: of lines, of points
DASHES: Any = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v")


def draw_estimates(ax: Axes, x: Sequence[float], estimates: Sequence[Estimate], label: str, number: int) -> None:
    """Medians over x [points], joined, with their intervals as bars: the line of that number."""
    medians = np.array([e.median for e in estimates])
    bars = [medians - [e.low for e in estimates], [e.high for e in estimates] - medians]
    look = {"color": COLORS[number], "linestyle": DASHES[number], "marker": MARKERS[number], "markersize": 4}
    ax.errorbar(x, medians, np.nan_to_num(np.abs(bars)), capsize=3, label=label, **look)


def curves_figure(curves: Mapping[str, np.ndarray], *, title: str, ylabel: str, xlabel: str = "step") -> Figure:
    """For each label the median of its curves [runs, points] on a log scale, and the band of their middle half."""
    figure, [ax] = new_figure()
    for color, dashes, (label, runs) in zip(COLORS, DASHES, curves.items(), strict=False):
        x = np.arange(1, runs.shape[1] + 1)
        low, middle, high = np.percentile(runs, [25, 50, 75], axis=0)
        ax.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
        ax.plot(x, middle, color=color, linestyle=dashes, linewidth=1.5, label=label)
    ax.set(xlabel=xlabel, ylabel=ylabel, yscale="log", title=title)
    ax.legend(frameon=False)
    return figure


def lines_figure(
    lines: Mapping[str, tuple[Sequence[float], Sequence[Estimate]]], *, title: str, xlabel: str, ylabel: str
) -> Figure:
    """Medians with intervals over a few points x, one line for each label, both scales logarithmic."""
    figure, [ax] = new_figure()
    points = sorted({point for x, _ in lines.values() for point in x})
    for number, (label, (x, estimates)) in enumerate(lines.items()):
        draw_estimates(ax, x, estimates, label, number)
    ax.set_xscale("log")
    ax.set_xticks(points, [f"{point:g}" for point in points])
    ax.minorticks_off()
    ax.set(xlabel=xlabel, ylabel=ylabel, yscale="log", title=title)
    ax.legend(frameon=False)
    return figure


def gradients_figure(norms: Mapping[str, tuple[np.ndarray, np.ndarray]], *, delay: int) -> Figure:
    """Gradient norms over the time steps back for each cell, before and after training, each [runs, steps].

    Medians relative to the first step back, beside the tutorial's 0.9^n and 1.1^n.
    """
    figure, [ax] = new_figure()
    steps = np.arange(1, next(iter(norms.values()))[0].shape[1] + 1)
    for base in (0.9, 1.1):
        powers = base ** (steps - 1.0)
        ax.plot(steps, powers, color="gray", linewidth=1, linestyle="-.")
        ax.annotate(f"{base}ⁿ", (steps[-1], powers[-1]), xytext=(4, -3), textcoords="offset points", color="gray")
    for color, marker, (cell, (untrained, trained)) in zip(COLORS, MARKERS, norms.items(), strict=False):
        for runs, style, when in ((untrained, ":", "untrained"), (trained, "-", "trained")):
            middle = np.median(runs / runs[:, :1], axis=0)
            points = {"marker": marker, "markersize": 4, "markevery": 5}
            ax.plot(steps, middle, linestyle=style, color=color, label=f"{cell}, {when}", **points)
    ax.axvline(delay, color="gray", linewidth=0.8, linestyle="--")
    ax.annotate("the delay", (delay, 1.0), xycoords=("data", "axes fraction"), xytext=(4, -10),
                textcoords="offset points", color="gray")  # fmt: skip
    ax.set(
        xlabel="time steps back, n",
        ylabel="norm of the gradient, relative to n = 1",
        yscale="log",
        title=f"how an error's gradient fades on its way back (delay {delay})",
    )
    ax.legend(frameon=False, fontsize="small")
    return figure


def map_figure(costs: np.ndarray, counts: np.ndarray, rows: Sequence[str], edges: np.ndarray, title: str) -> Figure:
    """A heat map of median costs [rows, bins] over bins of the learning rate with those edges [bins + 1].

    A bin without a run is left blank; each other shows its median and how many runs it has.
    """
    figure, [ax] = new_figure(size=8)
    ax.grid(False)
    logs = np.log10(costs)
    image = ax.imshow(logs, aspect="auto", cmap="viridis_r", origin="lower")
    middle = (np.nanmin(logs) + np.nanmax(logs)) / 2
    for (row, column), count in np.ndenumerate(counts):
        if count:
            text = f"{costs[row, column]:.2g}\nn={count}"
            shade = "white" if logs[row, column] > middle else "black"
            ax.text(column, row, text, ha="center", va="center", fontsize="small", color=shade)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_xticks(np.arange(len(edges)) - 0.5, [f"{edge:.2g}" for edge in edges])
    ax.set(xlabel="learning rate", ylabel="cell size", title=title)
    figure.colorbar(image, label="log10 of the median cost")
    return figure
