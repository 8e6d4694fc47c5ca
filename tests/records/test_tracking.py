import contextlib
import math
import os
import re
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy.orm

from helpers import train
from lstm_lab import config
from lstm_lab.records import code, store, tagging, tracking
from test_config import composed

RESTORE = ("runs", "restore", "--run-id", "1")


def test_the_store_is_at_the_root_unless_the_environment_says_otherwise(monkeypatch):
    assert store.tracking_uri() == store.sqlite_uri(store.ROOT / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert store.tracking_uri() == "http://127.0.0.1:1"
    with pytest.raises(store.StoreError, match="no tracking server answers there"):
        store.check_store()


@pytest.mark.parametrize("folder", ["/a b/温", "/a?b/100%", "/C#/{x}/%25"])
def test_an_address_leads_to_its_database_whatever_the_folder_is_called(folder, monkeypatch):
    uri = store.sqlite_uri(Path(folder, "x.db"))
    assert sqlalchemy.make_url(uri).database == f"{folder}/x.db"
    assert uri.format() == uri  # Optuna fills in what stands in braces
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert store.database_file() == Path(folder, "x.db")
    assert store.artifact_folder() == Path(folder, "artifacts")


def test_a_printed_command_of_mlflows_works_on_the_store(monkeypatch):
    assert f"MLFLOW_TRACKING_URI={store.LOCAL_URI} " in store.mlflow_command("runs").replace("'", "")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert re.fullmatch(r"\S*python -m mlflow runs restore --run-id 1", store.mlflow_command(*RESTORE))


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found"), OSError("no username")])
def test_a_user_without_a_name_is_known_by_the_number(error, monkeypatch):
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)

    def unknown(uid):
        raise error

    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert tracking.source_tags()["mlflow.user"] == f"uid {os.getuid()}"


@pytest.mark.parametrize(("dirty", "tag"), [(True, "true"), (False, "false"), (None, None)])
def test_tags_say_of_the_code_what_is_known(dirty, tag, monkeypatch):
    missing = ["all else"] if dirty is None else []
    state = code.Code("a" * 40, None, b"diff" if dirty else b"", missing=missing)
    monkeypatch.setattr(code, "running_code", lambda: state)
    tags = tracking.source_tags()
    assert tags["mlflow.source.git.commit"] == "a" * 40
    assert "mlflow.source.git.branch" not in tags
    assert tags.get("git.dirty") == tag


def test_a_parameter_that_mlflow_cut_is_kept_and_another_value_is_not():
    assert tracking.is_kept("a" * 6000, "a" * 7000)
    assert tracking.is_kept("10", "10")
    assert not tracking.is_kept("1", "10")
    assert not tracking.is_kept("a" * 6000, "a" * 3000 + "b" * 4000)


@pytest.mark.parametrize("new_root", ["/new place", "/old", "/old/mlruns/artifacts/x", "/older"])
def test_a_moved_store_points_to_where_it_is_now(tmp_path, monkeypatch, new_root):
    old, here = Path("/old").as_uri() + "/mlruns/artifacts", Path(new_root).as_uri() + "/mlruns/artifacts"
    monkeypatch.setattr(store, "ROOT", Path(new_root))
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TABLE experiments (artifact_location TEXT)")
        connection.execute("CREATE TABLE runs (artifact_uri TEXT)")
        connection.execute("CREATE TABLE logged_models (artifact_location TEXT)")
        connection.execute("INSERT INTO experiments VALUES (?), ('s3://bucket/mine')", [old])
        connection.execute("INSERT INTO runs VALUES (?)", [f"{old}/1f/artifacts"])
        connection.execute("INSERT INTO logged_models VALUES (?)", [f"{here}/models/m-1/artifacts"])
    for _ in range(2):  # doing it again changes nothing
        store.adopt_moved_store(tmp_path / "mlflow.db")
        assert list(connection.execute("SELECT * FROM experiments")) == [(here,), ("s3://bucket/mine",)]
        assert list(connection.execute("SELECT * FROM runs")) == [(f"{here}/1f/artifacts",)]
        assert list(connection.execute("SELECT * FROM logged_models")) == [(f"{here}/models/m-1/artifacts",)]
    connection.close()


@pytest.fixture(autouse=True)
def no_clock(monkeypatch):
    """Costs are flushed once there are a thousand, never because time has gone by."""
    monkeypatch.setattr(tracking, "FLUSH_SECONDS", math.inf)


class Client:
    """Keeps what is sent to MLflow."""

    def __init__(self):
        self.batches = []

    def log_batch(self, run_id, metrics, tags=()):
        self.batches.append([(m.step, m.value) for m in metrics])


def tracked(client, steps, points):
    run = tracking.TrackedRun.__new__(tracking.TrackedRun)
    run.client, run.run_id, run.run = client, "id", SimpleNamespace(data=SimpleNamespace(metrics={}))
    run.start_sending(steps, points)
    return run


def progress(first, costs):
    return SimpleNamespace(step=first + len(costs), costs=np.array(costs, np.float32), validation=None)


def test_every_cost_is_sent_in_batches():
    client = Client()
    run = tracked(client, steps=2500, points=5000)
    run(progress(0, np.arange(1500)))
    run.sending.result()  # or the second thousand might be filled up meanwhile
    run(progress(1500, np.arange(1500, 2500)))
    run.close()
    assert [len(batch) for batch in client.batches] == [1000, 500, 1000]
    assert [point for batch in client.batches for point in batch] == [(k, float(k)) for k in range(2500)]


def test_costs_are_sent_once_they_have_waited_long_enough(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(tracking, "time", SimpleNamespace(time=lambda: 0, monotonic=lambda: clock.now))
    monkeypatch.setattr(tracking, "FLUSH_SECONDS", 3.0)
    client = Client()
    run = tracked(client, steps=3, points=3)
    run(progress(0, [1.0]))
    clock.now += 3.0
    run(progress(1, [2.0]))
    assert run.sending is None
    clock.now += 0.1
    run(progress(2, [3.0]))
    run.sending.result()
    assert client.batches == [[(0, 1.0), (1, 2.0), (2, 3.0)]]
    run.close()


def test_a_long_curve_is_thinned_evenly_and_keeps_its_last_step():
    client = Client()
    run = tracked(client, steps=1001, points=100)
    for first in range(0, 1001, 7):
        run(progress(first, np.arange(first, min(first + 7, 1001))))
    run.close()
    assert [step for batch in client.batches for step, _ in batch] == [*range(0, 1001, 11), 1000]
    client = Client()
    run = tracked(client, steps=1000, points=100)
    run(progress(0, np.arange(1000)))
    run.close()
    assert [step for batch in client.batches for step, _ in batch] == [*range(0, 1000, 10), 999]


def test_what_could_not_be_sent_is_not_passed_over():
    class Broken(Client):
        def log_batch(self, run_id, metrics):
            raise ConnectionError("gone")

    run = tracked(Broken(), steps=10, points=10)
    run(progress(0, np.ones(10)))
    with pytest.raises(store.StoreError, match="did not take 10 points of the cost curve from step 0 on: gone"):
        run.close()


def test_costs_that_come_in_while_others_are_sent_are_sent_after_them():
    class Slow(Client):
        def log_batch(self, run_id, metrics):
            super().log_batch(run_id, metrics)
            if len(self.batches) < 3:  # the training goes on meanwhile
                first = 5 * len(self.batches)
                run.log_costs(first, np.arange(first, first + 5, dtype=np.float32))

    client = Slow()
    run = tracked(client, steps=16, points=16)
    run.log_costs(0, np.arange(5, dtype=np.float32))
    run.close()
    assert [point for batch in client.batches for point in batch] == [(k, float(k)) for k in range(15)]


def test_after_an_outage_everything_is_sent_once():
    class Away(Client):
        calls = 0

        def log_batch(self, run_id, metrics):
            self.calls += 1
            if self.calls % 3:
                raise ConnectionError("away")
            super().log_batch(run_id, metrics)

    client = Away()
    run = tracked(client, steps=300, points=300)
    for first in range(0, 300, 10):
        run.log_costs(first, np.arange(first, first + 10, dtype=np.float32))
        run.flush()
        run.sending.exception()  # waits; the next flush tries again
    client.calls = 2  # now it is back for good
    run.close()
    assert [point for batch in client.batches for point in batch] == [(k, float(k)) for k in range(300)]


def test_a_resumed_run_sends_only_what_is_not_stored_and_notices_other_bits():
    client = Client()
    run = tracked(client, steps=10, points=10)
    run.stored = {0: 0.0, 1: 1.0, 5: 5.0, 6: 6.5}
    run.log_costs(0, np.arange(4, dtype=np.float32))
    run.log_costs(4, np.arange(4, 10, dtype=np.float32))
    run.close()
    assert [step for batch in client.batches for step, _ in batch] == [2, 3, 4, 7, 8, 9]
    assert run.contradicted == 6


def test_validation_errors_are_sent_once_and_those_that_are_numbers():
    client = Client()
    run = tracked(client, steps=10, points=10)
    run.validated = {2: 8.0}
    run.log_validation([2, 4], [8.0, 6.0])
    run(SimpleNamespace(step=6, costs=np.zeros(0), validation=math.inf))
    run(SimpleNamespace(step=8, costs=np.zeros(0), validation=5.0))
    run.close()
    assert [point for batch in client.batches for point in batch] == [(4, 6.0), (8, 5.0)]


@pytest.mark.parametrize(("kept", "sent"), [(5.0, []), (4.0, [(8, 4.0)])])
def test_at_the_end_stands_the_validation_error_of_the_kept_weights(kept, sent):
    client = Client()
    run = tracked(client, steps=10, points=10)
    run.validated = {4: 4.0, 8: 5.0}
    run.log_summary(8, {"validation/mse": kept}, {}, "")
    run.sender.shutdown()
    assert [point for batch in client.batches for point in batch] == sent


def resumed(client, run_id, **changes):
    """The run gone on with, its training changed."""
    settings = config.check(composed("training.steps=10", *(f"{key}={value}" for key, value in changes.items())))
    return tracking.TrackedRun.resume(client, settings, client.get_run(run_id))


def points_of(client, run_id):
    return sorted((point.step, point.value) for point in client.get_metric_history(run_id, "cost"))


@pytest.mark.parametrize("stored", [0, 1, 6, 10])
def test_a_resumed_run_reads_no_history_and_has_every_point_once(stored, tmp_path, monkeypatch):
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient(f"sqlite:///{tmp_path}/runs.db")
    run_id = client.create_run(client.create_experiment("x", tmp_path.as_uri())).info.run_id
    points = [Metric("cost", float(step), 1, step) for step in range(stored)]
    params = config.as_params(config.check(composed("training.steps=10")))
    client.log_batch(run_id, points, [Param(*item) for item in params.items()])
    with monkeypatch.context() as patch:
        patch.setattr(client, "get_metric_history", None)
        run = resumed(client, run_id)
    run.log_costs(0, np.arange(10, dtype=np.float32))
    run.close()
    assert run.contradicted is None
    assert points_of(client, run_id) == [(step, float(step)) for step in range(10)]
    if stored:
        other = resumed(client, run_id)
        other.log_costs(0, np.arange(1, 11, dtype=np.float32))
        other.close()
        assert other.contradicted == 9
        assert len(points_of(client, run_id)) == 10


@pytest.fixture
def raced():
    """Has another's row inserted into a table of MLflow's at the moment at which MLflow would insert its own."""
    others = {}

    def insert(session, context, instances):
        for table in {row.__tablename__ for row in session.new} & others.keys():
            with contextlib.closing(sqlite3.connect(session.get_bind().engine.url.database)) as connection, connection:
                connection.execute(*others.pop(table))

    sqlalchemy.event.listen(sqlalchemy.orm.Session, "before_flush", insert)
    yield others
    sqlalchemy.event.remove(sqlalchemy.orm.Session, "before_flush", insert)
    assert others == {}


def test_a_run_whose_data_another_run_records_at_that_moment_records_them_too(tmp_path, raced):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/runs.db")
    experiment_id = client.create_experiment("x", tmp_path.as_uri())
    run = client.create_run(experiment_id)
    settings = config.check(composed())
    raced["datasets"] = (
        "INSERT INTO datasets (dataset_uuid, experiment_id, name, digest, dataset_source_type, dataset_source) "
        "VALUES ('other', ?, ?, ?, 'code', '')",
        (experiment_id, settings.data.name, "a" * 16),
    )
    tracking.TrackedRun(client, settings, run).log_inputs({"data.sha256": "a" * 64})
    assert [found.dataset.digest for found in client.get_run(run.info.run_id).inputs.dataset_inputs] == ["a" * 16]


def test_two_that_tag_a_run_at_one_moment_both_succeed(tmp_path, raced):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/runs.db")
    run_id = client.create_run(client.create_experiment("x", tmp_path.as_uri())).info.run_id
    raced["tags"] = ("INSERT INTO tags (run_uuid, key, value) VALUES (?, 'best_run', 'a')", (run_id,))
    tagging.set_tags(client, run_id, {"best_run": "b"})
    assert client.get_run(run_id).data.tags["best_run"] == "b"


def test_a_resumed_run_that_gets_more_points_has_them_from_the_first_step_on(tmp_path):
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient(f"sqlite:///{tmp_path}/runs.db")
    run_id = client.create_run(client.create_experiment("x", tmp_path.as_uri())).info.run_id
    params = config.as_params(config.check(composed("training.steps=10", "tracking.metric_points=5")))
    points = [Metric("cost", float(step), 1, step) for step in (0, 2, 4)]
    client.log_batch(run_id, points, [Param(*item) for item in params.items()])
    run = resumed(client, run_id)
    run.log_costs(0, np.arange(10, dtype=np.float32))
    run.close()
    assert points_of(client, run_id) == [(step, float(step)) for step in range(10)]


def test_a_tracking_server_gets_the_whole_run(server, tmp_path_factory, monkeypatch):
    from mlflow import MlflowClient

    from helpers import copy_project

    checkout = copy_project(tmp_path_factory.mktemp("checkout"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    done = train(checkout, "experiment=smoke")
    assert done.returncode == 0, done.stderr
    assert f"\n{server}/#/experiments/" in done.stdout
    assert "make ui" not in done.stdout
    client = MlflowClient(server)
    [run] = client.search_runs([client.get_experiment_by_name("smoke").experiment_id])
    assert run.info.status == "FINISHED"
    assert len(client.get_metric_history(run.info.run_id, "cost")) == 20
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"config.yaml", "cost.npy", "figures"}
    assert not (checkout / "mlflow.db").exists()
    assert not (checkout / "mlruns/artifacts").exists()


def test_tags_for_programs_are_hidden_in_mlflows_pages_and_read_by_their_names():
    tags = {
        "process": "1",
        "process.5f": "2",
        "config.0": "3",
        "cost.sha256": "4",
        "study": "s",
        "changed.data.path": "x",
    }
    stored = tagging.as_stored(tags)
    assert {key for key in stored if not key.startswith("mlflow.")} == {"study", "changed.data.path"}
    assert tagging.tags_of(SimpleNamespace(data=SimpleNamespace(tags=stored))) == tags


def test_an_older_runs_tags_are_read_as_well_and_newer_ones_come_before_them():
    stored = {"process": "dead", "cost.sha256": "a", "mlflow.lstm_lab.process": "alive", "mlflow.user": "u"}
    found = tagging.tags_of(SimpleNamespace(data=SimpleNamespace(tags=stored)))
    assert found == {"process": "alive", "cost.sha256": "a", "mlflow.user": "u"}
