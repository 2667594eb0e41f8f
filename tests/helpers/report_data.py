"""A report of a small synthetic campaign, from arrays alone."""

import numpy as np
from matplotlib.figure import Figure

from soss_photcal_steps.photom.findings import CheckReport, note, warning
from soss_photcal_steps.photom.validate import RangeNumbers
from soss_photcal_steps.ratio.order import Mask, OrderRatio
from soss_photcal_steps.report.background_figure import background_figure
from soss_photcal_steps.report.content import ObservationPart, Record, ReportData
from soss_photcal_steps.report.flags import flag_missing, flag_observation, flag_result
from soss_photcal_steps.report.observations import (
    background_part,
    fits_part,
    observation_coverage,
    spectra_part,
)
from soss_photcal_steps.report.outcome import response_part, trend_part, validation_part
from soss_photcal_steps.report.results import JoinMark, OrderResponse, OrderResult
from soss_photcal_steps.report.sections import (
    budget_part,
    combination_part,
    coverage_part,
    influence_part,
    joins_part,
)
from soss_photcal_steps.report.trend_figure import TrendSeries

RANGES = {1: (0.85, 2.83), 2: (0.6, 1.0)}
STARS = {
    "1091/2": "BD+60 1753",
    "1537/2": "G191 B2B",
    "1538/12": "GSPC P177-D",
    "6606/42": "GSPC P330-E",
}


def grid(order, points=300):
    """Give the wavelengths of an order."""
    return np.linspace(*RANGES[order], points)


def order_ratio(order, seed, points=300):
    """Make one order of an observation: a slope, noise, a line and a contaminated interval."""
    rng = np.random.default_rng([seed, order])
    x = grid(order, points)
    model = 0.1 / x**2
    curve = 1 - 0.05 * (x - x[0]) + rng.normal(0, 0.004)
    ratio = curve + rng.normal(0, 0.003, points)
    mask = np.zeros(points, np.uint32)
    mask[40:46] = int(Mask.PASCHEN)
    mask[200:220] = int(Mask.CONTAMINATION)
    ratio[200:220] += 0.05
    error = np.full(points, 0.003)
    section = {
        "low": float(x[0]), "high": float(x[-1]), "method": "legendre", "degree": 2, "knots": [],
        "rms": 0.003, "n_points": 274, "n_rejected": 1, "chi_square": 1.1, "passed": True,
    }  # fmt: skip
    return OrderRatio(
        order=order, wavelength=x, observed=ratio * model, observed_error=error * model,
        n_used=np.full(points, 20), model=model, model_stat_error=0 * x,
        model_sys_error=0.01 * model,
        ratio=ratio, ratio_error=error, mask=mask, fit=curve, fit_error=np.full(points, 0.0005),
        fit_description={"status": "fitted", "reason": "", "sections": [section]},
    )  # fmt: skip


def order_result(order, points=300):
    """Make a combined order of four stars, one of which ends in the middle."""
    x = grid(order, points)
    true = 1 - 0.05 * (x - x[0])
    curves = []
    for number, (observation, star) in enumerate(STARS.items()):
        ratio = true * (1 + 0.004 * (number - 1.5) + 0.002 * np.sin(3 * x + number))
        if number == 1:
            ratio[points // 2 :] = np.nan
        curves.append((f"{star} {observation}", star, ratio))
    clipped = np.nanmean([ratio for _, _, ratio in curves], axis=0)
    means = {"clipped": clipped, "weighted": true * 1.001, "random_effects": true}
    influence = {star: 0.003 * (k - 1.5) * np.ones(points) for k, star in enumerate(STARS.values())}
    middle = float(x[points // 2])
    return OrderResult(
        order=order, wavelength=x, curves=curves, means=means, method="random_effects",
        stat_error=np.full(points, 0.001), sys_error=0.003 + 0.001 * (x - x[0]),
        n_stars=np.where(np.arange(points) < points // 2, 4, 3),
        joins=[
            JoinMark(middle, -0.0021, 0.0004, True, "G191 B2B 1537/2 ends"),
            JoinMark(middle - 0.1, 0.00002, np.inf, False, "GSPC P177-D 1538/12 begins"),
        ],
        influence=influence, parts={"differences between stars": np.full(points, 0.006)},
    )  # fmt: skip


def response(order, points=300):
    """Make an old and a new response."""
    x = grid(order, points)
    old = 1e-3 * (1 + x)
    new = old / (1 - 0.05 * (x - x[0]))
    measured = (float(x[20]), float(x[-20]))
    return OrderResponse(order, x, old, new, 0.004 * new, measured, "Jy/(DN/s)")


def trend(name="order 1"):
    """Make a linear trend of twelve visits, one of which is far off."""
    rng = np.random.default_rng(3)
    days = 59700.0 + 90 * np.arange(12)
    value = 1 - 0.002 * (days - days[0]) / 365
    ratio = value + rng.normal(0, 0.0003, 12)
    ratio[5] += 0.004
    return TrendSeries(
        name, days, ratio, np.full(12, 0.0002), np.arange(12) == 5, 0.0002,
        "linear, 0.20 +- 0.01 per cent per year", days, value, 0.0001 * (days - days[0]) / 365,
    )  # fmt: skip


def background(ny=32, nx=400):
    """Make the picture of a background subtraction."""
    rng = np.random.default_rng(1)
    sky = np.where(np.arange(nx) < 140, 3.0, 4.0) + np.zeros((ny, 1))
    wing = (30 / (5 + np.arange(ny)))[:, None] + np.zeros(nx)
    mask = np.ones((ny, nx), bool)
    mask[:8] = False
    return background_figure(
        sky + wing + rng.normal(0, 0.1, (ny, nx)), sky, wing, mask, np.full(ny, 140.0),
        np.arange(5) * 20.0, [f"template {k}" for k in range(5)], 0, "background",
    )  # fmt: skip


def observation(name, star, seed, state="used", points=300, picture=None):
    """Make one observation with all its parts."""
    orders = [order_ratio(order, seed, points) for order in RANGES]
    facts = {
        "Role": "calibration", "Date": "2023-01-02", "Integrations": 20 + seed, "Groups": 30,
        "Filter": "CLEAR", "PWCPOS (deg)": 245.76 + 0.01 * seed,
    }  # fmt: skip
    numbers = {"template": "zodi_3", "scale left": 1.031, "scale right": 0.987}
    return ObservationPart(
        name, star, state, facts=facts,
        background=background_part(picture or background(), name, numbers),
        spectra=spectra_part(orders, name, star),
        fits=fits_part(orders, name, star, {"Paschen": [1.0052, 1.0941, 1.2822]}),
    )  # fmt: skip


def report_data(title="SOSS photometric calibration", **changes):
    """Make the whole report."""
    observations = [
        observation(name, star, seed) for seed, (name, star) in enumerate(STARS.items())
    ]
    observations.append(
        ObservationPart("4498/24", "GSPC P330-E", "failed", "The file is truncated.")
    )
    results = [order_result(order) for order in RANGES]
    coverage = [
        observation_coverage([order_ratio(order, seed) for order in RANGES], name, star)
        for seed, (name, star) in enumerate(STARS.items())
    ]
    check = CheckReport(
        "new_photom.fits",
        (note("certify", "crds certify 14 has no error."), warning("jump", "A jump at 1.2 um.")),
    )
    numbers = [RangeNumbers(1, 0.9, 1.2, 90, 1.001, 0.998, 1.003, 0.002, 1e-4, 1e-3, 4e-3, 0.97)]
    figure = Figure(figsize=(5, 3))
    figure.subplots().plot(grid(1), 1 + 0 * grid(1))
    record = Record(
        {"soss_photcal_steps": "0.1", "jwst": "3.0.0"},
        [
            {
                "name": "jw01091002001_rateints.fits",
                "size": 123,
                "method": "full",
                "sha256": "ab" * 32,
            }
        ],
        {"soss_ratio": {"method": "auto", "degree": None, "windows": [0.1, 0.2]}},
    )
    data = {
        "title": title,
        "facts": {"Old file": "jwst_niriss_photom_0041.fits", "New file": "new_photom.fits"},
        "observations": observations,
        "coverage": coverage_part(coverage),
        "combination": combination_part(results),
        "influence": influence_part(results),
        "response": response_part([response(order) for order in RANGES]),
        "joins": joins_part(results),
        "budget": budget_part(results),
        "trend": trend_part([trend("order 1"), trend("order 2")]),
        "validation": validation_part(figure, "HD 59533", numbers),
        "checks": check,
        "record": record,
    }
    flags = [flag for one in results for flag in flag_result(one)]
    flags += [
        flag
        for seed, name in enumerate(STARS)
        for flag in flag_observation([order_ratio(order, seed) for order in RANGES], name)
    ]
    whole = ReportData(**{**data, **changes})
    return ReportData(**{**data, "flags": [*flags, *flag_missing(whole)], **changes})
