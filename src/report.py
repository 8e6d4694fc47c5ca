"""Lists, filters and compares tracked runs: `python src/report.py --help`."""

import argparse
import io
import os
import re
import shlex
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # until main(): a stack trace of imports tells nobody anything

try:
    from rich.console import Console

    from lstm_lab.config import CannotRunError, ConfigError
    from lstm_lab.reports import terminal as report
    from lstm_lab.reports.comparison import Choice
    from lstm_lab.runs.run import complain
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed here: run `make report`, or `. .venv/bin/activate` first")

HELP = """Lists the latest runs. Compares those that are named, or with --compare those that would be listed: in the
terminal, and on one HTML page that needs nothing else: cost curves overlaid, metrics, what differs between the configs,
fitted curves side by side.

  runs=ID,ID,...     compare these; the first digits of an id are enough where no other begins so
  experiment=NAME    only runs of that experiment
  filter=CONDITION   only runs that pass, written as in MLflow's page: filter="params.model.cell = 'gru'"
                     (a sweep's trials: "tags.study = 'default'"; no trials: "tags.trial IS NULL")
  last=20            so many, the latest first
  best=10            so many, those of lowest mean_last_20_cost first
  --compare          compare the runs instead of listing them
  html=PATH          compare, and write the page there instead of below mlruns/reports/

Exit code 0, or 2 if there is nothing to report.
With make: make report ARGS="runs=ID,ID"
"""
ALLOWED = "runs=ID,ID, experiment=NAME, filter=CONDITION, last=NUMBER, best=NUMBER, html=PATH, --compare"


def parse(arguments: list[str]) -> tuple[Choice, Path | None]:
    """Which runs, and the page to compare them on if they are not just listed; ConfigError names a faulty word."""
    parser = argparse.ArgumentParser(
        usage="python src/report.py [runs=ID,ID] [experiment=NAME] [filter=CONDITION] [last=20] [--compare]",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--compare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)
    found = parser.parse_intermixed_args(arguments)  # words on both sides of a flag
    values: dict[str, str] = {}
    for word in found.words:
        key, _, value = word.partition("=")
        if key not in ("runs", "experiment", "filter", "last", "best", "html"):
            raise ConfigError(f"{key}: no such word; allowed: {ALLOWED}")
        if not value:
            raise ConfigError(f"{word}: a value is missing; allowed: {ALLOWED}")
        if key in values:
            raise ConfigError(f"{word}: {key} is given twice")
        values[key] = value
    for one, others in (("runs", ("experiment", "filter", "last", "best")), ("best", ("last",))):
        for other in others:
            if one in values and other in values:
                raise ConfigError(f"{other}={values[other]}: {one}={values[one]} says already which runs")
    choice = Choice(
        runs=values["runs"].split(",") if "runs" in values else (),
        experiment=values.get("experiment"),
        filter=values.get("filter", ""),
        last=count("last", values.get("last", "20")),
        best=count("best", values["best"]) if "best" in values else None,
    )
    if "html" in values:
        return choice, Path(values["html"])
    return choice, report.default_page() if choice.runs or found.compare else None


def count(key: str, value: str) -> int:
    """A number of runs; ConfigError if it is none."""
    if not re.fullmatch("[1-9][0-9]{0,3}|10000", value):
        raise ConfigError(f"{key}={value}: must be a whole number from 1 to 10000")
    return int(value)


def main() -> int:
    """The command line: `python src/report.py [runs=ID,ID] [KEY=VALUE ...] [--compare]`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a name can have letters that the terminal's encoding has not
    try:
        choice, page = parse(sys.argv[1:])
        report.report(choice, page, shlex.join(["python", "src/report.py", *sys.argv[1:]]), Console())
    except CannotRunError as error:
        complain(str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
