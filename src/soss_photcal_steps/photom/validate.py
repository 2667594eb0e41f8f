"""A new photom file tried on a star that it was not made from: arrays in, numbers out.

The spectra were calibrated with the file in use.  The photom step multiplies by photmj times
relresponse and divides by the throughput of the day, so

    flux_new = flux_used * conversion_new / conversion_used

at each wavelength, without going back to the counts.  The ratio to a model of the star is then
1 where file and model are right (section 8 of JWST-STScI-009248).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.photom.conversion import Conversion
from soss_photcal_steps.photom.extinction import EXTINCTION_RANGE, transmission
from soss_photcal_steps.ratio.lines import line_mask
from soss_photcal_steps.ratio.masks import data_mask, interval_mask
from soss_photcal_steps.ratio.mean import MeanSpectrum
from soss_photcal_steps.ratio.order import Mask
from soss_photcal_steps.ratio.sampling import SOSS_LINE_PIXELS, ModelSpectrum, sample_model
from soss_photcal_steps.ratio.standards import Interval

__all__ = [
    "DEFAULT_RANGES",
    "RangeNumbers",
    "ValidatedOrder",
    "ValidationOptions",
    "level",
    "range_numbers",
    "redden",
    "validate_order",
]

#: Ranges for which numbers are given: all of order 1 and its parts between the series limits, and
#: the parts of order 2 in which section 9 of the report claims 1 to 2 per cent, or less.
DEFAULT_RANGES = (
    Interval(1, 0.90, 2.80), Interval(1, 0.90, 1.20), Interval(1, 1.20, 1.60),
    Interval(1, 1.60, 2.00), Interval(1, 2.00, 2.40), Interval(1, 2.40, 2.80),
    Interval(2, 0.63, 0.94), Interval(2, 0.60, 0.63), Interval(2, 0.63, 0.80),
    Interval(2, 0.80, 0.94), Interval(2, 0.94, 1.00),
)  # fmt: skip


@dataclass(frozen=True)
class ValidationOptions:
    """Settings of the comparison.

    Attributes
    ----------
    sampling : {"auto", "interpolate", "integrate"}
        How the model is brought to the wavelengths.
    line_width : float or None
        Full width at half maximum that the model is convolved with, pixels; none if None or 0.
    windows : mapping of str to float
        Half widths of the windows around hydrogen lines, by series, as a fraction of the
        wavelength.
    excluded : sequence of Interval
        Intervals that do not count, such as those where the model is known to be poor.
    min_signal : float
        Least ratio of flux to error.
    """

    sampling: str = "auto"
    line_width: float | None = SOSS_LINE_PIXELS
    windows: Mapping[str, float] = field(default_factory=dict)
    excluded: Sequence[Interval] = ()
    min_signal: float = 5.0


@dataclass(frozen=True)
class ValidatedOrder:
    """One order, by rising wavelength; all arrays have shape (n,).

    Attributes
    ----------
    order : int
        Spectral order.
    wavelength : ndarray
        Vacuum wavelength, um.
    flux, flux_error : ndarray
        Mean flux through the new file and its standard error from the scatter of the
        integrations, Jy.
    model, model_error : ndarray
        Model flux, and its statistical and systematic errors in quadrature, Jy.
    ratio, ratio_error : ndarray
        `flux` over `model`, and its statistical error.
    ratio_used : ndarray
        The same ratio through the file in use.
    calibration_error : ndarray
        Relative 1-sigma error of the new conversion, as the new file gives it.
    mask : ndarray of uint32
        Bits of `Mask`; 0 is good.
    """

    order: int
    wavelength: np.ndarray
    flux: np.ndarray
    flux_error: np.ndarray
    model: np.ndarray
    model_error: np.ndarray
    ratio: np.ndarray
    ratio_error: np.ndarray
    ratio_used: np.ndarray
    calibration_error: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class RangeNumbers:
    """The ratio over a range of wavelengths, outside the hydrogen lines.

    Attributes
    ----------
    order : int
        Spectral order.
    low, high : float
        The range, um.
    n : int
        Wavelengths that count; without any, all other numbers are NaN.
    median, low_16, high_84 : float
        Median and 16th and 84th percentile of the ratio.
    rms : float
        Root mean square of ratio - 1.
    error : float
        Statistical error of the median, for independent normal errors of the wavelengths.
    noise : float
        Median statistical error of a single wavelength.
    calibration_error : float
        Median error of the new file; its errors at neighbouring wavelengths are not independent.
    median_used : float
        Median of the ratio through the file in use.
    """

    order: int
    low: float
    high: float
    n: int
    median: float
    low_16: float
    high_84: float
    rms: float
    error: float
    noise: float
    calibration_error: float
    median_used: float


def redden(
    model: ModelSpectrum, a_v: float, curve: str = "rl85", r_v: float | None = None
) -> ModelSpectrum:
    """Redden a model.

    Parameters
    ----------
    model : ModelSpectrum
        The model.
    a_v : float
        Extinction in the V band, magnitudes.
    curve : {"rl85", "ccm89", "g23"}, optional
        Extinction curve, see `soss_photcal_steps.photom.extinction`.
    r_v : float, optional
        R(V) = A(V)/E(B-V).

    Returns
    -------
    ModelSpectrum
        The model as seen through the dust, cut to the range of the curves; without extinction
        the model itself.

    Raises
    ------
    SossInputError
        If the extinction or the curve cannot be, or nothing of the model is in the range.
    """
    dimmed = transmission(model.wavelength, a_v, curve, r_v)
    if a_v == 0:
        return model
    inside = np.isfinite(dimmed)
    if inside.sum() < 2:
        low, high = EXTINCTION_RANGE
        raise SossInputError(f"The model has no points between {low} and {high} um.")
    dimmed = dimmed[inside]
    return replace(
        model,
        wavelength=model.wavelength[inside],
        flux=model.flux[inside] * dimmed,
        stat_error=model.stat_error[inside] * dimmed,
        sys_error=model.sys_error[inside] * dimmed,
        fwhm=None if model.fwhm is None else model.fwhm[inside],
    )


def validate_order(
    order: int,
    mean: MeanSpectrum,
    new: Conversion,
    used: Conversion,
    model: ModelSpectrum,
    options: ValidationOptions | None = None,
) -> ValidatedOrder:
    """Bring the mean spectrum of an order through a new conversion and divide by the model.

    Parameters
    ----------
    order : int
        Spectral order.
    mean : MeanSpectrum
        Mean flux through the conversion in use, Jy.
    new, used : Conversion
        The new conversion and the one in use, at the wavelengths of `mean`.
    model : ModelSpectrum
        The star.
    options : ValidationOptions, optional
        Settings.

    Returns
    -------
    ValidatedOrder
        Spectrum, ratio and mask.
    """
    options = options or ValidationOptions()
    x = mean.wavelength
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = new.value / used.value
    flux, error = mean.flux * factor, mean.error * factor
    sampled = sample_model(model, x, options.sampling, options.line_width)
    positive = np.where(sampled.flux > 0, sampled.flux, np.nan)
    mask = data_mask(
        flux, error, sampled.flux, mean.n_used, mean.n_total, min_signal=options.min_signal
    )
    mask |= line_mask(x, options.windows)
    mask |= interval_mask(x, order, options.excluded, Mask.USER)
    return ValidatedOrder(
        order=order,
        wavelength=x,
        flux=flux,
        flux_error=error,
        model=sampled.flux,
        model_error=np.hypot(sampled.stat_error, sampled.sys_error),
        ratio=flux / positive,
        ratio_error=error / positive,
        ratio_used=mean.flux / positive,
        calibration_error=new.error,
        mask=mask,
    )


def _good(item: ValidatedOrder, one: Interval) -> np.ndarray:
    inside = (item.wavelength >= one.low) & (item.wavelength <= one.high)
    return inside & (item.mask == 0)


def range_numbers(
    orders: Iterable[ValidatedOrder], ranges: Sequence[Interval] = DEFAULT_RANGES
) -> list[RangeNumbers]:
    """Describe the ratio over ranges of wavelengths.

    Parameters
    ----------
    orders : iterable of ValidatedOrder
        The orders.
    ranges : sequence of Interval, optional
        Order and wavelengths of each range.

    Returns
    -------
    list of RangeNumbers
        One for each range whose order there is.
    """
    found = {item.order: item for item in orders}
    return [_numbers(found[one.order], one) for one in ranges if one.order in found]


def _numbers(item: ValidatedOrder, one: Interval) -> RangeNumbers:
    good = _good(item, one)
    n = int(good.sum())
    if n == 0:
        return RangeNumbers(item.order, one.low, one.high, 0, *[float("nan")] * 8)
    ratio, error = item.ratio[good], item.ratio_error[good]
    low, middle, high = np.percentile(ratio, [16, 50, 84])
    # The median of normal values has an error sqrt(pi/2) times that of their mean.
    spread = np.sqrt(np.pi / 2 * np.mean(error**2) / n)
    return RangeNumbers(
        item.order, one.low, one.high, n, float(middle), float(low), float(high),
        float(np.sqrt(np.mean((ratio - 1) ** 2))), float(spread), float(np.median(error)),
        float(np.median(item.calibration_error[good])), float(np.median(item.ratio_used[good])),
    )  # fmt: skip


def level(orders: Iterable[ValidatedOrder], ranges: Sequence[Interval] = DEFAULT_RANGES) -> float:
    """Give the general level of the ratio, which the brightness of the model decides.

    Parameters
    ----------
    orders : iterable of ValidatedOrder
        The orders.
    ranges : sequence of Interval, optional
        Order and wavelengths that count.

    Returns
    -------
    float
        Median over all good points of the lowest order that has any; NaN if none has.
    """
    for item in sorted(orders, key=lambda one: one.order):
        good = np.zeros(item.wavelength.shape, bool)
        for one in ranges:
            if one.order == item.order:
                good |= _good(item, one)
        if good.any():
            return float(np.median(item.ratio[good]))
    return float("nan")
