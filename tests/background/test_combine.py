"""Median of integrations in short groups."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soss_photcal_steps.background.combine import (
    ImageCombiner,
    combine_integrations,
    group_median,
    group_sizes,
)

FEW = settings(max_examples=30, deadline=None, derandomize=True)


def cube(seed, n, shape=(4, 5)):
    """Make a cube of Gaussian noise."""
    return np.random.default_rng(seed).normal(3, 1, (n, *shape)).astype(np.float32)


@FEW
@given(st.integers(1, 2000))
def test_group_sizes_sum_to_the_number_and_withstand_an_outlier(n):
    """Groups add up to the series, and hold 3 to 9 integrations unless the series is 1, 2 or 4."""
    sizes = group_sizes(n)
    assert sum(sizes) == n
    if n not in (1, 2, 4):
        assert set(sizes) <= {3, 5, 7, 9}
        assert len(sizes) <= n // 9 + 3


@pytest.mark.parametrize("n", range(1, 12))
def test_network_gives_the_median(n):
    """The exchange networks give numpy's median for every group size."""
    frames = cube(n, n, (40, 50))
    expected = np.median(frames, axis=0)
    np.testing.assert_allclose(group_median(frames), expected, rtol=1e-6)


@FEW
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 3, 4, 5, 7, 9]), st.floats(0, 0.9))
def test_one_group_is_the_masked_median(seed, n, share):
    """One group gives numpy's median of the valid values, whatever is NaN, infinite or flagged."""
    frames = cube(seed, n)
    rng = np.random.default_rng(seed + 1)
    hidden = rng.random(frames.shape) < share
    kind = rng.integers(0, 3, frames.shape)
    bad = hidden & (kind == 0)
    frames[hidden & (kind == 1)] = np.nan
    frames[hidden & (kind == 2)] = np.inf
    frames[bad] = 1e6
    combined = combine_integrations(frames, bad)
    np.testing.assert_array_equal(combined.count, (~hidden).sum(axis=0))
    expected = np.ma.median(np.ma.array(np.where(hidden, 0, frames), mask=hidden), axis=0)
    expected = np.ma.filled(np.ma.array(expected, float), np.nan)
    np.testing.assert_allclose(combined.image, expected, rtol=1e-5)


@FEW
@given(st.integers(0, 10**6), st.sampled_from([3, 5, 7, 9]))
def test_order_within_a_group_does_not_matter(seed, n):
    """A permutation of the integrations of one group leaves the image as it is."""
    frames, bad = cube(seed, n), np.zeros((n, 4, 5), bool)
    shuffled = frames[np.random.default_rng(seed).permutation(n)]
    np.testing.assert_array_equal(
        combine_integrations(frames, bad).image, combine_integrations(shuffled, bad).image
    )


def test_groups_are_weighted_by_their_valid_integrations():
    """Over several groups the result is the mean of masked medians weighted by their counts."""
    frames = cube(5, 30)
    bad = np.random.default_rng(6).random(frames.shape) < 0.4
    combined = combine_integrations(frames, bad)
    total, count, start = 0.0, 0, 0
    for size in group_sizes(30):
        part = slice(start, start + size)
        here = np.ma.array(frames[part], mask=bad[part])
        total = total + np.ma.filled(np.ma.median(here, axis=0), 0) * (~bad[part]).sum(axis=0)
        count = count + (~bad[part]).sum(axis=0)
        start += size
    np.testing.assert_allclose(combined.image, total / count, rtol=1e-5)
    np.testing.assert_array_equal(combined.count, count)
    assert combined.n_integrations == 30


def test_outliers_do_not_reach_the_image():
    """A cosmic ray in every group moves the image by less than the noise of the median."""
    frames = cube(7, 27, (30, 30))
    clean = combine_integrations(frames, np.zeros(frames.shape, bool)).image
    frames[[3, 12, 21]] += 1e5
    hit = combine_integrations(frames, np.zeros(frames.shape, bool)).image
    assert np.abs(hit - clean).max() < 1.5


def test_combine_leaves_its_arguments():
    """The cube and the flags that were given are not edited."""
    frames = cube(8, 9)
    frames[2, 1, 1] = np.nan
    bad = np.zeros(frames.shape, bool)
    before = frames.copy()
    combine_integrations(frames, bad)
    np.testing.assert_array_equal(frames, before)
    assert not bad.any()


def test_noise_factor_is_that_of_the_scatter():
    """The stated standard error agrees with the scatter over pixels to 4 per cent."""
    for n in (1, 2, 90):
        frames = np.random.default_rng(n).normal(0, 1, (n, 100, 200)).astype(np.float32)
        combined = combine_integrations(frames, np.zeros(frames.shape, bool))
        # Groups of nine: the variance of their median is below its limit of pi / 2.
        ratio = combined.image.std() / combined.noise_factor.mean()
        assert ratio == pytest.approx({1: 1.0, 2: 1.0, 90: 0.976}[n], abs=0.04)


def test_nothing_to_combine_is_refused():
    """A result without any integration is an error, not an image of NaN."""
    with pytest.raises(ValueError, match="no integration"):
        ImageCombiner((4, 4)).result()
