"""From an image to sources and the wavelengths that each of them spoils."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation

from soss_photcal_steps.contamination.detect import Detection, Source, detect_sources
from soss_photcal_steps.contamination.foreign import ForeignTrace, find_foreign_traces
from soss_photcal_steps.contamination.mapping import (
    APERTURE_HALF_WIDTH,
    AffectedInterval,
    affected_intervals,
    star_in_box,
)
from soss_photcal_steps.trace import ORDERS, trace_positions

__all__ = ["BREAK_COLUMNS", "Contamination", "find_contamination", "rough_sky", "traces_of"]

#: Columns where nothing is looked for if the background was not subtracted: the break in the
#: zodiacal light is near column 700, tilted by some 8 columns, with a tail of some 30.
BREAK_COLUMNS = (678, 722)


@dataclass(frozen=True)
class Contamination:
    """Sources of an image, and what they spoil.

    Attributes
    ----------
    detection : Detection
        The compact sources.
    foreign : tuple of ForeignTrace
        Traces of other stars.
    intervals : tuple of tuple of AffectedInterval
        For each of `sources`.
    star : mapping of int to ndarray, shape (nx,)
        Light of the star in the aperture of each order, DN/s.
    image : ndarray, shape (ny, nx)
        The image, less a rough sky where its background was not subtracted, DN/s.
    """

    detection: Detection
    foreign: tuple[ForeignTrace, ...]
    intervals: tuple[tuple[AffectedInterval, ...], ...]
    star: Mapping[int, np.ndarray]
    image: np.ndarray

    @property
    def sources(self) -> tuple[Source, ...]:
        """Compact sources and then the traces."""
        return (*self.detection.sources, *(one.source for one in self.foreign))


def traces_of(filter_name: str, pwcpos: float, n_columns: int = 2048) -> dict[int, np.ndarray]:
    """Rows of the traces that an exposure shows.

    Parameters
    ----------
    filter_name : str
        ``CLEAR`` or ``F277W``, which lets only order 1 through.
    pwcpos : float
        Angle of the pupil wheel, degrees.
    n_columns : int, optional
        Columns.

    Returns
    -------
    dict of int to ndarray
        Row per column for each order.
    """
    orders = (1,) if filter_name.upper() == "F277W" else ORDERS
    columns = np.arange(n_columns, dtype=float)
    return {order: trace_positions(order, pwcpos, columns) for order in orders}


def rough_sky(
    image: np.ndarray, good: np.ndarray, lines: np.ndarray, traces: Mapping[int, np.ndarray]
) -> np.ndarray:
    """Give a sky for images whose background was not subtracted.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Image, DN/s.
    good : ndarray of bool
        Valid pixels.
    lines : ndarray, shape (ny,)
        Rows in the coordinates of `traces`.
    traces : mapping of int to ndarray, shape (nx,)
        Rows of the traces.

    Returns
    -------
    ndarray, shape (nx,)
        A low quantile of each column 30 pixels and more from all traces, median over 31
        columns, DN/s.  The wings of the star are in it, so it is too high by some tenths.
    """
    near = np.zeros(image.shape, bool)
    for trace in traces.values():
        near |= np.abs(np.asarray(lines, float)[:, None] - trace) < 30
    values = np.where(good & ~near & np.isfinite(image), image, np.nan)
    known = np.isfinite(values).sum(axis=0) > 10
    if not known.any():
        return np.zeros(image.shape[1])
    sky = np.zeros(image.shape[1])
    columns = np.arange(sky.size)
    sky[known] = np.nanquantile(values[:, known], 0.25, axis=0)
    sky[~known] = np.interp(columns[~known], columns[known], sky[known])
    return np.array([np.median(sky[max(i - 15, 0) : i + 16]) for i in columns])


def find_contamination(
    image: np.ndarray,
    good: np.ndarray,
    lines: np.ndarray,
    pwcpos: float,
    *,
    filter_name: str = "CLEAR",
    subtracted: bool = True,
    n_sigma: float = 5.0,
    least_effect: float = 0.002,
    half_width: float = APERTURE_HALF_WIDTH,
) -> Contamination:
    """Find the sources of an image and the wavelengths that they spoil.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Count rate, DN/s.
    good : ndarray of bool
        Valid pixels.
    lines : ndarray, shape (ny,)
        Rows, pixels of SUBSTRIP256.
    pwcpos : float
        Angle of the pupil wheel, degrees.
    filter_name : {"CLEAR", "F277W"}, optional
        Filter.
    subtracted : bool, optional
        Whether the background was subtracted; if not, `rough_sky` is, and nothing is looked
        for within `BREAK_COLUMNS`.
    n_sigma : float, optional
        Threshold of the detection.
    least_effect : float, optional
        Least ratio of a source's light to the star's that makes an interval.
    half_width : float, optional
        Half width of the extraction aperture, pixels.

    Returns
    -------
    Contamination
        Sources and intervals.
    """
    traces = traces_of(filter_name, pwcpos, image.shape[1])
    if not subtracted:
        image = image - rough_sky(image, good, lines, traces)
        good = good & ~_break_zone(image.shape[1])
    detection = detect_sources(image, good, lines, traces, n_sigma=n_sigma)
    covered = binary_dilation(detection.labels > 0, np.ones((9, 9), bool))
    foreign = find_foreign_traces(image, good, lines, traces, covered, n_sigma=n_sigma)
    model = np.nan_to_num(detection.smooth.model) - sum(one.light for one in foreign)
    star = {order: star_in_box(model, lines, order, pwcpos, half_width) for order in traces}
    numbers = range(1, len(detection.sources) + 1)
    lights = [np.where(detection.labels == number, detection.light, 0.0) for number in numbers]
    intervals = [
        tuple(
            affected_intervals(
                light, lines, pwcpos, star,
                orders=tuple(traces), half_width=half_width, least_effect=least_effect,
            )
        )
        for light in [*lights, *(one.light for one in foreign)]
    ]  # fmt: skip
    return Contamination(detection, tuple(foreign), tuple(intervals), star, image)


def _break_zone(n_columns: int) -> np.ndarray:
    """Columns of the break in the sky, where a rough sky is not good enough."""
    columns = np.arange(n_columns)
    return (columns >= BREAK_COLUMNS[0]) & (columns <= BREAK_COLUMNS[1])
