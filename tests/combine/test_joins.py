"""Steps where the contributors change, and the splice."""

import numpy as np
import pytest

from soss_photcal_steps.combine.combine import CombineOptions, combine_order
from soss_photcal_steps.combine.curves import Curve
from soss_photcal_steps.combine.joins import Join, apply_joins, find_joins, splice_curve
from soss_photcal_steps.combine.means import clipped_mean
from soss_photcal_steps.errors import SossInputError

X = np.linspace(0.85, 2.8, 2000)
SHAPE = 0.99 - 0.05 * (X - 0.85)
NAMES = ("a", "b", "c", "d", "e")


def report_curves():
    """Give eight fits of which two end, with the levels that make the steps of section 7.

    A mean of eight drops by 0.03 per cent if a curve ends that lies 8 times as much above the
    others, and one of seven rises by 0.29 per cent if one ends that lies 7 times that below.
    """
    levels = {
        ("BD+60 1753", "1091/2"): 0.001,
        ("BD+60 1753", "stability"): -0.001,
        ("GSPC P330-E", "4498/24"): 0.004,
        ("GSPC P330-E", "6606/24"): -0.004,
        ("GSPC P330-E", "6606/42"): 0.002,
        ("GSPC P177-D", "1538/12"): -0.002,
        ("G191-B2B", "1537/2"): -7 * 0.0029 / 1.0029,
        ("2MASS J17430448+6655015", "1536/9"): 0.0,
    }
    seven = sum(levels.values()) / 7
    eight = (1 + seven) / (1 - 0.0003) - 1
    levels["2MASS J17430448+6655015", "1536/9"] = 8 * eight - 7 * seven
    ends = {"2MASS J17430448+6655015": 1.995, "G191-B2B": 2.005}
    return [
        Curve(
            star=star,
            observation=observation,
            order=1,
            wavelength=X,
            ratio=SHAPE * (1 + level),
            stat_error=np.full(X.shape, 1e-4),
            valid=ends.get(star, 9.0) >= X,
            smooth=True,
        )
        for (star, observation), level in levels.items()
    ]


@pytest.fixture(scope="module")
def combined():
    """Give the combination of the report's eight curves."""
    return combine_order(report_curves(), CombineOptions(method="clipped"))


def test_steps_of_the_report_are_there(combined):
    """The clipped mean steps by -0.03 per cent at 1.995 um and by +0.29 per cent at 2.005 um."""
    first, second = combined.joins["clipped"]
    assert first.wavelength == pytest.approx(1.995, abs=0.001)
    assert second.wavelength == pytest.approx(2.005, abs=0.001)
    assert first.size == pytest.approx(-0.0003, abs=0.00003)
    assert second.size == pytest.approx(0.0029, abs=0.00003)
    assert first.left == ("2MASS J17430448+6655015 1536/9",) and first.right == ()
    assert (first.n_left, first.n_right, second.n_right) == (8, 7, 6)
    before = combined.unjoined["clipped"] / SHAPE
    jumps = before[1:] / before[:-1] - 1
    for join in (first, second):
        assert jumps[join.index - 1] == pytest.approx(join.size, abs=1e-6)


def test_steps_are_gone_after_joining(combined):
    """After joining no mean has a step above 0.001 per cent; the short side is as it was."""
    for name, mean in combined.means.items():
        relative = mean.value / SHAPE
        assert np.nanmax(np.abs(np.diff(relative))) < 1e-5, name
    short = combined.wavelength < 1.99
    np.testing.assert_array_equal(
        combined.means["clipped"].value[short], combined.unjoined["clipped"][short]
    )


def test_random_effects_needs_no_joining(combined):
    """With smooth star scales what is left of the steps is below 0.005 per cent."""
    joins = combined.joins["random_effects"]
    assert len(joins) == 2
    assert max(abs(join.size) for join in joins) < 5e-5


def test_star_scales_none_steps_as_the_textbook():
    """Without star scales the random-effects mean steps too, and is joined like the others."""
    from soss_photcal_steps.combine.random_effects import RandomEffectsOptions

    options = CombineOptions(effects=RandomEffectsOptions(star_scales="none"))
    combined = combine_order(report_curves(), options)
    joins = combined.joins["random_effects"]
    assert max(abs(join.size) for join in joins) > 0.001
    assert all(join.removed for join in joins)
    assert np.nanmax(np.abs(np.diff(combined.mean.value / SHAPE))) < 2e-5


def steps(used, level=(0.0, 0.0, 0.0, 0.0, 0.05), noise=0.0, **options):
    """Give mean, curves and joins of five curves, the last 5 per cent high."""
    rng = np.random.default_rng(1)
    curves = 1 + np.array(level)[:, None] + rng.normal(0, 1, (5, X.size)) * noise
    mean = clipped_mean(np.where(used, curves, np.nan), 9, 9)
    return mean.value, find_joins(X, mean.value, curves, used, NAMES, **options)


def test_flicker_of_clipping_is_no_join():
    """A curve that is clipped in single pixels, in a quarter of all, makes no join."""
    used = np.ones((5, X.size), bool)
    used[4] = np.random.default_rng(2).random(X.size) > 0.25
    assert steps(used, valid=np.ones_like(used), clip_run=64)[1] == []


def test_steps_of_noisy_curves_have_an_error():
    """With noise of 0.5 per cent the step is found within three of its errors, not exactly."""
    used = np.ones((5, X.size), bool)
    used[4, 1000:] = False
    _, (join,) = steps(used, noise=0.005)
    assert join.index == 1000
    assert abs(join.size + 0.05 / 5.05) < 3 * join.error
    assert 1e-4 < join.error < 1e-3


def test_a_gap_does_not_shift_what_follows():
    """Where a drifting curve is absent for a while, both steps go and the far side stays."""
    used = np.ones((5, X.size), bool)
    used[4, 600:900] = False
    curves = np.ones((5, X.size))
    curves[4] += np.linspace(0.0, 0.1, X.size)
    mean = clipped_mean(np.where(used, curves, np.nan), 9, 9).value
    joins = find_joins(X, mean, curves, used, NAMES)
    joined = mean * apply_joins(X, joins, (0.0, 1.2))
    assert [join.index for join in joins] == [600, 900]
    # The curves themselves rise by 1e-5 from pixel to pixel.
    assert np.abs(np.diff(joined)).max() < 3e-5
    np.testing.assert_allclose(joined[900:], mean[900:])


@pytest.mark.parametrize(("anchor", "kept"), [((0.0, 1.2), 0), ((2.0, 3.0), -1), ((5.0, 6.0), -1)])
def test_the_anchor_keeps_its_values(anchor, kept):
    """The segment in the anchor range keeps its values, or the nearer end if it lies outside."""
    used = np.ones((5, X.size), bool)
    used[4, 1000:] = False
    mean, joins = steps(used)
    joined = mean * apply_joins(X, joins, anchor)
    assert joined[kept] == mean[kept]
    assert np.ptp(joined) < 1e-9


def test_nothing_in_common():
    """Where no curve is on both sides the step is that of the mean itself."""
    used = np.zeros((5, X.size), bool)
    used[0, :1000] = True
    used[4, 1000:] = True
    _, (join,) = steps(used)
    assert join.size == pytest.approx(0.05)


def test_a_join_says_what_it_is():
    """The line for the record has wavelength, size, error and names."""
    join = Join(5, 1.995, -0.0003, 0.0001, ("a",), ("b",), 8, 8, removed=True)
    assert join.describe() == (
        "1.9950 um: -0.030 +- 0.010 per cent (a ends, b begins; 8 to 8 contributors), removed"
    )


def test_splice_joins_continuously():
    """The curve beyond the splice has its own shape and meets the mean."""
    curve = 0.9 * SHAPE * (1 + 0.1 * np.clip(X - 2.0, 0, None))
    result = splice_curve(X, SHAPE, curve, 2.0)
    assert result.scale == pytest.approx(1 / 0.9)
    assert np.abs(np.diff(result.value / SHAPE)).max() < 2e-4
    np.testing.assert_allclose(result.value[X > 2.0], curve[X > 2.0] / 0.9)
    np.testing.assert_array_equal(result.replaced, X > 2.0)


def test_splice_needs_something_to_join():
    """A curve that begins beyond the splice is refused with the wavelength."""
    with pytest.raises(SossInputError, match="at 2 um"):
        splice_curve(X, SHAPE, np.where(X > 2.1, SHAPE, np.nan), 2.0)
