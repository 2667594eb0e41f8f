"""Extinction curves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.photom.extinction import CURVES, extinction, transmission

WAVELENGTH = np.linspace(0.6, 2.85, 500)
# A(lambda)/A(V) by curve and R(V), from the package dust_extinction 1.7 of the authors of g23.
ELSEWHERE_AT = (0.55, 0.65, 0.8, 0.95, 1.05, 1.25, 1.65, 2.2, 2.85, 3.2)
ELSEWHERE = {
    ("g23", 3.1): (0.998506, 0.813402, 0.590044, 0.438373, 0.360704, 0.268463, 0.168177, 0.10311,
                   0.064932, 0.052854),
    ("g23", 2.5): (0.998205, 0.788686, 0.53165, 0.367297, 0.285823, 0.205684, 0.121416, 0.068649,
                   0.038747, 0.029697),
    ("g23", 5.0): (0.998983, 0.852537, 0.682501, 0.55091, 0.479266, 0.367863, 0.242216, 0.157673,
                   0.106392, 0.089519),
    ("ccm89", 3.1): (0.99885, 0.827471, 0.597489, 0.43878, 0.373479, 0.28207, 0.180398, 0.113522,
                     0.074831, 0.0621),
    ("ccm89", 5.0): (0.999164, 0.860651, 0.667439, 0.508941, 0.433199, 0.327173, 0.209244,
                     0.131675, 0.086796, 0.07203),
}  # fmt: skip


def test_rieke_and_lebofsky_at_their_bands():
    """At the bands R, I, J, H, K the curve has the values of Table 3 of the paper."""
    values = extinction(np.array([0.70, 0.90, 1.25, 1.65, 2.22]))
    assert values == pytest.approx([0.748, 0.482, 0.282, 0.175, 0.112], abs=1e-9)


@pytest.mark.parametrize(("curve", "r_v"), ELSEWHERE)
def test_analytic_curves_agree_with_another_implementation(curve, r_v):
    """Both analytic curves agree with the package dust_extinction to its printed digits."""
    assert extinction(ELSEWHERE_AT, curve, r_v) == pytest.approx(ELSEWHERE[curve, r_v], abs=2e-6)


@given(st.sampled_from(["ccm89", "g23"]), st.floats(2.4, 5.5))
def test_extinction_falls_towards_the_red(curve, r_v):
    """For every R(V) the extinction is positive and falls with wavelength from 0.6 to 2.85 um."""
    values = extinction(WAVELENGTH, curve, r_v)
    assert (values > 0).all() and (np.diff(values) < 0).all()


def test_the_curve_hardly_matters_for_a_nearby_star():
    """At A(V) = 0.09, models scaled at 2.16 um differ by at most 0.2 per cent between curves."""
    scaled = []
    for curve in CURVES:
        dimmed = transmission(WAVELENGTH, 0.09, curve)
        scaled.append(dimmed / np.interp(2.16, WAVELENGTH, dimmed))
    assert np.ptp(scaled, axis=0).max() < 0.002


def test_transmission():
    """One magnitude of A(V) leaves 10**-0.4 at V; without extinction nothing is lost anywhere."""
    assert transmission(np.array([0.55]), 1.0) == pytest.approx([10**-0.4])
    assert transmission(np.array([0.1, 100.0]), 0.0).tolist() == [1.0, 1.0]
    assert np.isnan(transmission(np.array([0.5, 3.3]), 0.1)).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0.1, "f99"), "rl85, ccm89, g23"),
        ((0.1, "rl85", 3.1), "R(V) = 3.09, not 3.1"),
        ((0.1, "g23", 1.0), "2.3 to 5.6"),
        ((-0.1,), "from 0"),
        ((np.nan,), "from 0"),
    ],
)
def test_what_cannot_be_is_refused(arguments, words):
    """An unknown curve, an R(V) that it is not for, and a negative extinction are refused."""
    with pytest.raises(SossInputError) as error:
        transmission(WAVELENGTH, *arguments)
    assert words in str(error.value)
