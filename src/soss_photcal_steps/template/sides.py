"""The two sides of a background: polynomials along the rows, like those of neighbouring rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from scipy.ndimage import gaussian_filter1d

__all__ = ["NOMINAL_COLUMN", "ZONE", "Sides", "SmoothOptions", "fit_sides"]

#: Columns around the break that the polynomials do not see: its core and its tail.
ZONE = (-30, 90)
#: The column of the break, to begin with.
NOMINAL_COLUMN = 705.0
# Columns beside the break from which each side is continued over it.
_SUPPORT = 200
_RIDGE = 1e-9
# Coefficients of a row differ from those of all rows together by about this, relative.
_ROW_CHANGE = 0.02


@dataclass(frozen=True)
class SmoothOptions:
    """Settings of the model.

    Attributes
    ----------
    degree_left, degree_right : int
        Degrees of the polynomials along the rows.
    row_sigma : float
        Gaussian sigma over the rows whose coefficients are fitted together, pixels.
    """

    degree_left: int = 5
    degree_right: int = 12
    row_sigma: float = 40.0


@dataclass(frozen=True)
class Sides:
    """Both sides, each continued over the other.

    Attributes
    ----------
    left, right : ndarray
        The polynomials, shape (ny, nx).
    left_variance, right_variance : ndarray
        Their variances from the weights.
    """

    left: np.ndarray
    right: np.ndarray
    left_variance: np.ndarray
    right_variance: np.ndarray


def _terms(n_columns: int, options: SmoothOptions) -> tuple[np.ndarray, np.ndarray]:
    """Polynomials of both sides, shapes (n_columns, degree + 1)."""
    x = np.arange(n_columns, dtype=float)
    left = 2 * x / NOMINAL_COLUMN - 1
    right = 2 * (x - NOMINAL_COLUMN) / max(n_columns - NOMINAL_COLUMN, 1.0) - 1
    # What lies beyond the break is not looked at, see `_continued`.
    return (
        legendre.legvander(np.clip(left, -1, 1), options.degree_left),
        legendre.legvander(np.clip(right, -1, 1), options.degree_right),
    )


def _common_rows(normal: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Fit coefficients that change with the row like a parabola, shape (ny, count).

    They tell what a row is like where it shows little or nothing, and what its neighbours
    differ by, so that smoothing over the rows does not flatten it.
    """
    ny, count = target.shape
    powers = np.vander(np.linspace(-1, 1, ny), 3 if ny >= 16 else 1, increasing=True)
    n = powers.shape[1]
    total = np.einsum("ya,yb,yij->aibj", powers, powers, normal, optimize=True)
    total = total.reshape(n * count, n * count)
    if np.trace(total) <= 0:
        raise ValueError("no pixel of one side of the break can be used")
    ridge = _RIDGE * np.trace(total) * np.eye(n * count)
    found = np.linalg.solve(total + ridge, (powers.T @ target).ravel())
    return np.asarray(powers @ found.reshape(n, count))


def _fit_side(
    image: np.ndarray, weight: np.ndarray, terms: np.ndarray, row_sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """Fit one side; give the image of the polynomials and its variance."""
    ny, count = len(image), terms.shape[1]
    normal = np.empty((ny, count, count))
    target = np.empty((ny, count))
    filled = np.where(weight > 0, image, 0.0)
    for row in range(ny):
        weighted = terms * weight[row][:, None]
        normal[row] = weighted.T @ terms
        target[row] = weighted.T @ filled[row]
    common = _common_rows(normal, target)
    target = target - np.einsum("yij,yj->yi", normal, common)
    if row_sigma > 0:
        kept = 2 * row_sigma * np.sqrt(np.pi) if ny > 1 else 1.0
        shape = {"axis": 0, "mode": "nearest", "truncate": 5.0}
        noise = gaussian_filter1d(normal, row_sigma / np.sqrt(2), **shape) / kept
        normal = gaussian_filter1d(normal, row_sigma, **shape)
        target = gaussian_filter1d(target, row_sigma, **shape)
    else:
        noise = normal
    level = float(np.median(np.abs(common @ terms.T))) or 1.0
    prior = np.eye(count) / (_ROW_CHANGE * level) ** 2
    inverse = np.linalg.inv(normal + prior)
    solution = common + np.einsum("yij,yj->yi", inverse, target)
    covariance = inverse @ (noise + prior) @ inverse
    variance = np.einsum("xi,yij,xj->yx", terms, covariance, terms, optimize=True)
    return solution @ terms.T, np.maximum(variance, 0)


def _continued(side: np.ndarray, variance: np.ndarray, *, leftwards: bool) -> None:
    """Continue a side over the break, in place: a high polynomial would run away there."""
    nx = side.shape[1]
    edge = int(NOMINAL_COLUMN + (ZONE[1] if leftwards else ZONE[0]))
    seen = slice(edge, edge + _SUPPORT) if leftwards else slice(edge - _SUPPORT, edge)
    unseen = slice(0, edge) if leftwards else slice(edge, nx)
    x = (np.arange(nx) - edge) / _SUPPORT
    terms = np.vander(x, 3, increasing=True)
    weights, *_ = np.linalg.lstsq(terms[seen], side[:, seen].T, rcond=None)
    reach = np.clip(x[unseen], -1.0, 1.0)
    side[:, unseen] = (np.vander(reach, 3, increasing=True) @ weights).T
    variance[:, unseen] = variance[:, edge][:, None]


def fit_sides(
    image: np.ndarray, weight: np.ndarray, column: np.ndarray, options: SmoothOptions
) -> Sides:
    """Fit the polynomials of both sides.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Background, DN/s.
    weight : ndarray
        Inverse variance; 0 where a pixel is not to be used.
    column : ndarray
        Column of the break in each row, shape (ny,).
    options : SmoothOptions
        Settings.

    Returns
    -------
    Sides
        Both sides, in all pixels.

    Raises
    ------
    ValueError
        If one side has no pixel that can be used.
    """
    left_terms, right_terms = _terms(image.shape[1], options)
    distance = np.arange(image.shape[1]) - column[:, None]
    left, left_variance = _fit_side(
        image, np.where(distance < ZONE[0], weight, 0), left_terms, options.row_sigma
    )
    right, right_variance = _fit_side(
        image, np.where(distance > ZONE[1], weight, 0), right_terms, options.row_sigma
    )
    _continued(left, left_variance, leftwards=False)
    _continued(right, right_variance, leftwards=True)
    return Sides(left, right, left_variance, right_variance)
