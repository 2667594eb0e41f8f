"""Brightness of the traces along the columns, and the reference wing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from soss_photcal_steps.averages import known_median

__all__ = [
    "FAR_SLOPE",
    "FAR_STRENGTH",
    "TraceLight",
    "reference_wing",
    "trace_light",
    "window_lines",
]

# Reference wing beyond 30 pixels: light per pixel in units of the light of the column.
FAR_STRENGTH, FAR_SLOPE = 1.75e-2, 1.1
# Closer to the trace than this the wing is not followed, pixels.
INNER = 13.0
# Traces closer than this overlap, pixels.
_BLENDED = 33.0


def reference_wing(distance: np.ndarray) -> np.ndarray:
    """Fraction of a column's light per pixel at a distance from the trace.

    Measured on frames of BD+60 1753 and WASP-39: 1.75e-2 r^-1.1 beyond 30 pixels,
    steeper nearer to the core.

    Parameters
    ----------
    distance : ndarray
        Distances, pixels.

    Returns
    -------
    ndarray
        Fraction per pixel.
    """
    distance = np.maximum(distance, INNER)
    core = np.square(np.square(22.0 / distance))
    return FAR_STRENGTH * distance**-FAR_SLOPE * (1 + core)


@dataclass(frozen=True)
class TraceLight:
    """Brightness of one order along the columns.

    Attributes
    ----------
    order : int
        Spectral order.
    rows : ndarray
        Row of the trace per column, shape (nx,).
    brightness : ndarray
        Count rate summed over the trace per column, shape (nx,), DN/s.
    measured : ndarray of bool
        Where it was read off the image; elsewhere it is extrapolated.
    """

    order: int
    rows: np.ndarray
    brightness: np.ndarray
    measured: np.ndarray


def _running_median(values: np.ndarray, half: int) -> np.ndarray:
    padded = np.pad(values, half, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    return known_median(windows, axis=1)


def window_lines(
    rows: np.ndarray, lines: np.ndarray, half_width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the lines of an image in a window that follows a trace.

    Parameters
    ----------
    rows : ndarray
        Row of the trace per column, shape (nx,).
    lines : ndarray
        Row of each line of the image, rising, shape (ny,).
    half_width : int
        Half width of the window, pixels.

    Returns
    -------
    wanted : ndarray of int
        Rows of the window, shape (2 half_width + 1, nx).
    line : ndarray of int
        Line of the image for each, same shape.
    inside : ndarray of bool
        Whether the image has that row; if not, `line` is another one.
    """
    wanted = np.rint(rows).astype(int) + np.arange(-half_width, half_width + 1)[:, None]
    # Each row is looked for once, with one more on either side for those outside the image.
    span = np.arange(int(lines[0]) - 1, int(lines[-1]) + 2)
    where = np.minimum(np.searchsorted(lines, span), len(lines) - 1)
    key = np.clip(wanted - span[0], 0, len(span) - 1)
    return wanted, where[key], (lines[where] == span)[key]


def trace_light(
    image: np.ndarray,
    good: np.ndarray,
    lines: np.ndarray,
    traces: dict[int, np.ndarray],
    half_width: int = 15,
) -> list[TraceLight]:
    """Read the brightness of the traces off an image.

    Parameters
    ----------
    image : ndarray
        Background-subtracted count rate, shape (ny, nx), DN/s.
    good : ndarray of bool
        Valid pixels.
    lines : ndarray
        Row of each line in the coordinates of `traces`, rising.
    traces : dict
        Row of each order per column, shape (nx,).
    half_width : int
        Half width of the window summed over, pixels.

    Returns
    -------
    list of TraceLight
        One for each order.
    """
    nx = image.shape[1]
    columns = np.arange(nx)
    window = np.arange(-half_width, half_width + 1)
    orders = sorted(traces)
    levels, seen = [], []
    for order in orders:
        _, line, inside = window_lines(np.asarray(traces[order], float), lines, half_width)
        usable = inside & good[line, columns]
        values = np.where(usable, image[line, columns], 0)
        level, enough = _fill_window(values, usable)
        half, close = _clear_half(order, traces, window, values, usable)
        level = np.where(close, half, level)
        levels.append(_running_median(level, 3))
        seen.append(enough)
    amounts = _deblend(np.array(levels), np.array([traces[o] for o in orders], float), half_width)
    lights = []
    anchor = 0.0
    for order, level, enough in zip(orders, amounts, seen, strict=True):
        measured = np.isfinite(level) & enough
        if order == 1 and measured[1900:2000].sum() > 30:
            anchor = max(float(np.nanmedian(level[1900:2000])), 0.0)
        brightness = np.zeros(nx)
        if measured.sum() > 60:
            brightness = _extrapolate(columns, level, measured)
        if order in _TYPICAL and anchor > 0:
            brightness = _fill_typical(columns, brightness, measured, order, anchor)
        rows = np.asarray(traces[order], float)
        lights.append(TraceLight(order, rows, np.maximum(brightness, 0.0), measured))
    return lights


# Brightness of orders 2 and 3 over that of order 1 at columns 1900 to 2000: geometric mean of
# what the frames of BD+60 1753 (A1) and WASP-39 (G8) show, at every hundredth column.
_TYPICAL = {
    2: (5.4e-3, 4.1e-3, 2.7e-3, 1.5e-3, 1e-3, 1.7e-3, 5.1e-3, 0.0129, 0.0281, 0.0533, 0.0947,
        0.158, 0.247, 0.413, 0.607, 0.706, 0.536, 0.261, 0.0557, 4.4e-3, 1.3e-4),
    3: (9.5e-3, 0.0109, 0.0156, 0.018, 0.0216, 0.0252, 0.0258, 0.0204, 0.0126, 3.5e-3, 1e-3,
        3e-3, 2.6e-3, 1.5e-3, 9e-4, 5e-4, 3e-4, 1.5e-4, 9e-5, 4e-5, 2e-5),
}  # fmt: skip


def _fill_typical(
    columns: np.ndarray, brightness: np.ndarray, measured: np.ndarray, order: int, anchor: float
) -> np.ndarray:
    """Brightness where a trace is outside the image, from that of a typical star."""
    nodes = np.arange(len(_TYPICAL[order])) * 100.0
    typical = anchor * np.exp(np.interp(columns, nodes, np.log(_TYPICAL[order])))
    known = np.flatnonzero(measured)
    if known.size <= 60:
        return typical
    filled = brightness.copy()
    for edge, outside in ((known[-1], columns > known[-1]), (known[0], columns < known[0])):
        near = known[np.abs(known - edge) < 30]
        ratio = np.median(brightness[near]) / np.median(typical[near])
        filled[outside] = np.clip(ratio, 0.3, 3.0) * typical[outside]
    return filled


def _clear_half(
    order: int,
    traces: dict[int, np.ndarray],
    window: np.ndarray,
    values: np.ndarray,
    usable: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Twice the half of the window that faces away from a lower order close by."""
    n_columns = values.shape[1]
    half, close = np.full(n_columns, np.nan), np.zeros(n_columns, bool)
    for other in traces:
        if other >= order:
            continue
        gap = np.asarray(traces[order], float) - traces[other]
        here = np.abs(gap) < _BLENDED
        away = (window[:, None] * np.sign(gap)) > 0
        used = usable & away
        count = used.sum(axis=0)
        total = np.where(away, values, 0).sum(axis=0)
        whole = here & (count > 0.7 * away.sum(axis=0))
        half[whole] = len(window) * total[whole] / count[whole]
        close |= here
    return half, close


def _fill_window(values: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum over the window per column, missing rows filled with the trace's own profile."""
    n = usable.sum(axis=0)
    whole = np.flatnonzero(n > 0.75 * len(values))
    total = values.sum(axis=0)
    level = np.full(values.shape[1], np.nan)
    if whole.size == 0:
        return level, np.zeros(values.shape[1], bool)
    level[whole] = total[whole] / n[whole] * len(values)
    # Near the edge of the image only a part of the core is seen: scale the mean profile to it.
    for edge, part in ((whole[-1], whole[-200:]), (whole[0], whole[:200])):
        profile = np.median(values[:, part] / np.maximum(level[part], 1e-9), axis=1)
        profile = np.maximum(profile, 0) / max(profile.sum(), 1e-9)
        near = np.flatnonzero((n > 0) & (n <= 0.75 * len(values)))
        near = near[np.abs(near - edge) < 60]
        share = (profile[:, None] * usable[:, near]).sum(axis=0)
        take = share > 0.3
        level[near[take]] = total[near[take]] / share[take]
    return level, np.isfinite(level)


def _deblend(levels: np.ndarray, rows: np.ndarray, half_width: int) -> np.ndarray:
    """Take the wings of each trace off the sums over the others."""
    known = np.where(np.isfinite(levels), levels, 0.0)
    amounts = known.copy()
    shares = _shares(rows.tobytes(), len(rows), half_width)
    for _ in range(3):
        leak = np.zeros_like(known)
        for (i, j), share in shares.items():
            leak[i] += share * np.maximum(amounts[j], 0)
        amounts = known - leak
    return np.where(np.isfinite(levels), amounts, np.nan)


@lru_cache(maxsize=4)
def _shares(traces: bytes, number: int, half_width: int) -> dict[tuple[int, int], np.ndarray]:
    """Part of the light of trace j in the window over trace i; the same in each round of a fit."""
    rows = np.frombuffer(traces).reshape(number, -1)
    window = np.arange(-half_width, half_width + 1)[:, None]
    shares = {}
    for i in range(len(rows)):
        for j in range(len(rows)):
            gap = rows[i] - rows[j]
            if i == j:
                continue
            close = (np.abs(gap) < _BLENDED) & (j < i)
            wing = reference_wing(np.maximum(np.abs(gap + window), 18.0))
            away = (window * np.sign(gap)) > 0
            half = (wing * away).sum(axis=0) * len(window) / np.maximum(away.sum(axis=0), 1)
            shares[i, j] = np.where(close, half, wing.sum(axis=0))
    return shares


def _extrapolate(columns: np.ndarray, level: np.ndarray, measured: np.ndarray) -> np.ndarray:
    known = np.flatnonzero(measured)
    brightness = np.interp(columns, known, level[known])
    for edge, side in ((known[-1], 1), (known[0], -1)):
        near = known[np.abs(known - edge) < 80]
        distance = np.abs(near - edge)
        value = np.median(level[near[distance < 8]])
        outside = (columns - edge) * side > 0
        if value <= 0 or len(near) < 40:
            brightness[outside] = max(value, 0.0)
            continue
        far = np.median(level[near[(distance >= 40) & (distance < 60)]])
        # A trace that brightens towards the edge is not taken to go on brightening.
        rate = max(np.log(max(far, 1e-3 * value) / value) / 46, 0.0)
        beyond = (columns - edge) * side
        brightness[outside] = value * np.exp(-np.minimum(rate * beyond[outside], 12.0))
    return brightness
