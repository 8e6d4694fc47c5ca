import os

from lstm_lab import compiled
from test_runtime import python

FAST = """
from pathlib import Path
from lstm_lab import compiled, machine, runtime
compiled.ROOT = Path({root!r})
runtime.start_tensorflow("fast", 1)
import tensorflow as tf
x = tf.linspace(0.0, 1.0, 1000)
print(tf.function(lambda x: tf.reduce_sum(tf.tanh(x) / 3), jit_compile=True)(x).numpy().tobytes().hex())
print(machine.numeric_environment()["TF_XLA_FLAGS"])
"""


def test_a_second_process_finds_what_the_first_compiled_unless_it_is_damaged(tmp_path):
    root = tmp_path / "a folder"
    code = FAST.format(root=str(root))

    def run():
        done = python(code, TF_XLA_FLAGS="--tf_xla_clustering_debug=false")
        assert done.stderr == ""
        number, flags = done.stdout.split()
        assert flags == "--tf_xla_clustering_debug=false"  # as recorded with a run: without the cache's place
        [program] = root.rglob("*.pb")
        return number, program, os.stat(program).st_mtime_ns

    number, program, made = run()
    assert run() == (number, program, made)
    whole = program.read_bytes()
    program.write_bytes(whole[:-100])
    assert run()[:2] == (number, program)
    assert len(program.read_bytes()) == len(whole)


def test_only_sound_and_recent_programs_are_left(tmp_path, monkeypatch):
    for age, name in enumerate(("new", "flipped", "unsealed", "old", "older")):
        (tmp_path / f"{name}.pb").write_bytes(name.encode())
        os.utime(tmp_path / f"{name}.pb", (1000 - age, 1000 - age))
    compiled.seal(tmp_path)
    (tmp_path / "unsealed.sha256").unlink()
    (tmp_path / "flipped.pb").write_bytes(b"glipped")
    os.utime(tmp_path / "flipped.pb", (999, 999))
    monkeypatch.setattr(compiled, "MOST", 4)
    compiled.forget_unsound(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["new.pb", "new.sha256", "old.pb", "old.sha256"]
