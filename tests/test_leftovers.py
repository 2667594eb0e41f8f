"""What killed processes leave, and what is not theirs."""

import os
import signal
import subprocess
import sys

from soss_photcal_steps.files import atomic_path
from soss_photcal_steps.leftovers import remove_leftovers, scratch_prefix

KILLED = """
import os, signal, sys
from soss_photcal_steps.files import atomic_path
with atomic_path(sys.argv[1]) as path, open(path, "w") as stream:
    stream.write("half of it")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    """Of hidden folders only that of a dead process goes; no file of the user is touched."""
    product = tmp_path / "x.txt"
    product.write_text("whole")
    done = subprocess.run([sys.executable, "-c", KILLED, product], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.glob(".soss_*")
    assert (left / "x.txt").read_text() == "half of it"
    machine, _, rest = left.name.removeprefix(".soss_").partition("-")
    other = f"{(int(machine, 16) + 1) % 2**32:08x}"
    theirs = tmp_path / "mine"
    theirs.mkdir()
    keep = [f".soss_{other}-{rest}", ".soss_abcdefgh", f"{left.name}.txt", ".soss_photcal.lock"]
    for name in keep[:3]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text("mine")
    (tmp_path / keep[3]).write_text("")
    (tmp_path / f"{left.name}x").symlink_to(theirs)
    (tmp_path / f"{left.name}y").write_text("a file")
    before = set(os.listdir(tmp_path)) - {left.name}
    with atomic_path(tmp_path / "y.txt") as writing:
        assert remove_leftovers(tmp_path) == [left.name]
        assert set(os.listdir(tmp_path)) - {os.path.basename(os.path.dirname(writing))} == before
        with open(writing, "w") as stream:
            stream.write("whole")
    assert product.read_text() == "whole" == (tmp_path / "y.txt").read_text()
    assert remove_leftovers(tmp_path) == []


def test_a_number_that_another_process_has_now_is_not_its_writer(tmp_path):
    """A process that began at another time is another one, though it has the same number."""
    prefix = scratch_prefix()
    began = prefix.split("-")[2]
    earlier = prefix.replace(f"-{began}-", f"-{int(began) - 1}-")
    for name in (f"{prefix}aaaa", f"{earlier}aaaa"):
        (tmp_path / name).mkdir()
    assert remove_leftovers(tmp_path) == [f"{earlier}aaaa"]
    assert os.listdir(tmp_path) == [f"{prefix}aaaa"]
