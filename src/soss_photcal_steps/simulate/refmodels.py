"""Data models of the simulated instrument's references, without their common header."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial
from stdatamodels.jwst import datamodels

from soss_photcal_steps import trace
from soss_photcal_steps.photom.table import PhotomRow, rows_to_array
from soss_photcal_steps.simulate import instrument
from soss_photcal_steps.simulate.kernels import (
    KERNEL_HALF_WIDTH,
    KERNEL_OVERSAMPLING,
    aperture_share,
    line_spread_kernels,
    trace_profile,
)
from soss_photcal_steps.trace import (
    DETECTOR_SIZE,
    ORDERS,
    PWCPOS_COMMANDED,
    SUBSTRIP256_FIRST_ROW,
    subarray_rows,
    trace_positions,
    wavelengths,
)

__all__ = ["flat_model", "pastasoss_model", "photom_model", "speckernel_model", "specprofile_model"]

# Last column of each order that is extracted, plus one: order 2 then leaves the subarray, and
# order 3 has no wavelengths beyond.
_CUTOFF = {1: 2048, 2: 1783, 3: 800}
_SHORT_CUTOFF = {1: 0.77, 2: 0.58, 3: 0.58}
# ATOCA makes its first estimate of the spectrum from pixels of order 1 where the profile of
# order 2 is below 1e-4.  The wings are above that to 100 pixels from the trace, which would
# leave no pixel longward of 1.4 um; so they are kept below it outside of the aperture.
_WING_LIMIT = 0.99e-4
_WING_START = 25.0
# Numbers of wavelengths in the real photom file of 2023-03-22, and length of its arrays.
_PHOTOM_SIZES = {("CLEAR", 1): 2425, ("CLEAR", 2): 2276, ("CLEAR", 3): 1731, ("F277W", 1): 979}
_PHOTOM_WIDTH = 5000
_F277W_START = 2.3
_LARGEST_RELRESPONSE = 1e6
_PIXEL_AREA = (1.00918458786252e-13, 0.004293593015086312)  # steradians, arcsec^2


def _set_subarray(model: Any, subarray: str) -> None:
    span = subarray_rows(subarray)
    model.meta.subarray.name = subarray
    model.meta.subarray.xstart = 1
    model.meta.subarray.ystart = span.start + 1
    model.meta.subarray.xsize = DETECTOR_SIZE
    model.meta.subarray.ysize = span.stop - span.start
    model.meta.subarray.fastaxis = -2
    model.meta.subarray.slowaxis = -1


def flat_model(subarray: str) -> Any:
    """Make a flat field that is 1 everywhere and has no bad pixels.

    Parameters
    ----------
    subarray : str
        Rows that it covers.

    Returns
    -------
    FlatModel
        The flat field.
    """
    span = subarray_rows(subarray)
    shape = (span.stop - span.start, DETECTOR_SIZE)
    model = datamodels.FlatModel(data=np.ones(shape, dtype=np.float32))
    model.dq = np.zeros(shape, dtype=np.uint32)
    model.err = np.zeros(shape, dtype=np.float32)
    model.meta.instrument.filter = "CLEAR"
    model.meta.instrument.pupil = "GR700XD"
    _set_subarray(model, subarray)
    return model


def _throughput(order: int, pwcpos: float) -> tuple[np.ndarray, np.ndarray]:
    """Wavelengths, rising, and throughput of an order, relative to the best of order 1.

    ATOCA models the light of a column as F_lambda * throughput * lambda * d(lambda), which
    is to be the flux F_nu over the conversion, and F_nu goes as F_lambda * lambda^2.
    """
    # jwst sets the two ends to zero, so they have to lie outside of the detector.
    columns = np.arange(DETECTOR_SIZE + 19.0, -21.0, -1.0)
    wave = wavelengths(order, columns, pwcpos)
    return wave, wave / (instrument.response(order, wave) * np.abs(np.gradient(wave)))


def _wavelength_polynomial(order: int, absolute: bool) -> tuple[list[float], list[list[float]]]:
    """Coefficients by rising total degree, and the extents that scale column and angle."""
    if order == 3:
        # PASTASOSS has no order 3; its series in one variable gets idle terms in the angle.
        series = Chebyshev(trace._ORDER3_WAVELENGTH, domain=(0.0, 1.0))
        constant, linear, square = (float(c) for c in series.convert(kind=Polynomial).coef)
        terms = [constant, linear, 0.0, square, 0.0, 0.0]
        columns, offsets = trace._ORDER3_COLUMNS, (-1.0, 1.0)
    else:
        model = trace._WAVELENGTHS[order]
        terms = list(model.coefficients)
        columns, offsets = model.column_extent, model.offset_extent
    shift = PWCPOS_COMMANDED if absolute and order == 2 else 0.0
    return terms, [[columns[k], offsets[k] + shift] for k in (0, 1)]


def pastasoss_model(pwcpos: float, absolute: bool) -> Any:
    """Make the traces, wavelength models and throughputs.

    Parameters
    ----------
    pwcpos : float
        Angle of the pupil wheel for which the throughputs are, degrees; the rest holds for all.
    absolute : bool
        Whether the wavelength model of order 2 takes the angle itself, as up to jwst 1.20.

    Returns
    -------
    PastasossModel
        The reference.
    """
    model = datamodels.PastasossModel()
    meta = model.meta
    meta.instrument.filter = "CLEAR"
    meta.pwcpos_cmd = PWCPOS_COMMANDED
    meta.pwcpos_bounds = [PWCPOS_COMMANDED - 0.25, PWCPOS_COMMANDED + 0.25]
    meta.soss_xdim = DETECTOR_SIZE
    meta.soss_ydim = 300
    meta.subarray_ymin = SUBSTRIP256_FIRST_ROW
    meta.wavemap_nwl = 5001
    meta.wavemap_wlmin = 0.5
    meta.wavemap_wlmax = 5.5
    meta.order2_separation_cutoff = [0.77, 0.95]
    throughputs = {order: _throughput(order, pwcpos) for order in ORDERS}
    best = throughputs[1][1].max()
    # Some columns beyond the detector, so that a turned trace still reaches its edges.
    x = np.arange(-20.0, DETECTOR_SIZE + 20.0)
    for order in ORDERS:
        pivot = trace._TRACES[order].pivot
        y = trace_positions(order, PWCPOS_COMMANDED, x)
        model.traces.append(
            {
                "spectral_order": order,
                "pivot_x": pivot[0],
                "pivot_y": pivot[1],
                "trace": np.column_stack([x, y]),
                "oversampling": 1,
                "cutoff": _CUTOFF[order],
                "short_cutoff": _SHORT_CUTOFF[order],
            }
        )
        terms, extents = _wavelength_polynomial(order, absolute)
        model.wavecal_models.append(
            {
                "spectral_order": order,
                "polynomial_degree": round(np.sqrt(2 * len(terms))) - 1,
                "coefficients": np.array(terms),
                "coefficient_labels": "c00, c10, c01, c20, c11, c02, ... (column, angle)",
                "scale_extents": np.array(extents),
            }
        )
        wave, throughput = throughputs[order]
        model.throughputs.append(
            {"spectral_order": order, "wavelength": wave, "throughput": throughput / best}
        )
    return model


def specprofile_model(pwcpos: float, subarray: str) -> Any:
    """Make the profiles across the traces.

    Parameters
    ----------
    pwcpos : float
        Angle of the pupil wheel, degrees.
    subarray : str
        Rows that they cover.

    Returns
    -------
    SpecProfileModel
        One profile per order.  In each column the light within the pipeline's box is 1.
    """
    span = subarray_rows(subarray)
    rows = np.arange(span.start, span.stop)[:, None] - SUBSTRIP256_FIRST_ROW
    model = datamodels.SpecProfileModel()
    model.meta.instrument.filter = "CLEAR"
    _set_subarray(model, subarray)
    for order in ORDERS:
        image = trace_profile(order, pwcpos, subarray)
        image /= aperture_share(order, instrument.APERTURE_WIDTH, pwcpos)
        if order == 2:
            far = np.abs(rows - trace_positions(order, pwcpos)) > _WING_START
            image[far] = np.minimum(image[far], _WING_LIMIT)
        model.profile.append(
            {"order": order, "oversampling": 1, "padding": 0, "data": image.astype(np.float32)}
        )
    return model


def speckernel_model() -> Any:
    """Make the kernels along the dispersion.

    Returns
    -------
    SpecKernelModel
        The reference.
    """
    # Closer than 0.02 um the kernels would not differ; much closer, ATOCA cannot tell them apart.
    wave = np.linspace(0.5, 3.1, 131)
    kernels = line_spread_kernels(wave)
    model = datamodels.SpecKernelModel()
    model.wavelengths = np.tile(wave, (kernels.shape[0], 1)).astype(np.float32)
    model.kernels = kernels.astype(np.float32)
    model.meta.nwave = wave.size
    model.meta.wavemin, model.meta.wavemax = float(wave[0]), float(wave[-1])
    model.meta.spectral_oversampling = KERNEL_OVERSAMPLING
    model.meta.halfwidth = KERNEL_HALF_WIDTH
    model.meta.centroid_index = kernels.shape[0] // 2
    return model


def _f277w_transmission(wave: np.ndarray, pwcpos: float) -> np.ndarray:
    """Transmission of the filter as the simulator applies it, at wavelengths of order 1."""
    columns = np.arange(-20.0, DETECTOR_SIZE + 20.0)
    known = wavelengths(1, columns, pwcpos)
    column = np.interp(wave, known[::-1], columns[::-1])
    return 0.9 / (1 + np.exp(np.minimum((column - 445.0) / 6.0, 50.0)))


def _photom_row(filter_name: str, order: int, pwcpos: float, kind: str) -> PhotomRow:
    low, high = instrument.wavelength_range(order)
    if filter_name == "F277W":
        low = max(low, _F277W_START)
    n = _PHOTOM_SIZES[filter_name, order]
    wave = np.linspace(low, high, n)
    value = instrument.response(order, wave)
    if filter_name == "F277W":
        value = value / _f277w_transmission(wave, pwcpos)
    if kind == "filed":
        value = value * instrument.filed_error(order, wave)
    arrays = np.zeros((2, _PHOTOM_WIDTH), dtype=np.float32)
    arrays[0, :n] = wave
    # As in the real file, the response stays finite where there is no light.
    arrays[1, :n] = np.minimum(value / instrument.PHOTMJ, _LARGEST_RELRESPONSE)
    return PhotomRow(
        filter=filter_name,
        pupil="GR700XD",
        order=order,
        photmj=instrument.PHOTMJ,
        uncertainty=0.0,
        nelem=n,
        wavelength=arrays[0],
        relresponse=arrays[1],
        reluncertainty=np.zeros(_PHOTOM_WIDTH, dtype=np.float32),
    )


def photom_model(pwcpos: float, kind: str) -> Any:
    """Make the photometric calibration.

    Parameters
    ----------
    pwcpos : float
        Angle of the pupil wheel, degrees, which decides where F277W begins to let light
        through, as the simulator has its edge at a column.
    kind : {"filed", "true"}
        With or without the error that a calibration is to find.

    Returns
    -------
    NisSossPhotomModel
        Rows CLEAR orders 1 to 3 and F277W order 1, MJy per (DN/s).
    """
    rows = [_photom_row(name, order, pwcpos, kind) for name, order in _PHOTOM_SIZES]
    model = datamodels.NisSossPhotomModel(phot_table=rows_to_array(rows))
    model.meta.photometry.pixelarea_steradians = _PIXEL_AREA[0]
    model.meta.photometry.pixelarea_arcsecsq = _PIXEL_AREA[1]
    return model
