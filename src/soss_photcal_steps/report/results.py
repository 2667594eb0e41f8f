"""Results as plain arrays, as the sections of a report take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from soss_photcal_steps.photom.scale import photmj_unit

if TYPE_CHECKING:
    from soss_photcal_steps.photom.table import PhotomRow

__all__ = [
    "JoinMark",
    "KindDifference",
    "OrderResponse",
    "OrderResult",
    "order_responses",
    "order_result",
]


@dataclass(frozen=True)
class JoinMark:
    """A step of the mean where the contributors change.

    Attributes
    ----------
    wavelength : float
        Where, um.
    size, error : float
        How large, and its 1-sigma error, as fractions of R.
    removed : bool
        Whether it was taken out.
    what : str
        Who begins and who ends there.
    """

    wavelength: float
    size: float
    error: float = np.nan
    removed: bool = True
    what: str = ""


@dataclass(frozen=True)
class KindDifference:
    """Difference between two kinds of stars over all wavelengths.

    Attributes
    ----------
    names : (str, str)
        The kinds; the difference is first less second.
    n_stars : (int, int)
        Stars of each.
    mean, mean_error : float
        Difference over all wavelengths and its 1-sigma error, as fractions.
    largest, largest_error, wavelength : float
        The difference that is largest in units of its error, that error, and where it is (um).
    """

    names: tuple[str, str]
    n_stars: tuple[int, int]
    mean: float
    mean_error: float
    largest: float
    largest_error: float
    wavelength: float


@dataclass(frozen=True)
class OrderResult:
    """What came out of the combination of one order.  All arrays have shape (m,).

    Attributes
    ----------
    order : int
        Spectral order.
    wavelength : ndarray
        Vacuum wavelength, um, rising.
    curves : sequence of (label, star, ndarray)
        Ratio R = observed / model of each curve; NaN where it does not contribute.
    means : mapping of str to ndarray
        The means; NaN where there is none.
    method : str
        The one that was taken.
    stat_error, sys_error : ndarray
        Its 1-sigma errors, as fractions of R.
    n_stars : ndarray of int
        Stars at each wavelength.
    joins : sequence of JoinMark
        Steps.
    influence : mapping of str to ndarray
        By star: the mean with it over the mean without it, less 1.
    parts : mapping of str to ndarray
        Further numbers for the error budget, by name, as fractions.
    splice : (float, float) or None
        Wavelength beyond which one observation takes the place of the mean, um, and its factor.
    kinds : KindDifference or None
        Difference of hot and solar-type stars, where there are enough of both.
    """

    order: int
    wavelength: np.ndarray
    curves: Sequence[tuple[str, str, np.ndarray]]
    means: Mapping[str, np.ndarray]
    method: str
    stat_error: np.ndarray
    sys_error: np.ndarray
    n_stars: np.ndarray
    joins: Sequence[JoinMark] = ()
    influence: Mapping[str, np.ndarray] = field(default_factory=dict)
    parts: Mapping[str, np.ndarray] = field(default_factory=dict)
    splice: tuple[float, float] | None = None
    kinds: KindDifference | None = None

    @property
    def mean(self) -> np.ndarray:
        """The mean that was taken."""
        return np.asarray(self.means[self.method], float)

    @property
    def total_error(self) -> np.ndarray:
        """Both errors in quadrature."""
        return np.hypot(self.stat_error, self.sys_error)

    @property
    def known(self) -> np.ndarray:
        """Where there is a mean."""
        return np.isfinite(self.mean)

    @property
    def stars(self) -> list[str]:
        """The stars, each once."""
        return sorted({star for _, star, _ in self.curves})


@dataclass(frozen=True)
class OrderResponse:
    """Old and new response of one row of the photom file.

    Attributes
    ----------
    order : int
        Spectral order.
    wavelength : ndarray, shape (n,)
        Vacuum wavelength, um, rising.
    old, new, new_error : ndarray, shape (n,)
        Responses and the 1-sigma error of the new one, in `unit`.
    measured : (float, float) or None
        Range that was measured, um.
    unit : str
        Unit.
    """

    order: int
    wavelength: np.ndarray
    old: np.ndarray
    new: np.ndarray
    new_error: np.ndarray
    measured: tuple[float, float] | None = None
    unit: str = ""


def order_responses(
    before: Sequence[PhotomRow], after: Sequence[PhotomRow], ranges: Mapping[int, Any]
) -> list[OrderResponse]:
    """Take the old and the new responses of the orders that were derived.

    Parameters
    ----------
    before, after : sequence of PhotomRow
        Rows of the old and the new photom file, in the same order.
    ranges : mapping of int to (float, float)
        Measured range of each order that was derived, um.

    Returns
    -------
    list of OrderResponse
        Both in the scalar conversion of the new file, with the errors of both its columns.
    """
    unit = photmj_unit(after) or "flux"
    responses = []
    for one, other in zip(before, after, strict=True):
        if other.order not in ranges or other.filter.strip() != "CLEAR":
            continue
        # Beyond nelem there is padding.
        grid, new = other.wavelength[other.used], other.relresponse[other.used]
        old = np.interp(grid, one.wavelength[one.used], one.relresponse[one.used])
        responses.append(
            OrderResponse(
                int(other.order),
                grid,
                one.photmj / other.photmj * old,
                new,
                np.hypot(other.reluncertainty[other.used], other.uncertainty / other.photmj * new),
                tuple(ranges[other.order]),
                f"{other.photmj:.4g} {unit}/(DN/s)",
            )
        )
    return responses


def order_result(entry: Mapping[str, Any]) -> OrderResult:
    """Take an entry of ``orders`` of a correction product apart.

    Parameters
    ----------
    entry : mapping
        The entry, as the schema ``soss_photom_correction-1.0.0`` describes it.

    Returns
    -------
    OrderResult
        The order.
    """
    curves = entry["curves"]
    used = np.array(curves["used"], bool) & np.isfinite(np.array(curves["ratio"], float))
    ratio = np.where(used, np.array(curves["ratio"], float), np.nan)
    parts = {}
    if entry.get("star_sigma") is not None:
        parts["differences between stars"] = np.array(entry["star_sigma"], float)
    if entry.get("observation_sigma") is not None:
        sigma = np.array(entry["observation_sigma"], float)
        # Without repeated visits of a star there is none.
        if np.nanmax(sigma, initial=0.0) > 0:
            parts["differences between visits of a star"] = sigma
    splice = entry.get("splice")
    return OrderResult(
        order=int(entry["order"]),
        wavelength=np.array(entry["wavelength"], float),
        curves=[
            (f"{star} {observation}", str(star), one)
            for star, observation, one in zip(
                curves["stars"], curves["observations"], ratio, strict=True
            )
        ],
        means={str(name): np.array(mean["value"], float) for name, mean in entry["means"].items()},
        method=str(entry["method"]),
        stat_error=np.array(entry["stat_error"], float),
        sys_error=np.array(entry["sys_error"], float),
        n_stars=np.array(entry["n_stars"], int),
        joins=[_join(join) for join in entry.get("joins", ())],
        influence={
            str(star): np.array(change, float)
            for star, change in (entry.get("influence") or {}).items()
        },
        parts=parts,
        splice=(float(splice["wavelength"]), float(splice["scale"])) if splice else None,
        kinds=_kinds(entry.get("kinds")),
    )


def _kinds(entry: Mapping[str, Any] | None) -> KindDifference | None:
    if not entry:
        return None
    difference, error = (np.array(entry[key], float) for key in ("difference", "error"))
    usable = np.isfinite(difference) & np.isfinite(error) & (error > 0)
    if not usable.any():
        return None
    sure = np.where(usable, np.abs(difference) / np.where(usable, error, 1.0), -1.0)
    most = int(np.argmax(sure))
    return KindDifference(
        names=(str(entry["names"][0]), str(entry["names"][1])),
        n_stars=(int(entry["n_stars"][0]), int(entry["n_stars"][1])),
        mean=float(entry["mean"]),
        mean_error=float(entry["mean_error"]),
        largest=float(difference[most]),
        largest_error=float(error[most]),
        wavelength=float(entry["wavelength"][most]),
    )


def _join(join: Mapping[str, Any]) -> JoinMark:
    words = [f"{name} ends" for name in join.get("left", ())]
    words += [f"{name} begins" for name in join.get("right", ())]
    return JoinMark(
        wavelength=float(join["wavelength"]),
        size=float(join["size"]),
        error=float(join.get("error", np.nan)),
        removed=bool(join.get("removed", False)),
        what="; ".join(words),
    )
