import math
import os
import subprocess
import sys

import matplotlib.colors
import numpy as np
import pytest

from helpers import ROOT
from lstm_lab import config
from lstm_lab.runs import figures, lettering
from lstm_lab.runs.figures import Labels
from lstm_lab.runs.observers import Shown
from lstm_lab.science.evaluation import Evaluation
from lstm_lab.science.judging import Judge
from lstm_lab.tables.times import Times
from test_config import composed

DAYS = np.datetime64("2020-01-30") + np.arange(500)
DATED = Labels("date", ("ducks",), ("target: ducks",), ("prediction from $x$",), Times("date", DAYS, "D", "D"))
SEVERAL = Labels(y=("power " * 20, "温" * 200, *(f"sensor {i}" for i in range(48))))


def dates(line):
    return np.asarray(line.get_xdata(), "M8[D]").astype(str).tolist()


def evaluation_of(x, target, first, trained, prediction, rolled_out):
    return Evaluation({}, np.zeros(target.shape[1]), x, target, first, trained, prediction, rolled_out)


def test_fit_is_drawn_as_the_tutorial_does():
    x = np.linspace(0, 10, 400)
    y = np.cos(x)[:, None]
    shown = Shown(x, y, y + 0.1, 20, x[::20])
    figure = figures.fit_figure(shown, Labels(), note="", title="")
    target, prediction = figure.axes[0].lines
    red, blue = matplotlib.colors.to_rgb("tab:red"), matplotlib.colors.to_rgb("tab:blue")
    assert (target.get_linestyle(), matplotlib.colors.to_rgb(target.get_color())) == ("-", red)
    assert (prediction.get_linestyle(), matplotlib.colors.to_rgb(prediction.get_color())) == ("--", blue)
    np.testing.assert_array_equal(target.get_xdata(), x)
    assert figure.axes[0].get_ylim() == pytest.approx((-1.2, 1.2))


def test_windows_side_by_side_are_dated_and_in_the_range_of_the_target(tmp_path):
    gap = np.array([[10.0], [20], [30], [np.nan]])
    starts = np.arange(0.0, 200, 20)
    shown = Shown(np.arange(40.0), np.tile(gap, (10, 1)), np.tile(gap + 100, (10, 1)), 4, starts, apart=True)
    figure = figures.fit_figure(shown, DATED, note="", title="")
    [ax] = figure.axes
    assert ax.get_ylim() == (8, 32)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("date", "ducks")
    ticks = [text.get_text() for text in ax.get_xticklabels()]
    assert ticks == DAYS[[0, 40, 80, 120, 160]].astype(str).tolist()  # of ten windows every second
    figure.savefig(tmp_path / "fit.png")
    plain = figures.fit_figure(shown, Labels(figures.SAMPLE, ("ducks",)), note="", title="")
    assert [text.get_text() for text in plain.axes[0].get_xticklabels()] == ["0", "40", "80", "120", "160"]
    assert plain.axes[0].get_xlabel() == "sample of the series"


def test_a_forecast_is_joined_to_the_last_known_value_and_dated(tmp_path):
    x = np.arange(490, 505)
    figure = figures.forecast_figure(x, np.c_[:10.0], np.c_[20.0:25.0], DATED, "ducks: forecast")
    known, predicted, border = figure.axes[0].lines
    assert dates(known) == DAYS[490:].astype(str).tolist()
    assert dates(predicted) == ["2021-06-12", "2021-06-13", "2021-06-14", "2021-06-15", "2021-06-16", "2021-06-17"]
    assert predicted.get_ydata().tolist() == [9, 20, 21, 22, 23, 24]
    assert set(np.asarray(border.get_xdata(), "M8[D]")) == {DAYS[-1]}
    assert len({line.get_linestyle() for line in (known, predicted)}) == 2
    figure.savefig(tmp_path / "forecast.png")


def test_what_else_may_follow_is_a_band_around_the_forecast():
    labels = Labels(y=("a", "b"), band="90 % interval")
    known, predicted = np.ones((10, 2)), np.full((5, 2), 2.0)
    ends = predicted - 1, predicted + np.array([1, 2])
    figure = figures.forecast_figure(np.arange(15), known, predicted, labels, "", ends)
    for ax, high in zip(figure.axes, (3, 4), strict=True):
        [band] = ax.collections
        x, y = band.get_paths()[0].vertices.T
        assert (x.min(), x.max(), y.min(), y.max()) == (9, 14, 1, high)
        assert set(y[x == 9]) == {1}  # from the last known value on
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["target", "prediction", "90 % interval"]


def test_a_prediction_is_drawn_over_its_target_or_below_its_input():
    arrays = np.arange(3), np.c_[1.0:4.0], np.c_[4.0:7.0]
    [ax] = figures.prediction_figure(*arrays, DATED, "", of_input=False).axes
    assert [line.get_ydata().tolist() for line in ax.lines] == [[1, 2, 3], [4, 5, 6]]
    labels = Labels(figures.SAMPLE, ("ducks",), ("temperature",))
    top, bottom = figures.prediction_figure(*arrays, labels, "", of_input=True).axes
    assert [line.get_ydata().tolist() for line in (*top.lines, *bottom.lines)] == [[1, 2, 3], [4, 5, 6]]
    assert (top.get_ylabel(), bottom.get_ylabel()) == ("temperature", "ducks")
    many = np.ones((3, 50))
    figure = figures.prediction_figure(np.arange(3), many[:, :4], many, SEVERAL, "title", of_input=True)
    assert figure.get_suptitle() == "title\n3 of 4 inputs, 3 of 50 targets"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["input", "prediction"]


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
    values = np.arange(9.0)[:, None]
    labels = Labels(text, (text,), (text,), (text,))
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


@pytest.mark.parametrize(("errors", "scale"), [([math.inf, 812.0, 640.0, 700.0], "linear"), ([9.0, 1, 0.5, 1], "log")])
def test_the_validation_errors_stand_below_the_costs(errors, scale):
    judge = Judge(None, None, every=10, patience=None, keep_best=True)
    judge.restore([10, 20, 30, 40], errors, [np.zeros(1)])
    above, below = figures.cost_figure(np.geomspace(10, 0.1, 40), "", kind="huber", judge=judge).axes
    assert above.get_ylabel() == "cost (summed Huber loss / batch size)"
    line, ring = below.lines
    assert line.get_xdata().tolist() == judge.steps
    np.testing.assert_array_equal(line.get_ydata(), [value if value < math.inf else math.nan for value in errors])
    assert (ring.get_xdata(), ring.get_label()) == ([30], f"lowest, and kept: {errors[2]:g} at step 30")
    assert (below.get_yscale(), above.get_xlabel(), below.get_xlabel()) == (scale, "", "step")
    judge.restore([10], [math.inf], [])
    assert len(figures.cost_figure(np.ones(9), "", judge=judge).axes) == 1


def test_costs_that_are_not_finite_can_be_drawn(tmp_path):
    figures.cost_figure(np.array([1.0, np.inf, np.nan], np.float32), "").savefig(tmp_path / "cost.png")
    assert (tmp_path / "cost.png").stat().st_size > 1000


def test_the_continued_curve_shows_no_prediction_of_what_was_trained_on():
    x = np.linspace(0, 10, 400)
    evaluated = evaluation_of(x, np.cos(x)[:, None], 100, 60, np.cos(x[100:, None]) + 0.1, None)
    figure = figures.continued_figure(evaluated, Labels(), note="", title="")
    target, prediction, border = figure.axes[0].lines
    np.testing.assert_array_equal(target.get_xdata(), x)
    np.testing.assert_array_equal(prediction.get_xdata(), x[100:])
    assert set(border.get_xdata()) == {x[100]}
    [shaded] = figure.axes[0].patches
    assert (shaded.get_x(), shaded.get_x() + shaded.get_width()) == (x[0], x[60])


def test_the_continued_curve_has_the_files_dates_and_three_kinds_of_line(tmp_path):
    y = np.arange(50.0)[:, None]
    evaluated = evaluation_of(200 + np.arange(50.0), y, 20, 10, y[20:], y[20:] + 1)
    figure = figures.continued_figure(evaluated, DATED, note="baselines", title="")
    target, prediction, rolled_out, border = figure.axes[0].lines
    assert dates(target) == DAYS[200:250].astype(str).tolist()
    assert dates(prediction) == dates(rolled_out) == DAYS[220:250].astype(str).tolist()
    assert set(np.asarray(border.get_xdata(), "M8[D]")) == {DAYS[220]}
    assert len({line.get_linestyle() for line in (target, prediction, rolled_out)}) == 3
    assert figure.axes[0].get_xlabel() == "date\nbaselines"
    figure.savefig(tmp_path / "continued.png")


@pytest.mark.parametrize("count", [2, 50])
def test_each_target_has_a_panel_up_to_six(count, tmp_path):
    y = 10.0 ** np.arange(count) * np.cos(np.arange(60.0))[:, None]
    y[20:40] = y[50:60:2] = np.nan
    x = np.arange(60.0)
    drawn = {
        "fit": figures.fit_figure(Shown(x, y, y, 20, x[::20]), SEVERAL, note="windows", title="title"),
        "continued": figures.continued_figure(
            evaluation_of(x, y, 45, 30, y[45:], y[45:]), SEVERAL, note="windows", title="title"
        ),
        "forecast": figures.forecast_figure(x, y[:50], y[50:], SEVERAL, "title"),
        "prediction": figures.prediction_figure(x, y, y, SEVERAL, "title", of_input=False),
    }
    for name, figure in drawn.items():
        assert len(figure.axes) == min(count, 6)
        assert figure.get_suptitle() == ("title\n6 of 50 targets" if count == 50 else "title")
        assert figure.axes[0].get_title("left") == ("power " * 20)[:37] + "..."
        assert [bool(ax.get_xlabel()) for ax in figure.axes] == [False] * (len(figure.axes) - 1) + [True]
        for i, ax in enumerate(figure.axes):
            target = ax.lines[0].get_ydata()
            np.testing.assert_array_equal(target, y[: len(target), i])
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
        own = [figures.ROLLED_OUT["label"], "trained on"] if name == "continued" else []
        assert texts == ["target", "prediction", *own]
        assert 5 < figure.get_figheight() < 8.5
        figure.savefig(tmp_path / f"{name}.png")  # every warning is an error


def test_a_value_alone_between_gaps_is_a_dot():
    y = np.array([[1.0], [np.nan], [2], [np.nan], [3], [4]])
    x = np.arange(6.0)
    figure = figures.prediction_figure(x, y, y[::-1], Labels(), "", of_input=False)
    marked = [(line.get_marker(), line.get_markevery()) for line in figure.axes[0].lines]
    assert marked == [(".", [0, 2]), (".", [3, 5])]
    whole = figures.prediction_figure(x, np.ones((6, 1)), np.ones((6, 1)), Labels(), "", of_input=False)
    assert [line.get_marker() for line in whole.axes[0].lines] == ["", ""]


@pytest.mark.parametrize(
    ("values", "limits"),
    [([np.nan] * 3, None), ([2.0, 2, np.nan], (1, 3)), ([0.0] * 3, (-1, 1)), ([0.0, 10], (-1, 11))],
)
def test_a_target_with_one_value_or_none_has_limits_too(values, limits):
    assert figures.limits(np.array(values), named=True) == limits


def test_labels_are_the_names_of_the_targets():
    def labels_of(*overrides):
        return figures.labels_of(config.check(composed(*overrides)))

    file = ("data=csv", "data.path=a.csv")
    one = labels_of(*file, "data.input=a", "data.target=b")
    assert (one.x, one.y, one.target, one.prediction) == (
        figures.SAMPLE,
        ("b",),
        ("target: b",),
        ("prediction from a",),
    )
    several = labels_of(*file, "data.input=[a,b]", "data.horizon=3")
    assert (several.y, several.target, several.prediction) == (
        ("a", "b"),
        ("target",),
        ("prediction, 3 samples ahead",),
    )
    assert labels_of(*file, "data.input=[a,b]", "data.target=c").prediction == ("prediction from a, b",)
    assert labels_of("data=sine_to_cosine").y == ("",)


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
