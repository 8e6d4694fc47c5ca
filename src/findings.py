"""Runs the studies that are missing and writes FINDINGS.md from the tracked runs: `python src/findings.py --help`."""

import sys

from lstm_lab import commandline
from lstm_lab.config import ConfigError

DOOR = commandline.Door(
    "findings",
    about="""\
Runs every study of the findings (sweeps/: best, carry, memory, window, truncation, search), each with 20 seeds, and
then writes FINDINGS.md and its figures in docs/findings/ from the tracked runs alone. A study that is done is not run
again; one that was cut short goes on. All of it takes about half an hour on two cores.""",
    words={
        "seeds=3": "a reduced count, from 2 on: studies of their own, written below mlruns/findings-3-seeds/ instead"
    },
    closing="With make: make findings SEEDS=3",
)


def answer(words: dict[str, str]) -> int:
    """Runs what is missing with so many seeds, and writes the page."""
    text = words.get("seeds", "20")
    if not text.isdecimal() or not 2 <= int(text) <= 1000:
        raise ConfigError(f"seeds={text}: must be a whole number from 2 to 1000")
    seeds = int(text)
    with commandline.importing():
        import train  # src/train.py, which every study is a command of
        from lstm_lab.findings import page as findings
        from lstm_lab.paths import ROOT
        from lstm_lab.records import store
    with train.clear_faults():
        store.check_store()
        train.prepare()
        for study in findings.commands(seeds):
            sys.argv[0] = "src/train.py"
            train.launch(["-m", *study])
        page = findings.write(store.open_store(), seeds)
    print(f"written: {page.relative_to(ROOT)} and its figures")
    return 0


def main() -> int:
    """The command line."""
    return DOOR.enter(answer)


if __name__ == "__main__":
    sys.exit(main())
