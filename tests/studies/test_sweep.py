"""The sweep as a user types it: the study, its runs in MLflow, and what kills, failures and workers do to them."""

import contextlib
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

import numpy as np
import optuna
import pytest
import sqlalchemy
from hydra.errors import ConfigCompositionException
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from optuna.trial import TrialState
from sqlalchemy.pool import NullPool

from helpers import copy_project, held, train, train_until, wait_until_held
from lstm_lab.records import tagging
from lstm_lab.studies import database, study, sweep
from studies.conftest import declared

SHORT = ("training.steps=40", "hydra.sweeper.prune_every=10")


def study_of(checkout, name=None, url=None):
    url = url or f"sqlite:///{checkout}/mlruns/optuna.db"
    storage = optuna.storages.RDBStorage(url, engine_kwargs={"poolclass": NullPool})
    [found] = optuna.get_all_study_names(storage) if name is None else [name]
    return optuna.load_study(study_name=found, storage=storage)


def runs_of(checkout, experiment, uri=None):
    """The parent's run and its children by trial number."""
    client = MlflowClient(uri or f"sqlite:///{checkout}/mlflow.db")
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id], max_results=1000)
    runs = [run for run in found if "group" not in run.data.tags]  # a trial may be a group of runs
    [parent] = [run for run in runs if run.data.tags.get("sweep") == "parent"]
    children = {int(run.data.tags["trial"]): run for run in runs if "trial" in run.data.tags}
    assert all(run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in children.values())
    assert len(children) == len(runs) - 1
    return parent, children


def agree(trial, run):
    """Whether MLflow tells of a trial what the study knows."""
    state = "KILLED" if study.was_killed(trial) else trial.state.name
    status = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "KILLED": "KILLED", "FAIL": "FAILED"}[state]
    named = state == "COMPLETE" or run.info.run_name.startswith(f"{trial.number} {state}: ")
    return run.info.status == status and run.data.tags["trial.state"] == state and named


@pytest.fixture(scope="module")
def default_sweep(tmp_path_factory):
    """The default study, its trials shortened, from another directory."""
    checkout = copy_project(tmp_path_factory.mktemp("sweep"))
    done = train(
        checkout, "-m", "sweeps", "hydra.sweeper.n_trials=16", *SHORT, "hydra.sweeper.pruner.n_warmup_steps=10",
        "hydra.sweeper.storage.grace=50",
        cwd=tmp_path_factory.mktemp("elsewhere"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return checkout, done


def test_a_sweep_shows_a_line_for_every_trial_and_nothing_else(default_sweep):
    checkout, done = default_sweep
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    lines = re.findall(r"^trial +(\d+)  cell_size=\d+ lr=\S+  (COMPLETE|PRUNED) .*best", done.stdout, flags=re.M)
    assert [int(number) for number, _ in lines] == list(range(16))
    trials = study_of(checkout).trials
    assert [state for _, state in lines] == [trial.state.name for trial in trials]
    assert {"COMPLETE", "PRUNED"} == {trial.state.name for trial in trials}
    assert {tuple(trial.params) for trial in trials} == {("model.cell_size", "optimizer.learning_rate")}


def test_mlflow_tells_of_every_trial_what_the_study_knows(default_sweep):
    checkout, _ = default_sweep
    found = study_of(checkout)
    parent, children = runs_of(checkout, "sweep-default")
    assert all(agree(trial, children[trial.number]) for trial in found.trials)
    for trial in found.trials:
        params = children[trial.number].data.params
        assert float(params["optimizer.learning_rate"]) == trial.params["optimizer.learning_rate"]
        assert int(params["model.cell_size"]) == trial.params["model.cell_size"]
        if trial.state.name == "COMPLETE":
            assert children[trial.number].data.metrics["mean_last_20_cost"] == trial.value
    assert len({children[n].data.tags["mlflow.runColor"] for n in children}) == 16
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["best_trial"] == str(found.best_trial.number)
    assert parent.data.tags["best_run"] == children[found.best_trial.number].info.run_id
    assert parent.data.metrics["best_value"] == found.best_value
    assert parent.data.params["search.model.cell_size"] == "choice(5, 10, 20, 40)"
    assert parent.data.params["search.optimizer.learning_rate"] == "log interval(0.0005, 0.03)"


def test_only_the_best_trial_is_evaluated_and_keeps_figures_and_a_model(default_sweep):
    checkout, _ = default_sweep
    _, children = runs_of(checkout, "sweep-default")
    artifacts, best = checkout / "mlruns/artifacts", {study_of(checkout).best_trial.number}
    assert {n for n, run in children.items() if (artifacts / run.info.run_id / "artifacts/figures").exists()} == best
    assert {n for n, run in children.items() if "evaluation/mse" in run.data.metrics} == best
    assert {n for n, run in children.items() if run.outputs and run.outputs.model_outputs} == best


def test_the_parent_has_the_figures_and_the_best_trials_config_model_and_fit(default_sweep):
    checkout, _ = default_sweep
    parent, children = runs_of(checkout, "sweep-default")
    folder = checkout / "mlruns/artifacts" / parent.info.run_id / "artifacts"
    assert {file.stem for file in (folder / "figures").iterdir()} == {
        "optimization_history", "parameter_importance", "contour", "intermediate_values", "parallel_coordinates",
    }  # fmt: skip
    best = children[study_of(checkout).best_trial.number]
    assert f"cell_size: {best.data.params['model.cell_size']}\n" in (folder / "best/config.yaml").read_text()
    assert (folder / "best/figures/fitted_curve.png").exists()
    assert list(folder.glob("best/model/**/model.keras"))


def test_each_trial_has_a_folder_by_its_number(default_sweep):
    checkout, _ = default_sweep
    folder = next((checkout / "mlruns/sweeps").iterdir())
    assert {path.name for path in folder.iterdir()} == {*map(str, range(16)), "study.txt"}
    name, *words, where = (folder / "study.txt").read_text().splitlines()
    assert (name, where) == (study_of(checkout).study_name, "in mlruns/optuna.db")
    assert set(words) == {
        "sweeps=default",
        "hydra.sweeper.n_trials=16",
        *SHORT,
        "hydra.sweeper.pruner.n_warmup_steps=10",
    }
    costs = np.load(folder / "3/cost.npy", allow_pickle=False)
    assert len(costs) <= 40
    assert not list(folder.glob("*/model*"))


def test_a_finished_sweep_says_so_and_trains_nothing(default_sweep):
    checkout, _ = default_sweep
    words = ("-m", "sweeps", "hydra.sweeper.n_trials=16", *SHORT, "hydra.sweeper.pruner.n_warmup_steps=10")
    again = train(checkout, *words, env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"})
    assert again.returncode == 0
    assert "is done" in again.stdout
    assert not re.findall(r"^trial ", again.stdout, flags=re.M)
    assert not re.search(r"\| +tensorflow$", again.stderr, flags=re.M)
    assert len(study_of(checkout).trials) == 16


def test_the_printed_command_trains_the_best_again_to_the_bit(default_sweep):
    checkout, done = default_sweep
    [command] = re.findall(r"^train it again: \S+ \S+/src/train.py (.*)$", done.stdout, flags=re.M)
    again = train(checkout, *shlex.split(command), "tracking.experiment=again", "tracking.model=false")
    assert again.returncode == 0, again.stderr
    client = MlflowClient(f"sqlite:///{checkout}/mlflow.db")
    [run] = client.search_runs([client.get_experiment_by_name("again").experiment_id])
    found = study_of(checkout)
    best = runs_of(checkout, "sweep-default")[1][found.best_trial.number]
    assert run.data.metrics["mean_last_20_cost"] == found.best_value
    assert but_for_speed(run) == but_for_speed(best)  # which was evaluated when the sweep was over, from what it left
    one, other = ([point.step for point in client.get_metric_history(each.info.run_id, "cost")] for each in (run, best))
    assert one == other
    one, other = (checkout / "mlruns/artifacts" / each.info.run_id / "artifacts" for each in (run, best))
    figures = ("cost_curve", "fitted_curve", "continued_curve")
    for name in ("cost.npy", "final_weights.npz", *(f"figures/{figure}.png" for figure in figures)):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def but_for_speed(run):
    return {key: value for key, value in run.data.metrics.items() if key != "steps_per_second"}


def test_the_printed_command_compares_the_trials(default_sweep):
    checkout, done = default_sweep
    [command] = re.findall(r"^compare the trials: \S+ \S+/src/report.py (.*)$", done.stdout, flags=re.M)
    words = [*shlex.split(command), f"html={checkout.parent}/compared.html"]
    compared = subprocess.run([sys.executable, str(checkout / "src/report.py"), *words], capture_output=True, text=True)
    assert compared.returncode == 0, compared.stderr
    assert len(set(re.findall(r"trial \d+", (checkout.parent / "compared.html").read_text()))) == 16


def test_a_pruned_trial_is_reproduced_from_its_id(default_sweep):
    checkout, _ = default_sweep
    _, children = runs_of(checkout, "sweep-default")
    trial = next(run for _, run in sorted(children.items()) if run.data.tags["trial.state"] == "PRUNED")
    copy = checkout.parent / "copy of the sweep"
    shutil.copytree(checkout, copy)
    command = [sys.executable, str(copy / "src/reproduce.py"), f"run={trial.info.run_id}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    steps = int(re.search(r"pruned at step (\d+)", trial.data.tags["reason"]).group(1))
    assert done.stdout.endswith(f"bit-identical: {steps} costs and 7 arrays of final weights\n")


STOPPED = {
    "lstm_lab.studies.study.open_study=1": "SIGKILL",  # there is a database, and nothing in it
    "optuna.trial.Trial.set_user_attr=1": "SIGKILL",  # trial 0 is taken and not signed
    "lstm_lab.records.tracking.TrackedRun.log_inputs=1": "SIGKILL",  # its run is there, and nothing in it
    "optuna.trial.Trial.report=2": "SIGKILL",  # it is half trained
    "optuna.study.Study.tell=2": "SIGKILL",  # the dead one is cleared away; the next one's run is over
    "optuna.trial.Trial.report=6": "SIGINT",  # one more is done, the next half trained
    "lstm_lab.studies.page.ParentPage.refresh=2": "SIGKILL",  # the study knows of a trial's end, its page does not
    "lstm_lab.records.tracking.TrackedRun.log_model=1": "SIGKILL",  # the study is done, its best trial's model is not
    "lstm_lab.studies.page.ParentPage.copy_best=1": "SIGKILL",  # nor is its page
}


def test_stopped_at_any_moment_a_sweep_goes_on_to_its_total(checkout):
    words = ("-m", "sweeps", "hydra.sweeper.n_trials=6", "training.steps=100", "hydra.sweeper.prune_every=20")
    for place, how in STOPPED.items():
        stopped = train_until(place, how, checkout, *words)
        assert stopped.returncode == {"SIGKILL": -signal.SIGKILL, "SIGINT": 130}[how], place
        assert stopped.stderr == ""
        if how == "SIGINT":
            assert study.counts(study_of(checkout))["RUNNING"] == 0
    done = train(checkout, *words)
    assert done.returncode == 0, done.stderr
    found = study_of(checkout)
    states = study.counts(found)
    assert states["COMPLETE"] + states["PRUNED"] == 6
    assert states["RUNNING"] == states["WAITING"] == states["FAIL"] == 0
    assert states["KILLED"] in (5, 6)  # the page is written while the next trial runs, which may be over by then
    retried = [trial.user_attrs["retry_of"] for trial in found.trials if "retry_of" in trial.user_attrs]
    assert len(retried) == states["KILLED"]
    assert len({str(t.params) for t in found.trials if not study.was_killed(t)}) == 6
    parent, children = runs_of(checkout, "sweep-default")
    assert parent.info.status == "FINISHED"
    assert all(agree(found.trials[number], run) for number, run in children.items())
    [model] = children[found.best_trial.number].outputs.model_outputs
    assert MlflowClient(f"sqlite:///{checkout}/mlflow.db").get_logged_model(model.model_id).status == "READY"


def test_a_trial_with_several_seeds_is_judged_by_their_median_and_what_was_trained_of_a_killed_one_counts(checkout):
    words = ("-m", "sweeps", "seeds=3", "hydra.sweeper.n_trials=3", "training.steps=30", "evaluation.windows=0")
    place = "lstm_lab.runs.group_page.GroupPage.add=5"
    assert train_until(place, "SIGKILL", checkout, *words).returncode == -signal.SIGKILL
    done = train(checkout, *words)
    assert done.returncode == 0, done.stderr
    found = study_of(checkout)
    assert {key: count for key, count in study.counts(found).items() if count} == {"COMPLETE": 3, "KILLED": 1}
    parent, children = runs_of(checkout, "sweep-default")
    client = MlflowClient(f"sqlite:///{checkout}/mlflow.db")
    leaves = client.search_runs([parent.info.experiment_id], "tags.group LIKE '%' AND attributes.status = 'FINISHED'")
    assert len(leaves) == 9, "two of the killed trial's are not trained again"
    for number, group in children.items():
        trial, tags = found.trials[number], tagging.tags_of(group)
        if study.was_killed(trial):
            assert group.info.status == "KILLED"
            continue
        costs = [client.get_run(tags[f"seed.{n}"]).data.metrics["mean_last_20_cost"] for n in range(3)]
        assert trial.value == group.data.metrics["mean_last_20_cost"] == sorted(costs)[1]
    best = client.get_run(parent.data.tags["best_run"])
    assert best.data.metrics["mean_last_20_cost"] == found.best_value
    assert " seeds=3\n" in done.stdout
    refused = train(checkout, *words[:2], "seeds=4", *words[3:], f"hydra.sweeper.study_name='{found.study_name}'")
    assert "exists with another seeds; results would be mixed (seeds was 3, is 4)" in refused.stderr


def test_a_failing_trial_is_told_and_too_many_in_a_row_stop_the_sweep(checkout):
    words = ("-m", "optimizer=sgd", "optimizer.clipnorm=null", "training.steps=40", "hydra.sweeper.max_failures=2")
    done = train(checkout, *words, "optimizer.learning_rate=1e7,1e-3,1e6,1e8,1e-2", "tracking.model=false")
    assert done.returncode == 2
    assert "the last 2 trials failed, the newest for this reason: the cost became" in done.stderr
    assert done.stderr.count("\n") == 1
    found = study_of(checkout)
    assert [trial.state.name for trial in found.trials] == ["FAIL", "COMPLETE", "FAIL", "FAIL"]
    parent, children = runs_of(checkout, "sine_to_cosine")
    assert parent.info.status == "FAILED"
    assert all(agree(found.trials[number], run) for number, run in children.items())


def test_a_plain_grid_is_hydras_and_is_tracked_and_nested(checkout):
    """Its presets name experiments of their own, and what learns nothing would be cut by a median."""
    words = ("experiment=smoke,no_carry", "optimizer.learning_rate=1e-2,1e-9", "training.steps=20")
    pruner = ("prune_every=5", "pruner.n_startup_trials=1", "pruner.n_warmup_steps=0")
    done = train(checkout, "-m", *words, "tracking.model=false", *(f"hydra.sweeper.{word}" for word in pruner))
    assert done.returncode == 0, done.stderr
    _, children = runs_of(checkout, "sine_to_cosine")
    points = [
        (run.data.params["training.carry_state"], run.data.params["optimizer.learning_rate"])
        for _, run in sorted(children.items())
    ]
    assert points == [("True", "0.01"), ("True", "1e-09"), ("False", "0.01"), ("False", "1e-09")]
    assert [run.info.status for run in children.values()] == ["FINISHED"] * 4


def test_on_files_the_best_is_what_predicts_best_what_it_was_not_trained_on(checkout, tmp_path):
    """What is printed at the end can be typed, in another directory and with names that no shell takes as they are."""
    folder = tmp_path / "my data (1)"
    folder.mkdir()
    wave = [math.sin(i / 6) + 0.3 * math.sin(i / 17) for i in range(400)]
    (folder / "a=b.csv").write_text("T [°C],b\n" + "".join(f"{1.5e9 + 40 * v},{v}\n" for v in wave))
    words = ("data=csv", "data.path=a=b.csv", "data.input=T [°C]", "data.horizon=1", "training.steps=60")
    lean = (
        "tracking.figures=false",
        "tracking.animation=false",
        "hydra.sweeper.study_name=mine",
        "hydra/sweeper/pruner=none",
    )
    grid = ("optimizer.learning_rate=0.001,0.03,0.01", "hydra/sweeper/sampler=grid")
    done = train(checkout, "-m", *words, *grid, *lean, cwd=folder)
    assert done.returncode == 0, done.stderr
    parent, children = runs_of(checkout, "a=b")
    errors = {run.info.run_id: run.data.metrics["validation/mse"] for run in children.values()}
    assert parent.data.tags["best_run"] == min(errors, key=errors.get)
    assert parent.data.params["objective"] == "validation/mse"
    printed = re.findall(r"^(train it again|forecast with it|compare the trials): (.*)$", done.stdout, flags=re.M)
    assert [what for what, _ in printed] == ["train it again", "forecast with it", "compare the trials"]
    for what, command in printed:
        ended = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
        assert ended.returncode == 0, f"{what}: {ended.stderr}"
    again = MlflowClient(f"sqlite:///{checkout}/mlflow.db").search_runs(
        [parent.info.experiment_id], "tags.trial IS NULL AND tags.sweep IS NULL"
    )
    assert [run.data.metrics["validation/mse"] for run in again] == [min(errors.values())]
    forecast = [sys.executable, str(checkout / "src/forecast.py"), "run=mine", "steps=3", "out=here.csv"]
    assert subprocess.run(forecast, cwd=folder, capture_output=True).returncode == 0
    assert (folder / "here.csv").exists()


def test_a_server_that_goes_away_costs_a_sweep_no_trial(checkout, free_server):
    environment = {**os.environ, "MLFLOW_TRACKING_URI": free_server.uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    words = ("-m", "training.seed=0,1,2", "training.steps=20", "tracking.figures=false", "tracking.model=false")
    free_server.start()
    with held("lstm_lab.records.tracking.TrackedRun.log_summary=2", checkout, *words, env=environment) as process:
        wait_until_held(process)
        free_server.stop()
        process.stdin.close()
        waiting = next(line for line in iter(process.stdout.readline, "") if "waiting" in line)
        assert re.fullmatch(r"the store failed: API request to \S+ failed; waiting until it answers\n", waiting)
        free_server.start()
        rest = process.stdout.read()
        assert (process.wait(), process.stderr.read()) == (0, "")
    assert "is done: 3 COMPLETE, 1 KILLED" in rest
    parent, children = runs_of(checkout, "sine_to_cosine", free_server.uri)
    assert parent.info.status == "FINISHED"
    trials = study_of(checkout).trials
    assert sorted(children) == [0, 1, 2, 3]
    assert all(agree(trials[number], run) for number, run in children.items())
    assert [trials[2].params, trials[1].user_attrs["fault"][:16]] == [trials[1].params, "the store failed"]


def test_a_worker_that_was_suspended_for_too_long_goes_on_with_the_next_trial(checkout):
    words = ("-m", "training.seed=0,1", "training.steps=40", "hydra.sweeper.prune_every=10", "tracking.figures=false")
    with held("optuna.trial.Trial.report=1", checkout, *words) as process:
        wait_until_held(process)
        study_of(checkout).tell(0, state=TrialState.FAIL)  # as another worker does, which missed its signs of life
        process.stdin.close()
        said = process.stdout.read()
        assert (process.wait(), process.stderr.read()) == (0, "")
    assert "trial 0 was taken from this worker" in said
    trials = study_of(checkout).trials
    assert [trial.params["training.seed"] for trial in trials if trial.state == TrialState.COMPLETE] == [0, 1]
    _, children = runs_of(checkout, "sine_to_cosine")
    assert all(agree(trials[number], run) for number, run in children.items())
    assert children[0].data.tags["reason"].startswith("another worker took this one for dead")


BAD = {
    ("-m",): "nothing to sweep",
    ("-m", "sweeps=defalt"): "sweeps=defalt: there is no such choice; did you mean 'default'?",
    ("-m", "sweeps", "training.level=portable,fast"): "training.level: TensorFlow takes it once for all trials",
    ("-m", "sweeps", "resume=00000000000000000000000000000000"): "resume: a run is resumed by itself, without -m",
    ("-m", "sweeps", "hydra.sweeper.n_trials=0"): "hydra.sweeper.n_trials=0: must be greater than or equal to 1",
    ("-m", "sweeps", "hydra.sweeper.n_trials=many"): "hydra.sweeper.n_trials='many': must be a valid integer",
    ("-m", "sweeps", "model.cell_size=int(interval(9,3))"): "model.cell_size=int(interval(9,3)): the lower end must",
    ("-m", "sweeps", "optimizer.learning_rate=tag(log,interval(0,1))"): "optimizer.learning_rate=tag(log,interval",
    ("-m", "sweeps", "optimizer.learning_rate=interval(0,1)"): "optimizer.learning_rate=0.0: must be greater than 0",
    ("-m", "sweeps", "model.cell_size=choice(4,0)"): "model.cell_size=0: must be greater than or equal to 1",
    ("-m", "sweeps", "+hydra.sweeper.params.model.cel_size='choice(1,2)'"): "model.cel_size: there is no such setting",
    ("-m", "sweeps", "hydra.sweeper.objective=accuracy"): "hydra.sweeper.objective='accuracy': must be a metric",
    ("-m", "sweeps", "hydra.sweeper.direction=up"): "hydra.sweeper.direction='up': must be 'minimize' or 'maximize'",
    ("-m", "sweeps", "hydra/sweeper/sampler=gird"): "hydra/sweeper/sampler=gird: there is no such choice",
    ("-m", "sweeps", "hydra/sweeper/sampler=grid"): "optimizer.learning_rate: a grid takes choice and range",
    ("-m", "model=lstm,gruu"): "model=gruu: there is no such choice; did you mean 'gru'?",
    ("-m", "sweeps", "hydra.sweeper.storage.url=mysql://x"): "hydra.sweeper.storage.url=mysql://x",
    ("-m", "sweeps", "hydra.sweeper.storage.url=postgresql+psycopg://u:pw@127.0.0.1:9/x"): "hydra.sweeper.storage.url=",
}  # fmt: skip


@pytest.mark.parametrize("words", BAD, ids=" ".join)
def test_a_bad_sweep_is_refused_before_any_trial(words, default_sweep):
    checkout, _ = default_sweep
    before = study_of(checkout).trials
    done = train(checkout, *words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(BAD[words])
    assert done.stderr.count("\n") == 1
    assert study_of(checkout).trials == before


def test_a_study_of_that_name_with_another_space_is_refused(default_sweep):
    checkout, _ = default_sweep
    name = study_of(checkout).study_name
    done = train(checkout, "-m", "sweeps", f"hydra.sweeper.study_name='{name}'", "model.cell_size=1,2")
    assert done.returncode == 2
    assert "that study exists with another" in done.stderr


def test_three_workers_share_a_study_on_postgresql_with_a_tracking_server_and_survive_a_kill(
    tmp_path_factory, postgresql, server, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    checkouts = [copy_project(tmp_path_factory.mktemp(f"machine{number}")) for number in range(3)]
    words = (
        "-m", "sweeps", "hydra.sweeper.n_trials=9", "training.steps=150",
        f"hydra.sweeper.storage.url={postgresql}", "hydra.sweeper.storage.grace=1000000",
    )  # fmt: skip
    with contextlib.ExitStack() as stack:  # each is in the midst of its first trial
        workers = [stack.enter_context(held("optuna.trial.Trial.report=1", checkout, *words)) for checkout in checkouts]
        for worker in workers:
            wait_until_held(worker)
        killed, *others = workers
        killed.kill()
        killed.wait()
        for worker in others:
            worker.stdin.close()  # all go on before one is waited for: each waits for the others' last trials
        ends = [(worker.wait(), worker.stderr.read()) for worker in others]
    assert ends == [(0, "")] * 2
    found = study_of(None, "default training.steps=150", postgresql)
    states = study.counts(found)
    assert states["COMPLETE"] + states["PRUNED"] == 9
    assert states["RUNNING"] == states["WAITING"] == states["FAIL"] == 0
    assert states["KILLED"] == 1
    parent, children = runs_of(None, "sweep-default", server)
    assert parent.info.status == "FINISHED"
    assert all(agree(found.trials[number], run) for number, run in children.items())


def test_hydras_submitit_launcher_runs_the_trials(checkout):
    done = train(
        checkout, "-m", "sweeps", "hydra/launcher=submitit_local", "hydra.launcher.timeout_min=600",
        "hydra.sweeper.n_trials=2", "training.steps=20",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert study.counts(study_of(checkout))["COMPLETE"] == 2
    _, children = runs_of(checkout, "sweep-default")
    assert [run.info.status for run in children.values()] == ["FINISHED"] * 2


def states_of(sweeping):
    """The states of the study's trials in MLflow's words, in order, as its own and as MLflow has them."""
    trials = sweeping.study().get_trials()
    _, children = sweeping.page()
    assert all(agree(trials[number], run) for number, run in children.items() if trials[number].state.is_finished())
    return ["KILLED" if study.was_killed(trial) else trial.state.name for trial in trials]


def once(number, what):
    """A step of a job that does something in the trial of that number alone."""
    return lambda running: what(running) if running.number == number else None


def raises(error):
    """A step that raises it."""

    def step(running):
        raise error

    return step


def test_a_job_that_cannot_be_composed_is_one_failed_trial(sweeping):
    sweeping.before = once(1, raises(ConfigCompositionException("Could not override 'model.forget_bias'.\nTo append")))
    said = sweeping.run()
    assert states_of(sweeping) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert sweeping.study().trials[1].user_attrs["reason"].startswith("model.forget_bias: not a setting of")
    assert re.search(r"^trial   1 .* FAIL model.forget_bias: not a setting", said, flags=re.M)
    assert sweeping.page()[0].info.status == "FINISHED"


def test_what_a_job_raises_or_returns_counts_as_its_failure(sweeping):
    sweeping.max_failures = 2
    sweeping.before = lambda running: RuntimeError("broken\nmore") if running.number else None
    with pytest.raises(database.StudyError, match="the last 2 trials failed, the newest for this reason: Run"):
        sweeping.run()
    assert states_of(sweeping) == ["COMPLETE", "FAIL", "FAIL"]
    assert sweeping.page()[0].info.status == "FAILED"
    assert "trial   2" in sweeping.said


def test_ctrl_c_leaves_nothing_running(sweeping):
    sweeping.after = once(2, raises(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        sweeping.run()
    parent, _ = sweeping.page()
    assert (parent.info.status, parent.data.tags["trials"]) == ("KILLED", "2 COMPLETE, 1 KILLED of 4")
    assert states_of(sweeping) == ["COMPLETE", "COMPLETE", "KILLED"]
    sweeping.after = lambda running: None
    sweeping.run()
    assert states_of(sweeping) == ["COMPLETE", "COMPLETE", "KILLED", "COMPLETE", "COMPLETE"]


def goes_away(sweeping, monkeypatch, times):
    """A step of a job that misses the store, which then does not answer for so many times that it is asked."""
    asked = iter(range(times))

    def search(*arguments, **options):
        if next(asked, None) is not None:
            raise MlflowException("API request failed\nmore")
        monkeypatch.undo()
        return sweeping.client.search_experiments(*arguments, **options)

    def step(running):
        study.fail(sweeping.study(), running, fault="no answer")
        monkeypatch.setattr(sweeping.client, "search_experiments", search)
        raise MlflowException("no answer")

    return step


def test_a_trial_that_the_store_was_away_from_is_tried_again_once_it_answers(sweeping):
    with pytest.MonkeyPatch.context() as patch:
        sweeping.before = once(1, goes_away(sweeping, patch, times=3))
        said = sweeping.run()
    assert states_of(sweeping) == ["COMPLETE", "KILLED", "COMPLETE", "COMPLETE", "COMPLETE"]
    trials = sweeping.study().trials
    assert trials[2].params == trials[1].params
    assert said.count("waiting until it answers") == 1


def test_a_store_that_does_not_come_back_ends_the_sweep_in_a_line(sweeping, monkeypatch):
    monkeypatch.setattr(sweep, "PATIENCE", -1)
    told = r"^the store failed: API request failed, for .* the same command goes on$"
    with pytest.MonkeyPatch.context() as patch:
        sweeping.before = once(1, goes_away(sweeping, patch, times=10**9))
        with pytest.raises(database.StudyError, match=told):
            sweeping.run()
    sweeping.before = lambda running: None
    sweeping.run()
    assert states_of(sweeping) == ["COMPLETE", "KILLED", "COMPLETE", "COMPLETE", "COMPLETE"]


def test_a_store_that_fails_whenever_it_is_used_ends_the_sweep(sweeping):
    sweeping.max_failures = 3
    sweeping.before = raises(MlflowException("no answer"))
    with pytest.raises(database.StudyError, match="the last 3 trials of this worker were cut short, the newest by"):
        sweeping.run()
    assert states_of(sweeping) == ["KILLED"] * 3


@pytest.mark.parametrize("name", ["log_batch", "set_terminated", "get_run", "get_experiment", "log_artifacts"])
def test_a_store_that_fails_at_any_moment_is_waited_for(sweeping, monkeypatch, name):
    sweeping.run(declared(total=1))
    calls, act = [], getattr(MlflowClient, name)

    def failing(*arguments, **options):
        calls.append(1)
        if len(calls) % 7 in (3, 5):
            raise MlflowException("no answer")
        return act(*arguments, **options)

    with monkeypatch.context() as patch:
        sweeping.after = lambda running: patch.setattr(MlflowClient, name, failing)
        said = sweeping.run(declared(total=12))
    assert "s is done: 12 COMPLETE" in said
    assert sweeping.page()[0].info.status == "FINISHED"
    assert set(states_of(sweeping)) <= {"COMPLETE", "KILLED"}


def test_a_database_that_fails_at_any_moment_is_waited_for(sweeping, monkeypatch):
    storage = optuna.storages.RDBStorage
    names = ("_create_new_trial", "_set_trial_param", "set_trial_user_attr", "record_heartbeat", "_get_trials")
    calls = []

    def failing(act):
        def call(*arguments, **options):
            calls.append(1)
            if len(calls) % 23 == 0:
                raise optuna.exceptions.StorageInternalError from sqlalchemy.exc.OperationalError("x", {}, Exception())
            return act(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in names:
            patch.setattr(storage, name, failing(getattr(storage, name)))
        said = sweeping.run(declared(total=12))
    assert "s is done: 12 COMPLETE" in said
    assert len(calls) > 10 * 23


def test_a_trial_that_was_taken_from_its_worker_is_said_to_be(sweeping):
    def take_away(running):
        study.end(sweeping.study(), running, TrialState.FAIL)  # as a worker elsewhere does

    sweeping.after = once(1, take_away)
    said = sweeping.run()
    assert "trial 1 was taken from this worker" in said
    assert states_of(sweeping) == ["COMPLETE", "KILLED", "COMPLETE", "COMPLETE", "COMPLETE"]


def test_the_trials_of_every_worker_are_said_once_in_the_order_of_their_ending(sweeping):
    def another_worker(running):
        opened = sweeping.study()
        for _ in range(2):
            other = study.take_trial(opened, opened._storage._backend, declared(total=9))
            study.end(opened, other, TrialState.COMPLETE, 1.0)

    sweeping.after = once(1, another_worker)
    said = sweeping.run(declared(total=6))
    assert re.findall(r"^trial +(\d+) .* COMPLETE", said, flags=re.M) == ["0", "2", "3", "1", "4", "5"]
    sweeping.run(declared(total=7))
    assert re.findall(r"^trial +(\d+) ", sweeping.said, flags=re.M) == ["6"]


def test_what_can_be_done_with_the_best_run_is_printed(sweeping):
    def on_file(running):
        run = sweeping.client.search_runs(["1"], max_results=1)[0]
        sweeping.client.log_param(run.info.run_id, "data.path", "x.csv")
        sweeping.client.log_param(run.info.run_id, "data.horizon", "None" if running.number else "12")

    sweeping.after = on_file
    said = sweeping.run()
    best = sweeping.study().best_trial.number
    run_id = sweeping.page()[1][best].info.run_id
    steps = [] if best else ["steps=100"]
    assert f"(run {run_id})" in said
    words = shlex.split(re.search("^forecast with it: (.*)$", said, flags=re.M).group(1))
    assert words[2:] == [f"run={run_id}", *steps]
    words = shlex.split(re.search("^compare the trials: (.*)$", said, flags=re.M).group(1))
    assert words[2:] == [f"study={sweeping.page()[0].info.run_id[:8]}", "last=4", "--compare"]
    assert [*map(sweep.told_by, ["model", "experiment", "model.cell_size"])] == [
        "model.cell", "data.curve", "model.cell_size",
    ]  # fmt: skip


def test_a_file_that_was_changed_stops_the_sweep_and_costs_no_trial(sweeping):
    sweeping.before = lambda running: study.FileChangedError("x.csv was changed") if running.number == 1 else None
    with pytest.raises(study.FileChangedError, match=r"x\.csv was changed"):
        sweeping.run()
    assert "1 COMPLETE, 1 KILLED" in sweeping.page()[0].data.tags["trials"]
    sweeping.before = lambda running: None
    assert "s is done: 4 COMPLETE" in sweeping.run()
