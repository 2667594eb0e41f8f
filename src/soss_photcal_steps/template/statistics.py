"""How different the templates of a library are, and which of them add anything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["LibraryStatistics", "library_statistics"]

# Templates are compared in boxes of these sizes, rows and columns; columns near the break are
# left out, since its place differs by parts of a pixel.
_BOX = (16, 16)
_NEAR_BREAK = (660, 800)
_BORDER = 4


@dataclass(frozen=True)
class LibraryStatistics:
    """Differences of shape, after each template is scaled left and right of the break.

    Attributes
    ----------
    difference : ndarray
        Root mean square of the relative difference of each pair, shape (n, n).
    adds : ndarray
        What the best sum of all others leaves of each template, relative, rms, shape (n,).
    variance : ndarray
        Share of the variance that each principal component has, shape (n,), the largest
        first.
    components : ndarray
        Principal components in boxes, relative to the mean, shape (n, ny', nx').
    ratio : ndarray
        Each template over the mean of all, in boxes, shape (n, ny', nx'); NaN near the break.
    side_ratio : ndarray
        Mean level right of the break over that left of it, shape (n,).
    """

    difference: np.ndarray
    adds: np.ndarray
    variance: np.ndarray
    components: np.ndarray
    ratio: np.ndarray
    side_ratio: np.ndarray

    def needed(self, share: float = 0.99) -> int:
        """Count the components that make up a share of the variance.

        Parameters
        ----------
        share : float, optional
            The share.

        Returns
        -------
        int
            How many; 0 if the templates do not differ.
        """
        if not np.isfinite(self.variance).all() or self.variance.sum() == 0:
            return 0
        return int(np.searchsorted(np.cumsum(self.variance), share - 1e-12) + 1)


def _boxes(images: np.ndarray) -> np.ndarray:
    """Mean of boxes without the border, shape (n, ny', nx')."""
    inner = images[:, _BORDER:-_BORDER, :] if images.shape[1] > 4 * _BORDER else images
    rows, columns = min(_BOX[0], inner.shape[1]), _BOX[1]
    ny, nx = inner.shape[1] // rows, inner.shape[2] // columns
    cut = inner[:, : ny * rows, : nx * columns].astype(float)
    cut = np.where(np.isfinite(cut) & (cut > 0), cut, np.nan)
    with np.errstate(invalid="ignore"):
        parts = cut.reshape(len(images), ny, rows, nx, columns)
        count = np.isfinite(parts).sum(axis=(2, 4))
        total = np.nansum(parts, axis=(2, 4))
    return np.where(count > rows * columns // 4, total / np.maximum(count, 1), np.nan)


def library_statistics(images: np.ndarray) -> LibraryStatistics:
    """Compare the templates of a library.

    Parameters
    ----------
    images : ndarray
        Templates, shape (n, ny, nx), DN/s.

    Returns
    -------
    LibraryStatistics
        Differences and principal components.

    Raises
    ------
    ValueError
        If a template has no usable pixel on one side of the break.
    """
    boxes = _boxes(np.asarray(images))
    n = len(boxes)
    centre = (np.arange(boxes.shape[2]) + 0.5) * _BOX[1]
    left, right = centre < _NEAR_BREAK[0], centre > _NEAR_BREAK[1]
    known = np.isfinite(boxes).all(axis=0)
    sides = [known & part for part in (left, right)]
    if not all(part.any() for part in sides):
        raise ValueError("a template has no usable pixels on one side of the break")
    levels = np.array([[one[part].mean() for part in sides] for one in boxes])
    scaled = np.full(boxes.shape, np.nan)
    for part, level in zip(sides, levels.T, strict=True):
        scaled[:, part] = boxes[:, part] / level[:, None]
    used = sides[0] | sides[1]
    mean = scaled.mean(axis=0)
    ratio = np.where(used, scaled / np.where(used, mean, 1), np.nan)
    vectors = ratio[:, used] - 1
    difference = np.sqrt(((vectors[:, None] - vectors[None]) ** 2).mean(axis=2))
    _, singular, axes = np.linalg.svd(vectors, full_matrices=False)
    total = (singular**2).sum()
    variance = np.zeros(n)
    if total > 0:
        variance[: singular.size] = singular**2 / total
    components = np.full((min(n, len(axes)), *boxes.shape[1:]), np.nan)
    components[:, used] = axes[: len(components)] * singular[: len(components), None] / np.sqrt(n)
    adds = np.full(n, np.nan)
    for k in range(n):
        others = np.delete(scaled[:, used], k, axis=0)
        if len(others) == 0:
            continue
        rest = scaled[k, used].copy()
        # The step scales the two sides by themselves, so the sums are found side by side.
        for part in (left, right):
            side = np.broadcast_to(part, used.shape)[used]
            solution, *_ = np.linalg.lstsq(others[:, side].T, rest[side], rcond=None)
            rest[side] -= solution @ others[:, side]
        adds[k] = float(np.sqrt(np.mean(rest**2)))
    return LibraryStatistics(
        difference, adds, variance, components, ratio, levels[:, 1] / levels[:, 0]
    )
