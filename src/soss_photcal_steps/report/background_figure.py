"""The picture of a background subtraction: arrays in, a figure out."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soss_photcal_steps.averages import mean_along

__all__ = ["background_figure"]

_DATA, _MODEL, _SKY, _MARK = "#4d4d4d", "#b2182b", "#2166ac", "#e08214"
# Pixels that a point of an average needs.
_LEAST = 11


def _display_range(background: np.ndarray) -> float:
    """Top of the grey scale: what lies above it is not sky."""
    level = np.nanpercentile(background, 99) if np.isfinite(background).any() else 1.0
    return 2.2 * max(float(level), 1e-6)


def _profile(
    axis: Axes,
    position: np.ndarray,
    data: np.ndarray,
    background: np.ndarray,
    wing: np.ndarray,
    mask: np.ndarray,
    along: int,
    width: int,
) -> None:
    edges = np.arange(0, len(position), width)
    centre = np.add.reduceat(position, edges) / np.diff(np.append(edges, len(position)))
    measured = mean_along(data, mask, along, width, _LEAST)
    sky = mean_along(background, mask, along, width, _LEAST)
    total = sky + mean_along(wing, mask, along, width, _LEAST)
    axis.plot(centre, measured, ".", color=_DATA, markersize=4, label="data, sky pixels")
    axis.plot(
        centre, total, "-", color=_MODEL, linewidth=1.2, label="background + wings of the star"
    )
    axis.plot(centre, sky, "-", color=_SKY, linewidth=1.2, label="background")
    axis.set_ylabel("DN/s")
    axis.grid(alpha=0.3)


def background_figure(
    image: np.ndarray,
    background: np.ndarray,
    wing: np.ndarray,
    mask: np.ndarray,
    break_column: np.ndarray,
    cost: np.ndarray,
    names: list[str],
    chosen: int,
    title: str,
) -> Figure:
    """Show what was subtracted and why.

    From top to bottom: the image before and after on the same scale, with the
    outline of the pixels that the fit used; the mean along the columns and along
    the rows against the model; the ranking of the templates.

    Parameters
    ----------
    image : ndarray
        Combined count rate before subtraction, shape (ny, nx), DN/s.
    background, wing : ndarray
        Fitted background and wings of the star, same shape, DN/s.
    mask : ndarray of bool
        Pixels that the fit used.
    break_column : ndarray
        Column of the break per row, shape (ny,).
    cost : ndarray
        Goodness of each template (smaller is better), shape (n,).
    names : list of str
        Names of the templates.
    chosen : int
        Template chosen, counted from 0.
    title : str
        File and result in a line.

    Returns
    -------
    Figure
        The figure, to be saved or shown.
    """
    ny, nx = image.shape
    # One pixel without a value would make its whole group of columns disappear.
    mask = mask & np.isfinite(image) & np.isfinite(background) & np.isfinite(wing)
    figure = Figure(figsize=(13, 12.5), layout="constrained")
    grid = figure.add_gridspec(4, 3, height_ratios=[1, 1, 1.1, 1.2])
    figure.suptitle(title, fontsize=11)
    top = _display_range(background)
    rows = np.arange(ny)
    panels = (
        (image, "before; outlined: pixels that the fit used"),
        (image - background, "after, same scale: look for a step at the dashed line"),
    )
    for k, (shown, text) in enumerate(panels):
        axis = figure.add_subplot(grid[k, :])
        picture = axis.imshow(
            shown, origin="lower", aspect="auto", vmin=0, vmax=top, cmap="viridis",
            interpolation="nearest",
        )  # fmt: skip
        if k == 0:
            axis.contour(mask.astype(float), levels=[0.5], colors="white", linewidths=0.4)
        axis.plot(break_column, rows, "--", color=_MARK, linewidth=1)
        axis.set_xlim(-0.5, nx - 0.5)
        axis.set_title(text, fontsize=10, loc="left")
        axis.set_ylabel("row")
        figure.colorbar(picture, ax=axis, label="DN/s", pad=0.01)

    axis = figure.add_subplot(grid[2, :])
    _profile(axis, np.arange(nx, dtype=float), image, background, wing, mask, 0, 8)
    axis.axvspan(break_column.min(), break_column.max(), color=_MARK, alpha=0.35, label="break")
    axis.set_xlabel("column")
    axis.set_xlim(0, nx)
    axis.set_title("mean over the sky pixels of each column", fontsize=10, loc="left")
    # Above the panel, where it hides no data.
    axis.legend(
        fontsize=8, ncols=4, loc="lower right", bbox_to_anchor=(1, 1), frameon=False, borderpad=0
    )

    column = np.arange(nx)[None, :]
    sides = (
        (column < break_column[:, None] - 30, "left of the break, mean along the rows"),
        (column > break_column[:, None] + 60, "right of the break, mean along the rows"),
    )
    for k, (side, text) in enumerate(sides):
        axis = figure.add_subplot(grid[3, k])
        width = max(ny // 64, 1)
        _profile(axis, rows.astype(float), image, background, wing, mask & side, 1, width)
        axis.set_xlabel("row")
        axis.set_title(text, fontsize=10, loc="left")

    axis = figure.add_subplot(grid[3, 2])
    _ranking(axis, cost, names, chosen)
    return figure


def _ranking(axis: Axes, cost: np.ndarray, names: list[str], chosen: int) -> None:
    axis.set_title("ranking of the templates", fontsize=10, loc="left")
    if not np.isfinite(cost).any():
        axis.set_axis_off()
        axis.text(0.5, 0.5, "no template was fitted", ha="center", va="center")
        return
    if len(cost) < 2:
        axis.set_axis_off()
        axis.text(0.5, 0.5, f"{names[chosen]}\nis the only template", ha="center", va="center")
        return
    order = np.argsort(cost)
    # A template that was asked for is shown however badly it fits.
    order = order[:18] if chosen in order[:18] else np.append(order[:17], chosen)
    excess = np.maximum(cost[order] - cost[order[0]], 0)
    colors = [_MODEL if k == chosen else "#92c5de" for k in order]
    axis.barh(np.arange(len(order)), excess, color=colors)
    axis.plot(excess, np.arange(len(order)), "o", color=_DATA, markersize=3)
    axis.set_yticks(np.arange(len(order)), [names[k] for k in order], fontsize=7)
    for label, k in zip(axis.get_yticklabels(), order, strict=True):
        label.set_color(_MODEL if k == chosen else "black")
    axis.invert_yaxis()
    axis.set_xscale("symlog", linthresh=10)
    axis.set_xlabel(r"$\chi^2$ above the best; red: taken")
