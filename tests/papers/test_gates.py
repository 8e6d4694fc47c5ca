"""The sections on gates and on the carried state, filled in from runs made up for it."""

from lstm_lab.findings.template import fill
from lstm_lab.papers import carried, gates, page
from lstm_lab.reports.comparison import Facts

FIXED = {"training.steps": "100", "data.batch_size": "20", "model.cell": "lstm"}


def run(seed, solved=None, **settings):
    params = FIXED | {"training.seed": str(seed)} | {key.replace("__", "."): str(v) for key, v in settings.items()}
    metrics = {"evaluation/wrong": 0.0 if solved else 10.0} | ({"solved/solved": solved} if solved else {})
    return Facts("0" * 32, "run", status="FINISHED", params=params, metrics=metrics)


class MadeUp:
    """Studies of three seeds: gates that keep their state for 100 steps solve the task, and so does a carried state."""

    seeds, full = 3, 3

    def command(self, study):
        return [f"sweeps={study}"]

    def grid(self, study):
        if study == gates.STUDY:
            return [
                run(seed, 500.0 if memory == 100 else None, model__memory_steps=memory, optimizer__learning_rate=rate)
                for memory in (1, 100)
                for rate in (0.002, 0.006)
                for seed in range(3)
            ]
        solved = 400.0 if study == carried.CARRIED else None
        return [run(seed, solved, model__memory_steps=20) for seed in range(3)]


def test_the_gates_section_counts_runs_by_memory_and_rate():
    text = fill("gates", gates.compute(MadeUp()).values, page.HERE)
    assert "| 1 | 0 of 3 | 0 of 3 |" in text
    assert "| 100 | 3 of 3, 500 | 3 of 3, 500 |" in text
    assert "**Without it no learning rate solves the task (0 of 3 at best); with it 3 of 3 do, at best with" in text
    assert "2,000 sequences" in text


def test_the_carried_section_holds_the_two_ways_against_each_other():
    text = fill("carried", carried.compute(MadeUp()).values, page.HERE)
    assert "| carried | 3 of 3 | 0 |" in text
    assert "| reset | 0 of 3 | 10 |" in text
    assert "It does not hold.** (p = 0.050" in text  # 1 in 20 is not below 0.05
