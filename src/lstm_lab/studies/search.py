"""What is searched, and how: the space in Optuna's distributions, the sampler, the pruner."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import optuna
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lstm_lab.config import ConfigError
from lstm_lab.studies import overrides

MOST_POINTS = 100_000  # of a grid or a range of fractions: a worker goes through all of them for every trial


def to_distribution(override: Override) -> BaseDistribution:
    """Optuna's distribution for a choice, range or interval in Hydra's words; ConfigError if it is empty or faulty.

    As in Hydra, a range ends before its stop. `int(interval(...))` gives whole numbers, `tag(log, ...)` a log scale.
    """
    text, sweep = override.input_line, override.value()
    if isinstance(sweep, ChoiceSweep):
        key = override.get_key_element().lstrip("+")
        return CategoricalDistribution([overrides.choice(key, value) for value in sweep.list])
    if isinstance(sweep, RangeSweep):
        return range_distribution(str(text), sweep)
    if not isinstance(sweep, IntervalSweep):
        raise ConfigError(f"{text}: a search space is made of choice, range and interval")
    low, high, log = sweep.start, sweep.end, "log" in sweep.tags
    assert low is not None
    assert high is not None
    if not low < high:
        raise ConfigError(f"{text}: the lower end must be below the upper end")
    if log and low <= 0:
        raise ConfigError(f"{text}: on a log scale the lower end must be greater than 0")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def range_distribution(text: str, sweep: RangeSweep) -> BaseDistribution:
    """The same for a range; one that falls is the one that rises through the same values."""
    assert sweep.start is not None
    assert sweep.stop is not None
    if not sweep.step:
        raise ConfigError(f"{text}: the step must not be 0")
    values: Any = sweep.range()
    if not isinstance(values, range):  # Hydra counts fractions one by one
        if not (sweep.stop - sweep.start) / sweep.step <= MOST_POINTS:
            raise ConfigError(f"{text}: must have at most {MOST_POINTS:,} values; interval(...) takes all between two")
        values = list(values)
    if not len(values):
        raise ConfigError(f"{text}: the range is empty")
    low, high = sorted((values[0], values[-1]))
    if isinstance(values, range):
        return IntDistribution(low, high, step=abs(values.step))
    return FloatDistribution(low, high, step=abs(float(sweep.step)))


def corner_values(distribution: BaseDistribution) -> list[Any]:
    """The values by which a parameter's whole range can be checked: every choice, or both ends."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return [distribution.low, distribution.high]


def grid_points(space: Mapping[str, BaseDistribution]) -> list[dict[str, Any]]:
    """Every point of a space of choices and ranges, the last parameter changing fastest, as in Hydra's own grid."""
    count = math.prod(length(key, distribution) for key, distribution in space.items())
    if count > MOST_POINTS:
        raise ConfigError(
            f"a grid over {', '.join(space)} has {count:,} points: must be at most {MOST_POINTS:,}; another sampler, "
            "such as hydra/sweeper/sampler=random, draws hydra.sweeper.n_trials of them"
        )
    return [dict(zip(space, point, strict=True)) for point in product(*map(grid_values, space.values()))]


def length(key: str, distribution: BaseDistribution) -> int:
    """How many values of a parameter a grid has; ConfigError if it is no list."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if distribution.step is None or distribution.log:
        raise ConfigError(f"{key}: a grid takes choice and range; an interval has no points to list")
    return round((distribution.high - distribution.low) / distribution.step) + 1


def grid_values(distribution: BaseDistribution) -> Sequence[Any]:
    """The values of a parameter of a grid, in order."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    step = distribution.step or 0
    return [distribution.low + i * step for i in range(length("", distribution))]


def make_sampler(settings: Mapping[str, Any], seed: int, number: int) -> optuna.samplers.BaseSampler:
    """The sampler for one trial: seeded by its number, so that a sweep may stop and go on between any two trials."""
    name, options = settings["name"], {key: value for key, value in settings.items() if key != "name"}
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed + number, **options)
    if name == "cmaes":
        return optuna.samplers.CmaEsSampler(seed=seed + number, warn_independent_sampling=False, **options)
    if name == "qmc":  # one sequence for the whole study: its position is kept in the storage
        return optuna.samplers.QMCSampler(
            scramble=True, seed=seed, warn_independent_sampling=False, independent_sampler=random_sampler(seed + number)
        )
    if name in ("random", "grid"):  # a grid's points are queued, and never drawn
        return random_sampler(seed + number)
    raise ConfigError(f"hydra.sweeper.sampler.name={name!r}: must be one of tpe, random, cmaes, qmc, grid")


def random_sampler(seed: int) -> optuna.samplers.BaseSampler:
    """Independent draws."""
    return optuna.samplers.RandomSampler(seed=seed)


def make_pruner(settings: Mapping[str, Any], steps: int) -> optuna.pruners.BasePruner:
    """The pruner; `steps` is the length of a whole trial."""
    name, options = settings["name"], {key: value for key, value in settings.items() if key != "name"}
    if name == "median":
        return optuna.pruners.MedianPruner(**options)
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(max_resource=max(steps, options["min_resource"]), **options)
    if name == "none":
        return optuna.pruners.NopPruner()
    raise ConfigError(f"hydra.sweeper.pruner.name={name!r}: must be one of median, hyperband, none")
