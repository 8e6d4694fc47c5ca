"""The validation error, quickly: a model may be validated many times while it trains.

A stretch of samples takes as long as it has samples, one after the other. So stretches are cut into rows that are
predicted side by side, each after a lead-in of its own, in which the state comes to be what it would be.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np

from lstm_lab.science.curves import Continuation
from lstm_lab.science.evaluation import compile_prediction, known_in
from lstm_lab.science.model import zero_state

# The least that a model goes through before a row; how many rows, where samples are many; and how many at a time
LEAD_WINDOWS, LEAD_SAMPLES, ROWS, AT_A_TIME = 2, 100, 64, 512


class InRows(NamedTuple):
    """Stretches in rows side by side, each with a lead-in: inputs and targets [rows, samples, size].

    `counts` [rows, samples] tells which samples are validated; `scale` [rows, 1, output_size] makes of a normalised
    error one as `errors_of` gives it.
    """

    inputs: np.ndarray
    targets: np.ndarray
    counts: np.ndarray
    scale: np.ndarray


def in_rows(stretches: Sequence[Continuation], *, time_steps: int, carry_state: bool) -> InRows:
    """The stretches from `first` on in rows, each after its lead-in or as much of it as there is.

    Without `carry_state` a row is a window. Where samples are many, rows are longer, so that there is less lead-in.
    """
    lead = max(LEAD_WINDOWS * time_steps, LEAD_SAMPLES) if carry_state else 0
    total = sum(len(curve.x) - curve.first for curve in stretches)
    body = min(max(lead, total // ROWS), 4 * lead) if carry_state else time_steps
    whole = InRows(*(np.concatenate(parts) for parts in zip(*(cut(one, lead, body) for one in stretches), strict=True)))
    width = np.flatnonzero(whole.counts.any(axis=0))[-1:].sum() + 1  # behind it nothing counts
    return InRows(*(part[:, :width] for part in whole))


def cut(curve: Continuation, lead: int, body: int) -> InRows:
    """A stretch from `first` on in rows of `body` samples, each after the `lead` before it or as many as there are."""
    start, last = np.arange(curve.first, len(curve.x), body)[:, None], len(curve.x) - 1
    n = np.maximum(0, start - lead) + np.arange(lead + body)
    counts = (n >= start) & (n < start + body) & (n <= last)
    n = np.minimum(n, last)
    size = curve.targets.shape[1]
    scale = np.ones(size) if curve.units is None or size > 1 else curve.units[1]
    counts &= known_in(curve)[n]
    return InRows(curve.inputs[n], curve.targets[n], counts, np.broadcast_to(scale, (len(n), 1, size)))


def validate(model: keras.Model, rows: InRows) -> float:
    """The mean squared error of what counts in the rows, as `evaluate` measures it; NaN if no target is known.

    The sum is exact, the same on every processor: the error may decide which weights are kept.
    """
    predict, squares = compile_prediction(model), []
    for first in range(0, len(rows.inputs), AT_A_TIME):
        inputs, targets, counts, scale = (part[first : first + AT_A_TIME] for part in rows)
        made = predict(inputs, zero_state(model, len(inputs)))[0]
        squares.append(((made.astype(np.float64) - targets) * scale)[counts].ravel() ** 2)
    whole = np.concatenate(squares)
    return math.fsum(whole.tolist()) / len(whole) if len(whole) else math.nan
