import math

import jinja2
import pytest

from lstm_lab.findings import template
from lstm_lab.science.statistics import Estimate, Paired


def test_a_template_with_a_name_that_has_no_value_is_an_error():
    values = {"runs": 1520, "seeds": 20, "full": 20, "accepted": 0.05}
    assert "their 1,520 tracked runs, seeds 0 to 19." in template.fill("opening", values)
    for name in values:
        with pytest.raises((jinja2.UndefinedError, TypeError), match="ndefined"):  # TypeError: of str.format
            template.fill("opening", {key: value for key, value in values.items() if key != name})


@pytest.mark.parametrize(
    ("x", "digits", "text"),
    [
        (0.0213, 2, "0.021"),
        (0.0999, 2, "0.10"),
        (2.96, 2, "3.0"),
        (28.4, 2, "28"),
        (12345.0, 2, "12,000"),
        (0.00002713, 2, "0.000027"),
        (1.5e-9, 2, "1.5e-09"),
        (1.0, 3, "1.00"),
        (0.0, 2, "0"),
        (float("inf"), 2, "inf"),
    ],
)
def test_numbers_keep_their_digits(x, digits, text):
    assert template.number(x, digits) == text


def test_a_comparison_is_told_with_its_interval_and_its_p():
    assert template.ratio(Paired(Estimate(28.4, 15.2, 36.1), 0.00002, 20)) == "28 [15, 36], p < 0.0001"
    assert template.ratio(Paired(Estimate(1.31, math.nan, math.nan), 0.25, 3)) == "1.3, p = 0.25"
