"""What a valid config is: its keys, types and ranges, and what is said of a fault.

A config has one group for each part of a run. A group that comes in kinds (model, data, optimizer) is told apart by
one key; each kind is a class here, a file in conf/, and a line in the table of the module that builds it.
Nothing here has a default: values live in conf/.
"""

import difflib
import json
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from lstm_lab.datasets import (
    Criterion,
    Csv,
    DelayedRecall,
    NoisySinesToDerivative,
    SineToCosine,
    Task,
    Tasks,
    TumblingBody,
)
from lstm_lab.hiding import hide
from lstm_lab.values import LONGEST_NAME, Count, Fraction, Group, NonNegative, NotNegative, Number, Positive, Seed, Size

# What other programs call a setting, in their words and in their users'
NICKNAMES = {
    **dict.fromkeys(("lr", "rate", "alpha"), "optimizer.learning_rate"),
    **dict.fromkeys(("bs", "batch", "batchsize"), "data.batch_size"),
    **dict.fromkeys(
        ("window", "window_size", "seq_len", "seq_length", "sequence_length", "timesteps"), "data.time_steps"
    ),
    **dict.fromkeys(("hidden", "hidden_size", "hidden_dim", "hidden_units", "units", "num_units"), "model.cell_size"),
    **dict.fromkeys(("num_steps", "n_steps", "max_steps", "iterations", "iters"), "training.steps"),
    **dict.fromkeys(("carry", "stateful"), "training.carry_state"),
    **dict.fromkeys(("loss", "criterion", "objective_function"), "training.cost"),
    **dict.fromkeys(("patience", "early_stop", "earlystopping"), "training.early_stopping"),
    **dict.fromkeys(("save_best_only", "restore_best_weights", "keep_best"), "training.keep"),
    **dict.fromkeys(("val_every", "eval_every", "validation_freq"), "training.validate_every"),
    **dict.fromkeys(("file", "csv"), "data=csv data.path"),
    **dict.fromkeys(("n_trials", "num_trials", "trials"), "hydra.sweeper.n_trials"),
    **dict.fromkeys(("name", "run_name"), "tracking.run_name"),
    **dict.fromkeys(("cell", "net", "network"), "model"),
    **dict.fromkeys(("dataset", "curve"), "data"),
    **dict.fromkeys(("opt", "optim", "optimiser"), "optimizer"),
    **dict.fromkeys(("sweep", "study"), "-m sweeps"),
    **dict.fromkeys(("n_seeds", "num_seeds", "repeats", "n_repeats", "replicates"), "seeds"),
    "random_seed": "training.seed",
    "preset": "experiment",
    "study_name": "hydra.sweeper.study_name",
    "verbose": "hydra.verbose",
}
EPOCHS = {"epoch", "epochs", "n_epochs", "num_epochs", "max_epochs"}

PRESET = "# @package _global_"
SWEEPER = "hydra.sweeper"  # where the settings of a sweep stand

COMMAND = ("resume", "take_over", "seeds", "again")  # what a command line has beside the config of a run

# Groups that change nothing of what is trained: a run that differs only in these is the same run, watched otherwise.
WATCHING = {"evaluation", "tracking"}
WATCHED = {f"training.{key}" for key in ("report_every", "frames", "chunk_steps", "live")}  # and of training, these

# Settings that are newer than runs in the store, and as what these were trained and evaluated
NEWER: dict[str, Any] = {
    "data.validation": 0.0,
    **dict.fromkeys(
        [f"data.{key}" for key in ("separator", "decimal", "thousands", "encoding", "comment", "missing_values")]
    ),
    **dict.fromkeys(("data.time", "data.series", "data.known")),
    "data.calendar": [],
    "data.gaps": "refuse",
    "data.missing": "refuse",
    "data.normalise": "all",
    **dict.fromkeys(("evaluation.season", "evaluation.interval")),
    "evaluation.origins": 0,
    "evaluation.horizon": 1,
    "training.cost": "squared",
    "training.validate_every": None,
    "training.early_stopping": None,
    "training.keep": "last",
    "training.until": None,
    "model.memory_steps": 1,
}

Checked = typing.TypeVar("Checked", bound="Group")


class CannotRunError(Exception):
    """Something that the user can mend keeps this from running; the message is all there is to say, without secrets."""

    def __init__(self, message: str) -> None:
        super().__init__(hide(message))


class ConfigError(CannotRunError):
    """The config cannot be used; the message names each fault, the value given and what is allowed."""


class Model(Group):
    cell_size: Annotated[int, Field(ge=1, le=10**4)]
    recurrent_initializer: Literal["glorot", "orthogonal"]
    hidden_stddev: NonNegative
    hidden_bias: Number


class LSTM(Model):
    cell: Literal["lstm"]
    forget_bias: Number
    memory_steps: Count


class GRU(Model):
    cell: Literal["gru"]
    memory_steps: Count


class SimpleRNN(Model):
    cell: Literal["simple_rnn"]


class Optimizer(Group):
    learning_rate: Annotated[float, Field(gt=0, le=1e9)]
    warmup_steps: Annotated[int, Field(ge=0, le=10**9)]
    decay_steps: Count | None
    clipnorm: Positive | None

    @model_validator(mode="after")
    def warmup_needs_decay(self) -> typing.Self:
        """Both are parts of one schedule."""
        if self.warmup_steps and self.decay_steps is None:
            raise ValueError(f"warmup_steps={self.warmup_steps} needs decay_steps, the length of the decay after it")
        return self


class Adam(Optimizer):
    name: Literal["adam"]
    beta_1: Fraction
    beta_2: Fraction
    epsilon: Positive


class Nadam(Optimizer):
    name: Literal["nadam"]
    beta_1: Fraction
    beta_2: Fraction
    epsilon: Positive


class SGD(Optimizer):
    name: Literal["sgd"]
    momentum: Fraction
    nesterov: bool


class RMSprop(Optimizer):
    name: Literal["rmsprop"]
    rho: Fraction
    momentum: Fraction
    epsilon: Positive


class Training(Group):
    steps: Count
    seed: Seed
    cost: Literal["squared", "absolute", "huber"]
    carry_state: bool
    truncation_steps: Size | None
    truncation_every: Size | None
    validate_every: Count | None
    early_stopping: Count | None
    keep: Literal["best", "last"]
    until: str | None
    report_every: Count | None
    frames: Count
    chunk_steps: Size
    level: Literal["portable", "fast"]
    threads: Annotated[int, Field(ge=1, le=1024)]
    live: bool

    @model_validator(mode="after")
    def one_thread_if_portable(self) -> typing.Self:
        """The order in which several threads add up depends on the machine."""
        if self.level == "portable" and self.threads != 1:
            raise ValueError(f"level=portable needs threads=1, got threads={self.threads}; level=fast takes more")
        return self

    @property
    def printed_every(self) -> int:
        """Steps from one printed cost to the next: so that ten are printed, unless the config says otherwise."""
        return self.report_every or max(1, self.steps // 10)

    @property
    def validated_every(self) -> int:
        """Steps from one validation to the next: so that there are ten, unless the config says otherwise."""
        return self.validate_every or max(1, self.steps // 10)

    @property
    def judged(self) -> bool:
        """Whether what is seen at certain points decides when training ends, or which weights are kept."""
        return self.early_stopping is not None or self.keep == "best" or self.until is not None

    def lasting(self, steps: int) -> typing.Self:
        """The same training with so many steps: where it is judged, at the points of the one before."""
        pinned = {"validate_every": self.validated_every} if self.judged else {}
        return self.model_copy(update={"steps": steps, **pinned})


class Evaluation(Group):
    windows: Annotated[int, Field(ge=0, le=10**6)]
    trials: bool
    season: Annotated[int, Field(ge=1, le=10**6)] | None
    origins: Annotated[int, Field(ge=0, le=10**4)]
    horizon: Annotated[int, Field(ge=1, le=10**4)]
    interval: Annotated[float, Field(gt=0, lt=1)] | None


def plain_name(name: str) -> str:
    """Refuses what could be a path, or could not be shown in a line: a run's folder is named after it."""
    if name in (".", "..") or not name.isprintable() or not name.strip() or set(name) & set("/\\"):
        raise ValueError("must be a name of printable characters, without / and \\")
    return name


def printable(name: str) -> str:
    """Refuses what could not be shown in a line."""
    if not name.isprintable() or not name.strip():
        raise ValueError("must be a name of printable characters")
    return name


Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(plain_name)]


def not_mlflows_default(name: str) -> str:
    """Refuses the experiment 'Default': made by the UI first, it has an artifact folder no client can write."""
    if name == "Default":
        raise ValueError("must be another name than 'Default', which belongs to MLflow")
    return name


class Tracking(Group):
    experiment: Annotated[Name, AfterValidator(not_mlflows_default)] | None
    run_name: Name | None
    metric_points: Count
    figures: bool
    animation: bool
    model: bool
    tensorboard: bool
    checkpoint_seconds: NonNegative | None


class Config(Group):
    """Everything that decides what one run does."""

    model: Annotated[LSTM | GRU | SimpleRNN, Field(discriminator="cell")]
    data: Annotated[
        SineToCosine | NoisySinesToDerivative | DelayedRecall | TumblingBody | Tasks | Csv,
        Field(discriminator="curve"),
    ]
    optimizer: Annotated[Adam | Nadam | SGD | RMSprop, Field(discriminator="name")]
    training: Training
    evaluation: Evaluation
    tracking: Tracking

    @property
    def experiment(self) -> str:
        """The experiment in MLflow that the run goes to: each data set has its own, unless the config names one."""
        return self.tracking.experiment or self.data.experiment

    @property
    def lead_times(self) -> int:
        """How many samples ahead the run's backtest goes; 0 if it has none."""
        data, asked = self.data, self.evaluation
        if not isinstance(data, Csv) or not data.horizon or not asked.windows or not asked.origins:
            return 0
        return max(data.horizon, asked.horizon) if data.goes_on else data.horizon

    @property
    def criteria(self) -> dict[str, Criterion]:
        """The criteria that are looked at while it trains, by name."""
        return self.data.criteria if isinstance(self.data, Task) and self.training.until is not None else {}

    @property
    def counts_recent(self) -> bool:
        """Whether a criterion is about the sequences that are trained on."""
        return any(criterion.among == "recent" for criterion in self.criteria.values())

    @property
    def validated(self) -> bool:
        """Whether there are samples for validation."""
        return isinstance(self.data, Csv) and self.data.validation > 0

    @model_validator(mode="after")
    def there_is_what_judges(self) -> typing.Self:
        """Samples for validation, and a point where it is done."""
        settings, training = [], self.training
        if training.until is not None:
            return self.there_is_a_criterion(training.until)
        settings += [f"validate_every={training.validate_every}"] if training.validate_every is not None else []
        settings += [f"early_stopping={training.early_stopping}"] if training.early_stopping is not None else []
        settings += [f"keep={training.keep}"] if training.keep == "best" else []
        given = " and ".join(f"training.{setting}" for setting in settings)
        if given and not self.validated:
            lacks = "data.validation=0" if isinstance(self.data, Csv) else f"the curve {self.data.name} has none"
            raise ValueError(f"{given}: needs samples for validation, a file with data.validation above 0; {lacks}")
        if training.judged and training.validated_every > training.steps:
            raise ValueError(
                f"{given}: validate_every must be at most training.steps={training.steps}, or nothing is validated"
            )
        return self

    def there_is_a_criterion(self, name: str) -> typing.Self:
        """Of that name, and of nothing else."""
        criteria = list(self.data.criteria) if isinstance(self.data, Task) else []
        if name not in criteria:
            allowed = f"must be one of {', '.join(criteria)}" if criteria else f"{self.data.name} has no criteria"
            raise ValueError(f"training.until={name!r}: {allowed}")
        if self.training.early_stopping is not None or self.training.keep == "best":
            raise ValueError(f"training.until={name!r}: goes with neither early_stopping nor keep=best, of files")
        return self

    @model_validator(mode="after")
    def truncation_fits_the_window(self) -> typing.Self:
        """Each window is cut evenly."""
        steps, every, window = self.training.truncation_steps, self.training.truncation_every, self.data.time_steps
        if (steps is None) != (every is None):
            raise ValueError(
                f"training.truncation_steps={steps} and training.truncation_every={every}: "
                "must be numbers both, or null both"
            )
        if steps is not None and every is not None and (steps > window or steps % every or window % every):
            raise ValueError(
                f"training.truncation_steps={steps} and training.truncation_every={every}: the steps must be at most "
                f"data.time_steps={window}, and both must be multiples of truncation_every"
            )
        return self


class TPE(Group):
    name: Literal["tpe"]
    n_startup_trials: NotNegative
    multivariate: bool


class PlainSampler(Group):
    name: Literal["random", "cmaes", "qmc", "grid"]


class MedianPruner(Group):
    name: Literal["median"]
    n_startup_trials: NotNegative
    n_warmup_steps: NotNegative


class Hyperband(Group):
    name: Literal["hyperband"]
    min_resource: Count
    reduction_factor: Annotated[int, Field(ge=2, le=10**6)]


class NoPruner(Group):
    name: Literal["none"]


class Storage(Group):
    url: Annotated[str, Field(min_length=1)] | None
    heartbeat: Annotated[int, Field(ge=1, le=10**5)]
    grace: Annotated[int, Field(ge=2, le=10**6)]

    @model_validator(mode="after")
    def a_sign_of_life_within_grace(self) -> typing.Self:
        """Else every trial would count as dead between two of them."""
        if self.grace <= self.heartbeat:
            raise ValueError(f"grace={self.grace} must be longer than heartbeat={self.heartbeat}, in seconds")
        return self


class Sweeper(Group):
    """The settings of a sweep: everything below hydra.sweeper."""

    study_name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(printable)] | None
    params: dict[str, Any]
    n_trials: Count | None
    objective: str | None
    direction: Literal["minimize", "maximize"] | None
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    sampler: Annotated[TPE | PlainSampler, Field(discriminator="name")]
    pruner: Annotated[MedianPruner | Hyperband | NoPruner, Field(discriminator="name")]
    prune_every: Count
    max_failures: Count
    storage: Storage


def check(values: object) -> Config:
    """Checks plain values (nested dicts) against the types above; raises ConfigError with a line for every fault."""
    return checked(Config, values)


def check_sweeper(values: object) -> Sweeper:
    """The same for the settings of a sweep."""
    return checked(Sweeper, values, SWEEPER)


def checked(model: type[Checked], values: object, prefix: str = "") -> Checked:
    """The values as that model; `prefix` is what the keys are below."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(describe_fault(fault, model, prefix) for fault in error.errors())) from None


def describe_fault(fault: Any, model: type[Group], prefix: str = "") -> str:
    """One line for one fault that pydantic found: the key, the value given, what is allowed."""
    # pydantic puts the kind ('lstm') of a group that comes in kinds into the key's path: model.lstm.cell_size
    kinds = {kind for group in model.model_fields for kind in kinds_of(group, model)}
    parts = [str(part) for i, part in enumerate(fault["loc"]) if not (i == 1 and part in kinds)]
    key = ".".join([prefix, *parts] if prefix else parts)
    given = fault["input"]
    if key == "experiment":  # what a preset's file holds has gone below its own name
        return f"experiment: the preset's file must hold keys and values below the line {PRESET!r}"
    if fault["type"] == "extra_forbidden":
        return describe_unknown_key(key)
    if fault["type"] == "union_tag_not_found":
        tag = fault["ctx"]["discriminator"].strip("'")
        return f"{key}.{tag} is missing: must be one of {', '.join(map(repr, kinds_of(key, model)))}"
    if fault["type"] == "missing":
        return f"{key} is missing: every setting needs a value"
    if fault["type"] in ("string_type", "value_error") and given is None:
        return f"{key} is missing: it has no default, so name one, as in {key}=..."
    allowed = re.sub(r"^(Input|String|List) should", "must", fault["msg"].removeprefix("Value error, "))
    if fault["type"] == "string_type":
        allowed = "must be text; in a YAML file quotes make a number text"
    if fault["type"] == "list_type":
        allowed = f"must be a list in brackets, as in {key}=[{given}]"
    if fault["type"] == "union_tag_invalid":
        key += f".{fault['ctx']['discriminator'].strip(chr(39))}"
        given, allowed = fault["ctx"]["tag"], f"must be one of {fault['ctx']['expected_tags']}"
    if isinstance(given, dict | BaseModel):  # a fault of the group as a whole: the message has the values
        return f"{key}: {allowed}" if key else allowed
    return f"{key}={given!r}: {allowed}"


def meant(key: str) -> str | None:
    """The right key, or group, for one that has its last part, or another program's name for it; None if unsure."""
    leaf = key.rpartition(".")[2].casefold().replace("-", "_")
    same_leaf = sorted(known for known in all_keys() if known.rpartition(".")[2] == leaf)
    return NICKNAMES.get(leaf) or (same_leaf[0] if same_leaf else None)


def describe_unknown_key(key: str) -> str:
    """Says that there is no such key, and which right one is nearest or which kind it belongs to."""
    group = key.split(".")[0]
    if key in (*Config.model_fields, "experiment"):
        return f"{key}: takes the name of one of the files in conf/{key}/"
    if key.startswith(f"{SWEEPER}.params"):
        return f"{key}: what is searched stands in a file of sweeps/, or is typed, as in `-m training.seed=0,1`"
    if key.startswith(f"{SWEEPER}."):
        known = {f"{SWEEPER}.{name}" for name in all_keys(Sweeper)}
        if key not in known:
            return f"{key}: there is no such setting{suggest(key, known)}"
        return f"{key}: not a setting of the chosen {key.split('.')[2]}"
    if group == "hydra":
        return f"{key}: Hydra has no such setting; --cfg hydra shows those that it has"
    if key in all_keys():
        owners = [kind for kind, c in kinds_of(group).items() if key.removeprefix(f"{group}.") in c.model_fields]
        chosen = f"not a setting of the chosen {group}"
        return f"{key}: {chosen}; it belongs to {' and '.join(owners)}, as in {group}={owners[0]}"
    if key.rpartition(".")[2] in EPOCHS:
        return f"{key}: the length of a run is told in steps, a batch each, as in training.steps=1000"
    if full := meant(key):
        return f"{key}: there is no such setting; did you mean '{full}'?"
    return f"{key}: there is no such setting{suggest(key, {*all_keys(), *Config.model_fields, 'experiment'})}"


def suggest(name: str, names: Iterable[str]) -> str:
    """The end of a message: the nearest right name; without one, the names of the same group, or the groups."""
    names = sorted(names)
    group, _, leaf = name.casefold().rpartition(".")
    leaves = {known.casefold().rpartition(".")[2]: known for known in names}
    same_group = {known.rpartition(".")[2]: known for known in names if group and known.startswith(f"{group}.")}
    # A name of the same group first: model.cel_size is model.cell_size, whatever other group has one like it.
    if near := difflib.get_close_matches(leaf, same_group, n=1):
        return f"; did you mean '{same_group[near[0]]}'?"
    if leaf in leaves:
        return f"; did you mean '{leaves[leaf]}'?"
    whole = {} if group else {known.casefold(): known for known in names}
    if near := difflib.get_close_matches(leaf, whole, n=1):
        return f"; did you mean '{whole[near[0]]}'?"
    if not group and (near := difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.75)):
        return f"; did you mean '{leaves[near[0]]}'?"
    return f"; allowed: {', '.join(same_group.values() or [known for known in names if '.' not in known])}"


def kinds_of(group: str, model: type[Group] = Config) -> dict[str, type[Group]]:
    """The kinds a group comes in, by the value of the key that tells them apart; {} for a plain group."""
    field = model.model_fields[group]
    if not field.discriminator:
        return {}
    classes = typing.get_args(field.annotation)
    return {kind: c for c in classes for kind in typing.get_args(c.model_fields[field.discriminator].annotation)}


def has(kinds: Mapping[str, Any], key: str) -> bool:
    """Whether a config with these dotted keys and values is of a kind that has that key: a newer setting, perhaps."""
    group, _, name = key.partition(".")
    tag = Config.model_fields[group].discriminator
    kind = kinds_of(group).get(str(kinds.get(f"{group}.{tag}"))) if tag else Config.model_fields[group].annotation
    return isinstance(kind, type) and name in kind.model_fields


def all_keys(model: type[Group] = Config) -> set[str]:
    """Every dotted key that a config of some kind can have."""
    return set(annotations(model))


def keys_taking(kind: type) -> set[str]:
    """The dotted keys whose value may be of that type, such as `str` or `list`, or is one of certain texts."""

    def takes(annotation: Any) -> bool:
        origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is Literal:
            return isinstance(parts[0], kind)
        return kind in (annotation, origin) or any(map(takes, parts))

    return {key for key, found in annotations().items() if any(map(takes, found))}


def annotations(model: type[Group] = Config) -> dict[str, list[Any]]:
    """The type of every dotted key, in each kind that has it."""
    found: dict[str, list[Any]] = {}
    for name, field in model.model_fields.items():
        whole = [field.annotation] if isinstance(field.annotation, type) else []
        groups = [kind for kind in kinds_of(name, model).values() or whole if issubclass(kind, Group)]
        for key, setting in [(f"{name}.{k}", v) for group in groups for k, v in group.model_fields.items()]:
            found.setdefault(key, []).append(setting.annotation)
        if not groups:
            found[name] = [field.annotation]
    return found


def flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of a nested config."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def as_params(settings: Config) -> dict[str, str]:
    """Dotted keys and values as text, as a run's parameters have them."""
    return {key: json.dumps(v) if isinstance(v, list) else str(v) for key, v in flatten(settings.model_dump())}
