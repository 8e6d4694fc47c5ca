"""Trains the recipes of RECORDS.md again, each with the code of its commit, and compares the bits: `make records`.

make records             every row, in some minutes; exit code 1 if one is not as it was recorded
make records ROW=best    one of them
.venv/bin/python benchmarks/records.py --add NAME --changed "what, and by whom" experiment=best training.steps=310
                         trains that recipe with the code of the commit that is checked out, or --commit HASH,
                             and puts it on the board
"""

import argparse
import contextlib
import hashlib
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from public_series import ROOT
from record_page import BOUNDS, WINDOW, Row, figures, render

sys.path.insert(0, str(ROOT / "src"))
from lstm_lab.config import CannotRunError
from lstm_lab.records import git, reading, tagging
from lstm_lab.runs import checkout

HERE = Path(__file__).resolve().parent
BOARD, PAGE = HERE / "records.json", ROOT / "RECORDS.md"
SEEDS = 10  # from 0 on
AFTER = 100  # updates, at least, for which a run goes on once the bound holds
# What no recipe may change, as MLflow has it
RULES = {
    "data.curve": "sine_to_cosine",
    "data.time_steps": "20",
    "data.sample_spacing": "0.03183098861837907",
    "training.cost": "squared",
    "training.carry_state": "True",
    "training.level": "portable",
}
# What is kept of a run beside its costs takes longer than the training, and changes no bit
UNWATCHED = (
    *(f"tracking.{what}=false" for what in ("figures", "animation", "model", "tensorboard")),
    "training.frames=1",
)
CODE = ("src", "conf")  # what decides the bits of a commit


@dataclass(frozen=True)
class Trained:
    """The costs [updates] of each seed; the settings as MLflow has them, that all seeds share but for the seed."""

    costs: dict[int, np.ndarray]
    settings: dict[str, str]


def updates_until(costs: np.ndarray, bound: float) -> int | None:
    """The first update from which on the mean of the last 20 costs [updates] is below the bound, at every update.

    None unless the run goes on for 100 updates after it. A cost that is no number is above every bound.
    """
    means = np.convolve(costs.astype(np.float64), np.ones(WINDOW), "valid") / WINDOW  # at the updates from 20 on
    above = np.flatnonzero(~(means < bound))
    first = WINDOW + (int(above[-1]) + 1 if above.size else 0)
    return first if first + AFTER <= len(costs) else None


def train(root: Path, words: Sequence[str]) -> Trained:
    """Trains a recipe with each seed by the code of that checkout, in a store that is gone afterwards.

    CannotRunError with its complaint if it fails, or breaks a rule of the board.
    """
    with tempfile.TemporaryDirectory(prefix="lstm-lab-records-") as store:
        uri = f"sqlite:///{store}/runs.db"
        command = [sys.executable, str(root / "src/train.py"), f"seeds={SEEDS}", *words, *UNWATCHED]
        environment = {**git.environment_without_git(), "MLFLOW_TRACKING_URI": uri}
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise CannotRunError(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()[-2000:]}")
        return trained(uri)


def trained(uri: str) -> Trained:
    """What the store has of its one recipe; CannotRunError if a seed is missing, or a rule is broken."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.search_runs([one.experiment_id for one in client.search_experiments()])
    runs = [run for run in found if not (tagging.is_study(tags := tagging.tags_of(run)) or tagging.is_group(tags))]
    by_seed = {int(run.data.params["training.seed"]): run for run in runs}
    settings = runs[0].data.params if runs else {}
    if sorted(by_seed) != list(range(SEEDS)):
        raise CannotRunError(f"the store has runs of the seeds {sorted(by_seed)}, not of 0 to {SEEDS - 1}")
    if wrong := broken(settings):
        raise CannotRunError(f"a row of this board has {wrong}")
    costs = {}
    for seed, run in sorted(by_seed.items()):
        content = reading.fetch(run.info.artifact_uri, "cost.npy", 2**24, uri)
        if content is None:
            raise CannotRunError(f"the run of seed {seed} kept no costs")
        costs[seed] = np.load(io.BytesIO(content), allow_pickle=False)
    return Trained(costs, settings)


def broken(settings: Mapping[str, str]) -> str:
    """The rules that a recipe's settings break, in words."""
    return ", ".join(
        f"{key}={value}, not {settings.get(key)}" for key, value in RULES.items() if settings.get(key) != value
    )


def row_of(name: str, changed: str, words: Sequence[str], commit: str, made: Trained) -> Row:
    """The row of a recipe that was trained today at that commit."""
    return Row(
        name=name,
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        changed=changed,
        words=list(words),
        commit=commit,
        updates=len(made.costs[0]),
        samples_per_update=int(made.settings["data.batch_size"]) * int(made.settings["data.time_steps"]),
        costs=[hashlib.sha256(costs.tobytes()).hexdigest() for costs in made.costs.values()],
        until={bound: [updates_until(costs, float(bound)) for costs in made.costs.values()] for bound in BOUNDS},
    )


@contextlib.contextmanager
def code_of(name: str, commit: str) -> Iterator[tuple[Path, str]]:
    """A folder with the code of that commit, and which code it is in words; where it is not known, what is here."""
    with checkout.ended_in_order(), checkout.folder_for_now() as folder:
        try:
            with checkout.faults_told(name):
                checkout.prepare(folder, commit, name)
                git.fill(folder, commit, b"")
        except CannotRunError as error:
            print(error, flush=True)
            yield ROOT, "the code that is here, not its own"
            return
        yield folder, f"the code of commit {commit[:8]}"


def differences(then: Row, now: Row) -> list[str]:
    """In what a row that was trained again is another than it was."""
    seeds = [seed for seed, (a, b) in enumerate(itertools.zip_longest(then.costs, now.costs)) if a != b]
    told = [f"other bits with seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"] if seeds else []
    for what in ("updates", "samples_per_update", "until"):
        before, after = getattr(then, what), getattr(now, what)
        told += [f"{what.replace('_', ' ')}: {after}, recorded as {before}"] if before != after else []
    return told


def train_again(row: Row) -> bool:
    """Trains a row again, prints the verdict, and tells whether it is as it was recorded, to the bit."""
    print(f"{row.name} ...", flush=True)
    started = time.perf_counter()
    with code_of(row.name, row.commit) as (root, code):
        now = row_of(row.name, row.changed, row.words, row.commit, train(root, row.words))
    told = differences(row, now)
    verdict = "; ".join(told) or f"the same bits with {len(row.costs)} seeds"
    seconds = time.perf_counter() - started
    print(f"{row.name}: {verdict}, by {code} ({seconds:.0f} s)", flush=True)
    return not told


def read_board() -> list[Row]:
    """The rows, in the order in which they were set."""
    return [Row(**row) for row in json.loads(BOARD.read_text())] if BOARD.exists() else []


def write_board(rows: Sequence[Row]) -> None:
    """Writes the rows, and the page of them."""
    BOARD.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    PAGE.write_text(render(rows))


def add(rows: Sequence[Row], name: str, changed: str, words: Sequence[str], commit: str) -> None:
    """Trains a recipe with the code of a commit, and puts it on the board."""
    if not git.is_hash(commit):
        raise CannotRunError(f"--commit {commit}: must be a commit's whole hash, 40 or 64 digits (0-9, a-f)")
    if name in [row.name for row in rows]:
        raise CannotRunError(f"--add {name}: there is a row of that name; take it out of {BOARD.name} first")
    with code_of(name, commit) as (root, _):
        if root == ROOT:
            raise CannotRunError(f"--add {name}: a row needs a commit that others can have too")
        row = row_of(name, changed, words, commit, train(root, words))
    write_board([*rows, row])
    print(f"{name}: {' | '.join(figures([*rows, row])[name])}")
    print(f"written: {os.path.relpath(BOARD)}, {os.path.relpath(PAGE)}")


def checked_out() -> str:
    """The commit that is checked out; CannotRunError if its code is not what is here."""
    commit, _ = git.asked_head(ROOT)
    changes = git.git("-C", ROOT, "status", "--porcelain", "--", *CODE).decode(errors="replace").strip()
    if commit is None or changes:
        raise CannotRunError(f"--add: commit first, a row is of a commit; or name one by --commit: {changes}")
    return commit


def main() -> int:
    """The command line."""
    rows = read_board()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", choices=[row.name for row in rows], help="only this one")
    parser.add_argument("--add", metavar="NAME", help="a new row, of the recipe that the words give")
    parser.add_argument("--changed", metavar="TEXT", help="of a new row: what was changed, and by whom")
    parser.add_argument("--commit", metavar="HASH", help="of a new row: whose code trains it; default: what is here")
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help="of a new row: what is typed after src/train.py")
    asked = parser.parse_args()
    if bool(asked.add) != bool(asked.changed) or ((asked.words or asked.commit) and not asked.add):
        parser.error("a new row takes --add NAME, --changed TEXT and its words")
    try:
        if asked.add:
            add(rows, asked.add, asked.changed, asked.words, asked.commit or checked_out())
            return 0
        verdicts = [train_again(row) for row in rows if asked.row in (None, row.name)]
        return int(not all(verdicts))
    except CannotRunError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
