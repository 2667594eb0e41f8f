"""The parts of a report about one observation: spectra and figures in, parts of a page out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from soss_photcal_steps.ratio.order import MASK_TITLES, Mask, OrderRatio
from soss_photcal_steps.report.content import Part, Picture, Table, slug
from soss_photcal_steps.report.coverage_figure import Coverage, flagged_intervals
from soss_photcal_steps.report.palette import drawable
from soss_photcal_steps.report.ratio_figure import ratio_figure, spectrum_figure

__all__ = ["background_part", "fits_part", "observation_coverage", "spectra_part"]

_LOST = int(Mask.CONTAMINATION | Mask.USER)


def background_part(
    figure: Figure | bytes | None, name: str, numbers: Mapping[str, Any], notes: Sequence[str] = ()
) -> Part:
    """Show the background of an observation.

    Parameters
    ----------
    figure : Figure, bytes or None
        The figure of `background_figure`, or a PNG file of it.
    name : str
        The observation.
    numbers : mapping of str to object
        Numbers of the subtraction by name, with the unit in the name.
    notes : sequence of str
        What is to be said of it.

    Returns
    -------
    Part
        The picture, if there is one, and a table.
    """
    pictures = []
    if figure is not None:
        said = ", ".join(f"{key} {_short(value)}" for key, value in list(numbers.items())[:4])
        pictures.append(
            Picture(
                f"background-{slug(name)}",
                figure,
                f"Background of {name}. Look for a step at the dashed line in the lower image, "
                "and at the points against the red line in the profiles: where they part, the "
                "template or its scale does not fit. Stars and spectra of other sources must lie "
                "outside the outlined pixels. If the best templates are equally good, the choice "
                "among them does not matter.",
                f"Image of {name} before and after the background was subtracted, mean profiles "
                f"along columns and rows with the fitted background, ranking of the templates. "
                f"{said}.".replace(". .", "."),
            )
        )
    tables = []
    if numbers:
        rows = list(numbers.items())
        tables = [Table(f"Background of {name}.", ["What", "Value"], rows)]
    return Part(tuple(notes), pictures, tables)


def spectra_part(
    orders: Sequence[OrderRatio], name: str, star: str, figure: Figure | bytes | None = None
) -> Part:
    """Show the spectra of an observation over the model, and what was left out.

    Parameters
    ----------
    orders : sequence of OrderRatio
        The orders.
    name, star : str
        The observation and its star.
    figure : Figure or bytes, optional
        The figure of `spectrum_figure`, or a PNG file of it; drawn if not given.

    Returns
    -------
    Part
        The picture, and a table of the masks.
    """
    words = "; ".join(_describe(one) for one in orders)
    picture = Picture(
        f"spectra-{slug(name)}",
        figure or spectrum_figure(orders, drawable(f"{star}, {name}: spectra")),
        f"Observed and model spectra of {name}. Look for a difference of shape, which is what "
        "the calibration corrects, and for narrow excesses, which are zero orders or spectra of "
        "other stars.",
        f"Observed over model spectra of {star}, a panel for each order. {words}.",
    )
    columns = ["Why left out", *(f"Order {one.order}" for one in orders)]
    rows = [
        [title, *(int(np.count_nonzero(one.mask & int(bit))) for one in orders)]
        for bit, title in MASK_TITLES.items()
    ]
    rows = [row for row in rows if any(row[1:])]
    total = [
        ["used", *(int(np.count_nonzero(one.mask == 0)) for one in orders)],
        ["all", *(one.mask.size for one in orders)],
    ]
    caption = "Wavelengths that were used or left out; one may be left out for several reasons."
    return Part((), [picture], [Table(caption, columns, [*total, *rows])])


def fits_part(
    orders: Sequence[OrderRatio],
    name: str,
    star: str,
    lines: Mapping[str, Sequence[float]] | None = None,
    figure: Figure | bytes | None = None,
) -> Part:
    """Show the ratio of an observation and the smooth curve.

    Parameters
    ----------
    orders : sequence of OrderRatio
        The orders.
    name, star : str
        The observation and its star.
    lines : mapping of str to sequence of float, optional
        Wavelengths of lines by the name of their series, um.
    figure : Figure or bytes, optional
        The figure of `ratio_figure`, or a PNG file of it; drawn if not given.

    Returns
    -------
    Part
        The picture, and a table of the fit.
    """
    rows: list[list[Any]] = []
    for one in orders:
        sections = one.fit_description.get("sections") or []
        for section in sections:
            rows.append(
                [
                    f"order {one.order}, {section['low']:.3f} to {section['high']:.3f} um",
                    _method(section), section["n_points"], section["n_rejected"],
                    f"{100 * section['rms']:.2f}", f"{section['chi_square']:.3g}",
                    bool(section["passed"]),
                ]
            )  # fmt: skip
        if not sections:
            reason = one.fit_description.get("reason") or "not asked for"
            rows.append([f"order {one.order}", f"no curve: {reason}", *[None] * 5])
    words = "; ".join(_describe(one) for one in orders)
    picture = Picture(
        f"ratio-{slug(name)}",
        figure or ratio_figure(orders, drawable(f"{star}, {name}: observed over model"), lines),
        f"Ratio of {name} with the smooth curve, and the residuals below. Look for waves in the "
        "residuals, which the curve missed; for a curve that bends where points are masked; and "
        "for grey points that belong to a line or to contamination, and should be masked.",
        f"Ratio of observed to model flux of {star} against wavelength with a smooth curve and "
        f"residuals, for each order. {words}.",
    )
    columns = [
        "Section", "Curve", "Points", "Rejected", "Rms (%)", "Reduced chi-square in bins",
        "Residuals are noise",
    ]  # fmt: skip
    return Part((), [picture], [Table("The smooth curve, section by section.", columns, rows)])


def observation_coverage(orders: Sequence[OrderRatio], name: str, star: str) -> Coverage:
    """Tell which wavelengths an observation contributes.

    Parameters
    ----------
    orders : sequence of OrderRatio
        The orders.
    name, star : str
        The observation and its star.

    Returns
    -------
    Coverage
        Where there is a curve, or else where points are good, and where there is contamination.
    """
    used, lost = {}, {}
    for one in orders:
        fitted = np.isfinite(one.fit)
        good = fitted if fitted.any() else one.mask == 0
        bad = ((one.mask & _LOST) != 0) & ((one.mask & int(Mask.OUT_OF_RANGE)) == 0)
        # A curve runs on through contamination, but nothing is known there.
        used[one.order] = flagged_intervals(one.wavelength, good & ~bad)
        lost[one.order] = flagged_intervals(one.wavelength, bad)
    return Coverage(name, star, used, lost)


def _describe(one: OrderRatio) -> str:
    good = one.mask == 0
    if not good.any():
        return f"Order {one.order}: no good point"
    inside = one.wavelength[good]
    return (
        f"Order {one.order}, {inside[0]:.2f} to {inside[-1]:.2f} um: median ratio "
        f"{np.median(one.ratio[good]):.4f}"
    )


def _method(section: Mapping[str, Any]) -> str:
    if section["method"] == "spline":
        return f"cubic spline, {len(section['knots'])} inner knots"
    if section["method"] == "smooth":
        return f"smoothing spline, as free as {section['freedom']} parameters"
    return f"Legendre, degree {section['degree']}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
