"""The ratio products that go into a combination."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from soss_photcal_steps.combine.curves import Curve, curve_from_ratio
from soss_photcal_steps.combine.restrictions import Restriction, member_restrictions
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.level3 import read_product, short_number
from soss_photcal_steps.models import SossRatioModel, open_product
from soss_photcal_steps.ratio.order import Mask, OrderRatio
from soss_photcal_steps.ratio.standards import StandardsTable

__all__ = [
    "ListedProduct",
    "RatioProduct",
    "make_curves",
    "read_combine_association",
    "read_ratio_product",
]

# Member types of an association whose ratios are combined.
_MEMBERS = ("science", "stability")


@dataclass(frozen=True)
class RatioProduct:
    """A ratio product, as far as the combination needs it.

    Attributes
    ----------
    name : str
        File name.
    path : str
        The file; empty for a model in memory.
    star, kind : str
        The star and its kind.
    observation : str
        Program and observation, such as ``1091/2``.
    role : {"calibration", "stability"}
        Visits for stability of one star count as one curve.
    orders : dict of int to OrderRatio
        The ratios.
    n_frames : int
        Frames; 1 if the product does not say.
    date, date_end : str or None
        ISO dates of the first and last integration.
    mjd : float or None
        Middle of the exposure, MJD.
    settings : dict
        What the products of a combination must share, or what is to be known where they do not:
        photom file, its checksum, unit, extraction method and width, Tikhonov factor of ATOCA,
        PWCPOS, filter, subarray, version of jwst.
    restrictions : tuple of Restriction
        What the association leaves out of it.
    """

    name: str
    path: str
    star: str
    kind: str
    observation: str
    role: str
    orders: Mapping[int, OrderRatio]
    n_frames: int
    date: str | None
    date_end: str | None
    mjd: float | None
    settings: Mapping[str, Any]
    restrictions: tuple[Restriction, ...] = ()


def _get(model: SossRatioModel, group: str, name: str) -> Any:
    node = getattr(model, group, None)
    return None if node is None else getattr(node, name, None)


@dataclass(frozen=True)
class ListedProduct:
    """A member of an association of ratio products.

    Attributes
    ----------
    path : str
        The file.
    role : {"stability"} or None
        What the observation was for, if the association says so.
    restrictions : object
        What is left out of it, as `member_restrictions` reads it.
    """

    path: str
    role: str | None = None
    restrictions: Any = None


def read_ratio_product(
    item: Any, table: StandardsTable, role: str | None = None, restrictions: Any = None
) -> RatioProduct:
    """Read a ratio product.

    Parameters
    ----------
    item : path or SossRatioModel
        The product.
    table : StandardsTable
        The standard stars, which know what each observation was for.
    role : {"calibration", "stability"}, optional
        What the observation was for, in place of the table's word.
    restrictions : object, optional
        What is left out of it, as `member_restrictions` reads it.

    Returns
    -------
    RatioProduct
        The product.

    Raises
    ------
    SossInputError
        If it is no ratio product, or does not say which star it is of.
    """
    path = os.fspath(item) if isinstance(item, str | os.PathLike) else ""
    model = open_product(path, SossRatioModel) if path else item
    if not isinstance(model, SossRatioModel):
        raise SossInputError(f"A ratio product is needed, not {type(item).__name__}.")
    try:
        name = os.path.basename(path) or model.meta.filename or "a model in memory"
        star = _get(model, "star", "name")
        if not star:
            raise SossInputError(f"{name} does not say which star it is of.")
        program = _get(model, "observation", "program")
        number = _get(model, "observation", "observation")
        observation = "/".join(short_number(one) or "?" for one in (program, number))
        known = table.by_name(star)
        entry = known.observation(program, number) if known else None
        if role is None:
            role = entry.role if entry is not None else "calibration"
        return RatioProduct(
            name=name,
            path=path,
            star=star,
            kind=_get(model, "star", "kind") or (known.kind if known else "A"),
            observation=observation,
            role=role,
            orders=model.order_ratios(),
            n_frames=int(_get(model, "observation", "n_frames") or 1),
            date=_get(model, "observation", "date_begin"),
            date_end=_get(model, "observation", "date_end"),
            mjd=_get(model, "observation", "mjd_mid"),
            settings={
                "photom_file": _get(model, "calibration", "photom_file"),
                "photom_checksum": _get(model, "calibration", "photom_checksum"),
                "flux_unit": _get(model, "calibration", "flux_unit"),
                "method": _get(model, "extraction", "method"),
                "width": _get(model, "extraction", "width"),
                "tikhonov_factor": _get(model, "extraction", "tikhonov_factor"),
                "pwcpos": _get(model, "observation", "pwcpos"),
                "filter": _get(model, "observation", "filter"),
                "subarray": _get(model, "observation", "subarray"),
                "cal_version": _get(model, "calibration", "cal_version"),
            },
            restrictions=tuple(member_restrictions(restrictions, name, observation)),
        )
    finally:
        if path:
            model.close()


def read_combine_association(
    path: str | os.PathLike[str],
) -> tuple[list[ListedProduct], str]:
    """List the members of an association whose ratios are combined.

    Parameters
    ----------
    path : path
        A level-3 style association with one product; its members are ratio products, of the
        type ``science`` or ``stability``.  A member with ``excluded`` is left out.

    Returns
    -------
    members : list of ListedProduct
        The members.
    product : str
        Name of the product.

    Raises
    ------
    SossInputError
        If it is not such an association.
    """
    name, members = read_product(path)
    chosen = []
    for number, member in enumerate(members, 1):
        file, kind = member.get("expname"), member.get("exptype", "science")
        if not isinstance(file, str) or not isinstance(kind, str):
            raise SossInputError(
                f"Member {number} of {path} must have text for expname and exptype."
            )
        if kind.lower() in _MEMBERS:
            role = "stability" if kind.lower() == "stability" else None
            place = os.path.join(os.path.dirname(os.fspath(path)), file)
            chosen.append(ListedProduct(place, role, member.get("restrictions")))
    if not chosen:
        raise SossInputError(f"{path} has no members of the type science or stability.")
    return chosen, name


def make_curves(products: Sequence[RatioProduct], order: int, use: str) -> list[Curve]:
    """Make the curves of one order.

    Parameters
    ----------
    products : sequence of RatioProduct
        The products.
    order : int
        Spectral order.
    use : {"fit", "ratio"}
        Smooth curves, or ratios.

    Returns
    -------
    list of Curve
        One for each product that has the order with something in it.
    """
    curves = []
    for product in products:
        item = product.orders.get(order)
        if item is None or item.wavelength.size < 2:
            continue
        curve = curve_from_ratio(
            item, product.star, product.observation, use=use, n_frames=product.n_frames,
            group="stability" if product.role == "stability" else None, mjd=product.mjd,
        )  # fmt: skip
        # A curve bridges what was masked, but says nothing where the star is not to be believed.
        curve = curve.with_valid((item.mask & int(Mask.OUT_OF_RANGE)) == 0)
        if curve.valid.any():
            curves.append(curve)
    return curves
