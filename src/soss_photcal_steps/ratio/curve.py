"""The smooth curve through the ratio of one order, with its error.

As in section 7 of the report, a Legendre series of low order is tried first, and a cubic
spline where that is not good enough; order 2 has two short sections before the main one, see
`sections`.

* The degree, and the knots of a spline, are those of the smallest Bayesian information
  criterion (Schwarz 1978), with as many independent points as the correlation of the
  residuals leaves.
* Outliers are rejected in rounds, with their neighbours on the high side: what is left of
  zero orders and lines is broad and positive more often than not.
* A Legendre series is good enough if the means of its residuals in bins scatter as the noise
  says: reduced chi square below 1 + 3 sqrt(2 / bins).
* The error is the covariance of the fit, times the variance of the residuals and their
  correlation, with the scatter between the plausible degrees or numbers of knots added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.polynomial import legendre
from scipy.interpolate import BSpline

from soss_photcal_steps.ratio.noise import correlation_factor, difference_scale, robust_scale

__all__ = ["CurveFit", "FitOptions", "fit_section"]

_BIN = 25
_GROW = 3


@dataclass(frozen=True)
class FitOptions:
    """Settings of the fit of one order.

    Attributes
    ----------
    method : {"auto", "legendre", "spline", "none"}
        Kind of curve.
    degree : int or None
        Degree of the Legendre series; found from the data if None.
    knots : tuple of float or None
        Inner knots of the spline, um; found from the data if None.
    sections : {"one", "order2"} or tuple of float
        One section; those of order 2, found in the data; or the wavelengths where sections
        join, um.
    max_degree : int
        Highest degree that is tried.
    max_knots : int
        Most inner knots that are tried.
    sigma : float
        Threshold of the rejection, in units of the noise.
    maxiters : int
        Most rounds of rejection.
    min_points : int
        Fewest good points of an order.
    """

    method: str = "auto"
    degree: int | None = None
    knots: tuple[float, ...] | None = None
    sections: str | tuple[float, ...] = "one"
    max_degree: int = 8
    max_knots: int = 16
    sigma: float = 4.0
    maxiters: int = 10
    min_points: int = 30


@dataclass(frozen=True)
class CurveFit:
    """A smooth curve.

    Attributes
    ----------
    curve, error : ndarray
        Curve and its 1-sigma error at all wavelengths, shape (n,); NaN beyond the first and
        the last good point.
    outlier : ndarray of bool
        Good points that the fit rejected, shape (n,).
    description : dict
        How it was made, see `OrderRatio.fit_description`.
    """

    curve: np.ndarray
    error: np.ndarray
    outlier: np.ndarray
    description: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Basis:
    """A linear basis: what makes the design matrix, and what it is called."""

    design: Callable[[np.ndarray], np.ndarray]
    method: str
    degree: int
    knots: tuple[float, ...] = ()


def _legendre(low: float, high: float, degree: int) -> _Basis:
    def design(x: np.ndarray) -> np.ndarray:
        return legendre.legvander((2 * x - low - high) / (high - low), degree)

    return _Basis(design, "legendre", degree)


def _spline(low: float, high: float, inner: Sequence[float]) -> _Basis:
    knots = np.concatenate([[low] * 4, np.sort(inner), [high] * 4])

    def design(x: np.ndarray) -> np.ndarray:
        return BSpline.design_matrix(np.clip(x, low, high), knots, 3).toarray()

    return _Basis(design, "spline", 3, tuple(float(k) for k in np.sort(inner)))


@dataclass(frozen=True)
class _Solution:
    """A weighted least-squares solution."""

    basis: _Basis
    coefficients: np.ndarray
    covariance: np.ndarray
    chi_square: float

    def at(self, x: np.ndarray) -> np.ndarray:
        return self.basis.design(x) @ self.coefficients


def _solve(
    basis: _Basis, x: np.ndarray, y: np.ndarray, sigma: np.ndarray, anchor: tuple | None
) -> _Solution:
    """Fit; an anchor (wavelength, value) is a point of hardly any error."""
    if anchor is not None:
        x, y = np.append(x, anchor[0]), np.append(y, anchor[1])
        sigma = np.append(sigma, 1e-3 * np.median(sigma))
    design = basis.design(x) / sigma[:, None]
    # A little ridge keeps coefficients finite that no point bears on.
    normal = design.T @ design
    normal[np.diag_indices_from(normal)] += 1e-10 * np.trace(normal) / len(normal)
    covariance = np.linalg.inv(normal)
    coefficients = covariance @ (design.T @ (y / sigma))
    residual = y / sigma - design @ coefficients
    return _Solution(basis, coefficients, covariance, float(residual @ residual))


def _reject(residual: np.ndarray, keep: np.ndarray, limit: float) -> np.ndarray:
    """Find outliers among the points; high ones take their neighbours with them."""
    scale = max(robust_scale(residual[keep]), 1e-300)
    bad = np.abs(residual) > limit * scale
    high = np.flatnonzero(residual > limit * scale)
    for place in high:
        first, last = max(place - _GROW, 0), place + _GROW + 1
        near = residual[first:last] > scale
        bad[first:last] |= near
    # A mean of a few points tells of a feature that no single point does.
    width = 7
    if residual.size > 10 * width:
        mean = np.convolve(residual, np.full(width, 1 / width), "same")
        wide = np.abs(mean) > limit * max(robust_scale(mean[keep]), 1e-300)
        bad |= np.convolve(wide, np.ones(width), "same") > 0.5
    return ~bad


def _bins(x: np.ndarray, normalised: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Means of the residuals in bins, over their expected error; and the bins' centres."""
    count = max(len(x) // _BIN, 4)
    parts = np.array_split(np.arange(len(x)), count)
    values = np.array([normalised[p].mean() * np.sqrt(len(p) / factor) for p in parts if len(p)])
    return values, np.array([x[p].mean() for p in parts if len(p)])


def _passes(x: np.ndarray, normalised: np.ndarray, factor: float) -> bool:
    values, _ = _bins(x, normalised, factor)
    return bool((values**2).mean() < 1 + 3 * np.sqrt(2 / len(values)))


def _criterion(solution: _Solution, noise: float, factor: float, n: int) -> float:
    """Bayesian information criterion with the independent points that correlation leaves."""
    free = n / factor
    return solution.chi_square / noise**2 / factor + len(solution.coefficients) * np.log(free)


def _grow_spline(
    x: np.ndarray,
    y: np.ndarray,
    sigma: np.ndarray,
    anchor: tuple | None,
    noise: float,
    factor: float,
    most: int,
) -> list[_Solution]:
    """Add knots one by one where the residuals are worst; give the solution after each."""
    low, high = float(x[0]), float(x[-1])
    inner: list[float] = []
    found = [_solve(_spline(low, high, inner), x, y, sigma, anchor)]
    while len(inner) < most:
        residual = (y - found[-1].at(x)) / sigma / noise
        values, centres = _bins(x, residual, factor)
        edges = np.array([low, *sorted(inner), high])
        gain = np.zeros(len(edges) - 1)
        place = np.clip(np.searchsorted(edges, centres) - 1, 0, len(gain) - 1)
        # Neighbouring bins of one sign tell more of a missing bend than single ones.
        pair = values.copy()
        pair[1:-1] = (values[:-2] + values[1:-1] + values[2:]) / np.sqrt(3)
        np.add.at(gain, place, np.maximum(pair**2 - 1, 0))
        points = np.histogram(x, edges)[0]
        gain[points < 2 * _BIN] = 0
        if gain.max() <= 0:
            break
        worst = int(np.argmax(gain))
        inside = x[(x > edges[worst]) & (x < edges[worst + 1])]
        inner.append(float(np.median(inside)))
        found.append(_solve(_spline(low, high, inner), x, y, sigma, anchor))
    return found


def _candidates(
    x: np.ndarray,
    y: np.ndarray,
    sigma: np.ndarray,
    anchor: tuple | None,
    options: FitOptions,
    noise: float,
    factor: float,
) -> list[list[_Solution]]:
    """Fit all curves that are allowed, per family."""
    low, high = float(x[0]), float(x[-1])
    families = []
    if options.method in ("auto", "legendre"):
        degrees = (
            [options.degree]
            if options.degree is not None
            else range(min(options.max_degree, max(len(x) // 8, 0)) + 1)
        )
        families.append([_solve(_legendre(low, high, d), x, y, sigma, anchor) for d in degrees])
    if options.method in ("auto", "spline") and len(x) >= 20:
        if options.knots is not None:
            inner = [k for k in options.knots if low < k < high]
            families.append([_solve(_spline(low, high, inner), x, y, sigma, anchor)])
        else:
            families.append(_grow_spline(x, y, sigma, anchor, noise, factor, options.max_knots))
    return families


def _noise(x: np.ndarray, y: np.ndarray, sigma: np.ndarray) -> float:
    noise = difference_scale(y, sigma)
    return noise if np.isfinite(noise) and noise > 0 else 1.0


def fit_section(
    x: np.ndarray,
    y: np.ndarray,
    sigma: np.ndarray,
    grid: np.ndarray,
    options: FitOptions,
    anchor: tuple[float, float] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Fit one section.

    Parameters
    ----------
    x, y, sigma : ndarray
        Good points by rising wavelength, um, and their errors, shape (n,).
    grid : ndarray
        Wavelengths where the curve is wanted, within the good points, um.
    options : FitOptions
        Settings; its sections do not matter here.
    anchor : tuple of float, optional
        Wavelength and value where the curve has to pass.

    Returns
    -------
    curve, error : ndarray
        At the wavelengths of `grid`.
    keep : ndarray of bool
        Good points that were not rejected, shape (n,).
    description : dict
        Method, degree or knots, and the residuals.
    """
    keep = np.ones(len(x), bool)
    noise = _noise(x, y, sigma)
    factor = 1.0
    chosen: _Solution | None = None
    family: list[_Solution] = []
    for _ in range(max(options.maxiters, 1)):
        px, py, ps = x[keep], y[keep], sigma[keep]
        families = _candidates(px, py, ps, anchor, options, noise, factor)
        best = None
        for number, solutions in enumerate(families):
            scores = [_criterion(s, noise, factor, len(px)) for s in solutions]
            candidate = solutions[int(np.argmin(scores))]
            residual = (py - candidate.at(px)) / ps / noise
            good = _passes(px, residual, factor)
            if best is None or (not best[0] and min(scores) < best[1]):
                best = (good, min(scores), candidate, solutions)
            if number == 0 and good:
                break
        if best is None:
            break
        _, _, chosen, family = best
        whole = (y - chosen.at(x)) / sigma
        # The flexible family tells the correlation, so that a bend is not taken for it.
        flexible = families[-1][-1]
        smooth = (py - flexible.at(px)) / ps
        factor = correlation_factor(smooth / max(robust_scale(smooth), 1e-300))
        noise = max(_noise(px, py, ps), robust_scale(smooth))
        after = _reject(whole, keep, options.sigma) if options.maxiters > 0 else keep
        if after.sum() < max(len(chosen.coefficients) + 3, len(x) // 3) or (after == keep).all():
            break
        keep = after
    if chosen is None:
        raise ValueError("there are too few points for the method that is asked for")
    curve, error = _with_error(chosen, family, x[keep], y[keep], sigma[keep], grid, noise, factor)
    residual = y[keep] - chosen.at(x[keep])
    description = {
        "low": float(x[0]),
        "high": float(x[-1]),
        "method": chosen.basis.method,
        "degree": chosen.basis.degree,
        "knots": list(chosen.basis.knots),
        "rms": float(np.sqrt(np.mean(residual**2))) if residual.size else float("nan"),
        "n_points": int(keep.sum()),
        "n_rejected": int((~keep).sum()),
        "noise": float(noise),
        "correlation": float(factor),
        "passed": _passes(x[keep], residual / sigma[keep] / noise, factor),
    }
    return curve, error, keep, description


def _with_error(
    chosen: _Solution,
    family: Sequence[_Solution],
    x: np.ndarray,
    y: np.ndarray,
    sigma: np.ndarray,
    grid: np.ndarray,
    noise: float,
    factor: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Give the curve, and its error with the doubt about degree or knots."""
    design = chosen.basis.design(grid)
    curve = design @ chosen.coefficients
    spread = np.einsum("ij,jk,ik->i", design, chosen.covariance, design)
    residual = (y - chosen.at(x)) / sigma
    values, _ = _bins(x, residual / noise, factor)
    # What the curve does not follow is as large as it shows in bins.
    excess = max(float((values**2).mean()), 1.0)
    variance = np.maximum(spread, 0) * noise**2 * factor * excess
    scores = np.array([_criterion(s, noise, factor, len(x)) for s in family])
    weights = np.exp(-0.5 * (scores - scores.min()))
    weights /= weights.sum()
    for weight, other in zip(weights, family, strict=True):
        if other is not chosen and weight > 1e-3:
            variance = variance + weight * (other.at(grid) - curve) ** 2
    return curve, np.sqrt(variance)
