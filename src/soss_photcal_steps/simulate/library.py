"""Libraries of SOSS background templates that look like the real zodiacal background.

The reference shape was measured on the published SUBSTRIP96 template (exoTEDRF,
``model_background96.npy``): about 4.6 DN/s left of the break, 7.5 right of it, falling
to 3.5 at column 2047.  The break is an error function of sigma 4.2 pixels that takes 68
per cent of the step, followed by an exponential approach of 28 pixels for the rest.  Its
column is 696.3 at row 0 and grows by 0.032 per row: the template shows this over rows 10
to 105, and the frame of WASP-39 over rows 6 to 248.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from scipy.interpolate import PchipInterpolator
from scipy.special import erf

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.trace import DETECTOR_SIZE, SUBSTRIP256_FIRST_ROW, subarray_rows

__all__ = [
    "BreakShape",
    "TemplateLibrary",
    "break_columns",
    "draw_template",
    "make_library",
    "right_fraction",
]

# Column nodes and values in DN/s: left part, and right part without the break's own shape.
_LEFT = (
    (0, 100, 200, 400, 600, 690, 2047),
    (4.82, 4.80, 4.75, 4.72, 4.66, 4.63, 4.20),
)
_RIGHT = (
    (0, 700, 760, 800, 900, 1000, 1300, 1700, 2000, 2047),
    (7.3, 7.50, 7.48, 7.45, 7.39, 7.33, 6.85, 5.28, 3.63, 3.47),
)


@dataclass(frozen=True)
class BreakShape:
    """Geometry of the break in the background.

    Attributes
    ----------
    column : float
        Column of the break at row 0 of SUBSTRIP256, pixels.
    tilt : float
        Columns per row.
    core : float
        Sigma of the sharp part, pixels.
    tail : float
        Decay length of the slow part, to the right, pixels.
    tail_fraction : float
        Share of the step that the slow part has.
    """

    column: float = 696.3
    tilt: float = 0.032
    core: float = 4.2
    tail: float = 28.0
    tail_fraction: float = 0.32


@dataclass(frozen=True)
class TemplateLibrary:
    """A set of background templates.

    Attributes
    ----------
    data : ndarray, shape (n, n_rows, 2048), float32
        Templates, DN/s.
    names : tuple of str
        One name per template.
    subarray : str
        Which rows the templates cover: ``SUBSTRIP256``, ``SUBSTRIP96`` or ``FULL``.
    break_shape : BreakShape
        Geometry of the break, shared by all templates.
    """

    data: np.ndarray
    names: tuple[str, ...]
    subarray: str = "SUBSTRIP256"
    break_shape: BreakShape = BreakShape()

    def cut(self, subarray: str) -> np.ndarray:
        """Templates on the rows of a subarray.

        Parameters
        ----------
        subarray : str
            ``SUBSTRIP256``, ``SUBSTRIP96`` or ``FULL``.

        Returns
        -------
        ndarray, shape (n, n_rows, 2048)
            A view of the data.

        Raises
        ------
        SossInputError
            If the library does not cover these rows.
        """
        have, want = subarray_rows(self.subarray), subarray_rows(subarray)
        if want.start < have.start or want.stop > have.stop:
            raise SossInputError(
                f"The template library covers {self.subarray} and cannot serve {subarray}."
            )
        return self.data[:, want.start - have.start : want.stop - have.start]


def break_columns(rows: np.ndarray, shape: BreakShape = BreakShape()) -> np.ndarray:
    """Column of the break at each row.

    Parameters
    ----------
    rows : ndarray
        Rows, pixels of SUBSTRIP256 (negative below it).
    shape : BreakShape, optional
        Geometry of the break.

    Returns
    -------
    ndarray
        Columns, pixels.
    """
    return shape.column + shape.tilt * np.asarray(rows, dtype=float)


def right_fraction(
    rows: np.ndarray, columns: np.ndarray, shape: BreakShape = BreakShape()
) -> np.ndarray:
    """Profile of the break: 0 far left of it, 1 far right.

    Parameters
    ----------
    rows, columns : ndarray
        Rows (of SUBSTRIP256) and columns, pixels.
    shape : BreakShape, optional
        Geometry of the break.

    Returns
    -------
    ndarray, shape (n_rows, n_columns)
        Share of the step that is reached.
    """
    distance = np.asarray(columns, dtype=float) - break_columns(rows, shape)[:, None]
    core = 0.5 * (1 + erf(distance / (np.sqrt(2) * shape.core)))
    tail = -np.expm1(-np.maximum(distance, 0.0) / shape.tail)
    return (1 - shape.tail_fraction) * core + shape.tail_fraction * tail


def _smooth(nodes: tuple, columns: np.ndarray) -> np.ndarray:
    return PchipInterpolator(*nodes)(columns)


def draw_template(
    rng: np.random.Generator,
    rows: np.ndarray,
    *,
    variation: float = 1.0,
    extra_mode: float = 0.0,
    break_shape: BreakShape = BreakShape(),
    columns: np.ndarray | None = None,
) -> np.ndarray:
    """Draw one background shape of the family.

    The family has four physical modes (colour of the zodiacal light, thermal red excess
    that shows at long wavelengths of order 1, stray light with a gradient, height of the
    step) and random smooth modes up to third order in columns and first in rows, on each
    side of the break.  One standard deviation of each is 0.5 to 2 per cent.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    rows : ndarray
        Rows, pixels of SUBSTRIP256.
    variation : float, optional
        Factor on all the modes; 0 gives the reference shape.
    extra_mode : float, optional
        Amplitude (a fraction) of one more smooth wave along the columns that no member
        of the family has; its phase and length are drawn.
    break_shape : BreakShape, optional
        Geometry of the break.
    columns : ndarray, optional
        Columns; 0 to 2047 if not given.

    Returns
    -------
    ndarray, shape (n_rows, n_columns)
        DN/s, without noise.
    """
    columns = np.arange(DETECTOR_SIZE, dtype=float) if columns is None else np.asarray(columns)
    rows = np.asarray(rows, dtype=float)
    u = (columns - 1023.5) / 1023.5
    v = ((rows + SUBSTRIP256_FIRST_ROW - 1023.5) / 1023.5)[:, None]
    colour, thermal, stray, step = rng.normal(size=4) * variation * (0.015, 0.015, 0.015, 0.012)
    left_modes = rng.normal(size=4) * variation * 0.006
    right_modes = rng.normal(size=4) * variation * 0.006
    row_modes = rng.normal(size=3) * variation * 0.006
    # A factor on the whole template: real libraries are not scaled to one level.
    level = np.exp(rng.normal() * 0.15 * variation)

    left = _smooth(_LEFT, columns) * np.exp(
        colour * u + thermal * np.exp(-columns / 350.0) + legendre.legval(u, left_modes)
    )
    right = _smooth(_RIGHT, columns) * np.exp(
        -1.5 * colour * u + step + 0.4 * thermal * u**2 + legendre.legval(u, right_modes)
    )
    across_rows = row_modes[0] * v + row_modes[1] * v * u + row_modes[2] * v**2
    share = right_fraction(rows, columns, break_shape)
    image = (left * (1 - share) + right * share) * (1 + across_rows)
    image = image + stray * 5.0 * (1 + 0.5 * u) * (1 + 0.3 * v)
    if extra_mode:
        length, phase = rng.uniform(900.0, 1800.0), rng.uniform(0, 2 * np.pi)
        slant = rng.uniform(-0.5, 0.5)
        image = image * (
            1 + extra_mode * np.sin(2 * np.pi * (columns + slant * rows[:, None]) / length + phase)
        )
    return level * image


def make_library(
    n: int = 18,
    seed: int = 0,
    *,
    subarray: str = "SUBSTRIP256",
    variation: float = 1.0,
    noise: float = 0.0,
    break_shape: BreakShape = BreakShape(),
) -> TemplateLibrary:
    """Make a library of background templates.

    Parameters
    ----------
    n : int, optional
        Number of templates.
    seed : int, optional
        The same seed gives the same library; template `k` depends on the seed and `k`
        only and is the same on the rows that two subarrays share.
    subarray : str, optional
        ``SUBSTRIP256`` (256 rows), ``SUBSTRIP96`` (96) or ``FULL`` (2048).
    variation : float, optional
        Factor on the differences between templates; 1 gives 1 to 5 per cent.
    noise : float, optional
        Pixel noise as a fraction of the template.  A scene whose truth is one of these
        templates then carries the template's noise in its background.
    break_shape : BreakShape, optional
        Geometry of the break.

    Returns
    -------
    TemplateLibrary
        Templates, including values in the border of reference pixels.

    Raises
    ------
    SossInputError
        If `n` is less than one or the subarray is unknown.
    """
    if n < 1:
        raise SossInputError(f"A library needs at least one template, not {n}.")
    span = subarray_rows(subarray)
    rows = np.arange(span.start, span.stop) - SUBSTRIP256_FIRST_ROW
    data = np.empty((n, rows.size, DETECTOR_SIZE), dtype=np.float32)
    for k in range(n):
        rng = np.random.default_rng([seed, 11, k])
        data[k] = draw_template(rng, rows, variation=variation, break_shape=break_shape)
        if noise:
            data[k] *= 1 + noise * rng.standard_normal(data[k].shape, dtype=np.float32)
    return TemplateLibrary(data, tuple(f"zodi_{k:02d}" for k in range(n)), subarray, break_shape)
