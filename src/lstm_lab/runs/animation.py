"""The fit as an animation: targets and predictions from the first step to the last, and the cost on its way down."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from matplotlib.text import Text

from lstm_lab.runs import figures, panels
from lstm_lab.runs.panels import PANELS, Labels, new_figure

if TYPE_CHECKING:
    from lstm_lab.runs.observers import Frames


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
    """The pixels of each picture: targets and predictions of a frame above the cost [steps] up to there.

    Axes and labels are drawn once and only the lines for each picture: forty pictures take a fraction of a second.
    """
    shown = min(frames.targets[0].shape[1], PANELS)
    figure, [*fits, bottom] = new_figure(shown + 1, height_ratios=[*[max(2.2 / shown, 0.7)] * shown, 1], size=5.6)
    lines, text = draw_first(fits, frames, labels)
    figures.draw_costs(bottom, costs, epoch)
    bottom.set(xlabel="step")
    [cost_line] = bottom.plot([], [], color="tab:blue", linewidth=1)
    [dot] = bottom.plot([], [], "o", color="tab:blue", markersize=5)
    moving = [*(line for pair in lines for line in pair), cost_line, dot, text]
    for artist in moving:
        artist.set_animated(True)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    background, steps = canvas.copy_from_bbox(figure.bbox), figures.carried(costs, epoch)
    for target, prediction, step in zip(frames.targets, frames.predictions, frames.steps, strict=True):
        canvas.restore_region(background)
        for i, (solid, dashed) in enumerate(lines):
            change(solid, target[:, i])
            change(dashed, prediction[:, i])
        done = steps[steps < step][:: figures.points(steps, epoch)[0]]
        cost_line.set_data(done, costs[done])
        dot.set_data([step - 1], [costs[step - 1]])
        text.set_text(f"step {step:,}   cost {costs[step - 1]:.3g}")
        for artist in moving:
            figure.draw_artist(artist)
        yield np.array(canvas.buffer_rgba())


def draw_first(axes: list[Axes], frames: "Frames", labels: Labels) -> tuple[list[tuple[Line2D, Line2D]], Text]:
    """Draws the first frame, a panel for each target, and a legend; returns the lines, and the text for the step."""
    panels.share_x(axes)
    short = Labels(y=labels.y, apart=labels.apart)  # beside the legend there is room for the step
    lines = figures.draw_fit(axes, frames.x, frames.targets[0], frames.predictions[0], short)
    panels.label_panels(axes, short, labels.y)
    x = labels.apart if frames.apart else "x, from the start of the window shown"
    left_out = panels.shown_of(len(axes), frames.targets[0].shape[1])
    axes[-1].set_xlabel(f"{x}; {left_out}" if left_out else x)
    if len(axes) == 1:
        axes[0].legend(loc="lower right", bbox_to_anchor=(1.01, 0.98), frameon=False, ncols=2)
        return lines, axes[0].text(0, 1.03, "", transform=axes[0].transAxes, fontweight="bold")
    panels.legend(axes)
    return lines, panels.figure_of(axes).suptitle("step", fontsize="medium", fontweight="bold")


def change(line: Line2D, y: np.ndarray) -> None:
    """Draws another y [samples] with that line."""
    line.set_ydata(y)
    panels.mark_alone(line)
