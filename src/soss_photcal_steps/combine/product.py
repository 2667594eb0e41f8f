"""Between the files of the combine step and its algorithms."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from soss_photcal_steps.combine.combine import CombinedOrder, CombineOptions
from soss_photcal_steps.combine.consistency import ObservationMeta, check_consistency
from soss_photcal_steps.combine.curves import Curve
from soss_photcal_steps.combine.errors import error_budget, leave_one_star_out, star_scales
from soss_photcal_steps.combine.inputs import RatioProduct
from soss_photcal_steps.combine.restrictions import apply_restrictions, parse_restrictions
from soss_photcal_steps.combine.time import TrendFit
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import fingerprint
from soss_photcal_steps.models import SossPhotomCorrectionModel, plain_orders
from soss_photcal_steps.photom.header import DeliveryHeader, pedigree
from soss_photcal_steps.provenance import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "check_file",
    "check_settings",
    "delivery_header",
    "figures",
    "fill",
    "find_photom",
    "note_photom",
    "restrict",
    "summary_lines",
    "write_photom_file",
]


def check_settings(products: Sequence[RatioProduct]) -> list[str]:
    """Make sure that ratios belong together.

    Parameters
    ----------
    products : sequence of RatioProduct
        The products.

    Returns
    -------
    list of str
        What is to be known, as sentences.

    Raises
    ------
    SossInputError
        If some do not fit the others; they are named.
    """
    names = [one.observation for one in products]
    repeated = sorted({name for name in names if names.count(name) > 1 and "?" not in name})
    if repeated:
        files = ", ".join(one.name for one in products if one.observation == repeated[0])
        raise SossInputError(f"Observation {repeated[0]} comes more than once: {files}.")
    metas = []
    for one in products:
        grids, levels = {}, {}
        for order, item in one.orders.items():
            good = item.ratio[item.mask == 0]
            grids[order] = (item.wavelength.size, item.wavelength[0], item.wavelength[-1])
            if good.size:
                levels[order] = float(np.median(good))
        # Order 3 and the red end of order 2 are faint; their typical ratio says nothing.
        metas.append(
            ObservationMeta(
                name=one.name,
                photom_file=one.settings["photom_file"],
                photom_checksum=one.settings["photom_checksum"],
                method=one.settings["method"],
                width=one.settings["width"],
                pwcpos=one.settings["pwcpos"],
                grids={order: grid for order, grid in grids.items() if order == 1},
                levels={order: level for order, level in levels.items() if order == 1},
            )
        )
    report = check_consistency(metas)
    report.raise_if_bad()
    return report.notes


def restrict(curves: Sequence[Curve], path: str | None) -> tuple[list[Curve], list[str]]:
    """Leave out what the user wants to be left out.

    Parameters
    ----------
    curves : sequence of Curve
        Curves of all orders.
    path : str or None
        Table of restrictions.

    Returns
    -------
    curves : list of Curve
        What is left.
    sentences : list of str
        What was done.

    Raises
    ------
    SossInputError
        If the table cannot be read.
    """
    if path is None:
        return list(curves), []
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise SossInputError(f"The table of restrictions {path} cannot be read: {error}.") from (
            error
        )
    return apply_restrictions(curves, parse_restrictions(text, path))


def find_photom(products: Sequence[RatioProduct], given: str | None) -> str:
    """Find the photom file that ratios were measured through.

    Parameters
    ----------
    products : sequence of RatioProduct
        The products.
    given : str or None
        The file, if the user named it.

    Returns
    -------
    str
        The file.

    Raises
    ------
    SossInputError
        If it is not there, or not the one that the products name.
    """
    names = {one.settings["photom_file"] for one in products if one.settings["photom_file"]}
    name = next(iter(names), None)
    if given is not None:
        if not os.path.isfile(given):
            raise SossInputError(f"The photom file {given} does not exist.")
        sums = {one.settings["photom_checksum"] for one in products} - {None, ""}
        if sums:
            if fingerprint(given, "full").sha256 not in sums:
                raise SossInputError(
                    f"{given} is not the photom file that the ratios were measured through "
                    f"({name}): its checksum is another."
                )
        elif name and os.path.basename(given) != name:
            raise SossInputError(
                f"The ratios were measured through {name}, not through {os.path.basename(given)}."
            )
        return given
    cache = os.environ.get("CRDS_PATH")
    for place in ("niriss", "") if cache and name else ():
        path = os.path.join(str(cache), "references", "jwst", place, str(name))
        if os.path.isfile(path):
            return path
    raise SossInputError(
        f"The photom file {name or ''} that the ratios were measured through is needed; name it "
        "with photom."
    )


def summary_lines(combined: CombinedOrder) -> list[str]:
    """Say in words what came out of one order.

    Parameters
    ----------
    combined : CombinedOrder
        The order.

    Returns
    -------
    list of str
        Sentences.
    """
    low, high = combined.valid_range
    mean = combined.mean
    known = np.isfinite(mean.value)
    lines = [
        f"Order {combined.order}: {len(combined.curves.names)} curves of "
        f"{len(combined.curves.star_names)} stars, {low:.3f} to {high:.3f} um, {combined.method}: "
        f"R {np.median(mean.value[known]):.4f} (median), error "
        f"{100 * np.median(mean.total_error[known]):.2f} per cent."
    ]
    for join in combined.joins[combined.method]:
        lines.append(
            f"Order {combined.order}: step of {100 * join.size:+.3f} +- {100 * join.error:.3f} per "
            f"cent at {join.wavelength:.4f} um, where the contributors change; "
            f"{'taken out' if join.removed else 'left in'}."
        )
    splice = combined.splices.get(combined.method)
    if splice is not None:
        lines.append(
            f"Order {combined.order}: one observation beyond {splice.wavelength:.4f} um, scaled by "
            f"{splice.scale:.4f}."
        )
    return [*lines, *combined.notes]


def fill(
    model: SossPhotomCorrectionModel,
    products: Sequence[RatioProduct],
    combined: Mapping[int, CombinedOrder],
    curves: Mapping[int, Sequence[Curve]],
    notes: Sequence[str],
    options: Mapping[int, CombineOptions],
) -> None:
    """Fill a correction product; the model is edited.

    Parameters
    ----------
    model : SossPhotomCorrectionModel
        The product.
    products : sequence of RatioProduct
        What went in.
    combined : mapping of int to CombinedOrder
        What came out, by order.
    curves : mapping of int to sequence of Curve
        The curves before they were grouped.
    notes : sequence of str
        What was left out.
    options : mapping of int to CombineOptions
        How each order was combined.
    """
    model.observations = [
        {
            "file": one.name,
            "star": one.star,
            "kind": one.kind,
            "observation": one.observation,
            "role": one.role,
            "mjd": one.mjd,
            "pwcpos": one.settings["pwcpos"],
            "n_frames": one.n_frames,
            "used": {
                str(order): any(c.observation == one.observation for c in curves[order])
                for order in combined
            },
        }
        for one in products
    ]
    model.notes = [*notes, *(note for one in combined.values() for note in one.notes)]
    model.orders = [
        _entry(one, curves[order], options[order]) for order, one in sorted(combined.items())
    ]
    model.meta.telescope = "JWST"
    model.meta.instrument.name = "NIRISS"
    model.meta.instrument.detector = "NIS"
    model.meta.exposure.type = "NIS_SOSS"


def _entry(one: CombinedOrder, curves: Sequence[Curve], options: CombineOptions) -> dict[str, Any]:
    splice = one.splices.get(one.method)
    mean = one.mean
    entry: dict[str, Any] = {
        "order": int(one.order),
        "method": one.method,
        "wavelength": np.array(one.wavelength, float),
        "correction": np.array(mean.value, float),
        "stat_error": np.array(mean.stat_error, float),
        "sys_error": np.array(mean.sys_error, float),
        "n_stars": np.array(one.n_stars, np.int32),
        "star_sigma": np.array(one.effects.star_sigma, float),
        "means": {
            name: {
                "value": np.array(other.value, float),
                "unjoined": np.array(one.unjoined[name], float),
                "stat_error": np.array(other.stat_error, float),
                "sys_error": np.array(other.sys_error, float),
            }
            for name, other in one.means.items()
        },
        "curves": {
            "stars": list(one.curves.stars),
            "observations": list(one.curves.observations),
            "ratio": np.array(one.curves.ratio, float),
            "stat_error": np.array(one.curves.stat_error, float),
            "used": np.array(mean.used, bool),
        },
        "joins": [
            {key: plain(value) for key, value in asdict(join).items()}
            for join in one.joins[one.method]
        ],
        "valid_range": [float(limit) for limit in one.valid_range],
        "grey_scales": {
            scale.star: {"scale": float(scale.scale), "error": float(scale.error)}
            for scale in star_scales(one.effects)
        },
        "budget": [plain(asdict(row)) for row in error_budget(one)],
    }
    if splice is not None:
        entry["splice"] = {
            "wavelength": float(splice.wavelength), "scale": float(splice.scale),
        }  # fmt: skip
    if len(one.curves.star_names) > 1:
        influence = leave_one_star_out(curves, options, one.wavelength)
        entry["influence"] = {star: np.array(values, float) for star, values in influence.items()}
    return entry


def delivery_header(
    products: Sequence[RatioProduct],
    combined: Mapping[int, CombinedOrder],
    author: str,
    given_pedigree: str | None,
    description: str,
    useafter: str | None,
) -> DeliveryHeader:
    """Make the header of the photom file.

    Parameters
    ----------
    products : sequence of RatioProduct
        What went in.
    combined : mapping of int to CombinedOrder
        What came out.
    author : str
        AUTHOR.
    given_pedigree : str or None
        PEDIGREE, if the user gave it.
    description : str
        DESCRIP.
    useafter : str or None
        USEAFTER, if the user gave it.

    Returns
    -------
    DeliveryHeader
        The header, with the method in its history.

    Raises
    ------
    SossInputError
        If the dates are not known and no pedigree is given, or a value is not valid.
    """
    days = [date[:10] for one in products for date in (one.date, one.date_end) if date]
    if given_pedigree is None and not days:
        raise SossInputError(
            "No ratio product says when it was observed; give the pedigree of the photom file."
        )
    lines = [
        "Response divided by the mean ratio R of observed to model flux of standard stars.",
        *(line for one in combined.values() for line in summary_lines(one)),
    ]
    for one in products:
        lines.append(f"{one.star}, {one.observation}, {one.role}, {one.n_frames} frames")
    return DeliveryHeader(
        author=author,
        pedigree=given_pedigree or pedigree(days),
        description=description,
        useafter=useafter,
        history=tuple(lines),
    )


def write_photom_file(
    path: str,
    old: str,
    combined: Mapping[int, CombinedOrder],
    header: DeliveryHeader,
    products: Sequence[RatioProduct],
    outside_error: float,
    trends: Mapping[int, TrendFit] | None = None,
) -> list[str]:
    """Write the new photom file.

    Parameters
    ----------
    path : str
        The new file.
    old : str
        The file that the ratios were measured through.
    combined : mapping of int to CombinedOrder
        The corrections.
    header : DeliveryHeader
        Its header.
    products : sequence of RatioProduct
        What went in.
    outside_error : float
        Relative error beyond the measured wavelengths.
    trends : mapping of int to TrendFit, optional
        Throughput trends to be written into the file, by order.

    Returns
    -------
    list of str
        What was done to each row.

    Raises
    ------
    SossInputError
        If it cannot be made.
    """
    from soss_photcal_steps.photom.table import read_photom
    from soss_photcal_steps.photom.time_tables import make_time_tables
    from soss_photcal_steps.photom.write import describe_changes, make_photom_file

    tables = None
    if trends is not None:
        given = {
            ("CLEAR", "GR700XD", order): fit.trend
            for order, fit in trends.items()
            if fit.trend is not None and order in combined
        }
        before = read_photom(old)
        if before.time_tables:
            raise SossInputError(
                f"{os.path.basename(old)} has time tables already, so the ratios say how the "
                "throughput differs from them; leave time_tables out to keep them."
            )
        tables = make_time_tables(before.rows, given)
    new = make_photom_file(
        old,
        [one.correction() for one in combined.values()],
        path,
        header,
        inputs=[one.path for one in products if one.path],
        outside_error=outside_error,
        time_tables=tables,
    )
    return list(describe_changes(new))


def check_file(path: str, old: str) -> tuple[str, list[tuple[str, str]]]:
    """Check the new photom file.

    Parameters
    ----------
    path, old : str
        New and old file.

    Returns
    -------
    verdict : str
        In words.
    findings : list of (severity, text)
        What was found.
    """
    from soss_photcal_steps.photom.check import check_photom

    report = check_photom(path, old)
    return report.verdict, [(one.severity, one.text) for one in report.findings]


def note_photom(
    model: SossPhotomCorrectionModel, old: str, new: str, verdict: str, findings: Sequence[str]
) -> None:
    """Write down which photom files there are; the model is edited.

    Parameters
    ----------
    model : SossPhotomCorrectionModel
        The product.
    old, new : str
        Old and new file.
    verdict : str
        Verdict of the checks.
    findings : sequence of str
        What they found.
    """
    model.photom = {
        "old_file": os.path.basename(old),
        "old_checksum": fingerprint(old).sha256,
        "new_file": os.path.basename(new),
        "verdict": verdict,
        "findings": list(findings),
    }


def figures(model: SossPhotomCorrectionModel, old: str, new: str) -> dict[str, Figure]:
    """Draw the combination, and the old and the new response.

    Parameters
    ----------
    model : SossPhotomCorrectionModel
        The correction.
    old, new : str
        Photom files.

    Returns
    -------
    dict of str to Figure
        By the ending of the file's name.
    """
    from soss_photcal_steps.photom.scale import photmj_unit
    from soss_photcal_steps.photom.table import read_photom
    from soss_photcal_steps.report.combination_figure import combination_figure, influence_figure
    from soss_photcal_steps.report.response_figure import response_figure

    before, after = read_photom(old).rows, read_photom(new).rows
    unit = f"{photmj_unit(after) or 'flux'}/(DN/s)"
    drawn = {}
    for entry in plain_orders(model):
        order, curves = int(entry["order"]), entry["curves"]
        x = np.array(entry["wavelength"])
        stat, sys = np.array(entry["stat_error"]), np.array(entry["sys_error"])
        ratio = np.where(np.array(curves["used"]), np.array(curves["ratio"]), np.nan)
        labels = [
            f"{star} {name}"
            for star, name in zip(curves["stars"], curves["observations"], strict=True)
        ]
        drawn[f"sosscorr-order{order}"] = combination_figure(
            x,
            list(zip(labels, curves["stars"], ratio, strict=True)),
            {name: np.array(mean["value"]) for name, mean in entry["means"].items()},
            entry["method"],
            stat,
            sys,
            [(join["wavelength"], join["size"]) for join in entry["joins"]],
            f"Order {order}: {len(labels)} curves of {len(set(curves['stars']))} stars",
        )
        if entry.get("influence"):
            drawn[f"sosscorr-influence{order}"] = influence_figure(
                x,
                {star: np.array(change) for star, change in entry["influence"].items()},
                np.hypot(stat, sys),
                f"Order {order}: influence of each star",
            )
        for one, other in zip(before, after, strict=True):
            if other.order != order or other.filter.strip() != "CLEAR":
                continue
            # Beyond nelem there is padding.
            grid = other.wavelength[: other.nelem]
            drawn[f"sosscorr-response{order}"] = response_figure(
                grid,
                one.photmj
                / other.photmj
                * np.interp(grid, one.wavelength[: one.nelem], one.relresponse[: one.nelem]),
                other.relresponse[: other.nelem],
                np.hypot(
                    other.reluncertainty[: other.nelem],
                    other.uncertainty / other.photmj * other.relresponse[: other.nelem],
                ),
                tuple(entry["valid_range"]),
                f"Order {order}: {os.path.basename(old)} and {os.path.basename(new)}",
                f"in {other.photmj:.4g} {unit}",
            )
    return drawn
