"""Trains a tracked run again and says whether it gave the same bits: `python src/reproduce.py --help`."""

import argparse
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # until main(): a stack trace of imports tells nobody anything

try:
    from rich.console import Console

    from lstm_lab.config import CannotRunError, ConfigError
    from lstm_lab.runs import reproduction
    from lstm_lab.runs.run import complain
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed here: run `make reproduce RUN=ID`, or `. .venv/bin/activate` first")

HELP = """Trains a tracked run again, from nothing but its id, and compares config, data, the cost of every step and the
final weights. Lists first what differs between then and now: commit, uncommitted changes, packages, processor,
environment. The new run is linked to the old one, and the verdict stands on both.

  run=ID           the run: the 32 hexadecimal digits that a run prints, and that its page in MLflow shows
  tolerance=1e-6   also accept costs and weights within this relative difference
  --checkout       train with the code of the run's own commit and uncommitted changes, in a temporary worktree

Exit code 0 if bit-identical (or within the tolerance given), 1 if not, 2 if it cannot be tried.
With make: make reproduce RUN=ID ARGS="tolerance=1e-6 --checkout"
"""


def parse(arguments: list[str]) -> tuple[str, float, bool]:
    """The run's id, the tolerance, whether to check out; ConfigError names a faulty word."""
    parser = argparse.ArgumentParser(
        usage="python src/reproduce.py run=ID [tolerance=1e-6] [--checkout]",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--checkout", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)
    if not arguments:
        parser.print_help()
        sys.exit(2)
    found = parser.parse_intermixed_args(arguments)
    values = dict(word.split("=", 1) if "=" in word else (word, "") for word in found.words)
    if unknown := set(values) - {"run", "tolerance"}:
        raise ConfigError(f"{min(unknown)}: no such word; allowed: run=ID, tolerance=NUMBER, --checkout")
    if "run" not in values:
        raise ConfigError("run=ID is missing: which run?")
    try:
        tolerance = float(values.get("tolerance", "0"))
    except ValueError:
        tolerance = -1.0
    if not 0 <= tolerance < 1:
        raise ConfigError(f"tolerance={values['tolerance']}: must be a number from 0 to below 1, such as 1e-6")
    return values["run"], tolerance, found.checkout


def main() -> int:
    """The command line: `python src/reproduce.py run=ID [tolerance=1e-6] [--checkout]`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run_id, tolerance, checkout = parse(sys.argv[1:])
        if checkout:
            words = [word for word in sys.argv[1:] if word != "--checkout"]
            return reproduction.reproduce_in_checkout(run_id, words)
        return 0 if reproduction.reproduce(run_id, tolerance, Console()).accepted else 1
    except CannotRunError as error:
        complain(str(error))
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
