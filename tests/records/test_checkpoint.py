import math
import random
import subprocess
import sys
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest

from lstm_lab.records import checkpoint
from lstm_lab.records.checkpoint import LISTS, NEWER, Checkpoint, DamagedError
from lstm_lab.runs import observers


def example(step=3):
    return Checkpoint(
        step,
        "a digest",
        np.linspace(1, 0, step, dtype=np.float32),
        [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([np.nan, -0.0], np.float32)],
        [np.int64(7), np.float32(0.006), np.ones(3, np.float32)],
        [np.full((2, 2), 1e-40, np.float32)],
        [np.ones((2, 3), np.float32), np.zeros(2, np.float32)],
        np.array([1, 3]),
        np.array([0.1, math.inf]),
        np.array([0, 2]),
        np.array([0.5, np.nan, 0.25], np.float32),
    )


def test_what_is_saved_is_loaded_to_the_bit(tmp_path):
    saved = example()
    loaded = checkpoint.load(checkpoint.save(tmp_path, saved))
    assert (loaded.step, loaded.config_digest) == (3, "a digest")
    for name in ("costs", *NEWER):
        old, new = getattr(saved, name), getattr(loaded, name)
        assert (new.dtype, new.tobytes()) == (old.dtype, old.tobytes())
    for name in LISTS:
        for old, new in zip(getattr(saved, name), getattr(loaded, name), strict=True):
            assert (new.dtype, new.shape, new.tobytes()) == (old.dtype, old.shape, old.tobytes())
    assert {field.name for field in fields(Checkpoint)} == {
        *("step", "config_digest", "costs", *NEWER),
        *LISTS,
    }


def test_one_of_before_there_were_validation_errors_and_criteria_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "fields", lambda kind: fields(kind)[:6])
    loaded = checkpoint.load(checkpoint.save(tmp_path, example()))
    assert (loaded.step, list(loaded.best)) == (3, [])
    assert [len(getattr(loaded, name)) for name in NEWER] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("steps", "errors"),
    [
        ([1, 3], [1.0]),
        ([3, 1], [1.0, 2.0]),
        ([0, 1], [1.0, 2.0]),
        ([1, 4], [1.0, 2.0]),
        ([1], [math.nan]),
        ([[1]], [1.0]),
    ],
)
def test_validation_errors_that_no_run_has_are_told_of(steps, errors, tmp_path):
    path = checkpoint.save(tmp_path, replace(example(), validated=np.array(steps), errors=np.array(errors)))
    with pytest.raises(DamagedError, match="has validation errors"):
        checkpoint.load(path)


@pytest.mark.parametrize("met", [[-1], [4], [1.5], [[1]]])
def test_criteria_that_held_when_no_run_was_are_told_of(met, tmp_path):
    path = checkpoint.save(tmp_path, replace(example(), met=np.array(met)))
    with pytest.raises(DamagedError, match="has criteria that"):
        checkpoint.load(path)


def test_as_many_criteria_as_the_run_has_belong_to_it():
    forms = checkpoint.forms_of(example())
    assert not checkpoint.is_of(replace(example(), met=np.array([0])), forms)


def test_the_best_weights_are_of_the_models_form_or_there_are_none():
    forms = checkpoint.forms_of(replace(example(), best=[]))
    assert checkpoint.is_of(example(), forms)
    assert checkpoint.is_of(replace(example(), best=()), forms)
    assert not checkpoint.is_of(replace(example(), best=example().best[:1]), forms)
    assert not checkpoint.is_of(replace(example(), state=[]), forms)


def test_every_cut_and_every_flipped_bit_is_noticed(tmp_path):
    path = checkpoint.save(tmp_path, example())
    content = path.read_bytes()
    draw = random.Random(0)
    spoilt = [content[:length] for length in (0, 1, 31, 32, 33, len(content) // 2, len(content) - 1)]
    for _ in range(300):
        flipped = bytearray(content)
        flipped[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        spoilt.append(bytes(flipped))
    for bad in [*spoilt, content + b"\0"]:
        path.write_bytes(bad)
        with pytest.raises(DamagedError, match=path.name):
            checkpoint.load(path)


def test_the_last_two_are_kept(tmp_path):
    for step in (1, 20, 300, 4000):
        checkpoint.save(tmp_path, example(step))
    assert [checkpoint.load(path).step for path in checkpoint.in_order(tmp_path)] == [300, 4000]
    assert len(list(tmp_path.iterdir())) == 2


KILLED_AT_EVERY_LINE = """
import itertools, os, signal, sys
from pathlib import Path
sys.path[:0] = {path!r}
import numpy as np
from lstm_lab.records import checkpoint

def save(folder, step):
    weights = [np.full(100_000, step, "float32")]  # more than a file's buffer holds
    checkpoint.save(folder, checkpoint.Checkpoint(step, "", np.zeros(step, "float32"), weights, weights, weights))

def kill_before_line(number):
    lines = itertools.count(1)
    def trace(frame, event, _):
        if event == "line" and next(lines) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace if frame.f_code in (checkpoint.save.__code__, checkpoint.sync.__code__) else None
    sys.settrace(trace)

for number in itertools.count(1):
    folder = Path({folder!r}, str(number))
    for step in (1, 2):
        save(folder, step)
    child = os.fork()
    if not child:
        kill_before_line(number)
        save(folder, 3)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


def test_a_kill_before_any_line_of_saving_leaves_whole_files(tmp_path):
    code = KILLED_AT_EVERY_LINE.format(path=sys.path, folder=str(tmp_path))
    subprocess.run([sys.executable, "-c", code], check=True)
    *killed, saved = sorted(tmp_path.iterdir(), key=lambda folder: int(folder.name))
    assert len(list(tmp_path.glob("*/unfinished"))) > 3
    for folder in (*killed, saved):
        found = [checkpoint.load(path).step for path in checkpoint.in_order(folder)]
        assert found in ([1, 2], [1, 2, 3], [2, 3])
        checkpoint.save(folder, example(4))
        assert checkpoint.load(checkpoint.in_order(folder)[-1]).step == 4


def test_saving_takes_at_most_a_hundredth_of_the_time(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(observers, "time", SimpleNamespace(monotonic=lambda: clock.now))
    saved_at = []

    def slow_save(folder, saved):
        saved_at.append(clock.now)
        clock.now += 0.5
        return folder

    monkeypatch.setattr(checkpoint, "save", slow_save)
    program = SimpleNamespace(snapshot=lambda: ([], []))
    saver = observers.Saver(tmp_path, 10.0, "", program, SimpleNamespace(costs=np.zeros(0)))
    while clock.now < 1000:
        clock.now += 1.0
        saver(SimpleNamespace(step=int(clock.now), state=[]))
    assert saved_at[0] == 10.0
    assert 0.5 * len(saved_at) <= 0.01 * 1000 + 0.5
    assert len(saved_at) > 15
