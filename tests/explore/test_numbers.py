"""Averages, boxes and the step at the break, of images that are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soss_photcal_steps.averages import mean_along
from soss_photcal_steps.explore.numbers import fill_rows, make_parts, step_at_break

COLUMNS = np.arange(2048)
FRACTION = 1 / (1 + np.exp(-(COLUMNS - 705) / 3.0))


def spectrum(step, noise=0.0, seed=1):
    """Make a smooth spectrum with a step of a known size at column 705."""
    smooth = 1000 * np.exp(-(((COLUMNS - 1300) / 900) ** 2))
    level = np.interp(705, COLUMNS, smooth)
    rng = np.random.default_rng(seed)
    return smooth + step * level * FRACTION + noise * level * rng.standard_normal(2048)


@given(st.floats(-0.2, 0.2))
@settings(max_examples=30, deadline=None)
def test_step_is_found_as_it_was_made(step):
    """A step of up to 20 per cent without noise is measured to 0.03 per cent."""
    found = step_at_break(spectrum(step), FRACTION)
    assert found.step == pytest.approx(step, abs=3e-4)
    assert found.column == pytest.approx(705, abs=0.5)


def test_error_of_the_step_is_that_of_the_noise():
    """Over 100 spectra with noise, the step scatters as its error says."""
    found = [step_at_break(spectrum(0.01, 0.005, seed), FRACTION) for seed in range(100)]
    pull = [(one.step - 0.01) / one.error for one in found]
    assert 0.8 < np.std(pull) < 1.25
    assert abs(np.mean(pull)) < 0.5


def test_spikes_do_not_make_a_step():
    """Ten bright spikes right of the break move the step by less than its error."""
    light = spectrum(0.0, 0.002)
    clean = step_at_break(light, FRACTION)
    light[720:900:18] *= 1.5
    found = step_at_break(light, FRACTION)
    assert abs(found.step - clean.step) < clean.error


@pytest.mark.parametrize(
    ("light", "fraction"),
    [
        (spectrum(0.1), np.ones(2048)),
        (np.full(2048, np.nan), FRACTION),
        (-spectrum(0.1), FRACTION),
        (np.where(COLUMNS < 690, spectrum(0.1), np.nan), FRACTION * (COLUMNS < 690)),
    ],
)
def test_no_step_where_it_cannot_be_measured(light, fraction):
    """Without a break on the trace, or without light, there is no step instead of a wrong one."""
    assert step_at_break(light, fraction) is None


def test_averages_and_boxes_of_a_flat_image():
    """A flat image averages to its level, and a box of half width 20 sums 40 rows of it."""
    image = np.full((256, 2048), 2.5)
    sky = np.ones(image.shape, bool)
    sky[:, 800:816] = False
    right = np.broadcast_to(COLUMNS > 705, image.shape)
    parts = make_parts(image, sky, right, np.arange(256), 245.76, (1,), 8, 20.0)
    assert parts.columns.shape == (256,)
    assert np.isnan(parts.columns[100:102]).all()
    assert np.nanmin(parts.columns) == np.nanmax(parts.columns) == 2.5
    assert parts.rows.shape == (2, 256)
    assert np.ptp(parts.rows) == 0
    inside = parts.spectra[1][100:1900]
    assert np.allclose(inside, 2.5 * 40, rtol=1e-6)
    double = parts.combine(1.0, parts, 1.0)
    assert np.allclose(double.spectra[1], 2 * parts.spectra[1])
    assert np.nanmax(double.columns) == 5.0


def test_gaps_are_filled_from_the_row():
    """A gap takes the straight line between its neighbours; a row without a value is 0."""
    image = np.array([[1.0, np.nan, 3.0, 7.0], [np.nan] * 4])
    filled = fill_rows(image, np.isfinite(image))
    assert filled.tolist() == [[1, 2, 3, 7], [0, 0, 0, 0]]


def test_average_of_too_few_pixels_is_unknown():
    """Four pixels give no average, five do."""
    image, mask = np.ones((5, 2)), np.ones((5, 2), bool)
    mask[0, 0] = False
    assert np.isnan(mean_along(image, mask, 0)).tolist() == [True, False]
