"""What a study is, from the sweeper's settings, the run config and the command line; refused before any trial."""

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from optuna.distributions import BaseDistribution

from lstm_lab import config
from lstm_lab.config import Config, ConfigError, Sweeper
from lstm_lab.datasets import Csv
from lstm_lab.hiding import hide_in_word
from lstm_lab.paths import ROOT, locate, short_name
from lstm_lab.runs import metrics, naming, recipe, seeds, setup
from lstm_lab.studies import database, overrides, search, study
from lstm_lab.values import LONGEST_NAME
from lstm_lab.words import GROUPS, TEXTS, as_choices

Compose = Callable[[list[str]], dict[str, Any]]  # the run config that some overrides give
SHOWN = {"training.report_every", "training.live"}  # on a terminal, where a study's trials are silent
ONCE = "TensorFlow takes it once for all trials of a process; run a sweep for each value"
IN_OWN_DATABASE = "in mlruns/optuna.db"  # the last line of what is said of a study that is kept there
ONE_RUN = "a run is resumed by itself, without -m; a sweep goes on when it is typed again"
NOT_SEARCHED = {
    "training.level": ONCE,
    "training.threads": ONCE,
    "resume": ONE_RUN,
    "take_over": ONE_RUN,
    "sweeps": "a sweep is of one study; run one for each",
    "seeds": "all trials of a study have equally many; run a sweep for each number",
    "again": "all trials of a study are trained anew, or none",
}


def declare(
    settings: Sweeper,
    compose: Compose,
    words: Sequence[str],
    hydra_words: Sequence[str] = (),
    count: Any = None,
) -> study.Declared:
    """What the study is, from the sweeper's settings and the command line's overrides; `count` seeds for each trial.

    Without a study in the settings the several values on the command line make a plain grid. ConfigError if anything
    in it cannot work, before any trial starts.
    """
    space = search_space(settings.params, words)
    fixed = [word for word in words if not overrides.is_sweep(word)]
    points = check_space(space, lambda point: compose([*fixed, *overrides.words_of(point)]))
    check_seeds(count, space, points)
    sampler, pruner = settings.sampler.model_dump(), settings.pruner.model_dump()
    if settings.study_name is None:
        sampler, pruner = {"name": "grid"}, {"name": "none"}
    objective = check_objective(settings, points, pruner)
    values = config.flatten(points[0].model_dump(exclude=config.WATCHING))
    declared = study.Declared(
        name=name_of(settings.study_name, words, hydra_words),
        space=space,
        direction=settings.direction or ("maximize" if objective in metrics.HIGH_IS_GOOD else "minimize"),
        objective=objective,
        sampler=sampler,
        pruner=pruner,
        seed=settings.seed,
        config={key: value for key, value in values if not {key, key.partition(".")[0]} & {*space, *SHOWN}},
        total=total_of(space, sampler, settings.n_trials),
        files=files_of(points),
        data=", ".join(dict.fromkeys(point.data.name for point in points)),
        experiment=experiment_of(fixed, compose, points[0]) if "experiment" in space else points[0].experiment,
        prune_every=settings.prune_every,
        seeds=count,
    )
    check_search(declared)
    return declared


def check_search(declared: study.Declared) -> None:
    """Builds sampler and pruner once, so that a fault in their settings shows before any trial."""
    with database.experimental():
        search.make_sampler(declared.sampler, 0, 0)
        search.make_pruner(declared.pruner, declared.steps())


def name_of(name: str | None, words: Sequence[str], hydra_words: Sequence[str]) -> str:
    """The study's name, from the one that its file gives: as it is if it was typed; for a plain grid a new one."""
    if name is None:
        # two may start in the same second
        return f"{naming.name_of(words)} {time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    if any(word.startswith("hydra.sweeper.study_name=") for word in hydra_words):
        return name
    return study_name(name, [*words, *hydra_words])


def search_space(params: dict[str, Any], words: Sequence[str]) -> dict[str, BaseDistribution]:
    """The space of the settings' params as the command line's overrides leave it; ConfigError if nothing is in it.

    An override that names one value takes its parameter out of the search, one that names several replaces its range.
    """
    given = {override.get_key_element().lstrip("+"): override for override in overrides.parse(words)}
    ranges = {key.lstrip("+"): text for key, text in config.flatten(params)}  # a file may nest keys, or dot them
    space = {key: searched(key, text) for key, text in ranges.items() if key not in given}
    space |= {key: override for key, override in given.items() if override.is_sweep_override()}
    if not space:
        raise ConfigError(
            "nothing to sweep: name a study, as in `-m sweeps`, or several values, as in `-m training.seed=0,1`"
        )
    for key in space:
        if key in NOT_SEARCHED or key.partition(".")[0] == "hydra":
            raise ConfigError(f"{key}: {NOT_SEARCHED.get(key, 'is not of the trials, so it takes one value')}")
    found = {key: search.to_distribution(override) for key, override in space.items()}
    for key in set(found) & set(GROUPS):
        if None in search.corner_values(found[key]):
            raise ConfigError(f"{key}=null: takes the name of one of the files in conf/{key}/")
    return found


def searched(key: str, text: Any) -> Override:
    """What a file of sweeps/ searches a parameter over; ConfigError if Hydra cannot read it."""
    words = as_choices(key, text) if key in TEXTS and isinstance(text, str) else text
    try:
        return overrides.parse([f"{key}={words}"])[0]
    except HydraException:
        raise ConfigError(
            f"hydra.sweeper.params: {key}: {text}: cannot be read; it must be a choice, range or interval, as in "
            "choice(1, 2), and a text with other signs than letters stands in quotes"
        ) from None


def check_space(space: Mapping[str, BaseDistribution], compose: Callable[[dict[str, Any]], Any]) -> list[Config]:
    """The configs at points of the space, checked with their data; ConfigError if one is refused.

    `compose(point)` gives the plain values of the run config there.
    """
    points = [setup.checked(locate(compose(point))) for point in corner_points(space)]
    for data in {repr(point.data): point for point in points}.values():
        setup.make_source(data)  # so that a faulty file is refused before any trial
    return points


def corner_points(space: Mapping[str, BaseDistribution]) -> Iterator[dict[str, Any]]:
    """Every choice and both ends of every range, one parameter at a time beside the first of all others; last the last.

    A point is a whole one, since a key may have no value but those to be searched.
    """
    corners = {key: search.corner_values(distribution) for key, distribution in space.items()}
    first = {key: values[0] for key, values in corners.items()}
    yield first
    for key, values in corners.items():
        for value in values[1:]:
            yield first | {key: value}
    if len(corners) > 1:
        yield {key: values[-1] for key, values in corners.items()}


def check_objective(settings: Sweeper, points: Sequence[Config], pruner: Mapping[str, Any]) -> str:
    """The metric to be optimised: the one named, or what runs on these data are ranked by; ConfigError if it cannot be.

    Where some trials have a validation error and some have not, it is the cost, which all have.
    """
    found = [metrics.metrics_of(point) for point in points]
    allowed = [name for name in found[0] if all(name in names for names in found)]
    objective = settings.objective
    if objective is None:
        objective = metrics.ranked_by(allowed)
    if objective not in allowed:
        raise ConfigError(
            f"hydra.sweeper.objective={objective!r}: must be a metric that every trial has: {', '.join(allowed)}"
        )
    if pruner["name"] != "none" and objective not in (*metrics.COSTS, metrics.VALIDATION):
        raise ConfigError(
            f"hydra.sweeper.objective={objective!r}: while a trial trains, its cost or its validation error alone is "
            "known, and by that it would be pruned; add hydra/sweeper/pruner=none"
        )
    if pruner["name"] != "none" and objective in metrics.COSTS and len({point.training.cost for point in points}) > 1:
        raise ConfigError(
            f"hydra.sweeper.objective={objective!r}: a trial would be pruned by costs of another training.cost; add "
            "hydra/sweeper/pruner=none"
        )
    return objective


def check_seeds(count: Any, space: Mapping[str, BaseDistribution], points: Sequence[Config]) -> None:
    """Raises ConfigError if the trials cannot each be trained with so many seeds; None is none but their own."""
    if count is None:
        return
    for point in points:
        seeds.wanted(point.training.seed, count)
    if recipe.SEED in space:
        raise ConfigError(f"{recipe.SEED}: is what seeds={count} goes over for each trial; leave one of them out")


def experiment_of(fixed: Sequence[str], compose: Compose, point: Config) -> str:
    """The experiment of the study's page: presets that are searched may each name one of their own."""
    words = [word for word in fixed if word.startswith(("sweeps=", "tracking"))]
    return str(compose(words)["tracking"]["experiment"] or point.data.experiment)


def files_of(points: Sequence[Config]) -> dict[str, str]:
    """SHA-256 of every file that the trials are trained on, by its path."""
    found = {}
    for point in points:
        if isinstance(point.data, Csv):
            found[point.data.path] = str(setup.make_source(point).file_sha256)
    return found


def total_of(space: Mapping[str, BaseDistribution], sampler: Mapping[str, Any], total: int | None) -> int:
    """How many trials the study has: `total`, but no more than a grid has points."""
    if sampler["name"] == "grid":
        points = len(search.grid_points(space))
        return points if total is None else min(total, points)
    if total is None:
        raise ConfigError("hydra.sweeper.n_trials=null: must be a whole number, 1 or more; only a grid has an end")
    return total


def named_after(choice: str) -> str:
    """The name that a file of sweeps/ gives to its study: its own, with - for the / behind a folder."""
    return choice.replace("/", "-")


def study_name(name: str, words: Sequence[str]) -> str:
    """The name of the study that a file of sweeps/ and these overrides make; `name` is the one that the file gives.

    One that would be too long is cut, and ends with the digest of the whole.
    """
    whole = " ".join([name, *sorted(word for word in words if makes_another_study(word))])
    return whole if len(whole) <= LONGEST_NAME else f"{whole[: LONGEST_NAME - 9]} {digest(whole)}"


def digest(text: str) -> str:
    """Eight digits that tell a text from any other."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def makes_another_study(word: str) -> bool:
    """Whether the same file of sweeps/ with this override is another study, rather than more of the same one."""
    word = word.lstrip("+~")
    if word.startswith(("hydra/sweeper/", "hydra.sweeper.")):
        return not word.startswith(("hydra.sweeper.n_trials", "hydra.sweeper.max_failures", "hydra.sweeper.storage"))
    return not word.startswith(("sweeps=", "again=", "take_over=", "evaluation.", "tracking.", "hydra"))


def about(name: str, words: Sequence[str], url: str | None) -> str:
    """What a folder of trials says of its study: its name, what was typed, and whether the repo's own database has it.

    By that `make gc` knows whether a study that is not there was ever there.
    """
    known = [IN_OWN_DATABASE] if url is None else []
    return "\n".join([*map(hide_in_word, [name, *words]), *known, ""])


def folder_of(name: str) -> Path:
    """Where the trials' files of the study of that name go, each in a folder named by its number."""
    shown = hide_in_word(name)
    safe = re.sub(r"[^\w.=,() -]", "_", shown)
    short = safe if safe == name and len(name.encode()) <= 100 else short_name(shown, digest(name))
    return ROOT / "mlruns/sweeps" / short
