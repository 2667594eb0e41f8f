"""Preparation of the template library."""

import numpy as np
import pytest
from numpy.polynomial.legendre import Legendre

from soss_photcal_steps.background.sky import ROWS_PER_BIN, make_blocks
from soss_photcal_steps.background.templates import prepare_templates, shape_modes, tilt_shapes
from soss_photcal_steps.simulate import make_library


@pytest.fixture(scope="module")
def data():
    """Give three templates of SUBSTRIP96."""
    return make_library(3, 5, subarray="SUBSTRIP96").data


def test_levels_and_parts_rebuild_the_template(data):
    """Left and right parts times their levels add up to the binned template, with unit means."""
    templates = prepare_templates(data)
    mean = data.reshape(3, 48, 2, 512, 4).mean(axis=(2, 4))
    rebuilt = np.einsum("ks,ksyx->kyx", templates.levels, templates.binned)
    np.testing.assert_allclose(rebuilt, mean, rtol=2e-5)
    columns = np.arange(2048)
    for k in range(3):
        for side, here in ((0, columns < 650), (1, columns > 900)):
            bins = here[::4]
            assert templates.levels[k, side] == pytest.approx(data[k][:, here].mean(), rel=0.12)
            assert np.abs(templates.binned[k, 1 - side][:, bins]).max() < 1e-5
    assert templates.valid.all()


@pytest.mark.parametrize("width", [4, 48, 5000])
def test_block_sums_are_those_of_all_bins(data, width):
    """For narrow, wide and very wide blocks, sums by side equal those over all bins."""
    templates = prepare_templates(data)
    ny, nb = templates.binned.shape[2:]
    blocks = make_blocks(2.0 * np.arange(ny), nb, 4, (690, 720), height=8, width=width)
    weight = np.random.default_rng(1).integers(0, 9, (ny, nb)).astype(np.float32)
    expected = np.zeros((3, 2, 6, len(blocks.bin_edges)))
    stops = [*blocks.bin_edges[1:], nb]
    for row in range(6):
        for column, (first, stop) in enumerate(zip(blocks.bin_edges, stops, strict=True)):
            here = slice(8 * row, 8 * row + 8), slice(first, stop)
            part = templates.binned[:, :, *here].astype(float) * weight[here]
            expected[:, :, row, column] = part.sum(axis=(2, 3))
    assert blocks.shape == expected.shape[2:]
    found = templates.block_sums(blocks, weight)
    np.testing.assert_allclose(found, expected.reshape(3, 2, -1), rtol=2e-6, atol=1e-6)


def test_background_scales_the_sides(data):
    """Weights of 2 and 3 multiply the two sides of a template, with a monotonic change between."""
    templates = prepare_templates(data)
    weights = np.zeros((3, 2))
    weights[1] = 2, 3
    ratio = templates.background(weights) / data[1]
    np.testing.assert_allclose(ratio[:, :600], 2, rtol=1e-5)
    np.testing.assert_allclose(ratio[:, 900:], 3, rtol=1e-5)
    assert (np.diff(ratio, axis=1) > -1e-5).all()
    weights[2] = 0.5, 0.25
    two = templates.background(weights)
    np.testing.assert_allclose(two[:, :600], (2 * data[1] + 0.5 * data[2])[:, :600], rtol=1e-5)
    np.testing.assert_allclose(two[:, 900:], (3 * data[1] + 0.25 * data[2])[:, 900:], rtol=1e-5)


def test_tilt_multiplies_by_legendre_polynomials(data):
    """A tilt of 0.1 P1 on the left side is a linear factor from 0.9 to 1.1 up to the break."""
    templates = prepare_templates(data)
    weights = np.array([[1.0, 1.0], [0, 0], [0, 0]])
    ratio = templates.background(weights, np.array([[0.1, 0.0], [0.0, 0.0]])) / data[0]
    expected = 1 + 0.1 * (2 * np.arange(600) / 705 - 1)
    np.testing.assert_allclose(ratio[:, :600], np.tile(expected, (96, 1)), rtol=1e-5)
    np.testing.assert_allclose(ratio[:, 900:], 1, rtol=1e-5)


def test_tilt_shapes_are_legendre():
    """The shapes equal numpy's Legendre polynomials on either side."""
    columns = np.array([0.0, 300.0, 705.0, 1376.5, 2048.0])
    shapes = tilt_shapes(columns, 4)
    assert shapes.shape == (2, 4, 5)
    for d in range(4):
        left = Legendre.basis(d + 1)(2 * columns[:3] / 705 - 1)
        np.testing.assert_allclose(shapes[0, d, :3], left, atol=1e-12)
        assert shapes[1, d, 3] == pytest.approx(Legendre.basis(d + 1)(0.0), abs=1e-12)
        assert shapes[1, d, 4] == pytest.approx(1)


@pytest.mark.parametrize(("ny", "nx"), [(96, 2048), (95, 2047), (61, 2045)])
def test_unbinned_covers_every_shape(data, ny, nx):
    """`unbinned` has the image's shape where lines fill no bin, and the right level."""
    templates = prepare_templates(data[:, :ny, :nx])
    levels = np.zeros((len(data), 2))
    levels[0] = templates.levels[0]
    image = templates.unbinned(templates.on_bins(levels), nx)
    assert image.shape == (ny, nx)
    # Within a bin the edge itself is steep.
    away = np.r_[0:670, 760:nx]
    np.testing.assert_allclose(image[:, away], data[0, :ny, away].T, rtol=0.01)


def test_sum_on_bins_is_that_of_the_pixels(data):
    """Bins of weighted, tilted templates agree with binned pixels within 0.1 per cent."""
    templates = prepare_templates(data)
    rng = np.random.default_rng(0)
    levels = rng.uniform(0.5, 2.0, (len(data), 2))
    tilt = rng.normal(0, 0.02, (2, 6))
    binned = templates.on_bins(levels, tilt)
    image = templates.background(levels / templates.levels, tilt)
    ny, nb = binned.shape
    expected = image[: ny * ROWS_PER_BIN, : nb * templates.factor]
    expected = expected.reshape(ny, ROWS_PER_BIN, nb, templates.factor).mean(axis=(1, 3))
    away = np.r_[0:165, 195:nb]
    np.testing.assert_allclose(binned[:, away], expected[:, away], rtol=1e-3)


def test_missing_pixels_are_marked_and_do_not_enter(data):
    """NaN, zero and negative pixels are not valid, and move the levels by under 1 per cent."""
    broken = data.copy()
    rng = np.random.default_rng(0)
    hole = rng.random(broken[1].shape) < 0.05
    broken[1][hole] = rng.choice([np.nan, 0.0, -50.0], hole.sum())
    broken[0, :, 3] = np.inf
    before = broken.copy()
    templates = prepare_templates(broken)
    np.testing.assert_array_equal(broken, before)
    hole[:, 3] = True
    np.testing.assert_array_equal(templates.valid, ~hole)
    assert np.isfinite(templates.binned).all()
    np.testing.assert_allclose(templates.levels, prepare_templates(data).levels, rtol=0.01)


def test_selected_rows_only(data):
    """With `select` only those rows are binned, while images and breaks stay whole."""
    rows = np.arange(20, 60)
    part, whole = prepare_templates(data, select=rows), prepare_templates(data[:, 20:60])
    assert part.images.shape == data.shape
    assert part.valid.shape == (40, 2048)
    np.testing.assert_allclose(part.levels, whole.levels, rtol=2e-3)


@pytest.mark.parametrize("side", [slice(0, 900), slice(600, 2048)])
def test_template_without_a_side_is_refused(data, side):
    """A template that has nothing on one side of the break is refused with its number."""
    broken = data.copy()
    broken[2, :, side] = np.nan
    with pytest.raises(ValueError, match="template 2 has no positive values on one side"):
        prepare_templates(broken)


def test_shape_modes_are_principal_components():
    """Two orthogonal departures of known size come back as modes of that scatter."""
    x = np.linspace(-1, 1, 400)
    one, two = np.sqrt(3) * x, np.sqrt(5) * 0.5 * (3 * x * x - 1)
    a, b = np.array([2, -2, 1, -1, 0, 0.0]), np.array([0.1, 0.1, -0.2, -0.2, 0.1, 0.1])
    side = 1 + 0.02 * (np.outer(a, one) + np.outer(b, two))
    modes = shape_modes(side, 4)
    np.testing.assert_allclose(
        modes.sigma, 0.02 * np.sqrt([(a**2).sum() / 5, (b**2).sum() / 5]), rtol=0.01
    )
    shapes = modes.vectors @ side
    np.testing.assert_allclose(np.sqrt((shapes**2).mean(axis=1)), 1, rtol=1e-6)
    np.testing.assert_allclose(np.abs(shapes[0]), np.abs(one), atol=0.05)
    assert len(shape_modes(np.ones((5, 30)), 4).sigma) == 0
    assert len(shape_modes(side, 1).sigma) == 1
