"""Synthetic Ks magnitudes."""

from pathlib import Path

import numpy as np
import pytest

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.photom.photometry import KS_RESPONSE, ks_magnitude, scale_to_ks
from soss_photcal_steps.ratio.sampling import ModelSpectrum
from soss_photcal_steps.ratio.stars import read_model_spectrum

REAL = Path(__file__).parents[2].parent / "shared" / "data"
WAVELENGTH = np.linspace(0.5, 3.0, 5001)


def test_zero_point():
    """666.7 Jy at all wavelengths are magnitude 0, a hundredth of it is 5."""
    assert ks_magnitude(WAVELENGTH, np.full(5001, 666.7)) == pytest.approx(0, abs=1e-9)
    assert ks_magnitude(WAVELENGTH, np.full(5001, 6.667)) == pytest.approx(5, abs=1e-9)


def test_the_two_published_zero_points_are_one():
    """4.283e-10 W/m2/um, the paper's zero point per wavelength, is 0 to a thousandth too."""
    flux = 4.283e-10 * WAVELENGTH**2 / 2.99792458e14 * 1e26
    assert ks_magnitude(WAVELENGTH, flux) == pytest.approx(0, abs=0.001)
    assert np.trapezoid(KS_RESPONSE[1], KS_RESPONSE[0]) == pytest.approx(0.262, abs=5e-4)


def test_the_grid_does_not_matter():
    """A straight spectrum has the same magnitude on three points as on five thousand."""
    coarse = np.array([0.5, 1.7, 3.0])
    assert ks_magnitude(coarse, coarse) == pytest.approx(
        ks_magnitude(WAVELENGTH, WAVELENGTH), abs=2e-4
    )


def test_scaled_model():
    """A scaled model has the magnitude, and one factor on flux and errors."""
    flux = 1e7 * (4 - WAVELENGTH)
    model = ModelSpectrum(WAVELENGTH, flux, 0.01 * flux, 0.02 * flux)
    scaled = scale_to_ks(model, 8.25)
    assert ks_magnitude(WAVELENGTH, scaled.flux) == pytest.approx(8.25, abs=1e-9)
    assert np.ptp(scaled.flux / flux) < 1e-12 * scaled.flux[0] / flux[0]
    assert scaled.stat_error == pytest.approx(0.01 * scaled.flux)
    assert scaled.sys_error == pytest.approx(0.02 * scaled.flux)
    assert model.flux is flux


@pytest.mark.parametrize(
    ("wavelength", "flux", "words"),
    [
        (np.linspace(0.5, 2.2, 50), np.ones(50), "1.90 to 2.40"),
        (np.linspace(2.0, 3.0, 50), np.ones(50), "1.90 to 2.40"),
        (np.array([0.5, 0.6]), np.ones(2), "1.90 to 2.40"),
        (WAVELENGTH, np.zeros(5001), "no positive flux"),
        (WAVELENGTH, np.where(WAVELENGTH > 1, np.nan, 1.0), "1.90 to 2.40"),
        (WAVELENGTH, np.full(5001, np.nan), "1.90 to 2.40"),
    ],
)
def test_spectra_without_a_magnitude_are_refused(wavelength, flux, words):
    """A spectrum that lacks part of the band, or light in it, is refused."""
    with pytest.raises(SossInputError) as error:
        ks_magnitude(wavelength, flux)
    assert words in str(error.value)


def test_a_magnitude_is_a_number():
    """A magnitude that is not finite is refused."""
    flux = np.ones(5001)
    with pytest.raises(SossInputError, match="not nan"):
        scale_to_ks(ModelSpectrum(WAVELENGTH, flux, flux, flux), np.nan)


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real data in {REAL}")
@pytest.mark.parametrize(
    ("name", "magnitude", "limit"),
    # Vega is about 0; the other is in Table 2 of the report, with an error of 0.026.
    [("alpha_lyr_stis_011", 0.0, 0.04), ("1743045_stisnic_007", 12.772, 0.08)],
)
def test_magnitudes_of_calspec_stars(name, magnitude, limit):
    """CALSPEC spectra have the Ks magnitudes of their stars within zero point and catalogue."""
    star = read_model_spectrum(REAL / "calspec" / f"{name}.fits.gz")
    assert ks_magnitude(star.wavelength, star.flux) == pytest.approx(magnitude, abs=limit)
