"""Which part of the detector an image covers, from its header and never by guess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.trace import DETECTOR_SIZE, subarray_rows

__all__ = ["REFERENCE_BORDER", "Window"]

#: Width of the detector's border of reference pixels, pixels.
REFERENCE_BORDER = 4


@dataclass(frozen=True)
class Window:
    """The part of the detector that an image covers.

    Attributes
    ----------
    first_row, first_column : int
        Detector row and column of the first pixel, from 0.
    n_rows, n_columns : int
        Size, pixels.
    """

    first_row: int
    n_rows: int
    first_column: int = 0
    n_columns: int = DETECTOR_SIZE

    @classmethod
    def from_header(
        cls,
        name: str,
        header: Mapping[str, Any],
        shape: tuple[int, int],
    ) -> Window:
        """Read where an image lies from the numbers in its header.

        Parameters
        ----------
        name : str
            What the sentence of an error calls the image: its file.
        header : mapping
            ``SUBSTRT1``, ``SUBSTRT2``, ``SUBSIZE1``, ``SUBSIZE2`` and ``SUBARRAY``; None
            where the header has none.
        shape : tuple of int
            Rows and columns of the image.

        Returns
        -------
        Window
            The part of the detector.

        Raises
        ------
        SossInputError
            If the header does not say it, or says something else than the image's shape.
        """
        row, rows = header.get("SUBSTRT2"), header.get("SUBSIZE2")
        subarray = header.get("SUBARRAY")
        if row is None or rows is None:
            # The name of a standard subarray says the same as the two numbers.
            try:
                span = subarray_rows(str(subarray))
            except SossInputError:
                missing = [key for key in ("SUBSTRT2", "SUBSIZE2") if header.get(key) is None]
                raise SossInputError(
                    f"{name} does not say which rows of the detector it covers: "
                    f"{' and '.join(missing)} missing in its header, and SUBARRAY is "
                    f"{subarray!r}; SUBSTRIP256 begins at SUBSTRT2 = 1793."
                ) from None
            row, rows = span.start + 1, span.stop - span.start
        column = header.get("SUBSTRT1")
        columns = header.get("SUBSIZE1")
        try:
            window = cls(
                int(row) - 1,
                int(rows),
                0 if column is None else int(column) - 1,
                DETECTOR_SIZE if columns is None else int(columns),
            )
        except (TypeError, ValueError, OverflowError):
            raise SossInputError(
                f"{name} does not say by whole numbers what it covers of the detector: SUBSTRT1, "
                f"SUBSTRT2, SUBSIZE1 and SUBSIZE2 are {column!r}, {row!r}, {columns!r}, {rows!r}."
            ) from None
        if (window.n_rows, window.n_columns) != tuple(shape):
            raise SossInputError(
                f"{name} has images of {shape[0]} x {shape[1]} pixels (rows x columns), but its "
                f"header says {window.n_rows} x {window.n_columns} (SUBSIZE2, SUBSIZE1)."
            )
        return window

    @property
    def strip_rows(self) -> np.ndarray:
        """Row of each line in the coordinates of SUBSTRIP256, shape (n_rows,)."""
        start = self.first_row - subarray_rows("SUBSTRIP256").start
        return np.arange(start, start + self.n_rows)

    @property
    def reference_pixels(self) -> np.ndarray:
        """Pixels in the detector's border of reference pixels, shape (n_rows, n_columns)."""
        rows = np.arange(self.first_row, self.first_row + self.n_rows)
        columns = np.arange(self.first_column, self.first_column + self.n_columns)
        last = DETECTOR_SIZE - REFERENCE_BORDER
        row = (rows < REFERENCE_BORDER) | (rows >= last)
        column = (columns < REFERENCE_BORDER) | (columns >= last)
        return row[:, None] | column[None, :]

    def __str__(self) -> str:
        last_row, last_column = self.first_row + self.n_rows, self.first_column + self.n_columns
        return (
            f"rows {self.first_row + 1} to {last_row}, "
            f"columns {self.first_column + 1} to {last_column}"
        )

    def part(self, inner: Window) -> tuple[slice, slice] | None:
        """Say where another window lies in this one.

        Parameters
        ----------
        inner : Window
            The other.

        Returns
        -------
        tuple of slice or None
            Its rows and columns in this one; None if it is not wholly inside.
        """
        row, column = inner.first_row - self.first_row, inner.first_column - self.first_column
        inside = (
            row >= 0
            and column >= 0
            and row + inner.n_rows <= self.n_rows
            and column + inner.n_columns <= self.n_columns
        )
        if not inside:
            return None
        return slice(row, row + inner.n_rows), slice(column, column + inner.n_columns)
