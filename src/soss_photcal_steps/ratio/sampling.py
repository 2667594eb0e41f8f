"""A model spectrum at the wavelengths and the resolution of the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["ModelSpectrum", "SampledModel", "choose_sampling", "sample_model", "wavelength_bins"]

#: Full width at half maximum of a line in SOSS spectra, in pixels along the dispersion
#: (Albert et al. 2023, PASP 135, 075001: about 2 pixels, R = 700 at 1.4 um in order 1).
SOSS_LINE_PIXELS = 2.0
# Where the model's steps, or the width of its lines, are finer than this part of a bin, it is
# integrated.
_FINER = 0.6


@dataclass(frozen=True)
class ModelSpectrum:
    """A model spectrum, by rising wavelength; arrays have shape (n,).

    Attributes
    ----------
    wavelength : ndarray
        Vacuum wavelength, um.
    flux : ndarray
        Flux density, Jy.
    stat_error, sys_error : ndarray
        Statistical and systematic error, Jy; 0 where there is none.
    fwhm : ndarray or None
        Width of the resolution element, um, if it is known.
    """

    wavelength: np.ndarray
    flux: np.ndarray
    stat_error: np.ndarray
    sys_error: np.ndarray
    fwhm: np.ndarray | None = None


@dataclass(frozen=True)
class SampledModel:
    """A model at the wavelengths of the data, shape (n,); NaN beyond the model's range.

    Attributes
    ----------
    flux, stat_error, sys_error : ndarray
        Flux density and its errors, Jy.
    integrated : ndarray of bool
        Where the model was integrated over the bin; interpolated elsewhere.
    """

    flux: np.ndarray
    stat_error: np.ndarray
    sys_error: np.ndarray
    integrated: np.ndarray


def wavelength_bins(wavelength: np.ndarray) -> np.ndarray:
    """Give the edges of the bins of a wavelength grid.

    Parameters
    ----------
    wavelength : ndarray
        Rising wavelengths, shape (n,) with n > 1, um.

    Returns
    -------
    ndarray
        Edges, shape (n + 1,): midpoints, and the same distance beyond the ends.

    Raises
    ------
    ValueError
        If there are fewer than two wavelengths or they do not rise.
    """
    wavelength = np.asarray(wavelength, float)
    if wavelength.ndim != 1 or wavelength.size < 2 or not (np.diff(wavelength) > 0).all():
        raise ValueError("two or more rising wavelengths are needed")
    middle = 0.5 * (wavelength[1:] + wavelength[:-1])
    return np.concatenate(
        [[1.5 * wavelength[0] - 0.5 * wavelength[1]], middle,
         [1.5 * wavelength[-1] - 0.5 * wavelength[-2]]]
    )  # fmt: skip


def choose_sampling(model: ModelSpectrum, wavelength: np.ndarray) -> np.ndarray:
    """Tell where a model is finer than the data.

    Parameters
    ----------
    model : ModelSpectrum
        The model.
    wavelength : ndarray
        Rising wavelengths of the data, shape (n,), um.

    Returns
    -------
    ndarray of bool
        True where the model's resolution element, or its step where that is not known, is
        less than 0.6 of the bin.
    """
    bins = np.diff(wavelength_bins(wavelength))
    if model.fwhm is not None and np.isfinite(model.fwhm).any():
        known = np.isfinite(model.fwhm) & (model.fwhm > 0)
        fine = np.interp(wavelength, model.wavelength[known], model.fwhm[known])
    else:
        step = np.gradient(model.wavelength)
        # One spike of the step, where two tables were joined, does not count.
        fine = np.interp(wavelength, model.wavelength, step)
    return fine < _FINER * bins


def sample_model(
    model: ModelSpectrum,
    wavelength: np.ndarray,
    sampling: str = "auto",
    line_width: float | None = None,
) -> SampledModel:
    """Bring a model to the wavelengths of the data.

    Parameters
    ----------
    model : ModelSpectrum
        The model.
    wavelength : ndarray
        Rising wavelengths, shape (n,), um.
    sampling : {"auto", "interpolate", "integrate"}, optional
        Interpolate the model, or average it over the bin of each wavelength; "auto" does the
        latter where the model is finer, see `choose_sampling`.
    line_width : float, optional
        Full width at half maximum, in bins, of a normal distribution that the model is
        convolved with before; none if not given or 0.

    Returns
    -------
    SampledModel
        The model; an average is exact for a model that is straight between its points.  Its
        statistical error falls with the points in a bin, the systematic one does not.

    Raises
    ------
    ValueError
        If the sampling is not known, or the wavelengths do not rise.
    """
    if sampling not in ("auto", "interpolate", "integrate"):
        raise ValueError(f"unknown sampling {sampling!r}")
    wavelength = np.asarray(wavelength, float)
    edges = wavelength_bins(wavelength)
    if line_width:
        model = _convolve(model, wavelength, np.diff(edges) * line_width)
    whole = np.full(wavelength.shape, sampling == "integrate")
    integrated = choose_sampling(model, wavelength) if sampling == "auto" else whole
    x = model.wavelength
    low = np.where(integrated, edges[:-1], wavelength)
    high = np.where(integrated, edges[1:], wavelength)
    outside = (low < x[0]) | (high > x[-1])

    def bring(values: np.ndarray) -> np.ndarray:
        result = np.interp(wavelength, x, values)
        if integrated.any():
            result = np.where(integrated, _bin_means(x, values, edges), result)
        return np.where(outside, np.nan, result)

    points = np.maximum(np.searchsorted(x, edges[1:]) - np.searchsorted(x, edges[:-1]), 1)
    statistical = bring(model.stat_error) / np.where(integrated, np.sqrt(points), 1.0)
    return SampledModel(bring(model.flux), statistical, bring(model.sys_error), integrated)


def _bin_means(x: np.ndarray, y: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Mean of a chain of straight pieces over bins."""
    areas = 0.5 * (y[1:] + y[:-1]) * np.diff(x)
    total = np.concatenate([[0.0], np.cumsum(areas)])
    place = np.clip(np.searchsorted(x, edges, side="right") - 1, 0, x.size - 2)
    inside = np.clip(edges, x[0], x[-1]) - x[place]
    slope = (y[place + 1] - y[place]) / (x[place + 1] - x[place])
    until = total[place] + inside * (y[place] + 0.5 * slope * inside)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.diff(until) / np.diff(edges)


def _convolve(model: ModelSpectrum, wavelength: np.ndarray, fwhm: np.ndarray) -> ModelSpectrum:
    """Convolve a model with a normal distribution whose width changes slowly."""
    # On a grid that is even in units of the width, the width is the same everywhere.
    inside = (model.wavelength >= wavelength[0] - 20 * fwhm[0]) & (
        model.wavelength <= wavelength[-1] + 20 * fwhm[-1]
    )
    x = model.wavelength[inside]
    if x.size < 3:
        return model
    width = np.interp(x, wavelength, fwhm) / 2.3548
    position = np.concatenate([[0.0], np.cumsum(np.diff(x) / (0.5 * (width[1:] + width[:-1])))])
    step = 0.05
    even = np.arange(0.0, position[-1] + step, step)
    offsets = np.arange(-int(5 / step), int(5 / step) + 1) * step
    kernel = np.exp(-0.5 * offsets**2)
    kernel /= kernel.sum()

    edges = np.clip(np.append(even - step / 2, even[-1] + step / 2), 0.0, position[-1])
    filled = np.diff(edges) > 0

    def smooth(values: np.ndarray) -> np.ndarray:
        # Means over the steps keep the flux of lines that are narrower than a step.
        sampled = np.interp(even, position, values[inside])
        sampled[filled] = _bin_means(position, values[inside], edges)[filled]
        padded = np.pad(sampled, len(offsets) // 2, mode="edge")
        done = np.convolve(padded, kernel, "valid")
        return np.interp(position, even, done)

    return ModelSpectrum(
        x, smooth(model.flux), model.stat_error[inside], model.sys_error[inside],
        None if model.fwhm is None else np.hypot(model.fwhm[inside], 2.3548 * width),
    )  # fmt: skip
