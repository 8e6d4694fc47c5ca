"""An Optuna study: what it is declared to be, which trial comes next, and what became of each.

Nothing here knows of MLflow. A trial counts towards the declared total when it is complete, pruned, failed by itself
or running; one whose worker was killed, or for which a store was away, does not count, and its parameters are tried
again. A grid's points count once each.
"""

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from lstm_lab.config import NEWER
from lstm_lab.records.processes import is_gone, is_process, this_process
from lstm_lab.records.reading import is_run_id, printable
from lstm_lab.runs import metrics
from lstm_lab.studies import database, search


class FileChangedError(database.StudyError):
    """A file that the trials are trained on is not the one that the study has declared."""


def of_kind(kind: type) -> Callable[[Any], bool]:
    """What tells whether a value is of that kind."""
    return lambda value: isinstance(value, kind)


# What sweeps write, and what tells whether it is that
ATTRIBUTES: dict[str, Callable[[Any], bool]] = {
    "identity": of_kind(dict),
    "page": of_kind(str),
    "parent_run": is_run_id,
    "parent_runs": lambda value: isinstance(value, list) and all(map(is_run_id, value)),
}
OF_TRIALS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("reason", "fault", "stopped", "data"), of_kind(str)),
    **dict.fromkeys(("retry_of", "steps"), of_kind(int)),
    "fixed_params": of_kind(dict),
    "worker": is_process,
}


@dataclass(frozen=True)
class Declared:
    """What a study is: what must not change when it is continued, and (total, below) what may."""

    name: str
    space: dict[str, BaseDistribution]
    direction: str
    objective: str
    sampler: dict[str, Any]
    pruner: dict[str, Any]
    seed: int
    config: dict[str, Any]
    total: int
    files: dict[str, str]  # SHA-256 by path
    data: str  # names of the data sets
    experiment: str
    prune_every: int
    seeds: int | None = None  # that each trial is trained with, as one group; None: its own alone

    def identity(self) -> dict[str, str]:
        """What is compared when the study is continued: name -> text."""
        space = {key: optuna.distributions.distribution_to_json(d) for key, d in sorted(self.space.items())}
        return {
            "search space": json.dumps(space),
            "direction": self.direction,
            "objective": self.objective,
            "sampler": json.dumps(self.sampler),
            "pruner": json.dumps(self.pruner),
            "seed": str(self.seed),
            "prune_every": str(self.prune_every),
            "seeds": str(self.seeds),
            **{f"config {key}": json.dumps(value) for key, value in self.config.items()},
            **{f"SHA-256 of {path}": digest for path, digest in self.files.items()},
        }

    def for_jobs(self) -> dict[str, Any]:
        """What a trial's job must know, in whatever process: the study carries it."""
        return {
            "objective": self.objective,
            "pruner": self.pruner,
            "prune_every": self.prune_every,
            "seeds": self.seeds,
            "steps": self.steps(),
            "on_different_data": any(
                key == "training.cost" or key.partition(".")[0] in ("data", "experiment") for key in self.space
            ),
        }

    def steps(self) -> int:
        """The length of a whole trial, of all its seeds; of the longest, where the study searches over it."""
        searched = self.space.get("training.steps")
        steps: int = max(search.corner_values(searched)) if searched else self.config["training.steps"]
        return steps * (self.seeds or 1)


def open_study(storage: optuna.storages.RDBStorage, declared: Declared) -> optuna.Study:
    """Creates the study or goes on with it; StudyError if it exists as another one than declared. Needs the lock."""
    study = optuna.create_study(
        study_name=declared.name,
        storage=storage,
        direction="maximize" if declared.direction == "maximize" else "minimize",
        pruner=search.make_pruner(declared.pruner, declared.steps()),
        load_if_exists=exists(storage, declared.name),
    )
    check_attributes(study)
    identity = declared.identity()
    known = {"seeds": str(None)} | study.user_attrs.get("identity", identity)
    unknown = {key: text for key, text in identity.items() if key not in known and not key.startswith("config ")}
    known = known | unknown  # to an older version, which did not write it: taken as it is declared now
    newer = {f"config {key}": json.dumps(value) for key, value in NEWER.items()}  # and this as it then was
    known = {key: text for key, text in newer.items() if key in identity} | known
    known["objective"] = metrics.today(known["objective"])
    if changed := [key for key, text in identity.items() if known.get(key) != text]:
        details = "; ".join(f"{key} was {known.get(key)}, is {identity.get(key)}" for key in changed[:4])
        raise database.StudyError(
            f"hydra.sweeper.study_name={declared.name!r}: that study exists with another {changed[0]}; results would "
            f"be mixed ({details}). Give this one another hydra.sweeper.study_name"
        )
    remember(study, identity=known, declared=declared.for_jobs())
    queue(study, declared)
    return study


def exists(storage: optuna.storages.RDBStorage, name: str) -> bool:
    """Whether there is a study of that name; others are not looked into."""
    try:
        storage.get_study_id_from_name(name)
    except KeyError:
        return False
    return True


def check_attributes(study: optuna.Study) -> None:
    """Raises StudyError for a study that has what no sweep wrote: anybody may write to a shared database."""
    found = [("the study", study.user_attrs, ATTRIBUTES)]
    for place, trial in enumerate(study.get_trials(deepcopy=False)):
        if trial.number != place:
            raise database.StudyError(database.unreadable(f"there is a trial {trial.number}, and no trial {place}"))
        if trial.state == TrialState.COMPLETE and not isinstance(trial.value, float):
            raise database.StudyError(database.unreadable(f"trial {place} is complete and has no value"))
        found += [(f"trial {place}", {**trial.user_attrs, **trial.system_attrs}, OF_TRIALS)]
    for whose, attributes, forms in found:
        for key in forms.keys() & attributes.keys():
            if not forms[key](attributes[key]):
                shown = printable(str(attributes[key]), 60)
                raise database.StudyError(
                    database.unreadable(f"{whose} has another {key} than a sweep writes: {shown}")
                )


def remember(study: optuna.Study, **values: Any) -> None:
    """Writes into the study what it does not say already."""
    known = study.user_attrs
    for key, value in values.items():
        if known.get(key) != value:
            study.set_user_attr(key, value)


def is_dead(worker: Mapping[str, Any] | None) -> bool:
    """Whether a trial's worker is known to be gone. Of another machine's only its heartbeat can tell."""
    return worker is None or is_gone(worker)  # None: killed between taking and signing it, both done under the lock


def is_own(worker: Mapping[str, Any] | None) -> bool:
    """Whether a trial's worker is this process."""
    return worker == this_process()


def release_trials(study: optuna.Study, of: Callable[[Mapping[str, Any] | None], bool]) -> None:
    """Marks FAIL, as killed, the running trials of such workers."""
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        if of(trial.user_attrs.get("worker")):
            end(study, trial, TrialState.FAIL)


def point_of(trial: FrozenTrial) -> dict[str, Any]:
    """A trial's parameters: those that it was queued with are whole, whenever its worker was killed."""
    return {**trial.params, **trial.system_attrs.get("fixed_params", {})}


def queue(study: optuna.Study, declared: Declared) -> list[FrozenTrial]:
    """Queues whatever is to be tried and is not queued; returns all trials as they are then. Needs the lock.

    It goes by nothing but the trials that there are: whenever a worker is killed, the next call makes up for it.
    """
    trials = study.get_trials(deepcopy=False)
    if declared.sampler["name"] == "grid":
        has_changed = queue_grid(study, search.grid_points(declared.space), trials)
    else:
        has_changed = queue_killed(study, trials)
    return study.get_trials(deepcopy=False) if has_changed else trials


def queue_grid(study: optuna.Study, points: Sequence[Mapping[str, Any]], trials: Sequence[FrozenTrial]) -> bool:
    """Queues the first point that no trial has that counts, unless one waits; takes out what is not wanted, or twice.

    Returns whether there was anything to do. One at a time: to queue a grid of thousands at once would take minutes,
    and each is read again for every trial.
    """
    missing = Counter(map(as_text, points)) - Counter(as_text(point_of(trial)) for trial in trials if does_count(trial))
    waits = has_changed = False
    for trial in trials:
        if trial.state == TrialState.WAITING:
            point = as_text(point_of(trial))
            if missing[point] > 0:
                missing[point] -= 1
                waits = True
            else:
                study._storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL)
                has_changed = True
    if not waits and (next_point := next(missing.elements(), None)):
        study.enqueue_trial(json.loads(next_point))
        has_changed = True
    return has_changed


def queue_killed(study: optuna.Study, trials: Sequence[FrozenTrial]) -> bool:
    """Queues the parameters of each trial that was killed, unless they are: `retry_of` is the first of such a row.

    Returns whether there was anything to queue.
    """
    killed = {first_of(trial): trial for trial in trials if was_killed(trial) and point_of(trial)}
    tries = Counter(first_of(trial) for trial in trials if was_killed(trial) and point_of(trial))
    tries.subtract(trial.user_attrs["retry_of"] for trial in trials if "retry_of" in trial.user_attrs)
    missing = [number for number in killed if tries[number] > 0]
    for number in missing:
        study.enqueue_trial(point_of(killed[number]), user_attrs={"retry_of": number})
    return bool(missing)


def first_of(trial: FrozenTrial) -> int:
    """The number of the trial that this one tries again, or its own."""
    return trial.user_attrs.get("retry_of", trial.number)


def as_text(point: Mapping[str, Any]) -> str:
    """A point of a grid, to be compared and counted."""
    return json.dumps(point, sort_keys=True)


def does_count(trial: FrozenTrial) -> bool:
    """Whether a trial is running, or over and not killed."""
    return trial.state == TrialState.RUNNING or (trial.state.is_finished() and not was_killed(trial))


def taken(trials: Iterable[FrozenTrial], declared: Declared) -> int:
    """How many of the declared total these trials are: each point of a grid once."""
    counting = [trial for trial in trials if does_count(trial)]
    if declared.sampler["name"] != "grid":
        return len(counting)
    points = Counter(map(as_text, search.grid_points(declared.space)))
    return (points & Counter(as_text(point_of(trial)) for trial in counting)).total()


def counts(study: optuna.Study) -> dict[str, int]:
    """How many trials there are of each state, as `counted` tells."""
    return counted(study.get_trials(deepcopy=False))


def counted(trials: Iterable[FrozenTrial]) -> dict[str, int]:
    """How many trials there are of each state; a killed worker's count as KILLED, apart from those that failed."""
    found = dict.fromkeys(("COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING", "KILLED"), 0)
    for trial in trials:
        found["KILLED" if was_killed(trial) else trial.state.name] += 1
    return found


def ended(found: Mapping[str, int]) -> int:
    """How many trials of these counts are over and count towards the total."""
    return found["COMPLETE"] + found["PRUNED"] + found["FAIL"]


def is_open(trials: Sequence[FrozenTrial], declared: Declared) -> bool:
    """Whether anything is left to run, or to wait for."""
    return taken(trials, declared) < declared.total or any(trial.state == TrialState.RUNNING for trial in trials)


def was_killed(trial: FrozenTrial) -> bool:
    """A trial that fails by itself leaves its reason; one whose worker was killed could not."""
    return trial.state == TrialState.FAIL and "reason" not in trial.user_attrs


def failures_in_a_row(study: optuna.Study) -> list[FrozenTrial]:
    """The failed trials since the last one that ended well."""
    finished = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished() and not was_killed(t)]
    finished.sort(key=lambda trial: str(trial.datetime_complete))
    row: list[FrozenTrial] = []
    for trial in reversed(finished):
        if trial.state != TrialState.FAIL:
            break
        row.append(trial)
    return row


def take_trial(study: optuna.Study, storage: optuna.storages.RDBStorage, declared: Declared) -> Trial | None:
    """The next trial, signed by this worker; None when the declared total is running or done."""
    with database.study_lock(storage), database.experimental():
        release_trials(study, of=is_dead)
        optuna.storages.fail_stale_trials(study)
        trials = queue(study, declared)  # read once: another worker's may end at any moment, lock or no lock
        if taken(trials, declared) >= declared.total:
            return None
        study.sampler = search.make_sampler(declared.sampler, declared.seed, len(trials))
        trial = study.ask(declared.space)
        storage.record_heartbeat(trial._trial_id)
        trial.set_user_attr("worker", this_process())
        return trial


@contextlib.contextmanager
def heartbeat(storage: optuna.storages.RDBStorage, trial: Trial) -> Iterator[None]:
    """Lets other machines know that the trial's worker is alive."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(storage.heartbeat_interval):
            with contextlib.suppress(Exception):  # a database that is away for a moment must not end the trial
                storage.record_heartbeat(trial._trial_id)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def running_trial(study: optuna.Study, number: int) -> Trial:
    """The live trial of that number, in any process that reaches the storage."""
    return Trial(study, study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number))


def end(study: optuna.Study, trial: Trial | FrozenTrial, state: TrialState, value: float | None = None) -> FrozenTrial:
    """Ends a trial and returns it as the study has it then: as it was, if another worker has ended it meanwhile."""
    try:
        return study.tell(trial.number, value, state=state, skip_if_finished=True)
    except optuna.exceptions.UpdateFinishedTrialError:
        return study.get_trials(deepcopy=False)[trial.number]


def fail(study: optuna.Study, trial: Trial, **why: str) -> FrozenTrial:
    """Ends a trial as FAIL: it counts if there is a `reason`; without, it was cut short, and is tried again."""
    with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
        for key, words in why.items():
            trial.set_user_attr(key, words)
    return end(study, trial, TrialState.FAIL)


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The best complete trial on each data set: values on different data say nothing of each other."""
    trials = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    best = [best_of(study, trials, data) for data in sorted(set(map(data_of, trials)))]
    return [trial for trial in best if trial]


def best_of(study: optuna.Study, trials: Iterable[FrozenTrial], data: str) -> FrozenTrial | None:
    """The best of those trials that are complete, on that data set."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and data_of(trial) == data]
    best = min if study.direction == optuna.study.StudyDirection.MINIMIZE else max
    return best(complete, key=lambda trial: trial.value or 0.0, default=None)


def data_of(trial: FrozenTrial) -> str:
    """The data set that the trial was trained on, where a study's trials differ in it."""
    return trial.user_attrs.get("data", "")


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The best complete trial, if there is one and the study's trials do not differ in their data."""
    found = best_trials(study)
    return found[0] if len(found) == 1 else None
