"""How good the trained model is on samples it never saw: the curve goes on, the weights are frozen."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from lstm_lab.science import backtest, scores
from lstm_lab.science.curves import Continuation
from lstm_lab.science.model import zero_state

if TYPE_CHECKING:
    from lstm_lab.science.seasons import Seasons

Predict = Callable[[np.ndarray, Sequence[np.ndarray]], tuple[np.ndarray, list[np.ndarray]]]

# The least-squares baseline sees at most so many inputs and is fitted on at most so many samples: a bound on memory.
LAGS, FITTED = 100, 10_000
SIDE_BY_SIDE = 256  # stretches that are forecast in one batch
FOR_EACH = 5  # samples that are there at least for each of its weights


@dataclass(frozen=True)
class Evaluation:
    """Metrics by name, and the curve that they are of, in the targets' own units.

    `x` [samples] and `target` [samples, output_size], NaN where it is not known, are the whole stretch, whose first
    `trained` were trained on; `prediction` and, with a horizon, `rolled_out` begin at `first`. Of several stretches it
    is the longest, of the `series` of that number. `target_mses` [output_size] are the mean squared errors of every
    target in its own units.
    """

    metrics: dict[str, float]
    target_mses: np.ndarray
    x: np.ndarray
    target: np.ndarray
    first: int
    trained: int
    prediction: np.ndarray
    rolled_out: np.ndarray | None
    series: int = 0


@functools.lru_cache(maxsize=8)
def compile_prediction(model: keras.Model) -> Predict:
    """Compiles `predict(x, state)`: x [batch, time, input_size], of any batch and time, to (prediction, final state).

    Once for a model, whatever becomes of its weights. x is rounded to what the model takes: float64 if it was made by
    `with_units`, else float32.
    """
    inputs = [tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype) for tensor in model.inputs]
    dtype = model.inputs[0].dtype

    @tf.function(autograph=False, input_signature=[inputs])
    def forward(inputs: list[tf.Tensor]) -> list[tf.Tensor]:
        return model(inputs)

    def predict(x: np.ndarray, state: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        prediction, *final_state = [tensor.numpy() for tensor in forward([np.asarray(x, dtype), *state])]
        return prediction, final_state

    return predict


def evaluate(
    model: keras.Model,
    stretches: Sequence[Continuation],
    state: Sequence[np.ndarray] | None,
    *,
    time_steps: int,
    carry_state: bool,
    seasons: "Seasons | None" = None,
) -> Evaluation:
    """Predicts the samples that were never trained on, from `state` [1, cell_size] at the first of them on.

    Where `state` is None, the model first goes through the samples before, from a state of zeros. Without
    `carry_state` every window of `time_steps` samples starts from a state of zeros, as in training. With a horizon the
    curve is also forecast from `first` on by the model's own predictions, if its inputs are among its targets; and with
    `seasons` it is beside their naive forecast.

    Errors are in the target's units; those of several targets in their standard deviations, so that each counts alike.
    """
    options: dict[str, Any] = {"time_steps": time_steps, "carry_state": carry_state}
    made = [predicted(model, curve, state, **options) for curve in stretches]
    parts = zip(stretches, made, strict=True)
    guesses = [{"": prediction} | baselines(curve, time_steps, seasons) for curve, (prediction, _) in parts]
    if rolls_out(stretches[0]):
        reached, reset_every = [one for _, one in made], None if carry_state else time_steps
        for guess, rolled in zip(guesses, rolled_out(model, stretches, reached, reset_every), strict=True):
            guess |= rolled
    errors = {name: errors_of(stretches, [guess[name] for guess in guesses], time_steps) for name in guesses[0]}
    metrics = measure(errors[""])
    for name in [name for name in errors if name]:
        metrics[f"{name}_mse"] = mean_square(errors[name].values)
    if seasons:
        metrics |= scaled(stretches, guesses, seasons)
    longest = max(range(len(stretches)), key=lambda i: len(stretches[i].x) - stretches[i].first)
    curve, guess = stretches[longest], guesses[longest]
    target = np.where(known_in(curve)[:, None], curve.in_units(curve.targets), np.nan)
    alone = curve.in_units(guess["rollout"]) if "rollout" in guess else None
    shown = curve.x, target, curve.first, curve.trained, curve.in_units(guess[""]), alone
    return Evaluation(metrics, errors[""].target_mses, *shown, curve.series)


def rolled_out(
    model: keras.Model,
    stretches: Sequence[Continuation],
    states: Sequence[Sequence[np.ndarray]],
    reset_every: int | None,
) -> list[dict[str, np.ndarray]]:
    """The forecasts [samples from `first` on, output_size] on the model's own predictions, and the last known values.

    Stretches of nearly the same length go side by side, from their `states`.
    """
    lengths = [len(curve.x) - curve.first for curve in stretches]
    longest_first = sorted(range(len(stretches)), key=lambda i: -lengths[i])
    found: list[dict[str, np.ndarray]] = [{} for _ in stretches]
    predict, horizon, feedback = compile_prediction(model), stretches[0].horizon, backtest.feedback_of(stretches[0])
    for i in range(0, len(stretches), SIDE_BY_SIDE):
        group = longest_first[i : i + SIDE_BY_SIDE]
        steps = lengths[group[0]]
        inputs = np.zeros((len(group), max(steps, horizon), stretches[0].inputs.shape[-1]), np.float32)
        for row, j in enumerate(group):
            curve = stretches[j]
            inputs[row, : lengths[j]] = backtest.future_of(curve)[curve.first :]
            inputs[row, : min(horizon, lengths[j])] = curve.inputs[curve.first : curve.first + horizon]
        state = [np.concatenate(tensors) for tensors in zip(*(states[j] for j in group), strict=True)]
        known, future = inputs[:, :horizon], inputs[:, horizon:]
        made = backtest.roll_out(predict, known, state, steps, feedback, future, reset_every=reset_every)
        for row, j in enumerate(group):
            last = repeated(stretches[j], known[row, [min(horizon, lengths[j]) - 1]])
            alone = made[row, : lengths[j]]
            found[j] = {"rollout": alone, "rollout_persistence": np.broadcast_to(last, alone.shape)}
    return found


def known_in(curve: Continuation) -> np.ndarray:
    """Which of the targets [samples] are known."""
    return np.ones(len(curve.x), bool) if curve.weights is None else curve.weights > 0


def scaled(
    stretches: Sequence[Continuation], guesses: Sequence[dict[str, np.ndarray]], seasons: "Seasons"
) -> dict[str, float]:
    """The scaled errors, of the seasonal naive forecast too, and the symmetric percentage errors."""
    parts = []
    for curve, guess in zip(stretches, guesses, strict=True):
        true = curve.in_units(backtest.known_targets(curve)[curve.first :])
        made, naive = curve.in_units(guess[""]), curve.in_units(guess["seasonal_naive"])
        parts.append((true, made, naive, np.broadcast_to(seasons.error(curve), true.shape)))
    truth, made, naive, scale = map(np.concatenate, zip(*parts, strict=True))
    return {
        "mase": scores.mase(truth, made, scale).overall,
        "smape": scores.smape(truth, made).overall,
        "seasonal_naive_mase": scores.mase(truth, naive, scale).overall,
    }


@dataclass(frozen=True)
class Errors:
    """The errors of a prediction, float64 [known samples, output_size], and what there was to tell of the targets.

    `deviations` are those of the targets from their mean; `firsts` the errors at the first sample of every window;
    `target_mses` [output_size] are in each target's own units.
    """

    values: np.ndarray
    deviations: np.ndarray
    firsts: np.ndarray
    target_mses: np.ndarray


def errors_of(stretches: Sequence[Continuation], guesses: Sequence[np.ndarray], time_steps: int) -> Errors:
    """The errors of the normalised guesses [samples from `first` on, output_size], one for each of the stretches.

    A single target's are in its units, those of several in the standard deviations that they were normalised by.
    """
    errors, targets, firsts, own = [], [], [], []
    for curve, guess in zip(stretches, guesses, strict=True):
        known, true = known_in(curve)[curve.first :], curve.targets[curve.first :]
        error = curve.in_units(guess) - curve.in_units(true)
        own.append(error[known] ** 2)
        if error.shape[1] > 1:
            error, true = guess.astype(np.float64) - true, true.astype(np.float64)
        else:
            true = curve.in_units(true)
        errors.append(error[known])
        targets.append(true[known])
        firsts.append(error[::time_steps][known[::time_steps]])
    whole = np.concatenate(targets)
    mses = np.concatenate(own).mean(axis=0)
    return Errors(np.concatenate(errors), whole - whole.mean(axis=0), np.concatenate(firsts), mses)


def predicted(
    model: keras.Model,
    curve: Continuation,
    state: Sequence[np.ndarray] | None,
    *,
    time_steps: int,
    carry_state: bool,
) -> tuple[np.ndarray, Sequence[np.ndarray]]:
    """The normalised prediction [samples from `first` on, output_size], and the state that it began with."""
    predict, unseen, zeros = compile_prediction(model), curve.inputs[curve.first :], zero_state(model, 1)
    if not carry_state:
        padded = np.pad(unseen, [(0, -len(unseen) % time_steps), (0, 0)])  # a short stretch is less than a window
        windows = padded.reshape(-1, time_steps, unseen.shape[-1])
        made = predict(windows, zero_state(model, len(windows)))[0]
        return made.reshape(len(padded), -1)[: len(unseen)], zeros
    if state is None:
        state = predict(curve.inputs[None, : curve.first], zeros)[1] if curve.first else zeros
    # One long row: windows make no difference to a state that is carried.
    return predict(unseen[None], state)[0][0], state


def rolls_out(curve: Continuation) -> bool:
    """Whether the curve can go on by the predictions of its own inputs."""
    return bool(curve.horizon) and curve.same is not None and None not in curve.same


def mean_square(errors: np.ndarray) -> float:
    """The mean of the squared errors."""
    return float(np.mean(errors**2))


def measure(errors: Errors) -> dict[str, float]:
    """What is said of a prediction's errors, and its R2 = 1 - (sum of squared errors) / (that of the target's mean).

    R2 is the mean of the targets'. Position 0 is the first sample of each window, where nothing but the carried state
    tells of what came before.
    """
    mse = mean_square(errors.values)
    with np.errstate(all="ignore"):  # a constant target has no R2
        r2 = 1 - np.sum(errors.values**2, axis=0) / np.sum(errors.deviations**2, axis=0)
    return {
        "mse": mse,
        "rmse": mse**0.5,
        "mae": float(np.mean(np.abs(errors.values))),
        "r2": float(np.mean(r2)),
        "mse_position_0": mean_square(errors.firsts) if len(errors.firsts) else math.nan,
    }


def baselines(curve: Continuation, time_steps: int, seasons: "Seasons | None" = None) -> dict[str, np.ndarray]:
    """What the model has to beat, each a normalised prediction in float64 [samples never trained on, output_size].

    Persistence repeats the input's own value. For a forecast that is the target's last known value; elsewhere the
    target's past is nothing that the model is given either. With `seasons` their naive forecast is one, too.
    """
    unseen = curve.inputs[curve.first :].astype(np.float64)
    persistence = repeated(curve, unseen)
    return {
        "predict_zero": np.zeros_like(persistence),
        "persistence": persistence,
        "least_squares": least_squares(curve, min(time_steps, LAGS)),
        **({"seasonal_naive": curve.normalised(seasons.along(curve))} if seasons else {}),
    }


def repeated(curve: Continuation, inputs: np.ndarray) -> np.ndarray:
    """Of the inputs [samples, input_size] for every target the same signal or, if none is, the one in its place."""
    same = list(range(inputs.shape[-1]) if curve.same is None else curve.same)
    places = [same.index(j) if j in same else min(j, len(same) - 1) for j in range(curve.targets.shape[-1])]
    return inputs[:, places]


def least_squares(curve: Continuation, lags: int) -> np.ndarray:
    """The linear regression of the targets on the last `lags` inputs and a constant, fitted before `curve.first`.

    Of many inputs or few samples it takes fewer lags, so that each weight has some samples to be fitted on; where there
    are none, it is the mean.
    """
    samples, size = curve.inputs.shape
    lags = max(1, min(lags, LAGS // size, curve.first // (FOR_EACH * size)))
    windows = np.lib.stride_tricks.sliding_window_view(curve.inputs.astype(np.float64), lags, axis=0)
    known, unknown = np.split(windows.reshape(samples - lags + 1, -1), [curve.first - lags + 1])
    known = known[-FITTED:]
    fitted = slice(curve.first - len(known), curve.first)
    there, target = known_in(curve)[fitted], curve.targets[fitted]
    known, target = np.column_stack([known, np.ones(len(known))])[there], target[there]
    if not len(known):
        return np.zeros((samples - curve.first, curve.targets.shape[-1]))
    weights = np.linalg.lstsq(known, target, rcond=None)[0]
    return unknown @ weights[:-1] + weights[-1]
