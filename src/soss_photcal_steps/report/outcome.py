"""The sections of a report about the new file: response, throughput in time, independent star."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from soss_photcal_steps.photom.validate import RangeNumbers
from soss_photcal_steps.report.content import Part, Picture, Table
from soss_photcal_steps.report.response_figure import response_figure
from soss_photcal_steps.report.results import OrderResponse
from soss_photcal_steps.report.trend_figure import TrendSeries, trend_figure
from soss_photcal_steps.report.words import count, median, percent

__all__ = ["response_part", "trend_part", "validation_part"]


def response_part(responses: Sequence[OrderResponse]) -> Part:
    """Show the old against the new response.

    Parameters
    ----------
    responses : sequence of OrderResponse
        The orders.

    Returns
    -------
    Part
        A figure for each order.
    """
    pictures = []
    for one in responses:
        inside = np.isfinite(one.new) & np.isfinite(one.old) & (one.old > 0)
        if one.measured is not None:
            inside &= (one.wavelength >= one.measured[0]) & (one.wavelength <= one.measured[1])
        change = np.divide(one.new, one.old, out=np.full(one.old.shape, np.nan), where=inside) - 1
        lowest, highest = (
            (float(np.nanmin(change)), float(np.nanmax(change))) if inside.any() else (np.nan,) * 2
        )
        measured = (
            f", measured from {one.measured[0]:.3f} to {one.measured[1]:.3f} um"
            if one.measured else ""
        )  # fmt: skip
        pictures.append(
            Picture(
                f"response-order-{one.order}",
                response_figure(
                    one.wavelength, one.old, one.new, one.new_error, one.measured,
                    f"Order {one.order}: old and new response", one.unit,
                ),
                f"Order {one.order}{measured}. Top: the conversion in the old and in the new "
                "file. Middle: new over old, with the error of the new one. Look for narrow "
                "features, which the instrument does not have, and for jumps at the ends of the "
                "measured range, beyond which the new file keeps the old shape. Bottom: the error "
                "that the new file quotes.",
                f"Three panels for order {one.order}{measured}: old and new response; new over "
                f"old less 1, from {percent(lowest)} to {percent(highest)}; error of the new "
                f"response, {percent(median((one.new_error / one.new)[inside]))} in the median.",
            )
        )  # fmt: skip
    return Part((), pictures)


def trend_part(series: Sequence[TrendSeries]) -> Part:
    """Show the throughput in time.

    Parameters
    ----------
    series : sequence of TrendSeries
        The orders or bands.

    Returns
    -------
    Part
        One figure, and a table.
    """
    words = "; ".join(f"{one.name}: {one.law}" for one in series)
    picture = Picture(
        "trend",
        trend_figure(series, "Throughput in time, relative to the reference day"),
        "Each point is one visit of the stability star, relative to the day of reference, with "
        "the law that the visits ask for. Look for visits that are far off, which are marked, "
        "and for a drift that the law does not follow. A law that is flat within its band is no "
        "reason for a time table in the photom file.",
        f"Throughput against date, a panel for each of {count(len(series), 'band')}: {words}.",
    )
    rows = [
        [
            one.name, one.law, len(one.mjd), int(np.sum(one.outliers)), percent(one.jitter, 3),
            percent(median(one.error), 3),
        ]
        for one in series
    ]  # fmt: skip
    columns = ["Band", "Law", "Visits", "Far off", "Jitter", "Error of a visit"]
    return Part((), [picture], [Table("Throughput trend.", columns, rows)])


def validation_part(
    figure: Figure | bytes, star: str, numbers: Sequence[RangeNumbers], notes: Sequence[str] = ()
) -> Part:
    """Show the new file on an independent star.

    Parameters
    ----------
    figure : Figure or bytes
        The figure of `validation_figure`, or a PNG file of it.
    star : str
        Name of the star.
    numbers : sequence of RangeNumbers
        The ratio over ranges of wavelengths.
    notes : sequence of str
        What is to be said of it.

    Returns
    -------
    Part
        The figure, and a table.
    """
    counted = [one for one in numbers if one.n]
    words = "; ".join(
        f"order {one.order}, {one.low:.2f} to {one.high:.2f} um: {one.median:.4f}"
        for one in counted
    )
    picture = Picture(
        "validation",
        figure,
        f"{star}, which did not take part in the combination, through the new file. Look at the "
        "ratio outside the hydrogen lines, which no model has right: it should lie at 1 within "
        "the error of the calibration, and closer to 1 than through the old file.",
        f"Spectra of {star} over its model, and their ratio. Medians of the ratio: "
        f"{words or 'none'}.",
    )
    rows = [
        [
            f"{one.low:.2f} to {one.high:.2f}", one.order, one.n, f"{one.median:.4f}",
            f"{one.median_used:.4f}", f"{one.low_16:.4f} to {one.high_84:.4f}",
            f"{one.error:.4f}", f"{one.calibration_error:.4f}",
        ]
        if one.n else [f"{one.low:.2f} to {one.high:.2f}", one.order, 0, *[None] * 5]
        for one in numbers
    ]  # fmt: skip
    columns = [
        "Range (um)", "Order", "Points", "Median, new file", "Median, old file", "16 to 84 %",
        "Error of the median", "Error of the calibration",
    ]  # fmt: skip
    table = Table("Observed over model outside the hydrogen lines.", columns, rows)
    return Part(tuple(notes), [picture], [table])
