"""Observations on a Dask cluster."""

import os
import re
import signal
import threading
import time

import pytest
from scale_products import content

from soss_photcal_steps.cli import main


def kill_a_worker(log, killed):
    """Wait until an observation is at work, and kill the process that has it."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if log.exists():
            match = re.search(r"by worker (\d+) on", log.read_text())
            if match:
                os.kill(int(match[1]), signal.SIGKILL)
                killed.append(int(match[1]))
                return
        time.sleep(0.005)


@pytest.fixture
def forked_dask_workers(forked_workers):
    """Let the workers of a local cluster come from that process too, also in the place of one."""
    dask = pytest.importorskip("dask")
    utils = pytest.importorskip("distributed.utils")
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        # distributed has a list of its own, which is set by the first call.
        utils.get_mp_context().set_forkserver_preload(["soss_photcal_steps.run.pipelines"])
        yield


@pytest.mark.usefixtures("forked_dask_workers")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning:distributed")
def test_a_killed_dask_worker_loses_nothing(one_worker, spectra, parameters, tmp_path, capsys):
    """One of two workers is killed in the middle; all is made, as workers of one machine do it."""
    distributed = pytest.importorskip("distributed")
    out, killed = tmp_path / "out", []
    log = out / "trial_logs" / "1538_12.log"
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0",
        memory_limit="4GB", silence_logs=50,
    ) as cluster:  # fmt: skip
        killer = threading.Thread(target=kill_a_worker, args=(log, killed))
        killer.start()
        status = main(
            ["run", "asn.json", f"--scheduler={cluster.scheduler_address}",
             f"--output-dir={out}", *parameters]
        )  # fmt: skip
        killer.join()
    said = capsys.readouterr()
    assert status == 0, said.out
    assert len(killed) == 1
    assert len(re.findall(r" made ", said.out)) == 3
    # It was begun twice: by the worker that was killed, and by another.
    workers = re.findall(r"by worker (\d+) on", log.read_text())
    assert len(workers) == 2
    assert workers[0] == str(killed[0]) != workers[1]
    assert content(out) == one_worker


def test_no_scheduler_is_one_sentence(spectra, parameters, capsys):
    """An address where nothing answers ends the run with a sentence."""
    from soss_photcal_steps.run import schedule

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "_TIMEOUT", 1)
        status = main(["run", "asn.json", "--scheduler=tcp://127.0.0.1:9", "--output-dir=out"])
    assert status == 1
    assert "No Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err
