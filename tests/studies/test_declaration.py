"""What a study is declared to be, and what is refused before any trial."""

import math
import re
from typing import Any

import optuna
import pytest

from lstm_lab import config
from lstm_lab.config import ConfigError
from lstm_lab.studies import declaration
from test_config import composed

WHOLE: dict[str, Any] = {
    "study_name": "s",
    "params": {"model.cell_size": "choice(5, 10)", "optimizer.learning_rate": "interval(0.1, 0.2)"},
    "n_trials": 3,
    "objective": None,
    "direction": None,
    "seed": 0,
    "sampler": {"name": "random"},
    "pruner": {"name": "none"},
    "prune_every": 100,
    "max_failures": 5,
    "storage": {"url": None, "heartbeat": 10, "grace": 40},
}
PLAIN: dict[str, Any] = {"study_name": None, "params": {}, "n_trials": None}


def compose(words):
    groups = composed(*words)
    return {key: groups[key] for key in config.Config.model_fields}


def declare(*words, hydra=(), **changes):
    return declaration.declare(config.check_sweeper(WHOLE | changes), compose, words, hydra)


@pytest.fixture
def mine(tmp_path):
    """A file with two columns and too few samples for some windows."""
    file = tmp_path / "mine.csv"
    file.write_text("a,b\n" + "".join(f"{math.sin(i / 6)},{math.cos(i / 6)}\n" for i in range(400)))
    return file


def test_an_override_that_fixes_a_parameter_takes_it_out_of_the_search():
    fixed = declare("model.cell_size=64", hydra=["hydra.sweeper.n_trials=3"])
    assert list(fixed.space) == ["optimizer.learning_rate"]
    assert fixed.config["model.cell_size"] == 64
    assert fixed.name == "s model.cell_size=64"
    replaced = declare("model.cell_size=1,2", hydra=["hydra.sweeper.study_name=s"])
    assert replaced.space["model.cell_size"] == optuna.distributions.CategoricalDistribution([1, 2])
    assert replaced.name == "s"
    assert declare(hydra=["hydra/sweeper/sampler=random"]).name == "s hydra/sweeper/sampler=random"


def test_a_plus_before_a_key_changes_nothing():
    """Hydra takes `++key=value` for any key; the study knows it by its name."""
    assert list(declare("++model.cell_size=64").space) == ["optimizer.learning_rate"]
    declared = declare("++data.delay=2,4", "data=delayed_recall", **PLAIN)
    assert list(declared.space) == ["data.delay"]
    assert declared.for_jobs()["on_different_data"]


@pytest.mark.parametrize("text", ["choice(", "3", "null", "[1, 2]", ""])
def test_what_a_file_cannot_have_searched_is_named(text):
    with pytest.raises(ConfigError, match=r"model\.cell_size.*choice, range"):
        declare(params={"model.cell_size": text})


def test_a_text_in_a_file_is_taken_as_it_is(mine):
    mine.write_text(mine.read_text().replace("a,b", "N [/cm3],T (°C)", 1))
    words = ("data=csv", f"data.path={mine}", "data.horizon=1")
    for text in ("N [/cm3],T (°C)", "choice('N [/cm3]', 'T (°C)')"):
        assert declare(*words, params={"data": {"input": text}}).space["data.input"].choices == ("N [/cm3]", "T (°C)")


def test_lists_of_columns_in_a_file_are_choices_as_one_types_them():
    params = {"data": {"input": "choice([a,b c], '[x]', a)", "decimal": "choice(',', .)"}}
    space = declaration.search_space(params, [])
    assert space["data.input"].choices == ("[a,b c]", "'[x]'", "a")
    assert space["data.decimal"].choices == (",", ".")


def test_a_studys_page_stands_in_the_experiment_that_is_named():
    assert declare("experiment=smoke").experiment == "smoke"
    assert declare("tracking.experiment=${data.curve} x", "data=sunspots", "training.seed=0,1").experiment == "csv x"
    presets = "experiment=smoke,sunspots"
    assert declare(presets, **PLAIN).experiment == "sine_to_cosine"
    assert declare(presets, "tracking.experiment=mine", **PLAIN).experiment == "mine"


def test_a_key_without_a_default_may_be_searched(mine):
    """What is checked are whole points."""
    words = ("data=csv", f"data.path={mine}", "data.input=a,b", "data.horizon=1,3")
    declared = declare(*words, **PLAIN)
    assert declared.total == 4
    assert declared.objective == "validation/mse"
    assert declared.data == "mine"
    interpolated = declare("training.steps=100,200", "training.report_every=${training.steps}", **PLAIN)
    assert interpolated.total == 2


def test_the_files_content_belongs_to_the_study(mine):
    words = ("data=csv", f"data.path={mine}", "data.input=a", "data.horizon=1", "training.seed=0,1")
    before = declare(*words).identity()
    assert declare(*words).identity() == before
    mine.write_text(mine.read_text().replace("0.0,1.0", "0.5,1.0"))
    after = declare(*words).identity()
    assert [key for key in after if after[key] != before[key]] == [f"SHA-256 of {mine}"]


def test_lists_are_choices():
    words = ("data=noisy_sines_to_derivative", "data.amplitudes=[0.6,0.3,0.1],[1,2,3]", "model.cell_size=3")
    declared = declare(*words, **PLAIN)
    assert declared.space["data.amplitudes"].choices == ("[0.6,0.3,0.1]", "[1,2,3]")
    with pytest.raises(ConfigError, match="must have the same length"):
        declare("data=noisy_sines_to_derivative", "data.amplitudes=[0.6,0.3,0.1],[1]", **PLAIN)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["model=lstm,gru", "model.forget_bias=0.5"], "model.forget_bias"),
        (["model=lstm,nothing"], "nothing"),
        (["model.cell_size=1,0"], "model.cell_size=0"),
        (["model.cel_size=1,2"], "model.cel_size"),
        (["training.level=portable,fast"], "training.level: TensorFlow takes it once"),
        (["sweeps=default,grid"], "sweeps: a sweep is of one study"),
        (["experiment=smoke,null"], "experiment=null: takes the name of one of the files in conf/experiment/"),
        (["resume=a,b"], "resume: a run is resumed by itself"),
        (["+hydra.sweeper.seed=0,1"], "hydra.sweeper.seed: is not of the trials"),
        (["training.truncation_steps=5,10", "training.truncation_every=5,20"], "truncation_every=20"),
    ],
)
def test_what_some_trial_could_not_be_is_refused_before_the_first(words, fault):
    with pytest.raises(Exception, match=re.escape(fault)):  # Hydra's own error where it cannot compose
        declare(*words, **PLAIN)


def test_windows_that_a_file_is_too_short_for_are_refused_before_the_first_trial(mine):
    words = ("data=csv", f"data.path={mine}", "data.input=a", "data.horizon=1")
    with pytest.raises(ConfigError, match="has too few samples, 400"):
        declare(*words, "data.batch_size=8,20", "data.time_steps=10,20", **PLAIN)


def test_costs_of_different_kinds_prune_no_trial_and_are_ranked_apart():
    kinds, median = "training.cost=squared,huber", {"name": "median", "n_startup_trials": 3, "n_warmup_steps": 0}
    assert declare(kinds).objective == "mean_last_20_cost"
    assert declare(kinds).for_jobs()["on_different_data"]
    with pytest.raises(ConfigError, match=r"pruned by costs of another training\.cost; add hydra/sweeper/pruner=none"):
        declare(kinds, pruner=median)
    assert declare(kinds, "experiment=sunspots", pruner=median).objective == "validation/mse"


def test_the_objective_is_a_metric_that_every_trial_has():
    assert declare().objective == "mean_last_20_cost"
    assert declare(objective="evaluation/mse").direction == "minimize"
    assert declare(objective="steps_per_second").direction == "maximize"
    with pytest.raises(ConfigError, match="objective='steps_per_second': must be a metric that every trial has"):
        declare("training.steps=1", objective="steps_per_second")
    assert declare(objective="evaluation/r2").direction == "maximize"
    assert declare("data=sine_to_cosine,sunspots", **PLAIN).objective == "mean_last_20_cost"
    assert declare("data=co2,sunspots", **PLAIN).objective == "validation/mse"
    with pytest.raises(ConfigError, match=r"objective='validation/mse': must be a metric that every trial has: final_"):
        declare(objective="validation/mse")
    with pytest.raises(ConfigError, match="objective='': must be a metric"):
        declare(objective="")
    median = {"name": "median", "n_startup_trials": 1, "n_warmup_steps": 0}
    with pytest.raises(ConfigError, match="add hydra/sweeper/pruner=none"):
        declare(objective="evaluation/mse", pruner=median)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"seed": None}, "hydra.sweeper.seed=None: must be"),
        ({"max_failures": 0}, "hydra.sweeper.max_failures=0: must be greater than or equal to 1"),
        ({"prune_every": 0}, "hydra.sweeper.prune_every=0: must be"),
        ({"n_trials": 0}, "hydra.sweeper.n_trials=0: must be"),
        ({"direction": "up"}, "hydra.sweeper.direction='up': must be 'minimize' or 'maximize'"),
        ({"storage": {"url": None, "heartbeat": 0, "grace": 40}}, "hydra.sweeper.storage.heartbeat=0: must be"),
        ({"storage": {"url": None, "heartbeat": 9, "grace": 9}}, "hydra.sweeper.storage: grace=9 must be longer than"),
        ({"sampler": {"name": "tpe", "n_startup_trials": "few", "multivariate": True}}, "n_startup_trials='few': must"),
        ({"sampler": {"name": "random", "speed": 3}}, "hydra.sweeper.sampler.speed: there is no such setting"),
        ({"sampler": {"name": "best"}}, "hydra.sweeper.sampler.name='best': must be one of"),
        ({"pruner": {"name": "median", "n_startup_trials": 1}}, "hydra.sweeper.pruner.n_warmup_steps is missing"),
        ({"trials": 3}, "hydra.sweeper.trials: there is no such setting; did you mean 'hydra.sweeper.n_trials'?"),
    ],
)
def test_settings_that_cannot_work_are_named(changes, fault):
    with pytest.raises(ConfigError, match=re.escape(fault)):
        config.check_sweeper(WHOLE | changes)


def test_what_changes_no_trial_is_no_part_of_a_studys_name():
    words = ["hydra.sweeper.n_trials=3", "+hydra.job.env_set.TOKEN=secret", "tracking.figures=false", "~evaluation.x"]
    assert declaration.study_name("s", [*words, "+data.noise_seed=1", "hydra.sweeper.seed=1"]) == (
        "s +data.noise_seed=1 hydra.sweeper.seed=1"
    )


def test_long_names_are_cut_in_characters_and_in_bytes():
    words = [f"data.noise_seed={i}" for i in range(100)]
    name = declaration.study_name("s", words)
    assert len(name) == 200
    assert name != declaration.study_name("s", words[1:])
    assert declaration.folder_of("default").name == "default"
    long = declaration.folder_of("温" * 90).name
    assert len(long.encode()) <= 100
    assert long != declaration.folder_of("温" * 91).name
    assert declaration.folder_of("a/b").parent == declaration.folder_of("a_b").parent
    assert declaration.folder_of("a/b") != declaration.folder_of("a_b")


def test_the_folder_of_a_study_shows_no_password():
    named = declaration.folder_of("x://lab:PLANTED@h").name
    assert "PLANTED" not in named
    assert named != declaration.folder_of("x://lab:ANOTHER@h").name
