"""The background step on simulated exposures whose background is known."""

import json
import logging
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from jwst.assign_wcs import AssignWcsStep
from jwst.pipeline import Spec2Pipeline
from stdatamodels.jwst import datamodels

from soss_photcal_steps import SossTemplateBackgroundStep
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate import SceneParams, make_library, simulate
from soss_photcal_steps.simulate.write import (
    ExposureHeader,
    write_library,
    write_rate,
    write_rateints,
)
from soss_photcal_steps.unread import is_stand_in

NINTS = 6
NAME = "jw01512001001_03102_00001-seg001_nis_rateints.fits"
PRODUCT = NAME.replace("rateints", "bsubints")


@pytest.fixture(scope="module")
def library():
    """Give a library of four templates."""
    return make_library(4, 3)


@pytest.fixture(scope="module")
def scene(library):
    """Give an exposure of a star like WASP-39, whose template is known."""
    return simulate(SceneParams(seed=5, nints=NINTS, star="mid", template_index=2), library)


@pytest.fixture(scope="module")
def store(tmp_path_factory, library, scene):
    """Give a folder with library, exposure, its two segments and its mean."""
    folder = tmp_path_factory.mktemp("store")
    write_library(library, folder / "lib.fits")
    write_rateints(scene, folder / NAME)
    write_rate(scene, folder / "jw01512001001_03102_00001_nis_rate.fits")
    write_rateints(scene, folder / "jw_a-seg001_nis_rateints.fits", last=4, segment=(1, 2))
    write_rateints(scene, folder / "jw_a-seg002_nis_rateints.fits", first=4, segment=(2, 2))
    return folder


@pytest.fixture
def here(store, tmp_path, monkeypatch):
    """Give the files by their names in the current folder, which else is empty."""
    monkeypatch.chdir(tmp_path)
    for path in store.iterdir():
        os.symlink(path, path.name)
    return tmp_path


def step(**kwargs):
    """Make a step with the library."""
    return SossTemplateBackgroundStep(**{"override_bkg": "lib.fits", **kwargs})


@pytest.fixture(autouse=True)
def closed(monkeypatch):
    """Close all models that a test leaves open; jwst's models hold on to their files."""
    opened = []
    original = datamodels.JwstDataModel.__init__

    def note(self, *args, **kwargs):
        original(self, *args, **kwargs)
        opened.append(self)

    monkeypatch.setattr(datamodels.JwstDataModel, "__init__", note)
    yield
    for model in opened:
        model.close()


def bias(background, truth):
    """Give the relative error of a background left, right, and far right of the break."""
    ratio = background / truth.background - 1
    parts = ratio[:, 50:600], ratio[:, 780:950], ratio[:, 1000:2000]
    return np.array([np.nanmedian(part) for part in parts])


def subtracted(before, after):
    """Give what was subtracted from the first integration."""
    return before[0].astype(float) - after[0].astype(float)


def new_files():
    """List the files that a test has written, links to the store aside."""
    return sorted(name for name in os.listdir() if not os.path.islink(name))


@pytest.fixture(scope="module")
def product(store, tmp_path_factory):
    """Give the folder with the step's product and all side products of the exposure."""
    folder = tmp_path_factory.mktemp("product")
    SossTemplateBackgroundStep(
        override_bkg=str(store / "lib.fits"),
        output_dir=str(folder),
        save_results=True,
        save_background=True,
        save_mask=True,
        save_plots=True,
    ).run(str(store / NAME))
    return folder


def test_background_is_the_true_one(product, scene):
    """The background subtracted is the true one within 0.5 per cent on either side."""
    background = fits.getdata(product / NAME.replace("rateints", "sossbkg"))
    assert np.abs(bias(background, scene.truth)).max() < 0.005


def test_product_is_the_input_less_the_background(product, store):
    """SCI of every integration is that of the input less the saved background; all else stays."""
    background = fits.getdata(product / NAME.replace("rateints", "sossbkg"))
    with fits.open(store / NAME) as before, fits.open(product / PRODUCT) as after:
        expected = before["SCI"].data - background
        assert np.array_equal(expected, after["SCI"].data, equal_nan=True)
        for name in ("ERR", "DQ", "VAR_POISSON", "VAR_RNOISE", "INT_TIMES"):
            same = before[name].data.tobytes() == after[name].data.tobytes()
            assert same, f"{name} differs"


def test_background_covers_the_image(product, scene):
    """The background is that of the library in every pixel, to a per cent of the truth."""
    background = fits.getdata(product / NAME.replace("rateints", "sossbkg"))
    assert np.all(background > 0)
    assert np.allclose(background, scene.truth.background, rtol=0.01)


def test_header_tells_the_result(product, scene):
    """The header cards name the true template, and scales that agree with the truth."""
    header = fits.getheader(product / PRODUCT)
    assert header["S_BKDSUB"] == "COMPLETE"
    assert (header["BKGTMPL"], header["BKGTNAM"], header["BKGNTMP"]) == (2, "zodi_02", 4)
    assert header["BKGSCLL"] == pytest.approx(scene.truth.scale_left, rel=0.005)
    assert header["BKGSCLR"] == pytest.approx(scene.truth.scale_right, rel=0.005)
    assert abs(header["BKGSCLL"] - scene.truth.scale_left) < 4 * header["BKGERRL"] < 0.03
    assert abs(header["BKGSCLR"] - scene.truth.scale_right) < 4 * header["BKGERRR"] < 0.03
    assert header["BKGNINT"] == NINTS
    assert header["BKGBRK0"] == pytest.approx(scene.truth.break_columns[0], abs=4)
    assert header["BKGBRK1"] == pytest.approx(scene.truth.break_columns[-1], abs=4)
    assert 0.2 < header["BKGMASK"] < 0.8
    assert all(card.comment for card in header["BKG*"].cards)
    assert header["R_BKG"].endswith("lib.fits")


def test_schema_keywords_hold_a_summary(product):
    """The four keywords that survive extract_1d hold template, scales and level."""
    with datamodels.open(product / PRODUCT) as model:
        background = model.meta.background
        assert background.subtracted is True
        assert background.method.startswith("soss_template_bkg")
        assert " t2 " in background.method
        assert f"L{background.scaling_factor:.4f}" in background.method
        assert 1 < background.level < 20


def test_metadata_hold_the_ranking(product):
    """The ASDF metadata hold goodness of every template, weights, covariance and options."""
    with datamodels.open(product / PRODUCT) as model:
        record = model.meta.soss_photcal.soss_template_bkg.instance
        assert np.argmax(record["log_evidence"]) == record["template"] == 2
        assert np.shape(record["weights"]) == (4, 2)
        assert np.shape(record["covariance"]) == (2, 2)
        assert np.shape(record["break_column"]) == (256,)
        assert record["options"]["combine"] == "auto"
        assert record["inputs"][0]["name"] == NAME


def test_mask_and_picture(product):
    """The mask says with its header why pixels were left out, and the picture is a PNG."""
    with fits.open(product / NAME.replace("rateints", "sossmask")) as hdus:
        mask = hdus["MASK"].data
        assert hdus[0].header.comments["MASK2"] == "near a spectral trace"
    assert set(np.unique(mask)) == {0, 1, 2, 3}
    assert mask[70, 100] == 2
    assert (mask[:60, 100:600] == 0).mean() > 0.6
    png = (product / NAME.replace("rateints.fits", "sossbkg.png")).read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(png) > 50_000


@pytest.mark.usefixtures("here")
def test_rate_file(scene):
    """The mean of an exposure, a rate file, is subtracted as well."""
    name = "jw01512001001_03102_00001_nis_rate.fits"
    result = step(save_results=True).run(name)
    assert new_files() == [name.replace("rate", "bsub")]
    found = fits.getdata(name).astype(float) - result.data
    assert np.abs(bias(found, scene.truth)).max() < 0.006


@pytest.mark.usefixtures("here")
def test_streamed_result_reads_its_pixels_when_asked(product):
    """From file to file the model returned holds no pixel until it is asked, copied or saved."""
    expected = fits.getdata(product / PRODUCT)
    result = step(save_results=True).run(NAME)
    assert is_stand_in(result.instance["data"])
    assert result.shape == expected.shape
    assert np.array_equal(result.copy().data, expected, equal_nan=True)
    result = step(save_results=True).run(NAME)
    result.err[0, 0, 0] = 7
    result.save("again.fits")
    assert np.array_equal(fits.getdata("again.fits"), expected, equal_nan=True)
    assert fits.getdata("again.fits", "ERR")[0, 0, 0] == 7
    assert type(result).__name__ == "CubeModel"
    assert isinstance(result, datamodels.CubeModel)


@pytest.mark.usefixtures("here")
def test_model_in_memory(product):
    """A model gives what its file gives, and is not edited when the step runs by itself."""
    with datamodels.open(NAME) as model:
        before = model.data.copy()
        result = step().run(model)
        assert np.array_equal(model.data, before, equal_nan=True)
        expected = fits.getdata(product / PRODUCT)
        assert np.array_equal(result.data, expected, equal_nan=True)
    assert new_files() == []


@pytest.mark.usefixtures("here")
def test_segments_are_fitted_together():
    """Two segments get one fit, that of the whole exposure, and products of their own."""
    names = ["jw_a-seg001_nis_rateints.fits", "jw_a-seg002_nis_rateints.fits"]
    whole = step().run(NAME)
    results = step(save_results=True).run(names)
    assert new_files() == [name.replace("rateints", "bsubints") for name in names]
    methods = {result.meta.background.method for result in results}
    assert len(methods) == 1
    parts = np.concatenate([result.data for result in results])
    assert np.nanmax(np.abs(parts - whole.data)) < 0.01
    assert [len(result.data) for result in results] == [4, 2]


@pytest.mark.usefixtures("here")
def test_fit_with_other_segments():
    """With fit_with a segment gets the fit of all, and its own product only."""
    names = ["jw_a-seg001_nis_rateints.fits", "jw_a-seg002_nis_rateints.fits"]
    together = step().run(names)
    shutil.copy(names[0], NAME.replace("seg001", "other"))
    fits.setval(NAME.replace("seg001", "other"), "EXPOSURE", value="00002")
    # The segment itself may be named as well.
    result = step(save_results=True, fit_with=names).run(names[1])
    assert names[1].replace("rateints", "bsubints") in new_files()
    assert names[0].replace("rateints", "bsubints") not in new_files()
    assert np.array_equal(result.data, together[1].data, equal_nan=True)
    assert result.meta.background.method == together[1].meta.background.method
    record = result.meta.soss_photcal.soss_template_bkg.instance
    assert list(record["options"]["fit_with"]) == names
    with pytest.raises(SossInputError, match="not segments of one exposure"):
        step(fit_with=[NAME.replace("seg001", "other")]).run(names[1])


@pytest.mark.usefixtures("here")
def test_association(scene, library):
    """An association's science members are segments; its background members one more template."""
    sky = simulate(SceneParams(seed=8, nints=4, star="none", template_index=2), library)
    other = ExposureHeader(program=1541, target="SKY")
    write_rateints(sky, "sky_nis_rateints.fits", other)
    members = [
        {"expname": "jw_a-seg001_nis_rateints.fits", "exptype": "science"},
        {"expname": "jw_a-seg002_nis_rateints.fits", "exptype": "science"},
        {"expname": "sky_nis_rateints.fits", "exptype": "background"},
    ]
    content = {"products": [{"name": "jw_a", "members": members}]}
    Path("asn.json").write_text(json.dumps(content))
    results = step().run("asn.json")
    assert len(results) == 2
    record = results[0].meta.soss_photcal.soss_template_bkg.instance
    assert record["template_names"][-1] == "dedicated (1)"
    alone = SossTemplateBackgroundStep(override_bkg="N/A", bkg_list=["sky_nis_rateints.fits"])
    result = alone.run(NAME)
    found = subtracted(fits.getdata(NAME), result.data)
    assert np.abs(bias(found, scene.truth)).max() < 0.015


@pytest.mark.usefixtures("here")
def test_segments_must_belong_together(scene):
    """Files of two exposures, and the same segment twice, are refused with both names."""
    write_rateints(scene, "other_nis_rateints.fits", ExposureHeader(exposure=2))
    with pytest.raises(SossInputError, match=r"seg001.*other_nis.*not segments of one exposure"):
        step().run([NAME, "other_nis_rateints.fits"])
    with pytest.raises(SossInputError, match="same segment"):
        step().run([NAME, "jw_a-seg001_nis_rateints.fits"])


@pytest.mark.usefixtures("here")
def test_scale_of_every_integration(library):
    """A drift of 10 per cent over the exposure comes back, integration by integration."""
    drift = simulate(
        SceneParams(seed=5, nints=5, star="faint", template_index=1, background_drift=10.0),
        library,
    )
    write_rateints(drift, "jw_drift_nis_rateints.fits")
    result = step(per_integration=True).run("jw_drift_nis_rateints.fits")
    record = result.meta.soss_photcal.soss_template_bkg.instance
    truth = drift.truth.background_factors
    level = truth.mean()
    for side in (0, 1):
        factor = np.asarray(record["integration_factors"])[:, side]
        assert factor / factor.mean() == pytest.approx(truth / level, abs=0.004)
    before = fits.getdata("jw_drift_nis_rateints.fits")
    found = [np.nanmedian((before - result.data)[i, 20:60, 100:600]) for i in (0, 4)]
    assert found[1] / found[0] == pytest.approx(truth[4] / truth[0], abs=0.005)


@pytest.mark.usefixtures("here")
def test_scales_by_hand(library):
    """Template and scales given by hand are used as they are, and recorded as such."""
    result = step(template=1, scales=[0.8, 0.9]).run(NAME)
    found = subtracted(fits.getdata(NAME), result.data)
    ratio = found / library.data[1]
    assert np.nanmedian(ratio[:, 50:600]) == pytest.approx(0.8, abs=1e-4)
    assert np.nanmedian(ratio[:, 1000:2000]) == pytest.approx(0.9, abs=1e-4)
    record = result.meta.soss_photcal.soss_template_bkg.instance
    assert record["scales_by_hand"] is True
    assert result.meta.background.scaling_factor == 0.8


@pytest.mark.usefixtures("here")
def test_parameters_that_do_not_fit():
    """Scales without a template, and a template that the library does not have, are refused."""
    with pytest.raises(SossInputError, match="scales are given without template"):
        step(scales=[1.0, 1.0]).run(NAME)
    with pytest.raises(SossInputError, match=r"template 4 was asked for.*only 4"):
        step(template=4).run(NAME)


@pytest.mark.usefixtures("here")
def test_fixed_template():
    """A template that is fixed is used though another one fits better."""
    result = step(template=0).run(NAME)
    record = result.meta.soss_photcal.soss_template_bkg.instance
    assert record["template"] == 0
    assert np.count_nonzero(np.asarray(record["weights"]).any(axis=1)) == 1
    assert np.argmax(record["log_evidence"]) == 2


@pytest.mark.usefixtures("here")
def test_no_second_subtraction():
    """A subtracted file is refused unless it is forced, and then nothing is left to subtract."""
    step(save_results=True).run(NAME)
    with pytest.raises(SossInputError, match="set force"):
        step().run(PRODUCT)
    result = step(force=True).run(PRODUCT)
    assert abs(np.nanmedian(result.data[0] - fits.getdata(PRODUCT)[0])) < 0.04


@pytest.mark.usefixtures("here")
def test_subtracted_is_known_without_the_step_status():
    """BKGSUB alone tells that a background was subtracted, if another step reset S_BKDSUB."""
    step(save_results=True).run(NAME)
    fits.setval(PRODUCT, "S_BKDSUB", value="SKIPPED")
    with pytest.raises(SossInputError, match="already"):
        step().run(PRODUCT)


@pytest.mark.usefixtures("here")
def test_error_of_the_background_is_added_on_request():
    """The background's error goes into ERR and VAR_RNOISE alike, and nowhere else."""
    result = step(add_scale_error=True).run(NAME)
    with fits.open(NAME) as before:
        added = result.err.astype(float) ** 2 - before["ERR"].data.astype(float) ** 2
        noise = result.var_rnoise.astype(float) - before["VAR_RNOISE"].data
        assert np.array_equal(result.var_poisson, before["VAR_POISSON"].data, equal_nan=True)
    header = result.extra_fits.PRIMARY.header
    relative = {card[0]: card[1] for card in header}
    expected = (relative["BKGERRL"] * relative["BKGLEVL"] / relative["BKGSCLL"]) ** 2
    assert np.nanmedian(noise[:, :, 50:600]) == pytest.approx(expected, rel=0.1)
    assert np.nanmedian(added[:, :, 50:600]) == pytest.approx(expected, rel=0.1)


@pytest.mark.usefixtures("here")
def test_parameters_of_the_own_step_of_jwst(caplog):
    """Parameters that a file for jwst's bkg_subtract sets are accepted and named in the log."""
    caplog.set_level(logging.INFO)
    step(soss_source_percentile=35.0, soss_bkg_percentile=[25.0, 50.0], sigma=3.0).run(NAME)
    lines = [r.getMessage() for r in caplog.records if "no meaning here" in r.getMessage()]
    assert len(lines) == 1
    assert "soss_source_percentile" in lines[0] and "sigma" in lines[0]


def spec2(**bkg):
    """Give the parameters that let calwebb_spec2 run as far as it can without references."""
    skipped = [
        "msa_flagging",
        "flat_field",
        "extract_1d",
        "photom",
        "pathloss",
        "master_background_mos",
        "wavecorr",
        "barshadow",
        "fringe",
        "straylight",
        "residual_fringe",
        "cube_build",
        "resample_spec",
        "wfss_contam",
        "extract_2d",
    ]
    return {
        "steps": {
            **{name: {"skip": True} for name in skipped},
            "assign_wcs": {
                f"override_{kind}": "N/A" for kind in AssignWcsStep.reference_file_types
            },
            "bkg_subtract": bkg,
        }
    }


@pytest.fixture
def no_wcs(monkeypatch):
    """Let assign_wcs say that it is done; it would need a reference."""

    def done(self, model):
        model.meta.cal_step.assign_wcs = "COMPLETE"
        return model

    monkeypatch.setattr("jwst.assign_wcs.AssignWcsStep.process", done)


class OurSpec2(Spec2Pipeline):
    """calwebb_spec2 with the step in the place of bkg_subtract."""

    step_defs = {  # noqa: RUF012 (as every pipeline of jwst has it)
        **Spec2Pipeline.step_defs,
        "bkg_subtract": SossTemplateBackgroundStep,
    }


@pytest.mark.usefixtures("here", "pipeline_without_crds", "no_wcs")
@pytest.mark.parametrize("way", ["hook", "skipped hook", "subclass"])
def test_in_spec2(way, product, network):
    """As a hook and as a subclass's step, calwebb_spec2 subtracts the same, once, and says so."""
    hook = ["soss_photcal_steps.SossTemplateBackgroundStep"]
    references = {"override_bkg": "lib.fits"}
    if way == "subclass":
        result = OurSpec2.call(NAME, **spec2(**references, soss_source_percentile=35.0))
    else:
        more = {"override_wavelengthrange": "N/A", "pre_hooks": hook, "skip": way != "hook"}
        result = Spec2Pipeline.call(NAME, **spec2(**references, **more))
    model = result[0]
    assert network == []
    assert model.meta.cal_step.bkg_subtract == "COMPLETE"
    assert model.meta.background.method.startswith("soss_template_bkg")
    assert np.array_equal(model.data, fits.getdata(product / PRODUCT), equal_nan=True)
    logs = list(model.cal_logs.calwebb_spec2)
    assert sum("DN/s right of the break from" in line for line in logs) == 1
    assert model.meta.ref_file.bkg.name.endswith("lib.fits")


@pytest.mark.usefixtures("here", "pipeline_without_crds")
def test_as_hook_of_another_step(product):
    """As a hook of another step, further arguments are not taken for background exposures."""
    from jwst.stpipe import Step

    class Other(Step):
        class_alias = "other"

        def process(self, model, *_):
            return model

    hook = step()
    with datamodels.open(NAME) as model:
        result = Other(pre_hooks=[hook]).run(model, ["nothing.fits"][:0])
        assert np.array_equal(result.data, fits.getdata(product / PRODUCT), equal_nan=True)


def strun(*args):
    """Run ``strun`` in a process of its own that knows no CRDS."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CRDS_", "STPIPE_"))}
    return subprocess.run(
        [os.path.join(sysconfig.get_path("scripts"), "strun"), *args],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=120,
    )


@pytest.mark.usefixtures("here")
def test_strun(product):
    """By its alias under strun, with no CRDS, the step writes what it gives from Python."""
    result = strun("soss_template_bkg", NAME, "--override_bkg=lib.fits")
    assert result.returncode == 0, result.stderr
    assert new_files() == [PRODUCT]
    expected = fits.getdata(product / PRODUCT)
    assert np.array_equal(fits.getdata(PRODUCT), expected, equal_nan=True)
    assert result.stderr.count("per cent of the pixels used") == 2
    assert "CRDS - " not in result.stderr


@pytest.mark.usefixtures("here")
def test_parameter_file():
    """The parameter file that is shipped makes the step save all that shows what was done."""
    path = Path(__file__).parents[2] / "parameter_files" / "pars-soss_template_bkg.asdf"
    SossTemplateBackgroundStep.call(
        NAME, config_file=str(path), override_bkg="lib.fits", save_results=True
    )
    root = NAME.removesuffix("rateints.fits")
    assert new_files() == sorted(
        [PRODUCT, f"{root}sossbkg.fits", f"{root}sossbkg.png", f"{root}sossmask.fits"]
    )


@pytest.mark.parametrize(
    ("subarray", "filter_name", "star", "limit"),
    [
        ("SUBSTRIP96", "CLEAR", "faint", 0.01),
        ("SUBSTRIP256", "F277W", "mid", 0.02),
        ("FULL", "CLEAR", "faint", 0.01),
    ],
)
def test_other_subarrays_and_filters(tmp_path, monkeypatch, subarray, filter_name, star, limit):
    """SUBSTRIP96, FULL and F277W are subtracted with a library of their own."""
    monkeypatch.chdir(tmp_path)
    library = make_library(3, 3, subarray=subarray)
    params = SceneParams(
        seed=2, nints=1, star=star, subarray=subarray, filter=filter_name, template_index=1
    )
    scene = simulate(params, library)
    write_library(library, "lib.fits", filter_name=filter_name)
    write_rateints(scene, NAME)
    result = step().run(NAME)
    assert result.meta.cal_step.bkg_subtract == "COMPLETE"
    found = subtracted(fits.getdata(NAME), result.data)[4:-4]
    ratio = found / scene.truth.background[4:-4] - 1
    for part in (ratio[:, 50:600], ratio[:, 780:950], ratio[:, 1000:2000]):
        assert abs(np.nanmedian(part)) < limit
