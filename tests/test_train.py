"""The command as a user types it, and what it leaves behind."""

import copy
import importlib
import json
import os
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import yaml
from hydra.core.config_store import ConfigStore
from mlflow import MlflowClient

from helpers import train, train_until
from lstm_lab.records import checkpoint
from lstm_lab.records.tagging import tags_of


def client_of(checkout):
    return MlflowClient(f"sqlite:///{checkout}/mlflow.db")


def runs_of(checkout, experiment="sine_to_cosine"):
    client = client_of(checkout)
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def artifacts_of(checkout, run):
    return checkout / "mlruns/artifacts" / run.info.run_id / "artifacts"


def nothing_written(checkout):
    return sorted(path.name for path in checkout.iterdir()) == sorted([".git", ".gitignore", "conf", "src", "sweeps"])


def test_the_terminal_shows_the_run_and_nothing_else(default_run):
    assert default_run.stderr == ""
    assert "\x1b" not in default_run.stdout
    printed = re.findall(r"^step +(\d+)   cost \S+$", default_run.stdout, flags=re.M)
    assert printed == [str(step) for step in range(0, 200, 20)]
    [run] = runs_of(default_run.checkout)
    page = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}?workflowType=machine_learning"
    last, then = default_run.stdout.splitlines()[-2:]
    assert last == f"http://127.0.0.1:5000/{page}"
    assert re.fullmatch(rf"run default \({run.info.run_id[:8]}\); to look: \S+ '\S*/default run\d/src/ui\.py'", then)
    assert "Traceback" not in default_run.stdout


def test_the_run_holds_every_config_value_and_its_cost_curve(default_run):
    [run] = runs_of(default_run.checkout)
    assert run.info.status == "FINISHED"
    folder = artifacts_of(default_run.checkout, run)
    composed = yaml.safe_load((folder / "config.yaml").read_text())
    params = {f"{group}.{key}": str(value) for group, keys in composed.items() for key, value in keys.items()}
    assert run.data.params == params
    assert params["training.steps"] == "200"
    costs = np.load(folder / "cost.npy", allow_pickle=False)
    assert costs.dtype == np.float32
    history = client_of(default_run.checkout).get_metric_history(run.info.run_id, "cost")
    assert [(m.step, m.value) for m in sorted(history, key=lambda m: m.step)] == list(enumerate(costs.tolist()))
    assert run.data.metrics["final_cost"] == costs[-1]
    assert run.data.metrics["mean_last_20_cost"] == pytest.approx(costs[-20:].mean(), rel=1e-6)
    assert 10 ** run.data.metrics["log10_mean_last_20_cost"] == pytest.approx(costs[-20:].mean(), rel=1e-6)
    assert run.data.metrics["steps_per_second"] > 0
    assert costs[0] > 9  # 'predict zero' costs 10, and most seeds begin above
    assert costs[-20:].mean() < 0.6  # over seeds 0.007 to 0.52


def test_the_run_says_what_made_it(default_run):
    [run] = runs_of(default_run.checkout)
    folder = artifacts_of(default_run.checkout, run) / "provenance"
    facts = json.loads((folder / "provenance.json").read_text())
    head = subprocess.run(["git", "-C", str(default_run.checkout), "rev-parse", "HEAD"], capture_output=True, text=True)
    assert facts["commit"] == run.data.tags["mlflow.source.git.commit"] == head.stdout.strip()
    assert facts["dirty"] is True
    assert run.data.tags["git.dirty"] == "true"
    assert "+# not committed" in (folder / "uncommitted.diff").read_text()
    assert "tensorflow==" in (folder / "packages.txt").read_text()
    assert {"python", "os", "processor", "environment", "command_line", "seed", "level", "threads"} <= facts.keys()
    sentences = run.data.tags["mlflow.note.content"]
    assert sentences.startswith("An LSTM of cell size 10 on sine_to_cosine")
    assert sentences.count(". ") == 2
    [dataset] = run.inputs.dataset_inputs
    assert dataset.dataset.name == "sine_to_cosine"
    assert tags_of(run)["data.sha256"].startswith(dataset.dataset.digest)


def test_the_figures_are_pictures(default_run):
    [run] = runs_of(default_run.checkout)
    figures = artifacts_of(default_run.checkout, run) / "figures"
    assert {file.name for file in figures.iterdir()} == {
        "cost_curve.png",
        "fitted_curve.png",
        "continued_curve.png",
        "fit.gif",
    }
    assert (figures / "cost_curve.png").read_bytes().startswith(b"\x89PNG")
    assert 10_000 < (figures / "fit.gif").stat().st_size < 2_000_000


def test_the_model_loads_without_this_repo_and_answers_alike_twice(default_run, tmp_path):
    [run] = runs_of(default_run.checkout)
    code = f"""
import json, sys, keras, mlflow, numpy as np
assert not any("lstm_lab" in name for name in sys.modules)
mlflow.set_tracking_uri("sqlite:///{default_run.checkout}/mlflow.db")
model = mlflow.keras.load_model("runs:/{run.info.run_id}/model")
folder = mlflow.artifacts.download_artifacts("runs:/{run.info.run_id}/model")
plain = keras.models.load_model(folder + "/data/model.keras", safe_mode=True)
inputs = [np.ones((2, 20, 1), "float32"), np.zeros((2, 10), "float32"), np.zeros((2, 10), "float32")]
answers = [[np.asarray(t).tolist() for t in m(inputs)] for m in (model, model, plain)]
assert answers[0] == answers[1] == answers[2]
signature = mlflow.models.get_model_info("runs:/{run.info.run_id}/model").signature
print(json.dumps([signature.inputs.input_names(), signature.outputs.input_names()]))
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [["x", "h", "c"], ["prediction", "final_h", "final_c"]]


def test_the_evaluation_can_be_done_again_from_what_the_run_left(default_run):
    """With the saved model and the state of the last checkpoint, over samples counted by hand."""
    [run] = runs_of(default_run.checkout)
    saved = checkpoint.load(artifacts_of(default_run.checkout, run) / "checkpoint/checkpoint.npz")
    [path] = default_run.checkout.glob("mlruns/artifacts/models/*/artifacts/data/model.keras")
    x = np.arange(20 * (200 - 1 + 50), 20 * (200 - 1 + 50 + 50)) / (10 * np.pi)
    inputs = np.sin(x).astype("float32").reshape(1, 1000, 1)
    prediction, *_ = keras.models.load_model(path)([inputs, *(tensor[-1:] for tensor in saved.state)])
    errors = np.asarray(prediction).ravel() - np.cos(x)
    metrics = {key.rpartition("/")[2]: value for key, value in run.data.metrics.items()}
    assert metrics["mse"] == pytest.approx((errors**2).mean(), rel=1e-3)
    assert metrics["mse_position_0"] == pytest.approx((errors[::20] ** 2).mean(), rel=1e-3)
    assert metrics["mae"] == pytest.approx(abs(errors).mean(), rel=1e-3)
    assert metrics["r2"] == pytest.approx(1 - (errors**2).sum() / ((np.cos(x) - np.cos(x).mean()) ** 2).sum())
    assert metrics["mse"] < 0.005 < metrics["predict_zero_mse"]
    least = f"baseline {metrics['least_squares_mse']:.3g} (least squares)"
    assert f"held-out error {metrics['mse']:.3g}; {least}\n" in default_run.stdout
    assert run.data.tags["mlflow.note.content"].endswith(f" Held-out error {metrics['mse']:.3g}; {least}.")


def test_nothing_lands_outside_the_store(default_run):
    status = subprocess.run(
        ["git", "-C", str(default_run.checkout), "status", "--porcelain"], capture_output=True, text=True
    )
    assert status.stdout == "?? src/new_file.py\n"
    assert {path.name for path in (default_run.checkout / "mlruns").iterdir()} == {
        ".lock",
        "artifacts",
        "checkpoints",
        "tensorboard",
    }
    assert (default_run.checkout / "mlflow.db").exists()


def test_equal_configs_give_equal_bits_and_seeds_differ(copied_run):
    for words in ((), ("training.seed=1",)):
        assert train(copied_run.checkout, *words, "tracking.experiment=again", "tracking.model=false").returncode == 0
    [first] = runs_of(copied_run.checkout)
    other, again = runs_of(copied_run.checkout, "again")
    costs = {
        run.info.run_id: (artifacts_of(copied_run.checkout, run) / "cost.npy").read_bytes()
        for run in (first, again, other)
    }
    assert costs[first.info.run_id] == costs[again.info.run_id]
    assert costs[first.info.run_id] != costs[other.info.run_id]
    assert tags_of(first)["initial_weights.sha256"] == tags_of(again)["initial_weights.sha256"]
    assert tags_of(first)["initial_weights.sha256"] != tags_of(other)["initial_weights.sha256"]
    assert tags_of(first)["data.sha256"] == tags_of(other)["data.sha256"]


BAD = {
    "model.cel_size=3": "model.cel_size: there is no such setting; did you mean 'model.cell_size'?",
    "lr=0.1": "lr: there is no such setting; did you mean 'optimizer.learning_rate=0.1'?",
    "training.seed=0,1,2": "training.seed=0,1,2: several values need -m, as in `",
    "sweeps=default": "sweeps=default: a study needs -m, as in `",
    "data.path=my.csv": "data.path: not a setting of the chosen data; it belongs to csv, as in data=csv",
    "model=lstmm": "model=lstmm: there is no such choice; did you mean 'lstm'?",
    "model.cell_size=0": "model.cell_size=0: must be greater than or equal to 1",
    "optimizer.learning_rate=nan": "optimizer.learning_rate=nan: must be a finite number",
    "data.time_steps=abc": "data.time_steps='abc': must be a valid integer",
    "+model._target_=os.system": "+model._target_=os.system: no _target_ is taken",
    "training.steps": "training.steps: a value is missing, as in training.steps=...",
    "model.cell_size==5": "model.cell_size='=5': must be a valid integer",
    "training.steps=${nowhere}": "training.steps: Interpolation key 'nowhere' not found",
}


@pytest.mark.parametrize("word", BAD)
def test_bad_input_gets_one_message_and_leaves_nothing(word, checkout):
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    done = train(checkout, word, env=environment)
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert done.returncode == 2
    assert said[0].startswith(BAD[word])
    assert len(said) == 1
    assert not re.search(r"\| +(tensorflow|keras|mlflow)$", done.stderr, flags=re.M)
    assert nothing_written(checkout)


def test_a_broken_file_matters_only_when_it_is_chosen(checkout):
    (checkout / "sweeps/carry.yaml").write_text("a: [1\nb: 2\n")
    (checkout / "sweeps/grid.yaml").write_bytes(b"# \xff\n")
    (checkout / "sweeps/best.yaml").write_text("# @package _global_\nhydra: {sweeper: null}\n")
    (checkout / "conf/model/gru.yaml").write_text("cell: gru\n\tcell_size: 1\n")
    (checkout / "conf/experiment/x$y.yaml").write_text("# For $y.\n")  # what Hydra would take for a place to fill in
    assert "x$y                         For $y" in train(checkout, "--help").stdout
    for words, said in {
        (
            "-m",
            "sweeps=carry",
        ): f"{checkout}/sweeps/carry.yaml, line 2: is no YAML (expected ',' or ']', but got ':')\n",
        ("-m", "sweeps=grid"): f"{checkout}/sweeps/grid.yaml: is not UTF-8; save the file in that encoding\n",
        ("-m", "sweeps=best"): f"{checkout}/sweeps/best.yaml: hydra.sweeper must hold keys and values\n",
        ("model=gru",): f"{checkout}/conf/model/gru.yaml, line 2: is no YAML (found character",
    }.items():
        done = train(checkout, *words)
        assert done.returncode == 2
        assert done.stderr.startswith(said)
        assert done.stderr.count("\n") == 1


FAULTY_DEFAULTS = {
    "defaults: 5\n": "cannot compose the config: Invalid defaults list in 'experiment/mine'",
    "defaults: [mine]\n": "cannot compose the config: a file leads back to itself",
    "hydra: {run: {dir: /proc/x}}\n": "hydra.run.dir: ",
    "hydra: {sweeper: 5, mode: MULTIRUN}\n": "hydra.sweeper: cannot be replaced as a whole",
    "hydra: {launcher: null, mode: MULTIRUN}\n": "hydra.launcher: cannot be replaced as a whole",
}


@pytest.mark.parametrize("text", FAULTY_DEFAULTS)
def test_what_hydra_has_no_error_for_gets_one_message(text, tmp_path, monkeypatch, capsys):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text(f"# @package _global_\n{text}")
    monkeypatch.setattr(sys, "argv", ["src/train.py"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(SystemExit) as ended:
        importlib.import_module("train").launch(["--config-dir", str(tmp_path), "experiment=mine"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(FAULTY_DEFAULTS[text])
    assert said.count("\n") == 1


def test_a_relative_path_is_from_where_the_command_was_typed(checkout, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    words = ("data=csv", "data.path=x.csv", "data.input=a", "data.horizon=1", "hydra.job.chdir=true", "hydra.run.dir=o")
    done = train(checkout, *words, cwd=elsewhere)
    assert (done.returncode, done.stderr) == (2, f"data.path={elsewhere}/x.csv: there is no such file\n")


def test_a_server_that_does_not_answer_is_named(checkout):
    done = train(checkout, env={**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"})
    assert done.returncode == 2
    assert done.stderr.startswith("MLFLOW_TRACKING_URI=http://127.0.0.1:9: no tracking server answers there")
    assert done.stderr.count("\n") == 1
    assert nothing_written(checkout)


def test_an_experiment_deleted_in_mlflow_is_refused(checkout):
    assert train(checkout, "experiment=smoke").returncode == 0
    client = client_of(checkout)
    client.delete_experiment(client.get_experiment_by_name("smoke").experiment_id)
    done = train(checkout, "experiment=smoke")
    assert done.returncode == 2
    assert "that experiment was deleted in MLflow" in done.stderr


def test_help_and_completion_answer_without_tensorflow(checkout):
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    done = train(checkout, "--help", env=environment)
    assert "The tutorial's network" in done.stdout
    assert "cell_size: 10" in done.stdout
    assert not re.search(r"\| +(tensorflow|keras|mlflow)$", done.stderr, flags=re.M)
    done = train(checkout, "-sc", "query=bash", env={**os.environ, "COMP_LINE": "train.py model=l", "COMP_POINT": "16"})
    assert "model=lstm" in done.stdout
    assert nothing_written(checkout)


def test_hydra_copies_a_study_that_is_chosen_and_no_other():
    importlib.import_module("train").add_studies()
    store = ConfigStore.instance()
    assert copy.deepcopy(store) is store
    store.load("sweeps/best.yaml").node.hydra.sweeper.study_name = "changed"
    assert store.load("sweeps/best.yaml").node.hydra.sweeper.study_name == "best"


@pytest.mark.parametrize(("number", "name"), [("SIGINT", "Ctrl-C"), ("SIGTERM", "SIGTERM"), ("SIGHUP", "SIGHUP")])
def test_a_stopped_run_is_killed_and_keeps_what_it_has(checkout, number, name):
    done = train_until("step=1000", number, checkout, "training.steps=1000000")
    assert done.returncode == 130
    assert done.stderr == ""
    [run] = runs_of(checkout)
    assert run.info.status == "KILLED"
    assert run.data.tags["reason"] == f"stopped by {name} after 1,000 of 1,000,000 steps"
    assert run.data.tags["reason"] in done.stdout
    costs = np.load(artifacts_of(checkout, run) / "cost.npy", allow_pickle=False)
    assert len(costs) == 1000
    assert run.data.metrics["final_cost"] == costs[-1]
    history = client_of(checkout).get_metric_history(run.info.run_id, "cost")
    assert sorted(m.step for m in history) == list(range(0, 1000, 200))


def test_a_diverging_run_fails_with_the_step_and_the_likely_cause(checkout):
    done = train(checkout, "optimizer=sgd", "optimizer.learning_rate=1e6", "optimizer.clipnorm=null")
    assert done.returncode == 1
    assert done.stderr == ""
    [run] = runs_of(checkout)
    assert run.info.status == "FAILED"
    assert re.match(
        r"the cost became (nan|inf) at step \d+: optimizer.learning_rate=1e\+06 is likely too high",
        run.data.tags["reason"],
    )
    assert run.data.tags["reason"] in done.stdout
    assert (artifacts_of(checkout, run) / "figures/cost_curve.png").exists()


def test_four_first_runs_at_once_all_finish_whole(checkout):
    """On a store that none has opened before; two of them are the same run."""
    seeds = (0, 0, 1, 2)
    commands = [[sys.executable, "src/train.py", "experiment=smoke", f"training.seed={seed}"] for seed in seeds]
    processes = [subprocess.Popen(words, cwd=checkout, stderr=subprocess.PIPE, text=True) for words in commands]
    errors = [process.communicate()[1] for process in processes]
    assert errors == [""] * 4
    assert [process.returncode for process in processes] == [0] * 4
    runs = runs_of(checkout, "smoke")
    assert sorted(run.data.params["training.seed"] for run in runs) == ["0", "0", "1", "2"]
    for run in runs:
        assert run.info.status == "FINISHED"
        costs = np.load(artifacts_of(checkout, run) / "cost.npy", allow_pickle=False)
        history = client_of(checkout).get_metric_history(run.info.run_id, "cost")
        assert sorted((m.step, m.value) for m in history) == list(enumerate(costs.tolist()))
    bits = {(tags_of(run)["cost.sha256"], tags_of(run)["final_weights.sha256"]) for run in runs}
    assert len(bits) == 3


def test_after_a_move_old_artifacts_are_found_and_new_ones_land_in_the_new_place(default_run, tmp_path):
    copy = tmp_path / "moved here"
    shutil.copytree(default_run.checkout, copy)
    before = {path: path.stat().st_mtime_ns for path in default_run.checkout.rglob("*")}
    assert train(copy, "tracking.experiment=moved").returncode == 0
    after = {path: path.stat().st_mtime_ns for path in default_run.checkout.rglob("*")}
    assert after == before  # nothing was written to the old place
    client = client_of(copy)
    for experiment in ("sine_to_cosine", "moved"):
        for run in runs_of(copy, experiment):
            assert run.info.artifact_uri.startswith((copy / "mlruns").as_uri())
            assert client.download_artifacts(run.info.run_id, "config.yaml", str(tmp_path))
            assert artifacts_of(copy, run).exists()


@pytest.mark.parametrize(
    "words",
    [
        ("model=gru", "optimizer.learning_rate=0.01", "data.time_steps=40"),
        ("model=simple_rnn", "optimizer=rmsprop", "training.level=fast"),
        ("data=noisy_sines_to_derivative", "optimizer=sgd", "data.batch_size=1", "training.carry_state=false"),
    ],
    ids=["gru", "simple_rnn", "noisy"],
)
def test_overrides_do_what_they_say(copied_run, words):
    done = train(copied_run.checkout, "experiment=smoke", *words, "tracking.experiment=overrides")
    assert done.returncode == 0, done.stderr
    run = runs_of(copied_run.checkout, "overrides")[0]
    for key, value in (word.split("=") for word in words):
        if "." in key:
            assert run.data.params[key].lower() == value
