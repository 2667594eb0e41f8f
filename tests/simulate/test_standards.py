"""Standard stars: embedded spectra, errors of the models, CALSPEC files."""

import gzip
import os
from dataclasses import replace
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate.calspec import read_calspec, with_calspec, write_model
from soss_photcal_steps.simulate.standards import (
    STANDARDS,
    TabulatedSpectrum,
    hydrogen_lines,
    standard,
)

_DATA = Path(
    os.environ.get("SOSS_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")
)


def write_table(path, wavelength, flux, names=("WAVELENGTH", "FLUX"), units=("ANGSTROMS", "FLAM")):
    """Write a table of the form of CALSPEC."""
    columns = [
        fits.Column(name, "D", unit=unit, array=np.asarray(array, dtype=float))
        for name, unit, array in zip(names, units, (wavelength, flux), strict=True)
    ]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(path)
    return path


@pytest.mark.parametrize(
    ("series", "number", "wavelength"),
    [("Balmer", 0, 0.656461), ("Paschen", 0, 1.875627), ("Paschen", 1, 1.282159),
     ("Brackett", 2, 2.166121), ("Pfund", 4, 3.039202)],
)  # fmt: skip
def test_lines_are_at_their_vacuum_wavelengths(series, number, wavelength):
    """The lines of hydrogen are where laboratories measure them, within 0.00002 um."""
    assert hydrogen_lines(series)[number] == pytest.approx(wavelength, abs=2e-5)


@pytest.mark.parametrize(
    ("name", "jansky"),
    [("bd60d1753", 0.2034), ("1743045", 0.009713), ("g191b2b", 0.01389), ("p177d", 0.01939),
     ("p330e", 0.02971)],
)  # fmt: skip
def test_stars_are_as_bright_as_the_real_ones(name, jansky):
    """At 1.3 um each star has the flux of its CALSPEC spectrum within 1 per cent."""
    flux = standard(name).model_flux(np.array([1.3]))[0]
    assert flux * 1e6 == pytest.approx(jansky, rel=0.01)


@pytest.mark.parametrize("name", list(STANDARDS))
def test_spectra_are_positive_and_finite_everywhere(name):
    """No wavelength from 0.4 to 5 um gives a flux that is not positive and finite."""
    flux = standard(name).true_flux(np.linspace(0.4, 5.0, 20001))
    assert np.isfinite(flux).all() and (flux > 0).all()


def test_lines_have_strengths_by_type():
    """H alpha is deep in the A star, shallow in the solar-type ones, widest in the white dwarf."""
    wave = np.linspace(0.63, 0.685, 1101)
    depth, width = {}, {}
    for name in ("bd60d1753", "p330e", "g191b2b"):
        flux = standard(name).model_flux(wave)
        continuum = np.interp(wave, wave[[0, -1]], flux[[0, -1]])
        line = 1 - flux / continuum
        depth[name] = line.max()
        width[name] = (line > line.max() / 2).sum() * (wave[1] - wave[0])
    assert depth["bd60d1753"] > 0.45 and depth["p330e"] < 0.27
    assert width["g191b2b"] > 1.8 * width["bd60d1753"] > 1.8 * width["p330e"]


def test_error_of_the_model_is_level_and_one_wave():
    """The true star is the model times the grey error and one wave of the given amplitude."""
    star = replace(standard("p177d"), grey_error=0.02, shape_error=0.01, shape_phase=0.25)
    ends = np.array([0.55, np.sqrt(0.55 * 2.9), 2.9])
    ratio = star.true_flux(ends) / star.model_flux(ends)
    assert ratio == pytest.approx([1.02 * 1.01, 1.02 * 0.99, 1.02 * 1.01], rel=1e-9)
    wave = np.linspace(0.55, 2.9, 500)
    assert np.abs(star.model_error(wave) / 1.02 - 1).max() == pytest.approx(0.01, rel=1e-4)


def test_calspec_file_is_read_in_its_units(tmp_path):
    """FLAM at Angstroms becomes F_nu in MJy as astropy converts it; bad rows are left out."""
    wavelength = np.array([5000.0, 10000.0, 10000.0, 20000.0, 30000.0, 31000.0])
    flux = np.array([3e-14, 1e-14, 9e-14, 2e-15, 0.0, np.nan])
    spectrum = read_calspec(write_table(tmp_path / "star.fits", wavelength, flux))
    assert spectrum.wavelength == pytest.approx([0.5, 1.0, 2.0])
    flam = u.erg / u.s / u.cm**2 / u.AA
    expected = (flux[[0, 1, 3]] * flam).to_value(
        u.MJy, equivalencies=u.spectral_density(wavelength[[0, 1, 3]] * u.AA)
    )
    assert spectrum(np.array([0.5, 1.0, 2.0])) == pytest.approx(expected, rel=1e-9)


def test_compressed_calspec_file(tmp_path):
    """A file compressed by gzip, as they are often kept, is read as well."""
    plain = write_table(tmp_path / "star.fits", [5000, 30000], [1e-14, 1e-15])
    packed = tmp_path / "star.fits.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_calspec(packed).flux == pytest.approx(read_calspec(plain).flux)


def test_model_file_holds_the_model_and_not_the_star(tmp_path):
    """What is written and read back is the model's flux, without the star's error."""
    star = replace(standard("bd60d1753"), grey_error=0.05)
    spectrum = read_calspec(write_model(star, tmp_path / "bd60d1753_mod_sim.fits"))
    wave = np.linspace(0.56, 2.9, 4001)
    assert spectrum(wave) == pytest.approx(star.model_flux(wave), rel=3e-4)
    header = fits.getheader(tmp_path / "bd60d1753_mod_sim.fits")
    assert "not a measurement" in header["DESCRIP"]


def test_calspec_spectrum_takes_the_place_of_the_embedded_one(tmp_path):
    """A star with a CALSPEC file keeps its name and has the file's flux."""
    path = write_table(tmp_path / "a.fits", [5000, 32000], [1e-14, 1e-14])
    star = with_calspec(standard("p330e"), path)
    assert star.name == "GSPC P330-E"
    # F_lambda 1e-14 at 1 um is 33.356 mJy.
    assert star.model_flux(np.array([0.5])) == pytest.approx([8.339e-9], rel=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text("no"), "not a readable FITS file"),
        (lambda path: write_table(path, [1, 2], [1, 1], names=("WAVE", "FLUX")), "no column"),
        (lambda path: write_table(path, [1, 2], [1, 1], units=("um", "FLAM")), "is in UM"),
        (lambda path: write_table(path, [1, 2], [1, 1], units=("ANGSTROMS", "Jy")), "is in JY"),
        (lambda path: write_table(path, [6000, 20000], [1, 1]), "covers 0.600 to 2.000 um"),
    ],
)
def test_files_that_are_no_spectrum_are_refused(tmp_path, make, message):
    """A file that is missing, no FITS, of other columns, units or range, gives a sentence."""
    path = tmp_path / "wrong.fits"
    make(path)
    with pytest.raises(SossInputError, match=message) as error:
        with_calspec(standard("p330e"), path)
    assert "wrong.fits" in str(error.value)


def test_tables_that_are_no_spectrum_are_refused():
    """Columns of unequal length and wavelengths that do not rise are refused."""
    with pytest.raises(SossInputError, match="equal length"):
        TabulatedSpectrum(np.arange(3.0), np.arange(2.0))
    with pytest.raises(SossInputError, match="must rise"):
        TabulatedSpectrum(np.array([1.0, 1.0]), np.ones(2))
    with pytest.raises(SossInputError, match="bd60d1753"):
        standard("vega")


@pytest.mark.realdata
@pytest.mark.skipif(not _DATA.is_dir(), reason=f"no real data in {_DATA}")
@pytest.mark.parametrize(
    ("name", "file"),
    [("bd60d1753", "bd60d1753_stiswfc_004"), ("1743045", "1743045_stisnic_007"),
     ("g191b2b", "g191b2b_stiswfcnic_004"), ("p177d", "p177d_stisnic_010"),
     ("p330e", "p330e_stiswfcnic_006")],
)  # fmt: skip
def test_embedded_spectra_resemble_calspec(name, file):
    """Two thirds of all wavelengths are within 3 per cent of CALSPEC, the median within 0.3."""
    real = read_calspec(_DATA / "calspec" / f"{file}.fits.gz")
    inside = (real.wavelength > 0.57) & (real.wavelength < 2.9)
    ratio = standard(name).model_flux(real.wavelength[inside]) / real.flux[inside]
    low, middle, high = np.percentile(ratio, [16, 50, 84])
    assert middle == pytest.approx(1, abs=0.003)
    assert low > 0.97 and high < 1.03
