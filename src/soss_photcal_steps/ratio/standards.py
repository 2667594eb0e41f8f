"""The standard stars, and what is known of their observations: the table and how to look it up.

The table is ``standards.yaml`` in this package; a user's own file of the same form adds to it
and takes the place of entries of the same star.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from soss_photcal_steps.errors import SossInputError

__all__ = [
    "Interval",
    "KnownObservation",
    "Standard",
    "StandardsTable",
    "load_standards",
    "normalise_name",
]

_OWN = Path(__file__).parent.parent / "standards.yaml"
_SERIES = ("Balmer", "Paschen", "Brackett", "Pfund")
_KINDS = ("hot", "A", "solar")
_ROLES = ("calibration", "stability", "test")
# Headers give positions of the epoch of observation, or of the catalogue, arcsec.
_MATCH_RADIUS = 10.0


@dataclass(frozen=True)
class Interval:
    """A range of wavelengths of one order, and why it matters.

    Attributes
    ----------
    order : int
        Spectral order.
    low, high : float
        Limits, um.
    note : str
        Why, for people.
    """

    order: int
    low: float
    high: float
    note: str = ""


@dataclass(frozen=True)
class KnownObservation:
    """An observation that the table knows.

    Attributes
    ----------
    program, observation : int
        Numbers.
    date : str
        ISO date; empty if not known.
    role : {"calibration", "stability", "test"}
        What it is for.
    contamination, valid, excluded : tuple of Interval
        Contaminated intervals; the only ranges that are fitted, by order; and ranges that
        are left out.
    """

    program: int
    observation: int
    date: str = ""
    role: str = "calibration"
    contamination: tuple[Interval, ...] = ()
    valid: tuple[Interval, ...] = ()
    excluded: tuple[Interval, ...] = ()


@dataclass(frozen=True)
class Standard:
    """A standard star.

    Attributes
    ----------
    name : str
        Name.
    aliases : tuple of str
        Other names.
    kind : {"hot", "A", "solar"}
        Kind of star, for the widths of its lines.
    spectral_type : str
        Spectral type.
    ra, dec : float or None
        Position, ICRS, epoch 2000.0, degrees.
    pm_ra, pm_dec : float
        Proper motion, milliarcsec per year.
    calspec : str
        File name of its CALSPEC model; empty if there is none.
    observations : tuple of KnownObservation
        What the table knows of its observations.
    """

    name: str
    aliases: tuple[str, ...] = ()
    kind: str = "A"
    spectral_type: str = ""
    ra: float | None = None
    dec: float | None = None
    pm_ra: float = 0.0
    pm_dec: float = 0.0
    calspec: str = ""
    observations: tuple[KnownObservation, ...] = ()

    def observation(self, program: Any, observation: Any) -> KnownObservation | None:
        """Look up an observation.

        Parameters
        ----------
        program, observation : int, str or None
            Numbers, with or without leading zeros.

        Returns
        -------
        KnownObservation or None
            None if the table does not know it.
        """
        wanted = (_number(program), _number(observation))
        for known in self.observations:
            if (known.program, known.observation) == wanted:
                return known
        return None

    def separation(self, ra: float, dec: float, year: float = 2000.0) -> float:
        """Tell how far a position is from that of the star.

        Parameters
        ----------
        ra, dec : float
            Position, degrees.
        year : float, optional
            Epoch of the position, years.

        Returns
        -------
        float
            Angle, arcsec; infinite if the star's position is not known.
        """
        if self.ra is None or self.dec is None:
            return np.inf
        years = year - 2000.0
        own_dec = self.dec + years * self.pm_dec / 3.6e6
        own_ra = self.ra + years * self.pm_ra / 3.6e6 / np.cos(np.radians(self.dec))
        one, other = np.radians([own_ra, own_dec]), np.radians([ra, dec])
        half = np.sin((other[1] - one[1]) / 2) ** 2
        half += np.cos(one[1]) * np.cos(other[1]) * np.sin((other[0] - one[0]) / 2) ** 2
        return float(np.degrees(2 * np.arcsin(np.sqrt(min(half, 1.0)))) * 3600)


@dataclass(frozen=True)
class StandardsTable:
    """All that is known of standard stars.

    Attributes
    ----------
    stars : tuple of Standard
        The stars.
    line_windows : dict
        Half widths of the windows around hydrogen lines, as fractions of the wavelength, by
        kind of star and series.
    """

    stars: tuple[Standard, ...]
    line_windows: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def by_name(self, name: str | None) -> Standard | None:
        """Find a star by its name or an alias.

        Parameters
        ----------
        name : str or None
            Name in any spelling, see `normalise_name`.

        Returns
        -------
        Standard or None
            None if no star has this name.
        """
        wanted = normalise_name(name or "")
        for star in self.stars:
            if wanted and wanted in {normalise_name(n) for n in (star.name, *star.aliases)}:
                return star
        return None

    def by_position(
        self, ra: float | None, dec: float | None, year: float = 2000.0
    ) -> Standard | None:
        """Find the star at a position.

        Parameters
        ----------
        ra, dec : float or None
            Position, degrees.
        year : float, optional
            Epoch of the position, years; positions at epoch 2000 are found too.

        Returns
        -------
        Standard or None
            The nearest star within 10 arcsec.
        """
        if ra is None or dec is None or not self.stars:
            return None
        apart = [min(s.separation(ra, dec, year), s.separation(ra, dec)) for s in self.stars]
        nearest = int(np.argmin(apart))
        return self.stars[nearest] if apart[nearest] <= _MATCH_RADIUS else None

    def identify(
        self,
        names: Iterable[str | None],
        ra: float | None = None,
        dec: float | None = None,
        year: float = 2000.0,
    ) -> tuple[Standard, str, str]:
        """Find the star of an observation.

        Where name and position tell different stars, the position counts: it is what the
        telescope pointed at.

        Parameters
        ----------
        names : iterable of str or None
            Names in the header.
        ra, dec : float or None, optional
            Position in the header, degrees.
        year : float, optional
            Epoch of the observation, years.

        Returns
        -------
        star : Standard
            The star.
        found_by : {"name", "position"}
            What it was found by.
        warning : str
            A sentence if something is odd; else empty.

        Raises
        ------
        SossInputError
            If it is no star of the table.
        """
        given = [name for name in names if name]
        by_name = next((star for name in given if (star := self.by_name(name))), None)
        by_position = self.by_position(ra, dec, year)
        if by_position is not None and by_name is None:
            label = given[0] if given else "no name"
            return (
                by_position,
                "position",
                (
                    f"The header has the target {label}, which is not known; its position is that "
                    f"of {by_position.name}."
                ),
            )
        if by_position is not None and by_name is not None and by_position is not by_name:
            return (
                by_position,
                "position",
                (
                    f"The header has the target {given[0]}, but the position of "
                    f"{by_position.name}; taking the latter."
                ),
            )
        if by_name is None:
            known = ", ".join(star.name for star in self.stars)
            raise SossInputError(
                f"The target {' / '.join(given) or 'without a name'} is no standard star that is "
                f"known ({known}); give its name with star, or its model with model."
            )
        warning = ""
        if ra is not None and dec is not None and by_name.ra is not None:
            apart = min(by_name.separation(ra, dec, year), by_name.separation(ra, dec))
            if apart > _MATCH_RADIUS:
                warning = (
                    f"The position in the header is {apart:.0f} arcsec from that of "
                    f"{by_name.name}; going by the name."
                )
        return by_name, "name", warning


def normalise_name(name: str) -> str:
    """Bring a star's name to one spelling.

    Case, spaces, underscores, full stops and the many signs for the degrees of the Bonner
    Durchmusterung do not count; a minus counts as a hyphen, and neither counts between letters
    and digits.

    Parameters
    ----------
    name : str
        Name.

    Returns
    -------
    str
        Letters and digits, with the sign of a BD number.
    """
    text = str(name).strip().upper()
    for dash in "\u2010\u2011\u2012\u2013\u2014\u2212":
        text = text.replace(dash, "-")
    text = re.sub(r"[\u00b0\u00ba\u02da]", " ", text)
    match = re.fullmatch(r"BD[\s_]*([+-]?)[\s_]*(\d{1,2})[\s_D-]*(\d{1,5})[A-Z]?", text)
    if match:
        return f"BD{match[1] or '+'}{int(match[2])}D{int(match[3])}"
    return re.sub(r"[^A-Z0-9+]", "", text)


def _number(value: Any) -> int | None:
    try:
        return int(str(value).strip())
    except ValueError:
        return None


@lru_cache
def load_standards(path: str | None = None) -> StandardsTable:
    """Read the table of standard stars.

    Parameters
    ----------
    path : str, optional
        A user's own file, whose entries come before those of the package.

    Returns
    -------
    StandardsTable
        The table.

    Raises
    ------
    SossInputError
        If the file cannot be read, or an entry is wrong; the entry is named.
    """
    own = _parse(_OWN)
    if path is None:
        return own
    user = _parse(Path(path))
    replaced = {normalise_name(star.name) for star in user.stars}
    kept = tuple(star for star in own.stars if normalise_name(star.name) not in replaced)
    return StandardsTable(
        (*user.stars, *kept),
        {**own.line_windows, **user.line_windows},
    )


def _parse(path: Path) -> StandardsTable:
    import yaml

    try:
        size = os.path.getsize(path)
        if size > 10**7:
            raise SossInputError(f"{path} is no table of standard stars: it has {size} bytes.")
        with open(path, encoding="utf-8") as stream:
            content = yaml.safe_load(stream)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SossInputError(f"The table of standard stars {path} cannot be read: {error}") from (
            error
        )
    try:
        return _table(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SossInputError(f"The table of standard stars {path} is not right: {error}.") from (
            error
        )


def _table(content: Any) -> StandardsTable:
    if not isinstance(content, Mapping) or not isinstance(content.get("stars"), list):
        raise ValueError("it must be a mapping with a list stars")
    windows = {}
    for kind, widths in dict(content.get("line_windows") or {}).items():
        if kind not in _KINDS or not set(widths) <= set(_SERIES):
            raise ValueError(f"line_windows has the unknown entry {kind}: {widths}")
        windows[kind] = {series: _positive(width, "line_windows") for series, width in
                         widths.items()}  # fmt: skip
    widths = {1: 0.008, 2: 0.005, 3: 0.004}
    widths.update(dict(content.get("contamination_half_width") or {}))
    stars = tuple(_star(entry, number, widths) for number, entry in enumerate(content["stars"], 1))
    names = [normalise_name(star.name) for star in stars]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"the star {repeated[0]} comes more than once")
    return StandardsTable(stars, windows)


def _star(entry: Any, number: int, widths: Mapping[int, float]) -> Standard:
    if not isinstance(entry, Mapping) or not str(entry.get("name") or "").strip():
        raise ValueError(f"star number {number} has no name")
    name = str(entry["name"])
    allowed = set(Standard.__dataclass_fields__)
    unknown = set(entry) - allowed
    if unknown:
        raise ValueError(f"{name} has the unknown field {sorted(map(str, unknown))[0]}")
    kind = entry.get("kind", "A")
    if kind not in _KINDS:
        raise ValueError(f"the kind of {name} is {kind}, not one of {', '.join(_KINDS)}")
    try:
        numbers = {
            key: float(entry[key]) for key in ("ra", "dec", "pm_ra", "pm_dec") if key in entry
        }
    except (TypeError, ValueError):
        raise ValueError(f"a position or proper motion of {name} is no number") from None
    if not all(np.isfinite(v) for v in numbers.values()):
        raise ValueError(f"a position or proper motion of {name} is not finite")
    observations = tuple(_observation(one, name, widths) for one in entry.get("observations") or ())
    return Standard(
        name=name,
        aliases=tuple(str(alias) for alias in entry.get("aliases") or ()),
        kind=kind,
        spectral_type=str(entry.get("spectral_type") or ""),
        calspec=str(entry.get("calspec") or ""),
        observations=observations,
        **numbers,
    )


def _observation(entry: Any, name: str, widths: Mapping[int, float]) -> KnownObservation:
    label = f"an observation of {name}"
    if not isinstance(entry, Mapping):
        raise ValueError(f"{label} is no mapping")
    program, number = _number(entry.get("program")), _number(entry.get("observation"))
    if program is None or number is None:
        raise ValueError(f"{label} has no program or no observation number")
    label = f"observation {program}/{number} of {name}"
    role = entry.get("role", "calibration")
    if role not in _ROLES:
        raise ValueError(f"the role of {label} is {role}, not one of {', '.join(_ROLES)}")
    contamination = []
    for one in entry.get("contamination") or ():
        order = _order(one, label)
        if "range" in one:
            low, high = _range(one["range"], label)
        else:
            centre = _positive(one.get("centre"), label)
            half = _positive(one.get("half_width", widths.get(order)), label)
            low, high = centre - half, centre + half
        contamination.append(Interval(order, low, high, str(one.get("note", ""))))
    valid: list[Interval] = []
    excluded: list[Interval] = []
    for one in entry.get("ranges") or ():
        order = _order(one, label)
        if ("valid" in one) == ("excluded" in one):
            raise ValueError(f"a range of {label} must have either valid or excluded")
        target, key = (valid, "valid") if "valid" in one else (excluded, "excluded")
        low, high = _range(one[key], label)
        target.append(Interval(order, low, high, str(one.get("note", ""))))
    return KnownObservation(
        program,
        number,
        str(entry.get("date") or ""),
        role,
        tuple(contamination),
        tuple(valid),
        tuple(excluded),
    )


def _order(entry: Any, label: str) -> int:
    order = entry.get("order") if isinstance(entry, Mapping) else None
    if order not in (1, 2, 3) or isinstance(order, bool):
        raise ValueError(f"an interval of {label} has the order {order}, not 1, 2 or 3")
    return int(order)


def _range(value: Any, label: str) -> tuple[float, float]:
    try:
        low, high = (float(v) for v in value)
    except (TypeError, ValueError):
        raise ValueError(f"a range of {label} is {value!r}, not two wavelengths") from None
    if not 0 <= low < high < np.inf:
        raise ValueError(f"a range of {label} goes from {low} to {high} um")
    return low, high


def _positive(value: Any, label: str) -> float:
    number = float(value) if isinstance(value, int | float) else np.nan
    if isinstance(value, bool) or not 0 < number < np.inf:
        raise ValueError(f"{label} has {value!r} where a positive number is needed")
    return number
