"""Check whether a library of background templates may be delivered."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from astropy.io import fits

from soss_photcal_steps.background.breaks import find_break
from soss_photcal_steps.background.reference import read_library
from soss_photcal_steps.background.window import Window
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import check_fits
from soss_photcal_steps.photom.check import certify_findings
from soss_photcal_steps.photom.findings import CheckReport, Finding, error, note, warning
from soss_photcal_steps.photom.header import is_useafter
from soss_photcal_steps.template.statistics import library_statistics

__all__ = ["check_library", "is_library"]

_FIXED = {"TELESCOP": "JWST", "INSTRUME": "NIRISS", "DETECTOR": "NIS", "EXP_TYPE": "NIS_SOSS",
          "PUPIL": "GR700XD"}  # fmt: skip
_FILTERS = ("CLEAR", "F277W")
# Shapes nearer than this are copies, and levels this far from the others a mistake of units.
_SAME, _FAR = 1e-5, 5.0
# A pixel that differs by this from its neighbours in the row is a defect; the break is 8 per
# cent per pixel at most.
_JUMP = 0.15


def is_library(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file says that it is a ``bkg`` reference.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    bool
        False also where it cannot be read.
    """
    try:
        with fits.open(path, memmap=True) as hdus:
            return str(hdus[0].header.get("REFTYPE", "")).strip().upper() == "BKG"
    except (OSError, ValueError, TypeError, KeyError, IndexError, fits.VerifyError):
        return False


def check_library(path: str | os.PathLike[str], *, certify: bool = True) -> CheckReport:
    """Check a library by our own rules and by ``crds certify``.

    Parameters
    ----------
    path : path
        The library.
    certify : bool, optional
        Also run ``crds certify``, which takes some seconds and needs no network.

    Returns
    -------
    CheckReport
        Verdict and findings.

    Raises
    ------
    SossInputError
        If the file cannot be read.
    """
    check_fits(path)
    with fits.open(path, memmap=False) as hdus:
        header = hdus[0].header
        findings = list(_check_header(header))
        if "SCI" not in hdus or hdus["SCI"].data is None or hdus["SCI"].data.ndim != 3:
            findings.append(error("shape", "There is no SCI extension with several templates."))
        else:
            data = np.asarray(hdus["SCI"].data, float)
            errors = hdus["ERR"].data if "ERR" in hdus else None
            findings += _check_arrays(os.fspath(path), header, data, errors)
    if certify:
        findings += certify_findings(path, "bkg")
    return CheckReport(str(path), tuple(findings))


def _check_header(header: fits.Header) -> Iterator[Finding]:
    for key, value in _FIXED.items():
        if str(header.get(key, "")).strip().upper() != value:
            yield error("header", f"{key} is {header.get(key)!r}; it must be {value}.")
    if str(header.get("FILTER", "")).strip().upper() not in _FILTERS:
        yield error("filter", f"FILTER is {header.get('FILTER')!r}; it must be CLEAR or F277W.")
    for key in ("AUTHOR", "DESCRIP", "PEDIGREE"):
        if not str(header.get(key, "")).strip():
            yield error("header", f"{key} is missing.")
    if not is_useafter(str(header.get("USEAFTER", ""))):
        yield error(
            "useafter", f"USEAFTER is {header.get('USEAFTER')!r}; YYYY-MM-DDTHH:MM:SS is needed."
        )


def _check_arrays(
    path: str, header: fits.Header, data: np.ndarray, errors: np.ndarray | None
) -> Iterator[Finding]:
    try:
        window = Window.from_header(os.path.basename(path), header, data.shape[1:])
        names = read_library(path, window, str(header.get("FILTER"))).names
    except SossInputError as problem:
        yield error("library", str(problem))
        return
    inner = ~window.reference_pixels
    good = True
    for number, image in enumerate(data):
        values = image[inner]
        bad = int((~np.isfinite(values)).sum())
        if bad:
            good = False
            yield error("nan", f"Template {number} has {bad} pixels that are NaN or infinite.")
        low = int((values <= 0).sum())
        if low:
            good = False
            yield error("negative", f"Template {number} has {low} pixels that are not positive.")
    if not good:
        return
    yield from _compare(data, names, inner)
    if errors is None or not np.any(errors):
        yield warning("err", "The templates have no errors (ERR is missing or zero).")
    elif not np.isfinite(errors).all() or (errors < 0).any():
        yield error("err", "ERR has values that are negative, NaN or infinite.")


def _compare(data: np.ndarray, names: tuple[str, ...], inner: np.ndarray) -> Iterator[Finding]:
    """Compare the templates with each other and with what a sky looks like."""
    levels = np.array([np.median(image[inner]) for image in data])
    for number, (image, level) in enumerate(zip(data, levels, strict=True)):
        if not np.median(levels) / _FAR < level < np.median(levels) * _FAR:
            yield warning(
                "level",
                f"Template {number} has a level of {level:.3g} DN/s, the others of about "
                f"{np.median(levels):.3g}; is its unit DN/s?",
            )
        pairs = inner[:, 1:] & inner[:, :-1]
        step = np.abs(np.diff(image, axis=1))[pairs] / level
        jumps = int((step > _JUMP).sum())
        if jumps:
            yield warning("jump", f"Template {number} has {jumps} jumps between neighbours.")
        if not find_break(np.where(inner, image, np.nan)).found:
            yield warning("break", f"Template {number} has no break near column 705.")
        if names[number] == f"template {number}":
            yield warning(
                "name", f"Template {number} has no name; HISTORY has no 'Template {number}: ...'."
            )
    if len(data) > 1:
        found = library_statistics(np.where(inner, data, np.nan))
        for one in range(len(data)):
            for other in range(one + 1, len(data)):
                if found.difference[one, other] < _SAME:
                    yield error("duplicate", f"Templates {one} and {other} have the same shape.")
        yield note(
            "shapes",
            f"{len(data)} templates; {found.needed()} principal component(s) make up 99 per cent "
            "of their differences.",
        )
