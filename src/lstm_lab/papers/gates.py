"""What the tutorial's recipe lacks: the adding task by how long gates keep their state at first, and by the rate."""

import math

import numpy as np

from lstm_lab.findings.runs import Studies
from lstm_lab.findings.template import Finding
from lstm_lab.reports import tables
from lstm_lab.reports.groups import split
from lstm_lab.runs.metrics import SOLVED

STUDY = "papers/gates"


def compute(studies: Studies) -> Finding:
    """How many runs solve the task, and after how many sequences, by memory steps (rows) and learning rate."""
    runs = studies.grid(STUDY)
    of = split(runs, "model.memory_steps", "optimizer.learning_rate")
    memories, rates = (sorted({key[i] for key in of}, key=float) for i in (0, 1))
    until = {key: [run.metrics.get(f"{SOLVED}solved", math.inf) for run in found] for key, found in of.items()}
    solved = {key: sum(map(math.isfinite, each)) for key, each in until.items()}

    def cell(memory: str, rate: str) -> str:
        middle = float(np.median(until[memory, rate]))
        after = f", {middle:,.0f}" if math.isfinite(middle) else ""
        return f"{solved[memory, rate]} of {len(until[memory, rate])}{after}"

    rows = [[memory, *(cell(memory, rate) for rate in rates)] for memory in memories]
    sources = {f"memory_steps {memory}, rate {rate}": found for (memory, rate), found in of.items()}
    most = max(int(run.params["training.steps"]) * int(run.params["data.batch_size"]) for run in runs)
    values = {
        "table": tables.markdown(["memory_steps", *(f"rate {rate}" for rate in rates)], rows, sources),
        "most": most,
        "without": max(solved[memories[0], rate] for rate in rates),
        "best": max(solved, key=lambda key: (solved[key], -float(np.median(until[key])))),
        "solved": max(solved.values()),
        "seeds": studies.seeds,
        "command": studies.command(STUDY),
    }
    return Finding(values, {})
