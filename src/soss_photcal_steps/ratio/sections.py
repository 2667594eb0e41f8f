"""Sections of a ratio curve: where they join, and the curve over all of them.

The ratio of order 2 has a sharp peak below 0.6 um and falls steeply to a minimum near 0.60 um,
which no smooth curve follows.  Section 7 of the report fits it in three pieces: the short end
up to the peak, the peak to the minimum, and the rest.  The pieces join here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from soss_photcal_steps.ratio.curve import CurveFit, FitOptions, fit_section
from soss_photcal_steps.ratio.noise import difference_scale

__all__ = ["find_order2_joins", "fit_curve"]

# Where the peak and the minimum of order 2 are looked for, and how far the straight pieces and
# the bend of the main section are looked at, um.
_PEAK, _MINIMUM, _END = (0.56, 0.615), (0.585, 0.645), 0.70
_STEP = 0.002
# A peak counts if it is this high, in units of the ratio and of its error.
_LEAST_HEIGHT, _LEAST_SIGMA = 0.03, 6.0
_SHORT_DEGREE = 2
_LEAST_SHORT = 8


def find_order2_joins(x: np.ndarray, y: np.ndarray, sigma: np.ndarray) -> tuple[float, ...]:
    """Find the peak and the minimum at the short end of order 2.

    A chain of two straight pieces and a parabola is fitted for every pair of joins on a fine
    mesh, and the best is taken.

    Parameters
    ----------
    x, y, sigma : ndarray
        Good points by rising wavelength, um, and their errors, shape (n,).

    Returns
    -------
    tuple of float
        Wavelengths of peak and minimum, um; of the minimum alone where the peak is not in the
        data; nothing where the ratio does not fall steeply to a minimum.
    """
    near = x < _END
    if near.sum() < 4 * _LEAST_SHORT:
        return ()
    x, y, sigma = x[near], y[near], sigma[near]
    noise = difference_scale(y, sigma)
    sigma = sigma * (noise if np.isfinite(noise) and noise > 0 else 1.0)
    smooth = _nine_point_median(y)
    best: tuple[float, tuple[float, ...], np.ndarray] | None = None
    for minimum in np.arange(_MINIMUM[0], _MINIMUM[1], _STEP):
        if (x < minimum).sum() < _LEAST_SHORT or (x > minimum).sum() < 2 * _LEAST_SHORT:
            continue
        peaks = [p for p in np.arange(_PEAK[0], minimum - 0.004, _STEP) if (x < p).sum() >= 3]
        for peak in [None, *peaks]:
            joins: tuple[float, ...] = (minimum,) if peak is None else (peak, minimum)
            design = _chain(x, joins) / sigma[:, None]
            found = np.linalg.lstsq(design, smooth / sigma, rcond=None)[0]
            residual = np.clip(smooth / sigma - design @ found, -5, 5)
            # Each join costs two numbers more.
            cost = float(residual @ residual) + 2 * len(joins) * np.log(len(x))
            if best is None or cost < best[0]:
                best = (cost, joins, found)
    if best is None:
        return ()
    joins = best[1]
    top = float(x[0]) if len(joins) == 1 else joins[0]
    height = np.diff(_chain(np.array([joins[-1], top]), joins) @ best[2])[0]
    here = (x >= min(top, x[0])) & (x <= joins[-1])
    error = float(np.median(sigma[here]) / np.sqrt(max(here.sum() / 2, 1)))
    if height < max(_LEAST_HEIGHT, _LEAST_SIGMA * error):
        return ()
    return tuple(float(j) for j in joins)


def _chain(x: np.ndarray, joins: Sequence[float]) -> np.ndarray:
    """Design of straight pieces that meet, with a parabola beyond the last join."""
    terms = [np.ones_like(x), x - joins[-1]]
    terms += [np.minimum(x - join, 0.0) for join in joins]
    terms.append(np.maximum(x - joins[-1], 0.0) ** 2)
    return np.stack(terms, axis=1)


def _nine_point_median(y: np.ndarray) -> np.ndarray:
    """Median over nine points; at the ends over fewer."""
    padded = np.pad(y, 4, mode="reflect") if y.size > 4 else np.pad(y, 4, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 9), axis=1)


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
        Ratio and its error; an error that is missing or not positive is taken from the scatter.
    mask : ndarray of int or bool
        Points with anything but 0 are left out.
    options : FitOptions, optional
        Settings.

    Returns
    -------
    CurveFit
        The curve, its error, the rejected points and the description.

    Raises
    ------
    ValueError
        If the wavelengths do not rise or the shapes differ.
    """
    options = options or FitOptions()
    wavelength, ratio = np.asarray(wavelength, float), np.asarray(ratio, float)
    if not wavelength.shape == ratio.shape == np.shape(error) == np.shape(mask):
        raise ValueError("wavelength, ratio, error and mask must have the same shape")
    if wavelength.ndim != 1 or not (np.diff(wavelength) > 0).all():
        raise ValueError("wavelengths must rise")
    good = (np.asarray(mask) == 0) & np.isfinite(ratio) & np.isfinite(wavelength)
    least = max(options.min_points, 5)
    if options.method == "none" or good.sum() < least:
        reason = (
            "no fit was asked for"
            if options.method == "none"
            else f"only {int(good.sum())} good points, {least} are needed"
        )
        return _no_curve(wavelength.size, reason)
    x, y = wavelength[good], ratio[good]
    sigma = _usable_errors(y, np.asarray(error, float)[good])
    joins = _joins(x, y, sigma, options)
    try:
        return _fit_pieces(wavelength, good, x, y, sigma, joins, options)
    except (ValueError, np.linalg.LinAlgError) as problem:
        return _no_curve(wavelength.size, str(problem))


def _no_curve(n: int, reason: str) -> CurveFit:
    unknown = np.full(n, np.nan)
    description = {"status": "not fitted", "reason": reason, "sections": []}
    return CurveFit(unknown, unknown.copy(), np.zeros(n, bool), description)


def _usable_errors(y: np.ndarray, error: np.ndarray) -> np.ndarray:
    known = np.isfinite(error) & (error > 0)
    if known.any():
        # A few errors that are far too small would tie the curve to their points.
        floor = 0.05 * float(np.median(error[known]))
        return np.where(known, np.maximum(error, floor), np.median(error[known]))
    step = np.abs(np.diff(y))
    scatter = 1.4826 * float(np.median(step)) / np.sqrt(2) if step.size else 0.0
    return np.full(y.size, scatter if scatter > 0 else 1e-6 * max(float(np.abs(y).max()), 1e-300))


def _joins(
    x: np.ndarray, y: np.ndarray, sigma: np.ndarray, options: FitOptions
) -> tuple[float, ...]:
    if options.sections == "one":
        return ()
    if options.sections == "order2":
        return find_order2_joins(x, y, sigma)
    return tuple(sorted(float(j) for j in options.sections if x[0] < float(j) < x[-1]))


def _fit_pieces(
    wavelength: np.ndarray,
    good: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    sigma: np.ndarray,
    joins: Sequence[float],
    options: FitOptions,
) -> CurveFit:
    """Fit the sections from the long end on; each begins where the last one ended."""
    edges = [float(x[0]), *joins, float(x[-1])]
    curve, band = np.full(wavelength.size, np.nan), np.full(wavelength.size, np.nan)
    kept = np.ones(x.size, bool)
    sections: list[dict[str, Any]] = []
    anchor: tuple[float, float] | None = None
    automatic = options.sections == "order2"
    for number in range(len(edges) - 2, -1, -1):
        low, high = edges[number], edges[number + 1]
        inside = (x >= low) & ((x < high) | (number == len(edges) - 2))
        here = (wavelength >= low) & ((wavelength < high) | (number == len(edges) - 2))
        here &= (wavelength >= x[0]) & (wavelength <= x[-1])
        settings = options
        if automatic and number < len(edges) - 2:
            settings = replace(
                options, method="legendre", degree=None, max_degree=_SHORT_DEGREE, knots=None
            )
        if inside.sum() < 3:
            if anchor is None:
                raise ValueError(f"too few good points between {low:.4f} and {high:.4f} um")
            curve[here], band[here] = anchor[1], float(np.median(sigma))
            continue
        # The join itself is part of the grid, for the next section to begin there.
        grid = np.append(wavelength[here], low)
        values, errors, keep, description = fit_section(
            x[inside], y[inside], sigma[inside], grid, settings, anchor
        )
        curve[here], band[here] = values[:-1], errors[:-1]
        anchor = (low, float(values[-1]))
        kept[np.flatnonzero(inside)] = keep
        sections.insert(0, {**description, "low": low, "high": high})
    outlier = np.zeros(wavelength.size, bool)
    outlier[np.flatnonzero(good)] = ~kept
    return CurveFit(curve, band, outlier, {"status": "fitted", "reason": "", "sections": sections})
