"""How the deviation of a star, or of an observation, hangs together along wavelength.

A deviation has three parts: a grey one that is the same at all wavelengths, a smooth one that is
forgotten over some length, and a rough one that is new at every node.  Shares and length are
not set by hand: the restricted likelihood of the deviations is taken on a grid of them, and the
correlations of the grid are averaged with it as weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

__all__ = [
    "Correlation",
    "GlsMean",
    "Member",
    "default_correlation",
    "estimate_correlation",
    "gls_mean",
]

_GREY = (0.0, 0.3, 0.6, 0.9)
_ROUGH = (1e-4, 1e-2, 0.1)
# Length of the smooth part, as a fraction of the range of wavelengths.
_LENGTH = (0.03, 0.06, 0.12, 0.25, 0.5)
# More members or nodes than these add time to the likelihood, but nothing else.
_MOST_MEMBERS = 24
_MOST_NODES = 32


@dataclass(frozen=True)
class Member:
    """One star among stars, or one curve among the curves of a star, on the nodes.

    Attributes
    ----------
    seen : ndarray of int, shape (k,)
        Nodes where it is observed.
    value : ndarray, shape (k,)
        Its relative deviation from a pilot curve.
    noise : ndarray, shape (k, k)
        Covariance of what is not the deviation sought: statistical errors, and lower levels.
    """

    seen: np.ndarray
    value: np.ndarray
    noise: np.ndarray


@dataclass(frozen=True)
class Correlation:
    """Correlation of a deviation between nodes.

    Attributes
    ----------
    matrix : ndarray, shape (b, b)
        Correlation, 1 on the diagonal.
    grey, smooth, rough : float
        Shares of the variance; their sum is 1.
    length : float
        Length over which the smooth part is forgotten, um.
    sigma : ndarray, shape (b,)
        Standard deviation at each node.
    flat : float
        Weight of a standard deviation that is the same at all wavelengths.
    """

    matrix: np.ndarray
    grey: float
    smooth: float
    rough: float
    length: float
    sigma: np.ndarray
    flat: float = 1.0

    @property
    def covariance(self) -> np.ndarray:
        """Covariance between nodes; shape (b, b)."""
        return self.matrix * np.outer(self.sigma, self.sigma)


@dataclass(frozen=True)
class GlsMean:
    """Mean by generalised least squares.

    Attributes
    ----------
    seen : ndarray of int, shape (k,)
        Nodes where at least one member is observed.
    mean : ndarray, shape (k,)
        The mean there.
    covariance : ndarray, shape (k, k)
        Its covariance.
    gains : list of ndarray, shape (k, k_i)
        The mean is the sum of gain times value over the members.
    deviations : ndarray, shape (n, b)
        Expected deviation of each member at every node.
    """

    seen: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    gains: list[np.ndarray]
    deviations: np.ndarray


def default_correlation(
    nodes: np.ndarray, sigma: np.ndarray, grey_only: bool = False
) -> Correlation:
    """Give the correlation that is used where the data cannot tell.

    Parameters
    ----------
    nodes : ndarray, shape (b,)
        Wavelengths of the nodes, um.
    sigma : ndarray, shape (b,)
        Standard deviation at each node.
    grey_only : bool
        No smooth part.

    Returns
    -------
    Correlation
        Half grey, half smooth over a quarter of the range.
    """
    rough = 1e-2
    grey = 1 - rough if grey_only else 0.5
    length = 0.25 * max(float(np.ptp(nodes)), 1e-9)
    matrix = _matrix(nodes, grey, rough, length)
    return Correlation(matrix, grey, 1 - grey - rough, rough, length, sigma)


def estimate_correlation(
    groups: Sequence[Sequence[Member]],
    flat: float,
    profile: np.ndarray,
    nodes: np.ndarray,
    grey_only: bool = False,
) -> Correlation:
    """Estimate the correlation from groups of members that share an unknown mean each.

    Whether the standard deviation changes along wavelength is left to the likelihood too.  It
    should not follow a profile without need: where a star is absent the profile is that of the
    others, and a grey star would fade there.

    Parameters
    ----------
    groups : sequence of sequence of Member
        The members.  A group of one tells nothing and is left out.
    flat : float
        Standard deviation of the deviation, pooled over all wavelengths.
    profile : ndarray, shape (b,)
        The same at each node.
    nodes : ndarray, shape (b,)
        Wavelengths of the nodes, um.
    grey_only : bool
        Leave out the smooth part.

    Returns
    -------
    Correlation
        The estimate, `default_correlation` if no group has two members.
    """
    thinned = np.arange(0, nodes.size, -(-nodes.size // _MOST_NODES))
    useful = [
        [_thin(member, thinned) for member in group[:_MOST_MEMBERS]]
        for group in groups
        if len(group) > 1
    ]
    if not useful:
        return default_correlation(nodes, profile, grey_only)
    width = max(float(np.ptp(nodes)), 1e-9)
    if grey_only:
        options = [(1 - rough, rough, width) for rough in (1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3)]
    else:
        options = [
            (grey * (1 - rough), rough, part * width)
            for grey, rough, part in product(_GREY, _ROUGH, _LENGTH)
        ]
    matrices = np.array([_matrix(nodes, *option) for option in options])
    few = np.ix_(np.arange(len(options)), thinned, thinned)
    amplitudes = np.array([np.full(nodes.size, flat), profile])
    score = []
    for amplitude in amplitudes[:, thinned]:
        scaled = matrices[few] * np.outer(amplitude, amplitude)
        score.append(np.sum([_reml(group, scaled) for group in useful], axis=0))
    weight = np.exp(np.array(score) - np.max(score))
    weight /= weight.sum()
    grey, rough, length = (weight.sum(axis=0) @ np.array(options)).tolist()
    covariance = np.zeros((nodes.size, nodes.size))
    for amplitude, share in zip(amplitudes, weight, strict=True):
        covariance += np.outer(amplitude, amplitude) * np.tensordot(share, matrices, axes=1)
    sigma = np.sqrt(np.diag(covariance))
    return Correlation(
        matrix=covariance / np.outer(sigma, sigma),
        grey=grey,
        smooth=1 - grey - rough,
        rough=rough,
        length=length,
        sigma=sigma,
        flat=float(weight[0].sum()),
    )


def gls_mean(members: Sequence[Member], covariance: np.ndarray) -> GlsMean:
    """Take the mean of members by generalised least squares, on all nodes at once.

    Every member is the sought curve, plus a deviation of zero mean and the given covariance,
    plus its noise.  Where a member ends, its deviation there is carried on as far as it is
    correlated, so the mean does not jump.

    Parameters
    ----------
    members : sequence of Member
        The members.
    covariance : ndarray, shape (b, b)
        Covariance of the deviations.

    Returns
    -------
    GlsMean
        The mean and what belongs to it.
    """
    size = covariance.shape[0]
    normal = np.zeros((size, size))
    inverses = []
    for member in members:
        block = np.ix_(member.seen, member.seen)
        inverse = np.linalg.inv(covariance[block] + member.noise)
        normal[block] += inverse
        inverses.append(inverse)
    seen = np.flatnonzero(np.diag(normal) > 0)
    total = np.linalg.inv(normal[np.ix_(seen, seen)])
    total = 0.5 * (total + total.T)
    gains = []
    mean = np.zeros(seen.size)
    for member, inverse in zip(members, inverses, strict=True):
        gain = total[:, np.searchsorted(seen, member.seen)] @ inverse
        gains.append(gain)
        mean += gain @ member.value
    deviations = np.array(
        [
            covariance[:, member.seen]
            @ (inverse @ (member.value - mean[np.searchsorted(seen, member.seen)]))
            for member, inverse in zip(members, inverses, strict=True)
        ]
    )
    return GlsMean(seen, mean, total, gains, deviations)


def _matrix(nodes: np.ndarray, grey: float, rough: float, length: float) -> np.ndarray:
    # Matern of order 3/2: smooth, but with no slope that would be carried far beyond an end.
    lag = np.sqrt(3.0) * np.abs(nodes[:, None] - nodes) / length
    return grey + (1 - grey - rough) * (1 + lag) * np.exp(-lag) + rough * np.eye(nodes.size)


def _thin(member: Member, nodes: np.ndarray) -> Member:
    keep = np.flatnonzero(np.isin(member.seen, nodes))
    seen = np.searchsorted(nodes, member.seen[keep])
    return Member(seen, member.value[keep], member.noise[np.ix_(keep, keep)])


def _reml(group: Sequence[Member], covariances: np.ndarray) -> np.ndarray:
    """Restricted log likelihood of one group for each of several covariances.

    Patterson & Thompson 1971, Biometrika 58, 545.
    """
    options, size = covariances.shape[:2]
    normal = np.zeros((options, size, size))
    vector = np.zeros((options, size))
    likelihood = np.zeros(options)
    for member in group:
        rows, columns = member.seen[:, None], member.seen
        matrix = covariances[:, rows, columns] + member.noise
        inverse = np.linalg.inv(matrix)
        part = inverse @ member.value
        normal[:, rows, columns] += inverse
        vector[:, member.seen] += part
        likelihood -= np.linalg.slogdet(matrix)[1] + part @ member.value
    seen = np.flatnonzero(np.any(normal != 0, axis=(0, 1)))
    normal, vector = normal[:, seen[:, None], seen], vector[:, seen]
    mean = np.linalg.solve(normal, vector[..., None])[..., 0]
    likelihood += np.sum(vector * mean, axis=1) - np.linalg.slogdet(normal)[1]
    return 0.5 * likelihood
