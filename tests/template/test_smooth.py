"""The smooth model, of images whose parts are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soss_photcal_steps.template.sides import SmoothOptions
from soss_photcal_steps.template.smooth import (
    break_width,
    fit_smooth_sky,
    nominal_break,
)

ROWS = np.arange(256)


def sky(column=703.0, tilt=0.03, core=3.0, height=1.5, ny=256):
    """Make a background of two straight lines with an edge of known place and width."""
    x, y = np.arange(2048.0), np.arange(ny)
    edge = column + tilt * (y - (ny - 1) / 2)
    fraction = 1 / (1 + np.exp(-np.clip((x - edge[:, None]) / core, -50, 50)))
    left = 3 + 0.2 * (x / 2048) + 0.001 * y[:, None]
    return left + fraction * height * (1 - 0.3 * (x - 705) / 1343)


@given(
    st.floats(697, 711), st.floats(0.0, 0.06), st.floats(1.0, 4.0),
    st.floats(0.5, 2.0),
)  # fmt: skip
@settings(max_examples=8, deadline=None, derandomize=True)
def test_break_is_where_it_was_made(column, tilt, core, height):
    """Place, tilt and width of the edge come out to 0.1 pixels, 0.003 and 0.7 pixels."""
    image = sky(column, tilt, core, height)
    found = fit_smooth_sky(image, np.full(image.shape, 1e4), nominal_break(ROWS)).edge
    assert found.found
    assert found.column.mean() == pytest.approx(column, abs=0.1)
    assert found.tilt == pytest.approx(tilt, abs=3e-3)
    assert found.width == pytest.approx(4 * core, abs=0.7)


def test_model_is_the_sky_with_noise_and_gaps():
    """Noise of 5 per cent and a gap of 40 rows leave errors of less than 0.3 per cent rms."""
    true = sky()
    rng = np.random.default_rng(3)
    image = true * (1 + 0.05 * rng.standard_normal(true.shape))
    weight = 1 / (0.05 * true) ** 2
    weight[100:140, 900:1500] = 0
    image[100:140, 900:1500] = np.nan
    found = fit_smooth_sky(image, weight, nominal_break(ROWS))
    off = found.image / true - 1
    assert np.sqrt(np.mean(off**2)) < 0.003
    assert np.abs(off[100:140, 900:1500]).max() < 0.02
    # The errors that the model gives are those that it has.
    pull = (found.image - true) / found.error
    assert 0.5 < np.sqrt(np.mean(pull[:, 20:600] ** 2)) < 2.0


@pytest.mark.parametrize("seed", range(3))
def test_beyond_the_break_a_side_stands_alone(seed):
    """With noise, no part of one side is left in the other beyond the zone of the break."""
    rng = np.random.default_rng(seed)
    # Noise that is common to a column, as 1/f noise is, makes the profile uneven.
    image = sky() + 0.1 * rng.standard_normal(2048) + 0.1 * rng.standard_normal((256, 2048))
    found = fit_smooth_sky(image, np.full(image.shape, 1e2), nominal_break(ROWS))
    assert found.edge.found
    assert (found.fraction[:, :660] == 0).all()
    assert (found.fraction[:, 810:] == 1).all()
    assert np.array_equal(found.image[:, 810:], found.sides.right[:, 810:])


def test_sky_without_a_break():
    """A sky without an edge is described to 0.1 per cent, and no edge is reported."""
    x = np.arange(2048.0)
    image = np.broadcast_to(3 + 0.5 * (x / 2048) ** 2, (96, 2048)).copy()
    found = fit_smooth_sky(image, np.full(image.shape, 1e2), nominal_break(np.arange(10, 106)))
    assert not found.edge.found
    assert np.abs(found.image / image - 1).max() < 1e-3


def test_a_side_without_pixels_is_refused():
    """If nothing right of the break can be used, the reason is given."""
    image, weight = sky(), np.ones((256, 2048))
    weight[:, 650:] = 0
    with pytest.raises(ValueError, match="no pixel of one side"):
        fit_smooth_sky(image, weight, nominal_break(ROWS))


def test_degree_limits_what_is_followed():
    """A wave of eight periods is followed by a polynomial of degree 16 and not by one of 2."""
    x = np.arange(2048.0)
    image = sky() + 0.1 * np.sin(2 * np.pi * np.clip(x - 900, 0, None) / 500)
    rest = {}
    for degree in (2, 16):
        model = fit_smooth_sky(
            image, np.full(image.shape, 1e2), nominal_break(ROWS), SmoothOptions(4, degree)
        ).image
        rest[degree] = np.std((image - model)[:, 900:])
    assert rest[16] < 0.2 * rest[2]


def test_width_of_an_edge():
    """A step between two pixels has width 1, a ramp over ten pixels 10."""
    assert break_width(np.array([0.0, 0, 1, 1])) == 1
    assert break_width(np.clip(np.arange(30) / 10 - 1, 0, 1)) == pytest.approx(10)
