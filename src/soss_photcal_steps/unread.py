"""Arrays that stand for pixels that were not read, and take no memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, mmap
from typing import Any

import numpy as np

__all__ = ["UnreadArrays", "is_stand_in", "stand_in"]

# What stands for pixels that were not read: not a number, and DO_NOT_USE.  An array of any
# shape is a view of one of these elements, so it needs no memory and cannot be written to.
_NOT_READ = {
    np.dtype(np.float32): np.array(np.nan, dtype=np.float32),
    np.dtype(np.uint32): np.array(1, dtype=np.uint32),
}


def stand_in(array: np.ndarray) -> np.ndarray:
    """Make an array that stands for one that was not read.

    Parameters
    ----------
    array : ndarray
        Of the right shape; float32 or uint32.

    Returns
    -------
    ndarray
        NaN or DO_NOT_USE everywhere.
    """
    return np.broadcast_to(_NOT_READ[array.dtype], array.shape)


def is_stand_in(value: Any) -> bool:
    """Tell whether an array stands for pixels that were not read, see `stand_in`.

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
