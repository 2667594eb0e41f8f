"""Integrations of a segment, read a few at a time from memory or from a file."""

from __future__ import annotations

import threading
from typing import Any, Protocol

import numpy as np

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.ratefile import RateFile

__all__ = ["UNUSABLE", "Integrations", "ModelIntegrations", "StreamedIntegrations"]

#: Flags of jwst's data quality that a pixel is not used with: DO_NOT_USE, NON_SCIENCE,
#: REFERENCE_PIXEL.
UNUSABLE = np.uint32(2**0 | 2**9 | 2**31)


class Integrations(Protocol):
    """One segment of an exposure, read in parts, also by several threads.

    Attributes
    ----------
    shape : tuple of int
        Integrations, rows and columns.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """Integrations, rows and columns."""

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Read integrations.

        Parameters
        ----------
        start, stop : int
            First integration, from 0, and the one after the last.

        Returns
        -------
        rates : ndarray
            Count rates, shape (n, ny, nx), float32, DN/s; the caller may overwrite them, and
            the next call in the same thread does.
        flags : ndarray of uint32
            Data quality, same shape, not to be changed; what has a bit of `UNUSABLE` is not
            to be used.
        """

    def errors(self, index: int) -> np.ndarray | None:
        """Read the errors of one integration.

        Parameters
        ----------
        index : int
            Integration, from 0.

        Returns
        -------
        ndarray or None
            Shape (ny, nx), DN/s; None if there are none.
        """


class _Buffers(threading.local):
    """Arrays of each thread, used again and again: fresh memory costs as much as the work."""

    def __init__(self) -> None:
        self._arrays: tuple[np.ndarray, ...] = ()

    def get(self, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Give rates and flags of a shape; what they hold is left from before."""
        if not self._arrays or len(self._arrays[0]) < shape[0]:
            self._arrays = tuple(np.empty(shape, kind) for kind in (np.float32, np.uint32))
        rates, flags = (array[: shape[0]] for array in self._arrays)
        return rates, flags


class ModelIntegrations:
    """A model in memory as a series of integrations, see `Integrations`.

    Parameters
    ----------
    model : CubeModel or ImageModel
        The model; its arrays are not copied.

    Raises
    ------
    SossInputError
        If it has no image.
    """

    def __init__(self, model: Any) -> None:
        data = model.data
        # A model of a file without SCI has none, or up to jwst 1.20 one without pixels.
        if data is None or 0 in data.shape[-2:]:
            name = model.meta.filename or type(model).__name__
            raise SossInputError(f"{name} has no image (SCI); a rate or rateints is needed.")
        self._data = data if data.ndim == 3 else data[None]
        self._dq = self._cube(model, "dq")
        self._err = self._cube(model, "err")
        self._buffers = _Buffers()

    def _cube(self, model: Any, name: str) -> np.ndarray | None:
        # Asking a model for an array that it does not have would make one.
        if not model.hasattr(name):
            return None
        array = getattr(model, name)
        array = array if array.ndim == 3 else array[None]
        return array if array.shape == self._data.shape else None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Integrations, rows and columns."""
        return self._data.shape

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Read integrations.

        Parameters
        ----------
        start, stop : int
            First integration, from 0, and the one after the last.

        Returns
        -------
        rates : ndarray
            A copy of the count rates, shape (n, ny, nx), float32, DN/s; the next call in the
            same thread overwrites it.
        flags : ndarray of uint32
            Data quality, same shape, not to be changed; what has a bit of `UNUSABLE` is not
            to be used.
        """
        rates, flags = self._buffers.get((stop - start, *self.shape[1:]))
        rates[...] = self._data[start:stop]
        if self._dq is not None:
            return rates, self._dq[start:stop]
        flags[...] = 0
        return rates, flags

    def errors(self, index: int) -> np.ndarray | None:
        """Read the errors of one integration.

        Parameters
        ----------
        index : int
            Integration, from 0.

        Returns
        -------
        ndarray or None
            Shape (ny, nx), DN/s; None if there are none.
        """
        return None if self._err is None else self._err[index]

    def subtract(self, index: int, background: np.ndarray) -> None:
        """Subtract a background from one integration of the model, in place.

        Parameters
        ----------
        index : int
            Integration, from 0.
        background : ndarray
            Shape (ny, nx), DN/s.
        """
        self._data[index] -= background


class StreamedIntegrations:
    """A file as a series of integrations that are read when asked for.

    Parameters
    ----------
    source : RateFile
        The file.
    """

    def __init__(self, source: RateFile) -> None:
        self._source = source
        self._buffers = _Buffers()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Integrations, rows and columns."""
        rows, columns = self._source.shape[-2:]
        return self._source.n_integrations, rows, columns

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Read integrations.

        Parameters
        ----------
        start, stop : int
            First integration, from 0, and the one after the last.

        Returns
        -------
        rates : ndarray
            Count rates, shape (n, ny, nx), float32, DN/s; the next call in the same thread
            overwrites them.
        flags : ndarray of uint32
            Data quality, same shape, not to be changed; what has a bit of `UNUSABLE` is not
            to be used.
        """
        rates, flags = self._buffers.get((stop - start, *self.shape[1:]))
        self._source.read("SCI", start, stop, rates)
        self._source.read("DQ", start, stop, flags)
        return rates, flags

    def errors(self, index: int) -> np.ndarray | None:
        """Read the errors of one integration.

        Parameters
        ----------
        index : int
            Integration, from 0.

        Returns
        -------
        ndarray or None
            Shape (ny, nx), DN/s; None if there are none.
        """
        if "ERR" not in self._source:
            return None
        return self._source.read("ERR", index, index + 1)[0]
