"""Predicts with a tracked run's model: a series goes on, or a target is predicted: `python src/forecast.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lstm_lab import commandline

DOOR = commandline.Door(
    "forecast",
    about="""\
Takes the model of a tracked run and a CSV file, and writes a CSV file and a picture.

A run with data.horizon has learnt how its own input goes on: the model goes through the file, and then forecasts
`steps` samples beyond its end on its own predictions. Any other run has learnt to tell a target from an input: the
model predicts it for every sample of the file.""",
    words={
        "run=ID": commandline.RUN,
        "data.path=FILE": "the samples, as for training; without it the run's own file",
        "data.input=COLUMN": "their column; without it the run's own",
        "steps=100": "how far to forecast, for a run with data.horizon",
        "out=FILE.csv": "where to; without it below mlruns/forecasts. The picture goes beside it, as .png",
    },
    closing="Exit code 0 if the CSV file is written, 2 if not: then nothing is. A picture that fails is named.",
    needed="run=ID",
)


def answer(words: dict[str, str]) -> int:
    """Writes the prediction and its picture, and prints where they are."""
    with commandline.importing():
        from lstm_lab.runs import forecasting
    given = (words.get(key) for key in ("data.path", "data.input", "steps", "out"))
    for path in forecasting.forecast(words["run"], *given):
        print(path)
    return 0


def main() -> int:
    """The command line."""
    return DOOR.enter(answer)


if __name__ == "__main__":
    sys.exit(main())
