"""Scales of single integrations, with drifts that were put in."""

import numpy as np
import pytest

from soss_photcal_steps.background.integrations import integration_scaler

SHAPE = (64, 400)


def scene(seed=0):
    """Make a background of two flat sides and a star."""
    rng = np.random.default_rng(seed)
    right = np.zeros(SHAPE, np.float32)
    right[:, 200:] = 4.0
    left = np.full(SHAPE, 3.0, np.float32) * (right == 0)
    row = np.arange(SHAPE[0])[:, None]
    star = (200 * np.exp(-0.5 * ((row - 20) / 3) ** 2) + 20 / (1 + abs(row - 20))) * np.ones(SHAPE)
    sky = np.broadcast_to(abs(row - 20) > 12, SHAPE)
    core = np.broadcast_to(abs(row - 20) < 6, SHAPE)
    return rng, left, right, star.astype(np.float32), sky, core


def scaler(left, right, star, sky, core, sigma=0.5):
    """Prepare the scaler for a noise of `sigma`."""
    variance = np.full(SHAPE, sigma**2, np.float32)
    return integration_scaler(left + right + star, sky, left, right, variance, core)


@pytest.mark.parametrize("drift", [(1.0, 1.0), (1.02, 0.97), (0.7, 1.4)])
def test_drift_comes_back(drift):
    """Changes of background and star together come back to a hundredth of the change."""
    _, left, right, star, sky, core = scene()
    frame = drift[0] * left + drift[1] * right + 1.03 * star
    # A change of the background under the trace itself is taken for one of the star.
    factor, error = scaler(left, right, star, sky, core).factors(frame, np.zeros(SHAPE, bool))
    tolerance = 1e-5 + 0.01 * np.abs(np.array(drift) - 1).max()
    assert np.abs(factor - drift).max() < tolerance
    assert (error > 0).all()


def test_errors_are_those_of_the_scatter():
    """Over noisy integrations the factors scatter by their errors and are not biased."""
    rng, left, right, star, sky, core = scene(1)
    s = scaler(left, right, star, sky, core)
    values, errors = [], []
    for _ in range(150):
        frame = 1.01 * left + 0.99 * right + star + rng.normal(0, 0.5, SHAPE).astype(np.float32)
        factor, error = s.factors(frame, np.zeros(SHAPE, bool))
        values.append(factor)
        errors.append(error)
    error = np.mean(errors, axis=0)
    np.testing.assert_allclose(np.std(values, axis=0) / error, 1, atol=0.2)
    assert (np.abs(np.mean(values, axis=0) - [1.01, 0.99]) < 5 * error / np.sqrt(150) + 5e-4).all()


def test_cosmic_rays_and_bad_pixels_are_left_out():
    """NaN, flags and a thousandth of cosmic rays change the factors by less than 0.2 per cent."""
    rng, left, right, star, sky, core = scene(2)
    frame = left + right + star
    frame[rng.random(SHAPE) < 0.001] += 1000
    frame[rng.random(SHAPE) < 0.01] = np.nan
    bad = rng.random(SHAPE) < 0.01
    frame[bad] = 1e7
    before = frame.copy()
    factor, _ = scaler(left, right, star, sky, core).factors(frame, bad)
    np.testing.assert_allclose(factor, 1, atol=2e-3)
    np.testing.assert_array_equal(frame, before)


def test_side_without_pixels_is_not_a_number():
    """A side without a valid pixel gives NaN and leaves the other side exact."""
    _, left, right, star, sky, core = scene()
    frame = 1.1 * left + right + star
    frame[:, 200:] = np.nan
    factor, error = scaler(left, right, star, sky, core).factors(frame, np.zeros(SHAPE, bool))
    assert factor[0] == pytest.approx(1.1, abs=6e-3)
    assert np.isnan(factor[1])
    assert np.isnan(error[1])
    factor, _ = scaler(left, right, star, sky, core).factors(frame, np.ones(SHAPE, bool))
    assert np.isnan(factor).all()


def test_pixels_without_data_are_not_used():
    """NaN in the combined image, its variance or a variance of zero leave a pixel out."""
    _, left, right, star, sky, core = scene()
    image, variance = left + right + star, np.full(SHAPE, 0.25, np.float32)
    image[50, 10], variance[50, 11], variance[50, 12] = np.nan, np.nan, 0
    s = integration_scaler(image, sky, left, right, variance, core)
    assert len(s.pixels) == sky.sum() - 3
    factor, _ = s.factors(image, np.zeros(SHAPE, bool))
    np.testing.assert_allclose(factor, 1, atol=1e-6)
