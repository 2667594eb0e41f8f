"""Amounts of memory, and how many workers they hold."""

import pytest

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.run.limits import (
    available_memory,
    memory_needed,
    parse_memory,
    peak_memory,
    share_memory,
)


@pytest.mark.parametrize(
    ("text", "amount"),
    [("4G", 4e9), ("3.5 GB", 3.5e9), ("800m", 8e8), ("2GiB", 2 * 2**30), ("1000", 1e3)],
)
def test_memory_is_read_as_people_write_it(text, amount):
    """Units are powers of ten, with an i powers of two, and case does not matter."""
    assert parse_memory(text) == amount


@pytest.mark.parametrize("text", ["", "4 apples", "-1G", "0", "G", "1e9"])
def test_other_memory_is_refused(text):
    """What is no amount of memory is refused."""
    with pytest.raises(SossInputError, match="4G or 800M"):
        parse_memory(text)


def test_workers_that_do_not_fit_are_not_started():
    """As many workers are started as fit, by what is asked for or else by the largest file."""
    assert share_memory(4, 40e9, 2e9, None) == (4, 9e9, "")
    workers, each, note = share_memory(8, 10e9, 2e9, None)
    assert (workers, each) == (4, 2.25e9)
    assert "4 worker(s) instead of 8" in note
    assert share_memory(4, 10e9, 1e9, 4e9)[:2] == (2, 4e9)
    workers, each, note = share_memory(4, 1e9, 7e9, None)
    assert (workers, each) == (1, 0.9e9)
    assert "expected to take 7.0 GB" in note
    with pytest.raises(SossInputError, match="ask for less"):
        share_memory(1, 2e9, 1e9, 2e9)


def test_memory_is_measured():
    """What a hundred integrations take agrees with what was measured, and the system answers."""
    assert 5.9e9 < memory_needed(1.05e9) < 7.5e9
    assert 1e8 < available_memory() < 1e14
    assert 2e7 < peak_memory() < 1e11
