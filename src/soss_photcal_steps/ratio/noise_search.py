"""Which noise neighbouring points share, found together with the curve.

A slow wave may be noise or curve: that is decided by the likelihood of both together, for curves
of any number of terms, whatever curve is wanted in the end.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from soss_photcal_steps.ratio.families import Points, family_columns
from soss_photcal_steps.ratio.knots import candidate_places, select_terms
from soss_photcal_steps.ratio.slow_noise import CANDIDATES, WHITE, SlowNoise

__all__ = ["find_noise"]

# Fewest points that tell noise of neighbours from a curve.
_LEAST_POINTS = 100
# What a parameter costs: between Akaike's 2, which lets a spline follow slow noise, and Schwarz's
# log(n) of about 7, which makes noise of some curves.
_PER_PARAMETER = 4.0
# Where knots may be is not the question here, so that half of the places will do.
_PLACES = 32


def find_noise(points: Points, max_degree: int, max_knots: int) -> tuple[SlowNoise, float]:
    """Find the noise with which a curve explains the points best.

    Parameters
    ----------
    points : Points
        The points; their own noise does not matter.
    max_degree, max_knots : int
        Highest degree of the Legendre series, and most knots of the splines that are tried.

    Returns
    -------
    noise : SlowNoise
        What neighbours share.
    width : float
        Width of the white part of the noise, in units of the errors.
    """
    n = points.x.size
    if n < _LEAST_POINTS:
        return WHITE, 1.0
    held = points.anchor is not None
    # A constant cannot join its neighbour but at one level.
    max_degree = max(max_degree, int(held))
    places = candidate_places(points.x, points.sigma, _PLACES)
    series = family_columns(points, (), max(max_degree, 3))
    # The first terms of the splines are those of the series.
    changes = family_columns(points, places, 3)[:, 4 - held :]
    level = points.y - (points.anchor.value if points.anchor is not None else 0.0)
    columns = np.column_stack([series, changes, level])
    number = np.arange(columns.shape[1])
    of_spline = number[(number < 4 - held) | (number >= series.shape[1])]
    of_series = number[(number < max_degree + 1 - held) | (number == number[-1])]
    least, best = np.inf, (WHITE, 1.0)
    for noise in CANDIDATES:
        white, determinant = replace(points, noise=noise).whiten(columns)
        _, splines = select_terms(white[:, of_spline], 4 - held, max_knots)
        _, triangle = np.linalg.qr(white[:, of_series])
        amplitudes = triangle[:, -1]
        # What is left with one term, with two, and so on.
        legendre = np.cumsum(amplitudes[::-1] ** 2)[::-1][1:]
        knots = np.arange(splines.size)
        terms = np.concatenate([np.arange(legendre.size) + 1 + held, knots + 4])
        places_found = np.concatenate([np.zeros(legendre.size), knots])
        left = n - terms
        widths = np.sqrt(np.maximum(np.concatenate([legendre, splines]), 1e-9) / left)
        total = n * np.log(widths**2 * left / n) + determinant
        total += _PER_PARAMETER * (terms + places_found + (1 if noise is WHITE else 3))
        member = int(np.argmin(total))
        if total[member] < least:
            least, best = float(total[member]), (noise, float(widths[member]))
    return best
