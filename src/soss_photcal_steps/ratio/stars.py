"""Models of standard stars: finding the CALSPEC file, and reading it."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits

from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.files import Fingerprint, check_fits, fingerprint
from soss_photcal_steps.ratio.sampling import ModelSpectrum
from soss_photcal_steps.strangers import check_table

__all__ = ["CALSPEC_URL", "FoundModel", "find_calspec", "model_fingerprint", "read_model_spectrum"]

#: Where MAST has the current CALSPEC files.
CALSPEC_URL = "https://archive.stsci.edu/hlsps/reference-atlases/cdbs/current_calspec/"
# Speed of light, um/s, and the factor from erg/s/cm2/A to W/m2/um and on to Jy.
_SPEED_OF_LIGHT = 2.99792458e14
_FLAM_TO_JY = 10.0 * 1e26 / _SPEED_OF_LIGHT
_TIMEOUT = 30.0
# Lines of a model that is text have a few numbers, characters.
_LONGEST_LINE = 1000
# A spectrum from 0.1 to 30 um at a resolving power of 300,000 has 1.7 million wavelengths.
_MOST_LINES = 2_000_000


@dataclass(frozen=True)
class FoundModel:
    """A model file.

    Attributes
    ----------
    path : str
        The file.
    source : str
        How it was found, for people.
    """

    path: str
    source: str


def find_calspec(
    name: str,
    *,
    folder: str | None = None,
    download: bool = True,
    url: str = CALSPEC_URL,
) -> FoundModel:
    """Find a CALSPEC file.

    Parameters
    ----------
    name : str
        File name, such as ``bd60d1753_stiswfc_005.fits``; with ``*`` in place of the version,
        the highest that is found in a folder.
    folder : str, optional
        Folder of the user, looked in first.
    download : bool, optional
        Whether it may be fetched from MAST, to astropy's cache.
    url : str, optional
        Folder on the server.

    Returns
    -------
    FoundModel
        The file, from the first of: `folder`, ``$PYSYN_CDBS/calspec``, the cache, MAST.

    Raises
    ------
    SossInputError
        If it is nowhere; the message says where to put it.
    """
    if not re.fullmatch(r"[\w.+*-]+", name):
        raise SossInputError(f"{name!r} is not the name of a CALSPEC file.")
    places: list[tuple[str, str]] = []
    if folder:
        if not os.path.isdir(folder):
            raise SossInputError(f"The folder of CALSPEC files {folder} does not exist.")
        places.append((folder, "calspec_dir"))
    if os.environ.get("PYSYN_CDBS"):
        places.append((os.path.join(os.environ["PYSYN_CDBS"], "calspec"), "PYSYN_CDBS"))
    for place, title in places:
        path = _in_folder(place, name)
        if path:
            return FoundModel(path, f"{title} ({place})")
    looked = ", ".join(place for place, _ in places) or "no folder (calspec_dir and PYSYN_CDBS)"
    sentence = (
        f"The CALSPEC file {name} was not found in {looked}; put it there, or name its folder "
        f"with calspec_dir (it is at {url})."
    )
    if "*" in name:
        raise SossInputError(sentence)
    cached = _from_server(url.rstrip("/") + "/" + name, download)
    if cached is None:
        raise SossInputError(sentence)
    return FoundModel(*cached)


def _in_folder(folder: str, name: str) -> str | None:
    """Find a file, or the highest version, also packed by gzip."""
    if not os.path.isdir(folder):
        return None
    stem = name.removesuffix(".gz").removesuffix(".fits")
    pattern = re.compile(re.escape(stem).replace(r"\*", r"\d+") + r"\.fits(\.gz)?")
    found = sorted(entry for entry in os.listdir(folder) if pattern.fullmatch(entry))
    return os.path.join(folder, found[-1]) if found else None


def _from_server(address: str, download: bool) -> tuple[str, str] | None:
    from astropy.utils.data import CacheMissingWarning, download_file, is_url_in_cache

    try:
        with warnings.catch_warnings():
            # There is no cache before the first download.
            warnings.simplefilter("ignore", CacheMissingWarning)
            if is_url_in_cache(address):
                return download_file(address, cache=True, show_progress=False), "astropy's cache"
            if not download:
                return None
            return download_file(address, cache=True, timeout=_TIMEOUT), address
    except OSError:
        # No network, no such file, or a cache that cannot be written to.
        return None


def read_model_spectrum(path: str | os.PathLike[str], name: str = "") -> ModelSpectrum:
    """Read a model spectrum.

    A FITS table needs the columns WAVELENGTH and FLUX, and may have STATERROR, SYSERROR and
    FWHM, as the CALSPEC files have; a text table (ECSV, or two columns) wavelength and flux.
    Units come from the file; without any they are Angstrom and erg/s/cm2/Angstrom.

    Parameters
    ----------
    path : path
        The file, which may be packed by gzip.
    name : str, optional
        Its name in messages, where a cache calls it otherwise.

    Returns
    -------
    ModelSpectrum
        Wavelengths in um, fluxes in Jy.

    Raises
    ------
    SossInputError
        If the file cannot be read, or has not these columns or known units.
    """
    label = name or str(path)
    if not os.path.isfile(path):
        raise SossInputError(f"The model {path} does not exist.")
    with open(path, "rb") as stream:
        begin = stream.read(9)
    is_fits = begin.startswith(b"SIMPLE  ") or begin[:2] == b"\x1f\x8b"
    columns = _fits_columns(path, label) if is_fits else _text_columns(path, label)
    wavelength, unit = columns["WAVELENGTH"]
    wavelength = wavelength * _wavelength_scale(unit, label)
    flux, unit = columns["FLUX"]
    scale = _flux_scale(unit, wavelength, label)
    order = np.argsort(wavelength, kind="stable")
    good = np.isfinite(wavelength[order]) & (wavelength[order] > 0)
    good &= np.isfinite(flux[order])
    order = order[good]
    order = order[np.concatenate([[True], np.diff(wavelength[order]) > 0])] if order.size else order
    if order.size < 2:
        raise SossInputError(f"The model {label} has fewer than two usable points.")

    def error(key: str) -> np.ndarray:
        values, error_unit = columns.get(key, (np.zeros(wavelength.shape), ""))
        factor = _flux_scale(error_unit, wavelength, label) if error_unit else scale
        return np.nan_to_num(np.abs(values * factor), posinf=0.0)[order]

    width = None
    if "FWHM" in columns:
        values, unit = columns["FWHM"]
        width = (values * _wavelength_scale(unit, label))[order]
    return ModelSpectrum(
        wavelength[order], (flux * scale)[order], error("STATERROR"), error("SYSERROR"), width
    )


def model_fingerprint(found: FoundModel, name: str) -> Fingerprint:
    """Identify a model by its own name, also where a cache has another for it.

    Parameters
    ----------
    found : FoundModel
        The file.
    name : str
        Its own name.

    Returns
    -------
    Fingerprint
        Name, size and checksum.
    """
    one = fingerprint(found.path)
    return Fingerprint(name or one.name, one.size, one.method, one.sha256)


_Columns = dict[str, tuple[np.ndarray, str]]


def _fits_columns(path: Any, label: str) -> _Columns:
    try:
        check_fits(path)
        with fits.open(path, memmap=False) as hdus:
            tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
            for hdu in tables:
                names = {column.name.upper(): column for column in hdu.columns}
                if {"WAVELENGTH", "FLUX"} <= set(names):
                    return {
                        key: (np.array(hdu.data[column.name], float), column.unit or "")
                        for key, column in names.items()
                        if key in ("WAVELENGTH", "FLUX", "STATERROR", "SYSERROR", "FWHM")
                    }
    except (SossInputError, MemoryError):
        raise
    except Exception as error:
        # Over a broken header or a broken packing there are many kinds of errors.
        raise SossInputError(
            f"The model {label} is not a readable FITS file: {reason(error)}."
        ) from error
    raise SossInputError(f"The model {label} has no table with WAVELENGTH and FLUX.")


def _text_columns(path: Any, label: str) -> _Columns:
    from astropy.table import Table

    try:
        check_table(path, comment="#", longest_line=_LONGEST_LINE, most_lines=_MOST_LINES)
        table = Table.read(path, format="ascii")
        names: Iterable[str] = table.colnames
        found = {key.upper(): table[key] for key in names}
        if not {"WAVELENGTH", "FLUX"} <= set(found):
            first, second = list(found.values())[:2]
            found = {"WAVELENGTH": first, "FLUX": second}
        return {
            key: (np.array(column, float), str(column.unit or ""))
            for key, column in found.items()
            if key in ("WAVELENGTH", "FLUX", "STATERROR", "SYSERROR", "FWHM")
        }
    except MemoryError:
        raise
    except Exception as error:
        # astropy lists all formats that it has tried.
        why = "it has no columns" if "guess" in str(error) else reason(error)
        raise SossInputError(
            f"The model {label} is neither FITS nor a readable table of text: {why}."
        ) from error


def _unit(text: str, label: str) -> Any:
    from astropy import units

    known = {"ANGSTROMS": "Angstrom", "FLAM": "erg / (s cm2 Angstrom)", "FNU": "erg / (s cm2 Hz)"}
    try:
        return units.Unit(known.get(text.strip().upper(), text.strip()))
    except ValueError as error:
        raise SossInputError(f"The model {label} has the unknown unit {text!r}.") from error


def _wavelength_scale(text: str, label: str) -> float:
    from astropy import units

    try:
        return float(_unit(text or "Angstrom", label).to(units.um))
    except units.UnitConversionError:
        raise SossInputError(f"The model {label} has wavelengths in {text}.") from None


def _flux_scale(text: str, wavelength: np.ndarray, label: str) -> Any:
    from astropy import units

    unit = _unit(text or "FLAM", label)
    with np.errstate(invalid="ignore", divide="ignore"):
        if unit.is_equivalent(units.Jy):
            return float(unit.to(units.Jy))
        flam = units.Unit("erg / (s cm2 Angstrom)")
        if unit.is_equivalent(flam):
            # F_nu = F_lambda lambda^2 / c.
            return float(unit.to(flam)) * _FLAM_TO_JY * wavelength**2
    raise SossInputError(
        f"The model {label} has fluxes in {text}; a flux density such as Jy or FLAM is needed."
    )
