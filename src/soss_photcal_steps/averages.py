"""Averages of images over the pixels of a mask, and the scatter of values."""

from __future__ import annotations

import numpy as np

__all__ = ["known_median", "mean_along", "robust_scale"]


def mean_along(
    image: np.ndarray, mask: np.ndarray, axis: int, width: int = 1, least: int = 5
) -> np.ndarray:
    """Average the pixels of a mask.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Image.
    mask : ndarray of bool
        Pixels that count.
    axis : int
        Axis that is averaged over.
    width : int, optional
        Columns or rows that make one value.
    least : int, optional
        Pixels that a value needs.

    Returns
    -------
    ndarray
        NaN where fewer pixels count.
    """
    total = np.where(mask, image, 0).sum(axis=axis, dtype=float)
    count = mask.sum(axis=axis).astype(float)
    edges = np.arange(0, len(total), width)
    total, count = np.add.reduceat(total, edges), np.add.reduceat(count, edges)
    return np.where(count >= least, total / np.maximum(count, 1), np.nan)


def known_median(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Give the median of the values that are not NaN.

    It is `numpy.nanmedian` without a warning, and many times faster along a short axis.

    Parameters
    ----------
    values : ndarray
        Values, at least one along `axis`.
    axis : int, optional
        Axis that it is taken along.

    Returns
    -------
    ndarray
        Shape of `values` without that axis; NaN where all are NaN.
    """
    ordered = np.sort(np.moveaxis(values, axis, 0), axis=0)
    n = len(ordered) - np.isnan(ordered).sum(axis=0)
    # NaN are sorted to the end; where there is nothing else, the first is one.
    low, high = (
        np.take_along_axis(ordered, place[None], axis=0)[0]
        for place in (np.maximum(n - 1, 0) // 2, np.minimum(n // 2, len(ordered) - 1))
    )
    return 0.5 * (low + high)


def robust_scale(values: np.ndarray) -> float:
    """Give the standard deviation around zero from the median of the absolute values.

    Parameters
    ----------
    values : ndarray
        Residuals.

    Returns
    -------
    float
        The deviation; NaN if there are no values.
    """
    return 1.4826 * float(np.median(np.abs(values))) if values.size else float("nan")
