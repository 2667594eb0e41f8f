"""The spectra of one observation, of all its segments, per order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.files import is_association
from soss_photcal_steps.ratio.observation import (
    ObservationInfo,
    check_same_observation,
    differences,
)
from soss_photcal_steps.ratio.x1d import (
    RawSpectra,
    read_end,
    read_header,
    read_model,
    read_model_header,
    read_raw,
)
from soss_photcal_steps.strangers import read_json

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
        Integrations that are used; where a file holds the spectrum of their average, as that of
        a rate file does, all that went into it.
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
        content = read_json(path)
        products = content["products"]
        names = [
            member["expname"]
            for product in products
            for member in product["members"]
            if member.get("exptype", "").lower() == "science"
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SossInputError(f"{path} is not a readable association: {reason(error)}.") from error
    if len(products) != 1 or not names or not all(isinstance(name, str) for name in names):
        raise SossInputError(
            f"{path} must have one product with science members; it has {len(products)} "
            f"product(s) and {len(names)} science member(s)."
        )
    folder = os.path.dirname(os.fspath(path))
    return [os.path.join(folder, name) for name in names]


def read_spectra(
    items: Any,
    *,
    exclude: Iterable[int] = (),
    flux_unit: str = "auto",
) -> ObservationSpectra:
    """Read the extracted spectra of one observation.

    Parameters
    ----------
    items : path, data model, or iterable of them
        Segments of the observation, in any order, in any layout that jwst has written; a
        ``.json`` path stands for the science members of an association.
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
    opened = [_open(item) for item in _listed(items)]
    if not opened:
        raise SossInputError("No extracted spectra were given.")
    infos = [one.info for one in opened]
    check_same_observation(infos)
    opened.sort(key=lambda one: (one.info.segment, one.info.first_integration or 0))
    collected: dict[int, list[OrderSpectra]] = {}
    averages: dict[int, int] = {}
    offset = 0
    for info, raw, _ in opened:
        found = _orders_of_file(info, raw, offset, flux_unit)
        for order, spectra in found.items():
            collected.setdefault(order, []).append(spectra)
        # A file of integrations that holds one of them has lost the others.
        alone = all(len(one.integrations) == 1 for one in found.values())
        if info.span > 1 and alone and "x1dints" not in info.name:
            averages.update((int(one.integrations[0]), info.span) for one in found.values())
        offset = max(int(one.integrations.max()) for one in found.values())
    orders = {order: _join(collected[order], infos) for order in sorted(collected)}
    left_out = frozenset(exclude)
    numbers = sorted({int(i) for one in orders.values() for i in one.integrations})
    unknown = sorted(left_out.difference(numbers))
    if unknown:
        only = averages.get(numbers[0]) if len(numbers) == 1 else None
        have = f"only the average of {only}" if only else _ranges(numbers)
        raise SossInputError(
            f"Integrations {_ranges(unknown)} are to be excluded, but {infos[0].name} has {have}."
        )
    used = [number for number in numbers if number not in left_out]
    if not used:
        raise SossInputError(f"All integrations of {infos[0].name} are excluded.")
    orders = {order: _without(one, left_out) for order, one in orders.items()}
    first, last = opened[0].info, opened[-1].info
    n_used = sum(averages.get(number, 1) for number in used)
    remarks = [
        *(one.remark for one in opened if one.remark), *differences(infos),
        *_remarks(first, numbers, averages), *_gaps(orders, len(used)),
    ]  # fmt: skip
    info = replace(first, end_mjd=last.end_mjd, n_integrations=n_used)
    return ObservationSpectra(info, orders, n_used, tuple(sorted(left_out)), tuple(remarks))


def _listed(items: Any) -> Iterable[Any]:
    """List the files and models, those of associations too."""
    if isinstance(items, str | os.PathLike) or hasattr(items, "meta"):
        items = [items]
    for item in items:
        if is_association(item):
            yield from science_members(item)
        else:
            yield item


class _Opened(NamedTuple):
    """One file or model: its header, its spectra, and what is to be said of it."""

    info: ObservationInfo
    raw: Iterable[RawSpectra]
    remark: str


def _open(item: Any) -> _Opened:
    """Read the header; the spectra are read when they are asked for."""
    if isinstance(item, str | os.PathLike):
        header, end = read_header(item), read_end(item)
        name = os.path.basename(item)
        remark = ""
        if end.is_asdf is False and "DATAMODL" in header:
            remark = (
                f"{name} has no ASDF extension at its end, which jwst writes last: if it was cut "
                "off, orders or integrations may be missing."
            )
        info = ObservationInfo.from_header(header, name, end.decontaminated)
        return _Opened(info, read_raw(item, check=False), remark)
    name = item.meta.filename or type(item).__name__
    settings = getattr(item.meta, "soss_extract1d", None)
    decontaminated = getattr(settings, "apply_decontamination", None)
    info = ObservationInfo.from_header(read_model_header(item), name, decontaminated)
    return _Opened(info, read_model(item), "")


def _orders_of_file(
    info: ObservationInfo, raw: Iterable[RawSpectra], offset: int, flux_unit: str
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
        first = info.first_integration or 0
        if not numbers.all():
            # Old files do not number their integrations; they are in order.
            numbers = (first or offset + 1) + np.arange(len(numbers))
        elif numbers.min() < first:
            # Without INT_TIMES, the pipeline counts from 1 in each segment.
            numbers = numbers + first - 1
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


def _ranges(numbers: Sequence[int]) -> str:
    """Write numbers in rising order as ranges, such as 1-3,17."""
    edges = [i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1]
    runs = zip([0, *edges], [*edges, len(numbers)], strict=True)
    return ",".join(
        str(numbers[a]) if b - a == 1 else f"{numbers[a]}-{numbers[b - 1]}" for a, b in runs
    )


def _remarks(
    info: ObservationInfo, numbers: Sequence[int], averages: Mapping[int, int]
) -> Iterable[str]:
    """Say what is an average, and what is missing."""
    if averages:
        yield (
            f"{info.name} holds one spectrum of {averages[min(averages)]} integrations, which is "
            "taken for their average; its error is the quoted one."
            if len(numbers) == 1
            else f"{len(averages)} of the spectra are averages of several integrations."
        )
    # By their ends: a header may say any number of integrations.
    ends = [(number, number + averages.get(number, 1)) for number in numbers]
    total = max(info.n_integrations or 0, *(end - 1 for _, end in ends))
    gaps, covered = [], 1
    for start, end in [*ends, (total + 1, total + 1)]:
        if start > covered:
            gaps.append((covered, start - 1))
        covered = max(covered, end)
    if gaps:
        count = sum(last - first + 1 for first, last in gaps)
        named = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in gaps)
        yield f"{count} of {total} integrations are in none of the files: {named}."


def _gaps(orders: Mapping[int, OrderSpectra], n_spectra: int) -> Iterable[str]:
    """Say which order has less than others."""
    for order, spectra in orders.items():
        if len(spectra.integrations) < n_spectra:
            yield f"Order {order} has only {len(spectra.integrations)} of {n_spectra} spectra."
        if not np.isfinite(spectra.flux).any():
            yield f"Order {order} has no usable flux."
