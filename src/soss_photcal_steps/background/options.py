"""Settings of the background fit."""

from __future__ import annotations

from dataclasses import dataclass, field

from soss_photcal_steps.background.wings import WingPrior

__all__ = ["FitOptions"]


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
    wing_doubt : float
        Error of a bin's wing when sources are looked for, in units of that of the block means.
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
    lead_share : float
        The same, relative to the lead of the best template over the next.
    temperature : float
        Factor by which evidences are divided, for the correlation of the blocks.
    template : int or None
        Template to be used, counted from 0; all are tried if None.
    min_pixels : int
        Smallest number of sky pixels on either side.
    iterations : int
        Rounds of masking sources, reading off the traces and fitting.
    first_tuned : int
        First of these rounds, counted from 0, that also fits the widths of the wing's prior.
    """

    trace_half_width: float = 21.0
    block_height: int = 8
    block_width: int = 48
    prior: WingPrior = field(default_factory=WingPrior)
    wing_floor: float = 0.03
    level_floor: float = 0.0015
    source_sigma: float = 4.5
    wing_doubt: float = 2.0
    max_modes: int = 17
    mode_width: float = 1.0
    n_tilts: int = 6
    tilt_sigma: float = 0.012
    combine: str = "auto"
    margin: float = 40.0
    lead_share: float = 0.15
    temperature: float = 5.0
    template: int | None = None
    min_pixels: int = 2000
    iterations: int = 3
    first_tuned: int = 1
