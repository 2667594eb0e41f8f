"""Find dispersed light of other stars: bands of some 25 rows that run along the columns.

Such a trace is as smooth along the columns as the star's own, so it is looked for across them:
in the image less the star's wings, averaged over 32 columns, outside the star's traces.  Under
these it cannot be seen; there it is taken to go on as it does on both sides.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter

from soss_photcal_steps.contamination.detect import Source

__all__ = ["ForeignTrace", "find_foreign_traces"]

_BIN = 32
# Half height of the zone around the star's traces where nothing can be said, rows.
_ZONE = 40
# Half height of a foreign trace, rows.
_HALF_HEIGHT = 12
# Where the fourth order of the star itself falls, columns below and rows above; frames of
# BD+60 1753 and WASP-39 show it there.
_ORDER4 = (420, 195)
# Shortest trace, bins; least and greatest height, rows.
_SHORTEST, _HEIGHTS = 5, (6.0, 60.0)
# Share of the wings that their model may be wrong by, and of the sky's level, DN/s.
_WING_ERROR, _SKY_ERROR = 0.4, 0.15


@dataclass(frozen=True)
class ForeignTrace:
    """A foreign trace.

    Attributes
    ----------
    source : Source
        Its middle, extent and brightness.
    light : ndarray, shape (ny, nx)
        Its light, smooth along the columns, also where it lies under the star, DN/s.
    """

    source: Source
    light: np.ndarray


def _wings(
    image: np.ndarray, good: np.ndarray, lines: np.ndarray, traces: Mapping[int, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Wings of the star, and the zone around its traces."""
    from soss_photcal_steps.background.light import reference_wing, trace_light

    wings, zone = np.zeros(image.shape), np.zeros(image.shape, bool)
    lights = trace_light(np.where(good, image, 0.0), good, lines, dict(traces))
    brightest = max(float(light.brightness.max()) for light in lights)
    for light in lights:
        distance = np.abs(lines[:, None] - light.rows)
        wings += light.brightness * reference_wing(distance)
        zone |= (distance < _ZONE) & (light.brightness > 1e-3 * brightest)
    zone[lines > _ORDER4[1], : _ORDER4[0]] = True
    return wings, zone


def find_foreign_traces(
    image: np.ndarray,
    good: np.ndarray,
    lines: np.ndarray,
    traces: Mapping[int, np.ndarray],
    covered: np.ndarray,
    *,
    n_sigma: float = 5.0,
) -> list[ForeignTrace]:
    """Find traces of other stars outside the traces of the star.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Background-subtracted image, DN/s.
    good : ndarray of bool
        Valid pixels.
    lines : ndarray, shape (ny,)
        Consecutive rows in the coordinates of `traces`.
    traces : mapping of int to ndarray, shape (nx,)
        Row of the star's trace of each order per column.
    covered : ndarray of bool
        Pixels of compact sources, left out.
    n_sigma : float, optional
        Threshold in units of the scatter; what the wings and the sky may be wrong by comes on
        top.

    Returns
    -------
    list of ForeignTrace
        The brightest first.
    """
    lines = np.asarray(lines, float)
    wings, zone = _wings(image, good, lines, traces)
    n_bins = image.shape[1] // _BIN
    used = good & ~zone & ~covered
    rest = np.where(used, image - wings, np.nan)[:, : n_bins * _BIN]
    with warnings.catch_warnings():
        # A bin without a pixel has no median.
        warnings.simplefilter("ignore", RuntimeWarning)
        level = np.nanmedian(rest.reshape(len(lines), n_bins, _BIN), axis=2)
        level -= np.nanquantile(level, 0.3, axis=0)
        step = np.abs(np.diff(level, axis=0))
        scatter = 1.4826 / np.sqrt(2) * np.nanmedian(step, axis=0)
    wing = wings[:, : n_bins * _BIN].reshape(len(lines), n_bins, _BIN).mean(axis=2)
    known = np.isfinite(level)
    clean = median_filter(np.where(known, level, 0.0), (5, 1))
    limit = n_sigma * np.nan_to_num(scatter, nan=1.0) + _SKY_ERROR + _WING_ERROR * wing
    ratio = np.where(known, clean / limit, 0.0)
    found = []
    for mask in _bands(ratio):
        trace = _follow(mask, clean, known, ratio, lines, image.shape, n_sigma)
        if trace is not None:
            found.append(trace)
    return sorted(found, key=lambda one: -one.source.peak)


def _bands(ratio: np.ndarray) -> list[np.ndarray]:
    from photutils.segmentation import detect_sources

    with warnings.catch_warnings():
        # photutils warns where there is nothing to be found.
        warnings.simplefilter("ignore")
        segments = detect_sources(ratio, 1.0, int(_SHORTEST * _HEIGHTS[0]))
    if segments is None:
        return []
    labels = np.asarray(segments.data)
    masks = [labels == label for label in range(1, int(labels.max()) + 1)]
    return [
        mask
        for mask in masks
        if mask.any(axis=0).sum() >= _SHORTEST
        and _HEIGHTS[0] <= mask.sum() / mask.any(axis=0).sum() <= _HEIGHTS[1]
    ]


def _follow(
    mask: np.ndarray,
    level: np.ndarray,
    known: np.ndarray,
    ratio: np.ndarray,
    lines: np.ndarray,
    shape: tuple[int, int],
    n_sigma: float,
) -> ForeignTrace | None:
    """Draw a trace through a band of bins."""
    bins = np.flatnonzero(mask.any(axis=0))
    weight = np.where(mask, np.maximum(level, 0.0), 0.0)[:, bins]
    centre = (weight * lines[:, None]).sum(axis=0) / weight.sum(axis=0)
    middle = (bins + 0.5) * _BIN - 0.5
    degree = 2 if bins.size >= 8 else 1
    curve = np.polynomial.Polynomial.fit(middle, centre, degree, w=np.sqrt(weight.sum(axis=0)))
    first = max(int(bins[0] * _BIN), 0)
    last = min(int((bins[-1] + 1) * _BIN), shape[1]) - 1
    columns = np.arange(first, last + 1, dtype=float)
    rows = curve(columns)
    # The mean over the part of its height that is seen stands for the whole.
    inside = np.abs(lines[:, None] - curve(middle)) <= _HALF_HEIGHT
    seen = inside & known[:, bins]
    count = seen.sum(axis=0)
    if (count > 0).sum() < 2:
        return None
    mean = np.where(seen, level[:, bins], 0.0).sum(axis=0) / np.maximum(count, 1)
    bright = np.interp(columns, middle[count > 0], np.maximum(mean[count > 0], 0.0))
    light = np.zeros(shape)
    band = np.abs(lines[:, None] - rows) <= _HALF_HEIGHT
    light[:, first : last + 1] = np.where(band, bright, 0.0)
    at = int(np.argmax(bright))
    hit = np.flatnonzero(mask.any(axis=1))
    source = Source(
        "trace", float(columns[at]), float(rows[at]), float(level[mask].max()),
        float(light.sum()), float(last - first + 1), float(mask.sum() / bins.size),
        float(n_sigma * ratio[mask].max()), first, last, int(lines[hit[0]]), int(lines[hit[-1]]),
    )  # fmt: skip
    return ForeignTrace(source, light)
