"""A library of templates as a ``bkg`` reference file: what it says of each template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import BarycentricMeanEcliptic, SkyCoord
from stdatamodels.jwst import datamodels

from soss_photcal_steps._jwst import add_history_entry
from soss_photcal_steps.background.window import Window
from soss_photcal_steps.photom.header import DeliveryHeader, history_cards, to_ascii
from soss_photcal_steps.template.build import BuiltTemplate
from soss_photcal_steps.trace import DETECTOR_SIZE

__all__ = [
    "FILLED",
    "REFERENCE",
    "TemplateEntry",
    "ecliptic",
    "fill_library",
    "make_entry",
    "origin_lines",
    "template_details",
]

#: DQ of pixels that no exposure shows, and whose value is that of the smooth model.
FILLED = int(datamodels.dqflags.pixel["FLUX_ESTIMATED"])
#: DQ of the detector's reference pixels, which see no sky.
REFERENCE = int(datamodels.dqflags.pixel["REFERENCE_PIXEL"])
_SUBARRAYS = {(1792, 256): "SUBSTRIP256", (1802, 96): "SUBSTRIP96", (0, 2048): "FULL"}


@dataclass(frozen=True)
class TemplateEntry:
    """One template of a library.

    Attributes
    ----------
    name : str
        Its name.
    image, error : ndarray
        Template and standard error, shape (ny, nx), DN/s.
    quality : ndarray
        Data quality, uint32.
    origin : tuple of str
        Where it comes from: lines for HISTORY.
    """

    name: str
    image: np.ndarray
    error: np.ndarray
    quality: np.ndarray
    origin: tuple[str, ...] = ()


def ecliptic(ra: float, dec: float) -> tuple[float, float]:
    """Convert a position to ecliptic coordinates.

    Parameters
    ----------
    ra, dec : float
        Right ascension and declination, ICRS, degrees.

    Returns
    -------
    longitude : float
        Mean ecliptic and equinox of J2000, degrees.
    latitude : float
        The same.
    """
    place = SkyCoord(ra * u.deg, dec * u.deg).transform_to(BarycentricMeanEcliptic(equinox="J2000"))
    return float(place.lon.deg), float(place.lat.deg)


def origin_lines(
    files: Sequence[str],
    dates: Sequence[str],
    place: tuple[float, float] | None,
    details: Sequence[str] = (),
) -> tuple[str, ...]:
    """Say where a template comes from.

    Parameters
    ----------
    files : sequence of str
        Exposures.
    dates : sequence of str
        Their dates, YYYY-MM-DD.
    place : tuple of float or None
        Right ascension and declination, degrees, if the headers say it.
    details : sequence of str, optional
        What else is to be known.

    Returns
    -------
    tuple of str
        Lines, without the number of the template.
    """
    known = sorted({day for day in dates if day})
    when = known[0] if len(known) == 1 else f"{known[0]} to {known[-1]}" if known else "unknown"
    lines = [f"from {', '.join(files)}", f"observed {when}"]
    if place is None:
        lines.append("position on the sky unknown")
    else:
        longitude, latitude = ecliptic(*place)
        lines.append(
            f"RA {place[0]:.4f} Dec {place[1]:+.4f}, ecliptic longitude {longitude:.2f} "
            f"latitude {latitude:+.2f} degrees"
        )
    return (*lines, *details)


def fill_library(
    model: Any,
    entries: Sequence[TemplateEntry],
    window: Window,
    filter_name: str,
    header: DeliveryHeader,
) -> None:
    """Fill a ``SossBkgModel``; the model is edited.

    Parameters
    ----------
    model : SossBkgModel
        The model.
    entries : sequence of TemplateEntry
        The templates.
    window : Window
        What they cover.
    filter_name : str
        Filter of the exposures.
    header : DeliveryHeader
        What a person has to answer for.
    """
    model.data = np.array([one.image for one in entries], np.float32)
    model.err = np.array([one.error for one in entries], np.float32)
    model.dq = np.array([one.quality for one in entries], np.uint32)
    meta = model.meta
    meta.telescope, meta.reftype = "JWST", "bkg"
    meta.author, meta.pedigree = to_ascii(header.author), header.pedigree
    meta.description = to_ascii(header.description)[:68]
    meta.useafter = header.useafter or "2022-06-01T00:00:00"
    meta.instrument.name, meta.instrument.detector = "NIRISS", "NIS"
    meta.instrument.filter, meta.instrument.pupil = filter_name, "GR700XD"
    meta.exposure.type = "NIS_SOSS"
    area = meta.subarray
    area.name = _SUBARRAYS.get((window.first_row, window.n_rows), "GENERIC")
    area.xstart, area.ystart = window.first_column + 1, window.first_row + 1
    area.xsize, area.ysize = window.n_columns, window.n_rows
    area.fastaxis, area.slowaxis = -2, -1
    meta.bunit_data = meta.bunit_err = "DN/s"
    if window.n_columns != DETECTOR_SIZE:
        area.name = "GENERIC"
    lines = [*header.history]
    for number, one in enumerate(entries):
        lines.append(f"Template {number}: {one.name}")
        lines += [f"Template {number}, {line}" for line in one.origin]
    for card in history_cards(lines):
        add_history_entry(model, card)


def template_details(template: BuiltTemplate) -> tuple[str, ...]:
    """Say how a template was made.

    Parameters
    ----------
    template : BuiltTemplate
        The template.

    Returns
    -------
    tuple of str
        Lines.
    """
    edge = template.edge
    lines = [
        f"masked {', '.join(f'{100 * share:.0f}' for share in template.masked)} per cent; "
        f"{100 * (1 - template.measured.mean()):.1f} per cent filled by the model; reduced chi "
        f"square {template.chi_square:.2f}",
        "scales left/right "
        + ", ".join(f"{left:.4f}/{right:.4f}" for left, right in template.scales),
    ]
    if edge.found:
        lines.append(
            f"break at column {edge.column.mean():.2f} +/- {edge.column_error:.2f} in the middle "
            f"row, tilt {edge.tilt:.4f} +/- {edge.tilt_error:.4f} columns per row, width "
            f"{edge.width:.1f} pixels"
        )
    else:
        lines.append("no break was found")
    if template.components is not None:
        lines.append(
            "described by the mean of the templates that were made with it and "
            f"{template.components[0]}/{template.components[1]} components that they share "
            "left/right of the break"
        )
    return tuple(lines)


def make_entry(
    name: str, template: BuiltTemplate, window: Window, origin: Sequence[str]
) -> TemplateEntry:
    """Make an entry of a library of a template.

    Parameters
    ----------
    name : str
        Its name.
    template : BuiltTemplate
        The template.
    window : Window
        What it covers.
    origin : sequence of str
        Where it comes from.

    Returns
    -------
    TemplateEntry
        The entry; reference pixels are 0 and flagged.
    """
    border = window.reference_pixels
    quality = np.where(template.measured | border, 0, FILLED).astype(np.uint32)
    quality[border] |= np.uint32(REFERENCE)
    return TemplateEntry(
        name=" ".join(to_ascii(name).split())[:50] or "unnamed",
        image=np.where(border, np.float32(0), template.image),
        error=np.where(border, np.float32(0), template.error),
        quality=quality,
        origin=tuple(origin),
    )
