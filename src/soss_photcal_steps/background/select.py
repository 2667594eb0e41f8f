"""Which template: one, an average of those that cannot be told apart, or a combination.

Every template is a model with its own evidence.  A further model lets the shape
vary along the principal components of the library, with the library's own scatter
as prior.  The result is the average of the models, weighted by their
probabilities; mostly one of them has nearly all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from soss_photcal_steps.background.fit import LinearFit, NormalEquations
from soss_photcal_steps.background.sky import Blocks
from soss_photcal_steps.background.stripes import Stripes
from soss_photcal_steps.background.templates import TemplateSet, shape_modes, tilt_shapes

__all__ = [
    "LibraryModes",
    "Selection",
    "average_models",
    "least_gain",
    "library_modes",
    "probabilities",
]


@dataclass(frozen=True)
class LibraryModes:
    """Principal components of the library, as sums of its templates.

    Attributes
    ----------
    vectors : ndarray
        Shape (n_modes, n_templates), for templates of unit level.
    side : ndarray
        0 for a mode left of the break, 1 right, shape (n_modes,).
    sigma : ndarray
        Prior width, relative to the level.
    """

    vectors: np.ndarray
    side: np.ndarray
    sigma: np.ndarray
    n_tilts: int
    tilt_sigma: float

    @property
    def prior_sigma(self) -> np.ndarray:
        """Prior width of the modes and, after them, of the tilts, relative to the level."""
        return np.concatenate([self.sigma, np.full(2 * self.n_tilts, self.tilt_sigma)])

    @property
    def prior_side(self) -> np.ndarray:
        """Side of the break of each mode and tilt."""
        return np.concatenate([self.side, np.repeat([0, 1], self.n_tilts)])

    def terms(self, templates: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Background terms of the combination.

        Parameters
        ----------
        templates : ndarray
            Block means of the templates of unit level, shape (n, n_blocks, 2).
        columns : ndarray
            Mean column of each block, pixels.

        Returns
        -------
        ndarray
            Mean template left and right, modes and tilts, shape (n_blocks, 2 + n).
        """
        modes = [v @ templates[:, :, s] for v, s in zip(self.vectors, self.side, strict=True)]
        mean = templates.mean(axis=0)
        shapes = tilt_shapes(columns, self.n_tilts)
        tilts = [mean[:, s] * shapes[s, d] for s in (0, 1) for d in range(self.n_tilts)]
        return np.column_stack([mean, *modes, *tilts])

    def tilt(self, amplitudes: np.ndarray) -> np.ndarray:
        """Smooth factors for given amplitudes.

        Parameters
        ----------
        amplitudes : ndarray
            Levels, modes and tilts, as `terms` has them.

        Returns
        -------
        ndarray
            Relative to the levels, shape (2, n_tilts).
        """
        values = amplitudes[2 + len(self.side) :].reshape(2, self.n_tilts)
        return values / amplitudes[:2, None]

    def weights(self, amplitudes: np.ndarray) -> np.ndarray:
        """Weight of each template for given amplitudes.

        Parameters
        ----------
        amplitudes : ndarray
            Levels, modes and tilts, as `terms` has them.

        Returns
        -------
        ndarray
            For templates of unit level, shape (n, 2), DN/s.
        """
        n = self.vectors.shape[1]
        weights = np.tile(amplitudes[:2] / n, (n, 1))
        for value, vector, side in zip(
            amplitudes[2 : 2 + len(self.side)], self.vectors, self.side, strict=True
        ):
            weights[:, side] += value * vector
        return weights


def library_modes(
    templates: TemplateSet,
    blocks: Blocks,
    count: int,
    width: float,
    n_tilts: int,
    tilt_sigma: float,
) -> LibraryModes | None:
    """Principal components of both sides of a library.

    Parameters
    ----------
    templates : TemplateSet
        The library.
    blocks : Blocks
        Blocks that the shapes are compared on.
    count : int
        Largest number of modes on a side.
    width : float
        Prior width in units of the scatter in the library.
    n_tilts : int
        Number of smooth terms on a side that go beyond the library.
    tilt_sigma : float
        Prior width of each, relative to the level.

    Returns
    -------
    LibraryModes or None
        None where the library has fewer than three templates.
    """
    if len(templates.images) < 3:
        return None
    one = np.ones(blocks.index.shape, np.float32)
    size = blocks.sums(one).astype(float)
    whole = np.moveaxis(templates.block_sums(blocks, one) / size, -1, 1)
    vectors, sides, sigmas = [], [], []
    for side in (0, 1):
        here = whole[:, :, side].mean(axis=0) > 0.5
        modes = shape_modes(whole[:, here, side], count)
        vectors.append(modes.vectors)
        sides.append(np.full(len(modes.sigma), side))
        sigmas.append(modes.sigma * width)
    return LibraryModes(
        np.concatenate(vectors), np.concatenate(sides), np.concatenate(sigmas), n_tilts, tilt_sigma
    )


def least_gain(log_evidence: np.ndarray, margin: float, lead_share: float) -> float:
    """Gain in log evidence over the best template that a combination must have.

    A combination is flexible, and also takes up what the model of the wings lacks.  Where a
    template is better than its neighbours by far, the sky has no reason to lie between them.

    Parameters
    ----------
    log_evidence : ndarray
        Logarithm of the evidence of each template.
    margin : float
        Least gain in any case.
    lead_share : float
        Least gain relative to the lead of the best template over the next.

    Returns
    -------
    float
        The gain.
    """
    if len(log_evidence) < 2:
        return margin
    second, first = np.partition(log_evidence, -2)[-2:]
    return max(margin, lead_share * float(first - second))


def probabilities(log_evidence: np.ndarray, temperature: float) -> np.ndarray:
    """Probability of each model.

    Parameters
    ----------
    log_evidence : ndarray
        Logarithm of the evidence of each model.
    temperature : float
        Factor by which the evidence is divided, as errors of neighbouring blocks are
        not independent.

    Returns
    -------
    ndarray
        Sums to 1.
    """
    scaled = (log_evidence - log_evidence.max()) / temperature
    weight = np.exp(scaled)
    weight[weight < 0.03 * weight.max()] = 0.0
    return weight / weight.sum()


@dataclass(frozen=True)
class Selection:
    """Background as weights of the templates, with the error of its levels.

    Attributes
    ----------
    weights : ndarray
        Weight of each template of unit level left and right, shape (n, 2), DN/s.
    tilt : ndarray or None
        Smooth factors beyond the library, left and right, shape (2, n).
    levels : ndarray
        Mean background left and right, DN/s.
    covariance : ndarray
        Covariance of the levels, shape (2, 2), (DN/s)^2.
    probability : ndarray
        Probability of each template alone, shape (n,).
    """

    weights: np.ndarray
    tilt: np.ndarray | None
    levels: np.ndarray
    covariance: np.ndarray
    probability: np.ndarray


def average_models(
    fits: list[LinearFit],
    mixture: LinearFit | None,
    modes: LibraryModes | None,
    probability: np.ndarray,
) -> Selection:
    """Average the single templates and the combination.

    Parameters
    ----------
    fits : list of LinearFit
        One for each template.
    mixture : LinearFit or None
        The combination.
    modes : LibraryModes or None
        Modes of the combination.
    probability : ndarray
        Probability of each template and, last, of the combination if there is one.

    Returns
    -------
    Selection
        The average and its covariance, with the scatter between the models.
    """
    n = len(fits)
    weights, tilt = np.zeros((n, 2)), None
    levels = np.array(
        [f.amplitudes[:2] for f in fits] + ([mixture.amplitudes[:2]] if mixture else [])
    )
    for k in np.flatnonzero(probability[:n]):
        weights[k] += probability[k] * fits[k].amplitudes
    if mixture is not None and modes is not None and probability[n] > 0:
        weights += probability[n] * modes.weights(mixture.amplitudes)
        tilt = probability[n] * modes.tilt(mixture.amplitudes)
    mean = probability @ levels
    covariance = np.zeros((2, 2))
    models = [*fits, mixture] if mixture else fits
    for p, model, level in zip(probability, models, levels, strict=True):
        if p > 0:
            covariance += p * (model.covariance[:2, :2] + np.outer(level - mean, level - mean))
    return Selection(weights, tilt, mean, covariance, probability[:n])


def jackknife(
    data: np.ndarray,
    variance: np.ndarray,
    design: np.ndarray,
    terms: np.ndarray,
    groups: np.ndarray,
    prior: tuple[np.ndarray, np.ndarray, np.ndarray | None],
    stripes: Stripes | None = None,
) -> np.ndarray:
    """Covariance of the levels from leaving out one part of the image at a time.

    Parameters
    ----------
    data, variance : ndarray
        Block means and their variance.
    design : ndarray
        Wing terms.
    terms : ndarray
        Background terms of the chosen model, shape (n_blocks, n).
    groups : ndarray of int
        Part of the image that each block belongs to.
    prior : tuple
        Mean and covariance of the wing terms, variance of the background amplitudes.
    stripes : Stripes, optional
        Noise that the blocks of a column have in common.

    Returns
    -------
    ndarray
        Shape (2, 2), (DN/s)^2.
    """
    results = []
    mean, covariance, bounds = prior
    for group in np.unique(groups):
        keep = groups != group
        if keep.sum() < 0.5 * len(data):
            continue
        part = None if stripes is None else replace(stripes, column=stripes.column[keep])
        equations = NormalEquations(
            data[keep], variance[keep], design[keep], terms[None, keep], part
        )
        results.append(equations.solve(mean, covariance, bounds)[0].amplitudes[:2])
    if len(results) < 3:
        return np.zeros((2, 2))
    scatter = np.array(results) - np.mean(results, axis=0)
    return (len(results) - 1) / len(results) * scatter.T @ scatter
