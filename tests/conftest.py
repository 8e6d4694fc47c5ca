"""Shared by all tests: TensorFlow started as a run starts it, and copies of the project in which runs may write."""

import io
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lstm_lab import comparison, provenance, runtime, store

ROOT = Path(__file__).resolve().parents[1]
os.environ.pop("MLFLOW_TRACKING_URI", None)  # the tests bring their own stores
runtime.start_tensorflow("portable", threads=1)


def train(checkout: Path, *words: str, **options) -> subprocess.CompletedProcess:
    """Runs `python src/train.py` of a checkout as a user would."""
    command = [sys.executable, str(checkout / "src/train.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **{"cwd": checkout, **options})


def copy_project(folder: Path) -> Path:
    """A git checkout of the project as it stands, without what its runs left behind."""
    for part in ("src", "conf", "sweeps"):
        if (ROOT / part).exists():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".gitignore", folder)
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "as it stands"]):
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh checkout, in which nothing has run."""
    return copy_project(tmp_path)


@pytest.fixture(scope="session")
def default_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The default run, made by the command in a fresh checkout with one uncommitted change, from another directory."""
    checkout = copy_project(tmp_path_factory.mktemp("default run"))
    (checkout / "src/new_file.py").write_text("# not committed\n")
    done = train(checkout, cwd=tmp_path_factory.mktemp("elsewhere"))
    assert done.returncode == 0, done.stderr
    yield SimpleNamespace(checkout=checkout, stdout=done.stdout, stderr=done.stderr)
    assert len(list(checkout.glob("mlruns/artifacts/*"))) == 2, "its run and its model: tests that write take a copy"


@pytest.fixture
def copied_run(default_run: SimpleNamespace, tmp_path: Path) -> SimpleNamespace:
    """The default run in a checkout of the test's own."""
    shutil.copytree(default_run.checkout, tmp_path / "copied run")
    return SimpleNamespace(checkout=tmp_path / "copied run", stdout=default_run.stdout)


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real PostgreSQL on loopback, from Debian's packages; skips without one, unless CI wants it."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        message = "PostgreSQL is not installed: `apt-get install postgresql`"
        pytest.fail(message) if os.environ.get("REQUIRE_POSTGRESQL") else pytest.skip(message)
    folder = tmp_path_factory.mktemp("postgresql")
    folder.chmod(0o755)
    data = f"/tmp/lstm-lab-postgresql-{os.getpid()}"

    def as_postgres(command: str) -> None:
        words = ["sh", "-c", command]
        if os.geteuid() == 0:  # it refuses to run as root
            words = ["su", "postgres", "-s", "/bin/sh", "-c", command]
        subprocess.run(words, check=True, cwd="/tmp", stdout=subprocess.DEVNULL)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = programs[-1]
    as_postgres(f"{program}/initdb -D {data} -U lab --auth=trust -N >/dev/null")
    try:
        options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories={data} -c fsync=off"
        as_postgres(f"{program}/pg_ctl -D {data} -w -l {data}/log -o '-p {port} {options}' start")
        as_postgres(f"{program}/createdb -h 127.0.0.1 -p {port} -U lab lab")
        yield f"postgresql+psycopg://lab@127.0.0.1:{port}/lab"
    finally:
        as_postgres(f"{program}/pg_ctl -D {data} -m immediate stop || true; rm -rf {data}")


class Server:
    """A real MLflow tracking server on loopback, which may be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "server.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Starts it and waits until it answers."""
        options = {
            "--host": "127.0.0.1",
            "--port": str(self.port),
            "--backend-store-uri": f"sqlite:///{self.folder}/server.db",
            "--artifacts-destination": f"{self.folder}/stored",
            "--workers": "1",
        }
        command = [sys.executable, "-m", "mlflow", "server", *itertools.chain(*options.items())]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, env=environment, start_new_session=True
            )
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{self.uri}/health").close()
                return
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.5)

    def stop(self) -> None:
        """Ends it and its workers at once, as a crash would."""
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MLflow tracking server on loopback."""
    running = Server(tmp_path_factory.mktemp("server"))
    running.start()
    yield running.uri
    running.stop()


@pytest.fixture
def free_server(tmp_path: Path) -> Iterator[Server]:
    """A tracking server of the test's own, not yet started."""
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    yield server
    server.stop()


HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)> [bold]{{ 7*7 }}\x1b[31m\u202e' onload='x"
COSTS = np.geomspace(30, 0.01, 200).astype(np.float32)


def png(width: int = 64) -> bytes:
    """A picture such as a run has of its fit."""
    from lstm_lab.figures import new_figure

    figure, [ax] = new_figure()
    ax.plot([0, 1])
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=width / 6.4)
    return buffer.getvalue()


def make_run(client, experiment, folder, name, files=(), costs=(), params=(), metrics=(), tags=(), status="FINISHED"):
    """A run in the store, as src/train.py leaves one; returns its id. `costs` go to its metric, one a step."""
    from mlflow.entities import Metric, Param

    run_id = client.create_run(experiment, run_name=name, tags=dict(tags)).info.run_id
    values = {"model.cell": "lstm", "model.cell_size": "10", "training.level": "portable", "training.steps": "200"}
    points = [Metric("cost", float(cost), 0, step) for step, cost in enumerate(costs)]
    points += [Metric(key, value, 0, 0) for key, value in dict(metrics).items()]
    client.log_batch(run_id, points, [Param(*item) for item in (values | dict(params)).items()])
    for path, content in dict(files).items():
        target = folder / run_id / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content) if isinstance(content, bytes) else np.save(target, content)
    if files:
        client.log_artifacts(run_id, str(folder / run_id))
    if status != "RUNNING":
        client.set_terminated(run_id, status)
    return run_id


def fill_store(uri: str, folder: Path) -> dict[str, str]:
    """Makes one run of each kind there is, the first ones first; returns their ids by name. `gone` is deleted."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    place = None if uri.startswith("http") else (folder / "artifacts").as_uri()
    experiment = client.create_experiment("kinds", place)
    whole = {"cost.npy": COSTS, "figures/fitted_curve.png": png()}
    good = {"final_cost": 0.01, "mean_last_20_cost": 0.02, "log10_mean_last_20_cost": -1.7}
    bits = {"cost.sha256": "ab" * 32}
    killed = {"host": provenance.host(), "pid": 2**22 + 1, "started": "never"}
    kinds: dict[str, dict] = {
        "plain": {
            "files": whole,
            "costs": COSTS,
            "metrics": good,
            "tags": {"mlflow.source.git.commit": "0123456789" * 4, "git.dirty": "true", **bits},
        },
        "again": {
            "files": whole,
            "metrics": good,
            "tags": {**bits, "reproduces": "0" * 32, "verdict": "bit-identical"},
        },
        "gru": {
            "files": {"cost.npy": 2 * COSTS},
            "metrics": {"final_cost": 0.5, "mean_last_20_cost": 0.6},
            "params": {"model.cell": "gru", "training.seed": "7"},
        },
        "longer": {
            "files": {"cost.npy": np.tile(COSTS, 2)},
            "metrics": good,
            "tags": {"changed.training.steps": "400"},
        },
        "going": {"costs": COSTS[:50], "status": "RUNNING"},
        "dead": {"costs": COSTS[:5], "status": "RUNNING", "tags": {"process": json.dumps(killed)}},
        "diverged": {
            "files": {"cost.npy": np.array([20, 1e30, np.inf], np.float32)},
            "metrics": {"final_cost": np.inf, "mean_last_20_cost": np.nan},
            "tags": {"reason": "the cost became inf at step 2"},
            "status": "FAILED",
        },
        "hostile": {
            "name": HOSTILE,
            "files": {"cost.npy": np.array([HOSTILE], object), "figures/fitted_curve.png": b"<svg onload='alert(1)'/>"},
            "params": {"tracking.run_name": HOSTILE},
            "tags": dict.fromkeys(("reason", "process", "mlflow.source.git.commit", "cost.sha256", "verdict"), HOSTILE),
            "metrics": {"final_cost": 1.0},
            "status": "RUNNING",
        },
        "trial 3: x": {
            "files": {"cost.npy": COSTS[:100]},
            "tags": {"trial": "3", "study": "grid", "trial.state": "PRUNED"},
            "status": "KILLED",
        },
        "study grid": {
            "params": {"search.x": "choice(1, 2)"},
            "metrics": {"best_value": 1.0},
            "tags": {"sweep": "parent", "study": "grid", "trials": "1 PRUNED of 9"},
        },
        "bare": {},
        "gone": {},
    }
    ids = {name: make_run(client, experiment, folder, **{"name": name, **parts}) for name, parts in kinds.items()}
    client.delete_run(ids["gone"])
    return ids


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A store in a database with one run of each kind: its address, and the runs' ids by name, without `gone`."""
    folder = tmp_path_factory.mktemp("kinds")
    uri = f"sqlite:///{folder}/runs.db"
    ids = fill_store(uri, folder)
    return SimpleNamespace(uri=uri, gone=ids.pop("gone"), ids=ids)


@pytest.fixture
def client(kinds: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    """A client of that store, which is the one that the report opens."""
    from mlflow import MlflowClient

    found = MlflowClient(kinds.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", kinds.uri)
    monkeypatch.setattr(store, "open_store", lambda: found)
    return found


def compare(client, ids):
    """These runs with their curves and fits."""
    return comparison.fetch(client, comparison.choose(client, comparison.Choice(runs=ids)), lambda: None)
