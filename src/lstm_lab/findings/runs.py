"""The runs of the findings' studies, as the store has them.

A study is known by its name, which its file and the overrides of its command decide. Every number of a finding is
computed from what MLflow has of the study's runs: parameters, metrics, the cost of every step, final weights.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lstm_lab.commandline import typed
from lstm_lab.config import CannotRunError, Config
from lstm_lab.records import lookup
from lstm_lab.reports import comparison, groups
from lstm_lab.reports.comparison import Facts
from lstm_lab.reports.groups import Key
from lstm_lab.runs.recipe import SEED
from lstm_lab.studies.declaration import named_after, study_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SEEDS = 20  # of each study as its file has it
COST = "mean_last_20_cost"
Costs = dict[Key, float]  # by seed
Runs = Sequence[Facts]


def grid_command(study: str, seeds: int, full: int = SEEDS) -> list[str]:
    """The overrides of a grid study's command, whose file has seeds 0 to `full - 1`."""
    return [f"sweeps={study}", *([] if seeds == full else [f"training.seed=range(0,{seeds})"])]


class Studies:
    """The studies with so many seeds, of `full` in their files; `read` has the runs that were asked for, by id."""

    def __init__(self, client: "MlflowClient", seeds: int, full: int = SEEDS) -> None:
        self.client, self.seeds, self.full = client, seeds, full
        self.read: dict[str, Facts] = {}

    def command(self, study: str) -> list[str]:
        """The overrides of the command of a grid study."""
        return grid_command(study, self.seeds, self.full)

    def grid(self, study: str) -> Runs:
        """The runs of one of the grid studies."""
        return self.runs(self.command(study))

    def runs(self, words: Sequence[str]) -> Runs:
        """The finished or failed runs of a study, in the order of their trials; CannotRunError if there are none."""
        name = study_name(named_after(words[0].partition("=")[2]), words)
        experiments = lookup.experiments_of(self.client)
        found = self.client.search_runs(list(experiments), f"tags.study = '{name}'", max_results=5000)
        trials = sorted(filter(is_trial, found), key=lambda run: int(run.data.tags["trial"]))
        runs = [comparison.facts_of(run, experiments[run.info.experiment_id]) for run in trials]
        runs = [facts for facts in runs if facts.status in ("FINISHED", "FAILED")]
        if not runs:
            raise CannotRunError(f"the store has no run of the study '{name}': {typed('train', '-m', *words)}")
        self.read |= {facts.run_id: facts for facts in runs}
        return runs

    def curves(self, runs: Runs) -> np.ndarray:
        """The cost of every step of runs of one length [runs, steps]."""
        histories = [self.client.get_metric_history(facts.run_id, "cost") for facts in runs]
        return np.array([[point.value for point in sorted(h, key=lambda point: point.step)] for h in histories])

    def config(self, facts: Facts) -> Config:
        """A run's config."""
        return lookup.config_of(self.client, self.client.get_run(facts.run_id))

    def final_weights(self, facts: Facts) -> list[np.ndarray]:
        """The weights at a run's end, in Keras's order."""
        return lookup.weights_of(self.client, self.client.get_run(facts.run_id), self.config(facts)) or []


def is_trial(run: "Run") -> bool:
    """Whether the run says that it is a trial, and which one."""
    return bool(re.fullmatch("[0-9]{1,9}", run.data.tags.get("trial", "")))


def seed_of(facts: Facts) -> int:
    """The seed that decided the run's initial weights."""
    return int(facts.params[SEED])


def values_of(runs: Runs, key: str) -> list[int]:
    """The whole numbers that a parameter takes in the runs, in ascending order."""
    return sorted({int(facts.params[key]) for facts in runs})


def time_steps(runs: Runs) -> int:
    """The length of the windows, the same in all runs: the number of samples that a cost is summed over."""
    [steps] = values_of(runs, "data.time_steps")
    return steps


def for_each_sample(runs: Runs) -> Costs:
    """The squared errors at the end for each sample, by seed; infinite of runs that diverged."""
    return {key: cost / time_steps(runs) for key, cost in groups.results(runs, COST).items()}
