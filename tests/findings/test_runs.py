import math
from types import SimpleNamespace

from lstm_lab.findings import runs


def run(seed, cost, status="FINISHED", **params):
    data = SimpleNamespace(params={"training.seed": str(seed), **params}, metrics={"mean_last_20_cost": cost})
    return SimpleNamespace(info=SimpleNamespace(status=status), data=data)


def test_a_run_that_failed_costs_more_than_any_other():
    assert runs.by_seed([run(0, 4.0), run(3, 1.0, "FAILED")], scale=20) == {0: 0.2, 3: math.inf}
    assert runs.cost_of(run(0, 4.0), "final_cost") == math.inf


def test_runs_are_selected_by_their_parameters():
    short, long = run(0, 1.0, **{"data.time_steps": "5"}), run(0, 1.0, **{"data.time_steps": "20"})
    assert runs.select([short, long], data__time_steps=20, training__seed=0) == [long]
    assert runs.values_of([long, short, long], "data.time_steps") == [5, 20]
    assert runs.time_steps([long, long]) == 20


def test_a_reduced_study_names_its_seeds():
    assert runs.grid_command("carry", runs.SEEDS) == ["sweeps=carry"]
    assert runs.grid_command("carry", 3) == ["sweeps=carry", "training.seed=range(0,3)"]


def test_a_run_whose_tag_names_no_trial_is_none():
    def tagged(**tags):
        return SimpleNamespace(data=SimpleNamespace(tags=tags))

    assert runs.is_trial(tagged(trial="12"))
    for trial in ("x", "", "-1", "1.0", "9" * 6000, "\u0663"):
        assert not runs.is_trial(tagged(trial=trial))
    assert not runs.is_trial(tagged())
