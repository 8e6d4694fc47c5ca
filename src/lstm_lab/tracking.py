"""MLflow: where runs are kept, and what one run leaves there.

By default the store is mlflow.db and mlruns/ at the repo's root, found from this file, so that a plain `mlflow ui`
typed there shows the runs. MLFLOW_TRACKING_URI sends everything elsewhere.
"""

import colorsys
import contextlib
import fcntl
import functools
import http.client
import json
import logging
import math
import os
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_lab import provenance
from lstm_lab.config import CannotRunError, Config, flatten
from lstm_lab.provenance import ROOT

if TYPE_CHECKING:  # mlflow takes a second or two to import, and a refused config must not wait for it
    import keras
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    from lstm_lab.training import Progress

LOCAL_URI = f"sqlite:///{ROOT}/mlflow.db"
ARTIFACTS = "/mlruns/artifacts"
BATCH = 1000  # metrics that MLflow takes in one call
FLUSH_SECONDS = 3.0


class StoreError(CannotRunError):
    """Runs cannot be tracked; the message says where, why and what to do."""


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI if set, else the SQLite database at the repo's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or LOCAL_URI


def is_local_store() -> bool:
    """Whether runs go to the repo's own mlflow.db."""
    return tracking_uri() == LOCAL_URI  # not 'is the variable unset': MLflow sets it for its child processes


def check_store() -> None:
    """Raises StoreError if the store cannot be written or reached; imports nothing, writes nothing."""
    uri, named = tracking_uri(), f"MLFLOW_TRACKING_URI={tracking_uri()}"
    scheme = uri.partition(":")[0].lower()
    if scheme not in ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks") and "+" not in scheme:
        raise StoreError(f"{named}: must begin with http:, https:, sqlite: or another database's name")
    if uri.rstrip("/") == "sqlite:":
        raise StoreError(
            f"{named}: a database in memory is gone with the run; name a file, as in sqlite:////tmp/runs.db"
        )
    if scheme in ("http", "https"):
        try:
            urllib.request.urlopen(uri, timeout=10).close()
        except urllib.error.HTTPError:
            pass  # it answered
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise StoreError(
                f"{named}: no tracking server answers there ({getattr(error, 'reason', error)}); "
                "start one with `mlflow server --host 127.0.0.1`, or unset the variable to use mlflow.db"
            ) from None
    if (ROOT / "mlflow.db").is_dir() or any(path.is_file() for path in (ROOT / "mlruns", artifact_folder())):
        raise StoreError(f"{ROOT}: mlflow.db must be a file, mlruns and mlruns/artifacts folders; move it away")
    folders = (ROOT, ROOT / "mlruns", ROOT / "mlruns/artifacts", ROOT / "mlruns/tensorboard", ROOT / "mlflow.db")
    for path in folders if is_local_store() else ():
        if path.exists() and not os.access(path, os.W_OK):
            raise StoreError(f"{path} cannot be written by this user: runs are kept there; mend its permissions")


def artifact_folder() -> Path:
    """Where artifacts go when no server keeps them: below mlruns/, or beside another SQLite database."""
    path = tracking_uri().partition("sqlite:///")[2]
    return ROOT / ARTIFACTS.strip("/") if is_local_store() or not path else Path(path).resolve().parent / "artifacts"


@functools.cache
def open_store(verbose: bool = False) -> "MlflowClient":
    """A client of the store, opened once per process; makes the repo's own database if it is missing."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    if not verbose:
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
        logging.getLogger("alembic").setLevel(logging.ERROR)
    import mlflow

    try:
        with store_lock() if is_local_store() else contextlib.nullcontext():
            if is_local_store():
                create_database(ROOT / "mlflow.db")
                adopt_moved_store(ROOT / "mlflow.db")
            mlflow.set_tracking_uri(tracking_uri())
            client = mlflow.MlflowClient()
            client.search_experiments(max_results=1)
    except Exception as error:  # whatever MLflow, its database driver or the file system raises
        mend = "; a damaged file: move it away" if is_local_store() else "; mend MLFLOW_TRACKING_URI or unset it"
        raise StoreError(f"{tracking_uri()} cannot be opened: {first_line(error)}{mend}") from error
    return client


@contextlib.contextmanager
def store_lock() -> Iterator[None]:
    """One process at a time: two that create the database at once would break it."""
    (ROOT / "mlruns").mkdir(exist_ok=True)
    with open(ROOT / "mlruns/.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def create_database(database: Path) -> None:
    """Creates the database if it is missing: whole or, if the process is killed meanwhile, not at all."""
    from mlflow import MlflowClient

    if not database.exists():
        unfinished = database.with_suffix(".db.new")
        unfinished.unlink(missing_ok=True)
        MlflowClient(f"sqlite:///{unfinished}")
        unfinished.rename(database)


def adopt_moved_store(database: Path) -> None:
    """Points the artifacts of a store that was moved or copied to where the store is now.

    MLflow keeps artifact locations as absolute addresses. Left alone, old artifacts would be out of reach after a
    move, and new ones would be written to the old place.
    """
    here = (ROOT / ARTIFACTS.strip("/")).as_uri()
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("logged_models", "artifact_location"),
        ):
            connection.execute(
                f"UPDATE {table} SET {column} = :here || substr({column}, instr({column}, :artifacts) + :length) "
                f"WHERE instr({column} || '/', :artifacts || '/') AND NOT instr({column} || '/', :here || '/') = 1",
                {"here": here, "artifacts": ARTIFACTS, "length": len(ARTIFACTS)},
            )


def find_or_create_experiment(client: "MlflowClient", name: str) -> str:
    """The id of the experiment; StoreError if it cannot take a run."""
    from mlflow.exceptions import MlflowException

    location = None if tracking_uri().lower().startswith("http") else artifact_folder().as_uri()
    with store_lock() if is_local_store() else contextlib.nullcontext():
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            try:
                tags = {"mlflow.experimentKind": "custom_model_development"}  # opens its page at runs, not at traces
                return client.create_experiment(name, artifact_location=location, tags=tags)
            except MlflowException:  # another process was first
                experiment = client.get_experiment_by_name(name)
                if experiment is None:
                    raise
    if experiment.lifecycle_stage != "active":
        raise StoreError(
            f"tracking.experiment='{name}': that experiment was deleted in MLflow; take it back with "
            f"`mlflow experiments restore -x {experiment.experiment_id}` or choose another name"
        )
    if is_local_store() and experiment.artifact_location.startswith("mlflow-artifacts:"):
        raise StoreError(
            f"tracking.experiment='{name}': that experiment was made in MLflow's web page, which alone can write its "
            "artifacts; choose another name"
        )
    return experiment.experiment_id


def default_run_name(config: Config) -> str:
    """The config in a few words and the time: 'lstm10-adam0.006-seed0-1123-213005-sine_to_cosine'.

    What tells runs apart stands first, since MLflow's lists cut names short.
    """
    model, optimizer, seed = config.model, config.optimizer, config.training.seed
    who = f"{model.cell}{model.cell_size}-{optimizer.name}{optimizer.learning_rate:g}-seed{seed}"
    return f"{who}-{time.strftime('%m%d-%H%M%S')}-{config.data.curve}"


def color(hue: float) -> str:
    """A strong colour of that hue (0 to 1), for MLflow's charts: the colours it gives by itself collide."""
    red, green, blue = colorsys.hls_to_rgb(hue, 0.45, 0.7)
    return f"#{int(red * 255):02x}{int(green * 255):02x}{int(blue * 255):02x}"


class TrackedRun:
    """One run in MLflow. As an observer it sends the cost curve, in batches, from a thread of its own."""

    def __init__(
        self, client: "MlflowClient", config: Config, name: str | None = None, tags: dict[str, str] | None = None
    ) -> None:
        self.client, self.config = client, config
        self.experiment_id = find_or_create_experiment(client, config.tracking.experiment)
        self.name = name or config.tracking.run_name or default_run_name(config)
        tags = {**source_tags(), **(tags or {})}
        run = client.create_run(self.experiment_id, run_name=self.name, tags=tags)
        self.run_id = run.info.run_id
        if "mlflow.runColor" not in tags:
            client.set_tag(self.run_id, "mlflow.runColor", color(int(self.run_id[:8], 16) / 16**8))
        self.start_sending(config.training.steps, config.tracking.metric_points)

    def start_sending(self, steps: int, points: int) -> None:
        """Prepares to send the cost of every step, or of every n-th so that `steps` become about `points`."""
        self.last_step, self.every = steps - 1, math.ceil(steps / points)
        self.buffer: list[Metric] = []
        self.flushed = time.monotonic()
        self.sender = ThreadPoolExecutor(1)
        self.sending: list[Future[Any]] = []

    def log_inputs(self, data_digest: str, weights_digest: str) -> None:
        """Every config value as a parameter, and the curve as the run's dataset."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag

        values = self.config.model_dump()
        params = [Param(key, json.dumps(v) if isinstance(v, list) else str(v)) for key, v in flatten(values)]
        tags = {"data.sha256": data_digest, "initial_weights.sha256": weights_digest}
        self.client.log_batch(self.run_id, params=params, tags=[RunTag(*tag) for tag in tags.items()])
        dataset = Dataset(
            name=self.config.data.curve,
            digest=data_digest[:16],
            source_type="code",
            source=json.dumps({"tags": {"mlflow.source.name": "src/lstm_lab/data.py"}, **values["data"]}),
            schema=json.dumps({"x": "float64", "input": "float32", "target": "float32"}),
            profile=json.dumps({"batches": self.config.training.steps}),
        )
        self.client.log_inputs(self.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    def __call__(self, progress: "Progress") -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        first = progress.step - len(progress.costs)
        for step in range(first, progress.step):
            if step % self.every == 0 or step == self.last_step:
                self.buffer.append(Metric("cost", float(progress.costs[step - first]), now, step))
        if len(self.buffer) >= BATCH or time.monotonic() - self.flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Hands what is buffered to the sending thread."""
        for start in range(0, len(self.buffer), BATCH):
            batch = self.buffer[start : start + BATCH]
            self.sending.append(self.sender.submit(self.client.log_batch, self.run_id, metrics=batch))
        self.buffer, self.flushed = [], time.monotonic()

    def close(self) -> None:
        """Waits until the whole cost curve is stored; raises what kept it from being."""
        self.flush()
        self.sender.shutdown()
        for future in self.sending:
            future.result()

    def log_summary(self, metrics: dict[str, float], tags: dict[str, str], description: str) -> None:
        """The figures and words that a reader of the run's page sees first."""
        from mlflow.entities import Metric, RunTag

        now = int(time.time() * 1000)
        self.client.log_batch(
            self.run_id,
            metrics=[Metric(key, value, now, 0) for key, value in metrics.items()],
            tags=[RunTag(key, value) for key, value in {**tags, "mlflow.note.content": description}.items()],
        )

    def log_files(self, folder: Path) -> None:
        """Copies everything in `folder` to the run's artifacts."""
        self.client.log_artifacts(self.run_id, str(folder))

    def log_model(self, model: "keras.Model") -> None:
        """Logs the model as MLflow's Keras flavour: a plain .keras file with its signature, nothing pickled."""
        import keras
        import mlflow
        import mlflow.keras
        import tensorflow as tf
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        def schema(tensors: list[Any], names: list[str]) -> Schema:
            shapes = [[-1 if size is None else size for size in tensor.shape] for tensor in tensors]
            return Schema([TensorSpec(np.dtype("float32"), s, n) for s, n in zip(shapes, names, strict=True)])

        states = [tensor.name for tensor in model.inputs[1:]]
        signature = ModelSignature(
            inputs=schema(model.inputs, ["x", *states]),
            outputs=schema(model.outputs, ["prediction", *(f"final_{name}" for name in states)]),
        )
        mlflow.start_run(run_id=self.run_id)
        # With requirements and signature given, MLflow starts no process to infer them.
        requirements = [f"keras=={keras.__version__}", f"tensorflow=={tf.__version__}"]
        mlflow.keras.log_model(model, name="model", signature=signature, pip_requirements=requirements)

    def end(self, status: str) -> None:
        """Sets the status: FINISHED, FAILED or KILLED."""
        import mlflow

        if mlflow.active_run():  # a model was logged; left active, MLflow would call the run FINISHED at exit
            mlflow.end_run(status)
        else:
            self.client.set_terminated(self.run_id, status)

    def url(self) -> str:
        """The run's page, in the web page that `mlflow ui` or the tracking server serves."""
        base = tracking_uri() if tracking_uri().startswith("http") else "http://127.0.0.1:5000"
        return f"{base.rstrip('/')}/#/experiments/{self.experiment_id}/runs/{self.run_id}"


def source_tags() -> dict[str, str]:
    """The tags in which MLflow shows where a run came from."""
    import getpass

    tags = {"mlflow.source.name": "src/train.py", "mlflow.source.type": "LOCAL", "mlflow.user": getpass.getuser()}
    if commit := provenance.running_commit():
        tags |= {
            "mlflow.source.git.commit": commit.hash,
            "mlflow.source.git.branch": commit.branch,
            "git.dirty": str(bool(commit.diff)).lower(),
        }
    return tags


def first_line(error: BaseException) -> str:
    """The first line of an error's message: the rest is detail for --verbose."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
