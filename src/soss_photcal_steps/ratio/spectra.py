"""The spectra of one observation, of all its segments, per order."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.ratio.observation import ObservationInfo, check_same_observation
from soss_photcal_steps.ratio.x1d import RawSpectra, read_header, read_model, read_raw

__all__ = ["FLUX_UNITS", "ObservationSpectra", "OrderSpectra", "read_spectra", "science_members"]

#: Units of flux that are understood, and what they are in Jy.
FLUX_UNITS = {"MJy": 1e6, "Jy": 1.0, "mJy": 1e-3}
# Wavelengths of two integrations may differ by this part of a pixel.
_SAME_GRID = 1e-2


@dataclass(frozen=True)
class OrderSpectra:
    """All spectra of one order of one observation, by rising wavelength.

    Attributes
    ----------
    order : int
        Spectral order.
    wavelength : ndarray
        Vacuum wavelength, shape (n,), um.
    flux, error : ndarray
        Flux density and its error, shape (n_integrations, n), Jy; NaN where not to be used.
    integrations : ndarray of int
        Number of each integration, from 1.
    unit : str
        Unit that the values of the files were taken to be in.
    """

    order: int
    wavelength: np.ndarray
    flux: np.ndarray
    error: np.ndarray
    integrations: np.ndarray
    unit: str


@dataclass(frozen=True)
class ObservationSpectra:
    """Spectra of one observation.

    Attributes
    ----------
    info : ObservationInfo
        What the headers say; of the first segment, with the times of all.
    orders : dict of int to OrderSpectra
        By spectral order.
    n_integrations : int
        Integrations that are used.
    excluded : tuple of int
        Integrations that were left out because the user said so.
    warnings : tuple of str
        What a user would want to know.
    """

    info: ObservationInfo
    orders: Mapping[int, OrderSpectra]
    n_integrations: int
    excluded: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()


def science_members(path: str | os.PathLike[str]) -> list[str]:
    """List the science members of an association.

    Parameters
    ----------
    path : path
        A level-2 or level-3 association with one product.

    Returns
    -------
    list of str
        Paths; relative ones are made relative to the association's folder.

    Raises
    ------
    SossInputError
        If it is not a readable association with one product that has science members.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            content = json.load(stream)
        products = content["products"]
        names = [
            member["expname"]
            for product in products
            for member in product["members"]
            if member.get("exptype", "").lower() == "science"
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SossInputError(f"{path} is not a readable association: {error}.") from error
    if len(products) != 1 or not names or not all(isinstance(name, str) for name in names):
        raise SossInputError(
            f"{path} must have one product with science members; it has {len(products)} "
            f"product(s) and {len(names)} science member(s)."
        )
    folder = os.path.dirname(os.fspath(path))
    return [os.path.join(folder, name) for name in names]


def read_spectra(
    items: Iterable[Any],
    *,
    exclude: Iterable[int] = (),
    flux_unit: str = "auto",
) -> ObservationSpectra:
    """Read the extracted spectra of one observation.

    Parameters
    ----------
    items : iterable of path or data model
        Segments of the observation, in any order, in any layout that jwst has written.
    exclude : iterable of int, optional
        Integrations to be left out, counted from 1 over the whole observation.
    flux_unit : {"auto", "MJy", "Jy", "mJy"}, optional
        Unit of the values; "auto" is what the files say.

    Returns
    -------
    ObservationSpectra
        Fluxes in Jy.

    Raises
    ------
    SossInputError
        If a file cannot be used, is not calibrated in flux, or does not belong to the others.
    """
    opened = [_open(item) for item in items]
    if not opened:
        raise SossInputError("No extracted spectra were given.")
    infos = [info for info, _ in opened]
    check_same_observation(infos)
    opened.sort(key=lambda pair: pair[0].segment)
    collected: dict[int, list[OrderSpectra]] = {}
    offset = 0
    for info, raw in opened:
        found = _orders_of_file(info, raw, offset, flux_unit)
        for order, spectra in found.items():
            collected.setdefault(order, []).append(spectra)
        offset = max(int(one.integrations.max()) for one in found.values())
    orders = {order: _join(collected[order], infos) for order in sorted(collected)}
    left_out = frozenset(exclude)
    numbers = sorted({int(i) for one in orders.values() for i in one.integrations})
    unknown = sorted(left_out.difference(numbers))
    if unknown:
        raise SossInputError(
            f"Integrations {unknown} are to be excluded, but {infos[0].name} has "
            f"{numbers[0]} to {numbers[-1]}."
        )
    used = [number for number in numbers if number not in left_out]
    if not used:
        raise SossInputError(f"All integrations of {infos[0].name} are excluded.")
    orders = {order: _without(one, left_out) for order, one in orders.items()}
    first, last = opened[0][0], opened[-1][0]
    info = replace(first, end_mjd=last.end_mjd, n_integrations=len(used))
    return ObservationSpectra(
        info, orders, len(used), tuple(sorted(left_out)), tuple(_remarks(first, numbers, orders))
    )


def _open(item: Any) -> tuple[ObservationInfo, list[RawSpectra]]:
    if isinstance(item, str | os.PathLike):
        info = ObservationInfo.from_header(read_header(item), os.path.basename(item))
        return info, list(read_raw(item))
    header = _model_header(item)
    info = ObservationInfo.from_header(header, item.meta.filename or type(item).__name__)
    return info, list(read_model(item))


def _model_header(model: Any) -> dict[str, Any]:
    """Give the keywords of a model's metadata that `ObservationInfo` reads."""
    places = {
        "INSTRUME": "instrument.name", "EXP_TYPE": "exposure.type", "FILTER": "instrument.filter",
        "PUPIL": "instrument.pupil", "PWCPOS": "instrument.pupil_position",
        "TARGNAME": "target.catalog_name", "TARGPROP": "target.proposer_name",
        "TARG_RA": "target.ra", "TARG_DEC": "target.dec",
        "MU_RA": "target.proper_motion_ra", "MU_DEC": "target.proper_motion_dec",
        "PROGRAM": "observation.program_number", "OBSERVTN": "observation.observation_number",
        "VISIT": "observation.visit_number", "DATE-OBS": "observation.date",
        "TIME-OBS": "observation.time", "EXPSTART": "exposure.start_time",
        "EXPMID": "exposure.mid_time", "EXPEND": "exposure.end_time",
        "SUBARRAY": "subarray.name", "NINTS": "exposure.nints", "NGROUPS": "exposure.ngroups",
        "NFRAMES": "exposure.nframes", "EFFEXPTM": "exposure.exposure_time",
        "EXSEGNUM": "exposure.segment_number", "EXSEGTOT": "exposure.segment_total",
        "TIKFACTR": "soss_extract1d.tikhonov_factor", "SOSSWDTH": "soss_extract1d.width",
        "R_PHOTOM": "ref_file.photom.name", "CRDS_CTX": "ref_file.crds.context_used",
        "CRDS_VER": "ref_file.crds.sw_version", "CAL_VER": "calibration_software_version",
        "S_BKDSUB": "cal_step.bkg_subtract", "S_PXREPL": "cal_step.pixel_replace",
        "S_PHOTOM": "cal_step.photom", "BKGMETH": "background.method",
        "BKGLEVEL": "background.level",
    }  # fmt: skip
    found = {}
    for key, place in places.items():
        node: Any = model.meta
        for part in place.split("."):
            node = getattr(node, part, None)
        found[key] = node
    return found


def _orders_of_file(
    info: ObservationInfo, raw: Sequence[RawSpectra], offset: int, flux_unit: str
) -> dict[int, OrderSpectra]:
    """Collect the spectra of a file per order, and bring them to Jy."""
    by_order: dict[int, list[RawSpectra]] = {}
    for spectra in raw:
        if len(spectra.integrations) == 0 or spectra.wavelength.shape[1] == 0:
            raise SossInputError(f"Order {spectra.order} of {info.name} holds no spectrum.")
        by_order.setdefault(spectra.order, []).append(spectra)
    found = {}
    for order, parts in by_order.items():
        units = {_unit(part, info, flux_unit) for part in parts}
        if len(units) > 1:
            raise SossInputError(
                f"Order {order} of {info.name} has fluxes in {' and '.join(sorted(units))}."
            )
        unit = units.pop()
        numbers = np.concatenate([part.integrations for part in parts])
        if not numbers.all():
            # Old files do not number their integrations; they are in order.
            numbers = offset + 1 + np.arange(len(numbers))
        grid = _grid(parts, info)
        flux = np.concatenate([_on_grid(part, grid.size, part.flux) for part in parts])
        error = np.concatenate([_on_grid(part, grid.size, part.error) for part in parts])
        rising = np.argsort(grid, kind="stable")
        rising = rising[np.isfinite(grid[rising])]
        scale = FLUX_UNITS[unit]
        found[order] = OrderSpectra(
            order, grid[rising], flux[:, rising] * scale, error[:, rising] * scale, numbers, unit
        )
    return found


def _unit(spectra: RawSpectra, info: ObservationInfo, flux_unit: str) -> str:
    if flux_unit != "auto":
        if flux_unit not in FLUX_UNITS:
            raise SossInputError(f"{flux_unit} is not one of {', '.join(FLUX_UNITS)}.")
        if spectra.unit in FLUX_UNITS or not spectra.unit:
            return flux_unit
    if spectra.unit in FLUX_UNITS:
        return spectra.unit
    raise SossInputError(
        f"The fluxes of order {spectra.order} of {info.name} are in "
        f"{spectra.unit or 'no stated unit'}: they were not calibrated by the photom step "
        "(a photom file without a row for an order leaves this one and all later ones in DN/s). "
        "MJy, Jy or mJy is needed."
    )


def _grid(parts: Sequence[RawSpectra], info: ObservationInfo) -> np.ndarray:
    """Give the wavelengths that all spectra of an order share; NaN where there are none."""
    length = max(part.wavelength.shape[1] for part in parts)
    grid = np.full(length, np.nan)
    for part in parts:
        here = part.wavelength.shape[1]
        known = np.isfinite(part.wavelength) & (part.wavelength > 0)
        lower = np.where(known, part.wavelength, np.inf).min(axis=0)
        upper = np.where(known, part.wavelength, -np.inf).max(axis=0)
        seen = np.isfinite(lower)
        old = grid[:here]
        lower = np.where(np.isfinite(old), np.minimum(old, lower), lower)
        upper = np.where(np.isfinite(old), np.maximum(old, upper), upper)
        pixel = np.abs(np.diff(lower[seen]))
        size = float(np.median(pixel)) if pixel.size else np.inf
        if (upper[seen] - lower[seen] > _SAME_GRID * size).any():
            raise SossInputError(
                f"The integrations of order {part.order} of {info.name} have different "
                "wavelengths; extract them together."
            )
        grid[:here] = np.where(np.isfinite(old), old, np.where(seen, lower, np.nan))
    finite = grid[np.isfinite(grid)]
    if finite.size == 0:
        raise SossInputError(f"Order {parts[0].order} of {info.name} has no wavelength.")
    if len(np.unique(finite)) != finite.size:
        raise SossInputError(
            f"Order {parts[0].order} of {info.name} has the same wavelength more than once."
        )
    return grid


def _on_grid(part: RawSpectra, length: int, values: np.ndarray) -> np.ndarray:
    full = np.full((len(values), length), np.nan)
    full[:, : values.shape[1]] = np.where(part.bad, np.nan, values)
    return full


def _join(parts: Sequence[OrderSpectra], infos: Sequence[ObservationInfo]) -> OrderSpectra:
    """Join the segments of an order."""
    first = parts[0]
    numbers = np.concatenate([part.integrations for part in parts])
    if len(set(numbers.tolist())) != len(numbers):
        names = ", ".join(info.name for info in infos)
        raise SossInputError(f"An integration comes more than once in {names}; give each once.")
    for part in parts[1:]:
        same = part.wavelength.shape == first.wavelength.shape
        if same:
            pixel = np.abs(np.gradient(first.wavelength)) if first.wavelength.size > 1 else 1.0
            same = bool((np.abs(part.wavelength - first.wavelength) < _SAME_GRID * pixel).all())
        if not same or part.unit != first.unit:
            what = "different wavelengths" if not same else "different flux units"
            raise SossInputError(
                f"The segments {', '.join(info.name for info in infos)} have {what} in order "
                f"{first.order}; extract them in the same way."
            )
    in_order = np.argsort(numbers, kind="stable")
    return replace(
        first,
        flux=np.concatenate([part.flux for part in parts])[in_order],
        error=np.concatenate([part.error for part in parts])[in_order],
        integrations=numbers[in_order],
    )


def _without(spectra: OrderSpectra, excluded: frozenset[int]) -> OrderSpectra:
    if not excluded:
        return spectra
    keep = ~np.isin(spectra.integrations, sorted(excluded))
    return replace(
        spectra,
        flux=spectra.flux[keep],
        error=spectra.error[keep],
        integrations=spectra.integrations[keep],
    )


def _remarks(
    info: ObservationInfo, numbers: Sequence[int], orders: Mapping[int, OrderSpectra]
) -> Iterable[str]:
    """Say what is missing."""
    missing = sorted(set(range(1, (info.n_integrations or 0) + 1)).difference(numbers))
    if missing and len(numbers) > 1:
        yield (
            f"{len(missing)} of {info.n_integrations} integrations are in none of the files, "
            f"the first is {missing[0]}."
        )
    for order, spectra in orders.items():
        if len(spectra.integrations) < len(numbers):
            yield f"Order {order} has only {len(spectra.integrations)} of {len(numbers)} spectra."
        if not np.isfinite(spectra.flux).any():
            yield f"Order {order} has no usable flux."
