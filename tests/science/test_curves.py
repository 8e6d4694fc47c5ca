import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lstm_lab import config
from lstm_lab.science.curves import CURVES, SIGNALS, Batches, angular_velocity, tumbling_body
from test_config import composed

SPACING = 1 / (10 * math.pi)
TUMBLING = {"moments": [1.0, 2.0, 2.5], "spin": 1.3, "nudge": 0.02, "lead": 5.0}
NOISY = {"amplitudes": [0.6, 0.3], "frequencies": [1.0, 2.3], "noise_stddev": 0.05, "noise_seed": 7}


def tutorial_batches(**changes) -> Batches:
    return Batches(
        **{"curve": "sine_to_cosine", "batch_size": 50, "time_steps": 20, "sample_spacing": SPACING, **changes}
    )


def test_batch_is_the_tutorials_formula():
    # the tutorial: xs = np.arange(start, start + 20 * 50).reshape((50, 20)) / (10 * np.pi), start advancing by 20
    k = 7
    x = np.arange(20 * k, 20 * k + 20 * 50).reshape(50, 20) / (10 * np.pi)
    rows = tutorial_batches().rows(k, 50)
    np.testing.assert_allclose(rows.x, x, rtol=1e-15)
    np.testing.assert_array_equal(rows.inputs[..., 0], np.sin(rows.x).astype(np.float32))
    np.testing.assert_array_equal(rows.targets[..., 0], np.cos(rows.x).astype(np.float32))
    assert rows.inputs.shape == rows.targets.shape == (50, 20, 1)


def test_each_row_goes_on_where_the_batch_before_ended():
    batches = tutorial_batches()
    before, after = batches.rows(3, 50), batches.rows(4, 50)
    np.testing.assert_allclose(after.x[:, 0] - before.x[:, -1], SPACING, rtol=1e-9)


PARAMETERS = {
    "sine_to_cosine": {},
    "noisy_sines_to_derivative": NOISY,
    "delayed_recall": {"delay": 5, "noise_seed": 7},
    "tumbling_body": TUMBLING,
}


@pytest.mark.parametrize("curve", PARAMETERS)
def test_batches_of_a_chunk_are_windows_of_its_rows(curve):
    batches = tutorial_batches(curve=curve, **PARAMETERS[curve])
    chunk = batches.rows(200, 50 + 12)  # its samples cross a block of the noise
    for k in range(13):
        batch = batches.rows(200 + k, 50)
        np.testing.assert_array_equal(chunk.inputs[k : k + 50], batch.inputs)
        np.testing.assert_array_equal(chunk.targets[k : k + 50], batch.targets)


def test_x_is_exact_after_a_million_steps():
    batch = tutorial_batches().rows(10**6, 50)
    exact = [Fraction(SPACING) * n for n in range(20 * 10**6, 20 * 10**6 + 1000)]
    assert max(abs(Fraction(x) - e) for x, e in zip(batch.x.ravel(), exact, strict=True)) < 1e-9


def test_the_noisy_curves_target_is_the_derivative_of_its_clean_input():
    batches = tutorial_batches(curve="noisy_sines_to_derivative", sample_spacing=1e-3, **NOISY | {"noise_stddev": 0.0})
    rows = batches.rows(0, 50)
    n = np.arange(1000)
    clean, derivative = batches.curve(n, n * 1e-3, **batches.parameters)
    np.testing.assert_allclose(np.gradient(clean, 1e-3)[1:-1], derivative[1:-1], atol=1e-5)
    np.testing.assert_array_equal(rows.targets.ravel(), derivative.astype(np.float32))


def test_noise_has_the_stated_spread_and_its_seed_decides_it():
    noisy, clean, other = (
        tutorial_batches(curve="noisy_sines_to_derivative", **NOISY | change).rows(0, 1000).inputs.ravel()
        for change in ({}, {"noise_stddev": 0.0}, {"noise_seed": 8})
    )
    noise = noisy - clean
    assert abs(noise.std() - 0.05) < 0.001
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.03
    assert abs(np.corrcoef(noise, other - clean)[0, 1]) < 0.03


def test_digest_tells_data_apart():
    digests = {
        tutorial_batches(**change).digest(steps)
        for change in ({}, {"time_steps": 10, "batch_size": 100}, {"sample_spacing": 0.03})
        for steps in (200, 201)
    }
    assert len(digests) == 6
    assert tutorial_batches().digest(200) == tutorial_batches().digest(200)


def test_delayed_recalls_target_is_its_input_some_samples_ago():
    rows = tutorial_batches(curve="delayed_recall", delay=5, noise_seed=7).rows(200, 50)  # crosses a block of the noise
    inputs, targets = rows.inputs.ravel(), rows.targets.ravel()
    np.testing.assert_array_equal(targets[5:], inputs[:-5])
    assert abs(inputs.mean()) < 0.15
    assert 0.85 < inputs.std() < 1.15
    correlation = np.correlate(inputs, inputs, "full")[len(inputs) : len(inputs) + 8] / len(inputs)
    assert np.abs(correlation).max() < 0.15


def test_a_tumbling_body_obeys_eulers_equations():
    moments, spin, nudge = np.array(TUMBLING["moments"]), TUMBLING["spin"], TUMBLING["nudge"]

    def acceleration(t, w):
        return (np.roll(moments, -1) - np.roll(moments, -2)) * np.roll(w, -1) * np.roll(w, -2) / moments

    t = np.linspace(0, 60, 301)
    turning = angular_velocity(t, moments, spin, nudge)
    solved = solve_ivp(acceleration, (0, 60), [0, spin, nudge], "DOP853", t, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(turning, solved.y.T, atol=1e-8)
    assert turning[:, 1].min() < -0.999 * spin  # it did turn over
    energy, momentum = (moments * turning**2).sum(axis=1), ((moments * turning) ** 2).sum(axis=1)
    assert np.ptp(energy) < 1e-12 * energy[0]
    assert np.ptp(momentum) < 1e-12 * momentum[0]


def test_a_tumbling_bodys_target_is_its_input_later():
    n = np.arange(1000)
    _, later = tumbling_body(n, 0.2 * n, **TUMBLING)
    sooner, _ = tumbling_body(n, 0.2 * n + TUMBLING["lead"], **TUMBLING)
    np.testing.assert_array_equal(later, sooner)


@pytest.mark.parametrize("curve", CURVES)
def test_a_curve_has_as_many_signals_as_its_config_and_its_names_say(curve):
    data = config.check(composed(f"data={curve}")).data
    batches = Batches(**data.model_dump())
    assert (batches.input_size, batches.output_size) == data.sizes
    assert len(SIGNALS.get(curve, [""])) == batches.output_size
