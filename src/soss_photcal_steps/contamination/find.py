"""From an image to sources and the wavelengths that each of them spoils."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from soss_photcal_steps.contamination.detect import Detection, detect_sources
from soss_photcal_steps.contamination.mapping import (
    APERTURE_HALF_WIDTH,
    AffectedInterval,
    affected_intervals,
    star_in_box,
)
from soss_photcal_steps.trace import ORDERS, trace_positions

__all__ = ["Contamination", "find_contamination", "rough_sky", "traces_of"]


@dataclass(frozen=True)
class Contamination:
    """Sources of an image, and what they spoil.

    Attributes
    ----------
    detection : Detection
        The sources.
    intervals : tuple of tuple of AffectedInterval
        For each source, in the same order.
    star : mapping of int to ndarray, shape (nx,)
        Light of the star in the aperture of each order, DN/s.
    """

    detection: Detection
    intervals: tuple[tuple[AffectedInterval, ...], ...]
    star: Mapping[int, np.ndarray]


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
        Whether the background was subtracted; if not, `rough_sky` is.
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
    detection = detect_sources(image, good, lines, traces, n_sigma=n_sigma)
    model = np.nan_to_num(detection.smooth.model)
    star = {order: star_in_box(model, lines, order, pwcpos, half_width) for order in traces}
    intervals = []
    for number in range(1, len(detection.sources) + 1):
        light = np.where(detection.labels == number, detection.light, 0.0)
        found = affected_intervals(
            light, lines, pwcpos, star,
            orders=tuple(traces), half_width=half_width, least_effect=least_effect,
        )  # fmt: skip
        intervals.append(tuple(found))
    return Contamination(detection, tuple(intervals), star)
