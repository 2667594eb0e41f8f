"""What the explorer plots: averages over the sky, spectra in a box, the step at the break."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soss_photcal_steps.averages import mean_along, robust_scale
from soss_photcal_steps.contamination.mapping import box_light

__all__ = [
    "BREAK_WAVELENGTH",
    "Parts",
    "StepAtBreak",
    "fill_rows",
    "make_parts",
    "step_at_break",
]

#: Wavelength in order 1 where its trace crosses the break of the background, um (section 4 of
#: JWST-STScI-009248).
BREAK_WAVELENGTH = 2.14
# Columns on either side of the break that tell its step; its tail is some 60 columns long.
_REACH = (180, 220)
_DEGREE = 4
_ROUNDS, _CLIP = 5, 3.0


@dataclass(frozen=True)
class Parts:
    """One image, as averages and spectra; all of it is linear in the image.

    Attributes
    ----------
    columns : ndarray
        Mean over the sky pixels of groups of columns, DN/s; NaN where there are none.
    rows : ndarray
        Mean over the sky pixels of each row, left and right of the break, shape (2, ny), DN/s.
    spectra : dict of int to ndarray
        Light in the box of each order per column, DN/s.
    """

    columns: np.ndarray
    rows: np.ndarray
    spectra: dict[int, np.ndarray]

    def combine(self, own: float, other: Parts, factor: float) -> Parts:
        """Add the parts of another image.

        Parameters
        ----------
        own : float
            Factor of this image.
        other : Parts
            The other.
        factor : float
            Factor of the other image.

        Returns
        -------
        Parts
            Those of ``own`` times this image plus `factor` times the other.
        """
        return Parts(
            own * self.columns + factor * other.columns,
            own * self.rows + factor * other.rows,
            {
                order: own * light + factor * other.spectra[order]
                for order, light in self.spectra.items()
            },
        )


def make_parts(
    image: np.ndarray,
    sky: np.ndarray,
    right: np.ndarray,
    lines: np.ndarray,
    pwcpos: float,
    orders: tuple[int, ...],
    width: int,
    half_width: float,
) -> Parts:
    """Average an image and sum it in the boxes of the orders.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Image without gaps, DN/s.
    sky : ndarray of bool
        Sky pixels.
    right : ndarray of bool
        Pixels right of the break.
    lines : ndarray
        Row of each line in the coordinates of SUBSTRIP256, shape (ny,).
    pwcpos : float
        Angle of the pupil wheel, degrees.
    orders : tuple of int
        Orders to be extracted.
    width : int
        Columns that make one value of the averages.
    half_width : float
        Half width of the box, pixels.

    Returns
    -------
    Parts
        Averages and spectra.
    """
    return Parts(
        mean_along(image, sky, 0, width),
        np.array([mean_along(image, sky & ~right, 1), mean_along(image, sky & right, 1)]),
        {order: box_light(image, lines, order, pwcpos, half_width) for order in orders},
    )


def fill_rows(image: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Fill the gaps of an image from the neighbours in the row.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Image.
    good : ndarray of bool
        Pixels with a value.

    Returns
    -------
    ndarray
        The image without gaps; a row without any value is 0.
    """
    filled = np.where(good, image, 0)
    for row in np.flatnonzero(~good.all(axis=1) & good.any(axis=1)):
        known, gap = np.flatnonzero(good[row]), np.flatnonzero(~good[row])
        filled[row, gap] = np.interp(gap, known, image[row, known])
    return filled


@dataclass(frozen=True)
class StepAtBreak:
    """How much a spectrum jumps where its trace crosses the break.

    Attributes
    ----------
    step, error : float
        Jump from left to right relative to the spectrum, and its standard error from the
        scatter of the pixels.
    column : float
        Column of the break on the trace, pixels.
    """

    step: float
    error: float
    column: float


def step_at_break(
    light: np.ndarray, fraction: np.ndarray, use: np.ndarray | None = None
) -> StepAtBreak | None:
    """Measure the jump of a spectrum at the break of the background.

    A polynomial and the profile of the break are fitted together, and what lies more than
    three times the scatter off is left out.

    Parameters
    ----------
    light : ndarray, shape (nx,)
        Count rate per column.
    fraction : ndarray, shape (nx,)
        Share of the right-hand side on the trace, rising from 0 to 1.
    use : ndarray of bool, optional
        Columns to be used; all by default.

    Returns
    -------
    StepAtBreak or None
        The jump; None if the trace does not cross the break or there are too few columns.
    """
    if not (fraction.min() < 0.1 and fraction.max() > 0.9):
        return None
    column = float(np.interp(0.5, np.maximum.accumulate(fraction), np.arange(fraction.size)))
    columns = np.arange(light.size)
    inside = (columns > column - _REACH[0]) & (columns < column + _REACH[1]) & np.isfinite(light)
    if use is not None:
        inside &= use
    x = (columns - column) / max(_REACH)
    terms = np.column_stack([x**power for power in range(_DEGREE + 1)] + [fraction])
    level = float(np.median(light[inside])) if inside.any() else 0.0
    if level <= 0:
        return None
    for _ in range(_ROUNDS):
        if inside.sum() < 60:
            return None
        solution, *_ = np.linalg.lstsq(terms[inside], light[inside], rcond=None)
        rest = light - terms @ solution
        scatter = robust_scale(rest[inside]) + 1e-12 * level
        keep = inside & (np.abs(rest) < _CLIP * scatter)
        if keep.sum() == inside.sum():
            break
        inside = keep
    inverse = np.linalg.pinv(terms[inside].T @ terms[inside])
    size = float(np.polynomial.polynomial.polyval(0.0, solution[: _DEGREE + 1]))
    if size <= 0:
        return None
    variance = float((rest[inside] ** 2).sum() / max(inside.sum() - terms.shape[1], 1))
    return StepAtBreak(
        float(solution[-1]) / size, float(np.sqrt(variance * inverse[-1, -1])) / size, column
    )
