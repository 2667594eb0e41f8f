"""The step that makes a library of background templates from exposures of the sky."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from stdatamodels.jwst.datamodels import JwstDataModel, SossBkgModel

from soss_photcal_steps.background.inputs import read_association
from soss_photcal_steps.background.reference import read_library
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import is_association
from soss_photcal_steps.photom.header import DeliveryHeader, pedigree
from soss_photcal_steps.step import SossStep
from soss_photcal_steps.template import library
from soss_photcal_steps.template.build import BuiltTemplate
from soss_photcal_steps.template.common import SharedShapes, share_shapes
from soss_photcal_steps.template.existing import read_entries
from soss_photcal_steps.template.inputs import (
    BackgroundExposure,
    check_together,
    group_exposures,
    read_exposure,
)
from soss_photcal_steps.template.mask import MaskOptions
from soss_photcal_steps.template.sides import SmoothOptions
from soss_photcal_steps.template.star import build_with_stars
from soss_photcal_steps.template.statistics import LibraryStatistics, library_statistics

__all__ = ["SossTemplateBuildStep"]

log = logging.getLogger(__name__)

_RECORDED_OPTIONS = (
    "group_by",
    "star",
    "start",
    "library",
    "names",
    "degree_left",
    "degree_right",
    "row_sigma",
    "source_sigma",
    "grow",
    "common_shapes",
    "trace_half_width",
)


class SossTemplateBuildStep(SossStep):
    """Make background templates of exposures, and a library of them.

    The input is one or several ``rate`` or ``rateints`` of NIS_SOSS, or a level-2 association
    with background members.  The product is a ``bkg`` reference, for ``override_bkg`` and for
    CRDS.
    """

    class_alias = "soss_template_build"
    product_suffix = "sosslib"

    spec = """
    group_by = option('all', 'observation', 'exposure', default='all')  # What makes one template: all input together, each observation of a program, or each exposure
    star = option('auto', 'yes', 'no', default='auto')  # Whether a star is in the aperture, whose traces are masked and whose wings are taken off; auto: where the header does not say that the exposure is a dedicated background (BKGDTARG)
    start = string(default=None)  # Library (FITS) whose mean template is the first guess where a star is in the aperture; without it wings are taken for sky, by up to some 10 per cent right of the break
    library = string(default=None)  # Library (FITS) to which the new templates are added; the product is a new file
    names = force_list(default=None)  # Names of the new templates; target and date if None
    degree_left = integer(min=1, max=12, default=5)  # Degree of the polynomial along the rows left of the break; 5 and 12 gave the best templates of simulated skies
    degree_right = integer(min=1, max=16, default=12)  # The same right of the break
    row_sigma = float(min=0, default=40.0)  # Gaussian sigma over which the polynomials of neighbouring rows are fitted together, pixels; 12 to 50 were tried on simulated skies, which change over some 100 rows
    source_sigma = float(min=1.5, default=3.0)  # Threshold above which sources are masked, in units of the noise of the smoothed image
    grow = integer(min=0, max=50, default=4)  # Pixels by which the mask of a source is grown; up to 32 more for bright ones
    common_shapes = option('auto', 'no', default='auto')  # Whether the new templates are described by their mean and the few principal components that they share, which takes noise off; auto: of four templates or more with two exposures or more each, with as many components as predict the other half of the exposures best
    trace_half_width = float(min=5, default=30.0)  # Half width of the mask over a star's traces, pixels; beyond it the wings are fitted
    author = string(default='soss_photcal_steps')  # AUTHOR of the library
    pedigree = string(default=None)  # PEDIGREE; INFLIGHT with the dates of the first and the last exposure if None
    description = string(default='NIRISS SOSS background templates')  # DESCRIP, up to 68 characters
    useafter = string(default='2022-06-01T00:00:00')  # USEAFTER, YYYY-MM-DDTHH:MM:SS; by default before the first data of SOSS
    save_plots = boolean(default=False)  # Save pictures of the library and of each new template (_sosslib.png, _sosslib-template0.png and so on)
    """  # noqa: E501 (a parameter's help is its line's comment, and cannot be wrapped)

    def suffix_for(self, model: JwstDataModel) -> str:
        """Give the file name ending of a product: a library has no integrations.

        Parameters
        ----------
        model : JwstDataModel
            The product.

        Returns
        -------
        str
            `product_suffix`.
        """
        return self.product_suffix

    def process(
        self,
        input: Any,  # noqa: A002 (the name in stpipe)
        *more: Any,
    ) -> SossBkgModel:
        """Make the library.

        Parameters
        ----------
        input : path, JwstDataModel, or list of them
            Background exposures; a ``.json`` path is a level-2 association, whose background
            members are taken, or its science members if it has none.
        *more
            Further exposures.

        Returns
        -------
        SossBkgModel
            The library.

        Raises
        ------
        SossInputError
            If the input cannot be used.
        """
        exposures = self._exposures([input, *more] if more else input)
        first = exposures[0].info
        groups = group_exposures(exposures, self.group_by)
        if self.names is not None and len(self.names) != len(groups):
            raise SossInputError(
                f"{len(self.names)} names are given for {len(groups)} templates; give one for each."
            )
        old = self.given_file(self.library) if self.library else ""
        start = self.given_file(self.start) if self.start else ""
        guess = None
        if start:
            known = read_library(start, first.window, str(first.filter))
            guess = np.asarray(known.images.mean(axis=0))
        entries = read_entries(old, first) if old else []
        labels = self.names or [f"{one[0].target} {one[0].date or 'undated'}" for one in groups]
        alone = [
            self._template(group, label, guess) for group, label in zip(groups, labels, strict=True)
        ]
        shared = share_shapes(alone, share=self.common_shapes == "auto")
        self._describe_shared(shared)
        built = []
        for group, label, template in zip(groups, labels, shared.templates, strict=True):
            entry = self._entry(group, label, template)
            built.append((len(entries), entry, template))
            entries.append(entry)
        taken = [entry.name for entry in entries]
        for name, count in Counter(taken).items():
            if count > 1:
                log.warning("%d templates have the name %s.", count, name)
        model = SossBkgModel()
        library.fill_library(
            model, entries, first.window, str(first.filter), self._header(exposures)
        )
        model.meta.filename = first.name
        try:
            statistics = library_statistics(np.array(model.data))
        except ValueError as error:
            raise SossInputError(f"The templates cannot be compared: {error}.") from error
        self._describe(statistics, taken)
        self.record(
            model,
            meta={
                "options": {name: getattr(self, name) for name in _RECORDED_OPTIONS},
                "names": taken,
                "adds": [float(value) for value in statistics.adds],
                "variance": [float(value) for value in statistics.variance],
                "components": list(shared.components or ()),
            },
            inputs=[path for path in (*(one.path for one in exposures), old, start) if path],
        )
        if self.save_plots:
            self._save_figures(statistics, taken, np.array(model.data), built, first.window)
        return model

    def _exposures(self, item: Any) -> list[BackgroundExposure]:
        """Read all exposures."""
        if is_association(item):
            path = self.make_input_path(str(item))
            self.check_file(path)
            association = read_association(path)
            given: list[Any] = list(association.background or association.science)
        else:
            series = isinstance(item, Sequence) and not isinstance(item, str)
            given = [
                self.make_input_path(str(one)) if isinstance(one, str | Path) else one
                for one in (item if series else [item])
            ]
        if not given:
            raise SossInputError("The list of background exposures is empty.")
        files = [one for one in given if isinstance(one, str)]
        self.protect(*files)
        if files:
            self.set_primary_input(files[0])
        exposures = [read_exposure(one) for one in given]
        check_together(exposures)
        return exposures

    def _header(self, exposures: Sequence[BackgroundExposure]) -> DeliveryHeader:
        given = self.pedigree
        if given is None:
            days = [one.date for one in exposures if one.date]
            if not days:
                raise SossInputError(
                    "No exposure says when it was observed (DATE-OBS); give the pedigree."
                )
            given = pedigree(days)
        return DeliveryHeader(self.author, given, self.description, self.useafter)

    def _template(
        self, group: Sequence[BackgroundExposure], label: str, guess: np.ndarray | None
    ) -> BuiltTemplate:
        """Build one template of a group of exposures."""
        stars = [
            self.star == "yes" or (self.star == "auto" and not one.background_target)
            for one in group
        ]
        log.info(
            "Template %s: %d exposure(s), %d with a star in the aperture.",
            label, len(group), sum(stars),
        )  # fmt: skip
        if any(stars) and guess is None:
            log.warning(
                "Wings of a star and sky are told apart poorly without a first guess (start)."
            )
        try:
            template = build_with_stars(
                [one.with_star(star) for one, star in zip(group, stars, strict=True)],
                group[0].info.window.strip_rows,
                SmoothOptions(self.degree_left, self.degree_right, self.row_sigma),
                MaskOptions(self.source_sigma, self.grow),
                self.trace_half_width,
                guess,
            )
        except ValueError as error:
            raise SossInputError(f"No template {label} can be made: {error}.") from error
        for line in library.template_details(template):
            log.info("  %s", line)
        return template

    @staticmethod
    def _entry(
        group: Sequence[BackgroundExposure], label: str, template: BuiltTemplate
    ) -> library.TemplateEntry:
        """Say what a template is and where it comes from."""
        origin = library.origin_lines(
            [one.info.name for one in group],
            [one.date for one in group],
            next((one.place for one in group if one.place), None),
            library.template_details(template),
        )
        return library.make_entry(label, template, group[0].info.window, origin)

    @staticmethod
    def _describe_shared(shared: SharedShapes) -> None:
        if shared.components is not None:
            members = sum(one.components is not None for one in shared.templates)
            log.info(
                "%d of %d new templates are described by their mean and %d/%d components that "
                "they share left/right of the break.",
                members, len(shared.templates), *shared.components,
            )  # fmt: skip
        if np.isfinite(shared.noise).all():
            log.info(
                "The halves of the exposures differ by %.1f/%.1f times what pixels tell; the "
                "errors have that.", *shared.noise,
            )  # fmt: skip
        if np.isfinite(shared.misfit):
            log.info(
                "The smooth model leaves %.3f per cent of what all exposures show; the errors have "
                "that too.", 100 * shared.misfit,
            )  # fmt: skip

    @staticmethod
    def _describe(statistics: LibraryStatistics, names: Sequence[str]) -> None:
        if len(names) < 2:
            return
        log.info(
            "%d templates; %d principal component(s) make up 99 per cent of their differences.",
            len(names), statistics.needed(),
        )  # fmt: skip
        for name, adds in zip(names, statistics.adds, strict=True):
            log.info("  %s differs by %.2f per cent from all sums of the others.", name, 100 * adds)

    def _save_figures(
        self,
        statistics: LibraryStatistics,
        names: list[str],
        images: np.ndarray,
        built: Sequence[Any],
        window: Any,
    ) -> None:
        from soss_photcal_steps.report.library_figure import library_figure, template_figure

        with self.side_product("sosslib", ".png") as path:
            library_figure(statistics, names, images).savefig(path, dpi=110)
        for number, entry, template in built:
            with self.side_product(f"sosslib-template{number}", ".png") as path:
                figure = template_figure(
                    template.image, template.error, template.mean, template.edge.column,
                    window.strip_rows, f"Template {number}: {entry.name}",
                )  # fmt: skip
                figure.savefig(path, dpi=110)
