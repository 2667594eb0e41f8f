"""What the background step writes: the subtracted data, metadata, side products."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from stdatamodels.jwst import datamodels
from stdatamodels.jwst.datamodels import JwstDataModel

import soss_photcal_steps
from soss_photcal_steps.background.cards import text_card
from soss_photcal_steps.background.progress import Progress
from soss_photcal_steps.background.readers import ModelIntegrations
from soss_photcal_steps.background.reference import BackgroundLibrary
from soss_photcal_steps.background.result import MASK_MEANINGS, BackgroundResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "add_error",
    "background_images",
    "background_model",
    "figure",
    "metadata",
    "subtract",
    "trace_source",
    "write_mask",
]


def trace_source(pastasoss: Any) -> str:
    """Say where the trace positions come from.

    Parameters
    ----------
    pastasoss : path, PastasossModel or None
        The reference, if there is one.

    Returns
    -------
    str
        File name, or that it is the table of this package.
    """
    if pastasoss is None:
        return "own table of PASTASOSS coefficients"
    if isinstance(pastasoss, str | os.PathLike):
        return os.path.basename(pastasoss)
    return pastasoss.meta.filename or "pastasoss model"


def subtract(
    segment: ModelIntegrations,
    result: BackgroundResult,
    factors: np.ndarray | None,
    progress: Progress,
) -> None:
    """Subtract the background from a model in memory, in place.

    Parameters
    ----------
    segment : ModelIntegrations
        The model; it is edited.
    result : BackgroundResult
        The background.
    factors : ndarray or None
        Factors of each integration, left and right, shape (n, 2); None if all get the same.
    progress : Progress
        Told of what is done.
    """
    for i in range(segment.shape[0]):
        if factors is None:
            segment.subtract(i, result.background)
        else:
            segment.subtract(i, result.scaled_background(factors[i : i + 1])[0])
        progress.advance(1)


def background_images(
    result: BackgroundResult, factors: np.ndarray | None
) -> np.ndarray | Callable[[int, int], np.ndarray]:
    """Give what `stream.write_subtracted` needs of a segment.

    Parameters
    ----------
    result : BackgroundResult
        The background.
    factors : ndarray or None
        Factors of each integration, left and right, shape (n, 2); None if all get the same.

    Returns
    -------
    ndarray or callable
        The background, or what gives those of the integrations from start up to stop.
    """
    if factors is None:
        return result.background
    return lambda start, stop: result.scaled_background(factors[start:stop])


def add_error(model: JwstDataModel, error: np.ndarray) -> None:
    """Add the error of the background to ERR and VAR_RNOISE; the model is edited.

    ``flat_field`` computes ERR anew from the variances, so that what is in ERR alone is lost.
    The error is common to all pixels of a side, which no array can say.

    Parameters
    ----------
    model : CubeModel or ImageModel
        The model.
    error : ndarray
        Error of the background, shape (ny, nx), DN/s; where it is NaN nothing is added.
    """
    variance = np.where(np.isfinite(error), error, 0).astype(np.float32) ** 2
    for name in ("err", "var_rnoise"):
        if not model.hasattr(name):
            continue
        array = getattr(model, name)
        for image in array if array.ndim == 3 else array[None]:
            if name == "err":
                np.sqrt(image * image + variance, out=image)
            else:
                image += variance


def metadata(
    result: BackgroundResult,
    library: BackgroundLibrary,
    traces: str,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Make the record for the ASDF metadata.

    Parameters
    ----------
    result : BackgroundResult
        The result.
    library : BackgroundLibrary
        The templates.
    traces : str
        Where the trace positions come from.
    options : mapping
        Parameters of the step.

    Returns
    -------
    dict
        Plain values and arrays.
    """
    fit = result.fit
    return {
        "template": fit.template,
        "template_name": library.names[fit.template],
        "template_names": library.names,
        "library": library.source,
        "filled_template_pixels": library.n_filled,
        "combined": fit.combined,
        "scales_by_hand": result.by_hand,
        "scales": result.scales,
        "scale_errors": result.errors,
        "covariance": fit.covariance,
        "fitted_scales": fit.scales,
        "levels": result.levels,
        "levels_unit": "DN/s",
        "weights": result.weights,
        "tilt": None if fit.tilt is None else np.asarray(fit.tilt),
        "cost": fit.cost,
        "log_evidence": fit.log_evidence,
        "probability": fit.probability,
        "unseen_sources": fit.unseen,
        "combination_gain": fit.combination_gain,
        "chi_square": fit.chi_square,
        "sky_fraction": fit.sky_fraction,
        "mask_fraction": fit.mask_fraction,
        "break_column": result.break_column,
        "n_integrations": result.combined.n_integrations,
        "trace_positions": traces,
        "trace_offsets": {f"order {k}": value for k, value in fit.trace_offsets.items()},
        "options": options,
    }


def background_model(model: JwstDataModel, result: BackgroundResult) -> Any:
    """Make a model of the background that was subtracted.

    Parameters
    ----------
    model : JwstDataModel
        The subtracted data, whose metadata and record it gets.
    result : BackgroundResult
        The result.

    Returns
    -------
    ImageModel
        Background and its error, DN/s.
    """
    image = datamodels.ImageModel(result.background.astype(np.float32))
    image.update(model, extra_fits=True)
    image.err = result.error_image()
    image.meta.filename = model.meta.filename
    image.meta.soss_photcal = model.meta.soss_photcal.instance
    return image


def write_mask(path: str, result: BackgroundResult, name: str | None) -> None:
    """Write which pixels the fit used.

    Parameters
    ----------
    path : str
        The FITS file.
    result : BackgroundResult
        The result.
    name : str or None
        Name of the product that the mask belongs to.
    """
    header = fits.Header()
    for key, text, comment in (
        text_card("FITTED", name or "", "what it is for"),
        text_card("SOFTWARE", f"soss_photcal_steps {soss_photcal_steps.__version__}", ""),
    ):
        header[key] = (text, comment)
    for value, meaning in MASK_MEANINGS.items():
        header[f"MASK{value}"] = (value, meaning)
    image = fits.ImageHDU(result.mask(), name="MASK")
    fits.HDUList([fits.PrimaryHDU(header=header), image]).writeto(path)


def figure(result: BackgroundResult, library: BackgroundLibrary, name: str) -> Figure:
    """Draw the image before and after, the fit, and the ranking of the templates.

    Parameters
    ----------
    result : BackgroundResult
        The result.
    library : BackgroundLibrary
        The templates.
    name : str
        File name, for the title.

    Returns
    -------
    Figure
        The figure.
    """
    # Importing matplotlib takes as long as the fit.
    from soss_photcal_steps.report.background_figure import background_figure

    fit, lines = result.fit, result.lines
    numbers: Iterable[str] = (
        f"{side} {scale:.4f}" + ("" if result.by_hand else f" ± {error:.4f}")
        for side, scale, error in zip(("left", "right"), result.scales, result.errors, strict=True)
    )
    return background_figure(
        result.combined.image[lines],
        result.background[lines],
        result.wing(),
        result.used_pixels()[lines],
        result.break_column[lines],
        fit.cost,
        [
            f"{k}: {text}" if text != f"template {k}" else text
            for k, text in enumerate(library.names)
        ],
        fit.template,
        f"{name}, {library.names[fit.template]}: {', '.join(numbers)}",
    )
