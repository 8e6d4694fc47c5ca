import numpy as np

from lstm_lab.findings import search
from lstm_lab.reports.comparison import Facts


def trial(size, rate, cost):
    params = {"model.cell_size": str(size), "optimizer.learning_rate": str(rate)}
    return Facts("0" * 32, "trial", status="FINISHED", params=params, metrics={"mean_last_20_cost": cost})


def test_the_map_has_the_median_of_each_field():
    trials = [
        trial(5, 0.001, 4.0),
        trial(5, 0.0011, 2.0),
        trial(5, 0.0012, 3.0),
        trial(10, 0.01, 0.5),
        trial(10, 0.1, 9),
    ]
    sizes, edges, costs, counts = search.cost_map(trials, bins=2)
    assert sizes == ["5", "10"]
    np.testing.assert_allclose(edges, [0.001, 0.01, 0.1], rtol=1e-12)
    np.testing.assert_array_equal(counts, [[3, 0], [0, 2]])
    np.testing.assert_array_equal(costs, [[3.0, np.nan], [np.nan, 4.75]])


def test_samplers_are_compared_by_the_best_cost_so_far():
    searches = [[trial(5, 0.01, cost) for cost in costs] for costs in ([3, 5, 1], [2, 1, 4])]
    so_far = search.best_so_far(searches)
    np.testing.assert_array_equal(so_far, [[3, 3, 1], [2, 1, 1]])
    tpe, random, compared = search.compare({"TPE": so_far, "random": 2 * so_far}, 2)
    assert (tpe.median, random.median, compared.ratio.median) == (2, 4, 2)


def test_no_two_searches_share_a_draw():
    """A trial draws from the search's seed plus its number."""
    seeds = [int(words[2].partition("=")[2]) for words in search.commands(3) if words[1].endswith("tpe")]
    assert seeds == [0, 1000, 2000]
