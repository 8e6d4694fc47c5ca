import random
import signal
import subprocess
import sys
import time
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest

from lstm_lab.records import checkpoint
from lstm_lab.records.checkpoint import LISTS, Checkpoint, DamagedError
from lstm_lab.runs import observers


def example(step=3):
    return Checkpoint(
        step,
        "a digest",
        np.linspace(1, 0, step, dtype=np.float32),
        [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([np.nan, -0.0], np.float32)],
        [np.int64(7), np.float32(0.006), np.ones(3, np.float32)],
        [np.full((2, 2), 1e-40, np.float32)],
    )


def test_what_is_saved_is_loaded_to_the_bit(tmp_path):
    saved = example()
    loaded = checkpoint.load(checkpoint.save(tmp_path, saved))
    assert (loaded.step, loaded.config_digest) == (3, "a digest")
    assert loaded.costs.dtype == np.float32
    assert loaded.costs.tobytes() == saved.costs.tobytes()
    for name in LISTS:
        for old, new in zip(getattr(saved, name), getattr(loaded, name), strict=True):
            assert (new.dtype, new.shape, new.tobytes()) == (old.dtype, old.shape, old.tobytes())
    assert {field.name for field in fields(Checkpoint)} == {"step", "config_digest", "costs", *LISTS}


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


def test_a_kill_in_the_middle_of_saving_leaves_whole_files(tmp_path):
    code = f"""
import sys; sys.path[:0] = {sys.path!r}
from pathlib import Path
import numpy as np
from lstm_lab.records.checkpoint import Checkpoint, save
weights = [np.random.default_rng(0).standard_normal(200_000).astype("float32")]
for step in range(10**6):
    save(Path({str(tmp_path)!r}), Checkpoint(step, "", np.zeros(step, "float32"), weights, weights, weights))
    print(step, flush=True)
"""
    draw = random.Random(0)
    unfinished = 0
    for _ in range(8):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        process.stdout.readline()
        time.sleep(draw.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        printed = process.stdout.read().split()
        process.wait()
        process.stdout.close()
        found = checkpoint.in_order(tmp_path)
        assert {len(checkpoint.load(path).costs) for path in found} == {checkpoint.load(path).step for path in found}
        assert checkpoint.load(found[-1]).step >= max(map(int, printed), default=1)
        unfinished += (tmp_path / "unfinished").exists()
        for path in tmp_path.iterdir():
            path.unlink()
    assert unfinished > 0  # some kills did come in the middle of a save


def test_saving_takes_at_most_a_hundredth_of_the_time(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock.now)
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
