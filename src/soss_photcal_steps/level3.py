"""Level-3 style associations: one product and its members."""

from __future__ import annotations

import os
from typing import Any

from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.strangers import read_json

__all__ = ["EXPOSURE_CARDS", "read_product", "short_number"]

#: Header cards that tell exposures of one observation apart.
EXPOSURE_CARDS = ("VISIT", "VISITGRP", "SEQ_ID", "ACT_ID", "EXPOSURE")


def read_product(path: str | os.PathLike[str]) -> tuple[str, list[dict[str, Any]]]:
    """Read the product of an association.

    Parameters
    ----------
    path : path
        The association, with one product.

    Returns
    -------
    name : str
        Name of the product; that of the file without its ending, if it has none.
    members : list of dict
        Its members as they stand there, but for those that have ``excluded``.

    Raises
    ------
    SossInputError
        If it is not readable, has not one product, or that has a path for a name.
    """
    try:
        products = read_json(path)["products"]
        count = len(products)
        if count == 1:
            label = os.path.splitext(os.path.basename(path))[0]
            name = str(products[0].get("name") or label)
            members = [dict(member) for member in products[0]["members"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise SossInputError(f"{path} is not a readable association: {reason(error)}.") from error
    if count != 1:
        raise SossInputError(f"{path} has {count} products; one is needed.")
    if os.path.basename(name) != name or name in ("", ".", ".."):
        raise SossInputError(f"The product of {path} has the name {name!r}; no path is wanted.")
    return name, [member for member in members if not member.get("excluded")]


def short_number(value: Any) -> str:
    """Write the number of a program or an observation without leading zeros.

    Parameters
    ----------
    value : object
        The number or its text; None if it is not known.

    Returns
    -------
    str
        The text; empty if it is not known.
    """
    text = str(value if value is not None else "").strip()
    return text.lstrip("0") or text
