import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels

from soss_photcal_steps import SossInputError
from soss_photcal_steps.simulate import SceneParams, instrument, make_exposure, make_library
from soss_photcal_steps.simulate.crds_cache import (
    insert_reference,
    open_crds_cache,
    write_crds_cache,
)
from soss_photcal_steps.simulate.kernels import aperture_share
from soss_photcal_steps.simulate.references import write_references
from soss_photcal_steps.simulate.write import write_rateints
from soss_photcal_steps.trace import wavelengths

# Run by another process with the environment of the cache: no address is looked up.
NO_NETWORK = """
import socket
def refuse(*args, **kwargs):
    raise SystemExit("the network was asked for")
socket.getaddrinfo = socket.socket.connect = refuse
"""
SELECT = """
import json, sys
from stpipe import crds_client
answers = []
for subarray, filter_name, date in json.loads(sys.argv[1]):
    parameters = {
        "meta.instrument.name": "NIRISS", "meta.instrument.detector": "NIS",
        "meta.instrument.filter": filter_name, "meta.instrument.pupil": "GR700XD",
        "meta.exposure.type": "NIS_SOSS", "meta.subarray.name": subarray,
        "meta.observation.date": date, "meta.observation.time": "00:00:00",
        "meta.visit.tsovisit": "TRUE",
    }
    types = ["specwcs", "bkg", "flat", "pastasoss", "specprofile", "speckernel", "photom",
             "pathloss", "area", "pars-spec2pipeline", "pars-extract1dstep"]
    found = crds_client.get_multiple_reference_paths(parameters, types, "jwst")
    found["context"] = crds_client.get_context_used("jwst")
    answers.append(found)
print(json.dumps(answers))
"""
PIPELINE = """
import sys
from jwst.pipeline import Spec2Pipeline
types = {kind for step in Spec2Pipeline.step_defs.values() for kind in step().reference_file_types}
types |= {step.get_config_reftype() for step in Spec2Pipeline.step_defs.values()}
print("TYPES", *sorted(types | {Spec2Pipeline.get_config_reftype()}))
parameters = {"bkg_subtract": {"skip": True}, "extract_1d": {"soss_atoca": False}}
Spec2Pipeline.call(sys.argv[1], steps=parameters, save_results=True, output_dir=".")
"""


def run(cache, program, *arguments, folder, module=False):
    """Run a program in a clean environment with a cache, and give what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CRDS_", "STPIPE_"))}
    command = [program] if module else ["-c", NO_NETWORK + program]
    done = subprocess.run(
        [sys.executable, *(["-m"] if module else []), *command, *arguments],
        env=environment | cache.environment() | {"OPENBLAS_NUM_THREADS": "1"},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    """Write references of both strips, and a photom file for a later date."""
    folder = tmp_path_factory.mktemp("packs")
    library = make_library(1)
    return {
        "SUBSTRIP256": write_references(folder / "256", library=library),
        "SUBSTRIP96": write_references(folder / "96", subarray="SUBSTRIP96", library=library),
        "later": write_references(
            folder / "later", photom="true", library=library, useafter="2023-06-01T00:00:00"
        ),
    }


@pytest.fixture(scope="module")
def cache(tmp_path_factory, packs):
    """Make a cache of both strips."""
    folder = tmp_path_factory.mktemp("crds") / "cache"
    return write_crds_cache(folder, packs["SUBSTRIP256"], packs["SUBSTRIP96"])


@pytest.fixture
def small_cache(tmp_path, packs):
    """Make a cache of its own for a test that changes it."""
    photom = {"photom": packs["SUBSTRIP256"]["photom"]}
    return write_crds_cache(tmp_path / "crds" / "cache", photom)


def test_environment(cache):
    """The environment names folder and context, and a server that does not exist."""
    environment = cache.environment()
    assert environment["CRDS_PATH"] == str(cache.folder)
    assert environment["CRDS_CONTEXT"] == cache.context == "jwst_9001.pmap"
    assert "serverless" in environment["CRDS_SERVER_URL"]
    assert open_crds_cache(cache.folder) == cache


def test_references_are_selected(cache, packs, tmp_path):
    """Each strip gets its files, and the new photom file by date in the new context only."""
    new = insert_reference(cache, packs["later"]["photom"])
    assert new.folder == cache.folder and new.context == "jwst_9002.pmap"
    asked = [
        ("SUBSTRIP256", "CLEAR", "2023-05-31"),
        ("SUBSTRIP256", "CLEAR", "2023-06-01"),
        ("SUBSTRIP96", "CLEAR", "2023-07-01"),
        ("SUBSTRIP256", "F277W", "2023-07-01"),
    ]

    def select(cache):
        printed = run(cache, SELECT, json.dumps(asked), folder=tmp_path)
        return json.loads(printed[printed.index("[{") :].split("\n")[0])

    before, after = select(cache), select(new)
    old, later = "jwst_niriss_photom_9001.fits", "jwst_niriss_photom_9002.fits"
    for answers, context, photom in (
        (before, cache.context, [old, old, old, old]),
        (after, new.context, [old, later, later, later]),
    ):
        assert {answer["context"] for answer in answers} == {context}
        assert [Path(answer["photom"]).name for answer in answers] == photom
        for answer in answers:
            assert Path(answer["specwcs"]).name == "jwst_niriss_specwcs_9001.asdf"
            assert Path(answer["bkg"]).name == "jwst_niriss_bkg_9001.fits"
            for kind in ("pathloss", "area", "pars-spec2pipeline", "pars-extract1dstep"):
                assert answer[kind] == "N/A"
    # Each strip has a profile and a flat field of its own.
    for kind in ("specprofile", "flat"):
        for index, pack in ((0, packs["SUBSTRIP256"]), (2, packs["SUBSTRIP96"])):
            assert Path(before[index][kind]).read_bytes() == pack[kind].read_bytes()
    assert Path(after[1]["photom"]).read_bytes() == packs["later"]["photom"].read_bytes()


def test_certify(cache, tmp_path):
    """``crds certify`` finds no error in the references of the cache."""
    files = sorted(str(path) for path in cache.references.glob("*_9001.*"))
    assert len(files) == 7
    printed = run(cache, "crds.certify", *files, folder=tmp_path, module=True)
    assert re.search(r"INFO -\s+0 errors", printed)


def test_box_extraction_in_the_real_pipeline(cache, packs, tmp_path):
    """calwebb_spec2, with no override and no network, gives truth times filed error to 1%."""

    def flux(wave):
        return 2e-7 * (wave / 1.3) ** -1.8

    class Light:
        def brightness(self, order, columns):
            if order == 4:
                return np.zeros_like(columns)
            x = np.clip(columns, -20, 2067)
            wave = wavelengths(order, x)
            share = aperture_share(order, instrument.APERTURE_WIDTH, columns=x)
            return flux(wave) / instrument.response(order, wave) / share

    params = SceneParams(
        nints=1, star="none", level_left=0.0, contamination="none", n_groups=10, bad_pixels=0.0,
        unflagged_pixels=0.0, cosmic_rays=0.0,
    )  # fmt: skip
    exposure = make_exposure(params, make_library(1), light=Light())
    write_rateints(exposure, tmp_path / "sim_rateints.fits")
    printed = run(cache, PIPELINE, "sim_rateints.fits", folder=tmp_path)

    # All that any step of the pipeline may ask for is in the rules.
    imap = (cache.mappings / "jwst_niriss_9001.imap").read_text().lower()
    types = re.search(r"TYPES (.*)", printed)[1].split()
    assert len(types) > 40 and not [kind for kind in types if f"'{kind}'" not in imap]

    with datamodels.open(tmp_path / "sim_x1dints.fits") as model:
        assert type(model) is datamodels.TSOMultiSpecModel
        assert model.meta.ref_file.crds.context_used == cache.context
        assert model.meta.ref_file.photom.name == "crds://jwst_niriss_photom_9001.fits"
        spectra = {spectrum.spectral_order: spectrum for spectrum in model.spec}
        assert sorted(spectra) == [1, 2, 3]
        for order, (low, high) in {1: (0.87, 2.2), 2: (0.60, 0.90), 3: (0.75, 0.83)}.items():
            table = spectra[order].spec_table
            assert table.columns["FLUX"].unit == "MJy"
            wave, value = table["WAVELENGTH"][0], table["FLUX"][0]
            use = (wave > low) & (wave < high)
            ratio = value[use] / flux(wave[use]) / instrument.filed_error(order, wave[use])
            assert np.median(ratio) == pytest.approx(1, abs=0.01)
            assert np.percentile(np.abs(ratio - 1), 90) < 0.02


def test_insertion_replaces_and_keeps(small_cache, packs):
    """A file for the same date replaces one in the new context only; files are never edited."""
    before = {p: p.read_bytes() for p in small_cache.folder.rglob("*") if p.is_file()}
    changed = small_cache.folder.parent / "new_photom.fits"
    with fits.open(packs["SUBSTRIP256"]["photom"]) as hdus:
        hdus[0].header["DESCRIP"] = "another one"
        hdus.writeto(changed)
    new = insert_reference(small_cache, changed)
    rules = (new.mappings / "jwst_niriss_photom_9002.rmap").read_text()
    assert "photom_9002.fits" in rules and "photom_9001.fits" not in rules
    assert "'derived_from' : 'jwst_niriss_photom_9001.rmap'" in rules
    config = small_cache.folder / "config/jwst/server_config"
    assert all(p.read_bytes() == data for p, data in before.items() if p != config)
    assert open_crds_cache(new.folder).context == new.context
    newest = insert_reference(new, packs["later"]["photom"])
    assert newest.context == "jwst_9003.pmap"
    assert "9002.fits" in (newest.mappings / "jwst_niriss_photom_9003.rmap").read_text()


def test_what_cannot_be_inserted(small_cache, tmp_path, packs):
    """A type without rules, an unreadable file and one without date are refused with a sentence."""
    (tmp_path / "text.fits").write_text("no FITS")
    with pytest.raises(SossInputError, match=r"text\.fits cannot be read"):
        insert_reference(small_cache, tmp_path / "text.fits")
    with pytest.raises(SossInputError, match=r"none\.fits cannot be read"):
        insert_reference(small_cache, tmp_path / "none.fits")
    for card, value, message in (
        ("REFTYPE", "dark", "no rules for references of type 'dark'"),
        ("USEAFTER", "yesterday", "crds cannot insert"),
    ):
        with fits.open(packs["SUBSTRIP256"]["photom"]) as hdus:
            hdus[0].header[card] = value
            hdus.writeto(tmp_path / f"{card}.fits")
        with pytest.raises(SossInputError, match=message):
            insert_reference(small_cache, tmp_path / f"{card}.fits")
    assert [p.name for p in small_cache.references.iterdir()] == ["jwst_niriss_photom_9001.fits"]
    assert open_crds_cache(small_cache.folder) == small_cache


def test_places_where_no_cache_can_be(tmp_path, packs):
    """A folder that is not empty, one that is no cache, and a path with 'n/a' are refused."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(SossInputError, match="not an empty folder"):
        write_crds_cache(tmp_path, packs["SUBSTRIP256"])
    with pytest.raises(SossInputError, match="is not a CRDS cache"):
        open_crds_cache(tmp_path)
    with pytest.raises(SossInputError, match="takes for 'no reference'"):
        write_crds_cache(tmp_path / "Python" / "About", packs["SUBSTRIP256"])
    with pytest.raises(SossInputError, match="no rules for references of type 'gain'"):
        write_crds_cache(tmp_path / "new", {"gain": packs["SUBSTRIP256"]["photom"]})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_failure_leaves_no_cache(tmp_path, packs):
    """If a file of a pack is missing, no half of a cache is left behind."""
    with pytest.raises(SossInputError, match="cannot be read"):
        write_crds_cache(tmp_path / "cache", {"photom": tmp_path / "gone.fits"})
    assert not list(tmp_path.iterdir())
    (tmp_path / "empty").mkdir()
    made = write_crds_cache(tmp_path / "empty", {"photom": packs["SUBSTRIP96"]["photom"]})
    assert made.references.is_dir()
