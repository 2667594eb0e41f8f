"""Curves averaged on a few nodes along wavelength, with what stars and observations differ by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from soss_photcal_steps.averages import known_median
from soss_photcal_steps.combine.correlation import (
    Correlation,
    Member,
    default_correlation,
    estimate_correlation,
    gls_mean,
)
from soss_photcal_steps.combine.variance import degrees_of_freedom, pooled_variance

__all__ = ["FLOOR", "Levels", "node_edges", "node_members", "solve_levels"]

#: Relative error below which nothing is known; keeps matrices from becoming singular.
FLOOR = 1e-5
# Clipping within a node, in standard deviations by the median of the deviations.
_NODE_CLIP = 3.5
# A node needs this part of its pixels.
_COVERED = 1 / 3


@dataclass(frozen=True)
class Levels:
    """Solution on the nodes.

    Attributes
    ----------
    seen : ndarray of int
        Nodes where the mean is known, k of b.
    mean, stat_variance : ndarray, shape (k,)
        Mean relative to the pilot, and its statistical variance.
    sys_covariance : ndarray, shape (k, k)
        The rest of its covariance.
    degrees : ndarray, shape (b,)
        Degrees of freedom behind `star_variance`.
    star_variance, observation_variance : ndarray, shape (b,)
        Variance between stars, and between observations of a star.
    correlation, observation_correlation : Correlation
        Correlation along the nodes of the deviations of stars and of observations.
    star_members : list of Member
        Mean of each star's curves.
    star_deviation, deviation : ndarray, shape (s, b) and (n, b)
        Deviation of each star, and of each curve with that of its star.
    """

    seen: np.ndarray
    mean: np.ndarray
    stat_variance: np.ndarray
    sys_covariance: np.ndarray
    degrees: np.ndarray
    star_variance: np.ndarray
    observation_variance: np.ndarray
    correlation: Correlation
    observation_correlation: Correlation
    star_members: list[Member]
    star_deviation: np.ndarray
    deviation: np.ndarray


def node_edges(first: int, stop: int, n_nodes: int) -> list[tuple[int, int]]:
    """Divide a range of pixels into nodes.

    Parameters
    ----------
    first, stop : int
        First pixel, and the one after the last.
    n_nodes : int
        Largest number of nodes.

    Returns
    -------
    list of tuple of int
        First pixel of each node, and the one after its last.
    """
    number = int(np.clip((stop - first) // 8, 1, n_nodes))
    edges = np.linspace(first, stop, number + 1).round().astype(int)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def node_members(
    value: np.ndarray,
    error: np.ndarray,
    valid: np.ndarray,
    smooth: np.ndarray,
    edges: list[tuple[int, int]],
) -> list[Member]:
    """Average each curve over the pixels of each node.

    Parameters
    ----------
    value, error : ndarray
        Curves relative to the pilot and their statistical errors, shape (n, m).
    valid : ndarray of bool
        Pixels to be used, shape (n, m).
    smooth : ndarray of bool
        Curves that are a fit, shape (n,).
    edges : list of tuple of int
        The nodes, see `node_edges`.

    Returns
    -------
    list of Member
        The curves on the nodes where they are known.
    """
    size = (value.shape[0], len(edges))
    means, noise = np.full(size, np.nan), np.full(size, np.nan)
    for b, (low, high) in enumerate(edges):
        block = np.where(valid[:, low:high], value[:, low:high], np.nan).T
        kept = _near_median(block)
        count = kept.sum(axis=0)
        enough = count >= max(1, _COVERED * (high - low))
        number = np.maximum(count, 1)
        mean = np.where(kept, block, 0.0).sum(axis=0) / number
        squares = np.where(kept, error[:, low:high].T ** 2, 0.0).sum(axis=0) / number
        # The error of a fit is the same for all pixels of a node.
        squares = np.where(smooth, squares, squares / number)
        means[:, b] = np.where(enough, mean, np.nan)
        noise[:, b] = squares + FLOOR**2
    members = []
    for one, variance in zip(means, noise, strict=True):
        seen = np.flatnonzero(np.isfinite(one))
        members.append(Member(seen, one[seen], np.diag(variance[seen])))
    return members


def _near_median(block: np.ndarray) -> np.ndarray:
    """Keep values of each column near its median; a third may be contaminated."""
    kept = np.isfinite(block)
    some = kept.any(axis=0)
    middle = known_median(block[:, some])
    off = np.abs(block[:, some] - middle)
    width = 1.4826 * known_median(off)
    # A straight line has no value beyond 1.35 of these widths.
    with np.errstate(invalid="ignore"):
        kept[:, some] = off <= _NODE_CLIP * width + FLOOR
    return kept


def solve_levels(
    members: list[Member],
    star_index: np.ndarray,
    nodes: np.ndarray,
    window: float,
    variance: str,
    grey_only: bool,
    lone_star_sigma: float,
) -> Levels:
    """Average the curves of each star, and then the stars.

    Parameters
    ----------
    members : list of Member
        The curves on the nodes, see `node_members`.
    star_index : ndarray of int
        Which star each curve belongs to, shape (n,).
    nodes : ndarray
        Wavelengths of the nodes, shape (b,), um.
    window : float
        Standard deviation of the weight with which neighbouring wavelengths share in a
        variance, um.
    variance : str
        ``paule-mandel`` or ``dersimonian-laird``.
    grey_only : bool
        Whether a star deviates by a scale alone.
    lone_star_sigma : float
        Error, as a fraction, of a star that is alone.

    Returns
    -------
    Levels
        Mean, errors and deviations on the nodes.
    """
    by_star = [
        [members[j] for j in np.flatnonzero(star_index == s) if members[j].seen.size]
        for s in range(int(star_index.max()) + 1)
    ]
    corr_1 = _estimate(by_star, nodes, window, variance, grey_only)
    covariance_1 = corr_1.covariance
    star_members, star_stat = [], []
    for group in by_star:
        if not group:
            star_members.append(Member(np.empty(0, int), np.empty(0), np.empty((0, 0))))
            star_stat.append(np.empty((0, 0)))
            continue
        star = gls_mean(group, covariance_1)
        star_members.append(Member(star.seen, star.mean, star.covariance))
        star_stat.append(_propagate(star.gains, [member.noise for member in group]))
    stars = [member for member in star_members if member.seen.size]
    corr_2 = _estimate([stars], nodes, window, variance, grey_only)
    # A flat standard deviation rests on all wavelengths, a profile on those in the window.
    degrees = corr_2.flat * degrees_of_freedom([stars], nodes, np.inf, corr_2.matrix)
    degrees += (1 - corr_2.flat) * degrees_of_freedom([stars], nodes, window, corr_2.matrix)
    if len(stars) == 1:
        corr_2 = default_correlation(nodes, np.full(nodes.size, lone_star_sigma), grey_only)
        degrees = np.full(nodes.size, np.inf)
    result = gls_mean(stars, corr_2.covariance)
    stat = _propagate(result.gains, [noise for noise in star_stat if noise.size])
    star_deviation = np.zeros((len(by_star), nodes.size))
    star_deviation[[s for s, group in enumerate(by_star) if group]] = result.deviations
    # What of a curve is neither the mean nor its star's deviation is its own, as far as it is
    # not noise.  (For a star with one curve the first level cannot tell.)
    mean = np.full(nodes.size, np.nan)
    mean[result.seen] = result.mean
    deviation = star_deviation[star_index]
    for j, member in enumerate(members):
        seen = member.seen
        if seen.size:
            rest = member.value - mean[seen] - deviation[j, seen]
            matrix = covariance_1[np.ix_(seen, seen)] + member.noise
            deviation[j] += covariance_1[:, seen] @ np.linalg.solve(matrix, rest)
    return Levels(
        seen=result.seen,
        mean=result.mean,
        stat_variance=np.diag(stat),
        sys_covariance=result.covariance - stat,
        degrees=degrees,
        star_variance=corr_2.sigma**2,
        observation_variance=corr_1.sigma**2,
        correlation=corr_2,
        observation_correlation=corr_1,
        star_members=star_members,
        star_deviation=star_deviation,
        deviation=deviation,
    )


def _estimate(
    groups: Sequence[Sequence[Member]],
    nodes: np.ndarray,
    window: float,
    method: str,
    grey_only: bool,
) -> Correlation:
    profile = np.sqrt(np.maximum(pooled_variance(groups, nodes, window, method), FLOOR**2))
    flat = float(np.sqrt(max(pooled_variance(groups, nodes, np.inf, method)[0], FLOOR**2)))
    if max(flat, profile.max()) <= FLOOR:
        return default_correlation(nodes, profile, grey_only)
    return estimate_correlation(groups, flat, profile, nodes, grey_only)


def _propagate(gains: list[np.ndarray], noises: list[np.ndarray]) -> np.ndarray:
    parts = [gain @ noise @ gain.T for gain, noise in zip(gains, noises, strict=True)]
    return np.sum(parts, axis=0)
