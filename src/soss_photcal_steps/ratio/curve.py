"""The smooth curve through the ratio of one order, with its error.

As in section 7 of the report, a Legendre series of low order is tried first, and a cubic
spline, one of few knots or a smoothing one, where that is not good enough; order 2 has two short
sections before the main one.
See `sections` for the choice of the curve and its error, `reject` for the outliers and `joins`
for the sections of order 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.ratio.families import Anchor
from soss_photcal_steps.ratio.joins import find_order2_joins
from soss_photcal_steps.ratio.noise import usable_errors
from soss_photcal_steps.ratio.options import FitOptions
from soss_photcal_steps.ratio.sections import fit_section

__all__ = ["CurveFit", "FitOptions", "fit_curve"]

# Fewest good points of a section.
_LEAST_POINTS = 5


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


def fit_curve(
    wavelength: np.ndarray,
    ratio: np.ndarray,
    error: np.ndarray,
    mask: np.ndarray,
    options: FitOptions | None = None,
) -> CurveFit:
    """Fit a smooth curve to the good points of a ratio.

    Parameters
    ----------
    wavelength : ndarray
        Rising wavelengths, shape (n,), um.
    ratio, error : ndarray
        Ratio and its error, shape (n,); an error that is missing or not positive is taken from
        its neighbours or from the scatter.
    mask : ndarray of int or bool
        Points with anything but 0 are left out, shape (n,).
    options : FitOptions, optional
        Settings.

    Returns
    -------
    CurveFit
        The curve, its error, the rejected points and the description; where there are too few
        points, the description says so and the curve is NaN.

    Raises
    ------
    SossInputError
        If the wavelengths do not rise or the shapes differ.
    """
    options = options or FitOptions()
    wavelength, ratio = np.asarray(wavelength, float), np.asarray(ratio, float)
    error, mask = np.asarray(error, float), np.asarray(mask)
    if not wavelength.shape == ratio.shape == error.shape == mask.shape or wavelength.ndim != 1:
        raise SossInputError(
            "Wavelength, ratio, error and mask must be of the same length, not of shapes "
            f"{wavelength.shape}, {ratio.shape}, {error.shape} and {mask.shape}."
        )
    if not np.isfinite(wavelength).all() or not (np.diff(wavelength) > 0).all():
        raise SossInputError("The wavelengths of a curve must be finite and rise throughout.")
    good = (mask == 0) & np.isfinite(ratio)
    least = max(options.min_points, _LEAST_POINTS)
    if options.method == "none":
        return _no_curve(wavelength.size, "no fit was asked for")
    if good.sum() < least:
        reason = f"{int(good.sum())} good points, at least {least} are needed"
        return _no_curve(wavelength.size, reason)
    x, y = wavelength[good], ratio[good]
    sigma = usable_errors(y, error[good])
    # The matrices are small: threads would cost more than they bring.
    with threadpool_limits(limits=1, user_api="blas"):
        joins = _joins(x, y, sigma, options)
        return _fit_pieces(wavelength, good, x, y, sigma, joins, options)


def _no_curve(n: int, reason: str) -> CurveFit:
    unknown = np.full(n, np.nan)
    description = {"status": "not fitted", "reason": reason, "sections": []}
    return CurveFit(unknown, unknown.copy(), np.zeros(n, bool), description)


def _joins(x: np.ndarray, y: np.ndarray, sigma: np.ndarray, options: FitOptions) -> list[float]:
    """Where sections join; a section with too few points goes to its neighbour."""
    if options.sections == "one":
        return []
    if options.sections == "order2":
        wanted = list(
            find_order2_joins(x, y, sigma, options.peak_range, options.minimum_range).joins
        )
    else:
        wanted = sorted(float(join) for join in options.sections)
    joins: list[float] = []
    for join in wanted:
        if ((x > (joins[-1] if joins else -np.inf)) & (x < join)).sum() >= _LEAST_POINTS:
            joins.append(join)
    while joins and (x >= joins[-1]).sum() < _LEAST_POINTS:
        joins.pop()
    return joins


def _fit_pieces(
    wavelength: np.ndarray,
    good: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    sigma: np.ndarray,
    joins: Sequence[float],
    options: FitOptions,
) -> CurveFit:
    """Fit the longest section, then its neighbours outwards, each from where the last ended."""
    edges = [float(x[0]), *joins, float(x[-1])]
    places = np.searchsorted(joins, x, side="right")
    numbers = np.flatnonzero(good)
    grid_places = np.searchsorted(joins, wavelength, side="right")
    covered = (wavelength >= x[0]) & (wavelength <= x[-1])
    main = int(np.argmax(np.bincount(places, minlength=len(edges) - 1)))
    curve, band = np.full(wavelength.size, np.nan), np.full(wavelength.size, np.nan)
    kept = np.ones(x.size, bool)
    anchors: dict[int, Anchor] = {}
    sections: dict[int, dict[str, Any]] = {}
    for number in [main, *range(main - 1, -1, -1), *range(main + 1, len(edges) - 1)]:
        low, high = edges[number], edges[number + 1]
        inside, here = places == number, (grid_places == number) & covered
        settings = options
        if options.sections == "order2" and number != main:
            settings = replace(
                options, method="legendre", degree=None, max_degree=options.short_degree, knots=None
            )
        # The ends are part of the grid, for the next sections to begin there.
        grid = np.concatenate([wavelength[here], [low, high]])
        found = fit_section(
            x[inside],
            y[inside],
            sigma[inside],
            numbers[inside],
            grid,
            settings,
            anchors.get(number),
            (number > 0, number < len(edges) - 2),
        )
        curve[here], band[here] = found.curve[:-2], found.error[:-2]
        if number <= main:
            anchors[number - 1] = Anchor(low, float(found.curve[-2]), float(found.error[-2]))
        if number >= main:
            anchors[number + 1] = Anchor(high, float(found.curve[-1]), float(found.error[-1]))
        kept[np.flatnonzero(inside)] = found.keep
        sections[number] = found.description
    outlier = np.zeros(wavelength.size, bool)
    outlier[numbers] = ~kept
    beyond = (wavelength < x[kept][0]) | (wavelength > x[kept][-1])
    curve[beyond], band[beyond] = np.nan, np.nan
    description = {
        "status": "fitted",
        "reason": "",
        "sections": [sections[number] for number in sorted(sections)],
    }
    return CurveFit(curve, band, outlier, description)
