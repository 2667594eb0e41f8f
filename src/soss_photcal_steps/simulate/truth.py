"""What a simulated observation really holds, order by order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from soss_photcal_steps.simulate.field import Field, field_image
from soss_photcal_steps.simulate.instrument import APERTURE_WIDTH, filed_error, response
from soss_photcal_steps.simulate.kernels import aperture_share
from soss_photcal_steps.simulate.observation import CalibratedLight, ObservationPlan
from soss_photcal_steps.simulate.scene import Exposure
from soss_photcal_steps.simulate.star import core_image
from soss_photcal_steps.simulate.wings import Wing, wing_image
from soss_photcal_steps.trace import (
    DETECTOR_SIZE,
    ORDERS,
    SUBSTRIP256_FIRST_ROW,
    subarray_rows,
    trace_positions,
    wavelengths,
)

__all__ = [
    "CONTAMINATION_LIMIT",
    "ObservationTruth",
    "OrderTruth",
    "box_sum",
    "contamination_counts",
    "contamination_intervals",
    "light_inside",
    "observation_truth",
    "order_truth",
]

#: Contamination above this fraction of the star's counts makes an interval.
CONTAMINATION_LIMIT = 0.005
# Reference pixels, which see no light: columns at both sides, and rows at the top of SUBSTRIP256.
_SIDES, _TOP = 4, {"SUBSTRIP256": 4, "SUBSTRIP96": 0}


@dataclass(frozen=True)
class OrderTruth:
    """Truth of one order of one observation.  Arrays are over columns 0 to 2047.

    Attributes
    ----------
    order : int
        Spectral order.
    wavelength : ndarray
        At the centre of the trace, um.
    flux, model_flux : ndarray
        True flux of the star, and the flux that its model gives, MJy.
    response : ndarray
        True conversion, MJy per (DN/s).
    filed_error : ndarray
        Ratio of the conversion in the pack's photom file to the true one.
    counts : ndarray
        Light of the order in a whole aperture: throughput * flux / response, DN/s.
    inside : ndarray
        Share of that light that falls on pixels of the subarray which see light.  It is below 1
        where the aperture is cut by the edge of the subarray, and 0 in the border columns.
    background, neighbours, contamination : ndarray
        Background, light of the other orders of the star, and light of other sources in the
        aperture, mean over the exposure, DN/s.
    intervals : ndarray, shape (n, 2)
        Shortest and longest wavelength of each stretch where contamination is above
        `CONTAMINATION_LIMIT` of the star's counts, um.
    """

    order: int
    wavelength: np.ndarray
    flux: np.ndarray
    model_flux: np.ndarray
    response: np.ndarray
    filed_error: np.ndarray
    counts: np.ndarray
    inside: np.ndarray
    background: np.ndarray
    neighbours: np.ndarray
    contamination: np.ndarray
    intervals: np.ndarray

    @property
    def expected_ratio(self) -> np.ndarray:
        """Ratio of observed to model flux that a perfect reduction finds with the pack's file.

        This is the filed error, times the error of the star's model, the loss of throughput
        and the share of the light inside the subarray.
        """
        return self._ratio(self.counts * self.inside)

    @property
    def expected_box_ratio(self) -> np.ndarray:
        """Ratio that a sum over the aperture finds: other orders and sources are in it too.

        The background is taken as subtracted perfectly.
        """
        return self._ratio(self.counts * self.inside + self.neighbours + self.contamination)

    def _ratio(self, counts: np.ndarray) -> np.ndarray:
        return counts * self.response * self.filed_error / self.model_flux


@dataclass(frozen=True)
class ObservationTruth:
    """Truth of one observation.

    Attributes
    ----------
    star : str
        Name of the standard in CALSPEC; ``none`` for a dedicated background.
    files : tuple of str
        Names of the files.
    plan : dict
        Values of the plan: numbers, date, angle, seeds and so on.
    template_index : int or None
        True background template, where it is one of the library.
    weights : ndarray
        Weights of the library's templates.
    scale_left, scale_right : float
        Scales of the template left and right of the break.
    background_factors : ndarray, shape (nints,)
        Factor on the background in each integration.
    background : ndarray, shape (ny, 2048), float32
        Noiseless background, DN/s.
    zero_orders : ndarray, shape (n, 3)
        Column, row and peak of the zero orders, DN/s.
    n_groups : int
        Groups per integration.
    orders : dict of int to OrderTruth
        Truth of each order; empty for a dedicated background.
    """

    star: str
    files: tuple[str, ...]
    plan: dict[str, object]
    template_index: int | None
    weights: np.ndarray
    scale_left: float
    scale_right: float
    background_factors: np.ndarray
    background: np.ndarray
    zero_orders: np.ndarray
    n_groups: int
    orders: dict[int, OrderTruth]


def _lit_rows(subarray: str) -> tuple[int, int]:
    """First row that sees light, and the one after the last, pixels of SUBSTRIP256."""
    span = subarray_rows(subarray)
    first = span.start - SUBSTRIP256_FIRST_ROW
    return first, span.stop - SUBSTRIP256_FIRST_ROW - _TOP[subarray]


def box_sum(image: np.ndarray, order: int, pwcpos: float, subarray: str) -> np.ndarray:
    """Sum an image over the aperture, at each column.

    Pixels that the ends of the aperture cut are counted by the part inside; reference pixels
    count nothing.

    Parameters
    ----------
    image : ndarray, shape (n_rows, 2048)
        Image of the subarray, DN/s.
    order : {1, 2, 3}
        Order on whose trace the aperture lies.
    pwcpos : float
        Angle of the pupil wheel, degrees.
    subarray : str
        Subarray of the image.

    Returns
    -------
    ndarray, shape (2048,)
        DN/s.
    """
    first, last = _lit_rows(subarray)
    rows = np.arange(first, last)[:, None]
    centre = trace_positions(order, pwcpos)
    weight = np.clip(APERTURE_WIDTH / 2 + 0.5 - np.abs(rows - centre), 0.0, 1.0)
    weight[:, :_SIDES] = weight[:, DETECTOR_SIZE - _SIDES :] = 0.0
    return np.einsum("ij,ij->j", weight, image[: last - first], dtype=float)


@lru_cache(maxsize=64)
def _light_inside(order: int, pwcpos: float, subarray: str) -> tuple[np.ndarray, np.ndarray]:
    first, last = _lit_rows(subarray)
    columns = np.arange(DETECTOR_SIZE, dtype=float)
    centre = trace_positions(order, pwcpos, columns)
    whole = np.floor(centre)
    # As in `aperture_share`, a small image holds the aperture, here with its true rows.
    half = int(APERTURE_WIDTH / 2) + 2
    rows = np.arange(-half, half + 1)
    one = np.ones(columns.size)
    image = core_image(order, one, centre - whole, columns, -half, rows.size)
    image += wing_image(one, centre - whole, columns, rows, Wing())
    distance = np.abs(rows[:, None] - (centre - whole))
    weight = np.clip(APERTURE_WIDTH / 2 + 0.5 - distance, 0.0, 1.0)
    real = rows[:, None] + whole
    weight[(real < first) | (real >= last)] = 0.0
    weight[:, :_SIDES] = weight[:, DETECTOR_SIZE - _SIDES :] = 0.0
    share = (weight * image).sum(axis=0) / aperture_share(order, APERTURE_WIDTH, pwcpos, columns)
    pixels = weight.sum(axis=0)
    share.setflags(write=False)
    pixels.setflags(write=False)
    return share, pixels


def light_inside(
    order: int, pwcpos: float, subarray: str = "SUBSTRIP256"
) -> tuple[np.ndarray, np.ndarray]:
    """Share of the aperture's light, and its pixels, on the part of the subarray that is lit.

    Parameters
    ----------
    order : {1, 2, 3}
        Spectral order.
    pwcpos : float
        Angle of the pupil wheel, degrees.
    subarray : {"SUBSTRIP256", "SUBSTRIP96"}, optional
        Subarray.

    Returns
    -------
    share : ndarray, shape (2048,)
        Share of the light, 0 to 1; read-only.
    pixels : ndarray, shape (2048,)
        Pixels, 0 to 40; read-only.
    """
    return _light_inside(order, pwcpos, subarray)


@lru_cache(maxsize=16)
def _contamination(
    zero_orders: tuple[tuple[float, float, float], ...],
    traces: tuple[tuple[int, float, float, float], ...],
    pwcpos: float,
    subarray: str,
) -> dict[int, np.ndarray]:
    span = subarray_rows(subarray)
    rows = np.arange(span.start, span.stop) - SUBSTRIP256_FIRST_ROW
    sources = Field(np.array(zero_orders, dtype=float).reshape(-1, 3), traces)
    image = field_image(sources, rows, pwcpos)
    sums = {order: box_sum(image, order, pwcpos, subarray) for order in ORDERS}
    for array in sums.values():
        array.setflags(write=False)
    return sums


def contamination_counts(plan: ObservationPlan) -> dict[int, np.ndarray]:
    """Light of the planned sources in the apertures.

    Parameters
    ----------
    plan : ObservationPlan
        The observation; sources that are drawn are not counted.

    Returns
    -------
    dict of int to ndarray, shape (2048,)
        DN/s, for each order; read-only.
    """
    if not (plan.zero_orders or plan.traces):
        return {order: np.zeros(DETECTOR_SIZE) for order in ORDERS}
    return _contamination(plan.zero_orders, plan.traces, plan.pwcpos, plan.subarray)


def contamination_intervals(
    wavelength: np.ndarray, contamination: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Give the stretches of wavelength where contamination is above the limit.

    Parameters
    ----------
    wavelength : ndarray, shape (n,)
        Wavelengths along the columns, um.
    contamination, counts : ndarray, shape (n,)
        Light of other sources and of the star in the aperture, DN/s.

    Returns
    -------
    ndarray, shape (m, 2)
        Shortest and longest wavelength of each stretch, rising, um.
    """
    above = (contamination > CONTAMINATION_LIMIT * counts) & (counts > 0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], above, [False]]).astype(int)))
    ends = np.sort(wavelength[np.column_stack([edges[::2], edges[1::2] - 1])], axis=1)
    return ends[np.argsort(ends[:, 0])]


def order_truth(
    plan: ObservationPlan,
    order: int,
    *,
    background: np.ndarray | None = None,
    neighbours: np.ndarray | None = None,
    contamination: np.ndarray | None = None,
) -> OrderTruth:
    """Work out the truth of one order.

    Parameters
    ----------
    plan : ObservationPlan
        The observation, of a star.
    order : {1, 2, 3}
        Spectral order.
    background, neighbours, contamination : ndarray, shape (2048,), optional
        What is in the aperture beside the order's light, DN/s; none if not given.

    Returns
    -------
    OrderTruth
        The truth.

    Raises
    ------
    ValueError
        If the observation has no star.
    """
    if plan.star is None:
        raise ValueError("a dedicated background has no spectrum")
    columns = np.arange(DETECTOR_SIZE, dtype=float)
    wave = wavelengths(order, columns, plan.pwcpos)
    inside, _ = light_inside(order, plan.pwcpos, plan.subarray)
    counts = CalibratedLight(plan.star, plan.pwcpos, plan.throughput).counts(order, columns)
    nothing = np.zeros(DETECTOR_SIZE)
    other = nothing if contamination is None else contamination
    return OrderTruth(
        order=order,
        wavelength=wave,
        flux=plan.star.true_flux(wave),
        model_flux=plan.star.model_flux(wave),
        response=response(order, wave),
        filed_error=filed_error(order, wave),
        counts=counts,
        inside=inside,
        background=nothing if background is None else background,
        neighbours=nothing if neighbours is None else neighbours,
        contamination=other,
        intervals=contamination_intervals(wave, other, counts * inside),
    )


def observation_truth(plan: ObservationPlan, exposure: Exposure) -> ObservationTruth:
    """Work out the truth of an observation from its noiseless scene.

    Parameters
    ----------
    plan : ObservationPlan
        The observation.
    exposure : Exposure
        Its scene.

    Returns
    -------
    ObservationTruth
        The truth.
    """
    scene = exposure.truth
    orders = {}
    if plan.star is not None:
        for order in ORDERS:
            place = (order, plan.pwcpos, plan.subarray)
            bare = order_truth(plan, order)
            orders[order] = order_truth(
                plan,
                order,
                background=box_sum(scene.background, *place),
                neighbours=box_sum(scene.star, *place) - bare.counts * bare.inside,
                contamination=box_sum(scene.field, *place),
            )
    values = {name: getattr(plan, name) for name in plan.__dataclass_fields__ if name != "star"}
    return ObservationTruth(
        star="none" if plan.star is None else plan.star.calspec,
        files=tuple(plan.filenames),
        plan=values,
        template_index=scene.template_index,
        weights=scene.weights,
        scale_left=scene.scale_left,
        scale_right=scene.scale_right,
        background_factors=scene.background_factors,
        background=scene.background,
        zero_orders=scene.sources.zero_orders,
        n_groups=exposure.n_groups,
        orders=orders,
    )
