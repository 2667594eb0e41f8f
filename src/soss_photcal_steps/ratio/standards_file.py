"""Reading tables of standard stars: every entry is checked, and a wrong one is named."""

from __future__ import annotations

import datetime
import os
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.ratio.standards import (
    Interval,
    KnownObservation,
    Standard,
    StandardsTable,
    as_number,
    normalise_name,
)

__all__ = ["read_tables"]

_OWN = str(Path(__file__).parent.parent / "standards.yaml")
_VERSION = 1
_LARGEST = 10**7
_SERIES = ("Balmer", "Paschen", "Brackett", "Pfund")
_KINDS = ("hot", "A", "solar")
_ROLES = ("calibration", "stability", "test")
_TABLE_FIELDS = (
    "version",
    "stars",
    "line_windows",
    "contamination_half_width",
    "default_ranges",
)
_OBSERVATION_FIELDS = ("program", "observation", "date", "role", "contamination", "ranges")
# Numbers of a star, with their limits.
_NUMBERS = {
    "ra": (0.0, 360.0),
    "dec": (-90.0, 90.0),
    "pm_ra": (-np.inf, np.inf),
    "pm_dec": (-np.inf, np.inf),
    "temperature": (0.0, np.inf),
    "log_g": (-np.inf, np.inf),
    "metallicity": (-np.inf, np.inf),
    "a_v": (0.0, np.inf),
}
_LISTS = ("aliases", "observations")


@dataclass(frozen=True)
class _Entry:
    """A star, and the fields that its entry names."""

    star: Standard
    given: frozenset[str]


@dataclass(frozen=True)
class _File:
    entries: tuple[_Entry, ...]
    line_windows: Mapping[str, Mapping[str, float]]
    default_ranges: KnownObservation | None


def read_tables(path: str | None = None) -> StandardsTable:
    """Read the package's table of standard stars, and a user's own.

    Parameters
    ----------
    path : str, optional
        The user's table.

    Returns
    -------
    StandardsTable
        Both, as `load_standards` says.

    Raises
    ------
    SossInputError
        If a file cannot be read, or an entry is wrong; the entry is named.
    """
    own = _read(_OWN)
    if path is None:
        return StandardsTable(
            tuple(one.star for one in own.entries), own.line_windows, own.default_ranges
        )
    user = _read(path)
    stars = [one.star for one in own.entries]
    added: list[Standard] = []
    for entry in user.entries:
        same = [star for star in stars if _names(star) & _names(entry.star)]
        if len(same) > 1:
            raise SossInputError(
                f"The table of standard stars {path} is not right: {entry.star.name} has names "
                f"of both {same[0].name} and {same[1].name}."
            )
        if same:
            stars.remove(same[0])
        added.append(_override(same[0], entry) if same else entry.star)
    windows = {kind: dict(widths) for kind, widths in own.line_windows.items()}
    for kind, widths in user.line_windows.items():
        windows.setdefault(kind, {}).update(widths)
    ranges = own.default_ranges
    if user.default_ranges is not None:
        ranges = user.default_ranges.completed(ranges) if ranges else user.default_ranges
    return StandardsTable((*added, *stars), windows, ranges)


def _names(star: Standard) -> set[str]:
    return {normalise_name(name) for name in (star.name, *star.aliases)}


def _override(own: Standard, entry: _Entry) -> Standard:
    """Lay a user's entry over that of the package."""
    user = entry.star
    fields = {key: getattr(user, key) for key in entry.given - {"name", *_LISTS}}
    numbers = {(one.program, one.observation) for one in user.observations}
    kept = (one for one in own.observations if (one.program, one.observation) not in numbers)
    aliases = dict.fromkeys((*own.aliases, user.name, *user.aliases))
    return replace(
        own, **fields, aliases=tuple(aliases), observations=(*kept, *user.observations)
    )  # fmt: skip


def _read(path: str) -> _File:
    try:
        found = os.stat(path)
    except OSError as error:
        raise SossInputError(
            f"The table of standard stars {path} cannot be read: {error.strerror}."
        ) from error
    # A table that was edited since is read again.
    return _parse(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=8)
def _parse(path: str, changed: int, size: int) -> _File:
    from soss_photcal_steps.strangers import parse_yaml

    if size > _LARGEST:
        raise SossInputError(f"{path} is no table of standard stars: it has {size} bytes.")
    try:
        with open(path, encoding="utf-8") as stream:
            content = parse_yaml(stream.read())
    except (OSError, ValueError) as error:
        raise SossInputError(
            f"The table of standard stars {path} cannot be read: {reason(error)}."
        ) from error
    try:
        return _table(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SossInputError(
            f"The table of standard stars {path} is not right: {reason(error)}."
        ) from error


def _table(content: Any) -> _File:
    if not isinstance(content, Mapping) or not isinstance(content.get("stars"), list):
        raise ValueError("it must be a mapping with a list stars")
    _check_fields(content, _TABLE_FIELDS, "it")
    if content.get("version", _VERSION) != _VERSION:
        raise ValueError(f"its version is {content['version']}, not {_VERSION}")
    windows = {}
    for kind, widths in _mapping(content.get("line_windows"), "line_windows").items():
        if kind not in _KINDS or not isinstance(widths, Mapping) or not set(widths) <= set(_SERIES):
            raise ValueError(
                f"line_windows has the unknown entry {kind}: {widths}; kinds are "
                f"{', '.join(_KINDS)}, series {', '.join(_SERIES)}"
            )
        windows[kind] = {
            series: _positive(width, f"line_windows of {kind} {series}")
            for series, width in widths.items()
        }
    half_widths = {1: 0.008, 2: 0.005, 3: 0.004}
    given = _mapping(content.get("contamination_half_width"), "contamination_half_width")
    for order, width in given.items():
        if order not in half_widths or isinstance(order, bool):
            raise ValueError(f"contamination_half_width has the order {order}, not 1, 2 or 3")
        half_widths[int(order)] = _positive(width, f"contamination_half_width of order {order}")
    entries = tuple(_star(one, n, half_widths) for n, one in enumerate(content["stars"], 1))
    seen: dict[str, str] = {}
    for entry in entries:
        for name in _names(entry.star):
            if name in seen:
                raise ValueError(
                    f"the star {entry.star.name} comes more than once, by the name {name}"
                )
            seen[name] = entry.star.name
    default = None
    if "default_ranges" in content:
        label = "an unknown observation"
        valid, excluded = _ranges(content["default_ranges"], "default_ranges", label)
        default = KnownObservation(0, 0, valid=valid, excluded=excluded)
    return _File(entries, windows, default)


def _mapping(value: Any, label: str) -> Mapping[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{label} is {value!r}, not a mapping")
    return value


def _sequence(value: Any, label: str) -> Sequence[Any]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError(f"{label} is {value!r}, not a list")
    return value


def _check_fields(entry: Mapping[Any, Any], known: Iterable[str], label: str) -> None:
    known = tuple(known)
    unknown = sorted(str(key) for key in entry if key not in known)
    if unknown:
        raise ValueError(
            f"{label} has the unknown field {unknown[0]}; there are {', '.join(known)}"
        )


def _star(entry: Any, number: int, widths: Mapping[int, float]) -> _Entry:
    if not isinstance(entry, Mapping) or not str(entry.get("name") or "").strip():
        raise ValueError(f"star number {number} has no name")
    name = str(entry["name"])
    _check_fields(entry, Standard.__dataclass_fields__, name)
    kind = entry.get("kind", "A")
    if kind not in _KINDS:
        raise ValueError(f"the kind of {name} is {kind}, not one of {', '.join(_KINDS)}")
    numbers: dict[str, Any] = {}
    for key, (low, high) in _NUMBERS.items():
        if key in entry:
            numbers[key] = _number_between(entry[key], low, high, f"{key} of {name}")
    if ("ra" in numbers) != ("dec" in numbers):
        raise ValueError(f"{name} has only one of ra and dec")
    seen = _sequence(entry.get("observations"), f"observations of {name}")
    observations = tuple(_observation(one, name, widths) for one in seen)
    taken = [(one.program, one.observation) for one in observations]
    twice = [one for one in taken if taken.count(one) > 1]
    if twice:
        raise ValueError(f"observation {twice[0][0]}/{twice[0][1]} of {name} comes more than once")
    star = Standard(
        name=name,
        aliases=tuple(str(a) for a in _sequence(entry.get("aliases"), f"aliases of {name}")),
        kind=kind,
        spectral_type=str(entry.get("spectral_type") or ""),
        calspec=str(entry.get("calspec") or ""),
        observations=observations,
        **numbers,
    )
    return _Entry(star, frozenset(entry))


def _observation(entry: Any, name: str, widths: Mapping[int, float]) -> KnownObservation:
    label = f"an observation of {name}"
    if not isinstance(entry, Mapping):
        raise ValueError(f"{label} is no mapping")
    program, number = as_number(entry.get("program")), as_number(entry.get("observation"))
    if program is None or number is None:
        raise ValueError(f"{label} has no program or no observation number")
    label = f"observation {program}/{number} of {name}"
    _check_fields(entry, _OBSERVATION_FIELDS, label)
    role = entry.get("role", "calibration")
    if role not in _ROLES:
        raise ValueError(f"the role of {label} is {role}, not one of {', '.join(_ROLES)}")
    contamination = [
        _contaminated(one, label, widths)
        for one in _sequence(entry.get("contamination"), f"contamination of {label}")
    ]
    valid, excluded = _ranges(entry.get("ranges"), f"ranges of {label}", label)
    return KnownObservation(
        program,
        number,
        _date(entry.get("date"), label),
        role,
        tuple(contamination),
        valid,
        excluded,
    )


def _ranges(
    content: Any, what: str, label: str
) -> tuple[tuple[Interval, ...], tuple[Interval, ...]]:
    """Read the valid and the excluded ranges."""
    valid: list[Interval] = []
    excluded: list[Interval] = []
    for one in _sequence(content, what):
        order = _order(one, label)
        _check_fields(one, ("order", "valid", "excluded", "note"), f"a range of {label}")
        if ("valid" in one) == ("excluded" in one):
            raise ValueError(f"a range of {label} must have either valid or excluded")
        target, key = (valid, "valid") if "valid" in one else (excluded, "excluded")
        low, high = _range(one[key], label)
        target.append(Interval(order, low, high, str(one.get("note", ""))))
    return tuple(valid), tuple(excluded)


def _contaminated(entry: Any, label: str, widths: Mapping[int, float]) -> Interval:
    order = _order(entry, label)
    fields = ("order", "range", "centre", "half_width", "note")
    _check_fields(entry, fields, f"a contaminated interval of {label}")
    if ("range" in entry) == ("centre" in entry) or {"range", "half_width"} <= set(entry):
        raise ValueError(
            f"a contaminated interval of {label} must have either range, or centre and perhaps "
            "half_width"
        )
    if "range" in entry:
        low, high = _range(entry["range"], label)
    else:
        centre = _positive(entry["centre"], f"centre of a contaminated interval of {label}")
        half = _positive(
            entry.get("half_width", widths[order]), f"half_width of a contaminated interval of "
            f"{label}",
        )  # fmt: skip
        low, high = centre - half, centre + half
    return Interval(order, low, high, str(entry.get("note", "")))


def _order(entry: Any, label: str) -> int:
    order = entry.get("order") if isinstance(entry, Mapping) else None
    if order not in (1, 2, 3) or isinstance(order, bool):
        raise ValueError(f"an interval of {label} has the order {order}, not 1, 2 or 3")
    return int(order)


def _date(value: Any, label: str) -> str:
    if value is None or value == "":
        return ""
    try:
        return datetime.date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise ValueError(f"the date of {label} is {value}, not like 2024-08-05") from None


def _range(value: Any, label: str) -> tuple[float, float]:
    try:
        low, high = (float(v) for v in value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"a range of {label} is {reprlib.repr(value)}, not two wavelengths"
        ) from None
    if not 0 <= low < high < np.inf:
        raise ValueError(f"a range of {label} goes from {low} to {high} um")
    return low, high


def _positive(value: Any, label: str) -> float:
    number = _float(value)
    if not 0 < number < np.inf:
        raise ValueError(f"{label} is {reprlib.repr(value)} where a positive number is needed")
    return number


def _number_between(value: Any, low: float, high: float, label: str) -> float:
    number = _float(value)
    if not low <= number <= high or not np.isfinite(number):
        within = "" if np.isinf(low) else f" of at least {low:g}"
        within += "" if np.isinf(high) else f" and at most {high:g}"
        raise ValueError(
            f"{label} is {reprlib.repr(value)} where a finite number{within} is needed"
        )
    return number


def _float(value: Any) -> float:
    """Read a number; YAML 1.1 takes 1e-3, without a point, for text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return np.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return np.nan
