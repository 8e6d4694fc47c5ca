"""Runs side by side: which ones are meant, what the store has of each, and in what they differ."""

import contextlib
import difflib
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_lab.config import NEWER, WATCHED, WATCHING, Config, ConfigError
from lstm_lab.records import lookup, processes, reading, store
from lstm_lab.records.reading import printable
from lstm_lab.records.tagging import is_group, is_study, tags_of
from lstm_lab.reports import ranked
from lstm_lab.reports.ranked import both
from lstm_lab.runs import metrics, naming, resume
from lstm_lab.runs.seeds import PARENT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

MEAN_STEPS = 20  # over which a curve is smoothed, as in the metric mean_last_20_cost
ABOVE_FIRST = 10  # the highest cost drawn, in first costs: a run that diverges would flatten all others
FETCHERS = 8  # runs whose files are fetched at a time: a tracking server answers several
LARGEST = float(np.finfo(np.float64).max)  # what a database keeps for an infinite metric
LAST_STEP = 10**9  # that a run can have
DRAWN = tuple(map(float, (np.finfo(np.float32).smallest_subnormal, np.finfo(np.float32).max)))  # costs are float32
COSTS = 10**8  # steps of which a curve is fetched; more would not fit into memory as curves beside each other
PICTURE_BYTES = 2**23
FITS = 48  # runs, the first ones, of which the picture of the fit is fetched: nobody looks at hundreds
LONGEST_VALUE = 10_000  # characters of a setting: as many as a store keeps, since runs may differ in the last
UNREADABLE = "UNREADABLE"  # the status of a run whose row in the store makes no sense
ABSENT = "-"  # a value that a run does not have
NO_CONFIG = ""  # a setting's value where a run has no config at all
FOLDED = 30  # parents whose children one query leaves out; SQLite joins 64 tables at most
LONGEST_LABEL = 60  # characters of what tells a run from others
LONGEST_IN_LABEL = 40  # characters of a setting
KINDS = {f"{group}.{field.discriminator}" for group, field in Config.model_fields.items() if field.discriminator}
# The metrics by which one run can be better than another.
JUDGED = {*metrics.COSTS, metrics.VALIDATION, *map(metrics.evaluated, (*metrics.EVALUATION, "rollout_mse"))}


@dataclass(frozen=True)
class Choice:
    """Which runs are meant: those of `runs` (as `lookup.find_run` takes them), or what else is said of them.

    Of all runs of the experiment that pass MLflow's filter, and are trials of the study with that name or id, the
    `last` ones (None: all), or with `best` so many of each data set, the best ones first. Where nothing is said of
    them a study stands for its trials, and a group for its runs. `trained`: in place of parents, which stand for runs,
    those runs are meant.
    """

    runs: Sequence[str] = ()
    experiment: str | None = None
    study: str | None = None
    filter: str = ""
    last: int | None = 20
    best: int | None = None
    trained: bool = False


@dataclass(frozen=True)
class Facts:
    """What the store's tables have of a run, as plain values; text from the store is printable, and no more.

    A run that stands for others, a study's own or a group's, is a parent: `trials` tells of those.
    """

    run_id: str
    name: str
    experiment: str = ""
    status: str = ""
    reason: str = ""
    started: datetime | None = None  # None for a time outside the calendar
    seconds: float | None = None  # None while it runs
    params: Mapping[str, str] = field(
        default_factory=dict
    )  # the config, as a resumed run changed it; {} for a study's own run
    metrics: Mapping[str, float] = field(default_factory=dict)
    commit: str = ""
    data: str = ""  # the data set: only runs of the same are ranked; '' for a study's own run
    part: str = ""  # of a sweep or a reproduction; '' for a run on its own
    trials: str = ""  # of a parent: how many are in which state
    studied: str = ""  # and of a study, the names of its data sets
    seeds: str = ""  # of a group: which
    members: Mapping[int, str] = field(default_factory=dict)  # and the ids of its runs by seed, as far as they are done
    verdict: str = ""
    reproduces: bool = False  # whether it repeats another run
    bits: str = ""  # cost.sha256: equal for runs whose every cost is
    run: "Run | None" = field(default=None, repr=False, compare=False)  # whose files are asked for


@dataclass(frozen=True)
class Curve:
    """The cost at each of `steps`, both [points]. A run that still trains has only the points of its metric.

    Steps are numbers from 0 to LAST_STEP, each there once and in their order.
    """

    steps: np.ndarray
    costs: np.ndarray

    def finite(self) -> "Curve":
        """Its points that can stand on a log scale."""
        shown = (self.costs >= DRAWN[0]) & (self.costs <= DRAWN[1])
        return Curve(self.steps[shown], self.costs[shown])

    def mean(self) -> "Curve":
        """The mean at each point over the points of the MEAN_STEPS steps that end there."""
        with np.errstate(all="ignore"):  # a metric may be as large as float64 holds
            sums = np.concatenate([[0.0], np.cumsum(self.costs, dtype=np.float64)])
        ends = np.arange(1, len(self.steps) + 1)
        starts = np.searchsorted(self.steps, self.steps - MEAN_STEPS, side="right")
        with np.errstate(all="ignore"):
            return Curve(self.steps, (sums[ends] - sums[starts]) / (ends - starts))


@dataclass(frozen=True)
class Compared:
    """A run with its cost curve and its fitted curve (a PNG), where it has them; and what could not be read."""

    facts: Facts
    curve: Curve | None
    fit: bytes | None
    fault: str


def choose(client: "MlflowClient", choice: Choice) -> list[Facts]:
    """The runs that are meant, in a few queries however many they are; ConfigError names what cannot be found."""
    from mlflow.exceptions import MlflowException

    experiments = lookup.experiments_of(client)
    ids = list(experiments)
    if choice.experiment is not None:
        ids = [key for key, name in experiments.items() if name == choice.experiment]
        if not ids:
            near = near_name(choice.experiment, experiments.values())
            raise ConfigError(f"experiment={choice.experiment}: there is no such experiment{near}")
    if choice.runs:
        found = members_instead(client, list(experiments), lookup.find_runs(client, "runs", choice.runs))
    else:
        try:
            found = (trained if choice.trained else search)(client, experiments, ids, choice)
        except MlflowException as error:
            raise ConfigError(
                f"filter={choice.filter}: {store.first_line(error)}; a filter is written as in MLflow's page, such as "
                "\"params.model.cell = 'gru' AND metrics.final_cost < 0.1\""
            ) from None
    facts = [facts_of(run, experiments.get(run.info.experiment_id, "")) for run in found]
    if choice.best:
        facts = best_runs([one for one in facts if choice.study or not one.seeds], choice.best)
    return with_states(client, list(experiments), facts)


def search(client: "MlflowClient", anywhere: Collection[str], experiments: list[str], choice: Choice) -> "list[Run]":
    """The runs of these experiments that are meant, the latest first: the last, or some with the best among them."""
    condition = choice.filter
    if choice.study is not None:
        page, _ = study_page(client, choice.study)
        condition = both(f"tags.`{PARENT}` = '{page}'", condition)
    if choice.best:
        leaves = "" if choice.study is not None else "tags.seeds IS NULL"  # a group's own runs are ranked in its place
        return ranked.candidates(client, experiments, both(condition, leaves), choice.best)
    if choice.last is None:
        return list(lookup.pages(client.search_runs, experiments, condition))
    if condition:
        return client.search_runs(experiments, condition, max_results=choice.last)
    return folded(client, list(anywhere), experiments, choice.last)


def trained(client: "MlflowClient", anywhere: Collection[str], experiments: list[str], choice: Choice) -> "list[Run]":
    """The runs of these experiments that are meant and were trained, the latest first; of a study, every seed's."""
    found = every_run_of(client, list(anywhere), experiments, choice)
    leaves = [run for run in found if not is_parent(tags_of(run))]
    return leaves if choice.best else leaves[: choice.last]


def every_run_of(client: "MlflowClient", anywhere: list[str], experiments: list[str], choice: Choice) -> "list[Run]":
    """The runs of these experiments that pass the filter, and of a study its trials with the runs of their seeds."""
    if choice.study is None:
        return list(lookup.pages(client.search_runs, experiments, choice.filter))
    page, name = study_page(client, choice.study)
    trials = f"tags.`{PARENT}` = '{page}'"
    groups = list(lookup.pages(client.search_runs, anywhere, f"{trials} AND tags.seeds IS NOT NULL"))
    if not groups:
        return list(lookup.pages(client.search_runs, experiments, both(trials, choice.filter)))
    quote = '"' if "'" in name else "'"
    named = f"tags.study {'IS NOT NULL' if quote in name else f'= {quote}{name}{quote}'}"
    parents = {page, *(group.info.run_id for group in groups)}
    of_study = lookup.pages(client.search_runs, experiments, both(named, choice.filter))
    found = {run.info.run_id: run for run in of_study if parent_of(run) in parents}
    others = {run_id for group in groups for run_id in lookup.members_of(tags_of(group)).values()} - found.keys()
    found |= by_id(client, experiments, others, choice.filter)
    return sorted(found.values(), key=lambda run: run.info.start_time or 0, reverse=True)


def study_page(client: "MlflowClient", study: str) -> tuple[str, str]:
    """The id of the page of the study with that name or id, and the name; ConfigError if there is none."""
    pages = lookup.every_run(client, "tags.sweep = 'parent'")
    names = {page.info.run_id: page.data.tags.get("study", "") for page in pages}
    for run_id, name in names.items():
        if study in (name, run_id, run_id[:8]):
            return run_id, name
    near = near_name(study, names.values()) if names else ""
    raise ConfigError(f"study={study}: there is no such study{near}")


def by_id(
    client: "MlflowClient", experiments: list[str], ids: Collection[str], condition: str = ""
) -> "dict[str, Run]":
    """The runs with these ids, as far as they are in these experiments and pass the filter, in one query."""
    if not ids:
        return {}
    known = "attributes.run_id IN ({})".format(", ".join(f"'{run_id}'" for run_id in sorted(ids)))
    found = lookup.pages(client.search_runs, experiments, both(known, condition))
    return {run.info.run_id: run for run in found}


def members_instead(client: "MlflowClient", experiments: list[str], found: "list[Run]") -> "list[Run]":
    """The runs, each once, and in place of a group its own; ConfigError if it has none yet."""
    members = {run.info.run_id: lookup.members_of(tags_of(run)) for run in found if is_group(tags_of(run))}
    known = by_id(client, experiments, {run_id for one in members.values() for run_id in one.values()})
    runs: dict[str, Run] = {}
    for run in found:
        inside = [known[run_id] for run_id in members.get(run.info.run_id, {}).values() if run_id in known]
        if run.info.run_id in members and not inside:
            raise ConfigError(f"runs={run.info.run_id}: that group has no run that is done")
        runs |= {one.info.run_id: one for one in inside or [run]}
    return list(runs.values())


def with_states(client: "MlflowClient", experiments: list[str], chosen: Sequence[Facts]) -> list[Facts]:
    """The same, where groups tell how many of their runs are in which state."""
    known = by_id(client, experiments, {run_id for facts in chosen for run_id in facts.members.values()})

    def told(facts: Facts) -> Facts:
        states = Counter(status_of(known[run_id]) for run_id in facts.members.values() if run_id in known)
        words = ", ".join(f"{count} {printable(state)}" for state, count in sorted(states.items(), reverse=True))
        return replace(facts, trials=words) if states else facts

    return [told(facts) for facts in chosen]


def near_name(name: str, names: Iterable[str]) -> str:
    """The end of a message: the nearest of the names or, without one, them all."""
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; allowed: {', '.join(sorted(names))}"


def folded(client: "MlflowClient", anywhere: list[str], experiments: list[str], last: int) -> "list[Run]":
    """The last runs without those that a study or a group in the store stands for, in three queries or a few more.

    Of runs that belong to others only the last are asked for, too; where these turn out to be of a parent that is older
    than every row, it is left out of the next query.
    """
    rows = client.search_runs(experiments, f"tags.`{PARENT}` IS NULL", max_results=last)
    since = f"attributes.start_time >= {max(0, rows[-1].info.start_time or 0)}" if len(rows) == last else ""
    parents = {run.info.run_id for run in rows if is_parent(run.data.tags) and reading.is_run_id(run.info.run_id)}
    left_out = [run.info.run_id for run in rows if run.info.run_id in parents]
    while True:
        apart = (f"tags.`{PARENT}` != '{parent}'" for parent in left_out[:FOLDED])
        condition = both(f"tags.`{PARENT}` IS NOT NULL", *apart, since)
        if is_full := len(left_out) >= FOLDED:
            children = list(lookup.pages(client.search_runs, experiments, condition))
        else:
            children = list(client.search_runs(experiments, condition, max_results=last))
        present = by_id(client, anywhere, {*filter(reading.is_run_id, map(parent_of, children))} - parents)
        older = [run_id for run_id, run in present.items() if is_parent(run.data.tags)]
        parents.update(older)
        if is_full or not older or len(children) < last:
            break
        left_out = [*older, *left_out]
    alone = [run for run in children if parent_of(run) not in parents]
    return sorted([*rows, *alone], key=lambda run: run.info.start_time or 0, reverse=True)[:last]


def is_parent(tags: Mapping[str, str]) -> bool:
    """Whether a run with these tags stands for others."""
    return is_study(tags) or is_group(tags)


def parent_of(run: "Run") -> str:
    """The id of the run that this one belongs to, as its tag has it."""
    return run.data.tags.get(PARENT, "")


def best_runs(chosen: Sequence[Facts], count: int) -> list[Facts]:
    """At most `count` runs of each data set, the best first. Errors on different data say nothing of each other."""
    best = []
    for data in sorted({facts.data for facts in chosen if facts.data}):
        runs = [facts for facts in chosen if facts.data == data]
        key = ranking(runs)
        best += sorted(runs, key=lambda facts: rank(facts.metrics.get(key, math.nan)))[:count]
    return best


def rank(error: float) -> float:
    """An error to sort by: what is no number comes last."""
    return math.inf if math.isnan(error) else error


def ranking(chosen: Sequence[Facts]) -> str:
    """The metric by which runs of one data set are ranked."""
    return metrics.ranked_by({key: value for facts in chosen for key, value in facts.metrics.items()})


def facts_of(run: "Run", experiment: str) -> Facts:
    """What a run's row in the store says; one that makes no sense is called so, and takes no other run's place."""
    try:
        return facts_in(reading.sound(run), experiment)
    except Exception as error:  # anybody can write to a shared store, and what else may be wrong nobody knows
        ident, reason = printable(str(run.info.run_id), 32), printable(store.first_line(error))
        return Facts(ident, reading.name_of(run), status=UNREADABLE, reason=reason)


def facts_in(run: "Run", experiment: str) -> Facts:
    """The same of a run whose id is one."""
    info, params, tags = run.info, dict(run.data.params), tags_of(run)
    found = {metrics.today(key): value for key, value in run.data.metrics.items()}
    params |= {key.removeprefix("changed."): value for key, value in tags.items() if key.startswith("changed.")}
    if is_study(tags):
        if "best_value" in found:
            found[metrics.today(params.get("objective", "best_value"))] = found["best_value"]
        params = {}  # the search space, which is no config
    elif params:
        params = {key: str(value) for key, value in NEWER.items() if key.startswith("training.")} | params
        as_once = {key for key, value in params.items() if str(NEWER.get(key, ...)) == value}
        params = {key: v for key, v in params.items() if key not in as_once or not key.startswith(("data.", "model."))}
    commit = tags.get("mlflow.source.git.commit", "")[:7]
    return Facts(
        run_id=info.run_id,
        name=reading.name_of(run),
        experiment=printable(experiment),
        status=status_of(run),
        reason=printable(tags.get("reason", "")),
        started=moment(info.start_time),
        seconds=seconds_between(info.start_time, info.end_time),
        params={printable(key): printable(value, LONGEST_VALUE) for key, value in params.items()},
        metrics={printable(key): infinite(value) for key, value in found.items()},
        commit=printable(commit + ("*" if commit and tags.get("git.dirty") == "true" else "")),
        data=printable(metrics.data_set(params, tags.get("data.file.sha256")), LONGEST_VALUE) if params else "",
        part=printable(part_of(tags)),
        trials=printable(trials_in(tags)),
        studied=printable(run.data.params.get("data", "")) if is_study(tags) else "",
        seeds=printable(tags.get("seeds", "")),
        members=lookup.members_of(tags) if is_group(tags) else {},
        verdict=printable(tags.get("verdict", "")),
        reproduces="reproduces" in tags,
        bits=printable(tags.get("cost.sha256", "")),
        run=run,
    )


def trials_in(tags: Mapping[str, str]) -> str:
    """How many of a parent's runs are in which state, as far as its tags tell; '' of any other run."""
    if is_study(tags):
        return tags.get("trials", "no trial yet")
    return f"{len(lookup.members_of(tags))} done" if is_group(tags) else ""


def moment(milliseconds: int | None) -> datetime | None:
    """When that was, since 1970; None outside the calendar."""
    try:
        return datetime.fromtimestamp((milliseconds or 0) / 1000)
    except (ValueError, OverflowError, OSError):
        return None


def seconds_between(start: int | None, end: int | None) -> float | None:
    """The time between the two, in milliseconds since 1970; None if there was none."""
    return (end - start) / 1000 if start and end and moment(start) and moment(end) and end >= start else None


def status_of(run: "Run") -> str:
    """MLflow's status, where the run's tags and its process do not know better."""
    if run.data.tags.get("trial.state") == "PRUNED":
        return "PRUNED"
    if run.info.status == "RUNNING":
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):  # a tag that another program wrote
            if processes.is_cut_short(run):
                return "CUT SHORT"
    return run.info.status


def part_of(tags: Mapping[str, str]) -> str:
    """What the run belongs to, in words."""
    if "trial" in tags:
        return f"trial {tags['trial']} of {tags.get('study', '?')}"
    if "reproduces" in tags:
        return f"reproduces {tags['reproduces'][:8]}"
    return f"seeds of {tags['group']}" if "group" in tags else ""


def infinite(value: float) -> float:
    """A metric as it was logged: a database keeps infinity as the largest number it can."""
    return float(np.sign(value) * np.inf) if abs(value) == LARGEST else value


def fetch(client: "MlflowClient", chosen: Sequence[Facts], advance: Callable[[], None]) -> list[Compared]:
    """Gets the cost curve of each run, and the fitted curve of the first FITS; calls `advance` after each."""

    def fetch_one(place: int, facts: Facts) -> Compared:
        compared = fetch_files(client, facts, with_fit=place < FITS)
        advance()
        return compared

    with ThreadPoolExecutor(FETCHERS) as pool:
        return list(pool.map(fetch_one, range(len(chosen)), chosen))


def fetch_files(client: "MlflowClient", facts: Facts, with_fit: bool = True) -> Compared:
    """Gets a run's curve and, if it is wanted, the picture of its fit.

    The curve is in cost.npy; while there is none, in the run's checkpoint on this machine; and else in its metric,
    which can take a minute to read.
    """
    if facts.status == UNREADABLE:
        return Compared(facts, None, None, facts.reason)
    faults = []

    def attempt(get: Callable[[], Any]) -> Any:
        try:
            return get()
        except Exception as error:  # whatever MLflow, the network or the disk raises
            faults.append(printable(store.first_line(error)))

    run = facts.run
    costs = attempt(lambda: lookup.costs_of(client, run, COSTS)) if run else None
    if costs is None:
        costs = resume.costs_in_checkpoint(facts.run_id)
    fit = None
    if run and with_fit:
        fit = attempt(lambda: lookup.artifact(client, run, "figures/fitted_curve.png", PICTURE_BYTES, at_once=True))
    curve = Curve(np.arange(len(costs)), costs.astype(np.float64)) if costs is not None else None
    if curve is None and "cost" in facts.metrics:
        curve = attempt(lambda: curve_of(lookup.history_of(client, facts.run_id, "cost")))
    return Compared(facts, curve if curve and len(curve.costs) else None, fit, "; ".join(faults))


def curve_of(history: "Iterable[Metric]") -> Curve:
    """The curve of a metric, the last value of each step; what is of no step of a run is left out."""
    points = {point.step: infinite(point.value) for point in history if 0 <= point.step <= LAST_STEP}
    return Curve(np.array(sorted(points), np.int64), np.array([points[step] for step in sorted(points)], np.float64))


def without_fit(compared: Sequence[Compared]) -> list[int]:
    """Which runs (counted from 0) have no picture of their fit, of those whose picture was asked for."""
    return [i for i, run in enumerate(compared[:FITS]) if run.fit is None]


def highest_drawn(curves: Sequence[Curve | None]) -> float:
    """The highest cost to be drawn where these curves are drawn together."""
    firsts = [float(curve.finite().costs[0]) for curve in curves if curve and len(curve.finite().costs)]
    return ABOVE_FIRST * max(firsts, default=1.0)


def differing(chosen: Sequence[Facts]) -> dict[str, list[str]]:
    """The config keys of what is trained in which the runs differ, each with the value of every run."""
    found = {key: values for key, values in settings(chosen).items() if not only_watches(key)}
    return {key: short(values) for key, values in found.items() if len(set(values) - {NO_CONFIG}) > 1}


def only_watches(key: str) -> bool:
    """Whether the setting changes nothing of what is trained."""
    return key in WATCHED or key.partition(".")[0] in WATCHING


def labels(chosen: Sequence[Facts]) -> list[str]:
    """What tells each run from the others, as in 'gru, time_steps=40'.

    Its name where nothing does, or where that would be too long to read and no other run has the name.
    What most of the runs have is left unsaid, and so is what only one kind of a group can have.
    """
    named = [
        replace(facts, params=facts.params and {**facts.params, "data.curve": data_name(facts)}) for facts in chosen
    ]
    parts: list[list[str]] = [[] for _ in chosen]
    for key, values in sorted(differing(named).items(), key=lambda item: item[0] not in KINDS):
        counts = Counter(value for value in values if value not in (ABSENT, NO_CONFIG))
        if key == "data.path" or len(counts) == 1:
            continue
        start = "" if key in KINDS else f"{naming.short_key(key)}="
        for said, value in zip(parts, values, strict=True):
            if 0 < counts[value] <= len(chosen) / 2:
                said.append(start + printable(value, LONGEST_IN_LABEL))
    names = Counter(facts.name for facts in chosen)

    def shown(facts: Facts, text: str) -> str:
        too_long = len(text) > LONGEST_LABEL and names[facts.name] == 1
        return facts.name if too_long or not text else text

    return [shown(facts, ", ".join(said)) for facts, said in zip(chosen, parts, strict=True)]


def data_name(facts: Facts) -> str:
    """The data set without its digest; of a study's own run, those of its trials."""
    return facts.data.rpartition(" ")[0] or facts.studied


def shared(chosen: Sequence[Facts]) -> dict[str, str]:
    """The config keys that have one value in all runs."""
    values = {key: set(values) - {NO_CONFIG} for key, values in settings(chosen).items()}
    return {key: one.pop() for key, one in values.items() if len(one) == 1}


def settings(chosen: Sequence[Facts]) -> dict[str, list[str]]:
    """Every config key with the value of each run, the groups in the order of the config."""
    groups = list(Config.model_fields)

    def place(key: str) -> tuple[int, str]:
        group = key.partition(".")[0]
        return (groups.index(group) if group in groups else len(groups), key)

    keys = sorted({key for facts in chosen for key in facts.params}, key=place)
    return {key: [facts.params.get(key, ABSENT if facts.params else NO_CONFIG) for facts in chosen] for key in keys}


def short(values: Sequence[str]) -> list[str]:
    """The values with long fractions cut to six digits, unless that makes two the same."""
    cut = [
        f"{float(value):.6g}" if re.fullmatch(r"-?[0-9]+\.[0-9]{7,}(e-?[0-9]+)?", value) else value for value in values
    ]
    return cut if len(set(cut)) == len(set(values)) else list(values)


def results(compared: Sequence[Compared]) -> dict[str, list[str]]:
    """How each run went: its steps and its final metrics, the baselines last."""
    keys = dict.fromkeys(["final_cost", "mean_last_20_cost"])
    logged = {key for run in compared for key in run.facts.metrics}
    keys |= dict.fromkeys(sorted(logged, key=lambda key: (key.startswith("baselines/"), key)))
    if all("final_cost" in run.facts.metrics for run in compared):
        keys.pop("cost", None)  # the metric's last point: it tells more only of runs that are not over
    keys.pop("log10_mean_last_20_cost", None)  # for MLflow's charts: here the mean has four digits
    rows = {key: [number(run.facts.metrics.get(key)) for run in compared] for key in keys}
    found = {key: values for key, values in rows.items() if set(values) != {ABSENT}}
    return {"steps": [steps_of(run) for run in compared], **found}


def origins(chosen: Sequence[Facts]) -> dict[str, list[str]]:
    """Where each run comes from: what it is part of, level, commit, time, and the digest of its costs."""
    return {
        "part of": [facts.part or standing(facts) or ABSENT for facts in chosen],
        "experiment": [facts.experiment for facts in chosen],
        "level": [facts.params.get("training.level", ABSENT) for facts in chosen],
        "commit": [facts.commit or ABSENT for facts in chosen],
        "started": [when(facts.started, "%Y-%m-%d %H:%M") for facts in chosen],
        "took": [duration(facts.seconds) for facts in chosen],
        "cost.sha256": [facts.bits[:8] or ABSENT for facts in chosen],
    }


def standing(facts: Facts) -> str:
    """What a parent stands for, in words; '' for any other run."""
    kind = f"seeds {facts.seeds}" if facts.seeds else "study"
    return f"{kind}: {facts.trials}" if facts.trials else ""


def best_in(results: Mapping[str, Sequence[str]], chosen: Sequence[Facts]) -> dict[str, set[int]]:
    """Which runs (counted from 0) are the best by each metric.

    None is where the runs differ in their data, in the window that a cost is a sum over, or in the samples that they
    were evaluated on. Baselines tell of the data, and speed of the machine.
    """

    def differ(*keys: str) -> bool:
        return len({tuple(facts.params.get(key) for key in keys) for facts in chosen if facts.params}) > 1

    if len({facts.data for facts in chosen if facts.data}) > 1:
        return {}
    judged = JUDGED - (set(metrics.COSTS) if differ("data.time_steps") or differ("training.cost") else set())
    if differ("data.time_steps", "evaluation.windows"):
        judged &= {*metrics.COSTS, metrics.VALIDATION}
    return {key: best_of(key, values) for key, values in results.items() if key in judged}


def best_of(key: str, values: Iterable[str]) -> set[int]:
    """Which of a metric's values are the best, if they are not all the same."""
    sign = -1 if key in metrics.HIGH_IS_GOOD else 1
    errors = {i: rank(sign * float(value)) for i, value in enumerate(values) if value != ABSENT}
    return {i for i, error in errors.items() if error == min(errors.values()) < max(errors.values())}


def steps_of(run: Compared) -> str:
    """The steps done, and how many there were to do if those are more."""
    done = int(run.curve.steps[-1]) + 1 if run.curve else 0
    planned = run.facts.params.get("training.steps", "")
    known = re.fullmatch("[0-9]{1,10}", planned) and int(planned) != done
    return f"{done:,} of {int(planned):,}" if known else f"{done:,}"


def number(value: float | None) -> str:
    """Four digits of it."""
    return ABSENT if value is None else f"{value:.4g}"


def when(moment: datetime | None, form: str) -> str:
    """The moment in that form."""
    return ABSENT if moment is None else moment.strftime(form)


def duration(seconds: float | None) -> str:
    """Seconds as one reads them: 8.5 s, 3 min 20 s, 2 h 5 min."""
    if seconds is None:
        return ABSENT
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def numbers(runs: Sequence[int]) -> str:
    """Runs, counted from 0 and in order, as they are numbered for the reader: '1, 3-5'."""
    starts = [i for i in runs if i - 1 not in runs]
    ends = [i for i in runs if i + 1 not in runs]
    return ", ".join(f"{a + 1}-{b + 1}" if b > a else f"{a + 1}" for a, b in zip(starts, ends, strict=True))


def same_bits(chosen: Sequence[Facts]) -> list[list[int]]:
    """Which runs (counted from 0) share the cost of every step, bit by bit; groups of two or more."""
    groups: dict[str, list[int]] = {}
    for i, facts in enumerate(chosen):
        if facts.bits:
            groups.setdefault(facts.bits, []).append(i)
    return [group for group in groups.values() if len(group) > 1]
