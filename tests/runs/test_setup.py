"""A config checked with its file at hand."""

import pytest

from helpers import ROOT, train
from lstm_lab.config import ConfigError
from lstm_lab.runs import setup
from test_config import composed

COLUMNS = "name a column of my.csv: date, temperature, ducks"


@pytest.fixture
def my(tmp_path):
    (tmp_path / "my.csv").write_text("date, temperature, ducks\n1,2,3\n")
    return tmp_path / "my.csv"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), f"data.input is missing: {COLUMNS}"),
        (("data.target=ducks",), f"data.input is missing: {COLUMNS}"),
        (
            ("data.input=ducks",),
            f"data: needs data.target=COLUMN, .* got target=None and horizon=None: {COLUMNS}",
        ),
        (("data.horizon=0",), f"data.input is missing: {COLUMNS}\ndata.horizon=0: must be greater than or equal to 1"),
        (
            ("data.input=a", "data.target=b"),
            ".*my.csv, line 1: there is no column 'a'; there is date, temp.*, ducks",
        ),
    ],
)
def test_a_column_that_is_missing_is_named_from_those_of_the_file(words, said, my):
    values = composed("data=csv", f"data.path={my}", *words)
    with pytest.raises(ConfigError, match=f"^{said}$"):
        setup.make_source(setup.checked(values))


def test_without_the_file_or_where_something_else_is_wrong_the_message_is_the_usual_one(my):
    usual = r"^data\.input is missing: it has no default, so name one, as in data\.input=\.\.\.$"
    with pytest.raises(ConfigError, match=usual):
        setup.checked(composed("data=csv", f"data.path={my}.gone"))
    with pytest.raises(ConfigError, match=r"^data\.held_out=1: must be less than 1$"):
        setup.checked(composed("data=csv", f"data.path={my}", "data.input=ducks", "data.target=b", "data.held_out=1"))


@pytest.mark.parametrize("flags", [(), ("-m", "training.seed=0,1")])
def test_the_command_names_them_for_a_run_and_for_a_sweep(flags, my):
    done = train(ROOT, *flags, "data=csv", f"data.path={my.name}", cwd=my.parent)
    assert (done.returncode, done.stderr) == (2, f"data.input is missing: {COLUMNS}\n")
