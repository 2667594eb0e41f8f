"""The throughput in time: arrays in, a figure out."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from soss_photcal_steps.report.palette import bulk_limits, drawable, figure_legend

__all__ = ["TrendSeries", "trend_figure"]

# matplotlib counts days from 1970-01-01, which is MJD 40587.
_EPOCH = 40587.0


@dataclass(frozen=True)
class TrendSeries:
    """Visits of one star in one order or band, and the law that was chosen.

    Attributes
    ----------
    name : str
        Name of the order or band.
    mjd : ndarray, shape (n,)
        Middle of each visit, MJD.
    ratio, error : ndarray, shape (n,)
        Throughput relative to the law's reference day, and its 1-sigma error.
    outliers : ndarray of bool, shape (n,)
        Visits that are far off the law.
    jitter : float
        Scatter of the visits beyond their errors, in the same unit.
    law : str
        The chosen law in words, such as ``linear, 0.12 +- 0.03 per cent per year``.
    law_mjd, law_value, law_error : ndarray, shape (k,)
        The law on a fine grid of days, and its 1-sigma error.
    """

    name: str
    mjd: np.ndarray
    ratio: np.ndarray
    error: np.ndarray
    outliers: np.ndarray
    jitter: float
    law: str
    law_mjd: np.ndarray
    law_value: np.ndarray
    law_error: np.ndarray


def trend_figure(series: Sequence[TrendSeries], title: str = "") -> Figure:
    """Show the throughput of each order in time.

    Parameters
    ----------
    series : sequence of TrendSeries
        The orders or bands, one panel for each.
    title : str
        Title of the figure.

    Returns
    -------
    Figure
        The figure; it belongs to no window.
    """
    count = max(len(series), 1)
    figure = Figure(figsize=(10, 0.9 + 3.2 * count), layout="constrained")
    figure.suptitle(drawable(title))
    axes = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    if not series:
        axes[0].text(0.5, 0.5, "no visits", ha="center", transform=axes[0].transAxes)
        return figure
    for axis, item in zip(axes, series, strict=True):
        days = np.asarray(item.mjd, float) - _EPOCH
        values = 100 * (np.asarray(item.ratio, float) - 1)
        errors = 100 * np.asarray(item.error, float)
        law, width = 100 * (np.asarray(item.law_value) - 1), 100 * np.asarray(item.law_error)
        grid = np.asarray(item.law_mjd, float) - _EPOCH
        axis.fill_between(
            grid, law - width, law + width, color="#d55e00", alpha=0.25, lw=0,
            label="1 sigma of the law",
        )  # fmt: skip
        axis.plot(grid, law, color="#d55e00", lw=1.4, label="law")
        axis.errorbar(
            days, values, yerr=np.hypot(errors, 100 * item.jitter), fmt="none", ecolor="0.7",
            elinewidth=1, label="with the jitter of the visits",
        )  # fmt: skip
        axis.errorbar(
            days, values, yerr=errors, fmt="o", color="#0072b2", ms=4, capsize=2, label="visits"
        )
        off = np.asarray(item.outliers, bool)
        if off.any():
            axis.plot(days[off], values[off], "s", mfc="none", mec="#b2182b", ms=9, label="far off")
        limits = bulk_limits(values - errors, values + errors, law, least=0.02)
        if limits is not None:
            axis.set_ylim(*limits)
        said = textwrap.fill(f"{item.name}: {item.law}", 110)
        axis.set_title(drawable(said), loc="left", fontsize=9)
        axis.set_ylabel("throughput - 1 (%)")
        axis.grid(alpha=0.3)
    locator = AutoDateLocator()
    axes[-1].xaxis.set_major_locator(locator)
    axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))
    figure_legend(list(axes), 5)
    return figure
