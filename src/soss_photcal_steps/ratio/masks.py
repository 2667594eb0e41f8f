"""Which wavelengths of an order are left out of the fit, and why."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from soss_photcal_steps.ratio.order import Mask
from soss_photcal_steps.ratio.standards import Interval, KnownObservation

__all__ = ["data_mask", "interval_mask", "known_mask"]


def interval_mask(
    wavelength: np.ndarray, order: int, intervals: Iterable[Interval], bit: Mask
) -> np.ndarray:
    """Mark the wavelengths within intervals.

    Parameters
    ----------
    wavelength : ndarray
        Wavelengths, shape (n,), um.
    order : int
        Spectral order; intervals of other orders do not matter.
    intervals : iterable of Interval
        The intervals, with their ends.
    bit : Mask
        The mark.

    Returns
    -------
    ndarray of uint32
        Bits of `Mask`, shape (n,).
    """
    bits = np.zeros(np.shape(wavelength), np.uint32)
    for one in intervals:
        if one.order == order:
            bits[(wavelength >= one.low) & (wavelength <= one.high)] |= np.uint32(bit)
    return bits


def known_mask(
    wavelength: np.ndarray,
    order: int,
    known: KnownObservation | None,
    *,
    contamination: bool = True,
    ranges: bool = True,
) -> np.ndarray:
    """Mark what the table of standards says of an observation.

    Parameters
    ----------
    wavelength : ndarray
        Wavelengths, shape (n,), um.
    order : int
        Spectral order.
    known : KnownObservation or None
        Entry of the table; nothing is marked if there is none.
    contamination, ranges : bool, optional
        Whether contaminated intervals, and what lies outside the valid ranges or inside the
        excluded ones, are marked.

    Returns
    -------
    ndarray of uint32
        Bits of `Mask`, shape (n,).
    """
    bits = np.zeros(np.shape(wavelength), np.uint32)
    if known is None:
        return bits
    if contamination:
        bits |= interval_mask(wavelength, order, known.contamination, Mask.CONTAMINATION)
    if ranges:
        bits |= interval_mask(wavelength, order, known.excluded, Mask.OUT_OF_RANGE)
        valid = [one for one in known.valid if one.order == order]
        if valid:
            inside = interval_mask(wavelength, order, valid, Mask.OUT_OF_RANGE)
            bits[inside == 0] |= np.uint32(Mask.OUT_OF_RANGE)
    return bits


def data_mask(
    observed: np.ndarray,
    observed_error: np.ndarray,
    model: np.ndarray,
    n_used: np.ndarray,
    n_total: int,
    *,
    min_signal: float = 5.0,
    min_fraction: float = 0.3,
) -> np.ndarray:
    """Mark what the spectra themselves say is not usable.

    Parameters
    ----------
    observed, observed_error, model : ndarray
        Mean flux, its error, and the model, shape (n,), in one unit.
    n_used : ndarray of int
        Integrations in each mean.
    n_total : int
        Integrations in all.
    min_signal : float, optional
        Least ratio of flux to error.
    min_fraction : float, optional
        Least fraction of the integrations that went into the mean.

    Returns
    -------
    ndarray of uint32
        Bits of `Mask`, shape (n,).
    """
    observed, model = np.asarray(observed, float), np.asarray(model, float)
    bits = np.zeros(observed.shape, np.uint32)
    bits[~np.isfinite(observed)] |= np.uint32(Mask.NOT_FINITE)
    bits[~np.isfinite(model) | (model <= 0)] |= np.uint32(Mask.NO_MODEL)
    bits[np.asarray(n_used) < min_fraction * n_total] |= np.uint32(Mask.FEW_INTEGRATIONS)
    with np.errstate(invalid="ignore", divide="ignore"):
        weak = observed < min_signal * observed_error
    # A mean that is not positive has no signal, whatever its error.
    weak |= np.isfinite(observed) & (observed <= 0)
    bits[weak] |= np.uint32(Mask.LOW_SIGNAL)
    return bits
