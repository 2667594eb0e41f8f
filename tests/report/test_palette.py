"""What the figures share."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from soss_photcal_steps.report.palette import bulk_limits, drawable, star_colours


def test_colours_do_not_depend_on_the_order_of_the_stars():
    """The same set of stars has the same colours, and up to eight stars have different ones."""
    names = [f"star {k}" for k in range(8)]
    colours = star_colours(names)
    assert star_colours([*names[::-1], names[0]]) == colours
    assert len(set(colours.values())) == 8


def test_colours_are_seen_on_white():
    """Each colour has a contrast of 3 or more against white, as WCAG asks of graphics."""
    for colour in star_colours(map(str, range(8))).values():
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)
        ]
        luminance = np.dot(linear, [0.2126, 0.7152, 0.0722])
        assert 1.05 / (luminance + 0.05) >= 3


@pytest.mark.parametrize("name", ["$\\frac{a$", "_hidden", "星 星", "a\x00b\ud800", "ü, é, α, ±"])
def test_any_name_can_be_drawn(name):
    """Text with TeX, hidden, foreign and broken characters is drawn as it is, or with marks."""
    figure = Figure()
    axis = figure.subplots()
    axis.plot([0, 1], label=drawable(name))
    figure.suptitle(drawable(name))
    assert len(axis.legend().get_texts()) == 1
    figure.canvas.draw_idle()
    figure.draw_without_rendering()


def test_names_of_stars_are_kept():
    """A name that can be drawn is drawn as it is."""
    assert drawable("BD+60 1753, ü") == "BD+60 1753, ü"


def test_limits_hold_the_bulk():
    """One spike in a thousand values does not set the limits; the bulk is within them."""
    values = np.linspace(0, 1, 1000)
    low, high = bulk_limits(np.append(values, [1e6, np.nan]), values)
    assert -0.3 < low < 0.01 and 0.99 < high < 1.3


def test_limits_of_equal_values_have_room():
    """Equal values, however small, have limits that differ; no value gives none."""
    for value in (0.0, 1.0, 1e-14, -3e9):
        low, high = bulk_limits(np.full(5, value), least=0.0)
        assert low < value < high
    assert bulk_limits(np.array([np.nan])) is None
    assert bulk_limits() is None
