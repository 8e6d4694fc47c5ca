from hydra.core.override_parser.overrides_parser import OverridesParser

from lstm_lab.studies import overrides


def test_the_grammar_reads_back_what_is_written():
    values = (
        5,
        0.1,
        1e-05,
        True,
        None,
        "lstm",
        "a b",
        "it's",
        "x,y=[1]",
        "back\\slash",
        "1",
        "null",
        "温度",
        [1, "a b"],
    )
    for value in values:
        [override] = OverridesParser.create().parse_overrides([f"key={overrides.in_words(value)}"])
        read = override.value()
        plain = (
            [getattr(part, "text", part) for part in read] if isinstance(read, list) else getattr(read, "text", read)
        )
        assert plain == value
        assert type(plain) is type(value)


def test_a_list_is_a_choice_in_words_and_becomes_a_list_again():
    for typed, choices, words in [
        ("data.amplitudes=[0.6,0.3],[1,2]", ["[0.6,0.3]", "[1,2]"], ["[0.6,0.3]", "[1,2]"]),
        ("data.input=[a,'b c'],'[x]',a", ["[a,b c]", "'[x]'", "a"], ["[a,b c]", "'[x]'", "a"]),
        ("data.path='a, b','[x]'", ["a, b", "'[x]'"], ["'a, b'", "'[x]'"]),
    ]:
        [override], key = overrides.parse([typed]), typed.partition("=")[0]
        kept = [overrides.choice(key, value) for value in override.value().list]
        assert kept == choices
        assert [overrides.words_of({key: choice}) for choice in kept] == [[f"{key}={word}"] for word in words]


def test_a_text_is_typed_as_it_is_unless_it_would_be_read_as_something_else():
    for text in ("x (1).csv", "a=b.csv", "温度", "T (degC)", "it's", "5", "p $a$_b"):
        assert overrides.typed_word("data.input", text) == f"data.input={text}"
    assert overrides.typed_word("data.input", "null") == "data.input='null'"
    assert overrides.typed_word("data.input", "'quoted'") == r"data.input='\'quoted\''"
    assert overrides.typed_word("data.input", ["N [/cm3]", "b"]) == "data.input=[N [/cm3],b]"
    assert overrides.typed_word("data.amplitudes", [0.6, 1]) == "data.amplitudes=[0.6,1]"
