"""The linear model against scipy's Gaussian and direct least squares."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from soss_photcal_steps.background.fit import NormalEquations, robust_weights
from soss_photcal_steps.background.stripes import Stripes, stripe_shapes
from soss_photcal_steps.background.tuning import tune_stripes

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
    alone = equations(p).log_evidences(p["mean"], p["covariance"], bounds)
    for k, fit in enumerate(equations(p).solve(p["mean"], p["covariance"], bounds)):
        a = p["terms"][k]
        c = direct(p, k)[3] + a @ np.diag(bounds) @ a.T
        expected = multivariate_normal.logpdf(p["data"], p["design"] @ p["mean"], c)
        constant = 0.5 * len(p["data"]) * np.log(2 * np.pi)
        assert fit.log_evidence == pytest.approx(expected + constant, abs=1e-7)
        assert alone[k] == pytest.approx(expected + constant, abs=1e-7)


def test_evidence_with_free_amplitudes_is_the_limit_of_wide_priors():
    """Differences of evidence between models equal those of scipy's density with wide priors."""
    p = problem(2)
    fits = equations(p).solve(p["mean"], p["covariance"])
    alone = equations(p).log_evidences(p["mean"], p["covariance"])
    np.testing.assert_allclose(alone, [fit.log_evidence for fit in fits], atol=1e-9)
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


def stripes_of(column, seed=1):
    """Offsets of columns with a covariance of their own."""
    n = int(column.max()) + 1
    root = np.random.default_rng(seed).normal(size=(n, n))
    return Stripes(column, 0.3 * root @ root.T)


def test_stripes_are_a_common_error_of_the_columns():
    """With stripes the solution is that of the full covariance, with the evidence of scipy."""
    p = problem(6)
    column = np.repeat(np.arange(8), 5)
    stripes = stripes_of(column)
    shared = stripes.covariance[column[:, None], column]
    bounds = np.array([2.0, 0.7])
    found = NormalEquations(p["data"], p["variance"], p["design"], p["terms"], stripes)
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


def test_columns_without_blocks_change_nothing():
    """A column of which no block is left has no part, whatever its offset may be."""
    p = problem(6)
    column = np.repeat(np.arange(8), 5)
    stripes = stripes_of(column)
    wider = np.pad(stripes.covariance, (0, 1), constant_values=0.1) + 5 * np.eye(9)
    few = Stripes(column, stripes.covariance + 5 * np.eye(8))
    parts = [
        NormalEquations(p["data"], p["variance"], p["design"], p["terms"], s)
        for s in (few, Stripes(column, wider))
    ]
    one, two = (e.solve(p["mean"], p["covariance"])[0] for e in parts)
    np.testing.assert_allclose(one.amplitudes, two.amplitudes, rtol=1e-9)
    assert one.log_evidence == pytest.approx(two.log_evidence)
    assert np.isinf(parts[1].column_error[8])
    expected = 1 / np.sqrt((1 / p["variance"]).reshape(8, 5).sum(axis=1))
    np.testing.assert_allclose(parts[1].column_error[:8], expected)


def test_offsets_that_are_taken_off_leave_the_noise():
    """What is left of a residual without its offsets has the scatter of the noise."""
    rng = np.random.default_rng(7)
    column = np.repeat(np.arange(60), 16)
    variance = rng.uniform(0.5, 2, column.size)
    quiet = np.sqrt(variance) * rng.normal(size=column.size)
    apart = np.abs(np.subtract.outer(np.arange(60), np.arange(60)))
    stripes = Stripes(column, 1.5**2 * 0.5**apart)
    offset = (np.linalg.cholesky(stripes.covariance) @ rng.normal(size=60))[column]
    left = stripes.cleaned(quiet + offset, variance)
    assert np.std(left / np.sqrt(variance)) == pytest.approx(1, abs=0.03)
    assert np.std(left - quiet) < 0.35 < 1 < np.std(offset)
    few = np.repeat(np.arange(400), 2)
    wild = rng.normal(size=800) + rng.normal(0, 1.5, 400)[few]
    alone = Stripes(few, 1.5**2 * np.eye(400))
    assert np.std(alone.cleaned(wild, np.ones(800))) == pytest.approx(1, abs=0.06)
    np.testing.assert_array_equal(Stripes.none(column, 60).cleaned(quiet, variance), quiet)


def test_shapes_of_stripes_are_means_over_pixels():
    """Covariances of columns of blocks are means of those of pixel columns."""
    edges = (0.0, 48.0, 56.0, 64.0, 102.0)
    alone, shared = stripe_shapes(edges)
    fine = (np.arange(102 * 20) + 0.5) / 20
    kernel = np.exp(-np.abs(fine[:, None] - fine) / 16)
    mean = np.array([(fine >= a) & (fine < b) for a, b in itertools.pairwise(edges)], float)
    mean /= mean.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shared, mean @ kernel @ mean.T, rtol=1e-3)
    np.testing.assert_allclose(alone, np.diag([1 / 48, 1 / 8, 1 / 8, 1 / 38]))


@pytest.mark.parametrize(("alone", "shared"), [(0.0, 0.0), (1.5, 0.0), (0.0, 0.4), (1.0, 0.3)])
def test_the_covariance_of_stripes_is_found(alone, shared):
    """Offsets of 60 columns with a known covariance come back; noise alone has hardly any."""
    rng = np.random.default_rng(11)
    column = np.repeat(np.arange(60), 16)
    shapes = stripe_shapes(tuple(np.arange(61.0) * 8))
    truth = alone**2 * shapes[0] + shared**2 * shapes[1]
    variance = rng.uniform(0.2, 0.5, column.size)
    design = rng.normal(size=(column.size, 3))
    terms = rng.uniform(0.5, 1.5, (2, column.size, 2))
    data = terms[1] @ [2.0, 3.0] + design @ [0.1, -0.1, 0.2]
    data += np.sqrt(variance) * rng.normal(size=column.size)
    data += (np.linalg.cholesky(truth + 1e-12 * np.eye(60)) @ rng.normal(size=60))[column]
    equations = NormalEquations(data, variance, design, terms, Stripes.none(column, 60))
    prior = (np.zeros(3), np.eye(3), None)
    found, _ = tune_stripes(equations, 1, prior, shapes)
    # Another start gives an answer that is hardly less likely, and no size is far more likely.
    again, _ = tune_stripes(equations, 1, prior, shapes, (8, 1))
    others = [a * shapes[0] + b * shapes[1] for a in (0, 0.3, 1, 2, 4) for b in (0, 0.03, 0.1, 0.3)]
    best, second, *rest = (
        equations.with_stripes(c).solve(*prior)[1].log_evidence for c in (found, again, *others)
    )
    assert second > best - 1.5
    assert max(rest) < best + 1
    scale = np.diag(truth).mean()
    assert np.diag(found).mean() == pytest.approx(scale, rel=0.5, abs=0.005)
    beside = np.diag(truth, 1).mean()
    assert np.diag(found, 1).mean() == pytest.approx(beside, rel=0.6, abs=0.01)


def test_other_terms_for_the_same_data():
    """Equations with other terms equal those that are made anew."""
    p = problem(8)
    stripes = stripes_of(np.repeat(np.arange(8), 5))
    terms = np.random.default_rng(9).uniform(0.5, 1.5, (1, 40, 4))
    once = NormalEquations(p["data"], p["variance"], p["design"], p["terms"], stripes)
    found = once.with_terms(terms).solve(p["mean"], p["covariance"])[0]
    anew = NormalEquations(p["data"], p["variance"], p["design"], terms, stripes)
    expected = anew.solve(p["mean"], p["covariance"])[0]
    np.testing.assert_allclose(found.amplitudes, expected.amplitudes, rtol=1e-9)
    assert found.log_evidence == pytest.approx(expected.log_evidence)
    bare = Stripes.none(stripes.column, 8)
    later = NormalEquations(p["data"], p["variance"], p["design"], terms, bare)
    later = later.with_stripes(stripes.covariance).solve(p["mean"], p["covariance"])[0]
    np.testing.assert_allclose(later.amplitudes, expected.amplitudes, rtol=1e-9)
    assert later.log_evidence == pytest.approx(expected.log_evidence)
    with pytest.raises(ValueError, match="without columns"):
        equations(p).with_stripes(stripes.covariance)
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
