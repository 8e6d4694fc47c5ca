"""A sweep in this very process, on stores of its own: nothing is trained, what a job would do is up to the test."""

import dataclasses
import io
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState
from rich.console import Console

from lstm_lab.records import store
from lstm_lab.studies import database, page, study, sweep, trial
from lstm_lab.studies.overrides import parse

SPACE = {
    "a": FloatDistribution(1e-4, 1e-1, log=True),
    "b": IntDistribution(1, 40),
}


def declared(**changes) -> study.Declared:
    """A small study, but for the changes."""
    settings: dict[str, Any] = {
        "name": "s",
        "space": SPACE,
        "direction": "minimize",
        "objective": "mean_last_20_cost",
        "sampler": {"name": "random"},
        "pruner": {"name": "none"},
        "seed": 0,
        "config": {"training.steps": 200},
        "total": 4,
        "prune_every": 100,
        "files": {},
        "experiment": "sine_to_cosine",
        "data": "sine_to_cosine",
    }
    return study.Declared(**settings | changes)


class Sweeping:
    """Runs sweeps; `before` and `after` are called with the running trial around what stands for its training."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, ""
        self.before: Any = lambda running: None
        self.after: Any = lambda running: None
        self.max_failures = 5

    @property
    def client(self) -> MlflowClient:
        return store.open_store()

    def study(self, name="s"):
        return trial.open_for_trial(name, url=None, heartbeat=10, grace=10**6)

    def launch(self, words: list[str], number: int) -> Exception | None:
        """A trial's job: its run in MLflow, its end told to the study."""
        opened = self.study()
        running = study.running_trial(opened, number)
        values = {word.key_or_group: word.value() for word in parse(words)}
        if error := self.before(running):
            return error
        experiment = store.find_or_create_experiment(self.client, str(values["tracking.experiment"]))
        tags = {"mlflow.parentRunId": opened.user_attrs["parent_run"], "study": "s", "trial": str(number)}
        run = self.client.create_run(experiment, run_name=f"{number}: x", tags=tags)
        if error := self.after(running):
            return error
        self.client.set_terminated(run.info.run_id, "FINISHED")
        study.end(opened, running, TrialState.COMPLETE, math.log(running.params["a"]) ** 2 + running.params["b"])
        return None

    def run(self, what=None, experiment="one") -> str:
        """A sweep from its command to its end; returns what it says."""
        said, what = io.StringIO(), dataclasses.replace(what or declared(), experiment=experiment)
        settings = {"storage": {"url": None, "heartbeat": 10, "grace": 10**6}, "max_failures": self.max_failures}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sweep, "Console", lambda: Console(file=said, width=200))
            patch.setattr(sweep.time, "sleep", lambda seconds: None)
            try:
                sweep.run_sweep(settings, what, [], self.launch, lambda params: "python src/train.py")
            finally:
                self.said = said.getvalue()
        return self.said

    def page(self):
        """The study's run in MLflow, and those of its trials by number."""
        parent = self.client.get_run(self.study().user_attrs["parent_run"])
        ids = [found.experiment_id for found in self.client.search_experiments()]
        runs = self.client.search_runs(ids, f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
        return parent, {int(run.data.tags["trial"]): run for run in runs if run.data.tags["trial"].isdecimal()}


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables, which take seconds to make, and an Optuna one."""
    folder = tmp_path_factory.mktemp("empty store")
    MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
    (folder / "mlruns").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "ROOT", folder)
        database.open_storage(None, 10, 10).engine.dispose()
    return folder


@pytest.fixture
def sweeping(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sweeping]:
    """Sweeps on stores below a folder of the test's own."""
    folder = tmp_path / "stores"
    shutil.copytree(empty_store, folder)
    monkeypatch.setattr(database, "ROOT", folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    opened = []
    make = database.open_storage

    def open_storage(*arguments, **options):
        opened.append(make(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(database, "open_storage", open_storage)
    monkeypatch.setattr(page, "draw_study", lambda *arguments: None)  # it takes a second each time
    for cache in (store.open_store, trial.open_for_trial):
        cache.cache_clear()
    yield Sweeping(folder)
    for cache in (store.open_store, trial.open_for_trial):
        cache.cache_clear()
    for storage in opened:
        storage.engine.dispose()
