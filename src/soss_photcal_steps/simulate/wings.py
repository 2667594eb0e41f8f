"""Wings of the star beyond the core of the trace, in many shapes.

How the light beyond some 20 pixels is spread decides how well a background can be told
from a star, and nobody knows it exactly.  So the simulator has one *reference* wing, as
measured on the frame of BD+60 1753, and variants that differ from it in strength, slope,
symmetry, wavelength dependence and in kind.  An algorithm is to be judged over all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import fft

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate.star import core_weight

__all__ = [
    "WING_VARIANTS",
    "Wing",
    "draw_wing",
    "isotropic_wing_image",
    "streak_image",
    "wing_image",
    "wing_profile",
]

#: Names that `draw_wing` knows; ``random`` draws one of the others.
WING_VARIANTS = (
    "reference",
    "strength",
    "slope",
    "chromatic",
    "asymmetric",
    "isotropic",
    "broken",
    "halo",
    "streaks",
)

# Light per pixel in 1e-5 of the brightness within 12.5 pixels, above and below order 1 of
# BD+60 1753, columns 1800 to 2000, where that order is alone and 5000 times brighter than the
# background.  Beyond 185 pixels, where the measurement ends, a power law of slope -1.3.
_DISTANCE = np.array(
    [15, 17, 19, 21, 23.5, 26.5, 30, 34.5, 40, 46.5, 54, 63, 74, 87.5, 105, 127.5, 155, 185,
     230, 400, 700, 3000]
)  # fmt: skip
_ABOVE = np.array(
    [430, 262, 180, 119, 84, 69, 57, 49, 39, 31, 25, 20.6, 16.9, 13.6, 11.2, 8.6, 6.4, 4.8,
     3.62, 1.76, 0.85, 0.128]
)  # fmt: skip
_BELOW = np.array(
    [900, 400, 225, 168, 130, 102, 73, 51, 40.5, 31, 25, 20.6, 16.9, 13.6, 11.2, 8.6, 6.4, 4.8,
     3.62, 1.76, 0.85, 0.128]
)  # fmt: skip
_PIVOT = 30.0


@dataclass(frozen=True)
class Wing:
    """Shape of the wings, as changes of the measured reference.

    Attributes
    ----------
    variant : str
        Name of the variant.
    strength : float
        Factor on the whole wing beyond about 20 pixels.
    slope : float or None
        Slope of the power law beyond about 30 pixels; None keeps the measured shape.
    outer_slope_change : float
        Change of slope beyond `break_distance`.
    break_distance : float
        Distance at which the slope changes, pixels.
    asymmetry : float
        The wing above the trace is (1 + asymmetry) times, below (1 - asymmetry) times as strong.
    chromatic_strength, chromatic_slope : float
        Relative strength and slope change per 1024 columns from column 1024.
    halo, halo_radius : float
        Peak of an additional diffuse halo in units of the brightness per pixel, and its
        core radius in pixels.
    isotropic : bool
        Whether the wing is made with a round two-dimensional kernel (light also spreads
        along the dispersion) instead of column by column.
    spikes : tuple of tuple
        Straight diffraction spikes of the kernel: (angle in degrees, strength relative to
        the wing, width in pixels).
    streaks : tuple of tuple
        Straight streaks across the frame: (column at which it leaves order 1, angle in
        degrees, peak relative to the brightness there, width and decay length in pixels).
    """

    variant: str = "reference"
    strength: float = 1.0
    slope: float | None = None
    outer_slope_change: float = 0.0
    break_distance: float = 80.0
    asymmetry: float = 0.0
    chromatic_strength: float = 0.0
    chromatic_slope: float = 0.0
    halo: float = 0.0
    halo_radius: float = 120.0
    isotropic: bool = False
    spikes: tuple[tuple[float, float, float], ...] = ()
    streaks: tuple[tuple[float, float, float, float, float], ...] = ()


def _step(value: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def draw_wing(variant: str, rng: np.random.Generator) -> Wing:
    """Draw the continuous parameters of a wing variant.

    Parameters
    ----------
    variant : str
        One of `WING_VARIANTS`, or ``random`` for any of them.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    Wing
        The drawn shape.

    Raises
    ------
    SossInputError
        If the variant is not known.
    """
    if variant == "random":
        variant = WING_VARIANTS[rng.integers(len(WING_VARIANTS))]
    base = Wing(variant=variant)
    sign = rng.choice([-1.0, 1.0])
    if variant == "reference":
        return base
    if variant == "strength":
        return replace(base, strength=float(np.exp(rng.uniform(np.log(0.5), np.log(1.6)))))
    if variant == "slope":
        return replace(base, slope=rng.uniform(-1.6, -0.8), strength=rng.uniform(0.8, 1.25))
    if variant == "chromatic":
        return replace(
            base,
            chromatic_strength=sign * rng.uniform(0.15, 0.4),
            chromatic_slope=rng.choice([-1.0, 1.0]) * rng.uniform(0.05, 0.25),
        )
    if variant == "asymmetric":
        return replace(base, asymmetry=sign * rng.uniform(0.1, 0.4))
    if variant == "isotropic":
        return replace(
            base, isotropic=True, slope=rng.uniform(-1.5, -0.9), strength=rng.uniform(0.7, 1.4)
        )
    if variant == "broken":
        return replace(
            base,
            outer_slope_change=sign * rng.uniform(0.25, 0.7),
            break_distance=rng.uniform(45.0, 130.0),
        )
    if variant == "halo":
        return replace(base, halo=rng.uniform(2e-5, 8e-5), halo_radius=rng.uniform(60.0, 250.0))
    if variant == "streaks":
        turn = rng.uniform(-8.0, 8.0)
        spikes = tuple(
            (angle + turn, rng.uniform(0.5, 2.0), rng.uniform(2.0, 5.0)) for angle in (30, 90, 150)
        )
        streaks = tuple(
            (
                rng.uniform(900.0, 2000.0),
                rng.uniform(20.0, 160.0),
                rng.uniform(2e-5, 1.5e-4),
                rng.uniform(3.0, 8.0),
                rng.uniform(60.0, 250.0),
            )
            for _ in range(rng.integers(2, 6))
        )
        return replace(base, isotropic=True, spikes=spikes, streaks=streaks)
    raise SossInputError(
        f"Wing variant {variant!r} is not known; use 'random' or one of {', '.join(WING_VARIANTS)}."
    )


def wing_profile(
    distance: np.ndarray, wing: Wing, column: np.ndarray | float = 1024.0
) -> np.ndarray:
    """Light per pixel across the trace in its wings.

    Parameters
    ----------
    distance : ndarray
        Signed distance from the trace, pixels; positive towards higher rows.
    wing : Wing
        Shape of the wings.
    column : ndarray or float, optional
        Columns, broadcast against `distance`; only chromatic wings use them.

    Returns
    -------
    ndarray
        Light per pixel in units of the brightness within 12.5 pixels.  The values are
        meaningful from 16 pixels outwards.
    """
    distance = np.asarray(distance, dtype=float)
    radius = np.maximum(np.abs(distance), _DISTANCE[0])
    log_r = np.log(radius)
    nodes = np.log(_DISTANCE)
    # One interpolation over signed log distance serves both sides.
    log_wing = np.interp(
        np.where(distance < 0, -log_r, log_r),
        np.concatenate([-nodes[::-1], nodes]),
        np.log(np.concatenate([_BELOW[::-1], _ABOVE]) * 1e-5),
    )
    lever = log_r - math.log(_PIVOT)
    if wing.slope is not None:
        at_pivot = math.log(0.5 * (_ABOVE[6] + _BELOW[6]) * 1e-5)
        weight = _step(radius, 22.0, 36.0)
        log_wing += weight * (at_pivot + wing.slope * lever - log_wing)
    if wing.outer_slope_change:
        # A bend over about half an octave, as a sharp one would be easy to see.
        x = 4.0 * (log_r - math.log(wing.break_distance))
        log_wing += wing.outer_slope_change * np.logaddexp(0.0, x) / 4.0
    if wing.chromatic_strength or wing.chromatic_slope:
        u = (np.asarray(column) - 1024.0) / 1024.0
        beyond = _step(radius, 16.0, 24.0)
        log_wing += beyond * (
            np.log1p(wing.chromatic_strength * np.clip(u, -1.2, 1.2))
            + wing.chromatic_slope * u * np.maximum(lever, 0.0)
        )
    value = np.exp(log_wing)
    if wing.strength != 1.0 or wing.asymmetry:
        factor = wing.strength * (1 + wing.asymmetry * np.sign(distance))
        value *= 1 + _step(radius, 15.0, 24.0) * (factor - 1)
    if wing.halo:
        value += wing.halo * (1 + (radius / wing.halo_radius) ** 2) ** -1.5
    return value


def wing_image(
    brightness: np.ndarray, centre: np.ndarray, columns: np.ndarray, rows: np.ndarray, wing: Wing
) -> np.ndarray:
    """Make the wings of one trace column by column.

    Parameters
    ----------
    brightness, centre, columns : ndarray, shape (n_columns,)
        Brightness in DN/s, row of the trace and column.
    rows : ndarray, shape (n_rows,)
        Rows of the image, pixels of SUBSTRIP256.
    wing : Wing
        Shape of the wings.

    Returns
    -------
    ndarray, shape (n_rows, n_columns)
        DN/s per pixel, zero inside the core.
    """
    distance = rows[:, None] - centre
    return brightness * wing_profile(distance, wing, columns) * (1 - core_weight(distance))


def isotropic_wing_image(
    traces: list[tuple[np.ndarray, np.ndarray]],
    first_column: int,
    rows: np.ndarray,
    n_columns: int,
    wing: Wing,
    reach: int = 700,
) -> np.ndarray:
    """Make the wings of all traces together with a two-dimensional kernel.

    The kernel is the round function whose projection on the cross-dispersion direction
    is, to some per cent, the profile of `wing` (exactly so for a power law); spikes are
    added to it.

    Parameters
    ----------
    traces : list of (brightness, centre)
        For each order the brightness in DN/s and the row of the trace at consecutive
        columns from `first_column`; both may reach beyond the detector.
    first_column : int
        Column of the first entry, usually negative.
    rows : ndarray, shape (n_rows,)
        Consecutive rows of the image, pixels of SUBSTRIP256.
    n_columns : int
        Columns of the image, from column 0.
    wing : Wing
        Shape of the wings.
    reach : int, optional
        Radius of the kernel, pixels.

    Returns
    -------
    ndarray, shape (n_rows, n_columns)
        DN/s per pixel; a little of it also falls on the core, as it does in a telescope.
    """
    top = max(int(rows[-1]) + 1, 640)
    bottom = min(int(rows[0]), -40)
    width = traces[0][0].size
    source = np.zeros((top - bottom, width))
    at = np.arange(width)
    for brightness, centre in traces:
        low = np.floor(centre).astype(int)
        part = centre - low
        for row, weight in ((low, 1 - part), (low + 1, part)):
            ok = (row >= bottom) & (row < top)
            source[row[ok] - bottom, at[ok]] += (brightness * weight)[ok]
    shape = [fft.next_fast_len(n + reach, real=True) for n in source.shape]
    dy = fft.fftfreq(shape[0], 1 / shape[0])[:, None]
    dx = fft.fftfreq(shape[1], 1 / shape[1])[None, :]
    radius = np.hypot(dy, dx)
    kernel = _round_kernel(radius, wing, reach)
    for angle, strength, spike_width in wing.spikes:
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        across = dy * c - dx * s
        kernel *= 1 + strength * np.exp(-0.5 * (across / spike_width) ** 2) * np.minimum(
            radius / 30.0, 8.0
        )
    spread = fft.irfft2(fft.rfft2(source, shape) * fft.rfft2(kernel), shape)
    start = int(rows[0]) - bottom
    return spread[start : start + rows.size, -first_column : -first_column + n_columns]


def _round_kernel(radius: np.ndarray, wing: Wing, reach: int) -> np.ndarray:
    grid = np.concatenate([np.arange(15.0, 60.0), np.geomspace(60.0, reach + 1.0, 60)])
    profile = 0.5 * (wing_profile(grid, wing) + wing_profile(-grid, wing))
    slope = -np.gradient(np.log(profile), np.log(grid))
    slope = np.clip(np.where(grid < 34, np.interp(34.0, grid, slope), slope), 0.3, 3.0)
    # A round kernel c r^-(n+1) projects to r^-n times sqrt(pi) gamma(n/2) / gamma((n+1)/2).
    projection = np.array(
        [math.sqrt(math.pi) * math.gamma(n / 2) / math.gamma((n + 1) / 2) for n in slope]
    )
    log_kernel = np.log(profile / (grid * projection))
    kernel = np.exp(np.interp(np.log(np.maximum(radius, 15.0)), np.log(grid), log_kernel))
    return kernel * _step(radius, 17.0, 22.0) * (radius <= reach)


def streak_image(
    brightness: np.ndarray, centre: np.ndarray, rows: np.ndarray, columns: np.ndarray, wing: Wing
) -> np.ndarray:
    """Straight streaks that leave order 1.

    Parameters
    ----------
    brightness, centre : ndarray, shape (n_columns,)
        Brightness in DN/s and row of order 1.
    rows, columns : ndarray
        Rows (of SUBSTRIP256) and columns of the image, pixels.
    wing : Wing
        Shape of the wings, with its streaks.

    Returns
    -------
    ndarray, shape (n_rows, n_columns)
        DN/s per pixel.
    """
    image = np.zeros((rows.size, columns.size))
    for column, angle, peak, width, decay in wing.streaks:
        k = int(np.clip(column, 0, columns.size - 1))
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        dx = columns[None, :] - column
        dy = rows[:, None] - centre[k]
        along, across = dx * c + dy * s, dy * c - dx * s
        image += (
            peak
            * brightness[k]
            * np.exp(-0.5 * (across / width) ** 2 - np.abs(along) / decay)
            * _step(np.abs(dy), 16.0, 24.0)
        )
    return image
