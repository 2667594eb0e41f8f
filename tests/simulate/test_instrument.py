"""Response of the simulated instrument and the error of its photom file."""

from __future__ import annotations

import numpy as np
import pytest

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate import instrument

# relresponse of jwst_niriss_photom_rev2.fits at wavelengths that are not nodes.
_REAL = {
    1: ((0.914, 1.032, 1.229, 1.387, 1.702, 2.095, 2.489, 2.844),
        (0.27361, 0.21089, 0.19895, 0.25497, 0.47601, 0.8159, 1.2515, 1.868)),
    2: ((0.630, 0.701, 0.754, 0.824, 0.895, 0.983, 1.072),
        (0.86369, 0.38099, 0.43923, 0.86248, 1.7615, 4.4001, 12.698)),
    3: ((0.669, 0.732, 0.805, 0.850, 0.932), (28.92, 9.8054, 9.5661, 11.453, 17.145)),
}  # fmt: skip


@pytest.mark.parametrize(("order", "tolerance"), [(1, 0.005), (2, 0.03), (3, 0.06)])
def test_the_response_is_that_of_the_real_file(order, tolerance):
    """Between the nodes the response is the real file's within some tenths to some per cent."""
    wavelength, expected = _REAL[order]
    found = instrument.response(order, np.array(wavelength)) / instrument.PHOTMJ
    np.testing.assert_allclose(found, expected, rtol=tolerance)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_response_is_smooth_positive_and_finite_far_beyond_its_range(order):
    """No wavelength gives a value that is not positive and finite, and none jumps."""
    wavelength = np.linspace(0.3, 5.5, 20001)
    value = instrument.response(order, wavelength)
    assert np.isfinite(value).all()
    assert value.min() > 0
    assert np.abs(np.diff(np.log(value))).max() < 0.03


def test_photmj_is_the_real_factor_in_megajansky():
    """The factor is the in-flight one, 5.1416595e-05 Jy, in the unit that the pipeline labels."""
    in_jansky = instrument.PHOTMJ * 1e6
    assert in_jansky == pytest.approx(5.1416595e-05, rel=1e-9)


@pytest.mark.parametrize(
    ("order", "wavelength", "ratio"),
    [
        (1, 1.0, 0.99), (1, 1.2, 0.99), (1, 2.8, 0.88), (1, 2.85, 0.88),
        (2, 0.7, 0.975), (2, 0.8, 1.0), (2, 1.0, 0.875), (3, 0.8, 1.0),
    ],
)  # fmt: skip
def test_the_filed_error_has_the_numbers_of_the_report(order, wavelength, ratio):
    """At the wavelengths that section 6.1 names, the ratio is the one given there."""
    assert instrument.filed_error(order, np.array([wavelength]))[0] == pytest.approx(ratio)


def test_order_1_falls_in_two_slopes_and_is_flat_between():
    """Order 1 changes little from 2.0 to 2.35 um and several times faster beyond."""
    at = instrument.filed_error(1, np.array([1.24, 2.0, 2.35, 2.7]))
    slopes = np.diff(at) / np.diff([1.24, 2.0, 2.35, 2.7])
    assert (slopes < 0).all()
    assert slopes[1] > slopes[0] / 4
    assert slopes[2] < 2 * slopes[0]


def test_order_2_has_its_peak_below_and_its_minimum_above_600_nm():
    """The peak just below 0.6 um is sharp and the minimum follows within 0.015 um."""
    wavelength = np.linspace(0.575, 0.64, 2001)
    ratio = instrument.filed_error(2, wavelength)
    peak, least = wavelength[ratio.argmax()], wavelength[ratio.argmin()]
    assert 0.585 < peak < 0.6 < least < 0.61
    assert ratio.max() == pytest.approx(1.25)


def test_each_range_holds_the_wavelengths_that_the_pipeline_extracts():
    """Columns 0 to 2047, 0 to 1783 and 0 to 799 of the orders lie within the ranges."""
    from soss_photcal_steps.trace import wavelengths

    for order, last in ((1, 2047), (2, 1783), (3, 799)):
        low, high = instrument.wavelength_range(order)
        wave = wavelengths(order, np.array([0.0, last]))
        assert low < wave[1] < wave[0] < high


@pytest.mark.parametrize("function", [instrument.response, instrument.filed_error])
def test_an_unknown_order_is_a_sentence(function):
    """Order 4 is refused with the orders that there are."""
    with pytest.raises(SossInputError, match="orders 1, 2 and 3, not 4"):
        function(4, np.array([1.0]))
