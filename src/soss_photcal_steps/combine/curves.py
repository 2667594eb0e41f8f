"""Ratio curves of single observations, and the same on one wavelength grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.ratio.order import OrderRatio

__all__ = ["Curve", "CurveSet", "common_grid", "curve_from_ratio", "stack_curves"]

# Two grids are the same if no wavelength differs by more than this part of a pixel.
_SAME_GRID = 1e-3


@dataclass(frozen=True)
class Curve:
    """Ratio R = observed / model of one order of one observation, or of several grouped ones.

    Attributes
    ----------
    star : str
        Name of the star.  Curves of one star share the errors of its model.
    observation : str
        Program and observation, such as ``1091/2``.
    order : int
        Spectral order.
    wavelength : ndarray, shape (n,)
        Vacuum wavelength, um, strictly rising.
    ratio : ndarray, shape (n,)
        R, without unit.
    stat_error : ndarray, shape (n,)
        Statistical 1-sigma error of R, in the unit of R.
    n_frames : int
        Frames behind the curve, for the weights of the weighted mean.
    valid : ndarray of bool, shape (n,)
        Where the curve may be used; everywhere if not given.  What is not finite or not
        positive is never valid.
    smooth : bool
        True for a fit: its errors are shared by neighbouring pixels and do not average out.
    group : str or None
        Curves of one star with the same group are combined into one, see `group_curves`.
    n_observations : int
        Observations behind the curve.
    mjd : float or None
        Middle of the exposure, MJD.

    Raises
    ------
    SossInputError
        If the arrays have different lengths or the wavelengths do not rise.
    """

    star: str
    observation: str
    order: int
    wavelength: np.ndarray
    ratio: np.ndarray
    stat_error: np.ndarray
    n_frames: int = 1
    valid: np.ndarray = field(default_factory=lambda: np.empty(0, bool))
    smooth: bool = False
    group: str | None = None
    n_observations: int = 1
    mjd: float | None = None

    def __post_init__(self) -> None:
        """Bring the arrays into form and refuse what cannot be used."""
        for name in ("wavelength", "ratio", "stat_error"):
            object.__setattr__(self, name, np.array(getattr(self, name), float))
        valid = np.array(self.valid) if np.size(self.valid) else np.ones(self.ratio.shape, bool)
        shapes = {np.shape(a) for a in (self.wavelength, self.ratio, self.stat_error, valid)}
        if len(shapes) != 1 or self.wavelength.ndim != 1 or self.wavelength.size < 2:
            raise SossInputError(
                f"The curve of {self.name} needs one-dimensional arrays of one length, at least "
                f"2; these have shapes {sorted(shapes)}."
            )
        if not np.all(np.diff(self.wavelength) > 0):
            raise SossInputError(f"The curve of {self.name} needs wavelengths that rise strictly.")
        if self.n_frames < 1:
            raise SossInputError(
                f"The curve of {self.name} states {self.n_frames} frames; at least 1 is needed."
            )
        good = np.isfinite(self.ratio) & np.isfinite(self.stat_error)
        with np.errstate(invalid="ignore"):
            good &= (self.ratio > 0) & (self.stat_error >= 0)
        object.__setattr__(self, "valid", valid.astype(bool) & good)

    @property
    def name(self) -> str:
        """Star, observation and order, for messages."""
        return f"{self.star} {self.observation} order {self.order}"

    @property
    def program(self) -> str:
        """Number of the program, the part of ``observation`` before the slash."""
        return self.observation.partition("/")[0]

    @property
    def valid_range(self) -> tuple[float, float] | None:
        """First and last valid wavelength, um; None if no pixel is valid."""
        inside = np.flatnonzero(self.valid)
        if not inside.size:
            return None
        return float(self.wavelength[inside[0]]), float(self.wavelength[inside[-1]])

    def with_valid(self, valid: np.ndarray) -> Curve:
        """Give the same curve with a narrower choice of pixels.

        Parameters
        ----------
        valid : ndarray of bool, shape (n,)
            Pixels to keep; what was not valid before stays so.

        Returns
        -------
        Curve
            The curve with the new choice.
        """
        return replace(self, valid=self.valid & valid)


@dataclass(frozen=True)
class CurveSet:
    """Curves of one order on one wavelength grid.  All arrays are NaN where not valid.

    Attributes
    ----------
    order : int
        Spectral order.
    wavelength : ndarray, shape (m,)
        Vacuum wavelength, um.
    ratio : ndarray, shape (n, m)
        R of each curve.
    stat_error : ndarray, shape (n, m)
        Statistical error of R.
    stars : tuple of str
        Star of each curve.
    observations : tuple of str
        Observation of each curve.
    n_frames : ndarray of int, shape (n,)
        Frames behind each curve.
    smooth : ndarray of bool, shape (n,)
        Which curves are fits.
    """

    order: int
    wavelength: np.ndarray
    ratio: np.ndarray
    stat_error: np.ndarray
    stars: tuple[str, ...]
    observations: tuple[str, ...]
    n_frames: np.ndarray
    smooth: np.ndarray

    @property
    def valid(self) -> np.ndarray:
        """Where each curve has a value; shape (n, m)."""
        return np.isfinite(self.ratio)

    @property
    def names(self) -> tuple[str, ...]:
        """Star and observation of each curve."""
        pairs = zip(self.stars, self.observations, strict=True)
        return tuple(f"{star} {observation}" for star, observation in pairs)

    @property
    def star_names(self) -> tuple[str, ...]:
        """The stars, each once, in order of appearance."""
        return tuple(dict.fromkeys(self.stars))

    @property
    def star_index(self) -> np.ndarray:
        """Number of each curve's star in `star_names`; shape (n,)."""
        names = self.star_names
        return np.array([names.index(star) for star in self.stars])

    def select(self, keep: np.ndarray) -> CurveSet:
        """Give some of the curves.

        Parameters
        ----------
        keep : ndarray of bool, shape (n,)
            Curves to keep.

        Returns
        -------
        CurveSet
            Those curves, on the same grid.
        """
        chosen = np.flatnonzero(keep)
        return CurveSet(
            order=self.order,
            wavelength=self.wavelength,
            ratio=self.ratio[chosen],
            stat_error=self.stat_error[chosen],
            stars=tuple(self.stars[i] for i in chosen),
            observations=tuple(self.observations[i] for i in chosen),
            n_frames=self.n_frames[chosen],
            smooth=self.smooth[chosen],
        )


def curve_from_ratio(
    item: OrderRatio,
    star: str,
    observation: str,
    *,
    use: str = "fit",
    n_frames: int = 1,
    group: str | None = None,
    n_observations: int = 1,
    mjd: float | None = None,
) -> Curve:
    """Make a curve of one order of a ratio product.

    Parameters
    ----------
    item : OrderRatio
        The order.
    star, observation : str
        Names of star and observation.
    use : str
        ``fit`` for the smooth fit, ``ratio`` for the raw ratio at its good pixels.
    n_frames : int
        Frames behind the observation.
    group : str or None
        Group of the curve.
    n_observations : int
        Observations behind the curve.
    mjd : float or None
        Middle of the exposure, MJD.

    Returns
    -------
    Curve
        The curve.

    Raises
    ------
    SossInputError
        If `use` is unknown.
    """
    if use not in ("fit", "ratio"):
        raise SossInputError(f"A curve is made of 'fit' or 'ratio', not of {use!r}.")
    smooth = use == "fit"
    return Curve(
        star=star,
        observation=observation,
        order=item.order,
        wavelength=item.wavelength,
        ratio=item.fit if smooth else item.ratio,
        stat_error=item.fit_error if smooth else item.ratio_error,
        n_frames=n_frames,
        # A fit is valid across its masked pixels, that is what it is made for.
        valid=np.isfinite(item.fit) if smooth else item.mask == 0,
        smooth=smooth,
        group=group,
        n_observations=n_observations,
        mjd=mjd,
    )


def common_grid(curves: Sequence[Curve]) -> np.ndarray:
    """Choose the wavelength grid for curves of one order.

    The grids of single observations differ by the angle of the pupil wheel.  The finest one is
    taken, and carried on with its own last step to the ends of the others.

    Parameters
    ----------
    curves : sequence of Curve
        The curves.

    Returns
    -------
    ndarray, shape (m,)
        Vacuum wavelength, um, rising.

    Raises
    ------
    SossInputError
        If there is no curve.
    """
    if not curves:
        raise SossInputError("There is no curve to combine.")
    finest = min(curves, key=lambda curve: float(np.median(np.diff(curve.wavelength))))
    grid = finest.wavelength
    low = min(curve.wavelength[0] for curve in curves)
    high = max(curve.wavelength[-1] for curve in curves)
    before = np.arange(1, int((grid[0] - low) / (grid[1] - grid[0]) + 1e-6) + 1)
    after = np.arange(1, int((high - grid[-1]) / (grid[-1] - grid[-2]) + 1e-6) + 1)
    return np.concatenate(
        [
            (grid[0] - before * (grid[1] - grid[0]))[::-1],
            grid,
            grid[-1] + after * (grid[-1] - grid[-2]),
        ]
    )


def stack_curves(curves: Sequence[Curve], grid: np.ndarray | None = None) -> CurveSet:
    """Bring curves of one order to one wavelength grid, by linear interpolation.

    A point is valid where both pixels that it lies between are; nothing is extrapolated.

    Parameters
    ----------
    curves : sequence of Curve
        Curves of one order.
    grid : ndarray, shape (m,), optional
        Wavelengths, um; by default those of `common_grid`.

    Returns
    -------
    CurveSet
        The curves on the grid.

    Raises
    ------
    SossInputError
        If there is no curve, the orders differ, or an observation comes twice.
    """
    grid = common_grid(curves) if grid is None else np.array(grid, float)
    if not curves:
        raise SossInputError("There is no curve to combine.")
    orders = sorted({curve.order for curve in curves})
    if len(orders) > 1:
        raise SossInputError(f"Only curves of one order can be combined, not of orders {orders}.")
    keys = [(curve.star, curve.observation) for curve in curves]
    twice = sorted({f"{star} {obs}" for star, obs in keys if keys.count((star, obs)) > 1})
    if twice:
        raise SossInputError(f"Order {orders[0]}: given more than once: {', '.join(twice)}.")
    sampled = [_resample(curve, grid) for curve in curves]
    return CurveSet(
        order=orders[0],
        wavelength=grid,
        ratio=np.array([ratio for ratio, _ in sampled]),
        stat_error=np.array([error for _, error in sampled]),
        stars=tuple(curve.star for curve in curves),
        observations=tuple(curve.observation for curve in curves),
        n_frames=np.array([curve.n_frames for curve in curves]),
        smooth=np.array([curve.smooth for curve in curves], bool),
    )


def _resample(curve: Curve, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    own = curve.wavelength
    if own.shape == grid.shape and np.all(np.abs(own - grid)[1:] <= _SAME_GRID * np.diff(own)):
        ratio = np.where(curve.valid, curve.ratio, np.nan)
        return ratio, np.where(curve.valid, curve.stat_error, np.nan)
    right = np.clip(np.searchsorted(own, grid), 1, own.size - 1)
    left = right - 1
    share = (grid - own[left]) / (own[right] - own[left])
    # A point that falls on a pixel needs that pixel only.
    share = np.where(np.abs(share) < _SAME_GRID, 0.0, share)
    share = np.where(np.abs(share - 1) < _SAME_GRID, 1.0, share)
    use_left, use_right = share < 1, share > 0
    valid = (share >= 0) & (share <= 1)
    valid &= (curve.valid[left] | ~use_left) & (curve.valid[right] | ~use_right)
    value = np.where(curve.valid, curve.ratio, 0.0)
    error = np.where(curve.valid, curve.stat_error, 0.0)
    ratio = (1 - share) * value[left] + share * value[right]
    if curve.smooth:
        combined = (1 - share) * error[left] + share * error[right]
    else:
        combined = np.hypot((1 - share) * error[left], share * error[right])
    return np.where(valid, ratio, np.nan), np.where(valid, combined, np.nan)
