"""The findings as a user makes them, with every study cut short."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from mlflow import MlflowClient

from helpers import ROOT, copy_project
from lstm_lab.findings import page
from lstm_lab.findings.runs import SEEDS
from lstm_lab.reports.tables import number

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
    return subprocess.run(command, capture_output=True, text=True, cwd=checkout.parent)


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
    text = (folder / "FINDINGS.md").read_text()
    assert "**Reduced: 2 seeds instead of 20.**" in text
    assert not (checkout / "FINDINGS.md").exists()
    assert not (checkout / "docs/findings").exists()


def test_every_figure_of_the_page_is_there_and_no_other(made):
    _, folder = made
    named = re.findall(r"\]\((docs/findings/\w+\.png)\)", (folder / "FINDINGS.md").read_text())
    assert len(named) == 8
    assert sorted(named) == sorted(f"docs/findings/{path.name}" for path in (folder / "docs/findings").iterdir())


def test_its_numbers_are_those_of_the_runs(made):
    checkout, folder = made
    text = (folder / "FINDINGS.md").read_text()
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
        assert f"| {label} | {number(float(np.mean(costs[state])))} |" in text  # of two, the median is the mean
    assert text.count("**Claim: ") == 9


def test_under_each_table_a_comment_names_its_runs_and_the_hashes_of_their_costs(made):
    checkout, folder = made
    text = (folder / "FINDINGS.md").read_text()
    comments = dict(re.findall(r"^## (.*?)\n.*?<!--\n(.*?)\n-->", text, flags=re.M | re.S))
    assert len(comments) == text.count("\n## ") == 7
    trials = [run for run in runs_of(checkout) if "trial" in run.data.tags]
    hashes = {run.info.run_id[:8]: run.data.tags["mlflow.lstm_lab.cost.sha256"][:8] for run in trials}
    named = {title: re.findall(r"(\d+)\s([0-9a-f]{8})\s([0-9a-f]{8})", comment) for title, comment in comments.items()}
    for of_table in named.values():
        assert of_table
        assert all(hashes[run_id] == bits for _, run_id, bits in of_table)
    assert len(named["Carrying the state against resetting it"]) == 4
    assert {run_id for of_table in named.values() for _, run_id, _ in of_table} == hashes.keys()


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


def test_every_finding_has_its_template_and_no_template_is_left_over():
    folder = ROOT / "src/lstm_lab/findings"
    names = ["opening", *(module.__name__.removeprefix("lstm_lab.findings.") for module in page.FINDINGS)]
    assert sorted(path.name for path in folder.glob("*.jinja")) == sorted(f"{name}.md.jinja" for name in names)


def test_the_full_number_of_seeds_is_that_of_the_files():
    grids = [words[0].removeprefix("sweeps=") for words in page.commands(SEEDS) if words[0] != "sweeps=search"]
    assert sorted(grids) == ["best", "carry", "memory", "truncation", "window"]
    for name in grids:
        file = ROOT / f"sweeps/{name}.yaml"
        assert f"training.seed: range(0, {SEEDS})" in file.read_text()
        assert f"study_name: {name}\n" in file.read_text()
