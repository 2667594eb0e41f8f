"""Fits of one exposure, for different templates and masks."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace

import numpy as np

from soss_photcal_steps.background.exposure import fit_combined
from soss_photcal_steps.background.options import FitOptions
from soss_photcal_steps.background.result import BackgroundResult
from soss_photcal_steps.errors import reason
from soss_photcal_steps.explore.load import ExplorerExposure
from soss_photcal_steps.explore.setting import Region, excluded_pixels
from soss_photcal_steps.explore.views import FitViews, Strip

__all__ = ["Fit", "Fits", "Ranked"]

# Fits that are kept, so that going back costs nothing.
_KEPT_FITS = 8


@dataclass(frozen=True)
class Fit:
    """What the fit says for a template and a mask.

    Attributes
    ----------
    result : BackgroundResult
        The fit; where it failed, a stand-in with scales of 1.
    failure : str
        Why there is no fit; empty if there is one.
    views : FitViews
        Images, averages and spectra that follow from it.
    """

    result: BackgroundResult
    failure: str
    views: FitViews = field(repr=False)


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


class Fits:
    """Fits that are made when they are asked for, and the last of them kept.

    Parameters
    ----------
    exposure : ExplorerExposure
        The exposure.
    options : FitOptions
        Settings of the fit, without a template.
    strip : Strip
        What is shown of the exposure.
    """

    def __init__(self, exposure: ExplorerExposure, options: FitOptions, strip: Strip) -> None:
        self._exposure, self._options, self._strip = exposure, options, strip
        self._kept: OrderedDict[tuple[int | None, tuple[Region, ...]], Fit] = OrderedDict()

    def get(self, template: int | None, regions: tuple[Region, ...]) -> Fit:
        """Fit with a template and a mask.

        Parameters
        ----------
        template : int or None
            Number of the template, from 0; None leaves the choice to the fit.
        regions : tuple of Region
            What was painted.

        Returns
        -------
        Fit
            The fit.
        """
        key = (template, regions)
        if key not in self._kept:
            self._kept[key] = self._make(template, regions)
            while len(self._kept) > _KEPT_FITS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _make(self, template: int | None, regions: tuple[Region, ...]) -> Fit:
        one = self._exposure
        window = one.window
        excluded = excluded_pixels(regions, window.strip_rows, window.n_columns)

        def fit(options: FitOptions, scales: tuple[float, float] | None) -> BackgroundResult:
            return fit_combined(
                one.combined, window.strip_rows, one.templates, one.traces, options, scales,
                excluded,
            )  # fmt: skip

        options, failure = replace(self._options, template=template), ""
        try:
            result = fit(options, None)
        except ValueError as error:
            result = fit(replace(options, template=template or 0), (1.0, 1.0))
            failure = reason(error)
        return Fit(result, failure, FitViews(self._strip, result))

    def ranking(self, regions: tuple[Region, ...]) -> list[Ranked]:
        """Order the templates by how well they fit.

        Parameters
        ----------
        regions : tuple of Region
            What was painted.

        Returns
        -------
        list of Ranked
            The best first.  Without a fit, by number.
        """
        names = self._exposure.names
        evidence = np.asarray(self.get(None, regions).result.fit.log_evidence, float)
        if not np.isfinite(evidence).any():
            return [Ranked(k, name, np.nan) for k, name in enumerate(names)]
        order = np.argsort(-np.nan_to_num(evidence, nan=-np.inf), kind="stable")
        best = evidence[order[0]]
        return [Ranked(int(k), names[k], float(best - evidence[k])) for k in order]
