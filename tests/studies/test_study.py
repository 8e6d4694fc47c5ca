import contextlib
import itertools
import math
import multiprocessing
import os
import re
import shutil
import sqlite3
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import sqlalchemy
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from lstm_lab.config import ConfigError
from lstm_lab.records import processes
from lstm_lab.studies import database, search, study
from studies.conftest import declared as small

SPACE = {
    "a": FloatDistribution(1e-4, 1e-1, log=True),
    "b": IntDistribution(1, 40),
    "c": CategoricalDistribution([1, 2, 4]),
}


STORAGES: list[Any] = []


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """Studies and locks go below a folder of the test's own."""
    monkeypatch.setattr(database, "ROOT", tmp_path)
    yield tmp_path
    while STORAGES:
        STORAGES.pop().engine.dispose()


def declared(**changes):
    return small(**{"space": SPACE, "total": 12} | changes)


def opened(what, url=None):
    storage = database.open_storage(url, heartbeat=10, grace=10**6)
    STORAGES.append(storage)
    with database.study_lock(storage):
        return SimpleNamespace(storage=storage, study=study.open_study(storage, what))


def value_of(params):
    return math.log(params["a"]) ** 2 + (params["b"] - 7) ** 2 / 10 + params.get("c", 0)


def work(what, url=None, limit=10**9):
    """Takes and ends trials until the total is reached; returns their numbers."""
    now = opened(what, url)
    numbers = []
    while len(numbers) < limit and (trial := study.take_trial(now.study, now.storage, what)):
        now.study.tell(trial, value_of(trial.params))
        numbers.append(trial.number)
    return numbers


def distribution(text):
    return search.to_distribution(OverridesParser.create().parse_override(f"p={text}"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("choice(5, 10)", CategoricalDistribution([5, 10])),
        ("1e-3,1e-2", CategoricalDistribution([1e-3, 1e-2])),
        ("choice(lstm, 'a b', true)", CategoricalDistribution(["lstm", "a b", True])),
        ("range(1, 10, 3)", IntDistribution(1, 7, step=3)),
        ("range(5)", IntDistribution(0, 4)),
        ("range(0, 1, 0.25)", FloatDistribution(0, 0.75, step=0.25)),
        ("range(10, 0, -3)", IntDistribution(1, 10, step=3)),
        ("sort(range(0, 4), reverse=true)", IntDistribution(0, 3)),
        ("range(1, 0, -0.25)", FloatDistribution(0.25, 1, step=0.25)),
        ("range(0, 2000000000)", IntDistribution(0, 1999999999)),
        ("interval(1, 4)", FloatDistribution(1, 4)),
        ("int(interval(8, 64))", IntDistribution(8, 64)),
        ("tag(log, interval(1e-4, 1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("tag(log, int(interval(8, 64)))", IntDistribution(8, 64, log=True)),
    ],
)
def test_hydras_words_become_optunas_distributions(text, expected):
    assert distribution(text) == expected


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("interval(4, 1)", "the lower end must be below the upper end"),
        ("interval(1, 1)", "the lower end must be below the upper end"),
        ("tag(log, interval(0, 1))", "on a log scale the lower end must be greater than 0"),
        ("range(10, 1)", "the range is empty"),
        ("range(1, 2, 0)", "the step must not be 0"),
        ("range(0, 1, 1e-9)", "must have at most 100,000 values"),
        ("glob(*)", "made of choice, range and interval"),
    ],
)
def test_a_faulty_range_is_named(text, fault):
    with pytest.raises(ConfigError, match=f"^{re.escape('p=' + text)}: .*{fault}"):
        distribution(text)


def test_a_grid_has_every_point_in_hydras_order():
    space = {"a": distribution("1,2"), "b": distribution("range(0, 3)"), "c": distribution("range(0, 0.5, 0.25)")}
    points = search.grid_points(space)
    expected = list(itertools.product((1, 2), (0, 1, 2), (0.0, 0.25)))
    assert [tuple(point.values()) for point in points] == expected
    with pytest.raises(ConfigError, match="a: a grid takes choice and range"):
        search.grid_points({"a": distribution("interval(0, 1)")})
    with pytest.raises(ConfigError, match="a grid over a, b has 4,000,000,000 points: must be at most 100,000"):
        search.grid_points({"a": distribution("range(0, 2000000000)"), "b": distribution("1,2")})


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "qmc"])
def test_a_study_stopped_between_trials_goes_on_as_if_it_was_not(sampler, store, monkeypatch):
    settings = {"name": sampler} | ({"n_startup_trials": 4, "multivariate": True} if sampler == "tpe" else {})
    space = {key: SPACE[key] for key in ("a", "b")}
    proposed = {}
    for how in ("through", "stopped"):
        monkeypatch.setattr(database, "ROOT", store / how)
        (store / how).mkdir()
        what = declared(sampler=settings, space=space, total=12)
        while work(what, limit=1 if how == "stopped" else 12):
            pass
        proposed[how] = [trial.params for trial in opened(what).study.trials]
    assert len(proposed["through"]) == 12
    assert proposed["stopped"] == proposed["through"]
    assert len({str(params) for params in proposed["through"]}) > 8


def test_a_total_may_be_raised_and_nothing_else_changed():
    assert work(declared(total=3)) == [0, 1, 2]
    assert work(declared(total=3)) == []
    assert work(declared(total=5)) == [3, 4]
    for change, name in (
        ({"space": {"a": FloatDistribution(0, 1)}}, "search space"),
        ({"direction": "maximize"}, "direction"),
        ({"config": {"training.steps": 100}}, "config training.steps"),
        ({"seed": 1}, "seed"),
    ):
        with pytest.raises(database.StudyError, match=f"'s': that study exists with another {name}"):
            opened(declared(total=5, **change))


def test_a_grid_is_queued_once_however_often_it_is_opened():
    what = declared(space={"b": CategoricalDistribution([1, 2]), "a": CategoricalDistribution([0.1, 0.2])}, total=4)
    what = declared(space=what.space, sampler={"name": "grid"}, total=4)
    assert len(opened(what).study.trials) == len(opened(what).study.trials) == 1  # the next point alone is queued
    assert work(what) == [0, 1, 2, 3]
    assert [tuple(t.params.values()) for t in opened(what).study.trials] == [(1, 0.1), (1, 0.2), (2, 0.1), (2, 0.2)]


def test_the_trial_of_a_killed_worker_is_tried_again_and_the_total_kept():
    what = declared(total=4)
    now = opened(what)
    taken = study.take_trial(now.study, now.storage, what)
    gone = {**processes.this_process(), "started": "long ago"}
    taken.set_user_attr("worker", gone)
    numbers = work(what)
    trials = opened(what).study.trials
    assert trials[0].state == TrialState.FAIL
    assert study.was_killed(trials[0])
    assert trials[1].params == trials[0].params
    assert trials[1].user_attrs["retry_of"] == 0
    assert numbers == [1, 2, 3, 4]
    assert study.counts(opened(what).study) == {
        "COMPLETE": 4, "PRUNED": 0, "FAIL": 0, "RUNNING": 0, "WAITING": 0, "KILLED": 1,
    }  # fmt: skip


class KilledError(BaseException):
    """Stands for a kill: nothing after it is done, and what a transaction had not committed is undone."""


def killed_before(number, patch):
    """Makes the database's write of that number, counted from 1, a kill; every worker until then is gone afterwards."""
    storage, writes = optuna.storages.RDBStorage, itertools.count(1)

    def counted(act):
        def call(*arguments, **options):
            if next(writes) == number:
                raise KilledError
            return act(*arguments, **options)

        return call

    names = ("_create_new_trial", "_set_trial_param", "set_trial_user_attr", "set_study_user_attr")
    for name in (*names, "set_trial_state_values", "record_heartbeat"):
        patch.setattr(storage, name, counted(getattr(storage, name)))
    patch.setattr(study, "this_process", lambda: {**processes.this_process(), "started": "long ago"})


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A database with its tables and nothing in it."""
    file = tmp_path_factory.mktemp("tables") / "optuna.db"
    database.create_database(file)
    return file


def killed_and_continued(what, number):
    """The trials of a study whose first worker was killed before that write, and its second one there, too."""
    for _ in range(2):
        with contextlib.suppress(KilledError), pytest.MonkeyPatch.context() as patch:
            killed_before(number, patch)
            work(what)
    work(what)
    return opened(what).study.trials


@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_killed_before_any_write_a_study_loses_no_point_and_repeats_none(sampler, store, monkeypatch, tables):
    space = {"a": CategoricalDistribution([0.1]), "b": CategoricalDistribution([1, 2])}
    what = declared(space=space if sampler == "grid" else SPACE, sampler={"name": sampler}, total=2)
    kills = 0
    for number in itertools.count(1):
        root = store / str(number)
        (root / "mlruns").mkdir(parents=True)
        shutil.copy(tables, root / "mlruns")
        monkeypatch.setattr(database, "ROOT", root)
        trials = killed_and_continued(what, number)
        done = [trial.params for trial in trials if trial.state == TrialState.COMPLETE]
        killed = [trial for trial in trials if study.was_killed(trial)]
        assert len(trials) == len(done) + len(killed)
        assert len({str(params) for params in done}) == len(done) == 2
        assert all(any(trial.params.items() <= params.items() for params in done) for trial in killed)
        kills += len(killed)
        if not killed and number > 12:
            break
    assert kills > 8


def test_a_grid_of_an_older_version_that_lost_a_point_gets_it(store):
    space = {"a": CategoricalDistribution([0.1]), "b": CategoricalDistribution([1, 2, 3])}
    what = declared(space=space, sampler={"name": "grid"}, total=3)
    now = opened(what)
    for b, value in ((1, 1.0), (1, 1.0), (2, None)):  # one ran twice, one was killed
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        params = {"params": {"a": 0.1, "b": b}, "distributions": space}
        now.study.add_trial(optuna.trial.create_trial(state=state, value=value, **params))
    now.study.enqueue_trial({})  # what an older version queued of a trial killed while its parameters were set
    work(what)
    counting = [trial.params["b"] for trial in opened(what).study.trials if trial.state == TrialState.COMPLETE]
    assert sorted(counting) == [1, 1, 2, 3]


def test_the_points_of_a_grid_are_told_apart_and_counted():
    space = {"b": CategoricalDistribution(["1", 1.5, 1, None, "a'b", "a b"]), "c": distribution("range(0, 0.3, 0.1)")}
    what = declared(space=space, sampler={"name": "grid"}, total=18)
    numbers = []
    now = opened(what)
    while trial := study.take_trial(now.study, now.storage, what):
        now.study.tell(trial, 1.0)
        numbers.append(trial.number)
    assert numbers == list(range(18))
    points = [trial.params for trial in opened(what).study.trials]
    assert points == search.grid_points(space)


def test_jobs_find_in_the_study_what_was_declared():
    what = declared(pruner={"name": "median", "n_startup_trials": 2}, prune_every=7)
    assert opened(what).study.user_attrs["declared"] == {
        "objective": "mean_last_20_cost",
        "pruner": {"name": "median", "n_startup_trials": 2},
        "prune_every": 7,
        "seeds": None,
        "steps": 200,
        "on_different_data": False,
    }
    searched = declared(name="steps", space={"training.steps": CategoricalDistribution([100, 300, 200])}, config={})
    assert opened(searched).study.user_attrs["declared"]["steps"] == 300
    with_seeds = opened(declared(name="seeds", seeds=3)).study.user_attrs["declared"]
    assert (with_seeds["seeds"], with_seeds["steps"]) == (3, 600), "a trial's steps are those of all its seeds"


def test_a_study_of_an_older_version_goes_on():
    now = opened(declared(total=2))
    older = {key: text for key, text in now.study.user_attrs["identity"].items() if key != "prune_every"}
    with now.storage.engine.begin() as connection:
        connection.execute(sqlalchemy.text("DELETE FROM study_user_attributes WHERE key = 'declared'"))
    now.study.set_user_attr("identity", older)
    assert work(declared(total=2, prune_every=7)) == [0, 1]
    assert opened(declared(total=2, prune_every=7)).study.user_attrs["declared"]["prune_every"] == 7
    with pytest.raises(database.StudyError, match="that study exists with another prune_every"):
        opened(declared(total=2, prune_every=8))


def test_a_study_of_before_there_was_a_setting_goes_on_with_what_was_done_then():
    values = {"training.steps": 200, "training.cost": "squared", "training.keep": "last", "data.validation": 0.0}
    now = opened(declared(total=2, config=values))
    identity = now.study.user_attrs["identity"]
    now.study.set_user_attr(
        "identity", {key: text for key, text in identity.items() if "config " not in key or "steps" in key}
    )
    for changes in ({"training.cost": "huber"}, {"data.validation": 0.1}):
        [(key, value)] = changes.items()
        with pytest.raises(database.StudyError, match=f'exists with another config {key}; .* is "?{value}'):
            opened(declared(total=2, config=values | changes))
    assert opened(declared(total=2, config=values)).study.user_attrs["identity"] == identity


def test_a_trial_that_another_worker_has_ended_stays_as_it_is():
    now = opened(declared())
    trial = study.take_trial(now.study, now.storage, declared())
    now.study.tell(trial, state=TrialState.FAIL)
    assert study.was_killed(study.end(now.study, trial, TrialState.COMPLETE, 1.0))
    assert study.was_killed(study.fail(now.study, trial, reason="too late"))


def test_a_trial_whose_worker_was_killed_before_it_could_sign_is_cleared_away():
    what = declared(total=2)
    now = opened(what)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        now.study.ask(what.space)
    assert work(what) == [1, 2]
    assert study.counts(now.study)["KILLED"] == 1


def test_a_worker_alive_or_on_another_machine_is_left_alone():
    what = declared(total=3)
    now = opened(what)
    mine = study.take_trial(now.study, now.storage, what)
    elsewhere = study.take_trial(now.study, now.storage, what)
    elsewhere.set_user_attr("worker", {"host": "elsewhere", "pid": 1, "started": "0"})
    assert work(what) == [2]
    states = [trial.state for trial in now.study.get_trials()]
    assert states == [TrialState.RUNNING, TrialState.RUNNING, TrialState.COMPLETE]
    assert mine.number == 0


def test_a_worker_on_another_machine_without_a_sign_of_life_is_taken_over():
    what = declared(total=2)
    now = opened(what)
    elsewhere = study.take_trial(now.study, now.storage, what)
    elsewhere.set_user_attr("worker", {"host": "elsewhere", "pid": 1, "started": "0"})
    assert study.take_trial(now.study, now.storage, what).number == 1
    with now.storage.engine.begin() as connection:
        last_beat = (
            f"UPDATE trial_heartbeats SET heartbeat = '2000-01-01 00:00:00' WHERE trial_id = {elsewhere._trial_id}"
        )
        connection.execute(sqlalchemy.text(last_beat))
    again = study.take_trial(now.study, now.storage, what)
    assert again.params == elsewhere.params
    assert study.counts(now.study)["KILLED"] == 1


def test_a_trial_gives_signs_of_life_also_after_one_failed():
    beats, beaten = [], threading.Event()

    def record_heartbeat(trial_id):
        beats.append(trial_id)
        if len(beats) == 1:
            raise ConnectionError("the database is away")
        beaten.set()

    storage = SimpleNamespace(heartbeat_interval=1e-3, record_heartbeat=record_heartbeat)
    with study.heartbeat(storage, SimpleNamespace(_trial_id=7)):
        beaten.wait()
    assert set(beats) == {7}


def test_the_total_is_kept_when_another_workers_trial_ends_in_the_very_moment(monkeypatch):
    what = declared(total=2)
    now = opened(what)
    running = [study.take_trial(now.study, now.storage, what) for _ in range(2)]
    read = study.counts

    def read_and_then_one_ends(asked):
        found = read(asked)
        if running:
            asked.tell(running.pop(), 1.0)
        return found

    monkeypatch.setattr(study, "counts", read_and_then_one_ends)
    assert study.take_trial(now.study, now.storage, what) is None


def test_failures_count_and_are_told_from_kills():
    what = declared(total=4)
    now = opened(what)
    for number in range(3):
        trial = study.take_trial(now.study, now.storage, what)
        if number == 0:
            now.study.tell(trial, 1.0)
        else:
            trial.set_user_attr("reason", f"failure {number}")
            now.study.tell(trial, state=TrialState.FAIL)
    assert [trial.user_attrs["reason"] for trial in study.failures_in_a_row(now.study)] == ["failure 2", "failure 1"]
    assert work(what) == [3]
    assert study.failures_in_a_row(now.study) == []


def test_best_is_asked_for_in_the_studys_direction():
    for direction, better, worse in (("minimize", 0.5, 2.0), ("maximize", 2.0, 0.5)):
        now = opened(declared(name=direction, direction=direction))
        assert study.best_trial(now.study) is None
        for value in (1.0, better, worse):
            now.study.add_trial(optuna.trial.create_trial(value=value))
        assert study.best_trial(now.study).value == better


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql+psycopg://me:secret@127.0.0.1:9/none", "connection"),
        ("postgresql+nosuchdriver://me@127.0.0.1/none", "its driver is not installed"),
        ("nonsense", "Could not parse"),
    ],
)
def test_a_database_out_of_reach_is_named_without_its_password(url, said):
    with pytest.raises(database.StudyError, match=r"hydra\.sweeper\.storage\.url=") as refused:
        database.open_storage(url, 10, 40)
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def start_together(barrier):
    """Called in every process of a pool, with what it inherits."""
    global together
    together = barrier


def work_together(root, what, url):
    together.wait()
    database.ROOT = root
    return work(what, url)


def numbers_of_three_workers(roots, what, url=None):
    """The numbers of the trials done by three processes that begin at once."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, context, start_together, (context.Barrier(3),)) as pool:
        return list(pool.map(work_together, roots, [what] * 3, [url] * 3))


def test_workers_at_once_share_one_study_and_keep_its_total(store):
    numbers = numbers_of_three_workers([store] * 3, declared(total=20))
    assert sorted(itertools.chain(*numbers)) == list(range(20))


def test_workers_at_once_share_one_study_on_postgresql(store, postgresql):
    roots = [store / str(i) for i in range(3)]
    for root in roots:
        root.mkdir()  # each worker its own folder: no file lock between them, as on three machines
    numbers = numbers_of_three_workers(roots, declared(total=20), postgresql)
    assert sorted(itertools.chain(*numbers)) == list(range(20))
    assert os.listdir(roots[0] / "mlruns") == [".study.lock"]


def test_connections_that_a_restarted_database_has_closed_are_made_anew(store, postgresql):
    what = declared(name="restarted", total=2)
    now = opened(what, postgresql)
    engine = sqlalchemy.create_engine(postgresql, poolclass=sqlalchemy.pool.NullPool)
    with engine.begin() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        connection.execute(sqlalchemy.text(f"{others} AND datname = current_database()"))
    trial = study.take_trial(now.study, now.storage, what)
    assert study.end(now.study, trial, TrialState.COMPLETE, 1.0).value == 1.0


def test_a_database_that_takes_no_study_is_told_with_the_setting_that_names_another(monkeypatch):
    found = opened(declared())

    def only_to_be_read(*_):
        raise sqlalchemy.exc.OperationalError("", {}, sqlite3.OperationalError("attempt to write a readonly database"))

    sqlalchemy.event.listen(found.storage.engine, "before_cursor_execute", only_to_be_read)
    told = r"a readonly database; let this user write there, or name another place: .* hydra.sweeper.storage.url for st"
    with pytest.raises(database.StudyError, match=told), database.faults_told():
        study.take_trial(found.study, found.storage, declared())


def test_a_database_that_fails_in_mid_study_is_told_in_a_line():
    found = opened(declared())
    with found.storage.engine.begin() as connection:
        connection.execute(sqlalchemy.text("DROP TABLE trials"))
    told = r"^the study's database failed: .*no such table: trials. What is done is kept; .* the same command goes on$"
    with pytest.raises(database.StudyError, match=told), database.faults_told():
        study.take_trial(found.study, found.storage, declared())


SPOILT = {
    "UPDATE study_user_attributes SET value_json = '[1]' WHERE key = 'identity'": r"another identity than .*: \[1\]",
    "UPDATE study_user_attributes SET value_json = '5' WHERE key = 'identity'": "another identity than .*: 5",
    "UPDATE study_user_attributes SET value_json = '{' WHERE key = 'identity'": "Optuna says JSONDecodeError",
    f"UPDATE study_user_attributes SET value_json = '{'[' * 10**5}'": "Optuna says RecursionError",
    f"UPDATE study_user_attributes SET value_json = '{'9' * 6000}'": "Optuna says ValueError",
    "UPDATE trial_user_attributes SET value_json = '[1]' WHERE key = 'worker'": r"trial \d+ has another worker than",
    "UPDATE trial_user_attributes SET key = 'reason'": r"trial \d+ has another reason than",
    "UPDATE trials SET number = 99": "there is a trial 99, and no trial 0",
    "UPDATE trials SET state = 'XX'": "Optuna says",
    "UPDATE trials SET state = 'COMPLETE'": "trial 0 is complete and has no value",
    "UPDATE trial_params SET distribution_json = '{}'": "Optuna says",
    "UPDATE trial_params SET distribution_json = '[[['": "Optuna says",
}


@pytest.mark.parametrize("change", SPOILT, ids=range(len(SPOILT)))
def test_what_no_sweep_wrote_is_told_of_in_a_line(change, store):
    found = opened(declared())
    with database.study_lock(found.storage):
        pass
    assert study.take_trial(found.study, found.storage, declared())
    found.storage.engine.dispose()
    with contextlib.closing(sqlite3.connect(store / "mlruns/optuna.db")) as connection, connection:
        connection.execute(change)
    with pytest.raises(database.StudyError, match=SPOILT[change]) as told, database.faults_told():
        opened(declared())
    assert len(str(told.value).splitlines()) == 1


def test_another_study_may_be_spoilt(store):
    opened(declared(name="other"))
    with contextlib.closing(sqlite3.connect(store / "mlruns/optuna.db")) as connection, connection:
        connection.execute("UPDATE study_user_attributes SET value_json = '{'")
    assert opened(declared()).study.user_attrs["identity"]
    assert opened(declared()).study.user_attrs["identity"]
