"""What a run is called."""

import pytest

from lstm_lab import config
from lstm_lab.runs import naming
from test_config import composed


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ((), "default"),
        (("experiment=no_carry",), "no_carry"),
        (("model=gru", "data.time_steps=40"), "gru time_steps=40"),
        (("optimizer.learning_rate=0.01", "training.seed=1"), "lr=0.01 seed=1"),
        (("training.seed=1", "experiment=best"), "best seed=1"),
        (
            ("data=csv", "data.path=~/a b/ducks.csv", "data.input=T (°C)", "data.horizon=7"),
            "ducks input=T (°C) horizon=7",
        ),
        (("data.input='a/b'", "+data=sunspots"), "sunspots input=a_b"),
        (("training.report_every=5", "tracking.figures=false", "hydra.run.dir=/x", "evaluation.windows=9"), "default"),
        (("model=gru,lstm", "training.seed=range(0,3)"), "gru,lstm seed=range(0,3)"),
        (("data.input=\x1b[1m",), "input=_[1m"),
        (("data.input=[T (°C),'a, b']", "data.time=[Date,Time]"), "input=[T (°C),a, b] time=[Date,Time]"),
        (("data.input=['T (°C)','p'],b",), "input=[T (°C),p],b"),
        ((f"data.input=[{'abcd,' * 20}x]", "training.seed=1"), f"input=[{'abcd,' * 7}a... seed=1"),
    ],
)
def test_a_run_is_named_after_what_was_typed(typed, name):
    assert naming.name_of(typed) == name
    config.plain_name(name)  # as a name in the config must be


def test_a_long_name_is_cut_and_a_secret_is_none():
    assert naming.name_of([f"data.path={'温' * 300}.csv"]) == "温" * 97 + "..."
    assert "hunter2" not in naming.name_of(["data.input=postgresql://me:hunter2@host/x"])


def test_what_is_searched_is_said_in_few_letters():
    params = {"model.cell_size": 20, "optimizer.learning_rate": 0.0034567, "training.carry_state": False}
    assert naming.short(params) == "cell_size=20 lr=0.003457 carry_state=False"


@pytest.mark.parametrize(
    ("path", "experiment"),
    [
        ("a/ducks.csv", "ducks"),
        ("Default.csv", "Default_"),
        (" .csv", " _"),
        ("a\\b.csv", "a_b"),
        ("x" * 300, "x" * 200),
    ],
)
def test_each_file_has_an_experiment_that_its_name_gives(path, experiment):
    values = composed("data=csv", "data.path=x.csv", "data.horizon=1", "data.input=a")
    values["data"] |= {"path": path}
    assert config.check(values).experiment == experiment
    values["tracking"] |= {"experiment": "mine"}
    assert config.check(values).experiment == "mine"
