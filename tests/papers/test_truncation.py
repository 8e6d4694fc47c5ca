"""The section on truncated gradients: its rules on literal numbers, and the whole of it on runs made up for it."""

import functools
from pathlib import Path

import numpy as np
import pytest

from lstm_lab import config, runtime
from lstm_lab.findings.template import fill
from lstm_lab.papers import truncation
from lstm_lab.papers.truncation import BACK, CHUNKS, KINDS, MEAN, ONE
from lstm_lab.reports.comparison import Facts
from lstm_lab.science.model import build_model
from test_config import composed

HERE = Path(truncation.__file__).parent
SEEDS = 6  # the fewest of which an interval can be told
WORDS = {
    truncation.ADDING: [
        "data=adding",
        "model=long_lstm",
        "data.time_steps=24",
        "data.shortest=22",
        "data.batch_size=4",
    ],
    truncation.TUTORIAL: ["data.time_steps=8", "data.batch_size=4"],
    truncation.EVERY: ["data.time_steps=8", "data.batch_size=4"],
}
TRAINED_WITH = {truncation.ADDING: [12, 24], truncation.TUTORIAL: [4, 8], truncation.EVERY: [4]}
COSTS = {4: 1.6, 8: 0.8}  # of a window of 8 samples


@functools.cache
def checked(study, length):
    words = [f"training.{key}={length}" for key in ("truncation_steps", "truncation_every")]
    return config.check(composed(*WORDS[study], *words, "training.steps=3"))


class MadeUp:
    """Studies whose runs have made-up results, but configs and weights as real runs of three steps have them."""

    seeds = SEEDS

    def run(self, study, length, seed):
        number = 100 * list(WORDS).index(study) + 10 * length + seed
        values = {"mean_last_20_cost": COSTS.get(length, 0.0) * (1 + seed), "evaluation/mean_error": length / 100}
        solved = {"solved/solved": 500.0} if length == 24 and seed < 4 else {}
        params = config.as_params(checked(study, length)) | {"training.seed": str(seed)}
        return Facts(f"{number:032d}", study, status="FINISHED", params=params, metrics=values | solved)

    def grid(self, study):
        return [self.run(study, length, seed) for length in TRAINED_WITH[study] for seed in range(SEEDS)]

    def command(self, study):
        return [f"sweeps={study}"]

    def config(self, facts):
        return checked(facts.name, int(facts.params["training.truncation_steps"]))

    def final_weights(self, facts):
        settings = truncation.settings_of(self.config(facts))
        return build_model(**settings, seed=100 + int(facts.params["training.seed"])).get_weights()


@pytest.fixture(scope="module")
def found():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "start_tensorflow", lambda level, threads: None)  # it has started, for all tests
        patch.setattr(truncation, "SEEDS", SEEDS)
        return truncation.compute(MadeUp())


def by_seed(*values):
    return {(seed,): value for seed, value in enumerate(values)}


def test_nearer_is_told_seed_by_seed_and_beyond_chance():
    errors = {(CHUNKS, 2): by_seed(*[0.5] * 6), (BACK, 2): by_seed(*[0.4] * 6), (ONE, 2): by_seed(0.4, *[0.6] * 5)}
    assert truncation.nearer(errors, BACK, CHUNKS, 2)
    assert not truncation.nearer(errors, CHUNKS, BACK, 2)
    assert not truncation.nearer(errors, ONE, CHUNKS, 2)
    assert not truncation.nearer(errors, CHUNKS, CHUNKS, 2)


def test_the_mean_falls_if_the_intervals_do_not_meet():
    errors = {(ONE, 2): by_seed(*[0.4] * 6), (MEAN, 2): by_seed(*[0.1] * 6)}
    assert truncation.falls(errors, 2)
    assert not truncation.falls(errors | {(MEAN, 2): by_seed(*[0.1] * 5, 0.4)}, 2)  # of six, all are in the interval


def test_errors_of_parts_that_are_known():
    """One parameter, three steps; only the last error counts, and reaches back to all steps with 1, 2 and 4."""
    parts = np.zeros((3, 3, 1), np.float32)
    parts[2, :, 0] = [1, 2, 4]
    errors = truncation.errors_at(parts, [1, 2, 3], seed=0)
    assert {kind: errors[kind, 1] for kind in KINDS} == pytest.approx(dict.fromkeys(KINDS, 3 / 7))
    assert (errors[CHUNKS, 2], errors[BACK, 2]) == pytest.approx((3 / 7, 1 / 7))
    assert errors[CHUNKS, 3] == errors[BACK, 3] == 0.0
    # With c = 3 / (2 K + steps since), K = 2: one draw is 4, or 4 + 2 f of some f, or 4 + 2 f + f f' of two
    first, second = 1 / (1 - 3 / 5), 1 / (1 - 3 / 6)
    possible = [4, 4 + 2 * second + first * second, 4 + 2 * first]
    assert any(errors[ONE, 2] == pytest.approx(abs(value - 7) / 7) for value in possible)
    assert errors[MEAN, 2] < 0.06


def test_what_is_as_long_as_the_window_is_no_truncation(found):
    for task, last in (("adding", 24), ("tutorial", 8)):
        row = next(line for line in found.values["biases"][task].splitlines() if line.startswith(f"| {last} | unt"))
        assert [cell.strip() for cell in row.split("|")[3:5]] == ["0 [0, 0]"] * 2


def test_lengths_are_those_trained_with_and_some_more(found):
    assert found.values["within"] == {"adding": [2, 5, 10, 12], "tutorial": [2, 4, 5]}
    assert found.values["lengths"] == {"adding": [12], "tutorial": [4]}


def test_what_training_came_to(found):
    adding, tutorial = (found.values[task] for task in ("adding", "tutorial"))
    assert "| 12 | 0 of 6 | 0.12 [0.12, 0.12] | 0.50 [0.50, 0.50], p = 0.031 |" in adding["table"]
    assert "| 24 | 4 of 6 | 0.24 [0.24, 0.24] |  |" in adding["table"]
    assert (adding["worse"], adding["sequences"]) == ([], 12)
    assert "| 4 | chunks | 0.70 [0.20, 1.2] | 2.0 [2.0, 2.0], p = 0.031 |" in tutorial["table"]
    assert "| 8 | chunks | 0.35 [0.10, 0.60] |  |" in tutorial["table"]
    assert tutorial["worse"] == [4]


def test_the_section_says_it(found):
    text = fill("truncation", found.values, HERE)
    assert text.startswith("## The truncated gradient, and what it costs\n")
    assert text.count("**Claim: ") == 4
    assert "It does not hold.** It is (p below 0.05) on the adding task at no K, on the tutorial's at K = 4." in text
    for study in truncation.STUDIES:
        assert f"`python src/train.py -m sweeps={study}`" in text
    assert sorted(found.figures) == ["truncation_adding", "truncation_tutorial"]
    assert all(f"](docs/papers/{name}.png)" in text for name in found.figures)


def test_each_verdict_is_that_of_its_rule(found):
    for key in ("every", "falls", "one"):
        holds = found.values | {key: found.values["within"]}
        fails = found.values | {key: {task: [] for task in truncation.TASKS}}
        counted = [fill("truncation", values, HERE).count("It holds.") for values in (holds, fails)]
        assert counted[0] == counted[1] + 1


def test_every_cell_of_a_bias_has_its_median_and_interval(found):
    for task, lengths in (("adding", 6), ("tutorial", 5)):
        rows = [line for line in found.values["biases"][task].splitlines() if "trained |" in line]
        assert len(rows) == 2 * lengths
        assert all(line.count("[") == len(KINDS) for line in rows)
