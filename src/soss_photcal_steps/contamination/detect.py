"""Find compact sources of other stars in a background-subtracted image.

A zero order is a blob of about 22 rows and 5 to 15 columns.  On the sky it is found at a
fraction of a DN/s.  On a trace it has to stand out of the star, and where it covers the whole
trace it cannot be told from a peak in the star's spectrum by the image alone: such a peak is
reported with the kind ``on trace``.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import (
    binary_dilation,
    gaussian_filter,
    gaussian_filter1d,
    median_filter,
    zoom,
)

from soss_photcal_steps.averages import robust_scale
from soss_photcal_steps.contamination.smooth import (
    SmoothModel,
    fill_gaps,
    running_median,
    smooth_model,
)

__all__ = ["Detection", "Source", "detect_sources"]

# Half heights of the star's trace, pixels.
_TRACE_HALF_HEIGHT = 14
# Size of the filter that removes single bad pixels with their neighbours, and of the smoothing.
_CLEAN, _SMOOTH = (7, 3), (3.0, 1.2)
# Peaks of a whole trace: smoothing and width, columns, and least height over the trace.
_PEAK_SMOOTHING, _PEAK_COLUMNS, _LEAST_PEAK = 1.0, (3, 30), 0.01
# Widest remainder of a line, columns.
_LINE_WIDTH = 8.0
# Columns beside a peak that are searched for a dip.
_DIP_REACH = 25
# A zero order with its halo; what is longer is a trace or a residual of the background.
_TALLEST, _WIDEST = 80, 100


@dataclass(frozen=True)
class Source:
    """A source in the image.  Columns and rows count from 0, rows are those of SUBSTRIP256.

    Attributes
    ----------
    kind : {"zero order", "on trace", "trace"}
        Compact blob; peak of a whole trace of the star, which may be one; dispersed light of
        another star.
    column, row : float
        Centre of its light.
    peak : float
        Highest brightness of a pixel after bad pixels are filtered out, DN/s.
    flux : float
        Light that was measured, DN/s; on a trace only the part that stands out.
    width, height : float
        Columns and rows that hold three quarters of the light.
    significance : float
        Highest ratio of the smoothed light to its noise.
    first_column, last_column, first_row, last_row : int
        Extent of the pixels above the threshold.
    touches : tuple of int
        Orders of the star whose trace it overlaps, where its light is measured poorly.
    """

    kind: str
    column: float
    row: float
    peak: float
    flux: float
    width: float
    height: float
    significance: float
    first_column: int
    last_column: int
    first_row: int
    last_row: int
    touches: tuple[int, ...] = ()


@dataclass(frozen=True)
class Detection:
    """What was found in an image.

    Attributes
    ----------
    sources : tuple of Source
        The sources, the most significant first.
    labels : ndarray of int, shape (ny, nx)
        Number of the source, counted from 1, that each pixel belongs to; 0 for none.
    light : ndarray, shape (ny, nx)
        Light of the sources: the image less the smooth model within `labels`, else 0, DN/s.
    smooth : SmoothModel
        Model of star and sky.
    """

    sources: tuple[Source, ...]
    labels: np.ndarray
    light: np.ndarray
    smooth: SmoothModel


def _significance(rest: np.ndarray, noise: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Smoothed residual over its own local scatter."""
    clean = gaussian_filter(median_filter(rest, _CLEAN), _SMOOTH)
    floor = 0.5 * float(np.median(noise[good]))
    ratio = clean / np.maximum(noise, floor)
    ny, nx = ratio.shape
    block = (max(ny // 4, 1), 128)
    rows = range(0, ny - block[0] + 1, block[0])
    table = np.array(
        [
            [np.median(np.abs(ratio[i : i + block[0], j : j + 128])) for j in range(0, nx, 128)]
            for i in rows
        ]
    )
    whole = robust_scale(ratio[good])
    local = 1.4826 * table
    local = zoom(local, (ny / local.shape[0], nx / local.shape[1]), order=1, mode="nearest")
    return ratio / np.maximum(local, whole)


def _segments(significance: np.ndarray, threshold: float, least: int) -> np.ndarray:
    from photutils.segmentation import detect_sources as find

    with warnings.catch_warnings():
        # photutils warns where there is nothing to be found.
        warnings.simplefilter("ignore")
        # Without names: photutils 3 renamed the argument.
        found = find(significance, threshold, least)
    return np.zeros(significance.shape, int) if found is None else np.asarray(found.data)


def _span(light: np.ndarray, share: float = 0.75) -> float:
    """Least number of neighbouring bins with a share of the light, to a fraction of a bin."""
    total = np.concatenate([[0.0], np.cumsum(np.maximum(light, 0))])
    if total[-1] <= 0:
        return float(len(light))
    low, high = 0.5 * (1 - share) * total[-1], 0.5 * (1 + share) * total[-1]
    position = np.arange(len(total))
    return float(np.interp(high, total, position) - np.interp(low, total, position))


def _measure(
    label: int,
    labels: np.ndarray,
    rest: np.ndarray,
    clean: np.ndarray,
    significance: np.ndarray,
    lines: np.ndarray,
    traces: dict[int, np.ndarray],
) -> Source:
    mine = labels == label
    row, column = np.nonzero(mine)
    box = np.s_[row.min() : row.max() + 1, column.min() : column.max() + 1]
    light = np.where(mine[box], np.maximum(rest[box], 0), 0)
    along, across = light.sum(axis=0), light.sum(axis=1)
    total = max(float(along.sum()), 1e-30)
    middle = column.min() + float((along * np.arange(along.size)).sum()) / total
    line = row.min() + float((across * np.arange(across.size)).sum()) / total
    near = {
        order: np.abs(lines[row] - np.asarray(trace)[column]) < _TRACE_HALF_HEIGHT
        for order, trace in traces.items()
    }
    return Source(
        "zero order",
        middle,
        float(lines[0] + line),
        float(clean[mine].max()),
        float(rest[mine].sum()),
        _span(along),
        _span(across),
        float(significance[mine].max()),
        int(column.min()), int(column.max()),
        int(lines[row.min()]), int(lines[row.max()]),
        tuple(order for order, touched in near.items() if touched.mean() > 0.1),
    )  # fmt: skip


def detect_sources(
    image: np.ndarray,
    good: np.ndarray,
    lines: np.ndarray,
    traces: dict[int, np.ndarray],
    *,
    n_sigma: float = 5.0,
    least_pixels: int = 50,
    peak_sigma: float = 6.0,
) -> Detection:
    """Find compact sources.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Background-subtracted image, DN/s.
    good : ndarray of bool
        Valid pixels.
    lines : ndarray, shape (ny,)
        Consecutive rows of the image in the coordinates of `traces`.
    traces : dict of int to ndarray, shape (nx,)
        Row of the star's trace of each order per column.
    n_sigma : float, optional
        Threshold of the smoothed light in units of its local scatter.
    least_pixels : int, optional
        Fewest connected pixels above the threshold.
    peak_sigma : float, optional
        Threshold for peaks of a whole trace in units of the scatter along the trace.

    Returns
    -------
    Detection
        The sources and where they are.

    Raises
    ------
    ValueError
        If the arrays do not have the same shape.
    """
    image, good = np.asarray(image, float), np.asarray(good, bool)
    if image.shape != good.shape or image.shape[0] != len(lines):
        raise ValueError(f"shapes {image.shape} and {good.shape} and {len(lines)} rows differ")
    # Reference pixels see no light: their rows and columns are left out of everything.
    row, column = (np.flatnonzero(good.mean(axis=k) > 0.3) for k in (1, 0))
    if row.size < 8 or column.size < 64:
        raise ValueError("the image has hardly any good pixels")
    part = np.s_[row[0] : row[-1] + 1, column[0] : column[-1] + 1]
    lines = np.asarray(lines, float)[part[0]]
    traces = {order: np.asarray(trace)[part[1]] for order, trace in traces.items()}
    data, valid = fill_gaps(image[part], good[part]), good[part]
    work = data
    found = np.zeros(data.shape, int)
    # Sources bias the medians around them, so the second pass is done without them.
    for _ in range(2):
        smooth = smooth_model(work, valid, lines, traces)
        rest = data - smooth.model
        significance = _significance(rest, smooth.noise, valid)
        found = _segments(significance, n_sigma, least_pixels)
        covered = binary_dilation(found > 0, np.ones((7, 9)))
        work = np.where(covered, smooth.model, data)
    return _collect(image.shape, part, found, rest, significance, lines, traces, smooth, peak_sigma)


def _lines_of(excess: np.ndarray) -> np.ndarray:
    """Relative height of narrow features along a trace."""
    value = gaussian_filter1d(excess, _PEAK_SMOOTHING)
    return value - running_median(value[None], 41)[0]


def _is_line(
    one: Source,
    mask: np.ndarray,
    lines: np.ndarray,
    traces: dict[int, np.ndarray],
    smooth: SmoothModel,
) -> bool:
    """Whether a deep line of the star explains a segment beside its trace.

    A line is not equally deep in the core of the trace and in its wings.  What is left of it
    is narrower and weaker than the zero orders that matter.
    """
    if one.width > _LINE_WIDTH or one.significance > 30:
        return False
    columns = np.arange(one.first_column, one.last_column + 1)
    star = float(smooth.model[mask].max())
    for order, excess in smooth.excess.items():
        near = np.abs(one.row - traces[order][columns]).min() < 2 * _TRACE_HALF_HEIGHT
        if near and one.peak < -float(_lines_of(excess)[columns].min()) * star:
            return True
    return False


def _is_cut(trace_row: float, lines: np.ndarray) -> bool:
    """Whether the edge of the image cuts a trace, so that its brightness is not known."""
    return (
        not lines[0] <= trace_row - _TRACE_HALF_HEIGHT < trace_row + _TRACE_HALF_HEIGHT <= lines[-1]
    )


def _plausible(one: Source, first: int, last: int) -> bool:
    """Whether a segment has the size of a zero order, given the first and last column."""
    tall, wide = one.last_row - one.first_row + 1, one.last_column - one.first_column + 1
    # Beside the reference pixels single columns stand off.
    at_side = one.first_column - first < 3 or last - one.last_column < 3
    return (
        tall <= _TALLEST and 3 <= wide <= _WIDEST and wide <= 6 * tall
        and not (at_side and tall > 4 * wide)
    )  # fmt: skip


def _collect(
    full: tuple[int, int],
    part: tuple[slice, slice],
    found: np.ndarray,
    rest: np.ndarray,
    significance: np.ndarray,
    lines: np.ndarray,
    traces: dict[int, np.ndarray],
    smooth: SmoothModel,
    peak_sigma: float,
) -> Detection:
    """Measure what was found, and put it into the whole image."""
    # For the peak a shorter filter: the longer one lowers the horns of a zero order by half.
    clean = median_filter(rest, (5, 1))
    entries: list[tuple[Source, np.ndarray, np.ndarray]] = []
    blobs = np.zeros(found.shape, bool)
    for label in range(1, int(found.max(initial=0)) + 1):
        mask = found == label
        if not mask.any():
            continue
        one = _measure(label, found, rest, clean, significance, lines, traces)
        # The star's lines look like sources where the edge cuts the trace.
        at_edge = any(
            abs(traces[order][round(one.column)] - one.row) < 2 * _TRACE_HALF_HEIGHT
            and _is_cut(traces[order][round(one.column)], lines)
            for order in one.touches
        )
        line = _is_line(one, mask, lines, traces, smooth)
        if _plausible(one, 0, found.shape[1] - 1) and not at_edge and not line:
            entries.append((one, mask, rest))
            blobs |= mask
    for order, trace in traces.items():
        for one, mask, light in _peaks(order, trace, lines, smooth, peak_sigma):
            # What stands out beside the trace is there already.
            if not blobs[mask].any():
                entries.append((one, mask, light))
    entries.sort(key=lambda entry: -entry[0].significance)
    labels, light, shift = np.zeros(full, int), np.zeros(full), part[1].start
    for number, (_, mask, brightness) in enumerate(entries, 1):
        mine = mask & (labels[part] == 0)
        labels[part][mine] = number
        light[part][mine] = brightness[mine]
    model, noise = np.full(full, np.nan), np.full(full, np.nan)
    model[part], noise[part] = smooth.model, smooth.noise
    along = {}
    for name in ("excess", "brightness"):
        along[name] = {order: np.full(full[1], np.nan) for order in traces}
        for order, values in getattr(smooth, name).items():
            along[name][order][part[1]] = values
    sources = tuple(
        replace(
            one, column=one.column + shift,
            first_column=one.first_column + shift, last_column=one.last_column + shift,
        )
        for one, _, _ in entries
    )  # fmt: skip
    return Detection(sources, labels, light, SmoothModel(model, noise, **along))


def _peaks(
    order: int,
    trace: np.ndarray,
    lines: np.ndarray,
    smooth: SmoothModel,
    peak_sigma: float,
) -> list[tuple[Source, np.ndarray, np.ndarray]]:
    """Peaks of a whole trace of the star, where they are, and their light there."""
    shape = smooth.model.shape
    if order not in smooth.excess:
        return []
    nx = shape[1]
    value = _lines_of(smooth.excess[order])
    scatter = 1.4826 * running_median(np.abs(value)[None], 2 * (min(nx, 401) // 4) + 1)[0]
    ratio = value / np.maximum(scatter, 1e-4)
    hit = (ratio > peak_sigma) & (value > _LEAST_PEAK)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], hit.astype(int), [0]])))
    peaks = []
    for start, stop in edges.reshape(-1, 2):
        if not _PEAK_COLUMNS[0] <= stop - start <= _PEAK_COLUMNS[1]:
            continue
        grown = np.arange(max(start - 2, 0), min(stop + 2, nx))
        # A source makes no dip: beside one the peak is the shoulder of a line of the star.
        around = value[max(start - _DIP_REACH, 0) : stop + _DIP_REACH]
        if around.min() < -0.5 * value[start:stop].max():
            continue
        trace_row = float(np.average(trace[grown], weights=np.maximum(value[grown], 1e-9)))
        mask = np.zeros(shape, bool)
        mask[:, grown] = np.abs(lines[:, None] - trace[grown]) <= _TRACE_HALF_HEIGHT
        rows = np.flatnonzero(mask.any(axis=1))
        if _is_cut(trace_row, lines):
            continue
        light = value[grown] * smooth.brightness[order][grown]
        peaks.append(
            (
                Source(
                    "on trace",
                    float(np.average(grown, weights=np.maximum(light, 0) + 1e-9)),
                    trace_row,
                    float(light.max()),
                    float(light.sum() * (2 * _TRACE_HALF_HEIGHT + 1)),
                    _span(light), float(rows.size),
                    float(ratio[start:stop].max()),
                    int(grown[0]), int(grown[-1]), int(lines[rows[0]]), int(lines[rows[-1]]),
                    (order,),
                ),
                mask,
                np.where(mask, value / (1 + value) * smooth.model, 0.0),
            )
        )  # fmt: skip
    return peaks
