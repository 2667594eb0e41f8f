"""The picture of contamination: arrays in, a figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from soss_photcal_steps.contamination.detect import Source
from soss_photcal_steps.contamination.mapping import AffectedInterval
from soss_photcal_steps.contamination.predict import Expected

__all__ = ["contamination_figure"]

_ORDER_COLORS = {1: "#2166ac", 2: "#b2182b", 3: "#7b3294"}
_SOURCE, _EXPECTED, _FOREIGN = "#e08214", "#00b4d8", "#1b7837"


def contamination_figure(
    image: np.ndarray,
    rest: np.ndarray,
    lines: np.ndarray,
    traces: Mapping[int, np.ndarray],
    sources: Sequence[Source],
    intervals: Sequence[Sequence[AffectedInterval]],
    title: str,
    *,
    half_width: float = 20.0,
    expected: Sequence[Expected] = (),
) -> Figure:
    """Draw sources, traces, apertures and intervals over the image.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Background-subtracted image, DN/s.
    rest : ndarray, shape (ny, nx)
        The same less the smooth model of star and sky, DN/s.
    lines : ndarray, shape (ny,)
        Rows, pixels of SUBSTRIP256.
    traces : mapping of int to ndarray, shape (nx,)
        Rows of the traces.
    sources : sequence of Source
        Sources, numbered from 1 in the picture.
    intervals : sequence of sequences of AffectedInterval
        What each spoils.
    title : str
        File in a line.
    half_width : float, optional
        Half width of the aperture, pixels.
    expected : sequence of Expected, optional
        Zero orders that a catalogue predicts, drawn dashed.

    Returns
    -------
    Figure
        The figure, to be saved or shown.
    """
    nx = image.shape[1]
    shown = sorted(traces)
    figure = Figure(figsize=(15, 6.2 + 4.4 + 1.1 * len(shown)), layout="constrained")
    grid = figure.add_gridspec(2 + len(shown), 1, height_ratios=[3, 3, *[0.8] * len(shown)])
    figure.suptitle(title, fontsize=11)
    extent = (-0.5, nx - 0.5, lines[0] - 0.5, lines[-1] + 0.5)
    scatter = 1.4826 * float(np.nanmedian(np.abs(rest))) if np.isfinite(rest).any() else 1.0
    panels = (
        (np.arcsinh(image / max(scatter, 1e-6) / 3), "image (inverse hyperbolic sine), apertures"),
        (np.clip(rest / max(scatter, 1e-6), -5, 15), "image less star and sky, over its scatter"),
    )
    columns = np.arange(nx)
    for k, (picture, text) in enumerate(panels):
        axis = figure.add_subplot(grid[k])
        axis.imshow(
            picture, origin="lower", aspect="auto", extent=extent, cmap="gray_r",
            interpolation="nearest",
            vmin=-2 if k else 0, vmax=8 if k else float(np.nanquantile(picture, 0.995)),
        )  # fmt: skip
        for order in shown:
            color = _ORDER_COLORS[order]
            axis.plot(columns, traces[order], color=color, lw=0.6, label=f"order {order}")
            for side in (-half_width, half_width):
                axis.plot(columns, traces[order] + side, color=color, lw=0.6, ls=":")
        for number, one in enumerate(sources, 1):
            _mark(axis, number, one, bool(intervals[number - 1]))
        for star in expected:
            axis.add_patch(
                Ellipse((star.column, star.row), 24, 30, fill=False, ec=_EXPECTED, ls="--", lw=1)
            )
            if k == 0:
                axis.annotate(
                    f"{star.star.magnitude:.1f}", (star.column, star.row - 15), color=_EXPECTED,
                    fontsize=7, ha="center", va="top", annotation_clip=True,
                )  # fmt: skip
        axis.set_xlim(-0.5, nx - 0.5)
        axis.set_ylim(extent[2], extent[3])
        axis.set_ylabel("row")
        axis.set_title(text, fontsize=10, loc="left")
        if k == 0:
            axis.legend(
                fontsize=8, ncols=len(shown), loc="lower right", bbox_to_anchor=(1, 1),
                frameon=False, borderpad=0,
            )  # fmt: skip
    for k, order in enumerate(shown):
        _strip(figure, grid[2 + k], order, intervals, nx, last=k == len(shown) - 1)
    return figure


def _mark(axis: Axes, number: int, one: Source, spoils: bool) -> None:
    color = _FOREIGN if one.kind == "trace" else _SOURCE
    width = one.last_column - one.first_column + 6
    height = one.last_row - one.first_row + 6
    middle = (one.first_column + one.last_column) / 2, (one.first_row + one.last_row) / 2
    axis.add_patch(Ellipse(middle, width, height, fill=False, ec=color, lw=1.6 if spoils else 0.8))
    axis.annotate(
        str(number), (middle[0] + width / 2, middle[1]), color=color, fontsize=8,
        fontweight="bold" if spoils else "normal", annotation_clip=True,
    )  # fmt: skip


def _strip(
    figure: Figure,
    place: Any,
    order: int,
    intervals: Sequence[Sequence[AffectedInterval]],
    nx: int,
    last: bool,
) -> None:
    """Columns that are spoilt in one order, with wavelengths and effects."""
    axis = figure.add_subplot(place)
    mine = [(k, one) for k, found in enumerate(intervals, 1) for one in found if one.order == order]
    mine.sort(key=lambda entry: entry[1].first_column)
    ends = [-1e9] * 3
    for number, one in mine:
        axis.axvspan(one.first_column, one.last_column, color=_ORDER_COLORS[order], alpha=0.35)
        effect = "" if np.isnan(one.effect) else f" {100 * one.effect:.1f}%"
        # Labels side by side are put on one of three lines, wherever there is room.
        level = int(np.argmin(ends))
        ends[level] = one.first_column + 0.1 * nx
        axis.text(
            min(one.first_column, 0.91 * nx), 0.82 - 0.33 * level,
            f"{number}: {one.centre:.3f}{effect}", fontsize=7, va="center",
        )  # fmt: skip
    axis.set_xlim(-0.5, nx - 0.5)
    axis.set_ylim(-0.05, 1)
    axis.set_yticks([])
    axis.set_ylabel(f"order {order}", fontsize=9)
    if last:
        axis.set_xlabel("column; labels: source, wavelength in um, effect")
    else:
        axis.set_xticklabels([])
