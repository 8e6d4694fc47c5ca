"""Holds this repo's LSTM against what people forecast with, on public series: `make forecasts`.

    make forecasts                        all series, ten seeds: FORECASTS.md and forecasts.json, in about half an hour
    make forecasts SEEDS=1 SERIES=nile    fewer seeds, some series: the same below benchmarks/quick/

All have the same samples to learn from, forecast from the same origins, as far ahead, and none is fitted again on the way.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import lab
import tutorial
from bench import commit, machine
from public_series import ROOT, SERIES, Series, Split, split
from forecast_page import render
from results import rounded

sys.path.insert(0, str(ROOT / "src"))
from lstm_lab.science import intervals, scores
from lstm_lab.science.backtest import ahead

HERE = Path(__file__).resolve().parent
SEEDS = 10
LEVEL = 90  # per cent of the truths that an interval promises to hold
RECENT = 100  # residuals that the networks' intervals are made from, at every lead time

Scores = dict[str, float]


def ask_statistical(series: Series, parted: Split) -> dict[str, Any]:
    """The answer of statistical.py, from an environment of its own; SystemExit with its complaint if it fails."""
    request = {"values": series.values().tolist(), "season": series.season, "horizon": series.horizon}
    request |= {"origins": parted.origins, "level": LEVEL}
    command = [HERE / ".venv-forecasts/bin/python", HERE / "statistical.py"]
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"statistical.py failed on {series.name}:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))


def score(series: Series, parted: Split, forecasts: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> Scores:
    """MASE of the forecasts [origins, horizon], scaled by the samples trained on, and coverage of their intervals."""
    values = series.values()
    truths = ahead(values, np.array(parted.origins), series.horizon)
    mase = scores.mase(truths[..., None], forecasts[..., None], values[: parted.trained, None], series.season)
    return {"mase": mase.overall, "coverage": float(np.mean((lower <= truths) & (truths <= upper)))}


def score_network(series: Series, parted: Split, forecast: Callable[[np.ndarray], np.ndarray]) -> Scores:
    """The same of a network, its intervals made from the residuals that were known at each origin, from validation on."""
    origins = np.arange(parted.trained, parted.origins[-1] + 1)
    made = forecast(origins)
    residuals = intervals.residuals(made, ahead(series.values(), origins, series.horizon))[..., None]
    at = np.array(parted.origins)
    widths = intervals.recent_half_widths(residuals, origins, at, RECENT, 1 - LEVEL / 100)[..., 0]
    held_out = made[-len(at) :]
    return score(series, parted, held_out, held_out - widths, held_out + widths)


def choose_form(series: Series, parted: Split) -> str:
    """The form of the file with the least MASE on the validation samples, the median of the seeds that choose."""
    values, origins = series.values(), np.arange(parted.trained, parted.known - series.horizon + 1)
    truths = ahead(values, origins, series.horizon)[..., None]

    def error(form: str) -> float:
        made = [lab.forecast(series, parted, origins, seed, form)[..., None] for seed in lab.CHOOSING]
        return median(scores.mase(truths, one, values[: parted.trained, None], series.season).overall for one in made)

    return min(lab.FORMS, key=error)


def compare(series: Series, seeds: Sequence[int]) -> dict[str, Any]:
    """What is told of a series: how it is parted, the scores of every method, by seed if it has any."""
    samples = len(series.values())
    parted = split(samples, series.horizon)
    answer = ask_statistical(series, parted)
    methods: dict[str, list[Scores]] = {}
    for name, one in answer["methods"].items():
        methods[name] = [score(series, parted, *(np.array(one[key]) for key in ("forecasts", "lower", "upper")))]
    form = choose_form(series, parted)
    ways = {
        "keras": lambda origins, seed: tutorial.forecast(series, parted, origins, seed),
        "lab": lambda origins, seed: lab.forecast(series, parted, origins, seed, form),
    }
    for name, way in ways.items():
        methods[name] = [score_network(series, parted, partial(way, seed=seed)) for seed in seeds]
    about = {"samples": samples, "trained": parted.trained, "known": parted.known, "origins": len(parted.origins)}
    about |= {"season": series.season, "horizon": series.horizon, "form": form, "models": answer["models"]}
    return {**about, "version": answer["version"], "methods": methods}


def tell(name: str, found: dict[str, Any]) -> None:
    """Prints the MASE of every method on a series."""
    made = (f"{method} {median(one['mase'] for one in by_seed):.3f}" for method, by_seed in found["methods"].items())
    print(f"{name}: {', '.join(made)}", flush=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = {series.name: series for series in SERIES}
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many of the networks' seeds, from 0 on")
    parser.add_argument("--series", nargs="+", choices=list(known), default=list(known), metavar="NAME")
    asked = parser.parse_args()
    whole = asked.seeds == SEEDS and asked.series == list(known)
    folder = HERE if whole else HERE / "quick"
    folder.mkdir(exist_ok=True)
    found: dict[str, Any] = {"machine": machine(), "commit": commit(), "date": time.strftime("%Y-%m-%d", time.gmtime())}
    found |= {"seeds": asked.seeds, "whole": whole, "series": {}}
    for name in asked.series:
        found["series"][name] = compare(known[name], range(asked.seeds))
        tell(name, found["series"][name])
    (folder / "forecasts.json").write_text(json.dumps(rounded(found), indent=1) + "\n")
    (folder / "FORECASTS.md").write_text(render(rounded(found), lab.RECIPE))
    print(f"written: {os.path.relpath(folder)}/FORECASTS.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
