"""The embedded Reber grammar, against one written down by hand, a regular expression, and exact sums."""

import re
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from helpers import ROOT
from lstm_lab import config
from lstm_lab.runs import setup
from lstm_lab.science import reber
from lstm_lab.science.reber import SYMBOLS
from test_config import composed

# Reber's grammar as an expression: P leads to the lower branch, T to the upper one and perhaps on to it
LOWER = "(?:T*VPX)*T*V(?:V|PS)"
EMBEDDED = re.compile(f"B(T|P)B(?:TS*X(?:S|X{LOWER})|P{LOWER})E\\1E")

# And as what may follow, by hand: node by node of figure 3, with the nodes' own letters
NODES = {
    "a": {"B": "b"},
    "b": {"T": "c", "P": "d"},
    "c": {"S": "c", "X": "e"},
    "d": {"T": "d", "V": "f"},
    "e": {"X": "d", "S": "g"},
    "f": {"P": "e", "V": "g"},
    "g": {"E": "h"},
}


def following(text):
    """What may come after each symbol of an embedded string, and the probability of the whole."""
    found, share, node = [set("TP")], Fraction(1), "a"
    assert text[0] == "B"
    assert text[1] in "TP"
    found.append(set("B"))
    share /= 2
    for symbol in text[2:-2]:
        share /= len(NODES[node])
        node = NODES[node][symbol]
        found.append(set(NODES[node]) if node != "h" else {text[1]})
    assert node == "h"
    assert text[-2:] == text[1] + "E"
    return [*found, set("E"), set("B")], share


def texts(symbols):
    """Rows of numbers, ended by -1 or by the row's end, as texts."""
    return ["".join(SYMBOLS[symbol] for symbol in row if symbol >= 0) for row in np.asarray(symbols).tolist()]


def strings(count, longest=200, seed=0):
    return reber.strings(np.random.default_rng(seed), count, longest)


@pytest.fixture(scope="module")
def many():
    return strings(20_000)


def test_every_string_is_one_of_the_grammar_and_ends_as_it_began(many):
    found = texts(many.symbols)
    assert all(EMBEDDED.fullmatch(text) for text in found)
    assert min(map(len, found)) == 9
    there = many.symbols >= 0
    assert (np.diff(there.astype(int), axis=1) <= 0).all()  # nothing behind an end
    assert not EMBEDDED.fullmatch("BTBTXSEPE")
    assert not EMBEDDED.fullmatch("BTBTXSE")


def test_short_strings_are_as_frequent_as_their_choices_say(many):
    """Each is as likely as 1/2 to the power of its choices; all shorter than 12, one by one, and the rest."""
    found = Counter(texts(many.symbols))
    shares = {text: float(following(text)[1]) for text in all_of(11)}
    assert shares["BTBTXSETE"] == 1 / 2 * 1 / 2 * 1 / 2 * 1 / 2 == shares["BPBPVVEPE"]
    assert shares["BTBTSXSETE"] == shares["BTBPTVVETE"] == 1 / 32
    inner = ["BTXSE", "BPVVE", "BTSXSE", "BPTVVE", "BPVPSE", "BTSSXSE", "BTXXVVE", "BPTTVVE", "BPTVPSE"]
    assert set(shares) == {f"B{outer}{text}{outer}E" for text in inner for outer in "TP"}
    counts = [found.pop(text, 0) for text in shares] + [found.total()]
    expected = 20_000 * np.array([*shares.values(), 1 - sum(shares.values())])
    assert stats.chisquare(counts, expected).pvalue > 0.001


def all_of(longest):
    """Every string of at most so many symbols, by going on from each of its beginnings."""
    found, begun = [], [("", "a")]
    while begun:
        text, node = begun.pop()
        if node == "h":
            found += [f"B{outer}{text}{outer}E" for outer in "TP"]
        elif len(text) < longest - 4:
            begun += [(text + symbol, to) for symbol, to in NODES[node].items()]
    return found


def survival():
    """The matrix of the hand-written grammar's nodes, an embedded string's four other symbols left out."""
    names = list(NODES)
    matrix = np.zeros((len(names), len(names)))
    for node, ways in NODES.items():
        for to in ways.values():
            if to != "h":
                matrix[names.index(node), names.index(to)] += 1 / len(ways)
    return matrix


def test_the_mean_length_is_exact_and_so_is_the_share_of_long_ones(many):
    matrix = survival()
    mean = 4 + np.linalg.solve(np.eye(len(matrix)) - matrix, np.ones(len(matrix)))[0]
    assert mean == pytest.approx(12, rel=1e-12)
    lengths = (many.symbols >= 0).sum(axis=1)
    assert abs(lengths.mean() - mean) < 4 * lengths.std() / np.sqrt(len(lengths))

    def longer(count):
        return np.linalg.matrix_power(matrix, count - 4)[0].sum()

    for length in (15, 20, 25):
        share = longer(length)
        assert abs((lengths > length).mean() - share) < 4 * np.sqrt(share / len(lengths))
    [told] = re.findall(r"one in ([\d,]+) would be longer", (ROOT / "conf/data/embedded_reber.yaml").read_text())
    assert round(1 / longer(41), -3) == int(told.replace(",", "")) == 24_000
    assert longer(reber.LONGEST) < 1e-25


def test_of_a_longest_length_the_longer_ones_are_drawn_again_and_the_others_as_frequent():
    found = Counter(texts(strings(6000, longest=11).symbols))
    shares = {text: following(text)[1] for text in all_of(11)}
    assert set(found) == set(shares)
    expected = np.array([float(share / sum(shares.values())) for share in shares.values()]) * 6000
    assert stats.chisquare([found[text] for text in shares], expected).pvalue > 0.001


def test_what_may_come_next_is_what_a_walk_by_hand_finds(many):
    possible = reber.possible(many.states)
    for text, row in zip(texts(many.symbols[:3000]), possible, strict=False):
        for allowed, told in zip(following(text)[0], row, strict=False):
            assert set(np.array(list(SYMBOLS))[told]) == allowed


def source(name, *words):
    return setup.make_task(config.check(composed(f"data={name}", *words)).data)


def text_of(inputs):
    """One-hot rows [time, 7] as text."""
    return "".join(SYMBOLS[step.argmax()] for step in inputs if step.any())


def test_no_other_string_is_one_of_those_trained_on_and_both_are_tested():
    one = source("embedded_reber")
    rows = one.chunk(0, 400)
    trained = Counter(text_of(inputs) + "E" for inputs in rows.inputs)
    new = one.new(3, 0, 512)
    tested = [text_of(inputs) + "E" for inputs in new.inputs]
    known, others = set(tested[::2]), set(tested[1::2])
    assert all(map(EMBEDDED.fullmatch, tested))
    assert not known & others
    assert len(others) > len(known) > 50  # the most likely strings are there several times, each of those trained on
    assert set(trained) == known
    held = Counter(tested[::2])
    expected = [8000 * held[text] / 256 for text in held]
    assert stats.chisquare([trained[text] for text in held], expected).pvalue > 0.001
    again = one.new(4, 0, 512)
    np.testing.assert_array_equal(again.inputs, new.inputs)
    part = one.new(0, 100, 7)
    for array, whole in zip(part, new, strict=True):
        np.testing.assert_array_equal(array, whole[100:107])


def test_of_a_string_each_next_symbol_is_asked_for():
    one = source("embedded_reber")
    new, rows = one.new(0, 0, 512), one.chunk(0, 5)
    assert rows.starts_over.all()
    for inputs, targets, counts in zip(
        [*rows.inputs, *new.inputs], [*rows.targets, *new.targets], [*(rows.weights > 0), *new.counts], strict=True
    ):
        text = text_of(inputs) + "E"
        assert text_of(targets) == text[1:]
        assert counts.tolist() == [n < len(text) - 1 for n in range(40)]
        assert not inputs[~counts].any()
        assert not targets[~counts].any()
    for inputs, possible, counts in zip(new.inputs, new.possible, new.counts, strict=True):
        allowed = following(text_of(inputs) + "E")[0]
        told = [set(np.array(list(SYMBOLS))[step]) for step in possible[counts]]
        assert told == allowed[:-1]


def test_few_and_many_strings_are_found():
    assert source("embedded_reber", "data.strings=1").new(0, 0, 2).inputs.shape == (2, 40, 7)
    one = source("embedded_reber", "data.strings=2000", "data.time_steps=20")
    tested = [text_of(inputs) for inputs in one.new(0, 0, 4000).inputs]
    assert not set(tested[::2]) & set(tested[1::2])


def split(text):
    """The strings that a stream is made of, the last of which may be cut; found by the expression alone."""
    found, first = [], 0
    while match := EMBEDDED.match(text, first):
        found.append(match[0])
        first = match.end()
    return found, text[first:]


def streams_of(rows, batch_size=20):
    """Each stream's text, over all batches, from its inputs, and from its targets."""
    return [
        ["".join(map(text_of, part[stream::batch_size])) for stream in range(batch_size)]
        for part in (rows.inputs, rows.targets)
    ]


def test_a_stream_is_whole_strings_one_after_the_other_and_goes_on_from_batch_to_batch():
    rows = source("continual_reber").chunk(0, 300)
    assert rows.weights is None
    assert rows.starts_over is None
    texts, targets = streams_of(rows)
    assert len(set(texts)) == 20
    for text, target in zip(texts, targets, strict=True):
        assert len(text) == len(target) == 6000
        assert target[:-1] == text[1:]
        whole, rest = split(text)
        assert len(whole) > 400
        assert len(rest) < 100
        assert any(string.startswith(rest) for string in [rest, *whole])
    np.testing.assert_array_equal(rows.x[20 * 7 + 3], np.arange(140.0, 160))
    lengths = [len(string) for text in texts for string in split(text)[0]]
    assert abs(np.mean(lengths) - 12) < 4 * np.std(lengths) / np.sqrt(len(lengths))


def test_random_access_to_a_stream_is_that_of_one_who_read_it_all():
    def fresh():
        return reber.Stream(lambda block: np.random.default_rng([5, block]))

    whole = fresh().walk(0, 20_000)
    one = fresh()
    for first, count in [(15_000, 300), (0, 1), (3000, 6000), (19_999, 1), (14_990, 20), (0, 20_000)]:
        for stream in (one, fresh()):
            part = stream.walk(first, count)
            np.testing.assert_array_equal(part.symbols, whole.symbols[first : first + count])
            np.testing.assert_array_equal(part.states, whole.states[first : first + count])


def test_new_streams_are_others_at_each_look_and_tell_what_may_come_next(monkeypatch):
    monkeypatch.setattr(reber, "TESTED", 400)
    monkeypatch.setattr(reber, "LEAD_IN", 100)
    one = source("continual_reber")
    looks = [one.new(look, first, 3) for look, first in [(0, 0), (0, 3), (1, 0)]]
    texts = [text_of(inputs) for new in looks for inputs in new.inputs]
    assert len({*texts, *(text[:500] for text in streams_of(one.chunk(0, 30))[0])}) == 9 + 20
    np.testing.assert_array_equal(one.new(0, 4, 1).inputs[0], looks[1].inputs[1])
    for new in looks:
        np.testing.assert_array_equal(new.counts, np.tile(np.arange(500) >= 100, (3, 1)))
        assert new.inputs.shape == new.targets.shape == new.possible.shape == (3, 500, 7)
        for inputs, targets, possible in zip(new.inputs, new.targets, new.possible, strict=True):
            text = text_of(inputs)
            assert text_of(targets)[:-1] == text[1:]
            allowed = [symbols for string in split(text)[0] for symbols in following(string)[0]]
            told = [set(np.array(list(SYMBOLS))[step]) for step in possible[: len(allowed)]]
            assert len(allowed) > 300
            assert told == allowed
