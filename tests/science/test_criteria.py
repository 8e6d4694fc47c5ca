"""When a task counts as solved: criteria written down, a test in windows as in one pass, the errors of a training."""

import io
import math
from types import SimpleNamespace

import numpy as np
import pytest

from lstm_lab.datasets import Criterion
from lstm_lab.science import criteria, evaluation, reber
from lstm_lab.science.criteria import Criteria, count_wrong, judge
from lstm_lab.science.model import build_model, zero_state
from lstm_lab.science.tasks import ContinualReber, New, Sequences
from lstm_lab.science.training import ChunkOptions, Program, Progress, build_optimizer, train

NAN = math.nan


def recent(sequences, wrong, mean_error=None):
    return Criterion(among="recent", sequences=sequences, wrong=wrong, mean_error=mean_error)


def new(sequences, wrong, mean_error=None):
    return Criterion(among="new", sequences=sequences, wrong=wrong, mean_error=mean_error)


def criteria_of(until="it", every=2, task=None, model=None, within=0.5, **of_task):
    return Criteria(model, task, SimpleNamespace(criteria=of_task, within=within), every=every, until=until)


def progress(errors, costs=None):
    """A training of batches of two, whose errors these are; it yields after one step and then after every other."""
    errors = np.array(errors, np.float32)
    ends = [1, *range(2, len(errors) + 1, 2)]
    for first, end in zip([0, *ends], ends, strict=False):
        made = np.ones(end - first) if costs is None else np.array(costs[first:end])
        yield Progress(end, made, *[np.zeros(0)] * 3, [], errors=errors[first:end])


def ends_at(one, *training):
    return [made.step for made in one.follow(progress(*training))][-1]


@pytest.mark.parametrize(
    ("criterion", "errors", "end"),
    [
        (recent(4, 0), [[0.1, 0.1]] * 8, 2),
        (recent(5, 0), [[0.1, 0.1]] * 8, 4),  # as many as asked for, at a point where it is looked
        (
            recent(4, 0),
            [[0.1, 0.6], [0.1, 0.1], [0.1, 0.1], [0.5, 0.5], *[[9, 9]] * 4],
            4,
        ),  # the last alone; at a bound
        (recent(4, 1), [[0.1, 0.1], [0.6, 0.6], [0.6, 0.1], [0.1, 0.1], *[[9, 9]] * 4], 4),  # one may be wrong
        (recent(4, 0), [[0.1, 0.1]] * 3 + [[0.1, 0.6]] + [[0.1, 0.1]] * 4, 2),
        (
            recent(4, 0),
            [[0.6, 0.1], [0.1, 0.1], [0.1, 0.1], [0.6, 0.1], *[[0.6, 0.1]] * 4],
            8,
        ),  # right at 3 alone: no look
        (recent(2, 2), [[NAN, 0.1]] * 8, 2),
        (recent(2, 0), [[NAN, 0.1]] * 8, 8),  # what is no number is wrong
        (recent(2, 1, 0.5), [[NAN, 0.1]] * 8, 8),  # and no mean
        (
            recent(4, 4, 0.25),
            [[0.25, 0.25]] * 4 + [[0, 0.25]] + [[0.25, 0.25]] * 3,
            6,
        ),  # a mean below, not at, its bound
        (recent(2, 0, 0.25), [[0.25, 0.25], [0.4, 0.1]] * 2 + [[0.25, 0.25], [0.3, 0.1]] + [[0.1, 0.1]] * 2, 6),
        (recent(2, 1, 0.25), [[0.1, 0.1], [0.6, 0.1]] * 2 + [[0.1, 0.1], [0.1, 0.1]] * 2, 6),  # of the wrong ones, too
    ],
)
def test_a_training_ends_at_the_first_look_where_its_criterion_holds(criterion, errors, end):
    one = criteria_of(it=criterion)
    assert ends_at(one, errors) == end
    assert one.met.get("it", end) == end
    assert one.is_over == ("it" in one.met)


def test_every_criterion_has_its_first_look_and_one_of_them_ends_the_training():
    errors = [[0.6, 0.1], [0.1, 0.1], [0.6, 0.6], [0.6, 0.6], [0.1, 0.1], [0.1, 0.1], [0.1, 0.1], [0.1, 0.1]]
    one = criteria_of("hard", easy=recent(4, 1), hard=recent(4, 0), harder=recent(8, 0))
    assert ends_at(one, errors) == 6
    assert one.met == {"easy": 2, "hard": 6}  # at 4 the easy one does not hold
    assert one.is_over
    one.task = SimpleNamespace(shown=lambda step: 2 * step, counted="sequences")
    assert one.why(6) == "ended after 6 steps, 12 sequences: the criterion 'hard' holds"


def test_a_cost_that_is_not_finite_is_not_looked_at():
    one = criteria_of(it=recent(2, 0))
    assert ends_at(one, [[0.1, 0.1]] * 8, [1, NAN, 1, math.inf, 1, 1, 1, 1]) == 6


@pytest.mark.parametrize("cut", [2, 4, 5])
def test_a_training_that_goes_on_from_what_was_kept_ends_like_one_without_a_break(cut):
    errors = [[0.6, 0.1], [0.1, 0.1], [0.6, 0.6], [0.6, 0.6], [0.1, 0.1], [0.1, 0.1], [0.1, 0.1], [0.1, 0.1]]
    of_task = {"easy": recent(4, 1), "hard": recent(6, 0), "hardest": recent(9, 0)}
    one = criteria_of("hard", **of_task)
    whole = [(made.step, dict(one.met), one.recent.tolist()) for made in one.follow(progress(errors))]
    assert whole[-1][:2] == (8, {"easy": 2, "hard": 8})
    other = criteria_of("hard", **of_task)
    follow, file = other.follow(progress(errors)), io.BytesIO()
    step = next(made.step for made in follow if made.step >= cut)
    np.savez(file, **other.snapshot())
    file.seek(0)
    again = criteria_of("hard", **of_task)
    again.restore(**np.load(file, allow_pickle=False))
    assert (again.met, again.recent.tolist()) == (other.met, other.recent.tolist())
    assert again.recent.dtype == np.float32
    left = (made for made in progress(errors) if made.step > step)
    rest = [(made.step, dict(again.met), again.recent.tolist()) for made in again.follow(left)]
    assert rest == [made for made in whole if made[0] > step]


class Listed:
    """A task whose new sequences are listed: of one step, where the prediction is off by so much at each look."""

    def __init__(self, *looks):
        self.looks, self.asked = looks, []

    def new(self, look, first, count):
        self.asked.append((look, first, count))
        off = np.array(self.looks[look][first : first + count], np.float32).reshape(-1, 1, 1)
        return New(off, np.zeros_like(off), np.ones(off.shape[:2], bool))


@pytest.fixture
def echo(monkeypatch):
    """A model that predicts its input."""
    monkeypatch.setattr(evaluation, "compile_prediction", lambda model: lambda x, state: (x, state))
    return SimpleNamespace(inputs=[np.zeros((1, 1, 1)), np.zeros((1, 3))])


def test_new_sequences_are_counted_all_or_until_too_many_are_wrong(echo):
    off = [0.1] * 1300
    off[3], off[600], off[1299] = 0.6, NAN, -0.75
    task = Listed(off)
    wrong, errors = count_wrong(echo, task, 1300, 0.5)
    assert wrong == 3
    np.testing.assert_array_equal(errors, np.abs(np.array(off, np.float32)).astype(np.float64))
    assert task.asked == [(0, 0, 512), (0, 512, 512), (0, 1024, 276)]
    for most, parts, found in ((0, 1, 1), (1, 2, 2), (2, 3, 3), (3, 3, 3)):
        task.asked.clear()
        assert count_wrong(echo, task, 1300, 0.5, most=most)[0] == found
        assert len(task.asked) == parts
    assert count_wrong(echo, task, 600, 0.5)[0] == 1


@pytest.mark.parametrize(
    ("criterion", "end"), [(new(4, 0), 8), (new(4, 1), 6), (new(4, 4), 2), (new(4, 1, 0.25), 8), (new(4, 4, 0.3), 6)]
)
def test_at_each_look_there_are_other_new_sequences(criterion, end, echo):
    """Those at look 0 are of the evaluation alone: they would hold."""
    looks = [[0] * 4, [9, 9, 0, 0], [0.6, 0.6, 0.1, 0.1], [0.6, 0.1, 0.1, 0.2], [0.1, 0.1, 0.1, 0.1]]
    one = criteria_of(it=criterion, task=Listed(*looks), model=echo)
    assert ends_at(one, [[9, 9]] * 8) == end
    assert one.met == {"it": end}
    assert one.task.asked == [(look, 0, 4) for look in range(1, end // 2 + 1)]
    assert not len(one.recent)


@pytest.mark.parametrize("window", [7, 25, 100])
@pytest.mark.parametrize("cell", ["lstm", "simple_rnn"])
def test_a_long_stream_tested_in_windows_is_tested_as_in_one_pass(cell, window, monkeypatch):
    monkeypatch.setattr(criteria, "WINDOW", window)
    monkeypatch.setattr(reber, "TESTED", 90)
    model = build_model(cell, 4, hidden_stddev=1, hidden_bias=0, seed=3, input_size=7, output_size=7)
    streams = ContinualReber(2, 20, 0).new(0, 0, 6)
    prediction = np.asarray(model([streams.inputs, *zero_state(model, 6)])[0], float)
    counted = streams.counts[..., None]
    expected = (abs(prediction - streams.targets) * counted).max(axis=(1, 2))
    bound = np.sort(expected)[2:4].mean()
    numbers = streams._replace(possible=None)
    wrong, errors = judge(model, numbers, bound, None)
    np.testing.assert_allclose(errors, expected, rtol=1e-5)
    assert wrong.tolist() == (expected > bound).tolist()
    assert judge(model, numbers, bound, 2)[0].sum() == 3


def test_the_stream_of_a_model_that_knows_the_grammar_is_right_in_all_windows(monkeypatch, echo):
    """The windows' parts of what may come next are those of their own symbols: all right as told, one wrong if not."""
    monkeypatch.setattr(criteria, "WINDOW", 7)
    monkeypatch.setattr(reber, "TESTED", 90)
    streams = ContinualReber(2, 20, 0).new(0, 0, 3)
    knowing = streams._replace(inputs=streams.possible.astype(np.float32))
    assert not judge(echo, knowing, None, None)[0].any()
    for step, told in ((reber.LEAD_IN - 1, False), (reber.LEAD_IN, True), (reber.LEAD_IN + 89, True)):
        off = knowing.inputs.copy()
        off[1, step] = 1 - off[1, step]
        assert judge(echo, knowing._replace(inputs=off), None, None)[0].tolist() == [False, told, False]


@pytest.mark.parametrize("jit_compile", [False, True], ids=["portable", "fast"])
@pytest.mark.parametrize("weighted", [True, False])
def test_the_errors_of_a_training_are_those_of_its_predictions(weighted, jit_compile):
    """With weights, which leave all but one step out, and without."""
    source = Sequences("temporal_order", 3, 12, 0, shortest=8, places=[[2, 3], [5, 6]]) if weighted else None
    source = source or ContinualReber(3, 5, 0)
    model = build_model("lstm", 4, hidden_stddev=1, hidden_bias=0, seed=0, **sizes(source))
    options = ChunkOptions(3, carry_state=True, jit_compile=jit_compile, stride=3, row_errors=True)
    program = Program(model, build_optimizer("sgd", 0.01), options)
    initial = model.get_weights()

    def run(chunk_steps):
        program.restart(initial, 0.01)
        return list(train(program.chunk, source, zero_state(model, 3), steps=5, chunk_steps=chunk_steps))

    single = run(1)
    expected = []
    for made in single:
        off = abs(made.prediction - made.target)
        counted = np.ones(off.shape[:2], bool) if made.weights is None else made.weights > 0
        expected.append([max(row[counts].ravel()) for row, counts in zip(off, counted, strict=True)])
        assert counted.sum() == (3 if weighted else 15)
    found = np.concatenate([made.errors for made in single])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    together = run(3)
    assert [made.errors.shape for made in together] == [(1, 3), (2, 3), (2, 3)]
    np.testing.assert_allclose(np.concatenate([made.errors for made in together]), found, rtol=1e-6)


def sizes(source):
    return {"input_size": source.input_size, "output_size": source.output_size}
