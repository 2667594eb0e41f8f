"""From the integrations of one exposure, in one or several segments, to what is subtracted.

The integrations are pulled in small groups through `Integrations`, so that models in memory
and files that are streamed take the same way, and no cube is held twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from soss_photcal_steps.background.breaks import right_fraction
from soss_photcal_steps.background.combine import (
    GROUP_SIZE,
    ImageCombiner,
    ReducedGroup,
    group_median,
    group_sizes,
    reduce_group,
)
from soss_photcal_steps.background.estimate import BackgroundFit, FitError, fit_background
from soss_photcal_steps.background.integrations import IntegrationScaler
from soss_photcal_steps.background.options import FitOptions
from soss_photcal_steps.background.readers import UNUSABLE, Integrations
from soss_photcal_steps.background.result import BackgroundResult, CombinedExposure
from soss_photcal_steps.background.templates import TemplateSet, prepare_templates
from soss_photcal_steps.parallel import background_call, ordered_map

__all__ = [
    "combine_exposure",
    "find_background",
    "fit_combined",
    "fit_lines",
    "fit_templates",
    "integration_factors",
]

# Errors change little from one integration to the next; this many tell the typical one.
_ERROR_SAMPLES = 5
# Outside the strip, a full frame has more sky than the fit needs: one row in this many is used.
_FULL_FRAME_STEP = 4


def combine_exposure(
    segments: Sequence[Integrations], progress: Callable[[int, int], None] | None = None
) -> CombinedExposure:
    """Combine all integrations of an exposure.

    Parameters
    ----------
    segments : sequence of Integrations
        Segments of the exposure.
    progress : callable, optional
        Called with the number of integrations read and of all.

    Returns
    -------
    CombinedExposure
        The combined image and its error.

    Raises
    ------
    FitError
        If no pixel has a valid value.
    """
    lengths = [segment.shape[0] for segment in segments]
    total, done = sum(lengths), 0
    if total == 0:
        raise FitError("there is no integration")
    combiner = ImageCombiner(segments[0].shape[1:])
    for group in ordered_map(_read_and_reduce, _groups(segments, lengths)):
        combiner.add(group)
        done += group.n_integrations
        if progress is not None:
            progress(done, total)
    combined = combiner.result()
    if not np.isfinite(combined.image).any():
        raise FitError("no pixel has a valid value in any integration")
    single = _typical_error(segments, lengths, combined.image)
    return CombinedExposure(
        combined.image, (single * combined.noise_factor).astype(np.float32), single, total
    )


def _groups(
    segments: Sequence[Integrations], lengths: Sequence[int]
) -> Iterator[tuple[Integrations, int, int]]:
    """List the groups to be reduced: segment, first integration, and the one after the last."""
    for segment, length in zip(segments, lengths, strict=True):
        start = 0
        for size in group_sizes(length):
            yield segment, start, start + size
            start += size


def _read_and_reduce(group: tuple[Integrations, int, int]) -> ReducedGroup:
    segment, start, stop = group
    return reduce_group(*segment.read(start, stop), UNUSABLE)


def _typical_error(
    segments: Sequence[Integrations], lengths: Sequence[int], image: np.ndarray
) -> np.ndarray:
    """Median error of a few integrations; where there is none, the scatter of the image."""
    count = sum(lengths)
    n = min(_ERROR_SAMPLES, count)
    places = [(s, i) for s, length in enumerate(lengths) for i in range(length)]
    picked = [places[(2 * k + 1) * count // (2 * n)] for k in range(n)]
    frames = [frame for s, i in picked if (frame := segments[s].errors(i)) is not None]
    error = np.full(image.shape, np.nan, np.float32)
    if frames:
        stack = np.array(frames, dtype=np.float32)
        stack[~(stack > 0)] = np.inf
        error = group_median(stack)
    known = np.isfinite(error)
    if known.any():
        error = np.where(known, error, np.median(error[known]))
    else:
        # Neighbours differ by noise, and hardly by anything else, in most pixels.
        step = np.abs(np.diff(image, axis=1))
        step = step[np.isfinite(step)]
        scatter = float(np.median(step)) / (0.6745 * np.sqrt(2)) if step.size else 1.0
        error = np.full(image.shape, scatter, np.float32)
    return error


def fit_lines(rows: np.ndarray) -> np.ndarray:
    """Choose the lines that the fit looks at.

    Parameters
    ----------
    rows : ndarray
        Row of each line in the coordinates of SUBSTRIP256.

    Returns
    -------
    ndarray of int
        All lines of a subarray; of a full frame those of the strip and every fourth other.
    """
    strip = (rows >= 0) & (rows < 256)
    lines = np.arange(len(rows))
    return np.flatnonzero(strip | (lines % _FULL_FRAME_STEP == 0))


def fit_templates(images: np.ndarray, rows: np.ndarray) -> TemplateSet:
    """Make templates ready for the lines that the fit looks at.

    Parameters
    ----------
    images : ndarray
        Templates cut to the image, shape (n, ny, nx), DN/s.
    rows : ndarray
        Row of each line in the coordinates of SUBSTRIP256, shape (ny,).

    Returns
    -------
    TemplateSet
        What `fit_combined` takes.

    Raises
    ------
    ValueError
        If a template cannot be used.
    """
    lines = fit_lines(np.asarray(rows))
    return prepare_templates(images, select=None if len(lines) == len(rows) else lines)


def integration_factors(
    segment: Integrations,
    scaler: IntegrationScaler,
    progress: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the background of every integration of a segment, relative to the exposure.

    Parameters
    ----------
    segment : Integrations
        The segment.
    scaler : IntegrationScaler
        What finds the factors.
    progress : callable, optional
        Called with the number of integrations just done.

    Returns
    -------
    tuple of ndarray
        Factors and their errors, left and right, shape (n, 2).  The factor is 1 and its error
        NaN where an integration has no valid pixel.
    """
    n = segment.shape[0]
    factors, errors = np.ones((n, 2)), np.full((n, 2), np.nan)
    for start in range(0, n, GROUP_SIZE):
        rates, flags = segment.read(start, min(start + GROUP_SIZE, n))
        for i, (frame, marks) in enumerate(zip(rates, flags, strict=True), start):
            found, error = scaler.factors(frame, (marks & UNUSABLE) != 0)
            known = np.isfinite(found)
            factors[i, known], errors[i, known] = found[known], error[known]
        if progress is not None:
            progress(len(rates))
    return factors, errors


def _no_fit(templates: TemplateSet, template: int, shape: tuple[int, int]) -> BackgroundFit:
    """Stand for the fit of data that cannot be fitted: nothing is known, no pixel was used."""
    n = len(templates.images)
    unknown = np.full(2, np.nan)
    return BackgroundFit(
        weights=np.zeros((n, 2)),
        tilt=None,
        template=template,
        combined=False,
        scales=unknown,
        covariance=np.full((2, 2), np.nan),
        levels=unknown,
        cost=np.full(n, np.nan),
        log_evidence=np.full(n, np.nan),
        combination_gain=-np.inf,
        probability=np.zeros(n),
        unseen=np.zeros(2),
        sky_fraction=np.zeros(2),
        sky_mask=np.zeros(shape, bool),
        chi_square=np.nan,
        wing=np.zeros(shape, np.float32),
        trace_offsets={},
    )


def find_background(
    segments: Sequence[Integrations],
    rows: np.ndarray,
    images: np.ndarray,
    traces: dict[int, np.ndarray],
    options: FitOptions,
    scales: Sequence[float] | None = None,
    progress: Callable[[int, int], None] | None = None,
    excluded: np.ndarray | None = None,
) -> BackgroundResult:
    """Combine the integrations of an exposure and fit its background.

    Parameters
    ----------
    segments : sequence of Integrations
        Segments of the exposure.
    rows : ndarray
        Row of each line in the coordinates of SUBSTRIP256, shape (ny,).
    images : ndarray
        Templates cut to the image, shape (n, ny, nx), DN/s.
    traces : dict
        Row of each order's trace per column, same coordinates.
    options : FitOptions
        Settings of the fit.
    scales : sequence of float, optional
        Scale left and right, to be used in place of the fitted ones; needs
        ``options.template``.
    progress : callable, optional
        Called with the number of integrations combined and of all.
    excluded : ndarray of bool, optional
        Pixels that the fit leaves out, shape (ny, nx).

    Returns
    -------
    BackgroundResult
        What is to be subtracted.

    Raises
    ------
    FitError
        If the background cannot be fitted, or the fit cannot be trusted.
    """
    rows = np.asarray(rows)
    # The templates are made ready while the integrations are read.
    with background_call(fit_templates, images, rows) as prepared:
        combined = combine_exposure(segments, progress)
        try:
            templates = prepared()
        except ValueError as error:
            raise FitError(str(error)) from error
    return fit_combined(combined, rows, templates, traces, options, scales, excluded)


def fit_combined(
    combined: CombinedExposure,
    rows: np.ndarray,
    templates: TemplateSet,
    traces: dict[int, np.ndarray],
    options: FitOptions,
    scales: Sequence[float] | None = None,
    excluded: np.ndarray | None = None,
) -> BackgroundResult:
    """Fit the background of an exposure whose integrations are combined.

    Parameters
    ----------
    combined : CombinedExposure
        The image, shape (ny, nx).
    rows : ndarray
        Row of each line in the coordinates of SUBSTRIP256, shape (ny,).
    templates : TemplateSet
        The library, as `fit_templates` gives it.
    traces : dict
        Row of each order's trace per column, same coordinates.
    options : FitOptions
        Settings of the fit.
    scales : sequence of float, optional
        Scale left and right, to be used in place of the fitted ones; needs
        ``options.template``.
    excluded : ndarray of bool, optional
        Pixels that the fit leaves out, shape (ny, nx).

    Returns
    -------
    BackgroundResult
        What is to be subtracted.

    Raises
    ------
    FitError
        If the background cannot be fitted, or the fit cannot be trusted.
    """
    rows = np.asarray(rows)
    lines = fit_lines(rows)
    whole = len(lines) == len(rows)
    good = np.isfinite(combined.image)
    if excluded is not None:
        good &= ~excluded
    try:
        fit = fit_background(
            combined.image if whole else combined.image[lines],
            combined.error if whole else combined.error[lines],
            good if whole else good[lines],
            rows[lines],
            templates,
            traces,
            options,
        )
    except (FitError, np.linalg.LinAlgError) as error:
        if scales is not None and options.template is not None:
            # Scales by hand are for data that cannot be fitted.
            bins = (len(lines), combined.image.shape[1] // templates.factor)
            fit = _no_fit(templates, options.template, bins)
        elif isinstance(error, FitError):
            raise
        else:
            raise FitError(f"the equations of the fit have no solution ({error})") from error
    weights, tilt = fit.weights, fit.tilt
    found, errors = np.asarray(fit.scales), np.sqrt(np.diag(fit.covariance))
    if scales is None:
        _check_trust(fit, templates, lines, options)
    else:
        weights, tilt = np.zeros_like(weights), None
        weights[fit.template] = scales
        found, errors = np.array(scales, float), np.full(2, np.nan)
    geometry = templates.geometry[fit.template]
    return BackgroundResult(
        fit=fit,
        weights=weights,
        scales=found,
        errors=errors,
        by_hand=scales is not None,
        background=templates.background(weights, tilt),
        right=right_fraction(geometry, combined.image.shape[1]).astype(np.float32),
        break_column=np.asarray(geometry.column),
        lines=lines,
        combined=combined,
        templates=templates,
        traces=traces,
        rows=rows,
        trace_half_width=options.trace_half_width,
        excluded=excluded,
    )


def _check_trust(
    fit: BackgroundFit, templates: TemplateSet, lines: np.ndarray, options: FitOptions
) -> None:
    sigma = np.sqrt(np.diag(fit.covariance))
    if not (np.isfinite(fit.scales).all() and np.isfinite(sigma).all()):
        raise FitError("the fit gave no finite scales")
    right = right_fraction(templates.geometry[fit.template], templates.images.shape[2])[lines]
    sides = ((1 - right).sum(), right.sum())
    for name, share, size in zip(("left", "right"), fit.sky_fraction, sides, strict=True):
        if share * size < options.min_pixels:
            raise FitError(
                f"only {share * size:.0f} sky pixels were found {name} of the break, "
                f"{options.min_pixels} are needed"
            )
