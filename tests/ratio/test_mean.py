"""The clipped mean and its error."""

import numpy as np
import pytest
from astropy.stats import sigma_clip, sigma_clipped_stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from soss_photcal_steps.ratio.mean import clipping_factors, mean_spectrum

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
    assert np.median(mean.error) == pytest.approx(1 / 20, rel=0.03)
    assert mean.n_used.mean() < 400


@pytest.mark.parametrize("sigma", [2.0, 2.5, 3.0, 5.0])
@pytest.mark.parametrize("maxiters", [0, 1, 5])
def test_errors_are_right_at_any_threshold(sigma, maxiters):
    """The mean of 200 integrations misses the truth by its error, to 4 per cent of it."""
    pulls = []
    for seed in range(3):
        flux = series(200, seed=100 + seed)
        mean = mean_spectrum(X, flux, np.full_like(flux, np.nan), sigma, maxiters)
        pulls.append((mean.flux - 100) / mean.error)
    assert np.std(pulls) == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize(("sigma", "maxiters"), [(1.5, 1), (2.0, 5), (2.5, 2), (3.0, 5)])
def test_clipping_factors_are_those_of_samples(sigma, maxiters):
    """Deviation and variance of the mean of clipped samples are as derived, to 2 and 8 per cent."""
    flux = series(400, seed=8) - 100
    clipped = sigma_clip(flux, sigma=sigma, maxiters=maxiters, axis=0)
    number = (~clipped.mask).sum(axis=0)
    deviation, excess = clipping_factors(sigma, maxiters)
    assert clipped.std(axis=0).mean() == pytest.approx(deviation, rel=0.02)
    assert (number * clipped.mean(axis=0) ** 2).mean() == pytest.approx(excess, rel=0.08)


def test_clipping_factors_without_clipping():
    """No rounds, or a threshold beyond all values, change nothing; 3 sigma is 0.985."""
    assert clipping_factors(3.0, 0) == (1.0, 1.0)
    assert clipping_factors(np.inf, 5) == (1.0, 1.0)
    assert clipping_factors(20.0, 5) == (1.0, 1.0)
    assert clipping_factors(3.0, 5)[0] == pytest.approx(0.985, abs=0.001)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(-20, 20), st.integers(3, 40))
def test_clipped_means_do_not_depend_on_order_or_scale(seed, power, n):
    """With clipping, shuffled and scaled integrations have the same mean, error and numbers."""
    rng = np.random.default_rng(seed)
    x = np.linspace(1, 2, 50)
    flux = rng.standard_t(2, (n, 50))
    error = np.ones_like(flux)
    base = mean_spectrum(x, flux, error)
    other = mean_spectrum(x, 2.0**power * flux[rng.permutation(n)], 2.0**power * error)
    np.testing.assert_array_equal(other.n_used, base.n_used)
    np.testing.assert_allclose(other.flux, 2.0**power * base.flux, rtol=1e-9, atol=0)
    np.testing.assert_allclose(other.error, 2.0**power * base.error, rtol=1e-9)


def test_a_drift_makes_the_error_larger():
    """A star that brightens by 3 sigma over the series has the scatter of noise and drift."""
    drift = np.linspace(-1.5, 1.5, 100)[:, None]
    flux = series(100, seed=5) + drift
    mean = mean_spectrum(X, flux, np.full_like(flux, np.nan), sigma=np.inf)
    assert np.median(mean.error) == pytest.approx(np.sqrt((1 + drift.var()) / 100), rel=0.02)


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
