"""Synthetic SOSS exposures whose background is known.

Every part of a scene (background, wings, field, defects, noise of each integration) has
its own stream of random numbers made from the seed, so changing one part leaves the others
as they were, and the truth comes back from the seed alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate.detector import (
    GROUP_TIME,
    Defects,
    draw_defects,
    expose,
    read_noise_rate,
)
from soss_photcal_steps.simulate.field import Field, draw_field, field_image
from soss_photcal_steps.simulate.library import (
    TemplateLibrary,
    break_columns,
    draw_template,
    right_fraction,
)
from soss_photcal_steps.simulate.params import BACKGROUND_KINDS, SceneParams, Truth
from soss_photcal_steps.simulate.star import STAR_LEVELS
from soss_photcal_steps.simulate.starimage import StarLight, star_image
from soss_photcal_steps.simulate.wings import draw_wing
from soss_photcal_steps.trace import (
    DETECTOR_SIZE,
    SUBSTRIP256_FIRST_ROW,
    subarray_rows,
)

__all__ = [
    "Exposure",
    "Integration",
    "Scene",
    "make_exposure",
    "simulate",
    "star_image",
]

# Groups per integration, and range of the background left of the break in DN/s (2.6 was
# measured for BD+60 1753 and 4.1 for WASP-39).
_GROUPS = {"bright": 3, "mid": 9, "faint": 30, "none": 30}
_LEVEL_LEFT = {"bright": (2.3, 2.9), "mid": (3.8, 4.4), "faint": (3.0, 5.0), "none": (3.0, 5.0)}
_F277W_BACKGROUND = 0.25
_STREAMS = {"background": 1, "wings": 2, "field": 3, "defects": 4, "star": 5, "noise": 6}


def _generator(seed: int, stream: str, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([seed, _STREAMS[stream], *numbers])


@dataclass(frozen=True)
class Integration:
    """One integration; arrays of shape (ny, nx), float32 except the uint32 `dq`.

    Attributes
    ----------
    sci, err : ndarray
        Rate and its error, DN/s.
    dq : ndarray
        Flags.
    var_poisson, var_rnoise : ndarray
        Variances, (DN/s)^2.
    """

    sci: np.ndarray
    err: np.ndarray
    dq: np.ndarray
    var_poisson: np.ndarray
    var_rnoise: np.ndarray


@dataclass(frozen=True)
class Exposure:
    """A scene whose integrations are made when asked for.

    Attributes
    ----------
    params : SceneParams
        What was asked for.
    truth : Truth
        The truth.
    defects : Defects
        Fixed defects of the detector.
    read_noise : float
        DN/s.
    group_time : float
        Seconds per group.
    n_groups : int
        Groups per integration.
    """

    params: SceneParams
    truth: Truth
    defects: Defects
    read_noise: float
    group_time: float
    n_groups: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Integrations, rows and columns."""
        return (self.params.nints, *self.truth.background.shape)

    def integration(self, i: int) -> Integration:
        """Make one integration, always the same for the same `i`.

        Parameters
        ----------
        i : int
            Number of the integration, from 0.

        Returns
        -------
        Integration
            Its arrays.
        """
        p, t = self.params, self.truth
        image = np.float32(t.background_factors[i]) * t.background
        image += np.float32(t.star_factors[i]) * t.star
        image += t.field
        sci, var_poisson, var_rnoise = expose(
            _generator(p.seed if p.noise_seed is None else p.noise_seed, "noise", i),
            image,
            self.defects,
            read_noise=self.read_noise,
            integration_time=self.group_time * self.n_groups,
            one_over_f=p.one_over_f,
            cosmic_rays=p.cosmic_rays,
            noise=p.noise,
        )
        err = np.sqrt(var_poisson + var_rnoise)
        return Integration(sci, err, self.defects.dq.copy(), var_poisson, var_rnoise)

    def integrations(self) -> Iterator[Integration]:
        """Make all integrations one after the other.

        Yields
        ------
        Integration
            Arrays of one integration.
        """
        for i in range(self.params.nints):
            yield self.integration(i)


@dataclass(frozen=True)
class Scene:
    """A whole exposure in memory; arrays of shape (nints, ny, nx).

    Attributes
    ----------
    params : SceneParams
        What was asked for.
    sci, err : ndarray, float32
        Rates and errors, DN/s.
    dq : ndarray, uint32
        Flags.
    truth : Truth
        The truth.
    exposure : Exposure
        The same scene as a source of single integrations, for the writers.
    """

    params: SceneParams
    sci: np.ndarray
    err: np.ndarray
    dq: np.ndarray
    truth: Truth
    exposure: Exposure


def _check(params: SceneParams) -> None:
    if params.nints < 1:
        raise SossInputError(f"A scene needs at least one integration, not {params.nints}.")
    if params.background not in BACKGROUND_KINDS:
        raise SossInputError(
            f"Background {params.background!r} is not one of {', '.join(BACKGROUND_KINDS)}."
        )
    if params.star not in STAR_LEVELS:
        raise SossInputError(f"Star level {params.star!r} is not one of {', '.join(STAR_LEVELS)}.")
    if params.filter not in ("CLEAR", "F277W"):
        raise SossInputError(f"Filter {params.filter!r} is neither CLEAR nor F277W.")
    if params.n_groups is not None and params.n_groups < 2:
        raise SossInputError(f"A rate needs at least two groups, not {params.n_groups}.")


def _draw_background(
    params: SceneParams, library: TemplateLibrary, rows: np.ndarray
) -> tuple[np.ndarray, int | None, np.ndarray, float, float]:
    """Draw template, index, weights and the two scales."""
    rng = _generator(params.seed, "background")
    templates = library.cut(params.subarray)
    weights = np.zeros(len(templates))
    index = int(rng.integers(len(templates)))
    if params.template_index is not None:
        index = params.template_index
        if not 0 <= index < len(templates):
            raise SossInputError(
                f"Template {index} is not in the library, which has {len(templates)}."
            )
    low, high = _LEVEL_LEFT[params.star]
    level = rng.uniform(low, high) * (_F277W_BACKGROUND if params.filter == "F277W" else 1.0)
    ratio = 1 + 0.03 * rng.uniform(-1, 1)
    level = level if params.level_left is None else params.level_left
    ratio = ratio if params.side_ratio is None else params.side_ratio
    if params.background == "library":
        weights[index] = 1.0
    elif params.background == "mixture":
        number = min(int(rng.integers(2, 4)), len(templates))
        chosen = rng.choice(len(templates), number, replace=False)
        weights[chosen] = rng.dirichlet(np.full(number, 4.0))
    if weights.any():
        template = np.tensordot(weights, templates, axes=1)
    else:
        extra = params.outside_strength if params.background == "outside" else 0.0
        template = draw_template(rng, rows, extra_mode=extra, break_shape=library.break_shape)
    scale = level / float(np.median(template[:, 10:600]))
    return (
        template,
        index if params.background == "library" else None,
        weights,
        scale,
        scale * ratio,
    )


def make_exposure(
    params: SceneParams,
    library: TemplateLibrary,
    *,
    light: StarLight | None = None,
    sources: Field | None = None,
) -> Exposure:
    """Work out all noiseless parts of a scene.

    The background is template * (scale_left * (1 - f) + scale_right * f), where f is the
    measured profile of the break, a core and a tail, along its tilted line.

    Parameters
    ----------
    params : SceneParams
        What the scene shall be.
    library : TemplateLibrary
        Templates that cover the rows of the subarray.
    light : StarLight, optional
        Another star than the level in `params`.
    sources : Field, optional
        Other sources than those drawn for the contamination in `params`.

    Returns
    -------
    Exposure
        The truth, and integrations on demand.

    Raises
    ------
    SossInputError
        If a parameter is out of its range or the library does not cover the subarray.
    """
    _check(params)
    span = subarray_rows(params.subarray)
    rows = np.arange(span.start, span.stop) - SUBSTRIP256_FIRST_ROW
    columns = np.arange(DETECTOR_SIZE, dtype=float)

    template, index, weights, left, right = _draw_background(params, library, rows)
    share = right_fraction(rows, columns, library.break_shape).astype(np.float32)
    template = template.astype(np.float32)
    background = template * (np.float32(left) + np.float32(right - left) * share)
    place = np.arange(params.nints) - (params.nints - 1) / 2
    drift = params.background_drift / 100 * place / max(params.nints - 1, 1)

    rng = _generator(params.seed, "star")
    depths = rng.uniform(0.02, 0.2, 9)
    star_factors = 1 + params.star_scatter * rng.normal(size=params.nints)
    wing = draw_wing(params.wings, _generator(params.seed, "wings"))
    star = star_image(params, rows, wing, depths, light)

    if sources is None:
        sources = draw_field(params.contamination, _generator(params.seed, "field"), rows)
    field = field_image(sources, rows, params.pwcpos)
    if params.filter == "F277W":
        field *= 0.3

    defects = draw_defects(
        _generator(params.seed if params.defects_seed is None else params.defects_seed, "defects"),
        background.shape,
        params.subarray,
        params.bad_pixels,
        params.unflagged_pixels,
        params.reference_pixels,
    )
    n_groups = params.n_groups or _GROUPS[params.star]
    truth = Truth(
        background=background,
        background_factors=1 + drift,
        scale_left=left,
        scale_right=right,
        level_left=float(np.median(background[:, 10:600])),
        level_right=float(np.median(background[:, 780:950])),
        break_columns=break_columns(rows, library.break_shape),
        right_fraction=share,
        template=template,
        template_index=index,
        weights=weights,
        star=star.astype(np.float32),
        star_factors=star_factors,
        field=field.astype(np.float32),
        sources=sources,
        wing=wing,
    )
    return Exposure(
        params=params,
        truth=truth,
        defects=defects,
        read_noise=read_noise_rate(params.subarray, n_groups),
        group_time=GROUP_TIME[params.subarray],
        n_groups=n_groups,
    )


def simulate(params: SceneParams, library: TemplateLibrary) -> Scene:
    """Simulate a whole exposure in memory.

    Parameters
    ----------
    params : SceneParams
        What the scene shall be.
    library : TemplateLibrary
        Templates that cover the rows of the subarray.

    Returns
    -------
    Scene
        Data and truth.

    Raises
    ------
    SossInputError
        If a parameter is out of its range or the library does not cover the subarray.
    """
    exposure = make_exposure(params, library)
    sci = np.empty(exposure.shape, dtype=np.float32)
    err = np.empty_like(sci)
    dq = np.empty(exposure.shape, dtype=np.uint32)
    for i, one in enumerate(exposure.integrations()):
        sci[i], err[i], dq[i] = one.sci, one.err, one.dq
    return Scene(exposure.params, sci, err, dq, exposure.truth, exposure)
