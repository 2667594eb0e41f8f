"""A step that fits the background of its segments: templates, traces, masks, and the fit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from stdatamodels.jwst import datamodels
from stdatamodels.jwst.datamodels import JwstDataModel

from soss_photcal_steps.background.cards import summary_lines
from soss_photcal_steps.background.dedicated import dedicated_template
from soss_photcal_steps.background.estimate import FitError
from soss_photcal_steps.background.exposure import (
    BackgroundResult,
    combine_exposure,
    find_background,
)
from soss_photcal_steps.background.inputs import ExposureInfo, ModelIntegrations, check_usable
from soss_photcal_steps.background.maskfile import read_mask
from soss_photcal_steps.background.options import FitOptions
from soss_photcal_steps.background.products import trace_source
from soss_photcal_steps.background.progress import Progress
from soss_photcal_steps.background.reference import (
    BackgroundLibrary,
    Window,
    read_library,
    repair_templates,
    trace_positions,
    with_candidate,
)
from soss_photcal_steps.background.segments import Segment, SegmentStep
from soss_photcal_steps.errors import SossInputError

__all__ = ["FittingStep"]

log = logging.getLogger(__name__)


class FittingStep(SegmentStep):
    """A step that gets the background of its segments from `find_or_recall`."""

    # Parameters, which stpipe sets from the specification.
    template: int | None
    scales: Sequence[float] | None
    combine: str
    trace_half_width: float
    source_sigma: float
    mask_image: str | None

    # Fits by what went into them, if a pipeline wants them kept from one segment to the next.
    kept_fits: dict[Any, Any] | None = None

    def find_or_recall(
        self, segments: Sequence[Segment], dedicated: Sequence[Any]
    ) -> tuple[BackgroundResult, BackgroundLibrary, str]:
        """Fit, unless the same segments were fitted before in the same run of a pipeline.

        Parameters
        ----------
        segments : sequence of Segment
            Segments of one exposure.
        dedicated : sequence of path or JwstDataModel
            Dedicated background exposures, of which one more template is made.

        Returns
        -------
        result : BackgroundResult
            The fit.
        library : BackgroundLibrary
            The templates.
        trace_source : str
            Where the trace positions come from.

        Raises
        ------
        FitError
            If the background cannot be fitted.
        SossInputError
            If a reference, or what was given with the parameters, cannot be used.
        """
        if self.kept_fits is None:
            return self._find(segments, dedicated)
        key = (
            *((segment.info.exposure, segment.info.segment) for segment in segments),
            *(repr(item) for item in dedicated),
        )
        if key not in self.kept_fits:
            self.kept_fits[key] = self._find(segments, dedicated)
        else:
            log.info("Taking the fit that was made with the other segments.")
            # Asked for once more, because every product names its references.
            self.get_reference_file(segments[0].model, "bkg")
            self.get_optional_reference(segments[0].model, "pastasoss")
        return self.kept_fits[key]

    def _options(self) -> FitOptions:
        return FitOptions(
            trace_half_width=self.trace_half_width,
            source_sigma=self.source_sigma,
            combine=self.combine,
            template=self.template,
        )

    def _find(
        self, segments: Sequence[Segment], dedicated: Sequence[Any]
    ) -> tuple[BackgroundResult, BackgroundLibrary, str]:
        """Combine, get templates and traces, and fit."""
        info, model = segments[0].info, segments[0].model
        window = info.window
        library = self._library(model, info, window, dedicated)
        if self.template is not None and self.template >= len(library.images):
            raise SossInputError(
                f"template {self.template} was asked for, but {library.source} has only "
                f"{len(library.images)}, counted from 0."
            )
        pastasoss = self.get_optional_reference(model, "pastasoss")
        source = trace_source(pastasoss)
        log.info("Trace positions: %s, PWCPOS %.4f degrees.", source, info.angle)
        if info.pwcpos is None:
            log.warning("%s has no PWCPOS; taking the commanded angle.", info.name)
        traces = trace_positions(info.angle, str(info.filter), pastasoss)
        total = sum(segment.integrations.shape[0] for segment in segments)
        log.info(
            "Combining %d integrations of %d file(s) and fitting %d templates.",
            total,
            len(segments),
            len(library.images),
        )
        with Progress("combining", total) as progress:
            result = find_background(
                [s.integrations for s in segments],
                window.strip_rows,
                library.images,
                traces,
                self._options(),
                self.scales,
                progress,
                self._excluded(window),
            )
        for line in summary_lines(result, library):
            log.info("%s", line)
        return result, library, source

    def _excluded(self, window: Window) -> np.ndarray | None:
        """Read the pixels that the user leaves out."""
        if not self.mask_image:
            return None
        path = self.given_file(self.mask_image)
        excluded = read_mask(path, window)
        log.info("%d pixels are left out of the fit by %s.", int(excluded.sum()), path)
        return excluded

    def _library(
        self,
        model: JwstDataModel,
        info: ExposureInfo,
        window: Window,
        dedicated: Sequence[Any],
    ) -> BackgroundLibrary:
        reference = self.get_reference_file(model, "bkg")
        library = None
        if not (isinstance(reference, str) and reference in ("", "N/A")):
            library = read_library(reference, window, str(info.filter))
            log.info("%d templates from %s.", len(library.images), library.source)
            if not library.filter_known:
                log.warning("%s does not say which filter it is for.", library.source)
            if library.n_filled:
                log.info(
                    "%d template pixels without a usable value were filled from their row.",
                    library.n_filled,
                )
        if dedicated:
            library = self._with_dedicated(library, info, window, dedicated)
        if library is None:
            raise FitError("there is no bkg reference file for these data (N/A)")
        return library

    def _with_dedicated(
        self,
        library: BackgroundLibrary | None,
        info: ExposureInfo,
        window: Window,
        dedicated: Sequence[Any],
    ) -> BackgroundLibrary:
        """Make one more template of dedicated exposures."""
        images, names = [], []
        for item in dedicated:
            model = item if isinstance(item, JwstDataModel) else self._open_dedicated(item)
            other = ExposureInfo.from_model(model)
            check_usable(other)
            part = other.window.part(window)
            if str(other.filter).upper() != str(info.filter).upper() or part is None:
                raise SossInputError(
                    f"The background exposure {other.name} (filter {other.filter}, "
                    f"{other.window}) does not fit {info.name} (filter {info.filter}, {window})."
                )
            if other.subtracted:
                raise SossInputError(
                    f"A background was subtracted from the background exposure {other.name} "
                    "already; it needs to be there."
                )
            images.append(combine_exposure([ModelIntegrations(model)]).image[part])
            names.append(other.name)
            if model is not item:
                model.close()
        try:
            template = dedicated_template(images)
        except ValueError as error:
            raise SossInputError(f"No template from {', '.join(names)}: {error}.") from error
        image, _ = repair_templates(template.image[None], window, ", ".join(names))
        log.info(
            "One more template from %d background exposure(s): %s; masked %s per cent.",
            len(names),
            ", ".join(names),
            "/".join(f"{100 * share:.0f}" for share in template.masked),
        )
        return with_candidate(library, image[0], f"dedicated ({len(names)})", ", ".join(names))

    def _open_dedicated(self, item: str | Path) -> JwstDataModel:
        return datamodels.open(self.given_file(item))
