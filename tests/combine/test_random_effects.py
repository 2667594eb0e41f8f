"""The random-effects mean: exact cases, coverage and continuity on simulated campaigns."""

import campaign_curves
import numpy as np
import pytest
from campaign_curves import campaign

from soss_photcal_steps.combine.curves import Curve, stack_curves
from soss_photcal_steps.combine.means import clipped_mean, weighted_mean
from soss_photcal_steps.combine.random_effects import RandomEffectsOptions, random_effects
from soss_photcal_steps.errors import SossInputError

X = np.linspace(0.9, 2.8, 400)


def star(name, value, *, observation="1/1", error=1e-4, **changes):
    """Give a smooth curve of one star."""
    return Curve(
        star=name,
        observation=observation,
        order=1,
        wavelength=X,
        ratio=np.broadcast_to(value, X.shape),
        stat_error=np.full(X.shape, error),
        smooth=True,
        **changes,
    )


def combine(curves, **options):
    """Combine curves."""
    return random_effects(stack_curves(curves), RandomEffectsOptions(**options))


@pytest.mark.parametrize("scales", ["smooth", "grey", "none"])
def test_stars_count_the_same(scales):
    """Five curves of one star weigh no more than one where stars differ by more than errors."""
    curves = [star("a", 0.97), star("b", 1.02), star("c", 1.00)]
    curves += [star("c", 1.0, observation=f"1/{i}", error=1e-5) for i in range(2, 6)]
    result = combine(curves, star_scales=scales)
    np.testing.assert_allclose(result.mean.value, (0.97 + 1.02 + 1.0) / 3, rtol=3e-4)


@pytest.mark.parametrize("scales", ["smooth", "none"])
def test_error_of_grey_stars(scales):
    """The systematic error is the scatter of the stars over their root, times 1.14 for five."""
    levels = np.array([-0.01, 0.004, 0.0, 0.012, -0.006])
    result = combine([star(f"s{i}", 1 + v) for i, v in enumerate(levels)], star_scales=scales)
    textbook = np.std(levels, ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(result.star_sigma, np.std(levels, ddof=1), rtol=0.01)
    ratio = result.mean.sys_error / textbook
    assert 1.05 < np.median(ratio) < 1.16
    assert result.scale_error == pytest.approx(np.median(result.mean.sys_error), rel=0.25)


def test_equal_stars_leave_statistical_errors():
    """If stars agree within their noise the systematic error is none to speak of."""
    rng = np.random.default_rng(1)
    curves = [
        Curve(
            star=f"s{i}",
            observation="1/1",
            order=1,
            wavelength=X,
            ratio=1 + rng.normal(0, 0.01, X.size),
            stat_error=np.full(X.shape, 0.01),
        )
        for i in range(5)
    ]
    result = combine(curves)
    assert np.median(result.mean.sys_error) < 0.002
    np.testing.assert_allclose(result.mean.stat_error, 0.01 / np.sqrt(5), rtol=0.15)


def test_a_single_star_has_the_assumed_error():
    """With one star nothing tells its error, and the assumed one is quoted."""
    result = combine([star("a", 0.97)], lone_star_sigma=0.02)
    np.testing.assert_allclose(result.mean.sys_error, 0.02, rtol=0.01)
    np.testing.assert_allclose(result.mean.value, 0.97)


def test_observations_of_one_star_differ_too():
    """Scatter between the observations of one star is told from that between stars."""
    rng = np.random.default_rng(4)
    curves = []
    for s in range(8):
        level = rng.normal(0, 0.01)
        curves += [
            star(f"s{s}", 1 + level + rng.normal(0, 0.003), observation=f"1/{j}") for j in range(6)
        ]
    result = combine(curves)
    assert np.median(result.observation_sigma) == pytest.approx(0.003, rel=0.3)
    assert np.median(result.star_sigma) == pytest.approx(0.01, rel=0.5)


@pytest.mark.parametrize("scales", ["smooth", "grey"])
def test_absent_grey_star_leaves_its_scale(scales):
    """Where a star ends that is 2 per cent off the mean stays where it was."""
    curves = [star(f"s{i}", 1 + v) for i, v in enumerate([-0.01, 0.004, 0.0, -0.006])]
    curves.append(star("short", 1.02, valid=X < 1.9))
    value = combine(curves, star_scales=scales).mean.value
    jump = value[np.argmax(X >= 1.9)] - value[np.argmax(X >= 1.9) - 1]
    assert abs(jump) < 1e-4
    assert abs(value[-1] - value[0]) < 1e-3
    textbook = combine(curves, star_scales="none").mean.value
    assert np.abs(np.diff(textbook)).max() == pytest.approx(0.023 / 5, rel=0.05)


def test_error_grows_where_stars_are_missing():
    """Beyond the end of two of five stars the systematic error is larger."""
    curves, _ = campaign(1, smooth=True)
    stacked = stack_curves(curves)
    error = random_effects(stacked).mean.sys_error / random_effects(stacked).star_sigma
    x = stacked.wavelength
    assert np.median(error[x > 2.5]) > 1.1 * np.median(error[(x > 1.0) & (x < 1.8)])


def test_unmasked_contamination_is_left_out():
    """A feature of 10 per cent in each curve, masked by nobody, moves the mean by 0.2 at most."""
    clean, _ = campaign(2)
    dirty, _ = campaign(2, contamination=0.1)
    options = RandomEffectsOptions()
    a = random_effects(stack_curves(clean), options).mean.value
    b = random_effects(stack_curves(dirty), options).mean.value
    assert np.percentile(np.abs(b / a - 1), 99.5) < 2e-3
    plain = [np.nanmean(stack_curves(c).ratio, axis=0) for c in (clean, dirty)]
    assert np.abs(plain[1] / plain[0] - 1).max() > 0.01


def test_result_does_not_depend_on_the_order_of_curves():
    """Curves in another order give the same mean and errors."""
    curves, _ = campaign(3, smooth=True)
    a = random_effects(stack_curves(curves)).mean
    b = random_effects(stack_curves(curves[::-1])).mean
    np.testing.assert_allclose(a.value, b.value, rtol=1e-7)
    np.testing.assert_allclose(a.sys_error, b.sys_error, rtol=1e-5)


def test_scaling_all_curves_scales_the_mean():
    """Curves that are all 1.3 times as high give a mean 1.3 times as high, with equal errors."""
    curves, _ = campaign(3, smooth=True)
    stacked = stack_curves(curves)
    larger = stack_curves(
        [
            Curve(**(vars(c) | {"ratio": 1.3 * c.ratio, "stat_error": 1.3 * c.stat_error}))
            for c in curves
        ]
    )
    a, b = random_effects(stacked).mean, random_effects(larger).mean
    np.testing.assert_allclose(b.value, 1.3 * a.value, rtol=1e-9)
    np.testing.assert_allclose(b.total_error, a.total_error, rtol=1e-6)


def test_nothing_valid_is_refused():
    """Curves without a valid pixel are refused with the order."""
    with pytest.raises(SossInputError, match="Order 1"):
        combine([star("a", 1.0, valid=np.zeros(X.size, bool))])


@pytest.mark.parametrize("word", ["star_scales", "variance"])
def test_unknown_words_are_refused(word):
    """An unknown option is refused, and the message says which are known."""
    with pytest.raises(SossInputError, match=word):
        RandomEffectsOptions(**{word: "magic"})


@pytest.mark.parametrize("order", [1, 2])
def test_errors_cover_the_truth(order, monkeypatch):
    """Over 60 campaigns 1-sigma errors cover the truth as claimed, the weighted mean's do not."""
    grid = np.linspace(0.835, 2.835, 300) if order == 1 else np.linspace(0.555, 1.105, 300)
    monkeypatch.setitem(campaign_curves.WAVELENGTH, order, grid)
    low, high = (0.9, 2.8) if order == 1 else (0.63, 0.94)
    inside = (grid > low) & (grid < high)
    covered, weighted, clipped, off = [], [], [], []
    for seed in range(60):
        curves, truth = campaign(1000 + seed, order, smooth=True)
        stacked = stack_curves(curves)
        mean = random_effects(stacked).mean
        off.append(np.abs(mean.value / truth - 1)[inside])
        covered.append(np.mean(off[-1] < mean.total_error[inside]))
        classical = weighted_mean(stacked.ratio, stacked.stat_error, stacked.n_frames)
        error = np.abs(classical.value / truth - 1)[inside]
        weighted.append(np.mean(error < classical.total_error[inside]))
        classical = clipped_mean(stacked.ratio)
        error = np.abs(classical.value / truth - 1)[inside]
        clipped.append(np.mean(error < classical.total_error[inside]))
    # Wavelengths of one campaign hang together, so 60 campaigns know it to 0.04.
    assert 0.60 < np.mean(covered) < 0.76
    assert np.mean(weighted) < 0.15
    assert np.mean(clipped) < np.mean(covered)
    assert np.median(off) < 0.0035
