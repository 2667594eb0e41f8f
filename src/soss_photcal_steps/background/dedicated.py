"""A background template from dedicated exposures: sources masked, combined, and smoothed.

A template is subtracted from every integration, and its noise with it.  So the mean of the
exposures is smoothed as far as the background allows: along the columns over many rows, since
the background hardly changes there, and along the rows little at the break and more elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter, uniform_filter, uniform_filter1d

from soss_photcal_steps.background.breaks import SEARCH_COLUMNS

__all__ = ["DedicatedTemplate", "dedicated_template", "mask_sources"]

# Rows over which the background is taken to be the same, and columns: near the break, elsewhere.
_ROWS = 41
_SIGMA_BREAK, _SIGMA_ELSEWHERE = 1.2, 10.0
# The break and its tail, in columns beyond those that it is looked for in.
_TAIL = 90
_CLIP = 3.0
_GROW = 9
_ROUNDS = 4


@dataclass(frozen=True)
class DedicatedTemplate:
    """A template made of dedicated background exposures.

    Attributes
    ----------
    image : ndarray
        Template, shape (ny, nx), DN/s, NaN where no exposure saw the background.
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
    total = np.zeros(images[0].shape)
    count = np.zeros(images[0].shape)
    levels, masked = [], []
    for number, image in enumerate(images):
        good = np.isfinite(image)
        source = mask_sources(image, good)
        keep = good & ~source
        if keep.sum() < 0.05 * keep.size:
            raise ValueError(f"background exposure {number} has no sky pixels left after masking")
        level = float(np.median(image[keep]))
        if level <= 0:
            raise ValueError(
                f"background exposure {number} has a median level of {level:.3g} DN/s, "
                "which is not positive"
            )
        total[keep] += image[keep] / level
        count[keep] += 1
        levels.append(level)
        masked.append(1 - keep.mean())
    mean_level = float(np.mean(levels))
    seen = count > 0
    mean = np.where(seen, total / np.maximum(count, 1), 0.0)
    smooth = _smooth(mean, count, _ROWS)
    return DedicatedTemplate(
        (smooth * mean_level).astype(np.float32),
        np.array(masked),
        np.array(levels) / mean_level,
    )


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
        Pixels with the light of a source.
    """
    filled = np.where(good, image, 0.0)
    # A median along each column withstands sources in up to half of its rows.
    column = np.array([np.median(c[g]) if g.any() else 0.0 for c, g in zip(
        filled.T, good.T, strict=True)])  # fmt: skip
    model = np.broadcast_to(column, image.shape)
    source = np.zeros(image.shape, bool)
    for _ in range(_ROUNDS):
        residual = np.where(good, filled - model, 0.0)
        weight = good.astype(float)
        new = np.zeros(image.shape, bool)
        for size in (1, 3, 7, 15):
            share = np.maximum(uniform_filter(weight, size), 1 / size**2)
            local = uniform_filter(residual, size) / share
            sample = local[good & ~source]
            if sample.size == 0:
                break
            middle = np.median(sample)
            sigma = 1.4826 * np.median(np.abs(sample - middle))
            # The light of a source reaches beyond the box in which it is noticed.
            hit = good & (local - middle > _CLIP * max(sigma, 1e-9) * (1.5 if size == 1 else 1.0))
            new |= maximum_filter(hit, max(size, 3))
        # What is left of the blur of large boxes is a matter of the grown mask.
        grown = maximum_filter(new & _persistent(new), _GROW)
        if np.array_equal(grown, source):
            break
        source = grown
        keep = good & ~source
        if not keep.any():
            break
        model = _smooth(filled, keep.astype(float), 2 * _ROWS + 1)
        model = np.where(np.isfinite(model), model, column)
    return source


def _persistent(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask that are not alone: noise reaches three sigma here and there."""
    return uniform_filter(mask.astype(float), 5) > 0.3


def _smooth(image: np.ndarray, weight: np.ndarray, n_rows: int) -> np.ndarray:
    """Mean over rows and along the rows, with weights; NaN where there is no weight near."""
    # Sums, not means of means, so that a gap does not lend its neighbours too much weight.
    value = uniform_filter1d(image * weight, n_rows, axis=0, mode="constant")
    total = uniform_filter1d(weight, n_rows, axis=0, mode="constant")
    result = None
    columns = np.arange(image.shape[1])
    low, high = SEARCH_COLUMNS[0] - 20, SEARCH_COLUMNS[1] + _TAIL
    ramp = np.clip(np.maximum(low - columns, columns - high) / 40.0, 0, 1)
    for sigma, share in ((_SIGMA_BREAK, 1 - ramp), (_SIGMA_ELSEWHERE, ramp)):
        top = gaussian_filter1d(value, sigma, axis=1, mode="constant")
        bottom = gaussian_filter1d(total, sigma, axis=1, mode="constant")
        known = bottom > 1e-3
        part = np.where(known, top / np.where(known, bottom, 1), np.nan)
        result = share * part if result is None else result + share * part
        if result is not None:
            result = np.where(np.isfinite(result), result, part)
    return result
