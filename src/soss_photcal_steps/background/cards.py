"""What the background step says of its result, in header cards and in the log."""

from __future__ import annotations

from typing import Any

import numpy as np

import soss_photcal_steps
from soss_photcal_steps.background.reference import BackgroundLibrary
from soss_photcal_steps.background.result import BackgroundResult

__all__ = ["cards", "skipped_cards", "summary_lines", "text_card"]

Card = tuple[str, Any, str]

# The longest text that one card takes, without and with its quotation marks.
_CARD_TEXT, _CARD_ROOM = 68, 70


def text_card(key: str, text: str, comment: str) -> Card:
    """Make a card of a text, with as much of the comment as there is room for.

    Parameters
    ----------
    key, text, comment : str
        Keyword, value and comment.

    Returns
    -------
    tuple of str
        Keyword, value and comment.
    """
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
        text_card("BKGLIB", library.source, "library of templates"),
        ("BKGNTMP", len(library.names), "number of templates scored"),
        ("BKGTMPL", best, "best template, counted from 0"),
        text_card("BKGTNAM", library.names[best], "name of that template"),
        text_card("BKGKIND", _kind(result), "what was subtracted"),
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
        ("BKGMASK", fit.mask_fraction, "share of the image masked"),
        ("BKGBRK0", float(result.break_column[0]), "[pix] break in first row, column from 0"),
        ("BKGBRK1", float(result.break_column[-1]), "[pix] break in last row, column from 0"),
        ("BKGNINT", result.combined.n_integrations, "integrations fitted together"),
        ("BKGPERI", per_integration, "each integration scaled by itself"),
        text_card("BKGTRAC", traces, "trace positions"),
        ("BKGWHY", None, ""),
    ]


_ALL_KEYS = (
    "BKGMETH",
    "BKGLEVEL",
    "BKGSUB",
    "BKGD_SCL",
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
    why = text_card("BKGWHY", reason, "why skipped")
    if subtracted:
        return [why]
    return [*((key, None, "") for key in _ALL_KEYS), ("BKGSUB", False, ""), why]
