"""A training judged by what is not trained on: its validation error on the way, its best weights, and when to end."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # these import TensorFlow
    import keras

    from lstm_lab.science.training import Progress


class Judge:
    """Validates a model's weights after every `every` steps: at `steps` they had the mean squared `errors`.

    After `patience` errors that are not lower than the lowest before them a training is over (Prechelt, 1998). With
    `keep_best` the weights of the lowest error are kept, in `best`: of equal errors the first one counts.
    """

    def __init__(
        self, model: "keras.Model", error: Callable[[], float], *, every: int, patience: int | None, keep_best: bool
    ) -> None:
        self.model, self.error, self.every, self.patience, self.keep_best = model, error, every, patience, keep_best
        self.steps: list[int] = []
        self.errors: list[float] = []
        self.best: Sequence[np.ndarray] = []

    def snapshot(self) -> dict[str, Any]:
        """What `restore` takes, as arrays by name."""
        steps, errors = np.array(self.steps, np.int64), np.array(self.errors, np.float64)
        return {"validated": steps, "errors": errors, "best": self.best}

    def restore(self, steps: Sequence[int], errors: Sequence[float], best: Sequence[np.ndarray]) -> None:
        """Sets everything as it was after the last of these steps."""
        self.steps, self.errors, self.best = list(steps), list(errors), best

    def follow(self, progress: "Iterator[Progress]") -> "Iterator[Progress]":
        """The progress of a training that pauses at every point, with the error there; up to where it is over."""
        for made in progress:
            if made.step % self.every == 0 and np.isfinite(made.costs).all():
                made = replace(made, validation=self.look(made.step))
            yield made
            if self.is_over:
                return

    def look(self, step: int) -> float:
        """Validates the weights as they are after so many steps."""
        error = self.error()
        error = error if math.isfinite(error) else math.inf
        if self.keep_best and error < min(self.errors, default=math.inf):
            self.best = self.model.get_weights()
        self.steps.append(step)
        self.errors.append(error)
        return error

    @property
    def is_over(self) -> bool:
        """Whether patience is at an end."""
        return is_over(self.errors, self.patience)

    def why(self, step: int) -> str:
        """Why a training ended after so many steps, of more."""
        points = f"{self.patience:,} point{'' if self.patience == 1 else 's'}"
        best = "" if self.best_step is None else f"; best at step {self.best_step:,}"
        return f"stopped early after {step:,} steps: no better validation error for {points}{best}"

    @property
    def best_step(self) -> int | None:
        """After how many steps the error was lowest, so far; None if it never was a number."""
        best = best_of(self.errors)
        return None if best is None else self.steps[best]

    def settle(self) -> None:
        """Gives the model the weights that are kept: the best, or those that it has."""
        if self.best:
            self.model.set_weights(self.best)

    def error_at(self, step: int) -> float | None:
        """The error of the weights that are kept after so many steps; None if these were not validated."""
        if self.best:
            return min(self.errors)
        return self.errors[-1] if self.steps and self.steps[-1] == step else None


def best_of(errors: Sequence[float]) -> int | None:
    """Which of the errors is the lowest, the first of equal ones; None if none is finite."""
    return min(range(len(errors)), key=errors.__getitem__) if min(errors, default=math.inf) < math.inf else None


def is_over(errors: Sequence[float], patience: int | None) -> bool:
    """Whether the last `patience` errors, or all of more, are none of them lower than the lowest before."""
    return patience is not None and len(errors) - 1 - (best_of(errors) or 0) >= patience
