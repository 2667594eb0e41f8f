"""Where the error of a combined curve comes from: influence, kinds of stars, scales, budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from soss_photcal_steps.combine.combine import (
    CombinedOrder,
    CombineOptions,
    combine_order,
    default_options,
)
from soss_photcal_steps.combine.correlation import Member
from soss_photcal_steps.combine.curves import Curve
from soss_photcal_steps.combine.random_effects import RandomEffects
from soss_photcal_steps.combine.variance import pooled_variance, small_number_factor
from soss_photcal_steps.errors import SossInputError

__all__ = [
    "BudgetRow",
    "GroupDifference",
    "StarScale",
    "error_budget",
    "group_difference",
    "leave_one_star_out",
    "star_scales",
]


@dataclass(frozen=True)
class StarScale:
    """Grey scale of one star: how far its curve lies off the mean, over all wavelengths.

    Attributes
    ----------
    star : str
        The star.
    scale : float
        Mean of star over mean curve, less 1.
    error : float
        Error from its own observations; the star's own deviation is not an error here.
    low, high : float
        Range of wavelengths that it was taken over, um.
    """

    star: str
    scale: float
    error: float
    low: float
    high: float


@dataclass(frozen=True)
class GroupDifference:
    """Difference between two kinds of stars.

    Attributes
    ----------
    names : tuple of str
        The two kinds; the difference is first less second.
    n_stars : tuple of int
        Stars of each.
    wavelength : ndarray, shape (b,)
        Nodes, um.
    difference : ndarray, shape (b,)
        Difference of their mean curves, as a fraction of R; NaN where one kind is missing.
    error : ndarray, shape (b,)
        Its 1-sigma error, from the scatter within the kinds.
    mean : float
        Difference over all wavelengths.
    mean_error : float
        Its error.
    degrees : int
        Degrees of freedom of the errors, which are enlarged for them already.
    """

    names: tuple[str, str]
    n_stars: tuple[int, int]
    wavelength: np.ndarray
    difference: np.ndarray
    error: np.ndarray
    mean: float
    mean_error: float
    degrees: int


@dataclass(frozen=True)
class BudgetRow:
    """Errors over one range of wavelengths, root mean square, as a fraction of R.

    Attributes
    ----------
    low, high : float
        The range, um.
    statistical : float
        Statistical error of the mean.
    stars : float
        Differences between stars: their standard deviation over the square root of their
        number.
    observations : float
        Differences between observations of a star, the same way.
    small_number : float
        Factor on the systematic error because the stars are few.
    systematic : float
        Systematic error as quoted.
    total : float
        Both errors as quoted, in quadrature.
    n_stars : float
        Mean number of stars.
    """

    low: float
    high: float
    statistical: float
    stars: float
    observations: float
    small_number: float
    systematic: float
    total: float
    n_stars: float


def leave_one_star_out(
    curves: Sequence[Curve],
    options: CombineOptions | None = None,
    grid: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Tell how much each star moves the mean.

    Parameters
    ----------
    curves : sequence of Curve
        Curves as for `combine_order`.
    options : CombineOptions, optional
        Options as for `combine_order`; a splice is left out, it rests on one star by intent.
    grid : ndarray, shape (m,), optional
        Wavelengths, um.

    Returns
    -------
    dict of str to ndarray, shape (m,)
        By star: the mean with all stars over the mean without it, less 1; NaN where there is
        none without it.

    Raises
    ------
    SossInputError
        If there is only one star.
    """
    stars = list(dict.fromkeys(curve.star for curve in curves))
    if len(stars) < 2:
        raise SossInputError("With a single star there is no mean without it.")
    options = replace(options or default_options(curves[0].order), splice=None)
    full = combine_order(curves, options, grid)
    influence = {}
    for star in stars:
        others = [curve for curve in curves if curve.star != star]
        less = combine_order(others, options, full.wavelength)
        influence[star] = full.mean.value / less.mean.value - 1
    return influence


def star_scales(effects: RandomEffects) -> list[StarScale]:
    """State a grey scale for each star.

    Parameters
    ----------
    effects : RandomEffects
        Result of the random-effects mean.

    Returns
    -------
    list of StarScale
        Over the wavelengths that all stars have, or else those that the star has.
    """
    seen = np.isfinite(effects.star_values)
    observed = seen.any(axis=1)
    common = seen[observed].all(axis=0)
    scales = []
    for s in np.flatnonzero(observed):
        use = common if common.any() else seen[s]
        nodes = effects.nodes[use]
        error = np.sqrt(np.mean(effects.star_errors[s, use] ** 2))
        scales.append(
            StarScale(
                star=effects.stars[s],
                scale=float(effects.star_values[s, use].mean()),
                # Errors of neighbouring nodes hang together; no gain is claimed from averaging.
                error=float(error),
                low=float(nodes[0]),
                high=float(nodes[-1]),
            )
        )
    return scales


def group_difference(
    effects: RandomEffects,
    kinds: Mapping[str, str],
    names: tuple[str, str] = ("hot", "solar"),
    window: float = 0.15,
) -> GroupDifference:
    """Compare two kinds of stars, such as hot and solar-type ones.

    Parameters
    ----------
    effects : RandomEffects
        Result of the random-effects mean.
    kinds : mapping of str to str
        Kind of each star.
    names : tuple of str
        The two kinds.
    window : float
        Pooling window of the variance within the kinds, as a fraction of the range.

    Returns
    -------
    GroupDifference
        The difference with its error.

    Raises
    ------
    SossInputError
        If a kind has no star, or no kind has two.
    """
    rows = [
        [s for s, star in enumerate(effects.stars) if kinds.get(star) == name] for name in names
    ]
    counts = (len(rows[0]), len(rows[1]))
    if min(counts) == 0 or sum(counts) < 3:
        raise SossInputError(
            f"To compare {names[0]} and {names[1]} stars both are needed, three stars in all; "
            f"there are {counts[0]} and {counts[1]}."
        )
    groups = [[_member(effects, s) for s in some] for some in rows]
    width = window * max(float(np.ptp(effects.nodes)), 1e-9)
    variance = pooled_variance(groups, effects.nodes, width)
    means, squares = [], []
    for some in rows:
        values, errors = effects.star_values[some], effects.star_errors[some]
        seen = np.isfinite(values)
        number = np.maximum(seen.sum(axis=0), 1)
        missing = ~seen.any(axis=0)
        total = np.where(seen, values, 0.0).sum(axis=0) / number
        spread = np.where(seen, errors**2 + variance, 0.0).sum(axis=0) / number**2
        means.append(np.where(missing, np.nan, total))
        squares.append(np.where(missing, np.nan, spread))
    degrees = sum(counts) - 2
    factor = float(small_number_factor(np.array(degrees)))
    difference = means[0] - means[1]
    error = factor * np.sqrt(squares[0] + squares[1])
    known = np.isfinite(difference)
    product = np.outer(error[known], error[known])
    correlation = effects.correlation.matrix[np.ix_(known, known)]
    return GroupDifference(
        names=names,
        n_stars=counts,
        wavelength=effects.nodes,
        difference=difference,
        error=error,
        mean=float(difference[known].mean()),
        mean_error=float(np.sqrt((product * correlation).mean())),
        degrees=degrees,
    )


def error_budget(
    combined: CombinedOrder, ranges: Sequence[tuple[float, float]] | None = None
) -> list[BudgetRow]:
    """Say what the error of the random-effects mean is made of.

    Parameters
    ----------
    combined : CombinedOrder
        The combined order.
    ranges : sequence of tuple of float, optional
        Ranges of wavelengths, um; by default the whole valid range.

    Returns
    -------
    list of BudgetRow
        One for each range that has data.
    """
    effects, mean = combined.effects, combined.means["random_effects"]
    number = np.maximum(combined.n_stars, 1)
    per_star = _curves_per_star(combined)
    rows = []
    for low, high in ranges or [combined.valid_range]:
        inside = (combined.wavelength >= low) & (combined.wavelength <= high)
        inside &= np.isfinite(mean.value)
        if not inside.any():
            continue
        factor = small_number_factor(effects.degrees[inside])
        rows.append(
            BudgetRow(
                low=float(low),
                high=float(high),
                statistical=_rms(mean.stat_error[inside]),
                stars=_rms(effects.star_sigma[inside] / np.sqrt(number[inside])),
                observations=_rms(
                    effects.observation_sigma[inside] * np.sqrt(per_star[inside]) / number[inside]
                ),
                small_number=float(np.mean(factor)),
                systematic=_rms(mean.sys_error[inside]),
                total=_rms(mean.total_error[inside]),
                n_stars=float(combined.n_stars[inside].mean()),
            )
        )
    return rows


def _curves_per_star(combined: CombinedOrder) -> np.ndarray:
    """Sum over stars of one over the number of curves; shape (m,)."""
    index = combined.curves.star_index
    total = np.zeros(combined.wavelength.size)
    for s in range(len(combined.curves.star_names)):
        count = combined.curves.valid[index == s].sum(axis=0)
        total += np.where(count > 0, 1.0 / np.maximum(count, 1), 0.0)
    return total


def _member(effects: RandomEffects, s: int) -> Member:
    seen = np.flatnonzero(np.isfinite(effects.star_values[s]))
    return Member(seen, effects.star_values[s, seen], np.diag(effects.star_errors[s, seen] ** 2))


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
