"""FORECASTS.md out of what was measured (forecasts.json), by the template beside this file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from results import number, spread

HERE = Path(__file__).resolve().parent
STATISTICAL = {"seasonal_naive": "seasonal naive", "ets": "ETS", "arima": "ARIMA", "theta": "Theta"}
LABELS = {**STATISTICAL, "keras": "plain Keras LSTM", "lab": "this repo"}
BESIDE = ("seasonal_naive", "keras", "statistical")  # what this repo's error is divided by


@dataclass(frozen=True)
class Row:
    """A series' figures as the tables show them; `ratios` are this repo's MASE by those of `BESIDE`."""

    name: str
    about: dict[str, Any]
    mase: list[str]
    coverage: list[str]
    ratios: dict[str, float]
    best: str


@dataclass(frozen=True)
class Aim:
    """On so many series this repo's error should be below a peer's, or at most it."""

    text: str
    reached: int
    aim: int


def middles(found: dict[str, Any], what: str) -> dict[str, float]:
    """The median over the seeds of each method."""
    return {name: median(one[what] for one in by_seed) for name, by_seed in found["methods"].items()}


def row_of(name: str, found: dict[str, Any]) -> Row:
    """The row of a series."""
    mase, coverage = middles(found, "mase"), middles(found, "coverage")
    best = min(STATISTICAL, key=lambda peer: mase[peer])
    beside = {**mase, "statistical": mase[best]}
    by_seed = {method: [one["mase"] for one in found["methods"][method]] for method in LABELS}
    return Row(
        name,
        found,
        [spread(made) if len(made) > 1 else number(made[0]) for made in by_seed.values()],
        [f"{100 * coverage[method]:.0f}" for method in LABELS],
        {peer: mase["lab"] / beside[peer] for peer in BESIDE},
        STATISTICAL[best],
    )


def aims(rows: Sequence[Row]) -> list[Aim]:
    """What was aimed at, and what was reached."""
    below = {peer: sum(row.ratios[peer] < 1 for row in rows) for peer in BESIDE}
    return [
        Aim("an error below the seasonal naive forecast's", below["seasonal_naive"], len(rows)),
        Aim("an error below the plain Keras LSTM's", below["keras"], len(rows)),
        Aim(
            "an error of at most that of the best of seasonal naive, ETS, ARIMA and Theta",
            sum(row.ratios["statistical"] <= 1 for row in rows),
            -(-len(rows) // 2),
        ),
    ]


def render(found: dict[str, Any], recipe: Sequence[str], recent: int) -> str:
    """All of FORECASTS.md; `recent` residuals at most make a network's interval."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=False,  # Markdown of our own numbers and words
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["number"] = number
    rows = [row_of(name, one) for name, one in found["series"].items()]
    values = {"found": found, "rows": rows, "labels": list(LABELS.values()), "aims": aims(rows)}
    return environment.get_template("FORECASTS.md.jinja").render(values, recipe=recipe, recent=recent) + "\n"
