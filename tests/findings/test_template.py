import jinja2
import pytest

from lstm_lab.findings import template


def test_a_template_with_a_name_that_has_no_value_is_an_error():
    values = {"runs": 1520, "seeds": 20, "full": 20, "accepted": 0.05}
    assert "their 1,520 tracked runs, seeds 0 to 19." in template.fill("opening", values)
    for name in values:
        with pytest.raises((jinja2.UndefinedError, TypeError), match="ndefined"):  # TypeError: of str.format
            template.fill("opening", {key: value for key, value in values.items() if key != name})
