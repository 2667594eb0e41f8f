import logging
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.photom import certify as module
from soss_photcal_steps.photom.certify import certify
from soss_photcal_steps.photom.check import check_photom
from soss_photcal_steps.photom.header import DeliveryHeader
from soss_photcal_steps.photom.table import read_photom
from soss_photcal_steps.photom.write import make_photom_file

DATA = Path(
    os.environ.get("SOSS_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")
)
REAL = DATA / "crds_ref"


def test_nothing_of_the_caller_is_touched(tmp_path, monkeypatch, old_path, network):
    """Certify runs whatever CRDS variables are set, and leaves folder, cache and logging alone."""
    cache = tmp_path / "my cache"
    cache.mkdir()
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("CRDS_PATH", str(cache))
    monkeypatch.setenv("CRDS_SERVER_URL", "https://jwst-crds.stsci.edu")
    monkeypatch.setenv("CRDS_CONTEXT", "jwst_9999.pmap")
    monkeypatch.setenv("CRDS_CFGPATH", str(cache))
    temporary = set(Path("/tmp").iterdir())
    before = dict(os.environ), sorted(logging.root.manager.loggerDict), list(logging.root.handlers)
    result = certify(old_path)
    assert result.errors == () and result.warnings == ()
    after = dict(os.environ), sorted(logging.root.manager.loggerDict), list(logging.root.handlers)
    assert after == before and Path.cwd() == here
    assert list(cache.iterdir()) == [] and list(here.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "my cache", "old.fits"]
    left = [path.name for path in set(Path("/tmp").iterdir()) - temporary]
    assert [name for name in left if name.endswith("map")] == []


def test_error_of_certify_forbids_the_delivery(tmp_path, photom_table, good_header, write_table):
    """A value that crds refuses is an error with crds' own words, also in a name with blanks."""
    good_header["DETECTOR"] = "NRCA1"
    path = write_table(tmp_path / "my bad file.fits", photom_table, header=good_header)
    report = check_photom(path)
    texts = [f.text for f in report.findings if f.code == "certify" and f.severity == "error"]
    assert len(texts) >= 1 and "DETECTOR" in texts[0] and "NRCA1" in texts[0]
    assert not report.deliverable


def test_file_that_the_rules_refuse(monkeypatch, old_path):
    """A file that certify lets pass, but that cannot be inserted into the rules, is an error."""
    rules = dict(module._MAPPINGS)
    name = "jwst_niriss_<kind>_0001.rmap"
    rules[name] = rules[name].replace("selector = Match({\n})", "selector = UseAfter({\n})")
    monkeypatch.setattr(module, "_MAPPINGS", rules)
    (text,) = certify(old_path).errors
    assert text.startswith("the file cannot be inserted into the rules")


def test_crds_that_does_not_run_forbids_the_delivery(monkeypatch, old_path):
    """If crds certify breaks down there is no verdict of it, so the file must not be delivered."""
    monkeypatch.setattr(module, "_PROGRAM", "raise SystemExit('no crds here')")
    with pytest.raises(SossInputError, match=r"did not finish: no crds here\."):
        certify(old_path)
    assert not check_photom(old_path).deliverable


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no reference files in {REAL}")
def test_file_made_from_the_real_one(tmp_path, correction):
    """With the in-flight file of 2023 as the old one, certify has 0 errors and order 3 its bits."""
    old, path = REAL / "jwst_niriss_photom_rev2.fits", tmp_path / "new.fits"
    header = DeliveryHeader("A. Tester", "INFLIGHT 2022-06-05 2024-06-07")
    make_photom_file(old, [correction(1), correction(2, 0.6, 0.95)], path, header)
    report = check_photom(path, old)
    assert report.deliverable, report.as_text()
    assert any(found.text.endswith("has no error.") for found in report.findings)
    assert {found.code for found in report.findings if found.severity == "warning"} == {"explosion"}
    before, after = fits.getdata(old, 1), fits.getdata(path, 1)
    for name in before.names:
        assert before[name][2:].tobytes() == after[name][2:].tobytes()
    for row in read_photom(path).rows:
        product = np.float32(row.photmj) * row.relresponse[row.used]
        assert np.all(np.isfinite(product)) and np.all(product > 0)
    history = " ".join(fits.getheader(path)["HISTORY"])
    assert "order 2: from 0.50614 to 0.5" in history and "not cut, not to be trusted" in history


# What is found in real files, with words of the sentence.
FOUND = {
    "jwst_niriss_photom_rev2.fits": [
        ("pedigree", "the day on which the file was made"),
        ("explosion", "order 3: relresponse is over 1000 times its smallest value (3.46"),
        ("jump", "order 3: the conversion jumps by more than 0.5 % between neighbours at 6"),
        ("no-errors", "the file has no errors"),
        ("unit", "The conversion is in Jy/(DN/s)"),
    ],
    "jwst_niriss_photom_0037.fits": [
        ("pedigree", "PEDIGREE is GROUND"),
        ("jump", "order 1: the conversion jumps by more than 0.5 % between neighbours at 3"),
        ("unit", "The conversion is in MJy/(DN/s)"),
    ],
}


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no reference files in {REAL}")
@pytest.mark.parametrize("name", FOUND)
def test_real_files(name):
    """Of the delivered files of 2019 and 2023, units, jumps and missing errors are told."""
    report = check_photom(REAL / name, certify=False)
    assert report.deliverable
    for code, words in FOUND[name]:
        assert any(f.code == code and words in f.text for f in report.findings), report.as_text()


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no reference files in {REAL}")
def test_real_files_against_each_other():
    """The file of 2023 against that of 2019 is refused for the change of unit by 1e6."""
    old = REAL / "jwst_niriss_photom_0037.fits"
    report = check_photom(REAL / "jwst_niriss_photom_rev2.fits", old, certify=False)
    texts = [f.text for f in report.findings if f.severity == "error" and f.code == "unit"]
    assert texts == [
        "The conversions are about 1e+06 times the old ones: another unit, such as Jy against MJy."
    ]


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no reference files in {REAL}")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("niriss_ref_photom.fits", "has no column photmj, reluncertainty"),
        ("jwst_niriss_wavemap_0020.fits", "is a WAVEMAP reference file"),
        ("model_background96.npy", "not a readable FITS file"),
    ],
)
def test_real_files_of_other_kinds(name, words):
    """Real files of another layout or type are refused with a sentence."""
    with pytest.raises(SossInputError, match=words):
        check_photom(REAL / name)
