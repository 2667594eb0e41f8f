"""A line on the terminal that says how far a long series is."""

from __future__ import annotations

import sys
import time
from types import TracebackType

__all__ = ["Progress"]

# Nothing is shown of what takes less, and then a few times a second, seconds.
_PATIENCE = 2.0
_INTERVAL = 0.3


class Progress:
    """Show how many integrations are done, if someone is looking.

    On anything but a terminal nothing is written, so that no log is filled with it.

    Parameters
    ----------
    what : str
        What is being done.
    total : int
        How many there are.
    """

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._shown = False
        self._next = 0.0

    def __enter__(self) -> Progress:
        self._next = time.monotonic() + _PATIENCE
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def __call__(self, done: int, total: int | None = None) -> None:
        """Say how many are done.

        Parameters
        ----------
        done : int
            Number of integrations that are done.
        total : int, optional
            Number of all, if it has changed.
        """
        self._total = total or self._total
        self._done = done
        now = time.monotonic()
        if now >= self._next and sys.stderr.isatty():
            sys.stderr.write(f"\r{self._what}: {done} of {self._total} integrations\033[K")
            sys.stderr.flush()
            self._shown = True
            self._next = now + _INTERVAL

    def advance(self, count: int) -> None:
        """Say how many more are done.

        Parameters
        ----------
        count : int
            Number of integrations.
        """
        self(self._done + count)
