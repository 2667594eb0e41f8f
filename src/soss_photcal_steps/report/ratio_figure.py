"""The pictures of a ratio: arrays in, a figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soss_photcal_steps.ratio.order import Mask, OrderRatio

__all__ = ["ratio_figure", "spectrum_figure"]

_OBSERVED, _MODEL, _FIT = "#2166ac", "#b2182b", "#b2182b"
_SERIES = {
    "Balmer": "#7b3294",
    "Paschen": "#008837",
    "Brackett": "#a6611a",
    "Pfund": "#5e3c99",
}
# What a masked point is drawn as: bits, colour, marker, label.  Where several bits are set,
# the first that is in this list counts.
_GROUPS: tuple[tuple[Mask, str, str, str], ...] = (
    (Mask.OUT_OF_RANGE | Mask.USER, "#bdbdbd", "|", "outside the valid range, or by hand"),
    (Mask.CONTAMINATION, "#e08214", "x", "contamination"),
    (
        Mask.BALMER | Mask.PASCHEN | Mask.BRACKETT | Mask.PFUND | Mask.OTHER_LINE,
        "#7b3294",
        "+",
        "line",
    ),
    (Mask.LOW_SIGNAL | Mask.FEW_INTEGRATIONS, "#80cdc1", "v", "low signal, few integrations"),
    (Mask.OUTLIER, "#d01c8b", "1", "outlier of the fit"),
)
_UNDRAWN = Mask.NOT_FINITE | Mask.NO_MODEL


def _limits(values: np.ndarray, margin: float = 0.25) -> tuple[float, float] | None:
    """Give limits that hold the bulk of the values, so that a spike does not flatten the rest."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return None
    low, high = np.percentile(finite, [1, 99])
    room = max(margin * (high - low), 0.02 * max(abs(high), abs(low)), 1e-12)
    return float(low - room), float(high + room)


def _draw_lines(axis: Axes, lines: Mapping[str, Sequence[float]], low: float, high: float) -> None:
    """Mark the lines of each series at the top of a panel."""
    for series, positions in lines.items():
        inside = [position for position in positions if low < position < high]
        if not inside:
            continue
        axis.plot(
            inside,
            [0.985] * len(inside),
            "|",
            color=_SERIES.get(series, "#4d4d4d"),
            markersize=9,
            transform=axis.get_xaxis_transform(),
            label=f"H {series}",
        )


def _draw_intervals(axis: Axes, flagged: np.ndarray, wavelength: np.ndarray) -> None:
    """Shade runs of flagged points."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flagged.astype(int), [0]])))
    for start, stop in edges.reshape(-1, 2):
        axis.axvspan(
            wavelength[start], wavelength[stop - 1], color="#e08214", alpha=0.15, linewidth=0
        )


def spectrum_figure(orders: Sequence[OrderRatio], title: str) -> Figure:
    """Show observed and model spectra, one panel per order.

    Parameters
    ----------
    orders : sequence of OrderRatio
        The orders.
    title : str
        Title of the figure.

    Returns
    -------
    Figure
        The figure; it belongs to no window.
    """
    figure = Figure(figsize=(10, 0.9 + 3.0 * max(len(orders), 1)), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(max(len(orders), 1), 1, squeeze=False)[:, 0]
    if not orders:
        axes[0].text(0.5, 0.5, "no spectra", ha="center")
    for axis, item in zip(axes, orders, strict=False):
        axis.plot(item.wavelength, item.observed, color=_OBSERVED, lw=0.8, label="observed")
        axis.plot(item.wavelength, item.model, color=_MODEL, lw=0.8, label="model")
        seen = np.where((item.mask & int(Mask.OUT_OF_RANGE)) == 0, item.observed, np.nan)
        limits = _limits(np.concatenate([seen, item.model]), 0.15)
        if limits is not None:
            axis.set_ylim(min(limits[0], 0.0), limits[1])
        axis.set(ylabel="flux density (Jy)", title=f"order {item.order}")
        axis.grid(alpha=0.3)
        axis.legend(loc="best")
    axes[-1].set_xlabel("wavelength (um)")
    return figure


def _draw_points(axis: Axes, item: OrderRatio) -> None:
    left = (item.mask & int(_UNDRAWN)) == 0
    good = left & (item.mask == 0)
    axis.plot(item.wavelength[good], item.ratio[good], ".", ms=2.5, color="#4d4d4d", label="used")
    for bits, colour, marker, label in _GROUPS:
        drawn = left & ((item.mask & int(bits)) != 0)
        left = left & ~drawn
        if drawn.any():
            axis.plot(
                item.wavelength[drawn],
                item.ratio[drawn],
                marker,
                color=colour,
                markersize=4,
                label=f"left out: {label} ({drawn.sum()})",
            )


def _draw_fit(axis: Axes, item: OrderRatio) -> None:
    if not np.isfinite(item.fit).any():
        reason = item.fit_description.get("reason") or "no fit"
        axis.text(
            0.5, 0.06, f"no curve: {reason}", color=_FIT, ha="center", transform=axis.transAxes
        )
        return
    axis.fill_between(
        item.wavelength,
        item.fit - item.fit_error,
        item.fit + item.fit_error,
        color=_FIT,
        alpha=0.25,
        linewidth=0,
        label="1-sigma band",
    )
    axis.plot(item.wavelength, item.fit, color=_FIT, lw=1.4, label="smooth curve")


def ratio_figure(
    orders: Sequence[OrderRatio],
    title: str,
    lines: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """Show the ratio of each order, what was left out of the fit and why, and the fit.

    Parameters
    ----------
    orders : sequence of OrderRatio
        The orders.
    title : str
        Title of the figure.
    lines : mapping of str to sequence of float, optional
        Wavelengths of lines by the name of their series, um.

    Returns
    -------
    Figure
        Per order a panel with the ratio and one with the residuals of the used points.
    """
    count = max(len(orders), 1)
    figure = Figure(figsize=(11, 0.8 + 4.6 * count), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(
        2 * count, 1, squeeze=False, gridspec_kw={"height_ratios": [3, 1] * count}
    )[:, 0]
    if not orders:
        axes[0].text(0.5, 0.5, "no spectra", ha="center")
    for upper, lower, item in zip(axes[::2], axes[1::2], orders, strict=False):
        good = item.mask == 0
        shown = item.wavelength[(item.mask & int(_UNDRAWN)) == 0]
        _draw_intervals(upper, (item.mask & int(Mask.CONTAMINATION)) != 0, item.wavelength)
        _draw_points(upper, item)
        _draw_fit(upper, item)
        if shown.size:
            _draw_lines(upper, lines or {}, shown[0], shown[-1])
            for axis in (upper, lower):
                axis.set_xlim(shown[0] - 0.01, shown[-1] + 0.01)
        limits = _limits(np.concatenate([item.ratio[good], item.fit]), 0.4)
        if limits is not None:
            upper.set_ylim(*limits)
        upper.axhline(1.0, color="#4d4d4d", lw=0.6, ls=":")
        upper.set(ylabel="observed / model", title=f"order {item.order}")
        upper.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        with np.errstate(invalid="ignore"):
            residual = 100 * (item.ratio / item.fit - 1)
        lower.plot(item.wavelength[good], residual[good], ".", ms=2, color="#4d4d4d")
        limits = _limits(residual[good], 0.4)
        if limits is not None:
            lower.set_ylim(*limits)
        lower.axhline(0.0, color=_FIT, lw=1)
        lower.set(ylabel="ratio / curve\n- 1 (%)", xlabel="wavelength (um)")
        for axis in (upper, lower):
            axis.grid(alpha=0.3)
    return figure
