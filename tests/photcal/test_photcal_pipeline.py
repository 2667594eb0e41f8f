"""The pipeline from an association to the photom file, as a user runs it."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asdf
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from campaign_files import THREE_STARS, write_three_stars

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.leftovers import scratch_prefix
from soss_photcal_steps.models import SossPhotomCorrectionModel, open_product, plain_orders
from soss_photcal_steps.photcal.photcal_pipeline import SossPhotcalPipeline
from soss_photcal_steps.run.lock import LOCK_FILE, folder_lock
from soss_photcal_steps.simulate import instrument
from soss_photcal_steps.simulate.campaign import Campaign, report_campaign
from soss_photcal_steps.simulate.writecampaign import write_campaign

STRUN = Path(sys.executable).with_name("strun")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Write spectra of three stars, their models, and the photom file."""
    folder = tmp_path_factory.mktemp("made")
    return folder, write_three_stars(folder).name


@pytest.fixture
def campaign(made, tmp_path):
    """Copy all to a folder of the test's own."""
    folder, photom = made
    shutil.copytree(folder, tmp_path / "given")
    return tmp_path / "given", photom


def parameters(folder, photom):
    """Give the parameters of the sub-steps."""
    return {
        "steps": {
            "soss_ratio": {
                "standards": str(folder / "standards.yaml"), "calspec_dir": str(folder),
                "photom_file": str(folder / photom),
            },
            "soss_photom_combine": {
                "standards": str(folder / "standards.yaml"), "photom": str(folder / photom),
                "check": False, "splice_observation": "", "orders": [1],
            },
        },
    }  # fmt: skip


def run(folder, photom, **more):
    """Run the pipeline."""
    out = folder.parent / "out"
    given = {"report": False, **parameters(folder, photom), **more}
    return SossPhotcalPipeline.call(str(folder / "asn.json"), output_dir=str(out), **given), out


def stamps(folder):
    """Give time and content of all products."""
    return {
        path.name: (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.iterdir() if path.is_file() and path.name != LOCK_FILE
    }  # fmt: skip


def test_spectra_become_a_photom_file_and_nothing_is_made_twice(campaign, pipeline_without_crds):
    """The known ratio comes back to 0.3 %; a second run changes no file, a forced one does."""
    folder, photom = campaign
    result, out = run(folder, photom)
    with result:
        entry = plain_orders(result)[0]
        x, found = np.array(entry["wavelength"]), np.array(entry["correction"])
    inside = (x > 0.9) & (x < 2.0) & np.isfinite(found)
    assert inside.sum() > 900
    assert np.abs(found / instrument.filed_error(1, x) - 1)[inside].max() < 0.003
    names = {path.name for path in out.iterdir()}
    assert {"trial_photom.fits", "trial_sosscorr.asdf", "trial_photcal.json"} <= names
    assert sum(name.endswith("_sossratio.asdf") for name in names) == 3
    before = stamps(out)
    run(folder, photom)[0].close()
    assert stamps(out) == before
    # A product that was damaged since is made again, and what hangs on it.
    ratio = next(path for path in out.iterdir() if path.name.endswith("_sossratio.asdf"))
    ratio.write_bytes(ratio.read_bytes()[:1000])
    run(folder, photom)[0].close()
    after = stamps(out)
    changed = {name for name in before if before[name][0] != after[name][0]}
    assert ratio.name in changed
    assert sum(name.endswith("_sossratio.asdf") for name in changed) == 1


def test_one_bad_observation_does_not_stop_the_others(campaign, pipeline_without_crds):
    """A damaged member is reported at the end, with an error, after the others were combined."""
    folder, photom = campaign
    bad = sorted(folder.glob("*x1dints.fits"))[1]
    bad.write_bytes(bad.read_bytes()[:40000])
    with pytest.raises(SossInputError, match=bad.name.replace(".", r"\.")) as caught:
        run(folder, photom)
    assert "1 of the observations or files failed" in str(caught.value)
    out = folder.parent / "out"
    with open_product(out / "trial_sosscorr.asdf", SossPhotomCorrectionModel) as model:
        assert len(model.observations) == 2
    assert (out / "trial_photom.fits").exists()


def test_ratios_and_spectra_can_be_mixed(campaign, pipeline_without_crds):
    """Ratio products of an earlier run stand for their spectra, with the same result."""
    folder, photom = campaign
    first, out = run(folder, photom)
    with first:
        expected = np.array(plain_orders(first)[0]["correction"])
    content = json.loads((folder / "asn.json").read_text())
    members = content["products"][0]["members"]
    name = members[0]["expname"].replace("_x1dints.fits", "_sossratio.asdf")
    shutil.copy(out / name, folder)
    members[0]["expname"] = name
    (folder / "asn.json").write_text(json.dumps(content))
    shutil.rmtree(out)
    second, _ = run(folder, photom)
    with second:
        np.testing.assert_array_equal(np.array(plain_orders(second)[0]["correction"]), expected)


def test_wrong_input_is_one_sentence(tmp_path, pipeline_without_crds):
    """Anything but an association, or one without anything usable, is a sentence."""
    with pytest.raises(SossInputError, match=r"\.json"):
        SossPhotcalPipeline.call("x_rateints.fits")
    path = tmp_path / "asn.json"
    path.write_text(json.dumps({"products": [{"name": "x", "members": [{"expname": "no.fits"}]}]}))
    with pytest.raises(SossInputError, match="No observation is left"):
        SossPhotcalPipeline.call(str(path), output_dir=str(tmp_path))


def test_rates_go_through_the_whole_chain_under_strun(tmp_path):
    """One simulated observation of rates ends in a photom file within 1 % of the truth."""
    plan = next(
        one for one in report_campaign(2, max_nints=1, grey_scatter=0, shape_scatter=0).observations
        if (one.program, one.observation) == (6606, 42)
    )  # fmt: skip
    alone = dataclasses.replace(plan, background_observation=None)
    data = tmp_path / "data"
    write_campaign(Campaign("one", (alone,), 2), data)
    environment = json.loads((data / "campaign.json").read_text())["environment"]
    (tmp_path / "standards.yaml").write_text(f"stars:\n- {THREE_STARS['p330e']}\n")
    rate = next(data.glob("*_rateints.fits"))
    members = [{"expname": f"data/{rate.name}", "exptype": "science"}]
    (tmp_path / "asn.json").write_text(
        json.dumps({"products": [{"name": "one", "members": members}]})
    )
    before = rate.read_bytes()
    done = subprocess.run(
        [STRUN, "soss_photcal", "asn.json",
         "--steps.soss_spec2.steps.extract_1d.soss_atoca=false",
         "--steps.soss_ratio.standards=standards.yaml",
         "--steps.soss_ratio.calspec_dir=data/models",
         "--steps.soss_photom_combine.orders=1,",
         "--steps.soss_photom_combine.check=false", "--report=false"],
        cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert rate.read_bytes() == before
    with open_product(tmp_path / "one_sosscorr.asdf", SossPhotomCorrectionModel) as model:
        entry = plain_orders(model)[0]
        x, found = np.array(entry["wavelength"]), np.array(entry["correction"])
    inside = (x > 0.9) & (x < 1.6) & np.isfinite(found)
    difference = found / instrument.filed_error(1, x) - 1
    assert abs(np.median(difference[inside])) < 0.005
    assert np.abs(difference[inside]).max() < 0.015


def test_the_report_shows_every_observation(campaign, pipeline_without_crds):
    """The report is one file with all observations and their pictures, and asks for no other."""
    folder, photom = campaign
    bad = sorted(folder.glob("*x1dints.fits"))[0]
    bad.write_bytes(bad.read_bytes()[:40000])
    with pytest.raises(SossInputError):
        run(folder, photom, report=True)
    text = (folder.parent / "out" / "trial_report.html").read_text(encoding="utf-8")
    for name in ("1538/12", "4498/24", "GSPC P177-D", "GSPC P330-E", bad.name, "trial_photom.fits"):
        assert name in text
    assert text.count("data:image/") == 9
    assert not re.search(r"(src|href)=\"https?:", text)
    assert "<script" not in text


def with_test_star(folder, **said):
    """Make the last member of the association one for a test, with what is said of it."""
    content = json.loads((folder / "asn.json").read_text())
    member = content["products"][0]["members"][-1]
    member.update(exptype="test", **said)
    (folder / "asn.json").write_text(json.dumps(content))
    return member["expname"].removesuffix("_x1dints.fits")


def test_a_star_for_a_test_is_tried_on_the_new_file(campaign, pipeline_without_crds):
    """A test star is not combined; through the new file it is its model to 0.3 %, as reported."""
    folder, photom = campaign
    root = with_test_star(folder, model="p330e_mod_sim.fits", kind="solar")
    result, out = run(folder, photom, report=True)
    with result:
        assert len(result.observations) == 2
    table = Table.read(out / f"{root}_validate.ecsv")
    first = next(one for one in table.meta["ranges"] if one["order"] == 1 and one["n"])
    assert first["median"] == pytest.approx(1, abs=0.003)
    # Through the old file it has the known error.
    assert abs(first["median_used"] - 1) > 0.008
    text = (out / "trial_report.html").read_text(encoding="utf-8")
    assert "which did not take part in the combination" in text
    assert f"{first['median']:.4f}" in text


def test_a_star_without_a_model_cannot_be_tried(campaign, pipeline_without_crds):
    """A test that cannot be made stops nothing, and the report says why."""
    folder, photom = campaign
    with_test_star(folder, model="nowhere.fits")
    result, out = run(folder, photom, report=True)
    result.close()
    text = (out / "trial_report.html").read_text(encoding="utf-8")
    assert "the model nowhere.fits does not exist" in text


def command(folder, photom, out):
    """Give the command line of a run."""
    return [
        str(STRUN), "soss_photcal", str(folder / "asn.json"), f"--output_dir={out}",
        f"--steps.soss_ratio.standards={folder / 'standards.yaml'}",
        f"--steps.soss_ratio.calspec_dir={folder}",
        f"--steps.soss_ratio.photom_file={folder / photom}",
        f"--steps.soss_photom_combine.standards={folder / 'standards.yaml'}",
        f"--steps.soss_photom_combine.photom={folder / photom}",
        "--steps.soss_photom_combine.check=false", "--steps.soss_photom_combine.orders=1,",
        "--report=false",
    ]  # fmt: skip


def test_a_killed_run_goes_on_and_ends_the_same(campaign, tmp_path):
    """A run that is killed after its first product ends, started again, as if it never was."""
    folder, photom = campaign
    environment = {**os.environ, "STPIPE_DISABLE_CRDS_STEPPARS": "true"}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = subprocess.run(
        command(folder, photom, whole), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with subprocess.Popen(
        command(folder, photom, killed), env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:  # fmt: skip
        deadline = time.monotonic() + 120
        # The state is written after the product that it names.
        while not (killed / "trial_photcal.json").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        child.kill()
    assert child.returncode == -signal.SIGKILL
    first = stamps(killed)
    assert not (killed / "trial_photom.fits").exists()
    assert sum(name.endswith("_sossratio.asdf") for name in first) < 3
    done = subprocess.run(
        command(folder, photom, killed), env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Made by an earlier run, and unchanged" in done.stderr
    listed = json.loads((killed / "trial_photcal.json").read_text())
    assert set(listed) == set(json.loads((whole / "trial_photcal.json").read_text()))
    with (
        fits.open(whole / "trial_photom.fits") as one,
        fits.open(killed / "trial_photom.fits") as two,
    ):
        assert one[1].data.tobytes() == two[1].data.tobytes()
    for path in whole.glob("*.asdf"):
        with asdf.open(path) as one, asdf.open(killed / path.name) as two:
            assert_same(one.tree["orders"], two.tree["orders"])


HOLDER = """
import sys, time
from soss_photcal_steps.run.lock import folder_lock
with folder_lock(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_second_run_in_the_folder_stops_with_a_sentence(campaign, tmp_path, monkeypatch):
    """Where another run is at work, ``strun`` ends with 1 and a sentence, and changes nothing."""
    folder, photom = campaign
    out = tmp_path / "out"
    out.mkdir()
    (out / "trial_photom.fits").write_text("of the first run")
    monkeypatch.setenv("STPIPE_DISABLE_CRDS_STEPPARS", "true")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, out], stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout.readline() == "locked\n"
        before = stamps(out)
        second = subprocess.run(
            command(folder, photom, out), capture_output=True, text=True, check=False
        )
        first.kill()
    assert second.returncode == 1
    assert stamps(out) == before
    said = second.stdout + second.stderr
    assert f"Another run is at work in {out} (process {first.pid} on" in said
    assert "Traceback" not in said


def test_a_run_keeps_others_out_and_clears_up_after_the_dead(
    campaign, pipeline_without_crds, monkeypatch
):
    """During a run the folder is locked, after it not; what killed processes left is removed."""
    folder, photom = campaign
    out = folder.parent / "out"
    # No process has that number, which is above the largest one.
    left = re.sub(r"-\d+-\d+-$", "-4194999-1-abcd", scratch_prefix())
    (out / left).mkdir(parents=True)
    (out / ".soss_notes").mkdir()
    # A lock that a dead process has left.
    (out / LOCK_FILE).write_text("process 1 on nowhere")
    found = []
    ratio = SossPhotcalPipeline._ratio

    def look(pipeline, files, place):
        found.append((left in os.listdir(out), run_elsewhere(out)))
        return ratio(pipeline, files, place)

    monkeypatch.setattr(SossPhotcalPipeline, "_ratio", look)
    run(folder, photom)[0].close()
    assert found == [(False, "refused")] * 3
    assert run_elsewhere(out) == "free"
    assert (out / ".soss_notes").is_dir()


def run_elsewhere(folder):
    """Tell whether another run, in another thread, could work in the folder."""

    def lock():
        try:
            with folder_lock(folder):
                return "free"
        except SossInputError:
            return "refused"

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lock).result()


def assert_same(one, two):
    """Compare trees of numbers, text and arrays bit for bit."""
    assert type(one) is type(two)
    if isinstance(one, dict):
        assert set(one) == set(two)
        for key in one:
            assert_same(one[key], two[key])
    elif isinstance(one, list):
        assert len(one) == len(two)
        for left, right in zip(one, two, strict=True):
            assert_same(left, right)
    elif hasattr(one, "dtype"):
        assert np.asarray(one).tobytes() == np.asarray(two).tobytes()
    else:
        assert one == two
