"""Scenes: truth, levels, noise, defects, and likeness to the real frames."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate import SceneParams, make_exposure, make_library, simulate
from soss_photcal_steps.simulate.detector import DO_NOT_USE, REFERENCE_PIXEL, read_noise_rate
from soss_photcal_steps.simulate.star import star_brightness
from soss_photcal_steps.trace import trace_positions

_DATA = Path(
    os.environ.get("SOSS_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")
)
needs_data = pytest.mark.skipif(not _DATA.is_dir(), reason=f"no real data in {_DATA}")

CLEAN = SceneParams(nints=2, contamination="none", bad_pixels=0, unflagged_pixels=0, cosmic_rays=0)


@pytest.fixture(scope="module")
def library():
    """Background templates for all tests of this file."""
    return make_library(5, seed=1)


def test_seed_gives_the_scene_back(library):
    """The same seed gives the same data and truth, another seed other ones."""
    params = SceneParams(nints=2, seed=4, wings="random", background="outside")
    one, two = simulate(params, library), simulate(params, library)
    other = simulate(replace(params, seed=5), library)
    assert np.array_equal(one.sci, two.sci, equal_nan=True)
    assert np.array_equal(one.dq, two.dq)
    assert np.array_equal(one.truth.background, two.truth.background)
    assert one.truth.wing == two.truth.wing
    assert not np.array_equal(one.sci, other.sci, equal_nan=True)


def test_parts_are_drawn_independently(library):
    """Other wings leave background, field and defects of the same seed as they were."""
    one = make_exposure(SceneParams(seed=3), library)
    two = make_exposure(SceneParams(seed=3, wings="halo"), library)
    assert np.array_equal(one.truth.background, two.truth.background)
    assert np.array_equal(one.truth.field, two.truth.field)
    assert np.array_equal(one.defects.dq, two.defects.dq)
    assert not np.array_equal(one.truth.star, two.truth.star)


def test_background_is_what_the_truth_says(library):
    """The background is the template times the blended scales, and the levels are as asked."""
    t = make_exposure(SceneParams(template_index=2, level_left=3.0, side_ratio=1.02), library).truth
    assert t.template_index == 2 and t.weights[2] == 1
    assert np.allclose(t.template, library.data[2])
    assert t.level_left == pytest.approx(3.0, rel=0.01)
    assert t.scale_right / t.scale_left == pytest.approx(1.02)
    ratio = t.background / t.template
    assert ratio[:, :600] == pytest.approx(t.scale_left, rel=1e-4)
    assert ratio[:, 950:] == pytest.approx(t.scale_right, rel=1e-4)
    blend = t.scale_left + (t.scale_right - t.scale_left) * t.right_fraction
    assert np.allclose(ratio, blend, rtol=1e-5)


def test_mixture_and_outside(library):
    """A mixture has two or three positive weights; family and outside have none."""
    mixed = make_exposure(SceneParams(background="mixture", seed=2), library).truth
    assert np.count_nonzero(mixed.weights) in (2, 3)
    assert mixed.weights.sum() == pytest.approx(1)
    assert mixed.template_index is None
    for kind in ("family", "outside"):
        t = make_exposure(SceneParams(background=kind, seed=2), library).truth
        assert not t.weights.any() and t.template_index is None
        relative = library.data / t.template
        spread = relative[:, :, ::8].std(axis=(1, 2)) / relative.mean(axis=(1, 2))
        assert spread.min() > 0.002 and spread.max() < 0.2


def test_drift_and_factors(library):
    """A drift of 2 per cent from first to last integration is in the data, with mean 1."""
    params = replace(CLEAN, nints=11, background_drift=2.0, star="none", noise=False)
    scene = simulate(params, library)
    factors = scene.truth.background_factors
    assert factors[-1] - factors[0] == pytest.approx(0.02)
    assert factors.mean() == pytest.approx(1)
    sky = scene.sci[:, 20:200, 20:500].mean(axis=(1, 2))
    assert sky / sky.mean() == pytest.approx(factors, rel=1e-5)


def test_levels_of_the_star():
    """Faint is four magnitudes below bright, and bright has the measured 18000 DN/s at 1600."""
    column = np.array([1600.0])
    bright = star_brightness(1, "bright", column)[0]
    assert bright == pytest.approx(17900, rel=0.05)
    assert star_brightness(1, "faint", column)[0] == pytest.approx(bright * 10**-1.6)
    assert star_brightness(1, "mid", column)[0] == pytest.approx(7200, rel=0.05)
    assert star_brightness(2, "bright", np.array([1500.0]))[0] == pytest.approx(17000, rel=0.06)
    assert star_brightness(2, "bright", column, filter_name="F277W")[0] == 0


def test_light_within_the_aperture(library):
    """Summing 25 rows about order 1 gives the brightness that was put in."""
    t = make_exposure(CLEAN, library).truth
    for column in (1300, 1500, 1700):
        row = trace_positions(1, 245.76, np.array([column]))[0]
        inside = np.abs(np.arange(256) - row) < 12.5
        lines_free = star_brightness(1, "bright", np.array([float(column)]))[0]
        assert t.star[inside, column].sum() == pytest.approx(lines_free, rel=0.1)


def test_noise_is_as_the_errors_say(library):
    """Scatter of the sky over its quoted error is 1 within 3 per cent (no 1/f noise)."""
    params = replace(CLEAN, star="faint", nints=8, one_over_f=0.0)
    scene = simulate(params, library)
    sky = np.s_[:, 210:250, 100:600]
    pull = (scene.sci[sky] - (scene.truth.background + scene.truth.star)[sky[1:]]) / scene.err[sky]
    assert pull.std() == pytest.approx(1, abs=0.03)


def test_one_over_f_is_per_column(library):
    """1/f noise shifts whole columns by the size asked for and changes between integrations."""
    quiet = simulate(replace(CLEAN, star="none", one_over_f=0.0), library)
    striped = simulate(replace(CLEAN, star="none", one_over_f=0.1), library)
    stripes = (striped.sci - quiet.sci)[:, :250, 10:2000]
    assert stripes.std(axis=1).max() < 1e-5
    assert stripes[0, 0].std() == pytest.approx(0.1, rel=0.15)
    assert abs(np.corrcoef(stripes[:, 0])[0, 1]) < 0.3


def test_read_noise_falls_with_groups():
    """Three groups of SUBSTRIP256 have 0.88 DN/s of read noise and nine have 0.16."""
    assert read_noise_rate("SUBSTRIP256", 3) == pytest.approx(0.885, rel=0.01)
    assert read_noise_rate("SUBSTRIP256", 9) == pytest.approx(0.1616, rel=0.01)


def test_bad_pixels(library):
    """One per cent is flagged, half of it NaN, and 0.2 per cent is bad without a flag."""
    scene = simulate(SceneParams(nints=1, seed=8), library)
    inner = np.s_[0, :252, 4:2044]
    flagged = (scene.dq[inner] & DO_NOT_USE) > 0
    assert flagged.mean() == pytest.approx(0.01, rel=0.05)
    missing = np.isnan(scene.sci[inner])
    assert missing.sum() / flagged.sum() == pytest.approx(0.5, abs=0.02)
    assert not (missing & ~flagged).any()
    secret = scene.exposure.defects.hot.size + scene.exposure.defects.dead.size
    assert secret / flagged.size == pytest.approx(0.002, rel=0.1)
    t = scene.truth
    strange = scene.sci[0] - t.background - t.star - t.field > 30 * scene.err[0]
    assert (strange[inner[1:]] & ~flagged).sum() > 50


@pytest.mark.parametrize(
    ("subarray", "shape", "rows", "first"),
    [
        ("SUBSTRIP256", (256, 2048), [252, 253, 254, 255], 0),
        ("SUBSTRIP96", (96, 2048), [], 10),
    ],
)
def test_reference_pixels(library, subarray, shape, rows, first):
    """The border of reference pixels is flagged and near zero where real frames have it."""
    scene = simulate(replace(CLEAN, subarray=subarray, star="mid"), library)
    assert scene.sci.shape[1:] == shape
    border = (scene.dq[0] & REFERENCE_PIXEL) > 0
    expected = np.zeros(shape, dtype=bool)
    expected[:, [0, 1, 2, 3, -4, -3, -2, -1]] = True
    expected[rows] = True
    assert np.array_equal(border, expected)
    assert (scene.dq[0][border] & DO_NOT_USE).all()
    assert np.abs(scene.sci[0][border]).max() < 1
    assert np.median(scene.sci[0][~border]) > 3
    full = make_exposure(replace(CLEAN, star="mid"), library).truth
    assert np.array_equal(scene.truth.star, full.star[first : first + shape[0]])


def test_full_frame():
    """A FULL scene has the SUBSTRIP256 star at its top and reference pixels on all sides."""
    library = make_library(1, subarray="FULL")
    scene = simulate(replace(CLEAN, subarray="FULL", nints=1), library)
    strip = make_exposure(CLEAN, library).truth
    assert scene.sci.shape == (1, 2048, 2048)
    assert np.array_equal(scene.truth.star[1792:], strip.star)
    assert ((scene.dq[0, [0, 3, 2044, 2047]] & REFERENCE_PIXEL) > 0).all()
    assert scene.truth.star[:1000].max() < 2


def test_contamination_levels(library):
    """Typical fields have 10 to 15 zero orders, crowded ones 50 and more, none has no light."""
    counts = {}
    for level in ("none", "typical", "crowded"):
        t = make_exposure(SceneParams(contamination=level, seed=6, star="none"), library).truth
        counts[level] = len(t.sources.zero_orders)
        assert (t.field.max() > 1) == (level != "none")
    assert counts["none"] == 0
    assert 10 <= counts["typical"] <= 16 and 50 <= counts["crowded"] <= 115


def test_zero_order_is_a_long_blob(library):
    """A zero order is about 22 rows long and 5 columns wide at half its peak."""
    from soss_photcal_steps.simulate.field import Field, field_image

    image = field_image(Field(np.array([[1000.0, 120.0, 10.0]]), ()), np.arange(256), 245.76)
    assert image.max() == pytest.approx(10, rel=0.15)
    assert 18 <= (image[:, 1000] > 5).sum() <= 26
    assert 3 <= (image[112] > 0.5 * image[112].max()).sum() <= 7


def test_f277w_keeps_only_the_red_end(library):
    """With F277W the star ends near column 450 and orders 2 and 3 are gone."""
    t = make_exposure(replace(CLEAN, filter="F277W"), library).truth
    assert t.star[:, 300].max() > 10
    assert t.star[:, 520:].max() < 0.5
    assert t.level_left < 1


def test_bad_requests_are_refused(library):
    """Unknown names and impossible numbers are refused with a sentence."""
    for change, words in (
        ({"nints": 0}, "at least one integration"),
        ({"star": "huge"}, "Star level"),
        ({"wings": "square"}, "Wing variant"),
        ({"background": "flat"}, "Background"),
        ({"contamination": "some"}, "Contamination"),
        ({"filter": "F150W"}, "Filter"),
        ({"template_index": 9}, "not in the library"),
        ({"subarray": "FULL"}, "cannot serve FULL"),
        ({"n_groups": 1}, "two groups"),
    ):
        with pytest.raises(SossInputError, match=words):
            make_exposure(replace(CLEAN, **change), library)


def _real(name):
    frame = np.load(_DATA / "soss_frames" / name).astype(float)
    frame[:, :4] = frame[:, 2044:] = frame[252:] = np.nan
    return frame


@pytest.mark.realdata
@needs_data
@pytest.mark.parametrize(
    ("name", "star", "pwcpos", "level", "ratio"),
    [
        (
            "jw01512001001_03102_00001_nis_demo_pwcpos_245.778671.npy",
            "bright",
            245.7787,
            2.65,
            1.02,
        ),
        ("wasp39b_medframe.npy", "mid", 245.72, 4.06, 0.99),
    ],
)
def test_profiles_of_real_frames(name, star, pwcpos, level, ratio):
    """Medians over 8 rows by 24 columns follow the real frame within 15 per cent (median 8)."""
    frame = _real(name)
    library = make_library(1, variation=0.0)
    params = replace(CLEAN, star=star, pwcpos=pwcpos, level_left=level, side_ratio=ratio)
    t = make_exposure(params, library).truth
    model = t.background + t.star
    ratios = []
    for column in (60, 200, 400, 600, 800, 1200, 1400, 1600, 1800, 1900, 2000):
        near = np.s_[column - 12 : column + 12]
        for row in range(4, 244, 8):
            real = np.nanmedian(frame[row : row + 8, near])
            ratios.append(np.median(model[row : row + 8, near]) / real)
    off = np.abs(np.log(ratios))
    assert np.median(off) < 0.08
    assert np.percentile(off, 80) < 0.15
