"""The background of one exposure, and what follows from it for every pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soss_photcal_steps.background.estimate import BackgroundFit
from soss_photcal_steps.background.integrations import IntegrationScaler, integration_scaler
from soss_photcal_steps.background.sky import bad_pixels
from soss_photcal_steps.background.templates import TemplateSet

__all__ = ["MASK_MEANINGS", "BackgroundResult", "CombinedExposure"]

#: Values of the mask that `BackgroundResult.mask` gives.
MASK_MEANINGS = {
    0: "used by the fit",
    1: "no valid data, flagged, or clipped",
    2: "near a spectral trace",
    3: "source, or left out otherwise",
    4: "row not looked at",
}
# Half width of the core of the trace that tells the star's own changes, pixels.
_CORE_HALF_WIDTH = 10


@dataclass(frozen=True)
class CombinedExposure:
    """All integrations of an exposure as one image.

    Attributes
    ----------
    image : ndarray
        Count rate, shape (ny, nx), DN/s; NaN where no integration is valid.
    error : ndarray
        Standard error of `image`, DN/s.
    single_error : ndarray
        Error of one integration, DN/s.
    n_integrations : int
        Number of integrations.
    """

    image: np.ndarray
    error: np.ndarray
    single_error: np.ndarray
    n_integrations: int


def _unbin(binned: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Give every pixel the value of its bin; what is left over at the ends that of the last."""
    rows, columns = shape[0] // binned.shape[0], shape[1] // binned.shape[1]
    whole = np.repeat(np.repeat(binned, rows, axis=0), columns, axis=1)
    missing = shape[0] - whole.shape[0], shape[1] - whole.shape[1]
    return np.pad(whole, ((0, missing[0]), (0, missing[1])), mode="edge")


@dataclass(frozen=True)
class BackgroundResult:
    """What is subtracted from an exposure, and how it was found.

    Attributes
    ----------
    fit : BackgroundFit
        The fit, on the lines `lines`.
    weights : ndarray
        Weight of each template left and right of the break, shape (n, 2).
    scales, errors : ndarray
        Scale of the main template left and right, and its error (NaN if set by hand), (2,).
    by_hand : bool
        Whether the scales were given by the user.
    background : ndarray
        What is subtracted, shape (ny, nx), DN/s.
    right : ndarray
        Share of the right-hand side in each pixel, shape (ny, nx), 0 to 1.
    break_column : ndarray
        Column of the break in each line, shape (ny,).
    lines : ndarray of int
        Lines that the fit looked at.
    combined : CombinedExposure
        The image that was fitted.
    templates : TemplateSet
        The library.
    traces : dict
        Row of each order's trace per column, SUBSTRIP256 coordinates.
    rows : ndarray
        Row of each line, SUBSTRIP256 coordinates.
    trace_half_width : float
        Half width of the mask over the traces, pixels.
    excluded : ndarray of bool or None
        Pixels that the user left out of the fit, shape (ny, nx).
    """

    fit: BackgroundFit
    weights: np.ndarray
    scales: np.ndarray
    errors: np.ndarray
    by_hand: bool
    background: np.ndarray
    right: np.ndarray
    break_column: np.ndarray
    lines: np.ndarray
    combined: CombinedExposure
    templates: TemplateSet
    traces: dict[int, np.ndarray]
    rows: np.ndarray
    trace_half_width: float
    excluded: np.ndarray | None = None

    @property
    def levels(self) -> np.ndarray:
        """Mean background left and right of the break, shape (2,), DN/s."""
        return self.scales * self.templates.levels[self.fit.template]

    def error_image(self) -> np.ndarray:
        """Give the error of the background that the scales' covariance makes.

        Returns
        -------
        ndarray
            Shape (ny, nx), DN/s; it is common to all pixels of a side.  NaN if the scales
            were given by hand.
        """
        if self.by_hand:
            return np.full(self.background.shape, np.nan, np.float32)
        relative = self.fit.covariance / np.outer(self.scales, self.scales)
        left, right = 1 - self.right, self.right
        variance = (
            left**2 * relative[0, 0] + 2 * left * right * relative[0, 1] + right**2 * relative[1, 1]
        )
        return (np.abs(self.background) * np.sqrt(np.maximum(variance, 0))).astype(np.float32)

    def trace_distance(self) -> np.ndarray:
        """Give the distance along the column from the nearest trace.

        Returns
        -------
        ndarray
            Shape (ny, nx), pixels.
        """
        distance = np.full(self.background.shape, np.inf, np.float32)
        for trace in self.traces.values():
            np.minimum(distance, np.abs(self.rows[:, None] - trace[None, :]), out=distance)
        return distance

    def used_pixels(self) -> np.ndarray:
        """Tell which pixels the fit used.

        Returns
        -------
        ndarray of bool
            Shape (ny, nx).
        """
        return self.mask() == 0

    def mask(self) -> np.ndarray:
        """Tell of each pixel whether the fit used it, and if not, why.

        Returns
        -------
        ndarray
            Shape (ny, nx), uint8, see `MASK_MEANINGS`.
        """
        mask = np.full(self.background.shape, 4, np.uint8)
        image, error = self.combined.image[self.lines], self.combined.error[self.lines]
        good = np.isfinite(image) & self.templates.valid
        good &= ~bad_pixels(image, good, error)
        used = _unbin(self.fit.sky_mask, image.shape)
        near = self.trace_distance()[self.lines] <= self.trace_half_width
        part = np.where(used, np.uint8(0), np.uint8(3))
        if self.excluded is not None:
            part[self.excluded[self.lines]] = 3
        part[near] = 2
        part[~good] = 1
        mask[self.lines] = part
        return mask

    def wing(self) -> np.ndarray:
        """Give the star's wings in the lines that the fit looked at.

        Returns
        -------
        ndarray
            Shape (n_lines, nx), DN/s.
        """
        return _unbin(self.fit.wing, (len(self.lines), self.background.shape[1]))

    def integration_scaler(self) -> IntegrationScaler:
        """Prepare what finds the scales of single integrations.

        Returns
        -------
        IntegrationScaler
            For `integration_factors`.
        """
        right = self.background * self.right
        return integration_scaler(
            self.combined.image,
            self.used_pixels(),
            self.background - right,
            right,
            self.combined.single_error**2,
            self.trace_distance() < _CORE_HALF_WIDTH,
        )

    def scaled_background(self, factors: np.ndarray) -> np.ndarray:
        """Give the background of single integrations.

        Parameters
        ----------
        factors : ndarray
            Left and right, relative to the exposure, shape (n, 2).

        Returns
        -------
        ndarray
            Shape (n, ny, nx), float32, DN/s.
        """
        left, right = np.asarray(factors, np.float32).T
        slope = self.right[None] * (right - left)[:, None, None]
        slope += left[:, None, None]
        slope *= self.background
        return slope
