"""Fills the store of its clone with runs that nobody trained, through the layers that a run is tracked by.

python benchmarks/filling.py RUNS     in such a clone, or with MLFLOW_TRACKING_URI for another store

Everything of a run is there but its training: config, parameters, tags, provenance, the cost of every step as a file
and as a metric, weights, summary, the figure of the fit; no model. Of 500 runs 41 are a study and its trials, 22 two
groups with ten seeds each; the rest stand alone. Each data set is an experiment, as it would be.
"""

import copy
import hashlib
import io
import itertools
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from lstm_lab import config
from lstm_lab.config import Config
from lstm_lab.records import lookup, provenance, store, tagging, tracking
from lstm_lab.runs import group_page, metrics, recipe, seeds, setup
from lstm_lab.runs.seeds import PARENT

if TYPE_CHECKING:
    from mlflow import MlflowClient

ROOT = Path(__file__).resolve().parents[1]
STEPS = 200  # of each run, and points of its metric
KINDS = ("sine_to_cosine", "noisy_sines_to_derivative", "two_sequences", "tumbling_body")  # conf/data/
CELLS = (5, 10, 20, 40)
BLOCK, TRIALS, SEEDS = 500, 40, 10  # runs of a block, of which so many are trials, and so many of each of two groups
FAILED, KILLED = 0.03, 0.02  # shares of the runs


@dataclass
class Filler:
    """What fills a store; every choice is drawn from one seed."""

    client: "MlflowClient"
    composed: dict[str, dict[str, Any]]  # the values of a config by its data set
    picture: bytes
    rng: np.random.Generator

    def config(self, kind: str) -> Config:
        """A run's config on that data: cell size, cell and learning rate drawn, the seed too."""
        values = copy.deepcopy(self.composed[kind])
        values["model"]["cell_size"] = int(self.rng.choice(CELLS))
        values["optimizer"]["learning_rate"] = float(f"{10 ** self.rng.uniform(-3.3, -1.5):.4g}")
        values["training"]["seed"] = int(self.rng.integers(1000))
        return config.check(values)

    def costs(self, settings: Config) -> np.ndarray:
        """A curve such as a run's, float32 [steps]: it falls towards a floor, the faster the higher the rate."""
        steps, rate = np.arange(settings.training.steps), settings.optimizer.learning_rate
        floor, start = 10 ** self.rng.uniform(-2.5, -0.5), self.rng.uniform(11, 47)
        falling = floor + start * np.exp(-steps * (rate * 8))
        return (falling * self.rng.lognormal(0, 0.3, len(steps))).astype(np.float32)

    def run(self, settings: Config, name: str, tags: dict[str, str]) -> tracking.TrackedRun:
        """A run that is over: as `runs.run.train` leaves it, but for model, animation and checkpoint."""
        digests = {"data.sha256": hashlib.sha256(settings.data.model_dump_json().encode()).hexdigest()}
        digests |= {"initial_weights.sha256": hashlib.sha256(str(settings.training.seed).encode()).hexdigest()}
        digests |= recipe.tags(settings, None)
        tracked = tracking.TrackedRun.begin(self.client, settings, digests, name, tags)
        status = str(self.rng.choice(["FAILED", "KILLED", "FINISHED"], p=[FAILED, KILLED, 1 - FAILED - KILLED]))
        costs = self.costs(settings)[: None if status == "FINISHED" else int(self.rng.integers(1, STEPS))]
        weights = [self.rng.normal(size=shape).astype(np.float32) for shape in lookup.weight_shapes(settings)]
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), settings, costs, weights, self.picture)
            tracked.log_inputs(digests)
            tracked.log_costs(0, costs)
            tracked.close()
            found = self.summary(costs)
            ended = {"cost.sha256": setup.arrays_digest([costs]), "final_weights.sha256": setup.arrays_digest(weights)}
            ended |= {"reason": f"the cost is nan at step {len(costs)}"} if status == "FAILED" else {}
            tracked.log_summary(len(costs), found, ended, f"{name}, made by the bench of the store.")
            tracked.log_files(Path(folder))
        tracked.end(status)
        return tracked

    def summary(self, costs: np.ndarray) -> dict[str, float]:
        """The metrics of a run with these costs [steps]; errors on samples never seen are drawn."""
        names = [metrics.evaluated(name) for name in (*metrics.EVALUATION, *metrics.BASELINES)]
        drawn = dict(zip(names, self.rng.uniform(0.001, 0.5, len(names)).tolist(), strict=True))
        return metrics.summarize(costs, None, float(self.rng.uniform(500, 900))) | drawn

    def study(self, number: int, kind: str, trials: int) -> None:
        """A study's page and its trials."""
        settings, name = self.config(kind), f"study-{number}"
        tags = tracking.source_tags() | {"study": name, "sweep": "parent", "page": f"{number:016x}"}
        experiment = store.find_or_create_experiment(self.client, settings.experiment)
        page = self.client.create_run(experiment, run_name=f"study {name}", tags=tagging.as_stored(tags)).info.run_id
        values = {}
        for trial in range(trials):
            settings = self.config(kind)
            said = f"cell_size={settings.model.cell_size}, learning_rate={settings.optimizer.learning_rate:g}"
            tracked = self.run(settings, f"{trial}: {said}", {PARENT: page, "study": name, "trial": str(trial)})
            values[tracked.run_id] = self.client.get_run(tracked.run_id).data.metrics["mean_last_20_cost"]
        best = min(values, key=lambda run_id: values[run_id])
        self.client.log_param(page, "objective", "mean_last_20_cost")
        self.client.log_metric(page, "best_value", values[best], step=trials)
        tagging.set_tags(self.client, page, {"trials": f"{trials} COMPLETE of {trials}", "best_run": best})
        self.client.set_terminated(page, "FINISHED")

    def group(self, kind: str, count: int) -> None:
        """A group of seeds: its page, its runs, the medians."""
        settings = self.config(kind)
        first = settings.training.seed
        asked = group_page.Asked(settings, range(first, first + count))
        page = group_page.open_page(self.client, asked, setup.make_source(settings))
        for seed in asked.seeds:
            tracked = self.run(seeds.with_seed(settings, seed), page.child_name(seed), page.child_tags(None))
            page.add(seed, self.client.get_run(tracked.run_id))
        page.end("FINISHED")

    def fill(self, runs: int) -> None:
        """So many runs in all, pages with them; every figure of a block is scaled down where there is less to fill."""
        done = 0
        for number in itertools.count():
            room = min(BLOCK, runs - done)
            if room <= 0:
                return
            scale, kind = room / BLOCK, KINDS[number % len(KINDS)]
            trials, count = int(TRIALS * scale), int(SEEDS * scale)
            if trials and count:
                self.study(number, kind, trials)
                self.group(kind, count)
                self.group(KINDS[(number + 1) % len(KINDS)], count)
            alone = room - (trials + 2 * count + 3 if trials and count else 0)
            for place in range(alone):
                settings = self.config(KINDS[place % len(KINDS)])
                rate = settings.optimizer.learning_rate
                self.run(settings, f"cell_size={settings.model.cell_size} learning_rate={rate:g}", {})
            done += room
            print(f"{done:,} of {runs:,} runs", flush=True)


def write(folder: Path, settings: Config, costs: np.ndarray, weights: list[np.ndarray], picture: bytes) -> None:
    """Writes the files of a run."""
    (folder / "config.yaml").write_text(tracking.config_text(settings))
    provenance.current(seed=settings.training.seed, level=settings.training.level).write(folder / "provenance")
    np.save(folder / "cost.npy", costs)
    np.savez(folder / "final_weights.npz", *weights)
    (folder / "figures").mkdir()
    (folder / "figures/fitted_curve.png").write_bytes(picture)


def compose() -> dict[str, dict[str, Any]]:
    """The values of a run's config on each data set."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    found = {}
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for kind in KINDS:
            words = [f"data={kind}", f"training.steps={STEPS}"]
            words += [f"tracking.{what}=false" for what in ("figures", "animation", "model", "tensorboard")]
            values: Any = OmegaConf.to_container(compose("train", words), resolve=True)
            found[kind] = {key: value for key, value in values.items() if key not in config.COMMAND}
    return found


def draw() -> bytes:
    """A figure such as a run's of its fit: two noisy curves in windows, in the house's size."""
    from lstm_lab.runtime import import_matplotlib

    import_matplotlib()
    from matplotlib.figure import Figure

    rng, x = np.random.default_rng(0), np.arange(1000) / 30
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    ax = figure.subplots()
    ax.plot(np.cos(x), "tab:red", label="target")
    ax.plot(np.cos(x) + rng.normal(0, 0.05, len(x)), "tab:blue", linestyle="--", label="prediction")
    ax.legend()
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=120)
    return drawn.getvalue()


def stores() -> Iterator[tuple[str, int]]:
    """The bytes of the store by what they are: the database, the artifacts."""
    if database := store.database_file():
        yield "database", database.stat().st_size
    yield "artifacts", sum(file.stat().st_size for file in store.artifact_folder().rglob("*") if file.is_file())


def main(runs: int) -> None:
    """Fills the store."""
    Filler(store.open_store(), compose(), draw(), np.random.default_rng(0)).fill(runs)


if __name__ == "__main__":
    main(int(sys.argv[1]))
