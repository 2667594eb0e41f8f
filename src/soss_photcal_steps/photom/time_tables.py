"""Time tables of a photom file: how the throughput of each order changes, in jwst's convention.

The photom step divides ``photmj`` by the throughput relative to the day ``t0``, taken at the
middle of the exposure; where a file has several tables it multiplies them.  A year has 365 days
there (``jwst.photom.time_dependence``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.photom.table import TIME_COLUMNS, PhotomRow

__all__ = [
    "ExponentialTrend",
    "LinearTrend",
    "PowerLawTrend",
    "ThroughputTrend",
    "make_time_tables",
]

_YEAR = 365.0


@dataclass(frozen=True)
class LinearTrend:
    """Throughput that falls by the same amount every year.

    Attributes
    ----------
    t0 : float
        Day, MJD, at which the throughput is 1.
    lossperyear : float
        Loss per 365 days, as a fraction of the throughput at ``t0``.
    """

    table: ClassVar[str] = "timecoeff_linear"
    neutral: ClassVar[tuple[float, ...]] = (0.0,)

    t0: float
    lossperyear: float

    def throughput(self, mjd: float | np.ndarray) -> np.ndarray:
        """Give the relative throughput.

        Parameters
        ----------
        mjd : float or ndarray
            Days, MJD.

        Returns
        -------
        ndarray
            Throughput, 1 at ``t0``.
        """
        return 1.0 - self.lossperyear * (np.asarray(mjd, float) - self.t0) / _YEAR


@dataclass(frozen=True)
class ExponentialTrend:
    """Throughput that falls to a constant.

    Attributes
    ----------
    t0 : float
        Reference day, MJD.
    amplitude : float
        What is lost in the end.
    tau : float
        Days in which what is still to be lost falls by the factor e.
    const : float
        Throughput in the end; with 1 - ``amplitude`` it is 1 at ``t0``.
    """

    table: ClassVar[str] = "timecoeff_exponential"
    # With a short tau the exponential of a day before t0 overflows, and 0 times that is NaN.
    neutral: ClassVar[tuple[float, ...]] = (0.0, 1e6, 1.0)

    t0: float
    amplitude: float
    tau: float
    const: float

    def throughput(self, mjd: float | np.ndarray) -> np.ndarray:
        """Give the relative throughput.

        Parameters
        ----------
        mjd : float or ndarray
            Days, MJD.

        Returns
        -------
        ndarray
            Throughput, ``amplitude + const`` at ``t0``.
        """
        age = np.asarray(mjd, float) - self.t0
        return self.amplitude * np.exp(-age / self.tau) + self.const


@dataclass(frozen=True)
class PowerLawTrend:
    """Throughput that falls as a softened power of the age.

    Attributes
    ----------
    t0 : float
        Reference day, MJD.
    year1value : float
        Throughput 365 days after ``t0``.
    tsoft : float
        Softening, days; the law holds after ``t0 - tsoft``.
    alpha : float
        Power, negative for a loss.
    """

    table: ClassVar[str] = "timecoeff_powerlaw"
    neutral: ClassVar[tuple[float, ...]] = (1.0, 1.0, 0.0)

    t0: float
    year1value: float
    tsoft: float
    alpha: float

    def throughput(self, mjd: float | np.ndarray) -> np.ndarray:
        """Give the relative throughput.

        Parameters
        ----------
        mjd : float or ndarray
            Days, MJD, after ``t0 - tsoft``.

        Returns
        -------
        ndarray
            Throughput, ``year1value`` after 365 days.
        """
        age = np.asarray(mjd, float) - self.t0
        return self.year1value * ((age + self.tsoft) / (_YEAR + self.tsoft)) ** self.alpha


ThroughputTrend = LinearTrend | ExponentialTrend | PowerLawTrend


def make_time_tables(
    rows: Sequence[PhotomRow], trends: Mapping[tuple[str, str, int], ThroughputTrend]
) -> dict[str, np.ndarray]:
    """Put trends into the time tables of a photom file.

    There is a table for each kind of trend that is given.  The schema wants in each as many
    rows as the photom table has, in the same order; those without such a trend are neutral.

    The response in the file must hold for the days at which the trends give 1.  If it was
    derived from data of other days, of mean throughput f, it must be multiplied by f.

    Parameters
    ----------
    rows : sequence of PhotomRow
        Rows of the photom table.
    trends : mapping of (str, str, int) to trend
        Trend by filter, pupil and order.

    Returns
    -------
    dict of str to ndarray
        Structured arrays by their name in the schema.

    Raises
    ------
    SossInputError
        If there is no row for a trend, or its numbers cannot be.
    """
    given = {(f.upper(), p.upper(), order): trend for (f, p, order), trend in trends.items()}
    keys = [row.key for row in rows]
    for key, trend in given.items():
        name = f"{key[0]}/{key[1]} order {key[2]}"
        if key not in keys:
            raise SossInputError(f"There is a throughput trend but no photom row for {name}.")
        _check(trend, name)
    tables = {}
    for kind in (LinearTrend, ExponentialTrend, PowerLawTrend):
        chosen = {key: trend for key, trend in given.items() if isinstance(trend, kind)}
        if chosen:
            tables[kind.table] = _table(rows, chosen, kind)
    return tables


def _check(trend: ThroughputTrend, name: str) -> None:
    values = [getattr(trend, field.name) for field in fields(trend)]
    if not np.all(np.isfinite(values)):
        raise SossInputError(f"The throughput trend of {name} has a number that is not finite.")
    if not 50000 < trend.t0 < 100000:
        raise SossInputError(
            f"The throughput trend of {name} has t0 = {trend.t0:g}, which is not a day in MJD."
        )
    if isinstance(trend, ExponentialTrend) and trend.tau <= 0:
        raise SossInputError(f"The throughput trend of {name} needs a positive tau.")
    if isinstance(trend, PowerLawTrend) and (trend.tsoft <= 0 or trend.year1value <= 0):
        raise SossInputError(
            f"The throughput trend of {name} needs a positive tsoft and year1value."
        )


def _table(
    rows: Sequence[PhotomRow],
    trends: Mapping[tuple[str, str, int], ThroughputTrend],
    kind: type[ThroughputTrend],
) -> np.ndarray:
    names = TIME_COLUMNS[kind.table]
    dtype = [("filter", "S12"), ("pupil", "S15"), ("order", "i2"), *((n, "f4") for n in names)]
    table = np.zeros(len(rows), dtype)
    t0 = next(iter(trends.values())).t0
    for i, row in enumerate(rows):
        trend = trends.get(row.key)
        if trend is None:
            numbers = (t0, *kind.neutral)
        else:
            numbers = tuple(getattr(trend, name) for name in names)
        table[i] = (row.filter, row.pupil, row.order, *numbers)
    return table
