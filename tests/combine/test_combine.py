"""All of one order: the means together, the splice, the range, what goes to the photom file."""

from dataclasses import replace

import numpy as np
import pytest
from campaign_curves import campaign

from soss_photcal_steps.combine.combine import (
    METHODS,
    CombineOptions,
    Splice,
    combine_order,
    default_options,
)
from soss_photcal_steps.combine.correction import OrderCorrection
from soss_photcal_steps.combine.curves import Curve
from soss_photcal_steps.errors import SossInputError


@pytest.fixture(scope="module")
def order_1():
    """Give order 1 of a campaign, combined, and its truth."""
    curves, truth = campaign(11, smooth=True)
    return combine_order(curves), truth


@pytest.fixture(scope="module")
def order_2():
    """Give order 2 of a campaign, with 1091/2 valid to 1.05 um, combined; and its truth."""
    curves, truth = campaign(11, 2, smooth=True, cuts=False)
    x = curves[0].wavelength
    curves = [c.with_valid((x < 1.05) if c.observation == "1091/2" else x < 1.02) for c in curves]
    return combine_order(curves), truth


def test_all_means_are_there(order_1):
    """All three means are within 2 per cent of the truth, with steps, and one is chosen."""
    combined, truth = order_1
    assert set(combined.means) == set(METHODS) == set(combined.joins)
    for mean in combined.means.values():
        assert np.nanmax(np.abs(mean.value / truth - 1)) < 0.02
        assert np.isfinite(mean.total_error).all()
    assert combined.mean is combined.means["random_effects"]


@pytest.mark.parametrize("method", METHODS)
def test_no_jump(order_1, method):
    """No mean has a step of more than 0.02 per cent between neighbouring pixels."""
    combined, truth = order_1
    relative = combined.means[method].value / truth
    assert np.abs(np.diff(relative)).max() < 2e-4
    if method != "random_effects":
        raw = combined.unjoined[method] / truth
        assert np.abs(np.diff(raw)).max() > 2e-4


def test_splice_takes_over(order_2):
    """Beyond 0.9525 um order 2 has the shape of 1091/2, joined, to the end of that curve."""
    combined, _ = order_2
    row = combined.curves.observations.index("1091/2")
    x, curve = combined.wavelength, combined.curves.ratio[row]
    beyond = (x > 0.9525) & np.isfinite(curve)
    for method, splice in combined.splices.items():
        mean = combined.means[method]
        np.testing.assert_allclose(mean.value[beyond], splice.scale * curve[beyond])
        assert mean.used[:, beyond].sum(axis=0).tolist() == [1] * beyond.sum()
        edge = np.argmax(beyond)
        change = mean.value[edge] / mean.value[edge - 1] / (curve[edge] / curve[edge - 1]) - 1
        assert abs(change) < 2e-4
    assert combined.valid_range[1] == pytest.approx(1.05, abs=0.001)


def test_error_grows_beyond_the_splice(order_2):
    """The systematic error is continuous at the splice and larger at the end of the curve."""
    combined, _ = order_2
    error, x = combined.mean.sys_error, combined.wavelength
    edge = np.argmax(x > 0.9525)
    assert error[edge] == pytest.approx(error[edge - 1], rel=0.05)
    assert error[x < 1.049][-1] > 1.2 * error[edge]


def test_absent_observation_is_no_splice():
    """If the observation for the splice is missing the mean is kept, and a note says so."""
    curves, _ = campaign(11, 2, smooth=True)
    some = [c for c in curves if c.observation != "1091/2"]
    combined = combine_order(some)
    assert combined.splices == {}
    assert "1091/2" in combined.notes[0] and "0.9525 um" in combined.notes[0]


def test_nothing_beyond_the_measurement():
    """Wavelengths with fewer stars than wanted have no value, and the range says where."""
    curves, _ = campaign(11, smooth=True)
    x = curves[0].wavelength
    few = [c.with_valid(x < 2.5) if c.star != "GSPC P330-E" else c for c in curves]
    combined = combine_order(few)
    assert combined.valid_range[1] == pytest.approx(2.5, abs=0.001)
    for mean in combined.means.values():
        assert np.isnan(mean.value[x > 2.5]).all()
    wide = combine_order(few, CombineOptions(min_stars=1))
    assert wide.valid_range[1] == pytest.approx(x[-1])


def test_correction_for_the_photom_file(order_1):
    """The correction has the chosen mean and errors that are both finite, and a common part."""
    combined, _ = order_1
    correction = combined.correction()
    assert isinstance(correction, OrderCorrection)
    np.testing.assert_array_equal(correction.correction, combined.mean.value)
    assert 0 < correction.common_error <= correction.sys_error.min()


def test_classical_means_get_honest_errors(order_1):
    """A classical mean is handed on with the errors of random effects, unless wished otherwise."""
    combined, _ = order_1
    weighted = combined.correction("weighted")
    np.testing.assert_array_equal(weighted.correction, combined.means["weighted"].value)
    np.testing.assert_array_equal(weighted.sys_error, combined.means["random_effects"].sys_error)
    own = combined.correction("weighted", own_errors=True)
    assert own.sys_error.max() == 0


def test_groups_count_once():
    """Twenty-five visits of one star in a group move the mean no more than one visit."""
    curves, _ = campaign(12, smooth=True)
    visit = next(c for c in curves if c.observation == "stability")
    visits = [replace(visit, observation=f"1539/{i}", group="stability") for i in range(25)]
    others = [c for c in curves if c is not visit]
    grouped = combine_order(others + visits)
    single = combine_order(curves)
    assert len(grouped.curves.stars) == 8
    np.testing.assert_allclose(grouped.means["clipped"].value, single.means["clipped"].value)


def test_a_curve_without_pixels_is_noted():
    """A curve with no valid pixel takes no part, and a note names it."""
    curves, _ = campaign(11, smooth=True)
    dead = replace(curves[3], valid=np.zeros(curves[3].valid.size, bool))
    combined = combine_order([*curves[:3], dead, *curves[4:]])
    assert combined.notes == [f"{dead.star} {dead.observation}: no valid pixel, not used."]
    assert np.isfinite(combined.mean.value).all()


def test_choices_of_the_report():
    """Order 2 is clipped at +2 sigma, anchored at 0.74 to 1.0 um and spliced at 0.9525 um."""
    two = default_options(2)
    assert (two.sigma_low, two.sigma_high, two.iterations) == (3.0, 2.0, 5)
    assert two.anchor == (0.74, 1.0) and two.splice == Splice("1091/2", 0.9525)
    assert default_options(1).sigma_high == 3.0 and default_options(1).splice is None


def test_bad_input_is_refused():
    """No curve, or an unknown mean, is refused with a sentence."""
    with pytest.raises(SossInputError, match="no curve"):
        combine_order([])
    with pytest.raises(SossInputError, match="'median'"):
        CombineOptions(method="median")


def test_different_grids_are_brought_together():
    """Curves on grids shifted by a third of a pixel give the same mean within the noise."""
    curves, _ = campaign(13, smooth=True)
    x = curves[0].wavelength
    step = x[1] - x[0]
    shifted = []
    for k, c in enumerate(curves):
        own = x + step * (k % 3) / 3
        inside = np.interp(own, x, c.valid) > 0.99
        values = np.interp(own, x, c.ratio)
        shifted.append(Curve(**(vars(c) | dict(wavelength=own, ratio=values, valid=inside))))
    a, b = combine_order(curves, grid=x), combine_order(shifted, grid=x)
    # The edges of gaps move by a pixel, and with them who contributes there.
    assert np.nanpercentile(np.abs(a.mean.value / b.mean.value - 1), 99) < 2e-4
