"""Masking of contaminants that were put into noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import maximum_filter

from soss_photcal_steps.background.sky import Sky, make_blocks
from soss_photcal_steps.background.sources import find_sources, grow

FEW = settings(max_examples=40, deadline=None, derandomize=True)
SHAPE = (128, 512)
SIGMA = 0.1


def sky_and_blocks():
    """Make a sky of constant noise and its layout."""
    rows, columns = np.arange(128) * 2 + 0.5, np.arange(512) * 4 + 1.5
    variance = np.full(SHAPE, SIGMA**2, np.float32)
    sky = Sky(np.zeros(SHAPE), np.full(SHAPE, 8.0), variance, rows, columns, 4)
    return sky, make_blocks(rows, 512, 4, (696, 705))


def find(residual, weight=None, n_sigma=4.5, zone=None):
    """Look for sources in a residual."""
    sky, blocks = sky_and_blocks()
    weight = sky.weight if weight is None else weight
    zone = np.zeros(SHAPE, int) if zone is None else zone
    return find_sources(sky, weight, residual, sky.variance, blocks, zone, n_sigma)


def noise(seed=0):
    """Make a residual of noise alone."""
    return np.random.default_rng(seed).normal(0, SIGMA, SHAPE)


@FEW
@given(
    arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 12)), elements=st.booleans()),
    st.integers(1, 14),
    st.integers(1, 14),
)
def test_grow_is_the_largest_value_in_the_box(mask, lines, bins):
    """Masks of any shape grow as scipy's filter of the largest value makes them."""
    expected = maximum_filter(mask.astype(np.uint8), (lines, bins), mode="constant")
    before = mask.copy()
    np.testing.assert_array_equal(grow(mask, lines, bins), expected.astype(bool))
    np.testing.assert_array_equal(mask, before)


def test_grow_is_a_box():
    """A single bin grows to a box of the stated size."""
    mask = np.zeros((11, 21), bool)
    mask[5, 10] = True
    grown = grow(mask, 5, 3)
    assert grown.sum() == 15
    assert grown[3:8, 9:12].all()
    assert mask.sum() == 1


def test_pure_noise_is_left_alone():
    """In Gaussian noise less than one per cent of the bins is masked."""
    assert np.mean([find(noise(s)).mean() for s in range(3)]) < 0.01


@pytest.mark.parametrize("place", [(20, 60), (64, 300), (110, 480)])
def test_sources_are_masked(place):
    """Bins with a third of sigma or more of a bright source are masked, few others."""
    y, x = np.indices(SHAPE)
    source = 50 * SIGMA * np.exp(-0.5 * (((y - place[0]) / 3) ** 2 + ((x - place[1]) / 2) ** 2))
    found = find(noise() + source)
    assert found[source > SIGMA / 3].mean() > 0.97
    assert found.mean() < 0.08


def test_faint_trace_of_a_field_star_is_masked():
    """A streak of 1.5 sigma per bin, invisible in single bins, is found by the long boxes."""
    residual = noise(1)
    residual[60:66, 100:300] += 1.5 * SIGMA
    found = find(residual)
    assert found[61:65, 110:290].mean() > 0.9
    assert found[:40].mean() < 0.02


@pytest.mark.parametrize("first", [0, 50, 114])
def test_trace_as_long_as_the_image_is_masked(first):
    """A band of 28 rows over all columns, half a sigma per bin, is masked at 9 of 10 places."""
    residual = noise(5)
    residual[first : first + 14] += 0.5 * SIGMA
    found = find(residual)
    assert found[first + 1 : first + 13].mean() > 0.9
    away = np.abs(np.arange(128) - first - 7) > 20
    assert found[away].mean() < 0.05


def test_zones_of_larger_scatter_have_their_own_threshold():
    """Where the model fails by three times the noise, hardly any false sources are found."""
    zone = np.zeros(SHAPE, int)
    zone[64:] = 1
    residual = noise(6) * np.where(zone == 1, 3, 1)
    assert find(residual, zone=zone)[64:].mean() < 0.02
    assert find(residual)[64:].mean() > 0.05


def test_wrong_template_is_not_a_source():
    """A smooth residual of two sigma over the whole image masks less than 2 per cent."""
    residual = noise(2) + 2 * SIGMA * np.sin(np.arange(512) / 80)[None, :]
    assert find(residual).mean() < 0.02


def test_threshold_and_weight_are_respected():
    """A higher threshold masks less, and bins without data cannot raise a detection."""
    residual = noise(3)
    residual[50:53, 200:203] += 5 * SIGMA
    assert find(residual)[51, 201]
    assert not find(residual, n_sigma=60).any()
    weight = np.full(SHAPE, 8.0)
    weight[48:55, 198:205] = 0
    residual[48:55, 198:205] = 1e6
    assert find(residual, weight).mean() < 0.02


def test_local_level_keeps_a_smooth_bump():
    """A smooth bump of three sigma over a fifth of the columns is not masked as a source."""
    bump = 3 * SIGMA * np.exp(-0.5 * ((np.arange(512) - 256) / 45) ** 2)
    assert find(noise(4) + bump[None, :]).mean() < 0.03
