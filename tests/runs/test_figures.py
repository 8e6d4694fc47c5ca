import os
import subprocess
import sys

import matplotlib.colors
import numpy as np
import pytest
from PIL import Image

from helpers import ROOT
from lstm_lab.runs import figures
from lstm_lab.runs.observers import Frames
from lstm_lab.science.evaluation import Evaluation


def test_fit_is_drawn_as_the_tutorial_does():
    x = np.linspace(0, 10, 400)
    figure = figures.fit_figure(x, np.cos(x), np.cos(x) + 0.1, window=20, note="", title="")
    target, prediction = figure.axes[0].lines
    red, blue = matplotlib.colors.to_rgb("tab:red"), matplotlib.colors.to_rgb("tab:blue")
    assert (target.get_linestyle(), matplotlib.colors.to_rgb(target.get_color())) == ("-", red)
    assert (prediction.get_linestyle(), matplotlib.colors.to_rgb(prediction.get_color())) == ("--", blue)
    np.testing.assert_array_equal(target.get_xdata(), x)
    assert figure.axes[0].get_ylim() == pytest.approx((-1.2, 1.2))


@pytest.mark.parametrize(
    "text",
    [
        "T (°C)",
        "p $a$_b",
        "$",
        r"a\$b$",
        "_x",
        "温度 한국어",
        "N\nx\x1b",
        "\U000e0001 \U0010ffff",
        "\udcff",
        "温" * 200,
    ],
)
def test_a_users_text_is_drawn_letter_for_letter_or_escaped(text, tmp_path):
    values = np.arange(9.0)
    figure = figures.forecast_figure(np.arange(18), values, values, known_label=text, title=f"{text}: forecast of 1")
    figure.savefig(tmp_path / "drawn.png")  # every warning is an error
    label, _ = figure.legends[0].get_texts()
    drawn, is_math = label._preprocess_math(label.get_text())
    assert not is_math
    if text.isascii() and text.isprintable():
        assert drawn.strip() == text


def test_letters_that_no_font_has_are_escaped(monkeypatch):
    monkeypatch.setattr(figures.font_manager, "findSystemFonts", list)
    figures.without_font.cache_clear()
    assert figures.drawable("a温\x07") == r"a\u6e29\x07"
    figures.without_font.cache_clear()


def test_cost_curve_is_on_a_log_scale_unless_a_cost_is_zero():
    costs = np.geomspace(10, 0.01, 200).astype(np.float32)
    assert figures.cost_figure(costs, "").axes[0].get_yscale() == "log"
    assert figures.cost_figure(np.zeros(3, np.float32), "").axes[0].get_yscale() == "linear"


def test_costs_that_are_not_finite_can_be_drawn(tmp_path):
    figures.cost_figure(np.array([1.0, np.inf, np.nan], np.float32), "").savefig(tmp_path / "cost.png")
    assert (tmp_path / "cost.png").stat().st_size > 1000


def test_the_continued_curve_shows_no_prediction_of_what_was_trained_on():
    x = np.linspace(0, 10, 400)
    figure = figures.continued_figure(Evaluation({}, x, np.cos(x), 100, 60, np.cos(x[100:]) + 0.1, None), "", "")
    target, prediction, border = figure.axes[0].lines
    np.testing.assert_array_equal(target.get_xdata(), x)
    np.testing.assert_array_equal(prediction.get_xdata(), x[100:])
    assert set(border.get_xdata()) == {x[100]}
    [shaded] = figure.axes[0].patches
    assert (shaded.get_x(), shaded.get_x() + shaded.get_width()) == (x[0], x[60])


def test_align_finds_a_stretch_again():
    rng = np.random.default_rng(0)
    curve = rng.normal(size=500)
    assert figures.align(curve, curve[123:323]) == 123


def test_animation_has_a_picture_a_step_and_moves(tmp_path):
    x = np.linspace(0, 12, 300)
    frames = Frames(10, 3)
    frames.x, frames.targets, frames.steps = x, [np.cos(x)] * 3, [1, 5, 10]
    frames.predictions = [np.zeros_like(x), 0.5 * np.cos(x), np.cos(x)]
    figures.fit_animation(tmp_path / "fit.gif", frames, np.geomspace(10, 0.1, 10))
    pictures = []
    with Image.open(tmp_path / "fit.gif") as animation:
        assert animation.n_frames == 3
        for frame in range(3):
            animation.seek(frame)
            pictures.append(np.asarray(animation.convert("RGB")))
    assert (pictures[0] != pictures[1]).any()
    assert (pictures[1] != pictures[2]).any()
    assert (pictures[0][0, 0] == 255).all()


def test_a_live_window_without_a_display_says_what_is_missing(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert "neither DISPLAY nor WAYLAND_DISPLAY is set" in figures.missing_for_live()


@pytest.mark.parametrize("settings", ["text.usetex: True\nfont.size: 30\nbackend: none\nbad line\n", "\udcff"])
@pytest.mark.parametrize("place", ["MATPLOTLIBRC", "cwd"])
def test_figures_are_the_same_whatever_a_matplotlibrc_says(settings, place, tmp_path):
    (tmp_path / "matplotlibrc").write_text(settings, errors="surrogateescape")
    code = (
        "from lstm_lab.runs.figures import cost_figure as f; import numpy\nf(numpy.ones(9), '').savefig('figure.png')"
    )
    drawn = []
    for folder, environment in ((tmp_path / "plain", {}), (tmp_path, {"MPLBACKEND": "nonsense"})):
        folder.mkdir(exist_ok=True)
        if place == "MATPLOTLIBRC" and environment:
            environment |= {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}
            folder = tmp_path / "plain"
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": f"{ROOT}/src", **environment},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        drawn.append((folder / "figure.png").read_bytes())
    assert drawn[0] == drawn[1]
