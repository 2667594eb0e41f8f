"""What is flagged, and what is not."""

import dataclasses

import numpy as np
import pytest
import report_data

from soss_photcal_steps.ratio.order import Mask
from soss_photcal_steps.report.content import ObservationPart, Part, ReportData
from soss_photcal_steps.report.flags import (
    FlagLimits,
    flag_missing,
    flag_observation,
    flag_result,
    flag_trend,
)
from soss_photcal_steps.report.results import JoinMark, KindDifference


def changed(**changes):
    """Give a combined order, with changes."""
    return dataclasses.replace(report_data.order_result(1), **changes)


def only(flags):
    """Give the one flag that there is."""
    assert len(flags) == 1, flags
    return flags[0]


def test_good_result_has_no_flag():
    """Four stars that agree, with small errors and a small join, give no flag."""
    assert flag_result(report_data.order_result(1)) == []


@pytest.mark.parametrize(("mean", "flagged"), [(-0.012, True), (0.008, False)])
def test_hot_and_solar_stars_that_differ(mean, flagged):
    """A difference of the kinds of stars of four times its error is a warning, twice is none."""
    kinds = KindDifference(("hot", "solar"), (3, 2), mean, 0.003, mean, 0.003, 1.5)
    flags = flag_result(changed(kinds=kinds))
    assert bool(flags) == flagged
    if flagged:
        assert only(flags).text.endswith("hot less solar stars is -1.20 +- 0.30 per cent.")


def test_large_error():
    """An error above 2 per cent is a warning with its wavelengths."""
    error = np.where(report_data.grid(1) > 2, 0.03, 0.003)
    flag = only(flag_result(changed(sys_error=error)))
    assert flag.severity == "warning" and flag.where == "budget"
    assert "above 2 per cent at 2.00 to 2.83 um" in flag.text


def test_missing_error():
    """A mean without an error is an error."""
    error = np.where(report_data.grid(1) > 2, np.nan, 0.003)
    flag = only(flag_result(changed(sys_error=error)))
    assert flag.severity == "error" and "no error at 2.00 to 2.83 um" in flag.text


@pytest.mark.parametrize(("size", "flagged"), [(0.02, True), (0.004, False)])
def test_star_that_moves_the_mean(size, flagged):
    """A star that moves the mean by more than its error and half a per cent is named."""
    flags = flag_result(changed(influence={"a star": np.full(300, -size)}))
    assert bool(flags) == flagged
    if flagged:
        assert "a star alone moves the mean by up to 2.0 per cent" in only(flags).text


def test_means_that_differ():
    """A mean that is off by more than the error and 1 per cent is named."""
    one = report_data.order_result(1)
    flag = only(flag_result(changed(means={**one.means, "weighted": 1.03 * one.mean})))
    assert "the weighted mean differs from the one taken by up to 3.0 per cent" in flag.text
    within = {**one.means, "weighted": 1.03 * one.mean}
    assert (
        flag_result(changed(means=within, sys_error=np.full(300, 0.05)), FlagLimits(error=1)) == []
    )


def test_a_few_pixels_do_not_count():
    """What passes a limit at less than 2 per cent of the wavelengths is no flag."""
    error = np.full(300, 0.003)
    error[:5] = 0.5
    assert flag_result(changed(sys_error=error)) == []


def test_large_joins():
    """Steps above half a per cent that were taken out are counted, the largest is named."""
    joins = [JoinMark(1.1, 0.006), JoinMark(1.5, -0.02), JoinMark(2.0, 0.05, removed=False)]
    flag = only(flag_result(changed(joins=joins)))
    assert "2 step(s)" in flag.text and "-2.00 per cent at 1.5000 um" in flag.text


def test_few_stars():
    """A range with a single star is a warning, and so is an order of two stars."""
    alone = np.where(report_data.grid(1) > 2.4, 1, 3)
    assert "single star gives the mean at 2.41" in only(flag_result(changed(n_stars=alone))).text
    two = report_data.order_result(1).curves[:2]
    flag = only(flag_result(changed(curves=two, n_stars=np.full(300, 2))))
    assert "rests on 2 star(s)" in flag.text


def test_no_mean():
    """An order without any mean is an error, and nothing else is said of it."""
    flag = only(flag_result(changed(means={"random_effects": np.full(300, np.nan)})))
    assert flag.severity == "error" and "no mean" in flag.text


def test_good_observation_has_no_flag():
    """Two orders with curves give no flag; a missing order is a warning."""
    orders = [report_data.order_ratio(order, 0) for order in (1, 2)]
    assert flag_observation(orders, "1/1") == []
    assert only(flag_observation(orders[:1], "1/1")).text == "1/1 has no order 2."
    assert flag_observation(orders[:1], "1/1", wanted=[1]) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"ratio": np.full(300, 1e6)}, "the median ratio is 1000000.000, far from 1"),
        (
            {"mask": np.where(np.arange(300) < 180, int(Mask.CONTAMINATION), 0)},
            "60 per cent of the valid range is left out",
        ),
        (
            {"fit_description": {"status": "not fitted", "reason": "3 good points"}},
            "no curve, 3 good points",
        ),
        ({"mask": np.full(300, int(Mask.NO_MODEL))}, "no good point is left"),
    ],
)
def test_bad_observation(changes, text):
    """A wrong unit, a mask over most points, no curve and no point are flagged with numbers."""
    one = dataclasses.replace(report_data.order_ratio(1, 0), **changes)
    flag = only(flag_observation([one], "1/1", wanted=[1]))
    assert text in flag.text and flag.where == "1/1"


def test_points_out_of_range_are_no_loss():
    """Points outside the valid range do not count as left out."""
    mask = np.where(np.arange(300) < 200, int(Mask.OUT_OF_RANGE), 0)
    one = dataclasses.replace(report_data.order_ratio(1, 0), mask=mask)
    assert flag_observation([one], "1/1", wanted=[1]) == []


@pytest.mark.parametrize(("points", "flagged"), [(30, False), (150, True)])
def test_curve_that_misses_its_points(points, flagged):
    """A section that failed its test is noted if it holds more than a fifth of the points."""
    sections = [
        {"low": 0.9, "high": 1.1, "n_points": points, "passed": False},
        {"low": 1.1, "high": 2.8, "n_points": 300 - points, "passed": True},
    ]
    one = dataclasses.replace(
        report_data.order_ratio(1, 0), fit_description={"status": "fitted", "sections": sections}
    )
    flags = flag_observation([one], "1/1", wanted=[1])
    assert bool(flags) == flagged
    if flagged:
        assert flags[0].severity == "note" and "0.90 to 1.10 um" in flags[0].text


def test_trend_flags():
    """Visits far off are a warning, a change that is significant is a note, a flat law is none."""
    one = report_data.trend()
    warning, note = flag_trend([one])
    assert warning.severity == "warning" and "1 of 12 visits" in warning.text
    assert note.severity == "note" and "-0.54 per cent" in note.text
    flat = dataclasses.replace(
        one, outliers=np.zeros(12, bool), law_value=np.ones(12), law_error=np.full(12, 1e-3)
    )
    assert flag_trend([flat]) == []


def test_what_is_missing():
    """Failed observations are errors, those left out notes; an independent star is asked for."""
    observations = [
        ObservationPart("1/1", "a"),
        ObservationPart("1/2", "b", "failed", "truncated"),
        ObservationPart("1/3", "c", "left out"),
    ]
    flags = flag_missing(ReportData("t", observations=observations))
    assert [flag.severity for flag in flags] == ["error", "note", "warning", "note"]
    assert flags[0].text == "1/2 (b) failed: truncated" and flags[0].where == "1/2"
    assert flags[1].text == "1/3 (c) is left out: no reason is given"
    assert flag_missing(ReportData("t", validation=Part(), trend=Part())) == []
