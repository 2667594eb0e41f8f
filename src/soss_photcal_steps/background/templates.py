"""A library of background templates, made ready for the fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre

from soss_photcal_steps.background.breaks import (
    NOMINAL_COLUMN,
    BreakGeometry,
    find_break,
    right_fraction,
)
from soss_photcal_steps.background.sky import ROWS_PER_BIN, Blocks, bin_columns, bin_rows

__all__ = ["ShapeModes", "TemplateSet", "prepare_templates", "shape_modes", "tilt_shapes"]


@dataclass(frozen=True)
class TemplateSet:
    """Templates of one subarray with their breaks.

    Attributes
    ----------
    images : ndarray
        Templates, shape (n, ny, nx), DN/s.
    geometry : tuple of BreakGeometry
        Break of each template.
    levels : ndarray
        Mean of each template left and right of the break, shape (n, 2), DN/s.
    binned : ndarray
        Left and right parts on the rows of the fit, columns binned, divided by `levels`,
        shape (n, 2, n_rows, nb).
    factor : int
        Columns per bin.
    valid : ndarray of bool
        Pixels of these rows where all templates have a value, shape (n_rows, nx).
    edge : ndarray
        What a background of unit level gains near the break if its scales differ by 1 and the edge
        has the profile `BreakGeometry.sharp`, shape (n_rows, nb).
    """

    images: np.ndarray
    geometry: tuple[BreakGeometry, ...]
    levels: np.ndarray
    binned: np.ndarray
    factor: int
    valid: np.ndarray
    edge: np.ndarray
    edge_bins: tuple[int, int]

    def block_sums(self, blocks: Blocks, weight: np.ndarray) -> np.ndarray:
        """Sum the templates of unit level over blocks.

        Parameters
        ----------
        blocks : Blocks
            The layout.
        weight : ndarray
            What each bin is multiplied by, shape (n_rows, nb).

        Returns
        -------
        ndarray
            Left and right parts, shape (n, 2, n_blocks).
        """
        edges = np.append(blocks.bin_edges, weight.shape[1])
        # Left and right parts are 0 but for a few bins on the other side.
        begin = int(np.searchsorted(edges, self.edge_bins[0], side="right")) - 1
        end = int(np.searchsorted(edges, self.edge_bins[1]))
        total = np.zeros((len(self.binned), 2, *blocks.shape), self.binned.dtype)
        for side, first, last in ((0, 0, end), (1, begin, len(edges) - 1)):
            here = slice(edges[first], edges[last])
            rows = np.add.reduceat(
                self.binned[:, side, :, here] * weight[:, here], blocks.row_edges, axis=-2
            )
            starts = edges[first:last] - edges[first]
            total[:, side, :, first:last] = np.add.reduceat(rows, starts, axis=-1)
        return total.reshape(*total.shape[:2], -1)

    def on_bins(self, levels: np.ndarray, tilt: np.ndarray | None = None) -> np.ndarray:
        """Background as a sum of templates of unit level, on the bins of the fit.

        Parameters
        ----------
        levels : ndarray
            Mean background that each template adds left and right, shape (n, 2), DN/s.
        tilt : ndarray, optional
            Coefficients of a smooth factor on either side, see `tilt_shapes`,
            shape (2, n_tilts); none by default.

        Returns
        -------
        ndarray
            Shape of an image of bins, DN/s.
        """
        used = np.flatnonzero(np.any(levels, axis=1))
        sides = [
            np.tensordot(np.asarray(levels[used, s], np.float32), self.binned[used, s], 1)
            for s in (0, 1)
        ]
        if tilt is not None and np.any(tilt):
            columns = (np.arange(sides[0].shape[1]) + 0.5) * self.factor - 0.5
            sides = [
                side * (1 + along)
                for side, along in zip(sides, _departures(tilt, columns), strict=True)
            ]
        return np.asarray(sides[0] + sides[1], np.float32)

    def unbinned(self, binned: np.ndarray, n_columns: int) -> np.ndarray:
        """Image on the rows of the fit, constant within a bin.

        Parameters
        ----------
        binned : ndarray
            Image of bins.
        n_columns : int
            Number of columns.

        Returns
        -------
        ndarray
            Shape (n_rows, n_columns).
        """
        whole = np.repeat(np.repeat(binned, self.factor, axis=1), ROWS_PER_BIN, axis=0)
        missing = (len(self.valid) - len(whole), n_columns - whole.shape[1])
        return np.pad(whole, ((0, missing[0]), (0, missing[1])), mode="edge")

    def background(self, weights: np.ndarray, tilt: np.ndarray | None = None) -> np.ndarray:
        """Background as a sum of templates.

        Parameters
        ----------
        weights : ndarray
            Scale of each template left and right of its break, shape (n, 2).
        tilt : ndarray, optional
            Coefficients of a smooth factor on either side, see `tilt_shapes`,
            shape (2, n_tilts); none by default.

        Returns
        -------
        ndarray
            Shape (ny, nx), float32, DN/s.
        """
        _, ny, nx = self.images.shape
        total = np.zeros((ny, nx), dtype=np.float32)
        for image, geometry, (left, right) in zip(self.images, self.geometry, weights, strict=True):
            if left == 0 and right == 0:
                continue
            fraction = right_fraction(geometry, nx)
            total += image * (np.float32(left) + np.float32(right - left) * fraction)
        if tilt is not None and np.any(tilt):
            along = _departures(tilt, np.arange(nx)).astype(np.float32)
            main = int(np.argmax(np.abs(weights).sum(axis=1)))
            fraction = right_fraction(self.geometry[main], nx)
            total *= 1 + along[0] + (along[1] - along[0]) * fraction
        return total


def _departures(tilt: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Smooth factors less 1, left and right, shape (2, n), from their coefficients."""
    return np.einsum("sd,sdx->sx", tilt, tilt_shapes(columns, np.shape(tilt)[1]))


def tilt_shapes(columns: np.ndarray, count: int) -> np.ndarray:
    """Legendre polynomials of the column on either side of the break.

    Parameters
    ----------
    columns : ndarray
        Columns, shape (n,), pixels.
    count : int
        Polynomials of degree 1 to `count`.

    Returns
    -------
    ndarray
        Left and right, shape (2, count, n); each runs between -1 and 1 on its side.
    """
    x = np.asarray(columns, float)
    left = np.clip(2 * x / NOMINAL_COLUMN - 1, -1, 1)
    right = np.clip(2 * (x - NOMINAL_COLUMN) / (2048 - NOMINAL_COLUMN) - 1, -1, 1)
    return np.array([legendre.legvander(u, count)[:, 1:].T for u in (left, right)])


def prepare_templates(
    images: np.ndarray, factor: int = 4, select: np.ndarray | None = None
) -> TemplateSet:
    """Find the breaks of all templates and bin them.

    Parameters
    ----------
    images : ndarray
        Templates cut to the subarray, shape (n, ny, nx), DN/s.
    factor : int
        Columns per bin.
    select : ndarray of int, optional
        Rows that the fit is to use; all by default.

    Returns
    -------
    TemplateSet
        The library, ready for the fit.

    Raises
    ------
    ValueError
        If a template has no positive values left or right of the break.
    """
    images = np.asarray(images, dtype=np.float32)
    n, ny, nx = images.shape
    lines = slice(None) if select is None else np.asarray(select)
    n_lines = ny if select is None else len(select)
    n_bins = nx // factor
    valid = np.ones((n_lines, nx), bool)
    geometries = []
    binned = np.zeros((n, 2, n_lines // ROWS_PER_BIN, n_bins), dtype=np.float32)
    edge_bins = n_bins, 0
    levels = np.zeros((n, 2))
    for k, image in enumerate(images):
        usable = np.isfinite(image) & (image > 0)
        clean = bool(usable.all())
        filled = image if clean else np.where(usable, image, np.float32(0))
        geometry = find_break(image if clean else np.where(usable, image, np.nan))
        geometries.append(geometry)
        cut, used = filled[lines], usable[lines]
        valid &= used
        whole, count = bin_columns(cut, used, factor)
        first = int(geometry.column.min() + geometry.offset[0]) // factor * factor
        last = int(geometry.column.max() + geometry.offset[-1]) // factor * factor + factor
        first, last = max(first, 0), min(last, n_bins * factor)
        edge = slice(first // factor, last // factor)
        edge_bins = min(edge_bins[0], edge.start), max(edge_bins[1], edge.stop)
        part = right_fraction(geometry, last, first)[lines]
        right = whole.copy()
        right[:, : edge.start] = 0
        right[:, edge] = bin_columns(cut[:, first:last] * part, used[:, first:last], factor)[0]
        share = np.zeros_like(whole)
        share[:, edge.stop :] = 1
        share[:, edge] = bin_columns(part, used[:, first:last], factor)[0]
        (whole, right, share), count = bin_rows(np.array([whole, right, share]), count)
        binned[k, 0], binned[k, 1] = whole - right, right
        n_right = (share * count).sum(dtype=float)
        n_left = count.sum(dtype=float) - n_right
        levels[k, 0] = (binned[k, 0] * count).sum(dtype=float) / max(n_left, 1)
        levels[k, 1] = (binned[k, 1] * count).sum(dtype=float) / max(n_right, 1)
        if levels[k, 0] <= 0 or levels[k, 1] <= 0:
            raise ValueError(
                f"template {k} has no positive values on one side of the break near column 705"
            )
        binned[k] /= levels[k][:, None, None].astype(np.float32)
    # The optics make the edge, so that one template tells it for all.
    known = next((k for k, geometry in enumerate(geometries) if geometry.found), 0)
    change = _sharper_edge(images[known], geometries[known], factor)[lines]
    change = bin_rows(change, np.ones_like(change))[0] / np.float32(levels[known].mean())
    return TemplateSet(images, tuple(geometries), levels, binned, factor, valid, change, edge_bins)


def _sharper_edge(image: np.ndarray, geometry: BreakGeometry, factor: int) -> np.ndarray:
    """Change of a template if the edge has its sharp profile, all rows, columns binned, DN/s."""
    nx = image.shape[1] // factor * factor
    change = right_fraction(geometry, nx, profile=geometry.sharp) - right_fraction(geometry, nx)
    change *= np.where(np.isfinite(image[:, :nx]), image[:, :nx], np.float32(0))
    return bin_columns(change, np.ones(change.shape, bool), factor)[0]


@dataclass(frozen=True)
class ShapeModes:
    """Principal departures of the templates from their mean shape, one side.

    Attributes
    ----------
    vectors : ndarray
        Each mode as a sum of templates of unit level, shape (n_modes, n).
    sigma : ndarray
        Standard deviation of each mode's amplitude in the library, relative to the level.
    """

    vectors: np.ndarray
    sigma: np.ndarray


def shape_modes(side: np.ndarray, count: int, floor: float = 3e-4) -> ShapeModes:
    """Principal components of one side of the templates.

    Parameters
    ----------
    side : ndarray
        Block means of the templates, of unit level, shape (n, n_blocks).
    count : int
        Largest number of modes.
    floor : float
        Smallest standard deviation of a mode that is kept.

    Returns
    -------
    ShapeModes
        The modes; each has a root mean square of 1 over the blocks.
    """
    n, n_blocks = side.shape
    departures = side - side.mean(axis=0)
    gram = departures @ departures.T / n_blocks
    values, vectors = np.linalg.eigh(gram)
    order = np.argsort(values)[::-1][: min(count, max(n - 2, 0))]
    values, vectors = np.maximum(values[order], 0), vectors[:, order]
    sigma = np.sqrt(values / max(n - 1, 1))
    keep = sigma > floor
    values, vectors, sigma = values[keep], vectors[:, keep], sigma[keep]
    # The mode is a sum of departures, that is, of templates with coefficients of zero sum.
    combined = vectors - vectors.mean(axis=0)
    return ShapeModes((combined / np.sqrt(values)).T, sigma)
