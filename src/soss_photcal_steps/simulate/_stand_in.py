"""Response of an instrument, for as long as `instrument` is not there."""

from __future__ import annotations

import numpy as np

#: Common factor of the response, MJy/(DN/s).
PHOTMJ = 5.14e-11
_SHAPES = {1: (1.45, 0.55, 0.33), 2: (0.80, 0.30, 1.5), 3: (0.70, 0.25, 8.0)}


def wavelength_range(order: int) -> tuple[float, float]:
    """Wavelengths, um."""
    return {1: (0.80, 2.86), 2: (0.52, 1.46), 3: (0.52, 1.0)}[order]


def response(order: int, wavelength_um: np.ndarray) -> np.ndarray:
    """Response, MJy/(DN/s)."""
    centre, width, least = _SHAPES[order]
    u = np.log(np.asarray(wavelength_um) / centre) / width
    return PHOTMJ * least * np.exp(0.5 * u**2)


def filed_error(order: int, wavelength_um: np.ndarray) -> np.ndarray:
    """Ratio of the filed conversion to the true one."""
    return 1 + 0.03 * np.sin(2 * np.pi * np.asarray(wavelength_um) / 1.3 + order)
