"""Outliers of a ratio curve: bad pixels, zero orders, wings of lines.

Features are told from the curve by their width.  A robust spline with many knots and a penalty
on its bends stands for the curve, whatever degree is taken in the end: a stiff curve would make
outliers of its own misfit.  The residuals are looked at one by one and as means over
some points, so that a wide, low feature is found as well as a single bad pixel.  A feature goes
with its flanks, which are biased where they are not significant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline
from scipy.linalg import solve_triangular
from scipy.ndimage import binary_dilation, find_objects, label, median_filter, uniform_filter1d

from soss_photcal_steps.averages import robust_scale
from soss_photcal_steps.ratio.noise import local_scale

__all__ = ["Noise", "reject_outliers"]

# Points between the knots of the flexible spline, and its first knots from a join, where the
# curve may bend sharply.
_SPACING = 30
_NEAR_JOIN = (8, 16, 24, 33, 45, 65)
# Windows of running medians: to start with, and where the spline has gone astray.
_START_WINDOW, _NEAR_WINDOW = 101, 31
# Widths over which residuals are averaged, points.
_WIDTHS = (1, 3, 7, 15, 31)
# A wide feature that is left in does little harm, while a bend that is taken for one does: so it
# has to be clearer.
_WIDE, _WIDE_LIMIT = 15, 1.5
# A zero order bends over 20 points by nearly twice its height; what bends by less than this and
# is wider than twice as many points is none.
_SMOOTH, _BEND = 20, 0.8
# The spline strays by less than this fraction of the ratio; images that overlap may be smooth too.
_MOST_ASTRAY = 0.08
# How often a limit is raised that would leave too few points.
_RAISES = 8
# Flanks are followed in means over some points, of residuals up to some sigma, as far as they are
# above a level in sigma, and by some points more.
_FLANK, _DEEP, _NOISE_LEVEL, _MARGIN = 5, 10.0, 1.5, 2
# Mean over neighbours, in sigma, from which on an outlier has flanks.
_FEATURE = 3.5
# Tukey's biweight gives nothing to residuals beyond this many sigma.
_TUKEY = 4.685
_TUKEY_ROUNDS = 2
# Strengths of the penalty that are tried, and the correlation of neighbours that it reckons
# with: what is measured is too large as long as features are in the residuals.
_STRENGTHS = np.logspace(-4, 5, 19)
_CORRELATION = 2.0
# No noise is below this fraction of the ratio: that of numbers in single precision.
_PRECISION = 1e-7


@dataclass(frozen=True)
class Noise:
    """What the residuals from the flexible spline tell.

    Attributes
    ----------
    keep : ndarray of bool
        Points that are no outliers, shape (n,).
    scale : ndarray
        Scatter over quoted error around each point, shape (n,).
    """

    keep: np.ndarray
    scale: np.ndarray


def reject_outliers(
    x: np.ndarray,
    y: np.ndarray,
    sigma: np.ndarray,
    limit: float,
    rounds: int,
    low_join: bool = False,
    high_join: bool = False,
) -> Noise:
    """Find outliers and noise of a section.

    Parameters
    ----------
    x, y, sigma : ndarray
        Points by rising wavelength, um, and their errors, shape (n,).
    limit : float
        Threshold, in units of the noise of the residual or of its mean over neighbours.
    rounds : int
        Most rounds; with 0 nothing is rejected.
    low_join, high_join : bool, optional
        Whether the section begins or ends at a join, near which the curve may bend sharply.

    Returns
    -------
    Noise
        The good points, and the noise.
    """
    basis = _Penalised(x, low_join, high_join)
    keep = np.ones(x.size, bool)
    start = _running_median(x, y, min(_START_WINDOW // 2, x.size // 6))
    near = median_filter(y, _NEAR_WINDOW, mode="mirror")
    base = start
    least = _PRECISION * float(np.median(np.abs(y))) / sigma
    scale = np.maximum(local_scale((y - base) / sigma), least)
    seen = [keep]
    for _ in range(max(rounds, 1)):
        base = basis.fit(y, sigma * scale, keep, base)
        normalised = (y - base) / sigma
        kept = np.flatnonzero(keep)
        scale = np.interp(np.arange(x.size), kept, local_scale(normalised[keep]))
        scale = np.maximum(scale, least)
        if rounds == 0:
            break
        low = y - base < _MOST_ASTRAY * float(np.median(np.abs(y)))
        after, strayed = _good_points(normalised / scale, keep, limit, low)
        base = np.where(strayed, near, base)
        settled = any((after == before).all() for before in seen)
        # A round that comes back to an earlier one would go on for ever: both go out.
        keep = after & keep if settled else after
        if settled:
            break
        seen.append(keep)
    return Noise(keep, scale)


def _good_points(
    normalised: np.ndarray, keep: np.ndarray, limit: float, low: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Tell the points that are in no feature, and those where the spline has gone astray.

    Where a low limit would leave less than a third of the points, it is raised.
    """
    for _ in range(_RAISES):
        found = _features(normalised, keep, limit)
        strayed = _astray(found, normalised, keep, limit, low)
        after = ~found | strayed
        if after.sum() > normalised.size // 3:
            return after, strayed
        limit *= 1.5
    return keep, np.zeros(keep.size, bool)


def _running_median(x: np.ndarray, y: np.ndarray, half: int) -> np.ndarray:
    """Give the running median; at the ends either over mirrored points or along a line.

    The line holds where the curve is steep, the mirror where it is sharply bent: the better
    one is taken.
    """
    median = median_filter(y, 2 * half + 1, mode="mirror")
    if half < 3 or y.size < 4 * half:
        return median
    for end in (slice(None, half), slice(-half, None)):
        near, far = (half, 2 * half) if end.start is None else (-half - 1, -2 * half - 1)
        slope = (median[near] - median[far]) / (x[near] - x[far])
        line = median[near] + slope * (x[end] - x[near])
        if robust_scale(y[end] - line) < robust_scale(y[end] - median[end]):
            median[end] = line
    return median


class _Penalised:
    """Cubic splines with many knots and a penalty on their bends (Eilers & Marx 1996).

    The penalty keeps the curve from swinging where points are left out.
    """

    def __init__(self, x: np.ndarray, low_join: bool, high_join: bool) -> None:
        # Even in wavelength, for the curve to bend as well where few points are left.
        step = float(np.median(np.diff(x)))
        count = int((x[-1] - x[0]) / (_SPACING * step))
        inner = np.linspace(x[0], x[-1], count + 2)[1:-1]
        near = step * np.array(_NEAR_JOIN)
        near = near[near < (x[-1] - x[0]) / 2]
        if low_join and near.size:
            inner = np.append(x[0] + near, inner[inner > x[0] + near[-1] + _SPACING * step / 3])
        if high_join and near.size:
            inner = np.append(inner[inner < x[-1] - near[-1] - _SPACING * step / 3], x[-1] - near)
        inner = np.sort(inner)
        knots = np.concatenate([[x[0]] * 4, inner, [x[-1]] * 4])
        self.design = BSpline.design_matrix(x, knots, 3).toarray()
        # A straight line has no bends, however the knots are spaced (Greville's abscissae).
        places = np.convolve(knots[1:-1], np.ones(3) / 3, "valid")
        slopes = np.diff(np.eye(places.size), axis=0) / np.diff(places)[:, None]
        # Where knots are close the curve may bend more.
        wide = (places[2:] - places[:-2]) / 2
        bends = np.diff(slopes, axis=0) * (wide**2 / np.mean(wide))[:, None]
        self.penalty = bends.T @ bends

    def fit(
        self,
        y: np.ndarray,
        sigma: np.ndarray,
        keep: np.ndarray,
        base: np.ndarray,
    ) -> np.ndarray:
        """Fit with Tukey's weights, starting from `base`."""
        for _ in range(_TUKEY_ROUNDS):
            pull = (y - base) / sigma
            width = _TUKEY * max(robust_scale(pull[keep]), 1e-12)
            weight = np.where(keep, np.clip(1 - (pull / width) ** 2, 0, None) ** 2, 0.0)
            weighted = self.design * (weight / sigma**2)[:, None]
            normal = weighted.T @ self.design
            target = weighted.T @ y
            power = float((weight / sigma**2) @ y**2)
            base = self.design @ self._penalise(normal, target, power)
        return base

    def _penalise(self, normal: np.ndarray, target: np.ndarray, power: float) -> np.ndarray:
        """Choose the strength of the penalty by Akaike's criterion."""
        size = float(np.trace(normal)) / len(normal)
        root = np.linalg.cholesky(normal + (1e-9 * size + 1e-300) * np.eye(len(normal)))
        bends = solve_triangular(root, self.penalty, lower=True)
        bends = solve_triangular(root, bends.T, lower=True)
        strength, axes = np.linalg.eigh(bends * size)
        parts = axes.T @ solve_triangular(root, target, lower=True)
        shrink = 1 / (1 + _STRENGTHS[:, None] * np.maximum(strength, 0))
        left = power - (parts**2 * (2 * shrink - shrink**2)).sum(1)
        criterion = left / _CORRELATION + 2 * shrink.sum(1)
        best = int(np.argmin(criterion))
        found = axes @ (shrink[best] * parts)
        return solve_triangular(root, found, lower=True, trans="T")


def _features(normalised: np.ndarray, keep: np.ndarray, limit: float) -> np.ndarray:
    """Find points that belong to features, with their flanks, from narrow to wide ones."""
    free = np.ones(normalised.size, bool)
    # A single pixel has no flanks, which the median of three sees to.
    short = median_filter(np.clip(normalised, -_DEEP, _DEEP), 3, mode="nearest")
    short = uniform_filter1d(short, _FLANK, mode="nearest")
    short /= max(robust_scale(short[keep]), 1e-12)
    for width in _WIDTHS:
        if normalised.size < 8 * width:
            break
        # What a narrower width has found does not count for the wider ones.
        count = uniform_filter1d(free.astype(float), width, mode="constant") * width
        total = uniform_filter1d(np.where(free, normalised, 0.0), width, mode="constant") * width
        score = np.where(count > width / 2, total / np.sqrt(np.maximum(count, 1)), 0.0)
        score /= max(robust_scale(score[keep & free]), 1e-12)
        # Light can only be added over many pixels; where it seems to lack, the spline is wrong.
        for sign in (1, -1) if width < _WIDE else (1,):
            hit = sign * score > (limit if width < _WIDE else _WIDE_LIMIT * limit)
            if hit.any():
                free &= ~_with_flanks(hit, sign * short, width)
    return ~free


def _astray(
    found: np.ndarray, normalised: np.ndarray, keep: np.ndarray, limit: float, low: np.ndarray
) -> np.ndarray:
    """Find where the flexible spline has gone astray, so that good points look like features.

    Above the spline these are `low`, wide and smooth stretches, while a feature bends within its
    width.  Below it they are stretches where most points lie low: light can only be added.
    """
    astray = np.zeros(found.size, bool)
    side = median_filter(normalised, _FLANK, mode="nearest")
    above = found & (side > 0)
    short = uniform_filter1d(side, _FLANK)
    if found.size > 2 * _SMOOTH:
        bend = np.zeros(found.size)
        bend[_SMOOTH:-_SMOOTH] = np.abs(
            short[2 * _SMOOTH :] - 2 * short[_SMOOTH:-_SMOOTH] + short[: -2 * _SMOOTH]
        )
        pieces, _ = label(above)
        for (piece,) in find_objects(pieces):
            wide = bend[piece].size > 2 * _SMOOTH and low[piece].all()
            astray[piece] = wide and bend[piece].max() < _BEND * short[piece].max()
    rest = np.flatnonzero(~above)
    if rest.size > 8 * _WIDTHS[-1]:
        level = median_filter(normalised[rest], _WIDTHS[-1], mode="mirror")
        below = level < -limit * max(robust_scale(level[keep[rest]]), 1e-12)
        astray[rest] |= (
            binary_dilation(below, iterations=_WIDTHS[-1] // 2) if below.any() else below
        )
    # A bad pixel is one wherever the spline is.
    alone = normalised - side
    return astray & (np.abs(alone) < limit * max(robust_scale(alone[keep]), 1e-12))


def _with_flanks(hit: np.ndarray, short: np.ndarray, width: int) -> np.ndarray:
    """Let features grow to where a short mean comes down to its noise, and a little on."""
    seeds = binary_dilation(hit, iterations=width // 2) if width > 1 else hit
    pieces, _ = label((short > _NOISE_LEVEL) | seeds)
    numbers = np.unique(pieces[seeds])
    # A bad pixel that is replaced is an outlier beside good points: only where its surroundings
    # stand out too is it part of a feature, that has flanks.
    highest = np.zeros(int(pieces.max()) + 1)
    np.maximum.at(highest, pieces, short)
    features = numbers[highest[numbers] > _FEATURE]
    grown = np.isin(pieces, features)
    return seeds | grown | binary_dilation(grown, iterations=_MARGIN)
