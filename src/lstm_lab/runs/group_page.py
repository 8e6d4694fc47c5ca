"""What MLflow shows of a group: a parent run with the median over its seeds, its interval, every seed's curve."""

import csv
import functools
import hashlib
import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from lstm_lab.config import Config, as_params
from lstm_lab.records import lookup, processes, store, tagging, tracking
from lstm_lab.records.tagging import tags_of
from lstm_lab.runs import metrics, naming, recipe, resume, seeds
from lstm_lab.runs.seeds import PARENT
from lstm_lab.runs.telling import recipe_in_words

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from lstm_lab.runs.setup import Part, Setup
    from lstm_lab.science.curves import Source
    from lstm_lab.science.statistics import Estimate

NO_RUN = "no run"
ASIDE = ("steps_per_second", "log10_", "baselines/")  # speed, a logarithm, the data: they say nothing of a recipe


@dataclass(frozen=True)
class Asked:
    """What a group is to be: a recipe, `config`, trained with each of `seeds`.

    With `again` what was trained before counts only if it is the group's own. With `take_over` a group that another
    machine left RUNNING may go on here.
    """

    config: Config
    seeds: range
    again: bool = False
    take_over: bool = False

    @property
    def word(self) -> str:
        """What was typed for it."""
        return f"seeds={len(self.seeds)}"


@dataclass
class GroupPage:
    """A group's parent run, and the runs of its seeds that are over, by seed."""

    client: "MlflowClient"
    asked: Asked
    run: "Run"
    source: "Source"
    done: "dict[int, Run]" = field(default_factory=dict)
    ended: str | None = None  # the status with which it ended

    @property
    def run_id(self) -> str:
        """Of the parent run."""
        return str(self.run.info.run_id)

    @property
    def name(self) -> str:
        """What the group is called."""
        return self.run.info.run_name or naming.NOTHING_TYPED

    @functools.cached_property
    def runs(self) -> "list[Run]":
        """Every run that was there, over or not, and may be one of the group's; its own last, the latest of these."""
        found = seeds.trained(self.client, self.asked.config, self.source.file_sha256, self.asked.seeds)
        return sorted(found, key=self.is_own)

    def is_own(self, run: "Run") -> bool:
        """Whether the run was trained for this group."""
        return run.data.tags.get(PARENT) == self.run_id

    def known(self, needed: Collection[str]) -> "dict[int, Run]":
        """The runs that are over and need not be trained, by seed: the group's own, and others with these metrics."""
        found = {}
        for run in self.runs:
            own = self.is_own(run)
            counts = (own or not self.asked.again) and seeds.is_over(run, () if own else needed)
            if counts and self.has_costs(run):
                found[int(run.data.params[recipe.SEED])] = run
        return found

    def has_costs(self, run: "Run") -> bool:
        """Whether the run has its costs, and the file is sound: anybody may have written to the store."""
        try:
            return lookup.costs_of(self.client, run, self.asked.config.training.steps) is not None
        except lookup.UnsoundFileError:
            return False

    def cut_short(self, made_of: "Setup") -> str | None:
        """The id of the group's own run with that seed that can go on; None if it is to begin.

        One that began with other data or weights, as on another machine, could not come to the same end.
        """
        seed, own = made_of.config.training.seed, []
        for run in self.runs:
            if self.is_own(run) and seeds.seed_of(run) == seed and seeds.can_go_on(run):
                now, tags = made_of.digests(made_of.config.training.steps), tags_of(run)
                own += [run.info.run_id] if all(tags.get(key, now[key]) == now[key] for key in now) else []
        return own[-1] if own else None

    def child_tags(self, part: "Part | None") -> dict[str, str]:
        """The tags of the run of a seed: which group it is of, and which study if the group is a trial."""
        study = {"study": part.tags["study"]} if part and "study" in part.tags else {}
        return {PARENT: self.run_id, "group": self.name} | study

    def child_name(self, seed: int) -> str:
        """What the run of that seed is called: the group's name with its own seed."""
        base = re.sub(r"(^| )seeds?=\d+(?= |$)", "", self.name).strip()
        return f"{base} seed={seed}".strip()

    def add(self, seed: int, run: "Run") -> "dict[str, Estimate]":
        """Takes in the run of a seed that is over; returns the medians over those that were."""
        from mlflow.entities import Metric

        self.done[seed] = run
        found, now = seeds.estimates(self.done), int(time.time() * 1000)
        tags = {f"seed.{number}": done.info.run_id for number, done in self.done.items()}
        if tags.items() <= tags_of(self.run).items():  # MLflow keeps what is logged twice, twice
            return found
        values = {key: one.median for key, one in found.items()}
        for end in ("low", "high"):
            values |= {f"{end}/{key}": getattr(one, end) for key, one in found.items() if not np.isnan(one.low)}
        logged = [Metric(key, value, now, len(self.done)) for key, value in values.items()]
        self.client.log_batch(self.run_id, metrics=logged)
        tagging.set_tags(self.client, self.run_id, {f"seed.{seed}": run.info.run_id})
        return found

    def curves(self) -> np.ndarray | None:
        """The cost with each seed that is over [seeds, steps]; None if there is none."""
        steps = self.asked.config.training.steps
        found = [lookup.costs_of(self.client, run, steps) for run in self.done.values()]
        known = [costs for costs in found if costs is not None]
        return seeds.together(known) if known else None

    def end(self, status: str, reason: str = "") -> None:
        """Leaves the page complete: table, figure, words, status; and the median curve if no seed is missing."""
        curves = self.curves()
        with tempfile.TemporaryDirectory() as folder:
            write_table(Path(folder, "seeds.csv"), self.done)
            if curves is not None and self.asked.config.tracking.figures:
                self.draw(Path(folder, "figures"), curves)
            self.client.log_artifacts(self.run_id, folder)
        if curves is not None and len(self.done) == len(self.asked.seeds):
            self.log_median(np.median(curves, axis=0))
        tags = {"mlflow.note.content": self.describe()} | ({"reason": reason} if reason else {})
        tagging.set_tags(self.client, self.run_id, tags)
        self.terminate(status)

    def terminate(self, status: str) -> None:
        """Sets the status: FINISHED, FAILED or KILLED."""
        self.ended = status
        self.client.set_terminated(self.run_id, status)

    def draw(self, folder: Path, curves: np.ndarray) -> None:
        """Draws the cost with every seed [seeds, steps], and the median."""
        from lstm_lab.runs import figures, keeping

        folder.mkdir()
        title = f"{self.name}: {len(curves)} of {len(self.asked.seeds)} seeds"
        figure = figures.seeds_figure(curves, title, self.source.epoch)
        keeping.draw(folder / "seeds.png", "seeds.png", lambda whole: figure.savefig(whole, format="png", dpi=120))

    def log_median(self, costs: np.ndarray) -> None:
        """Sends the median curve as the page's own cost, so that charts of several groups lie over one another."""
        tracked = tracking.TrackedRun.resume(self.client, self.asked.config, self.client.get_run(self.run_id))
        tracked.log_costs(0, costs.astype(np.float32))
        tracked.close()

    def describe(self) -> str:
        """What was trained, how it went over the seeds, and each seed's run, for the page."""
        found = seeds.estimates(self.done)
        told = f"{recipe_in_words(self.asked.config)}, seeds {seeds.in_words(self.asked.seeds)}: {self.states()}."
        lines = [f"{told} [Compare the seeds' curves]({self.comparison()}).", ""]
        if found:
            lines += ["| over the seeds | median | 95 % interval |", "| --- | --- | --- |"]
            lines += [f"| {key} | {middle} | {ends} |" for key, middle, ends in rows_of(found)]
        key = metrics.ranked_by(found)
        lines += ["", f"| seed | run | status | {key} |", "| --- | --- | --- | --- |"]
        for seed, run in sorted(self.done.items()):
            page, value = store.run_page(run.info.experiment_id, run.info.run_id), run.data.metrics.get(key, np.nan)
            lines.append(f"| {seed} | [{run.info.run_id[:8]}]({page}) | {run.info.status} | {value:.4g} |")
        return "\n".join(lines)

    def states(self) -> str:
        """How many runs are in which state."""
        counts = Counter(run.info.status for run in self.done.values())
        counts["missing"] = len(self.asked.seeds) - len(self.done)
        return ", ".join(f"{count} {state}" for state, count in counts.items() if count)

    def comparison(self) -> str:
        """The chart view of the seeds' runs over one another, also of those that are only counted."""
        ids = ", ".join(f"'{run.info.run_id}'" for run in self.done.values()) or f"'{NO_RUN}'"
        condition = quote(f"attributes.run_id IN ({ids})")
        view = f"{store.TRAINING}&compareRunsMode=CHART"
        return f"#/experiments/{self.run.info.experiment_id}/runs?searchFilter={condition}&{view}"


def open_page(client: "MlflowClient", asked: Asked, source: "Source", part: "Part | None" = None) -> GroupPage:
    """The group's page: the one that was begun for the same, or a new one; signed by this process.

    A trial's is always new, for a trial has one. ConfigError if another process trains the group.
    """
    config = asked.config
    experiment = store.find_or_create_experiment(client, config.experiment)
    same = recipe.known_by(config, source.file_sha256)
    text = json.dumps([*same.values(), *asked.seeds, asked.again])
    tags = recipe.tags(config, source.file_sha256) | {"group.sha256": hashlib.sha256(text.encode()).hexdigest()}
    tags |= {"seeds": seeds.in_words(asked.seeds)} | (part.tags if part else {})
    name = (part.name if part else config.tracking.run_name) or naming.NOTHING_TYPED
    with store.store_lock():
        run = None if part else find(client, experiment, tags["group.sha256"], asked)
        is_new = run is None
        if run is None:
            signed = tagging.as_stored(tags | tracking.source_tags() | processes.signature())
            run = client.create_run(experiment, run_name=name, tags=signed)
    if not is_new:
        run = claim(client, run, asked)
    log_params(client, run, asked)
    return GroupPage(client, asked, run, source)


def claim(client: "MlflowClient", run: "Run", asked: Asked) -> "Run":
    """Makes this process the one that is at the group; ConfigError if another is."""
    run_id = run.info.run_id
    if run.info.status == "RUNNING" and asked.take_over:
        resume.refuse_running(run, asked.word, take_over=True)
        of_group = f"tags.`{PARENT}` = '{run_id}' AND attributes.status = 'RUNNING'"
        for left in [*lookup.every_run(client, of_group), run]:
            client.set_terminated(left.info.run_id, "KILLED")
    return resume.take_over(client, run_id, asked.word)


def find(client: "MlflowClient", experiment: str, digest: str, asked: Asked) -> "Run | None":
    """The newest page begun for the same group; with `again`, only one that is not over."""
    [(key, value)] = tagging.as_stored({"group.sha256": digest}).items()
    found = client.search_runs([experiment], f"tags.`{key}` = '{value}'", order_by=["attributes.start_time DESC"])
    return next((run for run in found if not (asked.again and seeds.is_over(run, ()))), None)


def log_params(client: "MlflowClient", run: "Run", asked: Asked) -> None:
    """The recipe as the page's parameters, and the seeds in the place of one, as far as they are not there."""
    from mlflow.entities import Param

    params = as_params(asked.config) | {recipe.SEED: seeds.in_words(asked.seeds)}
    missing = [Param(key, value) for key, value in params.items() if key not in run.data.params]
    if missing:
        client.log_batch(run.info.run_id, params=missing)


def write_table(path: Path, runs: "Mapping[int, Run]") -> None:
    """Writes a row for each seed: its run, status, the SHA-256 of its costs, its metrics in full."""
    keys = sorted({key for run in runs.values() for key in run.data.metrics} - {"cost"})
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seed", "run", "status", "cost.sha256", *keys])
        for seed, run in sorted(runs.items()):
            values = [run.data.metrics.get(key, "") for key in keys]
            row = [seed, run.info.run_id, run.info.status, tags_of(run).get("cost.sha256", "")]
            writer.writerow([*row, *values])


def rows_of(found: "Mapping[str, Estimate]") -> list[tuple[str, str, str]]:
    """Metric, median and interval in words; what is ranked by comes first, what says nothing of a recipe not."""
    shown = [key for key in found if not key.startswith(ASIDE) and "_naive_" not in key]
    ranked = metrics.ranked_by(shown)
    rows = []
    for key in sorted(shown, key=lambda key: (key != ranked, "/" in key, key)):
        one = found[key]
        ends = "-" if np.isnan(one.low) else f"{one.low:.4g} to {one.high:.4g}"
        rows.append((key, f"{one.median:.4g}", ends))
    return rows
