"""Brightness of the traces, read off images whose light is known."""

import numpy as np
import pytest

from soss_photcal_steps.background.light import (
    FAR_SLOPE,
    FAR_STRENGTH,
    reference_wing,
    trace_light,
)

NY, NX = 256, 2048
COLUMNS = np.arange(NX)


def star(traces, light):
    """Make an image of Gaussian traces of known light per column."""
    image = np.zeros((NY, NX))
    for order, row in traces.items():
        away = np.arange(NY)[:, None] - row[None, :]
        image += light[order] * np.exp(-0.5 * (away / 4) ** 2) / (4 * np.sqrt(2 * np.pi))
    return image


def test_reference_wing_is_the_published_power_law():
    """Far out the wing is 1.75e-2 r^-1.1 to a per cent, it falls with distance, and is finite."""
    far = np.array([80.0, 200.0, 1000.0])
    np.testing.assert_allclose(reference_wing(far), FAR_STRENGTH * far**-FAR_SLOPE, rtol=0.01)
    assert (np.diff(reference_wing(np.arange(13.0, 500))) < 0).all()
    assert reference_wing(np.array([0.0])) == reference_wing(np.array([13.0]))


def test_light_of_a_single_trace():
    """The light of a single trace comes back to half a per cent, bad pixels or not."""
    traces = {1: 80 + 20 * np.sin(COLUMNS / 400)}
    light = {1: 1000 + 500 * np.cos(COLUMNS / 300)}
    image = star(traces, light)
    good = np.random.default_rng(0).random(image.shape) > 0.01
    image[~good] = np.nan
    (found,) = trace_light(image, good, np.arange(float(NY)), traces)
    assert found.order == 1
    assert found.measured.all()
    ratio = found.brightness / light[1]
    assert np.median(ratio) == pytest.approx(1, abs=5e-3)
    assert np.percentile(np.abs(ratio - 1), 95) < 0.02


def test_light_scales_with_the_image():
    """Twice the image gives twice the brightness of every order."""
    traces = {1: np.full(NX, 60.0), 2: 150 + 0.04 * COLUMNS}
    image = star(traces, {1: np.full(NX, 900.0), 2: np.full(NX, 300.0)})
    good, lines = np.ones(image.shape, bool), np.arange(float(NY))
    once = trace_light(image, good, lines, traces)
    twice = trace_light(2 * image, good, lines, traces)
    for one, two in zip(once, twice, strict=True):
        np.testing.assert_allclose(two.brightness, 2 * one.brightness, rtol=1e-9, atol=1e-9)


def test_light_outside_the_image_is_extrapolated():
    """Where a trace leaves the image it is not measured, and does not exceed its last value."""
    traces = {1: np.full(NX, 60.0), 4: 150 + 0.1 * COLUMNS}
    light = {1: np.full(NX, 900.0), 4: np.full(NX, 400.0)}
    image = star(traces, light)
    found = trace_light(image, np.ones(image.shape, bool), np.arange(float(NY)), traces)[1]
    gone = traces[4] > NY + 10
    assert not found.measured[gone].any()
    assert found.measured[traces[4] < NY - 20].all()
    assert (found.brightness[gone] <= 1.1 * 400).all()
    assert np.isfinite(found.brightness).all()


def test_unseen_order_gets_the_light_of_a_typical_star():
    """Order 2 wholly outside the image is scaled to order 1; without order 1 it is zero."""
    traces = {1: np.full(NX, 60.0), 2: np.full(NX, 400.0)}
    image = star({1: traces[1]}, {1: np.full(NX, 1000.0)})
    good, lines = np.ones(image.shape, bool), np.arange(float(NY))
    second = trace_light(image, good, lines, traces)[1]
    assert not second.measured.any()
    assert second.brightness[1500] == pytest.approx(706, rel=0.02)
    nothing = trace_light(image, np.zeros(image.shape, bool), lines, traces)
    assert all((t.brightness == 0).all() and not t.measured.any() for t in nothing)


def test_image_without_a_star_has_no_negative_light():
    """Noise gives brightness of zero or more, never NaN, and the image is not edited."""
    image = np.random.default_rng(1).normal(-1, 1, (NY, NX))
    before = image.copy()
    traces = {1: np.full(NX, 60.0), 2: np.full(NX, 150.0), 3: np.full(NX, 220.0)}
    for found in trace_light(image, np.ones(image.shape, bool), np.arange(float(NY)), traces):
        assert (found.brightness >= 0).all()
    np.testing.assert_array_equal(image, before)


def test_wings_of_one_trace_are_taken_off_the_other():
    """A faint trace in the wings of a bright one comes back to 3 per cent of its light."""
    traces = {1: np.full(NX, 60.0), 2: np.full(NX, 150.0)}
    light = {1: np.full(NX, 1000.0), 2: np.full(NX, 20.0)}
    away = np.abs(np.arange(NY)[:, None] - traces[1])
    wing = np.where(away > 20, 1000 * reference_wing(away), 0)
    image = star(traces, light) + wing
    found = trace_light(image, np.ones(image.shape, bool), np.arange(float(NY)), traces)[1]
    assert wing[135:166].sum(axis=0)[0] > 3
    np.testing.assert_allclose(found.brightness, 20, rtol=0.03)


def test_fading_trace_goes_on_fading():
    """An order that fades by e in 100 columns does so beyond the edge of the image."""
    traces = {1: np.full(NX, 60.0), 4: 150 + 0.1 * COLUMNS}
    light = {1: np.full(NX, 900.0), 4: 4e6 * np.exp(-COLUMNS / 100)}
    image = star(traces, light)
    found = trace_light(image, np.ones(image.shape, bool), np.arange(float(NY)), traces)[1]
    assert not found.measured[1200]
    ratio = np.log(found.brightness[[1200, 1300]] / light[4][[1200, 1300]])
    assert np.abs(ratio).max() < 0.7
