"""The unit of a photom file, found out from the size of its numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soss_photcal_steps.photom.table import PhotomRow

__all__ = ["KNOWN_CONVERSION", "nearest_factor", "photmj_unit"]

#: photmj * relresponse, Jy/(DN/s), of CLEAR order 1 from 1.0 to 2.0 um: median of the in-flight
#: file of 2023-03-22 (jwst_niriss_photom_rev2.fits, photmj = 5.14e-5).
KNOWN_CONVERSION = 1.659e-5
_KNOWN_RANGE = (1.0, 2.0)
# The ground file of 2019 is a factor 12 off the known scale; a wrong unit is a factor 1000.
_TOLERANCE = 30.0
_UNITS = {"Jy": 1.0, "MJy": 1e-6, "mJy": 1e3}


def photmj_unit(rows: Sequence[PhotomRow]) -> str | None:
    """Find out the unit of flux of the conversion.

    The pipeline labels its result MJy, but the in-flight file of 2023 gives Jy.

    Parameters
    ----------
    rows : sequence of PhotomRow
        Rows of a photom file.

    Returns
    -------
    {"Jy", "MJy", "mJy"} or None
        The unit with which CLEAR order 1 is nearest to its known conversion; None if there is
        no such row, or if no unit makes it fit.
    """
    for row in rows:
        if row.key != ("CLEAR", "GR700XD", 1):
            continue
        wavelength = row.wavelength[row.used]
        near = (wavelength >= _KNOWN_RANGE[0]) & (wavelength <= _KNOWN_RANGE[1])
        values = row.photmj * row.relresponse[row.used][near].astype(float)
        values = values[np.isfinite(values) & (values > 0)]
        if values.size == 0:
            return None
        for unit, factor in _UNITS.items():
            if abs(np.log(np.median(values) / (KNOWN_CONVERSION * factor))) < np.log(_TOLERANCE):
                return unit
    return None


def nearest_factor(ratio: float, tolerance: float = _TOLERANCE) -> float | None:
    """Give the power of 1000 that explains a ratio as a mistaken unit.

    Parameters
    ----------
    ratio : float
        Ratio of two quantities that should be nearly equal.
    tolerance : float, optional
        By which factor the ratio may be off such a power; up to 31, half way between two.

    Returns
    -------
    float or None
        1e-6, 1e-3, 1e3 or 1e6 if the ratio is near to it, None otherwise.
    """
    if not 0 < ratio < np.inf:
        return None
    for factor in (1e-6, 1e-3, 1e3, 1e6):
        if abs(np.log(ratio / factor)) < np.log(tolerance):
            return factor
    return None
