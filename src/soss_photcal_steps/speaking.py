"""What steps and pipelines share towards the user: a log that is heard, and errors as sentences."""

from __future__ import annotations

import logging
import os
from typing import Any

from soss_photcal_steps import _jwst
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.parameters import (
    check_class,
    check_parameter_file,
    refuse_in_a_sentence,
)

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

    @classmethod
    def build_config(cls, input: Any, **kwargs: Any) -> Any:  # noqa: A002 (the name in stpipe)
        """Build the configuration.

        Parameters
        ----------
        input : object
            The input.
        **kwargs
            Parameters, or ``config_file``.

        Returns
        -------
        config : configobj.ConfigObj
            The configuration.
        config_file : str or None
            Path of the parameter file.

        Raises
        ------
        SossInputError
            If the parameter file cannot be used, or is for another step.
        """
        path = kwargs.get("config_file")
        if path is not None:
            check_parameter_file(path)
        _check_step_files(kwargs.get("steps"), path)
        with refuse_in_a_sentence(cls._say_class(), path):
            config, config_file = super().build_config(input, **kwargs)  # type: ignore[misc]  # stpipe's
        if path is not None:
            check_class(config, cls, path)
        return config, config_file

    @classmethod
    def merge_config(cls, config: Any, config_file: Any) -> Any:
        """Merge the parameter files of single steps into a configuration.

        Parameters
        ----------
        config : configobj.ConfigObj
            The configuration.
        config_file : path or None
            The parameter file that it is from, which paths in it are relative to.

        Returns
        -------
        configobj.ConfigObj
            The configuration.
        """
        _check_step_files(config.get("steps"), config_file)
        return super().merge_config(config, config_file)  # type: ignore[misc]  # stpipe's

    @classmethod
    def from_config_section(
        cls, config: Any, parent: Any = None, name: Any = None, config_file: Any = None
    ) -> Any:
        """Make a step of a configuration.

        Parameters
        ----------
        config : configobj.ConfigObj
            The configuration.
        parent : jwst.stpipe.Step, optional
            The pipeline that it is part of.
        name : str, optional
            Its name.
        config_file : path, optional
            The parameter file.

        Returns
        -------
        SpeakingMixin
            The step.

        Raises
        ------
        SossInputError
            If a parameter does not exist, or has no possible value.
        """
        try:
            with refuse_in_a_sentence(cls._say_class(), config_file):
                return super().from_config_section(  # type: ignore[misc]  # stpipe's
                    config, parent=parent, name=name, config_file=config_file
                )
        except SossInputError as error:
            # Outside of run, but under strun too, which ends on it without a traceback.
            if isinstance(error, SossStepError):
                raise
            log.error("%s", error)
            raise SossStepError(str(error)) from error

    @classmethod
    def _say_class(cls) -> str:
        return cls.class_alias or cls.__name__

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


def _check_step_files(steps: Any, config_file: Any) -> None:
    """Check the parameter files of single steps, whose paths are relative to that of the whole."""
    for step in steps.values() if isinstance(steps, dict) else ():
        path = step.get("config_file") if isinstance(step, dict) else None
        if isinstance(path, str) and path:
            check_parameter_file(os.path.join(os.path.dirname(config_file or ""), path))
