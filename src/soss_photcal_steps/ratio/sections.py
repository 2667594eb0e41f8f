"""Fit of one section of a ratio curve: choice of the curve, test of its residuals, error band.

* Noise and outliers come first, see `reject`.
* Noise that neighbouring points share comes next, see `noise_search`: of several strengths and
  lengths the most likely is taken, each with the curve that goes best with it.
* Which curve: the smallest second-order Akaike criterion (Hurvich & Tsai 1989) among Legendre
  series of all degrees, among splines of all numbers of knots, where the place of a knot that was
  looked for counts as a parameter, and among smoothing splines of all degrees of freedom, with as
  many independent points as that noise leaves.  A ratio is no polynomial, so the question
  is which curve comes nearest, which is Akaike's, not which degree is the true one, which is
  Schwarz's (BIC).
* A Legendre series is good enough if the means of its residuals in bins scatter as the noise
  says, neighbouring bins do not go together, and no spline is a hundred times as likely.
  The strength of noise that neighbours share is known to half a step of those that are tried
  only, and what may be such noise is no reason for a spline.
  Else the likeliest curve whose residuals pass is taken.
* The error: the covariance of the fit, with the variance and the correlation of the
  noise, and the differences between the curves that might have been chosen, with their
  Akaike weights (Burnham & Anderson 2002).  Where the chosen curve does not pass the test, as
  one of a degree that the user wants, what it leaves in the bins is added.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import chdtri

from soss_photcal_steps.ratio.families import (
    Anchor,
    Family,
    Points,
    legendre_family,
    spline_family,
)
from soss_photcal_steps.ratio.noise_search import find_noise
from soss_photcal_steps.ratio.options import FitOptions
from soss_photcal_steps.ratio.reject import reject_outliers
from soss_photcal_steps.ratio.slow_noise import SlowNoise
from soss_photcal_steps.ratio.smooth import SmoothFamily, smooth_family

_AnyFamily = Family | SmoothFamily

__all__ = ["SectionFit", "bin_test", "fit_section"]

# Points per bin of the test, fewest bins, and the probability at which it says no, which is also
# how much less likely than another curve a series may be.
_BIN, _LEAST_BINS, _LEVEL = 40, 5, 0.01
# The same for the correlation of neighbouring bins, in standard deviations.
_TOGETHER = 2.33
# Weight below which a curve counts as not plausible.
_LEAST_WEIGHT = 1e-3
# Fewest points of a spline that nobody asked for.
_LEAST_FOR_SPLINE = 20


@dataclass(frozen=True)
class SectionFit:
    """The fit of one section.

    Attributes
    ----------
    curve, error : ndarray
        Curve and its 1-sigma error at the wavelengths that were asked for.
    keep : ndarray of bool
        Points that were not rejected.
    description : dict
        How it was made, see `OrderRatio.fit_description`.
    """

    curve: np.ndarray
    error: np.ndarray
    keep: np.ndarray
    description: dict[str, Any]


def bin_test(residual: np.ndarray, parameters: int, doubt: float = 1.0) -> tuple[bool, float]:
    """Test whether residuals are noise.

    Parameters
    ----------
    residual : ndarray
        Residuals in order, as independent values over the noise, shape (n,).
    parameters : int
        Number of parameters of the curve.
    doubt : float, optional
        By how much the variance of a mean may exceed what the noise is taken for.

    Returns
    -------
    passed : bool
        Whether both the chi square of the means in bins and the correlation of neighbouring
        bins are what noise gives in 99 of 100 cases, `doubt` allowed for.
    chi_square : float
        Reduced chi square of the means in bins.
    """
    count = min(max(residual.size // _BIN, _LEAST_BINS, 2 * parameters), residual.size)
    parts = np.array_split(residual, count)
    means = np.array([part.mean() * np.sqrt(part.size) for part in parts])
    free = max(count - parameters, 1)
    total = float((means**2).sum())
    neighbours = float(means[1:] @ means[:-1]) / total if total > 0 else 0.0
    together = neighbours * np.sqrt(count) > _TOGETHER
    passed = total < doubt * chdtri(free, _LEVEL) and not together
    return bool(passed), total / free


def _criterion(family: _AnyFamily, n: int, noise: SlowNoise) -> np.ndarray:
    """Akaike's criterion of second order, of each curve of a family.

    The places of knots that were looked for are parameters too.  They count where a spline is
    compared with other curves, and not where it is with splines of more knots: there they
    would cost bends that are real.
    """
    terms, free = np.array(family.sizes), n / noise.factor
    penalty = _penalty(terms, free)
    # With hardly any points there is still the simplest curve.
    penalty[0] = min(penalty[0], 20 * terms[0] * free)
    found = family.chi_squares + penalty
    best = int(np.argmin(found))
    label = family.labels[best] if _knots_found(family) else 0
    if label:
        without, with_places = _penalty(terms[best] + np.array([0, label]), free)
        if np.isfinite(with_places):
            return found + (with_places - without)
        # There are too few independent points to look for places of knots.
        found[np.array(family.labels) > 0] = np.inf
    return found


def _penalty(terms: np.ndarray, free: float) -> np.ndarray:
    """Cost of a number of terms for a number of independent points."""
    left = free - terms - 1
    return np.where(left > 0, 2 * terms * free / np.maximum(left, 0.1), np.inf)


def _knots_found(family: _AnyFamily) -> bool:
    """Tell whether the places of the knots come from the data."""
    return family.method == "spline" and len(family.labels) > 1


def _families(points: Points, options: FitOptions) -> list[_AnyFamily]:
    families: list[_AnyFamily] = []
    x = points.x
    # A constant cannot join its neighbour but at one level.
    least = 0 if points.anchor is None else 1
    automatic = options.method == "auto" and options.degree is None
    # A curve that has to meet its neighbour, or has hardly any points, is no smoothing spline.
    may_be_smooth = points.anchor is None and x.size >= _LEAST_FOR_SPLINE
    if options.method in ("auto", "legendre"):
        if options.degree is not None:
            degrees = [max(min(options.degree, x.size - 2), least)]
        else:
            degrees = list(range(least, max(options.max_degree, least) + 1))
        families.append(legendre_family(points, degrees))
    if options.method == "spline" or automatic or not (families or may_be_smooth):
        if options.knots is not None:
            inside = [knot for knot in options.knots if x[0] < knot < x[-1]]
            families.append(spline_family(points, 0, inside))
        elif x.size >= _LEAST_FOR_SPLINE or not families:
            families.append(spline_family(points, options.max_knots))
    if may_be_smooth and (options.method == "smooth" or (automatic and options.knots is None)):
        families.append(smooth_family(points, options.max_knots + 4))
    return families


def fit_section(
    x: np.ndarray,
    y: np.ndarray,
    sigma: np.ndarray,
    place: np.ndarray,
    grid: np.ndarray,
    options: FitOptions,
    anchor: Anchor | None = None,
    joins: tuple[bool, bool] = (False, False),
) -> SectionFit:
    """Fit one section.

    Parameters
    ----------
    x, y, sigma : ndarray
        Good points by rising wavelength, um, and their errors, shape (n,).
    place : ndarray
        Their numbers in the spectrum, shape (n,).
    grid : ndarray
        Wavelengths where the curve is wanted, um.
    options : FitOptions
        Settings; its sections do not matter here.
    anchor : Anchor, optional
        Where the curve has to pass.
    joins : tuple of bool, optional
        Whether the section meets another one at its short and at its long end.

    Returns
    -------
    SectionFit
        The curve.
    """
    noise = reject_outliers(x, y, sigma, options.sigma, options.maxiters, *joins)
    keep = noise.keep
    px, py, ps = x[keep], y[keep], (sigma * noise.scale)[keep]
    low, high = min(float(x[0]), float(grid.min())), max(float(x[-1]), float(grid.max()))
    points = Points(px, py, ps, low, high, anchor, place[keep])
    # Five points or more for each term.
    room = max(px.size // 5 - 1, 1)
    options = replace(
        options,
        max_degree=min(options.max_degree, room),
        max_knots=min(options.max_knots, room),
    )
    slow, width = find_noise(points, options.max_degree, options.max_knots)
    families = _families(replace(points, sigma=ps * width, noise=slow), options)
    criteria = [_criterion(family, px.size, slow) for family in families]
    best = [int(np.argmin(values)) for values in criteria]
    tests = [
        bin_test(family.residuals(member), family.sizes[member], slow.doubt)
        for family, member in zip(families, best, strict=True)
    ]
    chosen = _choose(criteria, [passed for passed, _ in tests])
    family, member = families[chosen], best[chosen]
    # Quoted errors above the scatter speak of something that the scatter does not show.
    wide = width * np.sqrt(1 + slow.share)
    inflation = max(float(np.median(1 / (noise.scale[keep] * wide))), 1.0) ** 2
    curve = family.curves(grid, [member])[0]
    error = _band(grid, curve, families, criteria, (chosen, member), inflation)
    residual = py - family.curves(px, [member])[0]
    if not tests[chosen][0]:
        error = np.hypot(error, _misfit(residual, ps * wide, slow.factor))
    label = family.labels[member]
    description = {
        "low": low,
        "high": high,
        "method": family.method,
        "degree": label if family.method == "legendre" else 3,
        "knots": sorted(family.knots[:label] if family.method == "spline" else family.knots),
        "freedom": family.sizes[member],
        "coefficients": family.coefficients(member),
        "rms": float(np.sqrt(np.mean(residual**2))),
        "n_points": int(keep.sum()),
        "n_rejected": int((~keep).sum()),
        "noise": float(np.median(noise.scale[keep] * wide)),
        "slow_share": slow.share,
        "slow_length": slow.length if slow.share else 0.0,
        "correlation": slow.factor,
        "chi_square": tests[chosen][1],
        "passed": tests[chosen][0],
    }
    return SectionFit(curve, error, keep, description)


def _choose(criteria: list[np.ndarray], passed: list[bool]) -> int:
    """Take the Legendre series, which comes first, if it is good enough, else what the test says.

    Where no curve passes the test the criterion decides alone.
    """
    least = np.array([values.min() for values in criteria])
    if passed[0] and least[0] < least.min() - 2 * np.log(_LEVEL):
        return 0
    if any(passed):
        least = np.where(passed, least, np.inf)
    return int(np.argmin(least))


def _misfit(residual: np.ndarray, sigma: np.ndarray, correlation: float) -> float:
    """Root mean square of the residuals that is not noise, from their means in bins."""
    parts = np.array_split(np.arange(residual.size), max(residual.size // _BIN, _LEAST_BINS))
    parts = [part for part in parts if part.size]
    means = np.array([residual[part].mean() for part in parts])
    noise = np.array([correlation * np.mean(sigma[part] ** 2) / part.size for part in parts])
    return float(np.sqrt(max(np.average(means**2 - noise, weights=1 / noise), 0.0)))


def _places_found(family: _AnyFamily, member: int) -> float:
    """Factor on the variance for places of knots that come from the data.

    Over all points the variance sums up to the number of parameters; the place of a knot is
    one more.
    """
    if not _knots_found(family):
        return 1.0
    terms = family.sizes[member]
    return (terms + family.labels[member]) / terms


def _band(
    grid: np.ndarray,
    curve: np.ndarray,
    families: list[_AnyFamily],
    criteria: list[np.ndarray],
    chosen: tuple[int, int],
    inflation: float,
) -> np.ndarray:
    """Error of the chosen curve, with the doubt about the choice."""
    least = min(values.min() for values in criteria)
    own = families[chosen[0]]
    total = np.zeros(grid.size)
    mass = 0.0
    for family, values in zip(families, criteria, strict=True):
        weights = np.exp(-0.5 * (values - least))
        members = [int(m) for m in np.flatnonzero(weights > _LEAST_WEIGHT)]
        if not members:
            continue
        variances = family.variances(grid, members, inflation)
        variances = variances * np.array([_places_found(family, m) for m in members])[:, None]
        others = family.curves(grid, members)
        total += weights[members] @ (variances + (others - curve) ** 2)
        mass += float(weights[members].sum())
    floor = own.variances(grid, [chosen[1]], inflation)[0] * _places_found(own, chosen[1])
    return np.sqrt(np.maximum(total / mass, floor) if mass > 0 else floor)
