"""Files of simulated exposures and libraries."""

import numpy as np
import psutil
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate import SceneParams, make_exposure, make_library, simulate
from soss_photcal_steps.simulate.detector import DO_NOT_USE, REFERENCE_PIXEL
from soss_photcal_steps.simulate.write import (
    ExposureHeader,
    write_library,
    write_rate,
    write_rateints,
)


@pytest.fixture(scope="module")
def library():
    """Three background templates."""
    return make_library(3, seed=1)


@pytest.fixture(scope="module")
def scene(library):
    """Four integrations of SUBSTRIP96."""
    return simulate(SceneParams(nints=4, subarray="SUBSTRIP96", seed=7), library)


@pytest.fixture(scope="module")
def rateints(scene, tmp_path_factory):
    """Write the scene to a file."""
    return write_rateints(scene, tmp_path_factory.mktemp("sim") / "jw01512_rateints.fits")


def test_flags_are_the_pipelines():
    """The flags are those of stdatamodels."""
    flags = datamodels.dqflags.pixel
    assert flags["DO_NOT_USE"] == DO_NOT_USE and flags["REFERENCE_PIXEL"] == REFERENCE_PIXEL


def test_streamed_file_is_the_scene(scene, rateints):
    """The streamed file holds the arrays of the scene in memory bit for bit."""
    with datamodels.open(rateints) as model:
        assert type(model) is datamodels.CubeModel
        assert np.array_equal(model.data, scene.sci, equal_nan=True)
        assert np.array_equal(model.err, scene.err, equal_nan=True)
        assert np.array_equal(model.dq, scene.dq)
        one = scene.exposure.integration(3)
        assert np.array_equal(model.var_poisson[3], one.var_poisson, equal_nan=True)
        assert np.array_equal(model.var_rnoise[3], one.var_rnoise, equal_nan=True)


def test_streamed_file_is_what_stdatamodels_writes(rateints, tmp_path):
    """Opening and saving it again gives the same extensions, keywords and pixels."""
    with datamodels.open(rateints) as model:
        model.validate()
        model.save(tmp_path / rateints.name)
    changing = {"DATE", "CAL_VER", "CAL_VCS", "CRDS_VER", "CRDS_CTX", "PRD_VER", "OSS_VER"}
    with fits.open(rateints) as ours, fits.open(tmp_path / rateints.name) as theirs:
        ours.verify("exception")
        assert [h.name for h in ours] == [h.name for h in theirs]
        for a, b in zip(ours, theirs, strict=True):
            if a.name == "ASDF":
                continue
            assert {k: v for k, v in a.header.items() if k not in changing} == {
                k: v for k, v in b.header.items() if k not in changing
            }
            if a.data is not None and a.name != "INT_TIMES":
                assert np.array_equal(a.data, b.data, equal_nan=a.data.dtype.kind == "f")


def test_header(rateints, scene):
    """The header has what the pipeline asks for, and times for every integration."""
    with datamodels.open(rateints) as model:
        meta = model.meta
        assert meta.instrument.instance == {
            "name": "NIRISS",
            "detector": "NIS",
            "filter": "CLEAR",
            "pupil": "GR700XD",
            "pupil_position": scene.params.pwcpos,
        }
        assert meta.exposure.type == "NIS_SOSS" and meta.exposure.nints == 4
        assert (meta.exposure.integration_start, meta.exposure.integration_end) == (1, 4)
        assert (meta.subarray.ystart, meta.subarray.ysize) == (1803, 96)
        assert (meta.subarray.fastaxis, meta.subarray.slowaxis) == (-2, -1)
        assert meta.visit.tsovisit is True
        assert meta.observation.program_number == "01512"
        assert meta.target.catalog_name == "BD+60 1753"
        assert meta.filename == rateints.name
        times = model.int_times
        assert times["integration_number"].tolist() == [1, 2, 3, 4]
        assert (np.diff(times["int_mid_MJD_UTC"]) > 0).all()
        assert meta.exposure.start_time <= times["int_start_MJD_UTC"][0]
        assert times["int_end_MJD_UTC"][-1] <= meta.exposure.end_time


def test_nothing_else_is_left_in_the_folder(rateints):
    """Beside the product no temporary file or folder remains."""
    assert [p.name for p in rateints.parent.iterdir()] == [rateints.name]


def test_failure_leaves_the_old_file(scene, tmp_path, monkeypatch):
    """If making an integration fails, the older file stays and no temporary is left."""
    path = tmp_path / "a_rateints.fits"
    path.write_bytes(b"old")

    def fail(self, i):
        raise RuntimeError("no more")

    monkeypatch.setattr(type(scene.exposure), "integration", fail)
    with pytest.raises(RuntimeError, match="no more"):
        write_rateints(scene, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_segments(scene, tmp_path):
    """Two segments hold the two halves, and say so in their headers."""
    for number, (first, last) in enumerate(((0, 2), (2, 4)), start=1):
        path = write_rateints(
            scene, tmp_path / f"seg{number}.fits", first=first, last=last, segment=(number, 2)
        )
        with datamodels.open(path) as model:
            assert np.array_equal(model.data, scene.sci[first:last], equal_nan=True)
            exposure = model.meta.exposure
            assert (exposure.integration_start, exposure.integration_end) == (first + 1, last)
            assert (exposure.segment_number, exposure.segment_total) == (number, 2)
            assert exposure.nints == 4
            assert model.int_times["integration_number"].tolist() == [first + 1, last]


def test_one_integration_and_unsigned_flags(library, tmp_path):
    """A file of one integration keeps its three dimensions and the highest flag bit."""
    scene = simulate(SceneParams(nints=1, subarray="SUBSTRIP96", star="faint"), library)
    with datamodels.open(write_rateints(scene, tmp_path / "one_rateints.fits")) as model:
        assert model.data.shape == (1, 96, 2048)
        assert model.dq.dtype == np.uint32
        assert model.dq[0, 0, 0] == REFERENCE_PIXEL | DO_NOT_USE


def test_rate(scene, tmp_path):
    """A rate file is the mean of the integrations, with errors smaller by the square root."""
    with datamodels.open(write_rate(scene, tmp_path / "a_rate.fits")) as model:
        assert type(model) is datamodels.ImageModel
        assert np.allclose(model.data, scene.sci.mean(axis=0), rtol=1e-4, atol=1e-4, equal_nan=True)
        ratio = scene.err[0] / model.err
        assert np.nanmedian(ratio) == pytest.approx(2, rel=0.01)
        assert np.array_equal(model.dq, scene.dq[0])
        assert model.meta.exposure.nints == 4


def test_memory_does_not_grow(library, tmp_path):
    """Writing 60 integrations (250 MB) needs less than 60 MB beyond the exposure itself."""
    exposure = make_exposure(SceneParams(nints=60, subarray="SUBSTRIP96"), library)
    process, peak = psutil.Process(), [0]
    original = type(exposure).integration

    class Watched(type(exposure)):
        def integration(self, i):
            peak[0] = max(peak[0], process.memory_info().rss)
            return original(self, i)

    watched = Watched(**{k: getattr(exposure, k) for k in exposure.__dataclass_fields__})
    before = process.memory_info().rss
    path = write_rateints(watched, tmp_path / "long_rateints.fits")
    assert path.stat().st_size > 230e6
    assert peak[0] - before < 60e6


@pytest.mark.parametrize(
    ("subarray", "start", "rows"), [("SUBSTRIP256", 1793, 256), ("SUBSTRIP96", 1803, 96)]
)
def test_library_file(tmp_path, subarray, start, rows):
    """A library file is a SossBkgModel that says which rows it covers."""
    library = make_library(2, subarray=subarray)
    path = write_library(library, tmp_path / "bkg.fits")
    with datamodels.open(path) as model:
        assert type(model) is datamodels.SossBkgModel
        assert np.array_equal(model.data, library.data)
        model.validate()
    header = fits.getheader(path)
    assert (header["SUBSTRT2"], header["SUBSIZE2"]) == (start, rows)
    assert header["SUBARRAY"] == subarray
    assert header["FILTER"] == "CLEAR" and header["PUPIL"] == "GR700XD"
    assert header["EXP_TYPE"] == "NIS_SOSS" and header["REFTYPE"] == "bkg"
    assert header["USEAFTER"] and header["PEDIGREE"] and header["AUTHOR"] and header["DESCRIP"]
    assert "zodi_01" in str(header["HISTORY"])


def test_bad_requests_are_refused(scene, library, tmp_path):
    """A missing folder, an empty range and a library of the wrong rows are refused."""
    with pytest.raises(SossInputError, match="does not exist"):
        write_rateints(scene, tmp_path / "no" / "a.fits")
    with pytest.raises(SossInputError, match="not a range"):
        write_rateints(scene, tmp_path / "a.fits", first=3, last=3)
    wrong = type(library)(library.data[:, :100], library.names)
    with pytest.raises(SossInputError, match="must have shape"):
        write_library(wrong, tmp_path / "b.fits")


def test_other_target(scene, tmp_path):
    """Names, numbers and times come from the header given."""
    header = ExposureHeader(target="P330-E", program=4479, observation=12, start_mjd=60100.5)
    with datamodels.open(write_rateints(scene, tmp_path / "p.fits", header, last=1)) as model:
        assert model.meta.target.catalog_name == "P330-E"
        assert model.meta.observation.program_number == "04479"
        assert model.meta.observation.observation_number == "012"
        assert model.meta.observation.date == "2023-06-05"
        assert model.int_times["int_start_MJD_UTC"][0] == pytest.approx(60100.5)
