"""Holds this repo's LSTM against what people forecast with, on public series: `make forecasts`.

    make forecasts                        all series, ten seeds: FORECASTS.md and forecasts.json, in about half an hour
    make forecasts SEEDS=1 SERIES=nile    fewer seeds, some series: the same below benchmarks/quick/

One that was cut short goes on with the series that are left.

All have the same samples to learn from, the same origins and the same lead times, and none is fitted again on the way.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import lab
import tutorial
from bench import commit, machine
from forecast_page import render
from public_series import ROOT, SERIES, Series, split
from results import rounded

sys.path.insert(0, str(ROOT / "src"))
from lstm_lab import runtime
from lstm_lab.science import intervals, scores
from lstm_lab.science.backtest import ahead

HERE = Path(__file__).resolve().parent
SEEDS = 10
LEVEL = 90  # per cent of the truths that an interval promises to hold
UNFINISHED = "forecasts-unfinished.json"
RECENT = 100  # residuals at most that a network's intervals are made from, at every lead time

Scores = dict[str, float]


def ask_statistical(series: Series) -> dict[str, Any]:
    """The answer of statistical.py, from an environment of its own; SystemExit with its complaint if it fails."""
    request = {"values": series.values().tolist(), "season": series.season, "horizon": series.horizon}
    request |= {"origins": split(series).origins, "level": LEVEL}
    command = [HERE / ".venv-forecasts/bin/python", HERE / "statistical.py"]
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"statistical.py failed on {series.name}:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))


def mase(series: Series, origins: np.ndarray, forecasts: np.ndarray) -> float:
    """That of forecasts [origins, horizon], scaled by the seasonal naive forecast's errors in what is trained on."""
    values, truths = series.values(), ahead(series.values(), origins, series.horizon)
    scale = scores.seasonal_error([values[: split(series).trained, None]], series.season)
    return scores.mase(truths[..., None], forecasts[..., None], scale).overall


def score(series: Series, forecasts: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> Scores:
    """MASE of the forecasts [origins, horizon] from the held-out origins, and coverage of their intervals."""
    origins = np.array(split(series).origins)
    truths = ahead(series.values(), origins, series.horizon)
    return {"mase": mase(series, origins, forecasts), "coverage": float(np.mean((lower <= truths) & (truths <= upper)))}


def score_network(series: Series, forecasts: np.ndarray) -> Scores:
    """The same of a network, whose forecasts [origins, horizon] begin with those from the first validation sample.

    Its intervals are made from the residuals that were known at each origin.
    """
    at = np.array(split(series).origins)
    origins = np.arange(at[-1] + 1 - len(forecasts), at[-1] + 1)
    residuals = intervals.residuals(forecasts, ahead(series.values(), origins, series.horizon))[..., None]
    widths = intervals.recent_half_widths(residuals, origins, at, RECENT, 1 - LEVEL / 100)[..., 0]
    held_out = forecasts[-len(at) :]
    return score(series, held_out, held_out - widths, held_out + widths)


def choose_forms(group: Sequence[Series]) -> dict[str, str]:
    """The form of each series with the lower error on the validation samples, all series having the same one.

    The error is the median of the seeds that choose.
    """

    def errors(form: str) -> dict[str, float]:
        all_alike = {series.name: form for series in group}
        made = [lab.forecast(group, all_alike, seed) for seed in lab.CHOOSING]
        return {series.name: median(on_validation(series, one[series.name]) for one in made) for series in group}

    by_form = {form: errors(form) for form in lab.FORMS}
    return {series.name: min(lab.FORMS, key=lambda form: by_form[form][series.name]) for series in group}


def on_validation(series: Series, forecasts: np.ndarray) -> float:
    """MASE of those of the forecasts [origins, horizon] of `lab.forecast` that lie within the validation samples."""
    parted = split(series)
    origins = np.arange(parted.trained, parted.known - series.horizon + 1)
    return mase(series, origins, forecasts[: len(origins)])


def compare(group: Sequence[Series], names: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    """What is told of those series of a group that are named: how they are parted, and the scores of every method."""
    forms = choose_forms(group)
    by_seed = [lab.forecast(group, forms, seed) for seed in seeds]
    found = {}
    for series in (one for one in group if one.name in names):
        parted, answer = split(series), ask_statistical(series)
        methods: dict[str, list[Scores]] = {}
        for name, one in answer["methods"].items():
            methods[name] = [score(series, *(np.array(one[key]) for key in ("forecasts", "lower", "upper")))]
        methods["keras"] = [score_network(series, tutorial.forecast(series, seed)) for seed in seeds]
        methods["lab"] = [score_network(series, made[series.name]) for made in by_seed]
        about: dict[str, Any] = {"samples": len(series.values()), "trained": parted.trained, "known": parted.known}
        about |= {"origins": len(parted.origins), "season": series.season, "horizon": series.horizon}
        about |= {"form": forms[series.name], "models": answer["models"], "version": answer["version"]}
        found[series.name] = {**about, "methods": methods}
        told = (f"{name} {median(one['mase'] for one in made):.3f}" for name, made in methods.items())
        print(f"{series.name}: {', '.join(told)}", flush=True)
    return found


def compare_all(names: Sequence[str], seeds: int, unfinished: Path) -> dict[str, Any]:
    """What is told of all series that are named, in six digits; `unfinished` has it as far as it is made.

    It goes on there if it was begun by this very commit, on this machine, for as many seeds.
    """
    about: dict[str, Any] = {"machine": machine(), "commit": commit(), "seeds": seeds}
    found: dict[str, Any] = {**about, "date": time.strftime("%Y-%m-%d", time.gmtime()), "series": {}}
    if unfinished.exists() and "uncommitted" not in about["commit"]:
        before = json.loads(unfinished.read_text())
        found = before if about.items() <= before.items() else found
    with tempfile.TemporaryDirectory() as store:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{store}/runs.db"
        left = [series for series in SERIES if series.name in names and series.name not in found["series"]]
        for file in dict.fromkeys(series.file for series in left):
            group = [series for series in SERIES if series.file == file]
            found["series"] |= rounded(compare(group, names, range(seeds)))
            unfinished.write_text(json.dumps(found))
    unfinished.unlink(missing_ok=True)
    return {**found, "series": {name: one for name, one in found["series"].items() if name in names}}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [series.name for series in SERIES]
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many of the networks' seeds, from 0 on")
    parser.add_argument("--series", nargs="+", choices=known, default=known, metavar="NAME")
    asked = parser.parse_args()
    folder = HERE if asked.seeds == SEEDS and set(asked.series) == set(known) else HERE / "quick"
    (HERE / "quick").mkdir(exist_ok=True)
    runtime.start_tensorflow("portable", threads=1)  # the networks', both
    found = compare_all(asked.series, asked.seeds, HERE / "quick" / UNFINISHED)
    (folder / "forecasts.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "FORECASTS.md").write_text(render(found, lab.RECIPE, RECENT))
    print(f"written: {os.path.relpath(folder)}/FORECASTS.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
