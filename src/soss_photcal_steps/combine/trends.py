"""Throughput trends from the visits for stability, and what they change in a combination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from soss_photcal_steps.combine.curves import Curve
from soss_photcal_steps.combine.time import TrendFit, fit_trend, visits_from_curves

__all__ = ["as_record", "describe_trend", "detrend", "find_trends", "stability_visits"]

# Wavelengths at which the star is bright in each order, um.
_BANDS = {1: (0.9, 2.3), 2: (0.63, 0.9), 3: (0.7, 0.9)}
_FEWEST = 4


def find_trends(curves: Sequence[Curve], t0: float | None = None) -> dict[int, TrendFit]:
    """Fit the throughput of each order from visits of one star.

    Parameters
    ----------
    curves : sequence of Curve
        Curves of all orders; those of a group with a date are looked at.
    t0 : float, optional
        Reference day, MJD; by default that of the first visit.

    Returns
    -------
    dict of int to TrendFit
        By spectral order; only those with four visits or more of one star.
    """
    found = {}
    for order in sorted({curve.order for curve in curves}):
        visits, low, high = stability_visits(curves, order)
        if visits:
            found[order] = fit_trend(visits_from_curves(visits, low, high), t0)
    return found


def stability_visits(curves: Sequence[Curve], order: int) -> tuple[list[Curve], float, float]:
    """List the visits that tell the throughput of an order in time.

    Parameters
    ----------
    curves : sequence of Curve
        Curves of all orders; those of a group with a date are looked at.
    order : int
        Spectral order.

    Returns
    -------
    visits : list of Curve
        Those of the star with most visits; none if there are fewer than four.
    low, high : float
        Wavelengths at which the star is bright, um.
    """
    low, high = _BANDS.get(order, (0.0, 10.0))
    visits = [
        curve
        for curve in curves
        if curve.order == order and curve.group is not None and curve.mjd is not None
    ]
    stars = [curve.star for curve in visits]
    star = max(stars, key=stars.count, default=None)
    visits = [
        curve
        for curve in visits
        if curve.star == star
        and (curve.valid & (curve.wavelength > low) & (curve.wavelength < high)).any()
    ]
    enough = len({curve.mjd for curve in visits}) >= _FEWEST
    return (visits if enough else []), low, high


def detrend(curves: Sequence[Curve], trends: Mapping[int, TrendFit]) -> list[Curve]:
    """Bring ratios to the throughput of the reference day.

    Parameters
    ----------
    curves : sequence of Curve
        Curves of all orders.
    trends : mapping of int to TrendFit
        Trends by order.

    Returns
    -------
    list of Curve
        Ratios over the throughput on the day of each; those without a date, or of an order
        without a trend, as they are.
    """
    changed = []
    for curve in curves:
        fit = trends.get(curve.order)
        if fit is None or fit.trend is None or curve.mjd is None:
            changed.append(curve)
            continue
        throughput = float(fit.trend.throughput(curve.mjd))
        changed.append(
            replace(curve, ratio=curve.ratio / throughput, stat_error=curve.stat_error / throughput)
        )
    return changed


def describe_trend(order: int, fit: TrendFit) -> str:
    """Say a trend in words.

    Parameters
    ----------
    order : int
        Spectral order.
    fit : TrendFit
        The trend.

    Returns
    -------
    str
        A sentence.
    """
    numbers = ", ".join(
        f"{name} {value:.5g} +- {error**0.5:.2g}"
        for name, value, error in zip(fit.names, fit.values, fit.covariance.diagonal(), strict=True)
        if name != "scale"
    )
    far = int(fit.outliers.sum())
    return (
        f"Order {order}: throughput {fit.kind} over the visits since MJD {fit.t0:.1f}"
        + (f" ({numbers})" if numbers else "")
        + f", scatter beyond the errors {100 * fit.jitter:.3f} per cent, "
        f"{far} visit{'' if far == 1 else 's'} far off."
    )


def as_record(fit: TrendFit) -> dict[str, Any]:
    """Give a trend as plain values.

    Parameters
    ----------
    fit : TrendFit
        The trend.

    Returns
    -------
    dict
        Kind, reference day, parameters with errors, and the criterion of each kind.
    """
    return {
        "kind": fit.kind,
        "t0": float(fit.t0),
        "scale": float(fit.scale),
        "names": list(fit.names),
        "values": [float(value) for value in fit.values],
        "errors": [float(value) ** 0.5 for value in fit.covariance.diagonal()],
        "jitter": float(fit.jitter),
        "criterion": {name: float(value) for name, value in fit.criterion.items()},
    }
