"""The curves that may be fitted: Legendre series and cubic splines, from simple to flexible.

A family is a list of curves each of which has one term more than the one before: a Legendre
series its next degree, a spline its next knot.  One orthogonal decomposition then gives the
solutions of all of them, their chi squares and their errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.polynomial import legendre
from scipy.interpolate import make_lsq_spline
from scipy.linalg import solve_triangular

from soss_photcal_steps.ratio.knots import candidate_places, select_terms
from soss_photcal_steps.ratio.slow_noise import WHITE, SlowNoise, whiten

__all__ = [
    "Anchor",
    "Family",
    "Points",
    "family_columns",
    "legendre_family",
    "spline_columns",
    "spline_family",
]


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
class Points:
    """What a curve is fitted to.

    Attributes
    ----------
    x, y, sigma : ndarray
        Rising wavelengths, um, values and their errors, shape (n,).
    low, high : float
        Range of the section, um, within which the points lie.
    anchor : Anchor or None
        Where the curve has to pass.
    place : ndarray or None
        Rising numbers of the points in the spectrum, shape (n,); 0, 1, 2 ... if None.
    noise : SlowNoise
        What neighbours share, where `sigma` is the white part.
    """

    x: np.ndarray
    y: np.ndarray
    sigma: np.ndarray
    low: float
    high: float
    anchor: Anchor | None = None
    place: np.ndarray | None = None
    noise: SlowNoise = WHITE

    def whiten(self, columns: np.ndarray) -> tuple[np.ndarray, float]:
        """Make the noise of columns white and of variance 1.

        Parameters
        ----------
        columns : ndarray
            Values at the points, shape (n, k).

        Returns
        -------
        white : ndarray
            The columns over their noise, as independent values, shape (n, k).
        log_determinant : float
            Logarithm of the determinant of the covariance, in units of `sigma`.
        """
        place = np.arange(self.x.size) if self.place is None else self.place
        return whiten(columns / self.sigma[:, None], place, self.noise)


@dataclass(frozen=True)
class Family:
    """Solutions of a family of curves.

    Attributes
    ----------
    method : {"legendre", "spline"}
        Kind.
    low, high : float
        Range of the section, um.
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
    _design: np.ndarray
    _target: np.ndarray

    def _orthogonal(self, x: np.ndarray) -> np.ndarray:
        """Orthonormal terms at some wavelengths, shape (n, terms)."""
        columns = _columns(self.low, self.high, self.knots, self._degree, x, self.anchor)
        return solve_triangular(self._triangle, columns.T, trans="T", check_finite=False).T

    @property
    def _degree(self) -> int:
        return 3 if self.method == "spline" else self.labels[-1]

    def _terms(self, member: int) -> int:
        return self.sizes[member] - (self.anchor is not None)

    def residuals(self, member: int) -> np.ndarray:
        """Give what a curve leaves of the points, as independent values.

        Parameters
        ----------
        member : int
            Which.

        Returns
        -------
        ndarray
            Residuals over their errors, with the noise that neighbours share taken out, shape
            (n,).
        """
        terms = self._terms(member)
        return self._target - self._design[:, :terms] @ self._amplitudes[:terms]

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

    def coefficients(self, member: int) -> list[float]:
        """Give the coefficients of a curve.

        Parameters
        ----------
        member : int
            Which.

        Returns
        -------
        list of float
            Of the Legendre series over `low` to `high`, from degree 0; or of the cubic B-splines
            on the knots with `low` and `high` four times each, as `scipy.interpolate.BSpline`
            takes them.
        """
        label = self.labels[member]
        if self.method == "legendre":
            x = _scaled_nodes(self.low, self.high, label + 1)
            series = legendre.legfit(
                _scaled(self.low, self.high, x), self.curves(x, [member])[0], label
            )
            return [float(value) for value in series]
        knots = np.sort(self.knots[:label])
        edges = np.concatenate([[self.low], knots, [self.high]])
        x = np.unique(np.concatenate([np.linspace(*pair, 8) for pair in pairwise(edges)]))
        padded = np.concatenate([[self.low] * 3, edges, [self.high] * 3])
        spline = make_lsq_spline(x, self.curves(x, [member])[0], padded, k=3)
        return [float(value) for value in spline.c]

    def variances(self, x: np.ndarray, members: Sequence[int], factor: float) -> np.ndarray:
        """Give the variances of some curves.

        Parameters
        ----------
        x : ndarray
            Wavelengths, shape (n,), um.
        members : sequence of int
            Which.
        factor : float
            By how much the variance of the points exceeds what their errors say.

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


def family_columns(points: Points, knots: Sequence[float] | np.ndarray, degree: int) -> np.ndarray:
    """Give the terms of a family at its points.

    Parameters
    ----------
    points : Points
        The points.
    knots : sequence of float
        Inner knots of the splines, um.
    degree : int
        Degree of the Legendre series; the knots count where it is 3.

    Returns
    -------
    ndarray
        Shape (n, terms); without the constant, and 0 at the anchor, where there is one.
    """
    return _columns(points.low, points.high, knots, degree, points.x, points.anchor)


def _scaled_nodes(low: float, high: float, count: int) -> np.ndarray:
    """Chebyshev's nodes between two wavelengths."""
    angle = np.pi * (np.arange(count) + 0.5) / count
    return (low + high) / 2 + (high - low) / 2 * np.cos(angle)


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
    method: str, points: Points, knots: Sequence[float], degree: int, labels: Sequence[int]
) -> Family:
    anchor = points.anchor
    columns = family_columns(points, knots, degree)
    level = points.y - (0.0 if anchor is None else anchor.value)
    white, _ = points.whiten(np.column_stack([columns, level, np.ones_like(level)]))
    orthogonal, triangle = np.linalg.qr(white[:, :-2])
    target, one = white[:, -2], white[:, -1]
    amplitudes = orthogonal.T @ target
    first = 4 if method == "spline" else 1
    sizes = tuple(label + first for label in labels)
    left = float(target @ target) - np.cumsum(amplitudes**2)
    left = np.concatenate([[float(target @ target)], left])
    terms = np.array(sizes) - (anchor is not None)
    return Family(
        method,
        points.low,
        points.high,
        tuple(float(k) for k in knots),
        sizes,
        tuple(labels),
        np.maximum(left[terms], 0.0),
        anchor,
        triangle,
        amplitudes,
        orthogonal.T @ one,
        orthogonal,
        target,
    )


def legendre_family(points: Points, degrees: Sequence[int]) -> Family:
    """Fit Legendre series.

    Parameters
    ----------
    points : Points
        What to fit.
    degrees : sequence of int
        Degrees, rising.

    Returns
    -------
    Family
        The series of all degrees.
    """
    return _solve("legendre", points, (), max(degrees), degrees)


def spline_family(points: Points, most: int, knots: Sequence[float] | None = None) -> Family:
    """Fit cubic splines by least squares, with a knot more each.

    A new knot comes where it lowers chi square most.

    Parameters
    ----------
    points : Points
        What to fit.
    most : int
        Most inner knots.
    knots : sequence of float, optional
        Inner knots that the user wants, um; there is one curve then.

    Returns
    -------
    Family
        The splines.
    """
    if knots is not None:
        return _solve("spline", points, sorted(knots), 3, (len(knots),))
    found = _best_knots(points, most)
    return _solve("spline", points, found, 3, range(len(found) + 1))


def _best_knots(points: Points, most: int) -> list[float]:
    """Choose knots one by one from places that part the points evenly."""
    places = candidate_places(points.x, points.sigma)
    if not places.size or most < 1:
        return []
    columns = family_columns(points, places, 3)
    level = points.y - (0.0 if points.anchor is None else points.anchor.value)
    white, _ = points.whiten(np.column_stack([columns, level]))
    chosen, _ = select_terms(white, columns.shape[1] - places.size, most)
    return [float(places[number]) for number in chosen]
