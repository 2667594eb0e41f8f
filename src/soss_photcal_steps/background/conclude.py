"""From the fits of all templates to one background with its error."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from soss_photcal_steps.background.fit import LinearFit, NormalEquations, combination_bounds
from soss_photcal_steps.background.model import BlockMeans, Solution
from soss_photcal_steps.background.options import FitOptions
from soss_photcal_steps.background.select import (
    LibraryModes,
    Selection,
    average_models,
    jackknife,
    least_gain,
    probabilities,
)
from soss_photcal_steps.background.sky import Blocks

__all__ = ["Conclusion", "FitError", "conclude"]

# Relative error of the levels that no fit is trusted beyond.
SMALLEST_ERROR = 4e-4
# What the sum of all variances is multiplied by: its parts hold some errors twice, such as the
# noise in those of the fit and of the jackknife.  From the coverage in simulated scenes.
CALIBRATION = 0.72
# Error of the levels where sources cover all of the sky, relative to them, and in units of the
# noise of a block: where many are masked there is light of fainter ones in between, and the noise
# says how bright those may be.  From scenes of two simulators.
FAINTER_SOURCES, HIDDEN_SOURCES = 2e-3, 2.5
# No pixel can count faster than its whole range, 16 bits, within the shortest frame of SOSS
# (SUBSTRIP96, 2.214 s): a sky above this, DN/s, is a damaged file or another unit.
LARGEST_LEVEL = 2**16 / 2.214


class FitError(ValueError):
    """The background cannot be fitted; the message says why."""


@dataclass(frozen=True)
class Conclusion:
    """The background that is subtracted, and how good it is.

    Attributes
    ----------
    selection : Selection
        Weights, levels and covariance.
    best : int
        Best single template, counted from 0.
    combined : bool
        Whether more than one template is used.
    cost, log_evidence : ndarray
        Goodness of each template alone.
    gain : float
        Log evidence of the combination over that of the best template; -inf if not tried.
    probability : ndarray
        Share of each template and, if it was tried, of the combination.
    unseen : ndarray
        Light of faint sources taken off the levels, left and right, DN/s.
    chi_square : float
        Reduced chi square of the blocks, of the best template or of the combination, whichever
        has the larger share.
    """

    selection: Selection
    best: int
    combined: bool
    cost: np.ndarray
    log_evidence: np.ndarray
    gain: float
    probability: np.ndarray
    unseen: np.ndarray
    chi_square: float


def _parts(means: BlockMeans, blocks: Blocks) -> np.ndarray:
    """Parts of the image for the jackknife: four ranges of columns by two of rows a side."""
    column, row = blocks.columns[means.used], blocks.rows[means.used]
    part = np.zeros(len(column), int)
    for side in (False, True):
        here = means.right == side
        if not here.any():
            continue
        edges = np.quantile(column[here], [0.25, 0.5, 0.75])
        place = np.searchsorted(edges, column[here])
        upper = row[here] > np.median(row[here])
        part[here] = 8 * side + 2 * place + upper
    return part


def _unseen_sources(solution: Solution, means: BlockMeans) -> tuple[np.ndarray, np.ndarray]:
    """Light of sources too faint to be masked, left and right, and the error that it leaves.

    Sources make the distribution of the block means lopsided: their mean exceeds their
    median.  What the median itself still holds is of the same size.
    """
    typical = solution.variance < 4 * np.median(solution.variance)
    light, doubt = np.zeros(2), np.zeros(2)
    for side in (0, 1):
        here = (means.right == side) & typical
        if here.sum() < 20:
            continue
        residual = solution.residual[here]
        middle = np.median(residual)
        spread = 1.48 * np.median(np.abs(residual - middle))
        noise = np.median(means.noise[here])
        bounded = np.clip(residual - middle, -6 * spread, 6 * spread)
        light[side] = max(bounded.mean(), 0.0)
        excess = np.sqrt(max(spread**2 - noise, 0.0))
        doubt[side] = np.hypot(0.5 * light[side], 0.3 * excess)
    return light, doubt


def _chi_square(residual: np.ndarray, variance: np.ndarray, robust: np.ndarray) -> float:
    """Mean of the squares of the residuals over their variance, with robust weights."""
    return float((robust * residual**2 / variance).sum() / max(robust.sum(), 1))


def _combination(
    equations: NormalEquations,
    mixed: np.ndarray,
    modes: LibraryModes,
    prior: tuple[np.ndarray, np.ndarray],
    single: LinearFit,
) -> tuple[LinearFit, np.ndarray]:
    """Fit the combination of the library; also the variance of its amplitudes' priors."""
    levels = np.abs(single.amplitudes)
    size = np.maximum(levels, 1e-3 * levels.max())[modes.prior_side]
    bounds = combination_bounds(modes.prior_sigma, size)
    return equations.with_terms(mixed[None]).solve(*prior, bounds)[0], bounds


def conclude(
    solution: Solution,
    means: BlockMeans,
    modes: LibraryModes | None,
    blocks: Blocks,
    options: FitOptions,
    lost: np.ndarray | None = None,
) -> Conclusion:
    """Weigh the models against each other and work out the error.

    The covariance of the levels is the sum of that of the models with the scatter
    between them, of a jackknife over parts of the image, and of what undetected
    sources leave, times `CALIBRATION`.

    Parameters
    ----------
    solution : Solution
        Fits of the single templates.
    means : BlockMeans
        The data.
    modes : LibraryModes or None
        Components of a combination, if one is to be tried.
    blocks : Blocks
        The layout.
    options : FitOptions
        Settings.
    lost : ndarray, optional
        Share of the sky left and right of the break that is masked for sources, shape (2,).

    Returns
    -------
    Conclusion
        The background and its error.

    Raises
    ------
    FitError
        If a level is negative beyond its error, or not a number.
    """
    w = solution.robust
    scale = max(_chi_square(solution.residual, solution.variance, w), 1.0)
    variance = scale * solution.variance / np.maximum(w, 1e-4)
    stripes = solution.stripes.scaled(scale)
    design = means.basis.design[means.used]
    prior = means.basis.prior(solution.factors)
    equations = NormalEquations(means.data, variance, design, means.terms, stripes)
    fits = equations.solve(*prior)
    evidence = np.array([f.log_evidence for f in fits])
    best = int(np.argmax(evidence)) if options.template is None else options.template

    mixture: LinearFit | None = None
    bounds: np.ndarray | None = None
    terms, gain, top = means.terms[best], -np.inf, fits[best]
    candidates = evidence.copy()
    margin = least_gain(evidence, options.margin, options.lead_share)
    if options.template is not None:
        candidates[np.arange(len(fits)) != best] = -np.inf
    elif modes is not None and means.mixed is not None:
        mixture, limits = _combination(equations, means.mixed, modes, prior, fits[best])
        gain = mixture.log_evidence - evidence.max()
        candidates = np.append(evidence, mixture.log_evidence - margin)
        if options.combine == "always":
            candidates[:-1] = -np.inf
        if candidates[-1] >= candidates[:-1].max():
            terms, bounds, top = means.mixed, limits, mixture
    temperature = options.temperature if options.combine != "never" else 1e-6
    probability = probabilities(candidates, temperature)
    chosen = average_models(fits, mixture, modes, probability)

    parts = _parts(means, blocks)
    resampled = jackknife(means.data, variance, design, terms, parts, (*prior, bounds), stripes)
    wings = equations.with_terms(terms[None]).coefficients(*prior, 0, top.amplitudes)
    residual = means.data - terms @ top.amplitudes - design @ wings
    residual = stripes.cleaned(residual, variance)
    chi_square = _chi_square(residual, solution.variance, w)
    unseen, doubt = _unseen_sources(solution, means)
    if lost is not None:
        noise = [np.sqrt(np.median(means.noise[means.right == side])) for side in (0, 1)]
        hidden = np.hypot(FAINTER_SOURCES * chosen.levels, HIDDEN_SOURCES * np.array(noise))
        doubt = np.hypot(doubt, lost**2 * hidden)
    # A library that does not hold the shape says less about its scatter than its prior assumes.
    trust = 1 + 0.5 * (probability[-1] if mixture is not None else 0.0)
    covariance = trust * (chosen.covariance + resampled) + np.diag(doubt**2)
    if mixture is not None and 0 < gain < margin:
        # A combination that is better, but not by enough, says how wrong the template may be.
        apart = gain / margin * (mixture.amplitudes[:2] - chosen.levels)
        covariance = covariance + np.outer(apart, apart)
    covariance = CALIBRATION * covariance + np.diag((SMALLEST_ERROR * chosen.levels) ** 2)
    levels = chosen.levels - unseen
    _check_levels(levels, np.sqrt(np.diag(covariance)))
    selection = replace(
        chosen, weights=chosen.weights * (levels / chosen.levels), levels=levels,
        covariance=covariance,
    )  # fmt: skip
    # The combination's share is the last, where it was tried.
    combined = bool((probability > 0).sum() > 1 or probability[len(fits) :].any())
    return Conclusion(
        selection, best, combined, np.array([f.cost for f in fits]), evidence, float(gain),
        probability, unseen, chi_square,
    )  # fmt: skip


def _check_levels(levels: np.ndarray, errors: np.ndarray) -> None:
    for level, error, name in zip(levels, errors, ("left", "right"), strict=True):
        if not np.isfinite(level) or not np.isfinite(error):
            raise FitError(f"the fitted background {name} of the break is not a number")
        if level < -3 * error:
            raise FitError(
                f"the fitted background {name} of the break is negative, "
                f"{level:.3g} +/- {error:.2g} DN/s"
            )
        if level > LARGEST_LEVEL:
            raise FitError(
                f"the fitted background {name} of the break, {level:.3g} DN/s, is more than any "
                f"pixel can count, {LARGEST_LEVEL:.3g} DN/s"
            )
