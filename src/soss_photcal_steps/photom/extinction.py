"""Interstellar extinction from 0.55 to 3.2 um: what dust takes from the light of a star.

Three curves of A(lambda)/A(V) of the Milky Way:

``rl85``
    Rieke & Lebofsky 1985, ApJ 288, 618, Table 3: extinction in the bands of Johnson's system,
    for R(V) = 3.09.  Section 8 of JWST-STScI-009248 used "a revised version" of it that it does
    not specify.  Between the bands, at 0.55, 0.70, 0.90, 1.25, 1.65, 2.22, 3.5 and 4.8 um, the
    logarithm is interpolated monotonically (PCHIP) in the logarithm of the wavelength.
``ccm89``
    Cardelli, Clayton & Mathis 1989, ApJ 345, 245, equations 1 to 3.
``g23``
    Gordon, Clayton, Decleir et al. 2023, ApJ 950, 86: polynomial and three bumps in the optical,
    a power law that flattens beyond 1.9 um and the feet of the silicate features in the
    infrared, joined between 0.9 and 1.1 um.  All is divided by 0.9854, the normalisation that
    the authors gave it afterwards in their package ``dust_extinction`` (version 1.7).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from soss_photcal_steps.errors import SossInputError

__all__ = ["CURVES", "ExtinctionCurve", "extinction", "transmission"]

#: Wavelengths for which all curves are good, um.
EXTINCTION_RANGE = (0.55, 3.2)

# Wavelength in um and A/A(V) of the bands V, R, I, J, H, K, L and M.
_RL85 = (
    (0.55, 0.70, 0.90, 1.25, 1.65, 2.22, 3.50, 4.80),
    (1.000, 0.748, 0.482, 0.282, 0.175, 0.112, 0.058, 0.023),
)
# Coefficients of rising powers of 1/lambda - 1.82.
_CCM89_A = (1.0, 0.17699, -0.50447, -0.02427, 0.72085, 0.01979, -0.77530, 0.32999)
_CCM89_B = (0.0, 1.41338, 2.28305, 1.07233, -5.38434, -0.62251, 5.30260, -2.09002)
# Coefficients of rising powers of 1/lambda; heights of the bumps; their places and widths, 1/um.
_G23_A = (-0.35848, 0.7122, 0.08746, -0.05403, 0.00674)
_G23_B = (0.12354, -2.68335, 2.01901, -0.39299, 0.03355)
_G23_BUMPS_A = (0.03893, 0.02965, 0.01747)
_G23_BUMPS_B = (0.18453, 0.19728, 0.1713)
_G23_BUMPS = ((2.288, 0.243), (2.054, 0.179), (1.587, 0.243))
# Height, place, width and asymmetry of the silicate features, um.
_G23_SILICATES = ((0.06652, 9.8434, 2.21205, -0.24703), (0.0267, 19.58294, 17.0, -0.27))
_G23_JOIN = (0.9, 1.1)
_G23_NORM = 0.9854


def _rl85(wavelength: np.ndarray, r_v: float) -> np.ndarray:
    curve = PchipInterpolator(np.log(_RL85[0]), np.log(_RL85[1]))
    return np.exp(curve(np.log(wavelength)))


def _ccm89(wavelength: np.ndarray, r_v: float) -> np.ndarray:
    x = 1 / wavelength
    infrared = (0.574 - 0.527 / r_v) * x**1.61
    y = x - 1.82
    optical = np.polynomial.polynomial.polyval(y, _CCM89_A)
    optical = optical + np.polynomial.polynomial.polyval(y, _CCM89_B) / r_v
    return np.where(x < 1.1, infrared, optical)


def _smooth_step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def _drude(x: np.ndarray, place: float, width: float | np.ndarray) -> np.ndarray:
    return (width / place) ** 2 / ((x / place - place / x) ** 2 + (width / place) ** 2)


def _g23(wavelength: np.ndarray, r_v: float) -> np.ndarray:
    x = 1 / wavelength
    optical_a = np.polynomial.polynomial.polyval(x, _G23_A)
    optical_b = np.polynomial.polynomial.polyval(x, _G23_B)
    for height_a, height_b, bump in zip(_G23_BUMPS_A, _G23_BUMPS_B, _G23_BUMPS, strict=True):
        optical_a = optical_a + height_a * _drude(x, *bump)
        optical_b = optical_b + height_b * _drude(x, *bump)
    steep, flat, middle, width = 1.68467, 0.78791, 4.30578, 4.78338
    weight = _smooth_step(wavelength, middle - width / 2, middle + width / 2)
    # The two power laws meet in the middle of the transition.
    infrared_a = 0.38526 * (
        (1 - weight) * wavelength**-steep
        + weight * middle ** (flat - steep) * wavelength**-flat
    )  # fmt: skip
    for height, place, fwhm, asymmetry in _G23_SILICATES:
        skewed = 2 * fwhm / (1 + np.exp(asymmetry * (wavelength - place)))
        infrared_a = infrared_a + height * _drude(wavelength, place, skewed)
    infrared_b = -1.01251 * wavelength**-1.06099
    share = _smooth_step(wavelength, *_G23_JOIN)
    a = (1 - share) * optical_a + share * infrared_a
    b = (1 - share) * optical_b + share * infrared_b
    return (a + b * (1 / r_v - 1 / 3.1)) / _G23_NORM


@dataclass(frozen=True)
class ExtinctionCurve:
    """An extinction curve.

    Attributes
    ----------
    title : str
        Authors and year.
    function : callable
        A(lambda)/A(V) of wavelengths in um and R(V).
    r_v : tuple of float
        Least and largest R(V) that it is meant for.
    default_r_v : float
        R(V) if none is given.
    """

    title: str
    function: Callable[[np.ndarray, float], np.ndarray]
    r_v: tuple[float, float]
    default_r_v: float


#: Curves by their short names.
CURVES = {
    "rl85": ExtinctionCurve("Rieke & Lebofsky 1985", _rl85, (3.09, 3.09), 3.09),
    "ccm89": ExtinctionCurve("Cardelli, Clayton & Mathis 1989", _ccm89, (2.0, 6.0), 3.1),
    "g23": ExtinctionCurve("Gordon et al. 2023", _g23, (2.3, 5.6), 3.1),
}


def extinction(wavelength: np.ndarray, curve: str = "rl85", r_v: float | None = None) -> np.ndarray:
    """Give A(lambda)/A(V) of an extinction curve.

    Parameters
    ----------
    wavelength : ndarray
        Wavelengths, um.
    curve : {"rl85", "ccm89", "g23"}, optional
        The curve, see the description of the module.
    r_v : float, optional
        R(V) = A(V)/E(B-V); 3.1 if not given, and 3.09 for ``rl85``, which has no other.

    Returns
    -------
    ndarray
        Extinction relative to that in the V band, same shape; NaN outside 0.55 to 3.2 um.

    Raises
    ------
    SossInputError
        If there is no such curve, or it is not meant for this R(V).
    """
    if curve not in CURVES:
        raise SossInputError(f"The extinction curve {curve!r} is not one of {', '.join(CURVES)}.")
    chosen = CURVES[curve]
    value = chosen.default_r_v if r_v is None else r_v
    low, high = chosen.r_v
    if not low <= value <= high:
        wanted = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        raise SossInputError(f"The curve of {chosen.title} is for R(V) = {wanted}, not {value:g}.")
    wavelength = np.asarray(wavelength, dtype=float)
    inside = (wavelength >= EXTINCTION_RANGE[0]) & (wavelength <= EXTINCTION_RANGE[1])
    # Outside, any wavelength does to keep the powers finite.
    result = chosen.function(np.where(inside, wavelength, 1.0), value)
    return np.where(inside, result, np.nan)


def transmission(
    wavelength: np.ndarray, a_v: float, curve: str = "rl85", r_v: float | None = None
) -> np.ndarray:
    """Give the part of the light that the dust lets through.

    Parameters
    ----------
    wavelength : ndarray
        Wavelengths, um.
    a_v : float
        Extinction in the V band, magnitudes.
    curve : {"rl85", "ccm89", "g23"}, optional
        The curve.
    r_v : float, optional
        R(V) = A(V)/E(B-V).

    Returns
    -------
    ndarray
        Factor on the flux, same shape: 1 everywhere without extinction, else NaN outside 0.55
        to 3.2 um.

    Raises
    ------
    SossInputError
        If the extinction is negative or not finite, or `extinction` refuses.
    """
    if not 0 <= a_v < np.inf:
        raise SossInputError(f"An extinction A(V) is a number of magnitudes from 0, not {a_v:g}.")
    relative = extinction(wavelength, curve, r_v)
    if a_v == 0:
        return np.ones(relative.shape)
    return 10 ** (-0.4 * a_v * relative)
