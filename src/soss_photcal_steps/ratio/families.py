"""The curves that may be fitted: Legendre series and cubic splines, from simple to flexible.

A family is a list of curves each of which has one term more than the one before: a Legendre
series its next degree, a spline its next knot.  One orthogonal decomposition then gives the
solutions of all of them, their chi squares and their errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from scipy.linalg import solve_triangular

__all__ = ["Anchor", "Family", "even_places", "legendre_family", "spline_columns", "spline_family"]

# Places that are tried for a knot, and the least number of points between two of them.
_PLACES = 48
_LEAST_BETWEEN = 12


@dataclass(frozen=True)
class Anchor:
    """A point through which a curve has to pass.

    Attributes
    ----------
    wavelength : float
        Where, um.
    value, error : float
        Value there, and its 1-sigma error.
    """

    wavelength: float
    value: float
    error: float


@dataclass(frozen=True)
class Family:
    """Solutions of a family of curves.

    Attributes
    ----------
    method : {"legendre", "spline"}
        Kind.
    low, high : float
        Range of the points, um.
    knots : tuple of float
        Inner knots of the most flexible spline in the order in which they come in, um.
    sizes : tuple of int
        Number of terms of each curve of the family, a constant included.
    labels : tuple of int
        Degree of each series, or number of inner knots of each spline.
    chi_squares : ndarray
        Sum of the squared residuals over their errors, of each curve.
    """

    method: str
    low: float
    high: float
    knots: tuple[float, ...]
    sizes: tuple[int, ...]
    labels: tuple[int, ...]
    chi_squares: np.ndarray
    anchor: Anchor | None
    _triangle: np.ndarray
    _amplitudes: np.ndarray
    _pull: np.ndarray

    def _orthogonal(self, x: np.ndarray) -> np.ndarray:
        """Orthonormal terms at some wavelengths, shape (n, terms)."""
        columns = _columns(self.low, self.high, self.knots, self._degree, x, self.anchor)
        return solve_triangular(self._triangle, columns.T, trans="T", check_finite=False).T

    @property
    def _degree(self) -> int:
        return 3 if self.method == "spline" else self.labels[-1]

    def _terms(self, member: int) -> int:
        return self.sizes[member] - (self.anchor is not None)

    def curves(self, x: np.ndarray, members: Sequence[int]) -> np.ndarray:
        """Give some curves of the family.

        Parameters
        ----------
        x : ndarray
            Wavelengths, shape (n,), um.
        members : sequence of int
            Which.

        Returns
        -------
        ndarray
            Shape (members, n).
        """
        terms = self._orthogonal(x)
        level = 0.0 if self.anchor is None else self.anchor.value
        found = [terms[:, : self._terms(m)] @ self._amplitudes[: self._terms(m)] for m in members]
        return np.array(found) + level

    def variances(self, x: np.ndarray, members: Sequence[int], factor: float) -> np.ndarray:
        """Give the variances of some curves.

        Parameters
        ----------
        x : ndarray
            Wavelengths, shape (n,), um.
        members : sequence of int
            Which.
        factor : float
            By how much correlation and scatter exceed what the errors of the points say.

        Returns
        -------
        ndarray
            Shape (members, n), with the error of the anchor in it.
        """
        terms = self._orthogonal(x)
        found = []
        for member in members:
            used = terms[:, : self._terms(member)]
            variance = factor * np.einsum("ij,ij->i", used, used)
            if self.anchor is not None:
                # Where the anchor moves, the curve gives way as far as the points let it.
                follows = 1 - used @ self._pull[: self._terms(member)]
                variance = variance + (follows * self.anchor.error) ** 2
            found.append(variance)
        return np.array(found)


def spline_columns(
    low: float, high: float, knots: Sequence[float] | np.ndarray, x: np.ndarray
) -> np.ndarray:
    """Give the terms of cubic splines: a cubic, and its change at each knot.

    Parameters
    ----------
    low, high : float
        Range, um.
    knots : sequence of float
        Inner knots, um.
    x : ndarray
        Wavelengths, shape (n,), um.

    Returns
    -------
    ndarray
        Shape (n, 4 + knots).
    """
    scaled = _scaled(low, high, x)
    steps = np.asarray(knots, float)
    reach = (high - steps) / (high - low)
    change = np.maximum((x[:, None] - steps) / (high - low), 0) / np.maximum(reach, 1e-6)
    return np.hstack([legendre.legvander(scaled, 3), change**3])


def _scaled(low: float, high: float, x: np.ndarray) -> np.ndarray:
    return (2 * x - low - high) / (high - low)


def _columns(
    low: float,
    high: float,
    knots: Sequence[float] | np.ndarray,
    degree: int,
    x: np.ndarray,
    anchor: Anchor | None,
) -> np.ndarray:
    if degree == 3:
        columns = spline_columns(low, high, knots, x)
    else:
        columns = legendre.legvander(_scaled(low, high, x), degree)
    if anchor is None:
        return columns
    at = _columns(low, high, knots, degree, np.array([anchor.wavelength]), None)
    return columns[:, 1:] - at[:, 1:]


def _solve(
    method: str,
    x: np.ndarray,
    y: np.ndarray,
    sigma: np.ndarray,
    anchor: Anchor | None,
    knots: Sequence[float],
    degree: int,
    labels: Sequence[int],
) -> Family:
    low, high = float(x[0]), float(x[-1])
    if anchor is not None:
        low, high = min(low, anchor.wavelength), max(high, anchor.wavelength)
    columns = _columns(low, high, knots, degree, x, anchor) / sigma[:, None]
    level = 0.0 if anchor is None else anchor.value
    orthogonal, triangle = np.linalg.qr(columns)
    target = (y - level) / sigma
    amplitudes = orthogonal.T @ target
    first = 4 if method == "spline" else 1
    sizes = tuple(label + first for label in labels)
    left = float(target @ target) - np.cumsum(amplitudes**2)
    left = np.concatenate([[float(target @ target)], left])
    terms = np.array(sizes) - (anchor is not None)
    return Family(
        method,
        low,
        high,
        tuple(float(k) for k in knots),
        sizes,
        tuple(labels),
        np.maximum(left[terms], 0.0),
        anchor,
        triangle,
        amplitudes,
        orthogonal.T @ (1 / sigma),
    )


def legendre_family(
    x: np.ndarray,
    y: np.ndarray,
    sigma: np.ndarray,
    degrees: Sequence[int],
    anchor: Anchor | None = None,
) -> Family:
    """Fit Legendre series.

    Parameters
    ----------
    x, y, sigma : ndarray
        Points by rising wavelength, um, and their errors, shape (n,).
    degrees : sequence of int
        Degrees, rising.
    anchor : Anchor, optional
        Where the curves have to pass.

    Returns
    -------
    Family
        The series of all degrees.
    """
    return _solve("legendre", x, y, sigma, anchor, (), max(degrees), degrees)


def spline_family(
    x: np.ndarray,
    y: np.ndarray,
    sigma: np.ndarray,
    most: int,
    anchor: Anchor | None = None,
    knots: Sequence[float] | None = None,
) -> Family:
    """Fit cubic splines by least squares, with a knot more each.

    A new knot comes where it lowers chi square most.

    Parameters
    ----------
    x, y, sigma : ndarray
        Points by rising wavelength, um, and their errors, shape (n,).
    most : int
        Most inner knots.
    anchor : Anchor, optional
        Where the curves have to pass.
    knots : sequence of float, optional
        Inner knots that the user wants, um; there is one curve then.

    Returns
    -------
    Family
        The splines.
    """
    if knots is not None:
        return _solve("spline", x, y, sigma, anchor, sorted(knots), 3, (len(knots),))
    found = _best_knots(x, y, sigma, most, anchor)
    return _solve("spline", x, y, sigma, anchor, found, 3, range(len(found) + 1))


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
        Wavelengths, um, with the same sum of 1 / sigma between them; so they are closer where
        points are many and good.
    """
    weight = np.cumsum(1 / sigma) - 0.5 / sigma
    wanted = np.linspace(0, float((1 / sigma).sum()), count + 2)[1:-1]
    return np.interp(wanted, weight, x)


def _best_knots(
    x: np.ndarray, y: np.ndarray, sigma: np.ndarray, most: int, anchor: Anchor | None
) -> list[float]:
    """Choose knots one by one from places with equal numbers of points between them."""
    count = min(_PLACES, x.size // _LEAST_BETWEEN - 1)
    if count < 1 or most < 1:
        return []
    places = even_places(x, sigma, count)
    low, high = float(x[0]), float(x[-1])
    columns = _columns(low, high, places, 3, x, anchor) / sigma[:, None]
    level = 0.0 if anchor is None else anchor.value
    fixed = columns.shape[1] - count
    orthogonal, _ = np.linalg.qr(columns[:, :fixed])
    left = (y - level) / sigma
    left = left - orthogonal @ (orthogonal.T @ left)
    change = columns[:, fixed:]
    full = np.einsum("ij,ij->j", change, change)
    change = change - orthogonal @ (orthogonal.T @ change)
    free = np.ones(count, bool)
    found: list[float] = []
    while len(found) < most and free.any():
        norm = np.einsum("ij,ij->j", change, change)
        free &= norm > 1e-9 * full
        gain = np.where(free, (change.T @ left) ** 2 / np.where(free, norm, 1), -1.0)
        best = int(np.argmax(gain))
        if gain[best] <= 0:
            break
        found.append(float(places[best]))
        free[best] = False
        term = change[:, best] / np.sqrt(norm[best])
        left = left - term * (term @ left)
        change = change - np.outer(term, term @ change)
    return found
