"""What a run says while it goes on, and the table at its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TextIO

from soss_photcal_steps.run.limits import say_memory
from soss_photcal_steps.run.plan import Unit
from soss_photcal_steps.run.work import Outcome, Task

__all__ = ["Progress", "outcome_table"]

_TITLES = ("observation", "target", "files", "status", "s", "peak", "tries")


class Progress:
    """Say how far a run is: on a terminal also by a line that changes, else by lines with the time.

    Parameters
    ----------
    total : int
        Number of observations.
    stream : file, optional
        Where to; the standard error by default.
    """

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._total = total
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._start = time.monotonic()
        self._running: dict[str, str] = {}
        self._done = self._failed = 0

    def say(self, text: str) -> None:
        """Say something.

        Parameters
        ----------
        text : str
            One line.
        """
        if self._terminal:
            self._stream.write(f"\r\033[K{text}\n{self._status()}")
        else:
            self._stream.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        self._stream.flush()

    def started(self, task: Task) -> None:
        """Say that a piece of work has begun.

        Parameters
        ----------
        task : Task
            The work.
        """
        self._running[task.label] = task.name
        if self._terminal:
            self._stream.write(f"\r\033[K{self._status()}")
            self._stream.flush()

    def done(self, task: Task, outcome: Outcome, last: bool) -> None:
        """Say what came of an observation.

        Parameters
        ----------
        task : Task
            The work.
        outcome : Outcome
            What came of it.
        last : bool
            Whether this is the last word; if not, it is tried again.
        """
        self._running.pop(task.label, None)
        if not last:
            self.say(f"{task.name}: failed, and is tried again at the end: {outcome.reason}")
            return
        self._done += 1
        self._failed += outcome.status == "failed"
        text = f"[{self._done}/{self._total}] {task.name}: {outcome.status}"
        if outcome.status == "failed":
            text += f": {outcome.reason}"
        self.say(f"{text} ({outcome.seconds:.1f} s)")

    def close(self) -> None:
        """Take the line that changes off the terminal."""
        if self._terminal:
            self._stream.write("\r\033[K")
            self._stream.flush()

    def _status(self) -> str:
        spent = time.monotonic() - self._start
        text = f"{self._done} of {self._total} done"
        if self._failed:
            text += f", {self._failed} failed"
        if 0 < self._done < self._total:
            text += f", about {spent / self._done * (self._total - self._done):.0f} s to go"
        if self._running:
            text += f"; at work: {', '.join(self._running.values())}"
        return text[:100]


def outcome_table(
    units: Sequence[Unit],
    outcomes: Mapping[str, Outcome],
    failures: Sequence[tuple[str, str]],
) -> str:
    """Make the table of a run.

    Parameters
    ----------
    units : sequence of Unit
        The observations.
    outcomes : mapping of str to Outcome
        What came of each, by its label; what is not there was not begun.
    failures : sequence of (str, str)
        Files that could not be used, and why.

    Returns
    -------
    str
        A table of text; below it the reason of each failure.
    """
    rows = [_TITLES]
    reasons = []
    for unit in units:
        one = unit.observation
        found = outcomes.get(unit.label) or Outcome(one.name, "not done")
        rows.append(
            (
                one.name, one.target, str(len(one.files)), found.status,
                f"{found.seconds:.1f}", say_memory(found.peak) if found.peak else "",
                str(found.tries),
            )
        )  # fmt: skip
        if found.reason:
            reasons.append((one.name, found.reason))
    rows += [(name, "", "", "failed", "", "", "") for name, _ in failures]
    reasons += failures
    widths = [max(len(row[i]) for row in rows) for i in range(len(_TITLES))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if i in (2, 4, 5, 6) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    if reasons:
        lines += ["", "Failed:"]
        lines += [f"  {name}: {why}" for name, why in reasons]
    return "\n".join(lines)
