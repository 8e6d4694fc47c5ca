"""A finding's template filled in with its values."""

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lstm_lab.science.statistics import Estimate, Paired


@dataclass(frozen=True)
class Finding:
    """What a finding's template is filled in with, and its figures by their file's name."""

    values: dict[str, Any]
    figures: dict[str, Figure]


def fill(name: str, values: Mapping[str, Any]) -> str:
    """The text of a template; a name in it that has no value is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # Markdown of our own numbers and words, nothing that a user typed
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"text": text, "number": number, "ratio": ratio, "p": p, "verdict": verdict}
    environment.filters["shell"] = shlex.join
    return environment.get_template(f"{name}.md.jinja").render(values)


def text(estimate: Estimate, digits: int = 2) -> str:
    """A median and its interval: '0.021 [0.013, 0.034]'."""
    middle, low, high = (number(x, digits) for x in (estimate.median, estimate.low, estimate.high))
    return middle if math.isnan(estimate.low) else f"{middle} [{low}, {high}]"


def number(x: float, digits: int = 2) -> str:
    """So many digits, without an exponent as long as that is readable."""
    if x == 0 or not 1e-6 <= abs(x) < 1e6:
        return f"{x:.{digits}g}"
    rounded = float(f"{x:.{digits}g}")
    return f"{rounded:,.{max(0, digits - 1 - math.floor(math.log10(abs(rounded))))}f}"


def p(compared: Paired) -> str:
    """The p of a test, with two digits as long as they mean something."""
    return "p < 0.0001" if compared.p < 1e-4 else f"p = {compared.p:.2g}"


def ratio(compared: Paired) -> str:
    """How many times one costs the other, and the p of that."""
    return f"{text(compared.ratio)}, {p(compared)}"


def verdict(holds: bool) -> str:
    """The verdict on a claim."""
    return "It holds." if holds else "It does not hold."
