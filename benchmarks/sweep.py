"""The price of one more trial of a study, done by this repo and in the two usual ways, and that of its training alone.

All three draw from the same space (Optuna's random sampler, one seed), train the same 200 steps on the same batches,
and use nothing that ends a trial early. This repo's and (b)'s trials are also tracked in MLflow; (a)'s are not.
  this repo   python src/train.py -m sweeps
  (a)         one script: Optuna calling Keras `fit` with a stateful LSTM for each trial
  (b)         one process a trial: python src/train.py for each
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from peers import SPACING
from processes import ROOT, clone, run

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
    return float(done.stdout.split("mean of the last 20 ")[1].split()[0])

optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).optimize(objective, int(sys.argv[1]))
"""


WAYS: dict[str, Callable[[int], list[str]]] = {
    "this repo": lambda trials: [
        *("src/train.py", "-m", "sweeps", "hydra/sweeper/sampler=random", "hydra/sweeper/pruner=none"),
        *(f"hydra.sweeper.n_trials={trials}", f"hydra.sweeper.study_name={trials} trials"),
    ],
    "(a) one script, Keras fit a trial, untracked": lambda trials: ["-c", KERAS_FIT, str(trials)],
    "(b) one process a trial, tracked": lambda trials: ["-c", ONE_PROCESS_A_TRIAL, str(trials)],
}
SIZES = (5, 10, 20, 40)


def measure_sweep(trials: Sequence[int], processes: Sequence[int], rounds: int) -> dict[str, Any]:
    """Seconds of whole studies of so many `trials` by each way, but of `processes` by (b), which is slow and steady.

    And seconds of the training alone of one trial, in so many rounds. The clone was swept before: its stores are there,
    and the programs of these cell sizes compiled.
    """
    with clone() as root:
        run(root, WAYS["this repo"](9))
        seconds: dict[str, list[float]] = {name: [] for name in WAYS}
        for place, count in enumerate(trials):
            for name, words in WAYS.items():
                if not name.startswith("(b)"):
                    seconds[name].append(run(root, words(count)).seconds)
                elif place < len(processes):
                    seconds[name].append(run(root, words(processes[place])).seconds)
        alone = json.loads(run(root, [str(root / "benchmarks/sweep.py"), str(rounds)]).output.splitlines()[-1])
    counts = {name: list(processes if name.startswith("(b)") else trials) for name in WAYS}
    return {"trials": counts, "seconds": seconds, "training": alone}


def train_alone(rounds: int) -> list[float]:
    """In this process and its clone: seconds of the 200 steps of a trial, the mean over the cell sizes, by rounds."""
    sys.path.insert(0, str(ROOT / "src"))
    from lstm_lab import runtime

    runtime.start_tensorflow("fast", 1)
    from lstm_lab.science.curves import Batches
    from lstm_lab.science.model import build_model, zero_state
    from lstm_lab.science.training import ChunkOptions, Program, build_optimizer, train

    batches, programs, weights = Batches("sine_to_cosine", 50, 20, SPACING), [], []
    for size in SIZES:
        model = build_model("lstm", size, hidden_stddev=1.0, hidden_bias=0.1, seed=0, forget_bias=1.0)
        weights.append(model.get_weights())
        programs.append(Program(model, build_optimizer("adam", 0.01), ChunkOptions(50, True, jit_compile=True)))
    made = []
    for counted in range(-1, rounds):  # the first time compiles
        started = time.perf_counter()
        for program, initial in zip(programs, weights, strict=True):
            program.restart(initial, 0.01)
            for _ in train(program.chunk, batches, zero_state(program.model, 50), steps=200, chunk_steps=50):
                pass
        if counted >= 0:
            made.append((time.perf_counter() - started) / len(SIZES))
    return made


if __name__ == "__main__":
    print(json.dumps(train_alone(int(sys.argv[1]))))
