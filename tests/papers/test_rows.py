"""The rules by which a row of a paper and our runs are compared, on literal runs."""

import math

import pytest
import yaml

from helpers import ROOT
from lstm_lab.papers import carried, page, rows
from lstm_lab.papers.published import ROWS, Published
from lstm_lab.reports.comparison import Facts
from lstm_lab.science.statistics import median
from lstm_lab.studies.declaration import named_after

SETTINGS = {"training.steps": "100", "data.batch_size": "20"}


def run(seed, cell="lstm", memory="110", **metrics):
    params = {"training.seed": str(seed), "model.cell": cell, **SETTINGS}
    params |= {} if cell == "simple_rnn" else {"model.memory_steps": memory}
    named = {"solved": "solved/ST1", "wrong": "evaluation/wrong"}
    return Facts("0" * 32, "run", status="FINISHED", params=params, metrics={named[k]: v for k, v in metrics.items()})


def test_runs_are_told_apart_by_cell_and_by_whether_their_gates_remember():
    found = rows.by_cell([run(0), run(0, memory="1"), run(0, "gru"), run(0, "simple_rnn"), run(1)])
    assert {name: len(of_cell) for name, of_cell in found.items()} == {
        "LSTM": 2, "the tutorial's LSTM": 1, "GRU": 1, "simple RNN": 1
    }  # fmt: skip


def test_a_run_that_does_not_get_there_is_infinite_and_its_test_does_not_count():
    row = Published("a", "a", "a", "ST1", 500, 1, 1)
    found = rows.outcome(row, [run(0, solved=40.0, wrong=2.0), run(1, wrong=2000.0), run(2, solved=60.0, wrong=0.0)])
    assert found.until == [40.0, math.inf, 60.0]
    assert found.wrong == [2.0, 0.0]
    assert (found.solved, found.most) == (2, 2000)


@pytest.mark.parametrize(
    ("solved", "runs", "share", "said"),
    [
        (10, 10, 1.0, "as often"),
        (9, 10, 1.0, "less often"),  # up to 99.7 %
        (2, 10, 0.62, "less often"),  # up to 55.6 %
        (3, 10, 0.62, "as often"),  # up to 65.2 %
        (10, 10, 0.62, "more often"),  # from 69.2 % on
        (6, 10, 0.18, "more often"),  # from 26.2 % on
        (2, 2, 1.0, "as often"),
    ],
)
def test_solved_as_often_is_told_by_the_exact_interval(solved, runs, share, said):
    until = [1.0] * solved + [math.inf] * (runs - solved)
    assert rows.as_often(rows.Outcome(until, [], 2000), share) == said


def test_fewer_and_more_sequences_are_told_by_the_whole_interval():
    estimate = median([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10])  # from the second to the ninth
    assert rows.compared(estimate, 9.5) == "fewer"
    assert rows.compared(estimate, 9.0) == rows.compared(estimate, 2.0) == "as many"
    assert rows.compared(estimate, 1.5) == "more"
    assert rows.compared(median([1.0, 2.0]), 9.5) == "too few seeds"
    never = median([math.inf] * 10)
    assert rows.compared(never, 9.5, most=10) == "more"
    assert rows.compared(never, 9.5, most=9) == "open"  # training gave up before it could be told
    assert rows.compared(median([1.0] * 5 + [math.inf] * 5), 9.5, most=9) == "open"
    assert rows.compared(median([1.0] * 6 + [math.inf] * 4), 9.5, most=9) == "as many"


def test_what_is_not_reached_is_said():
    def said(until):
        return rows.reached(median(until), rows.Outcome(until, [], 2000))

    assert said([math.inf] * 10) == "not within 2,000"
    assert said([500.0] * 8 + [math.inf] * 2) == "500 [500, beyond 2,000]"
    assert said([500.0] * 10) == "500 [500, 500]"
    assert said([500.0, 700.0]) == "600"


def test_a_line_has_the_paper_and_ours_side_by_side():
    row = Published("a", "a task", "a table", "ST1", 500, 1, 3)
    found = rows.Outcome([100.0] * 10, [0.0] * 10, 2000)
    assert rows.line(row, found) == [
        "a task ST1", "500", "100 [100, 100], fewer", "10 of 10, as often", "3.0 of 2,560", "-"
    ]  # fmt: skip
    last = Published("a", "a task", "a table", "ST2", 500, 1, 3)
    assert rows.line(last, found)[-1] == "0 [0, 0] of 2,560, fewer"


def test_more_successes_than_by_chance_are_told_by_fishers_test():
    assert carried.chance([(3, 3), (0, 3)]) == pytest.approx(1 / 20)  # one of the 20 ways to choose 3 of 6
    assert carried.chance([(2, 3), (2, 3)]) == pytest.approx(0.8)
    assert carried.chance([(0, 3), (3, 3)]) == 1


def test_every_row_has_a_study_that_asks_for_its_criterion():
    for row in ROWS:
        study = yaml.safe_load((ROOT / f"sweeps/papers/{row.study}.yaml").read_text())
        [data] = [default["override /data"] for default in study["defaults"] if "override /data" in default]
        criteria = yaml.safe_load((ROOT / f"conf/data/{data}.yaml").read_text())["criteria"]
        assert row.criterion in criteria
        until = study["training"].get("until", "solved")
        assert until in criteria
        assert row.where.startswith(("HS97, table ", "GSC00, table "))


def test_the_studies_are_named_after_their_files_and_have_the_seeds_of_the_page():
    for study in page.studies_of(page.SEEDS):
        text = (ROOT / f"sweeps/{study}.yaml").read_text()
        assert f"study_name: {named_after(study)}\n" in text
        assert f"training.seed: range(0, {page.SEEDS})" in text
        assert f"# python src/train.py -m sweeps={study}\n" in text


def test_every_section_has_its_template_and_no_template_is_left_over():
    names = ["opening", *(module.__name__.rpartition(".")[2] for module in page.SECTIONS)]
    found = sorted(path.name for path in (ROOT / "src/lstm_lab/papers").glob("*.jinja"))
    assert found == sorted(f"{name}.md.jinja" for name in names)
