"""The clipped mean and its error."""

import numpy as np
import pytest
from astropy.stats import sigma_clipped_stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from soss_photcal_steps.ratio.mean import mean_spectrum

X = np.linspace(1.0, 2.0, 3000)


def series(n, seed=0, sigma=1.0):
    """Give n spectra of level 100 with normal noise."""
    return 100 + sigma * np.random.default_rng(seed).standard_normal((n, X.size))


@pytest.mark.parametrize("n", [3, 10, 200])
def test_the_mean_is_that_of_astropy(n):
    """With outliers and gaps the mean equals sigma_clipped_stats."""
    flux = series(n)
    flux[0, ::7] += 50
    flux[1, ::11] = np.nan
    mean = mean_spectrum(X, flux, np.ones_like(flux))
    masked = np.ma.masked_invalid(flux)
    expected = sigma_clipped_stats(masked, sigma=3, maxiters=5, axis=0)[0]
    np.testing.assert_allclose(mean.flux, expected, rtol=1e-12)


@pytest.mark.parametrize("n", [2, 3, 5, 20, 200])
@pytest.mark.parametrize("quoted", [0.7, 1.0, 1.6])
def test_the_error_is_that_of_the_scatter(n, quoted):
    """Whatever errors are quoted, the chi square of the mean is 0.9 to 1.15 per wavelength."""
    flux = series(n, seed=n)
    mean = mean_spectrum(X, flux, np.full_like(flux, quoted))
    chi = ((mean.flux - 100) / mean.error) ** 2
    assert 0.9 < chi.mean() < 1.15
    assert 0.64 < (chi < 1).mean() < 0.72


def test_clipping_does_not_make_the_error_too_small():
    """For many integrations the error is sigma over the root of their number to 2 per cent."""
    flux = series(400, seed=1)
    mean = mean_spectrum(X, flux, np.full_like(flux, np.nan))
    assert np.median(mean.error) == pytest.approx(1 / 20, rel=0.02)
    assert mean.n_used.mean() < 400


def test_one_integration_has_its_quoted_error():
    """A single integration passes through with its own error, and gaps stay gaps."""
    flux = series(1)
    flux[0, 5] = np.nan
    mean = mean_spectrum(X, flux, np.full_like(flux, 0.3))
    np.testing.assert_array_equal(np.delete(mean.flux, 5), np.delete(flux[0], 5))
    np.testing.assert_allclose(np.delete(mean.error, 5), 0.3)
    assert np.isnan(mean.flux[5])
    assert np.isnan(mean.error[5])
    assert mean.n_used[5] == 0


def test_cosmic_rays_are_clipped():
    """Outliers in two of thirty integrations move the mean by less than an error."""
    flux = series(30, seed=3)
    flux[4, 100:200] += 500
    flux[9, 150] -= 80
    mean = mean_spectrum(X, flux, np.ones_like(flux))
    assert (mean.n_used[100:200] <= 29).all()
    assert np.abs(mean.flux[100:200] - 100).max() < 5 * mean.error[100:200].max()


@settings(max_examples=20, deadline=None)
@given(
    arrays(float, (7, 30), elements=st.floats(-1e3, 1e3, width=32)),
    st.permutations(range(7)),
    st.floats(0.01, 100),
)
def test_order_scale_and_byte_order_do_not_matter(flux, order, scale):
    """Permuted, scaled or byte-swapped input has the same mean, scaled alike."""
    x = np.linspace(1, 2, 30)
    error = np.ones_like(flux)
    base = mean_spectrum(x, flux, error, maxiters=0)
    other = mean_spectrum(x, flux[list(order)], error, maxiters=0)
    np.testing.assert_allclose(other.flux, base.flux, rtol=1e-9, atol=1e-9)
    scaled = mean_spectrum(x, scale * flux, scale * error, maxiters=0)
    np.testing.assert_allclose(scaled.flux, scale * base.flux, rtol=1e-9, atol=1e-9 * scale)
    swapped = mean_spectrum(x.astype(">f8"), flux.astype(">f8"), error.astype(">f8"), maxiters=0)
    np.testing.assert_array_equal(swapped.flux, base.flux)


def test_arguments_that_do_not_fit_raise():
    """Shapes that differ and a threshold of zero raise."""
    with pytest.raises(ValueError, match="do not fit"):
        mean_spectrum(X, np.ones((2, 5)), np.ones((2, 5)))
    with pytest.raises(ValueError, match="positive"):
        mean_spectrum(X, series(2), series(2), sigma=0)
