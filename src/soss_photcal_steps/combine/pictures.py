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
    from soss_photcal_steps.photom.table import read_photom
    from soss_photcal_steps.report.combination_figure import combination_figure, influence_figure
    from soss_photcal_steps.report.response_figure import response_figure
    from soss_photcal_steps.report.results import order_responses

    drawn = {}
    entries = plain_orders(model)
    for entry in entries:
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
    ranges = {int(entry["order"]): tuple(entry["valid_range"]) for entry in entries}
    for one in order_responses(read_photom(old).rows, read_photom(new).rows, ranges):
        drawn[f"sosscorr-response{one.order}"] = response_figure(
            one.wavelength, one.old, one.new, one.new_error, one.measured,
            f"Order {one.order}: {os.path.basename(old)} and {os.path.basename(new)}",
            f"in {one.unit}",
        )  # fmt: skip
    return drawn
