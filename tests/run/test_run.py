"""``soss-photcal run`` as a user runs it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scale_products import content

from soss_photcal_steps.cli import main
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.leftovers import scratch_prefix
from soss_photcal_steps.run.campaign import parameter_lines
from soss_photcal_steps.run.lock import LOCK_FILE
from soss_photcal_steps.run.pipelines import prepare
from soss_photcal_steps.run.work import Settings, Task

COMMAND = Path(sys.executable).with_name("soss-photcal")
FIRST = "jw01091002001_03102_00001_nis"


def stamps(folder):
    """Give the times of all products."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()}


def test_two_workers_make_the_same_and_a_failure_is_made_up_for(
    one_worker, spectra, parameters, capsys, tmp_path
):
    """A bad observation stops no other; repaired, all is what one worker makes, but for times."""
    path = spectra / f"{FIRST}_x1dints.fits"
    good = path.read_bytes()
    # A star that nobody knows, far from any that somebody does.
    for card, value in {"TARGNAME": "NOBODY", "TARGPROP": "NOBODY", "PROGRAM": "09999",
                        "TARG_RA": 10.0, "TARG_DEC": 10.0}.items():  # fmt: skip
        fits.setval(path, card, value=value)
    out = tmp_path / "out"
    command = ["run", "asn.json", "--workers=2", f"--output-dir={out}", *parameters]
    # No process has that number; a killed run left it.
    left = re.sub(r"-\d+-\d+-$", "-4194999-1-abcd", scratch_prefix())
    (out / left).mkdir(parents=True)
    assert main(command) == 1
    said = capsys.readouterr()
    assert f"Removed {left}" in said.err
    assert re.search(r"^9999/2 .* failed .* 1$", said.out, re.M)
    assert len(re.findall(r" made ", said.out)) == 2
    assert "9999/2: " in said.out.partition("Failed:")[2]
    assert "New photom file:" in said.out
    assert (out / "trial_photom.fits").exists()
    assert "2 worker(s)" in said.err
    before = stamps(out)
    path.write_bytes(good)
    command[2] = "--workers=1"
    assert main(command) == 0
    said = capsys.readouterr().out
    assert len(re.findall(r" unchanged ", said)) == 2
    after = stamps(out)
    assert {name for name in before if name.endswith("_sossratio.asdf")} == {
        name for name in before if name.endswith("_sossratio.asdf") and before[name] == after[name]
    }
    assert content(out) == one_worker
    assert [name for name in os.listdir(out) if name[0] == "."] == [LOCK_FILE]


def test_an_interrupt_stops_cleanly(spectra, parameters, tmp_path):
    """Ctrl-C ends a run with 130 and one word, and what was done is known."""
    out = tmp_path / "out"
    command = [COMMAND, "run", "asn.json", "--workers=1", f"--output-dir={out}", *parameters]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        end = time.monotonic() + 60
        while not list(out.glob("trial_logs/1538_12.log")):
            assert time.monotonic() < end
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.strip().endswith("soss-photcal: stopped")
    assert "Traceback" not in errors
    assert not [
        name for name in os.listdir(out) if name.startswith(".soss_") and "lock" not in name
    ]
    # What was done is known, also without a clean end.
    assert json.loads((out / "trial_photcal.json").read_text())["stages"]["ratio of 1091/2"]


def test_wrong_options_are_one_sentence(spectra, capsys):
    """Impossible numbers and combinations, and parameters that do not exist, are refused."""
    for more, reason in (
        (["--workers=0"], "from 1"),
        (["--scheduler=tcp://x:1", "--workers=2"], "leave out --workers"),
        (["--memory-per-worker=9999T"], "ask for less"),
        (["--memory-per-worker=lots"], "4G or 800M"),
        (["--parameters=no.asdf"], "does not exist"),
        (["--set=steps"], "NAME=VALUE"),
    ):
        assert main(["run", "asn.json", "--output-dir=out", *more]) == 1
        assert re.search(rf"^soss-photcal: .*{reason}", capsys.readouterr().err, re.M), more


def test_a_parameter_that_does_not_exist_is_named(pipeline_without_crds):
    """A misspelt parameter ends the run before any observation is touched."""
    settings = Settings("x", ".", "photom")
    lines = parameter_lines(["steps.soss_ratio.sigmo=3"])
    with pytest.raises(SossInputError, match="sigmo"):
        prepare(Task("prepare", "parameters", settings, more=(None, lines)))
    lines = parameter_lines(["steps.soss_photom_combine.orders=1,", "report=false"])
    _, _, config = prepare(Task("prepare", "parameters", settings, more=(None, lines)))
    assert config == {"report": "false", "steps": {"soss_photom_combine": {"orders": ["1"]}}}


@pytest.mark.slow
def test_a_list_of_rates_becomes_spectra(tmp_path, monkeypatch, capsys):
    """Rates of a list get spectra that are calibrated and free of their background."""
    import dataclasses

    from soss_photcal_steps.simulate.campaign import Campaign, report_campaign
    from soss_photcal_steps.simulate.writecampaign import write_campaign

    plan = next(
        one for one in report_campaign(2, max_nints=1, grey_scatter=0, shape_scatter=0).observations
        if (one.program, one.observation) == (6606, 42)
    )  # fmt: skip
    alone = dataclasses.replace(plan, background_observation=None)
    write_campaign(Campaign("one", (alone,), 2), tmp_path / "data")
    environment = json.loads((tmp_path / "data" / "campaign.json").read_text())["environment"]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    rate = next((tmp_path / "data").glob("*_rateints.fits"))
    bad = shutil.copy(rate, tmp_path / "bad.fits")
    (tmp_path / "all.txt").write_text(f"data/{rate.name}\n{Path(bad).name}\n")
    assert main(["run", "all.txt", "--workers=1", "--output-dir=out",
                 "--set=steps.soss_spec2.steps.extract_1d.soss_atoca=false"]) == 1  # fmt: skip
    said = capsys.readouterr().out
    assert "must have a name that ends in _rate.fits" in said
    spectra = tmp_path / "out" / rate.name.replace("_rateints", "_x1dints")
    with fits.open(spectra) as hdus:
        assert hdus[0].header["S_BKDSUB"] == "COMPLETE"
        assert hdus[0].header["S_PHOTOM"] == "COMPLETE"
        assert np.nanmedian(hdus["EXTRACT1D"].data["FLUX"]) > 0
