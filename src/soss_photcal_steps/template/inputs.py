"""Exposures of the background: which there are, whether they belong together, and their groups."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from stdatamodels.jwst.datamodels import JwstDataModel

from soss_photcal_steps.background.conclude import FitError
from soss_photcal_steps.background.exposure import combine_exposure
from soss_photcal_steps.background.inputs import ExposureInfo, ModelIntegrations, check_usable
from soss_photcal_steps.background.progress import Progress
from soss_photcal_steps.background.reference import trace_positions
from soss_photcal_steps.background.result import CombinedExposure
from soss_photcal_steps.contamination.read import open_exposure
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import check_fits
from soss_photcal_steps.template.star import StarExposure

__all__ = ["BackgroundExposure", "check_together", "group_exposures", "read_exposure"]


@dataclass(frozen=True)
class BackgroundExposure:
    """One exposure, combined over its integrations, with what its header says.

    Attributes
    ----------
    info : ExposureInfo
        What decides whether it can be used.
    combined : CombinedExposure
        The exposure.
    target : str
        Name of the target.
    date : str
        Date of the observation, YYYY-MM-DD; empty if unknown.
    place : tuple of float or None
        Right ascension and declination of the aperture, or of the target, degrees.
    background_target : bool
        Whether the header says that it is a dedicated background (BKGDTARG).
    path : str
        The file; empty for a model.
    """

    info: ExposureInfo
    combined: CombinedExposure
    target: str
    date: str
    place: tuple[float, float] | None
    background_target: bool
    path: str = ""

    def with_star(self, has_star: bool) -> StarExposure:
        """Give what the template is built of.

        Parameters
        ----------
        has_star : bool
            Whether a star is in the aperture, whose traces are at their usual place.

        Returns
        -------
        StarExposure
            The exposure, with the traces if there is a star.
        """
        traces = trace_positions(self.info.angle, str(self.info.filter)) if has_star else None
        return StarExposure(self.combined, traces, self.info.name)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def _place(meta: Any) -> tuple[float, float] | None:
    """Where the aperture points, or else the target."""
    for ra, dec in ((meta.wcsinfo.ra_ref, meta.wcsinfo.dec_ref), (meta.target.ra, meta.target.dec)):
        place = _number(ra), _number(dec)
        if place[0] is not None and place[1] is not None and abs(place[1]) <= 90:
            return place[0], place[1]
    return None


def read_exposure(item: str | os.PathLike[str] | JwstDataModel) -> BackgroundExposure:
    """Read an exposure and combine its integrations, a few at a time.

    Parameters
    ----------
    item : path or JwstDataModel
        A rate or rateints.

    Returns
    -------
    BackgroundExposure
        The exposure.

    Raises
    ------
    SossInputError
        If it is none of SOSS in DN/s, or its background was subtracted.
    """
    if isinstance(item, JwstDataModel):
        return _combine(item, ModelIntegrations(item), "")
    if not isinstance(item, str | os.PathLike):
        raise SossInputError(
            f"Background exposures are files or data models, not {type(item).__name__}."
        )
    path = os.fspath(item)
    check_fits(path)
    with open_exposure(path) as (model, integrations):
        return _combine(model, integrations, path)


def _combine(model: Any, integrations: Any, path: str) -> BackgroundExposure:
    info = ExposureInfo.from_model(model, integrations.shape)
    check_usable(info)
    if info.subtracted:
        raise SossInputError(
            f"A background was subtracted from {info.name} already (S_BKDSUB or BKGSUB in its "
            "header); a template needs the file from before."
        )
    with Progress(f"combining {info.name}", integrations.shape[0]) as progress:
        try:
            combined = combine_exposure([integrations], progress)
        except FitError as error:
            raise SossInputError(f"{info.name} cannot be used: {error}.") from error
    target = model.meta.target
    return BackgroundExposure(
        info=info,
        combined=combined,
        target=str(target.proposer_name or target.catalog_name or "unknown"),
        date=str(model.meta.observation.date or "")[:10],
        place=_place(model.meta),
        background_target=bool(model.meta.observation.bkgdtarg),
        path=path,
    )


def check_together(exposures: Sequence[BackgroundExposure]) -> None:
    """Refuse exposures that do not make one library.

    Parameters
    ----------
    exposures : sequence of BackgroundExposure
        The exposures.

    Raises
    ------
    SossInputError
        If filter or part of the detector differ, or an exposure is given twice.
    """
    first = exposures[0].info
    for one in exposures[1:]:
        info = one.info
        if str(info.filter).upper() != str(first.filter).upper() or info.window != first.window:
            raise SossInputError(
                f"{info.name} (filter {info.filter}, {info.window}) and {first.name} (filter "
                f"{first.filter}, {first.window}) do not belong into one library; make one for "
                "each filter and subarray."
            )
    paths = [os.path.realpath(one.path) for one in exposures if one.path]
    for path in paths:
        if paths.count(path) > 1:
            raise SossInputError(f"The background exposure {path} is given twice.")


def group_exposures(
    exposures: Sequence[BackgroundExposure], group_by: str
) -> list[list[BackgroundExposure]]:
    """Sort exposures into templates.

    Parameters
    ----------
    exposures : sequence of BackgroundExposure
        The exposures.
    group_by : {"all", "observation", "exposure"}
        One template of all, one for each observation of a program, or one for each exposure.

    Returns
    -------
    list of list of BackgroundExposure
        In the order in which they are given.
    """
    groups: dict[Any, list[BackgroundExposure]] = {}
    for number, one in enumerate(exposures):
        program, observation, *_ = one.info.exposure
        known = program is not None and observation is not None
        key: Any = {
            "all": 0,
            "observation": (program, observation) if known else ("file", number),
            "exposure": one.info.exposure if known else number,
        }[group_by]
        groups.setdefault(key, []).append(one)
    return list(groups.values())
