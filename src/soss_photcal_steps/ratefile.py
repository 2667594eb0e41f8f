"""Read ``rate`` and ``rateints`` files in parts, so that memory does not grow with their length.

A data model holds every array of its file, several times when it is saved.  Here the pixels
are read straight from the file, as many integrations at a time as the caller wants, and the
metadata come as a data model whose arrays are not there.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np
from astropy.io import fits
from stdatamodels.jwst import datamodels

from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.files import check_fits
from soss_photcal_steps.ratelayout import (
    CUBES,
    MODELS,
    UNSIGNED_ZERO,
    Extension,
    check_flags,
    compression,
    find_extensions,
    obstacle,
    open_checked,
)
from soss_photcal_steps.strangers import check_asdf_extension
from soss_photcal_steps.unread import UnreadArrays, stand_in

__all__ = ["CHUNK_SIZE", "RateFile", "open_metadata"]

#: Bytes that are read at a time.  Between 1 and 8 MB all are equally fast: small enough to stay
#: in the processor's cache, large enough for calls not to matter.
CHUNK_SIZE = 2**22


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
        self.reason = compression(self.path)
        if not self.reason:
            check_fits(path)
            check_asdf_extension(path)
            self.extensions = find_extensions(self.path)
            self._check_end()
            self._check_science()
            check_flags(self.path, self.extensions)
            self.reason = obstacle(self.extensions)
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
        if len(shape) not in MODELS:
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
            out ^= np.uint32(UNSIGNED_ZERO)
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
    kind = getattr(datamodels, MODELS[len(source.shape)])
    unread = UnreadArrays()
    with open_checked(source.path) as hdus:
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
            tree[name] = stand_in(value)
    return model
