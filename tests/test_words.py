"""What a user types for Hydra: texts as typed, choices of texts, and every fault named."""

import random
import re
import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from lstm_lab import config, texts, words
from lstm_lab.config import ConfigError

TEXTS = [
    "温度", "T (degC)", "N [/cm3]", "p $a$_b", "x (1).csv", "a=b.csv", "~/x.csv", "5", "2024", "1e3", "12345678",
    "true", "it's", 'say "a"', "'a' 'b'", "'", "\\", "a\\'", "\\\\'", "a,b", "100%", "#", "{", "{a: b}", "a: b", " x",
    "x ", "", "nan", "choice(a,b)", "range(3)", "null ", "a ${", "${", "$", "_target_=x", "a\nb", "[", "!", "&", "*?|@",
    "-x", "<<", "...", "p [mbar]", "max. wv (m/s)", "wind: N/S", "0x10", "${x}", "a ${x.y} b", "[a] b", "C:\\x", ",",
]  # fmt: skip


def read(word):
    """The value that a config gets from an override, as Hydra and OmegaConf read it."""
    value = OverridesParser.create().parse_override(word).value()
    return OmegaConf.to_container(OmegaConf.create({"key": value}), resolve=True)["key"]


def taken(*arguments):
    """The values that Hydra gives to what was typed."""
    return [read(word) for word in words.for_hydra(arguments) if not word.startswith("-")]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("key", ["data.input", "hydra.sweeper.study_name", "++data.path", "data.decimal"])
def test_text_is_text(key, text):
    assert taken(f"{key}={text}") == [text]


def test_any_letters_are_text_whatever_stands_beside_what():
    letters = random.Random(0)
    for _ in range(200):
        text = "".join(letters.choices("\\'\"$ ,:=()[]{}%#~5a温", k=letters.randrange(1, 9)))
        if texts.unquoted(text) == text:
            assert taken(f"data.path={text}") == [text]
        assert taken(f"data.time={texts.write([text, 'x'])}") == [[text, "x"]]


def test_what_was_quoted_for_hydra_null_and_interpolations_mean_what_they_did(monkeypatch):
    monkeypatch.setenv("SERIES", "a (b)")
    typed = {"'T (degC)'": "T (degC)", '"5"': "5", "null": None, "${oc.env:SERIES}/x (1).csv": "a (b)/x (1).csv"}
    for word, value in typed.items():
        assert taken(f"data.input={word}") == [value]


def test_a_resumed_runs_file_is_named_whatever_data_the_defaults_have():
    assert words.for_hydra(["data.path=a (1).csv", "resume=last"]) == ["++data.path='a (1).csv'", "resume=last"]
    assert words.for_hydra(["data.path=a.csv"]) == ["data.path=a.csv"]


def test_the_texts_and_lists_are_those_of_the_config():
    named = {"data.path", "data.series", "data.decimal", "data.gaps", "tracking.experiment", "training.level", "resume"}
    assert named | words.LISTS < words.TEXTS
    assert {f"data.{key}" for key in ("input", "target", "time", "missing_values", "known", "calendar")} == words.LISTS
    assert not words.TEXTS & {"data.amplitudes", "data.horizon", "training.live", "hydra.sweeper.n_trials"}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("[T (degC),p (mbar)]", ["T (degC)", "p (mbar)"]),
        ("[N [/cm3],'a, b']", ["N [/cm3]", "a, b"]),
        ("[-999,none,n/a,null,1e5,0x10,true,~]", ["-999", "none", "n/a", "null", "1e5", "0x10", "true", "~"]),
        ("[${x},${oc.env:SERIES},\\${data.curve}]", ["${x}", "a (b)", "${data.curve}"]),
        ("[a]", ["a"]),
        ("[]", []),
        ('"[a]"', "[a]"),
    ],
)
@pytest.mark.parametrize("key", sorted(words.LISTS))
def test_a_list_of_texts_stands_in_brackets(typed, meant, key, monkeypatch):
    monkeypatch.setenv("SERIES", "a (b)")
    assert taken(f"{key}={typed}") == taken("-m", f"{key}={typed}") == [meant]
    assert taken(f"tracking.run_name={typed}") == [meant] or isinstance(meant, list)


@pytest.mark.parametrize(
    ("typed", "choices"),
    [
        ("a,b", ["a", "b"]),
        ("x (1).csv,y.csv", ["x (1).csv", "y.csv"]),
        ("T (a, b), 5", ["T (a, b)", "5"]),
        ("choice(a (b),true)", ["a (b)", "true"]),
        ("'a,b',null", ["a,b", None]),
        ("it's,x (", ["it's", "x ("]),
        ("a,[a,b]", ["a", ["a", "b"]]),
        ("[T (degC),p (mbar)],T (degC)", [["T (degC)", "p (mbar)"], "T (degC)"]),
        ("choice([a],'[b]')", [["a"], "[b]"]),
    ],
)
def test_with_m_commas_part_choices_that_are_texts(typed, choices):
    _, word = words.for_hydra(["-m", f"data.input={typed}"])
    separate = OverridesParser.create().parse_override(word).sweep_string_iterator()
    assert [read(f"data.input={choice}") for choice in separate] == choices


def test_hydras_own_texts_are_never_choices_nor_is_a_comma_alone():
    assert taken("-m", "sweeps", "hydra.sweeper.study_name=a,b") == ["default", "a,b"]
    assert taken("-m", "data.separator=,", "data.decimal=','") == [",", ","]


def test_flags_and_words_come_in_any_order(monkeypatch):
    arguments = ["training.seed=1", "--cfg", "job", "model=gru", "--resolve"]
    assert words.for_hydra(arguments) == ["--cfg", "job", "--resolve", "training.seed=1", "model=gru"]
    monkeypatch.setenv("COMP_LINE", "python src/train.py mod")
    assert words.for_hydra(["-sc", "query=bash"]) == ["-sc", "query=bash"]
    assert words.for_hydra(["-m", "model.cell_size=8,16", "sweeps", "-m"]) == [
        "-m", "-m", "model.cell_size=8,16", "sweeps=default",
    ]  # fmt: skip


def test_a_groups_file_may_be_called_by_a_number():
    assert taken("experiment=2024", "hydra/sweeper=5") == ["2024", "5"]
    assert taken("experiment=[smoke,long]") == [["smoke", "long"]]


@pytest.mark.parametrize("value", ["9" * 5000, "=5", "5)", "[1,2", "(", "'", "a, b]"])
def test_a_value_that_hydra_cannot_read_reaches_the_check_of_the_config(value):
    assert taken(f"model.cell_size={value}") == [value]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("sweep", "sweep: is no KEY=VALUE and no GROUP=CHOICE; did you mean '-m sweeps'?"),
        ("-m sweep", "sweep: is no KEY=VALUE and no GROUP=CHOICE; did you mean '-m sweeps'?"),
        ("-m sweep=grid", "sweep: there is no such setting; did you mean '-m sweeps=grid'?"),
        ("-m sweeps default", "default: did you mean '-m sweeps=default'?"),
        ("-m sweeps best", "best: did you mean '-m sweeps=best'?"),
        ("sweeps best", "sweeps: did you mean '-m sweeps=best'?"),
        ("default", "default: did you mean '-m sweeps=default'?"),
        ("model=gru sweeps=grid", "sweeps=grid: a study needs -m, as in `.* -m model=gru sweeps=grid`"),
        ("sweeps", "sweeps: takes one of best, carry, default, .*, as in `.* -m sweeps`"),
        ("carry", "carry: did you mean '-m sweeps=carry'?"),
        ("gru", "gru: did you mean 'model=gru'?"),
        ("GRU", "GRU: did you mean 'model=gru'?"),
        ("best", "best: did you mean 'experiment=best'?"),
        ("sunspots", "sunspots: did you mean 'experiment=sunspots'?"),
        ("no_carry", "no_carry: did you mean 'experiment=no_carry'?"),
        ("my.csv", "my.csv: did you mean 'data=csv data.path=my.csv'?"),
        ("data my.csv", "data: did you mean 'data=csv data.path=my.csv'?"),
        ("--data my.csv", "--data: there is no such flag; did you mean 'data=csv data.path=my.csv'?"),
        ("--data=my.csv", "--data=my.csv: there is no such flag; did you mean 'data=csv data.path=my.csv'?"),
        ("'model = gru'", "model : there is no such setting; did you mean 'model=gru'?"),
        ("'lr = 0.1'", "lr : there is no such setting; did you mean 'optimizer.learning_rate=0.1'?"),
        ("data=my.csv", "data=my.csv: did you mean 'data=csv data.path=my.csv'?"),
        ("model gru", "model: did you mean 'model=gru'?"),
        ("resume last", "resume: did you mean 'resume=last'?"),
        ("training.seed = 1", "training.seed: did you mean 'training.seed=1'?"),
        ("training.seed= 1", "training.seed=: did you mean 'training.seed=1'?"),
        ("seed 1", "seed: is no KEY=VALUE and no GROUP=CHOICE; did you mean 'training.seed=1'?"),
        ("seed", "seed: is no KEY=VALUE and no GROUP=CHOICE; did you mean 'training.seed=...'?"),
        ("model", "model: takes one of gru, long_gru, long_lstm, lstm, simple_rnn, as in `.* model=simple_rnn`"),
        ("training.steps", "training.steps: a value is missing, as in training.steps=..."),
        ("traning.steps", "traning.steps: is no KEY=VALUE and no GROUP=CHOICE; did you mean 'training.steps=...'?"),
        ("=5", "=5: the key is missing, as in training.seed=1"),
        ("~", "~: the key is missing, as in training.seed=1"),
        ("'a b=3'", "a b: there is no such setting; allowed: data, "),
        ("training.seed=0,1,2", "training.seed=0,1,2: several values need -m, as in `.* -m training.seed=0,1,2`"),
        ("'training.seed=range(0,2)'", "training.seed=range(0,2): several values need -m, as in `"),
        (
            "model=gru 'training.seed=range(0,2)'",
            "training.seed=range(0,2): several values need -m, as in `.* -m model=gru 'training.seed=range(0,2)'`",
        ),
        ("data.amplitudes=1,2", "data.amplitudes=1,2: a list stands in brackets, as in data.amplitudes=[1,2]; several"),
        ("data.input=[a],[b]", "data.input=[a],[b]: several lists need -m, as in `.* -m 'data.input=[a],[b]'`"),
        ("model=null", "model=null: takes one of gru, long_gru, long_lstm, lstm, simple_rnn"),
        ("experiment=null", "experiment=null: takes one of adding, best, co2, "),
        ("sweeps=null", "sweeps=null: takes one of best, carry, "),
        ("model=[gru,lstm]", "model=[gru,lstm]: takes one of gru, long_gru, long_lstm, lstm, simple_rnn"),
        ("hydra/launcher=null", "hydra/launcher=null: takes one of its choices"),
        ("-m sweeps hydra/sweeper=basic", "hydra/sweeper=basic: every sweep is an Optuna study here"),
        ("++model=gru", "++model=gru: model is there already; leave out the ++"),
        ("data@x=csv", "data@x=csv: a group has one place in the config; leave out the @x"),
        ("@x=csv", "@x=csv: the key is missing"),
        ("~take_over", "~take_over: take_over cannot be taken out"),
        ("take_over=5", "take_over=5: must be true or false"),
        ("resume", "resume: a value is missing, as in resume=..."),
        ("-model", "--multirun/-m: takes no value, and has 'odel' right behind it"),
        ("--config-dir /nowhere", "--config-dir /nowhere: there is no such folder"),
        ("--cfg job --package modl", "--package modl: there is no such setting; did you mean 'model'?"),
        ("-sc", "-sc: goes with (un)install= and bash, fish or zsh"),
        ("-sc install=ksh", "-sc install=ksh: goes with (un)install= and bash, fish or zsh"),
        ("-sc query=bash", "-sc query=bash: goes with (un)install= and bash, fish or zsh"),
        ("+training.seed=1", "+training.seed=1: training.seed is there already; leave out the +"),
        ("training.seed=1 training.seed=2", "training.seed=2: training.seed is given twice"),
        ("model._target_=x", "model._target_=x: no _target_ is taken"),
        ("'model={_target_: x}'", "model={_target_: x}: no _target_ is taken"),
        ("-m hydra.sweeper=null", "hydra.sweeper=null: takes a setting at a time, as in hydra.sweeper.KEY=VALUE"),
        ("--foo", "--foo: there is no such flag; allowed: --help, -m, --cfg job, "),
        ("-x=1", "-x=1: there is no such flag; allowed: "),
        ("--model=gru", "--model=gru: there is no such flag; did you mean 'model=gru'?"),
        ("--training.seed 1", "--training.seed: there is no such flag; did you mean 'training.seed=1'?"),
        ("--training.seed --foo", "--training.seed: there is no such flag; did you mean 'training.seed=...'?"),
        ("--batch-size 32", "--batch-size: there is no such flag; did you mean 'data.batch_size=32'?"),
        ("-lr=0.1", "-lr=0.1: there is no such flag; did you mean 'optimizer.learning_rate=0.1'?"),
        ("--live", "--live: there is no such flag; did you mean 'training.live=true'?"),
        ("--sweep", "--sweep: there is no such flag; did you mean '-m sweeps'?"),
        ("--epochs 3", "--epochs: there is no such flag; the length of a run is told in steps, a batch each, as in"),
        ("--cfg", "--cfg/-c: expected one argument"),
        ("--cfg run", "--cfg/-c: invalid choice: 'run'"),
        ("--cfg job -m", "--multirun and --cfg: only one of them can be meant; leave the other out"),
        ("--run --info all", "--run and --info: only one of them can be meant"),
        ("--resolve", "--resolve: goes with what is to be shown, as in --cfg job --resolve"),
        ("--package model", "--package model: goes with --cfg, as in --cfg job --package model"),
        ("--experimental-rerun x", "--experimental-rerun: is not taken, since it unpickles"),
        ("data.path=\udcff", r"data.path=\udcff: is not UTF-8"),
    ],
)
def test_a_faulty_word_is_named_with_what_to_type(typed, said):
    pattern = ".*".join(map(re.escape, said.split(".*")))
    with pytest.raises(ConfigError, match=f"^{pattern}"):
        words.for_hydra(shlex.split(typed))


NEAR = {
    "lr=0.1": "optimizer.learning_rate=0.1",
    "optimizer.lr=0.1": "optimizer.learning_rate=0.1",
    "learning_rate=0.1": "optimizer.learning_rate=0.1",
    "bs=8": "data.batch_size=8",
    "batch=8": "data.batch_size=8",
    "training.batch_size=8": "data.batch_size=8",
    "hidden=32": "model.cell_size=32",
    "hidden_size=32": "model.cell_size=32",
    "units=32": "model.cell_size=32",
    "cell_size=32": "model.cell_size=32",
    "window=40": "data.time_steps=40",
    "seq_len=40": "data.time_steps=40",
    "time_steps=40": "data.time_steps=40",
    "steps=40": "training.steps=40",
    "Seed=1": "training.seed=1",
    "seed=0,1,2": "-m training.seed=0,1,2",
    "-m seed=0,1,2": "training.seed=0,1,2",
    "carry=false": "training.carry_state=false",
    "cell=gru": "model=gru",
    "path=a b.csv": "data.path=a b.csv",
    "study=grid": "-m sweeps=grid",
    "n_trials=4": "hydra.sweeper.n_trials=4",
}


@pytest.mark.parametrize("typed", NEAR)
def test_the_last_part_of_a_key_or_another_programs_name_for_it_gets_what_to_type(typed):
    flags, word = typed.split()[:-1] if typed.startswith("-m") else [], typed.removeprefix("-m ")
    with pytest.raises(ConfigError) as refused:
        words.for_hydra([*flags, word])
    key = word.partition("=")[0]
    assert str(refused.value) == f"{key}: there is no such setting; did you mean '{NEAR[typed]}'?"


def test_every_name_of_another_program_is_none_here_and_leads_to_one():
    right = {*words.known_keys(), *words.GROUPS, "-m sweeps", "data=csv data.path"}
    assert {key for key in config.NICKNAMES.values() if not key.startswith("hydra.")} <= right
    assert not words.known_keys() & (config.NICKNAMES.keys() | config.EPOCHS)
    for key in config.EPOCHS:
        with pytest.raises(ConfigError, match=f"^{key}: the length of a run is told in steps, a batch each, as in"):
            words.for_hydra([f"{key}=5"])


def test_a_study_is_shown_without_m():
    assert words.for_hydra(["sweeps=grid", "--cfg", "job"]) == ["--cfg", "job", "sweeps=grid"]
