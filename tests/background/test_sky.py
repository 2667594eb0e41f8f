"""Bins, blocks and single bad pixels against sums written out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import median_filter

from soss_photcal_steps.background.sky import (
    bad_pixels,
    bin_columns,
    bin_rows,
    bin_sky,
    make_blocks,
    smooth_over_blocks,
)


def noisy(shape, seed=0):
    """Make an image of noise and a mask with three tenths of the pixels out."""
    rng = np.random.default_rng(seed)
    return rng.normal(5, 1, shape).astype(np.float32), rng.random(shape) > 0.3


@pytest.mark.parametrize(("ny", "nx", "factor"), [(8, 40, 4), (7, 43, 4), (5, 9, 1), (4, 11, 3)])
def test_bins_are_masked_means(ny, nx, factor):
    """Each bin is numpy's mean of its good pixels; lines and columns that fill none are left."""
    image, good = noisy((ny, nx))
    good[:2, :factor] = False
    image[~good] = np.nan
    error = np.full((ny, nx), 2.0, np.float32)
    sky = bin_sky(image, error, good, np.arange(ny) + 10.0, factor)
    assert sky.value.shape == (ny // 2, nx // factor)
    for i in range(ny // 2):
        for j in range(nx // factor):
            part = np.s_[2 * i : 2 * i + 2, factor * j : factor * (j + 1)]
            n = good[part].sum()
            assert sky.weight[i, j] == n
            expected = image[part][good[part]].mean() if n else 0
            assert sky.value[i, j] == pytest.approx(expected, rel=1e-5)
            assert sky.variance[i, j] == pytest.approx(4 / max(n, 1), rel=1e-5)
    np.testing.assert_allclose(sky.rows, 10.5 + 2 * np.arange(ny // 2))
    np.testing.assert_allclose(sky.columns, (factor - 1) / 2 + factor * np.arange(nx // factor))


def test_pixels_without_error_get_a_typical_one():
    """Errors of zero and NaN are replaced, so that no bin with data has no variance."""
    image = np.ones((4, 8), np.float32)
    error = np.full((4, 8), 3.0, np.float32)
    error[:2, :4] = 0
    error[2:, :4] = np.nan
    sky = bin_sky(image, error, np.ones((4, 8), bool), np.arange(4))
    np.testing.assert_allclose(sky.variance, 9 / 8)


def test_binning_leaves_its_arguments():
    """Image and mask are not edited, and the two halves of a stack are binned alike."""
    image, good = noisy((6, 16))
    before, flags = image.copy(), good.copy()
    mean, count = bin_columns(np.stack([image, 2 * image]), good, 4)
    np.testing.assert_allclose(mean[1], 2 * mean[0])
    bin_rows(mean, count)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(good, flags)


@pytest.mark.parametrize(("ny", "nb"), [(128, 512), (45, 511), (1, 300), (9, 20)])
def test_blocks_tile_the_image(ny, nb):
    """Every bin is in one block, and sums and mean positions are those of its bins."""
    rows = np.arange(ny) * 2 + 0.5
    blocks = make_blocks(rows, nb, 4, (696, 705))
    assert blocks.index.shape == (ny, nb)
    n_blocks = blocks.shape[0] * blocks.shape[1]
    assert set(np.unique(blocks.index)) == set(range(n_blocks))
    values = np.random.default_rng(1).random((3, ny, nb))
    for k in range(3):
        expected = np.bincount(blocks.index.ravel(), values[k].ravel(), n_blocks)
        np.testing.assert_allclose(blocks.sums(values)[k], expected)
    size = np.bincount(blocks.index.ravel(), minlength=n_blocks)
    row = np.bincount(blocks.index.ravel(), np.repeat(rows, nb), n_blocks) / size
    column = np.bincount(blocks.index.ravel(), np.tile(np.arange(nb) * 4 + 1.5, ny), n_blocks)
    np.testing.assert_allclose(blocks.rows, row)
    np.testing.assert_allclose(blocks.columns, column / size)


def test_blocks_are_finer_at_the_break():
    """Blocks are two bins wide across the break and at most twelve elsewhere."""
    edges = make_blocks(np.arange(16.0), 512, 4, (696, 705)).bin_edges
    width, place = np.diff(edges), edges[:-1] * 4
    assert (width[(place >= 672) & (place < 750)] == 2).all()
    assert width.max() == 12
    assert width.min() >= 1


def test_lonely_outliers_are_found():
    """Pixels 20 sigma up and down are found, hardly any other, and a star on 9 pixels stays."""
    rng = np.random.default_rng(3)
    image = rng.normal(5, 0.1, (100, 100)).astype(np.float32)
    hot = np.zeros(image.shape, bool)
    hot[10:90:8, 10:90:8] = True
    image[hot] += 3 * rng.choice([-1, 1], hot.sum())
    image[40:43, 44:47] += 3
    hot[40:43, 44:47] = False
    found = bad_pixels(image, np.ones(image.shape, bool), np.full(image.shape, 0.1))
    clear = np.ones(image.shape, bool)
    clear[38:45, 42:49] = False
    assert found[hot & clear].all()
    assert (found & ~hot & clear).sum() <= 2
    assert not found[41, 45]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.floats(
    -1000, 1000, width=32)))  # fmt: skip
def test_neighbours_that_are_compared_are_their_median(image):
    """Pixels farther than 0.2 of scipy's median of nine and 6 errors from it are bad, no others."""
    local = median_filter(image, 3, mode="nearest")
    error = np.full(image.shape, 1e4, np.float32)
    error[0, 0] = 1e-3
    off = np.abs(image - local)
    limit = 6 * np.maximum(error, 1.5 * np.median(off)) + 0.2 * np.abs(local)
    found = bad_pixels(image, np.ones(image.shape, bool), error)
    np.testing.assert_array_equal(found, off > limit)


def test_bad_pixels_of_nothing():
    """Without a good pixel none is called bad, and pixels outside the mask never are."""
    image = np.full((5, 5), np.nan, np.float32)
    assert not bad_pixels(image, np.zeros((5, 5), bool), np.ones((5, 5))).any()
    image[:] = 1
    image[2, 2] = 1000
    good = np.ones((5, 5), bool)
    good[2, 2] = False
    assert not bad_pixels(image, good, np.ones((5, 5))).any()


def test_local_level_follows_steps_not_sources():
    """A smooth residual comes back, one bright block does not."""
    blocks = make_blocks(np.arange(64.0), 480, 4, (4000, 4000))
    residual = np.tile(np.where(np.arange(480) < 240, 1.0, 2.0), (64, 1))
    residual[30, 100] += 1000
    level = smooth_over_blocks(residual, np.ones(residual.shape), blocks)
    np.testing.assert_allclose(level[:, :200], 1.0)
    np.testing.assert_allclose(level[:, 290:], 2.0)


def test_lower_quantile_of_the_neighbourhood_passes_a_long_band():
    """A band through less than half of the blocks does not raise the lower quantile."""
    blocks = make_blocks(np.arange(128.0), 480, 4, (4000, 4000))
    residual = np.ones((128, 480))
    residual[40:80] += 1
    weight = np.ones(residual.shape)
    level = smooth_over_blocks(residual, weight, blocks, (9, 3), 0.3)
    np.testing.assert_allclose(level[32:96], 1.0)
    # Blocks without weight are not looked at, and alone they have the level 0.
    weight[:40] = weight[80:] = 0
    np.testing.assert_allclose(smooth_over_blocks(residual, weight, blocks, (3, 3))[40:80], 2.0)
    assert not smooth_over_blocks(residual, 0 * weight, blocks).any()
