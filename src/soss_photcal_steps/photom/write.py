"""Write a new photom file as ``NisSossPhotomModel``, with all that its delivery needs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from stdatamodels.jwst import datamodels

from soss_photcal_steps import _jwst
from soss_photcal_steps.combine.correction import OrderCorrection
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import atomic_path, fingerprint, is_same_file
from soss_photcal_steps.photom.build import EXPLOSION_FACTOR, NewPhotom, RowChange, build_rows
from soss_photcal_steps.photom.header import DeliveryHeader, history_cards, to_ascii
from soss_photcal_steps.photom.scale import photmj_unit
from soss_photcal_steps.photom.table import PhotomFile, read_photom, rows_to_array

__all__ = ["describe_changes", "make_photom_file", "write_photom"]


def make_photom_file(
    old: str | os.PathLike[str],
    corrections: Sequence[OrderCorrection],
    output: str | os.PathLike[str],
    header: DeliveryHeader,
    *,
    inputs: Iterable[str | os.PathLike[str]] = (),
    grids: Mapping[int, np.ndarray] | None = None,
    outside_error: float = 1.0,
    time_tables: Mapping[str, np.ndarray] | None = None,
) -> NewPhotom:
    """Make a new photom file from the old one and corrections, and write it.

    Parameters
    ----------
    old : path
        The photom file through which the corrections were measured.
    corrections : sequence of OrderCorrection
        R = observed / model of the orders that are derived anew.
    output : path
        The new file; replaced if it is there, unless it is an input.
    header : DeliveryHeader
        Author, pedigree and so on.
    inputs : iterable of path, optional
        Further files that went in, such as the ratio products; named in HISTORY with their
        checksums.
    grids : mapping of int to ndarray, optional
        New wavelengths by order, um; see `build_rows`.
    outside_error : float, optional
        Relative error of the response beyond the measured wavelengths.
    time_tables : mapping of str to ndarray, optional
        New time tables in place of those of the old file; see `time_tables`.

    Returns
    -------
    NewPhotom
        The new rows and what was done to each.

    Raises
    ------
    SossInputError
        If an input cannot be used, or the output would overwrite one.
    """
    old_file = read_photom(old)
    new = build_rows(old_file.rows, corrections, grids=grids, outside_error=outside_error)
    write_photom(output, new, header, old_file, inputs=inputs, time_tables=time_tables)
    return new


def write_photom(
    output: str | os.PathLike[str],
    new: NewPhotom,
    header: DeliveryHeader,
    old: PhotomFile,
    *,
    inputs: Iterable[str | os.PathLike[str]] = (),
    time_tables: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write the rows of a new photom file.

    Parameters
    ----------
    output : path
        The new file; replaced if it is there, unless it is an input.
    new : NewPhotom
        The rows and what was done to each.
    header : DeliveryHeader
        Author, pedigree and so on.
    old : PhotomFile
        The file that the rows come from; pixel areas, time tables and, if the header names
        none, the use-after date are taken over from it.
    inputs : iterable of path, optional
        Further files that went in.
    time_tables : mapping of str to ndarray, optional
        New time tables in place of those of the old file.

    Raises
    ------
    SossInputError
        If the output is one of the inputs, cannot be written, or a text is not ASCII.
    """
    files = [old.path, *inputs]
    for path in files:
        if is_same_file(output, path):
            raise SossInputError(f"The new photom file would overwrite its input {path}.")
    useafter = header.useafter or str(old.header.get("USEAFTER", ""))
    if not useafter:
        raise SossInputError(
            f"{old.name} has no USEAFTER, so the use-after date of the new file must be given."
        )
    unit = photmj_unit(new.rows)
    lines = [*header.history, *_title(unit), *describe_changes(new)]
    lines += _time_lines(old, time_tables)
    lines += _input_lines(files)
    tables = old.time_tables if time_tables is None else time_tables
    table = rows_to_array(new.rows)
    with datamodels.NisSossPhotomModel(phot_table=table, strict_validation=True) as model:
        for name, values in tables.items():
            setattr(model, name, np.array(values))
        meta = model.meta
        meta.author = to_ascii(header.author)
        meta.pedigree = header.pedigree
        meta.description = to_ascii(
            header.description + (f", photmj in {unit}/(DN/s)" if unit else "")
        )
        meta.useafter = useafter
        meta.reftype = "PHOTOM"
        meta.instrument.name = "NIRISS"
        meta.instrument.detector = "NIS"
        meta.exposure.type = "NIS_SOSS"
        _take_over(model, old)
        for piece in history_cards(lines):
            _jwst.add_history_entry(model, piece)
        try:
            model.validate()
        except ValueError as error:
            raise SossInputError(f"The new photom file would not be valid: {error}.") from error
        try:
            with atomic_path(output) as temporary:
                model.save(temporary)
        except OSError as error:
            raise SossInputError(
                f"{output} cannot be written: {error.strerror or error}."
            ) from error


def _take_over(model: Any, old: PhotomFile) -> None:
    """Take the cards over that a new calibration of the flux does not change."""
    for key, name in (("PIXAR_SR", "pixelarea_steradians"), ("PIXAR_A2", "pixelarea_arcsecsq")):
        if key not in old.header:
            continue
        try:
            setattr(model.meta.photometry, name, float(old.header[key]))
        except (TypeError, ValueError) as error:
            raise SossInputError(
                f"{old.name} has {key} = {old.header[key]!r}; a number is needed."
            ) from error


def _title(unit: str | None) -> list[str]:
    from soss_photcal_steps import __version__

    if unit is None:
        scale = "photmj: unit not recognized, unchanged."
    else:
        scale = f"photmj is in {unit}/(DN/s), unchanged; the pipeline labels its result MJy."
    return [
        f"Made by soss_photcal_steps {__version__} "
        f"(jwst {_jwst_version()}, numpy {np.__version__}).",
        "relresponse = old relresponse / R, with R = observed / model flux measured through the "
        "old file.",
        scale,
        "uncertainty: 1-sigma error of photmj, in its unit, common to all wavelengths. "
        "reluncertainty: the remaining 1-sigma error of relresponse, in its unit. As fractions "
        "added in quadrature they are the error of the conversion. Both are 0 where they were "
        "never derived.",
    ]


def _jwst_version() -> str:
    from importlib.metadata import version

    return version("jwst")


def describe_changes(new: NewPhotom) -> list[str]:
    """Say in words what was done to each row, for HISTORY and for logs.

    Parameters
    ----------
    new : NewPhotom
        The rows and what was done to each.

    Returns
    -------
    list of str
        One or more lines per row.
    """
    lines = []
    for change in new.changes:
        if change.derived:
            lines += _derived_lines(change, new.outside_error)
        else:
            lines.append(
                f"{change.title}: not derived anew, copied bit for bit (largest relresponse "
                f"{change.largest:.3g})."
            )
    return lines


def _derived_lines(change: RowChange, outside_error: float) -> list[str]:
    assert change.measured is not None and change.edge_ratios is not None
    first, last = change.measured
    lines = [
        f"{change.title}: derived from {first:.5f} to {last:.5f} um, median change "
        f"{100 * change.median_change:+.2f} %"
        + (", on new wavelengths." if change.new_grid else ", on the old wavelengths.")
    ]
    for kept, ratio, where in (
        (change.kept_below, change.edge_ratios[0], "below"),
        (change.kept_above, change.edge_ratios[1], "above"),
    ):
        if kept is not None:
            lines.append(
                f"{change.title}: {where}, {kept[0]:.5f} to {kept[1]:.5f} um, the old shape is "
                f"kept, divided by R = {ratio:.5f} of the end so that it joins; reluncertainty "
                f"{100 * outside_error:.0f} % of relresponse."
            )
    for low, high in change.exploding:
        lines.append(
            f"{change.title}: from {low:.5f} to {high:.5f} um relresponse is over "
            f"{EXPLOSION_FACTOR:.0f} times its median of the derived range (largest "
            f"{change.largest:.3g} in the row), as in the old file; not cut, not to be trusted."
        )
    return lines


def _time_lines(old: PhotomFile, new: Mapping[str, np.ndarray] | None) -> list[str]:
    if new is not None:
        names = ", ".join(new) or "none"
        return [f"Time tables, new: {names}. relresponse holds where they give 1."]
    if old.time_tables:
        return [f"Time tables, unchanged: {', '.join(old.time_tables)}."]
    return []


def _input_lines(files: Sequence[str | os.PathLike[str]]) -> list[str]:
    lines = []
    for i, path in enumerate(files):
        found = fingerprint(path)
        kind = "old photom file" if i == 0 else "input"
        method = "sha256" if found.method == "full" else "sampled sha256"
        # A checksum fills a card; on a line of its own it can be searched for.
        lines += [f"{kind} {Path(path).name}, {found.size} bytes, {method}:", found.sha256]
    return lines
