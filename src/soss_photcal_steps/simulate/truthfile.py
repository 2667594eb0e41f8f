"""Truth of simulated observations in ASDF files beside them."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import asdf
import numpy as np

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import atomic_path
from soss_photcal_steps.simulate.truth import ObservationTruth, OrderTruth

__all__ = ["read_truth", "read_truths", "write_truth"]

_KEY = "soss_photcal_truth"
_SUFFIX = "_truth.asdf"


def _plain(value: Any) -> Any:
    """Give a value without tuples, which ASDF does not keep."""
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def write_truth(truth: ObservationTruth, path: str | os.PathLike[str]) -> Path:
    """Write the truth of an observation.

    Parameters
    ----------
    truth : ObservationTruth
        The truth.
    path : path
        The ASDF file; an older one of this name is replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    SossInputError
        If the folder does not exist.
    """
    tree = {item.name: _plain(getattr(truth, item.name)) for item in fields(truth)}
    tree["plan"] = {name: _plain(value) for name, value in truth.plan.items()}
    tree["orders"] = {
        str(number): {item.name: np.array(getattr(order, item.name)) for item in fields(order)[1:]}
        for number, order in truth.orders.items()
    }
    with asdf.AsdfFile({_KEY: tree}) as file, atomic_path(path) as temporary:
        file.write_to(temporary, all_array_compression="zlib")
    return Path(path)


def read_truth(path: str | os.PathLike[str]) -> ObservationTruth:
    """Read the truth of an observation.

    Parameters
    ----------
    path : path
        The file that `write_truth` wrote.

    Returns
    -------
    ObservationTruth
        The truth.

    Raises
    ------
    SossInputError
        If the file is missing or not of that kind.
    """
    try:
        with asdf.open(path, lazy_load=False, memmap=False) as file:
            tree = file.tree[_KEY]
            values = {item.name: tree[item.name] for item in fields(ObservationTruth)}
            orders = {
                int(number): OrderTruth(
                    order=int(number), **{name: np.array(value) for name, value in order.items()}
                )
                for number, order in tree["orders"].items()
            }
            for name in ("weights", "background_factors", "background", "zero_orders"):
                values[name] = np.array(tree[name])
    except FileNotFoundError:
        raise SossInputError(f"The file {path} does not exist.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SossInputError(
            f"{path} is not a file with the truth of a simulated observation ({error})."
        ) from error
    values |= {"plan": dict(tree["plan"]), "files": tuple(tree["files"]), "orders": orders}
    return ObservationTruth(**values)


def read_truths(folder: str | os.PathLike[str]) -> dict[str, ObservationTruth]:
    """Read the truth of all observations in the folder of a campaign.

    Parameters
    ----------
    folder : path
        The folder.

    Returns
    -------
    dict of str to ObservationTruth
        By the beginning of the names of the files, such as ``jw01512001001_03102_00001``.

    Raises
    ------
    SossInputError
        If there is no truth in the folder, or a file cannot be read.
    """
    paths = sorted(Path(folder).glob(f"*{_SUFFIX}"))
    if not paths:
        raise SossInputError(f"{folder} holds no file *{_SUFFIX} of a simulated campaign.")
    return {path.name.removesuffix(_SUFFIX): read_truth(path) for path in paths}
