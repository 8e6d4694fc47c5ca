import json
import os
import subprocess
import sys

import pytest

from lstm_lab import runtime


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": "src", **environment},
        cwd=os.path.dirname(os.path.dirname(__file__)),
    )


def test_tensorflow_starts_without_a_word_and_as_asked(tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"floatx": "float64", "backend": "jax"}))
    done = python(
        'from lstm_lab import runtime; runtime.start_tensorflow("fast", 3)\n'
        "import keras, tensorflow as tf\n"
        "print(keras.backend.backend(), keras.config.floatx(),"
        " tf.config.threading.get_intra_op_parallelism_threads(),"
        " tf.config.threading.get_inter_op_parallelism_threads())\n"
        "try: tf.random.normal([1])\n"
        "except RuntimeError: print('refused')",
        KERAS_HOME=str(tmp_path),
    )
    assert done.stdout.split() == ["tensorflow", "float32", "3", "8", "refused"]
    assert done.stderr == ""


def test_what_is_held_back_is_shown_when_loading_fails():
    done = python(
        "import os\nfrom lstm_lab import runtime\n"
        "with runtime.hidden_stderr():\n    os.write(2, b'the reason\\n')\n    raise ImportError('no')"
    )
    assert "the reason" in done.stderr
    assert "ImportError: no" in done.stderr


@pytest.mark.parametrize(("level", "threads"), [("portable", 5), ("fast", 1)])
def test_another_level_in_one_process_is_refused(level, threads):
    runtime.start_tensorflow("portable", 1)
    with pytest.raises(RuntimeError, match=r"runs at \('portable', 1\)"):
        runtime.start_tensorflow(level, threads)
