"""Variance between stars, and its degrees of freedom."""

import numpy as np
import pytest

from soss_photcal_steps.combine.correlation import Member, estimate_correlation, gls_mean
from soss_photcal_steps.combine.variance import (
    degrees_of_freedom,
    pooled_variance,
    small_number_factor,
)

NODES = np.linspace(1.0, 2.0, 40)


def members(values, sigma):
    """Give members that are observed everywhere, with white noise."""
    seen = np.arange(values.shape[1])
    return [Member(seen, row, np.eye(seen.size) * sigma**2) for row in values]


def one_node(values, errors):
    """Give members of a single node."""
    return [
        Member(np.array([0]), np.array([value]), np.array([[error**2]]))
        for value, error in zip(values, errors, strict=True)
    ]


def test_paule_mandel_solves_its_equation():
    """At the estimate the weighted squares amount to the degrees of freedom."""
    values, errors = np.array([1.0, 1.3, 0.7, 1.1, 1.6]), np.array([0.05, 0.2, 0.1, 0.15, 0.1])
    (tau2,) = pooled_variance([one_node(values, errors)], np.array([1.0]), 1.0)
    weight = 1 / (errors**2 + tau2)
    mean = (weight * values).sum() / weight.sum()
    assert (weight * (values - mean) ** 2).sum() == pytest.approx(4, rel=1e-6)


def test_dersimonian_laird_is_the_textbook_formula():
    """The moment estimate is (Q - (n - 1)) / (S1 - S2 / S1)."""
    values, errors = np.array([1.0, 1.3, 0.7, 1.1, 1.6]), np.array([0.05, 0.2, 0.1, 0.15, 0.1])
    weight = errors**-2.0
    mean = (weight * values).sum() / weight.sum()
    q = (weight * (values - mean) ** 2).sum()
    wanted = (q - 4) / (weight.sum() - (weight**2).sum() / weight.sum())
    group = one_node(values, errors)
    (tau2,) = pooled_variance([group], np.array([1.0]), 1.0, "dersimonian-laird")
    assert tau2 == pytest.approx(wanted)


@pytest.mark.parametrize("method", ["paule-mandel", "dersimonian-laird"])
def test_variance_is_unbiased(method):
    """The mean of 400 estimates from five stars is the true variance within 10 per cent."""
    rng = np.random.default_rng(3)
    estimates = []
    for _ in range(400):
        values = rng.normal(0, 0.01, (5, 1)) + rng.normal(0, 0.003, (5, 40))
        estimates.append(pooled_variance([members(values, 0.003)], NODES, 0.2, method).mean())
    assert np.mean(estimates) == pytest.approx(1e-4, rel=0.1)


def test_equal_stars_have_no_variance():
    """Stars that agree far better than their errors give exactly 0."""
    values = np.random.default_rng(0).normal(0, 1e-5, (5, 40))
    assert np.all(pooled_variance([members(values, 0.01)], NODES, 0.2) == 0)


def test_pooling_keeps_what_changes_slowly():
    """A variance that grows along wavelength is not flattened by the pooling."""
    rng = np.random.default_rng(5)
    profile = np.linspace(0.005, 0.05, 40)
    values = profile * rng.normal(0, 1, (200, 40))
    found = np.sqrt(pooled_variance([members(values, 1e-4)], NODES, 0.1))
    np.testing.assert_allclose(found[5:-5], profile[5:-5], rtol=0.15)


def test_grey_stars_count_once():
    """Five grey stars give four degrees of freedom, whatever the number of wavelengths."""
    group = members(np.zeros((5, 40)), 0.01)
    grey = degrees_of_freedom([group], NODES, 0.2, np.ones((40, 40)))
    rough = degrees_of_freedom([group], NODES, 0.2, np.eye(40))
    np.testing.assert_allclose(grey, 4)
    assert rough.min() > 30


def test_small_number_factor():
    """The factor is the 68.27 per cent quantile of Student's t."""
    found = small_number_factor(np.array([1.0, 4.0, np.inf]))
    np.testing.assert_allclose(found, [1.8373, 1.1416, 1.0], atol=1e-4)


def test_correlation_is_found():
    """Grey stars are found to be grey, stars of smooth shape to be smooth with their length."""
    rng = np.random.default_rng(7)
    grey = rng.normal(0, 0.01, (30, 1)) + np.zeros((30, 40))
    profile = np.full(40, 0.01)
    found = estimate_correlation([members(grey, 1e-4)], 0.01, profile, NODES)
    assert found.matrix[0, -1] > 0.9
    lag = np.abs(NODES[:, None] - NODES) / 0.1 * np.sqrt(3)
    factor = np.linalg.cholesky((1 + lag) * np.exp(-lag) + 1e-9 * np.eye(40))
    smooth = 0.01 * rng.normal(0, 1, (30, 40)) @ factor.T
    found = estimate_correlation([members(smooth, 1e-4)], 0.01, profile, NODES)
    assert found.grey < 0.1 and found.rough < 0.02
    assert found.length == pytest.approx(0.1, rel=0.5)


def test_gls_carries_a_deviation_on():
    """The mean jumps by 1 per cent where one of four stars ends, but not if shapes are known."""
    full, short = np.arange(40), np.arange(20)
    stars = [Member(full, np.zeros(40), np.eye(40) * 1e-10) for _ in range(3)]
    stars.append(Member(short, np.full(20, 0.04), np.eye(20) * 1e-10))
    smooth = np.ones((40, 40)) + np.exp(-np.abs(NODES[:, None] - NODES) / 0.3)
    carried = gls_mean(stars, 1e-4 * smooth).mean
    alone = gls_mean(stars, 2e-4 * np.eye(40)).mean
    np.testing.assert_allclose(carried[:20], 0.01, atol=1e-5)
    assert abs(carried[20] - carried[19]) < 5e-4
    assert alone[19] - alone[20] == pytest.approx(0.01, rel=1e-3)
