"""From a mean spectrum and a model to the ratio of one order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from soss_photcal_steps.ratio.curve import fit_curve
from soss_photcal_steps.ratio.lines import line_mask
from soss_photcal_steps.ratio.masks import data_mask, interval_mask, known_mask
from soss_photcal_steps.ratio.mean import MeanSpectrum
from soss_photcal_steps.ratio.options import FitOptions
from soss_photcal_steps.ratio.order import Mask, OrderRatio
from soss_photcal_steps.ratio.sampling import ModelSpectrum, sample_model
from soss_photcal_steps.ratio.spectra import FLUX_UNITS
from soss_photcal_steps.ratio.standards import Interval, KnownObservation

__all__ = ["RatioOptions", "derive_order", "fit_order", "misfit_unit", "typical_ratio"]

# A typical ratio within this factor of 1 is one.
_PLAUSIBLE = 3.0


@dataclass(frozen=True)
class RatioOptions:
    """Settings of the ratio of one order.

    Attributes
    ----------
    sampling : {"auto", "interpolate", "integrate"}
        How the model is brought to the wavelengths.
    line_width : float or None
        Width that the model is convolved with, pixels.
    windows : mapping of str to float
        Half widths of the windows around hydrogen lines, by series; none are masked if empty.
    known : KnownObservation or None
        What the table of standards says.
    mask_contamination, mask_ranges : bool
        Whether its contaminated intervals, and its ranges, are masked.
    user : sequence of Interval
        Intervals that the user wants to be left out.
    contamination : sequence of Interval
        Further contaminated intervals.
    min_signal : float
        Least ratio of flux to error.
    fit : FitOptions
        Settings of the curve.
    """

    sampling: str = "auto"
    line_width: float | None = None
    windows: Mapping[str, float] = field(default_factory=dict)
    known: KnownObservation | None = None
    mask_contamination: bool = True
    mask_ranges: bool = True
    user: Sequence[Interval] = ()
    contamination: Sequence[Interval] = ()
    min_signal: float = 5.0
    fit: FitOptions = field(default_factory=FitOptions)


def derive_order(
    order: int, mean: MeanSpectrum, model: ModelSpectrum, options: RatioOptions
) -> OrderRatio:
    """Divide the mean spectrum of an order by the model, and mask what is not to be fitted.

    Parameters
    ----------
    order : int
        Spectral order.
    mean : MeanSpectrum
        Mean observed flux, Jy.
    model : ModelSpectrum
        Model of the star.
    options : RatioOptions
        Settings.

    Returns
    -------
    OrderRatio
        Ratio with its error and mask; not fitted yet, see `fit_order`.
    """
    x = mean.wavelength
    sampled = sample_model(model, x, options.sampling, options.line_width)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(sampled.flux > 0, mean.flux / sampled.flux, np.nan)
        error = np.where(sampled.flux > 0, mean.error / sampled.flux, np.nan)
    mask = data_mask(
        mean.flux, mean.error, sampled.flux, mean.n_used, mean.n_total,
        min_signal=options.min_signal,
    )  # fmt: skip
    mask |= line_mask(x, options.windows)
    mask |= known_mask(
        x, order, options.known,
        contamination=options.mask_contamination, ranges=options.mask_ranges,
    )  # fmt: skip
    mask |= interval_mask(x, order, options.contamination, Mask.CONTAMINATION)
    mask |= interval_mask(x, order, options.user, Mask.USER)
    unknown = np.full(x.shape, np.nan)
    return OrderRatio(
        order=order,
        wavelength=x,
        observed=mean.flux,
        observed_error=mean.error,
        n_used=mean.n_used,
        model=sampled.flux,
        model_stat_error=sampled.stat_error,
        model_sys_error=sampled.sys_error,
        ratio=ratio,
        ratio_error=error,
        mask=mask,
        fit=unknown,
        fit_error=unknown.copy(),
        fit_description={
            "status": "not fitted",
            "reason": "not tried yet",
            "sections": [],
            "model_integrated": float(np.mean(sampled.integrated)),
        },
    )


def fit_order(item: OrderRatio, options: FitOptions) -> OrderRatio:
    """Lay the smooth curve through the good points of a ratio.

    Parameters
    ----------
    item : OrderRatio
        The ratio.
    options : FitOptions
        Settings.

    Returns
    -------
    OrderRatio
        The same with the curve, and with the points that the fit rejected marked.
    """
    found = fit_curve(item.wavelength, item.ratio, item.ratio_error, item.mask, options)
    mask = item.mask.copy()
    mask[found.outlier] |= np.uint32(Mask.OUTLIER)
    return replace(
        item,
        fit=found.curve,
        fit_error=found.error,
        mask=mask,
        fit_description={**item.fit_description, **found.description},
    )


def typical_ratio(orders: Iterable[OrderRatio]) -> float:
    """Give the median ratio of the good points of all orders.

    Parameters
    ----------
    orders : iterable of OrderRatio
        The orders.

    Returns
    -------
    float
        The median; NaN if there are no good points.
    """
    values = [item.ratio[item.mask == 0] for item in orders]
    joined = np.concatenate(values) if values else np.zeros(0)
    return float(np.median(joined)) if joined.size else float("nan")


def misfit_unit(ratio: float, unit: str) -> str:
    """Tell which unit the fluxes really are in, if a typical ratio says that it is another.

    Parameters
    ----------
    ratio : float
        Typical ratio of observed to model flux.
    unit : str
        Unit that the fluxes were taken to be in.

    Returns
    -------
    str
        The unit that brings the ratio to within a factor 3 of 1; empty if `unit` does, or none
        does.
    """
    if not np.isfinite(ratio) or ratio <= 0:
        return ""

    def fits(value: float) -> bool:
        return 1 / _PLAUSIBLE < value < _PLAUSIBLE

    if fits(ratio):
        return ""
    for other, size in FLUX_UNITS.items():
        if other != unit and fits(ratio * size / FLUX_UNITS[unit]):
            return other
    return ""
