"""Reproducing: a tracked run is trained again from what the store has of it, and the two are compared bit by bit."""

import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from lstm_lab import runtime
from lstm_lab.commandline import say
from lstm_lab.config import CannotRunError, Config, as_params
from lstm_lab.paths import ROOT
from lstm_lab.records import lookup, provenance, reading, store, tracking
from lstm_lab.records.git import environment_without_git
from lstm_lab.records.git import git as ask_git
from lstm_lab.records.provenance import Provenance
from lstm_lab.records.store import StoreError
from lstm_lab.runs import resume, run, setup, watching

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
def reproduce(name: str, tolerance: float, console: Console) -> Verdict:
    """Trains the run of that name again as a new run, compares, and leaves the verdict on both."""
    store.check_store()
    client = store.open_store()
    original = fetch(client, name)
    run_id = original.run.info.run_id
    settings = original.config.training
    runtime.start_tensorflow(settings.level, settings.threads)  # sets variables that are compared below
    differing = differences(original)
    say(
        console,
        f"run {reading.name_of(original.run)} ({run_id}), {len(original.costs):,} steps, level {settings.level}",
    )
    for difference in differing or ["nothing differs: code, packages, processor, environment are those of the run"]:
        say(console, f"  {difference}")

    config = original.config.model_copy(
        update={"training": settings.model_copy(update={"steps": len(original.costs), "live": False})}
    )
    part = setup.Part(name=f"again: {reading.name_of(original.run)}", tags={"reproduces": run_id})
    again = run.run(config, console, part=part)
    if again.status == "KILLED":
        raise KeyboardInterrupt
    tags = client.get_run(again.run_id).data.tags
    verdict = compare(original, again, digests(original, config, tags), tolerance, differing)
    client.set_tag(again.run_id, "verdict", verdict.text)
    client.set_tag(run_id, "reproduced", f"{verdict.text} ({again.run_id})")
    say(console, verdict.text, style="bold green" if verdict.accepted else "bold red")
    return verdict


def differences(original: Original) -> list[str]:
    """What differs between then and now, the likeliest cause of other bits first."""
    settings, params = original.config.training, original.run.data.params
    now = provenance.current(seed=settings.seed, level=settings.level, threads=settings.threads)
    found = provenance.differences(original.made_by, now, portable=settings.level == "portable")
    file_then, file_now = original.run.data.tags.get("data.file.sha256"), setup.make_source(original.config).file_sha256
    if file_then != file_now:
        found.insert(0, f"the file {params.get('data.path', '?')}: its SHA-256 was {file_then} then, is {file_now} now")
    changed = {key.removeprefix("changed.") for key in original.run.data.tags if key.startswith("changed.")}
    for key, text in as_params(original.config).items():
        if key not in changed and key in params and not tracking.is_kept(params[key], text):
            found.insert(
                0, f"config.yaml was changed: {key} is {text} there, and {params[key]} in the run's parameters"
            )
    return found


def digests(original: Original, config: Config, tags: dict[str, str]) -> dict[str, tuple[str, str]]:
    """The digests of data and initial weights, then and now: of the data of all the steps the run was to do."""
    data = setup.make_source(config).digest(original.config.training.steps)
    then, key = original.run.data.tags, "initial_weights.sha256"
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
        largest = max([float(relative.max()), *(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in weights)])
    accepted = math.isfinite(largest) and largest <= tolerance
    where = "only in the final weights"
    if len(differs):
        step = int(differs[0])
        where = f"from step {step:,} on, cost {then[step]:.9g} then, {now[step]:.9g} now"
    found = f"{where}; largest relative difference {largest:.2g}"
    if accepted:
        return Verdict(False, True, f"within tolerance={tolerance:g} but not bit-identical: differs {found}{cause}")
    return Verdict(False, False, f"differs {found}{cause}")


@store.faults_told()
def reproduce_in_checkout(name: str, words: Sequence[str]) -> int:
    """Reproduces in a temporary worktree with the run's own code; `words` are the command's others. Its exit code."""
    store.check_store()
    client = store.open_store()
    run_id = lookup.find_run(client, "run", name).info.run_id
    made_by = lookup.provenance_of(client, run_id)
    if made_by is None or not made_by.facts.get("commit"):
        raise StoreError(f"run={run_id}: its commit is not known, so it cannot be checked out")
    with worktree(made_by.facts["commit"], made_by.diff) as folder:
        script = folder / "src/reproduce.py"
        if not script.exists():
            raise CannotRunError(f"commit {made_by.facts['commit']} is older than src/reproduce.py")
        environment = {**environment_without_git(), "MLFLOW_TRACKING_URI": store.tracking_uri()}
        return subprocess.call([sys.executable, str(script), f"run={run_id}", *words], env=environment)


@contextmanager
def worktree(commit: str, diff: bytes) -> Iterator[Path]:
    """A temporary worktree of this repository at `commit`, `diff` applied; CannotRunError if git cannot make it."""

    def git(*words: Any, content: bytes = b"") -> None:
        try:
            ask_git(*words, content=content)
        except subprocess.CalledProcessError as error:
            raise CannotRunError(f"git {words[2]}: {error.stderr.decode(errors='replace').strip()}") from None
        except FileNotFoundError:
            raise CannotRunError("git is not installed: no commit can be checked out") from None

    with tempfile.TemporaryDirectory(prefix="lstm-lab-") as parent:
        folder = Path(parent, "checkout")
        git("-C", ROOT, "worktree", "prune")  # what a killed process has left of its own
        git("-C", ROOT, "worktree", "add", "--detach", folder, commit)
        try:
            if diff:
                git("-C", folder, "apply", "--binary", "--whitespace=nowarn", "-", content=diff)
            yield folder
        finally:
            git("-C", ROOT, "worktree", "remove", "--force", folder)
