"""Forecasts from many origins in stretches of known samples, as they would have been made there: a backtest.

The state is carried, so that one pass through a stretch leaves it at every origin; from there all forecasts are made
side by side, as rows of one batch, on the model's own predictions (rolling origin; Tashman, 2000).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lstm_lab.science.curves import Continuation

if TYPE_CHECKING:
    from lstm_lab.science.evaluation import Predict

# Of each input channel: the target that it is, some samples later; None: known beforehand
Feedback = Sequence[int | None]


@dataclass(frozen=True)
class Forecasts:
    """Forecasts `made` [origins, steps, targets] and their `truths`, NaN where one is missing, both normalised.

    `stretch` and `sample` [origins] tell from where, and `since` [origins], in ascending order, how many samples after
    the first of its series that is held out an origin lies: below 0 in what is for validation.
    """

    made: np.ndarray
    truths: np.ndarray
    stretch: np.ndarray
    sample: np.ndarray
    since: np.ndarray


def forecasts(
    predict: "Predict",
    zeros: Sequence[np.ndarray],
    stretches: Sequence[Continuation],
    steps: int,
    *,
    count: int,
    reset_every: int | None = None,
) -> Forecasts:
    """Forecasts from at most `count` origins in what is held out, and as close ones in what is for validation.

    The stretches are as of `SeriesBatches.since_training`; `zeros` is the state that each begins with.
    """
    at = origins_in(stretches, steps, count)
    rows: list[tuple[np.ndarray, np.ndarray, Sequence[np.ndarray]]] = []
    truths = []
    for curve, origins in zip(stretches, at, strict=True):
        if len(origins):
            known, future = ahead(curve.inputs, origins, steps), ahead(future_of(curve), origins, steps)
            rows.append((known, future, states_at(predict, curve.inputs, origins, zeros, reset_every)))
            truths.append(ahead(known_targets(curve), origins, steps))
    horizon, feedback = stretches[0].horizon, feedback_of(stretches[0])
    stretch = np.repeat(np.arange(len(at)), [len(origins) for origins in at])
    sample = np.concatenate(at)
    since = sample - np.array([curve.held_out for curve in stretches])[stretch]
    if not rows:
        nothing = np.zeros((0, steps, stretches[0].targets.shape[-1]))
        return Forecasts(nothing, nothing, stretch, sample, since)
    known, future = (np.concatenate([row[i] for row in rows]) for i in (0, 1))
    state = [np.concatenate(tensors) for tensors in zip(*(row[2] for row in rows), strict=True)]
    made = roll_out(
        predict, known[:, :horizon], state, steps, feedback, future[:, horizon:], reset_every=reset_every, gone=sample
    )
    order = np.argsort(since, kind="stable")
    return Forecasts(made[order], np.concatenate(truths)[order], stretch[order], sample[order], since[order])


def origins_in(stretches: Sequence[Continuation], steps: int, count: int) -> list[np.ndarray]:
    """The origins in each stretch: `count` at most of those held out, evenly spaced over all stretches together.

    The first is held out itself, and they go on backwards, as close, through what is for validation. Each has `steps`
    samples from it on.
    """
    firsts = [curve.first for curve in stretches]
    stops = [max(curve.first, len(curve.x) - steps + 1) for curve in stretches]
    held = [min(max(curve.first, curve.held_out), stop) for curve, stop in zip(stretches, stops, strict=True)]
    between, unseen = (np.subtract(last, first).tolist() for first, last in ((firsts, held), (held, stops)))
    every = max(1, math.ceil(sum(unseen) / count))
    parts = zip(firsts, spread(between, every, sum(between)), held, spread(unseen, every, 0), strict=True)
    return [np.concatenate([first + early, known + late]) for first, early, known, late in parts]


def spread(counts: Sequence[int], every: int, phase: int) -> list[np.ndarray]:
    """Of so many numbers in a row, cut into parts, every one so many from `phase` on, by its place in its part."""
    begins = np.cumsum([0, *counts[:-1]]).tolist()
    return [np.arange((phase - begin) % every, count, every) for begin, count in zip(begins, counts, strict=True)]


def ahead(values: np.ndarray, origins: np.ndarray, steps: int) -> np.ndarray:
    """The `steps` samples of `values` [samples, ...] from each origin on: [origins, steps, ...]."""
    return values[origins[:, None] + np.arange(steps)]


def known_targets(curve: Continuation) -> np.ndarray:
    """The targets [samples, output_size] in float64, NaN where they are not known."""
    targets = curve.targets.astype(np.float64)
    return targets if curve.weights is None else np.where(curve.weights[:, None] > 0, targets, np.nan)


def feedback_of(curve: Continuation) -> Feedback:
    """Which target each of all input channels is fed by; None: its future is known."""
    same = tuple(curve.same or ())
    return [*same, *[None] * (curve.inputs.shape[-1] - len(same))]


def future_of(curve: Continuation) -> np.ndarray:
    """The inputs [samples, input_size] as far as they are known beforehand: that values will miss is not.

    What stands in a channel that is fed back is of no matter.
    """
    if not curve.indicators:
        return curve.inputs
    inputs, first = curve.inputs.copy(), curve.inputs.shape[-1] - curve.indicators
    inputs[:, first : first + len(curve.same or ())] = 0
    return inputs


def states_at(
    predict: "Predict",
    inputs: np.ndarray,
    origins: np.ndarray,
    zeros: Sequence[np.ndarray],
    reset_every: int | None,
) -> list[np.ndarray]:
    """The states, each tensor [origins, cell_size], after the `inputs` [samples, inputs] before each ascending origin.

    It is `zeros` before the first sample and, with `reset_every`, before every so many of them.
    """
    states, state, start = [], zeros, 0
    for origin in origins.tolist():
        if reset_every and origin // reset_every > start // reset_every:
            state, start = zeros, origin - origin % reset_every
        if origin > start:
            _, state = predict(inputs[None, start:origin], state)
            start = origin
        states.append(state)
    return [np.concatenate(tensors) for tensors in zip(*states, strict=True)]


def roll_out(
    predict: "Predict",
    known: np.ndarray,
    state: Sequence[np.ndarray],
    steps: int,
    feedback: Feedback,
    future: np.ndarray | None = None,
    *,
    reset_every: int | None = None,
    gone: np.ndarray | int = 0,
) -> np.ndarray:
    """The forecasts [rows, steps, targets] of a model whose targets are inputs some samples later, on its predictions.

    `known` [rows, horizon, inputs] are as many inputs as the horizon is long. They are fed first, then the predictions
    in their order, each in its turn the input of another: input i is target `feedback[i]`. Where that is None the input
    is known beforehand and read from `future` [rows, at least steps - horizon, inputs], the samples after `known`.
    `state` is a list of [rows, cell_size]. With `reset_every` it starts over every so many samples, of which `gone`
    [rows] lie before `known`. ValueError if a future is needed and not given.
    """
    rows, horizon, channels = known.shape
    if future is None and None in feedback and steps > horizon:
        raise ValueError(f"feedback={list(feedback)}: the future of what is not fed back must be given")
    inputs = np.full((rows, max(steps, horizon), channels), np.nan)
    inputs[:, :horizon] = known
    if future is not None:
        inputs[:, horizon:] = future[:, : inputs.shape[1] - horizon]
    fed, targets = np.array([pair for pair in enumerate(feedback) if pair[1] is not None], int).reshape(-1, 2).T
    made, gone = [], np.broadcast_to(gone, rows)
    for i in range(steps):
        if reset_every:
            anew = (gone + i) % reset_every == 0
            state = [np.where(anew[:, None], 0, tensor).astype(tensor.dtype) for tensor in state]
        prediction, state = predict(inputs[:, i : i + 1], state)
        made.append(prediction[:, 0].astype(np.float64))
        if i + horizon < steps:
            inputs[:, i + horizon, fed] = made[-1][:, targets]
    return np.stack(made, axis=1)
