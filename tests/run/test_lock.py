"""Two runs in one folder."""

import subprocess
import sys
import threading

import pytest

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.run.lock import LOCK_FILE, folder_lock

HOLDER = """
import sys, time
from soss_photcal_steps.run.lock import folder_lock
with folder_lock(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_and_a_dead_one_is_no_hindrance(tmp_path):
    """A folder that another process works in is refused by its name; a killed one locks nothing."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "locked\n"
        with (
            pytest.raises(SossInputError, match=f"process {process.pid} on"),
            folder_lock(tmp_path),
        ):
            pass
        process.kill()
    assert (tmp_path / LOCK_FILE).read_text().startswith("process")
    for _ in range(2):
        with folder_lock(tmp_path):
            pass


def test_who_holds_the_lock_may_take_it_again_and_no_other_thread(tmp_path):
    """In the thread that has the folder the lock is taken twice; another thread is refused."""
    refused = []

    def another_run():
        try:
            with folder_lock(tmp_path):
                pass
        except SossInputError as error:
            refused.append(str(error))

    (tmp_path / "link").symlink_to(tmp_path)
    with folder_lock(tmp_path):
        with folder_lock(tmp_path / "link"):
            pass
        # The inner one has not given it back.
        for _ in range(2):
            thread = threading.Thread(target=another_run)
            thread.start()
            thread.join()
    assert len(refused) == 2
    assert "Another run is at work" in refused[0]
    another_run()
    assert len(refused) == 2


def test_a_link_in_the_way_is_not_followed(tmp_path):
    """A link under the name of the lock is refused, and what it leads to is unchanged."""
    other = tmp_path / "other"
    other.write_text("mine")
    (tmp_path / LOCK_FILE).symlink_to(other)
    with pytest.raises(SossInputError, match=LOCK_FILE), folder_lock(tmp_path):
        pass
    assert other.read_text() == "mine"
