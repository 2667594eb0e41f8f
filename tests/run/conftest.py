"""Small campaigns that several processes work on."""

import shutil
import signal
from multiprocessing import get_context

import pytest
from campaign_files import write_three_stars
from scale_products import content

from soss_photcal_steps.cli import main
from soss_photcal_steps.run import schedule

SERVER = {
    "observatory": "jwst", "operational_context": "jwst_0000.pmap",
    "latest_context": "jwst_0000.pmap", "edit_context": "jwst_0000.pmap",
    "bad_files_list": [], "force_remote_mode": False, "last_synced": "2024-01-01 00:00:00",
}  # fmt: skip


@pytest.fixture(scope="session")
def _spectra(tmp_path_factory):
    """Write spectra of three stars, their models, and the photom file."""
    folder = tmp_path_factory.mktemp("spectra")
    write_three_stars(folder, "photom.fits")
    config = folder / "crds" / "config" / "jwst"
    config.mkdir(parents=True)
    (config / "server_config").write_text(repr(SERVER))
    return folder


@pytest.fixture
def spectra(_spectra, tmp_path, monkeypatch):
    """Give a copy of the spectra, in the folder ``given``, which is the current one."""
    shutil.copytree(_spectra, tmp_path / "given")
    monkeypatch.chdir(tmp_path / "given")
    # Workers are processes of their own; they get this by the environment.
    monkeypatch.setenv("CRDS_PATH", str(_spectra / "crds"))
    monkeypatch.setenv("STPIPE_DISABLE_CRDS_STEPPARS", "true")
    return tmp_path / "given"


@pytest.fixture
def parameters():
    """Give the parameters that the spectra need, as the command line has them."""
    values = {
        "report": "false",
        "steps.soss_ratio.standards": "standards.yaml",
        "steps.soss_ratio.calspec_dir": ".",
        "steps.soss_ratio.photom_file": "photom.fits",
        "steps.soss_photom_combine.standards": "standards.yaml",
        "steps.soss_photom_combine.photom": "photom.fits",
        "steps.soss_photom_combine.check": "false",
        "steps.soss_photom_combine.splice_observation": "",
        "steps.soss_photom_combine.orders": "1,",
    }
    return [f"--set={name}={value}" for name, value in values.items()]


@pytest.fixture
def forked_workers(spectra, monkeypatch):
    """Let workers come from a process that has the libraries loaded, which each loads otherwise.

    That process has the environment of the first test that asks for it; so it is the same in all.
    Workers that are started afresh, as they are for the user, have tests of their own.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["soss_photcal_steps.run.pipelines"])
    monkeypatch.setattr(schedule, "get_context", lambda method: context)
    return context


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """Give a place for the products of one worker, which several tests compare with."""
    return tmp_path_factory.mktemp("reference") / "out"


@pytest.fixture
def one_worker(reference, spectra, parameters, capsys, forked_workers):
    """Give the products of one worker."""
    if not reference.exists():
        arguments = ["run", "asn.json", "--workers=1", f"--output-dir={reference}", *parameters]
        assert main(arguments) == 0
        assert "3 observation(s), 1 worker(s)" in capsys.readouterr().err
    return content(reference)


@pytest.fixture(autouse=True)
def _interrupts():
    """Let processes be interrupted, also where the tests run in the background of a shell.

    A shell has such a process ignore interrupts, and all that it starts inherit that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
