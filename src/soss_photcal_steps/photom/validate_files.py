"""Try a new photom file on the spectra of a star that it was not made from: from files to files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import atomic_path, fingerprint, is_association, is_same_file
from soss_photcal_steps.photom import validate
from soss_photcal_steps.photom.conversion import conversion
from soss_photcal_steps.photom.extinction import CURVES
from soss_photcal_steps.photom.photometry import (
    KS_ZERO_POINT,
    KS_ZERO_POINT_ERROR,
    scale_to_ks,
)
from soss_photcal_steps.photom.scale import photmj_unit
from soss_photcal_steps.photom.table import PhotomFile, read_photom
from soss_photcal_steps.photom.validate import RangeNumbers, ValidatedOrder
from soss_photcal_steps.ratio.derive import misfit_unit
from soss_photcal_steps.ratio.mean import mean_spectra
from soss_photcal_steps.ratio.observation import ObservationInfo
from soss_photcal_steps.ratio.order import MASK_TITLES
from soss_photcal_steps.ratio.sampling import ModelSpectrum
from soss_photcal_steps.ratio.spectra import ObservationSpectra, read_spectra, science_members
from soss_photcal_steps.ratio.standards import Interval, load_standards
from soss_photcal_steps.ratio.stars import read_model_spectrum

__all__ = ["ValidationOutcome", "ValidationRequest", "validate_files"]

_SUFFIX = "_validate"


@dataclass(frozen=True)
class ValidationRequest:
    """What is to be tried.

    Attributes
    ----------
    x1d : sequence of str
        x1d or x1dints files of one observation, or an association of them.
    photom, photom_used : str
        The new photom file, and the one that the spectra were calibrated with.
    model : str
        Model of the star.
    ks : float or None
        2MASS Ks magnitude that the model is scaled to, mag.
    av : float
        Extinction A(V) that the model is reddened by, mag.
    curve : {"rl85", "ccm89", "g23"}
        Extinction curve.
    rv : float or None
        R(V) of the curve.
    kind : {"hot", "A", "solar"}
        Kind of star, which sets the widths of the line windows.
    line_width : float
        FWHM that the model is convolved with, pixels.
    flux_unit : str
        Unit of the fluxes, or ``auto``.
    ranges, exclude : sequence of str
        Ranges such as ``1:0.9-2.8`` to give numbers for, and those that do not count.
    out : str
        Folder of the products.
    """

    x1d: Sequence[str]
    photom: str
    photom_used: str
    model: str
    ks: float | None = None
    av: float = 0.0
    curve: str = "rl85"
    rv: float | None = None
    kind: str = "A"
    line_width: float = 2.0
    flux_unit: str = "auto"
    ranges: Sequence[str] = ()
    exclude: Sequence[str] = ()
    out: str = "."


@dataclass(frozen=True)
class ValidationOutcome:
    """What came out.

    Attributes
    ----------
    star : str
        Name of the star.
    numbers : tuple of RangeNumbers
        The ratio over ranges of wavelengths.
    notes : tuple of str
        What is to be known.
    lines : tuple of str
        All of it in words.
    places : tuple of Path
        The table and the picture.
    """

    star: str
    numbers: tuple[RangeNumbers, ...]
    notes: tuple[str, ...]
    lines: tuple[str, ...]
    places: tuple[Path, Path]


def validate_files(options: ValidationRequest) -> ValidationOutcome:
    """Try a new photom file, and write the ratio (_validate.ecsv) and a picture (_validate.png).

    Parameters
    ----------
    options : ValidationRequest
        What is to be tried.

    Returns
    -------
    ValidationOutcome
        What came out.

    Raises
    ------
    SossInputError
        If an input cannot be used, or the spectra were not calibrated with the file that is
        said to be in use.
    """
    ranges = _intervals(options.ranges, "--range") or list(validate.DEFAULT_RANGES)
    settings = validate.ValidationOptions(
        line_width=_not_negative(options.line_width, "--line-width"),
        windows=load_standards().line_windows[options.kind],
        excluded=_intervals(options.exclude, "--exclude"),
    )
    new, used = read_photom(options.photom), read_photom(options.photom_used)
    paths = list(options.x1d)
    if len(paths) == 1 and is_association(paths[0]):
        paths = science_members(paths[0])
    spectra = read_spectra(paths, flux_unit=options.flux_unit)
    _check_used(spectra.info, options.photom_used)
    model = _model(options)
    mjd = _middle(spectra.info)
    wanted = {one.order for one in ranges}
    orders = []
    for order, mean in mean_spectra(spectra).items():
        if order in wanted and mean.wavelength.size > 1:
            before = conversion(used, order, mean.wavelength, mjd)
            after = conversion(new, order, mean.wavelength, mjd)
            orders.append(validate.validate_order(order, mean, after, before, model, settings))
    numbers = validate.range_numbers(orders, ranges)
    level = validate.level(orders, ranges)
    _check_level(level, spectra, options)
    inputs = [*paths, options.photom, options.photom_used, options.model]
    places = _places(options.out, spectra.info, [*inputs, *options.x1d])
    head = _head(options, spectra, new, used)
    notes = _notes(spectra, options, new, used)
    head += [f"note: {text}" for text in notes]
    lines = [*head, "", *_table_lines(numbers), "", *_closing(level, numbers, options)]
    _write_table(places[0], orders, numbers, level, options, inputs)
    _write_figure(places[1], orders, spectra.info, options)
    star = spectra.info.target or spectra.info.proposed_target or spectra.info.name
    return ValidationOutcome(star, tuple(numbers), tuple(notes), tuple(lines), places)


def _not_negative(value: float, name: str) -> float:
    if not 0 <= value < float("inf"):
        raise SossInputError(f"{name} is a number from 0, not {value:g}.")
    return value


_INTERVAL = re.compile(r"\s*([123])\s*:\s*(\d*\.?\d+)\s*-\s*(\d*\.?\d+)\s*")


def _intervals(texts: Sequence[str], name: str) -> list[Interval]:
    """Read ranges such as 1:0.9-2.8."""
    found = []
    for text in texts:
        match = _INTERVAL.fullmatch(text)
        if not match or not float(match[2]) < float(match[3]):
            raise SossInputError(
                f"{name} needs an order and two rising wavelengths in um, such as 1:0.9-2.8, not "
                f"{text!r}."
            )
        found.append(Interval(int(match[1]), float(match[2]), float(match[3])))
    return found


def _check_used(info: ObservationInfo, path: str) -> None:
    """Make sure that the spectra went through the photom file that is taken out of them."""
    name = os.path.basename(path)
    if info.photom_file is None:
        raise SossInputError(
            f"{info.name} does not say which photom file it was calibrated with (R_PHOTOM), so "
            f"{name} cannot be taken out of it."
        )
    if info.photom_file != name:
        raise SossInputError(
            f"{info.name} was calibrated with {info.photom_file} (R_PHOTOM), not with {name}; give "
            "that file with --photom-used."
        )


def _model(options: ValidationRequest) -> ModelSpectrum:
    """Read the model, redden it and scale it."""
    model = validate.redden(
        read_model_spectrum(options.model), options.av, options.curve, options.rv
    )
    return model if options.ks is None else scale_to_ks(model, options.ks)


def _middle(info: ObservationInfo) -> float | None:
    if info.start_mjd is not None and info.end_mjd is not None:
        return 0.5 * (info.start_mjd + info.end_mjd)
    return info.mid_mjd


def _check_level(level: float, spectra: ObservationSpectra, options: ValidationRequest) -> None:
    """Stop where the model is not of this star, or a unit is another one."""
    name = spectra.info.name
    if not level > 0:
        raise SossInputError(
            f"No wavelength of {name} counts: orders {', '.join(map(str, spectra.orders))} have no "
            "signal, model and response together within the ranges and outside the hydrogen lines."
        )
    if 1 / 3 < level < 3:
        return
    unit = next(iter(spectra.orders.values())).unit
    other = misfit_unit(level, unit)
    if other:
        raise SossInputError(
            f"The fluxes of {name}, taken to be in {unit}, are {level:.3g} times those of the "
            f"model: they are in {other}; give --flux-unit {other}."
        )
    advice = (
        "give the star's magnitude with --ks."
        if options.ks is None
        else f"is Ks = {options.ks:g} that of the star?"
    )
    raise SossInputError(f"The fluxes of {name} are {level:.3g} times those of the model; {advice}")


def _places(out: str, info: ObservationInfo, inputs: Sequence[str]) -> tuple[Path, Path]:
    """Paths of the table and the picture."""
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SossInputError(f"The folder {out} cannot be made: {error.strerror}.") from error
    root = re.sub(r"_(x1d|x1dints)$", "", Path(info.name).stem) + _SUFFIX
    places = (folder / f"{root}.ecsv", folder / f"{root}.png")
    for place in places:
        for path in inputs:
            if is_same_file(place, path):
                raise SossInputError(f"{place} is an input; give another folder with --out.")
    return places


def _head(
    options: ValidationRequest, spectra: ObservationSpectra, new: PhotomFile, used: PhotomFile
) -> list[str]:

    info = spectra.info
    model = os.path.basename(options.model)
    if options.av > 0:
        curve = CURVES[options.curve]
        r_v = curve.default_r_v if options.rv is None else options.rv
        model += f", A(V) = {options.av:g} ({curve.title}, R(V) = {r_v:g})"
    if options.ks is not None:
        model += f", scaled to Ks = {options.ks:g}"
    star = info.target or info.proposed_target or "no name"
    return [
        f"{star}, program {info.program} observation {info.observation}, "
        f"{spectra.n_integrations} integration{'s' if spectra.n_integrations > 1 else ''}",
        f"photom file: {new.name} in the place of {used.name}",
        f"model: {model}",
    ]


def _notes(
    spectra: ObservationSpectra, options: ValidationRequest, new: PhotomFile, used: PhotomFile
) -> list[str]:
    """Say what the user would want to know."""
    notes = list(spectra.warnings)
    if fingerprint(options.photom).sha256 == fingerprint(options.photom_used).sha256:
        notes.append("the two photom files are the same, so the fluxes are as they were")
    units = photmj_unit(new.rows), photmj_unit(used.rows)
    if units[0] != units[1]:
        notes.append(
            f"by the size of its numbers the new file is in {units[0]}/(DN/s), the one in use in "
            f"{units[1]}/(DN/s)"
        )
    table = load_standards()
    star = table.by_name(spectra.info.target) or table.by_name(spectra.info.proposed_target)
    if star and any(known.role != "test" for known in star.observations):
        notes.append(
            f"{star.name} is a standard of the calibration, so this is no independent test"
        )
    return notes


def _table_lines(numbers: Sequence[RangeNumbers]) -> list[str]:
    titles = ("median", "+-", "16 %", "84 %", "rms", "noise", "file error", "before")
    head = f"order  {'range (um)':>13} {'n':>6}" + "".join(f"{title:>11}" for title in titles)
    lines = [head, "-" * len(head)]
    for one in numbers:
        start = f"{one.order:5d}  {one.low:6.3f}-{one.high:6.3f} {one.n:6d}"
        values = (
            one.median, one.error, one.low_16, one.high_84, one.rms, one.noise,
            one.calibration_error, one.median_used,
        )  # fmt: skip
        text = "".join(f"{value:11.5f}" for value in values)
        lines.append(start + (text if one.n else "    nothing counts here"))
    return lines


def _closing(
    level: float, numbers: Sequence[RangeNumbers], options: ValidationRequest
) -> list[str]:

    lines = [
        "Ratio observed / model outside the hydrogen lines; +- is the statistical error of the "
        "median, rms that of ratio - 1,",
        "noise the error of a single wavelength, file error what the new file says of itself, "
        "before the median with the file in use.",
        f"Level: {level:.4f} (median of order 1, or of the lowest order there is).",
    ]
    if options.ks is not None:
        lines.append(
            f"The zero point of Ks alone makes all ratios uncertain by "
            f"{100 * KS_ZERO_POINT_ERROR / KS_ZERO_POINT:.1f} % in common, beside the error of the "
            "star's magnitude."
        )
    if not any(one.calibration_error > 0 for one in numbers):
        lines.append("The new file gives no errors.")
    return lines


def _write_table(
    place: Path,
    orders: Sequence[ValidatedOrder],
    numbers: Sequence[RangeNumbers],
    level: float,
    options: ValidationRequest,
    inputs: Sequence[str],
) -> None:
    """Write the ratio of every wavelength, with the numbers of the ranges and all inputs."""
    from astropy.table import Column, Table

    from soss_photcal_steps import __version__

    columns = (
        ("wavelength", "um", "vacuum wavelength"),
        ("flux", "Jy", "mean flux through the new photom file"),
        ("flux_error", "Jy", "statistical error of flux"),
        ("model", "Jy", "model flux"),
        ("model_error", "Jy", "error of the model as its file gives it"),
        ("ratio", None, "flux / model"),
        ("ratio_error", None, "statistical error of ratio"),
        ("ratio_used", None, "the same ratio through the photom file in use"),
        ("calibration_error", None, "relative error of the new photom file"),
        ("mask", None, "0 if the wavelength counts"),
    )
    table = Table()
    table["order"] = Column(
        np.concatenate([np.full(item.wavelength.size, item.order) for item in orders]),
        description="spectral order",
    )
    for name, unit, text in columns:
        values = np.concatenate([getattr(item, name) for item in orders])
        digits = None if name == "mask" else "%.7g"
        table[name] = Column(values, unit=unit, description=text, format=digits)
    table.meta = {
        "written_by": f"soss_photcal_steps {__version__}, soss-photcal validate",
        "inputs": [fingerprint(path).as_dict() for path in inputs],
        "options": {
            name: getattr(options, name)
            for name in ("ks", "av", "curve", "rv", "kind", "line_width", "flux_unit", "exclude")
        },
        "level": level,
        "ranges": [asdict(one) for one in numbers],
        "mask_bits": {int(bit): title for bit, title in MASK_TITLES.items()},
    }
    with atomic_path(place) as temporary:
        table.write(temporary, format="ascii.ecsv")


def _write_figure(
    place: Path,
    orders: Sequence[ValidatedOrder],
    info: ObservationInfo,
    options: ValidationRequest,
) -> None:
    from soss_photcal_steps.report.validation_figure import validation_figure

    title = (
        f"{info.target or info.name}: {os.path.basename(options.photom)} against "
        f"{os.path.basename(options.model)}"
    )
    with atomic_path(place) as temporary:
        validation_figure(orders, title).savefig(temporary, dpi=110)
