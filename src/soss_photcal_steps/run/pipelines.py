"""The parts of ``soss_photcal`` that a worker runs; imports jwst."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from threadpoolctl import threadpool_limits

from soss_photcal_steps._jwst import ConfigObj
from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.models import SossPhotomCorrectionModel
from soss_photcal_steps.photcal.members import Observation
from soss_photcal_steps.photcal.photcal_pipeline import SossPhotcalPipeline, _context, _parameters
from soss_photcal_steps.photcal.spec2_input import run_spec2
from soss_photcal_steps.photcal.state import State
from soss_photcal_steps.run.plan import Unit
from soss_photcal_steps.run.work import Outcome, Settings, Task, main_state, unit_state

__all__ = ["bring", "finish", "logger_names", "prepare", "single_thread"]

_Work = tuple[str, tuple[str, ...], Any]


def logger_names() -> tuple[str, ...]:
    """Name the loggers that are heard in a run.

    Returns
    -------
    tuple of str
        Those of the pipeline.
    """
    return SossPhotcalPipeline.get_stpipe_loggers()


@contextmanager
def single_thread() -> Iterator[None]:
    """Keep numerical libraries that are loaded already to one thread.

    Yields
    ------
    None
        While they are kept to it.
    """
    with threadpool_limits(1):
        yield


class _ObservationPipeline(SossPhotcalPipeline):
    """The part of ``soss_photcal`` that brings one observation to its ratio, or its spectra."""

    unit: Unit
    until: str
    settings: Settings
    products: tuple[str, ...]
    made: bool

    def process(self, input: Any) -> None:  # type: ignore[override]  # noqa: A002 (nothing is combined; the name in stpipe)
        """Bring the observation as far as it is wanted."""
        self._parameters = {step: _parameters(getattr(self, step)) for step in self.step_defs}
        self.made = False
        folder, one = self.settings.folder, self.unit.observation
        state = State(unit_state(self.settings, self.unit.label))
        # What this unit has done since the run began is newer than what is known of the whole.
        whole = State(main_state(self.settings))
        whole.take(state)
        state.take(whole, self.unit.stages)
        if one.kind == "rate":
            spectra = self._stage(
                state,
                self.unit.stages[0],
                [*one.files, *one.background],
                "soss_spec2",
                lambda: run_spec2(self.soss_spec2, one, folder, self.unit.kind),
                (_context(),),
            )
            one = replace(one, kind="x1d", files=tuple(spectra), background=())
        self.products = one.files
        if one.kind == "x1d" and one.exptype != "test" and self.until != "spectra":
            self.products = tuple(self._observation(one, folder, state))

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
        def noted() -> list[str]:
            self.made = True
            return run()

        return super()._stage(state, stage, inputs, step, noted, more_versions, more_parameters)


class _FinishPipeline(SossPhotcalPipeline):
    """``soss_photcal`` from the point where all its observations have been worked on."""

    outcomes: Mapping[tuple[str, ...], Outcome]
    finished: dict[str, str]

    @contextmanager
    def _alone_in(self, folder: str) -> Iterator[None]:
        # The process that has this one do it holds the lock.
        yield

    def _observation(self, one: Observation, folder: str, state: State) -> list[str]:
        found = self.outcomes[one.files]
        if found.status == "failed":
            raise SossInputError(found.reason)
        if one.exptype == "test":
            return list(found.products)
        return list(found.products[:1])

    def _report(
        self,
        name: str,
        result: SossPhotomCorrectionModel,
        ratios: Sequence[str],
        folder: str,
        failures: Sequence[tuple[str, str]],
    ) -> None:
        super()._report(name, result, ratios, folder, failures)
        self.finished = {
            "correction": os.path.join(folder, result.meta.filename),
            "photom": os.path.join(folder, result.photom.new_file),
            "verdict": str(result.photom.verdict),
        }
        if self.report:
            self.finished["report"] = os.path.join(folder, f"{name}_report.html")


def _make(kind: type[SossPhotcalPipeline], settings: Settings) -> Any:
    """Make a pipeline from the configuration."""
    # stpipe edits the configuration that it is given.
    config = ConfigObj(_copy(settings.config), interpolation=False)
    pipeline = kind.from_config_section(config, config_file=settings.config_file)
    pipeline.output_dir = settings.folder
    return pipeline


def _copy(config: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, Mapping) else v for k, v in config.items()}


def prepare(task: Task) -> _Work:
    """Read the parameters: those of CRDS, then the parameter file, then those given.

    Parameters
    ----------
    task : Task
        Its ``more`` is the first exposure of rates, or None, and lines of a configuration.

    Returns
    -------
    status : str
        "made".
    products : tuple
        None.
    value : dict
        The configuration.

    Raises
    ------
    SossInputError
        If a parameter does not exist or has no possible value.
    """
    exposure, lines = task.more
    settings = task.settings
    given: dict[str, Any] = ConfigObj(lines, interpolation=False).dict()
    if settings.config_file:
        given["config_file"] = settings.config_file
    try:
        # That of the parent class: the exposure is known here.
        build = super(SossPhotcalPipeline, SossPhotcalPipeline).build_config
        config, _ = build(exposure, **given)
        value = config.dict()
        value.pop("class", None)
        value.pop("name", None)
        _make(SossPhotcalPipeline, replace(settings, config=value))
    except (SossInputError, MemoryError):
        raise
    except Exception as error:
        # configobj and stpipe have kinds of their own, which differ between versions.
        raise SossInputError(f"The parameters cannot be used: {reason(error)}.") from error
    return "made", (), value


def bring(task: Task) -> _Work:
    """Bring an observation as far as it is wanted.

    Parameters
    ----------
    task : Task
        Its ``unit`` is the observation.

    Returns
    -------
    status : str
        "made", or "unchanged" where an earlier run had made it.
    products : tuple of str
        The ratio product, or the spectra.
    value : None
        Nothing.
    """
    assert task.unit is not None
    pipeline = _make(_ObservationPipeline, task.settings)
    pipeline.unit, pipeline.until, pipeline.settings = task.unit, task.settings.until, task.settings
    try:
        pipeline.run(task.unit.observation.files[0])
    finally:
        logging.getLogger("soss_photcal_steps.run").info("Done with %s.", task.name)
    return ("made" if pipeline.made else "unchanged"), pipeline.products, None


def finish(task: Task) -> _Work:
    """Combine, write and check the photom file, and report.

    Parameters
    ----------
    task : Task
        Its ``more`` is the path of the association and the outcomes of the observations, by
        their files.

    Returns
    -------
    status : str
        "made".
    products : tuple of str
        The correction, the photom file and, unless it is not wanted, the report.
    value : str
        Verdict on the photom file.

    Raises
    ------
    SossInputError
        If nothing is left to be combined.
    """
    association, outcomes = task.more
    pipeline = _make(_FinishPipeline, task.settings)
    pipeline.outcomes, pipeline.finished = outcomes, {}
    try:
        pipeline.run(association).close()
    except SossInputError:
        # That some observations failed is known; all else was done.
        if not pipeline.finished:
            raise
    made = dict(pipeline.finished)
    verdict = made.pop("verdict")
    return "made", tuple(made.values()), verdict
