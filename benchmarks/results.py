"""RESULTS.md and its figure out of what was measured (results.json)."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from peak import SIZE, step_operations

LABELS = {
    "lab_fast": "this repo, `level=fast`",
    "lab_portable": "this repo, `level=portable`",
    "session": "the tutorial's way: TensorFlow 1's graph and session",
    "eager": "the same eagerly, with `GradientTape`",
    "function": "Keras layers, the step one `tf.function` under XLA",
    "fit": "Keras `fit`, stateful LSTM, on arrays",
    "fit_data": "Keras `fit`, on a dataset that does not tune itself",
    "fit_jit": "Keras `fit`, the same with `jit_compile=True`",
    "fit_many": "Keras `fit`, the same with `steps_per_execution=50`",
    "torch": "PyTorch `nn.LSTM`, fused Adam",
    "jax": "JAX `lax.scan` under jit, optax, one call a step",
    "jax_chunks": "JAX, a second `lax.scan` over 100 steps",
    "jax_folded": "JAX, the same, in_hidden folded into the kernel",
}
COLOURS = {
    "lab_fast": "tab:red",
    "lab_portable": "tab:orange",
    "session": "tab:gray",
    "fit_jit": "tab:brown",
    "torch": "tab:purple",
    "jax": "tab:cyan",
    "jax_chunks": "tab:blue",
    "jax_folded": "tab:green",
}
FOLDED = "jax_folded"  # an extra, which nobody would write first: no goal is measured by it
SHORT = {
    "lab_fast": "this repo, level=fast",
    "lab_portable": "this repo, level=portable",
    "session": "TensorFlow 1 session",
    "fit_jit": "Keras fit, XLA",
    "torch": "PyTorch",
    "jax": "JAX",
    "jax_chunks": "JAX, 100 steps a call",
    "jax_folded": "JAX, folded",
}
OURS, TRAINING = "this repo", "its training alone"  # of a trial
RATED = 40  # trials of the study whose rate is told
# What a step is beside, the aims of level=fast and level=portable, the peers (none: all), the shape
STEP_GOALS: list[tuple[str, float, float | None, list[str], dict[str, int]]] = [
    ("the tutorial's session", 5.0, 1.5, ["session"], {}),
    ("PyTorch", 2.5, None, ["torch"], {}),
    ("Keras `fit`, on arrays", 10.0, None, ["fit"], {}),
    ("Keras `fit`, on a dataset that does not tune itself", 10.0, None, ["fit_data"], {}),
    ("Keras `fit`, the same with `jit_compile=True`", 10.0, None, ["fit_jit"], {}),
    ("jitted JAX, one call a step", 1.2, None, ["jax"], {}),
    ("jitted JAX, 100 steps a call", 1.2, None, ["jax_chunks"], {}),
    ("the fastest of them, cell size 64", 1.0, None, [], {"cell_size": 64}),
    ("the fastest of them, cell size 256", 1.0, None, [], {"cell_size": 256}),
]
START_GOALS = [
    ("a default run, the bare imports being 1", "train", "imports", 1.5),
    ("`--help`, importing TensorFlow being 1", "help", "tensorflow", 0.5),
    ("a refused config, importing TensorFlow being 1", "refused", "tensorflow", 0.5),
    ("completion, importing TensorFlow being 1", "completion", "tensorflow", 0.5),
]
TITLES = (
    *("Goals", "A training step of the default recipe", "Growth", "Sequences", "Starting", "Tracking"),
    *("A million steps", "A study's trials", "A store of many runs", "Long curves and long files"),
)
OTHER_WORK = "costs differ"  # how the fault of a peer begins that did not do equal work
DEFAULT = {"cell_size": 10, "time_steps": 20, "batch_size": 50, "task": "curve"}

Peers = dict[str, dict[str, Any]]


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rounded(value: Any) -> Any:
    """The same structure, its floats to six digits."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def number(value: float) -> str:
    """Three digits, at most two of them decimals."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(values: Sequence[float]) -> str:
    """Median (least to most)."""
    return f"{number(median(values))} ({number(min(values))} to {number(max(values))})" if values else "-"


def milliseconds(seconds: Sequence[float]) -> str:
    """The same of seconds, in milliseconds."""
    return spread([1e3 * one for one in seconds])


def ratios(seconds: Sequence[float], of: Sequence[float]) -> list[float]:
    """Round by round, so that what slowed a whole round is in both."""
    return [one / other for one, other in zip(seconds, of, strict=False)]


def ratio(seconds: Sequence[float], of: Sequence[float]) -> str:
    """Their median, least and most."""
    return spread(ratios(seconds, of))


def at(part: dict[str, Any] | None, **shape: int) -> Peers | None:
    """What was measured at a shape, if it was."""
    wanted = {**DEFAULT, **shape}
    measured = part["measured"]["measured"] if part else []
    return next((one["peers"] for one in measured if one["shape"] == wanted), None)


def other_work(found: dict[str, Any]) -> list[str]:
    """Every peer whose costs were not this repo's."""
    return [
        f"{name} at {one['shape']}: {made['fault']}"
        for part in ("one_core", "all_cores", "sequences")
        if part in found["parts"]
        for one in found["parts"][part]["measured"]["measured"]
        for name, made in one["peers"].items()
        if made["fault"].startswith(OTHER_WORK)
    ]


def write(folder: Path, found: dict[str, Any], notes: Path) -> None:
    """Writes RESULTS.md and results.png into the folder."""
    parts = found["parts"]
    if "one_core" in parts:
        draw(found).savefig(folder / "results.png", dpi=110)
    (folder / "RESULTS.md").write_text(render(found, sections(notes.read_text())))


def sections(notes: str) -> dict[str, str]:
    """The notes by their headings."""
    _, *found = re.split(r"^## (.+)\n", notes, flags=re.MULTILINE)
    return {heading: text.strip() for heading, text in zip(found[::2], found[1::2], strict=True)}


def render(found: dict[str, Any], notes: dict[str, str]) -> str:
    """All of RESULTS.md."""
    from store_page import curves_and_files, many_runs  # which make their tables by what is here

    parts = found["parts"]
    command = "make bench ARGS=--quick" if found["quick"] else "make bench"
    lines = [
        "# Results",
        "",
        f"Written by `{command}` from results.json and NOTES.md. Only the ratios mean anything, since the machine",
        "decides the rest. What a table compares was measured in turn, in one run; each figure is the median of its",
        "rounds (least to most), and a ratio is taken within each round.",
        "",
        *machines(parts),
        "",
        f"No GPU used; Python {next(iter(parts.values()))['machine']['python']}{versions(parts)}.",
    ]
    if "one_core" in parts:
        lines += ["", "![Time per step of each peer, and how it grows](results.png)"]
    bodies = (
        *(goals(parts), default_recipe(parts), growth(parts), sequences(parts.get("sequences"))),
        *(starting(parts.get("start")), tracking(parts.get("tracking")), memory(parts.get("memory"))),
        *(study(parts.get("sweep")), many_runs(parts.get("store"))),
        curves_and_files(parts.get("curves"), parts.get("files")),
    )
    for title, body in zip(TITLES, bodies, strict=True):
        if body:
            lines += ["", f"## {title}", "", *body]
            if note := notes.get(title):
                lines += ["", note]
    lines += ["", "## When", "", *when(parts)]
    return "\n".join(lines) + "\n"


def machines(parts: dict[str, Any]) -> list[str]:
    """Each machine, and the parts that were measured on it."""
    of: dict[str, list[str]] = {}
    for name, part in parts.items():
        found = part["machine"]
        told = f"{found['processor']}, {found['cores']} cores, {found['gigabytes']} GB, {found['system']}"
        of.setdefault(told, []).append(name)
    return [f"- {machine}: {', '.join(names)}" for machine, names in of.items()]


def versions(parts: dict[str, Any]) -> str:
    """What took part, by version."""
    known = parts.get("one_core", parts.get("all_cores", {"measured": {"versions": {}}}))["measured"]["versions"]
    names = {"tensorflow": "TensorFlow", "keras": "Keras", "torch": "PyTorch", "jax": "JAX", "numpy": "NumPy"}
    return "".join(f", {names.get(name, name)} {version}" for name, version in known.items())


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown, all columns but the first to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def default_recipe(parts: dict[str, Any]) -> list[str]:
    """Each peer's time per step, on one core and on all."""
    body: list[str] = []
    for name, title in (("one_core", "One core"), ("all_cores", "All cores")):
        peers = at(parts.get(name))
        if not peers:
            continue
        body += [f"{title}:" if name == "one_core" else f"\n{title} ({parts[name]['measured']['cores']}):", ""]
        head = ["how", "ms a step", "time, `level=fast` being 1", "s to build and do ten steps"]
        body += table(head, step_rows(peers, "seconds"))
    return body and [
        *body,
        "",
        "Equal work, which is checked: the same batches, initial weights, cell, cost and Adam; a peer whose first ten",
        "costs are off this repo's by more than 1e-4 (at other shapes 1e-3) fails the run. Peers get their batches",
        "ready-made, this repo makes them in its time. `fit` with 50 steps an execution tells no step's own cost.",
    ]


def step_rows(peers: Peers, clock: str) -> list[list[str]]:
    """Each peer's time per step by one of two clocks, `seconds` or `processor_seconds`."""
    fast = peers["lab_fast"][clock]
    return [
        [
            *(LABELS[key], milliseconds(one[clock])),
            *(ratio(one[clock], fast) if key != "lab_fast" else "1", number(one["first_seconds"])),
        ]
        if one[clock] and not one["fault"]
        else [LABELS[key], told(one["fault"]), "", ""]
        for key, one in peers.items()
    ]


def told(fault: str) -> str:
    """A fault in a table."""
    return fault if fault.startswith(OTHER_WORK) else f"not measured ({fault})"


def growth(parts: dict[str, Any]) -> list[str]:
    """Time relative to level=fast as cell, window or batch grow."""
    part = parts.get("one_core")
    measured = part["measured"]["measured"] if part else []
    if len(measured) < 2:
        return []
    product = median(part["measured"].get("product_rates", [0.0])) if part else 0.0
    names = [name for name in SHORT if name in measured[-1]["peers"]]
    body = [
        "On one core; time of each peer, that of `level=fast` at the same shape being 1 (in ms in its own column).",
        *(arithmetic(product) if product else []),
        "",
    ]
    rows = []
    for one in sorted(measured, key=lambda one: list(one["shape"].values())):
        shape, peers = one["shape"], one["peers"]
        fast = peers["lab_fast"]["seconds"]
        cells = [
            number(median(ratios(peers[name]["seconds"], fast))) if peers[name]["seconds"] and fast else "-"
            for name in names[1:]
        ]
        speed = rates(shape, peers["lab_fast"]["processor_seconds"], product) if product else []
        rows.append([shape_name(shape), number(1e3 * median(fast)) if fast else "-", *speed, *cells])
    head = ["shape", "level=fast, ms", *(["its GFLOP/s", "of the product's"] if product else [])]
    return [*body, *table([*head, *(SHORT[name].removeprefix("this repo, ") for name in names[1:])], rows)]


def arithmetic(product: float) -> list[str]:
    """What the columns of operations a second mean, beside those of a large matrix product."""
    return [
        "GFLOP/s: the operations of a step's matrix products alone (`step_operations` in peak.py) in all of the",
        f"processor's time for a step. On the same core in the same run a product of two matrices [{SIZE}, {SIZE}]",
        f"reached {number(product / 1e9)}, which is taken for the processor's peak.",
    ]


def rates(shape: dict[str, Any], seconds: Sequence[float], product: float) -> list[str]:
    """Operations of a step's matrix products a second of the processor's, in GFLOP/s and as a share of `product`."""
    if not seconds:
        return ["-", "-"]
    rate = step_operations(shape) / median(seconds)
    return [number(rate / 1e9), f"{100 * rate / product:.0f} %"]


def sequences(part: dict[str, Any] | None) -> list[str]:
    """Each peer's time at the adding task, where every row starts from a state of zeros."""
    if not part:
        return []
    [one] = part["measured"]["measured"]
    most = one["shape"]["time_steps"]
    size = f"{one['shape']['batch_size']} sequences of {most * 10 // 11:,} to {most:,} time steps"
    head = ["how", "ms a step, of the processor", "time, `level=fast` being 1"]
    return [
        f"The adding task: a batch is {size} with two inputs, each from",
        "a state of zeros and with an error at its end; network, Adam and the check are the default recipe's. On one",
        "core, in its processor's time, which is the clock's where nothing else runs. This repo draws its sequences in",
        "its time.",
        "",
        *table(head, [row[:3] for row in step_rows(one["peers"], "processor_seconds")]),
    ]


def shape_name(shape: dict[str, int]) -> str:
    """What differs from the default recipe."""
    words = {"cell_size": "cell size", "time_steps": "time steps", "batch_size": "batch size"}
    return ", ".join(f"{words[key]} {value:,}" for key, value in shape.items() if value != DEFAULT[key]) or "default"


def starting(part: dict[str, Any] | None) -> list[str]:
    """Whole processes beside the bare imports."""
    if not part:
        return []
    measured = part["measured"]
    seconds, until = measured["seconds"], measured["until_first_step"]
    imports, tensorflow = seconds["imports"], seconds["tensorflow"]
    trained = [
        ["bare imports of what it uses, in one process", imports],
        ["`python src/train.py`, second run in a clone", seconds["train"]],
        ["... until its first step is done", until["train"]],
        ["the same with `training.level=fast`", seconds["train_fast"]],
        ["... until its first step is done", until["train_fast"]],
    ]
    answered = [
        ["`import tensorflow`", tensorflow],
        ["`python src/train.py --help`", seconds["help"]],
        ["a refused config", seconds["refused"]],
        ["completion of a word", seconds["completion"]],
    ]
    body = times(trained, "the imports")
    body += [
        "",
        f"Bare imports: {', '.join(measured['imports'])}.",
        f"The first run took {number(measured['first'])} s.",
    ]
    body += ["", *times(answered, "TensorFlow's import")]
    peers = {key: one for key, one in measured.get("peers", {}).items() if one}
    if "lab_fast" in peers:
        body += [
            "",
            "From nothing to the first ten steps done, without tracking, on one core, not for the first time:",
            "",
        ]
        rows = [[LABELS[key], peers[key]] for key in ("lab_fast", *(key for key in peers if key != "lab_fast"))]
        body += times(rows, "`level=fast`")
    return body


def times(rows: Sequence[Sequence[Any]], first: str) -> list[str]:
    """A table of labels and seconds, each beside the first one's."""
    cells = [[label, spread(seconds), ratio(seconds, rows[0][1])] for label, seconds in rows]
    cells[0][2] = "1"
    return table(["what", "s", f"time, {first} being 1"], cells)


def tracking(part: dict[str, Any] | None) -> list[str]:
    """Tracked beside untracked."""
    if not part:
        return []
    rows = []
    for one in part["measured"]:
        seconds, processor = one["seconds"], one["processor_seconds"]
        adds = [f"{100 * added(kind['tracked'], kind['untracked']):.1f} %" for kind in (seconds, processor)]
        rows.append([f"{one['steps']:,}", spread(seconds["untracked"]), spread(seconds["tracked"]), *adds])
    return [
        "The same training on `level=fast`, in one process and in turn: `for progress in train(...)` beside a tracked",
        "run, all of it (parameters, tags, provenance, metrics, checkpoints; but no figures and no model).",
        "",
        *table(["steps", "untracked, s", "tracked, s", "tracking adds", "to the processor's time"], rows),
    ]


def added(tracked: Sequence[float], untracked: Sequence[float]) -> float:
    """What tracking adds, as a share of the untracked time."""
    return median(ratios(tracked, untracked)) - 1


def memory(part: dict[str, Any] | None) -> list[str]:
    """Time and memory as a run grows longer."""
    if not part:
        return []
    rows = [
        [f"{one['steps']:,}", number(one["seconds"]), number(1e3 * one["per_step"]), f"{one['megabytes']:,.0f}"]
        for one in part["measured"]
    ]
    return [
        "Whole tracked runs, `python src/train.py experiment=long training.steps=...`, with all that they leave.",
        "",
        *table(["steps", "s in all", "ms a step", "peak memory, MB"], rows),
    ]


def study(part: dict[str, Any] | None) -> list[str]:
    """Seconds of one more trial, and trials per minute of a study of 40."""
    if not part:
        return []
    measured = part["measured"]
    slopes, rates = slopes_of(measured), rates_of(measured)
    ours = slopes[OURS]
    rows = [
        [how, ", ".join(map(str, measured["trials"][how])), number(one), number(one / ours), number(rates[how])]
        for how, one in slopes.items()
    ]
    training = measured["training"]
    rows.append([TRAINING, "", spread(training), number(median(training) / ours), ""])
    return [
        "Random sampler, no pruning, 200 training steps a trial, cell sizes 5, 10, 20 and 40; in a clone where one was",
        "swept before. The seconds of whole studies grow with their trials: the slope of the line of least squares",
        f"is what one more costs. The rate is that of a whole study of {RATED} trials, beginning and end included.",
        "",
        *table(["how", "trials", "s for one more trial", "time, this repo's being 1", "trials a minute"], rows),
    ]


def slopes_of(measured: dict[str, Any]) -> dict[str, float]:
    """Seconds of one more trial by each way: the slope of the line of least squares."""
    return {
        how: float(np.polyfit(measured["trials"][how], seconds, 1)[0]) for how, seconds in measured["seconds"].items()
    }


def rates_of(measured: dict[str, Any]) -> dict[str, float]:
    """Trials a minute of a study of RATED trials by each way; of one that was not measured, of its longest."""
    found = {}
    for how, counts in measured["trials"].items():
        place = counts.index(RATED) if RATED in counts else -1
        found[how] = 60 * counts[place] / measured["seconds"][how][place]
    return found


def when(parts: dict[str, Any]) -> list[str]:
    """When each part was measured, and how busy the machine was."""
    rows = [
        [
            name,
            one["commit"],
            one["date"],
            f"{one['took'] / 60:.1f}",
            " to ".join(f"{load:.1f}" for load in one["load"]),
        ]
        for name, one in parts.items()
    ]
    return table(["part", "commit", "date", "minutes", "load average before and after"], rows)


def goals(parts: dict[str, Any]) -> list[str]:
    """Each aim beside what was measured."""
    of_steps, of_processes = step_goals(parts), process_goals(parts)
    body: list[str] = []
    if of_steps:
        body += ["Time of a training step done otherwise, this repo's being 1; the portable level's on one core:", ""]
        head = ["beside", "aim", "one core", "all cores", "", "`level=portable`", "aim", ""]
        body += table(head, of_steps)
    if of_processes:
        body += ["", *table(["whole processes", "aim", "measured", ""], of_processes)]
    return body


def step_goals(parts: dict[str, Any]) -> list[list[str]]:
    """Those of a training step: what it is compared with, then for each level aim, ratio, met or not."""
    rows = []
    for label, aim, portable_aim, rivals, shape in STEP_GOALS:
        places = [at(parts.get(name), **shape) for name in ("one_core", "all_cores")]
        fast = [times_slower(peers, rivals, "lab_fast") for peers in places]
        portable = times_slower(places[0], rivals, "lab_portable")
        if any(fast):
            cells = [number(value) if value else "-" for value in fast]
            verdict = judge(all(value >= aim for value in fast if value))
            portable_cells = [number(portable) if portable else "-"]
            portable_cells += (
                [f"{portable_aim:g}", judge(portable >= portable_aim)] if portable_aim and portable else ["", ""]
            )
            rows.append([label, f"{aim:g}", *cells, verdict, *portable_cells])
    return rows


def times_slower(peers: Peers | None, rivals: Sequence[str], level: str) -> float | None:
    """How many times as long the fastest of the rivals takes as this repo at that level; None if none was measured."""
    if not peers:
        return None
    rivals = rivals or [name for name in peers if not name.startswith("lab") and name != FOLDED]
    valid = [peers[name]["seconds"] for name in rivals if name in peers and not peers[name]["fault"]]
    return min((median(ratios(seconds, peers[level]["seconds"])) for seconds in valid if seconds), default=None)


def process_goals(parts: dict[str, Any]) -> list[list[str]]:
    """Those of whole processes: what is measured, the aim, the figure, met or not."""
    measured = {name: part["measured"] for name, part in parts.items()}
    rows: list[list[str]] = []

    def goal(label: str, aim: str, text: str, met: bool) -> None:
        rows.append([label, aim, text, judge(met)])

    if seconds := measured.get("start", {}).get("seconds"):
        for label, key, of, most in START_GOALS:
            value = median(ratios(seconds[key], seconds[of]))
            goal(label, f"at most {most:g}", number(value), value <= most)
    for one in measured.get("tracking", []):
        if one["steps"] == 100_000:
            value = added(one["seconds"]["tracked"], one["seconds"]["untracked"])
            goal("what tracking adds to 100,000 steps", "at most 3 %", f"{100 * value:.1f} %", value <= 0.03)
    if len(runs := measured.get("memory", [])) > 2:
        shortest, *_, long, longest = runs
        for label, value in (
            (
                f"time per step at {longest['steps']:,} steps, that at {long['steps']:,} being 1",
                longest["per_step"] / long["per_step"],
            ),
            (f"peak memory, that at {shortest['steps']:,} steps being 1", longest["megabytes"] / shortest["megabytes"]),
        ):
            goal(label, "1, within 5 %", number(value), value <= 1.05)
    if sweep := measured.get("sweep"):
        slopes, rates = slopes_of(sweep), rates_of(sweep)
        ours, script, process = slopes.values()
        of_ours, of_script, _ = rates.values()
        alone = ours / median(sweep["training"])
        goal(
            "one more trial by one script of Keras `fit`s, this repo's being 1",
            "5",
            number(script / ours),
            script >= 5 * ours,
        )
        goal(
            "one more trial as a process of its own, this repo's being 1",
            "20",
            number(process / ours),
            process >= 20 * ours,
        )
        goal("one more trial, its training alone being 1", "at most 3", number(alone), alone <= 3)
        rate = of_ours / of_script
        goal(f"trials a minute of a study of {RATED}, the script's being 1", "4", number(rate), rate >= 4)
    return rows


def judge(met: bool) -> str:
    """Met or not."""
    return "met" if met else "**not met**"


def draw(found: dict[str, Any]) -> Figure:
    """Time of each peer in the default recipe, on one core and on all, and how it grows; level=fast being 1."""
    parts = found["parts"]
    figure = Figure(figsize=(11, 8.4), layout="constrained")
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=[1.25, 1])[:, 0]
    draw_bars(top.subplots(), parts)
    growing = [("cell_size", "cell size"), ("time_steps", "time steps"), ("batch_size", "batch size")]
    axes = bottom.subplots(1, 3, sharey=True)
    for ax, (key, label) in zip(axes, growing, strict=True):
        draw_growth(ax, parts["one_core"]["measured"]["measured"], key)
        ax.set_xlabel(label)
    axes[0].set_ylabel("time, level=fast being 1")
    handles, labels = axes[0].get_legend_handles_labels()
    bottom.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    return figure


def draw_bars(ax: Axes, parts: dict[str, Any]) -> None:
    """A bar for each peer and number of cores, on a log scale, with the ratio at its end."""
    places = [(name, title) for name, title in (("one_core", "one core"), ("all_cores", "all cores")) if name in parts]
    shown = [key for key in LABELS if any((at(parts[name]) or {}).get(key, {}).get("seconds") for name, _ in places)]
    height = 0.8 / len(places)
    for i, (name, title) in enumerate(places):
        peers = at(parts[name]) or {}
        for y, key in enumerate(shown):
            values = ratios(peers[key]["seconds"], peers["lab_fast"]["seconds"])
            if not values:
                continue
            middle = median(values)
            error = [[middle - min(values)], [max(values) - middle]]
            place = y + (i - (len(places) - 1) / 2) * height
            label = title if y == 0 else None
            ax.barh(place, middle, height * 0.92, color=COLOURS.get(key, "tab:gray"), alpha=1 - 0.45 * i, label=label)
            ax.errorbar(middle, place, xerr=error, color="black", linewidth=0.8)
            ax.annotate(
                f" {number(middle)}",
                (max(values), place),
                va="center",
                fontsize="small",
                xytext=(3, 0),
                textcoords="offset points",
            )
    ax.set_xscale("log")
    ax.set_yticks(range(len(shown)), [LABELS[key].replace("`", "") for key in shown])
    ax.invert_yaxis()
    ax.axvline(1, color="black", linewidth=0.8)
    ax.grid(axis="x", alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title("Time per training step of the default recipe, this repo's level=fast being 1", loc="left")
    if len(places) > 1:
        ax.legend(loc="lower right", frameon=False)
    ax.xaxis.set_major_formatter("{x:g}")


def draw_growth(ax: Axes, measured: Sequence[dict[str, Any]], key: str) -> None:
    """Each peer's ratio over one of the shape's three numbers."""
    fixed = [other for other in DEFAULT if other != key]
    line = sorted(
        (one for one in measured if all(one["shape"][o] == DEFAULT[o] for o in fixed)),
        key=lambda one: one["shape"][key],
    )
    for name, colour in COLOURS.items():
        points = [
            (one["shape"][key], median(ratios(one["peers"][name]["seconds"], one["peers"]["lab_fast"]["seconds"])))
            for one in line
            if one["peers"].get(name, {}).get("seconds") and one["peers"]["lab_fast"]["seconds"]
        ] or [(float("nan"), float("nan"))]
        style = "--" if name == FOLDED else "-"
        ax.plot(*zip(*points, strict=True), style, marker="o", markersize=4, color=colour, label=SHORT[name])
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    ticks = [one["shape"][key] for one in line]
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize="small")
    ax.minorticks_off()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
