from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import OmegaConf

from lstm_lab import composing, config

CONF = Path(__file__).resolve().parents[1] / "conf"


def composed(*overrides: str) -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        values: Any = OmegaConf.to_container(compose("train", list(overrides)), resolve=True)
    return {key: value for key, value in values.items() if key not in config.COMMAND}


def test_the_default_config_is_the_tutorials_recipe():
    recipe = composed()
    assert recipe["model"] == {
        "cell": "lstm",
        "cell_size": 10,
        "forget_bias": 1.0,
        "memory_steps": 1,
        "recurrent_initializer": "glorot",
        "hidden_stddev": 1.0,
        "hidden_bias": 0.1,
    }
    assert recipe["data"] == {
        "curve": "sine_to_cosine",
        "batch_size": 50,
        "time_steps": 20,
        "sample_spacing": 1 / (10 * 3.141592653589793),
    }
    assert recipe["optimizer"] == {
        "name": "adam",
        "learning_rate": 0.006,
        "warmup_steps": 0,
        "decay_steps": None,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-8,
        "clipnorm": None,
    }
    training = {key: recipe["training"][key] for key in ("steps", "carry_state", "truncation_steps")}
    assert training == {"steps": 200, "carry_state": True, "truncation_steps": None}
    assert config.check(composed()).training.printed_every == 20


@pytest.mark.parametrize("file", sorted(CONF.glob("*/*.yaml")), ids=lambda file: f"{file.parent.name}={file.stem}")
def test_every_choice_is_valid_and_opens_with_a_comment_and_its_command(file):
    needed = {
        "csv": ["data.path=my.csv", "data.input=a", "data.target=b"],
        "papers": ["data=adding", "training.until=solved"],
    }
    config.check(composed(f"{file.parent.name}={file.stem}", *needed.get(file.stem, [])))
    comment = [line for line in file.read_text().splitlines() if line.startswith("# ")]
    assert file.read_text().startswith(comment[0])
    assert any(line.startswith("# python src/train.py") for line in comment)


@pytest.mark.parametrize(("steps", "every"), [(40, 1), (8, 3), (15, 3), (10, 20)])
def test_a_truncation_must_fit_the_window(steps, every):
    values = composed(f"training.truncation_steps={steps}", f"training.truncation_every={every}")
    with pytest.raises(config.ConfigError, match=f"^training.truncation_steps={steps} .*data.time_steps=20"):
        config.check(values)


FAULTS = {
    "model.cell_size=0": "model.cell_size=0: must be greater than or equal to 1",
    "model.cell_size=-3": "model.cell_size=-3: must be greater than or equal to 1",
    "model.cell_size=abc": "model.cell_size='abc': must be a valid integer",
    "model.cell_size=2.5": "model.cell_size=2.5: must be a valid integer",
    "model.cell_size=true": "model.cell_size=True: must be a valid integer",
    "model.cell_size=null": "model.cell_size=None: must be a valid integer",
    "optimizer.learning_rate=nan": "optimizer.learning_rate=nan: must be a finite number",
    "optimizer.learning_rate=inf": "optimizer.learning_rate=inf: must be a finite number",
    "optimizer.learning_rate=0": "optimizer.learning_rate=0: must be greater than 0",
    "optimizer.learning_rate=-1": "optimizer.learning_rate=-1: must be greater than 0",
    "optimizer.beta_1=1": "optimizer.beta_1=1: must be less than 1",
    "optimizer.warmup_steps=5": "optimizer: warmup_steps=5 needs decay_steps",
    "training.truncation_steps=5": "training.truncation_steps=5 and training.truncation_every=None: must be",
    "model.recurrent_initializer=he": "model.recurrent_initializer='he': must be 'glorot' or 'orthogonal'",
    "training.steps=0": "training.steps=0: must be greater than or equal to 1",
    "training.carry_state=maybe": "training.carry_state='maybe': must be a valid boolean",
    "tracking.experiment=Default": "tracking.experiment='Default': must be another name than 'Default', which belongs",
    "tracking.run_name=../x": "tracking.run_name='../x': must be a name of printable characters, without / and",
    "tracking.run_name=5": "tracking.run_name=5: must be text; in a YAML file quotes",
    "training.steps=99999999999999999999": "training.steps=99999999999999999999: must be less than or equal to",
    "tracking.run_name='  '": "tracking.run_name='  ': must be a name of printable characters",
    "~model.cell": "model.cell is missing: must be one of 'lstm', 'gru', 'simple_rnn'",
    "+experiment.steps=3": "experiment: the preset's file must hold keys and values below the line '# @pack",
    "tracking.run_name=''": "tracking.run_name='': must have at least 1 character",
    "optimizer.name=adamw": "optimizer.name='adamw': must be one of 'adam', 'nadam', 'sgd', 'rmsprop'",
    "model.cell=gru": "model.forget_bias: not a setting of the chosen model; it belongs to lstm, as in model=lstm",
    "~model.cell_size": "model.cell_size is missing: every setting needs a value",
    "+model.cel_size=3": "model.cel_size: there is no such setting; did you mean 'model.cell_size'?",
    "+optimizer._target_=os.system": "optimizer._target_: there is no such setting; allowed: optimizer.beta_1",
}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["training.early_stopping=5"], "training.early_stopping=5: needs samples for validation, a file with data."),
        (["training.keep=best"], "validation above 0; the curve sine_to_cosine has none"),
        (["training.validate_every=10", "training.keep=best"], "training.validate_every=10 and training.keep=best: n"),
        (["experiment=sunspots", "data.validation=0", "training.keep=best"], "above 0; data.validation=0"),
        (
            ["experiment=sunspots", "training.keep=best", "training.validate_every=201"],
            "training.validate_every=201 and training.keep=best: validate_every must be at most training.steps=200",
        ),
        (["training.keep=first"], "training.keep='first': must be 'best' or 'last'"),
        (
            ["+training.patience=3"],
            "training.patience: there is no such setting; did you mean 'training.early_stopping'",
        ),
        (["training.cost=mse"], "training.cost='mse': must be 'squared', 'absolute' or 'huber'"),
    ],
)
def test_what_cannot_be_judged_is_refused(words, said):
    with pytest.raises(config.ConfigError) as refused:
        config.check(composed(*words))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


SOLVED = "data.criteria.solved"
TASK_FAULTS = [
    (
        ["data=adding", "data.shortest=111"],
        "data: shortest=111 and time_steps=110: must be 22 at least, and no sequence",
    ),
    (["data=multiplication", "data.shortest=21"], "data: shortest=21 and time_steps=110: must be 22 at least"),
    (["data=two_sequences", "data.shortest=3"], "data: shortest=3 and time_steps=110: must be 4 at least"),
    (["data=temporal_order", "data.shortest=60"], "data: shortest=60 and time_steps=110: must be 61 at least"),
    (["data=two_sequences", "data.class_targets=[1.0]"], "data.class_targets=[1.0]: must have at least 2 items"),
    (["data=long_lag", "data.lag=108"], "data: time_steps=110: must be at least lag + 3 = 111"),
    *(
        (
            ["data=temporal_order", f"data.places={places}"],
            f"data: places={places}: must be [first,last] each, one after",
        )
        for places in ("[[50, 60], [10, 20]]", "[[10, 20], [20, 30]]", "[[20, 10]]", "[[1, 5]]")
    ),
    (["data=temporal_order", "data.places=[[2]]"], "data.places.0=[2]: must have at least 2 items"),
    (
        ["data=embedded_reber", "data.time_steps=19"],
        "data: time_steps=19: must be at least 20, or there are too few st",
    ),
    (["data=embedded_reber", "data.strings=10001"], "data.strings=10001: must be less than or equal to 10000"),
    (["data=embedded_reber", "data.within=0.2"], "data.within=0.2: must be None"),
    (["data=continual_reber", "data.within=0.2"], "data.within=0.2: must be None"),
    (["data=adding", "data.within=null"], "data.within=None: must be a valid number"),
    (
        ["data=embedded_reber", f"{SOLVED}.among=recent"],
        "data: criteria.solved: symbols have no errors: must be among=n",
    ),
    (
        ["data=continual_reber", f"{SOLVED}.mean_error=0.1"],
        "data: criteria.solved: symbols have no errors: must be amo",
    ),
    (["data=adding", f"{SOLVED}.among=old"], "data.criteria.solved.among='old': must be 'recent' or 'new'"),
    (["data=adding", "data.criteria=null"], "data.criteria=None: must be a valid dictionary"),
    (["experiment=adding", "training.until=ST1"], "training.until='ST1': must be one of solved"),
    (["experiment=adding", "data=two_sequences"], "training.until='solved': must be one of ST1, ST2"),
    (["training.until=solved"], "training.until='solved': sine_to_cosine has no criteria"),
    (["experiment=sunspots", "training.until=solved"], "training.until='solved': sunspots has no criteria"),
    *(
        (
            ["experiment=adding", f"training.{setting}"],
            "training.until='solved': goes with neither early_stopping nor ke",
        )
        for setting in ("keep=best", "early_stopping=3")
    ),
    (["data=adding", "training.keep=best"], "training.keep=best: needs samples for validation, a file with"),
]


@pytest.mark.parametrize(("words", "said"), TASK_FAULTS, ids=lambda given: given[-1] if isinstance(given, list) else "")
def test_a_fault_of_a_task_is_one_line_that_tells_what_is_allowed(words, said):
    with pytest.raises(config.ConfigError) as refused:
        config.check(composed(*words))
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)


def test_recent_errors_are_asked_for_where_a_criterion_is_about_them():
    def asked(*words):
        return config.check(composed("experiment=adding", *words)).counts_recent

    assert asked()
    assert not asked("training.until=null", "training.validate_every=null")
    assert not asked("data=two_sequences", "training.until=ST1")
    assert not config.check(composed()).counts_recent


def test_a_run_is_validated_at_a_tenth_of_its_steps_whatever_is_printed():
    def every(*words):
        return config.check(composed("experiment=sunspots", *words)).training.validated_every

    assert [
        every(),
        every("training.steps=7"),
        every("training.report_every=3"),
        every("training.validate_every=9"),
    ] == [*(20, 1, 20, 9)]


@pytest.mark.parametrize("override", FAULTS)
def test_a_fault_is_named_with_the_value_given_and_what_is_allowed(override):
    with pytest.raises(config.ConfigError) as refused:
        config.check(composed(override))
    assert str(refused.value).startswith(FAULTS[override])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "data.path is missing: it has no default, so name one, as in data.path=..."),
        (("data.path=''", "data.input=a"), "data.path='': must have at least 1 character"),
        (("data.path='a\0b'", "data.input=a"), "data.path='a\\x00b': must be a path, without the character NUL"),
        (("data.path=x.csv", "data.input=a"), "data: needs data.target=COLUMN, data.horizon=SAMPLES (then"),
        (("data.path=x.csv", "data.input=a", "data.horizon=0"), "data.horizon=0: must be greater than or equal to 1"),
        (("data.path=x.csv", "data.input=5", "data.target=b"), "data.input=5: must be text, or several as in [a,b]"),
        (
            ("data.path=x.csv", "data.input=a", "data.target=b", "data.time=t", "data.calendar=hour"),
            "data.calendar='hour': must be a list in brackets, as in data.calendar=[hour]",
        ),
        (
            ("data.path=x.csv", "data.input=a", "data.target=b", "data.held_out=1"),
            "data.held_out=1: must be less than 1",
        ),
    ],
)
def test_a_series_needs_its_file_and_columns(words, said):
    with pytest.raises(config.ConfigError) as refused:
        config.check(composed("data=csv", *words))
    assert str(refused.value).startswith(said)


A_COLUMN = "must be the name of a column, or several as in [a,b]"
A_TEXT = "must be text, or several as in [a,b]; in a YAML file quotes make a number text"
TABLE_FAULTS = [
    ("input", None, ".input is missing: it has no default, so name one, as in data.input=..."),
    ("input", "", f".input='': {A_COLUMN}"),
    ("target", [], f".target=[]: {A_COLUMN}"),
    ("time", ["a", " "], f".time=['a', ' ']: {A_COLUMN}"),
    ("input", ["a", "a "], ".input=['a', 'a ']: must name each column once"),
    ("input", 3.5, f".input=3.5: {A_TEXT}"),
    ("target", ["a", 1], f".target=['a', 1]: {A_TEXT}"),
    ("missing_values", [-999], f".missing_values=[-999]: {A_TEXT}"),
    ("series", "", ".series='': must have at least 1 character"),
    ("comment", "", ".comment='': must have at least 1 character"),
    ("separator", "ab", ".separator='ab': must be one character, or tab, or space"),
    ("separator", "\n", ".separator='\\n': must be one character, or tab, or space"),
    ("separator", "é", ".separator='é': must be one character, or tab, or space"),
    ("comment", " ", ".comment=' ': must be what a line begins with, such as #"),
    ("comment", '"', ".comment='\"': must be what a line begins with, such as #"),
    ("decimal", ";", ".decimal=';': must be '.' or ','"),
    ("thousands", "0", ".thousands='0': must be one character that parts digits, such as , or . or '"),
    ("thousands", ",", ": thousands=',' and decimal=',': must be different characters"),
    *(("encoding", name, f".encoding={name!r}: must be an encoding that Python") for name in ("x", "hex", "\0")),
]


@pytest.mark.parametrize(("key", "value", "said"), TABLE_FAULTS)
def test_how_a_table_is_written_is_checked(key, value, said):
    values = composed("data=csv", "data.path=x.csv", "data.input=a", "data.horizon=1", "data.decimal=','")
    values["data"][key] = value
    with pytest.raises(config.ConfigError) as refused:
        config.check(values)
    assert str(refused.value).startswith(f"data{said}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("input", ["a"], "a"),
        ("time", ["a", "b"], ["a", "b"]),
        ("missing_values", "-999", ["-999"]),
        ("missing_values", [], []),
        *(("separator", tab, "tab") for tab in ("tab", "\t", r"\t")),
        ("separator", "space", "space"),
        ("separator", ",", ","),
        ("thousands", "'", "'"),
        ("encoding", "GB18030", "GB18030"),
    ],
)
def test_a_table_is_described_in_one_way(key, value, kept):
    values = composed("data=csv", "data.path=x.csv", "data.input=a", "data.horizon=1")
    values["data"][key] = value
    assert config.check(values).model_dump()["data"][key] == kept


def test_every_fault_gets_a_line():
    with pytest.raises(config.ConfigError) as refused:
        config.check(composed("model.cell_size=0", "training.steps=x", "data.time_steps=abc"))
    assert [line.split("=")[0] for line in str(refused.value).splitlines()] == [
        "model.cell_size",
        "data.time_steps",
        "training.steps",
    ]


def test_each_sine_needs_amplitude_and_frequency():
    with pytest.raises(
        config.ConfigError, match=r"data: amplitudes and frequencies must have the same length, got \[1"
    ):
        config.check(composed("data=noisy_sines_to_derivative", "data.amplitudes=[1.0]"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.moments=[1,1,2]"], "data: moments=[1.0, 1.0, 2.0]: each must be larger than the one before"),
        (
            ["data.moments=[1,2,3.1]"],
            "data: moments=[1.0, 2.0, 3.1]: each must be larger than the one before, and",
        ),
        (["data.moments=[1,2]"], "data.moments=[1, 2]: must have at least 3 items"),
        (["data.nudge=0.0009"], "data: nudge=0.0009: must be at least a thousandth of spin=1.0"),
    ],
)
def test_a_tumbling_body_is_one_that_there_can_be(words, said):
    with pytest.raises(config.ConfigError) as refused:
        config.check(composed("data=tumbling_body", *words))
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("message", "options", "explained"),
    [
        ("Could not override 'model.cel_size'.\nTo append", None, "did you mean 'model.cell_size'?"),
        ("Could not override 'cell_size'.\nTo append", None, "did you mean 'model.cell_size'?"),
        ("Could not override 'modle'.\nTo append", None, "did you mean 'model'?"),
        (
            "Could not override 'optimizer.speed'.",
            None,
            "optimizer.speed: there is no such setting; allowed: optimizer.beta_1",
        ),
        ("Could not override 'data.amplitudes'.", None, "it belongs to noisy_sines_to_derivative"),
        (
            "In 'train': Could not find 'model/lstmm'\n\nAvail",
            ["gru", "lstm"],
            "model=lstmm: there is no such choice; did you mean 'lstm'?",
        ),
        (
            "In 'train': Could not find 'model/x'\n\nAvail",
            ["gru", "lstm"],
            "model=x: there is no such choice; allowed: gru, lstm",
        ),
        ("In 'train': Could not load 'experiment/x'.", None, "experiment=x: there is no such choice"),
        (
            "In 'h': Could not find 'hydra/sweeper/sampler/x'",
            ["tpe"],
            "hydra/sweeper/sampler=x: there is no such choice",
        ),
        ("Could not find 'model//etc/passwd'\n", ["gru"], "model=/etc/passwd: there is no such choice; allowed: gru"),
        (
            "no viable alternative at input '${'\n full_key: data.curve",
            None,
            "data.curve: is no interpolation, such as",
        ),
        ("In 'train': ValidationError raised:\ninvalid value 5", None, "ValidationError raised: invalid value 5"),
        ("Cannot find primary config 'x'. Check", None, "--config-name x: there is no x.yaml in conf/"),
        (
            "KeyError raised while resolving interpolation: \"Environment variable 'X' not found\"\n full_key: a.b",
            None,
            "a.b: Environment variable 'X' not found",
        ),
        ("Could not delete from config. 'training.sed' does not exist.", None, "did you mean 'training.seed'?"),
        (
            "Error merging override hydra.verbose=[\nValue '[' is no boolean\n",
            None,
            "hydra.verbose=[: Value '[' is no boolean",
        ),
    ],
)
def test_what_hydra_says_becomes_one_line(message, options, explained):
    line = composing.explain_composition(message, options)
    assert explained in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("model.cel_size", "; did you mean 'model.cell_size'?"),
        ("data.seed", "; did you mean 'training.seed'?"),
        ("stepss", "; did you mean 'training.steps'?"),
        ("Steps", "; did you mean 'training.steps'?"),
        ("traning", "; did you mean 'training'?"),
        ("step.count", "; allowed: training"),
        ("fast", "; allowed: training"),
    ],
)
def test_the_nearest_name_is_told_or_those_that_there_are(name, near):
    assert config.suggest(name, ["training", "training.steps", "training.seed", "model.cell_size"]) == near


def test_a_checked_config_survives_the_round_trip_through_yaml():
    checked = config.check(composed("model=gru", "data=noisy_sines_to_derivative", "optimizer=sgd"))
    assert config.check(yaml.safe_load(yaml.safe_dump(checked.model_dump()))) == checked


def test_flatten_gives_dotted_keys():
    assert dict(config.flatten({"a": {"b": 1, "c": {"d": None}}, "e": [2]})) == {"a.b": 1, "a.c.d": None, "e": [2]}


def test_help_lists_every_choice():
    text = composing.describe_choices(CONF.parent)
    files = [*CONF.glob("*/*.yaml"), *(CONF.parent / "sweeps").glob("*.yaml")]
    assert all(file.stem in text for file in files)
    assert "gru                         A gated recurrent unit in the LSTM's place" in text


CHOSEN = ["model=gru", "model.cell_size=7", "hydra.sweeper.study_name=x", "+data.more=[1,a]", "~data.more", "seeds=3"]


def test_a_trials_config_is_the_one_that_hydra_composes_from_all_its_files():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        own = GlobalHydra.instance().config_loader()
        master = own.load_configuration("train", ["hydra.sweeper.n_trials=5"], RunMode.MULTIRUN)
        quick = composing.LoaderOfTrials(own)
        for words in ([], ["model.cell_size=5", "data.batch_size=3"], CHOSEN, ["model.cell_size=6"], CHOSEN):
            given, expected = (loader.load_sweep_config(master, words) for loader in (quick, own))
            assert OmegaConf.to_container(given) == OmegaConf.to_container(expected), words
        with pytest.raises(ConfigCompositionException, match="Could not override"):
            quick.load_sweep_config(master, ["model.size=1"])
    assert len(quick.chosen) == 2
