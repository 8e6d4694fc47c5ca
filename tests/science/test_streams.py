"""How stretches of samples lie in the rows of the batches: written down, and for random lengths by what must hold."""

import numpy as np
import pytest

from lstm_lab.science.streams import cut, deal, pieces_of

T, F = True, False


def test_one_stretch_is_cut_and_its_oldest_samples_are_left_out():
    found = cut((100, 114), batch_size=2, time_steps=3)  # 14 samples: two rows of two windows, and two over
    np.testing.assert_array_equal(found.begin, [[102, 108], [105, 111]])
    np.testing.assert_array_equal(found.count, np.full((2, 2), 3))
    np.testing.assert_array_equal(found.fresh, [[T, T], [F, F]])
    assert cut((100, 105), batch_size=2, time_steps=3) is None


def test_the_longest_goes_first_to_the_row_that_has_least():
    found = deal([(0, 7), (10, 12), (20, 25)], batch_size=2, time_steps=2)  # 4, 1 and 3 windows
    np.testing.assert_array_equal(found.begin, [[0, 10], [2, 20], [4, 22], [6, 24]])
    np.testing.assert_array_equal(found.count, [[2, 2], [2, 2], [2, 2], [1, 1]])
    np.testing.assert_array_equal(found.fresh, [[T, T], [F, T], [F, F], [F, F]])


def test_where_there_are_fewer_than_rows_the_longest_are_cut_and_what_is_left_of_a_row_is_padding():
    assert pieces_of([(0, 9), (20, 23)], rows=3, time_steps=2) == [(0, 4), (4, 9), (20, 23)]
    found = deal([(0, 9), (20, 23)], batch_size=4, time_steps=2)  # 5 and 2 windows
    np.testing.assert_array_equal(found.begin, [[0, 2, 6, 20], [0, 4, 8, 22]])
    np.testing.assert_array_equal(found.count, [[2, 2, 2, 2], [0, 2, 1, 1]])
    np.testing.assert_array_equal(found.fresh, [[T, T, T, T], [T, F, F, F]])
    alone = deal([(5, 7)], batch_size=3, time_steps=4)
    np.testing.assert_array_equal(alone.count, [[2, 0, 0]])
    assert deal([], batch_size=3, time_steps=4) is None


@pytest.mark.parametrize("seed", range(60))
def test_each_sample_is_there_once_in_order_and_a_row_starts_over_where_it_does_not_go_on(seed):
    rng = np.random.default_rng(seed)
    batch_size, time_steps = rng.integers(1, 9, 2).tolist()
    first, stretches = 0, []
    for length in rng.integers(1, 60, rng.integers(1, 12)).tolist():
        stretches.append((first, first + length))
        first += length + int(rng.integers(0, 3))  # what lies between is not trained on
    found = deal(stretches, batch_size, time_steps)
    pieces = pieces_of(stretches, batch_size, time_steps)
    windows = [(b, b + c) for b, c in zip(found.begin.ravel().tolist(), found.count.ravel().tolist(), strict=True) if c]
    assert sorted(n for window in windows for n in range(*window)) == [n for one in stretches for n in range(*one)]
    assert all(any(a <= first < stop <= b for a, b in stretches) for first, stop in windows)
    assert len(pieces) >= min(batch_size, sum(-(-(b - a) // time_steps) for a, b in stretches))
    begin, count, fresh = found.begin, found.count, found.fresh
    starts = np.isin(begin, [a for a, _ in pieces])
    np.testing.assert_array_equal(fresh, starts | (count == 0))
    goes_on = ~fresh[1:]
    assert (begin[1:] == begin[:-1] + time_steps)[goes_on].all()
    assert (count[:-1] == time_steps)[goes_on].all()
    assert ((count[1:] == 0) | (count[:-1] > 0)).all()  # padding is all that follows padding
    longest = max(-((a - b) // time_steps) for a, b in pieces)
    assert len(begin) <= len(windows) / batch_size + longest * (1 - 1 / batch_size)  # Graham's bound
