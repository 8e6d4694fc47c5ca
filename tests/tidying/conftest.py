"""A store with what a tidying must remove, and with what it must not, on a root folder of the test's own."""

import contextlib
import hashlib
import io
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType
from rich.console import Console
from sqlalchemy.pool import NullPool

from lstm_lab.records import processes, store
from lstm_lab.studies import database, declaration
from lstm_lab.tidying import citing, leftovers, stores, studies, terminal
from studies.conftest import empty_store  # noqa: F401 (a fixture)

DAY = 86_400
OURS = {"mlflow.source.name": "src/train.py"}
DEAD = {"host": processes.host(), "pid": 2**22 + 1, "started": "never"}  # no process has such an id


class House:
    """The store below `root`; `gone` are the paths that must go, relative to it."""

    def __init__(self, root: Path) -> None:
        self.root, self.mlruns, self.gone = root, root / "mlruns", set[str]()
        self.client = MlflowClient(store.tracking_uri())
        known = self.client.get_experiment_by_name("one")
        place = store.artifact_folder().as_uri()
        self.experiment = known.experiment_id if known else self.client.create_experiment("one", place)

    def run(self, status="FINISHED", days=100, tags=(), deleted=False, goes=False, files=True) -> str:
        """A run that ended so many days ago, with all that one may leave."""
        now = int(1000 * (time.time() - days * DAY))
        made = self.client.create_run(self.experiment, start_time=now - 5000, tags=OURS | dict(tags), run_name="a run")
        run_id = made.info.run_id
        if status != "RUNNING":
            self.client.set_terminated(run_id, status, end_time=now)
        left = self.leave(run_id) if files else []
        if deleted:
            self.client.delete_run(run_id)
        if goes:
            self.gone |= set(left)
        return run_id

    def leave(self, run_id: str) -> list[str]:
        """What a run has of files below mlruns/."""
        return [
            self.file(f"artifacts/{run_id}/artifacts/figures/cost_curve.png", 5000),
            self.file(f"artifacts/{run_id}/artifacts/config.yaml", 10),
            self.file(f"checkpoints/{run_id}/step-0000000003.npz", 9000),
            self.file(f"tensorboard/a_run-{run_id[:6]}/events.out.tfevents.1795836427.vm.19962.2", 100),
            self.file(f"forecasts/a series-{run_id[:8]}.csv", 100),
            self.file(f"forecasts/a series-{run_id[:8]}.png", 100),
        ]

    def address(self, run_id: str, uri: str) -> None:
        """Has the store say that the run's files are there."""
        with contextlib.closing(sqlite3.connect(self.root / "mlflow.db")) as connection, connection:
            connection.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (uri, run_id))

    def model(self, run_id: str, goes=False) -> str:
        """A model of that run; its id."""
        model = self.client.create_logged_model(self.experiment, "model", run_id).model_id
        left = self.file(f"artifacts/models/{model}/artifacts/data/model.keras", 7000)
        self.gone |= {left} if goes else set()
        return model

    def file(self, name: str, size: int = 1) -> str:
        """A file below mlruns/; its path from the root."""
        path = self.mlruns / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
        return str(path.relative_to(self.root))

    def study(self, name: str, trials=0, **attributes) -> None:
        """A study in the repo's own database, with so many trials, and its folder."""
        storage = self.opened()
        made = optuna.create_study(study_name=name, storage=storage)
        for key, value in attributes.items():
            made.set_user_attr(key, value)
        for _ in range(trials):
            made.tell(made.ask(), 1.0)

    def trials_folder(self, name: str, url: str | None = None, goes=False) -> list[str]:
        """The folder of a study's trials; the paths in it."""
        short = declaration.folder_of(name).name
        left = [self.file(f"sweeps/{short}/{trial}/cost.npy", 100) for trial in (0, 1)]
        left.append(self.file(f"sweeps/{short}/study.txt"))
        (self.root / left[-1]).write_text(declaration.about(name, ["sweeps=default"], url))
        self.gone |= set(left) if goes else set()
        return left

    def tidy(self, *, days=None, for_good=False) -> str:
        """What a tidying says."""
        said = io.StringIO()
        terminal.tidy(days, for_good, Console(file=said, width=80))
        return said.getvalue()

    def files(self) -> dict[str, str]:
        """The SHA-256 of every file below the root, by its path; of a link what it says."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            if path.is_symlink() or path.is_file():
                content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
                found[str(path.relative_to(self.root))] = hashlib.sha256(content).hexdigest()
        return found

    def folders(self) -> set[str]:
        """Every folder below mlruns/."""
        return {str(path.relative_to(self.root)) for path in self.mlruns.rglob("*") if path.is_dir()}

    def runs(self) -> set[str]:
        """The ids of all runs, also of those that are deleted."""
        experiments = [found.experiment_id for found in self.client.search_experiments(ViewType.ALL)]
        return {run.info.run_id for run in self.client.search_runs(experiments, "", ViewType.ALL)}

    def opened(self) -> optuna.storages.RDBStorage:
        """The repo's own database of studies."""
        return optuna.storages.RDBStorage(
            store.sqlite_uri(self.mlruns / "optuna.db"), engine_kwargs={"poolclass": NullPool}
        )

    def studies(self) -> set[str]:
        """The names of the studies."""
        return {study.study_name for study in self.opened().get_all_studies()}


def stand_in(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Has the modules take `root` for the repo's."""
    for module in (store, citing, leftovers, stores, studies, terminal, database, declaration):
        patch.setattr(module, "ROOT", root)
    patch.setattr(store, "LOCAL_URI", store.sqlite_uri(root / "mlflow.db"))
    patch.setattr(store, "STORES", root / "mlruns/.stores")
    store.open_store.cache_clear()


@pytest.fixture
def house(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:  # noqa: F811
    """A store in which nothing has run."""
    root = tmp_path / "root"
    shutil.copytree(empty_store, root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    stand_in(root, monkeypatch)
    yield House(root)
    store.open_store.cache_clear()
