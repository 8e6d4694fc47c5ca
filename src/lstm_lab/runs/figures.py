"""The pictures of a run: its cost, its fit, the curve continued, a forecast. Arrays in, figures out.

Each target has a panel; of many targets the first PANELS are shown.
"""

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_lab.config import Config
from lstm_lab.datasets import Csv, Task
from lstm_lab.runtime import import_matplotlib
from lstm_lab.values import listed

import_matplotlib()
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.lines import Line2D  # noqa: E402

from lstm_lab.runs.lettering import cut, drawable, write  # noqa: E402
from lstm_lab.runs.panels import (  # noqa: E402
    PANELS,
    PREDICTION,
    TARGET,
    Labels,
    draw_line,
    entry,
    finish,
    head,
    label,
    label_panels,
    legend,
    new_figure,
    new_panels,
    share_x,
    shown_of,
)
from lstm_lab.science.curves import SIGNALS  # noqa: E402

if TYPE_CHECKING:
    from lstm_lab.runs.observers import Shown
    from lstm_lab.science.evaluation import Evaluation
    from lstm_lab.science.judging import Judge
    from lstm_lab.science.verification import Verification
    from lstm_lab.tables.times import Times

# What a cost sums, by its kind
COSTS = {"squared": "summed squared error", "absolute": "summed absolute error", "huber": "summed Huber loss"}
SAMPLE = "sample of the series"  # x of a file without times
SEQUENCE = "sequence of the batch"
SHOWN_SAMPLES = 400  # of a curve: with the default spacing about two periods
SHOWN_STEPS = 1000  # points of a cost's curve, each of as many steps as it takes
NAMED_WINDOWS = 8  # of those side by side
AVERAGED = 20  # steps that a mean is over, or points if these are of more
BAND: dict[str, Any] = {"color": "tab:blue", "alpha": 0.15, "linewidth": 0}
NAIVE: dict[str, Any] = {"color": "tab:orange", "linestyle": "-.", "linewidth": 1.5, "label": "seasonal naive"}
INSIDE: dict[str, Any] = {"color": "tab:green", "linewidth": 2, "label": "of the truths inside the intervals"}
ROLLED_OUT: dict[str, Any] = {
    "color": "tab:green",
    "linestyle": "-.",
    "linewidth": 1.5,
    "label": "forecast on its own predictions",
}


def labels_of(config: Config, times: "Times | None" = None) -> Labels:
    """What the figures of such a run say of its data."""
    data = config.data
    if not isinstance(data, Csv):
        outputs = data.sizes[1]
        names = tuple(f"output {i + 1}" for i in range(outputs)) if outputs > 1 else ("",)
        names = SIGNALS.get(data.curve, names)
        return Labels(SEQUENCE, names, apart=f"{SEQUENCE}, the answer") if isinstance(data, Task) else Labels(y=names)
    y = data.targets
    target = f"target: {cut(y[0])}" if len(y) == 1 else "target"  # of several each panel has the name
    how = f", {counted(data.horizon)} ahead" if data.horizon else f" from {cut(', '.join(listed(data.input)))}"
    return Labels(times.name if times else SAMPLE, tuple(y), (target,), (f"prediction{how}",), times)


def labels_of_fit(config: Config, times: "Times | None" = None) -> Labels:
    """`labels_of` a fit: series that are normalised each by itself have no units in common."""
    labels = labels_of(config, times)
    if isinstance(config.data, Csv) and config.data.normalise == "series":
        return replace(labels, y=tuple(f"{name}, normalised" for name in labels.y))
    return labels


def counted(samples: int) -> str:
    """So many samples."""
    return f"{samples:,} sample{'' if samples == 1 else 's'}"


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


def mean_curve(costs: np.ndarray, epoch: int | None) -> tuple[np.ndarray, np.ndarray, int]:
    """The steps and the mean cost of so many that end there, as `points` has it; of one where there are too few."""
    steps = carried(costs, epoch)
    size, width = points(steps, epoch)
    drawn = costs[steps[len(steps) % size :]].reshape(-1, size).mean(axis=1, dtype=np.float64)
    if len(drawn) <= 2 * width:
        return steps, costs[steps].astype(np.float64), 1
    mean = np.lib.stride_tricks.sliding_window_view(drawn, width).mean(axis=1)
    return steps[len(steps) - 1 - size * np.arange(len(mean))[::-1]], mean, width * size


def cost_figure(
    costs: np.ndarray, title: str, epoch: int | None = None, kind: str = "squared", judge: "Judge | None" = None
) -> Figure:
    """The cost [steps] of that kind on a log scale with its mean; and the validation errors below, if there are any."""
    judged = judge is not None and judge.best_step is not None
    figure, [ax, *below] = new_figure(1 + judged, [2, 1][: 1 + judged])
    draw_costs(ax, costs, epoch)
    ax.set_ylabel(f"cost ({COSTS[kind]} / batch size)")
    at, mean, averaged = mean_curve(costs, epoch)
    if averaged > 1:
        ax.plot(at, mean, color="tab:blue", linewidth=2, label=f"mean of {averaged:,} steps")
    ax.legend(frameon=False)
    write(ax.set_title, title)
    if judge and judged:
        draw_validation(below[0], judge)
        below[0].set_xlabel(ax.get_xlabel())
        share_x([ax, *below])
        ax.tick_params(labelbottom=False)
        ax.set_xlabel("")
    return figure


def seeds_figure(costs: np.ndarray, title: str, epoch: int | None = None) -> Figure:
    """The mean cost with each seed [seeds, steps] on a log scale, and its median; infinite where a seed has failed."""
    figure, [ax] = new_figure()
    curves = [mean_curve(curve, epoch) for curve in costs]
    steps, _, averaged = curves[0]
    for i, (_, mean, _) in enumerate(curves):
        name = f"each of {len(costs)} seeds" if i == 0 else "_"
        ax.plot(steps, np.where(np.isfinite(mean), mean, np.nan), color="tab:blue", alpha=0.4, linewidth=1, label=name)
    median = np.median([mean for _, mean, _ in curves], axis=0)
    ax.plot(steps, np.where(np.isfinite(median), median, np.nan), color="tab:red", linewidth=2, label="median")
    ax.set(xlabel="step", ylabel=f"mean cost of {averaged:,} steps", yscale="log")
    ax.legend(frameon=False)
    write(ax.set_title, title)
    return figure


def draw_validation(ax: Axes, judge: "Judge") -> None:
    """The validation errors, on a log scale if they span a decade, the lowest of them ringed."""
    errors = np.where(np.isfinite(judge.errors), judge.errors, np.nan)
    ax.plot(judge.steps, errors, color="tab:orange", marker=".", label="validation error")
    best, what = int(np.nanargmin(errors)), "lowest, and kept" if judge.best else "lowest"
    step, low = judge.steps[best], errors[best]
    name = f"{what}: {low:.3g} at step {step:,}"
    ax.plot([step], [low], "o", color="tab:orange", markersize=9, markerfacecolor="none", label=name)
    if 0 < 10 * low < np.nanmax(errors):
        ax.set_yscale("log")
    ax.set_ylabel("mean squared error")
    ax.legend(frameon=False)


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
    ax.set(xlabel=f"step{left_out}", ylabel="cost")


def fit_figure(shown: "Shown", labels: Labels, *, note: str, title: str) -> Figure:
    """Targets and predictions over x; ticks on top mark where a window starts.

    Windows from all over a series stand side by side, and the ticks below tell where, or when, each of them starts.
    """
    count = shown.target.shape[1]
    figure, axes = new_panels(count)
    x = shown.x if shown.apart else labels.at(shown.x)
    draw_fit(axes, x, shown.target, shown.prediction, labels)
    finish(axes, labels, title, count, note if count > 1 else "")
    for ax in axes:
        starts = ax.secondary_xaxis("top")
        starts.set_xticks(x[:: shown.window], labels=[])
        starts.tick_params(direction="in", length=5, color="gray")
    if count == 1:
        starts.set_xlabel(note, color="gray")
    if shown.apart:
        every = math.ceil(len(shown.starts) / NAMED_WINDOWS)
        ticks = [str(when) if labels.times else f"{when:,.0f}" for when in labels.at(shown.starts[::every])]
        axes[-1].set_xticks(x[:: shown.window][::every], ticks, rotation=20, ha="right", rotation_mode="anchor")
    return figure


def draw_fit(
    axes: Sequence[Axes], x: np.ndarray, target: np.ndarray, prediction: np.ndarray, labels: Labels
) -> list[tuple[Line2D, Line2D]]:
    """The tutorial's picture, a panel for each target: solid red, and its prediction dashed blue. Returns the lines."""
    drawn = []
    for i, ax in enumerate(axes):
        solid, dashed = labels.lines(i)
        drawn.append((draw_line(ax, x, target[:, i], solid), draw_line(ax, x, prediction[:, i], dashed)))
        ax.set_ylim(limits(target[:, i], named=bool(entry(labels.y, i))))
        ax.margins(x=0)
    return drawn


def limits(target: np.ndarray, *, named: bool) -> tuple[float, float] | None:
    """From where to where y goes for a target [samples]: a fifth of room above and below; None if it has no values.

    A column of a file, which has a name, need not lie around zero: it has a tenth of its range.
    """
    low, high = float(np.nanmin(target, initial=np.inf)), float(np.nanmax(target, initial=-np.inf))
    if low > high:
        return None
    limit, room = 1.2 * max(-low, high), 0.1 * (high - low) or 1.0
    return (low - room, high + room) if named or limit <= 0 else (-limit, limit)


def continued_figure(evaluated: "Evaluation", labels: Labels, *, note: str, title: str) -> Figure:
    """Targets and predictions around the first sample that was never trained on: some before it, hundreds after it."""
    first, count = evaluated.first, evaluated.target.shape[1]
    shown = slice(max(0, first - SHOWN_SAMPLES // 4), first + SHOWN_SAMPLES)
    figure, axes = new_panels(count)
    x = labels.at(evaluated.x[shown])
    unseen = x[first - shown.start :]
    for i, ax in enumerate(axes):
        target, prediction = labels.lines(i)
        draw_line(ax, x, evaluated.target[shown, i], target)
        draw_line(ax, unseen, evaluated.prediction[:SHOWN_SAMPLES, i], prediction)
        if evaluated.rolled_out is not None:
            draw_line(ax, unseen, evaluated.rolled_out[:SHOWN_SAMPLES, i], ROLLED_OUT)
        ax.axvline(unseen[0], color="gray", linewidth=1)
        if evaluated.trained > shown.start:  # else the samples for validation are all that lies before
            shade(ax, x[0], x[evaluated.trained - shown.start], named_above=count == 1)
        ax.margins(x=0, y=0.2)
    finish(axes, labels, title, count, note, pad=20)
    return figure


def shade(ax: Axes, start: Any, end: Any, *, named_above: bool) -> None:
    """Shades the samples that were trained on, and says so above them or in the legend."""
    ax.axvspan(start, end, color="gray", alpha=0.1, linewidth=0, label="" if named_above else "trained on")
    if named_above:
        ax.text(0.01, 1.01, "trained on: shaded", transform=ax.transAxes, color="gray")


def forecast_figure(
    x: np.ndarray,
    known: np.ndarray,
    predicted: np.ndarray,
    labels: Labels,
    title: str,
    band: tuple[np.ndarray, np.ndarray] | None = None,
) -> Figure:
    """The last known values [samples, outputs], and joined to them those predicted to follow [steps, outputs].

    x are the samples of both. `band` is the lower and the upper end of what else may follow, each [steps, outputs].
    """
    count, last, x = known.shape[1], len(known) - 1, labels.at(x)
    figure, axes = new_panels(count)
    predicted, *ends = (np.concatenate([known[-1:], values]) for values in (predicted, *(band or ())))
    for i, ax in enumerate(axes):
        target, prediction = labels.lines(i)
        draw_line(ax, x[: last + 1], known[:, i], target)
        draw_line(ax, x[last:], predicted[:, i], prediction)
        if ends:
            low, high = (end[:, i] for end in ends)
            ax.fill_between(x[last:], low, high, label=drawable(labels.band), **BAND)
        ax.axvline(x[last], color="gray", linewidth=1)
        ax.margins(x=0)
    finish(axes, labels, title, count, fontsize="medium")
    return figure


def backtest_figure(verified: "Verification") -> Figure:
    """Errors by lead time beside the seasonal naive forecast's and, if there are intervals, how often they hold."""
    leads = np.arange(1, len(verified.by_lead) + 1)
    scores = {name: np.array([at[name].overall for at in verified.by_lead]) for name in verified.by_lead[0]}
    name, named = ("mase", "mean absolute scaled error") if np.isfinite(scores["mase"]).any() else ("rmse", "RMSE")
    level = verified.level if np.isfinite(scores["coverage"]).any() else None
    figure, axes = new_figure(1 if level is None else 2)
    draw_line(axes[0], leads, scores[f"seasonal_naive_{name}"], NAIVE)
    draw_line(axes[0], leads, scores[name], PREDICTION | {"label": "model"})
    axes[0].set_ylabel(named)
    axes[0].set_ylim(bottom=0)
    if level is not None:
        axes[1].axhline(100 * level, color="gray", linewidth=1, label=f"{100 * level:g} % of the truths")
        draw_line(axes[1], leads, 100 * scores["coverage"], INSIDE)
        axes[1].set(ylabel="inside, per cent", ylim=(0, 105))
    share_x(axes)
    for ax in axes:
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.margins(x=0.02)
    axes[-1].set_xlabel("samples ahead")
    axes[0].set_title(f"forecasts from {verified.origins:,} held-out origins")
    legend(axes)
    return figure


def prediction_figure(
    x: np.ndarray, known: np.ndarray, predicted: np.ndarray, labels: Labels, title: str, *, of_input: bool
) -> Figure:
    """What is predicted of the samples x, over the targets; or, `of_input`, below the inputs, which have other units.

    Both are [samples, size]. The names of the inputs are the `target` of the labels.
    """
    if of_input:
        return below_inputs(x, known, predicted, labels, title)
    figure, axes = new_panels(predicted.shape[1])
    for i, ax in enumerate(axes):
        for values, line in zip((known, predicted), labels.lines(i), strict=True):
            draw_line(ax, labels.at(x), values[:, i], line)
        ax.margins(x=0)
    finish(axes, labels, title, predicted.shape[1], fontsize="medium")
    return figure


def below_inputs(x: np.ndarray, known: np.ndarray, predicted: np.ndarray, labels: Labels, title: str) -> Figure:
    """The predictions below the inputs that they are made from, at most PANELS together."""
    inputs = min(known.shape[1], PANELS // 2)
    outputs = min(predicted.shape[1], PANELS - inputs)
    figure, axes = new_figure(inputs + outputs)
    black = TARGET | {"color": "black", "linewidth": 1.5}
    black["label"] = drawable(entry(labels.target, 0)) if known.shape[1] == 1 else "input"
    lines = [black] * inputs + [labels.lines(i)[1] for i in range(outputs)]
    names = [*(entry(labels.target, i) for i in range(inputs)), *(entry(labels.y, i) for i in range(outputs))]
    for ax, values, line in zip(axes, [*known.T[:inputs], *predicted.T[:outputs]], lines, strict=True):
        draw_line(ax, labels.at(x), values, line)
        ax.margins(x=0)
    legend(axes)
    if len(axes) == 2:  # beside each there is room for a name
        for ax, name in zip(axes, names, strict=True):
            label(ax, labels, name)
        axes[0].set_xlabel("")
        head(axes[:1], title, fontsize="medium")
        return figure
    share_x(axes)
    label_panels(axes, labels, names)
    left_out = [shown_of(inputs, known.shape[1], "inputs"), shown_of(outputs, predicted.shape[1])]
    head(axes, title, ", ".join(filter(None, left_out)))
    return figure


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
