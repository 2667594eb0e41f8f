"""What a simulated scene shall be, and what it really holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soss_photcal_steps.simulate.field import Field
from soss_photcal_steps.simulate.wings import Wing
from soss_photcal_steps.trace import PWCPOS_COMMANDED

__all__ = ["BACKGROUND_KINDS", "SceneParams", "Truth"]

#: Where the true background shape comes from.
BACKGROUND_KINDS = ("library", "mixture", "family", "outside")


@dataclass(frozen=True)
class SceneParams:
    """What a scene shall be.

    Attributes
    ----------
    seed : int
        Seed of all that is drawn.
    star : {"bright", "mid", "faint", "none"}
        BD+60 1753, WASP-39, four magnitudes fainter than BD+60 1753, or no star.
    subarray : {"SUBSTRIP256", "SUBSTRIP96", "FULL"}
        Subarray.
    filter : {"CLEAR", "F277W"}
        Filter.
    nints : int
        Integrations.
    pwcpos : float
        Angle of the pupil wheel, degrees.
    background : {"library", "mixture", "family", "outside"}
        True shape: one template of the library; a mixture of two or three; a new member
        of the family that the library was drawn from; such a member with one more smooth
        mode that the family does not have.
    template_index : int or None
        Which template, for ``library``; drawn if None.
    level_left : float or None
        Median background left of the break, DN/s; drawn for the star if None.
    side_ratio : float or None
        Scale right of the break over scale left of it; drawn within 3 per cent of 1 if None.
    outside_strength : float
        Amplitude of the extra mode of ``outside``, as a fraction.
    wings : str
        Wing variant, see `wings.WING_VARIANTS`, or ``random``.
    contamination : {"none", "typical", "crowded"}
        Other sources in the field.
    background_drift : float
        Linear change of the background over the exposure, per cent from first to last
        integration.
    star_scatter : float
        Relative scatter of the star from integration to integration.
    n_groups : int or None
        Groups per integration; from the star's level if None.
    noise : bool
        Whether there is noise; without it fixed defects remain.
    one_over_f : float
        Residual 1/f noise per column and integration, DN/s.
    bad_pixels, unflagged_pixels : float
        Fractions of bad pixels with and without a flag.
    cosmic_rays : float
        Fraction of pixels per integration with a cosmic ray that is left in the data.
    reference_pixels : bool
        Whether there is a border of reference pixels.
    noise_seed, defects_seed : int or None
        Seeds of the noise and of the bad pixels, where several exposures shall have the
        same sky but not the same noise, or the same detector; `seed` if None.
    """

    seed: int = 0
    star: str = "bright"
    subarray: str = "SUBSTRIP256"
    filter: str = "CLEAR"
    nints: int = 20
    pwcpos: float = PWCPOS_COMMANDED
    background: str = "library"
    template_index: int | None = None
    level_left: float | None = None
    side_ratio: float | None = None
    outside_strength: float = 0.02
    wings: str = "reference"
    contamination: str = "typical"
    background_drift: float = 0.0
    star_scatter: float = 2e-4
    n_groups: int | None = None
    noise: bool = True
    one_over_f: float = 0.05
    bad_pixels: float = 0.01
    unflagged_pixels: float = 0.002
    cosmic_rays: float = 1e-4
    reference_pixels: bool = True
    noise_seed: int | None = None
    defects_seed: int | None = None


@dataclass(frozen=True)
class Truth:
    """What a scene really holds.  Images have shape (ny, nx) and are in DN/s.

    Attributes
    ----------
    background : ndarray, float32
        Noiseless background, mean over the exposure.
    background_factors : ndarray, shape (nints,)
        Factor on `background` in each integration; their mean is 1.
    scale_left, scale_right : float
        Factors on `template` left and right of the break.
    level_left, level_right : float
        Median background more than 60 columns left and right of the break, DN/s; right
        only up to column 950.
    break_columns : ndarray, shape (ny,)
        Column of the break in each row.
    right_fraction : ndarray, float32
        Profile of the break, 0 left and 1 right; the background is `template` times
        scale_left + (scale_right - scale_left) * right_fraction.
    template : ndarray, float32
        True background shape.
    template_index : int or None
        Its index where it is one of the library.
    weights : ndarray, shape (n,)
        Weights of the library's templates; all zero where it is not made from them.
    star : ndarray, float32
        Star with its wings.
    star_factors : ndarray, shape (nints,)
        Factor on `star` in each integration.
    field : ndarray, float32
        Zero orders and field stars.
    sources : Field
        Their positions and brightness.
    wing : Wing
        Shape of the wings.
    """

    background: np.ndarray
    background_factors: np.ndarray
    scale_left: float
    scale_right: float
    level_left: float
    level_right: float
    break_columns: np.ndarray
    right_fraction: np.ndarray
    template: np.ndarray
    template_index: int | None
    weights: np.ndarray
    star: np.ndarray
    star_factors: np.ndarray
    field: np.ndarray
    sources: Field
    wing: Wing
