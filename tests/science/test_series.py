"""Series of one's own: what is read, what is refused, and how batches are cut from it."""

import contextlib
import csv
import hashlib
import os
import re

import keras
import numpy as np
import pytest
from mlflow import MlflowClient

from helpers import copy_project, csv_settings, train
from lstm_lab.config import ConfigError
from lstm_lab.records.tagging import tags_of
from lstm_lab.science.backtest import roll_out
from lstm_lab.science.evaluation import compile_prediction, evaluate
from lstm_lab.science.model import build_model, with_units, zero_state
from lstm_lab.science.series import SeriesBatches
from lstm_lab.science.training import ChunkOptions, Program, build_optimizer
from lstm_lab.science.training import train as train_steps
from lstm_lab.science.validation import in_rows, validate

SAMPLES = 103


def write_csv(path, samples=SAMPLES, lines=None):
    """Columns 'a', 'b' and 'name'; b is a quarter of a period ahead of a."""
    n = np.arange(samples)
    rows = [f"{np.sin(i / 5) * 3 + 10},{np.cos(i / 5) * 100},sample {i}" for i in n]
    for at, line in (lines or {}).items():
        rows[at] = line
    path.write_text("\n".join(["a,b,name", *rows]) + "\n")
    return path


def batches_of(path, **changes):
    settings = {"input": "a", "target": "b", "batch_size": 3, "time_steps": 4, "validation": 0.0}
    return SeriesBatches(path, csv_settings(**settings | changes))


@pytest.fixture
def file(tmp_path):
    return write_csv(tmp_path / "my.csv")


def columns(path):
    with open(path) as text:
        rows = list(csv.DictReader(text))
    return {name: np.array([float(row[name]) for row in rows]) for name in ("a", "b")}


def test_each_row_goes_on_where_it_was_until_the_streams_are_used_up(file):
    batches = batches_of(file)
    # 103 samples, 21 of them held out: 82 are 6 steps of 3 x 4 and 10 left over, the oldest
    chunk = batches.chunk(0, 14)
    x = chunk.x.reshape(14, 3, 4)
    np.testing.assert_array_equal(x[0], [[10, 11, 12, 13], [34, 35, 36, 37], [58, 59, 60, 61]])
    np.testing.assert_array_equal(x[5, -1], [78, 79, 80, 81])
    for k in range(14):
        np.testing.assert_array_equal(batches.chunk(k, 1).x, x[k])
        if k % 6:
            np.testing.assert_array_equal(x[k][:, 0], x[k - 1][:, -1] + 1)
        else:
            np.testing.assert_array_equal(x[k], x[0])
    np.testing.assert_array_equal(chunk.starts_over, [[k % 6 == 0] * 3 for k in range(14)])
    assert chunk.weights is None
    assert sorted(x[:6].ravel()) == list(range(10, 82))


def test_numbers_are_normalised_by_the_samples_to_train_on_alone(file):
    values, batches = columns(file), batches_of(file)
    known = {name: v[:82] for name, v in values.items()}
    chunk = batches.chunk(0, 6)
    for found, name in ((chunk.inputs, "a"), (chunk.targets, "b")):
        expected = (values[name][chunk.x.astype(int)] - known[name].mean()) / known[name].std()
        np.testing.assert_allclose(found[..., 0], expected, rtol=1e-6)
    np.testing.assert_allclose(batches.units, [[[v.mean()], [v.std()]] for v in known.values()])


def test_with_a_horizon_the_target_is_the_input_later_and_no_held_out_value_is_trained_on(file):
    values, batches = columns(file)["a"], batches_of(file, target=None, horizon=5)
    chunk, (mean, stddev) = batches.chunk(0, batches.epoch), batches.units[0]
    row = chunk.x.astype(int)  # of the target
    np.testing.assert_allclose(chunk.targets[..., 0] * stddev + mean, values[row], rtol=1e-6)
    np.testing.assert_allclose(chunk.inputs[..., 0] * stddev + mean, values[row - 5], rtol=1e-6)
    assert row.max() == 81
    [unseen] = batches.unseen(1000, windows=50)
    assert list(unseen.x[unseen.first :]) == list(range(82, 102))  # the five windows of four that are whole
    np.testing.assert_allclose(unseen.targets[:, 0] * stddev + mean, values[unseen.x.astype(int)], rtol=1e-6)


@pytest.mark.parametrize("horizon", [None, 5])
def test_the_samples_for_validation_stand_between_those_trained_on_and_those_held_out(file, horizon):
    batches = batches_of(file, target=None if horizon else "b", horizon=horizon, validation=0.1)
    # 103 samples: the last 21 are held out, 11 before them are for validation
    chunk, [between], [after] = batches.chunk(0, 30), batches.validation(), batches.unseen(30, 5)
    assert chunk.x.max() == 103 - 21 - 11 - 1
    np.testing.assert_array_equal(between.x[between.first :], range(71, 71 + 8))  # whole windows of 4
    np.testing.assert_array_equal(after.x[after.first :], range(82, 82 + 20))
    assert between.x[between.trained - 1] == after.x[after.trained - 1] == 70
    values = columns(file)["a" if horizon else "b"]
    normal = (values - values[:71].mean()) / values[:71].std()
    np.testing.assert_allclose(between.targets[:, 0], normal[between.x.astype(int)], atol=1e-6)
    assert batches_of(file).validation() == []


def test_the_validation_error_is_that_of_a_prediction_made_sample_by_sample(file):
    batches, model = batches_of(file, validation=0.1), build_model("gru", 3, hidden_stddev=1, hidden_bias=0, seed=0)
    [curve] = batches.validation()
    predict, errors = compile_prediction(model), []
    for carry_state in (True, False):
        state = zero_state(model, 1)
        for i, x in enumerate(curve.inputs):
            if not carry_state and (i - curve.first) % 4 == 0:
                state = zero_state(model, 1)
            prediction, state = predict(x.reshape(1, 1, 1), state)
            errors.append(prediction.item() - curve.targets[i, 0])
        mse = np.mean(np.square(errors[-8:])) * columns(file)["b"][:71].std() ** 2
        rows = in_rows([curve], time_steps=4, carry_state=carry_state)
        assert validate(model, rows) == pytest.approx(mse, rel=1e-5)


def test_training_carries_the_state_within_an_epoch_and_starts_over_after_it(file):
    """With weights that do not change, the state after k steps is that of each stream gone through by hand."""
    batches = batches_of(file)
    model = build_model("gru", 3, hidden_stddev=1.0, hidden_bias=0.1, seed=0)
    for level in (False, True):
        program = Program(
            model,
            build_optimizer("sgd", learning_rate=0.0),
            ChunkOptions(3, carry_state=True, jit_compile=level, stride=3),
        )
        for steps, first in ((5, 0), (6, 0), (8, 6), (13, 12)):
            *_, last = train_steps(program.chunk, batches, zero_state(model, 3), steps=steps, chunk_steps=4)
            streams = np.concatenate([batches.chunk(k, 1).inputs for k in range(first, steps)], axis=1)
            expected = model([streams, *zero_state(model, 3)])
            np.testing.assert_allclose(last.state[0], expected[1], atol=1e-6)
            np.testing.assert_allclose(last.prediction, expected[0][:, -4:], atol=1e-6)


def test_the_held_out_samples_are_predicted_after_those_before_them_and_rolled_out_by_hand(file):
    batches = batches_of(file, target=None, horizon=3)
    model = build_model("simple_rnn", 4, hidden_stddev=1.0, hidden_bias=0.1, seed=0)
    [unseen] = batches.unseen(10, windows=50)
    found = evaluate(model, [unseen], None, time_steps=4, carry_state=True)
    values, (mean, stddev) = columns(file)["a"], batches.units[0]
    assert (unseen.first, unseen.trained) == (79, 79)  # all that was trained on goes before
    x = ((values[:99] - mean) / stddev).astype(np.float32)
    whole = np.asarray(model([x.reshape(1, -1, 1), *zero_state(model, 1)])[0]).ravel()
    np.testing.assert_allclose(found.prediction[:, 0], mean + stddev * whole[79:], rtol=1e-5)
    np.testing.assert_allclose(
        found.metrics["persistence_mse"], ((values[79:99] - values[82:102]) ** 2).mean(), rtol=1e-5
    )
    fed = x[:82]  # what is known at the border: every sample that is not held out
    while len(fed) < 82 + 20:
        predicted = np.asarray(model([fed.reshape(1, -1, 1), *zero_state(model, 1)])[0]).ravel()
        fed = np.append(fed, predicted[len(fed) - 3])  # the input three samples after the one that it was made from
    np.testing.assert_allclose(found.rolled_out[:, 0], mean + stddev * fed[82:], rtol=1e-4)
    assert found.metrics["rollout_persistence_mse"] == pytest.approx(
        ((values[81] - values[82:102]) ** 2).mean(), rel=1e-5
    )


def test_without_carry_a_rollout_starts_over_with_every_window():
    model = build_model("gru", 3, hidden_stddev=1.0, hidden_bias=0.1, seed=0)
    predict, state = compile_prediction(model), zero_state(model, 1)
    found = roll_out(predict, np.array([[[0.5]]]), state, 6, [0], reset_every=3)
    again = roll_out(predict, found[:, 2:3], state, 3, [0])
    np.testing.assert_allclose(found[:, 3:], again, atol=1e-6)


def test_the_model_is_kept_for_numbers_in_their_own_units(tmp_path):
    model = build_model("lstm", 3, hidden_stddev=1.0, hidden_bias=0.1, seed=0, forget_bias=1.0)
    kept = with_units(model, np.array([[300.0], [20.0]]), np.array([[-5.0], [0.5]]))
    kept.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    x = np.random.default_rng(0).normal(size=(2, 7, 1)).astype(np.float32)
    state = [np.full((2, 3), 0.3, np.float32), np.full((2, 3), -0.2, np.float32)]
    expected, found = model([x, *state]), loaded([300 + 20 * x, *state])
    np.testing.assert_allclose(found[0], -5 + 0.5 * expected[0], atol=1e-4)
    for one, other in zip(expected[1:], found[1:], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert [tensor.name for tensor in loaded.inputs] == [tensor.name for tensor in model.inputs]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 30}, "103: with 21 held out 82 are left to train on, a batch of 30 x 4 needs 120"),
        ({"target": None, "horizon": 75}, "with 21 held out 7 are left to train on, a batch of 3 x 4 needs 12"),
        ({"target": None, "horizon": 500}, "with 21 held out 0 are left to train on"),
        ({"held_out": 0.01}, "with 2 held out these make no window of 4 to evaluate"),
        ({"validation": 0.02}, "with 21 held out and 3 for validation these make no window of 4 to validate"),
    ],
)  # fmt: skip
def test_too_few_samples_are_refused_with_what_is_needed(changes, said, file):
    with pytest.raises(ConfigError, match=re.escape(said)):
        batches_of(file, **changes)


def test_a_constant_column_is_refused_also_where_only_the_held_out_part_varies(tmp_path):
    path = tmp_path / "my.csv"
    path.write_text("a,b\n" + "".join(f"{i},{0.1 if i < 90 else i}\n" for i in range(100)))
    with pytest.raises(ConfigError, match=r"column 'b': is 0\.1 in all 80 samples to train on"):
        batches_of(path)


@pytest.mark.parametrize(
    ("level", "size", "said"),
    [
        (1e15, 1e-3, r"is 1e\+15 in all 80 samples to train on, to the 15 digits that are read; from a constant"),
        (1e15, 0.3, r"is 1e\+15 in all .* but for .* of 0\.2, .* read in steps of 0\.12; subtract a constant"),
        (-1e12, 0.02, r"is -1e\+12 in all .* read in steps of 0\.00012; subtract a constant"),
        (0.0, 1e-100, r"its standard deviation is below 1e-100; multiply it by a constant"),
        (0.0, 1e-300, r"its standard deviation is below 1e-100; multiply it by a constant"),
    ],
)
def test_a_column_whose_wave_float64_does_not_hold_is_refused_with_what_to_do(level, size, said, tmp_path):
    path, wave = tmp_path / "my.csv", level + size * np.sin(np.arange(100) / 5)
    path.write_text("a\n" + "".join(f"{v!r}\n" for v in wave.tolist()))
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(path))}, column 'a': {said}"):
        batches_of(path, target=None, horizon=1)


def test_a_held_out_number_that_no_float32_could_tell_is_refused(tmp_path):
    values = 1e-21 * np.sin(np.arange(100) / 5)
    values[90] = -9.97e36
    (tmp_path / "my.csv").write_text("a\n" + "".join(f"{v!r}\n" for v in values.tolist()))
    with pytest.raises(ConfigError, match=r"column 'a': -9\.97e\+36 is held out, .* if it stands for a missing value"):
        batches_of(tmp_path / "my.csv", target=None, horizon=1)


@pytest.mark.parametrize("wave", [np.sin(np.arange(100) / 5), np.arange(100) % 7 == 0.0], ids=["wave", "spikes"])
def test_a_number_to_train_on_that_hides_all_others_is_refused(wave, tmp_path):
    for far, refused, unit in ((1e20, wave.dtype == float, 1e-80), (1e4, False, 1e-80), (1e4, False, 1e80)):
        values = unit * np.where(np.arange(100) == 30, far, wave)
        (tmp_path / "my.csv").write_text("a\n" + "".join(f"{v!r}\n" for v in values.tolist()))
        said = r"column 'a': half of the samples .* and 1e-60 is among the others.* take it out"
        with pytest.raises(ConfigError, match=said) if refused else contextlib.nullcontext():
            batches_of(tmp_path / "my.csv", target=None, horizon=1)


def test_a_large_file_is_not_held_in_memory(tmp_path):
    import tracemalloc

    path = tmp_path / "large.csv"
    path.write_text("a,b\n" + "".join(f"{i % 977}.25,{i % 31}\n" for i in range(1000)) * 900)
    batches_of(write_csv(tmp_path / "small.csv"))  # imports PyArrow
    tracemalloc.start()
    batches = batches_of(path, time_steps=40)
    batches.chunk(10**6, 10)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(batches.samples.values) == 900_000
    assert most < 11_000_000  # the two columns alone are 14.4 MB


WORDS = ("data=csv", "data.path=my.csv", "data.input=a", "data.target=b", "data.batch_size=3", "data.time_steps=4")


@pytest.mark.parametrize("words", [(), ("-m", "training.seed=1,2")], ids=["run", "sweep"])
def test_a_faulty_file_gets_one_message_and_leaves_nothing(words, checkout, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_csv(elsewhere / "my.csv", lines={7: "1,,x"})
    done = train(checkout, *words, *WORDS, cwd=elsewhere, env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"})
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert said == [
        f"{elsewhere}/my.csv, line 9, column 'b': is empty; every sample needs a number; "
        "data.missing=interpolate or data.missing=mask goes on without"
    ]
    assert done.returncode == 2
    assert not re.search(r"\| +(tensorflow|keras|mlflow)$", done.stderr, flags=re.M)
    assert sorted(path.name for path in checkout.iterdir()) == sorted([".git", ".gitignore", "conf", "src", "sweeps"])
    assert [path.name for path in elsewhere.iterdir()] == ["my.csv"]


def test_a_run_on_a_file_is_found_resumed_and_reproduced_and_another_file_is_not_mistaken_for_it(tmp_path):
    import subprocess
    import sys

    checkout, elsewhere = copy_project(tmp_path / "checkout"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    file = write_csv(elsewhere / "my.csv")
    done = train(checkout, *WORDS, "training.steps=20", "tracking.animation=false", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{checkout}/mlflow.db")
    [run] = client.search_runs([client.get_experiment_by_name("my").experiment_id])
    assert run.data.params["data.path"] == str(file)
    assert tags_of(run)["data.file.sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert run.data.metrics["baselines/persistence_mse"] > 1000  # in the target's units: 10 +- 3 against +-100
    whole = train(checkout, *WORDS, "training.steps=30", "tracking.experiment=whole", cwd=elsewhere)
    assert whole.returncode == 0, whole.stderr

    moved = file.rename(elsewhere / "moved.csv")
    resumed = train(checkout, f"resume={run.info.run_id}", "training.steps=30", "data.path=moved.csv", cwd=elsewhere)
    assert resumed.returncode == 0, resumed.stderr
    assert "at step 20 of 30" in resumed.stdout
    [whole_run] = client.search_runs([client.get_experiment_by_name("whole").experiment_id])
    again = client.get_run(run.info.run_id)
    for tag in ("cost.sha256", "final_weights.sha256"):
        assert tags_of(again)[tag] == tags_of(whole_run)[tag]
    assert again.data.metrics["evaluation/mse"] == whole_run.data.metrics["evaluation/mse"]
    assert again.data.params["data.path"] == str(file)
    assert again.data.tags["changed.data.path"] == str(moved)

    words = [sys.executable, str(checkout / "src/reproduce.py"), f"run={run.info.run_id}"]
    moved.rename(file)
    same = subprocess.run([*words, "data.path=my.csv"], capture_output=True, text=True, cwd=elsewhere)
    assert same.returncode == 0, same.stdout + same.stderr
    assert "nothing differs" in same.stdout
    file.rename(moved)

    moved.write_text(moved.read_text().replace("sample 3", "sample three"))
    refused = train(checkout, f"resume={run.info.run_id}", "training.steps=40")
    assert refused.returncode == 2
    assert "moved.csv is not the file that the run began with: its SHA-256 was" in refused.stderr
    assert refused.stderr.endswith("if the run's own file is elsewhere, add data.path=FILE\n")
    flagged = subprocess.run(words, capture_output=True, text=True)
    assert flagged.returncode == 1
    assert f"the file {moved}: its SHA-256 was" in flagged.stdout
    assert "the data are not the same" in flagged.stdout
    moved.unlink()
    gone = subprocess.run(words, capture_output=True, text=True)
    assert gone.returncode == 2
    assert gone.stderr == (
        f"data.path={moved}: there is no such file; the run's own has the SHA-256 {tags_of(run)['data.file.sha256']}: "
        "if the run's own file is elsewhere, add data.path=FILE\n"
    )


@pytest.mark.parametrize("name", ["sunspots", "co2"])
def test_the_shipped_series_are_learnt_better_than_persistence(name, checkout):
    done = train(checkout, f"experiment={name}", "training.seed=100", "training.level=fast")
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{checkout}/mlflow.db")
    [run] = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    metrics = run.data.metrics
    assert metrics["evaluation/mse"] < 0.7 * metrics["baselines/persistence_mse"]
    assert metrics["evaluation/mse"] < 0.2 * metrics["baselines/predict_zero_mse"]
    assert run.data.params["data.path"] == f"conf/data/series/{name}.csv"
