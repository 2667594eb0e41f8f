"""The linear model of background and wings, and its solution.

Block means are described by two template amplitudes, one on each side of the
break, and the wing terms with their Gaussian priors.  The wing terms are
eliminated once for all templates, so that a whole library costs little more than one.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg.lapack import dpotrf, dtrtrs

__all__ = ["LinearFit", "NormalEquations", "Stripes", "combination_bounds", "robust_weights"]


def robust_weights(
    residual: np.ndarray, sigma: np.ndarray, low: float = 3.0, high: float = 2.0
) -> np.ndarray:
    """Weights of blocks by their residuals, harder on what is too bright.

    Contaminants only add light, so a positive residual loses weight sooner.

    Parameters
    ----------
    residual, sigma : ndarray
        Residual and its expected standard deviation, DN/s.
    low, high : float
        Residuals, in units of `sigma`, at which weights start to fall.

    Returns
    -------
    ndarray
        Weights between 0 and 1.
    """
    t = residual / sigma
    limit = np.where(t > 0, high, low)
    size = np.maximum(np.abs(t), 1e-12)
    return np.where(size <= limit, 1.0, (limit / size) ** np.where(t > 0, 2.0, 1.0))


def combination_bounds(sigma: np.ndarray, level: np.ndarray | float) -> np.ndarray:
    """Variance of the priors of a combination's amplitudes.

    Parameters
    ----------
    sigma : ndarray
        Prior width of each term after the two levels, relative to the level, shape (n,).
    level : ndarray or float
        Level that each is relative to, DN/s.

    Returns
    -------
    ndarray
        Infinite for the two levels, which are free, shape (2 + n,), (DN/s)^2.
    """
    return np.concatenate([[np.inf, np.inf], (sigma * level) ** 2])


@dataclass(frozen=True)
class LinearFit:
    """Solution for one set of background terms.

    Attributes
    ----------
    amplitudes, covariance : ndarray
        Amplitudes of the background terms and their covariance.
    cost : float
        Chi square with the priors.
    log_evidence : float
        Logarithm of the marginal likelihood, up to a constant common to all models.
    """

    amplitudes: np.ndarray
    covariance: np.ndarray
    cost: float
    log_evidence: float


@dataclass(frozen=True)
class Stripes:
    """Noise that all blocks of a column of blocks have in common, as 1/f noise leaves it.

    Attributes
    ----------
    column : ndarray of int
        Column of each block, shape (n_blocks,).
    variance : float
        Variance of the common offsets, (DN/s)^2.
    """

    column: np.ndarray
    variance: float = 0.0

    def whitening(self, variance: np.ndarray) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
        """Prepare what makes the blocks' errors independent of each other.

        Parameters
        ----------
        variance : ndarray
            Independent variance of the blocks, shape (n_blocks,).

        Returns
        -------
        whiten : callable
            Takes and gives an array of shape (n_blocks, n), in units of the independent error.
        log_norm : float
            What the offsets add to the logarithm of the determinant of the covariance.
        """
        # Inverse standard deviations, one line for each column.
        roots = np.zeros((int(self.column.max()) + 1, len(self.column)))
        roots[self.column, np.arange(len(self.column))] = 1 / np.sqrt(variance)
        size = (roots**2).sum(axis=1)
        shrink = (1 - 1 / np.sqrt(1 + self.variance * size)) / np.maximum(size, 1e-300)

        def whiten(values: np.ndarray) -> np.ndarray:
            return values - roots.T @ (shrink[:, None] * (roots @ values))

        return whiten, float(np.log1p(self.variance * size).sum())

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
        weight = np.bincount(self.column, 1 / variance)
        total = np.bincount(self.column, residual / variance)
        share = (self.variance / (1 + self.variance * weight))[self.column]
        followed = np.minimum(share / variance, 0.9)
        return (residual - share * total[self.column]) / np.sqrt(1 - followed)

    def tuned(self, residual: np.ndarray, variance: np.ndarray) -> Stripes:
        """Find the variance of the offsets from the residuals, by maximum likelihood.

        Parameters
        ----------
        residual, variance : ndarray
            Residual of the blocks and its independent variance, shape (n_blocks,).

        Returns
        -------
        Stripes
            The same columns with the variance found.
        """
        weight = np.bincount(self.column, 1 / variance)
        known = weight > 0
        mean = np.bincount(self.column, residual / variance)[known] / weight[known]
        error = 1 / weight[known]
        # A column with a source that was missed must not set the scale: beyond three standard
        # deviations, by the median of the squares, nothing counts more.
        top = 9 * np.median(mean**2) / 0.455
        square = np.minimum(mean**2, max(top, 1e-300))
        trial = np.concatenate([[0.0], np.geomspace(0.05, 30, 40) ** 2 * np.median(error)])
        total = trial[:, None] + error
        score = -0.5 * (np.log(total) + square / total).sum(axis=1)
        return replace(self, variance=float(trial[np.argmax(score)]))


class NormalEquations:
    """Data, wing terms and background terms of many models, reduced to their products.

    Solutions for other priors then cost no more than a small factorisation.

    Parameters
    ----------
    data, variance : ndarray
        Block means and their variance, shape (n_blocks,).
    design : ndarray
        Wing terms, shape (n_blocks, n_terms).
    terms : ndarray
        Background terms of each model, shape (n_models, n_blocks, n), DN/s per unit.
    stripes : Stripes, optional
        Noise that the blocks of a column have in common.
    """

    def __init__(
        self,
        data: np.ndarray,
        variance: np.ndarray,
        design: np.ndarray,
        terms: np.ndarray,
        stripes: Stripes | None = None,
    ) -> None:
        self._scale = 1 / np.sqrt(variance)
        self._whiten = None
        # The last prior and its factors, which equations with other terms share.
        self._factors: list[np.ndarray] = []
        self.log_variance = float(np.log(variance).sum())
        if stripes is not None and stripes.variance > 0:
            self._whiten, log_norm = stripes.whitening(variance)
            self.log_variance += log_norm
        self._x = self._scaled(design)
        self._y = self._scaled(data[:, None])[:, 0]
        self.wing_wing = self._x.T @ self._x
        self.wing_data = self._x.T @ self._y
        self.data_data = float(self._y @ self._y)
        self._set_terms(terms)

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        scaled = values * self._scale[:, None]
        return scaled if self._whiten is None else self._whiten(scaled)

    def _set_terms(self, terms: np.ndarray) -> None:
        n_models, n_blocks, self.n = terms.shape
        t = self._scaled(terms.transpose(1, 0, 2).reshape(n_blocks, -1))
        self.wing_terms = self._x.T @ t
        self.terms_data = t.T @ self._y
        by_model = t.reshape(n_blocks, n_models, self.n).transpose(1, 2, 0)
        self.terms_terms = by_model @ by_model.transpose(0, 2, 1)

    def with_terms(self, terms: np.ndarray) -> NormalEquations:
        """Make the equations of other models for the same data and wing terms.

        Parameters
        ----------
        terms : ndarray
            Background terms of each model, shape (n_models, n_blocks, n), DN/s per unit.

        Returns
        -------
        NormalEquations
            The new equations.
        """
        other = copy(self)
        other._set_terms(terms)
        return other

    def _factor(self, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cholesky factors of the prior, and of the normal matrix of the whitened wing terms."""
        if not self._factors or self._factors[0] is not covariance:
            root = np.linalg.cholesky(covariance)
            inner = root.T @ self.wing_wing @ root
            inner[np.diag_indices_from(inner)] += 1.0
            factor = dpotrf(np.asfortranarray(inner), lower=1, clean=1)[0]
            self._factors[:] = covariance, root, factor
        return self._factors[1], self._factors[2]

    def solve(
        self,
        mean: np.ndarray,
        covariance: np.ndarray,
        prior_variance: np.ndarray | None = None,
    ) -> list[LinearFit]:
        """Fit the background terms of each model with the wing terms eliminated.

        Parameters
        ----------
        mean, covariance : ndarray
            Prior of the wing coefficients; an array that was given is not to be changed.
        prior_variance : ndarray, optional
            Variance of the background amplitudes' zero-mean priors, shape (n,), infinite
            where free, as all are by default.

        Returns
        -------
        list of LinearFit
            One solution for each model.
        """
        root, factor = self._factor(covariance)
        rest = self.wing_data - self.wing_wing @ mean
        total = self.data_data - 2 * mean @ self.wing_data + mean @ self.wing_wing @ mean
        right = np.column_stack([rest, self.wing_terms])
        projected = dtrtrs(factor, np.asfortranarray(root.T @ right), lower=1)[0]
        data, terms = projected[:, 0], projected[:, 1:]
        total -= data @ data
        gradient = self.terms_data - self.wing_terms.T @ mean - terms.T @ data
        gradient = gradient.reshape(-1, self.n)
        terms = terms.reshape(len(data), -1, self.n).transpose(1, 2, 0)
        normal = self.terms_terms - terms @ terms.transpose(0, 2, 1)
        log_norm = self.log_variance + 2 * np.log(np.diag(factor)).sum()
        if prior_variance is not None:
            bounded = np.isfinite(prior_variance)
            normal[:, np.arange(self.n), np.arange(self.n)] += np.where(
                bounded, 1 / prior_variance, 0.0
            )
            log_norm += np.log(prior_variance[bounded]).sum()
        inverse = np.linalg.inv(normal)
        amplitudes = np.einsum("kij,kj->ki", inverse, gradient)
        costs = total - np.einsum("ki,ki->k", gradient, amplitudes)
        norms = log_norm + np.linalg.slogdet(normal)[1]
        return [
            LinearFit(a, c, float(cost), float(-0.5 * (cost + norm)))
            for a, c, cost, norm in zip(amplitudes, inverse, costs, norms, strict=True)
        ]

    def coefficients(
        self, mean: np.ndarray, covariance: np.ndarray, model: int, amplitudes: np.ndarray
    ) -> np.ndarray:
        """Wing coefficients for given amplitudes of a model's background.

        Parameters
        ----------
        mean, covariance : ndarray
            Prior of the wing coefficients.
        model : int
            Which model.
        amplitudes : ndarray
            Shape (n,).

        Returns
        -------
        ndarray
            Shape (n_terms,).
        """
        root, factor = self._factor(covariance)
        columns = self.wing_terms[:, model * self.n : (model + 1) * self.n]
        rest = self.wing_data - self.wing_wing @ mean - columns @ amplitudes
        half = dtrtrs(factor, root.T @ rest, lower=1)[0]
        return mean + root @ dtrtrs(factor, half, lower=1, trans=1)[0]
