"""Wing terms: the image and the design are the same model, and the prior mean is a known wing."""

import numpy as np
import pytest

from soss_photcal_steps.background.light import TraceLight, reference_wing
from soss_photcal_steps.background.sky import Sky, make_blocks
from soss_photcal_steps.background.wingfield import NODES, wing_field
from soss_photcal_steps.background.wings import (
    ROUND,
    WingPrior,
    far_wing,
    wing_basis,
    wing_image,
)

NY, NB = 128, 512
COLUMNS = np.arange(2048)


@pytest.fixture(scope="module")
def model():
    """Give sky, blocks, field and basis of two traces, one of them partly unseen."""
    rows, columns = np.arange(NY) * 2 + 0.5, np.arange(NB) * 4 + 1.5
    weight = np.full((NY, NB), 8.0)
    weight[np.random.default_rng(0).random(weight.shape) < 0.2] = 0
    sky = Sky(np.zeros((NY, NB)), weight, np.ones((NY, NB)), rows, columns, 4)
    blocks = make_blocks(rows, NB, 4, (696, 705))
    lights = [
        TraceLight(1, np.full(2048, 60.0), 1000.0 + COLUMNS / 4, np.ones(2048, bool)),
        TraceLight(2, 150 + 0.1 * COLUMNS, np.full(2048, 300.0), COLUMNS < 1000),
    ]
    field = wing_field(sky, lights, (0.0175, 1.1))
    return sky, blocks, field, wing_basis(sky, blocks, field, WingPrior(), weight)


def test_design_is_the_mean_of_the_image(model):
    """For random coefficients the design times them is the masked block mean of the image."""
    sky, blocks, field, basis = model
    coefficients = np.random.default_rng(1).normal(size=len(basis.mean))
    image = wing_image(field, basis, coefficients, sky)
    n = blocks.sums(sky.weight)
    expected = blocks.sums(image * sky.weight) / n
    # The chromatic terms are taken at the middle of a block.
    found = basis.design @ coefficients
    assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()
    flat = np.where(np.char.startswith(basis.names, "chromatic"), 0, coefficients)
    expected = blocks.sums(wing_image(field, basis, flat, sky) * sky.weight) / n
    np.testing.assert_allclose(basis.design @ flat, expected, rtol=1e-4, atol=1e-5)


def test_prior_mean_is_the_reference_wing(model):
    """With the prior's mean the image is each trace's light times the reference wing."""
    sky, _, field, basis = model
    mean = wing_image(field, basis, basis.mean, sky)
    at = np.rint(sky.columns).astype(int)
    expected = sum(
        light.brightness[at] * reference_wing(np.abs(sky.rows[:, None] - light.rows[at]))
        for light in field.lights
    )
    np.testing.assert_allclose(mean, expected, rtol=1e-4)


def test_sides_have_opposite_signs(model):
    """A side term adds above a trace what it takes below."""
    sky, _, field, basis = model
    coefficients = np.zeros(len(basis.names))
    coefficients[np.array(basis.names) == "side"] = basis.shapes["side"].sum(axis=1)
    image = wing_image(field, basis, coefficients, sky)
    # Below the first trace all is below both of them.
    assert (image[:20, 200:] < 0).all()
    assert (image[-1, :200] > 0).all()


def test_shapes_keep_what_the_prior_allows(model):
    """On the nodes, departures have the stated widths at all distances, to 0.3 per cent."""
    basis, prior = model[3], WingPrior()
    near = (22.0 / NODES) ** 3 * prior.core
    for name, expected in (
        ("side", np.hypot(near, prior.side)),
        ("order2", np.hypot(near / 2, prior.order)),
        ("chromatic1", np.hypot(near / 4, prior.chromatic)),
        ("chromatic3", np.hypot(near / 4, prior.chromatic / 9)),
    ):
        here = np.array(basis.names) == name
        part = basis.prior()[1][np.ix_(here, here)]
        found = np.sqrt(np.diag(basis.shapes[name].T @ part @ basis.shapes[name]))
        np.testing.assert_allclose(found, expected, atol=3e-3)
        assert here.sum() < len(NODES)


def test_a_low_image_has_fewer_chromatic_terms(model):
    """SUBSTRIP96 lies within the wings, so that only two polynomials in the column are fitted."""
    sky, blocks, field, basis = model
    low = Sky(sky.value[:48], sky.weight[:48], sky.variance[:48], sky.rows[:48], sky.columns, 4)
    blocks = make_blocks(low.rows, NB, 4, (696, 705))
    field = wing_field(low, list(field.lights), (0.0175, 1.1))
    few = wing_basis(low, blocks, field, WingPrior(), low.weight)
    assert {name for name in few.names if "chromatic" in name} == {"chromatic1", "chromatic2"}
    assert sum("chromatic" in name for name in set(basis.names)) == 4


def test_prior_covariance(model):
    """The covariance is positive definite, symmetric, and its parts scale with the factors."""
    basis = model[3]
    mean, covariance = basis.prior()
    np.testing.assert_array_equal(mean, basis.mean)
    np.testing.assert_allclose(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > 0
    wider = basis.prior({"side": 3.0})[1]
    np.testing.assert_allclose(wider - covariance, 8 * basis.parts["side"], atol=1e-12)
    np.testing.assert_allclose(sum(basis.parts.values()), covariance)


def test_another_term_leaves_the_others_alone(model):
    """A term that is added comes last, with its own prior, and is in no wing."""
    sky, _, field, basis = model
    extra = np.linspace(-1, 1, len(basis.design))
    larger = basis.with_term("edge", extra, 0.3)
    np.testing.assert_array_equal(larger.design[:, :-1], basis.design)
    np.testing.assert_array_equal(larger.design[:, -1], extra)
    mean, covariance = larger.prior({"shape": 0.5})
    before, inner = basis.prior({"shape": 0.5})
    np.testing.assert_array_equal(mean, np.append(before, 0))
    np.testing.assert_array_equal(covariance[:-1, :-1], inner)
    assert covariance[-1, -1] == pytest.approx(0.09)
    assert (covariance[-1, :-1] == 0).all()
    np.testing.assert_array_equal(
        wing_image(field, larger, np.append(before, 5.0), sky),
        wing_image(field, basis, before, sky),
    )


def test_round_spread_moves_the_mean_alone(model):
    """Expecting a round point spread function changes the mean of the spread, and no width."""
    basis = model[3]
    mean, covariance = basis.prior({ROUND: 1.0})
    spread = np.array(basis.names) == "spread"
    np.testing.assert_array_equal(mean[~spread], basis.mean[~spread])
    # The hat functions have the nearest zone; farther out the whole spread is expected.
    assert mean[spread][0] == 0
    assert (mean[spread][1:] >= 1).all()
    np.testing.assert_array_equal(covariance, basis.prior()[1])


@pytest.mark.parametrize("rows", [np.arange(128) * 2.0, np.r_[:40:2.0, 40:400:8.0]])
def test_masked_sources_have_wings(model, rows):
    """Light in masked bins gets the reference wing across the dispersion, on uneven rows too."""
    blocks = make_blocks(rows, NB, 4, (696, 705))
    weight = np.full((len(rows), NB), 8.0)
    sky = Sky(np.zeros(weight.shape), weight, np.ones(weight.shape), rows, model[0].columns, 4)
    sources = np.zeros(weight.shape)
    line = 10
    sources[line, 100:110] = 5.0
    field = wing_field(sky, list(model[2].lights), None, sources)
    basis = wing_basis(sky, blocks, field, WingPrior(), weight)
    names = np.array(basis.names)
    assert (names == "sources").sum() == 1
    image = wing_image(field, basis, np.where(names == "sources", 1.0, 0.0), sky)
    expected = 5.0 * 2 * reference_wing(np.abs(rows - rows[line]))
    np.testing.assert_allclose(image[:, 105], expected, rtol=1e-6)
    assert not image[:, 95].any()
    mean = blocks.sums(image * weight) / blocks.sums(weight)
    np.testing.assert_allclose(basis.design[:, names == "sources"][:, 0], mean, rtol=1e-6)
    assert "sources" not in model[3].names


def test_unseen_part_of_a_trace_has_terms_of_its_own(model):
    """The hidden columns of order 2 have terms that vanish where it was measured."""
    sky, _, field, basis = model
    assert "outside" in basis.parts
    assert {owner for owner, _ in field.outside} == {1}
    coefficients = np.where(np.array(basis.names) == "outside", 1.0, 0.0)
    image = wing_image(field, basis, coefficients, sky)
    np.testing.assert_allclose(image[:, :249], 0, atol=1e-12)
    at = np.rint(sky.columns).astype(int)[260:]
    distance = np.abs(sky.rows[:, None] - field.lights[1].rows[at])
    np.testing.assert_allclose(image[:, 260:], 300 * reference_wing(distance), rtol=1e-3)


def test_first_round_has_no_spread_light(model):
    """Without a known far wing the terms of the spread light are zero."""
    sky = model[0]
    assert not wing_field(sky, list(model[2].lights)).spread.any()
    assert model[2].spread.any()


def test_blocks_without_sky_are_zero(model):
    """With no good bins the design is zero, not NaN."""
    sky, blocks, field, _ = model
    basis = wing_basis(sky, blocks, field, WingPrior(), np.zeros((NY, NB)))
    assert (basis.design == 0).all()


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_far_wing_is_a_fit_to_the_wing(model, factor):
    """The power law agrees with the wing that it was fitted to, 40 to 200 pixels out."""
    basis = model[3]
    strength, slope = far_wing(basis, factor * basis.mean)
    distance = np.array([50.0, 100.0, 200.0])
    np.testing.assert_allclose(
        strength * distance**-slope, factor * reference_wing(distance), rtol=0.1
    )
    assert slope == pytest.approx(1.1, abs=0.15)
