"""The background step on input that is damaged, unusual or not for it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels

from soss_photcal_steps import SossTemplateBackgroundStep
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate import SceneParams, make_library, simulate
from soss_photcal_steps.simulate.write import write_library, write_rateints

NAME = "jw1_nis_rateints.fits"
PRODUCT = "jw1_nis_bsubints.fits"


@pytest.fixture(scope="module")
def library():
    """Give a library of three templates."""
    return make_library(3, 3)


@pytest.fixture(scope="module")
def scene(library):
    """Give a faint star's exposure of four integrations."""
    return simulate(SceneParams(seed=4, nints=4, star="faint", template_index=1), library)


@pytest.fixture(scope="module")
def store(tmp_path_factory, library, scene):
    """Give a folder with library and exposure."""
    folder = tmp_path_factory.mktemp("store")
    write_library(library, folder / "lib.fits")
    write_rateints(scene, folder / NAME)
    return folder


@pytest.fixture
def here(store, tmp_path, monkeypatch):
    """Give copies of library and exposure in the current folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(store / NAME, NAME)
    shutil.copy(store / "lib.fits", "lib.fits")
    return tmp_path


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


def run(item=NAME, **kwargs):
    """Run the step."""
    return SossTemplateBackgroundStep(**{"override_bkg": "lib.fits", **kwargs}).run(item)


def bias(scene, before, after):
    """Give the largest relative error of the background left and right of the break."""
    before, after = (np.where(np.isfinite(x), x, np.nan).astype(float) for x in (before, after))
    found = before - after
    ratio = found / scene.truth.background - 1
    parts = ratio[:, 50:600], ratio[:, 780:950], ratio[:, 1000:2000]
    return max(abs(np.nanmedian(part)) for part in parts)


def damage_and_run(scene, damage, **kwargs):
    """Damage the data of the file, run the step, and give the background's error."""
    with fits.open(NAME, mode="update") as hdus:
        damage(hdus)
        hdus.flush()
    before = fits.getdata(NAME)
    result = run(**kwargs)
    assert result.meta.cal_step.bkg_subtract == "COMPLETE"
    return max(bias(scene, before[i], result.data[i]) for i in (0, len(before) - 1)), result


@pytest.mark.usefixtures("here")
def test_columns_of_nan(scene):
    """Columns without any valid value leave the result right, and stay NaN."""

    def damage(hdus):
        hdus["SCI"].data[:, :, 300:305] = np.nan
        hdus["SCI"].data[:, :, 1500] = np.nan

    error, result = damage_and_run(scene, damage)
    assert error < 0.005
    assert np.isnan(result.data[:, :, 300:305]).all()
    assert np.isfinite(result.data[:, 100, 306]).all()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("per_integration", [False, True])
def test_integration_of_nan(scene, per_integration):
    """An integration without any valid value leaves the others right."""

    def damage(hdus):
        hdus["SCI"].data[1] = np.nan
        hdus["DQ"].data[2] |= 1

    error, result = damage_and_run(scene, damage, per_integration=per_integration)
    assert error < 0.01
    assert np.isnan(result.data[1]).all()
    if per_integration:
        record = result.meta.soss_photcal.soss_template_bkg.instance
        assert np.all(np.asarray(record["integration_factors"])[1:3] == 1)
        assert np.isnan(np.asarray(record["integration_errors"])[1:3]).all()


@pytest.mark.usefixtures("here")
def test_infinities(scene):
    """Infinite values that are not flagged leave the result right."""

    def damage(hdus):
        pixels = np.random.default_rng(1).random(hdus["SCI"].data.shape) < 0.01
        hdus["SCI"].data[pixels] = np.inf
        hdus["SCI"].data[pixels[:, ::-1]] = -np.inf

    error, _ = damage_and_run(scene, damage)
    assert error < 0.005


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("value", [0.0, np.nan, -1.0])
def test_useless_errors(scene, value):
    """Where ERR says nothing the scatter of the image stands for it."""

    def damage(hdus):
        hdus["ERR"].data[:] = value

    error, _ = damage_and_run(scene, damage)
    assert error < 0.01


@pytest.mark.usefixtures("here")
def test_reference_pixels(scene):
    """Wild values in reference pixels do not matter to the fit."""

    def damage(hdus):
        hdus["SCI"].data[:, :, :4] = 1e6
        hdus["SCI"].data[:, -4:] = -1e6

    error, result = damage_and_run(scene, damage)
    assert error < 0.005
    assert np.allclose(result.data[:, :-4, :4], 1e6, rtol=1e-5)


@pytest.mark.usefixtures("here")
def test_one_integration(scene):
    """A rateints file with a single integration is subtracted."""
    write_rateints(scene, NAME, last=1)
    before = fits.getdata(NAME)
    result = run()
    assert result.data.shape == (1, 256, 2048)
    assert bias(scene, before[0], result.data[0]) < 0.01


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_gaps_in_a_template(scene, value):
    """Pixels of the template without a value are filled, and no hole is left in the product."""
    rng = np.random.default_rng(2)
    with fits.open("lib.fits", mode="update") as hdus:
        gaps = rng.random(hdus["SCI"].data.shape) < 0.01
        hdus["SCI"].data[gaps] = value
        hdus["SCI"].data[:, 100, :] = value
        hdus.flush()
    before = fits.getdata(NAME)
    result = run()
    assert bias(scene, before[0], result.data[0]) < 0.005
    found = before[0].astype(float) - result.data[0]
    worst = np.nanmax(np.abs(found / scene.truth.background - 1)[:250, 10:-10])
    assert worst < 0.15
    record = result.meta.soss_photcal.soss_template_bkg.instance
    assert record["filled_template_pixels"] > 10_000


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("value", [0.0, np.nan])
def test_empty_template(value):
    """A template without usable values is refused with its number and the file."""
    with fits.open("lib.fits", mode="update") as hdus:
        hdus["SCI"].data[1] = value
        hdus.flush()
    with pytest.raises(SossInputError, match=r"Template 1 of .* lib\.fits .* 0 per cent"):
        run()


@pytest.mark.usefixtures("here")
def test_no_valid_pixel_is_skipped(caplog):
    """Data without any valid pixel are passed on untouched as SKIPPED, with the reason."""
    with fits.open(NAME, mode="update") as hdus:
        hdus["SCI"].data[:] = np.nan
        hdus.flush()
    result = run(save_results=True)
    header = fits.getheader(PRODUCT)
    assert result.meta.cal_step.bkg_subtract == header["S_BKDSUB"] == "SKIPPED"
    assert header["BKGSUB"] is False
    assert "no pixel has a valid value" in header["BKGWHY"]
    assert "no pixel has a valid value" in caplog.text
    assert fits.getdata(PRODUCT).tobytes() == fits.getdata(NAME).tobytes()


@pytest.mark.usefixtures("here")
def test_negative_background_is_skipped(scene):
    """A fit that gives a negative background is not believed, and the data stay as they are."""
    with fits.open(NAME, mode="update") as hdus:
        hdus["SCI"].data -= 3 * scene.truth.background
        hdus.flush()
    result = run()
    assert result.meta.cal_step.bkg_subtract == "SKIPPED"
    assert "negative" in result.meta.soss_photcal.soss_template_bkg.reason
    assert np.array_equal(result.data, fits.getdata(NAME), equal_nan=True)


@pytest.mark.usefixtures("here")
def test_background_that_no_pixel_can_count_is_skipped():
    """A header that adds 1e9 to all pixels gives no background: the data are not touched."""
    content = Path(NAME).read_bytes()
    with fits.open(NAME) as hdus:
        start = hdus["SCI"].fileinfo()["hdrLoc"]
    end = content.index(b"END".ljust(80), start)
    card = b"BZERO   = %20s" % b"1000000000."
    # The last card before END is one that nobody needs.
    Path(NAME).write_bytes(content[: end - 80] + card.ljust(80) + content[end:])
    result = run(save_results=True)
    assert np.nanmin(fits.getdata(NAME)) > 9.9e8
    assert result.meta.cal_step.bkg_subtract == "SKIPPED"
    assert "is more than any pixel can count" in fits.getheader(PRODUCT)["BKGWHY"]
    assert np.array_equal(result.data, fits.getdata(NAME), equal_nan=True)


@pytest.mark.usefixtures("here")
def test_too_little_sky_is_skipped():
    """With all but a few columns flagged the step gives up and says why."""
    with fits.open(NAME, mode="update") as hdus:
        hdus["DQ"].data[:, :, 20:] |= 1
        hdus.flush()
    result = run()
    assert result.meta.cal_step.bkg_subtract == "SKIPPED"
    assert result.meta.soss_photcal.soss_template_bkg.reason


@pytest.mark.usefixtures("here")
def test_failure_as_an_error():
    """With on_failure=error the step stops where it would skip, and writes nothing."""
    with fits.open(NAME, mode="update") as hdus:
        hdus["SCI"].data[:] = np.nan
        hdus.flush()
    with pytest.raises(SossInputError, match=r"jw1_nis_rateints\.fits: no pixel"):
        run(on_failure="error", save_results=True)
    assert sorted(os.listdir()) == [NAME, "lib.fits"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("cards", "sentence"),
    [
        ({"INSTRUME": "NIRCAM"}, "instrument NIRCAM.*NIRISS SOSS are needed"),
        ({"EXP_TYPE": "NIS_WFSS"}, "exposure type NIS_WFSS; only NIS_SOSS"),
        ({"FILTER": "F090W"}, "filter F090W.*CLEAR or F277W"),
        ({"FILTER": "F277W"}, "lib.fits is for the filter CLEAR.*F277W"),
        ({"SUBSIZE2": 96}, "256 x 2048.*header says 96 x 2048"),
        ({"S_PHOTOM": "COMPLETE"}, "been through photom"),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
def test_wrong_kind_of_data(cards, sentence, streamed):
    """Data of another instrument, type, filter or size are refused with what would be right."""
    for key, value in cards.items():
        fits.setval(NAME, key, value=value)
    with pytest.raises(SossInputError, match=sentence):
        run(save_results=streamed)
    assert sorted(os.listdir()) == [NAME, "lib.fits"]


@pytest.mark.usefixtures("here")
def test_calibrated_data():
    """Data in MJy/sr are refused."""
    fits.setval(NAME, "BUNIT", value="MJy/sr", ext=("SCI", 1))
    with pytest.raises(SossInputError, match=r"in MJy/sr.*DN/s"):
        run()


@pytest.mark.usefixtures("here")
def test_position_on_the_detector_is_not_guessed():
    """Without any keyword for the rows the file is refused, with the names of those."""
    with fits.open(NAME, mode="update") as hdus:
        for key in ("SUBSTRT2", "SUBSIZE2", "SUBARRAY"):
            hdus[0].header.remove(key)
        # The metadata are there as well.
        del hdus["ASDF"]
        hdus.flush()
    with pytest.raises(SossInputError, match=r"SUBSTRT2 and SUBSIZE2 missing"):
        run()


@pytest.mark.usefixtures("here")
def test_name_of_the_subarray_is_enough(scene):
    """Without SUBSTRT2 and SUBSIZE2 the name of a standard subarray says where the rows are."""
    with fits.open(NAME, mode="update") as hdus:
        for key in ("SUBSTRT2", "SUBSIZE2"):
            hdus[0].header.remove(key)
        # The metadata are there as well.
        del hdus["ASDF"]
        hdus.flush()
    before = fits.getdata(NAME)
    assert bias(scene, before[0], run().data[0]) < 0.005


def test_full_frame_with_a_library_for_the_strip(tmp_path, monkeypatch, library):
    """FULL data are refused with a 256-row library, and the right one is named."""
    monkeypatch.chdir(tmp_path)
    write_library(library, "lib.fits")
    with datamodels.ImageModel(np.ones((2048, 2048), "f4")) as model:
        model.meta.instrument.name = "NIRISS"
        model.meta.instrument.filter = "CLEAR"
        model.meta.exposure.type = "NIS_SOSS"
        model.meta.subarray.name = "FULL"
        for key, value in (("xstart", 1), ("ystart", 1), ("xsize", 2048), ("ysize", 2048)):
            setattr(model.meta.subarray, key, value)
        model.save("full_rate.fits")
    with pytest.raises(SossInputError, match=r"lib\.fits covers rows 1793 to 2048.*FULL is needed"):
        run("full_rate.fits")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.999])
def test_truncated_file(share, streamed):
    """A truncated file is refused with its name, and nothing is written."""
    os.truncate(NAME, int(os.path.getsize(NAME) * share))
    with pytest.raises(SossInputError, match=r"jw1_nis_rateints\.fits"):
        run(save_results=streamed)
    assert sorted(os.listdir()) == [NAME, "lib.fits"]


@pytest.mark.usefixtures("here")
def test_truncated_library():
    """A truncated library is refused with its name."""
    os.truncate("lib.fits", os.path.getsize("lib.fits") // 2)
    with pytest.raises(SossInputError, match=r"lib\.fits is truncated"):
        run()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("streamed", [True, False])
def test_empty_file(streamed):
    """A file without a byte, and one without integrations, are refused."""
    open("empty_rate.fits", "w").close()
    with pytest.raises(SossInputError, match=r"empty_rate\.fits is not a readable FITS file"):
        run("empty_rate.fits", save_results=streamed)
    fits.HDUList([fits.PrimaryHDU()]).writeto("bare_rate.fits")
    with pytest.raises(SossInputError, match="bare_rate"):
        run("bare_rate.fits", save_results=streamed)


@pytest.mark.usefixtures("here")
def test_ramps():
    """Ramps are refused with the pipeline that makes rates of them."""
    with datamodels.RampModel(np.ones((1, 2, 256, 2048), "f4")) as model:
        model.meta.instrument.name = "NIRISS"
        model.meta.instrument.filter = "CLEAR"
        model.meta.exposure.type = "NIS_SOSS"
        with pytest.raises(SossInputError, match="calwebb_detector1"):
            run(model)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("content", ["{", "[]", '{"products": []}', '{"products": [{"a": 1}]}'])
def test_bad_association(content):
    """A JSON file that is no association is refused with its name."""
    with open("asn.json", "w") as stream:
        stream.write(content)
    with pytest.raises(SossInputError, match=r"asn\.json"):
        run("asn.json")


@pytest.mark.usefixtures("here")
def test_missing_member():
    """A member of an association that is not there is named."""
    with open("asn.json", "w") as stream:
        stream.write('{"products": [{"members": [{"expname": "no.fits", "exptype": "science"}]}]}')
    with pytest.raises(SossInputError, match=r"no\.fits does not exist"):
        run("asn.json")


@pytest.mark.usefixtures("here")
def test_empty_list_and_wrong_types():
    """An empty list, and things that are neither file nor model, are refused."""
    with pytest.raises(SossInputError, match="empty"):
        run([])
    with pytest.raises(SossInputError, match="not ndarray"):
        run(np.ones((256, 2048)))


@pytest.mark.usefixtures("here")
def test_background_exposure_of_another_kind(scene):
    """A dedicated exposure that is subtracted already, or has another filter, is refused."""
    write_rateints(scene, "sky_nis_rateints.fits")
    fits.setval("sky_nis_rateints.fits", "FILTER", value="F277W")
    with pytest.raises(SossInputError, match=r"filter F277W.*does not fit"):
        run(bkg_list=["sky_nis_rateints.fits"])
    fits.setval("sky_nis_rateints.fits", "FILTER", value="CLEAR")
    fits.setval("sky_nis_rateints.fits", "S_BKDSUB", value="COMPLETE")
    with pytest.raises(SossInputError, match="subtracted from the background exposure"):
        run(bkg_list=["sky_nis_rateints.fits"])


@pytest.mark.usefixtures("here")
def test_model_of_a_file_that_ends_after_its_header():
    """A model whose file has lost its extensions is refused in one sentence."""
    with fits.open(NAME) as hdus:
        fits.HDUList([hdus[0]]).writeto("short_nis_rateints.fits")
    with datamodels.open("short_nis_rateints.fits") as model:
        assert model.data is None or model.data.size == 0
        with pytest.raises(SossInputError, match=r"short_nis_rateints\.fits has no image \(SCI\)"):
            run(model)


@pytest.mark.usefixtures("here")
def test_no_reference_is_skipped():
    """Where there is no bkg reference and no dedicated exposure, the data are passed on."""
    result = run(override_bkg="N/A")
    assert result.meta.cal_step.bkg_subtract == "SKIPPED"
    assert "no bkg reference" in result.meta.soss_photcal.soss_template_bkg.reason


@pytest.mark.usefixtures("here")
def test_scales_by_hand_need_no_fit(scene):
    """Scales given by hand are subtracted even where no sky is left that could be fitted."""
    with fits.open(NAME, mode="update") as hdus:
        hdus["SCI"].data[:, :, 690:] = np.nan
        before = hdus["SCI"].data.copy()
    template, scales = scene.truth.template_index, [0.5, 0.6]
    result = run(template=template, scales=scales, save_plots=True)
    assert result.meta.cal_step.bkg_subtract == "COMPLETE"
    library = fits.getdata("lib.fits")[template]
    assert np.allclose(
        before[0, 50, 100] - result.data[0, 50, 100], 0.5 * library[50, 100], rtol=1e-4
    )
    record = result.meta.soss_photcal.instance["soss_template_bkg"]
    assert record["scales_by_hand"] and np.isnan(record["fitted_scales"]).all()
    assert list(Path().glob("*_sossbkg.png"))
