"""The old and the new response: arrays in, a figure out."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from soss_photcal_steps.report.palette import bulk_limits, drawable, figure_legend, shade_outside

__all__ = ["response_figure"]

_OLD, _NEW = "#d55e00", "#0072b2"


def response_figure(
    wavelength: np.ndarray,
    old: np.ndarray,
    new: np.ndarray,
    new_error: np.ndarray,
    measured: tuple[float, float] | None = None,
    title: str = "",
    unit: str = "",
) -> Figure:
    """Show the old against the new response of one order, with its error, and their ratio.

    Parameters
    ----------
    wavelength : ndarray, shape (m,)
        Vacuum wavelength, um, rising.
    old, new : ndarray, shape (m,)
        Responses in the unit of the photom file; NaN or 0 where there is none.
    new_error : ndarray, shape (m,)
        1-sigma error of the new one, in the same unit.
    measured : tuple of float, optional
        Range that was measured, um; beyond, the shape is that of the old file.
    title : str
        Title of the figure.
    unit : str
        Unit of the responses, for the label.

    Returns
    -------
    Figure
        Panels from top to bottom: both responses; new over old; relative error of the new one.
        The scales are those of the measured range, or of where the error is below 50 per
        cent.  It belongs to no window.
    """
    old, new, error = (
        np.where(np.isfinite(a) & (np.asarray(a) > 0), a, np.nan).astype(float)
        for a in (old, new, new_error)
    )
    inside = np.isfinite(old) & np.isfinite(new)
    if measured is not None:
        inside &= (wavelength >= measured[0]) & (wavelength <= measured[1])
    else:
        # An error as large as this says that nothing was measured.
        sure = inside & (error < 0.5 * new)
        inside = sure if sure.any() else inside
    figure = Figure(figsize=(10, 8.5), layout="constrained")
    figure.suptitle(drawable(title))
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[2.2, 1.6, 1])
    top.fill_between(
        wavelength, new - error, new + error, color=_NEW, alpha=0.25, lw=0, label="1 sigma, new"
    )
    top.plot(wavelength, old, color=_OLD, lw=1.4, ls="--", label="old")
    top.plot(wavelength, new, color=_NEW, lw=1.4, label="new")
    change, width = 100 * (new / old - 1), 100 * error / old
    middle.fill_between(wavelength, change - width, change + width, color=_NEW, alpha=0.25, lw=0)
    middle.plot(wavelength, change, color=_NEW, lw=1.4)
    middle.axhline(0, color=_OLD, lw=1.2, ls="--")
    bottom.plot(wavelength, 100 * error / new, color=_NEW, lw=1.4)
    known = np.flatnonzero(np.isfinite(old) | np.isfinite(new))
    if known.size:
        top.set_xlim(wavelength[known[0]], wavelength[known[-1]])
    span = np.where(inside, error, np.nan)
    for axis, values in (
        # Beyond what was measured a response may be a thousand times larger.
        (top, (np.where(inside, old, np.nan), np.where(inside, new, np.nan))),
        (middle, (*(np.where(inside, edge, 0) for edge in (change - width, change + width)),)),
        (bottom, (100 * span / new, np.zeros(1))),
    ):
        # The unit of a response may make it very small.
        limits = bulk_limits(*values, least=0.0 if axis is top else 0.02)
        if limits is not None:
            axis.set_ylim(0 if axis is bottom else limits[0], limits[1])
        if measured is not None:
            shade_outside(axis, measured, "not measured: shape of the old file")
        axis.grid(alpha=0.3)
    top.set_ylabel(f"response ({drawable(unit)})" if unit else "response")
    middle.set_ylabel("new over old\n- 1 (%)")
    bottom.set(ylabel="error of the\nnew one (%)", xlabel="wavelength (um)")
    figure_legend((top, middle, bottom), 4)
    return figure
