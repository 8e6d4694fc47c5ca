"""How good the trained model is on samples it never saw: the curve goes on, the weights are frozen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from lstm_lab.data import Continuation

Predict = Callable[[np.ndarray, Sequence[np.ndarray]], tuple[np.ndarray, list[np.ndarray]]]

# The least-squares baseline sees at most so many inputs and is fitted on at most so many samples: a bound on memory.
LAGS, FITTED = 100, 10_000


@dataclass(frozen=True)
class Evaluation:
    """Metrics by name; and the curve and the model's prediction [samples never trained on] that they are of."""

    metrics: dict[str, float]
    curve: Continuation
    prediction: np.ndarray


def compile_prediction(model: keras.Model) -> Predict:
    """Compiles `predict(x, state)`: x [batch, time, 1], of any batch and time, to (prediction, final state)."""
    shapes = [(None, *tensor.shape[1:]) for tensor in model.inputs]

    @tf.function(autograph=False, input_signature=[[tf.TensorSpec(shape) for shape in shapes]])
    def forward(inputs: list[tf.Tensor]) -> list[tf.Tensor]:
        return model(inputs)

    def predict(x: np.ndarray, state: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        prediction, *final_state = [tensor.numpy() for tensor in forward([x, *state])]
        return prediction, final_state

    return predict


def evaluate(
    model: keras.Model, curve: Continuation, state: Sequence[np.ndarray], *, time_steps: int, carry_state: bool
) -> Evaluation:
    """Predicts the samples that were never trained on, from `state` [1, cell_size] at the first of them on.

    Without `carry_state` every window of `time_steps` samples starts from a state of zeros, as in training.
    """
    unseen = curve.inputs[curve.first :]
    if carry_state:  # one long row: windows make no difference to a state that is carried
        x, start = unseen.reshape(1, -1, 1), list(state)
    else:
        x = unseen.reshape(-1, time_steps, 1)
        start = [np.zeros((len(x), tensor.shape[-1]), np.float32) for tensor in state]
    prediction = compile_prediction(model)(x, start)[0].ravel()
    target = curve.targets[curve.first :]
    metrics = measure(target, prediction, time_steps)
    for name, guess in baselines(curve, time_steps).items():
        metrics[f"{name}_mse"] = float(np.mean((guess - target) ** 2))
    return Evaluation(metrics, curve, prediction)


def measure(target: np.ndarray, prediction: np.ndarray, time_steps: int) -> dict[str, float]:
    """The errors of a prediction [samples], and its R2 = 1 - (sum of squared errors) / (that of the target's mean).

    Position 0 is the first sample of each window, where nothing but the carried state tells of what came before.
    """
    error = prediction.astype(np.float64) - target
    mse = float(np.mean(error**2))
    with np.errstate(all="ignore"):  # a constant target has no R2
        r2 = float(1 - np.sum(error**2) / np.sum((target - np.mean(target, dtype=np.float64)) ** 2))
    return {
        "mse": mse,
        "rmse": mse**0.5,
        "mae": float(np.mean(np.abs(error))),
        "r2": r2,
        "mse_position_0": float(np.mean(error[::time_steps] ** 2)),
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
