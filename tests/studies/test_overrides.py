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


def test_a_list_is_a_choice_in_words_and_becomes_a_list_again_where_no_text_is_taken():
    [override] = overrides.parse(["data.amplitudes=[0.6,0.3],[1,2]"])
    choices = [overrides.choice(value) for value in override.value().list]
    assert choices == ["[0.6,0.3]", "[1,2]"]
    words = overrides.words_of({"data.amplitudes": choices[0], "data.input": "[x]", "model": "gru"})
    assert words == ["data.amplitudes=[0.6,0.3]", "data.input='[x]'", "model=gru"]


def test_a_text_is_typed_as_it_is_unless_it_would_be_read_as_something_else():
    for text in ("x (1).csv", "a=b.csv", "温度", "T (degC)", "it's", "5", "p $a$_b"):
        assert overrides.typed_word("data.input", text) == f"data.input={text}"
    for text in ("null", "'quoted'"):
        assert overrides.typed_word("data.input", text) != f"data.input={text}"
        assert overrides.text_of(overrides.typed_word("data.input", text).partition("=")[2]) == text
    assert overrides.typed_word("data.amplitudes", [0.6, 1]) == "data.amplitudes=[0.6,1]"
