"""Campaigns: sets of observations of the standard stars, as the calibration is made from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from math import ceil

import numpy as np

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate.library import TemplateLibrary, make_library
from soss_photcal_steps.simulate.observation import (
    ObservationPlan,
    background_plan,
    zero_order_on_trace,
)
from soss_photcal_steps.simulate.standards import STANDARDS, StandardStar
from soss_photcal_steps.trace import PWCPOS_COMMANDED

__all__ = ["CAMPAIGN_KINDS", "Campaign", "make_campaign", "report_campaign", "small_campaign"]

#: Kinds of campaign, and what is in them.
CAMPAIGN_KINDS = {
    "small": "four observations of three stars with one or two integrations",
    "standards": "eight observations of five stars, one for each curve of the report",
    "report": "the 33 observations of Table 3 of the report",
}
# The angle of the wheel repeats to some hundredths of a degree.
_PWCPOS_SCATTER, _PWCPOS_LIMIT = 0.04, 0.09
# Program, observation, star and date: Table 3 of JWST-STScI-009248.
_LOG = (
    (1091, 2, "bd60d1753", "2022-06-05"), (1539, 2, "bd60d1753", "2022-07-19"),
    (1536, 9, "1743045", "2022-08-09"), (1539, 77, "bd60d1753", "2022-08-30"),
    (1539, 27, "bd60d1753", "2022-09-16"), (1537, 2, "g191b2b", "2022-09-21"),
    (1539, 37, "bd60d1753", "2023-02-09"), (1539, 167, "bd60d1753", "2023-02-21"),
    (1539, 42, "bd60d1753", "2023-03-10"), (1538, 12, "p177d", "2023-04-02"),
    (1539, 47, "bd60d1753", "2023-04-06"), (1539, 52, "bd60d1753", "2023-05-03"),
    (1539, 57, "bd60d1753", "2023-05-30"), (1539, 62, "bd60d1753", "2023-06-30"),
    (4499, 4, "bd60d1753", "2023-07-06"), (4499, 11, "bd60d1753", "2023-07-30"),
    (4498, 24, "p330e", "2023-08-21"), (4499, 18, "bd60d1753", "2023-09-05"),
    (4499, 25, "bd60d1753", "2023-09-26"), (4499, 32, "bd60d1753", "2024-01-10"),
    (4499, 39, "bd60d1753", "2024-02-07"), (4499, 46, "bd60d1753", "2024-03-03"),
    (4499, 53, "bd60d1753", "2024-03-31"), (4499, 60, "bd60d1753", "2024-04-28"),
    (4499, 67, "bd60d1753", "2024-05-26"), (4499, 74, "bd60d1753", "2024-06-23"),
    (6607, 5, "bd60d1753", "2024-07-26"), (6606, 24, "p330e", "2024-08-05"),
    (6607, 115, "bd60d1753", "2024-09-25"), (6607, 112, "bd60d1753", "2025-01-08"),
    (6607, 114, "bd60d1753", "2025-04-01"), (6607, 113, "bd60d1753", "2025-05-02"),
    (6606, 42, "p330e", "2025-05-22"),
)  # fmt: skip
_STABILITY = (1539, 4499, 6607)
# The report gives 876 integrations for program 1091; the other numbers are plausible.
_NINTS = {(1091, 2): 876}
_NINTS_STABILITY, _NINTS_STANDARD = 20, 30
_FULL_SEGMENT = 219
# Zero orders that the report names (sections 6.2 to 6.5): order, wavelength in um, peak in DN/s,
# distance from the trace in pixels.  The peaks are such that the features are of some per cent.
_ON_TRACE = {
    (1536, 9): ((1, 1.550, 40.0, -18.0), (2, 0.770, 8.0, 0.0)),
    (1537, 2): (
        (1, 0.8536, 2.0, 0.0), (1, 1.116, 3.0, 0.0), (1, 1.248, 2.0, 0.0), (1, 1.337, 2.0, 0.0),
        (1, 1.350, 2.0, 0.0), (1, 1.708, 2.0, 0.0), (1, 2.004, 2.0, 0.0), (2, 0.6584, 2.0, 0.0),
        (2, 0.7494, 2.0, 0.0),
    ),
}  # fmt: skip
# Zero orders whose columns and rows the report gives.
_AT_PIXEL = {
    (1538, 12): ((729.0, 77.0, 5.0),),
    (6606, 24): ((700.0, 71.0, 5.0), (1019.0, 115.0, 4.0)),
    (6606, 42): ((1303.0, 34.0, 4.0),),
}
# Dispersed field stars: order, shift in columns and rows, peak in DN/s.  The first two reach in
# from the left to about 2.4 um; the third crosses order 1 and makes a broad hump there.
_TRACES = {
    (1536, 9): ((1, -1960.0, 5.0, 1.5),),
    (1537, 2): ((1, -1960.0, 5.0, 1.5),),
    (4498, 24): ((2, -1170.0, -114.0, 0.9),),
}
# Order and wavelengths over which the report used the curves (sections 6 and 7), um.
_USABLE = {
    (1536, 9): ((1, 0.85, 2.0), (2, 0.58, 1.023)),
    (1537, 2): ((1, 0.85, 2.0), (2, 0.58, 1.01)),
    (4498, 24): ((1, 0.85, 2.1), (1, 2.6, 2.83)),
}
_BACKGROUNDS = {(6606, 42): 43}


@dataclass(frozen=True)
class Campaign:
    """A set of observations that share a library of background templates.

    Attributes
    ----------
    name : str
        Name of the campaign.
    observations : tuple of ObservationPlan
        The observations, without their dedicated backgrounds.
    seed : int
        Seed of the library.
    n_templates : int
        Templates in the library.
    """

    name: str
    observations: tuple[ObservationPlan, ...]
    seed: int = 0
    n_templates: int = 6

    def __post_init__(self) -> None:
        """Make sure that no two observations have the same name."""
        if not self.observations:
            raise SossInputError("A campaign needs at least one observation.")
        roots = [plan.root for plan in self.all_plans]
        for root in roots:
            if roots.count(root) > 1:
                raise SossInputError(
                    f"Two observations of the campaign {self.name!r} are called {root}."
                )

    @property
    def all_plans(self) -> list[ObservationPlan]:
        """The observations, each followed by its dedicated background."""
        return list(
            chain.from_iterable(
                (plan,) if plan.background_observation is None else (plan, background_plan(plan))
                for plan in self.observations
            )
        )

    @property
    def stars(self) -> dict[str, StandardStar]:
        """The stars, by their names in CALSPEC."""
        return {plan.star.calspec: plan.star for plan in self.observations if plan.star}

    def library(self) -> TemplateLibrary:
        """Make the library of background templates.

        Returns
        -------
        TemplateLibrary
            Templates for SUBSTRIP256, which also serve SUBSTRIP96.
        """
        return make_library(self.n_templates, self.seed)


def _angles(rng: np.random.Generator, n: int) -> list[float]:
    offsets = np.clip(rng.normal(0, _PWCPOS_SCATTER, n), -_PWCPOS_LIMIT, _PWCPOS_LIMIT)
    return [round(PWCPOS_COMMANDED + float(offset), 4) for offset in offsets]


def small_campaign(seed: int = 0, *, stars: dict[str, StandardStar] | None = None) -> Campaign:
    """Plan four short observations: enough for every leg of a calibration, in seconds.

    They are a single integration of an A star and of a solar-type star, two integrations of
    the A star in two segments, and a ``rate`` of a white dwarf with two integrations and a
    dedicated background.  The first is at the commanded angle of the pupil wheel, the others
    some hundredths of a degree beside it.

    Parameters
    ----------
    seed : int, optional
        Seed of all that is drawn.
    stars : dict of str to StandardStar, optional
        Stars by their names in CALSPEC, in the place of the embedded ones.

    Returns
    -------
    Campaign
        The plan.
    """
    known = STANDARDS | (stars or {})
    seeds = [1000 * seed + number for number in range(1, 5)]
    return Campaign(
        "small",
        (
            ObservationPlan(
                known["bd60d1753"], 1512, 1, start="2022-07-14T06:00:00", template_index=1,
                level_left=2.6, side_ratio=1.01, seed=seeds[0], defects_seed=seed,
            ),
            ObservationPlan(
                known["p330e"], 1513, 2, start="2023-03-02T10:00:00", pwcpos=245.79,
                template_index=3, level_left=3.4, side_ratio=0.985, seed=seeds[1],
                defects_seed=seed,
                zero_orders=(
                    zero_order_on_trace(1, 1.7, 20.0, pwcpos=245.79),
                    (1019.0, 205.0, 40.0),
                    (1500.0, 150.0, 15.0),
                ),
            ),
            ObservationPlan(
                known["bd60d1753"], 1514, 3, start="2023-09-20T18:00:00", nints=2, segments=2,
                pwcpos=245.74, template_index=4, level_left=2.9, side_ratio=1.02, seed=seeds[2],
                defects_seed=seed,
            ),
            ObservationPlan(
                known["g191b2b"], 1515, 4, start="2024-02-11T01:00:00", product="rate", nints=2,
                pwcpos=245.77, template_index=0, level_left=4.0, side_ratio=0.99, seed=seeds[3],
                defects_seed=seed, background_observation=5,
            ),
        ),
        seed,
    )  # fmt: skip


def report_campaign(
    seed: int = 0,
    *,
    stability: int | None = None,
    max_nints: int | None = None,
    grey_scatter: float = 0.01,
    shape_scatter: float = 0.005,
    loss_per_year: float = 0.0,
    stars: dict[str, StandardStar] | None = None,
) -> Campaign:
    """Plan the observations of Table 3 of the report JWST-STScI-009248.

    Stars, programs, dates, contamination by named zero orders, the ranges over which the
    report used each curve and the dedicated background are the report's.  Numbers of
    integrations (except the 876 of program 1091), strengths of the contamination,
    backgrounds and angles are plausible ones.

    Parameters
    ----------
    seed : int, optional
        Seed of all that is drawn.
    stability : int, optional
        Only so many of the 26 observations of the stability programs, evenly chosen; all if
        not given.
    max_nints : int, optional
        At most so many integrations of each observation.
    grey_scatter, shape_scatter : float, optional
        Standard deviations of the errors of the stars' models: of their level, and of a smooth
        wave along the wavelength.
    loss_per_year : float, optional
        Relative loss of throughput in all orders per year since 2022-06-01.
    stars : dict of str to StandardStar, optional
        Stars by their names in CALSPEC, in the place of the embedded ones; their errors are
        kept as they are.

    Returns
    -------
    Campaign
        The plan.

    Raises
    ------
    SossInputError
        If a number is out of its range.
    """
    stable = [row for row in _LOG if row[0] in _STABILITY]
    if stability is not None and not 0 <= stability <= len(stable):
        raise SossInputError(
            f"There are 0 to {len(stable)} observations of stability, not {stability}."
        )
    if max_nints is not None and max_nints < 1:
        raise SossInputError(f"An observation needs at least one integration, not {max_nints}.")
    rng = np.random.default_rng([seed, 81])
    known = {
        name: replace(
            star,
            grey_error=grey_scatter * rng.standard_normal(),
            shape_error=shape_scatter * rng.standard_normal(),
            shape_phase=rng.random(),
        )
        for name, star in STANDARDS.items()
    } | (stars or {})
    angles = _angles(rng, len(_LOG))
    levels = rng.uniform(2.4, 4.4, len(_LOG))
    ratios = 1 + 0.03 * rng.uniform(-1, 1, len(_LOG))
    templates = rng.integers(0, 6, len(_LOG))
    kept = set(stable)
    if stability is not None:
        chosen = np.linspace(0, len(stable) - 1, stability + 2)[1:-1].round().astype(int)
        kept = {stable[k] for k in chosen}
    plans = []
    # All is drawn for all rows, so that leaving some out does not change the others.
    for k, row in enumerate(_LOG):
        program, observation, name, date = row
        if program in _STABILITY and row not in kept:
            continue
        number = (program, observation)
        short = _NINTS_STABILITY if program in _STABILITY else _NINTS_STANDARD
        nints = min(_NINTS.get(number, short), max_nints or 10**6)
        years = (np.datetime64(date) - np.datetime64("2022-06-01")).astype(int) / 365.25
        loss = float(1 - loss_per_year * years)
        on_trace = tuple(
            zero_order_on_trace(order, wave, peak, pwcpos=angles[k], offset=offset)
            for order, wave, peak, offset in _ON_TRACE.get(number, ())
        )
        plans.append(
            ObservationPlan(
                known[name], program, observation, start=f"{date}T08:00:00", nints=nints,
                segments=ceil(nints / _FULL_SEGMENT), pwcpos=angles[k],
                template_index=int(templates[k]), level_left=round(float(levels[k]), 3),
                side_ratio=round(float(ratios[k]), 4),
                zero_orders=on_trace + _AT_PIXEL.get(number, ()),
                traces=_TRACES.get(number, ()), throughput=(loss, loss, loss),
                usable=_USABLE.get(number, ()),
                background_observation=_BACKGROUNDS.get(number),
                seed=1000 * seed + 100 + k, defects_seed=seed,
            )
        )  # fmt: skip
    return Campaign("report" if stability is None else "standards", tuple(plans), seed)


def make_campaign(
    kind: str,
    seed: int = 0,
    *,
    max_nints: int | None = None,
    stars: dict[str, StandardStar] | None = None,
) -> Campaign:
    """Plan a campaign by the name of its kind.

    Parameters
    ----------
    kind : {"small", "standards", "report"}
        Kind, see `CAMPAIGN_KINDS`.
    seed : int, optional
        Seed of all that is drawn.
    max_nints : int, optional
        At most so many integrations of each observation; a small campaign has two at most.
    stars : dict of str to StandardStar, optional
        Stars by their names in CALSPEC, in the place of the embedded ones.

    Returns
    -------
    Campaign
        The plan.

    Raises
    ------
    SossInputError
        If the kind is not known or a number is out of its range.
    """
    makers: dict[str, Callable[[], Campaign]] = {
        "small": lambda: small_campaign(seed, stars=stars),
        "standards": lambda: report_campaign(seed, stability=1, max_nints=max_nints, stars=stars),
        "report": lambda: report_campaign(seed, max_nints=max_nints, stars=stars),
    }
    if kind not in makers:
        raise SossInputError(f"The campaign {kind!r} is not one of {', '.join(makers)}.")
    return makers[kind]()
