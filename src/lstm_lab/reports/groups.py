"""Runs in groups: which of them count, a row for each combination of some settings' values, rows compared by seed.

Runs are alike if they differ in nothing that decides what they give. A row has the runs with the same values of the
keys that were asked for, on one data set: figures on different data say nothing of each other.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lstm_lab import config
from lstm_lab.config import NEWER, ConfigError
from lstm_lab.reports import comparison, tables
from lstm_lab.reports.comparison import ABSENT, KINDS, Facts
from lstm_lab.runs import metrics, naming
from lstm_lab.runs.recipe import SEED
from lstm_lab.science.statistics import Estimate, Paired, median, paired

FEWEST = 6  # seeds of which an interval of 95 % can be told
SHOWN = 5  # of several things that a line names
REFERENCE = "reference"  # the ratio of the row that the others are compared with
DATA_SET = "data set"
EVALUATED = ("evaluation", "backtest", "baselines")  # metrics that settings of the evaluation decide, too
Key = tuple[Any, ...]  # a seed, and the values of what else runs of a row differ in


@dataclass(frozen=True)
class Question:
    """Which rows are wanted, by the keys of the config; of which metric; compared with which row, by its values."""

    by: Sequence[str]
    metric: str | None = None  # None: the one by which runs on that data are ranked
    against: Sequence[str] = ()  # none: the first row of each data set


@dataclass(frozen=True)
class Row:
    """The runs that have these values of the keys, on one data set, and what they say together."""

    data: str
    values: tuple[str, ...]
    metric: str
    runs: Sequence[Facts]  # by seed
    results: Mapping[Key, float]  # of the metric; infinite of runs that diverged
    estimate: Estimate
    chosen: bool = False  # whether the others on this data are compared with it
    compared: Paired | None = None  # with the chosen one

    @property
    def seeds(self) -> list[int]:
        """The seeds that it has."""
        return sorted({key[0] for key in self.results})

    @property
    def failed(self) -> int:
        """How many of its runs diverged."""
        return sum(run.status == "FAILED" for run in self.runs)


@dataclass(frozen=True)
class Groups:
    """The rows, in the order of their values, with a name for each, and what has to be said of them."""

    by: Sequence[str]
    rows: Sequence[Row]
    names: Sequence[str]
    data: Mapping[str, str]  # what each data set is called
    notes: Sequence[str]


def answer(chosen: Sequence[Facts], question: Question) -> Groups:
    """The rows of these runs; ConfigError for keys and values that none of them has."""
    leaves = [facts for facts in chosen if not facts.trials]
    check_keys(question.by, leaves)
    over, notes = those_over(leaves)
    check_metric(question.metric, over)
    by_data: dict[str, list[Facts]] = {}
    for facts in over:
        by_data.setdefault(facts.data, []).append(facts)
    rows: list[Row] = []
    lacking, between, mixed, repeated = 0, set(), set(), []
    for runs in by_data.values():
        metric = question.metric or comparison.ranking(runs)
        having = [facts for facts in runs if facts.status == "FAILED" or metric in facts.metrics]
        lacking += len(runs) - len(having)
        counted, again = each_once(having, metric)
        repeated += again
        of_data, *keys = rows_of(counted, question.by, metric)
        rows += of_data
        between.update(keys[0])
        mixed.update(keys[1])
    notes += [f"left out: {count(lacking, 'run')} without the metric"] if lacking else []
    notes += repetitions(repeated)
    if not rows:
        raise ConfigError("; ".join(["no run is there that counts", *notes]))
    rows = in_order(compared(rows, question))
    data = names_of(rows)
    names = names_of_rows(rows, question.by, data)
    notes += differences(sorted(between), sorted(mixed))
    return Groups(question.by, rows, names, data, list(dict.fromkeys([*notes, *doubts(rows, names)])))


def differences(between: Sequence[str], mixed: Sequence[str]) -> list[str]:
    """Lines that tell in what else rows, and the runs of one row, differ."""
    notes = [f"the rows also differ in {some(between)}"] if between else []
    if mixed:
        notes.append(
            f"the runs of a row also differ in {some(mixed)}: pairs are alike in that; runs of one seed are not "
            "independent, so that intervals and p promise more than they hold"
        )
    return notes


def check_keys(keys: Sequence[str], runs: Sequence[Facts]) -> None:
    """Raises ConfigError for a key that is none, naming the right one, or that none of the runs has."""
    known = config.all_keys()
    found = {key for facts in runs for key in facts.params}
    for key in keys:
        if not key:
            raise ConfigError(f"by={','.join(keys)}: a key is missing beside a comma")
        if key == SEED:
            raise ConfigError(f"by={key}: rows are over seeds")
        if key in known | found:
            if runs and not any(setting(facts, key) != ABSENT for facts in runs):
                raise ConfigError(f"by={key}: none of the {count(len(runs), 'run')} has that setting")
            continue
        group = key if key in config.Config.model_fields else (config.meant(key) or key).partition(" ")[0]
        kind = next((one for one in sorted(KINDS) if one.startswith(f"{group}.")), None)
        right = f"; did you mean '{kind or group}'?" if kind or group in known else config.suggest(key, known)
        raise ConfigError(f"by={key}: there is no such setting{right}")
    if len(set(keys)) < len(keys):
        raise ConfigError(f"by={','.join(keys)}: a key is given twice")


def check_metric(metric: str | None, runs: Sequence[Facts]) -> None:
    """Raises ConfigError for a metric that none of the runs has, naming the nearest that one has."""
    logged = {key for facts in runs for key in facts.metrics}
    if metric is not None and runs and metric not in logged:
        raise ConfigError(f"metric={metric}: none of the runs has it{comparison.near_name(metric, logged)}")


def those_over(runs: Sequence[Facts]) -> tuple[list[Facts], list[str]]:
    """The runs that are over by themselves, and a line that tells of the others."""
    reasons = {facts.run_id: left_out(facts) for facts in runs}
    counts = Counter(filter(None, reasons.values()))
    said = ", ".join(f"{number} {reason}" for reason, number in sorted(counts.items()))
    return [facts for facts in runs if not reasons[facts.run_id]], [f"left out: {said}"] if said else []


def left_out(facts: Facts) -> str:
    """Why a run says nothing of its recipe; '' if it does."""
    if facts.reproduces:
        return "reproducing another"
    if facts.status not in ("FINISHED", "FAILED"):
        return facts.status
    if facts.status == "FAILED" and not facts.reason:
        return "FAILED without a reason"
    return "" if re.fullmatch("[0-9]{1,10}", facts.params.get(SEED, "")) else "without a seed"


def each_once(runs: Sequence[Facts], metric: str) -> tuple[list[Facts], list[list[Facts]]]:
    """The newest of runs that are alike, by seed; and those that are, the newest first, where there are several."""
    alike: dict[Any, list[Facts]] = {}
    for facts in sorted(runs, key=started, reverse=True):
        alike.setdefault(tuple(sorted(decisive(facts, metric).items())), []).append(facts)
    newest = sorted((others[0] for others in alike.values()), key=lambda facts: int(facts.params[SEED]))
    return newest, [others for others in alike.values() if len(others) > 1]


def repetitions(alike: Sequence[Sequence[Facts]]) -> list[str]:
    """Lines that tell of runs that are alike, the newest of each first."""
    notes = []
    if alike:
        left = sum(len(runs) - 1 for runs in alike)
        notes = [f"of runs that are alike one counts: {count(left, 'run')} left out"]
    if differing := [runs[0].run_id[:8] for runs in alike if len({run.bits or repr(run.metrics) for run in runs}) > 1]:
        notes += [f"the costs of some that are alike differ, of which the newest counts: {some(differing)}"]
    return notes


def started(facts: Facts) -> float:
    """When the run began, to sort by."""
    return facts.started.timestamp() if facts.started else -math.inf


def decisive(facts: Facts, metric: str) -> dict[str, str]:
    """The settings that decide a metric of the run; its file is known by its digest, as part of the data set."""
    evaluated = metric.partition("/")[0] in EVALUATED
    once = {key: str(value) for key, value in NEWER.items() if key.startswith("evaluation.") and facts.params}
    return {
        key: value
        for key, value in (once | dict(facts.params)).items()
        if key != "data.path" and (not comparison.only_watches(key) or (evaluated and key.startswith("evaluation.")))
    }


def rows_of(runs: Sequence[Facts], keys: Sequence[str], metric: str) -> tuple[list[Row], list[str], list[str]]:
    """The rows of runs on one data set, the keys in which these also differ, and those in which a row's runs do."""
    settings = {facts.run_id: decisive(facts, metric) for facts in runs}
    grouped = split(runs, *keys)
    others = sorted({key for one in settings.values() for key in one} - {SEED, *keys})

    def values(key: str, some_runs: Iterable[Facts]) -> set[str]:
        return {settings[facts.run_id].get(key, ABSENT) for facts in some_runs}

    mixed = [key for key in others if any(len(values(key, of_row)) > 1 for of_row in grouped.values())]
    between = [key for key in others if key not in mixed and len(values(key, runs) - {ABSENT}) > 1]
    rows = []
    for row, of_row in grouped.items():
        found = results(of_row, metric, mixed)
        rows.append(Row(of_row[0].data, row, metric, of_row, found, estimate(found)))
    return rows, between, [key for key in mixed if len(values(key, runs) - {ABSENT}) > 1] or mixed


def split(runs: Iterable[Facts], *keys: str) -> dict[tuple[str, ...], list[Facts]]:
    """The runs by their values of these keys, in the order of the values."""
    found: dict[tuple[str, ...], list[Facts]] = {}
    for facts in runs:
        found.setdefault(tuple(setting(facts, key) for key in keys), []).append(facts)
    return dict(sorted(found.items(), key=lambda item: order(item[0])))


def setting(facts: Facts, key: str) -> str:
    """The run's value of a key, as it was trained where the run is older than the setting."""
    once = str(NEWER[key]) if key in NEWER and config.has(facts.params, key) else ABSENT
    return facts.params.get(key, once)


def order(values: Iterable[str]) -> list[tuple[bool, float, str]]:
    """Values to sort by, numbers as numbers and before all others."""
    return [(False, number, "") if (number := as_number(value)) is not None else (True, 0, value) for value in values]


def as_number(value: str) -> float | None:
    """The number that a value is, if it is one."""
    plain = re.fullmatch(r"-?[0-9]{1,20}(\.[0-9]{0,20})?(e[+-]?[0-9]{1,3})?", value)
    return float(value) if plain else None


def results(runs: Iterable[Facts], metric: str, also: Sequence[str] = ()) -> dict[Key, float]:
    """The metric of each run, by its seed and its values of the keys that are named also."""
    return {(int(run.params[SEED]), *(run.params.get(key, ABSENT) for key in also)): value(run, metric) for run in runs}


def value(facts: Facts, metric: str) -> float:
    """A run's metric; the worst there is if it diverged."""
    worst = -math.inf if metric in metrics.HIGH_IS_GOOD else math.inf
    found = facts.metrics.get(metric, math.nan) if facts.status == "FINISHED" else math.nan
    return worst if math.isnan(found) else found


def estimate(found: Mapping[Key, float]) -> Estimate:
    """The median, with its interval if there are enough seeds for one."""
    whole = median(found.values())
    return whole if len({key[0] for key in found}) >= FEWEST else replace(whole, low=math.nan, high=math.nan)


def compared(rows: Sequence[Row], question: Question) -> list[Row]:
    """The rows, those of each data set compared with the chosen one of them."""
    found = []
    fitting = [row for row in rows if fits(row.values, question.against)]
    for data in {row.data: None for row in rows}:
        of_data = sorted((row for row in rows if row.data == data), key=lambda row: order(row.values))
        chosen = [row for row in of_data if row in fitting] if question.against else of_data[:1]
        if len(chosen) > 1:
            several = some([",".join(row.values) for row in chosen])
            raise ConfigError(f"against={','.join(question.against)}: several rows are like that ({several})")
        for row in of_data:
            if chosen and len(of_data) > 1:
                row = replace(row, chosen=row is chosen[0], compared=None if row is chosen[0] else pair(row, chosen[0]))
            found.append(row)
    if not fitting:
        allowed = some([",".join(row.values) for row in rows])
        raise ConfigError(f"against={','.join(question.against)}: no row is like that; there are {allowed}")
    return found


def fits(values: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether a row has the values that are wanted: all of them in their order, or some; null is the store's None."""

    def plain(value: str) -> Any:
        number = as_number(value)
        word = value.replace(" ", "").casefold()
        return ("none" if word == "null" else word) if number is None else number

    has, wants = [*map(plain, values)], [*map(plain, wanted)]
    return has == wants if len(has) == len(wants) else not Counter(wants) - Counter(has)


def pair(row: Row, chosen: Row) -> Paired | None:
    """A row compared with the chosen one; None where a value below zero has no ratio."""
    if min(*row.results.values(), *chosen.results.values()) < 0:
        return None
    found = paired(row.results, chosen.results)
    seeds = {key[0] for key in row.results.keys() & chosen.results.keys()}
    enough = found.ratio if len(seeds) >= FEWEST else replace(found.ratio, low=math.nan, high=math.nan)
    return replace(found, ratio=enough)


def in_order(rows: Sequence[Row]) -> list[Row]:
    """The rows by their values; of several data sets those of one together, in the order of the first ones' values."""
    firsts = {data: min(order(row.values) for row in rows if row.data == data) for data in {row.data for row in rows}}
    return sorted(rows, key=lambda row: (firsts[row.data], row.data, order(row.values)))


def table(groups: Groups) -> tables.Table:
    """The rows as a table: what they are, how many seeds they have, the median, and what the comparison says."""
    rows, several = groups.rows, len(groups.data) > 1
    named = {DATA_SET: [groups.data[row.data] for row in rows]} if several else {}
    named |= {key: [row.values[i] for row in rows] for i, key in enumerate(groups.by)}
    metric = {row.metric for row in rows}
    named |= {"metric": [row.metric for row in rows]} if len(metric) > 1 else {}
    sources = dict(zip(groups.names, (row.runs for row in rows), strict=True))
    chosen = [name for row, name in zip(rows, groups.names, strict=True) if row.chosen]
    reference = chosen[0] if len(chosen) == 1 else "the reference of its data set"
    caption = f"{' or '.join(sorted(metric))}, the median over seeds"
    caption += f"; ratios to {reference}, paired by seed, p by Wilcoxon's signed-rank test" if chosen else ""
    columns = named | numbers_of(rows) | (comparisons_of(rows) if chosen else {})
    return tables.Table(caption, columns, len(named), exact(groups), sources, groups.notes)


def numbers_of(rows: Sequence[Row]) -> dict[str, list[str]]:
    """The columns of how many seeds the rows have, runs and failures where that says more, and of their medians."""
    columns = {"seeds": [f"{len(row.seeds):,}" for row in rows]}
    columns |= {"runs": [f"{len(row.runs):,}" for row in rows]} if any_mixed(rows) else {}
    columns |= {"failed": [f"{row.failed:,}" for row in rows]} if any(row.failed for row in rows) else {}
    columns["median"] = [tables.number(row.estimate.median) for row in rows]
    return columns | {"95 % interval": [tables.interval(row.estimate) for row in rows]}


def comparisons_of(rows: Sequence[Row]) -> dict[str, list[str]]:
    """The columns of what the rows cost beside the reference; of how many pairs, where these are not all runs."""
    ratios = [tables.text(row.compared.ratio) if row.compared else ABSENT for row in rows]
    columns = {"ratio": [REFERENCE if row.chosen else one for row, one in zip(rows, ratios, strict=True)]}
    if any(row.compared and row.compared.seeds < len(row.results) for row in rows):
        columns["pairs"] = [f"{row.compared.seeds:,}" if row.compared else ABSENT for row in rows]
    return columns | {"p": [tables.chance(row.compared) if row.compared else ABSENT for row in rows]}


def exact(groups: Groups) -> dict[str, list[Any]]:
    """The same with all digits, a number a column, and with the runs of each row."""
    rows, nothing = groups.rows, median([])
    ratios = [row.compared.ratio if row.compared else nothing for row in rows]
    chosen = {row.data: name for row, name in zip(rows, groups.names, strict=True) if row.chosen}
    return {
        DATA_SET: [groups.data[row.data] for row in rows],
        **{key: ["" if row.values[i] == ABSENT else row.values[i] for row in rows] for i, key in enumerate(groups.by)},
        "metric": [row.metric for row in rows],
        "seeds": [len(row.seeds) for row in rows],
        "failed": [row.failed for row in rows],
        **{name: [getattr(row.estimate, name) for row in rows] for name in ("median", "low", "high")},
        "compared with": [chosen.get(row.data, "") if row.compared else "" for row in rows],
        "pairs": [row.compared.seeds if row.compared else "" for row in rows],
        "ratio": [found.median for found in ratios],
        "ratio low": [found.low for found in ratios],
        "ratio high": [found.high for found in ratios],
        "p": [row.compared.p if row.compared else "" for row in rows],
        "seed of each run": [" ".join(map(tables.seed_of, row.runs)) for row in rows],
        "runs": [" ".join(run.run_id for run in row.runs) for row in rows],
        "cost.sha256": [" ".join(map(tables.hash_of, row.runs)) for row in rows],
    }


def any_mixed(rows: Sequence[Row]) -> bool:
    """Whether a row has more than one run of a seed."""
    return any(len(row.runs) > len(row.seeds) for row in rows)


def names_of(rows: Sequence[Row]) -> dict[str, str]:
    """What the rows' data sets are called: their names, with the digests where rows could not be told apart."""
    short = {row.data: row.data.rpartition(" ")[0] for row in rows}
    alike = Counter((short[row.data], row.values) for row in rows)
    digests = {short[row.data] for row in rows if alike[short[row.data], row.values] > 1}
    return {data: data if name in digests else name for data, name in short.items()}


def names_of_rows(rows: Sequence[Row], keys: Sequence[str], data: Mapping[str, str]) -> list[str]:
    """A name for each row, as in 'lstm, delay=4', with that of its data set where this is needed."""
    alike = Counter(row.values for row in rows)
    names = []
    for row in rows:
        pairs = zip(keys, row.values, strict=True)
        named = [found if key in KINDS else f"{naming.short_key(key)}={found}" for key, found in pairs]
        names.append(", ".join([*([data[row.data]] if alike[row.values] > 1 else []), *named]))
    return names


def doubts(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """What a reader of the rows has to know to read them right."""
    notes = []
    if failed := sum(row.failed for row in rows):
        notes.append(f"{count(failed, 'run')} FAILED: the worst value there is, infinite")
    if any(len(row.seeds) < FEWEST for row in rows):
        notes.append(f"an interval takes {FEWEST} seeds")
    named = list(zip(rows, names, strict=True))
    compared_with = {row.data for row in rows if row.chosen}
    if len({row.data for row in rows}) > 1:
        notes.append("nothing is compared across data sets, which say nothing of each other")
    if negative := [name for row, name in named if row.data in compared_with and not row.chosen and not row.compared]:
        notes.append(f"values below zero have no ratio: {some(negative)}")
    if alone := [name for row, name in named if row.compared and not row.compared.seeds]:
        notes.append(f"no run has a pair in the reference: {some(alone)}")
    for data in {row.data: None for row in rows}:
        of_data = [(row.seeds, name) for row, name in named if row.data == data]
        every = {seed for seeds, _ in of_data for seed in seeds}
        lacking: dict[str, list[str]] = {}
        for seeds, name in of_data:
            lacking.setdefault(ranges(sorted(every.difference(seeds))), []).append(name)
        notes += [
            f"without the seeds {which}, which others have: {some(those)}" for which, those in lacking.items() if which
        ]
    return notes


def ranges(seeds: Sequence[int]) -> str:
    """Seeds in their order, as in '1, 3-5'."""
    return comparison.numbers([seed - 1 for seed in seeds])  # which numbers runs from 1 on


def some(things: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    more = len(things) - SHOWN
    return ", ".join(things[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def count(number: int, thing: str) -> str:
    """So many things, in words."""
    return f"{number:,} {thing}{'s' * (number != 1)}"
