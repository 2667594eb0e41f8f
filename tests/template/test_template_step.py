"""The step that builds templates, as a user runs it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from jwst.datamodels import open as open_model

from soss_photcal_steps import SossTemplateBackgroundStep, SossTemplateBuildStep
from soss_photcal_steps.background.breaks import find_break
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate import SceneParams, simulate
from soss_photcal_steps.simulate.write import ExposureHeader, write_rate, write_rateints
from soss_photcal_steps.template.library import FILLED, REFERENCE, ecliptic
from soss_photcal_steps.template.smooth import break_width

STRUN = Path(sys.executable).with_name("strun")


@pytest.fixture(scope="module")
def built(store, files, tmp_path_factory):
    """Build a library of two templates with strun, with pictures."""
    folder = tmp_path_factory.mktemp("built")
    done = subprocess.run(
        [STRUN, "soss_template_build", *files, "--group_by=observation", "--save_plots=true",
         f"--output_dir={folder}"],
        capture_output=True, text=True, check=False, timeout=200, cwd=store,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / Path(files[0]).name.replace("rateints", "sosslib")


def test_strun_writes_library_and_pictures(built):
    """The library has both templates by name, with origin, flags and errors, and pictures."""
    with fits.open(built) as hdus:
        header = hdus[0].header
        assert hdus["SCI"].data.shape == hdus["ERR"].data.shape == hdus["DQ"].data.shape
        assert hdus["SCI"].data.shape == (2, 256, 2048)
        quality, error, data = hdus["DQ"].data, hdus["ERR"].data, hdus["SCI"].data
    for key, value in {
        "REFTYPE": "BKG", "INSTRUME": "NIRISS", "EXP_TYPE": "NIS_SOSS", "FILTER": "CLEAR",
        "SUBARRAY": "SUBSTRIP256", "SUBSTRT2": 1793, "PEDIGREE": "INFLIGHT 2022-07-28 2022-07-28",
        "AUTHOR": "soss_photcal_steps", "USEAFTER": "2022-06-01T00:00:00",
    }.items():  # fmt: skip
        assert str(header[key]).upper() == str(value).upper(), key
    history = "\n".join(str(line) for line in header["HISTORY"])
    assert "Template 0: SKY-0 2022-07-28" in history
    assert "Template 1: SKY-1 2022-07-28" in history
    longitude, latitude = ecliptic(160.0, -30.0)
    assert f"ecliptic longitude {longitude:.2f}" in history.replace("\n  ", " ")
    assert f"{latitude:+.2f}" in history
    border = np.ones((256, 2048), bool)
    border[:-4, 4:-4] = False
    assert (quality[:, border] & REFERENCE == REFERENCE).all()
    assert (data[:, border] == 0).all()
    filled = quality & FILLED == FILLED
    assert 0 < filled.mean() < 0.2
    assert (error[:, ~border] > 0).all()
    folder = built.parent
    for name in ("sosslib.png", "sosslib-template0.png", "sosslib-template1.png"):
        assert (folder / built.name.replace("sosslib.fits", name)).stat().st_size > 20_000


def test_shape_and_break_are_those_of_the_sky(built, library):
    """Shapes agree to 0.6 per cent rms, the break lies within a pixel and is no wider by one."""
    data = fits.getdata(built)
    for made, true in zip(data, library.data, strict=False):
        ratio = made[4:-4] / true[4:-4]
        for part in (ratio[:, 6:640], ratio[:, 830:2040]):
            assert np.std(part) / np.mean(part) < 0.006
        one, other = find_break(true), find_break(made)
        assert np.abs(one.column - other.column).max() < 1.0
        assert break_width(other.profile) - break_width(one.profile) < 1.0


def test_templates_of_one_run_share_their_shapes(library, tmp_path):
    """Of four skies of two exposures the noise is less with common shapes than without."""
    files = []
    for sky in range(4):
        for k in range(2):
            scene = simulate(
                SceneParams(
                    seed=300 + 10 * sky + k, nints=2, star="none", subarray="SUBSTRIP96",
                    template_index=sky % 3,
                ),
                library,
            )  # fmt: skip
            header = ExposureHeader(
                target=f"SKY-{sky}", program=9000, observation=sky + 1, exposure=k + 1,
                background_target=True,
            )  # fmt: skip
            name = tmp_path / f"jw0900000{sky + 1}001_02101_{k + 1:05d}_nis_rateints.fits"
            files.append(str(write_rateints(scene, name, header)))
    noise, error = {}, {}
    for common in ("auto", "no"):
        made = SossTemplateBuildStep.call(files, group_by="observation", common_shapes=common)
        images = np.array(made.data)
        ratios = [
            one[4:90, 830:2040] / library.data[k % 3][14:100, 830:2040]
            for k, one in enumerate(images)
        ]
        noise[common] = np.mean([np.std(ratio) / np.mean(ratio) for ratio in ratios])
        error[common] = np.median(np.array(made.err)[:, 4:90, 830:2040] / images[:, 4:90, 830:2040])
        record = made.meta.soss_photcal.soss_template_build
        made.save(tmp_path / "library.fits")
        cards = fits.getheader(tmp_path / "library.fits")["HISTORY"]
        told = "\n".join(str(card) for card in cards).replace("\n  ", " ")
        assert (len(record.components) == 2) == (common == "auto")
        assert told.count("components that they share") == (4 if common == "auto" else 0)
        made.close()
    assert noise["auto"] < 0.9 * noise["no"]
    assert error["auto"] < error["no"]


def test_use_gives_about_the_accuracy_of_the_true_templates(built, store, library, tmp_path):
    """Over six scenes the background is off by no more than 0.3 per cent in the median."""
    true = tmp_path / "true2.fits"
    with fits.open(store / "true.fits") as hdus:
        for name in ("SCI", "ERR", "DQ"):
            hdus[name].data = hdus[name].data[:2]
        hdus.writeto(true)
    off = {built: [], true: []}
    for k in range(6):
        scene = simulate(
            SceneParams(seed=70 + k, nints=2, star=("mid", "faint")[k % 2], template_index=k % 2),
            library,
        )
        name = tmp_path / f"jw0800000{k}001_03102_00001_nis_rate.fits"
        write_rate(scene, name)
        for path, found in off.items():
            result = SossTemplateBackgroundStep.call(str(name), override_bkg=str(path))
            record = result.meta.soss_photcal.soss_template_bkg
            with fits.open(name) as hdus:
                taken = hdus["SCI"].data - result.data
            sides = (np.s_[4:-4, 6:640], np.s_[4:-4, 830:2040])
            found.append(
                [np.nanmean(taken[s]) / scene.truth.background[s].mean() - 1 for s in sides]
            )
            assert record.template == k % 2
            result.close()
    made, best = (np.median(np.abs(off[path]), axis=0) for path in (built, true))
    # Below 0.2 per cent the medians of six scenes are chance.
    assert (made < 1.5 * np.maximum(best, 2e-3)).all()


def test_library_passes_the_check(built):
    """`soss-photcal check` finds that the library may be delivered."""
    done = subprocess.run(
        [STRUN.with_name("soss-photcal"), "check", built],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "may be delivered: 0 errors" in done.stdout


def test_templates_are_added_to_a_library(built, files, tmp_path):
    """Added to a library, the old templates stay bit for bit, with names and origins."""
    shutil.copy(built, tmp_path / "old.fits")
    model = SossTemplateBuildStep.call(
        files[0], library=str(tmp_path / "old.fits"), names=["a third one"]
    )
    assert model.data.shape == (3, 256, 2048)
    with fits.open(built) as hdus:
        assert np.array_equal(model.data[:2], hdus["SCI"].data)
        assert np.array_equal(model.err[:2], hdus["ERR"].data)
        assert np.array_equal(model.dq[:2], hdus["DQ"].data)
        old = [str(line) for line in hdus[0].header["HISTORY"]]
    model.save(tmp_path / "new.fits")
    new = [str(line) for line in fits.getheader(tmp_path / "new.fits")["HISTORY"]]
    names = [line for line in new if line.startswith("Template") and ":" in line[:13]]
    assert names == ["Template 0: SKY-0 2022-07-28", "Template 1: SKY-1 2022-07-28",
                     "Template 2: a third one"]  # fmt: skip
    origin = next(line for line in old if line.startswith("Template 1, RA"))
    assert origin in new
    model.close()


def test_association_with_background_members(files, tmp_path):
    """Of a level-2 association the background members are taken."""
    members = [{"expname": files[0], "exptype": "background"},
               {"expname": files[1], "exptype": "background"},
               {"expname": files[3], "exptype": "science"}]  # fmt: skip
    content = {"asn_type": "spec2", "asn_rule": "x", "asn_id": "a1", "program": "9000",
               "products": [{"name": "sky", "members": members}]}  # fmt: skip
    path = tmp_path / "sky_asn.json"
    path.write_text(json.dumps(content))
    model = SossTemplateBuildStep.call(str(path))
    record = model.meta.soss_photcal.soss_template_build
    assert [item["name"] for item in record.instance["inputs"]] == [Path(f).name for f in files[:2]]
    model.close()


def damaged(change):
    """Change a copy of an exposure by a function of its HDUs."""

    def make(files, folder):
        path = folder / "jw_bad_nis_rateints.fits"
        shutil.copy(files[0], path)
        with fits.open(path, mode="update") as hdus:
            change(hdus)
        return [files[1], str(path)]

    return make


def header_card(key, value, hdu=0):
    """Make a change of one card."""

    def change(hdus):
        hdus[hdu].header[key] = value

    return change


def fill(value):
    """Make a change of all pixels."""

    def change(hdus):
        hdus["SCI"].data[:] = value

    return change


def flag(hdus):
    """Flag all pixels."""
    hdus["DQ"].data[:] = 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (damaged(header_card("FILTER", "F277W")), "do not belong into one library"),
        (damaged(header_card("EXP_TYPE", "NIS_IMAGE")), "NIS_SOSS"),
        (damaged(header_card("INSTRUME", "NIRCAM")), "NIRISS"),
        (damaged(header_card("S_BKDSUB", "COMPLETE")), "subtracted from jw_bad"),
        (damaged(header_card("BUNIT", "MJy/sr", "SCI")), "DN/s"),
        (damaged(fill(np.nan)), "jw_bad"),
        (damaged(fill(np.inf)), "jw_bad"),
        (damaged(flag), "jw_bad"),
        (lambda files, folder: [files[0], files[0]], "given twice"),
        (lambda files, folder: [], "is empty"),
        (lambda files, folder: [str(folder / "nothing.fits")], "nothing.fits"),
        (lambda files, folder: [7], "not int"),
    ],
)
def test_bad_input_is_one_sentence(make, message, files, tmp_path):
    """Exposures that make no template are refused with the file and what is wrong."""
    with pytest.raises(SossInputError, match=message) as caught:
        SossTemplateBuildStep.call(make(files, tmp_path))
    assert "\n" not in str(caught.value)


def test_names_must_fit(files):
    """Two names for one template are refused."""
    with pytest.raises(SossInputError, match="2 names are given for 1 templates"):
        SossTemplateBuildStep.call(files[0], names=["a", "b"])


def test_model_in_memory_and_one_integration(library, tmp_path):
    """A rate in memory, of one integration, gives a template too."""
    scene = simulate(SceneParams(seed=3, nints=1, star="none", template_index=2), library)
    path = tmp_path / "jw_nis_rate.fits"
    write_rate(scene, path)
    with open_model(path) as model:
        found = SossTemplateBuildStep.call(model, star="no")
    ratio = found.data[0][4:-4] / scene.truth.background[4:-4]
    assert np.std(ratio[:, 6:640]) / np.mean(ratio[:, 6:640]) < 0.012
    found.close()


def test_star_is_taken_off_with_a_first_guess(library, store, tmp_path):
    """With a star like WASP-39 and a library to begin with, the sky comes out to 3 per cent."""
    scene = simulate(SceneParams(seed=9, nints=3, star="mid", template_index=0), library)
    write_rate(scene, tmp_path / "jw_nis_rate.fits")
    found = SossTemplateBuildStep.call(
        str(tmp_path / "jw_nis_rate.fits"), start=str(store / "true.fits")
    )
    truth = scene.truth.background
    for part in (np.s_[4:-4, 6:640], np.s_[4:-4, 830:2040]):
        ratio = found.data[0][part] / truth[part]
        assert np.std(ratio) / np.mean(ratio) < 0.03
    found.close()


def test_ecliptic_position():
    """The north ecliptic pole and the vernal equinox have their known coordinates."""
    assert ecliptic(270.0, 66.560708)[1] == pytest.approx(90, abs=0.01)
    longitude, latitude = ecliptic(0.0, 0.0)
    assert min(longitude, 360 - longitude) < 0.01
    assert abs(latitude) < 0.01
