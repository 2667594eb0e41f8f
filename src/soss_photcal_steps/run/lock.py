"""One run at a time in a folder."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from soss_photcal_steps.errors import SossInputError

__all__ = ["LOCK_FILE", "folder_lock"]

#: The lock, in the folder of the products.
LOCK_FILE = ".soss_photcal.lock"
# Where a file system cannot lock, the run goes on without.
_CANNOT = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class _Held(threading.local):
    """The folders that this thread has locked."""

    def __init__(self) -> None:
        self.folders: tuple[str, ...] = ()


_HELD = _Held()


@contextmanager
def folder_lock(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other runs out of a folder.

    The lock is one of the operating system (``flock``), which ends with the process that holds
    it, however that ends; so a file that an earlier run left behind locks nothing.  A thread
    that holds it may take it again, which does nothing; another thread is another run.

    Parameters
    ----------
    folder : path
        The folder, which must exist.

    Yields
    ------
    None
        While the folder is locked.

    Raises
    ------
    SossInputError
        If another run holds the lock, or the folder cannot be written to.
    """
    place = os.path.realpath(folder)
    if place in _HELD.folders:
        yield
        return
    path = os.path.join(folder, LOCK_FILE)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise SossInputError(f"{path} cannot be written: {error.strerror}.") from error
    try:
        _take(descriptor, folder)
        who = f"process {os.getpid()} on {socket.gethostname()} since {time.ctime()}"
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, who.encode(), 0)
        before = _HELD.folders
        _HELD.folders = (*before, place)
        try:
            yield
        finally:
            _HELD.folders = before
        # The file stays: removing it while another waits would give two runs a lock each.
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _take(descriptor: int, folder: str | os.PathLike[str]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        who = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
        raise SossInputError(
            f"Another run is at work in {folder} ({who}); wait for it, or give another folder "
            "for the products."
        ) from error
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
