"""Runs that are trained again from their id."""

import hashlib
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from mlflow import MlflowClient

from helpers import copy_project
from lstm_lab.records.tagging import tags_of
from lstm_lab.runs import reproduction


def reproduce(checkout, *words, **environment):
    command = [sys.executable, str(checkout / "src/reproduce.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=checkout, env={**os.environ, **environment})


def run_of(costs, weights=((1.0, 2.0),)):
    """What `compare` looks at of a run."""
    return SimpleNamespace(
        costs=np.array(costs, np.float32), weights=[np.array(array, np.float32) for array in weights]
    )


SAME = {"the data": ("a", "a"), "the initial weights": ("b", "b")}
NAN = float("nan")


@pytest.mark.parametrize(
    ("then", "now", "hashes", "tolerance", "differing", "expected"),
    [
        (run_of([3, 2]), run_of([3, 2]), SAME, 0, [], (True, "bit-identical: 2 costs and 1 arrays of final weights")),
        (run_of([3, 2]), run_of([3, 2]), SAME, 0, ["keras 1 then, 2 now"], (True, "bit-identical: 2 costs")),
        (
            run_of([4, 2, 1]),
            run_of([4, 2.5, 2]),
            SAME,
            0.5,
            ["keras 1 then, 2 now", "os a then, b now"],
            (
                False,
                "differs from step 1 on, cost 2 then, 2.5 now; largest relative difference 1; "
                "likeliest cause: keras 1 then, 2 now",
            ),
        ),
        (
            run_of([4, 2]),
            run_of([4, 2.5]),
            SAME,
            0.25,
            [],
            (True, "within tolerance=0.25 but not bit-identical: differs from step 1 on"),
        ),
        (run_of([4]), run_of([4], [(1.0, 3.0)]), SAME, 0.1, [], (False, "differs only in the final weights; largest")),
        (run_of([4]), run_of([4], [(1.0, 3.0)]), SAME, 0.5, [], (True, "within tolerance=0.5")),
        (run_of([4]), run_of([NAN]), SAME, 0.9, [], (False, "differs from step 0 on, cost 4 then, nan now")),
        (run_of([4], [(1.0, NAN)]), run_of([4]), SAME, 0.9, [], (False, "differs only in the final weights; largest")),
        (run_of([4, 3]), run_of([4]), SAME, 0.9, [], (False, "differs: 2 steps then, 1 now")),
        (run_of([4, NAN, 1]), run_of([4, NAN]), SAME, 0, [], (True, "bit-identical: 2 costs, until it diverged")),
        (run_of([0.0]), run_of([-0.0]), SAME, 0, [], (False, "differs from step 0 on")),
        (
            run_of([4]),
            run_of([4]),
            {"the data": ("a", "x")},
            0.9,
            ["commit 1 then, 2 now"],
            (False, "differs before the first step: the data are not the same; likeliest cause: commit 1"),
        ),
    ],
)
def test_the_verdict(then, now, hashes, tolerance, differing, expected):
    verdict = reproduction.compare(then, now, hashes, tolerance, differing)
    accepted, text = expected
    assert verdict.accepted is accepted
    assert verdict.text.startswith(text)
    assert verdict.identical is verdict.text.startswith("bit-identical")


def sha256_of_diff(checkout, run_id):
    diff = checkout / "mlruns/artifacts" / run_id / "artifacts/provenance/uncommitted.diff"
    return hashlib.sha256(diff.read_bytes()).hexdigest()


def test_a_copied_runs_bits_come_again_also_when_the_code_has_changed(default_run, tmp_path):
    """The store and its checkout are copied to another place, as to another machine."""
    copy = tmp_path / "another place"
    shutil.copytree(default_run.checkout, copy)
    client = MlflowClient(f"sqlite:///{copy}/mlflow.db")
    [original] = client.search_runs([client.get_experiment_by_name("sine_to_cosine").experiment_id])
    run_id = original.info.run_id

    done = reproduce(copy, f"run={run_id}")
    assert done.returncode == 0, done.stderr
    assert "nothing differs: code, packages, processor, environment are those of the run" in done.stdout
    verdict = "bit-identical: 200 costs and 7 arrays of final weights"
    assert done.stdout.endswith(f"{verdict}\n")
    again = client.search_runs([original.info.experiment_id], f"tags.reproduces = '{run_id}'")[0]
    assert again.data.tags["verdict"] == verdict
    assert client.get_run(run_id).data.tags["reproduced"] == f"{verdict} ({again.info.run_id})"
    assert again.data.params == original.data.params
    assert tags_of(again)["cost.sha256"] == tags_of(original)["cost.sha256"]

    data = copy / "src/lstm_lab/science/training.py"  # the code changes: every cost a little larger
    before, after = "np.float32(target.shape[0])", "np.float32(target.shape[0] - 1e-4)"
    assert before in data.read_text()
    data.write_text(data.read_text().replace(before, after))
    done = reproduce(copy, f"run={run_id}")
    assert done.returncode == 1
    assert "differs from step 0 on, cost 21.5" in done.stdout
    assert "likeliest cause: uncommitted changes" in done.stdout
    done = reproduce(copy, f"run={run_id}", "--checkout")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"the run's own code: commit {original.data.tags['mlflow.source.git.commit']}\n")
    assert done.stdout.count(f"bytes of uncommitted diff, SHA-256 {sha256_of_diff(copy, run_id)}") == 2
    assert done.stdout.endswith(f"{verdict}\n")
    others = {"MLFLOW_TRACKING_URI": f"sqlite:///{copy}/mlflow.db?timeout=60"}
    done = reproduce(copy, f"run={run_id[:8]}", "--checkout", **others)
    assert done.returncode == 2
    assert done.stderr.endswith(f"reproduce.py run={run_id} --checkout --trust`\n")
    worktrees = subprocess.run(["git", "-C", str(copy), "worktree", "list"], capture_output=True, text=True)
    assert worktrees.stdout.count("\n") == 1


def test_a_run_in_another_clones_store_is_reproduced_from_its_id(default_run, tmp_path, server):
    """Through a tracking server: the run is made in one clone and reproduced in another, of another commit."""
    first, second = copy_project(tmp_path / "first"), tmp_path / "second"
    words = [sys.executable, str(first / "src/train.py"), "experiment=smoke", "tracking.experiment=two-clones"]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": server}
    subprocess.run([*words, "training.level=fast"], check=True, capture_output=True, env=environment)
    client = MlflowClient(server)
    [run] = client.search_runs([client.get_experiment_by_name("two-clones").experiment_id])
    subprocess.run(["git", "clone", "-q", str(first), str(second)], check=True)
    (second / "README.md").write_text("another commit\n")
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", "-C", str(second), "add", "-A"], check=True)
    subprocess.run(["git", "-C", str(second), *identity, "commit", "-qm", "another"], check=True)
    done = reproduce(second, f"run={run.info.run_id}", MLFLOW_TRACKING_URI=server)
    assert done.returncode == 0, done.stderr
    assert f"commit {run.data.tags['mlflow.source.git.commit']} then, " in done.stdout
    assert "bit-identical: 20 costs" in client.get_run(run.info.run_id).data.tags["reproduced"]
    assert not (second / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "usage: python src/reproduce.py run=ID"),
        (("tolerance=1e-6",), 2, "run=ID is missing"),
        (("run=1", "tolerance=x"), 2, "tolerance=x: must be a number from 0 to below 1, such as 1e-6"),
        (("run=1", "--trust"), 2, "--trust: goes with --checkout"),
        (("run=1", "seed=2"), 2, "seed: no such word; allowed: run=ID, tolerance=1e-6, --checkout"),
    ],
)
def test_faulty_words_are_named(words, code, said, checkout):
    done = reproduce(checkout, *words)
    assert done.returncode == code
    assert (done.stdout + done.stderr).startswith(said)
    assert "Traceback" not in done.stderr
    assert not (checkout / "mlflow.db").exists()
