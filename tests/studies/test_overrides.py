from hydra.core.override_parser.overrides_parser import OverridesParser

from lstm_lab.studies import overrides


def test_the_grammar_reads_back_what_is_quoted():
    for value in (5, 0.1, 1e-05, True, None, "lstm", "a b", "it's", "x,y=[1]", "back\\slash", "1"):
        [override] = OverridesParser.create().parse_overrides([f"key={overrides.quoted(value)}"])
        read = override.value()
        assert getattr(read, "text", read) == value
