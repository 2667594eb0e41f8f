"""Synthetic magnitudes in the 2MASS Ks band, and models scaled to them.

The response and the zero point are those of Cohen, Wheaton & Megeath 2003, AJ 126, 1090.  The
response includes the atmosphere and is to be integrated with the flux per wavelength:

    <F_nu> = int F_lambda S dlambda / int (c / lambda^2) S dlambda
    m = -2.5 log10(<F_nu> / 666.7 Jy)

With S taken as it is, the band is 0.262 um wide and its pivot wavelength 2.160 um, which turns
their 4.283e-10 W/m2/um into the 666.7 Jy.  The zero point is uncertain by 1.9 per cent (12.6 Jy),
the same at all wavelengths.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.ratio.sampling import ModelSpectrum

__all__ = [
    "KS_RESPONSE",
    "KS_ZERO_POINT",
    "KS_ZERO_POINT_ERROR",
    "ks_magnitude",
    "scale_to_ks",
]

#: Flux density of a star with Ks = 0, and its 1-sigma error, Jy.
KS_ZERO_POINT = 666.7
KS_ZERO_POINT_ERROR = 12.6
#: Wavelengths, um, and relative response.
KS_RESPONSE = np.array((
    (
        1.900, 1.915, 1.927, 1.934, 1.939, 1.948, 1.957, 1.962, 1.969, 1.976, 1.981, 1.989, 1.990,
        1.998, 2.008, 2.014, 2.019, 2.028, 2.037, 2.045, 2.061, 2.072, 2.075, 2.082, 2.089, 2.099,
        2.106, 2.113, 2.120, 2.124, 2.138, 2.145, 2.155, 2.169, 2.176, 2.185, 2.197, 2.208, 2.213,
        2.218, 2.232, 2.237, 2.248, 2.256, 2.260, 2.263, 2.265, 2.270, 2.272, 2.276, 2.277, 2.281,
        2.284, 2.286, 2.291, 2.293, 2.295, 2.297, 2.299, 2.306, 2.311, 2.316, 2.320, 2.325, 2.328,
        2.335, 2.339, 2.344, 2.346, 2.352, 2.361, 2.363, 2.370, 2.375, 2.384, 2.399,
    ),
    (
        0.0000, 0.0000, 0.0000, 0.0002, 0.0005, 0.0054, 0.0119, 0.0197, 0.0422, 0.0873, 0.1528,
        0.2482, 0.1902, 0.2339, 0.2946, 0.3982, 0.3366, 0.6207, 0.7650, 0.7464, 0.6251, 0.7255,
        0.6895, 0.7879, 0.8181, 0.8228, 0.8633, 0.8778, 0.8549, 0.8953, 0.9189, 0.9268, 0.9267,
        0.9009, 0.9228, 0.8428, 0.9459, 0.9804, 0.9879, 0.9848, 0.9647, 0.9816, 0.9834, 0.9613,
        0.9792, 1.0000, 0.9632, 0.9812, 0.9681, 0.9109, 0.9821, 0.8896, 0.8918, 0.9424, 0.8404,
        0.8042, 0.7077, 0.6576, 0.5607, 0.4437, 0.3482, 0.2302, 0.1626, 0.1360, 0.0921, 0.0624,
        0.0431, 0.0340, 0.0310, 0.0118, 0.0068, 0.0007, 0.0030, 0.0021, 0.0004, 0.0000,
    ),
))  # fmt: skip


def ks_magnitude(wavelength: np.ndarray, flux: np.ndarray) -> float:
    """Compute the 2MASS Ks magnitude of a spectrum.

    Parameters
    ----------
    wavelength : ndarray
        Rising wavelengths, shape (n,), um; from 1.90 to 2.40 um at least.
    flux : ndarray
        Flux density F_nu, shape (n,), Jy.

    Returns
    -------
    float
        Magnitude; the zero point is uncertain by 0.021.

    Raises
    ------
    SossInputError
        If the spectrum does not cover the band, or has no positive flux there.
    """
    wavelength, flux = np.asarray(wavelength, float), np.asarray(flux, float)
    band, response = KS_RESPONSE
    good = np.isfinite(flux)
    wavelength, flux = wavelength[good], flux[good]
    inside = (wavelength > band[0]) & (wavelength < band[-1])
    if wavelength.size == 0 or wavelength[0] > band[0] or wavelength[-1] < band[-1]:
        raise SossInputError(
            f"A Ks magnitude needs a spectrum from {band[0]:.2f} to {band[-1]:.2f} um."
        )
    # On all points of both, neither the lines nor the edges of the band are cut off.
    grid = np.union1d(wavelength[inside], band)
    # F_lambda is F_nu c / lambda^2.
    weight = np.interp(grid, band, response) / grid**2
    mean = np.trapezoid(np.interp(grid, wavelength, flux) * weight, grid)
    mean = float(mean / np.trapezoid(weight, grid))
    if not mean > 0:
        raise SossInputError("The spectrum has no positive flux in the Ks band.")
    return float(-2.5 * np.log10(mean / KS_ZERO_POINT))


def scale_to_ks(model: ModelSpectrum, magnitude: float) -> ModelSpectrum:
    """Scale a model to a Ks magnitude.

    Parameters
    ----------
    model : ModelSpectrum
        The model, at any level; with the reddening that the star has.
    magnitude : float
        2MASS Ks magnitude of the star.

    Returns
    -------
    ModelSpectrum
        The same with flux and errors multiplied by one factor.

    Raises
    ------
    SossInputError
        If the magnitude is not finite or `ks_magnitude` refuses.
    """
    if not np.isfinite(magnitude):
        raise SossInputError(f"A Ks magnitude is a number, not {magnitude}.")
    factor = 10 ** (-0.4 * (magnitude - ks_magnitude(model.wavelength, model.flux)))
    return replace(
        model,
        flux=model.flux * factor,
        stat_error=model.stat_error * factor,
        sys_error=model.sys_error * factor,
    )
