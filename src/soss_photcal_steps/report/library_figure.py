"""Pictures of background templates: arrays in, figures out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from soss_photcal_steps.report.palette import drawable
from soss_photcal_steps.template.statistics import LibraryStatistics

__all__ = ["library_figure", "template_figure"]

_BOX = 16


def template_figure(
    image: np.ndarray,
    error: np.ndarray,
    mean: np.ndarray,
    break_column: np.ndarray,
    rows: np.ndarray,
    title: str,
) -> Figure:
    """Show a template, the mean that it smooths, and what it leaves.

    Parameters
    ----------
    image, error : ndarray
        Template and standard error, shape (ny, nx), DN/s.
    mean : ndarray
        Mean of the exposures, same shape, NaN where masked.
    break_column : ndarray
        Column of the break per row, shape (ny,).
    rows : ndarray
        Row of each line, pixels of SUBSTRIP256.
    title : str
        Title.

    Returns
    -------
    Figure
        Mean, template, their relative difference, and the average of all rows.
    """
    figure = Figure(figsize=(12, 11), layout="constrained")
    axes = figure.subplots(4, 1, height_ratios=(1, 1, 1, 1.3))
    figure.suptitle(drawable(title))
    low, high = 0.6 * np.median(image), 1.25 * np.quantile(image, 0.99)
    nx = image.shape[1]
    extent = (-0.5, nx - 0.5, rows[0] - 0.5, rows[-1] + 0.5)
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = 100 * (mean / image - 1)
    limit = float(np.nanquantile(np.abs(rest), 0.9)) if np.isfinite(rest).any() else 1.0
    for axis, (values, text, colours, limits) in zip(
        axes[:3],
        (
            (mean, "mean of the exposures; white: masked in all", "viridis", (low, high)),
            (image, "template", "viridis", (low, high)),
            (rest, "mean less template, per cent", "RdBu_r", (-limit, limit)),
        ),
        strict=True,
    ):
        shown = axis.imshow(
            values, origin="lower", aspect="auto", extent=extent, cmap=colours, vmin=limits[0],
            vmax=limits[1], interpolation="nearest",
        )  # fmt: skip
        axis.set_ylabel("row")
        axis.set_title(text, fontsize=10, loc="left")
        figure.colorbar(shown, ax=axis, pad=0.01)
        axis.plot(break_column, rows, ":", color="#e08214", linewidth=1)
    axis = axes[3]
    columns = np.arange(nx)
    known = np.isfinite(mean)
    count = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        data = np.where(count > 3, np.where(known, mean, 0).sum(axis=0) / count, np.nan)
        model = np.where(count > 3, np.where(known, image, 0).sum(axis=0) / count, np.nan)
    axis.plot(columns, data, ".", color="#8a8a8a", markersize=2, label="mean of the exposures")
    axis.plot(columns, model, "-", color="#b2182b", label="template, same pixels")
    axis.axvline(float(np.mean(break_column)), color="#e08214", linestyle=":", label="break")
    axis.set_xlim(0, nx)
    inner = model[8:-8]
    if np.isfinite(inner).any():
        axis.set_ylim(0.9 * np.nanmin(inner), 1.08 * np.nanmax(inner))
    axis.set_xlabel(f"column; typical error of the template {100 * np.median(error / image):.2f} %")
    axis.set_ylabel("DN/s, average of the rows")
    axis.legend(fontsize=9)
    axis.grid(alpha=0.3)
    return figure


def library_figure(
    statistics: LibraryStatistics, names: Sequence[str], images: np.ndarray
) -> Figure:
    """Show how different the templates of a library are.

    Parameters
    ----------
    statistics : LibraryStatistics
        Differences and components.
    names : sequence of str
        Names of the templates.
    images : ndarray
        Templates, shape (n, ny, nx), DN/s.

    Returns
    -------
    Figure
        Shapes along the columns, differences of pairs, what each adds, components.
    """
    n = len(names)
    labels = [f"{k}: {drawable(name)}"[:34] for k, name in enumerate(names)]
    figure = Figure(figsize=(13, 11), layout="constrained")
    axes = figure.subplots(2, 2)
    figure.suptitle(f"{n} background templates; each scaled left and right of the break")
    axis = axes[0, 0]
    centre = (np.arange(statistics.ratio.shape[2]) + 0.5) * _BOX
    for k in range(n):
        with np.errstate(invalid="ignore"):
            known = np.isfinite(statistics.ratio[k])
            total = np.where(known, statistics.ratio[k], 0).sum(axis=0)
            line = np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)
        style = ("-", "--", ":")[(k // 10) % 3]
        axis.plot(centre, 100 * (line - 1), style, color=f"C{k % 10}", label=labels[k])
    axis.set_xlabel("column")
    axis.set_ylabel("average of the rows over the mean template, per cent")
    axis.grid(alpha=0.3)
    if n <= 20:
        axis.legend(fontsize=7, ncols=1 if n < 10 else 2)
    axis = axes[0, 1]
    shown = axis.imshow(100 * statistics.difference, cmap="viridis", origin="lower", vmin=0)
    figure.colorbar(shown, ax=axis, label="difference of shape, per cent rms")
    axis.set_xlabel("template")
    axis.set_ylabel("template")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis = axes[1, 0]
    place = np.arange(n)
    adds = 100 * np.nan_to_num(statistics.adds)
    axis.barh(place, adds, color="#2166ac")
    axis.set_yticks(place, labels, fontsize=7)
    axis.invert_yaxis()
    axis.set_xlabel("what no sum of the others gives, per cent rms")
    axis.grid(alpha=0.3, axis="x")
    axis = axes[1, 1]
    share = 100 * np.cumsum(statistics.variance)
    axis.plot(np.arange(1, n + 1), share, "o-", color="#b2182b")
    axis.set_ylim(0, 103)
    axis.set_xlabel(f"principal components; {statistics.needed()} give 99 per cent")
    axis.set_ylabel("share of the variance of shape, per cent")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.3)
    return figure
