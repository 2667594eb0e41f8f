"""Sources in a background exposure: stars, their traces and zero orders, with their halos."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from photutils.segmentation import detect_sources
from photutils.utils.exceptions import NoDetectionsWarning
from scipy.ndimage import distance_transform_edt, gaussian_filter, maximum

from soss_photcal_steps.averages import robust_scale

__all__ = ["MaskOptions", "mask_faint_light", "mask_sources"]

# Significance of a segment's brightest pixel, and by how much more its mask is grown, pixels.
_HALOS = ((5.0, 4), (20.0, 8), (100.0, 16), (500.0, 32))
# Smoothing before the search, pixels along rows and columns of the array: zero orders are tall.
_KERNEL = (2.5, 1.5)
_LEAST_PIXELS = 6
# A pixel this far off alone is bad, in units of the noise.
_SINGLE = 5.0
# The second look, at light that is spread widely: smoothing along rows and columns of the array,
# share of it that must be seen, threshold in units of the scatter of what is too dark, growth.
_WIDE_KERNEL, _WIDE_SHARE, _WIDE_SIGMA, _WIDE_GROW, _WIDE_LOOKS = (8.0, 24.0), 0.1, 2.5, 4, 2
# Light only adds to a column, so that its noise is looked for below the middle.
_COLUMN_QUANTILE = 0.4


@dataclass(frozen=True)
class MaskOptions:
    """Settings of the search.

    Attributes
    ----------
    n_sigma : float
        Threshold in units of the noise of the smoothed residual.
    grow : int
        Pixels by which each segment is grown, and more for a bright one.
    """

    n_sigma: float = 3.0
    grow: int = 4


def mask_sources(
    residual: np.ndarray,
    error: np.ndarray,
    good: np.ndarray,
    options: MaskOptions | None = None,
) -> np.ndarray:
    """Find the pixels that the light of a source reaches, and single bad pixels.

    Parameters
    ----------
    residual : ndarray, shape (ny, nx)
        Image less a smooth background, DN/s.
    error : ndarray
        Its standard error, DN/s.
    good : ndarray of bool
        Valid pixels.
    options : MaskOptions, optional
        Settings.

    Returns
    -------
    ndarray of bool
        True where a pixel is not to be used.
    """
    options = options or MaskOptions()
    pull = np.where(good, residual / np.where(good & (error > 0), error, 1.0), 0.0)
    noise = max(robust_scale(pull[good]), 1.0) if good.any() else 1.0
    single = np.abs(pull) > _SINGLE * noise
    # A lone hot pixel must not look like a source when its light is spread.
    bounded = np.clip(pull, -4 * noise, 6 * noise)
    share = gaussian_filter(good.astype(float), _KERNEL)
    smooth = gaussian_filter(bounded, _KERNEL) / np.maximum(share, 0.2)
    smooth[~good & (share < 0.3)] = 0
    level = robust_scale(smooth[good])
    if not np.isfinite(level) or level == 0:
        return single
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        segments = detect_sources(smooth, options.n_sigma * level, n_pixels=_LEAST_PIXELS)
    masked = single.copy()
    if segments is None:
        return masked
    labels = np.asarray(segments.data)
    numbers = np.arange(1, labels.max() + 1)
    # Of a bright source the unbounded light says how far its halo reaches.
    light = gaussian_filter(np.clip(pull, 0, 5000 * noise), 1.0)
    peak = np.asarray(maximum(light, labels, numbers)) / noise
    for least, extra in ((0.0, 0), *_HALOS):
        chosen = np.isin(labels, numbers[peak >= least])
        if chosen.any():
            radius = options.grow + extra
            masked |= _grown(chosen, radius)
    return masked


def mask_faint_light(residual: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Find light that is too faint and too wide for `mask_sources`, such as wings and halos.

    Noise that is common to a column (1/f) is taken off, which leaves little noise in a mean over
    some two thousand pixels.  Light only adds: what is too dark tells how large the noise is,
    and with it all that the sky does not follow its model in.

    Parameters
    ----------
    residual : ndarray, shape (ny, nx)
        Image less the sky, DN/s.
    keep : ndarray of bool
        Pixels that are not masked already.

    Returns
    -------
    ndarray of bool
        Further pixels that are not to be used.
    """
    faint = np.zeros(residual.shape, bool)
    for _ in range(_WIDE_LOOKS):
        use = keep & ~faint
        rest = np.where(use, residual - _column_quantile(residual, use), 0.0)
        share = gaussian_filter(use.astype(np.float32), _WIDE_KERNEL)
        known = share > _WIDE_SHARE
        smooth = gaussian_filter(rest, _WIDE_KERNEL) / np.where(known, share, 1)
        seen = smooth[known & use]
        if seen.size == 0:
            break
        middle = float(np.median(seen))
        noise = robust_scale(seen[seen < middle] - middle)
        if not noise > 0:
            break
        faint |= _grown(known & (smooth - middle > _WIDE_SIGMA * noise), _WIDE_GROW)
    return faint & keep


def _column_quantile(image: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Give a quantile of each column; 0 where nothing is used."""
    ordered = np.sort(np.where(use, image, np.inf), axis=0)
    count = use.sum(axis=0)
    place = np.floor(_COLUMN_QUANTILE * np.maximum(count - 1, 0)).astype(int)
    return np.where(count > 0, ordered[place, np.arange(image.shape[1])], 0.0)


def _grown(mask: np.ndarray, radius: int) -> np.ndarray:
    """Dilate by a disc."""
    if not mask.any():
        return mask
    return np.asarray(distance_transform_edt(~mask) <= radius)
