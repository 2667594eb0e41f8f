"""Response, budget, trend and coverage."""

import dataclasses

import numpy as np
import pytest
import report_data

from soss_photcal_steps.ratio.order import Mask
from soss_photcal_steps.report.budget_figure import budget_figure
from soss_photcal_steps.report.coverage_figure import (
    Coverage,
    coverage_figure,
    flagged_intervals,
)
from soss_photcal_steps.report.observations import observation_coverage
from soss_photcal_steps.report.response_figure import response_figure
from soss_photcal_steps.report.trend_figure import trend_figure


def test_response_panels():
    """Both responses, new over old less 1 in per cent, and the relative error are drawn."""
    one = report_data.response(1)
    top, middle, bottom = response_figure(
        one.wavelength, one.old, one.new, one.new_error, one.measured, unit=one.unit
    ).axes
    lines = {line.get_label(): line.get_ydata() for line in top.lines}
    np.testing.assert_array_equal(lines["old"], one.old)
    np.testing.assert_array_equal(lines["new"], one.new)
    assert top.get_ylabel() == "response (Jy/(DN/s))"
    np.testing.assert_allclose(middle.lines[0].get_ydata(), 100 * (one.new / one.old - 1))
    np.testing.assert_allclose(bottom.lines[0].get_ydata(), 0.4)


@pytest.mark.parametrize("known", [True, False])
def test_response_scale_is_that_of_the_measured_range(known):
    """An error of 100 per cent beyond the measured range does not flatten the panels."""
    one = report_data.response(1)
    inside = (one.wavelength >= one.measured[0]) & (one.wavelength <= one.measured[1])
    error = np.where(inside, one.new_error, one.new)
    axes = response_figure(
        one.wavelength, one.old, one.new, error, one.measured if known else None
    ).axes
    assert axes[1].get_ylim()[0] > -5 and axes[1].get_ylim()[1] < 20
    assert axes[2].get_ylim()[1] < 0.6


def test_response_of_any_unit_fills_its_panel():
    """A response of 1e-13, as in MJy, takes more than half of the height of its panel."""
    one = report_data.response(1)
    axis = response_figure(
        one.wavelength, 1e-10 * one.old, 1e-10 * one.new, 1e-10 * one.new_error
    ).axes[0]
    low, high = axis.get_ylim()
    assert 1e-10 * (one.new.max() - one.old.min()) > 0.5 * (high - low)


def test_response_without_values():
    """Zeros, which a photom file has beyond its end, are not drawn, and give no warning."""
    x = np.linspace(1, 2, 50)
    figure = response_figure(x, np.zeros(50), np.zeros(50), np.zeros(50))
    figure.draw_without_rendering()
    assert np.isnan(figure.axes[0].lines[0].get_ydata()).all()


def test_budget_lines_add_up():
    """The total is statistical and systematic error in quadrature, all in per cent."""
    one = report_data.order_result(2)
    axis, stars = budget_figure(
        one.wavelength, one.stat_error, one.sys_error, one.parts, one.n_stars
    ).axes
    lines = {line.get_label(): line.get_ydata() for line in axis.lines}
    np.testing.assert_allclose(lines["total"], 100 * one.total_error)
    np.testing.assert_allclose(lines["statistical"], 0.1)
    np.testing.assert_allclose(lines["differences between stars"], 0.6)
    assert axis.get_ylim()[1] > 0.6
    np.testing.assert_array_equal(stars.lines[0].get_ydata(), one.n_stars)


def test_trend_in_calendar_time():
    """Visits stand at their dates, in per cent of the reference day, and outliers are marked."""
    one = report_data.trend()
    axis = trend_figure([one]).axes[0]
    marked = next(line for line in axis.lines if line.get_label() == "far off")
    # MJD 40587 is 1970-01-01, from which matplotlib counts.
    np.testing.assert_allclose(marked.get_xdata(), [one.mjd[5] - 40587])
    np.testing.assert_allclose(marked.get_ydata(), [100 * (one.ratio[5] - 1)])
    law = next(line for line in axis.lines if line.get_label() == "law")
    np.testing.assert_allclose(law.get_ydata(), 100 * (one.law_value - 1))


def test_long_law_is_broken_into_lines():
    """A law of many words stands above its panel in lines of no more than 110 characters."""
    one = dataclasses.replace(report_data.trend(), law=20 * "some words ")
    lines = trend_figure([one]).axes[0].get_title(loc="left").splitlines()
    assert len(lines) == 3 and max(map(len, lines)) <= 110


def test_trend_of_nothing():
    """Without visits there is a figure that says so."""
    axis = trend_figure([]).axes[0]
    assert [text.get_text() for text in axis.texts] == ["no visits"]


@pytest.mark.parametrize(
    ("flags", "spans"),
    [("0110", [(2, 3)]), ("1001", [(1, 1), (4, 4)]), ("0000", []), ("1111", [(1, 4)])],
)
def test_flagged_intervals(flags, spans):
    """Runs of flags become intervals from their first to their last wavelength."""
    flagged = np.array([flag == "1" for flag in flags])
    assert flagged_intervals(np.array([1.0, 2, 3, 4]), flagged) == spans


def test_coverage_draws_each_interval():
    """Each order has a panel with a bar for each interval, and stars are drawn together."""
    rows = [
        Coverage("1/1", "b", {1: [(1.0, 2.0)]}, {1: [(1.4, 1.5)]}),
        Coverage("2/1", "a", {1: [(0.9, 2.8)], 2: [(0.6, 1.0)]}),
    ]
    first, second = coverage_figure(rows).axes
    assert [label.get_text() for label in first.get_yticklabels()] == ["a, 2/1", "b, 1/1"]
    used = [path.vertices for path in first.collections[2].get_paths()]
    assert used[0][:, 0].min() == 1.0 and used[0][:, 0].max() == 2.0
    assert len(second.collections[0].get_paths()) == 1


def test_coverage_of_an_observation():
    """A curve contributes but for contamination, which is an interval of its own."""
    one = report_data.order_ratio(1, 0)
    row = observation_coverage([one], "1/1", "a")
    x = one.wavelength
    assert row.contaminated[1] == [(x[200], x[219])]
    assert row.used[1] == [(x[0], x[199]), (x[220], x[-1])]
    assert (one.mask[200:220] == int(Mask.CONTAMINATION)).all()
