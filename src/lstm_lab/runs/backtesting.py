"""A run's backtest: forecasts from many origins in what was held out, their scores, and intervals for later ones."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lstm_lab.config import Config
from lstm_lab.datasets import Csv
from lstm_lab.runs.setup import Setup
from lstm_lab.runs.sheets import in_a_cell, write_rows
from lstm_lab.science.series import SeriesBatches

if TYPE_CHECKING:  # these import TensorFlow, and a refused config must not wait for it
    from lstm_lab.science.curves import Source
    from lstm_lab.science.seasons import Seasons
    from lstm_lab.science.verification import Verification


def seasons_of(config: Config, source: "Source") -> "Seasons | None":
    """The seasons that a run's forecasts are measured by; None if it makes none."""
    if not isinstance(source, SeriesBatches) or not source.horizon:
        return None
    from lstm_lab.science.seasons import Seasons

    return Seasons.of(source, config.evaluation.season)


def verify(setup: Setup, metrics: dict[str, float]) -> "Verification | None":
    """The run's forecasts from many origins, verified; None where there are none. Adds its scores to `metrics`."""
    config, seasons = setup.config, seasons_of(setup.config, setup.source)
    if seasons is None or not config.lead_times:
        return None
    from lstm_lab.science import backtest, verification
    from lstm_lab.science.evaluation import compile_prediction
    from lstm_lab.science.model import zero_state

    asked, model, stretches = config.evaluation, setup.program.model, seasons.source.since_training()
    reset_every = None if config.training.carry_state else config.data.time_steps
    args = compile_prediction(model), zero_state(model, 1), stretches, config.lead_times
    forecasts = backtest.forecasts(*args, count=asked.origins, reset_every=reset_every)
    level = asked.interval if seasons.source.settings.validation else None
    verified = verification.verify(forecasts, stretches, seasons, level)
    found = {name: score.overall for name, score in verified.scores.items()} if verified else {}
    metrics |= {f"backtest/{name}": score for name, score in found.items() if math.isfinite(score)}
    return verified


def write(folder: Path, verified: "Verification", config: Config) -> None:
    """Writes the scores of every lead time and target, and the half-widths of intervals beyond the series' end."""
    assert isinstance(config.data, Csv)
    targets = config.data.targets
    if verified.half_widths is not None:
        np.save(folder / "half_widths.npy", verified.half_widths)

    def rows() -> Iterator[list]:
        for lead, scores in enumerate(verified.by_lead, 1):
            for i, target in enumerate(targets):
                numbers = [float(score.each[i]) for score in scores.values()]
                yield [lead, in_a_cell(target), *(number if math.isfinite(number) else "" for number in numbers)]

    with open(folder / "backtest.csv", "w", encoding="utf-8", newline="") as text:
        write_rows(text, ["lead_time", "target", *verified.scores], rows())
