"""A finding's template filled in with its values."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lstm_lab.reports import tables


@dataclass(frozen=True)
class Finding:
    """What a finding's template is filled in with, and its figures by their file's name."""

    values: dict[str, Any]
    figures: dict[str, Figure]


def fill(name: str, values: Mapping[str, Any], folder: Path = Path(__file__).parent) -> str:
    """The text of a template in `folder`; a name in it that has no value is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=False,  # Markdown of our own numbers and words, nothing that a user typed
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"text": tables.text, "number": tables.number, "p": tables.p}
    environment.filters |= {"verdict": verdict, "shell": shlex.join}
    return environment.get_template(f"{name}.md.jinja").render(values)


def verdict(holds: bool) -> str:
    """The verdict on a claim."""
    return "It holds." if holds else "It does not hold."
