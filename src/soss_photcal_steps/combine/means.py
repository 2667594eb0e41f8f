"""The two classical means: clipped and weighted.  Section 7 of JWST-STScI-009248."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["MeanCurve", "clipped_mean", "sigma_clip_columns", "weighted_mean"]


@dataclass(frozen=True)
class MeanCurve:
    """Mean of several curves, per wavelength.

    Attributes
    ----------
    method : str
        Name of the mean.
    value : ndarray, shape (m,)
        Mean R; NaN where no curve contributes.
    stat_error : ndarray, shape (m,)
        Statistical 1-sigma error, as a fraction of R.
    sys_error : ndarray, shape (m,)
        Systematic 1-sigma error, as a fraction of R.
    used : ndarray of bool, shape (n, m)
        Which curves contribute.
    """

    method: str
    value: np.ndarray
    stat_error: np.ndarray
    sys_error: np.ndarray
    used: np.ndarray

    @property
    def total_error(self) -> np.ndarray:
        """Both errors in quadrature, as a fraction of R; shape (m,)."""
        return np.hypot(self.stat_error, self.sys_error)


def sigma_clip_columns(
    values: np.ndarray, sigma_low: float = 3.0, sigma_high: float = 3.0, iterations: int = 5
) -> np.ndarray:
    """Clip each column about its median, as ``astropy.stats.sigma_clip(axis=0)`` does.

    Parameters
    ----------
    values : ndarray, shape (n, m)
        Values; NaN is left out.
    sigma_low, sigma_high : float
        Limits below and above the median, in standard deviations.
    iterations : int
        Largest number of passes.

    Returns
    -------
    ndarray of bool, shape (n, m)
        Values that are kept.

    Notes
    -----
    Of seven values none can lie 3 standard deviations from their median, for it adds to the
    standard deviation itself: 2.96 is the most.  So 3 sigma clips nothing among seven curves or
    fewer, and of eight only one that stands far off seven others that nearly agree.
    """
    finite = np.isfinite(values)
    kept, columns, last = finite, np.arange(values.shape[1]), values.shape[0] - 1
    low, high = np.full(values.shape[1], -np.inf), np.full(values.shape[1], np.inf)
    for _ in range(iterations):
        count = kept.sum(axis=0)
        ordered = np.sort(np.where(kept, values, np.inf), axis=0)
        lower = ordered[np.maximum(count - 1, 0) // 2, columns]
        upper = ordered[np.minimum(count // 2, last), columns]
        number = np.maximum(count, 1)
        mean = np.where(kept, values, 0.0).sum(axis=0) / number
        spread = np.sqrt((np.where(kept, values - mean, 0.0) ** 2).sum(axis=0) / number)
        middle = np.where(count > 0, 0.5 * (lower + upper), 0.0)
        low, high = middle - sigma_low * spread, middle + sigma_high * spread
        with np.errstate(invalid="ignore"):
            now = kept & (values >= low) & (values <= high)
        if np.array_equal(now, kept):
            break
        kept = now
    # As astropy does: what lies within the last limits is back in, even if it was out before.
    with np.errstate(invalid="ignore"):
        kept = finite & (values >= low) & (values <= high)
    return kept


def clipped_mean(
    values: np.ndarray, sigma_low: float = 3.0, sigma_high: float = 3.0, iterations: int = 5
) -> MeanCurve:
    """Take the mean of what is left after clipping, all curves with the same weight.

    The best choice if the curves differ by systematic errors only.  Its error is the textbook
    one, the scatter over the square root of the number of curves; it is given as systematic.
    It takes curves of one star for independent.

    Parameters
    ----------
    values : ndarray, shape (n, m)
        Curves; NaN is left out.
    sigma_low, sigma_high : float
        Limits, in standard deviations.
    iterations : int
        Largest number of passes.

    Returns
    -------
    MeanCurve
        The mean.
    """
    kept = sigma_clip_columns(values, sigma_low, sigma_high, iterations)
    count = kept.sum(axis=0)
    value = _mean(values, kept.astype(float))
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = np.where(kept, values - value, 0.0) ** 2
        error = np.sqrt(squares.sum(axis=0) / (count - 1) / count) / value
    error = np.where(count > 1, error, np.where(count == 1, np.inf, np.nan))
    return MeanCurve("clipped", value, np.where(count > 0, 0.0, np.nan), error, kept)


def weighted_mean(values: np.ndarray, errors: np.ndarray, n_frames: np.ndarray) -> MeanCurve:
    """Take the mean with the square root of the number of frames as weight.

    The choice of the report for curves that differ by statistical errors only.  Its error is
    what the statistical errors of the curves amount to.

    Parameters
    ----------
    values : ndarray, shape (n, m)
        Curves; NaN is left out.
    errors : ndarray, shape (n, m)
        Their statistical errors, in the same unit.
    n_frames : ndarray, shape (n,)
        Frames behind each curve.

    Returns
    -------
    MeanCurve
        The mean.
    """
    used = np.isfinite(values)
    weight = np.where(used, np.sqrt(np.asarray(n_frames, float))[:, None], 0.0)
    value = _mean(values, weight)
    total = weight.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt((np.where(used, weight * errors, 0.0) ** 2).sum(axis=0)) / total / value
    return MeanCurve("weighted", value, error, np.where(total > 0, 0.0, np.nan), used)


def _mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    total = weight.sum(axis=0)
    summed = np.where(weight > 0, values * weight, 0.0).sum(axis=0)
    return np.where(total > 0, summed / np.where(total > 0, total, 1.0), np.nan)
