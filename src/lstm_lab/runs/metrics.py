"""The figures that stand for a run: which there are, by which of them runs are ranked, and which runs can be ranked."""

import hashlib
import itertools
import json
import math
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from lstm_lab.config import NEWER, Config
from lstm_lab.datasets import Csv, Task
from lstm_lab.records.tracking import VALIDATION

LAST = 20  # steps over which the cost at the end is averaged
COSTS = ("final_cost", "mean_last_20_cost", "log10_mean_last_20_cost")
BEST_STEP = "best_step"  # after how many steps the validation error was lowest
HELD_OUT = "evaluation/mse"
WRONG, MEAN_ERROR = "evaluation/wrong", "evaluation/mean_error"  # of a task's new sequences
SOLVED = "solved/"  # before a criterion's name: after how many sequences (of streams: symbols) it held first
EVALUATION = ("mse", "rmse", "mae", "r2", "mse_position_0")
BASELINES = ("predict_zero_mse", "persistence_mse", "least_squares_mse")
OF_THE_NAIVE = ("seasonal_naive_mse", "seasonal_naive_mase")  # that forecasts are measured by
OF_ITS_OWN = ("rollout_mse", "rollout_persistence_mse")  # where a model goes on by its own predictions
BACKTEST = ("mase", "rmse", "smape", "seasonal_naive_mase", "seasonal_naive_rmse")
INTERVALS = ("coverage", "width")
NAMED = 150  # characters of a column's name in that of a metric; MLflow takes 250 in all
HIGH_IS_GOOD = ("steps_per_second", "evaluation/r2")


def summarize(costs: np.ndarray, epoch: int | None, steps_per_second: float | None) -> dict[str, float]:
    """The metrics of the costs [steps]. MLflow's bars show two decimals, hence the logarithm beside the mean."""
    mean = mean_of_last(costs, epoch)
    metrics = {"final_cost": float(costs[-1]), "mean_last_20_cost": mean}
    if mean > 0 and math.isfinite(mean):
        metrics["log10_mean_last_20_cost"] = math.log10(mean)
    if steps_per_second:
        metrics["steps_per_second"] = steps_per_second
    return metrics


def mean_of_last(costs: np.ndarray, epoch: int | None) -> float:
    """The mean of the last LAST costs [steps], those left out that begin an `epoch` of so many steps.

    There every row starts over from a state of zeros: how many of these are among the last steps depends on where a run
    ends, not on how good it is.
    """
    begins = np.zeros(len(costs), bool)
    if epoch is not None:
        begins[::epoch] = True
    carried = costs[~begins] if not begins.all() else costs
    return float(carried[-LAST:].mean(dtype=np.float64))


def metrics_of(config: Config) -> list[str]:
    """The metrics that a run of this config has at its end."""
    found = [*COSTS, *(["steps_per_second"] if config.training.steps > 1 else [])]  # the first step is compiled, too
    data, asked = config.data, config.evaluation
    if isinstance(data, Task):
        return found + [WRONG, *([] if data.within is None else [MEAN_ERROR])] * bool(asked.windows)
    if isinstance(data, Csv) and data.validation:
        found += [VALIDATION, BEST_STEP]
    if asked.windows:
        found += map(evaluated, (*EVALUATION, *BASELINES))
    if asked.windows and isinstance(data, Csv):
        forecast = ("mase", "smape", *OF_THE_NAIVE) if data.horizon else ()
        own = OF_ITS_OWN if data.goes_on else ()
        found += map(evaluated, (*of_each_target(data.targets), *forecast, *own))
    if config.lead_times:
        intervals = INTERVALS if asked.interval and VALIDATION in found else ()
        found += [f"backtest/{name}" for name in (*BACKTEST, *intervals)]
    return found


def of_each_target(targets: Sequence[str]) -> list[str]:
    """The metric of each of several targets; a single one's is the run's.

    MLflow takes letters, digits, `_`, `-`, `.` and spaces. What becomes equal so gets a number.
    """
    found: list[str] = []
    for target in targets if len(targets) > 1 else ():
        name = re.sub(r"[^\w\-. ]", "_", target[:NAMED])
        name = f"rmse/{'_' * len(name) if set(name) == {'.'} else name}"
        found.append(next(free for free in numbered(name) if free not in found))
    return found


def numbered(name: str) -> Iterator[str]:
    """A name, and then the same with 2, 3, ... behind it."""
    yield name
    yield from (f"{name} {i}" for i in itertools.count(2))


def evaluated(name: str) -> str:
    """What a metric of `science.evaluation` is called among a run's: baselines, which are the data's, stand apart."""
    baseline = name in (*BASELINES, *OF_THE_NAIVE, "rollout_persistence_mse")
    return f"{'baselines' if baseline else 'evaluation'}/{name}"


def today(name: str) -> str:
    """What a metric is called now: once it was 'validation.mse', 'evaluation.mse', 'evaluation.predict_zero_mse'."""
    group, _, rest = name.partition(".")
    return evaluated(rest) if group == "evaluation" else VALIDATION if name == "validation.mse" else name


def ranked_by(metrics: Container[str]) -> str:
    """The metric by which a run that has these is ranked: the error it was not trained on, where there is one."""
    return VALIDATION if VALIDATION in metrics else "mean_last_20_cost"


def data_set(params: Mapping[str, str], file_sha256: str | None) -> str:
    """The data of a run with these parameters, by name and digest; only runs of equal data can be ranked.

    A cost is a sum over a window, so the window's length belongs to it, and what an error costs, unless a validation
    error ranks the run.
    """
    left_out = {"data.batch_size", "data.time"}
    if file_sha256:
        left_out.add("data.path")
    validated = params.get("data.validation", "0.0") not in ("0", "0.0")
    left_out.add("data.time_steps" if validated else "data.validation")
    left_out |= {key for key, once in NEWER.items() if params.get(key) == str(once)}  # as in runs older than it
    settings = {key: value for key, value in params.items() if key.startswith("data.") and key not in left_out}
    name = Path(params["data.path"]).stem if params.get("data.path") else params.get("data.curve", "?")
    if not validated and (cost := params.get("training.cost", "squared")) != "squared":
        settings["training.cost"] = cost
        name += f" {cost}"
    text = json.dumps([settings, file_sha256], sort_keys=True)
    return f"{name} {hashlib.sha256(text.encode()).hexdigest()[:6]}"
