"""Noise that neighbouring points of a spectrum share.

The 1/f noise of the detector is read out along the columns, one column after the other, so that
the extracted spectrum of a few integrations has, beside its white noise, a slow part that is
alike over some tens of pixels.  It is modelled as a stationary Markov process (Uhlenbeck &
Ornstein 1930), whose correlation falls exponentially with the distance.  Each point less its
share of the one before then has noise in common with its two neighbours only, so that a band
matrix makes it white, whatever gaps there are between the points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky_banded
from scipy.linalg.lapack import dtbtrs

__all__ = ["CANDIDATES", "WHITE", "SlowNoise", "whiten"]


@dataclass(frozen=True)
class SlowNoise:
    """White noise of variance 1 and a slow part.

    Attributes
    ----------
    share : float
        Variance of the slow part over that of the white part.
    length : float
        Number of points over which the correlation of the slow part falls to 1 / e.
    """

    share: float = 0.0
    length: float = 1.0

    @property
    def factor(self) -> float:
        """Variance of a mean of many neighbours over that of as many independent points."""
        step = np.exp(-1 / self.length)
        return float((1 + self.share * (1 + step) / (1 - step)) / (1 + self.share))

    @property
    def doubt(self) -> float:
        """By how much `factor` may be too low, as the share is known to half a step only."""
        return SlowNoise(self.share * _STEP**0.5, self.length).factor / self.factor


WHITE = SlowNoise()
# What is tried: from barely visible to what dominates, from some pixels to what a curve could be.
_SHARES, _STEP = (0.1, 0.3, 0.9, 2.7), 3.0
CANDIDATES = (
    WHITE,
    *(SlowNoise(share, length) for length in (1.5, 5.0, 12.0, 30.0) for share in _SHARES),
)


def whiten(columns: np.ndarray, place: np.ndarray, noise: SlowNoise) -> tuple[np.ndarray, float]:
    """Take the correlation out of columns of points.

    Parameters
    ----------
    columns : ndarray
        Values over the white noise, shape (n, k); each column has the noise `noise`.
    place : ndarray
        Rising numbers of the points, shape (n,); they need not be without gaps.
    noise : SlowNoise
        The noise.

    Returns
    -------
    white : ndarray
        The columns as independent values of variance 1, shape (n, k).
    log_determinant : float
        Logarithm of the determinant of the covariance.
    """
    if noise.share == 0:
        return columns, 0.0
    decay = np.exp(-np.diff(place) / noise.length)[:, None]
    steps = columns.copy()
    steps[1:] -= decay * columns[:-1]
    band = np.zeros((2, len(columns)))
    band[0] = 1 + noise.share
    band[0, 1:] += (1 - noise.share) * decay[:, 0] ** 2
    band[1, :-1] = -decay[:, 0]
    root = cholesky_banded(band, lower=True)
    # The root is a triangle, for which this is twice as fast as the solver for any band.
    white, _ = dtbtrs(root, steps, uplo="L")
    return white, float(2 * np.log(root[0]).sum())
