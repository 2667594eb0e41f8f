"""The arrays of one SOSS photom reference file, and reading them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.files import check_fits

__all__ = [
    "PHOTOM_COLUMNS",
    "TIME_COLUMNS",
    "PhotomFile",
    "PhotomRow",
    "read_photom",
    "rows_to_array",
]

#: Columns of the table, in the order of the schema of ``NisSossPhotomModel``.
PHOTOM_COLUMNS = (
    "filter", "pupil", "order", "photmj", "uncertainty", "nelem",
    "wavelength", "relresponse", "reluncertainty",
)  # fmt: skip
#: Numbers in each time table of the schema, which begin with filter, pupil and order.
TIME_COLUMNS: dict[str, tuple[str, ...]] = {
    "timecoeff_linear": ("t0", "lossperyear"),
    "timecoeff_exponential": ("t0", "amplitude", "tau", "const"),
    "timecoeff_powerlaw": ("t0", "year1value", "tsoft", "alpha"),
}
_KEYS = [("filter", "S12"), ("pupil", "S15"), ("order", "i2")]


@dataclass(frozen=True)
class PhotomRow:
    """One row: the conversion of one filter, pupil and order.

    Attributes
    ----------
    filter, pupil : str
        Names, without trailing blanks.
    order : int
        Spectral order.
    photmj : float
        Scalar conversion, Jy/(DN/s) or MJy/(DN/s).
    uncertainty : float
        Absolute 1-sigma error of ``photmj``, same unit.
    nelem : int
        How many elements of the arrays are in use.
    wavelength : ndarray of float32, shape (width,)
        Wavelength, um; zero beyond ``nelem``.
    relresponse : ndarray of float32, shape (width,)
        Factor on ``photmj``, without unit; zero beyond ``nelem``.
    reluncertainty : ndarray of float32, shape (width,)
        Absolute 1-sigma error of ``relresponse``, without unit; zero beyond ``nelem``.
    """

    filter: str
    pupil: str
    order: int
    photmj: float
    uncertainty: float
    nelem: int
    wavelength: np.ndarray
    relresponse: np.ndarray
    reluncertainty: np.ndarray

    @property
    def key(self) -> tuple[str, str, int]:
        """Filter, pupil and order in the form in which the pipeline compares them."""
        return self.filter.upper(), self.pupil.upper(), self.order

    @property
    def title(self) -> str:
        """Name of the row for messages."""
        return f"{self.filter}/{self.pupil} order {self.order}"

    @property
    def used(self) -> slice:
        """The elements in use."""
        return slice(0, max(0, self.nelem))


@dataclass(frozen=True)
class PhotomFile:
    """What a photom file holds.

    Attributes
    ----------
    path : str
        Where it was read from.
    rows : tuple of PhotomRow
        The rows, in their order in the file.
    time_tables : dict of str to ndarray
        Time tables that the file has, by their name in the schema, as structured arrays.
    header : dict
        Cards of the primary header.
    history : tuple of str
        Its HISTORY lines.
    problems : tuple of str
        What astropy warned about when it read the file.
    """

    path: str
    rows: tuple[PhotomRow, ...]
    time_tables: Mapping[str, np.ndarray] = field(default_factory=dict)
    header: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """File name without its folder."""
        return Path(self.path).name


def read_photom(path: str | os.PathLike[str]) -> PhotomFile:
    """Read a photom file of SOSS, whatever values it holds.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    PhotomFile
        Its content; all arrays are copies in native byte order.

    Raises
    ------
    SossInputError
        If the file is missing, truncated, not FITS, another kind of reference file, or of
        another layout than ``NisSossPhotomModel``.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check_fits(path)
            rows, time_tables, header, history = _read(path)
    except (SossInputError, MemoryError):
        raise
    except Exception as error:
        # Over a broken header astropy stumbles in many ways; the file is at fault.
        raise SossInputError(
            f"The file {path} cannot be read as a photom file: {reason(error)}."
        ) from error
    problems = tuple(dict.fromkeys(" ".join(str(item.message).split()) for item in caught))
    return PhotomFile(str(path), rows, time_tables, header, history, problems)


def _read(path: str | os.PathLike[str]) -> tuple[Any, ...]:
    """Read rows, time tables, header and history."""
    with fits.open(path, memmap=False) as hdus:
        primary = hdus[0].header
        kind = str(primary.get("REFTYPE", "PHOTOM")).strip().upper()
        if kind != "PHOTOM":
            raise SossInputError(
                f"{path} is a {kind} reference file; a PHOTOM file of NIRISS SOSS is needed."
            )
        if "PHOTOM" not in hdus:
            raise SossInputError(
                f"{path} has no PHOTOM table; a PHOTOM reference file of NIRISS SOSS is needed."
            )
        rows = _rows(_columns(hdus["PHOTOM"], path), path)
        time_tables = {
            name: _structured(_columns(hdus[name.upper()], path))
            for name in TIME_COLUMNS
            if name in hdus
        }
        header = {key: primary[key] for key in primary if key not in ("", "HISTORY", "COMMENT")}
        history = tuple(str(line) for line in primary.get("HISTORY", ()))
    return rows, time_tables, header, history


def _columns(hdu: Any, path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read all columns of a table, by their names in lower case."""
    if not isinstance(hdu, fits.BinTableHDU):
        raise SossInputError(f"{path}: the extension {hdu.name} is not a table.")
    columns = {}
    for name in hdu.columns.names:
        values = np.asarray(hdu.data[name])
        columns[name.lower()] = values.astype(values.dtype.newbyteorder("="), copy=True)
    return columns


def _rows(table: Mapping[str, np.ndarray], path: str | os.PathLike[str]) -> tuple[PhotomRow, ...]:
    missing = [name for name in PHOTOM_COLUMNS if name not in table]
    if missing:
        raise SossInputError(
            f"The PHOTOM table of {path} has no column {', '.join(missing)}; the layout of "
            f"NisSossPhotomModel is needed ({', '.join(PHOTOM_COLUMNS)})."
        )
    vectors = [table[name] for name in ("wavelength", "relresponse", "reluncertainty")]
    if any(v.ndim != 2 for v in vectors) or len({v.shape for v in vectors}) != 1:
        raise SossInputError(
            f"{path}: wavelength, relresponse and reluncertainty must hold one array each per row, "
            "all of one length."
        )
    return tuple(
        PhotomRow(
            filter=str(table["filter"][i]).strip(),
            pupil=str(table["pupil"][i]).strip(),
            order=int(table["order"][i]),
            photmj=float(table["photmj"][i]),
            uncertainty=float(table["uncertainty"][i]),
            nelem=int(table["nelem"][i]),
            wavelength=np.array(vectors[0][i], "f4"),
            relresponse=np.array(vectors[1][i], "f4"),
            reluncertainty=np.array(vectors[2][i], "f4"),
        )
        for i in range(len(table["order"]))
    )


def _structured(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Join columns to a structured array with the column types of the schema."""
    types = dict(_KEYS)
    dtype = [(name, types.get(name, "f4")) for name in columns]
    table = np.zeros(len(next(iter(columns.values()))), dtype)
    for name, values in columns.items():
        table[name] = np.char.encode(values, "ascii") if values.dtype.kind == "U" else values
    return table


def rows_to_array(rows: Sequence[PhotomRow]) -> np.ndarray:
    """Put rows into the structured array of the schema; shorter arrays are padded with zeros.

    Parameters
    ----------
    rows : sequence of PhotomRow
        The rows.

    Returns
    -------
    ndarray, shape (n,)
        Structured array with the columns `PHOTOM_COLUMNS`.
    """
    width = max(row.wavelength.size for row in rows)
    dtype = [
        *_KEYS, ("photmj", "f4"), ("uncertainty", "f4"), ("nelem", "i2"),
        ("wavelength", "f4", (width,)), ("relresponse", "f4", (width,)),
        ("reluncertainty", "f4", (width,)),
    ]  # fmt: skip
    table = np.zeros(len(rows), dtype)
    for i, row in enumerate(rows):
        for name in ("filter", "pupil", "order", "photmj", "uncertainty", "nelem"):
            table[name][i] = getattr(row, name)
        for name in ("wavelength", "relresponse", "reluncertainty"):
            values = getattr(row, name)
            table[name][i, : values.size] = values
    return table
