"""The base class of all steps: what they share in behaviour towards the user and the pipeline."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stdatamodels.jwst.datamodels import JwstDataModel

import soss_photcal_steps
from soss_photcal_steps import _jwst, provenance
from soss_photcal_steps.files import Fingerprint, fingerprint
from soss_photcal_steps.saving import SavingStep
from soss_photcal_steps.speaking import PACKAGE, SossStepError, SpeakingMixin

__all__ = ["SossStep", "SossStepError"]

log = logging.getLogger(__name__)


class SossStep(SpeakingMixin, SavingStep):
    """Base class of the steps of this package.

    A subclass sets ``class_alias``, ``spec``, ``product_suffix`` and, if it has any,
    ``reference_file_types`` and ``optional_reference_types``, and defines
    ``process(self, input, *_)``; the further arguments are those that a hook gets of the step
    that it is hooked to.  It opens its input with `prepare_output`, and calls `record` on each
    model that it returns.

    Attributes
    ----------
    product_suffix : str
        File name ending of the product, without ``ints``.
    optional_reference_types : tuple of str
        Types of references that the step can do without.  Each gets a parameter
        ``override_<type>``, and none is prefetched.
    """

    spec = """
    input_checksum = option('auto', 'full', 'sampled', 'none', default='auto')  # SHA-256 of inputs for the record: of the whole file, of samples, none; auto is full up to 256 MiB
    """  # noqa: E501 (a parameter's help is its line's comment, and cannot be wrapped)

    # What was written to the HISTORY of which model in the current run.
    _written_history: Mapping[int, list[str]] = {}

    def run(self, *args: Any) -> Any:
        """Run the step.

        Parameters
        ----------
        *args
            Input first; a hook gets all arguments of the step that it is hooked to.

        Returns
        -------
        object
            What ``process`` returned.
        """
        self._written_history = {}
        _jwst.load_asdf_extensions()
        try:
            return super().run(*args)
        finally:
            self._written_history = {}

    def finalize_result(self, result: Any, reference_files_used: Sequence[tuple[str, str]]) -> None:
        """Write versions, references and log into a result.

        Parameters
        ----------
        result : JwstDataModel or object
            The result; anything but a data model is left alone.
        reference_files_used : list of (type, name)
            The references.
        """
        log.info("Results used %s version: %s", PACKAGE, soss_photcal_steps.__version__)
        super().finalize_result(result, reference_files_used)

    def record(
        self,
        model: JwstDataModel,
        *,
        cal_step: str | None = None,
        status: str = "COMPLETE",
        cards: Iterable[tuple[str, Any, str]] = (),
        meta: Mapping[str, Any] | None = None,
        inputs: Iterable[str | os.PathLike[str] | Fingerprint] = (),
    ) -> None:
        """Write down in a model what the step did to it; the model is edited.

        The record goes into the primary header, into the metadata at
        ``meta.soss_photcal.<alias>``, and into HISTORY with the package's version.  A second
        call in the same run replaces the first.  In a later run, cards and metadata are
        replaced, and HISTORY grows only if something differs.

        Parameters
        ----------
        model : JwstDataModel
            The model.
        cal_step : str, optional
            Attribute of ``meta.cal_step`` that tells about this kind of calibration.
        status : {"COMPLETE", "SKIPPED", "FAILED"}, optional
            How it went.
        cards : iterable of (key, value, comment), optional
            Header cards, see `provenance.put_cards`.
        meta : mapping, optional
            Metadata, see `provenance.plain` for what they may hold.
        inputs : iterable of path or Fingerprint, optional
            Files that went in; their checksums are taken as ``input_checksum`` says.

        Raises
        ------
        SossInputError
            If an input cannot be read.
        ValueError
            If the status or a keyword is not valid.
        """
        if status not in ("COMPLETE", "SKIPPED", "FAILED"):
            raise ValueError(f"unknown status {status!r}")
        prints = [
            item if isinstance(item, Fingerprint) else fingerprint(item, self.input_checksum)
            for item in inputs
        ]
        version = soss_photcal_steps.__version__
        if cal_step is not None:
            setattr(model.meta.cal_step, cal_step, status)
        provenance.put_cards(model, cards)
        provenance.put_meta(
            model,
            self._label,
            {
                "software": PACKAGE,
                "version": version,
                "status": status,
                "inputs": [item.as_dict() for item in prints],
                **(meta or {}),
            },
        )
        lines = provenance.history_lines(f"{self._label} {status} by {PACKAGE} {version}", prints)
        provenance.put_history(model, lines, self._written_history.get(id(model), ()))
        self._written_history = {**self._written_history, id(model): lines}
