"""The step that combines ratios to a correction per order, and makes the new photom file."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from soss_photcal_steps.combine import photom_file, pictures, product
from soss_photcal_steps.combine.combine import (
    CombinedOrder,
    CombineOptions,
    Splice,
    combine_order,
    default_options,
)
from soss_photcal_steps.combine.inputs import (
    RatioProduct,
    make_curves,
    read_combine_association,
    read_ratio_product,
)
from soss_photcal_steps.combine.random_effects import RandomEffectsOptions
from soss_photcal_steps.combine.time import TrendFit
from soss_photcal_steps.combine.trends import as_record, describe_trend, detrend, find_trends
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import is_association
from soss_photcal_steps.models import SossPhotomCorrectionModel
from soss_photcal_steps.ratio.standards import load_standards
from soss_photcal_steps.step import SossStep

__all__ = ["SossPhotomCombineStep"]

log = logging.getLogger(__name__)

# What the record says about the run.
_RECORDED_OPTIONS = (
    "method",
    "use",
    "orders",
    "sigma",
    "sigma_high_order2",
    "iterations",
    "star_scales",
    "variance",
    "min_stars",
    "splice_observation",
    "splice_wavelength",
    "anchor_order1",
    "anchor_order2",
    "restrictions",
    "outside_error",
    "time_tables",
)


class SossPhotomCombineStep(SossStep):
    """Combine the ratios of standard stars, and make the photom file that they ask for.

    The input is a level-3 style association of ratio products, several of them, or a list.
    The products are a `SossPhotomCorrectionModel` and a photom reference file.
    """

    class_alias = "soss_photom_combine"
    product_suffix = "sosscorr"

    spec = """
    output_ext = string(default='.asdf')  # Extension of the correction
    photom = string(default=None)  # The photom file that the ratios were measured through; looked for in the CRDS cache by its name if None
    method = option('random_effects', 'weighted', 'clipped', default='random_effects')  # Mean that goes into the photom file; all are computed and stored
    use = option('fit', 'ratio', default='fit')  # Combine the smooth curves or the ratios themselves; section 7 of the report did both
    orders = int_list(default=list(1, 2))  # Spectral orders to derive; the rows of others are carried over, as in the report
    sigma = float(min=1, default=3.0)  # Threshold of the clipped mean, standard deviations; 3 as in section 7 of the report
    sigma_high_order2 = float(min=1, default=2.0)  # The same for order 2 on the high side; 2 as in section 7 of the report
    iterations = integer(min=0, default=5)  # Most rounds of clipping; 5 as in section 7 of the report
    star_scales = option('smooth', 'grey', 'none', default='smooth')  # What the deviation of a star is along wavelength in the random-effects mean: smooth, one factor, or independent
    variance = option('paule-mandel', 'dersimonian-laird', default='paule-mandel')  # Estimator of the variance between stars
    min_stars = integer(min=1, default=2)  # Stars that a wavelength needs; fewer if there are not as many
    splice_observation = string(default='1091/2')  # Program and observation that takes the place of the mean of order 2 at long wavelengths, as in section 7 of the report; none if empty
    splice_wavelength = float(min=0, default=0.9525)  # Where it begins, um; section 7 of the report
    anchor_order1 = float_list(min=2, max=2, default=list(0.0, 2.0))  # Wavelengths of order 1 whose values are kept when steps are taken out, um; the short side, as in section 7
    anchor_order2 = float_list(min=2, max=2, default=list(0.74, 1.0))  # The same for order 2, um; section 7 of the report
    restrictions = string(default=None)  # CSV table of observations or ranges to be left out: star, observation, order, low, high (um)
    standards = string(default=None)  # YAML table of standard stars of your own
    outside_error = float(min=0, default=1.0)  # Relative error of the response beyond the measured wavelengths, where the old shape is kept
    time_tables = boolean(default=False)  # Write the throughput trend that the visits for stability show into the photom file (timecoeff tables); the response then holds for the day of the first visit
    photom_name = string(default=None)  # File name of the new photom file; the product's name with _photom.fits if None
    author = string(default='soss_photcal_steps')  # AUTHOR of the photom file
    pedigree = string(default=None)  # PEDIGREE; INFLIGHT with the dates of the first and the last observation if None
    description = string(default='NIRISS SOSS absolute flux calibration')  # DESCRIP, to which the unit is added
    useafter = string(default=None)  # USEAFTER, YYYY-MM-DDTHH:MM:SS; that of the old file if None
    check = boolean(default=True)  # Run our checks and crds certify on the new file
    save_plots = boolean(default=False)  # Save pictures of the combination, of the old and the new response, and of the throughput in time (_sosscorr-order1.png and so on)
    """  # noqa: E501 (a parameter's help is its line's comment, and cannot be wrapped)

    # What an observation is for, by its path, where the pipeline around this step knows it.
    roles: Mapping[str, str] = MappingProxyType({})
    # What the association of that pipeline leaves out of each.
    member_restrictions: Mapping[str, Any] = MappingProxyType({})

    def process(
        self,
        input: Any,  # noqa: A002 (the name in stpipe)
        *more: Any,
    ) -> SossPhotomCorrectionModel:
        """Combine.

        Parameters
        ----------
        input : path, SossRatioModel, or list of them
            Ratio products; a ``.json`` path is an association of them.
        *more
            Further ratio products.

        Returns
        -------
        SossPhotomCorrectionModel
            The correction; the new photom file lies beside it.

        Raises
        ------
        SossInputError
            If the input cannot be used, or the ratios do not belong together.
        """
        products = self._products([input, *more] if more else input)
        for line in product.check_settings(products):
            log.info("%s", line)
        old = photom_file.find_photom(
            products, self.make_input_path(self.photom) if self.photom else None
        )
        log.info("The ratios were measured through %s.", old)
        self.protect(old, *(one.path for one in products if one.path))
        curves, left_out = product.restrict(
            [curve for order in self.orders for curve in make_curves(products, order, self.use)],
            self.make_input_path(self.restrictions) if self.restrictions else None,
            products,
        )
        for line in left_out:
            log.info("%s", line)
        measured = curves
        trends = find_trends(measured)
        for order, fit in trends.items():
            log.info("%s", describe_trend(order, fit))
        if self.time_tables:
            curves = detrend(curves, trends)
        combined, parts = {}, {}
        for order in self.orders:
            parts[order] = [curve for curve in curves if curve.order == order]
            if not parts[order]:
                log.warning("Order %d: no ratio has anything to give; its row is kept.", order)
                continue
            combined[order] = combine_order(parts[order], self._options(order))
            for line in product.summary_lines(combined[order]):
                log.info("%s", line)
        if not combined:
            raise SossInputError(
                f"None of the {len(products)} ratio products has a curve in the orders "
                f"{', '.join(map(str, self.orders))}."
            )
        result = SossPhotomCorrectionModel()
        options = {order: self._options(order) for order in combined}
        product.fill(result, products, combined, parts, left_out, options)
        result.trends = {str(order): as_record(fit) for order, fit in trends.items()}
        new = self._write_photom(result, products, combined, old, trends)
        self.record(
            result,
            meta={"options": {name: getattr(self, name) for name in _RECORDED_OPTIONS}},
            inputs=[old, *(one.path for one in products if one.path)],
        )
        if self.save_plots:
            series = pictures.trend_series(measured, trends)
            self._save_figures(pictures.figures(result, old, new, series))
        return result

    def _products(self, item: Any) -> list[RatioProduct]:
        """Read the ratio products."""
        table = load_standards(self.standards)
        members: list[tuple[Any, str | None, Any]]
        if is_association(item):
            path = self.make_input_path(str(item))
            self.check_file(path)
            found, name = read_combine_association(path)
            members = [(one.path, one.role, one.restrictions) for one in found]
            # The product has the name that the association gives it.
            self.set_primary_input(str(Path(path).with_name(name)), exclusive=False)
        else:
            given = item if isinstance(item, Sequence) and not isinstance(item, str) else [item]
            members = [
                (
                    self.make_input_path(str(one)),
                    self.roles.get(str(one)),
                    self.member_restrictions.get(str(one)),
                )
                if isinstance(one, str | Path)
                else (one, None, None)
                for one in given
            ]
        if not members:
            raise SossInputError("The list of ratio products is empty.")
        return [read_ratio_product(one, table, role, limits) for one, role, limits in members]

    def _options(self, order: int) -> CombineOptions:
        splice = None
        if order == 2 and self.splice_observation:
            splice = Splice(self.splice_observation, self.splice_wavelength)
        standard = default_options(order)
        anchor = {1: self.anchor_order1, 2: self.anchor_order2}.get(order, standard.anchor)
        return CombineOptions(
            method=self.method,
            sigma_low=self.sigma,
            sigma_high=self.sigma_high_order2 if order == 2 else self.sigma,
            iterations=self.iterations,
            effects=RandomEffectsOptions(star_scales=self.star_scales, variance=self.variance),
            anchor=(float(anchor[0]), float(anchor[1])),
            splice=splice,
            min_stars=self.min_stars,
        )

    def _write_photom(
        self,
        result: SossPhotomCorrectionModel,
        products: Sequence[RatioProduct],
        combined: dict[int, CombinedOrder],
        old: str,
        trends: Mapping[int, TrendFit],
    ) -> str:
        """Write the new photom file, check it, and give its path."""
        header = photom_file.delivery_header(
            products, combined, self.author, self.pedigree, self.description, self.useafter
        )
        path = self.photom_path()
        changes = photom_file.write_photom_file(
            path,
            old,
            combined,
            header,
            products,
            self.outside_error,
            trends if self.time_tables else None,
        )
        for line in changes:
            log.info("%s", line)
        log.info("Saved %s", path)
        verdict = "not checked"
        findings: list[tuple[str, str]] = []
        if self.check:
            verdict, findings = photom_file.check_file(path, old)
            for severity, text in findings:
                (log.warning if severity != "note" else log.info)("%s: %s", severity, text)
            log.info("The new photom file %s.", verdict)
        photom_file.note_photom(result, old, path, verdict, [text for _, text in findings])
        return path

    def photom_path(self) -> str:
        """Tell where the new photom file is written.

        Returns
        -------
        str
            The path.
        """
        if self.photom_name:
            folder = Path(self.make_output_path(suffix="photom", ext=".fits")).parent
            return str(folder / self.photom_name)
        return str(self.make_output_path(suffix="photom", ext=".fits"))

    def _save_figures(self, figures: Mapping[str, Any]) -> None:
        for suffix, figure in figures.items():
            with self.side_product(suffix, ".png") as path:
                figure.savefig(path, dpi=110)
