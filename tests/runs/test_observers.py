import io
import math
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from lstm_lab.runs import observers
from lstm_lab.science.training import Progress


def progress(step, costs, samples=100):
    """Progress whose target is the cosine where the batch of that step lies."""
    x = (20 * (step - 1) + np.arange(samples).reshape(-1, 20)) / (10 * math.pi)
    target = np.cos(x).astype(np.float32)[..., None]
    return Progress(step, np.array(costs, np.float32), x, target, target + 0.5, [])


def test_record_keeps_every_cost_the_last_progress_and_the_speed(monkeypatch):
    clock = iter([10.0, 10.5])  # when the first chunk was done, which had to be compiled, and the second
    monkeypatch.setattr(observers, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    record = observers.Record()
    assert len(record.costs) == 0
    assert record.steps_per_second is None
    record(progress(1, [3.0]))
    record(progress(3, [2.0, 1.0]))
    np.testing.assert_array_equal(record.costs, np.array([3, 2, 1], np.float32))
    assert record.last.step == 3
    assert record.steps_per_second == 4.0


def test_terminal_prints_the_cost_every_so_many_steps_and_no_control_characters():
    output = io.StringIO()
    terminal = observers.Terminal(Console(file=output), observers.Record(), steps=8, report_every=3)
    terminal(progress(1, [9.0]))
    terminal(progress(5, [8.0, 7.0, 6.0, 5.0]))
    terminal(progress(8, [4.0, 3.0, 2.0]))
    terminal.close()
    assert output.getvalue().split("\n") == [
        "step       0   cost 9",
        "step       3   cost 6",
        "step       6   cost 3",
        "",
    ]


@pytest.mark.parametrize(("steps", "frames", "chunk"), [(200, 40, 5), (7, 40, 1), (1000, 4, 10)])
def test_frames_lie_evenly_and_their_targets_stand_still(steps, frames, chunk):
    collected = observers.Frames(steps, frames)
    for step in [1, *range(chunk, steps + 1, chunk)]:
        collected(progress(step, [1.0], samples=1000))
    assert collected.steps[0] == 1
    assert len(collected.steps) <= frames + 1
    assert steps - collected.steps[-1] <= max(chunk, steps / frames)
    for target, prediction in zip(collected.targets, collected.predictions, strict=True):
        # within half a sample's shift of the first picture's target
        np.testing.assert_allclose(target, collected.targets[0], atol=0.5 / (10 * math.pi) + 1e-6)
        np.testing.assert_allclose(prediction, target + 0.5, atol=1e-6)


def test_shown_curve_is_the_batchs_first_consecutive_windows():
    x, target, prediction, window, starts = observers.shown_curve(progress(2, [1.0], samples=1000))
    np.testing.assert_array_equal(starts, x[::20])
    assert window == 20
    assert len(x) == len(target) == len(prediction) == 400
    np.testing.assert_allclose(np.diff(x), 1 / (10 * math.pi), rtol=1e-6)
    np.testing.assert_allclose(np.cos(x), target, atol=1e-6)


def test_rows_from_different_places_are_drawn_side_by_side_with_gaps():
    x = np.array([[5.0, 6.0], [15.0, 16.0], [25.0, 26.0]])
    apart = Progress(1, np.ones(1, np.float32), x, x[..., None], -x[..., None], [])
    shown, target, prediction, window, starts = observers.shown_curve(apart)
    assert starts.tolist() == [5, 15, 25]
    assert window == 3
    np.testing.assert_array_equal(shown, np.arange(9))
    np.testing.assert_array_equal(target, [5, 6, np.nan, 15, 16, np.nan, 25, 26, np.nan])
    np.testing.assert_array_equal(prediction, -target)
    frames = observers.Frames(steps=2, frames=2)
    frames(apart)
    frames(Progress(2, np.ones(1, np.float32), x + 2, x[..., None] + 2, -x[..., None], []))
    np.testing.assert_array_equal(frames.targets[1], frames.targets[0] + 2)


def test_what_was_normalised_is_shown_in_its_own_units():
    x = np.arange(4.0).reshape(2, 2)
    normal = Progress(1, np.ones(1, np.float32), x, x[..., None].astype(np.float32), -x[..., None], [])
    assert observers.in_units(normal, ()) is normal
    shown = observers.in_units(normal, [(0.0, 1.0), (1.5e9, 40.0)])
    assert shown.target.ravel().tolist() == [1.5e9, 1.5e9 + 40, 1.5e9 + 80, 1.5e9 + 120]
    assert shown.prediction.ravel().tolist() == [1.5e9, 1.5e9 - 40, 1.5e9 - 80, 1.5e9 - 120]
    frames = observers.Frames(2, 2, [(0.0, 1.0), (1.5e9, 40.0)])
    frames(normal)
    assert frames.targets[0][0] == 1.5e9


def test_tensorboard_gets_the_graph_once_and_the_cost_thinned(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    asked = []

    def graph():
        asked.append(1)
        made = GraphDef()
        made.node.add(name="cost/Sum", op="Sum")
        return made

    board = observers.TensorBoard(tmp_path, steps=10, points=5, graph=graph)
    board(progress(1, [10.0]))
    board(progress(10, np.arange(9.0, 0.0, -1.0)))
    board.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, float(e.tensor_proto.float_val[0])) for e in events.Tensors("cost")] == [
        (0, 10),
        (2, 8),
        (4, 6),
        (6, 4),
        (8, 2),
    ]
    assert [node.name for node in events.Graph().node] == ["cost/Sum"]
    assert len(asked) == 1


def test_watching_closes_every_observer_however_it_ends():
    closed = []

    class Observer:
        def __init__(self, name):
            self.name = name

        def __call__(self, progress):
            raise KeyboardInterrupt

        def close(self):
            closed.append(self.name)

    def interrupted():
        with observers.watching(Observer("a"), Observer("b")) as watch:
            watch(progress(1, [1.0]))

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert closed == ["b", "a"]
