"""A smooth model of the star and the sky: medians along the direction of the traces.

Along a trace the light changes slowly but for the lines of the star's spectrum, and across it
quickly.  So each pixel is compared with the pixels at the same distance from the nearest trace,
some 50 columns to both sides.  What is compact along the columns stands out; the star, its
wings and the sky do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates, median_filter

__all__ = ["SmoothModel", "fill_gaps", "running_median", "smooth_model"]

# Rows around the trace over which the star's brightness is read, and where it scales the model.
_CORE = 12


@dataclass(frozen=True)
class SmoothModel:
    """Smooth part of an image.

    Attributes
    ----------
    model : ndarray, shape (ny, nx)
        Star, wings and sky, DN/s.
    noise : ndarray, shape (ny, nx)
        Robust scatter of what is left, DN/s.
    excess : dict of int to ndarray, shape (nx,)
        Relative excess of the whole trace of each order at each column over its
        surroundings: lines of the spectrum, and sources in the middle of the trace.
    brightness : dict of int to ndarray, shape (nx,)
        Smooth mean of each trace over its core, DN/s per pixel.
    """

    model: np.ndarray
    noise: np.ndarray
    excess: dict[int, np.ndarray]
    brightness: dict[int, np.ndarray]


def running_median(values: np.ndarray, width: int) -> np.ndarray:
    """Take running medians along the last axis; beyond the ends the values go on linearly.

    Parameters
    ----------
    values : ndarray, shape (n, nx)
        Finite values.
    width : int
        Odd width of the window.

    Returns
    -------
    ndarray, shape (n, nx)
        Medians.
    """
    half = width // 2
    nx = values.shape[-1]
    # Beyond the ends the light goes on with the slope that it has there: a plain reflection
    # would make the median of a slope stand off at its end.
    near = min(max(half // 2, 1), nx // 2)
    ends = []
    for line in (values, values[:, ::-1]):
        inner, outer = np.median(line[:, near : 2 * near], 1), np.median(line[:, :near], 1)
        edge = outer + 0.5 * (outer - inner)
        ends.append(2 * edge[:, None] - line[:, 1 : half + 1])
    # One long line is filtered much faster than a picture with windows of one row; what
    # leaks from line to line falls into the margins, which are cut away.
    padded = np.concatenate([ends[0][:, ::-1], values, ends[1]], axis=1)
    flat = median_filter(padded.ravel().astype(np.float32), width, mode="nearest")
    return flat.reshape(padded.shape)[:, half : half + nx].astype(float)


def fill_gaps(image: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Replace pixels that are bad, or that stand alone along their row.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Image, DN/s.
    good : ndarray of bool
        Valid pixels.

    Returns
    -------
    ndarray, shape (ny, nx)
        Image without gaps, from good pixels on both sides of each.
    """
    use = good & np.isfinite(image)
    data = np.where(use, image, 0.0)
    columns = np.arange(image.shape[1])
    for line, ok in zip(data, use, strict=True):
        if ok.any() and not ok.all():
            line[~ok] = np.interp(columns[~ok], columns[ok], line[ok])
    near = median_filter(data, (1, 7), mode="nearest")
    off = np.abs(data - near)
    scatter = 1.4826 * running_median(off, 101)
    alone = off > np.maximum(8 * scatter, 0.15 * np.abs(near))
    # A zero order is five columns wide, so only what is narrower than that is alone.
    return np.where(alone, near, data)


def _align(image: np.ndarray, rows: np.ndarray) -> np.ndarray:
    columns = np.broadcast_to(np.arange(image.shape[1]), rows.shape)
    return map_coordinates(image, [rows, columns], order=3, mode="nearest")


def _nearest(traces: dict[int, np.ndarray], lines: np.ndarray) -> dict[int, np.ndarray]:
    orders = sorted(traces)
    distance = np.abs(lines[:, None] - np.array([traces[o] for o in orders])[:, None, :])
    which = np.argmin(distance, axis=0)
    return {order: which == k for k, order in enumerate(orders)}


def smooth_model(
    image: np.ndarray,
    good: np.ndarray,
    lines: np.ndarray,
    traces: dict[int, np.ndarray],
    width: int = 101,
) -> SmoothModel:
    """Model the star, its wings and the sky by medians along the traces.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Background-subtracted image, DN/s.
    good : ndarray of bool
        Valid pixels.
    lines : ndarray, shape (ny,)
        Consecutive rows of the image, in the coordinates of `traces`.
    traces : dict of int to ndarray, shape (nx,)
        Row of each order per column.
    width : int, optional
        Odd number of columns of the medians.

    Returns
    -------
    SmoothModel
        The model and what it leaves.
    """
    filled = fill_gaps(image, good)
    ny = len(lines)
    model, noise = np.zeros(image.shape), np.zeros(image.shape)
    excess, brightness = {}, {}
    for order, mine in _nearest(traces, np.asarray(lines, float)).items():
        trace = np.asarray(traces[order], float)
        offset = np.asarray(lines, float)[:, None] - trace
        if not mine.any():
            continue
        low, high = int(np.floor(offset[mine].min())) - 1, int(np.ceil(offset[mine].max())) + 1
        steps = np.arange(low, high + 1)
        rows = steps[:, None] + trace - lines[0]
        aligned = _align(filled, rows)
        core = np.abs(steps) <= _CORE
        inside = (rows > 0) & (rows < ny - 1)
        level, smooth = _levels(aligned, inside, core, width)
        # On the trace the columns are compared after division by its brightness; farther out
        # the lines of the star are shallower, and in the sky there are none.
        weight = np.clip((_CORE + 6.0 - np.abs(steps)) / 4.0, 0.0, 1.0)[:, None]
        factor = 1 + weight * (level / smooth - 1)
        shape = running_median(aligned / factor, width)
        rest = aligned - shape * factor
        scatter = 1.4826 * running_median(np.abs(rest), 2 * width + 1)
        line, column = np.nonzero(mine)
        where = [offset[line, column] - low, column]
        model[line, column] = map_coordinates(shape * factor, where, order=3, mode="nearest")
        noise[line, column] = map_coordinates(scatter, where, order=1, mode="nearest")
        excess[order] = level / smooth - 1
        brightness[order] = smooth
    return SmoothModel(model, noise, excess, brightness)


def _levels(
    aligned: np.ndarray, inside: np.ndarray, core: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Brightness of a trace per column, and its running median, both above a floor."""
    values = np.where(inside[core], aligned[core], np.nan)
    enough = np.isfinite(values).sum(axis=0) > 0.6 * core.sum()
    total = np.zeros(values.shape[1])
    total[enough] = np.nanmean(values[:, enough], axis=0)
    first = np.maximum(running_median(total[None], width)[0], 1e-6)
    profile = running_median(aligned[core] / np.where(enough, first, 1.0), width)
    # The median over the rows is not moved by a source on less than half of them.
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(profile > 0.3, aligned[core] / (first * profile), np.nan)
    usable = enough & (np.isfinite(ratio).sum(axis=0) > 5)
    level = first.copy()
    level[usable] *= np.nanmedian(ratio[:, usable], axis=0)
    # A faint trace has no lines that could be seen, and sky has none at all.
    floor = max(0.02 * float(np.max(first)), 1e-3)
    scale = np.clip(first / (5 * floor), 0.0, 1.0)
    return first * (1 + scale * (level / first - 1)), first
