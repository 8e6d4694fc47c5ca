import os
import subprocess
import sys

import matplotlib.colors
import numpy as np
import pytest
from PIL import Image

from helpers import ROOT
from lstm_lab.runs import figures, lettering
from lstm_lab.runs.figures import Labels
from lstm_lab.runs.observers import Frames, Shown
from lstm_lab.science.evaluation import Evaluation
from lstm_lab.science.times import Times

DAYS = np.datetime64("2020-01-30") + np.arange(500)
DATED = Labels("date", "ducks", "target: ducks", "prediction from $x$", Times("date", DAYS, "D", "D"))


def dates(line):
    return np.asarray(line.get_xdata(), "M8[D]").astype(str).tolist()


def test_fit_is_drawn_as_the_tutorial_does():
    x = np.linspace(0, 10, 400)
    shown = Shown(x, np.cos(x), np.cos(x) + 0.1, 20, x[::20])
    figure = figures.fit_figure(shown, Labels(), note="", title="")
    target, prediction = figure.axes[0].lines
    red, blue = matplotlib.colors.to_rgb("tab:red"), matplotlib.colors.to_rgb("tab:blue")
    assert (target.get_linestyle(), matplotlib.colors.to_rgb(target.get_color())) == ("-", red)
    assert (prediction.get_linestyle(), matplotlib.colors.to_rgb(prediction.get_color())) == ("--", blue)
    np.testing.assert_array_equal(target.get_xdata(), x)
    assert figure.axes[0].get_ylim() == pytest.approx((-1.2, 1.2))


def test_windows_side_by_side_are_dated_and_in_the_range_of_the_target(tmp_path):
    gap = np.array([10.0, 20, 30, np.nan])
    starts = np.arange(0.0, 200, 20)
    shown = Shown(np.arange(40.0), np.tile(gap, 10), np.tile(gap + 100, 10), 4, starts)
    figure = figures.fit_figure(shown, DATED, note="", title="")
    [ax] = figure.axes
    assert ax.get_ylim() == (8, 32)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("date", "ducks")
    ticks = [text.get_text() for text in ax.get_xticklabels()]
    assert ticks == DAYS[[0, 40, 80, 120, 160]].astype(str).tolist()  # of ten windows every second
    figure.savefig(tmp_path / "fit.png")
    plain = figures.fit_figure(shown, Labels(figures.SAMPLE, "ducks"), note="", title="")
    assert [text.get_text() for text in plain.axes[0].get_xticklabels()] == ["0", "40", "80", "120", "160"]
    assert plain.axes[0].get_xlabel() == "sample of the series"


def test_a_forecast_is_joined_to_the_last_known_value_and_dated(tmp_path):
    x = np.arange(490, 505)
    figure = figures.forecast_figure(x, np.arange(10.0), np.arange(5.0) + 20, DATED, "ducks: forecast")
    known, predicted, border = figure.axes[0].lines
    assert dates(known) == DAYS[490:].astype(str).tolist()
    assert dates(predicted) == ["2021-06-12", "2021-06-13", "2021-06-14", "2021-06-15", "2021-06-16", "2021-06-17"]
    assert predicted.get_ydata().tolist() == [9, 20, 21, 22, 23, 24]
    assert set(np.asarray(border.get_xdata(), "M8[D]")) == {DAYS[-1]}
    assert len({line.get_linestyle() for line in (known, predicted)}) == 2
    figure.savefig(tmp_path / "forecast.png")


def test_a_prediction_is_drawn_over_its_target_or_below_its_input():
    arrays = np.arange(3), np.array([1.0, 2, 3]), np.array([4.0, 5, 6])
    [ax] = figures.prediction_figure(*arrays, DATED, "", of_input=False).axes
    assert [line.get_ydata().tolist() for line in ax.lines] == [[1, 2, 3], [4, 5, 6]]
    labels = Labels(figures.SAMPLE, "ducks", "temperature")
    top, bottom = figures.prediction_figure(*arrays, labels, "", of_input=True).axes
    assert [line.get_ydata().tolist() for line in (*top.lines, *bottom.lines)] == [[1, 2, 3], [4, 5, 6]]
    assert (top.get_ylabel(), bottom.get_ylabel()) == ("temperature", "ducks")


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
    labels = Labels(text, text, text, text)
    figure = figures.forecast_figure(np.arange(18), values, values, labels, f"{text}: forecast of 1")
    figure.savefig(tmp_path / "drawn.png")  # every warning is an error
    [ax] = figure.axes
    for label in (*figure.legends[0].get_texts(), ax.xaxis.label, ax.yaxis.label):
        drawn, is_math = label._preprocess_math(label.get_text())
        assert not is_math
        if text.isascii() and text.isprintable():
            assert drawn.strip() == text


def test_letters_that_no_font_has_are_escaped(monkeypatch):
    monkeypatch.setattr(lettering.font_manager, "findSystemFonts", list)
    lettering.without_font.cache_clear()
    assert lettering.drawable("a温\x07") == r"a\u6e29\x07"
    lettering.without_font.cache_clear()


def test_cost_curve_is_on_a_log_scale_unless_a_cost_is_zero():
    costs = np.geomspace(10, 0.01, 200).astype(np.float32)
    assert figures.cost_figure(costs, "").axes[0].get_yscale() == "log"
    assert figures.cost_figure(np.zeros(3, np.float32), "").axes[0].get_yscale() == "linear"


def test_the_steps_that_begin_an_epoch_are_not_drawn():
    costs = np.full(900, 1.0, np.float32)
    costs[::3] = 100
    [ax] = figures.cost_figure(costs, "", epoch=300).axes
    cost, mean = ax.lines
    np.testing.assert_array_equal(cost.get_xdata(), np.delete(np.arange(900), [0, 300, 600]))
    assert ax.get_xlabel() == "step (left out: the first of each epoch of 300)"
    [ax] = figures.cost_figure(costs, "", epoch=3).axes
    [band] = ax.collections
    assert set(band.get_paths()[0].vertices[:, 1]) == {1.0}
    [mean] = ax.lines
    assert set(mean.get_ydata()) == {1.0}
    assert [line.get_xdata().tolist() for line in figures.cost_figure(costs[:9], "", epoch=1).axes[0].lines] == [
        list(range(9))
    ]


@pytest.mark.parametrize(("steps", "size", "width"), [(60, 1, 20), (1999, 1, 39), (5000, 5, 100), (20_003, 20, 400)])
def test_a_long_curve_is_a_band_of_extremes_with_a_mean_over_more_steps(steps, size, width):
    costs = np.random.default_rng(0).lognormal(size=steps).astype(np.float32)
    [ax] = figures.cost_figure(costs, "").axes
    mean = ax.lines[-1]
    assert mean.get_label() == f"mean of {width:,} steps"
    for at, value in zip(mean.get_xdata()[[0, 7, -1]], mean.get_ydata()[[0, 7, -1]], strict=True):
        assert value == pytest.approx(costs[at + 1 - width : at + 1].mean(dtype=np.float64))
    assert mean.get_xdata()[-1] == steps - 1
    if size == 1:
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), costs)
    else:
        [band] = ax.collections
        y = band.get_paths()[0].vertices[:, 1]
        assert (y.min(), y.max()) == (costs.min(), costs.max())
        assert len(y) < 3000


def test_costs_that_are_not_finite_can_be_drawn(tmp_path):
    figures.cost_figure(np.array([1.0, np.inf, np.nan], np.float32), "").savefig(tmp_path / "cost.png")
    assert (tmp_path / "cost.png").stat().st_size > 1000


def test_the_continued_curve_shows_no_prediction_of_what_was_trained_on():
    x = np.linspace(0, 10, 400)
    evaluated = Evaluation({}, x, np.cos(x), 100, 60, np.cos(x[100:]) + 0.1, None)
    figure = figures.continued_figure(evaluated, Labels(), note="", title="")
    target, prediction, border = figure.axes[0].lines
    np.testing.assert_array_equal(target.get_xdata(), x)
    np.testing.assert_array_equal(prediction.get_xdata(), x[100:])
    assert set(border.get_xdata()) == {x[100]}
    [shaded] = figure.axes[0].patches
    assert (shaded.get_x(), shaded.get_x() + shaded.get_width()) == (x[0], x[60])


def test_the_continued_curve_has_the_files_dates_and_three_kinds_of_line(tmp_path):
    y = np.arange(50.0)
    evaluated = Evaluation({}, 200 + np.arange(50.0), y, 20, 10, y[20:], y[20:] + 1)
    figure = figures.continued_figure(evaluated, DATED, note="baselines", title="")
    target, prediction, rolled_out, border = figure.axes[0].lines
    assert dates(target) == DAYS[200:250].astype(str).tolist()
    assert dates(prediction) == dates(rolled_out) == DAYS[220:250].astype(str).tolist()
    assert set(np.asarray(border.get_xdata(), "M8[D]")) == {DAYS[220]}
    assert len({line.get_linestyle() for line in (target, prediction, rolled_out)}) == 3
    assert figure.axes[0].get_xlabel() == "date\nbaselines"
    figure.savefig(tmp_path / "continued.png")


def test_align_finds_a_stretch_again():
    rng = np.random.default_rng(0)
    curve = rng.normal(size=500)
    assert figures.align(curve, curve[123:323]) == 123


def test_animation_has_a_picture_a_step_and_moves(tmp_path):
    x = np.linspace(0, 12, 300)
    frames = Frames(10, 3)
    frames.x, frames.targets, frames.steps = x, [np.cos(x)] * 3, [1, 5, 10]
    frames.predictions = [np.zeros_like(x), 0.5 * np.cos(x), np.cos(x)]
    figures.fit_animation(tmp_path / "fit.gif", frames, np.geomspace(10, 0.1, 10), Labels())
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
