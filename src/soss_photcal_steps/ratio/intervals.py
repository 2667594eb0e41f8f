"""A user's table of wavelength intervals."""

from __future__ import annotations

import os

import numpy as np

from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.ratio.standards import Interval
from soss_photcal_steps.strangers import check_table

__all__ = ["read_intervals"]


def read_intervals(path: str | os.PathLike[str]) -> list[tuple[str, Interval]]:
    """Read a table of intervals that are to be left out.

    Parameters
    ----------
    path : path
        A table of text, such as CSV or ECSV, with the columns ``order``, ``low`` and ``high``
        (um), and if wanted ``kind`` (``user``, the default, or ``contamination``) and ``note``.

    Returns
    -------
    list of (str, Interval)
        Kind and interval of each row.

    Raises
    ------
    SossInputError
        If the file cannot be read, or a row is wrong; the row is named.
    """
    from astropy.table import Table

    if not os.path.isfile(path):
        raise SossInputError(f"The table of intervals {path} does not exist.")
    try:
        name = os.fspath(path).lower()
        kind = "ascii.ecsv" if name.endswith(".ecsv") else "ascii.csv"
        check_table(path)
        table = Table.read(path, format=kind)
    except (OSError, ValueError, TypeError, KeyError, UnicodeDecodeError) as error:
        raise SossInputError(
            f"The table of intervals {path} cannot be read: {reason(error)}. A CSV file with the "
            "columns order,low,high is needed."
        ) from error
    missing = [name for name in ("order", "low", "high") if name not in table.colnames]
    if missing:
        raise SossInputError(f"The table of intervals {path} lacks the column {missing[0]}.")
    found = []
    for number, row in enumerate(table, 1):
        try:
            order, low, high = int(row["order"]), float(row["low"]), float(row["high"])
        except (ValueError, TypeError, OverflowError, np.ma.MaskError):
            order, low, high = 0, np.nan, np.nan
        if order not in (1, 2, 3) or not 0 <= low < high < np.inf:
            raise SossInputError(
                f"Row {number} of {path} has order {row['order']} and the range {row['low']} to "
                f"{row['high']}; order 1, 2 or 3 and two rising wavelengths in um are needed."
            )
        what = str(row["kind"]).strip() if "kind" in table.colnames else "user"
        if what not in ("user", "contamination"):
            raise SossInputError(
                f"Row {number} of {path} has the kind {what}; user or contamination is needed."
            )
        note = str(row["note"]) if "note" in table.colnames else ""
        found.append((what, Interval(order, low, high, note)))
    return found
