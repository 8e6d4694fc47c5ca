"""The pictures of a run: its cost, its fit, the curve continued, the fit as an animation. Arrays in, figures out."""

import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_lab.config import Config, Csv
from lstm_lab.runtime import import_matplotlib

import_matplotlib()
from matplotlib import rc_context  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from lstm_lab.runs.lettering import cut, drawable, write  # noqa: E402

if TYPE_CHECKING:
    from lstm_lab.runs.observers import Frames, Shown
    from lstm_lab.science.evaluation import Evaluation
    from lstm_lab.science.times import Times

SAMPLE = "sample of the series"  # x of a file without times
SHOWN_SAMPLES = 400  # of a curve: with the default spacing about two periods
SHOWN_STEPS = 1000  # points of a cost's curve, each of as many steps as it takes
NAMED_WINDOWS = 8  # of those side by side
AVERAGED = 20  # steps that a mean is over, or points if these are of more
STYLE: Any = {"axes.grid": True, "grid.alpha": 0.25, "axes.spines.top": False, "axes.spines.right": False}
TARGET: dict[str, Any] = {"color": "tab:red", "linestyle": "-", "linewidth": 2.0, "label": "target"}
PREDICTION: dict[str, Any] = {"color": "tab:blue", "linestyle": "--", "linewidth": 2.0, "label": "prediction"}
ROLLED_OUT: dict[str, Any] = {
    "color": "tab:green",
    "linestyle": "-.",
    "linewidth": 1.5,
    "label": "forecast on its own predictions",
}


@dataclass(frozen=True)
class Labels:
    """What a run's figures say of its data: what x and y are, what is drawn, and the times of its samples, if known."""

    x: str = "x"
    y: str = ""
    target: str = "target"
    prediction: str = "prediction"
    times: "Times | None" = None

    def lines(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """How target and prediction are drawn."""
        target, prediction = (drawable(name) for name in (self.target, self.prediction))
        return TARGET | {"label": target}, PREDICTION | {"label": prediction}

    def at(self, x: np.ndarray) -> np.ndarray:
        """Where these x are drawn: at their times, if they are samples that have some."""
        times = self.times.at(x.astype(int)) if self.times else None
        return x if times is None else times


def labels_of(config: Config, times: "Times | None" = None) -> Labels:
    """What the figures of such a run say of its data."""
    data = config.data
    if not isinstance(data, Csv):
        return Labels()
    y = data.target or data.input
    how = f"prediction, {counted(data.horizon)} ahead" if data.horizon else f"prediction from {cut(data.input)}"
    return Labels(times.name if times else SAMPLE, y, f"target: {cut(y)}", how, times)


def counted(samples: int) -> str:
    """So many samples."""
    return f"{samples:,} sample{'' if samples == 1 else 's'}"


def new_figure(rows: int = 1, height_ratios: Sequence[float] | None = None, size: float = 6.4) -> tuple[Figure, list]:
    """A figure close to square, which is the shape MLflow's pages show best, with `rows` axes below one another."""
    figure = Figure(figsize=(size, 0.86 * size), layout="constrained")
    with rc_context(STYLE):
        axes = figure.subplots(rows, 1, height_ratios=height_ratios, squeeze=False)[:, 0]
    return figure, list(axes)


def label(ax: Axes, labels: Labels, note: str = "") -> None:
    """Names x, with a note below it, and y; if x are times, it writes no more of them than tells them apart."""
    write(ax.set_xlabel, cut(labels.x), note)
    write(ax.set_ylabel, cut(labels.y))
    if labels.times:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        if isinstance(locator := ax.xaxis.get_major_locator(), AutoDateLocator):
            ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def carried(costs: np.ndarray, epoch: int | None) -> np.ndarray:
    """The steps whose costs [steps] are drawn: not those that begin an epoch of so many, from a state of zeros."""
    steps = np.arange(len(costs))
    return steps if epoch in (None, 1) else steps[steps % epoch > 0]


def points(steps: np.ndarray, epoch: int | None) -> tuple[int, int]:
    """Of how many steps one point of a cost's curve is, and of how many points their mean: more, the more there are.

    Where there are many epochs a point is of whole ones: each has its easy and its hard windows.
    """
    size = max(1, len(steps) // SHOWN_STEPS)
    if epoch and 1 < epoch < len(steps) // AVERAGED:
        size = math.ceil(size / (epoch - 1)) * (epoch - 1)
    return size, math.ceil(max(AVERAGED, len(steps) * AVERAGED // SHOWN_STEPS) / size)


def cost_figure(costs: np.ndarray, title: str, epoch: int | None = None) -> Figure:
    """The cost [steps] on a log scale, with its mean."""
    figure, [ax] = new_figure()
    draw_costs(ax, costs, epoch)
    steps = carried(costs, epoch)
    size, width = points(steps, epoch)
    drawn = costs[steps[len(steps) % size :]].reshape(-1, size).mean(axis=1, dtype=np.float64)
    if len(drawn) > 2 * width:
        mean = np.lib.stride_tricks.sliding_window_view(drawn, width).mean(axis=1)
        at = steps[len(steps) - 1 - size * np.arange(len(mean))[::-1]]
        ax.plot(at, mean, color="tab:blue", linewidth=2, label=f"mean of {width * size:,} steps")
    ax.legend(frameon=False)
    write(ax.set_title, title)
    return figure


def draw_costs(ax: Axes, costs: np.ndarray, epoch: int | None) -> None:
    """The costs [steps] as a light line, or as a band of points of several, on a log scale unless one is zero."""
    steps = carried(costs, epoch)
    (size, _), shown, light = points(steps, epoch), costs[steps], "#9ec6e6"
    if size == 1:
        ax.plot(steps, shown, color=light, linewidth=1, label="cost")
    else:
        first = np.arange(0, len(steps), size)
        low, high = np.minimum.reduceat(shown, first), np.maximum.reduceat(shown, first)
        name = f"cost, lowest to highest of {size:,} steps"
        ax.fill_between(steps[first], low, high, color=light, linewidth=0.8, label=name)
    if np.nanmin(shown, initial=np.inf) > 0:
        ax.set_yscale("log")
    left_out = "" if len(steps) == len(costs) else f" (left out: the first of each epoch of {epoch:,})"
    ax.set(xlabel=f"step{left_out}", ylabel="cost (summed squared error / batch size)")


def fit_figure(shown: "Shown", labels: Labels, *, note: str, title: str) -> Figure:
    """Target and prediction over x; ticks on top mark where a window starts.

    Windows from all over a series stand side by side, and the ticks below tell where, or when, each of them starts.
    """
    figure, [ax] = new_figure()
    apart = bool(np.isnan(shown.target).any())
    x = shown.x if apart else labels.at(shown.x)
    draw_fit(ax, x, shown.target, shown.prediction, labels)
    starts = ax.secondary_xaxis("top")
    starts.set_xticks(x[:: shown.window], labels=[])
    starts.tick_params(direction="in", length=5, color="gray")
    starts.set_xlabel(note, color="gray")
    if apart:
        every = math.ceil(len(shown.starts) / NAMED_WINDOWS)
        ticks = [str(when) if labels.times else f"{when:,.0f}" for when in labels.at(shown.starts[::every])]
        ax.set_xticks(x[:: shown.window][::every], ticks, rotation=20, ha="right", rotation_mode="anchor")
    write(ax.set_title, title)
    figure.legend(loc="outside lower center", frameon=False, ncols=2)
    return figure


def draw_fit(ax: Axes, x: np.ndarray, target: np.ndarray, prediction: np.ndarray, labels: Labels) -> None:
    """The tutorial's picture: target solid red, prediction dashed blue, a fifth of room above and below.

    A column of a file, which has a name, need not lie around zero: it has a tenth of its range.
    """
    for y, line in zip((target, prediction), labels.lines(), strict=True):
        ax.plot(x, y, **line)
    low, high = float(np.nanmin(target)), float(np.nanmax(target))
    limit, room = 1.2 * max(-low, high), 0.1 * (high - low)
    ax.set_ylim(*((low - room, high + room) if labels.y else (-limit, limit)))
    ax.margins(x=0)
    label(ax, labels)


def continued_figure(evaluated: "Evaluation", labels: Labels, *, note: str, title: str) -> Figure:
    """Target and predictions around the first sample that was never trained on: some before it, hundreds after it."""
    first = evaluated.first
    shown = slice(max(0, first - SHOWN_SAMPLES // 4), first + SHOWN_SAMPLES)
    figure, [ax] = new_figure()
    x = labels.at(evaluated.x[shown])
    known, unseen = x[: first - shown.start], x[first - shown.start :]
    target, prediction = labels.lines()
    ax.plot(x, evaluated.target[shown], **target)
    ax.plot(unseen, evaluated.prediction[:SHOWN_SAMPLES], **prediction)
    if evaluated.rolled_out is not None:
        ax.plot(unseen, evaluated.rolled_out[:SHOWN_SAMPLES], **ROLLED_OUT)
    ax.axvline(unseen[0], color="gray", linewidth=1)
    if evaluated.trained > shown.start:  # else the samples for validation are all that lies before
        ax.axvspan(known[0], x[evaluated.trained - shown.start], color="gray", alpha=0.1, linewidth=0)
        ax.text(0.01, 1.01, "trained on: shaded", transform=ax.transAxes, color="gray")
    ax.margins(x=0, y=0.2)
    label(ax, labels, note)
    write(ax.set_title, title, pad=20)
    figure.legend(loc="outside lower center", frameon=False, ncols=2)
    return figure


def forecast_figure(x: np.ndarray, known: np.ndarray, predicted: np.ndarray, labels: Labels, title: str) -> Figure:
    """The last known values, and joined to them those that are predicted to follow; x are the samples of both."""
    figure, [ax] = new_figure()
    x, last = labels.at(x), len(known) - 1
    target, prediction = labels.lines()
    ax.plot(x[: last + 1], known, **target)
    ax.plot(x[last:], np.append(known[-1], predicted), **prediction)
    ax.axvline(x[last], color="gray", linewidth=1)
    return titled(figure, labels, title)


def prediction_figure(
    x: np.ndarray, known: np.ndarray, predicted: np.ndarray, labels: Labels, title: str, *, of_input: bool
) -> Figure:
    """What is predicted of the samples x, over the target; or, `of_input`, below the input, which has its own units."""
    figure, axes = new_figure(2 if of_input else 1)
    target, prediction = labels.lines()
    axes[0].plot(labels.at(x), known, **target | ({"color": "black", "linewidth": 1.5} if of_input else {}))
    axes[-1].plot(labels.at(x), predicted, **prediction)
    titled(figure, labels, title)
    if of_input:
        axes[0].set_xlabel("")
        write(axes[0].set_ylabel, cut(labels.target))
    return figure


def titled(figure: Figure, labels: Labels, title: str) -> Figure:
    """The figure of a forecast with all that is written on it."""
    for ax in figure.axes:
        ax.margins(x=0)
        label(ax, labels)
    write(figure.axes[0].set_title, title, fontsize="medium")
    figure.legend(loc="outside lower center", frameon=False, ncols=2)
    return figure


def fit_animation(path: Path, frames: "Frames", costs: np.ndarray, labels: Labels, epoch: int | None = None) -> None:
    """Writes a GIF: one picture for each of the frames; the last one stays."""
    from PIL import Image

    pictures = [Image.fromarray(pixels).convert("RGB") for pixels in animated(frames, costs, labels, epoch)]
    palette = pictures[-1].quantize(32, method=Image.Quantize.MAXCOVERAGE)  # keeps white white
    pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    durations = [120] * (len(pictures) - 1) + [2500]  # milliseconds
    pictures[0].save(
        path, format="GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0, optimize=False
    )


def animated(frames: "Frames", costs: np.ndarray, labels: Labels, epoch: int | None) -> Iterator[np.ndarray]:
    """The pixels of each picture: target and prediction of a frame above the cost [steps] up to there.

    Axes and labels are drawn once and only the lines for each picture: forty pictures take a fraction of a second.
    """
    figure, [top, bottom] = new_figure(2, height_ratios=[2.2, 1], size=5.6)
    short = Labels(y=labels.y)  # beside the legend there is room for the step
    draw_fit(top, frames.x, frames.targets[0], frames.predictions[0], short)
    top.set_xlabel("x, from the start of the window shown")
    if np.isnan(frames.targets[0]).any():
        top.set_xlabel("windows from all over the series, side by side")
    draw_costs(bottom, costs, epoch)
    bottom.set(xlabel="step", ylabel="cost")
    steps = carried(costs, epoch)
    target_line, prediction_line = top.lines
    [cost_line] = bottom.plot([], [], color="tab:blue", linewidth=1)
    [dot] = bottom.plot([], [], "o", color="tab:blue", markersize=5)
    text = top.text(0, 1.03, "", transform=top.transAxes, fontweight="bold")
    top.legend(loc="lower right", bbox_to_anchor=(1.01, 0.98), frameon=False, ncols=2)
    moving = [target_line, prediction_line, cost_line, dot, text]
    for artist in moving:
        artist.set_animated(True)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    background = canvas.copy_from_bbox(figure.bbox)
    for target, prediction, step in zip(frames.targets, frames.predictions, frames.steps, strict=True):
        canvas.restore_region(background)
        target_line.set_ydata(target)
        prediction_line.set_ydata(prediction)
        done = steps[steps < step][:: points(steps, epoch)[0]]
        cost_line.set_data(done, costs[done])
        dot.set_data([step - 1], [costs[step - 1]])
        text.set_text(f"step {step:,}   cost {costs[step - 1]:.3g}")
        for artist in moving:
            artist.axes.draw_artist(artist)
        yield np.array(canvas.buffer_rgba())


def align(target: np.ndarray, model: np.ndarray) -> int:
    """Where in `target` [samples] the stretch lies that is most like `model` [fewer samples] (least squares)."""
    windows = np.lib.stride_tricks.sliding_window_view(target, len(model))
    return int(np.argmin(((windows - model) ** 2).sum(axis=1)))


def missing_for_live() -> str | None:
    """What a live window lacks on this machine, in a sentence; None when one can be opened."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return (
            "there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set): run it in a desktop session, through "
            "`ssh -X`, or under `xvfb-run`"
        )
    from matplotlib import pyplot

    try:
        pyplot.switch_backend(os.environ.get("MPLBACKEND") or pyplot.rcParams._get("backend"))
        pyplot.figure()
        pyplot.close("all")
    except Exception as error:  # whatever the toolkit raises: ImportError, TclError, ...
        return f"matplotlib cannot open a window ({error})"
    if pyplot.get_backend().lower() == "agg" and os.environ.get("MPLBACKEND"):
        return f"MPLBACKEND={os.environ['MPLBACKEND']} draws into files alone: unset it"
    if pyplot.get_backend().lower() == "agg":
        return (
            f"DISPLAY={os.environ.get('DISPLAY', '')} does not answer, or "
            "matplotlib found no toolkit to open a window with: install Debian's python3-tk, "
            "or `.venv/bin/python $(ls bootstrap/pip-*.whl)/pip install PySide6-Essentials`"
        )
    return None
