"""Many visits of one star that count as one curve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from soss_photcal_steps.combine.curves import Curve, stack_curves
from soss_photcal_steps.combine.means import clipped_mean

__all__ = ["assign_group", "group_curves"]


def assign_group(
    curves: Sequence[Curve], belongs: Callable[[Curve], bool], group: str = "stability"
) -> list[Curve]:
    """Mark curves as members of a group.

    Parameters
    ----------
    curves : sequence of Curve
        The curves.
    belongs : callable
        Tells for a curve whether it belongs to the group, for instance by its program.
    group : str
        Name of the group.

    Returns
    -------
    list of Curve
        All curves, those that belong with ``group`` set.
    """
    return [replace(c, group=group) if belongs(c) else c for c in curves]


def group_curves(curves: Sequence[Curve], sigma: float = 3.0, iterations: int = 5) -> list[Curve]:
    """Combine the curves of each star and group into one, as section 7 of the report does.

    The mean is taken pixel by pixel with clipping, so that 25 visits of one star do not outvote
    the others.  Its error is the scatter of the visits over the square root of their number; it
    holds what changes from visit to visit, such as the background.  Where fewer than three
    visits are left the scatter says nothing, and their own errors are taken.

    Parameters
    ----------
    curves : sequence of Curve
        Curves of one order; those with ``group`` None stay as they are.
    sigma : float
        Clipping limit, in standard deviations.
    iterations : int
        Largest number of passes.

    Returns
    -------
    list of Curve
        One curve for each group, at the place of its first member, and the others.
    """
    members: dict[tuple[str, str | None, int], list[Curve]] = {}
    for number, curve in enumerate(curves):
        alone = -1 if curve.group is not None else number
        members.setdefault((curve.star, curve.group, alone), []).append(curve)
    return [_combine(some, sigma, iterations) for some in members.values()]


def _combine(curves: list[Curve], sigma: float, iterations: int) -> Curve:
    if len(curves) == 1:
        return curves[0]
    stacked = stack_curves(curves)
    mean = clipped_mean(stacked.ratio, sigma, sigma, iterations)
    count = mean.used.sum(axis=0)
    own = np.where(mean.used, stacked.stat_error, 0.0)
    number = np.maximum(count, 1)
    given = np.sqrt((own**2).sum(axis=0)) / number
    with np.errstate(invalid="ignore"):
        scatter = mean.sys_error * mean.value
    error = np.where(count > 2, np.maximum(scatter, 0.0), given)
    dates = [curve.mjd for curve in curves if curve.mjd is not None]
    return Curve(
        star=curves[0].star,
        observation=f"{curves[0].group} ({len(curves)})",
        order=curves[0].order,
        wavelength=stacked.wavelength,
        ratio=mean.value,
        stat_error=error,
        n_frames=int(stacked.n_frames.sum()),
        valid=count > 0,
        smooth=bool(stacked.smooth.all()),
        group=curves[0].group,
        n_observations=sum(curve.n_observations for curve in curves),
        mjd=float(np.mean(dates)) if dates else None,
    )
