"""Many series in one file, gaps and missing values: what batches have of them, and that nothing held out is learnt."""

import itertools
import math

import numpy as np
import pytest

from helpers import csv_settings
from lstm_lab.config import ConfigError
from lstm_lab.science.evaluation import compile_prediction, known_in
from lstm_lab.science.model import build_model, zero_state
from lstm_lab.science.series import SeriesBatches
from lstm_lab.science.training import ChunkOptions, Program, build_optimizer, train

NAN = np.nan


def batches_of(folder, lines, name="my.csv", **settings):
    """The batches of a file with these lines."""
    (folder / name).write_text("\n".join(lines) + "\n")
    usual = {"input": "a", "horizon": 1, "batch_size": 2, "time_steps": 4, "validation": 0.0}
    return SeriesBatches(folder / name, csv_settings(**usual | settings))


def shops(lengths, seed=0):
    """Columns shop, a and b: of each shop so many samples, each shop of a level of its own."""
    rng = np.random.default_rng(seed)
    walks = {f"shop {i}": 10.0**i * (5 + rng.normal(size=(n, 2)).cumsum(axis=0)) for i, n in enumerate(lengths)}
    rows = [(i, name, *walk[i]) for name, walk in walks.items() for i in range(len(walk))]
    return walks, ["shop,a,b", *(f"{name},{a},{b}" for _, name, a, b in sorted(rows))]


def test_what_a_batch_has_of_series_that_stand_in_turn_written_down(tmp_path):
    """Two rows of three series: of 4, 2 and 3 samples to train on, of which a window has 2."""
    lengths = {"x": 6, "y": 3, "z": 4}
    lines = [f"{s},{ord(s)}{i}" for i in range(6) for s in "xyz" if i < lengths[s]]
    batches = batches_of(tmp_path, ["s,a", *lines], series="s", target="a", horizon=None, time_steps=2, held_out=0.25)
    assert [one.name for one in batches.samples.series] == ["x", "y", "z"]
    assert batches.epoch == 3
    mean, stddev = batches.units[0][:, 0]
    rows = batches.chunk(0, 3)
    expected = [[[1200, 1201], [1220, 1221]], [[1202, 1203], [1222, 0]], [[1210, 1211], [0, 0]]]
    weights = [[[1, 1], [1, 1]], [[1, 1], [1, 0]], [[1, 1], [0, 0]]]
    np.testing.assert_array_equal(rows.weights.reshape(3, 2, 2), weights)
    found = np.where(rows.weights > 0, rows.inputs[..., 0] * stddev + mean, 0)
    np.testing.assert_allclose(found.reshape(3, 2, 2), expected, rtol=1e-6)
    np.testing.assert_array_equal(rows.starts_over, [[True, True], [False, False], [True, True]])
    assert not rows.inputs[rows.weights == 0].any()
    assert not rows.targets[rows.weights == 0].any()
    trained = [1200, 1201, 1202, 1203, 1210, 1211, 1220, 1221, 1222]
    assert (mean, stddev) == pytest.approx((np.mean(trained), np.std(trained)))
    for k in range(7):
        again = batches.chunk(k, 1)
        for name in ("x", "inputs", "targets", "weights"):
            here = slice(2 * (k % 3), 2 * (k % 3) + 2)
            np.testing.assert_array_equal(getattr(again, name), getattr(rows, name)[here])
        np.testing.assert_array_equal(again.starts_over, rows.starts_over[[k % 3]])


def gone_through(model, batches, steps):
    """Costs and state by a loop of one call a row and step: each row's state is zeros where it starts over."""
    predict, states, costs = compile_prediction(model), [zero_state(model, 1)] * batches.batch_size, []
    for k in range(steps):
        rows, squares = batches.chunk(k, 1), 0.0
        for b in range(batches.batch_size):
            state = zero_state(model, 1) if rows.starts_over[0, b] else states[b]
            prediction, states[b] = predict(rows.inputs[[b]], state)
            squares += float((rows.weights[b, :, None] * (prediction[0] - rows.targets[b]) ** 2).sum())
        costs.append(squares / batches.batch_size)
    return costs, [np.concatenate(tensors) for tensors in zip(*states, strict=True)]


def program_of(model, batch_size):
    """One that leaves the weights as they are."""
    options = ChunkOptions(batch_size, carry_state=True, jit_compile=False, stride=batch_size)
    return Program(model, build_optimizer("sgd", learning_rate=0.0), options)


def trained(program, batches, steps):
    """The costs, and the state after every step."""
    made = list(
        train(program.chunk, batches, zero_state(program.model, batches.batch_size), steps=steps, chunk_steps=1)
    )
    return np.concatenate([progress.costs for progress in made]), [progress.state[0].numpy() for progress in made]


def small_model(input_size=1, output_size=1):
    settings = {"hidden_stddev": 1.0, "hidden_bias": 0.1, "seed": 0}
    return build_model("gru", 3, input_size=input_size, output_size=output_size, **settings)


@pytest.mark.parametrize(("rows", "lengths"), [(2, (31, 12, 25, 7, 18)), (4, (40, 9))], ids=["more series", "fewer"])
def test_training_goes_through_every_row_as_a_loop_by_hand_does(rows, lengths, tmp_path):
    settings = {"series": "shop", "target": ["a", "b"], "input": ["a", "b"], "batch_size": rows}
    batches = batches_of(tmp_path, shops(lengths)[1], **settings)
    model, steps = small_model(2, 2), 2 * batches.epoch + 1
    costs, states = trained(program_of(model, rows), batches, steps)
    expected, reached = gone_through(model, batches, steps)
    np.testing.assert_allclose(costs, expected, rtol=1e-5)
    np.testing.assert_allclose(states[-1], reached[0], atol=1e-6)


def test_series_side_by_side_are_each_learnt_from_as_if_it_were_alone(tmp_path):
    """A row for each: the costs are those of the series run alone, the states too until they are over."""
    walks, lines = shops((50, 30, 20))
    settings = {"target": "b", "horizon": None, "held_out": 0.2}
    batches = batches_of(tmp_path, lines, series="shop", normalise="series", batch_size=3, **settings)
    model, sums = small_model(), np.zeros(10)
    costs, states = trained(program_of(model, 3), batches, 10)
    program = program_of(model, 1)
    for b, (name, walk) in enumerate(walks.items()):
        own = ["a,b", *(f"{a},{b}" for a, b in walk)]
        alone = batches_of(tmp_path, own, f"{name}.csv", batch_size=1, **settings)
        windows = len(walk) * 4 // 5 // 4
        assert alone.epoch == windows
        one, state = trained(program, alone, windows)
        sums[:windows] += one
        for k in range(windows):
            np.testing.assert_array_equal(alone.chunk(k, 1).inputs, batches.chunk(k, 1).inputs[[b]])
            np.testing.assert_array_equal(alone.chunk(k, 1).targets, batches.chunk(k, 1).targets[[b]])
        np.testing.assert_allclose([state[b] for state in states[:windows]], np.concatenate(state), atol=1e-6)
    np.testing.assert_allclose(costs, sums / 3, rtol=1e-6)


def test_each_series_is_normalised_by_itself_or_all_are_together(tmp_path):
    walks, lines = shops((40, 20))
    settings = {"series": "shop", "held_out": 0.25, "horizon": 2, "input": ["b", "a"]}
    own = batches_of(tmp_path, lines, normalise="series", **settings)
    known = [walk[: -10 if len(walk) == 40 else -5, [1, 0]] for walk in walks.values()]  # what is no held-out target
    table = own.unit_table()
    assert table["series"].tolist() == ["shop 0", "shop 1"]
    for i, part in enumerate(known):
        np.testing.assert_allclose(table["inputs"][i], [part.mean(axis=0), part.std(axis=0)], rtol=1e-12)
        np.testing.assert_allclose(table["targets"][i], table["inputs"][i])
    rows = own.chunk(0, own.epoch)
    n, series = rows.x.astype(int), (rows.x >= 40).astype(int)
    every = np.concatenate([walk[:, [1, 0]] for walk in walks.values()])
    for b in np.argwhere(rows.weights):
        mean, stddev = table["targets"][series[tuple(b)]]
        np.testing.assert_allclose(rows.targets[tuple(b)], (every[n[tuple(b)]] - mean) / stddev, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            rows.inputs[tuple(b)], (every[n[tuple(b)] - 2] - mean) / stddev, rtol=1e-4, atol=1e-6
        )
    assert own.units is None
    for i, curve in enumerate(own.unseen(1, 50)):
        np.testing.assert_array_equal(curve.units, table["targets"][i])
        np.testing.assert_allclose(curve.in_units(curve.targets), every[curve.x.astype(int)], atol=1e-5)
    together, whole = batches_of(tmp_path, lines, **settings), np.concatenate(known)
    np.testing.assert_allclose(together.units[0], [whole.mean(axis=0), whole.std(axis=0)], rtol=1e-12)
    assert together.unit_table()["series"].tolist() == [""]


def test_what_is_masked_written_down(tmp_path):
    """Mean 3 and deviation 2 of what is there; the targets are one sample later."""
    lines = ["a,b", "1,?", "?,2", "5,4", "1,?", "?,2", "5,4", "1,2", "5,4", *["9,9"] * 7]
    settings = {
        "missing": "mask",
        "missing_values": ["?"],
        "batch_size": 1,
        "time_steps": 7,
        "held_out": 0.46,
        "input": ["a", "b"],
    }
    batches = batches_of(tmp_path, lines, target="a", **settings)
    np.testing.assert_allclose(batches.units[0], [[3, 3, 0, 0], [2, 1, 1, 1]])
    rows = batches.chunk(0, 1)
    np.testing.assert_array_equal(rows.inputs[0].T, [
        [-1, 0, 1, -1, 0, 1, -1],
        [0, -1, 1, 0, -1, 1, -1],
        [0, 1, 0, 0, 1, 0, 0],
        [1, 0, 0, 1, 0, 0, 0],
    ])  # fmt: skip
    np.testing.assert_array_equal(rows.targets[0, :, 0], [0, 1, -1, 0, 1, -1, 1])
    np.testing.assert_array_equal(rows.weights[0], [0, 1, 1, 0, 1, 1, 1])
    both = batches_of(tmp_path, lines, **settings).chunk(0, 1)  # all targets of a step, or it does not count
    np.testing.assert_array_equal(both.weights[0], [0, 1, 0, 0, 1, 1, 1])
    assert not both.targets[0, [0, 2, 3]].any()


def test_a_line_that_has_no_end_stays_masked(tmp_path):
    """A series without any value of a column, interpolated: its mean as an input, and no target that counts."""
    lines = ["s,a,b", *(f"x,{i},{i * i}" for i in range(20)), *(f"y,{i},?" for i in range(20))]
    settings = {"series": "s", "missing": "interpolate", "missing_values": ["?"], "input": ["a", "b"], "held_out": 0.2}
    rows = batches_of(tmp_path, lines, target="a", **settings).chunk(0, 1)
    assert (rows.inputs[1, :, 1] == 0).all()
    assert rows.weights.all()
    assert not batches_of(tmp_path, lines, target="b", **settings).chunk(0, 1).weights[1].any()


def test_what_is_constant_in_one_series_is_normalised_as_in_all(tmp_path):
    """The size of a shop, and a shop that sells nothing."""
    size, sales = {"x": 100, "y": 300, "z": 300}, {"x": [1, 2, 3, 4, 9], "y": [5, 7, 9, 7, 9], "z": [0] * 5}
    lines = ["s,size,sales", *(f"{s},{size[s]},{sold}" for s in "xyz" for sold in sales[s])]
    settings = {"series": "s", "normalise": "series", "input": ["sales", "size"], "target": "sales", "horizon": None}
    table = batches_of(tmp_path, lines, held_out=0.2, **settings).unit_table()
    sizes = np.repeat([100, 300, 300], 4)
    np.testing.assert_allclose(table["inputs"][..., 1], [[sizes.mean(), sizes.std()]] * 3)
    known = [values[:4] for values in sales.values()]
    expected = [[np.mean(values), np.std(values)] for values in (*known[:2], known)]
    np.testing.assert_allclose(table["targets"][..., 0], expected)


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        ("x,1 y,2 x,1 y,2", {"horizon": 5}, "4: with 1 held out none has a target, 5 samples later, to train on"),
        ("x,1 x,1 y,1 y,1 y,1", {"normalise": "series"}, r"column 'a': is 1 in all 3 samples to train on"),
        ("x,1 x,2 x,? y,1 y,2 y,?", {"horizon": 2}, "6: with 2 held out none has a target, 2 samples"),
    ],
)  # fmt: skip
def test_series_that_do_not_serve_are_refused(text, settings, said, tmp_path):
    usual = {"series": "s", "missing": "mask", "missing_values": ["?"]}
    with pytest.raises(ConfigError, match=said):
        batches_of(tmp_path, ["s,a", *text.split()], **usual | settings)


def test_a_target_of_which_nothing_is_known_where_it_is_judged_is_refused(tmp_path):
    for known, said in (
        (range(80), "none has a target to evaluate"),
        ([*range(70), 90], "none has a target to validate"),
    ):
        lines = ["a,b", *(f"{i},{i if i in known else ''}" for i in range(100))]
        with pytest.raises(ConfigError, match=said):
            batches_of(tmp_path, lines, target="b", horizon=None, missing="mask", validation=0.1)


def test_stretches_too_short_to_be_evaluated_are_refused(tmp_path):
    days = [*range(20), 22, 24, 26, 28]
    lines = ["day,a", *(f"{np.datetime64('2024-01-01') + day},{day}" for day in days)]
    settings = {"time": "day", "gaps": "reset", "horizon": 1}
    for held_out, validation, said in ((0.1, 0, "3 held out none has a target to evaluate"), (0.04, 0.1, "evaluate")):
        with pytest.raises(ConfigError, match=said):
            batches_of(tmp_path, lines, held_out=held_out, validation=validation, **settings)
    batches_of(tmp_path, lines, held_out=0.3, **settings)


KINDS = {
    "one series": {},
    "several": {"series": "s"},
    "gaps between": {"series": "s", "gaps": "reset"},
    "gaps filled": {"series": "s", "gaps": "fill", "missing": "mask"},
    "one with gaps": {"gaps": "reset", "missing": "mask"},
    "on a line": {"series": "s", "normalise": "series", "missing": "interpolate"},
}


def random_file(rng, kind):
    """Lines of several series in turn, of whatever lengths, with gaps and missing values where the kind has some."""
    settings, lines = KINDS[kind], []
    for s in range(int(rng.integers(1, 6)) if "series" in settings else 1):
        days = np.arange(int(rng.integers(2, 50)) + 60 * ("series" not in settings))
        if "gaps" in settings:
            days = np.delete(days, rng.integers(1, max(2, len(days) - 1), len(days) // 9))
        for day in days.tolist():
            value = "?" if "missing" in settings and rng.random() < 0.1 else f"{rng.normal():.6f}"
            lines.append((day, s, f"s{s},{np.datetime64('2024-01-01') + day},{value},{rng.normal():.6f}"))
    return ["s,day,a,b", *(line for *_, line in sorted(lines))]


def expected_of(batches, settings):
    """The targets' samples that are to be trained on, for validation and held out, by the rules of the pages alone."""
    trained, between, unseen = [], [], []
    for one in batches.samples.series:
        count = one.stop - one.first
        last = one.stop - math.ceil(settings["held_out"] * count)
        middle = last - math.ceil(settings["validation"] * count)
        for begin, end in one.stretches:
            targets = np.arange(begin + batches.horizon, end)
            trained += targets[targets < middle].tolist()
            between.append(targets[(targets >= middle) & (targets < last)].tolist())
            unseen.append(targets[targets >= last].tolist())
    return trained, between, unseen


def whole_windows(stretches, time_steps):
    """Of each stretch the samples of whole windows, or all if there is not one."""
    kept = [part[: max(1, len(part) // time_steps) * time_steps] for part in stretches]
    return [n for part in kept for n in part]


@pytest.mark.parametrize("kind", KINDS)
def test_all_samples_are_trained_on_once_and_none_of_them_is_validated_or_held_out(kind, tmp_path):
    rng, tried = np.random.default_rng(sum(map(ord, kind))), 0
    for i in range(25):
        lines = random_file(rng, kind)
        settings = {"time": "day", "horizon": int(rng.integers(1, 4)), "missing_values": ["?"], **KINDS[kind]}
        settings |= {"batch_size": int(rng.integers(1, 6)), "time_steps": int(rng.integers(1, 6))}
        settings |= {"held_out": 0.2, "validation": float(rng.choice([0, 0.1])), "input": ["a", "b"], "target": "a"}
        try:
            batches = batches_of(tmp_path, lines, f"{i}.csv", **settings)
        except ConfigError:  # too few samples, or a constant
            continue
        tried += 1
        trained, between, unseen = expected_of(batches, settings)
        values, rows = batches.samples.values[:, 0], batches.chunk(0, batches.epoch)
        missing = np.isnan(values)
        counts = rows.weights > 0 if rows.weights is not None else np.ones(rows.x.shape, bool)
        found = rows.x[counts].astype(int).tolist()
        if len(batches.samples.series) == 1 and len(batches.samples.series[0].stretches) == 1:
            trained = trained[len(trained) % (batches.batch_size * batches.time_steps) :]  # the oldest fill no batch
        assert sorted(found) == [n for n in trained if not missing[n]]
        for curves, parts in ((batches.validation(), between), (batches.unseen(1, 1000), unseen)):
            known = [n for one in curves for n in one.x[one.first :][known_in(one)[one.first :]].astype(int)]
            assert known == [n for n in whole_windows(parts, batches.time_steps) if not missing[n]]
            assert not set(known) & set(found)
            before = [n for one in curves for n in one.x[: one.trained].astype(int)]
            assert set(before) <= set(trained) | set(range(len(values))) - set(itertools.chain(*between, *unseen))
            for one in curves:
                n = one.x.astype(int)[known_in(one)]
                np.testing.assert_allclose(one.in_units(one.targets)[known_in(one), 0], values[n], atol=1e-5)
    assert tried > 12
