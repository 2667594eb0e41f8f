"""The pictures of a combination: arrays in, a figure out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soss_photcal_steps.report.palette import (
    STYLES,
    bulk_limits,
    drawable,
    figure_legend,
    star_colours,
)

__all__ = ["combination_figure", "influence_figure"]

_OTHERS = (("#d95f02", "-"), ("#1b5e9e", "--"), ("#5d3a9b", ":"))
# Steps that get their size written beside them; all are marked.
_LABELLED = 8


def _draw_joins(axis: Axes, joins: Sequence[tuple[float, float]], top: bool) -> None:
    """Mark steps, and write the sizes of the largest where they do not overlap."""
    for number, (position, _) in enumerate(joins):
        axis.axvline(
            position, color="#b2182b", lw=0.7, alpha=0.55, ls=(0, (4, 3)), zorder=1,
            label=None if number else "join: the contributing stars change",
        )  # fmt: skip
    if not top:
        return
    low, high = axis.get_xlim()
    written: list[float] = []
    for position, size in sorted(joins, key=lambda join: -abs(join[1]))[: 4 * _LABELLED]:
        near = any(abs(position - other) < 0.025 * (high - low) for other in written)
        if near or len(written) == _LABELLED or not low <= position <= high:
            continue
        written.append(position)
        axis.annotate(
            f"{100 * size:+.2f} %", (position, 0.98), xycoords=("data", "axes fraction"),
            rotation=90, fontsize=7, ha="right", va="top", color="#8b0f20",
        )  # fmt: skip


def combination_figure(
    wavelength: np.ndarray,
    curves: Sequence[tuple[str, str, np.ndarray]],
    means: Mapping[str, np.ndarray],
    chosen: str,
    stat_error: np.ndarray,
    sys_error: np.ndarray,
    joins: Sequence[tuple[float, float]] = (),
    title: str = "",
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Show all curves of one order, the means, and where the contributors change.

    Parameters
    ----------
    wavelength : ndarray, shape (m,)
        Vacuum wavelength, um.
    curves : sequence of (label, star, ndarray of shape (m,))
        Ratio R = observed / model of each curve; NaN where it does not contribute.
    means : mapping of str to ndarray, shape (m,)
        The means by name; NaN where there is none.
    chosen : str
        Name of the mean that is handed on.
    stat_error, sys_error : ndarray, shape (m,)
        Its 1-sigma errors, as fractions of R.
    joins : sequence of (wavelength, size)
        Steps: where, um, and how large, as a fraction of R.
    title : str
        Title of the figure.
    colours : mapping of str to str, optional
        Colour of each star; by default those of `star_colours`.

    Returns
    -------
    Figure
        Panels from top to bottom: the curves and the chosen mean with its band; the curves
        over that mean; the other means over it.  It belongs to no window.

    Raises
    ------
    ValueError
        If the chosen mean is not among the means.
    """
    if chosen not in means:
        raise ValueError(f"the mean {chosen!r} is not among {', '.join(means) or 'none'}")
    colours = colours or star_colours(star for _, star, _ in curves)
    mean = np.asarray(means[chosen], float)
    total = np.hypot(stat_error, sys_error)
    figure = Figure(figsize=(10, 9.5), layout="constrained")
    figure.suptitle(drawable(title))
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[3, 2.2, 1.5])
    name = chosen.replace("_", " ")
    top.fill_between(
        wavelength, mean * (1 - total), mean * (1 + total), color="0.2", alpha=0.22, lw=0,
        label=f"1 sigma of the {name} mean", zorder=1,
    )  # fmt: skip
    for error, shade, label in (
        (total, 0.15, None), (stat_error, 0.25, "its statistical part"),
    ):  # fmt: skip
        middle.fill_between(
            wavelength, -100 * error, 100 * error, color="0.2", alpha=shade, lw=0, label=label,
            zorder=1,
        )  # fmt: skip
    bottom.fill_between(wavelength, -100 * total, 100 * total, color="0.2", alpha=0.15, lw=0)
    relative = []
    count: Counter[str] = Counter()
    for label, star, ratio in curves:
        style = STYLES[count[star] % len(STYLES)]
        count[star] += 1
        relative.append(100 * (np.asarray(ratio, float) / mean - 1))
        colour = colours.get(star, "0.3")
        top.plot(wavelength, ratio, color=colour, ls=style, lw=1, label=drawable(label), zorder=2)
        middle.plot(wavelength, relative[-1], color=colour, ls=style, lw=1, zorder=2)
    top.plot(wavelength, mean, color="k", lw=1.8, label=f"{name} mean (taken)", zorder=3)
    differences = []
    others = [other for other in means if other != chosen]
    for number, other in enumerate(others):
        differences.append(100 * (np.asarray(means[other], float) / mean - 1))
        colour, style = _OTHERS[number % len(_OTHERS)]
        bottom.plot(
            wavelength, differences[-1], color=colour, ls=style, lw=1.2,
            label=f"{drawable(other).replace('_', ' ')} mean", zorder=2,
        )  # fmt: skip
    inside = np.isfinite(mean)
    if inside.any():
        top.set_xlim(wavelength[inside][0], wavelength[inside][-1])
    for axis, values in (
        (top, [mean, *(np.where(inside, ratio, np.nan) for _, _, ratio in curves)]),
        (middle, [*relative, -100 * total, 100 * total]),
        (bottom, [*differences, np.array([-0.1, 0.1])]),
    ):
        limits = bulk_limits(*values, least=0.005 if axis is top else 0.05)
        if limits is not None:
            axis.set_ylim(*limits)
        _draw_joins(axis, joins, axis is bottom)
        axis.grid(alpha=0.3)
    for axis in (middle, bottom):
        axis.axhline(0, color="k", lw=0.9)
    top.set_ylabel("R = observed / model")
    middle.set_ylabel("curve over mean\n- 1 (%)")
    bottom.set(ylabel="other means over\nthis one - 1 (%)", xlabel="wavelength (um)")
    if not others:
        bottom.text(0.5, 0.1, "no other mean", ha="center", transform=bottom.transAxes)
    figure_legend((top, middle, bottom))
    return figure


def influence_figure(
    wavelength: np.ndarray,
    influence: Mapping[str, np.ndarray],
    total_error: np.ndarray,
    title: str = "",
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Show how far each star moves the mean of one order.

    Parameters
    ----------
    wavelength : ndarray, shape (m,)
        Vacuum wavelength, um.
    influence : mapping of str to ndarray, shape (m,)
        By star: the mean with it over the mean without it, less 1; NaN where there is none.
    total_error : ndarray, shape (m,)
        1-sigma error of the mean, as a fraction; NaN where there is no mean.
    title : str
        Title of the figure.
    colours : mapping of str to str, optional
        Colour of each star; by default those of `star_colours`.

    Returns
    -------
    Figure
        The figure; it belongs to no window.
    """
    colours = colours or star_colours(influence)
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    figure.suptitle(drawable(title))
    axis = figure.subplots()
    error = 100 * np.asarray(total_error, float)
    axis.fill_between(
        wavelength, -error, error, color="0.2", alpha=0.15, lw=0, label="1 sigma of the mean"
    )
    axis.axhline(0, color="k", lw=0.9)
    seen = np.isfinite(error)
    values = []
    for number, (star, change) in enumerate(sorted(influence.items())):
        # Where there is no mean its error is missing, and nobody has an influence on it.
        values.append(np.where(seen, 100 * np.asarray(change, float), np.nan))
        axis.plot(
            wavelength, values[-1], color=colours.get(star, "0.3"), lw=1.2,
            ls=STYLES[number % len(STYLES)], label=drawable(star),
        )  # fmt: skip
    if not values:
        axis.text(0.5, 0.5, "one star only", ha="center", transform=axis.transAxes)
    if seen.any():
        axis.set_xlim(wavelength[seen][0], wavelength[seen][-1])
    limits = bulk_limits(*values, -error, error, least=0.05)
    if limits is not None:
        axis.set_ylim(*limits)
    axis.set(xlabel="wavelength (um)", ylabel="mean with the star over\nmean without it - 1 (%)")
    axis.grid(alpha=0.3)
    figure_legend((axis,))
    return figure
