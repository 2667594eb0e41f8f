"""Hydrogen lines: where they are, and which wavelengths they spoil.

Line profiles of a model never quite agree with those that SOSS sees, so around each line the
ratio has peaks and troughs of 5 to 10 per cent (section 5 of the report).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from soss_photcal_steps.ratio.order import Mask

__all__ = ["HIGHEST_LEVELS", "SERIES", "hydrogen_lines", "line_mask"]

#: Lower level and mask bit of each series.
SERIES: dict[str, tuple[int, Mask]] = {
    "Balmer": (2, Mask.BALMER),
    "Paschen": (3, Mask.PASCHEN),
    "Brackett": (4, Mask.BRACKETT),
    "Pfund": (5, Mask.PFUND),
}
#: Upper level of the last line that is marked, by series.  These are the last lines that can be
#: told from the continuum in the CALSPEC spectrum of the A star BD+60 1753 (bd60d1753_stiswfc_004)
#: at the resolution of SOSS; the Balmer lines of SOSS end with the first.
HIGHEST_LEVELS: dict[str, int] = {"Balmer": 14, "Paschen": 18, "Brackett": 18, "Pfund": 22}
# Rydberg constant of hydrogen, 1/um: that of an infinitely heavy nucleus (CODATA 2018,
# 10973731.568160 1/m) times the proton's mass over that of the whole atom.
_RYDBERG = 10.973731568160 / (1 + 1 / 1836.15267343)
_HIGHEST_LEVEL = 30


def hydrogen_lines(low: float = 0.5, high: float = 3.2) -> dict[str, np.ndarray]:
    """Give the vacuum wavelengths of the hydrogen lines in a range.

    Parameters
    ----------
    low, high : float, optional
        Range, um.

    Returns
    -------
    dict of str to ndarray
        Falling wavelengths by series, um, up to the upper level 30; from the Rydberg formula.
    """
    found = {}
    for series, (lower, _) in SERIES.items():
        upper = np.arange(lower + 1, _HIGHEST_LEVEL + 1)
        wavelength = 1 / (_RYDBERG * (1 / lower**2 - 1 / upper**2))
        found[series] = wavelength[(wavelength >= low) & (wavelength <= high)]
    return found


def line_mask(
    wavelength: np.ndarray,
    windows: Mapping[str, float],
    highest_levels: Mapping[str, int] | None = None,
) -> np.ndarray:
    """Mark the wavelengths near hydrogen lines.

    Parameters
    ----------
    wavelength : ndarray
        Wavelengths, shape (n,), um.
    windows : mapping of str to float
        Half width of the windows by series, as a fraction of the wavelength; a series that is
        not named is not marked.  The windows of higher lines are narrower: their spacing shrinks,
        and so do they, to 0.35 of it, so that up to the limit of a series some of the continuum
        between its lines is left.
    highest_levels : mapping of str to int, optional
        Upper level of the last line that is marked, by series, up to 30; those beyond merge into
        the limit.  `HIGHEST_LEVELS` for a series that is not named.

    Returns
    -------
    ndarray of uint32
        Bits of `Mask`, shape (n,).

    Raises
    ------
    ValueError
        If a series is not known.
    """
    unknown = sorted((set(windows) | set(highest_levels or {})) - set(SERIES))
    if unknown:
        raise ValueError(f"there is no series {unknown[0]}, but {', '.join(SERIES)}")
    levels = {**HIGHEST_LEVELS, **(highest_levels or {})}
    wavelength = np.asarray(wavelength, float)
    bits = np.zeros(wavelength.shape, np.uint32)
    every = hydrogen_lines(0.0, np.inf)
    for series, fraction in windows.items():
        lower, bit = SERIES[series]
        spacing = np.abs(np.diff(every[series]))
        count = int(np.clip(levels[series] - lower, 0, spacing.size))
        lines = every[series][:count]
        half = np.minimum(fraction * lines, 0.35 * spacing[:count])
        near = (np.abs(wavelength[:, None] - lines) <= half).any(axis=1)
        bits[near] |= np.uint32(bit)
    return bits
