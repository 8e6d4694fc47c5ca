"""Groups of seeds: what is trained, what is counted, what the page says; killed at any moment, they go on."""

import csv
import hashlib
import io
import math
import re
import signal

import numpy as np
import pytest
from mlflow import MlflowClient
from rich.console import Console

from helpers import train, train_until
from lstm_lab.config import ConfigError, check
from lstm_lab.records import code, lookup, store, tagging
from lstm_lab.reports import comparison
from lstm_lab.runs import figures, group, recipe, resume, run, seeds, setup, watching
from lstm_lab.runs.group_page import Asked
from lstm_lab.science import training
from test_config import composed

SMALL = ["training.steps=40", "tracking.figures=false", "tracking.animation=false", "tracking.model=false"]
SMALL += ["tracking.tensorboard=false", "model.cell_size=3", "evaluation.windows=2"]
DIVERGING = ("optimizer=sgd", "optimizer.learning_rate=1e6", "optimizer.clipnorm=null", "model.cell_size=10")


class Groups:
    """Groups trained in this process, in a store of their own."""

    def __init__(self, folder):
        self.folder, self.said = folder, ""

    @property
    def client(self):
        return store.open_store()

    def config(self, *words):
        return check(composed(*SMALL, *words))

    def train(self, count=7, *words, again=False, take_over=False, first=0, trial=None):
        console = Console(file=io.StringIO(), width=200)
        asked = Asked(self.config(*words), seeds.wanted(first, count), again, take_over)
        outcome = group.train(asked, console, trial=trial)
        self.said = console.file.getvalue()
        return outcome

    def runs(self):
        """Every run that was trained, in the order of their beginning."""
        found = lookup.every_run(self.client, "tags.seeds IS NULL")
        return sorted(found, key=lambda run: run.info.start_time)

    def page(self, outcome):
        return self.client.get_run(outcome.run_id)

    def costs(self, run):
        return np.load(self.folder / "artifacts" / run.info.run_id / "artifacts/cost.npy", allow_pickle=False)


@pytest.fixture
def groups(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    for module in (resume, watching):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(store, "STORES", tmp_path / ".stores")
    store.open_store.cache_clear()
    yield Groups(tmp_path)
    store.open_store.cache_clear()


def test_a_group_and_its_runs_are_tagged_with_their_data_set_as_the_report_tells_it(groups):
    outcome = groups.train(1)
    config = groups.config()
    same = recipe.tags(config.model_copy(update={"data": config.data.model_copy(update={"batch_size": 7})}), None)
    other = recipe.tags(config.model_copy(update={"data": config.data.model_copy(update={"time_steps": 7})}), None)
    tags = [tagging.tags_of(run)[recipe.DATA_SET] for run in (groups.page(outcome), *groups.runs())]
    assert tags == [same[recipe.DATA_SET]] * 2
    assert tags[0] != other[recipe.DATA_SET]
    [told] = {comparison.facts_of(run, "").data for run in groups.runs()}
    assert tags[0] == hashlib.sha256(told.encode()).hexdigest()


def history(client, run_id, key):
    return [(point.step, point.value) for point in client.get_metric_history(run_id, key)]


def test_the_page_has_medians_intervals_and_the_median_curve_of_its_runs(groups):
    outcome = groups.train(7)
    page, runs = groups.page(outcome), groups.runs()
    assert (page.info.status, page.data.tags["seeds"], page.data.params[recipe.SEED]) == ("FINISHED", "0-6", "0-6")
    assert [(run.data.params[recipe.SEED], run.info.status) for run in runs] == [(str(n), "FINISHED") for n in range(7)]
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {outcome.run_id}
    assert [run.info.run_name for run in runs] == [f"default seed={n}" for n in range(7)]
    costs = np.array([groups.costs(run) for run in runs])
    ends = costs[:, -20:].astype(np.float64).mean(axis=1)
    assert page.data.metrics["mean_last_20_cost"] == pytest.approx(np.median(ends), rel=1e-12)
    assert page.data.metrics["low/mean_last_20_cost"] == pytest.approx(ends.min(), rel=1e-12)  # of 7, the outermost two
    assert page.data.metrics["high/mean_last_20_cost"] == pytest.approx(ends.max(), rel=1e-12)
    assert outcome.metrics["final_cost"] == np.median(costs[:, -1])
    speeds = [run.data.metrics["steps_per_second"] for run in runs]
    assert outcome.metrics["steps_per_second"] == np.median(speeds), "a study may go by it"
    assert "steps_per_second" not in groups.said + page.data.tags["mlflow.note.content"]
    curve = history(groups.client, outcome.run_id, "cost")
    assert curve == [(step, float(cost)) for step, cost in enumerate(np.median(costs, axis=0))]
    over = history(groups.client, outcome.run_id, "final_cost")
    assert over == [(n, float(np.median(costs[:n, -1].astype(np.float64)))) for n in range(1, 8)]
    table = groups.folder / "artifacts" / outcome.run_id / "artifacts/seeds.csv"
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(row["seed"], row["run"]) for row in rows] == [(str(n), run.info.run_id) for n, run in enumerate(runs)]
    assert [float(row["final_cost"]) for row in rows] == costs[:, -1].tolist()
    assert [row["cost.sha256"] for row in rows] == [tagging.tags_of(run)["cost.sha256"] for run in runs]
    assert f"[{runs[3].info.run_id[:8]}](#/experiments/" in page.data.tags["mlflow.note.content"]
    alone = run_alone(groups, seed=3)
    assert tagging.tags_of(alone)["cost.sha256"] == tagging.tags_of(runs[3])["cost.sha256"]

    again = groups.train(7)
    assert again.run_id == outcome.run_id
    assert "trained before by this code, and counted: 7" in groups.said
    assert len(groups.runs()) == 8
    assert history(groups.client, outcome.run_id, "cost") == curve
    assert history(groups.client, outcome.run_id, "final_cost") == over


def run_alone(groups, seed):
    """The run of an ordinary command."""
    result = run.run(seeds.with_seed(groups.config(), seed), Console(file=io.StringIO()))
    return groups.client.get_run(result.run_id)


def test_what_was_trained_before_is_counted_unless_it_is_to_be_trained_anew(groups, monkeypatch):
    alone = run_alone(groups, seed=1)
    outcome = groups.train(3)
    assert f"seed   1  mean_last_20_cost {alone.data.metrics['mean_last_20_cost']:.4g}" in groups.said
    assert len(groups.runs()) == 3
    tags = tagging.tags_of(groups.page(outcome))
    assert tags["seed.1"] == alone.info.run_id
    assert "mlflow.parentRunId" not in groups.client.get_run(alone.info.run_id).data.tags  # it stays where it was

    larger = groups.train(4)
    assert (larger.run_id != outcome.run_id, len(groups.runs())) == (True, 4)
    other = groups.train(2, "training.steps=41")
    assert len(groups.runs()) == 6, "another recipe"
    watched = groups.train(2, "training.steps=41", "training.frames=3", "tracking.metric_points=10")
    assert (watched.run_id, len(groups.runs())) == (other.run_id, 6), "the same, watched otherwise"
    anew = groups.train(2, again=True)
    assert len(groups.runs()) == 8
    assert anew.metrics["final_cost"] == groups.train(2).metrics["final_cost"]
    monkeypatch.setattr(code, "source_digest", lambda: "of other code")
    groups.train(2)
    assert len(groups.runs()) == 10


def test_a_run_by_several_codes_or_without_its_costs_or_errors_is_not_counted(groups, monkeypatch):
    alone = run_alone(groups, seed=0)
    with monkeypatch.context() as later:
        later.setattr(code, "source_digest", lambda: "of other code")
        longer, resumed = groups.config("training.steps=60"), resume_longer(groups, alone)
        result = run.run(longer, Console(file=io.StringIO()), resumed=resumed)
    assert tagging.tags_of(groups.client.get_run(result.run_id))["code.sha256"] == "several"
    groups.train(1, "training.steps=60")
    assert len(groups.runs()) == 2
    [_, own] = groups.runs()
    (groups.folder / "artifacts" / own.info.run_id / "artifacts/cost.npy").unlink()
    groups.train(1, "training.steps=60")
    assert len(groups.runs()) == 3
    (groups.folder / "artifacts" / groups.runs()[-1].info.run_id / "artifacts/cost.npy").write_bytes(b"damaged")
    groups.train(1, "training.steps=60")
    assert len(groups.runs()) == 4
    reproduction = run.run(groups.config("training.steps=50"), Console(file=io.StringIO())).run_id
    groups.client.set_tag(reproduction, "reproduces", "0" * 32)
    groups.train(1, "training.steps=50")
    assert len(groups.runs()) == 6, "a reproduction says nothing new"
    of_a_study = setup.Part("0: x", {}, of_study=True)  # a trial that is not evaluated
    run.run(groups.config("training.steps=55"), Console(quiet=True), part=of_a_study)
    groups.train(1, "training.steps=55")
    assert len(groups.runs()) == 8


def resume_longer(groups, ended):
    """The id of a run that is over, to be resumed with more steps."""
    groups.client.update_run(ended.info.run_id, status="KILLED")
    return ended.info.run_id


def test_a_seed_that_fails_counts_as_the_worst_and_the_group_says_so(groups):
    failed = groups.train(3, *DIVERGING)
    assert (failed.status, failed.failed) == ("FAILED", 3)
    assert "3 of 3 seeds failed, the first: " in groups.said
    assert groups.train(3, *DIVERGING).failed == 3
    assert len(groups.runs()) == 3, "it would fail again at the same step"
    assert "over the seeds" not in groups.said, "no table without a row"
    for trained in (6, 9):
        groups.train(3, *DIVERGING, again=True)
        assert len(groups.runs()) == trained

    groups.train(3)
    for failing in groups.runs()[9:11]:  # two of three
        groups.client.set_terminated(failing.info.run_id, "FAILED")
        groups.client.set_tag(failing.info.run_id, "reason", "the cost\x1b[31m\nis not finite")
    outcome = groups.train(3)
    assert outcome.reason == "2 of 3 seeds failed, the first: the cost\ufffd[31m\ufffdis not finite"
    assert outcome.reason in groups.said, "whoever wrote it"
    assert (outcome.status, outcome.failed, outcome.metrics["final_cost"]) == ("FINISHED", 2, math.inf)
    assert outcome.metrics["evaluation/r2"] == -math.inf
    trained, ended = groups.runs()[9:], [run for run in groups.runs()[9:] if run.info.status == "FINISHED"]
    assert seeds.of_the_median(trained, "final_cost") is None
    assert seeds.of_the_median([*ended, *ended, trained[0]], "final_cost") is ended[0]


def test_a_metric_that_some_seeds_lack_has_no_median(groups):
    """As where a trial, which is not evaluated, counts a run that was."""
    runs = [groups.client.get_run(run_alone(groups, seed).info.run_id) for seed in (0, 1)]
    del runs[1].data.metrics["evaluation/mse"]
    found = seeds.estimates(dict(enumerate(runs)))
    assert ("evaluation/mse" in found, "evaluation/mae" in found) == (False, True)


def test_a_group_that_another_process_is_at_is_left_to_it(groups, monkeypatch):
    outcome = groups.train(2)
    client, run_id = groups.client, outcome.run_id
    client.update_run(run_id, status="RUNNING")
    with pytest.raises(ConfigError, match=r"seeds=2: it is still training \(process \d+ on "):
        groups.train(2)
    elsewhere = '{"host": "elsewhere/1/2", "pid": 7, "started": "then"}'
    tagging.set_tags(client, run_id, {"process": elsewhere})
    with pytest.raises(ConfigError, match=r"seeds=2: it may still be training .* add take_over=true"):
        groups.train(2)
    left = groups.runs()[1].info.run_id
    client.update_run(left, status="RUNNING")
    tagging.set_tags(client, left, {"process": elsewhere})
    assert groups.train(2, take_over=True).run_id == run_id
    assert client.get_run(left).info.status == "FINISHED"
    assert len(groups.runs()) == 2


def test_the_medians_are_of_the_runs_that_count_now(groups):
    outcome = groups.train(3)
    first, *others = groups.runs()
    for other in others:
        groups.client.log_metric(other.info.run_id, "final_cost", 100.0, step=1000)
    groups.client.delete_run(first.info.run_id)  # the first seed is trained again
    assert groups.train(3).metrics["final_cost"] == 100
    assert groups.page(outcome).data.metrics["final_cost"] == 100


def test_a_run_that_began_with_other_weights_does_not_go_on(groups):
    """As one that was cut short on another machine: its seed begins anew."""
    outcome = groups.train(1)
    [own] = groups.runs()
    for tags, runs in (({}, 1), ({"initial_weights.sha256": "0" * 64}, 2)):
        tagging.set_tags(groups.client, own.info.run_id, tags)
        groups.client.set_terminated(own.info.run_id, "KILLED")
        assert groups.train(1).metrics["final_cost"] == outcome.metrics["final_cost"]
        assert len(groups.runs()) == runs


def test_a_group_is_no_run(groups):
    outcome = groups.train(2)
    named = f"run={outcome.run_id}: that is a group of runs with several seeds; name one of them, such as run="
    with pytest.raises(ConfigError, match=re.escape(named)):
        lookup.find_run(groups.client, "run", outcome.run_id)
    assert lookup.find_run(groups.client, "run", "last").info.run_id == groups.runs()[-1].info.run_id


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seeds=0"], "seeds=0: must be a whole number from 1 to 1,000"),
        (["seeds=1001"], "seeds=1001: must be a whole number from 1 to 1,000"),
        (["seeds=ten"], "seeds=ten: must be a whole number"),
        (["seeds=1.5"], "seeds=1.5: must be a whole number"),
        (["seeds=2", "training.seed=4294967295"], "goes beyond the last seed, 4294967295"),
        (["again=true"], "again=true: goes with seeds="),
        (["seeds=2", "resume=last"], "a run is resumed with its own seed"),
        (["seeds=1,2"], "seeds=1,2: several values need -m"),
        (["-m", "sweeps", "seeds=1,2"], "seeds: all trials of a study have equally many"),
        (["-m", "sweeps", "seeds=0"], "seeds=0: must be a whole number"),
        (["-m", "training.seed=0,1", "seeds=2"], "training.seed: is what seeds=2 goes over"),
        (["n_seeds=3"], "did you mean 'seeds=3'?"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(default_run, words, message):
    before = sorted(default_run.checkout.glob("mlruns/artifacts/*"))
    done = train(default_run.checkout, *words)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert sorted(default_run.checkout.glob("mlruns/artifacts/*")) == before


def test_the_median_of_runs_of_several_lengths_goes_as_far_as_the_shortest():
    curves = [np.array([4, 3, 2], np.float32), np.array([8, 7, 6, 5], np.float32), np.array([9, np.nan], np.float32)]
    assert seeds.together(curves).tolist() == [[4, 3, 2], [8, 7, 6], [9, np.inf, np.inf]]
    figure = figures.seeds_figure(seeds.together(curves), "three")
    assert figure.axes[0].lines[-1].get_ydata().tolist() == [8, 7, 6]


PLACES = ("step=100", "lstm_lab.runs.group_page.GroupPage.add=2", "lstm_lab.records.tracking.TrackedRun.end=2")


def costs_of(settings):
    """The costs of a run of this config, trained without any store."""
    source = setup.make_source(settings)
    made_of = setup.set_up(settings, source, Console(quiet=True), None)
    state, _ = watching.started(made_of, None)
    steps = settings.training.steps
    chunks = training.train(made_of.program.chunk, source, state, steps=steps, chunk_steps=steps, first_step=0)
    return np.concatenate([progress.costs for progress in chunks])


def test_killed_three_times_a_group_comes_to_the_same_end(checkout):
    """In the middle of a run, between two, before a run's end is told; then before the page is complete."""
    words = ["seeds=4", "training.steps=200", *SMALL[1:]]
    for place in (*PLACES, "lstm_lab.runs.group_page.GroupPage.end=1"):
        assert train_until(place, "SIGKILL", checkout, *words).returncode == -signal.SIGKILL
    done = train(checkout, *words)
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{checkout}/mlflow.db")
    found = client.search_runs(["1"], "tags.seeds IS NULL", order_by=["attributes.start_time ASC"])
    assert [(run.data.params[recipe.SEED], run.info.status) for run in found] == [
        (str(n), "FINISHED") for n in range(4)
    ]
    [page] = client.search_runs(["1"], "tags.seeds = '0-3'")
    assert (page.info.status, page.data.tags.get("reason")) == ("FINISHED", None)
    for seed, killed in enumerate(found):
        whole = costs_of(check(composed(*words[1:], f"training.seed={seed}")))
        assert tagging.tags_of(killed)["cost.sha256"] == setup.arrays_digest([whole])
        assert [step for step, _ in history(client, killed.info.run_id, "cost")] == list(range(200))
    assert not list(checkout.glob("mlruns/checkpoints/*"))
    assert "over the seeds" in done.stdout


def test_ctrl_c_ends_a_group_in_order_and_the_same_command_goes_on(checkout):
    words = ["seeds=2", "training.steps=200", *SMALL[1:]]
    stopped = train_until("step=100", "SIGINT", checkout, *words)
    assert (stopped.returncode, "the same command goes on\n" in stopped.stdout) == (130, True), stopped.stderr
    client = MlflowClient(f"sqlite:///{checkout}/mlflow.db")
    assert {run.info.status for run in client.search_runs(["1"])} == {"KILLED"}
    assert train(checkout, *words).returncode == 0
    assert [run.info.status for run in client.search_runs(["1"])] == ["FINISHED"] * 3
