"""Input of the pipelines: exposures, what belongs to each, and which are one exposure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stdatamodels.jwst import datamodels
from stdatamodels.jwst.datamodels import JwstDataModel

from soss_photcal_steps.background.inputs import ExposureInfo, read_products
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import is_association
from soss_photcal_steps.ratefile import RateFile, open_metadata

__all__ = ["Spec2Product", "describe", "first_exposure", "list_products", "with_other_segments"]


@dataclass(frozen=True)
class Spec2Product:
    """One exposure, or segment of one, with what belongs to it.

    Attributes
    ----------
    name : str
        What its products are named after.
    science : str or JwstDataModel
        The exposure.
    background : tuple
        Dedicated background exposures.
    others : tuple of dict
        Members of other kinds, as the association has them.
    fit_with : tuple of str
        The other segments of the exposure.
    """

    name: str
    science: Any
    background: tuple[Any, ...] = ()
    others: tuple[Mapping[str, Any], ...] = ()
    fit_with: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Give the product as it stands in an association, without the background members.

        Returns
        -------
        dict
            Name and members.
        """
        science = {"expname": self.science, "exptype": "science"}
        return {"name": self.name, "members": [science, *map(dict, self.others)]}


def first_exposure(data: Any) -> Any:
    """Give the first exposure of an input, whose metadata stand for the whole.

    Parameters
    ----------
    data : path, JwstDataModel, or list of them
        The input; a ``.json`` path is an association.

    Returns
    -------
    str or JwstDataModel
        The exposure.

    Raises
    ------
    SossInputError
        If the association cannot be read.
    """
    return list_products(data)[0].science


def list_products(data: Any) -> list[Spec2Product]:
    """List the exposures of an input.

    Parameters
    ----------
    data : path, JwstDataModel, or list of them
        The input; a ``.json`` path is a level-2 association.  A product of it with several
        science members becomes several.

    Returns
    -------
    list of Spec2Product
        The exposures.

    Raises
    ------
    SossInputError
        If the association cannot be read, or there is no exposure.
    """
    if isinstance(data, str | Path):
        path = str(data)
        if is_association(path):
            return [product for given in read_products(path) for product in _split(*given)]
        return [Spec2Product(os.path.basename(path), path)]
    if isinstance(data, JwstDataModel):
        return [Spec2Product(os.path.basename(data.meta.filename or "exposure"), data)]
    if isinstance(data, list | tuple) and data:
        return [product for item in data for product in list_products(item)]
    raise SossInputError(
        "The pipeline needs rate or rateints, as files, data models, a list of them or a level-2 "
        f"association, not {type(data).__name__ if data != [] else 'an empty list'}."
    )


def _split(name: str, members: Sequence[Mapping[str, Any]]) -> list[Spec2Product]:
    """Make a product of each science member."""
    kinds: dict[str, list[Mapping[str, Any]]] = {"science": [], "background": [], "": []}
    for member in members:
        kinds[member["exptype"] if member["exptype"] in kinds else ""].append(member)
    background = tuple(str(member["expname"]) for member in kinds["background"])
    science = [str(member["expname"]) for member in kinds["science"]]
    return [
        Spec2Product(
            name if name and len(science) == 1 else os.path.basename(path),
            path,
            background,
            tuple(kinds[""]),
        )
        for path in science
    ]


def describe(item: Any) -> ExposureInfo:
    """Read what the header of an exposure says, and nothing else of a file.

    Parameters
    ----------
    item : path or JwstDataModel
        The exposure.

    Returns
    -------
    ExposureInfo
        Instrument, exposure, segment, shape and state.

    Raises
    ------
    SossInputError
        If it is a file that cannot be read as rate or rateints.
    """
    if isinstance(item, JwstDataModel):
        return ExposureInfo.from_model(item)
    path = str(item)
    if not path.lower().endswith(".fits"):
        raise SossInputError(
            f"{path} is neither a FITS file nor an association, by its ending .fits or .json."
        )
    with RateFile(path) as source:
        model = open_metadata(source) if source.streamable else datamodels.open(path)
        try:
            model.meta.filename = os.path.basename(path)
            return ExposureInfo.from_model(model, source.shape if source.streamable else None)
        finally:
            model.close()


def with_other_segments(
    products: Sequence[Spec2Product], infos: Sequence[ExposureInfo]
) -> list[Spec2Product]:
    """Tell each product which of the others are segments of the same exposure.

    Parameters
    ----------
    products : sequence of Spec2Product
        The products.
    infos : sequence of ExposureInfo
        What the header of each says.

    Returns
    -------
    list of Spec2Product
        The products with their `fit_with`, and each with the background members of all its
        segments.  Data models have no other segments.

    Raises
    ------
    SossInputError
        If two files are the same segment of one exposure.
    """
    groups: dict[Any, dict[int, Spec2Product]] = {}
    keys = []
    for number, (product, info) in enumerate(zip(products, infos, strict=True)):
        key, segment = (number,), 0
        if info.segment is not None and len(info.shape) == 3 and isinstance(product.science, str):
            key = (*info.exposure, info.header["SUBARRAY"], info.filter)
            segment = info.segment
        known = groups.setdefault(key, {})
        if segment in known:
            raise SossInputError(
                f"{known[segment].science} and {product.science} are the same segment of one "
                "exposure; give each once."
            )
        known[segment] = product
        keys.append(key)
    results = []
    for product, key in zip(products, keys, strict=True):
        family = [member for _, member in sorted(groups[key].items())]
        background = dict.fromkeys(path for member in family for path in member.background)
        others = tuple(member.science for member in family if member is not product)
        results.append(replace(product, background=tuple(background), fit_with=others))
    return results
