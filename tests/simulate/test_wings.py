"""Wings of the star and their variants."""

import numpy as np
import pytest

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate import SceneParams
from soss_photcal_steps.simulate.scene import star_image
from soss_photcal_steps.simulate.star import star_brightness, star_rows
from soss_photcal_steps.simulate.wings import WING_VARIANTS, Wing, draw_wing, wing_profile

ROWS = np.arange(256)


def test_reference_wing():
    """The reference wing has the measured light at 40 and 105 pixels and a slope near -1.2."""
    value = wing_profile(np.array([40.0, 105.0, 155.0, -40.0]), Wing())
    assert value == pytest.approx([3.9e-4, 1.12e-4, 6.4e-5, 4.05e-4], rel=0.01)
    slope = np.log(value[1] / value[0]) / np.log(105 / 40)
    assert slope == pytest.approx(-1.29, abs=0.03)


def test_slope_variant_is_a_power_law():
    """A slope of -0.9 is kept from 40 to 300 pixels on both sides."""
    wing = Wing(slope=-0.9)
    for sign in (1, -1):
        value = wing_profile(sign * np.array([40.0, 100.0, 300.0]), wing)
        slopes = np.diff(np.log(value)) / np.diff(np.log([40.0, 100.0, 300.0]))
        assert slopes == pytest.approx([-0.9, -0.9], abs=1e-6)


def test_asymmetry_and_strength():
    """Strength and asymmetry multiply the wing beyond 24 pixels."""
    reference = wing_profile(np.array([60.0, -60.0]), Wing())
    changed = wing_profile(np.array([60.0, -60.0]), Wing(strength=1.5, asymmetry=0.2))
    assert changed / reference == pytest.approx([1.8, 1.2])


def test_chromatic_wing_changes_along_the_trace():
    """A chromatic wing of 0.3 is 30 per cent stronger at 2048 and weaker at 0, at 30 pixels."""
    wing = Wing(chromatic_strength=0.3)
    value = wing_profile(np.array([30.0, 30.0, 30.0]), wing, np.array([0.0, 1024.0, 2048.0]))
    assert value / value[1] == pytest.approx([0.7, 1.0, 1.3])


@pytest.mark.parametrize("variant", WING_VARIANTS)
def test_variants(variant):
    """Each variant is drawn by seed, keeps the core and, but for the reference, changes wings."""
    wing = draw_wing(variant, np.random.default_rng(1))
    assert wing == draw_wing(variant, np.random.default_rng(1))
    assert wing.variant == variant
    params = SceneParams(star="bright")
    reference, image = star_image(params, ROWS, Wing()), star_image(params, ROWS, wing)
    assert np.isfinite(image).all() and image.min() >= -1e-6
    row = int(star_rows(1, params.pwcpos, np.array([1700.0]))[0])
    core = np.s_[row - 10 : row + 10, 1700]
    assert image[core] == pytest.approx(reference[core], rel=0.1)
    far = np.s_[row + 60 : row + 75, 1900]
    change = image[far].mean() / reference[far].mean()
    assert 0.3 < change < 3
    if variant != "reference":
        other = draw_wing(variant, np.random.default_rng(2))
        assert other != wing
        assert np.abs(image / reference - 1)[:, 700:].max() > 0.03


def test_random_draws_all_variants():
    """``random`` reaches every named variant."""
    rng = np.random.default_rng(0)
    assert {draw_wing("random", rng).variant for _ in range(200)} == set(WING_VARIANTS)


def test_slopes_and_strengths_cover_their_ranges():
    """Slopes reach from -1.6 to -0.8 and strengths from 0.5 to 1.6."""
    rng = np.random.default_rng(0)
    slopes = np.array([draw_wing("slope", rng).slope for _ in range(300)])
    strengths = np.array([draw_wing("strength", rng).strength for _ in range(300)])
    assert slopes.min() == pytest.approx(-1.6, abs=0.03)
    assert slopes.max() == pytest.approx(-0.8, abs=0.03)
    assert strengths.min() == pytest.approx(0.5, abs=0.03)
    assert strengths.max() == pytest.approx(1.6, abs=0.05)


def test_isotropic_wing_projects_to_the_profile():
    """Under a slowly varying trace the round kernel gives the cross-dispersion power law."""
    params = SceneParams(star="bright")
    line = star_image(params, ROWS, Wing(slope=-1.2))
    round_ = star_image(params, ROWS, Wing(slope=-1.2, isotropic=True))
    column = 1850
    row = int(star_rows(1, params.pwcpos, np.array([float(column)]))[0])
    at = row + np.array([40, 60, 80])
    assert round_[at, column] / line[at, column] == pytest.approx(1.0, abs=0.2)


def test_isotropic_wing_spreads_along_the_dispersion():
    """With F277W, whose trace ends at column 450, only the round kernel lights column 550."""
    params = SceneParams(star="bright", filter="F277W")
    line = star_image(params, ROWS, Wing())
    round_ = star_image(params, ROWS, Wing(isotropic=True))
    assert line[60:100, 550].max() < 1e-3
    assert round_[60:100, 550].mean() > 0.02


def test_four_orders():
    """The star has light on all four orders, order 4 only left of column 300."""
    image = star_image(SceneParams(star="bright"), ROWS, Wing())
    for order, column, least in ((1, 1500, 300), (2, 1500, 300), (3, 500, 10), (4, 50, 1)):
        row = int(star_rows(order, 245.76, np.array([float(column)]))[0])
        assert image[row, column] > least
    assert star_brightness(4, "bright", np.array([400.0]))[0] < 0.1


def test_unknown_variant_is_refused():
    """An unknown variant is refused with the names that exist."""
    with pytest.raises(SossInputError, match="reference, strength"):
        draw_wing("gauss", np.random.default_rng(0))
