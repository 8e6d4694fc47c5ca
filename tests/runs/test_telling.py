"""What a run prints of names that a user chose."""

import io
from pathlib import Path
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


def ended(monkeypatch, width, metrics, words=(), store="sqlite:///x.db"):
    """What is printed at the end of a run, on a terminal of that many columns."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setattr(telling.store, "PORT_FILE", Path("none"))
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    url = telling.store.address(f"#/experiments/12/runs/{'1' * 32}?workflowType=machine_learning")
    tracked = SimpleNamespace(
        name="gru " * 30, contradicted=None, url=lambda: url, experiment_id="12", config=config.check(composed(*words))
    )
    result = SimpleNamespace(run_id="1" * 32, status="FINISHED", reason="", metrics={**COSTS, **metrics})
    telling.report(console, tracked, result)
    return console.file.getvalue().splitlines()


COSTS = {"final_cost": 1.2345e-5, "mean_last_20_cost": 1.2345e-5, "steps_per_second": 12345.0}
BASELINES = {"baselines/predict_zero_mse": 1.0, "baselines/least_squares_mse": 1.234e-10}
LINK = "http://127.0.0.1:5000/#/experiments/12/runs"


def test_a_run_ends_in_four_lines_that_fit_into_80_columns(monkeypatch):
    found = {"evaluation/mse": 1.2345e-5, "validation/mse": 1.2345e-5, **BASELINES}
    lines = ended(monkeypatch, 80, found)
    assert lines[:3] == [
        "cost 1.234e-05, mean of the last 20 1.234e-05 (12,345 steps/s)",
        "held-out error 1.23e-05, validation 1.23e-05; baseline 1.23e-10 (least squares)",
        f"{LINK}?workflowType=machine_learning",
    ]
    assert max(map(len, lines[:3])) <= 80
    assert lines[3].startswith("run gru gru ")
    assert "(11111111); to look: make" in lines[3]
    assert len(lines) == 4


CSV = ("data=csv", "data.path=x.csv", "data.horizon=1", "data.input=a")
TESTED = {"evaluation/mse": 1.0, "backtest/rmse": 2.0, "backtest/mase": 0.98765, "backtest/seasonal_naive_mase": 1.2}


@pytest.mark.parametrize(
    ("metrics", "words", "said"),
    [
        (TESTED | {"backtest/coverage": 0.892}, (), "MASE 0.988 (seasonal naive 1.2); 90 % intervals hold 89.2%"),
        (TESTED, (), "MASE 0.988 (seasonal naive 1.2); no 90 % intervals: too few samples for validation"),
        (TESTED, ("evaluation.interval=null",), "MASE 0.988 (seasonal naive 1.2)"),
        ({"evaluation/mse": 1.0, "backtest/rmse": 2.0}, ("evaluation.interval=null",), "RMSE 2"),
    ],
)
def test_how_good_forecasts_are_is_told_in_a_line(metrics, words, said, monkeypatch):
    assert ended(monkeypatch, 100, metrics, (*CSV, *words))[2] == f"1 to 12 samples ahead: {said}"
    nothing = "no forecasts 1 to 12 samples ahead: no held-out stretch is so long; lower evaluation.horizon"
    assert ended(monkeypatch, 100, {"evaluation/mse": 1.0}, CSV)[2] == nothing
    for off in ("evaluation.origins=0", "evaluation.windows=0"):
        assert "ahead" not in "".join(ended(monkeypatch, 100, {"evaluation/mse": 1.0}, (*CSV, off)))


def test_when_a_task_was_solved_and_how_well_is_told_in_a_line(monkeypatch):
    words = ("data=two_sequences", "training.until=ST2")
    found = {"solved/ST1": 4500.0, "evaluation/wrong": 3.0}
    assert ended(monkeypatch, 80, found, words)[1] == "ST1 after 4,500, ST2 not reached, 3 of 2,560 new ones wrong"
    assert ended(monkeypatch, 80, found, words[:1])[1] == "3 of 2,560 new ones wrong"
    assert ended(monkeypatch, 80, {}, words[:1])[1] == f"{LINK}?workflowType=machine_learning"


def test_of_settings_by_name_the_names_are_told():
    described = telling.describe(config.check(composed("data=two_sequences")))
    console = Console(file=io.StringIO(), width=200)
    console.print(described)
    assert "criteria [ST1,ST2]" in console.file.getvalue()


def test_the_page_says_of_what_kind_the_cost_is_and_why_training_ended():
    values = composed("experiment=sunspots", "training.cost=huber")
    why = "stopped early after 2 steps: no better validation error for 1 point; best at step 1"
    result = SimpleNamespace(costs=[2.0, 1.0], metrics={"mean_last_20_cost": 1.0}, status="FINISHED", reason=why)
    assert f"Its Huber cost fell from 2 to 1 (mean of the last 20: 1). It {why}." in telling.tell(
        config.check(values), result
    )


def test_a_files_name_is_no_link_on_the_runs_page():
    values = composed("data=csv", "data.path=x.csv", "data.horizon=1", "data.input=a")
    values["data"] |= {"path": "![a](b) <i>*c*\n`d` e_f.csv"}
    result = SimpleNamespace(costs=[2.0, 1.0], metrics={"mean_last_20_cost": 1.0}, status="FAILED", reason="[x](y)")
    told = telling.tell(config.check(values), result)
    assert r" on \!\[a\](b) \<i\>\*c\*_\`d\` e_f (batches of " in told
    assert r"It is FAILED: \[x\](y); until" in told
