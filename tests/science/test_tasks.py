"""Tasks of long memory: what is drawn is read again by plain loops, and counted against the papers' definitions.

Shares are held against the exact ones by a chi-square test, at fixed seeds: what fails once fails always.
"""

import functools
import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from lstm_lab import config
from lstm_lab.runs import setup
from lstm_lab.science import tasks
from test_config import composed

THREE_PLACES = "data.places=[[10,20],[33,43],[66,76]]"
NOISY = ("data.class_targets=[0.2,0.8]", "data.target_noise_variance=0.1", "data.informative_noise_variance=0.2")
ENDED = {
    "adding": ("data=adding",),
    "multiplication": ("data=multiplication",),
    "two_sequences": ("data=two_sequences",),
    "two_noisy_sequences": ("data=two_sequences", *NOISY),
    "long_lag": ("data=long_lag",),
    "temporal_order": ("data=temporal_order",),
    "three_in_order": ("data=temporal_order", THREE_PLACES),
}
ALL = {**ENDED, "embedded_reber": ("data=embedded_reber",), "continual_reber": ("data=continual_reber",)}


@functools.cache
def settings_of(name, *words):
    """The settings of a task as conf has them, but for these words."""
    return config.check(composed(*ALL[name], *words)).data


def source_of(name, *words):
    """A fresh source of such a task."""
    return setup.make_task(settings_of(name, *words))


@functools.cache
def drawn(name):
    """6,000 sequences for training, each cut off behind its end: its elements as lists, and its target there.

    An element is its inputs; where these are one for each of several symbols, the symbol's number.
    """
    source, found = source_of(name), []
    for first in range(0, 300, 25):
        rows = source.chunk(first, 25)
        elements = symbols_of(rows.inputs) if source.input_size > 2 else rows.inputs
        for one, target, weights in zip(elements, rows.targets, rows.weights, strict=True):
            [end] = np.flatnonzero(weights)
            found.append((one[: end + 1].tolist(), target[end].tolist()))
    return found


def symbols_of(inputs):
    """The number of each step's symbol, -1 where there is none."""
    assert ((inputs == 0) | (inputs == 1)).all()
    assert (inputs.sum(axis=-1) <= 1).all()
    return np.where(inputs.any(axis=-1), inputs.argmax(axis=-1), -1)


def is_likely(counts, shares):
    """Whether these counts by kind could come from those shares: by chance one in a thousand is refused."""
    assert set(counts) <= set(shares)
    assert math.isclose(sum(shares.values()), 1)
    expected = np.array(list(shares.values()), float) * sum(counts.values())
    assert expected.min() > 5
    return stats.chisquare([counts[kind] for kind in shares], expected).pvalue > 0.001


def uniform(kinds):
    return {kind: 1 / len(kinds) for kind in kinds}


@pytest.mark.parametrize("name", ALL)
def test_batches_are_a_pure_function_of_the_step_whatever_the_chunks(name):
    source = source_of(name, "data.batch_size=7")  # of which no number makes a block
    whole = source.chunk(0, 23)
    for first, steps in [(19, 4), (3, 1), (0, 2), (5, 13), (4, 1), (0, 23)]:
        for one in (source, source_of(name, "data.batch_size=7")):
            part = one.chunk(first, steps)
            of_rows, of_steps = slice(7 * first, 7 * (first + steps)), slice(first, first + steps)
            for key in ("x", "inputs", "targets", "weights"):
                if getattr(whole, key) is not None:
                    np.testing.assert_array_equal(getattr(part, key), getattr(whole, key)[of_rows])
            if whole.starts_over is not None:
                np.testing.assert_array_equal(part.starts_over, whole.starts_over[of_steps])


@pytest.mark.parametrize("name", ALL)
def test_rows_are_of_the_sizes_that_the_config_tells_and_another_noise_seed_draws_others(name):
    data, source, other = settings_of(name), source_of(name), source_of(name, "data.noise_seed=1")
    assert data.sizes == (source.input_size, source.output_size)
    assert source.stride == source.batch_size == 20
    rows = source.chunk(2, 3)
    shape = (60, data.time_steps)
    assert rows.x.shape == shape
    assert rows.inputs.shape == (*shape, source.input_size)
    assert rows.targets.shape == (*shape, source.output_size)
    assert rows.inputs.dtype == rows.targets.dtype == np.float32
    assert not np.array_equal(rows.inputs, other.chunk(2, 3).inputs)
    assert source.digest(5) == source_of(name).digest(5) != other.digest(5)
    assert source.shown(7) == (7 * 20 * data.time_steps if name == "continual_reber" else 140)


@pytest.mark.parametrize("name", ENDED)
def test_a_row_starts_over_ends_where_it_is_asked_and_is_zero_behind(name):
    rows = source_of(name).chunk(5, 10)
    assert rows.weights.dtype == np.float32
    assert rows.starts_over.shape == (10, 20)
    assert rows.starts_over.all()
    np.testing.assert_array_equal(rows.x, np.tile(np.arange(110.0), (200, 1)))
    for inputs, targets, weights in zip(rows.inputs, rows.targets, rows.weights, strict=True):
        [end] = np.flatnonzero(weights)
        assert weights[end] == 1
        assert not inputs[end + 1 :].any()
        assert inputs[end].any()
        assert not np.delete(targets, end, axis=0).any()


@pytest.mark.parametrize("name", ["adding", "two_sequences", "long_lag", "temporal_order"])
def test_what_is_new_at_a_look_is_trained_on_by_nobody_and_new_at_each_look(name):
    source = source_of(name)
    trained = [row.tobytes() for row in source.chunk(0, 30).inputs]
    looks = {look: source.new(look, 0, 200) for look in (0, 1, 2, 10**9)}
    rows = trained + [row.tobytes() for new in looks.values() for row in new.inputs]
    assert len(set(rows)) == len(rows) == 1400
    assert all(new.possible is None for new in looks.values())
    for first, count in [(0, 1), (31, 2), (5, 100), (199, 1)]:
        part = source.new(1, first, count)
        for one, whole in zip(part[:3], looks[1][:3], strict=True):
            np.testing.assert_array_equal(one, whole[first : first + count])


def test_no_number_of_a_new_sequence_is_one_of_training_and_none_is_there_at_two_looks():
    longest = 10**9 * 10**5  # sequences, of as many steps and as large batches as a config takes
    assert longest < tasks.NEW
    assert tasks.NEW + (10**9 + 1) * tasks.AT_A_LOOK < 2**63
    for words in (["data=adding", "data.tested=%d"], ["data=long_lag", "data.criteria.solved.sequences=%d"]):
        config.check(composed(*words[:1], words[1] % tasks.AT_A_LOOK))
        with pytest.raises(config.ConfigError, match="must be less than or equal to 1048576"):
            config.check(composed(*words[:1], words[1] % (tasks.AT_A_LOOK + 1)))


@pytest.mark.parametrize("name", ["adding", "multiplication", "two_sequences", "temporal_order", "three_in_order"])
def test_lengths_are_uniform_up_to_a_tenth_more_than_the_shortest(name):
    assert is_likely(Counter(len(inputs) for inputs, _ in drawn(name)), uniform(range(100, 111)))


def marked(inputs):
    """The places of the markers that can be seen, and the numbers there."""
    markers = [marker for _, marker in inputs]
    assert markers[0] == markers[-1] == -1
    places = [place for place, marker in enumerate(markers) if marker == 1]
    assert markers.count(0) == len(markers) - 2 - len(places)
    return tuple(places), [inputs[place][0] for place in places]


def shares_of_markers():
    """How often each set of markers is seen: one of 10 pairs and another of the first 49, the first unseen."""
    shares = Counter()
    for early in range(10):
        for late in set(range(49)) - {early}:
            shares[tuple(sorted({early, late} - {0}))] += Fraction(1, 10 * 48)
    return {places: float(share) for places, share in shares.items()}


@pytest.mark.parametrize(("name", "lowest"), [("adding", -1), ("multiplication", 0)])
def test_two_pairs_are_marked_where_the_paper_says_and_all_numbers_are_uniform(name, lowest):
    sequences = drawn(name)
    assert is_likely(Counter(marked(inputs)[0] for inputs, _ in sequences), shares_of_markers())
    assert all(len(inputs) - 1 - max(marked(inputs)[0]) >= 50 for inputs, _ in sequences)  # the least lag, table 7
    numbers = [number for inputs, _ in sequences[:500] for number, _ in inputs]
    of_markers = [number for inputs, _ in sequences for number in marked(inputs)[1]]
    for some in (numbers, of_markers):
        assert stats.kstest(some, stats.uniform(lowest, 1 - lowest).cdf).pvalue > 0.001


def test_the_answer_of_adding_is_that_of_its_marked_numbers():
    seen = set()
    for inputs, target in drawn("adding"):
        _, numbers = marked(inputs)
        seen.add(len(numbers))
        assert target == pytest.approx([0.5 + sum(numbers) / 4], abs=1e-6)  # an unseen one counts as 0
    assert seen == {1, 2}


def test_the_answer_of_multiplication_is_that_of_its_marked_numbers():
    seen = set()
    for inputs, target in drawn("multiplication"):
        _, numbers = marked(inputs)
        seen.add(len(numbers))
        assert target == pytest.approx([math.prod(numbers)], abs=1e-6)  # an unseen one counts as 1
    assert seen == {1, 2}


UNSEEN = Fraction(1, 10) + Fraction(9, 10) / 48  # that one of the two markers falls on the first pair


def test_the_mean_leaves_the_variance_of_adding_and_of_multiplication():
    """A number of [-1, 1] has the variance 1/3, the product of two of [0, 1] the mean 1/4 and the mean square 1/9."""
    adding = (2 * (1 - UNSEEN) + UNSEEN) / 3 / 16
    mean = (1 - UNSEEN) / 4 + UNSEEN / 2
    multiplication = (1 - UNSEEN) / 9 + UNSEEN / 3 - mean**2
    assert (round(float(adding), 3), round(float(multiplication), 3)) == (0.039, 0.059)
    for name, level, variance in (("adding", 0.5, adding), ("multiplication", mean, multiplication)):
        squares = np.array([(target - float(level)) ** 2 for _, [target] in drawn(name)])
        assert abs(squares.mean() - variance) < 3 * squares.std() / math.sqrt(len(squares))
        assert f"error of {float(variance):.2g} (squared)" in opening(name)


def opening(name):
    """The comment that a data set's file opens with, as one line."""
    lines = (setup.ROOT / f"conf/data/{name}.yaml").read_text().splitlines()
    return " ".join(line.removeprefix("# ") for line in lines if line.startswith("#"))


def test_the_first_elements_tell_the_class_and_the_others_are_noise():
    sequences = drawn("two_sequences")
    for inputs, target in sequences:
        assert inputs[:3] == ([[1.0]] * 3 if target == [1.0] else [[-1.0]] * 3)
    assert is_likely(Counter(target[0] for _, target in sequences), uniform([1.0, 0.0]))
    assert_normal([x for inputs, _ in sequences[:1000] for [x] in inputs[3:]], 0.2)


def test_the_first_elements_and_the_targets_may_be_noisy():
    """And those of new sequences are not: a noise that nobody can know is no error."""
    sequences = drawn("two_noisy_sequences")
    first = np.array([inputs[:3] for inputs, _ in sequences])[..., 0]
    second = first.sum(axis=1) < 0  # right but for one in 10**11: three of variance 0.2 would have to outweigh 3
    assert is_likely(Counter(second.tolist()), uniform([True, False]))
    assert_normal(first + np.where(second, 1, -1)[:, None], 0.2)
    assert_normal([target - (0.8 if two else 0.2) for two, (_, [target]) in zip(second, sequences, strict=True)], 0.1)
    new = source_of("two_noisy_sequences").new(1, 0, 500)
    second = new.inputs[:, :3, 0].sum(axis=1) < 0
    np.testing.assert_array_equal(new.targets[new.counts][:, 0], np.where(second, np.float32(0.8), np.float32(0.2)))


def assert_normal(numbers, variance):
    """Of mean 0, that variance, and the shape."""
    numbers = np.ravel(numbers)
    assert abs(numbers.var() / variance - 1) < 4 * math.sqrt(2 / len(numbers))
    assert stats.kstest(numbers, stats.norm(0, math.sqrt(variance)).cdf).pvalue > 0.001


def test_after_the_trigger_the_second_symbol_is_asked_for():
    """50 distractors, then e, b, x, y as 50, 51, 52, 53."""
    kinds, more, between = Counter(), Counter(), Counter()
    for inputs, target in drawn("long_lag"):
        begin, second, *distractors, trigger = inputs
        assert (begin, trigger) == (51, 50)
        assert target == {52: [1, 0], 53: [0, 1]}[second]
        kinds[second] += 1
        between.update(distractors)
        more[min(len(distractors) - 50, 30)] += 1
    assert is_likely(kinds, uniform([52, 53]))
    assert is_likely(between, uniform(range(50)))
    room = 110 - 53
    shares = {k: 0.1 * 0.9**k / (1 - 0.9 ** (room + 1)) for k in range(room + 1)}
    shares[30] = sum(shares.pop(k) for k in range(30, room + 1))
    assert is_likely(more, shares)


def test_a_lag_that_leaves_no_room_is_the_same_for_all():
    rows = source_of("long_lag", "data.lag=107", "data.distractors=1").chunk(0, 2)
    assert rows.inputs.shape == (40, 110, 5)
    np.testing.assert_array_equal(rows.weights, np.tile(np.arange(110) == 109, (40, 1)))
    np.testing.assert_array_equal(rows.inputs[:, 2:109], np.tile([1, 0, 0, 0, 0], (40, 107, 1)))


@pytest.mark.parametrize(
    ("name", "places"), [("temporal_order", [10, 50]), ("three_in_order", [10, 33, 66])], ids=["6a", "6b"]
)
def test_the_class_is_the_order_of_the_two_symbols(name, places):
    """Elements are a, b, c, d, X, Y, E, B and counted from 1, classes as XX, XY, YX, YY, or XXX to YYY."""
    classes = ["".join(order) for order in itertools.product("XY", repeat=len(places))]
    found, between, where = Counter(), Counter(), [Counter() for _ in places]
    for inputs, target in drawn(name):
        text = "".join("abcdXYEB"[symbol] for symbol in inputs)
        assert text[0] + text[-1] == "EB"
        order = [(element, symbol) for element, symbol in enumerate(text, start=1) if symbol in "XY"]
        kind = "".join(symbol for _, symbol in order)
        assert target == [float(kind == one) for one in classes]
        found[kind] += 1
        for counts, (element, _) in zip(where, order, strict=True):
            counts[element] += 1
        between.update(text[1:-1].replace("X", "").replace("Y", ""))
    assert is_likely(found, uniform(classes))
    assert is_likely(between, uniform("abcd"))
    for counts, first in zip(where, places, strict=True):
        assert is_likely(counts, uniform(range(first, first + 11)))


def new_of(targets, counts, possible=None):
    """Sequences with these targets; their inputs are of no matter."""
    targets = np.array(targets, np.float32)
    return tasks.New(np.zeros_like(targets), targets, np.array(counts, bool), possible)


def test_a_sequence_is_wrong_if_one_output_is_too_far_off_where_it_counts():
    targets = [[[0, 0], [1, 0], [0, 0]]] * 5
    counts = [[0, 1, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0], [1, 1, 1]]
    given = [[0, 0], [0.75, 0], [0, 0]]
    off_elsewhere, off_by_one, not_finite = [[9, 9], [1, -0.25], [9, 9]], [[0, 0], [1, 0.5], [0, 0]], [[0, 0]] * 3
    not_finite[1] = [1, math.nan]
    prediction = np.array([given, off_elsewhere, off_by_one, off_elsewhere, off_elsewhere])
    new = new_of(targets, counts)
    np.testing.assert_array_equal(tasks.errors_of(prediction, new), [0.25, 0.25, 0.5, 0, 9])
    assert tasks.wrong(prediction, new, 0.25).tolist() == [False, False, True, False, True]  # a bound that is met holds
    assert tasks.wrong(prediction, new, 0.2499).tolist() == [True, True, True, False, True]
    prediction = np.array([not_finite, [[math.nan] * 2, [1, 0], [math.inf] * 2]])
    new = new_of(targets[:2], counts[:2])
    assert tasks.wrong(prediction, new, 0.25).tolist() == [True, False]
    assert np.isnan(tasks.errors_of(prediction, new)).tolist() == [True, False]


def test_symbols_are_right_if_all_that_may_come_next_are_more_active_than_the_others():
    possible = np.array([[[1, 0, 0], [1, 1, 0]]] * 7, bool)
    counts = [[1, 1]] * 5 + [[1, 0]] * 2
    good = [0.2, 0.1, 0.1]
    prediction = np.array(
        [
            [good, [0.6, 0.4, 0.3]],
            [good, [0.6, 0.3, 0.3]],  # a tie is none
            [good, [0.9, 0.1, 0.5]],
            [[0.1, 0.2, 0.1], [0.6, 0.4, 0.3]],
            [good, [math.nan, 0.9, 0.1]],
            [good, [0.0, 0.0, 1.0]],
            [[0.2, math.nan, 0.1], good],
        ]
    )
    new = new_of(np.zeros((7, 2, 3)), counts, possible)
    assert tasks.wrong(prediction, new, None).tolist() == [False, True, True, True, True, False, True]
