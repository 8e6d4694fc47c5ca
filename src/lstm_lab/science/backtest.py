"""Forecasts from many origins in a stretch of known samples, as they would have been made there: a backtest.

The state is carried, so that one pass through the stretch leaves it at every origin; from there all forecasts are made
side by side, as rows of one batch, on the model's own predictions (rolling origin; Tashman, 2000).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lstm_lab.science.evaluation import Predict

Feedback = Sequence[
    int | None
]  # of each input channel: the target that it is, some samples later; None: known beforehand


def origins(first: int, last: int, count: int) -> np.ndarray:
    """At most `count` numbers from `first` to `last`, evenly spaced and both among them; the first alone if one."""
    count = max(0, min(count, last - first + 1))
    return first + (last - first) * np.arange(count) // max(1, count - 1)


def ahead(values: np.ndarray, origins: np.ndarray, steps: int) -> np.ndarray:
    """The `steps` samples of `values` [samples, ...] from each origin on: [origins, steps, ...]."""
    return values[origins[:, None] + np.arange(steps)]


def backtest(
    predict: "Predict",
    inputs: np.ndarray,
    origins: np.ndarray,
    state: Sequence[np.ndarray],
    steps: int,
    feedback: Feedback,
    *,
    horizon: int,
    reset_every: int | None = None,
) -> np.ndarray:
    """The forecasts [origins, steps, targets] from each origin, in ascending order, of `inputs` [samples, inputs].

    The forecast from origin n begins with the target of sample n, which is its input `horizon` samples later: as in
    `roll_out`, with the inputs n to n + horizon - 1 known and the state after those before. So its truth is
    `ahead(targets, origins, steps)`; the last origin must have as many samples from it on. `state`, a list of
    [1, cell_size], is that before the first sample. With `reset_every` it starts over at each origin, and then every so
    many samples.
    """
    states, start = [], 0
    for origin in origins.tolist():
        if origin > start and not reset_every:
            _, state = predict(inputs[None, start:origin], state)
            start = origin
        states.append(state)
    rows = [np.concatenate(tensors) for tensors in zip(*states, strict=True)]
    window = ahead(inputs, origins, steps)
    known, future = window[:, :horizon], window[:, horizon:]
    return roll_out(predict, known, rows, steps, feedback, future, reset_every=reset_every)


def roll_out(
    predict: "Predict",
    known: np.ndarray,
    state: Sequence[np.ndarray],
    steps: int,
    feedback: Feedback,
    future: np.ndarray | None = None,
    *,
    reset_every: int | None = None,
) -> np.ndarray:
    """The forecasts [rows, steps, targets] of a model whose targets are inputs some samples later, on its predictions.

    `known` [rows, horizon, inputs] are as many inputs as the horizon is long. They are fed first, then the predictions
    in their order, each in its turn the input of another: input i is target `feedback[i]`. Where that is None the input
    is known beforehand and read from `future` [rows, at least steps - horizon, inputs], the samples after `known`.
    `state` is a list of [rows, cell_size]. With `reset_every` it starts over every so many samples. ValueError if a
    future is needed and not given.
    """
    if future is None and None in feedback:
        raise ValueError(f"feedback={list(feedback)}: the future of what is not fed back must be given")
    rows, horizon, channels = known.shape
    inputs = np.full((rows, max(steps, horizon), channels), np.nan)
    inputs[:, :horizon] = known
    if future is not None:
        inputs[:, horizon:] = future[:, : inputs.shape[1] - horizon]
    fed, targets = np.array([pair for pair in enumerate(feedback) if pair[1] is not None], int).reshape(-1, 2).T
    made = []
    for i in range(steps):
        if reset_every and i % reset_every == 0:
            state = [np.zeros_like(tensor) for tensor in state]
        prediction, state = predict(inputs[:, i : i + 1], state)
        made.append(prediction[:, 0].astype(np.float64))
        if i + horizon < steps:
            inputs[:, i + horizon, fed] = made[-1][:, targets]
    return np.stack(made, axis=1)
