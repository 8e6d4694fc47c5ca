"""What whole processes take: starting, a default run, tracking, a million steps. All in a clone of their own.

python benchmarks/processes.py STEPS ROUNDS     in such a clone: tracked and untracked training in turn
"""

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# What a plain script would import to do what train.py does; those that train.py never loads are left out
IMPORTS = (
    *("hydra", "keras", "matplotlib.backends.backend_agg", "matplotlib.figure", "mlflow", "mlflow.keras", "numpy"),
    *("PIL.Image", "pydantic", "rich.console", "rich.progress", "tensorboard.summary", "tensorflow", "yaml"),
)
METRICS_ALONE = [f"tracking.{what}=false" for what in ("figures", "animation", "model", "tensorboard")]
METRICS_ALONE.append("evaluation.windows=0")


@dataclass(frozen=True)
class Ended:
    """A process that ended: how long it ran and how long processors worked for it, when it printed the line looked for,
    its memory's peak, its output."""

    seconds: float
    processor_seconds: float
    until_line: float
    peak_megabytes: float
    output: str


@contextmanager
def clone() -> Iterator[Path]:
    """A clone of this repo with its uncommitted changes, in which nothing has run."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "clone")
        if (ROOT / ".git").exists():
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root)], check=True)
        for part in ("src", "conf", "sweeps", "benchmarks"):
            unwanted = shutil.ignore_patterns("__pycache__", ".venv")
            shutil.copytree(ROOT / part, root / part, ignore=unwanted, dirs_exist_ok=True)
        yield root


def run(root: Path, words: Sequence[str], line: str = "", **environment: str) -> Ended:
    """Runs Python in the clone; SystemExit with its complaint if it fails, unless it ends with 2 (refused)."""
    surroundings = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1", **environment}
    surroundings.pop("MLFLOW_TRACKING_URI", None)
    with tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *words], cwd=root, env=surroundings, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert process.stdout
        output, until_line = [], 0.0
        for text in process.stdout:
            output.append(text)
            if line and not until_line and text.startswith(line):
                until_line = time.perf_counter() - started
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 2):
            errors.seek(0)
            sys.exit(f"{' '.join(words)} failed:\n{errors.read()[-2000:]}")
    worked = usage.ru_utime + usage.ru_stime
    return Ended(seconds, worked, until_line, megabytes(usage.ru_maxrss), "".join(output))


def megabytes(maxrss: int) -> float:
    """The kernel's figure, which is in kB on Linux and in bytes on macOS."""
    return maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def measure_start(rounds: int) -> dict[str, Any]:
    """Seconds of whole processes, in turn: a default run, its bare imports, what answers without training."""
    with clone() as root:
        train = ["src/train.py"]
        first = run(root, train)
        imports = loaded_by_train(root)
        completion = {"COMP_LINE": "train.py model=", "COMP_POINT": "15"}
        ways: dict[str, Callable[[], Ended]] = {
            "imports": lambda: run(root, ["-c", f"import {', '.join(imports)}"]),
            "train": lambda: run(root, train, line="step"),
            "train_fast": lambda: run(root, [*train, "training.level=fast"], line="step"),
            "tensorflow": lambda: run(root, ["-c", "import tensorflow"]),
            "help": lambda: run(root, [*train, "--help"]),
            "refused": lambda: run(root, [*train, "model.cell_size=0"]),
            "completion": lambda: run(root, [*train, "-sc", "query=bash"], **completion),
        }
        for name in ("train_fast", "imports"):  # once before, as the default run was
            ways[name]()
        ended: dict[str, list[Ended]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                ended[name].append(way())
    return {
        "imports": imports,
        "first": first.seconds,
        "seconds": {name: [one.seconds for one in made] for name, made in ended.items()},
        "until_first_step": {name: [one.until_line for one in ended[name]] for name in ("train", "train_fast")},
    }


def loaded_by_train(root: Path) -> list[str]:
    """Those of IMPORTS that a default run has loaded at its end."""
    probe = (
        "import json, runpy, sys\nsys.argv = ['src/train.py']\n"
        "try:\n    runpy.run_path('src/train.py', run_name='__main__')\n"
        f"finally:\n    print('LOADED', json.dumps([name for name in {IMPORTS} if name in sys.modules]))"
    )
    output = run(root, ["-c", probe]).output
    return list(json.loads(output.rpartition("LOADED")[2]))


def measure_memory(steps: Sequence[int]) -> list[dict[str, Any]]:
    """Time and peak memory of whole tracked runs of so many steps, with all that a run leaves, on level=fast."""
    made = []
    with clone() as root:
        run(root, ["src/train.py", "training.level=fast"])
        for count in steps:
            ended = run(root, ["src/train.py", "experiment=long", f"training.steps={count}"])
            made.append(
                {
                    "steps": count,
                    "seconds": ended.seconds,
                    "per_step": 1 / rate_of(ended.output),
                    "megabytes": ended.peak_megabytes,
                }
            )
    return made


def rate_of(output: str) -> float:
    """The steps a second that a run has printed at its end, as in `(1,234 steps/s)`."""
    return float(output.rpartition(" steps/s)")[0].rpartition("(")[2].replace(",", ""))


def measure_tracking(rounds: dict[int, int]) -> list[dict[str, Any]]:
    """Seconds of the same training tracked and untracked, for each number of steps so many rounds."""
    made = []
    with clone() as root:
        for steps, count in rounds.items():
            words = [str(root / "benchmarks/processes.py"), str(steps), str(count)]
            made.append(json.loads(run(root, words).output.splitlines()[-1]))
    return made


def compare_tracked(steps: int, rounds: int) -> dict[str, Any]:
    """In this process and its clone: a training of so many steps untracked and tracked (metrics alone), in turn."""
    sys.path.insert(0, str(ROOT / "src"))
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf
    from rich.console import Console

    from lstm_lab import config, runtime
    from lstm_lab.runs import run as tracked
    from lstm_lab.runs.setup import program_for

    words = ["experiment=long", f"training.steps={steps}", *METRICS_ALONE]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        composed: Any = OmegaConf.to_container(compose("train", words), resolve=True)
    checked = config.check({key: value for key, value in composed.items() if key not in config.COMMAND})
    runtime.start_tensorflow(checked.training.level, checked.training.threads)
    from lstm_lab.science.curves import Batches
    from lstm_lab.science.model import build_model, zero_state
    from lstm_lab.science.training import train

    def untracked() -> None:
        weights = build_model(**checked.model.model_dump(), seed=checked.training.seed).get_weights()
        program, batches = program_for(checked), Batches(**checked.data.model_dump())
        program.restart(weights, checked.optimizer.learning_rate)
        state, chunk_steps = zero_state(program.model, batches.batch_size), chunk_of(checked)
        for _ in train(program.chunk, batches, state, steps=steps, chunk_steps=chunk_steps):
            pass

    ways = {"untracked": untracked, "tracked": lambda: tracked.run(checked, Console(file=io.StringIO()))}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    for counted in range(-1, rounds):  # the first time compiles and makes the store
        for name in ways if counted % 2 else reversed(ways):
            started, of_processor = time.perf_counter(), time.process_time()
            ways[name]()
            if counted >= 0:
                seconds[name].append(time.perf_counter() - started)
                processor[name].append(time.process_time() - of_processor)
    return {"steps": steps, "seconds": seconds, "processor_seconds": processor}


def chunk_of(checked: Any) -> int:
    """As many steps a chunk as a tracked run of this config has."""
    settings = checked.training
    return min(settings.chunk_steps, -(-settings.steps // settings.frames))


if __name__ == "__main__":
    print(json.dumps(compare_tracked(*map(int, sys.argv[1:]))))
