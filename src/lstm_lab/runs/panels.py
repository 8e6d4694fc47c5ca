"""Panels: a figure's axes below one another, one for each target, and all that is written on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_lab.runtime import import_matplotlib

import_matplotlib()
from matplotlib import rc_context  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.lines import Line2D  # noqa: E402

from lstm_lab.runs.lettering import LONGEST_HEADING, cut, drawable, write  # noqa: E402

if TYPE_CHECKING:
    from lstm_lab.tables.times import Times

PANELS = 6  # at most in one figure
STYLE: Any = {"axes.grid": True, "grid.alpha": 0.25, "axes.spines.top": False, "axes.spines.right": False}
TARGET: dict[str, Any] = {"color": "tab:red", "linestyle": "-", "linewidth": 2.0, "label": "target"}
PREDICTION: dict[str, Any] = {"color": "tab:blue", "linestyle": "--", "linewidth": 2.0, "label": "prediction"}


@dataclass(frozen=True)
class Labels:
    """What a run's figures say of its data: what x is, and of each target its name and how its two lines are called.

    `y`, `target` and `prediction` have an entry for each target, or one for them all. `times` are those of the samples,
    if they are known; `band` says what the band around a forecast is, `apart` what stands side by side where rows do.
    """

    x: str = "x"
    y: tuple[str, ...] = ("",)
    target: tuple[str, ...] = ("target",)
    prediction: tuple[str, ...] = ("prediction",)
    times: "Times | None" = None
    band: str = ""
    apart: str = "windows from all over the series, side by side"

    def lines(self, i: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """How target i and its prediction are drawn."""
        target, prediction = (drawable(entry(names, i)) for names in (self.target, self.prediction))
        return TARGET | {"label": target}, PREDICTION | {"label": prediction}

    def at(self, x: np.ndarray) -> np.ndarray:
        """Where these x are drawn: at their times, if they are samples that have some."""
        times = self.times.at(x.astype(int)) if self.times else None
        return x if times is None else times


def entry(texts: Sequence[str], i: int) -> str:
    """The text for target i, or the last one for all that have none of their own."""
    return texts[min(i, len(texts) - 1)] if texts else ""


def new_figure(rows: int = 1, height_ratios: Sequence[float] | None = None, size: float = 6.4) -> tuple[Figure, list]:
    """A figure close to square, which is the shape MLflow's pages show best, with `rows` axes below one another.

    More than two make it taller, though not as much as they need: six still fit on a screen.
    """
    figure = Figure(figsize=(size, (0.86 + 0.1 * max(0, rows - 2)) * size), layout="constrained")
    with rc_context(STYLE):
        axes = figure.subplots(rows, 1, height_ratios=height_ratios, squeeze=False)[:, 0]
    return figure, list(axes)


def new_panels(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each of so many targets, at most PANELS, that share x."""
    figure, axes = new_figure(min(count, PANELS))
    share_x(axes)
    return figure, axes


def share_x(axes: Sequence[Axes]) -> None:
    """Gives all axes the x of the last."""
    for ax in axes[:-1]:
        ax.sharex(axes[-1])


def label(ax: Axes, labels: Labels, name: str, note: str = "") -> None:
    """Names x, with a note below it, and y; if x are times, it writes no more of them than tells them apart."""
    write(ax.set_xlabel, cut(labels.x), note)
    write(ax.set_ylabel, cut(name))
    if labels.times:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        if isinstance(locator := ax.xaxis.get_major_locator(), AutoDateLocator):
            ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def label_panels(axes: Sequence[Axes], labels: Labels, names: Sequence[str], note: str = "") -> None:
    """The same for panels that share x: if they are several, each has its name above it, where long ones have room."""
    for i, ax in enumerate(axes):
        label(ax, labels, entry(names, i) if len(axes) == 1 else "", note)
        if len(axes) > 1:
            write(ax.set_title, cut(entry(names, i), LONGEST_HEADING), loc="left", fontsize="small", pad=4)
    for ax in axes[:-1]:
        ax.tick_params(labelbottom=False)
        ax.set_xlabel("")


def shown_of(shown: int, count: int, what: str = "targets") -> str:
    """How many of them are shown, if not all."""
    return "" if shown == count else f"{shown} of {count:,} {what}"


def head(axes: Sequence[Axes], title: str, note: str = "", **style: Any) -> None:
    """Writes the title above the panel, or above all of them with a note below it."""
    if len(axes) == 1:
        write(axes[0].set_title, title, **style)
    else:
        write(figure_of(axes).suptitle, title, note, fontsize="medium")


def legend(axes: Sequence[Axes]) -> None:
    """One legend for all panels, below them; what several of them have is in it once."""
    named: dict[Any, tuple[Any, str]] = {}
    for ax in axes:
        for handle, text in zip(*ax.get_legend_handles_labels(), strict=True):
            named.setdefault((text, isinstance(handle, Line2D) and handle.get_color()), (handle, text))
    handles, texts = zip(*named.values(), strict=True)
    figure_of(axes).legend(handles, texts, loc="outside lower center", frameon=False, ncols=2)


def figure_of(axes: Sequence[Axes]) -> Figure:
    """The figure that these axes are in."""
    figure = axes[0].get_figure(root=True)
    assert figure
    return figure


def finish(axes: Sequence[Axes], labels: Labels, title: str, count: int, note: str = "", **style: Any) -> None:
    """Writes all that is written on panels of the first of `count` targets: names, note, title and legend."""
    label_panels(axes, labels, labels.y, note)
    head(axes, title, shown_of(len(axes), count), **style)
    legend(axes)


def draw_line(ax: Axes, x: np.ndarray, y: np.ndarray, line: dict[str, Any]) -> Line2D:
    """A line with gaps where y [samples] is not a number."""
    [drawn] = ax.plot(x, y, **line)
    mark_alone(drawn)
    return drawn


def mark_alone(line: Line2D) -> None:
    """Gives a dot to each sample between two gaps, of which a line would show nothing."""
    known = np.pad(np.isfinite(np.asarray(line.get_ydata(), float)), 1)
    alone = np.flatnonzero(known[1:-1] & ~(known[:-2] | known[2:])).tolist()
    line.set(marker="." if alone else "", markevery=alone)
