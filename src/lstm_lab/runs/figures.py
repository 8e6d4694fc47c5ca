"""The pictures of a run: its cost, its fit, the curve continued, the fit as an animation. Arrays in, figures out."""

import contextlib
import functools
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_lab.runtime import import_matplotlib

import_matplotlib()
from matplotlib import font_manager, rcParams  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

if TYPE_CHECKING:
    from lstm_lab.runs.observers import Frames
    from lstm_lab.science.evaluation import Evaluation

LONGEST_LABEL = 80  # characters of a text of the user's
SHOWN_SAMPLES = 400  # of a curve: with the default spacing about two periods
TARGET: dict[str, Any] = {"color": "tab:red", "linestyle": "-", "linewidth": 2.0, "label": "target"}
PREDICTION: dict[str, Any] = {"color": "tab:blue", "linestyle": "--", "linewidth": 2.0, "label": "prediction"}
ROLLED_OUT: dict[str, Any] = {"color": "tab:green", "linewidth": 1.5, "label": "forecast on its own predictions"}


def new_figure(rows: int = 1, height_ratios: Sequence[float] | None = None, size: float = 6.4) -> tuple[Figure, list]:
    """A figure close to square, which is the shape MLflow's pages show best, with `rows` axes below one another."""
    figure = Figure(figsize=(size, 0.86 * size), layout="constrained")
    axes = figure.subplots(rows, 1, height_ratios=height_ratios, squeeze=False)[:, 0]
    for ax in axes:
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def drawable(text: str) -> str:
    """A user's text as matplotlib draws it: letter for letter, with an escape for one that no installed font has."""
    text = text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 3] + "..."
    lacking = without_font(frozenset(text))
    shown = "".join(ascii(char)[1:-1] if char in lacking else char for char in text)
    return (" " if text.startswith("_") else "") + shown.replace("$", r"\$")  # a legend leaves out what begins with _


def set_title(ax: Axes, title: str, **style: Any) -> None:
    """Writes the title in the fonts that it needs: the axes may be older than these."""
    ax.set_title(drawable(title), fontfamily=rcParams["font.family"], **style)


@functools.cache
def without_font(letters: frozenset[str]) -> set[str]:
    """The letters that no installed font has. Fonts that the others need come behind matplotlib's usual one."""
    usual = font_manager.findfont(font_manager.FontProperties())
    left = letters - letters_of(usual, letters)
    for path in sorted(font_manager.findSystemFonts(), key=lambda path: ("Regular" not in path, path)) if left else ():
        if found := letters_of(path, left):
            font_manager.fontManager.addfont(path)
            name = font_manager.get_font(path).family_name
            rcParams["font.family"] = list(dict.fromkeys([*rcParams["font.family"], name]))
            left -= found
    return set(left)


def letters_of(path: str, letters: frozenset[str]) -> frozenset[str]:
    """Those of the letters that the font in this file has; none of a font that matplotlib cannot draw with."""
    with contextlib.suppress(Exception):  # whatever FreeType has to say of a broken file
        font = font_manager.get_font(path)
        return frozenset(char for char in letters if font.scalable and font.get_char_index(ord(char)))
    return frozenset()


def cost_figure(costs: np.ndarray, title: str) -> Figure:
    """The cost [steps] of every step on a log scale, with its mean over 20 steps; a long curve is thinned."""
    figure, [ax] = new_figure()
    draw_costs(ax, costs)
    if len(costs) > 40:
        steps = np.arange(19, len(costs), thinning(costs))
        mean = costs[steps[:, None] - np.arange(20)].mean(axis=1)
        ax.plot(steps, mean, color="tab:orange", linewidth=2, label="mean of 20 steps")
    ax.legend(frameon=False)
    set_title(ax, title)
    return figure


def thinning(costs: np.ndarray) -> int:
    """Of how many steps one is drawn, so that no curve has much more than 5,000 points."""
    return max(1, len(costs) // 5000)


def draw_costs(ax: Axes, costs: np.ndarray, **style: Any) -> None:
    """The cost of each step on a log scale, unless a cost is zero."""
    steps = np.arange(0, len(costs), thinning(costs))
    line: dict[str, Any] = {"color": "tab:blue", "linewidth": 1, "label": "cost"}
    ax.plot(steps, costs[steps], **line | style)
    if np.nanmin(costs, initial=np.inf) > 0:
        ax.set_yscale("log")
    ax.set(xlabel="step", ylabel="cost (summed squared error / batch size)")


def fit_figure(
    x: np.ndarray, target: np.ndarray, prediction: np.ndarray, *, window: int, note: str, title: str
) -> Figure:
    """Target and prediction [samples] over x [samples]; ticks on top mark where a window of `window` samples starts."""
    figure, [ax] = new_figure()
    draw_fit(ax, x, target, prediction)
    starts = ax.secondary_xaxis("top")
    starts.set_xticks(x[::window], labels=[])
    starts.tick_params(direction="in", length=5, color="gray")
    starts.set_xlabel(note, color="gray")
    set_title(ax, title)
    figure.legend(loc="outside lower center", frameon=False, ncols=2)
    return figure


def draw_fit(ax: Axes, x: np.ndarray, target: np.ndarray, prediction: np.ndarray) -> None:
    """The tutorial's picture: target solid red, prediction dashed blue, a fifth of room above and below."""
    ax.plot(x, target, **TARGET)
    ax.plot(x, prediction, **PREDICTION)
    limit = 1.2 * float(np.nanmax(np.abs(target)))
    ax.set(xlabel="x", ylim=(-limit, limit))
    ax.margins(x=0)


def continued_figure(evaluated: "Evaluation", x_label: str, title: str) -> Figure:
    """Target and predictions around the first sample that was never trained on: some before it, hundreds after it."""
    first = evaluated.first
    shown = slice(max(0, first - SHOWN_SAMPLES // 4), first + SHOWN_SAMPLES)
    x, boundary = evaluated.x[shown], evaluated.x[first]
    figure, [ax] = new_figure()
    ax.plot(x, evaluated.target[shown], **TARGET)
    ax.plot(x[first - shown.start :], evaluated.prediction[:SHOWN_SAMPLES], **PREDICTION)
    if evaluated.rolled_out is not None:
        ax.plot(x[first - shown.start :], evaluated.rolled_out[:SHOWN_SAMPLES], **ROLLED_OUT)
    ax.axvline(boundary, color="gray", linewidth=1)
    if evaluated.trained > shown.start:  # else the samples for validation are all that lies before
        ax.axvspan(x[0], evaluated.x[evaluated.trained], color="gray", alpha=0.1, linewidth=0)
        ax.text(0.01, 1.01, "trained on: shaded", transform=ax.transAxes, color="gray")
    ax.margins(x=0, y=0.2)
    ax.set_xlabel(x_label)
    set_title(ax, title, pad=20)
    figure.legend(loc="outside lower center", frameon=False, ncols=3)
    return figure


def forecast_figure(
    samples: np.ndarray, known: np.ndarray, predicted: np.ndarray, *, known_label: str, title: str
) -> Figure:
    """The known values from the first of `samples` on, and the predicted ones up to the last of them.

    A prediction beyond the known values is drawn beside them, one of the same samples below them, in its own units.
    """
    figure, axes = new_figure(1 if len(samples) > len(known) else 2)
    axes[0].plot(samples[: len(known)], known, **TARGET | {"label": drawable(known_label)})
    axes[-1].plot(samples[-len(predicted) :], predicted, **PREDICTION)
    for ax in axes:
        ax.margins(x=0)
    axes[-1].set_xlabel("sample of the series")
    set_title(axes[0], title, fontsize="medium")
    figure.legend(loc="outside lower center", frameon=False, ncols=2)
    return figure


def fit_animation(path: Path, frames: "Frames", costs: np.ndarray, milliseconds: int = 120) -> None:
    """Writes a GIF: one picture for each of the frames, `milliseconds` long; the last one stays."""
    from PIL import Image

    pictures = [Image.fromarray(pixels).convert("RGB") for pixels in animated(frames, costs)]
    palette = pictures[-1].quantize(32, method=Image.Quantize.MAXCOVERAGE)  # keeps white white
    pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    durations = [milliseconds] * (len(pictures) - 1) + [2500]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, loop=0, optimize=False)


def animated(frames: "Frames", costs: np.ndarray) -> Iterator[np.ndarray]:
    """The pixels of each picture: target and prediction of a frame above the cost [steps] up to there.

    Axes and labels are drawn once and only the lines for each picture: forty pictures take a fraction of a second.
    """
    figure, [top, bottom] = new_figure(2, height_ratios=[2.2, 1], size=5.6)
    draw_fit(top, frames.x, frames.targets[0], frames.predictions[0])
    top.set_xlabel("x, from the start of the window shown")
    draw_costs(bottom, costs, color="lightgray")
    bottom.set_ylabel("cost")
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
        every = max(1, step // 1000)
        cost_line.set_data(np.arange(0, step, every), costs[:step:every])
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
