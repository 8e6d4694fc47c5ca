"""The notebook, cell by cell, in a folder that is not the repo's: what comes out, and that nothing else does."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np
import pytest
from mlflow import MlflowClient

from helpers import ROOT, copy_project, train

NOTEBOOK = json.loads((ROOT / "docs/notebook.ipynb").read_text())
# The cells of a notebook whose REPO is that of the user; then what they left, as JSON
RUN = """
import json, sys, types
from pathlib import Path

# By these modules libraries know Jupyter, and warn of its widgets that are not installed
events = types.SimpleNamespace(register=lambda *_: None)
kernel = types.SimpleNamespace(events=events, enable_gui=lambda gui: None)
for name in ("IPython", "ipykernel.zmqshell"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(get_ipython=lambda: kernel, version_info=(9, 0))

names = {}
for cell in json.loads(Path(sys.argv[1]).read_text())["cells"]:
    if cell["cell_type"] == "code":
        code = "".join(cell["source"]).replace('REPO = ".."', f"REPO = {sys.argv[2]!r}")
        code = code.replace('"last"', repr(sys.argv[3]))
        exec(compile(code, "cell", "exec"), names)
figures = [names["plt"].figure(number) for number in names["plt"].get_fignums()]
run, evaluated, curve, error = (names[name] for name in ("run", "evaluated", "curve", "error"))
others = [names["load_run"](name) for name in sys.argv[4:]]
if run.config.data.curve == "csv":
    others.append(names["load_run"](run.id, f"{sys.argv[2]}/moved.csv"))
print(json.dumps({
    "id": run.id,
    "costs": run.costs.tolist(),
    "metrics": evaluated.metrics,
    "x": evaluated.x[evaluated.first :].tolist(),
    "target": evaluated.target[evaluated.first :, 0].tolist(),
    "lines": [[line.get_ydata().tolist() for ax in figure.axes for line in ax.lines] for figure in figures],
    "by_hand": float(names["np"].mean((curve.in_units(error) - curve.in_units(0 * error))[curve.first :] ** 2)),
    "weights": [array.tolist() for array in names["model"].get_weights()],
    "runs": names["runs"].run_id.tolist(),
    "backend": names["plt"].get_backend(),
    "others": [other.id for other in others],
}))
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """Three runs: on a file, the tutorial's, and a short one at the other level."""
    checkout = copy_project(tmp_path_factory.mktemp("notebook"))
    assert train(checkout, "experiment=sunspots", "tracking.animation=false").returncode == 0
    assert train(checkout, "tracking.animation=false").returncode == 0
    assert train(checkout, "experiment=smoke", "training.level=fast").returncode == 0
    return checkout


def runs_of(checkout: Path) -> tuple:
    """The runs in the order of their beginning."""
    client = MlflowClient(f"sqlite:///{checkout}/mlflow.db")
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return tuple(client.search_runs(ids, order_by=["attributes.start_time ASC"]))


def executed(checkout: Path, folder: Path, *names: str) -> dict:
    """What the notebook comes to, whose `last` is the first of the names; neither a word nor a file beside it."""
    command = [sys.executable, "-c", RUN, str(ROOT / "docs/notebook.ipynb"), str(checkout), *names]
    environment = os.environ | {"MPLBACKEND": "svg"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(folder.iterdir()) == []
    return json.loads(done.stdout)


def artifacts_of(run) -> Path:
    """The folder of a run's files."""
    return Path(url2pathname(urlparse(run.info.artifact_uri).path))


def test_the_notebook_shows_a_run_on_a_file_as_it_was_evaluated(checkout, tmp_path):
    on_file, tutorial, fast = runs_of(checkout)
    shutil.copy(checkout / on_file.data.params["data.path"], checkout / "moved.csv")
    came = executed(checkout, tmp_path, on_file.info.run_id, tutorial.info.run_id[:12], "last")
    assert [came["id"], *came["others"]] == [run.info.run_id for run in (on_file, tutorial, fast, on_file)]
    assert came["metrics"]["mse"] == pytest.approx(on_file.data.metrics["evaluation/mse"], rel=1e-5)
    assert came["by_hand"] == pytest.approx(on_file.data.metrics["evaluation/mse"], rel=1e-4)
    assert came["metrics"]["rollout_mse"] == pytest.approx(on_file.data.metrics["evaluation/rollout_mse"], rel=1e-3)
    shipped = np.loadtxt(checkout / on_file.data.params["data.path"], delimiter=",", skiprows=1)[:, -1]
    np.testing.assert_allclose(came["target"], shipped[-62:][: len(came["target"])], rtol=1e-5)


def test_the_notebook_shows_the_tutorials_run(checkout, tmp_path):
    _, tutorial, _ = runs = runs_of(checkout)
    came, files = executed(checkout, tmp_path, tutorial.info.run_id), artifacts_of(tutorial)
    np.testing.assert_array_equal(np.array(came["costs"], "float32"), np.load(files / "cost.npy"))
    first = (200 - 1 + 50) * 20  # the sample after the last row of the last batch
    np.testing.assert_allclose(came["x"], np.arange(first, first + 1000) / (10 * np.pi))
    np.testing.assert_allclose(came["target"], np.cos(came["x"]), atol=1e-6)
    assert came["metrics"]["mse"] == pytest.approx(tutorial.data.metrics["evaluation/mse"], rel=0.1)
    assert came["by_hand"] == pytest.approx(came["metrics"]["mse"], rel=1e-4)
    [cost], [target, prediction] = came["lines"]
    assert cost == came["costs"]
    assert target == came["target"][:400]
    assert np.mean(np.square(np.subtract(prediction, target))) == pytest.approx(came["metrics"]["mse"], rel=0.5)
    assert set(came["runs"]) == {run.info.run_id for run in runs}
    assert came["backend"] == "svg"
    weights = np.load(files / "final_weights.npz")
    for loaded, name in zip(came["weights"], weights.files, strict=True):
        np.testing.assert_array_equal(np.array(loaded, "float32"), weights[name])


def test_the_notebook_is_kept_as_it_was_before_it_ran():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    code = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert sum('REPO = ".."' in "".join(cell["source"]) for cell in code) == 1
    assert sum('load_run("last")' in "".join(cell["source"]) for cell in code) == 1
    assert (ROOT / "docs" / ".." / "src" / "lstm_lab").is_dir()
