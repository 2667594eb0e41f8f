import numpy as np
import pytest

from soss_photcal_steps.report.spectrum_figure import ExtractedOrder, closure_figure, ratio_bins

WAVELENGTH = np.linspace(0.9, 1.4, 501)


def order(number=1, factor=1.02, **kwargs):
    """Make a spectrum that is too high by a factor."""
    expected = 1 / WAVELENGTH
    return ExtractedOrder(number, WAVELENGTH, factor * expected, expected, **kwargs)


def test_ratio_is_missing_where_a_spectrum_is():
    """The ratio is NaN where the flux is NaN or nothing is expected, and right elsewhere."""
    flux, expected = np.array([1.1, np.nan, 2.0]), np.array([1.0, 1.0, 0.0])
    ratio = ExtractedOrder(1, np.array([1.0, 1.1, 1.2]), flux, expected).ratio
    assert ratio[0] == pytest.approx(1.1)
    assert np.isnan(ratio[1:]).all()


def test_bins():
    """Bins begin at multiples of their width, hold the medians, and leave out what is missing."""
    ratio = np.where(WAVELENGTH < 1.1, 1.0, 2.0)
    ratio[WAVELENGTH > 1.3] = np.nan
    bins = ratio_bins(WAVELENGTH, ratio)
    assert np.allclose(bins.start, [0.9, 1.0, 1.1, 1.2])
    assert np.allclose(bins.stop - bins.start, 0.1)
    assert bins.median.tolist() == [1, 1, 2, 2]
    assert bins.count.sum() >= 400


def test_bins_without_enough_values():
    """A bin with fewer values than asked for is left out, and no value gives no bin."""
    assert ratio_bins(WAVELENGTH, np.ones(501), least=1000).median.size == 0
    assert ratio_bins(WAVELENGTH, np.full(501, np.nan)).median.size == 0


@pytest.mark.parametrize(("ratio", "width"), [(np.ones(3), 0.1), (np.ones(501), 0.0)])
def test_bins_refuse_what_makes_no_sense(ratio, width):
    """Arrays of unlike shape, and bins without a width, are errors."""
    with pytest.raises(ValueError, match=r"differ|width"):
        ratio_bins(WAVELENGTH, ratio, width)


def test_figure_shows_the_medians():
    """The medians that are drawn are those of the ratio, and other light is a line of its own."""
    items = [order(), order(2, 0.97, other_light=np.full(501, 0.01))]
    figure = closure_figure(items, "title", limit=0.05)
    upper, lower = figure.axes
    drawn = [c.lines[0].get_ydata() for c in lower.containers]
    assert np.allclose(drawn[0], 1.02) and np.allclose(drawn[1], 0.97)
    assert lower.get_ylim() == pytest.approx((0.85, 1.15))
    labels = lower.get_legend_handles_labels()[1]
    assert sum("other light" in label for label in labels) == 1
    assert len(upper.lines) == 4


def test_figure_of_nothing():
    """With no spectrum at all there is still a figure."""
    assert len(closure_figure([], "nothing").axes) == 2
