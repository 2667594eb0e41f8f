"""Between the files of the combine step and its algorithms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from soss_photcal_steps.combine.combine import CombinedOrder, CombineOptions
from soss_photcal_steps.combine.consistency import ObservationMeta, check_consistency
from soss_photcal_steps.combine.curves import Curve
from soss_photcal_steps.combine.errors import (
    error_budget,
    group_difference,
    leave_one_star_out,
    star_scales,
)
from soss_photcal_steps.combine.inputs import RatioProduct
from soss_photcal_steps.combine.restrictions import apply_restrictions, parse_restrictions
from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.models import SossPhotomCorrectionModel
from soss_photcal_steps.provenance import plain
from soss_photcal_steps.strangers import check_text

__all__ = [
    "check_settings",
    "fill",
    "restrict",
    "summary_lines",
]

# A white dwarf and an A star have hydrogen lines and no molecules; solar-type stars differ in both.
_TYPES = {"hot": "hot", "A": "hot", "solar": "solar"}


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
            ObservationMeta.from_mapping(
                one.name,
                {
                    "observation": one.settings,
                    "grids": {order: grid for order, grid in grids.items() if order == 1},
                    "levels": {order: level for order, level in levels.items() if order == 1},
                },
            )
        )
    report = check_consistency(metas)
    report.raise_if_bad()
    return report.notes


def restrict(
    curves: Sequence[Curve], path: str | None, products: Sequence[RatioProduct] = ()
) -> tuple[list[Curve], list[str]]:
    """Leave out what the user wants to be left out.

    Parameters
    ----------
    curves : sequence of Curve
        Curves of all orders.
    path : str or None
        Table of restrictions.
    products : sequence of RatioProduct, optional
        The products, with the restrictions that an association gives them.

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
    found = [restriction for one in products for restriction in one.restrictions]
    if path is not None:
        try:
            check_text(path)
            with open(path, encoding="utf-8") as stream:
                text = stream.read()
        except (OSError, ValueError) as error:
            raise SossInputError(
                f"The table of restrictions {path} cannot be read: {reason(error)}."
            ) from error
        if not text.strip():
            raise SossInputError(f"The table of restrictions {path} is empty.")
        found += parse_restrictions(text, path)
    return apply_restrictions(curves, found) if found else (list(curves), [])


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
    kinds = {one.star: _TYPES.get(one.kind, "") for one in products}
    model.orders = [
        _entry(one, curves[order], options[order], kinds) for order, one in sorted(combined.items())
    ]
    model.meta.telescope = "JWST"
    model.meta.instrument.name = "NIRISS"
    model.meta.instrument.detector = "NIS"
    model.meta.exposure.type = "NIS_SOSS"


def _entry(
    one: CombinedOrder,
    curves: Sequence[Curve],
    options: CombineOptions,
    kinds: Mapping[str, str],
) -> dict[str, Any]:
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
        "observation_sigma": np.array(one.effects.observation_sigma, float),
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
    try:
        apart = group_difference(one.effects, kinds, ("hot", "solar"))
    except SossInputError:
        return entry
    entry["kinds"] = {
        "names": list(apart.names),
        "n_stars": [int(count) for count in apart.n_stars],
        "wavelength": np.array(apart.wavelength, float),
        "difference": np.array(apart.difference, float),
        "error": np.array(apart.error, float),
        "mean": float(apart.mean),
        "mean_error": float(apart.mean_error),
        "degrees": int(apart.degrees),
    }
    return entry
