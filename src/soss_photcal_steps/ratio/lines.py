"""Hydrogen lines: where they are, and which wavelengths they spoil.

Line profiles of a model never quite agree with those that SOSS sees, so around each line the
ratio has peaks and troughs of 5 to 10 per cent (section 5 of the report).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from soss_photcal_steps.ratio.order import Mask

__all__ = ["SERIES", "hydrogen_lines", "line_mask"]

#: Lower level and mask bit of each series.
SERIES: dict[str, tuple[int, Mask]] = {
    "Balmer": (2, Mask.BALMER),
    "Paschen": (3, Mask.PASCHEN),
    "Brackett": (4, Mask.BRACKETT),
    "Pfund": (5, Mask.PFUND),
}
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
    wavelength: np.ndarray, windows: Mapping[str, float], highest_level: int = 14
) -> np.ndarray:
    """Mark the wavelengths near hydrogen lines.

    Parameters
    ----------
    wavelength : ndarray
        Wavelengths, shape (n,), um.
    windows : mapping of str to float
        Half width of the windows by series, as a fraction of the wavelength.  The windows of
        higher lines are narrower: their spacing shrinks, and so do they, to 0.35 of it.
    highest_level : int, optional
        Upper level of the last line that is marked; those beyond merge into the limit.

    Returns
    -------
    ndarray of uint32
        Bits of `Mask`, shape (n,).
    """
    wavelength = np.asarray(wavelength, float)
    bits = np.zeros(wavelength.shape, np.uint32)
    for series, fraction in windows.items():
        lower, bit = SERIES[series]
        lines = hydrogen_lines(0.0, np.inf)[series][: highest_level - lower]
        spacing = np.abs(np.diff(lines, append=2 * lines[-1] - lines[-2]))
        half = np.minimum(fraction * lines, 0.35 * spacing)
        near = (np.abs(wavelength[:, None] - lines) <= half).any(axis=1)
        bits[near] |= np.uint32(bit)
    return bits
