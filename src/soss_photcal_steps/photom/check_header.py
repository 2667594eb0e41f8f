"""Checks of the header of a photom file, and of its time tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from soss_photcal_steps.photom.findings import Finding, error, note, warning
from soss_photcal_steps.photom.header import is_useafter, parse_day
from soss_photcal_steps.photom.table import TIME_COLUMNS, PhotomFile, PhotomRow
from soss_photcal_steps.photom.time_tables import (
    ExponentialTrend,
    LinearTrend,
    PowerLawTrend,
    ThroughputTrend,
)

__all__ = ["check_header", "check_time_tables"]

# JWST was launched on this day; nothing in flight is older.
_LAUNCH = date(2021, 12, 25)
_FIXED = {
    "TELESCOP": "JWST",
    "INSTRUME": "NIRISS",
    "REFTYPE": "PHOTOM",
    "DETECTOR": "NIS",
    "EXP_TYPE": "NIS_SOSS",
    "DATAMODL": "NisSossPhotomModel",
}
_TEXTS = ("AUTHOR", "DESCRIP")
_UNDATED = ("GROUND", "MODEL", "DUMMY", "SIMULATION")
# Days over which the throughput must make sense: ten years from first light, or from USEAFTER.
_MJD_EPOCH = date(1858, 11, 17)
_FIRST_LIGHT = 59760.0
_TEN_YEARS = np.arange(0.0, 3653.0, 30.0)
_MJD_T0 = (50000.0, 70000.0)
#: A loss of throughput per year above which a warning is given.
_LARGE_LOSS = 0.05
_KINDS: tuple[type[ThroughputTrend], ...] = (LinearTrend, ExponentialTrend, PowerLawTrend)


def check_header(photom: PhotomFile) -> Iterator[Finding]:
    """Check the cards that a delivery to CRDS needs.

    Parameters
    ----------
    photom : PhotomFile
        The file.

    Yields
    ------
    Finding
        What is missing or malformed.
    """
    header = photom.header
    for key, value in _FIXED.items():
        found = header.get(key)
        if found is None:
            yield error("header", f"{key} is missing; it must be {value}.")
        elif str(found).strip().upper() != value.upper():
            yield error("header", f"{key} is {found!r}; it must be {value!r}.")
    for key in _TEXTS:
        if not str(header.get(key, "")).strip():
            yield error("header", f"{key} is missing or empty.")
    if not any(line.strip() for line in photom.history):
        yield error("header", "There is no HISTORY, which must say how it was made.")
    yield from _check_pedigree(header)
    yield from _check_useafter(header)
    for key in ("PIXAR_SR", "PIXAR_A2"):
        if key not in header:
            yield warning("header", f"{key}, the area of a pixel, is missing.")
    name = Path(photom.path).name
    if str(header.get("FILENAME", name)).strip() != name:
        yield note("filename", f"FILENAME is {header['FILENAME']!r}, the file is called {name!r}.")


def _check_pedigree(header: Mapping[str, Any]) -> Iterator[Finding]:
    text = str(header.get("PEDIGREE", "")).strip()
    words = text.split()
    form = "INFLIGHT YYYY-MM-DD YYYY-MM-DD"
    if not words:
        yield error("pedigree", f"PEDIGREE is missing; it must be {form}.")
        return
    if words[0] in _UNDATED and len(words) == 1:
        yield warning("pedigree", f"PEDIGREE is {text}: not from data in flight.")
        return
    days = [parse_day(word) for word in words[1:]]
    if words[0] != "INFLIGHT" or len(days) != 2 or None in days:
        yield error("pedigree", f"PEDIGREE {text!r} is not of the form {form}.")
        return
    first, last = (day for day in days if day is not None)
    if first > last:
        yield error("pedigree", f"PEDIGREE {text!r} ends before it begins.")
    elif first < _LAUNCH or last > datetime.now(UTC).date():
        yield error(
            "pedigree",
            f"PEDIGREE {text!r} has a day before the launch ({_LAUNCH}) or in the future.",
        )
    elif words[1] == words[2] == str(header.get("DATE", ""))[:10]:
        yield warning(
            "pedigree",
            f"PEDIGREE {text!r} gives the day on which the file was made, where the days of the "
            "observations are wanted.",
        )


def _check_useafter(header: Mapping[str, Any]) -> Iterator[Finding]:
    text = str(header.get("USEAFTER", "")).strip()
    if not text:
        yield error("useafter", "USEAFTER is missing; it must be YYYY-MM-DDTHH:MM:SS.")
    elif not is_useafter(text):
        yield error("useafter", f"USEAFTER {text!r} is not of the form YYYY-MM-DDTHH:MM:SS.")


def check_time_tables(
    rows: Sequence[PhotomRow], tables: Mapping[str, np.ndarray], useafter: str = ""
) -> Iterator[Finding]:
    """Check the time tables against the rows, and whether their throughput makes sense.

    Parameters
    ----------
    rows : sequence of PhotomRow
        Rows of the photom table.
    tables : mapping of str to ndarray
        Structured arrays by their name in the schema.
    useafter : str, optional
        USEAFTER of the file; no earlier exposure is calibrated with it.

    Yields
    ------
    Finding
        What does not fit.
    """
    day = parse_day(useafter[:10])
    start = _FIRST_LIGHT
    if day is not None:
        start = max(start, float((day - _MJD_EPOCH).days))
    for name, table in tables.items():
        columns = ("filter", "pupil", "order", *TIME_COLUMNS[name])
        missing = [column for column in columns if column not in (table.dtype.names or ())]
        if missing:
            yield error("time-columns", f"{name} has no column {', '.join(missing)}.")
            continue
        if len(table) != len(rows):
            yield error(
                "time-rows",
                f"{name} has {len(table)} rows, the photom table has {len(rows)}; the photom step "
                "refuses that.",
            )
            continue
        for i, row in enumerate(rows):
            key = (_text(table["filter"][i]), _text(table["pupil"][i]), int(table["order"][i]))
            if key != (row.filter, row.pupil, row.order):
                yield error(
                    "time-rows",
                    f"Row {i + 1} of {name} is for {key[0]}/{key[1]} order {key[2]}, that of the "
                    f"photom table for {row.title}; the photom step refuses that.",
                )
            else:
                yield from _check_trend(name, row, table[i], start + _TEN_YEARS)


def _text(value: Any) -> str:
    return (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip()


def _check_trend(name: str, row: PhotomRow, values: Any, days: np.ndarray) -> Iterator[Finding]:
    kind = next(kind for kind in _KINDS if kind.table == name)
    numbers = [float(values[column]) for column in TIME_COLUMNS[name]]
    if not np.all(np.isfinite(numbers)):
        yield error("time-values", f"{name}, {row.title}: a number is not finite.")
        return
    if not _MJD_T0[0] < numbers[0] < _MJD_T0[1]:
        yield error("time-t0", f"{name}, {row.title}: t0 = {numbers[0]:g} is not a day in MJD.")
        return
    trend = kind(*numbers)
    with np.errstate(all="ignore"):
        throughput = trend.throughput(days)
        around = trend.throughput(np.array([numbers[0], numbers[0] + 365.0]))
    if not (np.all(np.isfinite(throughput)) and np.all(throughput > 0)):
        yield error(
            "time-throughput",
            f"{name}, {row.title}: the throughput is not positive and finite over ten years.",
        )
    elif abs(around[1] - around[0]) > _LARGE_LOSS:
        yield warning(
            "time-throughput",
            f"{name}, {row.title}: the throughput changes by {100 * (around[1] - around[0]):+.1f} "
            "% in the year after t0.",
        )
