"""From a source in the image to the wavelengths that it spoils."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from soss_photcal_steps.trace import trace_positions, wavelengths

__all__ = [
    "APERTURE_HALF_WIDTH",
    "AffectedInterval",
    "affected_intervals",
    "box_light",
    "order_limits",
    "reach_in_box",
    "source_image",
    "star_in_box",
]

#: Half width of the extraction aperture, pixels: the pipeline's box is 40 pixels wide.
APERTURE_HALF_WIDTH = 20.0
# Half height of a zero order, rows, and the scale of its ends: as the blobs in the frames of
# WASP-39 (simulate.field describes the same ones).
_HALF_HEIGHT, _SOFT = 11.0, 1.3
# Sigma along the columns, pixels.
_SIGMA = 1.9


@dataclass(frozen=True)
class AffectedInterval:
    """Wavelengths of one order that light of a source falls on.

    Attributes
    ----------
    order : int
        Spectral order.
    low, high : float
        Ends, um.
    centre : float
        Wavelength at the column where the source's light in the aperture is highest, um.
    first_column, last_column : int
        The same ends in columns.
    light : float
        Highest light of the source in the aperture of one column, DN/s.
    effect : float
        Highest ratio of the source's light to the star's in the aperture; NaN where the star
        is not known.
    """

    order: int
    low: float
    high: float
    centre: float
    first_column: int
    last_column: int
    light: float
    effect: float


def box_light(
    image: np.ndarray,
    lines: np.ndarray,
    order: int,
    pwcpos: float,
    half_width: float = APERTURE_HALF_WIDTH,
) -> np.ndarray:
    """Sum an image over the extraction aperture of an order, at each column.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Light, DN/s; NaN counts nothing.
    lines : ndarray, shape (ny,)
        Rows, pixels of SUBSTRIP256.
    order : int
        Order whose trace the aperture lies on.
    pwcpos : float
        Angle of the pupil wheel, degrees.
    half_width : float, optional
        Half width of the aperture, pixels.

    Returns
    -------
    ndarray, shape (nx,)
        DN/s; pixels at the ends count by the part that is inside.
    """
    trace = trace_positions(order, pwcpos, np.arange(image.shape[1], dtype=float))
    weight = np.clip(half_width + 0.5 - np.abs(np.asarray(lines)[:, None] - trace), 0.0, 1.0)
    return (weight * np.nan_to_num(image)).sum(axis=0)


def star_in_box(
    model: np.ndarray,
    lines: np.ndarray,
    order: int,
    pwcpos: float,
    half_width: float = APERTURE_HALF_WIDTH,
) -> np.ndarray:
    """Light in the aperture without the sources, smoothed over the columns.

    Parameters
    ----------
    model : ndarray, shape (ny, nx)
        Smooth model of a background-subtracted image, DN/s.
    lines : ndarray, shape (ny,)
        Rows, pixels of SUBSTRIP256.
    order : int
        Order.
    pwcpos : float
        Angle of the pupil wheel, degrees.
    half_width : float, optional
        Half width of the aperture, pixels.

    Returns
    -------
    ndarray, shape (nx,)
        DN/s.  Where orders overlap it holds the light of both.  It is above zero: less than
        a thousandth of the brightest column counts as so much.
    """
    total = box_light(model, lines, order, pwcpos, half_width)
    size = total.size
    smooth = np.array([np.median(total[max(i - 7, 0) : i + 8]) for i in range(size)])
    return np.maximum(smooth, max(1e-3 * float(smooth.max()), 1e-3))


def source_image(
    column: float, row: float, peak: float, lines: np.ndarray, n_columns: int
) -> np.ndarray:
    """Light of a zero order of the usual size.

    Parameters
    ----------
    column, row : float
        Its centre, pixels of SUBSTRIP256.
    peak : float
        Brightness of its pixels, DN/s.
    lines : ndarray, shape (ny,)
        Rows.
    n_columns : int
        Columns of the image.

    Returns
    -------
    ndarray, shape (ny, n_columns)
        DN/s: 22 rows with soft ends, a Gaussian of sigma 1.9 pixels along the columns.
    """
    distance = np.abs(np.asarray(lines, float)[:, None] - row)
    tall = 1 / (1 + np.exp(np.minimum((distance - _HALF_HEIGHT) / _SOFT, 50.0)))
    return peak * tall * np.exp(-0.5 * ((np.arange(n_columns) - column) / _SIGMA) ** 2)


def order_limits(order: int, pwcpos: float, lines: np.ndarray, n_columns: int) -> np.ndarray:
    """Columns whose trace is inside the image.

    Parameters
    ----------
    order : int
        Order.
    pwcpos : float
        Angle of the pupil wheel, degrees.
    lines : ndarray
        Rows of the image.
    n_columns : int
        Columns of the image.

    Returns
    -------
    ndarray of bool, shape (n_columns,)
        True where the trace's centre is on the image, and the order has light there: order 3
        is calibrated up to column 799 only, and order 2 ends below 0.55 um.
    """
    columns = np.arange(n_columns, dtype=float)
    trace = trace_positions(order, pwcpos, columns)
    inside = (trace >= lines[0]) & (trace <= lines[-1])
    if order == 3:
        inside &= columns < 800
    if order == 2:
        inside &= wavelengths(2, columns, pwcpos) > 0.55
    return inside


def reach_in_box(
    column: float, row: float, order: int, pwcpos: float, half_width: float = APERTURE_HALF_WIDTH
) -> float:
    """Part of a zero order's rows that lies in an aperture.

    Parameters
    ----------
    column, row : float
        Centre of the zero order.
    order : int
        Order on whose trace the aperture lies.
    pwcpos : float
        Angle of the pupil wheel, degrees.
    half_width : float, optional
        Half width of the aperture, pixels.

    Returns
    -------
    float
        0 to 1.
    """
    trace = float(trace_positions(order, pwcpos, np.array([column]))[0])
    low = max(row - _HALF_HEIGHT, trace - half_width)
    high = min(row + _HALF_HEIGHT, trace + half_width)
    return max(high - low, 0.0) / (2 * _HALF_HEIGHT)


def affected_intervals(
    light: np.ndarray,
    lines: np.ndarray,
    pwcpos: float,
    star: Mapping[int, np.ndarray] | None = None,
    *,
    orders: Iterable[int] = (1, 2, 3),
    half_width: float = APERTURE_HALF_WIDTH,
    least_effect: float = 0.002,
    share: float = 0.05,
    margin: int = 2,
) -> list[AffectedInterval]:
    """Map the light of one source to intervals of wavelength.

    Parameters
    ----------
    light : ndarray, shape (ny, nx)
        Light of this source alone, DN/s.
    lines : ndarray, shape (ny,)
        Rows, pixels of SUBSTRIP256.
    pwcpos : float
        Angle of the pupil wheel, degrees.
    star : mapping of int to ndarray, shape (nx,), optional
        Light of the star in the aperture, DN/s, see `star_in_box`.
    orders : iterable of int, optional
        Orders to look at.
    half_width : float, optional
        Half width of the aperture, pixels.
    least_effect : float, optional
        Least ratio of the source's light to the star's that makes an interval; where the star
        is not known, 2 per cent of the source's brightest column anywhere take its place.
    share : float, optional
        The interval ends where the source's light falls below this share of its maximum
        there, or below half of `least_effect`, whatever is farther in.
    margin : int, optional
        Columns added on both sides.

    Returns
    -------
    list of AffectedInterval
        At most one for each order.
    """
    found = []
    n_columns = light.shape[1]
    all_light = np.clip(np.nan_to_num(light).sum(axis=0), 0.0, None)
    for order in orders:
        usable = order_limits(order, pwcpos, lines, n_columns)
        inside = np.where(usable, box_light(light, lines, order, pwcpos, half_width), 0.0)
        top = int(np.argmax(inside))
        if inside[top] <= 0:
            continue
        known = star is not None and order in star
        if known and star is not None:
            ratio = inside / star[order]
            top = int(np.argmax(ratio))
            effect = float(ratio[top])
            if effect < least_effect:
                continue
            hit = (inside > share * inside[top]) & (ratio > 0.5 * least_effect)
        else:
            effect = float("nan")
            if inside[top] < 0.02 * all_light.max():
                continue
            hit = inside > share * inside[top]
        columns = np.flatnonzero(hit)
        # The stretch around the highest column; gaps of a few columns are noise.
        runs = np.split(columns, np.flatnonzero(np.diff(columns) > 4) + 1)
        run = next(part for part in runs if part[0] <= top <= part[-1])
        first = max(int(run[0]) - margin, 0)
        last = min(int(run[-1]) + margin, n_columns - 1)
        wave = wavelengths(order, np.array([first, top, last], float), pwcpos)
        weight = np.clip(inside[run], 0.0, None)
        middle = float(np.average(run, weights=weight))
        centre = float(wavelengths(order, np.array([middle]), pwcpos)[0])
        found.append(
            AffectedInterval(
                order, float(wave.min()), float(wave.max()), centre, first, last,
                float(inside[top]), effect,
            )
        )  # fmt: skip
    return found
