"""The model of the block means, and its robust solution.

Template amplitudes, wing terms, the errors of both and the widths of the priors are
found together, in a few rounds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from soss_photcal_steps.background.fit import (
    LinearFit,
    NormalEquations,
    combination_bounds,
    robust_weights,
)
from soss_photcal_steps.background.options import FitOptions
from soss_photcal_steps.background.select import LibraryModes
from soss_photcal_steps.background.sky import Blocks, Sky
from soss_photcal_steps.background.stripes import Stripes, stripe_shapes
from soss_photcal_steps.background.templates import TemplateSet
from soss_photcal_steps.background.tuning import tune_prior, tune_stripes
from soss_photcal_steps.background.wingfield import WingField
from soss_photcal_steps.background.wings import WingBasis, WingPrior, wing_basis

__all__ = ["BlockMeans", "Combination", "Solution", "block_means", "solve"]

# Distances from the nearest trace between which the error of the wing model is common, pixels.
ZONES = np.array([28.0, 40.0, 60.0, 95.0])
# Relative difference of the scales left and right of the break for which it is left to the data
# which profile the edge has; on real frames it is one to three per cent.
_EDGE = 0.02


@dataclass(frozen=True)
class BlockMeans:
    """Block means of the data and of everything that describes them.

    Attributes
    ----------
    used : ndarray of bool
        Blocks with enough sky, shape (n_blocks,); the other arrays hold these only.
    zone : ndarray of int
        Zone of the distance from the traces.
    right : ndarray of bool
        Blocks right of the break.
    column : ndarray of int
        Column of blocks.
    shapes : ndarray
        Covariances that common offsets of these columns may have, `stripe_shapes`.
    data, noise : ndarray
        Mean count rate, DN/s, and its variance from the pixels' errors.
    terms : ndarray
        Templates of unit level, left and right, shape (n_templates, n_used, 2).
    basis : WingBasis
        Wing terms; its design holds all blocks.
    mixed, mixed_sigma : ndarray or None
        Terms of a combination of the library and the width of their priors.
    """

    used: np.ndarray
    zone: np.ndarray
    right: np.ndarray
    column: np.ndarray
    shapes: np.ndarray
    data: np.ndarray
    noise: np.ndarray
    terms: np.ndarray
    basis: WingBasis
    mixed: np.ndarray | None
    mixed_sigma: np.ndarray | None


def block_means(
    sky: Sky,
    blocks: Blocks,
    weight: np.ndarray,
    templates: TemplateSet,
    geometry: WingField,
    prior: WingPrior,
    modes: LibraryModes | None,
) -> BlockMeans:
    """Average the image, the templates and the wing terms over the blocks.

    Parameters
    ----------
    sky : Sky
        The binned image.
    blocks : Blocks
        The layout.
    weight : ndarray
        Good pixels per bin, shape (ny, nb); 0 where masked.
    templates : TemplateSet
        The library.
    geometry : WingField
        Where the bins lie with respect to the traces.
    prior : WingPrior
        Prior of the wings.
    modes : LibraryModes or None
        Components of a combination.

    Returns
    -------
    BlockMeans
        The means of the blocks with enough sky.
    """
    n = blocks.sums(weight)
    used = n > 0.03 * np.max(n)
    norm = np.maximum(n, 1)
    data = blocks.sums(sky.value * weight) / norm
    noise = blocks.sums(sky.variance * weight * weight) / norm**2
    terms = templates.block_sums(blocks, weight) / norm
    basis = wing_basis(sky, blocks, geometry, prior, weight)
    edge = blocks.sums(templates.edge * weight) / norm
    basis = basis.with_term("edge", edge, _EDGE * float(np.median(data[used])))
    nearest = blocks.sums(geometry.distance.min(axis=0) * weight) / norm
    zone = np.searchsorted(ZONES, nearest)
    terms = np.moveaxis(terms, -1, 1)[:, used]
    mixed = None if modes is None else modes.terms(terms, blocks.columns[used])
    sigma = None if modes is None else modes.prior_sigma
    right = terms[0][:, 1] > terms[0][:, 0]
    column = np.flatnonzero(used) % blocks.shape[1]
    edges = sky.factor * np.append(blocks.bin_edges, sky.value.shape[1]).astype(float)
    return BlockMeans(
        used,
        zone[used],
        right,
        column,
        stripe_shapes(tuple(edges)),
        data[used],
        noise[used],
        terms,
        basis,
        mixed,
        sigma,
    )


@dataclass(frozen=True)
class Combination:
    """Fit of a combination of the library.

    Attributes
    ----------
    amplitudes : ndarray
        Amplitudes of the background terms, as `LibraryModes.terms` has them.
    coefficients : ndarray
        Wing coefficients with it.
    gain : float
        Log evidence over that of the best template.
    """

    amplitudes: np.ndarray
    coefficients: np.ndarray
    gain: float


@dataclass(frozen=True)
class Solution:
    """Solution of the single templates, with the weights of the blocks.

    Attributes
    ----------
    fits : list of LinearFit
        One for each template.
    best : int
        The template of the largest evidence, or the one that was asked for.
    coefficients : ndarray
        Wing coefficients with the best template.
    wing : ndarray
        Wing in every block, DN/s.
    residual, variance, robust : ndarray
        Residual of the used blocks from the most flexible model, the combination where there is
        one, less what columns have in common; its expected variance, and the robust weight.
    factors : dict
        Widths of the wing's prior relative to those that are stated in `WingPrior`.
    stripes : Stripes
        Noise that the blocks of a column have in common.
    floor : ndarray
        Relative error of the wing model in each zone.
    mixed : Combination or None
        The combination of the library, if it was tried.
    """

    fits: list[LinearFit]
    best: int
    coefficients: np.ndarray
    wing: np.ndarray
    residual: np.ndarray
    variance: np.ndarray
    robust: np.ndarray
    factors: dict[str, float]
    stripes: Stripes
    floor: np.ndarray
    mixed: Combination | None = None


def _wing_floor(
    residual: np.ndarray, known: np.ndarray, wing: np.ndarray, zone: np.ndarray
) -> np.ndarray:
    """Relative error of the wing model in each zone, from the residuals there."""
    floor = np.zeros(len(ZONES) + 1)
    typical = 0.02
    for k in range(len(ZONES) + 1):
        here = zone == k
        if here.sum() < 15:
            floor[k] = typical
            continue
        r2, v, w2 = residual[here] ** 2, known[here], wing[here] ** 2
        # The median of the squares of normal values is 0.455 times their variance.
        trial = np.geomspace(0.002, 0.15, 25)
        ratio = np.median(r2 / (v + trial[:, None] ** 2 * w2), axis=1) / 0.455
        typical = float(np.exp(np.interp(0.0, np.log(ratio)[::-1], np.log(trial)[::-1])))
        floor[k] = typical
    return floor


def solve(
    means: BlockMeans, options: FitOptions, start: Solution | None, rounds: int, tune: bool
) -> Solution:
    """Fit all templates and the wings.

    Parameters
    ----------
    means : BlockMeans
        The data.
    options : FitOptions
        Settings.
    start : Solution or None
        Where to start.
    rounds : int
        Rounds of robust weights.
    tune : bool
        Whether the widths of the wing's prior are fitted too.

    Returns
    -------
    Solution
        The solution of the last round.
    """
    design = means.basis.design[means.used]
    level = float(np.median(means.data))
    whole = means.basis.design @ means.basis.mean if start is None else start.wing
    wing = np.abs(whole[means.used])
    robust = np.ones(len(means.data))
    best = options.template or 0
    factors = {} if start is None else start.factors
    known = means.noise + (options.level_floor * level) ** 2
    floor = np.full(len(ZONES) + 1, options.wing_floor)
    limits = None if means.mixed_sigma is None else combination_bounds(means.mixed_sigma, level)
    stripes = Stripes.none(means.column, len(means.shapes[0]))
    if start is not None:
        stripes = replace(start.stripes, column=means.column)
    mixed: Combination | None = None
    for turn in range(rounds):
        variance = (known + (floor[means.zone] * wing) ** 2) / np.maximum(robust, 1e-4)
        equations = NormalEquations(means.data, variance, design, means.terms, stripes)
        mixture = None if means.mixed is None else equations.with_terms(means.mixed[None])
        if tune and turn == rounds - 2:
            factors = tune_prior(
                equations, mixture, means.basis, limits, options.margin, factors
            )  # fmt: skip
        mean, covariance = means.basis.prior(factors)
        if turn == rounds - 2:
            found, sizes = tune_stripes(
                mixture or equations, 0 if mixture else best, (mean, covariance, limits),
                means.shapes, stripes.sizes,
            )  # fmt: skip
            stripes = Stripes(means.column, found, sizes)
            equations = equations.with_stripes(found)
            mixture = mixture and mixture.with_stripes(found)
        fits = equations.solve(mean, covariance)
        if options.template is None:
            best = int(np.argmax([f.log_evidence for f in fits]))
        coefficients = equations.coefficients(mean, covariance, best, fits[best].amplitudes)
        wing = np.abs(design @ coefficients)
        if mixture is None:
            model = means.terms[best] @ fits[best].amplitudes + design @ coefficients
        else:
            # Weights from the most flexible model are fair to all templates; from the best
            # template they would make the blocks count less that speak against it.
            fit = mixture.solve(mean, covariance, limits)[0]
            mixed = Combination(
                fit.amplitudes, mixture.coefficients(mean, covariance, 0, fit.amplitudes),
                fit.log_evidence - max(f.log_evidence for f in fits),
            )  # fmt: skip
            model = means.mixed @ mixed.amplitudes + design @ mixed.coefficients
        residual = means.data - model
        residual = stripes.cleaned(residual, variance)
        quiet = wing < 0.1 * level
        if quiet.sum() > 30:
            excess = np.median(residual[quiet] ** 2 / 0.455 - means.noise[quiet])
            known = means.noise + np.clip(excess, (0.0005 * level) ** 2, (0.01 * level) ** 2)
        floor = _wing_floor(residual, known, wing, means.zone)
        robust = robust_weights(residual, np.sqrt(known + (floor[means.zone] * wing) ** 2))
    return Solution(
        fits, best, coefficients, means.basis.design @ coefficients, residual,
        known + (floor[means.zone] * wing) ** 2, robust, factors, stripes, floor,
        mixed,
    )  # fmt: skip
