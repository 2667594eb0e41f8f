"""All numbers of the explorer, without a browser."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from soss_photcal_steps.background.options import FitOptions
from soss_photcal_steps.contamination.find import Contamination, find_contamination
from soss_photcal_steps.contamination.table import TableRow, table_rows
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.explore.fits import Fit, Fits, Ranked
from soss_photcal_steps.explore.history import History
from soss_photcal_steps.explore.load import ExplorerExposure
from soss_photcal_steps.explore.numbers import Parts, StepAtBreak, step_at_break
from soss_photcal_steps.explore.setting import Region, Setting, check_scales
from soss_photcal_steps.explore.views import make_strip
from soss_photcal_steps.trace import wavelengths

__all__ = ["ExplorerState"]


class ExplorerState:
    """What is chosen, and what follows from it.

    All images are those of the rows of SUBSTRIP256 that the data cover, `lines`.

    Parameters
    ----------
    exposure : ExplorerExposure
        The exposure.
    options : FitOptions, optional
        Settings of the fit; its template is chosen by `choose`.
    half_width : float, optional
        Half width of the box of the spectra, pixels.
    """

    def __init__(
        self,
        exposure: ExplorerExposure,
        options: FitOptions | None = None,
        half_width: float = 20.0,
    ) -> None:
        self.exposure = exposure
        self.options = replace(options or FitOptions(), template=None)
        self.strip = make_strip(exposure, half_width)
        self.history = History()
        self._fits = Fits(exposure, self.options, self.strip)
        self.contamination: Contamination | None = None

    @property
    def before(self) -> np.ndarray:
        """The image, shape (ny, nx), DN/s; NaN where no integration is valid."""
        return self.strip.image

    @property
    def lines(self) -> np.ndarray:
        """Rows that are shown, in the coordinates of SUBSTRIP256, shape (ny,)."""
        return self.strip.lines

    @property
    def orders(self) -> tuple[int, ...]:
        """Orders whose spectra are shown."""
        return self.strip.orders

    # What is chosen.

    @property
    def setting(self) -> Setting:
        """What is chosen now."""
        return self.history.current

    def _checked(self, setting: Setting) -> Setting:
        """Refuse a setting whose fit fails where that of the present one does not."""
        before, failure = self.fit.failure, self.fit_of(setting).failure
        if failure and not before:
            raise SossInputError(f"That was not done: {failure}.")
        return setting

    def choose(self, template: int | None) -> None:
        """Choose a template; the scales are those of its fit.

        Parameters
        ----------
        template : int or None
            Number, from 0; None for the one, or the combination, that fits best.

        Raises
        ------
        SossInputError
            If there is no such template, or it cannot be fitted.
        """
        count = len(self.exposure.names)
        if template is not None and not 0 <= template < count:
            raise SossInputError(f"There is no template {template}; they are 0 to {count - 1}.")
        self.history.put(self._checked(replace(self.setting, template=template, scales=None)))

    def set_scales(self, left: float, right: float, *, dragging: bool = False) -> None:
        """Set the scales by hand.

        Parameters
        ----------
        left, right : float
            Scale left and right of the break.
        dragging : bool, optional
            Whether more of the same movement may follow: it is undone as one.

        Raises
        ------
        SossInputError
            If a scale makes no sense.
        """
        scales = check_scales(left, right)
        if scales == self.scales:
            return
        # The template stays that of the fit, which is not made again while one drags.
        self.history.put(replace(self.setting, scales=scales), dragging=dragging)

    def use_fit(self) -> None:
        """Take the scales of the fit again."""
        self.history.put(replace(self.setting, scales=None))

    def paint(self, region: Region) -> None:
        """Add a region to the mask, or take it off; the fit follows.

        Parameters
        ----------
        region : Region
            The region.

        Raises
        ------
        SossInputError
            If too little sky would be left for a fit.
        """
        self._set_regions((*self.setting.regions, region))

    def clear_mask(self) -> None:
        """Take off all that was painted."""
        self._set_regions(())

    def _set_regions(self, regions: tuple[Region, ...]) -> None:
        setting = replace(self.setting, regions=regions)
        if setting.scales is not None:
            # With another mask another template might fit best; scales belong to this one.
            setting = replace(setting, template=self.template)
        self.history.put(self._checked(setting))

    def undo(self) -> bool:
        """Take the last action back.

        Returns
        -------
        bool
            Whether there was one.
        """
        return self.history.go(-1)

    def redo(self) -> bool:
        """Do again what was taken back.

        Returns
        -------
        bool
            Whether there was anything.
        """
        return self.history.go(1)

    # The fit.

    def fit_of(self, setting: Setting) -> Fit:
        """Fit with the template and the mask of a setting.

        Parameters
        ----------
        setting : Setting
            The setting.

        Returns
        -------
        Fit
            The fit; fits are kept.
        """
        return self._fits.get(setting.template, setting.regions)

    @property
    def fit(self) -> Fit:
        """Fit for what is chosen."""
        return self.fit_of(self.setting)

    @property
    def by_hand(self) -> bool:
        """Whether the scales are the user's, or stand for a fit that failed."""
        return self.setting.scales is not None or bool(self.fit.failure)

    @property
    def combined(self) -> bool:
        """Whether the background is a combination of templates."""
        used = int(self.fit.result.weights.any(axis=1).sum())
        return not self.by_hand and (bool(self.fit.result.fit.combined) or used > 1)

    @property
    def template(self) -> int:
        """Template that is used; of a combination the main one."""
        return self.fit.result.fit.template

    @property
    def scales(self) -> tuple[float, float]:
        """Scale left and right of the break."""
        if self.setting.scales is not None:
            return self.setting.scales
        left, right = self.fit.result.scales
        return float(left), float(right)

    @property
    def fitted_scales(self) -> np.ndarray:
        """Scales that the fit gives, and their errors, shape (2, 2); NaN without a fit."""
        if self.fit.failure:
            return np.full((2, 2), np.nan)
        return np.array([self.fit.result.scales, self.fit.result.errors])

    @property
    def levels(self) -> np.ndarray:
        """Mean background left and right of the break, DN/s."""
        return np.array(self.scales) * self.exposure.templates.levels[self.template]

    def ranking(self) -> list[Ranked]:
        """Order the templates by how well they fit.

        Returns
        -------
        list of Ranked
            The best first.  Without a fit, by number.
        """
        return self._fits.ranking(self.setting.regions)

    # The images.

    def template_halves(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the parts of the template that the two scales belong to.

        Returns
        -------
        left : ndarray
            Part left of the break, shape (ny, nx), DN/s at a scale of 1.
        right : ndarray
            The other part; the sum is the template.
        """
        return self.fit.views.halves

    def background(self) -> np.ndarray:
        """Give what is subtracted.

        Returns
        -------
        ndarray
            Shape (ny, nx), float32, DN/s.
        """
        if not self.by_hand:
            return self.fit.views.fitted
        left, right = self.template_halves()
        one, other = np.float32(self.scales[0]), np.float32(self.scales[1])
        return one * left + other * right

    def after(self) -> np.ndarray:
        """Give the image less the background.

        Returns
        -------
        ndarray
            Shape (ny, nx), float32, DN/s; NaN where no integration is valid.
        """
        return self.before - self.background()

    def mask(self) -> np.ndarray:
        """Tell which pixels the fit used, and why not the others.

        Returns
        -------
        ndarray
            Shape (ny, nx), uint8, see `background.result.MASK_MEANINGS`.
        """
        return self.fit.views.mask

    def painted(self) -> np.ndarray | None:
        """Give what was painted.

        Returns
        -------
        ndarray of bool or None
            Of the whole data, shape (window.n_rows, window.n_columns); None if nothing is.
        """
        return self.fit.result.excluded

    def painted_inside(self) -> np.ndarray | None:
        """Give what was painted, of the rows that are shown.

        Returns
        -------
        ndarray of bool or None
            Shape (ny, nx); None if nothing is.
        """
        return self.fit.views.painted

    # Averages and spectra.

    def parts_before(self) -> Parts:
        """Give averages and spectra of the image before subtraction.

        Returns
        -------
        Parts
            Averages over the pixels that the fit used, and spectra.
        """
        return self.fit.views.before_parts

    def parts_background(self) -> Parts:
        """Give averages and spectra of the background.

        Returns
        -------
        Parts
            As `parts_before`; of scales by hand it takes no time.
        """
        views = self.fit.views
        if not self.by_hand:
            return views.fitted_parts
        left, right = views.half_parts
        return left.combine(self.scales[0], right, self.scales[1])

    def parts_wing(self) -> Parts:
        """Give averages of the wings of the star that the fit found.

        Returns
        -------
        Parts
            As `parts_before`.
        """
        return self.fit.views.wing_parts

    def wavelength(self, order: int) -> np.ndarray:
        """Give the wavelength of each column.

        Parameters
        ----------
        order : int
            Order.

        Returns
        -------
        ndarray
            Shape (nx,), um.
        """
        columns = np.arange(self.before.shape[1], dtype=float)
        return wavelengths(order, columns, self.exposure.pwcpos)

    def step(self) -> StepAtBreak | None:
        """Measure the jump of order 1 at the break, after subtraction.

        Returns
        -------
        StepAtBreak or None
            The jump; None where it cannot be measured.
        """
        if 1 not in self.orders:
            return None
        before, background = self.parts_before(), self.parts_background()
        light = before.spectra[1] - background.spectra[1]
        trace = self.exposure.traces[1]
        row = np.clip(np.round(trace - self.lines[0]).astype(int), 0, len(self.lines) - 1)
        fraction = self.fit.views.right[row, np.arange(len(trace))]
        inside = (trace >= self.lines[0]) & (trace <= self.lines[-1])
        return step_at_break(light, np.where(inside, fraction, 0.0), inside)

    # Contamination.

    def find_contaminants(self) -> int:
        """Look for zero orders and foreign traces in the image after subtraction.

        Returns
        -------
        int
            How many there are.
        """
        strip = self.strip
        self.contamination = find_contamination(
            np.where(strip.good, self.after(), 0.0).astype(float), strip.good, strip.lines,
            strip.pwcpos, filter_name=self.exposure.filter, half_width=strip.half_width,
        )  # fmt: skip
        return len(self.contamination.sources)

    def rows_of(self, number: int) -> tuple[TableRow, ...]:
        """Give the wavelengths that a source spoils.

        Parameters
        ----------
        number : int
            Its number, from 1.

        Returns
        -------
        tuple of TableRow
            One for each order that it spoils.

        Raises
        ------
        SossInputError
            If there is no such source.
        """
        found = self.contamination
        count = 0 if found is None else len(found.sources)
        if found is None or not 1 <= number <= count:
            raise SossInputError(f"There is no source {number}; {count} are known.")
        rows = table_rows(found.sources, found.intervals)
        return tuple(row for row in rows if row.source == number)

    def toggle_source(self, number: int) -> bool:
        """Take the wavelengths of a source as masked intervals, or give them back.

        Parameters
        ----------
        number : int
            Its number, from 1.

        Returns
        -------
        bool
            Whether they are masked now.

        Raises
        ------
        SossInputError
            If there is no such source, or it spoils no order.
        """
        rows = self.rows_of(number)
        if not rows:
            raise SossInputError(f"Source {number} spoils no wavelength of any order.")
        chosen = self.setting.intervals
        masked = all(row in chosen for row in rows)
        rest = tuple(row for row in chosen if row.found != rows[0].found)
        self.history.put(replace(self.setting, intervals=rest if masked else (*rest, *rows)))
        return not masked
