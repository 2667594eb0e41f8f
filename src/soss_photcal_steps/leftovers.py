"""Hidden folders that a write goes through, and what a killed process leaves of them.

Their names tell the machine, the process and when it began: a process number alone is used
again.  So a later run can tell what nobody writes to any more.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
from functools import lru_cache

__all__ = ["remove_leftovers", "scratch_prefix"]

_NAME = re.compile(
    r"\.soss_(?P<machine>[0-9a-f]{8})-(?P<pid>[1-9]\d{0,9})-(?P<began>\d{1,20})-[a-z0-9_]+"
)


def scratch_prefix() -> str:
    """Give the beginning of the name of a hidden folder that this process writes to.

    Returns
    -------
    str
        For ``tempfile.mkdtemp``, which adds letters of its own.
    """
    pid = os.getpid()
    return f".soss_{_machine()}-{pid}-{_began(pid) or 0}-"


def remove_leftovers(folder: str | os.PathLike[str]) -> list[str]:
    """Remove the hidden folders whose writer is no more.

    What has another name, is a link or a file, belongs to another user, or was begun on another
    machine is left alone.

    Parameters
    ----------
    folder : path
        Where products are written.

    Returns
    -------
    list of str
        Names of what was removed.
    """
    removed = []
    with os.scandir(folder) as entries:
        for entry in entries:
            found = _NAME.fullmatch(entry.name)
            if found is None or not entry.is_dir(follow_symlinks=False):
                continue
            ours = entry.stat(follow_symlinks=False).st_uid == os.getuid()
            if not ours or found["machine"] != _machine():
                continue
            if not _is_at_work(int(found["pid"]), int(found["began"])):
                shutil.rmtree(entry.path, ignore_errors=True)
                if not os.path.lexists(entry.path):
                    removed.append(entry.name)
    return sorted(removed)


@lru_cache(maxsize=1)
def _machine() -> str:
    """Tell apart machines, and containers of one, whose processes are not seen from here."""
    try:
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:
        processes = ""
    return hashlib.sha256(f"{socket.gethostname()} {processes}".encode()).hexdigest()[:8]


def _began(pid: int) -> int | None:
    """Give when a process began, in ticks of the system's clock; None where that is not known."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            # The name of the program, in brackets, may hold anything.
            return int(stream.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _is_at_work(pid: int, began: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        # Somebody else's process has the number now, or it is no number of a process.
        return False
    now = _began(pid)
    return now is None or began in (0, now)
