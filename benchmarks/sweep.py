"""Trials per minute of one study, done by this repo and in the two usual ways, one after the other.

All three draw the same parameters (Optuna's random sampler, one seed), train the same 200 steps on the same batches,
and use nothing that ends a trial early. This repo's and (b)'s trials are also tracked in MLflow; (a)'s are not.
  this repo   python src/train.py -m sweeps
  (a)         one script: Optuna calling Keras `fit` with a stateful LSTM for each trial
  (b)         one process a trial: python src/train.py for each
"""

from collections.abc import Callable

from processes import clone, run

KERAS_FIT = """
import sys, keras, numpy as np, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
steps, batch, time_steps = 200, 50, 20
n = 20 * (np.arange(steps)[:, None, None] + np.arange(batch)[:, None]) + np.arange(time_steps)
x = n.reshape(-1, time_steps, 1) / (10 * np.pi)

class Costs(keras.callbacks.Callback):
    def on_train_begin(self, logs=None): self.means = []  # of all costs so far, which is what Keras tells
    def on_train_batch_end(self, batch, logs): self.means.append(logs["loss"])

def objective(trial):
    cell_size = trial.suggest_categorical("model.cell_size", [5, 10, 20, 40])
    rate = trial.suggest_float("optimizer.learning_rate", 0.0005, 0.03, log=True)
    normal, constant = keras.initializers.RandomNormal(stddev=1), keras.initializers.Constant(0.1)
    hidden = dict(kernel_initializer=normal, bias_initializer=constant)
    model = keras.Sequential([
        keras.Input(batch_shape=(batch, time_steps, 1)), keras.layers.Dense(cell_size, **hidden),
        keras.layers.LSTM(cell_size, return_sequences=True, stateful=True), keras.layers.Dense(1, **hidden)])
    model.compile(keras.optimizers.Adam(rate, epsilon=1e-8), loss=lambda t, p: keras.ops.sum((t - p) ** 2) / batch)
    costs = Costs()
    model.fit(np.sin(x), np.cos(x), batch_size=batch, shuffle=False, verbose=0, callbacks=[costs])
    return float(np.diff(np.array(costs.means) * np.arange(1, steps + 1))[-20:].mean())

optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).optimize(objective, int(sys.argv[1]))
"""

ONE_PROCESS_A_TRIAL = """
import subprocess, sys, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)

def objective(trial):
    cell_size = trial.suggest_categorical("model.cell_size", [5, 10, 20, 40])
    rate = trial.suggest_float("optimizer.learning_rate", 0.0005, 0.03, log=True)
    words = [f"model.cell_size={cell_size}", f"optimizer.learning_rate={rate}", "tracking.figures=false",
             "tracking.animation=false", "tracking.model=false", "tracking.tensorboard=false"]
    done = subprocess.run([sys.executable, "src/train.py", *words], capture_output=True, text=True, check=True)
    return float(done.stdout.split("mean_last_20_cost ")[1].split()[0])

optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).optimize(objective, int(sys.argv[1]))
"""


WAYS: dict[str, Callable[[int], list[str]]] = {
    "this repo": lambda trials: [
        *("src/train.py", "-m", "sweeps", "hydra/sweeper/sampler=random", "hydra/sweeper/pruner=none"),
        f"hydra.sweeper.n_trials={trials}",
    ],
    "(a) one script, Keras fit a trial, untracked": lambda trials: ["-c", KERAS_FIT, str(trials)],
    "(b) one process a trial, tracked": lambda trials: ["-c", ONE_PROCESS_A_TRIAL, str(trials)],
}


def measure_sweep(trials: int, processes: int) -> dict[str, float]:
    """Trials per minute of each way, with fresh databases; (b), which is slow and steady, does so many `processes`."""
    a_minute = {}
    with clone() as root:
        for name, words in WAYS.items():
            count = processes if name.startswith("(b)") else trials
            a_minute[name] = 60 * count / run(root, words(count)).seconds
    return a_minute
