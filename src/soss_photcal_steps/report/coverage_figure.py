"""Which wavelengths each observation contributes: intervals in, a figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from soss_photcal_steps.report.palette import drawable, star_colours

__all__ = ["Coverage", "coverage_figure", "flagged_intervals"]

Spans = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Coverage:
    """What one observation contributes.

    Attributes
    ----------
    label : str
        The observation.
    star : str
        Its star.
    used : mapping of int to sequence of (low, high)
        By order, intervals that it contributes, um.
    contaminated : mapping of int to sequence of (low, high)
        By order, intervals that are lost to contamination or were left out by hand, um.
    """

    label: str
    star: str
    used: Mapping[int, Spans] = field(default_factory=dict)
    contaminated: Mapping[int, Spans] = field(default_factory=dict)


def flagged_intervals(wavelength: np.ndarray, flagged: np.ndarray) -> list[tuple[float, float]]:
    """Turn flags into intervals.

    Parameters
    ----------
    wavelength : ndarray, shape (n,)
        Wavelengths, um, rising.
    flagged : ndarray of bool, shape (n,)
        The flags.

    Returns
    -------
    list of (low, high)
        First and last wavelength of each run of flags, um.
    """
    padded = np.concatenate([[0], np.asarray(flagged, bool).astype(int), [0]])
    edges = np.flatnonzero(np.diff(padded)).reshape(-1, 2)
    return [(float(wavelength[a]), float(wavelength[b - 1])) for a, b in edges]


def coverage_figure(
    rows: Sequence[Coverage],
    title: str = "",
    orders: Sequence[int] = (1, 2),
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Show which wavelengths each observation contributes, and its gaps of contamination.

    Parameters
    ----------
    rows : sequence of Coverage
        The observations; those of one star are drawn together.
    title : str
        Title of the figure.
    orders : sequence of int
        Orders, one panel for each.
    colours : mapping of str to str, optional
        Colour of each star; by default those of `star_colours`.

    Returns
    -------
    Figure
        The figure; it belongs to no window.
    """
    colours = colours or star_colours(row.star for row in rows)
    placed = sorted(rows, key=lambda row: row.star)
    figure = Figure(figsize=(10, 1.7 + 0.22 * max(len(rows), 3)), layout="constrained")
    figure.suptitle(drawable(title))
    axes = figure.subplots(1, max(len(orders), 1), sharey=True, squeeze=False)[0]
    for axis, order in zip(axes, orders, strict=False):
        for level, row in enumerate(placed):
            used = [(low, high - low) for low, high in row.used.get(order, ())]
            lost = [(low, high - low) for low, high in row.contaminated.get(order, ())]
            axis.broken_barh(used, (level - 0.36, 0.72), color=colours[row.star], lw=0)
            axis.broken_barh(
                lost, (level - 0.36, 0.72), facecolor="white", edgecolor="#b2182b", lw=0.6,
                hatch="/////",
            )  # fmt: skip
        axis.set_title(f"order {order}", loc="left", fontsize=10)
        axis.set_xlabel("wavelength (um)")
        axis.grid(axis="x", alpha=0.3)
    labels = [drawable(f"{row.star}, {row.label}") for row in placed]
    axes[0].set_yticks(range(len(placed)), labels, fontsize=7)
    axes[0].set_ylim(max(len(placed), 1) - 0.4, -0.6)
    keys = [Patch(color=colour, label=drawable(star)) for star, colour in sorted(colours.items())]
    keys.append(
        Patch(fc="white", ec="#b2182b", hatch="/////", label="contaminated, or left out by hand")
    )
    figure.legend(handles=keys, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure
