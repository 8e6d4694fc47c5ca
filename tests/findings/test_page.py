"""The findings as a user makes them, with every study cut short; and the parts that a table is made of."""

import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from mlflow import MlflowClient

from helpers import ROOT, copy_project
from lstm_lab.findings import page as findings

SHORTER = {
    "memory": [("steps: 400", "steps: 21"), ("choice(2, 4, 8, 16)", "choice(2, 3)"), ("size: 20", "size: 3")],
    "truncation": [("steps: 400", "steps: 21"), ("choice(2, 4, 8)", "choice(2, 3)"), ("size: 20", "size: 3")],
    "window": [("choice(5, 10, 20, 40, 80)", "choice(20, 40)"), ("steps: 800", "steps: 200")],
    "search": [("n_trials: 25", "n_trials: 3"), ("training:\n", "training:\n  steps: 21\n")],
    "carry": [("training:\n", "training:\n  steps: 30\n")],
    "best": [("training:\n", "training:\n  steps: 30\n")],
}


def make(checkout, *words):
    command = [sys.executable, str(checkout / "src/findings.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=checkout.parent)


def runs_of(checkout):
    client = MlflowClient(f"sqlite:///{checkout}/mlflow.db")
    experiment = client.get_experiment_by_name("findings")
    return client.search_runs([experiment.experiment_id], max_results=5000)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Every study with two seeds, on other places than those of the full findings."""
    checkout = copy_project(tmp_path_factory.mktemp("findings"))
    for name, changes in SHORTER.items():
        file = checkout / f"sweeps/{name}.yaml"
        for old, new in changes:
            assert old in file.read_text()
            file.write_text(file.read_text().replace(old, new, 1))
    done = make(checkout, "seeds=2")
    assert done.returncode == 0, done.stdout + done.stderr
    return checkout, checkout / "mlruns/findings-2-seeds"


def test_the_page_says_that_it_is_reduced_and_leaves_the_full_one_alone(made):
    checkout, folder = made
    page = (folder / "FINDINGS.md").read_text()
    assert "**Reduced: 2 seeds instead of 20.**" in page
    assert not (checkout / "FINDINGS.md").exists()
    assert not (checkout / "docs/findings").exists()


def test_every_figure_of_the_page_is_there_and_no_other(made):
    _, folder = made
    named = re.findall(r"\]\((docs/findings/\w+\.png)\)", (folder / "FINDINGS.md").read_text())
    assert len(named) == 8
    assert sorted(named) == sorted(f"docs/findings/{path.name}" for path in (folder / "docs/findings").iterdir())


def test_its_numbers_are_those_of_the_runs(made):
    checkout, folder = made
    page = (folder / "FINDINGS.md").read_text()
    runs = [run for run in runs_of(checkout) if run.data.tags.get("study", "").startswith("carry ")]
    costs = {
        state: [
            run.data.metrics["mean_last_20_cost"]
            for run in runs
            if run.data.params.get("training.carry_state") == state
        ]
        for state in ("True", "False")
    }
    assert all(len(of_state) == 2 for of_state in costs.values())
    for label, state in (("carried", "True"), ("reset", "False")):
        assert (
            f"| {label} | {findings.number(float(np.mean(costs[state])))} |" in page
        )  # of two, the median is the mean
    assert page.count("**Claim: ") == 9


def test_a_second_time_nothing_is_run_and_the_same_is_written(made):
    checkout, folder = made
    before, runs = (folder / "FINDINGS.md").read_bytes(), len(runs_of(checkout))
    shutil.rmtree(folder)
    done = make(checkout, "seeds=2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "FINDINGS.md").read_bytes() == before
    assert len(runs_of(checkout)) == runs
    assert not re.search(r"^trial ", done.stdout, flags=re.M)


@pytest.mark.parametrize("word", ["seeds=1", "seeds=many", "seeds=-3", "seeds=", "sead=3", "3"])
def test_a_faulty_word_is_refused_at_once(checkout, word):
    done = make(checkout, word)
    assert done.returncode == 2
    assert done.stderr.startswith(word.partition("=")[0])
    assert "Traceback" not in done.stderr
    assert not (checkout / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("x", "digits", "text"),
    [
        (0.0213, 2, "0.021"),
        (0.0999, 2, "0.10"),
        (2.96, 2, "3.0"),
        (28.4, 2, "28"),
        (12345.0, 2, "12,000"),
        (0.00002713, 2, "0.000027"),
        (1.5e-9, 2, "1.5e-09"),
        (1.0, 3, "1.00"),
        (0.0, 2, "0"),
        (float("inf"), 2, "inf"),
    ],
)
def test_numbers_keep_their_digits(x, digits, text):
    assert findings.number(x, digits) == text


def trial(size, rate, cost):
    params = {"model.cell_size": str(size), "optimizer.learning_rate": str(rate)}
    metrics = {"mean_last_20_cost": cost}
    return SimpleNamespace(
        info=SimpleNamespace(status="FINISHED"), data=SimpleNamespace(params=params, metrics=metrics)
    )


def test_the_map_has_the_median_of_each_field():
    trials = [
        trial(5, 0.001, 4.0),
        trial(5, 0.0011, 2.0),
        trial(5, 0.0012, 3.0),
        trial(10, 0.01, 0.5),
        trial(10, 0.1, 9),
    ]
    sizes, edges, costs, counts = findings.cost_map(trials, bins=2)
    assert sizes == ["5", "10"]
    np.testing.assert_allclose(edges, [0.001, 0.01, 0.1], rtol=1e-12)
    np.testing.assert_array_equal(counts, [[3, 0], [0, 2]])
    np.testing.assert_array_equal(costs, [[3.0, np.nan], [np.nan, 4.75]])


def test_the_full_number_of_seeds_is_that_of_the_files():
    for name in findings.GRIDS:
        file = ROOT / f"sweeps/{name}.yaml"
        assert f"training.seed: range(0, {findings.SEEDS})" in file.read_text()
        assert f"study_name: {name}\n" in file.read_text()
