"""Curves and their common grid."""

import numpy as np
import pytest

from soss_photcal_steps.combine.curves import Curve, common_grid, curve_from_ratio, stack_curves
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.ratio.order import Mask, OrderRatio


def curve(wavelength, ratio=1.0, **changes):
    """Give a curve with plain errors."""
    wavelength = np.asarray(wavelength, float)
    ratio = np.broadcast_to(np.asarray(ratio, float), wavelength.shape)
    given = dict(star="A", observation="1/1", order=1, stat_error=np.full(wavelength.shape, 0.01))
    return Curve(wavelength=wavelength, ratio=ratio, **(given | changes))


def test_bad_values_are_never_valid():
    """A pixel whose ratio is not finite or not positive, or has no error, is not valid."""
    one = curve(
        [1, 2, 3, 4, 5],
        [1, np.nan, -1, 1, 1],
        stat_error=np.array([0.1, 0.1, 0.1, np.nan, 0.1]),
        valid=np.array([True, True, True, True, False]),
    )
    assert one.valid.tolist() == [True, False, False, False, False]
    assert one.valid_range == (1.0, 1.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(wavelength=[2, 1, 3]), "rise strictly"),
        (dict(stat_error=np.ones(2)), "one length"),
        (dict(n_frames=0), "0 frames"),
    ],
)
def test_impossible_curves_are_refused(changes, words):
    """A curve that cannot be is refused with a sentence that names the star."""
    with pytest.raises(SossInputError, match=words) as caught:
        curve(**(dict(wavelength=[1, 2, 3]) | changes))
    assert "A 1/1 order 1" in str(caught.value)


def test_common_grid_covers_all():
    """The common grid has the pixels of the finest curve and reaches the ends of the others."""
    fine = curve(np.linspace(1.0, 2.0, 101))
    wide = curve(np.linspace(0.9, 2.1, 61), observation="1/2")
    grid = common_grid([wide, fine])
    assert np.all(np.diff(grid) > 0)
    assert grid[0] == pytest.approx(0.9) and grid[-1] == pytest.approx(2.1)
    assert set(fine.wavelength) <= set(grid)


def test_resampling_keeps_a_line_and_its_noise():
    """A straight line is resampled exactly, midway errors shrink by the square root of two."""
    x = np.linspace(1.0, 2.0, 11)
    stacked = stack_curves([curve(x, 1 + x)], x[:-1] + 0.05)
    np.testing.assert_allclose(stacked.ratio[0], 2.05 + np.arange(10) / 10)
    np.testing.assert_allclose(stacked.stat_error[0], 0.01 / np.sqrt(2))
    fit = stack_curves([curve(x, 1 + x, smooth=True)], x[:-1] + 0.05)
    np.testing.assert_allclose(fit.stat_error[0], 0.01)


def test_nothing_is_extrapolated_or_bridged():
    """Points beyond the ends, or beside a pixel that is not valid, have no value."""
    x = np.linspace(1.0, 2.0, 11)
    valid = np.arange(11) != 5
    stacked = stack_curves(
        [curve(x, valid=valid)], np.array([0.95, 1.0, 1.32, 1.47, 1.5, 1.6, 2.1])
    )
    assert np.isfinite(stacked.ratio[0]).tolist() == [False, True, True, False, False, True, False]


def test_orders_and_repeats_are_refused():
    """Curves of two orders, or the same observation twice, are not stacked."""
    x = np.linspace(1, 2, 11)
    with pytest.raises(SossInputError, match="orders"):
        stack_curves([curve(x), curve(x, order=2)])
    with pytest.raises(SossInputError, match="more than once: A 1/1"):
        stack_curves([curve(x), curve(x)])


def test_curves_of_a_ratio_product():
    """The raw ratio is taken at good pixels only, the fit wherever there is one."""
    x = np.linspace(1, 2, 5)
    nothing = np.ones(5)
    item = OrderRatio(
        order=1,
        wavelength=x,
        observed=nothing,
        observed_error=nothing,
        n_used=np.ones(5, int),
        model=nothing,
        model_stat_error=nothing,
        model_sys_error=nothing,
        ratio=np.full(5, 0.9),
        ratio_error=np.full(5, 0.02),
        mask=np.array([0, Mask.PASCHEN, 0, 0, 0], np.uint32),
        fit=np.array([0.95, 0.95, 0.95, 0.95, np.nan]),
        fit_error=np.full(5, 0.001),
    )
    raw = curve_from_ratio(item, "A", "1/1", use="ratio")
    fit = curve_from_ratio(item, "A", "1/1")
    assert raw.valid.tolist() == [True, False, True, True, True] and not raw.smooth
    assert fit.valid.tolist() == [True, True, True, True, False] and fit.smooth
    with pytest.raises(SossInputError, match="'spline'"):
        curve_from_ratio(item, "A", "1/1", use="spline")
