"""Where the sections of order 2 join: the sharp peak and the minimum at its short end.

The ratio of order 2 has a sharp peak below 0.6 um and falls steeply to a minimum near 0.60 um,
which no smooth curve follows (sections 6.1 and 7 of the report).  Both places differ from
observation to observation, and are found here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import median_filter

from soss_photcal_steps.averages import robust_scale

__all__ = ["Order2Joins", "find_order2_joins"]

# How far beyond the range of the minimum the main section is looked at, um.
_BEYOND = 0.06
# Meshes from coarse to fine, um.
_MESHES = (0.004, 0.001, 0.0005)
# A peak counts if it is this high, in units of the ratio and of its error.
_LEAST_HEIGHT, _LEAST_SIGMA = 0.03, 6.0
_LEAST_POINTS = 5
# A peak is none if the ratio rises before it by more than this part of the slope after it.
_GOES_ON = 0.5
# How well the pieces describe a curve, as a fraction of it.
_LIKENESS = 0.01
# Residuals count up to this many sigma, so that contamination does not decide.
_CLIP = 6.0


@dataclass(frozen=True)
class Order2Joins:
    """What was found at the short end of order 2.

    Attributes
    ----------
    joins : tuple of float
        Peak and minimum, um; the minimum alone where the peak is not within the data; nothing
        where the ratio does not rise steeply.
    height : float
        Ratio at the peak less that at the minimum; 0 without joins.
    """

    joins: tuple[float, ...]
    height: float


def find_order2_joins(
    x: np.ndarray,
    y: np.ndarray,
    sigma: np.ndarray,
    peak_range: tuple[float, float] = (0.55, 0.63),
    minimum_range: tuple[float, float] = (0.575, 0.67),
) -> Order2Joins:
    """Find the peak and the minimum at the short end of order 2.

    Straight pieces that meet at peak and minimum, with a parabola beyond, are fitted for all
    pairs of places on a mesh, and then on a finer one around the best.

    Parameters
    ----------
    x, y, sigma : ndarray
        Good points by rising wavelength, um, and their errors, shape (n,).
    peak_range, minimum_range : tuple of float, optional
        Where they are looked for, um.

    Returns
    -------
    Order2Joins
        The places.
    """
    near = x < minimum_range[1] + _BEYOND
    nothing = Order2Joins((), 0.0)
    if near.sum() < 6 * _LEAST_POINTS:
        return nothing
    x, y, sigma = x[near], median_filter(y[near], 3, mode="mirror"), sigma[near]
    step = (y[12:] - 2 * y[6:-6] + y[:-12]) / (np.sqrt(6) * sigma[6:-6])
    noise = robust_scale(step)
    sigma = sigma * (noise if np.isfinite(noise) and noise > 0 else 1.0)
    # Straight pieces are but a rough likeness of the curve.
    sigma = np.hypot(sigma, _LIKENESS * abs(float(np.median(y))))
    pairs = _mesh(x, np.arange(*peak_range, _MESHES[0]), np.arange(*minimum_range, _MESHES[0]))
    if not pairs.size:
        return nothing
    cost, found = _fit_chains(x, y, sigma, pairs)
    if not np.isfinite(cost).any():
        return nothing
    for coarse, fine in pairwise(_MESHES):
        peak, minimum = pairs[np.argmin(cost)]
        offsets = np.arange(-coarse, coarse + fine / 2, fine)
        peaks, minima = (
            np.clip(peak + offsets, *peak_range),
            np.clip(minimum + offsets, *minimum_range),
        )
        pairs = _mesh(x, peaks, minima, np.array([[peak, minimum]]))
        cost, found = _fit_chains(x, y, sigma, pairs)
    best = int(np.argmin(cost))
    peak, minimum = pairs[best]
    level, _, _, fall, _ = found[best]
    inside = peak > x[0]
    top = max(peak, x[0])
    height = float(fall * (minimum - top))
    here = (x >= top) & (x <= minimum)
    error = float(np.median(sigma[here]) / np.sqrt(max(here.sum() / 2, 1))) if here.any() else 0.0
    if height < max(_LEAST_HEIGHT * abs(level), _LEAST_SIGMA * error):
        return nothing
    return Order2Joins((float(peak), float(minimum)) if inside else (float(minimum),), height)


def _mesh(
    x: np.ndarray, peaks: np.ndarray, minima: np.ndarray, known: np.ndarray | None = None
) -> np.ndarray:
    """Pairs of places that leave some points to each piece, shape (pairs, 2)."""
    # A peak before the data stands for none within it.
    before = float(x[0]) - 1.0
    first, second = np.meshgrid(np.append(peaks[peaks > x[0]], before), minima)
    pairs = np.column_stack([first.ravel(), second.ravel()])
    at_peak, at_minimum = np.searchsorted(x, pairs).T
    good = (at_peak >= _LEAST_POINTS) | (pairs[:, 0] == before)
    good &= (at_minimum - at_peak >= _LEAST_POINTS) & (x.size - at_minimum >= 2 * _LEAST_POINTS)
    return pairs[good] if known is None else np.vstack([known, pairs[good]])


def _fit_chains(
    x: np.ndarray, y: np.ndarray, sigma: np.ndarray, pairs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit the chains of all pairs; give their costs and coefficients."""
    peak, minimum = pairs[:, :1], pairs[:, 1:]
    beyond = np.maximum(x - minimum, 0)
    design = np.stack(
        [
            np.ones((len(pairs), x.size)),
            beyond,
            beyond**2,
            np.clip(minimum - x, 0, minimum - peak),
            np.maximum(peak - x, 0),
        ],
        axis=-1,
    )
    weight = np.broadcast_to(1 / sigma**2, (len(pairs), x.size))
    scale = np.sqrt(np.einsum("kni,kni->ki", design, design)) + 1e-12
    design = design / scale[:, None, :]
    for _ in range(3):
        weighted = design * weight[:, :, None]
        normal = np.swapaxes(weighted, 1, 2) @ design
        trace = np.trace(normal, axis1=1, axis2=2)
        normal += 1e-9 * trace[:, None, None] * np.eye(5)
        target = (weighted * y[:, None]).sum(1)
        found = np.linalg.solve(normal, target[:, :, None])[:, :, 0]
        residual = np.abs(y - (design @ found[:, :, None])[:, :, 0]) / sigma
        # Huber's weights.
        weight = np.minimum(1, _CLIP / np.maximum(residual, 1e-12)) / sigma**2
    # The cost of a point is bounded, for a zero order not to outweigh the peak.
    cost = (np.minimum(residual, _CLIP) ** 2).sum(1)
    found = found / scale
    # The ratio has to rise towards the peak, and not to go on so before it.
    rises = (found[:, 3] > 0) & (found[:, 4] < _GOES_ON * found[:, 3])
    return np.where(rises, cost, np.inf), found
