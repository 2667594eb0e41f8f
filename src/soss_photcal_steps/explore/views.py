"""What follows from one fit: images, averages and spectra, each made when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from soss_photcal_steps.background.result import BackgroundResult
from soss_photcal_steps.background.sky import bad_pixels
from soss_photcal_steps.explore.load import ExplorerExposure
from soss_photcal_steps.explore.numbers import Parts, fill_rows, make_parts

__all__ = ["COLUMN_GROUP", "FitViews", "Strip", "make_strip"]

#: Columns that make one point of the averages.
COLUMN_GROUP = 8


@dataclass(frozen=True)
class Strip:
    """The part of an exposure that is shown: the rows of SUBSTRIP256 that it covers.

    Attributes
    ----------
    inside : slice
        Its rows among those of the data.
    lines : ndarray
        Row of each line, SUBSTRIP256 coordinates, shape (ny,).
    image : ndarray
        Count rate, shape (ny, nx), float32, DN/s; NaN where no integration is valid.
    good : ndarray of bool
        Where one is.
    filled : ndarray
        The same with its gaps and single bad pixels filled from the row.
    orders : tuple of int
        Orders that are extracted.
    pwcpos : float
        Angle of the pupil wheel, degrees.
    half_width : float
        Half width of the box of the spectra, pixels.
    """

    inside: slice
    lines: np.ndarray
    image: np.ndarray
    good: np.ndarray
    filled: np.ndarray
    orders: tuple[int, ...]
    pwcpos: float
    half_width: float


def make_strip(exposure: ExplorerExposure, half_width: float) -> Strip:
    """Cut an exposure to what is shown.

    Parameters
    ----------
    exposure : ExplorerExposure
        The exposure.
    half_width : float
        Half width of the box of the spectra, pixels.

    Returns
    -------
    Strip
        Its rows of SUBSTRIP256.
    """
    rows = exposure.window.strip_rows
    shown = np.flatnonzero((rows >= 0) & (rows < 256))
    inside = slice(int(shown[0]), int(shown[-1]) + 1)
    image = exposure.combined.image[inside].astype(np.float32)
    good = np.isfinite(image)
    known = good & ~bad_pixels(image, good, exposure.combined.error[inside])
    return Strip(
        inside=inside,
        lines=rows[inside],
        image=image,
        good=good,
        filled=fill_rows(image, known),
        orders=tuple(order for order in (1, 2) if order in exposure.traces),
        pwcpos=exposure.pwcpos,
        half_width=half_width,
    )


class FitViews:
    """Images, averages and spectra of one fit.

    Parameters
    ----------
    strip : Strip
        What is shown.
    result : BackgroundResult
        The fit.
    """

    def __init__(self, strip: Strip, result: BackgroundResult) -> None:
        self._strip, self._result = strip, result

    @cached_property
    def right(self) -> np.ndarray:
        """Share of the right-hand side in each pixel, shape (ny, nx)."""
        return self._result.right[self._strip.inside]

    @cached_property
    def mask(self) -> np.ndarray:
        """Which pixels the fit used, and why not the others: `MASK_MEANINGS`, uint8."""
        return self._result.mask()[self._strip.inside]

    @cached_property
    def painted(self) -> np.ndarray | None:
        """What the user left out, shape (ny, nx); None if nothing."""
        excluded = self._result.excluded
        return None if excluded is None else excluded[self._strip.inside]

    @cached_property
    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        """Parts of the main template that the two scales belong to, DN/s at a scale of 1."""
        image = self._result.templates.images[self._result.fit.template][self._strip.inside]
        return image * (1 - self.right), image * self.right

    @cached_property
    def fitted(self) -> np.ndarray:
        """The background of the fit, shape (ny, nx), DN/s."""
        return self._result.background[self._strip.inside]

    def _parts(self, image: np.ndarray) -> Parts:
        strip = self._strip
        return make_parts(
            image, self.mask == 0, self.right > 0.5, strip.lines, strip.pwcpos, strip.orders,
            COLUMN_GROUP, strip.half_width,
        )  # fmt: skip

    @cached_property
    def before_parts(self) -> Parts:
        """Averages, over the pixels that the fit used, and spectra of the image."""
        return self._parts(self._strip.filled)

    @cached_property
    def fitted_parts(self) -> Parts:
        """The same of the background of the fit."""
        return self._parts(self.fitted)

    @cached_property
    def half_parts(self) -> tuple[Parts, Parts]:
        """The same of the two parts of the template."""
        left, right = self.halves
        return self._parts(left), self._parts(right)

    @cached_property
    def wing_parts(self) -> Parts:
        """The same of the star's wings."""
        wing = np.zeros(self._result.background.shape, np.float32)
        wing[self._result.lines] = self._result.wing()
        return self._parts(wing[self._strip.inside])
