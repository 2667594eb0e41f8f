"""The step that divides the spectra of a standard star by its model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import is_association
from soss_photcal_steps.models import SossRatioModel
from soss_photcal_steps.ratio import product
from soss_photcal_steps.ratio.derive import (
    RatioOptions,
    derive_order,
    fit_order,
    misfit_unit,
    typical_ratio,
)
from soss_photcal_steps.ratio.intervals import read_intervals
from soss_photcal_steps.ratio.mean import mean_spectra
from soss_photcal_steps.ratio.observation import parse_integrations
from soss_photcal_steps.ratio.options import FitOptions
from soss_photcal_steps.ratio.spectra import ObservationSpectra, read_spectra, science_members
from soss_photcal_steps.ratio.standards import Interval, load_standards
from soss_photcal_steps.step import SossStep

__all__ = ["SossRatioStep"]

log = logging.getLogger(__name__)

# What the record says about the run.
_RECORDED_OPTIONS = (
    "star",
    "model",
    "kind",
    "sampling",
    "line_width",
    "sigma",
    "maxiters",
    "exclude",
    "flux_unit",
    "mask_lines",
    "mask_contamination",
    "mask_ranges",
    "mask_table",
    "contamination_image",
    "min_signal",
    "fit_sigma",
    "fit_maxiters",
    *(f"order{n}_{what}" for n in (1, 2, 3) for what in ("fit", "degree", "knots", "joins")),
)


class SossRatioStep(SossStep):
    """Divide the extracted spectra of a standard star by its model, and fit a smooth curve.

    The input is the x1d or x1dints of one observation: a file, a list of its segments, an
    association of them, or data models.  The product is a `SossRatioModel`.
    """

    class_alias = "soss_ratio"
    product_suffix = "sossratio"

    spec = """
    output_ext = string(default='.asdf')  # Extension of the product
    star = string(default=None)  # Name of the standard star; found from target name and position in the header if None
    model = string(default=None)  # Model of the star: a CALSPEC file name, or the path of a FITS or text table; that of the table of standards if None
    kind = option('hot', 'A', 'solar', None, default=None)  # Kind of star, which sets the widths of the line windows; that of the table of standards if None
    calspec_dir = string(default=None)  # Folder of CALSPEC files; $PYSYN_CDBS/calspec, astropy's cache and MAST come after it
    download = boolean(default=True)  # Fetch the CALSPEC file from MAST if it is not found
    standards = string(default=None)  # YAML table of standard stars of your own, which adds to the package's
    photom_file = string(default=None)  # The photom reference file that the spectra were calibrated with, for its checksum; looked for in the CRDS cache if None
    sampling = option('auto', 'interpolate', 'integrate', default='auto')  # Interpolate the model, or average it over the wavelength bins; auto averages where the model is finer
    line_width = float(min=0, default=None)  # FWHM that the model is convolved with, pixels; SOSS lines have about 2; none if None, as in the report
    sigma = float(min=1, default=3.0)  # Threshold of the clipping of integrations, standard deviations; 3 as in section 3 of the report
    maxiters = integer(min=0, default=5)  # Most rounds of clipping; 5 as in section 3 of the report
    exclude = string(default=None)  # Integrations to be left out, counted from 1 over the observation, such as 1-3,17
    flux_unit = option('auto', 'MJy', 'Jy', 'mJy', default='auto')  # Unit of the fluxes; auto is what the files say
    mask_lines = boolean(default=True)  # Leave windows around hydrogen lines out of the fit
    mask_contamination = boolean(default=True)  # Leave the contaminated intervals of the table of standards out of the fit
    mask_ranges = boolean(default=True)  # Keep to the valid ranges of the table of standards
    mask_table = string(default=None)  # CSV or ECSV table of further intervals: order, low, high (um), and kind, note if wanted
    contamination_image = string(default=None)  # Rate, rateints or calints file of the observation, best with its background subtracted, in which contaminants are looked for; what they spoil is left out of the fit
    min_signal = float(min=0, default=5.0)  # Least ratio of mean flux to its error; below it a point says nothing on a scale of per cents
    fit_sigma = float(min=1, default=4.0)  # Threshold of the fit's rejection of outliers, in units of the noise
    fit_maxiters = integer(min=0, default=10)  # Most rounds of rejection
    order1_fit = option('auto', 'legendre', 'spline', 'smooth', 'none', default='auto')  # Curve of order 1; auto is a Legendre series, or a spline, of few knots or a smoothing one (smooth), where that is not good enough (section 7 of the report)
    order1_degree = integer(min=0, max=30, default=None)  # Degree of the Legendre series of order 1; from the data if None
    order1_knots = float_list(default=None)  # Inner knots of the spline of order 1, um; from the data if None
    order1_joins = float_list(default=None)  # Wavelengths where sections of order 1 join, um; one section if None
    order2_fit = option('auto', 'legendre', 'spline', 'smooth', 'none', default='auto')  # Curve of order 2, as for order 1
    order2_degree = integer(min=0, max=30, default=None)  # Degree of the Legendre series of order 2; from the data if None
    order2_knots = float_list(default=None)  # Inner knots of the spline of order 2, um; from the data if None
    order2_joins = float_list(default=None)  # Wavelengths where sections of order 2 join, um; peak and minimum near 0.6 um are found in the data if None (section 7)
    order3_fit = option('auto', 'legendre', 'spline', 'smooth', 'none', default='auto')  # Curve of order 3, as for order 1
    order3_degree = integer(min=0, max=30, default=None)  # Degree of the Legendre series of order 3; from the data if None
    order3_knots = float_list(default=None)  # Inner knots of the spline of order 3, um; from the data if None
    order3_joins = float_list(default=None)  # Wavelengths where sections of order 3 join, um; one section if None
    save_plots = boolean(default=False)  # Save pictures of the spectra and of the ratio (_sossspectra.png, _sossratio.png)
    """  # noqa: E501 (a parameter's help is its line's comment, and cannot be wrapped)

    def process(self, input: Any, *_: Any) -> SossRatioModel:  # noqa: A002 (the name in stpipe)
        """Derive the ratio.

        Parameters
        ----------
        input : path, data model, or list of them
            Segments of one observation; a ``.json`` path is an association of them.
        *_
            Whatever else the step gets that this one is hooked to.

        Returns
        -------
        SossRatioModel
            The ratio of each order.

        Raises
        ------
        SossInputError
            If the input cannot be used.
        """
        items = self._items(input)
        spectra = read_spectra(
            items, exclude=parse_integrations(self.exclude), flux_unit=self.flux_unit
        )
        for warning in spectra.warnings:
            log.warning("%s", warning)
        log.info(
            "%s: %d integrations of orders %s.",
            spectra.info.name,
            spectra.n_integrations,
            ", ".join(map(str, spectra.orders)),
        )
        star = product.find_star(
            spectra.info,
            load_standards(self.standards),
            star=self.star,
            kind=self.kind,
            model=self.model,
            folder=self.calspec_dir,
            download=self.download,
        )
        for note in star.notes:
            log.info("%s", note)
        for warning in star.warnings:
            log.warning("%s", warning)
        orders = self._orders(spectra, star)
        for line in product.summary_lines(orders):
            log.info("%s", line)
        paths = [item for item in items if isinstance(item, str | Path)]
        if self.contamination_image:
            paths.append(self.make_input_path(self.contamination_image))
        self.protect(star.found.path)
        # It is checked as a whole when it is saved, and not part by part.
        result = SossRatioModel(validate_on_assignment=False)
        product.fill(result, spectra, star, orders, self.photom_file)
        self.record(
            result,
            meta={"options": {name: getattr(self, name) for name in _RECORDED_OPTIONS}},
            inputs=[*paths, star.fingerprint],
        )
        self._save_plots(result, orders, star)
        return result

    def _items(self, item: Any) -> list[Any]:
        """List the segments."""
        if isinstance(item, str | Path):
            path = self.make_input_path(str(item))
            self.check_file(path)
            if not is_association(path):
                return [path]
            members = science_members(path)
            self.protect(*members)
        elif isinstance(item, Sequence):
            members = [
                self.make_input_path(str(one)) if isinstance(one, str | Path) else one
                for one in item
            ]
        else:
            return [item]
        if not members:
            raise SossInputError("The list of inputs is empty.")
        for member in members:
            if isinstance(member, str | Path):
                self.check_file(member)
        self.set_primary_input(members[0])
        return members

    def _orders(self, spectra: ObservationSpectra, star: product.StarModel) -> list[Any]:
        """Derive the ratio of each order, make sure of the unit, and fit."""
        table = self._intervals(spectra)
        options = {order: self._options(order, star, table) for order in spectra.orders}
        means = mean_spectra(spectra, self.sigma, self.maxiters)
        derived = [
            derive_order(order, mean, star.spectrum, options[order])
            for order, mean in means.items()
            if mean.wavelength.size > 1
        ]
        ratio = typical_ratio(derived)
        unit = next(iter(spectra.orders.values())).unit
        other = misfit_unit(ratio, unit)
        if other:
            raise SossInputError(
                f"The fluxes of {spectra.info.name}, taken to be in {unit}, are {ratio:.3g} times "
                f"those of the model of {star.name}: they are in {other}; set flux_unit to {other}."
            )
        if not 0.5 < ratio < 2:
            log.warning("The typical ratio is %.3g; is this the right star and model?", ratio)
        return [fit_order(one, options[one.order].fit) for one in derived]

    def _intervals(self, spectra: ObservationSpectra) -> list[tuple[str, Interval]]:
        """List the intervals of the user's table, and those of the contaminants of an image."""
        found = read_intervals(self.make_input_path(self.mask_table)) if self.mask_table else []
        if self.contamination_image:
            from soss_photcal_steps.contamination.spoiled import spoiled_intervals

            path = self.given_file(self.contamination_image)
            spoiled, notes = spoiled_intervals(path, spectra.info.pwcpos)
            for note in notes:
                log.info("%s", note)
            found += [("contamination", one) for one in spoiled]
        return found

    def _options(
        self, order: int, star: product.StarModel, table: Sequence[tuple[str, Interval]]
    ) -> RatioOptions:
        kinds: dict[str, list[Interval]] = {"user": [], "contamination": []}
        for kind, interval in table:
            kinds[kind].append(interval)
        # The pipeline extracts three orders; a fourth would have the settings of the third.
        name = f"order{min(order, 3)}"
        joins = getattr(self, f"{name}_joins")
        knots = getattr(self, f"{name}_knots")
        return RatioOptions(
            sampling=self.sampling,
            line_width=self.line_width,
            windows=star.windows if self.mask_lines else {},
            known=star.known,
            mask_contamination=self.mask_contamination,
            mask_ranges=self.mask_ranges,
            user=kinds["user"],
            contamination=kinds["contamination"],
            min_signal=self.min_signal,
            fit=FitOptions(
                method=getattr(self, f"{name}_fit"),
                degree=getattr(self, f"{name}_degree"),
                knots=tuple(knots) if knots is not None else None,
                sections=tuple(joins) if joins is not None else ("order2" if order == 2 else "one"),
                sigma=self.fit_sigma,
                maxiters=self.fit_maxiters,
            ),
        )

    def _save_plots(
        self, result: SossRatioModel, orders: Sequence[Any], star: product.StarModel
    ) -> None:
        if not self.save_plots:
            return
        for suffix, figure in product.figures(result, orders, star).items():
            with self.side_product(suffix, ".png") as path:
                figure.savefig(path, dpi=110)
