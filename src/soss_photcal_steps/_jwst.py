"""The only door to what jwst, stpipe, stdatamodels, asdf and crds do not promise to keep.

Checked against jwst 3.0.0 (stpipe 1.1.0, stdatamodels 6.0.0) and jwst 1.20.2 (stpipe 0.11.1,
stdatamodels 4.1.0), both with crds 14.0.3.  When one of
them changes, this file is the place to look at, and what the base classes of the steps
inherit: ``Step._get_config_from_parameters`` (``references.py``), ``Step._input_filename`` and
``Step._input_dir`` (``saving.py``).
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asdf
import yaml
from stpipe import config_parser, crds_client
from stpipe.exceptions import StpipeExitException

__all__ = [
    "ConfigObj",
    "StpipeExitException",
    "add_history_entry",
    "crds_context",
    "crds_is_configured",
    "history_entries",
    "load_asdf_extensions",
    "own_logger_heard",
    "quiet_crds",
    "table_dtype",
]

# The class that stpipe itself uses: a package of its own now, a part of astropy before.
ConfigObj: Any = config_parser.ConfigObj

# Where crds looks when CRDS_PATH is not set: the central store at STScI.
_CRDS_DEFAULT_CACHE = "/grp/crds/cache"
_CRDS_VARIABLES = ("CRDS_PATH", "CRDS_PATH_SINGLE", "CRDS_SERVER_URL")


def _is_heard(logger: logging.Logger, handler: logging.Handler) -> bool:
    """Tell whether a record of ``logger`` reaches ``handler``."""
    current: logging.Logger | None = logger
    while current is not None:
        if handler in current.handlers:
            return True
        current = current.parent if current.propagate else None
    return False


@contextmanager
def own_logger_heard(name: str) -> Iterator[None]:
    """Let a logger reach the handlers that stpipe has set up for the running pipeline.

    stpipe gives its handlers, those for the screen and those for ``cal_logs``, to the loggers
    that the outermost step or pipeline names.  Where that is not one of ours, our lines would
    be lost; stpipe's own logger is always among them, so its handlers are used.  Those that
    the logger reaches already are left alone, so nothing is written twice.

    Parameters
    ----------
    name : str
        Name of the logger.

    Yields
    ------
    None
        While the context is open, the logger is heard.
    """
    logger, model = logging.getLogger(name), logging.getLogger("stpipe")
    handlers = [handler for handler in model.handlers if not _is_heard(logger, handler)]
    if not handlers:
        yield
        return
    level = logger.level
    if model.level != logging.NOTSET:
        logger.setLevel(model.level)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
        logger.setLevel(level)


def load_asdf_extensions() -> None:
    """Have asdf load its extensions now, with the YAML parser that is written in C.

    The first data model of a process has asdf load the extensions of all packages, which read
    their some fifty manifests with ``yaml.safe_load``.  That takes the parser written in Python,
    and half a second, which is half of what importing jwst takes.  While they are loaded,
    ``yaml.safe_load`` takes the parser of libyaml, which makes the same of the same text in a
    tenth of the time.  Where PyYAML has been built without it, or asdf reads its manifests in
    another way, nothing is gained and nothing lost.  What is loaded stays, so that the garbage
    collector, which would look at it again and again, waits until it is there.
    """
    loader = getattr(yaml, "CSafeLoader", None)
    if loader is None:
        return
    slow, collects = yaml.safe_load, gc.isenabled()
    yaml.safe_load = lambda stream: yaml.load(stream, Loader=loader)
    gc.disable()
    try:
        # The first look at them loads them; later ones cost nothing.
        _ = asdf.get_config().extensions
    finally:
        yaml.safe_load = slow
        if collects:
            gc.enable()


@contextmanager
def quiet_crds() -> Iterator[list[str]]:
    """Hold back the errors that crds logs, and collect their text.

    Before it leaves with ``SystemExit``, crds logs several lines marked ``(FATAL)``.  The
    caller says the same in a sentence of its own, or can do without the reference.

    Yields
    ------
    list of str
        The messages that were held back.
    """
    messages: list[str] = []

    def hold_back(record: logging.LogRecord) -> bool:
        if record.levelno < logging.ERROR:
            return True
        messages.append(record.getMessage())
        return False

    logger = logging.getLogger("CRDS")
    logger.addFilter(hold_back)
    try:
        yield messages
    finally:
        logger.removeFilter(hold_back)


def crds_is_configured() -> bool:
    """Tell whether the user has told crds where its cache or server is.

    Returns
    -------
    bool
        True if a ``CRDS_*`` variable that says so is set, or the default cache exists.
    """
    if any(os.environ.get(variable) for variable in _CRDS_VARIABLES):
        return True
    return os.path.isdir(os.environ.get("CRDS_DEFAULT_CACHE", _CRDS_DEFAULT_CACHE))


def crds_context() -> str:
    """Give the context of CRDS that selects the references, as every product of jwst names it.

    Returns
    -------
    str
        Name of the context, as ``jwst_1413.pmap``.
    """
    return str(crds_client.get_context_used("jwst"))


def history_entries(model: Any) -> list[Any]:
    """Give the live list of history entries of a model, for editing.

    ``model.history`` is deprecated, and its successor can only append.

    Parameters
    ----------
    model : JwstDataModel
        The model.

    Returns
    -------
    list of asdf.tags.core.HistoryEntry
        The list that the model holds, not a copy; a new, loose one if there is no entry yet.
    """
    return model._asdf.get_history_entries()


def add_history_entry(model: Any, text: str) -> None:
    """Append an entry to the history of a model; the model is edited.

    The models themselves have no way to do it that all supported versions share.

    Parameters
    ----------
    model : JwstDataModel
        The model.
    text : str
        What happened.
    """
    model._asdf.add_history_entry(text)


def table_dtype(model: Any, name: str) -> Any:
    """Give the columns of a table as the schema of a model has them.

    Parameters
    ----------
    model : JwstDataModel
        The model.
    name : str
        Name of the table, as ``spec_table``.

    Returns
    -------
    numpy.dtype
        Names and types of the columns.
    """
    if hasattr(model, "get_dtype"):
        return model.get_dtype(name)
    # stdatamodels before 5: an array is made when it is asked for.
    return getattr(model, name).dtype
