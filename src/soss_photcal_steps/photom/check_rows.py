"""Checks of the rows of a photom file, each row by itself and all together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from soss_photcal_steps.photom.build import intervals
from soss_photcal_steps.photom.findings import Finding, error, note, warning
from soss_photcal_steps.photom.scale import photmj_unit
from soss_photcal_steps.photom.table import PhotomRow

__all__ = ["VALID_WAVELENGTHS", "check_rows"]

#: Wavelengths, um, that a row may hold.  Those of the in-flight file of 2023 are 0.505 to 3.119.
VALID_WAVELENGTHS = (0.4, 4.0)
# A response that rises this far above its smallest value is the end of a fit, not a measurement.
_EXPLOSION = 1000.0
_FILTERS = ("CLEAR", "F277W")
_PUPILS = ("GR700XD",)
_ORDERS = (1, 2, 3)
# Typical wavelengths of a file in another unit: name, factor to um.
_LENGTHS = (("Angstrom", 1e-4), ("nm", 1e-3), ("m", 1e6))


def check_rows(rows: Sequence[PhotomRow]) -> Iterator[Finding]:
    """Check names, arrays and errors of all rows.

    Parameters
    ----------
    rows : sequence of PhotomRow
        The rows.

    Yields
    ------
    Finding
        What is not as it must be, or should be known.
    """
    if not rows:
        yield error("rows", "The PHOTOM table has no row.")
        return
    for key, count in Counter(row.key for row in rows).items():
        if count > 1:
            yield error(
                "duplicate",
                f"{key[0]}/{key[1]} order {key[2]} has {count} rows; the photom step stops there.",
            )
    for row in rows:
        yield from _check_names(row)
        yield from _check_scalars(row)
        if not 0 < row.nelem <= row.wavelength.size:
            yield error(
                "nelem",
                f"{row.title} has nelem = {row.nelem}, which must be 1 to {row.wavelength.size}.",
            )
            continue
        yield from _check_wavelength(row)
        yield from _check_response(row)
        yield from _check_padding(row)
    yield from _check_unit(rows)
    yield from _check_errors(rows)


def _check_names(row: PhotomRow) -> Iterator[Finding]:
    for name, value, allowed in (
        ("FILTER", row.filter.upper(), _FILTERS),
        ("PUPIL", row.pupil.upper(), _PUPILS),
        ("order", row.order, _ORDERS),
    ):
        if value not in allowed:
            yield error(
                name.lower(),
                f"{row.title}: {name} {value!r} is not one of SOSS, which has "
                f"{', '.join(map(str, allowed))}.",
            )


def _check_scalars(row: PhotomRow) -> Iterator[Finding]:
    if not np.isfinite(row.photmj):
        yield error("photmj", f"{row.title}: photmj is not finite.")
    elif row.photmj <= 0:
        yield error("photmj", f"{row.title}: photmj is {row.photmj:g}, not positive.")
    if not 0 <= row.uncertainty < np.inf:
        yield error(
            "uncertainty",
            f"{row.title}: uncertainty is {row.uncertainty:g}, not a finite positive number or 0.",
        )


def _check_wavelength(row: PhotomRow) -> Iterator[Finding]:
    wavelength = row.wavelength[row.used].astype(float)
    bad = ~np.isfinite(wavelength)
    if np.any(bad):
        yield error(
            "wavelength",
            f"{row.title}: {np.count_nonzero(bad)} wavelengths within nelem are not finite.",
        )
        return
    steps = np.diff(wavelength)
    if np.any(steps < 0):
        place = int(np.argmax(steps < 0))
        yield error(
            "wavelength-order",
            f"{row.title}: {np.count_nonzero(steps < 0)} wavelengths are smaller than the one "
            f"before, first after {wavelength[place]:.5f}; they must rise strictly.",
        )
    if np.any(steps == 0):
        place = int(np.argmax(steps == 0))
        yield error(
            "wavelength-repeated",
            f"{row.title}: {np.count_nonzero(steps == 0)} wavelengths are repeated, first "
            f"{wavelength[place]:.5f}.",
        )
    low, high = VALID_WAVELENGTHS
    outside = (wavelength < low) | (wavelength > high)
    if np.any(outside):
        typical = float(np.median(wavelength))
        unit = next((u for u, factor in _LENGTHS if low < typical * factor < high), None)
        if unit is not None:
            yield error(
                "wavelength-unit",
                f"{row.title}: the wavelengths, {wavelength.min():g} to {wavelength.max():g}, look "
                f"like {unit}; they must be in um.",
            )
        else:
            yield error(
                "wavelength-range",
                f"{row.title}: {np.count_nonzero(outside)} wavelengths within nelem are outside "
                f"{low} to {high} um.",
            )


def _check_response(row: PhotomRow) -> Iterator[Finding]:
    wavelength, response = row.wavelength[row.used], row.relresponse[row.used]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        product = np.float32(row.photmj) * response
    for what, bad in (
        ("not finite", ~np.isfinite(response)),
        ("negative", response < 0),
        ("zero", response == 0),
    ):
        if np.any(bad):
            yield error(
                "relresponse",
                f"{row.title}: relresponse is {what} at {np.count_nonzero(bad)} of {row.nelem} "
                f"wavelengths, first at {wavelength[int(np.argmax(bad))]:.5f} um.",
            )
    good = np.isfinite(response) & (response > 0)
    lost = good & ~(np.isfinite(product) & (product > 0))
    if np.any(lost) and 0 < row.photmj < np.inf:
        yield error(
            "product",
            f"{row.title}: photmj * relresponse over- or underflows at {np.count_nonzero(lost)} "
            "wavelengths in single precision.",
        )
    if np.all(good):
        smallest = float(response.min())
        wild = response > _EXPLOSION * smallest
        if np.any(wild):
            ranges = ", ".join(f"{a:.4f}-{b:.4f}" for a, b in intervals(wavelength, wild))
            yield warning(
                "explosion",
                f"{row.title}: relresponse is over {_EXPLOSION:.0f} times its smallest value "
                f"({smallest:.3g}, largest {float(response.max()):.3g}) at {ranges} um; fluxes "
                "there mean nothing.",
            )


def _check_padding(row: PhotomRow) -> Iterator[Finding]:
    for name in ("wavelength", "relresponse", "reluncertainty"):
        # NaN is not zero either.
        count = int(np.count_nonzero(getattr(row, name)[row.nelem :]))
        if count:
            yield error(
                "padding",
                f"{row.title}: {count} elements of {name} beyond nelem = {row.nelem} are not 0; "
                "the photom step ignores them.",
            )


def _check_unit(rows: Sequence[PhotomRow]) -> Iterator[Finding]:
    unit = photmj_unit(rows)
    if unit in ("Jy", "MJy"):
        yield note(
            "unit",
            f"The conversion is in {unit}/(DN/s) by its size; the pipeline labels its result MJy.",
        )
    elif unit is not None:
        yield error(
            "unit",
            f"The conversion looks like {unit}/(DN/s); the pipeline expects MJy, the files in use "
            "hold MJy or Jy.",
        )
    elif any(row.key == ("CLEAR", "GR700XD", 1) for row in rows):
        yield error(
            "unit",
            "photmj * relresponse of CLEAR order 1 is far from the known scale, 1.7e-5 Jy/(DN/s) "
            "from 1 to 2 um, in any of Jy, MJy and mJy.",
        )


def _check_errors(rows: Sequence[PhotomRow]) -> Iterator[Finding]:
    empty = []
    for row in rows:
        values = row.reluncertainty[row.used]
        bad = ~(np.isfinite(values) & (values >= 0))
        if np.any(bad):
            yield error(
                "reluncertainty",
                f"{row.title}: reluncertainty is negative or not finite at "
                f"{np.count_nonzero(bad)} wavelengths.",
            )
        elif not np.any(values) and row.uncertainty == 0:
            empty.append(row.title)
    if empty and len(empty) == len(rows):
        yield warning(
            "no-errors",
            "uncertainty and reluncertainty are 0 everywhere: the file has no errors.",
        )
    elif empty:
        yield note("no-errors", f"There are no errors for {', '.join(empty)}.")
