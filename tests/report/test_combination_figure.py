"""The pictures of a combination."""

import numpy as np
import pytest
import report_data

from soss_photcal_steps.report.combination_figure import combination_figure, influence_figure


def draw(one, **changes):
    """Draw the figure of a combined order."""
    arguments = {
        "wavelength": one.wavelength, "curves": one.curves, "means": one.means,
        "chosen": one.method, "stat_error": one.stat_error, "sys_error": one.sys_error,
        "joins": [(join.wavelength, join.size) for join in one.joins],
    }  # fmt: skip
    return combination_figure(**{**arguments, **changes})


def test_curves_are_drawn_as_they_are_and_relative_to_the_mean():
    """The top panel has each curve and the mean, the middle one the curves over it in per cent."""
    one = report_data.order_result(1)
    top, middle, _ = draw(one).axes
    lines = {line.get_label(): line for line in top.lines}
    for label, _, ratio in one.curves:
        np.testing.assert_array_equal(lines[label].get_ydata(), ratio)
    np.testing.assert_array_equal(lines["random effects mean (taken)"].get_ydata(), one.mean)
    np.testing.assert_allclose(
        middle.lines[0].get_ydata(), 100 * (one.curves[0][2] / one.mean - 1), atol=1e-12
    )


def test_band_is_one_sigma_of_both_errors():
    """The band of the top panel reaches from R (1 - e) to R (1 + e), e both in quadrature."""
    one = report_data.order_result(1)
    band = draw(one).axes[0].collections[0].get_paths()[0].vertices
    at = np.isclose(band[:, 0], one.wavelength[150])
    total = np.hypot(one.stat_error, one.sys_error)[150]
    assert band[at, 1].min() == pytest.approx(one.mean[150] * (1 - total))
    assert band[at, 1].max() == pytest.approx(one.mean[150] * (1 + total))


def test_a_star_has_one_colour_and_its_curves_have_different_lines():
    """Curves of one star share a colour and differ in line style; stars differ in colour."""
    one = report_data.order_result(1)
    again = [("stability", one.curves[0][1], one.curves[0][2] * 1.001)]
    lines = {
        line.get_label(): line for line in draw(one, curves=[*one.curves, *again]).axes[0].lines
    }
    first, second = lines[one.curves[0][0]], lines["stability"]
    assert first.get_color() == second.get_color()
    assert first.get_linestyle() != second.get_linestyle()
    assert len({lines[label].get_color() for label, _, _ in one.curves}) == 4


def test_other_means_are_shown_over_the_chosen_one():
    """The bottom panel has one line for each other mean, in per cent of the chosen one."""
    one = report_data.order_result(1)
    lines = {line.get_label(): line for line in draw(one).axes[2].lines}
    np.testing.assert_allclose(lines["weighted mean"].get_ydata(), 0.1, rtol=1e-9)
    assert "random effects mean" not in lines


def test_joins_are_marked_and_the_largest_have_their_size():
    """A hundred joins are all marked, and at most eight sizes are written, the largest first."""
    one = report_data.order_result(1)
    joins = [(0.9 + 0.018 * k, 1e-4 * (k + 1)) for k in range(100)]
    bottom = draw(one, joins=joins).axes[2]
    marks = [line.get_xdata()[0] for line in bottom.lines if line.get_linestyle() != "-"]
    assert {round(x, 6) for x, _ in joins} <= {round(float(x), 6) for x in marks}
    sizes = [text.get_text() for text in bottom.texts]
    assert sizes[0] == "+1.00 %" and len(sizes) == 8


def test_unknown_mean_is_refused():
    """A chosen mean that is not among the means is an error."""
    with pytest.raises(ValueError, match="'median' is not among clipped"):
        draw(report_data.order_result(1), chosen="median")


@pytest.mark.parametrize("curves", ["none", "nan"])
def test_nothing_to_draw(curves):
    """No curve at all, or one without values, gives a picture and no warning."""
    one = report_data.order_result(1)
    empty = np.full(300, np.nan)
    given = [] if curves == "none" else [("a", "a", empty)]
    figure = draw(one, curves=given, means={"clipped": empty}, chosen="clipped", joins=[])
    figure.draw_without_rendering()
    assert len(figure.axes) == 3


def test_influence_in_per_cent_within_the_error_band():
    """The influence of each star is drawn in per cent, and the band is the error of the mean."""
    one = report_data.order_result(1)
    axis = influence_figure(one.wavelength, one.influence, one.total_error).axes[0]
    lines = {line.get_label(): line for line in axis.lines}
    np.testing.assert_allclose(lines["GSPC P330-E"].get_ydata(), 0.45)
    band = axis.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(100 * one.total_error.max())


def test_influence_where_there_is_no_mean():
    """Beyond the mean, where its error is missing, an influence is not drawn and sets no scale."""
    one = report_data.order_result(1)
    error = np.where(one.wavelength < 2, one.total_error, np.nan)
    axis = influence_figure(
        one.wavelength, {"a": np.where(one.wavelength < 2, 0, 0.5)}, error
    ).axes[0]
    drawn = next(line for line in axis.lines if line.get_label() == "a").get_ydata()
    assert np.isnan(drawn[one.wavelength >= 2]).all()
    assert axis.get_ylim()[1] < 2


def test_influence_of_a_single_star():
    """Without any influence the figure says that there is one star only."""
    one = report_data.order_result(1)
    axis = influence_figure(one.wavelength, {}, one.total_error).axes[0]
    assert "one star only" in [text.get_text() for text in axis.texts]
