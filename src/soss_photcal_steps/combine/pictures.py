"""Pictures of a combination, from its product."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from soss_photcal_steps.combine.curves import Curve
from soss_photcal_steps.combine.time import TrendFit, visits_from_curves
from soss_photcal_steps.combine.trends import describe_trend, stability_visits
from soss_photcal_steps.models import SossPhotomCorrectionModel, plain_orders

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from soss_photcal_steps.report.trend_figure import TrendSeries

__all__ = ["figures", "trend_series"]


def trend_series(curves: Sequence[Curve], trends: Mapping[int, TrendFit]) -> list[TrendSeries]:
    """Bring visits and the law of each order into the form that is drawn.

    Parameters
    ----------
    curves : sequence of Curve
        Curves of all orders, as they were when the trends were fitted.
    trends : mapping of int to TrendFit
        What `find_trends` gave for them.

    Returns
    -------
    list of TrendSeries
        One for each order with a trend.
    """
    from soss_photcal_steps.report.trend_figure import TrendSeries

    series = []
    for order, fit in sorted(trends.items()):
        visits, low, high = stability_visits(curves, order)
        points = visits_from_curves(visits, low, high)
        days = np.linspace(points.mjd.min(), points.mjd.max(), 200)
        series.append(
            TrendSeries(
                f"order {order}, {low:g} to {high:g} um",
                points.mjd,
                points.ratio / fit.scale,
                points.error / fit.scale,
                fit.outliers,
                fit.jitter / fit.scale,
                describe_trend(order, fit).partition(": ")[2],
                days,
                fit.throughput(days),
                fit.throughput_error(days),
            )
        )
    return series


def figures(
    model: SossPhotomCorrectionModel, old: str, new: str, series: Sequence[TrendSeries] = ()
) -> dict[str, Figure]:
    """Draw the combination, the old and the new response, and the throughput in time.

    Parameters
    ----------
    model : SossPhotomCorrectionModel
        The correction.
    old, new : str
        Photom files.
    series : sequence of TrendSeries, optional
        The visits for stability, where there are enough.

    Returns
    -------
    dict of str to Figure
        By the ending of the file's name.
    """
    from soss_photcal_steps.photom.table import read_photom
    from soss_photcal_steps.report.combination_figure import combination_figure, influence_figure
    from soss_photcal_steps.report.response_figure import response_figure
    from soss_photcal_steps.report.results import order_responses

    drawn = {}
    entries = plain_orders(model)
    for entry in entries:
        order, curves = int(entry["order"]), entry["curves"]
        x = np.array(entry["wavelength"])
        stat, sys = np.array(entry["stat_error"]), np.array(entry["sys_error"])
        ratio = np.where(np.array(curves["used"]), np.array(curves["ratio"]), np.nan)
        labels = [
            f"{star} {name}"
            for star, name in zip(curves["stars"], curves["observations"], strict=True)
        ]
        drawn[f"sosscorr-order{order}"] = combination_figure(
            x,
            list(zip(labels, curves["stars"], ratio, strict=True)),
            {name: np.array(mean["value"]) for name, mean in entry["means"].items()},
            entry["method"],
            stat,
            sys,
            [(join["wavelength"], join["size"]) for join in entry["joins"]],
            f"Order {order}: {len(labels)} curves of {len(set(curves['stars']))} stars",
        )
        if entry.get("influence"):
            drawn[f"sosscorr-influence{order}"] = influence_figure(
                x,
                {star: np.array(change) for star, change in entry["influence"].items()},
                np.hypot(stat, sys),
                f"Order {order}: influence of each star",
            )
    ranges = {int(entry["order"]): tuple(entry["valid_range"]) for entry in entries}
    for one in order_responses(read_photom(old).rows, read_photom(new).rows, ranges):
        drawn[f"sosscorr-response{one.order}"] = response_figure(
            one.wavelength, one.old, one.new, one.new_error, one.measured,
            f"Order {one.order}: {os.path.basename(old)} and {os.path.basename(new)}",
            f"in {one.unit}",
        )  # fmt: skip
    if series:
        from soss_photcal_steps.report.trend_figure import trend_figure

        title = "Throughput in time, relative to the reference day"
        drawn["sosscorr-trend"] = trend_figure(series, title)
    return drawn
