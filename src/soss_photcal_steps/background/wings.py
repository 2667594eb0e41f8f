"""The light of the star far from its traces.

The traces' wings reach everywhere in a subarray and look like background.  They
are modelled as the brightness of each trace along the columns times a function
of the distance, linear in its parameters: hat functions of the logarithm of the
distance on top of a reference power law, with Gaussian priors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soss_photcal_steps.background.scatter import ZONE_EDGES, round_difference
from soss_photcal_steps.background.sky import Blocks, Sky

__all__ = ["TraceLight", "WingBasis", "WingPrior", "trace_light", "wing_basis"]

# Distances of the hat functions' nodes, pixels: equal steps in the logarithm.
NODES = np.array([13.0, 17.0, 22.5, 30.0, 40.0, 55.0, 75.0, 105.0, 150.0, 220.0, 330.0, 600.0, 1200.0, 2400.0])
# Reference wing beyond 30 pixels: light per pixel in units of the light of the column.
FAR_STRENGTH, FAR_SLOPE = 1.75e-2, 1.1
# Traces closer than this overlap, pixels.
_BLENDED = 33.0


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
        along the columns.
    outside : float
        Brightness of the part of a trace outside the image.
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
    core: float = 0.4
    spread: float = 1.0
    correlation: float = 2.0


@dataclass(frozen=True)
class TraceLight:
    """Brightness of one order along the columns.

    Attributes
    ----------
    order : int
        Spectral order.
    rows : ndarray
        Row of the trace per column, shape (nx,).
    brightness : ndarray
        Count rate summed over the trace per column, shape (nx,), DN/s.
    measured : ndarray of bool
        Where it was read off the image; elsewhere it is extrapolated.
    """

    order: int
    rows: np.ndarray
    brightness: np.ndarray
    measured: np.ndarray


def _running_median(values: np.ndarray, half: int) -> np.ndarray:
    padded = np.pad(values, half, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    filled = np.sort(windows, axis=1)
    n = np.isfinite(filled).sum(axis=1)
    take = np.arange(len(values))
    middle = 0.5 * (filled[take, np.maximum((n - 1) // 2, 0)] + filled[take, n // 2 * (n > 0)])
    return np.where(n > 0, middle, np.nan)


def trace_light(
    image: np.ndarray,
    good: np.ndarray,
    lines: np.ndarray,
    traces: dict[int, np.ndarray],
    half_width: int = 15,
) -> list[TraceLight]:
    """Read the brightness of the traces off an image.

    Parameters
    ----------
    image : ndarray
        Background-subtracted count rate, shape (ny, nx), DN/s.
    good : ndarray of bool
        Valid pixels.
    lines : ndarray
        Row of each line in the coordinates of `traces`, rising.
    traces : dict
        Row of each order per column, shape (nx,).
    half_width : int
        Half width of the window summed over, pixels.

    Returns
    -------
    list of TraceLight
        One for each order.
    """
    ny, nx = image.shape
    columns = np.arange(nx)
    window = np.arange(-half_width, half_width + 1)
    orders = sorted(traces)
    levels, seen = [], []
    for order in orders:
        rows = np.asarray(traces[order], float)
        wanted = np.rint(rows).astype(int)[None, :] + window[:, None]
        line = np.clip(np.searchsorted(lines, wanted), 0, ny - 1)
        inside = lines[line] == wanted
        usable = inside & good[line, columns]
        values = np.where(usable, image[line, columns], 0)
        level, enough = _fill_window(values, usable)
        half, close = _clear_half(order, traces, window, values, usable)
        level = np.where(close, half, level)
        levels.append(_running_median(level, 3))
        seen.append(enough)
    amounts = _deblend(np.array(levels), np.array([traces[o] for o in orders], float), half_width)
    lights = []
    anchor = 0.0
    for order, level, enough in zip(orders, amounts, seen, strict=True):
        measured = np.isfinite(level) & enough
        if order == 1 and measured[1900:2000].sum() > 30:
            anchor = max(float(np.nanmedian(level[1900:2000])), 0.0)
        brightness = np.zeros(nx)
        if measured.sum() > 60:
            brightness = _extrapolate(columns, level, measured)
        if order in _TYPICAL and anchor > 0:
            brightness = _fill_typical(columns, brightness, measured, order, anchor)
        rows = np.asarray(traces[order], float)
        lights.append(TraceLight(order, rows, np.maximum(brightness, 0.0), measured))
    return lights


# Brightness of orders 2 and 3 over that of order 1 at columns 1900 to 2000: geometric mean of
# what the frames of BD+60 1753 (A1) and WASP-39 (G8) show, at every hundredth column.
_TYPICAL = {
    2: (5.4e-3, 4.1e-3, 2.7e-3, 1.5e-3, 1e-3, 1.7e-3, 5.1e-3, 0.0129, 0.0281, 0.0533, 0.0947,
        0.158, 0.247, 0.413, 0.607, 0.706, 0.536, 0.261, 0.0557, 4.4e-3, 1.3e-4),
    3: (9.5e-3, 0.0109, 0.0156, 0.018, 0.0216, 0.0252, 0.0258, 0.0204, 0.0126, 3.5e-3, 1e-3,
        3e-3, 2.6e-3, 1.5e-3, 9e-4, 5e-4, 3e-4, 1.5e-4, 9e-5, 4e-5, 2e-5),
}  # fmt: skip


def _fill_typical(
    columns: np.ndarray, brightness: np.ndarray, measured: np.ndarray, order: int, anchor: float
) -> np.ndarray:
    """Brightness where a trace is outside the image, from that of a typical star."""
    nodes = np.arange(len(_TYPICAL[order])) * 100.0
    typical = anchor * np.exp(np.interp(columns, nodes, np.log(_TYPICAL[order])))
    known = np.flatnonzero(measured)
    if known.size <= 60:
        return typical
    filled = brightness.copy()
    for edge, outside in ((known[-1], columns > known[-1]), (known[0], columns < known[0])):
        near = known[np.abs(known - edge) < 30]
        ratio = np.median(brightness[near]) / np.median(typical[near])
        filled[outside] = np.clip(ratio, 0.3, 3.0) * typical[outside]
    return filled


def _clear_half(
    order: int,
    traces: dict[int, np.ndarray],
    window: np.ndarray,
    values: np.ndarray,
    usable: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Twice the half of the window that faces away from a lower order close by."""
    n_columns = values.shape[1]
    half, close = np.full(n_columns, np.nan), np.zeros(n_columns, bool)
    for other in traces:
        if other >= order:
            continue
        gap = np.asarray(traces[order], float) - traces[other]
        here = np.abs(gap) < _BLENDED
        away = (window[:, None] * np.sign(gap)) > 0
        used = usable & away
        count = used.sum(axis=0)
        total = np.where(away, values, 0).sum(axis=0)
        whole = here & (count > 0.7 * away.sum(axis=0))
        half[whole] = len(window) * total[whole] / count[whole]
        close |= here
    return half, close


def _fill_window(values: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum over the window per column, missing rows filled with the trace's own profile."""
    n = usable.sum(axis=0)
    whole = np.flatnonzero(n > 0.75 * len(values))
    total = values.sum(axis=0)
    level = np.full(values.shape[1], np.nan)
    if whole.size == 0:
        return level, np.zeros(values.shape[1], bool)
    level[whole] = total[whole] / n[whole] * len(values)
    # Near the edge of the image only a part of the core is seen: scale the mean profile to it.
    for edge, part in ((whole[-1], whole[-200:]), (whole[0], whole[:200])):
        profile = np.median(values[:, part] / np.maximum(level[part], 1e-9), axis=1)
        profile = np.maximum(profile, 0) / max(profile.sum(), 1e-9)
        near = np.flatnonzero((n > 0) & (n <= 0.75 * len(values)))
        near = near[np.abs(near - edge) < 60]
        share = (profile[:, None] * usable[:, near]).sum(axis=0)
        take = share > 0.3
        level[near[take]] = total[near[take]] / share[take]
    return level, np.isfinite(level)


def _deblend(levels: np.ndarray, rows: np.ndarray, half_width: int) -> np.ndarray:
    """Take the wings of each trace off the sums over the others."""
    window = np.arange(-half_width, half_width + 1)[:, None]
    known = np.where(np.isfinite(levels), levels, 0.0)
    amounts = known.copy()
    shares = {}
    for i in range(len(rows)):
        for j in range(len(rows)):
            gap = rows[i] - rows[j]
            if i == j:
                continue
            close = (np.abs(gap) < _BLENDED) & (j < i)
            wing = reference_wing(np.maximum(np.abs(gap + window), 18.0))
            away = (window * np.sign(gap)) > 0
            half = (wing * away).sum(axis=0) * len(window) / np.maximum(away.sum(axis=0), 1)
            shares[i, j] = np.where(close, half, wing.sum(axis=0))
    for _ in range(3):
        leak = np.zeros_like(known)
        for (i, j), share in shares.items():
            leak[i] += share * np.maximum(amounts[j], 0)
        amounts = known - leak
    return np.where(np.isfinite(levels), amounts, np.nan)


def _extrapolate(columns: np.ndarray, level: np.ndarray, measured: np.ndarray) -> np.ndarray:
    known = np.flatnonzero(measured)
    brightness = np.interp(columns, known, level[known])
    for edge, side in ((known[-1], 1), (known[0], -1)):
        near = known[np.abs(known - edge) < 80]
        distance = np.abs(near - edge)
        value = np.median(level[near[distance < 8]])
        outside = (columns - edge) * side > 0
        if value <= 0 or len(near) < 40:
            brightness[outside] = max(value, 0.0)
            continue
        far = np.median(level[near[(distance >= 40) & (distance < 60)]])
        # A trace that brightens towards the edge is not taken to go on brightening.
        rate = max(np.log(max(far, 1e-3 * value) / value) / 46, 0.0)
        beyond = (columns - edge) * side
        brightness[outside] = value * np.exp(-np.minimum(rate * beyond[outside], 12.0))
    return brightness


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
    """

    design: np.ndarray
    mean: np.ndarray
    parts: dict[str, np.ndarray]
    names: tuple[str, ...]

    def covariance(self, factors: dict[str, float] | None = None) -> np.ndarray:
        """Prior covariance with the width of some groups changed by factors."""
        factors = factors or {}
        return sum(factors.get(k, 1.0) ** 2 * part for k, part in self.parts.items())


@dataclass(frozen=True)
class WingField:
    """Geometry of the wings on the bins: nodes, weights and brightness per order."""

    lights: tuple[TraceLight, ...]
    node: np.ndarray
    part: np.ndarray
    above: np.ndarray
    distance: np.ndarray
    light: np.ndarray
    spread: np.ndarray
    reference: np.ndarray
    outside: tuple[tuple[int, np.ndarray], ...]


def reference_wing(distance: np.ndarray) -> np.ndarray:
    """Fraction of a column's light per pixel at a distance from the trace.

    Measured on frames of BD+60 1753 and WASP-39: 1.75e-2 r^-1.1 beyond 30 pixels,
    steeper nearer to the core.

    Parameters
    ----------
    distance : ndarray
        Distances, pixels.

    Returns
    -------
    ndarray
        Fraction per pixel.
    """
    distance = np.maximum(distance, NODES[0])
    return FAR_STRENGTH * distance**-FAR_SLOPE * (1 + (22.0 / distance) ** 4)


def wing_field(
    sky: Sky,
    lights: list[TraceLight],
    far: tuple[float, float] | None = None,
) -> WingField:
    """Where each bin lies with respect to the traces.

    Parameters
    ----------
    sky : Sky
        The binned image.
    lights : list of TraceLight
        The traces.
    far : tuple of float, optional
        Strength and slope of the wing beyond 30 pixels, as known so far; light spread
        along the dispersion is left out where they are not given.

    Returns
    -------
    WingField
        Nodes and weights of the hat functions for every bin and order.
    """
    ny, nb = sky.value.shape
    n = len(lights)
    at = np.clip(np.rint(sky.columns).astype(int), 0, None)
    shape = (n, ny, nb)
    node = np.empty(shape, np.int16)
    part = np.empty(shape, np.float32)
    above = np.empty(shape, bool)
    distance = np.empty(shape, np.float32)
    light = np.empty((n, nb))
    outside = []
    log_nodes = np.log(NODES)
    for k, item in enumerate(lights):
        offset = sky.rows[:, None] - item.rows[at][None, :]
        distance[k] = np.abs(offset)
        above[k] = offset > 0
        position = np.interp(
            np.log(np.maximum(distance[k], NODES[0])), log_nodes, np.arange(len(NODES))
        )
        lower = np.minimum(position.astype(np.int16), len(NODES) - 2)
        node[k] = lower
        part[k] = position - lower
        light[k] = item.brightness[at]
        outside.extend((k, shape[at]) for shape in _hidden_shapes(item))
    spread = np.zeros((len(ZONE_EDGES) - 1, ny, nb))
    if far is not None:
        spread = round_difference(
            [item.brightness for item in lights], [item.rows for item in lights],
            sky.rows, sky.columns, *far,
        )  # fmt: skip
    return WingField(
        tuple(lights), node, part, above, distance, light, spread,
        reference_wing(distance), tuple(outside),
    )  # fmt: skip


def _hidden_shapes(light: TraceLight) -> list[np.ndarray]:
    """Relative changes of a trace's brightness outside the image: hats along the columns."""
    hidden = ~light.measured & (light.brightness > 1e-3 * max(light.brightness.max(), 1e-30))
    columns = np.arange(len(hidden))
    shapes = []
    for run in np.split(columns[hidden], np.flatnonzero(np.diff(columns[hidden]) > 1) + 1):
        if len(run) < 12:
            continue
        count = int(np.clip(len(run) // 60, 2, 5))
        nodes = np.linspace(run[0], run[-1], count)
        for k in range(count):
            shapes.append(np.interp(columns, nodes, np.eye(count)[k]) * hidden)
    return shapes


def _smooth(sigma: float, length: float) -> np.ndarray:
    """Covariance of smooth departures over the nodes."""
    step = np.subtract.outer(np.arange(len(NODES)), np.arange(len(NODES)))
    return sigma**2 * np.exp(-0.5 * (step / length) ** 2)


def _near(sigma: float, length: float = 1.0) -> np.ndarray:
    """Covariance of departures close to the core, where the profile is structured."""
    scale = sigma * (22.0 / NODES) ** 3
    step = np.subtract.outer(np.arange(len(NODES)), np.arange(len(NODES)))
    return np.outer(scale, scale) * np.exp(-0.5 * (step / length) ** 2)


def wing_basis(sky: Sky, blocks: Blocks, field: WingField, prior: WingPrior, weight: np.ndarray) -> WingBasis:
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
                    outside[q] += np.bincount(block, amount * light * along[column], n_blocks)
    parts /= total
    spread = blocks.sums(field.spread * weight) / total
    outside /= total

    x = (blocks.columns - 1024) / 1024
    terms: list[np.ndarray] = []
    means: list[np.ndarray] = []
    names: list[str] = []
    pieces: list[tuple[str, int, np.ndarray]] = []

    def add(matrix: np.ndarray, mean: float, name: str, **groups: np.ndarray) -> None:
        start = len(names)
        terms.append(matrix)
        means.append(np.full(len(matrix), mean))
        names.extend([name] * len(matrix))
        pieces.extend((group, start, part) for group, part in groups.items())

    both = parts.sum(axis=1)
    whole = both.sum(axis=0)
    log_r = np.log(NODES / 50.0)
    length = prior.correlation
    common = prior.level**2 + prior.slope**2 * np.outer(log_r, log_r)
    add(whole, 1.0, "wing", fixed=common + _near(prior.core), shape=_smooth(prior.shape, length))
    for k in range(1, n_orders):
        add(
            both[k], 0.0, f"order{k + 1}",
            fixed=_near(prior.core / 2), order=_smooth(prior.order, 2 * length),
        )  # fmt: skip
    side = (parts[:, 1] - parts[:, 0]).sum(axis=0)
    add(side, 0.0, "side", fixed=_near(prior.core), side=_smooth(prior.side, 2 * length))
    for degree, along in ((1, x), (2, 1.5 * x * x - 0.5)):
        part = _smooth(prior.chromatic / degree, 2 * length)
        add(
            whole * along, 0.0, f"chromatic{degree}",
            fixed=_near(prior.core / 4), chromatic=part,
        )  # fmt: skip
    # The first zone is poorly sampled, and nobody has measured the last one.
    loose = np.array([0.3, 0.05, 0.15, 0.6])
    add(spread, 0.0, "spread", spread=prior.spread**2 * (1 + np.diag(loose**2)))
    if len(outside):
        add(outside, 0.0, "outside", outside=prior.outside**2 * np.eye(len(outside)))

    size = len(names)
    covariance: dict[str, np.ndarray] = {"fixed": 1e-10 * np.eye(size)}
    for group, start, part in pieces:
        matrix = covariance.setdefault(group, np.zeros((size, size)))
        matrix[start : start + len(part), start : start + len(part)] += part
    return WingBasis(
        np.concatenate(terms, axis=0).T, np.concatenate(means), covariance, tuple(names)
    )


def wing_image(field: WingField, basis: WingBasis, coefficients: np.ndarray, sky: Sky) -> np.ndarray:
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
    names = np.array(basis.names)

    def take(name: str) -> np.ndarray:
        values = coefficients[names == name]
        return values if len(values) else np.zeros(n_nodes)

    x = (sky.columns - 1024) / 1024
    total = np.tensordot(take("spread"), field.spread, 1)
    bins = np.arange(len(sky.columns))
    for k in range(len(field.lights)):
        base = take("wing") + (take(f"order{k + 1}") if k else 0)
        along = (
            base[:, None]
            + take("chromatic1")[:, None] * x
            + take("chromatic2")[:, None] * (1.5 * x * x - 0.5)
        )
        light = field.light[k][None, :]
        for q, (owner, shape) in enumerate(field.outside):
            if owner == k:
                extra = take("outside")[q] * field.light[k] * shape
                along = along + extra[None, :] / np.maximum(field.light[k], 1e-30)[None, :]
        table = along * light
        side = take("side")[:, None] * field.light[k][None, :]
        lower = field.node[k]
        part = field.part[k]
        sign = np.where(field.above[k], 1.0, -1.0)
        value = (1 - part) * (table[lower, bins] + sign * side[lower, bins])
        value += part * (table[lower + 1, bins] + sign * side[lower + 1, bins])
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
    strength, slope : float
        The wing is ``strength * distance**-slope`` per pixel.
    """
    common = coefficients[np.array(basis.names) == "wing"]
    here = (NODES >= 30) & (NODES <= 220)
    wing = np.maximum(common[here], 0.05) * reference_wing(NODES[here])
    slope, level = np.polyfit(np.log(NODES[here] / 80), np.log(wing), 1)
    slope = float(np.clip(-slope, 0.6, 1.8))
    return float(np.exp(level) * 80**slope), slope
