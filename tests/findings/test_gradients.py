import numpy as np

from lstm_lab.findings import gradients


def powers(*bases):
    return np.array([[base**n for n in range(gradients.BACK)] for base in bases])


def test_a_norm_that_shrinks_evenly_has_that_factor_over_any_stretch():
    for ends in ((1, 4), (4, gradients.BACK), (1, gradients.BACK)):
        np.testing.assert_allclose(gradients.factors(powers(0.9, 1.1), *ends), [0.9, 1.1], rtol=1e-12)


def test_fading_less_takes_more_than_chance():
    trained, untrained = powers(*np.linspace(0.9, 1, 8)), powers(*np.linspace(0.5, 0.6, 8))
    assert gradients.fades_less(trained, untrained, 8)
    assert not gradients.fades_less(untrained, trained, 8)
    assert not gradients.fades_less(trained[:3], untrained[:3], 8)  # of three runs, p is at least 0.25
