"""Throughput trend from repeated visits of one star, in the convention of the photom file.

The ratio of visit i is scale * f(t_i) with f one of `TREND_KINDS`, f(t0) = 1, and errors that
follow Student's t distribution with four degrees of freedom: a visit that is far off costs
little and pulls little.  The width of that distribution is the quoted error and a common jitter
in quadrature, so too small errors do not pass for evidence.  The kind is chosen by the
corrected information criterion of Akaike (Hurvich & Tsai 1989, Biometrika 76, 297), which for
some twenty visits punishes parameters much harder than the plain one; `bic` takes that of
Schwarz instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from soss_photcal_steps.averages import robust_scale
from soss_photcal_steps.combine.curves import Curve, stack_curves
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.photom.time_tables import (
    ExponentialTrend,
    LinearTrend,
    PowerLawTrend,
    ThroughputTrend,
)

__all__ = ["TREND_KINDS", "TrendFit", "Visits", "fit_bands", "fit_trend", "visits_from_curves"]

#: Kinds of trend, from simple to complicated, with the names of their parameters.
TREND_KINDS: dict[str, tuple[str, ...]] = {
    "constant": (),
    "linear": ("lossperyear",),
    "exponential": ("amplitude", "tau"),
    "powerlaw": ("tsoft", "alpha"),
}

_YEAR = 365.0
# Student's t with so many degrees of freedom for the errors of visits.
_NU = 4.0
# A more complicated kind must be better by this much.
_EVIDENCE = 2.0
# A visit further off than this, in its own widths, is named as an outlier.
_OUTLIER = 4.0


@dataclass(frozen=True)
class Visits:
    """Grey ratio of each visit.

    Attributes
    ----------
    mjd : ndarray, shape (n,)
        Middle of the visit, MJD.
    ratio : ndarray, shape (n,)
        Throughput relative to any constant.
    error : ndarray, shape (n,)
        Its 1-sigma error.
    names : tuple of str
        Names of the visits; empty if they have none.
    """

    mjd: np.ndarray
    ratio: np.ndarray
    error: np.ndarray
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrendFit:
    """The chosen trend.

    Attributes
    ----------
    kind : str
        ``constant``, ``linear``, ``exponential`` or ``powerlaw``.
    trend : LinearTrend, ExponentialTrend, PowerLawTrend or None
        The trend in the convention of the photom file, 1 at ``t0``; None for a constant.
    t0 : float
        Reference day, MJD.
    scale : float
        Ratio at ``t0``.
    names : tuple of str
        Parameters of `covariance`: ``scale`` and those of `TREND_KINDS`.
    values : ndarray, shape (k,)
        Their values.
    covariance : ndarray, shape (k, k)
        Their covariance.
    jitter : float
        Scatter of the visits beyond their errors.
    criterion : dict of str to float
        Information criterion of each kind, less the smallest; infinite if not tried.
    outliers : ndarray of bool, shape (n,)
        Visits that are far off.
    """

    kind: str
    trend: ThroughputTrend | None
    t0: float
    scale: float
    names: tuple[str, ...]
    values: np.ndarray
    covariance: np.ndarray
    jitter: float
    criterion: dict[str, float]
    outliers: np.ndarray

    def throughput(self, mjd: float | np.ndarray) -> np.ndarray:
        """Give the throughput relative to ``t0``.

        Parameters
        ----------
        mjd : float or ndarray
            Days, MJD.

        Returns
        -------
        ndarray
            Throughput.
        """
        if self.trend is None:
            return np.ones_like(np.asarray(mjd, float))
        return self.trend.throughput(mjd)

    def throughput_error(self, mjd: float | np.ndarray) -> np.ndarray:
        """Give the error of `throughput`.

        Parameters
        ----------
        mjd : float or ndarray
            Days, MJD.

        Returns
        -------
        ndarray
            1-sigma error, 0 at ``t0``.
        """
        age = np.atleast_1d(np.asarray(mjd, float)) - self.t0
        slope = _jacobian(_SHAPES[self.kind], self.values, age)[:, 1:] / self.scale
        variance = np.einsum("ij,jk,ik->i", slope, self.covariance[1:, 1:], slope)
        return np.sqrt(np.maximum(variance, 0.0)).reshape(np.shape(mjd))


def fit_trend(
    visits: Visits,
    t0: float | None = None,
    kinds: Sequence[str] = tuple(TREND_KINDS),
    criterion: str = "aicc",
) -> TrendFit:
    """Fit the kinds of trend and choose one by evidence.

    Parameters
    ----------
    visits : Visits
        The visits.
    t0 : float, optional
        Reference day, MJD; by default that of the first visit.
    kinds : sequence of str
        Kinds to try.  With a single one there is no choice.
    criterion : str
        ``aicc`` or ``bic``.

    Returns
    -------
    TrendFit
        The simplest kind that is not worse than the best by more than 2.

    Raises
    ------
    SossInputError
        If there are fewer than three visits, or words or numbers that cannot be.
    """
    mjd, ratio, error = (np.asarray(a, float) for a in (visits.mjd, visits.ratio, visits.error))
    unknown = [kind for kind in kinds if kind not in TREND_KINDS]
    if unknown or not kinds:
        raise SossInputError(
            f"A trend is {', '.join(TREND_KINDS)}, not {', '.join(unknown) or 'nothing'}."
        )
    if criterion not in ("aicc", "bic"):
        raise SossInputError(f"The criterion is 'aicc' or 'bic', not {criterion!r}.")
    good = np.isfinite(mjd) & np.isfinite(ratio) & np.isfinite(error) & (ratio > 0) & (error >= 0)
    if not good.all() or mjd.size < 3 or np.ptp(mjd) <= 0:
        raise SossInputError(
            "A throughput trend needs at least three visits on different days, with positive "
            f"ratios and finite errors; there are {mjd.size}, {int(good.sum())} of them good."
        )
    t0 = float(mjd.min()) if t0 is None else float(t0)
    age = mjd - t0
    fits = {}
    for kind in [kind for kind in TREND_KINDS if kind in kinds]:
        number = 2 + len(TREND_KINDS[kind])
        # The correction of AICc has no meaning without two visits to spare.
        if mjd.size < number + 2 and len(kinds) > 1 and kind != "constant":
            continue
        fits[kind] = _fit(kind, age, ratio, error)
    values = {
        kind: _information(fit[2], fit[0].size + 1, mjd.size, criterion)
        for kind, fit in fits.items()
    }
    best = min(values.values())
    kind = next(kind for kind, value in values.items() if value <= best + _EVIDENCE)
    parameters, jitter, _ = fits[kind]
    width = np.hypot(error, jitter)
    model = _SHAPES[kind](parameters, age)
    slope = _jacobian(_SHAPES[kind], parameters, age)
    # Information of Student's t about its centre, per visit.
    information = (slope.T * ((_NU + 1) / (_NU + 3) / width**2)) @ slope
    covariance = np.linalg.pinv(information, hermitian=True)
    return TrendFit(
        kind=kind,
        trend=_trend(kind, parameters, t0),
        t0=t0,
        scale=float(parameters[0]),
        names=("scale", *TREND_KINDS[kind]),
        values=parameters,
        covariance=covariance,
        jitter=jitter,
        criterion={k: values.get(k, np.inf) - best for k in TREND_KINDS},
        outliers=np.abs(ratio - model) > _OUTLIER * width,
    )


def fit_bands(
    bands: Mapping[str, Visits], t0: float | None = None, criterion: str = "aicc"
) -> dict[str, TrendFit]:
    """Fit a trend to each order or band of wavelengths, all with the same reference day.

    Parameters
    ----------
    bands : mapping of str to Visits
        Visits by the name of the order or band.
    t0 : float, optional
        Reference day, MJD; by default that of the first visit of all.
    criterion : str
        ``aicc`` or ``bic``.

    Returns
    -------
    dict of str to TrendFit
        Trend by name.
    """
    if t0 is None and bands:
        t0 = min(float(np.min(visits.mjd)) for visits in bands.values())
    return {name: fit_trend(visits, t0, criterion=criterion) for name, visits in bands.items()}


def visits_from_curves(curves: Sequence[Curve], low: float = 0.0, high: float = np.inf) -> Visits:
    """Reduce the curves of one star to one number each, relative to their median curve.

    The number is the median over the band of the curve over the median of all curves, so that
    narrow contamination does not matter.

    Parameters
    ----------
    curves : sequence of Curve
        Curves of one order of one star, each with its ``mjd``.
    low, high : float
        Band of wavelengths, um.

    Returns
    -------
    Visits
        By date.

    Raises
    ------
    SossInputError
        If the curves are of several stars, lack a date, or have no pixel in the band.
    """
    stars = sorted({curve.star for curve in curves})
    undated = [curve.name for curve in curves if curve.mjd is None]
    if len(stars) > 1 or undated:
        raise SossInputError(
            "A throughput trend needs visits of one star with dates; there are "
            + (f"stars {', '.join(stars)}." if len(stars) > 1 else f"no dates of {undated[0]}.")
        )
    stacked = stack_curves(curves)
    inside = (stacked.wavelength >= low) & (stacked.wavelength <= high)
    everywhere = inside & stacked.valid.all(axis=0)
    if not everywhere.any():
        raise SossInputError(
            f"{stars[0]}: no wavelength from {low:g} to {high:g} um is valid in all visits."
        )
    relative = stacked.ratio[:, everywhere]
    relative = relative / np.median(relative, axis=0)
    middle = np.median(relative, axis=1)
    noise = 1.4826 * np.median(np.abs(relative - middle[:, None]), axis=1)
    error = np.sqrt(np.pi / 2) * noise / np.sqrt(everywhere.sum())
    dates = np.array([curve.mjd for curve in curves], float)
    order = np.argsort(dates, kind="stable")
    return Visits(
        dates[order], middle[order], error[order], tuple(stacked.observations[i] for i in order)
    )


def _constant(p: np.ndarray, age: np.ndarray) -> np.ndarray:
    return np.full(age.shape, p[0])


def _linear(p: np.ndarray, age: np.ndarray) -> np.ndarray:
    return p[0] * (1 - p[1] * age / _YEAR)


def _exponential(p: np.ndarray, age: np.ndarray) -> np.ndarray:
    return p[0] * (1 - p[1] + p[1] * np.exp(np.clip(-age / p[2], -50, 50)))


def _powerlaw(p: np.ndarray, age: np.ndarray) -> np.ndarray:
    base = np.maximum(age + p[1], 1e-3 * p[1]) / p[1]
    return p[0] * np.exp(np.clip(p[2] * np.log(base), -50, 50))


_SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "constant": _constant,
    "linear": _linear,
    "exponential": _exponential,
    "powerlaw": _powerlaw,
}


def _fit(
    kind: str, age: np.ndarray, ratio: np.ndarray, error: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """Best parameters, jitter and log likelihood."""
    level = float(np.median(ratio))
    relative, width = ratio / level, error / level
    spread = max(robust_scale(relative - 1), 1e-6)
    span = float(np.ptp(age))
    # The time scale is fitted as a logarithm, so that it stays positive, within what the
    # visits can tell.
    limits = (np.log(0.02 * span), np.log(5 * span))

    def unpack(q: np.ndarray) -> tuple[np.ndarray, float]:
        p = np.array(q[:-1])
        if kind == "exponential":
            p[2] = np.exp(np.clip(p[2], *limits))
        elif kind == "powerlaw":
            p[1] = np.exp(np.clip(p[1], *limits))
        return p, float(np.exp(np.clip(q[-1], -20, 2)))

    def loss(q: np.ndarray) -> float:
        p, jitter = unpack(q)
        total = np.hypot(width, jitter)
        scaled = (relative - _SHAPES[kind](p, age)) / total
        value = np.sum(0.5 * (_NU + 1) * np.log1p(scaled**2 / _NU) + np.log(total))
        # A weak pull back from the limits keeps the search from running along them.
        beyond = 0.0
        if kind in ("exponential", "powerlaw"):
            log_time = q[2] if kind == "exponential" else q[1]
            beyond = max(log_time - limits[1], limits[0] - log_time, 0.0)
        return float(value + beyond**2)

    best, found = np.inf, np.zeros(1)
    for start in _starts(kind, age, relative, span):
        result = minimize(
            loss,
            np.array([*start, np.log(0.5 * spread)]),
            method="Nelder-Mead",
            options={"xatol": 1e-6, "fatol": 1e-7, "maxiter": 3000, "adaptive": True},
        )
        if result.fun < best:
            best, found = float(result.fun), result.x
    parameters, jitter = unpack(found)
    parameters[0] *= level
    return parameters, jitter * level, -best - ratio.size * np.log(level)


def _starts(kind: str, age: np.ndarray, relative: np.ndarray, span: float) -> list[list[float]]:
    if kind == "constant":
        return [[1.0]]
    slope, level = np.polyfit(age, relative, 1)
    if kind == "linear":
        return [[float(level), float(-slope / level * _YEAR)]]
    first = float(relative[np.argmin(age)])
    fall = max(abs(float(slope) * span), 1e-4) * (1 if slope < 0 else -1)
    times = (0.1 * span, 0.4 * span, 1.5 * span)
    if kind == "exponential":
        return [[first, fall / (1 - np.exp(-span / tau)), float(np.log(tau))] for tau in times]
    return [[first, float(np.log(tau)), -fall / np.log1p(span / tau)] for tau in times]


def _information(log_likelihood: float, k: int, n: int, criterion: str) -> float:
    if criterion == "bic":
        return -2 * log_likelihood + k * np.log(n)
    if n <= k + 1:
        return np.inf
    return -2 * log_likelihood + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def _jacobian(
    shape: Callable[[np.ndarray, np.ndarray], np.ndarray], p: np.ndarray, age: np.ndarray
) -> np.ndarray:
    columns = []
    for i, value in enumerate(p):
        step = 1e-5 * max(abs(value), 1e-3)
        up, down = p.copy(), p.copy()
        up[i] += step
        down[i] -= step
        columns.append((shape(up, age) - shape(down, age)) / (2 * step))
    return np.array(columns).T


def _trend(kind: str, p: np.ndarray, t0: float) -> ThroughputTrend | None:
    if kind == "linear":
        return LinearTrend(t0=t0, lossperyear=float(p[1]))
    if kind == "exponential":
        amplitude = float(p[1])
        return ExponentialTrend(t0=t0, amplitude=amplitude, tau=float(p[2]), const=1 - amplitude)
    if kind == "powerlaw":
        tsoft, alpha = float(p[1]), float(p[2])
        value = ((_YEAR + tsoft) / tsoft) ** alpha
        return PowerLawTrend(t0=t0, year1value=float(value), tsoft=tsoft, alpha=alpha)
    return None
