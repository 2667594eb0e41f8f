"""A background template from dedicated exposures: sources masked, combined, and smoothed.

A template is subtracted from every integration, and its noise with it.  So the mean of the
exposures is smoothed as far as the background allows: along the columns over many rows, since
the background hardly changes there once its tilted break is upright, and along the rows little
at the break and more elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import (
    binary_dilation,
    gaussian_filter,
    gaussian_filter1d,
    median_filter,
    uniform_filter,
    zoom,
)

from soss_photcal_steps.averages import robust_scale
from soss_photcal_steps.background.breaks import SEARCH_COLUMNS

__all__ = ["DedicatedTemplate", "dedicated_template", "mask_sources"]

# Smoothing of the profile along the rows, and of the ratio to it: a wider one in larger gaps.
_SIGMA_BREAK, _SIGMA_ELSEWHERE = 1.0, 6.0
_REACHES = (16.0, 64.0)
_LEAST_WEIGHT = 0.1
# Columns per row by which the break is tilted, as in the published SUBSTRIP96 template and in
# the frame of WASP-39.  Sources near the break would spoil a fit of it to each exposure.
_TILT = 0.032
# The tail of the break, in columns beyond those that it is looked for in.
_TAIL = 110
# Blocks whose medians tell how the background changes along the columns: rows, columns.
_BLOCK = (32, 64)
# A pixel, and a mean over boxes of these sizes, this far above the background is a source.
_CLIP, _BOXES = 4.0, (3, 9)
# The light of a source reaches beyond the box that it is noticed in, pixels.
_GROW = 6
_ROUNDS = 3


@dataclass(frozen=True)
class DedicatedTemplate:
    """A template made of dedicated background exposures.

    Attributes
    ----------
    image : ndarray
        Template, shape (ny, nx), DN/s, without gaps.
    masked : ndarray
        Share of the pixels of each exposure that was masked as source or bad, shape (n,).
    scales : ndarray
        Level of each exposure relative to the mean of all, shape (n,).
    """

    image: np.ndarray
    masked: np.ndarray
    scales: np.ndarray


def dedicated_template(images: Sequence[np.ndarray]) -> DedicatedTemplate:
    """Combine exposures of the background into one template.

    Parameters
    ----------
    images : sequence of ndarray
        Combined image of each exposure, shape (ny, nx), DN/s; NaN where bad.

    Returns
    -------
    DedicatedTemplate
        The template, at the mean level of the exposures.

    Raises
    ------
    ValueError
        If there is no exposure, or one has no background left after masking.
    """
    if not images:
        raise ValueError("no background exposure was given")
    total, count = np.zeros(images[0].shape), np.zeros(images[0].shape)
    levels: list[float] = []
    masked = []
    first = None
    for number, image in enumerate(images):
        good = np.isfinite(image)
        keep = good & ~mask_sources(image, good)
        if keep.mean() < 0.05:
            raise ValueError(f"background exposure {number} has no sky pixels left after masking")
        # Each exposure shows other pixels: their levels are compared by the shape of the first.
        level = float(np.median(image[keep] if first is None else image[keep] / first[keep]))
        if level <= 0:
            raise ValueError(
                f"background exposure {number} has a median level of {level:.3g} DN/s, "
                "which is not positive"
            )
        total[keep] += image[keep] / level
        count[keep] += 1
        levels.append(level)
        masked.append(1 - keep.mean())
        if first is None:
            first = _smooth_image(total, count)
    mean_level = float(np.mean(levels))
    smooth = _smooth_image(total / np.maximum(count, 1), count)
    return DedicatedTemplate(
        (smooth * mean_level).astype(np.float32), np.array(masked), np.array(levels) / mean_level
    )


def _smooth_image(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Smooth an image with its tilted break."""
    shifts = _tilt(len(image))
    return _turn(_smooth(_turn(image, shifts), _turn(weight, shifts)), -shifts)


def mask_sources(image: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Find sources: pixels above the smooth background, with what surrounds them.

    Parameters
    ----------
    image : ndarray
        Shape (ny, nx), DN/s.
    good : ndarray of bool
        Pixels to look at.

    Returns
    -------
    ndarray of bool
        Pixels with the light of a source, and single pixels that stand out.
    """
    shifts = _tilt(len(image))
    upright = _turn(np.where(good, image, 0.0), shifts)
    valid = _turn(good, shifts)
    source = np.zeros(image.shape, bool)
    for _ in range(_ROUNDS):
        keep = valid & ~source
        if not keep.any():
            break
        residual = np.where(valid, upright - _background(upright, keep), 0.0)
        sigma = robust_scale(residual[keep])
        # A hot pixel is no source: what it adds to the boxes around it is bounded.
        bounded = np.clip(residual, -_CLIP * sigma, 1.5 * _CLIP * sigma)
        found = np.zeros(image.shape, bool)
        for size in _BOXES:
            share = uniform_filter(valid.astype(float), size)
            known = share > 0.3
            local = uniform_filter(bounded, size) / np.where(known, share, 1)
            hit = known & (local > _CLIP * robust_scale(local[keep & known]))
            found |= binary_dilation(hit, iterations=size // 2 + _GROW)
        source = found | (np.abs(residual) > 1.5 * _CLIP * sigma)
    return _turn(source, -shifts) & good


def _tilt(n_rows: int) -> np.ndarray:
    """Whole columns by which each row is shifted to make the break upright, shape (n_rows,)."""
    return np.round(_TILT * (np.arange(n_rows) - (n_rows - 1) / 2)).astype(int)


def _turn(image: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Shift every row to the left; the ends are continued by their last value."""
    columns = np.clip(np.arange(image.shape[1]) + shifts[:, None], 0, image.shape[1] - 1)
    return np.take_along_axis(image, columns, axis=1)


def _background(image: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Median of each column, and the medians of what is left in blocks."""
    masked = np.ma.masked_array(image, ~keep)
    whole = float(np.median(image[keep]))
    column = np.ma.median(masked, axis=0).filled(whole)
    rest = np.where(keep, image - column, np.nan)
    ny, nx = image.shape
    rows, columns = max(ny // _BLOCK[0], 1), max(nx // _BLOCK[1], 1)
    inner = rest[: ny // rows * rows, : nx // columns * columns]
    blocks = inner.reshape(rows, ny // rows, columns, nx // columns).swapaxes(1, 2)
    blocks = np.ma.masked_invalid(blocks.reshape(rows, columns, -1))
    coarse = median_filter(np.ma.median(blocks, axis=2).filled(0.0), (3, 3), mode="nearest")
    return column + zoom(coarse, (ny / rows, nx / columns), order=1, grid_mode=True, mode="nearest")


def _smooth(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Smooth an upright image: a profile along the rows, times a slowly changing ratio."""
    count = weight.sum(axis=0)
    seen = count > 0
    columns = np.arange(image.shape[1])
    if not seen.all():
        image, weight = np.where(weight > 0, image, 0.0), np.where(seen, weight, 0.0)
    mean = (image * weight).sum(axis=0) / np.maximum(count, 1)
    mean = np.interp(columns, columns[seen], mean[seen])
    low, high = SEARCH_COLUMNS[0] - 20, SEARCH_COLUMNS[1] + _TAIL
    share = np.clip(np.maximum(low - columns, columns - high) / 60.0, 0, 1)
    profile = (1 - share) * gaussian_filter1d(mean, _SIGMA_BREAK) + share * gaussian_filter1d(
        mean, _SIGMA_ELSEWHERE
    )
    # Of the ratio a gap's surroundings tell more than of the image, which has steep parts.
    ratio = np.ones(image.shape)
    for reach in _REACHES[::-1]:
        size = (reach, reach)
        top = gaussian_filter(image / profile * weight, size)
        bottom = gaussian_filter(weight, size)
        known = bottom > _LEAST_WEIGHT
        ratio = np.where(known, top / np.where(known, bottom, 1), ratio)
    return ratio * profile
