"""Numbers in words, for captions and tables."""

from __future__ import annotations

import numpy as np

__all__ = ["count", "median", "percent", "span"]


def span(wavelength: np.ndarray, known: np.ndarray) -> str:
    """Name the range of the wavelengths that are known.

    Parameters
    ----------
    wavelength : ndarray, shape (n,)
        Wavelengths, um.
    known : ndarray of bool, shape (n,)
        Which are known.

    Returns
    -------
    str
        First and last.
    """
    inside = wavelength[known]
    return f"{inside[0]:.2f} to {inside[-1]:.2f} um" if inside.size else "no wavelength"


def percent(fraction: float, digits: int = 2) -> str:
    """Write a fraction in per cent.

    Parameters
    ----------
    fraction : float
        The fraction.
    digits : int
        Decimal places.

    Returns
    -------
    str
        Number and sign; a dash if there is no finite number.
    """
    return f"{100 * fraction:.{digits}f} %" if np.isfinite(fraction) else "–"


def count(number: int, word: str) -> str:
    """Write a number of things.

    Parameters
    ----------
    number : int
        How many.
    word : str
        One of them.

    Returns
    -------
    str
        Number and word, with an s unless there is one.
    """
    return f"{number} {word}{'' if number == 1 else 's'}"


def median(values: np.ndarray) -> float:
    """Take the median of the finite values.

    Parameters
    ----------
    values : ndarray
        Values.

    Returns
    -------
    float
        Their median; NaN if there is none.
    """
    finite = np.asarray(values, float)[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else np.nan
