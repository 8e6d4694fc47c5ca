"""What the program takes on a store of many runs, beside an empty one: whole processes, in turn, each store in a clone.

The runs are made by filling.py, through the program's own layers. `empty` has but a few runs: it has been opened, and
the bench's own commands leave theirs.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from processes import Ended, clone, run

REPORT = "src/report.py"
COMPARED = 500  # runs on one page
# What the report loads before it asks the store
IMPORTS = """
import sys
sys.path.insert(0, "src")
from lstm_lab.commandline import importing
with importing():
    from rich.console import Console
    from lstm_lab.reports import comparison, groups, terminal
from lstm_lab.records import store
store.import_mlflow()
"""
ASKED: dict[str, list[str]] = {
    "list": [REPORT],
    "best": [REPORT, "best=10"],
    "filter": [REPORT, "filter=params.model.cell_size = '40' AND metrics.final_cost < 0.1"],
    "compare": [REPORT, f"last={COMPARED}", "html=page.html"],
}
SWEEP = ["src/train.py", "-m", "sweeps", "hydra/sweeper/sampler=random", "hydra/sweeper/pruner=none"]


def measure_store(runs: int, rounds: int, trials: int) -> dict[str, Any]:
    """Fills a store with so many runs, then measures in it and in an empty one."""
    with clone() as empty, clone() as filled:
        filling = run(filled, ["benchmarks/filling.py", str(runs)])
        sizes = {name: size_of(filled / name) for name in ("mlflow.db", "mlruns")}
        found = compare(empty, filled, rounds, trials)
    return {"runs": runs, "filling": filling.seconds, "bytes": sizes, **found}


def compare(empty: Path, filled: Path, rounds: int, trials: int) -> dict[str, Any]:
    """Seconds of each command in two clones, in so many rounds; of those that are run in both, a pair in each round."""
    run(empty, ["src/train.py"])
    run(filled, ["src/train.py"])  # the first one compiles Python's modules
    ways: dict[str, Callable[[int], Ended]] = {"imports": lambda _: run(filled, ["-c", IMPORTS])}
    for name, words in ASKED.items():
        ways[name] = lambda _, words=words: run(filled, words)  # type: ignore[misc]
    for name, root in {"empty": empty, "filled": filled}.items():
        ways[f"start, {name}"] = lambda _, root=root: run(root, ["src/train.py"], line="step")  # type: ignore[misc]
        ways[f"sweep, {name}"] = lambda number, root=root: sweep(root, number, trials)  # type: ignore[misc]
    ended: dict[str, list[Ended]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in ways if number % 2 else reversed(ways):
            ended[name].append(ways[name](number))
    return {
        "trials": trials,
        "seconds": {name: [one.seconds for one in made] for name, made in ended.items()},
        "processor_seconds": {name: [one.processor_seconds for one in made] for name, made in ended.items()},
        "until_first_step": {name: [one.until_line for one in ended[f"start, {name}"]] for name in ("empty", "filled")},
        "page": {"bytes": size_of(filled / "page.html"), "elements": elements_of(filled / "page.html")},
    }


def sweep(root: Path, number: int, trials: int) -> Ended:
    """A study of so many trials, a new one in each round."""
    return run(root, [*SWEEP, f"hydra.sweeper.n_trials={trials}", f"hydra.sweeper.study_name=round-{number}"])


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    files: Sequence[Path] = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def elements_of(page: Path) -> int:
    """How many elements a page has."""
    return len(re.findall(r"<[a-z]", page.read_text()))
