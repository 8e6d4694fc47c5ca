import dataclasses
import io
import math
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from lstm_lab.runs import observers
from lstm_lab.runs.panels import Labels
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


def test_beside_a_cost_stands_the_validation_error_of_its_weights_or_the_last_before():
    output = io.StringIO()
    terminal = observers.Terminal(Console(file=output), observers.Record(), steps=9, report_every=3)
    for step, validation in enumerate((None, None, 812.04, None, 700.5, None, None, None, 1.5), start=1):
        terminal(dataclasses.replace(progress(step, [5.0]), validation=validation))
    terminal.close()
    assert output.getvalue().splitlines() == [
        "step       0   cost 5",
        "step       3   cost 5   validation 812",
        "step       6   cost 5   validation 700.5 (step 5)",
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
    x, target, prediction, window, starts, apart = observers.shown_curve(progress(2, [1.0], samples=1000))
    np.testing.assert_array_equal(starts, x[::20])
    assert window == 20
    assert len(x) == len(target) == len(prediction) == 400
    np.testing.assert_allclose(np.diff(x), 1 / (10 * math.pi), rtol=1e-6)
    np.testing.assert_allclose(np.cos(x), target[:, 0], atol=1e-6)
    assert not apart


def test_rows_from_different_places_are_drawn_side_by_side_with_gaps():
    x = np.array([[5.0, 6.0], [15.0, 16.0], [25.0, 26.0]])
    y = np.stack([x, 10 * x], axis=-1)
    separate = Progress(1, np.ones(1, np.float32), x, y, -y, [])
    shown, target, prediction, window, starts, apart = observers.shown_curve(separate)
    assert starts.tolist() == [5, 15, 25]
    assert window == 3
    assert apart
    np.testing.assert_array_equal(shown, np.arange(9))
    np.testing.assert_array_equal(target[:, 0], [5, 6, np.nan, 15, 16, np.nan, 25, 26, np.nan])
    np.testing.assert_array_equal(target[:, 1], 10 * target[:, 0])
    np.testing.assert_array_equal(prediction, -target)
    frames = observers.Frames(steps=2, frames=2)
    frames(separate)
    frames(Progress(2, np.ones(1, np.float32), x + 2, y + 2, -y, []))
    np.testing.assert_array_equal(frames.targets[1], frames.targets[0] + 2)
    assert frames.apart


def test_steps_that_do_not_count_are_gaps_and_rows_of_nothing_else_are_left_out():
    whole = progress(1, [1.0])
    weights = np.ones(whole.x.shape, np.float32)
    weights[0, 3] = weights[-1] = 0
    some = dataclasses.replace(whole, weights=weights)
    shown = observers.shown_curve(some)
    missing = np.isnan(shown.target[:, 0])
    assert (len(shown.x), np.flatnonzero(missing).tolist()) == (80, [3])
    np.testing.assert_array_equal(shown.prediction[~missing], shown.target[~missing] + 0.5)
    assert not shown.apart
    frames = observers.Frames(2, 2)
    frames(some)
    np.testing.assert_array_equal(frames.targets[0], shown.target[: len(frames.x)])


def test_of_sequences_with_one_answer_the_answers_are_shown_each_by_itself():
    x = np.broadcast_to(np.arange(4.0), (3, 4))
    weights = np.eye(4, dtype=np.float32)[[3, 1, 2]]
    target = np.arange(24.0).reshape(3, 4, 2)
    answers = Progress(1, np.ones(1, np.float32), x, target, -target, [], weights)
    shown = observers.shown_curve(answers)
    np.testing.assert_array_equal(shown.target[:, 0], [6, np.nan, 10, np.nan, 20, np.nan])
    np.testing.assert_array_equal(shown.prediction, -shown.target)
    assert (shown.starts.tolist(), shown.window, shown.apart) == ([1, 2, 3], 2, True)
    frames = observers.Frames(2, 2)
    frames(answers)
    np.testing.assert_array_equal(frames.targets[0], shown.target[: len(frames.x)])


def test_rows_that_each_count_their_own_steps_are_numbered():
    x = np.broadcast_to(np.arange(2.0), (3, 2))
    y = np.zeros((3, 2, 1))
    shown = observers.shown_curve(Progress(1, np.ones(1, np.float32), x, y, y, [], np.ones((3, 2), np.float32)))
    assert shown.starts.tolist() == [1, 2, 3]


def test_what_was_normalised_is_shown_in_its_own_units():
    x = np.arange(4.0).reshape(2, 2)
    y = np.stack([x, x], axis=-1).astype(np.float32)
    normal = Progress(1, np.ones(1, np.float32), x, y, -y, [])
    assert observers.in_units(normal, None) is normal
    units = np.zeros((2, 1)), np.array([[1.5e9, 0.5], [40.0, 2.0]])
    shown = observers.in_units(normal, units)
    assert shown.target[..., 0].ravel().tolist() == [1.5e9, 1.5e9 + 40, 1.5e9 + 80, 1.5e9 + 120]
    assert shown.target[..., 1].ravel().tolist() == [0.5, 2.5, 4.5, 6.5]
    assert shown.prediction[..., 0].ravel().tolist() == [1.5e9, 1.5e9 - 40, 1.5e9 - 80, 1.5e9 - 120]
    frames = observers.Frames(2, 2, units)
    frames(normal)
    assert frames.targets[0][0].tolist() == [1.5e9, 0.5]


def test_align_finds_a_stretch_again_whatever_the_units():
    rng = np.random.default_rng(0)
    curve = np.stack(
        [1e6 * np.sin(np.arange(500) * math.pi / 25) + 1e4 * rng.normal(size=500), rng.normal(size=500)], 1
    )
    assert observers.align(curve, curve[123:323]) == 123
    # two periods earlier the first column is the better by as much as its noise, the second is another
    assert observers.align(curve, np.stack([curve[23:223, 0], curve[123:323, 1]], axis=1)) == 123


@pytest.mark.parametrize("targets", [1, 50])
def test_the_live_window_has_a_panel_for_each_target(targets, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names = tuple(f"sensor {i}" for i in range(targets)) if targets > 1 else ("",)
    window = observers.LiveFigure(None, Labels(y=names))
    for step in (1, 2):
        whole = progress(step, [0.5])
        y = np.repeat(whole.target, targets, axis=-1)
        window(dataclasses.replace(whole, target=y, prediction=y))
    title = window.axes[0].get_title() if targets == 1 else window.figure.get_suptitle()
    assert title == "step 2   cost 0.5" + "\n6 of 50 targets" * (targets == 50)
    assert [len(ax.lines) for ax in window.axes] == [2] * min(targets, 6)
    assert len(window.figure.legends) == (targets > 1)
    window.close()


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
    board(dataclasses.replace(progress(10, np.arange(9.0, 0.0, -1.0)), validation=3.0))
    board.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, float(e.tensor_proto.float_val[0])) for e in events.Tensors("cost")] == [
        (0, 10),
        (2, 8),
        (4, 6),
        (6, 4),
        (8, 2),
    ]
    assert [(e.step, e.tensor_proto.float_val[0]) for e in events.Tensors("validation/mse")] == [(10, 3)]
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
