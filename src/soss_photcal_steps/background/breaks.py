"""The break of the background: where it is, how it is tilted, how wide it is.

To the right of about column 705 the zeroth order of the sky adds to the
background; the edge is tilted and has a core of a few pixels and a tail of some
tens of pixels.  The template itself says where: the edge is found in bands of
rows, a straight line is laid through it, and the profile of the edge along the
columns is averaged over all rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

__all__ = ["BreakGeometry", "find_break", "right_fraction"]

# Columns that an edge is looked for in, around the nominal column of the report.
SEARCH_COLUMNS = (640, 770)
NOMINAL_COLUMN = 705.0
_BAND_ROWS = 32
# Kernel that the mean of a band is smoothed with, a Gaussian of 2 pixels, and its reach with that
# of the gradient.
_SMOOTH = np.exp(-0.5 * (np.arange(-8, 9) / 2.0) ** 2)
_SMOOTH /= _SMOOTH.sum()
_MARGIN = 9
# Columns on either side whose levels tell the profile; the core of the edge ends at the first, and
# the tail is gone at the last.  The left-hand level is a straight line.
_REACH, _CORE_LEFT, _CORE_RIGHT = 180, 14, 15
_LEFT_REACH, _LEFT_FOOT = 100, -20
_OFFSETS = np.arange(-_REACH, _REACH + 1, dtype=float)
# Decay lengths of the tail that are tried, columns; that of the published template is 40.
_DECAYS = np.arange(8.0, 52.0, 4.0)
# Beyond this the profile is the fitted tail, which has less noise than the template.
_SMOOTH_FROM = 40
# Where the right-hand level is read off if the tail is taken for a part of the template.
_NEAR = (45, 105)


@dataclass(frozen=True)
class BreakGeometry:
    """Place and shape of the edge between the two parts of a template.

    Attributes
    ----------
    column : ndarray
        Column of the steepest point in each row, shape (ny,), pixels.
    offset : ndarray
        Distance from that column, pixels.
    profile : ndarray
        Fraction of the right-hand level at `offset`, rising from 0 to 1.
    sharp : ndarray
        Profile if the tail of the edge is taken for a part of the template: from one template
        nobody can tell.
    contrast : float
        Relative height of the edge, right level / left level - 1.
    found : bool
        Whether the template has an edge; if not, `column` is the nominal one.
    """

    column: np.ndarray
    offset: np.ndarray
    profile: np.ndarray
    sharp: np.ndarray
    contrast: float
    found: bool


def _column_means(cut: np.ndarray) -> np.ndarray | None:
    """Mean of each column; None if one of them has no finite value."""
    total = cut.sum(axis=0, dtype=float)
    if np.isfinite(total).all():
        return total / len(cut)
    finite = np.isfinite(cut)
    n = finite.sum(axis=0)
    return None if n.min() == 0 else np.where(finite, cut, 0).sum(axis=0, dtype=float) / n


def _band_edges(
    template: np.ndarray, search: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ny, nx = template.shape
    starts = np.arange(0, ny, _BAND_ROWS)
    centres: list[float] = []
    columns: list[float] = []
    heights: list[float] = []
    slope = 0.0
    # The subarrays lie at the top of the detector: begin there and follow the tilt.
    for start in starts[::-1]:
        band = template[start : start + _BAND_ROWS]
        centre = start + (len(band) - 1) / 2
        if columns:
            if len(columns) > 2:
                slope = (columns[-1] - columns[0]) / (centres[-1] - centres[0])
            middle = columns[-1] + slope * (centre - centres[-1])
            low, high = int(middle) - 30, int(middle) + 31
        else:
            low, high = search
        low, high = max(low, _MARGIN), min(high, nx - _MARGIN)
        if high - low < 10:
            continue
        mean = _column_means(band[:, low - _MARGIN : high + _MARGIN])
        if mean is None:
            continue
        # One more column on either side than are looked at, for the gradient.
        smooth = np.convolve(mean, _SMOOTH, "valid")
        gradient = 0.5 * (smooth[2:] - smooth[:-2])
        peak = int(np.argmax(gradient))
        if 0 < peak < len(gradient) - 1:
            a, b, c = gradient[peak - 1 : peak + 2]
            bend = a - 2 * b + c
            shift = 0.5 * (a - c) / bend if bend != 0 else 0.0
        else:
            shift = 0.0
        centres.append(centre)
        columns.append(low + peak + shift)
        heights.append(gradient[peak] / max(np.median(np.abs(smooth)), 1e-30))
    return np.array(centres), np.array(columns), np.array(heights)


def find_break(
    template: np.ndarray, search: tuple[int, int] = SEARCH_COLUMNS, min_contrast: float = 0.02
) -> BreakGeometry:
    """Find the edge in a background template.

    Parameters
    ----------
    template : ndarray
        Background template, shape (ny, nx), DN/s.
    search : tuple of int
        First and last column of the search in the topmost rows.
    min_contrast : float
        Smallest relative height that is taken for an edge.

    Returns
    -------
    BreakGeometry
        The line and the profile of the edge.
    """
    ny = len(template)
    offset = np.arange(_LEFT_FOOT, -_LEFT_FOOT + 1, dtype=float)
    step = (offset >= 0).astype(float)
    nominal = BreakGeometry(np.full(ny, NOMINAL_COLUMN), offset, step, step, 0.0, False)
    centres, columns, heights = _band_edges(template, search)
    if len(columns) == 0 or np.median(heights) < min_contrast / 15:
        return nominal
    degree = 1 if len(columns) > 2 else 0
    keep = np.ones(len(columns), bool)
    line = np.polyfit(centres, columns, degree)
    for _ in range(3):
        residual = columns - np.polyval(line, centres)
        scatter = 1.48 * np.median(np.abs(residual[keep])) + 0.3
        keep = np.abs(residual) < 3 * scatter
        if keep.sum() <= degree:
            return nominal
        line = np.polyfit(centres[keep], columns[keep], degree)
    column = np.polyval(line, np.arange(ny, dtype=float))

    edge = _mean_edge(template, column)
    if edge is None:
        return nominal
    at = _OFFSETS
    left = (at >= -_LEFT_REACH) & (at <= -_CORE_LEFT)
    low = np.polyval(np.polyfit(at[left], edge[left], 1), at)
    high, tail = _right_level(edge)
    height = high[_REACH] - low[_REACH]
    contrast = height / low[_REACH] if low[_REACH] > 0 else 0.0
    if contrast < min_contrast:
        return nominal
    kept = at >= _LEFT_FOOT - 1
    profile = _profile(np.where(at < _SMOOTH_FROM, edge, high - tail), low, high)
    near = (at >= _NEAR[0]) & (at <= _NEAR[1])
    sharp = _profile(edge, low, np.polyval(np.polyfit(at[near], edge[near], 1), at))
    sharp[at > _NEAR[0]] = 1.0
    return BreakGeometry(column, at[kept], profile[kept], sharp[kept], float(contrast), True)


def _profile(edge: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How far an edge has come from one level to the other; it only rises, and ends at 1."""
    height = high[_REACH] - low[_REACH]
    profile = (edge - low) / np.maximum(high - low, 0.05 * np.abs(height))
    profile[_OFFSETS < _LEFT_FOOT] = 0.0
    profile = np.maximum.accumulate(np.clip(profile, 0, 1))
    profile[-1] = 1.0
    return profile


def _mean_edge(template: np.ndarray, column: np.ndarray) -> np.ndarray | None:
    """Mean of the rows around the break at `_OFFSETS`; None if too little is known."""
    ny, nx = template.shape
    # Every few rows are enough.
    sample = np.arange(0, ny, max(ny // 64, 1))
    position = column[sample, None] + _OFFSETS[None, :]
    inside = (position >= 0) & (position <= nx - 2)
    base = np.clip(np.floor(position), 0, nx - 2).astype(int)
    part = position - base
    rows = sample[:, None]
    sampled = (1 - part) * template[rows, base] + part * template[rows, base + 1]
    usable = inside & np.isfinite(sampled)
    count = usable.sum(axis=0)
    known = count > 0
    near = np.abs(_OFFSETS) <= _SMOOTH_FROM
    if not known[near].all() or known.mean() < 0.7:
        return None
    edge = np.where(usable, sampled, 0).sum(axis=0) / np.maximum(count, 1)
    return np.interp(_OFFSETS, _OFFSETS[known], edge[known])


def _right_terms(decay: float) -> np.ndarray:
    """Line and tail of the right-hand side at `_OFFSETS`, shape (n_offsets, 3)."""
    tail = np.exp(-np.maximum(_OFFSETS, 0) / decay)
    return np.column_stack([np.ones_like(tail), _OFFSETS / 100, -tail])


@lru_cache(maxsize=1)
def _tail_designs() -> np.ndarray:
    """Orthonormal bases of `_right_terms` behind the core, one for each of `_DECAYS`."""
    behind = _OFFSETS >= _CORE_RIGHT
    return np.array([np.linalg.qr(_right_terms(decay)[behind])[0] for decay in _DECAYS])


def _right_level(edge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Level that the right-hand side comes to, a straight line, and what the tail still lacks."""
    behind = _OFFSETS >= _CORE_RIGHT
    found = _tail_designs().transpose(0, 2, 1) @ edge[behind]
    terms = _right_terms(_DECAYS[np.argmax((found**2).sum(axis=1))])
    coefficients = np.linalg.lstsq(terms[behind], edge[behind], rcond=None)[0]
    if coefficients[2] < 0:
        # The edge only rises; what falls behind it belongs to the template.
        line = np.linalg.lstsq(terms[behind, :2], edge[behind], rcond=None)[0]
        coefficients = np.append(line, 0.0)
    return terms[:, :2] @ coefficients[:2], -terms[:, 2] * coefficients[2]


def right_fraction(
    geometry: BreakGeometry, n_columns: int, start: int = 0, profile: np.ndarray | None = None
) -> np.ndarray:
    """Weight of the right-hand scale in each pixel.

    The background is ``template * (left * (1 - w) + right * w)``.

    Parameters
    ----------
    geometry : BreakGeometry
        Line and profile of the edge.
    n_columns : int
        Number of columns.
    start : int
        First column that is wanted.
    profile : ndarray, optional
        Another profile than that of `geometry`, at its offsets.

    Returns
    -------
    ndarray
        `w`, shape (ny, n_columns - start), 0 left and 1 right of the edge.
    """
    ny = len(geometry.column)
    weight = np.zeros((ny, n_columns - start), dtype=np.float32)
    first = int(np.floor(geometry.column.min() + geometry.offset[0]))
    last = int(np.ceil(geometry.column.max() + geometry.offset[-1]))
    first, last = max(first, start), min(last, n_columns)
    weight[:, max(last - start, 0) :] = 1.0
    if last > first:
        x = np.arange(first, last)[None, :] - geometry.column[:, None]
        profile = geometry.profile if profile is None else profile
        weight[:, first - start : last - start] = np.interp(x, geometry.offset, profile)
    return weight
