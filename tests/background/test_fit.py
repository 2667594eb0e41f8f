"""The linear model against scipy's Gaussian and direct least squares."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from soss_photcal_steps.background.fit import NormalEquations, Stripes, robust_weights

FEW = settings(max_examples=20, deadline=None, derandomize=True)


def problem(seed=0, n=40, wings=5, models=3, terms=2):
    """Draw data, design, templates and priors."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(wings, wings))
    return dict(
        data=rng.normal(5, 1, n),
        variance=rng.uniform(0.5, 2, n),
        design=rng.normal(size=(n, wings)),
        terms=rng.uniform(0.5, 1.5, (models, n, terms)),
        mean=rng.normal(size=wings),
        covariance=root @ root.T + 0.1 * np.eye(wings),
    )


def equations(p, **changes):
    """Set up the equations of a problem."""
    q = {**p, **changes}
    return NormalEquations(q["data"], q["variance"], q["design"], q["terms"])


def direct(p, model):
    """Generalised least squares with the wing terms in the covariance of the data."""
    a = p["terms"][model]
    c = np.diag(p["variance"]) + p["design"] @ p["covariance"] @ p["design"].T
    y = p["data"] - p["design"] @ p["mean"]
    inverse = np.linalg.inv(a.T @ np.linalg.solve(c, a))
    amplitudes = inverse @ a.T @ np.linalg.solve(c, y)
    rest = y - a @ amplitudes
    return amplitudes, inverse, rest @ np.linalg.solve(c, rest), c


def test_amplitudes_equal_generalised_least_squares():
    """Amplitudes, covariance and cost equal a direct solution with the full covariance."""
    p = problem()
    for k, fit in enumerate(equations(p).solve(p["mean"], p["covariance"])):
        amplitudes, covariance, cost, _ = direct(p, k)
        np.testing.assert_allclose(fit.amplitudes, amplitudes, rtol=1e-8)
        np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-7)
        assert fit.cost == pytest.approx(cost, rel=1e-9)


def test_evidence_with_priors_is_the_gaussian_marginal_likelihood():
    """With bounded amplitudes the evidence is scipy's log density plus the usual constant."""
    p = problem(1)
    bounds = np.array([2.0, 0.7])
    for k, fit in enumerate(equations(p).solve(p["mean"], p["covariance"], bounds)):
        a = p["terms"][k]
        c = direct(p, k)[3] + a @ np.diag(bounds) @ a.T
        expected = multivariate_normal.logpdf(p["data"], p["design"] @ p["mean"], c)
        constant = 0.5 * len(p["data"]) * np.log(2 * np.pi)
        assert fit.log_evidence == pytest.approx(expected + constant, abs=1e-7)


def test_evidence_with_free_amplitudes_is_the_limit_of_wide_priors():
    """Differences of evidence between models equal those of scipy's density with wide priors."""
    p = problem(2)
    fits = equations(p).solve(p["mean"], p["covariance"])
    wide = 1e6
    expected = []
    for k in range(3):
        a = p["terms"][k]
        c = direct(p, k)[3] + wide * a @ a.T
        expected.append(multivariate_normal.logpdf(p["data"], p["design"] @ p["mean"], c))
    found = np.array([f.log_evidence for f in fits])
    np.testing.assert_allclose(np.diff(found), np.diff(expected), atol=1e-3)


def test_infinite_bounds_are_no_bounds():
    """Infinite prior variances change nothing."""
    p = problem(3)
    e = equations(p)
    free = e.solve(p["mean"], p["covariance"])
    with np.errstate(all="raise"):
        bounded = e.solve(p["mean"], p["covariance"], np.full(2, np.inf))
    for one, other in zip(free, bounded, strict=True):
        np.testing.assert_allclose(one.amplitudes, other.amplitudes)
        assert one.log_evidence == pytest.approx(other.log_evidence)


def test_wing_coefficients_minimise_the_cost():
    """For given amplitudes the coefficients equal the ridge solution, and reproduce the cost."""
    p = problem(4)
    e = equations(p)
    fit = e.solve(p["mean"], p["covariance"])[1]
    found = e.coefficients(p["mean"], p["covariance"], 1, fit.amplitudes)
    prior = np.linalg.inv(p["covariance"])
    x = p["design"] / p["variance"][:, None]
    rest = p["data"] - p["terms"][1] @ fit.amplitudes
    expected = np.linalg.solve(x.T @ p["design"] + prior, x.T @ rest + prior @ p["mean"])
    np.testing.assert_allclose(found, expected, rtol=1e-7)
    residual = rest - p["design"] @ found
    away = found - p["mean"]
    cost = (residual**2 / p["variance"]).sum() + away @ prior @ away
    assert fit.cost == pytest.approx(cost, rel=1e-8)


def test_stripes_are_a_common_variance_of_the_columns():
    """With stripes the solution is that of the full covariance, with the evidence of scipy."""
    p = problem(6)
    column = np.repeat(np.arange(8), 5)
    shared = 0.8 * (column[:, None] == column)
    bounds = np.array([2.0, 0.7])
    found = NormalEquations(p["data"], p["variance"], p["design"], p["terms"], Stripes(column, 0.8))
    for k, fit in enumerate(found.solve(p["mean"], p["covariance"])):
        a = p["terms"][k]
        c = direct(p, k)[3] + shared
        y = p["data"] - p["design"] @ p["mean"]
        inverse = np.linalg.inv(a.T @ np.linalg.solve(c, a))
        np.testing.assert_allclose(fit.covariance, inverse, rtol=1e-7)
        np.testing.assert_allclose(fit.amplitudes, inverse @ a.T @ np.linalg.solve(c, y), rtol=1e-8)
    for k, fit in enumerate(found.solve(p["mean"], p["covariance"], bounds)):
        a = p["terms"][k]
        c = direct(p, k)[3] + shared + a @ np.diag(bounds) @ a.T
        expected = multivariate_normal.logpdf(p["data"], p["design"] @ p["mean"], c)
        constant = 0.5 * len(p["data"]) * np.log(2 * np.pi)
        assert fit.log_evidence == pytest.approx(expected + constant, abs=1e-7)


def test_stripes_find_their_variance_and_offsets():
    """Variance and offsets of 60 columns come back, and noise alone has hardly any."""
    rng = np.random.default_rng(7)
    column = np.repeat(np.arange(60), 16)
    variance = rng.uniform(0.5, 2, column.size)
    offset = rng.normal(0, 1.5, 60)[column]
    quiet = np.sqrt(variance) * rng.normal(size=column.size)
    found = Stripes(column).tuned(quiet + offset, variance)
    assert found.variance == pytest.approx(1.5**2, rel=0.4)
    # What is left has the scatter of the noise, also where the offsets follow some of it.
    assert np.std(found.cleaned(quiet + offset, variance) / np.sqrt(variance)) == pytest.approx(
        1, abs=0.03
    )
    few = np.repeat(np.arange(400), 2)
    wild = rng.normal(size=800) + rng.normal(0, 1.5, 400)[few]
    assert np.std(Stripes(few, 1.5**2).cleaned(wild, np.ones(800))) == pytest.approx(1, abs=0.06)
    assert Stripes(column).tuned(quiet, variance).variance < 0.1
    # One column with a source does not set the scale.
    spoiled = Stripes(column).tuned(quiet + offset + 50 * (column == 3), variance)
    assert spoiled.variance < 2 * found.variance


def test_other_terms_for_the_same_data():
    """Equations with other terms equal those that are made anew."""
    p = problem(8)
    stripes = Stripes(np.repeat(np.arange(8), 5), 0.3)
    terms = np.random.default_rng(9).uniform(0.5, 1.5, (1, 40, 4))
    once = NormalEquations(p["data"], p["variance"], p["design"], p["terms"], stripes)
    found = once.with_terms(terms).solve(p["mean"], p["covariance"])[0]
    anew = NormalEquations(p["data"], p["variance"], p["design"], terms, stripes)
    expected = anew.solve(p["mean"], p["covariance"])[0]
    np.testing.assert_allclose(found.amplitudes, expected.amplitudes, rtol=1e-9)
    assert found.log_evidence == pytest.approx(expected.log_evidence)
    assert once.solve(p["mean"], p["covariance"])[0].amplitudes.shape == (2,)


@FEW
@given(st.integers(0, 10**6), st.floats(0.01, 100))
def test_scaled_data_scale_the_amplitudes(seed, factor):
    """Data and wing prior mean times a factor give amplitudes times that factor."""
    p = problem(seed)
    once = equations(p).solve(p["mean"], p["covariance"])
    more = equations(p, data=factor * p["data"]).solve(factor * p["mean"], p["covariance"])
    for one, other in zip(once, more, strict=True):
        np.testing.assert_allclose(other.amplitudes, factor * one.amplitudes, rtol=1e-6, atol=1e-9)


@FEW
@given(st.integers(0, 10**6), st.floats(-10, 10), st.integers(0, 1))
def test_added_template_adds_to_its_amplitude(seed, amount, term):
    """Adding c times a background term to the data adds c to its amplitude alone."""
    p = problem(seed)
    before = equations(p).solve(p["mean"], p["covariance"])[0]
    data = p["data"] + amount * p["terms"][0][:, term]
    after = equations(p, data=data).solve(p["mean"], p["covariance"])[0]
    expected = before.amplitudes + amount * np.eye(2)[term]
    np.testing.assert_allclose(after.amplitudes, expected, atol=1e-7)
    assert after.cost == pytest.approx(before.cost, rel=1e-6, abs=1e-6)


def test_robust_weights_fall_sooner_for_light():
    """Weights are 1 within -3 and 2 sigma, fall as t^-1 below and t^-2 above."""
    t = np.array([-6.0, -3.0, -1.0, 0.0, 2.0, 4.0, 20.0])
    np.testing.assert_allclose(
        robust_weights(2 * t, np.full(7, 2.0)), [0.5, 1, 1, 1, 1, 0.25, 0.01], rtol=1e-12
    )
