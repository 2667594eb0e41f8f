"""Noise of a curve, and how neighbouring points share it."""

from __future__ import annotations

import numpy as np

__all__ = ["correlation_factor", "difference_scale", "robust_scale"]

# Differences over this many points tell the noise, also where neighbours share some of it.
_LAG = 6
_LAGS = 20


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


def difference_scale(values: np.ndarray, error: np.ndarray) -> float:
    """Give the noise in units of the quoted errors, whatever the curve below it.

    Parameters
    ----------
    values, error : ndarray
        Points of a curve in order, and their quoted errors, shape (n,).

    Returns
    -------
    float
        Factor on the errors, from second differences over some points; NaN if there are
        fewer than 30.
    """
    if values.size < 30:
        return float("nan")
    lag = _LAG
    step = values[2 * lag :] - 2 * values[lag:-lag] + values[: -2 * lag]
    expected = np.sqrt(error[2 * lag :] ** 2 + 4 * error[lag:-lag] ** 2 + error[: -2 * lag] ** 2)
    return robust_scale(step / expected)


def correlation_factor(residual: np.ndarray) -> float:
    """Give the variance of a mean of neighbours over that of independent points.

    Parameters
    ----------
    residual : ndarray
        Residuals in order, of unit width.

    Returns
    -------
    float
        1 + 2 sum of the autocorrelation up to its first value that is not significant;
        between 1 and 20.
    """
    n = residual.size
    if n < 30:
        return 1.0
    clipped = np.clip(residual, -3, 3)
    clipped = clipped - clipped.mean()
    power = float(clipped @ clipped)
    if power <= 0:
        return 1.0
    factor = 1.0
    for lag in range(1, min(_LAGS, n // 4)):
        value = float(clipped[lag:] @ clipped[:-lag]) / power
        if value < 1.5 / np.sqrt(n):
            break
        factor += 2 * value
    return float(np.clip(factor, 1.0, 20.0))
