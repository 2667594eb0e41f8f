"""One observation of a standard star: what it shall be, and the scene that it gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from astropy.time import Time

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate.detector import GROUP_TIME
from soss_photcal_steps.simulate.field import Field
from soss_photcal_steps.simulate.header import ExposureHeader
from soss_photcal_steps.simulate.library import TemplateLibrary
from soss_photcal_steps.simulate.light import CalibratedLight, zero_order_on_trace
from soss_photcal_steps.simulate.params import SceneParams
from soss_photcal_steps.simulate.scene import Exposure, make_exposure
from soss_photcal_steps.simulate.standards import StandardStar
from soss_photcal_steps.trace import DETECTOR_SIZE, PWCPOS_COMMANDED

__all__ = [
    "CalibratedLight",
    "ObservationPlan",
    "background_plan",
    "make_scene",
    "planned_field",
    "scene_params",
    "zero_order_on_trace",
]

_PRODUCTS = ("rateints", "rate")
# Ramps are planned to reach at most this many DN in the brightest pixel, which gets at most this
# share of the brightness of its column.
_FULL_WELL, _PEAK_SHARE = 30000.0, 0.068
_MOST_GROUPS = 30
_BLANK_GROUPS = 30
# Added to a seed for the noise of a dedicated background.
_BACKGROUND_NOISE = 104729


@dataclass(frozen=True)
class ObservationPlan:
    """What an observation shall be.

    Attributes
    ----------
    star : StandardStar or None
        The target; None for a dedicated background.
    program, observation, visit, exposure : int
        Numbers, as in the names of the files.
    start : str
        Start of the exposure, UTC, ISO format.
    product : {"rateints", "rate"}
        Kind of file.  A ``rate`` is the mean of all integrations and does not count as a time
        series (TSOVISIT is false), because calwebb_spec2 fails on one that does.
    nints : int
        Integrations.
    n_groups : int or None
        Groups per integration; as many as the star's brightness allows if None.
    segments : int
        Files among which the integrations are divided.
    subarray : {"SUBSTRIP256", "SUBSTRIP96"}
        Subarray; the filter is always CLEAR.
    pwcpos : float
        Angle of the pupil wheel, degrees.
    background : {"library", "mixture", "family", "outside"}
        Where the background's shape comes from, see `SceneParams`.
    template_index : int or None
        Which template of the library; drawn if None.
    level_left, side_ratio : float or None
        Background left of the break in DN/s, and scale right of it over the one left of it;
        drawn if None.
    background_drift : float
        Linear change over the exposure, per cent.
    contamination : {"none", "typical", "crowded"}
        Other sources that are drawn; not used if `zero_orders` or `traces` are given.
    zero_orders : tuple of (float, float, float)
        Column, row and peak in DN/s of each zero order.
    traces : tuple of (int, float, float, float)
        Order, shift in columns and rows, and peak in DN/s of each dispersed field star.
    throughput : tuple of float
        Factor on the counts of orders 1, 2 and 3: loss of throughput over the years.
    usable : tuple of (int, float, float)
        Order and wavelengths (um) over which a calibration is meant to use the observation;
        an order that does not occur is meant to be used wholly.
    background_observation : int or None
        Number of the observation that is its dedicated background; none if None.
    seed : int
        Seed of all that is drawn.
    noise_seed, defects_seed : int or None
        Seeds of the noise and of the bad pixels; `seed` if None.
    noise : bool
        Whether there is noise.
    one_over_f, bad_pixels, unflagged_pixels, cosmic_rays, star_scatter : float
        As in `SceneParams`.
    """

    star: StandardStar | None
    program: int = 1512
    observation: int = 1
    visit: int = 1
    exposure: int = 1
    start: str = "2023-01-01T06:00:00"
    product: str = "rateints"
    nints: int = 1
    n_groups: int | None = None
    segments: int = 1
    subarray: str = "SUBSTRIP256"
    pwcpos: float = PWCPOS_COMMANDED
    background: str = "library"
    template_index: int | None = None
    level_left: float | None = None
    side_ratio: float | None = None
    background_drift: float = 0.0
    contamination: str = "none"
    zero_orders: tuple[tuple[float, float, float], ...] = ()
    traces: tuple[tuple[int, float, float, float], ...] = ()
    throughput: tuple[float, float, float] = (1.0, 1.0, 1.0)
    usable: tuple[tuple[int, float, float], ...] = ()
    background_observation: int | None = None
    seed: int = 0
    noise_seed: int | None = None
    defects_seed: int | None = None
    noise: bool = True
    one_over_f: float = 0.05
    bad_pixels: float = 0.01
    unflagged_pixels: float = 0.002
    cosmic_rays: float = 1e-4
    star_scatter: float = 2e-4

    def __post_init__(self) -> None:
        """Check the values that are not checked where they are used."""
        if self.product not in _PRODUCTS:
            raise SossInputError(
                f"The product is one of {' and '.join(_PRODUCTS)}, not {self.product!r}."
            )
        if self.nints < 1:
            raise SossInputError(
                f"An observation needs at least one integration, not {self.nints}."
            )
        if not 1 <= self.segments <= self.nints:
            raise SossInputError(
                f"{self.nints} integrations cannot be divided into {self.segments} segments."
            )
        if self.product == "rate" and self.segments != 1:
            raise SossInputError("A rate is the mean of all integrations and has one segment.")
        if self.subarray not in ("SUBSTRIP256", "SUBSTRIP96"):
            raise SossInputError(
                f"A spectrum is simulated in SUBSTRIP256 or SUBSTRIP96, not {self.subarray!r}."
            )
        if min(self.throughput) <= 0:
            raise SossInputError(f"The throughputs {self.throughput} must be positive.")
        try:
            Time(self.start, format="isot")
        except ValueError:
            raise SossInputError(
                f"The start {self.start!r} is not a time such as 2023-01-01T06:00:00."
            ) from None

    @property
    def groups(self) -> int:
        """Groups per integration, as asked for or as the star's brightness allows."""
        if self.n_groups is not None:
            return self.n_groups
        if self.star is None:
            return _BLANK_GROUPS
        columns = np.arange(0.0, DETECTOR_SIZE, 32.0)
        light = CalibratedLight(self.star, self.pwcpos)
        peak = _PEAK_SHARE * max(light.counts(order, columns).max() for order in (1, 2))
        return int(np.clip(_FULL_WELL / (peak * GROUP_TIME[self.subarray]), 3, _MOST_GROUPS))

    @property
    def segment_ranges(self) -> list[tuple[int, int]]:
        """First integration of each segment, from 0, and the one after its last."""
        edges = np.linspace(0, self.nints, self.segments + 1).round().astype(int).tolist()
        return list(pairwise(edges))

    @property
    def root(self) -> str:
        """Beginning of the names of its files."""
        visit = f"jw{self.program:05d}{self.observation:03d}{self.visit:03d}"
        return f"{visit}_03102_{self.exposure:05d}"

    @property
    def filenames(self) -> list[str]:
        """Names of its files, one for each segment."""
        if self.segments == 1:
            return [f"{self.root}_nis_{self.product}.fits"]
        return [
            f"{self.root}-seg{number:03d}_nis_{self.product}.fits"
            for number in range(1, self.segments + 1)
        ]

    @property
    def header(self) -> ExposureHeader:
        """What its header says."""
        star = self.star
        return ExposureHeader(
            target="BACKGROUND" if star is None else star.name,
            proposed_name="BACKGROUND" if star is None else star.proposed_name,
            program=self.program,
            observation=self.observation,
            visit=self.visit,
            exposure=self.exposure,
            ra=0.0 if star is None else star.ra,
            dec=0.0 if star is None else star.dec,
            proper_motion=(0.0, 0.0) if star is None else star.proper_motion,
            start_mjd=float(Time(self.start, format="isot", scale="utc").mjd),
            title="NIRISS SOSS photometric calibration (simulated)",
            time_series=self.product == "rateints",
            background_target=star is None,
        )


def background_plan(plan: ObservationPlan, *, nints: int = 2) -> ObservationPlan:
    """Plan the dedicated background of an observation: the same sky and detector, no star.

    Parameters
    ----------
    plan : ObservationPlan
        The observation; it has a `background_observation`.
    nints : int, optional
        Integrations of the background.

    Returns
    -------
    ObservationPlan
        A ``rate``, taken an hour after the observation.

    Raises
    ------
    SossInputError
        If the observation has no dedicated background.
    """
    if plan.background_observation is None:
        raise SossInputError(f"{plan.root} has no dedicated background.")
    later = Time(Time(plan.start, format="isot").mjd + 1 / 24, format="mjd")
    return replace(
        plan,
        star=None,
        observation=plan.background_observation,
        start=later.isot,
        product="rate",
        nints=nints,
        n_groups=None,
        segments=1,
        background_drift=0.0,
        contamination="none",
        zero_orders=(),
        traces=(),
        usable=(),
        background_observation=None,
        # Same sky and detector by the same seed, but not the same noise.
        noise_seed=plan.seed + _BACKGROUND_NOISE,
        defects_seed=plan.seed if plan.defects_seed is None else plan.defects_seed,
    )


def scene_params(plan: ObservationPlan) -> SceneParams:
    """Give the parameters of the scene of an observation.

    Parameters
    ----------
    plan : ObservationPlan
        The observation.

    Returns
    -------
    SceneParams
        Parameters; its `star` only decides the range from which a level is drawn.
    """
    return SceneParams(
        seed=plan.seed,
        star="none",
        subarray=plan.subarray,
        nints=plan.nints,
        pwcpos=plan.pwcpos,
        background=plan.background,
        template_index=plan.template_index,
        level_left=plan.level_left,
        side_ratio=plan.side_ratio,
        contamination=plan.contamination,
        background_drift=plan.background_drift,
        star_scatter=plan.star_scatter,
        n_groups=plan.groups,
        noise_seed=plan.noise_seed,
        defects_seed=plan.defects_seed,
        noise=plan.noise,
        one_over_f=plan.one_over_f,
        bad_pixels=plan.bad_pixels,
        unflagged_pixels=plan.unflagged_pixels,
        cosmic_rays=plan.cosmic_rays,
    )


def planned_field(plan: ObservationPlan) -> Field | None:
    """Give the sources that an observation asks for by position.

    Parameters
    ----------
    plan : ObservationPlan
        The observation.

    Returns
    -------
    Field or None
        None if sources are to be drawn.
    """
    if not (plan.zero_orders or plan.traces):
        return None
    return Field(np.array(plan.zero_orders, dtype=float).reshape(-1, 3), plan.traces)


def make_scene(plan: ObservationPlan, library: TemplateLibrary) -> Exposure:
    """Work out the scene of an observation.

    Parameters
    ----------
    plan : ObservationPlan
        The observation.
    library : TemplateLibrary
        Background templates that cover the rows of the subarray.

    Returns
    -------
    Exposure
        Its noiseless parts, and integrations on demand.

    Raises
    ------
    SossInputError
        If a value of the plan is out of its range.
    """
    light = None
    if plan.star is not None:
        light = CalibratedLight(plan.star, plan.pwcpos, plan.throughput)
    return make_exposure(scene_params(plan), library, light=light, sources=planned_field(plan))
