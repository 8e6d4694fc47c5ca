"""MLflow: what one run leaves in the store."""

import colorsys
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import yaml

from lstm_lab.config import Config, as_params
from lstm_lab.records import code
from lstm_lab.records.processes import signature
from lstm_lab.records.reading import name_of, sound
from lstm_lab.records.store import (
    StoreError,
    address,
    find_or_create_experiment,
    first_line,
    run_page,
    tracking_uri,
)
from lstm_lab.records.tagging import as_stored

if TYPE_CHECKING:  # mlflow takes a second or two to import, and a refused config must not wait for it
    import keras
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Metric, Run

    from lstm_lab.science.training import Progress

VALIDATION = "validation/mse"  # MLflow gives what stands before a slash a section of its own
BATCH = 1000  # metrics that MLflow takes in one call
FLUSH_SECONDS = 3.0
SHORTEST_CUT = 250  # characters of a parameter that every version of MLflow keeps
MODELS_TAGS = ("mlflow.source.name", "mlflow.source.type", "mlflow.user")  # those of a run that its model has too
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the one in C, where it is there, is some ten times as quick
TAG = 4000  # characters of a tag's value that every store takes


def is_kept(param: str, text: str) -> bool:
    """Whether the parameter in the store is that text: MLflow cuts a long one."""
    return param == text or (len(param) >= SHORTEST_CUT and text.startswith(param))


def has_same_points(run: "Run", config: Config) -> bool:
    """Whether a run to be resumed has always had the points that it gets with this config."""
    tags, params, now = run.data.tags, run.data.params, as_params(config)
    keys = ("training.steps", "tracking.metric_points")
    return all(params.get(key) == now[key] and f"changed.{key}" not in tags for key in keys)


def color(hue: float) -> str:
    """A strong colour of that hue (0 to 1), for MLflow's charts: the colours it gives by itself collide."""
    red, green, blue = colorsys.hls_to_rgb(hue, 0.45, 0.7)
    return f"#{int(red * 255):02x}{int(green * 255):02x}{int(blue * 255):02x}"


class TrackedRun:
    """One run in MLflow. As an observer it sends the cost curve, in batches, from a thread of its own."""

    def __init__(self, client: "MlflowClient", config: Config, run: "Run", resumed: bool = False) -> None:
        self.client, self.config, self.run, self.resumed = client, config, sound(run), resumed
        self.ended: str | None = None  # the status with which it ended
        self.run_id, self.experiment_id, self.name = run.info.run_id, run.info.experiment_id, name_of(run)
        self.start_sending(config.training.steps, config.tracking.metric_points)

    @classmethod
    def begin(
        cls, client: "MlflowClient", config: Config, digests: dict[str, str], name: str, tags: dict[str, str]
    ) -> Self:
        """Creates the run, signed by this process, in one step with all that going on with it takes."""
        experiment_id = find_or_create_experiment(client, config.experiment)
        tags = as_stored(source_tags() | signature() | digests | config_tags(config) | tags)
        run = sound(client.create_run(experiment_id, run_name=name, tags=tags))
        if "mlflow.runColor" not in tags:
            client.set_tag(run.info.run_id, "mlflow.runColor", color(int(run.info.run_id[:8], 16) / 16**8))
        return cls(client, config, run)

    @classmethod
    def resume(cls, client: "MlflowClient", config: Config, run: "Run") -> Self:
        """Goes on with a run that this process has taken over; what is stored of its cost is not sent again.

        Points are stored in their order, so the last one tells of all; a million take a minute to read.
        """
        tracked = cls(client, config, run, resumed=True)
        last = next((point for point in run.data.to_proto().metrics if point.key == "cost"), None)
        if last and last.step <= tracked.last_step and has_same_points(run, config):
            tracked.stored, tracked.stored_to = {last.step: last.value}, last.step
        elif last:
            tracked.stored = {point.step: point.value for point in client.get_metric_history(tracked.run_id, "cost")}
        if VALIDATION in run.data.metrics:
            points = client.get_metric_history(tracked.run_id, VALIDATION)
            tracked.validated = {point.step: point.value for point in points}
        return tracked

    def start_sending(self, steps: int, points: int) -> None:
        """Prepares to send the cost of every step, or of every n-th so that `steps` become about `points`."""
        self.last_step, self.every = steps - 1, math.ceil(steps / points)
        self.stored: dict[int, float] = {}  # costs by step
        self.stored_to = -1  # the step up to which all are
        self.validated: dict[int, float] = {}  # the last validation error of each step that has one
        self.contradicted: int | None = None  # the first step whose stored cost is not the one trained now
        self.unsent: list[Metric] = []
        self.flushed = time.monotonic()
        self.sender = ThreadPoolExecutor(1)
        self.sending: Future[None] | None = None
        self.meanwhile: list[Future[None]] = []  # what is logged while the run trains

    def log_meanwhile(self, log: Callable[..., None], *arguments: Any) -> None:
        """Has the sending thread log something, in the order of these calls, while the run trains.

        If it fails that is raised by the next progress, or by `close`.
        """
        self.meanwhile.append(self.sender.submit(log, *arguments))

    def log_inputs(self, digests: dict[str, str]) -> None:
        """Every config value as a parameter, and the data as the run's dataset, as far as they are not there.

        MLflow never changes a parameter: what a resumed run does otherwise becomes a tag `changed.KEY`.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag
        from mlflow.exceptions import MlflowException

        params, known = as_params(self.config), self.run.data.params
        changed = {key: text for key, text in params.items() if key in known and not is_kept(known[key], text)}
        tags = {f"changed.{key}": text for key, text in changed.items()}
        tags |= digests | config_tags(self.config)
        there = self.run.data.tags
        self.client.log_batch(
            self.run_id,
            params=[Param(key, value) for key, value in params.items() if key not in known],
            tags=[RunTag(*tag) for tag in as_stored(tags).items() if there.get(tag[0]) != tag[1]],
        )
        digest, source = digests["data.sha256"][:16], self.config.data.model_dump()
        if self.run.inputs and digest in {found.dataset.digest for found in self.run.inputs.dataset_inputs}:
            return
        dataset = Dataset(
            name=self.config.data.name,
            digest=digest,
            source_type="local" if "data.file.sha256" in digests else "code",
            source=json.dumps({"tags": {"mlflow.source.name": "src/lstm_lab/science/curves.py"}, **source}),
            schema=json.dumps({"x": "float64", "input": "float32", "target": "float32"}),
            profile=json.dumps({"batches": self.config.training.steps}),
        )
        inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])]
        try:
            self.client.log_inputs(self.run_id, inputs)
        except MlflowException as error:  # it looks for the dataset, then makes it: another run has made it in between
            if error.error_code != "BAD_REQUEST":
                raise
            self.client.log_inputs(self.run_id, inputs)

    def __call__(self, progress: "Progress") -> None:
        for logged in self.meanwhile:
            if logged.done():
                logged.result()
        if progress.validation is not None:
            self.log_validation([progress.step], [progress.validation])
        self.log_costs(progress.step - len(progress.costs), progress.costs)

    def log_validation(self, steps: Sequence[int], errors: Sequence[float]) -> None:
        """Sends the validation errors after so many steps, those apart that are stored or no numbers."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        new = {s: error for s, error in zip(steps, errors, strict=True) if s not in self.validated and error < math.inf}
        self.validated |= new
        self.unsent += [Metric(VALIDATION, error, now, step) for step, error in new.items()]

    def log_costs(self, first: int, costs: np.ndarray) -> None:
        """Sends the costs of the steps from `first` on, those apart that are stored."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        last = first + len(costs) - 1
        wanted = [*range(first + -first % self.every, last + 1, self.every)]
        if last == self.last_step and last % self.every:
            wanted.append(last)
        for step in wanted:
            cost = float(costs[step - first])
            if step > self.stored_to and step not in self.stored:
                self.unsent.append(Metric("cost", cost, now, step))
            elif self.stored.get(step, cost) != cost and self.contradicted is None:
                self.contradicted = step
        waited = time.monotonic() - self.flushed > FLUSH_SECONDS
        if len(self.unsent) >= BATCH or waited or last == self.last_step:
            self.flush()

    def flush(self) -> None:
        """Has the sending thread send what is unsent, unless it is at it."""
        if self.sending is None or self.sending.done():
            self.sending = self.sender.submit(self.send)
        self.flushed = time.monotonic()

    def send(self) -> None:
        """Sends until nothing is left or the store fails: then the rest waits for the next flush.

        A batch that arrived although its answer was lost is sent again; MLflow knows it by its time stamps.
        """
        while self.unsent:
            batch = self.unsent[:BATCH]
            self.client.log_batch(self.run_id, metrics=batch)
            del self.unsent[: len(batch)]  # and not [:BATCH]: more may have come in meanwhile

    def close(self) -> None:
        """Waits until the whole cost curve is stored; StoreError if the store fails, naming what is missing."""
        self.sender.shutdown()
        for logged in self.meanwhile:
            logged.result()
        try:
            self.send()
        except Exception as error:  # whatever MLflow, its database driver or the network raises
            missing = f"{len(self.unsent):,} points of the cost curve from step {self.unsent[0].step:,} on"
            raise StoreError(f"{tracking_uri()} did not take {missing}: {first_line(error)}") from error

    def log_summary(self, step: int, metrics: dict[str, float], tags: dict[str, str], description: str) -> None:
        """The figures and words that a reader of the run's page sees first; the metrics stand at `step`, once."""
        from mlflow.entities import Metric, RunTag

        now = int(time.time() * 1000)
        wanted = {key: value for key, value in metrics.items() if not self.has_metric(key, step)}
        if VALIDATION in metrics and self.validated.get(step) != metrics[VALIDATION]:  # that of other weights, perhaps
            wanted[VALIDATION] = metrics[VALIDATION]
        elif VALIDATION in wanted:
            del wanted[VALIDATION]
        self.client.log_batch(
            self.run_id,
            metrics=[Metric(key, value, now, step) for key, value in wanted.items()],
            tags=[RunTag(*tag) for tag in as_stored({**tags, "mlflow.note.content": description}).items()],
        )

    def has_metric(self, key: str, step: int) -> bool:
        """Whether the run, if resumed, had that metric at that step before."""
        known = self.run.data.metrics
        return key in known and any(p.step == step for p in self.client.get_metric_history(self.run_id, key))

    def log_files(self, folder: Path) -> None:
        """Copies everything in `folder` to the run's artifacts."""
        self.client.log_artifacts(self.run_id, str(folder))

    def log_model(self, model: "keras.Model") -> None:
        """Logs the model as a plain .keras file with its signature, to be loaded or served; nothing pickled.

        By MLflow's client alone: what it offers beside that makes the run an active one, which it would call FINISHED
        at exit whatever is missing, and it reads the whole history of every metric.
        """
        import keras
        import tensorflow as tf
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus
        from mlflow.models import Model

        from lstm_lab.records import serving

        logged = self.begin_model()
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent, "model")
            serving.save_model(
                str(folder),
                model=model,
                mlflow_model=Model(
                    logged.artifact_location, self.run_id, model_uuid=logged.model_id, model_id=logged.model_id
                ),
                signature=serving.signature_of(model),
                pip_requirements=[f"keras=={keras.__version__}", f"tensorflow=={tf.__version__}"],
            )
            self.client.log_model_artifacts(logged.model_id, str(folder))
        self.client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        self.client.log_outputs(self.run_id, [LoggedModelOutput(logged.model_id, step=0)])

    def begin_model(self) -> "LoggedModel":
        """A model of this run in the store, with nothing in it yet."""
        if self.resumed:
            self.forget_unfinished_models()
        params = {key: text[:SHORTEST_CUT] for key, text in as_params(self.config).items()}
        tags = {key: self.run.data.tags[key] for key in MODELS_TAGS if key in self.run.data.tags}
        return self.client.create_logged_model(self.experiment_id, "model", self.run_id, tags=tags, params=params)

    def forget_unfinished_models(self) -> None:
        """Removes what a process that was killed has begun to log as this run's model: it would be pending for ever."""
        from mlflow.entities import LoggedModelStatus

        its_own = f"source_run_id = '{self.run_id}'"
        for model in self.client.search_logged_models([self.experiment_id], filter_string=its_own):
            if model.status == LoggedModelStatus.PENDING:
                self.client.delete_logged_model(model.model_id)

    def end(self, status: str) -> None:
        """Sets the status: FINISHED, FAILED or KILLED."""
        self.ended = status
        self.client.set_terminated(self.run_id, status)

    def url(self) -> str:
        """The run's page, in the web page that `mlflow ui` or the tracking server serves."""
        return address(run_page(self.experiment_id, self.run_id))


def config_text(config: Config) -> str:
    """The config as config.yaml has it."""
    return yaml.dump(config.model_dump(), Dumper=DUMPER, sort_keys=False)


def config_tags(config: Config) -> dict[str, str]:
    """The config in tags, which alone can be there as soon as the run is; MLflow cuts longer values."""
    text = config_text(config)
    return {f"config.{i}": text[at : at + TAG] for i, at in enumerate(range(0, len(text), TAG))}


def source_tags() -> dict[str, str]:
    """The tags in which MLflow shows where a run came from."""
    tags = {"mlflow.source.name": "src/train.py", "mlflow.source.type": "LOCAL", "mlflow.user": user()}
    running = code.running_code()
    known = {
        "mlflow.source.git.commit": running and running.hash,
        "mlflow.source.git.branch": running and running.facts()["branch"],
        "git.dirty": str(running.dirty).lower() if running and running.dirty is not None else None,
    }
    return tags | {key: value for key, value in known.items() if value}


def user() -> str:
    """The user's name or, where the system has none for it, as in a container, the number."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError up to Python 3.12
        return f"uid {os.getuid()}"
