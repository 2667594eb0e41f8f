"""The user's mask: as a file, in the fit, and in the step."""

import os

import numpy as np
import pytest
from astropy.io import fits

from soss_photcal_steps import SossTemplateBackgroundStep
from soss_photcal_steps.background.maskfile import read_mask, write_mask_image
from soss_photcal_steps.background.window import Window
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate import SceneParams, make_library, simulate
from soss_photcal_steps.simulate.write import write_library, write_rate

STRIP = Window(1792, 256)


def test_mask_comes_back_as_it_was_written(tmp_path):
    """A mask is read as it was written, and cut to the rows that smaller data cover."""
    mask = np.zeros((256, 2048), bool)
    mask[20:30, 100:200] = True
    write_mask_image(tmp_path / "mask.fits", mask, STRIP)
    assert np.array_equal(read_mask(tmp_path / "mask.fits", STRIP), mask)
    part = read_mask(tmp_path / "mask.fits", Window(1802, 96))
    assert part.shape == (96, 2048)
    assert np.array_equal(part, mask[10:106])


@pytest.mark.parametrize(
    ("image", "cards", "message"),
    [
        (np.zeros((96, 2048), "u1"), {"SUBARRAY": "SUBSTRIP96"}, "covers rows 1803 to 1898"),
        (np.zeros((3, 4, 5), "u1"), {"SUBARRAY": "SUBSTRIP256"}, r"not \(3, 4, 5\)"),
        (np.zeros((256, 2048), "u1"), {}, "does not say which rows"),
        (np.zeros((250, 2048), "u1"), {"SUBSIZE2": 256, "SUBSTRT2": 1793}, "250 x 2048"),
    ],
)  # fmt: skip
def test_mask_that_does_not_fit_is_refused(tmp_path, image, cards, message):
    """A mask of other rows, of three axes, or without its place is refused in a sentence."""
    fits.PrimaryHDU(image, fits.Header(cards)).writeto(tmp_path / "mask.fits")
    with pytest.raises(SossInputError, match=message):
        read_mask(tmp_path / "mask.fits", STRIP)


def test_step_leaves_the_users_pixels_out(tmp_path, monkeypatch):
    """What lies under the user's mask has no influence on the fit, which it else has."""
    monkeypatch.chdir(tmp_path)
    library = make_library(2, 3)
    scene = simulate(SceneParams(seed=5, nints=2, star="faint", template_index=1), library)
    write_library(library, "lib.fits")
    patch = np.zeros((256, 2048), bool)
    patch[:110, 900:1700] = True
    write_mask_image("mask.fits", patch, STRIP)
    levels = {}
    for light in (0.0, 0.25):
        write_rate(scene, "jw_nis_rate.fits")
        with fits.open("jw_nis_rate.fits", mode="update") as hdus:
            hdus["SCI"].data[patch] += light
        for mask in (None, "mask.fits"):
            result = SossTemplateBackgroundStep.call(
                "jw_nis_rate.fits", override_bkg="lib.fits", mask_image=mask, save_mask=True
            )
            record = result.meta.soss_photcal.soss_template_bkg
            levels[light, mask] = list(record.levels)
            files = [item["name"] for item in record.instance["inputs"]]
            assert ("mask.fits" in files) == (mask is not None)
        os.remove("jw_nis_rate.fits")
    assert (fits.getdata("jw_nis_sossmask.fits")[patch] != 0).all()
    assert levels[0.0, "mask.fits"] == levels[0.25, "mask.fits"]
    assert abs(levels[0.0, None][1] / levels[0.25, None][1] - 1) > 1e-5
    truth = float(scene.truth.background[:, 720:].mean())
    assert abs(levels[0.25, "mask.fits"][1] / truth - 1) < 0.01
