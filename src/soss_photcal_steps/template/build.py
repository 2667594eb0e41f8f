"""From exposures of the background to one template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import gaussian_filter1d

from soss_photcal_steps.background.sky import bad_pixels
from soss_photcal_steps.template.mask import MaskOptions, mask_faint_light, mask_sources
from soss_photcal_steps.template.sides import SmoothOptions, fit_sides
from soss_photcal_steps.template.smooth import (
    Break,
    SmoothSky,
    fit_smooth_sky,
    nominal_break,
)

__all__ = ["HALF_STEP", "BuiltTemplate", "SkyExposure", "build_template", "darkest_sky"]

_ROUNDS = 4
# Faint light is looked for once the sky is known so well.
_FAINT_ROUND = 2
# What is left of an exposure must be at least this share of each side.
_LEAST_SHARE = 0.05
# Three exposures or more tell outliers: the threshold in units of the error.
_CLIP = 4.0
_CONTRAST = 0.3
# Quantile of each column that is sky where a star's wings lie over everything.
_DARK = 0.2
# Blocks whose means show noise that neighbours share: rows, columns.
_BLOCK = (32, 64)
#: The two halves of the exposures are compared in every so many rows and columns; the sides
#: hardly change from one to the next.
HALF_STEP = (8, 16)


@dataclass(frozen=True)
class SkyExposure:
    """One exposure of the background.

    Attributes
    ----------
    image, error : ndarray
        Mean count rate and its standard error, shape (ny, nx), DN/s; NaN where bad.
    excluded : ndarray of bool or None
        Pixels that are known to be of no use, such as the traces of the target.
    name : str
        What messages call it.
    """

    image: np.ndarray
    error: np.ndarray
    excluded: np.ndarray | None = None
    name: str = ""


@dataclass(frozen=True)
class BuiltTemplate:
    """A template and how it was made.

    Attributes
    ----------
    image, error : ndarray
        The template and its standard error, shape (ny, nx), DN/s at the mean level of the
        exposures; without gaps.
    measured : ndarray of bool
        Pixels that at least one exposure shows; the model alone fills the others.
    edge : Break
        The break.
    scales : ndarray
        Level of each exposure left and right, relative to the template, shape (n, 2).
    masked : ndarray
        Share of each exposure's pixels that were not used, shape (n,).
    masks : tuple of ndarray of bool
        Pixels of each exposure that were not used.
    mean : ndarray
        Mean of the exposures, which the template smooths, DN/s; NaN where not measured.
    chi_square : float
        Reduced chi square of the mean about the template.
    left, right : ndarray
        The two sides of the break, each in all pixels, DN/s.
    halves : tuple of ndarray or None
        Left and right side of the sky that each half of the exposures shows, in every
        `HALF_STEP` th row and column, shape (2, ny', nx'), DN/s; None of a single exposure.
    components : tuple of int or None
        Principal components left and right that it shares with other templates; None if it
        stands by itself.
    """

    image: np.ndarray
    error: np.ndarray
    measured: np.ndarray
    edge: Break
    scales: np.ndarray
    masked: np.ndarray
    masks: tuple[np.ndarray, ...] = field(repr=False)
    mean: np.ndarray = field(repr=False)
    chi_square: float = np.nan
    left: np.ndarray = field(repr=False, default_factory=lambda: np.zeros((0, 0)))
    right: np.ndarray = field(repr=False, default_factory=lambda: np.zeros((0, 0)))
    halves: tuple[np.ndarray, np.ndarray] | None = field(repr=False, default=None)
    components: tuple[int, int] | None = None


def _first_sky(
    image: np.ndarray, good: np.ndarray, edge: Break, quantile: float = 0.4
) -> np.ndarray:
    """Give a quantile of each column along the tilted break, which sources hardly touch."""
    ny, nx = image.shape
    shift = np.round(edge.column - edge.column.mean()).astype(int)
    columns = np.clip(np.arange(nx) + shift[:, None], 0, nx - 1)
    upright = np.where(
        np.take_along_axis(good, columns, 1), np.take_along_axis(image, columns, 1), np.nan
    )
    known = np.isfinite(upright).sum(axis=0) > max(3, ny // 20)
    if not known.any():
        raise ValueError("it has no valid pixels")
    profile = np.full(nx, np.nan)
    # Sources only add: what lies below the middle is nearer to the sky.
    profile[known] = np.nanquantile(upright[:, known], quantile, axis=0)
    every = np.arange(nx)
    profile = np.interp(every, every[known], profile[known])
    back = np.clip(np.arange(nx) - shift[:, None], 0, nx - 1)
    return np.take(profile, back)


def darkest_sky(exposures: Sequence[SkyExposure], rows: np.ndarray) -> np.ndarray:
    """Give a first template of exposures with a star: what is darkest in each column.

    Parameters
    ----------
    exposures : sequence of SkyExposure
        The exposures.
    rows : ndarray
        Row of each line in the coordinates of SUBSTRIP256, shape (ny,).

    Returns
    -------
    ndarray
        Shape (ny, nx), positive, around 1.

    Raises
    ------
    ValueError
        If an exposure has no valid pixels.
    """
    edge = nominal_break(rows)
    skies = []
    for one in exposures:
        good = np.isfinite(one.image)
        if one.excluded is not None:
            good &= ~one.excluded
        sky = gaussian_filter1d(_first_sky(one.image, good, edge, _DARK), 2.0, axis=1)
        middle = float(np.median(sky))
        if middle <= 0:
            raise ValueError(f"{one.name or 'an exposure'}: its sky is {middle:.3g} DN/s")
        skies.append(np.maximum(sky, 0.1 * middle) / middle)
    return np.mean(skies, axis=0)


def _scale(exposure: SkyExposure, keep: np.ndarray, sky: SmoothSky) -> tuple[float, float]:
    """Level of an exposure left and right, relative to the model."""
    found: list[float] = []
    weight = np.where(keep, 1 / exposure.error**2, 0)
    for part in (sky.fraction < _CONTRAST, sky.fraction > 1 - _CONTRAST):
        use = keep & part
        if use.sum() < max(_LEAST_SHARE * part.sum(), 1):
            raise ValueError(
                f"{100 * use.sum() / max(part.sum(), 1):.0f} per cent of the pixels "
                f"{'left' if not found else 'right'} of the break are left after masking"
            )
        w, model = weight[use], sky.image[use]
        found.append(float((w * exposure.image[use] * model).sum() / (w * model**2).sum()))
    if min(found) <= 0:
        raise ValueError(f"its level is {found[0]:.3g} times that of the others, not positive")
    return found[0], found[1]


def _normalised(
    exposure: SkyExposure, keep: np.ndarray, scale: Sequence[float], fraction: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bring an exposure to the common level; give it and its inverse variance."""
    factor = scale[0] * (1 - fraction) + scale[1] * fraction
    weight = np.where(keep, (factor / np.where(keep, exposure.error, 1)) ** 2, 0)
    return np.where(keep, exposure.image / factor, 0), weight


def _middle(stack: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Give the median over the first axis of what is known; 0 where nothing is."""
    ordered = np.sort(np.where(known, stack, np.inf), axis=0)
    count = known.sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    high = np.minimum(high, len(stack) - 1)
    both = [np.take_along_axis(ordered, place[None], 0)[0] for place in (low, high)]
    both = [np.where(count > 0, value, 0.0) for value in both]
    return 0.5 * (both[0] + both[1])


def _mean(
    images: Sequence[np.ndarray], weights: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean over the exposures without outliers, and its inverse variance."""
    stack, weight = np.array(images), np.array(weights)
    for _ in range(3):
        total = weight.sum(axis=0)
        mean = (weight * stack).sum(axis=0) / np.where(total > 0, total, 1)
        if len(stack) < 3:
            break
        # The middle one is not drawn along by an outlier, as the mean is.
        off = (weight > 0) & (np.abs(stack - _middle(stack, weight > 0)) * np.sqrt(weight) > _CLIP)
        if not off.any():
            break
        weight = np.where(off, 0, weight)
    return mean, total


def _common_noise(residual: np.ndarray, weight: np.ndarray) -> float:
    """Tell by how much what is left exceeds the noise when many pixels are averaged.

    1/f noise, faint sources and departures from the model are common to neighbours, and the
    errors of single pixels do not know of them.
    """
    ny, nx = residual.shape
    height = min(_BLOCK[0], ny)
    rows, columns = ny // height, nx // _BLOCK[1]
    shape = (rows, height, columns, _BLOCK[1])
    cut = slice(rows * height), slice(columns * _BLOCK[1])
    total = (residual * weight)[cut].reshape(shape).sum(axis=(1, 3))
    norm = weight[cut].reshape(shape).sum(axis=(1, 3))
    known = norm > 0.2 * np.median(norm)
    if not known.any():
        return 1.0
    return max(1.0, float(np.sqrt(np.mean(total[known] ** 2 / norm[known]))))


def _halves(
    parts: Sequence[tuple[np.ndarray, np.ndarray]], column: np.ndarray, options: SmoothOptions
) -> tuple[np.ndarray, np.ndarray] | None:
    """Smooth every other exposure and the rest apart; their difference is noise."""
    if len(parts) < 2:
        return None
    sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for half in (parts[::2], parts[1::2]):
        mean, weight = _mean([part[0] for part in half], [part[1] for part in half])
        try:
            found = fit_sides(mean, weight, column, options)
        except ValueError:
            return None
        for side, image in zip(sides, (found.left, found.right), strict=True):
            side.append(image[:: HALF_STEP[0], :: HALF_STEP[1]])
    return np.array(sides[0]), np.array(sides[1])


def build_template(
    exposures: Sequence[SkyExposure],
    rows: np.ndarray,
    smooth: SmoothOptions | None = None,
    mask: MaskOptions | None = None,
) -> BuiltTemplate:
    """Make one template of exposures of the same sky.

    Parameters
    ----------
    exposures : sequence of SkyExposure
        The exposures, all of the same part of the detector.
    rows : ndarray
        Row of each line in the coordinates of SUBSTRIP256, shape (ny,).
    smooth : SmoothOptions, optional
        Settings of the model.
    mask : MaskOptions, optional
        Settings of the search for sources.

    Returns
    -------
    BuiltTemplate
        The template.

    Raises
    ------
    ValueError
        If there is no exposure, or one has too few pixels of sky; the message says which.
    """
    if not exposures:
        raise ValueError("no background exposure was given")
    edge = nominal_break(rows)
    valid = []
    for one in exposures:
        good = np.isfinite(one.image) & np.isfinite(one.error) & (one.error > 0)
        if one.excluded is not None:
            good &= ~one.excluded
        valid.append(good & ~bad_pixels(one.image, good, one.error))
    skies = []
    for one, good in zip(exposures, valid, strict=True):
        try:
            skies.append(_first_sky(one.image, good, edge))
        except ValueError as error:
            raise ValueError(f"{one.name or 'an exposure'}: {error}") from error
    scales = np.ones((len(exposures), 2))
    sky: SmoothSky | None = None
    for round_ in range(_ROUNDS):
        keeps, parts = [], []
        for k, (one, good) in enumerate(zip(exposures, valid, strict=True)):
            try:
                if sky is not None:
                    skies[k] = sky.image * (
                        scales[k, 0] * (1 - sky.fraction) + scales[k, 1] * sky.fraction
                    )
                keep = good & ~mask_sources(one.image - skies[k], one.error, good, mask)
                # What the fit leaves of a star's wings is no foreign light.
                if round_ >= _FAINT_ROUND and one.excluded is None:
                    keep &= ~mask_faint_light(one.image - skies[k], keep)
                if sky is not None:
                    scales[k] = _scale(one, keep, sky)
                elif keep.sum() < _LEAST_SHARE * keep.size:
                    raise ValueError(
                        f"only {100 * keep.mean():.0f} per cent of its pixels are left after "
                        "masking"
                    )
                else:
                    scales[k] = float(np.median(one.image[keep]))
                    if scales[k, 0] <= 0:
                        raise ValueError(f"its median level is {scales[k, 0]:.3g} DN/s")
            except ValueError as error:
                raise ValueError(f"{one.name or f'exposure {k}'}: {error}") from error
            keeps.append(keep)
        if sky is None:
            level = scales.mean()
            scales = scales / level
        else:
            scales = scales / scales.mean(axis=0)
        fraction = np.zeros(exposures[0].image.shape) if sky is None else sky.fraction
        for one, keep, scale in zip(exposures, keeps, scales, strict=True):
            parts.append(_normalised(one, keep, scale, fraction))
        mean, weight = _mean([part[0] for part in parts], [part[1] for part in parts])
        sky = fit_smooth_sky(mean, weight, edge if sky is None else sky.edge, smooth)
    if sky is None:
        raise ValueError("no round was made")
    measured = weight > 0
    residual = np.where(measured, mean - sky.image, 0.0)
    pull = (residual**2 * weight)[measured]
    common = _common_noise(residual, weight)
    return BuiltTemplate(
        image=sky.image.astype(np.float32),
        error=(sky.error * common).astype(np.float32),
        measured=measured,
        edge=sky.edge,
        scales=scales,
        masked=np.array([1 - keep.mean() for keep in keeps]),
        masks=tuple(~keep for keep in keeps),
        mean=np.where(measured, mean, np.nan).astype(np.float32),
        chi_square=float(np.mean(pull)),
        left=sky.sides.left.astype(np.float32),
        right=sky.sides.right.astype(np.float32),
        halves=_halves(parts, sky.edge.column, smooth or SmoothOptions()),
    )
