"""Which runs are meant, what is read of each, in what they differ: on a store with all that a run can be."""

import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from lstm_lab.config import ConfigError
from lstm_lab.records import checkpoint
from lstm_lab.reports import comparison
from lstm_lab.reports.comparison import Choice, Curve, Facts
from lstm_lab.runs import resume
from stores import COSTS, HOSTILE, compare, png


def chosen(client, **choice):
    return comparison.choose(client, Choice(**choice))


def test_the_last_runs_come_first_and_deleted_ones_not_at_all(client, kinds):
    names = [facts.name for facts in chosen(client)]
    assert names[:3] == ["bare", "study grid", chosen(client, runs=[kinds.ids["hostile"]])[0].name]
    assert set(names) == {facts.name for facts in chosen(client, runs=list(kinds.ids.values()))} - {"trial 3: x"}
    assert [facts.name for facts in chosen(client, last=2)] == names[:2]


def test_a_study_is_one_row_and_its_trials_are_listed_where_they_are_asked_for(tmp_path, monkeypatch):
    client = MlflowClient(f"sqlite:///{tmp_path}/runs.db")
    experiments = [client.create_experiment(name, tmp_path.as_uri()) for name in ("one", "two")]
    starts = itertools.count(1000)

    def begin(name, parent=None, experiment=0, **tags):
        tags |= {comparison.PARENT: parent} if parent else {}
        return client.create_run(experiments[experiment], next(starts), tags, name).info.run_id

    def names(**choice):
        return [facts.name for facts in chosen(client, **choice)]

    plain = begin("plain")
    studies = [begin(f"study {name}", sweep="parent", study=name) for name in ("a", 'it\'s "b"', "gone")]
    elsewhere = begin("study elsewhere", sweep="parent", study="elsewhere", experiment=1)
    for trial in range(3):
        for study in (*studies, elsewhere):
            begin(f"{studies.index(study) if study in studies else 'elsewhere'}-{trial}", study, trial=str(trial))
    client.delete_run(studies[2])
    begin("of another program", plain)
    begin("of nothing", "'; DROP TABLE runs; --")
    begin("last")
    alone = ["last", "of nothing", "of another program", "2-2", "2-1", "2-0"]
    rows = ["study elsewhere", 'study it\'s "b"', "study a", "plain"]
    asked = []
    search = client.search_runs
    monkeypatch.setattr(
        client, "search_runs", lambda *words, **options: asked.append(words) or search(*words, **options)
    )
    assert names() == alone + rows
    assert len(asked) == 3
    assert names(last=2) == alone[:2]
    assert names(last=8) == (alone + rows)[:8]
    assert names(experiment="one") == alone + rows[1:]
    assert names(study='it\'s "b"') == ["1-2", "1-1", "1-0"]
    assert names(study="a", last=1) == names(study=studies[0][:8], last=1) == names(study=studies[0], last=1) == ["0-2"]
    assert names(study="a", filter="tags.trial = '1'") == ["0-1"]
    assert names(filter="tags.trial = '1'") == ["elsewhere-1", "2-1", "1-1", "0-1"]
    monkeypatch.setattr(comparison, "FOLDED", 1)
    assert names() == alone + rows
    with pytest.raises(ConfigError, match=r"^study=gon: there is no such study"):
        names(study="gon")


def test_a_name_that_is_not_there_is_answered_with_those_that_are_whatever_characters_they_have():
    names = ["mine", "default training.steps=9"]
    assert comparison.near_name("default", names) == "; allowed: default training.steps=9, mine"
    assert comparison.near_name("default training.step=9", names) == "; did you mean 'default training.steps=9'?"


def test_the_best_come_first_and_diverged_ones_after_all_others(client):
    best = [facts.name for facts in chosen(client, best=4)]
    assert set(best[:3]) == {"plain", "again", "longer"}
    assert best[3] == "gru"
    assert "diverged" not in best


def test_runs_are_filtered_by_experiment_and_by_mlflows_conditions(client):
    assert [facts.name for facts in chosen(client, filter="params.model.cell = 'gru'")] == ["gru"]
    assert [facts.name for facts in chosen(client, filter="params.\"model.cell\" = 'gru'")] == ["gru"]
    assert "trial 3: x" not in [facts.name for facts in chosen(client, filter="tags.trial IS NULL")]
    assert chosen(client, experiment="kinds", filter="metrics.final_cost > 1e9")[0].name == "diverged"
    with pytest.raises(ConfigError, match=r"experiment=kind: there is no such experiment; did you mean 'kinds'"):
        chosen(client, experiment="kind")
    for faulty in ("model.cell = gru", "'; DROP TABLE runs; --", "params.x = 'a' OR 1 = 1"):
        with pytest.raises(ConfigError, match=r"^filter=.*a filter is written as in MLflow's page"):
            chosen(client, filter=faulty)


def test_ids_and_their_beginnings_name_runs_in_the_order_given(client, kinds):
    gru, plain = kinds.ids["gru"], kinds.ids["plain"]
    assert [facts.name for facts in chosen(client, runs=[gru, plain[:12], gru])] == ["gru", "plain"]
    for word, said in {
        "f" * 31: f"runs={'f' * 31}: no run begins so",
        "f" * 32: "no run begins so",
        kinds.gone: "that run was deleted; `",
    }.items():
        with pytest.raises(ConfigError, match=re.escape(said)):
            chosen(client, runs=[word])


def test_last_and_a_studys_name_name_runs(client, kinds):
    for names, found in {
        ("last",): ["trial 3: x"],  # what began later is a study's own page, or another program's
        ("grid a=1", "2"): ["trial 3: x"],
        ("grid a=1", "2", kinds.ids["gru"][:12], "last"): ["trial 3: x", "gru"],
    }.items():
        assert [facts.name for facts in chosen(client, runs=names)] == found
    for name in ("grid", "grid a=1", "", "LAST", "a%", "' OR 1=1", "../x"):
        with pytest.raises(ConfigError, match=f"^runs={re.escape(name)}: must be a run's id or its first digits"):
            chosen(client, runs=[name])


def test_of_studies_of_one_name_the_newest_counts_and_its_best_trial_must_be_there(tmp_path):
    client = MlflowClient(f"sqlite:///{tmp_path}/runs.db")
    experiment = client.create_experiment("studies", tmp_path.as_uri())

    def begin(start, **tags):
        return client.create_run(experiment, start_time=start, tags=tags).info.run_id

    trial = begin(1)
    begin(3, sweep="parent", study="温 'a\"", best_run=trial)
    begin(2, sweep="parent", study="温 'a\"", best_run="0" * 32)
    begin(4, sweep="parent", study="new")
    begin(5, sweep="parent", study="lost", best_run="0" * 32)
    assert [facts.run_id for facts in chosen(client, runs=["温 'a\""])] == [trial]
    for name, said in {
        "new": "no best trial: none is complete",
        "lost": "its best trial is gone",
        "last": "no run yet",
    }.items():
        with pytest.raises(ConfigError, match=f"^runs={name}: .*{said}"):
            chosen(client, runs=[name])
    client.delete_run(trial)
    with pytest.raises(ConfigError, match=rf"that run was deleted; `.*mlflow runs restore --run-id {trial}`"):
        chosen(client, runs=["温 'a\""])


def test_hundreds_of_runs_take_as_many_queries_as_one(tmp_path, monkeypatch):
    client = MlflowClient(f"sqlite:///{tmp_path}/runs.db")
    experiment = client.create_experiment("many", tmp_path.as_uri())
    ids = [client.create_run(experiment, start_time=1000 + i).info.run_id for i in range(150)]
    queries = []

    def counted(name):
        call = getattr(client, name)
        return lambda *words, **options: queries.append(name) or call(*words, **options)

    for name in ("search_runs", "search_experiments", "get_run", "get_metric_history", "list_artifacts"):
        monkeypatch.setattr(client, name, counted(name))
    assert [facts.run_id for facts in chosen(client, last=120)] == ids[:-121:-1]
    assert [facts.run_id for facts in chosen(client, runs=ids * 300)] == ids
    assert len(queries) == 6
    firsts = [run_id[0] for run_id in ids]
    first = max(firsts, key=firsts.count)  # of 150 runs, at least ten begin with the same of 16 digits
    with pytest.raises(ConfigError, match=rf"runs={first}: several runs begin so \({first}.*; give more digits"):
        chosen(client, runs=[first])


def test_the_curve_of_a_run_that_trains_is_in_its_checkpoint(client, kinds, tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "ROOT", tmp_path)
    monkeypatch.setattr(client, "get_metric_history", None)
    folder = resume.folder_of(kinds.ids["going"])
    checkpoint.save(folder, checkpoint.Checkpoint(60, "digest", COSTS[:60].astype(np.float32), [], [], []))
    checkpoint.save(folder, checkpoint.Checkpoint(70, "digest", COSTS[:70].astype(np.float32), [], [], []))
    (folder / "step-0000000070.npz").write_bytes(b"damaged")
    [found] = compare(client, [kinds.ids["going"]])
    np.testing.assert_array_equal(found.curve.costs, COSTS[:60].astype(np.float32))
    assert found.fault == ""


def test_every_kind_of_run_is_read_as_it_is(client, kinds):
    found = dict(zip(kinds.ids, compare(client, list(kinds.ids.values())), strict=True))
    plain = found["plain"]
    np.testing.assert_array_equal(plain.curve.costs, COSTS)
    assert plain.fit == png()
    assert plain.facts.commit == "0123456*"
    assert {name: run.facts.status for name, run in found.items()} == {
        **dict.fromkeys(kinds.ids, "FINISHED"),
        "going": "RUNNING",
        "dead": "CUT SHORT",
        "diverged": "FAILED",
        "hostile": "RUNNING",
        "trial 3: x": "PRUNED",
    }
    np.testing.assert_array_equal(found["going"].curve.costs, COSTS[:50].astype(float))
    assert found["diverged"].facts.metrics["final_cost"] == np.inf
    assert np.isnan(found["diverged"].facts.metrics["mean_last_20_cost"])
    assert found["longer"].facts.params["training.steps"] == "400"
    assert (found["bare"].curve, found["bare"].fit, found["bare"].fault) == (None, None, "")
    assert found["study grid"].facts.params == {}
    assert comparison.data_name(found["study grid"].facts) == "a, b"
    assert found["hostile"].curve is None
    assert found["hostile"].fault.endswith("its cost.npy is an array of object, not of numbers")
    assert found["hostile"].facts.name == HOSTILE.replace("\x1b", "�").replace("\u202e", "�")


def test_a_run_in_the_middle_of_its_training_has_the_curve_so_far(client, kinds):
    """Infinity as a database keeps it, a step that was logged twice, points out of order."""
    points = [(4, 1.0), (0, 3.0), (2, 2.0), (2, 2.5), (6, np.inf)]
    experiment = client.get_run(kinds.ids["plain"]).info.experiment_id
    run_id = client.create_run(experiment, run_name="odd").info.run_id
    client.log_batch(run_id, [Metric("cost", cost, i, step) for i, (step, cost) in enumerate(points)])
    [run] = compare(client, [run_id])
    client.delete_run(run_id)
    assert run.curve.steps.tolist() == [0, 2, 4, 6]
    assert run.curve.costs.tolist() == [3.0, 2.5, 1.0, np.inf]


def test_the_mean_of_a_whole_and_of_a_thinned_curve():
    costs = np.random.default_rng(0).random(100)
    mean = Curve(np.arange(100), costs).mean().costs
    np.testing.assert_allclose(mean[19:], np.convolve(costs, np.full(20, 1 / 20), "valid"))
    np.testing.assert_allclose(mean[:19], [costs[: i + 1].mean() for i in range(19)])
    thinned = Curve(np.arange(0, 70, 7), np.arange(10.0)).mean()  # 20 steps hold the points of 0, 7 and 14 steps before
    np.testing.assert_allclose(thinned.costs, [0, 0.5, 1, 2, 3, 4, 5, 6, 7, 8])
    diverged = Curve(np.arange(3), np.array([1.0, 3.0, np.inf]))
    assert diverged.mean().finite().costs.tolist() == [1.0, 2.0]


def facts(**values):
    empty = dict.fromkeys(
        ("run_id", "name", "experiment", "status", "reason", "commit", "data", "part", "verdict", "bits"), ""
    )
    return Facts(**{**empty, "started": None, "seconds": None, "params": {}, "metrics": {}, **values})


def test_the_best_are_ranked_within_their_data_by_what_they_were_not_trained_on():
    def run(name, data, cost, mse=None):
        errors = {"validation/mse": mse} if mse is not None else {}
        return facts(name=name, data=data, metrics={"mean_last_20_cost": cost} | errors)

    runs = [
        run("overfitted", "mine 1", 0.1, 9.0),
        run("good", "mine 1", 0.3, 2.0),
        run("better", "mine 1", 0.2, 1.0),
        run("cut short", "mine 1", 0.01),
        run("curve", "sine 2", 1e-9),
        run("diverged", "sine 2", math.nan),
        run("study", "", 0.0),
    ]
    assert [found.name for found in comparison.best_runs(runs, 2)] == ["better", "good", "curve", "diverged"]
    assert [found.name for found in comparison.best_runs(runs, 9)][:4] == ["better", "good", "overfitted", "cut short"]


def test_only_keys_that_differ_are_shown_in_the_configs_order():
    runs = [
        facts(params={"training.seed": "0", "model.cell": "lstm", "model.forget_bias": "1.0", "data.curve": "a"}),
        facts(params={"training.seed": "0", "model.cell": "gru", "data.curve": "a", "optimizer.learning_rate": "0.1"}),
        facts(),  # a study's own run: it has no config that could differ
    ]
    assert comparison.differing(runs) == {
        "model.cell": ["lstm", "gru", ""],
        "model.forget_bias": ["1.0", "-", ""],
        "optimizer.learning_rate": ["-", "0.1", ""],
    }
    watched = ("training.report_every", "training.frames", "training.live", "training.chunk_steps")
    watched += ("tracking.figures", "tracking.experiment", "evaluation.windows")
    decisive = ("training.steps", "training.level", "training.threads", "training.seed")
    two = [facts(params=dict.fromkeys(watched + decisive, value)) for value in ("1", "2")]
    assert set(comparison.differing(two)) == set(decisive)
    assert comparison.shared(runs) == {"data.curve": "a", "training.seed": "0"}
    rates = ["0.012345678901", "0.2", "1e-05"]
    assert comparison.short(rates) == ["0.0123457", "0.2", "1e-05"]
    assert comparison.short(["0.01234567890", "0.01234567891"]) == ["0.01234567890", "0.01234567891"]


def test_the_lowest_cost_is_marked_and_nothing_where_all_are_the_same():
    assert comparison.best_of("final_cost", ["0.5", "0.1", "nan", "inf", "-", "0.1"]) == {1, 5}
    assert comparison.best_of("final_cost", ["0.1", "0.1"]) == set()
    assert comparison.best_of("final_cost", ["0.1", "-"]) == set()
    assert comparison.best_of("final_cost", ["-"]) == set()
    assert comparison.best_of("evaluation/r2", ["0.5", "0.9", "nan", "-inf", "-"]) == {1}


def test_how_runs_went_begins_with_the_costs_and_ends_with_the_baselines():
    keys = ["cost", "final_cost", "mean_last_20_cost", "baselines/mse", "evaluation/mse", "log10_mean_last_20_cost"]
    run = comparison.Compared(facts(metrics=dict.fromkeys(keys, 1.0)), None, None, "")
    shown = ["steps", "final_cost", "mean_last_20_cost", "evaluation/mse", "baselines/mse"]
    assert list(comparison.results([run])) == shown


def test_the_best_is_marked_only_where_one_run_can_be_better_than_another():
    judged = ["final_cost", "mean_last_20_cost", "log10_mean_last_20_cost", "validation/mse"]
    judged += [f"evaluation/{name}" for name in ("mse", "rmse", "mae", "r2", "mse_position_0", "rollout_mse")]
    told = [f"baselines/{name}" for name in ("predict_zero_mse", "persistence_mse", "least_squares_mse")]
    told += ["baselines/rollout_persistence_mse", "steps_per_second", "steps", "level", "cost", "best_value"]
    results = {key: ["0.3", "0.2"] for key in [*judged, *told]}
    same = [facts(data="mine 1", params={"data.time_steps": "20", "evaluation.windows": "50"})] * 2

    def marked(*others, **params):
        changed = replace(same[1], params={**same[1].params, **params})
        return comparison.best_in(results, [same[0], replace(changed, **dict(others))])

    assert marked() == {key: {int(key != "evaluation/r2")} for key in judged}
    assert marked(("data", "mine 2")) == {}
    assert list(marked(**{"data.time_steps": "40"})) == ["validation/mse"]
    assert list(marked(**{"training.cost": "huber"})) == judged[3:]
    assert list(marked(**{"evaluation.windows": "90"})) == judged[:4]


def test_runs_are_labelled_by_what_differs():
    def run(name="a name", data="sine_to_cosine 1", **params):
        groups = {"cell": "model", "curve": "data", "path": "data", "time_steps": "data", "experiment": "tracking"}
        groups |= {"name": "optimizer", "learning_rate": "optimizer", "forget_bias": "model"}
        values = {"cell": "lstm", "curve": data.partition(" ")[0], **params}
        return facts(name=name, data=data, params={f"{groups.get(k, 'training')}.{k}": v for k, v in values.items()})

    two = [run(forget_bias="1.0", time_steps="20"), run(cell="gru", time_steps="40", experiment="b", live="True")]
    assert comparison.labels(two) == ["lstm, time_steps=20", "gru, time_steps=40"]
    assert comparison.labels([run("a", seed="1"), run("b", seed="1")]) == ["a", "b"]
    rates = [run("default"), run(learning_rate="0.01"), run(learning_rate="0.0123456789"), run(learning_rate="0.006")]
    assert comparison.labels(rates) == ["default", "lr=0.01", "lr=0.0123457", "lr=0.006"]
    assert comparison.labels([run("default", seed="0"), run(seed="0"), run(seed="7")]) == [
        "default",
        "a name",
        "seed=7",
    ]
    files = [run(data="co2 1", curve="csv", path="x/co2.csv"), run(data="sun 2", curve="csv", path="sun.csv"), run()]
    assert comparison.labels(files) == ["co2", "sun", "sine_to_cosine"]
    assert len(comparison.labels([run(seed="x" * 9000), run(seed="y")])[0]) < 60
    assert comparison.labels([run(), facts(name="study a")])[1] == "study a"
    keys = ("learning_rate", "time_steps", "steps", "seed")
    near, far = dict.fromkeys(keys, "1"), dict.fromkeys(keys, "1234567890")
    assert comparison.labels([run("best", **far), run("b", **near)]) == ["best", "time_steps=1, lr=1, seed=1, steps=1"]
    assert comparison.labels([run("a", **far), run("a", **near)])[0].startswith("time_steps=1234567890, ")


@pytest.mark.parametrize(("runs", "words"), [([0, 2, 3, 4], "1, 3-5"), ([1], "2"), ([], ""), ([0, 1], "1-2")])
def test_runs_are_numbered_from_1(runs, words):
    assert comparison.numbers(runs) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(None, "-"), (8.46, "8.5 s"), (60, "1 min 0 s"), (3599.6, "1 h 0 min"), (7500, "2 h 5 min")]
)
def test_durations(seconds, words):
    assert comparison.duration(seconds) == words
