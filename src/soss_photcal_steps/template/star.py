"""Exposures with a star in them: its traces are masked and its wings taken off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from soss_photcal_steps.background.exposure import fit_combined, fit_templates
from soss_photcal_steps.background.options import FitOptions
from soss_photcal_steps.background.result import CombinedExposure
from soss_photcal_steps.template.build import (
    BuiltTemplate,
    SkyExposure,
    build_template,
    darkest_sky,
)
from soss_photcal_steps.template.mask import MaskOptions
from soss_photcal_steps.template.sides import SmoothOptions

__all__ = ["StarExposure", "build_with_stars", "trace_mask"]

# The wings and the template are found in turn.
_ROUNDS = 4
# Rows over which a template of exposures with a star is smoothed at least, pixels.
_STAR_ROW_SIGMA = 100.0


@dataclass(frozen=True)
class StarExposure:
    """An exposure, and the star's traces if there is a star.

    Attributes
    ----------
    combined : CombinedExposure
        The exposure.
    traces : dict or None
        Row of each order's trace per column, SUBSTRIP256 coordinates; None without a star.
    name : str
        What messages call it.
    """

    combined: CombinedExposure
    traces: dict[int, np.ndarray] | None = None
    name: str = ""


def trace_mask(rows: np.ndarray, traces: dict[int, np.ndarray], half_width: float) -> np.ndarray:
    """Mask the traces of a star.

    Parameters
    ----------
    rows : ndarray
        Row of each line, SUBSTRIP256 coordinates, shape (ny,).
    traces : dict
        Row of each order's trace per column, shape (nx,).
    half_width : float
        Half width of the mask, pixels.

    Returns
    -------
    ndarray of bool
        Shape (ny, nx).
    """
    lines = np.asarray(rows, float)[:, None]
    return np.any([np.abs(lines - trace) <= half_width for trace in traces.values()], axis=0)


def _wing(
    one: StarExposure, template: np.ndarray, rows: np.ndarray, options: FitOptions
) -> np.ndarray:
    """Fit the star's wings beside a background of the shape of the template."""
    templates = fit_templates(template[None], rows)
    result = fit_combined(one.combined, rows, templates, one.traces or {}, options)
    lines = result.lines
    # Of a full frame, lines between those of the fit take the value of the nearest one.
    nearest = np.argmin(np.abs(np.arange(len(rows))[:, None] - lines[None, :]), axis=1)
    return result.wing()[nearest]


def build_with_stars(
    exposures: Sequence[StarExposure],
    rows: np.ndarray,
    smooth: SmoothOptions | None = None,
    mask: MaskOptions | None = None,
    half_width: float = 30.0,
    start: np.ndarray | None = None,
) -> BuiltTemplate:
    """Make one template of exposures, some of which may have a star in the aperture.

    Parameters
    ----------
    exposures : sequence of StarExposure
        The exposures.
    rows : ndarray
        Row of each line in the coordinates of SUBSTRIP256, shape (ny,).
    smooth, mask : SmoothOptions, MaskOptions, optional
        Settings.
    half_width : float, optional
        Half width of the mask over the star's traces, pixels.
    start : ndarray, optional
        A template of about the right shape, for the first fit of the wings, shape (ny, nx);
        by default the darkest part of each column.

    Returns
    -------
    BuiltTemplate
        The template.

    Raises
    ------
    ValueError
        As `build_template`; also if the star's wings cannot be fitted.
    """
    plain = [
        SkyExposure(
            one.combined.image,
            one.combined.error,
            None if one.traces is None else trace_mask(rows, one.traces, half_width),
            one.name,
        )
        for one in exposures
    ]
    if all(one.traces is None for one in exposures):
        return build_template(plain, rows, smooth, mask)
    # Wings and a sky that changes along the columns are hardly told apart.
    smooth = smooth or SmoothOptions()
    smooth = replace(smooth, row_sigma=max(smooth.row_sigma, _STAR_ROW_SIGMA))
    sky = darkest_sky(plain, rows) if start is None else start
    options = FitOptions(combine="never")
    for _ in range(_ROUNDS):
        cleaned = [
            part
            if one.traces is None
            else replace(part, image=part.image - _wing(one, sky, rows, options))
            for one, part in zip(exposures, plain, strict=True)
        ]
        built = build_template(cleaned, rows, smooth, mask)
        sky = built.image
    return built
