"""One piece of work, as it travels to a worker and back; light to be imported.

A worker is any process that can see the files: one of this machine, or one of a Dask cluster.
"""

from __future__ import annotations

import builtins
import contextlib
import logging
import os
import re
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.run.limits import changed_environment, peak_memory, reset_peak
from soss_photcal_steps.run.plan import Unit

__all__ = [
    "Outcome",
    "Settings",
    "Task",
    "explain",
    "log_path",
    "main_state",
    "perform",
    "sent_environment",
    "unit_state",
]

# jwst, stpipe and crds have state that belongs to the process; so two pieces of work in one
# process, as a Dask worker with several threads would do them, wait for each other.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Settings:
    """What all pieces of work of a run share.

    Attributes
    ----------
    name : str
        What the products of the whole are named after.
    folder : str
        Where products go.
    until : str
        How far to go.
    config : mapping
        Configuration of ``soss_photcal``, not yet validated.
    config_file : str or None
        The parameter file, which paths in it are relative to.
    environment : mapping
        Variables that a worker needs to have.
    working_directory : str
        What relative paths in parameters are relative to.
    """

    name: str
    folder: str
    until: str
    config: Mapping[str, Any] = field(default_factory=dict)
    config_file: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = "."


@dataclass(frozen=True)
class Task:
    """A piece of work.

    Attributes
    ----------
    what : {"prepare", "observation", "finish"}
        Read the parameters; bring an observation to spectra or ratio; combine and report.
    name : str
        Name for the user.
    settings : Settings
        What all share.
    unit : Unit or None
        The observation.
    more : object
        For "prepare" the first exposure and the parameters given; for "finish" the association
        and the outcomes of the observations.
    """

    what: str
    name: str
    settings: Settings
    unit: Unit | None = None
    more: Any = None

    @property
    def label(self) -> str:
        """Name of its log, without the ending."""
        return self.unit.label if self.unit is not None else self.what


@dataclass(frozen=True)
class Outcome:
    """What came of a piece of work.

    Attributes
    ----------
    name : str
        Of which.
    status : {"made", "unchanged", "given", "failed"}
        "unchanged": an earlier run had made it; "given": there was nothing to be done.
    products : tuple of str
        Paths: ratio product, or spectra.
    reason : str
        Why it failed, one sentence.
    cause : {"", "input", "system", "memory", "died", "error"}
        Kind of failure; another try can help with the middle three.
    seconds : float
        Time that it took.
    peak : float
        Peak resident memory of its process, bytes; 0 where it is not known.
    tries : int
        How often it was tried.
    worker : str
        Process and machine.
    value : object
        What else there is to be given back.
    """

    name: str
    status: str
    products: tuple[str, ...] = ()
    reason: str = ""
    cause: str = ""
    seconds: float = 0.0
    peak: float = 0.0
    tries: int = 1
    worker: str = ""
    value: Any = None

    @property
    def again(self) -> bool:
        """Whether another try can help."""
        return self.cause in ("system", "memory", "died")


def main_state(settings: Settings) -> str:
    """Give the path of the state of a whole run, the one that ``strun soss_photcal`` has.

    Parameters
    ----------
    settings : Settings
        The run.

    Returns
    -------
    str
        The path.
    """
    return os.path.join(settings.folder, f"{settings.name}_photcal.json")


def unit_state(settings: Settings, label: str) -> str:
    """Give the path of the state of one observation while it is worked on.

    Parameters
    ----------
    settings : Settings
        The run.
    label : str
        Label of the observation.

    Returns
    -------
    str
        The path, in the folder of the products, whose paths are relative to it.
    """
    return os.path.join(settings.folder, f".{settings.name}_photcal-{label}.json")


def log_path(settings: Settings, label: str) -> str:
    """Give the path of the log of a piece of work.

    Parameters
    ----------
    settings : Settings
        The run.
    label : str
        Its label.

    Returns
    -------
    str
        The path.
    """
    return os.path.join(settings.folder, f"{settings.name}_logs", f"{label}.log")


def sent_environment() -> dict[str, str]:
    """Give the variables that a worker on another machine must have: those of CRDS and stpipe.

    Returns
    -------
    dict
        Name to value.
    """
    names = ("CRDS_", "STPIPE_")
    more = ("PYSYN_CDBS",)
    return {k: v for k, v in os.environ.items() if k.startswith(names) or k in more}


def perform(task: Task) -> Outcome:
    """Do a piece of work; whatever goes wrong is in the outcome.

    Parameters
    ----------
    task : Task
        The work.

    Returns
    -------
    Outcome
        What came of it.
    """
    start = time.monotonic()
    worker = f"{os.getpid()} on {socket.gethostname()}"
    with _ONE_AT_A_TIME:
        reset_peak()
        try:
            with _as_the_user(task.settings):
                status, products, value = _do(task, worker)
            failure = ("", "")
        except Exception as error:  # noqa: BLE001 (it goes into the table; no observation stops another)
            status, products, value, failure = "failed", (), None, explain(error)
        seconds, peak = time.monotonic() - start, peak_memory()
    return Outcome(
        task.name, status, tuple(products), *failure, seconds=seconds, peak=peak, worker=worker,
        value=value,
    )  # fmt: skip


def _do(task: Task, worker: str) -> tuple[str, tuple[str, ...], Any]:
    if not os.path.isdir(task.settings.folder):
        raise SossInputError(
            f"The worker {worker} does not see {task.settings.folder}; all workers need the same "
            "file system."
        )
    # Only now, because crds reads the environment when it is imported.
    from soss_photcal_steps.run import pipelines

    does: dict[str, Callable[[Task], tuple[str, tuple[str, ...], Any]]] = {
        "prepare": pipelines.prepare,
        "observation": pipelines.bring,
        "finish": pipelines.finish,
    }
    with _logged(task, worker, pipelines.logger_names()), pipelines.single_thread():
        try:
            return does[task.what](task)
        except BaseException as error:
            level = logging.ERROR if isinstance(error, SossInputError) else logging.CRITICAL
            text = str(error) if level == logging.ERROR else traceback.format_exc()
            logging.getLogger("soss_photcal_steps.run").log(level, "%s", text)
            raise


@contextlib.contextmanager
def _as_the_user(settings: Settings) -> Iterator[None]:
    """Give the process the environment and the folder of whoever started the run."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(changed_environment(settings.environment))
        if os.path.isdir(settings.working_directory):
            stack.enter_context(contextlib.chdir(settings.working_directory))
        yield


@contextlib.contextmanager
def _logged(task: Task, worker: str, names: tuple[str, ...]) -> Iterator[None]:
    """Write what a piece of work says to a file of its own, after what earlier tries said."""
    path = log_path(task.settings, task.label)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    form = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
    handler.setFormatter(logging.Formatter(form))
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
    logging.captureWarnings(True)
    try:
        logging.getLogger("soss_photcal_steps.run").info("%s, by worker %s.", task.name, worker)
        yield
    finally:
        logging.captureWarnings(False)
        for logger, level in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
        handler.close()


def explain(error: Exception) -> tuple[str, str]:
    """Say why a piece of work failed, and what kind of failure it is.

    Parameters
    ----------
    error : Exception
        What was raised.

    Returns
    -------
    reason : str
        One sentence.
    cause : {"input", "system", "memory", "error"}
        As in `Outcome`.
    """
    if isinstance(error, SossInputError):
        return str(error), "input"
    if isinstance(error, MemoryError):
        return f"the memory of the worker was not enough ({reason(error)}).", "memory"
    if isinstance(error, OSError):
        return f"{reason(error)}.", "system"
    # calwebb_spec2 passes on the text of a traceback, and no more.
    last = str(error).strip().rpartition("\n")[2]
    match = re.match(r"(?:\w+\.)*(\w+)(?:: (.*))?$", last)
    kind = getattr(builtins, match[1], None) if match else None
    if match and (match[1] == "_ArrayMemoryError" or kind is MemoryError):
        return f"the memory of the worker was not enough ({match[2] or match[1]}).", "memory"
    if match and isinstance(kind, type) and issubclass(kind, OSError):
        return f"{match[2] or match[1]}.", "system"
    return f"{type(error).__name__}: {last or 'no more is said'}", "error"
