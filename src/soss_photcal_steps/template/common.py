"""Templates that differ by a few shapes only: what is noise in each is taken off by the others.

The zodiacal light changes by a few shapes from one place of the sky to another, so that many
templates have few principal components.  How many stand above the noise is found by
cross-validation: the sky that one half of the exposures shows is predicted by the components
of the other half.  The profile of the break is the same in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from soss_photcal_steps.template.build import HALF_STEP, BuiltTemplate
from soss_photcal_steps.template.sides import NOMINAL_COLUMN, ZONE
from soss_photcal_steps.template.smooth import break_width, edge_profile

__all__ = ["SharedShapes", "count_components", "share_shapes", "shared_sum"]

#: Fewer templates than this have nothing to share.
LEAST_TEMPLATES = 4
# A template that would change by more than this, in units of its noise, is unlike the others.
_UNLIKE = 2.0
# Pixels of the detector's border, which see no sky.
_BORDER = 4
# Blocks in which what the model leaves is compared: rows, columns.
_BLOCK = (32, 16)


@dataclass(frozen=True)
class SharedShapes:
    """Templates, and what they share.

    Attributes
    ----------
    templates : tuple of BuiltTemplate
        The templates, in the order in which they were given.
    components : tuple of int or None
        Principal components left and right of the break; None if nothing is shared.
    noise : tuple of float
        By how much the difference of the two halves of the exposures exceeds the errors of
        the templates, left and right; NaN where no template has halves.
    misfit : float
        What the exposures of all templates have in common and the smooth model does not
        describe, relative, rms; NaN where it is not known.
    """

    templates: tuple[BuiltTemplate, ...]
    components: tuple[int, int] | None
    noise: tuple[float, float]
    misfit: float = np.nan


def shared_sum(shapes: np.ndarray, noise: np.ndarray, count: int) -> np.ndarray:
    """Tell which sums of the templates describe each by the mean and a few components.

    Parameters
    ----------
    shapes : ndarray
        Templates of the same level, shape (n, m).
    noise : ndarray
        Noise of each, shape (n,); the components follow templates of little noise most.
    count : int
        Components beside the mean.

    Returns
    -------
    ndarray
        Coefficients, shape (n, n): the new templates are this times the old ones.  Each row
        has a sum of 1.
    """
    weighted = shapes / noise[:, None]
    mean = (1 / noise) / np.linalg.norm(1 / noise)
    rest = weighted - np.outer(mean, mean @ weighted)
    _, vectors = np.linalg.eigh(rest @ rest.T)
    kept = np.column_stack([mean, vectors[:, ::-1][:, :count]])
    return np.asarray(noise[:, None] * (kept @ kept.T) / noise)


def count_components(first: np.ndarray, second: np.ndarray, noise: np.ndarray) -> int:
    """Find how many components predict the other half of the exposures best.

    Parameters
    ----------
    first, second : ndarray
        Templates of each half, of the same level, shape (n, m).
    noise : ndarray
        Noise of each template, shape (n,).

    Returns
    -------
    int
        From 0 to n - 2.
    """
    scores = []
    for count in range(len(first) - 1):
        left = 0.0
        for one, other in ((first, second), (second, first)):
            guess = shared_sum(one, noise, count) @ one
            left += float(np.mean(((guess - other) / noise[:, None]) ** 2))
        scores.append(left)
    return int(np.argmin(scores))


class _Side:
    """One side of the templates that have halves: what is known, and what comes of it."""

    def __init__(self, templates: Sequence[BuiltTemplate], which: int) -> None:
        self.which = which
        rows, columns = HALF_STEP
        images = [(one.left, one.right)[which] for one in templates]
        every = np.arange(images[0].shape[1])
        seen = (
            (every >= _BORDER) & (every < NOMINAL_COLUMN + ZONE[0]),
            (every > NOMINAL_COLUMN + ZONE[1]) & (every < every.size - _BORDER),
        )[which][::columns]
        error = [one.error[::rows, ::columns][:, seen] for one in templates]
        self.full = np.array([self._flat(image[::rows, ::columns], seen) for image in images])
        self.levels = self.full.mean(axis=1)
        self.full /= self.levels[:, None]
        self.error = np.array([np.sqrt(np.mean(e**2)) for e in error]) / self.levels
        halves = [one.halves[which] for one in templates if one.halves is not None]
        self.first = self._level(np.array([self._flat(half[0], seen) for half in halves]))
        self.second = self._level(np.array([self._flat(half[1], seen) for half in halves]))
        self.excess = self._excess(self.first, self.second, self.error)

    @staticmethod
    def _flat(image: np.ndarray, seen: np.ndarray) -> np.ndarray:
        return np.asarray(image, float)[:, seen].ravel()

    @staticmethod
    def _level(shapes: np.ndarray) -> np.ndarray:
        return np.asarray(shapes / shapes.mean(axis=1, keepdims=True))

    @staticmethod
    def _excess(first: np.ndarray, second: np.ndarray, error: np.ndarray) -> float:
        noise = np.mean((0.5 * (first - second)) ** 2, axis=1)
        return float(np.sqrt(np.mean(noise / error**2)))

    def unlike(self, use: np.ndarray) -> tuple[int, np.ndarray]:
        """Give the components of some templates, and which of them are not described."""
        noise = self.error[use] * max(self.excess, 1.0)
        count = count_components(self.first[use], self.second[use], noise)
        full = self.full[use]
        change = np.sqrt(np.mean((shared_sum(full, noise, count) @ full - full) ** 2, axis=1))
        return count, change > _UNLIKE * noise

    def coefficients(self, use: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Give the sums, shape (n, n), and by how much the errors change, shape (n,)."""
        n = len(self.full)
        error = self.error[use] * max(self.excess, 1.0)
        sums, factor = np.eye(n), np.full(n, max(self.excess, 1.0))
        sums[np.ix_(use, use)] = shared_sum(self.full[use], error, count)
        new = np.sqrt(sums[np.ix_(use, use)] ** 2 @ error**2)
        # The components themselves are noisy: the halves tell what is left.
        one, other = self.first[use], self.second[use]
        first, second = (shared_sum(half, error, count) @ half for half in (one, other))
        noise = self._mean_square(0.5 * (first - second), new)
        # What the components leave out is missed in the other half, beside the noise of both.
        missed = 0.5 * (
            self._mean_square(first - other, new) + self._mean_square(second - one, new)
        )
        left_out = missed - 2 * noise - 2 * self._mean_square(0.5 * (one - other), new)
        new *= np.sqrt(noise + max(left_out, 0.0))
        factor[use] = new / self.error[use]
        return sums, factor

    @staticmethod
    def _mean_square(difference: np.ndarray, unit: np.ndarray) -> float:
        return float(np.mean((difference / unit[:, None]) ** 2))


def _misfit(templates: Sequence[BuiltTemplate]) -> float:
    """Tell what the smooth model leaves of all exposures alike, relative, rms.

    Noise differs from template to template, so that the mean product of what two of them leave
    is free of it.
    """
    left = []
    for one in templates:
        rows, columns = min(_BLOCK[0], len(one.image)), _BLOCK[1]
        ny, nx = len(one.image) // rows, one.image.shape[1] // columns
        cut = np.s_[: ny * rows, : nx * columns]
        known = np.isfinite(one.mean[cut]) & (one.image[cut] > 0)
        rest = np.where(known, one.mean[cut] / np.where(known, one.image[cut], 1) - 1, 0)
        shape = (ny, rows, nx, columns)
        seen = known.reshape(shape).sum(axis=(1, 3))
        total = rest.reshape(shape).sum(axis=(1, 3))
        left.append(np.where(seen > rows * columns // 4, total / np.maximum(seen, 1), np.nan))
    stack = np.array(left)
    known = np.isfinite(stack)
    stack, count = np.where(known, stack, 0), known.sum(axis=0)
    products = stack.sum(axis=0) ** 2 - (stack**2).sum(axis=0)
    pairs = (count * (count - 1)).sum()
    return float(np.sqrt(max(products.sum() / pairs, 0.0))) if pairs else np.nan


def _summed(images: Sequence[np.ndarray], levels: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Give the sums of images of unit level, at their own levels."""
    out = np.zeros((len(images), *images[0].shape), np.float32)
    for new, row in enumerate(sums):
        for old in range(len(images)):
            out[new] += np.float32(levels[new] * row[old] / levels[old]) * images[old]
    return out


def _common_profile(
    templates: Sequence[BuiltTemplate], left: Sequence[np.ndarray], right: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Average the profile of the break, which is the instrument's, between the new sides."""
    offsets, profiles, weights = np.zeros(0), [], []
    for one, low, high in zip(templates, left, right, strict=True):
        if one.edge.found:
            known = np.isfinite(one.mean)
            offsets, profile, significance = edge_profile(
                np.where(known, one.mean, 0), known.astype(float), low, high, one.edge.column
            )
            profiles.append(profile)
            # The weight of a profile is the inverse of its variance.
            weights.append(significance**2)
    return (offsets, np.average(profiles, axis=0, weights=weights)) if profiles else None


def share_shapes(templates: Sequence[BuiltTemplate], *, share: bool = True) -> SharedShapes:
    """Describe templates by their mean and the few components that they share.

    They share the profile of the break too, but not its place, which the pupil wheel moves.

    The errors are brought to what the difference of the two halves of the exposures shows,
    also where nothing is shared.

    Parameters
    ----------
    templates : sequence of BuiltTemplate
        Templates of the same part of the detector.
    share : bool, optional
        Whether they may share shapes; if not, only the errors are looked at.

    Returns
    -------
    SharedShapes
        The templates.  One of a single exposure, whose noise is not known, and one that is
        unlike the others stand by themselves.
    """
    done = list(templates)
    known = [k for k, one in enumerate(done) if one.halves is not None]
    if not known:
        return SharedShapes(tuple(done), None, (np.nan, np.nan))
    chosen = [done[k] for k in known]
    sides = [_Side(chosen, which) for which in (0, 1)]
    use = np.full(len(chosen), share)
    counts = (0, 0)
    while use.sum() >= LEAST_TEMPLATES:
        found = [side.unlike(use) for side in sides]
        counts = (found[0][0], found[1][0])
        unlike = found[0][1] | found[1][1]
        if not unlike.any():
            break
        use[np.flatnonzero(use)[unlike]] = False
    shared = bool(use.sum() >= LEAST_TEMPLATES)
    images, factors = [], []
    for side, count in zip(sides, counts, strict=True):
        if shared:
            sums, factor = side.coefficients(use, count)
            parts = [(one.left, one.right)[side.which] for one in chosen]
            images.append(_summed(parts, side.levels, sums))
        else:
            factor = np.full(len(chosen), max(side.excess, 1.0))
        factors.append(factor)
    misfit = _misfit(chosen)
    profile = None
    if shared:
        profile = _common_profile(
            [chosen[k] for k in np.flatnonzero(use)],
            *([side[k] for k in np.flatnonzero(use)] for side in images),
        )
    for place, (k, one) in enumerate(zip(known, chosen, strict=True)):
        fraction = one.edge.fraction(one.image.shape[1])
        ratio = factors[0][place] * (1 - fraction) + factors[1][place] * fraction
        error = np.hypot(one.error * ratio, np.nan_to_num(misfit) * one.image)
        new = replace(one, error=error.astype(np.float32))
        if shared and use[place]:
            left, right, edge = images[0][place], images[1][place], one.edge
            if profile is not None and edge.found:
                width = break_width(profile[1])
                edge = replace(edge, offset=profile[0], profile=profile[1], width=width)
            fraction = edge.fraction(one.image.shape[1])
            image = (left * (1 - fraction) + right * fraction).astype(np.float32)
            new = replace(new, image=image, left=left, right=right, edge=edge, components=counts)
        done[k] = new
    excess = (sides[0].excess, sides[1].excess)
    return SharedShapes(tuple(done), counts if shared else None, excess, misfit)
