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
        The figure; it belongs to no window.  Its panels are the spectra, the ratio through the
        new file, on a scale for its bulk, and the medians of the ratio through both files.
    """
    figure = Figure(figsize=(12, 12), layout="constrained")
    figure.suptitle(title)
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[1, 1.4, 0.8])
    for axis in (middle, bottom):
        _shade(axis, orders, _LINES, "#efe3f7", "hydrogen lines, left out")
        _shade(axis, orders, int(Mask.USER), "#fde3c8", "left out by the user")
        axis.axhspan(
            1 - band,
            1 + band,
            color="0.75",
            alpha=0.4,
            lw=0,
            zorder=0.5,
            label=f"within {100 * band:g} %",
        )
        axis.axhline(1, color="0.4", lw=0.8)
    bulk = [np.array([1 - 2 * band, 1 + 2 * band])]
    # Order 1 is drawn last: where the orders overlap it has far less noise.
    for item in sorted(orders, key=lambda one: -one.order):
        _draw_spectrum(top, item)
        bulk.append(_draw_ratio(middle, item, bin_width))
        _draw_medians(bottom, item, bin_width)
    values = np.concatenate(bulk)
    low, high = np.percentile(values, [4, 96])
    low, high = min(low, 1 - 2 * band), max(high, 1 + 2 * band)
    middle.set_ylim(low - 0.2 * (high - low), high + 0.2 * (high - low))
    brightest = [item.flux[item.mask == 0].max(initial=0.0) for item in orders]
    if max(brightest, default=0.0) > 0:
        top.set_ylim(0, 1.1 * max(brightest))
    top.plot([], [], color="k", lw=2.0, alpha=0.35, label="model")
    top.set(ylabel="flux density (Jy)")
    middle.set(ylabel="observed / model, new file")
    bottom.set(ylabel="observed / model, medians", xlabel="wavelength (um)")
    for axis in (top, middle, bottom):
        axis.grid(alpha=0.3)
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    return figure


def _draw_spectrum(axis: Axes, item: ValidatedOrder) -> None:
    drawn = (item.mask & _UNDRAWN) == 0
    colour = _COLOURS.get(item.order, "0.3")
    axis.plot(
        item.wavelength, np.where(drawn, item.model, np.nan), color="k", lw=2.0, alpha=0.35,
        zorder=1,
    )  # fmt: skip
    axis.plot(
        item.wavelength, np.where(drawn, item.flux, np.nan), color=colour, lw=0.8,
        label=f"order {item.order}",
    )  # fmt: skip


def _draw_ratio(axis: Axes, item: ValidatedOrder, bin_width: float) -> np.ndarray:
    """Draw the ratio and its bins; give the heights of the ends of their bars."""
    colour = _COLOURS.get(item.order, "0.3")
    shown = np.where((item.mask & _UNDRAWN) == 0, item.ratio, np.nan)
    axis.plot(item.wavelength, shown, color=colour, lw=0.6, alpha=0.5)
    counting = np.where(item.mask == 0, item.ratio, np.nan)
    bins = ratio_bins(item.wavelength, counting, bin_width)
    axis.errorbar(
        (bins.start + bins.stop) / 2, bins.median,
        yerr=[bins.median - bins.low, bins.high - bins.median],
        fmt="o", color=colour, ms=4, capsize=2, label=f"order {item.order}: median, 16 to 84 %",
    )  # fmt: skip
    return np.concatenate([bins.low, bins.high])


def _draw_medians(axis: Axes, item: ValidatedOrder, bin_width: float) -> None:
    colour = _COLOURS.get(item.order, "0.3")
    for values, style, title in (
        (item.ratio, "o-", "new file"), (item.ratio_used, "x--", "file in use"),
    ):  # fmt: skip
        bins = ratio_bins(item.wavelength, np.where(item.mask == 0, values, np.nan), bin_width)
        axis.plot(
            (bins.start + bins.stop) / 2, bins.median, style, color=colour, ms=4, lw=0.7,
            label=f"order {item.order}, {title}",
        )  # fmt: skip
