"""All numbers of the explorer, without a browser."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from soss_photcal_steps.background.breaks import right_fraction
from soss_photcal_steps.background.exposure import fit_combined
from soss_photcal_steps.background.options import FitOptions
from soss_photcal_steps.background.result import BackgroundResult
from soss_photcal_steps.background.sky import bad_pixels
from soss_photcal_steps.contamination.find import Contamination, find_contamination
from soss_photcal_steps.contamination.table import TableRow, table_rows
from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.explore.load import ExplorerExposure
from soss_photcal_steps.explore.numbers import (
    Parts,
    StepAtBreak,
    fill_rows,
    make_parts,
    step_at_break,
)
from soss_photcal_steps.explore.setting import Region, Setting, check_scales, excluded_pixels
from soss_photcal_steps.trace import wavelengths

__all__ = ["ExplorerState", "Fit", "Ranked"]

#: Columns that make one point of the averages.
COLUMN_GROUP = 8
# Fits that are kept, so that going back costs nothing.
_KEPT_FITS = 8
_MOST_STEPS_BACK = 500


@dataclass(frozen=True)
class Fit:
    """What the fit says for a template and a mask.

    Attributes
    ----------
    result : BackgroundResult
        The fit; where it failed, a stand-in with scales of 1.
    failure : str
        Why there is no fit; empty if there is one.
    """

    result: BackgroundResult
    failure: str = ""


@dataclass(frozen=True)
class Ranked:
    """A template and how well it fits.

    Attributes
    ----------
    template : int
        Number, from 0.
    name : str
        Name.
    worse : float
        By how much its log evidence is smaller than that of the best; NaN without a fit.
    """

    template: int
    name: str
    worse: float


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
        self.half_width = half_width
        rows = exposure.window.strip_rows
        inside = (rows >= 0) & (rows < 256)
        #: Rows that are shown, in the coordinates of SUBSTRIP256.
        self.lines = rows[inside]
        self._inside = slice(*np.flatnonzero(inside)[[0, -1]] + (0, 1))
        self.before = exposure.combined.image[self._inside].astype(np.float32)
        self.good = np.isfinite(self.before)
        self.orders = tuple(order for order in (1, 2) if order in exposure.traces)
        self._settings = [Setting()]
        self._place = 0
        self._dragging = False
        self._fits: OrderedDict[tuple[int | None, tuple[Region, ...]], Fit] = OrderedDict()
        self._halves: tuple[int, tuple[np.ndarray, np.ndarray]] | None = None
        self._parts: tuple[BackgroundResult, bool, Parts, Parts] | None = None
        self._before: tuple[object, Parts] | None = None
        self._wing: tuple[object, Parts] | None = None
        self.contamination: Contamination | None = None

    # What is chosen.

    @property
    def setting(self) -> Setting:
        """What is chosen now."""
        return self._settings[self._place]

    def _do(self, setting: Setting, *, merge: bool = False) -> None:
        if setting == self.setting:
            return
        keep = self._place if merge and self._place > 0 else self._place + 1
        self._settings = [*self._settings[:keep], setting][-_MOST_STEPS_BACK:]
        self._place = len(self._settings) - 1

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
        self._dragging = False
        self._do(self._checked(replace(self.setting, template=template, scales=None)))

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
        setting = replace(self.setting, scales=scales)
        self._do(setting, merge=self._dragging and dragging)
        self._dragging = dragging

    def end_drag(self) -> None:
        """Say that a movement has ended."""
        self._dragging = False

    def use_fit(self) -> None:
        """Take the scales of the fit again."""
        self._dragging = False
        self._do(replace(self.setting, scales=None))

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
        self._dragging = False
        setting = replace(self.setting, regions=regions)
        if setting.scales is not None:
            # With another mask another template might fit best; scales belong to this one.
            setting = replace(setting, template=self.template)
        self._do(self._checked(setting))

    def undo(self) -> bool:
        """Take the last action back.

        Returns
        -------
        bool
            Whether there was one.
        """
        self._dragging = False
        if self._place == 0:
            return False
        self._place -= 1
        return True

    def redo(self) -> bool:
        """Do again what was taken back.

        Returns
        -------
        bool
            Whether there was anything.
        """
        self._dragging = False
        if self._place + 1 >= len(self._settings):
            return False
        self._place += 1
        return True

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
        key = (setting.template, setting.regions)
        if key not in self._fits:
            self._fits[key] = self._make_fit(setting)
            while len(self._fits) > _KEPT_FITS:
                self._fits.popitem(last=False)
        self._fits.move_to_end(key)
        return self._fits[key]

    def _make_fit(self, setting: Setting) -> Fit:
        one = self.exposure
        window = one.window
        excluded = excluded_pixels(setting.regions, window.strip_rows, window.n_columns)

        def fit(options: FitOptions, scales: tuple[float, float] | None) -> BackgroundResult:
            return fit_combined(
                one.combined,
                window.strip_rows,
                one.templates,
                one.traces,
                options,
                scales,
                excluded,
            )

        options = replace(self.options, template=setting.template)
        try:
            return Fit(fit(options, None))
        except ValueError as error:
            by_hand = replace(options, template=setting.template or 0)
            return Fit(fit(by_hand, (1.0, 1.0)), reason(error))

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
        automatic = self.fit_of(replace(self.setting, template=None, scales=None))
        evidence = np.asarray(automatic.result.fit.log_evidence, float)
        if not np.isfinite(evidence).any():
            return [Ranked(k, name, np.nan) for k, name in enumerate(self.exposure.names)]
        order = np.argsort(-np.nan_to_num(evidence, nan=-np.inf), kind="stable")
        best = evidence[order[0]]
        return [Ranked(int(k), self.exposure.names[k], float(best - evidence[k])) for k in order]

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
        if self._halves is None or self._halves[0] != self.template:
            templates, number = self.exposure.templates, self.template
            image = templates.images[number]
            right = right_fraction(templates.geometry[number], image.shape[1])
            right, image = right[self._inside], image[self._inside]
            self._halves = number, (image * (1 - right), image * right)
        return self._halves[1]

    def background(self) -> np.ndarray:
        """Give what is subtracted.

        Returns
        -------
        ndarray
            Shape (ny, nx), float32, DN/s.
        """
        if not self.by_hand:
            return self.fit.result.background[self._inside]
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
        return self.fit.result.mask()[self._inside]

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
        painted = self.painted()
        return None if painted is None else painted[self._inside]

    # Averages and spectra.

    @cached_property
    def _right_side(self) -> np.ndarray:
        return self.fit.result.right[self._inside] > 0.5

    def _make_parts(self, image: np.ndarray) -> Parts:
        return make_parts(
            image, self.fit.result.mask()[self._inside] == 0, self._right_side, self.lines,
            self.exposure.pwcpos, self.orders, COLUMN_GROUP, self.half_width,
        )  # fmt: skip

    def parts_before(self) -> Parts:
        """Give averages and spectra of the image before subtraction.

        Returns
        -------
        Parts
            Averages over the pixels that the fit used, and spectra.
        """
        key = self.fit.result
        if self._before is None or self._before[0] is not key:
            error = self.exposure.combined.error[self._inside]
            known = self.good & ~bad_pixels(self.before, self.good, error)
            self._before = key, self._make_parts(fill_rows(self.before, known))
        return self._before[1]

    def parts_background(self) -> Parts:
        """Give averages and spectra of the background.

        Returns
        -------
        Parts
            As `parts_before`; of scales by hand it takes no time.
        """
        result, by_hand = self.fit.result, self.by_hand
        kept = self._parts
        if kept is None or kept[0] is not result or kept[1] != by_hand:
            halves = self.template_halves() if by_hand else (self.background(),) * 2
            first = self._make_parts(halves[0])
            second = self._make_parts(halves[1]) if by_hand else first
            kept = self._parts = (result, by_hand, first, second)
        left, right = kept[2:]
        if not self.by_hand:
            return left
        return left.combine(self.scales[0], right, self.scales[1])

    def parts_wing(self) -> Parts:
        """Give averages of the wings of the star that the fit found.

        Returns
        -------
        Parts
            As `parts_before`.
        """
        result = self.fit.result
        if self._wing is not None and self._wing[0] is result:
            return self._wing[1]
        wing = np.zeros(result.background.shape, np.float32)
        wing[result.lines] = result.wing()
        parts = self._make_parts(wing[self._inside])
        self._wing = result, parts
        return parts

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
        fraction = self.fit.result.right[self._inside][row, np.arange(len(trace))]
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
        after = self.after()
        self.contamination = find_contamination(
            np.where(self.good, after, 0.0).astype(float), self.good, self.lines,
            self.exposure.pwcpos, filter_name=self.exposure.filter, half_width=self.half_width,
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
        self._dragging = False
        chosen = self.setting.intervals
        masked = all(row in chosen for row in rows)
        rest = tuple(row for row in chosen if row.found != rows[0].found)
        self._do(replace(self.setting, intervals=rest if masked else (*rest, *rows)))
        return not masked
