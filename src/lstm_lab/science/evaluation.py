"""How good the trained model is on samples it never saw: the curve goes on, the weights are frozen."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from lstm_lab.science.curves import Continuation
from lstm_lab.science.model import zero_state

Predict = Callable[[np.ndarray, Sequence[np.ndarray]], tuple[np.ndarray, list[np.ndarray]]]

# The least-squares baseline sees at most so many inputs and is fitted on at most so many samples: a bound on memory.
LAGS, FITTED = 100, 10_000


@dataclass(frozen=True)
class Evaluation:
    """Metrics by name, and the curve that they are of, in the target's own units.

    `x` and `target` [samples] are the whole stretch, whose first `trained` were trained on; `prediction` and, with a
    horizon, `rolled_out` begin at `first`.
    """

    metrics: dict[str, float]
    x: np.ndarray
    target: np.ndarray
    first: int
    trained: int
    prediction: np.ndarray
    rolled_out: np.ndarray | None


@functools.lru_cache(maxsize=8)
def compile_prediction(model: keras.Model) -> Predict:
    """Compiles `predict(x, state)`: x [batch, time, 1], of any batch and time, to (prediction, final state).

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
    curve: Continuation,
    state: Sequence[np.ndarray] | None,
    *,
    time_steps: int,
    carry_state: bool,
) -> Evaluation:
    """Predicts the samples that were never trained on, from `state` [1, cell_size] at the first of them on.

    Where `state` is None, the model first goes through the samples before, from a state of zeros. Without
    `carry_state` every window of `time_steps` samples starts from a state of zeros, as in training. With a horizon the
    curve is also forecast from `curve.first` on by the model's own predictions. All errors are in the target's units.
    """
    (mean, stddev), predict, unseen = curve.unit, compile_prediction(model), curve.inputs[curve.first :]
    normalised, state = predicted(model, curve, state, time_steps=time_steps, carry_state=carry_state)

    def in_units(values: np.ndarray) -> np.ndarray:
        return mean + stddev * values.astype(np.float64)

    target, prediction, rolled_out = in_units(curve.targets), in_units(normalised), None
    true = target[curve.first :]
    metrics = measure(true, prediction, time_steps)
    for name, guess in baselines(curve, time_steps).items():
        metrics[f"{name}_mse"] = mean_square(in_units(guess) - true)
    if curve.horizon:
        known = unseen[: curve.horizon]
        rolled_out = in_units(roll_out(predict, known, state, len(unseen), None if carry_state else time_steps))
        metrics["rollout_mse"] = mean_square(rolled_out - true)
        metrics["rollout_persistence_mse"] = mean_square(in_units(known[-1:]) - true)
    return Evaluation(metrics, curve.x, target, curve.first, curve.trained, prediction, rolled_out)


def predicted(
    model: keras.Model,
    curve: Continuation,
    state: Sequence[np.ndarray] | None,
    *,
    time_steps: int,
    carry_state: bool,
) -> tuple[np.ndarray, Sequence[np.ndarray]]:
    """The normalised prediction [samples from `curve.first` on], and the state that it began with; as in `evaluate`."""
    predict, unseen, zeros = compile_prediction(model), curve.inputs[curve.first :], zero_state(model, 1)
    if not carry_state:
        windows = unseen.reshape(-1, time_steps, 1)
        return predict(windows, zero_state(model, len(windows)))[0].ravel(), zeros
    if state is None:
        state = predict(curve.inputs[: curve.first].reshape(1, -1, 1), zeros)[1]
    # One long row: windows make no difference to a state that is carried.
    return predict(unseen.reshape(1, -1, 1), state)[0].ravel(), state


def validate(model: keras.Model, curve: Continuation, *, time_steps: int, carry_state: bool) -> float:
    """The mean squared error from `curve.first` on, in the target's units, after the samples before it."""
    prediction, _ = predicted(model, curve, None, time_steps=time_steps, carry_state=carry_state)
    error = prediction.astype(np.float64) - curve.targets[curve.first :]
    return curve.unit[1] ** 2 * mean_square(error)


def roll_out(
    predict: Predict, known: np.ndarray, state: Sequence[np.ndarray], steps: int, reset_every: int | None = None
) -> np.ndarray:
    """The forecast [steps] of a model whose target is its input some samples later, on its own predictions.

    `known` [horizon] are as many inputs as the horizon is long. They are fed first, then the predictions in their
    order, each in its turn the input of another. With `reset_every` the state starts over every so many samples.
    """
    inputs = known.tolist()
    for i in range(steps):
        if reset_every and i % reset_every == 0:
            state = [np.zeros_like(tensor) for tensor in state]
        prediction, state = predict(np.full((1, 1, 1), inputs[i]), state)
        inputs.append(prediction.item())
    return np.array(inputs[len(known) :])


def mean_square(errors: np.ndarray) -> float:
    """The mean of the squared errors."""
    return float(np.mean(errors**2))


def measure(target: np.ndarray, prediction: np.ndarray, time_steps: int) -> dict[str, float]:
    """The errors of a prediction [samples], and its R2 = 1 - (sum of squared errors) / (that of the target's mean).

    Position 0 is the first sample of each window, where nothing but the carried state tells of what came before.
    """
    error = prediction.astype(np.float64) - target
    mse = mean_square(error)
    with np.errstate(all="ignore"):  # a constant target has no R2
        r2 = float(1 - np.sum(error**2) / np.sum((target - np.mean(target, dtype=np.float64)) ** 2))
    return {
        "mse": mse,
        "rmse": mse**0.5,
        "mae": float(np.mean(np.abs(error))),
        "r2": r2,
        "mse_position_0": mean_square(error[::time_steps]),
    }


def baselines(curve: Continuation, time_steps: int) -> dict[str, np.ndarray]:
    """What the model has to beat, each a prediction in float64 [samples never trained on].

    Persistence repeats the input's own value. For a forecast that is the target's last known value; elsewhere the
    target's past is nothing that the model is given either.
    """
    unseen = curve.inputs[curve.first :].astype(np.float64)
    return {
        "predict_zero": np.zeros_like(unseen),
        "persistence": unseen,
        "least_squares": least_squares(curve, min(time_steps, LAGS)),
    }


def least_squares(curve: Continuation, lags: int) -> np.ndarray:
    """The linear regression of the target on the last `lags` inputs and a constant, fitted before `curve.first`."""
    windows = np.lib.stride_tricks.sliding_window_view(curve.inputs.astype(np.float64), lags)
    known, unknown = np.split(windows, [curve.first - lags + 1])
    known = known[-FITTED:]
    target = curve.targets[curve.first - len(known) : curve.first]
    weights = np.linalg.lstsq(np.column_stack([known, np.ones(len(known))]), target, rcond=None)[0]
    return unknown @ weights[:-1] + weights[-1]
