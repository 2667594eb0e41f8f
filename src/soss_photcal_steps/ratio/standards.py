"""The standard stars, and what is known of their observations: the table and how to look it up.

The table is ``standards.yaml`` in this package; a user's own file of the same form adds to it
and overrides what it says of the same star.  See `standards_file` for how they are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from soss_photcal_steps.errors import SossInputError

__all__ = [
    "MATCH_RADIUS",
    "Interval",
    "KnownObservation",
    "Standard",
    "StandardsTable",
    "as_number",
    "load_standards",
    "normalise_name",
]

#: How far a position may be from that of its star, arcsec: the epoch of a header's position is
#: not always what it says, and the standards move by up to 2.5 arcsec in 25 years.
MATCH_RADIUS = 10.0


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

    def completed(self, other: KnownObservation) -> KnownObservation:
        """Take ranges from another entry where this one has none.

        Parameters
        ----------
        other : KnownObservation
            The other entry.

        Returns
        -------
        KnownObservation
            This one, with the other's valid ranges of the orders of which it has none, and the
            excluded ones likewise.
        """
        return replace(
            self,
            valid=_by_order(self.valid, other.valid),
            excluded=_by_order(self.excluded, other.excluded),
        )


def _by_order(own: tuple[Interval, ...], other: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """Join intervals of two entries, those of the second for orders that the first has not."""
    named = {one.order for one in own}
    return own + tuple(one for one in other if one.order not in named)


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
    temperature : float or None
        Effective temperature of a model of the star, K.
    log_g : float or None
        Logarithm of its surface gravity, cm/s2.
    metallicity : float or None
        Its [M/H], dex.
    a_v : float or None
        Extinction A(V) towards the star, mag.
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
    temperature: float | None = None
    log_g: float | None = None
    metallicity: float | None = None
    a_v: float | None = None
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
        wanted = (as_number(program), as_number(observation))
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
        # At a pole every right ascension is the same place.
        own_ra = self.ra + years * self.pm_ra / 3.6e6 / max(np.cos(np.radians(self.dec)), 1e-9)
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
    default_ranges : KnownObservation or None
        Ranges of orders for which an observation has none, see `with_defaults`.
    """

    stars: tuple[Standard, ...]
    line_windows: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    default_ranges: KnownObservation | None = None

    def with_defaults(self, known: KnownObservation | None) -> KnownObservation | None:
        """Complete the ranges of an observation with the default ones.

        Parameters
        ----------
        known : KnownObservation or None
            What the table knows of the observation; None if it does not know it.

        Returns
        -------
        KnownObservation or None
            The same, with the default valid ranges of the orders of which it has none, and the
            excluded ones likewise; None if there is neither.
        """
        if known is None or self.default_ranges is None:
            return known or self.default_ranges
        return known.completed(self.default_ranges)

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
        self,
        ra: float | None,
        dec: float | None,
        year: float = 2000.0,
        radius: float = MATCH_RADIUS,
    ) -> Standard | None:
        """Find the star at a position.

        Parameters
        ----------
        ra, dec : float or None
            Position, degrees.
        year : float, optional
            Epoch of the position, years; positions at epoch 2000 are found too.
        radius : float, optional
            How far it may be, arcsec.

        Returns
        -------
        Standard or None
            The nearest star within the radius.
        """
        if ra is None or dec is None or not self.stars:
            return None
        apart = [min(s.separation(ra, dec, year), s.separation(ra, dec)) for s in self.stars]
        nearest = int(np.argmin(apart))
        return self.stars[nearest] if apart[nearest] <= radius else None

    def identify(
        self,
        names: Iterable[str | None],
        ra: float | None = None,
        dec: float | None = None,
        year: float = 2000.0,
        radius: float = MATCH_RADIUS,
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
        radius : float, optional
            How far a position may be from that of its star, arcsec.

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
        by_position = self.by_position(ra, dec, year, radius)
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
            if apart > radius:
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


def as_number(value: Any) -> int | None:
    """Read the number of a program or an observation.

    Parameters
    ----------
    value : object
        A whole number, or its text with or without leading zeros.

    Returns
    -------
    int or None
        None if it is no such number.
    """
    try:
        number = int(str(value).strip())
    except ValueError:
        return None
    return number if number >= 0 else None


def load_standards(path: str | None = None) -> StandardsTable:
    """Read the table of standard stars.

    Parameters
    ----------
    path : str, optional
        A user's own file.  Its stars come before those of the package.  Of a star that the
        package has, by name or alias, it overrides the fields that it names; its observations
        are added to those of the package, or take the place of the one of the same number; its
        line windows override those of the same kind and series, its default ranges those of the
        same order.

    Returns
    -------
    StandardsTable
        The table.

    Raises
    ------
    SossInputError
        If the file cannot be read, or an entry is wrong; the entry is named.
    """
    from soss_photcal_steps.ratio import standards_file

    return standards_file.read_tables(path)
