"""The page of a comparison: one HTML file with everything in it, and nothing in it that runs.

Names and values come from a store that others may write to. The template escapes every one of them, and the page's
own policy forbids scripts and addresses, should one slip through.
"""

import base64
import io
import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lstm_lab.records import tracking
from lstm_lab.reports import comparison, tables
from lstm_lab.reports.bands import Band, medians
from lstm_lab.reports.comparison import Compared, Curve
from lstm_lab.reports.groups import Groups, Row, count, table, value
from lstm_lab.reports.source import Difference

# matplotlib's colours, the figures' own; from the eleventh run on, hues a golden angle apart
COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#17becf", "#e377c2", "#8c564b", "#bcbd22", "#7f7f7f")
# Drawn and left out, in pixels: beside its colour each curve has one of these, for who cannot tell colours apart.
DASHES = ("none", "9 4", "2 4", "14 4 2 4", "14 3 2 3 2 3")
REPEATED = "7 7"  # of a curve that lies on one with the same bits
BUCKETS = 400  # of the step axis, of which a curve shows the highest and the lowest point ...
FEWEST_BUCKETS = 100  # ... the fewer the more curves there are beyond MANY: a page of hundreds stays small
FEW = 8  # runs, each of which has room for its number at its curve's end and for every step's cost behind the mean
MANY = 3 * FEW  # runs above which lines are thin
MOST_HIDDEN = 100  # runs up to which each curve can be hidden: a rule of its own for each makes a browser slow
LABEL_GAP = 5.0  # percent between two numbers
LONGER = 8  # a run that is so many times as long as another gets both a logarithmic step axis
PICTURE = (768, 4_000_000)  # pixels: the width of an embedded picture, and of which size on it is none of ours


@dataclass(frozen=True)
class Axis:
    """A stretch of positive numbers, linear or logarithmic."""

    low: float
    high: float
    logarithmic: bool

    def percent(self, values: Any) -> np.ndarray:
        """Where the values lie between the low end, 0, and the high end, 100."""
        low, high, at = (np.log10(v) if self.logarithmic else v for v in (self.low, self.high, np.asarray(values)))
        return np.asarray(100 * (at - low) / (high - low))

    def ticks(self) -> list[float]:
        """Round numbers on it: about six or, of powers of ten, up to nine."""
        if self.logarithmic:
            first, last = int(np.floor(np.log10(self.low))), int(np.ceil(np.log10(self.high)))
            multiples = (1, 2, 5) if last - first < 3 else (1,)
            found = [m * 10.0**power for power in range(first, last + 1, 1 + (last - first) // 9) for m in multiples]
        else:
            unit = 10.0 ** np.floor(np.log10((self.high - self.low) / 5))
            step = max(1.0, next(m * unit for m in (1, 2, 5, 10) if m * unit * 7 >= self.high - self.low))
            found = list(np.arange(np.ceil(self.low / step), self.high / step + 1e-9) * step)
        return [value for value in found if self.low <= value <= self.high]


def render(compared: Sequence[Compared], command: str, made: str, code: Mapping[str, Difference] | None = None) -> str:
    """The whole page. `command` and `made` say how and when it was made; `code` in what the runs' code differs."""
    chosen = [run.facts for run in compared]
    labels = comparison.labels(chosen)
    results = {"status": [facts.status for facts in chosen], **comparison.results(compared)}
    return fill(
        heading="One run" if len(chosen) == 1 else f"{len(chosen)} runs compared",
        runs=[
            {
                "place": i,
                "color": color(i),
                "label": labels[i],
                "status": run.facts.status,
                "facts": run.facts,
                "fit": picture(run.fit),
                "fault": run.fault,
            }
            for i, run in enumerate(compared)
        ],
        chart=draw_curves([run.curve for run in compared], comparison.same_bits(chosen)),
        results=results,
        best=comparison.best_in(results, chosen),
        origins=comparison.origins(chosen),
        differing=comparison.differing(chosen),
        code=code or {},
        shared=comparison.shared(chosen),
        without_curve=comparison.numbers([i for i, run in enumerate(compared) if run.curve is None]),
        fits=min(comparison.FITS, len(compared)),
        without_fit=comparison.numbers(comparison.without_fit(compared)),
        same_bits=comparison.same_bits(chosen),
        command=command,
        made=made,
    )


def render_groups(groups: Groups, bands: Sequence[Band | None], command: str, made: str) -> str:
    """The page of runs in groups: the median curves on their bands, the table, and which runs each row is of."""
    rows = [
        {"place": i, "color": color(i), "label": name, "status": "FINISHED", "row": row, "results": results_of(row)}
        for i, (row, name) in enumerate(zip(groups.rows, groups.names, strict=True))
    ]
    return fill(
        heading=f"{count(sum(len(row.runs) for row in groups.rows), 'run')} in {count(len(rows), 'group')}",
        runs=rows,
        chart=draw_bands(bands),
        same_bits=[],
        table=table(groups),
        groups=groups,
        without_curve=comparison.numbers([i for i, band in enumerate(bands) if band is None]),
        shared=comparison.shared([run for row in groups.rows for run in row.runs]),
        command=command,
        made=made,
    )


def results_of(row: Row) -> list[tuple[str, str, str, str]]:
    """Of each run of a row: seed, result, id, and the hash of its costs."""
    return [(tables.seed_of(run), f"{value(run, row.metric):.6g}", run.run_id, tables.hash_of(run)) for run in row.runs]


def fill(**values: Any) -> str:
    """The template with these values; what it may have and has not, it does without."""
    import jinja2

    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=folder, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.get_template("page.html").render({"groups": None, "mean_steps": comparison.MEAN_STEPS} | values)


def color(i: int) -> str:
    """The colour of run `i`, counted from 0."""
    return COLORS[i] if i < len(COLORS) else tracking.color(i * 0.618033988749895 % 1)


def picture(png: bytes | None) -> str | None:
    """A PNG as text for a page, in few colours so that it is small; None for what is no picture of a usual size."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(png or b""), formats=["PNG"]) as opened:
            if opened.width * opened.height > PICTURE[1]:
                return None
            image = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # all of which Pillow raises
        return None
    image.thumbnail((PICTURE[0], PICTURE[0]))
    small = io.BytesIO()
    image.quantize(48, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def draw_curves(curves: Sequence[Curve | None], same_bits: Sequence[Sequence[int]]) -> dict[str, Any] | None:
    """The curves as paths in a box of 100 by 100, origin at its upper left, with the ticks; None if there is none."""
    finite = {i: curve.finite() for i, curve in enumerate(curves) if curve}
    means = {i: mean for i, curve in enumerate(curves) if curve and len((mean := curve.mean().finite()).costs)}
    if not means:
        return None
    few = len(means) <= FEW
    shown = [curve.costs for curve in (*means.values(), *(finite.values() if few else ()))]
    diverged = {i for i in means if not np.isfinite(curves[i].costs[-1])}  # type: ignore[union-attr]
    x, y = axes(means, shown, comparison.highest_drawn(curves), diverged)
    chart = drawn(means, x, y, diverged)
    repeats = {i for group in same_bits for i in group[1:]}
    for curve in chart["curves"]:
        i = curve["run"]
        curve |= {"raw": path(finite[i], x, y) if few else "", "band": ""}
        curve |= {"dash": REPEATED} if i in repeats else {}
    return chart


def draw_bands(bands: Sequence[Band | None]) -> dict[str, Any] | None:
    """The same of medians, each on its band."""
    known = {i: band for i, band in enumerate(bands) if band}
    curves = medians(bands)
    middles = {i: middle for i, curve in enumerate(curves) if curve and len((middle := curve.finite()).costs)}
    if not middles:
        return None
    edges = [Curve(known[i].steps, edge).finite().costs for i in middles for edge in (known[i].low, known[i].high)]
    diverged = {i for i in middles if not np.isfinite(known[i].middle[-1])}
    shown = [*edges, *(middle.costs for middle in middles.values())]
    x, y = axes(middles, shown, comparison.highest_drawn(curves), diverged)
    chart = drawn(middles, x, y, diverged)
    for curve in chart["curves"]:
        band = known[curve["run"]]
        curve |= {"raw": "", "band": outline(band, x, y) if band.runs > 1 else ""}
    return chart


def outline(band: Band, x: Axis, y: Axis) -> str:
    """The band as an SVG path around it."""
    across = np.concatenate([band.steps, band.steps[::-1]]) + 1
    edges = np.nan_to_num(np.concatenate([band.low, band.high[::-1]]), nan=np.inf)
    down = 100 - y.percent(np.clip(edges, comparison.DRAWN[0], comparison.DRAWN[1]))
    return "M" + " ".join(points(x.percent(across), down)) + "Z"


def axes(
    means: Mapping[int, Curve], shown: Sequence[np.ndarray], highest: float, diverged: Collection[int]
) -> tuple[Axis, Axis]:
    """Of the steps and of the costs [points] that are to be seen."""
    costs = np.concatenate(shown)
    y = Axis(0.8 * float(costs.min()), 1.25 * min(float(costs.max()), highest), logarithmic=True)
    lengths = {i: int(curve.steps[-1]) + 1 for i, curve in means.items()}
    logarithmic = max(lengths.values()) > LONGER * min(lengths[i] for i in lengths.keys() - diverged or lengths)
    return Axis(1, max(2, *lengths.values()), logarithmic), y


def drawn(means: Mapping[int, Curve], x: Axis, y: Axis, diverged: Collection[int]) -> dict[str, Any]:
    """The curves on these axes, with the ticks and the places of their numbers."""
    ends = {i: (percent(x, mean.steps[-1] + 1), 100 - percent(y, mean.costs[-1])) for i, mean in means.items()}
    labels: dict[int, float] = {}
    for place in {across // LABEL_GAP for across, _ in ends.values()}:  # only numbers side by side can cover another
        near = [i for i, (across, _) in ends.items() if across // LABEL_GAP == place]
        labels |= zip(near, spread([ends[i][1] for i in near]), strict=True)
    buckets = min(BUCKETS, max(FEWEST_BUCKETS, BUCKETS * MANY // len(means)))
    curves: list[dict[str, Any]] = [
        {
            "run": i,
            "mean": path(mean, x, y, buckets),
            "dash": DASHES[i % len(DASHES)],
            "diverged": i in diverged,
            "end": ends[i],
            "label": labels[i],
        }
        for i, mean in means.items()
    ]
    return {
        "curves": curves,
        "labelled": len(means) <= FEW,
        "logarithmic": x.logarithmic,
        "can_hide": len(means) <= MOST_HIDDEN,
        "thin": len(means) > MANY,
        "cut_to": buckets if any(one["mean"].count(",") < len(means[one["run"]].steps) for one in curves) else 0,
        "x_ticks": [(percent(x, tick), f"{tick:,.0f}") for tick in x.ticks()],
        "y_ticks": [(100 - percent(y, tick), f"{tick:g}") for tick in y.ticks()],
    }


def path(curve: Curve, x: Axis, y: Axis, buckets: int = BUCKETS) -> str:
    """The curve as an SVG path; of many points in one bucket of the step axis, the highest and the lowest."""
    across, down = x.percent(curve.steps + 1), 100 - y.percent(curve.costs)
    bucket = (across * buckets / 100).astype(int)
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    if len(across) > 2 * len(starts):
        ends = [np.minimum.reduceat(down, starts), np.maximum.reduceat(down, starts)]
        across, down = np.repeat(across[starts], 2), np.stack(ends, axis=1).ravel()
    return "M" + " ".join(points(across, down))


def points(across: np.ndarray, down: np.ndarray) -> list[str]:
    """Points [points] of an SVG path, kept near the box."""
    return [f"{a:.5g},{d:.5g}" for a, d in zip(across, np.clip(down, -5, 105), strict=True)]


def percent(axis: Axis, value: float) -> float:
    """Where one value lies, kept within the box."""
    return round(float(np.clip(axis.percent(value), 0, 100)), 2)


def spread(places: Sequence[float]) -> list[float]:
    """The places, moved apart so that labels of LABEL_GAP do not cover one another, and kept within 0 to 100."""
    order = np.argsort(places, kind="stable")
    moved = np.array(places, float)
    for before, after in itertools.pairwise(order):
        moved[after] = max(moved[after], moved[before] + LABEL_GAP)
    over = 100.0
    for i in order[::-1]:
        moved[i] = min(moved[i], over)
        over = moved[i] - LABEL_GAP
    return [float(place) for place in moved]
