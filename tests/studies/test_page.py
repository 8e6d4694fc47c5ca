"""What MLflow shows of a study, whatever became of its runs there."""

import contextlib
import os
import re
import sqlite3
from pathlib import Path

import matplotlib
import numpy as np
import optuna
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from mlflow import MlflowClient
from mlflow.utils.file_utils import local_file_uri_to_path
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from lstm_lab.records import store, tagging
from lstm_lab.studies import page, study
from studies.conftest import declared


def test_a_page_that_was_deleted_is_made_anew_and_shows_all_trials(sweeping):
    sweeping.run()
    before, _ = sweeping.page()
    sweeping.client.delete_run(before.info.run_id)
    said = sweeping.run(declared(total=6))
    assert "6 COMPLETE" in said
    after, children = sweeping.page()
    assert after.info.run_id != before.info.run_id
    assert after.info.status == "FINISHED"
    assert after.data.tags["trials"] == "6 COMPLETE of 6"
    assert sorted(children) == [0, 1, 2, 3, 4, 5]


def test_a_page_deleted_when_all_is_done_or_in_the_midst_of_it_is_made_anew(sweeping):
    def delete(running):
        if running.number == 1:
            sweeping.client.delete_run(sweeping.study().user_attrs["parent_run"])

    sweeping.after = delete
    assert "s is done: 4 COMPLETE" in sweeping.run()
    parent, children = sweeping.page()
    assert (parent.info.status, sorted(children)) == ("FINISHED", [0, 1, 2, 3])
    sweeping.client.delete_run(parent.info.run_id)
    assert "s is done: 4 COMPLETE" in sweeping.run()
    parent, children = sweeping.page()
    assert (parent.info.status, sorted(children)) == ("FINISHED", [0, 1, 2, 3])


@pytest.mark.parametrize("hidden", [tagging.FOR_PROGRAMS, re.compile("none")], ids=["now", "before tags were hidden"])
def test_a_page_that_the_study_was_not_told_of_is_found(sweeping, monkeypatch, hidden):
    class KilledError(BaseException):
        """Stands for a kill: nothing after it is done."""

    create_run = MlflowClient.create_run

    def killed(*arguments, **options):
        create_run(*arguments, **options)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_run", killed)
        patch.setattr(tagging, "FOR_PROGRAMS", hidden)
        with pytest.raises(KilledError):
            sweeping.run()
    assert "s is done" in sweeping.run()
    parent, _ = sweeping.page()
    found = sweeping.client.search_runs([parent.info.experiment_id], "tags.sweep = 'parent'")
    assert [run.info.run_id for run in found] == [parent.info.run_id]
    assert parent.data.params["sampler"] == "random"
    assert parent.data.params["search.b"] == "interval(1, 40)"


@pytest.mark.parametrize("total", [4, 6])
def test_a_best_run_that_was_deleted_is_said_to_be_gone(sweeping, total):
    sweeping.run()
    _, children = sweeping.page()
    best = sweeping.study().best_trial.number
    sweeping.client.delete_run(children[best].info.run_id)
    said = sweeping.run(declared(total=total, space={**declared().space}))
    assert f"{total} COMPLETE" in said
    if sweeping.study().best_trial.number == best:
        assert "(its run is in MLflow no more)" in said
        if total == 6:
            parent, _ = sweeping.page()
            assert "its run is in MLflow no more" in parent.data.tags["mlflow.note.content"]


def test_a_store_that_is_gone_or_another_one_gets_a_page_of_its_own(sweeping, monkeypatch, empty_store):
    sweeping.run()
    first, _ = sweeping.page()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{sweeping.folder}/other.db")
    (sweeping.folder / "other.db").write_bytes((empty_store / "mlflow.db").read_bytes())
    store.open_store.cache_clear()
    said = sweeping.run()
    assert "s is done: 4 COMPLETE" in said
    assert "its run is in MLflow no more" in said
    assert "compare the trials" not in said
    parent, children = sweeping.page()
    assert (parent.info.status, children) == ("FINISHED", {})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{sweeping.folder}/mlflow.db")
    store.open_store.cache_clear()
    assert "5 COMPLETE" in sweeping.run(declared(total=5))
    parent, children = sweeping.page()
    assert parent.info.run_id == first.info.run_id
    assert sorted(children) == [0, 1, 2, 3, 4]


def test_the_trials_are_in_the_experiment_of_their_page_whatever_is_declared_later(sweeping):
    sweeping.run(experiment='a\'b "c" 100%, 温度')
    sweeping.run(declared(total=6), experiment="two")
    parent, children = sweeping.page()
    assert sorted(children) == [0, 1, 2, 3, 4, 5]
    assert {run.info.experiment_id for run in children.values()} == {parent.info.experiment_id}
    assert sweeping.client.get_experiment_by_name("two") is None


def test_tags_that_others_wrote_are_passed_over(sweeping):
    def write(running):
        parent = sweeping.study().user_attrs["parent_run"]
        for tag in ("x", "99", "-1", "9" * 5000, "1e3", "", "²", None):
            tags = {"mlflow.parentRunId": parent} | ({} if tag is None else {"trial": tag})
            sweeping.client.create_run(sweeping.client.get_run(parent).info.experiment_id, tags=tags)

    sweeping.after = lambda running: write(running) if running.number == 1 else None
    assert "s is done: 4 COMPLETE" in sweeping.run()


def test_a_deleted_experiment_is_named_with_what_takes_it_back(sweeping):
    sweeping.run()
    sweeping.client.delete_experiment(sweeping.client.get_experiment_by_name("one").experiment_id)
    with pytest.raises(store.StoreError, match=r"tracking\.experiment='one': that experiment was deleted"):
        sweeping.run()
    assert "s is done: 4 COMPLETE" in sweeping.run(experiment="two")
    parent, _ = sweeping.page()
    assert parent.info.status == "FINISHED"


def test_each_state_is_shown_once(sweeping):
    def fail(running):
        study.fail(sweeping.study(), running, reason="diverged")

    sweeping.after = lambda running: fail(running) if running.number == 1 else None
    sweeping.run()
    _, children = sweeping.page()
    run = children[1]
    assert (run.info.status, run.info.run_name) == ("FAILED", "1 FAIL: x")
    sweeping.client.update_run(run.info.run_id, status="RUNNING")  # as a worker that was suspended might leave it
    sweeping.run(declared(total=5))
    _, children = sweeping.page()
    assert (children[1].info.status, children[1].info.run_name) == ("FAILED", "1 FAIL: x")


def test_a_pruned_trial_is_drawn_to_where_it_was_pruned():
    shown = {10: 3.0, 20: 2.0}
    trials = [
        optuna.trial.create_trial(state=TrialState.COMPLETE, value=1.0, intermediate_values=shown),
        optuna.trial.create_trial(state=TrialState.PRUNED, value=2.0, intermediate_values=shown),
        optuna.trial.create_trial(
            state=TrialState.COMPLETE, value=1.5, intermediate_values=shown, user_attrs={"steps": 40}
        ),
        optuna.trial.create_trial(state=TrialState.FAIL, intermediate_values=shown),
        optuna.trial.create_trial(state=TrialState.PRUNED, value=None),
    ]
    ax = page.intermediate_figure(trials, "mean_last_20_cost", 100).axes[0]
    lines = [list(map(list, zip(*line.get_data(), strict=True))) for line in ax.get_lines()]
    known = [[10, 3.0], [20, 2.0]]
    assert [line for line in lines if line] == [
        [*known, [100, 1.0]], known, [[20, 2.0]], [*known, [40, 1.5]], known,
    ]  # fmt: skip


def searched(values, **distributions):
    """A study whose trials have those values, each with parameters drawn from these ranges."""
    opened = optuna.create_study()
    for seed, value in enumerate(values):
        drawn = np.random.default_rng(seed)
        params = {key: choose(drawn, distribution) for key, distribution in distributions.items()}
        opened.add_trial(optuna.create_trial(params=params, distributions=distributions, value=value))
    return opened


def choose(drawn, distribution):
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[drawn.integers(len(distribution.choices))]
    return float(drawn.uniform(distribution.low, distribution.high))


RATE = FloatDistribution(1e-4, 1e-1, log=True)


@pytest.fixture
def drawn(monkeypatch):
    """Draws a study and gives its figures."""

    def draw(opened):
        figures = {}
        monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: figures.update({Path(path).stem: figure}))
        page.draw_study(opened, "mean_last_20_cost", 100, Path())
        for figure in figures.values():
            figure.draw_without_rendering()
        return figures

    return draw


def test_values_over_orders_of_magnitude_are_drawn_on_a_log_scale_and_written_as_costs(drawn):
    names = CategoricalDistribution(["T $a$_b", "温度"])
    figures = drawn(searched(10.0 ** np.arange(-3, 3), **{"optimizer.learning_rate": RATE, "data.input": names}))
    assert set(figures) == {"optimization_history", "parameter_importance", "contour", "parallel_coordinates"}
    assert figures["optimization_history"].axes[0].get_yscale() == "log"
    for name in ("contour", "parallel_coordinates"):
        [bar] = [ax for ax in figures[name].axes if ax.get_label() == "<colorbar>"]
        assert bar.get_ylabel() == "mean_last_20_cost"
        ticks = dict(zip(bar.get_yticks(), (text.get_text() for text in bar.get_yticklabels()), strict=True))
        assert all(float(text) == pytest.approx(10**tick, rel=0.1) for tick, text in ticks.items())
    rates = [text.get_text() for text in figures["contour"].axes[0].get_yticklabels()]
    assert "0.01" in rates
    assert not any("mathdefault" in text.get_text() for figure in figures.values() for text in figure.findobj(Text))
    ends = [text.get_text() for text in figures["parallel_coordinates"].axes[0].get_xticklabels()]
    assert ends == ["mean_last_20_cost", "data.input", "learning_rate"]


def test_values_of_one_magnitude_and_one_parameter(drawn):
    figures = drawn(searched([1.0, 2.0, 3.0], rate=RATE))
    assert "contour" not in figures
    assert figures["optimization_history"].axes[0].get_yscale() == "linear"


def test_optunas_figures_leave_the_style_of_others_alone(drawn):
    matplotlib.use("Agg")  # as whoever draws does: a setting, but none of the style
    before = dict(matplotlib.rcParams), dict(matplotlib.style.library["ggplot"])
    figures = drawn(searched([1.0, 2.0, 3.0], rate=RATE, other=FloatDistribution(0, 1)))
    assert (dict(matplotlib.rcParams), dict(matplotlib.style.library["ggplot"])) == before
    ax = figures["optimization_history"].axes[0]
    assert matplotlib.colors.to_hex(ax.get_facecolor()) == "#ffffff"
    assert not ax.spines["right"].get_visible()


def test_of_the_best_trial_only_files_of_its_own_are_copied(sweeping, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("the user's")

    def plant(running):
        [run] = [found for found in sweeping.page()[1].values() if found.data.tags["trial"] == str(running.number)]
        folder = local_file_uri_to_path(run.info.artifact_uri)
        os.makedirs(f"{folder}/figures")
        os.symlink(secret, f"{folder}/config.yaml")
        Path(folder, "cost.npy").write_bytes(b"costs")
        Path(folder, "figures/other.png").write_bytes(b"no figure of a run")
        os.mkfifo(f"{folder}/figures/fit.gif")
        with open(f"{folder}/figures/cost_curve.png", "wb") as sparse:
            sparse.truncate(2**40)

    sweeping.after = plant
    assert "s is done" in sweeping.run()
    parent, _ = sweeping.page()
    copied = Path(local_file_uri_to_path(parent.info.artifact_uri), "best")
    assert [file.name for file in copied.rglob("*") if file.is_file()] == ["cost.npy"]


def test_a_best_run_whose_files_are_elsewhere_hinders_no_study(sweeping):
    def move(running):
        with contextlib.closing(sqlite3.connect(sweeping.folder / "mlflow.db", timeout=60)) as connection, connection:
            connection.execute("UPDATE runs SET artifact_uri = 'file:///etc' WHERE name LIKE 'trial%'")

    sweeping.after = move
    assert "s is done: 4 COMPLETE" in sweeping.run()
    assert sweeping.page()[0].info.status == "FINISHED"
