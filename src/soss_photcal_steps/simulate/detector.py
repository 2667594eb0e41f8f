"""Noise and defects that the detector puts on a noiseless image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["DO_NOT_USE", "GAIN", "REFERENCE_PIXEL", "Defects", "draw_defects", "expose",
           "read_noise_rate"]  # fmt: skip

#: Electrons per DN.
GAIN = 1.6
#: Read noise of one read, electrons.
READ_NOISE = 11.0
#: Seconds per group.
GROUP_TIME = {"SUBSTRIP256": 5.494, "SUBSTRIP96": 2.214, "FULL": 10.737}
#: Flags of the jwst pipeline (stdatamodels.jwst.datamodels.dqflags.pixel).
DO_NOT_USE = np.uint32(1)
REFERENCE_PIXEL = np.uint32(2147483648)
# Columns of the border of reference pixels at the left and right, and rows at the bottom and top.
_BORDER = {"SUBSTRIP256": (4, 0, 4), "SUBSTRIP96": (4, 0, 0), "FULL": (4, 4, 4)}


@dataclass(frozen=True)
class Defects:
    """Fixed defects of the detector.

    Attributes
    ----------
    dq : ndarray, shape (ny, nx), uint32
        Flags.
    nan, wild : ndarray of int
        Flat indices of flagged pixels that hold NaN, and that hold a wild value.
    wild_value : ndarray
        These values, DN/s.
    hot, dead : ndarray of int
        Flat indices of pixels that are bad without a flag.
    hot_value : ndarray
        Excess of the hot ones, DN/s.
    border : ndarray of bool, shape (ny, nx)
        Reference pixels.
    """

    dq: np.ndarray
    nan: np.ndarray
    wild: np.ndarray
    wild_value: np.ndarray
    hot: np.ndarray
    hot_value: np.ndarray
    dead: np.ndarray
    border: np.ndarray


def draw_defects(
    rng: np.random.Generator,
    shape: tuple[int, int],
    subarray: str,
    flagged: float,
    unflagged: float,
    reference_pixels: bool,
) -> Defects:
    """Draw the fixed defects.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    shape : tuple of int
        Rows and columns.
    subarray : str
        Name of the subarray; it decides where the reference pixels are.
    flagged, unflagged : float
        Fraction of pixels flagged DO_NOT_USE (half NaN, half wild), and fraction that are
        hot (three quarters) or dead without a flag.
    reference_pixels : bool
        Whether there is a border of reference pixels: four columns left and right, the
        top four rows of SUBSTRIP256, none above and below SUBSTRIP96, all sides of FULL.

    Returns
    -------
    Defects
        The defects.
    """
    ny, nx = shape
    dq = np.zeros(shape, dtype=np.uint32)
    border = np.zeros(shape, dtype=bool)
    if reference_pixels:
        sides, bottom, top = _BORDER[subarray]
        border[:, :sides] = border[:, nx - sides :] = True
        border[:bottom] = True
        border[ny - top :] = True
        dq[border] = REFERENCE_PIXEL | DO_NOT_USE
    n_flagged, n_unflagged = round(flagged * ny * nx), round(unflagged * ny * nx)
    picked = rng.choice(ny * nx, n_flagged + n_unflagged, replace=False)
    picked = picked[~border.flat[picked]]
    n_flagged = round(n_flagged * picked.size / max(n_flagged + n_unflagged, 1))
    bad, secret = picked[:n_flagged], picked[n_flagged:]
    dq.flat[bad] |= DO_NOT_USE
    half = bad.size // 2
    n_hot = secret.size * 3 // 4
    return Defects(
        dq=dq,
        nan=bad[:half],
        wild=bad[half:],
        wild_value=rng.normal(0.0, 1.0, bad.size - half)
        * 10 ** rng.uniform(1.0, 4.5, bad.size - half),
        hot=secret[:n_hot],
        hot_value=10 ** rng.uniform(0.3, 2.7, n_hot),
        dead=secret[n_hot:],
        border=border,
    )


def read_noise_rate(subarray: str, n_groups: int) -> float:
    """Read noise of a rate fitted to evenly spaced groups.

    Parameters
    ----------
    subarray : str
        Name of the subarray, for the group time.
    n_groups : int
        Groups per integration, at least two.

    Returns
    -------
    float
        Standard deviation, DN/s: 11 electrons per read and the slope of an unweighted
        straight line through the groups.
    """
    reduced = np.sqrt(12.0 / (n_groups * (n_groups**2 - 1.0)))
    return float(READ_NOISE * reduced / GROUP_TIME[subarray] / GAIN)


def expose(
    rng: np.random.Generator,
    image: np.ndarray,
    defects: Defects,
    *,
    read_noise: float,
    integration_time: float,
    one_over_f: float,
    cosmic_rays: float,
    noise: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make one noisy integration.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    image : ndarray, shape (ny, nx)
        Noiseless rate, DN/s.
    defects : Defects
        Fixed defects.
    read_noise : float
        DN/s.
    integration_time : float
        Seconds.
    one_over_f : float
        Standard deviation of the 1/f residual, DN/s: one offset per column, half of its
        variance correlated over some tens of columns.
    cosmic_rays : float
        Fraction of pixels with a hit that jump detection missed.
    noise : bool, optional
        Without it only the fixed defects are put on.

    Returns
    -------
    sci : ndarray, shape (ny, nx), float32
        Rate, DN/s.
    var_poisson : ndarray
        Poisson variance, same shape.  As in the pipeline it comes from the noisy rate itself,
        so it is correlated with it.
    var_rnoise : ndarray
        Variance of the read noise, same shape.
    """
    ny, nx = image.shape
    scale = np.float32(1 / (GAIN * integration_time))
    sci = image.astype(np.float32)
    if noise:
        sigma = np.sqrt(np.maximum(sci, 0) * scale + np.float32(read_noise**2))
        sigma *= rng.standard_normal(image.shape, dtype=np.float32)
        sci += sigma
        if one_over_f:
            slow = np.convolve(rng.normal(size=nx + 40), np.hanning(41) / 3.87298, mode="valid")
            stripe = np.sqrt(0.5) * (rng.normal(size=nx) + slow)
            sci += (one_over_f * stripe).astype(np.float32)
        hits = rng.poisson(cosmic_rays * ny * nx)
        at = rng.integers(0, ny * nx, hits)
        np.add.at(sci.reshape(-1), at, rng.exponential(60.0, hits).astype(np.float32))
    flat = sci.reshape(-1)
    flat[defects.hot] += defects.hot_value.astype(np.float32)
    flat[defects.dead] *= np.float32(0.15)
    flat[defects.wild] = defects.wild_value
    n_border = int(defects.border.sum())
    sci[defects.border] = (
        0.5 * read_noise * rng.standard_normal(n_border, dtype=np.float32) if noise else 0.0
    )
    var_poisson = np.maximum(sci, 0) * scale
    var_rnoise = np.full(sci.shape, read_noise**2, dtype=np.float32)
    for array in (sci, var_poisson, var_rnoise):
        array.reshape(-1)[defects.nan] = np.nan
    return sci, var_poisson, var_rnoise
