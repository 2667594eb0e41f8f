"""The report of a calibration: from its products to one HTML file."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import soss_photcal_steps
from soss_photcal_steps.combine.inputs import RatioProduct, make_curves
from soss_photcal_steps.combine.pictures import trend_series
from soss_photcal_steps.combine.trends import find_trends
from soss_photcal_steps.models import (
    SossPhotomCorrectionModel,
    SossRatioModel,
    open_product,
    plain_orders,
)
from soss_photcal_steps.photom.check import check_photom
from soss_photcal_steps.photom.table import read_photom
from soss_photcal_steps.photom.validate_files import ValidationOutcome
from soss_photcal_steps.provenance import META_NAME, plain
from soss_photcal_steps.ratio.lines import hydrogen_lines
from soss_photcal_steps.report.content import Flag, ObservationPart, Part, Record, ReportData
from soss_photcal_steps.report.flags import (
    flag_missing,
    flag_observation,
    flag_result,
    flag_trend,
)
from soss_photcal_steps.report.html import write_report
from soss_photcal_steps.report.observations import (
    background_part,
    fits_part,
    observation_coverage,
    spectra_part,
)
from soss_photcal_steps.report.outcome import response_part, trend_part, validation_part
from soss_photcal_steps.report.results import order_responses, order_result
from soss_photcal_steps.report.sections import (
    budget_part,
    combination_part,
    coverage_part,
    influence_part,
    joins_part,
)
from soss_photcal_steps.report.trend_figure import TrendSeries

__all__ = ["make_report"]


def make_report(
    path: str,
    correction: str,
    products: Sequence[RatioProduct],
    old_photom: str | None,
    new_photom: str,
    failures: Sequence[tuple[str, str]] = (),
    tests: Sequence[ValidationOutcome] = (),
    untested: Sequence[str] = (),
) -> Path:
    """Write the report.

    Parameters
    ----------
    path : str
        The HTML file.
    correction : str
        The `SossPhotomCorrectionModel`.
    products : sequence of RatioProduct
        The ratio products that went in.
    old_photom : str or None
        The photom file that they were measured through, if it is at hand.
    new_photom : str
        The new photom file.
    failures : sequence of (str, str)
        Observations or files that failed, and why.
    tests : sequence of ValidationOutcome, optional
        The new file on stars that did not take part.
    untested : sequence of str, optional
        Why it could not be tried on others.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    SossInputError
        If a product cannot be read or the file cannot be written.
    """
    with open_product(correction, SossPhotomCorrectionModel) as model:
        entries = list(plain_orders(model))
        results = [order_result(entry) for entry in entries]
        ranges = {int(entry["order"]): tuple(entry["valid_range"]) for entry in entries}
        verdict = str(model.photom.verdict)
        notes = [str(note) for note in model.notes or ()]
        record = _record(model)
    observations = [_observation(one, Path(path).parent) for one in products]
    observations += [
        ObservationPart(name, "unknown", "failed", reason) for name, reason in failures
    ]
    series = _trends(products)
    data = ReportData(
        title=f"Photometric calibration of NIRISS SOSS: {os.path.basename(new_photom)}",
        facts={
            "New photom file": f"{os.path.basename(new_photom)}, {verdict}",
            "Measured through": os.path.basename(old_photom) if old_photom else "not at hand",
            "Observations": f"{len(products)} combined, {len(failures)} failed",
        },
        observations=observations,
        coverage=coverage_part(
            [
                observation_coverage(list(one.orders.values()), one.observation, one.star)
                for one in products
            ]
        ),
        combination=combination_part(results),
        influence=influence_part(results),
        response=None
        if old_photom is None
        else response_part(
            order_responses(read_photom(old_photom).rows, read_photom(new_photom).rows, ranges)
        ),
        joins=joins_part(results),
        budget=budget_part(results),
        trend=trend_part(series) if series else None,
        validation=_validations(tests) if tests else None,
        checks=check_photom(new_photom, old_photom, certify=False),
        record=record,
        missing={
            "trend": "It needs four visits of one star for stability.",
            "validation": "Try the new file on a star that was not used: soss-photcal validate.",
        },
    )
    flags = [Flag("note", note, "combination") for note in notes]
    for result in results:
        flags += flag_result(result)
    for one in products:
        flags += flag_observation(list(one.orders.values()), one.observation, sorted(ranges))
    flags += flag_trend(series)
    flags += [Flag("warning", text, "validation") for text in untested]
    flags += flag_missing(data)
    return write_report(_with_flags(data, flags), path)


def _validations(tests: Sequence[ValidationOutcome]) -> Part:
    """Show the new file on each star that did not take part."""
    parts = [
        validation_part(one.places[1].read_bytes(), one.star, one.numbers, one.notes)
        for one in tests
    ]
    pictures = [
        replace(picture, name=f"{picture.name}-{number}")
        for number, part in enumerate(parts, 1)
        for picture in part.pictures
    ]
    return Part(
        [text for part in parts for text in part.text],
        pictures,
        [table for part in parts for table in part.tables],
    )


def _with_flags(data: ReportData, flags: Sequence[Flag]) -> ReportData:
    return replace(data, flags=tuple(flags))


def _observation(one: RatioProduct, folder: Path) -> ObservationPart:
    """Show one observation."""
    orders = [one.orders[number] for number in sorted(one.orders)]
    lines = {name: list(found) for name, found in hydrogen_lines().items()}
    root = one.name.removesuffix("_sossratio.asdf")
    numbers: dict[str, Any] = {}
    with open_product(one.path, SossRatioModel) as model:
        for key, value in (getattr(model.background, "instance", None) or {}).items():
            numbers[str(key)] = value
    found = sorted(folder.glob(f"{root}*_sossbkg.png"))
    picture = found[0].read_bytes() if found else None
    has_background = picture is not None or bool(numbers)
    return ObservationPart(
        name=one.observation,
        star=one.star,
        facts={
            "Date": (one.date or "")[:10],
            "Frames": one.n_frames,
            "PWCPOS (deg)": one.settings["pwcpos"],
            "Role": one.role,
            "Extraction": one.settings["method"],
        },
        background=background_part(picture, one.observation, numbers) if has_background else None,
        spectra=spectra_part(orders, one.observation, one.star),
        fits=fits_part(orders, one.observation, one.star, lines),
    )


def _trends(products: Sequence[RatioProduct]) -> list[TrendSeries]:
    """Fit the throughput in time, where there are visits for it."""
    curves = [curve for order in (1, 2) for curve in make_curves(products, order, "fit")]
    return trend_series(curves, find_trends(curves))


def _record(model: SossPhotomCorrectionModel) -> Record:
    records = plain(getattr(model.meta, META_NAME).instance)
    own = records.get("soss_photom_combine", {})
    return Record(
        versions={
            "soss_photcal_steps": soss_photcal_steps.__version__,
            "jwst": _version("jwst"),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        inputs=list(own.get("inputs", ())),
        parameters={"soss_photom_combine": dict(own.get("options", {}))},
    )


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)
