"""Pieces of work for the workers of ``soss-photcal run`` that fail in many ways; not a test."""

import os
import signal
import time
from pathlib import Path

from threadpoolctl import threadpool_info

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.run.work import Outcome, Task, explain


def nothing():
    """Load nothing."""


def perform(task: Task) -> Outcome:
    """Do what the name of the task says."""
    try:
        return Outcome(task.name, "made", value=_WORK[task.name.partition(" ")[0]](task))
    except Exception as error:  # noqa: BLE001 (as the real one)
        return Outcome(task.name, "failed", (), *explain(error))


def _first_time(task):
    """Tell whether this is tried for the first time."""
    mark = Path(task.more) / task.name
    first = not mark.exists()
    mark.touch()
    return first


def _fine(task):
    time.sleep(0.1)
    return os.getpid()


def _die(task):
    os.kill(os.getpid(), signal.SIGKILL)


def _die_once(task):
    return _die(task) if _first_time(task) else os.getpid()


def _disk_once(task):
    if _first_time(task):
        raise OSError(5, "Input/output error")


def _spec2_once(task):
    """Fail as calwebb_spec2 does, which passes on the text of a traceback only."""
    if _first_time(task):
        raise RuntimeError("Traceback (most recent call last):\n  x = 1\nOSError: [Errno 5] broken")


def _wrong(task):
    _first_time(task)
    raise SossInputError("This is no spectrum.")


def _bug(task):
    raise KeyError("key")


def _memory(task):
    return len(bytearray(600_000_000))


def _threads(task):
    import numpy as np

    np.ones((50, 50)) @ np.ones((50, 50))
    return os.environ["OMP_NUM_THREADS"], [pool["num_threads"] for pool in threadpool_info()]


def _long(task):
    Path(task.more, f"{os.getpid()}").touch()
    time.sleep(60)


_WORK = {
    "fine": _fine, "die": _die, "dieonce": _die_once, "diskonce": _disk_once, "wrong": _wrong,
    "spec2once": _spec2_once, "bug": _bug, "memory": _memory, "threads": _threads, "long": _long,
}  # fmt: skip
