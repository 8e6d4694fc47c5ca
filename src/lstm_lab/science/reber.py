"""The embedded Reber grammar (Reber, 1967; Smith and Zipser, 1989; Fahlman, 1991), as a walk between numbered states.

A string is B, T or P, a string of Reber's own grammar (B ... E), the T or P of before, E. A state with two ways on
takes each with probability 1/2. The symbol before the last is told by the second alone, whatever stands between them.
"""

import bisect
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

SYMBOLS = "BTPSXVE"
# Symbols of a stream that is tested (Gers et al., 2000, table 2), and those before them, which do not count: a training
# goes on and on, so that all it sees of a stream's beginning, from a state of zeros, is its own first batch
TESTED, LEAD_IN = 100_000, 100
BLOCK = 256  # strings drawn from one random stream
LONGEST = 200  # symbols of a stream's string: fewer than one in 10**25 would be longer

# Reber's grammar: from each state the symbols that may come next, and the states that they lead to
INNER = {0: "B1", 1: "T2 P3", 2: "S2 X4", 3: "T3 V5", 4: "X3 S6", 5: "P4 V6", 6: "E7"}
FIRST, SECOND, LAST, END = 0, 1, 18, 19  # states: before B; before T or P; before the last E; behind it


def transitions() -> tuple[np.ndarray, np.ndarray]:
    """The two ways on from each state [19, 2], the same one twice where there is one: symbols, and states."""
    ways = {FIRST: [("B", SECOND)], SECOND: [("T", 2), ("P", 10)], LAST: [("E", END)]}
    for outer, offset in (("T", 2), ("P", 10)):
        for state, told in INNER.items():
            ways[offset + state] = [(way[0], offset + int(way[1])) for way in told.split()]
        ways[offset + 7] = [(outer, LAST)]
    both = [(2 * ways[state])[:2] for state in range(len(ways))]
    symbols = np.array([[SYMBOLS.index(symbol) for symbol, _ in pair] for pair in both])
    return symbols, np.array([[state for _, state in pair] for pair in both])


SYMBOL, TO = transitions()
FOLLOWING = np.zeros((END + 1, len(SYMBOLS)), bool)  # which symbols may come next in each state
FOLLOWING[np.arange(END)[:, None], SYMBOL] = True
FOLLOWING[END] = FOLLOWING[FIRST]


class Walked(NamedTuple):
    """Symbols as numbers of SYMBOLS, -1 where there is none, and the states after them; both [strings, time]."""

    symbols: np.ndarray
    states: np.ndarray


def strings(draw: np.random.Generator, count: int, longest: int) -> Walked:
    """`count` strings of at most `longest` symbols: longer ones are drawn again."""
    parts: list[Walked] = []
    while sum(len(part.symbols) for part in parts) < count:
        bits = draw.integers(0, 2, (count, longest), np.int8)
        state = np.full(count, FIRST)
        walked = Walked(np.full((count, longest), -1), np.full((count, longest), END))
        for t in range(longest):
            on = np.flatnonzero(state != END)
            if not len(on):
                break
            now, way = state[on], bits[on, t]
            walked.symbols[on, t], state[on] = SYMBOL[now, way], TO[now, way]
            walked.states[on, t] = state[on]
        parts.append(Walked(*(array[state == END] for array in walked)))
    return Walked(*(np.concatenate(arrays)[:count] for arrays in zip(*parts, strict=True)))


def possible(states: np.ndarray) -> np.ndarray:
    """Which symbols may come next in these states [...]: bool [..., 7]; behind a string's end the next one's B."""
    return FOLLOWING[states]


class Stream:
    """Strings one after the other, of blocks that `generator_of` gives the random numbers for.

    Where a block begins follows from the lengths of those before it, which are kept: a number for some 3,000 symbols.
    """

    def __init__(self, generator_of: Callable[[int], np.random.Generator]) -> None:
        self.generator_of = generator_of
        self.begins = [0]
        self.latest: tuple[int, Walked] = (-1, Walked(np.zeros(0, int), np.zeros(0, int)))

    def walk(self, first: int, count: int) -> Walked:
        """The symbols `first` to `first + count - 1` of the stream, and the states after them, both [count]."""
        block = bisect.bisect_right(self.begins, first) - 1
        parts, begin, stop = [], self.begins[block], first + count
        while begin < stop:
            found = self.block(block)
            parts.append(Walked(*(array[max(0, first - begin) : stop - begin] for array in found)))
            block, begin = block + 1, begin + len(found.symbols)
        return Walked(*map(np.concatenate, zip(*parts, strict=True)))

    def block(self, number: int) -> Walked:
        """The symbols of a block of strings, and the states after them."""
        if self.latest[0] != number:
            walked = strings(self.generator_of(number), BLOCK, LONGEST)
            there = walked.symbols >= 0
            self.latest = number, Walked(*(array[there] for array in walked))
        if number == len(self.begins) - 1:
            self.begins.append(self.begins[-1] + len(self.latest[1].symbols))
        return self.latest[1]
