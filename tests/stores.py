"""A store with one run of each kind there is, hostile ones among them."""

import io
import itertools
import json
from pathlib import Path

import numpy as np

from lstm_lab.records import processes
from lstm_lab.reports import comparison

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)> [bold]{{ 7*7 }}\x1b[31m\u202e' onload='x"
BEGUN = itertools.count(1_700_000_000_000, 60_000)  # when runs begin, in ms: a minute apart, the newest last
COSTS = np.geomspace(30, 0.01, 200).astype(np.float32)


def png(width: int = 64) -> bytes:
    """A picture such as a run has of its fit."""
    from lstm_lab.runs.figures import new_figure

    figure, [ax] = new_figure()
    ax.plot([0, 1])
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=width / 6.4)
    return buffer.getvalue()


def make_run(client, experiment, folder, name, files=(), costs=(), params=(), metrics=(), tags=(), status="FINISHED"):
    """A run in the store, as src/train.py leaves one; returns its id. `costs` go to its metric, one a step."""
    from mlflow.entities import Metric, Param

    begun = next(BEGUN)
    tags = {"mlflow.source.name": "src/train.py"} | dict(tags)
    run_id = client.create_run(experiment, start_time=begun, run_name=name, tags=tags).info.run_id
    values = {"model.cell": "lstm", "model.cell_size": "10", "training.level": "portable", "training.steps": "200"}
    points = [Metric("cost", float(cost), 0, step) for step, cost in enumerate(costs)]
    points += [Metric(key, value, 0, 0) for key, value in dict(metrics).items()]
    client.log_batch(run_id, points, [Param(*item) for item in (values | dict(params)).items()])
    for path, content in dict(files).items():
        target = folder / run_id / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content) if isinstance(content, bytes) else np.save(target, content)
    if files:
        client.log_artifacts(run_id, str(folder / run_id))
    if status != "RUNNING":
        client.set_terminated(run_id, status, end_time=begun + 5_000)
    return run_id


def fill_store(uri: str, folder: Path) -> dict[str, str]:
    """Makes one run of each kind there is, the first ones first; returns their ids by name. `gone` is deleted."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    place = None if uri.startswith("http") else (folder / "artifacts").as_uri()
    experiment = client.create_experiment("kinds", place)
    whole = {"cost.npy": COSTS, "figures/fitted_curve.png": png()}
    good = {"final_cost": 0.01, "mean_last_20_cost": 0.02, "log10_mean_last_20_cost": -1.7}
    bits = {"cost.sha256": "ab" * 32}
    killed = {"host": processes.host(), "pid": 2**22 + 1, "started": "never"}
    kinds: dict[str, dict] = {
        "plain": {
            "files": whole,
            "costs": COSTS,
            "metrics": good,
            "tags": {"mlflow.source.git.commit": "0123456789" * 4, "git.dirty": "true", **bits},
        },
        "again": {
            "files": whole,
            "metrics": good,
            "tags": {**bits, "reproduces": "0" * 32, "verdict": "bit-identical"},
        },
        "gru": {
            "files": {"cost.npy": 2 * COSTS},
            "metrics": {"final_cost": 0.5, "mean_last_20_cost": 0.6},
            "params": {"model.cell": "gru", "training.seed": "7"},
        },
        "longer": {
            "files": {"cost.npy": np.tile(COSTS, 2)},
            "metrics": good,
            "tags": {"changed.training.steps": "400"},
        },
        "going": {"costs": COSTS[:50], "status": "RUNNING"},
        "dead": {"costs": COSTS[:5], "status": "RUNNING", "tags": {"process": json.dumps(killed)}},
        "diverged": {
            "files": {"cost.npy": np.array([20, 1e30, np.inf], np.float32)},
            "metrics": {"final_cost": np.inf, "mean_last_20_cost": np.nan},
            "tags": {"reason": "the cost became inf at step 2"},
            "status": "FAILED",
        },
        "hostile": {
            "name": HOSTILE,
            "files": {"cost.npy": np.array([HOSTILE], object), "figures/fitted_curve.png": b"<svg onload='alert(1)'/>"},
            "params": {"tracking.run_name": HOSTILE, "data.validation": HOSTILE, "data.path": HOSTILE},
            "tags": dict.fromkeys(("reason", "process", "mlflow.source.git.commit", "cost.sha256", "verdict"), HOSTILE),
            "metrics": {"final_cost": 1.0},
            "status": "RUNNING",
        },
        "trial 3: x": {
            "files": {"cost.npy": COSTS[:100]},
            "tags": {"trial": "3", "study": "grid", "trial.state": "PRUNED"},
            "status": "KILLED",
        },
        "study grid": {
            "params": {"search.x": "choice(1, 2)", "objective": "final_cost", "data": "a, b"},
            "metrics": {"best_value": 1.0},
            "tags": {"sweep": "parent", "study": "grid a=1,2", "trials": "1 PRUNED of 9"},
        },
        "bare": {"tags": {"mlflow.source.name": "another.py"}},
        "gone": {},
    }
    ids = {name: make_run(client, experiment, folder, **{"name": name, **parts}) for name, parts in kinds.items()}
    client.set_tag(ids["study grid"], "best_run", ids["trial 3: x"])
    client.set_tag(ids["trial 3: x"], comparison.PARENT, ids["study grid"])
    client.delete_run(ids["gone"])
    return ids


def compare(client, ids):
    """These runs with their curves and fits."""
    return comparison.fetch(client, comparison.choose(client, comparison.Choice(runs=ids)), lambda: None)
