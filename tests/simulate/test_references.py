from types import SimpleNamespace

import asdf
import numpy as np
import pytest
from astropy.io import fits
from jwst.extract_1d.soss_extract import soss_extract
from jwst.extract_1d.soss_extract.atoca import ExtractionEngine
from jwst.extract_1d.soss_extract.pastasoss import get_soss_traces
from jwst.extract_1d.soss_extract.soss_boxextract import get_box_weights
from jwst.extract_1d.soss_extract.soss_extract import get_ref_file_args
from stdatamodels.jwst import datamodels

from soss_photcal_steps import SossInputError
from soss_photcal_steps.photom.table import read_photom
from soss_photcal_steps.simulate import SceneParams, Wing, instrument, make_library
from soss_photcal_steps.simulate.kernels import aperture_share, kernel_sigma
from soss_photcal_steps.simulate.references import REFERENCE_TYPES, write_references
from soss_photcal_steps.simulate.starimage import star_image
from soss_photcal_steps.trace import trace_positions, wavelengths

PWCPOS = 245.82
ORDERS = (1, 2, 3)
MODELS = {
    "bkg": datamodels.SossBkgModel,
    "flat": datamodels.FlatModel,
    "pastasoss": datamodels.PastasossModel,
    "specprofile": datamodels.SpecProfileModel,
    "speckernel": datamodels.SpecKernelModel,
    "photom": datamodels.NisSossPhotomModel,
}


class Light:
    """A star of the same flux everywhere in F_lambda, seen through the instrument."""

    def __init__(self, orders):
        self.orders = orders

    def brightness(self, order, columns):
        """Give the light within 12.5 pixels."""
        if order not in self.orders:
            return np.zeros_like(columns)
        x = np.clip(columns, -19, 2066)
        wave = wavelengths(order, x, PWCPOS)
        counts = 1e-7 * wave**2 / instrument.response(order, wave)
        return counts / aperture_share(order, instrument.APERTURE_WIDTH, PWCPOS, x)


@pytest.fixture(scope="module")
def library():
    """Make a small library."""
    return make_library(2)


@pytest.fixture(scope="module")
def pack(tmp_path_factory, library):
    """Write the references of SUBSTRIP256 for a turned pupil wheel."""
    folder = tmp_path_factory.mktemp("references")
    return write_references(folder, pwcpos=PWCPOS, library=library)


@pytest.fixture(scope="module")
def order_models(pack):
    """Give what jwst makes of the references before it extracts."""
    profiles = datamodels.SpecProfileModel(pack["specprofile"])
    references = {
        "pastasoss": datamodels.PastasossModel(pack["pastasoss"]),
        "spec_profiles": profiles,
        # Their name in jwst 1.20.
        "specprofile": profiles,
        "speckernel": datamodels.SpecKernelModel(pack["speckernel"]),
        "subarray": "SUBSTRIP256",
        "pwcpos": PWCPOS,
    }
    models = get_ref_file_args(references)
    if isinstance(models, tuple):
        # Before jwst 2 it gave a list of each kind instead of an object of each order.
        names = ("wavemap", "specprofile", "throughput", "kernel")
        traces = [soss_extract._get_trace_1d(references, order) for order in ORDERS]
        models = [
            SimpleNamespace(trace=trace, **dict(zip(names, parts, strict=True)))
            for trace, *parts in zip(traces, *models, strict=True)
        ]
    yield models
    for name in ("pastasoss", "spec_profiles", "speckernel"):
        references[name].close()


def test_pack_is_complete(pack):
    """The pack is a mapping of the seven types to files, nothing else is left, under 30 MB."""
    assert set(pack) == set(REFERENCE_TYPES) and len(pack) == 7
    assert sorted(pack.folder.iterdir()) == sorted(pack.values())
    assert sum(path.stat().st_size for path in pack.values()) < 30e6
    assert (pack.subarray, pack.pwcpos, pack.photom) == ("SUBSTRIP256", PWCPOS, "filed")


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_models_and_headers(pack, kind):
    """Each file opens as the model jwst uses, is valid, and its header says what CRDS asks for."""
    with datamodels.open(pack[kind]) as model:
        assert type(model) is MODELS[kind]
        model.validate()
        meta = model.meta
        assert meta.telescope == "JWST" and meta.reftype == kind
        assert meta.useafter == "2022-01-01T00:00:00" and meta.pedigree == "SIMULATION"
        assert meta.author and meta.description
        assert meta.instrument.name == "NIRISS" and meta.instrument.detector == "NIS"
        assert meta.exposure.type == "NIS_SOSS"
        assert model._asdf.get_history_entries()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("pwcpos", [245.70, 245.76, 245.85])
def test_traces_and_wavelengths(pack, order, pwcpos):
    """The model jwst reads gives the simulator's traces and wavelengths at every wheel angle."""
    with datamodels.PastasossModel(pack["pastasoss"]) as model:
        _, x, y, wave = get_soss_traces(pwcpos, order, refmodel=model)
        _, x96, y96, _ = get_soss_traces(pwcpos, order, subarray="SUBSTRIP96", refmodel=model)
    assert {1: 2048, 2: 1783, 3: 800}[order] <= (x >= 0).sum()
    np.testing.assert_allclose(y, trace_positions(order, pwcpos, x), atol=5e-4)
    np.testing.assert_allclose(wave, wavelengths(order, x, pwcpos), rtol=1e-12)
    np.testing.assert_allclose(y96, trace_positions(order, pwcpos, x96) - 10, atol=0.03)


@pytest.mark.parametrize("order", ORDERS)
def test_extraction_sees_the_same_traces(order_models, order):
    """After jwst's interpolations the traces agree to 0.01 pixel and 1e-6 um, at its lengths."""
    x, y, wave = order_models[order - 1].trace
    # Where jwst 1.20 ends order 3 is further out.
    assert x.size in {1: (2048,), 2: (1783,), 3: (800, 1134)}[order]
    np.testing.assert_allclose(y, trace_positions(order, PWCPOS, x), atol=0.01)
    np.testing.assert_allclose(wave, wavelengths(order, x, PWCPOS), atol=1e-6)


def test_older_jwst_wants_absolute_angles(tmp_path, library):
    """For jwst up to 1.20 the extents of order 2 are wheel angles, and only those."""
    extents = {}
    for name in ("relative", "absolute"):
        pack = write_references(tmp_path / name, library=library, order2_offsets=name)
        with datamodels.PastasossModel(pack["pastasoss"]) as model:
            extents[name] = [np.array(m.scale_extents) for m in model.wavecal_models]
    difference = np.array(extents["absolute"]) - np.array(extents["relative"])
    np.testing.assert_allclose(difference[1], [[0, 245.76], [0, 245.76]])
    assert not difference[[0, 2]].any()


def test_specwcs(pack):
    """The wavelength at row and column of the full frame is that of the trace."""
    columns = np.array([3.0, 700.5, 1500.0])
    with asdf.open(pack["specwcs"]) as file:
        assert file["meta"]["reftype"] == "specwcs"
        for order in ORDERS:
            got = file[order](np.array([1800.0, 1900.0, 2040.0]), columns)
            np.testing.assert_allclose(got, wavelengths(order, columns, PWCPOS), atol=1e-6)


def test_profiles_hold_the_light_of_the_box(order_models):
    """In the box of 40 pixels each profile sums to 1 where the box lies within the subarray."""
    for model in order_models:
        x, y, _ = model.trace
        whole = (y > 21) & (y < 234)
        weights = get_box_weights(y, 40.0, (256, 2048), x)
        sums = (weights * model.specprofile).sum(axis=0)[x][whole]
        assert whole.sum() > 600
        np.testing.assert_allclose(sums, 1.0, atol=2e-3)


def test_profile_of_order_2_leaves_pixels_to_the_first_estimate(order_models):
    """Outside of 25 pixels order 2 stays below the 1e-4 at which jwst masks order 1."""
    far = np.abs(np.arange(256)[:, None] - trace_positions(2, PWCPOS)) > 25
    assert 5e-5 < order_models[1].specprofile[far].max() < 1e-4


def test_forward_model_is_the_simulated_image(order_models):
    """ATOCA's model of a flat spectrum is the simulated image, with one scale for both orders."""
    rows = np.arange(256)
    params = SceneParams(star="none", pwcpos=PWCPOS)
    grid = np.linspace(0.60, 2.85, 9000)
    columns = {1: slice(60, 2000), 2: slice(800, 1700)}
    scales = {}
    for order in (1, 2):
        model = order_models[order - 1]
        image = star_image(params, rows, Wing(), light=Light((order,)))
        near = np.abs(rows[:, None] - trace_positions(order, PWCPOS)) < 12
        engine = ExtractionEngine(
            [model.wavemap], [model.specprofile], [model.throughput], [np.array([1.0])],
            wave_grid=grid, mask_trace_profile=[~near], orders=[order],
        )  # fmt: skip
        ratio = engine.rebuild(np.ones(grid.size), fill_value=np.nan) / np.where(near, image, 1)
        ratio = np.where(near, ratio, np.nan)[:, columns[order]]
        scales[order] = np.nanmedian(ratio)
        assert np.nanpercentile(np.abs(ratio / scales[order] - 1), 99) < 0.003
    assert scales[2] == pytest.approx(scales[1], rel=1e-3)


def test_kernels(pack, order_models):
    """Kernels are normalized, centred, and as wide as the diffraction says at their wavelength."""
    with datamodels.SpecKernelModel(pack["speckernel"]) as model:
        kernels, wave = model.kernels.astype(float), model.wavelengths[0].astype(float)
        assert model.meta.halfwidth == 12 and model.meta.spectral_oversampling == 10
    pixels = np.linspace(-12, 12, 241)
    step = pixels[1] - pixels[0]
    np.testing.assert_allclose(kernels.sum(axis=0) * step, 1, rtol=1e-5)
    width = np.sqrt((kernels * pixels[:, None] ** 2).sum(axis=0) * step)
    np.testing.assert_allclose(width, kernel_sigma(wave), rtol=1e-3)
    assert kernel_sigma(np.array([1.0, 2.8])) == pytest.approx([0.227, 0.578], abs=0.002)
    # jwst's kernel has its peak where it is centred.
    _, _, trace = order_models[0].trace
    centre = np.full(3, trace[1000])
    around = order_models[0].kernel(centre + np.array([-0.001, 0, 0.001]), centre)
    assert around[1] > 10 * around[0] > 0 and around[1] > 10 * around[2] > 0


def test_flat_changes_nothing(pack):
    """The flat field is 1 with good flags on the rows of the subarray."""
    with datamodels.FlatModel(pack["flat"]) as model:
        assert model.data.shape == (256, 2048) and (model.data == 1).all()
        assert not model.dq.any()
        assert (model.meta.subarray.ystart, model.meta.subarray.ysize) == (1793, 256)


@pytest.mark.parametrize("kind", ["filed", "true"])
def test_photom(pack, tmp_path, library, kind):
    """The rows are the response in MJy/(DN/s), times the filed error if that was asked for."""
    if kind == "true":
        pack = write_references(tmp_path, pwcpos=PWCPOS, photom="true", library=library)
    rows = read_photom(pack["photom"]).rows
    assert [row.title for row in rows] == [
        "CLEAR/GR700XD order 1", "CLEAR/GR700XD order 2", "CLEAR/GR700XD order 3",
        "F277W/GR700XD order 1",
    ]  # fmt: skip
    assert [row.nelem for row in rows] == [2425, 2276, 1731, 979]
    for row in rows:
        wave = row.wavelength[row.used].astype(float)
        assert row.wavelength.size == 5000 and not row.relresponse[row.nelem :].any()
        assert (np.diff(wave) > 0).all()
        expected = instrument.response(row.order, wave)
        if kind == "filed":
            expected = expected * instrument.filed_error(row.order, wave)
        value = row.photmj * row.relresponse[row.used]
        if row.filter == "CLEAR":
            assert (wave[0], wave[-1]) == pytest.approx(instrument.wavelength_range(row.order))
            np.testing.assert_allclose(value, expected, rtol=1e-5)
        else:
            # The filter lets 90 per cent through longward of its edge, and nothing shortward.
            np.testing.assert_allclose(value[wave > 2.55], expected[wave > 2.55] / 0.9, rtol=1e-3)
            assert value[0] > 1e4 * expected[0]


def test_background(pack, library):
    """The background reference holds the templates."""
    with datamodels.SossBkgModel(pack["bkg"]) as model:
        assert np.array_equal(model.data, library.data)


def test_small_strip(tmp_path, library):
    """SUBSTRIP96 gets its rows of profile and flat, and the templates of 256 rows."""
    small = write_references(tmp_path / "96", subarray="SUBSTRIP96", library=library)
    large = write_references(tmp_path / "256", library=library)
    with (
        datamodels.SpecProfileModel(small["specprofile"]) as a,
        datamodels.SpecProfileModel(large["specprofile"]) as b,
    ):
        assert a.meta.subarray.name == "SUBSTRIP96"
        for one, other in zip(a.profile, b.profile, strict=True):
            assert np.array_equal(one.data, other.data[10:106])
    assert fits.getheader(small["flat"])["SUBARRAY"] == "SUBSTRIP96"
    header = fits.getheader(small["bkg"], 1)
    assert (header["NAXIS2"], header["NAXIS3"]) == (256, 2)


def test_full_frame(tmp_path):
    """FULL gets profile, flat and templates of 2048 rows."""
    library = make_library(1, subarray="FULL")
    pack = write_references(tmp_path, subarray="full", library=library)
    assert pack.subarray == "FULL"
    for kind, hdu in (("specprofile", "ORDER"), ("flat", "SCI"), ("bkg", "SCI")):
        assert fits.getheader(pack[kind], hdu)["NAXIS2"] == 2048


def test_templates_follow_the_seed(tmp_path):
    """Without a library six templates are made from the seed."""
    pack = write_references(tmp_path, seed=3)
    with datamodels.SossBkgModel(pack["bkg"]) as model:
        assert np.array_equal(model.data, make_library(6, 3).data)


def test_bad_requests_are_refused(tmp_path, library):
    """Wrong arguments are named before anything is written."""
    cases = (
        ({"photom": "wrong"}, "'filed' or 'true'"),
        ({"subarray": "SUB80"}, "not a SOSS subarray"),
        ({"order2_offsets": "both"}, "'relative' or 'absolute'"),
        ({"subarray": "FULL"}, "cannot serve FULL"),
    )
    for arguments, message in cases:
        with pytest.raises(SossInputError, match=message):
            write_references(tmp_path / "no", library=library, **arguments)
    assert not (tmp_path / "no").exists()


def test_shares_of_a_box():
    """A box of 25 pixels holds the brightness to 3 per cent, one of 40 some 10 per cent more."""
    for order in ORDERS:
        columns = np.arange(0.0, 2000.0, 37.0)
        narrow = aperture_share(order, 25.0, columns=columns)
        wide = aperture_share(order, 40.0, columns=columns)
        assert np.abs(narrow - 1).max() < 0.03
        assert (wide - narrow).min() > 0.07 and (wide - narrow).max() < 0.14
