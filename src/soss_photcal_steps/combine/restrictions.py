"""Which curves, and which of their wavelengths, are not to be combined: a small table.

One line says what it is about (star, program, observation, order; what is empty means all), a
range of wavelengths, and what to do: ``exclude`` leaves the range out, ``keep`` leaves out all
but the range.  Without limits the whole curve is meant.
"""

from __future__ import annotations

import csv
import datetime
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from io import StringIO
from typing import Any

from soss_photcal_steps.combine.curves import Curve
from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.strangers import parse_yaml

__all__ = [
    "Restriction",
    "apply_restrictions",
    "format_restrictions",
    "member_restrictions",
    "parse_restrictions",
]

_ACTIONS = ("exclude", "keep")


@dataclass(frozen=True)
class Restriction:
    """One line of the table.

    Attributes
    ----------
    star : str
        Name of the star; empty for all.
    program, observation : str
        Numbers without leading zeros; empty for all.
    order : int or None
        Spectral order; None for all.
    low, high : float
        Range of wavelengths, um.
    action : str
        ``exclude`` or ``keep``.
    note : str
        Why, for people.

    Raises
    ------
    SossInputError
        If the action is unknown, the range is upside down, or nothing would be left.
    """

    star: str = ""
    program: str = ""
    observation: str = ""
    order: int | None = None
    low: float = 0.0
    high: float = math.inf
    action: str = "exclude"
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.action not in _ACTIONS:
            raise SossInputError(
                f"The action of a restriction is 'exclude' or 'keep', not {self.action!r}."
            )
        if not self.low < self.high:
            raise SossInputError(
                f"A restriction from {self.low:g} to {self.high:g} um covers nothing; low must be "
                "below high."
            )
        if not (self.star or self.program or self.observation) and self.order is None:
            raise SossInputError(
                "A restriction must name a star, a program, an observation or an order."
            )

    def concerns(self, curve: Curve) -> bool:
        """Tell whether the restriction is about a curve.

        Parameters
        ----------
        curve : Curve
            The curve.

        Returns
        -------
        bool
            True if all that is not empty agrees.
        """
        number = curve.observation.partition("/")[2] or curve.observation
        return (
            (not self.star or _squeeze(self.star) == _squeeze(curve.star))
            and (not self.program or _number(self.program) == _number(curve.program))
            and (not self.observation or _number(self.observation) == _number(number))
            and self.order in (None, curve.order)
        )

    def describe(self) -> str:
        """Give the restriction in words.

        Returns
        -------
        str
            What it is about and what it does.
        """
        about = [self.star] if self.star else []
        if self.program or self.observation:
            about.append(f"{self.program or '*'}/{self.observation or '*'}")
        if self.order is not None:
            about.append(f"order {self.order}")
        return f"{' '.join(about)}: {self.action} {self.low:g} to {self.high:g} um"


def parse_restrictions(text: str, source: str = "The table of restrictions") -> list[Restriction]:
    """Read a table in CSV, ECSV or YAML.

    Parameters
    ----------
    text : str
        The table.  CSV and ECSV have a line of column names; YAML is a list of mappings.
    source : str
        Name of the file, for messages.

    Returns
    -------
    list of Restriction
        One for each line.

    Raises
    ------
    SossInputError
        If the text is none of these or holds what cannot be.
    """
    rows = _rows(text, source)
    names = [one.name for one in fields(Restriction)]
    table = []
    for number, row in enumerate(rows, 1):
        unknown = [str(key) for key in row if key not in names]
        if unknown:
            raise SossInputError(
                f"{source}, entry {number}: unknown {', '.join(map(repr, unknown))}; the columns "
                f"are {', '.join(names)}."
            )
        try:
            table.append(Restriction(**_values(row)))
        except SossInputError as error:
            raise SossInputError(f"{source}, entry {number}: {error}") from None
        except (TypeError, ValueError, OverflowError) as error:
            raise SossInputError(
                f"{source}, entry {number}: order, low and high must be numbers ({reason(error)})."
            ) from None
    return table


def member_restrictions(entries: Any, source: str, observation: str = "?/?") -> list[Restriction]:
    """Read the restrictions of one member of an association.

    Parameters
    ----------
    entries : object
        What the member has as ``restrictions``: a list of mappings with ``order``, ``low``,
        ``high``, ``action`` and ``note``, as `Restriction` has them.
    source : str
        Name of the member, for messages.
    observation : str, optional
        Its program and observation, such as ``1091/2``.

    Returns
    -------
    list of Restriction
        One for each entry, of this observation.

    Raises
    ------
    SossInputError
        If it is no such list.
    """
    if entries is None:
        return []
    names = ("order", "low", "high", "action", "note")
    if not isinstance(entries, list) or not all(isinstance(one, Mapping) for one in entries):
        raise SossInputError(
            f"The restrictions of {source} must be a list of mappings of {', '.join(names)}."
        )
    program, _, number = observation.partition("/")
    found = []
    for one in entries:
        unknown = sorted(str(key) for key in one if key not in names)
        if unknown:
            raise SossInputError(
                f"A restriction of {source} has the unknown field {unknown[0]}; there are "
                f"{', '.join(names)}."
            )
        try:
            found.append(Restriction(program=program, observation=number, **_values(one)))
        except SossInputError as error:
            raise SossInputError(f"A restriction of {source} is not right: {error}") from None
        except (TypeError, ValueError, OverflowError) as error:
            raise SossInputError(
                f"A restriction of {source} is not right: order, low and high must be numbers "
                f"({reason(error)})."
            ) from None
    return found


def format_restrictions(restrictions: Iterable[Restriction]) -> str:
    """Write a table as CSV, such as `parse_restrictions` reads.

    Parameters
    ----------
    restrictions : iterable of Restriction
        The lines.

    Returns
    -------
    str
        The table.
    """
    stream = StringIO()
    names = [one.name for one in fields(Restriction)]
    # Quotes keep a name that begins with # from being taken for a comment.
    writer = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(names)
    for one in restrictions:
        values = [getattr(one, name) for name in names]
        values = [" ".join(v.split()) if isinstance(v, str) else v for v in values]
        writer.writerow(["" if value is None else value for value in values])
    return stream.getvalue()


def apply_restrictions(
    curves: Sequence[Curve], restrictions: Sequence[Restriction]
) -> tuple[list[Curve], list[str]]:
    """Apply restrictions to curves.

    Parameters
    ----------
    curves : sequence of Curve
        The curves.
    restrictions : sequence of Restriction
        The table.

    Returns
    -------
    curves : list of Curve
        Those that have a valid pixel left, restricted.
    sentences : list of str
        What was done, one sentence for each curve and restriction, and each restriction that
        met no curve.
    """
    sentences = []
    kept = []
    met = [False] * len(restrictions)
    for curve in curves:
        before = int(curve.valid.sum())
        result = curve
        for number, one in enumerate(restrictions):
            if not one.concerns(curve):
                continue
            met[number] = True
            inside = (curve.wavelength >= one.low) & (curve.wavelength <= one.high)
            count = int(result.valid.sum())
            result = result.with_valid(inside if one.action == "keep" else ~inside)
            lost = count - int(result.valid.sum())
            because = f" ({one.note})" if one.note else ""
            sentences.append(
                f"{curve.name}: {one.action} {one.low:g} to {one.high:g} um{because}; {lost} of "
                f"{count} pixels left out."
            )
        if before and not result.valid.any():
            sentences.append(f"{curve.name}: nothing is left, not used.")
        else:
            kept.append(result)
    sentences += [
        f"The restriction '{one.describe()}' met no curve."
        for one, used in zip(restrictions, met, strict=True)
        if not used
    ]
    return kept, sentences


def _rows(text: str, source: str) -> list[Mapping[str, Any]]:
    lines = text.strip("\ufeff\n\r\t ").splitlines()
    content = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not content:
        return []
    first = content[0].strip()
    if first.startswith(("-", "[", "{")) or (":" in first and "," not in first):
        try:
            rows = parse_yaml(text)
        except ValueError as error:
            raise SossInputError(f"{source} cannot be read as YAML: {reason(error)}.") from None
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            raise SossInputError(f"{source} must be a list of entries such as '- star: G191-B2B'.")
        return rows
    # ECSV separates by a blank unless its header says otherwise.
    delimiter = "," if "," in first else " "
    reader = csv.reader(content, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        table = [[cell.strip() for cell in row] for row in reader]
    except csv.Error as error:
        raise SossInputError(f"{source} cannot be read as CSV: {reason(error)}.") from None
    names, *values = table
    for number, row in enumerate(values, 1):
        if len(row) != len(names):
            raise SossInputError(
                f"{source}, entry {number}: has {len(row)} values for {len(names)} columns."
            )
    return [dict(zip(names, row, strict=True)) for row in values]


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in row.items():
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        if isinstance(value, datetime.date):
            value = value.isoformat()
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}")
        if name == "order":
            number = float(value)
            if number != int(number):
                raise ValueError(f"order {value}")
            values[name] = int(number)
        elif name in ("low", "high"):
            values[name] = float(value)
        else:
            values[name] = str(value).strip()
    return values


def _squeeze(name: str) -> str:
    return "".join(name.split()).replace("-", "").replace("_", "").casefold()


def _number(text: str) -> str:
    return text.strip().lstrip("0") or "0"
