"""The base class of all steps: what they share in behaviour towards the user and the pipeline."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from jwst.stpipe import Step
from stdatamodels.jwst.datamodels import JwstDataModel

import soss_photcal_steps
from soss_photcal_steps import _jwst, provenance
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import Fingerprint, atomic_path, check_fits, fingerprint, is_same_file

__all__ = ["NEW_SUFFIXES", "SossStep", "SossStepError"]

log = logging.getLogger(__name__)

_PACKAGE = "soss_photcal_steps"

#: File name endings of this package's products that the jwst pipeline does not know.
NEW_SUFFIXES = ("sossbkg", "sossbkgints", "sossmask")
_NEW_SUFFIX = re.compile(rf"(?P<root>.+)(?P<separator>[_-])(?:{'|'.join(NEW_SUFFIXES)})")


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


class SossStep(Step):
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

    # A parameter, which stpipe sets from the specification.
    suffix: str | bool | None

    product_suffix: ClassVar[str] = "bsub"
    optional_reference_types: ClassVar[tuple[str, ...]] = ()

    # These hold during one run; the class attributes serve a method called outside of it.
    _running = False
    _given_suffix: str | bool | None = None
    _inputs: tuple[str, ...] = ()
    _written_history: Mapping[int, list[str]] = {}

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
        return cls._empty_config()

    @classmethod
    def _get_config_from_parameters(cls, crds_parameters: Any, crds_observatory: str) -> Any:
        # A pipeline asks each of its steps by this method.
        return cls._empty_config()

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

    @staticmethod
    def get_stpipe_loggers() -> tuple[str, ...]:
        """Name the loggers that are heard when the step runs by itself.

        Returns
        -------
        tuple of str
            Those of the pipeline's own steps and this package's.
        """
        return (*Step.get_stpipe_loggers(), _PACKAGE)

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
        suffix = self.suffix
        self._running = True
        self._given_suffix = suffix
        self._written_history = {}
        try:
            with _jwst.own_logger_heard(_PACKAGE):
                try:
                    if not args:
                        raise SossInputError(f"{self._label} needs an input file or data model.")
                    self._inputs = tuple(self._paths_given(args))
                    return super().run(*args)
                except SossInputError as error:
                    if isinstance(error, SossStepError):
                        raise
                    log.error("%s", error)
                    readable = SossStepError(str(error)).with_traceback(error.__traceback__)
                    raise readable from error.__cause__
        finally:
            # stpipe stores the default suffix here, where it cannot be told from the user's.
            self.suffix = suffix
            self._running = False
            self._given_suffix = None
            self._inputs = ()
            self._written_history = {}

    @property
    def _label(self) -> str:
        return self.class_alias or self.name

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
        try:
            return super().prepare_output(path, **kwargs)
        except MemoryError:
            raise
        except Exception as error:
            # Whatever astropy, asdf or stdatamodels stumbles over, the file is at fault.
            raise SossInputError(
                f"The file {path} cannot be opened as a JWST data model: {error}"
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
                    f"it ({_crds_reason(error, messages)}); give the file with "
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
        """Write versions, references and log into a result.

        The CRDS context is looked up only if a reference came from CRDS, because that needs
        CRDS itself.

        Parameters
        ----------
        result : JwstDataModel or object
            The result; anything but a data model is left alone.
        reference_files_used : list of (type, name)
            The references.
        """
        log.info("Results used %s version: %s", _PACKAGE, soss_photcal_steps.__version__)
        if any(name.startswith("crds://") for _, name in reference_files_used):
            super().finalize_result(result, reference_files_used)
            return
        if isinstance(result, JwstDataModel):
            for reference_type, name in reference_files_used:
                if hasattr(result.meta.ref_file, reference_type):
                    getattr(result.meta.ref_file, reference_type).name = name
        super().finalize_result(result, [])

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
                "software": _PACKAGE,
                "version": version,
                "status": status,
                "inputs": [item.as_dict() for item in prints],
                **(meta or {}),
            },
        )
        lines = provenance.history_lines(f"{self._label} {status} by {_PACKAGE} {version}", prints)
        provenance.put_history(model, lines, self._written_history.get(id(model), ()))
        self._written_history = {**self._written_history, id(model): lines}

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
            with atomic_path(path) as temporary:
                yield temporary
        except OSError as error:
            raise SossInputError(f"{path} cannot be written: {error.strerror or error}.") from error
        log.info("Saved %s", path)

    def _override_paths(self) -> Iterator[str]:
        for reference_type in (*self.reference_file_types, *self.optional_reference_types):
            override = self.get_ref_override(reference_type)
            if isinstance(override, str) and override not in ("", "N/A"):
                yield override

    def protect(self, *paths: str | os.PathLike[str]) -> None:
        """Name further inputs that no product of this run may overwrite.

        Parameters
        ----------
        *paths : path
            The files, such as members of an association.
        """
        self._inputs = (*self._inputs, *(str(path) for path in paths))

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


def _crds_reason(error: BaseException, messages: Sequence[str]) -> str:
    """Say in a few words why CRDS failed."""
    text = messages[-1] if messages else f"{error}"
    return text.replace("(FATAL)", "").strip().partition("\n")[0].partition(". ")[0].rstrip(". ")
