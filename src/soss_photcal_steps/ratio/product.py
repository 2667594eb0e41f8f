"""Between the headers and files of the ratio step and its algorithms."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import Fingerprint, fingerprint
from soss_photcal_steps.models import SossRatioModel
from soss_photcal_steps.ratio.lines import hydrogen_lines
from soss_photcal_steps.ratio.observation import ObservationInfo
from soss_photcal_steps.ratio.order import OrderRatio
from soss_photcal_steps.ratio.sampling import ModelSpectrum
from soss_photcal_steps.ratio.spectra import ObservationSpectra
from soss_photcal_steps.ratio.standards import (
    KnownObservation,
    Standard,
    StandardsTable,
)
from soss_photcal_steps.ratio.stars import (
    FoundModel,
    find_calspec,
    model_fingerprint,
    read_model_spectrum,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["StarModel", "figures", "fill", "find_star", "summary_lines"]

_MJD_2000 = 51544.5


@dataclass(frozen=True)
class StarModel:
    """The star of an observation, and its model.

    Attributes
    ----------
    name, kind, spectral_type : str
        The star.
    found_by : {"name", "position", "given"}
        What it was found by.
    known : KnownObservation or None
        What the table of standards says of the observation.
    windows : mapping of str to float
        Half widths of the line windows by series.
    spectrum : ModelSpectrum
        The model.
    found : FoundModel
        Its file.
    fingerprint : Fingerprint
        Name and checksum of the file.
    notes, warnings : tuple of str
        What the log shall say.
    """

    name: str
    kind: str
    spectral_type: str
    found_by: str
    known: KnownObservation | None
    windows: Mapping[str, float]
    spectrum: ModelSpectrum
    found: FoundModel
    fingerprint: Fingerprint
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def _year(info: ObservationInfo) -> float:
    return 2000.0 if info.start_mjd is None else 2000.0 + (info.start_mjd - _MJD_2000) / 365.25


def _standard(
    info: ObservationInfo, table: StandardsTable, star: str | None, model: str | None
) -> tuple[Standard, str, str]:
    """Find the standard star; any star will do where its model is given."""
    names = [info.target, info.proposed_target]
    if star is None:
        try:
            return table.identify(names, info.ra, info.dec, _year(info))
        except SossInputError:
            if model is None:
                raise
        name = next((n for n in names if n), "unknown star")
        return Standard(name), "given", f"{name} is no standard star that is known."
    found = table.by_name(star)
    if found is not None:
        return found, "given", ""
    if model is None:
        known = ", ".join(one.name for one in table.stars)
        raise SossInputError(
            f"There is no standard star {star} ({known} are known); give its model with model."
        )
    return Standard(star), "given", ""


def find_star(
    info: ObservationInfo,
    table: StandardsTable,
    *,
    star: str | None = None,
    kind: str | None = None,
    model: str | None = None,
    folder: str | None = None,
    download: bool = True,
) -> StarModel:
    """Find the star of an observation, and read its model.

    Parameters
    ----------
    info : ObservationInfo
        The observation.
    table : StandardsTable
        The standard stars.
    star, kind : str, optional
        Name and kind of the star, in place of what is found.
    model : str, optional
        Path of a model, or name of a CALSPEC file.
    folder : str, optional
        Folder of CALSPEC files.
    download : bool, optional
        Whether a CALSPEC file may be fetched.

    Returns
    -------
    StarModel
        Star and model.

    Raises
    ------
    SossInputError
        If it is no known star and no model is given, or the model cannot be found or read.
    """
    standard, found_by, warning = _standard(info, table, star, model)
    name = model or standard.calspec
    if not name:
        raise SossInputError(
            f"{standard.name} has no CALSPEC model in the table of standards; give its model "
            "with model."
        )
    if os.path.isfile(name):
        found, name = FoundModel(name, "given"), os.path.basename(name)
    elif os.path.dirname(name):
        raise SossInputError(f"The model {name} does not exist.")
    else:
        found = find_calspec(name, folder=folder, download=download)
        if "*" in name:
            name = os.path.basename(found.path)
    spectrum = read_model_spectrum(found.path, name)
    kind = kind or standard.kind
    listed = standard.observation(info.program, info.observation)
    known = table.with_defaults(listed)
    notes = [f"{standard.name} ({kind}), found by {found_by}; model {name}, {found.source}."]
    if listed is None:
        text = f"does not know observation {info.program}/{info.observation}."
    else:
        counts = len(listed.contamination), len(listed.valid) + len(listed.excluded)
        text = (
            f"knows observation {listed.program}/{listed.observation}: {counts[0]} contaminated "
            f"intervals, {counts[1]} ranges."
        )
    notes.append(f"The table of standards {text}")
    limits = ", ".join(
        f"order {one.order} {one.low:g} to {one.high:g} um"
        for one in (known.valid if known else ())
        if listed is None or one not in listed.valid
    )
    if limits:
        notes.append(f"Default ranges hold: {limits}.")
    return StarModel(
        name=standard.name,
        kind=kind,
        spectral_type=standard.spectral_type,
        found_by=found_by,
        known=known,
        windows=table.line_windows.get(kind, {}),
        spectrum=spectrum,
        found=found,
        fingerprint=model_fingerprint(found, name),
        notes=tuple(notes),
        warnings=(warning,) if warning else (),
    )


def fill(
    model: SossRatioModel,
    spectra: ObservationSpectra,
    star: StarModel,
    orders: Sequence[OrderRatio],
    photom_file: str | None = None,
) -> None:
    """Fill a ratio product; the model is edited.

    Parameters
    ----------
    model : SossRatioModel
        The product.
    spectra : ObservationSpectra
        What was observed.
    star : StarModel
        The star.
    orders : sequence of OrderRatio
        The ratios.
    photom_file : str, optional
        The photom reference file in use; looked for in the CRDS cache if not given.

    Raises
    ------
    SossInputError
        If the photom file is not the one that the spectra name.
    """
    info = spectra.info
    model.set_orders(orders)
    integrated = [one.fit_description.get("model_integrated", 0.0) for one in orders]
    model.star = {
        "name": star.name,
        "kind": star.kind,
        "spectral_type": star.spectral_type,
        "identified_by": star.found_by,
        "model_file": star.fingerprint.name,
        "model_checksum": star.fingerprint.sha256,
        "model_sampling": "integrate"
        if integrated and min(integrated) == 1
        else ("interpolate" if not any(integrated) else "both"),
    }
    steps = dict(info.steps or {})
    used = spectra.n_integrations
    model.observation = {
        "target": info.target or info.proposed_target,
        "program": info.program,
        "observation": info.observation,
        "visit": info.visit,
        "date_begin": info.date_begin,
        "date_end": _iso(info.end_mjd),
        "mjd_mid": _middle(info),
        "pwcpos": info.pwcpos,
        "subarray": info.subarray,
        "filter": info.filter,
        "n_observations": 1,
        "n_integrations": used,
        "n_groups": info.n_groups,
        "n_frames": info.frames_of(used),
        "exposure_time": info.exposure_time,
    }
    model.extraction = {
        "method": info.method or None,
        "width": info.width,
        "tikhonov_factor": info.tikhonov_factor,
        "pixel_replace": steps.get("S_PXREPL"),
    }
    model.calibration = {
        "photom_file": info.photom_file,
        "photom_checksum": _photom_checksum(info, photom_file),
        "crds_context": info.crds_context,
        "crds_version": info.crds_version,
        "cal_version": info.cal_version,
        "flux_unit": next(iter(spectra.orders.values())).unit,
    }
    model.background = {
        "status": steps.get("S_BKDSUB"),
        "template": info.background_method,
        "level": info.background_level,
    }
    _set_meta(model.meta, info)


def _set_meta(meta: Any, info: ObservationInfo) -> None:
    meta.telescope = "JWST"
    meta.instrument.name = "NIRISS"
    meta.instrument.detector = "NIS"
    meta.instrument.filter = info.filter
    meta.instrument.pupil = info.pupil
    meta.instrument.pupil_position = info.pwcpos
    meta.exposure.type = "NIS_SOSS"
    meta.target.catalog_name = info.target
    meta.target.proposer_name = info.proposed_target
    meta.observation.program_number = info.program
    meta.observation.observation_number = info.observation
    meta.observation.visit_number = info.visit
    meta.subarray.name = info.subarray


def _iso(mjd: float | None) -> str | None:
    if mjd is None:
        return None
    from astropy.time import Time

    return str(Time(mjd, format="mjd", scale="utc").isot)


def _middle(info: ObservationInfo) -> float | None:
    if info.start_mjd is not None and info.end_mjd is not None:
        return 0.5 * (info.start_mjd + info.end_mjd)
    return info.mid_mjd


def _photom_checksum(info: ObservationInfo, given: str | None) -> str | None:
    """Give the checksum of the photom file in use, if it is at hand."""
    if given is not None:
        if info.photom_file and os.path.basename(given) != info.photom_file:
            raise SossInputError(
                f"The spectra were calibrated with {info.photom_file}, not with "
                f"{os.path.basename(given)}."
            )
        return fingerprint(given).sha256
    cache = os.environ.get("CRDS_PATH")
    if not cache or not info.photom_file:
        return None
    folder = os.path.join(cache, "references", "jwst")
    for place in (os.path.join(folder, "niriss"), folder):
        path = os.path.join(place, info.photom_file)
        if os.path.isfile(path):
            return fingerprint(path).sha256
    return None


def summary_lines(orders: Sequence[OrderRatio]) -> list[str]:
    """Say in words what was found.

    Parameters
    ----------
    orders : sequence of OrderRatio
        The ratios.

    Returns
    -------
    list of str
        One line per order.
    """
    lines = []
    for item in orders:
        good = item.mask == 0
        if not good.any():
            lines.append(f"Order {item.order}: no good points.")
            continue
        ratio, error = np.median(item.ratio[good]), np.median(item.ratio_error[good])
        text = (
            f"Order {item.order}: {good.sum()} of {good.size} points used, ratio "
            f"{ratio:.4f} (median), error of a point {error:.4f}"
        )
        if item.fit_description.get("status") == "fitted":
            parts = []
            for one in item.fit_description["sections"]:
                kind = one["method"]
                size = f"{len(one['knots'])} inner knots"
                if kind == "legendre":
                    size = f"degree {one['degree']}"
                elif kind == "smooth":
                    kind, size = "smoothing spline", f"as free as {one['freedom']} parameters"
                parts.append(f"{kind}, {size}, {one['low']:.3f}-{one['high']:.3f} um")
            text += f"; {'; '.join(parts)}."
        else:
            text += f"; no curve: {item.fit_description.get('reason')}."
        lines.append(text)
    return lines


def figures(
    model: SossRatioModel, orders: Sequence[OrderRatio], star: StarModel
) -> dict[str, Figure]:
    """Draw the spectra and the ratio.

    Parameters
    ----------
    model : SossRatioModel
        The product.
    orders : sequence of OrderRatio
        The ratios.
    star : StarModel
        The star.

    Returns
    -------
    dict of str to Figure
        By the ending of the file's name.
    """
    from soss_photcal_steps.report.ratio_figure import ratio_figure, spectrum_figure

    observation = model.observation
    title = (
        f"{star.name}, program {observation.program} observation {observation.observation}, "
        f"{observation.n_integrations} integrations; model {star.fingerprint.name}"
    )
    lines = {name: list(found) for name, found in hydrogen_lines().items() if name in star.windows}
    return {
        "sossspectra": spectrum_figure(orders, title),
        "sossratio": ratio_figure(orders, title, lines),
    }
