"""The truncated gradient: how far it is from the whole window's, by its length, and what training by it costs."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_lab.findings import figures
from lstm_lab.findings.runs import Costs, Runs, Studies, for_each_sample, time_steps, values_of
from lstm_lab.findings.template import Finding
from lstm_lab.reports import tables
from lstm_lab.reports.groups import results, split
from lstm_lab.runs.metrics import MEAN_ERROR, SOLVED
from lstm_lab.science.statistics import Estimate, median, paired

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lstm_lab.config import Config

ADDING, TUTORIAL, EVERY = STUDIES = (
    "papers/truncation-adding",
    "papers/truncation-tutorial",
    "papers/truncation-tutorial-every",
)
TASKS = {"adding": ADDING, "tutorial": TUTORIAL}
LENGTH = "training.truncation_steps"
LENGTHS = (1, 2, 5, 10)  # at which a bias is measured, beside those that are trained with
SEEDS = 20  # of initial weights
DRAWS = 1000  # of randomised truncations, whose mean is looked at
CHUNKS, BACK, ONE, MEAN, CONSTANT = KINDS = (
    "chunks",
    "every step",
    "randomised, one draw",
    f"mean of {DRAWS:,}",
    f"constant chance, mean of {DRAWS:,}",
)
UNTRAINED, TRAINED = "untrained", "trained"
Errors = dict[tuple[str, int], Costs]  # relative errors by seed, of a kind of truncation and a length


def compute(studies: Studies) -> Finding:
    """For both tasks the relative errors of truncated gradients by length, and the errors after training by them."""
    runs = {task: studies.grid(study) for task, study in TASKS.items()}
    errors = {task: measured(studies, of_task) for task, of_task in runs.items()}
    untrained = {task: found[UNTRAINED] for task, found in errors.items()}
    within = {task: lengths_of(of_task)[1:-1] for task, of_task in runs.items()}  # neither one step nor the window
    values = {
        "seeds": SEEDS,
        "trained": studies.seeds,
        "draws": DRAWS,
        "window": {task: time_steps(of_task) for task, of_task in runs.items()},
        "biases": {task: bias_table(errors[task], whole(runs[task])) for task in TASKS},
        "within": within,
        "every": {task: [n for n in within[task] if nearer(untrained[task], BACK, CHUNKS, n)] for task in TASKS},
        "one": {task: [n for n in within[task] if nearer(untrained[task], ONE, CHUNKS, n)] for task in TASKS},
        "falls": {task: [n for n in within[task] if falls(untrained[task], n)] for task in TASKS},
        "lengths": {task: values_of(of_task, LENGTH)[:-1] for task, of_task in runs.items()},
        "adding": adding(runs["adding"]),
        "tutorial": tutorial(runs["tutorial"], studies.grid(EVERY)),
        "commands": [studies.command(study) for study in STUDIES],
    }
    return Finding(values, {f"truncation_{task}": bias_figure(task, found) for task, found in untrained.items()})


def lengths_of(runs: Runs) -> list[int]:
    """The lengths at which the bias is measured, the whole window the last."""
    return sorted({*(n for n in LENGTHS if n < time_steps(runs)), *values_of(runs, LENGTH)})


def whole(runs: Runs) -> Runs:
    """The runs that were trained by the gradient of the whole window and did not diverge."""
    return [run for run in split(runs, LENGTH)[str(time_steps(runs)),] if run.status == "FINISHED"]


def nearer(errors: Errors, first: str, second: str, length: int) -> bool:
    """Whether the first kind of gradient is nearer to the full one than the second, beyond chance."""
    return paired(errors[second, length], errors[first, length]).decided


def falls(errors: Errors, length: int) -> bool:
    """Whether the mean of many draws has a smaller error than one draw, by intervals that do not meet."""
    return median(errors[MEAN, length].values()).high < median(errors[ONE, length].values()).low


def measured(studies: Studies, runs: Runs) -> dict[str, Errors]:
    """The relative errors of a task's gradients: at initial weights, and at those that the whole gradient trained."""
    from lstm_lab import runtime

    runtime.start_tensorflow("fast", 1)  # as the studies are run
    from lstm_lab.science.model import build_model

    config, lengths = studies.config(runs[0]), lengths_of(runs)
    fresh = [build_model(**settings_of(config), seed=seed) for seed in range(SEEDS)]
    weights = {
        UNTRAINED: [model.get_weights() for model in fresh],
        TRAINED: [studies.final_weights(run) for run in whole(runs)],
    }
    parts_at = parts_of_new_window(fresh[0], config)
    found = {}
    for when, of_seeds in weights.items():
        by_seed = [errors_at(parts_at(of_seed), lengths, seed) for seed, of_seed in enumerate(of_seeds)]
        found[when] = {key: {(seed,): each[key] for seed, each in enumerate(by_seed)} for key in by_seed[0]}
    return found


def settings_of(config: "Config") -> dict[str, Any]:
    """What `build_model` takes but for the seed."""
    from lstm_lab.runs.setup import make_source

    source = make_source(config)
    return {**config.model.model_dump(), "input_size": source.input_size, "output_size": source.output_size}


def parts_of_new_window(model: Any, config: "Config") -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    """A function from weights to the parts of their gradient, in a batch none of whose rows was trained on.

    Where rows carry their state on, it is that after the batch before.
    """
    import tensorflow as tf

    from lstm_lab.runs.setup import make_source
    from lstm_lab.science.model import zero_state
    from lstm_lab.science.training import Batch
    from lstm_lab.science.truncation_bias import compile_parts

    source, parts = make_source(config), compile_parts(model)
    first = config.training.steps + source.batch_size
    before, rows = (source.chunk(k, 1) for k in (first - 1, first))
    counts = None if rows.weights is None else tf.constant(rows.weights)
    batch = Batch(tf.constant(rows.inputs), tf.constant(rows.targets), counts)

    def parts_at(weights: Sequence[np.ndarray]) -> np.ndarray:
        model.set_weights(weights)
        state = [tf.constant(tensor) for tensor in zero_state(model, source.batch_size)]
        if rows.starts_over is None:
            _, *state = model([tf.constant(before.inputs), *state])
        return np.asarray(parts(batch, state))

    return parts_at


def errors_at(parts: np.ndarray, lengths: Sequence[int], seed: int) -> dict[tuple[str, int], float]:
    """The relative error of each kind of gradient at each length; `seed` decides the draws."""
    from lstm_lab.science import truncation_bias as bias

    time_steps, shares = len(parts), {}
    for length in lengths:
        draw = np.random.default_rng([seed, length])
        many, constant = (
            bias.draw_factors(draw, DRAWS, time_steps, law(length)) for law in (bias.heavy_tailed, bias.constant)
        )
        shares[CHUNKS, length] = bias.in_chunks(time_steps, length)
        shares[BACK, length] = bias.from_every_step(time_steps, length)
        shares[ONE, length], shares[MEAN, length] = bias.randomised(many[:1]), bias.randomised(many)
        shares[CONSTANT, length] = bias.randomised(constant)
    return dict(zip(shares, bias.relative_errors(parts, np.stack(list(shares.values()))).tolist(), strict=True))


def bias_table(errors: dict[str, Errors], trained: Runs) -> str:
    """The medians by length and weights, a column for each kind of gradient."""
    lengths = sorted({length for _, length in errors[UNTRAINED]})
    rows = [
        [str(n), when, *(tables.text(median(of_weights[kind, n].values())) for kind in KINDS)]
        for n in lengths
        for when, of_weights in errors.items()
    ]
    return tables.markdown(["K", "weights", *KINDS], rows, {TRAINED: trained})


def bias_figure(task: str, errors: Errors) -> "Figure":
    """The medians over the length, as far as they are not 0: truncations as long as the window are none."""
    lines: dict[str, tuple[list[float], list[Estimate]]] = {}
    for kind in KINDS:
        found = {n: median(of_seeds.values()) for (name, n), of_seeds in errors.items() if name == kind}
        shown = {n: estimate for n, estimate in sorted(found.items()) if estimate.low > 0}
        lines[kind] = list(shown), list(shown.values())
    return figures.lines_figure(
        lines,
        title=f"how far truncated gradients are from the full one ({task})",
        xlabel="length K (time steps)",
        ylabel="relative error",
    )


def adding(runs: Runs) -> dict[str, Any]:
    """What training in chunks comes to on the adding task, by their length; where it is worse than the whole window."""
    of = {int(length): of_length for (length,), of_length in split(runs, LENGTH).items()}
    errors = {length: results(of_length, MEAN_ERROR) for length, of_length in of.items()}
    best = errors[time_steps(runs)]
    solved = {n: sum(f"{SOLVED}solved" in run.metrics for run in of_length) for n, of_length in of.items()}
    rows = [
        [str(n), f"{solved[n]} of {len(of[n])}", tables.text(median(found.values())), against(found, best)]
        for n, found in errors.items()
    ]
    head = ["K", "solved", "mean error of new sequences", "/ whole window"]
    [batch_size], [steps] = values_of(runs, "data.batch_size"), values_of(runs, "training.steps")
    return {
        "table": tables.markdown(head, rows, {f"K = {n}": of_length for n, of_length in of.items()}),
        "worse": [n for n, found in errors.items() if paired(found, best).decided],
        "sequences": batch_size * steps,
    }


def tutorial(in_chunks: Runs, from_every: Runs) -> dict[str, Any]:
    """The squared errors for each sample after training by either truncation, by its length."""
    kinds = {CHUNKS: in_chunks, BACK: from_every}
    of = {(kind, int(n)): found for kind, runs in kinds.items() for (n,), found in split(runs, LENGTH).items()}
    errors = {key: for_each_sample(of_key) for key, of_key in of.items()}
    best = errors[CHUNKS, time_steps(in_chunks)]
    rows = [
        [str(n), kind, tables.text(median(found.values())), against(found, best)] for (kind, n), found in errors.items()
    ]
    sources = {f"{kind}, K = {n}": of_key for (kind, n), of_key in of.items()}
    return {
        "table": tables.markdown(["K", "truncation", "squared error", "/ whole window"], rows, sources),
        "worse": [n for (kind, n), found in errors.items() if kind == CHUNKS and paired(found, best).decided],
    }


def against(found: Costs, best: Costs) -> str:
    """How many times the whole window's errors these are, and the p of that; nothing for the whole window itself."""
    return "" if found is best else tables.ratio(paired(found, best))
