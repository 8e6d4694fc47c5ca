"""Reproducing: a tracked run is trained again from what the store has of it, and the two are compared bit by bit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from lstm_lab import runtime
from lstm_lab.commandline import say
from lstm_lab.config import Config, as_params
from lstm_lab.records import code, lookup, provenance, reading, store, tagging, tracking
from lstm_lab.records.provenance import Provenance
from lstm_lab.records.store import StoreError
from lstm_lab.runs import datafile, resume, run, setup, watching

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True)
class Original:
    """What the store has of a run: its config, what made it, the cost of every step [steps], the final weights."""

    run: "Run"
    config: Config
    made_by: Provenance
    costs: np.ndarray
    weights: Sequence[np.ndarray]


@dataclass(frozen=True)
class Verdict:
    """Whether two runs are the same to the bit, or at least within the tolerance; and one line that says so."""

    identical: bool
    accepted: bool
    text: str


def fetch(client: "MlflowClient", name: str) -> Original:
    """Reads a run from the store, named as for `lookup.find_run`; StoreError says what of it is missing."""
    found = lookup.find_run(client, "run", name)
    run_id = found.info.run_id
    config = lookup.config_of(client, found)
    costs, weights = lookup.costs_of(client, found, config.training.steps), lookup.weights_of(client, found, config)
    if costs is None or weights is None:
        raise StoreError(
            f"run={run_id}: its cost.npy and final_weights.npz are not there; a run has them when it is over, and "
            f"`{resume.command(run_id)}` ends one that was cut short"
        )
    made_by = lookup.provenance_of(client, run_id)
    if made_by is None:
        raise StoreError(f"run={run_id}: it has no sound artifacts in provenance/, so what made it is not known")
    return Original(found, config, made_by, costs, weights)


@store.faults_told()
def reproduce(name: str, tolerance: float, console: Console, path: str | None = None) -> Verdict:
    """Trains the run of that name again as a new run, compares, and leaves the verdict on both.

    Its data file is read at `path` if it has been moved there.
    """
    store.check_store()
    client = store.open_store()
    original = fetch(client, name)
    run_id = original.run.info.run_id
    with_file = datafile.found(original.config, tagging.tags_of(original.run), f"run={run_id}", path, same=False)
    original = replace(original, config=with_file)
    settings = original.config.training
    runtime.start_tensorflow(settings.level, settings.threads)  # sets variables that are compared below
    differing = differences(original)
    say(
        console,
        f"run {reading.name_of(original.run)} ({run_id}), {len(original.costs):,} steps, level {settings.level}",
    )
    for difference in differing or ["nothing differs: code, packages, processor, environment are those of the run"]:
        say(console, f"  {difference}")
    if diff := original.made_by.diff:
        say(console, f"  its uncommitted changes: {code.describe_diff(diff)}")

    training = settings.lasting(len(original.costs)).model_copy(update={"live": False})
    config = original.config.model_copy(update={"training": training})
    part = setup.Part(name=f"again: {reading.name_of(original.run)}", tags={"reproduces": run_id})
    again = run.run(config, console, part=part)
    if again.status == "KILLED":
        raise KeyboardInterrupt
    tags = tagging.tags_of(client.get_run(again.run_id))
    verdict = compare(original, again, digests(original, config, tags), tolerance, differing)
    tagging.set_tags(client, again.run_id, {"verdict": verdict.text})
    tagging.set_tags(client, run_id, {"reproduced": f"{verdict.text} ({again.run_id})"})
    say(console, verdict.text, style="bold green" if verdict.accepted else "bold red")
    return verdict


def differences(original: Original) -> list[str]:
    """What differs between then and now, the likeliest cause of other bits first."""
    settings, params, read = original.config.training, original.run.data.params, as_params(original.config)
    now = provenance.current(seed=settings.seed, level=settings.level, threads=settings.threads)
    found = provenance.differences(original.made_by, now, portable=settings.level == "portable")
    for when, facts in (("then", original.made_by.facts), ("now", now.facts)):
        if missing := code.unknown(facts):
            found.append(f"not known of the code {when}: {missing}")
    if not code.is_recorded(original.made_by.facts, original.made_by.diff):
        found.insert(0, "uncommitted.diff was changed in the store: it has not the SHA-256 in provenance.json")
    file_then, file_now = (
        tagging.tags_of(original.run).get(datafile.TAG),
        setup.make_source(original.config).file_sha256,
    )
    if file_then != file_now:
        found.insert(0, datafile.differs(read.get("data.path", "none"), file_then, file_now))
    changed = {key.removeprefix("changed.") for key in original.run.data.tags if key.startswith("changed.")}
    changed.add("data.path")  # the file itself is compared, wherever it is
    for key, text in read.items():
        if key not in changed and key in params and not tracking.is_kept(params[key], text):
            found.insert(
                0, f"config.yaml was changed: {key} is {text} there, and {params[key]} in the run's parameters"
            )
    return found


def digests(original: Original, config: Config, tags: dict[str, str]) -> dict[str, tuple[str, str]]:
    """The digests of data and initial weights, then and now: of the data of all the steps the run was to do."""
    data = setup.make_source(config).digest(original.config.training.steps)
    then, key = tagging.tags_of(original.run), "initial_weights.sha256"
    return {
        "the data": (then.get("data.sha256", ""), data),
        "the initial weights": (then.get(key, ""), tags.get(key, "")),
    }


def compare(
    original: Original,
    again: watching.Result,
    hashes: dict[str, tuple[str, str]],
    tolerance: float,
    differing: Sequence[str],
) -> Verdict:
    """Compares two trainings of one config: data, initial weights, the cost of every step, final weights.

    Relative differences are |then - now| / |then| for a cost, and max |then - now| / max |then| for a weight array.
    """
    cause = f"; likeliest cause: {differing[0]}" if differing else "; nothing that is known to matter differs"
    for what, (digest_then, digest_now) in hashes.items():
        if digest_then != digest_now:
            return Verdict(False, False, f"differs before the first step: {what} are not the same{cause}")
    steps = min(len(original.costs), len(again.costs))
    then, now = original.costs[:steps], again.costs[:steps]
    diverged = not np.isfinite(then).all()  # then the number of steps after that is a matter of time, not of bits
    if len(original.costs) != len(again.costs) and not diverged:
        return Verdict(False, False, f"differs: {len(original.costs):,} steps then, {len(again.costs):,} now{cause}")
    differs = np.flatnonzero(then.view(np.uint32) != now.view(np.uint32))
    weights = [] if diverged else list(zip(original.weights, again.weights, strict=True))
    same_weights = all(a.tobytes() == b.tobytes() for a, b in weights)
    if not len(differs) and same_weights:
        arrays = f" and {len(weights)} arrays of final weights" if weights else ", until it diverged"
        return Verdict(True, True, f"bit-identical: {steps:,} costs{arrays}")
    with np.errstate(all="ignore"):
        relative = np.abs(then.astype(float) - now) / np.abs(then)
        off = [relative.max(), *(np.abs(a - b).max() / np.abs(a).max() for a, b in weights)]
        largest = float(np.max(off))  # not a number as soon as one of them is not, as Python's max would not say
    accepted = math.isfinite(largest) and largest <= tolerance
    where = "only in the final weights"
    if len(differs):
        step = int(differs[0])
        where = f"from step {step:,} on, cost {then[step]:.9g} then, {now[step]:.9g} now"
    found = f"{where}; largest relative difference {largest:.2g}"
    if accepted:
        return Verdict(False, True, f"within tolerance={tolerance:g} but not bit-identical: differs {found}{cause}")
    return Verdict(False, False, f"differs {found}{cause}")
