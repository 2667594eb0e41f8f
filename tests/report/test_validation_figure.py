import numpy as np
import pytest

from soss_photcal_steps.photom.validate import ValidatedOrder
from soss_photcal_steps.ratio.order import Mask
from soss_photcal_steps.report.validation_figure import validation_figure


def order(number=1, ratio=1.005, used=0.95, low=0.9, high=2.8, noise=0.0):
    """Make an order with a constant ratio, one line, one excluded interval and a dead end."""
    x = np.linspace(low, high, 1000)
    ratio = ratio + noise * np.random.default_rng(number).standard_normal(1000)
    mask = np.zeros(1000, np.uint32)
    mask[400:420] |= np.uint32(Mask.PASCHEN)
    mask[600:640] |= np.uint32(Mask.USER)
    mask[-5:] |= np.uint32(Mask.LOW_SIGNAL)
    ratio[400:420], ratio[-5:] = 2.0, 90.0
    model = 1 / x
    small = np.full(1000, 0.001)
    return ValidatedOrder(
        number, x, ratio * model, small, model, small, ratio, small, np.full(1000, used), small,
        mask,
    )  # fmt: skip


def test_medians_that_are_drawn():
    """Points are medians outside the lines; the file in use is beside the new one."""
    figure = validation_figure([order(), order(2, 0.99, 0.9, 0.6, 1.0)], "title", bin_width=0.1)
    top, middle, bottom = figure.axes
    drawn = {c.get_label(): c.lines[0].get_ydata() for c in middle.containers}
    assert np.allclose(drawn["order 1: median, 16 to 84 %"], 1.005)
    assert np.allclose(drawn["order 2: median, 16 to 84 %"], 0.99)
    lines = {line.get_label(): line.get_ydata() for line in bottom.lines}
    assert np.allclose(lines["order 1, new file"], 1.005)
    assert np.allclose(lines["order 1, file in use"], 0.95)
    assert np.allclose(lines["order 2, file in use"], 0.9)
    assert top.get_ylim()[1] == pytest.approx(1.1 * 0.99 / 0.6)


def test_lines_and_intervals_are_shaded():
    """The window of each line and what the user left out is shaded, and named once."""
    middle = validation_figure([order()], "title").axes[1]
    spans = {p.get_label(): p for p in middle.patches}
    window = spans["hydrogen lines, left out"].get_x()
    assert window == pytest.approx(order().wavelength[400])
    assert spans["left out by the user"].get_width() == pytest.approx(39 * 1.9 / 999)


def test_a_noisy_end_does_not_flatten_the_rest():
    """The scale of the ratio stays within some per cent beside an order with 30 per cent noise."""
    noisy = order(2, noise=0.3, low=0.9, high=1.0)
    low, high = validation_figure([order(), noisy], "title").axes[1].get_ylim()
    assert 0.9 < low < 0.98 and 1.02 < high < 1.1


def test_figure_of_nothing():
    """With no order at all there is still a figure that can be drawn."""
    figure = validation_figure([], "nothing")
    figure.canvas.draw()
    assert len(figure.axes) == 3
