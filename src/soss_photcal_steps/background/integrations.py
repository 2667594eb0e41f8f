"""Scales of single integrations, from the fit of the whole exposure.

An integration differs from the combined image by a change of the background on
either side of the break and by a change of the star, which its bright trace
gives directly.  What is left is two weighted sums over the sky.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["IntegrationScaler", "integration_scaler"]


@dataclass(frozen=True)
class IntegrationScaler:
    """Weights that turn one integration into its two scales.

    Attributes
    ----------
    pixels : ndarray
        Flat indices of the sky pixels.
    reference : ndarray
        Combined image at these pixels, DN/s.
    starlight : ndarray
        Part of `reference` that is light of the star, DN/s.
    clip : ndarray
        Largest difference that is taken at face value, DN/s.
    terms : ndarray
        Background left and right of the break at these pixels, shape (2, n), DN/s.
    inverse_variance : ndarray
        Shape (n,).
    trace_pixels : ndarray
        Flat indices of bright pixels of the trace.
    trace_reference : ndarray
        Combined image there, DN/s, without background.
    trace_background : ndarray
        Background there, DN/s.
    """

    pixels: np.ndarray
    reference: np.ndarray
    starlight: np.ndarray
    clip: np.ndarray
    terms: np.ndarray
    inverse_variance: np.ndarray
    trace_pixels: np.ndarray
    trace_reference: np.ndarray
    trace_background: np.ndarray

    def factors(self, frame: np.ndarray, bad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Background of one integration relative to that of the exposure.

        Parameters
        ----------
        frame : ndarray
            Count rate of the integration, shape (ny, nx), DN/s.
        bad : ndarray of bool
            Pixels not to be used.

        Returns
        -------
        factor : ndarray
            Left and right, shape (2,); NaN where a side has no valid pixel.
        error : ndarray
            Its standard error, same shape.
        """
        flat, flags = frame.reshape(-1), bad.reshape(-1)
        light = flat[self.trace_pixels] - self.trace_background
        valid = np.isfinite(light) & ~flags[self.trace_pixels]
        total = self.trace_reference[valid].sum(dtype=float)
        star = light[valid].sum(dtype=float) / total - 1 if total > 0 else 0.0

        values = flat[self.pixels]
        valid = np.isfinite(values) & ~flags[self.pixels]
        difference = np.where(valid, values, 0) - self.reference - star * self.starlight
        weight = np.where(valid, self.inverse_variance, 0)
        factor, error = np.full(2, np.nan), np.full(2, np.nan)
        centre = np.zeros_like(difference)
        for _ in range(2):
            bounded = centre + np.clip(difference - centre, -self.clip, self.clip)
            normal = (self.terms * weight) @ self.terms.T
            right = (self.terms * weight) @ bounded
            alive = np.diag(normal) > 0
            if not alive.any():
                return factor, error
            inverse = np.linalg.inv(normal[np.ix_(alive, alive)])
            change = inverse @ right[alive]
            centre = change @ self.terms[alive]
        factor[alive] = 1 + change
        error[alive] = np.sqrt(np.diag(inverse))
        return factor, error


def integration_scaler(
    image: np.ndarray,
    sky_pixels: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    variance: np.ndarray,
    trace_pixels: np.ndarray,
) -> IntegrationScaler:
    """Prepare the weights.

    Parameters
    ----------
    image : ndarray
        Combined image, shape (ny, nx), DN/s.
    sky_pixels : ndarray of bool
        Pixels that the fit of the exposure used.
    left, right : ndarray
        Fitted background of either side of the break, zero on the other, DN/s.
    variance : ndarray
        Variance of a single integration, (DN/s)^2.
    trace_pixels : ndarray of bool
        Pixels in the core of the trace.

    Returns
    -------
    IntegrationScaler
        Ready to be applied to each integration.
    """
    background = left + right
    pixels = np.flatnonzero(
        sky_pixels & np.isfinite(image) & np.isfinite(variance) & (variance > 0)
    )
    spread = variance.reshape(-1)[pixels]
    trace = np.flatnonzero(trace_pixels & np.isfinite(image))
    flat = image.reshape(-1)
    level = background.reshape(-1)
    return IntegrationScaler(
        pixels=pixels,
        reference=flat[pixels],
        starlight=flat[pixels] - level[pixels],
        clip=(5 * np.sqrt(spread)).astype(np.float32),
        terms=np.stack([left.reshape(-1)[pixels], right.reshape(-1)[pixels]]),
        inverse_variance=1 / spread,
        trace_pixels=trace,
        trace_reference=flat[trace] - level[trace],
        trace_background=level[trace],
    )
