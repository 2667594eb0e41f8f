"""What the error of a combined order is made of: arrays in, a figure out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from soss_photcal_steps.report.palette import bulk_limits, drawable, figure_legend

__all__ = ["budget_figure"]

_PARTS = ("#7a6000", "#a63a86", "#4f46b8", "#7f3b08")


def budget_figure(
    wavelength: np.ndarray,
    stat_error: np.ndarray,
    sys_error: np.ndarray,
    parts: Mapping[str, np.ndarray] | None = None,
    n_stars: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """Show the error budget of one order against wavelength.

    Parameters
    ----------
    wavelength : ndarray, shape (m,)
        Vacuum wavelength, um.
    stat_error, sys_error : ndarray, shape (m,)
        1-sigma errors of the mean, as fractions of it; NaN where there is none.
    parts : mapping of str to ndarray, shape (m,), optional
        Further numbers by name, such as the standard deviation between stars, as fractions.
    n_stars : ndarray of int, shape (m,), optional
        Stars at each wavelength.
    title : str
        Title of the figure.

    Returns
    -------
    Figure
        Errors in per cent and, below, the number of stars.  It belongs to no window.
    """
    rows = 1 if n_stars is None else 2
    figure = Figure(figsize=(10, 4.2 + 1.6 * (rows - 1)), layout="constrained")
    figure.suptitle(drawable(title))
    axes = figure.subplots(
        rows, 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": [3, 1][:rows]}
    )[:, 0]
    axis = axes[0]
    stat, systematic = (100 * np.asarray(error, float) for error in (stat_error, sys_error))
    total = np.hypot(stat, systematic)
    axis.fill_between(wavelength, 0, total, color="0.2", alpha=0.1, lw=0)
    axis.plot(wavelength, total, color="k", lw=1.8, label="total")
    axis.plot(wavelength, systematic, color="#d55e00", lw=1.4, ls="--", label="systematic")
    axis.plot(wavelength, stat, color="#0072b2", lw=1.4, ls="-.", label="statistical")
    for number, (name, values) in enumerate((parts or {}).items()):
        axis.plot(
            wavelength, 100 * np.asarray(values, float), color=_PARTS[number % len(_PARTS)],
            lw=1, ls=":", label=drawable(name),
        )  # fmt: skip
    limits = bulk_limits(total, *(100 * np.asarray(v, float) for v in (parts or {}).values()))
    axis.set_ylim(0, 1.05 * max(limits[1], 0.01) if limits else 1)
    seen = np.flatnonzero(np.isfinite(total))
    if seen.size:
        axis.set_xlim(wavelength[seen[0]], wavelength[seen[-1]])
    axis.set_ylabel("1-sigma error (%)")
    if n_stars is not None:
        axes[1].step(wavelength, n_stars, where="mid", color="0.2", lw=1.2)
        axes[1].set_ylim(0, max(float(np.max(n_stars, initial=0)), 1) + 0.5)
        axes[1].yaxis.set_major_locator(MaxNLocator(integer=True))
        axes[1].set_ylabel("stars")
    axes[-1].set_xlabel("wavelength (um)")
    for one in axes:
        one.grid(alpha=0.3)
    figure_legend((axis,), 4)
    return figure
