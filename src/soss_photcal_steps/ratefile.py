"""Read ``rate`` and ``rateints`` files in parts, so that memory does not grow with their length.

A data model holds every array of its file, several times when it is saved.  Here the pixels
are read straight from the file, as many integrations at a time as the caller wants, and the
metadata come as a data model whose arrays are not there.
"""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, mmap
from types import TracebackType
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from stdatamodels.jwst import datamodels

from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.files import check_cards, check_fits
from soss_photcal_steps.strangers import check_asdf_extension

__all__ = [
    "CHUNK_SIZE",
    "CUBES",
    "Extension",
    "RateFile",
    "UnreadArrays",
    "check_flags",
    "is_stand_in",
    "open_metadata",
]

#: Bytes that are read at a time.  Between 1 and 8 MB all are equally fast: small enough to stay
#: in the processor's cache, large enough for calls not to matter.
CHUNK_SIZE = 2**22

#: Extensions that have the shape of SCI, with the type that the data model gives them.
CUBES: dict[str, np.dtype] = {
    "SCI": np.dtype(np.float32),
    "DQ": np.dtype(np.uint32),
    "ERR": np.dtype(np.float32),
    "VAR_POISSON": np.dtype(np.float32),
    "VAR_RNOISE": np.dtype(np.float32),
    "VAR_FLAT": np.dtype(np.float32),
}

# FITS has no unsigned integers: they are stored less this.
_UNSIGNED_ZERO = 2**31
# Images that are no cube of CUBES are read with the metadata; larger ones would need memory.
_LARGEST_OTHER_IMAGE = 2**24
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"PK": "zip", b"\xfd7": "xz"}
_MODELS = {2: "ImageModel", 3: "CubeModel"}
_STORED: dict[int, np.dtype] = {-32: np.dtype(">f4"), -64: np.dtype(">f8"), 32: np.dtype(">i4")}

# What stands for pixels that were not read: not a number, and DO_NOT_USE.  An array of any
# shape is a view of one of these elements, so it needs no memory and cannot be written to.
_NOT_READ = {
    np.dtype(np.float32): np.array(np.nan, dtype=np.float32),
    np.dtype(np.uint32): np.array(1, dtype=np.uint32),
}


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


class RateFile:
    """A ``rate`` or ``rateints`` file that is read in parts.

    Opening reads the headers only.  A file that is fine but has a layout that cannot be read
    in parts, such as a compressed one, is not `streamable`: open it as a data model.

    Parameters
    ----------
    path : path
        The file.

    Attributes
    ----------
    path : str
        The file.
    extensions : tuple of Extension
        All extensions in the order of the file; empty if the file is compressed.
    streamable : bool
        Whether the file can be read in parts.
    reason : str
        If not, why.

    Raises
    ------
    SossInputError
        If the file is missing, is not FITS, is truncated, or holds no rate images.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.extensions: tuple[Extension, ...] = ()
        self.reason = _compression(self.path)
        if not self.reason:
            check_fits(path)
            check_asdf_extension(path)
            self.extensions = _extensions(self.path)
            self._check_end()
            self._check_science()
            _check_flags(self.path, self.extensions)
            self.reason = _obstacle(self.extensions)
        self.streamable = not self.reason
        # Unbuffered: what is read goes where it is wanted, without a copy in between.
        self._stream = open(path, "rb", buffering=0)  # noqa: SIM115 (closed by close)

    def __enter__(self) -> RateFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _check_end(self) -> None:
        with open(self.path, "rb") as stream:
            stream.seek(self.extensions[-1].end)
            rest = stream.read(8)
        # The first letters of one more header, which astropy overlooks.
        if rest and b"XTENSION".startswith(rest):
            raise SossInputError(f"The file {self.path} is truncated; copy or download it again.")

    def _check_science(self) -> None:
        if "SCI" not in self:
            raise SossInputError(
                f"The file {self.path} has no extension SCI; a rate or rateints file is needed."
            )
        shape = self.shape
        if len(shape) not in _MODELS:
            raise SossInputError(
                f"The data of {self.path} have {len(shape)} dimensions; rate has 2 and rateints 3."
            )
        if 0 in shape:
            raise SossInputError(
                f"The file {self.path} holds no integration: its data have the shape {shape}."
            )

    def __contains__(self, name: str) -> bool:
        return any(extension.name == name for extension in self.extensions)

    def __getitem__(self, name: str) -> Extension:
        for extension in self.extensions:
            if extension.name == name:
                return extension
        raise KeyError(f"{self.path} has no extension {name}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of SCI: (ny, nx), or (n, ny, nx) for integrations; only of a streamable file."""
        return self["SCI"].shape

    @property
    def n_integrations(self) -> int:
        """Number of integrations; 1 for ``rate``."""
        return self.shape[0] if len(self.shape) == 3 else 1

    @property
    def integration_bytes(self) -> int:
        """Size of one integration of SCI in memory."""
        return math.prod(self.shape[-2:]) * CUBES["SCI"].itemsize

    def header(self, name: str) -> fits.Header:
        """Give the header of an extension.

        Parameters
        ----------
        name : str
            Name of the extension, such as "PRIMARY" or "SCI".

        Returns
        -------
        astropy.io.fits.Header
            A copy.
        """
        return self[name].header.copy()

    def read(
        self, name: str, start: int = 0, stop: int | None = None, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Read integrations of one of the `CUBES`.

        Parameters
        ----------
        name : str
            Name of the extension.
        start, stop : int, optional
            First integration, from 0, and the one after the last; by default all.
        out : ndarray, optional
            Contiguous array of the type in `CUBES` and shape (stop - start, ny, nx) to read to.

        Returns
        -------
        ndarray
            Shape (stop - start, ny, nx), also for ``rate``; float32, or uint32 for DQ.  The
            values are those that a data model has.

        Raises
        ------
        SossInputError
            If the file cannot be read in parts, or has become shorter.
        """
        stop = self.n_integrations if stop is None else stop
        if not self.streamable:
            raise SossInputError(f"The file {self.path} cannot be read in parts: {self.reason}.")
        if not 0 <= start <= stop <= self.n_integrations:
            raise ValueError(f"{start} to {stop} is not within {self.n_integrations} integrations")
        shape, dtype = (stop - start, *self.shape[-2:]), CUBES[name]
        if out is None:
            out = np.empty(shape, dtype)
        elif out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous:
            raise ValueError(f"out must be a contiguous array of {dtype} with the shape {shape}")
        stored = self[name].stored_type
        if stored == np.dtype(">f8"):
            out[...] = self.read_raw(name, start, np.empty(shape, stored))
            return out
        self.read_raw(name, start, out)
        if sys.byteorder == "little":
            out.byteswap(inplace=True)
        if dtype == np.uint32:
            out ^= np.uint32(_UNSIGNED_ZERO)
        return out

    def read_raw(self, name: str, start: int, out: np.ndarray) -> np.ndarray:
        """Read integrations of one of the `CUBES` as they are in the file.

        Parameters
        ----------
        name : str
            Name of the extension.
        start : int
            First integration, from 0.
        out : ndarray
            Contiguous array, as many integrations as are wanted; its bytes are overwritten.

        Returns
        -------
        ndarray
            `out`.

        Raises
        ------
        SossInputError
            If the file has become shorter since it was opened, or cannot be read.
        """
        extension = self[name]
        buffer = out.reshape(-1).view(np.uint8).data
        size = math.prod(self.shape[-2:]) * out.itemsize
        place = extension.data_start + start * size
        try:
            done = 0
            while done < len(buffer):
                # Unlike seeking and reading, this can be done by several threads at a time.
                count = os.preadv(self._stream.fileno(), [buffer[done:]], place + done)
                if not count:
                    raise SossInputError(
                        f"The file {self.path} ended while it was read; has it been replaced?"
                    )
                done += count
        except OSError as error:
            raise SossInputError(
                f"The file {self.path} cannot be read: {error.strerror}."
            ) from error
        return out

    def iter_chunks(
        self, names: Sequence[str] = ("SCI", "DQ"), size: int = CHUNK_SIZE
    ) -> Iterator[tuple[int, int, list[np.ndarray]]]:
        """Read all integrations, some at a time.

        Parameters
        ----------
        names : sequence of str, optional
            Names of the extensions.
        size : int, optional
            Bytes to read at a time from each; at least one integration is read.

        Yields
        ------
        start, stop : int
            First integration, from 0, and the one after the last.
        arrays : list of ndarray
            One for each extension, see `read`.  The next chunk overwrites them.
        """
        step = min(max(1, size // self.integration_bytes), self.n_integrations)
        buffers = [np.empty((step, *self.shape[-2:]), CUBES[name]) for name in names]
        for start in range(0, self.n_integrations, step):
            stop = min(start + step, self.n_integrations)
            yield (
                start,
                stop,
                [
                    self.read(name, start, stop, buffer[: stop - start])
                    for name, buffer in zip(names, buffers, strict=True)
                ],
            )


def _compression(path: str) -> str:
    """Tell how a file is compressed, in words; nothing if it is not, or not there."""
    if not os.path.isfile(path):
        return ""
    try:
        with open(path, "rb") as stream:
            kind = _COMPRESSED.get(stream.read(2))
    except OSError as error:
        raise SossInputError(f"The file {path} cannot be read: {error.strerror}.") from error
    return f"it is compressed by {kind}" if kind else ""


@contextmanager
def _open_fits(path: str, **kwargs: Any) -> Iterator[fits.HDUList]:
    """Open a file that has been checked, without the warnings that the check has answered."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        with fits.open(path, memmap=False, lazy_load_hdus=False, **kwargs) as hdus:
            yield hdus


def _extensions(path: str) -> tuple[Extension, ...]:
    """Find where everything lies in a FITS file, from its headers."""
    found = []
    with _open_fits(path, disable_image_compression=True) as hdus:
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


def check_flags(path: str | os.PathLike[str]) -> None:
    """Refuse a FITS file whose data quality is scaled: flags would become others.

    Parameters
    ----------
    path : path
        The file.

    Raises
    ------
    SossInputError
        If its DQ has a BSCALE, or a BZERO that is not that of unsigned integers.
    """
    _check_flags(os.fspath(path), _extensions(os.fspath(path)))


def _check_flags(path: str, extensions: Sequence[Extension]) -> None:
    for extension in extensions:
        header = extension.header
        known = header.get("BSCALE", 1) == 1 and header.get("BZERO", 0) in (0, _UNSIGNED_ZERO)
        if extension.name == "DQ" and not known:
            raise SossInputError(
                f"The flags in DQ of {path} are scaled by BSCALE {header.get('BSCALE', 1)} and "
                f"BZERO {header.get('BZERO', 0)}; the header is damaged."
            )


def _obstacle(extensions: Sequence[Extension]) -> str:
    """Say what keeps a file from being read in parts; nothing if all is well."""
    names = [(extension.name, extension.version) for extension in extensions]
    shape = next(extension.shape for extension in extensions if extension.name == "SCI")
    present = {name for name, _ in names}
    primary = extensions[0].header
    for extension in extensions:
        if "ZIMAGE" in extension.header:
            return f"{extension.name} is tile-compressed"
    if primary.get("DATAMODL") != _MODELS[len(shape)]:
        return f"its model is {primary.get('DATAMODL')}, not {_MODELS[len(shape)]}"
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
    zero = _UNSIGNED_ZERO if name == "DQ" else 0
    if header.get("BSCALE", 1) != 1 or header.get("BZERO", 0) != zero or "BLANK" in header:
        return f"{name} is scaled"
    allowed = {"DQ": (32,), "SCI": (-32, -64)}.get(name, (-32,))
    if header["BITPIX"] not in allowed:
        return f"{name} is stored with BITPIX {header['BITPIX']}"
    return ""


def is_stand_in(value: Any) -> bool:
    """Tell whether an array stands for pixels that were not read, see `open_metadata`.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    bool
        True for such an array.
    """
    return isinstance(value, np.ndarray) and any(
        np.may_share_memory(value, element) for element in _NOT_READ.values()
    )


def open_metadata(source: RateFile) -> Any:
    """Open the metadata of a file as a data model, without its pixels.

    The model is what ``datamodels.open`` gives, but for the arrays of the extensions in
    `CUBES`: they have the right shape and type, are NaN or DO_NOT_USE everywhere, need no
    memory and cannot be edited.  Do not copy the model or save it: that would make real
    arrays of them.

    Parameters
    ----------
    source : RateFile
        The file; it must be streamable.

    Returns
    -------
    CubeModel or ImageModel
        The metadata.

    Raises
    ------
    SossInputError
        If the file is not streamable, or its metadata cannot be read.
    """
    if not source.streamable:
        raise SossInputError(f"The file {source.path} cannot be read in parts: {source.reason}.")
    kind = getattr(datamodels, _MODELS[len(source.shape)])
    unread = UnreadArrays()
    with _open_fits(source.path) as hdus:
        try:
            for hdu in hdus:
                if hdu.name in CUBES:
                    hdu.data = unread.array(hdu.shape, CUBES[hdu.name])
            model = kind(hdus)
        except MemoryError:
            raise
        except Exception as error:
            # Whatever astropy, asdf or stdatamodels stumbles over, the file is at fault.
            raise SossInputError(
                f"The file {source.path} cannot be opened as a JWST data model: {reason(error)}."
            ) from error
    tree = model.instance
    for name, value in tree.items():
        if isinstance(value, np.ndarray) and unread.owns(value):
            tree[name] = np.broadcast_to(_NOT_READ[value.dtype], value.shape)
    return model


class UnreadArrays:
    """Contiguous arrays of any size that take no memory, for code that only asks for shapes.

    They share pages that were never written to; such pages read as zero.  stdatamodels and
    asdf make real copies of arrays that are not contiguous.
    """

    def __init__(self) -> None:
        self._pages: list[mmap] = []

    def array(self, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
        """Make an array.

        Parameters
        ----------
        shape : sequence of int
            Its shape, not empty.
        dtype : dtype
            Its type.

        Returns
        -------
        ndarray
            Zeros; it cannot be written to.
        """
        count = math.prod(shape)
        size = count * dtype.itemsize
        if not self._pages or len(self._pages[-1]) < size:
            flags = MAP_PRIVATE | MAP_ANONYMOUS
            self._pages.append(mmap(-1, size, flags=flags, prot=PROT_READ))
        return np.frombuffer(self._pages[-1], dtype, count).reshape(shape)

    def owns(self, array: np.ndarray) -> bool:
        """Tell whether an array was made here.

        Parameters
        ----------
        array : ndarray
            Any array.

        Returns
        -------
        bool
            True if it is one of these.
        """
        return any(
            np.may_share_memory(array, np.frombuffer(page, np.uint8)) for page in self._pages
        )
