"""What the user has chosen, one immutable record after each action, so that it can be undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.path import Path

from soss_photcal_steps.contamination.table import TableRow
from soss_photcal_steps.errors import SossInputError

__all__ = ["LARGEST_SCALE", "Region", "Setting", "check_scales", "excluded_pixels"]

#: Scales beyond this make no sense: the sky differs by a factor of a few.
LARGEST_SCALE = 100.0
# Corners of one region; a freehand line has some hundreds.
_MOST_CORNERS = 20_000
_EDGE = 1e-6


@dataclass(frozen=True)
class Region:
    """A polygon that was painted, or wiped, on the mask.

    Attributes
    ----------
    columns, rows : tuple of float
        Its corners, pixels; rows are those of SUBSTRIP256.
    wipe : bool
        Whether it takes pixels off the mask in the place of adding them.
    """

    columns: tuple[float, ...]
    rows: tuple[float, ...]
    wipe: bool = False

    def __post_init__(self) -> None:
        if len(self.columns) != len(self.rows) or not 3 <= len(self.columns) <= _MOST_CORNERS:
            raise SossInputError(
                f"A region needs 3 to {_MOST_CORNERS} corners, with a column and a row each, not "
                f"{len(self.columns)} columns and {len(self.rows)} rows."
            )
        if not np.isfinite([*self.columns, *self.rows]).all():
            raise SossInputError("The corners of a region must be finite numbers.")

    @classmethod
    def box(cls, columns: Sequence[float], rows: Sequence[float], *, wipe: bool = False) -> Region:
        """Make a box.

        Parameters
        ----------
        columns, rows : sequence of float
            First and last, pixels.
        wipe : bool, optional
            Whether it takes pixels off the mask.

        Returns
        -------
        Region
            Its four corners.
        """
        # Pixels whose centre lies on the line belong to the box.
        left, right = min(columns) - _EDGE, max(columns) + _EDGE
        low, high = min(rows) - _EDGE, max(rows) + _EDGE
        return cls((left, right, right, left), (low, low, high, high), wipe)

    def pixels(self, rows: np.ndarray, n_columns: int) -> np.ndarray:
        """Tell which pixels have their centre inside.

        Parameters
        ----------
        rows : ndarray
            Row of each line in the coordinates of SUBSTRIP256, shape (ny,).
        n_columns : int
            Columns of the image.

        Returns
        -------
        ndarray of bool
            Shape (ny, n_columns).
        """
        inside = np.zeros((len(rows), n_columns), bool)
        first = max(int(np.ceil(min(self.columns) - 0.5)), 0)
        last = min(int(np.floor(max(self.columns) + 0.5)), n_columns - 1)
        lines = np.flatnonzero((rows >= min(self.rows) - 0.5) & (rows <= max(self.rows) + 0.5))
        if last < first or lines.size == 0:
            return inside
        columns = np.arange(first, last + 1)
        points = np.stack(np.meshgrid(columns, rows[lines]), axis=-1).reshape(-1, 2)
        corners = np.column_stack([self.columns, self.rows])
        hit = Path(np.vstack([corners, corners[:1]]), closed=True).contains_points(points)
        inside[lines[0] : lines[-1] + 1, first : last + 1] = hit.reshape(lines.size, columns.size)
        return inside


@dataclass(frozen=True)
class Setting:
    """What the user has chosen.

    Attributes
    ----------
    template : int or None
        Template, counted from 0; None leaves the choice to the fit.
    scales : tuple of float or None
        Scale left and right of the break; None takes those of the fit.
    regions : tuple of Region
        What was painted on the mask, in this order.
    intervals : tuple of TableRow
        Wavelengths that the ratio step is to leave out.
    """

    template: int | None = None
    scales: tuple[float, float] | None = None
    regions: tuple[Region, ...] = ()
    intervals: tuple[TableRow, ...] = field(default=())


def check_scales(left: float, right: float) -> tuple[float, float]:
    """Refuse scales that make no sense.

    Parameters
    ----------
    left, right : float
        Scale left and right of the break.

    Returns
    -------
    tuple of float
        The same.

    Raises
    ------
    SossInputError
        If one is no finite number, or larger than `LARGEST_SCALE`.
    """
    values = (float(left), float(right))
    if not all(np.isfinite(value) and abs(value) <= LARGEST_SCALE for value in values):
        raise SossInputError(
            f"A scale is a number between -{LARGEST_SCALE:g} and {LARGEST_SCALE:g}, not "
            f"{values[0]:g} and {values[1]:g}."
        )
    return values


def excluded_pixels(
    regions: Sequence[Region], rows: np.ndarray, n_columns: int
) -> np.ndarray | None:
    """Draw the mask that was painted.

    Parameters
    ----------
    regions : sequence of Region
        What was painted and wiped, in this order.
    rows : ndarray
        Row of each line in the coordinates of SUBSTRIP256, shape (ny,).
    n_columns : int
        Columns of the image.

    Returns
    -------
    ndarray of bool or None
        Shape (ny, n_columns); None if nothing is masked.
    """
    mask = np.zeros((len(rows), n_columns), bool)
    for region in regions:
        inside = region.pixels(rows, n_columns)
        mask = mask & ~inside if region.wipe else mask | inside
    return mask if mask.any() else None
