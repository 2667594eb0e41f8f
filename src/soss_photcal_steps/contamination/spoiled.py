"""The wavelengths that the contaminants of an image spoil, for the ratio step."""

from __future__ import annotations

import os

from soss_photcal_steps.contamination.find import find_contamination
from soss_photcal_steps.contamination.read import read_image
from soss_photcal_steps.contamination.table import table_rows
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.ratio.standards import Interval

__all__ = ["spoiled_intervals"]

# The trace turns by 0.5 to 1 row for a tenth of a degree of the pupil wheel at the ends.
_ANGLE = 0.1


def spoiled_intervals(
    path: str | os.PathLike[str], pwcpos: float | None = None
) -> tuple[list[Interval], list[str]]:
    """Find the contaminants of an image and what they spoil.

    Parameters
    ----------
    path : path
        A rate, rateints or calints file of SOSS.
    pwcpos : float, optional
        Angle of the pupil wheel of the spectra, degrees.

    Returns
    -------
    intervals : list of Interval
        Wavelengths by order.
    notes : list of str
        What was found, as sentences.

    Raises
    ------
    SossInputError
        If the file cannot be used, or is of another angle than the spectra.
    """
    field = read_image(path)
    if pwcpos is not None and field.pwcpos_known and abs(field.pwcpos - pwcpos) > _ANGLE:
        raise SossInputError(
            f"{field.name} has the angle {field.pwcpos:.3f} deg of the pupil wheel, the spectra "
            f"{pwcpos:.3f} deg; it is not of this observation."
        )
    found = find_contamination(
        field.image, field.good, field.lines, field.pwcpos, filter_name=field.filter,
        subtracted=field.subtracted,
    )  # fmt: skip
    rows = table_rows(found.sources, found.intervals)
    notes = [f"{field.name}: {len(found.sources)} contaminants, {len(rows)} intervals."]
    intervals = []
    for row in rows:
        values = row.as_dict()
        one = Interval(values["order"], values["low"], values["high"], values["note"])
        intervals.append(one)
        notes.append(f"Order {one.order}, {one.low:.4f} to {one.high:.4f} um: {one.note}.")
    return intervals, notes
