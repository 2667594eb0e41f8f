"""From a file to what the explorer works on: the combined image, templates and traces."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from soss_photcal_steps.background.background_step import SossTemplateBackgroundStep
from soss_photcal_steps.background.exposure import combine_exposure, fit_templates
from soss_photcal_steps.background.inputs import ExposureInfo, check_usable
from soss_photcal_steps.background.products import trace_source
from soss_photcal_steps.background.reference import read_library, trace_positions
from soss_photcal_steps.background.result import CombinedExposure
from soss_photcal_steps.background.templates import TemplateSet
from soss_photcal_steps.background.window import Window
from soss_photcal_steps.contamination.read import open_exposure
from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.files import check_fits

__all__ = ["ExplorerExposure", "load_exposure"]


@dataclass(frozen=True)
class ExplorerExposure:
    """An exposure that is ready to be explored.

    Attributes
    ----------
    path, name : str
        The file, and its name.
    title : str
        Target, filter and subarray, in one line.
    filter : str
        Keyword FILTER.
    pwcpos : float
        Angle of the pupil wheel, degrees.
    window : Window
        What the data cover.
    combined : CombinedExposure
        All integrations as one image.
    templates : TemplateSet
        The library, cut to the data.
    names : tuple of str
        Name of each template.
    source : str
        File that the library comes from.
    traces : dict
        Row of each order's trace per column, SUBSTRIP256 coordinates.
    trace_source : str
        Where the traces come from.
    """

    path: str
    name: str
    title: str
    filter: str
    pwcpos: float
    window: Window
    combined: CombinedExposure
    templates: TemplateSet
    names: tuple[str, ...]
    source: str
    traces: dict[int, np.ndarray]
    trace_source: str


def load_exposure(
    path: str | os.PathLike[str],
    *,
    override_bkg: str | None = None,
    override_pastasoss: str | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ExplorerExposure:
    """Read an exposure and its references, as ``soss_template_bkg`` does.

    Parameters
    ----------
    path : path
        A rate or rateints file.
    override_bkg, override_pastasoss : str, optional
        References; by default those that CRDS selects, as for the step.
    force : bool, optional
        Whether to take a file whose background was subtracted already.
    progress : callable, optional
        Called with the number of integrations combined and of all.

    Returns
    -------
    ExplorerExposure
        The exposure.

    Raises
    ------
    SossInputError
        If the file or a reference cannot be used.
    """
    path = os.fspath(path)
    if not path.lower().endswith(".fits"):
        raise SossInputError(f"{path} is not a rate or rateints file (FITS).")
    check_fits(path)
    references = {"override_bkg": override_bkg, "override_pastasoss": override_pastasoss}
    for name, given in references.items():
        if given is not None and not os.path.isfile(given):
            raise SossInputError(f"The file {given} given as {name} does not exist.")
    step = SossTemplateBackgroundStep(**{k: v for k, v in references.items() if v is not None})
    with open_exposure(path) as (model, integrations):
        info = ExposureInfo.from_model(model, integrations.shape)
        check_usable(info)
        if info.subtracted and not force:
            raise SossInputError(
                f"A background was subtracted from {info.name} already (S_BKDSUB or BKGSUB in "
                "its header); give the file from before, or --force."
            )
        window = info.window
        reference = step.get_reference_file(model, "bkg")
        if isinstance(reference, str) and reference in ("", "N/A"):
            raise SossInputError(
                f"There is no bkg reference file for {info.name}; give one with --override_bkg."
            )
        library = read_library(reference, window, str(info.filter))
        pastasoss = step.get_optional_reference(model, "pastasoss")
        traces = trace_positions(info.angle, str(info.filter), pastasoss)
        try:
            templates = fit_templates(library.images, window.strip_rows)
            combined = combine_exposure([integrations], progress)
        except ValueError as error:
            raise SossInputError(f"{path} cannot be used: {reason(error)}.") from error
        target = model.meta.target.proposer_name or model.meta.target.catalog_name
        return ExplorerExposure(
            path=os.path.abspath(path),
            name=os.path.basename(path),
            title=f"{target or 'no target name'}, {info.filter}, {info.subarray}",
            filter=str(info.filter).upper(),
            pwcpos=info.angle,
            window=window,
            combined=combined,
            templates=templates,
            names=tuple(library.names),
            source=library.source,
            traces=traces,
            trace_source=trace_source(pastasoss),
        )
