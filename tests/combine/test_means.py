"""The two classical means."""

import numpy as np
import pytest
from astropy.stats import sigma_clip
from hypothesis import given, settings
from hypothesis import strategies as st

from soss_photcal_steps.combine.means import clipped_mean, sigma_clip_columns, weighted_mean


@pytest.mark.parametrize(("low", "high"), [(3.0, 3.0), (3.0, 2.0), (1.5, 1.5)])
@pytest.mark.parametrize("n", [1, 2, 5, 8, 33])
def test_clipping_is_that_of_astropy(n, low, high):
    """The same values are kept as by astropy.stats.sigma_clip, with gaps and outliers."""
    rng = np.random.default_rng(n)
    values = rng.normal(1, 0.01, (n, 400))
    values[rng.random(values.shape) < 0.05] += 0.2
    values[rng.random(values.shape) < 0.1] = np.nan
    masked = np.ma.masked_invalid(values)
    wanted = sigma_clip(masked, sigma_lower=low, sigma_upper=high, maxiters=5, axis=0)
    kept = sigma_clip_columns(values, low, high, 5)
    np.testing.assert_array_equal(kept, ~np.ma.getmaskarray(wanted))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.5, 1.5, width=32), min_size=2, max_size=7))
def test_three_sigma_clips_nothing_among_seven(values):
    """No value of seven or fewer is ever clipped at 3 sigma, whatever they are."""
    column = np.array(values, float)[:, None]
    # Equal values but for rounding have no scatter to speak of.
    if np.ptp(column) > 1e-6:
        assert sigma_clip_columns(column).all()


def test_one_of_eight_can_be_clipped():
    """One curve far off seven that nearly agree is clipped at 3 sigma."""
    column = np.array([1.0, 1.0001, 0.9999, 1.0, 1.0001, 0.9999, 1.0, 1.5])[:, None]
    assert sigma_clip_columns(column)[:, 0].tolist() == [True] * 7 + [False]


def test_clipped_mean_and_its_error():
    """Value and error are mean and standard error of the values that are kept."""
    values = np.array([[1.0, 1.0], [1.02, np.nan], [0.98, np.nan]])
    mean = clipped_mean(values)
    assert mean.value[0] == pytest.approx(1.0)
    assert mean.sys_error[0] == pytest.approx(np.std(values[:, 0], ddof=1) / np.sqrt(3))
    assert np.isinf(mean.sys_error[1])


def test_weighted_mean_and_its_error():
    """Weights are the square roots of the numbers of frames."""
    values, errors = np.array([[1.0], [1.1]]), np.array([[0.01], [0.02]])
    mean = weighted_mean(values, errors, np.array([100, 400]))
    assert mean.value[0] == pytest.approx((1.0 * 10 + 1.1 * 20) / 30)
    assert mean.stat_error[0] == pytest.approx(np.hypot(0.1, 0.4) / 30 / mean.value[0])
    assert mean.sys_error[0] == 0


def test_no_curve_no_mean():
    """Where no curve is valid both means and their errors are NaN."""
    values = np.array([[1.0, np.nan]])
    for mean in (clipped_mean(values), weighted_mean(values, values, np.array([1]))):
        assert np.isnan(mean.value[1]) and np.isnan(mean.total_error[1])
