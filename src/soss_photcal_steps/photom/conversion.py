"""What a photom file multiplies count rates by, as the pipeline's photom step applies it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.photom.table import PhotomFile, PhotomRow
from soss_photcal_steps.photom.time_tables import ExponentialTrend, LinearTrend, PowerLawTrend

__all__ = ["Conversion", "conversion"]


@dataclass(frozen=True)
class Conversion:
    """What a photom file multiplies count rates by, at some wavelengths; shape (n,).

    Attributes
    ----------
    value : ndarray
        Flux per DN/s in the unit of the file; NaN where the file has none.
    error : ndarray
        1-sigma error of `value` as a fraction of it: that of ``photmj`` and that of
        ``relresponse`` in quadrature; 0 where the file gives none.
    """

    value: np.ndarray
    error: np.ndarray


def _throughput(photom: PhotomFile, index: int, mjd: float | None) -> float:
    """Throughput of a row on a day, as the photom step takes it: by the number of the row."""
    value = 1.0
    for kind in (LinearTrend, ExponentialTrend, PowerLawTrend):
        table = photom.time_tables.get(kind.table)
        if table is None or len(table) == 0:
            continue
        if mjd is None:
            raise SossInputError(
                f"{photom.name} has the time table {kind.table}, but the spectra do not say when "
                "they were taken (EXPSTART, EXPEND, EXPMID)."
            )
        if len(table) != len(photom.rows):
            raise SossInputError(
                f"The time table {kind.table} of {photom.name} has {len(table)} rows, its photom "
                f"table {len(photom.rows)}; the photom step needs the same."
            )
        columns = table.dtype.names or ()
        names = [name for name in columns if name not in ("filter", "pupil", "order")]
        try:
            trend = kind(**{name: float(table[name][index]) for name in names})
        except TypeError:
            raise SossInputError(
                f"The time table {kind.table} of {photom.name} has the columns {', '.join(names)}; "
                "those of NisSossPhotomModel are needed."
            ) from None
        value *= float(trend.throughput(mjd))
    if not 0 < value < np.inf:
        raise SossInputError(
            f"The time tables of {photom.name} give the throughput {value:g} on MJD {mjd:g}."
        )
    return value


def conversion(
    photom: PhotomFile,
    order: int,
    wavelength: np.ndarray,
    mjd: float | None = None,
    *,
    filter_name: str = "CLEAR",
    pupil: str = "GR700XD",
) -> Conversion:
    """Give the conversion of a photom file as the pipeline's photom step applies it.

    Parameters
    ----------
    photom : PhotomFile
        Content of the file.
    order : int
        Spectral order.
    wavelength : ndarray
        Wavelengths, shape (n,), um.
    mjd : float, optional
        Middle of the exposure, MJD; needed where the file has time tables.
    filter_name, pupil : str, optional
        Elements in the beam.

    Returns
    -------
    Conversion
        Linear between the wavelengths of the file, NaN beyond them and where it is not positive.

    Raises
    ------
    SossInputError
        If the file has no row for the order, or several, or the row or a time table cannot be
        used.
    """
    key = (filter_name.upper(), pupil.upper(), order)
    found = [number for number, row in enumerate(photom.rows) if row.key == key]
    if len(found) != 1:
        how_many = f"{len(found)} rows" if found else "no row"
        raise SossInputError(
            f"{photom.name} has {how_many} for {filter_name}/{pupil} order {order}; one is needed."
        )
    row = photom.rows[found[0]]
    known, response, error = _rising(row, photom.name)
    throughput = _throughput(photom, found[0], mjd)
    wavelength = np.asarray(wavelength, float)
    relative = np.interp(wavelength, known, response, left=np.nan, right=np.nan)
    relative = np.where(relative > 0, relative, np.nan)
    shape = np.interp(wavelength, known, error) / relative
    return Conversion(
        row.photmj * relative / throughput,
        np.where(np.isnan(relative), np.nan, np.hypot(row.uncertainty / row.photmj, shape)),
    )


def _rising(row: PhotomRow, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrays of a row by rising wavelength; the photom step turns falling ones round, too."""
    wavelength = row.wavelength[row.used].astype(float)
    arrays = (wavelength, row.relresponse[row.used].astype(float),
              row.reluncertainty[row.used].astype(float))  # fmt: skip
    if wavelength.size > 1 and wavelength[0] > wavelength[-1]:
        arrays = (arrays[0][::-1], arrays[1][::-1], arrays[2][::-1])
    if wavelength.size < 2 or not (np.diff(arrays[0]) > 0).all() or not 0 < row.photmj < np.inf:
        raise SossInputError(
            f"The row {row.title} of {name} cannot be used: photmj must be positive and the "
            "wavelengths must rise; soss-photcal check says more."
        )
    return arrays
