"""The pipeline's extraction of spectra, for all products of SOSS."""

from __future__ import annotations

import logging
from typing import Any

from jwst.extract_1d import Extract1dStep
from jwst.lib.pipe_utils import is_tso

__all__ = ["SossExtract1dStep"]

log = logging.getLogger(__name__)


class SossExtract1dStep(Extract1dStep):
    """The pipeline's ``extract_1d``, also for the mean of several integrations.

    The one of jwst copies the table of integration times of every SOSS exposure with more than
    one integration, and fails where there is none, as in a ``rate``.
    """

    @classmethod
    def get_config_reftype(cls) -> str:
        """Give the type of the parameter reference in CRDS.

        Returns
        -------
        str
            That of jwst's step.
        """
        return str(Extract1dStep.get_config_reftype())

    def process(self, input_data: Any) -> Any:
        """Extract the spectra.

        Parameters
        ----------
        input_data : path or JwstDataModel
            The calibrated exposure.

        Returns
        -------
        JwstDataModel or None
            The spectra.
        """
        model = self.prepare_output(input_data)
        count = model.meta.exposure.nints
        if not is_tso(model) or getattr(model, "int_times", None) is not None:
            return super().process(model)
        log.info(
            "%s has no table of integration times; the spectra get none.",
            model.meta.filename or "The exposure",
        )
        # With one integration jwst does not look for the times; nothing else depends on it.
        model.meta.exposure.nints = 1
        try:
            result = super().process(model)
        finally:
            model.meta.exposure.nints = count
        if result is not None:
            result.meta.exposure.nints = count
        return result
