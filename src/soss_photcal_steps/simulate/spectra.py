"""Spectra as they would come out of the pipeline, without images: a fast way to many of them.

Each integration of each order is the truth plus noise whose size follows from the detector:
Poisson noise of star and background, read noise and the residual of the 1/f noise over the
pixels of the aperture.  The orders are taken as separated perfectly.  What images have beside
(bad pixels, cosmic rays, errors of the background that depend on the column) is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import convolve1d

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate.detector import GAIN, GROUP_TIME, read_noise_rate
from soss_photcal_steps.simulate.instrument import EXTRACTED_COLUMNS
from soss_photcal_steps.simulate.observation import ObservationPlan
from soss_photcal_steps.simulate.truth import (
    OrderTruth,
    contamination_counts,
    light_inside,
    order_truth,
)
from soss_photcal_steps.trace import DETECTOR_SIZE, ORDERS

__all__ = ["OrderSpectra", "SimulatedSpectra", "simulate_spectra"]

#: Which photom file the spectra have gone through; with "none" they are in DN/s.
PHOTOM_KINDS = ("filed", "true", "none")
_STREAM = 71
# Typical background where the plan has none, DN/s, and its height right of the break.
_LEVEL_LEFT, _STEP, _BREAK = 3.5, 1.6, 700
_SLOW = np.hanning(41) / 3.87298


@dataclass(frozen=True)
class OrderSpectra:
    """Spectra of one order, in the pipeline's sequence of descending wavelengths.

    Attributes
    ----------
    order : int
        Spectral order.
    wavelength : ndarray, shape (n,)
        um; n is 2048, 1783 and 800 for orders 1, 2 and 3.
    flux : ndarray, shape (nints, n)
        MJy, or DN/s; NaN where the aperture has no pixel.
    error : ndarray, shape (nints, n)
        Error as the pipeline gives it, without the residual of the 1/f noise.
    npixels : ndarray, shape (n,)
        Pixels in the aperture.
    background : ndarray, shape (n,)
        Background that was subtracted from the aperture, DN/s.
    expected : ndarray, shape (n,)
        `flux` without noise.
    truth : OrderTruth
        The truth, over all columns.
    """

    order: int
    wavelength: np.ndarray
    flux: np.ndarray
    error: np.ndarray
    npixels: np.ndarray
    background: np.ndarray
    expected: np.ndarray
    truth: OrderTruth


@dataclass(frozen=True)
class SimulatedSpectra:
    """Spectra of a whole observation.

    Attributes
    ----------
    plan : ObservationPlan
        The observation.
    unit : {"MJy", "DN/s"}
        Unit of the flux.
    n_groups : int
        Groups per integration.
    orders : dict of int to OrderSpectra
        Spectra of each order.
    """

    plan: ObservationPlan
    unit: str
    n_groups: int
    orders: dict[int, OrderSpectra]


def _background(plan: ObservationPlan) -> np.ndarray:
    left = _LEVEL_LEFT if plan.level_left is None else plan.level_left
    ratio = 1.0 if plan.side_ratio is None else plan.side_ratio
    return np.where(np.arange(DETECTOR_SIZE) < _BREAK, left, left * _STEP * ratio)


def _stripes(rng: np.random.Generator, nints: int, sigma: float) -> np.ndarray:
    """Residual of the 1/f noise, one offset per integration and column, DN/s per pixel."""
    white = rng.standard_normal((nints, DETECTOR_SIZE))
    slow = convolve1d(rng.standard_normal((nints, DETECTOR_SIZE)), _SLOW, axis=1, mode="wrap")
    return sigma * np.sqrt(0.5) * (white + slow)


def simulate_spectra(
    plan: ObservationPlan,
    *,
    photom: str = "filed",
    background_residual: float | tuple[float, float] = 0.0,
    orders: tuple[int, ...] = ORDERS,
) -> SimulatedSpectra:
    """Simulate the extracted spectra of an observation, without simulating images.

    Parameters
    ----------
    plan : ObservationPlan
        The observation, of a star; its seed decides the noise.  Sources that are drawn
        (`contamination`) are left out, those that are given by position are in.
    photom : {"filed", "true", "none"}, optional
        Conversion that the spectra go through: that of the pack's photom file, which is
        wrong by `instrument.filed_error`, the true one, or none, which gives DN/s.
    background_residual : float or tuple of float, optional
        Background that was left in (positive) or subtracted too much (negative), DN/s per
        pixel; two values are for left and right of the break.
    orders : tuple of int, optional
        Orders wanted.

    Returns
    -------
    SimulatedSpectra
        The spectra and their truth.

    Raises
    ------
    SossInputError
        If the observation is a dedicated background or an argument is out of its range.
    """
    if plan.star is None:
        raise SossInputError(f"{plan.root} is a dedicated background and has no spectra.")
    if photom not in PHOTOM_KINDS:
        raise SossInputError(
            f"The photom file is one of {', '.join(PHOTOM_KINDS)}, not {photom!r}."
        )
    n_groups = plan.groups
    seconds = GROUP_TIME[plan.subarray] * n_groups
    read_noise = read_noise_rate(plan.subarray, n_groups)
    nints = plan.nints
    seed = plan.seed if plan.noise_seed is None else plan.noise_seed
    rng = np.random.default_rng([seed, _STREAM])
    star_factors = 1 + plan.star_scatter * rng.standard_normal(nints)[:, None]
    stripes = _stripes(rng, nints, plan.one_over_f if plan.noise else 0.0)
    sky = _background(plan)
    left, right = np.broadcast_to(background_residual, 2)
    residual = np.where(np.arange(DETECTOR_SIZE) < _BREAK, left, right)
    contamination = contamination_counts(plan)

    spectra = {}
    for order in orders:
        _, pixels = light_inside(order, plan.pwcpos, plan.subarray)
        truth = order_truth(
            plan, order, background=sky * pixels, contamination=contamination[order]
        )
        light = truth.counts * truth.inside
        mean = light + truth.contamination + residual * pixels
        counts = star_factors * light + (truth.contamination + residual * pixels)
        variance = (light + truth.contamination + truth.background) / (GAIN * seconds)
        variance = variance + read_noise**2 * pixels
        if plan.noise:
            counts = counts + np.sqrt(variance) * rng.standard_normal(counts.shape)
            counts += stripes * pixels
        factor = np.ones(DETECTOR_SIZE)
        if photom != "none":
            factor = truth.response * (truth.filed_error if photom == "filed" else 1.0)
        blind = pixels == 0
        columns = slice(0, EXTRACTED_COLUMNS[order])
        spectra[order] = OrderSpectra(
            order=order,
            wavelength=truth.wavelength[columns].copy(),
            flux=np.where(blind, np.nan, counts * factor)[:, columns],
            error=np.tile(np.where(blind, np.nan, np.sqrt(variance) * factor)[columns], (nints, 1)),
            npixels=pixels[columns].copy(),
            background=truth.background[columns],
            expected=np.where(blind, np.nan, mean * factor)[columns],
            truth=truth,
        )
    return SimulatedSpectra(plan, "DN/s" if photom == "none" else "MJy", n_groups, spectra)
