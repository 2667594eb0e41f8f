"""Parts of the smooth fit: families of curves, joins of order 2, noise, the test of residuals."""

import numpy as np
import pytest
import report_curves
from numpy.polynomial import legendre
from scipy.interpolate import BSpline, make_lsq_spline, make_smoothing_spline

from soss_photcal_steps.averages import robust_scale
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.ratio.families import (
    Anchor,
    Points,
    family_columns,
    legendre_family,
    spline_family,
)
from soss_photcal_steps.ratio.joins import find_order2_joins
from soss_photcal_steps.ratio.knots import candidate_places, even_places, select_terms
from soss_photcal_steps.ratio.noise import (
    local_scale,
    usable_errors,
)
from soss_photcal_steps.ratio.noise_search import find_noise
from soss_photcal_steps.ratio.options import FitOptions
from soss_photcal_steps.ratio.reject import reject_outliers
from soss_photcal_steps.ratio.sections import bin_test, fit_section
from soss_photcal_steps.ratio.slow_noise import WHITE, SlowNoise, whiten
from soss_photcal_steps.ratio.smooth import smooth_family


def points(n=400, anchor=None, seed=0):
    """Draw a noisy sine with uneven wavelengths and errors."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(1.0, 2.0, n))
    sigma = rng.uniform(0.01, 0.03, n)
    y = np.sin(3 * x) + sigma * rng.normal(size=n)
    return Points(x, y, sigma, 1.0, 2.0, anchor)


def test_legendre_is_that_of_numpy():
    """Series, coefficients and chi squares of all degrees are those of a plain weighted fit."""
    given = points()
    family = legendre_family(given, range(7))
    scaled = 2 * given.x - 3
    for degree in range(7):
        wanted = legendre.legfit(scaled, given.y, degree, w=1 / given.sigma)
        np.testing.assert_allclose(family.coefficients(degree), wanted, atol=1e-10)
        curve = legendre.legval(scaled, wanted)
        np.testing.assert_allclose(family.curves(given.x, [degree])[0], curve, atol=1e-10)
        chi_square = (((given.y - curve) / given.sigma) ** 2).sum()
        assert family.chi_squares[degree] == pytest.approx(chi_square, rel=1e-8)


def test_spline_is_that_of_scipy():
    """A spline on given knots is scipy's least-squares spline."""
    given = points()
    knots = [1.2, 1.5, 1.7]
    family = spline_family(given, 0, knots)
    padded = np.concatenate([[1.0] * 4, knots, [2.0] * 4])
    wanted = make_lsq_spline(given.x, given.y, padded, k=3, w=1 / given.sigma)
    np.testing.assert_allclose(family.coefficients(0), wanted.c, atol=1e-8)
    np.testing.assert_allclose(family.curves(given.x, [0])[0], wanted(given.x), atol=1e-9)


def test_variance_is_that_of_the_scatter():
    """The variances of a series are the scatter of fits to many draws."""
    draws = [points(seed=7)]
    rng = np.random.default_rng(1)
    base = draws[0]
    grid = np.linspace(1.0, 2.0, 9)
    curves = []
    for _ in range(400):
        y = np.sin(3 * base.x) + base.sigma * rng.normal(size=base.x.size)
        family = legendre_family(Points(base.x, y, base.sigma, 1.0, 2.0), [4])
        curves.append(family.curves(grid, [0])[0])
    expected = np.sqrt(family.variances(grid, [0], 1.0)[0])
    np.testing.assert_allclose(np.std(curves, axis=0), expected, rtol=0.15)


@pytest.mark.parametrize("method", ["legendre", "spline"])
def test_anchor(method):
    """A curve with an anchor passes through it, and has its error there."""
    given = points(anchor=Anchor(1.0, 0.3, 0.05))
    if method == "legendre":
        family = legendre_family(given, [1, 4])
    else:
        family = spline_family(given, 5)
    at = np.array([1.0])
    for member in range(len(family.labels)):
        assert family.curves(at, [member])[0, 0] == pytest.approx(0.3, abs=1e-12)
        assert family.variances(at, [member], 1.0)[0, 0] == pytest.approx(0.05**2, rel=1e-6)
        assert len(family.coefficients(member)) == family.sizes[member]


def test_knots_go_to_the_bend():
    """The first knots of a spline are next to the only bend."""
    x = np.linspace(1, 2, 800)
    y = np.abs(x - 1.4) + 1e-3 * np.random.default_rng(0).normal(size=800)
    family = spline_family(Points(x, y, np.full(800, 1e-3), 1.0, 2.0), 6)
    assert min(abs(np.array(family.knots[:2]) - 1.4)) < 0.08
    assert (np.diff(family.chi_squares) <= 0).all()


@pytest.mark.parametrize("anchor", [None, Anchor(1.0, 0.14, 0.01)])
def test_terms_are_chosen_as_a_fit_with_them_says(anchor):
    """Chi squares of the choice of knots are those of full fits with the knots that it gives."""
    given = points(600, anchor)
    places = candidate_places(given.x, given.sigma)
    columns = family_columns(given, places, 3)
    level = given.y - (anchor.value if anchor else 0.0)
    white, _ = given.whiten(np.column_stack([columns, level]))
    chosen, chi_squares = select_terms(white, columns.shape[1] - places.size, 6)
    assert len(chosen) == 6
    for count in range(7):
        family = spline_family(given, 0, places[chosen[:count]])
        assert chi_squares[count] == pytest.approx(family.chi_squares[0], rel=1e-9)


@pytest.mark.parametrize("true", [WHITE, SlowNoise(0.9, 12.0)])
def test_noise_is_found_beside_a_curve(true):
    """White noise is taken for white, and slow noise of 12 pixels for that of 5 to 30 pixels."""
    rng = np.random.default_rng(3)
    place = np.arange(1500)
    covariance = np.eye(1500) + true.share * np.exp(-np.abs(place[:, None] - place) / true.length)
    x = np.linspace(1.0, 2.0, 1500)
    for _ in range(3):
        y = np.sin(3 * x) + 0.01 * np.linalg.cholesky(covariance) @ rng.normal(size=1500)
        given = Points(x, y, np.full(1500, 0.005), 1.0, 2.0)
        noise, width = find_noise(given, 8, 20)
        if true is WHITE:
            assert noise is WHITE
            assert width == pytest.approx(2.0, rel=0.1)
        else:
            assert 5.0 <= noise.length <= 30.0
            # The white part is 0.01 of errors that say 0.005.
            assert 1.6 < width < 2.3


def test_smoothing_spline_is_that_of_scipy():
    """A curve of 8 parameters' worth is the one that scipy makes with that many knots as points."""
    given = points(600)
    family = smooth_family(given, 12)
    x = np.linspace(1.0, 2.0, 500)
    member = family.sizes.index(8)
    # scipy is given the strength, which is found from the sum of squares that it leaves.
    best = np.inf
    for strength in np.logspace(-2, 3, 200):
        other = make_smoothing_spline(given.x, given.y, 1 / given.sigma**2, strength)
        left = float((((given.y - other(given.x)) / given.sigma) ** 2).sum())
        if abs(left - family.chi_squares[member]) < best:
            best, same = abs(left - family.chi_squares[member]), other
    np.testing.assert_allclose(family.curves(x, [member])[0], same(x), atol=3e-4)


def test_smoothing_spline_is_consistent():
    """Curve, residuals, chi square and coefficients of a smoothing spline agree."""
    given = points(600)
    family = smooth_family(given, 12)
    assert family.sizes == tuple(range(3, 13))
    assert (np.diff(family.chi_squares) < 0).all()
    (curve,) = family.curves(given.x, [4])
    np.testing.assert_allclose(family.residuals(4), (given.y - curve) / given.sigma, atol=1e-8)
    assert family.chi_squares[4] == pytest.approx((family.residuals(4) ** 2).sum())
    knots = [*[1.0] * 4, *family.knots, *[2.0] * 4]
    again = BSpline(knots, family.coefficients(4), 3)
    np.testing.assert_allclose(again(given.x), curve, atol=1e-9)
    # Its ends are straight, for whatever bends at an end costs and brings nothing.
    assert (
        np.abs(again.derivative(2)([1.0, 2.0])).max()
        < 0.05 * np.abs(again.derivative(2)(given.x)).max()
    )


def test_smoothing_spline_has_an_honest_variance():
    """Over many drawings the deviation of a smoothing spline is what its variance says."""
    ratio = []
    for seed in range(60):
        given = points(400, seed=seed)
        family = smooth_family(given, 9)
        x = np.linspace(1.02, 1.98, 60)
        off = family.curves(x, [5])[0] - np.sin(3 * x)
        ratio.append(off / np.sqrt(family.variances(x, [5], 1.0)[0]))
    assert 0.85 < np.sqrt(np.mean(np.square(ratio))) < 1.15


def test_even_places_follow_the_weight():
    """There is as much of 1 / sqrt(sigma) between any two places."""
    x = np.linspace(0, 1, 10001)
    sigma = np.where(x < 0.5, 1.0, 16.0)
    places = even_places(x, sigma, 4)
    np.testing.assert_allclose(places, [0.125, 0.25, 0.375, 0.5], atol=1e-3)


@pytest.mark.parametrize("name", ["bd60d1753 2", "1743045 2", "g191b2b 2", "p177d 2", "p330e 2"])
def test_joins_are_found(name):
    """Peak and minimum are found to some pixels, with images elsewhere and a masked line."""
    shape = report_curves.SHAPES[name]
    truth = dict(shape.nodes)
    for seed in range(20):
        ratio = report_curves.draw(name, seed)
        good = ratio.mask == 0
        found = find_order2_joins(ratio.wavelength[good], ratio.ratio[good], ratio.error[good])
        # The wide flank of P330-E is curved, so that its ends are less sharp.
        near = 0.016 if name.startswith("p330e") else 0.010
        np.testing.assert_allclose(found.joins, [shape.peak, shape.minimum], atol=near)
        assert 0.65 < found.height / (truth[shape.peak] - truth[shape.minimum]) < 1.7


def test_peak_before_the_data():
    """Where the data begin on the flank of the peak there is a minimum alone."""
    ratio = report_curves.draw("p177d 2", 0, zero_orders=0)
    good = (ratio.mask == 0) & (ratio.wavelength > 0.603)
    found = find_order2_joins(ratio.wavelength[good], ratio.ratio[good], ratio.error[good])
    assert found.joins == pytest.approx((0.614,), abs=0.003)


def test_no_joins_without_a_peak():
    """A ratio without a peak, with too few points or beyond the range has no joins."""
    for seed in range(20):
        ratio = report_curves.draw("no peak 2", seed)
        good = ratio.mask == 0
        x, y, error = ratio.wavelength[good], ratio.ratio[good], ratio.error[good]
        assert find_order2_joins(x, y, error).joins == ()
        assert find_order2_joins(x[:20], y[:20], error[:20]).joins == ()
        assert find_order2_joins(x + 0.3, y, error).joins == ()


def test_ranges_of_the_joins_can_be_set():
    """The peak is not looked for outside the range that is given."""
    ratio = report_curves.draw("p177d 2", 0, zero_orders=0)
    good = ratio.mask == 0
    arrays = ratio.wavelength[good], ratio.ratio[good], ratio.error[good]
    found = find_order2_joins(*arrays, (0.55, 0.59), (0.6, 0.62))
    assert all(0.55 <= join <= 0.59 or 0.6 <= join <= 0.62 for join in found.joins)


@pytest.mark.parametrize(("share", "length"), [(0.0, 3.0), (0.3, 1.5), (2.7, 30.0)])
def test_whitening_is_that_of_the_full_covariance(share, length):
    """Products of whitened columns, and the determinant, are those of the inverted covariance."""
    rng = np.random.default_rng(0)
    place = np.cumsum(rng.integers(1, 9, 80)).astype(float)
    columns = rng.normal(size=(80, 4))
    covariance = np.eye(80) + share * np.exp(-np.abs(place[:, None] - place) / length)
    white, determinant = whiten(columns, place, SlowNoise(share, length))
    expected = columns.T @ np.linalg.solve(covariance, columns)
    np.testing.assert_allclose(white.T @ white, expected, rtol=1e-10, atol=1e-10)
    assert determinant == pytest.approx(np.linalg.slogdet(covariance)[1], abs=1e-9)


def test_factor_of_slow_noise():
    """The factor is the variance of a mean of many points over that of independent ones."""
    place = np.arange(3000)
    shared = 0.9 * np.exp(-np.abs(place[:, None] - place) / 12)
    total = (np.eye(3000) + shared).sum() / 3000 / 1.9
    assert SlowNoise(0.9, 12.0).factor == pytest.approx(total, rel=0.01)
    assert WHITE.factor == 1


def test_local_scale_follows_the_noise():
    """Noise that grows tenfold along the curve is followed to a fifth, with wild points in it."""
    rng = np.random.default_rng(0)
    expected = np.linspace(1, 10, 2000)
    values = expected * rng.normal(size=2000)
    values[::40] = 1e4
    assert np.median(np.abs(local_scale(values) / expected - 1)) < 0.2
    assert robust_scale(np.array([])) != robust_scale(np.array([]))


def test_usable_errors():
    """Errors are smoothed, missing ones filled, and only much larger ones stay as they are."""
    rng = np.random.default_rng(0)
    y = rng.normal(1, 0.01, 500)
    error = 0.01 * (1 + 0.2 * rng.normal(size=500))
    error[10], error[20], error[30], error[40] = np.nan, 0, -1, 1.0
    found = usable_errors(y, error)
    assert found[40] == 1
    np.testing.assert_allclose(np.delete(found, 40), 0.01, rtol=0.15)


def test_rejection_of_a_steep_end():
    """A section that bends within a pixel next to its join keeps four in five points there."""
    rng = np.random.default_rng(0)
    x = np.linspace(0.6, 1.0, 850)
    y = 1 - 0.06 * np.maximum(1 - (x - 0.6) / 0.016, 0) + 0.003 * rng.normal(size=850)
    noise = reject_outliers(x, y, np.full(850, 0.003), 4.0, 10, low_join=True)
    assert noise.keep[:40].mean() > 0.8


def test_bin_test():
    """Noise passes in 95 of 100 cases at least; a slow wave of half the noise does not."""
    rng = np.random.default_rng(0)
    wave = 0.5 * np.sin(np.linspace(0, 12, 1500))
    noise = [rng.normal(size=1500) for _ in range(100)]
    assert sum(bin_test(one, 1)[0] for one in noise) >= 95
    assert sum(bin_test(one + wave, 1)[0] for one in noise) <= 5
    assert np.mean([bin_test(one, 1)[1] for one in noise]) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("length", [5.0, 12.0, 30.0])
def test_slow_noise_between_two_that_are_tried_passes(length):
    """Slow noise half a step stronger than the one it is taken for is noise to the test."""
    rng = np.random.default_rng(1)
    place = np.arange(1000)
    taken_for = SlowNoise(0.3, length)
    correlation = np.exp(-np.abs(place[:, None] - place) / length)
    root = np.linalg.cholesky(np.eye(1000) + np.sqrt(3) * taken_for.share * correlation)
    white, _ = whiten(root @ rng.normal(size=(1000, 100)), place, taken_for)
    white /= white.std(axis=0)
    without = sum(bin_test(one, 1)[0] for one in white.T)
    passed = sum(bin_test(one, 1, taken_for.doubt)[0] for one in white.T)
    assert without <= 85
    assert passed >= 90
    assert WHITE.doubt == 1 and 1.3 < taken_for.doubt < 1.5


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"method": "fourier"}, "auto, legendre, spline, smooth, none"),
        ({"sections": "order1"}, "'one', 'order2'"),
        ({"sigma": 0}, "above 0"),
        ({"degree": -1}, "degree"),
        ({"max_knots": -1}, "max_knots"),
        ({"peak_range": (0.6, 0.5)}, "peak_range"),
    ],
)
def test_settings_without_sense(setting, words):
    """A setting that makes no sense is an error that says what would."""
    with pytest.raises(SossInputError, match=words):
        FitOptions(**setting)


@pytest.mark.parametrize("method", ["auto", "legendre", "spline", "smooth"])
@pytest.mark.parametrize("seed", range(6))
def test_few_independent_points_give_finite_errors(method, seed):
    """160 points whose noise is shared over 30 pixels give a curve with finite errors above 0."""
    rng = np.random.default_rng(seed)
    x, place = np.linspace(1.0, 2.0, 160), np.arange(160)
    sigma = np.full(160, 0.01)
    shared = np.exp(-np.abs(np.subtract.outer(place, place)) / 30)
    noise = sigma * (rng.normal(size=160) + 2.7 * np.linalg.cholesky(shared) @ rng.normal(size=160))
    fit = fit_section(x, 1 + noise, sigma, place, x, FitOptions(method=method))
    assert np.isfinite(fit.curve).all()
    assert np.isfinite(fit.error).all()
    assert (fit.error > 0).all()


@pytest.mark.parametrize("setting", [{"degree": 3}, {"knots": (1.5,)}])
def test_smoothing_spline_takes_no_degree_and_no_knots(setting):
    """A setting that a smoothing spline cannot follow is refused with what to take."""
    with pytest.raises(SossInputError, match="take 'spline' for knots"):
        FitOptions(method="smooth", **setting)
