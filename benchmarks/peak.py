"""How near a training step comes to what its processor can do: the arithmetic of both, counted and measured.

python benchmarks/peak.py      a large matrix product's operations a second on one core, in each round, as JSON
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from peers import PEERS, limit_cores

SIZE = 2048  # rows and columns: large enough for its time to be that of the arithmetic
ROUNDS = 5


def step_operations(shape: Mapping[str, Any]) -> int:
    """The floating-point operations of all matrix products in a training step of the curve, forward and backward.

    A product of [m, k] and [k, n] takes 2 m n k (Golub and Van Loan, Matrix Computations). For each row and time step
    these are: for the recurrent kernel [cell, 4 cell] three, h by the kernel, the gradients of the gates' sums by it,
    and its own gradient; for the kernel [1, 4 cell], in_hidden folded in, no gradient of x, so two; for out_hidden
    [cell, 1] three. Products of weights with weights, the gates and Adam are left out.
    """
    cell_size = shape["cell_size"]
    of_row = 3 * 2 * cell_size * 4 * cell_size + 2 * 2 * 4 * cell_size + 3 * 2 * cell_size
    return int(shape["batch_size"] * shape["time_steps"] * of_row)


def measure_product() -> list[float]:
    """A large product's operations a second in each round, by a process that is kept to one core as the peers are."""
    done = subprocess.run([sys.executable, str(Path(__file__).resolve())], stdout=subprocess.PIPE, check=True)
    return list(json.loads(done.stdout))


def product_rates(size: int, rounds: int) -> list[float]:
    """Operations a second of a product of two float32 matrices [size, size] by TensorFlow, in each round.

    A second is one of the processor's time, whatever else runs.
    """
    import tensorflow as tf

    left, right = (tf.constant(np.random.default_rng(seed).random((size, size), np.float32)) for seed in (0, 1))
    rates = []
    for _ in range(rounds + 1):
        started = time.process_time()
        tf.matmul(left, right).numpy()
        rates.append(2 * size**3 / (time.process_time() - started))
    return rates[1:]  # the first one warms up


if __name__ == "__main__":
    limit_cores(1)
    PEERS["lab_fast"].start(1)
    print(json.dumps(product_rates(SIZE, ROUNDS)))
