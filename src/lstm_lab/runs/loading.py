"""A run of the store, for a notebook: its config, data, model and costs, in one call."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lstm_lab.config import Config
from lstm_lab.records import lookup, store, tagging
from lstm_lab.runs import datafile, forecasting, setup

if TYPE_CHECKING:
    import keras

    from lstm_lab.science.curves import Source
    from lstm_lab.science.evaluation import Evaluation


@dataclass(frozen=True)
class LoadedRun:
    """What a run was made of and what it came to.

    `source` gives its batches and what follows them; of a file they are normalised, and `model` takes and predicts such
    numbers. `costs` [steps done] are those of every step.
    """

    id: str
    config: Config
    source: "Source"
    model: "keras.Model"
    costs: np.ndarray

    def evaluate(self, windows: int = 50) -> "Evaluation":
        """The model on as many windows that it was never trained on, or on all there are, in the data's own units.

        It goes through the samples before them first, from a state of zeros. With a curve the run's own evaluation goes
        on from training's last state instead, so that its errors differ a little.
        """
        from lstm_lab.science.evaluation import evaluate

        unseen = self.source.unseen(len(self.costs), windows)
        time_steps, carry_state = self.config.data.time_steps, self.config.training.carry_state
        return evaluate(self.model, unseen, None, time_steps=time_steps, carry_state=carry_state)


@store.faults_told()
def load_run(name: str, path: str | None = None) -> LoadedRun:
    """The run by its id or its first digits, `last`, or a study for its best trial; `path` is where its file is now.

    ConfigError or StoreError if there is none, it has no final weights, or its data file is gone or another.
    """
    store.check_store(reading=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")  # a bar of Jupyter's that MLflow would have
        client = store.open_store()
    run = lookup.find_run(client, "run", name)
    config = datafile.found(lookup.config_of(client, run), tagging.tags_of(run), f"run={name}", path)
    source = setup.make_source(config)
    model = forecasting.trained_model(client, run, config)
    costs = lookup.costs_of(client, run, config.training.steps)
    if costs is None:
        raise store.StoreError(f"run={name}: it has no cost.npy")
    return LoadedRun(run.info.run_id, config, source, model, costs)
