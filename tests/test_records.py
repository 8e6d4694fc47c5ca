"""The board of records: what its numbers are, that its page is of its rows, and that a row still has its bits."""

import hashlib
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import records
from helpers import ROOT
from lstm_lab.config import CannotRunError
from record_page import BOUNDS, Row, figures, render
from records import updates_until

HEAD = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ([0] * 120, 20),
        ([0] * 119, None),  # no 100 updates after it
        ([99] * 30 + [0] * 120, 50),
        ([99] * 30 + [0] * 119, None),
        ([0] * 60 + [99] + [0] * 140, 81),  # it was below before, but did not stay
        ([99] + [1] * 119 + [0] * 120, 131),  # at 130 ten of the 20 are 1, and a mean of 0.5 is not below 0.5
        ([math.nan] * 5 + [0] * 140, 25),
        ([0] * 300 + [math.inf], None),
        ([99] * 300, None),
        ([0] * 7, None),
    ],
)
def test_the_number_is_the_first_update_from_which_on_the_mean_of_twenty_costs_stays_below(costs, expected):
    assert updates_until(np.array(costs, np.float32), 0.5) == expected


def row(name="one", until=((50,) * 10, (None,) * 10), **changes):
    """A row of ten seeds."""
    values = {
        "date": "2026-01-02",
        "changed": "A change, by somebody.",
        "words": ["experiment=best", "training.steps=300"],
        "commit": HEAD,
        "updates": 300,
        "samples_per_update": 200,
        "costs": [hashlib.sha256(bytes([seed])).hexdigest() for seed in range(10)],
        "until": dict(zip(BOUNDS, map(list, until), strict=True)),
    }
    return Row(name=name, **values | changes)


def test_a_row_counts_by_its_median_seed_and_one_that_does_not_get_there_is_infinite():
    some = row(until=([10, 40, 20, None, 30, 50, None, 60, None, None], [None] * 5 + [70, 80, 90, 100, 110]))
    assert (some.middle("1e-3"), some.samples("1e-3")) == (55, 11_000)
    assert math.isinf(some.middle("1e-5"))
    assert math.isinf(some.samples("1e-5"))


def test_the_best_of_each_column_is_bold():
    few_updates = row("a", ([100] * 10, [None] * 10), samples_per_update=1000)
    few_samples = row("b", ([150, 151] * 5, [201] * 10), samples_per_update=20)
    assert figures([few_updates, few_samples]) == {
        "a": ["**100**", "100,000", "not reached in 300 updates", ""],
        "b": ["150.5", "**3,010**", "**201**", "**4,020**"],
    }


def test_the_page_in_the_repo_is_of_the_rows_beside_it():
    rows = records.read_board()
    assert records.PAGE.read_text() == render(rows)
    assert json.loads(records.BOARD.read_text()) == [records.asdict(one) for one in rows]
    assert len({one.name for one in rows}) == len(rows) >= 5
    assert all(len(one.costs) == records.SEEDS for one in rows)


def test_the_quickest_row_is_trained_again_to_the_bit(capsys):
    quickest = min(records.read_board(), key=lambda one: one.updates * one.samples_per_update)
    assert records.train_again(quickest), capsys.readouterr().out
    assert (
        capsys.readouterr()
        .out.splitlines()[-1]
        .startswith(f"{quickest.name}: the same bits with 10 seeds, by the code")
    )


def made(settings=None):
    """What training a recipe gives: costs that fall below 1e-3 at update 30."""
    costs = np.array([9.0] * 10 + [0.0] * 140, np.float32)
    settings = {"data.batch_size": "10", "data.time_steps": "20", **(settings or {})}
    return records.Trained(dict.fromkeys(range(10), costs), settings)


@pytest.fixture
def board(tmp_path, monkeypatch):
    """A board of the test's own, with nothing trained in truth; each training leaves its folder and words."""
    monkeypatch.setattr(records, "BOARD", tmp_path / "records.json")
    monkeypatch.setattr(records, "PAGE", tmp_path / "RECORDS.md")
    trained: list[tuple[Path, list[str]]] = []
    monkeypatch.setattr(records, "train", lambda root, words: trained.append((root, list(words))) or made())
    return trained


def call(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["records.py", *words])
    return records.main()


def test_a_row_is_added_and_then_found_the_same_or_another(board, monkeypatch, capsys):
    monkeypatch.setattr(records, "CODE", ("LICENSE",))  # whatever is not committed of the rest
    words = ["--add", "quick", "--changed", "A `change`, by somebody.", "experiment=best", "training.steps=150"]
    assert call(monkeypatch, *words) == 0
    [found] = records.read_board()
    assert (found.commit, found.updates, found.samples_per_update) == (HEAD, 150, 200)
    assert (found.middle("1e-3"), found.words) == (30, words[4:])
    assert records.PAGE.read_text() == render([found])
    assert call(monkeypatch, *words) == 2
    assert "--add quick: there is a row of that name" in capsys.readouterr().err
    assert call(monkeypatch, "--row", "quick") == 0
    assert "quick: the same bits with 10 seeds, by the code of commit" in capsys.readouterr().out
    assert board == [(root, words[4:]) for root, _ in board]
    assert all(root not in (ROOT, records.ROOT) and not root.exists() for root, _ in board)

    records.write_board([found, replace(found, name="other", costs=["0" * 64, *found.costs[1:]], updates=151)])
    assert call(monkeypatch) == 1
    said = capsys.readouterr().out
    assert "other: other bits with seed 0; updates: 150, recorded as 151, by the code of commit" in said


def test_a_row_with_a_hash_too_few_or_too_many_is_another():
    ten = row("ten")
    for costs, seed in ((ten.costs[:9], 9), ([*ten.costs, "0" * 64], 10)):
        assert records.differences(replace(ten, costs=costs), ten) == [f"other bits with seed {seed}"]


def test_a_row_whose_commit_is_not_here_is_trained_with_the_code_that_is(board, monkeypatch, capsys):
    records.write_board([replace(row("far"), commit="0" * 40)])
    assert call(monkeypatch) == 1
    said = capsys.readouterr().out
    assert "far: its commit 0000000000000000000000000000000000000000 is not in this repository" in said
    assert "by the code that is here, not its own" in said
    assert [root for root, _ in board] == [records.ROOT]


@pytest.mark.parametrize(
    "words",
    [("--row", "none"), ("--add", "x"), ("--changed", "x"), ("a=3",), ("--add", "x", "a=1"), ("--commit", HEAD)],
)
def test_what_cannot_be_asked_for_is_refused(words, board, monkeypatch, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        call(monkeypatch, *words)


def test_a_row_of_a_commit_that_is_not_here_is_not_added(board, monkeypatch, capsys):
    assert call(monkeypatch, "--add", "x", "--changed", "y", "--commit", "0" * 40, "training.steps=150") == 2
    assert "--add x: a row needs a commit that others can have too" in capsys.readouterr().err
    assert call(monkeypatch, "--add", "x", "--changed", "y", "--commit", HEAD[:9], "training.steps=150") == 2
    assert f"--commit {HEAD[:9]}: must be a commit's whole hash" in capsys.readouterr().err
    assert (board, records.BOARD.exists()) == ([], False)


def test_what_is_not_committed_makes_no_row(board, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(records.git, "git", lambda *words, **options: b" M src/lstm_lab/config.py\n")
    monkeypatch.setattr(records.git, "asked_head", lambda root: (HEAD, "main"))
    assert call(monkeypatch, "--add", "x", "--changed", "y", "training.steps=150") == 2
    assert "commit first, a row is of a commit; or name one by --commit: M src/lstm_lab/config.py" in (
        capsys.readouterr().err
    )
    assert not records.BOARD.exists()


def test_a_recipe_that_changes_the_data_the_cost_or_the_level_is_none_of_this_board():
    assert records.broken(records.RULES) == ""
    changed = {**records.RULES, "training.level": "fast", "data.time_steps": "40"}
    assert records.broken(changed) == "data.time_steps=20, not 40, training.level=portable, not fast"


def test_a_recipe_that_does_not_train_says_why():
    with pytest.raises(CannotRunError, match=r"^model\.cell_size=-1: model\.cell_size"):
        records.train(records.ROOT, ["model.cell_size=-1"])
