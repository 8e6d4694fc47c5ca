"""Predicts with a tracked run's model: a series goes on, or a target is predicted: `python src/forecast.py --help`."""

import argparse
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # until main(): a stack trace of imports tells nobody anything

try:
    from lstm_lab.config import CannotRunError, ConfigError
    from lstm_lab.runs import forecasting
    from lstm_lab.runs.run import complain
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed here: run `make train`, or `. .venv/bin/activate` after it")

HELP = """Takes the model of a tracked run and a CSV file, and writes a CSV file and a picture.

A run with data.horizon has learnt how its own input goes on: the model goes through the file, and then forecasts
`steps` samples beyond its end on its own predictions. Any other run has learnt to tell a target from an input: the
model predicts it for every sample of the file.

  run=ID             the run: the 32 hexadecimal digits that a run prints, and that its page in MLflow shows
  data.path=FILE     the samples, as for training; without it the run's own file
  data.input=COLUMN  their column; without it the run's own
  steps=100          how far to forecast, for a run with data.horizon
  out=FILE.csv       where to; without it below mlruns/forecasts. The picture goes beside it, as .png

Exit code 0 if both are written, 2 if not: then nothing is.
"""
WORDS = ("run", "data.path", "data.input", "steps", "out")


def parse(arguments: list[str]) -> dict[str, str]:
    """The words and their values; ConfigError names a faulty one."""
    parser = argparse.ArgumentParser(
        usage="python src/forecast.py run=ID [data.path=FILE] [data.input=COLUMN] [steps=100] [out=FILE.csv]",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)
    if not arguments:
        parser.print_help()
        sys.exit(2)
    values = {}
    for word in parser.parse_args(arguments).words:
        key, _, value = word.partition("=")
        if key not in WORDS:
            raise ConfigError(f"{key}: no such word; allowed: {', '.join(f'{name}=...' for name in WORDS)}")
        if not value:
            raise ConfigError(f"{word}: a value is missing, as in {key}=...")
        values[key] = value
    if "run" not in values:
        raise ConfigError("run=ID is missing: which run?")
    return values


def main() -> int:
    """The command line: `python src/forecast.py run=ID [data.path=FILE] [steps=100] [out=FILE.csv]`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        words = parse(sys.argv[1:])
        for path in forecasting.forecast(
            words["run"], words.get("data.path"), words.get("data.input"), words.get("steps"), words.get("out")
        ):
            print(path)
    except CannotRunError as error:
        complain(str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
