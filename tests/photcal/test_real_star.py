"""A real frame of BD+60 1753 all the way: background, spectra, ratio, photom file, report."""

import json
import os
import subprocess
import sysconfig

import numpy as np
import pytest
import real_frame
from astropy.io import fits

from soss_photcal_steps.cli import main
from soss_photcal_steps.models import (
    SossPhotomCorrectionModel,
    SossRatioModel,
    open_product,
    plain_orders,
)
from soss_photcal_steps.photom.check import check_photom
from soss_photcal_steps.photom.table import read_photom
from soss_photcal_steps.simulate.crds_cache import write_crds_cache
from soss_photcal_steps.simulate.references import write_references

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not real_frame.FRAME.exists(), reason=f"no {real_frame.FRAME}"),
]
NAME = "jw01512001001_03102_00001_nis"


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """Give the folder of what ``strun soss_photcal`` makes of the frame."""
    folder = tmp_path_factory.mktemp("real")
    library = real_frame.real_library()
    frame = real_frame.write_frame(folder / f"{NAME}_rate.fits", library)
    pack = write_references(folder / "refs", pwcpos=real_frame.PWCPOS, library=library)
    cache = write_crds_cache(folder / "cache", pack)
    members = [{"expname": frame.name, "exptype": "science"}]
    product = {"name": "bd60d1753", "members": members}
    (folder / "asn.json").write_text(json.dumps({"products": [product]}))
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CRDS_", "STPIPE_"))}
    result = subprocess.run(
        [
            os.path.join(sysconfig.get_path("scripts"), "strun"), "soss_photcal", "asn.json",
            "--output_dir=out",
            "--steps.soss_spec2.steps.extract_1d.soss_atoca=false",
            f"--steps.soss_spec2.steps.photom.override_photom={real_frame.PHOTOM}",
            "--steps.soss_ratio.flux_unit=Jy",
            f"--steps.soss_ratio.model={real_frame.CALSPEC}",
            f"--steps.soss_photom_combine.photom={real_frame.PHOTOM}",
        ],
        capture_output=True, text=True, check=False, timeout=300, cwd=folder,
        env=clean | cache.environment() | {"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return folder / "out"


def between(wavelength, values, low, high):
    """Give the finite values in a range of wavelengths."""
    inside = (wavelength > low) & (wavelength < high) & np.isfinite(values)
    assert inside.sum() > 50
    return values[inside]


def test_background_is_that_of_the_frame(calibrated):
    """The published template is scaled by 0.55 on both sides, with errors below 5 per cent."""
    # The step at the break, which the wings of the star do not change, asks for 0.60 +- 0.04.
    header = fits.getheader(calibrated / f"{NAME}_cal.fits")
    for side in "LR":
        assert header[f"BKGSCL{side}"] == pytest.approx(0.55, abs=0.04)
        assert 0 < header[f"BKGERR{side}"] < 0.0275


def test_ratio_curve(calibrated):
    """The curve of order 1 is 0.94 to 1.02 from 0.9 to 1.8 um, and order 2 ends at 1.0 um."""
    with open_product(str(calibrated / f"{NAME}_sossratio.asdf"), SossRatioModel) as model:
        orders = {int(one["order"]): one for one in plain_orders(model)}
        one, two = orders[1], orders[2]
        curve = between(np.asarray(one["wavelength"]), np.asarray(one["fit"]), 0.9, 1.8)
        assert 0.94 < curve.min() < curve.max() < 1.02
        curve = between(np.asarray(two["wavelength"]), np.asarray(two["fit"]), 0.64, 0.98)
        assert np.median(curve) == pytest.approx(0.98, abs=0.03)
        beyond = np.asarray(two["wavelength"]) > 1.0
        assert not np.isfinite(np.asarray(two["fit"])[beyond]).any()


def test_new_file_is_the_old_one_over_the_ratio(calibrated):
    """Old response over new is the combined curve, where the star was measured."""
    old = read_photom(str(real_frame.PHOTOM))
    new = read_photom(str(calibrated / "bd60d1753_photom.fits"))
    correction = open_product(
        str(calibrated / "bd60d1753_sosscorr.asdf"), SossPhotomCorrectionModel
    )
    with correction:
        one = next(o for o in plain_orders(correction) if int(o["order"]) == 1)
        wavelength, value = np.asarray(one["wavelength"]), np.asarray(one["correction"])
    before, after = (
        next(row for row in file.rows if row.key == ("CLEAR", "GR700XD", 1)) for file in (old, new)
    )
    assert after.photmj == before.photmj
    np.testing.assert_array_equal(after.wavelength, before.wavelength)
    inside = (before.wavelength > 0.9) & (before.wavelength < 1.9)
    found = before.relresponse[inside] / after.relresponse[inside]
    expected = np.interp(before.wavelength[inside], wavelength, value)
    assert np.ptp(expected) > 0.03
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_new_file_passes_the_checks(calibrated, capsys):
    """`soss-photcal check` finds no error in the new file, and exits with 0."""
    new = str(calibrated / "bd60d1753_photom.fits")
    assert check_photom(new, str(real_frame.PHOTOM)).deliverable
    assert main(["check", new, "--old", str(real_frame.PHOTOM)]) == 0
    assert "may be delivered: 0 errors" in capsys.readouterr().out


def test_report_shows_the_star(calibrated):
    """The report is one file that names the star, its observation and the old photom file."""
    page = (calibrated / "bd60d1753_report.html").read_text(encoding="utf-8")
    for text in ("BD+60 1753", "1512/1", real_frame.PHOTOM.name):
        assert text in page
    assert "http://" not in page.replace("http://www.w3.org", "")
