"""A worker process of this machine: how it begins, and how it is told to end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from types import FrameType
from typing import TypeVar

from soss_photcal_steps.run.limits import limit_memory

__all__ = ["Stopped", "do_work", "start_worker", "warm_up"]

Work = TypeVar("Work")
Result = TypeVar("Result")

# How long a worker that is told to stop may take to clean up, and then the executor to end it,
# seconds.
_GRACE = 5.0
_GRACE_OF_EXECUTOR = 1.0
_CLEANED_UP = threading.Event()


class Stopped(BaseException):
    """The worker was told to stop.

    No ``Exception``, so that no code takes it for a failure of its own, nor ``SystemExit``,
    which some code around crds catches.
    """


def start_worker(end: Connection, memory: float, log: str) -> None:
    """Prepare a process for work; it is the initializer of the executor.

    An interrupt from the keyboard goes to all processes of a terminal; a worker leaves it to
    the one that started it.  That one, by ending or by closing its side of a pipe, ends the
    worker.

    Parameters
    ----------
    end : multiprocessing.connection.Connection
        Reading side of the pipe.
    memory : float
        What the process may take, bytes.
    log : str
        File for what is written to the standard output and error.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_watch, args=(end,), daemon=True).start()
    sys.stdout.flush()
    sys.stderr.flush()
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
    limit_memory(memory)


def do_work(does: Callable[[Work], Result], task: Work) -> Result:
    """Do a piece of work; where it is told to stop, it is known when it has cleaned up.

    The executor takes that for a failure of the work, and waits for more, for ever if whoever
    would send it was killed.

    Parameters
    ----------
    does : callable
        What does it.
    task : object
        The work.

    Returns
    -------
    object
        What came of it.
    """
    try:
        return does(task)
    except Stopped:
        _CLEANED_UP.set()
        raise


def warm_up() -> None:
    """Load the libraries."""
    from soss_photcal_steps.run import pipelines  # noqa: F401 (loading is all that is wanted)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


def _watch(end: Connection) -> None:
    """Stop the process when the other side of the pipe is closed, as it is when its owner ends."""
    wait_for([end])
    os.kill(os.getpid(), signal.SIGTERM)
    if _CLEANED_UP.wait(_GRACE):
        time.sleep(_GRACE_OF_EXECUTOR)
    os._exit(1)
