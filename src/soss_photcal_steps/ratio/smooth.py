"""Smoothing splines: as close to the points as their noise asks, and else as straight as can be.

A cubic spline with more knots than are needed, whose bends cost: the sum of the squared residuals
and of a multiple of the integrated square of the second derivative is least (Reinsch 1967).  What
can be told from noise in the middle of an order, where the noise is least, decides how much the
curve may bend at its ends, where the noise is ten times as large.  A spline with few knots there
has its knots for itself, and follows the noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline
from scipy.linalg import solve_triangular

from soss_photcal_steps.ratio.families import Points

__all__ = ["SmoothFamily", "smooth_family"]

# Inner knots: many more than a curve needs, and few enough for the points.
_KNOTS, _POINTS_PER_KNOT = 60, 4
# A knot's part of the trace that keeps the equations solvable where there are no points.
_LEAST = 1e-10
# Strengths of the penalty between which those of the members lie, over the typical one.
_RANGE = (-8.0, 14.0)


@dataclass(frozen=True)
class SmoothFamily:
    """Smoothing splines of rising freedom, as a `families.Family` of curves.

    Attributes
    ----------
    method : str
        ``smooth``.
    low, high : float
        Range of the section, um.
    knots : tuple of float
        Inner knots, the same for all curves, um.
    sizes : tuple of int
        Effective number of parameters of each curve.
    chi_squares : ndarray
        Sum of the squared residuals over their errors, of each curve.
    """

    low: float
    high: float
    knots: tuple[float, ...]
    sizes: tuple[int, ...]
    chi_squares: np.ndarray
    _axes: np.ndarray
    _shrink: np.ndarray
    _parts: np.ndarray
    _design: np.ndarray
    _target: np.ndarray
    method: str = "smooth"

    @property
    def labels(self) -> tuple[int, ...]:
        """Effective number of parameters of each curve."""
        return self.sizes

    def _terms(self, x: np.ndarray) -> np.ndarray:
        """Terms at some wavelengths that neither noise nor penalty mix, shape (n, terms)."""
        return _basis(self.low, self.high, self.knots)(x) @ self._axes

    def residuals(self, member: int) -> np.ndarray:
        """Give what a curve leaves of the points, as independent values.

        Parameters
        ----------
        member : int
            Which.

        Returns
        -------
        ndarray
            Residuals over their errors, shape (n,).
        """
        return self._target - self._design @ (self._shrink[member] * self._parts)

    def curves(self, x: np.ndarray, members: Sequence[int]) -> np.ndarray:
        """Give some curves.

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
        return (self._shrink[list(members)] * self._parts) @ self._terms(x).T

    def coefficients(self, member: int) -> list[float]:
        """Give the coefficients of a curve.

        Parameters
        ----------
        member : int
            Which.

        Returns
        -------
        list of float
            Of the cubic B-splines on the knots with `low` and `high` four times each.
        """
        return [float(v) for v in self._axes @ (self._shrink[member] * self._parts)]

    def variances(self, x: np.ndarray, members: Sequence[int], factor: float) -> np.ndarray:
        """Give the variances of some curves, with what the penalty bends (Wahba 1983).

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
            Shape (members, n).
        """
        return factor * self._shrink[list(members)] @ (self._terms(x) ** 2).T


def _basis(low: float, high: float, knots: Sequence[float] | np.ndarray) -> BSpline:
    """Cubic B-splines on inner knots, which give a column each."""
    padded = np.concatenate([[low] * 4, knots, [high] * 4])
    return BSpline(padded, np.eye(padded.size - 4), 3)


def _penalty(low: float, high: float, knots: np.ndarray) -> np.ndarray:
    """Integrals of the products of the second derivatives of the B-splines."""
    nodes, weights = np.polynomial.legendre.leggauss(2)
    edges = np.concatenate([[low], knots, [high]])
    half = np.diff(edges)[:, None] / 2
    places = (edges[:-1, None] + half + half * nodes).ravel()
    bends = _basis(low, high, knots).derivative(2)(places)
    return (bends * (half * weights).ravel()[:, None]).T @ bends


def smooth_family(points: Points, most: int) -> SmoothFamily:
    """Fit smoothing splines of 3, 4, 5 ... effective parameters.

    Parameters
    ----------
    points : Points
        What to fit; without an anchor.
    most : int
        Most effective parameters.

    Returns
    -------
    SmoothFamily
        The curves.
    """
    low, high = points.low, points.high
    count = max(min(_KNOTS, points.x.size // _POINTS_PER_KNOT), 4)
    knots = np.linspace(low, high, count + 2)[1:-1]
    white, _ = points.whiten(np.column_stack([_basis(low, high, knots)(points.x), points.y]))
    design, target = white[:, :-1], white[:, -1]
    normal = design.T @ design
    normal += _LEAST * float(np.trace(normal)) / len(normal) * np.eye(len(normal))
    root = np.linalg.cholesky(normal)
    bends = solve_triangular(root, _penalty(low, high, knots), lower=True)
    bends = solve_triangular(root, bends.T, lower=True)
    strength, vectors = np.linalg.eigh((bends + bends.T) / 2)
    # A straight line does not bend.
    strength = np.maximum(strength, 0.0)
    strength[:2] = 0.0
    axes = solve_triangular(root, vectors, lower=True, trans="T")
    parts = axes.T @ (design.T @ target)
    levels = np.logspace(*_RANGE, 200) / np.median(strength[2:])
    freedom = (1 / (1 + levels[:, None] * strength)).sum(1)
    sizes = np.arange(3, max(min(most, int(freedom[0])), 3) + 1)
    wanted = np.exp(np.interp(-sizes, -freedom, np.log(levels)))
    shrink = 1 / (1 + wanted[:, None] * strength)
    curves = design @ axes
    left = target[:, None] - curves @ (shrink * parts).T
    return SmoothFamily(
        low,
        high,
        tuple(float(knot) for knot in knots),
        tuple(int(size) for size in sizes),
        np.einsum("ij,ij->j", left, left),
        axes,
        shrink,
        parts,
        curves,
        target,
    )
