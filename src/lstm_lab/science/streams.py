"""How the series of a file are laid out in the rows of the batches, window by window.

One series is cut into as many streams of equal length as a batch has rows: row b goes through stream b. Several, of
unequal length, are dealt to the rows, and each row goes through its series one after the other.
"""

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lstm_lab.tables.samples import Stretch


@dataclass(frozen=True)
class Streams:
    """The window of every row of every batch of an epoch, each array [epoch, batch_size].

    `begin` is the number of its first sample and `count` how many of its samples there are: the others are padding.
    `fresh` tells whether it begins from a state of zeros, since it is a stretch's first.
    """

    begin: np.ndarray
    count: np.ndarray
    fresh: np.ndarray


def cut(stretch: Stretch, batch_size: int, time_steps: int) -> Streams | None:
    """One stretch in streams of equal length, the oldest samples left out that fill no batch; None if it fills none."""
    first, stop = stretch
    epoch = (stop - first) // (batch_size * time_steps)
    if epoch < 1:
        return None
    length = epoch * time_steps
    row = stop - batch_size * length + length * np.arange(batch_size)
    begin = row + time_steps * np.arange(epoch)[:, None]
    fresh = np.zeros(begin.shape, bool)
    fresh[0] = True
    return Streams(begin, np.full(begin.shape, time_steps), fresh)


def deal(stretches: Sequence[Stretch], batch_size: int, time_steps: int) -> Streams | None:
    """Several stretches, each padded to whole windows; None if there are none.

    Where they are fewer than the rows, the longest are cut. Each goes, the longest first, to the row that has the
    fewest windows yet (Graham, 1969), so that few windows at the end of an epoch are padding alone.
    """
    pieces = pieces_of(stretches, batch_size, time_steps)
    if not pieces:
        return None
    rows: list[list[Stretch]] = [[] for _ in range(batch_size)]
    shortest = [(0, row) for row in range(batch_size)]
    for first, stop in sorted(pieces, key=lambda piece: (piece[0] - piece[1], piece)):
        windows, row = heapq.heappop(shortest)
        rows[row].append((first, stop))
        heapq.heappush(shortest, (windows - (first - stop) // time_steps, row))
    rows = sorted(map(sorted, rows), key=lambda row: row[0] if row else (stretches[-1][1], 0))
    epoch = max(windows for windows, _ in shortest)
    begin, count = np.zeros((2, epoch, batch_size), np.int64)
    fresh = np.ones((epoch, batch_size), bool)
    for b, dealt in enumerate(rows):
        k = 0
        for first, stop in dealt:
            starts = np.arange(first, stop, time_steps)
            window = slice(k, k + len(starts))
            begin[window, b], count[window, b] = starts, np.minimum(stop - starts, time_steps)
            fresh[k + 1 : k + len(starts), b] = False
            k += len(starts)
    return Streams(begin, count, fresh)


def pieces_of(stretches: Sequence[Stretch], rows: int, time_steps: int) -> list[Stretch]:
    """The stretches, those of most windows cut at a window's end until there are as many as rows, if they can be."""
    windows = [-((first - stop) // time_steps) for first, stop in stretches]
    cuts = [min(count, 1) for count in windows]
    longest: list[tuple[float, int]] = [(-float(count), i) for i, count in enumerate(windows) if count > 1]
    heapq.heapify(longest)
    for _ in range(rows - sum(cuts)):
        if not longest:
            break
        _, i = heapq.heappop(longest)
        cuts[i] += 1
        if windows[i] > cuts[i]:
            heapq.heappush(longest, (-(windows[i] / cuts[i]), i))
    found: list[Stretch] = []
    for (first, stop), count, number in zip(stretches, windows, cuts, strict=True):
        ends = [first + time_steps * (count * i // number) for i in range(number)] + [stop] if number else []
        found += list(itertools.pairwise(ends))
    return found
