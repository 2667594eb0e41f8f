"""A picture of a new photom file tried on an independent star: arrays in, a figure out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soss_photcal_steps.photom.validate import ValidatedOrder
from soss_photcal_steps.ratio.order import Mask
from soss_photcal_steps.report.spectrum_figure import ratio_bins

__all__ = ["validation_figure"]

_COLOURS = {1: "#2166ac", 2: "#b2182b", 3: "#1b7837"}
_LINES = int(Mask.BALMER | Mask.PASCHEN | Mask.BRACKETT | Mask.PFUND | Mask.OTHER_LINE)
_UNDRAWN = int(Mask.NOT_FINITE | Mask.NO_MODEL | Mask.LOW_SIGNAL | Mask.FEW_INTEGRATIONS)


def _runs(wavelength: np.ndarray, marked: np.ndarray) -> list[tuple[float, float]]:
    """First and last wavelength of each run of marked points."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(int), [0]])))
    return [(wavelength[a], wavelength[b - 1]) for a, b in edges.reshape(-1, 2)]


def _shade(
    axis: Axes, orders: Sequence[ValidatedOrder], bits: int, colour: str, title: str
) -> None:
    """Shade marked wavelengths, those that two orders share once."""
    spans: list[tuple[float, float]] = []
    for item in sorted(orders, key=lambda one: -one.order):
        for low, high in _runs(item.wavelength, (item.mask & bits) != 0):
            if any(low <= b and high >= a for a, b in spans):
                continue
            spans.append((low, high))
            axis.axvspan(
                low, high, color=colour, lw=0, zorder=0, label=None if len(spans) > 1 else title
            )


def validation_figure(
    orders: Sequence[ValidatedOrder],
    title: str,
    *,
    band: float = 0.01,
    bin_width: float = 0.05,
) -> Figure:
    """Show the spectra over the model, and their ratio through the new file and the one in use.

    Parameters
    ----------
    orders : sequence of ValidatedOrder
        The orders.
    title : str
        Title of the figure.
    band : float, optional
        Deviation from 1 that is marked as a band.
    bin_width : float, optional
        Width of the bins of which the medians are shown, um.

    Returns
    -------
    Figure
        The figure; it belongs to no window.  The scale of the ratio is that of the points that
        count.
    """
    figure = Figure(figsize=(12, 9), layout="constrained")
    figure.suptitle(title)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.3])
    lower.axhspan(
        1 - band, 1 + band, color="0.88", lw=0, zorder=0, label=f"within {100 * band:g} %"
    )
    lower.axhline(1, color="0.4", lw=0.8)
    _shade(lower, orders, _LINES, "#efe3f7", "hydrogen lines, left out")
    _shade(lower, orders, int(Mask.USER), "#fde3c8", "left out by the user")
    limits = [1 - 2 * band, 1 + 2 * band]
    fluxes = [np.zeros(1)]
    for item in sorted(orders, key=lambda one: one.order):
        colour = _COLOURS.get(item.order, "0.3")
        drawn = (item.mask & _UNDRAWN) == 0
        counts = item.mask == 0
        seen = np.where(drawn, item.flux, np.nan)
        fluxes.append(seen[counts])
        upper.plot(
            item.wavelength, np.where(drawn, item.model, np.nan), color="k", lw=1.6, alpha=0.35,
            label="model" if item is orders[0] else None, zorder=1,
        )  # fmt: skip
        upper.plot(
            item.wavelength, seen, color=colour, lw=0.8, label=f"order {item.order}", zorder=2
        )
        lower.plot(
            item.wavelength, np.where(drawn, item.ratio, np.nan), color=colour, lw=0.6, alpha=0.6
        )
        bins = ratio_bins(item.wavelength, np.where(counts, item.ratio, np.nan), bin_width)
        lower.errorbar(
            (bins.start + bins.stop) / 2, bins.median,
            yerr=[bins.median - bins.low, bins.high - bins.median],
            fmt="o", color=colour, ms=4, capsize=2,
            label=f"order {item.order}, new file: median, 16 to 84 %",
        )  # fmt: skip
        before = ratio_bins(item.wavelength, np.where(counts, item.ratio_used, np.nan), bin_width)
        lower.plot(
            (before.start + before.stop) / 2, before.median, "x--", color=colour, ms=4, lw=0.6,
            alpha=0.6, label=f"order {item.order}, file in use: median",
        )  # fmt: skip
        # The bins hold the bulk; single points at the noisy ends would flatten all else.
        limits += [*bins.low, *bins.high, *before.median]
    known = np.array(limits)[np.isfinite(limits)]
    room = 0.15 * (known.max() - known.min())
    lower.set_ylim(known.min() - room, known.max() + room)
    top = np.nanmax(np.concatenate(fluxes))
    if top > 0:
        upper.set_ylim(0, 1.1 * top)
    upper.set(ylabel="flux density (Jy)")
    lower.set(ylabel="observed / model", xlabel="wavelength (um)")
    for axis in (upper, lower):
        axis.grid(alpha=0.3)
    upper.legend(loc="best")
    lower.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3, fontsize=8)
    return figure
