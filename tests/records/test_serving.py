"""`mlflow models serve` on a run, asked over HTTP."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import keras
import mlflow.pyfunc
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.models import Model
from mlflow.pyfunc import scoring_server

from helpers import own_port, wait_for_answer
from lstm_lab.records import serving
from lstm_lab.science.model import build_model, with_units


@pytest.fixture(scope="module")
def served(default_run, tmp_path_factory):
    """The default run's model as a Keras model, and the address at which MLflow serves it; outside of the checkout."""
    client = MlflowClient(f"sqlite:///{default_run.checkout}/mlflow.db")
    experiment = client.get_experiment_by_name("sine_to_cosine").experiment_id
    [logged] = client.search_logged_models([experiment])
    artifacts = urllib.parse.unquote(logged.artifact_location.removeprefix("file://"))
    words = ["serve", "-m", f"runs:/{logged.source_run_id}/model", "--env-manager", "local"]
    folder = tmp_path_factory.mktemp("serving")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{default_run.checkout}/mlflow.db",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = [sys.executable, "-m", "mlflow", "models", *words, "--host", "127.0.0.1"]
    model = keras.models.load_model(f"{artifacts}/data/model.keras")
    with own_port() as port, open(folder / "log", "w") as log:
        options = {"stdout": log, "stderr": log, "cwd": folder, "env": environment, "start_new_session": True}
        process = subprocess.Popen([*command, "--port", str(port)], **options)
        try:
            wait_for_answer(f"http://127.0.0.1:{port}/ping", process, folder / "log")
            yield f"http://127.0.0.1:{port}", model
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ask(address, **inputs):
    body = json.dumps({"inputs": {name: np.asarray(value).tolist() for name, value in inputs.items()}}).encode()
    request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["predictions"]


def test_equal_requests_get_equal_answers_and_the_state_is_passed_on(served):
    address, model = served
    x, zero = np.sin(np.arange(40) / (10 * np.pi)).reshape(1, 40, 1), np.zeros((1, 10))
    first = ask(address, x=x[:, :25], h=zero, c=zero)
    assert ask(address, x=x[:, :25], h=zero, c=zero) == first
    second = ask(address, x=x[:, 25:], h=first["final_h"], c=first["final_c"])
    assert second != first
    prediction, h, c = model([x.astype("float32"), zero.astype("float32"), zero.astype("float32")])
    np.testing.assert_allclose(np.hstack([first["prediction"], second["prediction"]]), prediction, atol=1e-5)
    np.testing.assert_allclose(second["final_h"], h, atol=1e-5)
    np.testing.assert_allclose(second["final_c"], c, atol=1e-5)


def test_a_request_without_its_state_is_refused(served):
    address, _ = served
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(address, x=np.zeros((1, 5, 1)))
    assert refused.value.code == 400
    refused.value.close()


@pytest.mark.parametrize("unit", [(0.0, 1e-21), (1.5e9, 40.0), (5e24, 1e90)], ids=["small", "on a level", "large"])
def test_numbers_in_their_own_units_keep_their_digits(unit, tmp_path):
    """A request as `mlflow models serve` answers it, without the server around it."""
    mean, stddev = unit
    plain = build_model("gru", 4, hidden_stddev=1.0, hidden_bias=0.1, seed=0)
    model = with_units(plain, *[np.array([[mean], [stddev]])] * 2)
    options = {"mlflow_model": Model(), "signature": serving.signature_of(model), "pip_requirements": ["keras"]}
    serving.save_model(str(tmp_path / "model"), model=model, **options)
    served = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    x, h = np.sin(np.arange(30) / 5).reshape(1, 30, 1), np.zeros((1, 4), np.float32)
    request = json.dumps({"inputs": {"x": (mean + stddev * x).tolist(), "h": h.tolist()}})
    answer = scoring_server.invocations(request, "application/json", served, served.metadata.get_input_schema())
    found = json.loads(answer.response)["predictions"]
    prediction, state = plain([x, h])
    np.testing.assert_allclose((np.array(found["prediction"]) - mean) / stddev, prediction, atol=1e-6)
    np.testing.assert_allclose(found["final_h"], state, atol=1e-6)
