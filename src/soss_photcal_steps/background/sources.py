"""Contaminants in the sky: zero orders, traces of field stars, clusters of bad pixels."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.special import ndtri

from soss_photcal_steps.background.sky import ROWS_PER_BIN, Blocks, Sky, smooth_over_blocks

__all__ = ["find_sources"]

# Boxes that sources are looked for in: lines of bins and bins; and the blocks, up and along,
# that tell the local level.  It is their median for small boxes.  A trace of a field star is as
# long as the image is wide and covers many rows, so its level is a lower quantile of the blocks
# above and below it.
_WIDE, _TALL = (3, 5), (11, 1)
_LONG = (11, 24)
# Low enough that a trace through two thirds of the blocks does not raise the level.
_LOW = 0.3
# Size of the box that the edges of the level's blocks are smoothed with, lines and bins.
_EDGES = (11, 17)
# A zone with fewer values has the scatter of the whole image.
_ENOUGH = 50
_KERNELS = (((2, 1), _WIDE), ((5, 2), _WIDE), ((11, 3), _TALL), (_LONG, _TALL))

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
    return _spread(_spread(mask, lines, 0), bins, 1)


def _spread(mask: np.ndarray, width: int, axis: int) -> np.ndarray:
    """Dilate along an axis."""
    moved = np.moveaxis(mask, axis, 0)
    # As filters of scipy have it: of an even width, one more before than behind.
    result = _drawn_out(moved, width // 2) | _drawn_out(moved[::-1], (width - 1) // 2)[::-1]
    return np.moveaxis(result, 0, axis)


def _drawn_out(mask: np.ndarray, reach: int) -> np.ndarray:
    """Dilate towards higher indices of the first axis, by copies that are moved ever further."""
    result, covered = mask.copy(order="K"), 0
    while covered < reach:
        step = min(covered + 1, reach - covered)
        result[step:] |= result[:-step]
        covered += step
    return result


def find_sources(
    sky: Sky,
    weight: np.ndarray,
    residual: np.ndarray,
    variance: np.ndarray,
    blocks: Blocks,
    zone: np.ndarray,
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
    zone : ndarray of int
        Zone of the distance from the star's traces, shape (ny, nb); the scatter is that of
        each zone.
    n_sigma : float
        Threshold in units of the noise.

    Returns
    -------
    ndarray of bool
        Shape (ny, nb).
    """
    used = weight > 0
    found = np.zeros(used.shape, bool)
    residual = np.where(used, residual, 0).astype(np.float32)
    inverse = np.where(used, 1 / variance, 0).astype(np.float32)
    norms = [
        np.sqrt(np.maximum(uniform_filter(inverse, k, mode="constant") * (k[0] * k[1]), 1e-30))
        for k, _ in _KERNELS
    ]
    for _ in range(3):
        active = used & ~found
        seen = np.where(active, weight, 0)
        low = smooth_over_blocks(residual, seen, blocks, _TALL, _LOW)
        low -= _quantile_of_noise(sky, seen, blocks, _TALL, _LOW)
        levels = {_WIDE: smooth_over_blocks(residual, seen, blocks, _WIDE), _TALL: low}
        signals = {reach: (residual - _rounded(level)) * inverse for reach, level in levels.items()}
        fresh = np.zeros_like(found)
        for ((lines, bins), reach), norm in zip(_KERNELS, norms, strict=True):
            total = uniform_filter(signals[reach], (lines, bins), mode="constant")
            significance = total * (lines * bins) / norm
            significance /= _scatter(significance, active, zone)
            hit = significance > n_sigma
            if lines <= 2:
                hit |= significance < -n_sigma
            if hit.any():
                if (lines, bins) == _LONG:
                    # The box reaches beyond a trace by itself, and a trace has no halo.
                    fresh |= grow(hit, (lines // 2) | 1, (bins // 2) | 1)
                    continue
                fresh |= grow(hit, lines | 1, (bins // 2) | 1)
                for factor, halo in _HALOS:
                    bright = significance > factor * n_sigma
                    if bright.any():
                        fresh |= grow(
                            bright,
                            lines + 2 * halo // ROWS_PER_BIN,
                            bins // 2 + 2 * halo // sky.factor,
                        )
        fresh &= ~found
        found |= fresh
        if not fresh.any():
            break
    return found


def _rounded(level: np.ndarray) -> np.ndarray:
    """Smooth the edges of the blocks: two boxes do it as a Gaussian does, in less time."""
    once = uniform_filter(level.astype(np.float32), _EDGES, mode="nearest")
    return uniform_filter(once, _EDGES, mode="nearest")


def _quantile_of_noise(
    sky: Sky, weight: np.ndarray, blocks: Blocks, reach: tuple[int, int], quantile: float
) -> np.ndarray:
    """Where a quantile over neighbouring blocks lies in noise alone, in every bin."""
    number = blocks.sums((weight > 0).astype(float))
    noise = np.sqrt(blocks.sums(np.where(weight > 0, sky.variance, 0))) / np.maximum(number, 1)
    known = (number > 0).astype(float).reshape(blocks.shape)
    count = np.maximum(uniform_filter(known, reach, mode="constant") * (reach[0] * reach[1]), 1)
    # Blom's approximation of the mean of an order statistic of normal values.
    place = (quantile * (count - 1) + 0.625) / (count + 0.25)
    return (ndtri(place).ravel() * noise)[blocks.index]


def _scatter(significance: np.ndarray, active: np.ndarray, zone: np.ndarray) -> np.ndarray:
    """Scatter of what should be normal values, at least 1, in each zone.

    Sources only add light, so the negative values tell it.
    """
    # Neighbours in a smoothed image say the same.
    sample = (slice(None, None, 2), slice(None, None, 2))
    low = active[sample] & (significance[sample] < 0)
    values, place = significance[sample][low], zone[sample][low]
    whole = max(-np.median(values) * 1.48, 1.0) if values.size else 1.0
    levels = np.full(int(zone.max()) + 1, whole, np.float32)
    for k in range(len(levels)):
        here = values[place == k]
        if here.size > _ENOUGH:
            levels[k] = max(-np.median(here) * 1.48, 1.0)
    return levels[zone]
