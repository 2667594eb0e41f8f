"""Where the zero orders of neighbouring stars are expected.

What is known and what is not.  The direction of the detector on the sky follows from the header
(ROLL_REF, V3I_YANG, VPARITY), as in the pipeline's own world coordinates.  The place of the
zero order does not follow from any keyword.  The numbers here are those of ExoCTK's
contamination tool (ExoCTK/exoctk, ``exoctk/contam_visibility/field_simulator.py``, function
``calc_v3pa``), which were set there by comparison with observations: the target's own zero
order would be at detector column 2885 and row 1725, off the detector, and the distances of
other zero orders from it are 1.013 times those on the sky along the columns and 1.10 times
along the rows.  No error is stated there, and none could be checked for this package, which
has no image together with its header and a catalogue.  Distortion is left out, the angle of the
pupil wheel too; an error of 20 pixels and more must be expected.  `fit_shift` measures the
common shift between prediction and detections, which then takes most of it away.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.trace import SUBSTRIP256_FIRST_ROW

__all__ = [
    "CatalogueStar",
    "Expected",
    "ZeroOrderModel",
    "expected_zero_orders",
    "fit_shift",
    "read_catalogue",
    "shift_model",
    "sky_to_pixels",
]


@dataclass(frozen=True)
class ZeroOrderModel:
    """Place of zero orders on the detector.

    Attributes
    ----------
    column, row : float
        Zero order of the target itself, pixels of SUBSTRIP256.
    column_scale, row_scale : float
        Distance of two zero orders over that of the undispersed stars.
    pixel_scale : float
        Pixel size on the sky, arcsec.
    source : str
        Where the numbers come from.
    """

    column: float = 2885.0
    row: float = 1725.0 - SUBSTRIP256_FIRST_ROW
    column_scale: float = 1.013
    row_scale: float = 1.10
    pixel_scale: float = 0.0656
    source: str = "ExoCTK contam_visibility, set there by eye"


@dataclass(frozen=True)
class CatalogueStar:
    """A star of a catalogue.

    Attributes
    ----------
    name : str
        Name, or its number in the catalogue.
    ra, dec : float
        Position, ICRS, degrees.
    magnitude : float
        Magnitude, whatever the band.
    pm_ra, pm_dec : float
        Proper motion, with the factor cos(dec) in the first, mas per year.
    epoch : float or None
        Julian year of the position.
    """

    name: str
    ra: float
    dec: float
    magnitude: float
    pm_ra: float = 0.0
    pm_dec: float = 0.0
    epoch: float | None = None


@dataclass(frozen=True)
class Expected:
    """A zero order that is expected.

    Attributes
    ----------
    star : CatalogueStar
        Its star.
    column, row : float
        Expected centre, pixels of SUBSTRIP256.
    """

    star: CatalogueStar
    column: float
    row: float


_NAMES = {
    "ra": ("ra", "raj2000", "ra_icrs"),
    "dec": ("dec", "decj2000", "dej2000", "de_icrs"),
    "magnitude": ("mag", "magnitude", "phot_g_mean_mag", "gmag", "j_m", "jmag"),
    "name": ("name", "source_id", "designation", "id"),
    "pm_ra": ("pmra", "pm_ra"),
    "pm_dec": ("pmdec", "pm_dec", "pmde"),
    "epoch": ("epoch", "ref_epoch"),
}


def read_catalogue(path: str | os.PathLike[str]) -> list[CatalogueStar]:
    """Read a table of stars.

    Parameters
    ----------
    path : path
        CSV, ECSV or any table that astropy recognises, with the columns ``ra``, ``dec``
        (degrees) and ``mag``, and if wanted ``name``, ``pmra``, ``pmdec`` (mas per year) and
        ``ref_epoch``; the names of Gaia and 2MASS tables are known too.

    Returns
    -------
    list of CatalogueStar
        Stars with a position and a magnitude.

    Raises
    ------
    SossInputError
        If the file cannot be read or lacks a column.
    """
    from astropy.table import Table

    if not os.path.isfile(path):
        raise SossInputError(f"The catalogue {path} does not exist.")
    kinds = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv"}
    kind = kinds.get(os.path.splitext(os.fspath(path))[1].lower())
    try:
        table = Table.read(path, format=kind) if kind else Table.read(path)
    except (OSError, ValueError, TypeError, KeyError, UnicodeDecodeError) as error:
        raise SossInputError(
            f"The catalogue {path} cannot be read: {str(error).splitlines()[0]} A CSV file with "
            "the columns ra,dec,mag is needed."
        ) from error
    lower = {name.lower(): name for name in reversed(table.colnames)}
    found = {
        key: next((lower[one] for one in names if one in lower), None)
        for key, names in _NAMES.items()
    }
    for key in ("ra", "dec", "magnitude"):
        if found[key] is None:
            raise SossInputError(f"The catalogue {path} lacks the column {_NAMES[key][0]}.")
    stars = []
    for number, row in enumerate(table, 1):
        values = {
            key: _float(row[name]) if name else np.nan
            for key, name in found.items()
            if key != "name"
        }
        if not all(np.isfinite(values[key]) for key in ("ra", "dec", "magnitude")):
            continue
        if not -90 <= values["dec"] <= 90:
            raise SossInputError(
                f"Row {number} of {path} has the declination {values['dec']:g}; degrees are needed."
            )
        stars.append(
            CatalogueStar(
                str(row[found["name"]]) if found["name"] else str(number),
                values["ra"], values["dec"], values["magnitude"],
                float(np.nan_to_num(values["pm_ra"])), float(np.nan_to_num(values["pm_dec"])),
                values["epoch"] if np.isfinite(values["epoch"]) else None,
            )
        )  # fmt: skip
    return stars


def _float(value: object) -> float:
    try:
        return float(np.ma.filled(np.ma.asarray(value, dtype=float), np.nan))
    except (TypeError, ValueError):
        return float("nan")


def sky_to_pixels(
    ra: np.ndarray,
    dec: np.ndarray,
    target: tuple[float, float],
    roll: float,
    v3_ideal: float = 0.0,
    parity: int = -1,
    pixel_scale: float = 0.0656,
) -> tuple[np.ndarray, np.ndarray]:
    """Turn positions on the sky to distances from the target on the detector.

    The distances are undispersed and without distortion.  The rotation is that of the pipeline's
    PC matrix: by ROLL_REF - V3I_YANG, with the columns mirrored by VPARITY.

    Parameters
    ----------
    ra, dec : ndarray
        Positions, degrees.
    target : tuple of float
        Position of the target, degrees.
    roll : float
        Position angle of the V3 axis at the target (ROLL_REF), degrees.
    v3_ideal : float, optional
        Angle from V3 to the ideal y axis (V3I_YANG), degrees.
    parity : {-1, 1}, optional
        VPARITY.
    pixel_scale : float, optional
        Pixel size, arcsec.

    Returns
    -------
    columns : ndarray
        Distances along the columns, pixels; NaN for positions more than 90 degrees away.
    rows : ndarray
        The same along the rows.
    """
    ra, dec = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    ra0, dec0 = np.radians(target)
    # Gnomonic projection onto the plane that touches the sky at the target.
    cosine = np.sin(dec0) * np.sin(dec) + np.cos(dec0) * np.cos(dec) * np.cos(ra - ra0)
    cosine = np.where(cosine > 1e-6, cosine, np.nan)
    east = np.cos(dec) * np.sin(ra - ra0) / cosine
    north = np.cos(dec0) * np.sin(dec) - np.sin(dec0) * np.cos(dec) * np.cos(ra - ra0)
    north = north / cosine
    angle = np.radians(roll - v3_ideal)
    unit = 1 / np.radians(pixel_scale / 3600)
    columns = parity * (np.cos(angle) * east - np.sin(angle) * north) * unit
    return columns, (np.sin(angle) * east + np.cos(angle) * north) * unit


def _at_epoch(star: CatalogueStar, epoch: float | None) -> tuple[float, float]:
    if epoch is None or star.epoch is None:
        return star.ra, star.dec
    years = epoch - star.epoch
    cosine = max(np.cos(np.radians(star.dec)), 1e-6)
    mas = years / 3.6e6
    return star.ra + star.pm_ra * mas / cosine, star.dec + star.pm_dec * mas


def expected_zero_orders(
    stars: Sequence[CatalogueStar],
    target: tuple[float, float],
    roll: float,
    *,
    v3_ideal: float = 0.0,
    parity: int = -1,
    epoch: float | None = None,
    model: ZeroOrderModel | None = None,
    rows: tuple[float, float] = (-15.0, 271.0),
    columns: tuple[float, float] = (-10.0, 2058.0),
) -> list[Expected]:
    """Predict the zero orders that fall on the image.

    Parameters
    ----------
    stars : sequence of CatalogueStar
        Neighbours; the target may be among them.
    target : tuple of float
        Position of the target at the epoch of the observation, degrees.
    roll, v3_ideal : float
        Angles as for `sky_to_pixels`, degrees.
    parity : int, optional
        As for `sky_to_pixels`.
    epoch : float, optional
        Julian year of the observation, for proper motions.
    model : ZeroOrderModel, optional
        Where zero orders fall; the default says itself how little is known.
    rows, columns : tuple of float, optional
        Range that counts as on the image, pixels of SUBSTRIP256.

    Returns
    -------
    list of Expected
        The brightest star first.
    """
    model = ZeroOrderModel() if model is None else model
    if not stars:
        return []
    places = np.array([_at_epoch(star, epoch) for star in stars])
    dx, dy = sky_to_pixels(
        places[:, 0], places[:, 1], target, roll, v3_ideal, parity, model.pixel_scale
    )
    column = model.column + model.column_scale * dx
    row = model.row + model.row_scale * dy
    with np.errstate(invalid="ignore"):
        inside = (column > columns[0]) & (column < columns[1]) & (row > rows[0]) & (row < rows[1])
    places_found = np.flatnonzero(inside).tolist()
    found = [Expected(stars[k], float(column[k]), float(row[k])) for k in places_found]
    return sorted(found, key=lambda one: one.star.magnitude)


def fit_shift(
    expected: Sequence[Expected],
    found: Sequence[tuple[float, float]],
    reach: tuple[float, float] = (120.0, 60.0),
    tolerance: float = 8.0,
) -> tuple[float, float, int]:
    """Measure the common shift between predicted and detected zero orders.

    Parameters
    ----------
    expected : sequence of Expected
        Predictions.
    found : sequence of tuple of float
        Column and row of what was detected.
    reach : tuple of float, optional
        Largest shift along columns and rows, pixels.
    tolerance : float, optional
        Distance that counts as a match, pixels.

    Returns
    -------
    columns, rows : float
        Shift to be added to the predictions, pixels; 0 where nothing matches.
    n : int
        Pairs that match.  Fewer than three say nothing.
    """
    if not expected or not found:
        return 0.0, 0.0, 0
    predicted = np.array([(one.column, one.row) for one in expected])
    seen = np.asarray(found, float)
    shifts = (seen[None, :, :] - predicted[:, None, :]).reshape(-1, 2)
    shifts = shifts[(np.abs(shifts) <= reach).all(axis=1)]
    if not len(shifts):
        return 0.0, 0.0, 0

    def near(shift: np.ndarray) -> np.ndarray:
        rest = np.abs(shifts - shift)
        # A centre on the edge or beside a trace is off along the rows.
        return (rest[:, 0] < tolerance) & (rest[:, 1] < 1.5 * tolerance)

    counts = [int(near(one).sum()) for one in shifts]
    together = shifts[near(shifts[int(np.argmax(counts))])]
    middle = np.median(together, axis=0)
    return float(middle[0]), float(middle[1]), len(together)


def shift_model(model: ZeroOrderModel, columns: float, rows: float) -> ZeroOrderModel:
    """Give a model that is shifted by what `fit_shift` found.

    Parameters
    ----------
    model : ZeroOrderModel
        The model.
    columns, rows : float
        Shift, pixels.

    Returns
    -------
    ZeroOrderModel
        The shifted model, whose source says so.
    """
    return replace(
        model, column=model.column + columns, row=model.row + rows,
        source=f"{model.source}, shifted by {columns:+.1f} columns and {rows:+.1f} rows",
    )  # fmt: skip
