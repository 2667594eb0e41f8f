"""The pipeline from an association of observations to the photom file."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jwst
from jwst.stpipe import Pipeline

import soss_photcal_steps
from soss_photcal_steps import _jwst
from soss_photcal_steps.association import first_exposure
from soss_photcal_steps.combine.combine_step import SossPhotomCombineStep
from soss_photcal_steps.combine.inputs import read_ratio_product
from soss_photcal_steps.combine.photom_file import find_photom
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import fingerprint, is_association
from soss_photcal_steps.leftovers import remove_leftovers
from soss_photcal_steps.models import SossPhotomCorrectionModel, open_product
from soss_photcal_steps.photcal.members import Observation, group_members, read_association
from soss_photcal_steps.photcal.spec2_input import product_root, run_spec2
from soss_photcal_steps.photcal.state import State, stage_key
from soss_photcal_steps.photcal.validation import validate_star
from soss_photcal_steps.photom.validate_files import ValidationOutcome
from soss_photcal_steps.pipeline import SossSpec2Pipeline
from soss_photcal_steps.provenance import plain
from soss_photcal_steps.ratio.ratio_step import SossRatioStep
from soss_photcal_steps.ratio.standards import StandardsTable, load_standards
from soss_photcal_steps.run.lock import folder_lock
from soss_photcal_steps.speaking import SossStepError, SpeakingMixin

__all__ = ["SossPhotcalPipeline"]

log = logging.getLogger(__name__)

# Parameters that say where files are, and nothing of what becomes of them.
_PLACES = ("input_dir", "output_dir", "output_file", "save_results")


class SossPhotcalPipeline(SpeakingMixin, Pipeline):
    """Derive a photom file from observations of standard stars.

    The input is a level-3 style association.  Its members are ``rate`` or ``rateints`` (then
    ``soss_spec2`` is run for each observation), extracted spectra (``soss_ratio``), or ratio
    products, as the user has them, of the types ``science``, ``stability``, ``background`` and
    ``test``.  What was made by an earlier run from the same inputs, parameters and versions is
    not made again.  An observation that fails does not stop the others.
    """

    class_alias = "soss_photcal"

    spec = """
    report = boolean(default=True)  # Write a report, one HTML file that opens in any browser
    force = boolean(default=False)  # Make everything again, also what an earlier run made from the same inputs, parameters and versions
    """  # noqa: E501 (a parameter's help is its line's comment, and cannot be wrapped)

    step_defs = {  # noqa: RUF012 (as every pipeline of jwst has it)
        "soss_spec2": SossSpec2Pipeline,
        "soss_ratio": SossRatioStep,
        "soss_photom_combine": SossPhotomCombineStep,
    }

    # Parameters of the sub-steps, as they were when the run began.
    _parameters: dict[str, Any]
    # Stars for a test, and their spectra.
    _tests: list[tuple[Observation, list[str]]]

    # Parameters, which stpipe sets from the specification, and steps, which it makes.
    force: bool
    report: bool
    output_dir: str | None
    output_file: str | None
    soss_spec2: SossSpec2Pipeline
    soss_ratio: SossRatioStep
    soss_photom_combine: SossPhotomCombineStep

    @classmethod
    def get_config_from_reference(
        cls, dataset: Any, disable: bool | None = None, crds_observatory: str | None = None
    ) -> Any:
        """Get the parameters of the sub-steps from CRDS, for the first exposure of rates.

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
            The parameters; none if there are no rates.
        """
        config = _jwst.ConfigObj()
        exposure = _first_rate(dataset)
        if exposure is not None:
            found = SossSpec2Pipeline.get_config_from_reference(exposure, disable, crds_observatory)
            config.setdefault("steps", {})["soss_spec2"] = found
        return config

    @classmethod
    def build_config(cls, input: Any, **kwargs: Any) -> Any:  # noqa: A002 (the name in stpipe)
        """Build the configuration.

        Parameters
        ----------
        input : path
            The association.
        **kwargs
            Parameters, or ``config_file``.

        Returns
        -------
        config : configobj.ConfigObj
            The configuration.
        config_file : str or None
            Path of the parameter file.
        """
        return super().build_config(_first_rate(input), **kwargs)

    def prefetch(self, *args: Any) -> None:
        """Fetch nothing: each observation has its own references, which its run fetches.

        Parameters
        ----------
        *args
            The input.
        """

    def save_model(self, *args: Any, **kwargs: Any) -> None:
        """Save nothing: each stage has saved its products.

        Parameters
        ----------
        *args, **kwargs
            As for ``stpipe.Step.save_model``.
        """

    def finalize_result(self, result: Any, _reference_files_used: Any) -> None:
        """Name the CRDS context, if there is one: spectra and ratios need none.

        Parameters
        ----------
        result : SossPhotomCorrectionModel
            The correction, which its own step has finished.
        _reference_files_used : list
            None; each stage has its own.
        """
        context = _context()
        if context:
            log.info("Results used CRDS context: %s", context)

    def process(self, input: Any) -> SossPhotomCorrectionModel:  # noqa: A002 (the name in stpipe)
        """Run all stages.

        Parameters
        ----------
        input : path
            The association.

        Returns
        -------
        SossPhotomCorrectionModel
            The correction; the photom file lies beside it.

        Raises
        ------
        SossInputError
            If the association cannot be used, another run is at work in the folder, nothing is
            left to be combined, or, after all else is done, some observations failed.
        """
        if not is_association(input):
            raise SossInputError("soss_photcal needs an association, a .json file.")
        path = os.path.abspath(self.make_input_path(os.fspath(input)))
        name, members = read_association(path)
        folder = os.path.abspath(self.output_dir or os.getcwd())
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise SossInputError(f"{folder} cannot be made: {error.strerror}.") from error
        with self._alone_in(folder):
            return self._work(name, members, folder)

    @contextmanager
    def _alone_in(self, folder: str) -> Iterator[None]:
        """Keep other runs out of the folder, and remove what killed ones have left."""
        with folder_lock(folder):
            for one in remove_leftovers(folder):
                log.info("Removed %s, which a run that was killed had left.", one)
            yield

    def _work(
        self, name: str, members: Sequence[dict[str, Any]], folder: str
    ) -> SossPhotomCorrectionModel:
        """Run all stages in a folder that is locked."""
        state = State(os.path.join(folder, f"{name}_photcal.json"), self.force)
        # Taken now, because a run of jwst's steps may leave other values behind.
        self._parameters = {step: _parameters(getattr(self, step)) for step in self.step_defs}
        observations, failures = group_members(members)
        for file, reason in failures:
            log.error("%s is left out: %s", file, reason)
        ratios: list[tuple[Observation, str]] = []
        self._tests = []
        for number, one in enumerate(observations, 1):
            log.info(
                "Observation %d of %d: %s, %s, %d file(s) of %s.",
                number, len(observations), one.name, one.target, len(one.files), one.kind,
            )  # fmt: skip
            try:
                products = self._observation(one, folder, state)
            except Exception as error:  # noqa: BLE001 (one bad observation stops no other)
                if not isinstance(error, SossInputError):
                    log.debug("%s", traceback.format_exc())
                failures.append((one.name, f"{error}"))
                log.error("Observation %s failed: %s", one.name, error)
                continue
            if one.exptype == "test":
                self._tests.append((one, products))
            else:
                ratios.append((one, products[0]))
        if not ratios:
            raise SossInputError(
                "No observation is left to be combined: " + "; ".join(r for _, r in failures)
            )
        result = self._combine(name, ratios, folder, state)
        self._report(name, result, [path for _, path in ratios], folder, failures)
        if failures:
            raise SossStepError(
                f"{len(failures)} of the observations or files failed, the others were combined: "
                + "; ".join(f"{what}: {reason}" for what, reason in failures)
            )
        return result

    def _observation(self, one: Observation, folder: str, state: State) -> list[str]:
        """Bring an observation to its ratio product, or a test star to its spectra."""
        files = list(one.files)
        if one.kind == "ratio":
            return files[:1]
        if one.kind == "rate":
            files = self._stage(
                state,
                f"spectra of {one.name}",
                [*files, *one.background],
                "soss_spec2",
                lambda: run_spec2(self.soss_spec2, one, folder),
                (_context(),),
            )
        if one.exptype == "test":
            return files
        return self._stage(
            state,
            f"ratio of {one.name}",
            files,
            "soss_ratio",
            lambda: [self._ratio(files, folder)],
            (),
        )

    def _ratio(self, files: Sequence[str], folder: str) -> str:
        step = self.soss_ratio
        step.output_dir, step.save_results = folder, True
        # Inside a pipeline stpipe names everything after the pipeline's own input.
        step.output_file = os.path.join(folder, product_root(files))
        with step.run(files[0] if len(files) == 1 else list(files)) as model:
            return os.path.join(folder, model.meta.filename)

    def _combine(
        self, name: str, ratios: Sequence[tuple[Observation, str]], folder: str, state: State
    ) -> SossPhotomCorrectionModel:
        """Combine, and give the correction."""
        step = self.soss_photom_combine
        files = [path for _, path in ratios]
        step.roles = {path: "stability" for one, path in ratios if one.exptype == "stability"}
        step.member_restrictions = {path: list(one.restrictions) for one, path in ratios}

        def run() -> list[str]:
            step.output_dir, step.save_results = folder, True
            step.output_file = os.path.join(folder, name)
            with step.run(files) as model:
                correction = os.path.join(folder, model.meta.filename)
                return [correction, os.path.join(folder, model.photom.new_file)]

        parts = [*files, *([step.photom] if step.photom and os.path.isfile(step.photom) else [])]
        more = {
            "roles": {os.path.basename(path): role for path, role in step.roles.items()},
            "restrictions": {
                os.path.basename(path): plain(limits)
                for path, limits in step.member_restrictions.items()
                if limits
            },
        }
        products = self._stage(
            state, "combination", parts, "soss_photom_combine", run, (_context(),), more
        )
        return open_product(products[0], SossPhotomCorrectionModel)

    def _report(
        self,
        name: str,
        result: SossPhotomCorrectionModel,
        ratios: Sequence[str],
        folder: str,
        failures: Sequence[tuple[str, str]],
    ) -> None:
        """Try the new file on the test stars, and write the report."""
        if not self.report and not self._tests:
            return
        step = self.soss_photom_combine
        table = load_standards(step.standards)
        products = [read_ratio_product(one, table) for one in ratios]
        try:
            old = find_photom(products, step.photom)
        except SossInputError:
            old = None
        photom = os.path.join(folder, result.photom.new_file)
        tests, untested = self._validate(photom, old, table, folder)
        if not self.report:
            return
        from soss_photcal_steps.photcal.report import make_report

        path = os.path.join(folder, f"{name}_report.html")
        correction = os.path.join(folder, result.meta.filename)
        make_report(
            path, correction, products, old, photom, failures, tests=tests, untested=untested
        )
        log.info("Report: %s", path)

    def _validate(
        self, photom: str, old: str | None, table: StandardsTable, folder: str
    ) -> tuple[list[ValidationOutcome], list[str]]:
        """Bring the stars for a test through the new file; give what came out, or why not."""
        outcomes, reasons = [], []
        for one, spectra in self._tests:
            try:
                if old is None:
                    raise SossInputError(
                        f"{one.name}: the photom file that its spectra went through is not at hand."
                    )
                step = self.soss_ratio
                found = validate_star(
                    one, spectra, photom, old, table, folder, flux_unit=step.flux_unit,
                    calspec_dir=step.calspec_dir, download=step.download,
                )  # fmt: skip
            except SossInputError as error:
                log.warning("The test of the new file failed: %s", error)
                reasons.append(str(error))
                continue
            for line in found.lines:
                if line:
                    log.info("%s", line)
            outcomes.append(found)
        return outcomes, reasons

    def _stage(
        self,
        state: State,
        stage: str,
        inputs: Sequence[str],
        step: str,
        run: Callable[[], list[str]],
        more_versions: Sequence[str],
        more_parameters: Any = None,
    ) -> list[str]:
        """Run a stage, or take what an earlier run has made."""
        versions = (soss_photcal_steps.__version__, jwst.__version__, *more_versions)
        key = stage_key(inputs, {"step": self._parameters[step], "more": more_parameters}, versions)
        made = state.products(stage, key)
        if made is not None:
            log.info("Made by an earlier run, and unchanged: %s.", stage)
            return made
        made = run()
        state.done(stage, key, made)
        return made


def _parameters(step: Any) -> dict[str, Any]:
    """Give the parameters of a step, but for those that say where files are.

    Of a file that a parameter names the checksum counts too: a table or reference may be
    another one under the same name.  stpipe does not count the overrides of references among
    the parameters.
    """
    values = {
        name: value for name, value in step.get_pars().items() if name not in (*_PLACES, "steps")
    }
    values |= {name: value for name, value in vars(step).items() if name.startswith("override_")}
    for name, value in list(values.items()):
        if isinstance(value, str) and os.path.isfile(value):
            values[f"content of {name}"] = fingerprint(value).sha256
    for name in getattr(step, "step_defs", ()):
        values[f"step {name}"] = _parameters(getattr(step, name))
    return values


def _context() -> str:
    """Give the CRDS context, or nothing where there is none."""
    with _jwst.quiet_crds():
        try:
            return str(_jwst.crds_context())
        except (Exception, SystemExit):  # noqa: BLE001 (crds raises anything here)
            return ""


def _first_rate(data: Any) -> Any:
    """Give the first exposure of rates in an association, or None."""
    if data is None or isinstance(data, dict):
        return data
    try:
        _, members = read_association(data)
        for member in members:
            path = member["expname"]
            if "_rate" in os.path.basename(path) and member["exptype"] != "background":
                return first_exposure(path)
    except (SossInputError, TypeError):
        # The run says what is wrong.
        return None
    return None
