"""From files to what the explorer works on: the combined image, templates and traces."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from soss_photcal_steps.asn.headers import read_record
from soss_photcal_steps.background.background_step import SossTemplateBackgroundStep
from soss_photcal_steps.background.exposure import combine_exposure, fit_templates
from soss_photcal_steps.background.inputs import (
    ExposureInfo,
    check_same_exposure,
    check_usable,
)
from soss_photcal_steps.background.products import trace_source
from soss_photcal_steps.background.reference import read_library, trace_positions
from soss_photcal_steps.background.result import CombinedExposure
from soss_photcal_steps.background.templates import TemplateSet
from soss_photcal_steps.background.window import Window
from soss_photcal_steps.contamination.read import open_exposure
from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.files import check_fits

__all__ = ["ExplorerExposure", "group_segments", "load_exposure"]


@dataclass(frozen=True)
class ExplorerExposure:
    """An exposure that is ready to be explored.

    Attributes
    ----------
    paths : tuple of str
        The file, or the segments of the exposure in their order.
    name : str
        Name of the first.
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

    paths: tuple[str, ...]
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


def group_segments(files: Sequence[str]) -> list[tuple[str, ...]]:
    """Find which files are segments of one exposure.

    Parameters
    ----------
    files : sequence of str
        The files.

    Returns
    -------
    list of tuple of str
        The segments of each exposure in their order, apart by kind of file and by whether a
        background was subtracted; other files, and those that cannot be read, by themselves.
        What is there twice begins a group of its own.
    """
    groups: dict[object, dict[int, str]] = {}
    for number, path in enumerate(files):
        key, segment = _exposure_and_segment(path)
        # What is there twice begins a second group, to which its other segments belong.
        copy = 0
        while key is not None and segment in groups.get((key, copy), {}):
            copy += 1
        place = number if key is None else (key, copy)
        groups.setdefault(place, {})[segment] = path
    return [tuple(group[k] for k in sorted(group)) for group in groups.values()]


def _exposure_and_segment(path: str) -> tuple[object, int]:
    """Tell which exposure a file is of, None if that is not known, and which segment it is."""
    try:
        record = read_record(path)
    except (SossInputError, OSError):
        return None, 1
    known = record.program and record.observation and record.exposure and record.exposure[-1]
    if not known or not record.integrations:
        return None, 1
    key = (
        record.program, record.observation, record.exposure, record.filter,
        record.level, record.subtracted,
    )  # fmt: skip
    return key, record.segment


def load_exposure(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    override_bkg: str | None = None,
    override_pastasoss: str | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ExplorerExposure:
    """Read an exposure and its references, as ``soss_template_bkg`` does.

    Parameters
    ----------
    path : path or sequence of path
        A rate or rateints file, or the segments of one exposure, which are fitted together.
    override_bkg, override_pastasoss : str, optional
        References; by default those that CRDS selects, as for the step.
    force : bool, optional
        Whether to take files whose background was subtracted already.
    progress : callable, optional
        Called with the number of integrations combined and of all.

    Returns
    -------
    ExplorerExposure
        The exposure.

    Raises
    ------
    SossInputError
        If a file or a reference cannot be used, or the files are not of one exposure.
    """
    paths = [os.fspath(one) for one in ([path] if isinstance(path, str | os.PathLike) else path)]
    for one in paths:
        if not one.lower().endswith(".fits"):
            raise SossInputError(f"{one} is not a rate or rateints file (FITS).")
        check_fits(one)
    references = {"override_bkg": override_bkg, "override_pastasoss": override_pastasoss}
    for name, given in references.items():
        if given is not None and not os.path.isfile(given):
            raise SossInputError(f"The file {given} given as {name} does not exist.")
    step = SossTemplateBackgroundStep(**{k: v for k, v in references.items() if v is not None})
    with ExitStack() as stack:
        opened = []
        for one in paths:
            model, integrations = stack.enter_context(open_exposure(one))
            info = ExposureInfo.from_model(model, integrations.shape)
            check_usable(info)
            if info.subtracted and not force:
                raise SossInputError(
                    f"A background was subtracted from {info.name} already (S_BKDSUB or BKGSUB in "
                    "its header); give the file from before, or --force."
                )
            opened.append((info, model, integrations, one))
        # In the order of the step, so that all digits of the fit agree.
        opened.sort(key=lambda item: item[0].segment or 0)
        check_same_exposure([item[0] for item in opened])
        info, model, _, first = opened[0]
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
            combined = combine_exposure([item[2] for item in opened], progress)
        except ValueError as error:
            raise SossInputError(f"{first} cannot be used: {reason(error)}.") from error
        target = model.meta.target.proposer_name or model.meta.target.catalog_name
        return ExplorerExposure(
            paths=tuple(os.path.abspath(item[3]) for item in opened),
            name=os.path.basename(first),
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
