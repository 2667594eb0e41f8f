"""A smooth model of the background: polynomials along the rows on either side of a sharp break.

Each row is described by a Legendre polynomial of the column left of the break and another one
right of it.  The coefficients of neighbouring rows are fitted together with weights that fall
off like a Gaussian, so that gaps are bridged and noise is averaged; where a row and its
neighbours show little, it is like all rows together.  Between the two sides the
background follows the profile of the break, which is measured over all rows, along a straight
line that is fitted to its position in bands of rows.  Nothing is smoothed across the break.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from soss_photcal_steps.template.sides import (
    NOMINAL_COLUMN,
    ZONE,
    Sides,
    SmoothOptions,
    fit_sides,
)

__all__ = [
    "Break",
    "SmoothSky",
    "break_width",
    "edge_profile",
    "fit_smooth_sky",
    "nominal_break",
]

# The tilt of the break, to begin with, columns per row of the strip: that of the published
# SUBSTRIP96 template and of the frame of WASP-39.
NOMINAL_TILT = 0.032
# Rows of a band whose break is located, and columns on either side that tell it.
_BAND, _CORE = 16, 14
_ROUNDS, _LATER_ROUNDS = 5, 2
# The break is first looked for this far from where it is expected, columns.
_SEARCH = 20
# Smoothing of the profile's tail, columns; its core is left as it is.
_SIGMA_TAIL = 5.0
# A step smaller than this in units of its error, or relative to the level, is none.
_LEAST_SIGNIFICANCE, _LEAST_STEP = 8.0, 0.01
# A band may be off by this at least before it counts as spoilt, columns.
_SPOILT = 0.9


@dataclass(frozen=True)
class Break:
    """The break between the two parts.

    Attributes
    ----------
    column : ndarray
        Column in each row, shape (ny,), pixels.
    tilt : float
        Columns per row.
    column_error, tilt_error : float
        Standard errors of the column in the middle row and of the tilt; NaN where it was not
        located.
    offset, profile : ndarray
        Share of the right-hand side against the distance from `column`, pixels.
    width : float
        Inverse of the steepest slope of the profile, pixels, see `break_width`.
    found : bool
        Whether there is a break; if not, the nominal line is used.
    """

    column: np.ndarray
    tilt: float
    column_error: float
    tilt_error: float
    offset: np.ndarray
    profile: np.ndarray
    width: float
    found: bool

    def fraction(self, n_columns: int) -> np.ndarray:
        """Give the share of the right-hand side.

        Parameters
        ----------
        n_columns : int
            Columns of the image.

        Returns
        -------
        ndarray
            Shape (ny, n_columns).
        """
        distance = np.arange(n_columns) - self.column[:, None]
        return np.interp(distance, self.offset, self.profile)


@dataclass(frozen=True)
class SmoothSky:
    """The model.

    Attributes
    ----------
    image : ndarray
        The model, shape (ny, nx).
    error : ndarray
        Its standard error from the weights.
    fraction : ndarray
        Share of the right-hand side in each pixel.
    edge : Break
        The break.
    sides : Sides
        Both sides of it, each in all pixels.
    """

    image: np.ndarray
    error: np.ndarray
    fraction: np.ndarray
    edge: Break
    sides: Sides


def break_width(profile: np.ndarray) -> float:
    """Give the width of an edge: the inverse of its steepest slope.

    Parameters
    ----------
    profile : ndarray
        Edge that rises from 0 to 1, one value per pixel.

    Returns
    -------
    float
        Pixels; 1 for a step from one pixel to the next.
    """
    return 1 / max(float(np.diff(profile).max()), 1e-6)


def edge_profile(
    image: np.ndarray,
    weight: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    column: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Average the edge of all rows.

    Parameters
    ----------
    image, weight : ndarray
        Background, DN/s, and its inverse variance, 0 where a pixel is not used, shape (ny, nx).
    left, right : ndarray
        The two sides, each in all pixels.
    column : ndarray
        Column of the break in each row, shape (ny,).

    Returns
    -------
    offset, profile : ndarray
        Share of the right-hand side against the distance from `column`, pixels; 0 and 1 at
        the ends.
    significance : float
        Of the step, in units of its error.
    """
    nx = image.shape[1]
    offset = np.arange(ZONE[0], ZONE[1] + 1, dtype=float)
    distance = np.arange(nx) - column[:, None]
    inside = (distance > ZONE[0] - 1) & (distance < ZONE[1] + 1) & (weight > 0)
    height = (right - left)[inside]
    value, share = (image - left)[inside] * height, weight[inside] * height**2
    place = distance[inside] - offset[0]
    total, norm = np.zeros(offset.size), np.zeros(offset.size)
    low = np.floor(place).astype(int)
    for k, part in ((low, 1 - (place - low)), (low + 1, place - low)):
        ok = (k >= 0) & (k < offset.size)
        total += np.bincount(k[ok], (value * weight[inside] * part)[ok], offset.size)
        norm += np.bincount(k[ok], (share * part)[ok], offset.size)
    step = (offset >= 0).astype(float)
    profile = np.where(norm > 0, total / np.where(norm > 0, norm, 1), step)
    tail = gaussian_filter1d(profile, _SIGMA_TAIL, mode="nearest")
    far = np.clip((np.abs(offset) - 12) / 10, 0, 1)
    profile = (1 - far) * profile + far * tail
    # The ends of the zone belong to the sides by themselves, and all that lies beyond.
    ramp = np.clip(np.minimum(offset - offset[0], offset[-1] - offset) / 10, 0, 1)
    profile = ramp * profile + (1 - ramp) * step
    return offset, profile, float(np.sqrt(norm.max()))


def _locate(
    image: np.ndarray, weight: np.ndarray, model: np.ndarray, column: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find by how much the break of the model is off in bands of rows."""
    nx = image.shape[1]
    slope = np.gradient(model, axis=1)
    near = np.abs(np.arange(nx) - column[:, None]) <= _CORE
    use = np.where(near, weight, 0.0)
    top = (use * np.where(use > 0, model - image, 0) * slope).sum(axis=1)
    bottom = (use * slope**2).sum(axis=1)
    starts = np.arange(0, len(image), _BAND)
    top, bottom = np.add.reduceat(top, starts), np.add.reduceat(bottom, starts)
    middle = np.array([np.arange(len(image))[s : s + _BAND].mean() for s in starts])
    # A band that is mostly masked, or whose step is lost in noise, tells nothing.
    known = bottom > 0.05 * np.max(bottom, initial=0)
    shift = np.clip(top[known] / bottom[known], -8, 8)
    return middle[known], shift, 1 / np.sqrt(bottom[known])


def _line(
    rows: np.ndarray, columns: np.ndarray, error: np.ndarray, ny: int, nominal: np.ndarray
) -> tuple[np.ndarray, float, float, float]:
    """Lay a straight line through the break; give columns, tilt, and both errors."""
    keep = np.ones(rows.size, bool)
    middle = (ny - 1) / 2
    tilt, centre = NOMINAL_TILT, float(np.mean(nominal))
    errors = (np.nan, np.nan)
    for _ in range(4):
        if keep.sum() < 1:
            break
        if keep.sum() > 2:
            terms = np.column_stack([np.ones(keep.sum()), rows[keep] - middle]) / error[keep, None]
            inverse = np.linalg.inv(terms.T @ terms)
            centre, tilt = inverse @ (terms.T @ (columns[keep] / error[keep]))
            rest = (columns[keep] - centre - tilt * (rows[keep] - middle)) / error[keep]
            inflate = max(1.0, float((rest**2).sum() / max(keep.sum() - 2, 1)))
            errors = tuple(np.sqrt(np.diag(inverse) * inflate))
        else:
            centre = float(np.median(columns[keep] - tilt * (rows[keep] - middle)))
        distance = np.abs(columns - centre - tilt * (rows - middle))
        spread = 1.48 * float(np.median(distance[keep])) + 0.1
        keep = distance < max(3 * spread, _SPOILT)
    line = centre + tilt * (np.arange(ny) - middle)
    return line, float(tilt), float(errors[0]), float(errors[1])


def nominal_break(rows: np.ndarray) -> Break:
    """Give the break where it is expected, as a sharp step.

    Parameters
    ----------
    rows : ndarray
        Row of each line in the coordinates of SUBSTRIP256, shape (ny,).

    Returns
    -------
    Break
        It has not been found.
    """
    offset = np.arange(ZONE[0], ZONE[1] + 1, dtype=float)
    column = NOMINAL_COLUMN + NOMINAL_TILT * (np.asarray(rows, float) - 127.5)
    step = (offset >= 0).astype(float)
    return Break(column, NOMINAL_TILT, np.nan, np.nan, offset, step, 1.0, False)


def _moved(image: np.ndarray, weight: np.ndarray, start: Break) -> Break:
    """Move a break as a whole to where the image is steepest."""
    nx = image.shape[1]
    reach = _SEARCH + 10
    place = np.clip(
        np.round(start.column[:, None] + np.arange(-reach, reach + 1)).astype(int), 0, nx - 1
    )
    value, share = (np.take_along_axis(part, place, 1) for part in (image, weight))
    norm = share.sum(axis=0)
    if (norm <= 0).any():
        return start
    edge = gaussian_filter1d(np.where(share > 0, value * share, 0).sum(axis=0) / norm, 2.0)
    slope = np.abs(np.gradient(edge))[10:-10]
    return replace(start, column=start.column + int(np.argmax(slope)) - _SEARCH)


def fit_smooth_sky(
    image: np.ndarray,
    weight: np.ndarray,
    start: Break,
    options: SmoothOptions | None = None,
) -> SmoothSky:
    """Describe a background by the model.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Background, DN/s.
    weight : ndarray
        Inverse variance; 0 where a pixel is not to be used.
    start : Break
        Where the break is looked for.
    options : SmoothOptions, optional
        Settings.

    Returns
    -------
    SmoothSky
        The model, in all pixels.

    Raises
    ------
    ValueError
        If one side has no pixel that can be used.
    """
    options = options or SmoothOptions()
    ny, nx = image.shape
    edge = start if start.found else _moved(image, weight, start)
    rounds = _LATER_ROUNDS if start.found else _ROUNDS
    for round_ in range(rounds):
        sides = fit_sides(image, weight, edge.column, options)
        left, right = sides.left, sides.right
        offset, profile, significance = edge_profile(image, weight, left, right, edge.column)
        height = float(np.median((right - left)[:, int(NOMINAL_COLUMN) % nx]))
        level = float(np.median(np.abs(left)))
        if significance < _LEAST_SIGNIFICANCE or abs(height) < _LEAST_STEP * level:
            # Without a step the two sides meet half way, where they agree.
            smooth = np.clip((np.arange(offset.size) + offset[0] + 30) / 60, 0, 1)
            edge = replace(start, offset=offset, profile=smooth, width=60.0, found=False)
            break
        edge = replace(edge, offset=offset, profile=profile, width=break_width(profile), found=True)
        if round_ == rounds - 1:
            break
        fraction = edge.fraction(nx)
        rows, shift, error = _locate(
            image, weight, left * (1 - fraction) + right * fraction, edge.column
        )
        here = np.interp(rows, np.arange(ny), edge.column)
        column, tilt, *errors = _line(rows, here + shift, error, ny, start.column)
        edge = replace(edge, column=column, tilt=tilt, column_error=errors[0], tilt_error=errors[1])
    if edge.found:
        # A profile may hold a part of the shift; the column is where it is steepest.
        slope = np.gradient(gaussian_filter1d(edge.profile, 1.5))
        core = np.abs(edge.offset) <= _CORE
        peak = int(np.argmax(np.where(core, slope, -np.inf)))
        before, top, after = slope[peak - 1 : peak + 2]
        bend = before - 2 * top + after
        place = edge.offset[peak] + (0.5 * (before - after) / bend if bend < 0 else 0.0)
        edge = replace(edge, column=edge.column + place, offset=edge.offset - place)
    fraction = edge.fraction(nx)
    model = left * (1 - fraction) + right * fraction
    variance = sides.left_variance * (1 - fraction) ** 2 + sides.right_variance * fraction**2
    return SmoothSky(model, np.sqrt(variance), fraction, edge, sides)
