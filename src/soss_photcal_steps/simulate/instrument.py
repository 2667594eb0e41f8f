"""How many counts the simulated instrument gives for a flux, and what its photom file says.

The *response* of an order is the flux that gives one count per second in the aperture,
MJy per (DN/s), as a function of wavelength; the aperture is a box as wide as the pipeline's
default, centred on the trace (`APERTURE_WIDTH`).  It has the shape of the in-flight photom
file of 2023-03-22 (radicamc/exoTEDRF, ``jwst_niriss_photom_rev2.fits``, made by K. Volk):
medians over 0.005 um of its ``relresponse`` at some twenty wavelengths per order,
interpolated monotonically (PCHIP) in the logarithm.  Two parts are not the file's:

* Order 2 shortward of 0.59 um, where the file rises a hundredfold within 0.02 um, mostly
  because the trace leaves the detector there.  In the simulator that is geometry, not response,
  so the response goes on smoothly.
* Order 2 longward of 1.1 um and order 3 outside 0.62 to 0.96 um, where the file follows noise.

The *filed error* is what the photom file of the reference pack is wrong by, as the report
JWST-STScI-009248 (section 6.1) found for the file of 2023: the ratio that a calibration with
standard stars has to find.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from soss_photcal_steps.errors import SossInputError

__all__ = [
    "APERTURE_WIDTH",
    "EXTRACTED_COLUMNS",
    "PHOTMJ",
    "filed_error",
    "response",
    "wavelength_range",
]

#: Common factor of the response, MJy/(DN/s): 5.1416595e-05 Jy/(DN/s) in the in-flight file.
PHOTMJ = 5.1416595e-11
#: Width of the box that the response is for, pixels: the default of ``soss_width`` in jwst.
APERTURE_WIDTH = 40.0
#: Columns of each order that the pipeline extracts, counted from column 0: order 2 leaves
#: SUBSTRIP256 beyond, and order 3 has no wavelengths there.
EXTRACTED_COLUMNS = {1: 2048, 2: 1783, 3: 800}

# Wavelength in um and response in units of PHOTMJ.
_RESPONSE = {
    1: (
        (0.757, 0.80, 0.84, 0.88, 0.93, 0.98, 1.04, 1.10, 1.15, 1.20, 1.26, 1.34, 1.45, 1.60,
         1.80, 2.00, 2.20, 2.40, 2.60, 2.70, 2.80, 2.90, 3.00, 3.10),
        (0.4218, 0.3801, 0.3438, 0.3027, 0.2620, 0.2325, 0.2084, 0.1953, 0.1917, 0.1945, 0.2057,
         0.2329, 0.2904, 0.3952, 0.5570, 0.7285, 0.9213, 1.147, 1.383, 1.525, 1.738, 2.101,
         2.735, 3.716),
    ),
    2: (
        (0.506, 0.53, 0.55, 0.57, 0.585, 0.595, 0.605, 0.62, 0.64, 0.66, 0.685, 0.71, 0.735,
         0.77, 0.81, 0.86, 0.91, 0.96, 1.01, 1.06, 1.10, 1.15, 1.25, 1.43),
        (350.0, 75.0, 23.0, 7.5, 3.50, 2.294, 1.518, 1.067, 0.7125, 0.5236, 0.4085, 0.3777,
         0.3989, 0.5001, 0.7394, 1.208, 2.029, 3.365, 6.114, 11.18, 17.36, 26.0, 42.0, 60.0),
    ),
    3: (
        (0.53, 0.56, 0.60, 0.62, 0.645, 0.66, 0.68, 0.70, 0.72, 0.74, 0.78, 0.83, 0.88, 0.92,
         0.96, 1.00),
        (5000.0, 1000.0, 200.0, 85.87, 47.37, 36.01, 23.35, 14.77, 11.2, 9.70, 9.493, 10.56,
         13.83, 16.54, 21.16, 27.0),
    ),
}  # fmt: skip
# Wavelength in um and ratio of the filed to the true conversion.  Sharp corners are meant: the
# report finds them in every star's spectrum of order 2.
_FILED_ERROR = {
    1: (
        (0.90, 0.99, 1.24, 1.50, 1.75, 2.00, 2.10, 2.35, 2.55, 2.80),
        (0.990, 0.990, 0.990, 0.977, 0.959, 0.945, 0.943, 0.941, 0.920, 0.880),
    ),
    2: (
        (0.575, 0.580, 0.592, 0.6025, 0.612, 0.640, 0.700, 0.750, 0.800, 0.825, 0.900, 1.000,
         1.100),
        (1.020, 1.080, 1.250, 0.930, 0.955, 0.985, 0.975, 0.985, 1.000, 0.998, 0.940, 0.875,
         0.870),
    ),
}  # fmt: skip
_RANGES = {1: (0.84, 2.87), 2: (0.575, 1.43), 3: (0.62, 0.96)}


def _check_order(order: int) -> None:
    if order not in _RANGES:
        raise SossInputError(f"The simulated instrument has orders 1, 2 and 3, not {order}.")


def wavelength_range(order: int) -> tuple[float, float]:
    """Wavelengths over which an order is calibrated.

    Parameters
    ----------
    order : {1, 2, 3}
        Spectral order.

    Returns
    -------
    tuple of float
        Shortest and longest wavelength, um.

    Raises
    ------
    SossInputError
        If there is no such order.
    """
    _check_order(order)
    return _RANGES[order]


def response(order: int, wavelength_um: np.ndarray) -> np.ndarray:
    """Flux that gives one count per second in the aperture: the true photometric conversion.

    Parameters
    ----------
    order : {1, 2, 3}
        Spectral order.
    wavelength_um : ndarray
        Wavelengths, um.

    Returns
    -------
    ndarray
        MJy per (DN/s), positive and finite.  Beyond the tabulated wavelengths it goes on
        exponentially with the slope at the end.

    Raises
    ------
    SossInputError
        If there is no such order.
    """
    _check_order(order)
    nodes, values = _RESPONSE[order]
    curve = PchipInterpolator(nodes, np.log(values))
    wavelength = np.asarray(wavelength_um, dtype=float)
    inside = np.clip(wavelength, nodes[0], nodes[-1])
    slope = np.where(wavelength < nodes[0], curve(nodes[0], 1), curve(nodes[-1], 1))
    return PHOTMJ * np.exp(curve(inside) + slope * (wavelength - inside))


def filed_error(order: int, wavelength_um: np.ndarray) -> np.ndarray:
    """Ratio of the conversion in the pack's photom file to the true one.

    A spectrum of a star calibrated with that file is too high by this factor: it is the
    ratio R of observed to model flux that the calibration has to find.

    Parameters
    ----------
    order : {1, 2, 3}
        Spectral order.
    wavelength_um : ndarray
        Wavelengths, um.

    Returns
    -------
    ndarray
        Ratio; 1 for order 3, constant beyond the ends of the tables.

    Raises
    ------
    SossInputError
        If there is no such order.
    """
    _check_order(order)
    wavelength = np.asarray(wavelength_um, dtype=float)
    if order not in _FILED_ERROR:
        return np.ones_like(wavelength)
    nodes, values = _FILED_ERROR[order]
    return PchipInterpolator(nodes, values)(np.clip(wavelength, nodes[0], nodes[-1]))
