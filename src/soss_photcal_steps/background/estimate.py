"""Background of one image: masks, wings, templates and their scales, fitted together."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from threadpoolctl import threadpool_limits

from soss_photcal_steps.background.fit import LinearFit, NormalEquations, robust_weights
from soss_photcal_steps.background.select import (
    LibraryModes,
    average_models,
    jackknife,
    library_modes,
    probabilities,
)
from soss_photcal_steps.background.sky import (
    ROWS_PER_BIN,
    Blocks,
    Sky,
    bad_pixels,
    bin_sky,
    make_blocks,
)
from soss_photcal_steps.background.sources import find_sources
from soss_photcal_steps.background.templates import TemplateSet
from soss_photcal_steps.background.wings import (
    TraceLight,
    WingBasis,
    WingField,
    WingPrior,
    far_wing,
    trace_light,
    wing_basis,
    wing_field,
    wing_image,
)

__all__ = ["BackgroundFit", "FitError", "FitOptions", "fit_background"]


# Distances from the nearest trace between which the error of the wing model is common, pixels.
ZONES = np.array([28.0, 40.0, 60.0, 95.0])


# Relative error of the levels that no fit is trusted beyond.
SMALLEST_ERROR = 4e-4


class FitError(ValueError):
    """The background cannot be fitted; the message says why."""


@dataclass(frozen=True)
class FitOptions:
    """Settings of the fit.

    Attributes
    ----------
    trace_half_width : float
        Half width of the mask over the traces, pixels.
    block_height, block_width : int
        Size of a block, lines of bins and columns.
    prior : WingPrior
        Prior of the wings.
    wing_floor, level_floor : float
        Independent error of a block's model, relative to the wing and to the background.
    source_sigma : float
        Detection threshold of contaminants, in units of the noise.
    max_modes : int
        Largest number of library modes per side in a combination.
    mode_width : float
        Width of the modes' prior in units of their scatter in the library.
    n_tilts : int
        Smooth terms per side that go beyond the library, in a combination.
    tilt_sigma : float
        Prior of a smooth departure from the library, per term, relative.
    combine : str
        'auto', 'never' or 'always' use a combination of templates.
    margin : float
        Gain in log evidence that a combination must have over the best template.
    temperature : float
        Factor by which evidences are divided, for the correlation of the blocks.
    template : int or None
        Template to be used, counted from 0; all are tried if None.
    min_pixels : int
        Smallest number of sky pixels on either side.
    """

    trace_half_width: float = 21.0
    block_height: int = 8
    block_width: int = 48
    prior: WingPrior = field(default_factory=WingPrior)
    wing_floor: float = 0.03
    level_floor: float = 0.0015
    source_sigma: float = 4.5
    max_modes: int = 4
    mode_width: float = 1.5
    n_tilts: int = 4
    tilt_sigma: float = 0.012
    combine: str = "auto"
    margin: float = 20.0
    temperature: float = 3.0
    template: int | None = None
    min_pixels: int = 2000


@dataclass(frozen=True)
class BackgroundFit:
    """Result of a fit.

    Attributes
    ----------
    weights : ndarray
        Scale of each template left and right of the break, shape (n, 2).
    tilt : ndarray or None
        Smooth factors beyond the library, for `TemplateSet.background`.
    template : int
        Best single template, counted from 0.
    combined : bool
        Whether a combination of templates is used.
    scales, covariance : ndarray
        Scale of `template` left and right with the same mean level, shape (2,), and
        their covariance.
    levels : ndarray
        Mean background left and right of the break, DN/s.
    cost, log_evidence : ndarray
        Goodness of each template alone, shape (n,).
    combination_gain : float
        Log evidence of the combination over that of the best single template.
    sky_fraction : ndarray
        Share of the pixels left and right that the fit used.
    sky_mask : ndarray of bool
        Bins used, shape (ny, nb).
    chi_square : float
        Reduced chi square of the blocks.
    """

    weights: np.ndarray
    tilt: np.ndarray | None
    template: int
    combined: bool
    scales: np.ndarray
    covariance: np.ndarray
    levels: np.ndarray
    cost: np.ndarray
    log_evidence: np.ndarray
    combination_gain: float
    sky_fraction: np.ndarray
    sky_mask: np.ndarray
    chi_square: float
    wing: np.ndarray
    sky: Sky
    lights: tuple[TraceLight, ...]
    debug: dict


@dataclass(frozen=True)
class _Blocks:
    """Block means of the data and of everything that describes them."""

    used: np.ndarray
    zone: np.ndarray
    data: np.ndarray
    noise: np.ndarray
    terms: np.ndarray
    basis: WingBasis
    mixed: np.ndarray | None
    mixed_sigma: np.ndarray | None


def _block_means(
    sky: Sky,
    blocks: Blocks,
    weight: np.ndarray,
    templates: TemplateSet,
    geometry: WingField,
    prior: WingPrior,
    modes: LibraryModes | None,
) -> _Blocks:
    n = blocks.sums(weight)
    used = n > 0.03 * np.max(n)
    norm = np.maximum(n, 1)
    data = blocks.sums(sky.value * weight) / norm
    noise = blocks.sums(sky.variance * weight * weight) / norm**2
    terms = blocks.sums(templates.binned * weight) / norm
    basis = wing_basis(sky, blocks, geometry, prior, weight)
    nearest = blocks.sums(geometry.distance.min(axis=0) * weight) / norm
    zone = np.searchsorted(ZONES, nearest)
    terms = np.moveaxis(terms, -1, 1)[:, used]
    mixed = None if modes is None else modes.terms(terms, blocks.columns[used])
    sigma = None if modes is None else modes.prior_sigma
    return _Blocks(
        used, zone[used], data[used], noise[used], terms, basis, mixed, sigma
    )


@dataclass
class _Solution:
    fits: list[LinearFit]
    best: int
    coefficients: np.ndarray
    wing: np.ndarray
    residual: np.ndarray
    variance: np.ndarray
    robust: np.ndarray
    factors: dict[str, float]


def _wing_floor(
    residual: np.ndarray, known: np.ndarray, wing: np.ndarray, zone: np.ndarray
) -> np.ndarray:
    """Relative error of the wing model in each block, from the residuals of its zone."""
    floor = np.zeros(len(residual))
    typical = 0.02
    for k in range(len(ZONES) + 1):
        here = zone == k
        if here.sum() < 15:
            floor[here] = typical
            continue
        r2, v, w2 = residual[here] ** 2, known[here], wing[here] ** 2
        # The median of the squares of normal values is 0.455 times their variance.
        trial = np.geomspace(0.002, 0.15, 25)
        ratio = np.median(r2 / (v + trial[:, None] ** 2 * w2), axis=1) / 0.455
        typical = float(np.exp(np.interp(0.0, np.log(ratio)[::-1], np.log(trial)[::-1])))
        floor[here] = typical
    return floor


def _solve(
    means: _Blocks, options: FitOptions, start: _Solution | None, rounds: int, tune: bool
) -> _Solution:
    design = means.basis.design[means.used]
    level = np.median(means.data)
    whole = means.basis.design @ means.basis.mean if start is None else start.wing
    wing = np.abs(whole[means.used])
    robust = np.ones(len(means.data))
    best = options.template
    factors = {} if start is None else start.factors
    known = means.noise + (options.level_floor * level) ** 2
    floor = np.full(len(wing), options.wing_floor)
    mean = means.basis.mean
    for turn in range(rounds):
        variance = (known + (floor * wing) ** 2) / np.maximum(robust, 1e-4)
        equations = NormalEquations(means.data, variance, design, means.terms)
        if tune and turn == rounds - 2:
            mixture = None
            if means.mixed is not None:
                mixture = NormalEquations(means.data, variance, design, means.mixed[None])
            factors = _tune_prior(equations, mixture, means, level, options.margin, factors)
        covariance = means.basis.covariance(factors)
        fits = equations.solve(mean, covariance)
        if options.template is None:
            best = int(np.argmax([f.log_evidence for f in fits]))
        coefficients = equations.coefficients(mean, covariance, best, fits[best].amplitudes)
        wing = np.abs(design @ coefficients)
        residual = means.data - means.terms[best] @ fits[best].amplitudes - design @ coefficients
        quiet = wing < 0.1 * level
        if quiet.sum() > 30:
            excess = np.median(residual[quiet] ** 2 / 0.455 - means.noise[quiet])
            known = means.noise + np.clip(excess, (0.0005 * level) ** 2, (0.01 * level) ** 2)
        floor = _wing_floor(residual, known, wing, means.zone)
        robust = robust_weights(residual, np.sqrt(known + (floor * wing) ** 2))
    return _Solution(
        fits, best, coefficients, means.basis.design @ coefficients, residual,
        known + (floor * wing) ** 2, robust, factors,
    )  # fmt: skip


_TUNED = ("shape", "order", "side", "chromatic", "outside", "spread")
_FACTORS = np.array([0.05, 0.15, 0.4, 1.0, 2.0])


def _tune_prior(
    equations: NormalEquations,
    mixture: NormalEquations | None,
    means: _Blocks,
    level: float,
    margin: float,
    factors: dict[str, float],
) -> dict[str, float]:
    """Widths of the wing's prior that the data themselves ask for (type II likelihood)."""
    basis = means.basis
    tuned = {name: factors.get(name, 1.0) for name in _TUNED if name in basis.parts}
    limits = None
    if mixture is not None:
        limits = np.concatenate([[np.inf, np.inf], (means.mixed_sigma * level) ** 2])

    def evidence(trial: dict[str, float]) -> float:
        covariance = basis.covariance(trial)
        values = [f.log_evidence for f in equations.solve(basis.mean, covariance)]
        if mixture is not None:
            values.append(mixture.solve(basis.mean, covariance, limits)[0].log_evidence - margin)
        # A wide log-normal hyperprior around the stated widths keeps them from vanishing.
        penalty = sum(0.5 * (np.log(t / 0.5) / 1.5) ** 2 for t in trial.values())
        top = max(values)
        return float(top + np.log(np.exp(np.array(values) - top).sum()) - penalty)

    best = evidence(tuned)
    for sweep in range(2):
        for name in tuned:
            start = tuned[name]
            for factor in _FACTORS:
                # The second sweep looks at the neighbours only.
                if factor == start or (sweep and not 0.2 < factor / start < 4):
                    continue
                score = evidence({**tuned, name: float(factor)})
                if score > best:
                    best, tuned = score, {**tuned, name: float(factor)}
    return tuned


def fit_background(
    image: np.ndarray,
    error: np.ndarray,
    good: np.ndarray,
    rows: np.ndarray,
    templates: TemplateSet,
    traces: dict[int, np.ndarray],
    options: FitOptions | None = None,
) -> BackgroundFit:
    """Fit the background of one image.

    Parameters
    ----------
    image, error : ndarray
        Count rate and its standard error, shape (ny, nx), DN/s.
    good : ndarray of bool
        Valid pixels.
    rows : ndarray
        Row of each line in the coordinates of SUBSTRIP256, shape (ny,).
    templates : TemplateSet
        The library, cut to the image.
    traces : dict
        Row of each order's trace per column, shape (nx,), same coordinates.
    options : FitOptions, optional
        Settings.

    Returns
    -------
    BackgroundFit
        Templates, scales, errors and what was used.

    Raises
    ------
    FitError
        If there is not enough sky, or the fit does not make sense.
    """
    # The matrices are so small that threads only wait for each other.
    with threadpool_limits(limits=1, user_api="blas"):
        return _fit(image, error, good, rows, templates, traces, options or FitOptions())


def _fit(
    image: np.ndarray,
    error: np.ndarray,
    good: np.ndarray,
    rows: np.ndarray,
    templates: TemplateSet,
    traces: dict[int, np.ndarray],
    options: FitOptions,
) -> BackgroundFit:
    lines = np.asarray(rows, float)
    good = good & np.isfinite(image) & templates.valid
    good &= ~bad_pixels(image, good, error)
    keep = good.copy()
    for trace in traces.values():
        keep &= np.abs(lines[:, None] - trace[None, :]) > options.trace_half_width
    sky = bin_sky(image, error, keep, lines, templates.factor)
    weight = sky.weight
    columns = np.array([g.column for g in templates.geometry])
    blocks = make_blocks(
        sky.rows, sky.value.shape[1], templates.factor, (columns.min(), columns.max()),
        options.block_height, options.block_width,
    )  # fmt: skip
    if not (weight > 0).any():
        raise FitError("no valid sky pixel is left")

    modes = None
    if options.combine != "never" and options.template is None:
        modes = library_modes(
            templates, blocks, options.max_modes, options.mode_width,
            options.n_tilts, options.tilt_sigma,
        )  # fmt: skip
    level = float(np.median(sky.value[weight > 0]))
    background = np.full(image.shape, level, np.float32)
    source = np.zeros(weight.shape, bool)
    solution = None
    far = None
    for iteration in range(3):
        last = iteration == 2
        lights = trace_light(image - background, good, lines, traces)
        geometry = wing_field(sky, lights, far)
        active = np.where(source, 0, weight)
        means = _block_means(sky, blocks, active, templates, geometry, options.prior, modes)
        solution = _solve(means, options, solution, 4 if last else 3, last)
        far = far_wing(means.basis, solution.coefficients)
        best = solution.best
        amplitudes = solution.fits[best].amplitudes
        wing = wing_image(geometry, means.basis, solution.coefficients, sky)
        model = np.tensordot(amplitudes.astype(np.float32), templates.binned[best], 1)
        residual = np.where(weight > 0, sky.value - model - wing, 0)
        variance = sky.variance + (0.01 * level) ** 2 + (0.10 * wing) ** 2
        if last:
            break
        source = find_sources(sky, weight, residual, variance, blocks, n_sigma=options.source_sigma)
        background = templates.fitted(best, amplitudes, image.shape[1])
    return _conclude(solution, means, templates, modes, options, sky, blocks, active, wing, lights, residual, source)


def _parts(means: _Blocks, blocks: Blocks) -> np.ndarray:
    """Parts of the image for the jackknife: four ranges of columns by two of rows a side."""
    column, row = blocks.columns[means.used], blocks.rows[means.used]
    right = means.terms[0][:, 1] > means.terms[0][:, 0]
    part = np.zeros(len(column), int)
    for side in (False, True):
        here = right == side
        if not here.any():
            continue
        edges = np.quantile(column[here], [0.25, 0.5, 0.75])
        place = np.searchsorted(edges, column[here])
        upper = row[here] > np.median(row[here])
        part[here] = 8 * side + 2 * place + upper
    return part


def _unbin(values: np.ndarray, n_rows: int) -> np.ndarray:
    """Rows as in the image again."""
    whole = np.repeat(values, ROWS_PER_BIN, axis=0)
    return np.pad(whole, ((0, n_rows - len(whole)), (0, 0)), mode="edge")


def _unseen_sources(solution: _Solution, means: _Blocks) -> tuple[np.ndarray, np.ndarray]:
    """Light of sources too faint to be masked, left and right, and the error that it leaves.

    Sources make the distribution of the block means lopsided: their mean exceeds their
    median.  What the median itself still holds is of the same size.
    """
    right = means.terms[0][:, 1] > means.terms[0][:, 0]
    typical = solution.variance < 4 * np.median(solution.variance)
    light, doubt = np.zeros(2), np.zeros(2)
    for side in (0, 1):
        here = (right == side) & typical
        if here.sum() < 20:
            continue
        residual = solution.residual[here]
        middle = np.median(residual)
        spread = 1.48 * np.median(np.abs(residual - middle))
        noise = np.median(means.noise[here])
        bounded = np.clip(residual - middle, -6 * spread, 6 * spread)
        light[side] = max(bounded.mean(), 0.0)
        excess = np.sqrt(max(spread**2 - noise, 0.0))
        doubt[side] = np.hypot(0.8 * light[side], 0.5 * excess)
    return light, doubt


def _conclude(solution, means, templates, modes, options, sky, blocks, active, wing, lights, residual, source):
    n_rows = len(templates.valid)
    t = solution.residual / np.sqrt(solution.variance)
    w = solution.robust
    chi = float((w * t * t).sum() / max(w.sum(), 1))
    design = means.basis.design[means.used]
    variance = max(chi, 1.0) * solution.variance / np.maximum(w, 1e-4)
    mean, covariance = means.basis.mean, means.basis.covariance(solution.factors)
    fits = NormalEquations(means.data, variance, design, means.terms).solve(mean, covariance)
    evidence = np.array([f.log_evidence for f in fits])
    cost = np.array([f.cost for f in fits])
    best = solution.best if options.template is not None else int(np.argmax(evidence))

    mixture, gain, terms, bounds = None, -np.inf, means.terms[best], None
    candidates = evidence.copy()
    if options.template is not None:
        candidates[np.arange(len(fits)) != best] = -np.inf
    elif modes is not None and options.combine != "never":
        mixed = means.mixed
        limits = np.concatenate(
            [[np.inf, np.inf], (modes.prior_sigma * fits[best].amplitudes[modes.prior_side]) ** 2]
        )
        mixture = NormalEquations(means.data, variance, design, mixed[None]).solve(
            mean, covariance, limits
        )[0]
        gain = mixture.log_evidence - evidence.max()
        candidates = np.append(evidence, mixture.log_evidence - options.margin)
        if options.combine == "always":
            candidates[:-1] = -np.inf
        if candidates[-1] >= candidates[:-1].max():
            terms, bounds = mixed, limits
    temperature = options.temperature if options.combine != "never" else 1e-6
    probability = probabilities(candidates, temperature)
    chosen = average_models(fits, mixture, modes, probability)
    resampled = jackknife(
        means.data, variance, design, terms, _parts(means, blocks), (mean, covariance, bounds)
    )
    unseen, doubt = _unseen_sources(solution, means)
    levels = templates.levels[best]
    shift = 1 - unseen / chosen.levels
    doubt = np.hypot(doubt, SMALLEST_ERROR * chosen.levels)
    # A library that does not hold the shape says less about its scatter than its prior assumes.
    trust = 1 + (probability[-1] if mixture is not None else 0.0)
    scatter = trust * (chosen.covariance + resampled) + np.diag(doubt**2)
    side = np.array([(templates.binned[best, s] > 0.5) for s in (0, 1)])
    used = (side * (active > 0)).sum(axis=(1, 2))
    wing_level = np.array([(wing * s * (active > 0)).sum() for s in side]) / np.maximum(used, 1)
    combined = bool((probability > 0).sum() > 1 or (mixture is not None and probability[-1] > 0))
    return BackgroundFit(
        chosen.weights * shift / templates.levels, chosen.tilt, best, combined,
        chosen.levels * shift / levels, scatter / np.outer(levels, levels), chosen.levels * shift,
        cost, evidence, float(gain), used / np.maximum(side.sum(axis=(1, 2)), 1),
        _unbin(active > 0, n_rows), chi, _unbin(wing, n_rows), sky, tuple(lights),
        dict(means=means, solution=solution, blocks=blocks, residual=residual, source=source, weight=sky.weight, names=means.basis.names, coef=solution.coefficients, factors=solution.factors,
        unseen=unseen, doubt=doubt, prob=probability, post=chosen.covariance, jack=resampled, wing_level=wing_level),
    )  # fmt: skip
