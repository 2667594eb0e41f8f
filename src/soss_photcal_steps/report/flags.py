"""What a calibration scientist would want to see first: results in, flags out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from soss_photcal_steps.ratio.order import Mask, OrderRatio
from soss_photcal_steps.report.content import Flag, ReportData
from soss_photcal_steps.report.coverage_figure import flagged_intervals
from soss_photcal_steps.report.results import OrderResult
from soss_photcal_steps.report.trend_figure import TrendSeries

__all__ = [
    "FlagLimits",
    "flag_missing",
    "flag_observation",
    "flag_result",
    "flag_trend",
]


@dataclass(frozen=True)
class FlagLimits:
    """From where on something is flagged.

    The defaults for error and level follow the report JWST-STScI-009248: it claims 1 to 2 per
    cent, and its own corrections reach 12 per cent.

    Attributes
    ----------
    error : float
        Error of the mean, as a fraction of R.
    influence : float
        Change of the mean by one star, as a fraction, if it is also beyond 1 sigma.
    means : float
        Difference between two means, as a fraction, if it is also beyond 1 sigma.
    kinds : float
        Difference of hot and solar-type stars in units of its error.
    join : float
        Step that was taken out, as a fraction.
    level : float
        Distance of the median ratio of an observation from 1.
    masked : float
        Part of the points within the valid range that is left out.
    misfit : float
        Part of the points of an order in sections of the curve that do not follow them; the
        short sections about the peak of order 2 never do.
    extent : float
        Part of the wavelengths at which a limit must be passed to count.
    """

    error: float = 0.02
    influence: float = 0.005
    means: float = 0.01
    kinds: float = 3.0
    join: float = 0.005
    level: float = 0.2
    masked: float = 0.5
    misfit: float = 0.2
    extent: float = 0.02


def _where(wavelength: np.ndarray, passed: np.ndarray) -> str:
    """Name the widest run of wavelengths at which a limit is passed."""
    spans = flagged_intervals(wavelength, passed)
    low, high = max(spans, key=lambda span: span[1] - span[0])
    more = ", and elsewhere" if len(spans) > 1 else ""
    return f"{low:.2f} to {high:.2f} um{more}"


def flag_result(one: OrderResult, limits: FlagLimits | None = None) -> list[Flag]:
    """Flag what is to be looked at in a combined order.

    Parameters
    ----------
    one : OrderResult
        The order.
    limits : FlagLimits, optional
        Limits.

    Returns
    -------
    list of Flag
        What was found.
    """
    limits = limits or FlagLimits()
    known, name = one.known, f"Order {one.order}"
    if not known.any():
        return [Flag("error", f"{name} has no mean at any wavelength.", "combination")]
    flags = []
    total = one.total_error
    bad = known & ~np.isfinite(total)
    if bad.any():
        text = f"{name}: the mean has no error at {_where(one.wavelength, bad)}."
        flags.append(Flag("error", text, "budget"))
    least = limits.extent * known.sum()

    def look(values: np.ndarray, limit: float) -> np.ndarray | None:
        passed = known & np.isfinite(values) & (np.nan_to_num(values) > limit)
        return passed if passed.sum() > least else None

    large = look(total, limits.error)
    if large is not None:
        text = f"{name}: the error is above {100 * limits.error:g} per cent at "
        flags.append(Flag("warning", f"{text}{_where(one.wavelength, large)}.", "budget"))
    for star, change in sorted(one.influence.items()):
        size = np.abs(change)
        moved = look(np.where(size > total, size, 0.0), limits.influence)
        if moved is not None:
            text = (
                f"{name}: {star} alone moves the mean by up to {100 * size[moved].max():.1f} per "
                f"cent, more than its error, at {_where(one.wavelength, moved)}."
            )
            flags.append(Flag("warning", text, "influence"))
    for other, values in one.means.items():
        away = np.abs(np.asarray(values, float) / one.mean - 1)
        apart = look(np.where(away > total, away, 0.0), limits.means)
        if apart is not None:
            text = (
                f"{name}: the {other.replace('_', ' ')} mean differs from the one taken by up to "
                f"{100 * away[apart].max():.1f} per cent, more than its error, at "
                f"{_where(one.wavelength, apart)}."
            )
            flags.append(Flag("warning", text, "combination"))
    steps = [join for join in one.joins if join.removed and abs(join.size) > limits.join]
    if steps:
        largest = max(steps, key=lambda join: abs(join.size))
        text = (
            f"{name}: {len(steps)} step(s) of more than {100 * limits.join:g} per cent taken out "
            f"where stars change, the largest {100 * largest.size:+.2f} per cent at "
            f"{largest.wavelength:.4f} um."
        )
        flags.append(Flag("warning", text, "joins"))
    if one.kinds is not None and abs(one.kinds.mean) > limits.kinds * one.kinds.mean_error:
        text = (
            f"{name}: {one.kinds.names[0]} less {one.kinds.names[1]} stars is "
            f"{100 * one.kinds.mean:+.2f} +- {100 * one.kinds.mean_error:.2f} per cent."
        )
        flags.append(Flag("warning", text, "budget"))
    alone = known & (one.n_stars < 2)
    if alone.sum() > least:
        text = f"{name}: a single star gives the mean at {_where(one.wavelength, alone)}."
        flags.append(Flag("warning", text, "coverage"))
    elif len(one.stars) < 3:
        flags.append(Flag("warning", f"{name} rests on {len(one.stars)} star(s).", "combination"))
    return flags


def flag_observation(
    orders: Sequence[OrderRatio],
    name: str,
    wanted: Sequence[int] = (1, 2),
    limits: FlagLimits | None = None,
) -> list[Flag]:
    """Flag what is to be looked at in one observation.

    Parameters
    ----------
    orders : sequence of OrderRatio
        The orders.
    name : str
        The observation, as in `ObservationPart.name`.
    wanted : sequence of int
        Orders that count.
    limits : FlagLimits, optional
        Limits.

    Returns
    -------
    list of Flag
        What was found.
    """
    limits = limits or FlagLimits()
    flags = []
    present = {one.order for one in orders}
    for order in wanted:
        if order not in present:
            flags.append(Flag("warning", f"{name} has no order {order}.", name))
    for one in orders:
        if one.order not in wanted:
            continue
        what = f"{name}, order {one.order}"
        good = one.mask == 0
        level = float(np.median(one.ratio[good])) if good.any() else np.nan
        if not good.any():
            flags.append(Flag("error", f"{what}: no good point is left.", name))
            continue
        if abs(level - 1) > limits.level:
            text = f"{what}: the median ratio is {level:.3f}, far from 1."
            flags.append(Flag("warning", text, name))
        valid = (one.mask & int(Mask.OUT_OF_RANGE | Mask.NOT_FINITE | Mask.NO_MODEL)) == 0
        lost = float(np.mean(one.mask[valid] != 0))
        if lost > limits.masked:
            text = f"{what}: {100 * lost:.0f} per cent of the valid range is left out."
            flags.append(Flag("warning", text, name))
        if one.fit_description.get("status") == "not fitted":
            text = f"{what}: no curve, {one.fit_description.get('reason')}."
            flags.append(Flag("warning", text, name))
        sections = one.fit_description.get("sections", ())
        failed = [section for section in sections if not section.get("passed", True)]
        missed = sum(section["n_points"] for section in failed)
        if missed > limits.misfit * sum(section["n_points"] for section in sections):
            ranges = ", ".join(f"{s['low']:.2f} to {s['high']:.2f} um" for s in failed)
            text = f"{what}: the residuals of the curve are more than noise at {ranges}."
            flags.append(Flag("note", text, name))
    return flags


def flag_trend(series: Sequence[TrendSeries]) -> list[Flag]:
    """Flag what is to be looked at in the throughput trend.

    Parameters
    ----------
    series : sequence of TrendSeries
        The orders or bands.

    Returns
    -------
    list of Flag
        Visits that are far off, and laws that are not flat.
    """
    flags = []
    for one in series:
        off = int(np.sum(one.outliers))
        if off:
            text = f"Throughput, {one.name}: {off} of {len(one.mjd)} visits are far off the law."
            flags.append(Flag("warning", text, "trend"))
        change = float(one.law_value[-1] - one.law_value[0]) if len(one.law_value) else 0.0
        error = float(one.law_error[-1]) if len(one.law_error) else 0.0
        if abs(change) > 3 * error > 0:
            text = (
                f"Throughput, {one.name}: it changes by {100 * change:+.2f} per cent over the "
                "visits."
            )
            flags.append(Flag("note", text, "trend"))
    return flags


def flag_missing(data: ReportData) -> list[Flag]:
    """Flag observations that failed and parts without which a delivery is weak.

    Parameters
    ----------
    data : ReportData
        The report.

    Returns
    -------
    list of Flag
        What is missing; to be added to the report's flags.
    """
    flags = []
    for one in data.observations:
        if one.state == "failed":
            text = f"{one.name} ({one.star}) failed: {one.reason or 'no reason is known'}"
            flags.append(Flag("error", text, one.name))
        elif one.state == "left out":
            text = f"{one.name} ({one.star}) is left out: {one.reason or 'no reason is given'}"
            flags.append(Flag("note", text, one.name))
    if data.validation is None:
        text = "The new file was not tried on an independent star."
        flags.append(Flag("warning", text, "validation"))
    if data.trend is None:
        flags.append(Flag("note", "There is no throughput trend.", "trend"))
    return flags
