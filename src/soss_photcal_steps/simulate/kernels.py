"""Profiles across the traces and kernels along them, as the references of the pack hold them."""

from __future__ import annotations

import math

import numpy as np

from soss_photcal_steps.simulate.star import core_image
from soss_photcal_steps.simulate.wings import Wing, wing_image
from soss_photcal_steps.trace import (
    DETECTOR_SIZE,
    PWCPOS_COMMANDED,
    SUBSTRIP256_FIRST_ROW,
    subarray_rows,
    trace_positions,
)

__all__ = [
    "KERNEL_HALF_WIDTH",
    "KERNEL_OVERSAMPLING",
    "aperture_share",
    "kernel_sigma",
    "line_spread_kernels",
    "trace_profile",
]

#: Reach of the kernels in pixels to each side of their centre, and samples per pixel.
KERNEL_HALF_WIDTH = 12
KERNEL_OVERSAMPLING = 10
# Telescope and camera: 6.5 m, pixels of 0.0656 arcsec.  A Gaussian with the half width of an
# Airy pattern has a sigma of 0.42 lambda/D.
_DIAMETER_UM = 6.5e6
_PIXEL_RADIAN = math.radians(0.0656 / 3600)
_AIRY_SIGMA = 0.42
# Jitter and diffusion of charge, pixels.
_DETECTOR_SIGMA = 0.1
# ATOCA takes the smallest positive value for the edge of all kernels.
_KERNEL_FLOOR = 1e-6


def trace_profile(
    order: int,
    pwcpos: float = PWCPOS_COMMANDED,
    subarray: str = "SUBSTRIP256",
) -> np.ndarray:
    """Light across the trace of one order as the simulator makes it with its nominal wings.

    Parameters
    ----------
    order : {1, 2, 3}
        Spectral order.
    pwcpos : float, optional
        Angle of the pupil wheel, degrees.
    subarray : str, optional
        Rows that the profile covers: ``SUBSTRIP256``, ``SUBSTRIP96`` or ``FULL``.

    Returns
    -------
    ndarray, shape (n_rows, 2048)
        Light per pixel, in units of the brightness of the trace, which is the light within
        12.5 pixels of its centre.
    """
    columns = np.arange(DETECTOR_SIZE, dtype=float)
    centre = trace_positions(order, pwcpos, columns)
    span = subarray_rows(subarray)
    rows = np.arange(span.start, span.stop) - SUBSTRIP256_FIRST_ROW
    one = np.ones(columns.size)
    image = core_image(order, one, centre, columns, int(rows[0]), rows.size)
    image += wing_image(one, centre, columns, rows, Wing())
    return image


def aperture_share(
    order: int,
    width: float = 40.0,
    pwcpos: float = PWCPOS_COMMANDED,
    columns: np.ndarray | None = None,
) -> np.ndarray:
    """Light within a box around the trace, in units of the brightness.

    Pixels that the edges of the box cut are counted by the part inside, as in the box
    extraction of the pipeline.  The edges of the subarray are not heeded.

    Parameters
    ----------
    order : {1, 2, 3}
        Spectral order.
    width : float, optional
        Width of the box, pixels.
    pwcpos : float, optional
        Angle of the pupil wheel, degrees.
    columns : ndarray, optional
        Columns, pixels; 0 to 2047 if not given.

    Returns
    -------
    ndarray
        Share, near 1 for a box of 25 pixels.
    """
    if columns is None:
        columns = np.arange(DETECTOR_SIZE, dtype=float)
    # The trace is moved to the middle of a small image: only its place within a pixel counts.
    half = math.ceil(width / 2) + 2
    centre = np.mod(trace_positions(order, pwcpos, columns), 1.0)
    rows = np.arange(-half, half + 1)
    one = np.ones(columns.size)
    image = core_image(order, one, centre, columns, int(rows[0]), rows.size)
    image += wing_image(one, centre, columns, rows, Wing())
    distance = np.abs(rows[:, None] - centre)
    return (image * np.clip(width / 2 + 0.5 - distance, 0.0, 1.0)).sum(axis=0)


def kernel_sigma(wavelength: np.ndarray) -> np.ndarray:
    """Width of a monochromatic image along the dispersion.

    The telescope is in focus in this direction, so the width is that of the diffraction,
    with a tenth of a pixel for jitter and detector added in quadrature.

    Parameters
    ----------
    wavelength : ndarray
        Wavelength, um.

    Returns
    -------
    ndarray
        Standard deviation, pixels.
    """
    diffraction = _AIRY_SIGMA * np.asarray(wavelength) / _DIAMETER_UM / _PIXEL_RADIAN
    return np.hypot(diffraction, _DETECTOR_SIGMA)


def line_spread_kernels(wavelength: np.ndarray) -> np.ndarray:
    """Monochromatic kernels along the dispersion.

    Parameters
    ----------
    wavelength : ndarray, shape (n,)
        Wavelengths, um.

    Returns
    -------
    ndarray, shape (241, n)
        Kernels from -12 to 12 pixels in steps of a tenth, each with an integral of 1 per
        pixel; values below a millionth of the peak are zero.
    """
    n = 2 * KERNEL_HALF_WIDTH * KERNEL_OVERSAMPLING + 1
    pixels = np.linspace(-KERNEL_HALF_WIDTH, KERNEL_HALF_WIDTH, n)
    kernels = np.exp(-0.5 * (pixels[:, None] / kernel_sigma(wavelength)) ** 2)
    kernels[kernels < _KERNEL_FLOOR] = 0.0
    return kernels * KERNEL_OVERSAMPLING / kernels.sum(axis=0)
