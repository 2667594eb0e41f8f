"""Where the knots of a spline go: one by one to where they lower chi square most.

What the choice needs of the points are the products of the terms with each other and with the
values, a small matrix whatever the number of points.
"""

from __future__ import annotations

import numpy as np

__all__ = ["candidate_places", "even_places", "select_terms"]

# Places that are tried for a knot, and the least number of points between two of them.
_PLACES = 64
_LEAST_BETWEEN = 12
# A term of which less than this part is new brings nothing but rounding errors.
_LEAST_NEW = 1e-9


def even_places(x: np.ndarray, sigma: np.ndarray, count: int) -> np.ndarray:
    """Give places that part the points evenly.

    Parameters
    ----------
    x, sigma : ndarray
        Points by rising wavelength, um, and their errors, shape (n,).
    count : int
        Number of places.

    Returns
    -------
    ndarray
        Wavelengths, um, with the same sum of 1 / sqrt(sigma) between them; so they are closer
        where points are many and good.
    """
    worth = 1 / np.sqrt(sigma)
    weight = np.cumsum(worth) - 0.5 * worth
    wanted = np.linspace(0, float(worth.sum()), count + 2)[1:-1]
    return np.interp(wanted, weight, x)


def candidate_places(x: np.ndarray, sigma: np.ndarray, most: int = _PLACES) -> np.ndarray:
    """Give the places that are tried for a knot.

    Parameters
    ----------
    x, sigma : ndarray
        Points by rising wavelength, um, and their errors, shape (n,).
    most : int, optional
        Most places.

    Returns
    -------
    ndarray
        Wavelengths, um; none where there are too few points.
    """
    return even_places(x, sigma, max(min(most, x.size // _LEAST_BETWEEN - 1), 0))


def select_terms(columns: np.ndarray, fixed: int, most: int) -> tuple[list[int], np.ndarray]:
    """Choose the terms of a linear fit one by one, each where it lowers chi square most.

    Parameters
    ----------
    columns : ndarray
        Columns over their noise, as independent values, shape (n, k): first the terms that are
        in any case, then those to choose from, last the values.
    fixed : int
        Number of terms that are in any case.
    most : int
        Most terms to choose.

    Returns
    -------
    chosen : list of int
        Which, in the order in which they come in; 0 is the first after the fixed ones.
    chi_squares : ndarray
        Sum of the squared residuals with none of them, with the first, and so on.
    """
    orthogonal, _ = np.linalg.qr(columns[:, :fixed])
    rest = columns[:, fixed:]
    full = np.einsum("ij,ij->j", rest[:, :-1], rest[:, :-1])
    rest = rest - orthogonal @ (orthogonal.T @ rest)
    left = rest.T @ rest
    free = np.ones(full.size, bool)
    chosen: list[int] = []
    chi_squares = [float(left[-1, -1])]
    while len(chosen) < most and free.any():
        norm = np.diag(left)[:-1]
        free &= norm > _LEAST_NEW * full
        gain = np.where(free, left[:-1, -1] ** 2 / np.where(free, norm, 1), -1.0)
        best = int(np.argmax(gain))
        if gain[best] <= 0:
            break
        chosen.append(best)
        free[best] = False
        term = left[best] / np.sqrt(norm[best])
        left = left - np.outer(term, term)
        chi_squares.append(float(left[-1, -1]))
    return chosen, np.maximum(chi_squares, 0.0)
