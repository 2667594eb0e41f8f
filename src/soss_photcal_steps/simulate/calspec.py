"""Spectra of standard stars in files of the form that CALSPEC has."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.io import fits

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import atomic_path, check_fits
from soss_photcal_steps.simulate.standards import StandardStar, TabulatedSpectrum

__all__ = ["read_calspec", "with_calspec", "write_model"]

# F_nu in MJy is F_lambda in erg/s/cm2/A times the square of the wavelength in A, over the speed
# of light in A/s, over 1e-17 erg/s/cm2/Hz.
_FLAM_TO_MJY = 1 / 2.99792458e18 / 1e-17
_ANGSTROM = 1e-4
# Wavelengths of the models written, Angstrom.
_FIRST, _LAST, _STEP = 5000.0, 32000.0, 1.0


def read_calspec(path: str | os.PathLike[str]) -> TabulatedSpectrum:
    """Read a CALSPEC file.

    Parameters
    ----------
    path : path
        A FITS file, or one compressed by gzip, whose first table has the columns WAVELENGTH
        in Angstrom and FLUX in erg/s/cm2/Angstrom.

    Returns
    -------
    TabulatedSpectrum
        The spectrum; rows that are not finite or not positive are left out.

    Raises
    ------
    SossInputError
        If the file cannot be read, or is not of that form.
    """
    if Path(path).suffix != ".gz":
        check_fits(path)
    try:
        with fits.open(path) as hdus:
            table = hdus[1]
            names = {name.upper(): name for name in table.columns.names}
            units = {
                column.name.upper(): (column.unit or "").strip().upper() for column in table.columns
            }
            columns = [
                np.asarray(table.data[names[name]], dtype=float) for name in ("WAVELENGTH", "FLUX")
            ]
    except (OSError, IndexError, AttributeError) as error:
        raise SossInputError(f"{path} is not a CALSPEC file: {error}.") from error
    except KeyError as error:
        raise SossInputError(
            f"{path} is not a CALSPEC file: its table has no column {error}."
        ) from error
    for name, known in (("WAVELENGTH", ("ANGSTROM", "ANGSTROMS")), ("FLUX", ("FLAM",))):
        if units[name] not in ("", *known):
            raise SossInputError(
                f"The column {name} of {path} is in {units[name]}; CALSPEC has {known[0]}."
            )
    wavelength, flux = columns
    good = np.isfinite(wavelength) & np.isfinite(flux) & (wavelength > 0) & (flux > 0)
    # Some files repeat the wavelength where two spectra were joined.
    wavelength, first = np.unique(wavelength[good], return_index=True)
    flux = flux[good][first]
    return TabulatedSpectrum(
        wavelength * _ANGSTROM, flux * wavelength**2 * _FLAM_TO_MJY, Path(path).name
    )


def with_calspec(star: StandardStar, path: str | os.PathLike[str]) -> StandardStar:
    """Give a star the spectrum of a CALSPEC file.

    Parameters
    ----------
    star : StandardStar
        The star.
    path : path
        The file.

    Returns
    -------
    StandardStar
        The star with that spectrum as its model.

    Raises
    ------
    SossInputError
        If the file cannot be read, or does not reach from 0.55 to 2.9 um.
    """
    spectrum = read_calspec(path)
    low, high = spectrum.wavelength[0], spectrum.wavelength[-1]
    if low > 0.55 or high < 2.9:
        raise SossInputError(
            f"{path} covers {low:.3f} to {high:.3f} um; SOSS needs 0.55 to 2.9 um."
        )
    return replace(star, spectrum=spectrum)


def write_model(star: StandardStar, path: str | os.PathLike[str]) -> Path:
    """Write the model of a star, which may differ from the star, as CALSPEC does.

    Parameters
    ----------
    star : StandardStar
        The star.
    path : path
        The FITS file; an older one of this name is replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    SossInputError
        If the folder does not exist.
    """
    wavelength = np.arange(_FIRST, _LAST + _STEP / 2, _STEP)
    flux = star.model_flux(wavelength * _ANGSTROM) / (wavelength**2 * _FLAM_TO_MJY)
    primary = fits.PrimaryHDU()
    for key, value in {
        "TARGETID": star.calspec.upper(),
        "DESCRIP": "Simulated standard star, not a measurement",
        "SOURCE": "soss_photcal_steps",
        "PEDIGREE": "SIMULATION",
        "USEAFTER": "Jan 01 2000 00:00:00",
    }.items():
        primary.header[key] = value
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("WAVELENGTH", "D", unit="ANGSTROMS", array=wavelength),
            fits.Column("FLUX", "D", unit="FLAM", array=flux),
        ],
        name="SCI",
    )
    with atomic_path(path) as temporary:
        fits.HDUList([primary, table]).writeto(temporary)
    return Path(path)
