"""Where the spectral traces of the GR700XD grism fall on the detector.

The positions of orders 1 and 2 are those of the published PASTASOSS model
(Baines & Espinoza, spacetelescope/pastasoss at commit b37e3d0, files
``jwst_niriss_gr700xd_order1_trace_refmodel.txt`` and
``..._order2_trace_refmodel_002.txt``): the trace at the commanded angle of the
pupil wheel, 245.76 degrees, is rotated as a rigid curve about a pivot by the
difference PWCPOS - 245.76.  PASTASOSS has no order 3; its curve comes from the
centroids that were measured in commissioning and early science (njcuk9999/jwst-mtl,
``centroids_o3_substrip256_01201_obs101.txt`` and ``..._02589_obs001.txt``), turned
back to the commanded angle and averaged.

Each curve is kept as a Chebyshev series over columns 0 to 2047.  Its largest
difference from the published table is 0.046 pixels (rms 0.011) for order 1 and
1e-5 pixels for order 2.  The two order-3 tables, once turned back, agree within
0.5 pixels up to column 700 and part to 2.5 pixels at column 1000; beyond it they are
extrapolations themselves.  The trace leaves SUBSTRIP256 near column 1210.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev

from soss_photcal_steps.errors import SossInputError

__all__ = [
    "DETECTOR_SIZE",
    "ORDERS",
    "PWCPOS_COMMANDED",
    "SUBSTRIP256_FIRST_ROW",
    "rotate_trace",
    "subarray_rows",
    "trace_positions",
    "wavelengths",
]

ORDERS = (1, 2, 3)
#: Commanded angle of the pupil wheel for GR700XD, degrees.
PWCPOS_COMMANDED = 245.76
#: Rows and columns of the NIRISS detector, pixels.
DETECTOR_SIZE = 2048
#: Zero-based detector row of the first row of SUBSTRIP256 (SUBSTRT2 = 1793).
SUBSTRIP256_FIRST_ROW = 1792

# First row (one-based, as in SUBSTRT2) and number of rows.  The pipeline places SUBSTRIP96 at
# rows 10 to 105 of SUBSTRIP256 (jwst.background.background_sub_soss).
_SUBARRAYS = {"SUBSTRIP256": (1793, 256), "SUBSTRIP96": (1803, 96), "FULL": (1, 2048)}


@dataclass(frozen=True)
class _TraceCurve:
    """One order's trace at the commanded angle: pivot (column, row) and Chebyshev series."""

    pivot: tuple[float, float]
    coefficients: tuple[float, ...]


# The pivot of order 3 is the one in jwst's own test reference file (given there at a tenth of
# the scale); an error of 50 pixels in it moves the trace by less than 0.15 pixels.
_TRACES = {
    1: _TraceCurve(
        (1887.0, 54.0),
        (
            60.8641,
            -12.08956,
            16.69638,
            6.62813,
            2.48669,
            0.87378,
            0.30033,
            0.09658,
            0.0196,
            -0.00682,
        ),
    ),
    2: _TraceCurve((1677.0, 200.0), (170.81477, 120.48455, 74.92224, 27.86091, 9.03595, 1.99889)),
    3: _TraceCurve((1444.0, 361.0), (285.27128, 196.58577, 65.07821, 8.51138, 0.005)),
}


@dataclass(frozen=True)
class _WavelengthModel:
    """Polynomial in scaled column and scaled PWCPOS offset, terms by rising total degree."""

    column_extent: tuple[float, float]
    offset_extent: tuple[float, float]
    coefficients: tuple[float, ...]


# Orders 1 and 2: PASTASOSS wavelength models of 2023-08-17 (order 1) and 2024-03-29 (order 2,
# version 002).  Order 3: ``wavecal_o3_afstar.txt`` of jwst-mtl, which is exactly a quadratic.
_WAVELENGTHS = {
    1: _WavelengthModel(
        (73.62893071613087, 2039.7420006352984),
        (-0.1035520000001781, 0.1628820800781341),
        (
            2.761308747854264,
            -1.9462425267979186,
            -0.0016999092570037996,
            -0.04235166350050612,
            0.0035994652274160157,
            -0.01757299625962458,
            0.23236466876596615,
            -0.007105598519500294,
            0.0025264564987347647,
            0.056400897335509986,
            -0.36002130099457746,
            0.011875022462157658,
            -0.0032811880126190403,
            -0.01236246986642536,
            -0.06343061874796818,
            0.2097066692071121,
            -0.008561238616821646,
            0.006266875748194782,
            -0.0023358534990428376,
            0.009740950824042485,
            0.023152089892448217,
        ),
    ),
    2: _WavelengthModel(
        (0.0, 2048.0),
        (245.5929 - PWCPOS_COMMANDED, 245.9271 - PWCPOS_COMMANDED),
        (
            1.418562550851081,
            -0.9676328152475233,
            -0.0008683710244127037,
            -0.09104584193242297,
            -0.005333758440568975,
            0.0011066308336508438,
            0.11983376351286051,
            0.008483099711289799,
            -0.003190668112438242,
            8.235350667391732e-05,
        ),
    ),
}
_ORDER3_WAVELENGTH = (0.8338769225272339, -0.11855631757943083, 0.003965398708024842)
_ORDER3_COLUMNS = (0.0, 799.0)


def _columns(columns: np.ndarray | None) -> np.ndarray:
    if columns is None:
        return np.arange(DETECTOR_SIZE, dtype=float)
    return np.asarray(columns, dtype=float)


def _check_order(order: int) -> None:
    if order not in ORDERS:
        raise SossInputError(f"Spectral order {order} is not known; SOSS has orders 1, 2 and 3.")


def rotate_trace(
    x: np.ndarray,
    y: np.ndarray,
    pivot: tuple[float, float],
    pwcpos: float,
    columns: np.ndarray | None = None,
    pwcpos_commanded: float = PWCPOS_COMMANDED,
) -> np.ndarray:
    """Turn a tabulated trace to another angle of the pupil wheel.

    This is for the tables of a ``pastasoss`` reference file (its ``trace``,
    ``pivot_x``, ``pivot_y`` and ``meta.pwcpos_cmd``).

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Columns and rows of the trace at the commanded angle, pixels of SUBSTRIP256;
        `x` may come in any order, without repeats.
    pivot : tuple of float
        Column and row about which the trace turns.
    pwcpos : float
        Angle of the pupil wheel, keyword PWCPOS, degrees.
    columns : ndarray, optional
        Columns at which the rows are wanted; 0 to 2047 if not given.
    pwcpos_commanded : float, optional
        The angle that the table is for, degrees.

    Returns
    -------
    ndarray
        Row of the trace at each of `columns`, pixels of SUBSTRIP256.  Beyond the
        table's ends the trace goes on along a straight line.

    Raises
    ------
    SossInputError
        If the table has fewer than two points, `x` and `y` differ in length or are
        not finite.
    """
    x = np.asarray(x, dtype=float)
    y = np.asarray(y, dtype=float)
    if x.ndim != 1 or x.shape != y.shape or x.size < 2:
        raise SossInputError(
            f"A trace table needs two columns of equal length, not shapes {x.shape} and {y.shape}."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise SossInputError("The trace table holds values that are not finite.")
    angle = np.radians(pwcpos - pwcpos_commanded)
    cos, sin = np.cos(angle), np.sin(angle)
    dx, dy = x - pivot[0], y - pivot[1]
    new_x = cos * dx - sin * dy + pivot[0]
    new_y = sin * dx + cos * dy + pivot[1]
    along = np.argsort(new_x)
    new_x, new_y = new_x[along], new_y[along]
    wanted = _columns(columns)
    rows = np.interp(wanted, new_x, new_y)
    # A slope over some tens of pixels does not hang on the rounding of two table entries.
    step = min(20, new_x.size - 1)
    below, above = wanted < new_x[0], wanted > new_x[-1]
    slope = (new_y[step] - new_y[0]) / (new_x[step] - new_x[0])
    rows = np.where(below, new_y[0] + slope * (wanted - new_x[0]), rows)
    slope = (new_y[-1] - new_y[-1 - step]) / (new_x[-1] - new_x[-1 - step])
    return np.where(above, new_y[-1] + slope * (wanted - new_x[-1]), rows)


def trace_positions(
    order: int, pwcpos: float = PWCPOS_COMMANDED, columns: np.ndarray | None = None
) -> np.ndarray:
    """Row of the centre of a spectral trace at each column.

    Parameters
    ----------
    order : {1, 2, 3}
        Spectral order.
    pwcpos : float, optional
        Angle of the pupil wheel, keyword PWCPOS, degrees.
    columns : ndarray, optional
        Columns, pixels from 0; 0 to 2047 if not given.

    Returns
    -------
    ndarray
        Rows, in zero-based pixels of SUBSTRIP256 whatever the subarray of the data.
        They are not cut at the subarray: order 2 climbs over row 255 near column 1815
        and order 3 near column 1210, and both go on to rows of some hundreds, because
        the wings of these parts still reach down into the subarray.

    Raises
    ------
    SossInputError
        If there is no such order.
    """
    _check_order(order)
    curve = _TRACES[order]
    x = np.arange(-20.0, DETECTOR_SIZE + 20.0)
    half = (DETECTOR_SIZE - 1) / 2
    y = chebyshev.chebval((x - half) / half, curve.coefficients)
    return rotate_trace(x, y, curve.pivot, pwcpos, columns)


def wavelengths(
    order: int, columns: np.ndarray | None = None, pwcpos: float = PWCPOS_COMMANDED
) -> np.ndarray:
    """Wavelength at the centre of a trace at each column.

    Parameters
    ----------
    order : {1, 2, 3}
        Spectral order.
    columns : ndarray, optional
        Columns, pixels from 0; 0 to 2047 if not given.
    pwcpos : float, optional
        Angle of the pupil wheel, keyword PWCPOS, degrees; order 3 does not use it.

    Returns
    -------
    ndarray
        Wavelengths, um.  Order 3 was calibrated on columns 0 to 799 only.

    Raises
    ------
    SossInputError
        If there is no such order.
    """
    _check_order(order)
    wanted = _columns(columns)
    if order == 3:
        low, high = _ORDER3_COLUMNS
        return chebyshev.chebval((2 * wanted - low - high) / (high - low), _ORDER3_WAVELENGTH)
    model = _WAVELENGTHS[order]
    low, high = model.column_extent
    u = (wanted - low) / (high - low)
    low, high = model.offset_extent
    v = (pwcpos - PWCPOS_COMMANDED - low) / (high - low)
    total = np.zeros_like(u)
    terms = iter(model.coefficients)
    degree = 0
    while True:
        for power in range(degree + 1):
            coefficient = next(terms, None)
            if coefficient is None:
                return total
            total = total + coefficient * u ** (degree - power) * v**power
        degree += 1


def subarray_rows(subarray: str) -> slice:
    """Detector rows that a SOSS subarray covers.

    Parameters
    ----------
    subarray : str
        Keyword SUBARRAY: ``SUBSTRIP256``, ``SUBSTRIP96`` or ``FULL``.

    Returns
    -------
    slice
        Zero-based rows of the full frame.  The row of SUBSTRIP256 that corresponds to
        the subarray's first row is ``subarray_rows(name).start - SUBSTRIP256_FIRST_ROW``.

    Raises
    ------
    SossInputError
        If the subarray is not one of the three that SOSS uses.
    """
    try:
        first, size = _SUBARRAYS[str(subarray).upper()]
    except KeyError:
        raise SossInputError(
            f"Subarray {subarray!r} is not a SOSS subarray; expected one of "
            f"{', '.join(_SUBARRAYS)}."
        ) from None
    return slice(first - 1, first - 1 + size)
