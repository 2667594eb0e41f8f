"""Errors of the levels: parts for the jackknife, undetected sources, refusals."""

import types

import numpy as np
import pytest

from soss_photcal_steps.background.conclude import (
    FitError,
    _check_levels,
    _parts,
    _unseen_sources,
)


def test_parts_are_even_and_keep_the_sides_apart():
    """The image is divided in eight parts a side that hold like numbers of blocks."""
    columns, rows = np.meshgrid(np.arange(80.0), np.arange(20.0))
    columns, rows = columns.ravel(), rows.ravel()
    right = columns >= 30
    means = types.SimpleNamespace(used=np.ones(columns.size, bool), right=right)
    part = _parts(means, types.SimpleNamespace(columns=columns, rows=rows))
    assert set(part[~right]) == set(range(8))
    assert set(part[right]) == set(range(8, 16))
    for side in (False, True):
        count = np.bincount(part[right == side])
        count = count[count > 0]
        assert count.max() < 1.5 * count.min()


def residuals(light, n=20_000):
    """Make block residuals of unit noise with exponential light in a third of the right side."""
    rng = np.random.default_rng(0)
    right = np.arange(n) % 2 == 1
    residual = rng.normal(0, 1, n)
    residual += right * (rng.random(n) < 1 / 3) * rng.exponential(3 * light, n)
    solution = types.SimpleNamespace(residual=residual, variance=np.ones(n))
    means = types.SimpleNamespace(right=right, noise=np.ones(n))
    return solution, means


def test_lopsided_residuals_are_taken_for_faint_sources():
    """Light in a part of the blocks gives the mean minus the median, on its side only."""
    solution, means = residuals(0.5)
    light, doubt = _unseen_sources(solution, means)
    side = solution.residual[means.right]
    assert light[1] == pytest.approx(side.mean() - np.median(side), rel=0.1)
    assert light[1] > 0.1
    assert doubt[1] >= 0.5 * light[1]
    assert abs(light[0]) < 0.03


def test_gaussian_residuals_hold_no_sources():
    """Noise alone gives next to no light, and it is never negative."""
    light, doubt = _unseen_sources(*residuals(0.0))
    assert (light >= 0).all()
    assert (light < 0.03).all()
    assert (doubt < 0.15).all()


def test_too_few_blocks_say_nothing_about_sources():
    """With fewer than 20 blocks a side no light is taken off."""
    light, doubt = _unseen_sources(*residuals(5.0, n=30))
    np.testing.assert_array_equal(light, 0)
    np.testing.assert_array_equal(doubt, 0)


def test_levels_that_make_no_sense_are_refused():
    """NaN and levels below minus three errors are refused by side; -2.9 errors pass."""
    error = np.array([1.0, 1.0])
    _check_levels(np.array([-2.9, 5.0]), error)
    with pytest.raises(FitError, match="left of the break is negative"):
        _check_levels(np.array([-3.1, 5.0]), error)
    with pytest.raises(FitError, match="right of the break is not a number"):
        _check_levels(np.array([1.0, np.nan]), error)
    with pytest.raises(FitError, match="left of the break is not a number"):
        _check_levels(np.array([1.0, 1.0]), np.array([np.inf, 1.0]))


def test_level_that_no_pixel_can_count_is_refused():
    """16 bits in the shortest frame of 2.214 s are 29,600 DN/s: 29,000 pass, 30,000 do not."""
    error = np.array([1.0, 1.0])
    _check_levels(np.array([29e3, 29e3]), error)
    with pytest.raises(FitError, match=r"right of the break, 3e\+04 DN/s, is more than any pixel"):
        _check_levels(np.array([1.0, 30e3]), error)
