"""What forecasts are compared on, how, and the page of it. No test here needs a package that the product does not."""

import json
import sys

import numpy as np
import pytest

import forecast_page
import forecasts
import lab
import tutorial
from lstm_lab.runs import setup
from lstm_lab.science import scores
from public_series import SERIES, split

BY_NAME = {series.name: series for series in SERIES}


def test_the_series_are_what_their_sources_have():
    found = {name: (len(series.values()), *series.values()[[0, 1, -1]]) for name, series in BY_NAME.items()}
    assert found == {
        "sunspots": (309, 5.0, 11.0, 2.9),
        "nile": (100, 1120.0, 1160.0, 740.0),
        "co2": (516, 315.5, 316.7, 371.02),
        "elnino": (732, 23.11, 24.2, 22.07),
        "elec_equip": (257, 66.19, 65.15, 97.86),
        "us_inflation": (202, 2.34, 2.74, 3.56),
        "us_unemployment": (202, 5.1, 5.3, 9.6),
        "us_bill_rate": (202, 3.08, 3.82, 0.12),
        "us_gdp_growth": (202, 2.526, -0.119, 0.689),
        "us_consumption_growth": (202, 1.54, 1.044, 0.729),
        "us_investment_growth": (202, 8.352, -6.959, 2.04),
    }
    assert all(np.isfinite(series.values()).all() for series in SERIES)


@pytest.mark.parametrize("name", ["nile", "us_inflation"])
def test_the_program_holds_out_the_samples_that_are_forecast(name, tmp_path):
    group = [series for series in SERIES if series.file == BY_NAME[name].file]
    lab.write_file(tmp_path / "series.csv", group, dict.fromkeys([series.name for series in group], "changes"))
    source = setup.make_source(lab.config_of(lab.words(tmp_path / "series.csv", group)))
    for series, one, parted in zip(group, source.samples.series, source.splits, strict=True):
        mine = split(series)
        sample = (
            1 + parted.known - one.first + source.horizon
        )  # of the first target held out; the first row is sample 1
        assert (sample, sample - mine.known) == (mine.origins[0], 0)
        assert 1 + parted.trained - one.first + source.horizon == mine.trained


def test_forecasts_of_changes_are_summed_up_from_the_sample_before_the_origin():
    series = BY_NAME["us_gdp_growth"]
    normalised, mean, stddev = lab.column(series, "changes")
    changes = np.diff(series.values())
    np.testing.assert_allclose(normalised * stddev + mean, changes)
    first, ahead = split(series).trained, 3
    made = np.stack([normalised[first - 1 + i : first - 1 + i + ahead] for i in range(5)])[..., None]
    expected = np.stack([series.values()[first + i : first + i + ahead] for i in range(5)])
    np.testing.assert_allclose(lab.in_samples(series, "changes", made), expected)


def seasonal_naive(series):
    """An answer as statistical.py gives it, every method being the seasonal naive one."""
    values, origins = series.values(), split(series).origins
    made = [scores.seasonal_naive(values[:n, None], series.horizon, series.season)[:, 0] for n in origins]
    one = {"forecasts": made, "lower": np.subtract(made, 1e9), "upper": np.add(made, 1e9)}
    names = list(forecast_page.STATISTICAL)
    return {"version": "0", "models": dict.fromkeys(names, "one"), "methods": dict.fromkeys(names, one)}


def test_a_reduced_run_writes_its_page(tmp_path, monkeypatch):
    monkeypatch.setattr(forecasts, "HERE", tmp_path)
    monkeypatch.setattr(forecasts, "ask_statistical", seasonal_naive)
    monkeypatch.setattr(lab, "train", lambda config: setup.new_model(config).get_weights())
    monkeypatch.setattr(lab, "CHOOSING", (1000,))
    monkeypatch.setattr(tutorial, "EPOCHS", 1)
    monkeypatch.setattr(sys, "argv", ["forecasts.py", "--seeds", "1", "--series", "nile"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "set by main, and back afterwards")
    assert forecasts.main() == 0
    found = json.loads((tmp_path / "quick/forecasts.json").read_text())["series"]["nile"]
    assert (found["trained"], found["known"], found["origins"]) == (70, 80, 15)
    values = BY_NAME["nile"].values()
    errors = np.abs([[values[n + i] - values[n - 1] for i in range(6)] for n in range(80, 95)])
    naive = {"mase": pytest.approx(errors.mean() / np.abs(np.diff(values[:70])).mean(), 1e-5), "coverage": 1}
    assert found["methods"]["ets"] == [naive]
    assert all(0 < found["methods"][name][0]["mase"] < 5 for name in ("keras", "lab"))
    assert "| nile |" in (tmp_path / "quick/FORECASTS.md").read_text()


def found_of(mase, **networks):
    """What is stored of a series: the statistical methods at these errors, the networks at those of their seeds."""
    by_method = {**{name: [error] for name, error in zip(forecast_page.STATISTICAL, mase, strict=True)}, **networks}
    methods = {
        name: [{"mase": one, "coverage": 0.9 - one / 100} for one in errors] for name, errors in by_method.items()
    }
    about = {"samples": 100, "trained": 70, "known": 80, "origins": 15, "season": 1, "horizon": 6, "form": "samples"}
    return {**about, "models": {"arima": "ARIMA(1,0,0)", "ets": "ETS(A,N,N)"}, "version": "0", "methods": methods}


def test_the_page_counts_what_is_reached_by_the_medians():
    found = {
        "machine": {"processor": "One", "system": "Linux 6", "python": "3.11.1"},
        "commit": "abc",
        "date": "2026-01-02",
        "seeds": 3,
        "series": {
            "better": found_of([1.0, 0.8, 0.5, 0.9], keras=[0.6, 0.7, 0.8], lab=[0.5, 0.1, 9.0]),
            "worse": found_of([1.0, 0.8, 0.9, 0.7], keras=[0.6, 0.7, 0.8], lab=[0.8, 0.7, 0.9]),
        },
    }
    page = forecast_page.render(found, ["training.steps=2"], 100).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page if line.startswith("| ")]
    aims, errors = rows[2:5], {row[0]: row[1:] for row in reversed(rows) if row[0] in ("better", "worse")}
    assert [row[1:] for row in aims] == [
        ["2", "of 2", "2", "met"],
        ["2", "of 2", "1", "**not met**"],
        ["1", "of 2", "1", "met"],
    ]
    assert errors["better"][-5:] == ["0.70 (0.60 to 0.80)", "0.50 (0.10 to 9.00)", "0.50", "0.71", "1.00 (ARIMA)"]
    assert errors["worse"][-1] == "1.14 (Theta)"
