"""Choice and average of the models."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from soss_photcal_steps.background.fit import LinearFit
from soss_photcal_steps.background.select import (
    average_models,
    jackknife,
    least_gain,
    library_modes,
    probabilities,
)
from soss_photcal_steps.background.sky import make_blocks
from soss_photcal_steps.background.templates import prepare_templates, tilt_shapes
from soss_photcal_steps.simulate import make_library

FEW = settings(max_examples=30, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def library():
    """Give six templates of SUBSTRIP96 and their blocks."""
    data = make_library(6, 3, subarray="SUBSTRIP96").data
    templates = prepare_templates(data)
    return templates, make_blocks(np.arange(48) * 2.0 + 10.5, 512, 4, (696, 705))


@FEW
@given(arrays(float, st.integers(1, 20), elements=st.floats(-1e5, 1e5)), st.floats(1e-3, 100.0))
def test_probabilities_are_those_of_bayes(evidence, temperature):
    """Probabilities sum to 1, keep the ranking, and are a softmax without the small ones."""
    p = probabilities(evidence, temperature)
    assert p.sum() == pytest.approx(1)
    assert p[np.argmax(evidence)] == p.max()
    full = np.exp((evidence - evidence.max()) / temperature)
    full[full < 0.03] = 0
    np.testing.assert_allclose(p, full / full.sum(), atol=1e-12)


@FEW
@given(
    arrays(float, st.integers(1, 20), elements=st.floats(-1e5, 1e5)),
    st.floats(0, 100), st.floats(0, 2),
)  # fmt: skip
def test_a_combination_must_gain_a_share_of_the_lead(evidence, margin, share):
    """The least gain is the margin, or the share of the lead over the next template, if more."""
    ranked = sorted(evidence)
    lead = ranked[-1] - ranked[-2] if len(ranked) > 1 else 0.0
    expected = margin if margin > share * lead else share * lead
    assert least_gain(evidence, margin, share) == pytest.approx(expected)


def test_models_that_are_out_get_nothing():
    """An evidence of minus infinity has probability 0."""
    np.testing.assert_array_equal(probabilities(np.array([-np.inf, 3.0, -np.inf]), 3.0), [0, 1, 0])


def test_average_has_the_variance_of_a_mixture():
    """Mean and covariance of the average are those of a mixture of Gaussians."""
    p = np.array([0.3, 0.7, 0.0])
    a = [np.array([1.0, 2.0]), np.array([1.5, 1.8]), np.array([99.0, 99.0])]
    c = [np.diag([0.1, 0.2]), np.array([[0.3, 0.1], [0.1, 0.3]]), np.eye(2)]
    fits = [LinearFit(x, y, 0.0, 0.0) for x, y in zip(a, c, strict=True)]
    average = average_models(fits, None, None, p)
    rng = np.random.default_rng(0)
    draws = np.concatenate(
        [rng.multivariate_normal(a[k], c[k], int(400_000 * p[k])) for k in (0, 1)]
    )
    np.testing.assert_allclose(average.levels, draws.mean(axis=0), atol=4e-3)
    np.testing.assert_allclose(average.covariance, np.cov(draws.T), atol=4e-3)
    np.testing.assert_allclose(average.weights, p[:, None] * np.array(a))
    assert average.tilt is None


def test_modes_span_the_library(library):
    """Mean and modes rebuild each template from sums of templates, left and right apart."""
    templates, blocks = library
    modes = library_modes(templates, blocks, 4, 1.5, 0, 0.01)
    assert (modes.sigma > 0).all()
    assert modes.vectors.shape[1] == 6
    np.testing.assert_allclose(modes.vectors.sum(axis=1), 0, atol=1e-8)
    size = blocks.sums(np.ones(blocks.index.shape))
    terms = np.moveaxis(blocks.sums(templates.binned) / size, -1, 1).astype(float)
    rng = np.random.default_rng(1)
    amplitudes = np.concatenate([[3.0, 4.0], rng.normal(0, 0.05, len(modes.side))])
    columns = modes.terms(terms, blocks.columns)
    weights = modes.weights(amplitudes)
    by_weights = np.einsum("ks,kbs->b", weights, terms)
    np.testing.assert_allclose(columns @ amplitudes, by_weights, rtol=1e-6)
    for side in (0, 1):
        here = terms[0][:, side] > 0.9
        departures = terms[:, here, side] - terms[:, here, side].mean(axis=0)
        basis = columns[here][:, 2:][:, modes.side == side]
        left = departures.T - basis @ np.linalg.lstsq(basis, departures.T, rcond=None)[0]
        assert left.std() < 0.35 * departures.std()


def test_tilts_are_smooth_factors(library):
    """Tilt terms are the mean template times Legendre polynomials, and come back as factors."""
    templates, blocks = library
    modes = library_modes(templates, blocks, 2, 1.5, 3, 0.01)
    terms = np.ones((6, len(blocks.columns), 2))
    columns = modes.terms(terms, blocks.columns)
    shapes = tilt_shapes(blocks.columns, 3)
    n = len(modes.side)
    np.testing.assert_allclose(columns[:, 2 + n : 5 + n].T, shapes[0])
    np.testing.assert_allclose(columns[:, 5 + n :].T, shapes[1])
    amplitudes = np.concatenate([[2.0, 4.0], np.zeros(n), [0.2, 0, 0, 0.4, 0, 0]])
    np.testing.assert_allclose(modes.tilt(amplitudes), [[0.1, 0, 0], [0.1, 0, 0]])
    assert len(modes.prior_sigma) == len(modes.prior_side) == n + 6


@pytest.mark.parametrize("n", [1, 2])
def test_small_libraries_have_no_modes(library, n):
    """Fewer than three templates cannot be combined."""
    templates = prepare_templates(library[0].images[:n])
    assert library_modes(templates, library[1], 4, 1.5, 4, 0.01) is None


def test_jackknife_equals_that_of_a_mean():
    """For one level a side the jackknife gives the textbook variance of a mean of parts."""
    rng = np.random.default_rng(4)
    data = rng.normal(5, 1, 80)
    terms = np.repeat(np.eye(2), 40, axis=0)
    groups = np.tile(np.arange(8), 10)
    prior = (np.zeros(1), np.eye(1), None)
    found = jackknife(data, np.ones(80), np.zeros((80, 1)), terms, groups, prior)
    for side in (0, 1):
        here = slice(40 * side, 40 * side + 40)
        means = [data[here][groups[here] == g].mean() for g in range(8)]
        assert found[side, side] == pytest.approx(np.var(means, ddof=1) / 8, rel=1e-9)


def test_jackknife_of_too_few_parts_is_zero():
    """With fewer than three parts that can be left out nothing is claimed."""
    prior = (np.zeros(1), np.eye(1), None)
    found = jackknife(
        np.ones(10), np.ones(10), np.zeros((10, 1)), np.ones((10, 2)), np.zeros(10, int), prior
    )
    np.testing.assert_array_equal(found, np.zeros((2, 2)))
