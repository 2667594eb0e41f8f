"""Memory and threads of a worker."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from soss_photcal_steps.errors import SossInputError

__all__ = [
    "available_memory",
    "changed_environment",
    "limit_memory",
    "memory_needed",
    "one_thread",
    "parse_memory",
    "peak_memory",
    "reset_peak",
    "say_memory",
    "share_memory",
]

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "KI": 2**10, "MI": 2**20, "GI": 2**30}
# What a run of calwebb_spec2 takes: measured 0.6 to 1.1 GB for one integration, 5.9 to 6.8 GB
# for 100, a file of 1.05 GB (jwst 3.0.0; box, ATOCA).
_BASE, _PER_BYTE = 1.1e9, 5.5
# What is left to the system and everything else.
_SHARE = 0.9


def parse_memory(text: str) -> float:
    """Read an amount of memory.

    Parameters
    ----------
    text : str
        As ``4G``, ``3.5 GB``, ``800MiB``; bytes without a unit.

    Returns
    -------
    float
        Bytes.

    Raises
    ------
    SossInputError
        If it is not an amount above 0.
    """
    match = re.fullmatch(r"\s*([0-9]+\.?[0-9]*)\s*([KMGT]I?)?B?\s*", text.upper())
    unit = match and (match[2] or "")
    if match is None or unit not in _UNITS or float(match[1]) <= 0:
        raise SossInputError(f"Memory is given as 4G or 800M, not {text!r}.")
    return float(match[1]) * _UNITS[unit]


def say_memory(amount: float) -> str:
    """Give an amount of memory as a person writes it.

    Parameters
    ----------
    amount : float
        Bytes.

    Returns
    -------
    str
        In GB, or in MB below one.
    """
    return f"{amount / 1e9:.1f} GB" if amount >= 1e9 else f"{amount / 1e6:.0f} MB"


def available_memory() -> float:
    """Tell how much memory new processes can have.

    Returns
    -------
    float
        Bytes: what the system has available, or what is left of the limit of the container if
        that is less.
    """
    found = []
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        match = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
        if match:
            found.append(int(match[1]) * 1024.0)
    except OSError:
        pass
    try:
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        if limit.isdigit():
            used = int((group / "memory.current").read_text(encoding="ascii"))
            found.append(max(float(int(limit) - used), 0.0))
    except (OSError, ValueError):
        pass
    if not found:
        found.append(float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) / 2)
    return min(found)


def memory_needed(size: float) -> float:
    """Estimate what the calibration of a file takes.

    Parameters
    ----------
    size : float
        Size of the file, bytes.

    Returns
    -------
    float
        Bytes.
    """
    return _BASE + _PER_BYTE * size


def share_memory(
    workers: int, available: float, needed: float, asked: float | None
) -> tuple[int, float, str]:
    """Decide how many workers fit, and what each may take.

    Parameters
    ----------
    workers : int
        Workers that are wanted.
    available : float
        Memory of all, bytes.
    needed : float
        Estimate of what the largest observation takes, bytes.
    asked : float or None
        Memory per worker that the user asks for, bytes.

    Returns
    -------
    workers : int
        Workers to be started.
    each : float
        What each may take, bytes.
    note : str
        What the user should know; empty if all is as wanted.

    Raises
    ------
    SossInputError
        If not even one worker has the memory that is asked for.
    """
    usable = _SHARE * available
    if asked is not None and asked > usable:
        raise SossInputError(
            f"--memory-per-worker is {say_memory(asked)}, and {say_memory(usable)} can be given; "
            "ask for less, or free memory."
        )
    fitting = min(workers, int(usable // (asked or needed)))
    started = max(fitting, 1)
    each = asked or usable / started
    notes = []
    if started < workers:
        notes.append(
            f"{started} worker(s) instead of {workers}, because {say_memory(usable)} of memory "
            f"hold no more with {say_memory(asked or needed)} each"
        )
    if needed > each:
        notes.append(
            f"the largest observation is expected to take {say_memory(needed)}, more than the "
            f"{say_memory(each)} of a worker"
        )
    return started, each, "; ".join(notes)


def limit_memory(amount: float) -> None:
    """Let this process take no more memory; what goes beyond raises MemoryError.

    The limit is on memory of the process's own (``RLIMIT_DATA`` of Linux), not on files that
    are mapped to be read only.

    Parameters
    ----------
    amount : float
        Bytes.
    """
    import resource

    soft = int(amount)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let processes that are started use one thread in their numerical libraries.

    The libraries look at the environment when they are loaded, so it must be set before.

    Yields
    ------
    None
        While the environment is set.
    """
    with changed_environment(dict.fromkeys(_THREADS, "1")):
        yield


@contextmanager
def changed_environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for a while.

    Parameters
    ----------
    values : mapping of str to str
        Name to value.

    Yields
    ------
    None
        While they are set.
    """
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def reset_peak() -> None:
    """Begin anew to watch the peak memory of this process, where the system can do that."""
    # Where it cannot, the peak is that since the process began.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory() -> float:
    """Tell the peak of the resident memory of this process.

    Returns
    -------
    float
        Bytes.
    """
    import resource

    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        match = re.search(r"^VmHWM:\s+(\d+) kB", text, re.MULTILINE)
        if match:
            return int(match[1]) * 1024.0
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
