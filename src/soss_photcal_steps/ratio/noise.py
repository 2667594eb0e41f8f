"""Noise of a curve: its scatter, and errors that can serve as weights."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter

from soss_photcal_steps.averages import robust_scale

__all__ = ["local_scale", "usable_errors"]

# Quoted errors are themselves estimates from few integrations: their running median is steadier.
_ERROR_WINDOW = 31
# A pixel this much worse than its surroundings is believed.
_BAD_PIXEL = 3.0
# The scatter is measured in blocks of some points.
_BLOCK = 64


def usable_errors(y: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Give errors that can serve as weights.

    The errors are smoothed with a running median, as each is an estimate of its own; only one
    that is far larger than its surroundings stays.  Errors that are missing or not positive are
    those of the surroundings; with none at all they are the scatter from point to point.

    Parameters
    ----------
    y, error : ndarray
        Points in order, and their quoted errors, shape (n,).

    Returns
    -------
    ndarray
        Errors, all positive and finite.
    """
    known = np.isfinite(error) & (error > 0)
    tiny = 1e-9 * max(float(np.median(np.abs(y))), 1e-30)
    if known.sum() < 3:
        step = np.diff(y)
        scatter = robust_scale(step) / np.sqrt(2) if step.size else 0.0
        return np.full(y.size, max(scatter, tiny))
    place = np.arange(y.size)
    filled = np.interp(place, place[known], error[known])
    smooth = median_filter(filled, min(_ERROR_WINDOW, y.size), mode="mirror")
    smooth = np.where(known & (filled > _BAD_PIXEL * smooth), filled, smooth)
    return np.maximum(smooth, tiny)


def local_scale(normalised: np.ndarray) -> np.ndarray:
    """Give the scatter of residuals as it changes along the curve.

    Parameters
    ----------
    normalised : ndarray
        Residuals in order, over their quoted errors, shape (n,).

    Returns
    -------
    ndarray
        Robust standard deviation around each point, from blocks of about 64 points.
    """
    n = normalised.size
    blocks = np.array_split(np.arange(n), max(n // _BLOCK, 1))
    values = np.array([robust_scale(normalised[block]) for block in blocks])
    least = 1e-3 * float(np.median(values))
    values = np.maximum(values, least if least > 0 else 1e-12)
    if values.size >= 3:
        inner = np.median(np.lib.stride_tricks.sliding_window_view(values, 3), axis=1)
        values = np.concatenate([values[:1], inner, values[-1:]])
    return np.interp(np.arange(n), [block.mean() for block in blocks], values)
