"""Runs the studies that are missing and writes FINDINGS.md from the tracked runs: `python src/findings.py --help`."""

import sys

import train  # src/train.py, which every study is a command of
from lstm_lab.config import ConfigError
from lstm_lab.findings import page as findings
from lstm_lab.paths import ROOT
from lstm_lab.records import store

HELP = """usage: python src/findings.py [seeds=20]

Runs every study of the findings (sweeps/: best, carry, memory, window, truncation, search), each with 20 seeds, and
then writes FINDINGS.md and its figures in docs/findings/ from the tracked runs alone. A study that is done is not run
again; one that was cut short goes on. All of it takes about half an hour on two cores.

  seeds=3    a reduced count, from 2 on: studies of their own, written below mlruns/findings-3-seeds/ instead

With make: make findings SEEDS=3
"""


def parse(arguments: list[str]) -> int:
    """The number of seeds; ConfigError names a faulty word."""
    seeds = str(findings.SEEDS)
    for word in arguments:
        key, _, seeds = word.partition("=")
        if key != "seeds":
            raise ConfigError(f"{word}: no such word; allowed: seeds=NUMBER")
    if not seeds.isdecimal() or not 2 <= int(seeds) <= 1000:
        raise ConfigError(f"seeds={seeds}: must be a whole number from 2 to 1000")
    return int(seeds)


def main() -> None:
    """The command line: `python src/findings.py [seeds=20]`."""
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print(HELP)
        return
    with train.clear_faults():
        seeds = parse(arguments)
        store.check_store()
        train.prepare()
        for words in findings.commands(seeds):
            sys.argv = ["src/train.py", "-m", *words]
            train.launch()
        page = findings.write(store.open_store(), seeds)
        print(f"written: {page.relative_to(ROOT)} and its figures")


if __name__ == "__main__":
    main()
