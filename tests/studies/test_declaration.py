import optuna

from lstm_lab.studies import declaration
from test_config import composed


def test_an_override_that_fixes_a_parameter_takes_it_out_of_the_search():
    settings = {
        "params": {"model.cell_size": "choice(5, 10)", "optimizer.learning_rate": "interval(0.1, 0.2)"},
        "sampler": {"name": "random"}, "pruner": {"name": "none"}, "n_trials": 3, "study_name": "s",
        "direction": "minimize", "objective": "final_cost", "seed": 0, "prune_every": 100,
    }  # fmt: skip
    fixed = declaration.declare(
        settings, composed("model.cell_size=64"), ["model.cell_size=64"], ["hydra.sweeper.n_trials=3"]
    )
    assert list(fixed.space) == ["optimizer.learning_rate"]
    assert fixed.config["model.cell_size"] == 64
    assert fixed.name == "s model.cell_size=64"
    replaced = declaration.declare(
        settings, composed(), ["sweeps=default", "model.cell_size=1,2"], ["hydra.sweeper.study_name=s"]
    )
    assert replaced.space["model.cell_size"] == optuna.distributions.CategoricalDistribution([1, 2])
    assert replaced.name == "s"
    sampled = declaration.declare(settings, composed(), ["sweeps=default"], ["hydra/sweeper/sampler=random"])
    assert sampled.name == "s hydra/sweeper/sampler=random"
