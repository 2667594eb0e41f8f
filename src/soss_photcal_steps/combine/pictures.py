"""Pictures of a combination, from its product."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from soss_photcal_steps.models import SossPhotomCorrectionModel, plain_orders

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figures"]


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
