"""The yearly sunspots on the classic split, a year ahead: our cells beside the forecasts of the literature."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lstm_lab.findings.memory import CELLS
from lstm_lab.findings.runs import Runs, Studies
from lstm_lab.findings.template import Finding
from lstm_lab.papers import figures
from lstm_lab.paths import ROOT
from lstm_lab.reports import tables
from lstm_lab.reports.comparison import ABSENT
from lstm_lab.reports.groups import split
from lstm_lab.science.statistics import Estimate, median

if TYPE_CHECKING:
    import keras

    from lstm_lab.science.series import SeriesBatches

STUDY = "papers/sunspots"
SERIES = ROOT / "conf/data/series/sunspots.csv"
RECORD = 1700, 1979  # the years whose variance errors are divided by
TRAINED = 1920  # the last year that is trained on
LAGS = 12  # years that the models of the literature are given
# The first and the last year that is forecast; of 1700 to 1920 the first that a model with twelve lags can forecast
STRETCHES = {"1700-1920": (RECORD[0] + LAGS, TRAINED), "1921-55": (1921, 1955), "1956-79": (1956, RECORD[1])}


@dataclass(frozen=True)
class Published:
    """A row of a paper's table: errors over the variance of the record, by stretch; None where it has no number."""

    model: str
    errors: tuple[float | None, float, float | None]
    where: str


# Read in copies of the papers: Waterhouse and Robinson, NIPS 7, 1994 (WR94); Waterhouse, MacKay and Robinson, NIPS 8,
# 1995 (WMR95); Nowlan and Hinton, NIPS 4, 1991 (NH91)
ROWS = (
    Published("threshold autoregression (Tong, 1990)", (0.097, 0.097, 0.28), "quoted in WR94, table 1, TAR"),
    Published("network 12-8-1 (Weigend et al., 1990)", (0.082, 0.086, 0.35), "quoted in WR94, table 1, MLP"),
    Published("mixture of 7 experts", (0.061, 0.089, 0.27), "WR94, table 1, HME"),
    Published("8 deep mixture, maximum likelihood", (0.052, 0.162, 0.41), "WMR95, table 1, 8HME2_ML"),
    Published("8 deep mixture, Bayesian", (0.079, 0.089, 0.26), "WMR95, table 1, 8HME2_Bayes"),
    Published("radial basis functions (He and Lapedes, 1991)", (None, 0.092, None), "quoted in NH91, table 2, RBF"),
    Published("12-8-1, weights tied by 3 Gaussians", (None, 0.077, None), "NH91, table 2, Soft-share 3 Comp."),
    Published("12-8-1, weights tied by 8 Gaussians", (None, 0.072, None), "NH91, table 2, Soft-share 8 Comp."),
)


def compute(studies: Studies) -> Finding:
    """The errors of every cell by stretch, and those of an autoregression and of papers held against the LSTM's."""
    of = split(studies.grid(STUDY), "model.cell")
    runs = {name: of[cell,] for cell, name in CELLS.items()}
    made = {cell: forecasts_of(studies, found) for cell, found in runs.items()}
    ours = {cell: estimates(of_cell) for cell, of_cell in made.items()}
    lstm, linear, computed = ours["LSTM"], autoregression(LAGS, TRAINED), f"autoregression of order {LAGS}"
    errors = [round(error, 4) for error in errors_of(linear).values()]
    others = [held_against(lstm, computed, errors, "least squares, computed here")]
    others += [held_against(lstm, row.model, row.errors, row.where) for row in ROWS]
    years, truth = record()
    shown = (years > TRAINED) & (years <= RECORD[1])
    middle, head = np.median(made["LSTM"], axis=0), ["model", *STRETCHES]
    values = {
        "ours": tables.markdown(head, [[cell, *map(three_digits, each)] for cell, each in ours.items()], runs),
        "others": tables.markdown([*head, "where"], others),
        "variance": variance(),
        "counts": counts(lstm),
        "highest": [truth[years <= TRAINED].max(), truth[shown].max(), middle[shown[1:]].max()],
        "ahead": all(said(own, error) == "better" for own, error in zip(lstm, errors, strict=True)),
        "settings": runs["LSTM"][0].params,
        "command": studies.command(STUDY),
    }
    figure = figures.forecasts_figure(
        years[shown], truth[shown], made["LSTM"][:, shown[1:]], linear[shown[LAGS:]], linear=computed
    )
    return Finding(values, {"sunspots": figure})


def record() -> tuple[np.ndarray, np.ndarray]:
    """Years and sunspots [years] of the file."""
    years, sunspots = np.loadtxt(SERIES, delimiter=",", skiprows=1).T
    return years, sunspots


def variance() -> float:
    """The variance of the record, that errors are divided by."""
    years, sunspots = record()
    return float(sunspots[(years >= RECORD[0]) & (years <= RECORD[1])].var())


def errors_of(forecast: np.ndarray) -> dict[str, float]:
    """The mean squared errors over the variance, by stretch, of the last so many years' forecasts [years]."""
    years, truth = (values[-len(forecast) :] for values in record())
    inside = {name: (years >= first) & (years <= last) for name, (first, last) in STRETCHES.items()}
    return {name: float(np.mean((forecast - truth)[here] ** 2)) / variance() for name, here in inside.items()}


def autoregression(lags: int, last: int) -> np.ndarray:
    """Forecasts from the years before, so many, and a constant, by least squares up to the year `last`.

    They are [years - lags], of all years that have so many before them.
    """
    years, sunspots = record()
    windows = np.lib.stride_tricks.sliding_window_view(sunspots, lags)[:-1]
    known, fitted = np.column_stack([windows, np.ones(len(windows))]), years[lags:] <= last
    weights = np.linalg.lstsq(known[fitted], sunspots[lags:][fitted], rcond=None)[0]
    return known @ weights


def forecasts_of(studies: Studies, runs: Runs) -> np.ndarray:
    """The forecasts [runs, years - 1] of runs that differ in nothing but their seed, by their final weights."""
    from lstm_lab import runtime

    runtime.start_tensorflow("fast", 1)  # as the study is run
    from lstm_lab.runs import setup
    from lstm_lab.science.series import SeriesBatches

    config = studies.config(runs[0])
    source, model = setup.make_source(config), setup.new_model(config)
    assert isinstance(source, SeriesBatches)
    found = []
    for run in runs:
        model.set_weights(studies.final_weights(run))
        found.append(forecast(model, source))
    return np.array(found)


def forecast(model: "keras.Model", source: "SeriesBatches") -> np.ndarray:
    """The forecasts [years - 1] of all years but the first, in sunspots, the state carried from the first one on."""
    from lstm_lab.science.evaluation import predicted

    whole = source.continuation(0, np.arange(source.splits[0].stop), 0)
    made, _ = predicted(model, whole, None, time_steps=source.time_steps, carry_state=True)
    return whole.in_units(made)[:, 0]


def estimates(forecasts: np.ndarray) -> list[Estimate]:
    """The median error of the forecasts [runs, years - 1] and its interval, for each stretch."""
    errors = [errors_of(made) for made in forecasts]
    return [median(each[name] for each in errors) for name in STRETCHES]


def three_digits(estimate: Estimate) -> str:
    """A cell of the table of ours."""
    return tables.text(estimate, 3)


def held_against(ours: Sequence[Estimate], model: str, errors: Sequence[float | None], where: str) -> list[str]:
    """A row of the table of others: its errors, and whether ours are better."""
    pairs = zip(ours, errors, strict=True)
    cells = [ABSENT if error is None else f"{error:g}, {said(own, error)}" for own, error in pairs]
    return [model, *cells, where]


def said(ours: Estimate, error: float) -> str:
    """Whether our interval lies below another's error, above it, or around it."""
    if math.isnan(ours.low):
        return "too few seeds"
    return "better" if ours.high < error else "worse" if ours.low > error else "alike"


def counts(ours: Sequence[Estimate]) -> Mapping[str, int]:
    """How many of the published errors after 1920 ours are better than, alike and worse than; and how many they are."""
    later = [said(own, error) for row in ROWS for own, error in list(zip(ours, row.errors, strict=True))[1:] if error]
    return {word: later.count(word) for word in ("better", "alike", "worse")} | {"all": len(later)}
