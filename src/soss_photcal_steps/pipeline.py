"""The pipeline from rate files to spectra, with this package's background step."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from jwst.pipeline import Spec2Pipeline

from soss_photcal_steps import _jwst
from soss_photcal_steps.association import (
    Spec2Product,
    describe,
    first_exposure,
    list_products,
    with_other_segments,
)
from soss_photcal_steps.background.background_step import SossTemplateBackgroundStep
from soss_photcal_steps.background.inputs import ExposureInfo, check_usable
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.extract import SossExtract1dStep
from soss_photcal_steps.files import is_association, is_same_file
from soss_photcal_steps.references import crds_reason
from soss_photcal_steps.speaking import SossStepError, SpeakingMixin

__all__ = ["SossSpec2Pipeline"]

log = logging.getLogger(__name__)

# References without which a step cannot do its work on SOSS data, or passes them on as they are.
_REQUIRED = {
    "assign_wcs": ("specwcs",),
    "flat_field": ("flat",),
    "extract_1d": ("pastasoss", "specprofile", "speckernel"),
    "photom": ("photom",),
}
# These may be said not to be wanted, by N/A; the step is then passed over.
_MAY_BE_NA = ("flat", "photom")
_HELP = (
    "calwebb_spec2 needs the references of CRDS: set CRDS_PATH and CRDS_SERVER_URL, or make a "
    "small cache of simulated references with: soss-photcal simulate DIR"
)


class SossSpec2Pipeline(SpeakingMixin, Spec2Pipeline):
    """Calibrate NIRISS SOSS exposures from rate or rateints to spectra.

    This is ``calwebb_spec2`` with ``soss_template_bkg`` in the place of ``bkg_subtract`` and
    with ``pixel_replace`` switched on, because a bad pixel that is not replaced is missing in
    the sum over the aperture.  The parameters are those of ``calwebb_spec2``, also in CRDS; what
    CRDS says of ``bkg_subtract`` is for another algorithm, and not used.

    The input is a ``rate`` or ``rateints``, or a level-2 association or list of them.  Members
    of type ``background`` become one more template.  Segments of one exposure get one
    background fit.
    """

    class_alias = "soss_spec2"

    step_defs = {  # noqa: RUF012 (as every pipeline of jwst has it)
        **Spec2Pipeline.step_defs,
        "bkg_subtract": SossTemplateBackgroundStep,
        "extract_1d": SossExtract1dStep,
    }

    # Parameters, which stpipe sets from the specification, and steps, which it makes.
    suffix: str | bool | None
    output_use_model: bool
    save_results: bool
    output_file: str | None
    fail_on_exception: bool
    bkg_subtract: SossTemplateBackgroundStep
    extract_1d: SossExtract1dStep

    # These hold during one run.
    _products: Sequence[Spec2Product] = ()
    _failures: list[str]
    _notes: list[str]

    @classmethod
    def get_config_reftype(cls) -> str:
        """Give the type of the parameter reference in CRDS.

        Returns
        -------
        str
            That of ``calwebb_spec2``.
        """
        return str(Spec2Pipeline.get_config_reftype())

    @classmethod
    def load_spec_file(cls, *args: Any, **kwargs: Any) -> Any:
        """Load the parameters' specification, in which ``pixel_replace`` is not skipped.

        Parameters
        ----------
        *args, **kwargs
            As for ``stpipe.Pipeline.load_spec_file``.

        Returns
        -------
        configobj.ConfigObj
            The specification.
        """
        spec = super().load_spec_file(*args, **kwargs)
        spec["steps"]["pixel_replace"]["skip"] = "boolean(default=False)"
        return spec

    @classmethod
    def build_config(cls, input: Any, **kwargs: Any) -> Any:  # noqa: A002 (the name in stpipe)
        """Build the configuration from CRDS, parameter file and keyword arguments.

        Parameters
        ----------
        input : path, JwstDataModel, or list of them
            The input, of which CRDS needs to know the first exposure.
        **kwargs
            Parameters, or ``config_file``.

        Returns
        -------
        config : configobj.ConfigObj
            The configuration.
        config_file : str or None
            Path of the parameter file.
        """
        return super().build_config(_for_crds(input), **kwargs)

    @classmethod
    def get_config_from_reference(
        cls, dataset: Any, disable: bool | None = None, crds_observatory: str | None = None
    ) -> Any:
        """Get the parameters of ``calwebb_spec2`` from CRDS.

        Parameters
        ----------
        dataset : path, JwstDataModel, list of them, or dict
            The input.
        disable : bool, optional
            Do not ask CRDS; by default as the environment says.
        crds_observatory : str, optional
            The observatory, for a dict.

        Returns
        -------
        configobj.ConfigObj
            The parameters, without those of ``bkg_subtract``, and with ``pixel_replace`` on.
        """
        dataset = _for_crds(dataset)
        if dataset is None:
            return _jwst.ConfigObj()
        with _jwst.quiet_crds() as messages:
            try:
                config = super().get_config_from_reference(dataset, disable, crds_observatory)
            except SystemExit as error:
                log.warning(
                    "CRDS gave no parameters (%s); the defaults are used.",
                    crds_reason(error, messages),
                )
                return _jwst.ConfigObj()
        steps = config.setdefault("steps", {})
        dropped = dict(steps.pop("bkg_subtract", {}))
        dropped = {name: dropped[name] for name in dropped if name not in ("name", "class")}
        if dropped:
            log.info("Parameters of bkg_subtract in CRDS that are not used here: %s", dropped)
        # Said here as well, because what CRDS gives is validated by the step's own default.
        steps.setdefault("pixel_replace", {})["skip"] = False
        return config

    def run(self, *args: Any) -> Any:
        """Run the pipeline.

        Parameters
        ----------
        *args
            The input.

        Returns
        -------
        list of JwstDataModel
            The calibrated images; the spectra are saved.
        """
        self._products, self._failures, self._notes = (), [], []
        self.bkg_subtract.kept_fits = {}
        # calwebb_spec2 leaves values there that its own parameters do not allow.
        suffix, use_model = self.suffix, self.output_use_model
        try:
            return super().run(*args)
        finally:
            self.bkg_subtract.kept_fits = None
            self.suffix, self.output_use_model = suffix, use_model
            for note in self._notes:
                log.warning("%s", note)

    def prefetch(self, *args: Any) -> None:
        """Fetch the references, after a look at the input.

        Parameters
        ----------
        *args
            The input.

        Raises
        ------
        SossInputError
            If the input cannot be used, CRDS cannot be used, or a reference is missing.
        """
        infos = self._look_at(args[0])
        with _jwst.quiet_crds() as messages:
            try:
                _jwst.crds_context()
            except (Exception, SystemExit) as error:
                raise SossInputError(
                    f"CRDS cannot be used ({crds_reason(error, messages)}). {_HELP}."
                ) from error
        for product, info in zip(self._products, infos, strict=True):
            self._check_references(product, info)
        first = self._products[0].science
        with _jwst.quiet_crds() as messages:
            try:
                super().prefetch(first)
            except (Exception, SystemExit) as error:
                raise SossInputError(
                    f"The references of {infos[0].name} cannot be fetched "
                    f"({crds_reason(error, messages)}). {_HELP}."
                ) from error

    def _look_at(self, data: Any) -> list[ExposureInfo]:
        """List the exposures, make sure that they can be used, and find what belongs together."""
        if isinstance(data, list | tuple) and data:
            self.set_primary_input(data[0])
        if isinstance(data, str | os.PathLike):
            data = self.make_input_path(os.fspath(data))
        products = list_products(data)
        infos = [describe(product.science) for product in products]
        for info in infos:
            self._check(info)
        self._products = with_other_segments(products, infos)
        return infos

    def _check(self, info: ExposureInfo) -> None:
        check_usable(info)
        if info.subtracted and not (self.bkg_subtract.skip or self.bkg_subtract.force):
            raise SossInputError(
                f"A background was subtracted from {info.name} already (S_BKDSUB or BKGSUB in its "
                "header); set --steps.bkg_subtract.skip=true to go on from there, or "
                "--steps.bkg_subtract.force=true to subtract again."
            )

    def _check_references(self, product: Spec2Product, info: ExposureInfo) -> None:
        """Name all references at once that are needed and not there."""
        extracted = info.filter == "CLEAR" and info.header["SUBARRAY"] != "FULL"
        if not (extracted or self.extract_1d.skip):
            self._notes.append(
                f"No spectrum is extracted from {info.name}: calwebb_spec2 does it for the filter "
                f"CLEAR in SUBSTRIP256 and SUBSTRIP96, not for {info.filter} in "
                f"{info.header['SUBARRAY']}."
            )
        missing = []
        for name, kinds in _REQUIRED.items():
            step = getattr(self, name)
            if step.skip or (name in ("extract_1d", "photom") and not extracted):
                continue
            for kind in kinds:
                problem = _problem(step, product.science, kind)
                if problem:
                    missing.append(
                        f"{kind} ({problem}; give it with --steps.{name}.override_{kind}=FILE)"
                    )
        if missing:
            raise SossInputError(
                f"{info.name} needs references that the CRDS context {_jwst.crds_context()} does "
                f"not give: {', '.join(missing)}."
            )

    def load_as_level2_asn(self, obj: Any) -> Any:
        """Give the input as a level-2 association with one exposure to a product.

        Parameters
        ----------
        obj : path, JwstDataModel, or list of them
            The input.

        Returns
        -------
        Association
            The association.  The background members are not in it: jwst would drop them.
        """
        if not self._products:
            self._look_at(obj)
        association = super().load_as_level2_asn(self._products[0].science)
        association["products"] = [product.as_dict() for product in self._products]
        if is_association(obj):
            association.filename = os.path.basename(obj)
        return association

    def process(self, data: Any) -> Any:
        """Run the steps.

        Parameters
        ----------
        data : path, JwstDataModel, or list of them
            The input; a ``.json`` path is a level-2 association.

        Returns
        -------
        list of JwstDataModel
            The calibrated images; the spectra are saved.

        Raises
        ------
        SossInputError
            If an exposure could not be calibrated, after all others were.
        """
        results = super().process(data)
        if self._failures and self.fail_on_exception:
            raise SossStepError(" ".join(self._failures))
        self._notes.extend(self._failures)
        return results

    def process_exposure_product(self, exp_product: Any, *args: Any, **kwargs: Any) -> Any:
        """Calibrate one exposure.

        Parameters
        ----------
        exp_product : dict
            Product of the association.
        *args, **kwargs
            As for ``Spec2Pipeline.process_exposure_product``.

        Returns
        -------
        JwstDataModel or None
            The calibrated image.
        """
        product = next(p for p in self._products if p.as_dict() == exp_product)
        try:
            self._refuse_overwriting(product)
            with self._members_given(product):
                result = super().process_exposure_product(exp_product, *args, **kwargs)
        except SossInputError as error:
            if not isinstance(error, SossStepError):
                log.error("%s", error)
            self._failures.append(str(error))
            return None
        self._note_background(product, result)
        return result

    @contextmanager
    def _members_given(self, product: Spec2Product) -> Iterator[None]:
        """Give the background step what belongs to an exposure."""
        step = self.bkg_subtract
        given = step.bkg_list, step.fit_with
        step.bkg_list = [*(step.bkg_list or ()), *product.background]
        step.fit_with = [*(step.fit_with or ()), *product.fit_with]
        try:
            yield
        finally:
            step.bkg_list, step.fit_with = given

    def _refuse_overwriting(self, product: Spec2Product) -> None:
        """Make sure that no product bears the name of an input."""
        given = [
            item
            for product in self._products
            for item in (product.science, *product.background)
            if isinstance(item, str)
        ]
        saving = [getattr(self, name) for name in self.step_defs]
        suffixes = [step.suffix for step in saving if step.save_results and step.suffix]
        if self.save_results:
            suffixes += ["cal", "calints", "x1d", "x1dints"]
        for suffix in suffixes:
            path = self.make_output_path(basepath=self.output_file or product.name, suffix=suffix)
            for other in given:
                if is_same_file(path, other):
                    raise SossInputError(
                        f"The product {path} would overwrite the input {other}; choose another "
                        "--output_dir or --output_file."
                    )

    def _note_background(self, product: Spec2Product, result: Any) -> None:
        """Keep for the end of the log that the background is still there."""
        if result is None or self.bkg_subtract.skip:
            return
        if result.meta.cal_step.bkg_subtract != "COMPLETE":
            record = result.meta.instance.get("soss_photcal", {}).get("soss_template_bkg", {})
            self._notes.append(
                f"No background was subtracted from {product.name}, and its spectra contain it: "
                f"{record.get('reason', 'the step was not run')}."
            )


def _for_crds(data: Any) -> Any:
    """Give what CRDS is asked about, or None if the input cannot be used; the run says so."""
    if data is None or isinstance(data, dict):
        return data
    try:
        return first_exposure(data)
    except SossInputError:
        return None


def _problem(step: Any, exposure: Any, kind: str) -> str:
    """Say why a step does not get a reference; empty if it does."""
    override = step.get_ref_override(kind)
    with _jwst.quiet_crds() as messages:
        try:
            reference = step.get_reference_file(exposure, kind)
        except OSError as error:
            return f"{override or kind}: {error.strerror or error}"
        except (Exception, SystemExit) as error:  # noqa: BLE001 (crds raises anything here)
            # The reason comes after a repetition of what was looked for.
            return crds_reason(error, messages).rpartition("  =   ")[2]
    none = isinstance(reference, str) and reference in ("", "N/A")
    wanted = override is None or kind not in _MAY_BE_NA
    return "N/A" if none and wanted else ""
