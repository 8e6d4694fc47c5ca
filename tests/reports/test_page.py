"""The page: what is drawn and embedded, and that nothing from the store is more than text on it."""

import base64
import io
import re

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from lstm_lab.reports import comparison
from lstm_lab.reports import page as report_page
from lstm_lab.reports.comparison import Compared, Curve, Facts
from reports.conftest import Elements
from stores import HOSTILE, compare, png


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (report_page.Axis(0.008, 30, True), [0.01, 0.1, 1, 10]),
        (report_page.Axis(0.8, 6, True), [1, 2, 5]),
        (report_page.Axis(1, 200, False), [50, 100, 150, 200]),
        (report_page.Axis(1, 3, False), [1, 2, 3]),
        (report_page.Axis(1, 2, False), [1, 2]),
        (report_page.Axis(1, 1000, True), [1, 10, 100, 1000]),
        (report_page.Axis(1e-12, 1e8, True), [1e-12, 1e-9, 1e-6, 1e-3, 1, 1e3, 1e6]),
    ],
)
def test_ticks_are_round_numbers(axis, ticks):
    np.testing.assert_allclose(axis.ticks(), ticks)


def points_of(path):
    """The points of an SVG path, [points, 2]."""
    return np.array([[float(number) for number in point.split(",")] for point in path.removeprefix("M").split()])


def test_a_path_is_the_curve_and_a_long_one_keeps_its_peaks():
    x, y = report_page.Axis(1, 5, False), report_page.Axis(0.1, 10, True)
    short = report_page.path(Curve(np.arange(5), np.array([10, 1, 0.1, 1, 10])), x, y)
    np.testing.assert_allclose(points_of(short), [[0, 0], [25, 50], [50, 100], [75, 50], [100, 0]])
    costs = np.ones(100_000)
    costs[[777, 77_777]] = 10, 0.1
    long = points_of(report_page.path(Curve(np.arange(100_000), costs), report_page.Axis(1, 100_000, False), y))
    assert len(long) <= 2 * report_page.BUCKETS + 2
    assert (long[:, 1].min(), long[:, 1].max()) == (0, 100)


def test_numbers_at_the_ends_do_not_cover_one_another():
    assert report_page.spread([50, 10, 51]) == [50, 10, 55]
    assert report_page.spread([99, 100, 100]) == [90, 95, 100]


def test_what_is_drawn_of_curves_that_diverge_or_have_no_point():
    def curve(*costs):
        return Curve(np.arange(len(costs)), np.array(costs, float))

    chart = report_page.draw_curves([curve(20, 10, 5), None, curve(20, 1e30, np.inf), curve(np.nan)], [[0, 2]])
    first, second = chart["curves"]
    assert (first["run"], first["diverged"], first["dash"]) == (0, False, "none")
    assert (second["run"], second["diverged"], second["dash"]) == (2, True, report_page.REPEATED)
    assert second["end"][1] == 0  # at the upper edge, which is not at 1e30
    assert chart["y_ticks"][-1][1] == "100"
    assert report_page.draw_curves([None, curve(np.nan, np.inf)], []) is None
    assert report_page.draw_curves([curve(1.0)], [])["curves"][0]["mean"] == "M0,50"


def test_a_picture_is_embedded_small_and_nothing_else_is():
    encoded = report_page.picture(png(1200))
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as opened:
        assert (opened.format, opened.width) == ("PNG", 768)
    jpeg = io.BytesIO()
    Image.new("RGB", (9, 9)).save(jpeg, "JPEG")
    huge = io.BytesIO()
    Image.new("1", (20_000, 10_000)).save(huge, "PNG")
    for other in (None, b"", b"<svg onload='alert(1)'/>", png()[:300], jpeg.getvalue(), huge.getvalue()):
        assert report_page.picture(other) is None


@pytest.fixture(scope="module")
def html(kinds):
    """The page of one run of each kind."""
    compared = compare(MlflowClient(kinds.uri), list(kinds.ids.values()))
    return report_page.render(compared, f"python src/report.py filter={HOSTILE}", "2026-11-24 12:00")


def test_the_page_needs_nothing_else_and_runs_nothing(html):
    elements = Elements(html)
    assert {tag for tag, _ in elements.tags}.isdisjoint({"script", "link", "iframe", "object", "embed", "a", "base"})
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in html
    for _, attributes in elements.tags:
        assert not [key for key in attributes if key.startswith("on") or key in ("href", "srcset", "action")]
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
    assert not re.search(r"url\(|@import|https?:", html)
    # as text: name, reason, verdict, two values of the config, the command
    assert elements.text.count("<script>alert(1)</script><img src=x onerror=alert(2)> [bold]{{ 7*7 }}") == 6


def test_the_page_shows_curves_fits_and_what_differs(html, kinds):
    elements = Elements(html)
    means = [a for tag, a in elements.tags if tag == "path" and a.get("class", "raw").startswith("curve run")]
    assert [re.search(r"run-(\d+)", a["class"])[1] for a in means] == ["1", "2", "3", "4", "5", "6", "7", "9"]
    dashes = [a["style"].partition("--d: ")[2] for a in means]
    assert dashes == [
        "none",
        report_page.REPEATED,
        *report_page.DASHES[2:],
        *report_page.DASHES[:2],
        report_page.DASHES[3],
    ]
    keys = [a["style"].partition("--d: ")[2] for tag, a in elements.tags if tag == "path" and "class" not in a]
    assert keys == dashes  # in the legend, too
    assert "one lies on another with the same bits" in elements.text  # those of the second and the first
    pictures = [a["src"] for tag, a in elements.tags if tag == "img"]
    assert len(pictures) == 2
    with Image.open(io.BytesIO(base64.b64decode(pictures[0].partition(",")[2]))) as opened:
        assert opened.width == 64
    words = " ".join(elements.text.split())
    for text in (*kinds.ids.values(), "11 runs compared", "the cost became inf at step 2", "0123456*", "100 of 200"):
        assert text in words
    assert "Without a cost curve: 8, 10-11." in words
    assert words.count("steps=400") == 4  # a label: in the legend, of the curve, of the values, in the list of runs
    assert html.count("<table") == html.count('<div class="wide"><table')  # each scrolls within itself
    differing, shared = words.split("settings that all share")
    assert "training.seed" in differing
    assert "training.seed" not in shared
    assert "training.level" in shared


def many(count, steps=1000):
    """So many curves that fall, each by its own rate."""
    return [Curve(np.arange(steps), np.geomspace(30, 0.01 * (1 + i), steps)) for i in range(count)]


def test_the_more_curves_the_fewer_points_each_and_the_page_says_so():
    shown = {count: report_page.draw_curves(many(count), []) for count in (2, 24, 48, 500)}
    assert {count: chart["cut_to"] for count, chart in shown.items()} == {2: 400, 24: 400, 48: 200, 500: 100}
    for chart in shown.values():
        longest = max(len(points_of(curve["mean"])) for curve in chart["curves"])
        assert longest <= 2 * chart["cut_to"] + 2
    short = report_page.draw_curves(many(500, steps=150), [])
    assert short["cut_to"] == 0
    assert len(points_of(short["curves"][0]["mean"])) == 150


@pytest.mark.parametrize("count", [report_page.MOST_HIDDEN, report_page.MOST_HIDDEN + 1])
def test_hundreds_of_curves_have_no_rule_of_their_own_and_only_the_first_fits_are_shown(count):
    fit = png()
    runs = [Compared(Facts(f"{i:032x}", f"run {i}"), curve, fit, "") for i, curve in enumerate(many(count, 60))]
    elements = Elements(html := report_page.render(runs, "report.py", "now"))
    hidden = count if count <= report_page.MOST_HIDDEN else 0
    assert html.count(":not(:checked)) .run-") == [a.get("type") for _, a in elements.tags].count("checkbox") == hidden
    assert ("Click a name to hide its curve." in elements.text) == bool(hidden)
    assert ("Point at a curve to have it alone" in elements.text) == (not hidden)


def test_the_page_says_of_how_many_runs_it_has_the_fits(client, kinds, monkeypatch):
    ids = list(kinds.ids.values())
    monkeypatch.setattr(comparison, "FITS", 1)
    compared = compare(client, ids)
    assert [run.fit is not None for run in compared] == [True, *[False] * (len(ids) - 1)]
    text = " ".join(Elements(report_page.render(compared, "report.py", "now")).text.split())
    assert "Of the first 1 runs only; every run has its own in MLflow." in text
    assert "Without a picture" not in text
    monkeypatch.setattr(comparison, "FITS", len(ids))
    whole = " ".join(Elements(report_page.render(compare(client, ids), "report.py", "now")).text.split())
    assert "runs only" not in whole
    assert "Without a picture: 3-7, 9-11." in whole
