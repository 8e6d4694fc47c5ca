"""Runs that are killed, and go on to the same end."""

import hashlib
import io
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from mlflow import MlflowClient
from rich.console import Console

from helpers import copy_project, csv_settings, held, noting, train, train_until, wait_until_held
from lstm_lab.config import NEWER, WATCHING, CannotRunError, ConfigError, check, flatten
from lstm_lab.records import checkpoint, lookup, processes, store, tagging, tracking
from lstm_lab.records.tracking import VALIDATION
from lstm_lab.runs import resume, run, setup
from lstm_lab.science.curves import Batches
from stores import HOSTILE
from test_config import composed

QUIET = ("tracking.animation=false", "tracking.model=false")


def client_of(checkout):
    return MlflowClient(f"sqlite:///{checkout}/mlflow.db")


def runs_of(checkout, experiment):
    client = client_of(checkout)
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def artifacts_of(checkout, run_id):
    return checkout / "mlruns/artifacts" / run_id / "artifacts"


def checkpoints_of(checkout):
    return sorted(checkout.glob("mlruns/checkpoints/*/step-*.npz"))


def same_end(checkout, one, other):
    """Whether two runs have the same costs, weights, optimizer, state and cost history, to the bit."""
    saved = [checkpoint.load(artifacts_of(checkout, run) / "checkpoint/checkpoint.npz") for run in (one, other)]
    arrays = [[s.costs, *s.weights, *s.optimizer, *s.state] for s in saved]
    costs = [np.load(artifacts_of(checkout, run) / "cost.npy", allow_pickle=False) for run in (one, other)]
    history = [
        sorted((m.step, m.value) for m in client_of(checkout).get_metric_history(run, "cost")) for run in (one, other)
    ]
    return (
        [a.tobytes() for a in arrays[0]] == [a.tobytes() for a in arrays[1]]
        and costs[0].tobytes() == costs[1].tobytes()
        and history[0] == history[1]
        and [step for step, _ in history[0]] == list(range(len(costs[0])))
    )


def test_killed_three_times_and_trained_longer_a_run_comes_to_the_same_end(checkout, monkeypatch, tmp_path_factory):
    told = tmp_path_factory.mktemp("told") / "of"
    monkeypatch.setenv("LSTM_LAB_NOTIFY", noting(told))
    config = ("model=gru", "optimizer=sgd", *QUIET)
    assert train(checkout, *config, "training.steps=500", "tracking.experiment=whole").returncode == 0
    [whole] = runs_of(checkout, "whole")
    assert not list(checkout.glob("mlruns/checkpoints/*"))

    words = (*config, "training.steps=400", "tracking.experiment=killed")
    assert train_until("step=100", "SIGKILL", checkout, *words).returncode == -signal.SIGKILL
    [run] = runs_of(checkout, "killed")
    run_id = run.info.run_id
    assert run.info.status == "RUNNING"

    said = train_until("step=200", "SIGTERM", checkout, f"resume={run_id}").stdout
    assert re.search(r"resuming gru sgd steps=400 at step 100 of 400\n", said)
    assert client_of(checkout).get_run(run_id).info.status == "KILLED"
    assert "stopped by SIGTERM after 200 of 400 steps\n" in said
    assert re.search(rf"^go on: \S*python src/train.py resume={run_id}$", said, flags=re.M)
    assert not checkpoints_of(checkout)  # an orderly end leaves the last one among the artifacts

    assert train_until("step=300", "SIGKILL", checkout, f"resume={run_id}").returncode == -signal.SIGKILL
    older, newest = checkpoints_of(checkout)
    before = checkpoint.load(older).step
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    done = train(checkout, f"resume={run_id}")
    assert done.returncode == 0, done.stderr
    assert f"{newest} is damaged: its bytes do not match their checksum\n" in done.stdout
    assert 200 < before < 300
    assert f"at step {before} of 400\n" in done.stdout
    assert len(client_of(checkout).get_metric_history(run_id, "cost")) == 400
    done = train(checkout, f"resume={run_id}", "training.steps=500")
    assert done.returncode == 0, done.stderr
    run = client_of(checkout).get_run(run_id)
    assert run.info.status == "FINISHED"
    assert "reason" not in run.data.tags
    assert "contradicted" not in run.data.tags
    assert run.data.tags["changed.training.steps"] == "500"
    assert run.data.metrics["final_cost"] == whole.data.metrics["final_cost"]
    assert same_end(checkout, whole.info.run_id, run_id)
    assert not list(checkout.glob("mlruns/checkpoints/*"))
    ends = [(whole.info.run_id, "FINISHED"), (run_id, "KILLED"), (run_id, "FINISHED"), (run_id, "FINISHED")]
    assert told.read_text() == "".join(f"{who} {status}\n" for who, status in ends)  # a SIGKILL tells nobody


def test_a_killed_run_stops_early_at_the_same_step_and_keeps_the_same_weights(checkout):
    """Killed at an error that is no better, after the best one, and again when it has just come to its end."""
    words = ("experiment=sunspots", "optimizer.learning_rate=0.05", "training.keep=best", "training.early_stopping=4")
    words += ("training.validate_every=10", "training.steps=400", "tracking.figures=false", *QUIET)
    done = train(checkout, *words, "tracking.experiment=whole")
    assert done.returncode == 0, done.stderr
    [whole] = runs_of(checkout, "whole")
    reason = "stopped early after 100 steps: no better validation error for 4 points; best at step 60"
    assert f"FINISHED: {reason}\n" in done.stdout
    assert re.search(r"^step {6}80   cost [\d.]+   validation [\d.]+$", done.stdout, flags=re.M)

    words += ("tracking.experiment=killed",)
    assert train_until("step=80", "SIGKILL", checkout, *words).returncode == -signal.SIGKILL
    [run] = runs_of(checkout, "killed")
    word = f"resume={run.info.run_id}"
    assert train_until("step=100", "SIGKILL", checkout, word).returncode == -signal.SIGKILL
    said = train(checkout, word).stdout
    assert "at step 90 of 400\n" in said
    assert f"FINISHED: {reason}\n" in said

    [run] = runs_of(checkout, "killed")
    assert (whole.data.tags["reason"], run.data.tags["reason"]) == (reason, reason)
    assert same_end(checkout, whole.info.run_id, run.info.run_id)
    one, other = (artifacts_of(checkout, ended.info.run_id) for ended in (whole, run))
    saved, weights = checkpoint.load(one / "checkpoint/checkpoint.npz"), np.load(one / "final_weights.npz")
    assert [a.tobytes() for a in weights.values()] == [a.tobytes() for a in saved.best]
    assert (one / "final_weights.npz").read_bytes() == (other / "final_weights.npz").read_bytes()
    assert saved.validated.tolist() == list(range(10, 101, 10))
    history = [
        [(point.step, point.value) for point in client_of(checkout).get_metric_history(ended.info.run_id, VALIDATION)]
        for ended in (whole, run)
    ]
    assert sorted(history[0]) == sorted(history[1])
    assert sorted(history[0]) == sorted([*zip(saved.validated, saved.errors, strict=True), (100, saved.errors[5])])
    for metric in (VALIDATION, "best_step", "evaluation/mse"):
        assert whole.data.metrics[metric] == run.data.metrics[metric]
    assert (run.data.metrics[VALIDATION], run.data.metrics["best_step"]) == (min(saved.errors), 60)


FIRST_MOMENTS = ("create_run", "log_batch", "log_inputs", "log_artifacts")  # of MlflowClient, in a run's order


def test_a_run_goes_on_from_the_very_moment_it_is_in_the_store(copied_run):
    """Killed before its parameters are logged and, each time it is resumed, before its data and before its files.

    Then, with everything but its model there, the store fails: the run is not over before that is there too.
    """
    checkout, [whole] = copied_run.checkout, runs_of(copied_run.checkout, "sine_to_cosine")
    words = ("tracking.experiment=killed", "tracking.animation=false")
    for call in FIRST_MOMENTS:
        place = f"mlflow.MlflowClient.{call}=1"
        assert train_until(place, "SIGKILL", checkout, *words).returncode == -signal.SIGKILL
        found = runs_of(checkout, "killed")
        if call == "create_run":
            assert not found
            continue
        [run] = found
        assert run.info.status == "RUNNING"
        assert not list(artifacts_of(checkout, run.info.run_id).glob("*"))
        words = (f"resume={run.info.run_id}",)
    refused = subprocess.run(
        [sys.executable, str(checkout / "src/reproduce.py"), f"run={run.info.run_id}"], capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert re.search(f"src/train.py'? resume={run.info.run_id}` ends one that was cut short", refused.stderr)
    said = train_until("mlflow.MlflowClient.log_model_artifacts=1", "fault", checkout, *words)
    assert said.returncode == 2
    assert "another program holds it: wait for that, or end it. This run is not whole in the store" in said.stderr
    assert runs_of(checkout, "killed")[0].info.status == "RUNNING"
    done = train(checkout, *words)
    assert done.returncode == 0, done.stderr
    [run] = runs_of(checkout, "killed")
    same = {key: value for key, value in whole.data.params.items() if not key.startswith("tracking.")}
    assert same.items() <= run.data.params.items()
    assert run.data.params["tracking.animation"] == "False"
    assert len(run.inputs.dataset_inputs) == 1
    [model] = client_of(checkout).search_logged_models([run.info.experiment_id])
    assert model.status == "READY"  # the one that was begun when the store failed is gone
    assert model.tags["mlflow.source.name"] == "src/train.py"
    files = {file.name for file in (artifacts_of(checkout, run.info.run_id) / "provenance").iterdir()}
    assert {"provenance.json", "packages.txt"} <= files
    assert same_end(checkout, whole.info.run_id, run.info.run_id)


def test_a_resumption_that_was_cut_short_can_be_typed_again(copied_run):
    """Killed when the store knows of the steps to come and config.yaml does not."""
    checkout, [whole] = copied_run.checkout, runs_of(copied_run.checkout, "sine_to_cosine")
    longer = (f"resume={whole.info.run_id}", "training.steps=201")
    place = "mlflow.MlflowClient.log_artifacts=1"
    assert train_until(place, "SIGKILL", checkout, *longer).returncode == -signal.SIGKILL
    done = train(checkout, *longer)
    assert done.returncode == 0, done.stderr
    assert len(np.load(artifacts_of(checkout, whole.info.run_id) / "cost.npy", allow_pickle=False)) == 201


def test_a_runs_name_leads_nowhere(copied_run):
    """Renamed in the store, by whomever; the run is resumed, and what it writes is where it belongs."""
    checkout, [run] = copied_run.checkout, runs_of(copied_run.checkout, "sine_to_cosine")
    evil = "../../../\x1b[31m\u202eevil\nresumed"
    client_of(checkout).set_tag(run.info.run_id, "mlflow.runName", evil)
    before = {path for path in checkout.parent.rglob("*") if "mlruns" not in path.parts}
    done = train(checkout, f"resume={run.info.run_id}", "training.steps=201", "tracking.tensorboard=true")
    assert done.returncode == 0, done.stderr
    assert not {path for path in checkout.parent.rglob("*") if "mlruns" not in path.parts} - before
    assert any("evil" in folder.name for folder in (checkout / "mlruns/tensorboard").iterdir())
    assert all(line.isprintable() for line in done.stdout.splitlines())
    assert not re.search("^resumed", done.stdout, flags=re.M)


def test_runs_of_killed_processes_are_found_and_living_ones_left_alone(checkout):
    with held("step=100", checkout, *QUIET) as living:
        wait_until_held(living)
        assert "cut short" not in train(checkout, "experiment=smoke").stdout
        [run] = runs_of(checkout, "sine_to_cosine")
        assert run.info.status == "RUNNING"
        refused = train(checkout, f"resume={run.info.run_id}")
        assert refused.returncode == 2
        assert f"it is still training (process {living.pid} on " in refused.stderr
        living.kill()
    said = train(checkout, "experiment=smoke").stdout
    assert re.search(rf"{run.info.run_name}; to go on: \S*python src/train.py resume={run.info.run_id}\n", said)
    [run] = runs_of(checkout, "sine_to_cosine")
    assert run.info.status == "KILLED"
    assert run.data.tags["reason"] == "interrupted: its process was killed"


@pytest.fixture
def stored(default_run, tmp_path, monkeypatch):
    """A copy of the default run's store, and the client of it that this process uses."""
    copy = tmp_path / "copy"
    shutil.copytree(default_run.checkout, copy)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{copy}/mlflow.db")
    store.open_store.cache_clear()
    monkeypatch.setattr(store, "ROOT", copy)
    store.adopt_moved_store(copy / "mlflow.db")
    [run] = runs_of(copy, "sine_to_cosine")
    yield run, client_of(copy)
    store.open_store.cache_clear()


@pytest.mark.parametrize("tag", ["{", "7", '{"host": 1}', "[" * 4000, HOSTILE])
def test_a_run_that_no_known_process_signed_is_left_alone(stored, tag):
    """On a shared server anybody writes tags."""
    run_id, client = stored[0].info.run_id, stored[1]
    tagging.set_tags(client, run_id, {"process": tag})
    client.update_run(run_id, status="RUNNING")
    assert resume.mark_interrupted(client) == []
    with pytest.raises(ConfigError, match=r"it may still be training .* add take_over=true"):
        resume.refuse_running(client.get_run(run_id), f"resume={run_id}")
    resume.refuse_running(client.get_run(run_id), f"resume={run_id}", take_over=True)


def test_a_trial_whose_process_is_gone_is_ended_though_its_sweep_never_goes_on(stored):
    """Its study may be lost; and a study has many trials, and one line is enough for all."""
    run_id, client = stored[0].info.run_id, stored[1]
    tagging.set_tags(client, run_id, {"process": json.dumps({**processes.this_process(), "started": "before"})})
    client.set_tag(run_id, "trial", "3")
    client.update_run(run_id, status="RUNNING")
    assert resume.mark_interrupted(client) == []
    assert client.get_run(run_id).info.status == "KILLED"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "is finished, with all its 200 steps; to train it longer, add training.steps=400"),
        ({"training.steps": 100}, "training.steps=100: the run is to do 200 steps; they can be raised only"),
        ({"training.steps": "many"}, "training.steps='many': must be a valid integer"),
        ({"training.seed": 1}, "training.seed: a resumed run keeps its config"),
        ({"model": {}}, "model: a resumed run keeps its config"),
        ({"tracking.experiment": "other"}, "tracking.experiment: a resumed run keeps its config"),
    ],
)
def test_what_may_not_change_is_refused(stored, changes, message):
    run, _ = stored
    with pytest.raises(ConfigError, match=message):
        resume.prepare(run.info.run_id, changes, take_over=False)


def test_what_may_change_leaves_the_rest_as_it_was(stored):
    run, client = stored
    before = lookup.config_of(client, run).model_dump()
    changes = {"training.steps": 300, "tracking.figures": False}
    run_id, config = resume.prepare(run.info.run_id[:10], changes, False)
    assert run_id == run.info.run_id
    after = config.model_dump()
    assert after["training"].pop("steps") == 300
    assert after["tracking"].pop("figures") is False
    del before["training"]["steps"], before["tracking"]["figures"]
    assert after == before


@pytest.mark.parametrize(
    ("run_id", "message"),
    [("xyz", "must be a run's id"), ("0" * 32, "no run begins so"), ("../../etc/passwd", "must be a run's id")],
)
def test_an_id_that_is_none_is_named(stored, run_id, message):
    with pytest.raises(CannotRunError, match=f"resume={re.escape(run_id)}: .*{message}"):
        resume.prepare(run_id, {}, take_over=False)


def test_a_run_that_cannot_be_resumed_says_why(stored):
    run, client = stored
    run_id = run.info.run_id
    elsewhere = {**processes.this_process(), "host": "another-machine/x/y"}
    tagging.set_tags(client, run_id, {"process": json.dumps(elsewhere)})
    client.update_run(run_id, status="RUNNING")
    with pytest.raises(ConfigError, match=r"may still be training \(process \d+ on another-machine.*take_over=true"):
        resume.prepare(run_id, {}, take_over=False)
    assert resume.mark_interrupted(client) == []
    assert resume.prepare(run_id, {}, take_over=True)[1].training.steps == 200
    assert client.get_run(run_id).info.status == "KILLED"

    client.set_terminated(run_id, "FINISHED")
    client.set_tag(run_id, "reason", "stopped early after 70 steps")
    with pytest.raises(
        ConfigError, match="is finished: it stopped early after 70 steps; with more steps it would stop"
    ):
        resume.prepare(run_id, {"training.steps": 400}, take_over=False)
    client.set_terminated(run_id, "FAILED")
    client.set_tag(run_id, "reason", "the cost became nan at step 7")
    with pytest.raises(ConfigError, match=r"would fail again at the same step \(the cost became nan at step 7\)"):
        resume.prepare(run_id, {}, take_over=False)
    client.set_tag(run_id, "study", "default")
    with pytest.raises(ConfigError, match="belongs to the sweep 'default', which goes on when its command is typed"):
        resume.prepare(run_id, {}, take_over=False)
    client.delete_run(run_id)
    with pytest.raises(CannotRunError, match="that run was deleted"):
        resume.prepare(run_id, {}, take_over=False)


def test_code_that_makes_other_data_cannot_go_on_with_a_run(stored):
    run, client = stored
    _, config = resume.prepare(run.info.run_id, {"training.steps": 300}, take_over=False)
    tracked = tracking.TrackedRun.resume(client, config, client.get_run(run.info.run_id))
    tracked.sender.shutdown()
    made_of = setup.set_up(config, setup.make_source(config), Console(quiet=True), part=None)
    assert resume.find_checkpoint(made_of, tracked).step == 200
    other = Batches("sine_to_cosine", 50, 20, sample_spacing=0.1)
    with pytest.raises(ConfigError, match="makes other data than that run began with"):
        resume.find_checkpoint(replace(made_of, source=other), tracked)
    with pytest.raises(ConfigError, match="makes other initial weights than that run began with"):
        resume.find_checkpoint(replace(made_of, weights=made_of.weights[:-1]), tracked)


def test_only_a_run_whose_every_process_is_gone_is_cut_short():
    living = processes.this_process()
    gone, elsewhere = {**living, "started": "before"}, {**living, "started": "before", "host": "another"}

    def cut_short(*signers, **tags):
        signed = {f"process.{i}" if i else "process": json.dumps(p) for i, p in enumerate(signers)}
        return processes.is_cut_short(SimpleNamespace(data=SimpleNamespace(tags={**signed, **tags})))

    assert cut_short(gone)
    assert cut_short(gone, gone, study="default")  # a sweep's own run, which many workers sign
    assert not cut_short(gone, living)
    assert not cut_short(gone, elsewhere)
    assert not cut_short()
    assert cut_short(gone, trial="3")


def test_a_config_from_the_store_is_data(stored):
    run, client = stored
    config = artifacts_of(store_folder(client), run.info.run_id) / "config.yaml"
    for bad in ("!!python/object/apply:os.system ['touch /tmp/pwned']", "model: {_target_: os.system}", "\xff: ["):
        config.write_text(bad)
        with pytest.raises(
            store.StoreError, match=r"^run \w{32}: its config\.yaml is no plain YAML|is none for this ver"
        ):
            resume.prepare(run.info.run_id, {"training.steps": 300}, take_over=False)


def store_folder(client):
    from pathlib import Path

    return Path(client.tracking_uri.removeprefix("sqlite:///")).parent


def test_checkpoints_of_another_config_or_with_nothing_left_are_passed_over(stored, monkeypatch, tmp_path):
    run, client = stored
    run_id = run.info.run_id
    monkeypatch.setattr(resume, "ROOT", tmp_path)
    config = lookup.config_of(client, run)
    own = artifacts_of(store_folder(client), run_id) / "checkpoint/checkpoint.npz"
    forms = checkpoint.forms_of(checkpoint.load(own))
    assert resume.newest_checkpoint(client, run, config, forms) == (None, [])  # all 200 steps are done
    _, longer = resume.prepare(run_id, {"training.steps": 201}, take_over=False)
    found, faults = resume.newest_checkpoint(client, run, longer, forms)
    assert (found.step, faults) == (200, [])
    saved = checkpoint.load(own)
    checkpoint.save(resume.folder_of(run_id), checkpoint.Checkpoint(150, "other", saved.costs[:150], [], [], []))
    found, faults = resume.newest_checkpoint(client, run, longer, forms)
    assert found.step == 200
    assert len(faults) == 1
    assert faults[0].endswith("is of another config")
    own.write_bytes(own.read_bytes()[:-1])
    assert resume.newest_checkpoint(client, run, longer, forms)[0] is None


def test_a_checkpoint_knows_its_data_by_the_file_and_older_ones_by_its_path(stored, monkeypatch, tmp_path):
    run, client = stored
    run_id, values = run.info.run_id, lookup.config_of(client, run).model_dump()
    old = {"curve": "csv", "path": "a.csv", "input": "a", "target": "b", "horizon": None, "held_out": 0.1}
    old |= {"validation": 0.1, "batch_size": 8, "time_steps": 20}  # what there was to set when they were written
    data = [csv_settings(**old | {"path": path}).model_dump() for path in ("a.csv", "b.csv")]
    here, moved = (check(values | {"data": settings}) for settings in data)
    assert resume.digest(here) == resume.digest(moved)
    values = here.model_dump(exclude=WATCHING) | {"data": old}
    values = {key: value for key, value in flatten(values) if key not in resume.MAY_CHANGE}
    values = {key: value for key, value in values.items() if NEWER.get(key, NEWER) != value}
    assert resume.digest(here, "a.csv") == hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    monkeypatch.setattr(resume, "ROOT", tmp_path)
    client.log_param(run_id, "data.path", "a.csv")
    for step, digest in ((100, resume.digest(here)), (150, resume.digest(here, "a.csv"))):
        costs = np.zeros(step, np.float32)
        saved = checkpoint.Checkpoint(step, digest, costs, [], [], [])
        checkpoint.save(resume.folder_of(run_id), saved)
        found, _ = resume.newest_checkpoint(client, client.get_run(run_id), moved, checkpoint.forms_of(saved))
        assert found.step == step


def test_what_only_shows_the_validation_makes_no_other_run_and_what_it_decides_does():
    def digest(*words):
        return resume.digest(check(composed("experiment=sunspots", *words)))

    assert digest() == digest("training.validate_every=7") == digest("training.steps=400")
    judged = digest("training.keep=best")
    assert judged == digest("training.keep=best", "training.validate_every=20")  # a tenth of 200 steps
    assert judged == digest("training.keep=best", "training.validate_every=20", "training.steps=400")
    different = ("training.validate_every=7", "training.early_stopping=3", "training.cost=huber")
    assert len({judged, digest(), *(digest("training.keep=best", word) for word in different)}) == 5


def test_a_judged_run_that_is_to_be_longer_is_validated_where_it_was_to_be():
    stored = check(composed("experiment=sunspots", "training.keep=best"))
    assert resume.changed(stored, {"training.steps": 300}).training.validated_every == 20
    assert resume.changed(stored, {"tracking.figures": False}).training == stored.training
    plain = check(composed("experiment=sunspots"))
    assert resume.changed(plain, {"training.steps": 300}).training.validated_every == 30
    assert stored.training.lasting(130).validated_every == 20  # as it is reproduced
    assert plain.training.lasting(130).validate_every is None


def test_a_server_that_goes_away_loses_nothing(tmp_path_factory, tmp_path, free_server):
    checkout = copy_project(tmp_path_factory.mktemp("checkout"))
    environment = {**os.environ, "MLFLOW_TRACKING_URI": free_server.uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    free_server.start()
    with held("step=100", checkout, "training.report_every=50", *QUIET, env=environment) as process:
        wait_until_held(process)
        free_server.stop()
        stdout, stderr = process.communicate()
    assert "step     150" in stdout  # training went on
    assert process.returncode == 2
    assert "Traceback" not in stderr
    assert re.search(r"did not take [\d,]+ points of the cost curve from step [\d,]+ on", stderr)
    [run_id] = re.findall(r"src/train.py'? resume=(\w+)` goes on from the last checkpoint", stderr)
    assert checkpoints_of(checkout)
    assert (checkout / "mlruns/.stores").read_text() == f"{free_server.uri}\n"  # so `make gc` knows whose they may be

    free_server.start()
    done = train(checkout, f"resume={run_id}", env=environment)
    assert done.returncode == 0, done.stderr
    assert "contradicted" not in done.stdout
    client = MlflowClient(free_server.uri)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    client.download_artifacts(run_id, "cost.npy", str(tmp_path))
    costs = np.load(tmp_path / "cost.npy", allow_pickle=False)
    history = client.get_metric_history(run_id, "cost")
    assert sorted((m.step, m.value) for m in history) == list(enumerate(costs.tolist()))
    assert {file.path for file in client.list_artifacts(run_id)} >= {"config.yaml", "figures", "checkpoint"}
    assert not list(checkout.glob("mlruns/checkpoints/*"))


@pytest.mark.parametrize(("tags", "told"), [({}, True), ({"study": "grid"}, False)])
def test_only_a_run_that_can_be_resumed_is_said_to_go_on(tags, told):
    tracked = SimpleNamespace(run_id="1a2b", run=SimpleNamespace(data=SimpleNamespace(tags=tags)))
    with pytest.raises(store.StoreError, match="locked") as raised, run.ended_however(tracked):
        raise sqlite3.OperationalError("database is locked")
    assert ("resume=1a2b" in str(raised.value)) is told


def test_of_many_runs_that_were_cut_short_a_few_are_told_of_one_by_one(monkeypatch):
    found = [SimpleNamespace(info=SimpleNamespace(run_id=f"{i:032x}", run_name=f"r{i}")) for i in range(1000)]
    for one in found:
        one.data = SimpleNamespace(tags={})
    monkeypatch.setattr(resume, "mark_interrupted", lambda client: found)
    monkeypatch.setattr(resume, "forget_finished", lambda client: None)
    console = Console(file=io.StringIO(), width=300)
    run.announce_interrupted(None, console)
    said = console.file.getvalue().splitlines()
    assert len(said) == 21
    assert "... and 980 more: " in said[-1]
