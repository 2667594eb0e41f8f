"""Files of a step: opening them, naming them, writing them without risk."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from stdatamodels.jwst.datamodels import JwstDataModel

from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.files import atomic_path, check_fits, is_same_file
from soss_photcal_steps.references import ReferenceStep
from soss_photcal_steps.strangers import check_asdf, check_asdf_extension

__all__ = ["NEW_SUFFIXES", "SavingStep"]

log = logging.getLogger(__name__)

#: File name endings of this package's products that the jwst pipeline does not know.
NEW_SUFFIXES = (
    "sossbkg",
    "sossbkgints",
    "sossmask",
    "sossratio",
    "sossspectra",
    "sosscorr",
    "sosscorr-order1",
    "sosscorr-order2",
    "sosscorr-order3",
    "sosscorr-influence1",
    "sosscorr-influence2",
    "sosscorr-influence3",
    "sosscorr-response1",
    "sosscorr-response2",
    "sosscorr-response3",
    "sosscorr-trend",
    "photom",
    "sosslib",
    r"sosslib-template\d+",
)
_NEW_SUFFIX = re.compile(rf"(?P<root>.+)(?P<separator>[_-])(?:{'|'.join(NEW_SUFFIXES)})")


class SavingStep(ReferenceStep):
    """A step whose products are complete or not there, and never replace an input.

    Attributes
    ----------
    product_suffix : str
        File name ending of the product, without ``ints``.
    """

    # Parameters, which stpipe sets from the specification.
    suffix: str | bool | None

    product_suffix: ClassVar[str] = "bsub"

    # These hold during one run; the class attributes serve a method called outside of it.
    _running = False
    _given_suffix: str | bool | None = None
    _inputs: tuple[str, ...] = ()
    # Whether the step has run, and the input folder that it had before.
    _has_run = False
    _first_input_dir: str | None = None

    def run(self, *args: Any) -> Any:
        """Run the step.

        Parameters
        ----------
        *args
            Input first.

        Returns
        -------
        object
            What ``process`` returned.
        """
        # stpipe names the products of all runs of an instance after the input of the first.
        if self._has_run:
            self._input_filename = None
            self._input_dir = self._first_input_dir
        else:
            self._first_input_dir = self._input_dir
        self._has_run = True
        # stpipe stores the default suffix there, where it cannot be told from the user's.
        suffix = self.suffix
        self._given_suffix = suffix
        self._inputs = tuple(self._paths_given(args))
        self._running = True
        try:
            return super().run(*args)
        finally:
            self.suffix = suffix
            self._given_suffix = None
            self._inputs = ()
            self._running = False

    def prepare_output(self, init: Any, **kwargs: Any) -> Any:
        """Open the input as a data model, or copy the model where the caller keeps it.

        Parameters
        ----------
        init : path, JwstDataModel, or as for ``jwst.stpipe.Step.prepare_output``
            The input.
        **kwargs
            As for ``jwst.stpipe.Step.prepare_output``.

        Returns
        -------
        JwstDataModel
            The model; the step may edit it.

        Raises
        ------
        SossInputError
            If a file is missing, truncated, or not readable as a data model.
        """
        if not isinstance(init, str | Path):
            return super().prepare_output(init, **kwargs)
        path = self.make_input_path(str(init))
        self.check_file(path)
        if path.lower().endswith(".fits"):
            check_asdf_extension(path)
        elif path.lower().endswith(".asdf"):
            check_asdf(path)
        try:
            return super().prepare_output(path, **kwargs)
        except MemoryError:
            raise
        except Exception as error:
            # Whatever astropy, asdf or stdatamodels stumbles over, the file is at fault.
            raise SossInputError(
                f"The file {path} cannot be opened as a JWST data model: {reason(error)}."
            ) from error

    @staticmethod
    def check_file(path: str | os.PathLike[str]) -> None:
        """Make sure that a file is there and, if it is FITS, complete.

        Parameters
        ----------
        path : path
            The file.

        Raises
        ------
        SossInputError
            If it is not.
        """
        if str(path).lower().endswith(".fits"):
            check_fits(path)
        elif not os.path.isfile(path):
            raise SossInputError(f"The file {path} does not exist.")

    def default_suffix(self) -> str:
        """Give the file name ending of the product where no model says more.

        Returns
        -------
        str
            `product_suffix`.
        """
        return self.product_suffix

    def suffix_for(self, model: JwstDataModel) -> str:
        """Give the file name ending of a product.

        Parameters
        ----------
        model : JwstDataModel
            The product.

        Returns
        -------
        str
            `product_suffix`, followed by ``ints`` if the model holds integrations.
        """
        shape = model.shape
        return self.product_suffix + ("ints" if shape is not None and len(shape) == 3 else "")

    def remove_suffix(self, name: str) -> tuple[str, str]:
        """Remove the ending of a kind of product from a file name.

        Parameters
        ----------
        name : str
            File name without its extension.

        Returns
        -------
        name : str
            The name without the ending.
        separator : str
            What stood before the ending, or an underscore.
        """
        match = _NEW_SUFFIX.fullmatch(name)
        if match is None:
            return super().remove_suffix(name)
        return match["root"], match["separator"]

    def save_model(
        self,
        model: Any,
        suffix: str | bool | None = None,
        idx: Any = None,
        output_file: str | None = None,
        force: bool = False,
        **components: Any,
    ) -> Any:
        """Save a model under the step's naming scheme, completely or not at all.

        Parameters
        ----------
        model : JwstDataModel, or a container or library of models
            What is saved.
        suffix : str or False, optional
            File name ending; by default the user's, else `suffix_for` the model.  False
            leaves the name as it is.
        idx : object, optional
            Index in the file name.
        output_file : str, optional
            File name; by default the step's parameter of that name, else the input's name.
        force : bool, optional
            Save even if the step was not asked to.
        **components
            Further parts of the file name.

        Returns
        -------
        str, list of str, or None
            Path or paths of what was saved, None if nothing was to be saved.

        Raises
        ------
        SossInputError
            If the file is one of the inputs, or cannot be written.
        """
        if not isinstance(model, JwstDataModel):
            return super().save_model(model, suffix, idx, output_file, force, **components)
        output_file = output_file or self.output_file
        if not (force or self.save_results or output_file):
            return None
        if self.output_use_model or (output_file is None and not self.search_output_file):
            output_file, idx = model.meta.filename, None
        if suffix is None:
            suffix = self._given_suffix if self._running else self.suffix
        if suffix is None:
            suffix = self.suffix_for(model)
        path = self.make_output_path(basepath=output_file, suffix=suffix, idx=idx, **components)
        with self._new_file(path) as temporary:
            self.write_product(model, temporary)
        return path

    def write_product(self, model: JwstDataModel, path: str) -> None:
        """Write a product to a file; for a subclass that streams its product to override.

        Parameters
        ----------
        model : JwstDataModel
            The product.
        path : str
            A temporary path with the final file name; the file is moved afterwards.
        """
        model.save(path)

    @contextmanager
    def side_product(self, suffix: str, ext: str = ".fits") -> Iterator[str]:
        """Give the path for a further product, such as a plot or a mask, to write to.

        The file gets its final name, the product's with another ending, when it is complete.

        Parameters
        ----------
        suffix : str
            File name ending.
        ext : str, optional
            Extension.

        Yields
        ------
        str
            A temporary path with the final file name.

        Raises
        ------
        SossInputError
            If the file is one of the inputs, or cannot be written.
        """
        with self._new_file(self.make_output_path(suffix=suffix, ext=ext)) as temporary:
            yield temporary

    @contextmanager
    def _new_file(self, path: str) -> Iterator[str]:
        for given in (*self._inputs, *self._override_paths()):
            if is_same_file(path, given):
                raise SossInputError(
                    f"The product would overwrite the input {given}; choose another "
                    "--output_file, --output_dir or --suffix."
                )
        try:
            # stpipe makes the user's output folder only since version 1.
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            with atomic_path(path) as temporary:
                yield temporary
        except OSError as error:
            raise SossInputError(f"{path} cannot be written: {error.strerror or error}.") from error
        log.info("Saved %s", path)

    def protect(self, *paths: str | os.PathLike[str]) -> None:
        """Name further inputs that no product of this run may overwrite.

        Parameters
        ----------
        *paths : path
            The files, such as members of an association.
        """
        self._inputs = (*self._inputs, *(str(path) for path in paths))

    def given_file(self, name: str | os.PathLike[str]) -> str:
        """Find a further input that a parameter names; no product of this run may overwrite it.

        Parameters
        ----------
        name : path
            What the user gave.

        Returns
        -------
        str
            Its path.

        Raises
        ------
        SossInputError
            If it is not there or, if it is FITS, not complete.
        """
        path = self.make_input_path(str(name))
        self.check_file(path)
        self.protect(path)
        return str(path)

    def _paths_given(self, args: Iterable[Any]) -> Iterator[str]:
        """List the files among the arguments, those that models were read from included."""
        for argument in args:
            if isinstance(argument, str | Path):
                yield self.make_input_path(str(argument))
            elif isinstance(argument, JwstDataModel):
                # A model knows the name of its file, not the folder.
                if argument.meta.filename:
                    yield os.path.join(self.input_dir, os.path.basename(argument.meta.filename))
            elif isinstance(argument, list | tuple):
                yield from self._paths_given(argument)
