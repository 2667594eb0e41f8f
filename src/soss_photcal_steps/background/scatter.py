"""Light that the point spread function spreads along the traces as well as across them.

Wings made column by column miss that a round point spread function also carries
light along the dispersion, from the bright end of the spectrum to the faint one.
Here is the difference between the two, for a power law, in zones of the distance.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import fft

__all__ = ["ZONE_EDGES", "round_difference"]

# Size of a cell, columns at either end of the image, last row of the grid; scale of `_kernel`;
# steps of tables of the distance: all in pixels.
_CELL = 8
_MARGIN = 480
_TOP = 720
_STEEP = 500.0
_TABLE_STEP = 0.5
ZONE_EDGES = (15.0, 60.0, 200.0, 600.0, 1600.0)


def _kernel(radius: np.ndarray, slope: float, strength: float) -> np.ndarray:
    # A round kernel r^-(n+1) projects to r^-n times sqrt(pi) gamma(n/2) / gamma((n+1)/2).
    projection = math.sqrt(math.pi) * math.gamma(slope / 2) / math.gamma((slope + 1) / 2)
    safe = np.maximum(radius, ZONE_EDGES[0])
    kernel = strength / projection * safe ** -(slope + 1)
    # Far out a point spread function falls off faster than its scattered light nearer in.
    return kernel / (1 + (safe / _STEEP) ** 2) ** 0.5


def _in_zone(values: np.ndarray, radius: np.ndarray, zone: int) -> np.ndarray:
    inside = (radius >= ZONE_EDGES[zone]) & (radius < ZONE_EDGES[zone + 1])
    return np.where(inside, values, np.zeros((), values.dtype))


def _projections(slope: float, strength: float, distance: np.ndarray) -> np.ndarray:
    """Kernels of all zones, projected across the dispersion, shape (n_zones, n)."""
    along = np.concatenate([[0.0], np.geomspace(1.0, 2 * ZONE_EDGES[-1], 400)])
    radius = np.hypot(along[None, :], distance[:, None])
    kernel = _kernel(radius, slope, strength)
    zones = range(len(ZONE_EDGES) - 1)
    return np.array([2 * np.trapezoid(_in_zone(kernel, radius, z), along, axis=1) for z in zones])


def _smoothed_projections(slope: float, strength: float) -> np.ndarray:
    """Mean of the projections over the three cells of a trace, at equal steps of the distance."""
    table = np.concatenate([[0.0], np.geomspace(4.0, 3000.0, 100)])
    distance = np.arange(0.0, table[-1], _TABLE_STEP)
    three = np.abs(distance + np.array([[-_CELL], [0], [_CELL]]))
    return np.array(
        [np.interp(three, table, p).mean(axis=0) for p in _projections(slope, strength, table)]
    )


def _pad(brightness: np.ndarray) -> np.ndarray:
    padded = np.pad(brightness, _MARGIN, mode="edge")
    ramp = np.exp(-np.arange(_MARGIN)[::-1] / 300.0)
    padded[:_MARGIN] *= ramp
    padded[-_MARGIN:] *= ramp[::-1]
    return padded


def _pad_rows(rows: np.ndarray) -> np.ndarray:
    slope = (rows[8] - rows[0]) / 8, (rows[-1] - rows[-9]) / 8
    before = rows[0] - slope[0] * np.arange(_MARGIN, 0, -1)
    after = rows[-1] + slope[1] * np.arange(1, _MARGIN + 1)
    return np.concatenate([before, rows, after])


def _upsample(values: np.ndarray, centres: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Linear interpolation along the first axis."""
    position = np.clip((wanted - centres[0]) / (centres[1] - centres[0]), 0, len(centres) - 1.001)
    low = position.astype(int)
    part = (position - low)[:, None]
    return (1 - part) * values[low] + part * values[low + 1]


def round_difference(
    brightness: list[np.ndarray],
    trace_rows: list[np.ndarray],
    rows: np.ndarray,
    columns: np.ndarray,
    strength: float,
    slope: float,
) -> np.ndarray:
    """Wings of a round point spread function minus wings made column by column.

    Parameters
    ----------
    brightness, trace_rows : list of ndarray
        Brightness and row of each trace per column, shape (nx,), DN/s and pixels.
    rows, columns : ndarray
        Rows and columns that the result is wanted at, shape (ny,) and (nb,), pixels.
    strength, slope : float
        Wing across the trace: ``strength * distance**-slope`` per pixel.

    Returns
    -------
    ndarray
        One image for each zone of the distance, shape (4, ny, nb), DN/s.
    """
    nx = len(brightness[0])
    first = math.floor((min(rows.min(), 0) - 40) / _CELL) * _CELL
    n_rows = int((max(rows.max(), _TOP) - first) // _CELL) + 1
    n_columns = (nx + 2 * _MARGIN) // _CELL
    source = np.zeros(n_rows * n_columns)
    row_centres = first + (np.arange(n_rows) + 0.5) * _CELL - 0.5
    column_centres = (np.arange(n_columns) + 0.5) * _CELL - 0.5 - _MARGIN
    column_cell = np.arange(n_columns * _CELL) // _CELL
    lines = []
    for light, trace in zip(brightness, trace_rows, strict=True):
        amount, place = _pad(light)[: len(column_cell)], _pad_rows(trace)[: len(column_cell)]
        # The core is spread over some 24 rows, so three cells take its light.
        for shift in (-_CELL, 0.0, _CELL):
            cell = (place + shift - first) / _CELL - 0.5 + 0.5 / _CELL
            low = np.floor(cell).astype(int)
            for index, weight in ((low, 1 - (cell - low)), (low + 1, cell - low)):
                ok = (index >= 0) & (index < n_rows)
                cells = index[ok] * n_columns + column_cell[ok]
                source += np.bincount(cells, (amount * weight)[ok] / 3, len(source))
        lines.append(tuple(v.reshape(n_columns, _CELL).mean(axis=1) for v in (amount, place)))
    # Beyond the last zone nothing comes round; single precision is far better than the model is.
    reach = math.ceil(ZONE_EDGES[-1] / _CELL)
    shape = (n_rows, n_columns)
    size = [fft.next_fast_len(n + min(n, reach), real=True) for n in shape]
    dy = (fft.fftfreq(size[0], 1 / size[0]) * _CELL).astype(np.float32)[:, None]
    dx = (fft.fftfreq(size[1], 1 / size[1]) * _CELL).astype(np.float32)[None, :]
    radius = np.hypot(dy, dx)
    transform = fft.rfft2(source.reshape(shape).astype(np.float32), size)
    kernel = _kernel(radius, slope, strength)
    result = np.empty((len(ZONE_EDGES) - 1, len(rows), len(columns)))
    across = np.zeros((len(result), n_rows, n_columns))
    table = _smoothed_projections(slope, strength)
    for amount, place in lines:
        position = np.abs(row_centres[:, None] - place) / _TABLE_STEP
        low = np.minimum(position.astype(int), table.shape[1] - 2)
        part = np.minimum(position - low, 1.0)
        for total, projected in zip(across, table, strict=True):
            mean = (1 - part) * projected[low] + part * projected[low + 1]
            total += amount * mean
    for zone in range(len(result)):
        part = fft.rfft2(_in_zone(kernel, radius, zone))
        spread = fft.irfft2(transform * part, size)[:n_rows, :n_columns] - across[zone]
        fine = _upsample(spread, row_centres, rows)
        result[zone] = _upsample(fine.T, column_centres, columns).T
    return result
