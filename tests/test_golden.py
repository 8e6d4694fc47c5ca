"""The default run's bits, the same on every processor: what `training.level=portable` promises."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = json.loads((ROOT / "tests/reference/golden.json").read_text())
ADVICE = """
The default run has other bits than tests/reference/golden.json says. If nobody meant to change the recipe, find what
did: `make reproduce RUN=ID` of an older run names the likeliest cause. If a package was upgraded on purpose, or the
recipe changed on purpose, and the comparison with the tutorial's own numbers (tests/test_training.py) still holds,
write the new hash and versions into golden.json and say so in the commit: older runs then need `--checkout`."""
CODE = """
import hashlib
import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from lstm_lab import config, runtime
with initialize_config_dir({conf!r}, version_base="1.3"):
    values = OmegaConf.to_container(compose("train"), resolve=True)
settings = config.check({{key: value for key, value in values.items() if key not in config.COMMAND}})
runtime.start_tensorflow(settings.training.level, settings.training.threads)
from lstm_lab.science import training
from lstm_lab.science.curves import Batches
from lstm_lab.science.model import build_model, zero_state
from lstm_lab.runs.setup import program_for
program, batches = program_for(settings), Batches(**settings.data.model_dump())
weights = build_model(**settings.model.model_dump(), seed=settings.training.seed).get_weights()
program.restart(weights, settings.optimizer.learning_rate)
made = training.train(
    program.chunk, batches, zero_state(program.model, batches.batch_size), steps=settings.training.steps, chunk_steps=50
)
print(hashlib.sha256(np.concatenate([progress.costs for progress in made]).tobytes()).hexdigest())
"""


def test_the_default_runs_costs_are_the_golden_ones(default_run):
    [path] = default_run.checkout.glob("mlruns/artifacts/*/artifacts/cost.npy")
    costs = np.load(path, allow_pickle=False)
    assert {name: version(name) for name in GOLDEN["versions"]} == GOLDEN["versions"], ADVICE
    assert hashlib.sha256(costs.tobytes()).hexdigest() == GOLDEN["cost.sha256"], ADVICE


@pytest.mark.parametrize("processor", ["SandyBridge"])
def test_another_processor_gives_the_golden_costs(processor):
    """An emulated one, without the instruction sets (FMA, AVX2, AVX-512) by which libraries choose their kernels."""
    emulator = shutil.which("qemu-x86_64")
    if not emulator:
        message = "qemu is not installed: `apt-get install qemu-user`"
        pytest.fail(message) if os.environ.get("REQUIRE_QEMU") else pytest.skip(message)
    code = CODE.format(conf=str(ROOT / "conf"))
    done = subprocess.run(
        [emulator, "-cpu", processor, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.stdout.strip() == GOLDEN["cost.sha256"], done.stderr + ADVICE
