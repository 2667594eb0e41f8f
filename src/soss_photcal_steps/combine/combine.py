"""All curves of one order into one correction: means, joins, splice, range, errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from soss_photcal_steps.combine.correction import OrderCorrection
from soss_photcal_steps.combine.curves import Curve, CurveSet, stack_curves
from soss_photcal_steps.combine.grouping import group_curves
from soss_photcal_steps.combine.joins import (
    Join,
    SpliceResult,
    apply_joins,
    find_joins,
    splice_curve,
)
from soss_photcal_steps.combine.means import MeanCurve, clipped_mean, weighted_mean
from soss_photcal_steps.combine.random_effects import (
    RandomEffects,
    RandomEffectsOptions,
    random_effects,
)
from soss_photcal_steps.errors import SossInputError

__all__ = [
    "METHODS",
    "CombineOptions",
    "CombinedOrder",
    "Splice",
    "combine_order",
    "default_options",
]

#: The means, all of which are computed.
METHODS = ("clipped", "weighted", "random_effects")

# A step that the star scales leave is taken out if it is real and larger than this.
_REMAINDER = 1e-4
_SIGNIFICANT = 3.0
# How much longer a raw ratio must be clipped than masked for it to count as absent.
_NOISY_RUN = 8


@dataclass(frozen=True)
class Splice:
    """One observation in place of the mean beyond a wavelength.

    Attributes
    ----------
    observation : str
        Program and observation, such as ``1091/2``.
    wavelength : float
        Where it begins, um.
    """

    observation: str
    wavelength: float


@dataclass(frozen=True)
class CombineOptions:
    """Options of `combine_order`; see `default_options` for those of the report.

    Attributes
    ----------
    method : str
        The mean that is handed on: ``clipped``, ``weighted`` or ``random_effects``.
    sigma_low, sigma_high : float
        Limits of the clipped mean below and above the median, in standard deviations.
    iterations : int
        Largest number of passes of the clipping.
    effects : RandomEffectsOptions
        Options of the random-effects mean.
    anchor : tuple of float
        Range of wavelengths, um, whose values are kept when steps are taken out.
    min_run : int
        Pixels that a change of contributors must last to count as a join, if not all curves
        are fits; eight times as many if it is by clipping.
    window : int
        Pixels on either side from which steps and the splice are measured.
    splice : Splice or None
        Splice of one observation.
    min_stars : int
        Stars that a wavelength needs; fewer if there are not as many.
    """

    method: str = "random_effects"
    sigma_low: float = 3.0
    sigma_high: float = 3.0
    iterations: int = 5
    effects: RandomEffectsOptions = field(default_factory=RandomEffectsOptions)
    anchor: tuple[float, float] = (0.0, 2.0)
    min_run: int = 8
    window: int = 20
    splice: Splice | None = None
    min_stars: int = 2

    def __post_init__(self) -> None:
        """Refuse an unknown mean."""
        if self.method not in METHODS:
            raise SossInputError(f"The mean is one of {', '.join(METHODS)}, not {self.method!r}.")


@dataclass(frozen=True)
class CombinedOrder:
    """All that is known of one order after combining.

    Attributes
    ----------
    order : int
        Spectral order.
    wavelength : ndarray, shape (m,)
        Vacuum wavelength, um.
    method : str
        The chosen mean.
    means : dict of str to MeanCurve
        The three means, steps taken out, spliced, NaN outside the valid range.
    unjoined : dict of str to ndarray, shape (m,)
        Their values before steps were taken out.
    joins : dict of str to list of Join
        Steps of each mean.
    splices : dict of str to SpliceResult
        The splice of each mean; empty if there is none.
    effects : RandomEffects
        What the random-effects mean is made of.
    curves : CurveSet
        The curves that were combined, groups as one.
    n_stars : ndarray of int, shape (m,)
        Stars that are observed at each wavelength.
    valid_range : tuple of float
        First and last wavelength that is measured, um.  Nothing is given beyond.
    notes : list of str
        What the user should know, as sentences.
    """

    order: int
    wavelength: np.ndarray
    method: str
    means: dict[str, MeanCurve]
    unjoined: dict[str, np.ndarray]
    joins: dict[str, list[Join]]
    splices: dict[str, SpliceResult]
    effects: RandomEffects
    curves: CurveSet
    n_stars: np.ndarray
    valid_range: tuple[float, float]
    notes: list[str]

    @property
    def mean(self) -> MeanCurve:
        """The chosen mean."""
        return self.means[self.method]

    def correction(self, method: str | None = None, *, own_errors: bool = False) -> OrderCorrection:
        """Give what the photom file is made from.

        Parameters
        ----------
        method : str, optional
            The mean; by default the chosen one.
        own_errors : bool
            Take the textbook errors of a classical mean.  By default all means get those of
            the random-effects mean, for theirs leave out half of what there is: the clipped
            one takes curves of one star for independent, the weighted one knows only
            statistical errors.

        Returns
        -------
        OrderCorrection
            At the wavelengths with a value.

        Raises
        ------
        SossInputError
            If fewer than two wavelengths have one.
        """
        mean = self.means[method or self.method]
        honest = self.means["random_effects"]
        stat = mean.stat_error if own_errors else honest.stat_error
        sys = mean.sys_error if own_errors else honest.sys_error
        # The textbook error of one curve alone does not exist.
        stat = np.where(np.isfinite(stat), stat, honest.stat_error)
        sys = np.where(np.isfinite(sys), sys, honest.sys_error)
        known = np.isfinite(mean.value) & (mean.value > 0) & np.isfinite(stat) & np.isfinite(sys)
        if known.sum() < 2:
            raise SossInputError(f"Order {self.order}: no wavelength is left after combining.")
        return OrderCorrection(
            order=self.order,
            wavelength=self.wavelength[known],
            correction=mean.value[known],
            stat_error=stat[known],
            sys_error=sys[known],
            scale_error=None if own_errors else self.effects.scale_error,
        )


def default_options(order: int) -> CombineOptions:
    """Give the choices of section 7 of the report, with the random-effects mean.

    Parameters
    ----------
    order : int
        Spectral order.

    Returns
    -------
    CombineOptions
        For order 1 steps are taken out to the short-wavelength side; for order 2 to 0.74 to
        1.0 um, values are clipped at 2 sigma on the high side, and beyond 0.9525 um the
        observation 1091/2 takes the place of the mean.
    """
    if order == 2:
        return CombineOptions(sigma_high=2.0, anchor=(0.74, 1.0), splice=Splice("1091/2", 0.9525))
    return CombineOptions()


def combine_order(
    curves: Sequence[Curve],
    options: CombineOptions | None = None,
    grid: np.ndarray | None = None,
) -> CombinedOrder:
    """Combine the curves of one order.

    Parameters
    ----------
    curves : sequence of Curve
        Curves of one order; those with a group are combined first, see `group_curves`.
    options : CombineOptions, optional
        Options; by default those of `default_options`.
    grid : ndarray, shape (m,), optional
        Wavelengths, um; by default those of `common_grid`.

    Returns
    -------
    CombinedOrder
        The three means and all that belongs to them.

    Raises
    ------
    SossInputError
        If there is no curve, orders are mixed, or nothing is valid.
    """
    if not curves:
        raise SossInputError("There is no curve to combine.")
    options = options or default_options(curves[0].order)
    stacked = stack_curves(group_curves(curves), grid)
    notes = [
        f"{name}: no valid pixel, not used."
        for name, valid in zip(stacked.names, stacked.valid, strict=True)
        if not valid.any()
    ]
    effects = random_effects(stacked, options.effects)
    means = {
        "clipped": clipped_mean(
            stacked.ratio, options.sigma_low, options.sigma_high, options.iterations
        ),
        "weighted": weighted_mean(stacked.ratio, stacked.stat_error, stacked.n_frames),
        "random_effects": effects.mean,
    }
    unjoined = {name: mean.value for name, mean in means.items()}
    joins = {name: _joins(stacked, name, mean, effects, options) for name, mean in means.items()}
    for name, mean in means.items():
        removed = [join for join in joins[name] if join.removed]
        factor = apply_joins(stacked.wavelength, removed, options.anchor)
        means[name] = replace(mean, value=mean.value * factor)
    splices: dict[str, SpliceResult] = {}
    if options.splice is not None:
        row = _splice_row(stacked, options.splice)
        if row is None:
            notes.append(
                f"Order {stacked.order}: {options.splice.observation}, which was to take the "
                f"place of the mean beyond {options.splice.wavelength:g} um, is not among the "
                "curves or not valid there; the mean is kept."
            )
        else:
            for name, mean in means.items():
                means[name], splices[name] = _spliced(stacked, row, mean, effects, options)
    n_stars = _count_stars(stacked)
    enough = n_stars >= min(options.min_stars, len(stacked.star_names))
    for splice in splices.values():
        enough = enough | splice.replaced
    if not enough.any():
        raise SossInputError(
            f"Order {stacked.order}: no wavelength is observed with {options.min_stars} stars."
        )
    for name, mean in means.items():
        means[name] = _blank(mean, enough)
    known = stacked.wavelength[np.isfinite(means[options.method].value)]
    return CombinedOrder(
        order=stacked.order,
        wavelength=stacked.wavelength,
        method=options.method,
        means=means,
        unjoined=unjoined,
        joins=joins,
        splices=splices,
        effects=effects,
        curves=stacked,
        n_stars=n_stars,
        valid_range=(float(known[0]), float(known[-1])),
        notes=notes,
    )


def _joins(
    curves: CurveSet,
    name: str,
    mean: MeanCurve,
    effects: RandomEffects,
    options: CombineOptions,
) -> list[Join]:
    scaled = name == "random_effects"
    shown = curves.ratio
    weight = np.ones((len(curves.stars), 1))
    if name == "weighted":
        weight = np.sqrt(curves.n_frames.astype(float))[:, None]
    elif scaled:
        weight = 1.0 / (np.where(curves.valid, curves.stat_error, 0.0) ** 2 + _REMAINDER**2)
    smooth_scales = scaled and options.effects.star_scales == "smooth"
    if scaled and options.effects.star_scales != "none":
        shown = shown / (1 + effects.deviation)
    # Fits have no noise that would hide a step, or make one, in a few pixels.
    run = 0 if curves.smooth.all() else options.min_run
    found = find_joins(
        curves.wavelength,
        mean.value,
        np.where(mean.used, shown, 0.0),
        mean.used,
        curves.names,
        weight=weight,
        valid=curves.valid,
        min_run=run,
        clip_run=_NOISY_RUN * run,
        window=options.window,
    )
    return [
        replace(
            join,
            removed=not smooth_scales
            or abs(join.size) > max(_REMAINDER, _SIGNIFICANT * join.error),
        )
        for join in found
    ]


def _splice_row(curves: CurveSet, splice: Splice) -> int | None:
    beyond = curves.wavelength > splice.wavelength
    for i, observation in enumerate(curves.observations):
        if observation == splice.observation and (curves.valid[i] & beyond).any():
            return i
    return None


def _spliced(
    curves: CurveSet,
    row: int,
    mean: MeanCurve,
    effects: RandomEffects,
    options: CombineOptions,
) -> tuple[MeanCurve, SpliceResult]:
    assert options.splice is not None
    wavelength, at = curves.wavelength, options.splice.wavelength
    result = splice_curve(wavelength, mean.value, curves.ratio[row], at, options.window)
    beyond = result.replaced
    start = int(np.argmax(beyond)) - 1
    own = curves.stat_error[row] / curves.ratio[row]
    stat = np.where(beyond, np.hypot(own, result.scale_error), mean.stat_error)
    # The curve joins the mean where the splice is; from there its own deviation drifts away.
    near = int(np.argmin(np.abs(effects.nodes - at)))
    drift = np.zeros(wavelength.size)
    for sigma, correlation in (
        (effects.star_sigma, effects.correlation),
        (effects.observation_sigma, effects.observation_correlation),
    ):
        kept = np.interp(wavelength, effects.nodes, correlation.matrix[near])
        drift += 2 * sigma**2 * np.maximum(1 - kept, 0.0)
    sys = np.where(beyond, np.sqrt(mean.sys_error[start] ** 2 + drift), mean.sys_error)
    used = np.where(beyond, np.arange(len(mean.used))[:, None] == row, mean.used)
    value = np.where(beyond & ~curves.valid[row], np.nan, result.value)
    return replace(mean, value=value, stat_error=stat, sys_error=sys, used=used), result


def _count_stars(curves: CurveSet) -> np.ndarray:
    index = curves.star_index
    stars = range(len(curves.star_names))
    return np.sum([curves.valid[index == s].any(axis=0) for s in stars], axis=0)


def _blank(mean: MeanCurve, keep: np.ndarray) -> MeanCurve:
    return replace(
        mean,
        value=np.where(keep, mean.value, np.nan),
        stat_error=np.where(keep, mean.stat_error, np.nan),
        sys_error=np.where(keep, mean.sys_error, np.nan),
        used=mean.used & keep,
    )
