"""What a run says."""

import io

from soss_photcal_steps.photcal.members import Observation
from soss_photcal_steps.run.plan import Unit
from soss_photcal_steps.run.progress import Progress, outcome_table
from soss_photcal_steps.run.work import Outcome, Settings, Task


def unit(name):
    """Make a unit."""
    return Unit(Observation(name, "STAR", "science", "x1d", (f"{name}.fits",)))


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        """Say so."""
        return True


def say(stream):
    """Let a run of two observations say what it has to."""
    progress = Progress(2, stream)
    tasks = [Task("observation", n, Settings("x", ".", "spectra"), unit(n)) for n in ("1/1", "1/2")]
    for task in tasks:
        progress.started(task)
    failed = Outcome("1/2", "failed", reason="no.", cause="died", seconds=1.0)
    progress.done(tasks[0], Outcome("1/1", "made", seconds=2.0), True)
    progress.done(tasks[1], failed, False)
    progress.done(tasks[1], failed, True)
    progress.close()
    return stream.getvalue()


def test_a_file_gets_lines_and_a_terminal_a_line_that_changes():
    """Each observation has a line; the line that changes is on terminals only, and goes away."""
    text = say(io.StringIO())
    assert "\r" not in text
    assert [line[20:] for line in text.splitlines()] == [
        "[1/2] 1/1: made (2.0 s)",
        "1/2: failed, and is tried again at the end: no.",
        "[2/2] 1/2: failed: no. (1.0 s)",
    ]
    text = say(Terminal())
    assert "at work: 1/1, 1/2" in text
    assert "1 of 2 done" in text
    assert text.endswith("\r\033[K")


def test_the_table_has_every_observation():
    """What was made, failed, was not begun, or could not be read has a row, and a reason if any."""
    outcomes = {"1_1": Outcome("1/1", "made", seconds=2.0, peak=5e8),
                "1_2": Outcome("1/2", "failed", reason="no star.", tries=2)}  # fmt: skip
    units = [unit("1/1"), unit("1/2"), unit("1/3")]
    table = outcome_table(units, outcomes, [("bad.fits", "bad.fits is truncated.")])
    lines = table.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["1/1", "1/2", "1/3", "bad.fits"]
    assert "500 MB" in lines[1]
    assert lines[2].split()[3] == "failed"
    assert lines[2].endswith("2")
    assert "not done" in lines[3]
    assert lines[-2:] == ["  1/2: no star.", "  bad.fits: bad.fits is truncated."]
