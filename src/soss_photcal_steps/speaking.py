"""What steps and pipelines share towards the user: a log that is heard, and errors as sentences."""

from __future__ import annotations

import logging
from typing import Any

from soss_photcal_steps import _jwst
from soss_photcal_steps.errors import SossInputError

__all__ = ["PACKAGE", "SossStepError", "SpeakingMixin"]

log = logging.getLogger(__name__)

#: Name of the package, and of the logger above all its loggers.
PACKAGE = "soss_photcal_steps"


class SossStepError(SossInputError, _jwst.StpipeExitException):
    """A `SossInputError` on its way out of a step.

    ``strun`` ends on the second of its base classes with ``exit_status``, without a traceback.

    Parameters
    ----------
    message : str
        The sentence for the user.
    """

    exit_status = 1

    def __init__(self, message: str):
        ValueError.__init__(self, message)


class SpeakingMixin:
    """Part of a step or pipeline, to stand before ``jwst.stpipe.Step`` among its base classes."""

    class_alias: str | None
    name: str

    @classmethod
    def get_stpipe_loggers(cls) -> tuple[str, ...]:
        """Name the loggers that are heard when the step runs by itself.

        Returns
        -------
        tuple of str
            Those of the pipeline's own steps and this package's.
        """
        inherited: tuple[str, ...] = super().get_stpipe_loggers()  # type: ignore[misc]  # stpipe's
        return (*inherited, PACKAGE)

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

        Raises
        ------
        SossInputError
            If something that the user gave cannot be used.
        """
        with _jwst.own_logger_heard(PACKAGE):
            try:
                if not args:
                    raise SossInputError(f"{self._label} needs an input file or data model.")
                return super().run(*args)  # type: ignore[misc]  # that of stpipe's Step
            except SossStepError:
                raise
            except SossInputError as error:
                log.error("%s", error)
                readable = SossStepError(str(error)).with_traceback(error.__traceback__)
                raise readable from error.__cause__

    @property
    def _label(self) -> str:
        return self.class_alias or self.name
