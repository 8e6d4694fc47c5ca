"""This repo's LSTM on a public series, by one recipe for all of them.

The series is written to a file as a user would: the samples as they are or their changes from one to the next, and with
a season of months or quarters where in the year each sample's successor lies. Forecasts of changes are summed up.
"""

import csv
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from public_series import ROOT, Series, Split

RECIPE = (
    *("model.cell_size=16", "model.hidden_stddev=0.3", "data.batch_size=2", "data.time_steps=10"),
    *("optimizer.learning_rate=0.002", "training.steps=400"),
)
FORMS = {"samples": 0, "changes": 1}  # over how many samples the differences are taken
CHOOSING = (1000, 1001, 1002)  # seeds that choose between the forms, none of those that are reported


def columns(series: Series, lag: int) -> dict[str, list[float]]:
    """The file's columns by their names: what is forecast, and where in the year its successor lies, if that is known."""
    values = series.values()
    made = {"value": values[lag:] - values[:-lag] if lag else values}
    if series.season in (4, 12):
        turn = 2 * math.pi * (np.arange(lag, len(values)) + 1) / series.season
        made |= {"sine": np.sin(turn), "cosine": np.cos(turn)}
    return {name: column.tolist() for name, column in made.items()}


def words(series: Series, split: Split, lag: int, file: Path) -> list[str]:
    """What a user would type after train.py, once `file` is written; the same samples are held out whatever the lag."""
    made = columns(series, lag)
    with open(file, "w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(made)
        writer.writerows(zip(*made.values(), strict=True))
    count = len(made["value"])
    samples = count + lag
    shares = {"held_out": samples - split.known, "validation": split.known - split.trained}
    return [
        *("data=csv", f"data.path={file}", f"data.input=[{','.join(made)}]", "data.target=value", "data.horizon=1"),
        *(f"data.{name}={(part - 0.5) / count}" for name, part in shares.items()),  # which the program rounds up
        *RECIPE,
    ]


def config_of(typed: list[str]) -> Any:
    """The checked config of these words."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from lstm_lab import config

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        composed: Any = OmegaConf.to_container(compose("train", typed), resolve=True)
    return config.check({key: value for key, value in composed.items() if key not in ("resume", "take_over")})


def forecast(series: Series, split: Split, origins: np.ndarray, seed: int, form: str) -> np.ndarray:
    """The forecasts [origins, horizon] of samples n, n + 1, ... from every origin n, each fed back for the next."""
    from lstm_lab import runtime
    from lstm_lab.runs import setup
    from lstm_lab.science.backtest import backtest
    from lstm_lab.science.evaluation import compile_prediction
    from lstm_lab.science.model import zero_state
    from lstm_lab.science.training import train

    lag = FORMS[form]
    with tempfile.TemporaryDirectory() as folder:
        config = config_of([*words(series, split, lag, Path(folder, "series.csv")), f"training.seed={seed}"])
        runtime.start_tensorflow(config.training.level, config.training.threads)
        source = setup.make_source(config)
    program = setup.program_for(config, source.stride)
    program.restart(setup.new_model(config).get_weights(), config.optimizer.learning_rate)
    state, steps = zero_state(program.model, source.batch_size), config.training.steps
    for _ in train(program.chunk, source, state, steps=steps, chunk_steps=steps):
        pass
    (mean, stddev), (target_mean, target_stddev) = source.units
    inputs = (np.array(list(columns(series, lag).values())).T - mean) / stddev
    feedback = [0] + [None] * (inputs.shape[1] - 1)
    predict, before = compile_prediction(program.model), zero_state(program.model, 1)
    made = backtest(predict, inputs, origins - lag - 1, before, series.horizon, feedback, horizon=1)[..., 0]
    made = made * target_stddev + target_mean
    return series.values()[origins - 1, None] + made.cumsum(axis=1) if lag else made
