"""Masking, combination and statistics, on exposures whose sky is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soss_photcal_steps.template.build import SkyExposure, build_template
from soss_photcal_steps.template.mask import mask_faint_light, mask_sources
from soss_photcal_steps.template.statistics import library_statistics

ROWS = np.arange(10, 106)


def strip(library):
    """Give the rows of SUBSTRIP96 of the first template, without reference pixels."""
    return library.data[0][10:106]


def exposures(library, count=3, sources=4, seed=1, scale=None):
    """Make exposures of a template with blobs at other places in each."""
    rng = np.random.default_rng(seed)
    made, covered = [], []
    for k in range(count):
        sky = strip(library).astype(float) * (1 if scale is None else scale[k])
        error = np.full(sky.shape, 0.05)
        image = sky + error * rng.standard_normal(sky.shape)
        light = np.zeros(sky.shape)
        for _ in range(sources):
            row, column = rng.integers(10, 86), rng.integers(30, 2010)
            y, x = np.ogrid[:96, :2048]
            light += 3 * np.exp(-0.5 * (((y - row) / 6) ** 2 + ((x - column) / 3) ** 2))
        made.append(SkyExposure(image + light, error, name=f"number {k}"))
        covered.append(light)
    return made, covered


def test_sources_and_bad_pixels_are_masked():
    """Light above a twentieth of the noise around a source is masked; 97 per cent of sky is not."""
    rng = np.random.default_rng(5)
    error = np.full((256, 2048), 0.1)
    y, x = np.ogrid[:256, :2048]
    light = 5 * np.exp(-0.5 * (((y - 100) / 6) ** 2 + ((x - 500) / 3) ** 2))
    residual = error * rng.standard_normal(error.shape) + light
    residual[30, 40] = 4.0
    masked = mask_sources(residual, error, np.ones(error.shape, bool))
    assert masked[light > 0.1].all()
    assert masked[30, 40]
    assert masked[light < 1e-6].mean() < 0.03


def test_wide_faint_light_is_masked_under_column_noise():
    """A halo of a fifth of the noise, under 1/f noise as bright, is masked; little sky is."""
    rng = np.random.default_rng(6)
    y, x = np.ogrid[:256, :2048]
    halo = 0.02 * np.exp(-0.5 * (((y - 150) / 25) ** 2 + ((x - 1200) / 120) ** 2))
    residual = 0.1 * rng.standard_normal((256, 2048)) + 0.03 * rng.standard_normal(2048)
    keep = np.ones(residual.shape, bool)
    keep[20:60, 300:500] = False
    residual[~keep] = np.nan
    faint = mask_faint_light(residual + halo, keep)
    assert faint[halo > 0.013].mean() > 0.95
    assert faint[halo < 0.001].mean() < 0.04
    assert not faint[~keep].any()
    assert mask_faint_light(residual, keep).mean() < 0.04
    assert not mask_faint_light(residual, np.zeros(residual.shape, bool)).any()


def test_template_is_the_sky(library):
    """Three exposures with stars at other places give the sky to 0.3 per cent, without holes."""
    made, covered = exposures(library)
    built = build_template(made, ROWS)
    off = built.image / strip(library) - 1
    off -= off[4:-4, 8:640].mean()
    assert np.sqrt(np.mean(off[4:-4, 8:640] ** 2)) < 0.003
    assert np.sqrt(np.mean((off[4:-4, 830:2040] - off[4:-4, 830:2040].mean()) ** 2)) < 0.005
    assert np.isfinite(built.image).all()
    assert (built.image > 0).all()
    for light, mask in zip(covered, built.masks, strict=True):
        assert mask[light > 0.2].all()


def test_levels_of_the_exposures_come_out(library):
    """Exposures of 0.5, 1 and 1.5 times the sky get these scales to 0.3 per cent."""
    made, _ = exposures(library, scale=(0.5, 1.0, 1.5))
    scales = build_template(made, ROWS).scales
    assert np.allclose(scales, np.array([0.5, 1.0, 1.5])[:, None], rtol=3e-3)


def test_pixels_masked_in_all_are_filled_and_told(library):
    """A patch that no exposure shows is filled by the model within 1 per cent, and is marked."""
    made, _ = exposures(library, sources=0)
    patch = np.s_[40:60, 1000:1200]
    for one in made:
        one.image[patch] = np.nan
    built = build_template(made, ROWS)
    assert not built.measured[patch].any()
    assert built.measured.mean() > 0.97
    level = np.median(built.image / strip(library))
    assert np.abs(built.image[patch] / strip(library)[patch] / level - 1).max() < 0.01
    assert np.isnan(built.mean[patch]).all()


def test_one_bad_exposure_is_clipped(library):
    """A streak in one of four exposures, too faint for the mask, does not reach the template."""
    made, _ = exposures(library, count=4, sources=0)
    made[2].image[20:80, 1500:1502] += 0.3
    built = build_template(made, ROWS)
    level = np.median(built.image / strip(library))
    streak = built.image[20:80, 1480:1520] / strip(library)[20:80, 1480:1520] / level
    assert np.abs(streak - 1).max() < 0.006


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image: np.full_like(image, np.nan), "number 1.*no valid pixels"),
        (lambda image: np.full_like(image, np.inf), "number 1.*no valid pixels"),
        (lambda image: image - 50.0, "number 1.*level"),
        (lambda image: np.where(np.arange(2048) < 690, image, np.nan), "number 1"),
    ],
)
def test_useless_exposure_is_named(library, change, message):
    """An exposure without valid, positive sky on both sides is refused by its name."""
    made, _ = exposures(library, sources=0)
    bad = SkyExposure(change(made[1].image), made[1].error, name="number 1")
    with pytest.raises(ValueError, match=message):
        build_template([made[0], bad, made[2]], ROWS)


def test_no_exposure_is_refused():
    """An empty list has no template."""
    with pytest.raises(ValueError, match="no background exposure"):
        build_template([], ROWS)


def test_statistics_of_copies_and_sums(library):
    """A scaled copy adds nothing, a new shape its own; two shapes have one component."""
    one, other = library.data[0].astype(float), library.data[1].astype(float)
    found = library_statistics(np.array([one, 2 * one, other]))
    assert found.difference[0, 1] < 1e-6
    assert found.difference[0, 2] > 1e-3
    assert found.adds[0] < 1e-6
    assert found.adds[2] > 1e-3
    assert found.needed() == 1
    assert found.variance.sum() == pytest.approx(1)
    mixed = library_statistics(np.array([one, other, 0.3 * one + 0.7 * other]))
    assert mixed.adds[2] < 1e-4


@given(st.floats(0.2, 5), st.floats(0.2, 5))
@settings(max_examples=15, deadline=None)
def test_statistics_do_not_see_scales(library, left, right):
    """Scaling a template left and right of the break changes no difference."""
    images = library.data.astype(float)
    scaled = images.copy()
    scaled[1, :, :680] *= left
    scaled[1, :, 680:] *= right
    before, after = library_statistics(images), library_statistics(scaled)
    assert np.allclose(before.difference, after.difference, atol=1e-6)
    assert after.side_ratio[1] == pytest.approx(before.side_ratio[1] * right / left, rel=1e-6)


def test_a_single_template_has_no_difference(library):
    """Of one template nothing is said but its sides."""
    found = library_statistics(library.data[:1])
    assert found.needed() == 0
    assert np.isnan(found.adds).all()
    with pytest.raises(ValueError, match="one side of the break"):
        library_statistics(np.where(np.arange(2048) > 600, np.nan, library.data[:1]))
