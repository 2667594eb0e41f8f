"""Where everything lies in a ``rate`` or ``rateints`` file, and whether that is as it should be."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import check_cards

__all__ = [
    "CUBES",
    "MODELS",
    "UNSIGNED_ZERO",
    "Extension",
    "check_flags",
    "compression",
    "find_extensions",
    "obstacle",
    "open_checked",
]

#: Extensions that have the shape of SCI, with the type that the data model gives them.
CUBES: dict[str, np.dtype] = {
    "SCI": np.dtype(np.float32),
    "DQ": np.dtype(np.uint32),
    "ERR": np.dtype(np.float32),
    "VAR_POISSON": np.dtype(np.float32),
    "VAR_RNOISE": np.dtype(np.float32),
    "VAR_FLAT": np.dtype(np.float32),
}

#: FITS has no unsigned integers: they are stored less this.
UNSIGNED_ZERO = 2**31
# Images that are no cube of CUBES are read with the metadata; larger ones would need memory.
_LARGEST_OTHER_IMAGE = 2**24
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"PK": "zip", b"\xfd7": "xz"}
#: Data model of rate and rateints by the number of their dimensions.
MODELS = {2: "ImageModel", 3: "CubeModel"}
_STORED: dict[int, np.dtype] = {-32: np.dtype(">f4"), -64: np.dtype(">f8"), 32: np.dtype(">i4")}


@dataclass(frozen=True)
class Extension:
    """Where an extension lies in its file.

    Attributes
    ----------
    name : str
        EXTNAME, or "PRIMARY".
    version : int
        EXTVER.
    header : astropy.io.fits.Header
        Header; not to be edited.
    header_start, data_start, end : int
        First byte of header and data, and the byte after the data and their padding.
    """

    name: str
    version: int
    header: fits.Header
    header_start: int
    data_start: int
    end: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the data in the order of numpy."""
        return tuple(self.header[f"NAXIS{i}"] for i in range(self.header["NAXIS"], 0, -1))

    @property
    def stored_type(self) -> np.dtype | None:
        """Type of the pixels in the file; None if it is none that is known here."""
        return _STORED.get(int(self.header["BITPIX"]))


def compression(path: str) -> str:
    """Tell how a file is compressed.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    str
        In words; empty if it is not, or not there.

    Raises
    ------
    SossInputError
        If the file cannot be read.
    """
    if not os.path.isfile(path):
        return ""
    try:
        with open(path, "rb") as stream:
            kind = _COMPRESSED.get(stream.read(2))
    except OSError as error:
        raise SossInputError(f"The file {path} cannot be read: {error.strerror}.") from error
    return f"it is compressed by {kind}" if kind else ""


@contextmanager
def open_checked(path: str, **kwargs: Any) -> Iterator[fits.HDUList]:
    """Open a file that has been checked, without the warnings that the check has answered.

    Parameters
    ----------
    path : str
        The file.
    **kwargs
        As for ``astropy.io.fits.open``.

    Yields
    ------
    HDUList
        The file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        with fits.open(path, memmap=False, lazy_load_hdus=False, **kwargs) as hdus:
            yield hdus


def find_extensions(path: str) -> tuple[Extension, ...]:
    """Find where everything lies in a FITS file, from its headers.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    tuple of Extension
        All extensions in the order of the file.

    Raises
    ------
    SossInputError
        If a header holds what no header may.
    """
    found = []
    with open_checked(path, disable_image_compression=True) as hdus:
        for hdu in hdus:
            check_cards(hdu.header, path)
            info = hdu.fileinfo()
            found.append(
                Extension(
                    name=hdu.name,
                    version=hdu.ver,
                    header=hdu.header,
                    header_start=info["hdrLoc"],
                    data_start=info["datLoc"],
                    end=info["datLoc"] + info["datSpan"],
                )
            )
    return tuple(found)


def check_flags(
    path: str | os.PathLike[str], extensions: Sequence[Extension] | None = None
) -> None:
    """Refuse a FITS file whose data quality is scaled: flags would become others.

    Parameters
    ----------
    path : path
        The file.
    extensions : sequence of Extension, optional
        Its extensions, if they are known already.

    Raises
    ------
    SossInputError
        If its DQ has a BSCALE, or a BZERO that is not that of unsigned integers.
    """
    if extensions is None:
        extensions = find_extensions(os.fspath(path))
    for extension in extensions:
        header = extension.header
        known = header.get("BSCALE", 1) == 1 and header.get("BZERO", 0) in (0, UNSIGNED_ZERO)
        if extension.name == "DQ" and not known:
            raise SossInputError(
                f"The flags in DQ of {path} are scaled by BSCALE {header.get('BSCALE', 1)} and "
                f"BZERO {header.get('BZERO', 0)}; the header is damaged."
            )


def obstacle(extensions: Sequence[Extension]) -> str:
    """Say what keeps a file from being read in parts.

    Parameters
    ----------
    extensions : sequence of Extension
        All extensions of the file, with one called SCI.

    Returns
    -------
    str
        In words; empty if all is well.
    """
    names = [(extension.name, extension.version) for extension in extensions]
    shape = next(extension.shape for extension in extensions if extension.name == "SCI")
    present = {name for name, _ in names}
    primary = extensions[0].header
    for extension in extensions:
        if "ZIMAGE" in extension.header:
            return f"{extension.name} is tile-compressed"
    if primary.get("DATAMODL") != MODELS[len(shape)]:
        return f"its model is {primary.get('DATAMODL')}, not {MODELS[len(shape)]}"
    if primary["NAXIS"] > 0:
        return "its primary HDU holds data"
    missing = {"DQ", "ERR"} - present
    if missing:
        return f"it has no {' and no '.join(sorted(missing))}"
    for name, version in names:
        if names.count((name, version)) > 1 or (name in CUBES and version != 1):
            return f"it has several extensions {name}"
    return next((text for text in map(_extension_obstacle, extensions) if text), "") or next(
        (
            f"{extension.name} has the shape {extension.shape}, not {shape} as SCI"
            for extension in extensions
            if extension.name in CUBES and extension.shape != shape
        ),
        "",
    )


def _extension_obstacle(extension: Extension) -> str:
    """Say why an extension can neither be read in parts nor as a whole."""
    header, name = extension.header, extension.name
    if name not in CUBES:
        is_image = header.get("XTENSION", "IMAGE").strip() == "IMAGE"
        large = extension.end - extension.data_start > _LARGEST_OTHER_IMAGE
        return f"{name} is a large image of an unknown kind" if is_image and large else ""
    if header.get("XTENSION", "").strip() != "IMAGE":
        return f"{name} is not an image"
    zero = UNSIGNED_ZERO if name == "DQ" else 0
    if header.get("BSCALE", 1) != 1 or header.get("BZERO", 0) != zero or "BLANK" in header:
        return f"{name} is scaled"
    allowed = {"DQ": (32,), "SCI": (-32, -64)}.get(name, (-32,))
    if header["BITPIX"] not in allowed:
        return f"{name} is stored with BITPIX {header['BITPIX']}"
    return ""
