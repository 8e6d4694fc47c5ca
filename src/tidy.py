"""Finds what runs have left behind that nobody owns any more, and removes it if asked: `python src/tidy.py --help`."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lstm_lab import commandline
from lstm_lab.config import ConfigError

DOOR = commandline.Door(
    "tidy",
    about="""\
Says what runs have left behind and nobody owns any more, and how many MB that takes: runs deleted in MLflow, all that
is left of runs that are in no store, studies without trials. Removes nothing unless told to.

A run stays that FINDINGS.md, PAPERS.md or RECORDS.md cite, that a run which stays reproduces, has as a seed or belongs
to, or that may still be training anywhere. So does everything that is not known by its form as a run's.""",
    words={
        "--yes": "remove it for good; may be stopped at any moment and typed again",
        "older=30": "also runs that failed or were killed more than so many days ago; pruned trials stay",
    },
    closing="""\
Exit code 0, or 2 if there is no store or something in it cannot be removed.
With make: make gc ARGS="--yes older=30\"""",
)


def answer(words: dict[str, str]) -> int:
    """Says what would go, or removes it."""
    older = words.get("older")
    if older is not None and not re.fullmatch("[0-9]{1,5}", older):
        raise ConfigError(f"older={older}: must be a number of days, a whole one from 0 to 99999")
    with commandline.importing():
        from rich.console import Console

        from lstm_lab.tidying import terminal
    terminal.tidy(None if older is None else int(older), "--yes" in words, Console())
    return 0


def main() -> int:
    """The command line."""
    return DOOR.enter(answer)


if __name__ == "__main__":
    sys.exit(main())
