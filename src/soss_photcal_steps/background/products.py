"""What the background step writes: the subtracted data, header cards, metadata, side products."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from stdatamodels.jwst import datamodels
from stdatamodels.jwst.datamodels import JwstDataModel

import soss_photcal_steps
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
    "cards",
    "figure",
    "metadata",
    "skipped_cards",
    "subtract",
    "summary_lines",
    "trace_source",
    "write_mask",
]

Card = tuple[str, Any, str]

# The longest text that one card takes, without and with its quotation marks.
_CARD_TEXT, _CARD_ROOM = 68, 70


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


def _text_card(key: str, text: str, comment: str) -> Card:
    """Make a card of a text, with as much of the comment as there is room for."""
    room = _CARD_ROOM - len(text.replace("'", "''")) - 2 - len(" / ")
    # A text that takes several cards has room for the comment in the last.
    return key, text, comment if room < 0 else comment[:room]


def _summary(result: BackgroundResult) -> str:
    """Give the result in a line that fits in one card."""
    version = soss_photcal_steps.__version__
    left, right = result.scales
    text = f"soss_template_bkg {version}: t{result.fit.template} L{left:.4f} R{right:.4f}"
    if not result.by_hand:
        text += f" +-{result.errors[0]:.4f} {result.errors[1]:.4f}"
    return text[:_CARD_TEXT]


def _kind(result: BackgroundResult) -> str:
    if result.by_hand:
        return "one template, scales given by hand"
    fit = result.fit
    if not fit.combined:
        return "one template"
    single = len(result.weights)
    if len(fit.probability) > single and fit.probability[single] > 0:
        return "combination of templates"
    return f"average of {np.count_nonzero(fit.probability)} templates"


def summary_lines(result: BackgroundResult, library: BackgroundLibrary) -> list[str]:
    """Tell the result in a few lines.

    Parameters
    ----------
    result : BackgroundResult
        The result.
    library : BackgroundLibrary
        The templates.

    Returns
    -------
    list of str
        Lines for the log.
    """
    fit = result.fit
    lines = [
        f"Template {fit.template} ({library.names[fit.template]}) of {len(library.names)}; "
        f"{_kind(result)}.",
    ]
    for side in (0, 1):
        error = "by hand" if result.by_hand else f"+- {result.errors[side]:.4f}"
        lines.append(
            f"{('Left', 'Right')[side]} of the break: scale {result.scales[side]:.4f} {error}, "
            f"{result.levels[side]:.3f} DN/s, {100 * fit.sky_fraction[side]:.0f} per cent of the "
            "pixels used."
        )
    if not np.isfinite(fit.chi_square):
        return [*lines, "The fit itself failed; only the scales by hand are known."]
    if result.by_hand:
        lines.append(
            f"The fit would have given {fit.scales[0]:.4f} left and {fit.scales[1]:.4f} right."
        )
    rivals = [k for k in np.argsort(-fit.log_evidence) if k != fit.template][:2]
    if rivals:
        best = fit.log_evidence[fit.template]
        others = ", ".join(f"{k} ({best - fit.log_evidence[k]:.1f})" for k in rivals)
        lines.append(f"Next templates, with how much smaller their log evidence is: {others}.")
    lines.append(f"Reduced chi square {fit.chi_square:.2f}.")
    return lines


def cards(
    result: BackgroundResult, library: BackgroundLibrary, traces: str, per_integration: bool
) -> list[Card]:
    """Make the header cards of a subtraction.

    Parameters
    ----------
    result : BackgroundResult
        The result.
    library : BackgroundLibrary
        The templates.
    traces : str
        Where the trace positions come from.
    per_integration : bool
        Whether each integration has scales of its own.

    Returns
    -------
    list of (key, value, comment)
        The cards.
    """
    fit = result.fit
    best = fit.template
    others = np.delete(fit.log_evidence, best)
    lead = float(fit.log_evidence[best] - others.max()) if others.size else None
    covariance = None if result.by_hand else float(fit.covariance[0, 1])
    error = [None if result.by_hand else float(e) for e in result.errors]
    gain = float(fit.combination_gain)
    return [
        # These four are in jwst's schema, and so survive extract_1d.
        ("BKGMETH", _summary(result), ""),
        ("BKGLEVEL", float(np.median(result.background)), ""),
        ("BKGSUB", True, ""),
        ("BKGD_SCL", float(result.scales[0]), ""),
        _text_card("BKGLIB", library.source, "library of templates"),
        ("BKGNTMP", len(library.names), "number of templates scored"),
        ("BKGTMPL", best, "best template, counted from 0"),
        _text_card("BKGTNAM", library.names[best], "name of that template"),
        _text_card("BKGKIND", _kind(result), "what was subtracted"),
        ("BKGSCLL", float(result.scales[0]), "scale left of the break"),
        ("BKGSCLR", float(result.scales[1]), "scale right of the break"),
        ("BKGERRL", error[0], "1-sigma error of BKGSCLL"),
        ("BKGERRR", error[1], "1-sigma error of BKGSCLR"),
        ("BKGCOV", covariance, "covariance of the two scales"),
        ("BKGLEVL", float(result.levels[0]), "[DN/s] mean background left"),
        ("BKGLEVR", float(result.levels[1]), "[DN/s] mean background right"),
        ("BKGGOOD", float(fit.chi_square), "reduced chi square of the fit"),
        ("BKGLEAD", lead, "log evidence above the next template"),
        ("BKGGAIN", gain if np.isfinite(gain) else None, "log evidence gained by combining"),
        ("BKGSKYL", float(fit.sky_fraction[0]), "share of the pixels left that were used"),
        ("BKGSKYR", float(fit.sky_fraction[1]), "share of the pixels right that were used"),
        ("BKGMASK", 1 - float(np.mean(result.fit.sky_mask)), "share of the image masked"),
        ("BKGBRK0", float(result.break_column[0]), "[pix] break in first row, column from 0"),
        ("BKGBRK1", float(result.break_column[-1]), "[pix] break in last row, column from 0"),
        ("BKGNINT", result.combined.n_integrations, "integrations fitted together"),
        ("BKGPERI", per_integration, "each integration scaled by itself"),
        _text_card("BKGTRAC", traces, "trace positions"),
        ("BKGWHY", None, ""),
    ]


_ALL_KEYS = (
    "BKGMETH",
    "BKGLEVEL",
    "BKGSUB",
    "BKGLIB",
    "BKGNTMP",
    "BKGTMPL",
    "BKGTNAM",
    "BKGKIND",
    "BKGSCLL",
    "BKGSCLR",
    "BKGERRL",
    "BKGERRR",
    "BKGCOV",
    "BKGLEVL",
    "BKGLEVR",
    "BKGGOOD",
    "BKGLEAD",
    "BKGGAIN",
    "BKGSKYL",
    "BKGSKYR",
    "BKGMASK",
    "BKGBRK0",
    "BKGBRK1",
    "BKGNINT",
    "BKGPERI",
    "BKGTRAC",
)


def skipped_cards(reason: str, subtracted: bool = False) -> list[Card]:
    """Make the header cards of data that are passed on untouched.

    Parameters
    ----------
    reason : str
        Why.
    subtracted : bool, optional
        Whether an earlier subtraction is in the data, whose cards then stay.

    Returns
    -------
    list of (key, value, comment)
        The cards.
    """
    why = _text_card("BKGWHY", reason, "why skipped")
    if subtracted:
        return [why]
    return [*((key, None, "") for key in _ALL_KEYS), ("BKGSUB", False, ""), why]


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
        "mask_fraction": 1 - float(np.mean(fit.sky_mask)),
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
        _text_card("FITTED", name or "", "what it is for"),
        _text_card("SOFTWARE", f"soss_photcal_steps {soss_photcal_steps.__version__}", ""),
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
