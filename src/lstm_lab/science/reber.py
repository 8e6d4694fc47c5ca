"""The embedded Reber grammar (Reber, 1967; Smith and Zipser, 1989; Fahlman, 1991), as a walk between numbered states.

A string is B, T or P, a string of Reber's own grammar (B ... E), the T or P of before, E. A state with two ways on takes
each with probability 1/2. The symbol before the last is told by the second alone, whatever stands between them.
"""

from collections.abc import Callable

import numpy as np

SYMBOLS = "BTPSXVE"
TESTED = 100_000  # symbols of a stream that is tested (Gers et al., 2000, table 2)
BLOCK = 256  # strings drawn from one random stream
LONGEST = 200  # symbols of a stream's string: one in 10**23 would be longer

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


def strings(draw: np.random.Generator, count: int, longest: int) -> np.ndarray:
    """`count` strings [count, longest] as numbers of SYMBOLS, -1 behind their ends; longer ones are drawn again."""
    found = np.zeros((0, longest), np.int64)
    while len(found) < count:
        bits = draw.integers(0, 2, (count, longest))
        state, walked = np.full(count, FIRST), np.full((count, longest), -1)
        for t in range(longest):
            on = state != END
            now, way = state[on], bits[on, t]
            walked[on, t], state[on] = SYMBOL[now, way], TO[now, way]
        found = np.concatenate([found, walked[state == END]])
    return found[:count]


def possible(symbols: np.ndarray) -> np.ndarray:
    """Which symbols may come after each of these [strings, time] that begin with B: bool [strings, time, 7].

    After a string's end comes the next one's B. -1 stands where there is none: after it nothing is possible.
    """
    following = np.zeros((END + 1, len(SYMBOLS)), bool)
    following[np.arange(END)[:, None], SYMBOL] = True
    following[END] = following[FIRST]
    state, found = np.full(len(symbols), FIRST), np.zeros((*symbols.shape, len(SYMBOLS)), bool)
    for t in range(symbols.shape[1]):
        now = np.where(state == END, FIRST, state)
        state = TO[now, np.where(SYMBOL[now, 0] == symbols[:, t], 0, 1)]
        found[:, t] = following[state]
    return found & (symbols >= 0)[..., None]


class Stream:
    """Strings one after the other, of blocks that `generator_of` gives the random numbers for.

    Where a block begins follows from the lengths of those before it, which are kept: a number for some 3,000 symbols.
    """

    def __init__(self, generator_of: Callable[[int], np.random.Generator]) -> None:
        self.generator_of = generator_of
        self.begins = [0]
        self.latest: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))

    def symbols(self, first: int, count: int) -> np.ndarray:
        """The symbols `first` to `first + count - 1` of the stream."""
        block = int(np.searchsorted(self.begins, first, side="right")) - 1
        parts, stop = [], first + count
        begin = self.begins[block]
        while begin < stop:
            found = self.block(block)
            parts.append(found[max(0, first - begin) : stop - begin])
            block, begin = block + 1, begin + len(found)
        return np.concatenate(parts)

    def block(self, number: int) -> np.ndarray:
        """The symbols of a block of strings."""
        if self.latest[0] != number:
            walked = strings(self.generator_of(number), BLOCK, LONGEST)
            self.latest = number, walked[walked >= 0]
        if number == len(self.begins) - 1:
            self.begins.append(self.begins[-1] + len(self.latest[1]))
        return self.latest[1]
