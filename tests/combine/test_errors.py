"""Influence, kinds of stars, scales and budget."""

import numpy as np
import pytest
from campaign_curves import STARS, campaign

from soss_photcal_steps.combine.combine import CombineOptions, combine_order
from soss_photcal_steps.combine.curves import Curve
from soss_photcal_steps.combine.errors import (
    error_budget,
    group_difference,
    leave_one_star_out,
    star_scales,
)
from soss_photcal_steps.combine.random_effects import RandomEffectsOptions
from soss_photcal_steps.errors import SossInputError

X = np.linspace(0.9, 2.8, 300)
LEVELS = {"a": 0.010, "b": 0.012, "c": 0.008, "d": -0.011, "e": -0.009}
KINDS = {"a": "hot", "b": "hot", "c": "hot", "d": "solar", "e": "solar"}


def grey_curves(levels):
    """Give one flat curve for each star."""
    return [
        Curve(star, "1/1", 1, X, np.full(X.shape, 1 + level), np.full(X.shape, 1e-4), smooth=True)
        for star, level in levels.items()
    ]


@pytest.fixture(scope="module")
def grey():
    """Give five grey stars, combined."""
    return combine_order(grey_curves(LEVELS))


def test_grey_scales_are_those_of_the_stars(grey):
    """Each star's scale is its level over the mean level, with the error of its own data."""
    scales = {one.star: one for one in star_scales(grey.effects)}
    middle = 1 + np.mean(list(LEVELS.values()))
    for star, level in LEVELS.items():
        assert scales[star].scale == pytest.approx((1 + level) / middle - 1, abs=1e-4)
        assert scales[star].error < 3e-4
        assert scales[star].low < 0.95 and scales[star].high > 2.75


def test_hot_and_solar_stars_differ(grey):
    """Two kinds that differ by 2 per cent are found to, with the error of the scatter within."""
    found = group_difference(grey.effects, KINDS)
    assert found.n_stars == (3, 2) and found.degrees == 3
    assert found.mean == pytest.approx(0.02, abs=2e-4)
    # Squares about the mean of each kind: 8e-6 and 2e-6.
    within = np.sqrt(1e-5 / 3)
    assert found.mean_error == pytest.approx(1.197 * within * np.sqrt(1 / 3 + 1 / 2), rel=0.05)


def test_equal_kinds_do_not_differ():
    """Over 40 campaigns of equal kinds about 68 per cent of differences are within 1 sigma."""
    kinds = {name: star.kind for name, star in STARS.items()}
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(40):
        levels = {name: rng.normal(0, 0.01) for name in kinds}
        # The variance between stars is not used, so a short way through is enough.
        options = CombineOptions(effects=RandomEffectsOptions(n_nodes=8, passes=1))
        found = group_difference(combine_order(grey_curves(levels), options).effects, kinds)
        inside.append(abs(found.mean) < found.mean_error)
    assert 0.55 <= np.mean(inside) <= 0.82


def test_kinds_need_stars(grey):
    """A comparison with a kind that no star has is refused with both numbers."""
    with pytest.raises(SossInputError, match="3 and 0"):
        group_difference(grey.effects, KINDS, ("hot", "cool"))


def test_influence_of_a_star():
    """Leaving out a star moves the mean by its distance from the others over the number."""
    influence = leave_one_star_out(grey_curves(LEVELS))
    others = 1 + np.mean([v for k, v in LEVELS.items() if k != "d"])
    wanted = (1 + np.mean(list(LEVELS.values()))) / others - 1
    np.testing.assert_allclose(influence["d"], wanted, atol=1e-4)
    assert set(influence) == set(LEVELS)


def test_influence_needs_two_stars():
    """With one star there is no mean without it."""
    with pytest.raises(SossInputError, match="single star"):
        leave_one_star_out(grey_curves({"a": 0.0}))


def test_budget_adds_up():
    """Stars, observations and the factor for few stars make up the systematic error."""
    curves, _ = campaign(21, smooth=True)
    combined = combine_order(curves)
    left, right = error_budget(combined, [(0.9, 1.9), (2.1, 2.8)])
    parts = left.small_number * np.hypot(left.stars, left.observations)
    assert left.systematic == pytest.approx(parts, rel=0.15)
    assert left.total == pytest.approx(np.hypot(left.systematic, left.statistical), rel=0.01)
    assert left.n_stars == 5 and right.n_stars == 3
    assert error_budget(combined, [(5.0, 6.0)]) == []
