"""The spectra of the star as they fall on the detector, with numbers measured on real frames.

All numbers here were measured on two frames: the median of the rateints of BD+60 1753
(program 1512, PWCPOS 245.7787; spacetelescope/pastasoss, notebooks) and the median
frame of WASP-39 (ERS program 1366; afeinstein20/wasp39b_niriss_paper).  Background and
wings were fitted together over the whole SUBSTRIP256 frame, with the background shape of
the published SUBSTRIP96 template.

*Brightness* of a trace at a column is the light within 12.5 pixels of its centre, DN/s.
*Profile* is the light per pixel across the trace, in units of the brightness.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import chebyshev

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.trace import PWCPOS_COMMANDED, trace_positions, wavelengths

__all__ = [
    "CORE_HALF_WIDTH",
    "STAR_LEVELS",
    "STAR_ORDERS",
    "core_image",
    "star_brightness",
    "star_rows",
]

#: Orders of the star that reach the subarray.  Order 4 is faint and seen left of column 260.
STAR_ORDERS = (1, 2, 3, 4)
#: Star levels: BD+60 1753, WASP-39, four magnitudes fainter than BD+60 1753, and no star.
STAR_LEVELS = ("bright", "mid", "faint", "none")
#: The core profile is tabulated out to this distance from the centre, pixels.
CORE_HALF_WIDTH = 20

# Natural logarithm of the brightness in DN/s: Chebyshev series over the column range given.
# They follow the measured brightness to 2 to 3 per cent (bright) and 1 to 1.5 (mid).
_LOG_BRIGHTNESS = {
    ("bright", 1): (
        (12, 2035),
        (8.3201, 1.9144, -0.0843, -0.1938, -0.155, -0.0383, 0.0309, 0.0205, 0.0091, 0.0015),
    ),
    ("mid", 1): (
        (12, 2035),
        (7.4723, 1.5991, -0.2981, -0.2738, -0.1289, -0.0141, 0.0123, 0.0175, 0.0005, 0.0022),
    ),
    ("bright", 2): (
        (660, 1745),
        (7.8733, 1.88, -0.9257, -0.3237, -0.1628, 0.0073, 0.0407, -0.0023),
    ),
    ("mid", 2): (
        (660, 1745),
        (6.4184, 1.4926, -0.9789, -0.3528, -0.1499, 0.0173, 0.0204, 0.0095),
    ),
}
# Brightness at nodes, DN/s, where the spectrum is too faint or blended for a series.
_ORDER2_BLENDED = {
    "bright": (
        (10, 60, 110, 210, 310, 410, 460, 510, 560, 610, 660),
        (105, 89, 73, 48, 30, 9, 21, 35, 72, 130, 193),
    ),
    "mid": (
        (10, 60, 110, 210, 310, 410, 460, 510, 560, 610, 660),
        (45, 40, 37, 24, 12, 6, 12, 19, 31, 47, 63),
    ),
}
# Order 3 has a second maximum beyond column 1000; right of column 1170 it is above the subarray.
_ORDER3_COLUMNS = (
    20, 100, 180, 260, 340, 420, 500, 580, 660, 700, 740, 780, 820, 860, 900, 940, 985, 1025,
    1050, 1075, 1100, 1125, 1150, 1250, 1400,
)  # fmt: skip
_ORDER3 = {
    "bright": (
        _ORDER3_COLUMNS,
        (
            189, 230, 272, 318, 375, 443, 502, 543, 559, 532, 473, 364, 219, 118, 48, 10, 1, 9,
            24, 45, 72, 95, 110, 60, 10,
        ),
    ),
    "mid": (
        _ORDER3_COLUMNS,
        (
            50, 59, 71, 82, 94, 106, 115, 115, 99, 89, 69, 54, 39, 24, 13, 5, 0.5, 2, 4, 6, 9, 12,
            15, 8, 1,
        ),
    ),
}  # fmt: skip
_ORDER4 = {
    "bright": ((20, 60, 100, 150, 200, 260, 400), (70, 54, 36, 22, 9, 2, 0.05)),
    "mid": ((20, 60, 100, 150, 200, 260, 400), (13, 11, 8.5, 5.2, 2.6, 0.6, 0.02)),
}
_FAINT = 10 ** (-0.4 * 4.0)

# Core profiles of WASP-39, 1e-4 of the brightness per pixel at -20 ... +20 pixels from the
# centroid, with the column at which each was taken.
_CORE = {
    1: {
        400: (
            25, 27, 33, 42, 60, 74, 96, 132, 163, 239, 370, 502, 535, 536, 442, 387, 350, 393,
            488, 425, 362, 408, 417, 378, 428, 515, 628, 680, 565, 396, 283, 203, 138, 92, 75,
            50, 36, 27, 24, 21, 15,
        ),
        1000: (
            24, 30, 39, 48, 55, 69, 97, 139, 189, 261, 345, 484, 589, 527, 387, 363, 421, 437,
            390, 385, 435, 374, 397, 425, 396, 443, 596, 654, 594, 486, 333, 210, 146, 100, 61,
            45, 33, 22, 18, 17, 16,
        ),
        1400: (
            22, 27, 36, 53, 68, 85, 100, 155, 231, 326, 389, 455, 488, 465, 415, 441, 444, 395,
            375, 388, 379, 420, 375, 382, 497, 513, 498, 560, 579, 489, 343, 243, 140, 91, 58,
            34, 25, 22, 19, 17, 15,
        ),
        1800: (
            20, 25, 33, 47, 68, 101, 136, 165, 239, 370, 424, 394, 356, 433, 512, 429, 375, 418,
            390, 390, 400, 389, 341, 406, 496, 572, 512, 460, 490, 504, 434, 308, 195, 103, 55,
            39, 30, 25, 22, 18, 14,
        ),
    },
    2: {
        1100: (
            33, 36, 43, 57, 79, 118, 168, 209, 260, 371, 432, 354, 353, 452, 513, 453, 372, 373,
            383, 421, 395, 346, 358, 423, 533, 520, 496, 382, 408, 540, 499, 359, 205, 99, 60,
            47, 41, 34, 28, 22, 19,
        ),
        1650: (
            33, 38, 45, 59, 90, 129, 209, 290, 322, 338, 367, 407, 359, 379, 458, 511, 357, 292,
            360, 486, 408, 304, 334, 459, 467, 494, 488, 447, 415, 442, 523, 464, 250, 124, 77,
            64, 50, 36, 28, 23, 21,
        ),
    },
    3: {
        400: (
            29, 32, 38, 61, 86, 137, 196, 239, 296, 386, 405, 355, 389, 455, 511, 444, 362, 356,
            395, 427, 387, 339, 360, 430, 519, 505, 507, 409, 466, 552, 486, 343, 172, 87, 57,
            47, 38, 28, 22, 17, 15,
        ),
    },
}  # fmt: skip

# Hydrogen lines strong in A stars, um.
_LINES = (2.1655, 1.9446, 1.8751, 1.2818, 1.0938, 1.0049, 0.9546, 0.9015, 0.6563)
_LINE_SIGMA = 0.0022


def _node_brightness(columns: np.ndarray, nodes: tuple) -> np.ndarray:
    x, value = nodes
    return np.exp(np.interp(columns, x, np.log(value)))


def _series_log(columns: np.ndarray, level: str, order: int) -> np.ndarray:
    """Evaluate the series; beyond its range go on along its end slopes.

    The blue end of order 2 falls ever faster, as seen up to column 1800.
    """
    (low, high), coefficients = _LOG_BRIGHTNESS[level, order]
    inside = np.clip(columns, low, high)
    value = chebyshev.chebval((2 * inside - low - high) / (high - low), coefficients)
    slope = chebyshev.chebval((-1.0, 1.0), chebyshev.chebder(coefficients)) * 2 / (high - low)
    beyond = columns - inside
    if order == 2:
        beyond = np.where(beyond > 0, beyond * (1 + beyond / 100.0), beyond)
    return value + np.where(columns < low, slope[0], slope[1]) * beyond


def star_rows(order: int, pwcpos: float, columns: np.ndarray) -> np.ndarray:
    """Row of the star's trace, also of the faint order 4 that has no published model.

    Parameters
    ----------
    order : {1, 2, 3, 4}
        Spectral order.
    pwcpos : float
        Angle of the pupil wheel, degrees.
    columns : ndarray
        Columns, pixels.

    Returns
    -------
    ndarray
        Rows, pixels of SUBSTRIP256.
    """
    if order == 4:
        tilt = np.radians(pwcpos - PWCPOS_COMMANDED)
        return 212.5 + (0.094 + tilt) * np.asarray(columns, dtype=float)
    return trace_positions(order, pwcpos, columns)


def star_brightness(
    order: int,
    level: str,
    columns: np.ndarray,
    *,
    filter_name: str = "CLEAR",
    pwcpos: float = PWCPOS_COMMANDED,
    line_depths: np.ndarray | None = None,
) -> np.ndarray:
    """Brightness along a trace.

    Parameters
    ----------
    order : {1, 2, 3, 4}
        Spectral order.
    level : {"bright", "mid", "faint", "none"}
        Which star, see `STAR_LEVELS`.
    columns : ndarray
        Columns, pixels; they may lie somewhat outside the detector.
    filter_name : {"CLEAR", "F277W"}, optional
        With F277W only order 1 left of about column 450 remains.
    pwcpos : float, optional
        Angle of the pupil wheel, degrees; it moves the spectral lines.
    line_depths : ndarray, shape (9,), optional
        Depths of the hydrogen lines as a fraction of the continuum; none if not given.

    Returns
    -------
    ndarray
        Light within 12.5 pixels of the trace's centre, DN/s.

    Raises
    ------
    SossInputError
        If the level is not known.
    """
    if level not in STAR_LEVELS:
        raise SossInputError(f"Star level {level!r} is not one of {', '.join(STAR_LEVELS)}.")
    columns = np.asarray(columns, dtype=float)
    if level == "none" or (filter_name == "F277W" and order != 1):
        return np.zeros_like(columns)
    source, factor = ("bright", _FAINT) if level == "faint" else (level, 1.0)
    if order == 1:
        value = np.exp(_series_log(columns, source, 1))
    elif order == 2:
        value = np.where(
            columns < 660,
            _node_brightness(columns, _ORDER2_BLENDED[source]),
            np.exp(_series_log(columns, source, 2)),
        )
    else:
        value = _node_brightness(columns, (_ORDER3 if order == 3 else _ORDER4)[source])
    if filter_name == "F277W":
        # The blue edge of the filter, 2.42 um, falls near column 445; peak transmission 0.9.
        value = 0.9 * value / (1 + np.exp((columns - 445) / 6))
    if line_depths is not None and order in (1, 2):
        wave = wavelengths(order, np.clip(columns, 0, 2047), pwcpos)
        for line, depth in zip(_LINES, line_depths, strict=True):
            value = value * (1 - depth * np.exp(-0.5 * ((wave - line) / _LINE_SIGMA) ** 2))
    return factor * value


def core_image(
    order: int, brightness: np.ndarray, centre: np.ndarray, columns: np.ndarray, first_row: int,
    n_rows: int,
) -> np.ndarray:  # fmt: skip
    """Light of the defocused core of a trace, tapered to zero where the wings take over.

    Parameters
    ----------
    order : {1, 2, 3, 4}
        Spectral order; order 4 has the profile of order 3.
    brightness : ndarray, shape (n_columns,)
        Light within 12.5 pixels of the centre, DN/s.
    centre : ndarray, shape (n_columns,)
        Row of the trace, pixels of SUBSTRIP256.
    columns : ndarray, shape (n_columns,)
        Columns for which the profile is taken, pixels.
    first_row, n_rows : int
        First row, in pixels of SUBSTRIP256, and number of rows of the image.

    Returns
    -------
    ndarray, shape (n_rows, n_columns)
        DN/s per pixel.  The profile is multiplied by `core_weight`.
    """
    tables = _CORE[min(order, 3)]
    anchors = np.array(sorted(tables), dtype=float)
    reach = CORE_HALF_WIDTH + 2
    base = np.rint(centre).astype(int)
    rows = base + np.arange(-reach, reach + 1)[:, None]
    distance = rows - centre
    grid = np.arange(-CORE_HALF_WIDTH, CORE_HALF_WIDTH + 1.0)
    value = np.zeros_like(distance)
    for k, anchor in enumerate(anchors):
        # Weight of this anchor at each column: linear between anchors, constant beyond them.
        weight = np.interp(columns, anchors, np.eye(anchors.size)[k])
        table = np.array(tables[int(anchor)], dtype=float) * 1e-4
        value += weight * np.interp(distance, grid, table)
    value *= core_weight(distance) * brightness
    image = np.zeros((n_rows, columns.size))
    rows = rows - first_row
    inside = (rows >= 0) & (rows < n_rows)
    where = np.broadcast_to(np.arange(columns.size), rows.shape)
    image[rows[inside], where[inside]] = value[inside]
    return image


def core_weight(distance: np.ndarray) -> np.ndarray:
    """Weight of the core against the wings: 1 within 16 pixels, 0 beyond 20.

    Parameters
    ----------
    distance : ndarray
        Distance from the centre of the trace, pixels.

    Returns
    -------
    ndarray
        Weight between 0 and 1.
    """
    t = np.clip((np.abs(distance) - 16.0) / (CORE_HALF_WIDTH - 16.0), 0.0, 1.0)
    return 1 - t * t * (3 - 2 * t)
