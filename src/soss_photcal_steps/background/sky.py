"""The sky of one image, binned: what the fit looks at.

Columns are averaged in small bins, good pixels only, and bins are gathered in
blocks, finer near the break of the background.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = [
    "ROWS_PER_BIN",
    "Blocks",
    "Sky",
    "bad_pixels",
    "bin_columns",
    "bin_rows",
    "bin_sky",
    "make_blocks",
    "smooth_over_blocks",
]

ROWS_PER_BIN = 2


@dataclass(frozen=True)
class Sky:
    """An image in bins of some columns and rows.

    Attributes
    ----------
    value : ndarray
        Mean count rate of the good pixels of each bin, shape (ny, nb), DN/s; 0 where none.
    weight : ndarray
        Number of good pixels in each bin, shape (ny, nb).
    variance : ndarray
        Variance of `value`, shape (ny, nb), (DN/s)^2.
    rows : ndarray
        Mean row of each line of bins in the coordinates of SUBSTRIP256, shape (ny,).
    columns : ndarray
        Mean column of each bin, shape (nb,).
    factor : int
        Columns per bin.
    """

    value: np.ndarray
    weight: np.ndarray
    variance: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    factor: int


@dataclass(frozen=True)
class Blocks:
    """Rectangular blocks of bins.

    Attributes
    ----------
    row_edges, bin_edges : ndarray
        First line and first bin of each block row and column.
    shape : tuple of int
        Number of block rows and columns.
    rows, columns : ndarray
        Mean row and column of each block, flattened.
    index : ndarray
        Block number of each bin, shape (ny, nb).
    """

    row_edges: np.ndarray
    bin_edges: np.ndarray
    shape: tuple[int, int]
    rows: np.ndarray
    columns: np.ndarray
    index: np.ndarray

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum over each block.

        Parameters
        ----------
        values : ndarray
            Shape (..., ny, nb).

        Returns
        -------
        ndarray
            Shape (..., n_blocks).
        """
        partial = np.add.reduceat(values, self.row_edges, axis=-2)
        total = np.add.reduceat(partial, self.bin_edges, axis=-1)
        return total.reshape(*total.shape[:-2], -1)


def bad_pixels(
    image: np.ndarray, good: np.ndarray, error: np.ndarray, n_sigma: float = 6.0
) -> np.ndarray:
    """Find single pixels that stand out from their neighbours.

    Parameters
    ----------
    image : ndarray
        Count rate, shape (ny, nx), DN/s.
    good : ndarray of bool
        Pixels to look at.
    error : ndarray
        Standard error of `image`, DN/s.
    n_sigma : float
        Clip, in units of the noise.

    Returns
    -------
    ndarray of bool
        Outliers among the good pixels.
    """
    filled = np.where(good, image, np.float32(0)).astype(np.float32)
    local = _median_of_nine(filled)
    difference = np.abs(filled - local)
    sample = difference[good]
    if sample.size == 0:
        return np.zeros_like(good)
    floor = 1.5 * np.median(sample[:: max(1, sample.size // 50_000)])
    noise = np.maximum(np.where(np.isfinite(error), error, 0), floor)
    return good & (difference > n_sigma * noise + 0.2 * np.abs(local))


def _median_of_nine(image: np.ndarray) -> np.ndarray:
    """Median of each pixel and its neighbours; the edge is taken to go on as it is.

    Columns of three are sorted once for all windows that they are in (Smith 1996, "Implementing
    median filters in XC4000E FPGAs").
    """
    padded = np.pad(image, 1, mode="edge")
    low, middle, high = padded[:-2], padded[1:-1], padded[2:]
    low, middle = np.minimum(low, middle), np.maximum(low, middle)
    middle, high = np.minimum(middle, high), np.maximum(middle, high)
    low, middle = np.minimum(low, middle), np.maximum(low, middle)
    largest = np.maximum(np.maximum(low[:, :-2], low[:, 1:-1]), low[:, 2:])
    smallest = np.minimum(np.minimum(high[:, :-2], high[:, 1:-1]), high[:, 2:])
    typical = _median_of_three(middle[:, :-2], middle[:, 1:-1], middle[:, 2:])
    return _median_of_three(largest, typical, smallest)


def _median_of_three(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))


def bin_columns(image: np.ndarray, good: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Average columns in bins.

    Parameters
    ----------
    image : ndarray
        Shape (..., ny, nx); the values outside `good` are ignored.
    good : ndarray of bool
        Shape (ny, nx).
    factor : int
        Columns per bin; the last columns that fill no bin are left out.

    Returns
    -------
    mean : ndarray
        Shape (..., ny, nx // factor); 0 where there is no good pixel.
    count : ndarray
        Number of good pixels, same shape.
    """
    nx = image.shape[-1] // factor * factor
    shape = (*image.shape[:-1], nx // factor, factor)
    values, kept = image[..., :nx], good[..., :nx]
    if kept.all():
        count = np.full((*good.shape[:-1], nx // factor), factor, np.float32)
    else:
        values = np.where(kept, values, np.float32(0))
        flags = kept.reshape(*good.shape[:-1], nx // factor, factor).view(np.uint8)
        number = flags[..., 0].copy()
        for k in range(1, factor):
            number += flags[..., k]
        count = number.astype(np.float32)
    values = values.reshape(shape)
    total = values[..., 0].copy()
    for k in range(1, factor):
        total += values[..., k]
    return total / np.maximum(count, 1), count


def bin_rows(mean: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average neighbouring lines, `ROWS_PER_BIN` at a time.

    Parameters
    ----------
    mean : ndarray
        Means, shape (..., ny, nb).
    count : ndarray
        Number of pixels in each, shape (ny, nb) or that of `mean`.

    Returns
    -------
    mean : ndarray
        Shape (..., ny // ROWS_PER_BIN, nb); lines that fill no bin are left out.
    count : ndarray
        Number of pixels, shape as that of the given one.
    """
    ny = mean.shape[-2] // ROWS_PER_BIN * ROWS_PER_BIN
    total = count[..., 0:ny:ROWS_PER_BIN, :].copy()
    weighted = mean[..., 0:ny:ROWS_PER_BIN, :] * total
    for k in range(1, ROWS_PER_BIN):
        total += count[..., k:ny:ROWS_PER_BIN, :]
        weighted += mean[..., k:ny:ROWS_PER_BIN, :] * count[..., k:ny:ROWS_PER_BIN, :]
    weighted /= np.maximum(total, 1)
    return weighted, total


def bin_sky(
    image: np.ndarray, error: np.ndarray, good: np.ndarray, rows: np.ndarray, factor: int = 4
) -> Sky:
    """Bin an image and its error.

    Parameters
    ----------
    image, error : ndarray
        Count rate and standard error, shape (ny, nx), DN/s.
    good : ndarray of bool
        Pixels to be used.
    rows : ndarray
        Row of each line in the coordinates of SUBSTRIP256.
    factor : int
        Columns per bin.

    Returns
    -------
    Sky
        The binned image.
    """
    value, weight = bin_rows(*bin_columns(image, good, factor))
    usable = good & np.isfinite(error) & (error > 0)
    variance, n = bin_rows(*bin_columns(error * error, usable, factor))
    typical = np.median(variance[n > 0]) if (n > 0).any() else 1.0
    variance = np.where(n > 0, variance, typical) / np.maximum(weight, 1)
    columns = (np.arange(value.shape[1]) + 0.5) * factor - 0.5
    lines = np.asarray(rows, float)[: len(value) * ROWS_PER_BIN].reshape(-1, ROWS_PER_BIN)
    return Sky(value, weight, variance, lines.mean(axis=1), columns, factor)


def make_blocks(
    rows: np.ndarray,
    n_bins: int,
    factor: int,
    break_columns: tuple[float, float],
    height: int = 8,
    width: int = 48,
) -> Blocks:
    """Lay out the blocks.

    Parameters
    ----------
    rows : ndarray
        Row of each line.
    n_bins, factor : int
        Number of bins and columns per bin.
    break_columns : tuple of float
        First and last column of the break; blocks near it are narrower.
    height, width : int
        Lines and columns per block.

    Returns
    -------
    Blocks
        The layout.
    """
    fine = max(8 // factor, 1)
    coarse = max(width // factor, 1)
    first = int((break_columns[0] - 24) // factor)
    last = int((break_columns[1] + 48) // factor)
    edges = [0]
    while edges[-1] < n_bins:
        step = fine if first <= edges[-1] < last else coarse
        following = edges[-1] + step
        if edges[-1] < first < following:
            following = first
        edges.append(following)
    bin_edges = np.array([e for e in edges if e < n_bins])
    row_edges = np.arange(0, len(rows), height)
    row_number = np.searchsorted(row_edges, np.arange(len(rows)), side="right") - 1
    bin_number = np.searchsorted(bin_edges, np.arange(n_bins), side="right") - 1
    index = row_number[:, None] * len(bin_edges) + bin_number[None, :]
    mean_rows = np.add.reduceat(np.asarray(rows, float), row_edges)
    mean_rows /= np.diff(np.append(row_edges, len(rows)))
    positions = (np.arange(n_bins) + 0.5) * factor - 0.5
    mean_columns = np.add.reduceat(positions, bin_edges)
    mean_columns /= np.diff(np.append(bin_edges, n_bins))
    shape = (len(row_edges), len(bin_edges))
    return Blocks(
        row_edges,
        bin_edges,
        shape,
        np.repeat(mean_rows, shape[1]),
        np.tile(mean_columns, shape[0]),
        index,
    )


def smooth_over_blocks(
    residual: np.ndarray,
    weight: np.ndarray,
    blocks: Blocks,
    reach: tuple[int, int] = (3, 5),
    quantile: float = 0.5,
) -> np.ndarray:
    """Local level of a residual: a quantile over neighbouring blocks, spread over the bins.

    Parameters
    ----------
    residual, weight : ndarray
        Shape (ny, nb).
    blocks : Blocks
        The layout.
    reach : tuple of int
        Blocks up and along that are looked at, odd numbers; those without weight are not.
    quantile : float
        Which quantile, between 0 and 1.

    Returns
    -------
    ndarray
        Shape (ny, nb); 0 where no block near by has a weight.
    """
    n = blocks.sums(weight)
    mean = blocks.sums(residual * weight) / np.maximum(n, 1)
    table = np.where(n > 0, mean, np.nan).reshape(blocks.shape)
    half = reach[0] // 2, reach[1] // 2
    padded = np.pad(table, ((half[0],) * 2, (half[1],) * 2), constant_values=np.nan)
    windows = np.sort(
        np.lib.stride_tricks.sliding_window_view(padded, reach).reshape(*table.shape, -1), axis=-1
    )
    count = np.isfinite(windows).sum(axis=-1)
    place = quantile * np.maximum(count - 1, 0)
    low = place.astype(int)
    take = [np.take_along_axis(windows, i[..., None], -1)[..., 0]
            for i in (low, np.minimum(low + 1, np.maximum(count - 1, 0)))]  # fmt: skip
    level = take[0] + (place - low) * (take[1] - take[0])
    return np.where(count > 0, level, 0.0).reshape(-1)[blocks.index]
