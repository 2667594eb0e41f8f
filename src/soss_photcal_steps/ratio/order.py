"""What is known of one spectral order of one observation: spectra, ratio, mask and fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any

import numpy as np

__all__ = ["MASK_TITLES", "Mask", "OrderRatio"]


class Mask(IntFlag):
    """Why a wavelength is left out of the fit; bits of `OrderRatio.mask`.

    A point with mask 0 is good.
    """

    NOT_FINITE = 1
    FEW_INTEGRATIONS = 2
    OUT_OF_RANGE = 4
    LOW_SIGNAL = 8
    NO_MODEL = 16
    BALMER = 32
    PASCHEN = 64
    BRACKETT = 128
    PFUND = 256
    OTHER_LINE = 512
    CONTAMINATION = 1024
    USER = 2048
    OUTLIER = 4096


#: What each bit of the mask means, for legends and tables.
MASK_TITLES: dict[Mask, str] = {
    Mask.NOT_FINITE: "no finite value",
    Mask.FEW_INTEGRATIONS: "too few integrations",
    Mask.OUT_OF_RANGE: "outside the valid range",
    Mask.LOW_SIGNAL: "low signal",
    Mask.NO_MODEL: "no model flux",
    Mask.BALMER: "Balmer line",
    Mask.PASCHEN: "Paschen line",
    Mask.BRACKETT: "Brackett line",
    Mask.PFUND: "Pfund line",
    Mask.OTHER_LINE: "other line",
    Mask.CONTAMINATION: "contamination",
    Mask.USER: "masked by the user",
    Mask.OUTLIER: "outlier of the fit",
}


@dataclass(frozen=True)
class OrderRatio:
    """One order of one observation.  All arrays have shape (n,), by rising wavelength.

    Attributes
    ----------
    order : int
        Spectral order.
    wavelength : ndarray
        Vacuum wavelength, um.
    observed, observed_error : ndarray
        Mean observed flux and its standard error, Jy.
    n_used : ndarray of int
        Integrations that went into the mean.
    model, model_stat_error, model_sys_error : ndarray
        Model flux with its statistical and systematic errors, Jy.
    ratio, ratio_error : ndarray
        Observed over model, and its error from the scatter of the integrations.
    mask : ndarray of uint32
        Bits of `Mask`; 0 is good.
    fit, fit_error : ndarray
        Smooth curve through the good points of `ratio` and its 1-sigma error; NaN where
        there is no fit.
    fit_description : dict
        How the fit was made: ``status`` (``fitted`` or ``not fitted``), ``reason``, and per
        section ``low``, ``high`` (um), ``method`` (``legendre``, ``spline`` of few knots, or
        ``smooth`` for a smoothing spline), ``degree``, ``knots`` (inner ones, um), ``freedom``
        (effective number of parameters), ``coefficients`` (of the Legendre series over ``low`` to
        ``high``, or of the cubic B-splines on the knots with ``low`` and ``high`` four times
        each), ``rms`` (of the residuals), ``n_points``, ``n_rejected``, ``noise`` (scatter over
        quoted error), ``slow_share`` and ``slow_length`` (noise that neighbours share: its variance
        over that of the white noise, and the points over which it falls to 1 / e),
        ``correlation`` (variance of a mean of neighbours over that of independent
        points), ``chi_square`` (reduced, of the means in bins) and ``passed`` (the test of the
        residuals).
    """

    order: int
    wavelength: np.ndarray
    observed: np.ndarray
    observed_error: np.ndarray
    n_used: np.ndarray
    model: np.ndarray
    model_stat_error: np.ndarray
    model_sys_error: np.ndarray
    ratio: np.ndarray
    ratio_error: np.ndarray
    mask: np.ndarray
    fit: np.ndarray
    fit_error: np.ndarray
    fit_description: dict[str, Any] = field(default_factory=dict)
