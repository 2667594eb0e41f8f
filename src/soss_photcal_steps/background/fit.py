"""The linear model of background and wings, and its solution.

Block means are described by two template amplitudes, one on each side of the
break, and the wing terms with their Gaussian priors.  The wing terms are
eliminated once for all templates, so that a whole library costs little more than one.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dpotrf, dtrtrs

from soss_photcal_steps.background.stripes import Stripes

__all__ = ["LinearFit", "NormalEquations", "combination_bounds", "robust_weights"]


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
        # Wing terms and, last, the data, in units of the independent error.
        self._scaled = np.column_stack([design, data]) * self._scale[:, None]
        self._products = self._scaled.T @ self._scaled
        self._independent = float(np.log(variance).sum())
        self._unit: np.ndarray | None = None
        self._size = np.zeros(0)
        if stripes is not None:
            self._unit, self._size = stripes.directions(variance)
            self._along = self._unit @ self._scaled
        self._set_terms(terms)
        self._set_stripes(None if stripes is None else stripes.covariance)

    def _set_terms(self, terms: np.ndarray) -> None:
        n_models, n_blocks, self.n = terms.shape
        t = terms.transpose(1, 0, 2).reshape(n_blocks, -1) * self._scale[:, None]
        self._cross = self._scaled.T @ t
        by_model = t.reshape(n_blocks, n_models, self.n).transpose(1, 2, 0)
        self._squares = by_model @ by_model.transpose(0, 2, 1)
        if self._unit is not None:
            self._terms_along = self._unit @ t

    def _set_stripes(self, covariance: np.ndarray | None) -> None:
        """Take from all products what lies along the stripes, as far as these explain it."""
        # The last prior and its factors, which equations with other terms share.
        self._factors: list[np.ndarray] = []
        self._explained: np.ndarray | None = None
        self.log_variance, products = self._independent, self._products
        if covariance is not None and covariance.any():
            total = self._size[:, None] * covariance * self._size
            total[np.diag_indices_from(total)] += 1.0
            factor = dpotrf(total, lower=1, clean=1)[0]
            self.log_variance += 2 * float(np.log(np.diag(factor)).sum())
            half = dtrtrs(factor, np.eye(len(factor)), lower=1)[0]
            self._explained = np.eye(len(factor)) - half.T @ half
            products = products - self._along.T @ self._explained @ self._along
        self.wing_wing = products[:-1, :-1]
        self.wing_data, self.data_data = products[:-1, -1], float(products[-1, -1])
        self._reduce_terms()

    def _reduce_terms(self) -> None:
        cross, self.terms_terms = self._cross, self._squares
        if self._explained is not None:
            explained = self._explained @ self._terms_along
            cross = cross - self._along.T @ explained
            shape = (len(explained), -1, self.n)
            explained = explained.reshape(shape).transpose(1, 2, 0)
            along = self._terms_along.reshape(shape).transpose(1, 0, 2)
            self.terms_terms = self._squares - explained @ along
        self.wing_terms, self.terms_data = cross[:-1], cross[-1]

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
        other._reduce_terms()
        return other

    @property
    def column_error(self) -> np.ndarray:
        """Error of the mean of each column, infinite without blocks, shape (n_columns,), DN/s."""
        return np.where(self._size > 0, 1 / np.maximum(self._size, 1e-150), np.inf)

    def with_stripes(self, covariance: np.ndarray) -> NormalEquations:
        """Make the equations for other stripes.

        Parameters
        ----------
        covariance : ndarray
            Covariance of the offsets, shape (n_columns, n_columns), (DN/s)^2.

        Returns
        -------
        NormalEquations
            The new equations.

        Raises
        ------
        ValueError
            If these equations were made without columns.
        """
        if self._unit is None:
            raise ValueError("equations without columns have no stripes")
        other = copy(self)
        other._set_stripes(covariance)
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
        normal, gradient, total, log_norm = self._eliminated(mean, covariance, prior_variance)
        inverse = np.linalg.inv(normal)
        amplitudes = np.einsum("kij,kj->ki", inverse, gradient)
        costs = total - np.einsum("ki,ki->k", gradient, amplitudes)
        norms = log_norm + np.linalg.slogdet(normal)[1]
        return [
            LinearFit(a, c, float(cost), float(-0.5 * (cost + norm)))
            for a, c, cost, norm in zip(amplitudes, inverse, costs, norms, strict=True)
        ]

    def log_evidences(
        self,
        mean: np.ndarray,
        covariance: np.ndarray,
        prior_variance: np.ndarray | None = None,
    ) -> np.ndarray:
        """Give the log evidence of each model, as `solve` does, and nothing else.

        Parameters
        ----------
        mean, covariance : ndarray
            Prior of the wing coefficients; an array that was given is not to be changed.
        prior_variance : ndarray, optional
            Variance of the background amplitudes' priors, as for `solve`.

        Returns
        -------
        ndarray
            Shape (n_models,).
        """
        normal, gradient, total, log_norm = self._eliminated(mean, covariance, prior_variance)
        amplitudes = np.linalg.solve(normal, gradient[..., None])[..., 0]
        costs = total - (gradient * amplitudes).sum(axis=1)
        return -0.5 * (costs + log_norm + np.linalg.slogdet(normal)[1])

    def _eliminated(
        self, mean: np.ndarray, covariance: np.ndarray, prior_variance: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Eliminate the wing terms.

        What is left is the normal matrix and the gradient of each model's amplitudes, the chi
        square without them, and the log determinants that all models share.
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
        return normal, gradient, float(total), float(log_norm)

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
