"""A template from dedicated background exposures whose background is known."""

import numpy as np
import pytest

from soss_photcal_steps.background.combine import combine_integrations
from soss_photcal_steps.background.dedicated import dedicated_template, mask_sources
from soss_photcal_steps.simulate import SceneParams, make_library, simulate

SKY = np.s_[5:-8, 10:-20]


@pytest.fixture(scope="module")
def library():
    """Give a library of three templates."""
    return make_library(3, 3)


def exposure(library, seed, contamination="typical", **params):
    """Give the combined image of an exposure without a star, and its truth."""
    scene = simulate(
        SceneParams(
            seed=seed, nints=4, star="none", template_index=1, contamination=contamination, **params
        ),
        library,
    )
    return combine_integrations(scene.sci, (scene.dq & 1) != 0).image, scene.truth


@pytest.fixture(scope="module")
def typical(library):
    """Give an exposure of a field with some zero orders and faint traces."""
    return exposure(library, 8)


def departure(template, truth):
    """Give the relative difference of shape from the truth, pixel by pixel."""
    ratio = template / truth.background
    return (ratio / np.median(ratio[SKY]) - 1)[SKY]


def test_template_has_the_true_shape(typical):
    """One exposure gives the true shape with an rms of 0.6 per cent, and 4 at worst."""
    image, truth = typical
    error = departure(dedicated_template([image]).image, truth)
    assert np.sqrt(np.mean(error**2)) < 0.006
    assert np.abs(error).max() < 0.04


def test_crowded_field(library):
    """In a crowded field, most of it masked, the shape is right with an rms of 1 per cent."""
    image, truth = exposure(library, 8, "crowded")
    template = dedicated_template([image])
    error = departure(template.image, truth)
    assert np.sqrt(np.mean(error**2)) < 0.01
    assert 0.4 < template.masked[0] < 0.9


def test_template_has_little_noise(typical):
    """The template's noise from pixel to pixel is less than 3 per cent of the exposure's."""
    image, truth = typical
    part = np.s_[150:240, 820:1000]
    rest = (dedicated_template([image]).image - truth.background)[part]
    noise = np.nanmedian(np.abs(image - truth.background)[part]) * 1.48
    assert np.diff(rest, axis=1).std() < 0.03 * noise * np.sqrt(2)


def test_break_stays_sharp(typical):
    """Smoothing does not wash out the break: its steepest rise is within 15 per cent of true."""
    image, truth = typical
    template = dedicated_template([image]).image
    true = np.diff(truth.background[100:200].mean(axis=0))[650:750]
    found = np.diff(template[100:200].mean(axis=0))[650:750]
    assert found.max() / template.mean() == pytest.approx(
        true.max() / truth.background.mean(), rel=0.15
    )


def test_several_exposures_are_averaged(library, typical):
    """Exposures of different level are scaled to one, and together are better than one."""
    other, other_truth = exposure(library, 9, side_ratio=1.0)
    one, truth = exposure(library, 8, side_ratio=1.0)
    both = dedicated_template([one, other])
    ratio = other_truth.level_left / truth.level_left
    assert both.scales[1] / both.scales[0] == pytest.approx(ratio, rel=0.03)
    alone = departure(dedicated_template([one]).image, truth)
    together = departure(both.image, truth)
    assert np.sqrt(np.mean(together**2)) < np.sqrt(np.mean(alone**2))


def test_sources_are_masked(typical):
    """Pixels with more light of sources than half the background are masked, nearly all."""
    image, truth = typical
    good = np.isfinite(image)
    source = mask_sources(image, good)
    bright = (truth.field > 0.5 * truth.background) & good
    assert bright.sum() > 500
    assert source[bright].mean() > 0.98
    assert source[good & (truth.field < 0.002 * truth.background)].mean() < 0.35


def test_hot_pixels_do_not_mask_their_surroundings():
    """A pixel that stands out is left out itself; its neighbours stay."""
    rng = np.random.default_rng(3)
    image = 5 + rng.normal(0, 0.1, (256, 2048))
    hot = rng.random(image.shape) < 0.002
    image[hot] += 50
    # The tilted break is made upright by shifting rows, which loses the outermost columns.
    inside = np.zeros(image.shape, bool)
    inside[:, 8:-8] = True
    source = mask_sources(image, np.ones(image.shape, bool))
    assert source[hot & inside].all()
    assert source[~hot & inside].mean() < 0.05


def test_arguments_are_not_edited(typical):
    """The exposures are as they were."""
    image = typical[0].copy()
    dedicated_template([image])
    assert np.array_equal(image, typical[0], equal_nan=True)


def test_useless_exposures():
    """No exposure, one without valid pixels, and one with a negative level are refused."""
    with pytest.raises(ValueError, match="no background exposure"):
        dedicated_template([])
    with pytest.raises(ValueError, match="exposure 1 has no sky"):
        dedicated_template([np.ones((256, 2048)), np.full((256, 2048), np.nan)])
    with pytest.raises(ValueError, match="not positive"):
        dedicated_template([np.full((256, 2048), -1.0)])
