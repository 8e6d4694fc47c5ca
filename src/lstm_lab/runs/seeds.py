"""The seeds of a recipe: which are wanted, and which were trained already by the code that runs."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_lab.config import Config, ConfigError
from lstm_lab.records import lookup, tagging
from lstm_lab.records.tagging import is_group
from lstm_lab.runs import metrics, recipe
from lstm_lab.science.statistics import Estimate, median

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MOST = 1000
PARENT = "mlflow.parentRunId"  # the tag by which a run names the one that it belongs to


def wanted(first: int, count: Any) -> range:
    """So many seeds from the first on; ConfigError if that is no number of seeds."""
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST:
        raise ConfigError(f"seeds={count}: must be a whole number from 1 to {MOST:,}: how many, from training.seed on")
    if first + count > 2**32:
        raise ConfigError(f"seeds={count}: from training.seed={first} on, that goes beyond the last seed, {2**32 - 1}")
    return range(first, first + count)


def in_words(seeds: range) -> str:
    """The seeds as one writes them: '0-9', or the only one."""
    return f"{seeds[0]}-{seeds[-1]}" if len(seeds) > 1 else str(seeds[0])


def with_seed(config: Config, seed: int) -> Config:
    """The same recipe with another seed."""
    return config.model_copy(update={"training": config.training.model_copy(update={"seed": seed})})


def seed_of(run: "Run") -> int | None:
    """The seed of a run, as its parameters have it; None if they have none."""
    text = run.data.params.get(recipe.SEED, "")
    return int(text) if text.isdecimal() and len(text) < 11 else None


def trained(client: "MlflowClient", settings: Config, file_sha256: str | None, seeds: Collection[int]) -> "list[Run]":
    """Every run, over or not, of that recipe by the code that runs, with one of these seeds; the latest last.

    A reproduction is left out, since it says nothing that its original does not.
    """
    tags = tagging.as_stored(recipe.known_by(settings, file_sha256))
    condition = " AND ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    runs = [run for run in lookup.every_run(client, condition) if seed_of(run) in seeds]
    leaves = [run for run in runs if not is_group(run.data.tags) and "reproduces" not in run.data.tags]
    return sorted(leaves, key=lambda run: run.info.start_time or 0)


def is_over(run: "Run", needed: Collection[str]) -> bool:
    """Whether the run has come to its end with these metrics; or failed by itself, as it would again."""
    if run.info.status == "FAILED":
        return "reason" in run.data.tags
    return run.info.status == "FINISHED" and set(needed) <= run.data.metrics.keys()


def can_go_on(run: "Run") -> bool:
    """Whether the run was cut short: stopped, killed, or left by its store."""
    return run.info.status == "KILLED" or (run.info.status == "FAILED" and "reason" not in run.data.tags)


def estimates(runs: "Mapping[int, Run]") -> dict[str, Estimate]:
    """The median over the seeds of every metric that all have, with its exact 95 % interval from 6 seeds on.

    A run that failed counts as the worst there is: what it came to before tells nothing.
    """
    finished = [run.data.metrics for run in runs.values() if run.info.status == "FINISHED"]
    failed, found = len(runs) - len(finished), {}
    for key in finished[0] if finished else ():
        if key != "cost" and all(key in values for values in finished):
            found[key] = median([*(values[key] for values in finished), *[worst_of(key)] * failed])
    return found


def worst_of(metric: str) -> float:
    """What a run that failed counts as."""
    return -np.inf if metric in metrics.HIGH_IS_GOOD else np.inf


def of_the_median(runs: "Iterable[Run]", metric: str) -> "Run | None":
    """The run in the middle by that metric, the lower one of two; None if none has it, or if that one failed."""

    def value(run: "Run") -> float:
        return float(run.data.metrics[metric]) if run.info.status == "FINISHED" else worst_of(metric)

    ranked = sorted((run for run in runs if run.info.status != "FINISHED" or metric in run.data.metrics), key=value)
    middle = ranked[(len(ranked) - 1) // 2] if ranked else None
    return middle if middle and middle.info.status == "FINISHED" else None


def together(curves: Sequence[np.ndarray]) -> np.ndarray:
    """Curves of several lengths [steps] as one array [seeds, steps], as far as the shortest goes.

    One that is no longer finite has failed; from there on it is infinite, as long as the others are.
    """
    longest = max(map(len, curves))
    shortest = min((len(curve) for curve in curves if np.isfinite(curve[-1])), default=longest)
    padded = [np.pad(curve, (0, longest - len(curve)), constant_values=np.inf)[:shortest] for curve in curves]
    return np.nan_to_num(np.array(padded), nan=np.inf, posinf=np.inf)
