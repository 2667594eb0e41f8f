"""Workers that are killed, run out of memory, or are told to stop."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import scale_work

from soss_photcal_steps.photcal.members import Observation
from soss_photcal_steps.run.plan import Unit
from soss_photcal_steps.run.schedule import LocalPool, do_all
from soss_photcal_steps.run.work import Settings, Task

HELPERS = Path(__file__).parents[1] / "helpers"


def tasks_of(folder, *names):
    """Make tasks."""
    settings = Settings("x", str(folder), "spectra")
    return [
        Task("observation", name, settings, Unit(Observation(name, "", "science", "x1d", ("f",))),
             str(folder))
        for name in names
    ]  # fmt: skip


def pool_of(folder, workers, memory=2e9):
    """Make workers that do the work of the helper."""
    return LocalPool(
        workers, memory, str(folder / "log"), does=scale_work.perform, warm=scale_work.nothing
    )


def test_a_killed_worker_loses_nothing(tmp_path):
    """Work whose worker was killed is tried once more, by itself, and no other work notices."""
    names = ["fine 1", "dieonce", "fine 2", "die", "diskonce", "spec2once", "wrong", "bug",
             "fine 3", "fine 4"]  # fmt: skip
    said = []
    with pool_of(tmp_path, 2) as pool:
        found = do_all(
            pool, tasks_of(tmp_path, *names), done=lambda task, one, last: said.append(last)
        )
    assert [one.name for one in found.values()] == names
    status = {one.name: (one.status, one.cause, one.tries) for one in found.values()}
    assert status == {
        **{f"fine {i}": ("made", "", 1) for i in (1, 2, 3, 4)},
        "dieonce": ("made", "", 2),
        "die": ("failed", "died", 2),
        "diskonce": ("made", "", 2),
        "spec2once": ("made", "", 2),
        "wrong": ("failed", "input", 1),
        "bug": ("failed", "error", 1),
    }
    assert said.count(True) == len(names)
    assert said.count(False) == 4


def test_too_little_memory_is_tried_again_with_that_of_all(tmp_path):
    """600 MB do not fit into a worker with 500, and do into one with the memory of two."""
    with pool_of(tmp_path, 2, 500e6) as pool:
        found = do_all(pool, tasks_of(tmp_path, "memory", "fine"))
    assert found["memory"].status == "made"
    assert found["memory"].tries == 2
    with pool_of(tmp_path, 1, 500e6) as pool:
        found = do_all(pool, tasks_of(tmp_path, "memory", "fine"))
    assert found["memory"].cause == "memory"
    assert "memory of the worker was not enough" in found["memory"].reason
    assert found["fine"].status == "made"


def test_workers_use_one_thread_each(tmp_path, monkeypatch):
    """Numerical libraries of a worker have one thread, and the parent's setting is not touched."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with pool_of(tmp_path, 1) as pool:
        variable, threads = do_all(pool, tasks_of(tmp_path, "threads"))["threads"].value
    assert variable == "1"
    assert threads
    assert set(threads) == {1}
    assert os.environ["OMP_NUM_THREADS"] == "7"


STOPPED = """
import sys
sys.path[:0] = [{helpers!r}, {here!r}]
from pathlib import Path
from test_schedule import pool_of, tasks_of
from soss_photcal_steps.run.schedule import do_all
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with pool_of(folder, 2) as pool:
        do_all(pool, tasks_of(folder, "long 1", "long 2", "long 3"))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_run(tmp_path, number):
    """After an interrupt, or the death of the run itself, no worker goes on."""
    (tmp_path / "script.py").write_text(
        STOPPED.format(helpers=str(HELPERS), here=str(Path(__file__).parent))
    )
    work = tmp_path / "work"
    work.mkdir()
    with subprocess.Popen(
        [sys.executable, tmp_path / "script.py", work], stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:  # fmt: skip
        end = time.monotonic() + 30
        while len(pids := [int(p.name) for p in work.iterdir() if p.name.isdigit()]) < 2:
            assert time.monotonic() < end
            time.sleep(0.05)
        workers = [psutil.Process(pid) for pid in pids]
        if number == signal.SIGINT:
            # A terminal sends it to all.
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid, number)
        process.wait(10)
        errors = process.stderr.read().decode()
    assert process.returncode == -number
    assert psutil.wait_procs(workers, timeout=10)[1] == []
    if number == signal.SIGINT:
        assert "KeyboardInterrupt" in errors
