"""Training until a task is solved: the criteria of the papers, looked at on the way."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_lab import datasets
from lstm_lab.datasets import Criterion
from lstm_lab.science.tasks import New, Task, errors_of, wrong

if TYPE_CHECKING:  # these import TensorFlow
    import keras

    from lstm_lab.science.training import Progress

AT_A_TIME, WINDOW = 512, 1100  # sequences side by side, and time steps of them, that the model goes through in one call
LAST_LOOK = 0  # the number of the look at a trained model; those on the way have 1, 2, ...


class Criteria:
    """Looks after every `every` steps which of a task's criteria hold; a training is over when the one `until` does.

    `met` has after how many steps each held first. `recent` [sequences] are the largest absolute errors of the last
    sequences that were trained on, as far as a criterion is about them.
    """

    def __init__(self, model: "keras.Model", task: Task, settings: datasets.Task, *, every: int, until: str) -> None:
        self.model, self.task, self.every, self.until = model, task, every, until
        self.criteria, self.within = settings.criteria, settings.within
        self.met: dict[str, int] = {}
        self.kept = max((one.sequences for one in self.criteria.values() if one.among == "recent"), default=0)
        self.recent = np.zeros(0, np.float32)

    def snapshot(self) -> dict[str, Any]:
        """What `restore` takes, as arrays by name."""
        met = np.array([self.met.get(name, 0) for name in self.criteria], np.int64)
        return {"met": met, "recent": self.recent}

    def restore(self, met: np.ndarray, recent: np.ndarray) -> None:
        """Sets everything as it was when `snapshot` was taken."""
        self.met = {name: step for name, step in zip(self.criteria, met.tolist(), strict=True) if step}
        self.recent = recent

    def follow(self, progress: "Iterator[Progress]") -> "Iterator[Progress]":
        """The progress of a training that pauses after every so many steps, up to where it is over."""
        for made in progress:
            if made.errors is not None and self.kept:
                self.recent = np.concatenate([self.recent, made.errors.ravel()])[-self.kept :]
            if made.step % self.every == 0 and np.isfinite(made.costs).all():
                self.look(made.step, made.step // self.every)
            yield made
            if self.is_over:
                return

    def look(self, step: int, number: int) -> None:
        """Notes which criteria hold now that did not before."""
        for name, criterion in self.criteria.items():
            if name not in self.met and self.holds(criterion, number):
                self.met[name] = step

    def settle(self) -> None:
        """The weights that are kept are those of the last step."""

    def why(self, step: int) -> str:
        """Why a training ended after so many steps, of more."""
        shown = self.task.shown(step)
        return f"ended after {step:,} steps, {shown:,} {self.task.counted}: the criterion '{self.until}' holds"

    @property
    def is_over(self) -> bool:
        """Whether the criterion holds that the training is to go on until."""
        return self.until in self.met

    def holds(self, criterion: Criterion, look: int) -> bool:
        """Whether a criterion holds for the weights as they are."""
        if criterion.among == "recent":
            errors = self.recent[-criterion.sequences :].astype(np.float64)
            if len(errors) < criterion.sequences:
                return False
            within = math.inf if self.within is None else self.within
            wrongs = int((~(errors <= within)).sum())
        else:
            wrongs, errors = count_wrong(
                self.model, self.task, criterion.sequences, self.within, look, most=criterion.wrong
            )
        mean = math.fsum(errors.tolist()) / len(errors)
        return wrongs <= criterion.wrong and (criterion.mean_error is None or mean < criterion.mean_error)


def count_wrong(
    model: "keras.Model",
    task: Task,
    count: int,
    within: float | None,
    look: int = LAST_LOOK,
    *,
    most: int | None = None,
) -> tuple[int, np.ndarray]:
    """How many of `count` new sequences are wrong, and the largest absolute error of each [count].

    With `most` it ends as soon as more than that are wrong.
    """
    wrongs, errors = 0, []
    for first in range(0, count, AT_A_TIME):
        part = task.new(look, first, min(AT_A_TIME, count - first))
        are_wrong, their_errors = judge(model, part, within, None if most is None else most - wrongs)
        wrongs += int(are_wrong.sum())
        errors.append(their_errors)
        if most is not None and wrongs > most:
            break
    return wrongs, np.concatenate(errors).astype(np.float64)


def judge(model: "keras.Model", new: New, within: float | None, most: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Which sequences are wrong, and the largest absolute error of each, both [sequences], from a state of zeros on.

    It ends as soon as more than `most` are wrong or, of symbols, which have no errors, all.
    """
    from lstm_lab.science.evaluation import compile_prediction
    from lstm_lab.science.model import zero_state

    predict, (count, time_steps) = compile_prediction(model), new.counts.shape
    state, are_wrong, errors = zero_state(model, count), np.zeros(count, bool), np.zeros(count)
    for first in range(0, time_steps, WINDOW):
        part = new.window(first, WINDOW)
        prediction, state = predict(part.inputs, state)
        are_wrong |= wrong(prediction, part, within)
        errors = np.maximum(errors, errors_of(prediction, part))
        if (new.possible is not None and are_wrong.all()) or (most is not None and are_wrong.sum() > most):
            break
    return are_wrong, errors
