"""TensorFlow as this repo runs it: at one level of reproducibility, quiet, refusing random ops without a seed."""

import contextlib
import gc
import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Iterator

from lstm_lab.compiled import keep_compiled

# What each level sets before TensorFlow is imported. oneDNN chooses its kernels by the processor's instruction sets,
# and sums in another order with each. The first switch takes its operations out of the graph; the second, which
# TensorFlow's documents do not name, keeps Eigen's matrix products from calling its sgemm.
LEVELS = {
    "portable": {"TF_ENABLE_ONEDNN_OPTS": "0", "TENSORFLOW_USE_CUSTOM_CONTRACTION_KERNEL": "false"},
    "fast": {},
}
started: list[tuple[str, int]] = []  # level and threads of this process


def start_tensorflow(level: str, threads: int, verbose: bool = False) -> None:
    """Imports TensorFlow and fixes what the bits of a run depend on: level, threads, backend and precision.

    Once per process: TensorFlow reads them once. RuntimeError if a later call asks for another level or number.
    """
    if started:
        if started != [(level, threads)]:
            raise RuntimeError(f"TensorFlow runs at {started[0]} in this process, not at {(level, threads)}")
        return
    started.append((level, threads))
    os.environ |= LEVELS[level]
    if level == "fast":
        keep_compiled()
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever ~/.keras/keras.json says
    if not verbose:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with contextlib.nullcontext() if verbose else hidden_stderr(), loading(), not_imported("sklearn"):
        import_matplotlib()
        import keras
        import tensorflow as tf

    keras.config.set_floatx("float32")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    # Under training's executor a condition in the loop waits on one thread of this pool for another, for ever with
    # one in all. No bit depends on their number.
    tf.config.threading.set_inter_op_parallelism_threads(max(threads, 8))
    tf.config.experimental.enable_op_determinism()


def import_matplotlib() -> None:
    """Imports matplotlib with its own settings: figures are the same whatever a matplotlibrc or MPLBACKEND says.

    It would refuse to be imported, Keras with it, for some of what may stand there. It looks into the current
    directory first, so its own file is found there.
    """
    if "matplotlib" in sys.modules:
        return
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of a home that cannot be written
    spec = importlib.util.find_spec("matplotlib")
    assert spec
    assert spec.submodule_search_locations
    backend, here = os.environ.pop("MPLBACKEND", None), os.open(".", os.O_RDONLY)
    os.chdir(os.path.join(spec.submodule_search_locations[0], "mpl-data"))
    try:
        import matplotlib  # noqa: F401
    finally:
        os.fchdir(here)
        os.close(here)
        if backend is not None:
            os.environ["MPLBACKEND"] = backend


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """For imports of big libraries: what they make stays, so it is not looked through for garbage, now or later.

    A fifth of the time of importing TensorFlow and MLflow is the collector's otherwise, and later pauses are longer.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def not_imported(name: str) -> Iterator[None]:
    """Keeps a module from being imported here, as if it were not installed: Keras does without scikit-learn.

    Importing that and SciPy, for wrappers that nothing here uses, takes an eighth of the time that Keras takes.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # Python's own sign for it
    try:
        yield
    finally:
        del sys.modules[name]


@contextlib.contextmanager
def hidden_stderr() -> Iterator[None]:
    """Holds back what C++ libraries print while they load (no setting silences it); shown if loading fails."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
