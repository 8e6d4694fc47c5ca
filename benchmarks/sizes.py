"""What long cost curves and long files take: time, memory, room on disk. Whole processes, in a clone of their own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from processes import METRICS_ALONE, clone, run
from store import size_of

POINTS = 5000  # of the metric `cost`, as conf/tracking/default.yaml has it
ROWS = 2**16  # of a file that are written at a time
NO_EVALUATION = ["evaluation.windows=0"]


def measure_curves(steps: Sequence[int]) -> list[dict[str, Any]]:
    """Tracked runs of so many steps, metrics alone: the usual number of points in the store, and one a step."""
    made = []
    with clone() as root:
        run(root, ["src/train.py", "training.level=fast"])
        for count in steps:
            for points in (POINTS, count):
                database, files = size_of(root / "mlflow.db"), size_of(root / "mlruns/artifacts")
                words = [f"training.steps={count}", f"tracking.metric_points={points}", *METRICS_ALONE]
                ended = run(root, ["src/train.py", "experiment=long", *words])
                made.append(
                    {
                        "steps": count,
                        "points": points,
                        "seconds": ended.seconds,
                        "processor_seconds": ended.processor_seconds,
                        "megabytes": ended.peak_megabytes,
                        "database_bytes": size_of(root / "mlflow.db") - database,
                        "artifact_bytes": size_of(root / "mlruns/artifacts") - files,
                    }
                )
    return made


def measure_files(rows: Sequence[int], evaluated: Sequence[int]) -> list[dict[str, Any]]:
    """Runs of 20 steps on a file of so many rows, without an evaluation; and those on files that are `evaluated`."""
    made = []
    with clone() as root:
        run(root, ["src/train.py", "training.level=fast"])
        for count in rows:
            write_series(root / "series.csv", count)
            for rest in [NO_EVALUATION, *[[]] * (count in evaluated)]:
                left = size_of(root / "mlruns")
                words = ["data.input=value", "data.time=time", "data.horizon=1", "training.level=fast", *rest]
                told = ["data=csv", "data.path=series.csv", *words, "training.steps=20"]
                ended = run(root, ["src/train.py", *told], line="step")
                made.append(
                    {
                        "rows": count,
                        "evaluated": not rest,
                        "seconds": ended.seconds,
                        "processor_seconds": ended.processor_seconds,
                        "until_first_step": ended.until_line,
                        "megabytes": ended.peak_megabytes,
                        "file_bytes": size_of(root / "series.csv"),
                        "left_bytes": size_of(root / "mlruns") - left,
                    }
                )
    return made


def write_series(file: Path, rows: int) -> None:
    """Writes a noisy sine, a sample a second: the columns time and value."""
    rng, start = np.random.default_rng(0), np.datetime64("1970-01-01T00:00:00")
    with open(file, "w") as text:
        text.write("time,value\n")
        for first in range(0, rows, ROWS):
            n = np.arange(first, min(rows, first + ROWS))
            values = np.sin(n / (10 * np.pi)) + rng.normal(0, 0.05, len(n))
            stamps = (start + n).astype(str).tolist()
            text.writelines(f"{stamp},{value:.6f}\n" for stamp, value in zip(stamps, values.tolist(), strict=True))
