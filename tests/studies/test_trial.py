"""A trial's job: what it takes from its study, and what it tells it of each way in which a run can end."""

import hashlib
import math
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from hydra import compose, initialize_config_dir
from mlflow.exceptions import MlflowException
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from helpers import ROOT
from lstm_lab import config
from lstm_lab.config import ConfigError
from lstm_lab.runs.group_page import Asked
from lstm_lab.runs.watching import Pruned, Result
from lstm_lab.science.statistics import Estimate
from lstm_lab.studies import database, study, trial
from studies.conftest import declared
from test_config import composed


@pytest.fixture
def job(sweeping, monkeypatch, tmp_path):
    """Runs a study's next trial with `run` in the place of a run's life; returns it as the study then has it."""

    def job(run, *words, **changes):
        what = declared(total=10, **changes)
        storage = database.open_storage(None, 10, 10**6)
        with database.study_lock(storage):
            opened = study.open_study(storage, what)
        opened.set_user_attr("parent_run", "0" * 32)
        taken = study.take_trial(opened, storage, what)
        monkeypatch.setattr(trial.run, "run", lambda checked, console, part: run(checked, part, opened))
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            composed = compose("train", list(words))
        trial.run_trial(opened, study.running_trial(opened, taken.number), composed, tmp_path)
        return opened.trials[taken.number]

    return job


def made_of(checked, epoch=None):
    return SimpleNamespace(config=checked, source=SimpleNamespace(epoch=epoch))


def result(status="FINISHED", reason="", **metrics):
    return Result("0" * 32, status, reason, metrics, np.zeros(1), [])


def raises(error):
    def run(checked, part, opened):
        raise error

    return run


def test_what_was_declared_counts_and_not_the_jobs_own_settings(job):
    seen = []

    def run(checked, part, opened):
        watch = part.watch(made_of(checked))
        seen.append((opened.pruner, watch.every, watch.steps))
        return result(final_cost=2.0, mean_last_20_cost=3.0)

    assert job(run, objective="final_cost", prune_every=7, config={"training.steps": 200}).value == 2.0
    median = {"name": "median", "n_startup_trials": 3, "n_warmup_steps": 0}
    other = job(run, "training.steps=50", name="t", pruner=median)
    assert (other.value, other.user_attrs["steps"]) == (3.0, 50)
    assert [type(pruner).__name__ for pruner, *_ in seen] == ["NopPruner", "MedianPruner"]
    assert [rest for _, *rest in seen] == [[7, 200], [100, 50]]


@pytest.mark.parametrize(
    ("run", "words", "reason"),
    [
        (raises(ConfigError("one\ntwo")), (), "one; two"),
        (raises(ValueError("broken\nmore")), (), "ValueError: broken"),
        (None, ("model.cell_size=0",), "model.cell_size=0: must be greater than or equal to 1"),
        (None, ("tracking.run_name=${oc.env:NOT_THERE}",), "tracking.run_name: Environment variable 'NOT_"),
        (lambda *_: result("FAILED", "the cost became nan"), (), "the cost became nan"),
        (lambda *_: result(final_cost=1.0), (), "the run has no mean_last_20_cost"),
        (lambda *_: result(mean_last_20_cost=math.nan), (), "the run has no mean_last_20_cost"),
    ],
)
def test_a_trials_own_fault_is_the_reason_that_it_failed(job, run, words, reason):
    ended = job(run, *words)
    assert ended.state == TrialState.FAIL
    assert ended.user_attrs["reason"].startswith(reason)


@pytest.mark.parametrize("error", [MlflowException("away\nmore"), ConnectionError("away")])
def test_a_fault_of_the_store_is_not_the_trials(job, error):
    ended = job(raises(error))
    assert study.was_killed(ended)
    assert ended.user_attrs["fault"] == "the store failed: away"


def test_a_fault_of_the_studys_database_is_told_to_the_worker(job):
    with pytest.raises(OperationalError):
        job(raises(OperationalError("SELECT 1", {}, Exception("away"))))


def test_ctrl_c_leaves_a_trial_to_be_tried_again(job, sweeping):
    with pytest.raises(KeyboardInterrupt):
        job(lambda *_: result("KILLED", "stopped by Ctrl-C"))
    assert study.was_killed(sweeping.study().trials[0])


@pytest.mark.parametrize("ended", [result(mean_last_20_cost=1.0), result("PRUNED", "x"), result("FAILED", "x")])
def test_the_run_of_a_trial_that_another_worker_has_ended_is_killed(job, sweeping, ended):
    run_id = sweeping.client.create_run("0").info.run_id
    sweeping.client.set_terminated(run_id, "FINISHED")
    ended = Result(run_id, ended.status, ended.reason, ended.metrics, ended.costs, ended.weights)

    def run(checked, part, opened):
        opened.tell(0, state=TrialState.FAIL)
        return ended

    assert study.was_killed(job(run))
    assert sweeping.client.get_run(run_id).info.status == "KILLED"


def test_what_begins_an_epoch_is_not_reported():
    """The jump there says nothing of how good a trial is."""
    asked = optuna.create_study(pruner=optuna.pruners.NopPruner()).ask()
    watch = trial.CostWatch(asked, 7, made_of(config.check(composed()), epoch=7))
    for step in range(1, 36):
        watch(SimpleNamespace(step=step, costs=np.full(1, 20.0 if step % 7 == 1 else 0.5)))
    assert asked.study.trials[0].intermediate_values == {7: 0.5, 14: 0.5, 21: 0.5, 28: 0.5, 35: 0.5}


def test_a_study_by_validation_is_told_of_it_at_the_same_steps_however_slow_a_trial_is():
    told = []
    for ends in ([1, 50, 100, 150, 200], [1, 20, 50, 51, 90, 100, 120, 150, 199, 200]):
        asked = optuna.create_study(pruner=optuna.pruners.NopPruner()).ask()
        setup = made_of(config.check(composed()))
        watch = trial.watch_of(asked, {"objective": "validation/mse", "prune_every": 60}, setup)
        for step in ends:
            validation = float(step) if step % 50 == 0 else None
            watch(SimpleNamespace(step=step, costs=np.ones(1), validation=validation))
        told.append(asked.study.trials[0].intermediate_values)
    assert told == [{100: 100, 150: 150}] * 2


def test_a_trial_that_another_worker_has_ended_is_trained_no_further():
    ended = optuna.create_study().ask()
    ended.study.tell(ended, state=TrialState.FAIL)
    watch = trial.CostWatch(ended, 10, made_of(config.check(composed())))
    with pytest.raises(Pruned, match="another worker took this one for dead"):
        watch(SimpleNamespace(step=10, costs=np.ones(10)))


def test_a_file_that_was_changed_under_way_is_not_mixed(job, tmp_path):
    mine, trained = tmp_path / "mine.csv", []
    mine.write_text("a,b\n" + "".join(f"{i % 9},{i % 7}\n" for i in range(400)))
    words = ("data=csv", f"data.path={mine}", "data.input=a", "data.target=b")

    def run(checked, part, opened):
        trained.append(checked)
        return result(mean_last_20_cost=1.0)

    sha256 = hashlib.sha256(mine.read_bytes()).hexdigest()
    assert job(run, *words, files={str(mine): sha256}).state == TrialState.COMPLETE
    mine.write_text(mine.read_text() + "1,1\n")
    with pytest.raises(study.FileChangedError, match=r"mine\.csv: was changed while the study is"):
        job(run, *words, files={str(mine): sha256})
    mine.unlink()
    with pytest.raises(study.FileChangedError, match=r"mine\.csv: was removed"):
        job(run, *words, files={str(mine): sha256})
    assert len(trained) == 1


def test_with_several_seeds_a_trial_is_pruned_between_two_of_them_by_the_median(monkeypatch):
    """Never after the first, which says nothing of the others, nor after the last, which leaves nothing to prune."""
    reported, checked = [], config.check(composed("training.steps=30"))

    class Running:
        study = SimpleNamespace(user_attrs={"declared": {"objective": "mean_last_20_cost"}})

        def report(self, value, step):
            reported.append((step, value))

        def should_prune(self):
            return len(reported) == 2

    def train(asked, console, trial):
        for over, value in enumerate([8.0, 4.0, 5.0, 6.0], start=1):
            trial.watch(over, {"mean_last_20_cost": Estimate(value, math.nan, math.nan)})

    monkeypatch.setattr(trial.group, "train", train)
    part = trial.Part("0", {})
    trial.train_group(Running(), part, Asked(checked, range(2)))
    assert reported == []
    with pytest.raises(Pruned, match=r"pruned at step 90: mean_last_20_cost over 3 seeds 5"):
        trial.train_group(Running(), part, Asked(checked, range(4)))
    assert reported == [(60, 4.0), (90, 5.0)]
