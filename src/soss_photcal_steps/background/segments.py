"""A step that takes files or models, and streams the files where that is possible."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stdatamodels.jwst.datamodels import JwstDataModel

from soss_photcal_steps.background.inputs import ExposureInfo, read_association
from soss_photcal_steps.background.ondisk import read_on_demand
from soss_photcal_steps.background.progress import Progress
from soss_photcal_steps.background.readers import (
    Integrations,
    ModelIntegrations,
    StreamedIntegrations,
)
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import is_association
from soss_photcal_steps.ratefile import RateFile, open_metadata
from soss_photcal_steps.ratelayout import check_flags
from soss_photcal_steps.step import SossStep
from soss_photcal_steps.stream import write_subtracted

__all__ = ["Segment", "SegmentStep", "is_series"]

log = logging.getLogger(__name__)


@dataclass
class Segment:
    """One file or model of the input.

    Attributes
    ----------
    model : JwstDataModel
        The model; of a streamed file only its metadata.
    info : ExposureInfo
        What its header says.
    integrations : Integrations
        Its pixels.
    path : str
        The file; empty for a model.
    source : RateFile or None
        The file if it is streamed.
    background : ndarray or callable
        What is to be subtracted from a streamed file when it is written.
    extra_variance : ndarray or None
        What is to be added to the variances of a streamed file.
    written : str
        The product, if it was streamed.
    """

    model: JwstDataModel
    info: ExposureInfo
    integrations: Integrations
    path: str = ""
    source: RateFile | None = None
    background: np.ndarray | Callable[[int, int], np.ndarray] | None = None
    extra_variance: np.ndarray | None = None
    written: str = ""


def is_series(item: Any) -> bool:
    """Tell whether an input stands for several files.

    Parameters
    ----------
    item : object
        The input of a step.

    Returns
    -------
    bool
        True for an association and a list.
    """
    return is_association(item) or (isinstance(item, Sequence) and not isinstance(item, str))


class SegmentStep(SossStep):
    """A step that opens its input with `open_segment`.

    Alone and from file to file, pixels are read and written a few integrations at a time; in
    a pipeline, and of a model, the step works in place on the model.
    """

    # Parameters, which stpipe sets from the specification.
    output_file: str | None
    output_use_model: bool

    # Files that are streamed in the current run.
    _streamed: Sequence[Segment] = ()
    _files: ExitStack | None = None

    def run(self, *args: Any) -> Any:
        """Run the step.

        From file to file, the pixels are streamed.  The model that is then returned is that
        of the product, and reads its pixels from there when they are asked for.

        Parameters
        ----------
        *args
            As for ``process``.

        Returns
        -------
        JwstDataModel or list of JwstDataModel
            As ``process``.
        """
        output_use_model = self.output_use_model
        try:
            with ExitStack() as self._files:
                result = super().run(*args)
                if isinstance(result, list):
                    return [self._product(model) for model in result]
                return self._product(result)
        finally:
            self.output_use_model = output_use_model
            self._streamed, self._files = (), None

    def _product(self, model: Any) -> Any:
        """Give the product that was written of a streamed file; any other model as it is."""
        for segment in self._streamed:
            if segment.model is model and segment.written:
                return read_on_demand(model, segment.written)
        return model

    def list_members(self, item: Any) -> tuple[list[Any], list[str]]:
        """List the files or models that an input stands for.

        Parameters
        ----------
        item : path, JwstDataModel, or list of them
            The input; a ``.json`` path is a level-2 association.

        Returns
        -------
        given : list of path or JwstDataModel
            The segments.
        background : list of str
            Dedicated background exposures of an association.

        Raises
        ------
        SossInputError
            If there are none, or the association cannot be used.
        """
        if not is_series(item):
            return [item], []
        background: list[str] = []
        if isinstance(item, str | Path):
            path = self.make_input_path(str(item))
            self.check_file(path)
            association = read_association(path)
            given: list[Any] = list(association.science)
            background = list(association.background)
            log.info(
                "Association %s: %d science and %d background members.",
                association.name, len(given), len(background),
            )  # fmt: skip
            self.protect(*given, *background)
        else:
            given = list(item)
        if not given:
            raise SossInputError("The list of inputs is empty.")
        self.set_primary_input(given[0])
        if self.output_file is None:
            self.output_use_model = True
        return given, background

    def open_segment(self, item: Any) -> Segment:
        """Open one file or model of the input.

        Parameters
        ----------
        item : path or JwstDataModel
            The input.

        Returns
        -------
        Segment
            Its metadata, and what reads its pixels.

        Raises
        ------
        SossInputError
            If it is neither, or cannot be read.
        """
        if not isinstance(item, str | Path | JwstDataModel):
            raise SossInputError(
                "The step needs rate or rateints, as files or data models, not "
                f"{type(item).__name__}."
            )
        if isinstance(item, JwstDataModel):
            model = self.prepare_output(item)
            return Segment(model, ExposureInfo.from_model(model), ModelIntegrations(model))
        path = self.make_input_path(str(item))
        self.check_file(path)
        # A hook gets the result before it is written, so it must be complete by then.
        if self.parent is None and self.save_results and not self.post_hooks:
            segment = self._open_streamed(path)
            if segment is not None:
                self._streamed = [*self._streamed, segment]
                return segment
        return self._open_whole(path)

    def _open_whole(self, path: str) -> Segment:
        """Open a file and read it as a whole."""
        if path.lower().endswith(".fits"):
            self.check_file(path)
            check_flags(path)
        model = self.prepare_output(path)
        model.meta.filename = os.path.basename(path)
        return Segment(model, ExposureInfo.from_model(model), ModelIntegrations(model), path)

    def _open_streamed(self, path: str) -> Segment | None:
        """Open a file to be streamed; None if it has to be read as a whole."""
        if not path.lower().endswith(".fits") or self._files is None:
            return None
        source = self._files.enter_context(RateFile(path))
        if not source.streamable:
            log.info("%s is read as a whole: %s.", path, source.reason)
            return None
        model = open_metadata(source)
        model.meta.filename = os.path.basename(path)
        info = ExposureInfo.from_model(model, source.shape)
        return Segment(model, info, StreamedIntegrations(source), path, source)

    def write_product(self, model: JwstDataModel, path: str) -> None:
        """Write a product; a streamed one is made only now.

        Parameters
        ----------
        model : JwstDataModel
            The product.
        path : str
            A temporary path with the final file name.
        """
        for segment in self._streamed:
            if segment.model is model and segment.source is not None:
                unchanged = np.zeros((1, 1), np.float32)
                with Progress("writing", segment.integrations.shape[0]) as progress:
                    write_subtracted(
                        segment.source,
                        path,
                        model,
                        unchanged if segment.background is None else segment.background,
                        extra_variance=segment.extra_variance,
                        progress=progress,
                    )
                return
        super().write_product(model, path)

    def save_model(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        """Save a model, see `SavingStep.save_model`.

        Parameters
        ----------
        model : JwstDataModel
            The product.
        *args, **kwargs
            As for `SavingStep.save_model`.

        Returns
        -------
        str or None
            Path of what was saved.
        """
        path = super().save_model(model, *args, **kwargs)
        for segment in self._streamed:
            if segment.model is model and path:
                segment.written = path
        return path
