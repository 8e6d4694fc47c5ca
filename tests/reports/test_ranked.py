"""The best runs of each data set are those that reading every run would find, in as many queries as a small store's."""

import hashlib
import itertools
import math

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from lstm_lab.reports import comparison, ranked
from lstm_lab.reports.comparison import Choice
from lstm_lab.runs import metrics

DATA = ("sine_to_cosine", "two_sequences", "tumbling_body")


class Store:
    """A store that is filled little by little; `asked` are the queries for runs, with how many each was answered."""

    def __init__(self, folder, monkeypatch):
        self.client = MlflowClient(f"sqlite:///{folder}/runs.db")
        self.experiments = [self.client.create_experiment(name, folder.as_uri()) for name in ("one", "two")]
        self.starts, self.random, self.asked = itertools.count(1000), np.random.default_rng(0), []
        search = self.client.search_runs

        def counted(*words, **options):
            found = search(*words, **options)
            self.asked.append(len(found))
            return found

        monkeypatch.setattr(self.client, "search_runs", counted)

    def add(self, data, tagged=True, tag=None, experiment=0, **found):
        """A run on that data set, with a cost drawn unless metrics are given."""
        params = {"data.curve": data, "data.time_steps": "20", "model.cell": "lstm"}
        if "validation/mse" in found:
            params |= {"data.path": "a.csv", "data.validation": "0.1"}
        digest = hashlib.sha256(metrics.data_set(params, None).encode()).hexdigest()
        tags = {ranked.TAG: tag or digest} if tagged else {}
        place = self.experiments[experiment]
        run_id = self.client.create_run(place, next(self.starts), tags, data).info.run_id
        found = found or {"mean_last_20_cost": float(self.random.uniform())}
        logged = [Metric(key, value, 0, 0) for key, value in found.items()]
        self.client.log_batch(run_id, logged, [Param(*item) for item in params.items()])
        return run_id

    def best(self, count, **choice):
        self.asked.clear()
        return [facts.run_id for facts in comparison.choose(self.client, Choice(best=count, **choice))]

    def expected(self, count, **choice):
        """The same, of every run there is."""
        every = comparison.choose(self.client, Choice(last=10_000, **choice))
        return [facts.run_id for facts in comparison.best_runs([one for one in every if not one.trials], count)]


@pytest.fixture
def store(tmp_path, monkeypatch):
    return Store(tmp_path, monkeypatch)


def test_ten_and_sixty_runs_take_the_same_queries_and_answer_as_if_all_had_been_read(store):
    for place in range(10):
        store.add(DATA[place % 3], experiment=place % 2)
    assert store.best(2) == store.expected(2)
    store.best(2)
    few = len(store.asked)
    for place in range(50):
        store.add(DATA[place % 3], experiment=place % 2)
    assert store.best(2) == store.expected(2)
    found = store.best(2)
    assert len(found) == 6
    assert len(store.asked) == few
    assert max(store.asked) <= ranked.SEEN
    assert store.best(3, experiment="two") == store.expected(3, experiment="two")
    lucky = "metrics.mean_last_20_cost > 0.5"
    assert store.best(3, filter=lucky) == store.expected(3, filter=lucky)


def test_a_validation_error_ranks_where_there_is_one_and_what_is_no_number_comes_last(store):
    def add(validation, cost):
        return store.add("a", **{"validation/mse": validation, "mean_last_20_cost": cost})

    good, best, diverged = add(0.2, 0.1), add(0.1, 9.0), add(math.nan, 0.001)
    infinite = add(math.inf, 0.002)
    curve = store.add(DATA[0])
    assert store.best(2) == store.expected(2) == [best, good, curve]
    assert set(store.best(4)) == {best, good, diverged, infinite, curve}
    assert store.best(4)[:2] == [best, good]


def test_runs_that_older_versions_left_are_ranked_with_those_that_have_a_tag(store):
    old = store.add(DATA[0], tagged=False, mean_last_20_cost=0.1)
    new = store.add(DATA[0], mean_last_20_cost=0.2)
    worse = store.add(DATA[0], tagged=False, mean_last_20_cost=0.3)
    assert store.best(9) == [old, new, worse]
    assert store.best(2) == [old, new]


@pytest.mark.parametrize("tag", ["it's", "", "a" * 63, '"' * 64])
def test_a_tag_that_somebody_else_wrote_hides_no_run(store, tag):
    for place in range(6):
        store.add(DATA[place % 3])
    store.add(DATA[0], tag=tag or " ", mean_last_20_cost=0.0)
    assert store.best(2) == store.expected(2)


def test_more_data_sets_than_a_query_can_leave_out_are_all_found(store, monkeypatch):
    for place in range(9):
        store.add(DATA[place % 3])
    monkeypatch.setattr(ranked, "SEEN", 1)
    assert store.best(2) == store.expected(2)
    monkeypatch.setattr(ranked, "MOST", 1)
    assert store.best(2) == store.expected(2)


def test_trials_of_a_study_that_is_older_than_every_row_are_not_read_one_and_all(store):
    def begin(parent=None, **tags):
        tags |= {comparison.PARENT: parent} if parent else {}
        return store.client.create_run(store.experiments[0], next(store.starts), tags).info.run_id

    study = begin(sweep="parent", study="long")
    rows = [begin() for _ in range(3)]
    alone = begin("another program's")

    def listed():
        store.asked.clear()
        return [facts.run_id for facts in comparison.choose(store.client, Choice(last=3))]

    for more in (10, 50):
        for trial in range(more):
            begin(study, trial=str(trial))
        assert listed() == [alone, *rows[:0:-1]]
        assert len(store.asked) == 4  # rows, the last trials, their study, what else belongs to others
        assert max(store.asked) == 3
