"""The page of papers as a user makes it, reduced, with every study cut short."""

import re
import shutil
import subprocess
import sys

import pytest
from mlflow import MlflowClient

from helpers import copy_project
from lstm_lab.papers.rows import studies_of


def make(checkout, *words):
    command = [sys.executable, str(checkout / "src/papers.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=checkout.parent)


def runs_of(checkout):
    client = MlflowClient(f"sqlite:///{checkout}/mlflow.db")
    experiment = client.get_experiment_by_name("papers")
    return [run for run in client.search_runs([experiment.experiment_id], max_results=5000) if "trial" in run.data.tags]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The quick rows with two seeds, their sequences and their training short."""
    checkout = copy_project(tmp_path_factory.mktemp("papers"))
    for name in studies_of(reduced=True):
        file = checkout / f"sweeps/{name}.yaml"
        file.write_text(re.sub(r"^  steps: \d+", "  steps: 30", file.read_text(), flags=re.M))
    for name in ("two_sequences", "temporal_order"):
        file = checkout / f"conf/data/{name}.yaml"
        text = file.read_text().replace("tested: 2560", "tested: 40").replace("sequences: 2000", "sequences: 100")
        text = text.replace("sequences: 256", "sequences: 20").replace("wrong: 0", "wrong: 1000")
        text = text.replace("mean_error: 0.01", "mean_error: 10.0").replace("mean_error: 0.1}", "mean_error: 10.0}")
        file.write_text(text)
    done = make(checkout, "seeds=2")
    assert done.returncode == 0, done.stdout + done.stderr
    return checkout, checkout / "mlruns/papers-2-seeds"


def test_the_page_says_that_it_is_reduced_and_leaves_the_full_one_alone(made):
    checkout, folder = made
    text = (folder / "PAPERS.md").read_text()
    assert "**Reduced: 2 seeds instead of 10, and the quick rows alone.**" in text
    assert not (checkout / "PAPERS.md").exists()
    assert [path.name for path in (folder / "docs/papers").iterdir()] == ["rows.png"]
    assert text.count("](docs/papers/rows.png)") == 1


def test_two_workers_share_the_trials_and_run_each_once(made):
    checkout, _ = made
    of_study: dict[str, list[str]] = {}
    for run in runs_of(checkout):
        if run.info.status == "FINISHED":
            of_study.setdefault(run.data.tags["study"], []).append(run.data.tags["trial"])
    assert {study.split(" ")[0] for study in of_study} == {name.replace("/", "-") for name in studies_of(reduced=True)}
    assert all(sorted(map(int, trials)) == list(range(8)) for trials in of_study.values())


def test_its_numbers_are_those_of_the_runs(made):
    checkout, folder = made
    text = (folder / "PAPERS.md").read_text()
    until = {
        run.data.params["training.seed"]: run.data.metrics["solved/solved"]
        for run in runs_of(checkout)
        if run.data.params["data.curve"] == "temporal_order" and run.data.params.get("model.memory_steps") == "110"
        if run.data.params["model.cell"] == "lstm" and run.info.status == "FINISHED"
    }
    assert until == {"0": 500.0, "1": 500.0}  # the first look: 25 batches of 20
    assert "| 6a temporal order | 31,390 | 500, too few seeds | 2 of 2, as often |" in text


def test_under_the_table_a_comment_names_every_run_and_the_hash_of_its_costs(made):
    checkout, folder = made
    [comment] = re.findall(r"<!--\n(.*?)\n-->", (folder / "PAPERS.md").read_text(), flags=re.S)
    named = dict(re.findall(r"\d+\s([0-9a-f]{8})\s([0-9a-f]{8})", comment))
    finished = [run for run in runs_of(checkout) if run.info.status == "FINISHED"]
    assert named == {run.info.run_id[:8]: run.data.tags["mlflow.lstm_lab.cost.sha256"][:8] for run in finished}


def test_a_second_time_nothing_is_run_and_the_same_is_written(made):
    checkout, folder = made
    before, runs = (folder / "PAPERS.md").read_bytes(), len(runs_of(checkout))
    shutil.rmtree(folder)
    done = make(checkout, "seeds=2", "workers=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "PAPERS.md").read_bytes() == before
    assert len(runs_of(checkout)) == runs


@pytest.mark.parametrize("word", ["seeds=1", "seeds=many", "workers=0", "page=no", "sead=3", "3"])
def test_a_faulty_word_is_refused_at_once(checkout, word):
    done = make(checkout, word)
    assert done.returncode == 2
    assert done.stderr.startswith(word.partition("=")[0])
    assert "Traceback" not in done.stderr
    assert not (checkout / "mlflow.db").exists()
