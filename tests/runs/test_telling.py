"""What a run prints of names that a user chose."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from lstm_lab import config
from lstm_lab.runs import telling
from test_config import composed


@pytest.mark.parametrize("name", ["N [/cm3]", "[bold]x[/]", ":cat:", "[", "a\\", "{0}", "p $a$", "温度"])
def test_a_name_is_printed_as_it_is(name):
    values = composed("data=csv", "data.path=x.csv", "data.horizon=1", "data.input=a")
    values["data"] |= {"input": name, "path": f"{name}.csv"}
    console = Console(file=io.StringIO(), width=300)
    console.print(telling.describe(config.check(values)))
    assert f"csv: batch_size 8, time_steps 20, path {name}.csv, input {name}, horizon 1" in console.file.getvalue()


def test_a_name_from_a_store_does_not_steer_the_terminal():
    values = composed("data=csv", "data.path=x.csv", "data.horizon=1", "data.input=a")
    values["data"] |= {"input": "\x1b]8;;x\x07\r\n\u202e", "path": "\x9b1m.csv"}
    console = Console(file=io.StringIO(), width=300)
    console.print(telling.describe(config.check(values)))
    assert "input \ufffd]8;;x\ufffd\ufffd\ufffd\ufffd, " in console.file.getvalue()
    assert all(line.isprintable() for line in console.file.getvalue().splitlines())


def test_a_files_name_is_no_link_on_the_runs_page():
    values = composed("data=csv", "data.path=x.csv", "data.horizon=1", "data.input=a")
    values["data"] |= {"path": "![a](b) <i>*c*\n`d` e_f.csv"}
    result = SimpleNamespace(costs=[2.0, 1.0], metrics={"mean_last_20_cost": 1.0}, status="FAILED", reason="[x](y)")
    told = telling.tell(config.check(values), result)
    assert r" on \!\[a\](b) \<i\>\*c\*_\`d\` e_f (batches of " in told
    assert r"It is FAILED: \[x\](y); until" in told
