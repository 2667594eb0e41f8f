"""From the rows of an old photom file and measured corrections to the rows of a new one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from soss_photcal_steps.combine.correction import OrderCorrection
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.photom.table import PhotomRow

__all__ = [
    "EXPLOSION_FACTOR",
    "NewPhotom",
    "RowChange",
    "build_rows",
    "intervals",
]

#: A response this many times above the median of its measured range is called exploding.
EXPLOSION_FACTOR = 100.0
# nelem is a 16-bit integer in the schema.
_MAX_NELEM = np.iinfo(np.int16).max


@dataclass(frozen=True)
class RowChange:
    """What was done to one row.

    Attributes
    ----------
    title : str
        Filter, pupil and order.
    derived : bool
        False if the row was copied bit for bit; then all of the following but ``largest`` are
        empty.
    measured : tuple of float or None
        First and last wavelength of the row where R was measured, um.
    edge_ratios : tuple of float or None
        R at these two wavelengths; beyond them it is held.
    kept_below, kept_above : tuple of float or None
        Wavelength ranges, um, below and above the measured one, with the old shape.
    exploding : tuple of tuple of float
        Wavelength ranges, um, where the response is above `EXPLOSION_FACTOR` times its median
        over the measured range.
    largest : float
        Largest response within the row.
    median_change : float
        Median of new over old response in the measured range, minus 1.
    new_grid : bool
        Whether the wavelengths are other ones than in the old row.
    """

    title: str
    derived: bool
    measured: tuple[float, float] | None = None
    edge_ratios: tuple[float, float] | None = None
    kept_below: tuple[float, float] | None = None
    kept_above: tuple[float, float] | None = None
    exploding: tuple[tuple[float, float], ...] = ()
    largest: float = math.nan
    median_change: float = math.nan
    new_grid: bool = False


@dataclass(frozen=True)
class NewPhotom:
    """The rows of a new photom file and what was done to each.

    Attributes
    ----------
    rows : tuple of PhotomRow
        The rows, in the order of the old ones.
    changes : tuple of RowChange
        One record per row.
    outside_error : float
        Relative error that was given to the response beyond the measured wavelengths.
    """

    rows: tuple[PhotomRow, ...]
    changes: tuple[RowChange, ...]
    outside_error: float


def build_rows(
    old: Sequence[PhotomRow],
    corrections: Sequence[OrderCorrection],
    *,
    grids: Mapping[int, np.ndarray] | None = None,
    outside_error: float = 1.0,
) -> NewPhotom:
    """Divide the response of old rows by R = observed / model.

    ``photmj`` is not touched, so the whole change is in ``relresponse``.  Between the points of
    a correction, R is linear in wavelength, and so is the old response where it is taken to a
    new grid; that is how the pipeline's own photom step reads it.  Beyond the measured
    wavelengths R is held at its last value: the new response keeps the old shape there and
    joins continuously.

    The errors are split as the two columns ask for: ``uncertainty`` is the error of ``photmj``,
    common to all wavelengths (`OrderCorrection.common_error` times ``photmj``), and
    ``reluncertainty`` is the rest, in the unit of ``relresponse``.  Taken as fractions and added
    in quadrature they are the whole error of the conversion at a wavelength.

    Parameters
    ----------
    old : sequence of PhotomRow
        Rows of the file through which R was measured.
    corrections : sequence of OrderCorrection
        At most one per row.  Rows without one are copied bit for bit.
    grids : mapping of int to ndarray, optional
        New wavelengths, um, by order, within the range of the old row; by default the old ones.
    outside_error : float, optional
        Relative error of the response beyond the measured wavelengths.

    Returns
    -------
    NewPhotom
        The new rows and what was done to each.

    Raises
    ------
    SossInputError
        If a correction has no row, or several have the same; if it does not overlap the row;
        if a grid cannot be used; or if the result would not be positive and finite.
    """
    if not 0 < outside_error < np.inf:
        raise SossInputError(
            f"The error outside the measured range must be positive and finite: {outside_error}."
        )
    by_key: dict[tuple[str, str, int], OrderCorrection] = {}
    for correction in corrections:
        key = (correction.filter.upper(), correction.pupil.upper(), correction.order)
        name = f"{correction.filter}/{correction.pupil} order {correction.order}"
        if key in by_key:
            raise SossInputError(f"There are two corrections for {name}; one is needed.")
        matches = sum(row.key == key for row in old)
        if matches != 1:
            raise SossInputError(
                f"The old photom file has {matches or 'no'} rows for {name}; to apply the "
                "correction it needs exactly one."
            )
        by_key[key] = correction
    grids = grids or {}
    unused = sorted(set(grids) - {key[2] for key in by_key})
    if unused:
        raise SossInputError(
            f"There is a wavelength grid but no correction for order {unused[0]}; a row that is "
            "not derived keeps its own wavelengths."
        )
    rows, changes = [], []
    for row in old:
        found = by_key.get(row.key)
        if found is None:
            rows.append(row)
            largest = float(row.relresponse[row.used].max(initial=0.0))
            changes.append(RowChange(row.title, derived=False, largest=largest))
        else:
            new, change = _build_row(row, found, grids.get(row.order), outside_error)
            rows.append(new)
            changes.append(change)
    return NewPhotom(tuple(rows), tuple(changes), outside_error)


def _build_row(
    row: PhotomRow, correction: OrderCorrection, grid: np.ndarray | None, outside_error: float
) -> tuple[PhotomRow, RowChange]:
    old_wavelength, old_response = _usable(row)
    if grid is None:
        wavelength, response = old_wavelength, old_response
    else:
        wavelength = _usable_grid(np.asarray(grid, float), old_wavelength, row)
        response = np.interp(wavelength, old_wavelength, old_response)
    first, last = correction.wavelength[0], correction.wavelength[-1]
    inside = (wavelength >= first) & (wavelength <= last)
    if not np.any(inside):
        raise SossInputError(
            f"The correction of {row.title} covers {first:.4f} to {last:.4f} um, where its row in "
            f"the photom file, {wavelength[0]:.4f} to {wavelength[-1]:.4f} um, has no wavelength."
        )
    # Outside, numpy holds the first and last value: that joins continuously.
    ratio = np.interp(wavelength, correction.wavelength, correction.correction)
    new = response / ratio
    common = correction.common_error
    total = np.interp(wavelength, correction.wavelength, correction.total_error)
    total = np.where(inside, total, np.maximum(total, outside_error))
    rest = np.sqrt(np.maximum(total**2 - common**2, 0.0))

    n, width = wavelength.size, max(row.wavelength.size, wavelength.size)
    built = replace(
        row,
        nelem=n,
        uncertainty=float(np.float32(row.photmj * common)),
        wavelength=row.wavelength if grid is None else _padded(wavelength, width),
        relresponse=_padded(new, width),
        reluncertainty=_padded(new * rest, width),
    )
    _require_positive(built)
    at = np.flatnonzero(inside)
    limit = EXPLOSION_FACTOR * float(np.median(new[inside]))
    change = RowChange(
        title=row.title,
        derived=True,
        measured=(float(wavelength[at[0]]), float(wavelength[at[-1]])),
        edge_ratios=(float(ratio[at[0]]), float(ratio[at[-1]])),
        kept_below=_range(wavelength[: at[0]]),
        kept_above=_range(wavelength[at[-1] + 1 :]),
        exploding=intervals(wavelength, new > limit),
        largest=float(new.max()),
        median_change=float(np.median(1 / ratio[inside]) - 1),
        new_grid=grid is not None,
    )
    return built, change


def _usable(row: PhotomRow) -> tuple[np.ndarray, np.ndarray]:
    """Give wavelength and response of an old row, by rising wavelength."""
    if not 1 < row.nelem <= row.wavelength.size:
        raise SossInputError(f"The old photom file has nelem = {row.nelem} for {row.title}.")
    wavelength = row.wavelength[row.used].astype(float)
    response = row.relresponse[row.used].astype(float)
    if not np.all(np.diff(wavelength) > 0):
        raise SossInputError(
            f"The wavelengths of {row.title} in the old photom file do not rise strictly."
        )
    if not (np.all(np.isfinite(response)) and np.all(response > 0) and 0 < row.photmj < np.inf):
        raise SossInputError(
            f"The response of {row.title} in the old photom file is not positive and finite "
            "everywhere; there is nothing that can be corrected."
        )
    return wavelength, response


def _usable_grid(grid: np.ndarray, old: np.ndarray, row: PhotomRow) -> np.ndarray:
    if grid.ndim != 1 or grid.size < 2 or grid.size > _MAX_NELEM:
        raise SossInputError(
            f"The wavelength grid for {row.title} needs 2 to {_MAX_NELEM} elements in one row."
        )
    # What counts are the numbers that the file can hold.
    grid = grid.astype("f4").astype(float)
    if not np.all(np.isfinite(grid)) or not np.all(np.diff(grid) > 0):
        raise SossInputError(
            f"The wavelength grid for {row.title} does not rise strictly in single precision."
        )
    if grid[0] < old[0] or grid[-1] > old[-1]:
        raise SossInputError(
            f"The wavelength grid for {row.title}, {grid[0]:.5f} to {grid[-1]:.5f} um, goes beyond "
            f"the old response, {old[0]:.5f} to {old[-1]:.5f} um."
        )
    return grid


def _padded(values: np.ndarray, width: int) -> np.ndarray:
    padded = np.zeros(width, "f4")
    with np.errstate(over="ignore"):  # what overflows is refused afterwards, with a sentence
        padded[: values.size] = values
    return padded


def _require_positive(row: PhotomRow) -> None:
    """Make sure that what the pipeline multiplies by, in single precision, is a number."""
    with np.errstate(over="ignore", under="ignore"):
        product = np.float32(row.photmj) * row.relresponse[row.used]
    if not (np.all(np.isfinite(product)) and np.all(product > 0)):
        raise SossInputError(
            f"photmj * relresponse of {row.title} would not be positive and finite everywhere."
        )
    if not np.all(np.isfinite(row.reluncertainty)):
        raise SossInputError(f"The reluncertainty of {row.title} would not be finite.")


def _range(wavelength: np.ndarray) -> tuple[float, float] | None:
    return (float(wavelength[0]), float(wavelength[-1])) if wavelength.size else None


def intervals(x: np.ndarray, where: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Give the ranges of consecutive points for which a condition holds.

    Parameters
    ----------
    x : ndarray, shape (n,)
        Positions of the points.
    where : ndarray of bool, shape (n,)
        The condition.

    Returns
    -------
    tuple of tuple of float
        First and last position of each range.
    """
    edges = np.diff(np.concatenate(([0], np.asarray(where, int), [0])))
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return tuple((float(x[a]), float(x[b - 1])) for a, b in zip(starts, stops, strict=True))
