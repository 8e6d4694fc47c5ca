"""What valid data of a run are: curves, tasks and files, each a class with its keys, types and ranges.

Each kind is a class here, a file in conf/data/, and a line in the table of the module that makes its batches. Nothing
here has a default: values live in conf/.
"""

import itertools
import typing
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from lstm_lab.values import (
    LONGEST_NAME,
    Columns,
    Count,
    Filled,
    Fraction,
    Group,
    Measure,
    NonNegative,
    NotNegative,
    Number,
    Positive,
    Seed,
    Size,
    Texts,
    beginning_of_a_line,
    in_no_number,
    known_encoding,
    listed,
    plain_text,
    separator_of,
    without_nul,
)


class Data(Group):
    batch_size: Size
    time_steps: Size

    @property
    def name(self) -> str:
        """What the data are called."""
        raise NotImplementedError

    @property
    def sizes(self) -> tuple[int, int]:
        """How many numbers go into the model at a time step, and how many come out."""
        return 1, 1

    @property
    def experiment(self) -> str:
        """The experiment in MLflow for runs on these data: one by their name."""
        return f"{self.name}_" if self.name.strip() in ("", ".", "..", "Default") else self.name[:LONGEST_NAME]


class Curve(Data):
    curve: str
    sample_spacing: Positive

    @property
    def name(self) -> str:
        """What the data are called: the curve's name."""
        return self.curve


class SineToCosine(Curve):
    curve: Literal["sine_to_cosine"]


class NoisySinesToDerivative(Curve):
    curve: Literal["noisy_sines_to_derivative"]
    amplitudes: Annotated[list[Number], Field(min_length=1)]
    frequencies: Annotated[list[Positive], Field(min_length=1)]
    noise_stddev: NonNegative
    noise_seed: Seed

    @model_validator(mode="after")
    def one_frequency_for_each_amplitude(self) -> typing.Self:
        """Each sine needs both."""
        if len(self.amplitudes) != len(self.frequencies):
            raise ValueError(
                f"amplitudes and frequencies must have the same length, got {self.amplitudes} and {self.frequencies}"
            )
        return self


class DelayedRecall(Curve):
    curve: Literal["delayed_recall"]
    delay: Annotated[int, Field(ge=0, le=10**5)]
    noise_seed: Seed


class TumblingBody(Curve):
    curve: Literal["tumbling_body"]
    moments: Annotated[list[Measure], Field(min_length=3, max_length=3)]
    spin: Measure
    nudge: Measure
    lead: NonNegative

    @property
    def sizes(self) -> tuple[int, int]:
        """How many numbers go into the model at a time step, and how many come out: one for each axis."""
        return 3, 3

    @model_validator(mode="after")
    def moments_are_those_of_a_body(self) -> typing.Self:
        """With a first, a middle and a last axis."""
        first, middle, last = self.moments
        if not first < middle < last <= first + middle:
            raise ValueError(
                f"moments={self.moments}: each must be larger than the one before, and the last at most the sum of "
                "the others, as of every body"
            )
        return self

    @model_validator(mode="after")
    def nudge_is_no_trifle(self) -> typing.Self:
        """Else the body turns over too rarely for the solution to be exact."""
        if self.nudge < self.spin / 1000:
            raise ValueError(f"nudge={self.nudge}: must be at least a thousandth of spin={self.spin}")
        return self


class Criterion(Group):
    """When a task counts as solved: so few `wrong` among the last sequences trained on, or among new ones.

    And, if it is about it, their mean error below a bound: the mean of each sequence's largest absolute error.
    """

    among: Literal["recent", "new"]
    sequences: Annotated[int, Field(ge=1, le=2**20)]
    wrong: NotNegative
    mean_error: Positive | None


class Task(Data):
    curve: str
    within: Positive | None
    tested: Annotated[int, Field(ge=1, le=2**20)]
    noise_seed: Seed
    criteria: Annotated[dict[str, Criterion], Field(min_length=1)]

    @property
    def name(self) -> str:
        """What the data are called: the task's name."""
        return self.curve

    @model_validator(mode="after")
    def criteria_can_be_told(self) -> typing.Self:
        """An error is one of numbers."""
        for name, criterion in self.criteria.items():
            if self.within is None and (criterion.among == "recent" or criterion.mean_error is not None):
                raise ValueError(f"criteria.{name}: symbols have no errors: must be among=new, with mean_error=null")
        return self


class Ended(Task):
    """A task whose sequences have `shortest` to `time_steps` steps; what is asked for is asked at the end."""

    shortest: Size
    within: Positive

    @model_validator(mode="after")
    def longest_is_no_shorter(self) -> typing.Self:
        """And there is room for what the task needs."""
        if not self.room <= self.shortest <= self.time_steps:
            raise ValueError(
                f"shortest={self.shortest} and time_steps={self.time_steps}: must be {self.room} at least, and no "
                "sequence be longer than data.time_steps"
            )
        return self

    @property
    def room(self) -> int:
        """Steps that a sequence has at least."""
        raise NotImplementedError


class MarkedPairs(Ended):
    curve: Literal["adding", "multiplication"]

    @property
    def sizes(self) -> tuple[int, int]:
        """How many numbers go into the model at a time step, and how many come out: a number and a marker, a result."""
        return 2, 1

    @property
    def room(self) -> int:
        """For the first ten pairs, one of which is marked."""
        return 22


class TwoSequences(Ended):
    curve: Literal["two_sequences"]
    informative: Size
    noise_variance: NonNegative
    informative_noise_variance: NonNegative
    class_targets: Annotated[list[Number], Field(min_length=2, max_length=2)]
    target_noise_variance: NonNegative

    @property
    def room(self) -> int:
        """For what tells the class, and a step more."""
        return self.informative + 1


class LongLag(Task):
    curve: Literal["long_lag"]
    within: Positive
    lag: Size
    distractors: Size

    @property
    def sizes(self) -> tuple[int, int]:
        """How many numbers go into the model at a time step, and how many come out: one for each symbol, and class."""
        return self.distractors + 4, 2

    @model_validator(mode="after")
    def lag_fits(self) -> typing.Self:
        """Between b, x or y, and e."""
        if self.time_steps < self.lag + 3:
            raise ValueError(f"time_steps={self.time_steps}: must be at least lag + 3 = {self.lag + 3}")
        return self


class TemporalOrder(Ended):
    curve: Literal["temporal_order"]
    places: Annotated[
        list[Annotated[list[Count], Field(min_length=2, max_length=2)]], Field(min_length=1, max_length=9)
    ]

    @property
    def sizes(self) -> tuple[int, int]:
        """How many numbers go into the model at a time step, and how many come out: one for each symbol, and class."""
        return 8, 2 ** len(self.places)

    @property
    def room(self) -> int:
        """For the places, and a step more."""
        return self.places[-1][1] + 1

    @model_validator(mode="after")
    def places_are_apart(self) -> typing.Self:
        """And behind the first element."""
        ends = [1, *(end for place in self.places for end in place)]
        if any(later < earlier + (i % 2 == 0) for i, (earlier, later) in enumerate(itertools.pairwise(ends))):
            raise ValueError(f"places={self.places}: must be [first,last] each, one after the other, from 2 on")
        return self


class Reber(Task):
    curve: Literal["embedded_reber"]
    within: None
    strings: Annotated[int, Field(ge=1, le=10**4)]  # of many more nearly all that are drawn anew are among them

    @property
    def sizes(self) -> tuple[int, int]:
        """How many numbers go into the model at a time step, and how many come out: one for each symbol."""
        return 7, 7

    @model_validator(mode="after")
    def strings_fit(self) -> typing.Self:
        """There are not many short ones."""
        if self.time_steps < 20:
            raise ValueError(f"time_steps={self.time_steps}: must be at least 20, or there are too few strings")
        return self


class ContinualReber(Task):
    curve: Literal["continual_reber"]
    within: None

    @property
    def sizes(self) -> tuple[int, int]:
        """How many numbers go into the model at a time step, and how many come out: one for each symbol."""
        return 7, 7


Tasks = MarkedPairs | TwoSequences | LongLag | TemporalOrder | Reber | ContinualReber


class Csv(Data):
    curve: Literal["csv"]
    path: Annotated[Filled, AfterValidator(without_nul)]
    input: Columns
    target: Columns | None
    horizon: Count | None
    held_out: Annotated[float, Field(gt=0, lt=1)]
    validation: Fraction
    separator: Annotated[str, AfterValidator(separator_of)] | None
    decimal: Literal[".", ","] | None
    thousands: Annotated[str, AfterValidator(in_no_number)] | None
    encoding: Annotated[str, AfterValidator(known_encoding)] | None
    comment: Annotated[Filled, AfterValidator(beginning_of_a_line)] | None
    missing_values: Texts | None
    time: Columns | None
    gaps: Literal["refuse", "fill", "reset"]
    missing: Literal["refuse", "interpolate", "mask"]
    series: Filled | None
    normalise: Literal["all", "series"]
    calendar: list[Literal["hour", "weekday", "month"]]
    known: Columns | None

    @model_validator(mode="after")
    def something_is_left(self) -> typing.Self:
        """To train on."""
        if self.held_out + self.validation >= 1:
            raise ValueError(
                f"held_out={self.held_out:g} and validation={self.validation:g}: must leave a share of the samples to "
                "train on"
            )
        return self

    @model_validator(mode="after")
    def target_or_horizon(self) -> typing.Self:
        """The targets are other columns, columns some samples later, or the inputs some samples later."""
        if self.target is None and self.horizon is None:
            raise ValueError(
                "needs data.target=COLUMN, data.horizon=SAMPLES (then the target is the input so many samples later), "
                f"or both, got target={self.target!r} and horizon={self.horizon!r}"
            )
        return self

    @model_validator(mode="after")
    def digits_and_decimals_are_parted_apart(self) -> typing.Self:
        """Else no number could be read."""
        if self.thousands is not None and self.thousands == self.decimal:
            raise ValueError(f"thousands={self.thousands!r} and decimal={self.decimal!r}: must be different characters")
        return self

    @model_validator(mode="after")
    def samples_put_in_have_values(self) -> typing.Self:
        """Those that fill a gap are missing ones."""
        if self.gaps == "fill" and self.missing == "refuse":
            raise ValueError("gaps=fill puts in samples without values: it needs data.missing=interpolate or =mask")
        if self.gaps != "refuse" and self.time is None:
            raise ValueError(f"gaps={self.gaps} needs data.time=COLUMN: gaps are told by the time stamps")
        return self

    @model_validator(mode="after")
    def calendar_needs_dates(self) -> typing.Self:
        """Each of its inputs once."""
        if self.calendar and self.time is None:
            raise ValueError("calendar needs data.time=COLUMN, the time stamps that tell it")
        if len(set(self.calendar)) < len(self.calendar):
            raise ValueError(f"calendar=[{','.join(self.calendar)}]: must name each input once")
        return self

    @model_validator(mode="after")
    def nothing_is_known_that_is_told(self) -> typing.Self:
        """A target's future is what is to be found."""
        if both := set(listed(self.known)) & set(self.targets):
            raise ValueError(f"known={min(both)}: is a target, and its future is nothing that is known")
        return self

    @model_validator(mode="after")
    def series_are_told_apart(self) -> typing.Self:
        """Normalisation needs to know them."""
        if self.normalise == "series" and self.series is None:
            raise ValueError("normalise=series needs data.series=COLUMN, which tells the series apart")
        return self

    @property
    def inputs(self) -> list[str]:
        """The names of the input columns whose future is not known."""
        return [name for name in listed(self.input) if name not in listed(self.known)]

    @property
    def targets(self) -> list[str]:
        """The names of the target columns."""
        return listed(self.target) or listed(self.input)

    @property
    def goes_on(self) -> bool:
        """Whether a model can go on by its own predictions: its inputs are among its targets, or their future known."""
        return self.horizon is not None and set(self.inputs) <= set(self.targets)

    @property
    def sizes(self) -> tuple[int, int]:
        """How many numbers go into the model at a time step, and how many come out.

        A masked input has an indicator beside it, and each of the calendar's a sine and a cosine.
        """
        columns = len(self.inputs) + len(listed(self.known))
        return columns * (2 if self.missing == "mask" else 1) + 2 * len(self.calendar), len(self.targets)

    @property
    def name(self) -> str:
        """What the data are called: the file's name, as far as it can be shown in a line."""
        return plain_text(Path(self.path).stem)
