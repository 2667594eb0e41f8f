"""Where the traces really lie: the centres of their light, along the columns.

The published trace model is good to about a pixel: visits are pointed anew, and the orders have
errors of their own.  The wings of a bright star fall so steeply that such a pixel matters for
the background.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soss_photcal_steps.background.light import (
    TraceLight,
    reference_wing,
    trace_light,
    window_lines,
)

__all__ = ["centred_traces", "trace_offsets"]

# Half of the window whose light is weighed, pixels; the cores reach to 11 or 12.
_HALF = 15
# Columns of which one centre is taken, and the largest error of it that says anything, pixels.
_PIECE, _LARGEST_ERROR = 32, 0.15
# A trace closer than this to another one has no centre of its own, pixels.
_CLEAR = 45.0
# Prior of the offset and of its change from the middle of the image to its edge; error of the
# profile's own centre.  The traces of real standards are off by up to 0.8, pixels.
_OFFSET, _SLOPE, _PROFILE = 1.0, 0.4, 0.1
# Fewer pieces than this tell nothing; nor do centres that scatter, or lie, farther than this.
_LEAST_PIECES, _SCATTER, _FARTHEST = 6, 0.5, 3.0
# One pixel in this many tells the level of the sky.
_SAMPLE = 17


def centred_traces(
    traces: dict[int, np.ndarray], offsets: dict[int, np.ndarray]
) -> dict[int, np.ndarray]:
    """Move the traces to the centres of their light.

    Parameters
    ----------
    traces : dict
        Expected row of each order per column, shape (nx,), pixels.
    offsets : dict
        Offsets of the orders that show them, from `trace_offsets`.

    Returns
    -------
    dict
        The rows.  An order whose offset is not known moves by as much as the others do in the
        mean.
    """
    common = np.mean([np.mean(offset) for offset in offsets.values()]) if offsets else 0.0
    return {order: rows + offsets.get(order, common) for order, rows in traces.items()}


def trace_offsets(
    image: np.ndarray,
    error: np.ndarray,
    good: np.ndarray,
    lines: np.ndarray,
    traces: dict[int, np.ndarray],
) -> dict[int, np.ndarray]:
    """Measure how far the light of each trace lies from where it is expected.

    Parameters
    ----------
    image, error : ndarray
        Count rate and its standard error, shape (ny, nx), DN/s.
    good : ndarray of bool
        Valid pixels.
    lines : ndarray
        Row of each line in the coordinates of `traces`, rising, shape (ny,).
    traces : dict
        Expected row of each order per column, shape (nx,), pixels.

    Returns
    -------
    dict
        Offset of each order that shows it, per column, shape (nx,), pixels.
    """
    # What is the same in all rows moves no centre, so that any level of the sky will do.
    clean = np.where(good, image, 0) - np.median(image[good][::_SAMPLE])
    lights = trace_light(clean, good, lines, traces)
    offsets = {}
    for own in lights:
        others = [other for other in lights if other.order != own.order]
        clear = np.ones(image.shape[1], bool)
        for other in others:
            clear &= np.abs(own.rows - other.rows) > _CLEAR
        found = _offset(clean, error, good, lines, own.rows, others, clear)
        if found is not None:
            offsets[own.order] = found
    return offsets


def _offset(
    image: np.ndarray,
    error: np.ndarray,
    good: np.ndarray,
    lines: np.ndarray,
    rows: np.ndarray,
    others: Sequence[TraceLight],
    clear: np.ndarray,
) -> np.ndarray | None:
    """Offset of one trace per column; None if it cannot be seen."""
    columns = np.arange(image.shape[1])
    offset = np.zeros(len(columns))
    for _ in range(2):
        place, centre, noise = _centres(image, error, good, lines, rows + offset, others, clear)
        line = _straight_line(place, centre, noise)
        if line is None:
            return None
        seen = np.clip(columns, place.min(), place.max())
        offset += line[0] + line[1] * (seen / 1024 - 1)
    return offset if np.abs(offset).max() < _FARTHEST else None


def _centres(
    image: np.ndarray,
    error: np.ndarray,
    good: np.ndarray,
    lines: np.ndarray,
    rows: np.ndarray,
    others: Sequence[TraceLight],
    clear: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns, centres of light relative to the trace, and their errors, piece by piece."""
    columns = np.arange(len(rows))
    wanted, line, inside = window_lines(rows, lines, _HALF + 1)
    distance = wanted - rows
    # Pixels at the ends of the window count by the part of them that is inside.
    share = np.clip(_HALF + 0.5 - np.abs(distance), 0, 1)
    usable = good[line, columns] & (inside | (share == 0)).all(axis=0) & clear
    values = image[line, columns]
    for other in others:
        values = values - reference_wing(np.abs(wanted - other.rows)) * other.brightness
    values = np.where(usable, values, 0)
    level = values.sum(axis=0)
    usable &= level > 0

    def pieces(array: np.ndarray) -> np.ndarray:
        n = len(columns) // _PIECE
        return array[..., : n * _PIECE].reshape(*array.shape[:-1], n, _PIECE)

    with np.errstate(invalid="ignore", divide="ignore"):
        profile = np.sort(pieces(np.where(usable, values / level, np.nan)), axis=-1)
    count = pieces(usable).sum(axis=-1)
    middle = np.take_along_axis(profile, np.maximum(count - 1, 0)[..., None] // 2, -1)[..., 0]
    inner = pieces(share).mean(axis=-1)
    distance = pieces(distance).mean(axis=-1)
    enough = ((count > _PIECE // 2) | (inner == 0)).all(axis=0)
    middle = np.where(enough & (inner > 0), middle, 0) * inner
    light = middle.sum(axis=0)
    known = np.where(usable, np.nan_to_num(error[line, columns], nan=0.0), 0)
    variance = (inner * distance * pieces(known).mean(axis=-1)).T ** 2
    typical = np.maximum(np.median(pieces(np.maximum(level, 1e-30)), axis=-1), 1e-30)
    noise = np.sqrt(variance.sum(axis=-1) / _PIECE) * 1.25 / typical
    take = enough & (light > 0.5) & (noise < _LARGEST_ERROR)
    centre = (middle * distance).sum(axis=0)[take] / light[take]
    return pieces(columns.astype(float)).mean(axis=-1)[take], centre, noise[take]


def _straight_line(
    place: np.ndarray, centre: np.ndarray, noise: np.ndarray
) -> tuple[float, float] | None:
    """Level and slope of the centres, with their priors; outliers are left out."""
    keep = np.ones(len(place), bool)
    design = np.column_stack([np.ones(len(place)), place / 1024 - 1])
    inverse = 1 / (_PROFILE**2 + noise**2)
    prior = np.diag([1 / _OFFSET**2, 1 / _SLOPE**2])
    line, scatter = np.zeros(2), 0.0
    for _ in range(5):
        if keep.sum() < _LEAST_PIECES:
            return None
        weighted = design[keep].T * inverse[keep]
        line = np.linalg.solve(weighted @ design[keep] + prior, weighted @ centre[keep])
        residual = centre - design @ line
        scatter = 1.48 * float(np.median(np.abs(residual[keep])))
        keep = np.abs(residual) < 3 * max(scatter, 0.03)
    return (float(line[0]), float(line[1])) if scatter < _SCATTER else None
