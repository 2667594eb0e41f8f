"""Noise that the pixels of a column have in common, as 1/f noise leaves it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

__all__ = ["Stripes", "stripe_shapes"]

# Columns over which the correlation of offsets falls to 1 / e.  On the frames of BD+60 1753 and
# WASP-39, less what varies over 150 columns, it is 0.8 to 1 from a column to the next, 0.6 over 5,
# 0.35 over 12 and 0.1 over 30, as lengths of 13 to 20 give.
_LENGTH = 16.0


@dataclass(frozen=True)
class Stripes:
    """Offsets of the columns of blocks.

    Attributes
    ----------
    column : ndarray of int
        Column of each block, shape (n_blocks,).
    covariance : ndarray
        Of the offsets, shape (n_columns, n_columns), (DN/s)^2.
    sizes : tuple of int
        Where the search for the covariance ended, `tune_stripes`.
    """

    column: np.ndarray
    covariance: np.ndarray
    sizes: tuple[int, int] = (0, 0)

    @classmethod
    def none(cls, column: np.ndarray, n_columns: int) -> Stripes:
        """Make stripes without any variance.

        Parameters
        ----------
        column : ndarray of int
            Column of each block, shape (n_blocks,).
        n_columns : int
            Number of columns.

        Returns
        -------
        Stripes
            The same columns, offsets of 0.
        """
        return cls(column, np.zeros((n_columns, n_columns)))

    def scaled(self, factor: float) -> Stripes:
        """Multiply the covariance.

        Parameters
        ----------
        factor : float
            The factor.

        Returns
        -------
        Stripes
            The same columns with the new covariance.
        """
        return replace(self, covariance=factor * self.covariance)

    def directions(self, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Directions in the space of the scaled blocks along which the offsets lie.

        Parameters
        ----------
        variance : ndarray
            Independent variance of the blocks, shape (n_blocks,).

        Returns
        -------
        unit : ndarray
            One unit vector for each column, shape (n_columns, n_blocks), 0 without blocks.
        size : ndarray
            Inverse of the error of each column's mean, shape (n_columns,), 1 / (DN/s).
        """
        roots = np.zeros((len(self.covariance), len(self.column)))
        roots[self.column, np.arange(len(self.column))] = 1 / np.sqrt(variance)
        size = np.sqrt((roots**2).sum(axis=1))
        return roots / np.maximum(size, 1e-150)[:, None], size

    def cleaned(self, residual: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Take the most likely offsets off.

        The offsets also follow the noise of the blocks, the more the fewer there are in a
        column; what is left is brought back to the scatter that the noise has.

        Parameters
        ----------
        residual, variance : ndarray
            Residual of the blocks and its independent variance, shape (n_blocks,).

        Returns
        -------
        ndarray
            Residual without what the columns have in common, shape (n_blocks,), DN/s.
        """
        n = len(self.covariance)
        weight = np.bincount(self.column, 1 / variance, n)
        total = np.bincount(self.column, residual / variance, n)
        # Covariance of the offsets once the data are known.
        known = np.linalg.solve(np.eye(n) + self.covariance * weight, self.covariance)
        offset = known @ total
        followed = np.minimum(np.diag(known)[self.column] / variance, 0.9)
        return (residual - offset[self.column]) / np.sqrt(1 - followed)


@lru_cache(maxsize=16)
def stripe_shapes(edges: tuple[float, ...]) -> np.ndarray:
    """Covariances that the mean offsets of columns of blocks may have.

    Parameters
    ----------
    edges : tuple of float
        Edges of the columns of blocks, pixels, rising.

    Returns
    -------
    ndarray
        Shape (2, n_columns, n_columns): offsets of single pixel columns that are independent, and
        offsets that neighbours share; of variance 1 for a pixel column.
    """
    bounds = np.array(edges)
    width = np.diff(bounds)
    apart = np.abs(bounds[:, None] - bounds[None, :])
    # Second integral of exp(-x / length), for the mean over two intervals.
    whole = _LENGTH**2 * np.exp(-apart / _LENGTH) + _LENGTH * apart
    shared = whole[1:, :-1] + whole[:-1, 1:] - whole[1:, 1:] - whole[:-1, :-1]
    return np.array([np.diag(1 / width), shared / np.outer(width, width)])
