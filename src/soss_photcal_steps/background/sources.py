"""Contaminants in the sky: zero orders, traces of field stars, clusters of bad pixels."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter1d, uniform_filter

from soss_photcal_steps.background.sky import ROWS_PER_BIN, Blocks, Sky, smooth_over_blocks

__all__ = ["find_sources"]

# Boxes that sources are looked for in: lines of bins and bins.
_KERNELS = ((2, 1), (5, 2), (11, 3), (11, 24))

# Halos: significance over the threshold, and how far the mask is grown, pixels.
_HALOS = ((8.0, 12), (60.0, 26), (400.0, 44))


def grow(mask: np.ndarray, lines: int, bins: int) -> np.ndarray:
    """Dilate a mask by a box.

    Parameters
    ----------
    mask : ndarray of bool
        Shape (ny, nb).
    lines, bins : int
        Size of the box.

    Returns
    -------
    ndarray of bool
        The larger mask.
    """
    tall = maximum_filter1d(mask.astype(np.uint8), lines, axis=0, mode="constant")
    return maximum_filter1d(tall, bins, axis=1, mode="constant").astype(bool)


def find_sources(
    sky: Sky,
    weight: np.ndarray,
    residual: np.ndarray,
    variance: np.ndarray,
    blocks: Blocks,
    n_sigma: float = 4.5,
) -> np.ndarray:
    """Bins that are covered by sources.

    The residual is compared with its own local level, so that a template of
    slightly wrong shape is not taken for sources.

    Parameters
    ----------
    sky : Sky
        The binned image.
    weight : ndarray
        Number of good pixels per bin, 0 where masked already.
    residual : ndarray
        Image minus model, shape (ny, nb), DN/s.
    variance : ndarray
        Variance of the residual with the uncertainty of the model, (DN/s)^2.
    blocks : Blocks
        Layout for the local level.
    n_sigma : float
        Threshold in units of the noise.

    Returns
    -------
    ndarray of bool
        Shape (ny, nb).
    """
    used = weight > 0
    found = np.zeros(used.shape, bool)
    inverse = np.where(used, 1 / variance, 0).astype(np.float32)
    norms = [
        np.sqrt(np.maximum(uniform_filter(inverse, k, mode="constant") * (k[0] * k[1]), 1e-30))
        for k in _KERNELS
    ]
    for _ in range(2):
        active = used & ~found
        local = smooth_over_blocks(residual, np.where(active, weight, 0), blocks)
        local = gaussian_filter(local, (4, 6))
        signal = np.where(used, (residual - local) * inverse, 0).astype(np.float32)
        fresh = np.zeros_like(found)
        for (lines, bins), norm in zip(_KERNELS, norms, strict=True):
            total = uniform_filter(signal, (lines, bins), mode="constant")
            significance = total * (lines * bins) / norm
            level = np.abs(significance[active])
            noise = max(np.median(level[::7]) * 1.48, 1.0) if level.size else 1.0
            hit = significance > n_sigma * noise
            if lines <= 2:
                hit |= significance < -n_sigma * noise
            if hit.any():
                fresh |= grow(hit, lines | 1, (bins // 2) | 1)
                for factor, reach in _HALOS:
                    bright = significance > factor * n_sigma * noise
                    if bright.any():
                        fresh |= grow(
                            bright,
                            lines + 2 * reach // ROWS_PER_BIN,
                            bins // 2 + 2 * reach // sky.factor,
                        )
        fresh &= ~found
        found |= fresh
        if not fresh.any():
            break
    return found
