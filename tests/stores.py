"""A store with one run of each kind there is, hostile ones among them."""

import contextlib
import hashlib
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


@contextlib.contextmanager
def unsafe():
    """Makes SQLite not wait for the disk at each of hundreds of transactions."""
    import sqlalchemy

    def quick(connection, _):
        connection.execute("PRAGMA synchronous = OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", quick)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", quick)


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


def fill_with_seeds(uri: str, folder: Path) -> dict[str, dict]:
    """Runs of three cells over seeds, some of which do not count; a group of the first, and a study of two groups.

    Returns under `ids` their ids by cell and seed, and under `others` those of all other runs by name.
    """
    from mlflow import MlflowClient
    from mlflow.entities import RunTag

    client = MlflowClient(uri)
    place = None if uri.startswith("http") else (folder / "artifacts").as_uri()
    experiment = client.create_experiment("seeds", place)
    random = np.random.default_rng(0)

    def begin(name, cell, seed, level=1.0, **parts):
        costs = (np.geomspace(30, level, 60) * random.lognormal(0, 0.5, 60)).astype(np.float32)
        parts = {"costs": costs, "params": {}, "tags": {}, "metrics": {}} | parts
        costs = parts.pop("costs")
        params = {
            "data.curve": "sine_to_cosine",
            "data.time_steps": "20",
            "training.seed": str(seed),
            "training.steps": "60",
        }
        metrics = {"final_cost": float(costs[-1]), "mean_last_20_cost": float(costs[-20:].mean(dtype=np.float64))}
        bits = {"mlflow.lstm_lab.cost.sha256": hashlib.sha256(costs.tobytes()).hexdigest()}
        parts["params"] = {"model.cell": cell, **params, **parts["params"]}
        parts["metrics"] = (metrics if parts.get("status", "FINISHED") == "FINISHED" else {}) | parts["metrics"]
        parts["tags"] = bits | parts["tags"]
        return make_run(client, experiment, folder, name, {"cost.npy": costs}, **parts), costs

    def group(name, cell, seeds, level, **tags):
        made, _ = begin(name, cell, f"0-{seeds - 1}", tags={"seeds": f"0-{seeds - 1}", **tags})
        of_group = {"group": name, comparison.PARENT: made} | ({"study": tags["study"]} if "study" in tags else {})
        found = {seed: begin(f"seed {seed}", cell, seed, level, tags=of_group)[0] for seed in range(seeds)}
        members = [RunTag(f"mlflow.lstm_lab.seed.{seed}", run_id) for seed, run_id in found.items()]
        client.log_batch(made, tags=members)
        return made, found

    others: dict[str, str] = {}
    ids: dict[str, dict] = {"gru": {}}
    for seed in (0, 1, 2, 4, 5, 6, 8):
        ids["gru"][seed], costs = begin("gru", "gru", seed, 0.5, params={"tracking.run_name": "gru"})
    diverged = {"costs": np.array([20, np.inf], np.float32), "tags": {"reason": "the cost became inf at step 1"}}
    ids["gru"][9], _ = begin("gru", "gru", 9, status="FAILED", **diverged)
    others["group"], ids["lstm"] = group("lstm", "lstm", 10, 1.0)
    study = {"tags": {"sweep": "parent", "study": "it's cells", "trials": "1 COMPLETE of 1"}}
    others["study"] = make_run(client, experiment, folder, "study it's cells", **study)
    trial = {"study": "it's cells", comparison.PARENT: others["study"], "trial": "0"}
    others["trial"], ids["simple_rnn"] = group("0: simple_rnn", "simple_rnn", 5, 3.0, **trial)
    others |= {"equal": ids["gru"][8], "older": ids["gru"][0]}
    ids["gru"][8], _ = begin("gru", "gru", 8, costs=costs)
    ids["gru"][0], _ = begin("gru", "gru", 0, 0.5)
    others["running"], _ = begin("running", "lstm", 10, status="RUNNING")
    others["killed"], _ = begin("killed", "lstm", 11, status="KILLED")
    others["broken"], _ = begin("broken", "lstm", 12, status="FAILED")
    others["again"], _ = begin("again", "lstm", 13, tags={"reproduces": ids["lstm"][0]})
    others["elsewhere"], _ = begin("elsewhere", "lstm", 0, params={"data.curve": "delayed_recall", "data.delay": "2"})
    return {"ids": ids, "others": others}
