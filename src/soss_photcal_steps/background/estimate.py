"""Background of one image: masks, wings, templates and their scales, fitted together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from soss_photcal_steps.background.centring import centred_traces, trace_offsets
from soss_photcal_steps.background.conclude import Conclusion, FitError, conclude
from soss_photcal_steps.background.light import trace_light
from soss_photcal_steps.background.model import ZONES, Solution, block_means, solve
from soss_photcal_steps.background.options import FitOptions
from soss_photcal_steps.background.select import LibraryModes, least_gain, library_modes
from soss_photcal_steps.background.sky import ROWS_PER_BIN, bad_pixels, bin_sky, make_blocks
from soss_photcal_steps.background.sources import find_sources
from soss_photcal_steps.background.templates import TemplateSet
from soss_photcal_steps.background.wingfield import WingField, wing_field
from soss_photcal_steps.background.wings import far_wing, wing_image

__all__ = ["BackgroundFit", "FitError", "FitOptions", "fit_background"]


# Bins of sources whose wings are followed, in units of the noise; those of fainter ones do not
# matter, and what the wings of the star leave is no source.
_BRIGHT = 4.0
# Where sources cover nearly all of the sky, only brighter ones are masked: factors on the
# threshold that are tried.  Sky with faint sources says more than none.
_SIGMAS = (1.0, 2.0, 4.0, 8.0)


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
    probability : ndarray
        Share of each template in the average, and last of the combination if it was tried.
    unseen : ndarray
        Light of sources too faint to be masked that was taken off the levels, DN/s.
    sky_fraction : ndarray
        Share of the pixels left and right that the fit used.
    sky_mask : ndarray of bool
        Bins used, shape (ny, nb).
    chi_square : float
        Reduced chi square of the blocks, with the model that is subtracted.
    wing : ndarray
        Fitted wings of the star and of the sources that are masked, shape (ny, nb), DN/s.
    trace_offsets : dict
        How far the light of each order lies from where it was expected, in the mean, pixels.
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
    probability: np.ndarray
    unseen: np.ndarray
    sky_fraction: np.ndarray
    sky_mask: np.ndarray
    chi_square: float
    wing: np.ndarray
    trace_offsets: dict[int, float]

    @property
    def mask_fraction(self) -> float:
        """Share of the image that the fit did not use."""
        return 1 - float(np.mean(self.sky_mask))


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
        Row where each order's trace is expected per column, shape (nx,), same coordinates; it
        is moved to the centre of its light.
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
    expected = traces
    if good.any():
        traces = centred_traces(traces, trace_offsets(image, error, good, lines, traces))
    offsets = {order: float(np.mean(rows - expected[order])) for order, rows in traces.items()}
    keep = good.copy()
    for trace in traces.values():
        keep &= np.abs(lines[:, None] - trace[None, :]) > options.trace_half_width
    sky = bin_sky(image, error, keep, lines, templates.factor)
    weight = sky.weight
    _check_sky(weight, templates, options.min_pixels)
    columns = np.array([g.column for g in templates.geometry])
    blocks = make_blocks(
        sky.rows, sky.value.shape[1], templates.factor, (columns.min(), columns.max()),
        options.block_height, options.block_width,
    )  # fmt: skip
    modes = None
    if options.combine != "never" and options.template is None:
        modes = library_modes(
            templates, blocks, options.max_modes, options.mode_width,
            options.n_tilts, options.tilt_sigma,
        )  # fmt: skip
    values = sky.value[weight > 0]
    if values.min() == values.max():
        raise FitError(f"all sky pixels have the same value, {values[0]:g} DN/s")
    level = float(np.median(values))
    background = np.full(image.shape, level, np.float32)
    active = weight
    solution: Solution | None = None
    far: tuple[float, float] | None = None
    others: np.ndarray | None = None
    geometry: WingField | None = None
    for iteration in range(options.iterations):
        last = iteration == options.iterations - 1
        lights = trace_light(image - background, good, lines, traces)
        geometry = wing_field(sky, lights, far, others, geometry)
        means = block_means(sky, blocks, active, templates, geometry, options.prior, modes)
        tune = iteration >= options.first_tuned
        solution = solve(means, options, solution, 4 if last else 3, tune)
        levels, tilt, coefficients = _chosen(solution, modes, options, len(templates.images))
        wing = wing_image(geometry, means.basis, coefficients, sky)
        if last:
            seen, kept = (np.array(_sky_pixels(w, templates)) for w in (weight, active))
            lost = 1 - kept / np.maximum(seen, 1)
            result = conclude(solution, means, modes, blocks, options, lost)
            return _assemble(result, templates, active, wing, offsets)
        far = far_wing(means.basis, coefficients)
        model = templates.on_bins(levels, tilt)
        residual = np.where(weight > 0, sky.value - model - wing, 0)
        zone = np.searchsorted(ZONES, geometry.distance.min(axis=0))
        doubt = options.wing_doubt * solution.floor[zone] * wing
        variance = sky.variance + (0.01 * level) ** 2 + doubt**2
        for factor in _SIGMAS:
            sigma = factor * options.source_sigma
            source = find_sources(sky, weight, residual, variance, blocks, zone, sigma)
            active = np.where(source, 0, weight)
            if min(_sky_pixels(active, templates)) >= options.min_pixels:
                break
        others = np.where(source & (residual > _BRIGHT * np.sqrt(variance)), residual, 0.0)
        _check_sky(active, templates, options.min_pixels)
        background = templates.unbinned(model, image.shape[1])
    raise ValueError("a fit needs at least one iteration")


def _chosen(
    solution: Solution, modes: LibraryModes | None, options: FitOptions, n_templates: int
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Levels and tilt of the background, and the coefficients of the wing that goes with it.

    What the best template lacks would be taken for sources, and their wings would then make
    good for it: where the combination is clearly better, it is the one that is looked at.
    """
    mixed, least = solution.mixed, -np.inf
    if options.combine != "always":
        evidence = np.array([f.log_evidence for f in solution.fits])
        least = least_gain(evidence, options.margin, options.lead_share)
    if modes is not None and mixed is not None and mixed.gain > least:
        return modes.weights(mixed.amplitudes), modes.tilt(mixed.amplitudes), mixed.coefficients
    levels = np.zeros((n_templates, 2))
    levels[solution.best] = solution.fits[solution.best].amplitudes
    return levels, None, solution.coefficients


def _sky_pixels(weight: np.ndarray, templates: TemplateSet) -> list[int]:
    """Count the sky pixels left and right of the break."""
    return [int(weight[side].sum()) for side in templates.binned[0] > 0.5]


def _check_sky(weight: np.ndarray, templates: TemplateSet, least: int) -> None:
    """Refuse an image with hardly any sky on one side of the break."""
    for number, name in zip(_sky_pixels(weight, templates), ("left", "right"), strict=True):
        if number < least:
            raise FitError(
                f"only {number} sky pixels are left {name} of the break near column 705, "
                f"fewer than the {least} that a fit needs"
            )


def _assemble(
    result: Conclusion,
    templates: TemplateSet,
    active: np.ndarray,
    wing: np.ndarray,
    offsets: dict[int, float],
) -> BackgroundFit:
    levels = templates.levels[result.best]
    side = templates.binned[result.best] > 0.5
    used = (side & (active > 0)).sum(axis=(1, 2))
    chosen = result.selection
    return BackgroundFit(
        weights=chosen.weights / templates.levels,
        tilt=chosen.tilt,
        template=result.best,
        combined=result.combined,
        scales=chosen.levels / levels,
        covariance=chosen.covariance / np.outer(levels, levels),
        levels=chosen.levels,
        cost=result.cost,
        log_evidence=result.log_evidence,
        combination_gain=result.gain,
        probability=result.probability,
        unseen=result.unseen,
        sky_fraction=used / np.maximum(side.sum(axis=(1, 2)), 1),
        sky_mask=_unbin(active > 0, len(templates.valid)),
        chi_square=result.chi_square,
        wing=_unbin(wing, len(templates.valid)),
        trace_offsets=offsets,
    )


def _unbin(values: np.ndarray, n_rows: int) -> np.ndarray:
    """Rows as in the image again."""
    whole = np.repeat(values, ROWS_PER_BIN, axis=0)
    return np.pad(whole, ((0, n_rows - len(whole)), (0, 0)), mode="edge")
