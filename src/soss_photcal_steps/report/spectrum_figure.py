"""A picture of extracted spectra beside what they should be: arrays in, a figure out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

__all__ = ["ExtractedOrder", "RatioBins", "closure_figure", "ratio_bins"]

_COLOURS = {1: "#2166ac", 2: "#b2182b", 3: "#1b7837"}


@dataclass(frozen=True)
class ExtractedOrder:
    """An extracted spectrum and its expectation, on the same wavelengths.

    Attributes
    ----------
    order : int
        Spectral order.
    wavelength : ndarray, shape (n,)
        Wavelengths, um.
    flux : ndarray, shape (n,)
        Extracted flux density, in any unit; NaN where there is none.
    expected : ndarray, shape (n,)
        Flux density that a perfect extraction would give, same unit.
    other_light : ndarray, shape (n,), optional
        Light of other orders and sources that is known to be in the aperture, as a fraction of
        the expected flux.
    """

    order: int
    wavelength: np.ndarray
    flux: np.ndarray
    expected: np.ndarray
    other_light: np.ndarray | None = None

    @property
    def ratio(self) -> np.ndarray:
        """Extracted over expected flux; NaN where either is missing."""
        good = np.isfinite(self.flux) & np.isfinite(self.expected) & (self.expected != 0)
        return np.divide(
            self.flux, self.expected, out=np.full(good.shape, np.nan), where=good, dtype=float
        )


@dataclass(frozen=True)
class RatioBins:
    """Medians of a ratio over bins of wavelength.

    Attributes
    ----------
    start, stop : ndarray, shape (n,)
        Edges of each bin, um.
    median, low, high : ndarray, shape (n,)
        Median, 16th and 84th percentile.
    count : ndarray, shape (n,)
        Number of values.
    """

    start: np.ndarray
    stop: np.ndarray
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray
    count: np.ndarray


def ratio_bins(
    wavelength: np.ndarray, ratio: np.ndarray, width: float = 0.1, least: int = 10
) -> RatioBins:
    """Take medians of a ratio over bins of equal width.

    Parameters
    ----------
    wavelength : ndarray, shape (n,)
        Wavelengths, um.
    ratio : ndarray, shape (n,)
        Values; what is not finite is left out.
    width : float, optional
        Width of a bin, um; the bins begin at whole multiples of it.
    least : int, optional
        Bins with fewer values are left out.

    Returns
    -------
    RatioBins
        The bins, by rising wavelength.

    Raises
    ------
    ValueError
        If the arrays differ in shape, or the width is not positive.
    """
    wavelength, ratio = np.asarray(wavelength, float), np.asarray(ratio, float)
    if wavelength.shape != ratio.shape:
        raise ValueError(f"shapes {wavelength.shape} and {ratio.shape} differ")
    if width <= 0:
        raise ValueError(f"a bin cannot have the width {width}")
    good = np.isfinite(ratio) & np.isfinite(wavelength)
    number = np.floor(wavelength[good] / width + 1e-9).astype(int)
    rows = []
    for index in np.unique(number):
        values = ratio[good][number == index]
        if values.size >= least:
            low, middle, high = np.percentile(values, [16, 50, 84])
            rows.append((index * width, (index + 1) * width, middle, low, high, values.size))
    start, stop, middle, low, high, count = np.array(rows, dtype=float).reshape(-1, 6).T
    return RatioBins(start, stop, middle, low, high, count.astype(int))


def closure_figure(
    orders: Sequence[ExtractedOrder],
    title: str,
    *,
    limit: float = 0.1,
    unit: str = "Jy",
    bin_width: float = 0.1,
) -> Figure:
    """Show extracted spectra over their expectation, and the ratio of the two.

    Parameters
    ----------
    orders : sequence of ExtractedOrder
        The spectra.
    title : str
        Title of the figure.
    limit : float, optional
        Deviation from 1 that is marked as a band; the panel shows three times as much.
    unit : str, optional
        Unit of the flux, for the label.
    bin_width : float, optional
        Width of the bins of the ratio, um.

    Returns
    -------
    Figure
        The figure; it belongs to no window.
    """
    figure = Figure(figsize=(11, 8), layout="constrained")
    figure.suptitle(title)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.2])
    lower.axhspan(1 - limit, 1 + limit, color="0.92", label=f"within {100 * limit:g} per cent")
    lower.axhline(1, color="0.4", lw=0.8)
    for number, item in enumerate(orders):
        colour = _COLOURS.get(item.order, "0.3")
        upper.plot(item.wavelength, item.flux, color=colour, lw=0.8, label=f"order {item.order}")
        upper.plot(
            item.wavelength, item.expected, "k--", lw=0.7, label=None if number else "expected"
        )
        ratio = item.ratio
        lower.plot(item.wavelength, ratio, color=colour, lw=0.5, alpha=0.5)
        bins = ratio_bins(item.wavelength, ratio, bin_width)
        lower.errorbar(
            (bins.start + bins.stop) / 2, bins.median,
            yerr=[bins.median - bins.low, bins.high - bins.median],
            fmt="o", color=colour, ms=4, capsize=2, label=f"order {item.order}, medians",
        )  # fmt: skip
        if item.other_light is not None:
            lower.plot(
                item.wavelength, 1 + item.other_light, color=colour, ls=":", lw=1.4,
                label=f"order {item.order}: other light in the aperture",
            )  # fmt: skip
    highest = max((float(np.nanmax(item.expected)) for item in orders), default=1.0)
    upper.set(ylabel=f"flux density ({unit})", ylim=(0, 1.2 * highest))
    lower.set(
        xlabel="wavelength (um)",
        ylabel="extracted / expected",
        ylim=(1 - 3 * limit, 1 + 3 * limit),
    )
    for axis in (upper, lower):
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize="small", ncols=2)
    return figure
