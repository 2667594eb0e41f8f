"""References of a step: with CRDS, without it, and a sentence where one is missing."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from jwst.stpipe import Step
from stdatamodels.jwst.datamodels import JwstDataModel

from soss_photcal_steps import _jwst
from soss_photcal_steps.errors import SossInputError

__all__ = ["ReferenceStep", "crds_reason"]

log = logging.getLogger(__name__)


class ReferenceStep(Step):
    """A step that needs no CRDS where every reference is given.

    Attributes
    ----------
    optional_reference_types : tuple of str
        Types of references that the step can do without.  Each gets a parameter
        ``override_<type>``, and none is prefetched.
    """

    optional_reference_types: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def load_spec_file(cls, *args: Any, **kwargs: Any) -> Any:
        """Load the parameters' specification, with an override for each optional reference.

        Parameters
        ----------
        *args, **kwargs
            As for ``stpipe.Step.load_spec_file``.

        Returns
        -------
        configobj.ConfigObj
            The specification.
        """
        spec = super().load_spec_file(*args, **kwargs)
        for reference_type in cls.optional_reference_types:
            name = f"override_{reference_type}"
            spec[name] = "is_string_or_datamodel(default=None)"
            spec.inline_comments[name] = f"# Override the {reference_type} reference file"
        return spec

    @classmethod
    def get_config_from_reference(
        cls, dataset: Any, disable: bool | None = None, crds_observatory: str | None = None
    ) -> Any:
        """Give an empty configuration: CRDS has no parameters for these steps.

        Asking for them would need CRDS at every start.

        Parameters
        ----------
        dataset : object
            Ignored.
        disable : bool, optional
            Ignored.
        crds_observatory : str, optional
            Ignored.

        Returns
        -------
        configobj.ConfigObj
            Empty.
        """
        return _jwst.ConfigObj()

    @classmethod
    def _get_config_from_parameters(cls, crds_parameters: Any, crds_observatory: str) -> Any:
        # A pipeline asks each of its steps by this method.
        return _jwst.ConfigObj()

    @classmethod
    def build_config(cls, input: Any, **kwargs: Any) -> Any:  # noqa: A002 (the name in stpipe)
        """Build the configuration from parameter file and keyword arguments, not from CRDS.

        Parameters
        ----------
        input : object
            Ignored; stpipe would open it to ask CRDS for parameters.
        **kwargs
            Parameters, or ``config_file``.

        Returns
        -------
        config : configobj.ConfigObj
            The configuration.
        config_file : str or None
            Path of the parameter file.
        """
        return super().build_config(None, **kwargs)

    def get_reference_file(self, input_file: Any, reference_file_type: str) -> Any:
        """Get a reference: the override if there is one, else what CRDS selects.

        Parameters
        ----------
        input_file : JwstDataModel
            Its metadata select the reference.
        reference_file_type : str
            Type of the reference, as ``bkg``.

        Returns
        -------
        str or JwstDataModel
            Path of the file; ``"N/A"`` where CRDS or the user says that there is none; the
            model where the override is one.

        Raises
        ------
        SossInputError
            If the override cannot be read, or CRDS cannot be used or has no such reference.
        """
        override = self.get_ref_override(reference_file_type)
        if override is not None:
            try:
                return super().get_reference_file(input_file, reference_file_type)
            except OSError as error:
                raise SossInputError(
                    f"The file {override} given as override_{reference_file_type} cannot be "
                    f"read: {error.strerror}."
                ) from error
        with _jwst.quiet_crds() as messages:
            try:
                return super().get_reference_file(input_file, reference_file_type)
            except (Exception, SystemExit) as error:
                # crds raises anything here, SystemExit included; the user needs to know only
                # that the reference is missing, and how to give it.
                raise SossInputError(
                    f"The {reference_file_type} reference file is needed and CRDS did not give "
                    f"it ({crds_reason(error, messages)}); give the file with "
                    f"--override_{reference_file_type}=FILE, or set CRDS_PATH and "
                    "CRDS_SERVER_URL."
                ) from error

    def get_optional_reference(self, input_file: Any, reference_file_type: str) -> Any:
        """Get a reference that the step can do without.

        CRDS is asked only if the user has set it up; its failure is no error.

        Parameters
        ----------
        input_file : JwstDataModel
            Its metadata select the reference.
        reference_file_type : str
            Type of the reference, one of `optional_reference_types`.

        Returns
        -------
        str, JwstDataModel or None
            Path of the file, the model where the override is one, None where there is none.

        Raises
        ------
        SossInputError
            If there is an override and it cannot be read.
        """
        if self.get_ref_override(reference_file_type) is None:
            if not _jwst.crds_is_configured():
                log.info("No %s reference file: CRDS is not set up.", reference_file_type)
                return None
            try:
                reference = self.get_reference_file(input_file, reference_file_type)
            except SossInputError as error:
                log.warning("Going on without a reference file. %s", error)
                return None
        else:
            reference = self.get_reference_file(input_file, reference_file_type)
        return None if isinstance(reference, str) and reference in ("", "N/A") else reference

    def finalize_result(self, result: Any, reference_files_used: Sequence[tuple[str, str]]) -> None:
        """Write the references into a result, with what jwst writes besides.

        The CRDS context is looked up only if a reference came from CRDS, because that needs
        CRDS itself.

        Parameters
        ----------
        result : JwstDataModel or object
            The result; anything but a data model is left alone.
        reference_files_used : list of (type, name)
            The references.
        """
        if any(name.startswith("crds://") for _, name in reference_files_used):
            super().finalize_result(result, reference_files_used)
            return
        if isinstance(result, JwstDataModel):
            for reference_type, name in reference_files_used:
                if hasattr(result.meta.ref_file, reference_type):
                    getattr(result.meta.ref_file, reference_type).name = name
        super().finalize_result(result, [])

    def _override_paths(self) -> Iterator[str]:
        for reference_type in (*self.reference_file_types, *self.optional_reference_types):
            override = self.get_ref_override(reference_type)
            if isinstance(override, str) and override not in ("", "N/A"):
                yield override


def crds_reason(error: BaseException, messages: Sequence[str]) -> str:
    """Say in a few words why CRDS failed.

    Parameters
    ----------
    error : BaseException
        What crds raised, which may be ``SystemExit``.
    messages : sequence of str
        What it logged before, as from `soss_photcal_steps._jwst.quiet_crds`.

    Returns
    -------
    str
        The reason, without a full stop.
    """
    text = messages[-1] if messages else f"{error}"
    return text.replace("(FATAL)", "").strip().partition("\n")[0].partition(". ")[0].rstrip(". ")
