"""Random-effects mean of ratio curves: statistical errors and star-to-star differences together.

The model, for curve j of star s, relative to the sought curve R(lambda):

    y_sj / R = 1 + d_s(lambda) + e_sj(lambda) + noise

d is the error of the star's model, which all curves of the star share; e is that of the single
observation, such as its background; the noise is statistical.  The stars are the independent
units.  The variances of d and e are estimated from the curves themselves (`pooled_variance`),
smooth along wavelength, and so is their correlation along wavelength
(`estimate_correlation`).  The mean follows by generalised least squares, first over the curves
of each star, then over the stars.

What `star_scales` means.  With ``none`` each wavelength stands alone, as in the textbooks.
Then the mean jumps where a star ends: one that is 2 per cent off takes 2 per cent over the
number of stars with it.  With ``grey`` each star has one scale, known from all wavelengths
where it is seen; a star that ends leaves its scale, but a step remains of its deviation in
shape.  With ``smooth``, the default, the deviation of a star is a grey scale plus a smooth
curve; where the star ends, the deviation is carried on and fades over the length that the data
show.  So nothing jumps, and near an end the absent star still has its say, with an error that
grows with the distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soss_photcal_steps.averages import robust_scale
from soss_photcal_steps.combine.correlation import Correlation
from soss_photcal_steps.combine.curves import CurveSet
from soss_photcal_steps.combine.levels import (
    FLOOR,
    Levels,
    node_edges,
    node_members,
    solve_levels,
)
from soss_photcal_steps.combine.means import MeanCurve
from soss_photcal_steps.combine.variance import small_number_factor
from soss_photcal_steps.errors import SossInputError

__all__ = ["RandomEffects", "RandomEffectsOptions", "random_effects"]

# Most curves that are left out at one pixel.
_REJECTIONS = 4
_SCALES = ("smooth", "grey", "none")


@dataclass(frozen=True)
class RandomEffectsOptions:
    """Options of `random_effects`.

    Attributes
    ----------
    star_scales : str
        ``smooth``, ``grey`` or ``none``: what a star's deviation is taken to be, see the
        module.
    variance : str
        ``paule-mandel`` or ``dersimonian-laird``.
    n_nodes : int
        Largest number of nodes along wavelength for what is smooth.
    window : float
        Standard deviation of the weight with which neighbouring wavelengths share in a
        variance, as a fraction of the range of wavelengths.
    reject : float
        Pixels of raw ratios that are off the other curves by more than so many times their
        own scatter are left out.
    passes : int
        Passes; each takes the result of the one before as pilot.
    lone_star_sigma : float
        Error, as a fraction, that a star is taken to have where there is but one and nothing
        tells; the report's figure is 1 to 2 per cent.
    """

    star_scales: str = "smooth"
    variance: str = "paule-mandel"
    n_nodes: int = 64
    window: float = 0.15
    reject: float = 5.0
    passes: int = 2
    lone_star_sigma: float = 0.015

    def __post_init__(self) -> None:
        """Refuse unknown words."""
        if self.star_scales not in _SCALES:
            raise SossInputError(
                f"star_scales is one of {', '.join(_SCALES)}, not {self.star_scales!r}."
            )
        if self.variance not in ("paule-mandel", "dersimonian-laird"):
            raise SossInputError(
                f"variance is 'paule-mandel' or 'dersimonian-laird', not {self.variance!r}."
            )


@dataclass(frozen=True)
class RandomEffects:
    """Result of `random_effects`.  All numbers are relative to R where they have no other unit.

    Attributes
    ----------
    mean : MeanCurve
        The mean with its errors.
    star_sigma : ndarray, shape (m,)
        Standard deviation between stars.
    observation_sigma : ndarray, shape (m,)
        Standard deviation between observations of a star.
    degrees : ndarray, shape (m,)
        Degrees of freedom behind `star_sigma`.
    stars : tuple of str
        The stars.
    deviation : ndarray, shape (n, m)
        Expected deviation of each curve, that of its star included.
    star_deviation : ndarray, shape (s, m)
        Expected deviation of each star.
    nodes : ndarray, shape (b,)
        Wavelengths of the nodes, um.
    star_values : ndarray, shape (s, b)
        Curve of each star relative to the mean, NaN where not observed.
    star_errors : ndarray, shape (s, b)
        Error of `star_values` that is not the star's own deviation.
    correlation, observation_correlation : Correlation
        Correlation along the nodes of the deviations of stars and of observations.
    scale_error : float
        Systematic error that all wavelengths share.
    """

    mean: MeanCurve
    star_sigma: np.ndarray
    observation_sigma: np.ndarray
    degrees: np.ndarray
    stars: tuple[str, ...]
    deviation: np.ndarray
    star_deviation: np.ndarray
    nodes: np.ndarray
    star_values: np.ndarray
    star_errors: np.ndarray
    correlation: Correlation
    observation_correlation: Correlation
    scale_error: float


def random_effects(curves: CurveSet, options: RandomEffectsOptions | None = None) -> RandomEffects:
    """Combine curves with errors between stars, between observations, and statistical ones.

    Parameters
    ----------
    curves : CurveSet
        Curves of one order on one grid.
    options : RandomEffectsOptions, optional
        Options.

    Returns
    -------
    RandomEffects
        The mean, its errors and what they are made of.

    Raises
    ------
    SossInputError
        If no curve has a valid pixel.

    Notes
    -----
    DerSimonian & Laird 1986, Control. Clin. Trials 7, 177; Paule & Mandel 1982, J. Res. NBS 87,
    377; Hartung & Knapp 2001, Stat. Med. 20, 3875; IntHout et al. 2014, BMC Med. Res. Methodol.
    14, 25.  The estimate with correlated deviations is that of Henderson's mixed model (1975,
    Biometrics 31, 423).
    """
    options = options or RandomEffectsOptions()
    any_valid = np.flatnonzero(curves.valid.any(axis=0))
    if not any_valid.size:
        raise SossInputError(f"Order {curves.order}: no curve has a valid pixel.")
    edges = node_edges(any_valid[0], any_valid[-1] + 1, options.n_nodes)
    nodes = np.array([curves.wavelength[a:b].mean() for a, b in edges])
    valid = curves.valid
    pilot = _start(curves)
    for _ in range(max(options.passes, 1)):
        with np.errstate(invalid="ignore", divide="ignore"):
            value = curves.ratio / pilot - 1
            error = curves.stat_error / pilot
        members = node_members(value, error, valid, curves.smooth, edges)
        levels = solve_levels(
            members, curves.star_index, nodes,
            options.window * max(float(np.ptp(nodes)), 1e-9), options.variance,
            options.star_scales == "grey", options.lone_star_sigma,
        )  # fmt: skip
        deviation = _to_pixels(levels.deviation, nodes, curves.wavelength)
        residual = value - deviation
        valid = _agrees(residual, error, curves.valid, curves.smooth, options.reject)
        mean, stat = _pixel_mean(value, error, valid, deviation, levels, nodes, curves, options)
        pilot = np.where(np.isfinite(mean), pilot * (1 + mean), pilot)
    return _result(curves, valid, pilot, stat, deviation, nodes, levels)


def _start(curves: CurveSet) -> np.ndarray:
    """Plain mean of the curves, filled where there is none."""
    count = curves.valid.sum(axis=0)
    total = np.where(curves.valid, curves.ratio, 0.0).sum(axis=0)
    known = count > 0
    pilot = np.interp(curves.wavelength, curves.wavelength[known], total[known] / count[known])
    return pilot


def _to_pixels(rows: np.ndarray, nodes: np.ndarray, wavelength: np.ndarray) -> np.ndarray:
    return np.array([np.interp(wavelength, nodes, row) for row in rows])


def _agrees(
    residual: np.ndarray, error: np.ndarray, valid: np.ndarray, smooth: np.ndarray, limit: float
) -> np.ndarray:
    """Find pixels that agree with the other curves once slow deviations are taken off.

    Each is compared with the weighted mean of the others; the worst is left out, and so on,
    for one that is off makes others look so.
    """
    agrees = valid.copy()
    noise = np.where(valid, error, 0.0) ** 2 + FLOOR**2
    shown = np.where(valid, residual, 0.0)
    excess = np.ones((valid.shape[0], 1))
    for number in range(_REJECTIONS):
        weight = np.where(agrees, 1.0 / noise, 0.0)
        total = weight.sum(axis=0)
        rest = total - weight
        # Two curves cannot tell which of them is off.
        judged = agrees & (agrees.sum(axis=0) > 2) & (rest > 0)
        safe = np.where(judged, rest, 1.0)
        others = ((weight * shown).sum(axis=0) - weight * shown) / safe
        off = np.where(judged, np.abs(shown - others) / np.sqrt(noise + 1.0 / safe), 0.0)
        if number == 0:
            # Errors that are quoted too small must not cost good pixels.
            for i in np.flatnonzero(judged.any(axis=1)):
                excess[i] = max(1.0, robust_scale(off[i, judged[i]]))
        off = np.where(smooth[:, None], 0.0, off / excess)
        worst = np.argmax(off, axis=0)
        columns = np.flatnonzero(off.max(axis=0) > limit)
        if not columns.size:
            break
        agrees[worst[columns], columns] = False
    return agrees


def _pixel_mean(
    value: np.ndarray,
    error: np.ndarray,
    valid: np.ndarray,
    deviation: np.ndarray,
    levels: Levels,
    nodes: np.ndarray,
    curves: CurveSet,
    options: RandomEffectsOptions,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean at every pixel and its statistical error."""
    wavelength = curves.wavelength
    between = np.interp(wavelength, nodes, levels.star_variance)
    within = np.interp(wavelength, nodes, levels.observation_variance)
    shown = np.where(valid, value, 0.0)
    noise = np.where(valid, error, 0.0)
    if options.star_scales == "none":
        weight = _two_level_weight(noise**2, valid, curves.star_index, between, within)
        return _weighted(shown, weight), np.sqrt((weight**2 * noise**2).sum(axis=0))
    rough = between * levels.correlation.rough + within * levels.observation_correlation.rough
    with np.errstate(divide="ignore"):
        weight = np.where(valid, 1.0 / (noise**2 + rough + FLOOR**2), 0.0)
    weight = weight / np.maximum(weight.sum(axis=0), np.finfo(float).tiny)
    mean = _weighted(shown - np.where(valid, deviation, 0.0), weight)
    # The noise of fits is in the deviations already, which follow them closely.
    fine = np.where(curves.smooth[:, None], 0.0, noise)
    slow = np.interp(wavelength, nodes[levels.seen], levels.stat_variance)
    return mean, np.sqrt((weight**2 * fine**2).sum(axis=0) + slow)


def _two_level_weight(
    noise: np.ndarray,
    valid: np.ndarray,
    star_index: np.ndarray,
    between: np.ndarray,
    within: np.ndarray,
) -> np.ndarray:
    """Weight of each curve at each pixel; the sum over curves is 1."""
    curve = np.where(valid, 1.0 / (noise + within + FLOOR**2), 0.0)
    star = np.zeros((int(star_index.max()) + 1, noise.shape[1]))
    np.add.at(star, star_index, curve)
    seen = star > 0
    safe = np.where(seen, star, 1.0)
    outer = np.where(seen, 1.0 / (1.0 / safe + between), 0.0)
    share = outer / np.maximum(outer.sum(axis=0), np.finfo(float).tiny)
    return curve / safe[star_index] * share[star_index]


def _weighted(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    total = weight.sum(axis=0)
    return np.where(total > 0, (values * weight).sum(axis=0), np.nan)


def _result(
    curves: CurveSet,
    valid: np.ndarray,
    pilot: np.ndarray,
    stat: np.ndarray,
    deviation: np.ndarray,
    nodes: np.ndarray,
    levels: Levels,
) -> RandomEffects:
    wavelength = curves.wavelength
    known = valid.any(axis=0)
    factor = small_number_factor(levels.degrees)
    variance = np.maximum(np.diag(levels.sys_covariance), 0.0) * factor[levels.seen] ** 2
    sys = np.sqrt(np.interp(wavelength, nodes[levels.seen], variance))
    common = float(np.sqrt(max(levels.sys_covariance.mean(), 0.0)) * np.median(factor))
    mean = MeanCurve(
        "random_effects",
        np.where(known, pilot, np.nan),
        np.where(known, stat, np.nan),
        np.where(known, sys, np.nan),
        valid,
    )
    size = (len(levels.star_members), nodes.size)
    star_values, star_errors = np.full(size, np.nan), np.full(size, np.nan)
    for s, member in enumerate(levels.star_members):
        at = np.searchsorted(levels.seen, member.seen)
        star_values[s, member.seen] = member.value - levels.mean[at]
        star_errors[s, member.seen] = np.sqrt(np.diag(member.noise))
    return RandomEffects(
        mean=mean,
        star_sigma=np.interp(wavelength, nodes, np.sqrt(levels.star_variance)),
        observation_sigma=np.interp(wavelength, nodes, np.sqrt(levels.observation_variance)),
        degrees=np.interp(wavelength, nodes, levels.degrees),
        stars=curves.star_names,
        deviation=deviation,
        star_deviation=_to_pixels(levels.star_deviation, nodes, wavelength),
        nodes=nodes,
        star_values=star_values,
        star_errors=star_errors,
        correlation=levels.correlation,
        observation_correlation=levels.observation_correlation,
        scale_error=min(common, float(sys[known].min())) if known.any() else common,
    )
