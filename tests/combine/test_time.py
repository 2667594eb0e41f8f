"""Throughput trend."""

import numpy as np
import pytest
from jwst.photom.time_dependence import (
    exponential_correction,
    linear_correction,
    powerlaw_correction,
)

from soss_photcal_steps.combine.curves import Curve
from soss_photcal_steps.combine.time import Visits, fit_bands, fit_trend, visits_from_curves
from soss_photcal_steps.errors import SossInputError

# 25 visits over three years, as those of BD+60 1753.
MJD = 59770 + np.linspace(0, 1050, 25) + 10 * np.sin(np.arange(25))


def visits(f, error=0.0005, seed=0, scale=0.97):
    """Give visits of a throughput."""
    rng = np.random.default_rng(seed)
    return Visits(MJD, scale * f + rng.normal(0, error, 25), np.full(25, error))


def test_no_trend_is_constant():
    """Without a trend a constant is chosen in at least 13 of 15 series."""
    kinds = [fit_trend(visits(np.ones(25), seed=s)).kind for s in range(15)]
    assert kinds.count("constant") >= 13


def test_linear_trend():
    """A loss of 0.3 per cent a year is found within its error, in jwst's convention."""
    truth = linear_correction(MJD, MJD[0], 0.003)
    fit = fit_trend(visits(truth), t0=MJD[0])
    assert fit.kind == "linear"
    error = np.sqrt(fit.covariance[1, 1])
    assert fit.trend.lossperyear == pytest.approx(0.003, abs=3 * error)
    assert 5e-5 < error < 3e-4
    assert fit.scale == pytest.approx(0.97, abs=0.001)
    np.testing.assert_allclose(fit.throughput(MJD), truth, atol=5e-4)


def test_exponential_trend():
    """A fall of 2 per cent within 100 days or so is found to be exponential."""
    truth = exponential_correction(MJD, MJD[0], 0.02, 120.0, 0.98)
    fit = fit_trend(visits(truth), t0=MJD[0])
    assert fit.kind == "exponential"
    assert fit.trend.tau == pytest.approx(120, rel=0.25)
    assert fit.trend.amplitude + fit.trend.const == pytest.approx(1)
    ours = exponential_correction(MJD, fit.t0, fit.trend.amplitude, fit.trend.tau, fit.trend.const)
    np.testing.assert_allclose(ours, truth, atol=1e-3)


def test_powerlaw_trend():
    """A softened power law is fitted, and jwst's function of its numbers is the truth."""
    value = (365.0 / 20 + 1) ** -0.02
    truth = powerlaw_correction(MJD, MJD[0], value, 20.0, -0.02)
    fit = fit_trend(visits(truth, error=2e-4), t0=MJD[0])
    assert fit.kind == "powerlaw"
    trend = fit.trend
    ours = powerlaw_correction(MJD, fit.t0, trend.year1value, trend.tsoft, trend.alpha)
    np.testing.assert_allclose(ours, truth, atol=1e-3)
    assert trend.throughput(fit.t0) == pytest.approx(1)


def test_an_outlying_visit_does_not_matter():
    """One visit that is 3 per cent low moves the loss by less than its error, and is named."""
    clean = visits(linear_correction(MJD, MJD[0], 0.003))
    ratio = clean.ratio.copy()
    ratio[20] *= 0.97
    a, b = fit_trend(clean), fit_trend(Visits(MJD, ratio, clean.error))
    assert b.kind == "linear"
    assert np.flatnonzero(b.outliers).tolist() == [20] and not a.outliers.any()
    assert abs(b.values[1] - a.values[1]) < np.sqrt(a.covariance[1, 1])


def test_errors_that_are_too_small_are_no_evidence():
    """Visits that scatter ten times their errors have a jitter, and no trend is made of it."""
    fit = fit_trend(Visits(MJD, visits(np.ones(25), error=0.003).ratio, np.full(25, 0.0003)))
    assert fit.kind == "constant" and fit.trend is None
    assert fit.jitter == pytest.approx(0.003, rel=0.5)


def test_error_of_the_loss_is_true():
    """Over 60 series 58 to 78 per cent of losses are within 1 sigma of the truth."""
    truth = linear_correction(MJD, MJD[0], 0.003)
    inside = []
    for seed in range(60):
        fit = fit_trend(visits(truth, seed=seed), t0=MJD[0], kinds=["linear"])
        inside.append(abs(fit.values[1] - 0.003) < np.sqrt(fit.covariance[1, 1]))
    assert 0.55 < np.mean(inside) < 0.82


def test_error_of_the_throughput():
    """The error of the throughput is 0 at t0 and grows with the distance from it."""
    fit = fit_trend(visits(linear_correction(MJD, MJD[0], 0.003)), t0=MJD[0])
    error = fit.throughput_error(np.array([MJD[0], MJD[0] + 365, MJD[0] + 730]))
    assert error[0] == pytest.approx(0, abs=1e-9)
    assert error[2] == pytest.approx(2 * error[1], rel=1e-3)


def test_few_visits_get_a_simple_trend():
    """With four visits on a curve nothing more than a line is tried."""
    few = Visits(MJD[:4], np.array([1.0, 0.97, 0.96, 0.955]), np.full(4, 1e-4))
    fit = fit_trend(few)
    assert fit.kind in ("constant", "linear")
    assert np.isinf(fit.criterion["exponential"])


def test_bands_have_one_reference_day():
    """All bands refer to the first visit of all."""
    late = visits(np.ones(25))
    late = Visits(late.mjd[5:], late.ratio[5:], late.error[5:])
    fits = fit_bands({"order 1": visits(np.ones(25)), "order 2": late}, criterion="bic")
    assert {fit.t0 for fit in fits.values()} == {MJD.min()}


def test_visits_from_curves():
    """The grey ratio of each visit is found in spite of a narrow contamination, by date."""
    x = np.linspace(1.0, 2.0, 500)
    rng = np.random.default_rng(3)
    levels = [1.0, 0.99, 0.98, 1.01]
    curves = []
    for i, level in enumerate(levels):
        ratio = level * (1 - 0.1 * (x - 1)) + rng.normal(0, 0.002, x.size)
        ratio[100 + 30 * i : 130 + 30 * i] += 0.1
        curves.append(Curve("A", f"1/{i}", 1, x, ratio, np.full(x.size, 0.002), mjd=60000.0 - i))
    found = visits_from_curves(curves, 1.1, 1.9)
    assert found.mjd.tolist() == [59997.0, 59998.0, 59999.0, 60000.0]
    assert found.names[0] == "1/3"
    relative = found.ratio[::-1] / found.ratio[-1]
    np.testing.assert_allclose(relative, levels, atol=1.2e-3)
    assert np.all(found.error < 3e-4)


def test_bad_input_is_refused():
    """Two visits, no date, several stars, and unknown words are refused."""
    with pytest.raises(SossInputError, match="three visits"):
        fit_trend(Visits(MJD[:2], np.ones(2), np.ones(2)))
    with pytest.raises(SossInputError, match="cubic"):
        fit_trend(visits(np.ones(25)), kinds=["cubic"])
    with pytest.raises(SossInputError, match="'aic'"):
        fit_trend(visits(np.ones(25)), criterion="aic")
    x = np.linspace(1.0, 2.0, 50)
    plain = [Curve(star, "1/1", 1, x, x, x / 100, mjd=6e4) for star in "AB"]
    with pytest.raises(SossInputError, match="A, B"):
        visits_from_curves(plain)
    with pytest.raises(SossInputError, match="no dates of A 1/1"):
        visits_from_curves([Curve("A", "1/1", 1, x, x, x / 100)])
    with pytest.raises(SossInputError, match="from 3 to 4 um"):
        visits_from_curves(plain[:1], 3.0, 4.0)
