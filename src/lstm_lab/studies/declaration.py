"""What a study is, from the sweeper's settings, the run config and the command line; refused before any trial."""

import re
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution

from lstm_lab import config
from lstm_lab.config import ConfigError
from lstm_lab.paths import ROOT
from lstm_lab.runs import setup, telling
from lstm_lab.studies import overrides, study


def declare(
    settings: Mapping[str, Any], base: dict[str, Any], words: Sequence[str], hydra_words: Sequence[str] = ()
) -> study.Declared:
    """What the study is, from the sweeper's settings, the composed run config and the command line's overrides.

    Without a study in the settings the several values on the command line make a plain grid. ConfigError if anything
    in it cannot work, before any trial starts.
    """
    space = search_space(settings["params"], words)
    check_space(space, base)
    whole = config.check(base)
    setup.make_source(whole)  # so that a faulty file is refused before any trial
    sampler, pruner, name = settings["sampler"], settings["pruner"], settings["study_name"]
    if name is None:
        sampler, pruner, name = {"name": "grid"}, {"name": "none"}, f"grid-{time.strftime('%m%d-%H%M%S')}"
    elif not any(word.startswith("hydra.sweeper.study_name=") for word in hydra_words):
        name = study_name(name, [*words, *hydra_words])
    checked = config.flatten(whole.model_dump(exclude=config.WATCHING))
    declared = study.Declared(
        name=name,
        space=space,
        direction=settings["direction"],
        objective=settings["objective"],
        sampler=sampler,
        pruner=pruner,
        seed=settings["seed"],
        config={key: value for key, value in checked if key not in space},
        total=total_of(space, sampler, settings["n_trials"]),
        prune_every=settings["prune_every"],
    )
    check_settings(declared, whole.training.steps)
    return declared


def search_space(params: dict[str, Any], words: Sequence[str]) -> dict[str, BaseDistribution]:
    """The space of the settings' params as the command line's overrides leave it; ConfigError if nothing is in it.

    An override that names one value takes its parameter out of the search, one that names several replaces its range.
    """
    given = {override.get_key_element(): override for override in overrides.parse(words)}
    ranges = dict(config.flatten(params))  # a key's dots are nesting to the command line, not to a file
    space = {key: overrides.parse([f"{key}={text}"])[0] for key, text in ranges.items() if key not in given}
    space |= {key: override for key, override in given.items() if override.is_sweep_override()}
    if not space:
        raise ConfigError(
            "there is nothing to sweep: name a study, as in `-m sweeps`, or several values, as in `-m a=1,2`"
        )
    return {key: study.to_distribution(override) for key, override in space.items()}


def total_of(space: Mapping[str, BaseDistribution], sampler: Mapping[str, Any], total: Any) -> int:
    """How many trials the study has: `total`, but no more than a grid has points."""
    if sampler["name"] == "grid":
        points = len(study.grid_points(space))
        total = points if total is None else min(total, points)
    if not isinstance(total, int) or isinstance(total, bool) or total < 1:
        raise ConfigError(f"hydra.sweeper.n_trials={total}: must be a whole number, 1 or more")
    return total


def check_settings(declared: study.Declared, steps: int) -> None:
    """Raises ConfigError if one of the sweeper's settings cannot work; `steps` is the length of a whole trial."""
    if declared.direction not in ("minimize", "maximize"):
        raise ConfigError(f"hydra.sweeper.direction={declared.direction!r}: must be minimize or maximize")
    if declared.objective not in telling.METRICS:
        allowed = ", ".join(telling.METRICS)
        raise ConfigError(f"hydra.sweeper.objective={declared.objective!r}: must be one of {allowed}")
    with study.experimental():  # built once here, so that a fault in their settings shows before any trial
        study.make_sampler(declared.sampler, 0, 0)
        study.make_pruner(declared.pruner, steps)


def study_name(name: str, words: Sequence[str]) -> str:
    """The name of the study that a file of sweeps/ and these overrides make; `name` is the one that the file gives."""
    return " ".join([name, *sorted(word for word in words if makes_another_study(word))])


def makes_another_study(word: str) -> bool:
    """Whether the same file of sweeps/ with this override is another study, rather than more of the same one."""
    if word.startswith(("hydra/sweeper/", "hydra.sweeper.")):
        return not word.startswith(("hydra.sweeper.n_trials", "hydra.sweeper.max_failures", "hydra.sweeper.storage"))
    return not word.startswith(("sweeps=", "evaluation.", "tracking.", "hydra"))


def folder_of(declared: study.Declared) -> Path:
    """Where the trials' files go, each in a folder named by its number."""
    return ROOT / "mlruns/sweeps" / re.sub(r"[^\w.=,() -]", "_", declared.name)


def check_space(space: Mapping[str, Any], base: dict[str, Any]) -> None:
    """Raises ConfigError if a parameter is unknown, or if the run config would refuse a value at its range's ends."""
    for key, distribution in space.items():
        if key in ("training.level", "training.threads"):
            raise ConfigError(
                f"{key}: TensorFlow takes it once for all trials of a process; run a sweep for each value"
            )
        if key in config.Config.model_fields or key == "experiment":
            files = {file.stem for file in (ROOT / "conf" / key).glob("*.yaml")}
            for choice in study.corner_values(distribution):
                if choice not in files:
                    raise ConfigError(f"{key}={choice}: there is no such choice{config.suggest(str(choice), files)}")
            continue
        if key not in config.all_keys():
            raise ConfigError(config.describe_unknown_key(key))
        for value in study.corner_values(distribution):
            trial = deepcopy(base)
            group, _, leaf = key.partition(".")
            trial[group][leaf] = value
            config.check(trial)
