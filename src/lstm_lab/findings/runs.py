"""The runs of the findings' studies, as the store has them.

A study is known by its name, which its file and the overrides of its command decide. Every number of a finding is
computed from what MLflow has of the study's runs: parameters, metrics, the cost of every step, final weights.
"""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_lab.commandline import typed
from lstm_lab.config import CannotRunError
from lstm_lab.records import lookup
from lstm_lab.studies.declaration import study_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SEEDS = 20  # of each study as its file has it
Costs = dict[int, float]  # by seed
Runs = Sequence["Run"]


def grid_command(study: str, seeds: int) -> list[str]:
    """The overrides of a grid study's command."""
    return [f"sweeps={study}", *([] if seeds == SEEDS else [f"training.seed=range(0,{seeds})"])]


class Studies:
    """The studies with so many seeds; `read` has the ids of the runs that were asked for."""

    def __init__(self, client: "MlflowClient", seeds: int) -> None:
        self.client, self.seeds = client, seeds
        self.read: set[str] = set()

    def grid(self, study: str) -> Runs:
        """The runs of one of the grid studies."""
        return self.runs(grid_command(study, self.seeds))

    def runs(self, words: Sequence[str]) -> Runs:
        """The finished or failed runs of a study, in the order of their trials; CannotRunError if there are none."""
        name = study_name(words[0].partition("=")[2], words)
        experiments = list(lookup.experiments_of(self.client))
        found = self.client.search_runs(experiments, f"tags.study = '{name}'", max_results=5000)
        runs = [run for run in found if is_trial(run) and run.info.status in ("FINISHED", "FAILED")]
        if not runs:
            raise CannotRunError(f"the store has no run of the study '{name}': {typed('train', '-m', *words)}")
        self.read |= {run.info.run_id for run in runs}
        return sorted(runs, key=lambda run: int(run.data.tags["trial"]))

    def curves(self, runs: Runs) -> np.ndarray:
        """The cost of every step of runs of one length [runs, steps]."""
        histories = [self.client.get_metric_history(run.info.run_id, "cost") for run in runs]
        return np.array([[point.value for point in sorted(h, key=lambda point: point.step)] for h in histories])

    def final_weights(self, run: "Run") -> list[np.ndarray]:
        """The weights at a run's end, in Keras's order."""
        return lookup.weights_of(self.client, run, lookup.config_of(self.client, run)) or []


def is_trial(run: "Run") -> bool:
    """Whether the run says that it is a trial, and which one."""
    return bool(re.fullmatch("[0-9]{1,9}", run.data.tags.get("trial", "")))


def seed_of(run: "Run") -> int:
    """The seed that decided the run's initial weights."""
    return int(run.data.params["training.seed"])


def cost_of(run: "Run", metric: str = "mean_last_20_cost") -> float:
    """A run's cost at its end; infinite if it diverged."""
    return run.data.metrics.get(metric, math.inf) if run.info.status == "FINISHED" else math.inf


def by_seed(runs: Runs, metric: str = "mean_last_20_cost", scale: float = 1.0) -> Costs:
    """The costs at the end, divided by `scale`."""
    return {seed_of(run): cost_of(run, metric) / scale for run in runs}


def select(runs: Runs, **params: Any) -> Runs:
    """The runs with those parameters; a key's dot is written as two underscores."""
    wanted = {key.replace("__", "."): str(value) for key, value in params.items()}
    return [run for run in runs if all(run.data.params[key] == value for key, value in wanted.items())]


def values_of(runs: Runs, key: str) -> list[int]:
    """The whole numbers that a parameter takes in the runs, in ascending order."""
    return sorted({int(run.data.params[key]) for run in runs})


def time_steps(runs: Runs) -> int:
    """The length of the windows, the same in all runs: the number of samples that a cost is summed over."""
    [steps] = values_of(runs, "data.time_steps")
    return steps
