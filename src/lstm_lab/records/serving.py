"""The model as MLflow keeps and serves it: Keras's own file, and this file beside it.

MLflow's Keras flavour loads any Keras model, but serves only those with one output; this model's final state is an
output too. So the kept model says that it is served through `_load_pyfunc` below, and brings along a copy of this file,
which needs Keras alone. Whoever loads it as a Keras model needs no part of this.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

if TYPE_CHECKING:
    from mlflow.models import Model, ModelSignature

COPY = "lstm_lab_served"  # the module that the copy is


def output_names(state_names: list[str]) -> list[str]:
    """The names of a model's outputs: the prediction, and the final state for each tensor of the initial one."""
    return ["prediction", *(f"final_{name}" for name in state_names)]


def signature_of(model: keras.Model) -> "ModelSignature":
    """Names, shapes and types of what goes in and comes out: float64 where the model has units, else float32."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def schema(tensors: list[Any], names: list[str]) -> Schema:
        shapes = [[-1 if size is None else size for size in tensor.shape] for tensor in tensors]
        return Schema(
            [TensorSpec(np.dtype(t.dtype), shape, n) for t, shape, n in zip(tensors, shapes, names, strict=True)]
        )

    names = [tensor.name for tensor in model.inputs]
    return ModelSignature(schema(model.inputs, names), schema(model.outputs, output_names(names[1:])))


class Served:
    """Answers requests: each names x and every tensor of the initial state, so equal requests get equal answers."""

    def __init__(self, model: keras.Model) -> None:
        self.model, self.names = model, [tensor.name for tensor in model.inputs]

    def predict(self, inputs: dict[str, np.ndarray], params: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
        """The outputs by name. MLflow has checked the inputs against the model's signature; `params` are not used."""
        outputs = self.model.predict_on_batch([inputs[name] for name in self.names])
        return dict(zip(output_names(self.names[1:]), outputs, strict=True))


def _load_pyfunc(path: str) -> Served:
    """What MLflow calls to serve the model in the folder `path`."""
    return Served(keras.models.load_model(Path(path) / "model.keras", safe_mode=True, compile=False))


def save_model(
    path: str, *, model: keras.Model, mlflow_model: "Model", signature: "ModelSignature", pip_requirements: list[str]
) -> None:
    """What `mlflow.models.Model.log` calls to write the model's folder."""
    import mlflow.keras
    import mlflow.pyfunc

    mlflow.keras.save_model(
        model, path, mlflow_model=mlflow_model, signature=signature, pip_requirements=pip_requirements
    )
    code = Path(path, "code")
    code.mkdir()
    shutil.copyfile(__file__, code / f"{COPY}.py")
    mlflow.pyfunc.add_to_model(
        mlflow_model,
        loader_module=COPY,
        data="data",
        code=code.name,
        conda_env="conda.yaml",
        python_env="python_env.yaml",
    )
    mlflow_model.save(str(Path(path, "MLmodel")))
