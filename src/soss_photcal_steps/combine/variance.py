"""Variance between stars, or between observations of a star, as a function of wavelength."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm, t

from soss_photcal_steps.combine.correlation import Member

__all__ = ["degrees_of_freedom", "pooled_variance", "small_number_factor"]

_STEPS = 45


def pooled_variance(
    groups: Sequence[Sequence[Member]],
    nodes: np.ndarray,
    window: float,
    method: str = "paule-mandel",
) -> np.ndarray:
    """Estimate the variance between members, pooled over neighbouring wavelengths.

    At one node it is the value for which the weighted squares about the mean amount to the
    degrees of freedom (Paule & Mandel 1982, J. Res. NBS 87, 377), or the moment estimate of
    DerSimonian & Laird (1986, Control. Clin. Trials 7, 177).  With five stars that is hopeless
    for a single node, so numerator and denominator are summed over nodes with a Gaussian weight
    in wavelength.

    Parameters
    ----------
    groups : sequence of sequence of Member
        Members; those of one group have a mean in common.
    nodes : ndarray, shape (b,)
        Wavelengths of the nodes, um.
    window : float
        Standard deviation of the weight in wavelength, um.
    method : str
        ``paule-mandel`` or ``dersimonian-laird``.

    Returns
    -------
    ndarray, shape (b,)
        Variance, not negative; 0 where nothing tells.
    """
    tables = [_table(group, nodes.size) for group in groups if len(group) > 1]
    tables = [table for table in tables if np.any(np.isfinite(table[0]).sum(axis=0) > 1)]
    if not tables:
        return np.zeros(nodes.size)
    weight = np.exp(-0.5 * ((nodes[:, None] - nodes) / window) ** 2)
    if method == "dersimonian-laird":
        parts = [_moments(*table) for table in tables]
        surplus = sum(weight @ (square - free) for square, free, _ in parts)
        divisor = sum(weight @ divisor for _, _, divisor in parts)
        return np.maximum(surplus, 0.0) / np.maximum(divisor, np.finfo(float).tiny)
    low = np.zeros(nodes.size)
    high = np.full(nodes.size, max(float(np.nanmax(np.ptp(_filled(v), axis=0))) for v, _ in tables))
    high = 10 * high**2 + 1e-30
    for _ in range(_STEPS):
        middle = np.where(low > 0, np.sqrt(np.maximum(low, 1e-16 * high) * high), 0.5 * high)
        surplus = sum(np.sum(weight * _excess(v, n, middle), axis=1) for v, n in tables)
        low = np.where(surplus > 0, middle, low)
        high = np.where(surplus > 0, high, middle)
    return np.where(low > 0, 0.5 * (low + high), 0.0)


def degrees_of_freedom(
    groups: Sequence[Sequence[Member]], nodes: np.ndarray, window: float, correlation: np.ndarray
) -> np.ndarray:
    """Count how many independent deviations a pooled variance rests on.

    Pooling over wavelength adds nothing as far as a deviation is grey; the count is that of
    Satterthwaite (1946, Biometrics Bull. 2, 110) for sums of correlated squares.

    Parameters
    ----------
    groups : sequence of sequence of Member
        Members, as for `pooled_variance`.
    nodes : ndarray, shape (b,)
        Wavelengths of the nodes, um.
    window : float
        Standard deviation of the weight in wavelength, um.
    correlation : ndarray, shape (b, b)
        Correlation of the deviations.

    Returns
    -------
    ndarray, shape (b,)
        Degrees of freedom, at least 1.
    """
    weight = np.exp(-0.5 * ((nodes[:, None] - nodes) / window) ** 2)
    top = np.zeros(nodes.size)
    bottom = np.zeros(nodes.size)
    for group in groups:
        count = np.zeros(nodes.size)
        for member in group:
            count[member.seen] += 1
        free = np.maximum(count - 1, 0.0)
        top += weight @ free
        shared = np.minimum(free[:, None], free) * correlation**2
        bottom += np.einsum("ib,bc,ic->i", weight, shared, weight)
    return np.maximum(top**2 / np.maximum(bottom, np.finfo(float).tiny), 1.0)


def small_number_factor(degrees: np.ndarray) -> np.ndarray:
    """Factor by which an error from few stars is enlarged.

    The quantile of Student's t that encloses 68.27 per cent, as Hartung & Knapp (2001, Stat.
    Med. 20, 3875) put it in place of the normal one; see IntHout et al. (2014, BMC Med. Res.
    Methodol. 14, 25).  Their other factor, the weighted squares over the degrees of freedom, is
    1 by the definition of the Paule-Mandel variance, and below 1 only if that variance is 0,
    where it is not applied.

    Parameters
    ----------
    degrees : ndarray
        Degrees of freedom.

    Returns
    -------
    ndarray
        Factor, 1.84 for one degree of freedom, 1.14 for four, 1 for many.
    """
    return t.ppf(norm.cdf(1.0), degrees)


def _table(group: Sequence[Member], size: int) -> tuple[np.ndarray, np.ndarray]:
    values = np.full((len(group), size), np.nan)
    noise = np.full((len(group), size), np.nan)
    for i, member in enumerate(group):
        values[i, member.seen] = member.value
        noise[i, member.seen] = np.diag(member.noise)
    return values, noise


def _filled(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, 0.0)


def _excess(values: np.ndarray, noise: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Weighted squares less degrees of freedom, for every variance and node."""
    seen = np.isfinite(values)
    # Trial variance first, then member, then node.
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(seen, 1.0 / (variance[:, None, None] + noise), 0.0)
    total = weight.sum(axis=1)
    filled = _filled(values)
    mean = (weight * filled).sum(axis=1) / np.maximum(total, np.finfo(float).tiny)
    square = (weight * (filled - mean[:, None]) ** 2).sum(axis=1)
    count = seen.sum(axis=0)
    return np.where(count > 1, square - (count - 1), 0.0)


def _moments(values: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    seen = np.isfinite(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(seen, 1.0 / np.maximum(noise, 1e-16), 0.0)
    total = np.maximum(weight.sum(axis=0), np.finfo(float).tiny)
    filled = _filled(values)
    mean = (weight * filled).sum(axis=0) / total
    square = (weight * (filled - mean) ** 2).sum(axis=0)
    count = seen.sum(axis=0)
    several = count > 1
    divisor = total - (weight**2).sum(axis=0) / total
    free = np.maximum(count - 1, 0)
    return np.where(several, square, 0.0), free, np.where(several, divisor, 0.0)
