"""Read the extracted spectra that jwst has written over the years, a few rows at a time.

Two layouts exist.  jwst 1.20 and later write ``TSOMultiSpecModel``: one extension EXTRACT1D
per order, with one row per integration and one vector per quantity.  Before that it was
``MultiSpecModel``: one EXTRACT1D per order and integration, with one row per wavelength; the
oldest call their errors ERROR.  Both are read from the file itself: as data models, a long
series would take some GB, and importing them a second.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits

from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.files import check_cards, check_fits, open_data

__all__ = [
    "FileEnd",
    "RawSpectra",
    "read_end",
    "read_header",
    "read_model",
    "read_model_header",
    "read_raw",
]

_DO_NOT_USE = 1
# Rows of a table are read this many bytes at a time.
_CHUNK = 2**23
_ERROR_NAMES = ("FLUX_ERROR", "ERROR")
_MICRONS = ("", "um", "micron", "microns", "micrometer")
# The ASDF extension comes last and is looked for in so much of the end of a file.
_TAIL = 2**22
_BLOCK = 2880
_CARD = 80


@dataclass(frozen=True)
class RawSpectra:
    """Spectra of one order as they are in a file; shape (n_integrations, n_wavelengths).

    Attributes
    ----------
    order : int
        Spectral order.
    integrations : ndarray of int
        Numbers of the integrations; 0 where the file does not say.
    wavelength : ndarray
        Wavelength, um; as in the file, usually falling.
    flux, error : ndarray
        Flux and its error, in `unit`.
    bad : ndarray of bool
        Values that are not to be used.
    unit : str
        Unit of the flux as the file says, empty if it does not.
    """

    order: int
    integrations: np.ndarray
    wavelength: np.ndarray
    flux: np.ndarray
    error: np.ndarray
    bad: np.ndarray
    unit: str


def read_header(path: str | os.PathLike[str]) -> fits.Header:
    """Read the primary header.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    astropy.io.fits.Header
        The header.

    Raises
    ------
    SossInputError
        If the file is missing, truncated, or not FITS.
    """
    check_fits(path)
    with fits.open(path, memmap=True) as hdus:
        header = hdus[0].header.copy()
    check_cards(header, path)
    return header


class FileEnd(NamedTuple):
    """What the last extension of a file of spectra says.

    Attributes
    ----------
    is_asdf : bool or None
        Whether it is ASDF, which jwst writes last; None if it is too large to tell.
    decontaminated : bool or None
        Whether ATOCA took the overlap of the orders away; None if the file does not say.
    """

    is_asdf: bool | None
    decontaminated: bool | None


def read_end(path: str | os.PathLike[str]) -> FileEnd:
    """Read what the last extension says.

    The pipeline has no keyword for ``meta.soss_extract1d.apply_decontamination``: it is only
    in the ASDF extension, whose text is searched for it, as a data model would take a second.

    Parameters
    ----------
    path : path
        An x1d or x1dints file.

    Returns
    -------
    FileEnd
        Whether it is ASDF, and the setting of the extraction.
    """
    with open_data(path) as stream:
        size = stream.seek(0, os.SEEK_END)
        start = max(size - _TAIL, 0) // _BLOCK * _BLOCK
        stream.seek(start)
        tail = stream.read()
    places = [i for i in range(0, len(tail), _BLOCK) if tail.startswith(b"XTENSION", i)]
    if not places:
        return FileEnd(None if start else False, None)
    last = tail[places[-1] :]
    if b"EXTNAME = 'ASDF" not in last[: 2 * _BLOCK]:
        return FileEnd(False, None)
    found = re.search(rb"apply_decontamination:\s*(true|false)\b", last)
    return FileEnd(True, None if found is None else found[1] == b"true")


def read_raw(path: str | os.PathLike[str], *, check: bool = True) -> Iterator[RawSpectra]:
    """Read all spectra of a file.

    Parameters
    ----------
    path : path
        An x1d or x1dints file.
    check : bool, optional
        Whether to make sure first that the file is complete; `read_header` does the same.

    Yields
    ------
    RawSpectra
        One per extension, in the order of the file.

    Raises
    ------
    SossInputError
        If the file is missing, truncated, not FITS, or holds no extracted spectra.
    """
    if check:
        check_fits(path)
    layouts: dict[bytes, _Layout] = {}
    with fits.open(path, memmap=True) as hdus, open_data(path) as stream:
        for hdu in _tables(hdus, path):
            try:
                layout = _layout(hdu, stream, layouts, os.fspath(path))
                spectra = _read_table(hdu, layout, stream, os.fspath(path))
            except (SossInputError, MemoryError):
                raise
            except Exception as error:
                # Over a broken header astropy stumbles in many ways; the file is at fault.
                raise SossInputError(
                    f"The table EXTRACT1D of {path} cannot be read: {reason(error)}."
                ) from error
            yield spectra


def _tables(hdus: fits.HDUList, path: str | os.PathLike[str]) -> list[Any]:
    """List the tables of spectra; none may have lost its name, or it would be overlooked."""
    tables: list[Any] = []
    number = 0
    try:
        # Extensions and cards are read when they are asked for, and may turn out to be none.
        for number, hdu in enumerate(hdus):
            if hdu.name == "EXTRACT1D":
                tables.append(hdu)
            elif number and _holds_spectra(hdu):
                raise SossInputError(
                    f"Extension {number} of {path} holds spectra, but its name is "
                    f"{hdu.name or 'missing'}; EXTRACT1D is needed."
                )
    except (SossInputError, MemoryError):
        raise
    except Exception as error:
        # Over a broken header astropy stumbles in many ways; the file is at fault.
        raise SossInputError(
            f"An extension of {path}, number {number} or the next, cannot be read: {reason(error)}."
        ) from error
    if not tables:
        raise SossInputError(
            f"{path} has no extension EXTRACT1D; an x1d or x1dints file is needed."
        )
    return tables


def _holds_spectra(hdu: Any) -> bool:
    """Tell by its columns whether an extension is a table of spectra."""
    columns = {str(value).strip().upper() for value in hdu.header["TTYPE*"].values()}
    return "SPORDER" in hdu.header or {"WAVELENGTH", "FLUX"} <= columns


def read_model(model: Any) -> Iterator[RawSpectra]:
    """Read all spectra of a data model that is in memory.

    Parameters
    ----------
    model : MultiSpecModel or TSOMultiSpecModel
        The model.

    Yields
    ------
    RawSpectra
        One per entry of ``model.spec``.

    Raises
    ------
    SossInputError
        If the model holds no spectra, or one of them no order.
    """
    name = model.meta.filename or type(model).__name__
    if not model.hasattr("spec") or len(model.spec) == 0:
        raise SossInputError(f"{name} holds no extracted spectra.")
    for spec in model.spec:
        table = spec.spec_table
        columns = getattr(table, "columns", None)
        units = {} if columns is None else {c.name.upper(): c.unit or "" for c in columns}
        arrays = {key.upper(): np.asarray(table[key]) for key in table.dtype.names}
        number = getattr(spec, "int_num", None)
        yield _make(arrays, units, spec.spectral_order, number, name)


def read_model_header(model: Any) -> dict[str, Any]:
    """Give the metadata of a data model by the keywords of its file.

    Parameters
    ----------
    model : MultiSpecModel or TSOMultiSpecModel
        The model.

    Returns
    -------
    dict of str to object
        What `ObservationInfo.from_header` reads; None for what is not set.
    """
    places = {
        "INSTRUME": "instrument.name", "EXP_TYPE": "exposure.type", "FILTER": "instrument.filter",
        "PUPIL": "instrument.pupil", "PWCPOS": "instrument.pupil_position",
        "TARGNAME": "target.catalog_name", "TARGPROP": "target.proposer_name",
        "TARG_RA": "target.ra", "TARG_DEC": "target.dec",
        "MU_RA": "target.proper_motion_ra", "MU_DEC": "target.proper_motion_dec",
        "PROGRAM": "observation.program_number", "OBSERVTN": "observation.observation_number",
        "VISIT": "observation.visit_number", "DATE-OBS": "observation.date",
        "TIME-OBS": "observation.time", "EXPSTART": "exposure.start_time",
        "EXPMID": "exposure.mid_time", "EXPEND": "exposure.end_time",
        "SUBARRAY": "subarray.name", "NINTS": "exposure.nints", "NGROUPS": "exposure.ngroups",
        "NFRAMES": "exposure.nframes", "EFFEXPTM": "exposure.exposure_time",
        "EXSEGNUM": "exposure.segment_number", "EXSEGTOT": "exposure.segment_total",
        "TIKFACTR": "soss_extract1d.tikhonov_factor", "SOSSWDTH": "soss_extract1d.width",
        "R_PHOTOM": "ref_file.photom.name", "CRDS_CTX": "ref_file.crds.context_used",
        "CRDS_VER": "ref_file.crds.sw_version", "CAL_VER": "calibration_software_version",
        "S_BKDSUB": "cal_step.bkg_subtract", "S_PXREPL": "cal_step.pixel_replace",
        "S_PHOTOM": "cal_step.photom", "BKGMETH": "background.method",
        "BKGLEVEL": "background.level", "BKGD_SCL": "background.scaling_factor",
        "R_BKG": "ref_file.bkg.name", "MU_EPOCH": "target.proper_motion_epoch",
        "TFRAME": "exposure.frame_time", "INTSTART": "exposure.integration_start",
        "INTEND": "exposure.integration_end", "EXPOSURE": "observation.exposure_number",
        "OVERSAMP": "soss_extract1d.oversampling", "THRESHLD": "soss_extract1d.threshold",
    }  # fmt: skip
    found = {}
    for key, place in places.items():
        node: Any = model.meta
        for part in place.split("."):
            node = getattr(node, part, None)
        found[key] = node
    return found


class _Layout(NamedTuple):
    """How the rows of a table are made up; columns by upper-case name."""

    dtype: np.dtype
    names: dict[str, str]
    zeros: dict[str, int]
    units: dict[str, str]


def _layout(hdu: fits.BinTableHDU, stream: Any, known: dict[bytes, _Layout], path: str) -> _Layout:
    """Find out the layout of a table, or remember it.

    An old series has thousands of tables in a few layouts, and astropy's columns cost more
    time than all the rest.
    """
    info = hdu.fileinfo()
    stream.seek(info["hdrLoc"])
    header = stream.read(info["datLoc"] - info["hdrLoc"])
    cards = (header[i : i + _CARD] for i in range(0, len(header), _CARD))
    key = b"".join(card for card in cards if card.startswith((b"T", b"NAXIS1 ")))
    if key not in known:
        dtype = hdu.columns.dtype.newbyteorder(">")
        if dtype.itemsize != int(hdu.header["NAXIS1"]):
            raise SossInputError(f"The table EXTRACT1D of {path} has a layout that is not known.")
        columns = {column.name.upper(): column for column in hdu.columns}
        known[key] = _Layout(
            dtype,
            {name.upper(): name for name in dtype.names or ()},
            {name: int(column.bzero) for name, column in columns.items() if column.bzero},
            {name: column.unit or "" for name, column in columns.items()},
        )
    return known[key]


def _read_table(hdu: fits.BinTableHDU, layout: _Layout, stream: Any, path: str) -> RawSpectra:
    dtype, fields = layout.dtype, layout.names
    error = next((name for name in _ERROR_NAMES if name in fields), None)
    wanted = ["WAVELENGTH", "FLUX", error, "DQ", "NPIXELS", "INT_NUM", "N_ALONGDISP"]
    present = [name for name in wanted if name is not None and name in fields]
    n_rows = int(hdu.header["NAXIS2"])
    parts: dict[str, list[np.ndarray]] = {name: [] for name in present}
    stream.seek(hdu.fileinfo()["datLoc"])
    step = max(1, _CHUNK // max(dtype.itemsize, 1))
    for start in range(0, n_rows, step):
        count = min(step, n_rows - start)
        rows = np.frombuffer(stream.read(count * dtype.itemsize), dtype, count)
        for name in present:
            # A copy in the byte order of this machine; the rows themselves are dropped.
            field = rows[fields[name]]
            parts[name].append(field.astype(field.dtype.newbyteorder("=")))
    arrays = {}
    for name in present:
        empty = np.zeros(0, dtype[fields[name]].base.newbyteorder("="))
        array = np.concatenate(parts.pop(name) or [empty])
        zero = layout.zeros.get(name, 0)
        arrays[name] = array.astype(np.int64) + zero if zero else array
    header = hdu.header
    return _make(arrays, layout.units, header.get("SPORDER"), header.get("INT_NUM"), path)


def _make(
    arrays: dict[str, np.ndarray], units: dict[str, str], order: Any, number: Any, name: str
) -> RawSpectra:
    """Bring a table of either layout to one form."""
    if isinstance(order, bool) or not isinstance(order, int | np.integer) or order < 1:
        raise SossInputError(f"A spectrum of {name} does not say of which order it is (SPORDER).")
    for column in ("WAVELENGTH", "FLUX"):
        if column not in arrays:
            raise SossInputError(f"The spectra of order {order} of {name} have no {column}.")
    if units.get("WAVELENGTH", "").strip().lower() not in _MICRONS:
        raise SossInputError(
            f"The wavelengths of order {order} of {name} are in {units['WAVELENGTH']}; "
            "um is needed."
        )
    wavelength = np.asarray(arrays["WAVELENGTH"], float)
    vectors = wavelength.ndim == 2
    if not vectors:
        wavelength = wavelength[None]
    shape = wavelength.shape

    def get(column: str, default: float) -> np.ndarray:
        array = arrays.get(column)
        if array is None:
            return np.full(shape, default)
        array = array if vectors else array[None]
        if array.shape != shape:
            raise SossInputError(
                f"{column} of order {order} of {name} has the shape {array.shape}, "
                f"WAVELENGTH {shape}."
            )
        return array

    flux = np.array(get("FLUX", np.nan), float)
    error_name = next((key for key in _ERROR_NAMES if key in arrays), "FLUX_ERROR")
    error = np.array(get(error_name, np.nan), float)
    # A flux of exactly 0 is what the photom step leaves where it has no response.
    bad = ~np.isfinite(flux) | (flux == 0) | ~np.isfinite(wavelength) | (wavelength <= 0)
    bad |= get("NPIXELS", 1.0) == 0
    bad |= (get("DQ", 0).astype(np.int64) & _DO_NOT_USE) != 0
    if vectors and "N_ALONGDISP" in arrays:
        length = np.asarray(arrays["N_ALONGDISP"]).reshape(-1, 1)
        beyond = np.arange(shape[1]) >= length
        bad |= beyond
        wavelength = np.where(beyond, np.nan, wavelength)
    integrations = np.zeros(shape[0], int)
    if vectors and "INT_NUM" in arrays:
        integrations = np.asarray(arrays["INT_NUM"], int).reshape(-1)
    elif isinstance(number, int | np.integer) and not isinstance(number, bool) and number > 0:
        integrations = np.full(shape[0], int(number))
    return RawSpectra(
        int(order), integrations, wavelength, flux, error, bad, units.get("FLUX", "").strip()
    )
