"""The step that fits and subtracts the background of NIRISS SOSS."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from jwst.stpipe import Pipeline

from soss_photcal_steps.background import products
from soss_photcal_steps.background.cards import cards, skipped_cards
from soss_photcal_steps.background.estimate import FitError
from soss_photcal_steps.background.exposure import BackgroundResult, integration_factors
from soss_photcal_steps.background.fitting import FittingStep
from soss_photcal_steps.background.inputs import (
    ExposureInfo,
    ModelIntegrations,
    check_same_exposure,
    check_usable,
)
from soss_photcal_steps.background.progress import Progress
from soss_photcal_steps.background.reference import BackgroundLibrary
from soss_photcal_steps.background.segments import Segment, is_series
from soss_photcal_steps.errors import SossInputError

__all__ = ["SossTemplateBackgroundStep"]

log = logging.getLogger(__name__)

# Parameters of jwst's bkg_subtract, which a parameter file for that slot may set.
_IGNORED = (
    "save_combined_background",
    "sigma",
    "maxiters",
    "soss_source_percentile",
    "soss_bkg_percentile",
    "wfss_mmag_extract",
    "wfss_mask",
    "wfss_maxiter",
    "wfss_rms_stop",
    "wfss_outlier_percent",
)
# What the record says about the run.
_RECORDED_OPTIONS = (
    "fit_with",
    "template",
    "scales",
    "combine",
    "per_integration",
    "add_scale_error",
    "trace_half_width",
    "source_sigma",
    "mask_image",
    "force",
)


class SossTemplateBackgroundStep(FittingStep):
    """Fit the background templates together with the star's wings, and subtract the result.

    The input is a ``rate`` or ``rateints`` of NIS_SOSS, a list of the segments of one
    exposure, or a level-2 association of them.  The step is used by itself, in the place of
    ``bkg_subtract`` in ``calwebb_spec2``, or as a hook of that step, whose place it then takes.
    """

    class_alias = "soss_template_bkg"

    spec = """
    bkg_list = force_list(default=None)  # Dedicated background exposures (rate or rateints), combined into one more candidate template
    fit_with = force_list(default=None)  # Other segments of the exposure (rateints), fitted together with the input but not subtracted
    template = integer(min=0, default=None)  # Template to use, counted from 0; all are scored and the best is taken if None
    scales = float_list(min=2, max=2, default=None)  # Scale of the template left and right of the break, by hand, no unit; needs template
    combine = option('auto', 'never', 'always', default='auto')  # Use a combination of templates: where it is significantly better, never, always
    per_integration = boolean(default=False)  # Scale the background of every integration by itself, for a drift over a long series
    add_scale_error = boolean(default=False)  # Add the error of the background in quadrature to ERR and VAR_RNOISE, where it survives flat_field
    trace_half_width = float(min=5, default=21.0)  # Half width of the mask over the traces, pixels; the core of the SOSS profile ends there
    source_sigma = float(min=2, default=4.5)  # Threshold above which field stars and zero orders are masked, in units of the noise
    mask_image = string(default=None)  # FITS image of pixels that the fit leaves out (not 0), as soss-photcal explore writes it; none if None
    force = boolean(default=False)  # Subtract although the header says that a background was subtracted (S_BKDSUB or BKGSUB)
    on_failure = option('skip', 'error', default='skip')  # If the background cannot be fitted: pass the data on untouched as SKIPPED, or stop
    save_background = boolean(default=False)  # Save the background that was subtracted, with its error (_sossbkg.fits)
    save_mask = boolean(default=False)  # Save which pixels the fit used, and why not the others (_sossmask.fits)
    save_plots = boolean(default=False)  # Save a picture of the image before and after, the fit and the ranking of templates (_sossbkg.png)
    save_combined_background = boolean(default=None)  # Of jwst's bkg_subtract; ignored
    sigma = float(default=None)  # Of jwst's bkg_subtract; ignored
    maxiters = integer(default=None)  # Of jwst's bkg_subtract; ignored
    soss_source_percentile = float(default=None)  # Of jwst's bkg_subtract; ignored
    soss_bkg_percentile = float_list(min=2, max=2, default=None)  # Of jwst's bkg_subtract; ignored
    wfss_mmag_extract = float(default=None)  # Of jwst's bkg_subtract; ignored
    wfss_mask = string(default=None)  # Of jwst's bkg_subtract; ignored
    wfss_maxiter = integer(default=None)  # Of jwst's bkg_subtract; ignored
    wfss_rms_stop = float(default=None)  # Of jwst's bkg_subtract; ignored
    wfss_outlier_percent = float(default=None)  # Of jwst's bkg_subtract; ignored
    """  # noqa: E501 (a parameter's help is its line's comment, and cannot be wrapped)

    reference_file_types = ["bkg"]  # noqa: RUF012 (as every step of jwst has it)
    optional_reference_types = ("pastasoss",)

    # A parameter, which stpipe sets from the specification.
    override_bkg: Any

    def process(
        self,
        input: Any,  # noqa: A002 (the name in stpipe)
        background: Any = None,
        *_: Any,
    ) -> Any:
        """Subtract the background.

        Parameters
        ----------
        input : path, JwstDataModel, or list of them
            The exposure, or its segments; a ``.json`` path is a level-2 association.
        background : list of path or JwstDataModel, optional
            Dedicated background exposures, as ``bkg_subtract`` gets them in a pipeline.
        *_
            Whatever else the step gets that this one is hooked to.

        Returns
        -------
        JwstDataModel or list of JwstDataModel
            The model, or one for each segment.

        Raises
        ------
        SossInputError
            If the input cannot be used.
        """
        self._check_parameters()
        self._take_place_of_hooked_step()
        given, members = self.list_members(input)
        dedicated = [*self._dedicated(background), *members]
        with ExitStack() as opened:
            segments = []
            for item in given:
                segments.append(self.open_segment(item))
                if segments[-1].model is not item:
                    opened.callback(segments[-1].model.close)
            self._work(segments, dedicated)
            # The models are the result now, and stay open.
            opened.pop_all()
        models = [segment.model for segment in segments]
        return models if is_series(input) else models[0]

    def _work(self, segments: Sequence[Segment], dedicated: Sequence[Any]) -> None:
        for segment in segments:
            check_usable(segment.info)
            self._check_not_subtracted(segment.info)
        # In the same order whichever of them is the input, so that all digits of the fit agree.
        together = sorted(
            [*segments, *self._other_segments(segments)],
            key=lambda segment: segment.info.segment or 0,
        )
        check_same_exposure([segment.info for segment in together])
        try:
            result, library, trace_source = self.find_or_recall(together, dedicated)
        except FitError as error:
            self._skip(segments, str(error))
        else:
            self._subtract(segments, result, library, trace_source)

    def _other_segments(self, segments: Sequence[Segment]) -> list[Segment]:
        """Open the segments that are only fitted; those among the input are left out."""
        own = {(segment.info.exposure, segment.info.segment) for segment in segments}
        others = []
        for name in self.fit_with or ():
            path = self.given_file(name)
            other = self._open_streamed(path)
            if other is None:
                other = self._open_whole(path)
                if self._files is not None:
                    self._files.callback(other.model.close)
            if (other.info.exposure, other.info.segment) not in own:
                check_usable(other.info)
                self._check_not_subtracted(other.info)
                others.append(other)
        if others:
            log.info("Fitted together with %s.", ", ".join(other.info.name for other in others))
        return others

    def _check_parameters(self) -> None:
        if self.scales is not None and self.template is None:
            raise SossInputError(
                "scales are given without template; say with template (counted from 0) which "
                "one they belong to."
            )
        ignored = [name for name in _IGNORED if getattr(self, name, None) is not None]
        if ignored:
            log.info("Parameters of jwst's own step that have no meaning here: %s", ignored)

    def _take_place_of_hooked_step(self) -> None:
        """Keep ``bkg_subtract``, if this is a hook of it, from subtracting once more."""
        parent = self.parent
        if isinstance(parent, Pipeline) or getattr(parent, "class_alias", None) != "bkg_subtract":
            return
        if self.override_bkg is None:
            self.override_bkg = parent.override_bkg
        # A skipped step would overwrite S_BKDSUB; one that does nothing leaves it as it is.
        parent.process = lambda model, *_: model
        parent.prefetch_references = False
        parent.skip = False
        log.info("Taking the place of bkg_subtract, which subtracts nothing itself.")

    def _dedicated(self, background: Any) -> list[Any]:
        """List the dedicated background exposures of the parameter and of the second argument."""
        dedicated = [name for name in self.bkg_list or () if name]
        hooked_elsewhere = self.parent is not None and not (
            isinstance(self.parent, Pipeline)
            or getattr(self.parent, "class_alias", None) == "bkg_subtract"
        )
        if isinstance(background, list | tuple) and not hooked_elsewhere:
            dedicated += [member for member in background if member]
        return dedicated

    def _check_not_subtracted(self, info: ExposureInfo) -> None:
        if not info.subtracted:
            return
        if not self.force:
            raise SossInputError(
                f"A background was subtracted from {info.name} already (S_BKDSUB or BKGSUB in "
                "its header); set force to subtract again."
            )
        log.warning("%s had a background subtracted already; subtracting again.", info.name)

    def _subtract(
        self,
        segments: Sequence[Segment],
        result: BackgroundResult,
        library: BackgroundLibrary,
        trace_source: str,
    ) -> None:
        """Subtract in place, or say what is to be subtracted; write down what was done."""
        lines = cards(result, library, trace_source, self.per_integration)
        meta = products.metadata(result, library, trace_source, self._recorded_options())
        inputs = [segment.path for segment in segments if segment.path]
        if self.mask_image:
            inputs.append(self.make_input_path(str(self.mask_image)))
        scaler = result.integration_scaler() if self.per_integration else None
        total = result.combined.n_integrations
        error = result.error_image() if self.add_scale_error else None
        with (
            Progress("scaling", total) as scaling,
            Progress("subtracting", total) as subtracting,
        ):
            for segment in segments:
                factors = None
                more = {}
                if scaler is not None:
                    factors, errors = integration_factors(
                        segment.integrations, scaler, scaling.advance
                    )
                    more = {"integration_factors": factors, "integration_errors": errors}
                if isinstance(segment.integrations, ModelIntegrations):
                    products.subtract(segment.integrations, result, factors, subtracting)
                    if error is not None:
                        products.add_error(segment.model, error)
                else:
                    segment.background = products.background_images(result, factors)
                    if error is not None:
                        segment.extra_variance = np.nan_to_num(error) ** 2
                self.record(
                    segment.model,
                    cal_step="bkg_subtract",
                    cards=lines,
                    meta={**meta, **more},
                    inputs=inputs,
                )
        log.info(
            "Subtracting %.3f DN/s left and %.3f DN/s right of the break from %s.",
            *result.levels,
            ", ".join(segment.info.name for segment in segments),
        )
        self._save_side_products(segments[0], result, library)

    def _recorded_options(self) -> Mapping[str, Any]:
        return {name: getattr(self, name) for name in _RECORDED_OPTIONS}

    def _skip(self, segments: Sequence[Segment], reason: str) -> None:
        """Pass the data on untouched, with the reason, or stop."""
        sentence = f"No background was subtracted from {segments[0].info.name}: {reason}."
        if self.on_failure == "error":
            raise SossInputError(sentence)
        log.warning("SKIPPED. %s", sentence)
        for segment in segments:
            before = segment.info.cal_step["bkg_subtract"]
            self.record(
                segment.model,
                # An earlier subtraction, which is still in the data, stays on record.
                cal_step=None if before == "COMPLETE" else "bkg_subtract",
                status="SKIPPED",
                cards=skipped_cards(reason, segment.info.subtracted),
                meta={"reason": reason, "options": self._recorded_options()},
                inputs=[s.path for s in segments if s.path],
            )

    def _save_side_products(
        self, segment: Segment, result: BackgroundResult, library: BackgroundLibrary
    ) -> None:
        if self.save_background:
            with products.background_model(segment.model, result) as image:
                self.save_model(image, suffix="sossbkg", force=True)
        if self.save_mask:
            with self.side_product("sossmask") as path:
                products.write_mask(path, result, segment.info.name)
        if self.save_plots:
            with self.side_product("sossbkg", ".png") as path:
                products.figure(result, library, segment.info.name).savefig(path, dpi=110)
