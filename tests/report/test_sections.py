"""The parts of a report: what they say of the numbers."""

import dataclasses

import numpy as np
import pytest
import report_data
from matplotlib.figure import Figure

from soss_photcal_steps.photom.validate import RangeNumbers
from soss_photcal_steps.report.coverage_figure import Coverage
from soss_photcal_steps.report.observations import background_part, fits_part, spectra_part
from soss_photcal_steps.report.outcome import response_part, trend_part, validation_part
from soss_photcal_steps.report.results import JoinMark, OrderResult, order_result
from soss_photcal_steps.report.sections import (
    budget_part,
    combination_part,
    coverage_part,
    influence_part,
    joins_part,
)
from soss_photcal_steps.report.words import count, median, percent, span


def column(table, name):
    """Give a column of a table."""
    return [row[list(table.columns).index(name)] for row in table.rows]


def test_combination_numbers():
    """Range, curves, stars, spread and error of each order are in the table and in the words."""
    one = report_data.order_result(1)
    part = combination_part([one, report_data.order_result(2)])
    table = part.tables[0]
    assert column(table, "Order") == ["order 1", "order 2"]
    assert column(table, "Range") == ["0.85 to 2.83 um", "0.60 to 1.00 um"]
    assert column(table, "Curves") == [4, 4] and column(table, "Stars") == [4, 4]
    curves = np.array([ratio for _, _, ratio in one.curves])
    spread = np.median((np.nanmax(curves, 0) - np.nanmin(curves, 0)) / one.mean)
    assert column(table, "Spread of curves")[0] == f"{100 * spread:.2f} %"
    assert f"spread by {100 * spread:.2f} %" in part.pictures[0].alt
    assert column(table, "1-sigma error")[0] == f"{100 * np.median(one.total_error):.2f} %"
    assert "1 step taken out" in part.pictures[0].alt


def test_combination_tells_of_the_splice():
    """A splice is said in a sentence with its wavelength and factor."""
    one = dataclasses.replace(report_data.order_result(2), splice=(0.9525, 1.0031))
    assert "beyond 0.9525 um" in combination_part([one]).text[1]


def test_order_without_a_mean():
    """An order that has no mean anywhere is shown, with dashes for numbers, and no warning."""
    one = report_data.order_result(1)
    nothing = np.full(300, np.nan)
    empty = dataclasses.replace(one, means={"random_effects": nothing})
    part = combination_part([empty])
    assert column(part.tables[0], "Range") == ["no wavelength"]
    assert column(part.tables[0], "1-sigma error") == ["–"]
    assert column(budget_part([empty]).tables[0], "Total") == ["–"]


def test_influence_in_words():
    """The largest change by each star is in the table; with one star there is no such part."""
    one = report_data.order_result(1)
    table = influence_part([one]).tables[0]
    assert dict(zip(column(table, "Star"), column(table, "Largest"), strict=True)) == {
        "BD+60 1753": "0.45 %", "G191 B2B": "0.15 %", "GSPC P177-D": "0.15 %",
        "GSPC P330-E": "0.45 %",
    }  # fmt: skip
    assert influence_part([dataclasses.replace(one, influence={})]) is None


def test_influence_counts_where_the_mean_is_given():
    """An influence beyond the range of the mean is not the largest."""
    one = report_data.order_result(1)
    means = {"random_effects": np.where(one.wavelength < 2, one.mean, np.nan)}
    changed = dataclasses.replace(
        one, means=means, influence={"a": np.where(one.wavelength < 2, 0.001, 0.5)}
    )
    assert influence_part([changed]).tables[0].rows == [["a", 1, "0.10 %", "0.10 %"]]


def test_influence_of_a_star_without_which_there_is_no_mean():
    """A star whose influence is nowhere known gives zero and a dash, and no warning."""
    one = report_data.order_result(1)
    part = influence_part([dataclasses.replace(one, influence={"a": np.full(300, np.nan)})])
    assert part.tables[0].rows[0][2] == "–"


def test_joins_are_sorted_by_size_and_all_are_listed():
    """Joins of 0.1 per cent or more stand first by size; all of them are folded up below."""
    joins = [JoinMark(1.0 + 0.1 * k, size) for k, size in enumerate([2e-3, -5e-3, 1e-5])]
    part = joins_part([dataclasses.replace(report_data.order_result(1), joins=joins)])
    assert column(part.tables[0], "Step (%)") == ["-0.500", "+0.200"]
    title, inner = part.details[0]
    assert title == "All joins (3)" and len(inner.tables[0].rows) == 3
    assert "3 joins, 3 of them taken out, 2 of 0.1 per cent or more" in part.text[0]


def test_join_without_error_has_no_number():
    """The error of a join that could not be had is left empty, not infinite."""
    table = joins_part([report_data.order_result(1)]).details[0][1].tables[0]
    assert column(table, "1 sigma (%)") == ["0.040", None]
    assert column(table, "What was done") == ["taken out", "left in"]


def test_no_joins():
    """Without joins the part says that there are none."""
    one = dataclasses.replace(report_data.order_result(1), joins=[])
    assert joins_part([one]).text == ["The contributing stars change nowhere."]


def test_budget_numbers():
    """Medians of the errors are in per cent; the largest total is its maximum."""
    one = report_data.order_result(1)
    row = budget_part([one]).tables[0].rows[0]
    assert row[1] == "0.10 %"
    assert row[4] == f"{100 * one.total_error.max():.2f} %"


def test_response_in_words():
    """The description gives the range of new over old within the measured range."""
    one = report_data.response(1)
    alt = response_part([one]).pictures[0].alt
    inside = (one.wavelength >= one.measured[0]) & (one.wavelength <= one.measured[1])
    change = 100 * (one.new / one.old - 1)[inside]
    assert f"from {change.min():.2f} % to {change.max():.2f} %" in alt
    assert "0.40 % in the median" in alt


def test_trend_numbers():
    """Law, visits and outliers of each band are in the table."""
    row = trend_part([report_data.trend("order 1")]).tables[0].rows[0]
    assert row[:4] == ["order 1", "linear, 0.20 +- 0.01 per cent per year", 12, 1]


def test_validation_numbers():
    """A range with points has its medians, one without has none."""
    numbers = [
        RangeNumbers(1, 0.9, 1.2, 90, 1.001, 0.998, 1.003, 0.002, 1e-4, 1e-3, 4e-3, 0.97),
        RangeNumbers(2, 0.9, 1.2, 0, *[np.nan] * 8),
    ]
    part = validation_part(Figure(), "a star", numbers)
    table = part.tables[0]
    assert column(table, "Median, new file") == ["1.0010", None]
    assert column(table, "Median, old file") == ["0.9700", None]
    assert part.pictures[0].alt.endswith("order 1, 0.90 to 1.20 um: 1.0010.")


def test_coverage_in_words():
    """The description counts observations, stars and contaminated intervals."""
    rows = [Coverage("1/1", "a", {1: [(1, 2)]}, {1: [(1.1, 1.2)]}), Coverage("1/2", "a")]
    alt = coverage_part(rows).pictures[0].alt
    assert "2 observations of 1 star (a)" in alt and "1 contaminated interval." in alt


def test_masks_are_counted():
    """The table of masks counts the points of each reason that occurs."""
    part = spectra_part([report_data.order_ratio(order, 0) for order in (1, 2)], "1/1", "a")
    rows = {row[0]: row[1:] for row in part.tables[0].rows}
    assert rows == {
        "used": [274, 274], "all": [300, 300], "Paschen line": [6, 6], "contamination": [20, 20],
    }  # fmt: skip


def test_fit_section_by_section():
    """Each section of the curve has a row with its method; an order without a curve its reason."""
    one = report_data.order_ratio(1, 0)
    section = dict(one.fit_description["sections"][0], method="spline", knots=[1.0, 1.1])
    none = {"status": "not fitted", "reason": "3 good points", "sections": []}
    orders = [
        one,
        dataclasses.replace(one, order=2, fit_description={"sections": [section]}),
        dataclasses.replace(one, order=3, fit_description=none),
    ]
    table = fits_part(orders, "1/1", "a").tables[0]
    assert column(table, "Curve") == [
        "Legendre, degree 2", "cubic spline, 2 inner knots", "no curve: 3 good points",
    ]  # fmt: skip
    assert column(table, "Residuals are noise") == [True, True, None]


def test_ready_pictures_are_taken():
    """Where a figure or a file is given, nothing is drawn."""
    ready = b"a file"
    orders = [report_data.order_ratio(1, 0)]
    assert spectra_part(orders, "1/1", "a", ready).pictures[0].content == ready
    assert fits_part(orders, "1/1", "a", figure=ready).pictures[0].content == ready
    assert background_part(ready, "1/1", {}).pictures[0].content == ready


def test_background_without_a_picture():
    """Numbers alone are shown as a table; without anything the part is empty."""
    part = background_part(None, "1/1", {"scale": 1.02})
    assert not part.pictures and part.tables[0].rows == [("scale", 1.02)]
    assert not background_part(None, "1/1", {}).tables


def test_entry_of_a_correction_product():
    """An entry of the product becomes the same arrays, unused points left out, joins explained."""
    x = np.linspace(1, 2, 4)
    used = np.array([[True, True, False, True], [True, False, True, True]])
    ratio = np.arange(8.0).reshape(2, 4) + 1
    entry = {
        "order": 2, "method": "clipped", "wavelength": x, "stat_error": 0.01 * x,
        "sys_error": 0.02 * x, "n_stars": [2, 1, 1, 2], "star_sigma": 0.03 * x,
        "means": {"clipped": {"value": x}, "weighted": {"value": 2 * x}},
        "curves": {"stars": ["a", "b"], "observations": ["1/1", "1/2"], "ratio": ratio,
                   "used": used},
        "joins": [{"wavelength": 1.5, "size": 0.01, "error": 0.001, "removed": True,
                   "left": ["a 1/1"], "right": ["b 1/2"]}],
        "splice": {"wavelength": 1.9, "scale": 1.1}, "influence": {"a": 0.1 * x},
    }  # fmt: skip
    one = order_result(entry)
    assert isinstance(one, OrderResult) and one.order == 2 and one.stars == ["a", "b"]
    np.testing.assert_array_equal(one.curves[1][2], [5, np.nan, 7, 8])
    np.testing.assert_array_equal(one.mean, x)
    assert one.joins == [JoinMark(1.5, 0.01, 0.001, True, "a 1/1 ends; b 1/2 begins")]
    assert one.splice == (1.9, 1.1)
    np.testing.assert_allclose(one.parts["differences between stars"], 0.03 * x)
    bare = {key: entry[key] for key in entry if key not in ("joins", "splice", "influence")}
    assert order_result(bare).splice is None and order_result(bare).joins == []


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (percent(0.01234), "1.23 %"),
        (percent(np.nan), "–"),
        (count(1, "star"), "1 star"),
        (count(0, "star"), "0 stars"),
        (span(np.array([1.0, 2, 3]), np.array([False, True, True])), "2.00 to 3.00 um"),
        (span(np.array([1.0]), np.array([False])), "no wavelength"),
        (median(np.array([1, np.nan, 3, 5])), 3.0),
    ],
)
def test_words(made, wanted):
    """Numbers are written with their unit, and what is missing is said to be."""
    assert made == wanted


def test_median_of_nothing():
    """Without a finite value the median is NaN, without a warning."""
    assert np.isnan(median(np.array([np.nan])))
