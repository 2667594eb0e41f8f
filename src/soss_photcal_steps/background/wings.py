"""The light of the star far from its traces.

The traces' wings reach everywhere in a subarray and look like background.  They
are modelled as the brightness of each trace along the columns times a function
of the distance, linear in its parameters: hat functions of the logarithm of the
distance on top of a reference power law, with Gaussian priors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial import legendre

from soss_photcal_steps.background.light import reference_wing
from soss_photcal_steps.background.sky import Blocks, Sky
from soss_photcal_steps.background.wingfield import NODES, WingField

__all__ = [
    "ROUND",
    "WingBasis",
    "WingPrior",
    "far_wing",
    "wing_basis",
    "wing_image",
]

#: Name of the factor that says whether light is spread along the dispersion as well.
ROUND = "round"
# What a round point spread function needs in each zone.  In the first the hat functions have
# it; far out the kernel that is multiplied falls a little too fast.
_ROUND_SPREAD = np.array([0.0, 1.0, 1.2, 1.2])

# Degree of the polynomials in the column that the wings change by.  With less, what the bright
# blue end of a spectrum shows is carried on to the faint red end.  Images of fewer rows lie within
# the wings all over, and tell less.
_CHROMATIC_DEGREE, _CHROMATIC_DEGREE_LOW, _TALL = 4, 2, 150.0
# Departures of the wings that are expected to be smaller than this, relative, are left out.
_NEGLIGIBLE = 2e-3


@dataclass(frozen=True)
class WingPrior:
    """What is assumed of the wings before the fit: relative standard deviations.

    Attributes
    ----------
    level, slope : float
        Level of the reference wing, and its power of the distance.  The wings of
        two real standards differ by less than these.
    shape : float
        Smooth departures from a power law.
    order, side, chromatic : float
        Differences between the orders, between above and below a trace, and
        along the columns; the last for a straight line, less by the square of the degree for
        other polynomials.
    outside : float
        Brightness of the part of a trace outside the image.
    sources_mean, sources : float
        Wings of other sources, relative to those of the star: what is expected, since part of
        their light is outside the mask, and its error.
    core : float
        All departures near the core, where the profile has structure.
    spread : float
        Light along the dispersion, relative to a round point spread function.
    correlation : float
        Correlation length of the departures, in steps of the nodes.
    """

    level: float = 0.6
    slope: float = 0.35
    shape: float = 0.12
    order: float = 0.10
    side: float = 0.10
    chromatic: float = 0.12
    outside: float = 0.4
    sources_mean: float = 0.7
    sources: float = 0.5
    core: float = 0.4
    spread: float = 1.0
    correlation: float = 2.0


@dataclass(frozen=True)
class WingBasis:
    """Wing terms on the blocks, and what gives the wing in every bin.

    Attributes
    ----------
    design : ndarray
        Value of each term in each block, shape (n_blocks, n_terms), DN/s.
    mean : ndarray
        Prior mean of the coefficients.
    parts : dict
        Covariance of the prior as a sum: a matrix for each group of terms.
    names : tuple of str
        Group of each coefficient.
    shapes : dict
        For each group of functions of the distance, what a coefficient means on the nodes, shape
        (n, n_nodes).
    """

    design: np.ndarray
    mean: np.ndarray
    parts: dict[str, np.ndarray]
    names: tuple[str, ...]
    shapes: dict[str, np.ndarray]

    def take(self, name: str, coefficients: np.ndarray) -> np.ndarray:
        """Pick the coefficients of a group.

        Parameters
        ----------
        name : str
            The group.
        coefficients : ndarray
            All coefficients, shape (n_terms,).

        Returns
        -------
        ndarray
            Those of the group, or the values on the nodes of a function of the distance; zeros
            on the nodes where there is no such group.
        """
        values = coefficients[np.array(self.names) == name]
        if name in self.shapes:
            return values @ self.shapes[name]
        return values if len(values) else np.zeros(len(NODES))

    def with_term(self, name: str, design: np.ndarray, sigma: float) -> WingBasis:
        """Add a term that is no wing, but is eliminated with them.

        Parameters
        ----------
        name : str
            Its name.
        design : ndarray
            Its value in each block, shape (n_blocks,).
        sigma : float
            Standard deviation of its prior, of zero mean.

        Returns
        -------
        WingBasis
            The larger basis.
        """
        parts = {group: np.pad(part, (0, 1)) for group, part in self.parts.items()}
        parts["fixed"][-1, -1] = sigma**2
        return replace(
            self, design=np.column_stack([self.design, design]), mean=np.append(self.mean, 0.0),
            parts=parts, names=(*self.names, name),
        )  # fmt: skip

    def prior(self, factors: dict[str, float] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Prior with the width of some groups changed.

        Parameters
        ----------
        factors : dict, optional
            Factor on the width of each group; 1 where it is not named.  `ROUND` is the share
            of the spread of a round point spread function that is expected, 0 if not named.

        Returns
        -------
        mean : ndarray
            Shape (n_terms,).
        covariance : ndarray
            Shape (n_terms, n_terms).
        """
        factors = factors or {}
        total = np.zeros((len(self.mean), len(self.mean)))
        for group, part in self.parts.items():
            total += factors.get(group, 1.0) ** 2 * part
        mean = self.mean.copy()
        mean[np.array(self.names) == "spread"] += factors.get(ROUND, 0.0) * _ROUND_SPREAD
        return mean, total


def _chromatic_shapes(columns: np.ndarray, degree: int) -> np.ndarray:
    """Give changes of the wings along the columns: Legendre polynomials, shape (n, n_columns)."""
    return legendre.legvander((columns - 1024) / 1024, degree)[:, 1:].T


def _smooth(sigma: float, length: float) -> np.ndarray:
    """Covariance of smooth departures over the nodes."""
    step = np.subtract.outer(np.arange(len(NODES)), np.arange(len(NODES)))
    return sigma**2 * np.exp(-0.5 * (step / length) ** 2)


def _near(sigma: float, length: float = 1.0) -> np.ndarray:
    """Covariance of departures close to the core, where the profile is structured."""
    scale = sigma * (22.0 / NODES) ** 3
    step = np.subtract.outer(np.arange(len(NODES)), np.arange(len(NODES)))
    return np.outer(scale, scale) * np.exp(-0.5 * (step / length) ** 2)


def _shapes(covariance: np.ndarray) -> np.ndarray:
    """Functions on the nodes that a prior allows to matter, shape (n, n_nodes)."""
    values, vectors = np.linalg.eigh(covariance)
    return np.ascontiguousarray(vectors[:, values > _NEGLIGIBLE**2].T)


def wing_basis(
    sky: Sky, blocks: Blocks, field: WingField, prior: WingPrior, weight: np.ndarray
) -> WingBasis:
    """Wing terms averaged over the good bins of each block.

    Parameters
    ----------
    sky : Sky
        The binned image.
    blocks : Blocks
        The layout.
    field : WingField
        Geometry.
    prior : WingPrior
        Prior of the coefficients.
    weight : ndarray
        Number of good pixels per bin, shape (ny, nb); 0 where masked.

    Returns
    -------
    WingBasis
        Design matrix and prior.
    """
    n_blocks = blocks.shape[0] * blocks.shape[1]
    n_nodes = len(NODES)
    n_orders = len(field.lights)
    used = np.flatnonzero(weight.ravel() > 0)
    block = blocks.index.ravel()[used]
    w = weight.ravel()[used].astype(float)
    total = np.maximum(np.bincount(block, w, n_blocks), 1e-30)
    column = np.broadcast_to(np.arange(weight.shape[1]), weight.shape).ravel()[used]

    # Sums per order, side and node of brightness times hat times reference.
    parts = np.zeros((n_orders, 2, n_nodes, n_blocks))
    outside = np.zeros((len(field.outside), n_blocks))
    for k in range(n_orders):
        node = field.node[k].ravel()[used].astype(np.int64)
        upper = field.part[k].ravel()[used]
        side = field.above[k].ravel()[used]
        light = field.light[k][column]
        fraction = w * field.reference[k].ravel()[used]
        for shift, hat in ((0, 1 - upper), (1, upper)):
            j = node + shift
            amount = fraction * hat
            key = (side * n_nodes + j) * n_blocks + block
            sums = np.bincount(key, amount * light, 2 * n_nodes * n_blocks)
            parts[k] += sums.reshape(2, n_nodes, n_blocks)
        for q, (owner, along) in enumerate(field.outside):
            if owner == k:
                there = np.flatnonzero(along[column])
                amount = fraction[there] * light[there] * along[column[there]]
                outside[q] = np.bincount(block[there], amount, n_blocks)
    parts /= total
    spread = blocks.sums(field.spread * weight) / total
    outside /= total

    terms: list[np.ndarray] = []
    means: list[np.ndarray] = []
    names: list[str] = []
    pieces: list[tuple[str, int, np.ndarray]] = []
    shapes: dict[str, np.ndarray] = {}

    def add(matrix: np.ndarray, mean: float, name: str, **groups: np.ndarray) -> None:
        start = len(names)
        terms.append(matrix)
        means.append(np.full(len(matrix), mean))
        names.extend([name] * len(matrix))
        pieces.extend((group, start, part) for group, part in groups.items())

    def add_small(columns: np.ndarray, name: str, **groups: np.ndarray) -> None:
        # Departures are smooth: a few shapes are all that their priors allow.
        part = _shapes(np.sum(list(groups.values()), axis=0))
        shapes[name] = part
        small = {group: part @ matrix @ part.T for group, matrix in groups.items()}
        add(part @ columns, 0.0, name, **{k: 0.5 * (m + m.T) for k, m in small.items()})

    both = parts.sum(axis=1)
    whole = both.sum(axis=0)
    log_r = np.log(NODES / 50.0)
    length = prior.correlation
    common = prior.level**2 + prior.slope**2 * np.outer(log_r, log_r)
    add(whole, 1.0, "wing", fixed=common + _near(prior.core), shape=_smooth(prior.shape, length))
    for k in range(1, n_orders):
        add_small(
            both[k], f"order{k + 1}",
            fixed=_near(prior.core / 2), order=_smooth(prior.order, 2 * length),
        )  # fmt: skip
    side = (parts[:, 1] - parts[:, 0]).sum(axis=0)
    add_small(side, "side", fixed=_near(prior.core), side=_smooth(prior.side, 2 * length))
    highest = _CHROMATIC_DEGREE if np.ptp(sky.rows) > _TALL else _CHROMATIC_DEGREE_LOW
    for degree, along in enumerate(_chromatic_shapes(blocks.columns, highest), 1):
        part = _smooth(prior.chromatic / degree**2, 2 * length)
        add_small(
            whole * along, f"chromatic{degree}", fixed=_near(prior.core / 4), chromatic=part,
        )  # fmt: skip
    # The first zone is poorly sampled, and nobody has measured the last one.
    common, loose = np.array([0.0, 1.0, 1.0, 1.0]), np.array([0.7, 0.05, 0.25, 0.5])
    part = prior.spread**2 * (np.outer(common, common) + np.diag(loose**2))
    add(spread, 0.0, "spread", spread=part)
    if field.sources is not None:
        wings = blocks.sums(field.sources * weight) / total
        add(wings[None], prior.sources_mean, "sources", fixed=np.full((1, 1), prior.sources**2))
    if len(outside):
        add(outside, 0.0, "outside", outside=prior.outside**2 * np.eye(len(outside)))

    size = len(names)
    covariance: dict[str, np.ndarray] = {"fixed": 1e-10 * np.eye(size)}
    for group, start, part in pieces:
        matrix = covariance.setdefault(group, np.zeros((size, size)))
        matrix[start : start + len(part), start : start + len(part)] += part
    return WingBasis(
        np.concatenate(terms, axis=0).T, np.concatenate(means), covariance, tuple(names), shapes
    )


def wing_image(
    field: WingField, basis: WingBasis, coefficients: np.ndarray, sky: Sky
) -> np.ndarray:
    """Wings in every bin for given coefficients.

    Parameters
    ----------
    field : WingField
        Geometry.
    basis : WingBasis
        The terms that the coefficients belong to.
    coefficients : ndarray
        Shape (n_terms,).
    sky : Sky
        The binned image.

    Returns
    -------
    ndarray
        Shape (ny, nb), DN/s.
    """
    n_nodes = len(NODES)

    def take(name: str) -> np.ndarray:
        return basis.take(name, coefficients)

    chromatic = [take(name) for name in basis.shapes if name.startswith("chromatic")]
    departure = np.array(chromatic).T @ _chromatic_shapes(sky.columns, len(chromatic))
    total = np.tensordot(take("spread"), field.spread, 1)
    if field.sources is not None:
        total += take("sources")[0] * field.sources
    bins = np.arange(len(sky.columns))
    for k in range(len(field.lights)):
        base = take("wing") + (take(f"order{k + 1}") if k else 0)
        along = base[:, None] + departure
        light = field.light[k][None, :]
        for q, (owner, shape) in enumerate(field.outside):
            if owner == k:
                extra = take("outside")[q] * field.light[k] * shape
                along = along + extra[None, :] / np.maximum(field.light[k], 1e-30)[None, :]
        side = take("side")[:, None] * light
        # Below the trace and above it, by node and bin.
        table = np.array([along * light - side, along * light + side]).ravel()
        lower = (field.above[k] * n_nodes + field.node[k]) * len(bins) + bins
        part = field.part[k]
        value = (1 - part) * table[lower] + part * table[lower + len(bins)]
        total += value * field.reference[k]
    return total


def far_wing(basis: WingBasis, coefficients: np.ndarray) -> tuple[float, float]:
    """Power law through the fitted wing between 30 and 220 pixels.

    Parameters
    ----------
    basis : WingBasis
        The terms that the coefficients belong to.
    coefficients : ndarray
        Shape (n_terms,).

    Returns
    -------
    strength : float
        The wing is ``strength * distance**-slope`` per pixel.
    slope : float
        Its slope.
    """
    common = basis.take("wing", coefficients)
    here = (NODES >= 30) & (NODES <= 220)
    wing = np.maximum(common[here], 0.05) * reference_wing(NODES[here])
    slope, level = np.polyfit(np.log(NODES[here] / 80), np.log(wing), 1)
    slope = float(np.clip(-slope, 0.6, 1.8))
    return float(np.exp(level) * 80**slope), slope
