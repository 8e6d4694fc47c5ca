"""The grammar of typed texts and lists of them, which is Hydra's where it has one for quotes."""

import random

import pytest
from hydra.core.override_parser.types import Quote, QuotedString

from lstm_lab import texts


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("T [degC]", "T [degC]"),
        ("a,b", "a,b"),
        (" a ", " a "),
        ("'a, b'", "a, b"),
        ("it's", "it's"),
        ("[a]", ["a"]),
        (" [ a , b c ] ", ["a", "b c"]),
        ('"[a]"', "[a]"),
        ("[]", []),
        ("[ ]", []),
        ("['']", [""]),
        ("[a,]", ["a", ""]),
        ("[T (degC),p (mbar)]", ["T (degC)", "p (mbar)"]),
        ("[N [/cm3],T [degC]]", ["N [/cm3]", "T [degC]"]),
        ("[T (a, b),'c, d',\"e, ]f\"]", ["T (a, b)", "c, d", "e, ]f"]),
        ("[温度,湿度]", ["温度", "湿度"]),
        ("[-999,none,n/a,null,1e5,true]", ["-999", "none", "n/a", "null", "1e5", "true"]),
        ("[it's,5' tall, 'a' b]", ["it's", "5' tall", "'a' b"]),
        ("[:-(,b]", [":-(", "b"]),
        (r"['it\'s','a\\','C:\dir']", ["it's", "a\\", "C:\\dir"]),
        ("[a],[b]", "[a],[b]"),
        ("[a] b [c]", "[a] b [c]"),
        ("[a] b", "[a] b"),
        ("[T [degC]", "[T [degC]"),
        ("[", "["),
        ("]", "]"),
        ("", ""),
    ],
)
def test_a_text_is_itself_and_a_list_stands_in_brackets(typed, meant):
    assert texts.read(typed) == meant
    assert texts.read(texts.write(meant)) == meant


def test_whatever_is_written_is_read_back_and_quotes_are_hydras():
    letters = random.Random(0)
    for _ in range(2000):
        items = ["".join(letters.choices("[](){},'\"\\ a", k=letters.randrange(7))) for _ in range(3)]
        text = items[0]
        assert texts.read(texts.write(items)) == items
        assert texts.read(texts.write(text)) == text
        assert texts.quoted(text) == QuotedString(text, Quote.single).with_quotes()
        assert texts.choices(",".join(map(texts.quoted, items))) == list(map(texts.quoted, items))


def test_what_needs_no_quotes_is_written_without_and_null_is_a_text_in_quotes():
    assert texts.write("T (degC)") == "T (degC)"
    assert texts.write(["N [/cm3]", "null"]) == "[N [/cm3],null]"
    assert texts.write(["a, b", "c"]) == "['a, b','c']"
    assert [texts.write("null"), texts.write("[a]")] == ["'null'", "'[a]'"]


def test_commas_between_lists_part_choices_and_a_comma_alone_is_a_text():
    assert texts.choices("[a, b],c ,'d,e'") == ["[a, b]", "c", "'d,e'"]
    assert texts.choices(",") == [","]
    assert texts.choices(" ") == [" "]


def test_what_is_shown_has_no_quotes_around_items():
    assert texts.shown("'T (degC)'") == "T (degC)"
    assert texts.shown("['a b','it\\'s'],\"c\"") == "[a b,it's],c"
    assert texts.shown("it's 'a' b") == "it's 'a' b"
