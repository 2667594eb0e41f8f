"""The edge of the background, against edges that were put into templates."""

import numpy as np
import pytest
from scipy.special import erf

from soss_photcal_steps.background.breaks import NOMINAL_COLUMN, find_break, right_fraction
from soss_photcal_steps.simulate import make_library
from soss_photcal_steps.simulate.library import BreakShape, break_columns
from soss_photcal_steps.simulate.library import right_fraction as true_fraction


def edge_image(ny=256, nx=2048, column=700.0, tilt=0.03, height=0.1, core=4.0):
    """Make an image with a tilted error function for an edge."""
    x = np.arange(nx)[None, :] - column - tilt * np.arange(ny)[:, None]
    return 3.0 * (1 + height * 0.5 * (1 + erf(x / (np.sqrt(2) * core))))


@pytest.mark.parametrize(
    ("column", "tilt", "height"), [(690.0, 0.03, 0.1), (715.3, -0.02, 0.3), (702.0, 0.0, 0.05)]
)
def test_line_and_height_of_an_edge(column, tilt, height):
    """Line and relative height of an analytic edge are found to 0.3 pixels and 0.002."""
    found = find_break(edge_image(column=column, tilt=tilt, height=height))
    assert found.found
    np.testing.assert_allclose(found.column, column + tilt * np.arange(256), atol=0.3)
    assert found.contrast == pytest.approx(height, abs=2e-3)


@pytest.mark.parametrize(("ny", "nx"), [(256, 2048), (96, 2048), (77, 2046), (96, 1501), (5, 2048)])
def test_profile_of_an_edge(ny, nx):
    """The weight of the right side follows the true error function, for odd shapes too."""
    image = edge_image(ny, nx, height=0.2)
    weight = right_fraction(find_break(image), nx)
    assert weight.shape == (ny, nx)
    np.testing.assert_allclose(weight, (image / 3 - 1) / 0.2, atol=0.03)


@pytest.mark.parametrize(("tail", "share"), [(28.0, 0.32), (12.0, 0.3), (40.0, 0.4), (28.0, 0.0)])
def test_edge_of_the_simulated_library(tail, share):
    """Break and profile of templates with core, tail and structure are right to 1.3 px and 0.02."""
    shape = BreakShape(tail=tail, tail_fraction=share)
    library = make_library(2, 3, break_shape=shape)
    rows = np.arange(256)
    for template in library.data:
        found = find_break(template)
        np.testing.assert_allclose(found.column, break_columns(rows, shape), atol=1.3)
        truth = true_fraction(rows, np.arange(2048.0), shape)
        assert np.abs(right_fraction(found, 2048) - truth).max() < 0.02
        assert np.abs(right_fraction(found, 2048) - truth)[:, :600].max() < 0.01


def test_columns_without_a_value_do_not_hide_the_edge():
    """With 30 columns of NaN in the tail the profile is still right to 0.02."""
    template = make_library(1, 3).data[0].copy()
    template[:, 800:830] = np.nan
    truth = true_fraction(np.arange(256), np.arange(2048.0))
    assert np.abs(right_fraction(find_break(template), 2048) - truth).max() < 0.02


def test_bad_pixels_do_not_move_the_edge():
    """NaN in a tenth of the pixels and noise of one per cent move the line by less than 0.7."""
    rng = np.random.default_rng(1)
    image = edge_image() * rng.normal(1, 0.01, (256, 2048))
    image[rng.random(image.shape) < 0.1] = np.nan
    found = find_break(image)
    assert found.found
    np.testing.assert_allclose(found.column, 700 + 0.03 * np.arange(256), atol=0.7)


@pytest.mark.parametrize("height", [0.0, 0.005, -0.1])
def test_no_edge_gives_the_nominal_column(height):
    """A template without a rising edge gets a sharp step at the nominal column."""
    found = find_break(edge_image(height=height))
    assert not found.found
    assert (found.column == NOMINAL_COLUMN).all()
    weight = right_fraction(found, 2048)
    assert (weight[:, :704] == 0).all()
    assert (weight[:, 706:] == 1).all()


def test_a_template_of_nothing_gives_the_nominal_column():
    """An all-NaN template gives the nominal break and no NaN."""
    found = find_break(np.full((64, 2048), np.nan))
    assert not found.found
    assert np.isfinite(right_fraction(found, 2048)).all()


def test_weight_is_monotonic_and_bounded():
    """The weight rises from 0 to 1 along every row."""
    weight = right_fraction(find_break(edge_image()), 2048)
    assert weight.min() == 0
    assert weight.max() == 1
    assert (np.diff(weight, axis=1) >= -1e-6).all()
