"""The table of contaminated intervals, which the ratio step takes as a mask."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from soss_photcal_steps.contamination.detect import Source
from soss_photcal_steps.contamination.mapping import AffectedInterval
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import atomic_path

__all__ = ["COLUMNS", "TableRow", "read_table", "table_rows", "write_table"]

#: Columns of the table and their units; the first five are what the ratio step reads.
COLUMNS = {
    "order": "", "low": "um", "high": "um", "kind": "", "note": "", "centre": "um",
    "effect": "", "light": "DN/s", "source": "", "what": "", "column": "pixel", "row": "pixel",
    "peak": "DN/s", "flux": "DN/s", "width": "pixel", "height": "pixel", "significance": "",
}  # fmt: skip
_WHOLE = ("order", "source")
_TEXT = ("kind", "note", "what")


@dataclass(frozen=True)
class TableRow:
    """A row: one source in one order.

    Attributes
    ----------
    source : int
        Number of the source, from 1.
    found : Source
        The source.
    interval : AffectedInterval
        What it spoils.
    """

    source: int
    found: Source
    interval: AffectedInterval

    def as_dict(self) -> dict[str, Any]:
        """Give the values by column.

        Returns
        -------
        dict
            Name of the column to value.
        """
        one, where = self.found, self.interval
        effect = "unknown" if where.effect != where.effect else f"{100 * where.effect:.2g} per cent"
        return {
            "order": where.order, "low": round(where.low, 5), "high": round(where.high, 5),
            "kind": "contamination",
            "note": f"{one.kind} at column {one.column:.0f}, row {one.row:.0f}; effect {effect}",
            "centre": round(where.centre, 5), "effect": round(where.effect, 6),
            "light": round(where.light, 3), "source": self.source, "what": one.kind,
            "column": round(one.column, 2), "row": round(one.row, 2),
            "peak": round(one.peak, 3), "flux": round(one.flux, 2),
            "width": round(one.width, 1), "height": round(one.height, 1),
            "significance": round(one.significance, 1),
        }  # fmt: skip


def table_rows(
    sources: Sequence[Source], intervals: Sequence[Iterable[AffectedInterval]]
) -> list[TableRow]:
    """Pair sources and intervals.

    Parameters
    ----------
    sources : sequence of Source
        The sources.
    intervals : sequence of iterables of AffectedInterval
        The intervals of each.

    Returns
    -------
    list of TableRow
        By order and wavelength.
    """
    rows = [
        TableRow(number, one, interval)
        for number, (one, found) in enumerate(zip(sources, intervals, strict=True), 1)
        for interval in found
    ]
    return sorted(rows, key=lambda row: (row.interval.order, row.interval.low))


def write_table(path: str | os.PathLike[str], rows: Iterable[TableRow]) -> None:
    """Write the table.

    Parameters
    ----------
    path : path
        The file: ECSV, with units, where the name ends in ``.ecsv``, else CSV.
    rows : iterable of TableRow
        The rows.

    Raises
    ------
    SossInputError
        If the file exists, which is never replaced, or cannot be written.
    """
    if os.path.exists(path):
        raise SossInputError(f"{path} exists and is not replaced; give another name or remove it.")
    values = [row.as_dict() for row in rows]
    if not os.fspath(path).lower().endswith(".ecsv"):
        with atomic_path(path) as temporary, open(temporary, "w", newline="") as stream:
            writer = csv.DictWriter(stream, list(COLUMNS))
            writer.writeheader()
            writer.writerows(values)
        return
    from astropy.table import Column, Table

    table = Table(
        [
            Column([one[name] for one in values], name, _type(name), unit=unit or None)
            for name, unit in COLUMNS.items()
        ]
    )
    with atomic_path(path) as temporary:
        table.write(temporary, format="ascii.ecsv")


def _type(name: str) -> type:
    return str if name in _TEXT else int if name in _WHOLE else float


def read_table(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read a table that `write_table` wrote, possibly with rows taken out by hand.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    list of dict
        The rows, by column.

    Raises
    ------
    SossInputError
        If the file cannot be read, or lacks a column.
    """
    from astropy.table import Table

    if not os.path.isfile(path):
        raise SossInputError(f"The table of sources {path} does not exist.")
    ecsv = os.fspath(path).lower().endswith(".ecsv")
    try:
        table = Table.read(path, format="ascii.ecsv" if ecsv else "ascii.csv")
    except (OSError, ValueError, TypeError, KeyError, UnicodeDecodeError) as error:
        raise SossInputError(f"The table of sources {path} cannot be read: {error}.") from error
    missing = [name for name in COLUMNS if name not in table.colnames]
    if missing:
        raise SossInputError(
            f"The table of sources {path} lacks the column {missing[0]}; "
            "soss-photcal contamination writes it."
        )
    try:
        return [{name: _type(name)(row[name]) for name in COLUMNS} for row in table]
    except (ValueError, TypeError) as error:
        raise SossInputError(f"The table of sources {path} has a bad value: {error}.") from error
