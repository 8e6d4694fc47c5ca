"""What the store has of a run that is to be used again: the run, its config, and what made it."""

import contextlib
import functools
import itertools
import math
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_lab import config
from lstm_lab.commandline import typed
from lstm_lab.config import Config, ConfigError
from lstm_lab.records import provenance, reading, store
from lstm_lab.records.reading import UnsoundError, printable, sound
from lstm_lab.records.store import StoreError
from lstm_lab.records.tagging import is_group, tags_of
from lstm_lab.records.tracking import TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

    from lstm_lab.science.curves import Units

PAGES = 50_000  # as many runs as MLflow gives in one answer
POINTS = 25_000  # of a metric in one answer
MOST_ANSWERS = 1000  # to one question, of a thousand runs each
CONFIG_BYTES = 2**20  # of a config.yaml; one with 3,000 amplitudes has 50,000
UNITS = 2**28  # bytes of the units of many series
ROOM = 2**16  # bytes that an archive takes beside its arrays
FAULTS = 3  # of a config that are told in a line
DAY = 86_400_000  # milliseconds; no clock is further ahead, and a run from later is none
KERNELS = {"lstm": 4, "gru": 3, "simple_rnn": 1}  # matrices that a cell's kernel stacks side by side


class UnsoundFileError(StoreError):
    """A file of a run is not what a run leaves, although the store is there."""


def find_run(client: "MlflowClient", word: str, name: str) -> "Run":
    """The run that a user means by `word=name`; ConfigError if there is none, or more than one.

    A name is an id or its first digits, `last` for the newest run, or a study for its best trial.
    """
    run = find_runs(client, word, [name])[0]
    if is_group(tags := tags_of(run)):
        first = next(iter(members_of(tags).values()), "")
        such = f", such as {word}={first[:8]}" if first else ""
        raise ConfigError(
            f"{word}={name}: that is a group of runs with several seeds; name one of them{such}. A group goes on when "
            "its command is typed again"
        )
    return run


def find_runs(client: "MlflowClient", word: str, names: Sequence[str]) -> "list[Run]":
    """The runs that are meant, as for `find_run`, in their order and each once; many whole ids take one query."""
    experiments = list(experiments_of(client))
    whole = ", ".join(f"'{name}'" for name in dict.fromkeys(names) if reading.is_run_id(name))
    known = client.search_runs(experiments, f"attributes.run_id IN ({whole})", max_results=len(names)) if whole else []
    found = {run.info.run_id: run for run in known}
    if not set(names) <= found.keys():
        best = best_of_studies(client, experiments)
        names = rejoined(names, best)
        for name in set(names) - found.keys():
            if name == "last":
                found[name] = newest(client, experiments, word)
            elif name in best:
                found[name] = best_trial(client, f"{word}={name}", best[name])
            else:
                found[name] = only_one(client, experiments, word, name)
    return list({found[name].info.run_id: sound(found[name]) for name in names}.values())


def members_of(tags: Mapping[str, str]) -> dict[int, str]:
    """The ids of the runs of a group with these tags by their seeds, in ascending order, as far as they are over."""
    named = {re.fullmatch(r"seed\.([0-9]{1,10})", key): value for key, value in tags.items()}
    members = {int(key[1]): value for key, value in named.items() if key and reading.is_run_id(value)}
    return dict(sorted(members.items()))


def rejoined(names: Sequence[str], studies: Collection[str]) -> list[str]:
    """The names, where those of studies were cut at their commas."""
    whole, left = [], list(names)
    most = 1 + max((name.count(",") for name in studies), default=0)
    while left:
        length = next((n for n in range(min(most, len(left)), 1, -1) if ",".join(left[:n]) in studies), 1)
        whole.append(",".join(left[:length]))
        del left[:length]
    return whole


def newest(client: "MlflowClient", experiments: list[str], word: str) -> "Run":
    """The run of src/train.py that began last, be it a trial; a study's own page is none."""
    ours = f"tags.`mlflow.source.name` = 'src/train.py' AND tags.sweep IS NULL AND tags.seeds IS NULL AND {begun()}"
    for run in client.search_runs(experiments, ours, max_results=1, order_by=["attributes.start_time DESC"]):
        return run
    raise ConfigError(f"{word}=last: there is no run yet (looked for in {store.tracking_uri()})")


def begun() -> str:
    """MLflow's condition that a run has begun: one that says that it began in another century is never the last."""
    return f"attributes.start_time < {int(time.time() * 1000) + DAY}"


def best_of_studies(client: "MlflowClient", experiments: list[str]) -> dict[str, str]:
    """The id of each study's best trial by the study's name, '' if it has none yet; of namesakes the newest counts."""
    order = ["attributes.start_time ASC"]
    pages = client.search_runs(experiments, "tags.sweep = 'parent'", max_results=PAGES, order_by=order)
    return {page.data.tags.get("study", ""): page.data.tags.get("best_run", "") for page in pages}


def best_trial(client: "MlflowClient", named: str, run_id: str) -> "Run":
    """The best trial of the study that the user named."""
    from mlflow.exceptions import MlflowException

    if not run_id:
        raise ConfigError(f"{named}: that study has no best trial: none is complete, or they differ in their data")
    try:
        return present(client.get_run(run_id), named)
    except MlflowException as error:
        raise ConfigError(f"{named}: its best trial is gone ({store.first_line(error)})") from None


def only_one(client: "MlflowClient", experiments: list[str], word: str, start: str) -> "Run":
    """The one run whose id begins so."""
    from mlflow.entities import ViewType

    if not re.fullmatch("[0-9a-f]{1,32}", start):
        raise ConfigError(
            f"{word}={start}: must be a run's id or its first digits (0-9, a-f), 'last' for the newest, or the name of "
            f"a study for its best trial; `{typed('report')}` lists the runs"
        )
    begins = f"attributes.run_id LIKE '{start}%'"
    found = client.search_runs(experiments, begins, max_results=5)
    if len(found) == 1:
        return found[0]
    if found:
        examples = ", ".join(run.info.run_id[: len(start) + 6] for run in found)
        raise ConfigError(f"{word}={start}: several runs begin so ({examples}, ...); give more digits")
    anywhere = [found.experiment_id for found in pages(client.search_experiments, ViewType.ALL)]
    for run in client.search_runs(anywhere, begins, ViewType.DELETED_ONLY, max_results=1):
        return present(run, f"{word}={start}")
    where = f"looked for in {store.tracking_uri()}"
    raise ConfigError(f"{word}={start}: no run begins so, nor is a study called so ({where})")


def present(run: "Run", named: str) -> "Run":
    """The run; ConfigError if it was deleted."""
    if run.info.lifecycle_stage != "active":
        command = store.mlflow_command("runs", "restore", "--run-id", run.info.run_id)
        raise ConfigError(f"{named}: that run was deleted; `{command}` takes it back")
    return run


def every_run(client: "MlflowClient", condition: str) -> "list[Run]":
    """All runs, of whatever experiment, that pass MLflow's filter; none that was deleted."""
    experiments = list(experiments_of(client))
    found = pages(client.search_runs, experiments, condition) if experiments else ()
    return [run for run in found if reading.is_run_id(run.info.run_id)]


def pages(search: Callable[..., Any], *asked: Any) -> Iterator[Any]:
    """Everything that one of MLflow's searches finds; it answers a page at a time. StoreError if that has no end."""
    token: str | None = None
    asked_for: set[str | None] = set()
    while token not in asked_for and len(asked_for) < MOST_ANSWERS:
        asked_for.add(token)
        found = search(*asked, page_token=token)
        yield from found
        token = found.token
        if not token:
            return
    raise StoreError(f"{store.tracking_uri()} answers without an end: {len(asked_for):,} pages of one list, and more")


def history_of(client: "MlflowClient", run_id: str, key: str) -> "list[Metric]":
    """Every point of a run's metric; the client's own way to them would follow a list without an end."""
    ask = client._tracking_client.store.get_metric_history
    return list(pages(functools.partial(ask, run_id, key, POINTS)))


def experiments_of(client: "MlflowClient") -> dict[str, str]:
    """The name of every experiment by its id; of none that was deleted."""
    return {found.experiment_id: found.name for found in pages(client.search_experiments)}


def artifact(client: "MlflowClient", run: "Run", path: str, most: int, at_once: bool = False) -> bytes | None:
    """The content of one of the run's files, of at most so many bytes; None if it has none of that name.

    StoreError names the run, the file and why it cannot be read. `at_once` is as in `reading.fetch`.
    """
    with told(run, path):
        return reading.fetch(run.info.artifact_uri, path, most, client.tracking_uri, at_once)


@contextlib.contextmanager
def told(run: "Run", path: str) -> Iterator[None]:
    """Makes one line of whatever is wrong with a file of the run, in a StoreError."""
    try:
        yield
    except UnsoundError as error:
        raise UnsoundFileError(f"run {run.info.run_id}: its {path} {error}") from None
    except Exception as error:  # whatever MLflow, the network or the disk raises
        reason = printable(store.first_line(error))
        raise StoreError(f"run {run.info.run_id}: its {path} cannot be read ({reason})") from None


def config_of(client: "MlflowClient", run: "Run") -> Config:
    """The config of a run in the store, from its config.yaml.

    A run that was cut short before that was whole has it from the tags that it began with.
    """
    content, tagged = artifact(client, run, "config.yaml", CONFIG_BYTES), text_in_tags(run)
    if content is None and not tagged:
        raise StoreError(f"run {run.info.run_id} has no config.yaml: it is no run of src/train.py")
    file = (content or b"").decode(errors="replace")
    return checked(run, tagged if tagged.startswith(file) else file)


def digested_config(client: "MlflowClient", run: "Run") -> Config:
    """The config that the run's digests are of: its tags change all at once, and config.yaml only after them."""
    tagged = text_in_tags(run)
    return checked(run, tagged) if tagged else config_of(client, run)


def text_in_tags(run: "Run") -> str:
    """The config in the run's tags, as YAML; nothing if it is older than they are. A piece that is not full ends it."""
    text, tags = "", tags_of(run)
    for i in itertools.count():
        piece = tags.get(f"config.{i}", "")
        text += piece
        if len(piece) < TAG:
            break
    return text


def checked(run: "Run", text: str) -> Config:
    """The config that a text from the store has. It is data: read as plain YAML, and checked like any other."""
    with told(run, "config.yaml"):
        reading.check_size(len(text), CONFIG_BYTES)
        values = reading.yaml_of(text)
        if not isinstance(values, dict):
            raise UnsoundError("holds no settings by name")
    try:
        return config.check(completed(values))
    except ConfigError as error:
        faults = "; ".join(map(printable, str(error).splitlines()[:FAULTS]))
        raise StoreError(
            f"the config.yaml of run {run.info.run_id} is none for this version of the code: {faults}"
        ) from None


def completed(values: dict[Any, Any]) -> dict[Any, Any]:
    """A config with the settings that are newer than it, as it was trained: runs on files had no validation once."""
    found = dict(values)
    for key, value in config.NEWER.items():
        group, _, name = key.partition(".")
        settings = found.get(group)
        if isinstance(settings, dict) and config.has({f"{group}.{k}": v for k, v in settings.items()}, key):
            found[group] = {name: value} | settings
    return found


def provenance_of(client: "MlflowClient", run_id: str) -> provenance.Provenance | None:
    """What made the run when it began; None if it was cut short before that was written, or it is not sound."""
    run = client.get_run(run_id)
    place, uri = run.info.artifact_uri, client.tracking_uri
    try:
        files = {name: reading.fetch(place, f"provenance/{name}", n, uri) for name, n in provenance.FILES.items()}
        return provenance.read(files)
    except UnsoundError:
        return None


def costs_of(client: "MlflowClient", run: "Run", steps: int) -> np.ndarray | None:
    """The cost of every step, float32 [steps done], of a run that is to do `steps`; None if it has none."""
    content = artifact(client, run, "cost.npy", 4 * steps + ROOM, at_once=True)
    if content is None:
        return None
    with told(run, "cost.npy"):
        costs = reading.array_of(content)
        reading.check_floats(costs, (costs.size,), "costs")
        if not 1 <= costs.size <= steps:
            raise UnsoundError(f"has {costs.size:,} costs; the run is to do {steps:,} steps")
        return costs


def weights_of(client: "MlflowClient", run: "Run", settings: Config) -> list[np.ndarray] | None:
    """The final weights of a run with that config, in Keras's order; None if it has none."""
    shapes = weight_shapes(settings)
    content = artifact(client, run, "final_weights.npz", bytes_of(shapes) + ROOM)
    if content is None:
        return None
    with told(run, "final_weights.npz"):
        weights = list(reading.arrays_of(content).values())
        reading.check_all_floats(weights, shapes, "weights")
        return weights


def weight_shapes(settings: Config) -> list[tuple[int, ...]]:
    """The shapes of the model's weights, in Keras's order, told without Keras."""
    size, cell = settings.model.cell_size, settings.model.cell
    width = KERNELS[cell] * size
    bias = (2, width) if cell == "gru" else (width,)  # a GRU has one for the input and one for the state
    input_size, output_size = settings.data.sizes
    return [(input_size, size), (size,), (size, width), (size, width), bias, (size, output_size), (output_size,)]


def bytes_of(shapes: Sequence[tuple[int, ...]]) -> int:
    """The bytes of float32 arrays of these shapes."""
    return 4 * sum(map(math.prod, shapes))


def units_of(client: "MlflowClient", run: "Run", settings: Config) -> "dict[str, Units] | None":
    """The units of inputs and targets of a run on a file, by series; '' if all have the same. None if it tells none.

    Older runs tell them in the kept model's description.
    """
    content = artifact(client, run, "units.npz", UNITS)
    if content is None:
        units = units_in_model(client, run, settings)
        return units and {"": units}
    with told(run, "units.npz"):
        return reading.units_by_series(reading.arrays_of(content), settings.data.sizes)


def half_widths_of(client: "MlflowClient", run: "Run", settings: Config) -> np.ndarray | None:
    """Half the widths, float32 [lead times, targets], of the run's prediction intervals; None if it has none.

    They are normalised, and infinite where there is no interval.
    """
    shape = settings.lead_times, settings.data.sizes[1]
    content = artifact(client, run, "half_widths.npy", bytes_of([shape]) + ROOM) if settings.lead_times else None
    if content is None:
        return None
    with told(run, "half_widths.npy"):
        found = reading.array_of(content)
        reading.check_floats(found, shape, "half-widths")
        if not (found >= 0).all():
            raise UnsoundError("has half-widths that are none")
        return found


def units_in_model(client: "MlflowClient", run: "Run", settings: Config) -> "Units | None":
    """The units that the kept model of a run on a file has; None if the run keeps no model.

    They are numbers in the model's own description, which is read as JSON: nothing builds what it describes.
    """
    most = 2 * bytes_of(weight_shapes(settings)) + 16 * ROOM
    for place, path in places_of_model(client, run):
        with told(run, f"kept {path}"):
            content = reading.fetch(place, path, most, client.tracking_uri)
            if content is not None:
                described = reading.json_of(reading.member_of(content, "config.json", 16 * ROOM))
                return reading.units_in(described, settings.data.sizes)
    return None


def places_of_model(client: "MlflowClient", run: "Run") -> list[tuple[str, str]]:
    """Where the run's model may be: artifacts of its own, or in older stores the run's."""
    condition = f"name = 'model' AND source_run_id = '{run.info.run_id}'"
    with told(run, "kept model"):
        models = client.search_logged_models([run.info.experiment_id], condition, max_results=1)
    kept = [(model.artifact_location, "data/model.keras") for model in models]
    return [*kept, (run.info.artifact_uri, "model/data/model.keras")]
