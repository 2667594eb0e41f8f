"""The sections of a report about the combination: results in, parts of a page out.

Here is what the figures mean, what to look for in them, and what they show in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from soss_photcal_steps.report.budget_figure import budget_figure
from soss_photcal_steps.report.combination_figure import combination_figure, influence_figure
from soss_photcal_steps.report.content import Part, Picture, Table
from soss_photcal_steps.report.coverage_figure import Coverage, coverage_figure
from soss_photcal_steps.report.palette import star_colours
from soss_photcal_steps.report.results import JoinMark, KindDifference, OrderResult
from soss_photcal_steps.report.words import count, median, percent, span

__all__ = [
    "budget_part",
    "combination_part",
    "coverage_part",
    "influence_part",
    "joins_part",
]

# Joins beyond this size stand in the table that is not folded up.
_LARGE_JOIN = 1e-3


def _colours(orders: Iterable[OrderResult]) -> dict[str, str]:
    return star_colours(star for one in orders for star in one.stars)


def _spread(one: OrderResult) -> np.ndarray:
    """Spread of the curves from the lowest to the highest, as a fraction of the mean."""
    ratio = np.array([curve for _, _, curve in one.curves], float).reshape(-1, one.wavelength.size)
    seen = np.isfinite(ratio)
    low = np.where(seen, ratio, np.inf).min(axis=0, initial=np.inf)
    high = np.where(seen, ratio, -np.inf).max(axis=0, initial=-np.inf)
    several = (seen.sum(axis=0) > 1) & one.known
    spread = np.full(one.wavelength.size, np.nan)
    spread[several] = (high - low)[several] / one.mean[several]
    return spread


def coverage_part(rows: Sequence[Coverage]) -> Part:
    """Show which wavelengths each observation contributes.

    Parameters
    ----------
    rows : sequence of Coverage
        The observations.

    Returns
    -------
    Part
        One figure.
    """
    stars = sorted({row.star for row in rows})
    lost = sum(len(spans) for row in rows for spans in row.contaminated.values())
    return Part(
        pictures=[
            Picture(
                "coverage",
                coverage_figure(rows, "Wavelengths that each observation contributes"),
                "Bars are the wavelengths that an observation gives to the combination; hatched "
                "ones are lost to contamination or were left out by hand. Look for wavelengths "
                "that few stars or only one star covers: there the mean is what that star says, "
                "and the error rests on what stars do elsewhere.",
                f"Bar chart of {count(len(rows), 'observation')} of {count(len(stars), 'star')} "
                f"({', '.join(stars)}), orders 1 and 2 side by side, with "
                f"{count(lost, 'contaminated interval')}.",
            )
        ]
    )


def combination_part(orders: Sequence[OrderResult]) -> Part:
    """Show all curves and the means, order by order.

    Parameters
    ----------
    orders : sequence of OrderResult
        The orders.

    Returns
    -------
    Part
        A figure for each order, and a table.
    """
    colours = _colours(orders)
    pictures, rows, text = [], [], []
    for one in orders:
        marks = [(join.wavelength, join.size) for join in one.joins if join.removed]
        spread = median(_spread(one))
        known = one.known
        ends = (
            f"from {one.mean[known][0]:.3f} at the short to {one.mean[known][-1]:.3f} at the long "
            "end" if known.any() else "which has no value"
        )  # fmt: skip
        pictures.append(
            Picture(
                f"combination-order-{one.order}",
                combination_figure(
                    one.wavelength, one.curves, one.means, one.method, one.stat_error,
                    one.sys_error, marks, f"Order {one.order}: curves and their means", colours,
                ),
                f"Order {one.order}. Top: the ratio R of each observation and the mean that was "
                "taken, with its 1-sigma band. Middle: the same over the mean. Look for a curve "
                "that leaves the others, and for a shape that two kinds of stars do not share; "
                "parallel curves differ only in scale. Bottom: the other means over this one; "
                "where they leave the band the choice of the mean matters. Dashed lines are "
                "steps that were taken out where the contributing stars change, the largest "
                "with their sizes.",
                f"Three panels for order {one.order}, {span(one.wavelength, known)}: "
                f"{count(len(one.curves), 'curve')} of {count(len(one.stars), 'star')}, spread "
                f"by {percent(spread)} in the median; the {one.method.replace('_', ' ')} mean "
                f"goes {ends}; {count(len(marks), 'step')} taken out.",
            )
        )  # fmt: skip
        rows.append(
            [
                f"order {one.order}", span(one.wavelength, known), len(one.curves),
                len(one.stars), one.method.replace("_", " "), f"{median(one.mean):.4f}",
                percent(spread), percent(median(one.total_error[known])),
            ]
        )  # fmt: skip
        if one.splice is not None:
            text.append(
                f"Order {one.order}: beyond {one.splice[0]:.4f} um one observation takes the "
                f"place of the mean, scaled by {one.splice[1]:.4f}."
            )
    table = Table(
        "The combination; values are medians over wavelength.",
        [
            "Order", "Range", "Curves", "Stars", "Mean taken", "R", "Spread of curves",
            "1-sigma error",
        ],
        rows,
    )  # fmt: skip
    intro = (
        "R is observed over model flux. The new response is the old one divided by the mean R; "
        "R above 1 means that the old file gives too much flux."
    )
    return Part([intro, *text], pictures, [table])


def influence_part(orders: Sequence[OrderResult]) -> Part | None:
    """Show how far each star moves the mean.

    Parameters
    ----------
    orders : sequence of OrderResult
        The orders.

    Returns
    -------
    Part or None
        A figure for each order; None if there is only one star.
    """
    colours = _colours(orders)
    pictures, rows = [], []
    for one in orders:
        if not one.influence:
            continue
        # It may be known where the mean itself is not given.
        sizes = {
            star: np.where(one.known, np.abs(change), np.nan)
            for star, change in sorted(one.influence.items())
        }
        largest = {star: float(np.nanmax(size, initial=0.0)) for star, size in sizes.items()}
        words = ", ".join(f"{star} up to {percent(size)}" for star, size in largest.items())
        pictures.append(
            Picture(
                f"influence-order-{one.order}",
                influence_figure(
                    one.wavelength, one.influence, one.total_error,
                    f"Order {one.order}: what each star does to the mean", colours,
                ),
                f"Order {one.order}. By how much the mean changes because a star takes part. "
                "Look for a star whose line leaves the grey band of the error: the result "
                "depends on it, and its model and background are worth a second look. The lines "
                "end where there is no mean without the star.",
                f"Order {one.order}, influence of each star on the mean: {words}.",
            )
        )  # fmt: skip
        for star, size in largest.items():
            rows.append([star, one.order, percent(median(sizes[star])), percent(size)])
    if not pictures:
        return None
    columns = ["Star", "Order", "Median", "Largest"]
    return Part((), pictures, [Table("Influence of each star, without its sign.", columns, rows)])


def _joins_table(caption: str, joins: Sequence[tuple[int, JoinMark]]) -> Table:
    rows = [
        [
            f"{join.wavelength:.4f}", order, f"{100 * join.size:+.3f}",
            f"{100 * join.error:.3f}" if np.isfinite(join.error) else None,
            "taken out" if join.removed else "left in", join.what,
        ]
        for order, join in joins
    ]  # fmt: skip
    columns = ["Wavelength (um)", "Order", "Step (%)", "1 sigma (%)", "What was done", "Why"]
    return Table(caption, columns, rows)


def joins_part(orders: Sequence[OrderResult]) -> Part:
    """List the steps where the contributors change.

    Parameters
    ----------
    orders : sequence of OrderResult
        The orders.

    Returns
    -------
    Part
        Tables: the large ones, and all of them.
    """
    found = [(one.order, join) for one in orders for join in one.joins]
    if not found:
        return Part(["The contributing stars change nowhere."])
    large = [pair for pair in found if abs(pair[1].size) >= _LARGE_JOIN]
    large.sort(key=lambda pair: -abs(pair[1].size))
    removed = sum(join.removed for _, join in found)
    text = [
        "Where a star begins or ends to contribute, a mean jumps by what that star differs from "
        "the others. Such a step is no property of the instrument and is taken out. Look for "
        "steps that are large, or uncertain compared with their size. "
        f"There are {count(len(found), 'join')}, {removed} of them taken out, {len(large)} of "
        f"{100 * _LARGE_JOIN:g} per cent or more."
    ]
    tables = [_joins_table("The largest joins, by size.", large)] if large else []
    details = [(f"All joins ({len(found)})", Part(tables=[_joins_table("All joins.", found)]))]
    return Part(text, (), tables, details)


def budget_part(orders: Sequence[OrderResult], tables: Sequence[Table] = ()) -> Part:
    """Show the error budget.

    Parameters
    ----------
    orders : sequence of OrderResult
        The orders.
    tables : sequence of Table
        Further tables.

    Returns
    -------
    Part
        A figure for each order, and a table.
    """
    pictures, rows = [], []
    for one in orders:
        known = one.known
        stat, systematic, total = (
            median(error[known]) for error in (one.stat_error, one.sys_error, one.total_error)
        )
        stars = one.n_stars[known] if known.any() else np.zeros(1, int)
        fewest, most = int(stars.min()), int(stars.max())
        pictures.append(
            Picture(
                f"budget-order-{one.order}",
                budget_figure(
                    one.wavelength, np.where(known, one.stat_error, np.nan),
                    np.where(known, one.sys_error, np.nan), one.parts, one.n_stars,
                    f"Order {one.order}: error budget",
                ),
                f"Order {one.order}. Errors of the mean against wavelength, and the number of "
                "stars. The statistical error falls with more frames; the systematic one comes "
                "from what the stars differ by, and falls only with more stars. Look for "
                "wavelengths where the error rises as stars drop out.",
                f"Order {one.order}, {span(one.wavelength, known)}, median 1-sigma errors: "
                f"statistical {percent(stat)}, systematic {percent(systematic)}, total "
                f"{percent(total)}; {fewest} to {most} stars.",
            )
        )  # fmt: skip
        rows.append(
            [f"order {one.order}", percent(stat), percent(systematic), percent(total),
             percent(float(np.nanmax(one.total_error[known], initial=0.0)))]
        )  # fmt: skip
    columns = ["Order", "Statistical", "Systematic", "Total", "Largest total"]
    table = Table("1-sigma errors of the mean, medians over wavelength.", columns, rows)
    apart = [(one.order, one.kinds) for one in orders if one.kinds is not None]
    kinds = [_kinds_table(apart)] if apart else []
    return Part((), pictures, [table, *kinds, *tables])


def _kinds_table(apart: Sequence[tuple[int, KindDifference]]) -> Table:
    rows = []
    for order, one in apart:
        stars = " and ".join(
            f"{number} {name}" for number, name in zip(one.n_stars, one.names, strict=True)
        )
        rows.append(
            [f"order {order}", stars, f"{percent(one.mean)} ± {percent(one.mean_error)}",
             f"{percent(one.largest)} ± {percent(one.largest_error)} at {one.wavelength:.2f} um"]
        )  # fmt: skip
    return Table(
        "Hot stars (white dwarfs and A stars) less solar-type stars: their models rest on "
        "different physics, so that a difference beyond its error is one of the models, or of "
        "how bright stars are measured. The errors come from the scatter within the kinds.",
        ["Order", "Stars", "Over all wavelengths", "Where it is surest"],
        rows,
    )
