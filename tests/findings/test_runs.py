import math
from types import SimpleNamespace

from lstm_lab.findings import runs
from lstm_lab.reports.comparison import Facts


def run(seed, cost, status="FINISHED", time_steps=20):
    params = {"training.seed": str(seed), "data.time_steps": str(time_steps)}
    return Facts("0" * 32, "run", status=status, params=params, metrics={"mean_last_20_cost": cost})


def test_a_cost_is_shared_among_samples_and_infinite_if_the_run_failed():
    assert runs.for_each_sample([run(0, 4.0), run(3, 1.0, "FAILED")]) == {(0,): 0.2, (3,): math.inf}


def test_the_values_of_a_parameter_and_the_one_length_of_windows():
    assert runs.values_of([run(0, 1, time_steps=40), run(1, 1), run(2, 1)], "data.time_steps") == [20, 40]
    assert runs.time_steps([run(0, 1), run(1, 1)]) == 20


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
