"""Steps in a mean where the set of its contributors changes, and the splice of one curve.

A step is not sought in the mean, where it would have to be told from real structure: which
curves contribute is known exactly, and the step is the part of the change that the curves
present on both sides do not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import uniform_filter1d

from soss_photcal_steps.errors import SossInputError

__all__ = ["Join", "SpliceResult", "apply_joins", "find_joins", "splice_curve"]


@dataclass(frozen=True)
class Join:
    """A step between two neighbouring pixels.

    Attributes
    ----------
    index : int
        First pixel on the long-wavelength side.
    wavelength : float
        Middle between the two pixels, um.
    size : float
        Step, long side over short side less 1, that the data do not have.
    error : float
        Its error, from the scatter of the curves near the step.
    left, right : tuple of str
        Names of those that contribute on the short and the long side only.
    n_left, n_right : int
        Number of contributors on the two sides.
    removed : bool
        Whether it was taken out.
    """

    index: int
    wavelength: float
    size: float
    error: float
    left: tuple[str, ...]
    right: tuple[str, ...]
    n_left: int
    n_right: int
    removed: bool = False

    def describe(self) -> str:
        """Give one line for the record.

        Returns
        -------
        str
            Wavelength, size in per cent and who leaves or joins.
        """
        what = [f"{name} ends" for name in self.left] + [f"{name} begins" for name in self.right]
        state = "removed" if self.removed else "left as it is"
        return (
            f"{self.wavelength:.4f} um: {100 * self.size:+.3f} +- {100 * self.error:.3f} per cent "
            f"({', '.join(what)}; {self.n_left} to {self.n_right} contributors), {state}"
        )


@dataclass(frozen=True)
class SpliceResult:
    """A mean with one curve in place of it beyond some wavelength.

    Attributes
    ----------
    value : ndarray, shape (m,)
        The mean, the scaled curve beyond the splice.
    replaced : ndarray of bool, shape (m,)
        Where the curve stands.
    wavelength : float
        Where it begins, um.
    scale : float
        Factor that the curve was multiplied with.
    scale_error : float
        Relative error of the factor.
    """

    value: np.ndarray
    replaced: np.ndarray
    wavelength: float
    scale: float
    scale_error: float


def find_joins(
    wavelength: np.ndarray,
    mean: np.ndarray,
    curves: np.ndarray,
    used: np.ndarray,
    names: tuple[str, ...],
    *,
    weight: np.ndarray | None = None,
    valid: np.ndarray | None = None,
    min_run: int = 8,
    clip_run: int = 8,
    window: int = 20,
) -> list[Join]:
    """Find the steps of a mean where its contributors change for good.

    A change counts if the curve is there on one side, and not on the other, in most of
    `min_run` pixels.  Clipping takes a noisy curve out of single pixels, again and again; that
    counts only if it is so in most of `clip_run` pixels.

    Parameters
    ----------
    wavelength : ndarray, shape (m,)
        Wavelengths, um.
    mean : ndarray, shape (m,)
        Mean of the curves; NaN where there is none.
    curves : ndarray, shape (n, m)
        The curves.
    used : ndarray of bool, shape (n, m)
        Which curves contribute.
    names : tuple of str
        Names of the curves.
    weight : ndarray, shape (n, m) or (n, 1), optional
        Weights of the curves, for the mean of those that are on both sides.
    valid : ndarray of bool, shape (n, m), optional
        Where the curves could contribute; by default where they do.
    min_run : int
        Pixels that a change of `valid` must last.
    clip_run : int
        Pixels that a curve must be clipped in.
    window : int
        Pixels on either side from which a step is measured.

    Returns
    -------
    list of Join
        The steps, by wavelength.
    """
    weight = np.ones((len(curves), 1)) if weight is None else weight
    weight = np.broadcast_to(weight, curves.shape)
    valid = used if valid is None else valid
    steady = _persistent(valid, min_run) & _persistent(
        # Twice, for where a curve is clipped in half of the pixels a majority flickers too.
        _persistent(used | ~valid, clip_run),
        clip_run,
    )
    changes = np.flatnonzero(np.any(steady[:, 1:] != steady[:, :-1], axis=0)) + 1
    limits = [0, *changes.tolist(), mean.size]
    joins = []
    for number, index in enumerate(changes.tolist()):
        before, after = steady[:, index - 1], steady[:, index]
        if not before.any() or not after.any():
            continue
        left = slice(max(limits[number], index - window), index)
        right = slice(index, min(limits[number + 2], index + window))
        both = before & after
        edge = 0.5 * (wavelength[index - 1] + wavelength[index])
        size = variance = 0.0
        for side, sign in ((left, -1), (right, 1)):
            level, error = _level(
                wavelength[side] - edge,
                mean[side],
                curves[:, side],
                used[:, side] & both[:, None],
                0.5 * (weight[:, index - 1] + weight[:, index]),
            )
            size += sign * level
            variance += error**2
        joins.append(
            Join(
                index=index,
                wavelength=float(edge),
                size=float(np.expm1(size)),
                error=float(np.sqrt(variance)),
                left=tuple(n for n, gone in zip(names, before & ~after, strict=True) if gone),
                right=tuple(n for n, new in zip(names, after & ~before, strict=True) if new),
                n_left=int(before.sum()),
                n_right=int(after.sum()),
            )
        )
    return joins


def apply_joins(
    wavelength: np.ndarray, joins: list[Join], anchor: tuple[float, float]
) -> np.ndarray:
    """Give the factor that takes steps out of a mean.

    The segment between steps that has most of `anchor` keeps its values; from there on each
    segment is scaled to the one before.  If a curve is absent for a while only, the scale on the
    far side is that of the near side, for the contributors are the same, and between them the
    factor is interpolated: so the two steps do not add up to an offset of all that follows.

    Parameters
    ----------
    wavelength : ndarray, shape (m,)
        Wavelengths, um.
    joins : list of Join
        Steps, by wavelength.
    anchor : tuple of float
        Range of wavelengths that keeps its values, um.

    Returns
    -------
    ndarray, shape (m,)
        Factor, to be multiplied with the mean.
    """
    if not joins:
        return np.ones(wavelength.size)
    limits = [0, *(join.index for join in joins), wavelength.size]
    segments = list(pairwise(limits))
    step = np.log1p([join.size for join in joins])
    inside = (wavelength >= anchor[0]) & (wavelength <= anchor[1])
    if not inside.any():
        # The anchor lies beyond the data: the nearer end keeps its values.
        inside[-1 if anchor[0] > wavelength[-1] else 0] = True
    home = int(np.argmax([inside[a:b].sum() for a, b in segments]))
    factor = np.zeros(wavelength.size)
    for way in (1, -1):
        _chain(factor, wavelength, segments, joins, step, home, way)
    return np.exp(factor)


def splice_curve(
    wavelength: np.ndarray,
    mean: np.ndarray,
    curve: np.ndarray,
    at: float,
    window: int = 20,
) -> SpliceResult:
    """Put one curve in place of the mean beyond a wavelength, scaled so that it joins.

    Parameters
    ----------
    wavelength : ndarray, shape (m,)
        Wavelengths, um.
    mean : ndarray, shape (m,)
        The mean.
    curve : ndarray, shape (m,)
        The curve; NaN where it is not valid.
    at : float
        Wavelength of the splice, um.
    window : int
        Pixels before the splice in which mean and curve are compared.

    Returns
    -------
    SpliceResult
        The mean with the curve beyond; NaN where the curve has no value.

    Raises
    ------
    SossInputError
        If curve and mean cannot be compared just before the splice.
    """
    beyond = wavelength > at
    index = int(np.argmax(beyond)) if beyond.any() else wavelength.size
    side = slice(max(index - window, 0), index)
    known = np.isfinite(mean[side]) & np.isfinite(curve[side])
    if known.sum() < 3:
        raise SossInputError(
            f"There is nothing to splice to at {at:g} um: mean and curve have {known.sum()} "
            f"pixels in common in the {window} before; 3 are needed."
        )
    edge = wavelength[index - 1]
    ratio = np.log(mean[side][known] / curve[side][known])
    level, error = _edge_value(wavelength[side][known] - edge, ratio)
    value = np.where(beyond, curve * np.exp(level), mean)
    return SpliceResult(value, beyond, float(at), float(np.exp(level)), float(error))


def _persistent(used: np.ndarray, min_run: int) -> np.ndarray:
    """Majority of each curve's contributions near each pixel; keeps edges where they are."""
    width = 2 * min_run + 1
    share = uniform_filter1d(used.astype(float), width, axis=1, mode="nearest")
    return share > 0.5


def _level(
    distance: np.ndarray,
    mean: np.ndarray,
    curves: np.ndarray,
    both: np.ndarray,
    weight: np.ndarray,
) -> tuple[float, float]:
    """Logarithm of the mean over that of the curves on both sides, at the step."""
    total = np.where(both, weight[:, None], 0.0).sum(axis=0)
    common = np.where(both, curves * weight[:, None], 0.0).sum(axis=0)
    full = np.sum(np.any(both, axis=1))
    # Where clipping took out some of them the comparison would be with others.
    complete = (both.sum(axis=0) == full) & (total > 0) & np.isfinite(mean)
    if full and complete.sum() >= 1:
        with np.errstate(invalid="ignore", divide="ignore"):
            reference = common[complete] / total[complete]
        return _edge_value(distance[complete], np.log(mean[complete] / reference))
    known = np.isfinite(mean) & (mean > 0)
    if not known.any():
        return 0.0, np.inf
    return _edge_value(distance[known], np.log(mean[known]))


def _edge_value(distance: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Value at distance 0 of a straight line, and its error from the scatter."""
    n = values.size
    if n < 4:
        error = float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else 0.0
        return float(np.mean(values)), error
    design = np.column_stack([np.ones(n), distance])
    solution, *_ = np.linalg.lstsq(design, values, rcond=None)
    scatter = np.sum((values - design @ solution) ** 2) / (n - 2)
    covariance = np.linalg.inv(design.T @ design) * scatter
    return float(solution[0]), float(np.sqrt(covariance[0, 0]))


def _chain(
    factor: np.ndarray,
    wavelength: np.ndarray,
    segments: list[tuple[int, int]],
    joins: list[Join],
    step: np.ndarray,
    home: int,
    way: int,
) -> None:
    """Write the logarithm of the factor for the segments on one side of `home`."""
    # Who contributes, relative to home: what has ended and what has begun since.
    missing: set[str] = set()
    added: set[str] = set()
    seen = {(frozenset(missing), frozenset(added)): (home, 0.0)}
    level, number = 0.0, home
    while 0 <= number + way < len(segments):
        join = joins[number if way > 0 else number - 1]
        sides = (join.left, join.right) if way > 0 else (join.right, join.left)
        gone, new = set(sides[0]), set(sides[1])
        missing, added = (missing | (gone - added)) - new, (added | (new - missing)) - gone
        level -= way * step[number if way > 0 else number - 1]
        number += way
        key = (frozenset(missing), frozenset(added))
        if key in seen:
            near, near_level = seen[key]
            # What the steps since then add up to is spread over the segments between.
            surplus = level - near_level
            between = segments[near + way : number : way]
            start = segments[near][1] if way > 0 else segments[near][0] - 1
            stop = segments[number][0] if way > 0 else segments[number][1] - 1
            for a, b in between:
                part = (wavelength[a:b] - wavelength[start]) / (
                    wavelength[stop] - wavelength[start]
                )
                factor[a:b] -= surplus * part
            level = near_level
            # What lies in a gap that is closed is no place to close another one to.
            seen = {k: v for k, v in seen.items() if way * v[0] <= way * near}
        a, b = segments[number]
        factor[a:b] = level
        seen[key] = (number, level)
