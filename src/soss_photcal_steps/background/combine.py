"""One image from a series of integrations.

The combination is a median over short groups of consecutive integrations,
followed by the mean of the group medians, weighted by the number of valid
integrations in each.  A median of nine frames by a fixed sequence of
exchanges costs one to two nanoseconds per pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = [
    "GROUP_SIZE",
    "CombinedImage",
    "ImageCombiner",
    "ReducedGroup",
    "combine_integrations",
    "group_median",
    "group_sizes",
    "reduce_group",
]

GROUP_SIZE = 9
# Pixels of which the medians are taken together: nine frames of them take about a megabyte.
_BLOCK = 2**15

# Exchange networks that leave the median in the middle (Devillard 1998,
# "Fast median search"; the nine-element one is Paeth's, Graphics Gems I).
_NETWORKS: dict[int, tuple[tuple[int, int], ...]] = {
    3: ((0, 1), (1, 2), (0, 1)),
    5: ((0, 1), (3, 4), (0, 3), (1, 4), (1, 2), (2, 3), (1, 2)),
    7: (
        (0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6), (2, 3),
        (3, 6), (4, 5), (1, 4), (1, 3), (3, 4),
    ),
    9: (
        (1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3),
        (5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class CombinedImage:
    """A combined image.

    Attributes
    ----------
    image : ndarray
        Combined count rate, shape (ny, nx), DN/s.  NaN where no integration is valid.
    count : ndarray
        Number of valid integrations, shape (ny, nx).
    n_integrations : int
        Number of integrations combined.
    """

    image: np.ndarray
    count: np.ndarray
    n_integrations: int

    @property
    def noise_factor(self) -> np.ndarray:
        """Standard error of `image` over the error of one integration, shape (ny, nx)."""
        # A median of Gaussian values has 1.57 times the variance of their mean.
        loss = np.where(self.count > 2, np.float32(np.sqrt(np.pi / 2)), np.float32(1))
        return loss / np.sqrt(np.maximum(self.count, 1)).astype(np.float32)


def group_sizes(n: int) -> list[int]:
    """Sizes of the groups that a series is split in.

    Groups are of nine where possible and else of seven, five and three, whose
    medians have a fast network and withstand an outlier.

    Parameters
    ----------
    n : int
        Number of integrations.

    Returns
    -------
    list of int
        Sizes, with the sum `n`.
    """
    if n in (1, 2, 4):
        return [n]
    nines, rest = divmod(n, GROUP_SIZE)
    tail = {0: [], 1: [7, 3], 2: [5, 3, 3], 3: [3], 4: [7, 3, 3], 5: [5], 6: [3, 3], 7: [7]}
    if rest == 8:
        return [GROUP_SIZE] * nines + [5, 3]
    if rest in (1, 2, 4):
        nines -= 1
    return [GROUP_SIZE] * nines + tail[rest]


def group_median(frames: np.ndarray) -> np.ndarray:
    """Median over the first axis by an exchange network.

    Parameters
    ----------
    frames : ndarray
        Shape (n, ...), without NaN; used as work space and overwritten.

    Returns
    -------
    ndarray
        Shape ``frames.shape[1:]``.
    """
    n = len(frames)
    if n == 1:
        return frames[0]
    if n == 2:
        return 0.5 * (frames[0] + frames[1])
    if n not in _NETWORKS:
        return np.median(frames, axis=0)
    flat = frames.reshape(n, -1)
    median = np.empty_like(flat[0])
    # All exchanges of some pixels before those of the next: they stay in the processor's cache.
    for start in range(0, median.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        values = list(flat[:, block])
        low = np.empty_like(values[0])
        for i, j in _NETWORKS[n]:
            np.minimum(values[i], values[j], out=low)
            np.maximum(values[i], values[j], out=values[j])
            values[i], low = low, values[i]
        median[block] = values[n // 2]
    return median.reshape(frames.shape[1:])


@dataclass(frozen=True)
class ReducedGroup:
    """A group of integrations, reduced to one image.

    Attributes
    ----------
    total : ndarray
        Median times the number of valid integrations, shape (ny, nx), DN/s.
    n_integrations : int
        Integrations in the group.
    some, missing : ndarray
        Flat indices of the pixels that some integrations lack, and how many those are.
    """

    total: np.ndarray
    n_integrations: int
    some: np.ndarray
    missing: np.ndarray


def reduce_group(
    frames: np.ndarray, flags: np.ndarray, unusable: np.uint32 | bool = True
) -> ReducedGroup:
    """Reduce one group of integrations.

    Parameters
    ----------
    frames : ndarray
        Count rates, shape (n, ny, nx), DN/s; used as work space and overwritten.
    flags : ndarray of bool or uint32
        Flags of the pixels, same shape.  Non-finite pixels are left out in any case.
    unusable : bool or uint32
        Bits of `flags` that each say that a pixel is not to be used.

    Returns
    -------
    ReducedGroup
        The group; it shares no memory with the arguments.
    """
    # Below, pixels are changed through flat views, which only exist of arrays in the order of C.
    frames, flags = np.ascontiguousarray(frames), np.ascontiguousarray(flags)
    n = len(frames)
    # A sum is not finite where any frame is not, and costs less than looking at each.
    with np.errstate(invalid="ignore", over="ignore"):
        touched = ~np.isfinite(frames.sum(axis=0))
    touched |= (np.bitwise_or.reduce(flags, axis=0) & unusable) != 0
    some = np.flatnonzero(touched)
    flat = frames.reshape(n, -1)
    values = missing = np.zeros(0)
    if some.size:
        columns = flat[:, some]
        bad = (flags.reshape(n, -1)[:, some] & unusable) != 0
        bad |= ~np.isfinite(columns)
        columns[bad] = np.inf
        _sort_frames(columns)
        valid = n - bad.sum(axis=0)
        take = np.arange(some.size)
        upper = columns[np.minimum(valid // 2, n - 1), take]
        lower = columns[np.maximum(valid - 1, 0) // 2, take]
        values = np.where(valid > 0, 0.5 * (lower + np.where(valid > 0, upper, 0)), 0) * valid
        missing = n - valid
        flat[:, some] = 0.0
    total = group_median(frames) * np.float32(n)
    total.reshape(-1)[some] = values
    return ReducedGroup(total, n, some, missing)


def _sort_frames(values: np.ndarray) -> None:
    """Sort along the first axis, in place.

    Exchanging whole frames, odd and even neighbours in turn, is several times faster than
    sorting each pixel by itself.
    """
    n = len(values)
    low = np.empty_like(values[0])
    for turn in range(n):
        for i in range(turn % 2, n - 1, 2):
            np.minimum(values[i], values[i + 1], out=low)
            np.maximum(values[i], values[i + 1], out=values[i + 1])
            values[i] = low


class ImageCombiner:
    """Accumulates groups of integrations into one image.

    Parameters
    ----------
    shape : tuple of int
        Shape (ny, nx) of one integration.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._sum = np.zeros(shape, dtype=np.float32)
        self._count = np.zeros(shape, dtype=np.float32)
        self._n = 0

    def add(self, group: ReducedGroup) -> None:
        """Add one group of integrations.

        Parameters
        ----------
        group : ReducedGroup
            The group.
        """
        self._sum += group.total
        self._count += group.n_integrations
        self._count.reshape(-1)[group.some] -= group.missing
        self._n += group.n_integrations

    def result(self) -> CombinedImage:
        """Return the combined image of all groups added so far.

        Returns
        -------
        CombinedImage
            The weighted mean of the group medians, and the counts.

        Raises
        ------
        ValueError
            If nothing was added.
        """
        if self._n == 0:
            raise ValueError("no integration was given to be combined")
        with np.errstate(divide="ignore", invalid="ignore"):
            image = self._sum / self._count
        return CombinedImage(image, self._count.astype(np.int32), self._n)


def combine_integrations(frames: np.ndarray, bad: np.ndarray) -> CombinedImage:
    """Combine a cube that is in memory.

    Parameters
    ----------
    frames : ndarray
        Count rates, shape (n, ny, nx), DN/s.
    bad : ndarray of bool
        Pixels not to be used, same shape.

    Returns
    -------
    CombinedImage
        The combined image.
    """
    combiner = ImageCombiner(frames.shape[1:])
    start = 0
    for size in group_sizes(len(frames)):
        part = slice(start, start + size)
        combiner.add(reduce_group(np.array(frames[part], dtype=np.float32), bad[part]))
        start += size
    return combiner.result()
