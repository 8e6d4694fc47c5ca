"""Trains a tracked run again and says whether it gave the same bits: `python src/reproduce.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lstm_lab import commandline
from lstm_lab.config import ConfigError

DOOR = commandline.Door(
    "reproduce",
    about="""\
Trains a tracked run again, from nothing but its id, and compares config, data, the cost of every step and the
final weights. Lists first what differs between then and now: commit, uncommitted changes, packages, processor,
environment. The new run is linked to the old one, and the verdict stands on both.""",
    words={
        "run=ID": commandline.RUN,
        "tolerance=1e-6": "also accept costs and weights within this relative difference",
        "--checkout": "train with the code of the run's own commit and uncommitted changes, in a temporary checkout",
        "--trust": "with --checkout: run that code also if a store names it that others may write to",
        "data.path=FILE": "where the run's data file is now: it is known by its SHA-256",
    },
    closing="""\
Exit code 0 if bit-identical (or within the tolerance given), 1 if not, 2 if it cannot be tried.
With make: make reproduce RUN=ID ARGS="tolerance=1e-6 --checkout\"""",
    needed="run=ID",
)


def answer(words: dict[str, str]) -> int:
    """Trains the run again; 0 if the bits are accepted, 1 if not."""
    try:
        tolerance = float(words.get("tolerance", "0"))
    except ValueError:
        tolerance = -1.0
    if not 0 <= tolerance < 1:
        raise ConfigError(f"tolerance={words['tolerance']}: must be a number from 0 to below 1, such as 1e-6")
    if "--trust" in words and "--checkout" not in words:
        raise ConfigError("--trust: goes with --checkout, which alone runs code that a store names")
    with commandline.importing():
        from rich.console import Console

        from lstm_lab.runs import checkout, reproduction
    run, path = words["run"], words.get("data.path")
    if "--checkout" in words:
        rest = [f"tolerance={words['tolerance']}"] if "tolerance" in words else []
        return checkout.reproduce(run, rest, path, "--trust" in words, Console())
    return 0 if reproduction.reproduce(run, tolerance, Console(), path).accepted else 1


def main() -> int:
    """The command line."""
    return DOOR.enter(answer)


if __name__ == "__main__":
    sys.exit(main())
